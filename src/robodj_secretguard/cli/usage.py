"""Usage errors: what is wrong with a command line, and the known word that is nearest to the typed one.

No message repeats what was typed, since it may be a key. Every word in a message is from a closed list.
"""

from __future__ import annotations

import difflib
from argparse import ONE_OR_MORE, PARSER, ZERO_OR_MORE
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NoReturn

from robodj_secretguard.cli.output import fail
from robodj_secretguard.secret.texts import PROGRAM

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator

_REPEATED: Final = {ZERO_OR_MORE, ONE_OR_MORE}


def unknown(what: str, word: str, choices: Iterable[str], others: Iterable[str] = ()) -> str:
    """Return a message about an unknown word, with the nearest known word and the choices."""
    names = [*choices]
    return f"{what}{_suggestion(word, [*names, *others])} (choose from {', '.join(names)})"


def refuse(
    root: argparse.ArgumentParser, words: Iterable[str], parser: argparse.ArgumentParser | None = None
) -> NoReturn:
    """Raise a usage error for arguments that argparse refused, as its own messages repeat them.

    Args:
        root: the parser of all commands.
        words: the words after the command's name.
        parser: the parser of the command; `None` for the root.
    """
    parser = parser or root
    rest, flags, prefix = deque(words), _flags(parser), f"{_name(parser)}: ".removeprefix(": ")
    slots = deque(action for action in _actions(parser) if not action.option_strings)
    missing = [action for action in _actions(parser) if action.required and action.nargs != ZERO_OR_MORE]
    while rest:
        if _is_option(rest[0], flags):
            action, value = _option(root, parser, rest)
        elif not slots:
            _refuse_argument(parser, rest[0])
        else:
            action, value = slots[0], rest.popleft()
            # argparse accepts a repeated argument only without options in between.
            if action.nargs not in _REPEATED or (rest and _is_option(rest[0], flags)):
                slots.popleft()
        if action.nargs == PARSER and value in action.choices:
            refuse(root, rest, action.choices[value])
        if action.choices and value not in action.choices:
            of_group = prefix if action.nargs == PARSER else ""
            is_option, word = bool(action.option_strings), _words(action)[-1]
            what = f"{_words(action)[0]}: invalid value" if is_option else f"{of_group}unknown {word.lower()}"
            fail(unknown(what, value, action.choices))
        missing = [each for each in missing if each is not action]
    if missing and missing[0].nargs == PARSER:
        fail(f"{prefix}the command is missing (choose from {', '.join(missing[0].choices)})")
    needs = f"{_name(parser)} needs {' and '.join(' '.join(_words(action)) for action in missing)}"
    fail(f"{needs if missing else f'{prefix}invalid arguments'}; see {parser.prog} --help")


def _option(root: argparse.ArgumentParser, parser: argparse.ArgumentParser, rest: deque[str]) -> tuple[Any, str]:
    """Remove an option and its value from `rest`, and return both. The value of a switch is empty."""
    flags = _flags(parser)
    flag, equals, value = rest.popleft().partition("=")
    if flag not in flags:
        _refuse_option(root, parser, flag)
    action = flags[flag]
    if action.nargs == 0 and equals:
        fail(f"{flag} takes no value; leave out = and the text after it")
    if action.nargs == 0 or equals:
        return action, value
    if not rest or _is_option(rest[0], flags):
        how = f" (choose from {', '.join(action.choices)})" if action.choices else f"; write {flag}={action.metavar}"
        fail(f"{flag} needs a value{how}")
    return action, rest.popleft()


def _refuse_option(root: argparse.ArgumentParser, parser: argparse.ArgumentParser, flag: str) -> NoReturn:
    """Refuse an option. Name the commands that have it, otherwise the nearest option, otherwise all options."""
    commands = {_name(each): _flags(each) for each in commands_of(root)}
    is_command = _name(parser) in commands
    if owners := [name for name, flags in commands.items() if flag in flags]:
        what = f"{_name(parser)} has no option {flag}" if is_command else f"{flag} goes after the command"
        have = f"{', '.join(owners[:-1])} and {owners[-1]} have" if len(owners) > 1 else f"{owners[0]} has"
        fail(f"{what}; {have} it")
    own = [name for name in _flags(parser) if name.startswith("--")]
    near = _suggestion(flag, own if is_command else [*own, *(name for flags in commands.values() for name in flags)])
    fail(f"unknown option{near}" if near else f"unknown option (choose from {', '.join(own)})")


def _refuse_argument(parser: argparse.ArgumentParser, word: str) -> NoReturn:
    """Refuse an extra argument."""
    what, fix = f"{_name(parser)}: unexpected argument", f"; see {parser.prog} --help"
    if parser.get_default("takes_command"):
        fix = f"; write the command after --: {parser.prog} [options] -- COMMAND ..."
    for action in _actions(parser):
        if not action.option_strings:
            what += f" after {action.metavar}"
            fix = f"; write every {action.metavar} in one place" if action.nargs in _REPEATED else fix
    fail(what + (_suggestion(word, _flags(parser)) or fix))


def _suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question with the known word that is nearest, or that alone begins with the given word."""
    letters, by_letters = _letters(word), {_letters(each): each for each in known}
    near = difflib.get_close_matches(letters, by_letters, n=1)
    near = near or [each for each in by_letters if letters and each.startswith(letters)]
    return f"; did you mean {by_letters[near[0]]}?" if len(near) == 1 else ""


def _letters(word: str) -> str:
    return word.strip("-").replace("_", "-").lower()


def _is_option(word: str, flags: Collection[str]) -> bool:
    """Return whether argparse reads a word as an option. A lone hyphen, a number or text with a space is a value."""
    is_value = word in {"", "-"} or " " in word or word[1:].replace(".", "").isdigit()
    return word.startswith("-") and (not is_value or word.partition("=")[0] in flags)


def _words(action: Any) -> list[str]:
    """Return an option or an argument as it is written."""
    return [*action.option_strings[-1:], *filter(None, [action.metavar])]


def _actions(parser: argparse.ArgumentParser) -> list[Any]:
    return parser._actions  # noqa: SLF001 - it has no public name


def _flags(parser: argparse.ArgumentParser) -> dict[str, Any]:
    return {flag: action for action in _actions(parser) for flag in action.option_strings}


def commands_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of every command, but not those of groups."""
    group = next((action.choices for action in _actions(parser) if action.nargs == PARSER), None)
    for each in group.values() if group else ():
        yield from commands_of(each)
    if not group:
        yield parser


def _name(parser: argparse.ArgumentParser) -> str:
    return parser.prog.removeprefix(PROGRAM).strip()
