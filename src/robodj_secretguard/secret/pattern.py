"""Patterns of values that cannot hang: the time to match a value grows with its length alone.

`re` takes a time without bound for some patterns, and keeps every other thread waiting meanwhile. So a pattern is a
row of characters and classes with lengths. Each part that may have several lengths is followed by a part with none of
its characters, so that there is one way to match a text.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from functools import cache
from typing import Final

from robodj_secretguard.secret.frozen import Frozen

MIN_RANDOM: Final = 32
"""How many characters a random text has, where the pattern allows it."""

_ESCAPE: Final = r"\\[dwDW]|\\[^A-Za-z0-9]"
_ITEM: Final = rf"{_ESCAPE}|\[\^?\]?(?:{_ESCAPE}|[^\]\\])*\]|[^\\\[\](){{}}?*+|^$]"
_FORM_OF_PART: Final = rf"({_ITEM})([*+?]|\{{[0-9]+(?:,[0-9]*)?\}}|)"
_LENGTHS: Final = {"": (1, 1), "?": (0, 1), "*": (0, None), "+": (1, None)}
_CHARACTERS: Final = "".join(map(chr, (*range(0x20, 0x7F), *range(0xA1, 0x250))))
"""Those by which classes are compared. A pattern is ASCII, so classes that overlap have one of them in common."""
_LETTERS_AND_DIGITS: Final = f"{string.ascii_letters}{string.digits}"
_RULE: Final = (
    "Material.opaque pattern: characters and classes such as [0-9a-f], each with a length such as {32}, and after a"
    " part of several lengths one without its characters"
)


class PatternPart(Frozen):
    """A part of a pattern: one character or class, and how often it stands there.

    Attributes:
        item: the regular expression of one character.
        fewest: how often it stands there at least.
        most: how often at most; `None` for no limit.
    """

    item: str
    fewest: int
    most: int | None

    def characters(self, of: str) -> str:
        """Return which of some characters the part matches."""
        return "".join(re.findall(self.item, of))


@cache
def parse_pattern(text: str) -> tuple[PatternPart, ...]:
    """Return the parts of a pattern.

    Raises:
        ValueError: it is not of this form, or its time is not bounded.
    """
    body = re.sub(r"(?<!\\)\$\Z", "", text.removeprefix("^"))
    try:
        re.compile(body)
    except (re.error, OverflowError, RecursionError):
        raise ValueError(_RULE) from None
    tokens = [*re.finditer(_FORM_OF_PART, body)]
    parts = tuple(map(_part, tokens))
    is_of_form = body.isascii() and "".join(token[0] for token in tokens) == body
    if not is_of_form or not _has_one_way(parts):
        raise ValueError(_RULE)
    return parts


def random_text(pattern: str, length: int) -> str:
    """Return a random text of a pattern. It has the length, if the pattern allows that."""
    parts = parse_pattern(pattern)
    missing = length - sum(part.fewest for part in parts)
    text = ""
    for part in parts:
        room = missing if part.most is None else part.most - part.fewest
        more = max(0, min(missing, room))
        missing -= more
        choices = part.characters(_LETTERS_AND_DIGITS) or part.characters(_CHARACTERS)
        text += "".join(secrets.choice(choices) for _ in range(part.fewest + more))
    return text


def _part(token: re.Match[str]) -> PatternPart:
    """Return the part that a token describes."""
    item = token[1]
    length = token[2]
    if length in _LENGTHS:
        return PatternPart(item, *_LENGTHS[length])
    fewest, comma, most = length.strip("{}").partition(",")
    if not comma:
        return PatternPart(item, int(fewest), int(fewest))
    return PatternPart(item, int(fewest), int(most) if most else None)


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
