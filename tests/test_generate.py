"""New keys: they are what the policy approves, and what the checks accept."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from conftest import found

from robodj_secretguard import RuntimeSecrets, check
from robodj_secretguard.generator import ephemeral, generate

if TYPE_CHECKING:
    import pytest

POLICIES = tuple(RuntimeSecrets.secret_policies.values())


def test_a_key_that_the_checks_would_refuse_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance makes one in many millions that looks like a placeholder, or not random: another is made."""
    good = secrets.token_urlsafe(32)
    drawn = iter(["changeme" + good, "a0" * 22, "Zz" * 22, good, good])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _size: next(drawn))
    assert generate(POLICIES[0]).get_secret_value() == good
    assert list(drawn) == [good]


def test_ephemeral_keys_pass_every_check() -> None:
    """They are good keys, which expire soon; one line says so."""
    variables = ephemeral(POLICIES)
    report = check(environ=variables)
    assert found(report) == [("ephemeral", None)]
    ends = {status.expires_at for status in report.secrets}
    assert len(ends) == 1
    assert timedelta(minutes=59) < next(iter(ends)) - report.checked_at <= timedelta(hours=1)  # type: ignore[operator]
