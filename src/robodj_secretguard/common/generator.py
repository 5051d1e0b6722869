"""New keys, by the approved generators (policy section 1)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from robodj_secretguard.secret.material import is_sound
from robodj_secretguard.secret.policy import MIN_KEY_BYTES, Generator, SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.variables import EPHEMERAL, iso_utc

EPHEMERAL_LIFE: Final = timedelta(hours=1)
"""How long temporary keys are valid."""


def generate(policy: SecretPolicy) -> SealedStr:
    """Return a new key from the secret's approved generator. The library's own checks accept it.

    For a secret that a vendor issues, it is random text, which only a build or a test can use.
    """
    generator = policy.generator or Generator("token_urlsafe", max(MIN_KEY_BYTES, policy.material.base64url.minimum))
    while True:
        key = SealedStr(getattr(secrets, generator.function)(generator.size))
        if is_sound(key.get_secret_value(), policy.material):
            return key


def ephemeral(policies: Iterable[SecretPolicy], *, with_slots: bool = False) -> dict[str, str]:
    """Return variables with a temporary key for every declared secret, for an image build or a test.

    `with_slots` adds next and previous keys. Every check of these keys reports `ephemeral`. After an hour it reports
    `expired` too.
    """
    expires_at = iso_utc(datetime.now(UTC) + EPHEMERAL_LIFE)
    variables = {EPHEMERAL: "1"}
    for policy in policies:
        names = policy.key_variables if with_slots else (policy.variable,)
        variables |= {name: generate(policy).get_secret_value() for name in names}
        variables[policy.expiry_variable] = expires_at
        if len(names) > 1:
            variables[policy.slot_variables[2]] = iso_utc(datetime.now(UTC) + min(EPHEMERAL_LIFE, policy.overlap))
    return variables
