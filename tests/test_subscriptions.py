"""The functions of `Secret.on_change`: each one is called after every change that it has not seen."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from queue import Queue

import pytest
from conftest import TIMEOUT, V1, posix_only, raising
from publications import promoted, retired, revoking, staged, text_of
from running_service import Service, slots, until

from robodj_secretguard import Secret
from robodj_secretguard.running import subscriptions as module
from robodj_secretguard.running.parts import Subscription

pytestmark = posix_only


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    """A process with a current and a next key."""
    return Service(tmp_path / "keys", capsys)


def test_it_gets_the_secret(service: Service) -> None:
    """The function gets the object that it was registered on, also a derived one, and reads the new keys."""
    derived, seen = service.secret.derive(b"config v1"), Queue[tuple[Secret, str]]()
    derived.on_change(lambda secret: seen.put((secret, secret.get_secret_value())))
    service.use(promoted(service.files))
    assert seen.get(timeout=TIMEOUT) == (derived, derived.get_secret_value())


def test_a_secret_that_does_not_change(service: Service) -> None:
    """The function of another secret is not called."""
    service.store.secrets["secret_v2.key"].on_change(lambda _: pytest.fail("it is called"))
    service.use(promoted(service.files))
    assert service.changes(1) == {"secret.key"}


def test_a_function_that_fails(service: Service) -> None:
    """An error of a function is an alert without its text. The others are called, and each read calls it again."""
    errors, done = [LookupError(text_of(service.files, V1))], threading.Event()

    def function(_secret: Secret) -> None:
        if errors:
            raise errors.pop()
        done.set()

    service.secret.on_change(function)
    service.use(promoted(service.files))
    assert service.changes(1) == {"secret.key"}
    until(lambda: "a function of on_change() failed (LookupError)" in (service.said() and service.lines))
    service.read()
    assert done.wait(TIMEOUT)
    until(lambda: module.faults(service.store.subscriptions) == [])
    service.read()
    assert service.said() == []


def test_a_function_that_is_added_late(service: Service) -> None:
    """A function that is added after a change is called at once, and one that is added before is not."""
    service.use(promoted(service.files))
    late = Queue[str]()
    service.secret.on_change(lambda secret: late.put(secret.current.kid))
    assert late.get(timeout=TIMEOUT) == service.secret.current.kid
    service.store.secrets["secret_v2.key"].on_change(lambda _: pytest.fail("it is called"))


def test_a_function_that_blocks(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that does not return stops neither the next read nor a revocation, and is an alert."""
    blocked, began = threading.Event(), threading.Event()

    def function(_secret: Secret) -> None:
        began.set()
        blocked.wait(TIMEOUT)

    service.secret.on_change(function)
    service.use(promoted(service.files))
    began.wait(TIMEOUT)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + module.CALL_SECONDS)
    service.read(revoking(service.files, f"{V1}_PREVIOUS"))
    assert "previous" not in slots(service.secret)
    assert service.said() == ["revoked", "internal"]
    assert "has not returned within 2 s" in service.lines
    blocked.set()


def test_changes_during_a_call(service: Service) -> None:
    """Changes that come while a function runs are one more call, after it."""
    kids, may_go = Queue[str](), threading.Event()

    def function(secret: Secret) -> None:
        kids.put(secret.current.kid)
        may_go.wait(TIMEOUT)

    service.secret.on_change(function)
    service.use(promoted(service.files))
    first = kids.get(timeout=TIMEOUT)
    for step in (retired, staged, promoted):
        service.use(step(service.files))
    may_go.set()
    assert kids.get(timeout=TIMEOUT) == service.secret.current.kid != first
    until(lambda: all(not each.is_behind for each in service.store.subscriptions))
    assert kids.empty()


def test_a_host_that_runs_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a thread that was started never runs, a later read calls the function itself."""
    calls: list[int] = []
    subscription = Subscription(lambda: calls.append(1), lambda: 1)
    monkeypatch.setattr(module, "start", lambda *_: True)
    now = time.monotonic()
    for seconds, called in ((0, 0), (1.9, 0), (2.1, 1), (3, 1)):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
        module.notify([subscription], raising(AssertionError()))
        assert len(calls) == called
