"""Starlette, also under FastAPI: the keys of the session cookie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from starlette.middleware.sessions import SessionMiddleware

from robodj_secretguard.adapters.itsdangerous import RingSigner

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from robodj_secretguard.keyring import Keyring


class _Options(TypedDict, total=False):
    session_cookie: str
    max_age: int | None
    path: str
    same_site: Literal["lax", "strict", "none"]
    https_only: bool
    domain: str | None
    partitioned: bool


class RingSessionMiddleware(SessionMiddleware):
    """A `SessionMiddleware` that signs with the current key of a ring, and verifies with each accepted one.

    Add it like this: `app.add_middleware(RingSessionMiddleware, ring=ring, https_only=True)`. It reads the ring in each
    request. So the previous key verifies nothing after its deadline.

    Args:
        app: the app, which Starlette passes.
        ring: the keys.
        options: the other arguments of `SessionMiddleware`, by name, without `secret_key`.
    """

    def __init__(self, app: ASGIApp, ring: Keyring, **options: Unpack[_Options]) -> None:
        super().__init__(app, secret_key="", **options)
        self.signer = RingSigner(ring, salt=b"itsdangerous.Signer")  # the salt of Starlette's own signer
