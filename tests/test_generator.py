"""New keys: the policy approves them, and the checks accept them."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

import pytest
from conftest import found
from pydantic import SecretStr

from robodj_secretguard import Kind, Material, RuntimeSecrets, SecretSettings, check
from robodj_secretguard.common.generator import ephemeral, generate
from robodj_secretguard.errors import UsageError
from robodj_secretguard.startup.inputs import EPHEMERAL

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
    assert {*variables} == {EPHEMERAL, *(name for each in POLICIES for name in (each.variable, each.expiry_variable))}
    report = check(environ=variables)
    assert found(report) == [("ephemeral", None)]
    (ends,) = {status.expires_at for status in report.secrets}
    assert ends is not None
    assert timedelta(minutes=59) < ends - report.checked_at <= timedelta(hours=1)


@pytest.mark.parametrize("kind", [Kind(), Material.opaque(prefix="kif", pattern="[0-9]{8}")], ids=["own", "pattern"])
def test_kind_without_a_temporary_value(kind: Kind) -> None:
    """A kind that makes no temporary value is a usage error, which says what to write."""
    policy = POLICIES[0]._replace(material=kind, generator=None)
    with pytest.raises(UsageError, match=r"secret.key has no temporary value; give its kind a method temporary"):
        ephemeral([policy])


@pytest.mark.parametrize(
    "kind",
    [None, Material.opaque(4), Material.opaque(100, "sk_live_"), Material.url(), Material.pem(), Material.json()],
)
def test_each_slot_has_a_temporary_value_that_passes(kind: Kind | None) -> None:
    """A secret of each kind has temporary values in its slots. An optional one is empty, and so is off."""
    issued = POLICIES[0]._replace(material=kind, generator=None) if kind else POLICIES[0]
    optional = POLICIES[1]._replace(required=False)
    fields = {"one": Annotated[SecretStr, issued], "other": Annotated[SecretStr | None, optional]}
    variables = ephemeral([issued, optional], with_slots=True)
    assert found(check(type("Own", (SecretSettings,), {"__annotations__": fields}), environ=variables)) == [
        ("ephemeral", None)
    ]
    assert [name for name, value in variables.items() if not value] == [optional.variable]
