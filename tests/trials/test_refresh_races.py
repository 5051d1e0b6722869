"""Threads and forks while the keys change: each operation sees the keys of one set."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT
from processes import ended, fork, needs_fork
from publications import promoted
from running_service import Service, slots, slots_of
from test_refresh import begin

DERIVED = b"config v1"

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    """A process with a current and a next key."""
    return Service(tmp_path / "keys", capsys)


@pytest.mark.parametrize("switches", [20, pytest.param(1000, marks=pytest.mark.full)])
def test_threads_see_one_set(service: Service, switches: int) -> None:
    """While the keys change, threads that sign and verify see the keys of one set, and every token is valid."""
    versions = [service.files, promoted(service.files)]
    known = [slots_of(each) for each in versions]
    rings, stopped, wrong = (service.secret, service.secret.derive(DERIVED)), threading.Event(), list[object]()

    def use() -> None:
        try:
            while not stopped.is_set():
                for ring in rings:
                    token = ring.current.value.get_secret_value()
                    if slots(ring) not in known or ring.verify(token) is None:
                        wrong.append(slots(ring))
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


@needs_fork
@pytest.mark.parametrize("forks", [20, pytest.param(1000, marks=pytest.mark.full)])
def test_a_fork_has_one_set(service: Service, forks: int) -> None:
    """A child that is forked during a switch has the keys of one set, and reads again by itself."""
    versions = [service.files, promoted(service.files)]
    known, stopped = [slots_of(each) for each in versions], threading.Event()

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
                are_known = slots(service.secret) in known
                service.secrets.refresh()
                os._exit(not (are_known and slots(service.secret) in known))
            statuses.append(ended(child))
    finally:
        stopped.set()
        switcher.join()
    assert statuses == [0] * forks
