"""Where a secret stands against its cadence (policy section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle.rotation import rotations

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

    @property
    def is_behind(self) -> bool:
        """Whether its rotation is overdue, incomplete or not recorded."""
        return self.rotated_at is None or self.is_overdue or bool(self.open_steps)

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {
            **self.status.as_dict(),
            "alerts": list(self.alerts),
            "rotated_at": self.rotated_at and iso_utc(self.rotated_at),
            "environment": self.environment,
            "age_days": None if self.age is None else self.age.days,
            "overdue": self.is_overdue,
            "open_steps": list(self.open_steps),
        }


def standing(status: SecretStatus, report: Report, records: Iterable[Record]) -> Standing:
    """Return where a secret stands.

    Args:
        status: the secret as the check found it.
        report: that check's report.
        records: what is recorded.
    """
    alerts = tuple(str(finding.check) for finding in report.alerts if finding.secret == status.secret)
    of_this_secret = rotations(records, status.secret)
    # Where the key is not delivered, as on an operator's machine, the last one that was recorded is meant.
    fingerprint = status.fingerprint or (of_this_secret[-1].fingerprint if of_this_secret else None)
    of_this_key = [record for record in of_this_secret if record.fingerprint == fingerprint]
    if not of_this_key:
        return Standing(status, None, None, None, alerts, ())
    first, last = of_this_key[0], of_this_key[-1]
    age = report.checked_at - first.recorded_at
    open_steps = last.validation.open_steps if last.validation else ()
    return Standing(status, first.recorded_at, first.environment, age, alerts, open_steps)
