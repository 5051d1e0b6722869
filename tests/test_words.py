"""The words that templates are made of."""

from __future__ import annotations

import re

from robodj_secretguard.secret.words import COMMON, EXAMPLES, NOUNS, PAIRS, REFERENCES, VENDORS, WORTH


def test_words_are_compared_in_lower_case() -> None:
    """Every word is in lower case and without separators, as text is when it is compared."""
    assert all(word == word.lower() and word.isalnum() for word in {*WORTH, *NOUNS, *COMMON})
    assert all(word == word.lower() for word in VENDORS)


def test_neighbours_are_two_letters() -> None:
    """Usual neighbours are about a quarter of all pairs of letters, so random letters have few of them."""
    assert all(re.fullmatch("[a-z]{2}", pair) for pair in PAIRS)
    assert 150 < len(PAIRS) < 200


def test_examples_are_digests() -> None:
    """Examples of vendors are listed as digests, as a scanner would report them as text."""
    assert len(EXAMPLES) > 50
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in EXAMPLES)


def test_references_are_found_before_longer_ones() -> None:
    """No reference begins with another one, which would be named in its place."""
    lower = [each.lower() for each in REFERENCES]
    assert [one for one in lower for other in lower if one != other and one.startswith(other)] == []
