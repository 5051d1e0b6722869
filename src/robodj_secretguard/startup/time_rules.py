"""The checks of instants: expiry markers, and the deadline of a previous key (policy sections 3 and 6).

A start imports this module only where a secret has such an instant.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import count
from robodj_secretguard.startup.inputs import INSTANT_FORM, iso_utc, parse_marker
from robodj_secretguard.startup.readings import Reading
from robodj_secretguard.startup.rules import (
    FOLLOW,
    Check,
    Problem,
    Problems,
    Severity,
    everywhere,
    how_to_remove,
    how_to_rotate,
)

EARLIEST_CLOCK: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""This release is later: an earlier clock is wrong, and an expired key could pass."""
CADENCE_GRACE: Final = timedelta(days=1)
"""How much further ahead than the cadence a marker may be, as clocks and times of day differ."""


def how_to_renew(policy: SecretPolicy, manager: str) -> str:
    """Return the remedy for a key whose time is over. It never sets a date without a key, or a key without its date."""
    rotate = how_to_rotate(policy, manager)
    if policy.is_issued:
        return f"{rotate}, and {policy.expiry_variable} to its expiry time"
    return f"{rotate}{FOLLOW}"


def how_to_await(policy: SecretPolicy, manager: str) -> str:
    """Return the remedy for a revoked key. A second rotation would end what the first one has made."""
    return f"wait for the new key; if no rotation has begun, {how_to_rotate(policy, manager)}"


def _check_revoked(reading: Reading) -> Problems:
    begin = reading.setup.revocation.begin(reading.listed_as)
    if begin is None or begin > reading.setup.now:
        return
    listed = f"is revoked: {reading.listed_as} is on the revocation list"
    if reading.slot == "current":
        yield Problem(f"the key {listed}", how_to_await(reading.policy, reading.manager))
    else:  # no ring accepts the key
        yield Problem(f"{reading.variable} {listed}", how_to_remove(reading), severity=Severity.WARNING)


def _check_expired(reading: Reading) -> Problems:
    instant = reading.expires_at
    policy = reading.policy
    if instant is not None and instant <= reading.setup.now and reading.found:
        yield Problem(
            f"{policy.variable} expired at {iso_utc(instant)} ({policy.expiry_variable})",
            how_to_renew(policy, reading.manager),
        )


def _check_expiry_marker(reading: Reading) -> Problems:
    if reading.marker is not None and reading.expires_at is None and reading.found:
        limit = f"the expiry time (the last rotation plus {in_words(reading.policy.cadence)})"
        yield _invalid_instant(reading.policy.expiry_variable, reading.marker, limit, reading.manager)


def _invalid_instant(name: str, marker: SealedStr, time: str, manager: str) -> Problem:
    completed = ((SealedStr(marker.get_secret_value() + rest), why) for rest, why in _INCOMPLETE_MARKERS.items())
    why = next((why for text, why in completed if parse_marker(text)), "is not a valid instant")
    return Problem(
        f"{name} {why}",
        everywhere(f"write {time} into {name} as {INSTANT_FORM}", manager),
    )


_INCOMPLETE_MARKERS: Final = {"Z": "has no timezone", "T00:00Z": "has no time and no timezone"}
"""The missing end of a marker, and the fault of a marker without it."""


def _check_clock(reading: Reading) -> Problems:
    now = reading.setup.now
    policy = reading.policy
    if reading.marker is not None and now < EARLIEST_CLOCK and reading.found:
        name = policy.slot_variables[2] if reading.slot == "previous" else policy.expiry_variable
        yield Problem(
            f"the clock says {iso_utc(now)}, before this release: {name} cannot be checked",
            "set the clock of this machine, then start again",
        )


def _expiry_ahead(reading: Reading) -> datetime | None:
    """Return when a valid key expires; `None` for an expired key, or where that is unknown."""
    instant = reading.expires_at
    return instant if instant and EARLIEST_CLOCK <= reading.setup.now < instant and reading.found else None


def _check_expiring(reading: Reading) -> Problems:
    instant = _expiry_ahead(reading)
    policy = reading.policy
    setup = reading.setup
    # Temporary keys have another finding.
    if instant is not None and instant - setup.now <= policy.warn_before and not setup.ephemeral:
        days = -((setup.now - instant) // timedelta(days=1))
        yield Problem(
            f"{policy.variable} expires at {iso_utc(instant)}, within {count(days, 'day')} ({policy.expiry_variable})",
            how_to_renew(policy, reading.manager),
        )


def _check_cadence(reading: Reading) -> Problems:
    instant = _expiry_ahead(reading)
    policy = reading.policy
    if instant is not None and instant - reading.setup.now > policy.cadence + CADENCE_GRACE:
        name = policy.expiry_variable
        days = policy.cadence.days
        yield Problem(
            f"{name} is {iso_utc(instant)}, more than {days} days ahead",
            everywhere(
                f"set {name} to the time of the last rotation plus {days} days, as {INSTANT_FORM}", reading.manager
            ),
        )


def _check_previous_until(reading: Reading) -> Problems:
    (_, previous, until), instant, now = reading.policy.slot_variables, reading.expires_at, reading.setup.now
    misspelled = [miss.meant.name for miss in reading.setup.near_misses]
    overlap, limit = reading.policy.overlap, in_words(reading.policy.overlap)
    remedy = everywhere(f"set {until} to the time of the rotation plus {limit}, as {INSTANT_FORM}", reading.manager)
    if not reading.found:
        delete = f"in {reading.manager}, delete" if reading.manager else "unset"
        yield Problem(
            f"{until} is set, but {previous} is not",
            "first do what the near-miss warning says, then start again"
            if previous in misspelled
            else f"{delete} {until}; only if the previous key must still verify, set that key too",
            severity=Severity.WARNING,
        )
    elif reading.marker is None and until in misspelled:
        yield Problem(f"{until} is not set", "first do what the near-miss alert says, then start again")
    elif reading.marker is None:
        yield Problem(f"{until} is not set, so {previous} has no deadline", remedy)
    elif instant is None:
        yield _invalid_instant(until, reading.marker, f"the deadline (the rotation plus {limit})", reading.manager)
    elif now >= EARLIEST_CLOCK and instant - now > overlap + CADENCE_GRACE:
        yield Problem(f"{until} is {iso_utc(instant)}, more than {limit} ahead", remedy)


def in_words(duration: timedelta) -> str:
    """Return a duration in the largest unit of which it is a multiple."""
    units = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}
    name, unit = next((each for each in units.items() if not duration % each[1]), ("microsecond", duration.resolution))
    return count(duration // unit, name)


def _check_previous_past(reading: Reading) -> Problems:
    if reading.is_past and reading.found and reading.expires_at is not None:
        remedy = how_to_remove(reading)
        if not reading.policy.is_issued:
            remedy = f"first re-encrypt data that needs this key, then {remedy}"
        yield Problem(f"{reading.variable} has not been accepted since {iso_utc(reading.expires_at)}", remedy)


def _check_legacy(reading: Reading) -> Problems:
    if reading.is_legacy and not reading.is_past:
        which = f"in {reading.manager}, set {{}} to the right" if reading.manager else "set {} to the secret manager's"
        yield Problem(
            f"{reading.variable} is not a key that this policy accepts, so it has no fingerprint",
            "keep it until its deadline if it signed until now; otherwise"
            f" {which.format(reading.variable)} previous key",
        )


REVOKED_RULES: Final = ((Check.REVOKED, _check_revoked),)
"""For each key whose fingerprint is on the revocation list."""
MARKER_RULES: Final = (
    (Check.EXPIRED, _check_expired),
    (Check.EXPIRY_MARKER, _check_expiry_marker),
    (Check.CLOCK, _check_clock),
    (Check.EXPIRING, _check_expiring),
    (Check.CADENCE, _check_cadence),
)
"""For each secret, as its current key, where its expiry marker is set."""
PREVIOUS_RULES: Final = (
    (Check.CLOCK, _check_clock),
    (Check.PREVIOUS_UNTIL, _check_previous_until),
    (Check.PREVIOUS_PAST, _check_previous_past),
    (Check.LEGACY, _check_legacy),
)
"""For the previous key of a secret, where it or its deadline is set."""
