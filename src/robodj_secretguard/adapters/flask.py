"""Flask: the keys of the session cookie, from version 3.1.1."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from weakref import ref

from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from robodj_secretguard.adapters.live import FallbackKeys, kept_text
from robodj_secretguard.keyring import Keyring


def sign_sessions(app: Flask, ring: Keyring) -> None:
    """Sign the sessions of an app with the current key, and accept those of each accepted key.

    It sets `app.secret_key` and `app.config["SECRET_KEY_FALLBACKS"]`. Flask reads both in each request, and both follow
    the ring. So the previous key verifies nothing after its deadline, also in a process that is running. At each switch
    of keys, `app.secret_key` is set again, if it still has this key.

    Args:
        app: the app. Its other settings stay as they are.
        ring: the keys. A derived ring keeps the secret itself out of `app.config`, which every extension can read.

    Raises:
        RuntimeError: this version of Flask signs with a fallback key, or does not read them: it is before 3.1.1.
    """
    if not _signs_with_current():
        raise RuntimeError("Flask before 3.1.1 signs sessions with a fallback key; install Flask 3.1.1 or later")
    app.secret_key = kept_text(ring, ref(app), "secret_key")
    app.config["SECRET_KEY_FALLBACKS"] = FallbackKeys(ring)


def _signs_with_current() -> bool:
    """Check the order of the keys: a version number does not tell whether a distribution has patched Flask."""
    app: Any = SimpleNamespace(secret_key="current", config={"SECRET_KEY_FALLBACKS": ["other"]})  # noqa: S106 - no key
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    return serializer is not None and serializer.secret_keys == [b"other", b"current"]
