"""The calls that `warm.py` measures, as data."""

from __future__ import annotations

from dataclasses import dataclass

from cold import FLOOR, GUARD, RIVALS
from variables import FEW, MANY

FEW_SECRETS, MANY_SECRETS = 2, 200


@dataclass(frozen=True)
class Case:
    """A call to measure.

    Attributes:
        name: the name of its figures.
        call: the callable, as `module:name`.
        variables: how many variables the environment has.
        has_config: whether there is a config directory, with only the two templates.
        declared: how many secrets the model of the call declares; 0 for a call without a model.
    """

    name: str
    call: str
    variables: int = FEW
    has_config: bool = False
    declared: int = 0


def among(variables: int, label: str) -> str:
    """Return the name of the figures of a call with so many variables."""
    return f"{label}, {variables} variables"


def of(secrets: int, label: str) -> str:
    """Return the name of the figures of a call with a model of so many secrets."""
    return f"{label}, {secrets} secrets"


CHECK, MODEL = "`check()`", "`RuntimeSecrets()`"
GUARD_CONFIG = "`guard()`, with a config directory"
GUARD_MODEL, CHECK_MODEL = "`guard(model)`", "`check(model)`"

OWN = {
    FLOOR: "floor:Settings",
    GUARD: "robodj_secretguard:guard",
    GUARD_CONFIG: "robodj_secretguard:guard",
    CHECK: "robodj_secretguard:check",
    MODEL: "robodj_secretguard:RuntimeSecrets",
}
WITH_A_MODEL = {GUARD_MODEL: "robodj_secretguard:guard", CHECK_MODEL: "robodj_secretguard:check"}

CASES = (
    *(
        Case(among(count, label), call, count, has_config=label == GUARD_CONFIG)
        for label, call in OWN.items()
        for count in (FEW, MANY)
    ),
    *(Case(among(FEW, rival), f"{module}:read") for rival, module in RIVALS.items()),
    *(
        Case(of(count, label), call, FEW - FEW_SECRETS + count, declared=count)
        for label, call in WITH_A_MODEL.items()
        for count in (FEW_SECRETS, MANY_SECRETS)
    ),
)
