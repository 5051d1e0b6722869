"""Serve forks: a program imports modules, calls `next_request`, and continues in a new process for each request.

This module imports little, so a process has imported only what its program has. As a program it sends one request,
in place of `python`: `python -ISE tests/fork_server.py SOCKET ARGUMENT...`.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def send(
    address: str, directory: str, environ: Mapping[str, str], what: object, streams: Sequence[int]
) -> socket.socket:
    """Send a request. The connection gets the exit status of its process.

    Args:
        address: the socket of a server.
        directory: the working directory of the process.
        environ: its whole environment.
        what: what `next_request` returns.
        streams: descriptors of its stdin, stdout and stderr.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = {"directory": directory, "environ": dict(environ), "what": what}
    socket.send_fds(connection, [b"\n"], streams)
    connection.sendall(json.dumps(request).encode())
    connection.shutdown(socket.SHUT_WR)
    return connection


def next_request() -> Any:
    """Return each request's `what` in a new process. The first process answers with the exit statuses.

    It ends with its stdin. The first argument of the program is the number of a listening socket.
    """
    waiting: dict[int, socket.socket] = {}
    listener = socket.socket(fileno=int(sys.argv[1]))
    ended, end = os.pipe()
    os.set_blocking(end, False)
    signal.set_wakeup_fd(end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.freeze()  # otherwise each process would collect all imported objects at its end
    while True:
        ready = select.select([0, listener.fileno(), ended], [], [])[0]
        if 0 in ready:
            os._exit(0)
        if ended in ready:
            os.read(ended, 4096)
            _answer(waiting)
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            _, streams, *_ = socket.recv_fds(connection, 1, 3)
            with connection.makefile("rb") as file:
                request = json.load(file)
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (listener, connection, *waiting.values()):
                    each.close()  # a test may count the descriptors
                os.close(ended)
                os.close(end)
                return _become(request, streams)
            waiting[child] = connection
            for number in streams:
                os.close(number)


def _answer(waiting: dict[int, socket.socket]) -> None:
    """Answer with the statuses of the children that have ended."""
    for child in [*waiting]:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with waiting.pop(child) as connection:
                connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, Any], streams: Sequence[int]) -> Any:
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environ"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return request["what"]


if __name__ == "__main__":
    with send(sys.argv[1], os.getcwd(), os.environ, sys.argv[2:], (0, 1, 2)) as answer:
        status = int(answer.recv(64) or 1)
    sys.exit(status if status >= 0 else 128 - status)
