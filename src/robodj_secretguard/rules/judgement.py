"""Every rule, run over one secret or over all of them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from robodj_secretguard.findings import Check, Finding, State
from robodj_secretguard.rules.delivery import delivery_findings
from robodj_secretguard.rules.expiry import expiry_findings
from robodj_secretguard.rules.files import file_findings
from robodj_secretguard.rules.near_miss import misnamed_file_findings, misnamed_list_findings, near_miss_findings
from robodj_secretguard.rules.revoked import revocation_list_findings, revoked_findings
from robodj_secretguard.rules.setup import ephemeral_findings, setting_findings
from robodj_secretguard.rules.shared import shared_findings
from robodj_secretguard.sources import Reading, Setup

_INVALID_FORMAT: Final = frozenset({Check.FILE_UNSAFE, Check.PLACEHOLDER, Check.FORMAT, Check.WEAK})


class Judged(NamedTuple):
    """One secret, and what the rules say of it by itself.

    Attributes:
        reading: what was found for it.
        findings: every finding that can be made without the other secrets.
    """

    reading: Reading
    findings: tuple[Finding, ...]


class Judgement:
    """What the rules say of everything that was read. To make one is to run them all, once.

    Args:
        readings: what was found, for every declared secret in declared order, at least one.
    """

    __slots__ = ("_secrets", "_sharing", "_together")

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._secrets = tuple(Judged(reading, _judge_alone(reading)) for reading in readings)
        setup = readings[0].setup
        shared = [
            *shared_findings([reading for reading, findings in self._secrets if not _holds_placeholder(findings)])
        ]
        self._sharing = {name for _, names in shared for name in names}
        self._together = (
            *setting_findings(setup),
            *revocation_list_findings(setup),
            *near_miss_findings(setup, None),
            *misnamed_list_findings(setup),
            *ephemeral_findings(setup),
            *(finding for finding, _ in shared),
        )

    @property
    def secrets(self) -> tuple[Judged, ...]:
        """Every declared secret, in declared order."""
        return self._secrets

    @property
    def together(self) -> tuple[Finding, ...]:
        """The findings about the set-up, and about one secret beside another."""
        return self._together

    @property
    def sharing(self) -> Collection[str]:
        """The secrets whose value a later one has: the finding is on that one, and neither is usable."""
        return self._sharing

    @property
    def setup(self) -> Setup:
        """What holds for every declared secret."""
        return self._secrets[0].reading.setup

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding."""
        return (*self._together, *(finding for judged in self._secrets for finding in judged.findings))


def _judge_alone(reading: Reading) -> tuple[Finding, ...]:
    delivery = tuple(delivery_findings(reading))
    return (
        *delivery,
        *expiry_findings(reading),
        *file_findings(reading),
        *(() if delivery else revoked_findings(reading)),
        *near_miss_findings(reading.setup, reading.policy),
        *misnamed_file_findings(reading),
    )


def _holds_placeholder(findings: Iterable[Finding]) -> bool:
    return any(finding.check is Check.PLACEHOLDER for finding in findings)


def state_of(findings: Iterable[Finding]) -> State:
    """Return a secret's state: the first of missing, invalid-format, expired and present that holds.

    A placeholder, a weak key and a fallback file that may not be used are `invalid-format`.
    """
    checks = {finding.check for finding in findings}
    if Check.MISSING in checks:
        return State.MISSING
    if checks & _INVALID_FORMAT:
        return State.INVALID_FORMAT
    return State.EXPIRED if Check.EXPIRED in checks else State.PRESENT
