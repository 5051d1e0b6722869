"""The command line: the pre-release gate (policy section 7)."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from robodj_secretguard.checks import check
from robodj_secretguard.models import RuntimeSecrets, declares_secrets
from robodj_secretguard.render import report_json, report_text
from robodj_secretguard.sealed import contain, type_name
from robodj_secretguard.streams import divert_stdout, silence_broken_streams, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from robodj_secretguard.models import SecretSettings

PROGRAM: Final = "robodj-secretguard"
EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2


class _Told(Exception):  # noqa: N818 - no error: what --help and --version have to say
    """The result of an option that is a command of its own."""


class _UsageError(Exception):
    """A usage error, or work that could not be done. Its text is ours alone: what was passed may be a key."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # noqa: ARG002 - it repeats what was passed
        name = getattr(sys.exc_info()[1], "argument_name", None)  # of an argument of ours, never what was passed
        reason = f"{name}: what was given is not accepted" if name else "an argument is unknown, misplaced or missing"
        msg = f"{reason}; see {PROGRAM} --help"
        raise _UsageError(msg)

    def print_help(self, file: object = None) -> NoReturn:  # noqa: ARG002 - argparse passes none
        raise _Told(self.format_help().rstrip())


@dataclass(frozen=True)
class _Answer:
    """What a command has to say: its status, its text, and what stdout was before a model's module came."""

    status: int
    text: str
    stdout: TextIO | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, with its result on stdout and errors of usage on stderr.

    Args:
        argv: the arguments; `None` for those of the process.

    Returns:
        0: clean, or warnings alone without `--strict`; 1: alerts; 2: the arguments are wrong, or the command could
        not do its work or write its result.
    """
    answer = _run(argv)
    del argv  # a key may have been pasted there, and what is written may be looked at from outside
    status, stderr = answer.status, getattr(sys, "stderr", None)
    if status == EXIT_USAGE:
        write_line(stderr, f"{PROGRAM}: {answer.text}")
    elif not write_line(answer.stdout, answer.text):
        status = EXIT_USAGE
        write_line(stderr, f"{PROGRAM}: the result could not be written")
    silence_broken_streams()
    return status


def _run(argv: Sequence[str] | None) -> _Answer:
    stdout = getattr(sys, "stdout", None)
    try:
        arguments = _parser().parse_args(argv)
        # A model's module is a stranger's code: what it prints is not the result, nor what its programs print.
        if arguments.model is not None:
            stdout = divert_stdout()
        passed, result = _check(arguments)
    except _Told as told:
        return _Answer(EXIT_CLEAN, str(told), stdout)
    except _UsageError as error:
        return _Answer(EXIT_USAGE, str(error))
    except BaseException as error:  # noqa: BLE001 - its text may hold anything, and SystemExit(0) is no success
        return _Answer(EXIT_USAGE, f"the command failed ({type_name(error)})")
    return _Answer(EXIT_CLEAN if passed else EXIT_ALERTS, result, stdout)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="RoboDJ's secret guard.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    gate = commands.add_parser(
        "check",
        help="check every declared secret: the gate before a release",
        description="Check every declared secret, without showing any of it.",
        epilog="exit status: 0 clean (warnings are allowed unless --strict), 1 alerts, 2 wrong usage or no result",
        allow_abbrev=False,
    )
    gate.add_argument("--require-env-only", action="store_true", help="rule fallback files out")
    gate.add_argument("--config-dir", metavar="DIR", help="where the fallback files are (default: config)")
    gate.add_argument("--model", metavar="M:C", help="the settings model, as package.module:Class")
    gate.add_argument("--strict", action="store_true", help="fail on warnings too")
    gate.add_argument("--format", choices=("text", "json"), default="text", help="the form of the result")
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - looking it up is slow

        text = f"{PROGRAM} {version(PROGRAM)}"
        raise _Told(text)


def _check(arguments: argparse.Namespace) -> tuple[bool, str]:
    model = RuntimeSecrets if arguments.model is None else _load_model(arguments.model)
    report = check(model, config_dir=arguments.config_dir, require_env_only=arguments.require_env_only)
    passed = report.ok and not (arguments.strict and report.warnings)
    render = report_json if arguments.format == "json" else report_text
    return passed, render(report, passed=passed)


def _load_model(name: str) -> type[SecretSettings]:
    """Import the model named `package.module:Class`, from the working directory too."""
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        msg = "--model must be package.module:Class"
        raise _UsageError(msg)
    sys.path.append("")  # last: a file in the working directory must not stand in for a library's
    model = contain(lambda: getattr(importlib.import_module(module), attribute))
    if isinstance(model, BaseException):
        msg = f"--model: importing it failed ({type_name(model)}); its module must import without calling guard()"
        raise _UsageError(msg)
    if not declares_secrets(model):
        msg = "--model: what it names is not a SecretSettings model that declares a secret"
        raise _UsageError(msg)
    return model
