"""The adapter for Flask, with Flask."""

from __future__ import annotations

import gc
import secrets
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from detector import leaks
from flask import Flask, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from rings import Operation, Published, Rotation, accepts_unless_revoked, every_change, traceback_of

from robodj_secretguard import Secret
from robodj_secretguard.adapters.flask import sign_sessions


def app_of(key: str = "") -> Flask:
    """Make an app with a page that writes the session, and one that reads it."""
    app = Flask("app")
    app.secret_key = key

    @app.put("/")
    def write() -> str:
        session["station"] = "jazz"
        return ""

    @app.get("/")
    def read() -> str:
        return str(session.get("station", ""))

    return app


def sign(app: Flask) -> str:
    """Return a session cookie."""
    cookie = app.test_client().put("/").headers["Set-Cookie"]
    return cookie.partition("=")[2].partition(";")[0]


def accepts(app: Flask, cookie: str) -> bool:
    """Return whether an app reads a session cookie."""
    client = app.test_client()
    client.set_cookie("session", cookie)
    return client.get("/").text == "jazz"


@every_change
def test_sessions(follows: Callable[..., None], tmp_path: Path) -> None:
    """An app signs with the current key, and reads cookies of each accepted key, also after a switch."""

    def operation(app: Flask) -> Operation:
        app.testing = True  # errors of a page are raised here

        def signed() -> str:
            if not app.secret_key:  # Flask opens no session once the key is revoked
                with pytest.raises(RuntimeError, match="session is unavailable"):
                    sign(app)
            return sign(app) if str(app.secret_key) else ""

        return signed, accepts_unless_revoked(lambda cookie: accepts(app, cookie))

    def adapter(ring: Secret) -> Operation:
        sign_sessions(app := app_of(), ring)
        return operation(app)

    follows(adapter, lambda key: operation(app_of(key)), tmp_path)


def test_the_setting_is_renewed(tmp_path: Path) -> None:
    """At a switch, `app.secret_key` gets a new text. The app is not kept."""
    service, app = Published(tmp_path), app_of()
    sign_sessions(app, service.ring)
    assert service.publish(key := Rotation().values["current"], previous=service.current)
    assert app.secret_key == key
    kept = weakref.ref(app)
    del app
    gc.collect()
    assert kept() is None
    assert service.publish(Rotation().values["current"], previous=service.current)


@pytest.mark.parametrize("setting", ["SECRET_KEY", "SECRET_KEY_FALLBACKS"])
def test_a_configuration_that_replaces_a_key_is_refused(setting: str) -> None:
    """Keys that replace those of the ring are not used: each request fails. The old key of an adoption may sign."""
    rotation, app, old = Rotation(), app_of(), secrets.token_hex(8)
    app.testing = True  # errors of a page are raised here
    sign_sessions(app, rotation.ring, old)
    cookie = sign(app)
    assert accepts(app_of(old), cookie)
    assert leaks(repr(app.config), [*rotation.delivered, old]) == []
    app.config.from_mapping({setting: [old] if setting.endswith("S") else old})
    with pytest.raises(RuntimeError, match=f"remove .*{setting}") as raised:
        accepts(app, cookie)
    assert leaks(traceback_of(raised.value), [*rotation.delivered, old]) == []


@pytest.mark.parametrize("fallbacks_are", ["last", "unknown"])
def test_an_older_flask(fallbacks_are: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask 3.1.0, which signs with the last fallback key, is refused, and so is Flask 3.0, which has none."""

    def older(_self: object, app: Any) -> URLSafeTimedSerializer:  # as in that version
        keys = [app.secret_key]
        if fallbacks_are == "last" and (fallbacks := app.config["SECRET_KEY_FALLBACKS"]):
            keys.extend(fallbacks)
        return URLSafeTimedSerializer(keys)

    monkeypatch.setattr(SecureCookieSessionInterface, "get_signing_serializer", older)
    rotation, app = Rotation(), app_of()
    with pytest.raises(RuntimeError, match=r"install Flask 3\.1\.1 or later") as raised:
        sign_sessions(app, rotation.ring)
    assert leaks(traceback_of(raised.value), rotation.delivered) == []
    assert (app.secret_key, app.config["SECRET_KEY_FALLBACKS"]) == ("", None)
