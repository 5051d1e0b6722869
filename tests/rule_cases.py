"""Set-ups for the tests of the rules, and what a rule finds about them."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated, Any

from command_line import fingerprint_of
from conftest import NOW, V1, good_keys, marker
from pydantic import SecretStr, create_model

from robodj_secretguard import Check, Kind, RuntimeSecrets, SecretPolicy, SecretSettings
from robodj_secretguard.startup.inputs import variables_read
from robodj_secretguard.startup.list_rules import DIRECTORY_RULES, LIST_RULES
from robodj_secretguard.startup.readings import Environment, Setup, read
from robodj_secretguard.startup.rules import SETUP_RULES, Problem

POLICIES = tuple(RuntimeSecrets.secret_policies.values())


def model_of(material: Kind, base: type[SecretSettings] = SecretSettings) -> type[SecretSettings]:
    """Return a model with one more secret, `own.key`, of a kind that somebody else issues."""
    policy = SecretPolicy(
        name="own.key",
        variable="OWN_KEY",
        owner="Us",
        cadence=timedelta(days=90),
        warn_before=timedelta(days=1),
        material=material,
        issuer="us",
    )
    return create_model("Own", __base__=base, own=(Annotated[SecretStr, policy], ...))


def listed(*keys: str) -> str:
    """Return the text of a revocation list with these keys."""
    return "".join(f"{fingerprint_of(key)}\n" for key in keys)


def changed_setup(**changes: Any) -> Setup:
    """Return the set-up of two good keys, with changes."""
    environment = Environment(good_keys())
    reading, _ = read(POLICIES, variables_read(POLICIES), environment=environment, config_dir="/", now=NOW)
    return reading.setup._replace(**changes)


def problems(kind: Check, setup: Setup) -> list[Problem]:
    """Return what the rules of a check find about a set-up."""
    rules = [rule for check, rule in SETUP_RULES + DIRECTORY_RULES + LIST_RULES if check is kind]
    return [problem for rule in rules for problem in rule(setup)]


def rotated(**changes: str) -> dict[str, str]:
    """Return good keys for each slot of the first secret, with changes."""
    until = marker(timedelta(days=3))
    further = {f"{V1}_NEXT": good_keys()[V1], f"{V1}_PREVIOUS": good_keys()[V1], f"{V1}_PREVIOUS_UNTIL": until}
    return good_keys() | further | changes


def new_fingerprint() -> str:
    """Return the fingerprint of a new key."""
    return fingerprint_of(secrets.token_urlsafe(32))


def spelled(text: str) -> str:
    """Replace `{a}` and `{b}` by two fingerprints, and `{A}` by the first one in upper case."""
    a = new_fingerprint()
    return text.format(a=a, b=new_fingerprint(), A=a.upper())
