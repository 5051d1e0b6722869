"""A proxy that stops at each boundary of a request: before the server has it, and before and after its answer."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPConnection, HTTPMessage

ASKED, ANSWERED, TOLD = "asked", "answered", "told"
"""The proxy has the request; it has the server's answer; the client has the answer."""


class Cut(Exception):  # noqa: N818 - it is what happens to the connection
    """The connection to the client ends here."""


class Boundaries(ThreadingHTTPServer):
    """Passes requests on to a server, one at a time, and calls a function at each boundary.

    Args:
        connect: makes a connection to the server.
        lock: held while the server has a request. moto needs it: its compare-and-set is not atomic.

    Attributes:
        at: the function. It gets the boundary, and the number of the request. It may raise `Cut`.
        count: how many requests there were.
    """

    def __init__(self, connect: Callable[[], HTTPConnection], lock: threading.Lock) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connect, self.lock = connect, lock
        self.at: Callable[[str, int], object] = lambda boundary, number: None  # noqa: ARG005
        self.count = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Boundaries]:
        """Serve until the end."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Boundaries
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.count += 1
        number = self.server.count
        self.close_connection = True
        with contextlib.suppress(Cut, ConnectionError):  # the client may be dead
            self.server.at(ASKED, number)
            with self.server.lock:
                status, headers, content = self._answer(body)
            self.server.at(ANSWERED, number)
            self.send_response_only(status)
            for name in ("Content-Type", "x-amzn-ErrorType"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
            self.server.at(TOLD, number)

    do_GET = do_POST = do_PUT = _pass  # noqa: N815 - the base class names them so

    def _answer(self, body: bytes) -> tuple[int, HTTPMessage, bytes]:
        connection = self.server.connect()
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def log_message(self, *_: object) -> None:
        """Write nothing."""
