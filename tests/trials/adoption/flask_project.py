"""A Flask project, whose sessions are in signed cookies."""

from __future__ import annotations

from flask import Response, request, session
from release import app  # type: ignore[import-not-found]  # of the test: the app with the keys of this release


@app.get("/login")  # type: ignore[untyped-decorator]
def log_in() -> str:
    """Begin a session."""
    session["user"] = request.args["user"]
    return str(session["user"])


@app.get("/who")  # type: ignore[untyped-decorator]
def who() -> Response:
    """Return the user of the session, or 401."""
    return Response(session.get("user"), status=200 if "user" in session else 401)


@app.get("/visit")  # type: ignore[untyped-decorator]
def visit() -> Response:
    """Change the session of a user, so that it is signed again."""
    if "user" in session:
        session["visits"] = session.get("visits", 0) + 1
    return who()
