"""What operators may write: it is shown again, so it is one line, and no word of it could be a key."""

from __future__ import annotations

import secrets

import pytest
from conftest import V1, V2, good_keys

from robodj_secretguard.texts import MOST_CHARACTERS, ascii_text, is_environment, is_free_text


class TestEnvironment:
    """Its name, in one spelling."""

    @pytest.mark.parametrize("text", ["dev", "staging", "prod", "prod-eu_2", "1", "a" * 32])
    def test_a_name(self, text: str) -> None:
        """Lower-case letters, digits, hyphen and underscore."""
        assert is_environment(text)

    @pytest.mark.parametrize(
        "text", ["", "Prod", "PROD", " prod", "prod\n", "prod eu", "-prod", "_prod", "prod.eu", "pröd", "a" * 33]
    )
    def test_no_name(self, text: str) -> None:
        """Anything else, and what is long enough to be a key."""
        assert not is_environment(text)


class TestFreeText:
    """An operator's name, a ticket, a reason."""

    @pytest.mark.parametrize(
        "text",
        [
            "Ada Lovelace <ada@robodj.example>",
            "SEC-1234: laptop stolen, see https://tracker.example/SEC-1234#note_5",
            "Zoë 李 🔑",
            "a3c6f0e2-9d51-4b7e-8f42-1c0d9e8b7a65",
            "the-words-of-a-long-slug-that-are-joined-by-hyphens-are-no-key",
            "x" * MOST_CHARACTERS,
        ],
    )
    def test_a_line_of_text(self, text: str) -> None:
        """Names in any script, addresses and identifiers are kept."""
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
        ],
    )
    def test_what_could_forge_a_line_or_is_none(self, text: str) -> None:
        """One printable line that says something, and is no book."""
        assert not is_free_text(text)

    @pytest.mark.parametrize("around", ["{}", "it was {}.", "(key={})", "key-{}", "{}\u00e9", "https://host/?k={}&x"])
    def test_a_key(self, around: str) -> None:
        """Wherever it stands in the text, and however long it is: whoever pastes it there does not publish it."""
        keys = good_keys()
        for key in (keys[V1], keys[V2], keys[V2].upper(), secrets.token_hex(32), secrets.token_urlsafe(64)):
            assert not is_free_text(around.format(key))

    def test_digits_of_a_key(self) -> None:
        """As many hexadecimal ones in a row as a key has are none of a reason's."""
        assert is_free_text("0" * 63)
        assert not is_free_text("0" * 64)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Ada", "Ada"), ("Zoë", "Zo\\xeb"), ("李", "\\u674e"), ("🔑", "\\U0001f511"), ("\udc80", "\\udc80")],
)
def test_text_for_any_terminal(text: str, shown: str) -> None:
    """All but ASCII is escaped."""
    assert ascii_text(text) == shown
