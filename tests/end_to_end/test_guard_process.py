"""The guard in a script, a thread and an event loop, seen from outside the process."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2
from detector import leaks
from processes import BAD, GOOD, GUARD, SERVED, SERVICE, SETS, WARNED, WARNING_START, assert_alert_lines, run_script

from robodj_secretguard.guard import FLUSH_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

INTERPRETERS = [(), ("-O",), ("-OO",), ("-I",), ("-X", "dev"), ("-X", "utf8=0"), ("-W", "error"), ("-u",)]

SEES = """
import traceback
def see(error):
    print(type(error).__name__, error.code, error.__context__, error.__cause__)
    print("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
"""


@pytest.mark.parametrize("options", INTERPRETERS, ids=" ".join)
class TestInterpreters:
    """However Python is started, the same happens."""

    def test_good_keys_start_silently(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        """Good keys: nothing is written, and the values that are returned are those that were given."""
        script = (
            f"{SERVICE}import os\n"
            "same = SECRETS.secret_key.get_secret_value() == os.environ['ROBODJ_SECRET_KEY']\n"
            "same &= SECRETS.secret_v2_key.get_secret_value() == os.environ['ROBODJ_SECRET_V2_KEY']\n"
            "raise SystemExit(0 if same else 'other values')\n"
        )
        ran = run_script(script, GOOD, tmp_path, options=options)
        assert (ran.status, ran.out, ran.err) == (0, "", "")

    def test_bad_keys_are_refused(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        """Bad keys: status 3, every ALERT on a physical ASCII line of stdout, and nothing runs after the guard."""
        ran = run_script(f"{SERVICE}{SERVED}", BAD, tmp_path, options=options)
        assert (ran.status, ran.err) == (3, "")
        assert_alert_lines(ran.out)


def test_warnings_alone_are_written_and_the_service_starts(tmp_path: Path) -> None:
    """A warning without an alert is one line on stdout, and the service goes on."""
    ran = run_script(f"{SERVICE}{SERVED}", WARNED, tmp_path)
    assert (ran.status, ran.err) == (0, "")
    warning, served = ran.out.splitlines()
    assert warning.startswith(WARNING_START)
    assert served == "served"


def test_alerts_and_warnings_come_in_one_run(tmp_path: Path) -> None:
    """A refusal writes the warnings too, each secret's findings together, in declared order."""
    ran = run_script(SERVICE, WARNED | BAD, tmp_path)
    assert ran.status == 3
    assert [line.split(": ")[:3] for line in ran.out.splitlines()] == [
        ["ALERT", "secret.key", "format"],
        ["WARNING", "secret.key", "near-miss"],
        ["ALERT", "secret_v2.key", "format"],
    ]


@pytest.mark.parametrize(
    ("arguments", "directory", "variables", "checks"),
    [
        ("", "config", {}, ["file-fallback"]),
        ("config_dir='elsewhere'", "elsewhere", {}, ["file-fallback"]),
        ("", "config", {"ROBODJ_PROTECTED_ENV": "true"}, ["missing", "file-present"]),
        ("require_env_only=True", "config", {}, ["missing", "file-present"]),
    ],
)
def test_a_fallback_file_starts_it_unless_files_are_ruled_out(
    tmp_path: Path, arguments: str, directory: str, variables: dict[str, str], checks: list[str]
) -> None:
    """A key from the config directory is break-glass: a warning, and a start; in environment-only it is an alert."""
    (tmp_path / directory).mkdir(mode=0o700)
    (tmp_path / directory / "secret.key").write_text(GOOD[V1], encoding="utf-8")
    (tmp_path / directory / "secret.key").chmod(0o600)
    ran = run_script(f"{GUARD}guard({arguments})\n", {V2: GOOD[V2]}, tmp_path, **variables)
    assert (ran.status, ran.err) == (3 if "missing" in checks else 0, "")
    assert [line.split(": ")[2] for line in ran.out.splitlines()] == checks


@pytest.mark.parametrize(
    ("argument", "variables", "status"),
    [
        ("", {"WERKZEUG_RUN_MAIN": "true"}, 4),
        ("", {"RUN_MAIN": "true"}, 4),
        ("", {"RUN_MAIN": "false"}, 3),
        ("exit_status=1", {}, 1),
        ("exit_status=255", {}, 255),
        ("exit_status=78", {"RUN_MAIN": "true"}, 78),
    ],
)
def test_the_status_of_a_refusal(tmp_path: Path, argument: str, variables: dict[str, str], status: int) -> None:
    """A refusal is 4 in an autoreloader's child, where 3 means "reload", and `exit_status` replaces either."""
    ran = run_script(f"{GUARD}guard({argument})\n", BAD, tmp_path, **variables)
    assert ran.status == status
    assert_alert_lines(ran.out)


def test_a_status_that_could_be_a_success_is_an_error_at_the_call(tmp_path: Path) -> None:
    """An `exit_status` that is no int from 1 to 255, or a bool, is a ValueError, with good keys too."""
    script = f"""{GUARD}
for given in True, False, 0, -1, 256, "3", 3.0:
    try:
        guard(exit_status=given)
    except ValueError as error:
        print(error)
    else:
        print("accepted", given)
"""
    ran = run_script(script, GOOD, tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == ["exit_status must be an int from 1 to 255"] * 7


def test_a_host_that_catches_exception_does_not_go_on(tmp_path: Path) -> None:
    """`except Exception` around the import of a service does not swallow its refusal."""
    (tmp_path / "service.py").write_text(SERVICE, encoding="utf-8")
    script = f"try:\n    import service\nexcept Exception:\n    pass\n{SERVED}"
    ran = run_script(script, BAD, tmp_path)
    assert (ran.status, ran.err) == (3, "")
    assert_alert_lines(ran.out)


@pytest.mark.parametrize("keys", ["bad", "none"])
def test_the_refusal_carries_no_exception_and_no_value(tmp_path: Path, keys: str) -> None:
    """The SystemExit that a host catches, also while it handles an error, has no chain and no frame with a value."""
    script = f"""{GUARD}{SEES}
try:
    guard()
except BaseException as error:
    see(error)
try:
    raise LookupError("the host's own")
except LookupError:
    try:
        guard()
    except BaseException as error:
        see(error)
"""
    ran = run_script(script, SETS[keys], tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines().count("SystemExit 3 None None") == 2
    assert "LookupError" not in ran.out
    assert "ValidationError" not in ran.out


def test_a_model_of_the_hosts_whose_validator_fails_is_refused(tmp_path: Path) -> None:
    """A validator of the host's that raises, with the value in its text, is an `internal` alert without it."""
    script = f"""{GUARD}{SEES}
from pydantic import field_validator
from robodj_secretguard import RuntimeSecrets
class Ours(RuntimeSecrets):
    @field_validator("secret_key")
    @classmethod
    def refuse(cls, value):
        raise ValueError(value.get_secret_value())
try:
    guard(Ours)
except SystemExit as error:
    see(error)
    raise
"""
    ran = run_script(script, GOOD, tmp_path)
    assert (ran.status, ran.err) == (3, "")
    assert [line.split(": ")[:3] for line in ran.alerts] == [["ALERT", "secret.key", "internal"]]


class TestEndsAtOnce:
    """Where a SystemExit could be swallowed, the process ends there and then, with the lines written."""

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
    QUEUE = """
import logging, logging.handlers, queue, structlog
handler = logging.handlers.QueueHandler(queue.Queue())
listener = logging.handlers.QueueListener(handler.queue, logging.FileHandler("host.log"))
listener.start()
logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(message)s")
structlog.configure(logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
    processors=[structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()])
"""
    NO_LISTENER = QUEUE.replace("listener.start()", "")
    HOSTS = pytest.mark.parametrize(
        "host", [THREAD, FUTURE, LOOP, TASK, TRIO], ids=["thread", "future", "loop", "task", "trio"]
    )

    @HOSTS
    def test_refused_without_a_pipeline(self, tmp_path: Path, host: str) -> None:
        """In another thread and under a running loop, the status is 3 and the lines are on stdout."""
        ran = run_script(f"{GUARD}{host}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.err) == (3, "")
        assert_alert_lines(ran.out)

    @HOSTS
    def test_refused_with_a_queue_in_the_pipeline(self, tmp_path: Path, host: str) -> None:
        """With a logging queue behind structlog, the lines are on stderr, and the queue is emptied before the end."""
        ran = run_script(f"{GUARD}{self.QUEUE}{host}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")
        assert_alert_lines(ran.err)
        log = (tmp_path / "host.log").read_text(encoding="utf-8")
        assert [json.loads(line)["check"] for line in log.splitlines()] == ["format", "format"]
        assert leaks(log, tuple(GOOD.values())) == []

    def test_refused_with_a_queue_that_nobody_empties(self, tmp_path: Path) -> None:
        """A queue without a listener delays the end by the bounded flush at most, and takes no other record with it."""
        memory = """
logging.getLogger("host").addHandler(logging.handlers.MemoryHandler(9, target=logging.FileHandler("memory.log")))
logging.getLogger("host").warning("what the host had to say")
"""
        ran = run_script(f"{GUARD}{self.NO_LISTENER}{memory}{self.LOOP}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")
        assert_alert_lines(ran.err)
        assert "what the host had to say" in (tmp_path / "memory.log").read_text(encoding="utf-8")

    def test_how_long_it_waits(self) -> None:
        """The bounded flush is of two seconds: less than the grace that supervisors give, and enough for a queue."""
        assert FLUSH_SECONDS == 2.0

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no alarm signal")
    def test_refused_under_a_watchdog(self, tmp_path: Path) -> None:
        """A signal handler that raises during the flush does not let the host go on."""
        watchdog = """
import signal
logging.warning("stuck")
def bark(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, bark)
signal.setitimer(signal.ITIMER_REAL, 0.5)
async def main():
    try:
        guard()
    except Exception:
        print("went on")
"""
        run_main = "import asyncio\nasyncio.run(main())\n"
        ran = run_script(f"{GUARD}{self.NO_LISTENER}{watchdog}{run_main}{SERVED}", BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")

    @pytest.mark.parametrize(("argument", "variables"), [("exit_status=4", {}), ("", {"RUN_MAIN": "true"})])
    def test_the_status_is_the_same(self, tmp_path: Path, argument: str, variables: dict[str, str]) -> None:
        """The status of an end at once follows the same rules as that of a SystemExit."""
        script = f"{GUARD}import functools\nguard = functools.partial(guard, {argument})\n{self.THREAD}"
        assert run_script(script, BAD, tmp_path, **variables).status == 4

    @HOSTS
    def test_good_keys_start(self, tmp_path: Path, host: str) -> None:
        """Good keys: the host goes on, in a thread and under a loop too."""
        ran = run_script(f"{GUARD}{host}{SERVED}", GOOD, tmp_path)
        assert (ran.status, ran.out, ran.err) == (0, "served\n", "")
