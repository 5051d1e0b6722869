"""itsdangerous: a signer and a serializer that read a ring in each operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itsdangerous import Signer, TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer

from robodj_secretguard.adapters.live import MaskedBytes, signing
from robodj_secretguard.errors import RevokedKeyError
from robodj_secretguard.running.store import Secret


class _Keys(list[bytes]):
    """The keys of one operation. itsdangerous takes the last one by its position to sign, and reads all to verify."""

    def __getitem__(self, position: Any) -> Any:
        if not self:
            raise RevokedKeyError("the current key is revoked: nothing is signed")
        return super().__getitem__(position)


class _RingKeys:
    """The keys of a ring, where itsdangerous keeps a copy of a list."""

    def __init__(self, ring: Secret, salt: str | bytes, **options: Any) -> None:
        self._ring = signing(ring)
        super().__init__((), salt, **options)  # type: ignore[call-arg]  # of the class that it is mixed into

    @property
    def secret_keys(self) -> list[bytes]:
        """The accepted keys. itsdangerous signs with the last one: the current key."""
        return _Keys(MaskedBytes(key.value.get_secret_value().encode()) for key in reversed(self._ring.accepted()))

    @secret_keys.setter
    def secret_keys(self, keys: Sequence[bytes]) -> None:
        if keys:  # the constructor of itsdangerous sets an empty list
            del keys
            raise TypeError("the keys are those of the ring")


class RingSigner(_RingKeys, TimestampSigner):
    """A `TimestampSigner` that signs with the current key of a ring, and verifies with each accepted one.

    It reads the ring once in each operation. So it follows a switch of keys, and the previous key verifies nothing
    after its deadline. Once the current key was revoked and there is no other one, nothing verifies, and `sign` raises
    a `RevokedKeyError`.

    Args:
        ring: the keys.
        salt: the name of the purpose, such as `b"invitation v1"`. Another purpose has other signatures.
        options: the other arguments of `TimestampSigner`, by name.
    """


class _RingSerializer(_RingKeys):
    def make_signer(self, salt: str | bytes | None = None) -> Signer:
        """Return a signer for one operation: it keeps the keys."""
        signer: Signer = super().make_signer(salt)  # type: ignore[misc]  # of the class that it is mixed into
        signer.secret_keys = _Keys(signer.secret_keys)
        return signer


class RingSerializer(_RingSerializer, URLSafeTimedSerializer):
    """A `URLSafeTimedSerializer` that signs with the current key of a ring, and verifies with each accepted one.

    It reads the ring in each operation, as `RingSigner` does. The token has the time of its signature: pass `max_age`,
    in seconds, to `loads`.

    Args:
        ring: the keys.
        salt: the name of the purpose, such as `b"invitation v1"`. Another purpose has other signatures.
        options: the other arguments of `URLSafeTimedSerializer`, by name.
    """


class RingURLSafeSerializer(_RingSerializer, URLSafeSerializer):
    """A `URLSafeSerializer`, as `RingSerializer`, for a project whose tokens have no time.

    `URLSafeSerializer` and `URLSafeTimedSerializer` do not read each other's tokens: use the adapter of the one that
    the project has. These tokens are valid until their key is not accepted any more.

    Args:
        ring: the keys.
        salt: the name of the purpose, such as `b"invitation v1"`. Another purpose has other signatures.
        options: the other arguments of `URLSafeSerializer`, by name.
    """
