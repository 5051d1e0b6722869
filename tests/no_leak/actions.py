"""What a cell's process does: a call of the library as a host makes it, or one of a guard that leaks.

No frame here binds a key to a name: what an observer finds, the library has shown.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import re
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self
from unittest.mock import patch

import structlog
from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

import robodj_secretguard
from robodj_secretguard import RuntimeSecrets, check, guard
from robodj_secretguard.checks import EARLIEST_CLOCK
from robodj_secretguard.cli import main
from robodj_secretguard.cli import output as terminal
from robodj_secretguard.scan import search

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from pydantic.functional_validators import ModelWrapValidatorHandler

V1 = "ROBODJ_SECRET_KEY"
NOBODY = 65534


def left() -> str:
    """Return what the scenario left in a file for the action."""
    return Path("arguments").read_text(encoding="utf-8")


def call_guard() -> object:
    """Start, or be refused."""
    return guard()


def call_check() -> object:
    """Report."""
    return check()


def make_model() -> object:
    """Make the settings model directly."""
    return RuntimeSecrets()


def run_gate() -> object:
    """Run the command line, with arguments that the scenario left in a file."""
    return main(json.loads(left()))


def run_commands() -> object:
    """Run one command after the other, with the arguments that the scenario left in a file."""
    return [main(json.loads(left())[number]) for number in range(len(json.loads(left())))]


def run_commands_in_projects() -> object:
    """Run commands in each of the projects that the scenario left."""
    commands = json.loads(left())
    outcomes = []
    for project in sorted(Path().glob("project-*")):
        with contextlib.chdir(project):
            outcomes += [main(each) for each in commands]
    return outcomes


def run_commands_as_nobody() -> object:
    """Run commands as a user who may not read everything."""
    "".encode("unicode_escape")  # its codec is imported, and nobody may read where that is
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    return run_commands()


def run_commands_that_fail() -> object:
    """Run commands, each interrupted, and then failing, with what may be a key in its hands."""
    outcomes = []
    for error in (KeyboardInterrupt, LookupError, SystemExit):

        def fail(candidate: bytes, error: type[BaseException] = error) -> NoReturn:
            raise error(candidate.decode())

        with patch.object(search, "digest", fail):
            outcomes.append(run_commands())
    return outcomes


class _Terminal(io.TextIOBase):
    def __init__(self, number: int) -> None:
        self._number = number

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return os.write(self._number, text.encode())


def run_commands_on_a_terminal() -> object:
    """Run commands whose text is wrapped and coloured, with progress, as often as there is any."""
    terminal.PROGRESS_SECONDS = 0  # type: ignore[misc]
    sys.stdout, sys.stderr = _Terminal(1), _Terminal(2)
    return run_commands()


def report_scans() -> object:
    """Report an incident with scans, whose arguments the scenario left in a file."""
    outcomes = []
    for number in range(len(json.loads(left()))):
        with open("scan.json", "w", encoding="utf-8") as written, contextlib.redirect_stdout(written):
            outcomes.append(main(json.loads(left())[number]))
        report = ["incident", "report", "--since", "2026-11-01", "--scan", "scan.json"]
        outcomes += [main(report), main([*report, "--format", "json"])]
    return outcomes


def guard_a_named_directory() -> object:
    """Start with a config directory that the scenario left in a file."""
    return guard(config_dir=left())


def guard_a_model_with_a_set_up() -> object:
    """Start with a model that names a config directory that the scenario left in a file, and requires a list there."""

    class Strict(RuntimeSecrets, config_dir=os.path.abspath(left()), file_fallback=False, require_revocation_list=True):
        pass

    return guard(Strict)


def check_a_named_directory() -> object:
    """Report on a config directory that the scenario left in a file."""
    return check(config_dir=left())


def check_a_mapping() -> object:
    """Report on variables that are passed."""
    return check(environ={**os.environ})


def check_a_mapping_with_bytes() -> object:
    """Report on variables that are passed, one of them no text."""
    return check(environ={**os.environ, V1: os.environb[V1.encode()]})  # type: ignore[dict-item]


class _Hostile(dict[str, str]):
    def __getitem__(self, name: str) -> str:
        raise LookupError(os.environ[name])


class _Interrupting(dict[str, str]):
    def __contains__(self, name: object) -> bool:
        if name == "ROBODJ_SECRET_V2_KEY":
            raise KeyboardInterrupt
        return super().__contains__(name)


def check_a_mapping_that_raises() -> object:
    """Report on variables whose mapping fails with one of them in its text."""
    return check(environ=_Hostile(os.environ))


def check_interrupted() -> object:
    """Report, and be interrupted when the first key was read."""
    return check(environ=_Interrupting(os.environ))


def check_long_ago() -> object:
    """Report with the clock set back."""
    return check(now=EARLIEST_CLOCK - timedelta(days=1))


def check_now_without_zone() -> object:
    """Report at a time that is none."""
    return check(now=datetime.now(UTC).replace(tzinfo=None))


def guard_with_a_wrong_status() -> object:
    """Start with a wrong argument."""
    return guard(exit_status=0)


def guard_as_nobody() -> object:
    """Start as a user who may read nothing."""
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    return guard()


def guard_with_debugging() -> object:
    """Start with pydantic-settings' debugging on."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, force=True)
    os.environ["PYDANTIC_SETTINGS_DEBUG"] = "1"
    return guard()


def guard_while_handling() -> object:
    """Start while an error of the host's is handled."""
    try:
        sys.modules["nothing"]
    except KeyError:
        return guard()
    return None


def guard_interrupted_by_a_signal() -> object:
    """Start, and be interrupted while a file is read."""
    read = os.read

    def interrupted(*arguments: Any) -> NoReturn:
        os.read = read
        read(*arguments)
        raise KeyboardInterrupt

    os.read = interrupted
    return guard()


class _InterruptingAt:
    """Interrupts at one line of the library, when it is set as the trace function."""

    _PACKAGE = os.path.dirname(robodj_secretguard.__file__)

    def __init__(self, line: int) -> None:
        self.left = line

    def __call__(self, frame: FrameType, event: str, _: object) -> _InterruptingAt | None:
        if not frame.f_code.co_filename.startswith(self._PACKAGE):
            return None
        self.left -= event == "line"
        if self.left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


def be_interrupted_everywhere() -> object:
    """Be refused again and again, interrupted at each line of the library in turn, and show every frame's locals.

    It ends at the first line of the refusal itself, where an interrupt ends the process with the guard's status.
    """
    known: set[str] = set()
    for line in itertools.count(1):
        sys.settrace(_InterruptingAt(line))
        try:
            guard(HOSTS["field-chained"])
        except BaseException as error:  # noqa: BLE001 - a refusal, an interrupt, and all else
            sys.settrace(None)
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # all but this very frame
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            for text in [text for each in (told, told.__context__, told.__cause__) if each for text in each.format()]:
                if (but_for_numbers := re.sub("sgfp1:[0-9a-f]+|0x[0-9a-f]+|[0-9]+", "", text)) not in known:
                    known.add(but_for_numbers)
                    sys.stdout.write(text)
            sys.stdout.flush()
    return None


def write_everything() -> object:
    """Write all that the guard, a report and the command line have to say."""
    for each in (guard, check, RuntimeSecrets):
        try:
            sys.stdout.write(f"{each()!r}\n")
        except (SystemExit, ValidationError) as refused:
            sys.stdout.write(f"{refused!r}\n")
    sys.stdout.flush()
    return [main(["check"]), main(["check", "--strict", "--format", "json"])]


def assign() -> object:
    """Change what is frozen."""
    guard().secret_key = os.environ[V1]  # type: ignore[misc, assignment]
    return None


def delete() -> object:
    """Delete from what is frozen."""
    del guard().secret_key
    return None


def copy_changed() -> object:
    """Change a copy of what is frozen."""
    return guard().model_copy(update={"secret_key": os.environ[V1]})


def construct() -> object:
    """Go around the checks."""
    return RuntimeSecrets.model_construct(secret_key=os.environ[V1])  # type: ignore[arg-type]


def copy_changed_by_its_old_name() -> object:
    """Change a copy of what is frozen, as pydantic did it once."""
    return guard().copy(update={"secret_key": os.environ[V1]})


def guard_a_key() -> object:
    """Take the model for a key."""
    return guard(os.environ[V1])  # type: ignore[call-overload]


def check_a_key() -> object:
    """Take the model for a key, and the time for one."""
    return check(os.environ[V1], now=os.environ[V1], config_dir=os.environ[V1])  # type: ignore[arg-type]


def guard_with_a_key_as_status() -> object:
    """Take the status for a key."""
    return guard(exit_status=os.environ[V1], config_dir=os.environ[V1])  # type: ignore[call-overload]


def validate_a_key() -> object:
    """Make the model as pydantic's models are made, of a text."""
    return RuntimeSecrets.model_validate(os.environ[V1])


def validate_json() -> object:
    """Make the model as pydantic's models are made, of JSON."""
    return RuntimeSecrets.model_validate_json(json.dumps({"_judgement": [os.environ[V1]]}))


def make_model_of_a_judgement() -> object:
    """Pass as the judgement what is none."""
    return RuntimeSecrets(_judgement=(os.environ[V1],))  # type: ignore[call-arg]


def make_model_of_values() -> object:
    """Pass values, which a settings model usually takes."""
    return RuntimeSecrets(secret_key=os.environ[V1], secret_v2_key=SecretStr(os.environ[V1]))


class Refused(BaseException):
    """An error of a host's own, which `except Exception` does not catch."""


def _raise_value_error(text: str) -> NoReturn:
    raise ValueError(text)


def _raise_custom_error(text: str) -> NoReturn:
    kind, message = "host", "{text}"
    raise PydanticCustomError(kind, message, {"text": text})


def _raise_with_notes(text: str) -> NoReturn:
    error = Refused(text)
    error.add_note(text)
    raise error


def _raise_chained(text: str) -> NoReturn:
    raise RuntimeError(text) from LookupError(text)


def _raise_group(text: str) -> NoReturn:
    errors: list[BaseException] = [ValueError(text), KeyboardInterrupt(text)]
    raise BaseExceptionGroup(text, errors)


def _interrupt(text: str) -> NoReturn:
    raise KeyboardInterrupt(text)


def _exit(text: str) -> NoReturn:
    raise SystemExit(text)


def _assert(text: str) -> None:
    assert not text, text


def _field_validator(fail: Callable[[str], None]) -> type[RuntimeSecrets]:
    class Host(RuntimeSecrets):
        @field_validator("secret_v2_key", mode="after")
        @classmethod
        def _refuse(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
            fail(info.data["secret_key"].get_secret_value())
            return value

    return Host


def _model_validator(fail: Callable[[str], None]) -> type[RuntimeSecrets]:
    class Host(RuntimeSecrets):
        @model_validator(mode="after")
        def _refuse(self) -> Self:
            fail(self.secret_key.get_secret_value())
            return self

    return Host


def _wrap_validator(fail: Callable[[str], None]) -> type[RuntimeSecrets]:
    class Host(RuntimeSecrets):
        @model_validator(mode="wrap")
        @classmethod
        def _refuse(cls, data: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
            made = handler(data)
            fail(made.secret_key.get_secret_value())
            return made

    return Host


class _Returning(RuntimeSecrets):
    @field_validator("secret_key", mode="after")
    @classmethod
    def _strip(cls, value: SecretStr) -> str:
        return value.get_secret_value().strip()


class _ReturningAndRaising(_Returning):
    @model_validator(mode="after")
    def _refuse(self) -> Self:
        raise ValueError


HOSTS: dict[str, type[RuntimeSecrets]] = {
    "returned-text": _Returning,
    "returned-text-and-error": _ReturningAndRaising,
    "field-value-error": _field_validator(_raise_value_error),
    "field-assertion": _field_validator(_assert),
    "field-custom-error": _field_validator(_raise_custom_error),
    "field-chained": _field_validator(_raise_chained),
    "model-value-error": _model_validator(_raise_value_error),
    "model-notes": _model_validator(_raise_with_notes),
    "model-interrupt": _model_validator(_interrupt),
    "model-group": _model_validator(_raise_group),
    "wrap-value-error": _wrap_validator(_raise_value_error),
    "wrap-exit": _wrap_validator(_exit),
}
"""Models of a host, each with a validator that fails with the first key in its text, its locals and its chain."""


def guard_host() -> object:
    """Start with a model of the host's."""
    return guard(HOSTS[left()])


def check_host() -> object:
    """Report on a model of the host's."""
    return check(HOSTS[left()])


def make_host_model() -> object:
    """Make a model of the host's."""
    return HOSTS[left()]()


# From here on: guards that leak. Each does so in one way, and an observer must see the one that OBSERVERS names.


class Stock(BaseSettings):
    """A settings model as one writes it first."""

    robodj_secret_key: SecretStr

    @field_validator("robodj_secret_key")
    @classmethod
    def _refuse(cls, value: SecretStr) -> SecretStr:
        if "REFUSE" in os.environ:
            msg = "refused"
            raise ValueError(msg)
        return value


def leak_by_text() -> object:
    """Raise an error with a key in its text."""
    raise RuntimeError(os.environ[V1])


def leak_by_local() -> object:
    """Raise an error without a key in its text, out of a frame that has one."""
    key = os.environ[V1]
    msg = "a constant"
    raise RuntimeError(msg) if key else ValueError(msg)


def leak_by_chain() -> object:
    """Exit while an error is handled whose `errors()` have a key."""
    os.environ["REFUSE"] = "1"
    try:
        return Stock(robodj_secret_key=os.environ[V1])
    except ValidationError:
        raise SystemExit(3) from None


def leak_by_line() -> object:
    """Log a constant line, out of a frame that has a key."""
    key = os.environ[V1]
    structlog.get_logger().critical("a constant")
    return sys.stdout.write("a constant\n" if key else "")


def leak_by_result() -> object:
    """Return a settings model as one writes it first."""
    return Stock(robodj_secret_key=os.environ[V1])


def leak_by_raw_result() -> object:
    """Return a key."""
    return {"key": os.environ[V1]}


def leak_by_debugging() -> object:
    """Log what was read, at the most talkative level."""
    logging.getLogger("settings").debug("%r", os.environ[V1])
    return True
