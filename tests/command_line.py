"""Helpers for the tests of the commands: a machine with files and variables, and a stopped clock."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from clocks import CLOCKS
from conftest import NOW, V1, Ran, good_keys, process_environment, put, without_model

from robodj_secretguard.cli import main
from robodj_secretguard.cli.app import COMMAND_TABLE, CommandParser, _commands_of, _parser
from robodj_secretguard.cli.gate import report_result
from robodj_secretguard.cli.options import NEED_PROJECT
from robodj_secretguard.cli.output import format_json
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import Proof, Record, Validation, draft, hash_of
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.model_option import LIBRARY_MODEL
from robodj_secretguard.startup.model_option import without_model as library_without_model
from robodj_secretguard.startup.report import Report

_Result = TypeVar("_Result")


def commands_of(parser: CommandParser) -> Iterator[CommandParser]:
    """Yield the parser of every command, but not of the groups, in the order of the help."""
    groups = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    for command in [command for choices in groups for command in choices.values()]:
        yield from commands_of(command)
    if not groups:
        yield parser


PARSERS = {
    each.prog.partition(" ")[2]: each
    for name in COMMAND_TABLE
    for each in commands_of(_commands_of(_parser(name))[name])
}
"""The parser of every command, by its words."""
EVERY_COMMAND = [tuple(name.split()) for name in PARSERS]
"""Every command, as a tuple of words."""
OTHER = "secret_v2.key"
"""The second declared secret."""
DEFAULT_MODEL = {"name": LIBRARY_MODEL, "source": "default"}
"""The `model` field of a command's document, where no model is named."""
NAMED_MODEL = {"name": LIBRARY_MODEL, "source": "pyproject.toml"}
"""The same where the project names RoboDJ's two secrets."""
OF_ROBODJ = ("--model", LIBRARY_MODEL)
"""The option for a command that needs a model."""


def in_project(text: str) -> str:
    """Return the text of findings as the commands print them in a project that names RoboDJ's two secrets."""
    return library_without_model(text, LIBRARY_MODEL)


def of_project(words: Sequence[str]) -> list[str]:
    """Add the option for RoboDJ's two secrets to a command that needs a model, if it names none."""
    if "--model" in words or not words:
        return [*words]
    if words[0] in NEED_PROJECT:
        return [*words, *OF_ROBODJ]
    if "--ephemeral" in words:
        return [words[0], *OF_ROBODJ, *words[1:]]
    return [*words]


class Terminal(io.StringIO):
    """A text stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def clock(now: datetime) -> Iterator[None]:
    """Stop the clock."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return now.astimezone(tz)

    with contextlib.ExitStack() as stack:
        for module in CLOCKS:
            stack.enter_context(patch(f"robodj_secretguard.{module}.datetime", Stopped))
        yield


def report_json(report: Report, *, passed: bool, model: dict[str, str]) -> str:
    """Return a report as `check --format json` writes it."""
    result = report_result(report, passed=passed)
    assert result.document is not None
    return format_json(result, result.document(), model)


def key_as_argument() -> str:
    """Make a key to pass as an argument. A key that begins with a hyphen would be read as an option."""
    while (key := good_keys()[V1]).startswith("-"):
        pass
    return key


def fingerprint_of(key: str) -> str:
    """Return a key's fingerprint."""
    return fingerprint(SealedStr(key))


_WITHOUT_DATA = """
from typing import Annotated
from robodj_secretguard import RuntimeSecrets, Secret, SecretSettings

POLICIES = RuntimeSecrets.secret_policies


class Robodj(SecretSettings):
    secret_key: Annotated[Secret, POLICIES["secret_key"]._replace(stores_data=False)]
    secret_v2_key: Annotated[Secret, POLICIES["secret_v2_key"]]
"""


@dataclass(frozen=True)
class Machine:
    """A service's working directory and its variables.

    Attributes:
        root: the working directory.
        environ: the variables; by default a good key of each kind.
    """

    root: Path
    environ: dict[str, str] = field(default_factory=good_keys, repr=False)

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def log(self) -> Path:
        return self.config / "logs" / "secret_operations.jsonl"

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of the operations log, which must verify."""
        log = OperationsLog(str(self.log)).read()
        assert (log.damage, log.torn) == ((), 0)
        return log.records

    def fingerprint(self, variable: str = V1) -> str:
        return fingerprint_of(self.environ[variable])

    def within(self, action: Callable[[], _Result], *, now: datetime = NOW) -> _Result:
        """Call a function in this process, with the machine's directory and variables, at that time."""
        with contextlib.chdir(self.root), process_environment(self.environ), clock(now), patch("sys.path", [*sys.path]):
            return action()

    def call(self, *argv: str, now: datetime = NOW, stdout: io.StringIO | None = None) -> Ran:
        """Run a command in this process, and remove the line that names the model."""
        out, err = io.StringIO() if stdout is None else stdout, io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = self.within(lambda: main(argv), now=now)
        return Ran(status, without_model("" if out.closed else out.getvalue()), without_model(err.getvalue()))

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """Write a file in the config directory."""
        return put(self.config / name, content, mode)

    def put(self, name: str, content: str | bytes) -> Path:
        """Write a file below the working directory."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def record(self, *records: Record) -> tuple[Record, ...]:
        """Write an operations log of records that have their own times, and return its records."""
        lines: list[bytes] = []
        for number, record in enumerate(records, start=1):
            previous = hash_of(lines[-1]) if lines else None
            lines.append(replace(record, sequence=number, previous=previous).line())
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        self.log.write_bytes(b"".join(line + b"\n" for line in lines))
        self.log.chmod(0o600)
        return self.records


def name_model(root: Path, model: str = LIBRARY_MODEL) -> None:
    """Let the pyproject.toml of a directory name the settings model: by default RoboDJ's two secrets."""
    put(root / "pyproject.toml", f'[tool.robodj-secretguard]\nmodel = "{model}"\n', 0o644)


def name_model_without_data(root: Path) -> None:
    """Let a directory's project have RoboDJ's two secrets, and no stored data that needs one of them."""
    put(root / "robodj_model.py", _WITHOUT_DATA, 0o644)
    name_model(root, "robodj_model:Robodj")


def machine_at(root: Path) -> Machine:
    """Make a machine with an empty config directory, whose project names RoboDJ's two secrets."""
    (root / "config").mkdir(mode=0o700)
    name_model(root)
    return Machine(root)


def rotated(at: datetime, fingerprint: str | None, *, startup: Proof = "attested", **fields: Any) -> Record:
    """Return the record of a rotation, by default of `secret.key` in `prod`."""
    validation = Validation(gate="verified", startup=startup, functions="attested", log="verified")
    event = "rotation-incomplete" if "not-done" in vars(validation).values() else "rotated"
    event = fields.pop("event", event)
    fields = {"secret": "secret.key", "environment": "prod", "operator": "Ada"} | fields
    return replace(draft(event, fingerprint=fingerprint, validation=validation, **fields), recorded_at=at)
