"""Fernet of `cryptography`: encrypt what a client keeps, and read it after a rotation."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from robodj_secretguard.adapters.live import stores_data
from robodj_secretguard.running.keyset import Key
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import SealedStr, contain


class RingFernet:
    """Encrypt with the current key of a ring, and decrypt with each accepted one.

    It reads the ring once in each operation. So it follows a switch of keys, and the previous key decrypts nothing
    after its deadline. For data that you store, use `RingAESGCM`: it finds the key of old data.

    Args:
        ring: derived keys, those of `ring.derive(b"...")`.

    Raises:
        ValueError: the keys are not derived keys: other purposes may use them too. Or the policy of the secret leaves
            `stores_data` undecided.
    """

    def __init__(self, ring: Secret) -> None:
        if not ring.purpose:  # a library accepts a key of another purpose too, if it has the right length
            raise ValueError(
                'the keys of the ring are not derived keys: pass ring.derive(b"...") with the name of the purpose'
            )
        self._ring = ring
        if stores_data(ring) is None:
            raise ValueError(
                f"the policy of {ring.name} leaves stores_data undecided: declare SecretPolicy(stores_data=True)"
                " if what it encrypts is kept, and False if it is only for what clients keep, such as cookies"
            )
        self._fernets: WeakKeyDictionary[SealedStr, Fernet] = WeakKeyDictionary()  # each goes with its key
        self._with([ring.current])

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt data with the current key.

        Args:
            data: what to encrypt.

        Returns:
            The token, which has the time of its encryption.

        Raises:
            RevokedKeyError: the current key was revoked, and there is no other one.
        """
        return self._with([self._ring.current]).encrypt(data)

    def decrypt(self, token: bytes | str, ttl: int | None = None) -> bytes:
        """Decrypt a token.

        Args:
            token: what `encrypt` returned.
            ttl: the largest age of the token, in seconds; `None` for any.

        Returns:
            The data.

        Raises:
            cryptography.fernet.InvalidToken: the token was changed, is older than `ttl`, or was made with none of the
                accepted keys.
        """
        keys = [key for key in self._ring.accepted() if key.kid]  # one of before the adoption is not a derived key
        if not keys or not token.isascii():  # Fernet raises a ValueError for such text
            raise InvalidToken
        return self._with(keys).decrypt(token, ttl)

    def _with(self, keys: Iterable[Key]) -> MultiFernet:
        """Return a `MultiFernet`, which encrypts with the first key and decrypts with each one."""
        # The frames of Fernet have a key.
        return contain(lambda: MultiFernet([self._fernet(key.value) for key in keys]))

    def _fernet(self, value: SealedStr) -> Fernet:
        return self._fernets.get(value) or self._fernets.setdefault(value, Fernet(value.get_secret_value()))
