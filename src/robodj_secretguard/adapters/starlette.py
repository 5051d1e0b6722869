"""Starlette, also under FastAPI: the keys of the session cookie, and a health endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from robodj_secretguard.adapters.itsdangerous import RingSigner
from robodj_secretguard.running.store import Secret
from robodj_secretguard.settings import SecretSettings


class RingSessionMiddleware(SessionMiddleware):
    """A `SessionMiddleware` that signs with the current key of a ring, and verifies with each accepted one.

    Add it like this: `app.add_middleware(RingSessionMiddleware, ring=ring, https_only=True)`. It reads the ring once
    in each operation. So it follows a switch of keys, and the previous key verifies nothing after its deadline.

    Args:
        app: the app, which Starlette passes.
        ring: the keys.
        options: the other arguments of `SessionMiddleware`, by name, without `secret_key`.
    """

    def __init__(self, app: ASGIApp, ring: Secret, *arguments: Any, **options: Any) -> None:
        super().__init__(app, "", *arguments, **options)
        self.signer = RingSigner(ring, salt=b"itsdangerous.Signer")  # the salt of Starlette's own signer


def ready(secrets: SecretSettings) -> Callable[[Request], PlainTextResponse]:
    """Return a health endpoint.

    Write `app.add_route("/ready", ready(secrets))`. The response is the name of the state,
    with status 503 for `ending`, and 200 otherwise.

    Args:
        secrets: what `guard()` returned.
    """

    def answer(_request: Request) -> PlainTextResponse:
        state = secrets.state()
        return PlainTextResponse(state.name, state.http_status)

    return answer
