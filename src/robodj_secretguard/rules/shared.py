"""Shared: two secrets that are one (policy section 1: values are generated independently)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.findings import Check
from robodj_secretguard.material import canonical, last_characters
from robodj_secretguard.rules.finding import about

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.sources import Reading


def shared_findings(readings: Sequence[Reading]) -> Iterator[tuple[Finding, list[str]]]:
    """Return, for each secret that equals, contains or lies in earlier ones, a finding on it and their names.

    Args:
        readings: what was found, in declared order, for every declared secret that does not hold a placeholder.
    """
    keys = [(reading, canonical(reading.value.get_secret_value())) for reading in readings if reading.value is not None]
    together = "\n".join(key for _, key in keys)
    if all(together.count(_stem(key)) == 1 for _, key in keys):  # in C: pair by pair only where something is shared
        return
    earlier: list[tuple[str, str]] = []
    for reading, key in keys:
        shared = [name for name, other in earlier if _stem(key) in other or _stem(other) in key]
        if shared:
            message = f"Its value and that of {', '.join(shared)} are equal, or one contains the other."
            remedy = f"Every secret needs its own key. Rotate {reading.policy.name}: {reading.policy.generator.command}"
            yield about(reading, Check.SHARED, message, remedy), shared
        earlier.append((reading.policy.name, key))


def _stem(key: str) -> str:
    """Return what is compared of a key: all of it, or without a last character that has unused bits."""
    return key if len(last_characters(key)) == 1 else key[:-1]
