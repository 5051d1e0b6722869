"""Setting, ephemeral, internal: the set-up, and a check that failed by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.findings import Check, Severity
from robodj_secretguard.rules.finding import about_setup
from robodj_secretguard.sources import CONFIG_DIR, EPHEMERAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sources import Setup


def setting_findings(setup: Setup) -> Iterator[Finding]:
    """Return the switches with an unknown value, and a config directory that is named and not there, or hidden.

    Args:
        setup: what holds for every declared secret.
    """
    for name in setup.unknown_switches:
        message = f"{name} is neither true nor false, so environment-only is in force."
        remedy = "Set it to one of 1, true, yes, on, 0, false, no, off, or unset it."
        yield about_setup(setup.policies, Check.SETTING, message, remedy, source="environment")
    if setup.directory_hidden and not setup.directory_named_by:
        message = "config under the working directory is a link to nothing, or cannot be looked into."
        remedy = "It may hold key files or the revocation list: mend the link or the permissions on the way to it."
        yield about_setup(setup.policies, Check.SETTING, message, remedy, source="none")
    if setup.directory_named_by and not setup.directory_exists:
        from_environment = setup.directory_named_by == "environment"
        source, named = ("environment", CONFIG_DIR) if from_environment else ("none", "The config directory argument")
        message = f"{named} names a directory that does not exist."
        remedy = "Correct it, or leave it out to use config under the working directory."
        yield about_setup(setup.policies, Check.SETTING, message, remedy, source=source)


def ephemeral_findings(setup: Setup) -> Iterator[Finding]:
    """Return that the keys are throw-away ones: an alert in environment-only, where services serve.

    Args:
        setup: what holds for every declared secret.
    """
    if setup.ephemeral:
        message = f"{EPHEMERAL} is set: the keys are throw-away ones, for an image build or a test"
        remedy = "To serve, unset it, and deliver the existing values from the secret manager; "
        if setup.environment_only:
            message += ", and environment-only is in force."
            remedy += "to build or test, do so without environment-only."
        else:
            message += "."
            remedy += "a build or a test needs nothing."
        severity = Severity.ALERT if setup.environment_only else Severity.WARNING
        yield about_setup(setup.policies, Check.EPHEMERAL, message, remedy, source="environment", severity=severity)


def internal(policies: Sequence[SecretPolicy], error_type: str, policy: SecretPolicy | None = None) -> Finding:
    """Return the finding that a check itself failed.

    Args:
        policies: all declared secrets.
        error_type: the name of the error's type.
        policy: the secret that it is about, if one is known.
    """
    message = f"The check itself failed ({error_type}): nothing is verified."
    remedy = "If the service passes arguments or has validators of its own, ask its developers; else report a bug."
    return about_setup(policies, Check.INTERNAL, message, remedy, source="none", policy=policy)
