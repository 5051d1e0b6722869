"""Keys that change while the process runs: each row of the table of the policy."""

from __future__ import annotations

import gc
import os
import pickle
import secrets
import sys
import threading
import time
import weakref
from _thread import _count as thread_count
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, Ran, good_keys, posix_only, process_environment, raising
from detector import leaks
from processes import checks, ended, fork, needs_fork, run_forked
from publications import (
    BAD,
    EXPIRES,
    NEXT,
    PREVIOUS,
    REVOKED,
    UNTIL,
    Files,
    Set,
    ahead,
    back,
    first,
    promoted,
    replaced,
    retired,
    revoking,
    staged,
    text_of,
    volume,
    without,
)
from pydantic import model_validator
from rings import SLOTS
from test_vendor import KEY, PASSWORD, Radio

from robodj_secretguard import Report, RuntimeSecrets, SecretSettings, heartbeat
from robodj_secretguard import refresh as module
from robodj_secretguard.errors import CheckFailedError, RevokedKeyError
from robodj_secretguard.keyring import Keyring
from robodj_secretguard.refresh import Refresh, _process
from robodj_secretguard.startup import directory
from robodj_secretguard.startup.report import REFUSED as REFUSED_STATUS
from robodj_secretguard.startup.settings import live_of

pytestmark = posix_only
DERIVED = b"config v1"


@dataclass
class Service:
    """A process that reads a directory whenever the test says so."""

    directory: Path
    capture: pytest.CaptureFixture[str]
    files: Set = field(default_factory=lambda: staged(first()), repr=False)
    model: type[SecretSettings] = RuntimeSecrets
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    events: list[tuple[str, Report]] = field(default_factory=list)
    changed: list[frozenset[str]] = field(default_factory=list)
    lines: str = ""
    """What was written until the last call of `said`."""

    def __post_init__(self) -> None:
        volume(self.directory, self.files)
        self.secrets = self.started()
        self.ring = self.secrets.keyring(next(iter(self.model.secret_policies.values())).name)
        self.refresh.start(lambda kind, report: self.events.append((kind, report)), None)
        self.secrets.on_change(self.changed.append)

    def started(self) -> SecretSettings:
        """Return the secrets of a process that starts now."""
        with process_environment(self.environ | {"ROBODJ_SECRETS_DIR": str(self.directory)}):
            return self.model()

    @property
    def refresh(self) -> Refresh:
        """What reads the directory."""
        refresh: Refresh = live_of(self.secrets).refresh
        return refresh

    def read(self, files: Files | None = None) -> Report:
        """Publish a set, and read it."""
        if files is not None:
            volume(self.directory, files)
        return self.secrets.refresh()

    def use(self, files: Set) -> Set:
        """Publish a set that passes, and read it."""
        report = self.read(files)
        assert report.ok, report.alerts
        self.files = files
        return files

    def said(self) -> list[str]:
        """Return the check of each finding that was written since the last call, and assert that no key was."""
        ran = Ran(0, *self.capture.readouterr())
        self.lines = ran.out + ran.err
        keys = [text for name, text in self.files.items() if name != UNTIL and isinstance(text, str)]
        assert leaks(self.lines, keys) == []
        return checks(ran)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events."""
        return [kind for kind, _ in self.events]


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    """A process with a current and a next key."""
    return Service(tmp_path / "keys", capsys)


def slots(ring: Keyring) -> dict[str, str]:
    """Return the fingerprints of the accepted keys, by their roles."""
    return {key.role: f"sgfp1:{key.kid}" for key in ring.accepted()}


def slots_of(files: Files) -> dict[str, str]:
    """Return the fingerprints of a set's keys, by their roles."""
    return {role: fingerprint_of(text_of(files, name)) for role, name in SLOTS.items() if name in files}


class TestSwitch:
    """A set that passes."""

    def test_a_rotation(self, service: Service) -> None:
        """At each step all rings change together, and the functions get the names of the changed secrets."""
        derived, switches = service.ring.derive(DERIVED), list[str]()
        service.ring.on_switch(lambda _: switches.append(service.ring.current.kid))
        steps: tuple[Callable[[Files], Set], ...] = (promoted, back, promoted, retired, staged, replaced)
        for number, step in enumerate(steps, start=1):
            files = service.use(step(service.files))
            for ring in (service.ring, derived):
                assert slots(ring) == slots_of(files)
            assert switches[-1] == service.ring.current.kid
            assert service.changed == [{"secret.key"}] * number
            assert service.kinds == ["switched"] * number
            _, report = service.events[-1]
            assert report.secrets[0].fingerprint == slots(service.ring)["current"]
        assert service.said() == []
        assert isinstance(service.secrets, RuntimeSecrets)
        assert service.secrets.secret_key.get_secret_value() != text_of(files, V1)  # a field keeps the start's value

    def test_nothing_new(self, service: Service) -> None:
        """A set that is the same changes nothing, and nothing is said."""
        keys = live_of(service.secrets).keys
        assert service.read({**service.files}).ok
        assert (live_of(service.secrets).keys is keys, service.changed, service.events) == (True, [], [])
        assert service.said() == []

    def test_without_a_directory(self) -> None:
        """Without a directory, nothing changes, and the report is that of the start."""
        keys = good_keys()
        with process_environment(keys):
            secrets = RuntimeSecrets()
        with process_environment(good_keys()):
            report = secrets.refresh()
        secrets.on_change(lambda _: pytest.fail("it is called"))
        assert report.secrets[0].fingerprint == fingerprint_of(keys[V1])

    def test_a_function_that_fails(self, service: Service) -> None:
        """An error of a function is an alert without its text. The others are called, and the keys are used."""
        service.secrets.on_change(raising(LookupError(text_of(service.files, V1))))
        service.secrets.on_change(service.changed.append)
        files = service.use(promoted(service.files))
        assert (slots(service.ring), service.changed) == (slots_of(files), [frozenset({"secret.key"})] * 2)
        assert service.said() == ["internal"]

    def test_a_function_that_blocks(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A function that does not return stops neither the next read nor a revocation."""
        monkeypatch.setattr(module, "_WRITE_WAIT", 0.01)
        blocked = threading.Event()
        service.secrets.on_change(lambda _: blocked.wait(TIMEOUT))
        service.use(promoted(service.files))
        service.read(revoking(service.files, PREVIOUS))
        assert "previous" not in slots(service.ring)
        blocked.set()

    def test_an_old_set_is_not_kept(self, service: Service) -> None:
        """After a switch nothing holds the old set, also where a derived ring is idle."""
        derived = service.ring.derive(DERIVED)
        assert derived.accepted()
        service.use(promoted(service.files))
        held = [weakref.ref(key.value) for key in (*service.ring.accepted(), *derived.accepted())]
        service.use(replaced(service.files))
        service.events.clear()
        gc.collect()
        assert [each() for each in held] == [None] * 4

    def test_it_is_not_pickled(self, service: Service) -> None:
        """Neither the refresh nor the keys in use are pickled."""
        for each in (service.refresh, live_of(service.secrets), live_of(service.secrets).keys):
            with pytest.raises(TypeError, match="secrets are not pickled"):
                pickle.dumps(each)


class TestKept:
    """A set that does not pass."""

    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_set(self, service: Service, name: str) -> None:
        """It changes nothing, and its alerts are said once. The good set that follows is used."""
        change, check = BAD[name]
        before = slots(service.ring)
        for number in range(3):
            report = service.read(change(service.files) if not number else None)
            assert check in {each.check.value for each in report.alerts}
            assert check in service.said() if not number else service.said() == []
        assert (slots(service.ring), service.changed, service.kinds) == (before, [], ["kept"])
        _, event = service.events[0]
        assert (event.secrets[0].fingerprint, event.alerts) == (before["current"], report.alerts)
        assert (service.refresh.is_ok, service.refresh.found) == (False, report.findings)
        files = service.use(promoted(service.files))
        assert (slots(service.ring), service.refresh.is_ok) == (slots_of(files), True)

    def test_lines_that_cannot_be_written(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """An alert that no stream takes, as on a full disk, is said at the next read."""
        with monkeypatch.context() as patch:
            for stream in ("stdout", "stderr"):
                patch.setattr(sys, stream, None)
            service.read(BAD["placeholder"][0](service.files))
        service.read()
        assert service.said() == ["placeholder"]

    def test_every_hour(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """An alert is said once, also where the set comes and goes, and again after an hour."""
        bad, now = BAD["staging"][0](service.files), time.monotonic()
        for seconds, said in ((0, 2), (1, 0), (module.ALERT_AGAIN - 1, 0), (module.ALERT_AGAIN + 1, 2)):
            monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
            service.read(bad)
            service.read(service.files)
            assert service.said() == ["discontinuous"] * said
        assert (service.kinds, service.changed) == (["kept"] * 2, [])

    def test_an_expiry_of_the_key_in_use(self, service: Service) -> None:
        """It refuses nothing: it is an alert, and another secret's new key is used."""
        files = {**service.files, EXPIRES: ahead(days=-1), f"{V2}_NEXT": good_keys()[V2]}
        report = service.read(files)
        assert [each.check.value for each in report.alerts] == service.said() == ["expired"]
        assert service.changed == [{"secret.key", "secret_v2.key"}]

    def test_a_validator_of_the_host(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A set that the model's own validator refuses is not used."""
        refused = list[str]()

        class Own(RuntimeSecrets):
            @model_validator(mode="after")
            def _refuse(self) -> Own:
                assert self.secret_key.get_secret_value() not in refused
                return self

        service = Service(tmp_path / "keys", capsys, model=Own)
        before, files = slots(service.ring), promoted(service.files)
        refused.append(text_of(files, V1))
        assert [each.check.value for each in service.read(files).alerts] == ["internal"]
        assert (slots(service.ring), service.said()) == (before, ["internal"])

    def test_a_check_that_fails(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error of a check is raised to the caller, and changes nothing. An interrupt passes."""
        before = slots(service.ring)
        for error, raised in ((LookupError, CheckFailedError), (KeyboardInterrupt, KeyboardInterrupt)):
            monkeypatch.setattr(directory, "read_directory", raising(error(text_of(service.files, V1))))
            with pytest.raises(raised):
                service.read()
        assert slots(service.ring) == before


class TestContinuity:
    """A set that is not the next step of this one."""

    @pytest.mark.parametrize(("days", "is_next"), [(1, False), (-1, True), (None, True)])
    def test_a_key_that_is_revoked(self, service: Service, days: int | None, *, is_next: bool) -> None:
        """Any set may follow a key that is revoked, from the instant of its entry on."""
        entry = fingerprint_of(text_of(service.files, V1)) + (f"@{ahead(days=days)}" if days else "")
        other = {V1: good_keys()[V1], V2: service.files[V2], REVOKED: entry}
        assert service.read(other).ok is is_next
        assert service.changed == [{"secret.key"}] * is_next

    def test_a_snapshot_from_before_the_deadline(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key whose time as previous key has passed does not sign again, also where the key that signs is next."""
        before, now = service.files, time.monotonic()
        service.use({**promoted(before, days=1), REVOKED: ""})
        monkeypatch.setattr(time, "monotonic", lambda: now + timedelta(days=2).total_seconds())
        assert "previous" not in slots(service.ring)
        service.read(before)
        assert service.said()[-1] == "discontinuous"
        assert f"the set in directory:{service.directory} would sign" in service.lines
        assert slots(service.ring)["current"] == fingerprint_of(text_of(before, NEXT))

    def test_secrets_without_slots(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A key without slots, and what a vendor issues, change as a whole."""
        sets = [{KEY: secrets.token_urlsafe(16), PASSWORD: secrets.token_hex(8)} for _ in range(2)]
        service = Service(tmp_path / "keys", capsys, {**sets[0]}, Radio)
        service.use({**sets[1]})
        rings = [service.secrets.keyring(name) for name in ("radio.key", "icecast.password")]
        assert [ring.current.value.get_secret_value() for ring in rings] == [*sets[1].values()]

    def test_a_field_that_is_gone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What came from the directory never comes from the environment later, which is as old as its process."""
        old = good_keys()
        service = Service(tmp_path / "keys", capsys, environ=old)
        before = slots(service.ring)
        with process_environment(old):
            for gone in (without(service.files, V1, NEXT), {}):
                assert "missing" in {each.check.value for each in service.read(gone).alerts}
        assert slots(service.ring) == before

    def test_a_field_that_comes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A secret of the environment may move to the directory, and then it stays there."""
        old = good_keys()
        service = Service(tmp_path / "keys", capsys, files={V1: good_keys()[V1]}, environ={V2: old[V2]})
        with process_environment({V2: old[V2]}):
            service.use({**service.files, V2: old[V2], f"{V2}_NEXT": good_keys()[V2]})
            report = service.read(without(service.files, V2, f"{V2}_NEXT"))
        assert [(each.check.value, each.secret) for each in report.alerts] == [("missing", "secret_v2.key")]

    def test_a_recycled_worker(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A process that starts again with the environment of the first day has today's keys, whatever they are."""
        files, others = first(), first()
        service = Service(tmp_path / "keys", capsys, files=files, environ={V1: text_of(files, V1)})
        assert not service.read(others).ok
        assert slots(service.started().keyring("secret.key")) == slots_of(others)


class TestRevocation:
    """A revocation that comes while the process runs."""

    @pytest.mark.parametrize("passes", [True, False])
    @pytest.mark.parametrize("role", ["next", "previous"])
    def test_a_key_that_does_not_sign(self, service: Service, role: str, *, passes: bool) -> None:
        """It is not accepted from the first read on, also where the set is refused, and whatever follows."""
        files = service.use(staged(promoted(service.files)))
        bad = {} if passes else {V2: "changeme"}
        variable = SLOTS[role]
        kid = fingerprint_of(text_of(files, variable)).removeprefix("sgfp1:")
        assert service.read({**revoking(files, variable), **bad}).ok is passes
        for _ in range(2):
            assert role not in slots(service.ring)
            assert role not in slots(service.ring.derive(DERIVED))
            assert kid not in {key.kid for key in service.ring.stored()}
            assert service.ring.find(kid) is None
            found = service.ring.find(kid, revoked=True)
            assert found is not None
            assert service.ring.verify(text_of(files, variable)) is None
            service.read(files)

    def test_from_an_instant(self, service: Service) -> None:
        """A key is accepted until the instant of its entry, or until its deadline where that is earlier."""
        files = service.use(promoted(service.files, days=2))
        for at, until in ((ahead(days=1), ahead(days=1)), (ahead(days=3), ahead(days=2))):
            service = Service(service.directory, service.capture, {**files, REVOKED: ""})
            service.use({**revoking(files, PREVIOUS, f"@{at}")})
            end = datetime.fromisoformat(until)
            for now, is_accepted in ((end - timedelta(minutes=1), True), (end, False)):
                ring = service.secrets.keyring("secret.key", clock=partial(max, now, now))
                assert ("previous" in slots(ring)) is is_accepted

    def test_the_end_of_a_process_is_an_event(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
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
            monkeypatch.setattr(module, "_start", lambda function: os.write(pipe[1], function.__name__.encode()))
            service.refresh._end_process()  # noqa: SLF001 - it waits, and ends the process
        os.close(pipe[1])
        assert (os.read(pipe[0], 99), os.waitpid(process, 0)[1] >> 8) == (b"send_end", REFUSED_STATUS)

    def test_the_key_that_signs(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """At two reads in a row without a set that passes, nothing uses it any more. A good set ends that."""
        ended: list[Callable[[], object]] = []
        monkeypatch.setattr(module, "END_SECONDS", 0)

        def start(function: Callable[..., object], *arguments: object) -> bool:
            is_end = function.__name__ == "_end_process"  # it would end the test; lines are written at once
            if is_end:
                ended.append(partial(function, *arguments))
            return is_end

        monkeypatch.setattr(module, "_start", start)
        derived = service.ring.derive(DERIVED)
        text = text_of(service.files, V1)
        kid = service.ring.current.kid
        service.read(revoking(service.files, V1))
        assert (service.said(), service.ring.current.kid, ended) == (["revoked"], kid, [])
        assert "kept the keys in use" in service.lines
        service.read(BAD["garbage"][0](service.files))
        assert (service.said(), len(ended)) == (["revoked", "source"], 1)
        assert f"stops process {os.getpid()} within 0 s" in service.lines
        for ring in (service.ring, derived):
            with pytest.raises(RevokedKeyError):
                ring.current  # noqa: B018
            assert ring.accepted() == ()
            assert ring.find(kid) is None
        assert service.ring.verify(text) is None
        assert kid not in {key.kid for key in service.ring.stored()}
        service.read()
        assert (service.said(), len(ended), service.kinds) == ([], 1, ["kept", "kept"])
        files = service.use(replaced(service.files))
        assert slots(service.ring) == slots(derived) == slots_of(files)
        ended[0]()  # the process goes on
        assert not service.refresh.is_ending  # another key may be revoked later

    def test_a_good_set_between_two_reads(self, service: Service) -> None:
        """Two reads that are not in a row do not stop a key."""
        service.read(revoking(service.files, V1))
        service.read(revoking(service.use(replaced(service.files)), V1))
        assert slots(service.ring) == slots_of(service.files)


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


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that has no event."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def begin(service: Service, seconds: float = 0.02, lines: Lines | None = None) -> None:
    """Begin the thread of a service, with a short period and a logger."""
    vars(Refresh)["_seconds"].__set__(service.refresh, seconds)
    service.refresh.start(lambda kind, report: service.events.append((kind, report)), lines)


class TestLate:
    """Keys that were not read for three periods."""

    def test_a_ring_says_it(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first operation of a ring after three periods says it once. A read ends that."""
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now)
        begin(service, 900)
        for seconds, said in ((2699, []), (2700, ["unavailable"]), (2701, [])):
            monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
            assert slots(service.ring) == slots_of(service.files)
            assert service.said() == said
        service.refresh.say_late()  # by another thread, which has read the clock before
        assert (service.said(), service.kinds, service.refresh.is_ok) == ([], ["late"], False)
        service.read()
        assert (service.said(), service.refresh.is_ok) == ([], True)

    def test_it_cannot_be_said(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where lines cannot be written, a later operation says it."""
        monkeypatch.setattr(module, "_LOCK_WAIT", 0.01)
        live_of(service.secrets).late_at = time.monotonic()
        with _process.writing:
            assert service.ring.current
        assert service.said() == []
        assert service.ring.current
        assert service.said() == ["unavailable"]


class TestThread:
    """The thread that reads in each period."""

    def test_it_follows_the_directory(self, service: Service) -> None:
        """It switches to a set that passes, says what does not, and switches to the set that follows."""
        begin(service, lines=(lines := Lines()))
        changed = threading.Event()
        service.secrets.on_change(lambda _: changed.set())
        for step in (promoted, retired):
            volume(service.directory, {**service.files, V1: "changeme"})
            assert "placeholder" in lines.texts.get(timeout=TIMEOUT)
            volume(service.directory, step(service.files))
            assert changed.wait(TIMEOUT)
            changed.clear()
            service.files = step(service.files)
        assert "previous" not in slots(service.ring)

    def test_an_error_of_its_own(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error of its own is an alert without its text, and the next period tries again."""
        with monkeypatch.context() as patch:
            patch.setattr(directory, "read_directory", raising(LookupError(text_of(service.files, V1))))
            begin(service, lines=(lines := Lines()))
            assert "internal: the check itself failed (LookupError)" in lines.texts.get(timeout=TIMEOUT)
        until(lambda: service.refresh.is_ok)

    def test_lines_that_nobody_reads(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nobody reads its lines, a revoked key is refused all the same. The lines follow."""
        monkeypatch.setattr(Refresh, "_end_process", lambda _: None)
        for name in ("_LOCK_WAIT", "_WRITE_WAIT"):
            monkeypatch.setattr(module, name, 0.01)
        lines = Lines()
        lines.may_go.clear()
        begin(service, lines=lines)
        volume(service.directory, revoking(service.files, V1))
        until(lambda: service.ring.accepted() == ())
        lines.may_go.set()
        until(lambda: "revoked" in lines.texts.get(timeout=TIMEOUT))
        until(lambda: f"stops process {os.getpid()} within 30 s" in lines.texts.get(timeout=TIMEOUT))

    def test_no_thread_can_be_started(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a further thread, the caller writes the lines."""
        monkeypatch.setattr("_thread.start_new_thread", raising(RuntimeError()))
        service.read(BAD["cut"][0](service.files))
        assert service.said() == ["format"]

    def test_it_ends_with_the_keys(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It ends as soon as nobody has the keys, whatever its period is."""
        before = thread_count()
        for _ in range(3):
            begin(Service(tmp_path / "keys", capsys), 900)
        gc.collect()
        until(lambda: thread_count() <= before)

    def test_its_period(self) -> None:
        """Many processes do not read at once: chance makes a period shorter by up to a tenth, and never longer."""
        waits: list[float] = []
        end: Any = SimpleNamespace(acquire=lambda timeout: waits.append(timeout))  # noqa: PLW0108 - by its name
        gone: Any = lambda: None  # noqa: E731 - as the reference, just after its keys are gone
        for _ in range(100):
            module._read_repeatedly(gone, end, 10)  # noqa: SLF001
        assert (9 <= min(waits) < 9.5 < max(waits) <= 10, len({*waits}) > 1) == (True, True)


class TestAtTheSameTime:
    """Several threads, signal handlers and forks."""

    def test_an_older_read(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A read that began earlier, and ends later, changes nothing."""
        read, began, may_end = directory.read_directory, threading.Event(), threading.Event()

        def slow(*arguments: Any) -> Any:
            files = read(*arguments)
            began.set()
            may_end.wait(TIMEOUT)
            return files

        monkeypatch.setattr(directory, "read_directory", slow)
        slower = threading.Thread(target=service.read)
        slower.start()
        began.wait(TIMEOUT)
        monkeypatch.setattr(directory, "read_directory", read)
        files = service.use(promoted(service.files))
        may_end.set()
        slower.join()
        assert (slots(service.ring), service.kinds) == (slots_of(files), ["switched"])

    def test_a_signal_handler_in_the_middle(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A call inside of another one does not wait forever, and changes nothing."""
        monkeypatch.setattr(module, "_LOCK_WAIT", 0.01)
        before = slots(service.ring)
        with _process.deciding:
            assert service.read(promoted(service.files)).ok
        assert (slots(service.ring), service.changed) == (before, [])

    @needs_fork
    def test_a_fork_while_lines_are_written(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fork does not wait forever for lines. Nothing is read in the child for keys that nobody has."""
        monkeypatch.setattr(module, "_LOCK_WAIT", 0.01)
        live_of(service.started()).refresh.start(print, None)
        with _process.writing:
            child = fork()
            if not child:
                service.read(BAD["cut"][0](service.files))
                os._exit(service.said() != ["format"])
        assert ended(child) == 0

    @needs_fork
    def test_a_thread_in_a_child(self, service: Service) -> None:
        """A child has the newest set and every known revocation, and its own thread follows the directory."""
        files = service.use(promoted(service.files))
        service.read({**revoking(files, PREVIOUS), V2: "changeme"})
        begin(service)
        child = fork()
        if not child:
            current = slots(service.ring)["current"]
            until(lambda: "next" in slots(service.ring))
            os._exit((current, "previous" in slots(service.ring)) != (slots_of(files)["current"], False))
        volume(service.directory, staged(files))
        assert ended(child) == 0


REVOKED_SERVICE = """
import atexit, os, sys, time
from robodj_secretguard import guard, refresh
refresh.END_SECONDS = 0.5
secrets = guard()
os.environ["ROBODJ_REVOKED_FINGERPRINTS"] = {!r}
for _ in range(2):
    secrets.refresh()
"""


@pytest.mark.parametrize(
    ("then", "status"),
    [
        ("time.sleep(60)", 3),
        ("sys.exit(os.waitstatus_to_exitcode(os.waitpid(os.fork(), 0)[1]))", 3),
        ("atexit.register(secrets.refresh); sys.exit(5)", 5),
    ],
)
def test_the_end_of_a_process(tmp_path: Path, then: str, status: int) -> None:
    """A process whose key is revoked ends with 3, and so does a child. Its own end is not delayed."""
    volume(tmp_path / "keys", files := first())
    script = REVOKED_SERVICE.format(fingerprint_of(text_of(files, V1))) + then
    ran = run_forked(script, {}, tmp_path, ROBODJ_SECRETS_DIR=str(tmp_path / "keys"))
    assert (ran.status, checks(ran)) == (status, ["revoked", "revoked"])
