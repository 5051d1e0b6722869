"""The options that commands share, `[tool.robodj-secretguard]` in pyproject.toml, and the files that options name."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from command_line import NAMED_MODEL, Machine, Terminal, key_as_argument, machine_at, rotated
from conftest import NOW, V1, Ran, posix_only, put, root_only

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.cli import main
from robodj_secretguard.cli.app import _parse_arguments
from robodj_secretguard.cli.options import (
    PROJECT_KEYS,
    Request,
    directory_of,
    find_project,
    fleet_of,
    given,
    given_option,
    given_sources,
    locate_log,
    model_used,
    policy_of,
    read_input,
    request_of,
    span_of,
    with_model_class,
)
from robodj_secretguard.cli.output import EXIT_USAGE
from robodj_secretguard.errors import UsageError
from robodj_secretguard.startup.inputs import OWNED, WRITABLE
from robodj_secretguard.startup.model_option import LIBRARY_MODEL

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
DEFAULT = "model: none is named, so this is about RoboDJ's two secrets (init or --model names others)"
NAMED = f"model: {LIBRARY_MODEL} (pyproject.toml)"
STDERR = "robodj-secretguard: "
EVERY_KEY = (
    'model = "a:B"\noperations-log = "log"\nstrict = true\nrequire-env-only = true\nephemeral-tests = ["a.key"]\n'
)
FREE_TEXT = "invalid text; use one line of at most 500 printable characters, without anything that looks like a key"
TIME = "invalid time; use one like 2027-01-31T08:00:00Z, or a date like 2027-01-31"
RECORD = ("rotate", "record", "--environment", "prod", "--operator", "Ada")
KEYS = "model, operations-log, strict, require-env-only, ephemeral-tests"
NO_PYPROJECT = "pyproject.toml cannot be read; make it a regular file in UTF-8, of at most 1048576 bytes"
UNREADABLE = "--fleet: the file is missing, unreadable or not a regular file; check its name, or use - for a pipe"


IRREGULAR: list[Callable[[Path], None]] = [
    lambda path: os.mkfifo(path),  # noqa: PLW0108 - it is POSIX's
    lambda path: path.mkdir(),
    lambda path: path.symlink_to("/dev/zero"),
]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A repository with a separate model, which no other test has imported."""
    monkeypatch.delitem(sys.modules, "own_settings", raising=False)
    machine = machine_at(tmp_path)
    machine.put("own_settings.py", MODEL)
    machine.put(".git/HEAD", "")
    return machine


def call(machine: Machine, *argv: str) -> Ran:
    """Run a command in this process, and return every line that it writes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = machine.within(lambda: main(argv))
    return Ran(status, out.getvalue(), err.getvalue())


def configured(machine: Machine, text: str = 'model = "own_settings:Own"\n', *, mode: int = 0o644) -> None:
    """Write a project's configuration."""
    machine.put("pyproject.toml", text if text.startswith("[") else TABLE + text).chmod(mode)


def parse(command: str, *options: str) -> argparse.Namespace:
    """Parse the words of a command, and more options."""
    return _parse_arguments([*command.split(), *options])


def error(do: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """Return the text of a usage error."""
    with pytest.raises(UsageError) as raised:
        do(*arguments, **options)
    return str(raised.value)


class TestValues:
    """The values that the options accept."""

    def test_defaults(self) -> None:
        """No option is required, and every switch is off."""
        assert request_of(parse("check")) == (Request(sources=[]), {})

    def test_the_time_to_wait_needs_a_source(self) -> None:
        """`--wait` without `--from` would have no effect. Its value is a number of seconds."""
        assert error(parse, "check --wait=1e3") == "--wait: invalid number of seconds; use one from 0 to 9999"
        assert error(request_of, parse("check --wait=1")) == "--wait works only with --from; leave it out"
        assert request_of(parse("check --wait=1 --from=json:-"))[0].wait == 1

    def test_stdin_has_one_reader(self) -> None:
        """Only one option reads stdin."""
        why = "--key-from - and --from json:- both read stdin; name a file for one of them"
        assert error(request_of, parse("revoke a --reason b --key-from=- --from=json:-")) == why

    @pytest.mark.parametrize(
        ("option", "value", "limits"),
        [
            (
                "--environment",
                "Prod",
                "invalid name; use lower-case letters, digits, hyphens and underscores, such as prod",
            ),
            ("--operator", "two\nlines", FREE_TEXT),
            ("--ticket", "", FREE_TEXT),
            ("--reason", "{key}", FREE_TEXT),
            *(("--since", text, TIME) for text in ("", "2026-11-31", "2026-11", "20261130")),
            *(("--until", f"2026-11-30{text}", TIME) for text in ("T10:00", "T10:00Z\n", "{key}")),
            ("--until", "0001-01-01T00:00+01:00", TIME),
        ],
    )
    def test_invalid(self, option: str, value: str, limits: str) -> None:
        """An invalid value is a usage error that states the limits. The value may be a key, and is not shown."""
        command = "log show" if limits == TIME else "revoke a"
        assert error(parse, command, f"{option}={value.format(key=key_as_argument())}") == f"{option}: {limits}"

    def test_span(self) -> None:
        """A date means its first instant in UTC. Without dates, a span covers all time. A span must not be empty."""
        first, last = span_of(None, None)
        assert (first.year, last.year, first.tzinfo, last.tzinfo) == (1, 9999, UTC, UTC)
        since = parse("log show --since=2026-11-30T02:00+02:00").since
        end = datetime(2026, 11, 30, 0, 0, 1, tzinfo=UTC)
        assert span_of(since, end) == (datetime(2026, 11, 30, tzinfo=UTC), end)
        assert error(span_of, since, parse("log show --until=2026-11-30").until) == "--until must be later than --since"

    def test_given(self) -> None:
        """Messages repeat the options of the command, without values that could be a key or forge a line."""
        key = key_as_argument()
        request, _ = request_of(
            parse("check --config-dir=-deploy --operations-log=caf\xe9 --from=json:-", f"--model={key}")
        )
        assert given_sources(request._replace(sources=["aws:a", "json:-"])) == ["--from", "aws:a"]
        assert given(request, "config_dir", "model", "operations_log") + given_option("ticket", None) == [
            *("--config-dir=-deploy", "--model", "MODULE:CLASS", "--operations-log", "FILE")
        ]

    def test_policy(self) -> None:
        """A secret is selected by its name or its variable. An unknown name may be a key, and is not shown."""
        (first, second) = RuntimeSecrets.secret_policies.values()
        assert [policy_of(RuntimeSecrets, name) for name in (V1, second.name)] == [first, second]
        choices = "(choose from secret.key, secret_v2.key)"
        assert error(policy_of, RuntimeSecrets, key_as_argument()) == f"unknown secret {choices}"
        for name, near in (("secret_v2", second.name), ("ROBODJ_SECRET_KY", V1)):
            assert error(policy_of, RuntimeSecrets, name) == f"unknown secret; did you mean {near}? {choices}"


class TestModel:
    """Which model is used. Every command names it."""

    def test_project(self, machine: Machine) -> None:
        """The model of the project is used, also in its subdirectories. The output of its module goes to stderr."""
        configured(machine)
        (machine.root / "a" / "b").mkdir(parents=True)
        ran = call(Machine(machine.root / "a" / "b", machine.environ), "check")
        assert (ran.status, ran.out.count("ALERT: own.key: missing"), ran.err) == (1, 1, "imported\n")
        assert "model: own_settings:Own (pyproject.toml)" in ran.out.splitlines()

    @pytest.mark.parametrize("name", ["", ":", "json", "json:", ":loads", "../json:loads", "js on:loads", "json:a.b"])
    def test_invalid_name(self, name: str) -> None:
        """A name that is not a module and a class is a usage error, and nothing is imported."""
        assert error(with_model_class, Request(model=name)) == "--model: invalid name; use package.module:Class"

    def test_used(self, machine: Machine) -> None:
        """The option wins over the project. The name is shown in ASCII, with its origin."""
        for option, project, name, source in (
            ("caf\xe9:Own", "a:B", "caf\\xe9:Own", "option"),
            (None, "a:B", "a:B", "pyproject.toml"),
            (None, None, LIBRARY_MODEL, "default"),
        ):
            assert model_used(Request(model=option, project_model=project)) == {"name": name, "source": source}
        configured(machine, 'model = "nowhere:Own"\n')
        why = "model in pyproject.toml: the import failed (ModuleNotFoundError)"
        assert call(machine, "check").err.startswith(f"{STDERR}{why}")

    @pytest.mark.parametrize(
        ("argv", "where"),
        [
            (("check",), "out"),
            (("status",), "out"),
            (("generate", "secret.key"), "err"),
            (("rotate", "plan", "secret.key"), "out"),
            (RECORD, "out"),
            (("revoke", "secret.key", "--reason", "leaked"), "out"),
            (("log", "show"), "err"),
            (("log", "verify"), "err"),
            (("incident", "--since", "2026-11-01"), "err"),
            (("scan",), "err"),
        ],
        ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else value,
    )
    def test_every_command(self, machine: Machine, argv: tuple[str, ...], where: str) -> None:
        """Every command names the model once, on stderr where stdout is a key or a document. `exec`: test_gate.py."""
        machine.record(rotated(NOW, machine.fingerprint()))
        line = NAMED if where == "out" and argv[0] != "scan" else f"{STDERR}{NAMED}"
        if argv[0] == "scan":  # it reads no project
            line = f"{STDERR}{DEFAULT}"
        assert getattr(call(machine, *argv), where).splitlines().count(line) == 1
        if argv[0] not in {"generate", "scan"}:
            assert call(machine, *argv, "--format", "json").document["model"] == NAMED_MODEL

    @pytest.mark.parametrize(
        ("argv", "where"),
        [
            (("check",), "out"),
            (("status",), "out"),
            (("exec", "--", "true"), "err"),
            (("log", "show"), "err"),
            (("incident", "--since", "2026-11-01"), "err"),
            (("scan",), "err"),
        ],
    )
    def test_no_model(self, machine: Machine, argv: tuple[str, ...], where: str) -> None:
        """Where no model is named, a command first says that it is about RoboDJ's two secrets."""
        machine.record(rotated(NOW, machine.fingerprint()))
        (machine.root / "pyproject.toml").unlink()
        del machine.environ[V1]
        line = DEFAULT if where == "out" else f"{STDERR}{DEFAULT}"
        assert getattr(call(machine, *argv), where).splitlines()[0] == line

    @pytest.mark.parametrize(
        "argv",
        [
            ("generate", "secret.key"),
            ("rotate", "plan", "secret.key"),
            RECORD,
            ("rotate", "stage", "secret.key", "--to", "vault:a/b", "--environment", "prod", "--operator", "Ada"),
            ("revoke", "secret.key", "--reason", "leaked"),
        ],
        ids=lambda argv: " ".join(argv[:2]),
    )
    def test_a_project_is_needed(self, machine: Machine, argv: tuple[str, ...]) -> None:
        """What makes, prints or writes keys needs a model, and says how to name one, also RoboDJ's."""
        (machine.root / "pyproject.toml").unlink()
        ran = call(machine, *argv)
        assert (ran.status, ran.out) == (EXIT_USAGE, "")
        assert ran.err == (
            f"{STDERR}no model is named, so nothing was done; pass --model MODULE:CLASS, or add model to"
            f" [tool.robodj-secretguard] in pyproject.toml (RoboDJ's two secrets: --model {LIBRARY_MODEL})\n"
        )
        assert call(machine, *argv, "--model", "nowhere:Own").err.startswith(f"{STDERR}--model: the import failed")

    def test_fixes_name_the_model(self, machine: Machine) -> None:
        """A command in a fix names the model, unless the project does."""
        del machine.environ[V1]
        generate = "robodj-secretguard generate secret.key"
        assert f"add one: {generate} --show" in call(machine, "check").out
        (machine.root / "pyproject.toml").unlink()
        for option in ((), ("--model", LIBRARY_MODEL)):
            assert f"add one: {generate} --model {LIBRARY_MODEL} --show\n" in call(machine, "check", *option).out

    def test_scan(self, machine: Machine) -> None:
        """A scan does not import the model of the project: it also reads repositories that nobody trusts."""
        configured(machine)
        assert "imported" not in call(machine, "scan").err
        named = call(machine, "scan", "--model", "own_settings:Own").err
        assert named.startswith("imported\n")
        assert f"{STDERR}model: own_settings:Own\n" in named


@pytest.mark.parametrize("name", ["strict", "require-env-only"])
def test_switch(machine: Machine, name: str) -> None:
    """A switch is on if the project or the option turns it on: the project can only tighten."""
    machine.environ[f"{V1}S"] = "a typo"
    machine.write("secret.key", machine.environ.pop(V1))
    configured(machine, f"{name} = true\n")
    assert call(machine, "check").status == 1
    configured(machine, f"{name} = false\n")
    assert call(machine, "check").status == 0
    assert call(machine, "check", f"--{name}").status == 1


class TestFile:
    """Which pyproject.toml is read, and which is refused."""

    def test_nearest(self, tmp_path: Path) -> None:
        """The nearest file that has the table is read, up to the root of the repository."""
        below = tmp_path / "repository" / "package"
        below.mkdir(parents=True)
        (tmp_path / "pyproject.toml").write_text(f"{TABLE}strict = true\n")
        (below / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool]\nother = 1\n")
        assert find_project(str(below)) == {"directory": str(tmp_path), "strict": True}
        (tmp_path / "repository" / ".git").write_text("gitdir: elsewhere\n")
        assert find_project(str(below)) == {}
        (below.parent / "pyproject.toml").write_text(f'{TABLE}model = "a:B"\noperations-log = "x"\n')
        assert find_project(str(below)) == {"directory": str(below.parent), "model": "a:B", "operations-log": "x"}
        (below / "pyproject.toml").write_text("tool = 5\n")
        assert find_project(str(below))["model"] == "a:B"

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (
                f"{TABLE}modle = 'a:B'\n",
                f"{TABLE[:-1]} in pyproject.toml has an unknown key; did you mean model? (choose from {KEYS})",
            ),
            (f"{TABLE}model = 5\n", f"{TABLE[:-1]} in pyproject.toml: model must be a string"),
            (f"{TABLE}strict = 1\n", f"{TABLE[:-1]} in pyproject.toml: strict must be true or false"),
            (
                "[tool]\nrobodj-secretguard = 5\n",
                f"{TABLE[:-1]} in pyproject.toml is not a table; write it as {TABLE[:-1]}",
            ),
            ("[tool", "pyproject.toml is not valid TOML in UTF-8; fix it"),
            (b"\xff", NO_PYPROJECT),
            (None, NO_PYPROJECT),
            ("#" * (2**20 + 1), NO_PYPROJECT),
            *(
                (text, f"pyproject.toml has a table that is not read; did you mean {TABLE[:-1]}?")
                for text in ("[tool.robodj_secretguard]", "[robodj-secretguard]", "[Tool]\n[tool.RoboDJ-secret-guard]")
            ),
        ],
    )
    def test_invalid(self, tmp_path: Path, content: str | bytes | None, why: str) -> None:
        """An invalid configuration, or a directory in its place, is a usage error."""
        path = tmp_path / "pyproject.toml"
        path.mkdir() if content is None else put(path, content)
        assert error(find_project, str(tmp_path)) == why

    def test_largest(self, tmp_path: Path) -> None:
        """A configuration may have every key, and up to 1 MiB."""
        put(tmp_path / "pyproject.toml", (TABLE + EVERY_KEY).ljust(2**20))
        assert {*find_project(str(tmp_path))} == {*PROJECT_KEYS, "directory"}

    @posix_only
    def test_untrusted(self, machine: Machine) -> None:
        """A file that others can write is refused where it has the table: its model is code."""
        configured(machine, mode=0o646)
        why = f"[tool.robodj-secretguard] in pyproject.toml is not trusted: it {WRITABLE}; run chmod go-w on it"
        assert call(machine, "check").err.startswith(f"{STDERR}{why}")
        configured(machine, "[project]\nname = 'x'\n", mode=0o666)
        assert call(machine, "check").status == 0

    @root_only
    def test_another_owner(self, tmp_path: Path) -> None:
        """A file that another ordinary user owns is refused. Who owns its directory does not matter."""
        path = tmp_path / "pyproject.toml"
        path.write_text(f"{TABLE}strict = true\n")
        os.chown(tmp_path, 65534, -1)
        assert find_project(str(tmp_path))["strict"]
        os.chown(path, 65534, -1)
        assert f" is not trusted: it {OWNED}; " in error(find_project, str(tmp_path))
        assert find_project(str(tmp_path), must_trust=False)["strict"]


def test_location_of_the_log(machine: Machine) -> None:
    """The option wins over the variable, the variable over the project, and the project over the config directory.
    Only directories that nobody named are made.
    """
    machine.environ["ROBODJ_OPERATIONS_LOG"] = "variable"

    def located(option: str | None = None, log: str | None = os.path.join("records", "log")) -> tuple[object, ...]:
        request = Request(operations_log=option, project_directory=str(machine.root), project_log=log)
        return machine.within(lambda: locate_log(request))

    for option, path, named_by in (
        ("option", "option", "--operations-log"),
        (None, "variable", "ROBODJ_OPERATIONS_LOG"),
    ):
        assert located(option) == (path, f"the operations log that {named_by} names", named_by, ())
    del machine.environ["ROBODJ_OPERATIONS_LOG"]
    named_by, directory = "pyproject.toml", os.path.join(machine.root, "records")
    path = os.path.join(directory, "log")
    assert located() == (path, f"the operations log that {named_by} names", named_by, (directory,))
    file = os.path.join("logs", "secret_operations.jsonl")
    assert located(log=None) == (
        os.path.join("config", file),
        "the operations log config/logs/secret_operations.jsonl",
        None,
        ("config", os.path.join("config", "logs")),
    )
    machine.environ["ROBODJ_CONFIG_DIR"] = "deploy"
    assert machine.within(lambda: directory_of(Request())) == ("deploy", "environment")
    assert located(log=None) == (
        os.path.join("deploy", file),
        "the operations log $ROBODJ_CONFIG_DIR/logs/secret_operations.jsonl",
        None,
        (os.path.join("deploy", "logs"),),
    )


class TestInput:
    """Files that options name."""

    def test_size(self, tmp_path: Path) -> None:
        """A file, or stdin for `-`, is read up to the limit."""
        (tmp_path / "file").write_bytes(b"content")
        assert read_input("--fleet", str(tmp_path / "file"), most=7) == b"content"
        with patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"content"))):
            assert read_input("--fleet", "-", most=7) == b"content"
        why = "--fleet: the input is larger than the limit of 6 bytes"
        assert error(read_input, "--fleet", str(tmp_path / "file"), most=6) == why

    def test_stdin(self) -> None:
        """A terminal is refused, since it would show the input. A closed or missing stdin is refused too."""
        closed = io.TextIOWrapper(io.BytesIO())
        closed.close()
        terminal = "--fleet -: stdin is a terminal; pipe the content in, or name a file"
        for stdin, why in ((Terminal(), terminal), (closed, UNREADABLE), (None, UNREADABLE)):
            with patch.object(sys, "stdin", stdin):
                assert error(read_input, "--fleet", "-", most=7) == why

    @pytest.mark.parametrize("name", ["nowhere", "\0", "{key}"], ids=range(3))
    def test_missing(self, name: str) -> None:
        """A file that does not exist is a usage error. Its name may be a key, and is not shown."""
        path = name.format(key=key_as_argument())
        assert error(read_input, "--fleet", path, most=7) == UNREADABLE

    @posix_only
    @pytest.mark.parametrize("make", IRREGULAR, ids=range(3))
    def test_no_regular_file(self, tmp_path: Path, make: Callable[[Path], None]) -> None:
        """A FIFO, a directory or a device is refused at once, without waiting."""
        make(tmp_path / "file")
        assert error(read_input, "--fleet", str(tmp_path / "file"), most=7) == UNREADABLE

    @pytest.mark.parametrize("content", ["[]", "{}", "x", '{"verdicts": [1]}'])
    def test_invalid_verdicts(self, tmp_path: Path, content: str) -> None:
        """A file without verdicts is a usage error."""
        why = "--fleet: invalid file; use the output of fleet --require CONDITION --format json"
        assert error(fleet_of, str(put(tmp_path / "fleet.json", content))) == why
