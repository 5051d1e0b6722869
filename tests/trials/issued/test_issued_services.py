"""A real service uses what others issue through the guard, with a real PostgreSQL, Redis and mail server.

Redis, the mail server and the clients are of the extra `hosts`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest
from conftest import TIMEOUT, clean_environment, free_port
from detector import leaks
from issued_servers import DATABASE, MAILER, USER, Issued, missing, serving
from issued_values import OPTIONAL, in_environment, in_fallback_files, in_secrets_directory, right_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),  # it is the loopback interface
]
HERE: Final = str(Path(__file__).parent)
GUNICORN: Final = ("gunicorn", "issued_service:app", "--worker-class", "uvicorn_worker.UvicornWorker")
SERVERS: Final = {
    "uvicorn": ("uvicorn", "issued_service:app", "--log-level", "warning", "--port"),
    "gunicorn": (*GUNICORN, "--log-level", "warning", "--bind"),
}
DELIVERIES: Final = {each.__name__: each for each in (in_environment, in_secrets_directory, in_fallback_files)}
EXEC: Final = ("robodj_secretguard", "exec", "--model", "issued_model:ServiceSecrets", "--from", "json:-", "--")


@pytest.fixture(scope="module")
def issued() -> Iterator[Issued]:
    """All servers. Where the session `hosts` runs, only PostgreSQL may be missing."""
    absent = missing()
    if absent not in ([], ["PostgreSQL"]) and os.environ.get("SECRETGUARD_HOSTS_REQUIRED"):
        pytest.fail(f"not installed: {', '.join(absent)}")
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    with serving() as running:
        yield running


@contextlib.contextmanager
def service(
    server: str, environ: Mapping[str, str], cwd: Path, given: str | None = None
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the service, and yield its process and its port. With a text on stdin, run it behind `exec`."""
    port = free_port()
    module, *arguments = SERVERS[server]
    last = str(port) if arguments[-1] == "--port" else f"127.0.0.1:{port}"
    command = [sys.executable, "-m", module, *arguments, last]
    if given is not None:
        command = [sys.executable, "-m", *EXEC, *command]
    environ = {**clean_environment(), "PYTHONPATH": HERE, **environ}
    with (
        (cwd / "output").open("wb") as output,
        subprocess.Popen(
            command, env=environ, cwd=cwd, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True
        ) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(given or "")
        process.stdin.close()
        try:
            yield process, port
        finally:
            process.terminate()


def answer(port: int, cwd: Path) -> dict[str, Any]:
    """Ask the service to work, as soon as it listens."""
    for _ in range(TIMEOUT * 20):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/work", timeout=TIMEOUT) as found:
                result: dict[str, Any] = json.load(found)
                return result
        except urllib.error.HTTPError:
            break
        except OSError:
            threading.Event().wait(0.05)
    pytest.fail((cwd / "output").read_text())


def assert_worked(found: dict[str, Any], issued: Issued, values: Mapping[str, str]) -> None:
    """Assert that each client of the service did its work."""
    token, cache = found.pop("token"), found.pop("cache")
    assert jwt.decode(token, issued.signing.public_key(), ["RS256"]) == {"sub": "order-1"}
    assert cache >= 1
    signature = None
    if OPTIONAL in values:
        signature = hmac.new(values[OPTIONAL].encode(), b"order-1", hashlib.sha256).hexdigest()
    assert found == {
        "database": 7,
        "mail": "sent",
        "payments": 200,
        "storage": 200,
        "webhook": signature,
        "session": True,
    }
    assert "Your order" in issued.mails.pop()


class TestRightValues:
    """Where every value is right, each client works."""

    @pytest.mark.parametrize("delivery", DELIVERIES)
    @pytest.mark.parametrize("server", SERVERS)
    def test_delivered_to_the_service(self, server: str, delivery: str, issued: Issued, tmp_path: Path) -> None:
        """The service uses every secret from the environment, a secrets directory and fallback files."""
        values = right_values(issued)
        environ = {**DELIVERIES[delivery](values, tmp_path), "VENDOR": f"http://127.0.0.1:{issued.ports['vendor']}"}
        with service(server, environ, tmp_path) as (_, port):
            assert_worked(answer(port, tmp_path), issued, values)

    @pytest.mark.parametrize("server", SERVERS)
    def test_delivered_by_exec_without_the_optional_one(self, server: str, issued: Issued, tmp_path: Path) -> None:
        """The service uses every secret that `exec` reads as JSON on stdin, and runs without an optional one."""
        values = right_values(issued)
        del values[OPTIONAL]
        environ = {"VENDOR": f"http://127.0.0.1:{issued.ports['vendor']}"}
        with service(server, environ, tmp_path, json.dumps(values)) as (_, port):
            assert_worked(answer(port, tmp_path), issued, values)


@pytest.mark.parametrize("server", SERVERS)
def test_a_broken_value_ends_the_host(server: str, issued: Issued, tmp_path: Path) -> None:
    """The host ends with the status of a refusal, and its output has no part of a value."""
    values = right_values(issued)
    values["ORDERS_DATABASE_URL"] = values["ORDERS_DATABASE_URL"].replace(issued.database, USER)
    with service(server, values, tmp_path) as (process, _):
        assert process.wait(TIMEOUT) == 3
    output = (tmp_path / "output").read_text()
    assert "ORDERS_DATABASE_URL has the user's name as its password" in output
    assert leaks(output, [*values.values()]) == []
    assert not any(each in output for each in (USER, DATABASE, MAILER, "127.0.0.1"))
