"""Revoked: a key that may not be used any more, and a revocation list that cannot be relied on (policy section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import Check
from robodj_secretguard.fingerprint import FORM, fingerprint
from robodj_secretguard.revocation import REVOKED_FILE, REVOKED_FINGERPRINTS
from robodj_secretguard.rules.finding import about, about_setup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.sources import Reading, Setup

_MOST_NUMBERS: Final = 5


def revoked_findings(reading: Reading) -> Iterator[Finding]:
    """Return that the key is on the revocation list.

    Args:
        reading: what was found for the secret: a key that passed the format and strength rules.
    """
    policy, revoked = reading.policy, reading.setup.revocation.fingerprints
    if revoked and reading.value is not None and fingerprint(reading.value) in revoked:
        message = f"The key is revoked: {fingerprint(reading.value)} is on the revocation list."
        remedy = (
            f"Deliver its replacement from the secret manager as {policy.variable}; if there is none yet, rotate:"
            f" {policy.generator.command}"
        )
        yield about(reading, Check.REVOKED, message, remedy)


def revocation_list_findings(setup: Setup) -> Iterator[Finding]:
    """Return what of the revocation list cannot be read: a revoked key could pass.

    Args:
        setup: what holds for every declared secret.
    """
    revocation, place, source = setup.revocation, setup.place(REVOKED_FILE), f"file:{REVOKED_FILE}"
    unsafe = ("it is a link to a file that is not there",) if revocation.file.dangling else revocation.file.unsafe
    if unsafe:
        message = f"The revocation list {place} cannot be relied on: {'; '.join(unsafe)}."
        remedy = "Restore it from version control, and make it and its directory writable by their owner alone."
        yield about_setup(setup.policies, Check.REVOKED, message, remedy, source=source)
    if numbers := revocation.unreadable_in_file:
        entries = f"{_entries(numbers)}, comments and blank lines not counted"
        message = f"The revocation list {place} has what is no fingerprint: {entries}."
        remedy = f"Correct it: every line that is neither blank nor a comment (#) is {FORM}."
        yield about_setup(setup.policies, Check.REVOKED, message, remedy, source=source)
    if numbers := revocation.unreadable_in_variable:
        message = f"{REVOKED_FINGERPRINTS} has what is no fingerprint: {_entries(numbers)}."
        remedy = f"Correct it: {FORM} each, separated by commas or blanks."
        yield about_setup(setup.policies, Check.REVOKED, message, remedy, source="environment")


def _entries(numbers: Sequence[int]) -> str:
    first = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    more = f" and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else ""
    return f"{'entry' if len(numbers) == 1 else 'entries'} {first}{more}"
