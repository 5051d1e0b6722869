"""Starlette, FastAPI: sign the session cookie with a separate key. Serve it: `uvicorn starlette_sessions:app`.

`SessionMiddleware` calls `str()` on its key, and a secret refuses that. So it gets a key that is derived for sessions.
Starlette's own `Secret` keeps that key out of the middleware's repr. The cookie is signed, not encrypted: its user can
read it.
"""

import hmac

from starlette.applications import Starlette
from starlette.datastructures import Secret
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from robodj_secretguard import guard

secrets = guard()

LABEL = b"robodj example starlette sessions v1"  # your service's name: Starlette's own salt is the same everywhere
SESSIONS = Middleware(
    SessionMiddleware,
    secret_key=Secret(hmac.digest(secrets.secret_key.get_secret_value().encode(), LABEL, "sha256").hex()),
    https_only=True,  # without it, plain HTTP carries the cookie too
)


async def station(request: Request) -> PlainTextResponse:
    """Return the station in the session; a PUT with `?name=` changes it."""
    if request.method == "PUT":
        request.session["station"] = request.query_params["name"]
    return PlainTextResponse(request.session.get("station", "none"))


app = Starlette(routes=[Route("/station", station, methods=["GET", "PUT"])], middleware=[SESSIONS])
