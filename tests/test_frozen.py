"""The base of small records."""

from __future__ import annotations

import copy
from inspect import signature

import pytest

from robodj_secretguard.frozen import Frozen


class Point(Frozen):
    """A record with a default."""

    x: int
    y: int = 2


class Named(Frozen, kw_only=True):
    """A record whose fields have no order."""

    x: int


def test_values_by_place_and_by_name() -> None:
    """Defaults fill in what is not given."""
    assert Point(1) == Point(1, 2) == Point(x=1, y=2) == Point(1, y=2)
    assert (Point(1).x, Point(1).y, [*Point(3, 4)]) == (1, 2, [3, 4])


def test_its_signature() -> None:
    """`help()` and editors name the fields and their defaults."""
    assert (str(signature(Point)), str(signature(Named))) == ("(x, y=2)", "(*, x)")


def test_its_text() -> None:
    """It names every field."""
    assert repr(Point(1)) == "Point(x=1, y=2)"


def test_it_is_copied() -> None:
    """A copy is equal, and of the same type."""
    for each in (Point(1, 3), Named(x=1)):
        for again in (copy.copy(each), copy.deepcopy(each), each._replace()):
            assert (again, type(again)) == (each, type(each))


def test_nothing_is_changed_or_attached() -> None:
    """It has no attribute but its fields."""
    for name in ("x", "z"):
        with pytest.raises(AttributeError):
            setattr(Point(1), name, 2)


@pytest.mark.parametrize(
    ("values", "named", "why"),
    [
        ((), {}, "Point: missing x"),
        ((1, 2, 3), {}, "Point: its fields are x, y"),
        ((1,), {"x": 1}, "Point: its fields are x, y"),
        ((1,), {"z": 1}, "Point: its fields are x, y"),
    ],
)
def test_what_is_given_wrong(values: tuple[int, ...], named: dict[str, int], why: str) -> None:
    """The error names fields, and never what was given."""
    with pytest.raises(TypeError) as raised:
        Point(*values, **named)
    assert str(raised.value) == why


def test_fields_that_are_given_by_name_alone() -> None:
    """Their places say nothing."""
    with pytest.raises(TypeError, match="positional"):
        Named(1)  # type: ignore[call-arg]
