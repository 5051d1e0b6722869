"""A secret manager that can be written: what its readers get of a version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from robodj_secretguard.managers.manager import MAX_CHARACTERS, Failure
from robodj_secretguard.managers.store import Store, Stored, sealed
from robodj_secretguard.sources import ROTATION_RECORD

if TYPE_CHECKING:
    from robodj_secretguard.sealed import SealedStr

DENIED = Failure("denies it", "log in")


class Memory(Store):
    """A store that has one version, or a failure."""

    def __init__(self, version: Stored | Failure) -> None:
        super().__init__("memory:x")
        self._version = version

    def current(self, seconds: float) -> Stored | Failure:  # noqa: ARG002
        return self._version

    def write(self, fields: SealedStr, current: Stored, seconds: float) -> Failure | None:
        raise NotImplementedError


def store_of(**fields: object) -> Memory:
    """Make a store with fields."""
    return Memory(Stored(sealed(fields), "1"))


class TestFetch:
    """What a reader gets."""

    def test_the_fields(self) -> None:
        """A reader gets every field of the current version, of any type."""
        fields = {"A": "x", "B": [1, {"C": 2.5}], ROTATION_RECORD: "{}"}
        assert store_of(**fields).fetch([], 1) == fields

    @pytest.mark.parametrize("record", [5, {"secret.key": []}, "x" * (MAX_CHARACTERS + 1), None])
    def test_an_invalid_record(self, record: object) -> None:
        """A record that is not a text, or is too long, is left out, as no start depends on it."""
        assert store_of(A="x", **{ROTATION_RECORD: record}).fetch([], 1) == {"A": "x", ROTATION_RECORD: None}

    def test_a_failure(self) -> None:
        """A failure is passed on."""
        assert Memory(DENIED).fetch([], 1) == DENIED


def test_an_interrupted_write() -> None:
    """A manager whose write is one step has no unfinished version."""
    assert store_of(A="x").unfinished(1) is None


def test_a_version_shows_no_field() -> None:
    """The fields of a version are sealed: neither its repr nor its copy shows them."""
    version = Stored(sealed({"A": "visible"}), "1")
    assert "visible" not in repr(version)
    assert json.loads(version.fields.get_secret_value()) == version.opened()
