"""itsdangerous: a signed token that expires, for a link in a message. Run it: `python itsdangerous_tokens.py`.

The salt is the label: itsdangerous derives a key from it, so a token is valid for one purpose only. The serializer
keeps no key: it reads them in each operation. A token is signed, not encrypted: everybody can read it.
"""

import hashlib

from itsdangerous import BadSignature

from robodj_secretguard import guard
from robodj_secretguard.adapters.itsdangerous import RingSerializer

secrets = guard()

SALT = b"robodj example invitation v1"  # your service's name, and what the token is for
LIFETIME = 3600  # seconds
INVITATIONS = RingSerializer(
    secrets.secret_key,
    salt=SALT,
    signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},  # the default is SHA-1
)


def invitation(name: str) -> str:
    """Sign a name."""
    return str(INVITATIONS.dumps(name))


def invited(token: str) -> str | None:
    """Return the name, or `None` for a token that is expired or not signed here."""
    try:
        return str(INVITATIONS.loads(token, max_age=LIFETIME))
    except BadSignature:  # also raised for an expired token
        return None


if __name__ == "__main__":
    print(invited(invitation("night-shift")))
