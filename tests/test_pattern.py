"""Patterns that cannot hang."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard import Material
from robodj_secretguard.secret.issued import Opaque
from robodj_secretguard.secret.pattern import parse_pattern, random_text

HOSTILE = [
    "(a+)+",
    "(a*)*",
    "(a|a)*",
    "(a|b)+",
    "(?:ab){2,}",
    "a*a*",
    "a+a",
    "a?a",
    "[a-f]+[0-9a-f]",
    "[0-9]*-?[0-9]*x",
    ".*.*x",
    ".*x",
    "(.*)x",
    r"\w+\d",
    r"\d+[^a-z]",
    r"\W*[^\w]",
    "(x+x+)+y",
    "a*(b|a)c",
    r"(a)\1",
    "(?=a)a",
    "(?!a)b",
    "(?<=a)b",
    "(?P<name>a)",
    "(?i)a",
    "(?#a)",
    "a*?",
    "a++",
    "a{2}{3}",
]
MALFORMED = [
    "(",
    ")",
    "a)",
    "(a",
    "((a)",
    "[a",
    "[]",
    "[z-a]",
    "*",
    "a|*",
    "+a",
    "{2}",
    "a{,2}",
    "a{2,1}",
    f"a{{{10**30}}}",
    "a{x}",
    "a^b",
    "a$b",
    "a\\",
    r"\b",
    r"\s",
    r"\A",
    r"\n",
    r"\x41",
    "\u00e9",
    "[\u0430-\u044f]",
    "a|b",
    "(ab)",
    "(?:ab)?",
    "()a",
    "(" * 5000,
]
USEFUL = {
    "[0-9a-f]{32}": ("0" * 32, "0" * 31),
    "^[0-9a-f]{32}$": ("f" * 32, "f" * 33),
    "AC[0-9a-f]{4}": ("AC01fe", "ac01fe"),
    "[A-Z]{2}-[0-9a-f]{3,5}": ("KI-0aff", "KI-0aff00"),
    "[A-Z]+-[0-9]+": ("KIF-83", "KIF-"),
    "a?b*c+": ("bbc", "ab"),
    "[a-c]*[d-f]*[0-9]": ("aed7", "dae7"),
    r"\$2y\$10\$[./A-Za-z0-9]{5}": ("$2y$10$./aB7", "$2y$10x./aB7"),
    r"[^\]]+\]": ("kif]", "k]f]"),
    "[]a]+-": ("]a-", "b-"),
    r"[\d.]+@\d": ("8.3@7", "8.3@"),
    r"\w{3}\W\D": ("k_8-x", "k-8-7"),
    "[+]{2}\\+\\|": ("+++|", "++||"),
    r"a\$": ("a$", "a"),
    "x{3}y{0,2}": ("xxxyy", "xxy"),
    ".*": ("any, of it", "two\nlines"),
    "a{5,}": ("aaaaaa", "aaaa"),
    "": ("", "a"),
}


@pytest.mark.parametrize("pattern", [*HOSTILE, *MALFORMED], ids=range(len(HOSTILE) + len(MALFORMED)))
def test_other_pattern_is_an_error_at_its_declaration(pattern: str) -> None:
    """A pattern that could take a time without bound, or is of another form, is a `ValueError` with the rule."""
    with pytest.raises(
        ValueError, match=r"^Material\.opaque pattern: characters and classes .* without its characters$"
    ):
        Material.opaque(pattern=pattern)


@pytest.mark.parametrize("pattern", [8, b"a", ("a",)], ids=repr)
def test_pattern_is_a_text(pattern: str) -> None:
    """A pattern of another type is a `ValueError` too."""
    with pytest.raises(ValueError, match=r"Material\.opaque pattern: "):
        Material.opaque(pattern=pattern)


def matches(pattern: str, text: str) -> bool:
    """Check whether a kind with this pattern finds no other text than one of the pattern."""
    fault = "does not match the pattern of its declaration"
    return fault not in [each.message for each in Opaque(4, "", pattern).format_faults(text)]


@pytest.mark.parametrize("pattern", USEFUL)
def test_useful_pattern_is_matched_as_a_whole(pattern: str) -> None:
    """Characters, classes and lengths match a value as a whole."""
    good, bad = USEFUL[pattern]
    assert (matches(pattern, good), matches(pattern, bad), matches(pattern, f"{good}\n")) == (True, False, False)


@pytest.mark.parametrize("pattern", USEFUL)
def test_random_text_matches(pattern: str) -> None:
    """A random text of a pattern matches it."""
    assert matches(pattern, random_text(pattern, 40))


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        ("[a-f]{4}-[0-9]+", 40),
        ("[a-f]{4}-[0-9]{2,6}", 11),
        ("[a-f]{2,6}-.{50}", 53),
        ("a{1,3}b{1,90}c*", 40),
    ],
)
def test_random_text_has_the_length_where_it_can(pattern: str, length: int) -> None:
    """A random text has the length that is wanted, if its pattern allows that. It is of letters and digits."""
    text = random_text(pattern, 40)
    assert len(text) == length
    assert text.replace("-", "").isalnum()


@pytest.mark.parametrize("pattern", [each for each in USEFUL if re.search(r"[*+]|,\}", each)])
@pytest.mark.parametrize("unit", ["a", "0", "aed7", "kif-", "."])
def test_time_is_linear_in_the_length(pattern: str, unit: str) -> None:
    """A value of 128 KiB that nearly matches takes less than a tenth of a second."""
    began = time.process_time()
    matches(pattern, unit * (2**17 // len(unit)) + "\n")
    assert time.process_time() - began < 0.1


PARTS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", "1", "-"])
LENGTHS = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{2,}"])
PATTERNS = st.lists(st.tuples(PARTS, LENGTHS).map("".join), max_size=5).map("".join)


@given(PATTERNS, st.lists(st.sampled_from("ab1-"), max_size=8).map("".join))
def test_accepted_pattern_matches_as_re_does(pattern: str, text: str) -> None:
    """A pattern that is accepted matches the same texts as with `re`. Its random texts match."""
    try:
        parse_pattern(pattern)
    except ValueError:
        return
    assert matches(pattern, text) is (re.fullmatch(pattern, text) is not None)
    assert matches(pattern, random_text(pattern, 12))
