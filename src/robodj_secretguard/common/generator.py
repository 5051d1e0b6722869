"""New keys, by the approved generators (policy section 1)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import EPHEMERAL, iso_utc

EPHEMERAL_LIFE: Final = timedelta(hours=1)
"""How long temporary keys are valid."""


def generate(policy: SecretPolicy) -> SealedStr:
    """Return a new key from the secret's approved generator. The library's own checks accept it.

    For a secret that somebody else issues, it is a temporary value of its kind, for a build or a test.

    Raises:
        UsageError: the kind of the secret makes no temporary value.
    """
    if policy.generator is None:
        with suppress(ValueError, NotImplementedError):
            return SealedStr(policy.material.temporary())
        raise UsageError(f"{policy.name} has no temporary value; give its kind a method temporary() (docs/kinds.md)")
    while True:
        made = getattr(secrets, policy.generator.function)(policy.generator.size)
        key = SealedStr(f"{policy.generator.prefix}{made}")
        if policy.material.accepts(key.get_secret_value()):
            return key


def ephemeral(policies: Iterable[SecretPolicy], *, with_slots: bool = False) -> dict[str, str]:
    """Return variables with a temporary value for every required secret, for an image build or a test.

    Optional secrets are empty, so what they switch on is off, as it may be where the service runs. If they were unset,
    `load_dotenv()` would set the developer's real values.

    `with_slots` adds next and previous keys. Every check of these keys reports `ephemeral`. After an hour it reports
    `expired` too.
    """
    expires_at = iso_utc(datetime.now(UTC) + EPHEMERAL_LIFE)
    policies = [*policies]
    variables = {EPHEMERAL: "1"} | {policy.variable: "" for policy in policies if not policy.required}
    for policy in [each for each in policies if each.required]:
        names = policy.key_variables if with_slots else (policy.variable,)
        variables |= {name: generate(policy).get_secret_value() for name in names}
        variables[policy.expiry_variable] = expires_at
        if len(names) > 1:
            variables[policy.slot_variables[2]] = iso_utc(datetime.now(UTC) + min(EPHEMERAL_LIFE, policy.overlap))
    return variables
