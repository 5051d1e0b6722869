"""Each way in which a service holds its secrets. Every object is made at the import, before any change of a key."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.core import signing
from itsdangerous import BadData
from jwt import InvalidTokenError
from live_model import ServiceSecrets

from robodj_secretguard import guard
from robodj_secretguard.adapters.aesgcm import RingAESGCM
from robodj_secretguard.adapters.django import secret_keys
from robodj_secretguard.adapters.fernet import RingFernet
from robodj_secretguard.adapters.itsdangerous import RingSerializer, RingSigner
from robodj_secretguard.adapters.jwt import RingJWT

if TYPE_CHECKING:
    from robodj_secretguard import Key, Secret

DERIVED: Final = b"live derived v1"
FERNET: Final = b"live fernet v1"
AT_REST: Final = b"live at rest v1"
SALT: Final = "live v1"


class View(NamedTuple):
    """What signs for a user, and what returns the user of a valid token."""

    sign: Callable[[str], str]
    verify: Callable[[str], str]


def mac(key: str, user: str) -> str:
    """Return a token of a user."""
    return f"{user} {hmac.digest(key.encode(), user.encode(), 'sha256').hex()}"


def _verified(accepted: Callable[[], Iterable[Key]], token: str) -> str:
    user = token.partition(" ")[0]
    if not any(hmac.compare_digest(token, mac(key.value.get_secret_value(), user)) for key in accepted()):
        raise ValueError
    return user


def _read(read: Callable[[], Secret]) -> View:
    """Return the view of code that finds its secret in each call."""
    return View(
        lambda user: mac(read().get_secret_value(), user), lambda token: _verified(lambda: read().accepted(), token)
    )


def _kept(secret: Secret) -> View:
    """Return the view of a closure over the methods of a field."""
    value, accepted = secret.get_secret_value, secret.accepted
    return View(lambda user: mac(value(), user), partial(_verified, accepted))


SECRETS: Final = guard(ServiceSecrets)
SECOND: Final = ServiceSecrets()
RING: Final = SECRETS.secret_key
_DERIVED: Final = RING.derive(DERIVED)
settings.configure(**dict(zip(("SECRET_KEY", "SECRET_KEY_FALLBACKS"), secret_keys(RING), strict=True)))
_SIGNER: Final = RingSigner(RING, SALT)
_SERIALIZER: Final = RingSerializer(SECOND.secret_key, SALT)
_JWT: Final = RingJWT(RING)
_FERNET: Final = RingFernet(RING.derive(FERNET))
_AESGCM: Final = RingAESGCM(SECOND.secret_key.derive(AT_REST))
_INVALID: Final = (BadData, InvalidTag, InvalidToken, InvalidTokenError, signing.BadSignature, ValueError)


def _pair(user: str) -> str:
    with SECRETS.at_once() as now:
        return f"{mac(now.secret_key.get_secret_value(), user)} {mac(now.database_url.get_secret_value(), user)}"


def _verify_pair(token: str) -> str:
    if token != _pair(token.partition(" ")[0]):
        raise ValueError
    return token.partition(" ")[0]


def _verify_key(token: str) -> str:
    if RING.verify(token) is None:
        raise ValueError
    return ""


VIEWS: Final = {
    "field": _read(lambda: SECRETS.secret_key),
    "second instance": _read(lambda: SECOND.secret_key),
    "variable": _read(lambda: RING),
    "closure": _kept(SECOND.secret_key),
    "derived": _read(lambda: _DERIVED),
    "issued": _read(lambda: SECRETS.database_url),
    "issued, closure": _kept(SECOND.database_url),
    "pair": View(_pair, _verify_pair),
    "verify": View(lambda _: "", _verify_key),
    "django": View(signing.dumps, signing.loads),
    "signer": View(lambda user: _SIGNER.sign(user).decode(), lambda token: _SIGNER.unsign(token).decode()),
    "serializer": View(_SERIALIZER.dumps, _SERIALIZER.loads),
    "jwt": View(lambda user: _JWT.encode({"sub": user}), lambda token: str(_JWT.decode(token)["sub"])),
    "fernet": View(lambda user: _FERNET.encrypt(user.encode()).decode(), lambda token: _FERNET.decrypt(token).decode()),
    "aesgcm": View(
        lambda user: _AESGCM.encrypt(user.encode()).hex(), lambda token: _AESGCM.decrypt(bytes.fromhex(token)).decode()
    ),
}
"""By name: the views that need no request."""


def state() -> str:
    """Return what each instance holds: the ids of the accepted keys, and a digest of the address."""
    held = [{key.role: key.kid for key in each.secret_key.accepted()} for each in (SECRETS, SECOND)]
    address = hashlib.sha256(SECRETS.database_url.get_secret_value().encode()).hexdigest()
    return json.dumps([*held, address])


def perform(view: str, action: str, argument: str) -> tuple[int, str]:
    """Sign or verify, and return the status and the text of an answer."""
    if view == "state":
        return 200, state()
    if action == "sign":
        return 200, VIEWS[view].sign(argument)
    with contextlib.suppress(*_INVALID):
        return 200, VIEWS[view].verify(argument)
    return 401, ""
