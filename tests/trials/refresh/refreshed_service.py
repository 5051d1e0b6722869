"""The service as a WSGI app and as an ASGI app: each operation of a framework by that framework's own requests."""

import os
from collections.abc import Callable, Iterable, MutableMapping
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import refreshed_operations as operations
from asgiref.wsgi import WsgiToAsgi
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from flask import Flask, Response, request, session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from robodj_secretguard import Key
from robodj_secretguard.adapters.fastapi import ApiKey
from robodj_secretguard.adapters.flask import sign_sessions
from robodj_secretguard.adapters.starlette import RingSessionMiddleware


def _django_sign(asked: HttpRequest) -> HttpResponse:
    asked.session["user"] = asked.GET["argument"]
    return HttpResponse()


def _django_verify(asked: HttpRequest) -> HttpResponse:
    user = asked.session.get("user")
    return HttpResponse(user or "", status=200 if user else 401)


urlpatterns = [path("django.session/sign", _django_sign), path("django.session/verify", _django_verify)]
FLASK: Final = Flask(__name__)
sign_sessions(FLASK, operations.RING)


@FLASK.get("/flask.session/sign")
def _flask_sign() -> str:
    session["user"] = request.args["argument"]
    return ""


@FLASK.get("/flask.session/verify")
def _flask_verify() -> Response:
    return Response(session.get("user", ""), status=200 if "user" in session else 401)


async def _starlette_sign(asked: Request) -> PlainTextResponse:
    asked.session["user"] = asked.query_params["argument"]
    return PlainTextResponse("")


async def _starlette_verify(asked: Request) -> PlainTextResponse:
    user = asked.session.get("user")
    return PlainTextResponse(user or "", status_code=200 if user else 401)


STARLETTE: Final = Starlette(
    routes=[
        Route("/starlette.session/sign", _starlette_sign),
        Route("/starlette.session/verify", _starlette_verify),
    ]
)
STARLETTE.add_middleware(RingSessionMiddleware, ring=operations.RING)
FASTAPI: Final = FastAPI(default_response_class=PlainTextResponse)


@FASTAPI.get("/fastapi.key/verify")
async def _fastapi_verify(_key: Annotated[Key, Depends(ApiKey(operations.RING))]) -> str:
    return ""


def _direct(route: str, query: str) -> tuple[int, bytes]:
    operation, _, action = route.strip("/").partition("/")
    status, text = operations.perform(operation, action, parse_qs(query).get("argument", [""])[0])
    return status, text.encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any], /) -> Iterable[bytes]:
    """Answer a request, with the process id in a header."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("X-Pid", str(os.getpid()))], *more)

    route = environ["PATH_INFO"]
    for prefix, app in _WSGI.items():
        if route.startswith(prefix):
            answer: Iterable[bytes] = app(environ, start)
            return answer
    status, body = _direct(route, environ["QUERY_STRING"])
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


_WSGI: Final[dict[str, Any]] = {"/django.session": get_wsgi_application(), "/flask": FLASK}
_ASGI: Final[dict[str, Any]] = {
    "/django.session": get_asgi_application(),
    "/flask": WsgiToAsgi(FLASK),  # type: ignore[no-untyped-call]
    "/starlette": STARLETTE,
    "/fastapi": FASTAPI,
}
