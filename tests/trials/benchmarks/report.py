"""The tables, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cases
import cold
from cases import among, of
from targets import TARGETS
from variables import FEW, MANY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from figures import Figures
    from targets import Target

SMOKE = "**A smoke run: every program once, every call once. No figure here is a measurement.**"
UNKNOWN = "unknown"


def document(figures: Figures, machine: Mapping[str, str], *, smoke: bool) -> str:
    """Return all tables.

    Args:
        figures: the figures.
        machine: the machine and the versions.
        smoke: whether each thing was done only once, which measures nothing.
    """
    rounds = len(figures.cold[cold.FLOOR])
    parts = [
        *([SMOKE] if smoke else []),
        "\n".join(f"- {what}: {text}" for what, text in machine.items()),
        "### Targets and figures",
        _table("what | at most | measured | reached", (_target(each, figures, smoke=smoke) for each in TARGETS)),
        f"### A process from its start to its end, rounds: {rounds}",
        _table(
            "process | median, ms | middle half, ms | on a processor, ms | / floor | over floor, MiB", _cold(figures)
        ),
        "### Added to a FastAPI service, measured in its process",
        _table("what | median, ms | / floor", _added(figures)),
        "### One call in a running process, in µs",
        _table(f"call | {FEW} variables | {MANY:,} variables", _warm(figures)),
        "### One call with a model of many secrets, in µs",
        _table("call | secrets | median | per secret", _models(figures)),
        f"### Compared with other libraries, in µs, {FEW} variables",
        _table("what | median | / `guard()`", _rivals(figures)),
    ]
    return "\n\n".join(parts)


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    columns = head.split(" | ")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def _target(target: Target, figures: Figures, *, smoke: bool) -> Sequence[str]:
    measured = target.measured(figures)
    reached = "yes" if all(each <= target.at_most for each in measured) else "**no**"
    return (
        target.what,
        f"{target.at_most}{target.unit}",
        " and ".join(f"{each:.3f}{target.unit}" for each in measured) or UNKNOWN,
        UNKNOWN if smoke or not measured else reached,
    )


def _cold(figures: Figures) -> Iterator[Sequence[str]]:
    floor, floor_mib = figures.ms(cold.FLOOR), figures.mib(cold.FLOOR)
    for program in figures.cold:
        first, third = figures.middle_half(program)
        ms, on_processor, mib = figures.ms(program), figures.ms_on_processor(program), figures.mib(program)
        processor = UNKNOWN if on_processor is None else f"{on_processor:.1f}"
        memory = UNKNOWN if mib is None or floor_mib is None else f"{mib - floor_mib:+.1f}"
        yield program, f"{ms:.1f}", f"{first:.1f} to {third:.1f}", processor, f"{ms / floor:.2f}", memory


def _added(figures: Figures) -> Iterator[Sequence[str]]:
    floor = figures.added(cold.FASTAPI_FLOOR)
    for label, program in ((cold.FLOOR, cold.FASTAPI_FLOOR), (cold.GUARD, cold.FASTAPI_GUARD)):
        ms = figures.added(program)
        yield label, f"{ms:.1f}", f"{ms / floor:.2f}"


def _warm(figures: Figures) -> Iterator[Sequence[str]]:
    for label in cases.OWN:
        yield label, *(f"{figures.us(among(count, label)):.1f}" for count in (FEW, MANY))


def _models(figures: Figures) -> Iterator[Sequence[str]]:
    for label in cases.WITH_A_MODEL:
        for count in (cases.FEW_SECRETS, cases.MANY_SECRETS):
            us = figures.us(of(count, label))
            yield label, str(count), f"{us:.1f}", f"{us / count:.1f}"


def _rivals(figures: Figures) -> Iterator[Sequence[str]]:
    guard = figures.us(among(FEW, cold.GUARD))
    for label in (cold.FLOOR, cold.GUARD, *cold.RIVALS):
        us = figures.us(among(FEW, label))
        yield label, f"{us:.1f}", f"{us / guard:.2f}"
