"""The program of `forks.run_python`: an interpreter that has imported the modules of its arguments."""

from __future__ import annotations

import os
import runpy
import sys
import time
import warnings
from importlib import import_module, invalidate_caches

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
    main["__file__"] = kind
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
        exec(compile(text, kind, "exec"), main)  # noqa: S102


if __name__ == "__main__":
    for module in sys.argv[2:]:
        import_module(module)
    run(next_request())
