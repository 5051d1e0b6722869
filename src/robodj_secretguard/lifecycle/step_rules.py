"""The rules for the steps of a rotation in a secret manager: what each changes, when it is allowed, and drift."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from robodj_secretguard.common.generator import generate
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet.verdict import HAS_NEXT, MOVED, UNPROVEN, judge_of, unready_instances
from robodj_secretguard.lifecycle.records import Event, LastStep, Proof, draft, dump_last_steps, parse_last_steps
from robodj_secretguard.lifecycle.rotation import draft_rotation, rotations
from robodj_secretguard.managers.manager import first_with
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import fingerprint, is_sound
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import command, listed
from robodj_secretguard.startup.readings import revocation_list
from robodj_secretguard.startup.report import finding
from robodj_secretguard.startup.rules import Check, Problem, Severity
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc, parse_marker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from robodj_secretguard.fleet.verdict import Fleet
    from robodj_secretguard.lifecycle.records import Record, StepName
    from robodj_secretguard.managers.manager import Delivery
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.report import Finding, SecretStatus

Fields: TypeAlias = "Mapping[str, Any]"
"""The fields of a secret in a manager. A function that takes them runs inside `contain()`."""

MIN_AGE: Final = timedelta(hours=1)
"""How long a next key is in the manager before it is promoted: every instance must have it."""
UNFINISHED_AGE: Final = timedelta(minutes=5)
"""How long the version of an interrupted write is used again. No instance has its keys."""
_MOST_INSTANCES: Final = 10
_SLOTS: Final = {
    Event.STAGED: "next",
    Event.RETIRED: "previous",
    **dict.fromkeys((Event.ROTATED, Event.ROTATION_INCOMPLETE, Event.ROLLED_BACK), "current"),
}
"""By event: which key the record names."""
_DONE: Final[dict[StepName, str]] = {
    "stage": "staged",
    "promote": "promoted",
    "retire": "retired",
    "back": "rolled back",
    "replace": "replaced",
}


class StoredKeys(Frozen):
    """The keys of a secret in a version of a manager. No field has a key.

    Attributes:
        slots: the fingerprint of each valid key. A next key that is also the current one is none.
        filled: the slots that have a key, valid or not.
        expires_at: the instant of the expiry marker, if there is a valid one.
        revoked_from: from when on the current key is revoked, if it is.
        step: the last step; `None` where its record is missing or invalid.
        staged_at: since when the manager has the next key, if that is known.
    """

    slots: Slots
    filled: frozenset[str]
    expires_at: datetime | None
    revoked_from: datetime | None
    step: LastStep | None
    staged_at: datetime | None


def stored_keys(policy: SecretPolicy, fields: Fields, written_at: datetime | None = None) -> StoredKeys:
    """Return the keys of a secret, and its last step. `written_at` is when the manager made this version."""
    next_variable, previous_variable, until = policy.slot_variables
    variables = {"current": policy.variable, "next": next_variable, "previous": previous_variable}
    texts = {slot: text for slot, variable in variables.items() if (text := _field_text(fields, variable))}
    keys = {slot: fingerprint(SealedStr(text)) for slot, text in texts.items() if is_sound(text, policy.material)}
    current = keys.get("current")
    if texts.get("next") == texts.get("current") or (current and keys.get("next") == current):
        texts.pop("next", None)
        keys.pop("next", None)
    steps = last_steps(fields)
    step = steps.get(policy.name)
    # The server's time is better. It is that of this version, which another secret's step may have made.
    is_older = any(step and step.last.recorded_at < other.last.recorded_at for other in steps.values())
    is_staged = step is not None and step.step == "stage" and step.last.fingerprint == keys.get("next")
    return StoredKeys(
        Slots(**keys, previous_until=parse_marker(SealedStr(_field_text(fields, until)))),
        frozenset(texts),
        parse_marker(SealedStr(_field_text(fields, policy.expiry_variable))),
        revocation_list([], [("", SealedStr(_field_text(fields, REVOKED_FINGERPRINTS)))]).begin(current or ""),
        step,
        step.last.recorded_at if step and is_staged and (is_older or not written_at) else written_at,
    )


def last_steps(fields: Fields) -> dict[str, LastStep]:
    """Return the last step of each secret."""
    return parse_last_steps(_field_text(fields, ROTATION_RECORD))


def is_done(step: StepName, keys: StoredKeys, now: datetime) -> bool:
    """Check whether the manager already has the result of a step."""
    if step == "stage":
        return keys.slots.next is not None
    if step == "retire":
        return "previous" not in keys.filled
    done = keys.step
    if done is None or done.step != step or done.last.fingerprint != keys.slots.current:
        return False
    if step == "promote":
        return "next" not in keys.filled
    # After an hour, it is another emergency.
    return step != "replace" or abs(now - done.last.recorded_at) < MIN_AGE


def obstacles(
    step: StepName, policy: SecretPolicy, keys: StoredKeys, now: datetime, *, is_now: bool, fleet: Fleet | None = None
) -> Iterator[Problem]:
    """Yield why a step is not allowed; with the severity `note`, not yet. `is_now`: the operator wants it at once.

    `fleet` is the evidence of the instances. Where it proves that all of them have the next key, no hour is needed.
    """
    if "current" not in keys.filled and step != "retire":
        yield Problem(f"there is no current key of {policy.name}", "correct --to, or store the first key (generate)")
    if step == "promote":
        yield from _obstacles_of_next(policy, keys, now, is_now=is_now or fleet is not None)
    if step == "back":
        yield from _obstacles_of_back(policy, keys, now, is_now=is_now)
    if step in {"promote", "retire"} and not is_now:
        if fleet and (step == "retire" or "next" in keys.filled):
            yield from _unproven_instances(step, policy.name, keys, fleet, now)
        yield from _obstacles_of_previous(policy, keys, now)


def _obstacles_of_next(policy: SecretPolicy, keys: StoredKeys, now: datetime, *, is_now: bool) -> Iterator[Problem]:
    name = policy.name
    if "next" not in keys.filled:
        yield Problem(f"{name} has no next key", "stage one first (rotate stage), and wait an hour")
    if keys.slots.next and keys.slots.next == keys.slots.previous:
        yield Problem(f"the next key of {name} is its previous key", "replace it: run rotate stage with --now")
    if not is_now and (keys.staged_at is None or now - keys.staged_at < MIN_AGE):
        since = keys.staged_at or now
        what = f"the next key of {name} has its place since {iso_utc(since)}; every instance needs it first"
        yield Problem(what, f"run this command again after {iso_utc(since + MIN_AGE)}", severity=Severity.NOTE)


def _obstacles_of_back(policy: SecretPolicy, keys: StoredKeys, now: datetime, *, is_now: bool) -> Iterator[Problem]:
    name, until = policy.name, keys.slots.previous_until
    if "previous" not in keys.filled or until is None or until <= now:
        yield Problem(f"{name} has no previous key that still verifies", "stage a new key (rotate stage)")
    last = keys.step.last if keys.step and keys.step.step == "promote" and keys.slots.previous else None
    if keys.step and (last is None or (last.fingerprint, last.replaced) != (keys.slots.current, keys.slots.previous)):
        what = f"the last step of {name} is not the promotion of its current key over its previous key"
        yield Problem(what, "compare the versions in the manager, and restore the right one")
    if "next" in keys.filled and not is_now:
        what = f"{name} has a next key, whose place the current key needs"
        yield Problem(what, "to give up the next key, run this command again with --now")


def _obstacles_of_previous(policy: SecretPolicy, keys: StoredKeys, now: datetime) -> Iterator[Problem]:
    name, until = policy.name, keys.slots.previous_until
    if "previous" not in keys.filled:
        return
    if until is None:
        deadline = policy.slot_variables[2]
        remedy = f"correct {deadline} in the manager, or add --now: what that key has signed is then refused"
        yield Problem(f"the previous key of {name} has no valid deadline in {deadline}", remedy)
    elif now < until:
        what, remedy = f"verifies until {iso_utc(until)}", f"run this command again after {iso_utc(until)}"
        yield Problem(f"the previous key of {name} {what}", remedy, severity=Severity.NOTE)


def _unproven_instances(step: StepName, name: str, keys: StoredKeys, fleet: Fleet, now: datetime) -> Iterator[Problem]:
    """Yield that the evidence of the instances does not agree: who lacks the next key, or signs with another one."""
    condition = {"promote": HAS_NEXT, "retire": MOVED}[step]
    judge = judge_of(condition, keys.slots, None, now)
    again = "then run fleet status and this command again"
    if not any(name in instance.secrets for instance in fleet.instances):
        yield Problem(f"the file of --fleet has no instance that uses {name}", "correct its --roster and --secret")
    elif failing := [*unready_instances(fleet, {name: judge}, now)]:
        names = listed([f"{who} ({why})" for who, _, why in failing], _MOST_INSTANCES)
        remedy = f"restart the instances that still have old keys, and wait until these do not count; {again}"
        if all(why.startswith(UNPROVEN) for _, _, why in failing):
            remedy = f"let these instances report, or correct the roster; {again}"
        yield Problem(f"not every instance is ready to {step}: {names}", remedy)


def due(policy: SecretPolicy, keys: StoredKeys, rotated_at: datetime | None, now: datetime) -> StepName | None:
    """Return the step of a rotation that is due. `rotated_at` is when the current key was recorded, if it was."""
    if "current" not in keys.filled:
        return None
    if "next" in keys.filled:
        return None if keys.step and keys.step.step == "back" else "promote"
    until = keys.slots.previous_until
    if "previous" in keys.filled and until and until <= now:
        return "retire"
    ends = keys.expires_at or (rotated_at and rotated_at + policy.cadence)
    is_due = policy.overlap and (ends is None or ends - policy.warn_before <= now)
    return "stage" if is_due else None


def changed_fields(
    step: StepName, policy: SecretPolicy, fields: Fields, keys: StoredKeys, now: datetime
) -> dict[str, Any]:
    """Return the fields after a step. Those that it does not change stay as they are."""
    new = _changes(step, policy, fields, keys, now)
    return {name: value for name, value in {**fields, **new}.items() if value is not None or name not in new}


def _changes(
    step: StepName, policy: SecretPolicy, fields: Fields, keys: StoredKeys, now: datetime
) -> dict[str, str | None]:
    """Return the new text of each field that a step changes; `None` for one that it removes."""
    variable, marker, (next_variable, previous, until) = policy.variable, policy.expiry_variable, policy.slot_variables
    if step == "stage":
        return {next_variable: generate(policy).get_secret_value()}
    if step == "retire":
        return {previous: None, until: None}
    if step == "back":
        before = keys.step.replaced_expires_at if keys.step else None
        soonest = min(filter(None, (keys.slots.previous_until, before)))  # its time as a key does not get longer
        moved = {variable: _field_text(fields, previous), next_variable: _field_text(fields, variable)}
        return {**moved, previous: None, until: None, marker: iso_utc(soonest)}
    expires = iso_utc(now + policy.cadence)
    if step == "replace":
        others = dict.fromkeys(name for name in policy.variables if fields.get(name))
        new = {variable: generate(policy).get_secret_value(), marker: expires}
        return {**others, **new, **_with_entry(fields, keys.slots.current, "")}
    promoted = {variable: _field_text(fields, next_variable), next_variable: None, marker: expires}
    if not keys.slots.current or (keys.revoked_from and keys.revoked_from <= now):  # no service would accept it
        return {**promoted, previous: None, until: None}
    # Promoted again after `back`, the deadline does not move.
    ends = iso_utc(min(filter(None, (now + policy.overlap, keys.revoked_from))))
    revoked = _with_entry(fields, keys.slots.current, f"@{ends}")
    return {**promoted, previous: _field_text(fields, variable), until: ends, **revoked}


def last_step(step: StepName, before: StoredKeys, after: SecretStatus, now: datetime, **who: Any) -> LastStep:
    """Return a step with its records, which the new version and the operations log get."""
    rotated = draft_rotation(after, Proof.NOT_DONE, Proof.NOT_DONE, **who)
    of_secret: dict[str, Any] = {"secret": after.secret, "owner": after.owner, **who}
    records = [rotated]
    if step == "stage":
        records = [draft(Event.STAGED, fingerprint=after.next_fingerprint, **of_secret)]
    elif step == "retire":
        records = [draft(Event.RETIRED, fingerprint=before.slots.previous, **of_secret)]
    elif step == "back":
        records = [replace(rotated, event=Event.ROLLED_BACK)]
    elif step == "replace" and before.slots.current:
        records = [draft(Event.REVOKED, fingerprint=before.slots.current, **of_secret), rotated]
    marker = before.expires_at if step == "promote" else None
    return LastStep(step, [replace(record, recorded_at=now) for record in records], marker)


def with_step(fields: Fields, secret: str, step: LastStep) -> dict[str, Any]:
    """Return the fields of the new version, with its last step."""
    return {**fields, ROTATION_RECORD: dump_last_steps({**last_steps(fields), secret: step})}


def unfinished_step(
    step: StepName, policy: SecretPolicy, keys: StoredKeys, fields: Fields, unfinished: Fields, *, now: datetime
) -> LastStep | None:
    """Return the step of an unfinished version, if it is the same step from this version, and recent.

    Args:
        step: the step that is taken now.
        policy: the secret.
        keys: its keys in the current version.
        fields: the fields of the current version.
        unfinished: the fields of the version that an interrupted write has left.
        now: the time.
    """
    made = last_steps(unfinished).get(policy.name)
    if made is None or made.step != step or made == keys.step or now - made.last.recorded_at >= UNFINISHED_AGE:
        return None
    expected = with_step(changed_fields(step, policy, fields, keys, made.last.recorded_at), policy.name, made)
    if generated := {"stage": policy.slot_variables[0], "replace": policy.variable}.get(step):
        expected[generated] = unfinished.get(generated)
    # Any other difference is a change that somebody has made after that version.
    return made if expected == unfinished else None


def unrecorded(step: LastStep | None, logged: Sequence[Record]) -> list[Record]:
    """Return the records of a manager that the operations log does not have."""
    records = step.records if step else ()
    return [record for record in records if not any(_is_same(record, other) for other in logged)]


def _is_same(record: Record, logged: Record) -> bool:
    """Check whether the log has the record of a step. It was written after the step, and may be completed by now."""
    names = ("secret", "environment", "fingerprint", "replaced")
    is_completed = (record.event, logged.event) == (Event.ROTATION_INCOMPLETE, Event.ROTATED)
    is_equal = all(getattr(record, name) == getattr(logged, name) for name in names)
    return (is_completed or record.event is logged.event) and is_equal and logged.recorded_at >= record.recorded_at


def later(keys: StoredKeys, logged: Sequence[Record]) -> Record | None:
    """Return the last record of a rotation that is later than the manager's last step, if there is one."""
    if keys.step is None:
        return None
    last = keys.step.last
    own = [record for record in logged if (record.secret, record.environment) == (last.secret, last.environment)]
    known = [index for index, record in enumerate(own) if _is_same(last, record)]
    after = [record for record in own[known[-1] + 1 :] if record.event in _SLOTS] if known else []
    return after[-1] if after else None


def is_state_after(record: Record, keys: StoredKeys) -> bool:
    """Check whether the keys of a manager are those after a recorded step."""
    key = record.fingerprint
    has_key = key is not None and getattr(keys.slots, _SLOTS[record.event]) == key
    return not has_key if record.event is Event.RETIRED else has_key


def drift(
    policy: SecretPolicy, keys: StoredKeys, logged: Sequence[Record], manager: str, options: Sequence[str] = ()
) -> Iterator[Problem]:
    """Yield how the keys of a manager differ from what is recorded."""
    next_variable, previous, _ = policy.slot_variables
    done, restore = keys.step, f"compare the versions of {manager}, and restore the right one"
    meant = "if this was meant, run rotate record"
    if done is None:
        known = [record.fingerprint for record in rotations(logged, policy.name)]
        if known and keys.slots.current not in known:
            what = f"{policy.variable} is not a recorded key; the last one is {known[-1]}"
            yield Problem(what, f"{restore}; {meant}", manager)
        return
    where = ("--to", manager, "--environment", done.last.environment or "ENVIRONMENT")
    who = (*where, "--operator", "YOUR-NAME", *options)
    if unrecorded(done, logged):
        what = f"{manager} has a step that the operations log does not have: {step_in_words(done)}"
        words = ("rotate", "run" if done.step == "replace" else done.step, policy.name)
        yield Problem(what, f"run {command(*words, *who)}: it records the step", manager)
        return
    newest, is_recorded = later(keys, logged) or done.last, _is_recorded(keys, done.last, logged)
    is_newest = is_state_after(newest, keys)
    if is_newest and is_recorded:
        return
    slots = {"next": next_variable, "previous": previous} if is_recorded else {}
    variable = slots.get(_SLOTS[done.last.event], policy.variable)
    what, fix = f"{variable} was changed after the last step ({step_in_words(done)})", f"{restore}; {meant}"
    if newest is not done.last and not is_newest:
        what = f"{manager} is at an older step ({step_in_words(done)}) than the log ({record_in_words(newest)})"
    elif variable != policy.variable:
        fix = f"run {command('rotate', done.step, policy.name, *who, '--now')}"
    yield Problem(what, fix, manager)


def _is_recorded(keys: StoredKeys, last: Record, logged: Sequence[Record]) -> bool:
    """Check whether the current key is the last recorded one of its environment, if there is any."""
    known = rotations(logged, last.secret, last.environment)
    return not known or known[-1].fingerprint == keys.slots.current


def find_drift(
    deliveries: Sequence[Delivery],
    policies: Iterable[SecretPolicy],
    logged: Sequence[Record],
    options: Sequence[str] = (),
) -> Iterator[Finding]:
    """Yield a finding for each secret of a manager whose keys differ from what is recorded.

    Args:
        deliveries: what the managers have delivered.
        policies: the declared secrets.
        logged: the records of the operations log.
        options: the options of the commands in the remedies.
    """
    for policy in policies:
        if delivery := first_with(deliveries, policy):
            keys = contain(partial(_delivered_keys, policy, delivery))
            for problem in drift(policy, keys, logged, delivery.name, options):
                yield finding((), Check.DRIFT, problem, policy)


def _delivered_keys(policy: SecretPolicy, delivery: Delivery) -> StoredKeys:
    return stored_keys(policy, {name: value.get_secret_value() for name, value in delivery.values.items()})


def step_in_words(step: LastStep) -> str:
    """Return a step in words."""
    return f"{_DONE[step.step]} at {iso_utc(step.last.recorded_at)}"


def record_in_words(record: Record) -> str:
    """Return a recorded step in words."""
    return f"{record.event} at {iso_utc(record.recorded_at)}"


def _field_text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _with_entry(fields: Fields, key: str | None, end: str) -> dict[str, str | None]:
    """Return the revocation list with an entry for a key; nothing where it has no fingerprint."""
    if key is None:
        return {}
    return {REVOKED_FINGERPRINTS: ",".join(dict.fromkeys([*_entries(fields), f"{key}{end}"]))}


def _entries(fields: Fields) -> list[str]:
    return [*filter(None, re.split(r"[\s,]+", _field_text(fields, REVOKED_FINGERPRINTS)))]
