"""The variables that are read and names like theirs, the format of a marker and of a time in UTC, and a small file."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import (
    NO_TEXT,
    NOT_UTF_8,
    WRITABLE,
    TextFile,
    VariableRead,
    VariablesRead,
    is_one_line,
    iso_utc,
    parse_marker,
    variables_read,
)

POLICIES = tuple(RuntimeSecrets.secret_policies.values())


class TestMarker:
    """The marker: an instant in ISO-8601 to the minute, second or fraction, with a timezone."""

    @pytest.mark.parametrize(
        ("text", "microsecond"),
        [
            ("2027-01-15T00:00Z", 0),
            ("2027-01-15T00:00:00Z", 0),
            ("2027-01-15T02:00+02:00", 0),
            ("2027-01-15T05:45+05:45", 0),
            ("2027-01-14T19:00:00.5-05:00", 500_000),
            ("2027-01-15T00:00:00.000001Z", 1),
            ("2027-01-15T00:00:00.123456Z", 123_456),
            ("2027-01-15T00:00:00.1234569Z", 123_456),
        ],
    )
    def test_accepted(self, text: str, microsecond: int) -> None:
        """A fraction counts to the microsecond, and further digits are cut off."""
        assert parse_marker(SealedStr(text)) == datetime(2027, 1, 15, microsecond=microsecond, tzinfo=UTC)

    @pytest.mark.parametrize(
        "text",
        [
            *("20270101", "1767225600", "0", "-1", "never", "2027-01-15", "2027-01-15T00:00", "2027-01-15 00:00Z"),
            *("2027-01-15T00:00z", "2027-01-15T00:00:00+0200", "2027-01-15T00:00:00+24:00", "2027-01-15T00:00+02:60"),
            *("2027-01-15T24:00Z", "2027-01-15T00:00:60Z", "2027-02-29T00:00Z", "0000-01-01T00:00Z"),
            *("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "2027-01-15T00:00:00.Z", " 2027-01-15T00:00Z"),
            *("2027-01-15T00:00Z\n", "\N{FULLWIDTH DIGIT TWO}027-01-15T00:00Z"),
        ],
    )
    def test_refused(self, text: str) -> None:
        """Any other text, and an instant that is not in the calendar, is invalid."""
        assert parse_marker(SealedStr(text)) is None

    def test_a_time_in_utc(self) -> None:
        """A time is written in UTC to the second, with `Z`."""
        assert iso_utc(datetime.fromisoformat("2026-11-24T23:30:00.999+01:00")) == "2026-11-24T22:30:00Z"
        assert parse_marker(None) is None


class TestNames:
    """The variables that are read, and names that may be one of them misspelled."""

    def test_what_a_variable_means(self) -> None:
        """Without a key, a path, a name or a stream, no check protects less. Each secret has one marker."""
        read = variables_read(POLICIES).targets.values()
        of_secrets = {name for policy in POLICIES for name in policy.key_variables}
        settings = {"CONFIG_DIR", "OPERATIONS_LOG", "SECRET_EVENTS", "SECRET_HEARTBEAT"}
        assert {each.name for each in read if not each.loosens} == of_secrets | {f"ROBODJ_{name}" for name in settings}
        assert [each.name for each in read if each.is_marker] == [policy.expiry_variable for policy in POLICIES]

    @pytest.mark.parametrize(
        ("target", "similar", "others"),
        [
            (
                "ABCDEFG",
                ["XBCDEFG", "ABCDEFX", "ABCXEFG", "ABCEFG", "abcdefg", "BCDEFG", "XABCDEFG"],
                ["ABXDXFG", "XBCDEFX"],
            ),
            ("ABCDEFGH", ["XBCDEFGH", "ABCDEFGX", "ABCEDFGH", "ABCDXEFGH"], ["ABXDEXGH"]),
        ],
        ids=["an odd length", "an even length"],
    )
    def test_similar_names(self, target: str, similar: list[str], others: list[str]) -> None:
        """A name is similar if it begins or ends like one that is read, in any case. One edit keeps one of both."""
        read = VariablesRead([VariableRead(target), VariableRead("UNLIKE_ANY_OTHER")])
        assert read.similar([target, *similar, *others]) == similar


def test_a_file_may_not_be_used_for_what_is_unreadable_and_for_what_others_could_write() -> None:
    """The unreadable text comes first. A file that others can read, or that another user owns, is used."""
    assert TextFile(unreadable=(NOT_UTF_8,), exposed=(WRITABLE,)).unsafe == (NOT_UTF_8, WRITABLE)
    assert TextFile(exists=True, lax=("is lax",), lax_paths=("is in",), foreign=("is owned",)).unsafe == ()
    assert (NO_TEXT.unsafe, NO_TEXT.exists, NO_TEXT.dangling, NO_TEXT.misnamed) == ((), False, False, False)
    assert NO_TEXT.empty


@pytest.mark.parametrize(("text", "expected"), [("a b", True), ("a\vb", False), ("a\u2028b", False)])
def test_another_kind_of_line_break_ends_a_line(text: str, *, expected: bool) -> None:
    """An editor shows another line after it, so a comment could hide an entry there."""
    assert is_one_line(text) is expected
