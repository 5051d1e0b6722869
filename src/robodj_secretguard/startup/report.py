"""The result of the checks. No record has a field for a value.

For JSON use `as_dict`: `json.dumps` writes the records as lists, without names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeAlias

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.startup.inputs import CONFIG_DIR, NO_TEXT, iso_utc
from robodj_secretguard.startup.readings import NOTHING, Reading, RevocationStatus, Setup, Slot
from robodj_secretguard.startup.rules import (
    SECRET_RULES,
    SETUP_RULES,
    VALUE_RULES,
    Check,
    Problem,
    Severity,
    State,
    has_repeated_key,
)

_Rules: TypeAlias = Sequence[tuple[Check, Callable[[Reading], Iterable[Problem]]]]
Learn: TypeAlias = Callable[[RevocationStatus], RevocationStatus]
"""Takes the revocations that were read, and returns all that hold."""
Again: TypeAlias = Callable[[Learn, frozenset[str] | None], "Judgement"]
"""Reads and judges again: see `SecretsDirectory.judge`."""

REFUSED: Final = 3
"""At this exit status, gunicorn and uvicorn stop. At another one, they would restart their workers forever."""
LONGEST_FIX: Final = 180
"""The characters of a line with a fix. A longer one has no owner, who is in the event and in the JSON document."""
JSON_SCHEMA: Final = 1
"""The version of each kind of document, unless the document has another `schema`."""


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
        return self._asdict() | {"check": str(self.check), "severity": str(self.severity)}

    @property
    def lines(self) -> tuple[str, str]:
        """The two lines that operators see (policy section 6): what is wrong, and the fix. Both are ASCII."""
        subject = f"{self.secret}: " if self.secret else ""
        fix = f"  fix: {self.remedy}"
        owned = f"{fix}. Owner: {self.owner}" if self.owner else fix
        message = f"{self.severity.upper()}: {subject}{self.check}: {self.message}"
        return message, owned if len(owned) <= LONGEST_FIX else fix

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
        required: whether a service refuses to start without it.
        expires_at: the instant of the expiry marker, in UTC, if there is a valid one.
        owner: who rotates the secret; empty for nobody in particular.
        backup_owner: who rotates it when the owner cannot; empty for nobody.
        rotation_days: the cadence, in days.
        fingerprint: `sgfp1:` and 32 hexadecimal digits, for a key that passed the format and strength rules. A secret
            that somebody else issues has none.
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
    required: bool
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
        return self._asdict() | {
            "state": str(self.state),
            "expires_at": self.expires_at and iso_utc(self.expires_at),
            "previous_until": self.previous_until and iso_utc(self.previous_until),
        }


class Report(Frozen):
    """The result of one check of every declared secret.

    Attributes:
        checked_at: the time of the check, in UTC.
        require_env_only: whether fallback files were off.
        revocation_list: the revocation list; `None` when the check failed before reading it.
        secrets: the status of every declared secret, in declared order.
        findings: all findings: first those about the set-up, then by secret, then in the order of `Check`.
        model: the module and the name of the class that declares the secrets: the commands of fixes name it. Empty for
            none.
    """

    checked_at: datetime
    require_env_only: bool
    revocation_list: RevocationStatus | None
    secrets: tuple[SecretStatus, ...]
    findings: tuple[Finding, ...]
    model: str = ""

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
        checks = dict.fromkeys(str(finding.check) for finding in self.alerts or self.warnings)
        return f"Details: robodj-secretguard explain {' '.join(list(checks)[:4])}"

    def refusal(self, what: str, exit_status: int | None = None) -> str:
        """Return the last line of a refusal: what this library did, and the command that explains why.

        Args:
            what: what it did, such as `refused to start`.
            exit_status: the exit status of the process; `None` where it does not end.
        """
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
            "revocation_list": None
            if listed is None
            else {"sources": [*listed.sources], "entries": len(listed.begins)},
            "secrets": [status.as_dict() for status in self.secrets],
            "findings": [finding.as_dict() for finding in self.findings],
        }


class Judgement:
    """The readings of all secrets, and the report on them. `__init__` runs each rule once.

    Args:
        readings: the readings of all declared secrets, in declared order; at least one.
        failure: why the secrets directory delivers nothing. Then it is the only finding, and no secret has a status.

    Attributes:
        readings: as passed.
        again: reads and judges the secrets directory again; `None` without one.
        seconds: after how many seconds to do so; `None` for never.
        source: which keys these are: the secrets directory, or the values themselves.
    """

    __slots__ = ("_report", "again", "readings", "seconds", "source")

    def __init__(self, readings: Sequence[Reading], failure: Finding | None = None) -> None:
        self.readings = readings
        self.again: Again | None = None
        self.seconds: int | None = None
        self.source: object = None
        if failure is None:
            self._report = _report_of(readings)
        else:
            setup = readings[0].setup
            self._report = Report(setup.now, setup.files_off, setup.revocation, (), (failure,), setup.model)

    def report(self) -> Report:
        """Return the report of all rules."""
        return self._report

    def add(self, findings: Sequence[Finding]) -> None:
        """Add findings that no rule has to the report."""
        self._report = with_findings(self._report, findings) if findings else self._report


def _report_of(readings: Sequence[Reading]) -> Report:
    setup = readings[0].setup
    of_setup: Sequence[tuple[Check, Callable[[Setup], Iterable[Problem]]]] = SETUP_RULES
    if setup.list_required or setup.added or any(file != NO_TEXT for file in setup.lists):
        from robodj_secretguard.startup.list_rules import LIST_RULES  # noqa: PLC0415 - few starts have a list

        of_setup = SETUP_RULES + LIST_RULES
    if setup.directory_fault or setup.model_directory_fault:
        from robodj_secretguard.startup.list_rules import DIRECTORY_RULES  # noqa: PLC0415 - few starts have one

        of_setup = (*of_setup[:1], *DIRECTORY_RULES, *of_setup[1:])
    if setup.environments or setup.managers:
        from robodj_secretguard.startup.environments import ENVIRONMENT_RULES  # noqa: PLC0415 - few starts have one

        of_setup = (*of_setup, *ENVIRONMENT_RULES)
    findings = [finding(setup.policies, check, problem) for check, rule in of_setup for problem in rule(setup)]
    shared = set[str]()
    if has_repeated_key(readings):
        from robodj_secretguard.startup.shared import check_shared, check_slots  # noqa: PLC0415 - few starts have one

        for reading in readings:
            findings += [_finding_of(reading, Check.SLOTS_EQUAL, problem) for problem in check_slots(reading)]
        for reading, problem, names in check_shared(readings):
            findings.append(_finding_of(reading, Check.SHARED, problem))
            shared |= {*names}
    secrets = []
    for reading in readings:
        of_secret = _findings_of(reading, SECRET_RULES)
        secrets.append(_secret_status(reading, of_secret, is_usable=reading.policy.name not in shared))
        findings += of_secret
        for slot in reading.slots:
            findings += _findings_of(slot, ())
    report = Report(
        checked_at=setup.now,
        require_env_only=setup.files_off,
        revocation_list=setup.revocation,
        secrets=tuple(secrets),
        findings=(),
        model=setup.model,
    )
    return with_findings(report, findings) if findings else report


def _secret_status(reading: Reading, findings: Iterable[Finding], *, is_usable: bool) -> SecretStatus:
    policy = reading.policy
    states = {State.PRESENT, *[finding.check.state for finding in findings]}
    state = State.MISSING if reading.used is NOTHING else next(filter(states.__contains__, State))
    status = SecretStatus(
        policy.name,
        policy.variable,
        reading.used.source,
        state,
        is_usable and state is not State.MISSING,
        policy.required,
        reading.expires_at,
        policy.owner,
        policy.backup_owner,
        policy.cadence.days,
        reading.fingerprint or None,
    )
    for slot in reading.slots:
        named = {f"{slot.slot}_fingerprint": slot.fingerprint or None}
        status = status._replace(**named, previous_until=slot.expires_at)  # the previous key is the last slot
    return status


def _findings_of(reading: Reading, others: _Rules) -> list[Finding]:
    """Run rules for one key. Of the rules about the value, keep the first finding only."""
    of_value: _Rules = ()
    if not reading.is_past:  # its kind accepts a key, so no rule of VALUE_RULES finds anything in it
        of_value = VALUE_RULES if reading.key is None else ()
    if reading.marker is not None or reading.slot == "previous":
        from robodj_secretguard.startup.time_rules import MARKER_RULES, PREVIOUS_RULES  # noqa: PLC0415 - few starts do

        others = (*others, *(PREVIOUS_RULES if reading.slot == "previous" else MARKER_RULES))
    revocation = reading.setup.revocation
    if revocation.begins and not reading.is_past and revocation.begin(reading.listed_as):
        from robodj_secretguard.startup.time_rules import REVOKED_RULES  # noqa: PLC0415 - few starts have a list

        others = (*REVOKED_RULES, *others)
    first = islice(((check, problem) for check, rule in of_value for problem in rule(reading)), 1)
    found = [*first, *[(check, problem) for check, rule in others for problem in rule(reading)]]
    if found and found[0][0] is Check.FORMAT:
        with suppress(OSError, ImportError):  # no module can be opened any more, and the finding is right without it
            from robodj_secretguard.startup.shared import swapped  # noqa: PLC0415 - few starts have a bad value

            found[0] = Check.FORMAT, swapped(reading) or found[0][1]
    return [_finding_of(reading, check, problem) for check, problem in found]


def _finding_of(reading: Reading, check: Check, problem: Problem) -> Finding:
    problem = problem._replace(source=problem.source or reading.used.source, slot=problem.slot or reading.slot)
    return finding(reading.setup.policies, check, problem, reading.policy)


def finding(
    policies: Iterable[SecretPolicy], check: Check, problem: Problem, policy: SecretPolicy | None = None
) -> Finding:
    """Return a finding about one secret, or about the set-up. All owners are responsible for the set-up."""
    policy = policy or problem.policy
    return Finding(
        check=check,
        severity=problem.severity or check.severity,
        secret=policy.name if policy else None,
        slot=(problem.slot or "current") if policy else None,
        source=problem.source or "none",
        message=problem.message,
        remedy=problem.remedy.replace(f"${CONFIG_DIR}", f"${{{CONFIG_DIR}:?}}"),  # a shell without it refuses
        owner=owners_of((policy,) if policy else policies),
    )


def owners_of(secrets: Iterable[SecretPolicy | SecretStatus]) -> str:
    """Return the owners of secrets, each once."""
    return ", ".join(dict.fromkeys(each.owner for each in secrets if each.owner))


def for_gate(report: Report) -> Report:
    """Return a report in which a revoked next or previous key is an alert too, although a service starts without it."""
    return with_findings(
        report._replace(findings=()),
        [each._replace(severity=Severity.ALERT) if each.check is Check.REVOKED else each for each in report.findings],
    )


def with_findings(report: Report, further: Iterable[Finding]) -> Report:
    """Return a report with further findings in their order. Secrets with an alert are then not usable."""
    if report.model:
        with suppress(OSError, ImportError):  # as above
            from robodj_secretguard.startup.model_option import with_model  # noqa: PLC0415 - few starts have a finding

            further = [each._replace(remedy=with_model(each.remedy, report.model)) for each in further]
    order = [*Check]
    rank = {status.secret: index for index, status in enumerate(report.secrets)}
    findings = sorted(
        (*report.findings, *further),
        key=lambda finding: (rank.get(finding.secret or "", -1), order.index(finding.check)),
    )
    alerts = [finding for finding in findings if finding.severity is Severity.ALERT]
    refused = {finding.secret for finding in alerts}
    if any(finding.check is Check.INTERNAL and finding.secret is None for finding in alerts):
        refused.update(rank)
    secrets = [status._replace(usable=status.usable and status.secret not in refused) for status in report.secrets]
    return report._replace(secrets=tuple(secrets), findings=tuple(findings))
