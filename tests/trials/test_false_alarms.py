"""How rarely a generated key looks like a placeholder or a weak key: the documented tables are computed again."""

from __future__ import annotations

import re
import string
from math import comb
from typing import Literal

import pytest

from robodj_secretguard import Generator
from robodj_secretguard.secret import material
from robodj_secretguard.secret.material import (
    _RUNS,
    DEFAULTS,
    MIN_ASCII_BYTES,
    MIN_COVERED,
    MIN_SHARE,
    MIN_TEXT_BYTES,
    ONE_CASE_FROM,
    PHRASES,
    RUN_LENGTH,
    fewest_distinct,
    listed_words,
    worth,
)

DOCUMENTED = re.findall(r"(?m)^\| ([a-z ]+) \|(( \S+ \|){5})$", material.__doc__ or "")
MILLION = 1e6
BASE64URL = dict.fromkeys(string.ascii_lowercase, 2 / 64) | dict.fromkeys(string.digits, 1 / 64) | {"-": 2 / 64}
HEXADECIMAL = dict.fromkeys("0123456789abcdef", 1 / 16)
"""The probability of each character without regard to case. Neither - nor _ is in a run."""
# Letters that a look-alike digit may replace.
LOOKALIKE = 3 / 62
LETTER = 2 / 62


def of_words(length: int) -> float:
    """Return how many of a million random texts are expected to be covered by words. Each arrangement is counted."""
    needed = max(MIN_COVERED, length // MIN_SHARE)
    by_length: dict[int, float] = {}
    for word in listed_words():
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
    return expected * MILLION


def of_phrases(length: int) -> float:
    """Return how many of a million random texts are expected to contain a phrase."""
    return sum(max(0, length - len(phrase) + 1) * chance(phrase) for phrase in PHRASES) * MILLION


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
    return ways[size] * MILLION


def of_encoded_text(size: int) -> float:
    """Return how many of a million random byte strings are expected to be refused as readable text."""
    if size >= MIN_TEXT_BYTES:
        return of_text(size)
    printable = (95 / 256) ** (size - 1) * 96 / 256 * MILLION if size >= MIN_ASCII_BYTES else 0
    return printable + of_text(size) * of_words(size) / MILLION


def of_distinct_characters(length: int, alphabet: int) -> float:
    """Return how many of a million random texts are expected to have too few distinct characters."""
    fewest = fewest_distinct(length, hexadecimal=alphabet == 16)
    ways = [1.0] + [0.0] * fewest
    for _ in range(length):
        ways = [0.0] + [
            ways[count] * count / alphabet + ways[count - 1] * (alphabet - count + 1) / alphabet
            for count in range(1, fewest + 1)
        ]
    return sum(ways[:fewest]) * MILLION


def of_one_case(length: int) -> float:
    """Return how many of a million random texts are expected to have letters of one case, and few other characters."""
    most = length if length >= ONE_CASE_FROM else (length - 20) // 2
    found = (comb(length, others) * (26 / 64) ** (length - others) * (12 / 64) ** others for others in range(most + 1))
    return 2 * sum(found) * MILLION


def of_runs(length: int, characters: dict[str, float]) -> float:
    """Return how many of a million random texts are expected to have runs in half of them.

    A state is the beginning of a run that the text ends with, the characters since the last run, and how many
    characters the runs cover.
    """
    beginnings = {run[:size] for run in _RUNS for size in range(RUN_LENGTH)}
    half = -(-length // 2)
    states = {("", RUN_LENGTH, 0): 1.0}
    refused = 0.0
    for _ in range(length):
        following: dict[tuple[str, int, int], float] = {}
        for (beginning, since, covered), way in states.items():
            for character, probability in characters.items():
                end = beginning + character
                gap = min(RUN_LENGTH, since + 1)
                now = (0, covered + gap) if end in _RUNS else (gap, covered)
                while end not in beginnings:
                    end = end[1:]
                if now[1] >= half:
                    refused += way * probability
                else:
                    state = (end, *now)
                    following[state] = following.get(state, 0.0) + way * probability
        states = following
    return refused * MILLION


def expected(rule: str, generator: Generator) -> float:
    """Return how many of a million keys of a generator a rule is expected to refuse, or an upper limit of that."""
    size, length = generator.size, generator.characters
    in_hexadecimal = generator.function == "token_hex"
    if in_hexadecimal and rule in {"phrases", "words", "one case"}:
        return 0.0
    return {
        "phrases": lambda: of_phrases(length),
        "words": lambda: of_words(length),
        "encoded text": lambda: of_encoded_text(size),
        "defaults": lambda: len(DEFAULTS.split()) / 2**64 * MILLION,
        "distinct characters": lambda: of_distinct_characters(length, 16 if in_hexadecimal else 64),
        "one case": lambda: of_one_case(length),
        "runs": lambda: of_runs(length, HEXADECIMAL if in_hexadecimal else BASE64URL),
    }[rule]()


RULES = ["phrases", "words", "encoded text", "defaults", "distinct characters", "one case", "runs"]
GENERATORS = [
    *(Generator("token_urlsafe", 16), Generator("token_hex", 16)),
    *(Generator("token_urlsafe", 32), Generator("token_urlsafe", 64), Generator("token_hex", 64)),
]


@pytest.mark.parametrize("rule", RULES)
def test_documented_false_alarms_are_the_computed_ones(rule: str) -> None:
    """The documented number of false alarms of each rule is the computed one, or an upper limit of it."""
    (documented,) = (row[1].replace("|", "").split() for row in DOCUMENTED if row[0] == rule)
    for number, generator in enumerate(GENERATORS):
        if rule == "runs" and generator.size > 16:
            continue  # a longer key has fewer false alarms, and the calculation takes a minute
        computed = expected(rule, generator)
        assert computed <= float(documented[number]) <= max(computed * 3, 1e-9)


@pytest.mark.parametrize("function", ["token_urlsafe", "token_hex"])
def test_fewer_than_one_key_in_four_million_is_refused(function: Literal["token_urlsafe", "token_hex"]) -> None:
    """At every size, all rules together refuse fewer than one key in four million."""
    runs = expected("runs", Generator(function, 16))
    for size in range(16, 65):
        rules = (expected(rule, Generator(function, size)) for rule in RULES if rule != "runs")
        assert sum(rules) + runs < 0.25
