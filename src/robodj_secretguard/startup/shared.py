"""Secrets and slots that have the same value, or the value of another one (policy section 1).

A start imports this module only where it may find such a value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from robodj_secretguard.secret.material import BASE64URL_DIGITS, Generator, canonical, is_hexadecimal
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import PIPED, Reading
from robodj_secretguard.startup.rules import (
    FOLLOW,
    Problem,
    Problems,
    core_of,
    how_to_remove,
    how_to_rotate,
    how_to_set,
    keys_of,
)

MIN_CONTAINED: Final = 16
"""The fewest characters of a value that is searched in others. A shorter one may occur in a key by chance."""


def check_shared(readings: Sequence[Reading]) -> Iterator[tuple[Reading, Problem, list[str]]]:
    """Yield each secret that equals, contains or is in earlier secrets, and the names of these."""
    keys = [(reading, key) for reading, key in keys_of(readings) if not _has_other_finding(reading, key)]
    similar = _similar(keys)
    for index, (reading, _) in enumerate(keys):
        others = [keys[each][0] for each in sorted(similar[index]) if each < index]
        shared = [other for other in others if not _may_share(other.policy, reading.policy)]
        if shared:
            problem = Problem(
                f"{' and '.join(each.variable for each in (reading, *shared))} are equal, or one contains the other",
                _how_to_separate([reading, *shared]),
            )
            yield reading, problem, [other.policy.name for other in shared]


def _may_share(one: SecretPolicy, other: SecretPolicy) -> bool:
    """Check whether two values may be equal: those of one secret, and of two secrets that name each other."""
    return one is other or (one.shared_with == other.name and other.shared_with == one.name)


def _has_other_finding(reading: Reading, key: str) -> bool:
    """Check whether another finding has the one instruction: a value is a placeholder, or an invalid issued secret."""
    is_refused = reading.policy.is_issued and reading.key is None
    return is_refused or reading.policy.material.is_template(key, reading.variable)


def _similar(keys: Sequence[tuple[Reading, str]]) -> list[set[int]]:
    """Return the numbers of the keys that equal, contain or are in each key, without a comparison of each pair.

    A password or a short text may occur in another value by chance, so it is only compared as a whole.
    """
    similar: list[set[int]] = [set() for _ in keys]
    whole = defaultdict[SealedStr | None, set[int]](set)
    cores = defaultdict[int, defaultdict[str, set[int]]](lambda: defaultdict(set))  # by length
    for number, (reading, key) in enumerate(keys):
        whole[reading.value].add(number)
        core = core_of(key)
        if reading.has_fingerprint and len(core) >= MIN_CONTAINED:
            cores[len(core)][core].add(number)
    for number, (reading, key) in enumerate(keys):
        similar[number] |= whole[reading.value]
        for length, of_length in cores.items() if reading.has_fingerprint else ():
            windows = range(len(key) - length + 1)
            if len(windows) < len(of_length):
                parts = [*({key[at : at + length] for at in windows} & of_length.keys())]
            else:  # few secrets, or a long value, of which all parts would take much memory
                parts = [core for core in of_length if core in key]
            for contained in [each for part in parts for each in of_length[part]]:
                similar[number].add(contained)
                similar[contained].add(number)
    return similar


def _how_to_separate(readings: Sequence[Reading]) -> str:
    """Return the remedy for secrets with the same value. That of a next or a previous key is the one to change."""
    if slots := [reading for reading in readings if reading.slot != "current"]:
        return how_to_set(slots[0])
    replaced = _to_replace([reading.policy for reading in readings])
    manager = readings[0].manager
    replace = how_to_rotate(replaced, manager)
    if manager not in {"", PIPED}:  # where a version has a recorded key, `with_recorded_keys` names it
        return replace if replaced.is_issued else f"{replace}{FOLLOW}"
    return f"set each from the manager's last version in which they differ; if none, {replace}"


def _to_replace(policies: Sequence[SecretPolicy]) -> SecretPolicy:
    """Return the secret of which a new value loses least: one that others issue, or one without stored data."""
    issued = [policy for policy in policies if policy.is_issued]
    without_data = [policy for policy in policies if not getattr(policy, "stores_data", None)]
    return [*issued, *without_data, *policies][0]


def check_slots(reading: Reading) -> Problems:
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


def has_shape(text: str, generator: Generator) -> bool:
    """Check whether text has the length and the alphabet of a generator's keys."""
    core = text.removeprefix(generator.prefix)
    is_of_alphabet = is_hexadecimal(core) if generator.function == "token_hex" else BASE64URL_DIGITS.issuperset(core)
    return len(text) == generator.characters and is_of_alphabet
