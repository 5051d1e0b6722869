"""Commands and counts in messages, and checks of the texts that operators type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final, TypeAlias

from robodj_secretguard.secret.material import weakness
from robodj_secretguard.secret.policy import LEAST_MATERIAL, least_material

Options: TypeAlias = Sequence[str]
"""The words of options, for a command in a message."""
PROGRAM: Final = "robodj-secretguard"
PYPROJECT: Final = "pyproject.toml"
TABLE: Final = f"[tool.{PROGRAM}]"
COMMAND_INDENT: Final = "     "
"""Begins each line that is only a command."""
MOST_CHARACTERS: Final = 500
RED: Final = 31
GREEN: Final = 32
YELLOW: Final = 33
"""The colours of a terminal, as numbers of its escape sequences."""

# The patterns are compiled when they are used: a start that sends an event needs few of them.
_LONG: Final = least_material(32)
"""A text of this length that is not weak is a key. Shorter ones can be a slug, a UUID or the name of a commit."""
# Both find overlapping parts too.
_BASE64URL: Final = rf"(?=([A-Za-z0-9_-]{{{_LONG.base64url.minimum}}}))"
_SHORT: Final = rf"(?=([A-Za-z0-9_-]{{{LEAST_MATERIAL.base64url.minimum}}}))"
_HEXADECIMAL: Final = rf"(?:[0-9A-Fa-f][:\s-]?){{{_LONG.hexadecimal.minimum}}}"
_MIN_CHANGES: Final = 5
# Not str.isprintable(): its result depends on the Python version, and every version must accept recorded texts.
_UNPRINTABLE: Final = (
    r"[\x00-\x1f\x7f-\xa0\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def paint(text: str, colour: int) -> str:
    """Return text in a colour."""
    return f"\x1b[{colour}m{text}\x1b[0m"


def unpaint(text: str) -> str:
    """Return text without its colours, for a stream that shows none."""
    return re.sub(r"\x1b\[[0-9]+m", "", text)


def mark(line: str, colour: int) -> str:
    """Return a line that is coloured up to its first colon: a severity or a verdict."""
    label, colon, rest = line.partition(":")
    return paint(label + colon, colour) + rest


def command(*words: str) -> str:
    """Return a command of this program, quoted for a shell."""
    return shlex.join((PROGRAM, *words))


def option(name: str, value: str) -> list[str]:
    """Return an option with its value: as one word where the value looks like an option."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def is_environment(text: str) -> bool:
    """Check whether text may name an environment, such as `staging`: in lower case, and too short for a key."""
    return re.fullmatch(rf"[a-z0-9][a-z0-9_-]{{0,{LEAST_MATERIAL.hexadecimal.minimum - 2}}}", text) is not None


def is_instance_name(text: str) -> bool:
    """Check whether text may name a service or an instance, such as `api` or `web-1:8000`, and is not a key."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,119}", text) is not None and not could_hold_key(text)


def is_free_text(text: str) -> bool:
    """Check whether an operator's text may be kept and shown: it is one line, and no part of it could be a key."""
    is_line = bool(text.strip()) and len(text) <= MOST_CHARACTERS and not re.search(_UNPRINTABLE, text)
    return is_line and not could_hold_key(text)


def could_hold_key(text: str) -> bool:
    """Check whether a part of text could be a key."""
    if len(text) < LEAST_MATERIAL.base64url.minimum:
        return False
    if re.search(_HEXADECIMAL, text) or any(not weakness(part) for part in re.findall(_BASE64URL, text)):
        return True
    return any(_is_mixed(part) and not weakness(part) for part in re.findall(_SHORT, text))


def _is_mixed(text: str) -> bool:
    """Check whether text changes between digits and letters of both cases. Of 1000 short keys, 963 do so."""
    has_each = all(any(map(kind, text)) for kind in (str.isupper, str.islower, str.isdigit))
    return has_each and len(re.findall("(?=[a-z][A-Z]|[A-Za-z][0-9]|[0-9][A-Za-z])", text)) >= _MIN_CHANGES


def ascii_text(text: str) -> str:
    """Return text with everything but ASCII escaped: every terminal can show it."""
    return text.encode("ascii", "backslashreplace").decode()


def shown_place(text: str) -> str:
    """Return a path or an address for messages. It may be a key, by mistake."""
    return ascii_text(text) if text.isprintable() and not could_hold_key(text) else "PATH"


def listed(texts: Sequence[str], most: int) -> str:
    """Return the first texts in one line, and how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def count(number: int, one: str, many: str = "") -> str:
    """Return a number of things in words: `1 day`, `2 days`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
