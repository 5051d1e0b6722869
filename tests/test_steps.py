"""The steps of a rotation in a secret manager: what each one changes, when it is taken, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import OTHER, clock, fingerprint_of, rotated
from conftest import NOW, V1, V2, good_keys, marker, put, raising
from fleets import GONE, verdict

from robodj_secretguard import Material, RuntimeSecrets, SecretPolicy, check
from robodj_secretguard.errors import FileError, ManagerError, UsageError
from robodj_secretguard.fleet.verdict import Verdict
from robodj_secretguard.lifecycle import steps
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import LastStep, Record, StepName, draft
from robodj_secretguard.lifecycle.steps import MIN_AGE, Rotator, StepResult, stored_keys
from robodj_secretguard.managers.manager import CONFLICT, Store, Stored, sealed
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.directory import delivery_of
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc

Fields = dict[str, Any]
Edit = Callable[[Fields], Fields]
Names = tuple[StepName, ...]

POLICY = RuntimeSecrets.secret_policies["secret_key"]
SINGLE = POLICY._replace(overlap=timedelta(0), stores_data=False)
VENDOR = SecretPolicy(
    name="vendor.password",
    variable="VENDOR_PASSWORD",
    material=Material.opaque(),
    issuer="https://vendor.example",
    owner="A",
    cadence=timedelta(days=90),
    warn_before=timedelta(days=7),
    overlap=timedelta(days=7),
)
NEXT, PREVIOUS, UNTIL = POLICY.slot_variables
EXPIRES = POLICY.expiry_variable
OVERLAP = POLICY.overlap
MICROSECOND, MINUTE, HOUR, DAY = timedelta(microseconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OTHERS = {"OTHER": "text", "NUMBER": 5, "NESTED": {"A": [1.5, None]}}
SOURCE = "vault:secret/robodj"
EXPIRY, END = iso_utc(NOW + POLICY.cadence), iso_utc(NOW + OVERLAP)
STAGED: Names = ("stage",)
PROMOTED: Names = ("stage", "promote")
AGAIN: Names = ("stage", "promote", "stage")
BACK: Names = ("stage", "promote", "back")
RETIRED: Names = ("stage", "promote", "retire")


def take(step: StepName, fields: Fields, now: datetime = NOW) -> Fields:
    """Return the fields of the new version."""
    keys = stored_keys(POLICY, fields)
    new = steps.changed_fields(step, POLICY, fields, keys, now)
    environ = {name: value for name, value in new.items() if isinstance(value, str)}
    status = check(environ=environ, now=now, require_env_only=True).secrets[0]
    done = steps.last_step(step, keys, status, now, environment="prod", operator="Ada", reason="a test")
    return steps.with_step(new, POLICY.name, done)


def unedited(_: Fields) -> Fields:
    """Change no field."""
    return {}


def rotation(names: Names, edit: Edit = unedited, start: Edit = unedited) -> Fields:
    """Return the fields after some steps, a day apart; the last one is at `NOW`. Then somebody has edited them."""
    fields = {**good_keys(), **OTHERS, **start({})}
    for number, each in enumerate(names, start=1 - len(names)):
        fields = take(each, fields, NOW + number * DAY)
    return {**fields, **edit(fields)}


def records_of(fields: Fields) -> list[Record]:
    """Return the records of the last step."""
    return steps.last_steps(fields)[POLICY.name].records


def of_other(fields: Fields) -> LastStep:
    """Return the last step as one of the other secret."""
    step = steps.last_steps(fields)[POLICY.name]
    return replace(step, records=[replace(step.last, secret=OTHER)])


def is_revoked(variable: str, end: str = "", **others: str) -> Edit:
    """Return an edit that revokes a key, and changes other fields."""
    return lambda fields: {REVOKED_FINGERPRINTS: f"{fingerprint_of(fields[variable])}{end}", **others}


def edited(**fields: str) -> Edit:
    """Return an edit that changes fields."""
    return lambda _: fields


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
        for now, due in ((NOW + DAY - MINUTE, "promote"), (NOW + DAY, "retire"))
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


def drift(
    names: Names, edit: Edit = unedited, logged: Callable[[Fields], Sequence[Record]] | None = None, now: datetime = NOW
) -> tuple[str, str]:
    """Return what differs from the log, and the remedy, if anything does. By default, the log has the last step."""
    fields = rotation(names, edit)
    records = logged(fields) if logged else records_of(fields)
    problem = steps.drift(POLICY, stored_keys(POLICY, fields), records, SOURCE, now=now)
    return (problem.message, problem.remedy) if problem else ("", "")


def current(key: str, *more: Record) -> list[Record]:
    """Return the record of a current key, and others."""
    return [rotated(NOW, fingerprint_of(key)), *more]


PROGRAM = "run robodj-secretguard"
RECORD = (
    f"{PROGRAM} rotate record secret.key --from {SOURCE} --environment prod --operator YOUR-NAME if this was meant;"
    " otherwise rotate the key"
)
PLAN = f"{PROGRAM} rotate plan secret.key --from {SOURCE} and follow its steps"
AT = f"at {iso_utc(NOW)}"
CHANGED = f"{V1} is not the recorded key"
OLDER = f"{SOURCE} is at an older step (staged {AT}) than the log (staged at {iso_utc(NOW + 2 * DAY)})"
BY_HAND: Edit = lambda old: {V1: good_keys()[V1], PREVIOUS: old[V1]}  # noqa: E731


class TestDrift:
    """What the manager has, against what is recorded."""

    @pytest.mark.parametrize("names", [STAGED, PROMOTED, RETIRED, BACK, (*PROMOTED, "replace")])
    def test_a_step_that_the_log_lacks_is_recorded_by_its_command(self, names: Names) -> None:
        """The fix is the command of that step, which only records it. Then there is no drift."""
        assert drift(names) == ("", "")
        message, remedy = drift(names, logged=lambda _: [])
        assert message.startswith(f"{SOURCE} has a step that the operations log does not have: ")
        command = "run" if names[-1] == "replace" else names[-1]
        where = f"--to {SOURCE} --environment prod --operator YOUR-NAME"
        assert remedy == f"{PROGRAM} rotate {command} secret.key {where}: it records the step"

    @pytest.mark.parametrize("names", [PROMOTED, BACK, ("replace",)])
    def test_a_key_that_was_changed_by_hand_is_drift(self, names: Names) -> None:
        """A key that is not that of the last step was changed by somebody. `rotate record` accepts it."""
        found = drift(names, lambda _: {V1: good_keys()[V1]})
        assert found == (CHANGED, RECORD)

    def test_a_current_key_that_is_not_the_last_recorded_one_is_drift(self) -> None:
        """It is drift whatever the last step was, until it is recorded."""
        before, key = rotation(PROMOTED), good_keys()[V1]
        fields = {**take("retire", before), V1: key}
        records, keys = [*records_of(before), *records_of(fields)], stored_keys(POLICY, fields)
        problem = steps.drift(POLICY, keys, records, SOURCE, now=NOW)
        assert (problem and problem.message) == CHANGED
        assert steps.drift(POLICY, keys, [*records, *current(key)], SOURCE, now=NOW) is None

    def test_a_restored_version_is_drift(self) -> None:
        """A version that was restored is older than the log, which has later steps. So is one that is not there yet."""
        staged = rotation(STAGED)
        promoted = take("promote", staged, NOW + DAY)
        again = take("stage", promoted, NOW + 2 * DAY)
        later = [record for fields in (staged, promoted, again) for record in records_of(fields)]
        keys, end = stored_keys(POLICY, staged), NOW + 2 * DAY + OVERLAP
        assert steps.drift(POLICY, keys, later, SOURCE, now=end) is None
        problem = steps.drift(POLICY, keys, later, SOURCE, now=end + MICROSECOND)
        assert (problem and problem.message) == OLDER

    def test_a_promotion_by_hand_is_recorded_next(self) -> None:
        """A new current key whose previous one is the recorded one is in the middle of a rotation."""
        assert drift((), BY_HAND, lambda fields: current(fields[PREVIOUS])) == ("", "")
        logged = lambda fields: current(fields[PREVIOUS], *records_of(fields))  # noqa: E731
        assert drift(STAGED, BY_HAND, logged) == ("", "")

    def test_no_key_is_restored(self) -> None:
        """After a revocation a new key is on its way, and an old one is replaced."""

        def logged(fields: Fields) -> list[Record]:
            (record,) = records_of(fields)
            return [record, replace(draft("revoked", fingerprint=record.fingerprint, reason="leaked"), recorded_at=NOW)]

        assert drift(PROMOTED, lambda _: {V1: good_keys()[V1]}, logged) == ("", "")
        assert drift(PROMOTED, lambda old: {V1: old[PREVIOUS]}, logged)[1] == PLAN

    def test_without_a_step_the_current_key_must_be_recorded(self) -> None:
        """Without a step in the manager, its current key is one of the log, if the log has any."""
        assert drift((), logged=lambda _: []) == ("", "")
        assert drift((), logged=lambda fields: current(fields[V1], *current(good_keys()[V1]))) == ("", "")
        assert drift((), logged=lambda _: current(good_keys()[V1])) == (CHANGED, RECORD)

    def test_drift_is_found_in_what_the_managers_have_delivered(self) -> None:
        """A secret that no manager delivers has no drift."""
        fields = rotation(STAGED)
        delivery = delivery_of(SOURCE, {name: fields[name] for name in (V1, ROTATION_RECORD)}, [V1, ROTATION_RECORD])
        policies = RuntimeSecrets.secret_policies.values()
        assert [*steps.find_drift([delivery], policies, records_of(fields))] == []
        (found,) = steps.find_drift([delivery], policies, [])
        assert (found.secret, str(found.check), found.source) == (POLICY.name, "drift", SOURCE)


class Memory(Store):
    """A manager that has one version.

    Attributes:
        fields: the fields of the current version.
        clock: its time; `None` where it tells none.
        error: what a write raises, before it changes anything.
        writes: how many versions were written.
    """

    def __init__(self) -> None:
        super().__init__("memory:robodj")
        self.fields: Fields = {**good_keys(), **OTHERS}
        self.clock: datetime | None = None
        self.error: ManagerError | None = None
        self.writes = 0

    def current(self, seconds: float) -> Stored:
        del seconds
        return Stored(sealed(self.fields), str(self.writes), read_at=self.clock)

    def write(self, fields: SealedStr, current: Stored, seconds: float) -> None:
        del seconds
        if self.error:
            raise self.error
        assert current.version == str(self.writes)
        self.fields, self.writes = Stored(fields, "").opened(), self.writes + 1


class Desk:
    """An operator with a manager and an operations log."""

    def __init__(self, log: Path) -> None:
        self.store, self.log, self.config = Memory(), OperationsLog(str(log)), log.parent

    def take(
        self,
        step: StepName | None,
        now: datetime = NOW,
        *,
        environment: str = "prod",
        policy: SecretPolicy = POLICY,
        reason: str | None = "leaked",
        recorded: bool = True,
        **how: Any,
    ) -> StepResult:
        """Take a step at a time, and record it or not."""
        rotator = Rotator(
            RuntimeSecrets,
            self.store,
            environment=environment,
            operator="Ada",
            reason=reason,
            config_dir=str(self.config),
            options=("--to", self.store.name, "--environment", environment),
        )
        with clock(now):
            return rotator.take(policy, step, log=self.log if recorded else None, **how)

    def note(self, key: str, at: datetime = NOW, **fields: Any) -> None:
        """Add a record of a key to the log."""
        with clock(at), self.log.locked():
            self.log.append([rotated(at, fingerprint_of(key), **fields)])

    def revoke(self, variable: str, where: str) -> None:
        """Revoke a key of the manager."""
        key = self.store.fields[variable]
        if where == "the manager":
            entries = self.store.fields.get(REVOKED_FINGERPRINTS, "")
            self.store.fields |= {REVOKED_FINGERPRINTS: f"{entries},{fingerprint_of(key)}"}
        elif where == "this machine":
            put(self.config / "revoked.fingerprints", fingerprint_of(key), 0o644)
        else:
            self.note(key, event="revoked")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An operator with a manager that has good keys, and no record."""
    return Desk(tmp_path / "log")


def refusal(result: StepResult) -> tuple[str, str]:
    """Return why a step was refused, and the remedy."""
    assert result.outcome == "refused"
    assert result.refusal is not None
    return result.refusal.message, result.refusal.remedy


STAGE = "run robodj-secretguard rotate stage secret.key --to memory:robodj --environment prod"
ALERTS = "the new version would have these alerts"


class TestTaken:
    """A step that is taken, and its record."""

    def test_a_rotation_writes_each_step_once(self, desk: Desk) -> None:
        """Each step is one write and one record. Fields that are nobody's business stay."""
        old = desk.store.fields[V1]
        results = [desk.take("stage"), desk.take("promote", NOW + HOUR), desk.take("retire", NOW + 15 * DAY)]
        assert [result.outcome for result in results] == ["done"] * 3
        assert [result.fields for result in results[::2]] == [[NEXT], [PREVIOUS, UNTIL]]
        assert desk.store.writes == 3
        assert [each.event for each in desk.log.records] == ["staged", "rotation-incomplete", "retired"]
        assert (results[1].rotated and results[1].rotated.replaced) == fingerprint_of(old)
        assert desk.store.fields.items() >= OTHERS.items()

    def test_the_step_that_is_due_is_taken(self, desk: Desk) -> None:
        """Without a step, the one that is due is taken; one that must wait is not refused."""
        assert (desk.take(None).step, desk.store.writes) == ("stage", 1)
        waiting = desk.take(None)
        assert (waiting.step, waiting.outcome, desk.store.writes) == ("promote", "nothing-to-do", 1)
        assert (waiting.refusal and waiting.refusal.remedy) == "run this command again after 2026-12-01T13:00:00Z"
        assert desk.take(None, NOW + HOUR).outcome == "done"
        nothing = desk.take(None, NOW + HOUR)
        assert (nothing.step, nothing.outcome) == (None, "nothing-to-do")

    def test_a_step_that_is_done_writes_nothing(self, desk: Desk) -> None:
        """A repeated step has nothing to do. With `is_now`, another next key is stored. No result shows a key."""
        result = desk.take("stage", dry_run=True)
        assert (result.outcome, result.fields, desk.store.writes) == ("would-be-done", [NEXT], 0)
        result, first = desk.take("stage"), desk.store.fields[NEXT]
        again = desk.take("stage")
        assert (again.outcome, again.step, desk.store.writes) == ("nothing-to-do", "stage", 1)
        assert desk.take("stage", is_now=True).outcome == "done"
        assert desk.store.fields[NEXT] != first
        shown = repr(vars(result)) + repr(result.as_dict())
        assert [key for key in (first, desk.store.fields[V1], desk.store.fields[V2]) if key in shown] == []
        assert result.now == NOW

    def test_an_emergency_shows_the_alerts_of_other_secrets(self, desk: Desk) -> None:
        """An emergency needs only its own fields, and does not wait for the right clock."""
        desk.store.fields |= {V2: 5}
        desk.store.clock = NOW + DAY
        result = desk.take("replace", recorded=False)
        assert (result.outcome, result.now, result.findings) == ("done", NOW + DAY, [])
        desk.store.fields |= {V2: "changeme"}
        result = desk.take("replace", recorded=False, is_now=True)
        assert [(each.secret, str(each.check)) for each in result.findings] == [(OTHER, "placeholder")]
        desk.store.fields |= {V2: (good := good_keys()[V2]), V1: good}
        result = desk.take("replace", recorded=False, is_now=True)
        assert [(each.secret, str(each.check)) for each in result.findings] == [(OTHER, "revoked")]

    def test_a_lost_record_is_recovered(self, desk: Desk) -> None:
        """A step that the manager has and the log does not is recorded by the next command, and once."""
        desk.take("stage", recorded=False)
        assert [each["event"] for each in desk.take("stage").as_dict()["records"]] == ["staged"]
        assert desk.take("stage").recovered == ()

    def test_without_a_log_the_next_step_waits(self, desk: Desk) -> None:
        """While an earlier step cannot be recorded, no further one is taken, except in an emergency."""
        desk.take("stage", NOW + DAY, recorded=False)
        result = desk.take("promote", NOW, is_now=True)
        assert (result.outcome, result.refusal, desk.store.writes) == ("refused", None, 1)
        why = "the clock (2026-12-01T12:00:00Z) is earlier than 2026-12-02T12:00:00Z; set the clock"
        assert result.unrecorded == [why]
        assert desk.take("replace").outcome == "done"


PLACES = pytest.mark.parametrize("where", ["the manager", "the log", "this machine"])


class TestRefused:
    """A step that is not taken: nothing is written."""

    def test_a_step_that_must_wait_is_refused(self, desk: Desk) -> None:
        """A remedy is the whole command that stages another key."""
        remedy = f"{STAGE}, and run this command again an hour later"
        assert refusal(desk.take("promote")) == (NO_NEXT, remedy)
        desk.take("stage")
        assert refusal(desk.take("promote"))[0] == WAIT
        desk.store.fields[NEXT] = "changeme"
        assert refusal(desk.take("promote", is_now=True)) == (ALERTS, f"{STAGE} --now")

    def test_a_wrong_clock(self, desk: Desk) -> None:
        """A difference between the clocks would move the deadlines."""
        desk.store.clock = NOW + 2 * MINUTE
        assert desk.take("stage", dry_run=True).outcome == "would-be-done"
        desk.store.clock = NOW + 2 * MINUTE + timedelta(seconds=1)
        result = desk.take("stage")
        message, remedy = refusal(result)
        assert (result.step, message[:36], remedy) == (
            "stage",
            "this machine's clock is 2026-12-01T1",
            "set the clock that is wrong",
        )

    def test_another_environment(self, desk: Desk) -> None:
        """A step for another environment is a mistake in an option. `stage` with `is_now` corrects an earlier one."""
        desk.take("stage", environment="prd")
        message, remedy = refusal(desk.take("promote", NOW + HOUR))
        assert message == "secret.key in memory:robodj is of the environment prd"
        assert remedy.startswith("pass --environment prd, or correct --to")
        desk.note(desk.store.fields[V1], environment="dev")
        del desk.store.fields[ROTATION_RECORD]
        assert refusal(desk.take("stage"))[0].endswith("of the environment dev")
        assert desk.take("stage", is_now=True).outcome == "done"

    def test_an_older_version(self, desk: Desk) -> None:
        """A version that was restored is older than the log."""
        desk.take("stage")
        staged = desk.store.fields
        desk.take("promote", NOW + HOUR)
        desk.store.fields = staged
        for step in ("promote", "stage", None):
            message, _ = refusal(desk.take(step, NOW + HOUR, is_now=step is not None))
            assert message.startswith("memory:robodj is at an older step than the operations log (rotation-incomplete")

    def test_a_withdrawn_key_is_promoted_again(self, desk: Desk) -> None:
        """After `back`, the withdrawn key may be promoted, unless it is used elsewhere."""
        for step in BACK:
            desk.take(step, is_now=True)
        assert desk.take("promote", NOW + 2 * HOUR, is_now=True, dry_run=True).outcome == "would-be-done"
        desk.note(desk.store.fields[NEXT], NOW + HOUR, environment="dev")
        message, _ = refusal(desk.take("promote", NOW + 2 * HOUR, is_now=True))
        assert message == "the environment dev has this key, and each environment needs its own"

    def test_an_old_key_is_not_promoted(self, desk: Desk) -> None:
        """A key that the log knows from an earlier rotation is old."""
        desk.note(key := good_keys()[V1], NOW - DAY)
        desk.take("stage")
        desk.store.fields[NEXT] = key
        assert refusal(desk.take("promote", is_now=True))[0].startswith("this is an old key, recorded at ")

    @PLACES
    def test_a_revoked_next_key(self, desk: Desk, where: str) -> None:
        """A next key that is revoked is not promoted, also with `is_now`. The remedy replaces it."""
        desk.take("stage")
        desk.revoke(NEXT, where)
        message, remedy = refusal(desk.take("promote", is_now=True))
        assert message.startswith("this key was revoked at " if where == "the log" else ALERTS)
        assert remedy == f"{STAGE} --now"

    @PLACES
    def test_a_revoked_previous_key(self, desk: Desk, where: str) -> None:
        """A previous key that is revoked is retired before its deadline, and does not delay a promotion."""
        for step in AGAIN:
            desk.take(step, is_now=True)
        desk.revoke(PREVIOUS, where)
        assert desk.take(None, dry_run=True).step == "retire"
        assert desk.take("promote", NOW + HOUR, dry_run=True).outcome == "would-be-done"
        assert desk.take("retire").outcome == "done"

    @PLACES
    def test_a_revoked_current_key_gets_no_place(self, desk: Desk, where: str) -> None:
        """A current key that is revoked is not kept as the previous key."""
        desk.take("stage")
        desk.revoke(V1, where)
        assert desk.take("promote", NOW + HOUR).outcome == "done"
        assert not {PREVIOUS, UNTIL} & {*desk.store.fields}


NO_STEPS = "{} has no such steps: {}; run robodj-secretguard rotate plan {}"
OF_VENDOR = NO_STEPS.format(VENDOR.name, "a vendor issues it", VENDOR.name)
OF_SINGLE = NO_STEPS.format(POLICY.name, "it has no overlap", POLICY.name)
USAGE: dict[str, tuple[StepName | None, dict[str, Any], str]] = {
    **{f"a vendor's secret: {step}": (step, {"policy": VENDOR}, OF_VENDOR) for step in ("stage", "retire", None)},
    "a vendor's secret: replace": ("replace", {"policy": VENDOR}, f"{OF_VENDOR} --emergency"),
    **{f"no overlap: {step}": (step, {"policy": SINGLE}, OF_SINGLE) for step in ("stage", "promote", "retire", "back")},
    "haste excludes evidence": (
        "promote",
        {"is_now": True, "fleet": []},
        "pass --fleet or --now: --now does not wait for evidence",
    ),
    "haste needs a step": (
        None,
        {"is_now": True},
        "rotate run takes --now only with --emergency; the single steps have their own --now",
    ),
    "an emergency has a reason": ("replace", {"reason": None}, "--emergency needs NAME and --reason"),
    "a text that cannot be recorded is not shown": ("stage", {"reason": "two\nlines"}, "invalid reason; "),
}


class TestUsage:
    """A call that no result answers: it is an error, and nothing is written."""

    @pytest.mark.parametrize(("step", "how", "why"), USAGE.values(), ids=USAGE)
    def test_a_step_that_there_is_not(self, desk: Desk, step: StepName | None, how: dict[str, Any], why: str) -> None:
        """No step replaces a vendor's secret. Without an overlap, no service reads a next or a previous key."""
        with pytest.raises(UsageError) as caught:
            desk.take(step, **how)
        assert (str(caught.value)[: len(why)], desk.store.writes) == (why, 0)

    def test_a_secret_without_an_overlap_has_an_emergency(self, desk: Desk) -> None:
        """An emergency needs no overlap. Otherwise, no step is due."""
        assert desk.take(None, policy=SINGLE).outcome == "nothing-to-do"
        assert desk.take("replace", policy=SINGLE).outcome == "done"

    def test_a_log_that_is_later_than_the_clock_is_refused_before_the_write(self, desk: Desk) -> None:
        """The manager would have a step that cannot be recorded. An emergency and a dry run do not wait."""
        desk.note(good_keys()[V1], NOW + DAY)
        with pytest.raises(FileError) as caught:
            desk.take("stage")
        assert str(caught.value) == "its last record is later than this machine's clock; set the clock"
        assert desk.store.writes == 0
        assert desk.take("stage", dry_run=True).outcome == "would-be-done"
        assert desk.take("replace").outcome == "done"


class TestManager:
    """A manager that delivers nothing, or does not take the write."""

    def test_it_delivers_nothing(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """The result has the alert about the source. So it has for a field that cannot be checked."""
        desk.store.fields[V2] = 5
        result = desk.take("stage")
        message = f"memory:robodj has {V2}, but it is not a string"
        assert (result.refusal, [finding.message for finding in result.findings]) == (None, [message])
        monkeypatch.setattr(desk.store, "current", raising(ManagerError("does not exist", "correct it")))
        result = desk.take("stage")
        assert (result.outcome, result.keys.filled, result.fields) == ("refused", frozenset(), [])
        found = [(finding.message, str(finding.check)) for finding in result.findings]
        assert found == [("memory:robodj does not exist", "source")]

    @pytest.mark.parametrize(
        ("error", "check"),
        [
            (ManagerError("did not answer in time", "wait", is_temporary=True), "unavailable"),
            (ManagerError(*CONFLICT), "source"),
        ],
        ids=["no answer", "conflict"],
    )
    def test_it_does_not_take_the_write(self, desk: Desk, error: ManagerError, check: str) -> None:
        """A write without an answer may have been done. After a conflict, nothing was written."""
        desk.store.error = error
        result = desk.take("stage")
        assert (result.outcome, result.fields) == ("refused", [NEXT])
        assert [str(finding.check) for finding in result.findings] == [check]
