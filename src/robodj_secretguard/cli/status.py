"""`status`: each secret against its cadence (policy section 3)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli.log import checked
from robodj_secretguard.cli.options import CHECK_OPTIONS, FORMAT, add_command, model_of, passes
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    Result,
    failed_status,
    finding_text,
    revocation_line,
    status_rows,
    tally,
)
from robodj_secretguard.fleet.metrics import as_openmetrics, of_findings, of_keys, of_rotations
from robodj_secretguard.lifecycle.rotation import rotations, slots_of, stage_due
from robodj_secretguard.secret.texts import RED, YELLOW, count, mark, paint
from robodj_secretguard.startup.rules import Check, Severity
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robodj_secretguard.cli.options import Commands, Request
    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.startup.report import Report, SecretStatus


_PROMOTE: Final = "promote the next key"


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "status",
        _status,
        options=CHECK_OPTIONS,
        own={"--format": {**FORMAT, "choices": (*FORMAT["choices"], "openmetrics")}},
        description="Show the status of each secret. The output has the state, the fingerprint, the last rotation, the"
        " expiry and the owner.",
        examples=("status", "status --strict --format json", "status --format openmetrics"),
        statuses={
            "0": "no alert",
            "1": "alerts, or the operations log does not verify; with --strict, warnings and late rotations too",
            "2": "usage error, or the operations log cannot be read",
            "75": "the secret manager of --from did not answer in time",
        },
    )


def _status(request: Request) -> Result:
    model = model_of(request)
    report, recorded = checked(request, model)
    statuses = [_status_of(status, report, recorded.records) for status in report.secrets]
    issuers = {policy.name: policy.issuer for policy in model.secret_policies.values()}
    late = {each["secret"]: why for each in statuses if (why := _to_do(each))}
    # The time for a promotion is the operator's choice.
    too_late = any(why != _PROMOTE for why in late.values())
    failed = recorded.defects or not passes(request, report) or (request.strict and too_late)
    verdict = f"Secret status{' FAILED' if failed else ''}: {tally(report)}"
    if recorded.defects:
        verdict += f"; the operations log {'cannot be read' if recorded.unreadable else 'does not verify'}"
    if late:
        verdict += f"; to do: {', '.join(f'{secret} ({why})' for secret, why in late.items())}"
    lines = [
        *(
            line
            for each in statuses
            for line in (*_details(each, iso_utc(report.checked_at), issuers[each["secret"]]), "")
        ),
        *map(finding_text, report.findings),
        *[""] * bool(report.findings),
        MODEL,
        f"operations log: {recorded.verdict}",
        revocation_line(report.revocation_list),
        *[report.details] * bool(failed and (report.alerts or report.warnings)),
        mark(f"{verdict}.", RED) if failed else f"{verdict}.",
    ]

    def document() -> dict[str, Any]:
        return {
            "kind": "status",
            "operations_log": recorded.as_dict(),
            "secrets": statuses,
            "check": report.as_dict(),
        }

    status = failed_status(report, EXIT_ALERTS) if failed else EXIT_CLEAN
    # A file of metrics without the times of rotations would look whole.
    if recorded.unreadable or (recorded.defects and request.format == "openmetrics"):
        status = EXIT_USAGE

    def metrics() -> str:
        rotated = {each["secret"]: datetime.fromisoformat(at) for each in statuses if (at := each["rotated_at"])}
        families = of_keys(report.secrets) | of_rotations(report.secrets, rotated)
        return as_openmetrics(families | of_findings(report.secrets, report.findings))

    return Result(
        status,
        lines,
        document,
        stderr=recorded.complaint,
        metrics=metrics,
        table=status_rows(report, [*late]),
    )


def _status_of(status: SecretStatus, report: Report, records: Iterable[Record]) -> dict[str, Any]:
    """Return the status of a secret with its rotations, in the plain types of JSON."""
    of_this_secret = rotations(records, status.secret)
    # Without a current key, as on an operator's machine, use the last recorded one.
    fingerprint = status.fingerprint or (of_this_secret[-1].fingerprint if of_this_secret else None)
    of_this_key = [record for record in of_this_secret if record.fingerprint == fingerprint]
    # Records of a vendor's secret have no fingerprint, so each one is of a new value.
    first = None if not of_this_key else of_this_key[0] if fingerprint else of_this_key[-1]
    age = report.checked_at - first.recorded_at if first else None
    own = [each for each in report.findings if each.secret == status.secret]
    return {
        **status.as_dict(),
        "alerts": [str(each.check) for each in own if each.severity is Severity.ALERT],
        "superseded": any(each.check is Check.SUPERSEDED for each in own),
        "rotated_at": iso_utc(first.recorded_at) if first else None,
        "environment": first.environment if first else None,
        "age_days": None if age is None else age.days,
        "overdue": age is not None and age > timedelta(days=status.rotation_days),
        "open_steps": list(of_this_key[-1].open_steps) if of_this_key else [],
        "due": stage_due(slots_of(status), report.checked_at),
    }


def _to_do(status: dict[str, Any]) -> str:
    """Return why the rotation of a secret is not up to date; empty where it is."""
    why = {
        "rotation not recorded": not status["rotated_at"],
        "rotation overdue": status["overdue"],
        "rotation incomplete": status["open_steps"] and not status["overdue"],
        _PROMOTE: status["due"] == "promote",
        "retire the previous key": status["due"] == "retire",
    }
    return " and ".join(each for each, holds in why.items() if holds)


def _details(status: dict[str, Any], now: str, issuer: str) -> list[str]:
    """Return the lines about a secret below the table."""
    cadence = count(status["rotation_days"], "day")
    none = f"none (issued at {issuer})" if issuer else "none (only a valid key has one)"
    backup = f" (backup: {status['backup_owner']})" if status["backup_owner"] else ""
    overdue = f": {paint('OVERDUE', YELLOW)}" if status["overdue"] else ""
    lines = [
        status["secret"],
        f"  fingerprint  {status['fingerprint'] or none}",
        f"  rotated      {_rotated(status)}",
        f"  cadence      {cadence}{overdue}",
        f"  expires      {status['expires_at'] or 'no expiry marker'}",
        f"  owner        {status['owner']}{backup}",
    ]
    if status["previous_fingerprint"]:
        deadline = status["previous_until"]
        until = f" until {deadline}{': PASSED' if deadline <= now else ''}" if deadline else ""
        lines.insert(2, f"  previous     {status['previous_fingerprint']}{until}")
    if status["next_fingerprint"]:
        lines.insert(2, f"  next         {status['next_fingerprint']}")
    if status["open_steps"]:
        lines.insert(-3, f"  {paint('INCOMPLETE', YELLOW)}   not done: {', '.join(status['open_steps'])}")
    return lines


def _rotated(status: dict[str, Any]) -> str:
    """Return the time, the environment and the age of a key's first record."""
    days = status["age_days"]
    if days is None:
        return "not recorded"
    ago = "later than this machine's clock" if days < 0 else f"{count(days, 'day')} ago" if days else "today"
    return f"{status['rotated_at']} in {status['environment']}, {ago}"
