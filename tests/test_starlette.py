"""The adapter for Starlette, with Starlette."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from detector import leaks
from rings import Operation, Rotation, ask, every_change
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from robodj_secretguard import Secret
from robodj_secretguard.adapters.starlette import RingSessionMiddleware


def app_of(*middleware: Middleware) -> Starlette:
    """Make an app with a page that writes the session, and one that reads it."""

    async def station(request: Request) -> PlainTextResponse:
        if request.method == "PUT":
            request.session["station"] = "jazz"
        return PlainTextResponse(str(request.session.get("station")))

    return Starlette(routes=[Route("/", station, methods=["GET", "PUT"])], middleware=middleware)


def sign(app: Starlette) -> str:
    """Return a session cookie."""
    return ask(app, "PUT").cookies["session"]


def accepts(app: Starlette, cookie: str) -> bool:
    """Return whether an app reads a session cookie."""
    return ask(app, cookies={"session": cookie}).text == "jazz"


@every_change
def test_sessions(follows: Callable[..., None], tmp_path: Path) -> None:
    """It signs with the current key, and reads cookies of each accepted key, also after a switch."""

    def operation(app: Starlette) -> Operation:
        return lambda: sign(app), lambda cookie: accepts(app, cookie)

    def adapter(ring: Secret) -> Operation:
        return operation(app_of(Middleware(RingSessionMiddleware, ring=ring)))

    follows(adapter, lambda key: operation(app_of(Middleware(SessionMiddleware, secret_key=key))), tmp_path)


def test_the_options() -> None:
    """The options of Starlette's middleware set the name and the attributes of the cookie."""
    options: Any = {"session_cookie": "station", "max_age": 60, "same_site": "strict", "https_only": True}
    app = app_of(Middleware(RingSessionMiddleware, ring=Rotation().ring, **options))
    name, *attributes = ask(app, "PUT").headers["Set-Cookie"].split("; ")
    assert name.startswith("station=")
    assert {*attributes} == {"path=/", "Max-Age=60", "httponly", "samesite=strict", "secure"}


def test_it_keeps_and_shows_no_key() -> None:
    """Neither the middleware nor its declaration shows a key."""
    rotation = Rotation()
    made = RingSessionMiddleware(app_of(), rotation.ring)
    shown = f"{made!r} {vars(made)} {vars(made.signer)} {Middleware(RingSessionMiddleware, ring=rotation.ring)!r}"
    assert leaks(shown, rotation.delivered) == []
