"""Revoked: a key that may not be used any more, and a revocation list that cannot be relied on (policy section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import Check, Severity
from robodj_secretguard.fingerprint import FORM, fingerprint
from robodj_secretguard.revocation import REVOKED_FILE, REVOKED_FINGERPRINTS
from robodj_secretguard.rules.finding import about, about_setup
from robodj_secretguard.sources import chmod, within_config_dir

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
    """Return why the revocation list cannot be relied on, or is missing: a revoked key could pass.

    Args:
        setup: what holds for every declared secret.
    """
    revocation, source = setup.revocation, f"file:{REVOKED_FILE}"

    def finding(message: str, remedy: str, source: str = source, severity: Severity = Severity.ALERT) -> Finding:
        check = Check.REVOCATION_LIST if severity is Severity.ALERT else Check.FILE_PERMISSIONS
        return about_setup(setup.policies, check, message, remedy, source=source, severity=severity)

    for number, (file, invalid) in enumerate(zip(revocation.files, revocation.invalid_in_files, strict=True)):
        place = f"{within_config_dir(REVOKED_FILE)} in the model's directory" if number else setup.place(REVOKED_FILE)
        unsafe = ("it is a link to a file that is not there",) if file.dangling else file.unsafe
        if unsafe:
            message = f"The revocation list {place} cannot be relied on: {'; '.join(unsafe)}."
            remedy = "Restore it from version control."
            if file.exposed:
                named_by = "model" if number else setup.directory_named_by
                remedy = f"Compare it with version control, and run: {chmod(file, named_by)}."
            yield finding(message, remedy)
        # Where the directory itself is missing, that is what is to be fixed.
        if setup.list_required and number in revocation.absent and not setup.directory_fault:
            message = f"There is no revocation list {place}, or it is empty, and the model requires one."
            remedy = f"Restore {place} from version control; a new project begins one with a comment as its only line."
            yield finding(message, remedy)
        if invalid:
            entries = f"{_entries(invalid)}, comments and blank lines not counted"
            message = f"The revocation list {place} has lines that are not fingerprints: {entries}."
            yield finding(message, f"Restore them from version control: each is {FORM}; keep the fingerprints.")
        if file.lax_way or file.foreign:
            what = "revocation list" if file.exists else "directory of the revocation list"
            message = f"The {what} {place} could be changed by others: {'; '.join((*file.lax_way, *file.foreign))}."
            remedy = "Make root or this user the owner of it, of its directory and of those above, and the only writer."
            yield finding(message, remedy, severity=Severity.WARNING)
    if numbers := revocation.invalid_in_variable:
        message = f"{REVOKED_FINGERPRINTS} has entries that are not fingerprints: {_entries(numbers)}."
        remedy = f"Correct it: {FORM} each, separated by commas or blanks."
        yield finding(message, remedy, source="environment")


def _entries(numbers: Sequence[int]) -> str:
    first = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    more = f" and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else ""
    return f"{'entry' if len(numbers) == 1 else 'entries'} {first}{more}"
