"""One side of the differential run: it imports the package once, and runs each step in a fork with a stopped clock.

It uses the public API and the command line only: `PYTHONPATH` says which version of the package that is.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import gc
import importlib
import json
import os
import pkgutil
import runpy
import sys
import traceback
from typing import Any

import pydantic_settings  # noqa: F401 - with the real class `datetime`
import structlog  # noqa: F401

PACKAGE = "robodj_secretguard"
REAL = dt.datetime


class _AnyDatetime(type(REAL)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, REAL)


class Stopped(REAL, metaclass=_AnyDatetime):
    """`datetime` with a clock that stands still."""

    instant = REAL(2026, 12, 1, tzinfo=dt.UTC)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.instant.astimezone(tz)


def import_everything() -> None:
    """Import every module of the package whose requirements are installed, so that a fork need not do it."""
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


def next_step() -> dict[str, Any]:
    """Answer each request with the exit status of a fork. Return the request in that fork."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", buffering=1)
    gc.freeze()
    for line in requests:
        child = os.fork()
        if not child:
            requests.close()
            answers.close()
            step: dict[str, Any] = json.loads(line)
            return step
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
    os._exit(0)


def become(step: dict[str, Any]) -> None:
    """Take the directory, the variables and the streams of a step."""
    os.setpgid(0, 0)
    os.chdir(step["directory"])
    os.environ.clear()
    os.environ.update(step["environ"])
    for number, name in enumerate((step["in"], step["out"], step["err"])):
        stream = os.open(name, (os.O_CREAT | os.O_WRONLY | os.O_TRUNC) if number else os.O_RDONLY)
        os.dup2(stream, number)
        os.close(stream)
    Stopped.instant = REAL.fromisoformat(step["now"])


def run(step: dict[str, Any]) -> int:
    """Run a program of the directory, or the command line of the package. Return the exit status."""
    sys.path[0] = step["directory"]
    try:
        if step["program"]:
            sys.argv = [step["program"]]
            runpy.run_path(step["program"], run_name="__main__")
        else:
            sys.argv = [PACKAGE, *step["argv"]]
            runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - like an interpreter
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Serve steps. A fork ends without the clean-up of all modules, which takes longer than most steps."""
    sys.dont_write_bytecode = True
    dt.datetime = Stopped  # type: ignore[misc]
    import_everything()
    step = next_step()
    gc.disable()
    become(step)
    status = run(step)
    atexit._run_exitfuncs()  # noqa: SLF001 - it has no public name
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
