"""Read the secrets again while the process runs: in a thread, in a fork, and to the end of the process."""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import threading
import time
from _thread import _count as thread_count
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, good_keys, posix_only, process_environment, raising
from processes import checks, ended, fork, needs_fork, run_forked
from publications import BAD, NEXT, PREVIOUS, first, promoted, replaced, retired, revoking, staged, text_of, volume
from running_service import Service, slots, slots_of, until

from robodj_secretguard import Material, RuntimeSecrets, guard
from robodj_secretguard.running import heartbeat, news, threads
from robodj_secretguard.running import refresh as module
from robodj_secretguard.running.refresh import Refresh
from robodj_secretguard.running.threads import Writing
from robodj_secretguard.startup import directory
from robodj_secretguard.startup.report import REFUSED as REFUSED_STATUS

pytestmark = posix_only


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    """A process with a current and a next key."""
    return Service(tmp_path / "keys", capsys)


class TestRead:
    """One read, and what is said of it."""

    def test_a_rotation(self, service: Service) -> None:
        """At each step all views change together, and one event has the new fingerprints. Nothing is written."""
        derived = service.secret.derive(b"config v1")
        for number, step in enumerate((promoted, staged, retired, promoted, replaced), start=1):
            files = service.use(step(service.files))
            assert slots(service.secret) == slots(derived) == slots_of(files)
            assert service.changes(1) == {"secret.key"}
            assert service.kinds == ["switched"] * number
            assert service.events[-1][1].secrets[0].fingerprint == slots(service.secret)["current"]
        assert service.said() == []

    def test_nothing_new(self, service: Service) -> None:
        """A set that is the same changes nothing, and nothing is said."""
        keys = service.store.keys
        assert service.read({**service.files}).ok
        assert (service.store.keys is keys, service.changed.empty(), service.events) == (True, True, [])
        assert service.said() == []

    def test_without_a_directory(self) -> None:
        """Without a directory, nothing changes, and the report is that of the start."""
        keys = good_keys()
        with process_environment(keys):
            secrets = RuntimeSecrets()
        secrets.secret_key.on_change(lambda _: pytest.fail("it is called"))
        with process_environment(good_keys()):
            report = secrets.refresh()
        assert report.secrets[0].fingerprint == fingerprint_of(keys[V1])

    def test_lines_that_cannot_be_written(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """An alert that no stream takes, as on a full disk, is said at the next read."""
        with monkeypatch.context() as patch:
            for stream in ("stdout", "stderr"):
                patch.setattr(sys, stream, None)
            service.read(BAD["placeholder"][0](service.files))
        service.read()
        assert service.said() == ["placeholder"]

    def test_a_directory_that_is_unreadable_meanwhile(self, service: Service) -> None:
        """What is wrong with a secret is not written again after a read that found nothing out."""
        bad = BAD["placeholder"][0](service.files)
        service.read(bad)
        assert service.said() == ["placeholder"]
        service.read(BAD["zero bytes"][0](service.files))
        assert service.said() == ["source"]
        service.read(bad)
        assert (service.said(), service.notices) == ([], ["NOTICE: every other secret follows again"])
        service.read(service.files)
        assert (service.said(), service.notices) == ([], ["NOTICE: secret.key follows again"])

    def test_the_first_read_of_a_revocation(self, service: Service) -> None:
        """At the first read that finds the current key revoked, the last line says that the key is still used."""
        service.read(revoking(service.files, V1))
        assert service.said() == ["revoked"]
        assert "uses a revoked key until the next read, and then refuses it: 1 alert" in service.lines

    def test_many_bad_secrets(self, service: Service) -> None:
        """The last line of the alerts says which secrets keep their values."""
        service.read({**service.files, V1: "changeme", V2: ""})
        assert service.said() == ["placeholder", "missing"]
        assert "kept the last good value of secret.key, secret_v2.key: 2 alerts" in service.lines

    def test_it_is_not_pickled(self, service: Service) -> None:
        """Neither the refresh nor the keys in use are pickled."""
        for each in (service.refresh, service.store, service.store.keys, service.secret):
            with pytest.raises(TypeError, match="secrets are not pickled"):
                pickle.dumps(each)


class Lines:
    """A structlog logger that keeps what it gets. While it is held, it blocks, as a full pipe does."""

    def __init__(self) -> None:
        self.texts: Queue[str] = Queue()
        self.may_go = threading.Event()
        self.may_go.set()

    def critical(self, text: str, **_fields: object) -> None:
        self.may_go.wait(TIMEOUT)
        self.texts.put(text)

    info = warning = critical


def begin(service: Service, seconds: float = 0.02, lines: Lines | None = None) -> None:
    """Begin the threads of a service, with a short period and a logger."""
    vars(service.refresh)["seconds"] = seconds  # a period below one second, too
    module._refreshing.discard(service.refresh)  # noqa: SLF001 - it was begun without a period
    service.refresh.follow_directory(None, lambda kind, report, _: service.events.append((kind, report)), lines)


class TestLate:
    """Keys that were not read for three periods."""

    def test_a_use_says_it(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first use of a secret after three periods says it once, as on a host without threads. A read ends it."""
        monkeypatch.setattr(module, "start", lambda *_: True)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now)
        begin(service, 900)
        for seconds, said in ((2699, []), (2700, ["unavailable"]), (2701, [])):
            monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
            assert service.secret.get_secret_value()
            assert service.said() == said
        service.refresh.report_late()  # by another thread, which has read the clock before
        assert (service.said(), service.kinds, service.refresh.state().name) == ([], ["late"], "late")
        service.read()
        assert (service.said(), service.notices) == ([], ["NOTICE: every secret follows again"])
        assert (service.refresh.state().name, service.kinds) == ("following", ["late", "following"])

    def test_a_watchdog_says_it(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A watchdog says it although no code uses a secret, and the thread that reads hangs."""
        may_go = threading.Event()
        monkeypatch.setattr(directory, "read_directory", lambda *_: may_go.wait(TIMEOUT))
        begin(service, lines=(lines := Lines()))
        assert "no keys were read for 0.06 s" in lines.texts.get(timeout=TIMEOUT)
        may_go.set()

    @pytest.mark.parametrize("name", ["next", "current"])
    def test_revocations_while_a_read_hangs(self, service: Service, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """While a read hangs in a kind, a revocation is applied all the same. It stops the current key as well."""
        may_go, variable = threading.Event(), {"next": NEXT, "current": V1}[name]
        monkeypatch.setattr(Refresh, "_end_process", lambda _: None)
        monkeypatch.setattr(Material, "fault", lambda *_: may_go.wait(TIMEOUT) and None)
        text = text_of(service.files, variable)
        begin(service, lines=Lines())
        until(lambda: service.refresh.is_late)
        with service.refresh._alone:  # noqa: SLF001 - as while an earlier one hangs
            service.refresh._learn_alone()  # noqa: SLF001
        volume(service.directory, revoking(service.files, variable))
        until(lambda: service.secret.verify(text) is None)
        assert (service.secret.accepted() == ()) is (name == "current")
        may_go.set()

    def test_it_cannot_be_said(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where lines cannot be written, a later use says it."""
        monkeypatch.setattr(module, "LOCK_WAIT", 0.01)
        service.store.late_at = time.monotonic()
        with Writing.lock:
            assert service.secret.current
        assert service.said() == []
        assert service.secret.current
        assert {*service.said()} == {"unavailable"}  # the first line may be written late, as well


class TestThread:
    """The thread that reads in each period."""

    def test_it_follows_the_directory(self, service: Service) -> None:
        """It uses what passes, says what does not, and uses the set that follows."""
        begin(service, lines=(lines := Lines()))
        for step in (promoted, retired):
            volume(service.directory, {**service.files, V1: "changeme"})
            until(lambda: "placeholder" in lines.texts.get(timeout=TIMEOUT))
            volume(service.directory, step(service.files))
            assert service.changes(1) == {"secret.key"}
            service.files = step(service.files)
            until(lambda: "follows again" in lines.texts.get(timeout=TIMEOUT))
        assert "previous" not in slots(service.secret)

    def test_an_error_of_its_own(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error of its own is an alert without its text, and the next period tries again."""
        with monkeypatch.context() as patch:
            patch.setattr(directory, "read_directory", raising(LookupError(text_of(service.files, V1))))
            begin(service, lines=(lines := Lines()))
            assert "internal: the check itself failed (LookupError)" in lines.texts.get(timeout=TIMEOUT)
        until(lambda: service.refresh.state().name == "following")

    def test_lines_that_nobody_reads(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nobody reads its lines, a revoked key is refused all the same. The lines follow."""
        monkeypatch.setattr(Refresh, "_end_process", lambda _: None)
        monkeypatch.setattr(module, "LOCK_WAIT", 0.01)
        monkeypatch.setattr(threads, "WRITE_WAIT", 0.01)
        lines = Lines()
        lines.may_go.clear()
        begin(service, lines=lines)
        volume(service.directory, revoking(service.files, V1))
        until(lambda: service.secret.accepted() == ())
        lines.may_go.set()
        until(lambda: "revoked" in lines.texts.get(timeout=TIMEOUT))
        until(lambda: f"stops process {os.getpid()} within 30 s" in lines.texts.get(timeout=TIMEOUT))

    def test_no_thread_can_be_started(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a further thread, the caller writes the lines, and calls the functions."""
        monkeypatch.setattr("_thread.start_new_thread", raising(RuntimeError()))
        service.read({**promoted(service.files), V2: "changeme"})
        said = service.said()
        assert (said, service.changed.get_nowait()) == (["placeholder"], "secret.key"), service.lines

    def test_it_ends_with_the_keys(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It ends as soon as nobody has the keys, whatever its period is."""
        before = thread_count()
        for _ in range(3):
            service = Service(tmp_path / "keys", capsys)
            service.store.subscriptions.clear()  # a function keeps its store
            module._hooked.clear()  # noqa: SLF001
            begin(service, 900)
            del service
        gc.collect()
        until(lambda: thread_count() <= before)

    def test_its_period(self) -> None:
        """Many processes do not read at once: chance makes a period shorter by up to a tenth, and never longer."""
        waits: list[float] = []
        end: Any = SimpleNamespace(acquire=lambda timeout: waits.append(timeout))  # noqa: PLW0108 - by its name
        gone: Any = lambda: None  # noqa: E731 - as the reference, just after its keys are gone
        for _ in range(100):
            module._do_repeatedly(print, gone, end, 10)  # noqa: SLF001
        assert (9 <= min(waits) < 9.5 < max(waits) <= 10, len({*waits}) > 1) == (True, True)

    def test_a_function_keeps_its_store(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A function is called after each change, although nobody has kept the settings."""
        names, directory = Queue[str](), tmp_path / "keys"
        files = staged(first())
        volume(directory, files)

        def register() -> None:
            with process_environment({"ROBODJ_SECRETS_DIR": str(directory), "ROBODJ_SECRETS_REFRESH": "1"}):
                guard().secret_key.on_change(lambda secret: names.put(secret.name))

        register()
        gc.collect()
        volume(directory, promoted(files))
        assert names.get(timeout=TIMEOUT) == "secret.key"
        capsys.readouterr()

    def test_it_begins_once(self, service: Service) -> None:
        """A second `guard()` in the process begins no further thread."""
        begin(service, 900)
        before = thread_count()
        service.refresh.follow_directory(None, lambda *_: pytest.fail("another one sends"), None)
        assert thread_count() == before
        service.use(promoted(service.files))

    def test_an_older_read(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A read that began earlier, and ends later, changes nothing."""
        read, began, may_end = directory.read_directory, threading.Event(), threading.Event()

        def slow(*arguments: Any) -> Any:
            files = read(*arguments)
            began.set()
            may_end.wait(TIMEOUT)
            return files

        monkeypatch.setattr(directory, "read_directory", slow)
        slower = threading.Thread(target=service.secrets.refresh)
        slower.start()
        began.wait(TIMEOUT)
        monkeypatch.setattr(directory, "read_directory", read)
        files = service.use(promoted(service.files))
        may_end.set()
        slower.join()
        assert (slots(service.secret), service.kinds) == (slots_of(files), ["switched"])


@needs_fork
class TestFork:
    """A child that is forked while the process runs."""

    def test_while_lines_are_written(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fork does not wait forever for lines."""
        monkeypatch.setattr(threads, "LOCK_WAIT", 0.01)
        with Writing.lock:
            child = fork()
            if not child:
                service.read(BAD["cut"][0](service.files))
                os._exit(service.said() != ["format"])
        assert ended(child) == 0

    def test_a_thread_of_its_own(self, service: Service) -> None:
        """A child has the newest set and every known revocation, and its own thread follows the directory."""
        files = service.use(promoted(service.files))
        service.read({**revoking(files, PREVIOUS), V2: "changeme"})
        begin(service)
        child = fork()
        if not child:
            current = slots(service.secret)["current"]
            until(lambda: "next" in slots(service.secret))
            os._exit((current, "previous" in slots(service.secret)) != (slots_of(files)["current"], False))
        volume(service.directory, staged(files))
        assert ended(child) == 0

    def test_a_change_that_it_has_missed(self, service: Service) -> None:
        """A function that the parent is calling at the moment of the fork is called in the child as well."""
        parent, may_end, told = os.getpid(), threading.Event(), threading.Event()
        began = threading.Event()

        def function(_secret: object) -> None:
            if os.getpid() != parent:
                told.set()
            else:
                began.set()
                may_end.wait(TIMEOUT)

        service.secret.on_change(function)
        service.use(promoted(service.files))
        began.wait(TIMEOUT)
        child = fork()
        if not child:
            os._exit(not told.wait(TIMEOUT))
        may_end.set()
        assert ended(child) == 0


REVOKED_SERVICE = """
import atexit, os, sys, time
from robodj_secretguard import guard
from robodj_secretguard.running import refresh
refresh.END_SECONDS = 0.5
secrets = guard()
os.environ["ROBODJ_REVOKED_FINGERPRINTS"] = {!r}
for _ in range(2):
    secrets.refresh()
"""


class TestEnd:
    """The end of a process whose current key is revoked."""

    @pytest.mark.parametrize(
        ("then", "status"),
        [
            ("time.sleep(60)", 3),
            ("sys.exit(os.waitstatus_to_exitcode(os.waitpid(os.fork(), 0)[1]))", 3),
            ("atexit.register(secrets.refresh); sys.exit(5)", 5),
        ],
    )
    def test_its_status(self, tmp_path: Path, then: str, status: int) -> None:
        """A process whose key is revoked ends with 3, and so does a child. Its own end is not delayed."""
        volume(tmp_path / "keys", files := first())
        script = REVOKED_SERVICE.format(fingerprint_of(text_of(files, V1))) + then
        ran = run_forked(script, {}, tmp_path, ROBODJ_SECRETS_DIR=str(tmp_path / "keys"))
        assert (ran.status, checks(ran)) == (status, ["revoked", "revoked"])

    def test_nothing_is_said_after_its_end(self, tmp_path: Path) -> None:
        """A read in the last second sends no event: the last one of a process says that it has ended."""
        volume(tmp_path / "keys", files := first())
        events = tmp_path / "events"
        script = (
            REVOKED_SERVICE.format(fingerprint_of(text_of(files, V1))) + "while not time.sleep(0.02): secrets.refresh()"
        )
        settings = {"ROBODJ_SECRETS_DIR": str(tmp_path / "keys"), "ROBODJ_SECRET_EVENTS": str(events)}
        assert run_forked(script, {}, tmp_path, **settings).status == 3
        assert [json.loads(line)["secret_event"] for line in events.read_text().splitlines()][-1] == "ended"

    def test_a_good_set_in_the_meantime(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A good key that comes before the end saves the process. Another key may be revoked later."""
        waiting: list[Callable[[], object]] = []

        def start(function: Callable[[], object]) -> bool:
            waiting.append(function)
            return True

        monkeypatch.setattr(module, "END_SECONDS", 0)
        monkeypatch.setattr(module, "start", start)
        for number in range(3):
            service.read(revoking(service.files, V1))
            assert service.said() == (["revoked"] if number < 2 else [])
            assert (len(waiting), f"stops process {os.getpid()}" in service.lines) == (min(number, 1), number == 1)
        service.use(replaced(service.files))
        assert service.refresh.is_ending
        waiting[0]()  # the process goes on
        assert not service.refresh.is_ending

    def test_it_is_an_event(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process whose key was revoked sends its last event, and ends."""
        pipe = os.pipe()
        monkeypatch.setitem(sys.modules, heartbeat.__name__, heartbeat)
        monkeypatch.setattr(module, "END_SECONDS", 1e6)
        process = fork()
        if not process:
            service.read(revoking(service.files, V1))
            service.read()
            monkeypatch.setattr(module, "END_SECONDS", 0)
            monkeypatch.setattr(module, "EXIT_WAIT", 0)
            monkeypatch.setattr(module, "start", lambda function: os.write(pipe[1], function.__name__.encode()))
            service.refresh._end_process()  # noqa: SLF001 - it waits, and ends the process
        os.close(pipe[1])
        assert (os.read(pipe[0], 99), os.waitpid(process, 0)[1] >> 8) == (b"say_end", REFUSED_STATUS)

    def test_heartbeats_return_after_a_key_of_the_last_second(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A good key that comes after the process has said its end saves it, and it says its keys again at once."""
        returned: list[int] = []
        good = replaced(service.files)
        monkeypatch.setitem(sys.modules, heartbeat.__name__, heartbeat)
        monkeypatch.setattr(heartbeat, "begin_heartbeats", lambda first: returned.append(first))  # noqa: PLW0108 - by its name
        monkeypatch.setattr(module, "END_SECONDS", 0)
        monkeypatch.setattr(module, "EXIT_WAIT", 0)
        monkeypatch.setattr(module, "start", lambda _: True)
        service.read(revoking(service.files, V1))
        service.read()
        monkeypatch.setattr(module, "start", lambda _: service.use(good))
        service.refresh._end_process()  # noqa: SLF001 - as above
        assert returned == [0]
        assert "revoked" in service.said()


def test_an_alert_that_lasts(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert is said again in each hour that it lasts."""
    now = time.monotonic()
    service.read(BAD["staging"][0](service.files))
    assert set(service.said()) == {"discontinuous"}
    for seconds, is_said in ((1, False), (news.ALERT_AGAIN + 1, True)):
        monkeypatch.setattr(time, "monotonic", partial(lambda at: at, now + seconds))
        service.read()
        assert bool(service.said()) is is_said
