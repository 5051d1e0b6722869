"""Starlette, also under FastAPI: the keys of the session cookie."""

from __future__ import annotations

from typing import Any

from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp

from robodj_secretguard.adapters.itsdangerous import RingSigner
from robodj_secretguard.running.store import Secret


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
