"""A log whose writers are killed, many at once, or out of room: every acknowledged record is there and whole."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import run
from mounts import run_with_mounts
from processes import GOOD, host_env

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")

PROGRAM = str(Path(__file__).with_name("log_writers.py"))
PATIENCE = 300
"""Seconds: each of some thousand records is synced, and a disk may be slow."""
SMALL_DISK = 'mount -t tmpfs -o size=64k tmpfs "$0"'


def unmeasured() -> dict[str, str]:
    """Return an environment without coverage: what is killed as it writes that down leaves it torn."""
    return {name: value for name, value in host_env(GOOD).items() if not name.startswith("COVERAGE")}


def seen(what: str, cwd: Path) -> Any:
    """Run the writers, and return what they have seen."""
    ran = run([PROGRAM, what], env=unmeasured(), cwd=cwd, keys=tuple(GOOD.values()), timeout=PATIENCE)
    assert (ran.status, ran.err) == (0, "")
    return json.loads(ran.out)


def test_writers_that_are_killed(tmp_path: Path) -> None:
    """A thousand times over, at any moment and within a write: what is torn is closed off, and nothing joined to it."""
    trials = seen("killed", tmp_path)
    assert trials["trials"] == 1000
    assert trials["acknowledged"] > 400
    assert trials["torn"] >= trials["sealed"] > 100


def test_several_writers_at_once(tmp_path: Path) -> None:
    """None waits in vain, no record is lost or torn, and who reads meanwhile sees a log that verifies."""
    assert seen("together", tmp_path) == {"records": 201, "acknowledged": 201, "of each": [25] * 8}


def test_a_log_that_is_truncated_meanwhile(tmp_path: Path) -> None:
    """Every record that was acknowledged is in the log or in a copy of it, or is reported as lost."""
    rotated = seen("truncated", tmp_path)
    assert (rotated["rotations"], rotated["not reported"]) == (200, 0)
    assert rotated["acknowledged"] > 200 * 7


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What was seen where there was room for a part of what was to be recorded."""
    outcomes: list[dict[str, Any]] = seen("limited", tmp_path_factory.mktemp("limited"))
    assert len(outcomes) > 20
    return outcomes


def test_no_room_for_a_rotation(limited: list[dict[str, Any]]) -> None:
    """One line and a status; where there is room again, both keys are recorded once, and the log verifies."""
    for each in limited:
        status, out, err = each["refused"]
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("robodj-secretguard: ")
        assert sorted(each["rotated"]) == ["secret.key", "secret_v2.key"]
        assert (each["verified"], each["sealed"]) == (0, each["torn"])
        if not each["recorded"]:
            assert each["again"] == 0


def test_what_is_said_of_it(limited: list[dict[str, Any]]) -> None:
    """That nothing was recorded is only said where no record stands in the log."""
    said = {each["place"]: "nothing was recorded" in each["refused"][2] for each in limited}
    assert said == {each["place"]: each["recorded"] == 0 for each in limited}


def test_a_full_disk(tmp_path: Path) -> None:
    """What was acknowledged before is whole, and where there is room again, the next record follows it."""
    ran = run_with_mounts(
        [SMALL_DISK], [sys.executable, PROGRAM, "full"], env=unmeasured(), cwd=tmp_path, keys=tuple(GOOD.values())
    )
    assert (ran.status, ran.err) == (0, "")
    outcome = json.loads(ran.out)
    assert outcome["acknowledged"] > 50
    assert outcome["sealed"] == outcome["torn"]
