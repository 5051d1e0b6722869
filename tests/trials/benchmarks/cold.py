"""The cost of a start in whole processes, interleaved: time and memory.

On Linux the peak memory of a process is at least that of its parent, so this process must stay small.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from typing import NamedTuple

from variables import FEW, environment, good_keys

PROGRAMS_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
CONSOLE_SCRIPT = os.path.join(
    sysconfig.get_path("scripts"), "robodj-secretguard.exe" if os.name == "nt" else "robodj-secretguard"
)
_PER_MIB = 1024 * 1024 if sys.platform == "darwin" else 1024
"""The value of `ru_maxrss` for one MiB."""


@dataclass(frozen=True)
class Program:
    """A program to start.

    Attributes:
        command: the command.
        has_keys: whether both keys are in its environment.
        status: the exit status of a successful run.
    """

    command: tuple[str, ...]
    has_keys: bool = True
    status: int = 0


def _file(name: str, *, has_keys: bool = True, status: int = 0) -> Program:
    return Program((sys.executable, os.path.join(PROGRAMS_DIRECTORY, f"{name}.py")), has_keys, status)


NOTHING = "`pass`"
FLOOR = "bare `BaseSettings`"
FLOOR_STRUCTLOG = "bare `BaseSettings`, and structlog"
GUARD = "`guard()`"
REFUSAL = "`guard()`, refusing"
GATE = "`python -m robodj_secretguard check`"
FASTAPI = "FastAPI"
FASTAPI_FLOOR = "FastAPI, and bare `BaseSettings`"
FASTAPI_GUARD = "FastAPI, and `guard()`"

RIVALS = {
    "environs": "by_environs",
    "python-decouple": "by_decouple",
    "dynaconf": "by_dynaconf",
    "starlette.config": "by_starlette",
    "django-environ": "by_django_environ",
}
"""The file of each other library's program."""

PROGRAMS = {
    NOTHING: _file("nothing"),
    "`import pydantic_settings`": _file("only_import"),
    FLOOR: _file("floor"),
    FLOOR_STRUCTLOG: _file("floor_structlog"),
    GUARD: _file("guarded"),
    REFUSAL: _file("guarded", has_keys=False, status=3),
    GATE: Program((sys.executable, "-m", "robodj_secretguard", "check")),
    "`robodj-secretguard check`": Program((CONSOLE_SCRIPT, "check")),
    FASTAPI: _file("fastapi_alone"),
    FASTAPI_FLOOR: _file("fastapi_floor"),
    FASTAPI_GUARD: _file("fastapi_guarded"),
    **{rival: _file(name) for rival, name in RIVALS.items()},
}


class Run(NamedTuple):
    """One process.

    Attributes:
        milliseconds: from before its start until it ended.
        on_processor: its processor time in milliseconds; `None` where it is unknown.
        mib: its peak resident memory; `None` where it is unknown.
        added: the milliseconds that the process printed for one part of it; `None` where it printed nothing.
    """

    milliseconds: float
    on_processor: float | None
    mib: float | None
    added: float | None = None


def measure(rounds: int) -> dict[str, list[Run]]:
    """Start every program once in each round, in random order. The first round is not counted.

    Args:
        rounds: the number of rounds that are counted.

    Returns:
        The runs of each program, in the order of the rounds.

    Raises:
        SystemExit: a program ended with an unexpected status.
    """
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        with_keys, without = environment(FEW, good_keys()), environment(FEW, {})
        for number in range(rounds + 1):
            for name in random.sample(list(PROGRAMS), k=len(PROGRAMS)):
                program = PROGRAMS[name]
                run, status = start(program.command, with_keys if program.has_keys else without)
                if status != program.status:
                    sys.exit(f"{name} ended with status {status}, not {program.status}: nothing was measured")
                if number:  # the first round writes bytecode and fills the system's caches
                    runs[name].append(run)
    return runs


def start(command: tuple[str, ...], environ: dict[str, str]) -> tuple[Run, int]:
    """Run a process to its end, and return its figures and its exit status."""
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        if sys.platform == "win32":
            null = subprocess.DEVNULL
            done = subprocess.run(command, env=environ, stdin=null, stdout=out, stderr=null, check=False)
            took, status, on_processor, mib = time.perf_counter() - began, done.returncode, None, None
        else:
            null = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 2)]
            actions = [*null, (os.POSIX_SPAWN_DUP2, out.fileno(), 1)]
            child = os.posix_spawn(command[0], command, environ, file_actions=actions)
            _, ended, usage = os.wait4(child, 0)
            took, status = time.perf_counter() - began, os.waitstatus_to_exitcode(ended)
            on_processor = (usage.ru_utime + usage.ru_stime) * 1000
            resident = usage.ru_maxrss / _PER_MIB
            mib = resident if resident > own_mib() else None  # a smaller or equal figure may be this process's own
        out.seek(0)
        added = _number(out.read())
    return Run(took * 1000, on_processor, mib, added), status


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def own_mib() -> float:
    """Return the peak resident memory of this process in MiB; 0 except on Linux, where a child inherits it."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return 0.0
