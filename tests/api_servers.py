"""HTTPS servers for tests, which accept some keys, and a service that sends a key of a directory."""

from __future__ import annotations

import ipaddress
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import unquote

import pytest
from conftest import put
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from publications import volume

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings, guard
from robodj_secretguard.running.login import Login, login_of

API_KEY: Final = "API_KEY"
HEADER: Final = "X-Api-Key"


class Service(SecretSettings, refresh=timedelta(seconds=900)):
    """A service with a key that others issue."""

    api_key: Annotated[Secret, SecretPolicy(material=Material.opaque(), overlap=timedelta(days=1))]


class Client:
    """A service that has a key, which a test delivers."""

    def __init__(self, path: Path, monkeypatch: Any) -> None:
        self._path = path
        self.key = secrets.token_hex(16)
        self.keys = [self.key]
        monkeypatch.setenv("ROBODJ_SECRETS_DIR", str(path))
        volume(path, {API_KEY: self.key})
        self._secrets = guard(Service)

    @property
    def secret(self) -> Secret:
        return self._secrets.api_key

    @property
    def login(self) -> Login:
        return login_of(self.secret)

    def rotate(self, *, has_previous: bool = True, is_read: bool = True) -> str:
        """Deliver a new key, and return it."""
        previous, self.key = self.key, secrets.token_hex(16)
        self.keys.append(self.key)
        files: dict[str, str | bytes] = {API_KEY: self.key}
        if has_previous:
            until = datetime.now(UTC) + timedelta(hours=1)
            files |= {f"{API_KEY}_PREVIOUS": previous, f"{API_KEY}_PREVIOUS_UNTIL": until.isoformat()}
        volume(self._path, files)
        if is_read:
            assert self._secrets.refresh().ok
        return self.key

    def let_period_pass(self) -> None:
        """Use the key, and let that be more than a period ago."""
        self.login.accepted()
        self.login._since.began_at -= self.login.period + 1  # noqa: SLF001


@dataclass
class Asked:
    """A request that a server has had."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The key in it; empty for none."""
        return self.headers.get("authorization", "").removeprefix("Bearer ") or self.headers.get(HEADER.lower(), "")


class Server(ThreadingHTTPServer):
    """A server. `/to/URL` redirects; every other path wants an accepted key."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.asked: list[Asked] = []
        self.accepted: set[str] = set()
        self.origin = f"https://127.0.0.1:{self.server_port}"

    @property
    def sent(self) -> list[str]:
        """The keys of all requests."""
        return [each.key for each in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def answer(self) -> None:
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, self._body())
        self.server.asked.append(asked)
        _, _, target = self.path.partition("/to/")
        if target:
            self.send_response(307)
            self.send_header("Location", unquote(target))
        else:
            self.send_response(200 if asked.key in self.server.accepted else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer  # noqa: N815 - names of http.server

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@dataclass
class Servers:
    """The server that a key is for, and another one.

    Attributes:
        api: the server of the declared origin.
        other: another one.
        certificate: the file that clients verify both with.
    """

    api: Server
    other: Server
    certificate: Path

    def context(self) -> ssl.SSLContext:
        """Return what a client verifies the servers with."""
        return ssl.create_default_context(cafile=str(self.certificate))


@contextmanager
def running_servers(directory: Path) -> Iterator[Servers]:
    """Run both servers on free ports."""
    context, certificate = loopback_certificate(directory)
    with Server(context) as api, Server(context) as other:
        threads = [threading.Thread(target=each.serve_forever, args=(0.01,)) for each in (api, other)]
        for thread in threads:
            thread.start()
        yield Servers(api, other, certificate)
        for server, thread in zip((api, other), threads, strict=True):
            server.shutdown()
            thread.join()


def loopback_certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what a server on the loopback interface uses, and the file that clients verify it with."""
    certificate = put(directory / "certificate.pem", _certificate(put(directory / "key.pem")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, directory / "key.pem")
    return context, certificate


def _certificate(key_file: Path) -> bytes:
    """Write a new private key, and return a certificate of it for the loopback interface."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(pem)


def redirect(server: Server, target: str) -> str:
    """Return the URL of a server that redirects."""
    return f"{server.origin}/to/{target}"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The server that the key is for, and another one."""
    with running_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
def servers(both: Servers, service: Client) -> Servers:
    """The same, without requests. Each accepts the present key."""
    for each in (both.api, both.other):
        each.asked.clear()
        each.accepted = {service.key}
    return both


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A service that has a key."""
    return Client(tmp_path / "keys", monkeypatch)
