"""What the service signs and verifies, with each adapter that needs no request.

Every object is made at the import, before any switch, and is used until the process ends.
"""

from __future__ import annotations

import contextlib
import os
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import signing
from itsdangerous import BadData
from jwt import InvalidTokenError
from refreshed_model import ServiceSecrets

from robodj_secretguard import guard
from robodj_secretguard.adapters.aesgcm import RingAESGCM
from robodj_secretguard.adapters.django import secret_keys
from robodj_secretguard.adapters.fernet import RingFernet
from robodj_secretguard.adapters.itsdangerous import RingSerializer, RingSigner
from robodj_secretguard.adapters.jwt import RingJWT

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS: Final = guard(ServiceSecrets)
RING: Final = SECRETS.secret_key
_KEY, _FALLBACKS = secret_keys(RING)
settings.configure(
    SECRET_KEY=_KEY,
    SECRET_KEY_FALLBACKS=_FALLBACKS,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="refreshed_service",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    SESSION_COOKIE_NAME="session",
    USE_TZ=True,
)
_INVALID: Final = (BadData, InvalidTag, InvalidToken, InvalidTokenError, signing.BadSignature, ValueError)
_SERIALIZER: Final = RingSerializer(RING, "trial v1")
_SIGNER: Final = RingSigner(RING, "trial v1")
_FERNET: Final = RingFernet(RING.derive(b"trial v1"))
_AESGCM: Final = RingAESGCM(RING.derive(b"trial at rest v1"))
_JWT: Final = RingJWT(RING)
_DJANGO: Final = signing.TimestampSigner(salt="trial v1")
_RESET: Final = PasswordResetTokenGenerator()


def user_of(name: str) -> Any:
    """Return a user without a database."""
    return SimpleNamespace(pk=name, password="", last_login=None, email="", get_email_field_name=lambda: "email")


def _check_reset(token: str) -> str:
    name, _, mark = token.partition(" ")
    if not _RESET.check_token(user_of(name), mark):
        raise ValueError
    return name


def _check_key(token: str) -> str:
    if RING.verify(token) is None:
        raise ValueError
    return ""


DIRECT: Final[dict[str, tuple[Callable[[str], str], Callable[[str], str]]]] = {
    "django.signing": (signing.dumps, signing.loads),
    "django.signer": (_DJANGO.sign, lambda token: _DJANGO.unsign(token, max_age=3600)),
    "django.reset": (lambda name: f"{name} {_RESET.make_token(user_of(name))}", _check_reset),
    "itsdangerous.serializer": (_SERIALIZER.dumps, _SERIALIZER.loads),
    "itsdangerous.signer": (lambda name: _SIGNER.sign(name).decode(), lambda token: _SIGNER.unsign(token).decode()),
    "fernet": (lambda name: _FERNET.encrypt(name.encode()).decode(), lambda token: _FERNET.decrypt(token).decode()),
    "aesgcm": (
        lambda name: _AESGCM.encrypt(name.encode(), b"trial").hex(),
        lambda token: _AESGCM.decrypt(bytes.fromhex(token), b"trial").decode(),
    ),
    "jwt": (lambda name: _JWT.encode({"sub": name}), lambda token: str(_JWT.decode(token)["sub"])),
    "ring.key": (lambda _: "", _check_key),
}
"""By operation: how to sign, and how to verify."""


def perform(operation: str, action: str, argument: str) -> tuple[int, str]:
    """Sign or verify, and return the status and the text of an answer."""
    if operation == "who":
        return 200, f"{os.getpid()} {os.getppid()} {sum('secret' in each.name for each in threading.enumerate())}"
    sign, verify = DIRECT[operation]
    if action == "sign":
        return 200, sign(argument)
    with contextlib.suppress(*_INVALID):
        return 200, verify(argument)
    return 401, ""
