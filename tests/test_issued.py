"""The kinds of secrets that somebody else issues."""

from __future__ import annotations

import ast
import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard import Fault, Kind, Material
from robodj_secretguard.secret.issued import LEGACY

RNG = random.Random(31)  # noqa: S311 - the same values in each run


def pem(label: str = "PRIVATE KEY", size: int = 1190) -> str:
    """Make a PEM block of random bytes."""
    body = base64.encodebytes(b"\x30\x82" + RNG.randbytes(size)).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n"


MATERIALS = Path(__file__).with_name("materials.tsv").read_text(encoding="utf-8")
ROWS = [line.split("\t") for line in MATERIALS.splitlines() if not line.startswith("#")]
KEY = pem("RSA PRIVATE KEY", 90)
ENCODE = "set {} with the special characters of its password percent-encoded (%2F is /)"
LABEL = "does not have the label ... PRIVATE KEY"
BEGIN, END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
A_KEY = "has a member private_key that"
NO_END = "has no END line with the label of its BEGIN line"
NO_BODY = "has a body that is not base64 of 32 bytes or more"
NO_LOGIN = "has no password, and no user of 16 characters or more"


def declared(declaration: str) -> Kind:
    """Return the kind of a declaration, which is written as after `Material.`."""
    call = ast.parse(declaration, mode="eval").body
    assert isinstance(call, ast.Call)
    arguments = [ast.literal_eval(each) for each in call.args]
    named = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
    kind: Kind = getattr(Material, ast.unparse(call.func))(*arguments, **named)
    return kind


def judge(kind: Kind, text: str, variable: str = "SHOP_SECRET") -> tuple[str, str]:
    """Return the check and the message of a fault."""
    fault = kind.fault(text, variable)
    return (fault.check, fault.message) if fault else ("", "")


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] == "refuse"], ids=lambda row: row[2])
def test_template_of_a_public_project_is_refused(row: list[str]) -> None:
    """Each template is refused, and nearly all of them as a placeholder."""
    text = json.loads(row[2])
    malformed = {"db.shop.internal:5432", "redis://localhost:6379/0", "-----BEGIN PRIVATE KEY-----", "{}", "[]"}
    assert judge(declared(row[1]), text)[0] == ("format" if text in malformed else "placeholder")


class TestOpaque:
    """`Material.opaque()`."""

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
            *((Material.opaque(pattern="[0-9]{9}|[0-9]{4}-.*"), each, ("", "")) for each in ("837462910", "8374-kif!")),
            *(
                (
                    Material.opaque(pattern="[0-9]{9}|[0-9]{4}-.*"),
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

    def test_no_temporary_value_of_an_unusual_pattern(self) -> None:
        """Where no random text matches the pattern, the error says what to declare."""
        with pytest.raises(ValueError, match="declare how each value begins as prefix"):
            Material.opaque(pattern="kif-[0-9]{8}").temporary()


URL = "postgresql://orders_rw:zq9Kif83w@db:5432/orders"


class TestUrl:
    """`Material.url()`."""

    kind = Material.url("postgresql", "redis", "https")

    @pytest.mark.parametrize(
        "text",
        [
            URL,
            URL.replace("postgresql", "PostgreSQL"),
            "redis://:zq9Kif83w@cache",
            "postgresql://a:zq9Kif83w@h1:27017,h2:27017/db?x=y@z#f",
            "postgresql://a:zq9Kif83w@[::1]:5432/db",
            "postgresql://a:zq9Kif83w@[fd00::1]",
            "postgresql://a:zq9Kif83w@%2Fvar%2Frun/db",
            "postgresql://a:zq9Kif83w@/db?host=/var/run",
            "redis://a:zq9Kif83w@/run/redis.sock",
            "postgresql://a%40b.net:zq9%40Kif:83w@db",
            "https://8c4f2a9d1b7e6035@sentry.shop.net/7",
            "postgresql://postgres:zq9Kif83w@localhost/test",
            "postgresql://db_user:zq9Kif83w@db/db",
            "postgresql://test-user:zq9Kif83w@db/db",
            "redis://admin%40shop.net:zq9Kif83w@db",
            "redis://test.user:zq9Kif83w@db",
        ],
    )
    def test_url_with_a_password_passes(self, text: str) -> None:
        """A URL of a declared scheme with a host and a password passes, whatever else it has."""
        assert judge(self.kind, text) == ("", "")

    @pytest.mark.parametrize(
        ("login", "message"),
        [
            ("orders:", "has an empty password"),
            (":", "has an empty password"),
            ("orders:ORDERS", "has the user's name as its password"),
            ("a%40b.net:a@b.net", "has the user's name as its password"),
            ("orders:Guest", "has a vendor's default password"),
            (":foobared", "has a vendor's default password"),
            ("orders:${DB_PASSWORD:-x/y?z}", "has a password that is a shell variable that nobody replaced"),
            ("orders:%3Cpassword%3E", "has a password that is a placeholder"),
            ("orders:SHOP_SECRET", "has a password that is the name of a variable"),
            ("orders:xxxx", "has a password that is a placeholder"),
            ("<user>:zq9Kif83w", "has a user that is a placeholder"),
            ("your_user:zq9Kif83w", "has a user that is a placeholder"),
            ("<key>", "has a user that is a placeholder"),
            ("XXXX", "has a user that is a placeholder"),
            ("examplePublicKey", "has a user that is a placeholder"),
        ],
    )
    def test_template_of_a_password_or_a_user_is_refused(self, login: str, message: str) -> None:
        """A template or a default as the password is a placeholder, also decoded, and so is one as the user."""
        assert judge(self.kind, f"postgresql://{login}@db/orders") == ("placeholder", message)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("$DATABASE_URL", "is a shell variable that nobody replaced"),
            ("op://shop/database/url", "is a reference that nobody resolved (op://)"),
            ("postgresql://...", "is a placeholder"),
            ("postgresql://<connection>", "is a placeholder"),
            ("your-database-url", "is a placeholder"),
        ],
    )
    def test_template_of_a_url_is_refused(self, text: str, message: str) -> None:
        """A template in place of the URL, or of what is after its scheme, is a placeholder."""
        assert judge(self.kind, text) == ("placeholder", message)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (f"{URL}\n", "has a newline at the end"),
            (f" {URL}", "has a blank at the beginning or end"),
            (f'"{URL}"', "has quotes around it"),
            (URL.replace("postgresql", "mysql"), "is not a URL of postgresql or redis or https"),
            ("orders_rw:zq9Kif83w@db", "is not a URL of postgresql or redis or https"),
            (URL.replace("Kif", "Kif 7"), "has a blank, or a password with /, ? or # in it"),
            ("redis://localhost:6379/0", NO_LOGIN),
            ("redis://a...", NO_LOGIN),
            ("redis://localhost:6379/0?x=a@b", NO_LOGIN),
            ("redis://orders@localhost", NO_LOGIN),
            ("https://8c4f2a9d1b7e603@sentry.shop.net/7", NO_LOGIN),
            ("postgresql://orders_rw:zq9Kif83w@:5432/orders", "has no host"),
            ("postgresql://orders_rw:zq9Kif83w@/orders", "has no host"),
            ("postgresql://orders_rw:zq9Kif83w@", "has no host"),
            ("postgresql://orders_rw:zq9Kif83sock@/orders", "has no host"),
        ],
    )
    def test_malformed_url_is_refused(self, text: str, message: str) -> None:
        """A URL of another scheme, or without a password or a host, is malformed."""
        assert judge(self.kind, text) == ("format", message)

    def test_any_scheme(self) -> None:
        """Without declared schemes, a URL of any scheme passes, but no reference."""
        kind = Material.url()
        assert judge(kind, kind.temporary()) == judge(kind, URL.replace("postgresql", "mysql+x.y")) == ("", "")
        assert {judge(kind, text) for text in ("orders:zq9Kif83w@db", "kif")} == {("format", "is not a URL")}
        assert judge(kind, "op://shop/database/url")[0] == "placeholder"

    @pytest.mark.parametrize("special", ["/", "?", "#"])
    def test_special_character_in_a_password_is_encoded(self, special: str) -> None:
        """A special character in a password is percent-encoded, and the fix says so."""
        text = URL.replace("Kif", f"Kif{special}")
        assert self.kind.fault(text) == Fault("format", "has a blank, or a password with /, ? or # in it", ENCODE)
        assert judge(self.kind, URL.replace("Kif", f"Kif{quote(special, safe='')}")) == ("", "")
        assert judge(self.kind, URL.replace("Kif", "Kif@")) == ("", "")  # parsers take the last one

    def test_searched_is_the_password(self) -> None:
        """What is searched is the password, as it is written and decoded, or the user without one."""
        assert self.kind.searched(URL) == ("zq9Kif83w",)
        assert self.kind.searched("redis://:zq9%40Kif@db") == ("zq9%40Kif", "zq9@Kif")
        assert self.kind.searched("https://8c4f2a9d1b7e6035@sentry.shop.net/7") == ("8c4f2a9d1b7e6035",)


class TestPem:
    """`Material.pem()`."""

    kind = Material.pem()

    @pytest.mark.parametrize(
        "text",
        [
            KEY,
            KEY.strip(),
            KEY.replace("\n", "\r\n"),
            KEY.replace("\n", "\\n"),
            KEY.replace("\n", "\\r\\n"),
            KEY.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0F\n\n", 1),
            KEY.replace("RSA ", "ENCRYPTED "),
            KEY.replace("RSA ", ""),
            f"\n  {KEY}  \n",
        ],
    )
    def test_private_key_passes(self, text: str) -> None:
        r"""A private key passes with any newlines, also as `\n`, with the headers of an encrypted one too."""
        assert judge(self.kind, text) == ("", "")

    def test_body_has_32_bytes_or_more(self) -> None:
        """A body of fewer bytes is no key."""
        assert judge(self.kind, pem(size=30)) == ("", "")
        assert judge(self.kind, pem(size=29)) == ("placeholder", NO_BODY)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("your-private-key", ("placeholder", "is a placeholder")),
            ("/run/secrets/key.pem", ("placeholder", "is a path, not the content of the file")),
            ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", ("placeholder", NO_BODY)),
            (f"{BEGIN}\n{'A' * 64}\n{'A' * 64}\n{END}", ("placeholder", "has a body that is a placeholder")),
            (f"{BEGIN}\nyour key here\n{END}", ("placeholder", "has a body that is a placeholder")),
            (KEY.replace("MII", "M!I").replace("A", "!"), ("placeholder", NO_BODY)),
            (f'"{KEY.strip()}"', ("format", "has quotes around it")),
            (KEY.replace("RSA", "RSA\u200b"), ("format", "has a newline or an invisible character")),
            (f"Bag Attributes\n{KEY}", ("format", "does not begin with -----BEGIN")),
            ("zq9Kif83w", ("format", "does not begin with -----BEGIN")),
            (KEY[:100], ("format", NO_END)),
            (KEY.replace("END RSA", "END EC"), ("format", NO_END)),
            (KEY.replace("PRIVATE", "PUBLIC"), ("format", LABEL)),
            (KEY.replace("RSA PRIVATE KEY", "CERTIFICATE"), ("format", LABEL)),
            (KEY + KEY, ("format", "has more than one PEM block")),
            (f"{BEGIN}\n", ("format", "has its first line alone")),
            (KEY.replace("\n", " "), ("format", "has blanks or backslashes in place of newlines")),
            (KEY.replace("\n", "\\\\n"), ("format", "has blanks or backslashes in place of newlines")),
        ],
    )  # fmt: skip
    def test_other_text_is_refused(self, text: str, expected: tuple[str, str]) -> None:
        """Text that is not one block with a private key is refused for what it is."""
        assert judge(self.kind, text) == expected

    def test_label_is_one_of_those_declared(self) -> None:
        """With labels, no other is accepted, and these are named."""
        kind = Material.pem("EC PRIVATE KEY", "CERTIFICATE")
        assert judge(kind, KEY) == ("format", "does not have the label EC PRIVATE KEY or CERTIFICATE")
        assert judge(kind, KEY.replace("RSA PRIVATE KEY", "CERTIFICATE")) == ("", "")

    def test_searched_are_the_lines_of_the_body(self) -> None:
        """What is searched are the lines of the body."""
        lines = tuple(KEY.splitlines()[1:-1])
        assert self.kind.searched(KEY) == self.kind.searched(KEY.replace("\n", "\\n")) == lines


class TestJson:
    """`Material.json()`."""

    kind = Material.json("private_key", "email")

    @pytest.mark.parametrize("end", ["}", "}\n", f', "m": {"9" * 5000}, "f": 1e{"9" * 500}}}'], ids=range(3))
    def test_object_passes_with_anything_else(self, end: str) -> None:
        """An object with the members passes, with any other members, a newline at the end and indentation."""
        members: dict[str, Any] = {
            "private_key": KEY,
            "email": "kif@shop.net",
            "n": [1, 2.5, None, {"a": {}}],
            "email2": "",
        }
        assert judge(self.kind, json.dumps(members, indent=2)[:-2] + end) == ("", "")

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"email": ""}, ("placeholder", "has a member email that is empty")),
            ({"email": " "}, ("placeholder", "has a member email that is empty")),
            ({"email": "you@example.com"}, ("placeholder", "has a member email that is a placeholder")),
            ({"private_key": KEY[:90]}, ("format", f"{A_KEY} {NO_END}")),
            ({"private_key": KEY.replace(KEY[40:90], "...")}, ("placeholder", f"{A_KEY} {NO_BODY}")),
            ({"private_key": KEY.replace("PRIVATE", "PUBLIC")}, ("", "")),
            ({"private_key": KEY.replace("\n", "\\n")}, ("format", f"{A_KEY} has newlines that were escaped twice")),
            ({"email": 7}, ("format", "has a member email that is not a text")),
            ({"email": None}, ("format", "has a member email that is not a text")),
            ({"email": "zq9Kif83w7\ud800"}, ("format", "has a member email that is not a text")),
            ({"email": {"email": "kif"}}, ("format", "has a member email that is not a text")),
            ({"private_key": 7, "email": "changeme"}, ("placeholder", "has a member email that is a placeholder")),
        ],
    )  # fmt: skip
    def test_member_is_judged(self, changes: dict[str, Any], expected: tuple[str, str]) -> None:
        """Each declared member is a text that is no template. A private key is judged as one."""
        assert judge(self.kind, json.dumps({"private_key": KEY, "email": "kif@shop.net"} | changes)) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{{ credentials }}", ("placeholder", "is a placeholder")),
            ("SHOP_SECRET", ("placeholder", "is the name of a variable")),
            ('["kif"]', ("format", "is not a JSON object")),
            ('"kif"', ("format", "has quotes around it")),
            ("{'private_key': 'kif'}", ("format", "is not a JSON object")),
            ('{"a": ' * 50_000 + "1", ("format", "is not a JSON object")),
            (
                '\ufeff{"private_key": "zq9Kif83w", "email": "kif"}',
                ("format", "has a newline or an invisible character"),
            ),
            ('{"private_key": "zq9Kif83w"}', ("format", "has no member email")),
            ('\'{"private_key": "zq9Kif83w"}\'', ("format", "has quotes around it")),
        ],
    )
    def test_other_text_is_refused(self, text: str, expected: tuple[str, str]) -> None:
        """Text that is not a JSON object with each member is refused for what it is."""
        assert judge(self.kind, text) == expected

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"username": "your-user"}, ("placeholder", "has a member that is a placeholder")),
            ({"password": ""}, ("placeholder", "has a member that is empty")),
            (
                {"web": {"tokens": [{"client_secret": "changeme"}]}},
                ("placeholder", "has a member that is a placeholder"),
            ),
        ],
    )
    def test_any_member(self, changes: dict[str, Any], expected: tuple[str, str]) -> None:
        """Without declared members, a secret name or a clear template shows a fault, and no message has a name."""
        kind, good = Material.json(), {"username": "admin", "password": "zq9Kif83w", "dbname": "test", "port": 5432}
        assert (judge(kind, json.dumps(good)), kind.searched(json.dumps(good))) == (("", ""), ("zq9Kif83w",))
        assert judge(kind, kind.temporary()) == ("", "")
        assert judge(kind, json.dumps(good | changes)) == expected

    def test_object_without_a_text(self) -> None:
        """Without declared members, an object has a text."""
        assert judge(Material.json(), '{"port": 5432, "hosts": [{}]}') == ("format", "has no member that is a text")

    def test_searched_are_the_members(self) -> None:
        """What is searched are the declared members without an e-mail address, and the lines of a private key."""
        text = json.dumps({"private_key": KEY, "email": "kif", "other": "fry"})
        assert self.kind.searched(text) == (*KEY.splitlines()[1:-1], "kif")
        assert self.kind.searched(text.replace("kif", "kif@shop.net")) == tuple(KEY.splitlines()[1:-1])


@pytest.mark.parametrize(
    ("make", "arguments", "named", "why"),
    [
        *((Material.opaque, (), {"minimum": each}, "opaque minimum: ") for each in (3, True, "8")),
        *((Material.opaque, (), {"prefix": each}, "opaque prefix: ") for each in ("a\n", " a", None, "\u00e9")),
        *((Material.opaque, (), {"pattern": each}, "opaque pattern: ") for each in ("(", 8)),
        *((Material.url, (each,), {}, "url: schemes in lower case") for each in ("", "Redis", "redis://", b"redis")),
        (Material.url, ("redis", "1a"), {}, "url: schemes in lower case"),
        *((Material.pem, (each,), {}, "pem: labels in capitals") for each in ("", "rsa", " KEY", 7)),
        *((Material.json, (each,), {}, "json: names in printable") for each in ("", "a b", "a\n", 7)),
    ],
    ids=range(22),
)
def test_invalid_declaration(make: Callable[..., Kind], arguments: Any, named: dict[str, Any], why: str) -> None:
    """An invalid declaration is an error where the kind is made."""
    with pytest.raises(ValueError, match=f"Material.{why}"):
        make(*arguments, **named)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zq9Kif83w7Lp2Xv0", ("", "")),
        ("'zq9 Kif83w7Lp2X'", ("", "")),
        ("kif leela zapp fry ", ("", "")),
        ("\u043f" * 3 + "zq9Kif83w7Lp2", ("", "")),
        ("django-insecure-8f%k2", ("placeholder", "is a key that django-admin startproject wrote")),
        ("change-me-please-now", ("placeholder", "is a placeholder")),
        ("zq9Kif83w7Lp2Xv", ("format", "has fewer than 16 characters")),
        ("zq9Kif83w7Lp2Xv0\n", ("format", "has a newline at the end")),
        ("-----BEGIN PRIVATE KEY-----", ("format", "is the first line of a PEM block")),
        ("zq9Kif83\nw7Lp2Xv0", ("format", "has a newline or an invisible character")),
    ],
)
def test_printable_text_of_16_characters_passes(text: str, expected: tuple[str, str]) -> None:
    """Any printable text of 16 characters passes, also with blanks and quotes around it. No template does."""
    assert judge(LEGACY, text) == expected


KINDS = [
    Material.opaque(),
    Material.opaque(4, "sk_live_"),
    Material.url("postgresql"),
    Material.pem(),
    Material.pem("RSA PRIVATE KEY"),
    Material.json("private_key", "email"),
]


@pytest.mark.parametrize(
    ("above", "value", "expected"),
    [
        ("# The key of billing\n\n", "your_key_here\n", ("placeholder", "is a placeholder")),
        ("#see below\r\n", "<token>", ("placeholder", "is a placeholder")),
        ("# example.org\n", "kif83-w7Lp2-Xv0zz\n", ("format", "has comments next to its value")),
        ("", "# Ask Anna for the key\n", ("placeholder", "has nothing but comments")),
        ("# The key\n", "#of billing", ("placeholder", "has nothing but comments")),
        ("", "#zq9Kif83-w7Lp2", ("", "")),
        ("", "# zq9Kif83-w7Lp2", ("", "")),
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
    """A temporary value of each kind is random and passes. Its secret parts are searched. It has no fingerprint."""
    one, other = kind.temporary(), kind.temporary()
    assert (one != other, judge(kind, one), kind.has_fingerprint) == (True, ("", ""), False)
    assert all(part and part in one for part in kind.searched(one))


def test_temporary_value_has_the_first_scheme_and_label() -> None:
    """A temporary value is of the first scheme or label that is declared."""
    assert Material.url("redis", "rediss").temporary().startswith("redis://")
    assert Material.pem("EC PRIVATE KEY", "PRIVATE KEY").temporary().startswith("-----BEGIN EC PRIVATE KEY-----\n")


@given(st.sampled_from(KINDS), st.text(max_size=60), st.sampled_from([*KINDS, None]), st.integers(0, 200))
def test_no_fault_shows_a_part_of_the_value(kind: Kind, text: str, base: Kind | None, at: int) -> None:
    """Whatever the value is, the result is a fault of constants or nothing. No exception leaves."""
    whole = base.temporary() if base else ""
    value = f"{whole[:at]}{text}{whole[at:]}"
    fault = kind.fault(value, "SHOP_SECRET")
    assert fault is None or (fault.check in {"placeholder", "format"} and fault.message.isascii())
    parts = base.searched(whole) if base else ()
    shown = f"{fault.message}{fault.fix}".replace("sk_live_", "") if fault else ""  # the prefix is declared
    hidden = [part.removeprefix("sk_live_") for part in parts]  # a declared prefix may be shown
    assert not any(part[start : start + 6] in shown for part in hidden for start in range(len(part) - 5))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("postgresql://app:app123@db/x", "has the user's name as its password"),
        ("postgresql://app:%20@db/x", "has an empty password"),
        ("postgresql://app:1234@db/x", "has a vendor's default password"),
        ("postgresql://app:{}@<host>/x", "has a host that is a placeholder"),
    ],
)
def test_login_or_host_that_nobody_set_is_a_placeholder(value: str, message: str) -> None:
    """The user's name with a number, a blank, a row of digits and a host in brackets are no real login."""
    assert judge(Material.url("postgresql"), value.format(token_urlsafe(12))) == ("placeholder", message)


def test_block_before_the_key_is_named() -> None:
    """OpenSSL writes parameters before an EC key. The fix is to leave them out, and not to issue a new key."""
    key = Material.pem("EC PRIVATE KEY").temporary()
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    fault = Material.pem().fault(parameters + key)
    assert fault == Fault("format", "has more than one PEM block", "set {} to the block of the private key alone")
