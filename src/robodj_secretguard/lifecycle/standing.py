"""Each secret against its cadence, and what the operations log shows to be wrong (policy section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from robodj_secretguard.checks import Check, Problem, Severity
from robodj_secretguard.lifecycle.rotation import revoked, rotations
from robodj_secretguard.report import Finding, finding
from robodj_secretguard.sources import REVOKED_FILE, iso_utc
from robodj_secretguard.texts import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import Report, SecretStatus
    from robodj_secretguard.shapes import Record


@dataclass(frozen=True, slots=True)
class Standing:
    """One secret, and what the operations log says of the key that it has now, or had last where it has none here."""

    status: SecretStatus
    alerts: tuple[str, ...]
    superseded: bool
    """Whether a later key is recorded in its environment."""
    rotated_at: datetime | None = None
    """When this key was first recorded; `None` where it is not."""
    environment: str | None = None
    age: timedelta | None = None
    open_steps: tuple[str, ...] = ()

    @property
    def cadence(self) -> timedelta:
        """How often it is to be rotated."""
        return timedelta(days=self.status.rotation_days)

    @property
    def is_overdue(self) -> bool:
        """Whether this key is older than the cadence."""
        return self.age is not None and self.age > self.cadence

    @property
    def is_behind(self) -> bool:
        """Whether its rotation is overdue, incomplete or not recorded."""
        return self.rotated_at is None or self.is_overdue or bool(self.open_steps)

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {
            **self.status.as_dict(),
            "alerts": list(self.alerts),
            "superseded": self.superseded,
            "rotated_at": self.rotated_at and iso_utc(self.rotated_at),
            "environment": self.environment,
            "age_days": None if self.age is None else self.age.days,
            "overdue": self.is_overdue,
            "open_steps": list(self.open_steps),
        }


def standing(status: SecretStatus, report: Report, records: Iterable[Record]) -> Standing:
    """Compare a secret of a report with its cadence."""
    alerts = tuple(str(finding.check) for finding in report.alerts if finding.secret == status.secret)
    superseded = any((each.secret, each.check) == (status.secret, Check.SUPERSEDED) for each in report.findings)
    of_this_secret = rotations(records, status.secret)
    # Where the key is not delivered, as on an operator's machine, the last one that was recorded is meant.
    fingerprint = status.fingerprint or (of_this_secret[-1].fingerprint if of_this_secret else None)
    of_this_key = [record for record in of_this_secret if record.fingerprint == fingerprint]
    if not of_this_key:
        return Standing(status, alerts, superseded)
    first, last = of_this_key[0], of_this_key[-1]
    age = report.checked_at - first.recorded_at
    return Standing(status, alerts, superseded, first.recorded_at, first.environment, age, last.open_steps)


def recorded_findings(
    report: Report, records: Sequence[Record], policies: Sequence[SecretPolicy], options: Sequence[str]
) -> Iterator[Finding]:
    """Return what the operations log shows to be wrong: a revocation that is not listed, a key that came back."""
    listed = report.revocation_list.fingerprints if report.revocation_list else frozenset()
    unlisted = [each for each in revoked(records) if each is not None and each not in listed]
    if unlisted:
        more = f" and {len(unlisted) - 1} more" if len(unlisted) > 1 else ""
        message = f"A recorded revocation is not on the revocation list: {unlisted[0]}{more}."
        words = ("--fingerprint", unlisted[0], "--reason", "recorded as revoked", "--yes", *options)
        revoke = command("revoke", *words)
        remedy = f"Restore the list from version control, or put the fingerprint on it again: {revoke}"
        yield finding(policies, Check.REVOCATION_LIST, Problem(message, remedy, f"file:{REVOKED_FILE}"))
    by_name = {policy.name: policy for policy in policies}
    for status in report.secrets:
        yield from _superseded(by_name[status.secret], status, records, report.checked_at)


def _superseded(
    policy: SecretPolicy, status: SecretStatus, records: Iterable[Record], now: datetime
) -> Iterator[Finding]:
    """Report a key that is delivered here, and after which another one is recorded in its environment."""
    of_this_secret = rotations(records, status.secret)
    own = [place for place, record in enumerate(of_this_secret) if record.fingerprint == status.fingerprint]
    if status.fingerprint is None or not own:
        return
    environment = of_this_secret[own[-1]].environment
    after = of_this_secret[own[-1] + 1 :]
    later = next((record for record in after if record.environment == environment), None)
    if later is None:
        return
    until = later.recorded_at + policy.overlap
    message = (
        f"{policy.variable} is an old key: {later.fingerprint} was recorded after it, at {iso_utc(later.recorded_at)}"
        f" in {later.environment}."
    )
    severity = Severity.WARNING
    remedy = f"Set {policy.variable} to its current value from the secret manager, then restart."
    if now <= until:
        severity = Severity.NOTE
        remedy = f"Roll {later.fingerprint} out before {iso_utc(until)}: from then on this is a warning."
    yield finding((), Check.SUPERSEDED, Problem(message, remedy, status.source, severity), policy)
