"""Read the keys again while the service runs, and switch to a set that passes (policy sections 3, 4 and 6).

A start without a secrets directory does not import this module.
"""

from __future__ import annotations

import _thread
import atexit
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Final
from weakref import WeakSet, ref

from robodj_secretguard.keyring import KeySet, LiveKeys
from robodj_secretguard.secret.material import PREFIX
from robodj_secretguard.secret.sealed import Sealed, contain, type_name
from robodj_secretguard.startup.emit import emit, silence_broken_streams
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS
from robodj_secretguard.startup.readings import Reading, RevocationStatus
from robodj_secretguard.startup.report import REFUSED, Again, Finding, Judgement, Report, finding
from robodj_secretguard.startup.rules import Check, Problem, Severity, how_to_renew, internal

END_SECONDS: Final = 30.0
"""How long a process whose current key is revoked goes on without it, so that operators can read why."""
ALERT_AGAIN: Final = 3600.0
"""After how many seconds an alert is repeated."""
MOST_PERIODS: Final = 3
"""After how many periods without a read that is said."""
EXIT_WAIT: Final = 1.0
"""How long the exit of the process waits for lines that are being written."""
_LOCK_WAIT: Final = 0.2
"""How long a fork and other threads wait for a step."""
_WRITE_WAIT: Final = 2.0
"""How long a refresh waits for its lines, and for functions of the host. What blocks there must not stop it."""
_STRIKES: Final = 2
"""How many reads in a row must find the current key revoked, and no set that passes."""
_KEPT: Final = "kept the keys in use"


class Refresh(Sealed):
    """Read the keys of a process again: in a thread, or whenever `run` is called.

    Args:
        live: the keys that the process uses.
        judge: reads and judges the sources again.
        seconds: the period; `None` for no thread.
        build: makes the settings model: the validators of the host judge a set as well.

    Attributes:
        found: the findings of the last read.
        read_at: when the keys were last read completely, in UTC.
        is_ok: whether the set of the last read passed.
    """

    __slots__ = (
        "__weakref__",
        "_build",
        "_judge",
        "_last",
        "_logger",
        "_reads",
        "_said",
        "_seconds",
        "_send",
        "_sole",
        "_strikes",
        "found",
        "is_ending",
        "is_ok",
        "live",
        "read_at",
    )

    def __init__(self, live: LiveKeys, judge: Again, seconds: int | None, build: Callable[[Judgement], object]) -> None:
        self.live, self._judge, self._seconds, self._build = live, judge, seconds, build
        report = live.keys.report
        self.found, self.read_at, self.is_ok = report.findings, report.checked_at, True
        self._sole = _delivered(live.keys)
        self._reads, self._last, self._strikes, self.is_ending = count(1), 0, 0, False
        # By finding: when to say it again. The start has said its warnings.
        self._said = dict.fromkeys(report.findings, math.inf)
        self._send: Callable[[str, Report], object] = lambda _kind, _report: None
        self._logger: Any = None

    def run(self) -> Report:
        """Read and judge the keys once, switch to them if they pass, and return the report on what was read.

        Raises:
            CheckFailedError: the check itself failed. The keys in use stay.
        """
        number, live, deciding = next(self._reads), self.live, _process.deciding
        judgement = contain(lambda: self._judged(live.keys))
        read = time.monotonic()
        # A signal handler may call this function while it runs, so nothing waits forever.
        if not deciding.acquire(timeout=_LOCK_WAIT):
            return judgement.report()
        try:
            if number < self._last:  # another thread has read newer files
                return judgement.report()
            self._last = number
            changed, tell = contain(lambda: self._apply(live, judgement, read))
        finally:
            deciding.release()
        tell()
        for function in [*live.hooks] if changed else ():
            if not _aside(partial(self._call, function, changed)):
                self._fail_function(f"has not returned within {_WRITE_WAIT:.0f} s")
        return judgement.report()

    def _call(self, function: Callable[[frozenset[str]], object], changed: frozenset[str]) -> None:
        try:
            contain(partial(function, changed))
        except Exception as error:  # noqa: BLE001 - of the host
            self._fail_function(f"failed ({type_name(error)})")

    def _fail_function(self, how: str) -> None:
        problem = Problem(
            f"a function of on_change() {how}, so a part of the service may use old keys",
            "correct the function; until then, restart the service after each change",
        )
        self.say(Check.INTERNAL, problem)

    def _judged(self, running: KeySet) -> Judgement:
        """Read and judge the keys. The validators of the host judge a set that the checks do not refuse."""
        judgement = self._judge(running.revocation, self._sole)
        if judgement.report().secrets and _changed(running, judgement) and not _refusing(running, judgement):
            try:
                contain(lambda: self._build(judgement))
            except Exception as error:  # noqa: BLE001 - a validator may raise anything
                judgement.add([finding(running.readings[0].setup.policies, Check.INTERNAL, internal(type_name(error)))])
        return judgement

    def _apply(self, live: LiveKeys, judgement: Judgement, read: float) -> tuple[frozenset[str], Callable[[], object]]:
        """Switch to a set that passes. Return the names of the changed secrets, and a function that reports it."""
        running, report = live.keys, judgement.report()
        listed = report.revocation_list
        known = listed.joined(running.revocation) if listed else running.revocation
        if report.secrets:
            self.read_at = report.checked_at
            judgement.add([*_discontinuous(running, judgement, known)])
        if self._seconds:
            live.late_at = time.monotonic() + MOST_PERIODS * self._seconds
        report = judgement.report()
        if not report.secrets or _refusing(running, judgement):
            judgement.add([*_revoked_in_use(running, known, report)])
            return frozenset(), self._keep(live, judgement.report(), known)
        self.found, self.is_ok, self._strikes = report.findings, True, 0
        changed = _changed(running, judgement)
        if changed:
            live.keys = KeySet(judgement, read, known, deadlines=running.deadlines)
            self._sole |= _delivered(live.keys)
        elif known != running.revocation:
            live.keys = KeySet(running.judgement, running.started, known, deadlines=running.deadlines)
        what, kind = ("switched to changed keys", "switched") if changed else (_KEPT, "")
        return changed, partial(self._tell, report, what, kind)

    def _keep(self, live: LiveKeys, report: Report, known: RevocationStatus) -> Callable[[], object]:
        """Keep the keys in use, as no set passes. Refuse those that are revoked, at the second read in a row."""
        running, self.found, self.is_ok = live.keys, report.findings, False
        doomed = frozenset([reading.policy.name for reading in _revoked_readings(running, known)])
        self._strikes = self._strikes + 1 if doomed else 0
        refused = doomed if self._strikes >= _STRIKES else running.refused
        is_new = refused != running.refused
        if known != running.revocation or is_new:
            live.keys = KeySet(running.judgement, running.started, known, refused, running.deadlines)
        if refused and not self.is_ending:
            self.is_ending = _start(self._end_process)
        what = f"stops process {os.getpid()} within {END_SECONDS:.0f} s" if refused else _KEPT
        return partial(self._tell, report._replace(findings=report.alerts), what, "kept", are_repeated=is_new)

    def say(self, check: Check, problem: Problem, kind: str = "") -> bool:
        """Say that something failed, and go on. Return whether that worked."""
        keys = self.live.keys
        report = keys.report._replace(findings=(finding(keys.readings[0].setup.policies, check, problem),))
        return self._tell(report, _KEPT, kind, are_repeated=kind == "late")

    def _tell(self, report: Report, what: str, kind: str, *, are_repeated: bool = False) -> bool:
        """Write the findings that are new, and each alert once in an hour. Send an event of this kind with them.

        Return whether that worked.
        """
        now, new = time.monotonic(), list[Finding]()
        for each in report.findings:
            is_alert = each.severity is Severity.ALERT
            is_due = now >= self._said.get(each, now) or (are_repeated and is_alert)
            if is_due and each.severity is not Severity.NOTE:
                new.append(each)
                self._said[each] = now + ALERT_AGAIN if is_alert else math.inf
        told = report._replace(findings=tuple(new))
        refusal = "" if told.ok else report.refusal(what)  # it counts all alerts, also those that were said before
        is_event = kind == "switched" or (kind and refusal)
        if not (new or is_event):
            return True
        written, in_use = threading.Event(), self.live.keys.report._replace(findings=told.findings)

        def write() -> None:
            writing = _process.writing
            if writing.acquire(timeout=_LOCK_WAIT):
                try:
                    if is_event:  # first: a file can be written where nobody reads the lines
                        self._send(kind, in_use)
                    if emit(told, self._logger, refusal=refusal):
                        written.set()
                finally:
                    writing.release()

        _aside(write)
        if not written.is_set():
            for each in new:  # say it again
                self._said.pop(each, None)
        return written.is_set()

    def say_late(self) -> None:
        """Say that the keys were not read for three periods. A ring calls it."""
        live, seconds = self.live, MOST_PERIODS * (self._seconds or 0)
        late_at, live.late_at = live.late_at, time.monotonic() + ALERT_AGAIN
        if time.monotonic() < late_at:  # another thread has said it
            return
        self.is_ok = False
        problem = Problem(
            f"no keys were read for {seconds} s, so no rotation and no revocation arrives",
            "check that the secrets directory can be read; if it can, call secrets.refresh() in a timer of the host",
        )
        if not self.say(Check.UNAVAILABLE, problem, "late"):
            live.late_at = time.monotonic() + seconds

    def start(self, send: Callable[[str, Report], object], logger: Any) -> None:
        """Begin to read the keys in each period.

        Args:
            send: sends an event of this kind with this report.
            logger: the structlog logger that gets the findings; `None` for the host's configured one.
        """
        self._send, self._logger = send, logger
        _process.begun.add(self)
        self.begin()

    def begin(self) -> None:
        """Begin the thread, also in a fork."""
        if self._seconds:
            # Not an Event: the collector of garbage may end the thread while it holds the lock of the Event.
            end = _thread.allocate_lock()
            end.acquire()
            self.live.late_at = time.monotonic() + MOST_PERIODS * self._seconds
            # Once nobody has the keys, the thread ends at once.
            _start(_read_repeatedly, ref(self, lambda _: end.release()), end, self._seconds)

    def end_if_refused(self) -> None:
        """End the process where its current key is revoked."""
        if self.live.keys.refused:
            os._exit(REFUSED)

    def _end_process(self) -> None:
        """End the process, unless a set has passed in the meantime."""
        time.sleep(END_SECONDS)
        self.is_ending = False  # another key may be revoked later
        if self.live.keys.refused and (events := sys.modules.get("robodj_secretguard.heartbeat")):
            _start(events.send_end)  # a file system may hang
            time.sleep(EXIT_WAIT)
        self.end_if_refused()


def _delivered(keys: KeySet) -> frozenset[str]:
    """Return the secrets that the directory delivers. No other source may deliver them again."""
    return frozenset([reading.policy.name for reading in keys.readings if reading.used.manager])


def _values(reading: Reading) -> list[tuple[object, ...]]:
    return [(each.slot, each.value, each.marker) for each in (reading, *reading.slots)]


def _changed(running: KeySet, read: Judgement) -> frozenset[str]:
    """Return the secrets of which a slot or a marker is another one."""
    pairs = zip(running.readings, read.readings, strict=True)
    return frozenset([after.policy.name for before, after in pairs if _values(before) != _values(after)])


def _refusing(running: KeySet, read: Judgement) -> list[Finding]:
    """Return the alerts that refuse a set. The expiry of a key in use refuses nothing."""
    pairs = zip(running.readings, read.readings, strict=True)
    in_use = {after.policy.name for before, after in pairs if before.value == after.value}
    return [each for each in read.report().alerts if each.check is not Check.EXPIRED or each.secret not in in_use]


def _revoked_readings(running: KeySet, known: RevocationStatus) -> list[Reading]:
    """Return the secrets whose current key is plainly revoked."""
    return [reading for reading in running.readings if reading.fingerprint in known.fingerprints]


def _revoked_in_use(running: KeySet, known: RevocationStatus, report: Report) -> Iterator[Finding]:
    """Yield an alert for each key in use that is plainly revoked, and that is not in the set any more."""
    said = {each.secret for each in report.alerts if each.check is Check.REVOKED}
    for reading in _revoked_readings(running, known):
        if reading.policy.name not in said:
            remedy = how_to_renew(reading.policy, reading.manager)
            problem = Problem("the key in use is revoked", remedy, reading.used.source)
            yield finding((), Check.REVOKED, problem, reading.policy)


def _discontinuous(running: KeySet, read: Judgement, known: RevocationStatus) -> Iterator[Finding]:
    """Yield an alert for each secret whose set does not continue the keys in use: it is another's, or an old one."""
    now = read.report().checked_at
    ended = {kid for (kid, _), deadline in [*running.deadlines.items()] if deadline.has_passed()}
    for before, after in zip(running.readings, read.readings, strict=True):
        policy, signing = after.policy, before.fingerprint
        if policy.overlap and signing and after.fingerprint:
            begin = known.begin(signing)
            keys = {each.fingerprint for each in (after, *after.slots)}
            source, why = after.manager or "the environment", ""
            if signing not in keys and (begin is None or begin > now):
                why = f"the key that signs now is in no slot of the set in {source}"
            elif after.fingerprint.removeprefix(PREFIX) in ended:
                why = f"the set in {source} would sign with a key whose time has passed"
            if why:
                remedy = (
                    "restore this service's own keys there; if the new ones are right (an emergency), deliver"
                    f" {REVOKED_FINGERPRINTS} too, or restart"
                )
                yield finding((), Check.DISCONTINUOUS, Problem(why, remedy, source), policy)


class _Process:
    """What the threads of this process share.

    Attributes:
        deciding: held while a set is judged against the keys in use. Nothing that can block runs inside.
        writing: held while lines are written. A fork and an exit wait for it for a short time.
        begun: every refresh with a thread.
    """

    def __init__(self) -> None:
        self.deciding, self.writing = threading.Lock(), threading.RLock()
        self.begun: WeakSet[Refresh] = WeakSet()

    def before_fork(self) -> None:
        self.writing.acquire(timeout=_LOCK_WAIT)  # otherwise the child could get a stream whose lock is held

    def after_in_parent(self) -> None:
        with suppress(RuntimeError):  # the wait was in vain
            self.writing.release()

    def after_in_child(self) -> None:
        self.deciding, self.writing = threading.Lock(), threading.RLock()
        for refresh in [*self.begun]:
            refresh.end_if_refused()
            refresh.is_ending = False  # its thread is in the parent
            refresh.begin()

    def end(self) -> None:
        # A daemon thread that writes while the interpreter ends would abort it. This lock is not released.
        self.writing.acquire(timeout=EXIT_WAIT)
        silence_broken_streams()


_process: Final = _Process()
atexit.register(_process.end)
getattr(os, "register_at_fork", dict)(  # not on Windows
    before=_process.before_fork,
    after_in_parent=_process.after_in_parent,
    after_in_child=_process.after_in_child,
)


def _start(function: Callable[..., object], *arguments: object) -> bool:
    """Start a thread that ends with the process. Return whether that worked."""
    # Not a Thread, which waits for its own start: gevent cannot do that in a fork.
    with suppress(RuntimeError):
        _thread.start_new_thread(function, arguments)
        return True
    return False


def _aside(action: Callable[[], object]) -> bool:
    """Do something that may block in another thread. Return whether it is done after a short time.

    A host may run no threads.
    """
    claim, done = threading.Lock(), threading.Event()

    def run() -> None:
        if claim.acquire(blocking=False):  # once, also where the thread begins late
            action()
            done.set()

    if not (_start(run) and done.wait(_WRITE_WAIT)):
        run()
    return done.is_set()


def _read_repeatedly(refresh_of: ref[Refresh], end: _thread.LockType, seconds: float) -> None:
    """Read the keys in each period, as long as somebody uses them. Many processes do not read at once."""
    # Not the generator of the module random: forks would share its state, and tests of a service may seed it.
    while not end.acquire(timeout=seconds * (1.0 - random.SystemRandom().random() / 10)):
        refresh = refresh_of()
        if refresh is None:
            return
        try:
            refresh.run()
        except BaseException as error:  # noqa: BLE001 - the next period tries again
            with suppress(BaseException):
                refresh.is_ok = False
                refresh.say(Check.INTERNAL, internal(type_name(error)))
        del refresh
