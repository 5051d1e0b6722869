"""Flask: the session cookie is signed with a key of its own. Serve it: `flask --app flask_sessions run`.

Flask keeps what it is given in `app.config["SECRET_KEY"]`, where every extension can read it. That is a key derived for
sessions: `secret.key` cannot be computed from it. The cookie is signed, not encrypted: its user can read it.
"""

import hmac

from flask import Flask, request, session
from pydantic import SecretStr

from robodj_secretguard import guard

secrets = guard()

LABEL = b"robodj example flask sessions v1"  # your service's name, and what the key is for


def session_key(secret: SecretStr) -> bytes:
    """Derive the key that signs sessions."""
    return hmac.digest(secret.get_secret_value().encode(), LABEL, "sha256")


app = Flask(__name__)
app.config.update(
    SECRET_KEY=session_key(secrets.secret_key),
    SESSION_COOKIE_SECURE=True,  # over HTTPS only
    SESSION_COOKIE_SAMESITE="Lax",
)


@app.route("/station", methods=["GET", "PUT"])
def station() -> str:
    """Tell the station that the session remembers; a PUT with `?name=` changes it."""
    if request.method == "PUT":
        session["station"] = request.args["name"]
    return str(session.get("station", "none"))
