"""A service whose keys change while it runs: it signs tokens, verifies them, and says which keys it has."""

from __future__ import annotations

import hmac
import json
import os
from typing import TYPE_CHECKING

from robodj_secretguard import guard
from robodj_secretguard.settings import store_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from robodj_secretguard import Key

SECRETS = guard()
RING = SECRETS.secret_key
DERIVED = RING.derive(b"trial")


def signed(key: Key) -> str:
    """Return the signature of a message."""
    return hmac.digest(key.value.get_secret_value().encode(), b"message", "sha256").hex()


def answer(path: str, token: str) -> tuple[str, object]:
    """Return the status and the content of an answer."""
    if path == "/sign":
        key, derived = RING.current, DERIVED.current
        return "200 OK", [[key.kid, signed(key)], [derived.kid, signed(derived)]]
    if path == "/verify":
        kid, signature = json.loads(token)
        keys = [key for ring in (RING, DERIVED) for key in ring.accepted() if key.kid == kid]
        return ("200 OK" if signature in map(signed, keys) else "401 Unauthorized"), kid
    slots = {key.role: key.kid for key in RING.accepted()}
    reader = store_of(SECRETS).reader
    is_following = reader is None or reader.state().name == "following"
    alerts = [] if reader is None or is_following else [str(each.check) for each in reader.findings]
    return "200 OK", {"process": os.getpid(), "slots": slots, "alerts": alerts}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve one request."""
    status, content = answer(environ["PATH_INFO"], environ.get("HTTP_X_TOKEN", ""))
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(content).encode()]
