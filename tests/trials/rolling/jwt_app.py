"""FastAPI with signed tokens of PyJWT."""

from typing import Annotated

from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import PlainTextResponse
from jwt import InvalidTokenError

from robodj_secretguard import guard
from robodj_secretguard.adapters.jwt import RingJWT


def make() -> FastAPI:
    """Return the app of an instance."""
    tokens = RingJWT(guard().secret_key)
    app = FastAPI(default_response_class=PlainTextResponse)

    @app.get("/login")
    async def log_in(user: str) -> str:
        return tokens.encode({"sub": user})

    @app.get("/who")
    async def who(authorization: Annotated[str, Header()] = "") -> str:
        try:
            return str(tokens.decode(authorization.removeprefix("Bearer "))["sub"])
        except InvalidTokenError:
            raise HTTPException(401) from None

    return app
