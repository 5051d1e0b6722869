"""Threads that no host has to wait for."""

from __future__ import annotations

import threading
from queue import Queue

import pytest
from conftest import TIMEOUT, raising

from robodj_secretguard.running import threads
from robodj_secretguard.running.threads import do_aside, start


def test_a_thread_is_started() -> None:
    """A function runs in another thread."""
    idents = Queue[int]()
    assert start(lambda: idents.put(threading.get_ident()))
    assert idents.get(timeout=TIMEOUT) != threading.get_ident()


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, `start` says so, and the caller does the work itself."""
    monkeypatch.setattr("_thread.start_new_thread", raising(RuntimeError()))
    done = list[bool]()
    assert not start(print)
    assert do_aside(lambda: done.append(True))
    assert done == [True]


def test_a_host_that_runs_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a thread that was started does not run, the caller does the work after a short time."""
    monkeypatch.setattr("_thread.start_new_thread", lambda *_: 0)
    monkeypatch.setattr(threads, "WRITE_WAIT", 0.01)
    done = list[bool]()
    assert do_aside(lambda: done.append(True))
    assert done == [True]


def test_what_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller does not wait for what blocks, and it is done once."""
    monkeypatch.setattr(threads, "WRITE_WAIT", 0.01)
    may_go, done = threading.Event(), threading.Semaphore(0)

    def block() -> None:
        may_go.wait(TIMEOUT)
        done.release()

    assert not do_aside(block)
    may_go.set()
    assert done.acquire(timeout=TIMEOUT)
    assert not done.acquire(blocking=False)
