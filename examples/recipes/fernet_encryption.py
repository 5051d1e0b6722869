"""cryptography: encrypt values at rest, and read them after a rotation. Run it: `python fernet_encryption.py`.

The service declares the previous key as a secret. In a rotation, deliver the old `secret.key` as the previous key, and
`rotate()` the stored values. Then deliver a new key as the previous one, as at the first start. After a compromise, do
this at once: until then the old key is still accepted.
"""

import base64
from datetime import timedelta
from typing import Annotated

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from robodj_secretguard import RuntimeSecrets, SecretPolicy, guard

PREVIOUS = SecretPolicy(
    name="secret_previous.key",
    variable="ROBODJ_SECRET_KEY_PREVIOUS",
    owner="Security Operations",
    backup_owner="Release Manager",
    cadence=timedelta(days=90),
    warn_before=timedelta(days=14),
)


class ServiceSecrets(RuntimeSecrets):
    """The two runtime secrets, and the previous `secret.key`."""

    previous_key: Annotated[SecretStr, PREVIOUS]


secrets = guard(ServiceSecrets)

LABEL = b"robodj example encryption at rest v1"  # your service's name, and what the key is for


def fernet(secret: SecretStr) -> Fernet:
    """Derive the 32 bytes that Fernet takes. The label separates this purpose from others."""
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=LABEL)
    return Fernet(base64.urlsafe_b64encode(hkdf.derive(secret.get_secret_value().encode())))


# It encrypts with the first key, and decrypts with both.
BOX = MultiFernet([fernet(secrets.secret_key), fernet(secrets.previous_key)])

if __name__ == "__main__":
    print(BOX.decrypt(BOX.encrypt(b"a note")).decode())
