"""The process of a cell. Started once, it forks for each: all that hosts import is there, and nothing was done yet."""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from typing import TYPE_CHECKING

import actions
from observers import ADVISED, OBSERVERS

if TYPE_CHECKING:
    from observers import Action


def next_cell() -> tuple[str, Action]:
    """Return an observer and an action, in a new process; in the first one, answer with the status of each."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", buffering=1)
    gc.freeze()  # or each of them would look through all that was imported as it ends
    for line in requests:
        child = os.fork()
        if not child:
            return _become(line)
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
    os._exit(0)


def _become(line: bytes) -> tuple[str, Action]:
    request = json.loads(line)
    os.chdir(request["directory"])
    os.environ.clear()
    for name, value in request["environ"].items():
        os.environb[os.fsencode(name)] = os.fsencode(value)
    written = os.open("written", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, end in ((0, nothing), (1, written), (2, written)):
        os.dup2(end, number)
    return request["observer"], getattr(actions, request["action"])


if __name__ == "__main__":
    observer, action = next_cell()
    (OBSERVERS | ADVISED)[observer][0](action)  # an exception, SystemExit too, ends it as it ends any process
    atexit._run_exitfuncs()  # noqa: SLF001 - the rest of an interpreter's end is slow, and has nothing to show
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
