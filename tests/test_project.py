"""`[tool.robodj-secretguard]` in pyproject.toml, and which model a command says that it used."""

from __future__ import annotations

import contextlib
import io
import json
import os
from typing import TYPE_CHECKING

import pytest
from command_line import DEFAULT_MODEL, Machine, key_as_argument, machine_at, rotated
from conftest import NOW, V1, V2, Ran, good_keys
from detector import leaks

from robodj_secretguard.cli import main
from robodj_secretguard.cli.options import MAX_PYPROJECT_BYTES, Project, find_project

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import RuntimeSecrets, SecretPolicy
print("imported")
POLICY = SecretPolicy(
    name="own.key", variable="OWN_KEY", owner="A", backup_owner="B", cadence=timedelta(days=9), warn_before=timedelta(1)
)
class Own(RuntimeSecrets):
    own_key: Annotated[SecretStr, POLICY]
"""
TABLE = "[tool.robodj-secretguard]\n"
USED = "model: own_settings:Own (pyproject.toml)"
DEFAULT = "model: robodj_secretguard:RuntimeSecrets (default)"
STDERR = "robodj-secretguard: "

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes, owners and FIFOs are POSIX's")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A repository with a model of its own."""
    machine = machine_at(tmp_path)
    machine.put("own_settings.py", MODEL)
    machine.put(".git/HEAD", "")
    return machine


def call(machine: Machine, *argv: str) -> Ran:
    """Run a command in this process, with every line that it writes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = machine.within(lambda: main(argv))
    return Ran(status, out.getvalue(), err.getvalue())


def configured(machine: Machine, text: str = 'model = "own_settings:Own"\n') -> Path:
    """Write a project's configuration."""
    path = machine.put("pyproject.toml", TABLE + text)
    path.chmod(0o644)
    return path


class TestModel:
    """Which model is used, and that every command says so."""

    def test_without_the_option(self, machine: Machine) -> None:
        """The gate judges all three secrets, and diverts what the module prints."""
        configured(machine)
        ran = call(machine, "check")
        assert (ran.status, ran.out.count("ALERT: own.key: missing"), ran.err) == (1, 1, "imported\n")
        assert USED in ran.out.splitlines()
        assert DEFAULT in call(machine, "check", "--model", "robodj_secretguard:RuntimeSecrets").out.replace(
            "RuntimeSecrets\n", "RuntimeSecrets (default)\n"
        )

    def test_in_a_directory_below(self, machine: Machine) -> None:
        """It is found upward, and its module is imported from where it is."""
        configured(machine)
        (machine.root / "a" / "b").mkdir(parents=True)
        below = Machine(machine.root / "a" / "b", machine.environ)
        assert USED in call(below, "check").out.splitlines()

    @pytest.mark.parametrize(
        ("argv", "where"),
        [
            (("check",), "out"),
            (("exec", "--", "true"), "err"),
            (("status",), "out"),
            (("generate", "secret.key"), "err"),
            (("generate", "--write"), "err"),
            (("rotate", "plan", "secret.key"), "out"),
            (("rotate", "record", "--environment", "prod", "--operator", "Ada"), "out"),
            (("revoke", "secret.key", "--reason", "leaked"), "out"),
            (("log", "show"), "err"),
            (("log", "verify"), "err"),
            (("incident", "report", "--since", "2026-11-01"), "err"),
            (("scan",), "err"),
        ],
        ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else value,
    )
    def test_every_command_says_which(self, machine: Machine, argv: tuple[str, ...], where: str) -> None:
        """The default is marked; `exec` says it before its command, and where a key goes to stdout it is on stderr."""
        machine.record(rotated(NOW, machine.fingerprint()))
        if argv[0] == "exec":
            argv = ("exec", "--", "no-such-program")
        ran = call(machine, *argv)
        line = DEFAULT if where == "out" else f"{STDERR}{DEFAULT}"
        assert getattr(ran, where).splitlines().count(line) == 1

    @pytest.mark.parametrize(
        "argv",
        [
            ("check",),
            ("status",),
            ("rotate", "plan", "secret.key"),
            ("rotate", "record", "--environment", "prod", "--operator", "Ada"),
            ("revoke", "secret.key", "--reason", "leaked"),
            ("log", "show"),
            ("log", "verify"),
            ("incident", "report", "--since", "2026-11-01"),
        ],
        ids=" ".join,
    )
    def test_in_a_document(self, machine: Machine, argv: tuple[str, ...]) -> None:
        """The same as data."""
        machine.record(rotated(NOW, machine.fingerprint()))
        assert json.loads(call(machine, *argv, "--format", "json").out)["model"] == DEFAULT_MODEL
        configured(machine)
        machine.environ["OWN_KEY"] = good_keys()[V1]
        used = {"name": "own_settings:Own", "source": "pyproject.toml"}
        assert json.loads(call(machine, *argv, "--format", "json").out)["model"] == used
        named = call(machine, *argv, "--format", "json", "--model", "own_settings:Own")
        assert json.loads(named.out)["model"] == {"name": "own_settings:Own", "source": "option"}

    def test_a_scan_does_not_import_it(self, machine: Machine) -> None:
        """It also looks at repositories that nobody trusts."""
        configured(machine)
        (machine.root / ".git" / "HEAD").unlink()
        (machine.root / ".git").rmdir()
        ran = call(machine, "scan")
        assert (ran.status, ran.err) == (0, f"{STDERR}{DEFAULT}\n")
        named = call(machine, "scan", "--model", "own_settings:Own")
        assert named.err.endswith(f"{STDERR}model: own_settings:Own\n")

    def test_one_that_cannot_be_imported(self, machine: Machine) -> None:
        """The configuration is named, and nothing of what it has."""
        configured(machine, 'model = "nowhere:Own"\n')
        ran = call(machine, "check")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"{STDERR}model in pyproject.toml: importing it failed (ModuleNotFoundError)")


class TestSwitches:
    """They can only tighten."""

    def test_strict(self, machine: Machine) -> None:
        """Warnings fail the gate; `false` changes nothing."""
        machine.environ[f"{V1}S"] = "x"
        assert call(machine, "check").status == 0
        configured(machine, "strict = true\n")
        assert call(machine, "check").status == 1
        configured(machine, "strict = false\n")
        assert call(machine, "check", "--strict").status == 1

    def test_require_env_only(self, machine: Machine) -> None:
        """Fallback files are ignored, no key file is written, and the command behind the gate is protected."""
        machine.write("secret.key", machine.environ.pop(V1))
        assert call(machine, "check").status == 0
        configured(machine, "require-env-only = true\n")
        assert "ALERT: secret.key: missing" in call(machine, "check").out
        ran = call(machine, "generate", "--write")
        assert (ran.status, ran.out) == (2, "")
        configured(machine, "require-env-only = false\n")
        assert "ALERT: secret.key: missing" in call(machine, "check", "--require-env-only").out

    def test_operations_log(self, machine: Machine) -> None:
        """A relative path begins at the file's directory; the option and the variable win."""
        configured(machine, 'operations-log = "records/log.jsonl"\n')
        (machine.root / "below").mkdir()
        below = Machine(machine.root / "below", machine.environ | {"ROBODJ_CONFIG_DIR": str(machine.config)})
        argv = ("rotate", "record", "--environment", "prod", "--operator", "Ada")
        assert call(below, *argv).status == 0
        assert (machine.root / "records" / "log.jsonl").exists()
        assert "verifies" in call(below, "status").out
        assert call(below, "log", "show", "--operations-log", "nowhere").status == 2
        below.environ["ROBODJ_OPERATIONS_LOG"] = "nowhere"
        assert "operations log: none" in call(below, "status").out


class TestFile:
    """Which file is read, and which is refused."""

    def test_the_nearest_that_has_the_table(self, tmp_path: Path) -> None:
        """Not above the root of the repository; a file without the table is passed over."""
        below = tmp_path / "repository" / "package"
        below.mkdir(parents=True)
        (tmp_path / "pyproject.toml").write_text(f"{TABLE}strict = true\n")
        (below / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool]\nother = 1\n")
        assert find_project(str(below)) == Project(directory=str(tmp_path), strict=True)
        (tmp_path / "repository" / ".git").write_text("gitdir: elsewhere\n")
        assert find_project(str(below)) == Project()
        (below.parent / "pyproject.toml").write_text(f'{TABLE}model = "a:B"\noperations-log = "x"\n')
        assert find_project(str(below)) == Project(str(below.parent), "a:B", str(below.parent / "x"))
        (below / "pyproject.toml").write_text("tool = 5\n")
        assert find_project(str(below)).model == "a:B"

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (
                f"{TABLE}modle = 'a:B'\n",
                "has an unknown key (choose from model, operations-log, strict, require-env-only)",
            ),
            (f"{TABLE}model = 5\n", "model must be a string"),
            (f"{TABLE}strict = 1\n", "strict must be true or false"),
            ("[tool]\nrobodj-secretguard = 5\n", "must be a table"),
            ("[tool", "is not valid TOML"),
            ("[tool.robodj_secretguard]\n", "did you mean [tool.robodj-secretguard]?"),
            ("[robodj-secretguard]\n", "did you mean [tool.robodj-secretguard]?"),
            ("[Tool]\n[tool.RoboDJ-secret-guard]\n", "did you mean [tool.robodj-secretguard]?"),
            (b"\xff", "is not valid TOML"),
            ("#" * (MAX_PYPROJECT_BYTES + 1), "cannot be read"),
        ],
    )
    def test_what_is_refused(self, machine: Machine, content: str | bytes, why: str) -> None:
        """It is a usage error, before anything is judged."""
        machine.put("pyproject.toml", content)
        ran = call(machine, "check")
        assert (ran.status, ran.out) == (2, "")
        assert why in ran.err

    def test_nothing_of_it_is_shown(self, machine: Machine) -> None:
        """A key may have been pasted there."""
        key = key_as_argument()
        for text in (f'{key} = "x"\n', f'model = "{key}"\n', f'model = "{key}:{key}"\n', f"strict = '{key}'\n"):
            configured(machine, text)
            ran = call(machine, "check")
            assert ran.status == 2
            assert leaks(ran.out + ran.err, [key]) == []

    @posix_only
    @pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
    def test_what_is_no_file(self, machine: Machine, kind: str) -> None:
        """Nothing is waited for."""
        path = machine.root / "pyproject.toml"
        {"fifo": os.mkfifo, "directory": os.mkdir, "device": lambda there: os.symlink("/dev/zero", there)}[kind](path)
        assert "cannot be read" in call(machine, "check").err

    @posix_only
    def test_one_that_others_may_write(self, machine: Machine) -> None:
        """Its model is code: it is refused where it has the table, and no other file is."""
        configured(machine).chmod(0o646)
        ran = call(machine, "check")
        assert (ran.status, ran.out) == (2, "")
        assert "is not trusted: it is writable by others" in ran.err
        machine.put("pyproject.toml", "[project]\nname = 'x'\n").chmod(0o666)
        assert call(machine, "check").status == 0

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
    def test_one_that_another_user_owns(self, machine: Machine) -> None:
        """The same of another ordinary user's; who owns its directory is not asked."""
        path = configured(machine)
        os.chown(machine.root, 65534, -1)
        assert USED in call(machine, "check").out
        os.chown(path, 65534, -1)
        assert "is not trusted: it is owned by another ordinary user" in call(machine, "check").err

    @posix_only
    def test_a_working_directory_that_was_deleted(self, machine: Machine) -> None:
        """There is no configuration, and the check says what is wrong."""
        gone = machine.root / "gone"
        gone.mkdir()

        def run() -> int:
            gone.rmdir()
            return main(["check"])

        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = Machine(gone, machine.environ).within(run) if gone.exists() else None
        assert (status, "ALERT: setting: config under the working directory" in out.getvalue()) == (1, True)


def test_a_key_as_the_path_of_a_log(machine: Machine) -> None:
    """It is refused, and does not become the name of a file."""
    key = good_keys()[V2]
    for path in (key, f"logs/{key}.jsonl", key_as_argument()):
        before = {each.name for each in machine.root.rglob("*")}
        argv = ("rotate", "record", "--environment", "prod", "--operator", "Ada", "--operations-log", path)
        ran = call(machine, *argv)
        assert (ran.status, {each.name for each in machine.root.rglob("*")} - {"logs"}) == (2, before - {"logs"})
        assert "its file name looks like a key" in ran.err
        assert leaks(ran.out + ran.err, [key]) == []
