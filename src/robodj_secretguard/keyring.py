"""The keys of one secret at run time: the current key signs, and the accepted keys verify (policy section 3)."""

from __future__ import annotations

import base64
import hmac
import math
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from robodj_secretguard.errors import RevokedKeyError
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import PREFIX, canonical, decoded
from robodj_secretguard.secret.sealed import Sealed, SealedStr, contain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from robodj_secretguard.startup.readings import Reading, RevocationStatus, Slot
    from robodj_secretguard.startup.report import Judgement, Report


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


class _Deadline:
    """When a key stops verifying. Once that has passed, it stays passed, whatever the clock says."""

    __slots__ = ("_clock", "_passed", "_seconds", "_until")

    def __init__(
        self,
        until: datetime,
        clock: Callable[[], datetime] | None = None,
        seconds: float = math.inf,
    ) -> None:
        self._clock = clock or partial(datetime.now, UTC)
        self._until, self._seconds, self._passed = until, seconds, False

    def has_passed(self) -> bool:
        # The monotonic clock does not step back. It may stop while the machine sleeps.
        if not self._passed and (time.monotonic() >= self._seconds or self._clock() >= self._until):
            self._passed = True  # never False again: another thread may have read the clock before
        return self._passed


class _Held(Frozen):
    """A key of a set.

    Attributes:
        key: the key.
        deadline: when a next or a previous key stops verifying; `None` for never.
        is_revoked: whether the key is revoked, so that it does not decrypt stored data either.
    """

    key: Key
    deadline: _Deadline | None
    is_revoked: bool


class KeySet(Sealed):
    """The keys of all secrets at one time. Nothing changes in a set: a switch replaces it as a whole.

    Args:
        judgement: the readings that passed the checks, and the report on them.
        started: the time of the monotonic clock when they were read.
        revocation: every revocation that this process has seen.
        refused: the secrets that nothing may use any more, as their current keys are revoked.
        deadlines: those of earlier sets, by key id and instant: a clock that steps back changes none of them.
    """

    __slots__ = ("_views", "deadlines", "judgement", "refused", "revocation", "started")

    def __init__(
        self,
        judgement: Judgement,
        started: float,
        revocation: RevocationStatus,
        refused: frozenset[str] = frozenset(),
        deadlines: dict[tuple[str, datetime], _Deadline] | None = None,
    ) -> None:
        self.judgement, self.started, self.revocation, self.refused = judgement, started, revocation, refused
        self.deadlines = {} if deadlines is None else deadlines
        # The keys of each ring are kept here, so that they go with their set, and also with their ring.
        self._views: WeakKeyDictionary[Keyring, tuple[_Held, ...]] = WeakKeyDictionary()

    @property
    def readings(self) -> Sequence[Reading]:
        """The readings of all secrets, in declared order."""
        return self.judgement.readings

    @property
    def report(self) -> Report:
        """The report on the keys, without the fingerprints of next and previous keys that are revoked by now."""
        report, now = self.judgement.report(), datetime.now(UTC)
        revoked = {listed for listed, begin in self.revocation.begins if begin <= now}
        slots = ("next_fingerprint", "previous_fingerprint")
        secrets = [
            each._replace(**{slot: None for slot in slots if getattr(each, slot) in revoked}) for each in report.secrets
        ]
        return report._replace(secrets=tuple(secrets))

    def held(self, ring: Keyring) -> tuple[_Held, ...]:
        """Return the keys of a ring."""
        found = self._views.get(ring)
        return self._views.setdefault(ring, contain(lambda: tuple(self._make(ring)))) if found is None else found

    def _make(self, ring: Keyring) -> Iterator[_Held]:
        if ring.parent:
            for held in self.held(ring.parent):  # what signed before the adoption stays as it is
                yield held._replace(key=_derived(held.key, ring.name, ring.purpose)) if held.key.kid else held
            return
        for reading in self.readings:
            for each in (reading, *reading.slots) if reading.policy.name == ring.name else ():
                if each.key:
                    yield self._hold(each, each.key, ring.clock)

    def _hold(self, reading: Reading, value: SealedStr, clock: Callable[[], datetime] | None) -> _Held:
        listed_as = reading.listed_as
        key = Key(reading.slot, reading.fingerprint.removeprefix(PREFIX), value)
        if reading.slot == "current":
            return _Held(key, None, reading.policy.name in self.refused)
        ends = [instant for instant in (reading.expires_at, self.revocation.begin(listed_as)) if instant]
        deadline = None
        if ends and clock:
            deadline = _Deadline(min(ends), clock)
        elif ends:
            seconds = self.started + (min(ends) - reading.setup.now).total_seconds()
            deadline = self.deadlines.setdefault((key.kid, min(ends)), _Deadline(min(ends), seconds=seconds))
        return _Held(key, deadline, listed_as in self.revocation.fingerprints)


class LiveKeys(Sealed):
    """The keys that this process uses now. A switch replaces `keys`: one assignment changes every ring.

    Attributes:
        keys: the keys in use.
        late_at: when the monotonic clock says that the keys were not read in time.
        refresh: reads the keys again; `None` where they cannot change.
        hooks: the functions to call after each switch, with the names of the changed secrets.
        rings: the rings of the system's clock, by the names of their secrets.
    """

    __slots__ = ("__weakref__", "hooks", "keys", "late_at", "refresh", "rings")

    def __init__(self, keys: KeySet) -> None:
        self.keys, self.late_at = keys, math.inf
        self.refresh: Any = None  # a Refresh, whose module imports this one
        self.hooks: list[Callable[[frozenset[str]], object]] = []
        self.rings: dict[str, Keyring] = {}


class Keyring(Sealed):
    """The keys of one secret (policy section 3). `SecretSettings.keyring()` returns it.

    Only the current key signs. The current, the next and the previous key verify. The previous key verifies until its
    deadline, and no key after its revocation. Each call reads the keys in use, and judges deadlines. So a ring follows
    a rotation in a process that is already running, and each call sees the keys of one set.
    """

    __slots__ = ("__weakref__", "_live", "clock", "name", "parent", "purpose")

    def __init__(
        self,
        live: LiveKeys,
        name: str,
        *,
        clock: Callable[[], datetime] | None = None,
        parent: Keyring | None = None,
        purpose: bytes = b"",
    ) -> None:
        self._live, self.name, self.clock, self.parent, self.purpose = live, name, clock, parent, purpose

    def __repr__(self) -> str:
        return f"Keyring({self.name!r})"

    def _held(self) -> tuple[_Held, ...]:
        live = self._live
        if live.refresh and time.monotonic() >= live.late_at:
            live.refresh.say_late()
        return live.keys.held(self)

    def _signing(self) -> _Held:
        held = self._held()
        if not held:
            raise LookupError(f"{self.name} is optional, and it is not set")
        return held[0]

    @property
    def current(self) -> Key:
        """The key that signs.

        Raises:
            robodj_secretguard.errors.RevokedKeyError: it was revoked while the service runs, and there is no other one.
            LookupError: the secret is optional, and it is not set.
        """
        current = self._signing()
        if current.is_revoked:
            raise RevokedKeyError("the current key is revoked, and the secret manager has delivered no other one")
        return current.key

    def accepted(self) -> tuple[Key, ...]:
        """Return the keys that verify at this moment: the current, the next and the previous one.

        Return none once the current key was revoked while the service runs, and there is no other one, and none of an
        optional secret that is not set.
        """
        held = self._held()
        if held and held[0].is_revoked:
            return ()
        return tuple([each.key for each in held if not (each.deadline and each.deadline.has_passed())])

    def verify(self, presented: str | bytes | None) -> Key | None:
        """Return the accepted key that equals a presented one, or `None`.

        The comparison takes the same time for every wrong key of the same length, and it never raises.

        Args:
            presented: the key in a request: `None`, text or bytes of any content and length.
        """
        if isinstance(presented, str):
            presented = presented.encode("utf-8", "surrogatepass")
        elif not isinstance(presented, (bytes, bytearray)):
            return None
        match = None
        for key in self.accepted():
            is_equal = hmac.compare_digest(key.value.get_secret_value().encode(), presented)
            match = key if is_equal and match is None else match
        return match

    def stored(self) -> tuple[Key, ...]:
        """Return every key that may decrypt stored data, the newest first: next, current, previous.

        It also has a previous key after its deadline, as long as it is delivered and not revoked. Use it for data at
        rest only, never for what comes from outside, such as tokens.
        """
        keys = [held.key for held in self._held() if not held.is_revoked]
        return tuple(sorted(keys, key=lambda key: key.role != "next"))

    def find(self, kid: str | None, *, revoked: bool = False) -> Key | None:
        """Return the key with an id, or `None`, to decrypt stored data. See `stored` for the keys.

        Args:
            kid: the id of the key; `None` for no key.
            revoked: whether a revoked key is found too: only to encrypt again what it encrypted.
        """
        found = (held for held in self._held() if kid and held.key.kid == kid)
        return next((held.key for held in found if revoked or not held.is_revoked), None)

    def derive(self, purpose: bytes) -> Keyring:
        """Return a ring of keys derived for one purpose with HKDF-SHA256. It needs the extra `crypto`.

        The input is the key's decoded bytes. The salt is "robodj-secretguard keyring v1". The info is the secret's name
        and the purpose, each after its length as 4 bytes, the most significant first. The result has 32 bytes.

        Args:
            purpose: the name of the purpose, such as `b"session cookies v1"`. Another purpose has other keys.

        Raises:
            TypeError: `purpose` is not bytes.
            ValueError: `purpose` is empty. Or others issue the secret, which may be short enough to guess.
            LookupError: the secret is optional, and it is not set.
            ImportError: `cryptography` is not installed.
        """
        if not isinstance(purpose, bytes):
            del purpose
            raise TypeError("the purpose must be bytes, such as b'session cookies v1'")
        if not purpose:
            raise ValueError("the purpose must not be empty")
        if not self._signing().key.kid:
            raise ValueError("no key is derived from a secret that others issue")
        import cryptography.hazmat.primitives.hashes  # noqa: F401, PLC0415 - of an extra: here it is an ImportError

        ring = Keyring(self._live, self.name, clock=self.clock, parent=self, purpose=purpose)
        ring.stored()  # derive the keys now, so that an error is raised here
        return ring

    def on_switch(self, function: Callable[[frozenset[str]], object]) -> None:
        """Do what `SecretSettings.on_change` does: for adapters, which have only the ring."""
        self._live.hooks.append(function)


def _derived(key: Key, name: str, purpose: bytes) -> Key:
    """Return the key that is derived from another one. It runs inside `contain()`."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - of an extra
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    info = b"".join(len(part).to_bytes(4, "big") + part for part in (name.encode(), purpose))
    text = canonical(key.value.get_secret_value())
    encoded = decoded(text) or text.encode()  # base64 does not have every length: then the text
    made = HKDF(SHA256(), 32, b"robodj-secretguard keyring v1", info).derive(encoded)
    return key._replace(value=SealedStr(base64.urlsafe_b64encode(made).decode()))
