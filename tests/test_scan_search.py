"""Known keys in bytes: as they stand, encoded, wrapped and within each other; and nothing else."""

from __future__ import annotations

import base64
import itertools
import secrets
import string
import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pytest
from conftest import V1, V2, good_keys
from hypothesis import given
from hypothesis import strategies as st
from spellings import respelled

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.material import MIN_DISTINCT_HEXADECIMAL, digest, fingerprint
from robodj_secretguard.policy import LEAST_MATERIAL, Generator
from robodj_secretguard.scan import search
from robodj_secretguard.scan.result import KnownKey
from robodj_secretguard.scan.search import MOST_LAYERS, UTF_16, KeySearch, views
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

_Result = TypeVar("_Result")

KEYS = good_keys()
KEY1, KEY2 = KEYS[V1].encode(), KEYS[V2].encode()
KEY3 = secrets.token_urlsafe(48).encode()
"""A key that no approved generator makes."""
ALPHABET = (string.ascii_letters + string.digits + "+/-_").encode()
OTHERS = bytes(each for each in range(256) if each not in ALPHABET)
SMALL_TEXT = 1 << 16
MIB = 1 << 20


class View(NamedTuple):
    """A stretch of bytes that is read as text."""

    text: bytes
    start: int = 0
    step: int = 1
    forms: tuple[str, ...] = ()


class Occurrence(NamedTuple):
    """A known key that was found."""

    offset: int
    key: KnownKey
    forms: tuple[str, ...]


def known(key: bytes) -> KnownKey:
    """Return what is known of a key."""
    return KnownKey(fingerprint(SealedStr(key.decode())))


def searching(*keys: bytes, live: bool) -> KeySearch:
    """Look for keys: for themselves, or for their fingerprints alone."""
    at_hand = [(SealedStr(key.decode()), known(key)) for key in keys] if live else []
    generators = [policy.generator for policy in RuntimeSecrets.secret_policies.values()]
    return KeySearch(
        {known(key).fingerprint: known(key) for key in keys}, at_hand, generators, [key for key, _ in at_hand]
    )


LIVE, BY_FINGERPRINT = searching(KEY1, KEY2, KEY3, live=True), searching(KEY1, KEY2, KEY3, live=False)
BOTH = pytest.mark.parametrize("keys", [LIVE, BY_FINGERPRINT], ids=["live", "by-fingerprint"])


def found(keys: KeySearch, data: bytes) -> set[Occurrence]:
    """Return what is found in bytes, in all that may be read as text there."""
    return {
        each._replace(offset=view.start + each.offset * view.step)
        for view in (View(*each) for each in views(data))
        for each in (Occurrence(*each) for each in keys.find(view.text, view.forms))
    }


def in_base64(data: bytes) -> bytes:
    """Write bytes in base64."""
    return base64.b64encode(data)


def in_hexadecimal(data: bytes) -> bytes:
    """Write bytes in hexadecimal."""
    return data.hex().encode()


def in_utf_16(data: bytes) -> bytes:
    """Write ASCII in UTF-16."""
    return data.decode().encode("utf-16-le")


def wrapped(text: bytes, width: int, end: bytes) -> bytes:
    """Break text into lines."""
    return end.join(text[at : at + width] for at in range(0, len(text), width))


def lines_run(action: Callable[[], _Result]) -> tuple[_Result, int]:
    """Return a result, and how many lines of Python that took."""
    count, before = itertools.count(), sys.gettrace()

    def traced(_frame: FrameType, _event: str, _argument: object) -> object:
        next(count)
        return traced

    sys.settrace(traced)  # type: ignore[arg-type]
    try:
        result = action()
    finally:
        sys.settrace(before)
    return result, next(count)


def offsets_in(data: bytes) -> list[int]:
    """Return where keys that are at hand are found."""
    return sorted(each.offset for each in found(LIVE, data))


ENCODINGS: dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]] = {
    "raw": (lambda data: data, ()),
    "hexadecimal": (in_hexadecimal, ("hex",)),
    "hexadecimal-upper": (lambda data: in_hexadecimal(data).upper(), ("hex",)),
    "base64": (in_base64, ("base64",)),
    "base64url": (base64.urlsafe_b64encode, ("base64",)),
    "base64-in-base64": (lambda data: in_base64(in_base64(data)), ("base64", "base64")),
    "hexadecimal-in-base64": (lambda data: in_base64(in_hexadecimal(data)), ("base64", "hex")),
    "base64-in-hexadecimal": (lambda data: in_hexadecimal(in_base64(data)), ("hex", "base64")),
    "utf-16-in-base64": (lambda data: in_base64(in_utf_16(data)), ("base64", UTF_16)),
    "utf-16-in-hexadecimal": (lambda data: in_hexadecimal(in_utf_16(data)), ("hex", UTF_16)),
}
OUTER = pytest.mark.parametrize(("encode", "forms"), ENCODINGS.values(), ids=ENCODINGS)


class TestViews:
    """What may be read as text."""

    def test_of_bytes_without_zeros(self) -> None:
        """It is all of it, once."""
        assert [*views(KEY1 * 3)] == [View(KEY1 * 3)]

    @pytest.mark.parametrize(("order", "shift"), [("utf-16-le", 0), ("utf-16-be", 1)])
    @pytest.mark.parametrize("before", [b"", b"\xff\xfe", b"\xfe\xff", b"\xff\xff\xff", b"\0\0\0"])
    def test_of_utf_16(self, order: str, shift: int, before: bytes) -> None:
        """A stretch of printable characters is a view in either byte order, wherever it begins."""
        text = f"{string.printable[:95]}\t\r\n"
        data = before + text.encode(order) + b"\xff\xff"
        assert View(text.encode(), len(before) + shift, 2, (UTF_16,)) in [*views(data)]

    @pytest.mark.parametrize(("length", "there"), [(43, True), (42, False)])
    @pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
    def test_of_the_shortest(self, order: str, length: int, *, there: bool) -> None:
        """Shorter than the shortest key is none."""
        assert len([*views(("x" * length).encode(order))]) == 1 + there

    def test_of_several(self) -> None:
        """Each stretch is a view of its own, and what is no ASCII ends it."""
        one, other = "a" * 50, "b" * 60
        data = f"{one}é{other}é".encode("utf-16-le")
        assert [*views(data)][1:] == [
            View(one.encode(), 0, 2, (UTF_16,)),
            View(other.encode(), 2 * len(one) + 2, 2, (UTF_16,)),
        ]


@BOTH
class TestForms:
    """In which forms a key is found, and where."""

    @pytest.mark.parametrize("key", [KEY1, KEY2, KEY3], ids=["base64url", "hexadecimal", "of-another-length"])
    @OUTER
    def test_alone(self, keys: KeySearch, encode: Callable[[bytes], bytes], forms: tuple[str, ...], key: bytes) -> None:
        """Between characters that no key has, it is found where it begins."""
        data = b"before: " + encode(key) + b" after"
        assert found(keys, data) == {Occurrence(8, known(key), forms)}

    @pytest.mark.parametrize("before", range(5))
    @pytest.mark.parametrize("after", range(4))
    def test_in_base64_at_every_alignment(self, keys: KeySearch, before: int, after: int) -> None:
        """However much is encoded before it and after it, it is found at the character that its first byte is in."""
        data = in_base64(b":" * before + KEY1 + b":" * after).rstrip(b"=")
        assert found(keys, b"> " + data) == {Occurrence(2 + before * 4 // 3, known(KEY1), ("base64",))}

    @pytest.mark.parametrize("before", range(6))
    def test_in_base64_after_more_of_its_characters(self, keys: KeySearch, before: int) -> None:
        """Wherever in a run of its characters base64 begins, the key in it is found."""
        data = b"/" * before + in_base64(b":" + KEY1 + b":")
        assert found(keys, data) == {Occurrence(before + 1, known(KEY1), ("base64",))}

    @pytest.mark.parametrize("before", range(3))
    def test_in_hexadecimal_at_every_alignment(self, keys: KeySearch, before: int) -> None:
        """Whatever hexadecimal digits stand before it, it is found at its own first one."""
        data = b"f" * before + in_hexadecimal(b":" + KEY1 + b":")
        assert found(keys, data) == {Occurrence(before + 2, known(KEY1), ("hex",))}

    @pytest.mark.parametrize("change", [str.upper, str.swapcase, str.title])
    def test_hexadecimal_in_any_case(self, keys: KeySearch, change: Callable[[str], str]) -> None:
        """A hexadecimal key is the same in any case."""
        shortest = secrets.token_hex(LEAST_MATERIAL.hexadecimal.minimum // 2).encode()
        search_ = searching(shortest, live=keys is LIVE)
        assert found(search_, change(shortest.decode()).encode()) == {Occurrence(0, known(shortest), ())}
        assert found(keys, change(KEY2.decode()).encode()) == {Occurrence(0, known(KEY2), ())}

    def test_base64url_in_another_case(self, keys: KeySearch) -> None:
        """A base64url key in another case is another text."""
        assert found(keys, KEY1.swapcase()) == set()

    @pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize("before", ["", "x", "é", "key: "])
    def test_utf_16(self, keys: KeySearch, order: str, before: str) -> None:
        """It is found at its first character, of which the byte that is not zero counts."""
        data = f"{before}\n{KEY1.decode()}é".encode(order)
        shift = 1 if order == "utf-16-be" else 0
        assert found(keys, data) == {Occurrence(2 * len(before) + 2 + shift, known(KEY1), (UTF_16,))}

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n    ", b"\r\n\t", b"=\n", b"=\r\n", b"\\\n", b"\\\n  "])
    @pytest.mark.parametrize("width", [64, 76])
    @pytest.mark.parametrize("before", [0, 1, 40, 50])
    def test_wrapped_base64(self, keys: KeySearch, end: bytes, width: int, before: int) -> None:
        """Base64 that is wrapped, indented or goes on after a mark is one text, and the key is where it begins."""
        data = b"data: " + wrapped(in_base64(b":" * before + KEY2 + b":::"), width, end)
        at = before * 4 // 3
        assert found(keys, data) == {Occurrence(6 + at + at // width * len(end), known(KEY2), ("base64",))}

    def test_a_wrapped_key(self, keys: KeySearch) -> None:
        """So is a key itself, and hexadecimal."""
        assert found(keys, wrapped(KEY2, 64, b"\n")) == {Occurrence(0, known(KEY2), ())}
        assert found(keys, wrapped(in_hexadecimal(KEY1), 60, b"\n")) == {Occurrence(0, known(KEY1), ("hex",))}

    @pytest.mark.parametrize("lines", [8, 9])
    def test_a_key_in_many_lines(self, keys: KeySearch, lines: int) -> None:
        """By its fingerprint a key is found over eight lines, and no more: so many joined lines are no key."""
        head, rest = KEY2[:60], KEY2[60:]
        data = b"\n".join([head, *(rest[at : at + 1] for at in range(lines - 2)), rest[lines - 2 :]])
        assert data.count(b"\n") == lines - 1
        expected = set() if keys is BY_FINGERPRINT and lines > 8 else {Occurrence(0, known(KEY2), ())}
        assert found(keys, data) == expected

    def test_more_layers(self, keys: KeySearch) -> None:
        """More encodings within each other are not taken off."""
        data = KEY1
        for _ in range(MOST_LAYERS):
            data = in_base64(data)
        assert len(found(keys, data)) == 1
        assert found(keys, in_base64(data)) == set()

    @pytest.mark.parametrize("outer", ["file", "base64"])
    def test_utf_16_takes_no_layer(self, keys: KeySearch, outer: str) -> None:
        """As many encodings are taken off where the text is UTF-16, as PowerShell writes it and encodes commands."""
        if outer == "file":
            data, forms = in_utf_16(b"key: " + in_base64(in_base64(KEY1))), (UTF_16, "base64", "base64")
            at = 10
        else:
            data, forms = in_base64(in_utf_16(b"key: " + in_base64(KEY1) + b" #")), ("base64", UTF_16, "base64")
            at = 10 * 4 // 3
        assert found(keys, data) == {Occurrence(at, known(KEY1), forms)}

    @pytest.mark.parametrize("encode", [in_hexadecimal, in_base64, bytes], ids=["hexadecimal", "base64", "raw"])
    def test_lists_of_keys(self, keys: KeySearch, encode: Callable[[bytes], bytes]) -> None:
        """Of keys in lines of their own each one is found, whatever is in the lines before it and after it."""
        others = [secrets.token_urlsafe(32).encode() for _ in range(2)]
        lines = [encode(each) for each in (others[0], KEY1, others[1])]
        assert {each.offset for each in found(keys, b"\n".join(lines))} == {len(lines[0]) + 1}

    @pytest.mark.parametrize("key", [KEY1, KEY2, KEY3], ids=["base64url", "hexadecimal", "of-another-length"])
    @pytest.mark.parametrize("between", [b" ", b"+", b"/", b"\n", b"=", b'","', b"\\n", b"\0", b"\xc3\xa9"], ids=ascii)
    def test_twice(self, keys: KeySearch, key: bytes, between: bytes) -> None:
        """It is found as often as it stands there."""
        expected = {Occurrence(at, known(key), ()) for at in (1, 1 + len(key + between))}
        if between == b"\\n" and keys is BY_FINGERPRINT and key is KEY3:
            expected.pop()  # the n stands before it, and its length is no generator's
            assert len(found(keys, b" " + key + between + key)) == 1
        else:
            assert found(keys, b" " + key + between + key) == expected


class TestRespelled:
    """A base64url key is the same key whatever the unused bits of its last character are."""

    @pytest.mark.parametrize("live", [True, False], ids=["live", "by-fingerprint"])
    @pytest.mark.parametrize("size", [32, 64], ids=["43-characters", "86-characters"])
    @OUTER
    def test_it_is_found(
        self, encode: Callable[[bytes], bytes], forms: tuple[str, ...], size: int, *, live: bool
    ) -> None:
        """Whichever spelling is known, each one is found, in every encoding."""
        key = secrets.token_urlsafe(size)
        for known_as in (key, respelled(key)[0]):
            keys = searching(known_as.encode(), live=live)
            for spelling in (key, *respelled(key)):
                data = b"before: " + encode(spelling.encode()) + b" after"
                assert found(keys, data) == {Occurrence(8, known(key.encode()), forms)}

    @BOTH
    def test_within_longer_text(self, keys: KeySearch) -> None:
        """By its fingerprint it is found where a generated key is, and a live one anywhere."""
        for spelling in map(str.encode, respelled(KEY1.decode())):
            for before, after in ((b"", b"xyz"), (b"a_b_", b"_c"), (b"xyz", b""), (b"\\n", b"x")):
                assert found(keys, before + spelling + after) == {Occurrence(len(before), known(KEY1), ())}
            assert len(found(keys, b"xy" + spelling + b"x")) == (keys is LIVE)

    @BOTH
    def test_any_other_last_character(self, keys: KeySearch) -> None:
        """With a last character of other bits it is another key."""
        spellings = {KEY1.decode(), *respelled(KEY1.decode())}
        for last in string.ascii_letters + string.digits + "-_":
            text = KEY1.decode()[:-1] + last
            assert bool(found(keys, text.encode())) == (text in spellings)

    def test_the_spelling_that_was_found(self) -> None:
        """A key that is known by its fingerprint is kept as it is compared."""
        keys = searching(KEY1, live=False)
        assert found(keys, respelled(KEY1.decode())[0].encode())
        assert keys.seen == {known(KEY1).fingerprint: SealedStr(KEY1.decode())}


class TestWithinLongerText:
    """A key among further characters of its alphabet."""

    @pytest.mark.parametrize("before", [b"x", b"sk-", b"0" * 50, b"a-b_c"])
    @pytest.mark.parametrize("after", [b"x", b"-x", b"0" * 50])
    @pytest.mark.parametrize("key", [KEY1, KEY2, KEY3], ids=["base64url", "hexadecimal", "of-another-length"])
    def test_a_key_at_hand(self, key: bytes, before: bytes, after: bytes) -> None:
        """It is found wherever it stands."""
        assert Occurrence(len(before), known(key), ()) in found(LIVE, before + key + after)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"", b"xyz"),
            (b"xyz", b""),
            (b"a-", b"-b"),
            (b"a_b_", b"_c"),
            (b"sk-", b"xyz"),
            (b"--", b"--"),
            (b"\\n", b"x"),
            (in_hexadecimal(bytes(32)) + b"-", b""),
        ],
    )
    def test_by_fingerprint(self, before: bytes, after: bytes) -> None:
        """A key of an approved generator is found at the beginning, at the end, and after a hyphen, an underscore or
        the letter of an escape.
        """
        assert found(BY_FINGERPRINT, before + KEY1 + after) == {Occurrence(len(before), known(KEY1), ())}

    @pytest.mark.parametrize(("before", "after"), [(b"", b"xyz"), (b"xyz", b""), (b"", b"abc"), (b"abc", b"")])
    def test_hexadecimal_by_fingerprint(self, before: bytes, after: bytes) -> None:
        """So is a hexadecimal one, at the beginning or the end of a run of hexadecimal digits."""
        assert found(BY_FINGERPRINT, before + KEY2 + after) == {Occurrence(len(before), known(KEY2), ())}

    def test_what_is_not_found_by_fingerprint(self) -> None:
        """In the midst of other characters there is nothing to tell where it begins."""
        assert found(BY_FINGERPRINT, b"xy" + KEY1 + b"x") == set()
        assert found(BY_FINGERPRINT, b"x" + KEY3) == set()
        assert len(found(LIVE, b"x" + KEY1 + b"x")) == 1

    def test_one_key_over_another(self) -> None:
        """Of two keys that overlap both are found."""
        one, other = KEY1, KEY1[20:] + secrets.token_urlsafe(15).encode()
        keys = searching(one, other, live=True)
        text = one + other[-20:]
        assert found(keys, text) == {Occurrence(0, known(one), ()), Occurrence(20, known(other), ())}

    @pytest.mark.parametrize(
        "generator",
        [Generator("token_urlsafe", 32), Generator("token_urlsafe", 36), Generator("token_hex", 48)],
        ids=str,
    )
    @pytest.mark.parametrize("encode", [in_hexadecimal, in_base64], ids=["hexadecimal", "base64"])
    def test_a_long_list(self, encode: Callable[[bytes], bytes], generator: Generator) -> None:
        """Of encoded keys in lines of their own each one is found by its fingerprint, even where no padding ends it."""
        keys = [str(getattr(secrets, generator.function)(generator.size)).encode() for _ in range(9)]
        lines = [encode(key) for key in keys]
        places = {sum(map(len, lines[:at])) + at: known(key) for at, key in enumerate(keys)}
        search_ = KeySearch({each.fingerprint: each for each in places.values()}, [], [generator])
        assert {each.offset: each.key for each in found(search_, b"\n".join(lines))} == places

    def test_the_least_variety(self) -> None:
        """A key of as few different characters as one may have is found by its fingerprint, too."""
        characters = secrets.SystemRandom().sample("0123456789abcdef", MIN_DISTINCT_HEXADECIMAL)
        key = "".join([*characters, *(secrets.choice(characters) for _ in range(118))]).encode()
        assert found(searching(key, live=False), key) == {Occurrence(0, known(key), ())}


class TestNothing:
    """Where no key is, none is found."""

    @BOTH
    @pytest.mark.parametrize("key", [KEY1, KEY2, KEY3], ids=["base64url", "hexadecimal", "of-another-length"])
    def test_near_misses(self, keys: KeySearch, key: bytes) -> None:
        """Not with a character less, nor another one in any place."""
        assert found(keys, key[1:]) == set()
        assert found(keys, key[:-1]) == set()
        for at in range(len(key)):
            other = b"A" if key[at : at + 1] in b"0123" else b"1"
            assert found(keys, key[:at] + other + key[at + 1 :]) == set()

    @BOTH
    @given(data=st.binary(max_size=500) | st.text(max_size=300).map(str.encode))
    def test_any_bytes(self, keys: KeySearch, data: bytes) -> None:
        """Not in any bytes without it."""
        assert found(keys, data) == set()

    @BOTH
    @given(data=st.lists(st.sampled_from(ALPHABET + b"=\n\r\\ \t\0"), max_size=500).map(bytes))
    def test_text_of_the_alphabet(self, keys: KeySearch, data: bytes) -> None:
        """Nor in text of what keys and their encodings are made of."""
        assert found(keys, data) == set()

    def test_without_keys(self) -> None:
        """With no key to look for there is nothing to find."""
        nothing = KeySearch({}, [], [])
        assert found(nothing, KEY1 + b" " + in_base64(KEY2)) == set()


class TestAnythingAround:
    """Whatever stands around a key."""

    @BOTH
    @OUTER
    @given(around=st.tuples(st.binary(max_size=80), *[st.sampled_from(OTHERS)] * 2, st.binary(max_size=80)))
    def test_it_is_found(
        self,
        keys: KeySearch,
        encode: Callable[[bytes], bytes],
        forms: tuple[str, ...],
        around: tuple[bytes, int, int, bytes],
    ) -> None:
        """In every form it is found where it is, and nothing else is."""
        before, first, last, after = around
        data = before + bytes([first]) + encode(KEY1) + bytes([last]) + after
        assert found(keys, data) == {Occurrence(len(before) + 1, known(KEY1), forms)}

    @given(before=st.lists(st.sampled_from(ALPHABET), max_size=80).map(bytes), key=st.sampled_from([KEY1, KEY2]))
    def test_a_key_at_hand_among_its_own_alphabet(self, before: bytes, key: bytes) -> None:
        """It is found among any characters of its alphabet, as it is and in base64."""
        assert Occurrence(len(before), known(key), ()) in found(LIVE, before + key + before)
        encoded = in_base64(before + key + before)
        assert Occurrence(len(before) * 4 // 3, known(key), ("base64",)) in found(LIVE, encoded)


class TestPartsThatShow:
    """Whether a name has a part of a key."""

    @pytest.mark.parametrize("key", [KEY1, KEY2], ids=["base64url", "hexadecimal"])
    @pytest.mark.parametrize("change", [bytes, bytes.upper, bytes.lower, lambda part: part[::-1]])
    def test_six_characters(self, key: bytes, change: Callable[[bytes], bytes]) -> None:
        """Any six in a row show, in any case and reversed."""
        assert all(LIVE.shows_part(b"a " + change(key[at : at + 6]) + b" b") for at in range(len(key) - 5))

    def test_five_characters(self) -> None:
        """Five do not, nor does a name without any."""
        assert not any(LIVE.shows_part(b"~" + KEY1[at : at + 5] + b"~") for at in range(len(KEY1) - 4))
        assert not LIVE.shows_part(b"")

    def test_by_fingerprint(self) -> None:
        """Of a key that is not at hand no part is known."""
        assert not BY_FINGERPRINT.shows_part(KEY1)

    def test_the_end_of_a_respelled_key(self) -> None:
        """The last six characters show in every spelling, whichever of them is at hand."""
        keys = [KEY1.decode(), *respelled(KEY1.decode())]
        for at_hand in keys:
            search_ = searching(at_hand.encode(), live=True)
            assert all(search_.shows_part(f"~{key[-6:]}~".encode()) for key in keys)
            assert not search_.shows_part(f"~{at_hand[-5:]}~".encode())

    @pytest.mark.parametrize("value", ["", "a", "ab", "abc", "abcde"])
    def test_a_short_value(self, value: str) -> None:
        """A value that is shorter than what is hidden hides nothing."""
        assert not KeySearch({}, [], (), [SealedStr(value)]).shows_part(b"abcdefghijkl")


HOSTILE = {
    "one-character": b"a",
    "separators": b"-a-b_c-d-e_f-g-h-i-j-k",
    "hexadecimal": b"0123456789abcdef",
    "base64-of-separators": in_base64(b"-a-b_c-d-e_f-g-h-i-j-k--"),
    "base64-in-base64": in_base64(in_base64(in_base64(bytes(range(81))))),
    "hexadecimal-in-hexadecimal": bytes(range(64)).hex().encode().hex().encode(),
    "short-lines": b"abc\n",
    "long-indents": b"x" * 43 + b"\n" + b" " * 500,
    "ends-of-lines": b"\\\n=\r\n",
    "utf-16": in_utf_16(b"abc-defghijk "),
    "utf-16-cut-short": in_utf_16(b"x" * 42) + b"\xff",
    "zeros": b"\0",
    "almost-runs": b"x" * 42 + b" ",
}


class TestHostileText:
    """Text that somebody made to take long."""

    @pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
    @BOTH
    def test_how_much_is_hashed(self, monkeypatch: pytest.MonkeyPatch, keys: KeySearch, unit: bytes) -> None:
        """Of twice as much text twice as much is hashed, at most a few pieces for each character."""
        hashed = itertools.count()

        def counted(text: bytes) -> bytes:
            next(hashed)
            return digest(text)

        monkeypatch.setattr(search, "digest", counted)
        counts: list[int] = []
        for size in (SMALL_TEXT, 2 * SMALL_TEXT):
            before = next(hashed)
            assert found(keys, unit * (size // len(unit))) == set()
            counts.append(next(hashed) - before)
        assert counts[0] <= 4 * SMALL_TEXT
        assert counts[1] <= 2.1 * counts[0] + 100

    @pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
    def test_a_whole_window(self, unit: bytes) -> None:
        """As much of it as is looked at together takes no time that is seen."""
        assert found(LIVE, b"x" * 43 + unit * (MIB // len(unit)) + b"!") == set()

    @pytest.mark.parametrize("end", [b"\n", b"", b" "], ids=["lines", "joined", "words"])
    def test_nothing_but_a_key(self, end: bytes) -> None:
        """A key is found as often as it is repeated, and for twice as many twice as much is done."""
        unit = KEY1 + end
        ran: list[int] = []
        for times in (200, 400):
            offsets, lines = lines_run(partial(offsets_in, unit * times))
            assert offsets == [*range(0, times * len(unit), len(unit))]
            ran.append(lines)
        assert ran[1] <= 2.1 * ran[0]


def test_every_generators_length() -> None:
    """Text of the length of any approved generator is compared within longer text."""
    keys: Sequence[bytes] = [
        (secrets.token_urlsafe if policy.generator.function == "token_urlsafe" else secrets.token_hex)(
            policy.generator.size
        ).encode()
        for policy in RuntimeSecrets.secret_policies.values()
    ]
    by_fingerprint = searching(*keys, live=False)
    assert [len(found(by_fingerprint, b"zz-" + key + b"-zz")) for key in keys] == [1] * len(keys)
