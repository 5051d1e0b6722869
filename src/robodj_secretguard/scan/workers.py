"""Processes that do the tasks of a scan, one for each core, at most 8. Keys go to them and back through pipes alone."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from multiprocessing import current_process, get_context, parent_process
from multiprocessing.reduction import ForkingPickler
from threading import Thread, active_count
from time import monotonic
from typing import Any, Final, TypeVar

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.secret.sealed import SealedStr, contain

_Worker = TypeVar("_Worker")
_Done = TypeVar("_Done")

ALONE_SECONDS: Final = 0.1  # less work, such as that before a commit, takes less time than to start a process
_MOST_WORKERS: Final = 8
_AHEAD: Final = 4  # the tasks that wait for each worker: enough to keep it busy
# In Linux a fork takes a hundredth of the time of a new interpreter. Elsewhere it is unsafe, or there is none.
START: Final = "fork" if sys.platform == "linux" else "spawn"

_worker: Any = None  # of this process


class _Pickler(ForkingPickler):
    """Pickles secrets too, for a pipe between two processes of the same scan."""

    def reducer_override(self, value: object) -> Any:
        """Return how to make a secret again."""
        return (SealedStr, (value.get_secret_value(),)) if type(value) is SealedStr else NotImplemented


def do_tasks(worker: _Worker, tasks: Iterable[Callable[[_Worker], _Done]]) -> Iterator[_Done]:
    """Yield what each task returns, in their order. After a short time, other processes do the further tasks.

    Args:
        worker: the argument of each task. Each process has a copy.
        tasks: the tasks. It must be possible to pickle them and what they return.

    Raises:
        UnreadError: a process was killed before it had done its task.
    """
    ahead = iter(tasks)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    # A fork of a process with threads can wait forever for one of their locks.
    count = 1 if current_process().daemon or active_count() > 1 else min(cores, _MOST_WORKERS)
    until = monotonic() + ALONE_SECONDS
    for task in ahead:
        if count > 1 and monotonic() >= until:
            yield from _done_by_others(worker, chain([task], ahead), count)
        else:
            yield task(worker)


def _done_by_others(worker: _Worker, tasks: Iterable[Callable[[_Worker], _Done]], count: int) -> Iterator[_Done]:
    """Yield what each task returns. Where no other process can do the first one, do all of them here."""
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor  # noqa: PLC0415 - only a long scan needs it

    ahead, context = iter(tasks), get_context(START)
    first, stop = next(ahead), context.RawValue("b", 0)  # an Event would wait for a worker that was killed
    try:
        pool = ProcessPoolExecutor(count, context, _start_worker, (bytes(_Pickler.dumps(worker)), stop))
        waiting = deque[Any]([pool.submit(_do, first)])
    except Exception:  # noqa: BLE001 - no semaphores, no more processes, or a kind of secret that cannot be pickled
        yield from (task(worker) for task in chain([first], ahead))
        return
    try:
        for task in ahead:
            waiting.append(pool.submit(_do, task))
            if len(waiting) > count * _AHEAD:
                yield pickle.loads(waiting.popleft().result())  # noqa: S301 - from a process of this scan
        for future in waiting:
            yield pickle.loads(future.result())  # noqa: S301 - the same
    except BrokenExecutor:
        raise UnreadError("a process was killed, perhaps for lack of memory; scan fewer paths at once") from None
    finally:  # also after Ctrl-C, when a worker would search large files for minutes
        stop.value = 1
        pool.shutdown()


def _start_worker(packed: bytes, stop: Any) -> None:
    """Make this process a worker, which ends when `stop` is set, and with the process of the scan."""
    global _worker  # noqa: PLW0603 - each process has one
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process of the scan ends its workers
        Thread(target=_end_with, args=(parent_process(), stop), daemon=True).start()
        _worker = pickle.loads(packed)  # noqa: S301 - from the process of this scan
    except BaseException:  # noqa: BLE001 - the frames of a traceback would show the keys
        os._exit(1)


def _end_with(parent: Any, stop: Any) -> None:
    while parent.is_alive() and not stop.value:
        parent.join(0.1)
    os._exit(1)


def _do(task: Callable[[Any], object]) -> bytes:
    return contain(lambda: bytes(_Pickler.dumps(task(_worker))))
