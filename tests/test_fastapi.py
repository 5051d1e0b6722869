"""The adapter for FastAPI, with FastAPI."""

from pathlib import Path
from typing import Annotated, Any

from detector import leaks
from fastapi import Depends, FastAPI
from rings import Published, Rotation, ask

from robodj_secretguard import Key
from robodj_secretguard.adapters.fastapi import ApiKey


def app_of(*dependencies: ApiKey) -> FastAPI:
    """Make an app with a page for each dependency, which shows the role and the id of the key."""
    app = FastAPI()
    for number, dependency in enumerate(dependencies):

        @app.get(f"/{number or ''}")
        def matched(key: Annotated[Key, Depends(dependency)]) -> list[str]:
            return [key.role, key.kid]

    return app


def test_keys() -> None:
    """A request with an accepted key gets that key, with the previous one until its deadline."""
    rotation = Rotation()
    app = app_of(ApiKey(rotation.ring))
    expected: list[Any] = [[key.role, key.kid] for key in rotation.ring.accepted()]
    texts = [*rotation.values.values()]
    assert [ask(app, headers={"X-API-Key": text}).json() for text in texts] == expected
    rotation.now = rotation.deadline
    assert [ask(app, headers={"X-API-Key": text}).status_code for text in texts] == [200, 200, 401]


def test_keys_follow_a_switch(tmp_path: Path) -> None:
    """A request with a key that is accepted after a switch gets its role. Once the current key is revoked, none is."""
    service, second = Published(tmp_path), Rotation().values["current"]
    app, first = app_of(ApiKey(service.ring)), service.current

    def roles() -> list[Any]:
        answers = [ask(app, headers={"X-API-Key": text}) for text in (first, second, service.current)]
        return [each.json()[0] if each.status_code == 200 else each.status_code for each in answers]

    assert roles() == ["current", 401, "current"]
    assert service.publish(first, next=second)
    assert roles() == ["current", "next", "current"]
    assert service.publish(second, previous=first)
    assert roles() == ["previous", "current", "current"]
    with service.refused():
        assert roles() == [401, 401, 401]
    assert roles() == [401, 401, "current"]


def test_other_requests() -> None:
    """Without an accepted key, the response is 401 and shows nothing that was presented."""
    rotation = Rotation()
    app, text = app_of(ApiKey(rotation.ring)), rotation.values["current"]
    for headers in (
        {},
        {"X-API-Key": ""},
        {"X-API-Key": text[:-1]},
        {"X-API-Key": Rotation().values["current"]},
        {"X-API-Key": b"\xff\xfe"},
        {"Authorization": text},
    ):
        response = ask(app, headers=headers)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "APIKey")
        assert response.json() == {"detail": "Not authenticated"}


def test_openapi() -> None:
    """OpenAPI has each header as an API key of its own."""
    rotation = Rotation()
    app = app_of(ApiKey(rotation.ring), ApiKey(rotation.ring, header="X-Studio-Key"))
    schema = app.openapi()
    assert schema["components"]["securitySchemes"] == {
        name: {"type": "apiKey", "in": "header", "name": name} for name in ("X-API-Key", "X-Studio-Key")
    }
    assert [page["get"]["security"] for page in schema["paths"].values()] == [
        [{"X-API-Key": []}],
        [{"X-Studio-Key": []}],
    ]
    assert ask(app, path="/1", headers={"X-Studio-Key": rotation.values["next"]}).status_code == 200
    assert ask(app, path="/1", headers={"X-API-Key": rotation.values["next"]}).status_code == 401


def test_it_keeps_and_shows_no_key() -> None:
    """No attribute has a key."""
    rotation = Rotation()
    made = ApiKey(rotation.ring)
    assert leaks(f"{made!r} {vars(made)}", rotation.delivered) == []
