"""Known keys and values that others issue, and the search for them in text: plain, escaped or encoded."""

from __future__ import annotations

import html
import os
import re
from base64 import urlsafe_b64decode
from binascii import unhexlify
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from robodj_secretguard.lifecycle.records import Record
from robodj_secretguard.scan.result import DATED_SOURCE, LIST_SOURCE, LOG_SOURCE, KnownKey
from robodj_secretguard.secret.material import (
    BASE64URL_DIGITS,
    PART,
    PREFIX,
    Generator,
    Kind,
    canonical,
    digest,
    fewest_distinct,
    fingerprint,
    is_hexadecimal,
    last_characters,
)
from robodj_secretguard.secret.policy import LEAST_MATERIAL
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import Reading

Forms: TypeAlias = tuple[str, ...]  # encodings, the outermost first; empty for a plain key
Occurrence: TypeAlias = tuple[int, KnownKey, Forms]  # the offset of the key, or of the text that encodes it

_LiveKey: TypeAlias = "tuple[SealedStr, SealedStr, bool, KnownKey]"
"""A key without its last character, its possible last characters, whether it is hexadecimal, what is known about it."""

MOST_LAYERS: Final = 2  # nested encodings to decode, and as many escapes: Kubernetes has base64 in base64
UTF_16_FORM: Final = "utf-16"
LEAST_ISSUED: Final = 20  # a shorter part of an issued value could occur by chance

_SHORTEST: Final = LEAST_MATERIAL.base64url.minimum
_SHORTEST_HEXADECIMAL: Final = LEAST_MATERIAL.hexadecimal.minimum
_FEWEST_DISTINCT: Final = fewest_distinct(_SHORTEST_HEXADECIMAL, hexadecimal=True)
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
"""The characters of keys, of hexadecimal and of both base64 alphabets."""
_CHARACTER = 1
_OTHER = 2
_ZERO = 0

# One pass each, in C, finds runs that can hold a key. A regular expression takes ten times as long.
_OF_A_KEY: Final = bytes(_CHARACTER if byte in _ALPHABET else _OTHER for byte in range(256))
_PRINTABLE: Final = {*b"\t\r\n", *range(ord(" "), ord("~") + 1)}
_OF_UTF_16: Final = bytes([_ZERO, *(_CHARACTER if byte in _PRINTABLE else _OTHER for byte in range(1, 256))])
_RUN: Final = bytes([_CHARACTER]) * _SHORTEST
_NOT_OF_A_KEY: Final = bytes([_OTHER])
_BEGINS_IN_UTF_16: Final = bytes([_CHARACTER, _ZERO]) * (_SHORTEST - 1)  # to find it is faster than to match it
_RUN_IN_UTF_16: Final = re.compile(rb"\x01(?:\x00\x01){%d,}+" % (_SHORTEST - 1))

_LINE_END: Final = re.compile(rb"[=\\]?\r?\n[ \t]*|(?:\\r)?\\n")
_KEY_LINE: Final = re.compile(rb"(?:%b)?([A-Za-z0-9+/_-]+)" % _LINE_END.pattern)
_FURTHER_LINES: Final = re.compile(rb"(?:(?:%b)[A-Za-z0-9+/_-]+)++" % _LINE_END.pattern)
"""The line ends within wrapped base64: indented in YAML, after = or a backslash, or escaped."""
_MOST_LINES: Final = 8  # of a wrapped key; text that encodes a key can have any number
_BASE64URL_RUN: Final = re.compile(rb"[A-Za-z0-9_-]{%d,}+" % _SHORTEST)
_HEXADECIMAL_KEY: Final = re.compile(rb"[0-9A-Fa-f]{%d,}" % _SHORTEST_HEXADECIMAL)
_IN_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{%d,}" % (2 * LEAST_ISSUED))
_ALL_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]+")
# What 20 printable characters are encoded to, as ASCII or UTF-16. Few other runs have it, so few are decoded.
_ENCODED_TEXTS: Final = (
    re.compile(rb"[AI-Za-f][AC-HQS-Xgi-nwyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]" * 6),
    re.compile(rb"[02-7][0-9A-Fa-f]" * 20),
)
_AROUND: Final = 1 << 10  # the bytes of other lines that belong to an escape, as a value can have several
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_CONTROLS: Final = bytes.maketrans(b"bfnrt", b"\b\f\n\r\t")
_LAST_CHARACTERS: Final = [
    {byte: canonical("-" * (3 + rest) + chr(byte))[-1:].encode() for byte in _ALPHABET} for rest in range(4)
]
"""The last byte of base64url text in canonical form, by the length of the text modulo 4."""


def _of_backslash(escape: re.Match[bytes]) -> bytes:
    """Return the character of an escape of JSON, or the byte of one of Go."""
    byte, utf_16, low_half, utf_32, other = escape.groups(b"")
    if utf_16:
        return unhexlify(utf_16 + low_half).decode("utf-16-be", "surrogatepass").encode(errors="surrogatepass")
    if utf_32:
        return unhexlify(utf_32).decode("utf-32-be", "replace").encode()
    return unhexlify(byte) or other.translate(_CONTROLS)


def _of_entity(escape: re.Match[bytes]) -> bytes:
    return html.unescape(escape[0].decode()).encode(errors="surrogatepass")


def _of_percent(escape: re.Match[bytes]) -> bytes:
    return unhexlify(escape[1])


_ESCAPE_KINDS: Final = (
    (
        re.compile(
            rb"\\(?:x([0-9A-Fa-f]{2})"
            rb"|u([0-9A-Fa-f]{4})(?:(?<=[Dd][89ABab]..)\\u([Dd][C-Fc-f][0-9A-Fa-f]{2}))?"
            rb"|U([0-9A-Fa-f]{8})"
            rb"|([bfnrt!-/:-@\[-`{-~]))"
        ),
        _of_backslash,
    ),
    (re.compile(rb"&(?:#[0-9]{1,7}|#[Xx][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"), _of_entity),
    (re.compile(rb"%([0-9A-Fa-f]{2})"), _of_percent),
)
"""Each kind of escape, of JSON and Go, of HTML and XML, and of URLs; and the function that returns what it means."""


class View(NamedTuple):
    """Possible text with one byte for each character, and where it is in the data.

    Attributes:
        text: the text.
        forms: its encodings, without escapes.
        begins: where the parts of the text begin.
        starts: where each part starts in the data, or in the text of the view that has the escapes.
        step: the bytes of a character there.
        within: the view that has the escapes.
    """

    text: bytes
    forms: Forms = ()
    begins: Sequence[int] = (0,)
    starts: Sequence[int] = (0,)
    step: int = 1
    within: View | None = None

    def place(self, offset: int) -> int:
        """Return the offset in the data of a character."""
        part = bisect_right(self.begins, offset) - 1
        place = self.starts[part] + (offset - self.begins[part]) * self.step
        return self.within.place(place) if self.within else place


def live_values(readings: Iterable[Reading]) -> Iterator[tuple[SealedStr, KnownKey | None, bool]]:
    """Yield the secret parts of each value except placeholders, including those of unused fallback files.

    Each comes with what is known about it, or `None` for a part that is only hidden, and with whether the value is
    valid. An invalid value is one part.
    """
    for reading in [slot for current in readings for slot in (current, *current.slots)]:
        kind = reading.policy.material
        for offer in reading.offers:
            for value in offer.lines:
                key = valid_key(value, kind, reading.variable)
                is_valid = reading.is_legacy or key is not None
                if not is_valid and kind.is_template(value.get_secret_value(), reading.variable):
                    continue
                its_fingerprint = fingerprint(key) if key and kind.has_fingerprint else None
                known = KnownKey(its_fingerprint, reading.policy.name, known_by=(offer.source,))
                for part, is_searched in parts_of(key or value, kind) if is_valid else [(value, True)]:
                    yield part, known if is_searched else None, is_valid


def valid_key(value: SealedStr, kind: Kind, variable: str = "") -> SealedStr | None:
    """Return a value that is valid, or the valid key that it is without padding and in base64url; otherwise `None`."""
    spellings = [value, SealedStr(canonical(value.get_secret_value()))] if kind.has_fingerprint else [value]
    return next((each for each in spellings if kind.accepts(each.get_secret_value(), variable)), None)


def parts_of(value: SealedStr, kind: Kind) -> Iterator[tuple[SealedStr, bool]]:
    """Yield the secret parts of a valid value, and whether each is searched for.

    Of the lines of a PEM it is the middle one: the first and the last ones can be the same in many keys.
    """
    text = _LINE_END.sub(b"\n", value.get_secret_value().encode(errors="surrogatepass"))
    parts = [part.encode(errors="surrogatepass") for part in kind.searched(value.get_secret_value())]
    lines = [part for part in parts if b"\n%b\n" % part in text]
    middle = lines[len(lines) // 2 :][:1]
    for part in parts:
        is_long = kind.has_fingerprint or len(part) >= LEAST_ISSUED
        yield SealedStr(part.decode(errors="surrogateescape")), is_long and (part not in lines or part in middle)


def known_keys(
    live: Iterable[KnownKey], records: Iterable[Record], begins: Mapping[str, datetime], now: datetime
) -> dict[str | None, KnownKey]:
    """Return what is known about each key, by fingerprint, and about the values of each issued secret, by its name.

    The first secret and the first environment count.
    """
    known: dict[str | None, KnownKey] = {}
    for fact in (
        *live,
        *(
            KnownKey(record.fingerprint, record.secret, record.environment, (LOG_SOURCE,))
            for record in records
            if record.fingerprint
        ),
        *(
            KnownKey(listed, known_by=(LIST_SOURCE if begins[listed] <= now else DATED_SOURCE,))
            for listed in sorted(begins)
        ),
    ):
        first = known.get(fact.fingerprint or fact.secret, fact)
        known[fact.fingerprint or fact.secret] = KnownKey(
            fact.fingerprint,
            first.secret or fact.secret,
            first.environment or fact.environment,
            tuple(dict.fromkeys(first.known_by + fact.known_by)),
        )
    return known


def views(data: bytes) -> Iterator[View]:
    """Yield possible text: all of the data, and each run of UTF-16 in it; then the lines around escapes in each.

    Big-endian UTF-16 begins at its first byte that is not zero.
    """
    yield from _with_unescaped(View(data), MOST_LAYERS)
    if b"\0" in data:
        kinds = data.translate(_OF_UTF_16)
        for run in _RUN_IN_UTF_16.finditer(kinds) if _BEGINS_IN_UTF_16 in kinds else ():
            text = data[run.start() : run.end() : 2]
            yield from _with_unescaped(View(text, (UTF_16_FORM,), starts=(run.start(),), step=2), MOST_LAYERS)


def _with_unescaped(view: View, layers: int) -> Iterator[View]:
    """Yield a view; and for each kind of escape, the lines around them, with what these mean."""
    yield view
    for escapes, meaning in _ESCAPE_KINDS if layers else ():
        if escapes.search(view.text):
            yield from _with_unescaped(_unescaped(view, escapes, meaning), layers - 1)


def _unescaped(view: View, escapes: re.Pattern[bytes], meaning: Callable[[re.Match[bytes]], bytes]) -> View:
    text = view.text
    unescaped = bytearray()
    begins = [0]
    starts = [0]
    end = 0  # of the text that was read
    for escape in escapes.finditer(text):
        line = text.rfind(b"\n", end + _AROUND, escape.start() - _AROUND) + 1
        if line:
            unescaped += text[end : text.index(b"\n", end + _AROUND) + 1]
            begins.append(len(unescaped))
            starts.append(line)
            end = line
        unescaped += text[end : escape.start()]
        unescaped += meaning(escape)
        end = escape.end()
        begins.append(len(unescaped))
        starts.append(end)
    unescaped += text[end : text.find(b"\n", end + _AROUND) + 1 or len(text)]
    return View(bytes(unescaped), view.forms, begins=begins, starts=starts, within=view)


class KeySearch:
    """Finds known keys.

    `known` has every key with a fingerprint. `live` keys, whose values are available, are found inside longer text
    too. So are keys with the lengths of the `generators`. A `live` value without a fingerprint is a part of an issued
    one: it is found with any characters in it. No part of a `hidden` value is shown.
    """

    def __init__(
        self,
        known: Iterable[KnownKey],
        live: Iterable[tuple[SealedStr, KnownKey]],
        generators: Iterable[Generator],
        hidden: Iterable[SealedStr] = (),
    ) -> None:
        self._salt = os.urandom(16)
        self._hidden: set[int] = set()  # salted hashes of parts
        self._hide(hidden)
        self.seen: dict[SealedStr, KnownKey] = {}
        """The values that were found in an assignment or by fingerprint."""
        made = {(generator.function, generator.characters) for generator in generators}
        self._base64url = [length for function, length in made if function == "token_urlsafe"]
        self._hexadecimal = [length for function, length in made if function == "token_hex"]
        self._live: list[_LiveKey] = []
        self._issued: list[tuple[SealedStr, KnownKey]] = []
        self._shortest = -(-LEAST_ISSUED * 4 // 3)  # of the runs that can hold a live key, or an issued one in base64
        self._add(live)
        at_hand = {key.fingerprint for *_, key in self._live}
        self._by_digest = {
            bytes.fromhex(key.fingerprint.removeprefix(PREFIX)): key
            for key in known
            if key.fingerprint and key.fingerprint not in at_hand
        }

    def find(self, text: bytes, forms: Forms = ()) -> Iterator[Occurrence]:
        """Yield every known key in the text of a view: plain, in hexadecimal, and in base64 at every alignment.

        `forms` are the encodings of the text itself.
        """
        for written, key in self._issued:
            yield from ((offset, key, forms) for offset in _occurrences(written, text))
        pieces = [*_pieces(text, _SHORTEST if self._by_digest else self._shortest)]
        joined = b"\n".join([piece.text for piece in pieces])  # most text needs no look at each piece
        live = [key for key in self._live if next(_live_in(joined, key), None) is not None]
        may_decode = sum(form != UTF_16_FORM for form in forms) < MOST_LAYERS and _may_decode(joined)
        if not (live or may_decode or self._by_digest):
            return
        for piece in pieces:
            found = [(offset, key[-1], forms) for key in live for offset in _live_in(piece.text, key)]
            if self._by_digest and len(piece.starts) <= _MOST_LINES:
                found += [(offset, key, forms) for offset, key in self._with_digests(piece.text)]
            if may_decode:
                found += self._encoded_in(piece.text, forms)
            yield from ((piece.place(offset), key, key_forms) for offset, key, key_forms in found)

    def shows_part(self, data: bytes) -> bool:
        """Return whether data, also encoded, has `PART` characters of a hidden value, in any case or reversed."""
        if not self._hidden:
            return False
        return any(not self._hidden.isdisjoint(self._hashes(text)) for text in _texts(data))

    def see(self, value: SealedStr, kind: Kind, secret: str | None = None) -> KnownKey:
        """Remember the secret parts of a valid value that was found, and return what is known about it."""
        known = KnownKey(fingerprint(value) if kind.has_fingerprint else None, secret)
        self.seen |= dict.fromkeys((part for part, _ in parts_of(value, kind)), known)
        return known

    def learn(self) -> None:
        """Hide the values in `seen` too."""
        self._hide(self.seen)

    def _hide(self, values: Iterable[SealedStr]) -> None:
        for value in values:
            for spelling in _last_spellings(value):
                self._hidden.update(self._hashes(spelling), self._hashes(spelling[::-1]))

    def _hashes(self, text: bytes) -> Iterator[int]:
        """Yield a hash of every part of text that must not be shown. Without the salt, a guess could be verified."""
        folded = text.lower().translate(_URL_SAFE)
        for at in range(len(folded) - PART + 1):
            yield hash((self._salt, folded[at : at + PART]))

    def _add(self, values: Iterable[tuple[SealedStr, KnownKey]]) -> None:
        """Search for keys, and for parts of issued values."""
        for value, known in values:
            text = canonical(value.get_secret_value())
            if known.fingerprint and BASE64URL_DIGITS.issuperset(text):
                self._live.append((SealedStr(text[:-1]), SealedStr(last_characters(text)), is_hexadecimal(text), known))
                self._shortest = min(self._shortest, len(text))
            elif len(value) >= LEAST_ISSUED:
                self._issued += [(written, known) for written in _spellings(value)]

    def _encoded_in(self, piece: bytes, forms: Forms) -> Iterator[Occurrence]:
        decodings = _decodings(piece, LEAST_ISSUED if self._issued else _SHORTEST) if _may_decode(piece) else ()
        for data, form, start in decodings:
            characters, size = (2, 1) if form == "hex" else (4, 3)  # and the bytes that they encode
            found: dict[int, Occurrence] = {}
            for view in views(data):
                for offset, key, key_forms in self.find(view.text, (*forms, form, *view.forms)):
                    place = start + view.place(offset) * characters // size
                    found.setdefault(place, (place, key, key_forms))
            yield from found.values()

    def _with_digests(self, piece: bytes) -> Iterator[tuple[int, KnownKey]]:
        """Yield every key in a piece that is known by its fingerprint alone."""
        url_safe = piece.translate(_URL_SAFE)  # a key in standard base64 is the same key
        candidates = [] if url_safe == piece or piece.islower() else [(0, _in_canonical_form(url_safe))]  # no path
        for run in _BASE64URL_RUN.finditer(piece):
            if len(set(run.group())) >= _FEWEST_DISTINCT:
                candidates += [(run.start() + offset, key) for offset, key in self._candidates(run.group())]
        for offset, candidate in candidates:
            if known_key := self._by_digest.get(digest(candidate)):
                self.seen[SealedStr(candidate.decode())] = KnownKey(known_key.fingerprint)
                yield offset, known_key

    def _candidates(self, part: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield possible keys in canonical form, with their offsets."""
        for digits in _HEXADECIMAL_KEY.finditer(part):
            for offset, key in _within(digits.group().lower(), self._hexadecimal):
                yield digits.start() + offset, key
        if not _ALL_HEXADECIMAL.fullmatch(part):  # which has one reading
            yield from ((offset, _in_canonical_form(key)) for offset, key in _within(part, self._base64url))


def _within(text: bytes, lengths: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield text, and the parts with some lengths where a key may begin or end, with their offsets."""
    yield 0, text
    for length in lengths:
        # The letter of an escape such as \n may come first.
        starts = {0, 1, len(text) - length, *(match.end() for match in re.finditer(rb"[_-]", text))}
        yield from ((start, text[start : start + length]) for start in starts if 0 <= start < len(text) - length + 1)


def _may_decode(text: bytes) -> bool:
    return any(encoded.search(text) for encoded in _ENCODED_TEXTS)


def _live_in(text: bytes, key: _LiveKey) -> Iterator[int]:
    """Yield every offset of a live key in text."""
    stem, last, hexadecimal, _ = key
    searched = text.translate(_URL_SAFE)  # a key in standard base64 is the same key
    searched = searched.lower() if hexadecimal else searched
    for offset in _occurrences(stem, searched):
        if searched.startswith(tuple(end.encode() for end in last.get_secret_value()), offset + len(stem)):
            yield offset


def _spellings(value: SealedStr) -> Iterator[SealedStr]:
    """Yield a part of an issued value, with one character for each byte, and with the blanks of a form's URL."""
    text = value.get_secret_value().encode(errors="surrogateescape").decode("latin-1")
    for spelling in {text, text.replace(" ", "+")}:
        yield SealedStr(spelling)


def _occurrences(written: SealedStr, text: bytes) -> Iterator[int]:
    """Yield every offset of a text that has one character for each byte."""
    offset = text.find(written.get_secret_value().encode("latin-1"))
    while offset >= 0:
        yield offset
        offset = text.find(written.get_secret_value().encode("latin-1"), offset + 1)


def _in_canonical_form(text: bytes) -> bytes:
    """Return base64url text in canonical form."""
    return text[:-1] + _LAST_CHARACTERS[len(text) % 4][text[-1]]


def _last_spellings(key: SealedStr) -> Iterator[bytes]:
    """Yield a key, and its last characters in each spelling."""
    text = key.get_secret_value()
    for spelling in (text, *(text[-PART:-1] + last for last in last_characters(text))):
        yield spelling.encode(errors="surrogateescape")


def _texts(data: bytes, layers: int = MOST_LAYERS) -> Iterator[bytes]:
    """Yield all text in some data, also encoded."""
    for view in views(data):
        yield view.text
        for piece in _pieces(view.text, _SHORTEST) if layers else ():
            if _may_decode(piece.text):
                for decoded, *_ in _decodings(piece.text, LEAST_ISSUED):
                    yield from _texts(decoded, layers - 1)


def _pieces(text: bytes, shortest: int) -> Iterator[View]:
    """Yield each line that is long enough, and wrapped lines joined, so both wrapped text and lists are found."""
    kinds = text.translate(_OF_A_KEY) + _NOT_OF_A_KEY
    start = kinds.find(_RUN)
    while start >= 0:
        end = kinds.find(_NOT_OF_A_KEY, start)
        further = _FURTHER_LINES.match(text, end) if text[end : end + 1] in b"=\\\r\n" else None  # a line end begins
        if further is None and end - start >= shortest:
            yield View(text[start:end], starts=(start,))
        elif further:
            end = further.end()
            lines = [*_KEY_LINE.finditer(text, start, end)]
            starts = [line.start(1) for line in lines]
            yield from (View(line[1], starts=(line.start(1),)) for line in lines)
            begins = [0, *accumulate(len(line[1]) for line in lines[:-1])]
            yield View(b"".join(line[1] for line in lines), begins=begins, starts=starts)
        start = kinds.find(_RUN, end)


def _decodings(text: bytes, least: int) -> Iterator[tuple[bytes, str, int]]:
    """Yield each decoding of text that has the `least` number of bytes.

    It is the data, the encoding, and the first character of it.
    """
    for digits in _IN_HEXADECIMAL.finditer(text):
        for start in (digits.start(), digits.start() + 1):
            yield unhexlify(text[start : digits.end() - (digits.end() - start) % 2]), "hex", start
    if len(text) * 3 >= least * 4 and not _ALL_HEXADECIMAL.fullmatch(text):
        for skipped in range(4):
            part = text[skipped:]
            yield urlsafe_b64decode(part + b"A" * (-len(part) % 4)), "base64", skipped
