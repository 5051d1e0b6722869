"""Flask: sign the session cookie with a separate key. Serve it: `flask --app flask_sessions run`.

Flask keeps its keys in `app.config`, where every extension can read them. So it gets keys that are derived for
sessions: `secret.key` cannot be computed from them. The cookie is signed, not encrypted: its user can read it.
"""

from flask import Flask, request, session

from robodj_secretguard import guard
from robodj_secretguard.adapters.flask import sign_sessions

secrets = guard()

LABEL = b"robodj example flask sessions v1"  # your service's name, and what the key is for

app = Flask(__name__)
app.config.update(
    SESSION_COOKIE_SECURE=True,  # over HTTPS only
    SESSION_COOKIE_SAMESITE="Lax",
)
sign_sessions(app, secrets.secret_key.derive(LABEL))


@app.route("/station", methods=["GET", "PUT"])
def station() -> str:
    """Return the station in the session; a PUT with `?name=` changes it."""
    if request.method == "PUT":
        session["station"] = request.args["name"]
    return str(session.get("station", "none"))
