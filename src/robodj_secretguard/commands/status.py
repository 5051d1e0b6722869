"""`status`: where every secret stands (policy section 3)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from robodj_secretguard.commands.answer import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    Answer,
    add_command,
    document,
    judged,
    model_of,
)
from robodj_secretguard.commands.recorded import evidence, the_log
from robodj_secretguard.findings import State, iso_utc
from robodj_secretguard.lifecycle.standing import standing
from robodj_secretguard.lifecycle.tables import coloured, shows_colour, wrapped
from robodj_secretguard.program import PROGRAM
from robodj_secretguard.render import count, revocation_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from robodj_secretguard.findings import Report
    from robodj_secretguard.lifecycle.standing import Standing

_INDENT: Final = "  "
_DAY: Final = timedelta(days=1)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    add_command(
        commands,
        "status",
        _status,
        options=("--require-env-only", "--config-dir", "--model", "--strict", "--format", "--operations-log"),
        description="Show where every secret stands: its state, its last rotation against the cadence, its expiry, its"
        " owner.",
        epilog="exit status: 0 no alert, 1 alerts (with --strict: or warnings, or a rotation that is overdue,"
        " incomplete or not recorded), 2 wrong usage, or the operations log cannot be relied on",
    )


def _status(arguments: argparse.Namespace) -> Answer:
    report = judged(arguments, model_of(arguments))
    recorded = evidence(arguments)
    standings = [standing(status, report, recorded.records) for status in report.secrets]
    behind = any(each.rotated_at is None or each.is_overdue or each.open_steps for each in standings)
    strictly = arguments.strict and bool(report.warnings or behind)
    status = EXIT_ALERTS if strictly or not report.ok else EXIT_CLEAN
    told = ""
    if recorded.trouble:
        status, told = EXIT_USAGE, f"{PROGRAM}: {the_log(arguments)} cannot be relied on: {recorded.worth}"
    if arguments.format == "json":
        secrets = [each.as_dict() for each in standings]
        return Answer(status, document(ok=not status, operations_log=recorded.worth, secrets=secrets), told)
    return Answer(status, _text(report, standings, recorded.worth, colour=shows_colour(arguments.stdout)), told)


def _text(report: Report, standings: Sequence[Standing], log: str, *, colour: bool) -> str:
    blocks = [_row(each, colour=colour) for each in standings]
    summary = f"{count(len(report.alerts), 'alert')}, {count(len(report.warnings), 'warning')}"
    if report.findings:
        summary += f": {PROGRAM} check says which"
    lines = [f"operations log: {log}"]
    lines += [revocation_line(report.revocation_list)] if report.revocation_list else []
    return "\n\n".join([*blocks, "\n".join(wrapped(line, _INDENT) for line in [*lines, summary])])


def _row(each: Standing, *, colour: bool) -> str:
    status = each.status
    # The other states say by themselves why.
    refused = f", refused: {', '.join(each.alerts)}" if each.alerts and status.state is State.PRESENT else ""
    head = wrapped(f"{status.secret}: {status.state} ({status.source}){refused}", _INDENT)
    if colour:
        head = coloured(head, "red" if each.alerts else "green")
    rotation = _rotation(each)
    lines = [
        f"fingerprint  {status.fingerprint or 'none: there is no sound key'}",
        f"rotated      {rotation}",
        f"expires      {iso_utc(status.expires_at) if status.expires_at else 'no expiry marker'}",
        f"owner        {status.owner}, backup {status.backup_owner}",
    ]
    wrapped_lines = [wrapped(_INDENT + line, " " * 15) for line in lines]
    if colour and (each.is_overdue or each.open_steps):
        wrapped_lines[1] = coloured(wrapped_lines[1], "yellow")
    return "\n".join([head, *wrapped_lines])


def _rotation(each: Standing) -> str:
    if each.rotated_at is None or each.age is None:
        return f"not recorded; cadence {each.cadence.days} days"
    text = f"{iso_utc(each.rotated_at)} in {each.environment}, {each.age.days} of {each.cadence.days} days"
    if each.age.days < 0:
        text = f"{iso_utc(each.rotated_at)} in {each.environment}, which is ahead of this machine's clock"
    if each.is_overdue:
        text += f": OVERDUE by {count(-(-(each.age - each.cadence) // _DAY), 'day')}"
    if each.open_steps:
        text += f"; INCOMPLETE: {', '.join(each.open_steps)} not done"
    return text
