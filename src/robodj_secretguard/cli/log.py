"""Read the operations log for commands; and `log`, which shows and verifies it (policy section 3)."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, get_args

from robodj_secretguard.cli.options import (
    LOG_OPTIONS,
    Commands,
    Request,
    add_command,
    add_group,
    given,
    given_set_up,
    judged,
    locate_log,
    read_sources,
    span_of,
    with_model_class,
)
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, MODEL, Result, fail
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import HASH, Document, Event, Record, Records, Who
from robodj_secretguard.lifecycle.standing import recorded_findings, with_recorded_keys
from robodj_secretguard.secret.texts import (
    COMMAND_INDENT,
    RED,
    ascii_text,
    command,
    count,
    mark,
)
from robodj_secretguard.startup.inputs import OPERATIONS_LOG, iso_utc
from robodj_secretguard.startup.report import Report, finding, with_findings
from robodj_secretguard.startup.rules import Check, Problem, Severity

if TYPE_CHECKING:
    from datetime import datetime

    from robodj_secretguard.managers.manager import Sources

LIMITS: Final = (
    "This finds damage and careless edits. Somebody who can write to both the log and its head file can still change or"
    " remove the last records, or rewrite the whole log. To detect that, pass the last hash in your log system with"
    " --expect."
)
_PROOF: Final = "To prove that no record was lost in between, run"
# The name of each event in a sentence.
_EVENTS: Final = {
    "rotated": "the rotation of {}",
    "rotation-incomplete": "the incomplete rotation of {}",
    "found": "the key of {} that is in use",
    "revoked": "the revocation of the key of {}",
    "staged": "the next key of {}",
    "rolled-back": "the return of {} to the previous key",
    "retired": "the removal of the previous key of {}",
    "restored": "the restored key of {}",
    "continued": "the end of an earlier file",
}
_HEADINGS: Final = (
    "#",
    "WHEN",
    "EVENT",
    "SECRET",
    "ENVIRONMENT",
    "OPERATOR",
    "TICKET",
    "FINGERPRINT",
    "REPLACED",
    "WHY",
)


def find_log(request: Request) -> OperationsLog:
    """Return the operations log, which was not read yet."""
    return OperationsLog(*locate_log(request))


def read_log(log: OperationsLog) -> OperationsLog:
    """Read a log that must exist."""
    log.read()
    if log.unreadable or not log.found:
        fail(f"{log.name}: {log.unreadable or 'it does not exist'}")
    return log


def who_of(request: Request) -> Who:
    """Return the operator's texts."""
    return Who(**{name: getattr(request, name) for name in Who._fields})


def checked(
    request: Request, sources: Sources | None = None, log: OperationsLog | None = None
) -> tuple[Report, OperationsLog]:
    """Return the check's report with findings from the operations log, and that log.

    Sources and a log that were not read yet are read now.
    """
    log = log or find_log(request).read()
    sources = sources or read_sources(request)
    report = judged(request, sources)
    policies = request.policies
    options = given_set_up(request)
    found = [*recorded_findings(report, log.records, policies, options)]
    if sources and log.records:
        from robodj_secretguard.lifecycle.drift import find_drift  # noqa: PLC0415 - few commands have sources

        found += find_drift(sources.deliveries, policies, log.records, options)
    if log.is_missing:
        problem = Problem(
            f"{log.named_by} names a file that does not exist",
            f"set {log.named_by} to the path of the operations log",
            "environment" if log.named_by == OPERATIONS_LOG else "none",
            Severity.WARNING,
        )
        found.append(finding(policies, Check.SETTING, problem))
    report = with_findings(report, found)
    if not (sources and log.records):
        return with_recorded_keys(report, log.records, policies), log
    from robodj_secretguard.lifecycle.replacements import can_restore  # noqa: PLC0415 - few commands have sources

    return with_recorded_keys(report, log.records, policies, partial(can_restore, policies)), log


def checked_by_gate(request: Request, sources: Sources | None) -> Report:
    """Return the report for the gate, with a finding if the log was not checked completely."""
    report, log = checked(request, sources)
    verify = command("log", "verify", *(given(request, "operations_log") or given(request, "config_dir", "model")))
    if log.defects:
        problem = Problem(
            f"the operations log {log.verdict}",
            f"run {verify}; unless only the last line is incomplete, keep the log as evidence and begin a new one",
            "none",
            Severity.WARNING,
        )
    elif log.continues:
        problem = Problem(
            "the operations log continues an earlier file, whose records are not checked here",
            f"run {verify}, then the command that it prints",
            "none",
            Severity.NOTE,
        )
    else:
        return report
    return with_findings(report, [finding(request.policies, Check.SETTING, problem)])


def add(commands: Commands) -> None:
    """Add both commands."""
    group = add_group(commands, "log", "Show or verify the operations log", {"show": "commands"})
    without_model = {"needs_model": False}
    add_command(
        group,
        "show",
        _show,
        options=(*LOG_OPTIONS, "--environment", "--since", "--until"),
        own={
            "--secret": ("NAME", "only records about this secret"),
            "--event": {
                "choices": get_args(Event),
                "metavar": "EVENT",
                "help": f"only this event: {', '.join(get_args(Event))}",
            },
        },
        defaults=without_model,
        kind="log",
        description="Show the records of the operations log. They are the rotations and the revocations.",
        examples=("log show", "log show --since 2026-11-01 --event rotated"),
        statuses={"0": "shown", "1": "shown, but the log does not verify", "2": "usage error, or there is no log"},
    )
    add_command(
        group,
        "verify",
        _verify,
        options=LOG_OPTIONS,
        own={"--expect": ("HASH", "fail if the record with this hash, or one before it, is missing")},
        defaults=without_model,
        kind="log-verification",
        description="Verify the hash chain of the operations log. It finds a record that was changed or removed.",
        examples=("log verify", "log verify --format json"),
        statuses={"0": "it verifies", "1": "it does not verify", "2": "usage error, or there is nothing to verify"},
    )


def _log_of(request: Request) -> OperationsLog:
    """Return the log. The model is imported only if its config directory can matter."""
    if request.operations_log is None:
        return find_log(with_model_class(request))
    if given(request, "config_dir", "model"):
        fail("--config-dir and --model do not work with --operations-log; leave them out")
    return find_log(request)


def _show(
    request: Request,
    *,
    since: datetime | None,
    until: datetime | None,
    secret: str | None,
    event: str | None,
) -> Result:
    since, until = span_of(since, until)
    log = read_log(_log_of(request))
    wanted = {"secret": secret, "environment": request.environment, "event": event}
    records = [
        record
        for record in log.records
        if since <= record.recorded_at < until
        and all(value is None or getattr(record, name) == value for name, value in wanted.items())
    ]
    return Result(
        EXIT_ALERTS if log.defects else EXIT_CLEAN,
        [] if records else ["No records match."],
        lambda: {"kind": "log", "records": [record.as_dict() for record in records]},
        [*_on_stderr(request), *log.complaint],
        table=record_rows(records) if records else (),
    )


def record_rows(records: Records) -> list[tuple[str, ...]]:
    """Return a header and a row for each record. A column that no record fills is left out."""
    rows: list[tuple[str, ...]] = []
    for record in records:
        until = f" until {iso_utc(record.replaced_until)}" if record.replaced_until else ""
        texts = (
            record.secret,
            record.environment,
            record.operator,
            record.ticket,
            record.fingerprint,
            record.replaced and f"{record.replaced}{until}",
            "; ".join(filter(None, (record.reason, record.note))),
        )
        cells = (ascii_text(text) if text else "-" for text in texts)
        rows.append((str(record.sequence), iso_utc(record.recorded_at), record.event, *cells))
    filled = [column for column in zip(_HEADINGS, *rows, strict=True) if {*column[1:]} != {"-"}]
    return [*zip(*filled, strict=True)]


def _verify(request: Request, *, expect: str | None) -> Result:
    if expect is not None and not re.fullmatch(HASH, expect):
        fail("--expect: invalid hash; use sha256: and 64 hexadecimal digits in lower case")
    log = read_log(_log_of(request))
    if not log.records and not log.defects:
        message = f"{log.name}: the log has no record; nothing was verified"
        if earlier := log.continues:
            message += f". Record {earlier['sequence']} was the last one of an earlier file. {_PROOF} {_proof(earlier)}"
        fail(message)
    document = {"kind": "log-verification", **log.verify(expect)}
    defects = document["defects"]
    number = document["expected_sequence"]
    earlier = log.continues
    lines = [mark(f"ALERT: {defect}.", RED) for defect in defects]
    if log.last:
        lines.append(f"{count(len(log.records), 'record')}. The hash of the last record is {log.last.hash}.")
    if earlier:
        lines += [
            f"This log continues an earlier file, after record {earlier['sequence']} ({earlier['hash']}).",
            f"{_PROOF}:",
            f"{COMMAND_INDENT}{_proof(earlier)}",
        ]
    if number:
        lines.append(f"Found the expected record: number {number}. The records before it in this file are unchanged.")
    lines += [LIMITS, f"The operations log {'does NOT verify' if defects else 'verifies'}."]
    return Result(EXIT_ALERTS if defects else EXIT_CLEAN, lines, lambda: document, _on_stderr(request))


def _on_stderr(request: Request) -> list[str]:
    """Return the model's line, so that stdout has only the table or the verdict. A JSON document has it."""
    return [MODEL] if request.format == "text" else []


def _proof(earlier: Document) -> str:
    """Return the command that verifies that an earlier file is complete."""
    return command("log", "verify", "--operations-log", "EARLIER-FILE", "--expect", earlier["hash"])


def recorded_line(record: Record) -> str:
    """Return a record as a sentence, with its number, fingerprint and hash."""
    what = _EVENTS[record.event].format(record.subject)
    where = f" in {record.environment}" if record.environment else ""
    key = f", fingerprint {record.fingerprint}" if record.fingerprint else ""
    return (
        f"Recorded {what}{where} at {iso_utc(record.recorded_at)}: record {record.sequence}{key}, hash {record.hash}."
        f"{f' Note: {ascii_text(record.note)}' if record.note else ''}"
    )
