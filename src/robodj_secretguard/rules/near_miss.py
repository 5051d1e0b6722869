"""Near-miss: a variable or a file that is there, and read by nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.findings import Check, Severity
from robodj_secretguard.revocation import REVOKED_FILE
from robodj_secretguard.rules.finding import about_setup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sources import Reading, Setup


def near_miss_findings(setup: Setup, policy: SecretPolicy | None) -> Iterator[Finding]:
    """Return the set variables that are typos of those that belong to one secret, or to none.

    It is an alert where ignoring the variable loosens a check, and a warning where a key is merely missed.

    Args:
        setup: what holds for every declared secret.
        policy: the secret; `None` for the variables that belong to none.
    """
    for miss in setup.near_misses:
        if miss.meant.policy is policy:
            yield about_setup(
                setup.policies,
                Check.NEAR_MISS,
                f"{miss.found} is set, and nothing reads it: {miss.meant.name} is probably meant.",
                f"If it holds what {miss.meant.name} should hold, rename it; otherwise remove it.",
                source="environment",
                severity=Severity.ALERT if miss.meant.loosens else Severity.WARNING,
                policy=policy,
            )


def misnamed_file_findings(reading: Reading) -> Iterator[Finding]:
    """Return the file that an editor gave a second ending, beside where the fallback file is looked for.

    Args:
        reading: what was found for the secret.
    """
    policy = reading.policy
    if reading.file.misnamed:
        remedy = f"If it holds the key, deliver that as {policy.variable}; then delete the file."
        yield from _misnamed(reading.setup, policy.file, remedy, Severity.WARNING, policy)


def misnamed_list_findings(setup: Setup) -> Iterator[Finding]:
    """Return the file that an editor gave a second ending, beside where the revocation list is looked for.

    Args:
        setup: what holds for every declared secret.
    """
    if any(file.misnamed for file in setup.revocation.files):
        remedy = f"Add its lines to {setup.place(REVOKED_FILE)}, then delete it."
        yield from _misnamed(setup, REVOKED_FILE, remedy, Severity.ALERT, None)


def _misnamed(
    setup: Setup, file: str, remedy: str, severity: Severity, policy: SecretPolicy | None
) -> Iterator[Finding]:
    if f"{file}.txt" not in {each.file for each in setup.policies}:
        yield about_setup(
            setup.policies,
            Check.NEAR_MISS,
            f"Beside {setup.place(file)} there is a file of that name and .txt, and nothing reads it.",
            remedy,
            source=f"file:{file}",
            severity=severity,
            policy=policy,
        )
