"""Expired, expiry-marker, clock, expiring, cadence: the optional expiry marker (policy sections 3 and 6)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import Check, iso_utc
from robodj_secretguard.rules.finding import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.sealed import SealedStr
    from robodj_secretguard.sources import Reading

EARLIEST_CLOCK: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""This source is no older: an earlier clock is wrong, and would let an expired key pass."""
CADENCE_GRACE: Final = timedelta(days=1)

# Not compiled here: that is a twentieth of a start, and few keys have a marker.
_MARKER: Final = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


def expiry(marker: SealedStr | None) -> datetime | None:
    """Return the instant of an expiry marker, in UTC; `None` when there is none or it is not a valid one.

    The standard library's parsers never see unchecked text: they repeat it in their errors.

    Args:
        marker: `YYYY-MM-DDTHH:MM[:SS[.fraction]]` with `Z` or an offset of hours and minutes.
    """
    match = re.fullmatch(_MARKER, marker.get_secret_value()) if marker else None
    if match is None:
        return None
    *date_and_time, fraction, sign, hours, minutes = match.groups("0")
    year, month, day, hour, minute, second = map(int, date_and_time)
    microsecond = int(fraction[:6].ljust(6, "0"))
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    zone = timezone(-offset if sign == "-" else offset)
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):  # not in the calendar, or out of range in UTC
        return None


def expiry_findings(reading: Reading) -> Iterator[Finding]:
    """Return what is wrong with the expiry of a secret that was found, whatever its shape.

    Args:
        reading: what was found for it.
    """
    if reading.marker is None or not reading.found:
        return
    policy, now, name = reading.policy, reading.setup.now, reading.policy.expiry_variable
    instant = expiry(reading.marker)
    clock_is_wrong = now < EARLIEST_CLOCK
    days = policy.cadence.days
    rotation = (
        f"generate a new key ({policy.generator.command}), deliver it as {policy.variable}, set {name} to at most"
        f" {days} days from then, and restart; moving the marker alone is not a rotation."
    )
    if instant is None:
        message = f"{name} is set, but not to an instant in ISO-8601 with a timezone."
        remedy = "Write it like 2027-01-31T00:00:00Z, the instant by which the key must be rotated, or unset it."
        yield about(reading, Check.EXPIRY_MARKER, message, remedy)
    elif instant <= now:
        yield about(reading, Check.EXPIRED, f"The key expired at {iso_utc(instant)} ({name}).", f"Rotate: {rotation}")
    elif not clock_is_wrong and instant - now <= policy.warn_before:
        if reading.setup.ephemeral:  # temporary keys have a line of their own
            return
        left = -((now - instant) // timedelta(days=1))
        message = f"The key expires at {iso_utc(instant)} ({name}), within {left} day{'s' if left > 1 else ''}."
        yield about(reading, Check.EXPIRING, message, f"Rotate before then: {rotation}")
    elif not clock_is_wrong and instant - now > policy.cadence + CADENCE_GRACE:
        message = f"{name} is {iso_utc(instant)}, further ahead than the cadence of {days} days."
        yield about(reading, Check.CADENCE, message, f"Set it to the last rotation's date plus {days} days.")
    if clock_is_wrong:
        message = f"The clock says {iso_utc(now)}, which is before this program was made: {name} cannot be judged."
        yield about(reading, Check.CLOCK, message, "Set the clock of this machine, then start again.")
