"""What the operations log shows of the keys, and the record of a rotation from Python."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

import pytest
from command_line import OTHER, Machine, fingerprint_of, rotated
from conftest import NOW, V1, V2, Checker, good_keys
from pydantic import SecretStr

from robodj_secretguard import Material, Report, RuntimeSecrets, SecretPolicy, SecretSettings, check
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import Record, Who, draft
from robodj_secretguard.lifecycle.standing import (
    Recording,
    expected_keys,
    record_rotation,
    recorded_findings,
    roles_of,
    with_recorded_keys,
)
from robodj_secretguard.startup.model_option import LIBRARY_MODEL
from robodj_secretguard.startup.readings import ALWAYS, RevocationStatus
from robodj_secretguard.startup.report import Finding


class Issued(SecretSettings):
    """A service whose only secret is a vendor's."""

    password: Annotated[
        SecretStr,
        SecretPolicy(
            name="password",
            variable="PASSWORD",
            material=Material.opaque(),
            issuer="https://vendor.example",
            owner="A",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=7),
        ),
    ]


POLICIES = tuple(RuntimeSecrets.secret_policies.values())
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
PLAN = "run robodj-secretguard rotate plan secret.key"
EXCHANGE = "exchange the values of ROBODJ_SECRET_KEY and ROBODJ_SECRET_KEY_PREVIOUS"
KEY, KEY_OF_OTHER, LATER, GONE = (f"sgfp1:{digit * 32}" for digit in "abcd")
RESTORE = f"run robodj-secretguard rotate restore secret.key --fingerprint {LATER} --to vault:a/b"
DELIVER = f"deliver the key {LATER}; if it is lost, {PLAN}"


@pytest.fixture
def report(checker: Checker) -> Report:
    """A report on two sound keys with known fingerprints."""
    report = checker(good_keys())
    first, second = report.secrets
    return report._replace(secrets=(first._replace(fingerprint=KEY), second._replace(fingerprint=KEY_OF_OTHER)))


def with_first(report: Report, **fields: Any) -> Report:
    """Return a report with these fields of the first secret."""
    first, second = report.secrets
    return report._replace(secrets=(first._replace(**fields), second))


def recorded(age: timedelta, key: str | None = KEY, **fields: Any) -> Record:
    """Return the record of a rotation of this age."""
    return rotated(NOW - age, key, **fields)


def replacing(key: str = GONE, until: datetime = NOW) -> Record:
    """Return the record of a rotation to the current key, and from another one."""
    return recorded(DAY, replaced=key, replaced_until=until)


def revocation(key: str) -> Record:
    """Return the record of a revocation."""
    return replace(draft("revoked", reason="leaked", fingerprint=key), recorded_at=NOW - DAY)


def listing(report: Report, *begins: tuple[str, datetime]) -> Report:
    """Return a report whose revocation list has these entries."""
    return report._replace(revocation_list=RevocationStatus(("environment",), begins))


def findings(report: Report, *records: Record) -> list[Finding]:
    """Return the findings that the log leads to."""
    return [*recorded_findings(report, records, POLICIES, ("--config-dir", "x"))]


UNLISTED = ("alert", f"{GONE} is recorded as revoked, but is not on the revocation list")
MISSING = ("warning", f"{GONE} was replaced, but is not on the revocation list")
ROLLED_BACK = replace(recorded(SECOND, GONE), event="rolled-back")
Begins = tuple[tuple[str, "datetime"], ...]
LISTED: dict[str, tuple[Begins, list[Record], list[tuple[str, str]]]] = {
    "a revocation that is not listed": ((), [revocation(GONE)], [UNLISTED]),
    "several, each counted once": (
        (),
        [revocation(GONE), revocation(KEY), revocation(GONE)],
        [("alert", f"{UNLISTED[1]} (and 1 more)")],
    ),
    "a revocation that is listed": (((GONE, ALWAYS),), [revocation(GONE)], []),
    "one of two that is not listed": (((KEY, ALWAYS),), [revocation(GONE), revocation(KEY)], [UNLISTED]),
    "a revocation that is listed with an instant": (((GONE, NOW),), [revocation(GONE)], [UNLISTED]),
    "a replaced key without an entry": ((), [recorded(2 * DAY, GONE), replacing()], [MISSING]),
    "a replaced key with its entry": (((GONE, NOW),), [replacing()], []),
    "a replaced key with an earlier entry": (((GONE, NOW - SECOND),), [replacing()], []),
    "a replaced key with a later entry": (((GONE, NOW + SECOND),), [replacing()], [MISSING]),
    "a replaced key with a plain entry": (((GONE, ALWAYS),), [replacing()], []),
    "a replaced key before its deadline": ((), [replacing(until=NOW + SECOND)], []),
    "another replaced key before its deadline": ((), [replacing(), replacing(LATER, NOW + SECOND)], [MISSING]),
    "a replaced key that is current again": ((), [replacing(), ROLLED_BACK], []),
    "several replaced keys": (
        (),
        [replacing(), replacing(), replacing(LATER)],
        [("warning", f"{MISSING[1]} (and 1 more)")],
    ),
    "both": ((), [revocation(GONE), replacing(LATER)], [UNLISTED, ("warning", MISSING[1].replace(GONE, LATER))]),
}


class TestListed:
    """A recorded revocation must be on the revocation list, and a replaced key from its deadline on."""

    @pytest.mark.parametrize(("begins", "records", "expected"), LISTED.values(), ids=LISTED)
    def test_keys_that_are_not_listed(
        self, report: Report, begins: Begins, records: list[Record], expected: list[tuple[str, str]]
    ) -> None:
        """The first missing entry is named. The others are counted. If no list was read, nothing is known."""
        found = [each for each in findings(listing(report, *begins), *records) if each.check == "revocation-list"]
        assert [(each.severity, each.message) for each in found] == expected
        assert findings(report._replace(revocation_list=None), *records) == []

    def test_their_fixes(self, report: Report) -> None:
        """The owners of all secrets read the command that lists a key, or the line to add."""
        alert, warning = (each._asdict() for each in findings(report, revocation(GONE), replacing()))
        common = {"check": "revocation-list", "secret": None, "slot": None, "owner": "Security Operations"}
        common["source"] = "file:config/revoked.fingerprints"
        run = f"run robodj-secretguard revoke --fingerprint {GONE} --reason 'recorded as revoked' --yes --config-dir x"
        add = f"add the line {GONE}@2026-12-01T12:00:00Z to the revocation list, and deploy it"
        assert alert == common | {"severity": "alert", "message": UNLISTED[1], "remedy": run}
        assert warning == common | {"severity": "warning", "message": MISSING[1], "remedy": add}


OLD: dict[str, tuple[list[Record], list[tuple[str, str]]]] = {
    **{
        f"{severity} in the overlap or after it": (
            [recorded(40 * DAY), recorded(age, LATER), recorded(DAY, GONE)],
            [("secret.key", severity)],
        )
        for age, severity in ((14 * DAY, "note"), (14 * DAY + SECOND, "warning"))
    },
    **{
        f"{severity} before the recorded deadline or after it": (
            [recorded(2 * DAY), recorded(DAY, LATER, replaced=KEY, replaced_until=NOW + until)],
            [("secret.key", severity)],
        )
        for until, severity in ((SECOND, "note"), (-SECOND, "warning"))
    },
    "a record without the deadline": (
        [recorded(2 * DAY), recorded(DAY, LATER, replaced=KEY)],
        [("secret.key", "note")],
    ),
    "a record with the deadline of another key": (
        [recorded(2 * DAY), recorded(DAY, LATER, replaced=GONE, replaced_until=NOW - SECOND)],
        [("secret.key", "note")],
    ),
    "another secret": (
        [recorded(2 * DAY, key, secret=OTHER) for key in (KEY_OF_OTHER, LATER)],
        [(OTHER, "note")],
    ),
    "later in another environment": ([recorded(2 * DAY), recorded(DAY, LATER, environment="dev")], []),
    "a later key of another secret": ([recorded(2 * DAY), recorded(DAY, LATER, secret=OTHER)], []),
    "a key that is not recorded": ([recorded(2 * DAY, GONE), recorded(DAY, LATER)], []),
    "a key that is recorded again": ([recorded(3 * DAY), recorded(2 * DAY, LATER), recorded(DAY)], []),
    "a key that is in another environment by now": (
        [recorded(3 * DAY), recorded(2 * DAY, environment="dev"), recorded(DAY, LATER)],
        [],
    ),
}


class TestSuperseded:
    """A delivered key is old if a later key is recorded in its environment."""

    @pytest.mark.parametrize(("records", "expected"), OLD.values(), ids=OLD)
    def test_a_key_that_is_old(self, report: Report, records: list[Record], expected: list[tuple[str, str]]) -> None:
        """Within the overlap it is a note, and a warning after it."""
        found = [each for each in findings(report, *records) if each.check == "superseded"]
        assert [(each.secret, each.severity) for each in found] == expected

    def test_a_key_that_is_only_named_as_replaced(self, report: Report) -> None:
        """A key is old too where the log has no record of it but that of the key that replaced it."""
        (found,) = [
            each for each in findings(report, recorded(40 * DAY, LATER, replaced=KEY)) if each.check == "superseded"
        ]
        assert (found.severity, found.remedy) == ("warning", DELIVER)

    def test_its_message(self, report: Report) -> None:
        """If the next key is the latest one, the message says so. Without a key, nothing is reported as old."""
        records = (recorded(2 * DAY), recorded(DAY, LATER))
        for slots, where in (({}, LATER), ({"next_fingerprint": LATER}, "in ROBODJ_SECRET_KEY_NEXT")):
            (found,) = findings(with_first(report, **slots), *records)
            assert found.message == f"ROBODJ_SECRET_KEY is an old key; the latest one is {where}"
            assert (found.slot, found.source, found.owner) == ("current", "environment", "Security Operations")
        assert findings(with_first(report, fingerprint=None), recorded(DAY, None), recorded(SECOND, LATER)) == []

    @pytest.mark.parametrize(
        ("source", "remedies"),
        [
            (
                "environment",
                [
                    DELIVER,
                    f"{EXCHANGE}; if they are swapped in the secret manager, there too",
                    DELIVER,
                    f"{PLAN} and follow its steps",
                    f"{PLAN} and follow its steps",
                ],
            ),
            (
                "vault:a/b",
                [
                    RESTORE,
                    f"in vault:a/b, {EXCHANGE}",
                    "deliver the latest key to vault:a/b before 2026-12-14T12:00:00Z; after that, this is a warning",
                    f"{PLAN} --from vault:a/b and follow its steps",
                    f"{PLAN} --from vault:a/b and follow its steps",
                ],
            ),
        ],
        ids=["environment", "manager"],
    )
    def test_its_fix(self, report: Report, source: str, remedies: list[str]) -> None:
        """The latest key is set again, unless it is revoked. If it is in the slot of the previous key, it is there."""
        records, recent = (recorded(40 * DAY), recorded(15 * DAY, LATER)), (recorded(40 * DAY), recorded(DAY, LATER))
        found = with_first(report, source=source)
        swapped = with_first(found, previous_fingerprint=LATER)
        revoked = listing(found, (LATER, ALWAYS))
        cases = ((found, records), (swapped, records), (swapped, recent), (listing(swapped, (LATER, NOW)), records))
        given = [findings(report, *known) for report, known in (*cases, (revoked, (*records, revocation(LATER))))]
        assert [each.remedy for (each,) in given] == remedies


class TestRecordedKeys:
    """Fixes name the recorded key, where they would replace a value by a new key."""

    @pytest.mark.parametrize(
        ("value", "records", "begins", "remedy"),
        [
            ("", [recorded(DAY, LATER)], (), DELIVER),
            ("changeme", [recorded(DAY, LATER)], (), DELIVER),
            ("changeme", [recorded(DAY, LATER), revocation(LATER)], (), None),
            ("changeme", [recorded(DAY, LATER)], ((LATER, NOW),), None),
            ("changeme", [recorded(DAY, LATER)], ((LATER, NOW + SECOND),), DELIVER),
            ("changeme", [recorded(DAY, LATER), recorded(DAY, GONE, environment="dev")], (), None),
            ("changeme", [], (), None),
        ],
        ids=["missing", "a template", "revoked", "listed", "listed from later on", "two environments", "no record"],
    )
    def test_the_fix(self, value: str, records: list[Record], begins: Begins, remedy: str | None) -> None:
        """The fix names the last recorded key, if that is one key and it may be used."""
        report = listing(check(environ=good_keys() | {V1: value}, now=NOW), *begins)
        (before,) = report.findings
        (after,) = with_recorded_keys(report, records, POLICIES).findings
        expected = before.remedy if remedy is None else f"{remedy} --model {LIBRARY_MODEL}"
        assert (after.remedy, after.message) == (expected, before.message)

    @pytest.mark.parametrize("has_version", [True, False])
    def test_a_key_that_no_version_has_is_not_restored(self, *, has_version: bool) -> None:
        """In a store, the fix restores a key only if a version has the key. Otherwise it is the plan."""
        report = check(environ=good_keys() | {V1: "changeme"}, now=NOW)
        (found,) = report.findings
        for remedy in ("run robodj-secretguard rotate plan secret.key", "run robodj-secretguard rotate restore x"):
            given = report._replace(findings=(found._replace(source="a:b", remedy=remedy),))
            (after,) = with_recorded_keys(given, [recorded(DAY, LATER)], POLICIES, lambda *_: has_version).findings
            assert f"rotate {'restore' if has_version else 'plan'} secret.key" in after.remedy

    def test_the_secret_with_another_recorded_key_changes(self) -> None:
        """Of two secrets with one key, the one whose record has another key is the wrong one."""
        keys = good_keys()
        report = check(environ=keys | {V1: keys[V2]}, now=NOW)
        assert [str(each.check) for each in report.findings] == ["shared"]
        other = recorded(DAY, LATER, secret="secret.key")  # noqa: S106 - a name
        (after,) = with_recorded_keys(report, [other], POLICIES).findings
        assert LATER in after.remedy
        (same,) = with_recorded_keys(report, [], POLICIES).findings
        assert same == report.findings[0]

    def test_other_fixes_stay(self) -> None:
        """A fix that makes no new key stays, and so does a report without findings."""
        keys = good_keys()
        report = check(environ=keys | {V1: f"{keys[V1]}\n"}, now=NOW)
        assert with_recorded_keys(report, [recorded(DAY, LATER)], POLICIES) == report
        good = check(environ=keys, now=NOW)
        assert with_recorded_keys(good, [recorded(DAY, LATER)], POLICIES) is good


def staged(key: str = GONE, **fields: Any) -> Record:
    """Return the record of a next key."""
    return recorded(SECOND, key, event="staged", **fields)


CHECKED = Slots(KEY, LATER, GONE, NOW)
LAST = recorded(DAY, LATER, replaced=KEY, replaced_until=NOW)
PROD = recorded(DAY, LATER)
OTHERS_STAGED = [staged(environment="dev"), staged(secret=OTHER), staged(LATER)]
IN_TWO = [recorded(3 * DAY, GONE, environment="dev"), recorded(2 * DAY), recorded(DAY, LATER)]
EXPECTED: dict[str, tuple[str | None, list[Record], str | None, Slots]] = {
    "the checked keys, without a record": (KEY, [], None, CHECKED),
    "the checked keys, with their record": (KEY, [recorded(DAY)], None, CHECKED),
    "the checked keys, if they are not recorded yet": (KEY, [recorded(DAY, GONE)], None, CHECKED),
    "the checked keys, after another one": (KEY, [recorded(DAY, GONE), recorded(SECOND)], None, CHECKED),
    "the checked keys, if they are recorded again": (KEY, [recorded(2 * DAY), PROD, recorded(SECOND)], None, CHECKED),
    **{
        f"{what}, {'with an old key' if key else 'without a key'}": (key, [recorded(2 * DAY), *records], None, slots)
        for key in (KEY, None)
        for what, records, slots in (
            ("the last recorded keys", [LAST], Slots(LATER, None, KEY, NOW)),
            ("the last recorded keys with the next one", [LAST, staged()], Slots(LATER, GONE, KEY, NOW)),
            ("the last recorded keys without an earlier next one", [staged(), LAST], Slots(LATER, None, KEY, NOW)),
        )
    },
    "a key that was replaced is old": (KEY, [LAST], None, Slots(LATER, None, KEY, NOW)),
    "no other secret's next key": (None, [PROD, *OTHERS_STAGED], "prod", Slots(LATER)),
    "the last next key": (None, [PROD, staged(KEY), staged(), *OTHERS_STAGED], "prod", Slots(LATER, GONE)),
    "the environment of the checked key": (KEY, IN_TWO, None, Slots(LATER)),
    "no environment": (None, IN_TWO, None, Slots()),
    "the named environment, without a key": (None, IN_TWO, "dev", Slots(GONE)),
    "the named environment, with a key": (KEY, IN_TWO, "dev", Slots(GONE)),
    "an environment without a record": (KEY, IN_TWO, "test", Slots()),
    "nothing is known": (None, [], None, Slots()),
}


class TestFleet:
    """The expected keys of each secret, and the role of each key in use."""

    @pytest.mark.parametrize(("key", "records", "environment", "expected"), EXPECTED.values(), ids=EXPECTED)
    def test_expected_keys(
        self, report: Report, key: str | None, records: Sequence[Record], environment: str | None, expected: Slots
    ) -> None:
        """The keys that were checked are expected, if the log has no later one. An environment must be known."""
        report = with_first(
            report, fingerprint=key, next_fingerprint=LATER, previous_fingerprint=GONE, previous_until=NOW
        )
        numbered = [replace(each, sequence=number) for number, each in enumerate(records, start=1)]
        assert expected_keys(report, numbered, environment)["secret.key"] == expected
        assert expected_keys(report, [], None)[OTHER] == Slots(KEY_OF_OTHER)

    def test_roles(self, report: Report) -> None:
        """A key has the role of its slot, unless it is revoked; other recorded ones are superseded."""
        ended, begins, revoked, unknown, replaced = (f"sgfp1:{digit * 32}" for digit in "12345")
        expected = {"secret.key": Slots(KEY, LATER, begins)}
        records = [recorded(DAY, KEY_OF_OTHER, replaced=replaced), recorded(DAY, revoked), revocation(revoked)]
        role = roles_of(listing(report, (GONE, ALWAYS), (ended, NOW), (begins, NOW + SECOND)), records, expected)
        roles: dict[str | None, str] = {
            KEY: "current",
            LATER: "next",
            begins: "previous",
            **dict.fromkeys((ended, GONE, revoked), "revoked"),
            **dict.fromkeys((KEY_OF_OTHER, replaced), "superseded"),
            **dict.fromkeys((unknown, None), "unrecorded"),
        }
        assert {key: role("secret.key", key) for key in roles} == roles
        assert role(OTHER, KEY) == "unrecorded"
        assert roles_of(report._replace(revocation_list=None), records, expected)("secret.key", KEY) == "current"


class TestRecording:
    """Nothing is recorded, and the result says why. test_rotate.py has what is recorded."""

    def record(self, machine: Machine, model: type[SecretSettings] = RuntimeSecrets, **options: Any) -> Recording:
        """Record a rotation in `prod`."""
        who = Who(environment="prod", operator="dana")
        log, gate = OperationsLog(str(machine.log)), partial(check, model, require_env_only=True)
        return machine.within(lambda: record_rotation(model, log, gate, who, **options))

    def test_previous_key_that_is_revoked(self, machine: Machine) -> None:
        """A start has only a warning of a revoked previous key, and its record fails the gate."""
        slots = {f"{V1}_PREVIOUS": (key := good_keys()[V1]), f"{V1}_PREVIOUS_UNTIL": "2026-12-15T12:00:00Z"}
        machine.environ.update(slots)
        machine.write("revoked.fingerprints", f"{fingerprint_of(key)}\n")
        recording = self.record(machine)
        assert (recording.report.alerts[0].check, [*recording.refusals], recording.records) == ("revoked", [None], ())

    def test_revocation_that_is_not_listed(self, machine: Machine) -> None:
        """A recorded revocation that is not on the list is an alert, so nothing is recorded."""
        before = machine.record(revocation(GONE))
        recording = self.record(machine)
        assert [problem.message for problem in recording.refusals.values()] == ["the check failed"]
        assert (recording.records, machine.records) == ((), before)

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"model": Issued}, "NAME is missing: no secret has a fingerprint, so name those that have a new value"),
            *(
                ({"names": names}, "unknown secret (choose from secret.key, secret_v2.key)")
                for names in (["own.key"], ["secret.key", "secret.kye"], "secret.key")
            ),
            *(
                ({"attested": steps}, "unknown step in attested (choose from startup, functions)")
                for steps in (["start"], ["startup", "log"], "startup")
            ),
        ],
    )
    def test_a_name_that_is_missing_or_misspelled(self, machine: Machine, options: dict[str, Any], why: str) -> None:
        """No secret and no step of the validation is left out. The name is not shown, as it could be a key."""
        machine.environ["PASSWORD"] = secrets.token_hex(16)
        with pytest.raises(UsageError) as caught:
            self.record(machine, **options)
        assert (str(caught.value), machine.log.exists()) == (why, False)
