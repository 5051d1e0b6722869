"""A server of moto, which acts as AWS Secrets Manager, for tests."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from conftest import TIMEOUT, free_port
from openbao import LOOPBACK, Authority, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "eu-central-1"
LOGIN = {
    "AWS_ACCESS_KEY_ID": f"AKIA{secrets.token_hex(8).upper()}",
    "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
    "AWS_SESSION_TOKEN": secrets.token_urlsafe(60),
}
"""Credentials, which no output may have a part of. moto accepts any."""
_MOTO = "import sys; from moto.server import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class Moto:
    """A running server of moto, and what an administrator does with its secrets.

    Attributes:
        port: its port on 127.0.0.1.
        authority: the certificate authority of its certificate.
    """

    port: int
    authority: Path

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a service that may read everything."""
        address = {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{self.port}", "AWS_CA_BUNDLE": str(self.authority)}
        return {**address, "AWS_DEFAULT_REGION": REGION, **LOGIN}

    @property
    def client(self) -> Any:
        """An administrator's client."""
        url = f"https://127.0.0.1:{self.port}"
        login = {name.lower(): value for name, value in LOGIN.items()}
        return boto3.client("secretsmanager", REGION, endpoint_url=url, verify=str(self.authority), **login)

    def write(self, name: str, text: str | bytes) -> str:
        """Make a secret, and return its ARN."""
        what = {"SecretBinary" if isinstance(text, bytes) else "SecretString": text}
        arn: str = self.client.create_secret(Name=name, **what)["ARN"]
        return arn


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Moto]:
    """Start a server that has no secret, and stop it in the end."""
    authority = Authority(directory)
    certificate = directory / "server.pem"
    authority.issue(certificate, LOOPBACK)
    made = Moto(free_port(), authority.path)
    files = ("-c", str(certificate), "-k", str(certificate.with_suffix(".key")))
    arguments = ("-H", "127.0.0.1", "-p", str(made.port), *files)
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", _MOTO, *arguments], stdout=log, stderr=log)
        try:
            until(lambda: _is_listening(made.port) or process.poll() is not None)
            yield made
        finally:
            process.kill()
            process.wait(TIMEOUT)


def _is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
