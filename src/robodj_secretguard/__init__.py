"""RoboDJ's startup secret guard: a service does not start with a bad secret.

`guard()` refuses, `check()` reports, and the settings models declare what they look at.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robodj_secretguard.guarding import check, guard
    from robodj_secretguard.running.keyset import Key
    from robodj_secretguard.running.store import Secret
    from robodj_secretguard.secret.material import Fault, Generator, Kind, Length
    from robodj_secretguard.secret.policy import Material, SecretPolicy
    from robodj_secretguard.settings import RuntimeSecrets, SecretSettings
    from robodj_secretguard.startup.readings import RevocationStatus
    from robodj_secretguard.startup.report import Finding, Report, SecretStatus
    from robodj_secretguard.startup.rules import Check, Severity, State

__all__ = [
    "Check",
    "Fault",
    "Finding",
    "Generator",
    "Key",
    "Kind",
    "Length",
    "Material",
    "Report",
    "RevocationStatus",
    "RuntimeSecrets",
    "Secret",
    "SecretPolicy",
    "SecretSettings",
    "SecretStatus",
    "Severity",
    "State",
    "check",
    "guard",
]
_MODULES = {
    "running.keyset": {"Key"},
    "running.store": {"Secret"},
    "secret.material": {"Fault", "Generator", "Kind", "Length"},
    "secret.policy": {"Material", "SecretPolicy"},
    "guarding": {"check", "guard"},
    "startup.readings": {"RevocationStatus"},
    "startup.report": {"Finding", "Report", "SecretStatus"},
    "startup.rules": {"Check", "Severity", "State"},
    "settings": {"RuntimeSecrets", "SecretSettings"},
}


def __getattr__(name: str) -> Any:
    """Import the module of a name at its first use: the command line prints its help without pydantic."""
    if name == "errors":
        return import_module(f"{__name__}.errors")
    for module, names in _MODULES.items():
        if name in names:
            globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
