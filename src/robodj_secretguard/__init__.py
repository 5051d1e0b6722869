"""RoboDJ's startup secret guard: a service does not start with a bad secret.

`guard()` refuses, `check()` reports, and the settings models declare what they look at.
"""

from robodj_secretguard.checks import Check, Severity, State
from robodj_secretguard.guard import check, guard
from robodj_secretguard.models import RuntimeSecrets, SecretSettings
from robodj_secretguard.report import Finding, Report, SecretStatus
from robodj_secretguard.secret.policy import Generator, Length, Material, SecretPolicy
from robodj_secretguard.sources import RevocationStatus

__all__ = [
    "Check",
    "Finding",
    "Generator",
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
