"""Flask: the keys of the session cookie, from version 3.1.1, and a health endpoint."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import ref

from flask import Flask, Response, current_app
from flask.sessions import SecureCookieSessionInterface

from robodj_secretguard.adapters.live import FallbackKeys, LiveStr, MaskedStr, kept_text
from robodj_secretguard.running.store import Secret
from robodj_secretguard.settings import SecretSettings


def sign_sessions(app: Flask, ring: Secret, old_key: str | None = None) -> None:
    """Sign the sessions of an app with the current key, and accept those of each accepted key.

    It sets `app.secret_key` and `app.config["SECRET_KEY_FALLBACKS"]`. Flask reads both in each request, and both follow
    the ring. So the previous key verifies nothing after its deadline, also in a process that is running. At each switch
    of keys, `app.secret_key` is set again. Call it after the app is configured: if a configuration replaces a key
    later, each request raises a `RuntimeError`. Once the current key is revoked, no request has a session.

    Args:
        app: the app. Its other settings stay as they are.
        ring: the keys. A derived ring keeps the secret itself out of `app.config`, which every extension can read.
        old_key: the key that signs in place of the current one, in the second deployment of an adoption.

    Raises:
        RuntimeError: this version of Flask signs with a fallback key, or does not read them: it is before 3.1.1.
    """
    if not _signs_with_current():
        raise RuntimeError("Flask before 3.1.1 signs sessions with a fallback key; install Flask 3.1.1 or later")
    app.secret_key = kept_text(ring, ref(app), "secret_key", _SessionKey) if old_key is None else _OldKey(old_key)
    app.config["SECRET_KEY_FALLBACKS"] = FallbackKeys(ring)
    app.before_request_funcs[None] = [_refuse_other_key, *app.before_request_funcs.get(None, ())]


class _SessionKey(LiveStr):
    """The current key. A process that ends has none for Flask: it opens no session, and answers a health endpoint."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return self._ring.name not in self._ring.store.keys.refused


class _OldKey(MaskedStr):
    """A key that may sign in place of the ring's."""


def _refuse_other_key() -> None:
    fallbacks = current_app.config.get("SECRET_KEY_FALLBACKS")
    if not (isinstance(current_app.secret_key, LiveStr | _OldKey) and isinstance(fallbacks, FallbackKeys)):
        del fallbacks  # a traceback with locals would show them
        raise RuntimeError(  # noqa: TRY004 - the caller passed nothing
            "the configuration has replaced a key of sign_sessions(): remove SECRET_KEY and SECRET_KEY_FALLBACKS from"
            " it, and call sign_sessions() after app.config is set"
        )


def _signs_with_current() -> bool:
    """Check the order of the keys: a version number does not tell whether a distribution has patched Flask."""
    app: Any = SimpleNamespace(secret_key="current", config={"SECRET_KEY_FALLBACKS": ["other"]})  # noqa: S106 - no key
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    return serializer is not None and serializer.secret_keys == [b"other", b"current"]


def ready(secrets: SecretSettings) -> Callable[[], Response]:
    """Return the view of a health endpoint.

    Write `app.add_url_rule("/ready", view_func=ready(secrets))`. The response is the name of the state,
    with status 503 for `ending`, and 200 otherwise.

    Args:
        secrets: what `guard()` returned.
    """

    def secrets_ready() -> Response:
        state = secrets.state()
        return Response(state.name, state.http_status, mimetype="text/plain")

    return secrets_ready  # Flask takes its name for the endpoint
