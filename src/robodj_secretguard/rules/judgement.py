"""Every rule, run over one secret or over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import Check, Finding, State
from robodj_secretguard.rules.delivery import delivery_findings
from robodj_secretguard.rules.expiry import expiry_findings
from robodj_secretguard.rules.files import file_findings
from robodj_secretguard.rules.near_miss import misnamed_file_findings, misnamed_list_findings, near_miss_findings
from robodj_secretguard.rules.revoked import revocation_list_findings, revoked_findings
from robodj_secretguard.rules.setup import ephemeral_findings, setting_findings
from robodj_secretguard.rules.shared import shared_findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from robodj_secretguard.sources import Reading

_UNSOUND: Final = frozenset({Check.MISSING, Check.FILE_UNSAFE, Check.PLACEHOLDER, Check.FORMAT, Check.WEAK})


def judge(reading: Reading) -> list[Finding]:
    """Return every finding about one secret that can be made without the others.

    Args:
        reading: what was found for it.
    """
    delivery = list(delivery_findings(reading))
    return [
        *delivery,
        *expiry_findings(reading),
        *file_findings(reading),
        *(() if delivery else revoked_findings(reading)),
        *near_miss_findings(reading.setup, reading.policy),
        *misnamed_file_findings(reading),
    ]


def judge_together(readings: Sequence[Reading]) -> list[Finding]:
    """Return the findings about the set-up, and about one secret beside another.

    Args:
        readings: what was found, for every declared secret in declared order.
    """
    setup = readings[0].setup
    return [
        *setting_findings(setup),
        *revocation_list_findings(setup),
        *near_miss_findings(setup, None),
        *misnamed_list_findings(setup),
        *ephemeral_findings(setup),
        *shared_findings(readings),
    ]


def is_sound(findings: Iterable[Finding]) -> bool:
    """Whether a secret with these findings has a key that passed the format and strength rules."""
    return _UNSOUND.isdisjoint(finding.check for finding in findings)


def state(findings: Sequence[Finding]) -> State:
    """Return a secret's state: the first of missing, invalid-format, expired and present that holds.

    A placeholder, a weak key and a fallback file that may not be used are `invalid-format`.
    """
    checks = {finding.check for finding in findings}
    if Check.MISSING in checks:
        return State.MISSING
    if not is_sound(findings):
        return State.INVALID_FORMAT
    return State.EXPIRED if Check.EXPIRED in checks else State.PRESENT
