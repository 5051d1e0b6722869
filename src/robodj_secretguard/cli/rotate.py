"""`rotate`: what is next to do, and the record that it was done (policy section 3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.inputs import opened_input
from robodj_secretguard.cli.options import (
    LogPlace,
    add_command,
    add_group,
    given,
    judged,
    log_place,
    model_line,
    model_of,
    model_used,
    policy_of,
)
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, Answer, document
from robodj_secretguard.cli.recorded import evidence, loaded, prepared, with_recorded
from robodj_secretguard.errors import FileError, UsageError
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.rotation import (
    NO_ENVIRONMENT,
    compared,
    completion,
    draft_rotation,
    judge,
    plan,
    started_on,
)
from robodj_secretguard.shapes import Event, Proof
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import count, option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.lifecycle.operations_log import Log
    from robodj_secretguard.report import Report, SecretStatus
    from robodj_secretguard.shapes import Record

STARTUP: Final = "startup"
FUNCTIONS: Final = "functions"

_GATE_FAILED: Final = {None: "the gate failed"}


def add(commands: Commands) -> None:
    """Add both commands."""
    group = add_group(commands, "rotate", "Plan a rotation, or record that it was done")
    shared = ("--ticket", "--operations-log", "--config-dir", "--model", "--format")
    record = add_command(
        group,
        "record",
        _record,
        required=("--environment", "--operator"),
        options=shared,
        description="Record a rotation in the operations log. The gate runs first, environment-only, and nothing is"
        " recorded of a key that fails it, is not new, or is used elsewhere.",
        epilog="exit status: 0 recorded, 1 refused, 2 wrong usage, or it could not be recorded",
    )
    record.set_defaults(require_env_only=True)
    record.add_argument(
        "names", nargs="*", metavar="NAME", help="the secrets that were rotated (default: all new keys)"
    )
    record.add_argument(
        "--attest",
        action="append",
        choices=(STARTUP, FUNCTIONS),
        default=[],
        help="you say that services started and their startup checks passed, or that what depends on"
        " authentication and encryption operates",
    )
    record.add_argument(
        "--service-log",
        metavar="FILE",
        help="a service's log (- for stdin), in which guard()'s event shows that it started on the new key",
    )
    record.add_argument(
        "--known",
        action="append",
        metavar="FILE",
        default=[],
        help="the operations log of another environment, whose keys must be others",
    )
    planned = add_command(
        group,
        "plan",
        _plan,
        options=("--environment", "--operator", *shared),
        description="Print the next commands of a rotation.",
        epilog="exit status: 0 printed, 2 wrong usage",
    )
    planned.add_argument("name", metavar="NAME", help="the secret, such as secret.key")


def _record(arguments: argparse.Namespace) -> Answer:
    model = model_of(arguments)
    named = {policy_of(model, name).name for name in arguments.names}
    report = judged(arguments, model)
    if not report.ok:
        return _refused(arguments, report, _GATE_FAILED, {}, "")
    statuses = [status for status in report.secrets if not named or status.secret in named]
    startup = _startup(arguments, statuses)
    functions = Proof.ATTESTED if FUNCTIONS in arguments.attest else Proof.NOT_DONE
    who = {name: getattr(arguments, name) for name in ("environment", "operator", "ticket")}
    drafts = {each.secret: draft_rotation(each, startup[each.secret], functions, **who) for each in statuses}
    options, log_options = given(arguments, "config_dir", "model"), given(arguments, "operations_log")
    known = [_known(number, file) for number, file in enumerate(arguments.known, start=1)]
    where = log_place(arguments, model)
    try:
        with operations_log.opened(prepared(where)) as log:
            report = judged(arguments, model)  # once more: a key may have been revoked while the log was waited for
            if not report.ok:
                return _refused(arguments, report, _GATE_FAILED, {}, "")
            records = [record for each in (*known, log.log) for record in each.records]
            records.sort(key=lambda record: record.recorded_at)
            accepted, unchanged, refused = judge(
                drafts, records, are_named=bool(named), options=options, log_options=log_options
            )
            comparison = compared(records)
            said = _comparison(comparison, arguments.environment, known)
            if refused:
                return _refused(arguments, report, refused, comparison, said)
            report = with_recorded(arguments, model, report, log.log.records)
            if not report.ok:
                return _refused(arguments, report, _GATE_FAILED, {}, "")
            appended = log.append(accepted)
    except FileError as error:
        msg = f"nothing was recorded: {where.name}: {error}"
        raise UsageError(msg) from None
    events = [record.as_dict() for record in appended]
    if arguments.format == "json":
        fields = {"refusals": [], "unchanged": unchanged, "compared": comparison, "records": events}
        fields["model"] = model_used(arguments)
        result = document(ok=True, **fields, check=report.as_dict())
    else:
        lines = [
            *_lines(appended, (*log_options, *options)),
            *(f"{name}: unchanged, not recorded" for name in unchanged),
        ]
        if arguments.environment not in comparison:
            lines.append(f"These are the first records of {arguments.environment}.")
        result = "\n".join([*lines, said, model_line(arguments)])
    return Answer(EXIT_CLEAN, result, events=events)


def _startup(arguments: argparse.Namespace, statuses: Sequence[SecretStatus]) -> dict[str, Proof]:
    """Return how it is known that services start on each secret's key."""
    keys = {status.secret: status.fingerprint or "" for status in statuses}
    seen: set[str] = set()
    if arguments.service_log is not None:
        with opened_input("--service-log", arguments.service_log) as lines:
            seen = started_on(lines, keys)
    otherwise = Proof.ATTESTED if STARTUP in arguments.attest else Proof.NOT_DONE
    return {secret: Proof.VERIFIED if secret in seen else otherwise for secret in keys}


def _known(number: int, file: str) -> Log:
    log = loaded(LogPlace(file, f"--known, number {number}"))
    if not log.records:
        msg = f"--known, number {number}: it has no record that can be read, and nothing can be compared with it"
        raise UsageError(msg)
    return log


def _comparison(counts: Mapping[str, int], environment: str, known: Sequence[Log]) -> str:
    """Say with how many records of which environments the keys were compared, and what was missing."""
    each = ", ".join(f"{name} {number}" for name, number in counts.items())
    text = f"compared with {count(sum(counts.values()), 'record')}{f': {each}' if each else ''}"
    if not set(counts) - {environment, NO_ENVIRONMENT}:
        text += "; no other environment was compared: pass its log with --known FILE"
    damaged = sum(bool(log.defects) for log in known)
    if damaged:
        text += f"; {count(damaged, 'known log that does', 'known logs that do')} not verify, by what can be read"
    return f"{text}."


def _refused(
    arguments: argparse.Namespace,
    report: Report,
    reasons: Mapping[str, str] | Mapping[None, str],
    comparison: Mapping[str, int],
    said: str,
) -> Answer:
    if arguments.format == "json":
        refused = [{"secret": name, "reason": why} for name, why in reasons.items()]
        fields = {"refusals": refused, "unchanged": [], "compared": comparison, "records": []}
        fields["model"] = model_used(arguments)
        return Answer(EXIT_ALERTS, document(ok=False, **fields, check=report.as_dict()))
    lines = [finding.line for finding in report.findings]
    lines += [f"REFUSED: {f'{name}: ' if name else ''}{why}." for name, why in reasons.items()]
    return Answer(
        EXIT_ALERTS, "\n".join([*lines, *filter(None, [said]), model_line(arguments), "Nothing was recorded."])
    )


def _lines(records: Sequence[Record], options: Sequence[str]) -> list[str]:
    """Return what was recorded, as text."""
    lines = []
    for record in records:
        if record.event is Event.CONTINUED:
            continue
        if record.event is Event.SEALED:
            lines.append(f"record {record.sequence}: closed off what a cut write had left")
            continue
        done = ", ".join(f"{name} {step}" for name, step in record.as_dict()["validation"].items())
        lines += [
            f"{record.secret}: {record.event} in {record.environment}, {record.fingerprint}",
            f"  record {record.sequence} at {iso_utc(record.recorded_at)}: {done}",
        ]
        if record.event is Event.ROTATION_INCOMPLETE:
            lines.append(f"  INCOMPLETE; when the rest is done: {completion(record, options)}")
    first = records[0]
    if first.event is Event.CONTINUED:
        earlier = f"record {first.sequence - 1} of an earlier file ({first.previous})"
        lines.append(f"The operations log continues after {earlier}.")
    elif first.sequence == 1:
        lines.append("These are the first records of a new operations log.")
    return lines


def _plan(arguments: argparse.Namespace) -> Answer:
    model = model_of(arguments)
    policy = policy_of(model, arguments.name)
    report = judged(arguments, model)
    recorded = evidence(arguments, model)
    delivered = next((status.fingerprint for status in report.secrets if status.secret == policy.name), None)
    steps = plan(
        policy,
        recorded.log.records,
        now=datetime.now(UTC),
        delivered=delivered,
        environment=arguments.environment,
        who=(*option("--operator", arguments.operator or "YOUR-NAME"), *given(arguments, "ticket")),
        options=given(arguments, "config_dir", "model"),
        log_options=given(arguments, "operations_log"),
    )
    if arguments.format == "json":
        listed = [{"text": step.text, "command": step.command} for step in steps]
        result = document(ok=True, model=model_used(arguments), secret=policy.name, steps=listed)
        return Answer(EXIT_CLEAN, result, recorded.told)
    lines = [f"Rotation of {policy.name}, every {policy.cadence.days} days by {policy.owner}"]
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number}. {step.text}")
        lines += [f"     {step.command}"] if step.command else []
    lines.append(model_line(arguments))
    return Answer(EXIT_CLEAN, "\n".join(lines), recorded.told)
