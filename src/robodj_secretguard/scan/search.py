"""Known keys in bytes: every piece of text in the shape of a key is compared, as it stands and decoded."""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from robodj_secretguard.material import (
    MIN_DISTINCT_HEXADECIMAL,
    PREFIX,
    canonical,
    digest,
    is_hexadecimal,
    last_characters,
)
from robodj_secretguard.policy import LEAST_MATERIAL
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from robodj_secretguard.policy import Generator
    from robodj_secretguard.scan.result import KnownKey

MOST_LAYERS: Final = 2
"""How many encodings within each other are taken off: Kubernetes has base64 in base64."""
UTF_16: Final = "utf-16"
PART: Final = 6
"""How many characters of a key, in a row, are not shown."""

_SHORTEST: Final = LEAST_MATERIAL.base64url.minimum
_SHORTEST_IN_BASE64: Final = -(-_SHORTEST * 4 // 3)
_SHORTEST_HEXADECIMAL: Final = LEAST_MATERIAL.hexadecimal.minimum
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
"""Of keys, of hexadecimal and of both kinds of base64."""
_CHARACTER, _OTHER, _ZERO = 1, 2, 0

# One pass each, in C, tells what may be text of a key: a regular expression would take ten times as long.
_OF_A_KEY: Final = bytes(_CHARACTER if each in _ALPHABET else _OTHER for each in range(256))
_OF_UTF_16: Final = bytes(
    _ZERO
    if each == 0
    else _CHARACTER
    if chr(each).isascii() and (chr(each).isprintable() or chr(each) in "\t\r\n")
    else _OTHER
    for each in range(256)
)
_RUN: Final = bytes([_CHARACTER]) * _SHORTEST
_RUN_IN_UTF_16: Final = (bytes([_CHARACTER, _ZERO]) * _SHORTEST)[:-1]
_WHOLE_RUN: Final = re.compile(rb"\x01+")
_WHOLE_RUN_IN_UTF_16: Final = re.compile(rb"(?:\x01\x00)++\x01?")

_LINE: Final = re.compile(rb"[A-Za-z0-9+/_-]+")
_FURTHER_LINES: Final = re.compile(rb"(?:(?:[=\\]?\r?\n[ \t]*|(?:\\r)?\\n)[A-Za-z0-9+/_-]+)++")
"""As base64's programs wrap it, as YAML indents it, after the = or the backslash of a line that goes on; or escaped."""
_MOST_LINES: Final = 8
"""Over how many lines a key itself may be wrapped; what it is encoded in may have any number."""
_SEPARATOR: Final = re.compile(rb"[_-]")
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{%d,}" % _SHORTEST_HEXADECIMAL)
_IN_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{%d,}" % (2 * _SHORTEST))
_ALL_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]+")
_STANDARD_BASE64: Final = bytes.maketrans(b"-_", b"+/")
_CLEARED: Final = [
    {each: last for each in _ALPHABET if (last := canonical("-" * (3 + rest) + chr(each))[-1:].encode())[0] != each}
    for rest in range(4)
]
"""What the last byte of base64url text becomes in canonical form, by the length of the text modulo 4."""


class View(NamedTuple):
    """A stretch of bytes that is read as text of one byte for each character.

    Attributes:
        text: the text.
        start: where it begins in what is viewed, in bytes; in big-endian UTF-16, its first byte that is not zero.
        step: how many bytes each character takes there.
        forms: what it is encoded as.
    """

    text: bytes
    start: int = 0
    step: int = 1
    forms: tuple[str, ...] = ()


class Occurrence(NamedTuple):
    """A known key that was found.

    Attributes:
        offset: where it, or the text that it is encoded in, begins, in bytes.
        key: which key.
        forms: its encodings, from the outermost; none for a key as it is.
    """

    offset: int
    key: KnownKey
    forms: tuple[str, ...]


def views(data: bytes) -> Iterator[View]:
    """Yield what may be read as text: all of it, and each stretch of UTF-16, of either byte order.

    Args:
        data: the bytes.
    """
    yield View(data)
    if b"\0" in data:
        kinds = data.translate(_OF_UTF_16)
        start = kinds.find(_RUN_IN_UTF_16)
        while start >= 0:
            end = next(_WHOLE_RUN_IN_UTF_16.finditer(kinds, start)).end()
            yield View(data[start:end:2], start, 2, (UTF_16,))
            start = kinds.find(_RUN_IN_UTF_16, end)


class KeySearch:
    """Looks for known keys.

    Args:
        known: every key that is looked for, by its fingerprint.
        live: those of them that are at hand themselves: these are found within longer text too.
        generators: the approved generators: text in the lengths of their keys is compared within longer text too.
        hidden: all that is at hand and not to be shown in part either, whether it is looked for or not.
    """

    def __init__(
        self,
        known: Mapping[str, KnownKey],
        live: Iterable[tuple[SealedStr, KnownKey]],
        generators: Iterable[Generator],
        hidden: Iterable[SealedStr] = (),
    ) -> None:
        self._known = {bytes.fromhex(each.removeprefix(PREFIX)): key for each, key in known.items()}
        self._live = [_live(key, known_key) for key, known_key in live]
        self._hidden = [*hidden]
        self.seen: dict[str, SealedStr] = {}
        """The keys that were found and were not at hand, by their fingerprints."""
        made = {(each.function, each.characters) for each in generators}
        self._base64url = [length for function, length in made if function == "token_urlsafe"]
        self._hexadecimal = [length for function, length in made if function == "token_hex"]
        # How long a line is that is a key in hexadecimal or base64 alone.
        self._encoded = {
            size for length in (*self._base64url, *self._hexadecimal) for size in (2 * length, -(-length * 4 // 3))
        }

    def find(self, text: bytes, forms: tuple[str, ...] = ()) -> Iterator[Occurrence]:
        """Yield every known key in text, as it stands, in hexadecimal, and in base64 at every alignment.

        Args:
            text: the text, as one byte for each character.
            forms: what it was encoded as itself.
        """
        layers = sum(form != UTF_16 for form in forms)
        for piece in _pieces(text):
            for offset, key in self._in(piece):
                yield Occurrence(piece.place(offset), key, forms)
            if layers < MOST_LAYERS and (piece.is_whole or len(piece.text) in self._encoded):
                for decoded in _decoded(piece.text):
                    for view in views(decoded.data):
                        for found in self.find(view.text, (*forms, decoded.form, *view.forms)):
                            offset = decoded.place(view.start + found.offset * view.step)
                            yield found._replace(offset=piece.place(offset))

    def shows_part(self, text: bytes) -> bool:
        """Whether text has a part of what is at hand, of `PART` characters, in any case or reversed.

        Args:
            text: the text.
        """
        folded = text.lower()
        return any(part in folded or part[::-1] in folded for key in self._hidden for part in _parts(key))

    def _in(self, piece: _Piece) -> Iterator[tuple[int, KnownKey]]:
        """Yield where known keys begin in a piece of text."""
        for stem, last, hexadecimal, known in self._live:
            searched = piece.text.lower() if hexadecimal else piece.text
            offset = searched.find(stem.get_secret_value().encode())
            while offset >= 0:
                if searched.startswith(tuple(each.encode() for each in last.get_secret_value()), offset + len(stem)):
                    yield offset, known
                offset = searched.find(stem.get_secret_value().encode(), offset + 1)
        if len(piece.starts) <= _MOST_LINES:
            start = 0
            for part in piece.text.replace(b"+", b"/").split(b"/"):
                if len(part) >= _SHORTEST and len(set(part)) >= MIN_DISTINCT_HEXADECIMAL:
                    for offset, candidate in self._candidates(part):
                        if known_key := self._known.get(digest(candidate)):
                            self.seen[known_key.fingerprint] = SealedStr(candidate.decode())
                            yield start + offset, known_key
                start += len(part) + 1

    def _candidates(self, part: bytes) -> list[tuple[int, bytes]]:
        """Return what may be a key, in the form in which keys are compared, and where it begins."""
        candidates = []
        numbers = [*_HEXADECIMAL.finditer(part)] if len(part) >= _SHORTEST_HEXADECIMAL else []
        for digits in numbers:
            folded = digits.group().lower()
            candidates.append((digits.start(), folded))
            for length in self._hexadecimal:
                if length < len(folded):
                    candidates += [(digits.start(), folded[:length]), (digits.end() - length, folded[-length:])]
        if not numbers or len(numbers[0].group()) < len(part):  # what is hexadecimal throughout is nothing else
            candidates.append((0, _canonical(part)))
            for length in self._base64url:
                if length < len(part):
                    # The letter of an escape such as \n may stand before it.
                    starts = {0, 1, len(part) - length, *(each.end() for each in _SEPARATOR.finditer(part))}
                    candidates += [
                        (each, _canonical(part[each : each + length])) for each in starts if each + length <= len(part)
                    ]
        return candidates


class _Live(NamedTuple):
    """A key that is at hand.

    Attributes:
        stem: the canonical key without its last character.
        last: every last character that makes it the same key.
        is_hexadecimal: whether it is the same key in any case.
        known: what is known of it.
    """

    stem: SealedStr
    last: SealedStr
    is_hexadecimal: bool
    known: KnownKey


def _live(key: SealedStr, known: KnownKey) -> _Live:
    text = canonical(key.get_secret_value())
    return _Live(SealedStr(text[:-1]), SealedStr(last_characters(text)), is_hexadecimal(text), known)


def _canonical(text: bytes) -> bytes:
    """Return base64url text in the form in which keys are compared."""
    last = _CLEARED[len(text) % 4].get(text[-1])
    return text if last is None else text[:-1] + last


def _parts(key: SealedStr) -> list[bytes]:
    """Return every part of a key, in any spelling, that is not shown, in lower case."""
    text = key.get_secret_value()
    ends = [text[-PART:-1] + last for last in last_characters(text)]
    folded = [each.encode("utf-8", "surrogateescape").lower() for each in (text, *ends)]
    return [each[at : at + PART] for each in folded for at in range(len(each) - PART + 1)]


class _Piece(NamedTuple):
    """A piece of text that may hold a key, over lines that were joined or in one.

    Attributes:
        text: the text.
        begins: where each line begins in it.
        starts: where each line begins in what it was taken from.
        is_whole: whether it is no line of a longer piece.
    """

    text: bytes
    begins: list[int]
    starts: list[int]
    is_whole: bool = True

    def place(self, offset: int) -> int:
        """Return where a character of it stands in what it was taken from."""
        line = bisect_right(self.begins, offset) - 1
        return self.starts[line] + offset - self.begins[line]


class _Decoded(NamedTuple):
    """What text is when it is decoded.

    Attributes:
        data: what it is then.
        form: the encoding.
        start: from which character on.
        characters: how many characters make how many bytes.
        size: these bytes.
    """

    data: bytes
    form: str
    start: int
    characters: int
    size: int

    def place(self, offset: int) -> int:
        """Return which character holds the beginning of a byte."""
        return self.start + offset * self.characters // self.size


def _pieces(text: bytes) -> Iterator[_Piece]:
    """Yield every line, and lines that follow each other joined: what is wrapped is found, and what is a list too."""
    kinds = text.translate(_OF_A_KEY)
    start = kinds.find(_RUN)
    while start >= 0:
        end = next(_WHOLE_RUN.finditer(kinds, start)).end()
        further = _FURTHER_LINES.match(text, end)
        if further is None:
            yield _Piece(text[start:end], [0], [start])
        else:
            end = further.end()
            lines = [*_LINE.finditer(text, start, end)]
            yield from (_Piece(line.group(), [0], [line.start()], is_whole=False) for line in lines)
            begins = [0, *accumulate(len(line.group()) for line in lines[:-1])]
            yield _Piece(b"".join(line.group() for line in lines), begins, [line.start() for line in lines])
        start = kinds.find(_RUN, end)


def _decoded(text: bytes) -> Iterator[_Decoded]:
    """Yield all that text may be when it is decoded, from each character on that may be the first."""
    numbers = [*_IN_HEXADECIMAL.finditer(text)] if len(text) >= 2 * _SHORTEST else []
    for digits in numbers:
        for skipped in range(2):
            part = digits.group()[skipped:]
            data = binascii.unhexlify(part[: len(part) // 2 * 2])
            yield _Decoded(data, "hex", digits.start() + skipped, characters=2, size=1)
    if len(text) >= _SHORTEST_IN_BASE64 and not _ALL_HEXADECIMAL.fullmatch(text):
        standard = text.translate(_STANDARD_BASE64)
        for skipped in range(4):
            part = standard[skipped:]
            data = binascii.a2b_base64(part + b"A" * (-len(part) % 4))
            yield _Decoded(data, "base64", skipped, characters=4, size=3)
