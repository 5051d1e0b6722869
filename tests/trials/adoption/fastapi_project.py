"""A FastAPI project with sessions of Starlette, and with tokens of PyJWT in a header."""

from typing import Annotated

import release  # type: ignore[import-not-found]  # the test writes it: the app with the keys of this release
from fastapi import FastAPI, Header, Request
from fastapi.responses import PlainTextResponse
from jwt import InvalidTokenError

app: FastAPI = release.app


def response(user: str | None) -> PlainTextResponse:
    """Return the name of a user, or 401."""
    return PlainTextResponse(user or "", status_code=200 if user else 401)


def user_of(authorization: str) -> str | None:
    """Return the user of a token, or nobody."""
    try:
        return str(release.decode(authorization.removeprefix("Bearer "))["sub"])
    except InvalidTokenError:
        return None


@app.get("/login")
async def log_in(request: Request, user: str) -> PlainTextResponse:
    """Begin a session."""
    request.session["user"] = user
    return response(user)


@app.get("/who")
async def who(request: Request) -> PlainTextResponse:
    """Return the user of the session, or 401."""
    return response(request.session.get("user"))


@app.get("/visit")
async def visit(request: Request) -> PlainTextResponse:
    """Change the session of a user, so that it is signed again."""
    if "user" in request.session:
        request.session["visits"] = request.session.get("visits", 0) + 1
    return await who(request)


@app.get("/token/login")
async def log_in_by_token(user: str) -> PlainTextResponse:
    """Issue a token."""
    return PlainTextResponse(user, headers={"X-Token": release.encode({"sub": user})})


@app.get("/token/who")
async def who_by_token(authorization: Annotated[str, Header()] = "") -> PlainTextResponse:
    """Return the user of a token, or 401."""
    return response(user_of(authorization))


@app.get("/token/visit")
async def visit_by_token(authorization: Annotated[str, Header()] = "") -> PlainTextResponse:
    """Return the user of a token, or 401, and issue another token."""
    answer = response(user := user_of(authorization))
    if user:
        answer.headers["X-Token"] = release.encode({"sub": user})
    return answer
