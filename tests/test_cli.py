"""The command line called in a process that goes on: `main` returns a status and never raises."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from conftest import good_keys
from pydantic import field_validator

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.cli import EXIT_CLEAN, EXIT_USAGE, main
from robodj_secretguard.cli.output import PASSED

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr


class Interrupting(RuntimeSecrets):
    """Is interrupted while it judges."""

    @field_validator("secret_key", mode="after")
    @classmethod
    def _interrupt(cls, _value: SecretStr) -> SecretStr:
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, key in good_keys().items():
        monkeypatch.setenv(name, key)


def call(*argv: str) -> tuple[int, str, str]:
    """Call `main` with streams of the caller's, which have no descriptor."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(argv)
    return status, out.getvalue(), err.getvalue()


def test_streams_of_the_callers() -> None:
    """The result goes to the stdout that the caller has set, with a model of one's own too."""
    for argv in (["check"], ["check", "--model", "robodj_secretguard:RuntimeSecrets"]):
        status, out, err = call(*argv)
        assert (status, out.splitlines()[-1], err) == (EXIT_CLEAN, PASSED, "")


def test_an_interrupt_is_one_line() -> None:
    """Control-C is no traceback: the command could not do its work."""
    assert call("check", "--model", f"{__name__}:Interrupting") == (
        EXIT_USAGE,
        "",
        "robodj-secretguard: the command failed (KeyboardInterrupt)\n",
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("check", "--unknown"), "an argument is unknown or misplaced"),
        (("check", "--strict=yes"), "--strict: what was given is not accepted"),
        (("check", "--format", "xml"), "--format: what was given is not accepted"),
        (("check", "--model"), "--model: what was given is not accepted"),
    ],
)
def test_a_usage_error_names_the_option_where_there_is_one(argv: tuple[str, ...], said: str) -> None:
    """It is ours by name, and never what was given."""
    program = " ".join(["robodj-secretguard", *argv[: "what was given" in said]])
    assert call(*argv) == (EXIT_USAGE, "", f"robodj-secretguard: {said}; see {program} --help\n")


@pytest.mark.parametrize("argv", [("--vers",), ("--hel",), ("check", "--stric")])
def test_no_option_is_abbreviated(argv: tuple[str, ...]) -> None:
    """What is short for one option today is short for two tomorrow."""
    status, out, _ = call(*argv)
    assert (status, out) == (EXIT_USAGE, "")


@pytest.mark.parametrize(
    "name", ["", ":", "json", "json:", ":loads", "../json:loads", "js on:loads", "json:a.b", ".:a"]
)
def test_what_is_no_model_name_is_not_imported(name: str) -> None:
    """A module of names and a class of one, before anything is looked for."""
    assert call("check", "--model", name) == (
        EXIT_USAGE,
        "",
        "robodj-secretguard: --model: must be package.module:Class\n",
    )


def test_help_has_every_command() -> None:
    """Where none is named all are listed, the gate first and then in the order of a secret's life."""
    status, out, err = call("--help")
    assert (status, err) == (EXIT_CLEAN, "")
    listed = ["check", "exec", "status", "generate", "rotate", "revoke", "log", "incident", "scan"]
    assert re.findall(r"^    ([a-z]+) ", out, re.MULTILINE) == listed


def test_version() -> None:
    """The program's name and its version."""
    status, out, err = call("--version")
    assert (status, out, err) == (EXIT_CLEAN, f"robodj-secretguard {version('robodj-secretguard')}\n", "")
