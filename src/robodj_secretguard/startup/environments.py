"""Whose secrets these are: the environment of the process, and that of a set (policy section 1).

A start imports this module only where one of them is named, or a source may name one.
"""

from __future__ import annotations

from typing import Final

from robodj_secretguard.secret.texts import is_environment
from robodj_secretguard.startup.inputs import ENVIRONMENT
from robodj_secretguard.startup.readings import Setup
from robodj_secretguard.startup.rules import Check, Problem, Problems, Severity

_OF_PROCESS: Final = "environment"


def process_environment(setup: Setup) -> str:
    """Return the environment of this process; empty for an unknown one."""
    return _names_by_source(setup).get(_OF_PROCESS, "")


def set_environment(setup: Setup) -> str:
    """Return the environment of the set; empty for an unknown one. Of several sources, one that differs counts."""
    ours = process_environment(setup)
    others = [name for source, name in _names_by_source(setup).items() if source != _OF_PROCESS]
    return next((name for name in others if name != ours), ours if others else "")


def _names_by_source(setup: Setup) -> dict[str, str]:
    found = {source: text.get_secret_value() for source, text in setup.environments}
    return {source: text for source, text in found.items() if is_environment(text)}


def check_environment(setup: Setup) -> Problems:
    """Yield that the secrets are of another environment, or how to name the one that is not named."""
    ours = process_environment(setup)
    theirs = set_environment(setup)
    sources = " and ".join(setup.managers)
    unknown = [source for source, _ in setup.environments if source not in _names_by_source(setup)]
    for source in unknown:
        yield _unknown_name(source, None if setup.managers else Severity.WARNING)
    if ours and theirs and ours != theirs:
        yield Problem(
            f"{sources} has the secrets of {theirs}, and {ENVIRONMENT} of this process is {ours}",
            f"deliver the secrets of {ours} there; if the process is one of {theirs}, set {ENVIRONMENT}={theirs}",
            sources,
        )
    if unknown or not setup.managers:
        return
    if ours and not theirs:
        place = "there (in ..data, if it has that)" if "directory:" in sources else "there"
        yield Problem(
            f"{sources} does not name its environment, so another one's secrets may pass",
            f"store {ENVIRONMENT} {place}, with the value {ours}",
            sources,
            Severity.NOTE,
        )
    if theirs and not ours:
        yield Problem(
            f"{sources} has the secrets of {theirs}, and {ENVIRONMENT} of this process is not set",
            f"set {ENVIRONMENT}={theirs} for the service",
            sources,
            Severity.NOTE,
        )


def _unknown_name(source: str, severity: Severity | None) -> Problem:
    """Return that a name is invalid. Without another name, it is compared with nothing, and a warning is enough."""
    where = "of this process" if source == _OF_PROCESS else f"in {source}"
    return Problem(
        f"{ENVIRONMENT} {where} is not the name of an environment",
        f"correct {ENVIRONMENT} {where}: lower-case letters, digits, hyphen and underscore, such as prod",
        source,
        severity,
    )


ENVIRONMENT_RULES: Final = ((Check.ENVIRONMENT, check_environment),)
"""For the set-up, where there is a source or a name."""
