"""A rotation: its stages, whether it may be recorded, and the evidence of its validation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from command_line import OTHER, rotated
from conftest import NOW, V1, Checker, good_keys, marker

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle.records import (
    Event,
    Proof,
    Validation,
    completion,
    draft,
    draft_rotation,
    judge_drafts,
    other_key_replaced,
    recorded_keys,
    revoked,
    rotations,
    slots_of,
    stage_due,
    stage_of,
)
from robodj_secretguard.startup.rules import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robodj_secretguard.lifecycle.records import Record

NAME = "secret.key"
KEY, OLD, OLDER = (f"sgfp1:{digit * 32}" for digit in "cba")
DAY = timedelta(days=1)
NEW = rotated(NOW, KEY)
DONE = "--attest startup --attest functions"
PROGRAM = "robodj-secretguard"
VERIFIED: Final = "verified"
ATTESTED: Final = "attested"
NOT_DONE: Final = "not-done"


def recorded(days: int, key: str = OLD, **fields: Any) -> Record:
    """Return the record of a rotation some days ago."""
    return rotated(NOW - days * DAY, key, **fields)


def revocation(days: int, key: str = OLD) -> Record:
    """Return the record of a revocation some days ago."""
    return replace(draft("revoked", reason="leaked", fingerprint=key), recorded_at=NOW - days * DAY)


def validated(record: Record, startup: Proof, functions: Proof) -> Record:
    """Return the record of a rotation with these steps of its validation."""
    validation = Validation(gate=VERIFIED, startup=startup, functions=functions, log=VERIFIED)
    event: Event = "rotation-incomplete" if NOT_DONE in {startup, functions} else "rotated"
    return replace(record, event=event, validation=validation)


class TestRecords:
    """The keys of a secret in the records of a log."""

    def test_rotations(self) -> None:
        """The rotations of one secret are returned in order, also incomplete ones, in all environments or in one."""
        dev, open_one, prod = recorded(4, environment="dev"), recorded(3, startup=NOT_DONE), recorded(1, KEY)
        records = [dev, open_one, recorded(2, secret=OTHER), revocation(2), prod]
        assert rotations(records, NAME) == [dev, open_one, prod]
        assert rotations(records, NAME, "prod") == [open_one, prod]

    def test_revoked(self) -> None:
        """Each revoked key is returned once, in order."""
        records = [revocation(4), recorded(3, OLDER), revocation(2, KEY), revocation(1)]
        assert revoked(records) == [OLD, KEY]

    def test_recorded_keys(self) -> None:
        """Each key is listed once, with its last record."""
        records = [recorded(5), recorded(4, KEY), recorded(3, environment="dev"), recorded(2, OLDER, secret=OTHER)]
        message = f"{OLD} dev 2026-11-28T12:00:00Z; {KEY} prod 2026-11-27T12:00:00Z"
        assert (recorded_keys(records, NAME), recorded_keys(records[3:], NAME)) == (message, "none is recorded")


class TestStage:
    """The stage of a rotation, by the keys that are set here."""

    @pytest.mark.parametrize(
        ("keys", "until", "stage", "due"),
        [
            ((None, None), None, "next", None),
            ((KEY, None), None, "promote", "promote"),
            ((OLD, None), None, "next", None),
            ((None, OLDER), DAY, "retire", None),
            ((None, OLDER), timedelta(0), "retire", "retire"),
            ((None, OLD), DAY, "next", None),
            ((KEY, OLDER), DAY, "promote", None),
            ((KEY, OLDER), timedelta(0), "promote", "promote"),
            ((KEY, None), DAY, "promote", "promote"),
            ((KEY, OLDER), None, "promote", "promote"),
        ],
        ids=[
            *("none", "next", "next is current", "overlap", "past", "previous is current", "both", "both, past"),
            *("a deadline alone", "no deadline"),
        ],
    )
    def test_stage(
        self,
        keys: tuple[str | None, str | None],
        until: timedelta | None,
        stage: str,
        due: str | None,
    ) -> None:
        """A next key is to be promoted, but not before the previous one has ended. A past one is to be removed."""
        slots = Slots(OLD, *keys, None if until is None else NOW + until)
        assert (stage_of(slots), stage_due(slots, NOW)) == (stage, due)

    def test_slots_of_a_report(self, checker: Checker) -> None:
        """The keys that are set here are those of the secret's status in a report."""
        status = checker(good_keys()).secrets[0]
        status = status._replace(fingerprint=KEY, next_fingerprint=OLD, previous_fingerprint=OLDER, previous_until=NOW)
        assert slots_of(status) == Slots(KEY, OLD, OLDER, NOW)


@pytest.mark.parametrize(
    ("startup", "functions", "event"),
    [(NOT_DONE, ATTESTED, "rotation-incomplete"), (VERIFIED, ATTESTED, "rotated")],
)
def test_a_draft(checker: Checker, startup: Proof, functions: Proof, event: Event) -> None:
    """A rotation is recorded with the result of the gate, and as incomplete while a step is open."""
    status = checker(good_keys() | {f"{V1}_EXPIRES_AT": marker(9 * DAY)}).secrets[0]
    assert draft_rotation(status, startup, functions, environment="prod", operator="Ada", ticket="OPS-1") == draft(
        event,
        secret=NAME,
        environment="prod",
        owner="Security Operations",
        operator="Ada",
        ticket="OPS-1",
        fingerprint=status.fingerprint,
        expires_at=NOW + 9 * DAY,
        validation=Validation(gate=VERIFIED, startup=startup, functions=functions, log=VERIFIED),
    )


def test_a_draft_of_a_promotion(checker: Checker) -> None:
    """A promotion has the previous key and its deadline. A previous key that equals the current one is none."""
    status = checker(good_keys()).secrets[0]._replace(previous_until=NOW + DAY)
    for previous, expected in ((OLD, (OLD, NOW + DAY)), (status.fingerprint, (None, None)), (None, (None, None))):
        new = draft_rotation(status._replace(previous_fingerprint=previous), ATTESTED, ATTESTED)
        assert (new.replaced, new.replaced_until) == expected


@pytest.mark.parametrize(
    ("records", "replaced", "warns"),
    [
        ([], OLDER, False),
        ([recorded(2), NEW], None, False),
        ([recorded(2), revocation(1, OLD)], None, False),
        ([recorded(3, OLDER), recorded(2), NEW], OLD, False),
        ([recorded(3, OLDER), recorded(2), NEW], OLDER, True),
        ([recorded(3, OLDER), recorded(2, environment="dev"), recorded(1, secret=OTHER)], OLDER, False),
    ],
    ids=["no record", "completed", "revoked", "the last one", "an older one", "others"],
)
def test_other_key_replaced(records: Sequence[Record], replaced: str | None, warns: bool) -> None:  # noqa: FBT001
    """A previous key that is not the last other recorded one of the environment is a warning."""
    warning = (
        f"WARNING: the previous key of {NAME} is {replaced}, but the last other key that is recorded in prod is {OLD}."
        " Compare it with the secret manager."
    )
    new = replace(NEW, replaced=replaced)
    assert other_key_replaced(new, records, has_overlap=True) == (warning if warns else None)


def test_no_key_replaced() -> None:
    """Without a previous key, the sessions of the old key are refused, unless the secret has no overlap."""
    warning = other_key_replaced(NEW, [recorded(2)], has_overlap=True)
    assert warning is not None
    assert warning.startswith(f"WARNING: no previous key of {NAME} is set here, so what {OLD} signed is refused.")
    assert other_key_replaced(NEW, [recorded(2)], has_overlap=False) is None


class TestJudge:
    """The decision whether a rotation may be recorded."""

    UNCHANGED = Problem(
        "this key is already recorded",
        f"deliver the newer key of {NAME} from the secret manager; if there is none, run {PROGRAM} rotate"
        f" plan {NAME} --environment prod --log x --model m:C",
    )

    @staticmethod
    def judged(
        *records: Record, new: Sequence[Record] = (NEW,), named: bool = False
    ) -> tuple[list[Record], list[str], dict[str | None, Problem]]:
        drafts = {each.secret or "": each for each in new}
        return judge_drafts(drafts, records, are_named=named, options=("--log", "x", "--model", "m:C"))

    def test_a_new_key(self) -> None:
        """A key without a record may be recorded."""
        assert self.judged(recorded(2), revocation(1), recorded(1, secret=OTHER)) == ([NEW], [], {})

    @pytest.mark.parametrize(
        ("records", "why"),
        [
            (
                [recorded(3, KEY, environment="dev"), revocation(1, KEY)],
                "this key was revoked at 2026-11-30T12:00:00Z",
            ),
            (
                [recorded(3, KEY), recorded(2, KEY, environment="dev", startup=NOT_DONE)],
                "the environment dev has this key, and each environment needs its own",
            ),
            (
                [recorded(3, KEY), recorded(2, KEY, secret=OTHER)],
                f"{OTHER} has this key, and each secret needs its own",
            ),
            (
                [recorded(3, KEY), recorded(2, KEY), recorded(1)],
                "this is an old key, recorded at 2026-11-28T12:00:00Z",
            ),
        ],
        ids=["revoked", "environment", "secret", "used before"],
    )
    def test_a_key_that_has_records(self, records: Sequence[Record], why: str) -> None:
        """A key that was revoked, is used elsewhere or was used before is refused, with what to do."""
        planned = f"{PROGRAM} rotate plan {NAME} --environment prod --log x --model m:C"
        fix = f"deliver the newer key of {NAME} from the secret manager; if there is none, run {planned}"
        assert self.judged(*records) == ([], [], {NAME: Problem(why, fix)})

    def test_an_unchanged_key(self) -> None:
        """A key that is already recorded is ignored if another key is new and its secret was not named."""
        other = rotated(NOW, OLD, secret=OTHER)
        assert self.judged(recorded(1, KEY, startup=NOT_DONE), NEW) == ([], [NAME], {NAME: self.UNCHANGED})
        assert self.judged(NEW, new=(NEW, other)) == ([other], [NAME], {})
        assert self.judged(NEW, new=(NEW, other), named=True) == ([other], [NAME], {NAME: self.UNCHANGED})
        both = {NAME: self.UNCHANGED, OTHER: self.UNCHANGED._replace(remedy=self.UNCHANGED.remedy.replace(NAME, OTHER))}
        assert self.judged(NEW, other, new=(NEW, other))[2] == both

    @pytest.mark.parametrize(
        ("before", "now", "after"),
        [
            ((NOT_DONE, NOT_DONE), (NOT_DONE, ATTESTED), (NOT_DONE, ATTESTED)),
            ((NOT_DONE, ATTESTED), (ATTESTED, NOT_DONE), (ATTESTED, ATTESTED)),
            ((ATTESTED, NOT_DONE), (VERIFIED, NOT_DONE), (VERIFIED, NOT_DONE)),
            ((VERIFIED, NOT_DONE), (ATTESTED, ATTESTED), (VERIFIED, ATTESTED)),
        ],
        ids=range(4),
    )
    def test_completed(self, before: tuple[Proof, Proof], now: tuple[Proof, Proof], after: tuple[Proof, Proof]) -> None:
        """An incomplete rotation is completed by later steps. The better evidence of each step is kept."""
        earlier = validated(recorded(1, KEY), *before)
        expected = validated(NEW, *after)
        assert self.judged(earlier, new=(validated(NEW, *now),)) == ([expected], [], {})

    def test_completed_promotion(self) -> None:
        """A completion keeps the replaced key and the note of the incomplete record, unless there are others now."""
        earlier = replace(
            validated(recorded(1, KEY), NOT_DONE, NOT_DONE), replaced=OLD, replaced_until=NOW, note="by Grace"
        )
        ((completed,), *_) = self.judged(earlier)
        assert (completed.event, completed.replaced, completed.replaced_until) == ("rotated", OLD, NOW)
        assert completed.note == "by Grace"
        ((completed,), *_) = self.judged(earlier, new=(replace(NEW, replaced=OLD, replaced_until=NOW - DAY),))
        assert completed.replaced_until == NOW - DAY

    def test_no_further_step(self) -> None:
        """An incomplete rotation without a further step is refused, with the command that completes it."""
        earlier = validated(recorded(1, KEY), ATTESTED, NOT_DONE)
        why = "this rotation was recorded as incomplete at 2026-11-30T12:00:00Z, and no other step is confirmed"
        again = f"rotate record {NAME} --environment prod --operator Ada --attest functions --log x --model m:C"
        assert self.judged(earlier, new=(validated(NEW, NOT_DONE, NOT_DONE),)) == (
            [],
            [],
            {NAME: Problem(why, f"do the open steps, then run {PROGRAM} {again}")},
        )


def test_completion() -> None:
    """The command names each open step, quotes the operator, and leaves out unknown values."""
    open_one = validated(rotated(NOW, KEY, operator="dana o'neil"), NOT_DONE, NOT_DONE)
    begin = f"{PROGRAM} rotate record {NAME} --environment prod --operator"
    assert completion(open_one, ("--model", "m:C")) == f"{begin} 'dana o'\"'\"'neil' {DONE} --model m:C"
    described = replace(NEW, operator="-x", ticket="OPS-17", note="by Grace")
    assert completion(described, ()) == f"{begin}=-x --ticket OPS-17 --note 'by Grace'"
