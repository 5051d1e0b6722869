"""One content of any size: what is found in it, once each, and in which line and column."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import V1, V2, good_keys
from hypothesis import given
from hypothesis import strategies as st
from spellings import respelled

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.material import fingerprint
from robodj_secretguard.scan import content
from robodj_secretguard.scan.content import BLOCK_BYTES, OVERLAP_BYTES, ContentSearch
from robodj_secretguard.scan.result import KnownKey, Rule
from robodj_secretguard.scan.search import UTF_16, KeySearch
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
KEYS = good_keys()
KEY1, KEY2 = KEYS[V1], KEYS[V2]
UNKNOWN = secrets.token_urlsafe(32)
PAGE_BYTES = 4096
"""The least size of a hole, of which others are multiples."""
SMALL_OVERLAP = 2000
"""Room for the longest thing that these tests look for."""


class Hit(NamedTuple):
    """A key in a content."""

    offset: int
    line: int
    column: int
    rule: Rule
    key: KnownKey
    forms: tuple[str, ...]


class Place(NamedTuple):
    """Where something is."""

    offset: int
    line: int
    column: int


def known(key: str) -> KnownKey:
    """Return what is known of a key."""
    return KnownKey(fingerprint(SealedStr(key)), known_by=("environment",))


def searching() -> ContentSearch:
    """Look for the keys that are at hand, and for assignments."""
    live = [(SealedStr(key), known(key)) for key in (KEY1, KEY2)]
    generators = [policy.generator for policy in POLICIES]
    return ContentSearch(KeySearch({each.fingerprint: each for _, each in live}, live, generators), POLICIES)


SEARCH = searching()


def hits(*blocks: bytes | int) -> list[Hit]:
    """Return what is found in a content."""
    return [Hit(*each) for each in SEARCH.find(blocks)]


def places(*blocks: bytes) -> list[Place]:
    """Return where something is found in a content."""
    return [Place(each.offset, each.line, each.column) for each in hits(*blocks)]


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut bytes into blocks, some of them empty."""
    at = sorted(min(cut, len(data)) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


class TestPlaces:
    """Which line and column."""

    @pytest.mark.parametrize("end", ["\n", "\r\n"], ids=ascii)
    @pytest.mark.parametrize(("lines", "before"), [(0, ""), (0, "key: "), (1, ""), (3, "\t\x7f"), (1000, "a" * 1000)])
    def test_of_ascii(self, end: str, lines: int, before: str) -> None:
        """Lines and columns are counted from one, a tab or a control character as one, whatever ends the lines."""
        text = f"some line{end}" * lines + before
        assert places(f"{text}{KEY1}{end}".encode()) == [Place(len(text), lines + 1, len(before) + 1)]

    @pytest.mark.parametrize("before", ["é", "ключ ", "鍵は", "🔑 ", "上", "Ċ", "e\u0301"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["bare", "marked"])
    @pytest.mark.parametrize("lines", [0, 2])
    def test_of_unicode(self, before: str, mark: str, lines: int) -> None:
        """A column is a character, however many bytes it has, and a byte order mark is none."""
        text = mark + f"{before}\n" * lines + f"{before} "
        assert places((text + KEY1).encode()) == [Place(len(text.encode()), lines + 1, len(before) + 2)]

    @pytest.mark.parametrize("before", ["é", "ключ", "上", "🔑"])
    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
    def test_of_unicode_in_utf_16(self, encoding: str, before: str) -> None:
        """So it is in UTF-16 that says so, where half of a character may look like the end of a line."""
        data = f"\ufeff{before}\n{before} {KEY1}".encode(encoding)
        assert [each[1:] for each in places(data)] == [(2, len(before) + 2)]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
    def test_behind_a_byte_order_mark(self, encoding: str) -> None:
        """The first character is the one behind it."""
        data = f"\ufeff{KEY1}".encode(encoding)
        assert [each[1:] for each in places(data)] == [(1, 1)]

    def test_a_byte_order_mark_further_on(self) -> None:
        """It is one at the very beginning alone."""
        assert places(f"a\n\ufeff{KEY1}".encode()) == [Place(5, 2, 2)]

    def test_of_what_is_encoded(self) -> None:
        """It is where the text begins that the key is encoded in."""
        data = b"\n  " + base64.b64encode(f"::::{KEY1}".encode())
        assert hits(data) == [Hit(8, 2, 8, Rule.KNOWN_KEY, known(KEY1), ("base64",))]

    def test_of_wrapped_text(self) -> None:
        """Of a key in a later line it is that line."""
        encoded = base64.encodebytes(b":" * 60 + KEY1.encode())
        assert [each[1:] for each in places(b"data:\n" + encoded)] == [(3, 5)]

    def test_in_what_is_no_text(self) -> None:
        """In binary data lines are what newlines make."""
        assert places(b"\xfd\xfe\xff\n\x80\x81\xc0" + KEY1.encode() + b"\xff") == [Place(7, 2, 2)]


class TestRules:
    """How something is known to be a key."""

    def test_a_known_key(self) -> None:
        """What is known of it is told."""
        assert hits(KEY1.encode()) == [Hit(0, 1, 1, Rule.KNOWN_KEY, known(KEY1), ())]

    def test_an_assigned_key(self) -> None:
        """Of one that nothing is known of, the fingerprint and the secret's name are."""
        expected = KnownKey(fingerprint(SealedStr(UNKNOWN)), "secret.key")
        assert hits(f"{V1}={UNKNOWN}".encode()) == [Hit(18, 1, 19, Rule.ASSIGNED_KEY, expected, ())]
        text = f"{V1}: {base64.b64encode(UNKNOWN.encode()).decode()}"
        assert hits(text.encode("utf-16-le")) == [Hit(38, 1, 20, Rule.ASSIGNED_KEY, expected, (UTF_16, "base64"))]

    @pytest.mark.parametrize("key", [KEY1, base64.b64encode(KEY1.encode()).decode()], ids=["raw", "base64"])
    def test_both(self, key: str) -> None:
        """A known key that is assigned is found once, as the known key."""
        assert [each.rule for each in hits(f"{V1}={key}".encode())] == [Rule.KNOWN_KEY]

    @pytest.mark.parametrize("key", [KEY1, UNKNOWN], ids=["known", "unknown"])
    def test_a_respelled_key(self, key: str) -> None:
        """An assigned key that is respelled has the fingerprint of the key, and is known where the key is."""
        for spelling in respelled(key):
            (hit,) = hits(f"{V1}={spelling}".encode())
            rule = Rule.KNOWN_KEY if key == KEY1 else Rule.ASSIGNED_KEY
            assert (hit.rule, hit.key.fingerprint) == (rule, known(key).fingerprint)

    def test_the_order(self) -> None:
        """All is found in the order in which it stands there."""
        text = f"{KEY2}\n{V1}={UNKNOWN}\n{KEY1.encode().hex()}\n{KEY1}\n{V2}={KEY2}\n"
        assert [each.line for each in hits(text.encode())] == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize("blocks", [(), (b"",), (b"", b""), (b"\n",), (b"a" * 100,)])
    def test_nothing(self, blocks: Sequence[bytes]) -> None:
        """In an empty content there is nothing, nor in one without a key."""
        assert hits(*blocks) == []


FORMS = {
    "raw": KEY1.encode(),
    "hexadecimal-key": KEY2.encode(),
    "hexadecimal": KEY1.encode().hex().encode(),
    "base64": base64.b64encode(b":::" + KEY2.encode() + b":"),
    "base64-in-base64": base64.b64encode(base64.b64encode(KEY1.encode())),
    "wrapped": base64.encodebytes(b":" * 200 + KEY2.encode()),
    "utf-16": f"\n{KEY1}\n".encode("utf-16-be"),
    "assigned": f"{V1}={UNKNOWN}".encode(),
    "assigned-utf-16": f"{V2}: {KEY2}".encode("utf-16-le"),
    "kubernetes": f"- name: {V1}\n  value: '{UNKNOWN}'".encode(),
}
EDGES = {
    **{name: form for name, form in FORMS.items() if len(form) < PAGE_BYTES // 2},
    "utf-16-be": KEY1.encode("utf-16-be"),
    "utf-16-le": KEY2.encode("utf-16-le"),
    "utf-16-be-without-its-first-byte": KEY1.encode("utf-16-be")[1:],
    "utf-16-le-without-its-last-byte": KEY2.encode("utf-16-le")[:-1],
    "respelled": respelled(KEY1)[0].encode(),
}
PAGES = st.builds(
    lambda form, filler, *, at_end: form.rjust(PAGE_BYTES, filler) if at_end else form.ljust(PAGE_BYTES, filler),
    st.sampled_from([*EDGES.values()]),
    st.sampled_from([b".", b"\n", b"\0", b" "]),
    at_end=st.booleans(),
)
HOLES = st.integers(1, 40).map(lambda pages: pages * PAGE_BYTES)
PIECES = st.sampled_from([*FORMS.values(), b"\n", b" ", b"x" * 300, b"\0\n" * 200, "é\n".encode() * 50, b"\xff" * 400])


class TestBlocks:
    """A content comes in blocks, and is looked at in windows that overlap."""

    @pytest.mark.parametrize("form", FORMS)
    def test_at_every_place_of_a_window(self, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
        """Wherever the end of a window comes to lie, what is found is the same, in the same place."""
        monkeypatch.setattr(content, "OVERLAP_BYTES", SMALL_OVERLAP)
        data = b"a\nb" * 1000 + b" " + FORMS[form] + b" " + b"a\nb" * 1000
        expected = hits(data)
        assert len(expected) == 1
        for size in (*range(500, 500 + len(FORMS[form]) + 2, 7), 1, len(data)):
            blocks = [data[at : at + size] for at in range(0, len(data), size)] if size > 1 else split(data, [3003])
            assert hits(*blocks) == expected

    @given(pieces=st.lists(PIECES, max_size=20), cuts=st.lists(st.integers(0, 8000), max_size=12))
    def test_any_blocks(self, pieces: list[bytes], cuts: list[int]) -> None:
        """However a content is cut into blocks, the same is found as in one."""
        data = b" ".join(pieces)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(content, "OVERLAP_BYTES", SMALL_OVERLAP)
            assert hits(*split(data, cuts)) == hits(data)

    @given(before=st.binary(max_size=3000), after=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 6000)))
    def test_any_bytes(self, before: bytes, after: bytes, cuts: list[int]) -> None:
        """Whatever else is in it, and nothing but the key is found."""
        data = before + b"!" + KEY1.encode() + b"!" + after
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(content, "OVERLAP_BYTES", SMALL_OVERLAP)
            (hit,) = hits(*split(data, cuts))
        assert (hit.offset, hit.key) == (len(before) + 1, known(KEY1))
        assert hits(*split(before + b"!!" + after, cuts)) == []

    @pytest.mark.parametrize("form", FORMS)
    def test_of_the_real_size(self, form: str) -> None:
        """Across the ends of blocks as files have them, each is found once."""
        size = 3 * BLOCK_BYTES + 17
        piece = b" " + FORMS[form] + b" "
        data = bytearray(b"." * size)
        ends = [each * BLOCK_BYTES - back for each in (1, 2, 3) for back in (0, OVERLAP_BYTES, 2 * OVERLAP_BYTES)]
        starts = [end - len(piece) // 2 for end in ends]
        for start in starts:
            data[start : start + len(piece)] = piece
        blocks = split(bytes(data), range(BLOCK_BYTES, size, BLOCK_BYTES))
        found = hits(*blocks)
        assert sorted(found) == found
        assert len(found) == len(starts)
        assert all(start < each.offset < start + len(piece) for start, each in zip(sorted(starts), found, strict=True))

    @given(blocks=st.lists(PAGES | HOLES, max_size=12), mark=st.sampled_from([b"", "\ufeff".encode("utf-16-be")]))
    def test_holes(self, blocks: list[bytes | int], mark: bytes) -> None:
        """Where a hole is the same is found as where its zero bytes are, at its edges too."""
        first = [mark.ljust(PAGE_BYTES)] if mark else []
        zeros = [bytes(each) for each in blocks]
        assert hits(*first, *blocks) == hits(*first, *zeros)

    @pytest.mark.parametrize("form", EDGES)
    @pytest.mark.parametrize("at_end", [False, True])
    def test_at_the_edge_of_a_hole(self, form: str, *, at_end: bool) -> None:
        """A key that begins or ends there is found, beyond the first 64 GiB too."""
        data = EDGES[form].rjust(PAGE_BYTES) if at_end else EDGES[form].ljust(PAGE_BYTES)
        (expected,) = hits(data)
        (hit,) = hits(b"\n" * PAGE_BYTES, 64 << 30, data, 1 << 30)
        before = PAGE_BYTES + (64 << 30)
        assert hit == expected._replace(offset=expected.offset + before, line=expected.line + PAGE_BYTES)

    def test_columns_of_utf_16_behind_a_hole(self) -> None:
        """Where a mark tells that a text is UTF-16, two zero bytes are a character."""
        data = "\ufeffab".encode("utf-16-le").ljust(PAGE_BYTES, b"\0")
        (hit,) = hits(data, 64 << 30, KEY1.encode("utf-16-le"))
        assert hit[:3] == (PAGE_BYTES + (64 << 30), 1, (PAGE_BYTES + (64 << 30)) // 2)

    def test_what_is_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However long a line is, no more than a block and two overlaps is looked at or held together."""
        lengths: list[int] = []

        def looked_at(_: KeySearch, text: bytes, __: tuple[str, ...]) -> Iterator[None]:
            lengths.append(len(text))
            yield from ()

        monkeypatch.setattr(KeySearch, "find", looked_at)
        assert [*SEARCH.find(b"x" * BLOCK_BYTES for _ in range(100))] == []
        assert max(lengths) <= BLOCK_BYTES + 2 * OVERLAP_BYTES
        assert sum(lengths) <= 1.1 * 100 * BLOCK_BYTES

    def test_one_line_of_100_mebibytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At its end a key is found, and its column is right."""
        blocks = [b"." * BLOCK_BYTES] * 100
        monkeypatch.setattr(content, "assignments", lambda *_: ())
        assert places(*blocks, KEY1.encode()) == [Place(100 * BLOCK_BYTES, 1, 100 * BLOCK_BYTES + 1)]

    def test_it_is_found_before_all_is_read(self) -> None:
        """What stands at the beginning is told before the end has come."""
        read: list[int] = []

        def blocks() -> Iterator[bytes]:
            for number in range(10):
                read.append(number)
                yield (KEY1.encode() + b"\n").ljust(BLOCK_BYTES, b".")

        assert Hit(*next(SEARCH.find(blocks()))).offset == 0
        assert read == [0, 1]
