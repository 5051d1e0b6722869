"""Findings from the operations log: unlisted revocations and superseded keys (policy sections 3 and 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.checks import Check, Problem, Severity
from robodj_secretguard.lifecycle.rotation import revoked, rotations
from robodj_secretguard.report import Finding, finding
from robodj_secretguard.sources import REVOKED_FILE, iso_utc, set_current
from robodj_secretguard.texts import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import Report, SecretStatus
    from robodj_secretguard.shapes import Record


def recorded_findings(
    report: Report, records: Sequence[Record], policies: Sequence[SecretPolicy], options: Sequence[str]
) -> Iterator[Finding]:
    """Yield a finding for revocations that are not on the list, and for each key that came back."""
    listed = report.revocation_list.fingerprints if report.revocation_list else frozenset()
    unlisted = [each for each in revoked(records) if each is not None and each not in listed]
    if unlisted:
        more = f" (and {len(unlisted) - 1} more)" if len(unlisted) > 1 else ""
        message = f"{unlisted[0]} is recorded as revoked, but is not on the revocation list{more}"
        words = ("--fingerprint", unlisted[0], "--reason", "recorded as revoked", "--yes", *options)
        remedy = f"run {command('revoke', *words)} (it adds the fingerprint again)"
        yield finding(policies, Check.REVOCATION_LIST, Problem(message, remedy, f"file:{REVOKED_FILE}"))
    by_name = {policy.name: policy for policy in policies}
    for status in report.secrets:
        yield from _superseded(by_name[status.secret], status, records, report.checked_at)


def _superseded(
    policy: SecretPolicy, status: SecretStatus, records: Iterable[Record], now: datetime
) -> Iterator[Finding]:
    """Yield a finding if a later key is recorded for the environment of the current one."""
    of_this_secret = rotations(records, status.secret)
    own = [index for index, record in enumerate(of_this_secret) if record.fingerprint == status.fingerprint]
    if status.fingerprint is None or not own:
        return
    environment = of_this_secret[own[-1]].environment
    after = of_this_secret[own[-1] + 1 :]
    later = next((record for record in after if record.environment == environment), None)
    if later is None:
        return
    until = later.recorded_at + policy.overlap
    message = f"{policy.variable} is an old key; a later one was recorded at {iso_utc(later.recorded_at)}"
    severity = Severity.WARNING
    remedy = f"{set_current(policy)}, then restart"
    if now <= until:
        severity = Severity.NOTE
        remedy += f" before {iso_utc(until)}; after that, this is a warning"
    yield finding((), Check.SUPERSEDED, Problem(message, remedy, status.source, severity), policy)
