"""The command line: the gate (policy section 7), and the commands of the secret lifecycle (policy sections 1 to 5)."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

from robodj_secretguard.cli.output import EXIT_CLEAN, EXIT_USAGE, Answer
from robodj_secretguard.cli.process import divert_stdout
from robodj_secretguard.cli.project import configure
from robodj_secretguard.emit import emit_event, silence_broken_streams, write_line
from robodj_secretguard.errors import UsageError
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.sealed import type_name
from robodj_secretguard.texts import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO


END_OF_OPTIONS: Final = "--"
COMMANDS: Final = {
    "check": "gate",
    "exec": "gate",
    "status": "status",
    "generate": "generate",
    "rotate": "rotate",
    "revoke": "revoke",
    "log": "log",
    "incident": "incident",
    "scan": "scan",
}
"""Every command, and the module that adds it."""

_REQUIRED: Final = "the following arguments are required: "


class _Told(Exception):  # noqa: N818 - no error: what --help and --version have to say
    """The result of an option that is a command of its own."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        name = getattr(sys.exc_info()[1], "argument_name", None)  # of an argument of ours, never what was passed
        reason = f"{name}: what was given is not accepted" if name else "an argument is unknown or misplaced"
        if message.startswith(_REQUIRED):  # every other message repeats what was passed
            reason = message
        msg = f"{reason}; see {self.prog} --help"
        raise UsageError(msg)

    def print_help(self, file: object = None) -> NoReturn:  # noqa: ARG002 - argparse passes none
        raise _Told(self.format_help().rstrip())


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, with its result on stdout and errors of usage on stderr.

    Args:
        argv: the arguments; `None` for those of the process.

    Returns:
        0: clean, or warnings alone without `--strict`; 1: alerts, or refused; 2: the arguments are wrong, or the
        command could not do its work or write its result. Of `exec`, which only returns where it did not replace the
        process: 3: refused; 126: the command cannot be executed; 127: it is not found; on Windows, the command's own.
    """
    before = threading.enumerate()
    stdout, answer = _run(argv)
    del argv  # a key may have been pasted there, and what is written may be looked at from outside
    status = _say(answer, stdout)
    if answer.then is not None:
        status = _say(answer.then(), stdout)
    if any(thread not in before and not thread.daemon for thread in threading.enumerate()):
        os._exit(status)  # a model's module has started them, and an interpreter that exits waits for them
    return status


def _say(answer: Answer, stdout: TextIO | None) -> int:
    """Send and write what there is to say, and return the exit status."""
    for fields in answer.events:
        emit_event(f"secret {fields['event']}", {name: value for name, value in fields.items() if name != "event"})
    if answer.result and not write_line(stdout, answer.result, end=answer.end):
        if answer.status == REFUSED:  # it stays one, and its lines are to be seen
            answer = replace(answer, told=f"{answer.result}\n{answer.told}")
        else:
            told = "\n".join(filter(None, (answer.told, f"{PROGRAM}: the result could not be written")))
            answer = replace(answer, status=EXIT_USAGE, told=told)
    if answer.told:
        write_line(getattr(sys, "stderr", None), answer.told)
    silence_broken_streams()
    return answer.status


def _run(argv: Sequence[str] | None) -> tuple[TextIO | None, Answer]:
    """Run a command, and return what stdout was before a model's module came, and what there is to say."""
    stdout = getattr(sys, "stdout", None)
    try:
        options, command = _split(sys.argv[1:] if argv is None else argv)
        arguments = _parser(options[0] if options else "").parse_args(options)
        if command is not None and not arguments.takes_command:
            msg = f"only exec takes a command after {END_OF_OPTIONS}; see {PROGRAM} exec --help"
            raise UsageError(msg)  # noqa: TRY301 - as every other error of usage
        configure(arguments)
        # A model's module is third-party code: what it and its programs print is not the result.
        if (arguments.model or arguments.project.model) is not None:
            stdout = divert_stdout()
        arguments.stdout, arguments.command = stdout, command
        answer: Answer = arguments.run(arguments)
    except _Told as told:
        answer = Answer(EXIT_CLEAN, str(told))
    except UsageError as error:
        answer = Answer(EXIT_USAGE, told=f"{PROGRAM}: {error}")
    except BaseException as error:  # noqa: BLE001 - its text may hold anything, and SystemExit(0) is no success
        answer = Answer(EXIT_USAGE, told=f"{PROGRAM}: the command failed ({type_name(error)})")
    return stdout, answer


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str] | None]:
    """Return the options, and what follows the first `--`, if there is one."""
    if END_OF_OPTIONS not in argv:
        return argv, None
    place = argv.index(END_OF_OPTIONS)
    return argv[:place], argv[place + 1 :]


def _parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of one command, so that the gate does not import the others; of all where none is named."""
    parser = _Parser(prog=PROGRAM, description="RoboDJ's secret guard.", allow_abbrev=False)
    parser.set_defaults(takes_command=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    modules = [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values())
    for module in modules:
        import_module(f"robodj_secretguard.cli.{module}").add(commands)
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - looking it up is slow

        text = f"{PROGRAM} {version(PROGRAM)}"
        raise _Told(text)
