"""A secret manager that can be written: what its readers get of a version."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from conftest import failure_of

from robodj_secretguard.managers.manager import Store, Stored, sealed, time_of
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.variables import ROTATION_RECORD


class Memory(Store):
    """A store that has one version."""

    def __init__(self, answer: Stored) -> None:
        super().__init__("memory:x")
        self._answer = answer

    def current(self, seconds: float) -> Stored:  # noqa: ARG002
        return self._answer

    def write(self, fields: SealedStr, current: Stored, seconds: float) -> None:
        raise NotImplementedError


def store_of(**fields: object) -> Memory:
    """Make a store with fields."""
    return Memory(Stored(sealed(fields), "1"))


class TestFetch:
    """What a reader gets."""

    def test_a_reader_gets_every_field(self) -> None:
        """A reader gets every field of the current version, of any type."""
        fields = {"A": "x", "B": [1, {"C": 2.5}], ROTATION_RECORD: "{}"}
        assert store_of(**fields).fetch([], 1) == fields


def test_a_field_that_is_nested_too_deeply_is_an_error() -> None:
    """Fields that are nested too deeply are not kept."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    failure = failure_of(lambda: sealed({"A": "x", "DEEP": deep}))
    assert failure.what == "has a field that is nested too deeply"


@pytest.mark.parametrize("number", ["1.0000000000000000001", "1e400", "1e-400", "1e-9999999999999999999", "NaN"])
def test_a_number_that_is_rounded_is_not_written(number: str) -> None:
    """A number that a float would change is read, but never written back. 1.50 and 1e5 have another spelling only."""
    kept, fields = '{"A": [1.50, 1e5, -0.0, 123456789012345678901234567890]}', f'{{"A": {{"B": [{number}]}}}}'
    assert sealed(Stored(SealedStr(kept), "1").opened(), is_new=True).get_secret_value() != kept
    what = "has a number that would be rounded, so nothing was written"
    assert failure_of(lambda: sealed(Stored(SealedStr(fields), "1").opened(), is_new=True)).what == what


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Tue, 01 Dec 2026 12:00:00 GMT", datetime(2026, 12, 1, 12, tzinfo=UTC)),
        ("Tue, 01 Dec 2026 12:00:00 -0000", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_time_of_a_manager_is_that_of_its_answer(text: str | None, time: datetime | None) -> None:
    """The time is that of the header `Date`, if it is valid and has a timezone."""
    assert time_of(text) == time


def test_a_version_shows_no_field() -> None:
    """The fields of a version are sealed: neither its repr nor its copy shows them."""
    version = Stored(sealed({"A": "visible"}), "1")
    assert "visible" not in repr(version)
    assert json.loads(version.fields.get_secret_value()) == version.opened()
