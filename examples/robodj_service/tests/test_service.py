"""The service's own tests. They need no key: pytest.ini gives them temporary keys."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest
from app import main
from fastapi import Response

if TYPE_CHECKING:
    from pytest_robodj_secretguard import BadSecret
    from robodj_secretguard import SecretSettings


def test_it_is_ready() -> None:
    """A service that started is ready."""
    assert main.ready(Response()) == {"ready": True}


def test_the_status_needs_the_token() -> None:
    """Only the token of the service's own key gives access to the status."""
    assert main.is_authorised(b"Bearer " + main.status_token())
    assert not main.is_authorised(b"Bearer " + main.status_token()[:-1])


def test_another_key_is_another_token(robodj_secrets: SecretSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rotation the old token is refused."""
    before = main.status_token()
    monkeypatch.setattr(main, "secrets", robodj_secrets)
    assert not main.is_authorised(b"Bearer " + before)


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
