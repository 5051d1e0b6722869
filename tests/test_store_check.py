"""`store check`: its options, and its exit statuses."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from command_line import Machine
from conftest import V1, posix_only
from stores import SIMPLE, helper_at, new_text, opened, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = posix_only


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without keys in its environment."""
    return Machine(tmp_path, {})


def test_the_text(tmp_path: Path, machine: Machine) -> None:
    """Each fault has a line and its fix, and the last line says how it ended."""
    source = f"envfile:{tmp_path}/store"
    ran = machine.call("store", "check", "--to", source)
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "Store check passed.")
    (tmp_path / "store").write_text("# c\\", encoding="utf-8")
    ran = machine.call("store", "check", "--to", source)
    fault, fix, *_, last = ran.out.splitlines()
    assert (ran.status, last) == (1, "Store check FAILED: 1 fault.")
    assert fault == f"FAULT: {source} was not written: its last line is not complete"
    assert fix == "  fix: close its quote, or take its backslash away"


def test_a_program_that_is_not_available(tmp_path: Path, machine: Machine) -> None:
    """A store that does not answer is no fault: the status says to try again."""
    for script in ("exit 75", SIMPLE.replace("cat >new", "exit 75")):
        ran = machine.call("store", "check", "--to", helper_at(tmp_path, script).name)
        assert ran.status == 75
        assert "status 75" in ran.out


def test_a_store_with_keys_is_refused(tmp_path: Path, machine: Machine) -> None:
    """Nothing is written to a store that has a declared variable."""
    source = f"directory:{tmp_path}/store"
    write(opened(source), {V1: new_text()})
    ran = machine.call("store", "check", "--to", source)
    assert (ran.status, ran.out) == (2, "")
    assert f"--to: the store has {V1}" in ran.err


def test_the_errors_of_a_program(tmp_path: Path, machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """`--show-errors` lets the program's own errors through."""
    store = helper_at(tmp_path, "echo oops >&2; exit 1")
    for options, expected in (((), 0), (("--show-errors",), 1)):
        machine.call("store", "check", "--to", store.name, *options)
        assert capfd.readouterr().err.count("oops") == expected
    assert sys.stderr is not None
