"""Forks and threads during switches: each child has one set and misses no change, and pairs are of one moment."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from conftest import TIMEOUT, run
from live_switches import Generations, generation, number_of
from processes import fork, host_env, needs_fork
from publications import Set, first, promoted, staged
from rings import TESTS
from running_service import Service, slots, slots_of, until

from robodj_secretguard.errors import RevokedKeyError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [needs_fork, pytest.mark.full]

FORKS: Final = 1000
SWITCHES: Final = 1000
MOST_SECONDS: Final = 10
MOST_GROWTH: Final = 1.05


def ended_within(child: int, seconds: float) -> int:
    """Return the status of a child; that of SIGKILL where it did not end in time."""
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Switching:
    """Threads that publish sets in turn, and read them, until the end.

    Attributes:
        number: how many switches there were.
    """

    def __init__(self, service: Service, make: Callable[[int], Set], readers: int) -> None:
        self._service, self._make = service, make
        self.number = 0
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._publish)]
        self._threads += [threading.Thread(target=self._read) for _ in range(readers)]

    def _publish(self) -> None:
        while not self._stopped.is_set():
            self.number += 1
            self._service.read(self._make(self.number))

    def _read(self) -> None:
        while not self._stopped.is_set():
            self._service.secrets.refresh()

    def __enter__(self) -> None:
        for each in self._threads:
            each.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for each in self._threads:
            each.join(TIMEOUT)
        assert not any(each.is_alive() for each in self._threads)


def test_forks_during_switches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A child that is forked in the middle of a switch has one complete set, and is told of the last change."""
    files = staged(first())
    versions = [files, promoted(files)]
    known = [slots_of(each) for each in versions]
    service = Service(tmp_path / "keys", capsys, generation(files, 0), Generations)
    made, told = service.secrets, dict[str, str]()
    assert isinstance(made, Generations)
    derived = made.secret_key.derive(b"live v1")
    made.db_user.on_change(lambda secret: told.update(user=number_of(secret)))
    made.secret_key.on_change(lambda secret: told.update(key=secret.current.kid))
    derived.on_change(lambda secret: told.update(derived=secret.current.kid))

    def is_one_set() -> bool:
        with made.at_once() as now:
            number = int(number_of(now.db_user))
            is_pair = number_of(now.db_user) == number_of(now.db_password)
            return is_pair and slots(now.secret_key) == known[number % 2] and slots(derived) in known

    def is_told() -> bool:
        return told.get("user", "000000") == number_of(made.db_user) and {
            told.get("key", made.secret_key.current.kid),
            told.get("derived", made.secret_key.current.kid),
        } == {made.secret_key.current.kid}

    def child() -> int:
        """Return what is wrong in a child."""
        try:
            if not is_one_set():
                return 10
            until(is_told)
            made.refresh()
            if not is_one_set():
                return 11
            until(is_told)
        except RevokedKeyError:
            return 12
        except AssertionError:
            return 13
        return 0

    statuses = Counter[int]()
    with Switching(service, lambda number: generation(versions[number % 2], number), 3):
        for _ in range(FORKS):
            process = fork()
            if not process:
                status = 1
                try:
                    status = child()
                finally:
                    os._exit(status)
            statuses[ended_within(process, MOST_SECONDS)] += 1
        until(lambda: int(number_of(made.db_user)) >= 10)
    print(f"{sum(statuses.values())} forks, {number_of(made.db_user)} switches; statuses {dict(statuses)}")  # noqa: T201
    assert statuses == {0: FORKS}


def test_switches_under_threads(tmp_path: Path) -> None:
    """Pairs of `at_once` are of one set, every function gets the last set, and the memory stays as it is.

    A process of its own does it: the tests' fixtures keep each thread.
    """
    environ = host_env({"ROBODJ_SECRETS_DIR": str(tmp_path / "keys")}, PYTHONPATH=TESTS)
    command = [str(Path(__file__).with_name("live_switches.py")), str(SWITCHES)]
    ran = run(command, env=environ, cwd=tmp_path, fresh=True, timeout=900)
    print(ran.out)  # noqa: T201 - its figures
    assert (ran.status, ran.err) == (0, "")
    figures = json.loads(ran.out.splitlines()[-1])
    none = ("mixtures", "threads that hang", "functions that missed the last set")
    assert [figures[each] for each in none] == [0, 0, 0]
    assert figures["errors"] == []
    assert figures["growth"] <= MOST_GROWTH
