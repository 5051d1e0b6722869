"""A TCP proxy on the loopback interface, as bad as a network can be."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACE = 0.05
"""The seconds between two single bytes."""


@dataclass
class Proxy:
    """Passes on what a client and a server say, and spoils the server's answers.

    Attributes:
        server: the port of the server.
        delay: how many seconds each of the server's answers is late.
        cut: after how many bytes of the server the connection ends.
        dribble: after how many bytes of the server only single bytes pass, at the pace of `PACE`.
        passed: how many bytes the server sent through each connection that has ended.
    """

    server: int
    delay: float = 0
    cut: int | None = None
    dribble: int | None = None
    passed: list[int] = field(default_factory=list)
    port: int = 0
    _is_stopped: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """Listen on a free port, until the end."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self._run(self._accept, listener)
            try:
                yield self
            finally:
                self._is_stopped.set()
                for each in (listener, *self._sockets):
                    _end(each)
                for thread in self._threads:
                    thread.join()
                for each in self._sockets:
                    each.close()

    def _run(self, *target: object) -> None:
        action, *arguments = target
        assert callable(action)
        thread = threading.Thread(target=action, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._is_stopped.is_set():
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.server))
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += client, server
                self._run(self._ask, client, server)
                self._run(self._answer, server, client)

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := client.recv(1 << 16):
                server.sendall(chunk)
        _end(server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while (self.cut is None or count < self.cut) and (chunk := server.recv(self._most(count))):
                self._is_stopped.wait(self._late(count))
                client.sendall(chunk)
                count += len(chunk)
        self.passed.append(count)
        for each in (client, server):
            _end(each)

    def _most(self, count: int) -> int:
        """Return how many bytes may pass at once."""
        if self.dribble is not None and count >= self.dribble:
            return 1
        return min(1 << 16, *(limit - count for limit in (self.cut, self.dribble) if limit is not None), 1 << 16)

    def _late(self, count: int) -> float:
        return PACE if self.dribble is not None and count >= self.dribble else self.delay


def _end(connection: socket.socket) -> None:
    """End a connection in both directions, also for a thread that waits for it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
