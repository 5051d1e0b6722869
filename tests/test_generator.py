"""New keys: the policy approves them, and the checks accept them."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import found

from robodj_secretguard import RuntimeSecrets, check
from robodj_secretguard.generator import ephemeral, generate
from robodj_secretguard.material import format_defects, is_placeholder, weakness

if TYPE_CHECKING:
    from robodj_secretguard import SecretPolicy

POLICIES = tuple(RuntimeSecrets.secret_policies.values())


def test_a_bad_key_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generated key that looks like a placeholder or not random is replaced: one in many millions."""
    good = secrets.token_urlsafe(32)
    drawn = iter(["changeme" + good, "a0" * 22, "Zz" * 22, good, good])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _size: next(drawn))
    assert generate(POLICIES[0]).get_secret_value() == good
    assert list(drawn) == [good]


def test_ephemeral_keys_pass_every_check() -> None:
    """Temporary keys are good keys that expire within the hour. One finding reports them."""
    variables = ephemeral(POLICIES)
    report = check(environ=variables)
    assert found(report) == [("ephemeral", None)]
    (ends,) = {status.expires_at for status in report.secrets}
    assert ends is not None
    assert timedelta(minutes=59) < ends - report.checked_at <= timedelta(hours=1)


@pytest.mark.parametrize("count", [1_000, pytest.param(1_000_000, marks=pytest.mark.full, id="a million")])
class TestFalseAlarms:
    """No key of an approved generator is refused. Only the full run draws a million of each."""

    @pytest.mark.parametrize(
        ("policy", "function", "size"),
        [(POLICIES[0], "token_urlsafe", 32), (POLICIES[1], "token_hex", 64), (POLICIES[1], "token_urlsafe", 64)],
        ids=["token_urlsafe(32)", "token_hex(64)", "token_urlsafe(64)"],
    )
    def test_by_any_rule_of_material(self, policy: SecretPolicy, function: str, size: int, count: int) -> None:
        """A key has the right format, and is not a placeholder or weak."""
        material, draw = policy.material, getattr(secrets, function)
        for key in (draw(size) for _ in range(count)):
            refused = is_placeholder(key) or format_defects(key, material) or weakness(key)
            assert not refused

    def test_short_keys(self, count: int) -> None:
        """A key of sixteen bytes is not a placeholder."""
        assert not any(is_placeholder(secrets.token_urlsafe(16)) for _ in range(count))
