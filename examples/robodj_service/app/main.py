"""The service main: run `uvicorn app.main:app` in the repository's root, or with `--app-dir` from elsewhere."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request, Response
from service_secrets import ServiceSecrets

from robodj_secretguard import check, guard

secrets = guard(ServiceSecrets)  # first: with a bad secret nothing below runs, and no port is opened
start = check(ServiceSecrets)

STATUS_TOKEN_LABEL = b"robodj status token v1"

app = FastAPI()


@app.get("/ready")
def ready(response: Response) -> dict[str, bool]:
    """Answer from the check at startup. A new check at an expiry would make the whole fleet unready at once."""
    if not start.ok:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"ready": start.ok}


@app.get("/status")
def status(request: Request) -> dict[str, object]:
    """Check the secrets again, for an operator with the token. The report has no key."""
    if not is_authorised(request.headers.get("Authorization", "").encode("latin-1")):
        raise HTTPException(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    return dict(check(ServiceSecrets).as_dict())


def is_authorised(header: bytes) -> bool:
    """Return whether an `Authorization` header has the status token. To compare non-ASCII text, it takes bytes."""
    scheme, _, token = header.partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), status_token())


def status_token() -> bytes:
    """Derive the status token from the key, so no request has the key itself."""
    key = secrets.secret_key
    return hmac.new(key.get_secret_value().encode(), STATUS_TOKEN_LABEL, "sha256").hexdigest().encode()
