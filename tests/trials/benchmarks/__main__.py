"""Compare a guarded start with other ways to read two secrets: `python tests/trials/benchmarks` prints tables."""

from __future__ import annotations

import argparse
import json
import sys

import cold
import report
from cases import CASES
from figures import Figures
from machine import describe, missing

LEAST_ROUNDS = 20


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python tests/trials/benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help=f"of whole processes, at least {LEAST_ROUNDS}")
    parser.add_argument("--json", metavar="FILE", help="write the raw figures to a file as well")
    parser.add_argument("--smoke", action="store_true", help="do everything once: a test, not a measurement")
    options = parser.parse_args()
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"fewer than {LEAST_ROUNDS} rounds measure nothing")
    if names := missing():
        print(f'Not installed: {", ".join(names)}. Install with: python -m pip install ".[bench]"', file=sys.stderr)
        return 2

    machine = describe()
    rounds = 1 if options.smoke else options.rounds
    print(f"{len(cold.PROGRAMS)} programs, {rounds} rounds; then {len(CASES)} calls", file=sys.stderr)
    processes = cold.measure(rounds)
    import warm  # noqa: PLC0415 - it needs pyperf, with which this process is no longer small

    figures = Figures(processes, warm.measure(smoke=options.smoke))
    print(report.document(figures, machine, smoke=options.smoke))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            runs = {name: [run._asdict() for run in each] for name, each in figures.cold.items()}
            json.dump({"machine": machine, "cold": runs, "warm": figures.warm}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
