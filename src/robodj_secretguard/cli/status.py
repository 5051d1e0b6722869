"""`status`: where every secret stands (policy section 3)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import State
from robodj_secretguard.cli.options import add_command, given, model_line, model_of, model_used, passes
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    Answer,
    coloured,
    document,
    revocation_line,
    shows_colour,
    tally,
    wrapped,
)
from robodj_secretguard.cli.recorded import checked
from robodj_secretguard.lifecycle.standing import standing
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import PROGRAM, count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.lifecycle.standing import Standing
    from robodj_secretguard.report import Report

_INDENT: Final = "  "
_LABEL: Final = 13
_DAY: Final = timedelta(days=1)


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "status",
        _status,
        options=("--require-env-only", "--config-dir", "--model", "--strict", "--format", "--operations-log"),
        description="Show where every secret stands: its state, its last rotation against the cadence, its expiry, its"
        " owner.",
        epilog="exit status: 0 no alert, 1 alerts (with --strict: or warnings, or a rotation that is overdue,"
        " incomplete or not recorded), or the operations log does not verify, 2 wrong usage, or it cannot be read",
    )


def _status(arguments: argparse.Namespace) -> Answer:
    report, recorded = checked(arguments, model_of(arguments))
    standings = [standing(status, report, recorded.log.records) for status in report.secrets]
    behind = arguments.strict and any(each.is_behind for each in standings)
    status = max(EXIT_CLEAN if passes(arguments, report) and not behind else EXIT_ALERTS, recorded.status)
    if arguments.format == "json":
        secrets = [each.as_dict() for each in standings]
        result = document(
            ok=not status,
            model=model_used(arguments),
            operations_log=recorded.as_dict(),
            secrets=secrets,
            check=report.as_dict(),
        )
    else:
        with_options = bool(given(arguments, "config_dir", "model"))
        colour = shows_colour(arguments.stdout)
        lines = [model_line(arguments), f"operations log: {recorded.worth}"]
        result = _text(report, standings, lines, with_options=with_options, colour=colour)
    return Answer(status, result, recorded.told)


def _text(
    report: Report, standings: Sequence[Standing], lines: Sequence[str], *, with_options: bool, colour: bool
) -> str:
    summary = tally(report)
    if report.findings:
        summary += f": {PROGRAM} check says which{' (same options)' if with_options else ''}"
    lines = [*lines, revocation_line(report.revocation_list), summary]
    blocks = [_row(each, colour=colour) for each in standings]
    return "\n\n".join([*blocks, "\n".join(wrapped(line, _INDENT) for line in lines)])


def _row(each: Standing, *, colour: bool) -> str:
    status = each.status
    # The other states say by themselves why.
    refused = f", refused: {', '.join(each.alerts)}" if each.alerts and status.state is State.PRESENT else ""
    old = ", an old key" if each.superseded else ""
    head = wrapped(f"{status.secret}: {status.state} ({status.source}){refused}{old}", _INDENT)
    rotated = _line("rotated", _rotation(each))
    if colour:
        head = coloured(head, "red" if each.alerts else "green")
        rotated = coloured(rotated, "yellow") if each.is_behind else rotated
    return "\n".join(
        [
            head,
            _line("fingerprint", status.fingerprint or "none: there is no sound key"),
            rotated,
            _line("expires", iso_utc(status.expires_at) if status.expires_at else "no expiry marker"),
            _line("owner", f"{status.owner}, backup {status.backup_owner}"),
        ]
    )


def _line(label: str, text: str) -> str:
    return wrapped(f"{_INDENT}{label.ljust(_LABEL)}{text}", " " * (_LABEL + len(_INDENT)))


def _rotation(each: Standing) -> str:
    if each.rotated_at is None or each.age is None:
        return f"not recorded; cadence {each.cadence.days} days"
    at = f"{iso_utc(each.rotated_at)} in {each.environment}, "
    if each.age.days < 0:
        return f"{at}which is ahead of this machine's clock"
    text = f"{at}{each.age.days} of {each.cadence.days} days"
    if each.is_overdue:
        text += f": OVERDUE by {count(-(-(each.age - each.cadence) // _DAY), 'day')}"
    if each.open_steps:
        text += f"; INCOMPLETE: {', '.join(each.open_steps)} not done"
    return text
