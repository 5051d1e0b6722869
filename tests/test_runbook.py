"""The plan of a rotation: the steps of its three stages, or those of a rotation at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_line import rotated
from conftest import NOW, V1, V2, Checker, good_keys, marker

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.lifecycle.records import Event, Proof, draft
from robodj_secretguard.lifecycle.runbook import Plan
from robodj_secretguard.startup.readings import RevocationStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robodj_secretguard import Report
    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.lifecycle.rotation import Step

NAME = "secret.key"
POLICY, SECOND = RuntimeSecrets.secret_policies.values()
WITHOUT_OVERLAP = POLICY._replace(overlap=timedelta(0))
CURRENT, COMING, PREVIOUS, OTHER_KEY = (f"sgfp1:{digit * 32}" for digit in "cbad")
KID = {key: key.partition(":")[2] for key in (CURRENT, PREVIOUS)}
DAY = timedelta(days=1)
PROGRAM = "robodj-secretguard"
WHO = "--operator 'dana o'\"'\"'neil'"
DONE = "--attest startup --attest functions"
RECORD = f"{PROGRAM} rotate record {NAME} --environment {{}} {WHO} {DONE} --log x --model m:C"
REVOKE = f"{PROGRAM} revoke {{}} --reason WHY {WHO} --log x --model m:C"
CHECK = ("Run the check there:", f"{PROGRAM} check --require-env-only --model m:C")
RECORD_IT = "Record the current key, where ROBODJ_SECRET_KEY is set. Only a recorded key can be revoked by name:"
RESTART = "Restart the instances one after another. Make sure that each startup check passes."
TEST = "Test the functions that depend on authentication or encryption."
AGAIN = "First print this plan again: its dates count from now."
IN_ONE_WRITE = "Change these in one write, with the values from before it:"
PROMOTION = (
    f'export {V1}_PREVIOUS="${V1}"',
    f"export {V1}_PREVIOUS_UNTIL=2026-12-15T12:00:00Z",
    f'export {V1}="${V1}_NEXT"',
    f"export {V1}_EXPIRES_AT=2027-03-01T12:00:00Z",
    f"unset {V1}_NEXT",
)
LEAVE_OUT = "Leave out --attest for a step that you did not do:"
FAILS = "The current key fails the check, so it cannot be recorded. Go to step 2."


def recorded(days: int, key: str = CURRENT, **fields: Any) -> Record:
    """Return the record of a rotation some days ago."""
    return rotated(NOW - days * DAY, key, **fields)


def revocation(key: str) -> Record:
    """Return the record of a revocation."""
    return replace(draft(Event.REVOKED, reason="leaked", fingerprint=key), recorded_at=NOW)


@pytest.fixture
def report(checker: Checker) -> Report:
    """A report on a sound current key with a known fingerprint."""
    report = checker(good_keys())
    return with_keys(report, fingerprint=CURRENT)


def with_keys(report: Report, **fields: Any) -> Report:
    """Return a report with these fields of the first secret."""
    first, *others = report.secrets
    return report._replace(secrets=(first._replace(**fields), *others))


def planned(report: Report, *records: Record, policy: Any = POLICY, **fields: Any) -> Plan:
    """Plan a rotation."""
    fields = {"environment": None, "who": ("--operator", "dana o'neil"), "options": ("--model", "m:C")} | fields
    return Plan(policy, report, records, log_options=("--log", "x"), **fields)


def generate(stored_as: str, environment: str = "ENVIRONMENT") -> tuple[str, str]:
    """Return the step that makes the new key."""
    text = f"Generate a new key for {environment} alone, and store it in the secret manager as {stored_as}."
    skip = " Skip this if the manager already has a newer key:"
    option = " --next" if stored_as == f"{V1}_NEXT" else ""
    return text + skip, f"{PROGRAM} generate {NAME}{option} --model m:C | YOUR-SECRET-MANAGER"


def re_encrypt(key: str) -> tuple[str, None]:
    """Return the step about data at rest."""
    return f"Re-encrypt stored data that the old key (key id {KID[key]}) has encrypted.", None


def shown(steps: Sequence[Step]) -> list[tuple[str, str | None]]:
    """Return the texts and the commands of steps."""
    return [(step.text, step.command) for step in steps]


def done(plan: Plan) -> list[int]:
    """Return the numbers of the steps that are done."""
    return [number for number, step in enumerate(plan.steps(), start=1) if step.done]


class TestStages:
    """The steps of a rotation with an overlap: next, promote, retire."""

    def test_next(self, report: Report) -> None:
        """Without records, every command is present in order, with placeholders for unknown values."""
        plan = planned(with_keys(report, expires_at=NOW + DAY))
        record = RECORD.format("ENVIRONMENT")
        assert (plan.stage, done(plan)) == ("next", [])
        assert shown(plan.steps()) == [
            (RECORD_IT, record),
            generate(f"{V1}_NEXT"),
            (f"Set {V1}_NEXT on every instance to this key from the secret manager. {V1} stays as it is.", None),
            CHECK,
            (RESTART, None),
            (
                f"Promote the next key, only when every instance has it. {AGAIN} {IN_ONE_WRITE}",
                "\n".join(PROMOTION),
            ),
            CHECK,
            (RESTART, None),
            (TEST, None),
            (f"Record the rotation in ENVIRONMENT, where {V1}_PREVIOUS is set. {LEAVE_OUT}", record),
            ("Commit the revocation list, and deploy it with every service. The record has added the old key.", None),
            re_encrypt(CURRENT),
            ("After 2026-12-15T12:00:00Z, unset the previous key:", f"unset {V1}_PREVIOUS {V1}_PREVIOUS_UNTIL"),
            ("If the test passed, disable the old version in the secret manager.", None),
        ]

    def test_promote(self, report: Report) -> None:
        """With a next key, the steps before are done, except those that the program cannot see."""
        plan = planned(with_keys(report, next_fingerprint=COMING), recorded(3))
        first, *_, disable = plan.steps()
        assert (plan.stage, done(plan)) == ("promote", [1, 2, 3, 4])
        assert first.text == f"The current key is already recorded ({CURRENT}, since 2026-11-28T12:00:00Z). Continue."
        assert f"manager ({CURRENT}, recorded at 2026-11-28T12:00:00Z)." in disable.text
        assert planned(with_keys(report, next_fingerprint=COMING), policy=SECOND).stage == "next"

    def test_a_check_that_fails(self, report: Report, checker: Checker) -> None:
        """While the check fails, its step is not done. After the promotion, that is the later one."""
        failed = report._replace(findings=checker({}).findings[1:])
        assert done(planned(with_keys(failed, next_fingerprint=COMING), recorded(3))) == [1, 2, 3]
        promoted = with_keys(failed, previous_fingerprint=PREVIOUS, previous_until=NOW + DAY)
        assert done(planned(promoted, recorded(9, PREVIOUS))) == [1, 2, 3, 4, 5, 6]

    def test_alerts_of_others(self, checker: Checker) -> None:
        """An alert about another slot, another secret or an expiry marker does not keep a key from being previous."""
        faults = {V2: "short", f"{V1}_NEXT": "changeme", f"{V1}_EXPIRES_AT": "never"}
        plan = planned(with_keys(checker(good_keys() | faults), fingerprint=CURRENT))
        assert (plan.stage, plan.steps()[0].text) == ("next", RECORD_IT)

    def test_another_environment(self, checker: Checker) -> None:
        """Keys of another environment say nothing. The last record of the current key names the environment."""
        report = checker(good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(0))})
        elsewhere = with_keys(report, fingerprint=CURRENT, next_fingerprint=COMING)
        plan = planned(elsewhere, recorded(2, environment="dev"), environment="prod")
        assert (plan.stage, done(plan)) == ("next", [])
        assert plan.steps()[5].text.startswith("Promote the next key, only when every instance has it.")
        both = with_keys(report, fingerprint=CURRENT, previous_fingerprint=PREVIOUS)
        plan = planned(both, recorded(3), recorded(1, PREVIOUS, environment="dev"))
        assert "for prod alone" in plan.steps()[1].text

    def test_promote_again(self, report: Report) -> None:
        """After a rollback, the plan continues with the promotion. A deadline on the list stays, if it is to come."""
        rolled_back = with_keys(report, next_fingerprint=COMING)
        for listed, day in ((3 * DAY, "04"), (15 * DAY, "15"), (0 * DAY, "15"), (-DAY, "15"), (None, "15")):
            entry = listed is not None and RevocationStatus((), frozenset(), ((CURRENT, NOW + listed),))
            plan = planned(rolled_back._replace(revocation_list=entry or None), recorded(9), recorded(2, COMING))
            assert (plan.stage, done(plan)) == ("promote", [1, 2, 3, 4])
            assert f"export {V1}_PREVIOUS_UNTIL=2026-12-{day}T12:00:00Z" in str(plan.steps()[5].command).splitlines()

    def test_swapped_keys(self, report: Report) -> None:
        """If current and previous are swapped, the plan has nothing else to do."""
        keys = {"previous_fingerprint": PREVIOUS, "previous_until": NOW + DAY}
        swapped, records = with_keys(report, **keys), (recorded(9), recorded(1, PREVIOUS))
        for earlier in ((), (recorded(20, OTHER_KEY),)):
            (step,) = planned(swapped, *earlier, *records).steps()
            assert step.text.startswith(f"{V1} and {V1}_PREVIOUS look swapped")
        equal = with_keys(report, **keys | {"previous_fingerprint": CURRENT})
        for plan in (planned(equal, recorded(9)), planned(swapped, *records, is_emergency=True)):
            assert "swapped" not in plan.steps()[0].text

    def test_promote_in_an_overlap(self, report: Report) -> None:
        """A promotion does not end the overlap of the previous key. The new overlap begins after it."""
        keys = {"next_fingerprint": COMING, "previous_fingerprint": PREVIOUS}
        wait = f", and after 2026-12-02T12:00:00Z, when {V1}_PREVIOUS has ended. {AGAIN}"
        for until, text, ends in ((NOW + DAY, wait, "16"), (NOW, ". Change", "15")):
            plan = planned(with_keys(report, **keys, previous_until=until))
            promote = plan.steps()[5]
            assert plan.stage == "promote"
            assert promote.text.startswith(f"Promote the next key, only when every instance has it{text}")
            assert f"{V1}_PREVIOUS_UNTIL=2026-12-{ends}T12:00:00Z" in str(promote.command)

    @pytest.mark.parametrize(
        ("records", "marks"),
        [
            ([], [1, 2, 3, 4, 5, 6, 7]),
            ([recorded(9, PREVIOUS)], [1, 2, 3, 4, 5, 6, 7]),
            ([recorded(9, PREVIOUS), recorded(1, startup=Proof.NOT_DONE)], [1, 2, 3, 4, 5, 6, 7, 9]),
            ([recorded(9, PREVIOUS), recorded(1)], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ],
        ids=["no record", "not recorded", "incomplete", "recorded"],
    )
    def test_retire(self, report: Report, records: Sequence[Record], marks: list[int]) -> None:
        """With a previous key, the record says which steps are done. The times are those that are set."""
        keys = {"previous_fingerprint": PREVIOUS, "previous_until": NOW + DAY, "expires_at": NOW + 80 * DAY}
        entry = RevocationStatus((), frozenset(), ((PREVIOUS, NOW + DAY / 2),))
        plan = planned(with_keys(report, **keys)._replace(revocation_list=entry), *records)
        first, *_, promote, _, _, _, record, _, encrypt, retire, _ = shown(plan.steps())
        assert promote[0] == f"Promote the next key, only when every instance has it. {IN_ONE_WRITE}"
        assert (plan.stage, done(plan)) == ("retire", marks)
        already = f"The old key is already recorded ({PREVIOUS}, since 2026-11-22T12:00:00Z). Continue."
        assert first[0] == (already if records else "The old key has no record. Continue.")
        assert str(promote[1]).splitlines()[1:4:2] == [
            f"export {V1}_PREVIOUS_UNTIL=2026-12-02T12:00:00Z",
            f"export {V1}_EXPIRES_AT=2027-02-19T12:00:00Z",
        ]
        assert record[1] == RECORD.format("prod" if records else "ENVIRONMENT")
        assert encrypt == re_encrypt(PREVIOUS)
        assert retire[0] == "After 2026-12-02T12:00:00Z, unset the previous key:"

    @pytest.mark.parametrize("slots", [{}, {"previous_fingerprint": PREVIOUS, "previous_until": NOW - DAY}])
    def test_expired(self, checker: Checker, slots: dict[str, Any]) -> None:
        """No instance starts on an expired key, so the next key becomes current at once, and the old one previous."""
        report = checker(good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(0))})
        plan = planned(with_keys(report, fingerprint=CURRENT, **slots))
        texts = [step.text for step in plan.steps()]
        assert (plan.stage, done(plan), len(texts), texts[0]) == ("next", [], 11, FAILS)
        assert texts[2].startswith("Promote the next key, at once. ")
        assert planned(with_keys(report, fingerprint=CURRENT, next_fingerprint=COMING, **slots)).stage == "promote"


class TestAtOnce:
    """The steps of a rotation without an overlap."""

    def steps_for(self, report: Report, *records: Record, **fields: Any) -> list[tuple[str, str | None]]:
        plan = planned(report, *records, **fields)
        assert plan.stage is None
        return shown(plan.steps())

    def test_no_overlap(self, report: Report) -> None:
        """For a secret without an overlap, the old key is revoked only if others may know it."""
        record = RECORD.format("ENVIRONMENT")
        assert self.steps_for(report, policy=WITHOUT_OVERLAP) == [
            (RECORD_IT, record),
            generate("a new version"),
            (f"Set {V1} in ENVIRONMENT to the new key from the secret manager.", None),
            (
                "Set the expiry marker (90 days from now), here and in the settings of the deployment:",
                f"export {V1}_EXPIRES_AT=2027-03-01T12:00:00Z",
            ),
            CHECK,
            ("Restart the services. Make sure that each startup check passes.", None),
            (TEST, None),
            (f"Record the rotation in ENVIRONMENT. {LEAVE_OUT}", record),
            ("If the test passed, disable the old version in the secret manager.", None),
            (
                "Only if others may know the old key, revoke it (add --yes to do it):",
                REVOKE.format(f"--fingerprint {CURRENT}"),
            ),
        ]

    def test_emergency(self, report: Report) -> None:
        """In an emergency there is no other key, and the old one is revoked first."""
        _, revoke, _, replaced, *_, encrypt, _ = self.steps_for(report, is_emergency=True)
        text = f"Set {V1} in ENVIRONMENT to the new key from the secret manager."
        assert replaced == (f"{text} Unset {V1}_NEXT, {V1}_PREVIOUS and {V1}_PREVIOUS_UNTIL.", None)
        assert encrypt == re_encrypt(CURRENT)
        assert revoke == ("Revoke the old key (add --yes to do it):", REVOKE.format(f"--fingerprint {CURRENT}"))

    @pytest.mark.parametrize(
        ("records", "marks", "old"),
        [
            ([recorded(3)], [1], CURRENT),
            ([recorded(3), revocation(CURRENT)], [1, 2], CURRENT),
            ([revocation(CURRENT)], [2], CURRENT),
            ([recorded(3, PREVIOUS), revocation(PREVIOUS)], [1, 2, 3, 4], PREVIOUS),
            (
                [recorded(3, PREVIOUS), revocation(PREVIOUS), recorded(0, startup=Proof.NOT_DONE)],
                [1, 2, 3, 4, 5, 6, 8],
                PREVIOUS,
            ),
            ([recorded(3, PREVIOUS), revocation(PREVIOUS), recorded(0)], [1, 2, 3, 4, 5, 6, 7, 8, 9], PREVIOUS),
            ([recorded(30, PREVIOUS), revocation(PREVIOUS), recorded(15)], [1], CURRENT),
            ([recorded(3, PREVIOUS), revocation(PREVIOUS), recorded(0), revocation(CURRENT)], [1, 2], CURRENT),
            ([recorded(3, PREVIOUS), recorded(0)], [1], CURRENT),
            ([recorded(5, OTHER_KEY), recorded(3, PREVIOUS), revocation(PREVIOUS)], [1, 2, 3, 4], PREVIOUS),
            (
                [recorded(5, OTHER_KEY), recorded(3, PREVIOUS), revocation(OTHER_KEY), revocation(PREVIOUS)],
                [1, 2, 3, 4],
                PREVIOUS,
            ),
        ],
        ids=range(11),
    )
    def test_an_emergency_that_goes_on(
        self, report: Report, records: Sequence[Record], marks: list[int], old: str
    ) -> None:
        """Printed again, the plan still names the leaked key, and marks what is done. Later, it is about a new key."""
        plan = planned(report, *records, environment="prod", is_emergency=True)
        assert (done(plan), plan.steps()[1].command) == (marks, REVOKE.format(f"--fingerprint {old}"))
        assert plan.steps()[0].text.startswith("The old key is") is (old == PREVIOUS)

    @pytest.mark.parametrize("policy", [POLICY._replace(warn_before=DAY), WITHOUT_OVERLAP], ids=["overlap", "warning"])
    def test_how_long_an_emergency_goes_on(self, report: Report, policy: Any) -> None:
        """The plan names the leaked key as long as the overlap, or without one as long as the warnings of an expiry."""
        for days, old in ((14, PREVIOUS), (15, CURRENT)):
            records = (recorded(30, PREVIOUS), revocation(PREVIOUS), recorded(days))
            plan = planned(report, *records, environment="prod", policy=policy, is_emergency=True)
            assert plan.steps()[1].command == REVOKE.format(f"--fingerprint {old}")

    @pytest.mark.parametrize("environ", [{V1: "changeme"}, {V1: "A" * 43}, {V1: "short"}], ids=range(3))
    def test_a_key_that_cannot_be_previous(self, checker: Checker, environ: dict[str, str]) -> None:
        """A key that is refused in every slot is replaced at once."""
        first, *_, (only, _) = self.steps_for(checker(good_keys() | environ))
        assert (first, only) == ((FAILS, None), "Only if others may know the old key, revoke it (add --yes to do it):")

    @pytest.mark.parametrize(
        ("records", "fields", "environment", "since", "old"),
        [
            ([recorded(3, startup=Proof.NOT_DONE), recorded(1)], {}, "prod", 3, (CURRENT, 1)),
            ([recorded(3), recorded(2, environment="dev")], {}, "dev", 2, (CURRENT, 2)),
            ([recorded(3), recorded(1, PREVIOUS)], {}, "prod", 3, (CURRENT, 3)),
            ([recorded(1, PREVIOUS)], {}, "ENVIRONMENT", None, None),
            (
                [recorded(3, PREVIOUS), recorded(2, environment="dev")],
                {"environment": "prod"},
                "prod",
                None,
                (PREVIOUS, 3),
            ),
            ([recorded(3, OTHER_KEY), recorded(2, PREVIOUS)], {"environment": "prod"}, "prod", None, None),
        ],
        ids=["completed", "two environments", "another later", "not recorded", "elsewhere", "not recorded there"],
    )
    def test_the_records(  # noqa: PLR0917 - the columns of the table
        self,
        report: Report,
        records: Sequence[Record],
        fields: dict[str, Any],
        environment: str,
        since: int | None,
        old: tuple[str, int] | None,
    ) -> None:
        """The records provide the environment, the age of the current key, and the old key."""
        first, *_, (_, record), (disable, _), (_, revoke) = self.steps_for(
            report, *records, policy=WITHOUT_OVERLAP, **fields
        )
        if since is None:
            assert first == (RECORD_IT, record)
        else:
            when = f"{NOW - since * DAY:%Y-%m-%dT%H:%M:%SZ}"
            assert first == (f"The current key is already recorded ({CURRENT}, since {when}). Continue.", None)
        assert f" --environment {environment} " in str(record)
        fingerprint, days = old or (CURRENT, 0)
        which = f" ({fingerprint}, recorded at {NOW - days * DAY:%Y-%m-%dT%H:%M:%SZ})" if old else ""
        assert disable == f"If the test passed, disable the old version in the secret manager{which}."
        assert revoke == REVOKE.format(f"--fingerprint {fingerprint}")

    def test_no_key_is_set_here(self, report: Report) -> None:
        """Without a key here, the last record names the old key. Without a record, `revoke` looks for it."""
        missing = with_keys(report, fingerprint=None)
        for records, which in (([], f"{NAME} --last-recorded"), ([recorded(2, PREVIOUS)], f"--fingerprint {PREVIOUS}")):
            plan = planned(missing, *records, environment="prod", policy=WITHOUT_OVERLAP)
            assert plan.steps()[-1].command == REVOKE.format(which)
        texts = [step.text for step in planned(missing, is_emergency=True).steps()]
        assert "Re-encrypt stored data that the old key has encrypted." in texts
