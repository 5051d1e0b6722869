"""Where a secret stands against its cadence (policy section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle.rotation import open_steps, rotations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from robodj_secretguard.findings import Report, SecretStatus
    from robodj_secretguard.lifecycle.records import Record


@dataclass(frozen=True, slots=True)
class Standing:
    """One secret, and what the operations log says of the key that it has now, or had last where it has none here.

    Attributes:
        status: the secret as the check found it.
        rotated_at: when this key was first recorded; `None` where it is not.
        environment: the environment that it is recorded under.
        age: how long ago that was.
        alerts: the checks that refuse it.
        open_steps: the steps of its validation that are not done.
    """

    status: SecretStatus
    rotated_at: datetime | None
    environment: str | None
    age: timedelta | None
    alerts: tuple[str, ...]
    open_steps: tuple[str, ...]

    @property
    def cadence(self) -> timedelta:
        """How often it is to be rotated."""
        return timedelta(days=self.status.rotation_days)

    @property
    def is_overdue(self) -> bool:
        """Whether this key is older than the cadence."""
        return self.age is not None and self.age > self.cadence

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        status = self.status
        return {
            "secret": status.secret,
            "variable": status.variable,
            "state": str(status.state),
            "source": status.source,
            "alerts": list(self.alerts),
            "fingerprint": status.fingerprint,
            "rotated_at": self.rotated_at and iso_utc(self.rotated_at),
            "environment": self.environment,
            "age_days": None if self.age is None else self.age.days,
            "rotation_days": status.rotation_days,
            "overdue": self.is_overdue,
            "open_steps": list(self.open_steps),
            "expires_at": status.expires_at and iso_utc(status.expires_at),
            "owner": status.owner,
            "backup_owner": status.backup_owner,
        }


def standing(status: SecretStatus, report: Report, records: Iterable[Record]) -> Standing:
    """Return where a secret stands.

    Args:
        status: the secret as the check found it.
        report: that check's report.
        records: what is recorded.
    """
    alerts = tuple(str(finding.check) for finding in report.alerts if finding.secret == status.secret)
    of_this_secret = [record for record in rotations(records) if record.secret == status.secret]
    # Where the key is not delivered, as on an operator's machine, the last one that was recorded is meant.
    fingerprint = status.fingerprint or (of_this_secret[-1].fingerprint if of_this_secret else None)
    of_this_key = [record for record in of_this_secret if record.fingerprint == fingerprint]
    if not of_this_key:
        return Standing(status, None, None, None, alerts, ())
    first, last = of_this_key[0], of_this_key[-1]
    age = report.checked_at - first.recorded_at
    return Standing(status, first.recorded_at, first.environment, age, alerts, tuple(open_steps(last)))
