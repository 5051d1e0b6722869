"""Usage errors: what is wrong with a command line, and the known word that is nearest to the typed one.

No message repeats what was typed, since it may be a key. Every word in a message is from a closed list.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from robodj_secretguard.cli.options import fail_unknown
from robodj_secretguard.cli.output import fail
from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.texts import PROGRAM

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_OPTION: Final = re.compile(r"--?[^\W\d][^ ]*")
"""What argparse reads as an option: not a lone hyphen, a number or text with a space."""


def refuse_arguments(parser: argparse.ArgumentParser, words: Sequence[str], error: Exception) -> NoReturn:
    """Raise a usage error for an error of argparse, whose text may repeat the words."""
    parser = _command_of(parser, words)
    if isinstance(error, UsageError):
        raise error from None
    commands = _commands_of(parser)
    name, fix = parser.prog.removeprefix(PROGRAM).strip(), f"see {parser.prog} --help"
    subject, _, fault = str(error).partition(": ")
    options = _options_of(parser)
    if subject == "the following arguments are required":
        if commands:
            fail_unknown(f"{name}: the command is missing".removeprefix(": "), "", commands)
        needed = [f"{word} {options[word].metavar}" if word in options else word for word in fault.split(", ")]
        fail(f"{name} needs {' and '.join(needed)}; {fix}")
    if subject == "unrecognized arguments" and parser.get_default("takes_command"):
        fix = f"write the command after --: {parser.prog} [options] -- COMMAND ..."
    option = subject.rpartition(" ")[2].rpartition("/")[2]
    action = options.get(option)
    if action is None:
        hint = " (write all arguments in one place)" if _takes_several(parser) else ""
        fail(f"{name}: unexpected argument{hint}; {fix}")
    if action.nargs == 0:
        fail(f"{option} takes no value; leave out = and the text after it")
    if action.choices:
        fail_unknown(f"{option} needs a value", "", action.choices)
    fail(f"{option} needs a value; write {option}={action.metavar}")


def _takes_several(parser: argparse.ArgumentParser) -> bool:
    return any(action.nargs in {"*", "+"} for action in parser._actions if not action.option_strings)  # noqa: SLF001


def _command_of(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command among some words. Refuse an unknown option."""
    for word in words:
        option, commands = word.partition("=")[0], _commands_of(parser)
        if _OPTION.fullmatch(option) and option not in _options_of(parser):
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
