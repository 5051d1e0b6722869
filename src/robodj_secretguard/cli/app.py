"""The command line: parse the arguments, run one command, and write its result.

To add a command, write a module with a function `add`, which adds the parser. Name the module in `COMMAND_TABLE`.
`--help`, `--version` and an unknown command import nothing of the guard, so not pydantic.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final, NoReturn, TextIO

from robodj_secretguard.cli.output import (
    EXIT_CLEAN,
    EXIT_USAGE,
    WIDTH,
    Result,
    divert_stdout,
    fail,
    fail_unknown,
    render,
    width_of,
    wrapped,
    write_result,
)
from robodj_secretguard.errors import SecretGuardError, UsageError
from robodj_secretguard.secret.texts import PROGRAM
from robodj_secretguard.version import VERSION

END_OF_OPTIONS: Final = "--"
# Every command, the module that adds it, and its line in the help.
COMMAND_TABLE: Final = {
    "init": ("init", "Set up this project"),
    "check": ("gate", "Check every declared secret"),
    "exec": ("gate", "Check every declared secret, then run a command"),
    "status": ("status", "Show the status of each secret"),
    "generate": ("rotate", "Generate a new key with a secure random generator"),
    "rotate": ("rotate", "Plan a rotation, do it in the secret manager, or record it"),
    "store": ("store_check", "Check whether a store of keys works"),
    "revoke": ("revoke", "Revoke a key"),
    "log": ("log", "Show or verify the operations log"),
    "fleet": ("fleet", "Show on which keys each service runs"),
    "incident": ("scan", "Print an incident report in Markdown"),
    "scan": ("scan", "Search files and git for keys"),
    "explain": ("explain", "Explain what a check means, how it happens and how to fix it"),
}
# In the help, these titles come before these commands.
TITLES: Final = {
    "init": "set up a project",
    "check": "before a start or a release",
    "generate": "rotation",
    "incident": "incidents",
    "explain": "findings",
}


class _Information(SecretGuardError):  # noqa: N818 - not an error, but a result
    """A help text, or the version, and the exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _UnparsedError(SecretGuardError):
    """argparse refused the arguments. Its text may repeat them."""


class CommandParser(argparse.ArgumentParser):
    """A parser that also has the examples, the exit statuses and the kind of JSON document of a command.

    `--help` and the page of the command have all of them. A group lists its commands, with a title before some.
    """

    status = EXIT_CLEAN

    def __init__(
        self,
        *,
        description: str,
        examples: Sequence[str] = (),
        statuses: Mapping[str, str] | None = None,
        kind: str = "",
        titles: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.width = int(width_of(getattr(sys, "stdout", None), WIDTH))
        formatter = partial(argparse.RawDescriptionHelpFormatter, width=self.width, max_help_position=26)
        super().__init__(allow_abbrev=False, formatter_class=formatter, **settings)
        self.text = description
        self.examples = examples
        self.statuses = statuses or {}
        self.kind = kind
        self.titles = titles or {}
        more = f"Run {self.prog} COMMAND --help for the options, examples and exit statuses of a command."
        lines = [wrapped(more, "", self.width)]
        if statuses:  # the examples can be pasted, so they are not wrapped
            lines = ["examples:", *(f"  {PROGRAM} {each}" for each in examples), "", "exit status:"]
            lines += [wrapped(f"  {each:<3}  {text}", " " * 7, self.width) for each, text in statuses.items()]
        if kind:
            lines += ["", "with --format json:", f"  a document of the kind {kind}"]
        self.epilog = "\n".join(lines)

    def format_help(self) -> str:
        """Return the help text, as wide as the terminal."""
        lines = [wrapped(self.text, "", self.width)]
        for each in [each for action in self._actions for each in getattr(action, "_choices_actions", ())]:
            lines += ["", f"{self.titles[each.dest]}:"] if each.dest in self.titles else []
            lines.append(wrapped(f"  {each.dest:<10}{each.help}", " " * 12, self.width))
        self.description = "\n".join(lines)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Raise an error that `main` puts in other words: the text may repeat an argument."""
        raise _UnparsedError(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # Python 3.11 checks the default value of a list of arguments too.
        if action.choices is not None and isinstance(value, str) and value not in action.choices:
            option = next(iter(action.option_strings[-1:]), None)
            what = f"{option}: invalid value" if option else f"unknown {str(action.metavar).lower()}"
            fail_unknown(what, value, action.choices)

    def print_help(self, file: Any = None) -> None:
        """Return the help to `main`, without colours."""
        self.color = False  # Python 3.14 colours it otherwise
        super().print_help(file)

    def _print_message(self, message: str, file: object = None) -> NoReturn:  # noqa: ARG002 - it is not printed here
        raise _Information(message.rstrip(), self.status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Write its result to stdout, and errors to stderr.

    Args:
        argv: the arguments; `None` for those of the process.

    Returns:
        The exit status. 0: clean, or only warnings without `--strict`. 1: alerts, or refused. 2: a usage error, or the
        command could not do its work or write its result. `exec` returns only if it did not replace the process.
        3: refused. 126: the command cannot be executed. 127: the command is not found. On Windows: the command's own.
    """
    before = threading.enumerate()
    stdout, result = _result_of(argv)
    del argv  # it may contain a pasted key, and a failing write may show this frame
    status = write_result(result, stdout)
    if any(thread not in before and not thread.daemon for thread in threading.enumerate()):
        os._exit(status)  # a model's module started them, and the interpreter waits for them at exit
    return status


def _result_of(argv: Sequence[str] | None) -> tuple[TextIO | None, Result]:
    """Run a command. Return the stdout from before a model's module was imported, and the rendered result."""
    stdout = getattr(sys, "stdout", None)
    try:
        argv = sys.argv[1:] if argv is None else argv
        end = argv.index(END_OF_OPTIONS) if END_OF_OPTIONS in argv else len(argv)
        options = argv[:end]
        command = argv[end + 1 :] if end < len(argv) else None
        arguments = _parse_arguments(options)
        if command is not None and not arguments.takes_command:
            fail(f"only exec takes a command after {END_OF_OPTIONS}; see {PROGRAM} exec --help")
        from robodj_secretguard.cli.options import model_used, request_of, with_model_class  # noqa: PLC0415 - it imports pydantic
        from robodj_secretguard.startup.model_option import LIBRARY_MODEL  # noqa: PLC0415 - as above

        request, own = request_of(arguments)
        if arguments.takes_command:
            own["command"] = command
        # A model's module is third-party code. Its output, and that of its programs, must not mix with the result.
        if model_used(request)["name"] != LIBRARY_MODEL:
            stdout = divert_stdout()
        if arguments.needs_model:
            request = with_model_class(request)
        result = arguments.run(request._replace(stdout=stdout), **own)
        result = render(result, request.format, result.model or model_used(request), stdout, arguments.color)
    except _Information as information:
        result = Result(information.status, text=str(information))
    except UsageError as error:
        result = Result(EXIT_USAGE, stderr=[f"{PROGRAM}: {error}"])
    except BaseException as error:  # noqa: BLE001 - any text may hold a key, and SystemExit(0) is a failure here
        from robodj_secretguard.secret.sealed import type_name  # noqa: PLC0415

        result = Result(EXIT_USAGE, stderr=[f"{PROGRAM}: the command failed ({type_name(error)})"])
    return stdout, result


def _parse_arguments(options: Sequence[str]) -> argparse.Namespace:
    parser = _parser(options[0] if options else "")
    try:
        return parser.parse_args(options)
    except (UsageError, _UnparsedError) as error:
        _refuse_arguments(parser, options, error)


def _parser(command: str) -> CommandParser:
    """Return a parser with one command, so the gate imports no other; or with the help lines of all of them."""
    parser = CommandParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [options]",
        description="Check a service's secrets before it starts, and rotate, revoke and find keys.",
        titles=TITLES,
        examples=("init", "check", "check --help"),
        statuses={"0": "done", "1": "alerts, or refused", "2": "usage error, or the command could not do its work"},
    )
    parser.set_defaults(takes_command=False, needs_model=True)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}", help="show the version and exit")
    commands = parser.add_subparsers(prog=PROGRAM, required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    if command in COMMAND_TABLE:
        import_module(f"robodj_secretguard.cli.{COMMAND_TABLE[command][0]}").add(commands)
    else:
        for name, (_, line) in COMMAND_TABLE.items():
            commands.add_parser(name, help=line, description="")
    return parser


def _refuse_arguments(parser: CommandParser, words: Sequence[str], error: Exception) -> NoReturn:
    """Raise a usage error for an error of argparse.

    No message repeats what was typed, since it may be a key. Every word in a message is from a closed list.
    """
    parser = _command_of(parser, words)
    if isinstance(error, UsageError):
        raise error from None
    commands = _commands_of(parser)
    name = parser.prog.removeprefix(PROGRAM).strip()
    fix = f"see {parser.prog} --help"
    subject, _, fault = str(error).partition(": ")
    options = _options_of(parser)
    if subject == "the following arguments are required":
        if commands:
            parser.status = EXIT_USAGE  # nothing was done
            parser.print_help()
        needed = [f"{word} {options[word].metavar}" if word in options else word for word in fault.split(", ")]
        fail(f"{name} needs {' and '.join(needed)}; {fix}")
    if subject == "unrecognized arguments" and parser.get_default("takes_command"):
        fix = f"write the command after --: {parser.prog} [options] -- COMMAND ..."
    option = subject.rpartition(" ")[2].rpartition("/")[2]
    action = options.get(option)
    if action is None:
        takes_several = any(each.nargs in {"*", "+"} for each in parser._actions if not each.option_strings)  # noqa: SLF001
        hint = " (write all arguments in one place)" if takes_several else ""
        fail(f"{name}: unexpected argument{hint}; {fix}")
    if action.nargs == 0:
        fail(f"{option} takes no value; leave out = and the text after it")
    if action.choices:
        fail_unknown(f"{option} needs a value", "", action.choices)
    fail(f"{option} needs a value; write {option}={action.metavar}")


def _command_of(parser: CommandParser, words: Sequence[str]) -> CommandParser:
    """Return the parser of the command among some words. Refuse an unknown option."""
    for word in words:
        option = word.partition("=")[0]
        commands = _commands_of(parser)
        # What argparse reads as an option: not a lone hyphen, a number or text with a space.
        if re.fullmatch(r"--?[^\W\d][^ ]*", option) and option not in _options_of(parser):
            place = "; the options of a command go after it" if commands else ""
            fail_unknown(f"unknown option{place}", option, [name for name in _options_of(parser) if name[1] == "-"])
        if commands and word not in commands:  # the error is about this word
            return parser
        parser = commands.get(word, parser)
    return parser


def _options_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    return parser._option_string_actions  # noqa: SLF001 - it has no public name


def _commands_of(parser: argparse.ArgumentParser) -> Mapping[str, Any]:
    """Return the parsers of the commands of a group; none for a command."""
    choices: list[Any] = [action.choices for action in parser._actions if action.metavar == "COMMAND"]  # noqa: SLF001
    return choices[0] if choices else {}
