"""uvicorn in a page: start it on a free port, stop it when it answers, and return 0.

A server that ends before it answers passes its status on.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import runpy
import signal
import socket
import sys
import time

TIMEOUT = 60


def answers(port: int) -> bool:
    """Return whether there is an HTTP response, of any status."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        try:
            connection.request("GET", "/")
            return connection.getresponse().status > 0
        except (OSError, http.client.HTTPException):
            return False


def wait_for(server: int, port: int) -> int:
    """Wait for the end of a server, or stop it when it answers."""
    for _ in range(20 * TIMEOUT):
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if answers(port):
            break
        time.sleep(0.05)  # nothing says when it listens
    os.kill(server, signal.SIGTERM)
    os.waitpid(server, 0)
    return 0


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    child = os.fork()
    if child:
        sys.exit(wait_for(child, number))
    sys.argv = ["uvicorn", *sys.argv[1:], "--port", str(number)]  # the last --port counts
    sys.path[0] = ""
    runpy.run_module("uvicorn", run_name="__main__")
