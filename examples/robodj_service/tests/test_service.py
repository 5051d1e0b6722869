"""The service's own tests. They need no key: pyproject.toml gives them temporary keys."""

from __future__ import annotations

import asyncio
import importlib
import os
import secrets
import socket
import urllib.request
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from app import main
from fastapi import HTTPException
from fastapi.security import HTTPAuthorizationCredentials

if TYPE_CHECKING:
    from pytest_robodj_secretguard import BadSecret


def bearer(token: str) -> HTTPAuthorizationCredentials:
    """Return the header of a request with a token."""
    return HTTPAuthorizationCredentials(scheme="Bearer", credentials=token)


def status_token() -> str:
    """Return the status token."""
    return main.status_tokens.current.value.get_secret_value()


def test_it_is_ready() -> None:
    """A service that started is ready."""
    assert main.secrets.state().http_status == HTTPStatus.OK


def test_the_status_needs_the_token() -> None:
    """Only the token of the service's own key gives access to the status."""
    main.operator(bearer(status_token()))
    for wrong in (None, bearer(status_token()[:-1])):
        with pytest.raises(HTTPException):
            main.operator(wrong)


def test_a_login() -> None:
    """An access token shows its user, and the status token is none."""
    assert main.user(bearer(main.login("dj")["access_token"])) == "dj"
    for wrong in (None, bearer(status_token())):
        with pytest.raises(HTTPException):
            main.user(wrong)


def test_a_rotation_logs_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens from before a rotation are valid after each step, and the page shows the keys."""
    old, new = os.environ["ROBODJ_SECRET_KEY"], secrets.token_urlsafe(32)
    access, status, until = main.login("dj")["access_token"], status_token(), datetime.now(UTC) + timedelta(days=14)
    roles = []
    for values in ((old, new, "", ""), (new, "", old, until.isoformat())):
        for ending, value in zip(("", "_NEXT", "_PREVIOUS", "_PREVIOUS_UNTIL"), values, strict=True):
            monkeypatch.setenv(f"ROBODJ_SECRET_KEY{ending}", value)
        importlib.reload(main)
        assert main.user(bearer(access)) == "dj"
        main.operator(bearer(status))
        page = main.keys()["secret.key"]
        roles.append([key["role"] for key in page["verify"]])
    assert roles == [["current", "next"], ["current", "previous"]]
    assert (page["signs"], page["previous_until"]) == (main.secrets.secret_key.current.kid, until)


def test_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics have a port of their own, without a token. A second worker serves without it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("METRICS_PORT", str(free.getsockname()[1]))
    address = f"http://127.0.0.1:{os.environ['METRICS_PORT']}/metrics"

    async def run_two_workers() -> str:
        async with main.metrics(main.app), main.metrics(main.app):
            with await asyncio.to_thread(urllib.request.urlopen, address) as answer:
                return str(answer.read().decode())

    shown = asyncio.run(run_two_workers())
    assert 'robodj_secret_info{fingerprint="sgfp1:' in shown
    assert os.environ["ROBODJ_SECRET_KEY"] not in shown


@pytest.mark.parametrize("check", ["missing", "placeholder", "format", "expired", "revoked"])
@pytest.mark.parametrize("secret", ["secret.key", "secret_v2.key"])
def test_it_does_not_start_with_a_bad_secret(bad_robodj_secret: BadSecret, check: str, secret: str) -> None:
    """A bad value of each kind is refused for each secret."""
    bad_robodj_secret(check, secret)
    with pytest.raises(SystemExit, match=f"refused: {secret}: {check}$"):
        importlib.reload(main)


def test_it_does_not_start_without_a_revocation_list(bad_robodj_secret: BadSecret) -> None:
    """A missing revocation list is refused."""
    bad_robodj_secret("revocation-list")
    with pytest.raises(SystemExit, match=r"refused: set-up: revocation-list$"):
        importlib.reload(main)
