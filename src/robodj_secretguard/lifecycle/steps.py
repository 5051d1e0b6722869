"""The steps of a rotation (policy sections 3 and 4): what a store has, which step is due, and what each step changes.

Every function here is pure. `rotator.py` takes the steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from robodj_secretguard.common.generator import generate
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet.verdict import Verdict
from robodj_secretguard.lifecycle.records import (
    ROTATIONS,
    LastStep,
    Record,
    Records,
    StepName,
    Who,
    draft,
    draft_rotation,
    dump_last_steps,
    parse_last_steps,
    revoked,
    rotations_to,
    slots_of,
)
from robodj_secretguard.managers.manager import Fields
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.key import LEGACY
from robodj_secretguard.secret.material import PREFIX, fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import Options, command, listed
from robodj_secretguard.startup.inputs import (
    ENVIRONMENT,
    REVOKED_FINGERPRINTS,
    ROTATION_RECORD,
    iso_utc,
    parse_marker,
)
from robodj_secretguard.startup.readings import ALWAYS, RevocationStatus, Slot, revocation_list
from robodj_secretguard.startup.report import Report, SecretStatus
from robodj_secretguard.startup.rules import Problem, Problems, Severity, State

Changes: TypeAlias = "dict[str, str | None]"
"""The new text of each field that a step changes; `None` for one that it removes."""

MIN_AGE: Final = timedelta(hours=1)
"""How long a next key is in the store before it is promoted: every instance must have it."""
_FLEET_AGE: Final = timedelta(minutes=15)
"""How old a verdict on the instances may be. Its clock may be ahead by a third of that."""
_SLOTS: Final = {"staged": "next", "retired": "previous", **dict.fromkeys(ROTATIONS, "current")}
"""By event: which key the record names."""
_DONE: Final[dict[StepName, str]] = {
    "stage": "staged",
    "promote": "promoted",
    "retire": "retired",
    "back": "rolled back",
    "replace": "replaced",
    "put": "put",
    "restore": "restored",
}


class StoredKeys(Frozen):
    """The keys of a secret in a version of a store. No field has a key.

    Attributes:
        slots: the fingerprint of each valid key. A next key that is also the current one is none.
        filled: the slots that have a key, valid or not.
        expires_at: the instant of the expiry marker, if there is a valid one.
        revoked_from: from when on the current and the previous key are revoked, by the slots of those that are.
        step: the last step; `None` where its record is missing or invalid.
        staged_at: since when the store has the next key, if that is known.
        environment: the environment that the store names, or that its last steps were for; empty where it is not known.
        is_undone: whether the last step was `back`: nobody promotes the next key again without a decision.
    """

    slots: Slots
    filled: frozenset[str]
    expires_at: datetime | None
    revoked_from: Mapping[str, datetime]
    step: LastStep | None
    staged_at: datetime | None
    environment: str = ""
    is_undone: bool = False


def stored_keys(policy: SecretPolicy, fields: Fields, written_at: datetime | None = None) -> StoredKeys:
    """Return the keys of a secret, and its last step. `written_at` is when the store made this version."""
    texts = texts_by_slot(policy, fields)
    material = policy.material
    valid = {slot: text for slot, text in texts.items() if material.has_fingerprint and material.accepts(text)}
    keys = {slot: fingerprint(SealedStr(text)) for slot, text in valid.items()}
    current = keys.get("current")
    if texts.get("next") == texts.get("current") or (current and keys.get("next") == current):
        texts.pop("next", None)
        keys.pop("next", None)
    steps = last_steps(fields)
    step = steps.get(policy.name)
    environments = [each.last.environment for each in (step, *steps.values()) if each]
    slots = Slots(**keys, previous_until=parse_marker(SealedStr(field_text(fields, policy.slot_variables[2]))))
    in_store = revocation_list([], [("", SealedStr(field_text(fields, REVOKED_FINGERPRINTS)))])
    return StoredKeys(
        slots=slots,
        filled=frozenset(texts),
        expires_at=parse_marker(SealedStr(field_text(fields, policy.expiry_variable))),
        revoked_from=revocations(slots, in_store),
        step=step,
        staged_at=_staged_at(step, steps.values(), keys.get("next"), written_at),
        environment=field_text(fields, ENVIRONMENT) or next(filter(None, environments), ""),
        is_undone=step is not None and step.step == "back",
    )


def reported_keys(status: SecretStatus, report: Report, records: Records) -> StoredKeys:
    """Return the keys of a secret in a report. `records` are those of this secret in the operations log."""
    slots = slots_of(status)
    filled = {slot for slot in ("current", "next", "previous") if getattr(slots, slot)}
    if status.state != State.MISSING:
        filled.add("current")
    if slots.previous_until:
        filled.add("previous")
    lists = (report.revocation_list, recorded_revocations(records))
    last = [each.event for each in records if each.event in _SLOTS][-1:]
    return StoredKeys(
        slots=slots,
        filled=frozenset(filled),
        expires_at=status.expires_at,
        revoked_from=revocations(slots, *lists),
        step=None,
        staged_at=None,
        is_undone=last == ["rolled-back"],
    )


def texts_by_slot(policy: SecretPolicy, fields: Fields) -> dict[Slot, str]:
    """Return the text of each slot that has one."""
    texts = {slot: field_text(fields, variable) for slot, variable in variables_of_slots(policy).items()}
    return {slot: text for slot, text in texts.items() if text}


def variables_of_slots(policy: SecretPolicy) -> dict[Slot, str]:
    """Return the variable of each slot."""
    following, previous, _ = policy.slot_variables
    return {"current": policy.variable, "next": following, "previous": previous}


def _staged_at(
    step: LastStep | None, steps: Iterable[LastStep], next_key: str | None, written_at: datetime | None
) -> datetime | None:
    """Return since when a store has its next key."""
    if step is None:
        return written_at
    if step.step != "stage" or step.last.fingerprint != next_key:
        return written_at or step.last.recorded_at
    # The store's time is better. It is that of this version, which another secret's step may have made.
    is_older = any(step.last.recorded_at < other.last.recorded_at for other in steps)
    return step.last.recorded_at if is_older or written_at is None else written_at


def revocations(slots: Slots, *lists: RevocationStatus | None) -> dict[str, datetime]:
    """Return from when on the current and the previous key are revoked, by the slots of those that are."""
    found = {}
    for slot, key in (("current", slots.current), ("previous", slots.previous)):
        begins = [*filter(None, [each.begin(key) for each in lists if each and key])]
        if begins:
            found[slot] = min(begins)
    return found


def recorded_revocations(records: Records) -> RevocationStatus:
    """Return the recorded revocations as a list that has them from the beginning."""
    return RevocationStatus((), tuple((key, ALWAYS) for key in revoked(records) if key))


def environment_in(keys: StoredKeys, secret: str, records: Records) -> str:
    """Return the environment of the keys of a store: the one that it names, or that of the current key's record."""
    of_current = rotations_to(keys.slots.current, secret, records)
    recorded = of_current[-1].environment if of_current else None
    return keys.environment or recorded or ""


def is_over(keys: StoredKeys, now: datetime) -> bool:
    """Check whether the previous key verifies nothing any more: its deadline has passed, or it is revoked."""
    return any(end and end <= now for end in (keys.slots.previous_until, keys.revoked_from.get("previous")))


def last_steps(fields: Fields) -> dict[str, LastStep]:
    """Return the last step of each secret."""
    return parse_last_steps(field_text(fields, ROTATION_RECORD))


def is_done(step: StepName, keys: StoredKeys, now: datetime) -> bool:
    """Check whether the store already has the result of a step."""
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


def due(policy: SecretPolicy, keys: StoredKeys, rotated_at: datetime | None, now: datetime) -> StepName | None:
    """Return the step of a rotation that is due. `rotated_at` is when the current key was recorded, if it was."""
    if "current" not in keys.filled or policy.is_issued:
        return None
    if "previous" in keys.filled:
        return "retire" if is_over(keys, now) else None
    if "next" in keys.filled:
        return None if keys.is_undone else "promote"
    if not policy.overlap:
        return None
    ends = keys.expires_at
    if ends is None and rotated_at is not None:
        ends = rotated_at + policy.cadence
    return "stage" if ends is None or ends - policy.warn_before <= now else None


def obstacles(
    step: StepName,
    policy: SecretPolicy,
    keys: StoredKeys,
    now: datetime,
    *,
    is_now: bool,
    fleet: Sequence[Verdict] | None = None,
    data_done: str = "",
    options: Options = (),
) -> Problems:
    """Yield why a step is not allowed; with the severity `note`, not yet. `is_now`: the operator wants it at once.

    `fleet` has the verdicts on the instances. Where all of them have the next key, no hour is needed. `data_done` is
    the id of the key that no stored data needs any more. `options` are those of a step, for the commands in remedies.
    """
    stage = f"run {command('rotate', 'stage', policy.name, *options)}"
    if step != "retire" and "current" not in keys.filled:
        put = command("rotate", "put", policy.name, *options)
        yield Problem(f"there is no current key of {policy.name}", f"correct --to; for a new service, run {put}")
    if step == "promote":
        yield from _obstacles_of_next(policy.name, keys, now, stage, is_now=is_now or fleet is not None)
    if step == "stage" and is_now and keys.is_undone:  # it was the current key before `back`
        yield from _data_of(policy, "next", keys.slots.next, data_done)
    if step == "back":
        yield from _obstacles_of_back(policy.name, keys, now, stage, is_now=is_now)
    if step not in {"promote", "retire"}:
        return
    if not is_now:
        yield from _obstacles_in_time(step, policy, keys, now, fleet)
    yield from data_of_previous(policy, keys, data_done)


def _obstacles_in_time(
    step: StepName, policy: SecretPolicy, keys: StoredKeys, now: datetime, fleet: Sequence[Verdict] | None
) -> Problems:
    """Yield what a promotion or a removal waits for."""
    if fleet is not None and (step == "retire" or "next" in keys.filled):
        yield from _unproven_instances(step, policy.name, keys, fleet, now)
    if "previous" in keys.filled and not is_over(keys, now):
        yield from _obstacles_of_previous(policy, keys.slots.previous_until)


def _obstacles_of_next(name: str, keys: StoredKeys, now: datetime, stage: str, *, is_now: bool) -> Problems:
    if "next" not in keys.filled:
        yield Problem(f"{name} has no next key", f"{stage}, and run this command again an hour later")
    if keys.slots.next is not None and keys.slots.next == keys.slots.previous:
        yield Problem(f"the next key of {name} is its previous key", f"{stage} --now")
    since = keys.staged_at
    if is_now or "next" not in keys.filled:
        return
    if since is None:
        yield Problem(
            f"it is unknown since when the next key of {name} is there; every instance needs it first",
            "when every instance has it, run this command again with --now",
        )
    elif now - since < MIN_AGE:
        yield Problem(
            f"the next key of {name} has its place since {iso_utc(since)}; every instance needs it first",
            f"run this command again after {iso_utc(since + MIN_AGE)}",
            severity=Severity.NOTE,
        )


def _obstacles_of_back(name: str, keys: StoredKeys, now: datetime, stage: str, *, is_now: bool) -> Problems:
    renew = f"if the current key must go, {stage}"
    if "previous" not in keys.filled or keys.slots.previous_until is None or is_over(keys, now):
        yield Problem(f"{name} has no previous key that still verifies", renew)
    if keys.step is not None and not _is_last_promotion(keys):
        yield Problem(f"the last step of {name} is not the promotion of its current key over its previous key", renew)
    if "next" in keys.filled and not is_now:
        yield Problem(
            f"{name} has a next key, whose place the current key needs",
            "to give up the next key, run this command again with --now",
        )


def _is_last_promotion(keys: StoredKeys) -> bool:
    """Check whether the last step has put the current key in the place of the previous one."""
    if keys.step is None or keys.step.step != "promote" or not keys.slots.previous:
        return False
    last = keys.step.last
    return (last.fingerprint, last.replaced) == (keys.slots.current, keys.slots.previous)


def _obstacles_of_previous(policy: SecretPolicy, until: datetime | None) -> Problems:
    subject = f"the previous key of {policy.name}"
    variable = policy.slot_variables[2]
    if until is None:
        yield Problem(
            f"{subject} has no valid deadline in {variable}",
            f"correct {variable} in the manager, or add --now: what that key has signed is then refused",
        )
    else:
        yield Problem(
            f"{subject} {'is tried' if policy.is_issued else 'verifies'} until {iso_utc(until)}",
            f"run this command again after {iso_utc(until)}",
            severity=Severity.NOTE,
        )


def data_of_previous(policy: SecretPolicy, keys: StoredKeys, data_done: str) -> Problems:
    """Yield that stored data may need the previous key, which a step would remove."""
    if "previous" in keys.filled:
        yield from _data_of(policy, "previous", keys.slots.previous, data_done)


def _data_of(policy: SecretPolicy, slot: str, key: str | None, data_done: str) -> Problems:
    """Yield that stored data may need a key, which a step would remove."""
    if not policy.stores_data:
        return
    kid = kid_of(key)
    if not data_done:
        yield Problem(
            f"stored data may need the {slot} key of {policy.name} (key id {kid})",
            f"re-encrypt that data (docs/recipes.md), then run this command again with --data-done {kid}",
            severity=Severity.NOTE,
        )
    elif data_done.removeprefix(PREFIX) != kid:
        yield Problem(
            f"--data-done is not the key id of the {slot} key of {policy.name}",
            f"if no stored data needs that key, pass --data-done {kid}",
        )


def kid_of(key: str | None) -> str:
    """Return the key id of a fingerprint; `none` for a key from before the adoption, which has no fingerprint."""
    return key.removeprefix(PREFIX) if key else "none"


def _unproven_instances(
    step: StepName, name: str, keys: StoredKeys, fleet: Sequence[Verdict], now: datetime
) -> Problems:
    """Yield that no recent verdict is about this key, or that an instance is not ready."""
    condition, slot = ("has-next", "next") if step == "promote" else ("moved", "current")
    about = condition, name, getattr(keys.slots, slot)
    found = [each for each in fleet if (each.condition, each.secret, each.fingerprint) == about]
    failing = [f"{who} ({why})" for each in found for who, why in each.not_ready.items()]
    again = f"run fleet --require {condition} with --from for this manager, and then this command again"
    old = [each.checked_at for each in found if not -_FLEET_AGE / 3 <= now - each.checked_at <= _FLEET_AGE]
    if not found:
        yield Problem(f"the file of --fleet has no verdict on {condition} for the {slot} key of {name}", again)
    elif old:
        yield Problem(f"the file of --fleet is from {iso_utc(old[0])}, not from the last 15 minutes", again)
    elif failing or not all(each.holds for each in found):
        yield Problem(
            f"not every instance is ready to {step}: {listed(failing, most=10)}",
            f"restart the instances that have old keys, let unknown ones report, or correct the roster; {again}",
        )


def changes_of(step: StepName, policy: SecretPolicy, fields: Fields, keys: StoredKeys, now: datetime) -> Changes:
    """Return what a step changes. `put` and `restore` have values of their own: see `replacements.py`."""
    if step == "stage":
        return {policy.slot_variables[0]: generate(policy).get_secret_value()}
    if step == "retire":
        return _without_previous(policy)
    if step == "back":
        return _exchanged(policy, fields, keys)
    if step == "replace":
        return _replaced(policy, fields, now)
    following = policy.slot_variables[0]
    return {**current_changes(policy, fields, keys, field_text(fields, following), now), following: None}


def _without_previous(policy: SecretPolicy) -> Changes:
    _, previous, until = policy.slot_variables
    return {previous: None, until: None}


def _exchanged(policy: SecretPolicy, fields: Fields, keys: StoredKeys) -> Changes:
    """Return the changes of `back`: the previous key is current again, and the current key is the next one."""
    next_variable, previous, _ = policy.slot_variables
    marker_before = keys.step.replaced_expires_at if keys.step else None
    # Its revocation begins at its deadline, so its time as a key does not get longer.
    ends = [end for end in (keys.slots.previous_until, marker_before) if end]
    return {
        policy.variable: field_text(fields, previous),
        next_variable: field_text(fields, policy.variable),
        policy.expiry_variable: iso_utc(min(ends)),
        **_without_previous(policy),
    }


def _replaced(policy: SecretPolicy, fields: Fields, now: datetime) -> Changes:
    """Return the changes of an emergency: a new current key is the only one."""
    removed: Changes = dict.fromkeys(name for name in policy.variables if fields.get(name))
    new = generate(policy).get_secret_value()
    return {**removed, policy.variable: new, policy.expiry_variable: marker_of(policy, now)}


def marker_of(policy: SecretPolicy, now: datetime) -> str | None:
    """Return the expiry marker of a new current key; `None` where its policy wants none."""
    return iso_utc(now + policy.cadence) if policy.expires else None


def current_changes(policy: SecretPolicy, fields: Fields, keys: StoredKeys, new: str, now: datetime) -> Changes:
    """Return the changes that make a text the current value. In an overlap, the old one stays as the previous one.

    The old key verifies until its deadline, from which on it is revoked. So does a value without a fingerprint that may
    be from before the adoption, as no step has stored it. What no service accepts is not kept.
    """
    changes: Changes = {policy.variable: new, policy.expiry_variable: marker_of(policy, now)}
    if not policy.overlap:
        return changes
    changes |= _without_previous(policy)
    old = field_text(fields, policy.variable)
    revoked_from = keys.revoked_from.get("current")
    is_revoked = revoked_from is not None and revoked_from <= now
    is_good = policy.material.accepts(old) or (keys.step is None and LEGACY.accepts(old))
    if not old or is_revoked or not is_good:
        return changes
    ends = now + policy.overlap
    if revoked_from:  # promoted again after `back`, the deadline does not move
        ends = min(ends, revoked_from)
    _, previous, until = policy.slot_variables
    kept: Changes = {previous: old, until: iso_utc(ends)}
    return {**changes, **kept, **revoked_entry(fields, keys.slots.current, f"@{iso_utc(ends)}")}


def with_changes(fields: Fields, changes: Changes) -> dict[str, Any]:
    """Return the fields after a step. Those that it does not change stay as they are."""
    return {name: value for name, value in {**fields, **changes}.items() if value is not None or name not in changes}


def step_of(
    step: StepName,
    before: StoredKeys,
    after: SecretStatus,
    now: datetime,
    who: Who,
    *,
    leaked: str | None = None,
    restored: str | None = None,
    is_kept: bool = False,
) -> LastStep:
    """Return a step with its records, which the new version and the operations log get.

    `leaked` is the key that an emergency revokes in the same write, and `restored` the key that `restore` puts back.
    `is_kept`: the leaked key stays as a revoked previous one.
    """
    rotated = draft_rotation(after, "not-done", "not-done", who)
    of_secret: dict[str, Any] = {"secret": after.secret, "owner": after.owner or None, **who._asdict()}
    if step == "stage":
        records = [draft("staged", fingerprint=after.next_fingerprint, **of_secret)]
    elif step == "retire" and is_kept:
        records = []
    elif step == "retire":
        records = [draft("retired", fingerprint=before.slots.previous, **of_secret)]
    elif step == "back":
        records = [replace(rotated, event="rolled-back")]
    elif step == "restore":
        records = [draft("restored", fingerprint=restored, **of_secret)]
    else:
        records = [rotated]
    if leaked:
        records = [draft("revoked", fingerprint=leaked, **of_secret), *records]
    return LastStep(
        step,
        [replace(record, recorded_at=now) for record in records],
        before.expires_at if step == "promote" else None,
    )


def with_step(fields: Fields, secret: str, step: LastStep) -> dict[str, Any]:
    """Return the fields of the new version, with its last step."""
    return {**fields, ROTATION_RECORD: dump_last_steps({**last_steps(fields), secret: step})}


def unrecorded(step: LastStep | None, logged: Records) -> list[Record]:
    """Return the records of a store that the operations log does not have."""
    records = step.records if step else []
    return [record for record in records if not any(_is_same(record, other) for other in logged)]


def _is_same(record: Record, logged: Record) -> bool:
    """Check whether the log has the record of a step. It was written after the step, and may be completed by now."""
    is_completed = (record.event, logged.event) == ("rotation-incomplete", "rotated")
    is_equal = all(
        getattr(record, name) == getattr(logged, name) for name in ("secret", "environment", "fingerprint", "replaced")
    )
    return (is_completed or record.event == logged.event) and is_equal and logged.recorded_at >= record.recorded_at


def later(keys: StoredKeys, logged: Records) -> Record | None:
    """Return the last record of a rotation that is later than the store's last step, if there is one."""
    if keys.step is None:
        return None
    last = keys.step.last
    subject = (last.secret, last.environment)
    own = [each for each in logged if each.event in _SLOTS and (each.secret, each.environment) == subject]
    is_known = any(_is_same(last, each) for each in own)
    return own[-1] if is_known and not _is_same(last, own[-1]) else None


def is_state_after(record: Record, keys: StoredKeys) -> bool:
    """Check whether the keys of a store are those after a recorded step."""
    key = getattr(keys.slots, _SLOTS[record.event])
    has_key = key is not None and record.fingerprint == key
    return not has_key if record.event == "retired" else has_key


def step_in_words(step: LastStep) -> str:
    """Return a step in words."""
    return f"{_DONE[step.step]} at {iso_utc(step.last.recorded_at)}"


def field_text(fields: Fields, name: str) -> str:
    """Return the text of a field; empty where it has none."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def revoked_entry(fields: Fields, key: str | None, end: str = "") -> Changes:
    """Return the revocation list with an entry for a key; nothing where it has no fingerprint."""
    if key is None:
        return {}
    entries = [*filter(None, re.split(r"[\s,]+", field_text(fields, REVOKED_FINGERPRINTS))), f"{key}{end}"]
    return {REVOKED_FINGERPRINTS: ",".join(dict.fromkeys(entries))}
