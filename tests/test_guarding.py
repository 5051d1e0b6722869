"""The guard: its result, its refusals, and how it ends a process that could catch a SystemExit."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
from conftest import NOW, V1, V2, Ran, found, process_environment, raising
from detector import leaks
from processes import (
    BAD,
    GOOD,
    GUARD,
    SECRET,
    SERVED,
    SERVICE,
    SETS,
    START,
    WARNING_START,
    assert_alert_lines,
    assert_refused,
    host_env,
    needs_fork,
    run_copy,
    run_script,
)
from pydantic import SecretStr, field_validator

from robodj_secretguard import RuntimeSecrets, SecretSettings, check, guard
from robodj_secretguard.guarding import WRITE_SECONDS

LAST_WORD = "ALERT: robodj-secretguard refused to start: the check or its report failed, so nothing is verified.\n"


class Ended(NamedTuple):
    """The result of a call: the secrets or the refusal, and the output."""

    secrets: Any
    refusal: SystemExit | None
    out: str
    err: str

    @property
    def status(self) -> object:
        """The status of the refusal."""
        return self.refusal and self.refusal.code


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """A function that calls the guard in this process, with a set of keys and an empty directory."""

    def call(keys: str, *model: Any, more: dict[str, str] | None = None, **arguments: Any) -> Ended:
        secrets = refusal = None
        with contextlib.chdir(tmp_path), process_environment(host_env(SETS[keys], **(more or {}))):
            try:
                secrets = guard(*model, **arguments)
            except SystemExit as error:
                refusal = error
        ended = Ended(secrets, refusal, *capsys.readouterr())
        assert leaks(ended.out + ended.err, SECRET) == []
        return ended

    return call


class Interrupted(RuntimeSecrets):
    """A model whose validation is interrupted."""

    @field_validator("secret_key")
    @classmethod
    def _judge(cls, _value: SecretStr) -> SecretStr:
        raise KeyboardInterrupt


class Breaking:
    """An object whose class cannot be read."""

    __class__ = property(raising(RuntimeError()))


class TestStarts:
    """Without an alert the guard returns."""

    def test_good_keys(self, call: Callable[..., Ended]) -> None:
        """The values of the environment are returned, and nothing is written."""
        ended = call("good")
        assert type(ended.secrets) is RuntimeSecrets
        assert ended.secrets.secret_key.get_secret_value() == GOOD[V1]
        assert ended.secrets.secret_v2_key.get_secret_value() == GOOD[V2]
        assert (ended.out, ended.err) == ("", "")

    def test_a_warning(self, call: Callable[..., Ended]) -> None:
        """A warning is written to stderr, as stdout may be the output of a tool, and the guard returns."""
        ended = call("warned")
        assert (ended.status, ended.out, ended.err.count("\n")) == (None, "", 2)
        assert ended.err.startswith(WARNING_START)

    def test_a_logger(self, call: Callable[..., Ended]) -> None:
        """The `logger` argument gets the findings."""
        logger = structlog.wrap_logger(structlog.PrintLogger(file=(log := io.StringIO())))
        ended = call("warned", logger=logger)
        assert (ended.out, ended.err, log.getvalue().count(WARNING_START)) == ("", "", 1)

    def test_an_event(self, call: Callable[..., Ended]) -> None:
        """A start is an event where a variable says, and in the pipeline of the host."""
        ended = call("good", more={"ROBODJ_SECRET_EVENTS": "stdout"})
        assert json.loads(ended.out).get("started_at")
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=(log := io.StringIO())))
        call("good")
        assert "secret_event" in log.getvalue()

    @pytest.mark.parametrize(("value", "fired"), [("true", ["ephemeral", "near-miss"]), ("announced", ["near-miss"])])
    def test_temporary_keys_that_were_announced(self, call: Callable[..., Ended], value: str, fired: list[str]) -> None:
        """If `exec` has already reported temporary keys, only the other findings are reported."""
        ended = call("warned", more={"ROBODJ_SECRETS_EPHEMERAL": value})
        assert [name for name in ("ephemeral", "near-miss") if f" {name}: " in ended.err] == fired
        assert ended.err.count("\n") == 2 * len(fired)

    @pytest.mark.parametrize(
        ("arguments", "directory", "fired"),
        [
            ({}, "config", "file-fallback"),
            ({"config_dir": "elsewhere"}, "elsewhere", "file-fallback"),
            ({"require_env_only": True}, "config", "missing"),
        ],
    )
    def test_its_arguments_reach_the_checks(
        self, call: Callable[..., Ended], tmp_path: Path, arguments: dict[str, Any], directory: str, fired: str
    ) -> None:
        """`config_dir` selects the directory of fallback files, and `require_env_only` disables them."""
        (tmp_path / directory).mkdir(mode=0o700)
        (tmp_path / directory / "secret.key").write_text(GOOD[V1], encoding="utf-8")
        (tmp_path / directory / "secret.key").chmod(0o600)
        ended = call("good", more={V1: ""}, **arguments)
        assert (ended.err or ended.out).split(": ")[2] == fired
        assert (ended.secrets is None) is (fired == "missing")


class TestRefuses:
    """With an alert the guard does not return."""

    @pytest.mark.parametrize(
        ("arguments", "more", "status"),
        [
            ({}, {}, 3),
            ({}, {"WERKZEUG_RUN_MAIN": "true"}, 4),
            ({}, {"RUN_MAIN": "true"}, 4),
            ({}, {"BOTTLE_CHILD": "true"}, 4),
            ({}, {"RUN_MAIN": "false"}, 3),
            ({"exit_status": 1}, {}, 1),
            ({"exit_status": 255}, {}, 255),
            ({"exit_status": 78}, {"RUN_MAIN": "true"}, 78),
        ],
    )
    def test_its_status(
        self, call: Callable[..., Ended], arguments: dict[str, int], more: dict[str, str], status: int
    ) -> None:
        """The status is 3, but 4 in an autoreloader's child, where 3 means "reload". `exit_status` replaces both."""
        ended = call("bad", more=more, **arguments)
        assert (ended.status, ended.err) == (status, "")
        assert_alert_lines(ended.out)

    @pytest.mark.parametrize("given", [True, False, 0, -1, 256, "3", 3.0])
    @pytest.mark.parametrize("keys", ["good", "bad"])
    def test_a_status_that_could_be_a_success(self, call: Callable[..., Ended], keys: str, given: object) -> None:
        """An `exit_status` other than an int from 1 to 255 is a ValueError, whatever the keys are."""
        with pytest.raises(ValueError, match=r"^exit_status must be an int from 1 to 255$"):
            call(keys, exit_status=given)

    @pytest.mark.parametrize("model", [SecretSettings, int, None])
    def test_not_a_model(self, call: Callable[..., Ended], model: Any) -> None:
        """A model that declares no secret is a TypeError."""
        with pytest.raises(TypeError, match=r"^the model must be a subclass of SecretSettings that declares a secret$"):
            call("good", model)

    def test_its_note(self, call: Callable[..., Ended]) -> None:
        """A note of the SystemExit lists the alerts about the secrets and the set-up."""
        refusal = call("bad", more={"ROBODJ_PROTECTED_ENV": "perhaps"}).refusal
        assert getattr(refusal, "__notes__", None) == [
            "refused: set-up: setting, secret.key: format, secret_v2.key: format"
        ]

    @pytest.mark.parametrize("keys", ["bad", "none"])
    def test_no_context_and_no_values(self, call: Callable[..., Ended], keys: str) -> None:
        """The SystemExit has no context, no cause and no frame with a value, also inside an exception handler."""
        refusals = [call(keys).refusal]
        try:
            int("no number")
        except ValueError:
            refusals.append(call(keys).refusal)
        for refusal in refusals:
            assert refusal is not None
            assert (refusal.__context__, refusal.__cause__) == (None, None)
            frames = traceback.TracebackException.from_exception(refusal, capture_locals=True).stack[1:]
            assert frames
            assert leaks(repr([frame.locals for frame in frames]), SECRET) == []

    def test_an_interrupt(self, call: Callable[..., Ended]) -> None:
        """A KeyboardInterrupt before the verdict is raised."""
        with pytest.raises(KeyboardInterrupt) as raised:
            call("good", Interrupted)
        assert raised.value.__context__ is None

    def test_nothing_could_be_checked(self, call: Callable[..., Ended]) -> None:
        """An error before there is a report is a refusal with one line on stderr."""
        ended = call("good", Breaking())
        assert (ended.status, ended.out, ended.err) == (3, "", LAST_WORD)
        assert getattr(ended.refusal, "__notes__", None) == [LAST_WORD.rstrip()]

    def test_nothing_was_taken(self, call: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
        """If no stream accepts the findings, one last line is written to stderr."""

        class Choosy(io.StringIO):
            def write(self, text: str) -> int:
                if "format" in text:
                    raise OSError
                return super().write(text)

        streams = Choosy(), Choosy()
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        assert call("bad").status == 3
        assert [stream.getvalue() for stream in streams] == ["", LAST_WORD]

    @pytest.mark.parametrize("keys", ["warned", "bad"])
    def test_broken_streams(self, call: Callable[..., Ended], keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stream that cannot be flushed is replaced. Otherwise the interpreter would end with status 120."""
        monkeypatch.setattr(sys, "stdout", object())
        call(keys)
        sys.stdout.flush()


class TestCheck:
    """`check` reports what the guard refuses."""

    @pytest.mark.parametrize("only", [False, True])
    def test_a_check_that_fails(self, only: bool) -> None:  # noqa: FBT001
        """The report of a failed check has one alert, no secret and no list, and the requested mode."""
        environ: Any = {V1: 5}
        given: Any = {"require_env_only": True} if only else {}
        report = check(environ=environ, now=NOW.astimezone(timezone(timedelta(hours=5))), **given)
        assert (found(report), report.secrets, report.revocation_list) == ([("internal", None)], (), None)
        assert (report.require_env_only, str(report.checked_at)) == (only, "2026-12-01 12:00:00+00:00")

    def test_a_time_without_a_timezone(self) -> None:
        """A `now` without a timezone is a ValueError."""
        with pytest.raises(ValueError, match=r"^now must have a timezone$"):
            check(environ={}, now=NOW.replace(tzinfo=None))


THREAD = """
import threading
thread = threading.Thread(target=guard)
thread.start()
thread.join()
"""
FUTURE = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    pool.submit(guard).exception()
"""
LOOP = """
import asyncio
async def main():
    try:
        guard()
    except BaseException:
        pass
asyncio.run(main())
"""
TASK = """
import asyncio
async def start():
    guard()
async def main():
    await asyncio.gather(asyncio.create_task(start()), return_exceptions=True)
asyncio.run(main())
"""
TRIO = """
import trio
async def main():
    guard()
async def nursery():
    try:
        async with trio.open_nursery() as group:
            group.start_soon(main)
    except* SystemExit:
        pass
trio.run(nursery)
"""
CAUGHT = """
import sys, types
sys.modules[{!r}] = types.SimpleNamespace({})
try:
    guard()
except BaseException:
    pass
"""
HOSTS = {"thread": THREAD, "future": FUTURE, "loop": LOOP, "task": TASK, "trio": TRIO}
FAKES = {
    "twisted": CAUGHT.format("twisted.internet.reactor", "running=True"),
    "greenlet": CAUGHT.format("greenlet", "getcurrent=lambda: types.SimpleNamespace(parent=0)"),
}
"""Fakes of the hosts that tests/trials/hosts tests with the extra `hosts`."""
QUEUE = """
import logging, logging.handlers, queue, structlog, time
class Slow(logging.FileHandler):
    def emit(self, record):
        time.sleep(0.05)
        super().emit(record)
handler = logging.handlers.QueueHandler(queue.Queue())
listener = logging.handlers.QueueListener(handler.queue, Slow("host.log"))
listener.start()
logging.basicConfig(handlers=[logging.NullHandler(), handler], level=logging.INFO, format="%(message)s")
structlog.configure(logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
    processors=[structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()])
"""
NO_LISTENER = QUEUE.replace("listener.start()", "")
MEMORY = """
logging.getLogger("host").addHandler(logging.handlers.MemoryHandler(9, target=logging.FileHandler("memory.log")))
logging.getLogger("host").warning("what the host had to say")
"""
WATCHDOG = """
import asyncio, signal
logging.warning("stuck")
def bark(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, bark)
signal.setitimer(signal.ITIMER_REAL, 0.5)
"""
HALVES = {
    "no-thread-starts": "def fail(self): raise RuntimeError\nthreading.Thread.start = fail",
    "half-logging": "sys.modules['logging'] = types.ModuleType('logging')",
    "no-queue": "sys.modules['queue'] = None",
}


BLOCKED = """
import os, sys
sys.modules["robodj_secretguard.guarding"].WRITE_SECONDS = 0.1
ends = os.pipe()
os.set_blocking(ends[1], False)
try:
    while os.write(ends[1], bytes(4096)): pass
except BlockingIOError:
    os.set_blocking(ends[1], True)
for number in (1, 2):
    os.dup2(ends[1], number)
"""


@needs_fork
class TestEndsAtOnce:
    """If the host could catch the SystemExit, the process ends at once, after the lines are written."""

    @pytest.mark.parametrize("host", HOSTS | FAKES)
    def test_without_a_pipeline(self, tmp_path: Path, host: str) -> None:
        """In another thread, in a greenlet and under a running loop, bad keys end the process with status 3.

        With good keys the host continues.
        """
        script = f"{GUARD}{(HOSTS | FAKES)[host]}{SERVED}"
        assert_refused(run_copy(script, BAD, tmp_path))
        assert run_copy(script, GOOD, tmp_path) == Ran(0, "served\n", "")

    @pytest.mark.parametrize("host", HOSTS)
    def test_with_a_queue_in_the_pipeline(self, tmp_path: Path, host: str) -> None:
        """With a logging queue behind structlog, the lines are on stderr, and the queue is flushed before the end."""
        ran = run_copy(f"{GUARD}{QUEUE}{HOSTS[host]}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")
        assert_alert_lines(ran.err)
        log = (tmp_path / "host.log").read_text(encoding="utf-8")
        assert [json.loads(line)["check"] for line in log.splitlines()] == ["format", "format", None]
        assert leaks(log, SECRET) == []

    def test_with_a_queue_that_nobody_empties(self, tmp_path: Path) -> None:
        """With a queue without a listener, the process still ends, and the records of other handlers are flushed."""
        ran = run_copy(f"{GUARD}{NO_LISTENER}{MEMORY}{LOOP}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")
        assert_alert_lines(ran.err)
        assert "what the host had to say" in (tmp_path / "memory.log").read_text(encoding="utf-8")

    def test_streams_that_block(self, tmp_path: Path) -> None:
        """If nobody reads the full pipes behind both streams, the process ends nevertheless."""
        ran = run_copy(f"{GUARD}{BLOCKED}{THREAD}{SERVED}", BAD, tmp_path)
        assert ran == Ran(3, "", "")

    def test_how_long_it_waits(self) -> None:
        """A refusal takes at most five seconds: less than the stop timeout of supervisors, and enough for a queue."""
        assert WRITE_SECONDS == 5.0

    def test_under_a_watchdog(self, tmp_path: Path) -> None:
        """The host does not continue if a signal handler raises during the flush."""
        main = LOOP.replace("BaseException", "Exception")
        ran = run_copy(f"{GUARD}{NO_LISTENER}{WATCHDOG}{main}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")

    @pytest.mark.parametrize("half", HALVES)
    def test_broken_modules(self, tmp_path: Path, half: str) -> None:
        """If no thread can start, or logging or queue is half-imported, the end is the same, without a traceback."""
        loop = f"import asyncio, sys, threading, types\n{HALVES[half]}\n{LOOP}"
        assert_refused(run_copy(f"{GUARD}{loop}{SERVED}", BAD, tmp_path))

    @pytest.mark.parametrize(("argument", "more"), [("exit_status=4", {}), ("", {"RUN_MAIN": "true"})])
    def test_its_status(self, tmp_path: Path, argument: str, more: dict[str, str]) -> None:
        """The status has the same rules as the status of a SystemExit."""
        script = f"{GUARD}import functools\nguard = functools.partial(guard, {argument})\n{THREAD}"
        assert run_copy(script, BAD, tmp_path, **more).status == 4

    def test_broken_threading(self, tmp_path: Path) -> None:
        """If threading is broken, the process ends at once too."""
        broken = "import threading\nthreading.current_thread = None\n"
        caught = CAUGHT.format("host", "")
        assert_refused(run_copy(f"{GUARD}{broken}{caught}{SERVED}", BAD, tmp_path))

    def test_broken_report(self, tmp_path: Path) -> None:
        """If the last line cannot even be made, the process ends at once as well."""
        broken = "from robodj_secretguard.startup.report import Report\nReport.refusal = None\n"
        ran = run_copy(f"{GUARD}{broken}{CAUGHT.format('host', '')}{SERVED}", BAD, tmp_path)
        assert (ran.status, "served" in ran.out) == (3, False)

    def test_in_the_main_thread(self, tmp_path: Path) -> None:
        """In the main thread without a loop, a host can catch the SystemExit."""
        caught = CAUGHT.format("host", "").replace("pass", "print('caught')")
        ran = run_copy(f"{GUARD}{caught}", BAD, tmp_path)
        assert (ran.status, ran.out.splitlines()[5:]) == (0, ["caught"])


SAME = f"""{SERVICE}import os
given = [os.environ["{V1}"], os.environ["{V2}"]]
returned = [SECRETS.secret_key.get_secret_value(), SECRETS.secret_v2_key.get_secret_value()]
raise SystemExit(0 if returned == given else 9)
"""


@pytest.mark.parametrize(
    "options",
    [
        ("-I",),
        ("-OO", "-X", "dev", "-W", "error", "-u"),
        *(
            pytest.param(each, marks=pytest.mark.full)
            for each in ((), ("-O",), ("-OO",), ("-X", "dev"), ("-X", "utf8=0"), ("-W", "error"), ("-u",))
        ),
    ],
    ids=" ".join,
)
class TestInterpreters:
    """The result does not depend on the options of Python. The full run tries each option alone."""

    def test_good_keys_start_silently(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        """With good keys nothing is written, and the values of the environment are returned."""
        ran = run_script(SAME, GOOD, tmp_path, options=options)
        assert (ran.status, ran.out, ran.err) == (0, "", "")

    def test_bad_keys_are_refused(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        """With bad keys the status is 3, every ALERT is on stdout, and nothing runs after the guard."""
        assert_refused(run_script(START, BAD, tmp_path, options=options))
