"""cryptography: values encrypted at rest, readable through a rotation. Run it: `python fernet_encryption.py`.

The previous key is a secret of the service's own. At a rotation deliver the old `secret.key` as this one, `rotate()`
what is stored, and then deliver a fresh key, as at the first start. After a compromise lose no time over it: until then
what the old key made is accepted.
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
    """The two runtime secrets, and the `secret.key` before this one."""

    previous_key: Annotated[SecretStr, PREVIOUS]


secrets = guard(ServiceSecrets)

LABEL = b"robodj example encryption at rest v1"  # your service's name, and what the key is for


def fernet(secret: SecretStr) -> Fernet:
    """Derive the 32 bytes that Fernet takes: the key's own text would serve every purpose."""
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=LABEL)
    return Fernet(base64.urlsafe_b64encode(hkdf.derive(secret.get_secret_value().encode())))


# It encrypts with the first, and decrypts with either.
BOX = MultiFernet([fernet(secrets.secret_key), fernet(secrets.previous_key)])

if __name__ == "__main__":
    print(BOX.decrypt(BOX.encrypt(b"a note")).decode())
