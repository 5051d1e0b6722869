"""itsdangerous: a signed token that expires, for a link in a message. Run it: `python itsdangerous_tokens.py`.

The salt is the label: itsdangerous derives a key from it, so a token is valid for one purpose only. A serializer keeps
its key, so make it where it is used. A token is signed, not encrypted: everybody can read it.
"""

import hashlib

from itsdangerous import BadSignature, URLSafeTimedSerializer

from robodj_secretguard import guard

secrets = guard()

SALT = b"robodj example invitation v1"  # your service's name, and what the token is for
LIFETIME = 3600  # seconds


def serializer() -> URLSafeTimedSerializer:
    """Make the serializer, with HMAC-SHA256 instead of the default SHA-1."""
    return URLSafeTimedSerializer(
        secrets.secret_key.get_secret_value(),
        salt=SALT,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def invitation(name: str) -> str:
    """Sign a name."""
    return str(serializer().dumps(name))


def invited(token: str) -> str | None:
    """Return the name, or `None` for a token that is expired or not signed here."""
    try:
        return str(serializer().loads(token, max_age=LIFETIME))
    except BadSignature:  # also raised for an expired token
        return None


if __name__ == "__main__":
    print(invited(invitation("night-shift")))
