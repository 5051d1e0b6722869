"""A log whose writers are killed, many at once, or out of room: every acknowledged record is there and whole."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import machine_at
from conftest import run
from mounts import run_with_mounts
from processes import SECRET, host_env, needs_fork

from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.shapes import Event

pytestmark = needs_fork

PROGRAM = str(Path(__file__).with_name("log_writers.py"))
PATIENCE = 300
"""Seconds: each of some thousand records is synced, and a disk may be slow."""
RECORD = (
    *("rotate", "record", "--environment", "prod", "--operator", "Ada"),
    *("--attest", "startup", "--attest", "functions"),
)
NAMES = ["secret.key", "secret_v2.key"]
SMALL_DISK = 'mount -t tmpfs -o size=64k tmpfs "$0"'


def unmeasured() -> dict[str, str]:
    """Return an environment without coverage: what is killed as it writes that down leaves it torn."""
    return {name: value for name, value in host_env({}).items() if not name.startswith("COVERAGE")}


def seen(cwd: Path, *argv: object) -> Any:
    """Run the writers, and return what they have seen."""
    command = [PROGRAM, *map(str, argv)]
    ran = run(command, env=unmeasured(), cwd=cwd, keys=SECRET, timeout=PATIENCE)
    assert (ran.status, ran.err) == (0, "")
    return json.loads(ran.out)


@pytest.mark.parametrize(
    ("trials", "acknowledged", "sealed"), [(50, 5, 5), pytest.param(1000, 400, 100, marks=pytest.mark.full)]
)
def test_writers_that_are_killed(tmp_path: Path, trials: int, acknowledged: int, sealed: int) -> None:
    """At any moment and within a write: what is torn is closed off, and nothing is joined to it."""
    outcome = seen(tmp_path, "killed", trials)
    assert outcome["trials"] == trials
    assert outcome["acknowledged"] > acknowledged
    assert outcome["torn"] >= outcome["sealed"] > sealed


@pytest.mark.parametrize("each", [5, pytest.param(25, marks=pytest.mark.full)])
def test_several_writers_at_once(tmp_path: Path, each: int) -> None:
    """None waits in vain, no record is lost or torn, and who reads meanwhile sees a log that verifies."""
    count = 8 * each + 1
    assert seen(tmp_path, "together", each) == {"records": count, "acknowledged": count, "of each": [each] * 8}


@pytest.mark.parametrize("rotations", [15, pytest.param(200, marks=pytest.mark.full)])
def test_a_log_that_is_truncated_meanwhile(tmp_path: Path, rotations: int) -> None:
    """Every record that was acknowledged is in the log or in a copy of it, or is reported as lost."""
    rotated = seen(tmp_path, "truncated", rotations)
    assert (rotated["rotations"], rotated["not reported"]) == (rotations, 0)
    assert rotated["acknowledged"] > rotations * 7


def test_no_room_for_a_rotation(tmp_path: Path) -> None:
    """Wherever its two records are cut, `rotate record` says so in a line, and later records what is missing.

    That nothing was recorded is only said where no record stands in the log.
    """
    machine = machine_at(tmp_path)
    machine.call(*RECORD)
    written = machine.log.read_bytes()
    first, last = written.index(b"\n"), len(written)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for place in (0, 1, first // 2, first - 1, first, first + 1, first + 2, last // 2, last - 2, last - 1):
        for path in machine.log.parent.iterdir():
            path.unlink()
        resource.setrlimit(resource.RLIMIT_FSIZE, (place, hard))
        try:
            ran = machine.call(*RECORD)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        left = operations_log.load(str(machine.log))
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert ran.err.startswith("robodj-secretguard: ")
        assert ("nothing was recorded" in ran.err) is (left.records == ())
        again = machine.call(*RECORD).status
        assert again == 0 or left.records
        assert sorted(str(each.secret) for each in machine.records if each.event is Event.ROTATED) == NAMES
        assert machine.call("log", "verify").status == 0


def test_a_full_disk(tmp_path: Path) -> None:
    """What was acknowledged before is whole, and where there is room again, the next record follows it."""
    command = [sys.executable, PROGRAM, "full", "3"]
    ran = run_with_mounts([SMALL_DISK], command, env=unmeasured(), cwd=tmp_path, keys=SECRET)
    assert (ran.status, ran.err) == (0, "")
    outcome = json.loads(ran.out)
    assert outcome["acknowledged"] > 50
    assert outcome["sealed"] == outcome["torn"]
