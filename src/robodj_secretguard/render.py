"""Findings and reports as text. Every line is ASCII and physically one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.findings import iso_utc
from robodj_secretguard.revocation import REVOKED_FILE, REVOKED_FINGERPRINTS

if TYPE_CHECKING:
    from robodj_secretguard.findings import Report, RevocationStatus, SecretStatus

PASSED: Final = "Secret integrity check passed (key material redacted)."
"""The line that operators wait for before they release (policy section 7)."""


def findings_text(report: Report) -> str:
    """Return a report's findings as the lines that `guard()` writes."""
    return "\n".join(finding.line for finding in report.findings)


def tally(report: Report) -> str:
    """Say how many findings of each severity there are."""
    return f"{len(report.alerts)} alert(s), {len(report.warnings)} warning(s)"


def status_line(status: SecretStatus) -> str:
    """Return a secret's state, source and expiry as one line."""
    expiry = f"expires {iso_utc(status.expires_at)}" if status.expires_at else "no expiry marker"
    return f"{status.secret}: {status.state} (source: {status.source}; {expiry})"


def revocation_line(status: RevocationStatus | None) -> str:
    """Return whether a revocation list was found, and how many entries it has, as one line."""
    if status is None:
        return "revocation list: not looked for"
    if not status.sources:
        return "revocation list: none"
    where = " and ".join({"environment": REVOKED_FINGERPRINTS}.get(each, REVOKED_FILE) for each in status.sources)
    return f"revocation list: {where}, {count(status.entries, 'entry', 'entries')}"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number of things in words: `1 day`, `2 days`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def report_text(report: Report, *, passed: bool, model: str) -> str:
    """Return a report as text: its findings, a line for each secret, the model and mode, and the verdict last.

    Args:
        report: the report.
        passed: the gate's verdict.
        model: which model was used, as a line.
    """
    mode = "environment only" if report.require_env_only else "environment, then fallback files"
    failed = f"Secret integrity check FAILED: {tally(report)}. Do not release."
    lines = [
        *(finding.line for finding in report.findings),
        *(status_line(status) for status in report.secrets),
        model,
        f"mode: {mode}",
        revocation_line(report.revocation_list),
        PASSED if passed else failed,
    ]
    return "\n".join(lines)


def report_json(report: Report, *, passed: bool, model: dict[str, str]) -> str:
    """Return a report as one JSON document, whose `ok` is the gate's verdict.

    Args:
        report: the report.
        passed: the gate's verdict.
        model: which model was used, and what named it.
    """
    document: dict[str, Any] = {**report.as_dict(), "ok": passed, "model": model}
    return json.dumps(document, indent=2)
