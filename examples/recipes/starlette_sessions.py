"""Starlette, FastAPI: sign the session cookie with a separate key. Serve it: `uvicorn starlette_sessions:app`.

Starlette's own middleware takes one key and keeps it. This one reads the keys in each request: it signs with the
current key, and accepts the next and the previous one. The cookie is signed, not encrypted: its user can read it.
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from robodj_secretguard import guard
from robodj_secretguard.adapters.starlette import RingSessionMiddleware

secrets = guard()

LABEL = b"robodj example starlette sessions v1"  # your service's name: Starlette's own salt is the same everywhere
SESSIONS = Middleware(
    RingSessionMiddleware,
    ring=secrets.secret_key.derive(LABEL),
    https_only=True,  # without it, plain HTTP carries the cookie too
)


async def station(request: Request) -> PlainTextResponse:
    """Return the station in the session; a PUT with `?name=` changes it."""
    if request.method == "PUT":
        request.session["station"] = request.query_params["name"]
    return PlainTextResponse(request.session.get("station", "none"))


app = Starlette(routes=[Route("/station", station, methods=["GET", "PUT"])], middleware=[SESSIONS])
