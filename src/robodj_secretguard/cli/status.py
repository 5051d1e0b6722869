"""`status`: each secret against its cadence (policy section 3)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import State
from robodj_secretguard.cli.log import checked
from robodj_secretguard.cli.options import add_command, given, model_of, passes
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    Result,
    labelled,
    revocation_line,
    tally,
)
from robodj_secretguard.lifecycle.standing import standing
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import PROGRAM, count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.lifecycle.standing import Standing

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


def _status(arguments: argparse.Namespace) -> Result:
    report, recorded = checked(arguments, model_of(arguments))
    standings = [standing(status, report, recorded.records) for status in report.secrets]
    behind = arguments.strict and any(each.is_behind for each in standings)
    summary = tally(report)
    if report.findings:
        with_options = " (same options)" if given(arguments, "config_dir", "model") else ""
        summary += f": {PROGRAM} check says which{with_options}"
    last = [MODEL, f"operations log: {recorded.verdict}", revocation_line(report.revocation_list), summary]
    failed = behind or recorded.defects or not passes(arguments, report)
    return Result(
        EXIT_USAGE if recorded.unreadable else EXIT_ALERTS if failed else EXIT_CLEAN,
        [*(line for each in standings for line in _lines(each)), *last],
        lambda: {
            "operations_log": recorded.as_dict(),
            "secrets": [each.as_dict() for each in standings],
            "check": report.as_dict(),
        },
        recorded.complaint,
        wraps=True,
    )


def _lines(each: Standing) -> Iterator[str | tuple[str, str]]:
    """Yield the lines about one secret, each with its colour, if it has one."""
    status = each.status
    # The other states say by themselves why.
    refused = f", refused: {', '.join(each.alerts)}" if each.alerts and status.state is State.PRESENT else ""
    old = ", an old key" if each.superseded else ""
    yield f"{status.secret}: {status.state} ({status.source}){refused}{old}", "red" if each.alerts else "green"
    yield labelled("fingerprint", status.fingerprint or "none: there is no sound key")
    yield labelled("rotated", _rotation(each)), "yellow" if each.is_behind else ""
    yield labelled("expires", iso_utc(status.expires_at) if status.expires_at else "no expiry marker")
    yield labelled("owner", f"{status.owner}, backup {status.backup_owner}")
    yield ""


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
