"""One file's or object's content, of any size: what is found in it, and in which line and column."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import TYPE_CHECKING, Final, NamedTuple

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.material import fingerprint
from robodj_secretguard.scan.assignments import assignments
from robodj_secretguard.scan.result import KnownKey, Rule
from robodj_secretguard.scan.search import views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.scan.search import KeySearch

BLOCK_BYTES: Final = 1 << 20
"""How much of a content is looked at together: what is held in memory does not grow with its size."""
OVERLAP_BYTES: Final = 1 << 15
"""How much of a block is looked at again with the next: room for a key of a whole fallback file in any encoding."""

_NO_CHARACTERS: Final = bytes([0, *range(0x80, 0xC0)])  # the second byte of UTF-16's ASCII, and UTF-8's further bytes
_ENCODINGS: Final = {BOM_UTF16_LE: "utf-16-le", BOM_UTF16_BE: "utf-16-be"}


class Hole(NamedTuple):
    """Zero bytes that a sparse file has no data for: they are not read.

    Attributes:
        size: how many there are.
    """

    size: int


class Hit(NamedTuple):
    """A key in a content.

    Attributes:
        offset: where it, or the text that it is encoded in, begins, in bytes.
        line: the line, from 1.
        column: the character in the line, from 1.
        rule: how it is known to be one.
        key: which key.
        forms: its encodings, from the outermost; none for a key as it is.
    """

    offset: int
    line: int
    column: int
    rule: Rule
    key: KnownKey
    forms: tuple[str, ...]


class ContentSearch:
    """Looks for keys in contents.

    Args:
        search: the search for known keys.
        policies: the declared secrets.
    """

    def __init__(self, search: KeySearch, policies: Sequence[SecretPolicy]) -> None:
        self._search = search
        self._policies = policies

    def find(self, blocks: Iterable[bytes | Hole]) -> Iterator[Hit]:
        """Yield every key in a content, in the order of where they are.

        Args:
            blocks: the content.

        Raises:
            UnreadError: it could not be read as a whole; what was read has been looked at.
        """
        window, looked_at = b"", 0
        place = _Place()
        for block, is_last in _with_last(blocks):
            if isinstance(block, Hole):
                place = place.after(window).behind(block)
                window, looked_at = b"", 0
                continue
            window += block
            end = len(window) if is_last else max(looked_at, len(window) - OVERLAP_BYTES)
            found = self._in(window)
            for start in sorted(each for each in found if looked_at <= each < end):
                here = place.after(window[:start])
                yield Hit(here.offset, here.lines + 1, here.column + 1, *found[start])
            kept_from = max(0, end - OVERLAP_BYTES) // 2 * 2  # between two characters of UTF-16
            place = place.after(window[:kept_from])
            window, looked_at = window[kept_from:], end - kept_from

    def _in(self, window: bytes) -> dict[int, tuple[Rule, KnownKey, tuple[str, ...]]]:
        """Return what is found, by its offset."""
        found: dict[int, tuple[Rule, KnownKey, tuple[str, ...]]] = {}
        for view in views(window):
            for each in assignments(view.text, self._policies):
                key = KnownKey(fingerprint(each.key), each.policy.name)
                self._search.seen[key.fingerprint] = each.key
                found[view.start + each.offset * view.step] = Rule.ASSIGNED_KEY, key, (*view.forms, *each.forms)
            for known in self._search.find(view.text, view.forms):
                found[view.start + known.offset * view.step] = Rule.KNOWN_KEY, known.key, known.forms
        return found


class _Place(NamedTuple):
    """A place in a content.

    Attributes:
        offset: how many bytes stand before it.
        lines: how many lines have ended before it.
        column: how many characters of its line stand before it.
        encoding: of the text, where a byte order mark tells it.
    """

    offset: int = 0
    lines: int = 0
    column: int = 0
    encoding: str | None = None

    def after(self, text: bytes) -> _Place:
        """Return the place after some text that begins at this one."""
        mark = next(filter(text.startswith, _ENCODINGS), b"") if not self.offset else b""
        encoding = _ENCODINGS.get(mark, self.encoding)
        if encoding is not None:
            whole = text[len(mark) : len(mark) + (len(text) - len(mark)) // 2 * 2].decode(encoding, "replace")
            lines, last = whole.count("\n"), len(whole) - whole.rfind("\n") - 1
        else:
            rest = text.removeprefix(BOM_UTF8) if not self.offset else text
            lines, last = rest.count(b"\n"), len(rest[rest.rfind(b"\n") + 1 :].translate(None, _NO_CHARACTERS))
        return _Place(self.offset + len(text), self.lines + lines, last + (0 if lines else self.column), encoding)

    def behind(self, hole: Hole) -> _Place:
        """Return the place behind a hole that begins at this one. Zero bytes are characters in UTF-16 alone."""
        characters = 0 if self.encoding is None else hole.size // 2
        return self._replace(offset=self.offset + hole.size, column=self.column + characters)


def _with_last(blocks: Iterable[bytes | Hole]) -> Iterator[tuple[bytes | Hole, bool]]:
    """Yield blocks, and whether each is the last one before a hole or the end: no key continues behind it."""
    before: bytes | Hole | None = None
    failure = None
    try:
        for block in blocks:
            if before is not None:
                yield before, isinstance(block, Hole)
            before = block
    except UnreadError as error:  # what was read until then is looked at
        failure = error
    if before is not None:
        yield before, True
    if failure is not None:
        raise failure
