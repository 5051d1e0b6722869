"""cryptography: encrypt a value that a client keeps, such as a cookie. Run it: `python fernet_encryption.py`.

It encrypts with the current key, and decrypts with the next and the previous one too, until the deadline of the
previous key. `encrypted_config.py` is for values that you store.
"""

from cryptography.fernet import InvalidToken

from robodj_secretguard import guard
from robodj_secretguard.adapters.fernet import RingFernet

secrets = guard()

LABEL = b"robodj example encrypted cookie v1"  # your service's name, and what the key is for
LIFETIME = 3600  # seconds
BOX = RingFernet(secrets.secret_key.derive(LABEL))  # the keys themselves are not Fernet keys


def sealed(note: str) -> str:
    """Encrypt a note."""
    return BOX.encrypt(note.encode()).decode()


def opened(token: str) -> str | None:
    """Return the note, or `None` for a token that is expired, changed, or not encrypted here."""
    try:
        return BOX.decrypt(token, ttl=LIFETIME).decode()
    except InvalidToken:
        return None


if __name__ == "__main__":
    print(opened(sealed("a note")))
