"""Count the instructions of a start: `python tests/trials/benchmarks/instructions.py PYTHON`.

They are the same in every run. Valgrind counts them. PYTHON is the interpreter of a virtual environment with the
library and FastAPI. Ratios are only comparable between environments that have the same packages.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Final

from variables import FEW, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAMS: Final = ("floor", "floor_structlog", "guarded", "fastapi_alone", "fastapi_floor", "fastapi_guarded")
VALGRIND: Final = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")

_HERE: Final = os.path.dirname(os.path.abspath(__file__))
_COUNT: Final = re.compile(r"Collected : (\d+)")


def _environment() -> dict[str, str]:
    """Return an environment that is the same in every run."""
    first, second = (hashlib.sha512(name).digest() for name in (b"first", b"second"))
    key = base64.urlsafe_b64encode(first[:32]).decode().rstrip("=")
    keys = {"ROBODJ_SECRET_KEY": key, "ROBODJ_SECRET_V2_KEY": second.hex()}
    return environment(FEW, keys) | {"PYTHONHASHSEED": "0"}


def counted(python: str, program: str, *, rounds: int) -> float:
    """Return how many instructions a program takes, after a first run that writes the bytecode."""
    _run([python, program])
    return statistics.median(int(_COUNT.findall(_run([*VALGRIND, python, program]))[-1]) for _ in range(rounds))


def _run(command: Sequence[str]) -> str:
    """Run a program in an empty directory, and return what it wrote to stderr."""
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(command, env=_environment(), cwd=directory, capture_output=True, text=True, check=True)
        return done.stderr


def main(argv: Sequence[str] | None = None) -> int:
    """Print the instructions of each program, and both ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("python", metavar="PYTHON", help="the interpreter of the library's environment")
    parser.add_argument("--rounds", type=int, default=1, help="how often each program is counted (1)")
    programs = os.path.join(_HERE, "programs")
    parser.add_argument("--programs", metavar="DIR", default=programs, help="where the programs are (%(default)s)")
    given = parser.parse_args(argv)
    python = os.path.abspath(given.python)
    taken = {}
    for name in PROGRAMS:
        taken[name] = counted(python, os.path.join(os.path.abspath(given.programs), f"{name}.py"), rounds=given.rounds)
        print(f"{name:<16} {taken[name] / 1e6:>8,.1f} million")
    cold, with_structlog = (taken["guarded"] / taken[floor] for floor in ("floor", "floor_structlog"))
    floor, guarded = (taken[name] - taken["fastapi_alone"] for name in ("fastapi_floor", "fastapi_guarded"))
    print(f"cold start: {cold:.3f} of a bare BaseSettings process ({with_structlog:.3f} of one with structlog)")
    print(f"added to a FastAPI service: {guarded / floor:.3f} of what a bare BaseSettings adds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
