"""Setting, ephemeral, internal: the set-up, and a check that failed by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import Check, Severity
from robodj_secretguard.rules.finding import about_setup
from robodj_secretguard.sources import CONFIG_DIR, EPHEMERAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robodj_secretguard.findings import Finding
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sources import NamedBy, Setup

_NAMED: Final[dict[NamedBy | None, str]] = {
    None: "config under the working directory",
    "environment": f"The config directory that {CONFIG_DIR} names",
    "argument": "The config directory that the config_dir argument names",
    "model": "The config directory that the model names",
}
_FIX: Final[dict[NamedBy | None, str]] = {
    None: "Start in the service's own directory, and restore config as a directory from version control.",
    "environment": f"Correct {CONFIG_DIR}, or restore that directory.",
    "argument": "Correct the config_dir argument, or restore that directory.",
    "model": "Restore that directory from version control or the deployment.",
}


def setting_findings(setup: Setup) -> Iterator[Finding]:
    """Return the switches with an unknown value, and a config directory that cannot be used.

    Args:
        setup: what holds for every declared secret.
    """
    for name in setup.unknown_switches:
        message = f"{name} is neither true nor false, so fallback files are off."
        remedy = "Set it to one of 1, true, yes, on, 0, false, no, off, or unset it."
        yield about_setup(setup.policies, Check.SETTING, message, remedy, source="environment")
    if setup.directory_fault:
        yield _directory_finding(setup, setup.directory_named_by, setup.directory_fault)
    if setup.model_directory_fault:
        yield _directory_finding(setup, "model", setup.model_directory_fault)


def _directory_finding(setup: Setup, named_by: NamedBy | None, fault: str) -> Finding:
    source = "environment" if named_by == "environment" else "none"
    remedy = f"It may hold the revocation list or key files. {_FIX[named_by]}"
    return about_setup(setup.policies, Check.SETTING, f"{_NAMED[named_by]} {fault}.", remedy, source=source)


def ephemeral_findings(setup: Setup) -> Iterator[Finding]:
    """Return that the keys are temporary: an alert where the environment is protected, where services serve.

    Args:
        setup: what holds for every declared secret.
    """
    if setup.ephemeral:
        message = f"{EPHEMERAL} is set: the keys are temporary, for an image build or a test"
        remedy = f"To serve, leave out exec --ephemeral, unset {EPHEMERAL}, and deliver the keys from the manager; "
        if setup.protected:
            message += ", and the environment is protected."
            remedy += "to build or test, do so outside of the protected environment."
        else:
            message += "."
            remedy += "a build or a test needs nothing."
        severity = Severity.ALERT if setup.protected else Severity.WARNING
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
