"""`main`: parse the arguments, run one command, write its result. It returns a status and never raises."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
from command_line import EVERY_COMMAND, Machine, Terminal, machine_at, rotated
from conftest import NOW, V1, Ran, posix_only
from fleets import line as event_line
from repositories import commit, made

from robodj_secretguard.cli import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, main
from robodj_secretguard.secret.texts import PROGRAM

COMMANDS = (
    "(choose from init, check, exec, status, generate, rotate, store, revoke, log, fleet, incident, scan, explain)"
)
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


AFTER = "; the options of a command go after it"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with good keys, and with models that no other test has imported."""
    machine = machine_at(tmp_path)
    machine.put("own_models.py", MODEL)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return machine


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("chek", "-h"), f"unknown command; did you mean check? {COMMANDS}"),
        (
            ("--vers", "check"),
            f"unknown option{AFTER}; did you mean --version? (choose from --help, --version)",
        ),
        (
            ("explain", "--mod"),
            "unknown option; did you mean --model? (choose from --help, --model, --format, --color)",
        ),
        (("check", "--format", "jsn", "-h"), "--format: invalid value; did you mean json? (choose from text, json)"),
        (("rotate", "plan"), "rotate plan needs NAME; see robodj-secretguard rotate plan --help"),
        (("check", "--", "true"), "only exec takes a command after --; see robodj-secretguard exec --help"),
        (("check", "--"), "only exec takes a command after --; see robodj-secretguard exec --help"),
    ],
    ids=range(7),
)
def test_usage_error(machine: Machine, argv: tuple[str, ...], why: str) -> None:
    """A usage error is one line on stderr, with status 2. Options have no abbreviations."""
    assert machine.call(*argv) == Ran(EXIT_USAGE, "", f"robodj-secretguard: {why}\n")


def test_arguments(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `argv`, the arguments of the process are parsed."""
    del machine.environ[V1]
    monkeypatch.setattr(sys, "argv", ["program", "check"])
    assert machine.within(main) == EXIT_ALERTS


def test_command(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything after the first `--` is a command. The value of an option may be the name of another command."""
    programs = []

    def execute(*program: object) -> None:
        programs.append(program)
        raise FileNotFoundError

    monkeypatch.setattr("os.execvp", execute)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # test_gate.py tests the signals of the command
    with contextlib.redirect_stdout(None):
        argv = ["exec", "--config-dir", "status", "--", "program", "--", "-x"]
        machine.put("status/x", "")
        assert machine.within(lambda: main(argv)) == 127
    assert programs == [("program", ["program", "--", "-x"])]


def test_interrupt(machine: Machine) -> None:
    """An interrupt is reported in one line, with status 2."""
    assert machine.call("check", "--model", "own_models:Interrupting") == Ran(
        EXIT_USAGE, "", "noise\nrobodj-secretguard: the command failed (KeyboardInterrupt)\n"
    )


@pytest.mark.parametrize("argv", [(), ("rotate",), ("log",)], ids=["alone", "rotate", "log"])
def test_missing_command_prints_the_help(machine: Machine, argv: tuple[str, ...]) -> None:
    """Without a command, the help is printed. The status is that of a usage error, as nothing was checked."""
    helped = machine.call(*argv, "--help")
    assert machine.call(*argv) == Ran(EXIT_USAGE, helped.out, helped.err)


def test_help(machine: Machine) -> None:
    """The help lists every command below a title, in the order of `COMMANDS`."""
    ran = machine.call("--help")
    assert (ran.status, ran.err) == (EXIT_CLEAN, "")
    listed = [*COMMANDS.removeprefix("(choose from ").removesuffix(")").split(", ")]
    assert re.findall(r"^  ([a-z]+)  ", ran.out, re.MULTILINE) == listed
    titles = [
        "set up a project",
        "before a start or a release",
        "rotation",
        "incidents",
        "findings",
        "options",
        "examples",
        "exit status",
    ]
    assert re.findall(r"^(.*):$", ran.out, re.MULTILINE) == titles


@pytest.mark.parametrize("command", [(), ("rotate",), *EVERY_COMMAND], ids=" ".join)
def test_width_of_help(machine: Machine, command: tuple[str, ...]) -> None:
    """The help is ASCII, within 80 columns, whatever `COLUMNS` and the arguments after `-h`."""
    machine.environ["COLUMNS"] = "200"
    ran = machine.call(*command, "-h", "--unknown")
    assert (ran.status, ran.err, ran.out.isascii()) == (EXIT_CLEAN, "", True)
    assert max(map(len, ran.out.splitlines())) <= 80


def test_help_of_a_command_has_groups(machine: Machine) -> None:
    """The help of a command has its options in groups, its examples, its exit statuses and its kind of document."""
    shown = machine.call("status", "--help").out
    assert shown.startswith("usage: robodj-secretguard status [options]\n\nShow the status of each secret. The")
    assert re.findall(r"^(\w.*):$", shown, re.MULTILINE) == [
        *("options", "files and model", "output"),
        *("examples", "exit status", "with --format json"),
    ]
    assert re.search(r"^  1    alerts, or the .*\n       \S", shown, re.MULTILINE)
    assert shown.endswith("\n  a document of the kind status\n")


@posix_only
@pytest.mark.parametrize("columns", [60, 120])
def test_help_has_the_width_of_the_terminal(machine: Machine, columns: int) -> None:
    """On a terminal, the help is as wide as the terminal. The examples are not wrapped: they can be pasted."""
    size = os.terminal_size((columns, 24))
    with patch("os.get_terminal_size", return_value=size), patch.object(Terminal, "fileno", return_value=1):
        shown = machine.call("rotate", "stage", "--help", stdout=Terminal()).out
    before, examples = shown.split("\nexamples:\n")
    assert columns - 15 < max(map(len, before.splitlines())) <= columns
    assert "\n      --environment prod --operator 'Ada Lovelace'\n" in examples


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_examples(machine: Machine, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    """The help of every command has an example that works, and lists its exit status."""
    monkeypatch.setattr("os.execvp", Mock(side_effect=FileNotFoundError))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("robodj_secretguard.cli.gate.restore_stdout", lambda _: None)
    commit(made(machine.root))
    machine.record(rotated(NOW, machine.fingerprint()))
    machine.put("roster.toml", "[api]\ninstances = ['web-1']\n")
    machine.put("events.jsonl", event_line())
    shown = machine.call(*command, "--help").out.replace("\\\n      ", "")
    if "vault:" in shown.partition("examples:")[2]:
        pytest.importorskip("hvac")
    examples = [shlex.split(line) for line in re.findall(rf"^  {PROGRAM} ([^|>\n]*)", shown, re.MULTILINE)]
    assert [tuple(words[: len(command)]) for words in examples] == [command] * (len(examples) or 1)
    if command == ("init",):
        (machine.root / "pyproject.toml").unlink()  # it sets up a new project
    for words in examples:
        status = machine.call(*words).status
        assert status != EXIT_USAGE
        assert re.search(rf"^  {status} +\w", shown, re.MULTILINE)


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
    """A thread that a model's module started and did not end does not keep the process alive."""
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
