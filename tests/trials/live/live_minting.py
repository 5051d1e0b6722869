"""What the frameworks themselves make of a key and a user, and of a token and a key. No adapter is used."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import jwt
from command_line import fingerprint_of
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core import signing
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from rings import derived

ISSUED: Final = ("issued", "issued, closure")
"""Views of the address of the database."""
KEYS: Final = ("verify", "fastapi")
"""Views whose token is the key itself: they sign nothing."""
STORED: Final = ("aesgcm",)
"""Views of stored data: only a plain revocation counts."""
DERIVED, FERNET, AT_REST, SALT = b"live derived v1", b"live fernet v1", b"live at rest v1", "live v1"

if not settings.configured:
    settings.configure()


class Plain(NamedTuple):
    """What makes a token of a key and a user, and what returns the user of a token and a key, or raises."""

    mint: Callable[[str, str], str]
    open: Callable[[str, str], Any]


def kid_of(key: str) -> str:
    """Return the id of a key."""
    return fingerprint_of(key).removeprefix("sgfp1:")


def mac(key: str, user: str) -> str:
    """Return a token of a user."""
    return f"{user} {hmac.digest(key.encode(), user.encode(), 'sha256').hex()}"


def _equal(expected: str, shown: str, user: str) -> str:
    if expected != shown:
        raise ValueError
    return user


def _mac_of(change: Callable[[str], str]) -> Plain:
    return Plain(
        lambda key, user: mac(change(key), user),
        lambda key, token: _equal(mac(change(key), token.partition(" ")[0]), token, token.partition(" ")[0]),
    )


def _flask(key: str) -> Any:
    app = Flask("plain")
    app.secret_key = key
    return SecureCookieSessionInterface().get_signing_serializer(app)


def _starlette(key: str) -> TimestampSigner:
    return TimestampSigner(key, salt=b"itsdangerous.Signer")


def _box(key: str) -> AESGCM:
    return AESGCM(base64.urlsafe_b64decode(derived(key, AT_REST)))


def _encrypt(key: str, user: str) -> str:
    head = bytes.fromhex(kid_of(key)) + os.urandom(12)
    return (head + _box(key).encrypt(head[16:], user.encode(), head)).hex()


def _decrypt(key: str, token: str) -> str:
    stored = bytes.fromhex(token)
    return _box(key).decrypt(stored[16:28], stored[28:], stored[:28]).decode()


_SAME: Final = _mac_of(lambda key: key)
_KEY: Final = Plain(lambda key, _: key, lambda key, token: _equal(key, token, ""))
PLAIN: Final = {
    **dict.fromkeys(("field", "second instance", "variable", "closure", *ISSUED), _SAME),
    **dict.fromkeys(KEYS, _KEY),
    "derived": _mac_of(lambda key: derived(key, DERIVED)),
    "django": Plain(lambda key, user: signing.dumps(user, key=key),
                    lambda key, token: signing.loads(token, key=key, fallback_keys=[])),
    "signer": Plain(lambda key, user: TimestampSigner(key, salt=SALT).sign(user).decode(),
                    lambda key, token: TimestampSigner(key, salt=SALT).unsign(token).decode()),
    "serializer": Plain(lambda key, user: str(URLSafeTimedSerializer(key, SALT).dumps(user)),
                        lambda key, token: URLSafeTimedSerializer(key, SALT).loads(token)),
    "jwt": Plain(lambda key, user: jwt.encode({"sub": user}, key, "HS256", {"kid": kid_of(key)}),
                 lambda key, token: jwt.decode(token, key, algorithms=["HS256"])["sub"]),
    "fernet": Plain(lambda key, user: Fernet(derived(key, FERNET)).encrypt(user.encode()).decode(),
                    lambda key, token: Fernet(derived(key, FERNET)).decrypt(token).decode()),
    "aesgcm": Plain(_encrypt, _decrypt),
    "flask": Plain(lambda key, user: _flask(key).dumps({"user": user}),
                   lambda key, token: _flask(key).loads(token)["user"]),
    "starlette": Plain(
        lambda key, user: _starlette(key).sign(base64.b64encode(json.dumps({"user": user}).encode())).decode(),
        lambda key, token: json.loads(base64.b64decode(_starlette(key).unsign(token)))["user"],
    ),
}  # fmt: skip


def signer_of(view: str, token: str, user: str, keys: Iterable[str]) -> str | None:
    """Return the key that has made a token for a user; `None` for no key of these."""
    for key in keys:
        with contextlib.suppress(Exception):
            if PLAIN[view].open(key, token) == user:
                return key
    return None
