"""Threads and forks while the keys change: each operation sees the keys of one set, and no change is missed."""

from __future__ import annotations

import gc
import itertools
import os
import secrets
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import pytest
from conftest import TIMEOUT
from processes import ended, fork, needs_fork
from publications import Set, promoted
from running_service import Service, slots, slots_of, until
from test_refresh import begin

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings
from robodj_secretguard.errors import RevokedKeyError

DERIVED = b"config v1"
MOST_GROWTH = 1.05


class Database(SecretSettings):
    """A user and its password, which belong together."""

    db_user: Annotated[Secret, SecretPolicy(material=Material.opaque(), group="db")]
    db_password: Annotated[Secret, SecretPolicy(material=Material.opaque(), group="db")]


def generation(number: int) -> Set:
    """Make a user and its password, which begin with the number of their set."""
    return {
        "DB_USER": f"{number:06}-{secrets.token_hex(6)}",
        "DB_PASSWORD": f"{number:06}-{secrets.token_hex(12)}",
        "ROBODJ_ENVIRONMENT": "test",
    }


def resident() -> int:
    """Return the resident memory of this process, in KiB."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    """A process with a current and a next key."""
    return Service(tmp_path / "keys", capsys)


@pytest.mark.parametrize("switches", [20, pytest.param(1000, marks=pytest.mark.full)])
def test_threads_see_one_set(service: Service, switches: int) -> None:
    """While the keys change, threads that sign and verify see the keys of one set, and every token is valid."""
    versions = [service.files, promoted(service.files)]
    known = [slots_of(each) for each in versions]
    views, stopped, wrong = (service.secret, service.secret.derive(DERIVED)), threading.Event(), list[object]()

    def use() -> None:
        try:
            while not stopped.is_set():
                for secret in views:
                    token = secret.current.value.get_secret_value()
                    if slots(secret) not in known or secret.verify(token) is None:
                        wrong.append(slots(secret))
        except Exception as error:  # noqa: BLE001 - whatever it is
            wrong.append(error)

    threads = [threading.Thread(target=use) for _ in range(16)]
    for each in threads:
        each.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # otherwise a read waits long for the threads, and they meet it less often
    try:
        for number in range(switches):
            service.use(versions[number % 2 - 1])
    finally:
        sys.setswitchinterval(interval)
        stopped.set()
        for each in threads:
            each.join(TIMEOUT)
    assert [each for each in threads if each.is_alive()] == wrong == []
    assert service.kinds == ["switched"] * switches


@pytest.mark.parametrize("switches", [20, pytest.param(1000, marks=pytest.mark.full)])
def test_pairs_of_one_moment(tmp_path: Path, capsys: pytest.CaptureFixture[str], switches: int) -> None:
    """Two secrets that are read through `at_once` are of one set. No function misses the last change.

    The memory at the end is at most 5 % above that after the first tenth of the switches.
    """
    service = Service(tmp_path / "keys", capsys, generation(0), Database, {"ROBODJ_ENVIRONMENT": "test"})
    made = service.secrets
    assert isinstance(made, Database)
    seen, stopped = dict[int, str](), threading.Event()
    mixed, pairs = itertools.count(), itertools.count()

    def note(number: int, secret: Secret) -> None:
        seen[number] = secret.get_secret_value()[:6]

    for number in range(16):
        made.db_user.on_change(partial(note, number))

    def use() -> None:
        while not stopped.is_set():
            with made.at_once() as now:
                if now.db_user.get_secret_value()[:6] != now.db_password.get_secret_value()[:6]:
                    next(mixed)
            next(pairs)

    threads = [threading.Thread(target=use) for _ in range(16)]
    for each in threads:
        each.start()
    after_some = 0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(1, switches + 1):
            service.use(generation(number))
            service.events.clear()
            after_some = resident() if number == switches // 10 else after_some
    finally:
        sys.setswitchinterval(interval)
        stopped.set()
        for each in threads:
            each.join(TIMEOUT)
    until(lambda: seen == dict.fromkeys(range(16), f"{switches:06}"))
    growth = resident() / after_some
    print(f"{switches} switches, {next(pairs)} pairs, memory {growth:.3f}")  # noqa: T201 - its figures
    assert ([each for each in threads if each.is_alive()], next(mixed)) == ([], 0)
    assert growth <= MOST_GROWTH or switches < 1000


@needs_fork
@pytest.mark.parametrize("forks", [20, pytest.param(1000, marks=pytest.mark.full)])
def test_a_fork_has_one_set(service: Service, forks: int) -> None:
    """A child that is forked during a switch has one set, misses no change, and reads again by itself."""
    versions = [service.files, promoted(service.files)]
    known, stopped = [slots_of(each) for each in versions], threading.Event()
    told = list[str]()
    service.secret.on_change(lambda secret: told.append(secret.current.kid))

    def switch() -> None:
        for number in itertools.count():
            service.read(versions[number % 2 - 1])
            if stopped.is_set():
                break

    switcher = threading.Thread(target=switch)
    switcher.start()
    begin(service, 900)
    statuses = []
    try:
        for _ in range(forks):
            child = fork()
            if not child:
                status = 1
                with suppress(AssertionError, RevokedKeyError):
                    assert slots(service.secret) in known
                    until(lambda: not told or told[-1] == service.secret.current.kid)
                    service.secrets.refresh()
                    assert slots(service.secret) in known
                    until(lambda: told[-1:] == [service.secret.current.kid])
                    status = 0
                os._exit(status)
            statuses.append(ended(child))
    finally:
        stopped.set()
        switcher.join()
    assert statuses == [0] * forks
