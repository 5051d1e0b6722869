"""The processes of `exec --watch`: run the command, poll the sources, restart the command, and pass signals on."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.options import passes, read_sources
from robodj_secretguard.cli.watch import Candidate, Watch, outcome
from robodj_secretguard.common.launch import NOT_EXECUTABLE, NOT_FOUND
from robodj_secretguard.managers.delivery import Sources, collect_variables
from robodj_secretguard.secret.sealed import contain, type_name
from robodj_secretguard.secret.texts import PROGRAM
from robodj_secretguard.startup.emit import silence_broken_streams, write_line
from robodj_secretguard.startup.guard import REFUSED
from robodj_secretguard.startup.report import Finding, finding, with_findings
from robodj_secretguard.startup.rules import Check, internal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from robodj_secretguard.cli.options import Request
    from robodj_secretguard.managers.manager import Delivery
    from robodj_secretguard.startup.report import Report
    from robodj_secretguard.startup.settings import SecretSettings

STOP_SECONDS: Final = 30.0
"""The default time between SIGTERM and SIGKILL."""
GONE_SECONDS: Final = 5.0
"""How long to wait for the process group after SIGKILL."""

_CHECK_GROUP: Final = 0.05
_MAY_END: Final = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"})
"""The signals after which a command may end, and that is its own exit."""
_NOT_PASSED_ON: Final = frozenset(
    f"SIG{each}"
    for each in (
        *("KILL", "STOP", "CHLD", "TSTP", "TTIN", "TTOU", "CONT"),  # job control
        *("SEGV", "FPE", "ILL", "BUS", "ABRT", "TRAP", "SYS"),  # errors of this process
        *("PIPE", "XFSZ", "XCPU", "PROF", "VTALRM"),
    )
)
"""The signals that are not passed on."""
_PARENT_DEATH: Final = 1  # PR_SET_PDEATHSIG
_DUMPABLE: Final = 4  # PR_SET_DUMPABLE
_MOST_TEXTS: Final = 1000
_FLUSH_SECONDS: Final = 2.0


class Writer:
    """Write to stderr in a thread: a reader that has stopped must not stop the watch."""

    def __init__(self) -> None:
        self._texts: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        _start(self._run)

    def write(self, text: str) -> None:
        """Write a text soon. If too many wait, it is lost."""
        if self._texts.qsize() < _MOST_TEXTS:
            self._texts.put(text)

    def flush(self) -> bool:
        """Wait until everything is written, for a short time. Return whether it is."""
        done = threading.Event()
        self._texts.put(done)
        return done.wait(_FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            text = self._texts.get()
            if isinstance(text, str):
                write_line(sys.stderr, text)
            else:
                text.set()


class Supervisor:
    """Run a command as a child process, and restart it when its sources have another set that passes.

    Args:
        request: the options of `exec`. Later reads do not wait.
        command: the command and its arguments.
        model: the settings model.
        report: the report on the first set, which passes.
        managers: the sources of the first set.
        report_of: makes a report on sources that were read.
        settings: the variables that pass the set-up on to the command.
        period: the time between two polls, in seconds.
        splay: the longest time between a poll and the restart, in seconds.
        stop_seconds: the time between SIGTERM and SIGKILL.

    All of it runs inside `contain()`.
    """

    def __init__(
        self,
        request: Request,
        command: Sequence[str],
        model: type[SecretSettings],
        report: Report,
        managers: Sequence[Delivery],
        *,
        report_of: Callable[[Request, type[SecretSettings], Sources | None], Report],
        settings: Mapping[str, str],
        period: float = 1,
        splay: float = 0,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._request, self._command, self._model = request, command, model
        self._report_of, self._settings = report_of, settings
        first = Candidate(managers, collect_variables(managers, model), report, passed=True)
        self._writer = Writer()
        self._watch = Watch(first, judge=self._judged, write=self._writer.write, splay=splay)
        self._period, self._bound = period, stop_seconds
        self._queue: queue.SimpleQueue[int | Candidate | Finding] = queue.SimpleQueue()
        self._next_poll, self._is_polling = math.inf, False
        self._process: subprocess.Popen[bytes]
        self._asked: dict[str, float] = {}
        """When each signal arrived that may end the command."""
        # While the process group is being ended: what to do then, until when, and the last signal.
        self._then: Callable[[], int | None] | None = None
        self._deadline, self._sent = math.inf, 0

    def run(self) -> tuple[int, bool]:
        """Run the command until it ends. Return its status and whether it was started at all.

        The status is negative for a signal that killed the command.
        """
        self._catch()
        _without_core()
        if (status := self._spawn(self._watch.running)) is not None:
            return status, False
        self._next_poll = time.monotonic() + self._period
        self._writer.write(f"{PROGRAM}: watches {self._watch.running.names}, every {self._period:g} s")
        try:
            while (status := self._advance(time.monotonic())) is None:
                self._wait()
        finally:
            if self._process.poll() is None:  # only after an error of this program
                with contextlib.suppress(OSError):
                    self._process.terminate()
        if not self._writer.flush():
            sys.stderr = None  # its lock is taken: a flush would wait forever, also that of the interpreter at exit
            os._exit(pass_on(status))
        return status, True

    def _catch(self) -> None:
        """Let every signal that is for the command arrive in the queue. One that is ignored stays ignored."""
        signal.signal(signal.SIGCHLD, self._arrived)
        kept = {getattr(signal, each, None) for each in _NOT_PASSED_ON}
        for number in signal.valid_signals() - kept:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def _arrived(self, number: int, _frame: object) -> None:
        self._queue.put(number)

    def _wait(self) -> None:
        """Wait for a signal, a result of a poll, or the next time at which there is something to do."""
        now = time.monotonic()
        if self._then:
            is_checked = self._sent == signal.SIGKILL or self._process.poll() is not None
            deadline = math.inf if self._sent == signal.SIGKILL else self._deadline
            due = min(now + _CHECK_GROUP if is_checked else math.inf, deadline)
        else:
            due = min(
                math.inf if self._is_ending(now) else self._watch.due, math.inf if self._is_polling else self._next_poll
            )
        with contextlib.suppress(queue.Empty):
            self._handle(self._queue.get(timeout=max(0, min(due - now, threading.TIMEOUT_MAX))))

    def _handle(self, item: int | Candidate | Finding) -> None:
        if not isinstance(item, int):
            self._is_polling = False
            if self._then is None:
                self._watch.polled(item, time.monotonic())
            else:  # after the restart, another poll says it
                self._next_poll = 0
                self._watch.revoked |= item.revoked if isinstance(item, Candidate) else frozenset()
        elif item != signal.SIGCHLD:
            with contextlib.suppress(OSError):  # the command may be of another user
                self._process.send_signal(item)
            name = next((each for each in _MAY_END if getattr(signal, each) == item), None)
            if name:
                self._asked[name] = time.monotonic()

    def _is_ending(self, now: float) -> bool:
        """Return whether the command was asked to end. It may handle the signals of a keyboard and go on."""
        return "SIGTERM" in self._asked or any(
            now - self._asked.get(each, -math.inf) < self._bound for each in ("SIGINT", "SIGQUIT")
        )

    def _advance(self, now: float) -> int | None:
        """Do what is to be done now. Return the status if the command has ended for good."""
        if self._then:
            return self._end_group(self._then, now)
        status = self._process.poll()
        if status is not None:
            return self._ended(status, now)
        if self._watch.is_stopped:
            self._stop(now, lambda: REFUSED)
        elif not self._is_ending(now) and (candidate := self._watch.take(now)):
            self._stop(now, partial(self._restart, candidate))
        elif now >= self._next_poll and not self._is_polling:
            self._next_poll, self._is_polling = now + self._period, True
            try:
                _start(self._poll)
            except RuntimeError as error:  # there are too many processes
                self._queue.put(self._internal(error))
        return None

    def _ended(self, status: int, now: float) -> int | None:
        """Pass the end of the command on, or start it on the last good set, if it ended soon after a restart."""
        if self._asked or not self._watch.is_on_trial(now):
            return status
        good = self._watch.failed(self._watch.running, f"ended at once ({outcome(status)})", now)
        if good is None:
            return status
        self._stop(now, partial(self._restore, good))
        return None

    def _stop(self, now: float, then: Callable[[], int | None]) -> None:
        """Begin to end the process group."""
        for each in _MAY_END - {"SIGTERM"}:  # it has handled them, and goes on
            self._asked.pop(each, None)
        self._then, self._deadline, self._sent = then, now + self._bound, 0
        # First the main process alone: workers of celery end at once at SIGTERM, and it lets them finish.
        with contextlib.suppress(OSError):  # the command may be of another user
            self._process.terminate()

    def _end_group(self, then: Callable[[], int | None], now: float) -> int | None:
        """Continue to end the process group. When it is gone, do what comes then."""
        status = self._process.poll()
        is_gone = status is not None and (not _lives(self._process.pid) or now >= self._deadline + GONE_SECONDS)
        if is_gone and self._queue.empty():  # a signal that has arrived comes before a start
            self._then = None
            self._asked.pop("SIGHUP", None)  # a command that is being restarted need not reload
            return status if self._asked else then()
        wanted = signal.SIGKILL if now >= self._deadline else signal.SIGTERM if status is not None else 0
        if wanted not in {0, self._sent}:
            self._sent = wanted
            if wanted == signal.SIGKILL:
                self._writer.write(f"{PROGRAM}: kills the command, which did not end within {self._bound:g} s")
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, wanted)
        return None

    def _restart(self, candidate: Candidate) -> int | None:
        """Start the command on a changed set, otherwise on the last good one."""
        candidate, now = self._judged(candidate), time.monotonic()
        how, status = "was not started: the set is refused now", REFUSED
        if candidate.passed:
            started = self._spawn(candidate)
            if started is None:
                self._watch.applied(candidate, now)
                return None
            how, status = f"cannot be started ({outcome(started)})", started
        good = self._watch.failed(candidate, how, now)
        return self._restore(good) if good else status

    def _restore(self, good: Candidate) -> int | None:
        status = self._spawn(good)
        if status is None:
            self._watch.restored(good, time.monotonic())
        return status

    def _spawn(self, candidate: Candidate) -> int | None:
        """Start the command on a set. Return the status of a shell where that is not possible."""
        variables = {name: value.get_secret_value() for name, value in candidate.variables.items()}
        try:
            stdout = self._request.stdout.fileno()  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):  # it may be None, or have no descriptor
            stdout = None
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12, of forks beside threads
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the operator names the command
                self._command,
                # In the background, a process that reads a terminal would be stopped.
                stdin=subprocess.DEVNULL if os.isatty(0) else None,
                stdout=stdout,
                close_fds=False,
                env={**os.environ, **self._settings, **variables},
                process_group=0,
                preexec_fn=_ends_with_parent(),  # noqa: PLW1509 - it calls one C function
            )
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return NOT_FOUND
        except OSError:
            return NOT_EXECUTABLE
        return None

    def _poll(self) -> None:
        """Read the sources in a thread, so that a slow one delays nothing."""
        try:
            self._queue.put(contain(self._read))
        except BaseException as failure:  # noqa: BLE001 - nothing ends the loop
            self._queue.put(self._internal(failure))

    def _internal(self, error: BaseException) -> Finding:
        return finding(tuple(self._model.secret_policies.values()), Check.INTERNAL, internal(type_name(error)))

    def _read(self) -> Candidate | Finding:
        candidate = self._judge(read_sources(self._request, self._model) or Sources(()))
        return _source_failure(candidate.report) or candidate

    def _judged(self, candidate: Candidate) -> Candidate:
        """Check a set again. A failure of the check does not end the command, but nothing starts on the set."""
        try:
            return contain(lambda: self._judge(Sources(candidate.managers)))
        except BaseException as failure:  # noqa: BLE001 - as above
            report = with_findings(candidate.report, [self._internal(failure)])
            return candidate._replace(report=report, passed=False)

    def _judge(self, sources: Sources) -> Candidate:
        """Check sources that were read. Revocations that were seen hold."""
        report = self._report_of(self._request, self._model, sources)
        listed = report.revocation_list
        slots = ("fingerprint", "next_fingerprint", "previous_fingerprint")
        keys = {getattr(each, slot) for each in report.secrets for slot in slots}
        # Only those that matter for this set: a variable has a limit.
        withdrawn = (self._watch.revoked - listed.fingerprints if listed else frozenset()) & keys
        if withdrawn:
            report = self._report_of(self._request, self._model, Sources(sources.deliveries, withdrawn=withdrawn))
        variables = collect_variables(sources.deliveries, self._model)
        return Candidate(sources.deliveries, variables, report, passes(self._request, report), withdrawn)


def _source_failure(report: Report) -> Finding | None:
    """Return the finding of a source that failed, so that nothing was checked."""
    failures = {Check.SOURCE, Check.UNAVAILABLE}
    return next((each for each in report.findings if each.check in failures and each.secret is None), None)


def _start(action: Callable[[], object]) -> None:
    """Start a thread that gets no signal: a signal that arrives there does not wake the main thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=action, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _lives(group: int) -> bool:
    """Return whether a process of a group runs. Zombies do not count: an init program may not reap them soon."""
    with contextlib.suppress(ChildProcessError):  # as process 1, this one gets the orphans
        os.waitpid(-group, os.WNOHANG)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    if sys.platform != "linux":
        return True
    return any(_group_of(each) == str(group) for each in os.listdir("/proc") if each.isdigit())


def _group_of(process: str) -> str:
    """Return the group of a process; empty for a zombie, or where there is no such process."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            state, _, group = file.read().rpartition(")")[2].split()[:3]
    except OSError:
        return ""
    return group if state not in {"Z", "X"} else ""


def _ends_with_parent() -> Callable[[], object] | None:
    """Return a call that ends a child when this process is killed: then nobody watches the command."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - only here, and before the fork

    return partial(ctypes.CDLL(None).prctl, _PARENT_DEATH, ctypes.c_ulong(signal.SIGTERM))


def _without_core() -> None:
    """Let a crash of this process write no core, which would have keys. A command that it starts still can."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only here

        ctypes.CDLL(None).prctl(_DUMPABLE, ctypes.c_ulong(0))


def pass_on(status: int) -> int:
    """Return the exit status of a command, or end this process by the signal that killed the command."""
    if status >= 0:
        return status
    import resource  # noqa: PLC0415 - Windows has none

    silence_broken_streams()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # this process has keys in its memory
    with contextlib.suppress(OSError):  # SIGKILL
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    return 128 - status  # process 1 cannot kill itself
