"""`secrets.state()`, and the health endpoints of the adapters, which show it. docs/monitoring.md has both."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import V1, V2, good_keys, process_environment
from django.conf import settings
from django.http import HttpRequest
from fastapi import FastAPI
from flask import Flask
from publications import revoking, staged
from rings import ask
from running_service import Service
from starlette.applications import Starlette

from robodj_secretguard import RuntimeSecrets, SecretSettings
from robodj_secretguard.adapters import django, fastapi, flask, starlette
from robodj_secretguard.adapters.prometheus import SecretCollector
from robodj_secretguard.running.refresh import Refresh


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Service:
    """A process that does not end, whatever is revoked."""
    monkeypatch.setattr(Refresh, "_end_process", lambda _: None)
    return Service(tmp_path / "keys", capsys)


def of_asgi(app: Any) -> Callable[[], tuple[str, int]]:
    """Return what asks the health endpoint of an app."""

    def answer() -> tuple[str, int]:
        response = ask(app, path="/ready")
        return response.text, response.status_code

    return answer


def of_starlette(secrets: SecretSettings) -> Callable[[], tuple[str, int]]:
    """Serve the endpoint in Starlette."""
    app = Starlette()
    app.add_route("/ready", starlette.ready(secrets))
    return of_asgi(app)


def of_fastapi(secrets: SecretSettings) -> Callable[[], tuple[str, int]]:
    """Serve the endpoint in FastAPI."""
    app = FastAPI()
    app.add_route("/ready", fastapi.ready(secrets))
    return of_asgi(app)


def of_flask(secrets: SecretSettings) -> Callable[[], tuple[str, int]]:
    """Serve the endpoint in Flask."""
    app = Flask(__name__)
    app.add_url_rule("/ready", view_func=flask.ready(secrets))

    def answer() -> tuple[str, int]:
        response = app.test_client().get("/ready")
        return response.text, response.status_code

    return answer


def of_django(secrets: SecretSettings) -> Callable[[], tuple[str, int]]:
    """Call the view of Django."""
    if not settings.configured:
        settings.configure()
    view = django.ready(secrets)

    def answer() -> tuple[str, int]:
        response = view(HttpRequest())
        return response.content.decode(), response.status_code

    return answer


ENDPOINTS = [of_starlette, of_fastapi, of_flask, of_django]


def test_a_process_without_a_directory_follows_its_start() -> None:
    """Where nothing is read again, the state is `following`, since the start."""
    with process_environment(good_keys()):
        secrets = RuntimeSecrets()
    assert (secrets.state().name, secrets.state().checks) == ("following", ())


def test_refused_secrets_are_kept_until_others_pass(service: Service) -> None:
    """A refused set makes the state `kept`, since then, with its alerts. Good secrets, or the old ones, end it."""
    began = service.secrets.state()
    assert (began.name, began.checks) == ("following", ())
    service.read(service.files | {V2: "short"})
    first = service.secrets.state()
    assert (first.name, first.checks) == ("kept", ("secret_v2.key: format",))
    assert first.since >= began.since
    service.read(service.files | {V2: "change-me", V1: "short"})
    second = service.secrets.state()
    assert (second.since, second.checks) == (first.since, ("secret.key: format", "secret_v2.key: placeholder"))
    service.use(staged(service.files))
    assert (service.secrets.state().name, service.kinds) == ("following", ["kept", "kept", "switched"])
    service.read(service.files | {V2: "short"})
    service.read(service.files)
    assert service.kinds[3:] == ["kept", "following"]


def test_a_process_that_reads_nothing_is_late(service: Service) -> None:
    """After three periods without a read, the state is `late` since then, also where nothing has said it yet."""
    service.read(service.files | {V2: "short"})
    service.store.late_at = time.monotonic()
    late = service.secrets.state()
    assert (late.name, late.checks[-1], service.kinds) == ("late", "set-up: unavailable", ["kept", "late"])
    found = {
        f"{each.labels['secret'] or 'set-up'}: {each.labels['check']}"
        for family in SecretCollector(service.secrets).collect()
        for each in family.samples
        if each.name == "robodj_secret_findings" and each.value
    }
    assert found == {*late.checks}
    service.read(service.files)
    assert (service.secrets.state().name, service.kinds) == ("following", ["kept", "late", "following"])


def test_a_process_whose_key_is_revoked_is_ending(service: Service) -> None:
    """From the second read that finds the key revoked, the state is `ending`. A good key ends it."""
    service.read(revoking(service.files, V1))
    service.read()
    assert service.secrets.state().name == "ending"
    assert service.kinds == ["kept", "ending"]


@pytest.mark.parametrize("made", ENDPOINTS)
def test_a_health_endpoint_shows_one_word(
    service: Service, made: Callable[[SecretSettings], Callable[[], tuple[str, int]]]
) -> None:
    """It is 200 for `following`, `kept` and `late`, and 503 for `ending`: one bad secret stops no service."""
    answer = made(service.secrets)
    assert answer() == ("following", 200)
    service.read(service.files | {V2: "short"})
    assert answer() == ("kept", 200)
    service.store.late_at = time.monotonic()
    assert answer() == ("late", 200)
    service.read(revoking(service.files, V1))
    service.read()
    assert answer() == ("ending", 503)


def test_a_health_endpoint_of_an_app_with_sessions(service: Service) -> None:
    """Flask opens the session before the view. Once its key is revoked, there is none, and the endpoint answers."""
    app = Flask(__name__)
    flask.sign_sessions(app, service.store.secrets["secret.key"])
    app.add_url_rule("/ready", view_func=flask.ready(service.secrets))
    client = app.test_client()
    client.set_cookie("session", "x")
    service.read(revoking(service.files, V1))
    service.read()
    assert (client.get("/ready").text, client.get("/ready").status_code) == ("ending", 503)
