"""The steps of a rotation in a secret manager: what each one changes, and when it is allowed (policy sections 3, 4)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from robodj_secretguard.common.generator import generate
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet.verdict import HAS_NEXT, MOVED, UNPROVEN, judge_of, unready_instances
from robodj_secretguard.lifecycle.records import Event, LastStep, Proof, draft, dump_last_steps, parse_last_steps
from robodj_secretguard.lifecycle.rotation import draft_rotation, rotations
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import fingerprint, is_sound
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import command, listed
from robodj_secretguard.startup.readings import revocation_list
from robodj_secretguard.startup.rules import Problem, Severity
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc, parse_marker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from robodj_secretguard.fleet.verdict import Fleet
    from robodj_secretguard.lifecycle.records import Record, StepName
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.report import SecretStatus

Fields: TypeAlias = "Mapping[str, Any]"
"""The fields of a secret in a manager. A function that takes them runs inside `contain()`."""

MIN_AGE: Final = timedelta(hours=1)
"""How long a next key is in the manager before it is promoted: every instance must have it."""
UNFINISHED_AGE: Final = timedelta(minutes=5)
"""How long the version of an interrupted write is used again. No instance has its keys."""
_MOST_NAMED: Final = 10
_UNSOUND: Final = "an invalid key"
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


class Keys(Frozen):
    """The keys of a secret in a manager, by their fingerprints. No field has a key.

    Attributes:
        current: the fingerprint of the current key; `an invalid key` where it has none, and empty for no key.
        next: the same for the next key, unless it is also the current one.
        previous: the same for the previous key.
        until: the deadline of the previous key, if there is a valid one.
        expires_at: the instant of the expiry marker, if there is a valid one.
        ends: from when on the current key is revoked, if it is.
        step: the last step; `None` where its record is missing or invalid.
        staged_at: since when the manager has the next key, if that is known.
    """

    current: str
    next: str
    previous: str
    until: datetime | None
    expires_at: datetime | None
    ends: datetime | None
    step: LastStep | None
    staged_at: datetime | None


def keys_of(policy: SecretPolicy, fields: Fields, written_at: datetime | None = None) -> Keys:
    """Return the keys of a secret, and its last step. `written_at` is when the manager made this version."""
    coming, previous, until = policy.slot_variables

    def shown(name: str) -> str:
        value = _text(fields, name)
        return "" if not value else fingerprint(SealedStr(value)) if is_sound(value, policy.material) else _UNSOUND

    current, following = shown(policy.variable), shown(coming)
    is_leftover = following == current and (following != _UNSOUND or _text(fields, coming) == fields[policy.variable])
    steps = last_steps(fields)
    step = steps.get(policy.name)
    # The server's time is better. It is that of this version, which another secret's step may have made.
    is_older = any(step and step.last.recorded_at < each.last.recorded_at for each in steps.values())
    is_staged = step is not None and step.step == "stage" and step.last.fingerprint == following
    return Keys(
        current,
        "" if is_leftover else following,
        shown(previous),
        parse_marker(SealedStr(_text(fields, until))),
        parse_marker(SealedStr(_text(fields, policy.expiry_variable))),
        revocation_list([], [("", SealedStr(_text(fields, REVOKED_FINGERPRINTS)))]).begin(current),
        step,
        step.last.recorded_at if step and is_staged and (is_older or not written_at) else written_at,
    )


def last_steps(fields: Fields) -> dict[str, LastStep]:
    """Return the last step of each secret."""
    return parse_last_steps(_text(fields, ROTATION_RECORD))


def is_done(step: StepName, keys: Keys, now: datetime) -> bool:
    """Check whether the manager already has the result of a step."""
    if step == "stage":
        return keys.next not in {"", _UNSOUND}
    if step == "retire":
        return not keys.previous
    done = keys.step
    if done is None or done.step != step or done.last.fingerprint != keys.current or (step == "promote" and keys.next):
        return False
    # After an hour, it is another emergency.
    return step != "replace" or abs(now - done.last.recorded_at) < MIN_AGE


def obstacles(
    step: StepName, policy: SecretPolicy, keys: Keys, now: datetime, *, is_now: bool, fleet: Fleet | None = None
) -> Iterator[Problem]:
    """Yield why a step is not allowed; with the severity `note`, not yet. `is_now`: the operator wants it at once.

    `fleet` is the evidence of the instances. Where it proves that all of them have the next key, no hour is needed.
    """
    name, until = policy.name, keys.until if keys.until and now < keys.until else None
    if not keys.current and step != "retire":
        yield Problem(f"there is no current key of {name}", "correct --to, or store the first key (generate)")
    if step == "promote":
        yield from _obstacles_of_next(policy, keys, now, is_now=is_now or fleet is not None)
    if fleet and not is_now and (step, keys.next) != ("promote", ""):
        yield from _not_ready(step, policy.name, keys, fleet, now)
    if step == "back":
        if not (keys.previous and until):
            yield Problem(f"{name} has no previous key that still verifies", "stage a new key (rotate stage)")
        last = keys.step.last if keys.step and keys.step.step == "promote" else None
        if keys.step and (last is None or (last.fingerprint, last.replaced) != (keys.current, keys.previous)):
            what = f"the last step of {name} is not the promotion of its current key over its previous key"
            yield Problem(what, "compare the versions in the manager, and restore the right one")
        if keys.next and not is_now:
            what = f"{name} has a next key, whose place the current key needs"
            yield Problem(what, "to give up the next key, run this command again with --now")
    if step in {"promote", "retire"} and not is_now and keys.previous and (until or not keys.until):
        what = f"the previous key of {name} verifies until {iso_utc(until)}" if until else ""
        fix = f"run this command again after {iso_utc(until)}" if until else ""
        deadline = policy.slot_variables[2]
        yield Problem(
            what or f"the previous key of {name} has no valid deadline in {deadline}",
            fix or f"correct {deadline} in the manager, or add --now: what that key has signed is then refused",
            severity=Severity.NOTE if until else None,
        )


def _obstacles_of_next(policy: SecretPolicy, keys: Keys, now: datetime, *, is_now: bool) -> Iterator[Problem]:
    name = policy.name
    if not keys.next:
        yield Problem(f"{name} has no next key", "stage one first (rotate stage), and wait an hour")
    if keys.next == keys.previous:
        yield Problem(f"the next key of {name} is its previous key", "replace it: run rotate stage with --now")
    if not is_now and (keys.staged_at is None or now - keys.staged_at < MIN_AGE):
        since = keys.staged_at or now
        what = f"the next key of {name} has its place since {iso_utc(since)}; every instance needs it first"
        yield Problem(what, f"run this command again after {iso_utc(since + MIN_AGE)}", severity=Severity.NOTE)


def _not_ready(step: StepName, name: str, keys: Keys, fleet: Fleet, now: datetime) -> Iterator[Problem]:
    """Yield that the evidence of the instances does not agree: who lacks the next key, or signs with another one."""
    condition = {"promote": HAS_NEXT, "retire": MOVED}[step]
    judge = judge_of(condition, Slots(_known(keys.current), _known(keys.next)), None, now)
    again = "then run fleet status and this command again"
    if not any(name in each.secrets for each in fleet.instances):
        yield Problem(f"the file of --fleet has no instance that uses {name}", "correct its --roster and --secret")
    elif failing := [*unready_instances(fleet, {name: judge}, now)]:
        names = listed([f"{who} ({why})" for who, _, why in failing], _MOST_NAMED)
        fix = f"restart the instances that still have old keys, and wait until these do not count; {again}"
        if all(why.startswith(UNPROVEN) for _, _, why in failing):
            fix = f"let these instances report, or correct the roster; {again}"
        yield Problem(f"not every instance is ready to {step}: {names}", fix)


def due(policy: SecretPolicy, keys: Keys, rotated_at: datetime | None, now: datetime) -> StepName | None:
    """Return the step of a rotation that is due. `rotated_at` is when the current key was recorded, if it was."""
    if not keys.current:
        return None
    if keys.next:
        return None if keys.step and keys.step.step == "back" else "promote"
    if keys.previous and keys.until and keys.until <= now:
        return "retire"
    ends = keys.expires_at or (rotated_at and rotated_at + policy.cadence)
    is_due = policy.overlap and (ends is None or ends - policy.warn_before <= now)
    return "stage" if is_due else None


def changes(step: StepName, policy: SecretPolicy, fields: Fields, keys: Keys, now: datetime) -> dict[str, str | None]:
    """Return the new text of each field that a step changes; `None` for one that it removes."""
    variable, marker, (coming, previous, until) = policy.variable, policy.expiry_variable, policy.slot_variables
    ends, expires = now + policy.overlap, iso_utc(now + policy.cadence)
    if step == "stage":
        return {coming: generate(policy).get_secret_value()}
    if step == "retire":
        return {previous: None, until: None}
    if step == "back":
        before = keys.step.replaced_expires_at if keys.step else None
        soonest = min(filter(None, (keys.until, before)))  # its time as a key does not get longer
        moved = {variable: _text(fields, previous), coming: _text(fields, variable), previous: None, until: None}
        return {**moved, marker: iso_utc(soonest)}
    if step == "promote":
        moved = {variable: _text(fields, coming), coming: None, marker: expires}
        if not _known(keys.current) or (keys.ends and keys.ends <= now):  # no service would accept it
            return {**moved, previous: None, until: None}
        if keys.ends:  # promoted again after `back`: the deadline does not move
            ends = min(ends, keys.ends)
        revoked = _with_entry(fields, f"{keys.current}@{iso_utc(ends)}", keys)
        return {**moved, previous: _text(fields, variable), until: iso_utc(ends), **revoked}
    others = dict.fromkeys(each for each in policy.variables if fields.get(each))
    return {
        **others,
        variable: generate(policy).get_secret_value(),
        marker: expires,
        **_with_entry(fields, keys.current, keys),
    }


def last_step(step: StepName, before: Keys, after: SecretStatus, now: datetime, **who: Any) -> LastStep:
    """Return a step with its records, which the new version and the operations log get."""
    rotated = draft_rotation(after, Proof.NOT_DONE, Proof.NOT_DONE, **who)
    of_secret: dict[str, Any] = {"secret": after.secret, "owner": after.owner, **who}
    records = [rotated]
    if step == "stage":
        records = [draft(Event.STAGED, fingerprint=after.next_fingerprint, **of_secret)]
    elif step == "retire":
        records = [draft(Event.RETIRED, fingerprint=_known(before.previous), **of_secret)]
    elif step == "back":
        records = [replace(rotated, event=Event.ROLLED_BACK)]
    elif step == "replace" and _known(before.current):
        records = [draft(Event.REVOKED, fingerprint=before.current, **of_secret), rotated]
    marker = before.expires_at if step == "promote" else None
    return LastStep(step, [replace(each, recorded_at=now) for each in records], marker)


def with_step(fields: Fields, secret: str, step: LastStep) -> dict[str, Any]:
    """Return the fields of the new version, with its last step."""
    return {**fields, ROTATION_RECORD: dump_last_steps({**last_steps(fields), secret: step})}


def changed(fields: Fields, new: Mapping[str, str | None]) -> dict[str, Any]:
    """Return fields with changes. All others stay as they are."""
    return {name: value for name, value in {**fields, **new}.items() if value is not None or name not in new}


def continues(step: StepName, policy: SecretPolicy, unfinished: Fields, fields: Fields, now: datetime) -> bool:
    """Check whether an unfinished version is that of the same step from this version, and recent."""
    keys, made = keys_of(policy, fields), keys_of(policy, unfinished)
    expected = {
        "stage": (keys.current, made.next, keys.previous),
        "promote": (keys.next, "", keys.current),
        "retire": (keys.current, keys.next, ""),
        "back": (keys.previous, keys.current, ""),
        "replace": (made.current, "", ""),
    }[step]
    coming, previous, until = policy.slot_variables
    of_step = {"stage": {coming}, "retire": {previous, until}}
    own = {*of_step.get(step, (*policy.variables, REVOKED_FINGERPRINTS)), ROTATION_RECORD}
    others = [{name: value for name, value in each.items() if name not in own} for each in (fields, unfinished)]
    steps = [{**last_steps(each), policy.name: None} for each in (fields, unfinished)]
    return (
        made.step is not None
        and made.step.step == step
        and now - made.step.last.recorded_at < UNFINISHED_AGE
        and made.step != keys.step
        and (made.current, made.next, made.previous) == expected
        and (step != "replace" or made.step.records[0].fingerprint == keys.current)
        and {*_entries(fields)} <= {*_entries(unfinished)}
        and others[0] == others[1]
        and steps[0] == steps[1]
    )


def unrecorded(step: LastStep | None, logged: Sequence[Record]) -> list[Record]:
    """Return the records of a manager that the operations log does not have."""
    return [each for each in (step.records if step else ()) if not any(_is_same(each, other) for other in logged)]


def _is_same(record: Record, logged: Record) -> bool:
    """Check whether the log has the record of a step. It was written after the step, and may be completed by now."""
    fields = ("secret", "environment", "fingerprint", "replaced")
    is_completed = (record.event, logged.event) == (Event.ROTATION_INCOMPLETE, Event.ROTATED)
    has_fields = all(getattr(record, each) == getattr(logged, each) for each in fields)
    return (is_completed or record.event is logged.event) and has_fields and logged.recorded_at >= record.recorded_at


def later(keys: Keys, logged: Sequence[Record]) -> Record | None:
    """Return the last record of a rotation that is later than the manager's last step, if there is one."""
    if keys.step is None:
        return None
    last = keys.step.last
    own = [each for each in logged if (each.secret, each.environment) == (last.secret, last.environment)]
    known = [index for index, each in enumerate(own) if _is_same(last, each)]
    after = [each for each in own[known[-1] + 1 :] if each.event in _SLOTS] if known else []
    return after[-1] if after else None


def is_at(keys: Keys, record: Record) -> bool:
    """Check whether the keys of a manager are those after a recorded step."""
    is_there: bool = getattr(keys, _SLOTS[record.event]) == record.fingerprint
    return is_there if record.event is not Event.RETIRED else not is_there


def drift(
    policy: SecretPolicy, keys: Keys, logged: Sequence[Record], manager: str, options: Sequence[str] = ()
) -> Iterator[Problem]:
    """Yield how the keys of a manager differ from what is recorded."""
    coming, previous, _ = policy.slot_variables
    done, restore = keys.step, f"compare the versions of {manager}, and restore the right one"
    meant = "if this was meant, run rotate record"
    if done is None:
        known = [each.fingerprint for each in rotations(logged, policy.name)]
        if known and keys.current not in known:
            what = f"{policy.variable} is not a recorded key; the last one is {known[-1]}"
            yield Problem(what, f"{restore}; {meant}", manager)
        return
    where = ("--to", manager, "--environment", done.last.environment or "ENVIRONMENT")
    who = (*where, "--operator", "YOUR-NAME", *options)
    if unrecorded(done, logged):
        what = f"{manager} has a step that the operations log does not have: {described(done)}"
        words = ("rotate", "run" if done.step == "replace" else done.step, policy.name)
        yield Problem(what, f"run {command(*words, *who)}: it records the step", manager)
        return
    newest, is_recorded = later(keys, logged) or done.last, _is_recorded(keys, done.last, logged)
    if not is_at(keys, newest) or not is_recorded:
        slots = {"next": coming, "previous": previous} if is_recorded else {}
        variable = slots.get(_SLOTS[done.last.event], policy.variable)
        what, fix = f"{variable} was changed after the last step ({described(done)})", f"{restore}; {meant}"
        if newest is not done.last and not is_at(keys, newest):
            what = f"{manager} is at an older step ({described(done)}) than the log ({described_record(newest)})"
        elif variable != policy.variable:
            fix = f"run {command('rotate', done.step, policy.name, *who, '--now')}"
        yield Problem(what, fix, manager)


def _is_recorded(keys: Keys, last: Record, logged: Sequence[Record]) -> bool:
    """Check whether the current key is the last recorded one of its environment, if there is any."""
    known = rotations(logged, last.secret, last.environment)
    return not known or known[-1].fingerprint == keys.current


def described(step: LastStep) -> str:
    """Return a step in words."""
    return f"{_DONE[step.step]} at {iso_utc(step.last.recorded_at)}"


def described_record(record: Record) -> str:
    """Return a recorded step in words."""
    return f"{record.event} at {iso_utc(record.recorded_at)}"


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _with_entry(fields: Fields, entry: str, keys: Keys) -> dict[str, str | None]:
    """Return the revocation list with an entry for the current key; nothing where it has no fingerprint."""
    if not _known(keys.current):
        return {}
    return {REVOKED_FINGERPRINTS: ",".join(dict.fromkeys([*_entries(fields), entry]))}


def _entries(fields: Fields) -> list[str]:
    return [*filter(None, re.split(r"[\s,]+", _text(fields, REVOKED_FINGERPRINTS)))]


def _known(key: str) -> str | None:
    """Return a fingerprint; `None` for an invalid key, and for no key."""
    return None if key in {"", _UNSOUND} else key
