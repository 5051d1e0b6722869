"""Near-misses against a plain definition of one edit."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.near_miss import VariableRead, VariablesRead

TARGET = "ROBODJ_SECRET_V2_KEY"
ALPHABET = string.ascii_uppercase + string.digits + "_"


def one_edit_away(target: str) -> set[str]:
    """List every name one insertion, deletion, replacement or swap away, none of them on a digit."""
    letters = ALPHABET.translate({ord(digit): None for digit in string.digits})
    places = range(len(target))
    names = {target[:at] + char + target[at:] for at in range(len(target) + 1) for char in letters}
    names |= {target[:at] + target[at + 1 :] for at in places if not target[at].isdigit()}
    names |= {target[:at] + char + target[at + 1 :] for at in places for char in letters if not target[at].isdigit()}
    names |= {
        target[:at] + target[at + 1] + target[at] + target[at + 2 :]
        for at in places[:-1]
        if not (target[at] + target[at + 1]).isdecimal() and not any(c.isdigit() for c in target[at : at + 2])
    }
    return names - {target}


def found(names: list[str], *, target: str = TARGET, any_case: bool = True) -> list[str]:
    """List what is found near the one target."""
    read = VariablesRead([VariableRead(target)])
    return [found for _, found in read.near_misses(names, is_set=lambda _: True, any_case=any_case)]


@pytest.mark.parametrize("target", [TARGET, "ROBODJ_SECRET_KEY", "KEY_ID", "A_KEY"])
def test_every_name_one_edit_away_is_found(target: str) -> None:
    """All of them, and each is shown, of names of an odd and an even length, down to the shortest."""
    names = one_edit_away(target)
    assert found(sorted(names), target=target) == sorted(names)
    assert len(names) > 45 * len(target)


def test_case() -> None:
    """A name in another case is a typo, unless names are the same in any case (Windows)."""
    assert found(["robodj_Secret_v2_key"]) == ["robodj_Secret_v2_key"]
    assert found(["robodj_Secret_v2_key"], any_case=False) == []


@given(st.text(ALPHABET, min_size=1, max_size=24) | st.sampled_from(sorted(one_edit_away(TARGET))), st.integers(0, 23))
def test_nothing_else_is_found(name: str, at: int) -> None:
    """A name is found when, and only when, it is one edit away."""
    for each in (name, name[:at] + "Q" + name[at:], name[:at] + name[at + 1 :]):
        if each not in {"", TARGET}:
            assert bool(found([each])) is (each in one_edit_away(TARGET))
