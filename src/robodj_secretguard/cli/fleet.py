"""`fleet`: which service runs on which keys, and what is proven about it (policy sections 3 and 4)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeAlias

from pydantic import ValidationError

from robodj_secretguard.cli.log import checked, find_log
from robodj_secretguard.cli.options import (
    LOG_OPTIONS,
    MAX_DOCUMENT_BYTES,
    PIPE,
    Commands,
    Request,
    Settings,
    add_command,
    opened_input,
    policy_of,
    read_input,
    seconds,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_UNAVAILABLE,
    MODEL,
    Result,
    fail,
    failed_result,
    finding_text,
)
from robodj_secretguard.common.grouping import grouped
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.fleet.evidence import EventReader, ask, is_address, is_selector, read_token
from robodj_secretguard.fleet.verdict import (
    ONLY_SEEN,
    UNPROVEN,
    VERDICTS,
    Evidence,
    Service,
    Use,
    Verdict,
    fingerprints_of,
    judge,
    parse_roster,
    proven_instances,
    signing_key,
)
from robodj_secretguard.lifecycle.operations_log import HEAD_FILE, OperationsLog
from robodj_secretguard.lifecycle.records import Document
from robodj_secretguard.lifecycle.standing import Role, expected_keys, roles_of
from robodj_secretguard.secret.material import is_fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import GREEN, PROGRAM, RED, could_hold_key, listed, mark
from robodj_secretguard.startup.inputs import SERVICE
from robodj_secretguard.startup.readings import Environment, event_setting
from robodj_secretguard.startup.report import Report
from robodj_secretguard.startup.rules import Check, Severity

_SAMPLES_AGE: Final = 120
"""Two periods of 30 seconds between refreshes, and one of 60 seconds between scrapes."""
_EVENTS_AGE: Final = 900
"""Both in seconds."""
_MOST_SHOWN: Final = 20
_CONDITIONS: Final = {
    "moved": ("current", "pass --from with a key that check accepts, or --environment with an operations log"),
    "has-next": ("next", "stage one (rotate stage)"),
    "none-on": ("", ""),
}
"""By condition: the slot of the expected key, unless the condition names the key, and how to make that key known."""

_Known: TypeAlias = dict[tuple[Service, str], tuple[Slots, Callable[[str | None], Role]]]
"""By service and secret: the expected keys, and the function that returns the role of a key."""


def add(commands: Commands) -> None:
    """Add the command."""
    once: Settings = {"action": "append", "default": []}
    add_command(
        commands,
        "fleet",
        _judge_fleet,
        options=("--from", "--environment", *LOG_OPTIONS),
        own={
            "--roster": (
                "FILE",
                "the services: a TOML table for each, with the number or names of its instances (- for stdin)",
            ),
            "--instances": {
                "nargs": "+",
                "default": [],
                "metavar": "NAME",
                "help": "instead of a roster: every instance of one service",
            },
            "--prometheus": {**once, "metavar": "URL", "help": "the Prometheus that scrapes the services"},
            "--events": {
                **once,
                "nargs": "+",
                "metavar": "FILE",
                "help": "files with start events, instead of Prometheus: one JSON object in each line (- for stdin)",
            },
            "--require": {
                **once,
                "nargs": "+",
                "metavar": "CONDITION",
                "help": "fail unless every service is proven to follow it: moved (signs with the current key),"
                " has-next (has the next key), or none-on FINGERPRINT (does not use that key); repeatable",
            },
            "--secret": ("NAME", "only this secret (default: every one with a fingerprint)"),
            "--select": ("LABELS", "only the samples with these labels: 'environment=\"prod\"'"),
            "--token-file": ("FILE", "a file with the bearer token for Prometheus"),
            "--ca-file": ("FILE", "certificate authorities to trust, as PEM (default: those of the system)"),
            "--max-age": {
                "type": partial(seconds, "--max-age", least=1, most=86400),
                "metavar": "SECONDS",
                "help": f"how old evidence may be (default: {_SAMPLES_AGE}; with --events {_EVENTS_AGE})",
            },
        },
        kind="fleet",
        description="Show on which keys each service runs. A condition is proven only by recent evidence of every"
        " instance, with nothing against it.",
        examples=(
            "fleet --roster roster.toml \\\n      --prometheus http://127.0.0.1:9090",
            "fleet --roster roster.toml --events events.jsonl \\\n      --require moved",
            "fleet --instances web-1 web-2 --events events.jsonl \\\n      --require moved",
        ),
        statuses={
            "0": "every condition of --require holds, or none was asked for",
            "1": "a condition does not hold, or is not proven; always without --roster and --instances",
            "2": "usage error, or the expected keys are unknown",
            "75": "Prometheus or the secret manager did not answer completely",
        },
    )


def _judge_fleet(
    request: Request,
    *,
    roster: str | None,
    instances: Sequence[str],
    require: Sequence[Sequence[Any]],
    secret: str | None,
    **source: Any,
) -> Result:
    source["events"] = [*chain.from_iterable(source["events"])]
    _require_options(roster, instances, require, **source)
    policies = [policy for policy in request.policies if policy.material.has_fingerprint]
    declared = [policy.name for policy in policies]
    names = [] if secret is None else [policy_of(request.model_class, secret).name]
    services = _services_of(roster, declared, by_name=bool(source["events"])) if roster else ()
    shared = tuple(request.sources)
    recorded = find_log(request).read()
    sources = dict.fromkeys([service.sources or shared for service in services] or [shared])
    reports = {each: checked(request._replace(sources=each), log=recorded)[0] for each in sources}
    for report in reports.values():
        if not report.secrets:  # a source could not be read
            return failed_result(report)
    # Without a roster, only the evidence names the service.
    environments = {service.name: service.environment or request.environment for service in services}
    try:
        evidence = _evidence(
            max(report.checked_at for report in reports.values()),
            _named_keys(require),
            environments=environments or {"": request.environment},
            **source,
        )
    except ManagerError as error:
        return Result(EXIT_UNAVAILABLE, stderr=[f"{PROGRAM}: --prometheus: the server {error.message}; {error.remedy}"])
    services = services or (_only_service(evidence, instances),)
    known = _keys_by_service(request, services, reports, recorded, declared)
    names = names or _asked(policies, known)
    if not any(name in names for _, name in known):
        fail("--secret: no service has it, or it has no fingerprint: others issue it, or it is not set")
    return _fleet_result(reports, recorded, known, names, require=require, evidence=evidence)


def _services_of(roster: str, declared: Collection[str], *, by_name: bool) -> Sequence[Service]:
    """Return the services of a roster, which names no program: whoever could change it could run one."""
    services = parse_roster(read_input("--roster", roster, most=MAX_DOCUMENT_BYTES).decode("utf-8-sig", "replace"))
    if any(source.startswith("exec:") for service in services for source in service.sources):
        fail("--roster: a roster names no exec:PROGRAM; leave its from out, and pass --from exec:PROGRAM")
    if any(not {*service.secrets} <= {*declared} for service in services):
        fail(f"--roster: unknown secret (choose from {', '.join(declared)})")
    if by_name and any(isinstance(service.instances, int) for service in services):
        # One that died could stand for a silent one.
        fail("--roster: with --events, write the names of the instances, not their number")
    return services


def _only_service(evidence: Evidence, instances: Sequence[str]) -> Service:
    """Return the service of `ROBODJ_SERVICE`, or the only one that was seen, with these instances."""
    seen = {use.service for use in evidence.uses} | {service for service, _ in evidence.unknown}
    name = event_setting(Environment(), SERVICE)
    if not name and len(seen) != 1:
        what = f"the evidence is about {listed(sorted(seen), _MOST_SHOWN)}" if seen else "no service was seen"
        fail(f"{what}; set ROBODJ_SERVICE to the service, or pass --roster")
    try:
        return Service(name or seen.pop(), tuple(instances) or None)
    except ValidationError:
        fail("--instances: invalid names; write the name of each instance once")


def _keys_by_service(
    request: Request,
    services: Iterable[Service],
    reports: Mapping[tuple[str, ...], Report],
    recorded: OperationsLog,
    declared: Sequence[str],
) -> _Known:
    """Return the expected keys of each service, by the report of its sources, or by the log."""
    known: _Known = {}

    @cache
    def keys_and_roles(sources: tuple[str, ...], environment: str | None) -> tuple[Mapping[str, Slots], Any]:
        keys = expected_keys(reports[sources], recorded.records, environment)
        if sources:  # no service has moved to a key that a start refuses
            keys |= {each.secret: Slots() for each in reports[sources].secrets if not each.fingerprint}
        return keys, roles_of(reports[sources], recorded.records, keys)

    for service in services:
        keys, role_of = keys_and_roles(
            service.sources or tuple(request.sources), service.environment or request.environment
        )
        known |= {(service, name): (keys[name], partial(role_of, name)) for name in service.secrets or declared}
    return known


def _named_keys(require: Sequence[Sequence[Any]]) -> set[str]:
    """Return the fingerprints in the conditions."""
    return {key for _, *given in require for key in given}


def _asked(policies: Iterable[SecretPolicy], known: _Known) -> list[str]:
    """Return the secrets of which each instance needs a key: not an optional one whose key is nowhere."""
    having = {name for (_, name), (keys, _) in known.items() if keys.current}
    return [policy.name for policy in policies if policy.required or policy.name in having]


def _fleet_result(
    reports: Mapping[tuple[str, ...], Report],
    recorded: OperationsLog,
    known: _Known,
    names: Sequence[str],
    *,
    require: Sequence[Sequence[Any]],
    evidence: Evidence,
) -> Result:
    """Return what the evidence proves, if the reports by source, or the log, have the expected keys."""
    is_lost = recorded.is_missing or (not recorded.records and os.path.lexists(recorded.path + HEAD_FILE))
    if require and not all(reports) and (is_lost or recorded.defects):
        fail(f"{recorded.name} is missing, does not verify or has lost its records; pass --from, or restore it")
    asked = [(about, name, _expected(about, given, name, known)) for about, *given in require for name in names]
    reported = {key for use in evidence.uses for name in use.keys for key in fingerprints_of(use, name)}
    for key in _named_keys(require) - reported - evidence.reported:
        if all(role(key) == "unrecorded" for _, role in known.values()):
            fail("--require none-on: nobody ever reported or recorded this fingerprint; correct it, or pass the log")
    verdicts = [verdict for each in asked for verdict in judge(*each, evidence)]
    failing = {(each.service, each.secret) for each in verdicts if not each.holds}
    reasons = [*dict.fromkeys(_reasons(evidence, verdicts))]
    uses_of = grouped(evidence.uses, attrgetter("service"))
    rows = [
        _standing(of, name, role, uses_of[of.name], evidence)
        for (of, name), (_, role) in known.items()
        if name in names
    ]
    findings = [each for report in reports.values() for each in report.findings if each.check is Check.SETTING]
    holds = (
        *[verdict.holds for verdict in verdicts],
        *[each.severity is not Severity.ALERT for each in findings],
        *[service.instances is not None for service, _ in known],
    )
    return Result(
        EXIT_CLEAN if all(holds) else EXIT_ALERTS,
        [*dict.fromkeys(map(finding_text, findings)), *_verdict_lines(known, evidence, verdicts, reasons)],
        lambda: {
            "kind": "fleet",
            "services": rows,
            "verdicts": VERDICTS.dump_python(verdicts, mode="json"),
            "reasons": reasons,
            "other_environments": evidence.elsewhere,
        },
        recorded.complaint,
        table=[("", "SERVICE", "SECRET", "PROVEN", "RUNS ON"), *map(partial(_table_row, failing), rows)],
    )


def _require_options(
    roster: str | None,
    instances: Sequence[str],
    require: Sequence[Sequence[str]],
    *,
    prometheus: Sequence[str],
    events: Sequence[str],
    select: str | None,
    token_file: str | None,
    ca_file: str | None,
    **_: object,
) -> None:
    """Refuse options that are invalid or do not fit together, without a part of a value."""
    if bool(events) + len(prometheus) != 1:
        fail("pass --prometheus once, or --events")
    if events and (select, token_file, ca_file) != (None, None, None):
        fail("--select, --token-file and --ca-file work only with --prometheus")
    if roster and instances:
        fail("pass --roster or --instances")
    if [roster, *events].count(PIPE) > 1:
        fail("only one of --roster and --events can be stdin")
    if not all(map(is_address, prometheus)):
        fail("--prometheus: invalid address; use one like http://127.0.0.1:9090")
    if select is not None and not is_selector(select):
        fail('--select: invalid labels; write them like environment="prod"')
    for name, *given in require:
        if name not in _CONDITIONS or len(given) != (name == "none-on") or not all(map(is_fingerprint, given)):
            fail("--require: use moved, has-next, or none-on with one fingerprint")


def _expected(condition: str, given: Sequence[str], secret: str, known: _Known) -> dict[Service, str | None]:
    """Return the key of a condition for each service. A service without a next key is not asked for one."""
    having = {service: each for (service, name), each in known.items() if name == secret}
    if given:
        return dict.fromkeys(having, given[0])
    slot, fix = _CONDITIONS[condition]
    found: dict[Service, str | None] = {service: getattr(keys, slot) for service, (keys, _) in having.items()}
    missing = [service.name for service, key in found.items() if not key]
    revoked = [service.name for service, key in found.items() if key and having[service][1](key) == "revoked"]
    if missing and (condition == "moved" or len(missing) == len(found)):
        fail(f"no {slot} key of {secret} is known for {missing[0]}; {fix}; to compare only one secret, pass --secret")
    if revoked:
        fail(f"the {slot} key of {secret} is revoked for {revoked[0]}; replace it: see rotate run --help")
    return found


def _evidence(
    now: datetime,
    wanted: Collection[str],
    *,
    environments: Mapping[str, str | None],
    prometheus: Sequence[str],
    events: Sequence[str],
    select: str | None,
    token_file: str | None,
    ca_file: str | None,
    max_age: float | None,
) -> Evidence:
    if events:
        reader = EventReader(now, int(max_age or _EVENTS_AGE), wanted)
        for path in events:
            with opened_input("--events", path) as file:
                reader.read(file, f"{_name_of_file(path)}, line ")
        return reader.evidence(environments)
    return ask(
        prometheus[0],
        now,
        selector=select or "",
        max_age=int(max_age or _SAMPLES_AGE),
        environments=environments,
        token=None if token_file is None else read_token(token_file),
        ca_file=ca_file,
    )


def _name_of_file(path: str) -> str:
    """Return the path of a file, unless it may be a key or forge a line."""
    if path == PIPE:
        return "stdin"
    return path if path.isprintable() and not could_hold_key(path) else "a file of --events"


def _standing(
    service: Service, secret: str, role: Callable[[str | None], Role], own: Sequence[Use], evidence: Evidence
) -> Document:
    """Return how many instances of a service are proven, and how many run on which key of a secret."""
    certain = [use for use in own if not evidence.faults and (service.name, use.instance) not in evidence.unknown]
    proven = proven_instances(certain, secret)
    names = service.instances
    keys = {(use.instance, signing_key(use, secret)): "lately " for use in own}
    keys |= {(use.instance, signing_key(use, secret)): "" for use in own if use.is_fresh}
    return {
        "service": service.name,
        "secret": secret,
        "instances": len(names) if isinstance(names, tuple) else names,
        "proven": len(proven & {*names} if isinstance(names, tuple) else proven),
        "runs_on": Counter(f"{when}{role(key)}" for (_, key), when in keys.items() if key),
    }


def _table_row(failing: Collection[tuple[str, str]], row: Document) -> tuple[str, ...]:
    runs_on = ", ".join(f"{number} {role}" for role, number in sorted(row["runs_on"].items()))
    of_all = "seen" if row["instances"] is None else f"of {row['instances']}"
    is_failing = (row["service"], row["secret"]) in failing
    proven = f"{row['proven']} {of_all}"
    return _label(row, is_failing=is_failing), row["service"], row["secret"], proven, runs_on or UNPROVEN


def _label(row: Document, *, is_failing: bool) -> str:
    """Return the label of a row: a wrong key first, then missing proofs, then the conditions."""
    if any(role.endswith(("revoked", "unrecorded")) for role in row["runs_on"]):
        return "FAIL"
    if row["proven"] != row["instances"]:
        return "?"
    if is_failing:
        return "FAIL"
    return "ok" if row["runs_on"].keys() == {"current"} else "warn"


def _verdict_lines(
    known: _Known, evidence: Evidence, verdicts: Sequence[Verdict], reasons: Sequence[str]
) -> Iterator[str]:
    """Yield what is not certain or not ready, and the verdict of each condition."""
    if others := sorted({use.service for use in evidence.uses} - {service.name for service, _ in known}):
        yield f"Other services, which count against a condition: {listed(others, _MOST_SHOWN)}."
    if evidence.elsewhere:
        yield f"Of other environments, not counted: {listed(evidence.elsewhere, _MOST_SHOWN)}."
    failing = dict[str, dict[str, None]]()
    for each in verdicts:
        key = f" {each.fingerprint}" if each.condition == "none-on" else ""
        failing.setdefault(f"{each.condition}{key}", {}).update({} if each.holds else {each.service: None})
    yield from reasons[:_MOST_SHOWN]
    if len(reasons) > _MOST_SHOWN:
        yield f"and {len(reasons) - _MOST_SHOWN} more; --format json has all of them"
    yield MODEL
    for condition, named in failing.items():
        which = "every service that has a next key" if condition == "has-next" else "every service"
        where = f"NOT PROVEN for {listed([*named], _MOST_SHOWN)}" if named else f"proven for {which}"
        yield mark(f"{condition}: {where}.", RED if named else GREEN)
    for service in {service.name for service, _ in known if service.instances is None}:
        yield from _lines_without_roster(service, evidence)


def _lines_without_roster(service: str, evidence: Evidence) -> Iterator[str]:
    """Yield how to name the instances of a service, and that nothing is proven before that."""
    seen = {use.instance for use in evidence.uses if use.service == service}
    if seen:
        yield f"If {service} has no other instances, pass --instances {' '.join(sorted(seen))}."
    yield mark(f"NOT PROVEN: {ONLY_SEEN if seen else 'no instance was seen'}.", RED)


def _reasons(evidence: Evidence, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what is not certain, who does not follow, and why conditions do not hold."""
    yield from (f"{UNPROVEN}: {fault}" for fault in evidence.faults)
    if not verdicts:
        yield from (f"{'/'.join(who)}: {UNPROVEN}: {why}" for who, why in evidence.unknown.items())
    named = {who for each in verdicts for who in each.not_ready}  # their reasons have their states
    states = [(f"{use.service}/{use.instance}", use.state) for use in evidence.uses if use.state]
    yield from [f"{who}: {state}" for who, state in states if who not in named]
    for each in verdicts:
        secret = "" if each.condition == "none-on" else f"{each.secret}: "  # there, a reason names the secret
        for who, why in each.not_ready.items():
            if who != each.service or not evidence.faults:  # a fault is the reason of every service
                yield f"{who}: {secret}{why}"
