"""What the frameworks themselves return for a token and one key: none of this library's adapters is used."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core import signing
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import base36_to_int
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from rings import derived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_COOKIES: Final = "django.contrib.sessions.backends.signed_cookies"


def _flask(token: str, key: str) -> Any:
    app = Flask("verifier")
    app.secret_key = key
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    return serializer.loads(token)["user"]


def _starlette(token: str, key: str) -> Any:
    data = TimestampSigner(key, salt=b"itsdangerous.Signer").unsign(token)
    return json.loads(base64.b64decode(data))["user"]


def _reset(token: str, key: str) -> str:
    name, _, mark = token.partition(" ")
    began, _, shown = mark.partition("-")
    salt = "django.contrib.auth.tokens.PasswordResetTokenGenerator"
    made = salted_hmac(salt, f"{name}{base36_to_int(began)}", secret=key, algorithm="sha256").hexdigest()[::2]
    if not constant_time_compare(made, shown):
        raise signing.BadSignature
    return name


def _jwt(token: str, key: str) -> Any:
    return jwt.decode(token, key, algorithms=["HS256"])["sub"]


def _aesgcm(token: str, key: str) -> str:
    stored = bytes.fromhex(token)
    box = AESGCM(base64.urlsafe_b64decode(derived(key, b"trial at rest v1")))
    return box.decrypt(stored[16:28], stored[28:], stored[:28] + b"trial").decode()


def _key(token: str, key: str) -> str:
    if token != key:
        raise ValueError
    return ""


OPENERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "django.session": lambda token, key: signing.loads(token, key=key, salt=_COOKIES, fallback_keys=[])["user"],
    "django.signing": lambda token, key: signing.loads(token, key=key, fallback_keys=[]),
    "django.signer": lambda token, key: signing.TimestampSigner(key=key, salt="trial v1", fallback_keys=[]).unsign(
        token
    ),
    "django.reset": _reset,
    "flask.session": _flask,
    "itsdangerous.serializer": lambda token, key: URLSafeTimedSerializer(key, "trial v1").loads(token),
    "itsdangerous.signer": lambda token, key: TimestampSigner(key, b"trial v1").unsign(token).decode(),
    "fernet": lambda token, key: Fernet(derived(key, b"trial v1")).decrypt(token).decode(),
    "aesgcm": _aesgcm,
    "jwt": _jwt,
    "starlette.session": _starlette,
    "fastapi.key": _key,
    "ring.key": _key,
}
"""By operation: open a token with one key, or raise an error."""
_INVALID: Final = (BadData, InvalidTag, InvalidToken, jwt.InvalidTokenError, signing.BadSignature, ValueError)


def signer_of(operation: str, token: str, user: str, keys: Iterable[str]) -> str | None:
    """Return which of the keys has made a token for a user; `None` if it is none of them."""
    for key in keys:
        with contextlib.suppress(*_INVALID):
            if OPENERS[operation](token, key) == user:
                return key
    return None
