"""`status`: each secret against its cadence (policy section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from robodj_secretguard.cli.log import checked
from robodj_secretguard.cli.options import (
    CHECK_OPTIONS,
    FORMAT,
    Commands,
    Request,
    add_command,
    passes,
    policy_of,
)
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
from robodj_secretguard.fleet.metrics import ALL_SERVICES, as_openmetrics, of_findings, of_keys, of_rotations
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import Document, by_secret
from robodj_secretguard.lifecycle.standing import TO_DO, late_steps, open_parts, standing_of
from robodj_secretguard.secret.texts import RED, count, mark
from robodj_secretguard.startup.inputs import ENVIRONMENT, SERVICE, iso_utc
from robodj_secretguard.startup.readings import Environment, event_setting
from robodj_secretguard.startup.report import Report

_FURTHER_COLUMNS: Final = ("ROTATED", "AGE", "FINGERPRINT")
"""What `status` adds to the table of `check`."""


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "status",
        _status,
        options=CHECK_OPTIONS,
        own={
            "--secret": (
                "NAME",
                (
                    "only this secret; fail unless its rotation is complete: no next and no previous key, and every"
                    " step recorded"
                ),
            ),
            "--format": {**FORMAT, "choices": (*FORMAT["choices"], "openmetrics")},
        },
        kind="status",
        description="Show the status of each secret. The output has the state, the expiry, the owner, the last rotation"
        " and the fingerprint.",
        examples=(
            "status",
            "status --strict --format json",
            "status --from directory:/run/secrets --format openmetrics",
        ),
        statuses={
            "0": "no alert",
            "1": "alerts, or the operations log does not verify; with --strict, warnings and late rotations too",
            "2": "usage error, or the operations log cannot be read",
            "75": "the secret manager of --from did not answer in time",
        },
    )


def _status(request: Request, *, secret: str | None) -> Result:
    report, log = checked(request)
    if secret is not None:
        report = _about(report, policy_of(request.model_class, secret).name)
    standings = _standings(request, report, log)
    incomplete = [] if secret is None else [*open_parts(standings[0])]
    is_late = request.strict and _is_late(standings)
    failed = any((log.defects, incomplete, is_late, not passes(request, report)))
    late = _late_secrets(standings)
    lines = [*_status_lines(report, log, standings), _last_line(report, log, late, failed=failed)]
    if failed and (report.alerts or report.warnings):
        lines.insert(-1, report.details)
    if secret is not None:
        lines.append(_verdict(standings[0], incomplete, failed=failed))
    status = failed_status(report, EXIT_ALERTS) if failed else EXIT_CLEAN
    # A file of metrics without the times of rotations would look whole.
    if log.unreadable or (log.defects and request.format == "openmetrics"):
        status = EXIT_USAGE
    cells = [_FURTHER_COLUMNS, *map(_cells, standings)]
    return Result(
        status,
        lines,
        lambda: {
            "kind": "status",
            "operations_log": log.as_dict(),
            "secrets": standings,
            "check": report.as_dict(),
        },
        log.complaint,
        table=[row + more for row, more in zip(status_rows(report, [*late]), cells, strict=False)],
        metrics=lambda: _metrics(request, report, standings),
    )


def _standings(request: Request, report: Report, log: OperationsLog) -> list[Document]:
    """Return the status of each secret with its rotations."""
    policies = {policy.name: policy for policy in request.policies}
    of_secrets = by_secret(log.records)
    return [standing_of(policies[each.secret], each, report, of_secrets[each.secret]) for each in report.secrets]


def _late_secrets(standings: Sequence[Document]) -> dict[str, str]:
    """Return what is to do for each secret that has something to do."""
    late = {each["secret"]: late_steps(each) for each in standings}
    return {secret: " and ".join(steps) for secret, steps in late.items() if steps}


def _status_lines(report: Report, log: OperationsLog, standings: Sequence[Document]) -> Iterator[str]:
    """Yield the lines between the table and the verdict."""
    now = iso_utc(report.checked_at)
    details = [line for each in standings for line in _details(each, now)]
    if details:
        yield from (*details, "")
    if report.findings:
        yield from (*map(finding_text, report.findings), "")
    yield from (MODEL, f"operations log: {log.verdict}", revocation_line(report.revocation_list))


def _metrics(request: Request, report: Report, standings: Sequence[Document]) -> str:
    rotated = {each["secret"]: datetime.fromisoformat(at) for each in standings if (at := each["rotated_at"])}
    families = of_keys(report.secrets, "robodj_secret_delivered_info")
    if not request.sources:  # the environment of this command may be older than what is delivered
        del families["robodj_secret_delivered_info"]
    families |= of_rotations(report.secrets, rotated) | of_findings(report.secrets, report.findings)
    environment = request.environment or event_setting(Environment(), ENVIRONMENT)
    return as_openmetrics(families, event_setting(Environment(), SERVICE) or ALL_SERVICES, environment)


def _last_line(report: Report, log: OperationsLog, late: Mapping[str, str], *, failed: bool) -> str:
    """Return the last line."""
    parts = (
        f"Secret status{' FAILED' if failed else ''}: {tally(report)}",
        f"the operations log {'cannot be read' if log.unreadable else 'does not verify'}" if log.defects else "",
        f"to do: {', '.join(f'{secret} ({why})' for secret, why in late.items())}" if late else "",
    )
    line = f"{'; '.join(filter(None, parts))}."
    return mark(line, RED) if failed else line


def _is_late(standings: Sequence[Document]) -> bool:
    """Check whether a step is late. The time for the next step of a rotation is the operator's choice."""
    chosen = {TO_DO["stage"], TO_DO["promote"]}
    return any(not {*late_steps(each)} <= chosen for each in standings)


def _about(report: Report, name: str) -> Report:
    """Return a report on one secret, and on the set-up."""
    findings = [each for each in report.findings if each.secret in {None, name}]
    statuses = [each for each in report.secrets if each.secret == name]
    return report._replace(secrets=tuple(statuses), findings=tuple(findings))


def _verdict(standing: Document, incomplete: Sequence[str], *, failed: bool) -> str:
    """Return whether the rotation of a secret is complete."""
    name = standing["secret"]
    if failed and not incomplete:
        incomplete = ["the line above says why"]
    if incomplete:
        return mark(f"NOT complete: {name}: {'; '.join(incomplete)}.", RED)
    key = f"{standing['fingerprint']} is its only key, " if standing["fingerprint"] else ""
    return f"The rotation of {name} is complete: {key}recorded at {standing['rotated_at']}."


def _cells(standing: Document) -> tuple[str, ...]:
    """Return the end of a secret's row."""
    is_recorded = standing["rotated_at"] is not None
    return (
        f"{standing['rotated_at'][:10]} in {standing['environment']}" if is_recorded else "not recorded",
        f"{standing['age_days'] if is_recorded else '-'} of {count(standing['rotation_days'], 'day')}",
        standing["fingerprint"] or "-",
    )


def _details(standing: Document, now: str) -> Iterator[str]:
    """Yield the lines about a secret that is in a rotation."""
    deadline = standing["previous_until"]
    until = f"until {deadline}{': PASSED' if deadline and deadline <= now else ''}"
    rows = {
        "next key": standing["next_fingerprint"],
        "previous key": deadline and f"{standing['previous_fingerprint'] or 'no fingerprint,'} {until}",
        "rotation INCOMPLETE, not done": ", ".join(standing["open_steps"]),
    }
    yield from (f"{standing['secret']}: {name}: {text}" for name, text in rows.items() if text)
