"""`fleet`: which instances run on which keys (policy sections 3 and 4)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from robodj_secretguard.cli.log import checked
from robodj_secretguard.cli.options import (
    FORMAT,
    PIPE,
    Commands,
    Request,
    add_command,
    add_group,
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
from robodj_secretguard.fleet.evidence import Evidence, Roster, lines_of, observe, parse_event, parse_roster
from robodj_secretguard.fleet.scrapes import NoAnswerError, is_address, is_selector, scraped
from robodj_secretguard.fleet.verdict import (
    HAS_NEXT,
    MOST_SECONDS,
    MOVED,
    NONE_ON,
    UNPROVEN,
    Fleet,
    Instance,
    NotReady,
    RoleOf,
    fleet_as_dict,
    judge_of,
    judges_of,
    unready_instances,
    used,
    why_unknown,
)
from robodj_secretguard.lifecycle.operations_log import HEAD_FILE, OperationsLog
from robodj_secretguard.lifecycle.standing import expected_keys, roles_of
from robodj_secretguard.secret.material import is_fingerprint
from robodj_secretguard.secret.texts import PROGRAM, RED, count, listed, mark
from robodj_secretguard.startup.report import SecretStatus
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import iso_utc

DEFAULT_MAX_AGE: Final = 900
DEFAULT_MAX_SKEW: Final = 300
"""Both in seconds."""
CONDITION: Final = "condition"
WAIT: Final = "wait"
"""The mark of keys that an instance has probably given up. They count for a while."""
_MARKS: Final = {"current": "ok", "next": "warn", "previous": "warn", "superseded": "warn"}
_MOST_SHOWN: Final = 20


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        add_group(commands, "fleet", "Show which instances run on which keys"),
        "status",
        _show_status,
        options=("--from", "--wait", "--environment", "--operations-log", "--config-dir", "--model"),
        own={
            "--roster": {
                "required": True,
                "metavar": "FILE",
                "help": "the expected instances, one in a line: the service and the instance (- for stdin)",
            },
            "--events": {
                "action": "append",
                "default": [],
                "metavar": "FILE",
                "help": "JSON lines with events of processes, as log collectors export them (- for stdin); repeatable",
            },
            "--prometheus": {
                "action": "append",
                "default": [],
                "metavar": "URL",
                "help": "a Prometheus that scrapes the instances: its labels job and instance name them; repeatable",
            },
            "--select": {"metavar": "LABELS", "help": "only these series: 'environment=\"prod\"'"},
            "--secret": {"metavar": "NAME", "help": "only this secret (default: every one with a fingerprint)"},
            "--max-age": {
                "type": partial(_whole_seconds, "--max-age", 1),
                "default": DEFAULT_MAX_AGE,
                "metavar": "SECONDS",
                "help": f"how old evidence may be (default: {DEFAULT_MAX_AGE})",
            },
            "--max-skew": {
                "type": partial(_whole_seconds, "--max-skew", 0),
                "default": DEFAULT_MAX_SKEW,
                "metavar": "SECONDS",
                "help": f"how much the clocks of the machines may differ (default: {DEFAULT_MAX_SKEW})",
            },
            "--format": FORMAT,
            "--require": {
                "action": "append",
                "nargs": "+",
                "default": [],
                "metavar": "CONDITION",
                "help": "fail unless this is proven for every instance: moved, has-next, or none-on FINGERPRINT;"
                " repeatable",
            },
        },
        description="Show which instances run on the current, the next, the previous or a revoked key. Only evidence"
        " that is younger than --max-age proves something.",
        examples=(
            "fleet status --roster roster.txt --events events.jsonl \\\n      --require moved",
            "fleet status --roster roster.txt \\\n      --prometheus http://127.0.0.1:9090",
        ),
        statuses={
            "0": "every condition of --require holds, or none was asked for",
            "1": "a condition does not hold, or is not proven",
            "2": "usage error, or the expected keys are unknown",
            "75": "Prometheus did not answer completely",
        },
    )


def _whole_seconds(name: str, least: int, text: str) -> int:
    number = seconds(name, text, least=least, most=MOST_SECONDS)
    return int(number) if number == int(number) else fail(f"{name}: invalid number of seconds; use a whole one")


def _show_status(
    request: Request,
    *,
    environment: str | None,
    roster: str,
    events: Sequence[str],
    prometheus: Sequence[str],
    select: str | None,
    secret: str | None,
    max_age: int,
    max_skew: int,
    require: Sequence[Sequence[str]],
) -> Result:
    model = model_of(request)
    declared = [policy.name for policy in model.secret_policies.values() if not policy.is_opaque]
    named = declared if secret is None else [policy_of(model, secret).name]
    secrets = [name for name in declared if name in named]  # others have no fingerprint
    if not secrets:
        fail("--secret: it has no fingerprint, because a vendor issues it")
    _require_evidence(roster, events, prometheus, select, max_age=max_age, max_skew=max_skew)
    _require_conditions(require)
    report, recorded = checked(request, model)
    if require and not request.sources:
        _require_records(recorded)
    if not report.secrets:  # a source of --from could not be read
        return Result(
            failed_status(report, EXIT_ALERTS),
            [*map(finding_text, report.findings)],
            report.as_dict if request.format == "json" else None,
        )
    now, known = report.checked_at, expected_keys(report, recorded.records, environment)
    expected = {name: known[name] for name in secrets}
    role_of = roles_of(report, recorded.records, expected)
    past = now - timedelta(seconds=max_skew)
    conditions = {name: judges_of(name, expected, role_of, past) for name in map(" ".join, require)}
    instances = _roster(roster, declared, secrets, has_conditions=bool(require))
    try:
        fleet, numbers = observe(
            _evidence(events, prometheus, select or "", max_age + max_skew),
            instances,
            expected,
            now,
            max_age=max_age,
            max_skew=max_skew,
        )
    except NoAnswerError as error:
        return Result(EXIT_UNAVAILABLE, stderr=[f"{PROGRAM}: --prometheus: no complete answer ({error})"])
    results = {name: [*unready_instances(fleet, judges, now)] for name, judges in conditions.items()}
    rows = [row for instance in fleet.instances for row in _rows(fleet, instance, secrets, role_of, past)]
    lines = [
        *(f"{name}: {_totals(rows, name)}" for name in secrets),
        *(_expected(status, expected[status.secret]) for status in report.secrets if status.secret in expected),
        *(finding_text(finding) for finding in report.findings if finding.check is Check.SETTING),
        *_notes(fleet),
        *_unrecorded_keys(require, secrets, role_of),
        MODEL,
        *_verdict(fleet, results, numbers),
    ]
    return Result(
        EXIT_ALERTS if any(results.values()) else EXIT_CLEAN,
        lines,
        partial(_fleet_document, fleet, role_of, results, numbers),
        recorded.complaint,
        table=[("", "SERVICE", "INSTANCE", "SECRET", "RUNS ON", "SINCE", "SEEN"), *rows],
    )


def _fleet_document(
    fleet: Fleet, role_of: RoleOf, results: Mapping[str, Sequence[NotReady]], numbers: Counter[bool]
) -> dict[str, Any]:
    return {
        "kind": "fleet",
        "fleet": fleet_as_dict(fleet),
        "roles": [{"secret": secret, "fingerprint": key, "role": role_of(secret, key)} for secret, key in used(fleet)],
        "conditions": [
            {
                "condition": name,
                "holds": not failing,
                "not_ready": [{"instance": who, "secret": secret, "why": why} for who, secret, why in failing],
            }
            for name, failing in results.items()
        ],
        "events": numbers[True],
        "invalid_events": numbers[False],
    }


def _unrecorded_keys(require: Sequence[Sequence[str]], secrets: Sequence[str], role_of: RoleOf) -> Iterator[str]:
    for key in (key for _, *fingerprints in require for key in fingerprints):
        if all(role_of(secret, key) == "unrecorded" for secret in secrets):
            yield f"{key} is not a recorded key."


def _require_records(recorded: OperationsLog) -> None:
    """Refuse a log that does not verify, that is named and missing, or that has lost its records."""
    if recorded.defects:
        fail(f"{recorded.name} {recorded.verdict}; pass --from, or repair the log")
    has_head = recorded.head is not None if recorded.found else os.path.lexists(recorded.path + HEAD_FILE)
    if recorded.is_missing or (has_head and not recorded.records):
        fail(f"{recorded.name} has no record; pass --from, or restore the log")


def _require_evidence(
    roster: str,
    events: Sequence[str],
    prometheus: Sequence[str],
    select: str | None,
    *,
    max_age: int,
    max_skew: int,
) -> None:
    """Refuse sources of evidence that do not fit together, without a part of a value."""
    for is_valid, why in (
        (select is None or is_selector(select), '--select: invalid labels; write them like environment="prod"'),
        (max_age > max_skew, "--max-age must be greater than --max-skew"),
        (events or prometheus, "pass --events or --prometheus, which have the evidence"),
        ([roster, *events].count(PIPE) <= 1, "only one of --roster and --events can be stdin"),
        (all(map(is_address, prometheus)), "--prometheus: invalid address; use one like http://127.0.0.1:9090"),
    ):
        if not is_valid:
            fail(why)


def _require_conditions(require: Sequence[Sequence[str]]) -> None:
    """Refuse invalid conditions, without a part of a value."""
    for name, *fingerprints in require:
        if name not in {MOVED, HAS_NEXT, NONE_ON}:
            fail(f"--require: unknown condition (choose from {MOVED}, {HAS_NEXT}, {NONE_ON} FINGERPRINT)")
        most = 1 if name == NONE_ON else 0
        if len(fingerprints) != most or any(not is_fingerprint(text) for text in fingerprints):
            fail(f"--require: write {MOVED} and {HAS_NEXT} alone, and {NONE_ON} with one fingerprint")


def _roster(path: str, declared: Iterable[str], secrets: Iterable[str], *, has_conditions: bool) -> Roster:
    content = read_input("--roster", path, most=1 << 22)
    roster, invalid = parse_roster(content.decode("utf-8-sig", "replace"), declared)
    if invalid:
        fail(
            f"--roster: line {invalid[0]} is invalid; write each instance once: the service, the instance, and names of"
            " declared secrets if not all"
        )
    if not roster:
        fail("--roster: the file has no instance")
    for secret in secrets if has_conditions else ():
        if not any(secret in names for names in roster.values()):
            fail(f"--roster: no instance has {secret}; to compare only one secret, pass --secret")
    return {who: names.intersection(secrets) for who, names in roster.items()}


def _evidence(
    events: Iterable[str], prometheus: Iterable[str], selector: str, most_seconds: int
) -> Iterator[Evidence | None]:
    """Yield the evidence of every source; `None` for an invalid event."""
    for path in events:
        with opened_input("--events", path) as file:
            yield from map(parse_event, lines_of(file))
    for url in prometheus:
        yield from scraped(url, selector, most_seconds)


def _rows(
    fleet: Fleet, instance: Instance, secrets: Iterable[str], role_of: RoleOf, past: datetime
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each key that an instance may run on, and for each secret of which nothing is known."""
    now, whose = fleet.checked_at, (instance.service, instance.instance)
    for secret in secrets:
        for use in fleet.possible(instance, secret, now):
            keys, since = use.keys[secret], iso_utc(use.since) if use.since else "-"
            accepted = [key for key in (keys.next, keys.previous) if key and judge_of(NONE_ON, None, key, past)(keys)]
            role, others = role_of(secret, keys.current), {role_of(secret, key) for key in accepted}
            label = "FAIL" if "revoked" in others else _MARKS.get(role, "FAIL")  # it verifies in every slot
            more = [what for name, what in (("next", "has next"), ("revoked", "accepts revoked")) if name in others]
            seen = f"{max(0, int((now - use.latest_at).total_seconds()))}s ago"
            if is_quiet := fleet.is_quiet(instance, secret, use):
                label = label if "revoked" in {role, *others} else WAIT
            if is_quiet or use.heartbeat > fleet.max_age:
                seen += f", counts until {iso_utc(fleet.counts_until(use))}"
            yield (label, *whose, secret, ", ".join([role, *more]), since, seen)
        if secret in instance.secrets and not fleet.is_proven(instance, secret, now):
            yield ("?", *whose, secret, UNPROVEN, "-", why_unknown(instance).removeprefix(f"{UNPROVEN}: "))


def _totals(rows: Iterable[Sequence[str]], secret: str) -> str:
    """Return on which keys how many instances run."""
    own = {(row[1], row[2], row[4].partition(",")[0]): None for row in rows if row[3] == secret and row[0] != WAIT}
    return ", ".join(f"{number} {role}" for role, number in Counter(role for *_, role in own).items()) or "no instance"


def _expected(status: SecretStatus, keys: Slots) -> str:
    """Return the expected current key, and what it is known from."""
    if not keys.current:
        return f"{status.secret}: the expected key is unknown."
    source = status.source if keys.current == status.fingerprint else "the operations log"
    return f"{status.secret}: the expected key is {keys.current} (from {source})."


def _notes(fleet: Fleet) -> Iterator[str]:
    if others := [instance.name for instance in fleet.instances if not instance.listed]:
        yield f"Not in the roster: {listed(others, _MOST_SHOWN)}."
    refused = [instance for instance in fleet.instances if instance.refused_at]
    for instance in refused[:_MOST_SHOWN]:
        starts, at = count(instance.refused_starts, "start"), iso_utc(instance.refused_at or fleet.checked_at)
        why = f" ({', '.join(instance.refused_checks)})" if instance.refused_checks else ""
        yield f"{instance.name}: {starts} refused, the last one at {at}{why}."
    if len(refused) > _MOST_SHOWN:
        yield f"Starts of {len(refused) - _MOST_SHOWN} more instances were refused."


def _verdict(fleet: Fleet, results: Mapping[str, Sequence[NotReady]], numbers: Counter[bool]) -> Iterator[str]:
    for condition, failing in results.items():
        yield f"{condition}: {'NOT PROVEN' if failing else 'proven for every instance.'}"
        yield from (f"  {who}: {secret}: {why}" for who, secret, why in failing[:_MOST_SHOWN])
        if len(failing) > _MOST_SHOWN:
            yield f"  and {len(failing) - _MOST_SHOWN} more"
    if numbers[False]:
        yield f"{count(numbers[False], 'event')} could not be read."
    if not numbers:
        yield "There was no event."
    failed = sum(map(bool, results.values()))
    if failed:
        yield mark(f"Fleet status FAILED: {count(failed, CONDITION)} not proven.", RED)
    else:
        yield f"Fleet status: {'every condition holds' if results else count(len(fleet.instances), 'instance')}."
