"""Every kind of bad secret, for testing that a service refuses it. The pytest plugin has a fixture for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from robodj_secretguard.common.generator import generate
from robodj_secretguard.running.keyset import Clock
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.settings import SecretSettings, store_of
from robodj_secretguard.startup.inputs import (
    ALLOW_FILE_SECRET_FALLBACK,
    CONFIG_DIR,
    EPHEMERAL,
    MAX_CHARACTERS,
    PROTECTED_ENV,
    REVOKED_FINGERPRINTS,
    SETTINGS,
    iso_utc,
)
from robodj_secretguard.startup.readings import REVOKED_FILE, within_config_dir
from robodj_secretguard.startup.rules import Check


def set_clock(secrets: SecretSettings, clock: Callable[[], datetime] | None) -> None:
    """Judge the deadlines and revocations of a service's secrets by another clock.

    Args:
        secrets: what `guard()` or the model returned.
        clock: return the time, with a timezone; `None` for the clock of the system.

    Raises:
        ValueError: the time of `clock` has no timezone.
    """
    if clock is not None and clock().utcoffset() is None:
        raise ValueError("the clock must return a time with a timezone")
    store_of(secrets).clock = Clock(clock)


BadVariables = dict[str, str | None]


class _Case:
    """The secret that becomes a bad one, and all declared secrets."""

    def __init__(self, policy: SecretPolicy, policies: Sequence[SecretPolicy], directory: str) -> None:
        self.policy = policy
        self.policies = policies
        self.directory = directory
        self.variable = policy.variable
        self.marker = policy.expiry_variable
        self.next, self.previous, self.until = policy.slot_variables

    def key(self) -> str:
        return generate(self.policy).get_secret_value()

    def ahead(self, time: timedelta) -> str:
        return iso_utc(datetime.now(UTC) + time)

    def shared(self) -> BadVariables:
        # With an earlier secret, if there is one: the check reports the later of two.
        other, value = shareable(self.policy, self.policies)[0]
        return dict.fromkeys((self.variable, other.variable), value.get_secret_value())

    def weak(self) -> BadVariables:
        prefix = getattr(self.policy.material, "prefix", "")
        return {self.variable: prefix + "".join(secrets.choice("jkqz") for _ in range(2 * len(self.key())))}

    def legacy(self) -> BadVariables:
        passphrase = f"{secrets.token_hex(8)} {secrets.token_hex(8)}"
        return {self.previous: passphrase, self.until: self.ahead(self.policy.overlap / 2)}

    def revoked(self) -> BadVariables:
        key = generate(self.policy)
        return {self.variable: key.get_secret_value(), REVOKED_FINGERPRINTS: fingerprint(key)}

    def in_file(self, text: str, mode: int = 0o600) -> BadVariables:
        _write_config_file(self.directory, self.policy.file, text, mode)
        return {self.variable: None, ALLOW_FILE_SECRET_FALLBACK: "true"}  # whatever the model says

    def list_of(self, text: str) -> BadVariables:
        _write_config_file(self.directory, REVOKED_FILE, text, 0o644)
        return {}


def _write_config_file(directory: str, name: str, text: str, mode: int) -> None:
    path = Path(directory, within_config_dir(name))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


_KINDS: Final[Mapping[str, Callable[[_Case], BadVariables]]] = {
    "missing": lambda case: {case.variable: ""},  # load_dotenv() would fill an unset one
    "placeholder": lambda case: {case.variable: "<replace_with_a_key>"},
    "format": lambda case: {case.variable: f"{case.key()}\x7f"},
    "weak": _Case.weak,
    "shared": _Case.shared,
    "expired": lambda case: {case.marker: case.ahead(timedelta(0))},
    "expiry-marker": lambda case: {case.marker: "2027-01-31"},
    "file-unsafe": lambda case: case.in_file("#" * (MAX_CHARACTERS + 1)),
    "file-present": lambda case: case.in_file(case.key()) | {case.variable: case.key(), PROTECTED_ENV: "true"},
    "setting": lambda _: {PROTECTED_ENV: "perhaps"},
    "revoked": _Case.revoked,
    "revocation-list": lambda case: case.list_of("not a fingerprint\n"),
    "previous-until": lambda case: {case.previous: case.key()},
    "legacy": _Case.legacy,
    "slots-equal": lambda case: dict.fromkeys((case.variable, case.next), case.key()),
    "previous-past": lambda case: {case.previous: case.key(), case.until: case.ahead(timedelta(0))},
    "near-miss": lambda case: {case.marker[:-1]: case.ahead(case.policy.cadence)},
    "ephemeral": lambda _: {PROTECTED_ENV: "true", EPHEMERAL: "1"},
    "expiring": lambda case: {case.marker: case.ahead(case.policy.warn_before / 2)},
    "cadence": lambda case: {case.marker: case.ahead(case.policy.cadence * 2)},
    "file-fallback": lambda case: case.in_file(case.key()),
    "file-stale": lambda case: case.in_file(case.key()) | {case.variable: case.key()},
    "file-permissions": lambda case: case.in_file(case.key(), mode=0o644),
}
KINDS: Final = tuple(str(check) for check in Check if check in _KINDS)
"""The checks that find such a secret: not `clock`, `internal`, `superseded`, `source` and `unavailable`."""
SLOT_KINDS: Final = ("previous-until", "legacy", "slots-equal", "previous-past")
"""The checks that need a secret with an overlap."""
OF_GENERATED: Final = ("weak", "revoked", "legacy")
"""The checks that find only generated keys, and not a secret that somebody else issues."""


def shareable(policy: SecretPolicy, policies: Sequence[SecretPolicy]) -> list[tuple[SecretPolicy, SealedStr]]:
    """Return each other secret that accepts a value of this one or the reverse, with that value."""
    pairs = ((other, generate(each)) for other in policies if other is not policy for each in (policy, other))
    return [
        (other, value)
        for other, value in pairs
        if all(each.material.accepts(value.get_secret_value()) for each in (policy, other))
    ]


def bad_secret(check: str, policy: SecretPolicy, policies: Sequence[SecretPolicy], directory: str) -> BadVariables:
    """Return an environment in which one check has a finding, with good keys for every other required secret.

    The revocation list of the directory has no entry otherwise: a model may require one.
    """
    _write_config_file(directory, REVOKED_FILE, "# nothing is revoked\n", 0o644)
    good: BadVariables = dict.fromkeys(SETTINGS) | {CONFIG_DIR: directory}
    for declared in policies:
        good |= dict.fromkeys((*declared.variables, declared.expiry_variable[:-1]))
        if declared.required or declared is policy:
            good[declared.variable] = generate(declared).get_secret_value()
    return good | _KINDS[check](_Case(policy, policies, directory))
