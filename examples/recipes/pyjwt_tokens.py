"""PyJWT: an access token that is valid for ten minutes. Run it: `python pyjwt_tokens.py`.

Its key is derived from `secret_v2.key`. That is rotated every 30 days, which affects few short-lived tokens. HS256
needs a key of 32 bytes or more (RFC 7518); this one has 32. A service that can verify can also sign. So give a service
that only verifies a public key (EdDSA), never this key.
"""

import hmac
from datetime import UTC, datetime, timedelta

import jwt

from robodj_secretguard import guard

secrets = guard()

LABEL = b"robodj example access tokens v1"  # your service's name, and what the key is for
AUDIENCE, ISSUER, LIFETIME = "robodj-playout", "robodj-example", timedelta(minutes=10)


def token_key() -> bytes:
    """Derive the key, where it is used."""
    return hmac.digest(secrets.secret_v2_key.get_secret_value().encode(), LABEL, "sha256")


def issue(subject: str) -> str:
    """Sign a token."""
    claims = {"sub": subject, "aud": AUDIENCE, "iss": ISSUER, "exp": datetime.now(UTC) + LIFETIME}
    return jwt.encode(claims, token_key(), algorithm="HS256")


def subject_of(token: str) -> str | None:
    """Return the subject, or `None` for a token that is expired, for another audience, or not signed here."""
    try:
        claims = jwt.decode(
            token,
            token_key(),
            algorithms=["HS256"],  # never the token's own choice
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "aud", "iss", "sub"]},  # without `exp` it would never expire
        )
    except jwt.InvalidTokenError:
        return None
    return str(claims["sub"])


if __name__ == "__main__":
    print(subject_of(issue("scheduler")))
