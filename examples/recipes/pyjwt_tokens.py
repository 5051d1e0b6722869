"""PyJWT: an access token that is valid for ten minutes. Run it: `python pyjwt_tokens.py`.

Its keys are derived from `secret_v2.key`. HS256 needs a key of 32 bytes or more (RFC 7518); these have 32. The header
of a token has the id of its key, `kid`, which shows nothing of the key. A service that can verify can also sign. So
give a service that only verifies a public key (EdDSA), never this one.
"""

from datetime import UTC, datetime, timedelta

import jwt

from robodj_secretguard import guard
from robodj_secretguard.adapters.jwt import RingJWT

secrets = guard()

LABEL = b"robodj example access tokens v1"  # your service's name, and what the key is for
AUDIENCE, ISSUER, LIFETIME = "robodj-playout", "robodj-example", timedelta(minutes=10)
TOKENS = RingJWT(secrets.secret_v2_key.derive(LABEL))  # HS256, never the token's own choice


def issue(subject: str) -> str:
    """Sign a token."""
    return TOKENS.encode({"sub": subject, "aud": AUDIENCE, "iss": ISSUER, "exp": datetime.now(UTC) + LIFETIME})


def subject_of(token: str) -> str | None:
    """Return the subject, or `None` for a token that is expired, for another audience, or not signed here."""
    required = {"require": ["exp", "aud", "iss", "sub"]}  # without `exp` it would be valid as long as its key
    try:
        claims = TOKENS.decode(token, audience=AUDIENCE, issuer=ISSUER, options=required)
    except jwt.InvalidTokenError:
        return None
    return str(claims["sub"])


if __name__ == "__main__":
    print(subject_of(issue("scheduler")))
