"""The maximum cost of the library, relative to the minimum that every service pays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cases
import cold
from cases import among, of
from variables import FEW, MANY

if TYPE_CHECKING:
    from collections.abc import Callable

    from figures import Figures


@dataclass(frozen=True)
class Target:
    """A limit.

    Attributes:
        what: what is limited.
        at_most: the limit.
        measured: the figures, all of which must be within the limit. Empty where they cannot be measured.
        unit: the unit of both; empty for a ratio.
    """

    what: str
    at_most: float
    measured: Callable[[Figures], tuple[float, ...]]
    unit: str = ""


def _cold(program: str, base: str) -> Callable[[Figures], tuple[float, ...]]:
    return lambda figures: (figures.ms(program) / figures.ms(base),)


def _added_to_fastapi(figures: Figures) -> tuple[float, ...]:
    return (figures.added(cold.FASTAPI_GUARD) / figures.added(cold.FASTAPI_FLOOR),)


def _warm(figures: Figures) -> tuple[float, ...]:
    return tuple(figures.us(among(count, cold.GUARD)) / figures.us(among(count, cold.FLOOR)) for count in (FEW, MANY))


def _each_secret(figures: Figures) -> tuple[float, ...]:
    many, few = (figures.us(of(count, cases.GUARD_MODEL)) / count for count in (cases.MANY_SECRETS, cases.FEW_SECRETS))
    return (many / few,)


def _memory(figures: Figures) -> tuple[float, ...]:
    guard, floor = figures.mib(cold.GUARD), figures.mib(cold.FLOOR)
    return () if guard is None or floor is None else (guard - floor,)


TARGETS = (
    Target(
        "cold process with a successful `guard()` / bare `BaseSettings` process", 1.08, _cold(cold.GUARD, cold.FLOOR)
    ),
    Target("added to a FastAPI service at startup / bare `BaseSettings` added to it", 1.15, _added_to_fastapi),
    Target(
        "cold process with a refusing `guard()` / bare `BaseSettings` plus structlog process",
        1.15,
        _cold(cold.REFUSAL, cold.FLOOR_STRUCTLOG),
    ),
    Target("CLI gate, success / bare `BaseSettings` process", 1.15, _cold(cold.GATE, cold.FLOOR)),
    Target(
        "warm `guard()` / stock `BaseSettings()` on the same two fields, with 35 and with 3,000 variables", 0.5, _warm
    ),
    Target("a model with 200 declared secrets, warm / 2 secrets, per secret", 1.2, _each_secret),
    Target("memory over bare `BaseSettings`, resident", 2, _memory, " MiB"),
)
