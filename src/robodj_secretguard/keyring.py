"""The keys of one secret at run time: the current key signs, and the accepted keys verify (policy section 3)."""

from __future__ import annotations

import base64
import hmac
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import PREFIX, canonical, decoded, fingerprint
from robodj_secretguard.secret.sealed import Sealed, SealedStr, contain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from robodj_secretguard.startup.readings import Reading, Slot


class Key(Frozen):
    """One key of a secret.

    Attributes:
        role: `current`, `next` or `previous`.
        kid: the key id: the 32 hexadecimal digits of the fingerprint. A derived key has the id of its secret's key.
            Empty for a secret that a vendor issues.
        value: the key. A derived key is 32 bytes as base64url with padding, 44 characters: a Fernet key.
    """

    role: Slot
    kid: str
    value: SealedStr


class _Deadline:
    """The deadline of a previous key. Once it has passed, it stays passed, whatever the clock says."""

    __slots__ = ("_clock", "_passed", "_seconds", "_until")

    def __init__(self, until: datetime, clock: Callable[[], datetime], seconds: float) -> None:
        self._until, self._clock, self._seconds, self._passed = until, clock, seconds, False

    def has_passed(self) -> bool:
        # The monotonic clock does not step back. It may stop while the machine sleeps.
        if not self._passed and (time.monotonic() >= self._seconds or self._clock() >= self._until):
            self._passed = True  # never False again: another thread may have read the clock before
        return self._passed


class Keyring(Sealed):
    """The keys of one secret (policy section 3). `SecretSettings.keyring()` returns it.

    Only the current key signs. The current, the next and the previous key verify, the previous one until its deadline.
    The deadline is judged in each call, so it also holds in a process that is already running.
    """

    __slots__ = ("_deadline", "_keys", "_name")

    def __init__(self, name: str, keys: tuple[Key, ...], deadline: _Deadline) -> None:
        self._name, self._keys, self._deadline = name, keys, deadline

    def __repr__(self) -> str:
        return f"Keyring({self._name!r})"

    @property
    def current(self) -> Key:
        """The key that signs."""
        return self._keys[0]

    def accepted(self) -> tuple[Key, ...]:
        """Return the keys that verify at this moment: the current, the next and the previous one."""
        if self._keys[-1].role == "previous" and self._deadline.has_passed():
            return self._keys[:-1]
        return self._keys

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

    def find(self, kid: str | None) -> Key | None:
        """Return the key with an id, or `None`, to decrypt stored data.

        It also finds a previous key after its deadline. Use it for data at rest only, never for what comes from
        outside, such as tokens.
        """
        return next((key for key in self._keys if kid and key.kid == kid), None)

    def derive(self, purpose: bytes) -> Keyring:
        """Return a ring of keys derived for one purpose with HKDF-SHA256. It needs the extra `crypto`.

        The input is the key's decoded bytes. The salt is `robodj-secretguard keyring v1`. The info is the secret's name
        and the purpose, each after its length as 4 bytes, the most significant first. The result has 32 bytes.

        Args:
            purpose: the name of the purpose, such as `b"session cookies v1"`. Another purpose has other keys.

        Raises:
            TypeError: `purpose` is not bytes.
            ValueError: `purpose` is empty. Or a vendor issues the secret, which may be short enough to guess.
            ImportError: `cryptography` is not installed.
        """
        if not isinstance(purpose, bytes):
            del purpose
            raise TypeError("the purpose must be bytes, such as b'session cookies v1'")
        if not purpose:
            raise ValueError("the purpose must not be empty")
        if not self.current.kid:
            raise ValueError("no key is derived from a secret that a vendor issues")
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - of an extra
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

        info = b"".join(len(part).to_bytes(4, "big") + part for part in (self._name.encode(), purpose))

        def derived(key: Key) -> Key:
            text = canonical(key.value.get_secret_value())
            encoded = decoded(text) or text.encode()  # base64 does not have every length: then the text
            made = HKDF(SHA256(), 32, b"robodj-secretguard keyring v1", info).derive(encoded)
            return key._replace(value=SealedStr(base64.urlsafe_b64encode(made).decode()))

        return Keyring(self._name, contain(lambda: tuple(map(derived, self._keys))), self._deadline)


def keyring_of(reading: Reading, clock: Callable[[], datetime] | None, started: float) -> Keyring:
    """Return the ring of a secret that passed every check when the monotonic clock was `started`."""
    until = next((slot.expires_at for slot in reading.slots if slot.expires_at), datetime.max.replace(tzinfo=UTC))
    seconds = math.inf if clock else started + (until - reading.setup.now).total_seconds()
    deadline = _Deadline(until, clock or (lambda: datetime.now(UTC)), seconds)
    return Keyring(reading.policy.name, tuple(_keys(reading)), deadline)


def _keys(reading: Reading) -> Iterator[Key]:
    """Yield the current, the next and the previous key. Leave out a past key that is invalid or plainly revoked."""
    revoked = reading.setup.revocation.fingerprints
    for each in (reading, *reading.slots):
        if key := each.key:
            its_fingerprint = "" if each.policy.is_opaque else fingerprint(key)
            if its_fingerprint not in revoked:
                yield Key(each.slot, its_fingerprint.removeprefix(PREFIX), key)
