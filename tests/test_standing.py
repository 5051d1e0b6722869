"""What the operations log shows: a revocation that is not listed, an old key that came back, the role of each key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_line import OTHER, rotated
from conftest import NOW, Checker, good_keys

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle.records import draft
from robodj_secretguard.lifecycle.standing import expected_keys, recorded_findings, roles_of
from robodj_secretguard.startup.readings import ALWAYS, RevocationStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard import Report
    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.startup.report import Finding

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
PLAN = "run robodj-secretguard rotate plan secret.key"
EXCHANGE = "exchange the values of ROBODJ_SECRET_KEY and ROBODJ_SECRET_KEY_PREVIOUS"
RENEW = f"set every variable of secret.key from the secret manager if it has {{}} key; otherwise {PLAN}"
KEY, KEY_OF_OTHER, LATER, GONE = (f"sgfp1:{digit * 32}" for digit in "abcd")


@pytest.fixture
def report(checker: Checker) -> Report:
    """A report on two sound keys with known fingerprints."""
    report = checker(good_keys())
    first, second = report.secrets
    return report._replace(secrets=(first._replace(fingerprint=KEY), second._replace(fingerprint=KEY_OF_OTHER)))


def recorded(age: timedelta, key: str = KEY, **fields: Any) -> Record:
    """Return the record of a rotation of this age."""
    return rotated(NOW - age, key, **fields)


def revocation(key: str) -> Record:
    """Return the record of a revocation."""
    return replace(draft("revoked", reason="leaked", fingerprint=key), recorded_at=NOW - DAY)


def listing(report: Report, *begins: tuple[str, datetime]) -> Report:
    """Return a report whose revocation list has these entries."""
    return report._replace(revocation_list=RevocationStatus(("environment",), begins))


def findings(report: Report, *records: Record) -> list[Finding]:
    """Return the findings that the log leads to."""
    return [*recorded_findings(report, records, POLICIES, ("--config-dir", "x"))]


class TestRevocations:
    """A recorded revocation must be on the revocation list."""

    def test_one_that_is_not_listed(self, report: Report) -> None:
        """An unlisted revocation is an alert for the owners of all secrets, with the command that lists it."""
        (found,) = findings(report, revocation(GONE))
        assert found._asdict() == {
            "check": "revocation-list",
            "severity": "alert",
            "secret": None,
            "slot": None,
            "source": "file:config/revoked.fingerprints",
            "message": f"{GONE} is recorded as revoked, but is not on the revocation list",
            "remedy": f"run robodj-secretguard revoke --fingerprint {GONE} --reason 'recorded as revoked' --yes"
            " --config-dir x",
            "owner": "Security Operations",
        }

    def test_several(self, report: Report) -> None:
        """The first unlisted key is named, also in the command. The others are counted, each once."""
        (found,) = findings(report, revocation(GONE), revocation(KEY), revocation(GONE))
        assert found.message == f"{GONE} is recorded as revoked, but is not on the revocation list (and 1 more)"
        assert f" revoke --fingerprint {GONE} " in found.remedy

    def test_a_listed_one(self, report: Report) -> None:
        """A listed revocation is in order. If no list was read, nothing is known."""
        listed = listing(report, (GONE, ALWAYS))
        assert findings(listed, revocation(GONE)) == []
        assert len(findings(listed, revocation(GONE), revocation(KEY))) == 1
        assert findings(report._replace(revocation_list=None), revocation(GONE)) == []


class TestReplaced:
    """A key that a promotion has replaced must be on the list from its deadline on."""

    UNTIL = NOW
    ENTRY = f"{GONE}@2026-12-01T12:00:00Z"

    @pytest.mark.parametrize(
        ("begins", "is_listed"),
        [
            ((), False),
            (((GONE, UNTIL),), True),
            (((GONE, UNTIL - SECOND),), True),
            (((GONE, UNTIL + SECOND),), False),
            (((GONE, ALWAYS),), True),
        ],
        ids=["missing", "listed", "earlier", "later", "plain"],
    )
    def test_entry(self, report: Report, begins: tuple[tuple[str, datetime], ...], *, is_listed: bool) -> None:
        """A missing entry is a warning with the line to add. An earlier instant is enough."""
        records = [recorded(2 * DAY, GONE), recorded(DAY, replaced=GONE, replaced_until=self.UNTIL)]
        found = [each._asdict() for each in findings(listing(report, *begins), *records)]
        warning = {
            "check": "revocation-list",
            "severity": "warning",
            "secret": None,
            "slot": None,
            "source": "file:config/revoked.fingerprints",
            "message": f"{GONE} was replaced, but is not on the revocation list",
            "remedy": f"add the line {self.ENTRY} to the revocation list, and deploy it",
            "owner": "Security Operations",
        }
        assert found == ([] if is_listed else [warning])

    def test_before_its_deadline_a_key_needs_no_entry(self, report: Report) -> None:
        """While a rotation is rolled out, nothing is missing."""
        assert findings(report, recorded(DAY, replaced=GONE, replaced_until=NOW + SECOND)) == []

    def test_key_that_is_current_again_needs_no_entry(self, report: Report) -> None:
        """A replaced key that a rollback made current again need not be on the list."""
        replaced = recorded(DAY, replaced=GONE, replaced_until=self.UNTIL)
        back = replace(recorded(SECOND, GONE), event="rolled-back")
        unlisted = f"{GONE} was replaced, but is not on the revocation list"
        assert [each.message for each in findings(report, replaced)] == [unlisted]
        assert unlisted not in [each.message for each in findings(report, replaced, back)]

    def test_several(self, report: Report) -> None:
        """The first missing entry is named. The others are counted, each once."""
        records = [recorded(DAY, replaced=key, replaced_until=self.UNTIL) for key in (GONE, GONE, LATER)]
        (found,) = findings(report, *records)
        assert found.message == f"{GONE} was replaced, but is not on the revocation list (and 1 more)"

    def test_revoked_as_well(self, report: Report) -> None:
        """A recorded revocation needs a plain entry: one with an instant is not enough."""
        listed = listing(report, (GONE, self.UNTIL))
        (found,) = findings(listed, revocation(GONE))
        assert (found.severity, found.message.split()[0]) == ("alert", GONE)
        replaced = recorded(DAY, replaced=LATER, replaced_until=self.UNTIL)
        severities = [each.severity for each in findings(listed, revocation(GONE), replaced)]
        assert severities == ["alert", "warning"]


class TestSuperseded:
    """A delivered key is old if a later key is recorded in its environment."""

    @pytest.mark.parametrize(("age", "severity"), [(14 * DAY, "note"), (14 * DAY + SECOND, "warning")])
    def test_an_old_key(self, report: Report, age: timedelta, severity: str) -> None:
        """Within the overlap it is a note, and a warning after it."""
        (found,) = findings(report, recorded(40 * DAY), recorded(age, LATER), recorded(DAY, GONE))
        assert found._asdict() == {
            "check": "superseded",
            "severity": severity,
            "secret": "secret.key",
            "slot": "current",
            "source": "environment",
            "message": f"ROBODJ_SECRET_KEY is an old key; the latest one is {GONE}",
            "remedy": RENEW.format("the latest"),
            "owner": "Security Operations",
        }

    @pytest.mark.parametrize(("until", "severity"), [(SECOND, "note"), (-SECOND, "warning")])
    def test_a_recorded_deadline(self, report: Report, until: timedelta, severity: str) -> None:
        """Where the record has the deadline of the old key, that is the end of the overlap."""
        later = recorded(DAY, LATER, replaced=KEY, replaced_until=NOW + until)
        *_, found = findings(report, recorded(2 * DAY), later)
        assert (found.check, found.severity) == ("superseded", severity)

    @pytest.mark.parametrize("fields", [{"replaced": KEY}, {"replaced": GONE, "replaced_until": NOW - SECOND}])
    def test_a_record_without_its_deadline(self, report: Report, fields: dict[str, Any]) -> None:
        """A record without the deadline of the old key, or with that of another one, does not change the overlap."""
        *_, found = findings(report, recorded(2 * DAY), recorded(DAY, LATER, **fields))
        assert found.severity == "note"

    @pytest.mark.parametrize(
        ("source", "renew", "restore", "exchange"),
        [
            (
                "environment",
                RENEW.format("a newer"),
                RENEW.format("the latest"),
                f"{EXCHANGE}; if they are swapped in the secret manager, there too",
            ),
            (
                "vault:a/b",
                f"{PLAN} --from vault:a/b and follow its steps",
                f"restore secret.key from the version with the latest key; if there is none, {PLAN} --from vault:a/b",
                f"in vault:a/b, {EXCHANGE}",
            ),
        ],
        ids=["environment", "manager"],
    )
    def test_its_fix(self, report: Report, source: str, renew: str, restore: str, exchange: str) -> None:
        """The latest key is set again, unless it is revoked. If it is in the slot of the previous key, it is there."""
        first, second = report.secrets
        first, records = first._replace(source=source), (recorded(40 * DAY), recorded(15 * DAY, LATER))
        found = report._replace(secrets=(first, second))
        swapped = report._replace(secrets=(first._replace(previous_fingerprint=LATER), second))
        assert [each.remedy for each in findings(found, *records)] == [restore]
        assert [each.remedy for each in findings(swapped, *records)] == [exchange]
        soon = [each.remedy for each in findings(swapped, recorded(40 * DAY), recorded(DAY, LATER))]
        wait = "deliver the latest key to vault:a/b before 2026-12-14T12:00:00Z; after that, this is a warning"
        assert soon == [restore if source == "environment" else wait]
        listed = listing(swapped, (LATER, NOW))
        assert [each.remedy for each in findings(listed, *records)] == [renew]
        assert [each.remedy for each in findings(listing(found, (LATER, ALWAYS)), *records, revocation(LATER))] == [
            renew
        ]

    def test_not_promoted(self, report: Report) -> None:
        """If the next key is the latest one, the message says so."""
        first, second = report.secrets
        waiting = report._replace(secrets=(first._replace(next_fingerprint=LATER), second))
        (found,) = findings(waiting, recorded(2 * DAY), recorded(DAY, LATER))
        message = "ROBODJ_SECRET_KEY is an old key; the latest one is in ROBODJ_SECRET_KEY_NEXT"
        assert (found.severity, found.message) == ("note", message)

    @pytest.mark.parametrize(
        "records",
        [
            [recorded(2 * DAY), recorded(DAY, LATER, environment="dev")],
            [recorded(2 * DAY), recorded(DAY, LATER, secret=OTHER)],
            [recorded(2 * DAY, GONE), recorded(DAY, LATER)],
            [recorded(3 * DAY), recorded(2 * DAY, LATER), recorded(DAY)],
            [recorded(3 * DAY), recorded(2 * DAY, environment="dev"), recorded(DAY, LATER)],
        ],
        ids=["another environment", "another secret", "not recorded", "recorded again", "delivered elsewhere since"],
    )
    def test_no_old_key(self, report: Report, records: Sequence[Record]) -> None:
        """A key is old only if another key is recorded after its own last record, in the same environment."""
        assert findings(report, *records) == []

    def test_no_key_is_delivered(self, report: Report) -> None:
        """Without a key, nothing is reported as old."""
        first, second = report.secrets
        missing = report._replace(secrets=(first._replace(fingerprint=None), second))
        assert findings(missing, recorded(DAY, None), recorded(SECOND, LATER)) == []  # type: ignore[arg-type]

    def test_each_secret(self, report: Report) -> None:
        """Each secret is compared with its own records."""
        records = [recorded(2 * DAY, key, secret=OTHER) for key in (KEY_OF_OTHER, LATER)]
        assert [each.secret for each in findings(report, *records)] == [OTHER]


class TestFleet:
    """The expected keys of each secret, and the role of each key in use."""

    def expected(self, report: Report, *records: Record, environment: str | None = None) -> Slots:
        """Return the expected keys of `secret.key`, from records in their order."""
        numbered = [replace(each, sequence=number) for number, each in enumerate(records, start=1)]
        return expected_keys(report, numbered, environment)["secret.key"]

    def without_a_key(self, report: Report) -> Report:
        """Return a report without a key of `secret.key`."""
        first, second = report.secrets
        return report._replace(secrets=(first._replace(fingerprint=None, next_fingerprint=GONE), second))

    def test_the_keys_that_were_checked(self, report: Report) -> None:
        """The keys that were checked are expected, if the log has no later one."""
        first, second = report.secrets
        first = first._replace(next_fingerprint=LATER, previous_fingerprint=GONE, previous_until=NOW)
        slots = report._replace(secrets=(first, second))
        for records in ([], [recorded(DAY)], [recorded(DAY, GONE)], [recorded(DAY, GONE), recorded(SECOND)]):
            assert self.expected(slots, *records) == Slots(KEY, LATER, GONE, NOW)
        assert expected_keys(slots, [], None)[OTHER] == Slots(KEY_OF_OTHER)

    def test_the_log(self, report: Report) -> None:
        """Without a key, or with an old one, the last recorded keys are expected."""
        last = recorded(DAY, LATER, replaced=KEY, replaced_until=NOW)
        staged = recorded(SECOND, GONE, event="staged")
        for each in (report, self.without_a_key(report)):
            assert self.expected(each, recorded(2 * DAY), last) == Slots(LATER, None, KEY, NOW)
            assert self.expected(each, recorded(2 * DAY), last, staged) == Slots(LATER, GONE, KEY, NOW)
            assert self.expected(each, recorded(2 * DAY), staged, last).next is None
        assert self.expected(report, recorded(2 * DAY), recorded(DAY, LATER), recorded(SECOND)) == Slots(KEY)

    def test_what_is_staged(self, report: Report) -> None:
        """Only the last next key counts, of the same secret and environment, and not one that is current."""
        last = recorded(DAY, LATER)
        others = [
            recorded(SECOND, GONE, event="staged", environment="dev"),
            recorded(SECOND, GONE, event="staged", secret=OTHER),
            recorded(SECOND, LATER, event="staged"),
        ]
        none = self.without_a_key(report)
        assert self.expected(none, last, *others, environment="prod").next is None
        staged = [recorded(SECOND, each, event="staged") for each in (KEY, GONE)]
        assert self.expected(none, last, *staged, *others, environment="prod").next == GONE

    def test_environments(self, report: Report) -> None:
        """An environment is selected by name, or by the key that was checked. Otherwise nothing is known."""
        records = [recorded(3 * DAY, GONE, environment="dev"), recorded(2 * DAY), recorded(DAY, LATER)]
        none = self.without_a_key(report)
        assert self.expected(report, *records) == Slots(LATER)
        assert self.expected(none, *records) == Slots()
        assert self.expected(none, *records, environment="dev") == Slots(GONE)
        assert self.expected(report, *records, environment="dev") == Slots(GONE)
        assert self.expected(report, *records, environment="test") == Slots()
        assert self.expected(none) == Slots()

    def test_a_replaced_key(self, report: Report) -> None:
        """A key without a record of its own is an old one where a rotation has replaced it."""
        first = replace(recorded(DAY, LATER), replaced=KEY, replaced_until=NOW)
        assert self.expected(report, first) == Slots(LATER, None, KEY, NOW)
        assert roles_of(report, [first], {})("secret.key", KEY) == "superseded"

    def test_roles(self, report: Report) -> None:
        """A key has the role of its slot, unless it is revoked; other recorded ones are superseded."""
        dated = (("sgfp1:" + "1" * 32, NOW), ("sgfp1:" + "2" * 32, NOW + SECOND))
        expected = {"secret.key": Slots(KEY, LATER, dated[1][0])}
        records = [recorded(DAY, KEY_OF_OTHER), recorded(DAY, "sgfp1:" + "3" * 32), revocation("sgfp1:" + "3" * 32)]
        role = roles_of(listing(report, (GONE, ALWAYS), *dated), records, expected)
        roles = {
            KEY: "current",
            LATER: "next",
            dated[1][0]: "previous",
            dated[0][0]: "revoked",
            GONE: "revoked",
            "sgfp1:" + "3" * 32: "revoked",
            KEY_OF_OTHER: "superseded",
            "sgfp1:" + "4" * 32: "unrecorded",
            None: "unrecorded",
        }
        assert {key: role("secret.key", key) for key in roles} == roles
        assert role(OTHER, KEY) == "unrecorded"
        assert roles_of(report._replace(revocation_list=None), records, expected)("secret.key", KEY) == "current"
