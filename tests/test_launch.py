"""What a command gets from the gate. tests/test_gate.py has the processes."""

from __future__ import annotations

import os

import pytest
from conftest import V1, V2, process_environment

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.common.launch import set_temporary_keys, settings_for_guard, signed

POLICIES = RuntimeSecrets.secret_policies.values()
SLOT = f"{V1}_NEXT"


def test_temporary_keys_are_set() -> None:
    """Every declared secret gets a key. An empty variable counts as unset."""
    with process_environment({V1: ""}):
        assert set_temporary_keys(POLICIES) == []
        assert (len(os.environ[V1]), len(os.environ[V2])) == (43, 128)


def test_temporary_keys_replace_nothing() -> None:
    """Where a declared variable is set, also one of a slot, nothing changes."""
    with process_environment({SLOT: "a"}):
        before = {**os.environ}
        assert set_temporary_keys(POLICIES) == [SLOT]
        assert {**os.environ} == before


def test_settings_for_the_guard_in_a_command() -> None:
    """The guard in a command gets the absolute config directory and the protection, if the gate has them."""
    assert settings_for_guard(None, require_env_only=False) == {}
    settings = {"ROBODJ_CONFIG_DIR": os.path.abspath("deploy"), "ROBODJ_PROTECTED_ENV": "true"}
    assert settings_for_guard("deploy", require_env_only=True) == settings


@pytest.mark.parametrize(("status", "passed_on"), [(0, 0), (3, 3), (0xC000013A, -0x3FFFFEC6), (2**31, -(2**31))])
def test_large_statuses(status: int, passed_on: int) -> None:
    """All 32 bits of a status on Windows are kept. Those of Control-C and crashes have the highest bit."""
    assert signed(status) == passed_on
    assert passed_on % 2**32 == status
