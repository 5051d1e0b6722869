"""Starlette, FastAPI: the session cookie is signed with a key of its own. Serve it: `uvicorn starlette_sessions:app`.

`SessionMiddleware` calls `str()` on what it is given, which a secret refuses. It keeps the key, which is derived for
sessions; Starlette's own `Secret` keeps it out of the middleware's repr. The cookie is signed, not encrypted: its user
can read it.
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
    """Tell the station that the session remembers; a PUT with `?name=` changes it."""
    if request.method == "PUT":
        request.session["station"] = request.query_params["name"]
    return PlainTextResponse(request.session.get("station", "none"))


app = Starlette(routes=[Route("/station", station, methods=["GET", "PUT"])], middleware=[SESSIONS])
