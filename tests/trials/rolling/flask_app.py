"""Flask sessions, in signed cookies."""

from __future__ import annotations

from typing import Any

from asgiref.wsgi import WsgiToAsgi
from flask import Flask, Response, request, session

from robodj_secretguard import guard
from robodj_secretguard.adapters.flask import sign_sessions


def make() -> Any:
    """Return the app of an instance."""
    app = Flask(__name__)
    sign_sessions(app, guard().secret_key)

    @app.get("/login")
    def log_in() -> str:
        session["user"] = request.args["user"]
        return str(session["user"])

    @app.get("/who")
    def who() -> Response:
        return Response(session.get("user"), status=200 if "user" in session else 401)

    return WsgiToAsgi(app)  # type: ignore[no-untyped-call]
