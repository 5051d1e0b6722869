"""The words and phrases of templates, and how rarely a generated key looks like one."""

from __future__ import annotations

import re

import pytest

from robodj_secretguard import placeholders
from robodj_secretguard.material import MIN_COVERED, MIN_SHARE, MIN_TEXT_BYTES, is_hexadecimal, worth
from robodj_secretguard.placeholders import DEFAULTS, MAX_WORD, MIN_WORD, PHRASES, WORDS

DOCUMENTED = re.findall(r"(?m)^\| ([a-z ]+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", placeholders.__doc__ or "")
# Letters that a look-alike digit may replace.
LOOKALIKE = 3 / 62
LETTER = 2 / 62


class TestLists:
    """The lists."""

    def test_words(self) -> None:
        """Every word has a valid length, and none is hexadecimal, as a key may be."""
        assert {MIN_WORD, MAX_WORD} == {min(map(len, WORDS)), max(map(len, WORDS))}
        assert all(word.isascii() and word.isalpha() and word.islower() for word in (*WORDS, *PHRASES))
        assert not any(map(is_hexadecimal, (*WORDS, *PHRASES)))

    def test_defaults(self) -> None:
        """The defaults of well-known projects are listed as digests only."""
        assert len(DEFAULTS) > 80
        assert all(re.fullmatch("[0-9a-f]{16}", each) for each in DEFAULTS)


def of_words(length: int) -> float:
    """Return how many of a million random texts are expected to be covered by words. Each arrangement is counted."""
    needed = max(MIN_COVERED, length // MIN_SHARE)
    by_length: dict[int, float] = {}
    for word in WORDS:
        by_length[len(word)] = by_length.get(len(word), 0) + chance(word)
    ways = [[0.0] * needed for _ in range(length + 1)]
    ways[0][0] = 1.0
    expected = 0.0
    for start in range(length):
        for covered, way in enumerate(ways[start]):
            ways[start + 1][covered] += way
            for size, found in by_length.items():
                if way and start + size <= length:
                    if covered + worth(size) >= needed:
                        expected += way * found
                    else:
                        ways[start + size][covered + worth(size)] += way * found
    return expected * 1e6


def of_phrases(length: int) -> float:
    """Return how many of a million random texts are expected to contain a phrase."""
    return sum(max(0, length - len(phrase) + 1) * chance(phrase) for phrase in PHRASES) * 1e6


def chance(text: str) -> float:
    """Return the probability that random base64url spells a text at one place, with look-alike digits."""
    product = 1.0
    for letter in text:
        product *= LOOKALIKE if letter in "oieast" else LETTER
    return product


def of_text(size: int) -> float:
    """Return how many of a million random byte strings are expected to be printable UTF-8 text."""
    # Upper limits for characters of one to four bytes.
    shares = {1: 102 / 256, 2: 30 / 256 * 64 / 256, 3: 16 / 256 * (64 / 256) ** 2, 4: 5 / 256 * (64 / 256) ** 3}
    ways = [1.0] + [0.0] * size
    for end in range(1, size + 1):
        ways[end] = sum(share * ways[end - width] for width, share in shares.items() if width <= end)
    return ways[size] * 1e6


SIZES = {"token_urlsafe(16)": 16, "token_urlsafe(32)": 32, "token_urlsafe(64)": 64}


@pytest.mark.parametrize("rule", ["phrases", "words", "encoded text", "defaults"])
def test_the_expected_false_alarms(rule: str) -> None:
    """The documented number of false alarms of each rule is the computed upper limit."""
    (documented,) = (row[1:] for row in DOCUMENTED if row[0] == rule)
    for number, size in enumerate(SIZES.values()):
        length = -(-size * 4 // 3)
        expected = {
            "phrases": of_phrases(length),
            "words": of_words(length),
            # Below the minimum size, the text must also be covered by words.
            "encoded text": of_text(size) if size >= MIN_TEXT_BYTES else of_text(size) * of_words(size) / 1e6,
            "defaults": len(DEFAULTS) / 2**64 * 1e6,
        }[rule]
        assert expected <= float(documented[number]) <= max(expected * 3, 1e-9)
        assert expected < 0.1
    in_hexadecimal = {"encoded text": of_text(64), "defaults": len(DEFAULTS) / 2**64 * 1e6}.get(rule, 0.0)
    assert in_hexadecimal <= float(documented[3]) <= max(in_hexadecimal * 3, 1e-9)
