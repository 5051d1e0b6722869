"""The base of all kinds but that of the generated keys, and the kind of passwords and API keys.

A start with the two shipped secrets does not import this module. A fault is described in constants and declared names.
No part of a value is in it, and no length below 16.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, Self, TypeAlias

from robodj_secretguard.secret.defects import BLANK, EXACT_LENGTH_FROM, NEWLINE, QUOTES, REMOVABLE
from robodj_secretguard.secret.material import Fault, Kind
from robodj_secretguard.secret.pattern import MIN_RANDOM, parse_pattern, random_text
from robodj_secretguard.secret.templates import template

Faults: TypeAlias = Iterator[Fault]
"""What is wrong with a value. The first fault counts."""
MIN_OPAQUE: Final = 4
"""The fewest characters of an opaque value."""
MIN_DOUBLED: Final = 8
"""The fewest characters of a value that is there twice. A shorter half occurs in random text."""
EDGES: Final = " \t\r\n\"'`\u2018\u2019\u201c\u201d"
"""Characters around a value that are not a part of it."""
ALONE: Final = "set {} to the value alone"

_LINE_ENDS: Final = str.maketrans("", "", "\r\n\t")
_PAIRS_OF_QUOTES: Final = frozenset(('""', "''", "``", "\u2018\u2019", "\u201c\u201d"))
_COMMENT_LINE: Final = r"(?m)^[ \t]*#.*"
_COMMENT_BEFORE: Final = r"(#|//)\s+"
_COMMENT_AFTER: Final = r"(?<=\S)\s+(#|//)(\s.*|[^\W\d_]+(\s.*)?)?\Z"
_NAME_BEFORE: Final = r"(export |set |ENV |\$env:)?[A-Z]{3,}[0-9]*(_[A-Z0-9]+)+(:\s|\s?=\s?(?=[^=\s]))"


class Issued(Kind):
    """The base of these kinds. The faults of a template come before those of the format.

    A subclass defines `placeholder_in`, `format_faults` and `temporary`.
    """

    has_lines = False

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Return a kind whose fields are valid."""
        kind = super().__new__(cls, *values, **fields)
        kind.validate()
        return kind

    def validate(self) -> None:
        """Raise a `ValueError` for an invalid field."""

    def fault(self, text: str, variable: str = "") -> Fault | None:
        """Return what is wrong with a value; `None` for a value that may be used."""
        return next(self.faults(text, variable), None)

    def faults(self, text: str, variable: str) -> Faults:
        """Yield what is wrong with a value. The first fault counts; the others need not be right."""
        without_comments = uncommented(text)
        alone = unnamed(without_comments, variable)
        if message := self.placeholder_in(alone, variable):
            part = re.match(r"has a (password|user|host) that ", message)
            yield Fault("placeholder", message, f"put the {part[1]} in place of the template in {{}}" if part else "")
        if not alone and text.strip():
            yield Fault("placeholder", "has nothing but comments")
        if without_comments != text:
            yield malformed("has a comment next to its value", f"{ALONE}, without the comment")
        if alone != without_comments:
            yield malformed("has a name in front of its value", f"{ALONE}, without the name")
        yield from faults_around(text, has_lines=self.has_lines)
        yield from self.format_faults(text)

    def placeholder_in(self, text: str, variable: str) -> str:
        """Return the message about a template in a value; empty for none."""
        return template(text, variable)

    def format_faults(self, text: str) -> Faults:  # noqa: ARG002 - for subclasses
        """Yield what the format of a value does not allow."""
        yield from ()


def uncommented(text: str) -> str:
    """Return text without its comments, as a copied template or a line of a settings file has them."""
    stripped = text.strip()
    if re.match("#.*\n", stripped):
        return re.sub(_COMMENT_LINE, "", text).strip()
    if before := re.match(_COMMENT_BEFORE, stripped):
        rest = stripped[before.end() :]
        return "" if " " in rest else rest
    last = stripped.rfind("\n") + 1
    after = re.search(_COMMENT_AFTER, stripped[last:])
    return stripped[: last + after.start()] if after else text


def unnamed(text: str, variable: str) -> str:
    """Return text without the name of a variable that was copied with the value."""
    stripped = text.strip()
    is_own = bool(variable) and stripped.lower().startswith((f"{variable}=".lower(), f"{variable}: ".lower()))
    begin = len(variable) + 1 if is_own else 0
    if not is_own and (named := re.match(_NAME_BEFORE, stripped)):
        begin = named.end()
    value = stripped[begin:].strip(EDGES)
    return value if begin and value else text


def faults_around(text: str, *, has_lines: bool = False) -> Faults:
    """Yield what is wrong around a value, from the outside to the inside. Text with lines may end with one."""
    core = text if has_lines else text.rstrip("\r\n")
    if not text.strip(EDGES):
        yield malformed("has nothing but blanks and quotes")  # without these, it would be empty
    if is_twice(text):
        yield malformed("has its value twice", "set {} to the value once")
    if core != text:
        yield removable(NEWLINE)
    if core != core.strip() and not has_lines:
        yield removable(BLANK)
    inner = core.strip()
    if inner[1:] and inner[0] + inner[-1] in _PAIRS_OF_QUOTES:
        yield removable(QUOTES)
    if not core.translate(_LINE_ENDS if has_lines else {}).isprintable():
        yield malformed("has a newline or an invisible character")


def malformed(message: str, fix: str = "") -> Fault:
    """Return the fault of a value that its format does not allow."""
    return Fault("format", message, fix)


def removable(defect: str) -> Fault:
    """Return the fault of a defect that is around a value."""
    return malformed(f"has {defect}", REMOVABLE[defect])


def is_twice(text: str) -> bool:
    """Check whether a value is there twice, also with a blank, a comma or a newline between."""
    core = text.strip()
    for gap in range(3):
        half = (len(core) - gap) // 2
        between = core[half : len(core) - half]
        if half >= MIN_DOUBLED and core[:half] == core[-half:] and not between.strip(" ,;\r\n"):
            return True
    return False


class Opaque(Issued):
    """A text on one line, such as a password or an API key. `Material.opaque()` describes the fields."""

    minimum: int
    prefix: str
    pattern: str | None

    def validate(self) -> None:
        """Raise a `ValueError` for an invalid field."""
        validate_beginning("Material.opaque", self.minimum, MIN_OPAQUE, self.prefix)
        if self.pattern is not None:
            parse_pattern(self.pattern if isinstance(self.pattern, str) else "(")

    def placeholder_in(self, text: str, variable: str) -> str:
        """Return the message about a template, also after the prefix; empty for none."""
        return template_with_prefix(text, self.prefix, variable)

    def format_faults(self, text: str) -> Faults:
        """Yield what the prefix, the length and the pattern do not allow."""
        yield from faults_of_beginning(text, self.prefix, self.minimum)
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            yield malformed("does not match the pattern of its declaration")

    def temporary(self) -> str:
        """Return a random value that has no fault.

        Raises:
            ValueError: no text of the pattern has the prefix and the length.
        """
        pattern = self.pattern or f"{re.escape(self.prefix)}[A-Za-z0-9]*"
        text = random_text(pattern, max(self.minimum, len(self.prefix) + MIN_RANDOM))
        if self.accepts(text):
            return text
        raise ValueError("Material.opaque pattern: no text of it begins with the prefix and has the length")


def template_with_prefix(text: str, prefix: str, variable: str) -> str:
    """Return the message about a template, also after a prefix; empty for none."""
    core = text.strip(EDGES).removeprefix(prefix)
    message = template(text, variable)
    return message if message or core == text else template(core, variable)


def validate_beginning(kind: str, minimum: object, least: int, prefix: object) -> None:
    """Raise a `ValueError` for an invalid length, or for an invalid beginning of the values of a kind."""
    if type(minimum) is not int or minimum < least:
        raise ValueError(f"{kind} minimum: {least} characters or more")
    if not isinstance(prefix, str) or not re.fullmatch("(?! )[ -~]*", prefix):
        raise ValueError(f"{kind} prefix: printable ASCII, no blank at the beginning")


def too_short(text: str, minimum: int) -> Fault:
    """Return the fault of a value with too few characters. A length below 16 is not reported."""
    if len(text) >= EXACT_LENGTH_FROM:
        return malformed(f"has {len(text)} characters, not {minimum} or more")
    return malformed(f"has fewer than {min(EXACT_LENGTH_FROM, minimum)} characters")


def faults_of_beginning(text: str, prefix: str, minimum: int) -> Faults:
    """Yield that a value does not have the declared prefix or length."""
    if not text.startswith(prefix):
        yield malformed(f"does not begin with {prefix}")
    if len(text) < minimum:
        yield too_short(text, minimum)


def are_texts(values: object, pattern: str) -> bool:
    """Check whether declared names are a tuple of texts of a pattern."""
    return isinstance(values, tuple) and all(isinstance(each, str) and re.fullmatch(pattern, each) for each in values)


def part_message(part: str, message: str) -> str:
    """Return the message about a part of a value; empty for no message."""
    return message and f"has a {part} that {message}"
