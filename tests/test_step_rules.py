"""The steps of a rotation in a secret manager: what each one changes, when it is allowed, and what is drift."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from command_line import OTHER, fingerprint_of, rotated
from conftest import NOW, V1, V2, good_keys, marker
from fleets import GONE, verdict

from robodj_secretguard import RuntimeSecrets, check
from robodj_secretguard.lifecycle import steps
from robodj_secretguard.lifecycle.records import draft
from robodj_secretguard.lifecycle.steps import MIN_AGE, StoredKeys, stored_keys
from robodj_secretguard.startup.directory import delivery_of
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard.fleet.verdict import ConditionName, Verdict
    from robodj_secretguard.lifecycle.records import LastStep, Record, StepName

POLICY = RuntimeSecrets.secret_policies["secret_key"]
NEXT, PREVIOUS, UNTIL = POLICY.slot_variables
EXPIRES = POLICY.expiry_variable
MICROSECOND, MINUTE, DAY = timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=1)
OVERLAP = POLICY.overlap
OTHERS = {"OTHER": "text", "NUMBER": 5, "NESTED": {"A": [1.5, None]}}
SOURCE = "vault:secret/robodj"
Fields = dict[str, Any]

RECORD = (
    f"run robodj-secretguard rotate record secret.key --from {SOURCE} --environment prod --operator YOUR-NAME if this"
    " was meant; otherwise rotate the key"
)


def first() -> Fields:
    """Make the fields of a manager before any rotation, with others that are nobody's business."""
    return {**good_keys(), **OTHERS}


def take(step: StepName, fields: Fields, now: datetime = NOW) -> Fields:
    """Return the fields of the new version."""
    keys = stored_keys(POLICY, fields)
    new = steps.changed_fields(step, POLICY, fields, keys, now)
    environ = {name: value for name, value in new.items() if isinstance(value, str)}
    status = check(environ=environ, now=now, require_env_only=True).secrets[0]
    done = steps.last_step(step, keys, status, now, environment="prod", operator="Ada", reason="a test")
    return steps.with_step(new, POLICY.name, done)


def rotation(*names: StepName, fields: Fields | None = None) -> Fields:
    """Return the fields after some steps, a day apart; the last one is at `NOW`."""
    fields = first() if fields is None else fields
    for number, each in enumerate(names, start=1 - len(names)):
        fields = take(each, fields, NOW + number * DAY)
    return fields


def refusals(
    step: StepName, fields: Fields, now: datetime = NOW, *, is_now: bool = False, fleet: Sequence[Verdict] | None = None
) -> list[str]:
    """Return why a step is not allowed."""
    keys = stored_keys(POLICY, fields)
    found = steps.obstacles(step, POLICY, keys, now, is_now=is_now, fleet=fleet)
    return [each.message for each in found]


def unlisted(fields: Fields) -> Fields:
    """Return fields without a revocation list."""
    return fields | {REVOKED_FINGERPRINTS: ""}


def is_done(step: StepName, fields: Fields, now: datetime = NOW) -> bool:
    """Check whether a step is done."""
    return steps.is_done(step, stored_keys(POLICY, fields), now)


def events(fields: Fields) -> list[str]:
    """Return the events of the last step."""
    return [str(each.event) for each in keys_records(fields)]


def keys_records(fields: Fields) -> list[Record]:
    """Return the records of the last step."""
    return steps.last_steps(fields)[POLICY.name].records


def of_other(fields: Fields, at: datetime = NOW) -> LastStep:
    """Return the last step as one of the other secret."""
    step = steps.last_steps(fields)[POLICY.name]
    return replace(step, records=[replace(step.last, secret=OTHER, recorded_at=at)])


def drift(fields: Fields, logged: Sequence[Record] | None = None, now: datetime = NOW) -> tuple[str, str]:
    """Return what differs from the log, and the remedy, if anything does. By default, the log has the last step."""
    keys = stored_keys(POLICY, fields)
    records = keys.step.records if keys.step and logged is None else logged or []
    problem = steps.drift(POLICY, keys, records, SOURCE, now=now)
    return (problem.message, problem.remedy) if problem else ("", "")


class TestChanges:
    """Each step changes its own fields, and no other."""

    def test_stage_adds_a_next_key(self) -> None:
        """A new next key is added."""
        before = first()
        after = take("stage", before)
        assert {**after, NEXT: "", ROTATION_RECORD: ""} == {**before, NEXT: "", ROTATION_RECORD: ""}
        assert after[NEXT] not in before.values()
        assert events(after) == ["staged"]

    def test_promote_moves_the_next_key_and_keeps_the_current_one(self) -> None:
        """The next key becomes current, and the current one previous until the end of the overlap, and then revoked."""
        before = take("stage", first())
        after = take("promote", before)
        end = iso_utc(NOW + OVERLAP)
        assert after == {
            **OTHERS,
            V1: before[NEXT],
            V2: before[V2],
            EXPIRES: iso_utc(NOW + POLICY.cadence),
            PREVIOUS: before[V1],
            UNTIL: end,
            REVOKED_FINGERPRINTS: f"{fingerprint_of(before[V1])}@{end}",
            ROTATION_RECORD: after[ROTATION_RECORD],
        }
        record = steps.last_steps(after)[POLICY.name].last
        assert (record.fingerprint, record.replaced) == (fingerprint_of(before[NEXT]), fingerprint_of(before[V1]))
        assert (record.operator, record.reason, record.recorded_at) == ("Ada", "a test", NOW)

    @pytest.mark.parametrize(
        "broken",
        [{V1: "changeme"}, {V1: ""}, {REVOKED_FINGERPRINTS: "plain"}, {REVOKED_FINGERPRINTS: "ended"}],
    )
    def test_promote_over_a_key_that_no_service_accepts(self, broken: dict[str, str]) -> None:
        """A current key that is invalid or revoked gets no place as the previous one."""
        before = take("stage", first())
        entries = {"plain": "", "ended": f"@{iso_utc(NOW - MINUTE)}"}
        revoked = {k: fingerprint_of(before[V1]) + entries[v] for k, v in broken.items() if v in entries}
        after = take("promote", {**before, **broken, **revoked})
        assert after[V1] == before[NEXT]
        assert not {PREVIOUS, UNTIL, NEXT} & {*after}
        assert after.get(REVOKED_FINGERPRINTS, "") == revoked.get(REVOKED_FINGERPRINTS, "")

    def test_retire_removes_the_previous_key(self) -> None:
        """The previous key and its deadline are removed. Its entry in the revocation list stays."""
        before = rotation("stage", "promote")
        after = take("retire", before, NOW + OVERLAP)
        gone = {each: before[each] for each in (PREVIOUS, UNTIL)}
        assert {**after, ROTATION_RECORD: "", **gone} == {**before, ROTATION_RECORD: ""}
        assert events(after) == ["retired"]

    def test_back_swaps_the_keys_again(self) -> None:
        """The previous key is current again, until its deadline. The current key is the next one."""
        before = rotation("stage", "promote")
        after = take("back", before, NOW + MINUTE)
        moved = {V1: before[PREVIOUS], NEXT: before[V1], EXPIRES: before[UNTIL]}
        kept = {name: before[name] for name in (*OTHERS, V2, REVOKED_FINGERPRINTS)}
        assert after == {**kept, **moved, ROTATION_RECORD: after[ROTATION_RECORD]}
        assert events(after) == ["rolled-back"]

    def test_back_does_not_add_time(self) -> None:
        """A marker that the key had before, and that is earlier than its deadline, is restored."""
        before = rotation("stage", "promote", fields=first() | {EXPIRES: marker(DAY)})
        assert take("back", before)[EXPIRES] == marker(DAY)

    def test_a_second_promotion_does_not_move_the_deadline(self) -> None:
        """After `back`, the deadline of the first promotion stays, and the list gets no second entry."""
        once = rotation("stage", "promote")
        again = take("promote", take("back", once, NOW + MINUTE), NOW + DAY)
        assert {**again, EXPIRES: "", ROTATION_RECORD: ""} == {**once, EXPIRES: "", ROTATION_RECORD: ""}

    def test_replace_leaves_one_new_key_and_revokes_the_old_one(self) -> None:
        """In an emergency, a new key is the only one, and the old current key is revoked at once."""
        before = rotation("stage", "promote", "stage")
        after = take("replace", before)
        old = fingerprint_of(before[V1])
        assert after[V1] not in before.values()
        assert not {NEXT, PREVIOUS, UNTIL} & {*after}
        assert after[EXPIRES] == iso_utc(NOW + POLICY.cadence)
        assert after[REVOKED_FINGERPRINTS] == f"{before[REVOKED_FINGERPRINTS]},{old}"
        assert events(after) == ["revoked", "rotation-incomplete"]
        assert steps.last_steps(after)[POLICY.name].records[0].fingerprint == old

    def test_an_invalid_key_is_replaced_and_not_revoked(self) -> None:
        """An invalid key has no fingerprint, so it is replaced and not revoked."""
        after = take("replace", first() | {V1: "changeme"})
        assert REVOKED_FINGERPRINTS not in after
        assert events(after) == ["rotation-incomplete"]

    def test_the_record_of_another_secret_stays(self) -> None:
        """The last steps of all secrets are in one field."""
        other = of_other(rotation("stage"))
        after = take("stage", steps.with_step(first(), OTHER, other))
        assert [*steps.last_steps(after)] == [OTHER, POLICY.name]
        assert steps.last_steps(after)[OTHER] == other

    def test_an_invalid_record_is_none(self) -> None:
        """A record that cannot be parsed is replaced."""
        of_other = rotation("stage")[ROTATION_RECORD].replace('{"secret.key":', '{"secret_v2.key":', 1)
        assert steps.last_steps({ROTATION_RECORD: of_other}) == {}
        for text in ("{}}", "[]", '{"secret.key": 5}'):
            fields = first() | {ROTATION_RECORD: text}
            assert stored_keys(POLICY, fields).step is None
            assert events(take("stage", fields)) == ["staged"]

    def test_an_invalid_record_does_not_hide_another_one(self) -> None:
        """An invalid record of one secret does not hide that of another one."""
        text = rotation("stage")[ROTATION_RECORD]
        assert [*steps.last_steps({ROTATION_RECORD: text[:-1] + ',"secret_v2.key":{}}'})] == [POLICY.name]


class TestIsDone:
    """Whether a repeated command has nothing to do."""

    @pytest.mark.parametrize(
        "names",
        [("stage",), ("stage", "promote"), ("stage", "promote", "retire"), ("stage", "promote", "back"), ("replace",)],
    )
    def test_a_step_is_done_after_it(self, names: tuple[StepName, ...]) -> None:
        """A step is done after it, and not before it."""
        before = rotation(*names[:-1])
        assert not is_done(names[-1], before) or names[-1] == "retire"
        assert is_done(names[-1], take(names[-1], before))

    def test_a_step_of_the_next_rotation_is_not_done(self) -> None:
        """A step of the next rotation is not done."""
        fields = rotation("stage", "promote", "stage")
        assert not is_done("promote", fields)
        assert not is_done("replace", rotation("stage", "promote"))

    def test_a_record_of_another_key_says_nothing(self) -> None:
        """A record of another key says nothing."""
        assert not is_done("promote", rotation("stage", "promote") | good_keys())

    def test_after_an_hour_it_is_another_emergency(self) -> None:
        """After an hour, the same emergency command replaces the key again."""
        fields = rotation("replace")
        assert is_done("replace", fields, NOW + MIN_AGE - MINUTE)
        assert not is_done("replace", fields, NOW + MIN_AGE)
        assert not is_done("replace", fields, NOW - DAY)  # that clock was ahead

    def test_a_next_key_that_is_also_current_is_none(self) -> None:
        """A next key that is also the current one is a leftover of a promotion by hand."""
        fields = first()
        assert not is_done("stage", fields | {NEXT: fields[V1]})
        assert stored_keys(POLICY, fields | {V1: "changeme", NEXT: "changeme"}).filled == {"current"}

    def test_an_invalid_next_key_is_replaced(self) -> None:
        """An invalid next key is there, and `stage` replaces it."""
        fields = first() | {V1: "changeme", NEXT: "password"}
        assert "next" in stored_keys(POLICY, fields).filled
        assert not is_done("stage", fields)


class TestObstacles:
    """When a step is not allowed, or not yet."""

    def test_a_next_key_waits_for_an_hour(self) -> None:
        """A next key is promoted when it has been in the manager for an hour, or with --now."""
        fields = rotation("stage")
        assert refusals("promote", fields, NOW + MIN_AGE - MINUTE) == [
            f"the next key of secret.key has its place since {iso_utc(NOW)}; every instance needs it first"
        ]
        assert refusals("promote", fields, NOW + MIN_AGE) == []
        assert refusals("promote", fields, is_now=True) == []

    def test_a_next_key_without_a_record_is_as_old_as_its_version(self) -> None:
        """A next key that was stored by hand is as old as the version; unknown is too young."""
        fields = rotation("stage") | {NEXT: good_keys()[V1]}
        for written_at, number in ((NOW - MIN_AGE, 0), (NOW - MIN_AGE + MINUTE, 1), (None, 1)):
            keys = stored_keys(POLICY, fields, written_at)
            assert len([*steps.obstacles("promote", POLICY, keys, NOW, is_now=False)]) == number

    def test_the_time_of_the_manager_counts(self) -> None:
        """The time of the version counts, also for a key that was restored; unless another secret's step made it."""
        fields, later = rotation("stage"), NOW + DAY
        assert stored_keys(POLICY, fields, later).staged_at == later
        both = steps.with_step(fields, OTHER, of_other(fields, later))
        assert stored_keys(POLICY, both, later).staged_at == NOW

    def test_the_previous_key_is_not_promoted(self) -> None:
        """The previous key does not become current as a next key."""
        fields = rotation("stage", "promote")
        what = "the next key of secret.key is its previous key"
        assert what in refusals("promote", fields | {NEXT: fields[PREVIOUS]}, is_now=True)

    @pytest.mark.parametrize("step", ["promote", "retire"])
    def test_a_previous_key_without_a_valid_deadline_stays(self, step: StepName) -> None:
        """A previous key whose deadline cannot be read is not removed, unless with --now."""
        for until in ("", "11.12.2026"):
            fields = rotation("stage", "promote", "stage") | {UNTIL: until}
            what = [f"the previous key of secret.key has no valid deadline in {UNTIL}"]
            assert refusals(step, fields, NOW + DAY) == what
            assert refusals(step, fields, NOW + DAY, is_now=True) == []

    @pytest.mark.parametrize("until", ["2026-12-20T00:00:00Z", "soon", ""])
    def test_a_revoked_previous_key_does_not_stay(self, until: str) -> None:
        """A previous key that is revoked now is no obstacle, whatever its deadline is, and does not come back."""
        fields = rotation("stage", "promote", "stage")
        fields |= {UNTIL: until, REVOKED_FINGERPRINTS: fingerprint_of(fields[PREVIOUS])}
        assert refusals("retire", fields, NOW + DAY) == refusals("promote", fields, NOW + DAY) == []
        assert refusals("back", fields)[0] == "secret.key has no previous key that still verifies"

    @pytest.mark.parametrize("step", ["promote", "retire"])
    def test_a_previous_key_stays_until_its_deadline(self, step: StepName) -> None:
        """A previous key stays until its deadline, or until --now."""
        fields = rotation("stage", "promote", "stage")
        end = stored_keys(POLICY, fields).slots.previous_until
        assert end is not None
        what = [f"the previous key of secret.key verifies until {iso_utc(end)}"]
        assert refusals(step, fields, end - MINUTE) == what
        assert refusals(step, fields, end) == []
        assert refusals(step, fields, end - MINUTE, is_now=True) == []

    def test_back_needs_a_promotion_as_the_last_step(self) -> None:
        """`back` needs the promotion as the last step, and a previous key that still verifies."""
        fields = rotation("stage", "promote")
        nothing = "secret.key has no previous key that still verifies"
        other = "the last step of secret.key is not the promotion of its current key over its previous key"
        assert refusals("back", fields) == []
        assert refusals("back", {**fields, ROTATION_RECORD: ""}) == []
        assert refusals("back", fields, NOW + OVERLAP) == [nothing]
        assert refusals("back", first()) == [nothing]
        assert refusals("back", {**fields, V1: fields[PREVIOUS], PREVIOUS: fields[V1]}) == [other]
        assert refusals("back", take("stage", fields), is_now=True) == [other]
        by_hand = fields | {NEXT: good_keys()[V1]}
        assert refusals("back", by_hand) == ["secret.key has a next key, whose place the current key needs"]
        assert refusals("back", by_hand, is_now=True) == []

    @pytest.mark.parametrize("step", ["stage", "promote", "back", "replace"])
    def test_a_secret_of_another_manager_gets_no_key(self, step: StepName) -> None:
        """A secret that another manager has gets no key here."""
        assert refusals(step, {}, is_now=True)[0] == "there is no current key of secret.key"

    def test_stage_and_replace_are_always_allowed(self) -> None:
        """`stage` and an emergency are always allowed."""
        fields = rotation("stage", "promote", "stage")
        assert refusals("stage", fields) == refusals("replace", fields) == []


class TestFleet:
    """The verdicts on the instances as a condition of a step."""

    CONDITIONS: Final[list[tuple[StepName, ConditionName, str, datetime]]] = [
        ("promote", "has-next", NEXT, NOW),
        ("retire", "moved", V1, NOW + OVERLAP),
    ]

    def fields(self, step: StepName) -> Fields:
        """Return the fields before a step."""
        return rotation("stage") if step == "promote" else rotation("stage", "promote")

    @pytest.mark.parametrize(("step", "condition", "variable", "now"), CONDITIONS)
    def test_ready_instances(self, step: StepName, condition: ConditionName, variable: str, now: datetime) -> None:
        """If every instance has the key, the step is allowed. No hour is needed for a next key."""
        fields = self.fields(step)
        ready = verdict(condition, fingerprint_of(fields[variable]), at=now)
        other = verdict(condition, GONE, {"api/web-1": "of a service with keys of its own"})
        assert refusals(step, fields, now, fleet=[ready, other]) == []

    @pytest.mark.parametrize(("step", "condition", "variable", "now"), CONDITIONS)
    def test_an_instance_that_is_not_ready(
        self, step: StepName, condition: ConditionName, variable: str, now: datetime
    ) -> None:
        """If one instance of one service is not ready, it is named. `--now` does not ask for verdicts."""
        fields = self.fields(step)
        key, later = fingerprint_of(fields[variable]), now + timedelta(hours=2)
        behind = [verdict(condition, key, why, at=later) for why in ({}, {"worker/w": "it is late"})]
        assert refusals(step, fields, later, fleet=behind) == [
            f"not every instance is ready to {step}: worker/w (it is late)"
        ]
        assert refusals(step, fields, later, is_now=True, fleet=behind) == []

    @pytest.mark.parametrize("holds", [True, False])
    def test_a_verdict_that_contradicts_itself(self, holds: bool) -> None:  # noqa: FBT001
        """A file that somebody has edited counts as not ready, if any part of it says so."""
        fields = rotation("stage")
        edited = replace(
            verdict("has-next", fingerprint_of(fields[NEXT]), {"api/web-1": "old"} if holds else {}), holds=holds
        )
        assert refusals("promote", fields, fleet=[edited]) != []

    @pytest.mark.parametrize(("step", "condition", "variable", "now"), CONDITIONS)
    def test_a_verdict_on_something_else(
        self, step: StepName, condition: ConditionName, variable: str, now: datetime
    ) -> None:
        """Only a verdict on this condition, this secret and exactly this key proves something."""
        fields = self.fields(step)
        key = fingerprint_of(fields[variable])
        right = verdict(condition, key, at=now)
        others = [
            replace(right, condition="none-on"),
            replace(right, condition="moved" if condition == "has-next" else "has-next"),
            replace(right, secret=OTHER),
            replace(right, fingerprint=fingerprint_of(fields[V1 if step == "promote" else PREVIOUS])),
        ]
        slot = "next" if step == "promote" else "current"
        why = f"the file of --fleet has no verdict on {condition} for the {slot} key of secret.key"
        for found in ([], *([each] for each in others), others):
            assert refusals(step, fields, now, fleet=found) == [why]

    @pytest.mark.parametrize(
        ("seconds", "is_recent"), [(-301, False), (-300, True), (0, True), (900, True), (901, False)]
    )
    def test_age(self, seconds: int, is_recent: bool) -> None:  # noqa: FBT001
        """A verdict is of the last 15 minutes, by clocks that differ by five minutes at most."""
        fields = rotation("stage")
        made = [verdict("has-next", fingerprint_of(fields[NEXT]))]
        found = refusals("promote", fields, NOW + timedelta(seconds=seconds), fleet=made)
        assert found == (
            [] if is_recent else ["the file of --fleet is from 2026-12-01T12:00:00Z, not from the last 15 minutes"]
        )

    def test_deadline(self) -> None:
        """Verdicts do not end the overlap."""
        fields = rotation("stage", "promote")
        moved = [verdict("moved", fingerprint_of(fields[V1]))]
        assert refusals("retire", fields, fleet=moved) != []

    def test_a_next_key_without_a_fingerprint(self) -> None:
        """No verdict can be about a next key that is invalid."""
        fields = rotation("stage") | {NEXT: "changeme"}
        (why,) = refusals("promote", fields, fleet=[verdict("has-next", GONE)])
        assert "no verdict" in why

    def test_instances_are_not_asked_for_no_key(self) -> None:
        """Without a next key, no verdict is asked for."""
        assert refusals("promote", first(), fleet=[]) == refusals("promote", first(), is_now=True)

    def test_the_first_of_many_instances_are_named(self) -> None:
        """Of many instances, the first ones are named."""
        fields = rotation("stage")
        many = verdict("has-next", fingerprint_of(fields[NEXT]), {f"api/web-{number}": "old" for number in range(12)})
        (why,) = refusals("promote", fields, fleet=[many])
        assert (why.count("web-"), why[-11:]) == (10, " and 2 more")


class TestDue:
    """The step that `rotate run` takes."""

    def due(self, fields: Fields, now: datetime = NOW, rotated_at: datetime | None = NOW) -> StepName | None:
        return steps.due(POLICY, stored_keys(POLICY, fields), rotated_at, now)

    def test_each_step_of_a_rotation_is_due_in_turn(self) -> None:
        """A next key is promoted, and a previous key is retired after its deadline; nothing is due in between."""
        assert self.due(rotation("stage")) == "promote"
        assert self.due(rotation("stage", "promote")) is None
        assert self.due(rotation("stage", "promote"), NOW + OVERLAP) == "retire"
        assert self.due(unlisted(rotation("stage", "promote")) | {UNTIL: "soon"}, NOW + OVERLAP) is None
        assert self.due(rotation("stage", "promote", "retire")) is None

    @pytest.mark.parametrize("until", ["2026-12-20T00:00:00Z", "soon", ""])
    def test_a_revoked_previous_key_is_due_whatever_its_deadline_is(self, until: str) -> None:
        """A previous key is retired from its revocation on, also before a next key is promoted."""
        fields = rotation("stage", "promote", "stage")
        fields |= {UNTIL: until, REVOKED_FINGERPRINTS: f"{fingerprint_of(fields[PREVIOUS])}@{iso_utc(NOW + DAY)}"}
        assert self.due(fields, NOW + DAY - MINUTE) == "promote"
        assert self.due(fields, NOW + DAY) == "retire"

    def test_nothing_is_due_for_a_secret_of_another_manager(self) -> None:
        """Nothing is due for a secret that another manager has."""
        assert self.due({}, rotated_at=None) is None

    def test_an_undone_promotion_is_not_due_again(self) -> None:
        """A promotion that was undone is not done again by a job."""
        assert self.due(rotation("stage", "promote", "back"), NOW + DAY) is None

    def test_a_rotation_is_due_when_the_expiry_is_near(self) -> None:
        """A rotation begins when the expiry is near enough for its warning."""
        for ahead, due in ((POLICY.warn_before + MINUTE, None), (POLICY.warn_before, "stage"), (-DAY, "stage")):
            assert self.due(first() | {EXPIRES: marker(ahead)}) == due

    def test_without_a_marker_the_record_counts(self) -> None:
        """Without a marker, the date of the record counts; without a record, a rotation is due."""
        begins = NOW + POLICY.cadence - POLICY.warn_before
        assert self.due(first(), begins - MINUTE) is None
        assert self.due(first(), begins) == "stage"
        assert self.due(first(), rotated_at=None) == "stage"


STEPS: tuple[tuple[StepName, ...], ...] = (
    ("stage",),
    ("stage", "promote"),
    ("stage", "promote", "retire"),
    ("stage", "promote", "back"),
    ("stage", "promote", "replace"),
)


class TestUnrecorded:
    """Which records the operations log lacks."""

    def test_a_record_of_the_same_step_is_known(self) -> None:
        """A record in the log is that of the step, also when the rotation was completed in the meantime."""
        step = stored_keys(POLICY, rotation("stage", "promote")).step
        assert step is not None
        completed = rotated(NOW, step.last.fingerprint or "", replaced=step.last.replaced)
        assert steps.unrecorded(step, step.records) == []
        assert steps.unrecorded(step, [completed]) == []
        assert steps.unrecorded(None, []) == []

    @pytest.mark.parametrize(
        "other",
        [
            {"recorded_at": NOW - MINUTE},
            {"environment": "dev"},
            {"secret": "secret_v2.key"},
            {"fingerprint": f"sgfp1:{'0' * 32}"},
            {"replaced": None},
        ],
    )
    def test_a_record_of_something_else_is_another_one(self, other: dict[str, Any]) -> None:
        """An earlier record, and one of something else, is another step."""
        step = stored_keys(POLICY, rotation("stage", "promote")).step
        assert step is not None
        assert steps.unrecorded(step, [replace(step.last, **other)]) == step.records


class TestDrift:
    """What the manager has, against what is recorded."""

    def test_after_a_step_there_is_none(self) -> None:
        """A manager is as its last step has left it."""
        for names in STEPS:
            assert drift(rotation(*names))[0] == ""
        assert drift(first())[0] == ""

    def test_a_step_that_the_log_lacks_is_recorded_by_its_command(self) -> None:
        """The fix is the command of that step, which only records it."""
        for names in STEPS:
            found = drift(rotation(*names), [])
            assert found[0].startswith(f"{SOURCE} has a step that the operations log does not have: ")
            command = "run" if names[-1] == "replace" else names[-1]
            assert f"rotate {command} secret.key --to {SOURCE} --environment prod" in found[1]

    @pytest.mark.parametrize(
        ("names", "variable", "done", "fix"),
        [
            (("stage",), NEXT, "staged", "rotate stage secret.key"),
            (
                ("stage", "promote"),
                V1,
                "promoted",
                RECORD,
            ),
            (("stage", "promote", "retire"), PREVIOUS, "retired", "rotate retire secret.key"),
            (
                ("stage", "promote", "back"),
                V1,
                "rolled back",
                RECORD,
            ),
            (
                ("replace",),
                V1,
                "replaced",
                RECORD,
            ),
        ],
    )
    def test_a_key_that_was_changed_by_hand_is_drift(
        self, names: tuple[StepName, ...], variable: str, done: str, fix: str
    ) -> None:
        """A key that is not that of the last step was changed by somebody. `rotate record` accepts a current key."""
        before, fields = rotation(*names[:-1]), rotation(*names)
        if names[-1] == "retire":
            fields = take("retire", before)
        fields |= {variable: before[PREVIOUS] if variable == PREVIOUS else good_keys()[V1]}
        keys = stored_keys(POLICY, fields)
        assert keys.step is not None
        found = drift(fields)
        assert found[0] == f"{variable} was changed after the last step ({done} at {iso_utc(NOW)})"
        assert fix in found[1]
        meant = rotated(NOW, keys.slots.current or "")
        assert variable != V1 or drift(fields, [*keys.step.records, meant])[0] == ""

    def test_a_current_key_that_is_not_the_last_recorded_one_is_drift(self) -> None:
        """A current key that is not the last recorded one is drift, whatever the last step was."""
        fields = rotation("stage", "promote")
        promoted, fields = keys_records(fields), take("retire", fields, NOW + OVERLAP)
        fields |= {V1: good_keys()[V1]}
        found = drift(fields, [*promoted, *keys_records(fields)])
        assert found[0].startswith(f"{V1} was changed after the last step (retired at ")

    def test_a_restored_version_is_drift(self) -> None:
        """A version that was restored is older than the log, which has later steps. So is one that is not there yet."""
        staged = rotation("stage")
        later = [*keys_records(staged), *keys_records(take("promote", staged, NOW + DAY))]
        end = NOW + DAY + OVERLAP
        assert drift(staged, later, end)[0] == ""
        found = drift(staged, later, end + MICROSECOND)
        step, log = f"staged at {iso_utc(NOW)}", f"rotation-incomplete at {iso_utc(NOW + DAY)}"
        assert found[0] == f"{SOURCE} is at an older step ({step}) than the log ({log})"

    @pytest.mark.parametrize("names", [(), ("stage",)], ids=["no step", "staged"])
    def test_a_promotion_by_hand_is_recorded_next(self, names: tuple[StepName, ...]) -> None:
        """A new current key whose previous one is the recorded one is in the middle of a rotation."""
        fields = rotation(*names) if names else first()
        records = [rotated(NOW, fingerprint_of(fields[V1])), *(keys_records(fields) if names else [])]
        assert drift({**fields, V1: good_keys()[V1], PREVIOUS: fields[V1]}, records)[0] == ""

    def test_no_key_is_restored(self) -> None:
        """After a revocation a new key is on its way, and an old one is replaced."""
        fields = rotation("stage", "promote")
        revocation = draft("revoked", fingerprint=fingerprint_of(fields[V1]), reason="leaked")
        records = [*keys_records(fields), replace(revocation, recorded_at=NOW)]
        assert drift({**fields, V1: good_keys()[V1]}, records)[1] == ""
        plan = f"run robodj-secretguard rotate plan secret.key --from {SOURCE} and follow its steps"
        assert drift({**fields, V1: fields[PREVIOUS]}, records)[1] == plan

    def test_without_a_step_the_current_key_must_be_recorded(self) -> None:
        """Without a step in the manager, its current key is one of the log, if the log has any."""
        fields = first()
        other = fingerprint_of(good_keys()[V1])
        assert drift(fields, [rotated(NOW, fingerprint_of(fields[V1]))])[0] == ""
        found = drift(fields, [rotated(NOW, other)])
        assert found[0] == f"{V1} is not a recorded key"


def test_drift_is_found_in_what_the_managers_have_delivered() -> None:
    """A secret that no manager delivers has no drift."""
    fields = rotation("stage")
    delivery = delivery_of(SOURCE, {V1: fields[V1], ROTATION_RECORD: fields[ROTATION_RECORD]}, [V1, ROTATION_RECORD])
    policies = RuntimeSecrets.secret_policies.values()
    (found,) = steps.find_drift([delivery], policies, [])
    assert (found.secret, str(found.check), found.source) == (POLICY.name, "drift", SOURCE)


def test_stored_keys_have_no_key() -> None:
    """A record of the keys has fingerprints only; an invalid key has none."""
    fields = rotation("stage", "promote") | {NEXT: "changeme"}
    keys = stored_keys(POLICY, fields)
    assert isinstance(keys, StoredKeys)
    assert (keys.slots.next, "next" in keys.filled) == (None, True)
    assert not any(str(value) in repr(keys) for name, value in fields.items() if name in {V1, NEXT, PREVIOUS})
