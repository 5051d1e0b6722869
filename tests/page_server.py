"""A server in a page, in place of its program: start it on a free port, stop it when it answers, and return 0.

A server that ends before it answers passes its status on.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys

TIMEOUT = 60


def answers(port: int) -> bool:
    """Return whether there is an HTTP response, of any status."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        try:
            connection.request("GET", "/")
            return connection.getresponse().status > 0
        except (OSError, http.client.HTTPException):
            return False


def main(program: str, *arguments: str) -> int:
    """Run the server until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    real = os.path.join(os.path.dirname(sys.executable), program)
    with subprocess.Popen([real, *arguments, "--port", str(port)]) as process:  # the last --port counts
        for _ in range(20 * TIMEOUT):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.05)
            if answers(port):
                process.terminate()
                return 0
        process.kill()
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
