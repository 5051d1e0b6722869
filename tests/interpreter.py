"""The program of `forks.run_python`: an interpreter that has imported the modules of its arguments."""

from __future__ import annotations

import atexit
import os
import runpy
import sys
import threading
import time
import warnings
from importlib import import_module, invalidate_caches
from typing import NoReturn

from fork_server import next_request


def run(arguments: list[str]) -> None:
    """Do what `python` does with these arguments: a script, `-c` or `-m`, after `-W` for some warnings."""
    invalidate_caches()
    time.tzset()
    sys.path[:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))  # in place of this directory
    while arguments[0] == "-W":
        sys.warnoptions.append(arguments[1])
        warnings.simplefilter("error")
        arguments = arguments[2:]
    kind, name, *_ = [*arguments, ""]
    main = vars(sys.modules["__main__"])
    main.pop("__file__")
    if kind == "-m":
        sys.argv, sys.path[:0] = arguments[1:], [os.getcwd()]
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # noqa: SLF001 - as `python -m` does
    elif kind == "-c":
        sys.argv, sys.path[:0] = ["-c", *arguments[2:]], [""]
        exec(compile(name, "<string>", "exec"), main)  # noqa: S102
    else:
        sys.argv, sys.path[:0] = arguments, [os.path.dirname(os.path.realpath(kind))]
        with open(kind, "rb") as file:
            text = file.read()
        main["__file__"] = kind
        exec(compile(text, kind, "exec"), main)  # noqa: S102


def end_of(arguments: list[str]) -> int:
    """Run what `python` runs, and return its exit status."""
    try:
        run(arguments)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - as Python does
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def main() -> NoReturn:
    """Serve."""
    exit_now = os._exit  # a program may replace it
    for module in sys.argv[2:]:
        import_module(module)
    status = end_of(next_request())
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - this and the next line are how Python ends
    atexit._run_exitfuncs()  # noqa: SLF001
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - what a stream raises is Python's to report
        sys.exit(status)
    exit_now(status)  # the rest of an interpreter's end is slow


if __name__ == "__main__":
    from interpreter import main as serve  # the globals of this file become those of a program

    serve()
