"""The adapter for Starlette, with Starlette."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
from detector import leaks
from rings import Published, Rotation, assert_follows, assert_switches
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from robodj_secretguard.adapters.starlette import RingSessionMiddleware

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request


def app_of(*middleware: Middleware) -> Starlette:
    """Make an app with a page that writes the session, and one that reads it."""

    async def station(request: Request) -> PlainTextResponse:
        if request.method == "PUT":
            request.session["station"] = "jazz"
        return PlainTextResponse(str(request.session.get("station")))

    return Starlette(routes=[Route("/", station, methods=["GET", "PUT"])], middleware=middleware)


def plain(key: str) -> Starlette:
    """Make an app with Starlette's middleware and one key."""
    return app_of(Middleware(SessionMiddleware, secret_key=key))


def ask(app: Starlette, method: str, cookies: dict[str, str]) -> httpx.Response:
    """Send a request over HTTPS."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://localhost", cookies=cookies) as client:
            return await client.request(method, "/")

    return asyncio.run(send())


def sign(app: Starlette) -> str:
    """Return a session cookie."""
    return ask(app, "PUT", {}).cookies["session"]


def accepts(app: Starlette, cookie: str) -> bool:
    """Return whether an app reads a session cookie."""
    return ask(app, "GET", {"session": cookie}).text == "jazz"


def test_sessions() -> None:
    """It signs with the current key. It reads cookies of each key, of the previous one until its deadline."""
    rotation = Rotation()
    app = app_of(Middleware(RingSessionMiddleware, ring=rotation.ring))
    assert_follows(
        rotation,
        sign=lambda: sign(app),
        accepts=lambda cookie: accepts(app, cookie),
        sign_with=lambda key: sign(plain(key)),
        accepts_with=lambda key, cookie: accepts(plain(key), cookie),
    )


def test_sessions_follow_a_switch(tmp_path: Path) -> None:
    """It signs with the current key after each switch, and reads cookies of the accepted keys alone."""
    service = Published(tmp_path)
    app = app_of(Middleware(RingSessionMiddleware, ring=service.ring))
    assert_switches(
        service,
        sign=lambda: sign(app),
        accepts=lambda cookie: accepts(app, cookie),
        sign_with=lambda key: sign(plain(key)),
        accepts_with=lambda key, cookie: accepts(plain(key), cookie),
    )


def test_the_options() -> None:
    """The options of Starlette's middleware set the name and the attributes of the cookie."""
    options: Any = {"session_cookie": "station", "max_age": 60, "same_site": "strict", "https_only": True}
    app = app_of(Middleware(RingSessionMiddleware, ring=Rotation().ring, **options))
    name, *attributes = ask(app, "PUT", {}).headers["Set-Cookie"].split("; ")
    assert name.startswith("station=")
    assert {*attributes} == {"path=/", "Max-Age=60", "httponly", "samesite=strict", "secure"}


def test_it_keeps_and_shows_no_key() -> None:
    """Neither the middleware nor its declaration shows a key."""
    rotation = Rotation()
    made = RingSessionMiddleware(plain(""), rotation.ring)
    shown = f"{made!r} {vars(made)} {vars(made.signer)} {Middleware(RingSessionMiddleware, ring=rotation.ring)!r}"
    assert leaks(shown, rotation.delivered) == []
