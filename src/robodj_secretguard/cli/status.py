"""`status`: each secret against its cadence (policy section 3)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import Check, State
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
from robodj_secretguard.lifecycle.rotation import rotations
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import PROGRAM, count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from robodj_secretguard import kinds
    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.report import Report, SecretStatus
    from robodj_secretguard.shapes import Record

_DAY: Final = timedelta(days=1)


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "status",
        _status,
        options=("--require-env-only", "--config-dir", "--model", "--strict", "--format", "--operations-log"),
        description="Show the status of each secret. The output has the state, the fingerprint, the last rotation, the"
        " expiry and the owner.",
        examples=("status", "status --strict --format json"),
        statuses={
            "0": "no alert",
            "1": "alerts, or the operations log does not verify; with --strict, warnings and late rotations too",
            "2": "usage error, or the operations log cannot be read",
        },
    )


def _status(arguments: argparse.Namespace) -> Result:
    report, recorded = checked(arguments, model_of(arguments))
    standings = [_standing(status, report, recorded.records) for status in report.secrets]
    behind = arguments.strict and any(is_behind for _, _, is_behind in standings)
    summary = tally(report)
    if report.findings:
        with_options = " (same options)" if given(arguments, "config_dir", "model") else ""
        summary += f": {PROGRAM} check says which{with_options}"
    last = [MODEL, f"operations log: {recorded.verdict}", revocation_line(report.revocation_list), summary]
    failed = behind or recorded.defects or not passes(arguments, report)

    def document() -> kinds.Status:
        return {
            "kind": "status",
            "operations_log": recorded.as_dict(),
            "secrets": [each for each, _, _ in standings],
            "check": report.as_dict(),
        }

    return Result(
        EXIT_USAGE if recorded.unreadable else EXIT_ALERTS if failed else EXIT_CLEAN,
        [*(line for _, lines, _ in standings for line in lines), *last],
        document,
        recorded.complaint,
        wraps=True,
    )


def _standing(
    status: SecretStatus, report: Report, records: Iterable[Record]
) -> tuple[kinds.SecretStatus, list[str | tuple[str, str]], bool]:
    """Compare a secret with its cadence: as plain types of JSON, as lines, and whether its rotation is behind."""
    alerts = [str(finding.check) for finding in report.alerts if finding.secret == status.secret]
    superseded = any((each.secret, each.check) == (status.secret, Check.SUPERSEDED) for each in report.findings)
    of_this_secret = rotations(records, status.secret)
    # Where the key is not delivered, as on an operator's machine, the last one that was recorded is meant.
    fingerprint = status.fingerprint or (of_this_secret[-1].fingerprint if of_this_secret else None)
    of_this_key = [record for record in of_this_secret if record.fingerprint == fingerprint]
    first = of_this_key[0] if of_this_key else None
    open_steps = of_this_key[-1].open_steps if of_this_key else ()
    cadence = timedelta(days=status.rotation_days)
    age = report.checked_at - first.recorded_at if first else None
    is_overdue = age is not None and age > cadence
    is_behind = first is None or is_overdue or bool(open_steps)
    # The other states say by themselves why.
    refused = f", refused: {', '.join(alerts)}" if alerts and status.state is State.PRESENT else ""
    old = ", an old key" if superseded else ""
    lines: list[str | tuple[str, str]] = [
        (f"{status.secret}: {status.state} ({status.source}){refused}{old}", "red" if alerts else "green"),
        labelled("fingerprint", status.fingerprint or "none: there is no sound key"),
        (labelled("rotated", _rotation(first, age, cadence, open_steps)), "yellow" if is_behind else ""),
        labelled("expires", iso_utc(status.expires_at) if status.expires_at else "no expiry marker"),
        labelled("owner", f"{status.owner}, backup {status.backup_owner}"),
        "",
    ]
    document: kinds.SecretStatus = {
        **status.as_dict(),
        "alerts": alerts,
        "superseded": superseded,
        "rotated_at": iso_utc(first.recorded_at) if first else None,
        "environment": first.environment if first else None,
        "age_days": None if age is None else age.days,
        "overdue": is_overdue,
        "open_steps": list(open_steps),
    }
    return document, lines, is_behind


def _rotation(first: Record | None, age: timedelta | None, cadence: timedelta, open_steps: Iterable[str]) -> str:
    """Return when a key was first recorded, and how that compares with the cadence."""
    if first is None or age is None:
        return f"not recorded; cadence {cadence.days} days"
    at = f"{iso_utc(first.recorded_at)} in {first.environment}, "
    if age.days < 0:
        return f"{at}which is ahead of this machine's clock"
    overdue = f": OVERDUE by {count(-(-(age - cadence) // _DAY), 'day')}" if age > cadence else ""
    incomplete = f"; INCOMPLETE: {', '.join(open_steps)} not done" if open_steps else ""
    return f"{at}{age.days} of {cadence.days} days{overdue}{incomplete}"
