"""Secrets and slots that have the same value, or the value of another one (policy section 1).

A start imports this module only where it may find such a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from robodj_secretguard.secret.material import canonical, has_shape
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import Reading
from robodj_secretguard.startup.rules import (
    Problem,
    core_of,
    how_to_remove,
    how_to_rotate,
    how_to_set,
    keys_of,
)


def check_shared(readings: Sequence[Reading]) -> Iterator[tuple[Reading, Problem, list[str]]]:
    """Yield each secret that equals, contains or is in earlier secrets, and the names of these."""
    earlier: list[tuple[Reading, str]] = []
    for reading, key in keys_of(readings):
        is_refused = reading.policy.is_issued and reading.key is None  # one instruction is enough
        if is_refused or reading.policy.material.is_template(key, reading.variable):
            continue
        others = [(other, text) for other, text in earlier if other.policy is not reading.policy]
        shared = [other for other, text in others if _are_same(reading, key, other, text)]
        if shared:
            problem = Problem(
                f"{' and '.join(each.variable for each in (reading, *shared))} are equal, or one contains the other",
                _how_to_separate([reading, *shared]),
            )
            yield reading, problem, [other.policy.name for other in shared]
        earlier.append((reading, key))


def _how_to_separate(readings: Sequence[Reading]) -> str:
    """Return the remedy for secrets with the same value. That of a next or a previous key is the one to change."""
    if slots := [reading for reading in readings if reading.slot != "current"]:
        return how_to_set(slots[0])
    is_any_issued = any(reading.policy.is_issued for reading in readings)
    rotate = "; ".join(how_to_rotate(reading.policy) for reading in readings) if is_any_issued else "rotate each"
    manager = readings[0].manager
    if manager and all(reading.manager == manager for reading in readings):
        return rotate
    return (
        "compare them with the secret manager, and set each to its own value; if the manager has equal values,"
        f" {rotate}"
    )


def _are_same(one: Reading, key: str, other: Reading, other_key: str) -> bool:
    """Check whether two values are equal, or one contains the other. A password may occur in another by chance."""
    if not (one.has_fingerprint and other.has_fingerprint):
        return one.value == other.value
    return core_of(key) in other_key or core_of(other_key) in key


def check_slots(reading: Reading) -> Iterator[Problem]:
    """Yield each slot that has the key of another slot. A value that is not a key has another finding."""
    accepted = (slot for slot in (reading, *reading.slots) if reading.slots and not slot.is_past)
    keys = [(slot, canonical(key.get_secret_value())) for slot in accepted if (key := slot.key)]
    for (earlier, one), (later, other) in combinations(keys, 2):
        if one == other:
            yield Problem(
                f"{later.variable} and {earlier.variable} have the same value",
                how_to_set(later)
                if later.slot == "previous"
                else f"{how_to_remove(later)} ({earlier.variable} has the key already)",
                later.used.source,
                slot=later.slot,
            )


def swapped(reading: Reading) -> Problem | None:
    """Return the problem of two secrets that each have a value like the other's keys."""
    for other in reading.setup.policies:
        variable = other.variable + reading.variable.removeprefix(reading.policy.variable)
        if (
            other is not reading.policy
            and _is_like(reading.value, other)
            and _is_like(reading.variables.get(variable), reading.policy)
        ):
            return Problem(
                f"{reading.used.location} looks like {other.name}, and {variable} like {reading.policy.name}",
                how_to_exchange(reading.variable, variable, reading.manager),
            )
    return None


def how_to_exchange(one: str, other: str, manager: str) -> str:
    """Return the remedy for two variables of which each has the other's value."""
    if manager:
        return f"in {manager}, exchange the values of {one} and {other}"
    return f"exchange the values of {one} and {other}; if they are swapped in the secret manager, there too"


def _is_like(value: SealedStr | None, policy: SecretPolicy) -> bool:
    """Check whether a value is like what the generator of a secret makes."""
    return bool(value and policy.generator and has_shape(value.get_secret_value(), policy.generator))
