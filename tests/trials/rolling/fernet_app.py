"""FastAPI with cookies that Fernet encrypts."""

from typing import Annotated

from cryptography.fernet import InvalidToken
from fastapi import Cookie, FastAPI, HTTPException, Response
from fastapi.responses import PlainTextResponse

from robodj_secretguard import guard
from robodj_secretguard.adapters.fernet import RingFernet


def make() -> FastAPI:
    """Return the app of an instance."""
    box = RingFernet(guard().secret_key.derive(b"cookies v1"))
    app = FastAPI(default_response_class=PlainTextResponse)

    @app.get("/login")
    async def log_in(user: str, response: Response) -> str:
        response.set_cookie("session", box.encrypt(user.encode()).decode())
        return user

    @app.get("/who")
    async def who(session: Annotated[str, Cookie()] = "") -> str:
        try:
            return box.decrypt(session.encode()).decode()
        except InvalidToken:
            raise HTTPException(401) from None

    return app
