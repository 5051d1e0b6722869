"""Threads that no host has to wait for, and the lock of what they write."""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

LOCK_WAIT: Final = 0.2
"""How long a fork and other threads wait for lines that are being written."""
WRITE_WAIT: Final = 2.0
"""How long a read waits for its lines. What blocks there must not stop it."""


class Writing:
    """The lock that is held while lines are written. A fork and an exit wait for it for a short time."""

    lock = threading.RLock()

    @classmethod
    def before_fork(cls) -> None:
        """Wait: otherwise the child could get a stream whose lock is held."""
        cls.lock.acquire(timeout=LOCK_WAIT)

    @classmethod
    def after_in_parent(cls) -> None:
        """Let others write."""
        with suppress(RuntimeError):  # the wait was in vain
            cls.lock.release()

    @classmethod
    def after_in_child(cls) -> None:
        """Make a new lock: a thread of the parent may hold the old one."""
        cls.lock = threading.RLock()


getattr(os, "register_at_fork", dict)(  # not on Windows
    before=Writing.before_fork,
    after_in_parent=Writing.after_in_parent,
    after_in_child=Writing.after_in_child,
)


def start(function: Callable[..., object], *arguments: object) -> bool:
    """Start a thread that ends with the process. Return whether that worked."""
    # Not a Thread, which waits for its own start: gevent cannot do that in a fork.
    with suppress(RuntimeError):
        _thread.start_new_thread(function, arguments)
        return True
    return False


def do_aside(action: Callable[[], object]) -> bool:
    """Do something that may block in another thread. Return whether it is done after a short time.

    A host may run no threads: then it is done here.
    """
    claim = threading.Lock()
    done = threading.Event()

    def run() -> None:
        if claim.acquire(blocking=False):  # once, also where the thread begins late
            action()
            done.set()

    if not (start(run) and done.wait(WRITE_WAIT)):
        run()
    return done.is_set()
