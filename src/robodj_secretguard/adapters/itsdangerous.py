"""itsdangerous: a signer and a serializer that read a ring in each operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from robodj_secretguard.adapters.live import MaskedBytes, signing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robodj_secretguard.keyring import Keyring


class _RingKeys:
    """The keys of a ring, where itsdangerous keeps a copy of a list."""

    def __init__(self, ring: Keyring, salt: str | bytes, **options: Any) -> None:
        self._ring = signing(ring)
        super().__init__((), salt, **options)  # type: ignore[call-arg]  # of the class that it is mixed into

    @property
    def secret_keys(self) -> list[bytes]:
        """The accepted keys. itsdangerous signs with the last one: the current key."""
        return [MaskedBytes(key.value.get_secret_value().encode()) for key in reversed(self._ring.accepted())]

    @secret_keys.setter
    def secret_keys(self, keys: Sequence[bytes]) -> None:
        if keys:  # the constructor of itsdangerous sets an empty list
            del keys
            raise TypeError("the keys are those of the ring")


class RingSigner(_RingKeys, TimestampSigner):
    """A `TimestampSigner` that signs with the current key of a ring, and verifies with each accepted one.

    It reads the ring in each operation. So the previous key verifies nothing after its deadline.

    Args:
        ring: the keys.
        salt: the name of the purpose, such as `b"invitation v1"`. Another purpose has other signatures.
        options: the other arguments of `TimestampSigner`, by name.
    """


class RingSerializer(_RingKeys, URLSafeTimedSerializer):
    """A `URLSafeTimedSerializer` that signs with the current key of a ring, and verifies with each accepted one.

    It reads the ring in each operation. So the previous key verifies nothing after its deadline. The token has the time
    of its signature: pass `max_age`, in seconds, to `loads`.

    Args:
        ring: the keys.
        salt: the name of the purpose, such as `b"invitation v1"`. Another purpose has other signatures.
        options: the other arguments of `URLSafeTimedSerializer`, by name.
    """
