"""What `store check` says of helper programs, each with one fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_line import Machine
from conftest import posix_only
from rotations import Memory
from stores import COMPARING, SIMPLE, fields_in, helper_at, opened, write

from robodj_secretguard.managers.conformance import _judge_comparison

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = posix_only


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without keys in its environment."""
    return Machine(tmp_path, {})


def faults(machine: Machine, source: str, *options: str) -> list[str]:
    """Return what the check says is wrong."""
    ran = machine.call("store", "check", "--to", source, "--format", "json", *options)
    assert ran.status == int(bool(ran.document["faults"]))
    return [fault["message"] for fault in ran.document["faults"]]


@pytest.mark.parametrize("script", [SIMPLE, COMPARING], ids=["simple", "comparing"])
def test_a_good_program(tmp_path: Path, machine: Machine, script: str) -> None:
    """A good program has no fault, and its fields are there as before. A check that was ended leaves nothing."""
    store = helper_at(tmp_path, script)
    assert faults(machine, store.name, "--single-writer") == []
    assert fields_in(store) == {}
    write(store, {"OTHER": "x", "ROBODJ_STORE_CHECK": "y"})
    assert faults(machine, store.name, "--single-writer") == []
    assert fields_in(store) == {"OTHER": "x"}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (SIMPLE.replace("cat store", "cat store 2>/dev/null | sed s/HOME/HOUSE/"), ["changes values"]),
        (SIMPLE.replace("[ -f store ] || exit 66; cat store", "cat store"), ["failed at get (status 1)"]),
        (SIMPLE.replace("mv new store", "cat new; mv new store"), ["prints something at set, which could have a key"]),
        (SIMPLE.replace("cat store", "cat store; sleep 600 2>&- &"), ["leaves a process that keeps its output open"]),
        (SIMPLE.replace("cat >new", "sed 's/, .ROBODJ_STORE_CHECK_2.*/}}/' >new"), ["loses fields that it was given"]),
        (SIMPLE.replace("mv new store", "exit 1"), ["failed at set (status 1)"]),
        (
            SIMPLE.replace("cat store", 'sed \'s/.*: {}}/{"fields": {"ROBODJ_STORE_CHECK": ""}}/\' store'),
            ["keeps a field that set was not given any more"],
        ),
        (
            COMPARING.replace('"version": name, "versions": kept[::-1]', '"version": "7"').replace(
                "sys.exit(73)", "pass"
            ),
            ["has the same version after another write"],
        ),
        (COMPARING.replace("sys.exit(73)", "pass"), ["does not compare versions, although get prints one"]),
        (COMPARING.replace("sys.exit(73)", "sys.exit(1)"), ["ends with status 1 where another version is current"]),
        (
            COMPARING.replace(
                "        sys.exit(73)", '        json.dump({}, open("kept/%s" % kept[-1], "w")); sys.exit(73)'
            ),
            ["writes although it ends with status 73"],
        ),
        (COMPARING.replace("kept[::-1]", "kept"), ["does not name the current version first"]),
        (COMPARING.replace("(which or kept[-1:])[0]", "kept[-1]"), ["does not return an earlier version"]),
    ],
)
def test_a_program_with_a_fault(tmp_path: Path, machine: Machine, script: str, expected: list[str]) -> None:
    """Each fault of a program has a sentence of its own."""
    found = faults(machine, helper_at(tmp_path, script).name, "--single-writer")
    assert found == expected


def test_a_program_that_does_not_compare(tmp_path: Path, machine: Machine) -> None:
    """Without `--single-writer`, a program that does not compare is not written, and nothing is left."""
    store = helper_at(tmp_path)
    assert faults(machine, store.name) == ["does not compare versions, so the write of another machine could be lost"]
    assert fields_in(store) == {}


@pytest.mark.parametrize("kind", ["directory", "envfile"])
def test_files(tmp_path: Path, machine: Machine, kind: str) -> None:
    """A directory and an environment file pass. One that was checked before a first key still has none."""
    assert faults(machine, f"{kind}:{tmp_path}/store") == []
    assert fields_in(opened(f"{kind}:{tmp_path}/store")) == {}
    (tmp_path / "store").chmod(0o707)
    assert faults(machine, f"{kind}:{tmp_path}/store") != []


def test_a_store_that_does_not_compare() -> None:
    """A write from an old version that is not refused is a fault of the store."""
    store = Memory()
    old = store.current()
    store.write(old.fields, old)
    store.write = lambda *_: None  # type: ignore[method-assign]
    faults = [*_judge_comparison(store, {}, old)]
    assert [each.message for each in faults] == ["does not refuse a write from an old version"]
