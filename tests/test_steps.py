"""The rules of the steps of a rotation: what each one changes, when it is allowed, and which one is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from command_line import OTHER, fingerprint_of, rotated
from conftest import NOW, V1, good_keys, marker
from fleets import GONE, verdict
from rotations import (
    AGAIN,
    BACK,
    DAY,
    END,
    EXPIRES,
    EXPIRY,
    MINUTE,
    NEXT,
    OVERLAP,
    POLICY,
    PREVIOUS,
    PROMOTED,
    RETIRED,
    STAGED,
    UNTIL,
    Edit,
    Fields,
    Names,
    edited,
    is_revoked,
    of_other,
    records_of,
    rotation,
    take,
    unedited,
)

from robodj_secretguard import check
from robodj_secretguard.fleet.verdict import Verdict
from robodj_secretguard.lifecycle import steps
from robodj_secretguard.lifecycle.records import StepName
from robodj_secretguard.lifecycle.steps import MIN_AGE, stored_keys
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc

PROMOTION: Callable[[Fields, Fields], Fields] = lambda old, _: {V1: old[NEXT], NEXT: None, EXPIRES: EXPIRY}  # noqa: E731
INCOMPLETE = ["rotation-incomplete"]
CHANGES: dict[str, tuple[Names, Edit, StepName, Callable[[Fields, Fields], Fields], list[str]]] = {
    "a next key is added": ((), unedited, "stage", lambda _, new: {NEXT: new[NEXT]}, ["staged"]),
    "the next key is current, and the current one is the previous key that is revoked at its deadline": (
        STAGED,
        unedited,
        "promote",
        lambda old, new: (
            PROMOTION(old, new)
            | {PREVIOUS: old[V1], UNTIL: END, REVOKED_FINGERPRINTS: f"{fingerprint_of(old[V1])}@{END}"}
        ),
        INCOMPLETE,
    ),
    "an invalid key is not kept as the previous key": (
        STAGED,
        edited(**{V1: "changeme"}),
        "promote",
        PROMOTION,
        INCOMPLETE,
    ),
    "no key is not kept either": (STAGED, edited(**{V1: ""}), "promote", PROMOTION, INCOMPLETE),
    "nor is a revoked one": (STAGED, is_revoked(V1), "promote", PROMOTION, INCOMPLETE),
    "nor is one whose time has ended": (
        STAGED,
        is_revoked(V1, f"@{iso_utc(NOW)}"),
        "promote",
        PROMOTION,
        INCOMPLETE,
    ),
    "after `back`, a second promotion does not move the deadline": (
        BACK,
        unedited,
        "promote",
        lambda old, new: PROMOTION(old, new) | {PREVIOUS: old[V1], UNTIL: iso_utc(NOW - DAY + OVERLAP)},
        INCOMPLETE,
    ),
    "the previous key is removed, and its entry in the list stays": (
        PROMOTED,
        unedited,
        "retire",
        lambda _, __: {PREVIOUS: None, UNTIL: None},
        ["retired"],
    ),
    "the previous key is current again until its deadline": (
        PROMOTED,
        unedited,
        "back",
        lambda old, _: {V1: old[PREVIOUS], NEXT: old[V1], EXPIRES: old[UNTIL], PREVIOUS: None, UNTIL: None},
        ["rolled-back"],
    ),
    "in an emergency, a new key is the only one, and the old one is revoked": (
        AGAIN,
        unedited,
        "replace",
        lambda old, new: {
            V1: new[V1],
            EXPIRES: EXPIRY,
            NEXT: None,
            PREVIOUS: None,
            UNTIL: None,
            REVOKED_FINGERPRINTS: f"{old[REVOKED_FINGERPRINTS]},{fingerprint_of(old[V1])}",
        },
        ["revoked", *INCOMPLETE],
    ),
    "an invalid key is replaced, and has no fingerprint to revoke": (
        (),
        edited(**{V1: "changeme"}),
        "replace",
        lambda _, new: {V1: new[V1], EXPIRES: EXPIRY},
        INCOMPLETE,
    ),
}


class TestChanges:
    """Each step changes its own fields, and no other."""

    @pytest.mark.parametrize(("names", "edit", "step", "changes", "events"), CHANGES.values(), ids=CHANGES)
    def test_a_step_changes_its_own_fields(
        self,
        names: Names,
        edit: Edit,
        step: StepName,
        changes: Callable[[Fields, Fields], Fields],
        events: list[str],
    ) -> None:
        """Fields that are nobody's business stay."""
        old = rotation(names, edit)
        new = take(step, old)
        changed = {name: new.get(name) for name in {*old, *new} - {ROTATION_RECORD} if new.get(name) != old.get(name)}
        assert (changed, [each.event for each in records_of(new)]) == (changes(old, new), events)

    def test_back_does_not_add_time(self) -> None:
        """A marker that the key had before, and that is earlier than its deadline, is restored."""
        assert rotation(BACK, start=edited(**{EXPIRES: marker(DAY)}))[EXPIRES] == marker(DAY)

    def test_a_step_is_recorded_with_its_keys(self) -> None:
        """The record of a promotion has both keys. That of an emergency is after the revocation of the old key."""
        before = rotation(STAGED)
        after = take("promote", before)
        (record,) = records_of(after)
        assert (record.fingerprint, record.replaced) == (fingerprint_of(before[NEXT]), fingerprint_of(before[V1]))
        assert (record.operator, record.reason, record.recorded_at) == ("Ada", "a test", NOW)
        assert records_of(take("replace", after))[0].fingerprint == fingerprint_of(after[V1])

    def test_the_record_of_another_secret_stays(self) -> None:
        """The last steps of all secrets are in one field. An invalid one is none, and hides no other."""
        fields = rotation(STAGED)
        other, text = of_other(fields), fields[ROTATION_RECORD]
        after = take("stage", steps.with_step(rotation(()), OTHER, other))
        assert ([*steps.last_steps(after)], steps.last_steps(after)[OTHER]) == ([OTHER, POLICY.name], other)
        assert [*steps.last_steps({ROTATION_RECORD: text[:-1] + ',"secret_v2.key":{}}'})] == [POLICY.name]
        for invalid in ("{}}", "[]", '{"secret.key": 5}', text.replace(POLICY.name, OTHER, 1)):
            assert steps.last_steps({ROTATION_RECORD: invalid}) == {}

    def test_stored_keys_have_no_key(self) -> None:
        """A record of the keys has fingerprints only; an invalid key has none. A copy of the current key is no next."""
        fields = rotation(PROMOTED, edited(**{NEXT: "changeme"}))
        keys = stored_keys(POLICY, fields)
        assert (keys.slots.next, sorted(keys.filled)) == (None, ["current", "next", "previous"])
        assert not any(fields[name] in repr(keys) for name in (V1, NEXT, PREVIOUS))
        assert stored_keys(POLICY, {V1: "changeme", NEXT: "changeme"}).filled == {"current"}


DONE: dict[str, tuple[Names, Edit, StepName, datetime, bool]] = {
    **{
        f"{names[-1]} is done after it": (names, unedited, names[-1], NOW, True)
        for names in (STAGED, PROMOTED, RETIRED, BACK, ("replace",))
    },
    **{
        f"{names[-1]} is not done before it": (names[:-1], unedited, names[-1], NOW, False)
        for names in (STAGED, PROMOTED, RETIRED, BACK, ("replace",))
    },
    "a promotion of the next rotation is not done": (AGAIN, unedited, "promote", NOW, False),
    "an emergency after a promotion is not done": (PROMOTED, unedited, "replace", NOW, False),
    "a record of another key says nothing": (PROMOTED, lambda _: good_keys(), "promote", NOW, False),
    "an emergency is done for an hour": (("replace",), unedited, "replace", NOW + MIN_AGE - MINUTE, True),
    "after an hour, it is another emergency": (("replace",), unedited, "replace", NOW + MIN_AGE, False),
    "so it is where the clock was ahead": (("replace",), unedited, "replace", NOW - DAY, False),
    "a copy of the current key is no next key": ((), lambda old: {NEXT: old[V1]}, "stage", NOW, False),
    "an invalid next key is replaced": ((), edited(**{V1: "changeme", NEXT: "password"}), "stage", NOW, False),
}


@pytest.mark.parametrize(("names", "edit", "step", "now", "done"), DONE.values(), ids=DONE)
def test_a_step_that_is_done(names: Names, edit: Edit, step: StepName, now: datetime, *, done: bool) -> None:
    """A repeated command has nothing to do."""
    assert steps.is_done(step, stored_keys(POLICY, rotation(names, edit)), now) is done


WAIT = f"the next key of secret.key has its place since {iso_utc(NOW)}; every instance needs it first"
NO_NEXT = "secret.key has no next key"
NO_PREVIOUS = "secret.key has no previous key that still verifies"
NOT_LAST = "the last step of secret.key is not the promotion of its current key over its previous key"
NO_DEADLINE = f"the previous key of secret.key has no valid deadline in {UNTIL}"
ENDS = NOW - DAY + OVERLAP  # of the previous key, when another next key is stored a day after the promotion
VERIFIES = f"the previous key of secret.key verifies until {iso_utc(ENDS)}"
NOT_READY = "not every instance is ready to {}: {}"
OLD_VERDICT = f"the file of --fleet is from {iso_utc(NOW)}, not from the last 15 minutes"


def no_verdict(condition: str, slot: str) -> list[str]:
    """Return the only obstacle where no verdict is about a key."""
    return [f"the file of --fleet has no verdict on {condition} for the {slot} key of secret.key"]


def verdicts(
    condition: Any, variable: str, *why: dict[str, str], at: datetime = NOW, **others: Any
) -> Callable[[Fields], list[Verdict]]:
    """Return the verdicts on a key, with what is not ready, from the fields that have this key."""
    return lambda fields: [
        replace(verdict(condition, fingerprint_of(fields[variable]), each, at=at), **others) for each in why
    ]


OBSTACLES: dict[str, tuple[Any, Names, dict[str, Any], list[str]]] = {
    "a next key waits for an hour": ("promote", STAGED, {"now": NOW + MIN_AGE - MINUTE}, [WAIT]),
    "a next key is promoted after an hour": ("promote", STAGED, {"now": NOW + MIN_AGE}, []),
    "a next key is promoted now": ("promote", STAGED, {"is_now": True}, []),
    "the previous key is not promoted": (
        "promote",
        PROMOTED,
        {"edit": lambda old: {NEXT: old[PREVIOUS]}, "is_now": True},
        ["the next key of secret.key is its previous key"],
    ),
    **{
        f"{step}: a previous key {what}": (step, AGAIN, how, messages)
        for step in ("promote", "retire")
        for what, how, messages in (
            ("without a deadline stays", {"edit": edited(**{UNTIL: ""}), "now": NOW + DAY}, [NO_DEADLINE]),
            (
                "with an invalid deadline stays",
                {"edit": edited(**{UNTIL: "11.12.2026"}), "now": NOW + DAY},
                [NO_DEADLINE],
            ),
            ("without a deadline goes now", {"edit": edited(**{UNTIL: ""}), "is_now": True}, []),
            ("stays until its deadline", {"now": ENDS - MINUTE}, [VERIFIES]),
            ("goes at its deadline", {"now": ENDS}, []),
            ("goes before its deadline, now", {"now": ENDS - MINUTE, "is_now": True}, []),
            ("that is revoked goes", {"edit": is_revoked(PREVIOUS), "now": NOW + DAY}, []),
            (
                "that is revoked goes without a deadline",
                {"edit": is_revoked(PREVIOUS, **{UNTIL: "soon"}), "now": NOW + DAY},
                [],
            ),
        )
    },
    "back: after a promotion": ("back", PROMOTED, {}, []),
    "back: without a record": ("back", PROMOTED, {"edit": lambda _: {ROTATION_RECORD: ""}}, []),
    "back: after the deadline": ("back", PROMOTED, {"now": NOW + OVERLAP}, [NO_PREVIOUS]),
    "back: without a deadline": ("back", PROMOTED, {"edit": edited(**{UNTIL: ""})}, [NO_PREVIOUS]),
    "back: without a previous key": ("back", (), {}, [NO_PREVIOUS]),
    "back: to a revoked key": ("back", PROMOTED, {"edit": is_revoked(PREVIOUS)}, [NO_PREVIOUS]),
    "back: after an exchange": (
        "back",
        PROMOTED,
        {"edit": lambda old: {V1: old[PREVIOUS], PREVIOUS: old[V1]}},
        [NOT_LAST],
    ),
    "back: after another step": ("back", AGAIN, {"is_now": True}, [NOT_LAST]),
    "back: with a next key": (
        "back",
        PROMOTED,
        {"edit": lambda _: {NEXT: good_keys()[V1]}},
        ["secret.key has a next key, whose place the current key needs"],
    ),
    "back: now": ("back", PROMOTED, {"edit": lambda _: {NEXT: good_keys()[V1]}, "is_now": True}, []),
    **{
        f"{step}: a secret of another manager gets no key": (
            step,
            (),
            {"edit": edited(**{V1: ""}), "is_now": True},
            ["there is no current key of secret.key", *more],
        )
        for step, more in (("stage", []), ("promote", [NO_NEXT]), ("back", [NO_PREVIOUS]), ("replace", []))
    },
    "stage is always allowed": ("stage", AGAIN, {}, []),
    "replace is always allowed": ("replace", AGAIN, {}, []),
    "without a next key, no verdict is asked for": ("promote", (), {"fleet": lambda _: []}, [NO_NEXT]),
    "no verdict is about an invalid key": (
        "promote",
        STAGED,
        {"edit": edited(**{NEXT: "changeme"}), "fleet": lambda _: [verdict("has-next", GONE)]},
        no_verdict("has-next", "next"),
    ),
    "verdicts do not end the overlap": (
        "retire",
        AGAIN,
        {"fleet": verdicts("moved", V1, {})},
        [VERIFIES],
    ),
    "of many instances, ten are named": (
        "promote",
        STAGED,
        {"fleet": verdicts("has-next", NEXT, {f"web-{number}": "old" for number in range(12)})},
        [NOT_READY.format("promote", f"{', '.join(f'web-{number} (old)' for number in range(10))} and 2 more")],
    ),
    **{
        f"a verdict is {seconds} seconds old": (
            "promote",
            STAGED,
            {"now": NOW + timedelta(seconds=seconds), "fleet": verdicts("has-next", NEXT, {})},
            messages,
        )
        for seconds, messages in ((-301, [OLD_VERDICT]), (-300, []), (0, []), (900, []), (901, [OLD_VERDICT]))
    },
    **{
        f"{step}: {what}": (step, names, {"now": now, "fleet": fleet} | more, messages)
        for step, names, now, condition, other, variable, wrong, slot in (
            ("promote", STAGED, NOW, "has-next", "moved", NEXT, V1, "next"),
            ("retire", PROMOTED, NOW + OVERLAP, "moved", "has-next", V1, PREVIOUS, "current"),
        )
        for what, fleet, more, messages in (
            ("every instance is ready", verdicts(condition, variable, {}, at=now), {}, []),
            (
                "one instance of one service is not ready",
                verdicts(condition, variable, {}, {"worker/w": "it is late"}, at=now),
                {},
                [NOT_READY.format(step, "worker/w (it is late)")],
            ),
            ("with is_now, no verdict counts", verdicts(condition, variable, {"w": "late"}), {"is_now": True}, []),
            (
                "an instance that is not ready counts, whatever the verdict is",
                verdicts(condition, variable, {"w": "late"}, at=now, holds=True),
                {},
                [NOT_READY.format(step, "w (late)")],
            ),
            (
                "a verdict that does not hold counts, whatever the instances are",
                verdicts(condition, variable, {}, at=now, holds=False),
                {},
                [NOT_READY.format(step, "")],
            ),
            ("there is no verdict", lambda _: [], {}, no_verdict(condition, slot)),
            ("another condition", verdicts(other, variable, {}, at=now), {}, no_verdict(condition, slot)),
            (
                "another secret",
                verdicts(condition, variable, {}, at=now, secret=OTHER),
                {},
                no_verdict(condition, slot),
            ),
            ("another key", verdicts(condition, wrong, {}, at=now), {}, no_verdict(condition, slot)),
        )
    },
}


class TestObstacles:
    """When a step is not allowed, or not yet."""

    @pytest.mark.parametrize(("step", "names", "how", "messages"), OBSTACLES.values(), ids=OBSTACLES)
    def test_a_step_that_is_not_allowed(
        self, step: StepName, names: Names, how: dict[str, Any], messages: list[str]
    ) -> None:
        """Every obstacle is named. Only a verdict on this condition, secret and key proves something."""
        fields = rotation(names, how.get("edit", unedited))
        fleet = how["fleet"](fields) if "fleet" in how else None
        keys, now, is_now = stored_keys(POLICY, fields), how.get("now", NOW), "is_now" in how
        found = steps.obstacles(step, POLICY, keys, now, is_now=is_now, fleet=fleet)
        assert [each.message for each in found] == messages

    def test_a_next_key_without_a_record_is_as_old_as_its_version(self) -> None:
        """A next key that was stored by hand is as old as the version; unknown is too young."""
        fields = rotation(STAGED, lambda _: {NEXT: good_keys()[V1]})
        for written_at, number in ((NOW - MIN_AGE, 0), (NOW - MIN_AGE + MINUTE, 1), (None, 1)):
            keys = stored_keys(POLICY, fields, written_at)
            assert len([*steps.obstacles("promote", POLICY, keys, NOW, is_now=False)]) == number

    def test_the_age_of_a_next_key_may_be_unknown(self) -> None:
        """Where neither the store nor a record has a time, only the operator can know it."""
        fields = {**good_keys(), NEXT: good_keys()[V1]}
        found = [*steps.obstacles("promote", POLICY, stored_keys(POLICY, fields), NOW, is_now=False)]
        assert [each.remedy for each in found] == [
            "when every instance has it, run this command again with --now",
        ]

    def test_the_time_of_the_manager_counts(self) -> None:
        """The time of the version counts, also for a key that was restored; unless another secret's step made it."""
        fields, later = rotation(STAGED), NOW + DAY
        assert stored_keys(POLICY, fields, later).staged_at == later
        other = of_other(fields)
        newer = replace(other, records=[replace(other.last, recorded_at=later)])
        assert stored_keys(POLICY, steps.with_step(fields, OTHER, newer), later).staged_at == NOW


BEGINS = NOW + POLICY.cadence - POLICY.warn_before
DUE: dict[str, tuple[Names, Edit, datetime, datetime | None, Any]] = {
    "a next key is to be promoted": (STAGED, unedited, NOW, NOW, "promote"),
    "nothing is due in the overlap": (PROMOTED, unedited, NOW, NOW, None),
    "a previous key is retired after its deadline": (PROMOTED, unedited, NOW + OVERLAP, NOW, "retire"),
    "a previous key without a valid deadline stays": (
        PROMOTED,
        lambda _: {UNTIL: "soon", REVOKED_FINGERPRINTS: ""},
        NOW + OVERLAP,
        NOW,
        None,
    ),
    "nothing is due after it": (RETIRED, unedited, NOW, NOW, None),
    **{
        f"with the deadline {until!r}, {due} is due around the revocation of the previous key": (
            AGAIN,
            is_revoked(PREVIOUS, f"@{iso_utc(NOW + DAY)}", **{UNTIL: until}),
            now,
            NOW,
            due,
        )
        for until in ("2026-12-20T00:00:00Z", "soon")
        for now, due in ((NOW + DAY - MINUTE, None), (NOW + DAY, "retire"))
    },
    "nothing is due for a secret of another manager": ((), edited(**{V1: ""}), NOW, None, None),
    "a job does not repeat an undone promotion": (BACK, unedited, NOW + DAY, NOW, None),
    **{
        f"the expiry is {ahead} ahead": ((), edited(**{EXPIRES: marker(ahead)}), NOW, NOW, due)
        for ahead, due in ((POLICY.warn_before + MINUTE, None), (POLICY.warn_before, "stage"), (-DAY, "stage"))
    },
    "the record is recent": ((), unedited, BEGINS - MINUTE, NOW, None),
    "without a marker, the record counts": ((), unedited, BEGINS, NOW, "stage"),
    "without a record, a rotation is due": ((), unedited, NOW, None, "stage"),
}


@pytest.mark.parametrize(("names", "edit", "now", "rotated_at", "due"), DUE.values(), ids=DUE)
def test_the_step_that_is_due(
    names: Names, edit: Edit, now: datetime, rotated_at: datetime | None, due: StepName | None
) -> None:
    """`rotate run` takes the step that is due."""
    assert steps.due(POLICY, stored_keys(POLICY, rotation(names, edit)), rotated_at, now) == due


@pytest.mark.parametrize("names", [(), STAGED, PROMOTED, AGAIN, BACK, RETIRED], ids="-".join)
@pytest.mark.parametrize("late", [timedelta(0), OVERLAP, POLICY.cadence])
def test_a_report_says_the_same_is_due(names: Names, late: timedelta) -> None:
    """`status` has only a report and the log. It says what `rotate run` takes in the store."""
    fields, now = rotation(names), NOW + late
    environ = {name: value for name, value in fields.items() if isinstance(value, str)}
    report = check(environ=environ, now=now, require_env_only=True)
    records = records_of(fields) if names else []
    reported = steps.reported_keys(report.secrets[0], report, records)
    stored = stored_keys(POLICY, fields)
    assert steps.due(POLICY, reported, NOW, now) == steps.due(POLICY, stored, NOW, now)


@pytest.mark.parametrize(
    "other",
    [
        {"recorded_at": NOW - MINUTE},
        {"environment": "dev"},
        {"secret": OTHER},
        {"fingerprint": f"sgfp1:{'0' * 32}"},
        {"replaced": None},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_log_lacks_a_record(other: dict[str, Any]) -> None:
    """The record of a step may be completed by now. An earlier record, and one of something else, is another step."""
    step = steps.last_steps(rotation(PROMOTED))[POLICY.name]
    completed = rotated(NOW, step.last.fingerprint or "", replaced=step.last.replaced)
    for known in (step.records, [completed]):
        assert steps.unrecorded(step, known) == []
    assert steps.unrecorded(step, [replace(step.last, **other)]) == step.records
    assert steps.unrecorded(None, []) == []
