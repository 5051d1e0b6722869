"""AES-GCM of `cryptography`: encrypt what you store, so that it says which key it needs."""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from robodj_secretguard.adapters.fernet import RingFernet
from robodj_secretguard.adapters.live import stores_data
from robodj_secretguard.running.keyset import Key
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import contain


class RingAESGCM:
    """Encrypt stored data with the current key of a ring (AES-256-GCM), and decrypt it with the key that it names.

    It reads the ring once in each operation. Encrypted data begins with the id of its key, 16 bytes, and a random
    nonce, 12 bytes. Both are authenticated. So a previous key also works after its deadline, as long as it is delivered
    and not revoked. Before it is taken away, encrypt again what has another key: where `kid_of(stored) != kid`.

    Encrypt at most 2**32 messages with one key. With more, two random nonces could be equal, and then others can read
    and forge data.

    Args:
        ring: derived keys, those of `ring.derive(b"...")`, of a secret with `SecretPolicy(stores_data=True)`.

    Raises:
        ValueError: the keys are not derived keys. Or the policy of the secret does not declare `stores_data=True`, so
            that a rotation would remove the key of stored data.
    """

    def __init__(self, ring: Secret) -> None:
        RingFernet(ring)  # its keys are the same: 32 bytes
        if not stores_data(ring):
            raise ValueError(
                f"the policy of {ring.name} has stores_data=False, and RingAESGCM encrypts stored data: declare"
                " SecretPolicy(stores_data=True), or use RingFernet for what clients keep"
            )
        self._ring = ring

    @property
    def kid(self) -> str:
        """The id of the key that encrypts now."""
        return self._ring.current.kid

    @staticmethod
    def kid_of(stored: bytes) -> str:
        """Return the id of the key that encrypted data needs. Nobody has verified it: `decrypt` does.

        Args:
            stored: what `encrypt` returned.
        """
        return stored[:16].hex()

    def encrypt(self, data: bytes, associated_data: bytes | None = None) -> bytes:
        """Encrypt data with the current key.

        Args:
            data: what to encrypt.
            associated_data: what the data belongs to, such as its name. It is authenticated and not stored. `decrypt`
                needs the same.

        Returns:
            What to store: 44 bytes longer than the data.

        Raises:
            RevokedKeyError: the current key was revoked, and there is no other one.
        """
        key = self._ring.current
        head = bytes.fromhex(key.kid) + os.urandom(12)
        return head + _aesgcm(key).encrypt(head[16:], data, head + (associated_data or b""))

    def decrypt(self, stored: bytes, associated_data: bytes | None = None, *, revoked: bool = False) -> bytes:
        """Decrypt data with the key that it names.

        Args:
            stored: what `encrypt` returned.
            associated_data: the same as for `encrypt`.
            revoked: whether a revoked key may decrypt, to encrypt again what it encrypted. Whoever has that key could
                have written the data: compare it with its origin.

        Returns:
            The data.

        Raises:
            cryptography.exceptions.InvalidTag: the data was changed, belongs to something else, or is not of
                `encrypt`. Or the ring does not have its key, or the key is revoked.
        """
        head = bytes(stored[:28])
        sealed = stored[28:]
        key = self._ring.find(self.kid_of(head), revoked=revoked)
        if key is None or not sealed:
            raise InvalidTag
        return _aesgcm(key).decrypt(head[16:], sealed, head + (associated_data or b""))


def _aesgcm(key: Key) -> AESGCM:
    # The frames of base64 have the key.
    return contain(lambda: AESGCM(base64.urlsafe_b64decode(key.value.get_secret_value())))
