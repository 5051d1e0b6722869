"""A set of keys: what a process uses at one time (policy section 3). Nothing in a set changes."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import PREFIX
from robodj_secretguard.secret.sealed import Sealed, SealedStr, contain
from robodj_secretguard.startup.readings import ALWAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from robodj_secretguard.startup.readings import Reading, RevocationStatus, Slot
    from robodj_secretguard.startup.report import Report


class Key(Frozen):
    """One key of a secret.

    Attributes:
        role: `current`, `next` or `previous`.
        kid: the key id: the 32 hexadecimal digits of the fingerprint. A derived key has the id of its secret's key.
            Empty for a secret that others issue, and for a previous key of before the adoption.
        value: the key. A derived key is 32 bytes as base64url with padding, 44 characters: a Fernet key. A previous
            key of before the adoption is never derived: it stays as it is.
    """

    role: Slot
    kid: str
    value: SealedStr


class Clock:
    """Tell which instants have passed. An instant that has passed stays so, whatever the clock says later.

    Args:
        now: return the time, with a timezone; `None` for the clocks of the system.
    """

    __slots__ = ("_began", "_began_at", "_ends", "_now")

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.now(UTC))
        self._began = math.inf if now else time.monotonic()
        self._began_at = datetime.now(UTC)
        self._ends: dict[datetime, float] = {}  # by instant: when it passes, in seconds of the monotonic clock

    def watch(self, instant: datetime) -> None:
        """Take note of an instant that was read now. The monotonic clock does not step back."""
        if self._began < math.inf:  # the clock of the system
            self._ends.setdefault(instant, time.monotonic() + (instant - self._now()).total_seconds())

    def has_passed(self, instant: datetime) -> bool:
        """Check whether an instant is now or in the past. The monotonic clock may stop while the machine sleeps."""
        ends = self._ends.get(instant)
        if ends is None:  # it was read at the start
            ends = self._began + (instant - self._began_at).total_seconds()
        if self._now() >= instant or time.monotonic() >= ends:
            self._ends[instant] = -math.inf
        return self._ends.get(instant) == -math.inf  # another thread may have read the clock later


class Held(Frozen):
    """A key of a set.

    Attributes:
        key: the key.
        ends: when a next or a previous key stops verifying; `None` for never.
        is_revoked: whether it is revoked without an instant, so that it decrypts no stored data either.
    """

    key: Key
    ends: datetime | None
    is_revoked: bool


class KeySet(Sealed):
    """The keys of all secrets at one time. A read of the sources replaces the set as a whole.

    Args:
        readings: the readings of all secrets, in declared order. They passed the checks.
        report: the report on them.
        revocation: every revocation that this process has seen.
        refused: the secrets that nothing may use any more, as their current keys are revoked.
        changes: how often each secret has changed since the start, by its name.
    """

    __slots__ = ("_held", "begins", "by_name", "changes", "derived", "readings", "refused", "report", "revocation")

    def __init__(
        self,
        readings: Sequence[Reading],
        report: Report,
        revocation: RevocationStatus,
        refused: frozenset[str] = frozenset(),
        changes: Mapping[str, int] | None = None,
    ) -> None:
        self.readings = readings
        self.report = report
        self.revocation = revocation
        self.refused = refused
        self.changes: Mapping[str, int] = changes or {}
        self.begins = dict(revocation.begins)
        self.by_name = {reading.policy.name: reading for reading in readings}
        self._held: dict[str, tuple[Held, ...]] = {}
        # Derived keys go with their set, and also with the object that derived them.
        self.derived: WeakKeyDictionary[object, tuple[Held, ...]] = WeakKeyDictionary()

    def held(self, name: str) -> tuple[Held, ...]:
        """Return the keys of a secret: the current, the next and the previous one. None where it is not set."""
        found = self._held.get(name)
        if found is None:
            found = contain(lambda: tuple(self._make(name)))
            self._held[name] = found
        return found

    def _make(self, name: str) -> Iterator[Held]:
        reading = self.by_name[name]
        for each in (reading, *reading.slots):
            if each.key is not None:
                yield self._hold(each, each.key)

    def _hold(self, reading: Reading, value: SealedStr) -> Held:
        listed_as = reading.listed_as
        kid = listed_as.removeprefix(PREFIX) if reading.has_fingerprint else ""
        key = Key(reading.slot, kid, value)
        if reading.slot == "current":
            return Held(key, None, reading.policy.name in self.refused)
        begin = self.begins.get(listed_as)
        ends = [instant for instant in (reading.expires_at, begin) if instant]
        return Held(key, min(ends, default=None), begin == ALWAYS)
