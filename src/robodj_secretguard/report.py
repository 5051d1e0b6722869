"""What a check has to say. Nothing here has a field that could hold a value.

These are named tuples, which cost a start little; for JSON use `as_dict`, since `json.dumps` makes bare lists of them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sources import Reading

JSON_SCHEMA: Final = 1
"""The version of the JSON document's shape."""


class Severity(StrEnum):
    """Whether a finding stops the service."""

    ALERT = "alert"
    WARNING = "warning"
    NOTE = "note"
    """Shown and not counted: it fails no gate, not even with `--strict`."""


class Check(StrEnum):
    """The checks (policy section 6), in the order in which a secret's findings are reported."""

    MISSING = "missing"
    PLACEHOLDER = "placeholder"
    FORMAT = "format"
    WEAK = "weak"
    SHARED = "shared"
    EXPIRED = "expired"
    EXPIRY_MARKER = "expiry-marker"
    CLOCK = "clock"
    FILE_UNSAFE = "file-unsafe"
    FILE_PRESENT = "file-present"
    SETTING = "setting"
    REVOKED = "revoked"
    REVOCATION_LIST = "revocation-list"
    NEAR_MISS = "near-miss"
    SUPERSEDED = "superseded"
    INTERNAL = "internal"
    EPHEMERAL = "ephemeral"
    EXPIRING = "expiring"
    CADENCE = "cadence"
    FILE_FALLBACK = "file-fallback"
    FILE_STALE = "file-stale"
    FILE_PERMISSIONS = "file-permissions"


class State(StrEnum):
    """A secret's presence and validity, in the words of the Codex Environment Contract."""

    MISSING = "missing"
    INVALID_FORMAT = "invalid-format"
    EXPIRED = "expired"
    PRESENT = "present"


class Finding(NamedTuple):
    """One thing that is wrong.

    Attributes:
        check: which check found it.
        severity: whether it stops the service.
        secret: the declared secret's name; `None` when it is about the set-up.
        source: `environment`, `file:` and the declared path, or `none`.
        message: what is wrong, without any of the value.
        remedy: what to do.
        owner: who is to do it.
    """

    check: Check
    severity: Severity
    secret: str | None
    source: str
    message: str
    remedy: str
    owner: str

    @property
    def line(self) -> str:
        """The line that operators see (policy section 6): ASCII, and physically one line."""
        subject = f"{self.secret}: " if self.secret else ""
        return (
            f"{self.severity.upper()}: {subject}{self.check}: {self.message} {self.remedy}"
            f" ({self.source}; {self.owner})"
        )


class SecretStatus(NamedTuple):
    """One declared secret as it was found.

    Attributes:
        secret: its name.
        variable: the environment variable that delivers it.
        source: `environment`, `file:` and the declared path, or `none`.
        state: its presence and validity.
        usable: whether no alert concerns it: a revoked key is present, and not usable.
        expires_at: the instant of its expiry marker, in UTC, if there is a valid one.
        owner: who rotates it.
        backup_owner: who does so when the owner cannot.
        rotation_days: its cadence, in days.
        fingerprint: `sgfp1:` and 32 hexadecimal digits, for a key that passed the format and strength rules.
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

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {
            **self._asdict(),
            "state": str(self.state),
            "expires_at": self.expires_at and iso_utc(self.expires_at),
        }


class RevocationStatus(NamedTuple):
    """The revocation list as it was found (policy section 4).

    Attributes:
        sources: where there is one: `file:` and its path, `environment`, both or neither.
        fingerprints: every fingerprint on it.
    """

    sources: tuple[str, ...]
    fingerprints: frozenset[str]

    @property
    def entries(self) -> int:
        """How many fingerprints it has."""
        return len(self.fingerprints)


class Report(NamedTuple):
    """The outcome of one check of every declared secret.

    Attributes:
        checked_at: when, in UTC.
        require_env_only: whether fallback files were off.
        revocation_list: what there is of it; `None` when it could not be looked for.
        secrets: every declared secret, in declared order.
        findings: all findings: about the set-up first, then by secret, then in the order of `Check`.
    """

    checked_at: datetime
    require_env_only: bool
    revocation_list: RevocationStatus | None
    secrets: tuple[SecretStatus, ...]
    findings: tuple[Finding, ...]

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """The findings that stop a service."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ALERT)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that do not."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.WARNING)

    @property
    def ok(self) -> bool:
        """Whether a service may start: there is no alert."""
        return not self.alerts

    def as_dict(self) -> dict[str, Any]:
        """Return the report as the JSON document of the command line, in plain types."""
        return {
            "schema": JSON_SCHEMA,
            "ok": self.ok,
            "checked_at": iso_utc(self.checked_at),
            "require_env_only": self.require_env_only,
            "revocation_list": self.revocation_list
            and {"sources": list(self.revocation_list.sources), "entries": self.revocation_list.entries},
            "secrets": [status.as_dict() for status in self.secrets],
            "findings": [
                {**finding._asdict(), "check": str(finding.check), "severity": str(finding.severity)}
                for finding in self.findings
            ],
        }


def iso_utc(instant: datetime) -> str:
    """Return an aware datetime as ISO-8601 in UTC, to the second, with `Z`."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_WARNINGS: Final = frozenset(
    {Check.EXPIRING, Check.CADENCE, Check.FILE_FALLBACK, Check.FILE_STALE, Check.FILE_PERMISSIONS}
)


def about(reading: Reading, check: Check, message: str, remedy: str, *, source: str | None = None) -> Finding:
    """Return a finding about one secret.

    Args:
        reading: what was found for it.
        check: the check that found it.
        message: what is wrong: constants, declared names, lengths and times.
        remedy: what to do.
        source: where it was found, if not where the value comes from.
    """
    return Finding(
        check=check,
        severity=Severity.WARNING if check in _WARNINGS else Severity.ALERT,
        secret=reading.policy.name,
        source=reading.source if source is None else source,
        message=message,
        remedy=remedy,
        owner=reading.policy.owner,
    )


def about_setup(
    policies: Sequence[SecretPolicy],
    check: Check,
    message: str,
    remedy: str,
    *,
    source: str,
    severity: Severity = Severity.ALERT,
    policy: SecretPolicy | None = None,
) -> Finding:
    """Return a finding about the set-up, which concerns the owners of all secrets, or the owner of one.

    Args:
        policies: all declared secrets.
        check: the check that found it.
        message: what is wrong: constants, declared names and times.
        remedy: what to do.
        source: where it was found.
        severity: whether it stops the service.
        policy: the one secret that it is about, if it is about one.
    """
    concerned = policies if policy is None else (policy,)
    return Finding(
        check=check,
        severity=severity,
        secret=policy.name if policy else None,
        source=source,
        message=message,
        remedy=remedy,
        owner=", ".join(dict.fromkeys(each.owner for each in concerned)),
    )
