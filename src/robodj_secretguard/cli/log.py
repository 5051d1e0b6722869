"""`log`: the operations log, shown and verified (policy section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.options import (
    add_command,
    add_group,
    given,
    log_place,
    model_of,
    model_used,
    span_of,
    told_model,
)
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, Answer, columns, document
from robodj_secretguard.cli.recorded import loaded
from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle.operations_log import find
from robodj_secretguard.models import RuntimeSecrets
from robodj_secretguard.shapes import Event, is_hash
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import PROGRAM, ascii_text, command, count

if TYPE_CHECKING:
    import argparse

    from robodj_secretguard.cli.options import Commands, LogPlace
    from robodj_secretguard.shapes import Head, Record

LIMITS: Final = (
    "It finds damage and careless edits. Somebody who can write the log and its head file can change the last record,"
    " remove the last ones, or write the whole log anew, and it still verifies. To find that, compare with the last"
    " hash in your log system (log verify --expect HASH)."
)
_HEADER: Final = ("#", "WHEN", "EVENT", "SECRET", "ENVIRONMENT", "OPERATOR", "TICKET", "FINGERPRINT")


def add(commands: Commands) -> None:
    """Add both commands."""
    group = add_group(commands, "log", "Show or verify the operations log")
    show = add_command(
        group,
        "show",
        _show,
        options=("--operations-log", "--config-dir", "--model", "--format", "--environment", "--since", "--until"),
        description="Show the records of the operations log.",
        epilog="exit status: 0 shown, 1 shown, and the log does not verify, 2 wrong usage, or there is no log",
    )
    show.add_argument("--secret", metavar="NAME", help="only records of this secret")
    show.add_argument("--event", choices=[str(event) for event in Event], help="only records of this event")
    verify = add_command(
        group,
        "verify",
        _verify,
        options=("--operations-log", "--config-dir", "--model", "--format"),
        description="Verify the chain of the operations log.",
        epilog="exit status: 0 it verifies, 1 it does not, 2 wrong usage, or there is nothing to verify",
    )
    verify.add_argument("--expect", metavar="HASH", help="the hash of a record that must be there, with all before it")


def _show(arguments: argparse.Namespace) -> Answer:
    since, until = span_of(arguments)
    log = loaded(_place(arguments))
    wanted = {"secret": arguments.secret, "environment": arguments.environment, "event": arguments.event}
    records = [
        record
        for record in log.records
        if since <= record.recorded_at < until
        and all(value is None or getattr(record, name) == value for name, value in wanted.items())
    ]
    status = EXIT_ALERTS if log.defects else EXIT_CLEAN
    verify = command("log", "verify", *given(arguments, "operations_log", "config_dir", "model"))
    told = f"{PROGRAM}: the operations log does not verify: {verify} says why" if status else ""
    if arguments.format == "json":
        shown = [record.as_dict() for record in records]
        return Answer(status, document(ok=not status, model=model_used(arguments), records=shown), told)
    text = columns([_HEADER, *map(_row, records)]) if records else "no such record"
    return Answer(status, text, told_model(arguments, told))


def _place(arguments: argparse.Namespace) -> LogPlace:
    """Return where the log is: the model is imported only where its config directory may say so."""
    return log_place(arguments, RuntimeSecrets if arguments.operations_log is not None else model_of(arguments))


def _row(record: Record) -> tuple[str, ...]:
    cells = (record.event, record.secret, record.environment, record.operator, record.ticket, record.fingerprint)
    return (
        str(record.sequence),
        iso_utc(record.recorded_at),
        *(ascii_text(cell) if cell else "-" for cell in cells),
    )


def _verify(arguments: argparse.Namespace) -> Answer:
    expected = arguments.expect
    if expected is not None and not is_hash(expected):
        msg = "--expect must be the hash of a record: sha256: and 64 hexadecimal digits in lower case"
        raise UsageError(msg)
    where = _place(arguments)
    log = loaded(where)
    if not log.records and not log.defects:
        msg = f"{where.name}: it has no record, and nothing was verified"
        if log.head:
            msg += f". Record {log.head.sequence} was the last one of an earlier file. {_proof(log.head)}"
        raise UsageError(msg)
    number = find(log, expected) if expected is not None else None
    defects = list(log.defects)
    if expected is not None and number is None:
        defects.append("the expected record is not here: it, or one before it, was changed or taken away")
    status = EXIT_ALERTS if defects else EXIT_CLEAN
    last = log.last
    if arguments.format == "json":
        result = document(
            ok=not defects,
            model=model_used(arguments),
            count=len(log.records),
            last_hash=last and last.hash,
            defects=defects,
            notes=list(log.sealed),
            expected_sequence=number,
            continues=log.continues and log.continues.as_dict(),
        )
        return Answer(status, result)
    lines = [f"ALERT: {defect}." for defect in defects]
    lines += [f"note: {note}." for note in log.sealed]
    lines += [f"{count(len(log.records), 'record')}, of which the last is {last.hash}."] if last else []
    if earlier := log.continues:
        lines.append(f"This log continues after record {earlier.sequence} ({earlier.hash}).")
        lines.append(f"Records up to number {earlier.sequence} belong to an earlier file. {_proof(earlier)}")
    where_before = " in this file" if earlier else ""
    lines += [f"The expected record is number {number}, with all before it{where_before}."] if number else []
    lines += [LIMITS, f"The operations log {'does NOT verify' if defects else 'verifies'}."]
    return Answer(status, "\n".join(lines), told_model(arguments))


def _proof(head: Head) -> str:
    """Say how to prove that an earlier file has all records up to its last one."""
    words = ("log", "verify", "--operations-log", "EARLIER-FILE", "--expect", head.hash)
    return f"To prove that nothing was lost, run {command(*words)}"
