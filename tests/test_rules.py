"""Each check on both sides of its boundary, and that only that check fires."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import NOW, V1, V2, Checker, found, good_keys, marker
from spellings import respelled

from robodj_secretguard import Severity, State
from robodj_secretguard.checks import EARLIEST_CLOCK
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import MAX_FILE_BYTES
from robodj_secretguard.textfile import _steps

K1, K2 = "secret.key", "secret_v2.key"
EXPIRES = f"{V1}_EXPIRES_AT"
REVOKED = "ROBODJ_REVOKED_FINGERPRINTS"
REVOKED_FILE = "revoked.fingerprints"
MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)


def random_text(alphabet: str, length: int) -> str:
    """Make text with a lower-case and an upper-case letter in it, where the alphabet has both."""
    while True:
        text = "".join(secrets.choice(alphabet) for _ in range(length))
        if alphabet.lower() == alphabet or (text != text.lower() and text != text.upper()):
            return text


posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes, FIFOs and owners are POSIX's")
BASE64URL = string.ascii_letters + string.digits + "-_"
HEX = "0123456789abcdef"


class TestMissing:
    """Neither the environment nor, where allowed, the file has it."""

    def test_unset_and_no_file(self, checker: Checker) -> None:
        """An unset variable without a file is missing, and the message says where was looked."""
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("missing", K1)]
        finding = report.findings[0]
        assert finding.source == "none"
        assert finding.message == f"{V1} is unset, and there is no file secret.key in the configured directory."
        assert "deliver the existing value from the secret manager" in finding.remedy
        assert finding.remedy.endswith(
            "only for a first key or a deliberate rotation, generate one: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )

    def test_empty_is_unset(self, checker: Checker) -> None:
        """An empty variable is missing, and is said to be empty."""
        report = checker(good_keys() | {V1: ""})
        assert found(report) == [("missing", K1)]
        assert report.findings[0].message.startswith(f"{V1} is set but empty, and")

    @pytest.mark.parametrize("content", ["", "\n\n", "# a comment\n  \n\t# another\r\n"])
    def test_a_file_without_a_line_is_missing(self, checker: Checker, content: str) -> None:
        """A file of blanks and comments has no value."""
        checker.write("secret.key", content)
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("missing", K1)]
        assert "has nothing but blanks and comments" in report.findings[0].message

    def test_environment_only_says_so(self, checker: Checker) -> None:
        """With key files ruled out the message says that none was used."""
        report = checker({V2: good_keys()[V2]}, require_env_only=True)
        assert found(report) == [("missing", K1)]
        assert "fallback files are off" in report.findings[0].message

    def test_set_is_not_missing(self, checker: Checker) -> None:
        """Both variables with generated keys are clean."""
        report = checker(good_keys())
        assert found(report) == []
        assert report.ok
        assert [status.state for status in report.secrets] == [State.PRESENT, State.PRESENT]

    @posix_only
    def test_a_link_to_nothing(self, checker: Checker) -> None:
        """A mount whose target is gone is missing, and is not said not to be there."""
        (checker.config / "secret.key").symlink_to("..data/secret.key")
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("missing", K1)]
        assert "is a link to a file that is not there" in report.findings[0].message


class TestPlaceholder:
    """A template's value instead of a key."""

    @pytest.mark.parametrize(
        "part",
        [
            "replace_with",
            "Change_Me",
            "CHANGEME",
            "example",
            "undefined",
            "placeholder",
            "x" * 8,
            "<key>",
            "${KEY}",
            "{{ key }}",
            "%KEY%",
        ],
    )
    def test_anywhere(self, checker: Checker, part: str) -> None:
        """Placeholder text is one anywhere in a value, in any case."""
        key = good_keys()[V1]
        assert found(checker(good_keys() | {V1: key[:20] + part + key[20:]})) == [("placeholder", K1)]

    @pytest.mark.parametrize("whole", ["null", "None", "nil", "TODO", "tbd", "dummy", "secret", "Test", "x", "XXX"])
    def test_whole(self, checker: Checker, whole: str) -> None:
        """Some words are placeholders only as the whole value."""
        assert found(checker(good_keys() | {V1: whole})) == [("placeholder", K1)]
        key = good_keys()[V1]
        assert found(checker(good_keys() | {V1: key + whole[:3]})) == []

    @pytest.mark.parametrize("near", ["xxxxxxx", "replacewit", "exampl", "change-m"])
    def test_near(self, checker: Checker, near: str) -> None:
        """One character less is no placeholder."""
        key = good_keys()[V1]
        assert found(checker(good_keys() | {V1: f"{key}-{near}"})) == []

    @pytest.mark.parametrize("whole", ["{}ecret", "te{}t"])
    def test_in_ascii_alone(self, checker: Checker, whole: str) -> None:
        """What is only folded to the letters of a placeholder is a wrong format."""
        assert found(checker(good_keys() | {V1: whole.format("s")})) == [("placeholder", K1)]
        assert found(checker(good_keys() | {V1: whole.format("\N{LATIN SMALL LETTER LONG S}")})) == [("format", K1)]

    @pytest.mark.parametrize("empty", ["<>", "%%", "${}", "{{}}"])
    def test_empty_brackets_are_no_template(self, checker: Checker, empty: str) -> None:
        """Brackets without anything in them are only a wrong format."""
        assert found(checker(good_keys() | {V1: good_keys()[V1] + empty})) == [("format", K1)]


class TestFormat:
    """Not the accepted material, and by how much."""

    @pytest.mark.parametrize(
        ("variable", "name", "alphabet", "length", "refused"),
        [
            (V1, K1, BASE64URL, 42, True),
            (V1, K1, BASE64URL, 43, False),
            (V1, K1, BASE64URL, 500, False),
            (V1, K1, HEX, 63, True),
            (V1, K1, HEX, 64, False),
            (V1, K1, HEX, 65, False),
            (V2, K2, BASE64URL, 85, True),
            (V2, K2, BASE64URL, 86, False),
            (V2, K2, BASE64URL, 500, False),
            (V2, K2, HEX, 127, True),
            (V2, K2, HEX, 128, False),
            (V2, K2, HEX, 129, True),
        ],
    )
    def test_length(  # noqa: PLR0917 - a row of a table
        self,
        checker: Checker,
        variable: str,
        name: str,
        alphabet: str,
        length: int,
        refused: bool,  # noqa: FBT001
    ) -> None:
        """A key carries the bytes that its approved generator makes; hexadecimal text is judged as hexadecimal."""
        report = checker(good_keys() | {variable: random_text(alphabet, length)})
        assert found(report) == ([("format", name)] if refused else [])
        if refused:
            kind = "hexadecimal" if alphabet is HEX else "base64url"
            assert f"it has {length} {kind} characters where " in report.findings[0].message

    def test_upper_case_hexadecimal_is_hexadecimal(self, checker: Checker) -> None:
        """Hexadecimal is recognised in any case, so a short pasted key is not taken for base64url."""
        assert found(checker(good_keys() | {V2: secrets.token_hex(60).upper()})) == [("format", K2)]
        assert found(checker(good_keys() | {V2: secrets.token_hex(64).upper()})) == []

    @pytest.mark.parametrize(("length", "said"), [(15, "fewer than 16"), (16, "16")])
    def test_a_short_length_is_not_told(self, checker: Checker, length: int, said: str) -> None:
        """Below 16 characters the length is not said."""
        report = checker(good_keys() | {V1: random_text(BASE64URL, length)})
        assert f"it has {said} base64url characters where at least 43 are needed" in report.findings[0].message

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            ("{}\n", "it ends with a newline"),
            ("{}\r\n", "it ends with a newline"),
            ("{} \n", "it ends with a newline; it begins or ends with a blank"),
            (" {}", "it begins or ends with a blank"),
            ("{}\t", "it begins or ends with a blank"),
            ('"{}"', "it carries quotes"),
            ("'{}'", "it carries quotes"),
            ('"{}', "it carries quotes"),
            ("{}'", "it carries quotes"),
            ("{}=", "it ends with = padding"),
            ("{}+", "it holds a character outside A-Z a-z 0-9 - _"),
            ("{}é", "it holds a character outside A-Z a-z 0-9 - _"),
            ("{}\N{FULLWIDTH DIGIT ONE}", "it holds a character outside A-Z a-z 0-9 - _"),
            ("\ud800{}", "it holds a character outside A-Z a-z 0-9 - _"),
            ('"{}="\n', "it ends with a newline; it carries quotes; it ends with = padding"),
        ],
    )
    def test_what_is_around_a_key(self, checker: Checker, spoil: str, said: str) -> None:
        """What surrounds a key is named, all of it at once, and never which character it is."""
        report = checker(good_keys() | {V1: spoil.format(good_keys()[V1])})
        assert found(report) == [("format", K1)]
        assert report.findings[0].message == f"{V1} does not hold a well-formed key: {said}."

    @pytest.mark.parametrize("value", [" ", "\n", '""', "="])
    def test_nothing_left(self, checker: Checker, value: str) -> None:
        """A value of nothing but blanks, quotes or padding is a wrong format and not missing."""
        report = checker(good_keys() | {V1: value})
        assert found(report) == [("format", K1)]
        assert "nothing else is left" in report.findings[0].message

    def test_two_lines_in_a_file(self, checker: Checker) -> None:
        """A file with a second line is refused: nobody can tell which is meant."""
        keys = good_keys()
        checker.write("secret.key", f"# header\n{keys[V1]}\n{good_keys()[V1]}\n")
        report = checker({V2: keys[V2]})
        assert found(report) == [("format", K1), ("file-fallback", K1)]
        assert "has 2 lines" in report.findings[0].message


def with_distinct(count: int, alphabet: str, length: int) -> str:
    """Make text of so many distinct characters, with no short period and no runs."""
    while True:
        chosen = secrets.SystemRandom().sample(alphabet, count)
        text = "".join(chosen + [secrets.choice(chosen) for _ in range(length - count)])
        if alphabet is HEX or (text != text.lower() and text != text.upper()):
            return text


class TestWeak:
    """Plainly not random."""

    @pytest.mark.parametrize(("alphabet", "fewest", "length"), [(BASE64URL, 16, 43), (HEX, 10, 64)])
    def test_distinct_characters(self, checker: Checker, alphabet: str, fewest: int, length: int) -> None:
        """Fewer than 16 distinct characters are too few, in hexadecimal fewer than 10."""
        weak, fine = (with_distinct(count, alphabet, length) for count in (fewest - 1, fewest))
        assert found(checker(good_keys() | {V1: weak})) == [("weak", K1)]
        assert found(checker(good_keys() | {V1: fine})) == []

    def test_hexadecimal_case_does_not_count(self, checker: Checker) -> None:
        """`a` and `A` are one hexadecimal digit."""
        nine = with_distinct(9, HEX, 64)
        mixed = "".join(secrets.choice((char, char.upper())) for char in nine)
        assert found(checker(good_keys() | {V1: mixed})) == [("weak", K1)]

    @pytest.mark.parametrize(("block", "length", "weak"), [(22, 44, True), (22, 43, False), (22, 60, True)])
    def test_period(self, checker: Checker, block: int, length: int, weak: bool) -> None:  # noqa: FBT001
        """A block is repeated when its period is at most half of the length, the last repetition cut short or not."""
        text = (with_distinct(block, BASE64URL, block) * 3)[:length]
        report = checker(good_keys() | {V1: text})
        assert found(report) == ([("weak", K1)] if weak else [])

    @pytest.mark.parametrize(
        "runs",
        ["abcdefghijkLMNOPQRSTUV", "9876543210zyxwvutsrqPO", "qwertyuiopASDFghjkLKJH", "4567890Poiuytrewqlkjhg"],
    )
    def test_runs(self, checker: Checker, runs: str) -> None:
        """Half or more in ascending, descending or keyboard runs of four or more is weak; one less is not."""
        rest = "-aQ5_bR7-cS9_dT1-eU3_f"
        assert len(runs) == len(rest) == 22
        assert found(checker(good_keys() | {V1: runs + rest})) == [("weak", K1)]
        assert found(checker(good_keys() | {V1: f"{runs}{rest}-"})) == []
        assert found(checker(good_keys() | {V1: rest + runs})) == [("weak", K1)]
        assert found(checker(good_keys() | {V1: f"-{rest}{runs}"})) == []

    def test_a_run_of_three_is_no_run(self, checker: Checker) -> None:
        """Three neighbours are chance."""
        text = "-".join(f"abC deF ghI jkL mnO pqR stU vwX yz0 {123} {567}".split())
        assert len(text) == 43
        assert found(checker(good_keys() | {V1: text})) == []

    @pytest.mark.parametrize("change", [str.lower, str.upper])
    def test_base64url_in_one_case(self, checker: Checker, change: object) -> None:
        """Base64url without an upper-case or without a lower-case letter is weak; hexadecimal is not."""
        assert callable(change)
        assert found(checker(good_keys() | {V1: change(random_text(BASE64URL, 60)) + "-"})) == [("weak", K1)]
        assert found(checker(good_keys() | {V1: change(secrets.token_hex(32))})) == []

    @pytest.mark.parametrize(
        ("value", "check"), [("A" * 44, "format"), ("Z" * 44, "weak"), ("a" * 128, "weak"), ("vwxyZ" * 10, "weak")]
    )
    def test_what_fools_the_obvious_check(self, checker: Checker, value: str, check: str) -> None:
        """Length and alphabet alone are not enough; what is hexadecimal throughout is too short as such."""
        assert found(checker(good_keys() | {V1: value})) == [(check, K1)]


class TestWhere:
    """Whatever is wrong with a value, the message begins with where it was found."""

    @pytest.mark.parametrize("value", ["changeme", "short", "Zy" * 30])
    def test_where(self, checker: Checker, value: str) -> None:
        """The variable, or the file."""
        assert checker(good_keys() | {V1: value}).findings[0].message.startswith(f"{V1} ")
        checker.write("secret.key", value)
        message = checker({V2: good_keys()[V2]}).findings[0].message
        assert message.startswith("secret.key in the configured directory ")


class TestShared:
    """Two declared secrets are one."""

    def test_contained(self, checker: Checker) -> None:
        """One in the other is reported once, on the later one."""
        key = secrets.token_urlsafe(64)
        assert found(checker({V1: key[:43], V2: key})) == [("shared", K2)]
        assert found(checker({V1: f"{key}a", V2: key})) == [("shared", K2)]

    def test_hexadecimal_in_another_case(self, checker: Checker) -> None:
        """Hexadecimal is compared in lower case, base64url as it is."""
        key = secrets.token_hex(64)
        assert found(checker({V1: key.upper(), V2: key})) == [("shared", K2)]
        text = secrets.token_urlsafe(64)
        assert found(checker({V1: text.swapcase(), V2: text})) == []

    @pytest.mark.parametrize("size", [32, 64], ids=["43-characters", "86-characters"])
    def test_respelled(self, checker: Checker, size: int) -> None:
        """Keys that differ in unused bits alone are equal, and one is found in the other in any spelling."""
        key = secrets.token_urlsafe(size)
        more = secrets.token_urlsafe(32)
        for first, second in [pair for other in respelled(key) for pair in ((key, other), (other, key))]:
            for value in (second, more + second, second + more):
                assert ("shared", K2) in found(checker({V1: first, V2: value}))

    def test_malformed_values_are_looked_at(self, checker: Checker) -> None:
        """Every value but a placeholder is compared, and both findings are reported."""
        key = secrets.token_urlsafe(30)
        assert found(checker({V1: key, V2: key})) == [("format", K1), ("format", K2), ("shared", K2)]
        assert found(checker({V1: "changeme", V2: "changeme"})) == [("placeholder", K1), ("placeholder", K2)]

    @posix_only
    def test_a_fallback_file_that_is_unsafe(self, checker: Checker) -> None:
        """What lies in a file that may not be used is nobody's key, and is compared with none."""
        keys = good_keys()
        checker.write("secret.key", keys[V2], 0o666)
        assert found(checker({V2: keys[V2]})) == [("file-unsafe", K1)]

    def test_one_character_apart(self, checker: Checker) -> None:
        """A key that differs in one character is another key."""
        key = good_keys()[V2]
        other = key[:-1] + ("0" if key[-1] != "0" else "1")
        assert found(checker({V1: other, V2: key})) == []


class TestExpiry:
    """The optional expiry marker."""

    @pytest.mark.parametrize(
        ("ahead", "check"),
        [
            (timedelta(0), "expired"),
            (-DAY, "expired"),
            (MICROSECOND, "expiring"),
            (14 * DAY, "expiring"),
            (14 * DAY + MICROSECOND, None),
            (91 * DAY, None),
            (91 * DAY + MICROSECOND, "cadence"),
        ],
    )
    def test_windows(self, checker: Checker, ahead: timedelta, check: str | None) -> None:
        """Now or past is expired, the warn window is inclusive, and the cadence has a day of grace."""
        report = checker(good_keys() | {EXPIRES: marker(ahead)})
        assert found(report) == ([(check, K1)] if check else [])
        assert report.ok is (check != "expired")
        assert report.secrets[0].state == ("expired" if check == "expired" else "present")
        assert report.secrets[0].expires_at == NOW + ahead

    @pytest.mark.parametrize(("ahead", "check"), [(7 * DAY, "expiring"), (31 * DAY + MICROSECOND, "cadence")])
    def test_windows_of_the_other_secret(self, checker: Checker, ahead: timedelta, check: str) -> None:
        """Each secret has its own window and cadence."""
        assert found(checker(good_keys() | {f"{V2}_EXPIRES_AT": marker(ahead)})) == [(check, K2)]

    @pytest.mark.parametrize(
        ("ahead", "said"),
        [
            (MICROSECOND, "within 1 day."),
            (DAY, "within 1 day."),
            (DAY + MICROSECOND, "within 2 days."),
            (13 * DAY + MICROSECOND, "within 14 days."),
            (14 * DAY, "within 14 days."),
        ],
    )
    def test_how_long_is_left(self, checker: Checker, ahead: timedelta, said: str) -> None:
        """The days that are left are told, a day that has begun as a whole one."""
        assert checker(good_keys() | {EXPIRES: marker(ahead)}).findings[0].message.endswith(said)

    def test_moving_the_marker_is_no_rotation(self, checker: Checker) -> None:
        """The remedy of an expired key says so, and gives the generator."""
        remedy = checker(good_keys() | {EXPIRES: marker(-DAY)}).findings[0].remedy
        assert "moving the marker alone is not a rotation" in remedy
        assert "secrets.token_urlsafe(32)" in remedy

    @pytest.mark.parametrize(
        "text",
        [
            "2027-01-15T00:00Z",
            "2027-01-15T00:00:00Z",
            "2027-01-15T00:00:00.123456789Z",
            "2027-01-15T02:00+02:00",
            "2027-01-15T05:45+05:45",
            "2027-01-14T19:00:00.5-05:00",
        ],
    )
    def test_accepted_markers(self, checker: Checker, text: str) -> None:
        """ISO-8601 to the minute, second or fraction, with a timezone."""
        report = checker(good_keys() | {EXPIRES: text})
        assert found(report) == []
        expires_at = report.secrets[0].expires_at
        assert expires_at is not None
        assert expires_at.replace(microsecond=0) == datetime(2027, 1, 15, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("fraction", "microsecond"),
        [("5", 500_000), ("000001", 1), ("123456", 123_456), ("1234569", 123_456)],
    )
    def test_a_fraction_of_a_second(self, checker: Checker, fraction: str, microsecond: int) -> None:
        """It counts to the microsecond, and what is finer is cut off."""
        report = checker(good_keys() | {EXPIRES: f"2027-01-15T00:00:00.{fraction}Z"})
        assert report.secrets[0].expires_at == datetime(2027, 1, 15, microsecond=microsecond, tzinfo=UTC)

    @pytest.mark.parametrize(
        "text",
        [
            "20270101",
            "1767225600",
            "0",
            "-1",
            "2027-01-15",
            "2027-01-15T00:00",
            "2027-01-15 00:00Z",
            "2027-01-15T00:00z",
            "2027-01-15T00:00:00+0200",
            "2027-01-15T00:00:00+24:00",
            "2027-01-15T00:00:00+02:60",
            "2027-01-15T24:00Z",
            "2027-01-15T00:00:60Z",
            "2027-02-29T00:00Z",
            "0000-01-01T00:00Z",
            "0001-01-01T00:00:00+23:00",
            "9999-12-31T23:59:59-23:00",
            "2027-01-15T00:00:00.Z",
            "2027-01-15T00:00Z\n",
            " 2027-01-15T00:00Z",
            "\N{FULLWIDTH DIGIT TWO}027-01-15T00:00Z",
            "never",
        ],
    )
    def test_refused_markers(self, checker: Checker, text: str) -> None:
        """Anything else is an alert, and is not echoed."""
        report = checker(good_keys() | {EXPIRES: text})
        assert found(report) == [("expiry-marker", K1)]
        assert report.secrets[0].expires_at is None
        assert report.secrets[0].state == "present"
        assert len(text) < 3 or text not in report.findings[0].message

    def test_an_empty_marker_is_unset(self, checker: Checker) -> None:
        """An empty marker says nothing."""
        assert found(checker(good_keys() | {EXPIRES: ""})) == []

    def test_only_of_a_value_that_was_found(self, checker: Checker) -> None:
        """A malformed key expires, a missing one does not."""
        assert found(checker({V2: good_keys()[V2], EXPIRES: marker(-DAY)})) == [("missing", K1)]
        report = checker(good_keys() | {V1: "short", EXPIRES: marker(-DAY)})
        assert found(report) == [("format", K1), ("expired", K1)]
        assert report.secrets[0].state == "invalid-format"


class TestClock:
    """A clock that is set back would let an expired key pass."""

    @pytest.mark.parametrize(
        ("now", "ahead", "checks"),
        [
            (EARLIEST_CLOCK, 20 * DAY, []),
            (EARLIEST_CLOCK - MICROSECOND, 20 * DAY, ["clock"]),
            (EARLIEST_CLOCK - DAY, DAY, ["clock"]),
            (EARLIEST_CLOCK - DAY, 400 * DAY, ["clock"]),
            (EARLIEST_CLOCK - DAY, -DAY, ["expired", "clock"]),
        ],
    )
    def test_earlier_than_the_source(
        self, checker: Checker, now: datetime, ahead: timedelta, checks: list[str]
    ) -> None:
        """A clock earlier than the source is an alert that silences `expiring` and `cadence`."""
        report = checker(good_keys() | {EXPIRES: marker(ahead, now=now)}, now=now)
        assert found(report) == [(check, K1) for check in checks]

    def test_the_constant(self) -> None:
        """It is no later than this source, or a clock that is right would be refused; it moves with releases alone."""
        assert datetime(2026, 11, 1, tzinfo=UTC) == EARLIEST_CLOCK

    def test_with_a_marker_that_cannot_be_read(self, checker: Checker) -> None:
        """Both are said."""
        report = checker(good_keys() | {EXPIRES: "never"}, now=EARLIEST_CLOCK - DAY)
        assert found(report) == [("expiry-marker", K1), ("clock", K1)]

    def test_without_a_marker(self, checker: Checker) -> None:
        """Nothing depends on the clock then."""
        assert found(checker(good_keys(), now=EARLIEST_CLOCK - DAY)) == []


class TestFileUnsafe:
    """A fallback file that may not be used."""

    REPLACEABLE = "is writable by others"

    @staticmethod
    def refused(checker: Checker, why: str) -> None:
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("file-unsafe", K1)]
        assert why in report.findings[0].message
        assert report.findings[0].source == "file:config/secret.key"
        assert report.secrets[0].state == "invalid-format"
        assert report.secrets[0].fingerprint is None

    @staticmethod
    def used(checker: Checker) -> None:
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("file-fallback", K1)]
        assert report.secrets[0].source == "file:config/secret.key"

    @pytest.mark.parametrize(("size", "fits"), [(MAX_FILE_BYTES, True), (MAX_FILE_BYTES + 1, False)])
    def test_size(self, checker: Checker, size: int, fits: bool) -> None:  # noqa: FBT001
        """A file of 4 KiB is read, a larger one is not."""
        key = good_keys()[V1]
        checker.write("secret.key", f"#{'-' * (size - len(key) - 2)}\n{key}")
        if fits:
            self.used(checker)
        else:
            self.refused(checker, "larger than 4096 bytes")

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
    def test_utf_16(self, checker: Checker, encoding: str) -> None:
        """UTF-16 is named where its byte-order mark tells; without one the key is malformed."""
        checker.write("secret.key", good_keys()[V1].encode(encoding))
        if encoding == "utf-16":
            self.refused(checker, "UTF-16")
        else:
            assert found(checker({V2: good_keys()[V2]})) == [("format", K1), ("file-fallback", K1)]

    def test_not_utf_8(self, checker: Checker) -> None:
        """Other bytes are refused."""
        checker.write("secret.key", good_keys()[V1].encode() + b"\xff")
        self.refused(checker, "not UTF-8")

    @posix_only
    def test_not_a_regular_file(self, checker: Checker) -> None:
        """A directory, a FIFO without a writer and an endless device are refused, at once."""
        path = checker.config / "secret.key"
        path.mkdir()
        self.refused(checker, "not a regular file")
        path.rmdir()
        os.mkfifo(path, 0o600)
        self.refused(checker, "not a regular file")
        path.unlink()
        path.symlink_to("/dev/zero")
        self.refused(checker, "not a regular file")

    @posix_only
    def test_a_symlink_loop(self, checker: Checker) -> None:
        """What cannot be opened is refused."""
        (checker.config / "secret.key").symlink_to("secret.key")
        self.refused(checker, "cannot be read")

    @posix_only
    def test_a_directory_that_cannot_be_judged(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """What cannot be judged after it was opened is refused too."""
        (checker.config / "secret.key").symlink_to(checker.write("key", good_keys()[V1]))

        def fail(_path: object) -> str:
            raise PermissionError

        monkeypatch.setattr("robodj_secretguard.textfile.os.readlink", fail)
        self.refused(checker, "cannot be read")

    @posix_only
    @pytest.mark.parametrize(("mode", "safe"), [(0o602, False), (0o600, True)])
    def test_writable_by_others(self, checker: Checker, mode: int, safe: bool) -> None:  # noqa: FBT001
        """A file that others can write is not a source."""
        checker.write("secret.key", good_keys()[V1], mode)
        if safe:
            self.used(checker)
        else:
            self.refused(checker, "it is writable by others")

    @posix_only
    @pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o1777, True), (0o755, True)])
    def test_directory_writable_by_others(self, checker: Checker, mode: int, safe: bool) -> None:  # noqa: FBT001
        """A directory in which others can replace the file is not one to read from, unless it is sticky."""
        checker.write("secret.key", good_keys()[V1])
        checker.config.chmod(mode)
        if safe:
            self.used(checker)
        else:
            self.refused(checker, self.REPLACEABLE)

    @posix_only
    @pytest.mark.parametrize("place", ["parent", "link", "middle", "absolute"])
    def test_a_directory_on_the_way(self, checker: Checker, tmp_path: Path, place: str) -> None:
        """Who can rename a directory above the file, or replace a link on the way to it, has written the file."""
        there = tmp_path / "there"
        there.mkdir(mode=0o755)
        (there / "key").write_text(good_keys()[V1])
        (there / "key").chmod(0o600)
        middle = tmp_path / "middle"
        middle.mkdir(mode=0o755)
        (middle / "link").symlink_to(there / "key" if place == "absolute" else "../there/key")
        (checker.config / "secret.key").symlink_to("../middle/link")
        self.used(checker)
        open_to_all = {"parent": tmp_path, "link": checker.config, "middle": middle, "absolute": there}[place]
        open_to_all.chmod(0o777)
        self.refused(checker, self.REPLACEABLE)
        open_to_all.chmod(0o1777)
        self.used(checker)

    @posix_only
    def test_a_link_on_the_way_to_the_directory(self, checker: Checker, tmp_path: Path) -> None:
        """Nor is the config directory one to read from where others can replace a link that leads to it."""
        checker.write("secret.key", good_keys()[V1])
        middle = tmp_path / "middle"
        middle.mkdir(mode=0o755)
        (middle / "second").symlink_to("../config/../config/.")
        (tmp_path / "first").symlink_to("middle/second")
        linked = Checker(tmp_path / "first")
        self.used(linked)
        middle.chmod(0o777)
        self.refused(linked, self.REPLACEABLE)

    @posix_only
    def test_many_links(self, checker: Checker, tmp_path: Path) -> None:
        """Every link that the system follows is followed: what the last one leads to is judged too."""
        there = tmp_path / "there"
        there.mkdir(mode=0o755)
        (there / "key").write_text(good_keys()[V1])
        (there / "key").chmod(0o600)
        chain = [there / "key"]
        with contextlib.suppress(OSError):
            while chain[-1].read_bytes():
                chain.append(tmp_path / f"link{len(chain)}")
                chain[-1].symlink_to(chain[-2])
        (checker.config / "secret.key").symlink_to(chain[-3])  # the last was one too many
        self.used(checker)
        there.chmod(0o777)
        self.refused(checker, self.REPLACEABLE)

    @posix_only
    def test_links_without_an_end(self, tmp_path: Path) -> None:
        """Links that are made while they are followed come to an end."""
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            list(_steps(str(tmp_path / "loop")))

    @posix_only
    def test_a_relative_directory(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """The working directory, and those above it, are on the way to a path that begins there."""
        checker.write("secret.key", good_keys()[V1])
        monkeypatch.chdir(checker.config.parent)
        self.used(Checker(Path("config")))
        checker.config.parent.chmod(0o777)
        self.refused(Checker(Path("config")), self.REPLACEABLE)

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_another_users_in_a_sticky_directory(self, checker: Checker, tmp_path: Path, what: str) -> None:
        """A sticky directory, like that of temporary files, protects what is ours; what another put there is his."""
        path = checker.write("secret.key", good_keys()[V1])
        (checker.config if what == "file" else tmp_path).chmod(0o1777)
        self.used(checker)
        os.chown(path if what == "file" else checker.config, 65534, -1)
        report = checker({V2: good_keys()[V2]})
        owned = [("file-permissions", None)] * (what == "directory")
        assert found(report) == [*owned, ("file-unsafe", K1)]
        assert self.REPLACEABLE in report.findings[-1].message

    @posix_only
    def test_directory_behind_a_symlink(self, checker: Checker) -> None:
        """Kubernetes mounts are symlinks: they are followed, and the target's directory is judged too."""
        data = checker.config / "..data"
        data.mkdir(mode=0o755)
        (data / "secret.key").write_text(good_keys()[V1])
        (data / "secret.key").chmod(0o600)
        (checker.config / "secret.key").symlink_to("..data/secret.key")
        checker.config.chmod(0o1777)
        self.used(checker)
        data.chmod(0o777)
        self.refused(checker, self.REPLACEABLE)

    def test_an_unsafe_file_without_a_key_is_missing(self, checker: Checker) -> None:
        """Who can write a template of comments has written no key."""
        checker.write("secret.key", "# nothing yet\n", 0o666)
        assert found(checker({V2: good_keys()[V2]})) == [("missing", K1)]

    def test_modes_are_not_judged_on_windows(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """POSIX modes and owners mean nothing there."""
        monkeypatch.setattr("robodj_secretguard.textfile.POSIX", False)
        checker.write("secret.key", good_keys()[V1], 0o666)
        self.used(checker)


class TestFileContent:
    """What is a line of a fallback file."""

    @pytest.mark.parametrize(
        "spelled",
        ["{}", "{}\n", "{}\r\n", "\ufeff{}\n", "# a\n\n  {}\t \r\n# b", "\ufeff# a\r\n{}\r\n"],
    )
    def test_one_line_remains(self, checker: Checker, spelled: str) -> None:
        """Comments, blanks, a byte-order mark and Windows line ends do not matter."""
        key = good_keys()[V1]
        checker.write("secret.key", spelled.format(key))
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("file-fallback", K1)]
        assert report.secrets[0].fingerprint == checker(good_keys() | {V1: key}).secrets[0].fingerprint

    def test_only_one_carriage_return_is_stripped(self, checker: Checker) -> None:
        """A second one is part of the value."""
        checker.write("secret.key", f"{good_keys()[V1]}\r\r\n")
        assert found(checker({V2: good_keys()[V2]})) == [("format", K1), ("file-fallback", K1)]


class TestFileNotNeeded:
    """File-present and file-stale: a file that is only looked at to see whether it holds key material."""

    @pytest.mark.parametrize(
        ("content", "holds"),
        [
            ("", False),
            ("# template\nREPLACE_WITH_A_KEY\n", False),
            ("# template\nREPLACE_WITH_A_KEY\nCHANGEME\n", False),
            ("leftover", True),
            ("REPLACE_WITH_A_KEY\nleftover", True),
            (b"\xff\xfe", True),
            (b"x" * 5000, True),
        ],
    )
    def test_holds_key_material(self, checker: Checker, content: str | bytes, holds: bool) -> None:  # noqa: FBT001
        """Anything but blanks, comments and placeholders is key material, and so is what cannot be judged."""
        checker.write("secret.key", content, 0o666)
        stale, present = checker(good_keys()), checker(good_keys(), require_env_only=True)
        assert found(stale) == ([("file-stale", K1)] if holds else [])
        assert found(present) == ([("file-present", K1)] if holds else [])
        assert stale.ok
        assert present.ok is not holds

    @pytest.mark.parametrize(
        ("content", "said"), [(b"\xff\xfe", "cannot be judged"), (b"leftover", "holds key material")]
    )
    def test_what_is_said_of_it(self, checker: Checker, content: bytes, said: str) -> None:
        """What cannot be judged is not said to hold a key; it is said what makes it one too many."""
        checker.write("secret.key", content)
        where = f"secret.key in the configured directory {said}, while"
        assert checker(good_keys()).findings[0].message == f"{where} {V1} delivers the key."
        only = checker(good_keys(), require_env_only=True).findings[0]
        assert only.message == f"{where} fallback files are off."
        assert only.source == "file:config/secret.key"

    def test_missing_and_file_present_can_both_hold(self, checker: Checker) -> None:
        """In environment-only a key in a file is not used, and is in the way."""
        keys = good_keys()
        checker.write("secret.key", keys[V1])
        report = checker({V2: keys[V2]}, require_env_only=True)
        assert found(report) == [("missing", K1), ("file-present", K1)]


class TestFilePermissions:
    """A file in use that is open too wide."""

    @posix_only
    @pytest.mark.parametrize(
        ("mode", "said"),
        [(0o640, None), (0o644, "readable by others"), (0o620, "writable by its group"), (0o400, None)],
    )
    def test_modes(self, checker: Checker, mode: int, said: str | None) -> None:
        """Readable by others or writable by the group is a warning; readable by the group is not."""
        checker.write("secret.key", good_keys()[V1], mode)
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("file-fallback", K1)] + ([("file-permissions", K1)] if said else [])
        assert said is None or said in report.findings[1].message
        assert report.ok

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
    @pytest.mark.parametrize(
        ("owner", "user", "said"), [(12345, 0, True), (12345, 12346, True), (12345, 12345, False), (0, 12345, False)]
    )
    def test_owner(
        self,
        checker: Checker,
        monkeypatch: pytest.MonkeyPatch,
        owner: int,
        user: int,
        said: bool,  # noqa: FBT001
    ) -> None:
        """A file that belongs to neither root nor this user is a warning."""
        os.chown(checker.write("secret.key", good_keys()[V1]), owner, -1)
        monkeypatch.setattr("robodj_secretguard.textfile.os.geteuid", lambda: user)
        report = checker({V2: good_keys()[V2]})
        assert found(report) == [("file-fallback", K1)] + ([("file-permissions", K1)] if said else [])
        assert not said or "owned by neither root nor this user" in report.findings[1].message


class TestSetting:
    """Switches with an unknown value, and a config directory that is not there."""

    @pytest.mark.parametrize("switch", ["ROBODJ_PROTECTED_ENV", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"])
    @pytest.mark.parametrize("value", ["2", "maybe", " true", "ye", "\n"])
    def test_unknown(self, checker: Checker, switch: str, value: str) -> None:
        """An unknown value is an alert, and environment-only holds."""
        report = checker(good_keys() | {switch: value})
        assert found(report) == [("setting", None)]
        assert report.require_env_only
        assert report.findings[0].source == "environment"

    @pytest.mark.parametrize("value", ["1", "true", "YES", "On", "0", "False", "no", "OFF", ""])
    def test_known(self, checker: Checker, value: str) -> None:
        """The two switches point in opposite directions; empty is unset."""
        on = value.lower() in {"1", "true", "yes", "on"}
        protected = checker(good_keys() | {"ROBODJ_PROTECTED_ENV": value})
        assert found(protected) == []
        assert protected.require_env_only is on
        allowed = checker(good_keys() | {"ROBODJ_ALLOW_FILE_SECRET_FALLBACK": value})
        assert found(allowed) == []
        assert allowed.require_env_only is (not on and bool(value))

    def test_any_of_three_is_enough(self, checker: Checker) -> None:
        """Nothing turns environment-only off that another has turned on."""
        mixed = good_keys() | {"ROBODJ_PROTECTED_ENV": "0", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "1"}
        assert checker(mixed, require_env_only=True).require_env_only
        assert not checker(mixed).require_env_only


class TestEphemeral:
    """Throw-away keys, which are for no service."""

    @pytest.mark.parametrize("value", ["1", "0", "false", "anything"])
    def test_set(self, checker: Checker, value: str) -> None:
        """Whatever it is set to, it is said once, as a warning."""
        report = checker(good_keys() | {"ROBODJ_SECRETS_EPHEMERAL": value})
        assert found(report) == [("ephemeral", None)]
        assert report.ok
        assert report.findings[0].source == "environment"
        assert report.findings[0].remedy.endswith("; a build or a test needs nothing.")

    def test_environment_only(self, checker: Checker) -> None:
        """Where services serve it is an alert."""
        report = checker(good_keys() | {"ROBODJ_SECRETS_EPHEMERAL": "1"}, require_env_only=True)
        assert found(report) == [("ephemeral", None)]
        assert not report.ok
        assert report.findings[0].remedy.endswith("; to build or test, do so outside of the protected environment.")

    def test_empty(self, checker: Checker) -> None:
        """Empty is unset."""
        assert found(checker(good_keys() | {"ROBODJ_SECRETS_EPHEMERAL": ""}, require_env_only=True)) == []


def revocation_of(*keys: str) -> str:
    """Write a revocation list of these keys."""
    return "".join(f"{fingerprint(SealedStr(key))}\n" for key in keys)


class TestRevoked:
    """A key on the revocation list; what a list is, test_revocation.py says."""

    @pytest.mark.parametrize(("variable", "name"), [(V1, K1), (V2, K2)])
    @pytest.mark.parametrize("place", ["file", "variable"])
    @pytest.mark.parametrize("require_env_only", [False, True])
    def test_on_the_list(
        self,
        checker: Checker,
        variable: str,
        name: str,
        place: str,
        require_env_only: bool,  # noqa: FBT001
    ) -> None:
        """A key whose fingerprint is on it is an alert, in environment-only too; the others are none."""
        keys = good_keys()
        revocation = revocation_of(good_keys()[V1], keys[variable], good_keys()[V2])
        environ = dict(keys)
        if place == "file":
            checker.write(REVOKED_FILE, revocation)
        else:
            environ[REVOKED] = revocation
        report = checker(environ, require_env_only=require_env_only)
        assert found(report) == [("revoked", name)]
        assert not report.ok
        assert (report.findings[0].severity, report.findings[0].source) == (Severity.ALERT, "environment")
        assert [status.state for status in report.secrets] == [State.PRESENT, State.PRESENT]
        assert all(status.fingerprint for status in report.secrets)

    def test_not_on_the_list(self, checker: Checker) -> None:
        """Other keys may be revoked, and a fingerprint may differ in a single digit."""
        keys = good_keys()
        listed = revocation_of(keys[V1]).strip()
        near = listed[:-1] + ("0" if listed[-1] != "0" else "1")
        checker.write(REVOKED_FILE, revocation_of(*good_keys().values()))
        report = checker(keys | {REVOKED: near})
        assert found(report) == []
        assert report.ok

    @pytest.mark.parametrize("size", [32, 64], ids=["43-characters", "86-characters"])
    def test_respelled(self, checker: Checker, size: int) -> None:
        """A revoked key is revoked in any spelling."""
        key = secrets.token_urlsafe(size)
        for listed, used in [pair for other in respelled(key) for pair in ((key, other), (other, key))]:
            environ = good_keys() | {V1: used, REVOKED: revocation_of(listed)}
            assert found(checker(environ)) == [("revoked", K1)]

    def test_in_a_comment(self, checker: Checker) -> None:
        """What is commented out is not revoked any more."""
        keys = good_keys()
        checker.write(REVOKED_FILE, f"# {revocation_of(keys[V1])}")
        assert found(checker(keys)) == []

    @pytest.mark.parametrize("change", [str.lower, str.upper])
    def test_hexadecimal_in_another_case(self, checker: Checker, change: object) -> None:
        """A revoked hexadecimal key is revoked in any case; a base64url key in another case is another key."""
        assert callable(change)
        keys = good_keys()
        mixed = "".join(secrets.choice((digit, digit.upper())) for digit in keys[V2])
        for revoked in (keys[V2], keys[V2].upper(), mixed):
            report = checker(keys | {V2: change(keys[V2]), REVOKED: revocation_of(revoked)})
            assert found(report) == [("revoked", K2)]
        assert found(checker(keys | {REVOKED: revocation_of(keys[V1].swapcase())})) == []

    def test_under_another_name(self, checker: Checker) -> None:
        """A key that was revoked as one secret is refused as another."""
        keys = good_keys()
        other = secrets.token_hex(64)
        checker.write(REVOKED_FILE, revocation_of(other))
        assert found(checker(keys | {V1: other})) == [("revoked", K1)]
        assert found(checker(keys | {V2: other})) == [("revoked", K2)]

    def test_one_key_for_two(self, checker: Checker) -> None:
        """Each is revoked, and they are one besides."""
        key = secrets.token_hex(64)
        report = checker({V1: key, V2: key, REVOKED: revocation_of(key)})
        assert found(report) == [("revoked", K1), ("shared", K2), ("revoked", K2)]

    def test_one_from_each_source(self, checker: Checker) -> None:
        """The variable adds to the file, and takes nothing away from it."""
        keys = good_keys()
        checker.write(REVOKED_FILE, revocation_of(keys[V1]))
        assert found(checker(keys | {REVOKED: revocation_of(keys[V2])})) == [("revoked", K1), ("revoked", K2)]

    def test_a_key_from_a_file(self, checker: Checker) -> None:
        """Where the key comes from does not matter."""
        keys = good_keys()
        checker.write("secret.key", keys[V1])
        report = checker({V2: keys[V2], REVOKED: revocation_of(keys[V1])})
        assert found(report) == [("revoked", K1), ("file-fallback", K1)]
        assert report.findings[0].source == "file:config/secret.key"

    def test_a_key_that_is_not_used(self, checker: Checker) -> None:
        """What lies in a file that is not needed is nobody's key."""
        stale = good_keys()[V1]
        checker.write("secret.key", stale)
        environ = good_keys() | {REVOKED: revocation_of(stale)}
        assert found(checker(environ)) == [("file-stale", K1)]
        assert found(checker(environ, require_env_only=True)) == [("file-present", K1)]

    def test_an_expired_key(self, checker: Checker) -> None:
        """Both are said."""
        keys = good_keys()
        report = checker(keys | {EXPIRES: marker(-DAY), REVOKED: revocation_of(keys[V1])})
        assert found(report) == [("expired", K1), ("revoked", K1)]
        assert report.secrets[0].state == "expired"

    @pytest.mark.parametrize(
        ("value", "check"),
        [("", "missing"), ("changeme", "placeholder"), ("short", "format"), ("Zy" * 30, "weak")],
    )
    def test_only_of_a_sound_key(self, checker: Checker, value: str, check: str) -> None:
        """What is no key has no fingerprint to be looked for."""
        assert found(checker(good_keys() | {V1: value, REVOKED: revocation_of(value)})) == [(check, K1)]

    @pytest.mark.parametrize("value", ["é", "\udcff", "\N{FULLWIDTH DIGIT ONE}"])
    def test_what_could_have_no_fingerprint(self, checker: Checker, value: str) -> None:
        """Where there is a list, other characters are a wrong format, and no check that failed."""
        key, listed = good_keys()[V1], revocation_of(good_keys()[V1])
        assert found(checker(good_keys() | {V1: key + value, REVOKED: listed})) == [("format", K1)]

    @posix_only
    def test_a_fallback_file_that_is_unsafe(self, checker: Checker) -> None:
        """Nor has a key that is not taken."""
        keys = good_keys()
        checker.write("secret.key", keys[V1], 0o666)
        assert found(checker({V2: keys[V2], REVOKED: revocation_of(keys[V1])})) == [("file-unsafe", K1)]

    def test_beside_what_cannot_be_read(self, checker: Checker) -> None:
        """An entry that cannot be read hides no other."""
        keys = good_keys()
        checker.write(REVOKED_FILE, f"wrong\n{revocation_of(keys[V1])}")
        report = checker(keys | {REVOKED: f"wrong,{revocation_of(keys[V2])}"})
        assert found(report) == [("revocation-list", None)] * 2 + [("revoked", K1), ("revoked", K2)]

    def test_its_fingerprint_is_told(self, checker: Checker) -> None:
        """It is what the list is searched for; the remedy is the replacement, by the secret's own generator."""
        keys = good_keys()
        report = checker(keys | {REVOKED: revocation_of(*keys.values())})
        for finding, status in zip(report.findings, report.secrets, strict=True):
            assert finding.message == f"The key is revoked: {status.fingerprint} is on the revocation list."
        assert "as ROBODJ_SECRET_KEY; " in report.findings[0].remedy
        assert "secrets.token_urlsafe(32)" in report.findings[0].remedy
        assert "as ROBODJ_SECRET_V2_KEY; " in report.findings[1].remedy
        assert "secrets.token_hex(64)" in report.findings[1].remedy


class TestNearMiss:
    """A set variable or a file that is a typo of one that is read."""

    @pytest.mark.parametrize(
        ("name", "secret", "severity"),
        [
            ("robodj_secret_key", K1, Severity.WARNING),
            ("ROBODJ_SECRET_KEYS", K1, Severity.WARNING),
            ("ROBODJ_SECRE_KEY", K1, Severity.WARNING),
            ("ROBODJ_SECRET-KEY", K1, Severity.WARNING),
            ("ROBODJ_SERCET_KEY", K1, Severity.WARNING),
            ("OBODJ_SECRET_KEY", K1, Severity.WARNING),
            ("ROBODJ_SECRET_KEY_FILE", K1, Severity.WARNING),
            ("ROBODJ_SECRET_KEY_EXPIRE_AT", K1, Severity.ALERT),
            ("ROBODJ_SECRET_KEY_EXPIRY", K1, Severity.ALERT),
            ("ROBODJ_SECRET_KEY_EXP", K1, Severity.ALERT),
            ("Robodj_Secret_Key_Expires_At", K1, Severity.ALERT),
            ("ROBODJ_SECRET_V2_KEY_EXPIRES", K2, Severity.ALERT),
            ("ROBODJ_PROTECTED_EN", None, Severity.ALERT),
            ("robodj_protected_env", None, Severity.ALERT),
            ("ROBODJ_ALLOW_FILE_SECRETS_FALLBACK", None, Severity.ALERT),
            ("ROBODJ_CONFIG_DIRS", None, Severity.WARNING),
            ("ROBODJ_REVOKED_FINGERPRINTS_FILE", None, Severity.ALERT),
            ("ROBODJ_SECRET_EPHEMERAL", None, Severity.ALERT),
            ("ROBODJ_REVOKED_FINGERPRINT", None, Severity.ALERT),
            ("robodj_revoked_fingerprints", None, Severity.ALERT),
            ("ROBODJ_OPERATION_LOG", None, Severity.WARNING),
            ("Robodj_Operations_Log", None, Severity.WARNING),
        ],
    )
    def test_typos(self, checker: Checker, name: str, secret: str | None, severity: Severity) -> None:
        """A typo is an alert where ignoring it loosens a check, and a warning where a key is merely missed."""
        report = checker(good_keys() | {name: "true"})
        assert found(report) == [("near-miss", secret)]
        assert report.findings[0].severity is severity

    @pytest.mark.parametrize(
        ("name", "meant", "secret"),
        [
            ("ROBODJ_SECRET_KEY_V2_EXPIRES_AT", "ROBODJ_SECRET_V2_KEY_EXPIRES_AT", K2),
            ("ROBODJ_SECRET_EXPIRES_AT", EXPIRES, K1),
            ("ROBODJ_SECRET_KEY_VALID_UNTIL", EXPIRES, K1),
            ("ROBODJ_SECRET_KEY_EXPIRY", EXPIRES, K1),
            ("ROBODJ_SECRET_V2_EXPIRATION_DATE", "ROBODJ_SECRET_V2_KEY_EXPIRES_AT", K2),
            ("ROBODJ_SECRET_KEY_EXPIERS_AT", EXPIRES, K1),
            ("robodj_secret_valid_until", EXPIRES, K1),
            ("ROBODJ_SECRET_KEY_NOTAFTER", EXPIRES, K1),
            ("ROBODJ_SECRET_KEY_ROTATE_BY", EXPIRES, K1),
            ("ROBODJ_PROTECTED_ENVIRONMENT", "ROBODJ_PROTECTED_ENV", None),
            ("ROBODJ_PROTECTED", "ROBODJ_PROTECTED_ENV", None),
            ("ROBODJ_PROTECTED_MODE", "ROBODJ_PROTECTED_ENV", None),
            ("ROBODJ_PROTECTED_ENV_FILE", "ROBODJ_PROTECTED_ENV", None),
            ("ROBODJ_ALLOW_FILE_FALLBACK", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK", None),
            ("ROBODJ_ALLOW_FILES", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK", None),
        ],
    )
    def test_a_family_of_names(self, checker: Checker, name: str, meant: str, secret: str | None) -> None:
        """A name that speaks of expiry, or begins like a switch, is an alert that names the right one."""
        report = checker(good_keys() | {name: "true"})
        assert found(report) == [("near-miss", secret)]
        assert report.findings[0].severity is Severity.ALERT
        assert f"{meant} is probably meant" in report.findings[0].message
        assert found(checker(good_keys() | {name: ""})) == []

    @pytest.mark.parametrize(
        "name",
        [
            "ROBODJ_ACCESS_TOKEN_EXPIRE_MINUTES",
            "ROBODJ_SECRET_KEY_EXPORTER_SERVICE_HOST",
            "ROBODJ_SECRET_KEY_EXPORTER_URL",
            "ROBODJ_SECRET_KEY_EXPIRY_SERVICE_HOST",
            "ROBODJ_SECRET_KEY_EXPIRY_SERVICE_PORT",
            "ROBODJ_SECRET_KEY_EXPIRY_SERVICE_PORT_HTTP",
            "ROBODJ_SECRET_KEY_EXPIRY_PORT",
            "ROBODJ_SECRET_KEY_EXPIRY_PORT_8080_TCP",
            "ROBODJ_SECRET_KEY_EXPIRY_PORT_8080_TCP_ADDR",
            "ROBODJ_PROTECTED_ENV_PROXY_SERVICE_HOST",
            "ROBODJ_ALLOW_FILE_PROXY_PORT",
            "ROBODJ_SECRET_EXPRESS_TOKEN",
            "ROBODJ_SECRET_KEY_EXPOSURE",
            "ROBODJ_SECRET_MANAGER_VALID_TOKEN",
            "ROBODJ_SECRETARY_EXPENSES",
        ],
    )
    def test_an_innocent_name(self, checker: Checker, name: str) -> None:
        """Kubernetes service links and other words are no typos."""
        assert found(checker(good_keys() | {name: "tcp://10.0.0.1:80"})) == []

    def test_the_marker_of_another_service(self, checker: Checker) -> None:
        """A marker whose variable is set belongs to a secret that another model declares."""
        other = {"ROBODJ_SECRET_SCHEDULER_EXPIRES_AT": marker(DAY)}
        assert found(checker(good_keys() | other | {"ROBODJ_SECRET_SCHEDULER": "x"})) == []
        assert found(checker(good_keys() | other)) == [("near-miss", K1)]

    def test_an_unread_name_with_a_key_in_it(self, checker: Checker) -> None:
        """It is described by how it begins."""
        key = good_keys()[V1]
        for name, shown in (
            (f"ROBODJ_SECRET_EXPIRES_{key}", "A name that begins with ROBODJ_SECRET and speaks of expiry"),
            (f"ROBODJ_PROTECTED_{key}", "A name that begins with ROBODJ_PROTECTED"),
        ):
            report = checker(good_keys() | {name: "true"})
            assert report.findings[0].message.startswith(f"{shown} is set, and nothing reads it")
            assert key not in repr(report)

    @pytest.mark.parametrize(
        "name",
        [
            "ROBODJ_SECRET_V1_KEY",
            "ROBODJ_SECRET_V_KEY",
            "ROBODJ_SECRET_KEY2",
            "ROBODJ_SECRET_KEY_ID",
            "robodj_secret_keys",
            "ROBODJ_SECERT_KEYS",
            "MY_ROBODJ_SECRET_KEY",
            "ROBODJ_REVOKED",
            "ROBODJ_OPERATIONS_LOG",
            "K",
        ],
    )
    def test_other_names(self, checker: Checker, name: str) -> None:
        """An edit on a digit, two edits, and other names are nobody's typo."""
        assert found(checker(good_keys() | {name: "true"})) == []

    def test_empty_is_unset(self, checker: Checker) -> None:
        """An empty variable is not set, whatever it is called."""
        assert found(checker(good_keys() | {"ROBODJ_PROTECTED_EN": ""})) == []

    def test_a_name_with_a_key_in_it_is_not_shown(self, checker: Checker) -> None:
        """Only a name of which all but one character are known is shown."""
        key = secrets.token_hex(16).upper()
        report = checker(good_keys() | {f"ROBODJ_SECRET_KEY_EXP{key}": "x", "ROBODJ_SECRET_KEY\n": "x"})
        assert found(report) == [("near-miss", K1)] * 2
        assert key not in repr(report)
        assert "A name that begins with ROBODJ_SECRET_KEY and speaks of expiry " in repr(report)
        assert "A name that is one character away" in repr(report)

    def test_what_is_not_shown_is_said_once(self, checker: Checker) -> None:
        """Several names of which no more can be said than the beginning are one finding."""
        names = {f"ROBODJ_SECRET_KEY_EXP{secrets.token_hex(16).upper()}": "x" for _ in range(3)}
        assert found(checker(good_keys() | names)) == [("near-miss", K1)]

    def test_a_letter_that_only_upper_case_makes_ascii(self, checker: Checker) -> None:
        """A line stays ASCII whatever the name: such a letter is one replaced, not another case."""
        report = checker(good_keys() | {"ROBODJ_\N{LATIN SMALL LETTER LONG S}ECRET_KEY": "x"})
        assert found(report) == [("near-miss", K1)]
        assert repr(report).isascii()

    @pytest.mark.parametrize(("content", "check"), [("", "missing"), ("key", "format"), (b"\xff", "file-unsafe")])
    def test_a_file_with_a_second_ending_beside_one(self, checker: Checker, content: str | bytes, check: str) -> None:
        """It is said whatever is in the fallback file itself."""
        checker.write("secret.key", content)
        checker.write("secret.key.txt", good_keys()[V1])
        fired = [each for each, _ in found(checker({V2: good_keys()[V2]}))]
        assert (fired[0], "near-miss" in fired) == (check, True)

    @posix_only
    @pytest.mark.parametrize(("target", "check"), [("secret.key", "file-unsafe"), ("nowhere", "missing")])
    def test_a_file_with_a_second_ending_beside_a_link(self, checker: Checker, target: str, check: str) -> None:
        """It is said where the fallback file cannot be opened, or is a link to nothing, too."""
        (checker.config / "secret.key").symlink_to(target)
        checker.write("secret.key.txt", good_keys()[V1])
        assert found(checker({V2: good_keys()[V2]})) == [(check, K1), ("near-miss", K1)]

    def test_a_file_with_a_second_ending(self, checker: Checker) -> None:
        """An editor's `.txt` beside the fallback file is a warning."""
        checker.write("secret.key.txt", good_keys()[V1])
        report = checker(good_keys())
        assert found(report) == [("near-miss", K1)]
        assert report.ok
        assert report.findings[0].source == "file:config/secret.key"

    def test_a_revocation_list_with_a_second_ending(self, checker: Checker) -> None:
        """An editor's `.txt` beside the revocation list is an alert: what is revoked in it could pass."""
        keys = good_keys()
        checker.write(f"{REVOKED_FILE}.txt", revocation_of(keys[V1]))
        for require_env_only in (False, True):
            report = checker(keys, require_env_only=require_env_only)
            assert found(report) == [("near-miss", None)]
            assert not report.ok
            assert report.findings[0].source == "file:config/revoked.fingerprints"

    @pytest.mark.parametrize(
        ("content", "fired"),
        [("", []), ("# nothing", []), ("wrong", ["revocation-list"]), (b"\xff", ["revocation-list"])],
    )
    def test_it_is_said_beside_a_list(self, checker: Checker, content: str | bytes, fired: list[str]) -> None:
        """Whatever is in the list itself."""
        checker.write(REVOKED_FILE, content)
        checker.write(f"{REVOKED_FILE}.txt", "")
        assert found(checker(good_keys())) == [(check, None) for check in [*fired, "near-miss"]]

    @posix_only
    @pytest.mark.parametrize("target", [REVOKED_FILE, "nowhere"])
    def test_it_is_said_beside_a_link(self, checker: Checker, target: str) -> None:
        """Where the list cannot be opened, or is a link to nothing, too; and of a link to nothing of that name."""
        (checker.config / REVOKED_FILE).symlink_to(target)
        (checker.config / f"{REVOKED_FILE}.txt").symlink_to("nowhere")
        assert found(checker(good_keys())) == [("revocation-list", None), ("near-miss", None)]
