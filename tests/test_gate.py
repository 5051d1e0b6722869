"""`check` and `exec` in this process. tests/end_to_end/test_exec.py is about the process that a command replaces."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from command_line import DEFAULT_MODEL, Machine, machine_at
from conftest import NOW, V1, V2, Ran, without_model

from robodj_secretguard.cli import main
from robodj_secretguard.cli.gate import signed
from robodj_secretguard.cli.output import PASSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOOD = [
    "secret.key: present (source: environment; no expiry marker)",
    "secret_v2.key: present (source: environment; no expiry marker)",
]
REFUSED = "robodj-secretguard: refused, the command was not started: "
MODES = {False: "mode: environment, then fallback files", True: "mode: environment only"}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with good keys. The signals and the stdout that `exec` changes are as before afterwards."""
    stdout = os.dup(1)
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGPIPE", "SIGXFSZ") if hasattr(signal, name)]
    signals = {number: signal.getsignal(number) for number in numbers}
    machine = machine_at(tmp_path)
    machine.environ["PATH"] = os.environ["PATH"]
    yield machine
    for number, handler in signals.items():
        signal.signal(number, handler)
    os.dup2(stdout, 1)
    os.close(stdout)


def execute(machine: Machine, *argv: str, now: datetime = NOW, first: Callable[[], object] = int) -> Ran:
    """Run `exec` in this process, with a stdout that a command can inherit."""
    err = io.StringIO()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = machine.within(lambda: (first(), main(["exec", *argv]))[1], now=now)
        out.seek(0)
        return Ran(status, out.read(), without_model(err.getvalue()))


@pytest.mark.parametrize("env_only", [False, True])
def test_clean(machine: Machine, *, env_only: bool) -> None:
    """A clean check has a line for each secret, the mode, the list, and last the line that operators wait for."""
    ran = machine.call("check", *["--require-env-only"] * env_only)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [*GOOD, MODES[env_only], "revocation list: none", PASSED]


@pytest.mark.parametrize("options", [(), ("--strict",)])
def test_warning(machine: Machine, options: tuple[str, ...]) -> None:
    """A warning passes the gate unless it is strict. It is the first line, and in the document."""
    machine.environ[f"{V1}S"] = "a typo"
    ran = machine.call("check", *options)
    failed = "Secret integrity check FAILED: 0 alert(s), 1 warning(s). Do not release."
    assert (ran.status, ran.out.splitlines()[-1]) == ((1, failed) if options else (0, PASSED))
    assert ran.out.startswith("WARNING: secret.key: near-miss: ")
    document = json.loads(machine.call("check", "--format", "json", *options).out)
    assert (document["ok"], document["model"]) == (not options, DEFAULT_MODEL)
    assert [finding["check"] for finding in document["findings"]] == ["near-miss"]


def test_log(machine: Machine) -> None:
    """The check reads the log where it is by default or where the project names it. A log that is named must exist."""
    damaged = "WARNING: setting: The operations log cannot be relied on"

    def starts(*options: str, text: str = GOOD[0]) -> bool:
        return machine.call("check", *options).out.startswith(text)

    named = ("--operations-log", str(machine.log))
    assert starts()
    assert starts(*named, text="WARNING: setting: --operations-log names a file that is not there.")
    machine.record()
    machine.log.write_text("{}\n")
    assert starts(text=damaged)
    assert starts(*named, text=damaged)
    machine.put("pyproject.toml", '[tool.robodj-secretguard]\noperations-log = "log.jsonl"\n').chmod(0o644)
    assert starts()
    machine.put("log.jsonl", "{}\n").chmod(0o600)
    assert starts(text=damaged)


class TestExec:
    """`exec`."""

    @pytest.mark.parametrize("argv", [(), ("--",)], ids=range(2))
    def test_no_command(self, machine: Machine, argv: tuple[str, ...]) -> None:
        """The command must be given."""
        why = "the command goes after --; see robodj-secretguard exec --help"
        assert execute(machine, *argv) == Ran(2, "", f"robodj-secretguard: {why}\n")

    def test_refused(self, machine: Machine) -> None:
        """An alert is on stdout, as text or JSON; stderr says that nothing was started."""
        machine.environ[V2] = "changeme"
        ran = execute(machine, "--", "no-such-program")
        assert (ran.status, ran.err) == (3, f"{REFUSED}1 alert(s), 0 warning(s)\n")
        (line,) = ran.out.splitlines()
        assert line.startswith("ALERT: secret_v2.key: placeholder: ")
        ran = execute(machine, "--format", "json", "--", "no-such-program")
        assert (ran.status, json.loads(ran.out)["ok"]) == (3, False)

    def test_warning(self, machine: Machine) -> None:
        """A warning is on stderr, as text or JSON, and refuses with `--strict` alone."""
        not_found = "robodj-secretguard: the command after -- is not found, or its interpreter is not\n"
        assert execute(machine, "--format", "json", "--", "no-such-program") == Ran(127, "", not_found)
        machine.environ[f"{V1}S"] = "a typo"
        ran = execute(machine, "--", "no-such-program")
        assert (ran.status, ran.out, ran.err.startswith("WARNING: secret.key: near-miss: ")) == (127, "", True)
        assert ran.err.endswith(f"\n{not_found}")
        ran = execute(machine, "--format", "json", "--", "no-such-program")
        assert (ran.out, json.loads(ran.err.removesuffix(not_found))["ok"]) == ("", True)
        ran = execute(machine, "--strict", "--", "no-such-program")
        assert (ran.status, ran.err) == (3, f"{REFUSED}0 alert(s), 1 warning(s)\n")

    @pytest.mark.skipif(os.name != "posix", reason="a process is replaced on POSIX alone")
    @pytest.mark.parametrize(
        ("program", "status", "why"),
        [
            ("no-such-program", 127, "is not found, or its interpreter is not"),
            ("", 127, "is not found, or its interpreter is not"),
            ("file/program", 127, "is not found, or its interpreter is not"),
            ("./file", 126, "cannot be executed"),
            (".", 126, "cannot be executed"),
        ],
    )
    def test_not_started(self, machine: Machine, program: str, status: int, why: str) -> None:
        """A command that cannot be started has the statuses of a shell, and its name is not shown."""
        machine.put("file", "")
        err = f"robodj-secretguard: the command after -- {why}\n"
        assert execute(machine, "--", program) == Ran(status, "", err)
        assert {signal.getsignal(name) for name in (signal.SIGPIPE, signal.SIGXFSZ)} == {signal.SIG_DFL}

    def test_handed_on(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The command gets the options of the gate as variables, and only those that were given."""
        got: dict[str, str] = {}
        monkeypatch.setattr("os.execvp", lambda *_: got.update(os.environ))
        execute(machine, "--", "program")
        assert got == machine.environ
        execute(machine, "--config-dir", "config", "--require-env-only", "--", "program")
        given = {"ROBODJ_CONFIG_DIR": str(machine.config), "ROBODJ_PROTECTED_ENV": "true"}
        assert got == machine.environ | given

    @pytest.mark.skipif(os.name != "posix", reason="Windows deletes no working directory")
    def test_deleted_directory(self, machine: Machine) -> None:
        """A relative directory cannot be handed on from a directory that was deleted."""
        gone = machine.root / "gone"
        gone.mkdir()
        ran = execute(Machine(gone, machine.environ), "--config-dir", ".", "--", "true", first=gone.rmdir)
        assert ran == Ran(2, "", "robodj-secretguard: starting the command failed (FileNotFoundError)\n")

    def test_ephemeral(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Temporary keys replace no variable that is set. They pass with a warning, and the command gets them."""
        got: dict[str, str] = {}
        for name in (V1, f"{V2}_EXPIRES_AT"):
            machine.environ.clear()
            machine.environ[name] = "x"
            why = f"{name}: set already, and temporary keys replace nothing; unset it"
            assert execute(machine, "--ephemeral", "--", "no-such-program") == Ran(3, "", f"{REFUSED}{why}\n")
        machine.environ.clear()
        monkeypatch.setattr("os.execvp", lambda *_: got.update(os.environ))
        ran = execute(machine, "--ephemeral", "--", "program", now=datetime.now(UTC))
        assert ran.err.startswith("WARNING: ephemeral: ")
        assert set(got) == {V1, V2, f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT", "ROBODJ_SECRETS_EPHEMERAL"}


class TestWindows:
    """Where a process cannot be replaced, the gate runs the command and waits."""

    @pytest.mark.parametrize(("script", "status"), [("raise SystemExit(7)", 7), ("", 0)])
    def test_status(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, script: str, status: int) -> None:
        """The status is the command's. Control-C is the command's too: the gate goes on waiting."""
        windows = SimpleNamespace(**{**vars(os), "name": "nt"})
        monkeypatch.setattr("robodj_secretguard.cli.gate.os", windows)
        assert execute(machine, "--", sys.executable, "-c", script) == Ran(status, "", "")
        signal.raise_signal(signal.SIGINT)
        assert execute(machine, "--", "no-such-program", sys.executable).status == 127

    @pytest.mark.parametrize(("status", "passed_on"), [(0, 0), (3, 3), (0xC000013A, -0x3FFFFEC6), (2**31, -(2**31))])
    def test_signed(self, status: int, passed_on: int) -> None:
        """A status has 32 bits there, and keeps them."""
        assert signed(status) == passed_on
        assert passed_on % 2**32 == status
