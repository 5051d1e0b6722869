"""The words and phrases of templates."""

from __future__ import annotations

import re

from robodj_secretguard.secret.material import (
    _BEGINNINGS,
    DEFAULTS,
    MAX_WORD,
    MIN_WORD,
    PHRASES,
    is_hexadecimal,
    listed_words,
)


class TestLists:
    """The lists."""

    def test_words_have_valid_lengths_and_are_not_hexadecimal(self) -> None:
        """Every word has a valid length, and none is hexadecimal, as a key may be."""
        assert {MIN_WORD, MAX_WORD} == {min(map(len, listed_words())), max(map(len, listed_words()))}
        assert all(word.isascii() and word.isalpha() and word.islower() for word in (*listed_words(), *PHRASES))
        assert not any(map(is_hexadecimal, (*listed_words(), *PHRASES)))
        assert {each[:MIN_WORD] for each in (*listed_words(), *PHRASES)} == _BEGINNINGS

    def test_defaults_are_listed_as_digests_only(self) -> None:
        """The defaults of well-known projects are listed as digests only."""
        assert len(DEFAULTS) > 80
        assert all(re.fullmatch("[0-9a-f]{16}", each) for each in DEFAULTS)
