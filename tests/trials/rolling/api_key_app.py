"""FastAPI with an API key."""

from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse

from robodj_secretguard import Key, guard
from robodj_secretguard.adapters.fastapi import ApiKey


def make() -> FastAPI:
    """Return the app of an instance."""
    api_key = ApiKey(guard().secret_key)
    app = FastAPI(default_response_class=PlainTextResponse)

    @app.get("/who")
    async def who(key: Annotated[Key, Depends(api_key)]) -> str:
        return key.kid

    return app
