"""The service main: `uvicorn app.main:app` in the repository's root, or with `--app-dir` from elsewhere."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request, Response

from app.settings import ServiceSecrets
from robodj_secretguard import check, guard

secrets = guard(ServiceSecrets)  # first: with a bad secret nothing below runs, and no port is opened
start = check(ServiceSecrets)

STATUS_TOKEN_LABEL = b"robodj status token v1"

app = FastAPI()


@app.get("/ready")
def ready(response: Response) -> dict[str, bool]:
    """Answer from the start: checked again, one expiry would turn the whole fleet unready at the same instant."""
    if not start.ok:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"ready": start.ok}


@app.get("/status")
def status(request: Request) -> dict[str, object]:
    """Check the secrets afresh, for an operator with the token. The report holds no key."""
    if not is_authorised(request.headers.get("Authorization", "").encode("latin-1")):
        raise HTTPException(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    return dict(check(ServiceSecrets).as_dict())


def is_authorised(header: bytes) -> bool:
    """Whether an `Authorization` header bears the status token. Bytes: comparing non-ASCII text would raise."""
    scheme, _, token = header.partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), status_token())


def status_token() -> bytes:
    """Derive the status token from the key: the key itself never travels in a request."""
    key = secrets.secret_key
    return hmac.new(key.get_secret_value().encode(), STATUS_TOKEN_LABEL, "sha256").hexdigest().encode()
