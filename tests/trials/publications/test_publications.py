"""Bad publications: whatever is published, no request fails, the good set stays, and the next good one is used.

A real service has two worker processes. Clients sign and verify all the time, with tokens of every age that is valid.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, clean_environment, free_port, posix_only
from detector import leaks
from publications import (
    BAD,
    NEXT,
    PREVIOUS,
    REVOKED,
    UNTIL,
    first,
    linked,
    moved,
    promoted,
    renamed,
    replaced,
    retired,
    staged,
    text_of,
    volume,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from publications import Files, Set

pytestmark = [posix_only, pytest.mark.full]

WORKERS = 2
CLIENTS = 4
MOST_CHARACTERS = 100
"""Longer text is no key of this service."""
PERIOD = 2
"""The seconds between two reads. A directory that is not replaced as a whole must be unchanged for one second."""


def written(path: Path, files: Files, pause: float = 0.0) -> None:
    """Write each file in its place, in two parts, as a script does. Remove the others.

    Args:
        path: the directory.
        files: the files.
        pause: the time, in seconds, after each truncation and each part.
    """
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        with (path / name).open("wb", buffering=0) as file:
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                time.sleep(pause)
                file.write(part)
        (path / name).chmod(0o600)
    for other in {*os.listdir(path)} - {*files}:
        (path / other).unlink()


ENGINES = {each.__name__: each for each in (volume, linked, moved, renamed, written)}


@dataclass
class Service:
    """A running service, and the directory from which it gets its keys."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    output: Path
    keys: list[str] = field(default_factory=list)
    failures: list[tuple[Any, ...]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, list[Any]] = field(default_factory=dict)
    """Tokens by the id of their key. A client presents each one that is here."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    def ask(self, path: str, token: object = None) -> tuple[int, Any]:
        """Return the status and the content of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"X-Token": json.dumps(token), "Connection": "close"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def use(self) -> None:
        """Sign and verify until the end, and keep all that fails."""
        while not self.stopped.wait(0.01):
            try:
                if random.random() < 0.3:  # noqa: S311 - not a key
                    status, tokens = self.ask("/sign")
                    with self.lock:
                        for kid, signature in tokens:
                            self.tokens.setdefault(kid, []).append([kid, signature])
                else:
                    with self.lock:  # so that no token is taken away before its answer
                        known = [kept for each in self.tokens.values() for kept in each[-20:]]
                        status, tokens = self.ask("/verify", random.choice(known)) if known else (200, None)  # noqa: S311
                self.answers[f"{status}"] += 1
                if status != 200:
                    self.failures.append((time.monotonic(), status, tokens))
            except Exception as error:  # noqa: BLE001 - whatever it is, the request failed
                self.failures.append((time.monotonic(), repr(error)))

    def states(self) -> dict[int, dict[str, Any]]:
        """Return the state of each worker process."""
        states = dict[int, dict[str, Any]]()
        until = time.monotonic() + TIMEOUT
        while len(states) < WORKERS:
            assert time.monotonic() < until, states
            _, state = self.ask("/state")
            states[state["process"]] = state
        return states

    def slots(self) -> list[dict[str, str]]:
        """Return the key ids of each worker process, by their roles."""
        return [each["slots"] for each in self.states().values()]

    def publish(self, engine: Callable[[Path, Files], None], files: Set) -> Set:
        """Publish a set."""
        values = [value for name, value in files.items() if name in (V1, NEXT, PREVIOUS)]
        self.keys += [value for value in values if isinstance(value, str) and len(value) < MOST_CHARACTERS]
        engine(self.directory, files)
        return files

    def forget(self, *kids: str) -> None:
        """Present no token of these keys any more."""
        with self.lock:
            for kid in kids:
                self.tokens.pop(kid, None)

    def until_used(self, files: Files, seconds: float) -> float:
        """Wait until each worker uses a set, and return after how many seconds."""
        began = time.monotonic()
        while any(each != slots_of(files) for each in self.slots()):
            assert time.monotonic() - began < seconds, (self.slots(), slots_of(files), self.text[-3000:])
            time.sleep(0.02)
        return time.monotonic() - began

    @property
    def text(self) -> str:
        """All output."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def alerts(self) -> Counter[str]:
        """Count the first lines of the alerts."""
        return Counter(re.findall(r"^ALERT: (?!robodj-secretguard )(.*)", self.text, re.MULTILINE))

    def until_refused(self, check: str) -> None:
        """Wait until each worker has read the bad set."""
        until = time.monotonic() + TIMEOUT
        while any(check not in each["alerts"] for each in self.states().values()):
            assert time.monotonic() < until, (check, self.states(), self.text[-3000:])
            time.sleep(0.05)


def slots_of(files: Files) -> dict[str, str]:
    """Return the key ids of a set, by their roles."""
    names = {"current": V1, "next": NEXT, "previous": PREVIOUS}
    return {
        role: fingerprint_of(text_of(files, name)).removeprefix("sgfp1:")
        for role, name in names.items()
        if name in files
    }


@contextlib.contextmanager
def serving(
    tmp_path: Path, engine: Callable[[Path, Files], None], files: Files, period: int = PERIOD
) -> Iterator[Service]:
    """Run a service on a directory, under requests, and assert at its end that nothing failed and no key was shown."""
    directory, output, port = tmp_path / "keys", tmp_path / "output", free_port()
    engine(directory, files)
    time.sleep(1.1)  # otherwise each worker waits at its start until the files have settled
    environ = clean_environment() | {"ROBODJ_SECRETS_DIR": str(directory), "ROBODJ_SECRETS_REFRESH": str(period)}
    command = [sys.executable, "-m", "gunicorn", "signing_service:app", "--bind", f"127.0.0.1:{port}", "--chdir"]
    command += [str(Path(__file__).parent), "--workers", str(WORKERS), "--log-level", "warning"]
    with output.open("wb") as out:
        process = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=out, stderr=out)
    service = Service(directory, port, process, output)
    service.keys += [text_of(files, V1), text_of(files, V2)]
    try:
        until = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                service.ask("/state")
                break
            assert time.monotonic() < until, service.text
            time.sleep(0.1)
        masters = process.pid, sorted(service.states())
        clients = [threading.Thread(target=service.use) for _ in range(CLIENTS)]
        for each in clients:
            each.start()
        try:
            yield service
        finally:
            service.stopped.set()
            for each in clients:
                each.join()
        assert (process.pid, sorted(service.states())) == masters
        assert service.failures == []
        assert leaks(service.text, service.keys) == []
        print(f"{sum(service.answers.values())} requests, none failed; {sum(service.alerts().values())} alerts")  # noqa: T201 - its figures
    finally:
        process.terminate()
        process.wait(TIMEOUT)


@pytest.mark.parametrize("name", ["volume", "renamed", "written"])
def test_bad_sets(tmp_path: Path, name: str) -> None:
    """A bad set changes nothing, and each of its alerts is written once. The good set that follows is used."""
    engine, files = ENGINES[name], first()
    slowest = 0.0
    with serving(tmp_path, engine, files) as service:
        service.until_used(files, TIMEOUT)
        for number, (bad, (change, check)) in enumerate(BAD.items()):
            before, slots = service.alerts(), slots_of(files)
            service.publish(engine, change(files))
            service.until_refused(check)
            time.sleep(2 * PERIOD)
            assert service.slots() == [slots] * WORKERS, bad
            new = service.alerts() - before
            assert {*new.values()} <= {WORKERS}, (bad, new)
            assert any(f"{check}: " in line for line in service.alerts()), bad
            files = service.publish(engine, (staged, promoted, retired)[number % 3](files))
            if "previous" in slots and "previous" not in slots_of(files):
                service.forget(slots["previous"])
            slowest = max(slowest, service.until_used(files, 2 * PERIOD + 1))
        print(f"{name}: {number + 1} bad sets; the slowest good one was used after {slowest:.2f} s")  # noqa: T201


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    """A set that is written slowly, file by file, is used as a whole, and nothing is said of its parts."""
    files = first()
    with serving(tmp_path, written, files) as service:
        before = service.alerts()
        for step in (staged, promoted, retired) * 3:
            slots = slots_of(files)
            files = service.publish(lambda path, content: written(path, content, 0.3), step(files))
            if "previous" in slots and "previous" not in slots_of(files):
                service.forget(slots["previous"])
            service.until_used(files, 2 * PERIOD + 1)
        assert service.alerts() == before


def test_a_volume_that_is_swapped_all_the_time(tmp_path: Path) -> None:
    """While the link of a volume is replaced every few milliseconds, each process has the keys of one version."""
    files = staged(first())
    versions = [files, promoted(files)]
    known = [slots_of(each) for each in versions]
    with serving(tmp_path, volume, files) as service:
        stopped = threading.Event()

        def swap() -> None:
            while not stopped.wait(0.002):
                for each in versions:
                    volume(service.directory, each)

        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            until, seen = time.monotonic() + 15 * PERIOD, list[dict[str, str]]()
            while time.monotonic() < until:
                seen += service.slots()
        finally:
            stopped.set()
            swapper.join()
        assert [each for each in seen if each not in known] == []
        assert {*map(str, seen)} == {*map(str, known)}
        service.publish(volume, versions[1])
        service.until_used(versions[1], 2 * PERIOD + 1)


@pytest.mark.parametrize("name", ["volume", "renamed"])
@pytest.mark.parametrize("other", ["staging", "placeholder", "one file of two"])
def test_an_oscillation(tmp_path: Path, name: str, other: str) -> None:
    """A set that alternates with a bad one each second stays in use, and each alert is written once."""
    engine, files = ENGINES[name], first()
    bad, check = BAD[other][0](files), BAD[other][1]
    with serving(tmp_path, engine, files, period=1) as service:  # with 2, ten reads in a row could find the same set
        before, slots = service.alerts(), slots_of(files)
        for _ in range(15):
            service.publish(engine, bad)
            time.sleep(1)
            service.publish(engine, files)
            time.sleep(1)
            assert service.slots() == [slots] * WORKERS
        new = service.alerts() - before
        if name == "volume":  # otherwise a process may meet it unchanged for a second only sometimes, or never
            assert new
            assert all(f"{check}: " in line for line in new)
        assert {*new.values()} <= ({WORKERS} if name == "volume" else {*range(WORKERS + 1)}), new
        files = service.publish(engine, staged(files))
        service.until_used(files, 2 * PERIOD + 1)


def test_revoked_keys(tmp_path: Path) -> None:
    """A revoked previous key is rejected within two periods, also by a set that is refused; so is a replaced key."""
    files = staged(first())
    with serving(tmp_path, volume, files) as service:
        service.until_used(files, TIMEOUT)
        _, tokens = service.ask("/sign")
        files = service.publish(volume, promoted(files))
        service.until_used(files, 2 * PERIOD + 1)
        tokens += service.ask("/sign")[1]
        assert {service.ask("/verify", token)[0] for token in tokens} == {200}
        slots = slots_of(files)
        service.forget(slots["previous"])
        service.publish(volume, {**files, REVOKED: f"sgfp1:{slots['previous']}", V2: "changeme"})
        began = time.monotonic()
        while any("previous" in each for each in service.slots()):
            assert time.monotonic() - began < 2 * PERIOD + 1
        assert service.slots() == [{"current": slots["current"]}] * WORKERS
        service.stopped.set()  # a slower process does not know the new key
        files = service.publish(volume, replaced(without(files, PREVIOUS, UNTIL)))
        service.until_used(files, 2 * PERIOD + 1)
        assert {service.ask("/verify", token)[0] for token in tokens for _ in range(4 * WORKERS)} == {401}
        assert service.ask("/sign")[0] == 200
