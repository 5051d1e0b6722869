"""Serve forks: a program imports modules, calls `next_request`, and continues in a new process for each request.

This module imports little, so a process has imported only what its program has.
"""

from __future__ import annotations

import gc
import json
import os
from typing import Any


def next_request() -> Any:
    """Return each request's `what` in a new process. The first process answers with the exit statuses."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", buffering=1)
    gc.freeze()  # otherwise each process would collect all imported objects at its end
    for line in requests:
        child = os.fork()
        if not child:
            requests.close()  # a test may count the descriptors
            answers.close()
            return _become(json.loads(line))
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
    os._exit(0)


def _become(request: dict[str, Any]) -> Any:
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environ"])
    for number, name in enumerate((os.devnull, "out", "err")):
        end = os.open(name, (os.O_CREAT | os.O_WRONLY | os.O_APPEND) if number else os.O_RDONLY)
        os.dup2(end, number)
        os.close(end)
    return request["what"]
