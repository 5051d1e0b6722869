"""The command line: the pre-release gate (policy section 7), and the gate before a command."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from robodj_secretguard.checks import check
from robodj_secretguard.generate import ephemeral
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.launch import NOT_EXECUTABLE, NOT_FOUND, launch
from robodj_secretguard.loading import ModelError, load_model
from robodj_secretguard.models import RuntimeSecrets
from robodj_secretguard.render import findings_text, report_json, report_text
from robodj_secretguard.sealed import contain, type_name
from robodj_secretguard.sources import ALLOW_FILE_SECRET_FALLBACK, CONFIG_DIR, Environment
from robodj_secretguard.streams import divert_stdout, restore_stdout, silence_broken_streams, write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from robodj_secretguard.findings import Report
    from robodj_secretguard.models import SecretSettings

PROGRAM: Final = "robodj-secretguard"
EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2
END_OF_OPTIONS: Final = "--"


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
    """What a command has to say.

    Attributes:
        status: the exit status.
        result: what goes to stdout.
        told: what goes to stderr.
        stdout: what stdout was before a model's module came.
        then: what is to be done after that, with an answer of its own.
    """

    status: int
    result: str = ""
    told: str = ""
    stdout: TextIO | None = None
    then: Callable[[], _Answer] | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, with its result on stdout and errors of usage on stderr.

    Args:
        argv: the arguments; `None` for those of the process.

    Returns:
        0: clean, or warnings alone without `--strict`; 1: alerts; 2: the arguments are wrong, or the command could
        not do its work or write its result. Of `exec`, which only returns where it did not replace the process: 3:
        refused; 126: the command cannot be executed; 127: it is not found; on Windows, the command's own.
    """
    before = threading.enumerate()
    answer = _run(argv)
    del argv  # a key may have been pasted there, and what is written may be looked at from outside
    status = _say(answer)
    if answer.then is not None:
        status = _say(answer.then())
    if any(thread not in before and not thread.daemon for thread in threading.enumerate()):
        os._exit(status)  # a model's module has started them, and an interpreter that exits waits for them
    return status


def _say(answer: _Answer) -> int:
    """Write what there is to say, and return the exit status."""
    status, told = answer.status, answer.told
    if answer.result and not write_line(answer.stdout, answer.result):
        if status == REFUSED:  # it stays one, and its lines are to be seen
            told = f"{answer.result}\n{told}"
        else:
            status, told = EXIT_USAGE, f"{PROGRAM}: the result could not be written"
    if told:
        write_line(getattr(sys, "stderr", None), told)
    silence_broken_streams()
    return status


def _run(argv: Sequence[str] | None) -> _Answer:
    stdout = getattr(sys, "stdout", None)
    try:
        options, command = _split(sys.argv[1:] if argv is None else argv)
        arguments = _parser().parse_args(options)
        # A model's module is a stranger's code: what it prints is not the result, nor what its programs print.
        if arguments.model is not None:
            stdout = divert_stdout()
        answer: _Answer = arguments.run(arguments, command, stdout)
    except _Told as told:
        return _Answer(EXIT_CLEAN, str(told), stdout=stdout)
    except _UsageError as error:
        return _Answer(EXIT_USAGE, told=f"{PROGRAM}: {error}")
    except ModelError as error:
        return _Answer(EXIT_USAGE, told=f"{PROGRAM}: --model: {error}")
    except BaseException as error:  # noqa: BLE001 - its text may hold anything, and SystemExit(0) is no success
        return _Answer(EXIT_USAGE, told=f"{PROGRAM}: the command failed ({type_name(error)})")
    return answer


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str] | None]:
    """Return the options, and what follows the first `--`, if there is one."""
    if END_OF_OPTIONS not in argv:
        return argv, None
    place = argv.index(END_OF_OPTIONS)
    return argv[:place], argv[place + 1 :]


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
    gate.set_defaults(run=_check)
    gate_and_run = commands.add_parser(
        "exec",
        help="check every declared secret, and run a command only if none is refused",
        description="Check every declared secret, then replace this process with COMMAND. On an alert it never starts.",
        usage=f"{PROGRAM} exec [options] -- COMMAND ...",
        epilog="exit status: the command's own; 3 refused, 2 wrong usage, 126 not executable, 127 not found",
        allow_abbrev=False,
    )
    gate_and_run.set_defaults(run=_exec)
    for command in (gate, gate_and_run):
        command.add_argument("--require-env-only", action="store_true", help="rule fallback files out")
        command.add_argument("--config-dir", metavar="DIR", help="where the fallback files are (default: config)")
        command.add_argument("--model", metavar="M:C", help="the settings model, as package.module:Class")
        command.add_argument("--strict", action="store_true", help="fail on warnings too")
        command.add_argument("--format", choices=("text", "json"), default="text", help="the form of the result")
    gate_and_run.add_argument(
        "--ephemeral",
        action="store_true",
        help="make throw-away keys for COMMAND, an image build or a test",
    )
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - looking it up is slow

        text = f"{PROGRAM} {version(PROGRAM)}"
        raise _Told(text)


def _check(arguments: argparse.Namespace, command: Sequence[str] | None, stdout: TextIO | None) -> _Answer:
    if command is not None:
        msg = f"check takes no command; see {PROGRAM} exec --help"
        raise _UsageError(msg)
    report, passed = _judge(arguments, _model(arguments))
    render = report_json if arguments.format == "json" else report_text
    return _Answer(EXIT_CLEAN if passed else EXIT_ALERTS, render(report, passed=passed), stdout=stdout)


def _exec(arguments: argparse.Namespace, command: Sequence[str] | None, stdout: TextIO | None) -> _Answer:
    if not command:
        msg = f"the command goes after {END_OF_OPTIONS}; see {PROGRAM} exec --help"
        raise _UsageError(msg)
    model = _model(arguments)
    if arguments.ephemeral:
        policies = model.secret_policies.values()
        declared = [name for policy in policies for name in (policy.variable, policy.expiry_variable)]
        already_set = [name for name in declared if Environment().is_set(name)]
        if already_set:
            why = f"{', '.join(already_set)}: set already, and throw-away keys replace nothing; unset it"
            return _Answer(REFUSED, told=f"{PROGRAM}: refused, the command was not started: {why}")
        os.environ.update(ephemeral(policies))
    report, passed = _judge(arguments, model)
    result = report_json(report, passed=passed) if arguments.format == "json" else findings_text(report)
    if not passed:
        count = f"{len(report.alerts)} alert(s), {len(report.warnings)} warning(s)"
        told = f"{PROGRAM}: refused, the command was not started: {count}"
        return _Answer(REFUSED, result, told, stdout)

    def replace() -> int:
        # What the gate was told holds for the guard in the command.
        if arguments.config_dir is not None:
            os.environ[CONFIG_DIR] = os.path.abspath(arguments.config_dir)
        if arguments.require_env_only:
            os.environ[ALLOW_FILE_SECRET_FALLBACK] = "false"
        restore_stdout(stdout)
        return launch(command)

    # stdout is the command's.
    return _Answer(EXIT_CLEAN, told=result if report.findings else "", then=lambda: _ended(contain(replace)))


def _ended(status: int | BaseException) -> _Answer:
    if isinstance(status, BaseException):
        return _Answer(EXIT_USAGE, told=f"{PROGRAM}: starting the command failed ({type_name(status)})")
    why = {NOT_FOUND: "is not found, or its interpreter is not", NOT_EXECUTABLE: "cannot be executed"}.get(status)
    return _Answer(status, told=f"{PROGRAM}: the command after {END_OF_OPTIONS} {why}" if why else "")


def _judge(arguments: argparse.Namespace, model: type[SecretSettings]) -> tuple[Report, bool]:
    report = check(model, config_dir=arguments.config_dir, require_env_only=arguments.require_env_only)
    return report, report.ok and not (arguments.strict and report.warnings)


def _model(arguments: argparse.Namespace) -> type[SecretSettings]:
    return RuntimeSecrets if arguments.model is None else load_model(arguments.model)
