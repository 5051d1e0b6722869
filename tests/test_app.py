"""`main`: parse the arguments, run one command, write its result. It returns a status and never raises."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from command_line import Machine, machine_at
from conftest import V1, Ran

from robodj_secretguard.cli import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, main
from robodj_secretguard.cli.output import PASSED

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """
import sys, threading
from pydantic import field_validator
from robodj_secretguard import RuntimeSecrets
print("noise")
class Own(RuntimeSecrets):
    pass
class Interrupting(RuntimeSecrets):
    @field_validator("secret_key", mode="after")
    @classmethod
    def _interrupt(cls, _value):
        raise KeyboardInterrupt
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with good keys, and with separate models that no other test has imported."""
    machine = machine_at(tmp_path)
    machine.put("own_models.py", MODEL)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return machine


@pytest.mark.parametrize(
    ("argv", "why", "command"),
    [
        ((), "the following arguments are required: COMMAND", ""),
        (("check", "--unknown"), "an argument is unknown or misplaced", ""),
        (("--vers", "check"), "an argument is unknown or misplaced", ""),
        (("check", "--stric"), "an argument is unknown or misplaced", ""),
        (("check", "--strict=yes"), "--strict: what was given is not accepted", " check"),
        (("check", "--format", "xml"), "--format: what was given is not accepted", " check"),
        (("check", "--model"), "--model: what was given is not accepted", " check"),
        (("check", "--", "true"), "only exec takes a command after --", " exec"),
        (("check", "--"), "only exec takes a command after --", " exec"),
    ],
    ids=range(9),
)
def test_usage_error(machine: Machine, argv: tuple[str, ...], why: str, command: str) -> None:
    """A usage error names the option, and never what was passed. No option is abbreviated."""
    see = f"see robodj-secretguard{command} --help"
    assert machine.call(*argv) == Ran(EXIT_USAGE, "", f"robodj-secretguard: {why}; {see}\n")


def test_streams(machine: Machine) -> None:
    """The result is on the caller's stdout. What a model's module prints is not."""
    for argv, err in ((["check"], ""), (["check", "--model", "own_models:Own"], "noise\n")):
        ran = machine.call(*argv)
        assert (ran.status, ran.out.splitlines()[-1], ran.err) == (EXIT_CLEAN, PASSED, err)
    machine.put("pyproject.toml", '[tool.robodj-secretguard]\nmodel = "own_models:Own"\n').chmod(0o644)
    del sys.modules["own_models"]
    assert machine.call("check").err == "noise\n"


def test_arguments(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, those of the process are parsed."""
    del machine.environ[V1]
    monkeypatch.setattr(sys, "argv", ["program", "check"])
    assert machine.within(main) == EXIT_ALERTS


def test_command(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is after the first `--` is a command. A value before it may be the name of another command."""
    programs = []

    def execute(*program: object) -> None:
        programs.append(program)
        raise FileNotFoundError

    monkeypatch.setattr("os.execvp", execute)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # test_gate.py is about the signals of the command
    with contextlib.redirect_stdout(None):
        argv = ["exec", "--config-dir", "status", "--", "program", "--", "-x"]
        machine.put("status/x", "")
        assert machine.within(lambda: main(argv)) == 127
    assert programs == [("program", ["program", "--", "-x"])]


def test_interrupt(machine: Machine) -> None:
    """An interrupt is one line: the command could not do its work."""
    assert machine.call("check", "--model", "own_models:Interrupting") == Ran(
        EXIT_USAGE, "", "noise\nrobodj-secretguard: the command failed (KeyboardInterrupt)\n"
    )


def test_help(machine: Machine) -> None:
    """The help lists every command: the gate first, then in the order of a secret's life."""
    ran = machine.call("--help")
    assert (ran.status, ran.err) == (EXIT_CLEAN, "")
    listed = ["check", "exec", "status", "generate", "rotate", "revoke", "log", "incident", "scan", "explain"]
    assert re.findall(r"^    ([a-z]+) ", ran.out, re.MULTILINE) == listed


def test_version(machine: Machine) -> None:
    """The version is printed with the program's name."""
    text = f"robodj-secretguard {version('robodj-secretguard')}\n"
    assert machine.call("--version") == Ran(EXIT_CLEAN, text, "")
    assert machine.call("--version", "check").status == EXIT_CLEAN


@pytest.mark.parametrize(
    ("started", "daemon", "ends"),
    [("before", False, False), ("meanwhile", True, False), ("meanwhile", False, True)],
    ids=["of-the-caller", "daemon", "of-the-model"],
)
def test_thread(machine: Machine, monkeypatch: pytest.MonkeyPatch, *, started: str, daemon: bool, ends: bool) -> None:
    """A thread that a model's module has started, and that nobody ends, does not keep the process alive."""
    stop, statuses = threading.Event(), list[int]()
    monkeypatch.setattr("os._exit", statuses.append)
    thread = threading.Thread(target=stop.wait, daemon=daemon)
    machine.put("own_models.py", f"{MODEL}\nif not sys.own_thread.is_alive():\n    sys.own_thread.start()\n")
    monkeypatch.setattr(sys, "own_thread", thread, raising=False)
    if started == "before":
        thread.start()
    assert machine.call("check", "--model", "own_models:Own").status == EXIT_CLEAN
    stop.set()
    thread.join()
    assert statuses == [EXIT_CLEAN] * ends
