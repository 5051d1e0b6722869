"""Commands and counts in messages, and the text that operators may pass: one line without a possible key."""

from __future__ import annotations

import secrets
import shlex

import pytest
from conftest import V1, V2, good_keys

from robodj_secretguard.secret.texts import (
    GREEN,
    MOST_CHARACTERS,
    RED,
    YELLOW,
    ascii_text,
    command,
    count,
    is_environment,
    is_free_text,
    is_instance_name,
    listed,
    mark,
    option,
    shown_place,
    unpaint,
)


@pytest.mark.parametrize("text", ["dev", "staging", "prod", "prod-eu_2", "1", "a" * 31])
def test_environment(text: str) -> None:
    """The name of an environment has lower-case letters, digits, hyphens and underscores."""
    assert is_environment(text)


@pytest.mark.parametrize(
    "text", ["", "Prod", "PROD", " prod", "prod\n", "prod eu", "-prod", "_prod", "prod.eu", "pröd", "a" * 32]
)
def test_invalid_environment(text: str) -> None:
    """Any other character is invalid in the name of an environment, and so is a name as long as a key."""
    assert not is_environment(text)


@pytest.mark.parametrize(
    "text",
    [
        "Ada Lovelace <ada@robodj.example>",
        "SEC-1234: laptop stolen, see https://tracker.example/SEC-1234#note_5",
        "Zoë 李 🔑",
        "a3c6f0e2-9d51-4b7e-8f42-1c0d9e8b7a65",
        "the-words-of-a-long-slug-that-are-joined-by-hyphens-are-no-key",
        "authentication-service-eu",
        "SEC-1234-laptop-stolen-in-Paris",
        "backup-2027-01-31T09-00-00Z-of-prod",
        "radio.settings:ServiceSecretsForProduction2",
        "4f2a9c1e" * 5,
        "A3C6F0E2-9D51-4B7E-8F42-1C0D9E8B7A65",
        "x" * MOST_CHARACTERS,
        "0" * 63,
    ],
)
def test_free_text(text: str) -> None:
    """Names in any script, addresses, identifiers, and fewer hexadecimal digits than a key are allowed."""
    assert is_free_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "two\nlines",
        "a\ttab",
        "\x1b[2J",
        "\u202eright to left",
        "zero\u200bwidth",
        "line\u2028separator",
        "no text: \udc80",
        "nul\0",
        "x " * (MOST_CHARACTERS // 2) + "x",
        "0" * 64,
    ],
)
def test_invalid_free_text(text: str) -> None:
    """Empty text, a second line, an unprintable character, too many characters and a key's digits are refused."""
    assert not is_free_text(text)


@pytest.mark.parametrize("around", ["{}", "it was {}.", "(key={})", "key-{}", "{}\u00e9", "https://host/?k={}&x"])
def test_key_in_free_text(around: str) -> None:
    """A key is refused at any place in the text, and at any length."""
    keys = good_keys()
    for key in (keys[V1], keys[V2], keys[V2].upper(), secrets.token_hex(32), secrets.token_urlsafe(64)):
        assert not is_free_text(around.format(key))


def test_short_key_in_free_text() -> None:
    """Most base64url keys of 16 bytes are refused: those with digits and letters of both cases between each other."""
    keys = [secrets.token_urlsafe(16) for _ in range(1000)]
    refused = [key for key in keys if not is_free_text(f"it was {key}.")]
    assert len(refused) > 900  # 963 are expected
    changes = {4: "qkzweRTXvbQmhndp2tyawg", 5: "qkzweRTXvb1mhndp2tyawg"}
    assert {number: is_free_text(text) for number, text in changes.items()} == {4: True, 5: False}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Ada", "Ada"), ("Zoë", "Zo\\xeb"), ("李", "\\u674e"), ("🔑", "\\U0001f511"), ("\udc80", "\\udc80")],
)
def test_ascii_text(text: str, shown: str) -> None:
    """Every character that is not ASCII is escaped."""
    assert ascii_text(text) == shown


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        *((text, True) for text in ("api", "web-1:8000", "0", "A/b@c_d.e", "x" * 120)),
        *(
            (text, False)
            for text in ("", "-a", "a b", "a\n", "\u00e9", "x" * 121, secrets.token_urlsafe(32)[1:] + "z7")
        ),
    ],
    ids=range(12),
)
def test_instance(text: str, *, is_name: bool) -> None:
    """The name of a service or an instance has at most 120 characters of an address, and is no key."""
    assert is_instance_name(text) is is_name


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/srv/a b", "/srv/a b"), ("/srv/\u00e9", "/srv/\\xe9"), ("/a\nb", "PATH"), ("/{key}/a", "PATH")],
)
def test_place(path: str, shown: str) -> None:
    """A path is shown in ASCII, unless it has a character that is not printable, or may be a key."""
    assert shown_place(path.format(key=good_keys()[V1])) == shown


@pytest.mark.parametrize(
    ("line", "colour", "number", "first", "rest"),
    [
        ("ALERT: a: b", RED, 31, "ALERT:", " a: b"),
        ("ok", GREEN, 32, "ok", ""),
        ("WARNING: a", YELLOW, 33, "WARNING:", " a"),
    ],
)
def test_colour(line: str, colour: int, number: int, first: str, rest: str) -> None:
    """A line is coloured up to its first colon, and a stream without colours gets the text alone."""
    assert mark(line, colour) == f"\x1b[{number}m{first}\x1b[0m{rest}"
    assert unpaint(mark(line, colour)) == line


@pytest.mark.parametrize(
    ("texts", "line"), [("", ""), ("ab", "a, b"), ("abc", "a, b and 1 more"), ("abcd", "a, b and 2 more")]
)
def test_first_texts(texts: str, line: str) -> None:
    """The first texts are listed, and the others counted."""
    assert listed([*texts], 2) == line


@pytest.mark.parametrize(
    ("value", "words"), [("prod", ["--reason", "prod"]), ("-x", ["--reason=-x"]), ("a b", ["--reason", "a b"])]
)
def test_command(value: str, words: list[str]) -> None:
    """A command is quoted for a shell. A value that begins with a hyphen stays in the word of its option."""
    assert option("--reason", value) == words
    assert shlex.split(command("revoke", *option("--reason", value))) == ["robodj-secretguard", "revoke", *words]


@pytest.mark.parametrize(
    ("number", "many", "text"),
    [
        (0, "", "0 keys"),
        (1, "", "1 key"),
        (2, "", "2 keys"),
        (1, "sets of keys", "1 key"),
        (2, "sets of keys", "2 sets of keys"),
    ],
)
def test_count(number: int, many: str, text: str) -> None:
    """The number one has the singular. Any other number has an s, or the given plural."""
    assert count(number, "key", many) == text
