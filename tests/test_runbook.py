"""The plan of a rotation: the steps from a stage on, or those of a rotation at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_line import rotated
from conftest import NOW, V1, V2, Checker, good_keys, marker

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.lifecycle.records import Event, Proof, draft
from robodj_secretguard.lifecycle.runbook import plan_rotation
from robodj_secretguard.startup.readings import RevocationStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard import Report
    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.lifecycle.rotation import Stage

    Steps = list[tuple[str, str | None]]

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
CHECK_ANYWHERE = ("Run the check in ENVIRONMENT:", f"{PROGRAM} check --require-env-only --model m:C")
CHECK = ("Run the check in prod:", f"{PROGRAM} check --require-env-only --model m:C")
RECORD_IT = "Record the current key, where ROBODJ_SECRET_KEY is set. Only a recorded key can be revoked by name:"
RESTART = "Restart the instances one after another. Make sure that each startup check passes."
TEST = "Test the functions that depend on authentication or encryption."
AGAIN = "First print this plan again: its dates count from now."
PROMOTE = "Promote the next key, only when every instance has it"
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


def planned(report: Report, *records: Record, policy: Any = POLICY, **fields: Any) -> tuple[Stage | None, Steps]:
    """Plan a rotation."""
    fields = {"environment": None, "who": ("--operator", "dana o'neil"), "options": ("--model", "m:C")} | fields
    return plan_rotation(policy, report, records, log_options=("--log", "x"), **fields)


def generate(stored_as: str, environment: str = "ENVIRONMENT") -> tuple[str, str]:
    """Return the step that makes the new key."""
    text = f"Generate a new key for {environment} alone, and store it in the secret manager as {stored_as}."
    skip = " Skip this if the manager already has a newer key:"
    option = " --next" if stored_as == f"{V1}_NEXT" else ""
    return text + skip, f"{PROGRAM} generate {NAME}{option} --model m:C | YOUR-SECRET-MANAGER"


def re_encrypt(key: str) -> tuple[str, None]:
    """Return the step about data at rest."""
    return f"Re-encrypt stored data that the old key (key id {KID[key]}) has encrypted.", None


class TestStages:
    """The steps of a rotation with an overlap: next, promote, retire."""

    def test_next(self, report: Report) -> None:
        """Without records, every command is present in order, with placeholders for unknown values."""
        stage, steps = planned(with_keys(report, expires_at=NOW + DAY))
        record = RECORD.format("ENVIRONMENT")
        assert stage == "next"
        assert steps == [
            (RECORD_IT, record),
            generate(f"{V1}_NEXT"),
            (f"Set {V1}_NEXT on every instance to this key from the secret manager. {V1} stays as it is.", None),
            CHECK_ANYWHERE,
            (RESTART, None),
            (f"{PROMOTE}. {AGAIN} {IN_ONE_WRITE}", "\n".join(PROMOTION)),
            CHECK_ANYWHERE,
            (RESTART, None),
            (TEST, None),
            (f"Record the rotation in ENVIRONMENT, where {V1}_PREVIOUS is set. {LEAVE_OUT}", record),
            ("Commit the revocation list, and deploy it with every service. The record has added the old key.", None),
            re_encrypt(CURRENT),
            ("After 2026-12-15T12:00:00Z, unset the previous key:", f"unset {V1}_PREVIOUS {V1}_PREVIOUS_UNTIL"),
            ("If the test passed, disable the old version in the secret manager.", None),
        ]

    def test_a_secrets_directory(self, report: Report) -> None:
        """Where files deliver the keys, no step sets a variable of a process. With a refresh, none is a restart."""
        read, refreshed = (
            [text for text, _ in planned(report, has_directory=True, refreshes=refreshes)[1]]
            for refreshes in (False, True)
        )
        commands = [each for _, each in planned(report, has_directory=True)[1] if each]
        assert not any("export" in each for each in commands)
        assert "\n".join(PROMOTION).replace("export ", "") in commands
        writer = "what writes the secrets directory"
        assert read[2].startswith("Make sure that the secrets directory of each instance gets this key")
        assert f"Change these in {writer}, in one write, with" in read[5]
        assert read[-2] == f"After 2026-12-15T12:00:00Z, unset the previous key in {writer}:"
        changed = [(number, text) for number, text in enumerate(refreshed) if text != read[number]]
        assert [number for number, text in changed if "No restart is needed." in text] == [4, 7]
        assert len(changed) == 2
        assert planned(report, refreshes=True) == planned(report)

    def test_promote_begins_with_the_check(self, report: Report) -> None:
        """With a next key, the steps that made it are left out, and the dates of the promotion count from now."""
        stage, steps = planned(with_keys(report, next_fingerprint=COMING), recorded(3))
        first, *_, (disable, _) = steps
        assert (stage, len(steps), steps[1:3]) == ("promote", 12, [CHECK, (RESTART, None)])
        assert first == (
            f"The current key is already recorded ({CURRENT}, since 2026-11-28T12:00:00Z). Continue.",
            None,
        )
        assert steps[3] == (f"{PROMOTE}. {IN_ONE_WRITE}", "\n".join(PROMOTION))
        assert f"manager ({CURRENT}, recorded at 2026-11-28T12:00:00Z)." in disable
        assert planned(with_keys(report, next_fingerprint=COMING), policy=SECOND)[0] == "next"

    def test_alerts_of_others(self, checker: Checker) -> None:
        """An alert about another slot, another secret or an expiry marker does not keep a key from being previous."""
        faults = {V2: "short", f"{V1}_NEXT": "changeme", f"{V1}_EXPIRES_AT": "never"}
        stage, steps = planned(with_keys(checker(good_keys() | faults), fingerprint=CURRENT))
        assert (stage, steps[0][0]) == ("next", RECORD_IT)

    def test_another_environment(self, checker: Checker) -> None:
        """Keys of another environment say nothing. The last record of the current key names the environment."""
        report = checker(good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(0))})
        elsewhere = with_keys(report, fingerprint=CURRENT, next_fingerprint=COMING)
        stage, steps = planned(elsewhere, recorded(2, environment="dev"), environment="prod")
        assert (stage, steps[0][0], len(steps)) == ("next", RECORD_IT, 14)
        both = with_keys(report, fingerprint=CURRENT, previous_fingerprint=PREVIOUS)
        _, steps = planned(both, recorded(3), recorded(1, PREVIOUS, environment="dev"))
        assert "for prod alone" in steps[1][0]

    def test_promote_again(self, report: Report) -> None:
        """After a rollback, the plan continues with the promotion. A deadline on the list stays, if it is to come."""
        rolled_back = with_keys(report, next_fingerprint=COMING)
        for listed, day in ((3 * DAY, "04"), (15 * DAY, "15"), (0 * DAY, "15"), (-DAY, "15"), (None, "15")):
            entry = listed is not None and RevocationStatus((), ((CURRENT, NOW + listed),))
            report = rolled_back._replace(revocation_list=entry or None)
            stage, steps = planned(report, recorded(9), recorded(2, COMING))
            assert stage == "promote"
            assert f"export {V1}_PREVIOUS_UNTIL=2026-12-{day}T12:00:00Z" in str(steps[3][1]).splitlines()

    def test_swapped_keys(self, report: Report) -> None:
        """If current and previous are swapped, the plan has nothing else to do."""
        keys = {"previous_fingerprint": PREVIOUS, "previous_until": NOW + DAY}
        swapped, records = with_keys(report, **keys), (recorded(9), recorded(1, PREVIOUS))
        for earlier in ((), (recorded(20, OTHER_KEY),)):
            _, ((text, _),) = planned(swapped, *earlier, *records)
            assert text.startswith(f"{V1} and {V1}_PREVIOUS look swapped")
        equal = with_keys(report, **keys | {"previous_fingerprint": CURRENT})
        for _, steps in (planned(equal, recorded(9)), planned(swapped, *records, is_emergency=True)):
            assert "swapped" not in steps[0][0]

    @pytest.mark.parametrize("previous", [PREVIOUS, None])
    def test_promote_in_an_overlap(self, report: Report, previous: str | None) -> None:
        """A promotion ends no overlap of a previous key, with or without a fingerprint. The new one begins after it."""
        keys = {"next_fingerprint": COMING, "previous_fingerprint": previous}
        wait = f", and after 2026-12-02T12:00:00Z, when {V1}_PREVIOUS has ended. {AGAIN}"
        for until, text, ends in ((NOW + DAY, wait, "16"), (NOW, ". Change", "15")):
            stage, steps = planned(with_keys(report, **keys, previous_until=until))
            assert stage == "promote"
            assert steps[3][0].startswith(f"{PROMOTE}{text}")
            assert f"{V1}_PREVIOUS_UNTIL=2026-12-{ends}T12:00:00Z" in str(steps[3][1])

    @pytest.mark.parametrize("until", [NOW + DAY, None])
    def test_retire_moves_no_deadline(self, report: Report, until: datetime | None) -> None:
        """With a previous key, the promotion is left out, and the deadline is the one that is set."""
        entry = RevocationStatus((), ((PREVIOUS, NOW + DAY / 2),))
        report = with_keys(report, previous_fingerprint=PREVIOUS, previous_until=until)
        stage, steps = planned(report._replace(revocation_list=entry), recorded(9, PREVIOUS))
        check, _, _, record, _, encrypt, retire, disable = steps
        assert (stage, check, encrypt) == ("retire", CHECK, re_encrypt(PREVIOUS))
        assert record[1] == RECORD.format("prod")
        assert retire[0] == f"After 2026-12-{'02' if until else '15'}T12:00:00Z, unset the previous key:"
        assert f"({PREVIOUS}, recorded at 2026-11-22T12:00:00Z)" in disable[0]

    @pytest.mark.parametrize("slots", [{}, {"previous_fingerprint": PREVIOUS, "previous_until": NOW - DAY}])
    def test_expired(self, checker: Checker, slots: dict[str, Any]) -> None:
        """No instance starts on an expired key, so the next key becomes current at once, and the old one previous."""
        report = checker(good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(0))})
        stage, steps = planned(with_keys(report, fingerprint=CURRENT, **slots))
        assert (stage, len(steps), steps[0]) == ("next", 11, (FAILS, None))
        assert steps[2][0].startswith("Promote the next key, at once. ")
        stage, steps = planned(with_keys(report, fingerprint=CURRENT, next_fingerprint=COMING, **slots))
        assert (stage, len(steps), steps[0]) == ("promote", 10, (FAILS, None))
        assert steps[1][0].startswith("Promote the next key, at once. Change")


class TestAtOnce:
    """The steps of a rotation without an overlap."""

    def steps_for(self, report: Report, *records: Record, **fields: Any) -> Steps:
        """Return the steps of a plan without a stage."""
        stage, steps = planned(report, *records, **fields)
        assert stage is None
        return steps

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
            CHECK_ANYWHERE,
            ("Restart the services. Make sure that each startup check passes.", None),
            (TEST, None),
            (f"Record the rotation in ENVIRONMENT. {LEAVE_OUT}", record),
            ("If the test passed, disable the old version in the secret manager.", None),
            (
                "Only if others may know the old key, revoke it (add --yes to do it):",
                REVOKE.format(f"--fingerprint {CURRENT}"),
            ),
        ]

    def test_a_refresh_without_an_overlap(self, report: Report) -> None:
        """The key and its marker are one write. A service that cannot follow them needs a restart."""
        steps = self.steps_for(report, is_emergency=True, has_directory=True, refreshes=True)
        _, _, _, (key, _), (_, marker_here), _, (restart, _), *_ = steps
        assert "in one write with the next step. Unset" in key
        assert marker_here == f"{V1}_EXPIRES_AT=2027-03-01T12:00:00Z"
        assert restart.endswith("If a service then writes the alert discontinuous, restart it.")

    def test_emergency(self, report: Report) -> None:
        """In an emergency there is no other key, and the old one is revoked first."""
        _, revoke, _, replaced, *_, encrypt, _ = self.steps_for(report, is_emergency=True)
        text = f"Set {V1} in ENVIRONMENT to the new key from the secret manager."
        assert replaced == (f"{text} Unset {V1}_NEXT, {V1}_PREVIOUS and {V1}_PREVIOUS_UNTIL.", None)
        assert encrypt == re_encrypt(CURRENT)
        assert revoke == ("Revoke the old key (add --yes to do it):", REVOKE.format(f"--fingerprint {CURRENT}"))

    @pytest.mark.parametrize(
        ("records", "old"),
        [
            ([recorded(3)], CURRENT),
            ([recorded(3), revocation(CURRENT)], CURRENT),
            ([revocation(CURRENT)], CURRENT),
            ([recorded(3, PREVIOUS), revocation(PREVIOUS)], PREVIOUS),
            ([recorded(3, PREVIOUS), revocation(PREVIOUS), recorded(0, startup=Proof.NOT_DONE)], PREVIOUS),
            ([recorded(3, PREVIOUS), revocation(PREVIOUS), recorded(0)], PREVIOUS),
            ([recorded(30, PREVIOUS), revocation(PREVIOUS), recorded(15)], CURRENT),
            ([recorded(3, PREVIOUS), revocation(PREVIOUS), recorded(0), revocation(CURRENT)], CURRENT),
            ([recorded(3, PREVIOUS), recorded(0)], CURRENT),
            ([recorded(5, OTHER_KEY), recorded(3, PREVIOUS), revocation(PREVIOUS)], PREVIOUS),
            (
                [recorded(5, OTHER_KEY), recorded(3, PREVIOUS), revocation(OTHER_KEY), revocation(PREVIOUS)],
                PREVIOUS,
            ),
        ],
        ids=range(11),
    )
    def test_emergency_that_goes_on_names_the_leaked_key(
        self, report: Report, records: Sequence[Record], old: str
    ) -> None:
        """Printed again, the plan still names the leaked key, and never asks to revoke the new one."""
        first, revoke, *_ = self.steps_for(report, *records, environment="prod", is_emergency=True)
        assert revoke[1] == REVOKE.format(f"--fingerprint {old}")
        assert first[0].startswith("The old key is") is (old == PREVIOUS)

    @pytest.mark.parametrize("policy", [POLICY._replace(warn_before=DAY), WITHOUT_OVERLAP], ids=["overlap", "warning"])
    def test_how_long_an_emergency_goes_on(self, report: Report, policy: Any) -> None:
        """The plan names the leaked key as long as the overlap, or without one as long as the warnings of an expiry."""
        for days, old in ((14, PREVIOUS), (15, CURRENT)):
            records = (recorded(30, PREVIOUS), revocation(PREVIOUS), recorded(days))
            steps = self.steps_for(report, *records, environment="prod", policy=policy, is_emergency=True)
            assert steps[1][1] == REVOKE.format(f"--fingerprint {old}")

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
            steps = self.steps_for(missing, *records, environment="prod", policy=WITHOUT_OVERLAP)
            assert steps[-1][1] == REVOKE.format(which)
        steps = self.steps_for(missing, is_emergency=True)
        assert ("Re-encrypt stored data that the old key has encrypted.", None) in steps
