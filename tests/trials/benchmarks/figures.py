"""The figures, and the medians in the tables."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cold import Run


@dataclass(frozen=True)
class Figures:
    """The figures of one run of the benchmark.

    Attributes:
        cold: the processes of each program, in the order of the rounds.
        warm: the microseconds of one call, by the case's name.
    """

    cold: Mapping[str, Sequence[Run]]
    warm: Mapping[str, Sequence[float]]

    def ms(self, program: str) -> float:
        """Return a program's median time, in milliseconds."""
        return statistics.median(run.milliseconds for run in self.cold[program])

    def ms_on_processor(self, program: str) -> float | None:
        """Return a program's median processor time, in milliseconds; `None` where it is unknown."""
        return _median_if_known([run.on_processor for run in self.cold[program]])

    def middle_half(self, program: str) -> tuple[float, float]:
        """Return the first and third quartile of a program's times, in milliseconds."""
        times = [run.milliseconds for run in self.cold[program]]
        first, _, third = statistics.quantiles(times, method="inclusive") if len(times) > 1 else times * 3
        return first, third

    def added(self, program: str) -> float:
        """Return the median of the milliseconds that a program printed for one part of it."""
        return statistics.median(run.added for run in self.cold[program] if run.added is not None)

    def mib(self, program: str) -> float | None:
        """Return a program's median peak resident memory, in MiB; `None` where it is unknown."""
        return _median_if_known([run.mib for run in self.cold[program]])

    def us(self, case: str) -> float:
        """Return the median time of a call, in microseconds."""
        return statistics.median(self.warm[case])


def _median_if_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if len(known) == len(values) else None
