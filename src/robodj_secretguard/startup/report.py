"""The result of the checks. No record has a field for a value.

For JSON use `as_dict`: `json.dumps` writes the records as lists, without names.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.startup.rules import CHECKS, Check, Problem, Severity, State
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.readings import Reading, RevocationStatus, Slot

    _Rules: TypeAlias = Sequence[tuple[Check, Callable[[Reading], Iterable[Problem]]]]

JSON_SCHEMA: Final = 1
"""The version of each kind of document, unless the document has another `schema`."""

_MOST_EXPLAINED: Final = 4

_ORDER: Final = {check: index for index, check in enumerate(Check)}
_RULES: Final = [(each.scope, each.check, each.of_secret) for each in CHECKS if each.of_secret]
_OF_VALUE: Final = tuple([(check, rule) for scope, check, rule in _RULES if scope == "value"])
_OF_SLOT: Final = tuple([(check, rule) for scope, check, rule in _RULES if scope == "slot" or check is Check.CLOCK])
# Any other scope: a rule with a misspelled scope also runs.
_OF_SECRET: Final = tuple([(check, rule) for scope, check, rule in _RULES if scope not in ("value", "marker", "slot")])
_WITH_MARKER: Final = _OF_SECRET + tuple([(check, rule) for scope, check, rule in _RULES if scope == "marker"])
_OF_ALL: Final = tuple([(each.check, each.of_all) for each in CHECKS if each.of_all])
_OF_SETUP: Final = tuple([(each.check, each.of_setup) for each in CHECKS if each.of_setup])
ABOUT_ALL: Final = frozenset([check for check, _ in _OF_ALL])
"""The checks that compare secrets."""
_ENTRIES: Final = {entry.check: entry for entry in CHECKS}


class Finding(Frozen):
    """One thing that is wrong.

    Attributes:
        check: which check found it.
        severity: whether it stops the service.
        secret: the name of the secret; `None` for a finding about the set-up.
        slot: `current`, `next` or `previous`: which key of the secret; `None` for a finding about the set-up.
        source: `environment`, `file:` and the declared path, a source of `--from`, or `none`.
        message: what is wrong, without any part of the value.
        remedy: what to do.
        owner: who does it.
    """

    check: Check
    severity: Severity
    secret: str | None
    slot: Slot | None
    source: str
    message: str
    remedy: str
    owner: str

    def as_dict(self) -> dict[str, Any]:
        """Return the finding in the plain types of JSON."""
        return {
            "check": str(self.check),
            "severity": str(self.severity),
            "secret": self.secret,
            "slot": self.slot,
            "source": self.source,
            "message": self.message,
            "remedy": self.remedy,
            "owner": self.owner,
        }

    @property
    def lines(self) -> tuple[str, str]:
        """The two lines that operators see (policy section 6): what is wrong, and the fix. Both are ASCII."""
        subject = f"{self.secret}: " if self.secret else ""
        return (
            f"{self.severity.upper()}: {subject}{self.check}: {self.message}",
            f"  fix: {self.remedy}. Owner: {self.owner}",
        )

    @property
    def text(self) -> str:
        """Both lines as one text."""
        return "\n".join(self.lines)


class SecretStatus(Frozen):
    """The status of one declared secret.

    Attributes:
        secret: the name of the secret.
        variable: the environment variable that delivers it.
        source: `environment`, `file:` and the declared path, a source of `--from`, or `none`.
        state: the presence and validity of the secret.
        usable: whether no alert concerns the secret. A revoked key is present and not usable.
        expires_at: the instant of the expiry marker, in UTC, if there is a valid one.
        owner: who rotates the secret.
        backup_owner: who rotates it when the owner cannot; empty for nobody.
        rotation_days: the cadence, in days.
        fingerprint: `sgfp1:` and 32 hexadecimal digits, for a key that passed the format and strength rules. A secret
            that a vendor issues has none.
        next_fingerprint: the same for the next key.
        previous_fingerprint: the same for the previous key.
        previous_until: the deadline of the previous key, in UTC, if there is a valid one.

    `source`, `state`, `expires_at` and `fingerprint` describe the current key.
    """

    secret: str
    variable: str
    source: str
    state: State
    usable: bool
    expires_at: datetime | None
    owner: str
    backup_owner: str
    rotation_days: int
    fingerprint: str | None
    next_fingerprint: str | None = None
    previous_fingerprint: str | None = None
    previous_until: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the status in the plain types of JSON."""
        return {
            "secret": self.secret,
            "variable": self.variable,
            "source": self.source,
            "state": str(self.state),
            "usable": self.usable,
            "expires_at": iso_utc(self.expires_at) if self.expires_at else None,
            "owner": self.owner,
            "backup_owner": self.backup_owner,
            "rotation_days": self.rotation_days,
            "fingerprint": self.fingerprint,
            "next_fingerprint": self.next_fingerprint,
            "previous_fingerprint": self.previous_fingerprint,
            "previous_until": iso_utc(self.previous_until) if self.previous_until else None,
        }


class Report(Frozen):
    """The result of one check of every declared secret.

    Attributes:
        checked_at: the time of the check, in UTC.
        require_env_only: whether fallback files were off.
        revocation_list: the revocation list; `None` when the check failed before reading it.
        secrets: the status of every declared secret, in declared order.
        findings: all findings: first those about the set-up, then by secret, then in the order of `Check`.
    """

    checked_at: datetime
    require_env_only: bool
    revocation_list: RevocationStatus | None
    secrets: tuple[SecretStatus, ...]
    findings: tuple[Finding, ...]

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """The findings that stop a service."""
        return tuple([finding for finding in self.findings if finding.severity is Severity.ALERT])

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings of the severity `warning`, which do not stop a service."""
        return tuple([finding for finding in self.findings if finding.severity is Severity.WARNING])

    @property
    def ok(self) -> bool:
        """Whether a service may start: there is no alert."""
        return not self.alerts

    @property
    def details(self) -> str:
        """The command that explains the alerts, or the warnings where there is no alert: at most four checks."""
        checks = dict.fromkeys(str(each.check) for each in self.alerts or self.warnings)
        return f"Details: robodj-secretguard explain {' '.join(list(checks)[:_MOST_EXPLAINED])}"

    def refusal(self, what: str, exit_status: int | None = None) -> str:
        """Return the last line of a refusal: what this library did, and the command that explains why."""
        number, kind = len(self.alerts or self.warnings), "alert" if self.alerts else "warning"
        end = "" if exit_status is None else f" (exit status {exit_status})"
        return f"ALERT: robodj-secretguard {what}: {number} {kind}{'' if number == 1 else 's'}{end}. {self.details}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as the JSON document of the command line, in plain types."""
        listed = self.revocation_list
        return {
            "schema": JSON_SCHEMA,
            "kind": "report",
            "ok": self.ok,
            "checked_at": iso_utc(self.checked_at),
            "require_env_only": self.require_env_only,
            "revocation_list": None if listed is None else {"sources": [*listed.sources], "entries": listed.entries},
            "secrets": [status.as_dict() for status in self.secrets],
            "findings": [finding.as_dict() for finding in self.findings],
        }


class Judgement:
    """The readings of all secrets and the report on them, which no caller can change. `__init__` runs each rule once.

    Args:
        readings: the readings of all declared secrets, in declared order; at least one.
    """

    __slots__ = ("_readings", "_report")

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings
        self._report = _judged(readings)

    @property
    def readings(self) -> Sequence[Reading]:
        """The readings of all declared secrets, in declared order."""
        return self._readings

    def report(self) -> Report:
        """Return the report of all rules."""
        return self._report


def _judged(readings: Sequence[Reading]) -> Report:
    setup = readings[0].setup
    findings = [finding(setup.policies, check, problem) for check, rule in _OF_SETUP for problem in rule(setup)]
    shared = set[str]()
    for check, rule in _OF_ALL:
        for reading, problem, names in rule(readings):
            findings.append(_finding_of(reading, check, problem))
            shared |= {*names}
    secrets = []
    for reading in readings:
        of_secret = _findings_of(reading, _OF_VALUE, _OF_SECRET if reading.marker is None else _WITH_MARKER)
        findings += of_secret
        status = _status(reading, of_secret, is_usable=reading.policy.name not in shared)
        if reading.slots:
            status = status._replace(**_slot_fields(reading))
            for slot in reading.slots:
                findings += _findings_of(slot, () if slot.is_past else _OF_VALUE, _OF_SLOT)
        secrets.append(status)
    report = Report(
        checked_at=setup.now,
        require_env_only=setup.files_off,
        revocation_list=setup.revocation,
        secrets=tuple(secrets),
        findings=(),
    )
    return with_findings(report, findings) if findings else report


def _status(reading: Reading, findings: Sequence[Finding], *, is_usable: bool) -> SecretStatus:
    policy, state = reading.policy, State.PRESENT
    if findings:
        states = {state, *[_ENTRIES[each.check].state for each in findings]}
        state = next(filter(states.__contains__, State))
    # A vendor's secret could be guessed from its fingerprint.
    key = reading.value if state in (State.PRESENT, State.EXPIRED) and not policy.is_opaque else None
    return SecretStatus(
        policy.name,
        policy.variable,
        reading.used.source,
        state,
        is_usable,
        reading.expires_at,
        policy.owner,
        policy.backup_owner,
        policy.cadence.days,
        None if key is None else fingerprint(key),
    )


def _slot_fields(reading: Reading) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for slot in reading.slots:
        if not slot.policy.is_opaque and (key := slot.key):
            fields[f"{slot.slot}_fingerprint"] = fingerprint(key)
        if slot.slot == "previous":
            fields["previous_until"] = slot.expires_at
    return fields


def _findings_of(reading: Reading, of_value: _Rules, others: _Rules) -> list[Finding]:
    """Run rules for one key. Of the rules about the value, keep the first finding only."""
    first = islice(((check, problem) for check, rule in of_value for problem in rule(reading)), 1)
    found = (*first, *[(check, problem) for check, rule in others for problem in rule(reading)])
    return [_finding_of(reading, check, problem) for check, problem in found]


def _finding_of(reading: Reading, check: Check, problem: Problem) -> Finding:
    return finding(reading.setup.policies, check, problem, reading.policy, reading.used.source, reading.slot)


def finding(  # noqa: PLR0917 - what it is about, in the order of the fields
    policies: Iterable[SecretPolicy],
    check: Check,
    problem: Problem,
    policy: SecretPolicy | None = None,
    source: str = "none",
    slot: Slot = "current",
) -> Finding:
    """Return a finding about one secret, or about the set-up. All owners are responsible for the set-up."""
    concerned = policies if policy is None else (policy,)
    return Finding(
        check=check,
        severity=problem.severity or _ENTRIES[check].severity,
        secret=policy.name if policy else None,
        slot=slot if policy else None,
        source=problem.source or source,
        message=problem.what,
        remedy=problem.fix,
        owner=", ".join(dict.fromkeys(each.owner for each in concerned)),
    )


def with_findings(report: Report, further: Iterable[Finding]) -> Report:
    """Return a report with further findings in their order. Secrets with an alert are then not usable."""
    rank = {status.secret: index for index, status in enumerate(report.secrets)}
    findings = sorted(
        (*report.findings, *further),
        key=lambda each: (rank.get(each.secret or "", -1), _ORDER[each.check]),
    )
    alerts = [each for each in findings if each.severity is Severity.ALERT]
    if refused := {each.secret for each in alerts}:
        nothing = any(each.check is Check.INTERNAL for each in alerts)
        usable = [each.usable and not nothing and each.secret not in refused for each in report.secrets]
        secrets = tuple(each._replace(usable=is_usable) for each, is_usable in zip(report.secrets, usable, strict=True))
        report = report._replace(secrets=secrets)
    return report._replace(findings=tuple(findings))
