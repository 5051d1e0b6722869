"""The service as a WSGI app and as an ASGI app. Frameworks that sign in a request do so in one of their own."""

import os
from collections.abc import Callable, Iterable, MutableMapping
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, unquote

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from flask import Flask, Response, request, session
from live_views import RING, SECRETS, perform
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from robodj_secretguard import Key
from robodj_secretguard.adapters.fastapi import ApiKey
from robodj_secretguard.adapters.flask import sign_sessions
from robodj_secretguard.adapters.starlette import RingSessionMiddleware

FLASK: Final = Flask(__name__)
sign_sessions(FLASK, RING)


@FLASK.get("/flask/sign")
def _flask_sign() -> str:
    session["user"] = request.args["argument"]
    return ""


@FLASK.get("/flask/verify")
def _flask_verify() -> Response:
    return Response(session.get("user", ""), status=200 if "user" in session else 401)


async def _starlette_sign(asked: Request) -> PlainTextResponse:
    asked.session["user"] = asked.query_params["argument"]
    return PlainTextResponse("")


async def _starlette_verify(asked: Request) -> PlainTextResponse:
    user = asked.session.get("user")
    return PlainTextResponse(user or "", status_code=200 if user else 401)


STARLETTE: Final = Starlette(
    routes=[Route("/starlette/sign", _starlette_sign), Route("/starlette/verify", _starlette_verify)]
)
STARLETTE.add_middleware(RingSessionMiddleware, ring=SECRETS.secret_key)
FASTAPI: Final = FastAPI(default_response_class=PlainTextResponse)


@FASTAPI.get("/fastapi/verify")
async def _fastapi_verify(_key: Annotated[Key, Depends(ApiKey(RING))]) -> str:
    return ""


def _direct(route: str, query: str) -> tuple[int, bytes]:
    view, _, action = unquote(route).strip("/").partition("/")
    status, text = perform(view, action, parse_qs(query).get("argument", [""])[0])
    return status, text.encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any], /) -> Iterable[bytes]:
    """Answer a request, with the process id in a header."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("X-Pid", str(os.getpid()))], *more)

    if environ["PATH_INFO"].startswith("/flask"):
        return FLASK(environ, start)
    status, body = _direct(environ["PATH_INFO"], environ["QUERY_STRING"])
    start(f"{status} -", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answer a request, with the process id in a header."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-pid", str(os.getpid()).encode())]
        await send(message)

    for prefix, app in _ASGI.items():
        if scope["path"].startswith(prefix):
            await app(scope, receive, sending)
            return
    status, body = _direct(scope["path"], scope["query_string"].decode())
    headers = [(b"content-length", str(len(body)).encode())]
    await sending({"type": "http.response.start", "status": status, "headers": headers})
    await sending({"type": "http.response.body", "body": body})


_ASGI: Final[dict[str, Any]] = {"/starlette": STARLETTE, "/fastapi": FASTAPI}
