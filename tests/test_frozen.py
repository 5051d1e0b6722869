"""The base classes of small records and of named texts."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from pydantic import TypeAdapter, ValidationError

from robodj_secretguard import Check, Severity
from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.secret.frozen import Frozen


class Point(Frozen):
    """A record with a default."""

    x: int
    y: int = 2


class Empty(Frozen):
    """A record without fields."""


def test_positional_and_keyword_values() -> None:
    """Fields can be positional or keyword arguments, and defaults fill the missing ones."""
    assert Point(1) == Point(1, 2) == Point(x=1, y=2) == Point(1, y=2)
    assert (Point(1).x, Point(1).y, [*Point(3, 4)], Empty()) == (1, 2, [3, 4], ())


def test_type_checkers_know_that_fields_are_frozen() -> None:
    """Type checkers know that fields are frozen."""
    declared = vars(Frozen)["__dataclass_transform__"]
    assert (declared | declared["kwargs"])["frozen_default"] is True  # in `kwargs` before Python 3.12


def test_repr_has_every_field() -> None:
    """The repr has every field."""
    assert repr(Point(1)) == "Point(x=1, y=2)"


@pytest.mark.parametrize("record", [Point(1, 3), Empty()], ids=repr)
def test_copy_is_equal_and_has_the_same_type(record: Frozen) -> None:
    """A copy is equal, and has the same type."""
    for again in (copy.copy(record), copy.deepcopy(record), record._replace()):
        assert (again, type(again)) == (record, type(record))


@pytest.mark.parametrize("name", ["x", "z"])
def test_nothing_is_changed_or_attached(name: str) -> None:
    """A field cannot be changed, and an attribute cannot be added."""
    with pytest.raises(AttributeError):
        setattr(Point(1), name, 2)


@pytest.mark.parametrize(
    ("record", "values", "named", "why"),
    [
        (Point, (), {}, "Point: missing x"),
        (Point, (1, 2, 3), {}, "Point: its fields are x, y"),
        (Point, (1,), {"x": 1}, "Point: its fields are x, y"),
        (Point, (1,), {"z": 1}, "Point: its fields are x, y"),
        (Point, (1, 2), {"z": 1}, "Point: its fields are x, y"),
        (Empty, (1,), {}, "Empty: its fields are "),
    ],
)
def test_error_names_fields_and_shows_no_value(
    record: type[Frozen], values: tuple[int, ...], named: dict[str, int], why: str
) -> None:
    """The error names the fields, and never shows a value."""
    with pytest.raises(TypeError) as raised:
        record(*values, **named)
    assert str(raised.value) == why


class TestNamedText:
    """`Check`, `Severity` and `State`: texts with a name, which behave like a `StrEnum`."""

    def test_a_member_is_its_text(self) -> None:
        """A member is equal to its text, and is written as that text."""
        assert {Check.FORMAT, f"{Check.FORMAT}", Check.FORMAT.value} == {"format"}
        assert (json.dumps([Check.FORMAT]), {"format": 1}[Check.FORMAT], type(str(Check.FORMAT))) == (
            '["format"]',
            1,
            str,
        )
        assert (repr(Check.FORMAT), Check.FORMAT.name) == ("<Check.FORMAT: 'format'>", "FORMAT")

    def test_there_is_one_object_for_each_text(self) -> None:
        """A text, a copy, a pickle and a field of a model give the member itself, in declared order."""
        copies = (Check("format"), copy.deepcopy(Check.FORMAT), pickle.loads(pickle.dumps(Check.FORMAT)))  # noqa: S301
        assert all(each is Check.FORMAT for each in (*copies, TypeAdapter(Check).validate_python("format")))
        assert (len(Severity), Severity["ALERT"] is Severity.ALERT) == (3, True)
        assert [*Severity] == [Severity.ALERT, Severity.WARNING, Severity.NOTE] == ["alert", "warning", "note"]

    def test_another_text_is_refused_without_it(self) -> None:
        """Another text is an error that lists the texts, and does not repeat what was passed."""
        with pytest.raises(ValueError, match=r"^not a Severity; choose from alert, warning, note$"):
            Severity("fatal")
        with pytest.raises(ValidationError, match="'alert', 'warning' or 'note'"):
            TypeAdapter(Severity).validate_python("fatal")


def test_a_failed_check_survives_a_pickle() -> None:
    """An error that crosses processes keeps its text, which has the type alone."""
    copied = pickle.loads(pickle.dumps(CheckFailedError("KeyError")))  # noqa: S301 - of this test
    assert (copied.error_type, str(copied)) == ("KeyError", "the check itself failed: KeyError")
