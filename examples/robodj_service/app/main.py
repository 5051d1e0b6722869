"""The service main: run `uvicorn app.main:app` in the repository's root, or with `--app-dir` from elsewhere."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jwt import InvalidTokenError
from prometheus_client import CollectorRegistry, start_http_server
from service_secrets import ServiceSecrets

from robodj_secretguard import check, guard
from robodj_secretguard.adapters.fastapi import ready
from robodj_secretguard.adapters.jwt import RingJWT
from robodj_secretguard.adapters.prometheus import SecretCollector
from robodj_secretguard.running.heartbeat import send_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

secrets = guard(ServiceSecrets)  # first: with a bad secret nothing below runs, and no port is opened
start = check(ServiceSecrets)

# Each purpose has its own derived keys, so no request has the key itself. They follow each rotation and revocation.
access_tokens = RingJWT(secrets.secret_key.derive(b"robodj access token v1"))
status_tokens = secrets.secret_key.derive(b"robodj status token v1")

LIFETIME = timedelta(minutes=10)
REQUIRED = {"require": ["exp", "sub"]}  # without `exp` a token would never expire
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]

registry = CollectorRegistry()
registry.register(SecretCollector(secrets))


@contextlib.asynccontextmanager
async def metrics(_: FastAPI) -> AsyncIterator[None]:
    """Serve the metrics on a port of their own, which is not published. So no key is needed to read them.

    At the end, say that this process ends: uvicorn ends itself with a signal.
    """
    with contextlib.ExitStack() as stack:
        if port := os.environ.get("METRICS_PORT"):
            with contextlib.suppress(OSError):  # another worker has the port; it runs on the same keys
                server, thread = start_http_server(int(port), os.environ.get("METRICS_HOST", "127.0.0.1"), registry)
                stack.callback(thread.join)
                stack.callback(server.server_close)
                stack.callback(server.shutdown)
        yield
    send_end()


app = FastAPI(lifespan=metrics)
app.add_route("/ready", ready(secrets))


def operator(bearer: Bearer) -> None:
    """Require the status token."""
    if status_tokens.verify(bearer.credentials if bearer else None) is None:
        raise unauthorized()


def user(bearer: Bearer) -> str:
    """Require an access token, and return its user."""
    try:
        return str(access_tokens.decode(bearer.credentials if bearer else "", options=REQUIRED)["sub"])
    except InvalidTokenError:
        raise unauthorized() from None


def unauthorized() -> HTTPException:
    """Return the response to a wrong token, which says nothing about it."""
    return HTTPException(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})


@app.post("/login", dependencies=[Depends(operator)])
def login(name: str) -> dict[str, str]:
    """Give an operator an access token for ten minutes. Only the current key signs it."""
    claims = {"sub": name, "exp": datetime.now(UTC) + LIFETIME}
    return {"access_token": access_tokens.encode(claims), "token_type": "bearer"}


@app.get("/me")
def me(name: Annotated[str, Depends(user)]) -> dict[str, str]:
    """Answer who has the access token. A rotation does not log them out."""
    return {"user": name}


@app.get("/status", dependencies=[Depends(operator)])
def status() -> dict[str, object]:
    """Check the secrets again. The report has no key."""
    return dict(check(ServiceSecrets).as_dict())


@app.get("/keys", dependencies=[Depends(operator)])
def keys() -> dict[str, dict[str, Any]]:
    """Show which key signs and which keys verify now: their roles and ids, and the deadline of the previous key."""
    until = {each.secret: each.previous_until for each in start.secrets}
    return {
        secret.name: {
            "signs": secret.current.kid,
            "verify": [{"role": key.role, "kid": key.kid} for key in secret.accepted()],
            "previous_until": until[secret.name],
        }
        for secret in (secrets.secret_key, secrets.secret_v2_key)
    }
