"""FastAPI: a dependency that verifies an API key, and a health endpoint."""

# Without postponed annotations: FastAPI cannot resolve them on an instance.
from collections.abc import Callable

from fastapi import HTTPException, Request
from fastapi.responses import PlainTextResponse
from fastapi.security import APIKeyHeader

from robodj_secretguard.running.keyset import Key
from robodj_secretguard.running.store import Secret
from robodj_secretguard.settings import SecretSettings


class ApiKey(APIKeyHeader):
    """Require one of the accepted keys of a ring in a header.

    Write `key: Annotated[Key, Depends(ApiKey(ring))]`: the key that matched, with its `role` and `kid`. Otherwise the
    response is 401. OpenAPI shows the header. It reads the ring once in each request. So it follows a switch of
    keys, and the previous key is refused after its deadline.

    Args:
        ring: the keys.
        header: the name of the header.
    """

    def __init__(self, ring: Secret, header: str = "X-API-Key") -> None:
        super().__init__(name=header, scheme_name=header)  # by default, all instances would be one in OpenAPI
        self._ring = ring

    async def __call__(self, request: Request) -> Key:  # type: ignore[override]  # not the presented text
        """Return the accepted key that the request presents."""
        key = self._ring.verify(request.headers.get(self.model.name))
        if key is None:
            raise HTTPException(401, "Not authenticated", {"WWW-Authenticate": "APIKey"})
        return key


def ready(secrets: SecretSettings) -> Callable[[Request], PlainTextResponse]:
    """Return a health endpoint.

    Write `app.add_route("/ready", ready(secrets))`. The response is the name of the state,
    with status 503 for `ending`, and 200 otherwise.

    Args:
        secrets: what `guard()` returned.
    """

    def answer(_request: Request) -> PlainTextResponse:
        state = secrets.state()
        return PlainTextResponse(state.name, state.http_status)

    return answer
