"""What the kinds of secrets that somebody else issues have in common, and the kind of passwords and API keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import ROWS, declared, judge

from robodj_secretguard import Fault, Kind, Material
from robodj_secretguard.secret.issued import Issued

COMMENT = ("format", "has a comment next to its value")
NAME = ("format", "has a name in front of its value")
TWICE = ("format", "has its value twice")

KINDS = [
    Material.opaque(),
    Material.opaque(12, pattern="[0-9a-f]{12,}"),
    Material.key(),
    Material.key(50, "kif-"),
    Material.opaque(4, "sk_live_"),
    Material.url("postgresql"),
    Material.url(passwordless=True),
    Material.pem(),
    Material.pem("RSA PRIVATE KEY"),
    Material.json("private_key", "email"),
]


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] == "refuse"], ids=lambda row: row[2])
def test_template_of_a_public_project_is_refused(row: list[str]) -> None:
    """Each template is refused, and nearly all of them as a placeholder."""
    text = json.loads(row[2])
    malformed = {"db.shop.internal:5432", "redis://localhost:6379/0", "-----BEGIN PRIVATE KEY-----", "{}", "[]"}
    assert judge(declared(row[1]), text)[0] == ("format" if text in malformed else "placeholder")


class TestOpaque:
    """A password, an API key or another text on one line."""

    @pytest.mark.parametrize(
        "text",
        ["zq9 kif!7 ", "\u043f\u0430\u0440\u043e\u043b\u043a\u0430 7", "#kif8374", "kif\"83'74", "kif\U0001f98a8374"],
    )
    def test_any_printable_text_passes(self, text: str) -> None:
        """Blanks inside, other scripts, quotes inside and a # at the beginning are part of the value."""
        assert judge(Material.opaque(), text.strip()) == ("", "")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("zq9kif83\n", "has a newline at the end"),
            ("zq9kif83\r\n", "has a newline at the end"),
            (" zq9kif83", "has a blank at the beginning or end"),
            ("zq9kif83\t", "has a blank at the beginning or end"),
            ("'zq9kif83'", "has quotes around it"),
            ('"zq9kif83"', "has quotes around it"),
            ("zq9kif\n83", "has a newline or an invisible character"),
            ("zq9kif\u202e83", "has a newline or an invisible character"),
            ("zq9kif\u200b83", "has a newline or an invisible character"),
            ("zq9kif\x0083", "has a newline or an invisible character"),
            ("zq9kif\udc8083", "has a newline or an invisible character"),
            ("zq9kif8", "has fewer than 8 characters"),
            ('""', "has nothing but blanks and quotes"),
            ("' '\n", "has nothing but blanks and quotes"),
        ],
    )
    def test_defect_is_named(self, text: str, message: str) -> None:
        """What is around a value, or cannot be seen in it, is a format defect."""
        assert judge(Material.opaque(), text) == ("format", message)

    def test_fix_of_a_newline_blank_or_quotes(self) -> None:
        """A value that is right but for what is around it has a fix of its own."""
        fixes = [Material.opaque().fault(f"{each}zq9kif83{each}") for each in ("\n", " ", '"')]
        assert [each.fix for each in fixes if each] == [
            "set {} without the newline (printf %s writes none; echo does)",
            "set {} without the blank",
            "set {} without the quotes (docker --env-file keeps them)",
        ]

    @pytest.mark.parametrize(
        ("kind", "text", "expected"),
        [
            (Material.opaque(prefix="whsec_live_"), "whsec_live_8kq2", ("", "")),
            (Material.opaque(prefix="whsec_live_"), "whsec_test_8kq2", ("format", "does not begin with whsec_live_")),
            (
                Material.opaque(prefix="zq9-83-"),
                "zq9-83-op://vault\n",
                ("placeholder", "is a reference that nobody resolved (op://)"),
            ),
            (Material.opaque(prefix="a" * 9), "a" * 9, ("placeholder", "is a placeholder")),
            (Material.opaque(pattern="[0-9]{4}-.*"), "8374-kif!", ("", "")),
            *(
                (
                    Material.opaque(pattern="[0-9]{4}-.*"),
                    each,
                    ("format", "does not match the pattern of its declaration"),
                )
                for each in ("8374629105", "x8374-kif")
            ),
        ],
    )
    def test_prefix_and_pattern_are_required(self, kind: Kind, text: str, expected: tuple[str, str]) -> None:
        """A value begins with the prefix, and is matched by the pattern as a whole. After a prefix is no template."""
        assert judge(kind, text) == expected

    @pytest.mark.parametrize(
        ("minimum", "length", "message"),
        [
            (40, 39, "has 39 characters, not 40 or more"),
            (40, 16, "has 16 characters, not 40 or more"),
            (40, 15, "has fewer than 16 characters"),
            (16, 15, "has fewer than 16 characters"),
            (12, 11, "has fewer than 12 characters"),
            (12, 12, ""),
            (40, 40, ""),
            (4, 4, ""),
        ],
    )
    def test_length_below_16_is_not_told(self, minimum: int, length: int, message: str) -> None:
        """A length below 16 is not told exactly."""
        assert judge(Material.opaque(minimum), "9kZq7Lw2xPv0Rt3Ym8Bn5Hs1Dc6Fg4Jj2Kk7Ll9Qa"[:length])[1] == message

    def test_no_temporary_value_of_a_contradiction(self) -> None:
        """Where no text of the pattern has the prefix or the length, the error says so."""
        with pytest.raises(ValueError, match="no text of it begins with the prefix and has the length"):
            Material.opaque(prefix="kif-", pattern="[0-9]{8}").temporary()


class TestComments:
    """A comment that was copied with the value."""

    @pytest.mark.parametrize(
        "comment",
        [" # the key", "\t# the key", " #", " #key", " // the key", " //", "  # key of 2026"],
    )
    def test_comment_after_a_value_is_a_defect(self, comment: str) -> None:
        """A comment after a value is a format fault, and its fix keeps the value. A template below it is one."""
        fault = Material.opaque().fault(f"zq9Kif83w7{comment}")
        assert fault == Fault("format", COMMENT[1], "set {} to the value alone, without the comment")
        assert judge(Material.opaque(), f"changeme{comment}") == ("placeholder", "is a placeholder")

    @pytest.mark.parametrize(
        "text", ["zq9 #83kif2", "zq9Kif83#kif", "#zq9Kif83", "zq9Kif//w7", "zq9 kif #7", "//zq9Kif8"]
    )
    def test_other_marks_are_a_part_of_the_value(self, text: str) -> None:
        """A # or // with no blank before it, or with more than letters after it, is a part of a password."""
        assert judge(Material.opaque(), text) == ("", "")


class TestName:
    """A name of a variable that was copied with the value."""

    @pytest.mark.parametrize(
        "before",
        [
            *(
                "SHOP_SECRET=",
                "shop_secret=",
                "SHOP_SECRET: ",
                "SHOP_SECRET=  ",
                "export SHOP_SECRET=",
                "SHOP_SECRET =",
            ),
            *("OTHER_SECRET=", "OTHER_SECRET: ", "export OTHER_SECRET=", "set OTHER_SECRET=", "ENV OTHER_SECRET="),
            *("$env:OTHER_SECRET=", "APP2_KEY="),
        ],
    )
    @pytest.mark.parametrize("quote", ["", "'", '"'])
    def test_name_in_front_is_a_defect(self, before: str, quote: str) -> None:
        """A name in front of a value is a format fault, and its fix keeps the value. A template behind it is one."""
        fault = Material.opaque().fault(f"{before}{quote}zq9Kif83w7{quote}", "SHOP_SECRET")
        assert fault == Fault("format", NAME[1], "set {} to the value alone, without the name")
        assert judge(Material.opaque(), f"{before}{quote}changeme{quote}") == ("placeholder", "is a placeholder")

    @pytest.mark.parametrize(
        "text", ["AB_CD=zq9Kif83", "KEY=zq9Kif83", "ZQ9KIF_83W7==", "SHOP-SECRET=zq9", "Shop_Key=zq9Kif83"]
    )
    def test_other_text_is_a_part_of_the_value(self, text: str) -> None:
        """Text before a = that is not the name of this or of a usual variable is a part of a password."""
        assert judge(Material.opaque(), text) == ("", "")

    def test_own_name_is_known_in_any_form(self) -> None:
        """The variable's own name needs no underscore."""
        assert judge(Material.opaque(), "TOKEN=zq9Kif83", "TOKEN") == NAME
        assert judge(Material.opaque(), "TOKEN=zq9Kif83", "") == ("", "")

    @pytest.mark.parametrize("kind", [Material.url(), Material.pem(), Material.json("a")], ids=["url", "pem", "json"])
    def test_it_is_a_defect_of_each_kind(self, kind: Kind) -> None:
        """A name in front of a URL, PEM or JSON is a defect too."""
        assert judge(kind, f"SHOP_SECRET={kind.temporary()}") == NAME


class TestTwice:
    """A value that was pasted twice."""

    @pytest.mark.parametrize("between", ["", " ", ",", ";", "\n", ", ", "\r\n"])
    def test_value_that_is_there_twice(self, between: str) -> None:
        """A value that is there twice, also with a separator between, is a format fault with its own fix."""
        fault = Material.opaque().fault(f"zq9Kif83{between}zq9Kif83")
        assert fault == Fault("format", TWICE[1], "set {} to the value once")

    @pytest.mark.parametrize(
        "text", ["zq9Kif8zq9Kif8", "zq9Kif83--zq9Kif83", "zq9Kif83-zq9Kif83", "zq9Kif83 - zq9Kif83"]
    )
    def test_other_repetition_passes(self, text: str) -> None:
        """Fewer than 8 characters twice, and others between, are a password."""
        assert judge(Material.opaque(), text) == ("", "")

    @pytest.mark.parametrize("kind", [Material.url(), Material.pem(), Material.key()], ids=["url", "pem", "key"])
    def test_it_is_a_defect_of_each_kind(self, kind: Kind) -> None:
        """A URL, PEM or a key that is there twice is refused for that."""
        assert judge(kind, kind.temporary() * 2) == TWICE


class TestQuotes:
    """Quotes around a value."""

    @pytest.mark.parametrize("quotes", ["''", '""', "``", "\u2018\u2019", "\u201c\u201d"])
    def test_pair_of_quotes_is_a_defect(self, quotes: str) -> None:
        """A pair of quotes around a value is a format fault, also of the kinds that a word processor writes."""
        assert judge(Material.opaque(), f"{quotes[0]}zq9Kif83{quotes[1]}") == ("format", "has quotes around it")

    @pytest.mark.parametrize("text", ["'zq9Kif83", "zq9Kif83'", "'zq9Kif83\"", "\u2019zq9Kif83\u2018"])
    def test_single_quote_is_a_part_of_the_value(self, text: str) -> None:
        """A quote at one end alone, or another one at the other end, is a part of a password."""
        assert judge(Material.opaque(), text) == ("", "")


def test_faults_are_those_of_a_subclass() -> None:
    """A kind without a format of its own refuses templates and what is around a value."""

    class Anything(Issued):
        """Any text."""

    assert judge(Anything(), "zq9") == ("", "")
    assert judge(Anything(), "changeme")[0] == "placeholder"
    with pytest.raises(NotImplementedError):
        Anything().temporary()


@pytest.mark.parametrize(
    ("above", "value", "expected"),
    [
        ("# The key of billing\n\n", "your_key_here\n", ("placeholder", "is a placeholder")),
        ("#see below\r\n", "<token>", ("placeholder", "is a placeholder")),
        ("# example.org\n", "kif83-w7Lp2-Xv0zz\n", COMMENT),
        ("", "# Ask Anna for the key\n", ("placeholder", "has nothing but comments")),
        ("# The key\n", "#of billing", ("placeholder", "has nothing but comments")),
        ("", "#zq9Kif83-w7Lp2", ("", "")),
        ("", "# zq9Kif83-w7Lp2", COMMENT),
        ("// ", "zq9Kif83-w7Lp2", COMMENT),
    ],
)
def test_comments_are_those_of_a_copied_template(above: str, value: str, expected: tuple[str, str]) -> None:
    """A copied template is one whatever its comments say. A value under a comment is none, and is refused."""
    assert judge(Material.opaque(), above + value) == expected


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        (Material.url("postgresql"), "postgresql://orders_rw:changeme@db.internal:5432/orders"),
        (Material.pem(), "-----BEGIN PRIVATE KEY-----\n<key>\n-----END PRIVATE KEY-----"),
        (Material.json("private_key"), '{\n  "private_key": "your-private-key"\n}'),
    ],
)
def test_template_of_each_kind_may_have_comments(kind: Kind, template: str) -> None:
    """Below its comments, a template of a URL, PEM or JSON is judged as without them."""
    assert judge(kind, f"# Where it is used\n{template}\n") == judge(kind, template)
    assert judge(kind, template)[0] == "placeholder"


@pytest.mark.parametrize(
    "kind",
    [
        *KINDS,
        Material.opaque(200),
        *(Material.opaque(pattern=each) for each in ("[0-9]{9}", "[0-9a-f]{64}", "[A-Z]{12}", "[a-z]{20}")),
        Material.opaque(prefix="AC", pattern="AC[0-9a-f]{32}"),
        Material.opaque(prefix="kif-", pattern="kif-[0-9a-f]{6}"),
    ],
    ids=repr,
)
def test_temporary_value_is_random_and_passes(kind: Kind) -> None:
    """A temporary value of each kind is random and passes. Its secret parts are searched. Keys have a fingerprint."""
    one, other = kind.temporary(), kind.temporary()
    assert (one != other, judge(kind, one), kind.has_fingerprint) == (True, ("", ""), "AnyKey" in repr(kind))
    assert all(part and part in one for part in kind.searched(one))


@given(st.sampled_from(KINDS), st.text(max_size=60), st.sampled_from([*KINDS, None]), st.integers(0, 200))
def test_no_fault_shows_a_part_of_the_value(kind: Kind, text: str, base: Kind | None, at: int) -> None:
    """Whatever the value is, the result is a fault of constants or nothing. No exception leaves."""
    whole = base.temporary() if base else ""
    value = f"{whole[:at]}{text}{whole[at:]}"
    fault = kind.fault(value, "SHOP_SECRET")
    assert fault is None or (fault.check in {"placeholder", "format", "weak"} and fault.message.isascii())
    parts = base.searched(whole) if base else ()
    shown = f"{fault.message}{fault.fix}".replace("sk_live_", "") if fault else ""
    hidden = [part.removeprefix("sk_live_") for part in parts]  # a declared prefix may be shown
    assert not any(part[start : start + 6] in shown for part in hidden for start in range(len(part) - 5))


@pytest.mark.parametrize(
    ("make", "arguments", "named", "why"),
    [
        *((Material.opaque, (), {"minimum": each}, "opaque minimum: ") for each in (3, True, "8")),
        *((Material.opaque, (), {"prefix": each}, "opaque prefix: ") for each in ("a\n", " a", None, "\u00e9")),
        *((Material.opaque, (), {"pattern": each}, "opaque pattern: ") for each in ("(", 8)),
        *((Material.url, (), {"passwordless": each}, "url passwordless: true or false") for each in (1, "yes", None)),
        *((Material.key, (), {"minimum": each}, "key minimum: ") for each in (15, True, "32")),
        *((Material.key, (), {"prefix": each}, "key prefix: ") for each in ("a\n", " a", None, "\u00e9")),
        *((Material.url, (each,), {}, "url: schemes in lower case") for each in ("", "Redis", "redis://", b"redis")),
        (Material.url, ("redis", "1a"), {}, "url: schemes in lower case"),
        *((Material.json, (each,), {}, "json: names in printable") for each in ("", "a b", "a\n", 7)),
    ],
    ids=range(28),
)
def test_invalid_declaration(make: Callable[..., Kind], arguments: Any, named: dict[str, Any], why: str) -> None:
    """An invalid declaration is an error where the kind is made."""
    with pytest.raises(ValueError, match=f"Material.{why}"):
        make(*arguments, **named)
