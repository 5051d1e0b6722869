"""Known keys, and where each is in bytes: plain, encoded, wrapped and within longer text."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
import secrets
import string
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from urllib.parse import quote, quote_plus

import pytest
from command_line import fingerprint_of, rotated
from conftest import NOW, V1, V2, good_keys
from hypothesis import given, settings
from hypothesis import strategies as st
from spellings import respelled

from robodj_secretguard import Material, RuntimeSecrets
from robodj_secretguard.lifecycle.records import draft
from robodj_secretguard.scan.result import DATED_SOURCE, LIST_SOURCE, LOG_SOURCE, KnownKey
from robodj_secretguard.scan.search import (
    UTF_16_FORM,
    Forms,
    KeySearch,
    Occurrence,
    known_keys,
    live_values,
    parts_of,
    views,
)
from robodj_secretguard.secret.material import PART, Generator, fewest_distinct
from robodj_secretguard.secret.policy import LEAST_MATERIAL
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import variables_read
from robodj_secretguard.startup.readings import Environment, read

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
GENERATORS = [policy.generator for policy in POLICIES if policy.generator]
KEYS = good_keys()
KEY1, KEY2 = KEYS[V1].encode(), KEYS[V2].encode()
KEY3 = secrets.token_urlsafe(48).encode()  # a length that no approved generator makes
ALPHABET = (string.ascii_letters + string.digits + "+/-_").encode()
OTHERS = bytes(each for each in range(256) if each not in ALPHABET)
SMALL_TEXT = 1 << 13


def known(key: bytes) -> KnownKey:
    """Return a known key."""
    return KnownKey(fingerprint_of(key.decode()))


def searching(*keys: bytes, live: bool) -> KeySearch:
    """Return a search for keys, or for their fingerprints alone."""
    at_hand = [(SealedStr(key.decode()), known(key)) for key in keys] if live else []
    return KeySearch([*map(known, keys)], at_hand, GENERATORS, [key for key, _ in at_hand])


LIVE, BY_FINGERPRINT = searching(KEY1, KEY2, KEY3, live=True), searching(KEY1, KEY2, KEY3, live=False)
BOTH = pytest.mark.parametrize("keys", [LIVE, BY_FINGERPRINT], ids=["live", "by fingerprint"])
EACH_KEY = pytest.mark.parametrize("key", [KEY1, KEY2, KEY3], ids=["base64url", "hexadecimal", "of another length"])


def found(keys: KeySearch, data: bytes) -> set[Occurrence]:
    """Return what is found in all text of some bytes."""
    return {
        (view.place(offset), key, forms)
        for view in views(data)
        for offset, key, forms in keys.find(view.text, view.forms)
    }


def viewed(data: bytes) -> list[tuple[bytes, int, int, Forms]]:
    """Return each view of some bytes: its text, where it begins, the bytes of a character there, and its encodings."""
    return [(each.text, each.place(0), each.place(1) - each.place(0), each.forms) for each in views(data)]


def in_hexadecimal(data: bytes) -> bytes:
    """Encode bytes in hexadecimal."""
    return data.hex().encode()


def in_utf_16(data: bytes) -> bytes:
    """Encode ASCII in UTF-16."""
    return data.decode().encode("utf-16-le")


def wrapped(text: bytes, width: int, end: bytes) -> bytes:
    """Break text into lines."""
    return end.join(text[at : at + width] for at in range(0, len(text), width))


LINE_ENDS = (b"\n", b"\r\n", b"\n    ", b"\r\n\t", b"=\n", b"=\r\n", b"\\\n", b"\\\n  ", b"\\n", b"\\r\\n")
in_base64 = base64.b64encode
ENCODINGS: dict[str, tuple[Callable[[bytes], bytes], Forms]] = {
    "raw": (bytes, ()),
    "hexadecimal": (in_hexadecimal, ("hex",)),
    "hexadecimal in capitals": (lambda data: in_hexadecimal(data).upper(), ("hex",)),
    "base64": (in_base64, ("base64",)),
    "base64url": (base64.urlsafe_b64encode, ("base64",)),
    "base64 in base64": (lambda data: in_base64(in_base64(data)), ("base64", "base64")),
    "hexadecimal in base64": (lambda data: in_base64(in_hexadecimal(data)), ("base64", "hex")),
    "base64 in hexadecimal": (lambda data: in_hexadecimal(in_base64(data)), ("hex", "base64")),
    "UTF-16 in base64": (lambda data: in_base64(in_utf_16(data)), ("base64", UTF_16_FORM)),
    "UTF-16 in hexadecimal": (lambda data: in_hexadecimal(in_utf_16(data)), ("hex", UTF_16_FORM)),
}
ENCODED = pytest.mark.parametrize(("encode", "forms"), ENCODINGS.values(), ids=ENCODINGS)


def each_character(form: str, of: str = r"[^\w -]") -> Callable[[str], str]:
    """Return a function that escapes some characters of text by their numbers."""
    return lambda text: re.sub(of, lambda each: form.format(ord(each[0])), text)


def in_go(text: str) -> str:
    """Write each byte that is not a letter or a digit as an escape of Go."""
    return re.sub(rb"[^\w]", lambda each: b"\\x%02x" % each[0][0], text.encode()).decode()


ESCAPED: dict[str, Callable[[str], str]] = {
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded path": quote,
    "percent-encoded in lower case": lambda text: re.sub("%..", lambda each: each[0].lower(), quote(text, safe="")),
    "every byte percent-encoded": lambda text: "".join(f"%{each:02x}" for each in text.encode()),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "JSON in Unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON of Go": lambda text: each_character("\\u{:04x}", "[&<>+=]")(json.dumps(text, ensure_ascii=False)[1:-1]),
    "every character in JSON": each_character("\\u{:04X}", "[\0-\uffff]"),
    "Go": in_go,
    "Python": lambda text: repr(text)[1:-1].encode("ascii", "backslashreplace").decode(),
    "HTML": html.escape,
    "decimal entities": each_character("&#{};"),
    "hexadecimal entities": each_character("&#x{:x};", "."),
    "JSON in HTML": lambda text: html.escape(json.dumps(text)[1:-1]),
    "HTML in JSON": lambda text: json.dumps(html.escape(text))[1:-1],
    "URL in JSON of Go": lambda text: json.dumps(quote(text))[1:-1].replace("%", "\\u0025"),
}
"""How the characters of text are escaped."""


class TestKnownKeys:
    """The keys that are searched for, and the known facts of each."""

    def test_values_at_hand(self, tmp_path: Path) -> None:
        """Each variable's value is searched for, and each line of a fallback file, except placeholders."""
        lines = [secrets.token_urlsafe(32), secrets.token_urlsafe(32), "CHANGE_ME"]
        (tmp_path / "config").mkdir(0o700)
        (tmp_path / "config" / "secret.key").write_text("\n".join(lines), "ascii")
        environment = Environment({V1: KEYS[V1], V2: "replace_with_a_key"})
        config_dir = tmp_path / "config"
        readings = read(POLICIES, variables_read(POLICIES), environment=environment, config_dir=config_dir, now=NOW)
        assert [(value.get_secret_value(), *facts) for value, *facts in live_values(readings)] == [
            (KEYS[V1], KnownKey(fingerprint_of(KEYS[V1]), "secret.key", None, ("environment",)), True),
            *(
                (line, KnownKey(fingerprint_of(line), "secret.key", None, ("file:config/secret.key",)), True)
                for line in lines[:2]
            ),
        ]

    def test_what_the_sources_know(self) -> None:
        """The facts of all sources are combined. An entry of the list that begins later revokes nothing yet."""
        keys = [secrets.token_urlsafe(32) for _ in range(3)]
        one, two, three = map(fingerprint_of, keys)
        records = [
            draft("continued"),  # the fingerprint of no known key
            rotated(NOW, one),
            rotated(NOW, two, environment="dev"),
            rotated(NOW, one, secret=POLICIES[1].name, environment="dev"),
        ]
        begins = {three: NOW, one: NOW, two: NOW + timedelta(seconds=1)}
        assert known_keys([KnownKey(one, known_by=("keys-from",))] * 2, records, begins, NOW) == {
            one: KnownKey(one, "secret.key", "prod", ("keys-from", LOG_SOURCE, LIST_SOURCE)),
            two: KnownKey(two, "secret.key", "dev", (LOG_SOURCE, DATED_SOURCE)),
            three: KnownKey(three, None, None, (LIST_SOURCE,)),
        }


class TestViews:
    """The parts of bytes that may be text."""

    @pytest.mark.parametrize(("order", "shift"), [("utf-16-le", 0), ("utf-16-be", 1)])
    @pytest.mark.parametrize("before", [b"", b"\xff\xfe", b"\xfe\xff", b"\xff\xff\xff", b"\0\0\0"])
    def test_utf_16(self, order: str, shift: int, before: bytes) -> None:
        """All bytes are one view. Printable UTF-16 is another, in either byte order and wherever it begins."""
        text = f"{string.printable[:95]}\t\r\n"
        data = before + text.encode(order) + b"\xff\xff"
        assert viewed(data)[0] == (data, 0, 1, ())
        assert (text.encode(), len(before) + shift, 2, (UTF_16_FORM,)) in viewed(data)

    @pytest.mark.parametrize(("length", "count"), [(22, 2), (21, 1)])
    @pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
    def test_the_shortest(self, order: str, length: int, count: int) -> None:
        """UTF-16 that is shorter than the shortest key is not a separate view."""
        assert len([*views(("x" * length).encode(order))]) == count

    def test_several(self) -> None:
        """Each stretch of UTF-16 is a view, which ends at a non-ASCII character. It needs zero bytes."""
        one, other = "a" * 50, "b" * 60
        assert viewed(f"{one}é{other}é".encode("utf-16-le"))[1:] == [
            (one.encode(), 0, 2, (UTF_16_FORM,)),
            (other.encode(), 2 * len(one) + 2, 2, (UTF_16_FORM,)),
        ]
        assert viewed(KEY1) == [(KEY1, 0, 1, ())]


@BOTH
class TestForms:
    """The forms in which a key is found, and its place."""

    @EACH_KEY
    @ENCODED
    def test_a_key_by_itself(self, keys: KeySearch, encode: Callable[[bytes], bytes], forms: Forms, key: bytes) -> None:
        """A key between other characters is found where it begins."""
        assert found(keys, b"before: " + encode(key) + b" after") == {(8, known(key), forms)}

    @pytest.mark.parametrize("before", range(5))
    def test_the_alignment_of_base64(self, keys: KeySearch, before: int) -> None:
        """A key is found at the character that holds its first byte, however much encoded text surrounds it."""
        for after in range(4):
            data = in_base64(b":" * before + KEY1 + b":" * after).rstrip(b"=")
            assert found(keys, b"> " + data) == {(2 + before * 4 // 3, known(KEY1), ("base64",))}

    @pytest.mark.parametrize("before", range(6))
    def test_encodings_after_more_of_their_characters(self, keys: KeySearch, before: int) -> None:
        """Base64 and hexadecimal are decoded from every possible beginning in a run of their characters."""
        data = b"/" * before + in_base64(b":" + KEY1 + b":")
        assert found(keys, data) == {(before + 1, known(KEY1), ("base64",))}
        data = b"f" * before + in_hexadecimal(b":" + KEY1 + b":")
        assert found(keys, data) == {(before + 2, known(KEY1), ("hex",))}

    @pytest.mark.parametrize("change", [str.upper, str.swapcase, str.title])
    def test_case(self, keys: KeySearch, change: Callable[[str], str]) -> None:
        """A hexadecimal key is the same in any case. A base64url key is not."""
        shortest = secrets.token_hex(LEAST_MATERIAL.hexadecimal.minimum // 2).encode()
        search = searching(shortest, KEY2, KEY1, live=keys is LIVE)
        for key in (shortest, KEY2):
            assert found(search, change(key.decode()).encode()) == {(0, known(key), ())}
        assert found(search, change(KEY1.decode()).encode()) == set()

    @pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize("before", ["", "x", "é", "key: "])
    def test_utf_16(self, keys: KeySearch, order: str, before: str) -> None:
        """A key in UTF-16 is found at its first byte that is not zero."""
        data = f"{before}\n{KEY1.decode()}é".encode(order)
        assert found(keys, data) == {(2 * len(before) + 2 + (order == "utf-16-be"), known(KEY1), (UTF_16_FORM,))}

    @pytest.mark.parametrize("end", LINE_ENDS, ids=map(repr, LINE_ENDS))
    @pytest.mark.parametrize(("width", "before"), [(64, 0), (64, 40), (76, 1), (76, 50)])
    def test_wrapped_base64(self, keys: KeySearch, end: bytes, width: int, before: int) -> None:
        """Base64 over several lines is one text, also if it is indented or a mark continues a line."""
        data = b"data: " + wrapped(in_base64(b":" * before + KEY2 + b":::"), width, end)
        at = before * 4 // 3
        assert found(keys, data) == {(6 + at + at // width * len(end), known(KEY2), ("base64",))}

    def test_other_wrapped_text(self, keys: KeySearch) -> None:
        """A wrapped key is found, also in hexadecimal."""
        assert found(keys, wrapped(KEY2, 64, b"\n")) == {(0, known(KEY2), ())}
        assert found(keys, wrapped(in_hexadecimal(KEY1), 60, b"\n")) == {(0, known(KEY1), ("hex",))}

    @pytest.mark.parametrize("lines", [8, 9])
    def test_how_many_lines(self, keys: KeySearch, lines: int) -> None:
        """By its fingerprint, a key is found over up to eight lines. More lines are not joined."""
        data = b"\n".join([KEY2[:60], *(KEY2[60 + at : 61 + at] for at in range(lines - 2)), KEY2[58 + lines :]])
        assert (found(keys, data) == {(0, known(KEY2), ())}) is (keys is LIVE or lines == 8)

    def test_how_many_encodings(self, keys: KeySearch) -> None:
        """A key is found in two nested encodings, but not in three."""
        assert len(found(keys, in_base64(in_base64(KEY1)))) == 1
        assert found(keys, in_base64(in_base64(in_base64(KEY1)))) == set()

    def test_utf_16_is_not_counted(self, keys: KeySearch) -> None:
        """UTF-16 does not count as an encoding: PowerShell writes files and encodes commands in it."""
        data = in_utf_16(b"key: " + in_base64(in_base64(KEY1)))
        assert found(keys, data) == {(10, known(KEY1), (UTF_16_FORM, "base64", "base64"))}
        data = in_base64(in_utf_16(b"key: " + in_base64(KEY1) + b" #"))
        assert found(keys, data) == {(10 * 4 // 3, known(KEY1), ("base64", UTF_16_FORM, "base64"))}

    @EACH_KEY
    @pytest.mark.parametrize("between", [b" ", b"+", b"/", b"\n", b"=", b'","', b"\\n", b"\0", b"\xc3\xa9"], ids=ascii)
    def test_twice(self, keys: KeySearch, key: bytes, between: bytes) -> None:
        """Every occurrence of a key is found."""
        expected = {(at, known(key), ()) for at in (1, 1 + len(key + between))}
        assert found(keys, b" " + key + between + key) == expected

    @settings(max_examples=100)
    @given(
        encoding=st.sampled_from([*ENCODINGS.values()]),
        around=st.tuples(st.binary(max_size=80), *[st.sampled_from(OTHERS)] * 2, st.binary(max_size=80)),
    )
    def test_any_bytes_around_it(
        self,
        keys: KeySearch,
        encoding: tuple[Callable[[bytes], bytes], Forms],
        around: tuple[bytes, int, int, bytes],
    ) -> None:
        """A key is found in every form among any bytes, and nothing else is found."""
        (encode, forms), (before, first, last, after) = encoding, around
        data = before + bytes([first]) + encode(KEY1) + bytes([last]) + after
        assert found(keys, data) == {(len(before) + 1, known(KEY1), forms)}


@BOTH
class TestRespelled:
    """A base64url key is the same for all values of the unused bits of its last character."""

    @pytest.mark.parametrize("size", [32, pytest.param(64, marks=pytest.mark.full)])
    @ENCODED
    def test_it_is_found(self, keys: KeySearch, encode: Callable[[bytes], bytes], forms: Forms, size: int) -> None:
        """Every spelling is found, whichever one is known. Only the full run has the longer keys, with 16 spellings."""
        key = secrets.token_urlsafe(size)
        for known_as in (key, respelled(key)[0]):
            search = searching(known_as.encode(), live=keys is LIVE)
            for spelling in (key, *respelled(key)):
                assert found(search, b"before: " + encode(spelling.encode())) == {(8, known(key.encode()), forms)}

    def test_within_longer_text(self, keys: KeySearch) -> None:
        """By its fingerprint, a key is found where a generated key is possible, and a delivered one anywhere."""
        for spelling in map(str.encode, respelled(KEY1.decode())):
            for before, after in ((b"", b"xyz"), (b"a_b_", b"_c"), (b"xyz", b""), (b"\\n", b"x")):
                assert found(keys, before + spelling + after) == {(len(before), known(KEY1), ())}
            assert len(found(keys, b"xy" + spelling + b"x")) == (keys is LIVE)

    @pytest.mark.parametrize("size", [32, 48, 64])
    def test_standard_base64(self, keys: KeySearch, size: int) -> None:
        """A key in standard base64 is the same key, with and without padding. Only a live one is found in a path."""
        data = b"\xfb\xff" + secrets.token_bytes(size - 2)
        key, standard = base64.urlsafe_b64encode(data).rstrip(b"="), base64.b64encode(data)
        for known_as in (key, standard):
            search = searching(known_as, live=keys is LIVE)
            for spelling in (key + b"==", standard, standard.rstrip(b"=")):
                assert found(search, b'key: "' + spelling + b'"') == {(6, known(key), ())}
            assert len(found(search, b"keys/" + standard)) == (keys is LIVE)
            assert search.shows_part(b"~" + standard[:PART] + b"~") == (keys is LIVE)

    @pytest.mark.parametrize("escape", ESCAPED.values(), ids=ESCAPED)
    def test_escaped(self, keys: KeySearch, escape: Callable[[str], str]) -> None:
        """A key in standard base64 is found where it begins, also in base64, whatever characters are escaped."""
        standard = base64.b64encode(b"\xfb\xff\xbe" + secrets.token_bytes(29))  # "+/++"
        key = standard.rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))
        for encode, forms in ((bytes, ()), (in_base64, ("base64",))):
            escaped = escape(f"\n&{encode(standard).decode()}=").encode()
            plain = escape("\n&").encode()
            assert found(searching(key, live=keys is LIVE), b"% &\\\n" + escaped) == {
                (5 + len(plain), known(key), forms)
            }

    def test_the_spelling_that_is_kept(self, keys: KeySearch) -> None:
        """A key that is found by its fingerprint is kept as keys are compared. A live one is known."""
        search = searching(KEY1, live=keys is LIVE)
        assert found(search, respelled(KEY1.decode())[0].encode())
        assert search.seen == ({} if keys is LIVE else {SealedStr(KEY1.decode()): known(KEY1)})


class TestWithinLongerText:
    """A key among further characters of its alphabet."""

    @settings(max_examples=50)
    @given(before=st.lists(st.sampled_from(ALPHABET), max_size=80).map(bytes), key=st.sampled_from([KEY1, KEY2, KEY3]))
    def test_a_key_at_hand(self, before: bytes, key: bytes) -> None:
        """A delivered key is found among any characters of its alphabet, and in base64 of them."""
        assert (len(before), known(key), ()) in found(LIVE, before + key + before)
        encoded = in_base64(before + key + before)
        assert (len(before) * 4 // 3, known(key), ("base64",)) in found(LIVE, encoded)

    @pytest.mark.parametrize(
        ("before", "key", "after"),
        [
            (b"", KEY1, b"xyz"),
            (b"xyz", KEY1, b""),
            (b"a_b_", KEY1, b"-c"),
            (b"sk-", KEY1, b"xyz"),
            (b"\\n", KEY1, b"x"),
            (b"a" * 64 + b"-", KEY1, b""),
            *((before, KEY2, after) for before, after in [(b"", b"xyz"), (b"xyz", b""), (b"", b"abc"), (b"abc", b"")]),
        ],
        ids=range(10),
    )
    def test_by_fingerprint(self, before: bytes, key: bytes, after: bytes) -> None:
        """By fingerprint, a generated key is found at either end of a text, after a separator or an escaped letter."""
        assert found(BY_FINGERPRINT, before + key + after) == {(len(before), known(key), ())}

    def test_not_by_fingerprint(self) -> None:
        """By its fingerprint, a key is not found if nothing shows where it begins or how long it is."""
        assert found(BY_FINGERPRINT, b"xy" + KEY1 + b"x") == found(BY_FINGERPRINT, b"x" + KEY3) == set()

    @pytest.mark.parametrize("generator", [*GENERATORS, Generator("token_urlsafe", 36), Generator("token_hex", 48)])
    @pytest.mark.parametrize("encode", [in_hexadecimal, in_base64, bytes], ids=["hexadecimal", "base64", "raw"])
    def test_a_list_of_generated_keys(self, encode: Callable[[bytes], bytes], generator: Generator) -> None:
        """Each key of a list is found by its fingerprint, also in base64 without padding at its end."""
        keys = [str(getattr(secrets, generator.function)(generator.size)).encode() for _ in range(9)]
        lines = [encode(key) for key in keys]
        expected = {sum(map(len, lines[:at])) + at: known(key) for at, key in enumerate(keys)}
        search = KeySearch(expected.values(), [], [generator])
        assert {offset: key for offset, key, _ in found(search, b"\n".join(lines))} == expected

    def test_the_least_variety(self) -> None:
        """A key with the minimum of different characters is found by its fingerprint."""
        for length in (32, 128):
            fewest = fewest_distinct(length, hexadecimal=True)
            characters = secrets.SystemRandom().sample("0123456789abcdef", fewest)
            key = "".join([*characters, *(secrets.choice(characters) for _ in range(length - fewest))]).encode()
            assert found(searching(key, live=False), key) == {(0, known(key), ())}


PASSWORD = f"p.${secrets.token_urlsafe(9)}/ :\"&<>+='{secrets.token_urlsafe(9)}"
LINES = base64.encodebytes(b"\x30\x81\x99\x02\x01\x00" + secrets.token_bytes(150)).decode()
PEM = f"-----BEGIN PRIVATE KEY-----\n{LINES}-----END PRIVATE KEY-----\n"
PARTS = {
    "password": PASSWORD,
    "passphrase": f"Дом и \U0001f511 сад {secrets.token_hex(8)}",
    "PEM": LINES,
    "short": secrets.token_hex(10),
}
ISSUED = KnownKey(None, "vendor.key")
WRITTEN: dict[str, tuple[Callable[[str], str | bytes], Forms]] = {
    "plain": (str, ()),
    **{name: (escape, ()) for name, escape in ESCAPED.items()},
    "UTF-16 LE": (lambda text: f"key: {text}".encode("utf-16-le"), (UTF_16_FORM,)),
    "UTF-16 BE": (lambda text: f"key: {text}".encode("utf-16-be"), (UTF_16_FORM,)),
    "base64": (lambda text: in_base64(text.encode()), ("base64",)),
    "base64url": (lambda text: base64.urlsafe_b64encode(text.encode()), ("base64",)),
    "hexadecimal": (lambda text: text.encode().hex(), ("hex",)),
    "base64 of user and password": (lambda text: in_base64(f"user:{text}".encode()), ("base64",)),
    "UTF-16 in base64": (lambda text: in_base64(f"key: {text}".encode("utf-16-le")), ("base64", UTF_16_FORM)),
    "JSON of PHP in UTF-16": (lambda text: f"key: {text}".replace("/", "\\/").encode("utf-16-le"), (UTF_16_FORM,)),
    "JSON in base64": (lambda text: in_base64(json.dumps({"key": text}).encode()), ("base64",)),
}


def issued(*parts: str) -> KeySearch:
    """Return a search for parts of an issued value."""
    values = [(SealedStr(part), ISSUED) for part in parts]
    return KeySearch([], values, GENERATORS, [value for value, _ in values])


class TestIssued:
    """The parts of values that others issue."""

    @pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
    @pytest.mark.parametrize(("write", "forms"), WRITTEN.values(), ids=WRITTEN)
    def test_it_is_found_as_it_is_written(self, part: str, write: Callable[[str], str | bytes], forms: Forms) -> None:
        """A part is found once: any characters plain or escaped, and ASCII encoded."""
        part = part.encode("ascii", "replace").decode() if forms else part
        text = write(part)
        data = text if isinstance(text, bytes) else text.encode()
        for before, after in ((b"", b""), (b"\xff: ", b"\n")):
            ((_, key, found_forms),) = found(issued(part), before + data + after)
            assert (key, found_forms) == (ISSUED, forms)

    @pytest.mark.parametrize("written", [PEM, PEM.replace("\n", "\r\n"), PEM.replace("\n", "\\n")], ids=range(3))
    @pytest.mark.parametrize("end", ["\n    ", "\r\n", "\\n", "\\r\\n", "", '"\n+ "'], ids=ascii)
    def test_pem_is_found_by_its_middle_line(self, written: str, end: str) -> None:
        """Of the lines of a PEM, one is searched for, whatever ends them. Each of them is hidden."""
        parts = [*parts_of(SealedStr(written), Material.pem())]
        assert [is_searched for _, is_searched in parts] == [False, True, False]
        (middle,) = (part.get_secret_value() for part, is_searched in parts if is_searched)
        assert len(found(issued(middle), PEM.replace("\n", end).encode())) == 1

    def test_members_of_a_json_are_parts(self) -> None:
        """Each declared member is searched for, and of a private key one line. So is a lone surrogate."""
        text = json.dumps({"key": PEM, "token": PASSWORD, "other": f"\ud800{PASSWORD}", "id": "short"})
        value = SealedStr(text)
        parts = [*parts_of(value, Material.json("key", "token", "other", "id"))]
        assert [is_searched for _, is_searched in parts] == [False, True, False, True, True, False]
        search = issued(*(part.get_secret_value() for part, is_searched in parts if is_searched))
        assert len(found(search, text.encode())) == 4  # the other one begins before the token in it

    def test_shorter_part_is_not_found_and_not_shown(self) -> None:
        """A part of fewer than 20 characters could occur by chance. It is hidden too."""
        short = PASSWORD[:19]
        assert found(issued(short), short.encode()) == set()
        assert issued(short).shows_part(short[3:9].encode())

    def test_nothing_similar_is_found(self) -> None:
        """A part with a missing or another character is not found."""
        search = issued(PASSWORD)
        others = (PASSWORD[:at] + "~" + PASSWORD[at + 1 :] for at in range(len(PASSWORD)))
        assert [each for each in (PASSWORD[1:], PASSWORD[:-1], *others) if found(search, each.encode())] == []

    def test_each_line_of_a_list_is_decoded(self) -> None:
        """A value in base64 or in hexadecimal is found in a list of such lines."""
        part = secrets.token_hex(10)
        for encode in (in_base64, in_hexadecimal):
            lines = [encode(each) for each in (b"x" * 20, part.encode(), b"y" * 20)]
            assert len(found(issued(part), b"\n".join(lines))) == 1


@BOTH
class TestNothing:
    """Without a key in the bytes, nothing is found."""

    @EACH_KEY
    def test_near_misses(self, keys: KeySearch, key: bytes) -> None:
        """A key with a missing or changed character at any place is not found."""
        others = (key[:at] + (b"A" if key[at] in b"0123" else b"1") + key[at + 1 :] for at in range(len(key)))
        assert [each for each in (key[1:], key[:-1], *others) if found(keys, each)] == []

    @settings(max_examples=100)
    @given(
        data=st.binary(max_size=500)
        | st.text(max_size=300).map(str.encode)
        | st.lists(st.sampled_from(ALPHABET + b"=\n\r\\ \t\0"), max_size=500).map(bytes)
    )
    def test_any_bytes(self, keys: KeySearch, data: bytes) -> None:
        """Nothing is found in other bytes, or in text of the characters of keys and their encodings."""
        assert found(keys, data) == set()

    def test_no_keys(self, keys: KeySearch) -> None:
        """Without a key to search for, nothing is found."""
        data = KEY1 + b" " + in_base64(KEY2)
        assert (found(KeySearch([], [], []), data), len(found(keys, data))) == (set(), 2)


class TestParts:
    """The parts of a hidden key in text."""

    @pytest.mark.parametrize("key", [KEY1, KEY2], ids=["base64url", "hexadecimal"])
    @pytest.mark.parametrize("change", [bytes, bytes.upper, bytes.lower, lambda part: part[::-1]])
    def test_six_characters(self, key: bytes, change: Callable[[bytes], bytes]) -> None:
        """Six characters in a row are a part, in any case and reversed. Five are not."""
        parts = [change(key[at : at + PART]) for at in range(len(key) - PART + 1)]
        assert all(LIVE.shows_part(b"a " + part + b" b") for part in parts)
        assert not any(LIVE.shows_part(b"~" + part[1:] + b"~") for part in parts)

    def test_part_in_encoded_text(self) -> None:
        """A part is found in encoded text too. Encoded text without one shows none."""
        other = in_base64(b"kif leela zapp fry " * 4)
        assert not LIVE.shows_part(other + b"\n!\n" + other)
        assert LIVE.shows_part(other + b"\n!\n" + in_base64(b"x" * 30 + KEY1[:PART] + b"x" * 30))

    def test_nothing_is_hidden(self) -> None:
        """A key that is only known by its fingerprint, or has fewer than six characters, has no parts."""
        assert not LIVE.shows_part(b"")
        assert not BY_FINGERPRINT.shows_part(KEY1)
        assert not LIVE.shows_part(KEY1[-5:] + b"-" * 30)
        for value in ("", "a", "abcde"):
            assert not KeySearch([], [], (), [SealedStr(value)]).shows_part(b"abcdefghijkl")

    def test_the_end_of_a_respelled_key(self) -> None:
        """The last six characters are a part in every spelling, whichever spelling is known."""
        keys = [KEY1.decode(), *respelled(KEY1.decode())]
        for at_hand in keys:
            search = searching(at_hand.encode(), live=True)
            assert all(search.shows_part(f"~{key[-6:]}~".encode()) for key in keys)
            assert not search.shows_part(f"~{at_hand[-5:]}~".encode())


HOSTILE: dict[str, tuple[bytes, float]] = {
    "one character": (b"a", 0.03),
    "separators": (b"-a-b_c-d-e_f-g-h-i-j-k", 10),
    "hexadecimal": (b"0123456789abcdef", 0.04),
    "short hexadecimal": (b"0123456789abcdef" * 3 + b"-", 2),
    "base64 of separators": (in_base64(b"-a-b_c-d-e_f-g-h-i-j-k--"), 8),
    "base64 in base64": (in_base64(in_base64(in_base64(bytes(range(81))))), 0.6),
    "base64 in lines": (base64.encodebytes(bytes(range(200)) * 9) + b" ", 9),
    "hexadecimal in hexadecimal": (bytes(range(64)).hex().encode().hex().encode(), 0.11),
    "short lines": (b"abc\n", 0.02),
    "long indents": (b"x" * 43 + b"\n" + b" " * 500, 0.25),
    "ends of lines": (b"\\\n=\r\n", 0.02),
    "parts of paths": (b"abcdefghijklmnop/", 0.4),
    "words": (string.ascii_letters[:22].encode() + b" ", 6),
    "almost long enough": (b"x" * 21 + b" ", 0.02),
    "UTF-16": (in_utf_16(b"abc-defghijk "), 0.04),
    "UTF-16 cut short": (in_utf_16(b"x" * 21) + b"\xff", 0.02),
    "zeros": (b"\0", 0.02),
    "keys in lines": (KEY1 + b"\n", 10),
    "keys without an end": (KEY1, 10),
    "keys as words": (KEY1 + b" ", 10),
}
"""Text to repeat, and the maximum number of lines of Python for each character."""


def found_in_repeated(unit: bytes, size: int) -> int:
    """Search text that repeats a unit, and return how many lines of Python ran."""
    count, before = itertools.count(), sys.gettrace()

    def traced(_frame: FrameType, _event: str, _argument: object) -> object:
        next(count)
        return traced

    times = size // len(unit)
    sys.settrace(traced)  # type: ignore[arg-type]
    try:
        offsets = sorted(offset for offset, *_ in found(LIVE, unit * times))
    finally:
        sys.settrace(before)
    assert offsets == ([at * len(unit) for at in range(times)] if KEY1 in unit else [])
    return next(count)


@pytest.mark.parametrize(("unit", "most"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_linear_time(unit: bytes, most: float) -> None:
    """Text that cannot be a key is neither hashed nor decoded. Twice as much text takes twice as much work."""
    once, twice = (found_in_repeated(unit, size) for size in (SMALL_TEXT, 2 * SMALL_TEXT))
    assert once <= most * SMALL_TEXT + 100
    assert twice <= 2.1 * once + 100
