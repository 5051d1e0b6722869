"""FastAPI: an API key in a header, between two services of yours. Serve it: `uvicorn fastapi_api_key:app`.

Both services have `secret.key`, and derive the API key from it. The client sends the current key. The server accepts
the next and the previous one too, so the two services need not be restarted at once in a rotation.
"""

from typing import Annotated

from fastapi import Depends, FastAPI

from robodj_secretguard import Key, guard
from robodj_secretguard.adapters.fastapi import ApiKey

secrets = guard()

LABEL = b"robodj example api v1"  # your service's name, and what the key is for
API_KEY = secrets.secret_key.derive(LABEL)

app = FastAPI()


@app.get("/station")
def station(key: Annotated[Key, Depends(ApiKey(API_KEY))]) -> dict[str, str]:
    """Return the station, and which key the client sent."""
    return {"station": "jazz", "key": key.role}


def headers() -> dict[str, str]:
    """Return the headers that the client sends."""
    return {"X-API-Key": API_KEY.get_secret_value()}
