"""The example service as a server: it starts, answers, follows a rotation, and refuses to start."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, document_of, free_port, good_keys, run
from detector import leaks
from example_service import FILES, FILES_ON, copy_service, copy_templates, revoke
from rings import PREVIOUS, UNTIL, derived

from robodj_secretguard.fleet.evidence import EventReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the service's repository."""
    return copy_service(tmp_path / "service")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory that is not the repository's root."""
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


@dataclass(frozen=True)
class Answer:
    """A response of the server."""

    status: int
    body: str


@dataclass(frozen=True)
class Server:
    """The app under uvicorn in a separate process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str, authorization: bytes | None = None, method: str = "GET") -> Answer:
        """Request a path on a new connection."""
        headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())

    def is_open(self) -> bool:
        """Check whether something listens on the port."""
        with socket.socket() as client:
            connected = client.connect_ex(("127.0.0.1", self.port)) == 0
            return connected and client.getsockname()[1] != self.port  # a free port can be connected to itself

    def wait_until(self, *, opened: bool) -> None:
        """Wait until the port is open or the process has ended, and assert which of them it is."""
        deadline = time.monotonic() + TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.is_open():
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        assert (self.is_open(), self.process.poll() is None) == (opened, opened), self.text()

    def text(self) -> str:
        """Return the server's output."""
        return self.log.read_text(encoding="utf-8")


@contextlib.contextmanager
def serve(repository: Path, env: Mapping[str, str], cwd: Path | None = None) -> Iterator[Server]:
    """Run `uvicorn app.main:app` from the repository's root or another working directory, and stop it."""
    port = free_port()
    log = repository.parent / "log"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--app-dir", str(repository)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=dict(env), cwd=cwd or repository, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Server(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT)
        finally:
            process.kill()
            process.wait()


def token(key: str) -> bytes:
    """Return the status token."""
    return derived(key, b"robodj status token v1").encode()


class TestService:
    """`uvicorn app.main:app`."""

    def test_event_and_metrics_name_its_keys(self, clean_env: dict[str, str], repository: Path) -> None:
        """Its start is in the events file. Its metrics are on a port of their own, not on that of the service."""
        keys, events, port = good_keys(), repository.parent / "events.jsonl", free_port()
        env = clean_env | keys | {"ROBODJ_SECRET_EVENTS": str(events), "METRICS_PORT": str(port)}
        with serve(repository, env) as server:
            server.wait_until(opened=True)
            metrics = Server(server.process, port, server.log).ask("/metrics").body
            assert server.ask("/metrics").status == 404
            with events.open("rb") as file:
                reader = EventReader(datetime.now(UTC), 900)
                reader.read(file)
        (started,) = reader.evidence().uses
        assert json.loads(events.read_text(encoding="ascii").splitlines()[-1])["secret_event"] == "ended"  # noqa: S105 - no password
        fingerprints = {fingerprint_of(key) for key in keys.values()}
        assert {slots.current for slots in started.keys.values()} == fingerprints
        assert {*re.findall("sgfp1:[0-9a-f]+", metrics)} == fingerprints
        assert leaks(metrics + events.read_text(encoding="ascii"), [*keys.values()]) == []

    def test_service_with_good_keys_is_ready_and_shows_none(self, clean_env: dict[str, str], repository: Path) -> None:
        """The service is ready. `/status` shows no key, and is 401 without the token."""
        keys = good_keys()
        good = token(keys[V1])
        with serve(repository, clean_env | keys | {"ROBODJ_PROTECTED_ENV": "true"}) as server:
            server.wait_until(opened=True)
            assert server.ask("/ready") == Answer(200, "following")
            refused = [
                server.ask("/status"),
                *(
                    server.ask("/status", header)
                    for header in (
                        b"Bearer ",
                        good,
                        b"Basic " + good,
                        b"Bearer " + good[:-1],
                        b"Bearer " + token(secrets.token_urlsafe(32)),
                        b"Bearer " + keys[V1].encode(),
                        b"Bearer " + good[:-1] + b"\xe9",
                    )
                ),
            ]
            assert set(refused) == {Answer(401, '{"detail":"Unauthorized"}')}
            status = server.ask("/status", b"Bearer " + good)
            written = server.text()
        assert status.status == 200
        report = document_of(status.body)
        assert (report["ok"], report["require_env_only"], report["findings"]) == (True, True, [])
        assert [each["state"] for each in report["secrets"]] == ["present", "present"]
        assert leaks(status.body + written, list(keys.values())) == []

    @pytest.mark.full
    def test_token_from_before_a_promotion_is_accepted(self, clean_env: dict[str, str], repository: Path) -> None:
        """Tokens from before a promotion are accepted after it, and the page shows the keys. An operator logs in."""
        keys, new = good_keys(), good_keys()[V1]
        old, until = keys[V1], datetime.now(UTC).replace(microsecond=0) + timedelta(days=14)
        operator = b"Bearer " + token(old)
        with serve(repository, clean_env | keys) as server:
            server.wait_until(opened=True)
            access = json.loads(server.ask("/login?name=dj", operator, "POST").body)["access_token"]
            user = f"Bearer {access}".encode()
            assert server.ask("/login?name=dj", user, "POST").status == 401
            assert server.ask("/me", operator).status == 401
        promoted = {V1: new, PREVIOUS: old, UNTIL: until.isoformat()}
        with serve(repository, clean_env | keys | promoted) as server:
            server.wait_until(opened=True)
            assert server.ask("/me", user) == Answer(200, '{"user":"dj"}')
            page = json.loads(server.ask("/keys", operator).body)["secret.key"]
        current, previous = (fingerprint_of(key).removeprefix("sgfp1:") for key in (new, old))
        assert page["signs"] == current
        assert page["verify"] == [{"role": "current", "kid": current}, {"role": "previous", "kid": previous}]
        assert datetime.fromisoformat(page["previous_until"]) == until

    @pytest.mark.full
    def test_service_stays_ready_when_its_secrets_become_bad(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path
    ) -> None:
        """If the secrets become bad after the start, the status reports it, and the service stays ready."""
        keys = good_keys()
        copy_templates(repository, keys)
        with serve(repository, clean_env | FILES_ON, elsewhere) as server:
            server.wait_until(opened=True)
            for name in FILES.values():
                (repository / "config" / name).unlink()
            assert server.ask("/ready") == Answer(200, "following")
            report = document_of(server.ask("/status", b"bearer " + token(keys[V1])).body)
            written = server.text()
        assert [each["check"] for each in report["findings"]] == ["missing", "missing"]
        assert written.count("file-fallback") == 2
        assert leaks(written, list(keys.values())) == []

    @pytest.mark.parametrize("bad", ["format", pytest.param("revoked", marks=pytest.mark.full)])
    def test_refused_service_never_opens_its_port(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path, bad: str
    ) -> None:
        """With a bad key, or one on the service's list, it ends with status 3 and never opens its port."""
        keys = good_keys()
        if bad == "revoked":
            revoke(repository, keys[V1])
        environ = keys | ({V1: keys[V1][:20]} if bad == "format" else {})
        with serve(repository, clean_env | environ, elsewhere) as server:
            server.wait_until(opened=False)
            status, written = server.process.returncode, server.text()
        alerts = [line.split()[:3] for line in written.splitlines() if re.match("ALERT: secret", line)]
        assert (status, alerts) == (3, [["ALERT:", "secret.key:", f"{bad}:"]])
        assert leaks(written, list(keys.values())) == []

    def test_operator_computes_the_token(self, clean_env: dict[str, str], repository: Path) -> None:
        """The README's command prints the token."""
        readme = (repository / "README.md").read_text(encoding="utf-8")
        (program,) = re.findall(r'^python -c "(from app.*)"$', readme, re.MULTILINE)
        keys = good_keys()
        ran = run(["-c", program], env=clean_env | keys, cwd=repository)
        assert ran.out.strip().encode() == token(keys[V1])
