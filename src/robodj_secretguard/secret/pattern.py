"""Patterns of values that cannot hang: the time to match a value grows with its length alone.

`re` takes a time without bound for some patterns, and keeps every other thread waiting meanwhile. So a pattern is a
row of characters and classes with lengths. Each part that may have several lengths is followed by a part with none of
its characters, so that there is one way to match a text.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from robodj_secretguard.secret.frozen import Frozen

MOST_ALTERNATIVES: Final = 64
"""How many alternatives a pattern has at most, counted with those in its groups."""
MIN_RANDOM: Final = 32
"""How many characters a random text has, where the pattern allows it."""

_ESCAPE: Final = r"\\[dwDW]|\\[^A-Za-z0-9]"
_ITEM: Final = rf"{_ESCAPE}|\[\^?\]?(?:{_ESCAPE}|[^\]\\])*\]|[^\\\[\](){{}}?*+|^$]"
_FORM_OF_PART: Final = rf"({_ITEM})([*+?]|\{{[0-9]+(?:,[0-9]*)?\}}|)|\((?:\?:)?|[)|]"
_LENGTHS: Final = {"": (1, 1), "?": (0, 1), "*": (0, None), "+": (1, None)}
_CHARACTERS: Final = "".join(map(chr, (*range(0x20, 0x7F), *range(0xA1, 0x250))))
"""Those by which classes are compared. A pattern is ASCII, so classes that overlap have one of them in common."""
_LETTERS_AND_DIGITS: Final = f"{string.ascii_letters}{string.digits}"
_RULE: Final = (
    "Material.opaque pattern: characters and classes such as [0-9a-f], each with a length such as {32}; groups and |"
    " between them; and after a part of several lengths one without its characters"
)


class PatternPart(Frozen):
    """A part of a pattern: one character or class, and how often it stands there.

    Attributes:
        written: the part as a regular expression.
        item: the regular expression of one character.
        fewest: how often it stands there at least.
        most: how often at most; `None` for no limit.
    """

    written: str
    item: str
    fewest: int
    most: int | None

    def characters(self, of: str) -> str:
        """Return which of some characters the part matches."""
        return "".join(re.findall(self.item, of))


@cache
def parse_pattern(text: str) -> tuple[tuple[PatternPart, ...], ...]:
    """Return the parts of each alternative of a pattern.

    Raises:
        ValueError: it is not of this form, or its time is not bounded.
    """
    try:
        body = re.sub(r"(?<!\\)\$\Z", "", text.removeprefix("^"))
        tokens = [*re.finditer(_FORM_OF_PART, body)]
        is_of_form = body.isascii() and "".join(token[0] for token in tokens) == body
        alternatives = tuple(map(tuple, _alternatives(iter([*tokens, None]), end=None)))
        re.compile("|".join(part.written for parts in alternatives for part in parts))
    except (re.error, StopIteration, AttributeError, TypeError, OverflowError, RecursionError):
        is_of_form, alternatives = False, ()
    if not is_of_form or not all(map(_has_one_way, alternatives)):
        raise ValueError(_RULE)
    return alternatives


def matches(pattern: str, text: str) -> bool:
    """Check whether a pattern matches a text as a whole."""
    written = ["".join(part.written for part in parts) for parts in parse_pattern(pattern)]
    return any(re.fullmatch(each, text) for each in written)


def random_texts(pattern: str, length: int) -> Iterator[str]:
    """Yield a random text of each alternative. It has the length, if the alternative allows that."""
    for parts in parse_pattern(pattern):
        missing = length - sum(part.fewest for part in parts)
        text = ""
        for part in parts:
            room = missing if part.most is None else part.most - part.fewest
            more = max(0, min(missing, room))
            missing -= more
            choices = part.characters(_LETTERS_AND_DIGITS) or part.characters(_CHARACTERS)
            text += "".join(secrets.choice(choices) for _ in range(part.fewest + more))
        yield text


def _alternatives(tokens: Iterator[re.Match[str] | None], *, end: str | None) -> list[list[PatternPart]]:
    """Return the alternatives up to the end of a group, or up to the end of the pattern, which is `None`."""
    finished: list[list[PatternPart]] = []
    current: list[list[PatternPart]] = [[]]
    while (token := next(tokens)) is not None and token[0] != end:
        if token[0] == "|":
            finished += current
            current = [[]]
        elif token[1]:
            part = _part(token)
            current = [[*before, part] for before in current]
        else:
            inner = _alternatives(tokens, end=")")
            current = [before + after for before in current for after in inner]
        if len(finished) + len(current) > MOST_ALTERNATIVES:
            raise OverflowError
    if (token is None) != (end is None):
        raise TypeError
    return finished + current


def _part(token: re.Match[str]) -> PatternPart:
    """Return the part that a token describes."""
    item, length = token[1], token[2]
    if length in _LENGTHS:
        return PatternPart(token[0], item, *_LENGTHS[length])
    fewest, comma, most = length.strip("{}").partition(",")
    if not comma:
        return PatternPart(token[0], item, int(fewest), int(fewest))
    return PatternPart(token[0], item, int(fewest), int(most) if most else None)


def _has_one_way(parts: Sequence[PatternPart]) -> bool:
    """Check whether each part of several lengths is followed by one without its characters, or by the end."""
    for number, part in enumerate(parts):
        if part.fewest == part.most:
            continue
        characters = part.characters(_CHARACTERS)
        for later in parts[number + 1 :]:
            if later.characters(characters):
                return False
            if later.fewest:
                break
    return True
