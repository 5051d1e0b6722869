"""One JSON object, from stdin."""

from __future__ import annotations

import json
from functools import partial

import pytest
from conftest import Failure, failure_of

from robodj_secretguard.managers.manager import members
from robodj_secretguard.startup.directory import MAX_BYTES

CUT = Failure("is cut off", "fix", is_temporary=True)
NO_OBJECT = Failure("is not a JSON object", "fix")


class TestMembers:
    """The members of the object, or why it cannot be used."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (b'{"A": "x", "B": 1, "C": {"D": null}}', {"A": "x", "B": 1, "C": {"D": None}}),
            ('\n {"A": "x"}\r\n', {"A": "x"}),
            ('\ufeff{"A": "x"}'.encode(), {"A": "x"}),
            ('{"A": "x"}'.encode("utf-16"), {"A": "x"}),
            (b"{}", {}),
            (b"", Failure("is empty", "fix", is_temporary=True)),
            (b" \n", Failure("is empty", "fix", is_temporary=True)),
            (b'["A"]', NO_OBJECT),
            (b'"{}"', NO_OBJECT),
            (b"Error: not found", NO_OBJECT),
            (b'{"A": x}', NO_OBJECT),
            (b'{"A": "x"} {"A": "y"}', NO_OBJECT),
            (b'{"A": "x"} and more', NO_OBJECT),
            (b'{"A": "\xff"}', NO_OBJECT),
            (b"[" * 100_000, NO_OBJECT),
            (b'{"A": ' * 100_000, NO_OBJECT),
            (b'{"A": "x", "A": "x"}', Failure("has a member twice", "fix")),
            (b'{"A": {"B": 1, "B": 2}}', Failure("has a member twice", "fix")),
            (b"{" + b" " * MAX_BYTES, Failure(f"is larger than {MAX_BYTES} bytes", "fix")),
        ],
    )
    def test_a_text_is_a_json_object_or_an_error(self, text: bytes | str, expected: object) -> None:
        """A text is a JSON object in UTF-8 or UTF-16, or it cannot be used."""
        if isinstance(expected, Failure):
            assert failure_of(lambda: members(text, "fix")) == expected
        else:
            assert members(text, "fix") == expected

    def test_an_object_that_is_cut_off_is_a_temporary_error(self) -> None:
        """An object that was cut off at any character is a temporary failure."""
        text = json.dumps({"A": "x\n\u00e9", "B": {"C": [1, True, None]}, "D": -1.5})
        parts = [text[:end] for end in range(1, len(text))]
        assert [part for part in parts if failure_of(partial(members, part, "fix")) != CUT] == []
