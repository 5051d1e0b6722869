"""Read the secrets again while the service runs, and say what a read has found (policy sections 3, 4 and 6).

`stages` decides what a read changes. A start without a secrets directory does not import this module.
"""

from __future__ import annotations

import _thread
import atexit
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from weakref import WeakSet, ref

from robodj_secretguard.running.news import ALERT_AGAIN, News
from robodj_secretguard.running.parts import Send
from robodj_secretguard.running.stages import (
    WHOLE_SET,
    Build,
    Names,
    Plan,
    learn,
    read_numbers,
    revoked_in_use,
    settle,
    take,
)
from robodj_secretguard.running.state import RunningState, StateName
from robodj_secretguard.running.store import KeyStore
from robodj_secretguard.running.subscriptions import faults, notify, renew
from robodj_secretguard.running.threads import LOCK_WAIT, Writing, do_aside, start
from robodj_secretguard.running.views import report_on
from robodj_secretguard.secret.sealed import Sealed, contain, type_name
from robodj_secretguard.startup.emit import emit, emit_notice, silence_broken_streams
from robodj_secretguard.startup.report import REFUSED, Again, Finding, Judgement, Report, finding, with_findings
from robodj_secretguard.startup.rules import Check, Problem, Severity, internal

END_SECONDS: Final = 30.0
"""How long a process whose current key is revoked goes on without it, so that operators can read why."""
MOST_PERIODS: Final = 3
"""After how many periods without a complete read an alert is written."""
EXIT_WAIT: Final = 1.0
"""How long the exit of the process waits for lines that are being written."""
_MOST_NAMES: Final = 3


class Refresh(Sealed):
    """Read the sources of a store again: in a thread, or whenever `read` is called.

    Args:
        store: the keys that the process uses.
        again: reads and judges the sources again.
        seconds: the period; `None` for no thread.
        build: lets the validators of the host judge a set.

    Attributes:
        found: the findings of the last read.
        read_at: when the sources were last read completely, in UTC.
        kept: the secrets whose last candidates were refused. `WHOLE_SET` where nothing could change.
        is_ending: whether a thread waits to end the process.
        seconds: the period; `None` for no thread.
    """

    def __init__(self, store: KeyStore, again: Again, seconds: int | None, build: Build) -> None:
        self.store = store
        self._again = again
        self.seconds = seconds
        self._build = build
        self._alone = threading.Lock()  # held while a thread reads the revocations alone
        report = report_on(store.keys)
        self.found = report.findings
        self.read_at = report.checked_at
        self.kept: Names = frozenset()
        self.is_ending = False
        self._news = News(report.findings)  # the start has written them
        self._standing: dict[str, Finding] = {}  # faults that no read finds
        self._send: Send = _send_nothing
        self._state = RunningState("following", self.read_at)
        self._said = self._state  # by the last event
        self._logger: Any = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong now: the findings of the last read, and what no read finds."""
        return (*self.found, *self._standing.values())

    @property
    def is_late(self) -> bool:
        """Whether no read has come to its end for three periods."""
        return "late" in self._standing

    def state(self) -> RunningState:
        """Return the present state. Say that it is late, where a host runs no watchdog."""
        if time.monotonic() >= self.store.late_at:
            self.report_late()
        name = self._state_name()
        alerts = [] if name == "following" else [each for each in self.findings if each.severity is Severity.ALERT]
        checks = dict.fromkeys(f"{each.secret or 'set-up'}: {each.check}" for each in alerts)
        since = self._state.since if name == self._state.name else datetime.now(UTC)
        self._state = RunningState(name, since, tuple(checks))
        return self._state

    def _state_name(self) -> StateName:
        if self.store.keys.refused:
            return "ending"
        if self.is_late:
            return "late"
        return "kept" if self.kept else "following"

    def read(self) -> Report:
        """Read and judge the sources once, use what passes, and return the report on what was read.

        Raises:
            CheckFailedError: the check itself failed. The keys in use stay, and revocations hold.
        """
        number = next(read_numbers)
        try:
            judgement = contain(self._judged)
        except BaseException:
            contain(lambda: settle(self.store))
            self._end_if_due()
            raise
        plan, revoked = contain(lambda: take(self.store, judgement, self._build, number))
        report = with_findings(plan.report, revoked_in_use(revoked, plan.report))
        if self.store.last_read == number:
            self._announce(plan, report)
        self.notify()
        return report

    def _judged(self) -> Judgement:
        store = self.store
        # What the directory has delivered never comes from elsewhere.
        delivered = frozenset([reading.policy.name for reading in store.keys.readings if reading.used.manager])
        return self._again(partial(learn, store), delivered)

    def _announce(self, plan: Plan, report: Report) -> None:
        """Say what a read has changed, and what is wrong."""
        store = self.store
        before = self.kept
        known = self.found
        if self.seconds:
            store.late_at = time.monotonic() + MOST_PERIODS * self.seconds
        self._standing.clear()
        self.kept = plan.kept
        self.found = report.findings
        if report.secrets:
            self.read_at = report.checked_at
        else:  # nothing was read: what was wrong with a secret may still be wrong
            self.kept |= before
            self.found += tuple([each for each in known if each.secret in before])
        self._end_if_due()
        if plan.changed:
            running = report_on(store.keys)
            state = self.state()
            _write_aside(lambda: self._send("switched", running, state) is None)
            if state.name == "following":
                self._said = state
        self._write()
        self._say_follows_again(before - self.kept)

    def _end_if_due(self) -> None:
        """Begin to end the process, where a current key is refused."""
        if self.store.keys.refused and not self.is_ending:
            self._news.forget(self.found)  # they are written again, with the end of the process
            self.is_ending = start(self._end_process)

    def apply_revocations(self) -> None:
        """Do stage one alone, while a read does not come to its end: a kind, a validator or a file system may hang."""
        start(self._learn_alone)
        revoked = revoked_in_use(settle(self.store), self.store.keys.report)
        self._standing |= {f"revoked {each.secret}": each for each in revoked}
        self._end_if_due()
        self._write()

    def _learn_alone(self) -> None:
        if self._alone.acquire(blocking=False):  # otherwise, an earlier one hangs
            with suppress(BaseException):
                contain(lambda: self._again(partial(learn, self.store), None))
            self._alone.release()

    def _write(self) -> bool:
        """Write the findings that are due, and send an event of a new state. Return whether that worked."""
        functions = [
            self._finding(
                Check.INTERNAL,
                Problem(
                    f"{fault}, so a part of the service may use old keys",
                    "find out why: each read calls it again until it returns",
                ),
            )
            for fault in faults(self.store.subscriptions)
        ]
        due = self._news.take((*self.findings, *functions), time.monotonic())
        state = self.state()
        is_new = (state.name, state.checks) != (self._said.name, self._said.checks)
        self._said = state
        if not (due or is_new):
            return True
        running = report_on(self.store.keys)
        report = running._replace(findings=due)
        refusal = "" if report.ok else report.refusal(self._what_happens(report))
        is_repeated = bool(refusal) and state.name != "following"

        def write() -> bool:
            if is_new or is_repeated:  # first: a file can be written where nobody reads the lines
                self._send(state.name, running, state)
            return emit(report, self._logger, refusal=refusal)

        is_written = _write_aside(write)
        if not is_written:
            self._news.forget(due)
        return is_written

    def _what_happens(self, report: Report) -> str:
        """Return what the process does, for the last line of its alerts."""
        if self.store.keys.refused:
            return f"stops process {os.getpid()} within {END_SECONDS:.0f} s"
        if any(alert.check is Check.REVOKED for alert in report.alerts):
            return "uses a revoked key until the next read, and then refuses it"
        if WHOLE_SET in self.kept:
            return "kept the keys in use"
        if self.kept:
            return f"kept the last good value of {_named(self.kept)}"
        return "goes on with the keys in use"

    def _say_follows_again(self, names: Names) -> None:
        """Write one line, where a read has passed after a refused one."""
        if not names:
            return
        who = _named(names)
        if WHOLE_SET in names:
            who = "every other secret" if self.kept else "every secret"
        _write_aside(lambda: emit_notice(f"NOTICE: {who} follows again", self._logger))

    def _finding(self, check: Check, problem: Problem) -> Finding:
        return finding([reading.policy for reading in self.store.keys.readings], check, problem)

    def notify(self) -> None:
        """Call the functions that have missed a change. They keep the store, as other views do."""
        if self.store.subscriptions:
            _hooked.add(self)
        notify(self.store.subscriptions, self._write)

    def say_failed(self, error: BaseException) -> None:
        """Say that a read failed by itself. The next one tries again."""
        self.kept |= {WHOLE_SET}
        self._standing["read"] = self._finding(Check.INTERNAL, internal(type_name(error)))
        self._write()

    def report_late(self) -> None:
        """Say that the sources were not read for three periods. A watchdog calls it, or the next use of a secret."""
        store = self.store
        seconds = MOST_PERIODS * (self.seconds or 0)
        late_at = store.late_at
        store.late_at = time.monotonic() + ALERT_AGAIN
        if time.monotonic() < late_at:  # another thread has said it
            store.late_at = late_at
            return
        self.kept |= {WHOLE_SET}
        problem = Problem(
            f"no keys were read for {seconds} s, so no rotation and no revocation arrives",
            "restore the secrets directory; if it can be read, find the kind, validator or host that blocks it",
        )
        self._standing["late"] = self._finding(Check.UNAVAILABLE, problem)
        if not self._write():
            store.late_at = time.monotonic() + seconds

    def follow_directory(self, again: Again | None, send: Send, logger: Any) -> None:
        """Begin to read the sources in each period, unless this process does so already.

        Args:
            again: reads and judges the sources, with the arguments of `guard()`; `None` where the directory is away.
            send: sends an event of this kind with this report.
            logger: the structlog logger that gets the findings; `None` for the host's configured one.
        """
        if self not in _refreshing:
            self._again = again or self._again
            self._send = send
            self._logger = logger
            _refreshing.add(self)
            self.begin()

    def begin(self) -> None:
        """Begin the threads, also in a fork: one reads, and one watches it."""
        if not self.seconds:
            return
        self.store.late_at = time.monotonic() + MOST_PERIODS * self.seconds
        for action in (_read_again, _watch_reads):
            # Not an Event: the collector of garbage may end the thread while it holds the lock of the Event.
            end = _thread.allocate_lock()
            end.acquire()
            # Once nobody has the keys, the thread ends at once.
            start(_do_repeatedly, action, ref(self, partial(_release, end)), end, self.seconds)

    def after_fork(self) -> None:
        """Go on in a child, which has the newest set and every known revocation."""
        self.end_if_refused()
        self.is_ending = False  # its thread is in the parent
        self._alone = threading.Lock()
        renew(self.store.subscriptions)
        self.notify()
        self.begin()

    def end_if_refused(self) -> None:
        """End the process where its current key is revoked."""
        if self.store.keys.refused:
            os._exit(REFUSED)

    def _end_process(self) -> None:
        """End the process, unless a good key has come in the meantime."""
        time.sleep(END_SECONDS)
        events = sys.modules.get("robodj_secretguard.running.heartbeat")
        if events is not None and self.store.keys.refused:
            start(events.say_end)  # a file system may hang
            time.sleep(EXIT_WAIT)
            self.end_if_refused()
            events.begin_heartbeats(first=0)  # a good key has come in the last second
        self.end_if_refused()
        self.is_ending = False  # another key may be revoked later


def _send_nothing(_kind: str, _report: Report, _state: RunningState) -> None:
    """Send no event."""


def _named(names: Names) -> str:
    """Return the names of a few secrets, or how many there are."""
    return ", ".join(sorted(names)) if len(names) <= _MOST_NAMES else f"{len(names)} secrets"


def _write_aside(write: Callable[[], bool]) -> bool:
    """Write lines in another thread, and return whether that worked after a short time."""
    written = [False]

    def write_alone() -> None:
        lock = Writing.lock
        if lock.acquire(timeout=LOCK_WAIT):
            try:
                written[0] = write()
            finally:
                lock.release()

    do_aside(write_alone)
    return written[0]


_refreshing: Final[WeakSet[Refresh]] = WeakSet()
"""What reads in this process."""


_hooked: Final[set[Refresh]] = set()
"""What is kept for its functions."""


def _continue_in_child() -> None:
    for refresh in [*_refreshing]:
        refresh.after_fork()


def _end() -> None:
    # A daemon thread that writes while the interpreter ends would abort it. This lock is not released.
    Writing.lock.acquire(timeout=EXIT_WAIT)
    silence_broken_streams()


atexit.register(_end)
getattr(os, "register_at_fork", dict)(after_in_child=_continue_in_child)  # not on Windows


def _release(end: _thread.LockType, _refresh: object) -> None:
    end.release()


def _do_repeatedly(
    action: Callable[[Refresh], object], refresh_of: ref[Refresh], end: _thread.LockType, seconds: float
) -> None:
    """Do something in each period, as long as somebody uses the keys. Many processes do not read at once."""
    # Not the generator of the module random: forks would share its state, and tests of a service may seed it.
    while not end.acquire(timeout=seconds * (1.0 - random.SystemRandom().random() / 10)):
        refresh = refresh_of()
        if refresh is None:
            return
        action(refresh)
        del refresh


def _read_again(refresh: Refresh) -> None:
    try:
        refresh.read()
    except BaseException as error:  # noqa: BLE001 - the next period tries again
        with suppress(BaseException):
            refresh.say_failed(error)


def _watch_reads(refresh: Refresh) -> None:
    with suppress(BaseException):
        refresh.state()  # says that it is late
        if refresh.is_late:
            refresh.apply_revocations()
