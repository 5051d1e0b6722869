"""PyJWT: an access token that lives ten minutes. Run it: `python pyjwt_tokens.py`.

Its key is derived from `secret_v2.key`: tokens so short-lived lose little when that is rotated, every 30 days. HS256
wants a key of 32 bytes or more (RFC 7518), and this is 32. Whoever can verify can also sign: a service that only
verifies is given a public key (EdDSA), never this one.
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
    """Return the subject, or `None` for a token that is expired, for another audience, or not ours."""
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
