"""Read the keys again while the service runs, and switch to a set that passes (policy sections 3, 4 and 6).

A start without a secrets directory does not import this module.
"""

from __future__ import annotations

import _thread
import atexit
import math
import os
import random
import threading
import time
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.keyring import KeySet
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import Sealed, contain, type_name
from robodj_secretguard.secret.texts import command
from robodj_secretguard.startup.emit import emit, silence_broken_streams
from robodj_secretguard.startup.report import REFUSED, Finding, finding
from robodj_secretguard.startup.rules import Check, Problem, Severity, internal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from robodj_secretguard.keyring import Live
    from robodj_secretguard.startup.readings import Reading, RevocationStatus
    from robodj_secretguard.startup.report import Again, Judgement, Report

END_SECONDS: Final = 30.0
"""How long a process whose current key is revoked goes on without it, so that operators can read why."""
ALERT_AGAIN: Final = 3600.0
"""After how many seconds an alert is repeated."""
MOST_PERIODS: Final = 3
"""After how many periods without a read that is said."""
_LOCK_WAIT: Final = 1.0
"""How long the exit of the process, or a fork, waits for lines that are being written."""
_FORGOTTEN_AFTER: Final = 10
"""After how many reads without it a finding is said again at once. Two sets may alternate."""
_STRIKES: Final = 2
"""How many reads in a row must find the current key revoked, and no set that passes."""
_KEPT: Final = "kept the keys in use"
_RESTORE: Final = "restore this service's own keys there; only if the new set is right, restart the service"
_LATE: Final = "make sure that the secrets directory can be read and that the host runs threads, then restart"
_FAILED_FUNCTION: Final = "a function that gets changes failed ({}), so a part of the service may use old keys"
_CORRECT_FUNCTION: Final = "correct the function of on_change(); until then, restart the service after each change"


class Refresh(Sealed):
    """Read the keys of a process again: in a thread, or whenever `run` is called.

    Args:
        live: the keys that the process uses. Without them, the thread ends.
        judge: reads and judges the sources again.
        seconds: the period; `None` for no thread.
        model: the settings model, whose validators judge a set as well.

    Attributes:
        found: the findings of the last read.
        read_at: when the keys were last read completely, in UTC.
        is_ok: whether the set of the last read passed.
    """

    __slots__ = (
        "__weakref__",
        "_changed",
        "_end",
        "_judge",
        "_last",
        "_live",
        "_logger",
        "_model",
        "_reads",
        "_said",
        "_seconds",
        "_send",
        "_sole",
        "_strikes",
        "found",
        "is_ok",
        "read_at",
    )

    def __init__(self, live: Live, judge: Again, seconds: int | None, model: Callable[..., object]) -> None:
        self._live, self._judge, self._seconds, self._model = ref(live), judge, seconds, model
        report = live.keys.report
        self.found, self.read_at, self.is_ok = report.findings, report.checked_at, True
        self._sole = _delivered(live.keys)
        self._reads, self._last, self._strikes = count(1), 0, 0
        # By finding: the number of the last read with it, and when to say it again. The start has said its warnings.
        self._said = {_identity(each): (0, math.inf) for each in report.findings}
        self._changed: list[Callable[[frozenset[str]], object]] = []
        self._send: Callable[[str, Report], object] = lambda _kind, _report: None
        self._logger: Any = None
        self._end = threading.Event()

    @property
    def live(self) -> Live:
        """The keys that the process uses."""
        live = self._live()
        if live is None:
            raise CheckFailedError("ReferenceError")
        return live

    def on_change(self, function: Callable[[frozenset[str]], object]) -> None:
        """Call a function with the names of the changed secrets after each switch."""
        self._changed.append(function)

    def run(self) -> Report:
        """Read and judge the keys once, switch to them if they pass, and return the report on what was read.

        Raises:
            CheckFailedError: the check itself failed. The keys in use stay.
        """
        number, live = next(self._reads), self.live
        judgement = contain(lambda: self._judge(live.keys.revocation, self._sole))
        read = time.monotonic()
        if judgement.report().ok:
            try:
                contain(lambda: self._model(_judgement=judgement))
            except BaseException as error:  # noqa: BLE001 - a validator of the host may raise anything
                judgement.add([self._failed(internal(type_name(error)))])
        with _applying.lock:
            if number < self._last:  # another thread has read newer files
                return judgement.report()
            self._last = number
            changed = contain(lambda: self._apply(live, judgement, read))
        functions: list[Callable[[], object]] = [
            *live.hooks,
            *[partial(function, changed) for function in self._changed],
        ]
        for function in functions if changed else ():
            try:
                contain(function)
            except BaseException as error:  # noqa: BLE001 - of the host
                self.fail(Problem(_FAILED_FUNCTION.format(type_name(error)), _CORRECT_FUNCTION))
        return judgement.report()

    def _apply(self, live: Live, judgement: Judgement, read: float) -> frozenset[str]:
        """Switch to a set that passes. Return the names of the changed secrets."""
        running, report = live.keys, judgement.report()
        known = (
            running.revocation if report.revocation_list is None else report.revocation_list.joined(running.revocation)
        )
        if report.secrets:
            self.read_at = report.checked_at
            judgement.add([*_discontinuous(running, judgement, known)])
        if self._seconds:
            live.late_at = time.monotonic() + MOST_PERIODS * self._seconds
        report = judgement.report()
        if not report.secrets or _refusing(running, judgement):
            judgement.add([*self._revoked(running, known, report)])
            self._keep(live, judgement.report(), known)
            return frozenset()
        self.found, self.is_ok, self._strikes = report.findings, True, 0
        changed = frozenset(_changed_names(running, judgement))
        if changed:
            live.keys = KeySet(judgement, read, known, ended=running.ended())
            self._sole |= _delivered(live.keys)
        elif known != running.revocation or running.refused:
            live.keys = KeySet(running.judgement, running.started, known, ended=running.ended())
        self._say(report, report.findings, _KEPT)
        if changed:
            self._send("switched", report)
        return changed

    def _keep(self, live: Live, report: Report, known: RevocationStatus) -> None:
        """Keep the keys in use, as no set passes. Refuse those that are revoked, at the second read in a row."""
        running, self.found, self.is_ok = live.keys, report.findings, False
        doomed = frozenset([reading.policy.name for reading in _revoked_readings(running, known)])
        self._strikes = self._strikes + 1 if doomed else 0
        refused = doomed if self._strikes >= _STRIKES else running.refused
        is_ending = refused != running.refused
        if known != running.revocation or is_ending:
            live.keys = KeySet(running.judgement, running.started, known, refused, running.ended())
        what = f"stops this process in {END_SECONDS:.0f} s" if is_ending else _KEPT
        if self._say(report, report.alerts, what, again=is_ending):
            self._send("kept", live.keys.report._replace(findings=report.alerts))
        if is_ending:
            _start(_end_process, ref(self))

    def _revoked(self, running: KeySet, known: RevocationStatus, report: Report) -> Iterator[Finding]:
        """Yield an alert for each key in use that is plainly revoked, and that the set does not have any more."""
        said = {each.secret for each in report.alerts if each.check is Check.REVOKED}
        for reading in _revoked_readings(running, known):
            if reading.policy.name not in said:
                remedy = f"run {command('rotate', 'plan', reading.policy.name)} and follow its steps"
                problem = Problem("the key in use is revoked", remedy, reading.used.source)
                yield finding((), Check.REVOKED, problem, reading.policy)

    def _failed(self, problem: Problem) -> Finding:
        return finding(self.live.keys.policies, Check.INTERNAL, problem)

    def fail(self, problem: Problem) -> None:
        """Say that something failed, and go on."""
        with _applying.lock:
            self._say(self.live.keys.report, [self._failed(problem)], _KEPT)

    def _say(self, report: Report, findings: Sequence[Finding], what: str, *, again: bool = False) -> bool:
        """Write the findings that are new, and each alert once in an hour. Return whether there was an alert."""
        now, new = time.monotonic(), list[Finding]()
        for each in findings:
            is_alert = each.severity is Severity.ALERT
            _, due = self._said.get(_identity(each), (0, now))
            if each.severity is not Severity.NOTE and (now >= due or (again and is_alert)):
                new.append(each)
                due = now + ALERT_AGAIN if is_alert else math.inf
            self._said[_identity(each)] = (self._last, due)
        self._said = {key: said for key, said in self._said.items() if self._last - said[0] <= _FORGOTTEN_AFTER}
        told = report._replace(findings=tuple(new))
        emit(told, self._logger, refusal="" if told.ok else told.refusal(what))
        silence_broken_streams()
        return not told.ok

    def say_late(self) -> None:
        """Say that the keys were not read for three periods. A ring calls it."""
        if not _applying.lock.acquire(blocking=False):  # a request must not wait
            return
        try:
            live, seconds = self.live, MOST_PERIODS * (self._seconds or 0)
            if time.monotonic() < live.late_at:  # another thread has said it
                return
            live.late_at, self.is_ok = time.monotonic() + ALERT_AGAIN, False
            problem = Problem(f"the keys were not read again for {seconds} s", _LATE)
            late = live.keys.report._replace(findings=(finding(live.keys.policies, Check.UNAVAILABLE, problem),))
            emit(late, self._logger, refusal=late.refusal(_KEPT))
            self._send("late", late)
        finally:
            _applying.lock.release()

    def start(self, send: Callable[[str, Report], object], logger: Any) -> None:
        """Begin to read the keys in each period.

        Args:
            send: sends an event of this kind with this report.
            logger: the structlog logger that gets the findings; `None` for the host's configured one.
        """
        self._send, self._logger = send, logger
        _applying.started[:] = [*filter(lambda each: each(), _applying.started), ref(self)]
        self.begin(_part())

    def begin(self, part: float) -> None:
        """Begin the thread, also in a fork. `part` is the part of a period before the first read."""
        self._end = threading.Event()
        if self._seconds:
            self.live.late_at = time.monotonic() + MOST_PERIODS * self._seconds
            _start(_read_repeatedly, ref(self), self._end, self._seconds, part)

    def end_if_refused(self) -> None:
        """End the process where its current key is revoked."""
        if self.live.keys.refused:
            os._exit(REFUSED)


def _identity(each: Finding) -> tuple[object, ...]:
    return each.secret, each.check, each.slot, each.message


def _delivered(keys: KeySet) -> frozenset[str]:
    """Return the secrets that the directory delivers. No other source may deliver them again."""
    return frozenset([reading.policy.name for reading in keys.readings if reading.used.manager])


def _values(reading: Reading) -> list[tuple[object, ...]]:
    return [(each.slot, each.value, each.marker) for each in (reading, *reading.slots)]


def _changed_names(running: KeySet, read: Judgement) -> Iterator[str]:
    for before, after in zip(running.readings, read.readings, strict=True):
        if _values(before) != _values(after):
            yield after.policy.name


def _refusing(running: KeySet, read: Judgement) -> list[Finding]:
    """Return the alerts that refuse a set. The expiry of a key in use refuses nothing."""
    pairs = zip(running.readings, read.readings, strict=True)
    in_use = {after.policy.name for before, after in pairs if before.value == after.value}
    return [each for each in read.report().alerts if each.check is not Check.EXPIRED or each.secret not in in_use]


def _revoked_readings(running: KeySet, known: RevocationStatus) -> Iterator[Reading]:
    """Yield the secrets whose current key is plainly revoked."""
    for reading in running.readings:
        if not reading.policy.is_opaque and reading.key and fingerprint(reading.key) in known.fingerprints:
            yield reading


def _discontinuous(running: KeySet, read: Judgement, known: RevocationStatus) -> Iterator[Finding]:
    """Yield an alert for each secret whose key that signs now is in no slot of the set, and is not revoked."""
    now = read.report().checked_at
    for before, after in zip(running.readings, read.readings, strict=True):
        policy, signing = after.policy, before.key
        if policy.overlap and not policy.is_opaque and signing and after.key:
            begin = known.begin(fingerprint(signing))
            keys = {fingerprint(each.key) for each in (after, *after.slots) if each.key}
            if fingerprint(signing) not in keys and (begin is None or begin > now):
                source = after.manager or "the environment"
                problem = Problem(f"the key that signs now is in no slot of the set in {source}", _RESTORE, source)
                yield finding((), Check.DISCONTINUOUS, problem, policy)


class _Applying:
    """The lock of everything that changes or says something. A fork and an exit wait for it for a short time."""

    def __init__(self) -> None:
        self.lock, self.forks = threading.Lock(), 0
        self.started: list[ref[Refresh]] = []

    def before_fork(self) -> None:
        if self.lock.acquire(timeout=_LOCK_WAIT):
            self.forks = threading.get_ident()

    def after_in_parent(self) -> None:
        if self.forks == threading.get_ident():
            self.forks = 0
            self.lock.release()

    def after_in_child(self) -> None:
        self.lock, self.forks = threading.Lock(), 0
        for each in self.started:
            if refresh := each():
                refresh.end_if_refused()
                refresh.begin(random.random())  # noqa: S311 - no key

    def end(self) -> None:
        # A daemon thread that writes while the interpreter ends would abort it. This lock is not released.
        self.lock.acquire(timeout=_LOCK_WAIT)


_applying: Final = _Applying()
atexit.register(_applying.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_applying.before_fork,
        after_in_parent=_applying.after_in_parent,
        after_in_child=_applying.after_in_child,
    )


def _part() -> float:
    """Return which part of a period to wait, as many processes must not read at once."""
    return 1.0 - random.random() / 10  # noqa: S311 - no key


def _start(function: Callable[..., object], *arguments: object) -> None:
    """Start a thread that ends with the process. Where that fails, the next operation of a ring says it."""
    # Not a Thread, which waits for its own start: gevent cannot do that in a fork.
    with suppress(RuntimeError):
        _thread.start_new_thread(function, arguments)


def _read_repeatedly(refresh_of: ref[Refresh], end: threading.Event, seconds: float, part: float) -> None:
    """Read the keys in each period, as long as somebody uses them."""
    while not end.wait(seconds * part):
        part, refresh = _part(), refresh_of()
        if refresh is None or refresh._end is not end:  # noqa: SLF001 - of this module
            return
        try:
            refresh.run()
        except BaseException as error:  # noqa: BLE001 - the next period tries again
            with suppress(BaseException):
                refresh.is_ok = False
                refresh.fail(internal(type_name(error)))
        del refresh


def _end_process(refresh_of: ref[Refresh]) -> None:
    """End the process, unless a set has passed in the meantime."""
    time.sleep(END_SECONDS)
    if refresh := refresh_of():
        refresh.end_if_refused()
