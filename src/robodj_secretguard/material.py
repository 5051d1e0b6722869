"""Judging key text: placeholder, format and strength. Pure functions of the text, which none of them repeats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from robodj_secretguard.policy import Material

EXACT_LENGTH_FROM: Final = 16
"""Below this many characters a length is only called short: it would be half of what a guesser needs."""
MIN_DISTINCT_BASE64URL: Final = 16
MIN_DISTINCT_HEXADECIMAL: Final = 10
RUN_LENGTH: Final = 4
"""From how many neighbours on an alphabet or a keyboard row a run counts."""

# In lower case: a search that ignores case looks at every character, and has no quick way past them.
_PLACEHOLDER_ANYWHERE: Final = re.compile(
    r"replace_with|change_me|changeme|example|undefined|placeholder|x{8}"
    r"|<[^<>]+>|\$\{[^{}]+\}|\{\{[^{}]+\}\}|%[^%]+%"
)
_PLACEHOLDER_WHOLE: Final = re.compile(r"null|none|nil|todo|tbd|dummy|secret|test|x+")
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]+")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Of base64url, in the order of their values."""
_SAME_LAST: Final = {2: 16, 3: 4}
"""How many last digits stand for the same bytes, by the length of the text modulo 4: 4 or 2 of its bits are unused."""
_SEQUENCES: Final = (
    "0123456789abcdef",
    "1234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
)
_RUNS: Final = frozenset(
    line[start : start + RUN_LENGTH]
    for sequence in _SEQUENCES
    for line in (sequence, sequence[::-1])
    for start in range(len(line) - RUN_LENGTH + 1)
)


def is_hexadecimal(text: str) -> bool:
    """Whether text is hexadecimal throughout, in any case."""
    return _HEXADECIMAL.fullmatch(text) is not None


def canonical(text: str) -> str:
    """Return text in the one form in which keys are compared.

    Hexadecimal text is lower-cased. In base64url text the unused bits of the last character are cleared, as decoders
    ignore them.
    """
    return text.lower() if is_hexadecimal(text) else text[:-1] + last_characters(text)[:1]


def last_characters(text: str) -> str:
    """Return every last character with which base64url text is the same key: the canonical one comes first.

    Text that has no unused bits, hexadecimal text included, has one such character: its own.
    """
    same = _SAME_LAST.get(len(text) % 4, 1)
    value = _DIGITS.find(text[-1:])
    if same == 1 or value < 0 or is_hexadecimal(text):
        return text[-1:]
    first = value - value % same
    return _DIGITS[first : first + same]


def is_placeholder(text: str) -> bool:
    """Whether text is a placeholder or a template's value (policy section 6)."""
    folded = text.lower()
    return _PLACEHOLDER_ANYWHERE.search(folded) is not None or _PLACEHOLDER_WHOLE.fullmatch(folded) is not None


def format_defects(text: str, material: Material) -> list[str]:
    """Say all that is wrong with a key's format (policy section 6), outermost first.

    Args:
        text: the key as it was delivered, not empty.
        material: what is accepted.

    Returns:
        Phrases for an operator, none for a well-formed key. They tell a length, never a character.
    """
    defects = []
    core = text
    if core.endswith(("\n", "\r")):
        defects.append("it ends with a newline")
        core = core.rstrip("\r\n")
    if core != core.strip():
        defects.append("it begins or ends with a blank")
        core = core.strip()
    if core[:1] in {'"', "'"} or core[-1:] in {'"', "'"}:
        defects.append("it carries quotes")
        core = core.strip("\"'")
    if core.endswith("="):
        defects.append("it ends with = padding")
        core = core.rstrip("=")
    if not core:
        return [*defects, "nothing else is left"]
    if not _BASE64URL.fullmatch(core):
        defects.append("it holds a character outside A-Z a-z 0-9 - _")
    hexadecimal = is_hexadecimal(core)
    needed = material.hexadecimal if hexadecimal else material.base64url
    if not needed.accepts(len(core)):
        found = str(len(core)) if len(core) >= EXACT_LENGTH_FROM else f"fewer than {EXACT_LENGTH_FROM}"
        kind = "hexadecimal" if hexadecimal else "base64url"
        defects.append(f"it has {found} {kind} characters where {needed} are needed")
    return defects


def weakness(text: str) -> str | None:
    """Say why a well-formed key is plainly not random, or `None`.

    Generated keys of 32 bytes or more pass: each rule refuses fewer than one of them in a thousand million.
    """
    hexadecimal = is_hexadecimal(text)
    folded = text.lower()
    judged = folded if hexadecimal else text
    fewest = MIN_DISTINCT_HEXADECIMAL if hexadecimal else MIN_DISTINCT_BASE64URL
    if len(set(judged)) < fewest:
        return f"it has fewer than {fewest} distinct characters"
    if _repeats_one_block(judged):
        return "it repeats one block"
    starts = [start for start in range(len(folded) - RUN_LENGTH + 1) if folded[start : start + RUN_LENGTH] in _RUNS]
    if len({start + step for start in starts for step in range(RUN_LENGTH)}) * 2 >= len(folded):
        return "half of it or more is runs of neighbouring letters, digits or keys"
    if not hexadecimal and text in {folded, text.upper()}:
        return "it has no upper-case or no lower-case letter"
    return None


def is_sound(text: str, material: Material) -> bool:
    """Whether text would pass as a key (policy section 6): no placeholder, well-formed, and not plainly weak.

    Args:
        text: the text.
        material: what is accepted.
    """
    return not (is_placeholder(text) or format_defects(text, material) or weakness(text))


def _repeats_one_block(text: str) -> bool:
    """Whether text has a period of at most half its length, in linear time: a variable may hold 128 KiB."""
    # The shortest such period, if there is one, is where the first half occurs again for the first time: were it to
    # occur earlier, the block would itself be a repetition.
    period = text.find(text[: len(text) - len(text) // 2], 1)
    return period > 0 and text.startswith(text[period:])
