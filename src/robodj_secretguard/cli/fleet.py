"""`fleet`: which service runs on which keys, and what is proven about it (policy sections 3 and 4)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, Final

from robodj_secretguard.cli.log import checked
from robodj_secretguard.cli.options import (
    MAX_DOCUMENT_BYTES,
    PIPE,
    Commands,
    Request,
    add_command,
    model_of,
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
    failed_status,
    finding_text,
)
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.fleet.evidence import read_events
from robodj_secretguard.fleet.queries import ask, is_address, is_selector, read_token
from robodj_secretguard.fleet.roster import Service, parse_roster
from robodj_secretguard.fleet.verdict import (
    HAS_NEXT,
    MOVED,
    NONE_ON,
    UNPROVEN,
    Evidence,
    RoleOf,
    Verdict,
    fingerprints_of,
    judge,
    proven_instances,
    signing_key,
)
from robodj_secretguard.lifecycle.operations_log import HEAD_FILE, OperationsLog
from robodj_secretguard.lifecycle.standing import expected_keys, roles_of
from robodj_secretguard.secret.material import is_fingerprint
from robodj_secretguard.secret.texts import PROGRAM, RED, count, listed, mark
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import iso_utc

_SAMPLES_AGE: Final = 120
"""Two periods of 30 seconds between refreshes, and one of 60 seconds between scrapes."""
_EVENTS_AGE: Final = 900
"""Both in seconds."""
_MOST_SECONDS: Final = 86400
_MOST_SHOWN: Final = 20
_SLOTS: Final = {MOVED: "current", HAS_NEXT: "next", NONE_ON: ""}
"""By condition: the slot of the expected key, unless the condition names the key."""
_HOW_TO_KNOW: Final = {
    "current": "pass --from, or --environment with an operations log",
    "next": "stage one (rotate stage)",
}


def add(commands: Commands) -> None:
    """Add the command."""
    once: dict[str, Any] = {"action": "append", "default": []}
    add_command(
        commands,
        "fleet",
        _judge_fleet,
        options=("--from", "--wait", "--environment", "--operations-log", "--config-dir", "--model", "--format"),
        own={
            "--roster": {
                "required": True,
                "metavar": "FILE",
                "help": "TOML: a table for each service, with the number or the names of its instances (- for stdin)",
            },
            "--prometheus": {**once, "metavar": "URL", "help": "the Prometheus that scrapes the services"},
            "--events": {
                **once,
                "metavar": "FILE",
                "help": "events of the services in place of Prometheus, as lines of JSON (- for stdin)",
            },
            "--require": {
                **once,
                "nargs": "+",
                "metavar": "CONDITION",
                "help": "fail unless this is proven for every service: moved, has-next, or none-on FINGERPRINT;"
                " repeatable",
            },
            "--secret": {"metavar": "NAME", "help": "only this secret (default: every one with a fingerprint)"},
            "--select": {"metavar": "LABELS", "help": "only the samples with these labels: 'environment=\"prod\"'"},
            "--token-file": {"metavar": "FILE", "help": "a file with the bearer token for Prometheus"},
            "--ca-file": {
                "metavar": "FILE",
                "help": "the authorities that sign the certificate of Prometheus",
            },
            "--max-age": {
                "type": partial(seconds, "--max-age", least=1, most=_MOST_SECONDS),
                "metavar": "SECONDS",
                "help": f"how old evidence may be (default: {_SAMPLES_AGE}; with --events {_EVENTS_AGE})",
            },
        },
        description="Show which instances run on which keys. A condition is proven only by recent evidence of every"
        " instance, with nothing against it.",
        examples=(
            "fleet --roster roster.toml \\\n      --prometheus http://127.0.0.1:9090",
            "fleet --roster roster.toml --events events.jsonl \\\n      --require moved",
        ),
        statuses={
            "0": "every condition of --require holds, or none was asked for",
            "1": "a condition does not hold, or is not proven",
            "2": "usage error, or the expected keys are unknown",
            "75": "Prometheus or the secret manager did not answer completely",
        },
    )


def _judge_fleet(
    request: Request,
    *,
    environment: str | None,
    roster: str,
    require: Sequence[Sequence[Any]],
    secret: str | None,
    **source: Any,
) -> Result:
    model = model_of(request)
    declared = [policy.name for policy in model.secret_policies.values() if not policy.is_opaque]  # with a fingerprint
    names = declared if secret is None else [policy_of(model, secret).name]
    _require_source(roster, **source)
    _require_conditions(require)
    services = parse_roster(read_input("--roster", roster, most=MAX_DOCUMENT_BYTES).decode("utf-8-sig", "replace"))
    if any(not {*service.secrets} <= {*declared} for service in services):
        fail(f"--roster: unknown secret (choose from {', '.join(declared)})")
    pairs = [(service, name) for service in services for name in names if name in (service.secrets or declared)]
    having = {name: [service for service, its in pairs if its == name] for name in names}
    if not pairs:
        fail("--secret: no service of the roster has it, or a vendor issues it, so it has no fingerprint")

    sources = {service: service.sources or tuple(request.sources) for service in services}
    read = {each: checked(request._replace(sources=each), model) for each in dict.fromkeys(sources.values())}
    if failed := [report for report, _ in read.values() if not report.secrets]:  # a source could not be read
        document = failed[0].as_dict if request.format == "json" else None
        return Result(failed_status(failed[0], EXIT_ALERTS), [*map(finding_text, failed[0].findings)], document)
    keys, role_of = dict[Service, Mapping[str, Slots]](), dict[Service, RoleOf]()
    for service, each in sources.items():
        report, recorded = read[each]
        if require and not each:
            _require_records(recorded)
        keys[service] = expected_keys(report, recorded.records, service.environment or environment)
        role_of[service] = roles_of(report, recorded.records, keys[service])
    asked = {
        " ".join((condition, *given)): [
            (condition, name, _expected(condition, given, name, {of: keys[of] for of in its}, role_of))
            for name, its in having.items()
        ]
        for condition, *given in require
    }
    now = max(report.checked_at for report, _ in read.values())
    try:
        evidence = _evidence(services, now, **source)
    except ManagerError as error:
        return Result(EXIT_UNAVAILABLE, stderr=[f"{PROGRAM}: --prometheus: it {error.message}; {error.remedy}"])
    reported = {key for use in evidence.uses for name in use.keys for key in fingerprints_of(use, name)}
    for key in {key for _, *given in require for key in given} - reported:
        if all(role_of[service](name, key) == "unrecorded" for service, name in pairs):
            fail("--require none-on: nobody ever reported or recorded this fingerprint; is it mistyped?")

    verdicts = {text: [each for about in every for each in judge(*about, evidence)] for text, every in asked.items()}
    rows = [_standing(service, name, evidence, role_of[service]) for service, name in pairs]
    findings = [each for report, _ in read.values() for each in report.findings if each.check is Check.SETTING]
    return Result(
        EXIT_CLEAN if all(each.holds for every in verdicts.values() for each in every) else EXIT_ALERTS,
        [*dict.fromkeys(map(finding_text, findings)), *_lines(services, evidence, verdicts)],
        lambda: {
            "kind": "fleet",
            "checked_at": iso_utc(now),
            "services": rows,
            "faults": [*evidence.faults],
            "verdicts": [asdict(each) for every in verdicts.values() for each in every],
        },
        [*dict.fromkeys(line for _, recorded in read.values() for line in recorded.complaint)],
        table=[("", "SERVICE", "SECRET", "PROVEN", "RUNS ON"), *map(_table_row, rows)],
    )


def _require_source(
    roster: str,
    *,
    prometheus: Sequence[str],
    events: Sequence[str],
    select: str | None,
    token_file: str | None,
    ca_file: str | None,
    max_age: float | None,  # noqa: ARG001 - it fits both
) -> None:
    """Refuse options that do not fit together, without a part of a value."""
    given = [each for each in (select, token_file, ca_file) if each is not None]
    for is_valid, why in (
        (len([*prometheus, *events]) == 1, "pass either --prometheus or --events, once"),
        (
            not (events and given),
            "--select, --token-file and --ca-file work only with --prometheus",
        ),
        ([roster, *events].count(PIPE) <= 1, "only one of --roster and --events can be stdin"),
        (all(map(is_address, prometheus)), "--prometheus: invalid address; use one like http://127.0.0.1:9090"),
        (select is None or is_selector(select), '--select: invalid labels; write them like environment="prod"'),
    ):
        if not is_valid:
            fail(why)


def _require_conditions(require: Sequence[Sequence[Any]]) -> None:
    """Refuse invalid conditions, without a part of a value."""
    for name, *given in require:
        if name not in _SLOTS:
            fail(f"--require: unknown condition (choose from {MOVED}, {HAS_NEXT}, {NONE_ON} FINGERPRINT)")
        if len(given) != (name == NONE_ON) or not all(map(is_fingerprint, given)):
            fail(f"--require: write {MOVED} and {HAS_NEXT} alone, and {NONE_ON} with one fingerprint")


def _require_records(recorded: OperationsLog) -> None:
    """Refuse a log that does not verify, that is named and missing, or that has lost its records."""
    if recorded.defects:
        fail(f"{recorded.name} {recorded.verdict}; pass --from, or repair the log")
    has_head = recorded.head is not None if recorded.found else os.path.lexists(recorded.path + HEAD_FILE)
    if recorded.is_missing or (has_head and not recorded.records):
        fail(f"{recorded.name} has no record; pass --from, or restore the log")


def _expected(
    condition: str,
    given: Sequence[str],
    secret: str,
    keys: Mapping[Service, Mapping[str, Slots]],
    role_of: Mapping[Service, RoleOf],
) -> dict[Service, str | None]:
    """Return the key of a condition for each service. A service without a next key is not asked for one."""
    if given:
        return dict.fromkeys(keys, given[0])
    slot = _SLOTS[condition]
    found: dict[Service, str | None] = {service: getattr(its[secret], slot) for service, its in keys.items()}
    missing = [service.name for service, key in found.items() if not key]
    if missing and (condition == MOVED or len(missing) == len(found)):
        fail(
            f"no {slot} key of {secret} is known for {missing[0]}; {_HOW_TO_KNOW[slot]}; to compare only one secret,"
            " pass --secret"
        )
    for service, key in found.items():
        if role_of[service](secret, key) == "revoked":
            fail(f"the {slot} key of {secret} is revoked for {service.name}; replace it first: see rotate run --help")
    return found


def _evidence(
    services: Sequence[Service],
    now: datetime,
    *,
    prometheus: Sequence[str],
    events: Sequence[str],
    select: str | None,
    token_file: str | None,
    ca_file: str | None,
    max_age: float | None,
) -> Evidence:
    """Read the evidence. Events prove nothing of a number of instances: one that died could stand for a silent one."""
    if events:
        if any(isinstance(service.instances, int) for service in services):
            fail("--roster: with --events, write the names of the instances, not their number")
        with opened_input("--events", events[0]) as file:
            return read_events(file, now, int(max_age or _EVENTS_AGE))
    token = None if token_file is None else read_token(token_file)
    age = int(max_age or _SAMPLES_AGE)
    return ask(prometheus[0], selector=select or "", max_age=age, token=token, ca_file=ca_file)


def _standing(service: Service, secret: str, evidence: Evidence, role_of: RoleOf) -> dict[str, Any]:
    """Return how many instances of a service are proven, and how many run on which key of a secret."""
    own = [use for use in evidence.uses if use.service == service.name]
    certain = [use for use in own if not evidence.faults and (service.name, use.instance) not in evidence.unknown]
    proven = proven_instances(certain, secret)
    names = service.instances
    keys = {(use.instance, key) for use in own if (key := signing_key(use, secret))}
    return {
        "service": service.name,
        "secret": secret,
        "instances": names if isinstance(names, int) else len(names),
        "proven": len(proven if isinstance(names, int) else proven & {*names}),
        "runs_on": Counter(role_of(secret, key) for _, key in keys),
    }


def _table_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    roles = row["runs_on"]
    label = "?" if row["proven"] != row["instances"] else "ok" if roles.keys() == {"current"} else "warn"
    label = "FAIL" if {"revoked", "unrecorded"} & roles.keys() else label
    runs_on = ", ".join(f"{number} {role}" for role, number in sorted(roles.items()))
    return label, row["service"], row["secret"], f"{row['proven']} of {row['instances']}", runs_on or UNPROVEN


def _lines(services: Sequence[Service], evidence: Evidence, verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[str]:
    """Yield what is not certain or not ready, and the verdict of each condition."""
    instances = {service.name: service.instances for service in services}
    others = {
        f"{use.service}/{use.instance}"
        for use in evidence.uses
        if isinstance(names := instances.get(use.service, ()), tuple) and use.instance not in names
    }
    if others:
        yield f"Not in the roster: {listed(sorted(others), _MOST_SHOWN)}."
    yield from (f"{UNPROVEN}: {fault}" for fault in evidence.faults)
    unknown = [f"{'/'.join(who)}: {UNPROVEN}: {why}" for who, why in evidence.unknown.items()]
    against = [
        f"{who}: {why}" if each.condition == NONE_ON else f"{who}: {each.secret}: {why}"
        for every in verdicts.values()
        for each in every
        for who, why in each.not_ready.items()
        if not evidence.faults or who != each.service
    ]
    reasons = [*dict.fromkeys(against if verdicts else unknown)]
    yield from reasons[:_MOST_SHOWN]
    if len(reasons) > _MOST_SHOWN:
        yield f"and {len(reasons) - _MOST_SHOWN} more; --format json has all of them"
    yield MODEL
    failing = {text: [each.service for each in every if not each.holds] for text, every in verdicts.items()}
    for text, those in failing.items():
        which = "every service that has a next key" if text == HAS_NEXT else "every service"
        named = listed([*dict.fromkeys(those)], _MOST_SHOWN)
        yield f"{text}: {f'NOT PROVEN for {named}' if those else f'proven for {which}'}."
    failed = sum(map(bool, failing.values()))
    if failed:
        yield mark(f"Fleet FAILED: {count(failed, 'condition')} not proven.", RED)
    else:
        yield f"Fleet: {'every condition holds' if verdicts else count(len(services), 'service')}."
