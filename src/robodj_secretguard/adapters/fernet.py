"""Fernet of `cryptography`: encrypt values, and read them after a rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.secret.sealed import contain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robodj_secretguard.keyring import Key, Keyring


class RingFernet:
    """Encrypt with the current key of a ring, and decrypt with each accepted one.

    It reads the ring in each operation. So the previous key decrypts nothing from outside after its deadline.

    For data at rest, store `kid` next to the token, and pass it to `decrypt`. Then a previous key also works after its
    deadline, as long as it is delivered. Encrypt the data again before the key is taken away.

    Args:
        ring: keys that Fernet accepts: those of `ring.derive(b"...")`.

    Raises:
        ValueError: the keys are not Fernet keys. Those of the shipped secrets are not.
    """

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        _fernet(ring.accepted())

    @property
    def kid(self) -> str:
        """The id of the key that encrypts now."""
        return self._ring.current.kid

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt data with the current key."""
        return _fernet([self._ring.current]).encrypt(data)

    def decrypt(self, token: bytes | str, ttl: int | None = None, *, kid: str | None = None) -> bytes:
        """Decrypt a token.

        Args:
            token: what `encrypt` returned.
            ttl: the largest age of the token, in seconds; `None` for any.
            kid: for data at rest, the id of its key. `None` for what comes from outside, such as a cookie.

        Raises:
            cryptography.fernet.InvalidToken: the token was changed, is older than `ttl`, or was made with another key:
                with none of the accepted keys, or not with the key of this id.
        """
        keys = self._ring.accepted() if kid is None else [*filter(None, [self._ring.find(kid)])]
        if not keys or not token.isascii():  # Fernet raises a ValueError for such text
            raise InvalidToken
        return _fernet(keys).decrypt(token, ttl)


def _fernet(keys: Iterable[Key]) -> MultiFernet:
    """Return a `MultiFernet`, which encrypts with the first key and decrypts with each one."""
    try:  # the frames of Fernet have a key
        return contain(lambda: MultiFernet([Fernet(key.value.get_secret_value()) for key in keys]))
    except CheckFailedError:
        raise ValueError(
            'the keys of the ring are not Fernet keys: pass ring.derive(b"...") with the name of the purpose'
        ) from None
