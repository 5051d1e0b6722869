"""The checks of instants: the deadline of a previous key, the expiry marker, and the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pytest
from conftest import NOW, V1, V2, Checker, found, good_keys, marker
from rule_cases import listed, rotated

from robodj_secretguard import RuntimeSecrets, Secret, SecretSettings, Severity, State, check
from robodj_secretguard.startup.time_rules import EARLIEST_CLOCK

K1 = "secret.key"
E1, E2 = f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT"
PREVIOUS, UNTIL = f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"
REVOKED, EPHEMERAL = "ROBODJ_REVOKED_FINGERPRINTS", "ROBODJ_SECRETS_EPHEMERAL"
MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
POLICIES = tuple(RuntimeSecrets.secret_policies.values())


class TestDeadline:
    """The deadline of a previous key."""

    @pytest.mark.parametrize(
        ("name", "ahead", "fired"),
        [
            (UNTIL, -DAY, "previous-past"),
            (UNTIL, 0 * DAY, "previous-past"),
            (UNTIL, datetime.min.replace(tzinfo=UTC) - NOW, "previous-past"),
            (UNTIL, MICROSECOND, None),
            (UNTIL, 15 * DAY, None),
            (UNTIL, 15 * DAY + MICROSECOND, "previous-until"),
            (f"{V2}_PREVIOUS_UNTIL", 8 * DAY, None),
            (f"{V2}_PREVIOUS_UNTIL", 8 * DAY + MICROSECOND, "previous-until"),
        ],
    )
    def test_deadline_is_at_most_the_overlap_and_a_day_ahead(
        self, checker: Checker, name: str, ahead: timedelta, fired: str | None
    ) -> None:
        """A deadline of now has passed. It is at most the overlap and one day ahead."""
        variable = name.removesuffix("_UNTIL")
        environ = good_keys() | {variable: good_keys()[variable.removesuffix("_PREVIOUS")], name: marker(ahead)}
        assert [check for check, _ in found(checker(environ))] == ([fired] if fired else [])
        environ.pop(variable)
        assert [check for check, _ in found(checker(environ))] == ["previous-until"]

    def test_overlap_is_reported_in_hours(self, tmp_path: Path) -> None:
        """An overlap that is not whole days is reported in hours."""

        class Own(SecretSettings):
            own: Annotated[Secret, POLICIES[0]._replace(overlap=timedelta(hours=36))]

        environ = {V1: good_keys()[V1], PREVIOUS: good_keys()[V1]}
        for ahead, text in ((3 * DAY, "2026-12-04T12:00:00Z, more than 36 hours ahead"), (60 * HOUR, "")):
            report = check(Own, environ=environ | {UNTIL: marker(ahead)}, config_dir=tmp_path, now=NOW)
            assert [each.message for each in report.findings] == ([f"{UNTIL} is {text}"] if text else [])

    @pytest.mark.parametrize("until", ["", "2026-12-04", "2026-12-04T12:00:00", "1796385600", "1796385600000", "never"])
    def test_bad_deadline_is_an_alert(self, checker: Checker, until: str) -> None:
        """A missing, naive or numeric deadline is an alert. Without a previous key, a deadline is only a warning."""
        report = checker(rotated(**{UNTIL: until}))
        assert [(each.check, each.severity, each.slot) for each in report.findings] == [
            ("previous-until", Severity.ALERT, "previous")
        ]
        assert ("is not set" in report.findings[0].message) is (not until)
        report = checker(good_keys() | {UNTIL: until})
        assert [(each.check, each.severity, each.source) for each in report.findings] == [
            ("previous-until", Severity.WARNING, "none") for _ in range(bool(until))
        ]

    def test_misspelled_deadline_does_not_hide_the_right_one(self, checker: Checker) -> None:
        """A misspelled deadline is no deadline that is missing where there is one."""
        assert found(checker(rotated(**{f"{UNTIL}S": marker(DAY)}))) == [("near-miss", K1)]

    @pytest.mark.parametrize("value", ["changeme", "short", "equal", "revoked", "shared"])
    def test_past_key_has_no_other_finding(self, checker: Checker, value: str) -> None:
        """After its deadline, a previous key has no other finding."""
        environ = rotated(**{UNTIL: marker(-DAY)})
        environ |= {
            "equal": {PREVIOUS: environ[V1]},
            "revoked": {REVOKED: listed(environ[PREVIOUS])},
            "shared": {PREVIOUS: environ[V2]},
        }.get(value, {PREVIOUS: value})
        assert found(checker(environ)) == [("previous-past", K1)]

    def test_deadline_is_not_checked_by_a_wrong_clock(self, checker: Checker) -> None:
        """A deadline cannot be checked if the clock is wrong: earlier than the release."""
        report = checker(environ := rotated(), now=EARLIEST_CLOCK - MICROSECOND)
        assert found(report) == [("clock", K1)]
        assert report.findings[0].message.endswith(f": {UNTIL} cannot be checked")
        assert found(checker(environ, now=EARLIEST_CLOCK)) == [("previous-until", K1)]


class TestMarker:
    """The optional expiry marker, and the clock."""

    @pytest.mark.parametrize(
        ("name", "ahead", "fired", "period"),
        [
            (E1, -DAY, "expired", ""),
            (E1, 0 * DAY, "expired", ""),
            (E1, MICROSECOND, "expiring", "within 1 day"),
            (E1, DAY, "expiring", "within 1 day"),
            (E1, DAY + MICROSECOND, "expiring", "within 2 days"),
            (E1, 14 * DAY, "expiring", "within 14 days"),
            (E1, 14 * DAY + MICROSECOND, None, ""),
            (E1, 91 * DAY, None, ""),
            (E1, 91 * DAY + MICROSECOND, "cadence", ""),
            (E2, 7 * DAY, "expiring", "within 7 days"),
            (E2, 7 * DAY + MICROSECOND, None, ""),
            (E2, 31 * DAY + MICROSECOND, "cadence", ""),
        ],
    )
    def test_marker_is_inclusive_at_each_limit(
        self, checker: Checker, name: str, ahead: timedelta, fired: str | None, period: str
    ) -> None:
        """A marker of now is expired. The warning period is inclusive. The cadence has one day of grace."""
        report = checker(good_keys() | {name: marker(ahead)})
        secret = report.secrets[name == E2]
        assert found(report) == ([(fired, secret.secret)] if fired else [])
        assert not period or f", {period} (" in report.findings[0].message
        assert secret.state is (State.EXPIRED if fired == "expired" else State.PRESENT)

    def test_only_a_delivered_key_can_expire(self, checker: Checker) -> None:
        """Malformed and revoked keys can expire, missing ones cannot. Temporary keys have no `expiring` warning."""
        keys = good_keys()
        for text in (marker(-DAY), "never"):
            assert found(checker({V2: keys[V2], E1: text}, now=EARLIEST_CLOCK - DAY)) == [("missing", K1)]
        report = checker(keys | {V1: "short", E1: marker(-DAY)})
        assert found(report) == [("format", K1), ("expired", K1)]
        assert report.secrets[0].state is State.INVALID_FORMAT
        report = checker(keys | {E1: marker(-DAY), REVOKED: listed(keys[V1])})
        assert found(report) == [("expired", K1), ("revoked", K1)]
        assert found(checker(keys | {E1: marker(DAY), EPHEMERAL: "1"})) == [("ephemeral", None)]

    @pytest.mark.parametrize(
        ("now", "text", "fired"),
        [
            (EARLIEST_CLOCK, marker(20 * DAY, now=EARLIEST_CLOCK), []),
            (EARLIEST_CLOCK - MICROSECOND, marker(20 * DAY, now=EARLIEST_CLOCK), ["clock"]),
            (EARLIEST_CLOCK - DAY, marker(DAY, now=EARLIEST_CLOCK - DAY), ["clock"]),
            (EARLIEST_CLOCK - DAY, marker(400 * DAY, now=EARLIEST_CLOCK), ["clock"]),
            (EARLIEST_CLOCK - DAY, marker(-2 * DAY, now=EARLIEST_CLOCK), ["expired", "clock"]),
            (EARLIEST_CLOCK - DAY, "never", ["expiry-marker", "clock"]),
            (EARLIEST_CLOCK - DAY, "", []),
        ],
        ids=range(7),
    )
    def test_clock_before_the_release_is_an_alert(
        self, checker: Checker, now: datetime, text: str, fired: list[str]
    ) -> None:
        """If a marker is set, a clock before the release is an alert. It suppresses `expiring` and `cadence`."""
        assert found(checker(good_keys() | {E1: text}, now=now)) == [(each, K1) for each in fired]

    def test_earliest_clock_is_before_this_release(self) -> None:
        """The earliest clock is not after this release. Only a release changes it."""
        assert datetime(2026, 11, 1, tzinfo=UTC) == EARLIEST_CLOCK
