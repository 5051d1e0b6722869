"""The guard: what it returns, how it refuses, and that it ends the process where a refusal could be swallowed."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conftest import NOW, V1, V2, Ran, found, process_environment
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
from pydantic import field_validator, model_validator

from robodj_secretguard import RuntimeSecrets, SecretSettings, check, guard
from robodj_secretguard.guard import FLUSH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import SecretStr

LAST_WORD = "ALERT: robodj-secretguard refused to start: the check or its report failed, so nothing is verified.\n"
EPHEMERAL = "ROBODJ_SECRETS_EPHEMERAL"


class Ended(NamedTuple):
    """How a call has ended: with secrets or with a refusal, and what was written."""

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
    """A function that calls the guard in this process, with a set of keys, in an empty directory."""

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


class Failing(RuntimeSecrets):
    """A validator of the host's raises, with the value in its text."""

    @field_validator("secret_key", "secret_v2_key")
    @classmethod
    def _judge(cls, value: SecretStr) -> SecretStr:
        raise ValueError(value.get_secret_value())


class FailingTogether(RuntimeSecrets):
    """A validator of the whole model raises."""

    @model_validator(mode="after")
    def _judge(self) -> FailingTogether:
        raise ValueError


class Interrupted(RuntimeSecrets):
    """An operator gives up meanwhile."""

    @field_validator("secret_key")
    @classmethod
    def _judge(cls, _value: SecretStr) -> SecretStr:
        raise KeyboardInterrupt


class Breaking:
    """What cannot even be looked at."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError

    @__class__.setter
    def __class__(self, _: Any) -> None: ...


class TestStarts:
    """No alert: the guard returns."""

    def test_good_keys(self, call: Callable[..., Ended]) -> None:
        """The values that were given are returned, and nothing is written."""
        ended = call("good")
        assert type(ended.secrets) is RuntimeSecrets
        assert ended.secrets.secret_key.get_secret_value() == GOOD[V1]
        assert ended.secrets.secret_v2_key.get_secret_value() == GOOD[V2]
        assert (ended.out, ended.err) == ("", "")

    def test_a_warning(self, call: Callable[..., Ended]) -> None:
        """A warning alone is on stdout, and the guard returns."""
        ended = call("warned")
        assert (ended.status, ended.err, ended.out.count("\n")) == (None, "", 2)
        assert ended.out.startswith(WARNING_START)

    def test_a_logger(self, call: Callable[..., Ended]) -> None:
        """The logger that is passed gets the findings."""
        lines = []

        class Logger:
            def warning(self, line: str, **_fields: str) -> None:
                lines.append(line)

        ended = call("warned", logger=Logger())
        assert (ended.out, ended.err) == ("", "")
        assert [line.startswith(WARNING_START) for line in lines] == [True]

    @pytest.mark.parametrize(("value", "said"), [("true", ["ephemeral", "near-miss"]), ("announced", ["near-miss"])])
    def test_temporary_keys_that_were_announced(self, call: Callable[..., Ended], value: str, said: list[str]) -> None:
        """What `exec` has already reported for temporary keys is not repeated, and all else is reported."""
        ended = call("warned", more={EPHEMERAL: value})
        assert [name for name in ("ephemeral", "near-miss") if f" {name}: " in ended.out] == said
        assert ended.out.count("\n") == 2 * len(said)

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
        """`config_dir` says where the fallback files are, and `require_env_only` that there are none."""
        (tmp_path / directory).mkdir(mode=0o700)
        (tmp_path / directory / "secret.key").write_text(GOOD[V1], encoding="utf-8")
        (tmp_path / directory / "secret.key").chmod(0o600)
        ended = call("good", more={V1: ""}, **arguments)
        assert ended.out.split(": ")[2] == fired
        assert (ended.secrets is None) is (fired == "missing")


class TestRefuses:
    """An alert: the guard does not return."""

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
        """The status is 4 in an autoreloader's child, where 3 means "reload", and `exit_status` replaces either."""
        ended = call("bad", more=more, **arguments)
        assert (ended.status, ended.err) == (status, "")
        assert_alert_lines(ended.out)

    @pytest.mark.parametrize("given", [True, False, 0, -1, 256, "3", 3.0])
    @pytest.mark.parametrize("keys", ["good", "bad"])
    def test_a_status_that_could_be_a_success(self, call: Callable[..., Ended], keys: str, given: object) -> None:
        """An `exit_status` that is no int from 1 to 255, or a bool, is a ValueError whatever the keys are."""
        with pytest.raises(ValueError, match=r"^exit_status must be an int from 1 to 255$"):
            call(keys, exit_status=given)

    @pytest.mark.parametrize("model", [SecretSettings, int, None])
    def test_what_is_no_model(self, call: Callable[..., Ended], model: Any) -> None:
        """What declares no secret is a TypeError, and not a pass."""
        with pytest.raises(TypeError, match=r"^the model must be a subclass of SecretSettings that declares a secret$"):
            call("good", model)

    def test_its_note(self, call: Callable[..., Ended]) -> None:
        """A note of the SystemExit says which alerts there were, of a secret or of the set-up."""
        refusal = call("bad", more={"ROBODJ_PROTECTED_ENV": "perhaps"}).refusal
        assert refusal is not None
        assert refusal.__notes__ == ["refused: set-up: setting, secret.key: format, secret_v2.key: format"]

    @pytest.mark.parametrize("keys", ["bad", "none"])
    def test_it_carries_nothing(self, call: Callable[..., Ended], keys: str) -> None:
        """The SystemExit has no context, no cause and no frame of the library with a value, in a handler too."""
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

    @pytest.mark.parametrize(("model", "secret"), [(Failing, "secret.key: "), (FailingTogether, "")])
    def test_a_validator_that_fails(self, call: Callable[..., Ended], model: Any, secret: str) -> None:
        """A model that cannot be made is an `internal` alert about its secret, as well as the warnings."""
        ended = call("warned", model)
        assert (ended.status, ended.err) == (3, "")
        findings = ended.out.splitlines()[:-1:2]
        assert sorted(each.split(": the check")[0] for each in findings if "internal" in each) == [
            f"ALERT: {secret}internal"
        ]
        assert len(findings) == 2

    def test_an_interrupt(self, call: Callable[..., Ended]) -> None:
        """An operator who gives up before there is a verdict gets a KeyboardInterrupt."""
        with pytest.raises(KeyboardInterrupt) as raised:
            call("good", Interrupted)
        assert raised.value.__context__ is None

    def test_nothing_could_be_checked(self, call: Callable[..., Ended]) -> None:
        """What fails before there is a report is a refusal whose one line is on stderr."""
        ended = call("good", Breaking())
        assert (ended.status, ended.out, ended.err) == (3, "", LAST_WORD)
        assert ended.refusal is not None
        assert ended.refusal.__notes__ == [LAST_WORD.rstrip()]

    def test_nothing_was_taken(self, call: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no stream takes the findings, the last word is tried on stderr."""

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
        """A stream that cannot be flushed is replaced, after a start too: the interpreter would end with 120."""
        monkeypatch.setattr(sys, "stdout", object())
        call(keys)
        sys.stdout.flush()


class TestCheck:
    """`check` reports what the guard refuses."""

    @pytest.mark.parametrize("only", [False, True])
    def test_a_check_that_fails(self, only: bool) -> None:  # noqa: FBT001
        """The report has the one alert, no secret and no list, and says which mode was asked for."""
        environ: Any = {V1: 5}
        given: Any = {"require_env_only": True} if only else {}
        report = check(environ=environ, now=NOW.astimezone(timezone(timedelta(hours=5))), **given)
        assert (found(report), report.secrets, report.revocation_list) == ([("internal", None)], (), None)
        assert (report.require_env_only, str(report.checked_at)) == (only, "2026-12-01 12:00:00+00:00")

    def test_a_time_without_a_timezone(self) -> None:
        """It is a programming error."""
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
TWISTED = CAUGHT.format("twisted.internet.reactor", "running=True")
GREENLET = CAUGHT.format("greenlet", "getcurrent=lambda: types.SimpleNamespace(parent=0)")
HOSTS = {"thread": THREAD, "future": FUTURE, "loop": LOOP, "task": TASK, "trio": TRIO}
STAND_INS = {"twisted": TWISTED, "greenlet": GREENLET}
"""What tests/hosts has for real, where the extra `hosts` is installed."""
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


@needs_fork
class TestEndsAtOnce:
    """Where a SystemExit could be swallowed, the process ends there and then, with the lines written."""

    @pytest.mark.parametrize("host", HOSTS | STAND_INS)
    def test_without_a_pipeline(self, tmp_path: Path, host: str) -> None:
        """In another thread, in a greenlet and under a running loop, the status is 3 and the lines are on stdout.

        Good keys: the host goes on.
        """
        script = f"{GUARD}{(HOSTS | STAND_INS)[host]}{SERVED}"
        assert_refused(run_copy(script, BAD, tmp_path))
        assert run_copy(script, GOOD, tmp_path) == Ran(0, "served\n", "")

    @pytest.mark.parametrize("host", HOSTS)
    def test_with_a_queue_in_the_pipeline(self, tmp_path: Path, host: str) -> None:
        """With a logging queue behind structlog, the lines are on stderr, and the queue is emptied before the end."""
        ran = run_copy(f"{GUARD}{QUEUE}{HOSTS[host]}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")
        assert_alert_lines(ran.err)
        log = (tmp_path / "host.log").read_text(encoding="utf-8")
        assert [json.loads(line)["check"] for line in log.splitlines()] == ["format", "format", None]
        assert leaks(log, SECRET) == []

    def test_with_a_queue_that_nobody_empties(self, tmp_path: Path) -> None:
        """A queue without a listener delays the end by the bounded flush at most, and takes no other record with it."""
        ran = run_copy(f"{GUARD}{NO_LISTENER}{MEMORY}{LOOP}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")
        assert_alert_lines(ran.err)
        assert "what the host had to say" in (tmp_path / "memory.log").read_text(encoding="utf-8")

    def test_how_long_it_waits(self) -> None:
        """The bounded flush is of two seconds: less than the grace that supervisors give, and enough for a queue."""
        assert FLUSH_SECONDS == 2.0

    def test_under_a_watchdog(self, tmp_path: Path) -> None:
        """A signal handler that raises during the flush does not let the host go on."""
        main = LOOP.replace("BaseException", "Exception")
        ran = run_copy(f"{GUARD}{NO_LISTENER}{WATCHDOG}{main}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")

    @pytest.mark.parametrize("half", HALVES)
    def test_what_it_needs_is_not_there(self, tmp_path: Path, half: str) -> None:
        """Where no thread starts, or logging or queue is half-imported, the end is the same, without a traceback."""
        loop = f"import asyncio, sys, threading, types\n{HALVES[half]}\n{LOOP}"
        assert_refused(run_copy(f"{GUARD}{loop}{SERVED}", BAD, tmp_path))

    @pytest.mark.parametrize(("argument", "more"), [("exit_status=4", {}), ("", {"RUN_MAIN": "true"})])
    def test_its_status(self, tmp_path: Path, argument: str, more: dict[str, str]) -> None:
        """The status of an end at once follows the same rules as that of a SystemExit."""
        script = f"{GUARD}import functools\nguard = functools.partial(guard, {argument})\n{THREAD}"
        assert run_copy(script, BAD, tmp_path, **more).status == 4

    def test_it_cannot_be_seen_where_it_is(self, tmp_path: Path) -> None:
        """Where threading is broken, the process ends at once too."""
        broken = "import threading\nthreading.current_thread = None\n"
        caught = CAUGHT.format("host", "")
        assert_refused(run_copy(f"{GUARD}{broken}{caught}{SERVED}", BAD, tmp_path))

    def test_in_the_main_thread(self, tmp_path: Path) -> None:
        """In the main thread without a loop a host can catch the SystemExit."""
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
    """However Python is started, the same happens; the full run has each option alone."""

    def test_good_keys_start_silently(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        """Good keys: nothing is written, and the values that are returned are those that were given."""
        ran = run_script(SAME, GOOD, tmp_path, options=options)
        assert (ran.status, ran.out, ran.err) == (0, "", "")

    def test_bad_keys_are_refused(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        """Bad keys: status 3, every ALERT on stdout, and nothing runs after the guard."""
        assert_refused(run_script(START, BAD, tmp_path, options=options))
