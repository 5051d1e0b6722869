"""Flask: sign the session cookie with a separate key. Serve it: `flask --app flask_sessions run`.

Flask keeps its key in `app.config["SECRET_KEY"]`, where every extension can read it. So it gets a key that is derived
for sessions: `secret.key` cannot be computed from it. The cookie is signed, not encrypted: its user can read it.
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
    """Return the station in the session; a PUT with `?name=` changes it."""
    if request.method == "PUT":
        session["station"] = request.args["name"]
    return str(session.get("station", "none"))
