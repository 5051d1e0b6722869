"""A Flask project, whose sessions are in signed cookies."""

from __future__ import annotations

import release  # type: ignore[import-not-found]  # the test writes it: the app with the keys of this release
from flask import Flask, Response, request, session

app: Flask = release.app


@app.get("/login")
def log_in() -> str:
    """Begin a session."""
    session["user"] = request.args["user"]
    return str(session["user"])


@app.get("/who")
def who() -> Response:
    """Return the user of the session, or 401."""
    return Response(session.get("user"), status=200 if "user" in session else 401)


@app.get("/visit")
def visit() -> Response:
    """Change the session of a user, so that it is signed again."""
    if "user" in session:
        session["visits"] = session.get("visits", 0) + 1
    return who()
