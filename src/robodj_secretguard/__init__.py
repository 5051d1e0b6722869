"""RoboDJ's startup secret guard: a service does not start with a bad secret.

`guard()` refuses, `check()` reports, and the settings models declare what they look at.
"""

from robodj_secretguard.secret.material import Fault, Generator, Kind, Length
from robodj_secretguard.secret.policy import Material, SecretPolicy
from robodj_secretguard.startup.guard import check, guard
from robodj_secretguard.startup.readings import RevocationStatus
from robodj_secretguard.startup.report import Finding, Report, SecretStatus
from robodj_secretguard.startup.rules import Check, Severity, State
from robodj_secretguard.startup.settings import RuntimeSecrets, SecretSettings

__all__ = [
    "Check",
    "Fault",
    "Finding",
    "Generator",
    "Kind",
    "Length",
    "Material",
    "Report",
    "RevocationStatus",
    "RuntimeSecrets",
    "SecretPolicy",
    "SecretSettings",
    "SecretStatus",
    "Severity",
    "State",
    "check",
    "guard",
]
