"""The tasks of a scan in several processes: their order, their secrets, and a process that ends."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import pytest
from conftest import posix_only, put

from robodj_secretguard.errors import CheckFailedError, UnreadError
from robodj_secretguard.scan import scanner, workers
from robodj_secretguard.scan.result import Unread
from robodj_secretguard.scan.workers import do_tasks
from robodj_secretguard.secret.sealed import SealedStr

KEY = secrets.token_urlsafe(32)


def joined(number: int, worker: SealedStr) -> tuple[int, SealedStr, int]:
    """Return a secret of the worker and a number, and the process."""
    return number, SealedStr(f"{worker.get_secret_value()}{number}"), os.getpid()


def failed(how: Callable[[], object], _worker: object) -> None:
    """Fail in a worker."""
    how()


def ended() -> None:
    """End the process."""
    os._exit(0)


def interrupted() -> None:
    """Raise an error with a secret in its text."""
    raise ValueError(KEY)


class Unreadable:
    """A worker that cannot be unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("x",)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start workers for any scan, also on one core."""
    monkeypatch.setattr(workers, "ALONE_SECONDS", 0.0)
    monkeypatch.setattr(workers, "active_count", lambda: 1)  # pytest-xdist has a thread
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1}, raising=False)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("start", [workers.START, pytest.param("spawn", marks=pytest.mark.full)])
def test_workers_return_secrets_in_the_order_of_the_tasks(monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    """Other processes do the tasks, with secrets in both directions, and return in the order of the tasks."""
    monkeypatch.setattr(workers, "START", start)
    done = [*do_tasks(SealedStr(KEY), (partial(joined, number) for number in range(40)))]
    assert [(number, text.get_secret_value()) for number, text, _ in done] == [(n, f"{KEY}{n}") for n in range(40)]
    assert os.getpid() not in {process for *_, process in done}


def test_short_work_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that is done in a moment, as before each commit, starts no worker."""
    monkeypatch.setattr(workers, "ALONE_SECONDS", 600.0)
    done = [*do_tasks(SealedStr(KEY), [partial(joined, 1), partial(joined, 2)])]
    assert [process for *_, process in done] == [os.getpid()] * 2


@pytest.mark.usefixtures("at_once")
def test_a_worker_that_ends_is_an_error() -> None:
    """If a worker is killed, the scan fails: it is never clean."""
    for worker in (SealedStr(KEY), Unreadable()):
        with pytest.raises(UnreadError, match="was killed"):
            [*do_tasks(worker, [partial(failed, ended)] * 3)]


@posix_only
@pytest.mark.usefixtures("at_once")
def test_a_scan_with_a_killed_worker_is_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan says what was not searched and what to do, and is never clean."""
    here = os.getpid()
    monkeypatch.setattr(workers, "START", "fork")
    monkeypatch.setattr(scanner, "read_place", lambda *_: iter(()) if os.getpid() == here else ended())
    put(tmp_path / "file")
    found = scanner.scan(paths=[str(tmp_path)])
    why = "a process was killed, perhaps for lack of memory; scan fewer paths at once"
    assert (found.complete, Unread("search", why) in found.unread) == (False, True)


@pytest.mark.usefixtures("at_once")
def test_what_no_other_process_can_do_is_done_here() -> None:
    """Work is done in the process itself where it cannot be sent, or where none can be started."""
    assert [*do_tasks(lambda: 1, [lambda worker: (worker(), os.getpid())] * 2)] == [(1, os.getpid())] * 2


@pytest.mark.usefixtures("at_once")
def test_an_error_in_a_worker_has_no_text() -> None:
    """An error in a worker reaches the scan by the name of its type: its text could be a key."""
    with pytest.raises(CheckFailedError) as caught:
        [*do_tasks(SealedStr(KEY), [partial(failed, interrupted)])]
    assert (str(caught.value), KEY in repr(caught.getrepr())) == ("the check itself failed: ValueError", False)


@posix_only
@pytest.mark.usefixtures("at_once")
def test_a_worker_ends_with_the_scan() -> None:
    """A worker ends when the process that started it was killed."""
    read, write = os.pipe()
    scan = os.fork()
    if not scan:
        [*do_tasks(SealedStr(KEY), [partial(failed, partial(os.kill, os.getpid(), 9))])]
    os.close(write)
    os.waitpid(scan, 0)
    assert os.read(read, 1) == b""  # no process has the other end any more


@posix_only
@pytest.mark.usefixtures("at_once")
def test_a_scan_that_stops_ends_its_workers() -> None:
    """After Ctrl-C, no worker goes on with its task."""
    tasks: list[Callable[[SealedStr], object]] = [partial(joined, 0), *[partial(failed, signal.pause)] * 8]
    done = do_tasks(SealedStr(KEY), tasks)
    next(done)
    done.close()  # type: ignore[attr-defined]
    assert active_children() == []
