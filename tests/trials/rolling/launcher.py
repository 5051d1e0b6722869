"""Run several instances of an app, each in a process: `python launcher.py MODULE:FUNCTION`.

The app's framework is imported once, and each instance is a fork. So a start takes milliseconds. A line of stdin is a
request: the whole environment of a new instance, or the process id of one to stop. The answer is a line of stdout.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE = 20  # seconds for the requests that an instance still serves


def main(name: str) -> None:
    """Serve requests until stdin ends, then stop the instances."""
    module, _, function = name.partition(":")
    make = getattr(importlib.import_module(module), function)
    running = set[int]()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, int):
            running.remove(request)
            answer = [stopped(request)]
        else:
            listener = socket.create_server(("127.0.0.1", 0), backlog=100)
            with listener:
                child = os.fork() or become(make, listener, request)
                running.add(child)
                answer = [child, listener.getsockname()[1]]
        print(json.dumps(answer), flush=True)  # noqa: T201 - its answer
    for child in running:
        stopped(child)


def stopped(child: int) -> int:
    """Stop an instance, which serves its requests first, and return its exit status."""
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become(make: Callable[[], Any], listener: socket.socket, environ: dict[str, str]) -> NoReturn:
    """Make the app with an environment, as a new process does, and serve it."""
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(2, 1)
        os.environ.clear()
        os.environ.update(environ)
        # It uses the modules that were imported before the fork.
        config = uvicorn.Config(
            make(), loop="asyncio", http=H11Protocol, ws="none", lifespan="off", log_level="warning"
        )
        config.timeout_graceful_shutdown = GRACE
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        os._exit(1)  # otherwise it would read the next request of its parent


if __name__ == "__main__":
    main(sys.argv[1])
