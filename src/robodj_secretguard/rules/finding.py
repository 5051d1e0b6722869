"""How a rule makes a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import Check, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sources import Reading

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
