"""The events of a start: who speaks, what an event has, where it goes, and how it is repeated."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import structlog
from command_line import fingerprint_of
from conftest import NOW, TIMEOUT, V1, V2, good_keys, marker, posix_only, process_environment
from detector import leaks
from processes import (
    BAD,
    GOOD,
    GUARD,
    SECRET,
    SERVED,
    SERVICE,
    SETS,
    assert_alert_lines,
    fork,
    host_env,
    needs_fork,
    run_copy,
    run_forked,
)
from publications import volume

from robodj_secretguard import Report, RuntimeSecrets, check, guard
from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.running import heartbeat
from robodj_secretguard.running.heartbeat import (
    EventKind,
    event_of,
    identify_process,
    send_and_repeat,
    send_end,
    send_event,
    send_heartbeat,
)
from robodj_secretguard.running.state import RunningState
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import ENVIRONMENT, EVENT_SETTINGS, SECRETS_DIR
from robodj_secretguard.version import VERSION

NAMED, INSTANCE, FILE, SECONDS = EVENT_SETTINGS
MODEL = "robodj_secretguard:RuntimeSecrets"
KIND = "secret_event"
KINDS = get_args(EventKind)
PAGE = (Path(__file__).parent.parent / "docs" / "logs.md").read_text(encoding="utf-8")
PAGE = PAGE.replace("from app.service_secrets import", "from robodj_secretguard import RuntimeSecrets as")
KEY = good_keys()[V1]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this platform has no /dev/full")


def events(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file, each of which is one line of JSON, and assert that no key is in it."""
    text = path.read_text(encoding="ascii")
    assert leaks(text, SECRET) == []
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def kinds(path: Path) -> list[str]:
    """Return the kind of each event of a file."""
    return [each[KIND] for each in events(path)]


@contextmanager
def environ(**variables: str) -> Iterator[None]:
    """Give this process good keys, and the settings of a test."""
    with process_environment(host_env(GOOD, **variables)):
        yield


def report(keys: str = "good") -> Report:
    """Return the report of a start."""
    return check(environ=SETS[keys], now=NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of an events file, which does not exist."""
    return tmp_path / "events.jsonl"


class Recorder:
    """A logger that keeps its events, and sets `done` after the one that a function of them waits for."""

    def __init__(self, is_last: Callable[[list[dict[str, Any]]], object] = bool) -> None:
        self.sent: list[dict[str, Any]] = []
        self.done = threading.Event()
        self._is_last = is_last

    def info(self, event: str, **fields: Any) -> None:
        self.sent.append({"event": event, **fields})
        if self._is_last(self.sent):
            self.done.set()


def identified(**variables: str) -> tuple[str, str]:
    """Return the service and the instance of a process with these variables."""
    with process_environment(variables):
        return identify_process()


class TestIdentity:
    """`identify_process`: the service and the instance."""

    @pytest.mark.parametrize(
        ("host", "variables", "service", "instance"),
        [
            ("web-1.example", {}, "unnamed", f"web-1.example:{os.getpid()}"),
            ("", {NAMED: "", INSTANCE: ""}, "unnamed", f"unknown:{os.getpid()}"),
            ("web-1.example", {NAMED: "api", INSTANCE: "web-1:8000"}, "api", "web-1:8000"),
        ],
        ids=["by default", "a host without a name, and empty variables", "named"],
    )
    def test_names(
        self, monkeypatch: pytest.MonkeyPatch, host: str, variables: dict[str, str], service: str, instance: str
    ) -> None:
        """Variables set both names. By default, the service is unnamed, and the instance is host and process."""
        monkeypatch.setattr("platform.node", lambda: host)
        assert identified(**variables) == (service, instance)

    @pytest.mark.parametrize("shape", ["{}", "api-{}", "api/{}:80"])
    @pytest.mark.parametrize("variable", [NAMED, INSTANCE])
    def test_a_key(self, variable: str, shape: str) -> None:
        """A name that could hold a key is not used, whatever is around it."""
        for key in good_keys().values():
            assert identified(**{variable: shape.format(key)}) == identified()


class TestFields:
    """`event_of`: the fields of an event."""

    def test_a_start(self) -> None:
        """An event has who speaks, the times, the library, the environment, the model, and each secret.

        The kind and the time are first, so a line that was cut still has them.
        """
        with environ(**{NAMED: "api", INSTANCE: "web-1", ENVIRONMENT: "prod"}):
            event = event_of("started", report(), MODEL, 7, RunningState("following", NOW))
        assert [*event][:2] == [KIND, "reported_at"]
        found, reported, process = event.pop("secrets"), event.pop("reported_at"), event.pop("process")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reported)
        assert re.fullmatch(rf"{os.getpid()}\.7@\d{{4}}-\d\d-\d\dT[\d:.]{{15}}Z", process)
        assert event == {
            "secret_event": "started",
            "event": "secret integrity check passed",
            "service": "api",
            "instance": "web-1",
            "number": 7,
            "started_at": "2026-12-01T12:00:00Z",
            "heartbeat_seconds": 0,
            "version": VERSION,
            "environment": "prod",
            "state": "following",
            "state_since": "2026-12-01T12:00:00Z",
            "model": MODEL,
            "off": [],
            "checks": [],
        }
        none = dict.fromkeys(("next", "previous", "previous_until"))
        assert found == {each.secret: {"current": each.fingerprint} | none for each in report().secrets}

    def test_each_start_is_another_process(self) -> None:
        """Containers have the same process id, and may start in the same second: none of them hides another one."""
        assert len({event_of("started", report(), MODEL, 1)["process"] for _ in range(9)}) == 9

    def test_slots(self) -> None:
        """The fingerprints of the next and the previous key are fields of their secret, and the deadline too."""
        until = marker(timedelta(days=5))
        slots = {f"{V1}_NEXT": good_keys()[V1], f"{V1}_PREVIOUS": good_keys()[V1], f"{V1}_PREVIOUS_UNTIL": until}
        started = check(environ=GOOD | slots, now=NOW)
        one, other = event_of("running", started, MODEL, 1)["secrets"].values()
        assert len({one["current"], one["next"], one["previous"]}) == 3
        assert (one["next"], one["previous_until"]) == (started.secrets[0].next_fingerprint, until)
        assert (other["next"], other["previous_until"]) == (None, None)

    def test_the_page(self) -> None:
        """The example in docs/logs.md has the same fields in the same order, and its table has a row for each."""
        (example,) = (json.loads(each) for each in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
        event = event_of("started", report(), MODEL, 1)
        assert [*example] == [*event]
        assert [*example["secrets"]["secret.key"]] == [*event["secrets"]["secret.key"]]
        assert {name for name in event if f"`{name}`" not in PAGE and name != "event"} == set()

    def test_a_refusal(self) -> None:
        """A refusal has its checks, and no fingerprint of a key that is not sound."""
        event = event_of("refused", check(environ=BAD | {"ROBODJ_PROTECTED_ENV": "?"}, now=NOW), MODEL, 1)
        assert event["checks"] == ["set-up: setting", "secret.key: format", "secret_v2.key: format"]
        assert {each["current"] for each in event["secrets"].values()} == {None}


@posix_only
class TestFile:
    """The events file."""

    def test_a_line(self, file: Path) -> None:
        """Each event is a line at the end of the file. After the file is moved away, the next event makes a new one.

        Others cannot read or write it. A program that rotates logs needs no signal.
        """
        with environ(**{FILE: str(file)}):
            assert {send_event(kind, report(), MODEL) for kind in KINDS} == {""}
            assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0
            file.rename(moved := file.with_suffix(".1"))
            send_event("running", report(), MODEL)
        assert (kinds(moved), kinds(file)) == ([*KINDS], ["running"])

    def test_a_line_after_a_cut_one(self, file: Path) -> None:
        """A line that a full disk has cut is ended first, so that it hides no other one."""
        file.write_bytes(b'{"secret_event": "runn')
        with environ(**{FILE: str(file)}):
            assert {send_event("running", report(), MODEL) for _ in range(2)} == {""}
        cut, *others = file.read_text(encoding="ascii").splitlines()
        assert (cut, [json.loads(each)[KIND] for each in others]) == ('{"secret_event": "runn', ["running"] * 2)

    @needs_fork
    def test_many_processes(self, file: Path) -> None:
        """No line of 8 processes that write at once is torn or lost."""
        go, start = os.pipe()
        children = []
        with environ(**{FILE: str(file)}):
            for number in range(8):
                if not (child := fork()):
                    os.environ[INSTANCE] = f"web-{number}"
                    os.close(start)
                    os.read(go, 1)
                    os._exit(sum(send_event("running", report(), MODEL) != "" for _ in range(20)))
                children.append(child)
        os.close(start)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
        os.close(go)
        # A writer that sees half of another one's line ends it, so an empty line may follow.
        lines = [line for line in file.read_text(encoding="ascii").splitlines() if line]
        found = [json.loads(line)["instance"] for line in lines]
        assert {name: found.count(name) for name in found} == {f"web-{number}": 20 for number in range(8)}

    def test_faults(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What cannot be written is one warning of a start or a refusal, with the variable and the error alone."""
        os.mkfifo(tmp_path / "a FIFO without a reader")
        faults = {
            str(tmp_path / "a FIFO without a reader"): "OSError",
            str(tmp_path / "no directory" / "x"): "FileNotFoundError",
            str(tmp_path): "IsADirectoryError",
            **({str(FULL): "OSError"} if FULL.exists() else {}),
        }
        fix = f"correct {FILE}, or let the service's user write there (its directory must exist)"
        for (path, error), kind in product(faults.items(), ("started", "refused")):
            with environ(**{FILE: path}):
                send_and_repeat(kind, report("bad" if kind == "refused" else "good"), MODEL)
            what = f"WARNING: setting: {FILE} cannot be written ({error})"
            assert capsys.readouterr() == ("", f"{what}\n  fix: {fix}. Owner: Security Operations\n")

    @pytest.mark.parametrize(("target", "other"), [("stdout", "stderr"), ("stderr", "stdout")])
    def test_a_broken_stream(
        self, target: str, other: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The warning about a stream is written to the other one."""
        monkeypatch.setattr(sys, target, None)
        with environ(**{FILE: target}):
            send_and_repeat("started", report(), MODEL)
        assert getattr(capsys.readouterr(), other[3:]).startswith(f"WARNING: setting: {FILE} cannot be written")

    def test_a_full_fifo(self, file: Path) -> None:
        """A FIFO whose reader does not read does not block. Its reader gets whole lines."""
        os.mkfifo(file)
        reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with environ(**{FILE: str(file)}):
            sent = [send_event("running", report(), MODEL) for _ in range(200)]
        assert {*sent} == {"", "incomplete"}
        with open(reader, encoding="ascii") as pipe:
            assert [json.loads(line)[KIND] for line in pipe.read(60_000).splitlines()[:-1]]


class TestStreams:
    """Standard streams as the target."""

    @pytest.mark.parametrize("name", ["stdout", "stderr"])
    def test_a_line(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        """An event is a line on the stream."""
        with environ(**{FILE: name}):
            assert send_event("started", report(), MODEL) == ""
        shown = capsys.readouterr()._asdict()
        assert json.loads(shown.pop("out" if name == "stdout" else "err"))[KIND] == "started"
        assert [*shown.values()] == [""]

    @needs_full
    @pytest.mark.parametrize(("name", "keys", "status"), [("stdout", "good", 0), ("stderr", "bad", 3)])
    def test_its_status(self, tmp_path: Path, name: str, keys: str, status: int) -> None:
        """A stream on a full disk does not change the status of a process, which would be 120."""
        streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with FULL.open("w", encoding="ascii") as streams[name]:
            env = host_env(SETS[keys], **{FILE: name})
            done = subprocess.run([sys.executable, "-c", SERVICE], env=env, cwd=tmp_path, check=False, **streams)
        assert done.returncode == status


def configured(log: io.StringIO, *first: Any) -> None:
    """Configure a pipeline that writes each event as a line of JSON."""
    processors = [*first, structlog.processors.add_log_level, structlog.processors.JSONRenderer()]
    structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(file=log))


class TestPipeline:
    """The host's structlog pipeline."""

    def test_a_start(self) -> None:
        """A start sends its event to a configured pipeline as `info`, also if no variable is set."""
        configured(log := io.StringIO())
        with environ():
            guard()
        assert leaks(log.getvalue(), SECRET) == []
        event = json.loads(log.getvalue())
        assert (event["event"], event["level"], event[KIND]) == ("secret integrity check passed", "info", "started")
        assert event["model"] == MODEL
        assert {*event_of("started", report(), MODEL, 1)} <= {*event}

    def test_a_refusal(self, file: Path) -> None:
        """The pipeline gets the findings of a refusal, and the file gets its event. None of both gets it twice."""
        configured(log := io.StringIO())
        with process_environment(host_env(BAD, **{FILE: str(file), SECONDS: "1"})), pytest.raises(SystemExit):
            guard()
        assert [json.loads(line)["level"] for line in log.getvalue().splitlines()] == ["critical"] * 3
        assert kinds(file) == ["refused"]
        assert not of_heartbeat()


def of_heartbeat() -> list[threading.Thread]:
    """Return the threads that repeat an event in this process."""
    return [each for each in threading.enumerate() if each.name.endswith("(_repeat)")]


class Own(RuntimeSecrets):
    """Another model."""


class TestHeartbeat:
    """The repeated event."""

    @pytest.fixture(autouse=True)
    def _no_thread(self) -> Iterator[None]:
        yield
        send_end()
        assert not of_heartbeat()

    def test_it_is_repeated(self, file: Path) -> None:
        """With a number of seconds, the event `running` follows again and again, with the time of the start."""
        logger = Recorder(lambda sent: len(sent) == 3)
        with environ(**{SECONDS: "1", FILE: str(file)}):
            guard(logger=logger)
            assert logger.done.wait(TIMEOUT)
            send_end()
        assert [each[KIND] for each in logger.sent] == ["started", "running", "running", "ended"] == kinds(file)
        assert len({each["started_at"] for each in logger.sent}) == 1
        assert [each["secrets"] for each in logger.sent] == [logger.sent[0]["secrets"]] * 4

    def test_off(self, file: Path) -> None:
        """Without the variable, and with an invalid one, there is no thread."""
        for more in ({}, {SECONDS: "0"}):
            with environ(**{FILE: str(file), **more}):
                guard()
            assert not of_heartbeat()

    def test_each_model(self) -> None:
        """Each model has its event, with the keys of its last start. One thread sends them all."""
        logger = Recorder(lambda sent: [each[KIND] for each in sent].count("running") == 2)
        with environ(**{SECONDS: "1"}):
            guard(Own, logger=logger)
            guard()
            os.environ |= (keys := good_keys())
            guard(logger=logger)
            assert logger.done.wait(TIMEOUT)
            assert len(of_heartbeat()) == 1
        running = [each for each in logger.sent if each[KIND] == "running"]
        current = {each["model"]: each["secrets"]["secret.key"]["current"] for each in running}
        assert current == {f"{Own.__module__}:Own": fingerprint_of(GOOD[V1]), MODEL: fingerprint_of(keys[V1])}

    def test_a_thread_that_cannot_start(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no thread can be started, the events of the start and of the end are sent."""

        def start(*_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("_thread.start_new_thread", start)
        with environ(**{SECONDS: "1", FILE: str(file)}):
            send_and_repeat("started", report(), MODEL, secrets=RuntimeSecrets())
            send_end()
        assert kinds(file) == ["started", "ended"]

    def test_starts_at_once(self) -> None:
        """Threads that call the guard at the same time leave one heartbeat."""
        together = threading.Barrier(8)
        starts = [threading.Thread(target=lambda: (together.wait(), guard())) for _ in range(8)]
        with environ(**{SECONDS: "1"}):
            for each in starts:
                each.start()
            for each in starts:
                each.join()
        assert len(of_heartbeat()) == 1

    @needs_fork
    def test_in_a_fork(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fork, as a worker of a server with `--preload`, repeats its own events, and says its own end."""
        monkeypatch.setattr(heartbeat, "FORK_SECONDS", 0)
        logger = Recorder(lambda sent: sent[-1][KIND] == "running")
        with environ(**{SECONDS: "86400", FILE: str(file)}):
            guard(logger=logger)
            if not (child := fork()):
                logger.done.wait(TIMEOUT)
                send_end()
                os._exit(0)
            os.waitpid(child, 0)
        assert kinds(file) == ["started", "running", "ended"]
        assert [int(each["process"].partition(".")[0]) for each in events(file)] == [os.getpid(), child, child]


class TestOrder:
    """The process and the number of an event: of a process, the event with the greatest number is the last one."""

    def test_a_start(self, file: Path) -> None:
        """Events of one start have one process, and each has a greater number. Another start is another process."""
        with environ(**{FILE: str(file)}):
            for kind in ("started", "running", "switched", "started", "ended"):
                send_event(kind, report(), MODEL)
            send_event("running", report(), "ours:Ours")
        first, second, third, again, last, other = events(file)
        assert first["process"] == second["process"] == third["process"]
        assert len({each["process"] for each in (first, again, other)}) == 3
        assert again["process"] == last["process"]
        numbers = [each["number"] for each in events(file)]
        assert numbers == sorted({*numbers})

    def test_a_switch_while_an_event_is_made(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The event of a switch has a greater number than one whose keys were read before."""

        def read(_secrets: object) -> Report:
            keys = report()
            send_event("switched", keys, MODEL)
            return keys

        monkeypatch.setattr(heartbeat, "running_report", read)
        with environ(**(good_keys() | {FILE: str(file)})):
            send_heartbeat(RuntimeSecrets())
        in_order = [each[KIND] for each in sorted(events(file), key=lambda each: each["number"])]
        assert in_order[-2:] == ["running", "switched"]

    @needs_fork
    def test_a_fork(self, file: Path) -> None:
        """A forked child does not say its end where it has sent no event of its own."""
        with environ(**{FILE: str(file)}):
            send_event("started", report(), MODEL)
            if not (child := fork()):
                send_end()
                os._exit(0)
        assert (os.waitpid(child, 0)[1], kinds(file)) == (0, ["started"])


@posix_only
class TestChanges:
    """The events of a process with a secrets directory."""

    def test_a_switch(self, tmp_path: Path, file: Path) -> None:
        """The event of a switch, and each one after it, has the keys in use and the time when they were read."""
        volume(tmp_path / "secrets", GOOD)
        staged = GOOD | {f"{V1}_NEXT": good_keys()[V1]}
        logger = Recorder(lambda sent: sent[-1][KIND] == "running" and sent[-1]["secrets"]["secret.key"]["next"])
        with environ(**{FILE: str(file), SECONDS: "1", SECRETS_DIR: str(tmp_path / "secrets")}):
            made = guard(logger=logger)
            volume(tmp_path / "secrets", staged)
            made.refresh()
            assert logger.done.wait(TIMEOUT)
            send_heartbeat(made)
            send_end()
        first, *others = events(file)
        changed = [each for each in others if each["secrets"] != first["secrets"]]
        assert {each[KIND] for each in changed} == {"switched", "running", "ended"}
        assert {each["secrets"]["secret.key"]["next"] for each in changed} == {fingerprint_of(staged[f"{V1}_NEXT"])}
        assert len({each["started_at"] for each in changed}) == 1

    def test_a_refused_set(self, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The event of a refused set has the keys in use, and the checks that refused it."""
        volume(tmp_path / "secrets", GOOD)
        with environ(**{FILE: str(file), SECRETS_DIR: str(tmp_path / "secrets")}):
            made = guard()
            volume(tmp_path / "secrets", BAD)
            made.refresh()
        started, kept = events(file)
        assert (kept[KIND], kept["checks"]) == ("kept", ["secret.key: format", "secret_v2.key: format"])
        assert (kept["secrets"], kept["process"]) == (started["secrets"], started["process"])
        assert capsys.readouterr().out.startswith("ALERT: ")


class TestSendHeartbeat:
    """`send_heartbeat`: for the host's own scheduler."""

    def test_it_sends(self, file: Path) -> None:
        """The event has the keys of the instance, its model and the time of its start, whatever is set later."""
        configured(log := io.StringIO())
        with environ(**{FILE: str(file)}):
            made = guard(Own)
        with environ(**{FILE: str(file), V1: "changed", V2: "changed"}):
            send_heartbeat(made)
        started, running = events(file)
        assert running == started | {
            "event": "secrets in use",
            KIND: "running",
            "number": started["number"] + 1,
            "reported_at": running["reported_at"],
        }
        assert running["model"] == f"{Own.__module__}:Own"
        assert [json.loads(line)[KIND] for line in log.getvalue().splitlines()] == ["started", "running"]

    def test_a_logger(self) -> None:
        """A logger gets the events of a start and of a heartbeat in place of the pipeline."""
        configured(log := io.StringIO())
        logger = Recorder()
        with environ():
            send_heartbeat(guard(logger=logger), logger=logger)
        texts = [each["event"] for each in logger.sent]
        assert (texts, log.getvalue()) == (["secret integrity check passed", "secrets in use"], "")

    def test_events_that_are_lost(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A target that cannot be written is no error of the caller. It is a warning each time when it begins."""
        there = tmp_path / "there"
        said = []
        with environ(**{FILE: str(there / "x")}):
            secrets = guard()
            for exists in (False, True, True, False, False, True):
                shutil.rmtree(there, ignore_errors=True)
                if exists:
                    there.mkdir()
                capsys.readouterr()
                send_heartbeat(secrets)
                said.append("cannot be written (FileNotFoundError)" in capsys.readouterr().err)
        assert said == [False, False, False, True, False, False]

    def test_no_instance(self) -> None:
        """Anything but an instance of a model is an error."""
        with environ(), pytest.raises(CheckFailedError):
            send_heartbeat(SealedStr("x"))  # type: ignore[arg-type]


*_, RECIPE, LIFESPAN = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
WRITING = f"""{GUARD}import atexit, os, sys, threading
import robodj_secretguard.running.heartbeat as heartbeat
begun, ending = threading.Event(), threading.Event()
class Logger:
    def info(self, event, **fields):
        if fields["secret_event"] == "running":
            begun.set()
            ending.wait()
            for _ in range(1000):  # each one lets the interpreter end
                os.write(1, b".")
            os.write(1, b"whole")
guard(logger=Logger())
atexit.register(ending.set)
begun.wait()
"""
"""A process that ends while an event is written."""
LOGGER = f"""{GUARD}import json, os
class Logger:
    def info(self, event, **fields):
        print(json.dumps(fields))
logger = Logger()
"""
ALWAYS = f"""{GUARD}import json, os, sys
import robodj_secretguard.running.heartbeat as heartbeat
repeat = heartbeat._repeat
heartbeat._repeat = lambda _seconds, _first, end, ended: repeat(0, 0, end, ended)
guard()
os.read(0, 1)
sys.exit(5)
"""
"""A process whose heartbeat is written all the time, and that ends when its input does."""
REFUSALS = {
    "main": "guard()",
    "thread": "import threading\nthread = threading.Thread(target=guard)\nthread.start()\nthread.join()",
}
TARGETS = ("fine", "full", "missing", "unwritable", "pipe", "/dev/stdin", "directory", "stdout", "stderr", "a key")


class TestProcesses:
    """Real processes."""

    @posix_only
    def test_the_hosts_scheduler(self, tmp_path: Path, file: Path) -> None:
        """The recipe of the page sends a heartbeat from the host's own scheduler."""
        script = f"{RECIPE}\nevery_five_minutes()\nevery_five_minutes()\n"
        ran = run_forked(script, GOOD, tmp_path, **{FILE: str(file)})
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        assert kinds(file) == ["started", "running", "running", "ended"]

    @pytest.mark.parametrize(
        ("target", "seconds", "script", "expected"),
        [
            ("file", "86400", "guard()\nguard()", "started started ended"),
            ("file", "", "guard()\nos._exit(0)", "started"),
            ("stdout", "", "guard()", "started"),
            ("stdout", "86400", "guard()", "started ended"),
            ("pipeline", "", "guard(logger=logger)", "started"),
            ("pipeline", "86400", "guard(logger=logger)", "started ended"),
        ],
        ids=["file", "killed", "stdout", "stdout with a heartbeat", "pipeline", "pipeline with a heartbeat"],
    )
    @posix_only
    def test_the_end_of_a_process(self, tmp_path: Path, target: str, seconds: str, script: str, expected: str) -> None:
        """A file gets the event of a graceful end. A stream and a pipeline get it from a heartbeat: they may block.

        A heartbeat that waits for its next event does not delay the end.
        """
        file = tmp_path / "events.jsonl"
        targets = {"file": str(file), "stdout": "stdout", "pipeline": ""}
        ran = run_forked(f"{LOGGER}{script}\n", GOOD, tmp_path, **{FILE: targets[target], SECONDS: seconds})
        assert ran.err == ""
        lines = file.read_text(encoding="ascii") if target == "file" else ran.out
        assert [json.loads(each)[KIND] for each in lines.splitlines()] == expected.split()

    @posix_only
    def test_the_end_of_an_application(self, tmp_path: Path, file: Path) -> None:
        """A signal kills uvicorn after the shutdown of its application, which says the end as on the page."""
        served = "import os\nfrom starlette.testclient import TestClient\nwith TestClient(app):\n    pass\nos._exit(0)"
        ran = run_forked(f"{LIFESPAN}\n{served}", GOOD, tmp_path, **{FILE: str(file)})
        assert (ran.status, kinds(file)) == (0, ["started", "ended"])

    @pytest.mark.parametrize(
        ("wait", "out"),
        [("ending.wait()", f"{'.' * 1000}whole"), ("threading.Event().wait()", "")],
        ids=["written whole", "a pipeline that blocks forever"],
    )
    @posix_only
    def test_the_end_of_an_event(self, tmp_path: Path, file: Path, wait: str, out: str) -> None:
        """An event that is being written at the exit is written whole, and the status is that of the process.

        A pipeline that blocks forever on a heartbeat does not prevent the exit. The file has the event.
        """
        script = WRITING.replace("ending.wait()", wait)
        ran = run_forked(f"{script}sys.exit(5)", GOOD, tmp_path, **{SECONDS: "1", FILE: str(file)})
        assert (ran.status, ran.out, ran.err, kinds(file)) == (5, out, "", ["started", "running", "ended"])

    @pytest.mark.parametrize("times", [1, pytest.param(50, marks=pytest.mark.full)])
    @pytest.mark.parametrize("target", ["file", "stdout"])
    @posix_only
    def test_the_end(self, tmp_path: Path, file: Path, target: str, times: int) -> None:
        """A process that always writes its heartbeat, to a pipe that is nearly full, ends without an error."""
        (tmp_path / "app.py").write_text(ALWAYS, encoding="utf-8")
        env = host_env(GOOD, **{SECONDS: "1", FILE: str(file) if target == "file" else target})
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        for _ in range(times):
            command: Any = [sys.executable, "app.py"]
            with subprocess.Popen(command, env=env, cwd=tmp_path, bufsize=0, pipesize=4096, **pipes) as process:
                stdout: Any = process.stdout
                begun = b"".join(stdout.read(512) for _ in range(20 * (target != "file")))
                out = begun + process.communicate(timeout=TIMEOUT)[0]
            assert process.returncode == 5
            assert all(json.loads(line)[KIND] for line in out.splitlines())
            assert bool(out) is (target != "file")
        assert target != "file" or events(file)

    @needs_fork
    @pytest.mark.parametrize(("host", "target"), [*(("main", target) for target in TARGETS), ("thread", "fine")])
    def test_a_refusal(self, tmp_path: Path, host: str, target: str) -> None:
        """Whatever happens to its event, a refusal is a refusal with its status, and its lines are written."""
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "events").touch(0)
        (tmp_path / "directory").mkdir()
        paths = {
            "fine": tmp_path / "events",
            "full": FULL,
            "missing": tmp_path / "nowhere" / "x",
            "unwritable": Path("/proc/version"),
            "pipe": tmp_path / "pipe",
            "directory": tmp_path / "directory",
            "a key": tmp_path / BAD[V2],
        }
        more = {FILE: str(paths.get(target, target)), SECONDS: "1"}
        before = sorted(tmp_path.iterdir())
        script = f"{GUARD}{REFUSALS[host]}\n{SERVED}"
        ran = run_copy(script, BAD, tmp_path, **more)
        assert ran.status == 3
        assert "served" not in ran.out
        assert_alert_lines(re.sub(r'(?m)^(?:\{"secret_event.*|WARNING: setting.*\n  fix.*)\n', "", ran.out))
        assert sorted(tmp_path.iterdir()) == before
        if target == "fine" and os.geteuid() == 0:
            assert kinds(tmp_path / "events") == ["refused"]

    @needs_fork
    @pytest.mark.parametrize(
        ("argument", "more", "status"), [("exit_status=78", {}, 78), ("", {"RUN_MAIN": "true"}, 4)]
    )
    def test_the_status_of_a_refusal(
        self, tmp_path: Path, file: Path, argument: str, more: dict[str, str], status: int
    ) -> None:
        """Events do not change the status of a refusal, whose process never started, so its end is no event."""
        ran = run_forked(f"{GUARD}guard({argument})", BAD, tmp_path, **{FILE: str(file)}, **more)
        assert (ran.status, kinds(file)) == (status, ["refused"])
