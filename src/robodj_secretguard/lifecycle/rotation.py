"""A rotation: its stages, the rules for its record, and its validation (policy section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_args

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle.records import Proof, Record, Validation, draft
from robodj_secretguard.secret.texts import command, option
from robodj_secretguard.startup.report import SecretStatus
from robodj_secretguard.startup.rules import Problem
from robodj_secretguard.startup.variables import iso_utc

ROTATIONS: Final = ("rotated", "rotation-incomplete", "rolled-back")
Stage: TypeAlias = Literal["next", "promote", "retire"]
"""A stage of a rotation with an overlap: the next key is set, it becomes current, and the previous key is removed."""


def rotations(records: Iterable[Record], secret: str | None, environment: str | None = None) -> list[Record]:
    """Return the rotations of a secret, including incomplete ones, in one environment or in all."""
    return [
        record
        for record in records
        if record.event in ROTATIONS and record.secret == secret and environment in {None, record.environment}
    ]


def revoked(records: Iterable[Record]) -> list[str | None]:
    """Return the fingerprint of each key whose revocation is recorded, in order."""
    return [*dict.fromkeys(record.fingerprint for record in records if record.event == "revoked")]


def recorded_keys(records: Iterable[Record], secret: str | None) -> str:
    """Return the last record of each key of a secret, in words."""
    last = {record.fingerprint: record for record in rotations(records, secret)}.values()
    return (
        "; ".join(f"{record.fingerprint} {record.environment} {iso_utc(record.recorded_at)}" for record in last)
        or "none is recorded"
    )


def recorded_environments(fingerprint: str | None, secret: str | None, records: Iterable[Record]) -> list[str | None]:
    """Return the environment of each recorded rotation to a key, in order."""
    return [record.environment for record in rotations(records, secret) if record.fingerprint == fingerprint]


def slots_of(status: SecretStatus) -> Slots:
    """Return the keys of a secret that are set here."""
    return Slots(status.fingerprint, status.next_fingerprint, status.previous_fingerprint, status.previous_until)


def stage_of(slots: Slots) -> Stage:
    """Return the next stage of a rotation, by the keys of a secret. A copy of the current key does not count."""
    if slots.next not in {None, slots.current}:
        return "promote"
    return "next" if slots.previous in {None, slots.current} else "retire"


def stage_due(slots: Slots, now: datetime) -> Stage | None:
    """Return the stage that is due; `None` where no rotation has begun, and until the deadline of a previous key."""
    stage, is_overlap = stage_of(slots), slots.previous and slots.previous_until and now < slots.previous_until
    return None if stage == "next" or is_overlap else stage


def draft_rotation(status: SecretStatus, startup: Proof, functions: Proof, **who: Any) -> Record:
    """Return the draft of the rotation to a secret's current key, which has passed the gate."""
    replaced = None if status.previous_fingerprint == status.fingerprint else status.previous_fingerprint
    return draft(
        **_validated(startup, functions),
        secret=status.secret,
        owner=status.owner or None,
        fingerprint=status.fingerprint,
        expires_at=status.expires_at,
        replaced=replaced,
        replaced_until=status.previous_until if replaced else None,
        **who,
    )


def _validated(startup: Proof, functions: Proof) -> dict[str, Any]:
    """Return the fields of a record that say how a rotation was validated."""
    # The record is itself the last step.
    return {
        "event": "rotation-incomplete" if "not-done" in {startup, functions} else "rotated",
        "validation": Validation(gate="verified", startup=startup, functions=functions, log="verified"),
    }


def judge_drafts(
    drafts: Mapping[str, Record],
    records: Sequence[Record],
    *,
    are_named: bool,
    options: Sequence[str],
) -> tuple[list[Record], list[str], dict[str | None, Problem]]:
    """Return the rotations to record, the secrets with unchanged keys, and the problem of each refused secret.

    `drafts` has the rotations by secret. `records` are those of all environments, sorted by time. If the operator named
    no secret, unchanged keys are ignored as long as another key is new.
    """
    accepted: list[Record] = []
    unchanged: list[str] = []
    refused: dict[str | None, Problem] = {}
    for secret, new in drafts.items():
        here = rotations(records, secret, new.environment)
        current = here[-1] if here and here[-1].fingerprint == new.fingerprint is not None else None
        if why := conflict(new, records, is_current=current is not None):
            refused[secret] = _needs_new_key(new, why, options)
        elif current is None:
            accepted.append(new)
        elif current.event == "rotated":
            unchanged.append(secret)
        elif (completed := _completed(new, current)).validation != current.validation:
            accepted.append(completed)
        else:
            refused[secret] = Problem(
                f"this rotation was recorded as incomplete at {iso_utc(current.recorded_at)}, and no other step is"
                " confirmed",
                f"do the open steps, then run {completion(completed, options)}",
            )
    if unchanged and (are_named or len(unchanged) == len(drafts)):
        for secret in unchanged:
            refused[secret] = _needs_new_key(drafts[secret], "this key is already recorded", options)
    return accepted, unchanged, refused


def _needs_new_key(new: Record, why: str, options: Sequence[str]) -> Problem:
    """Return the problem of a key that is not new. The secret manager may have the same one."""
    plan = command("rotate", "plan", new.secret or "", "--environment", new.environment or "", *options)
    return Problem(why, f"deliver the newer key of {new.secret} from the secret manager; if there is none, run {plan}")


def conflict(new: Record, records: Iterable[Record], *, is_current: bool) -> str | None:
    """Return why the known records of a key forbid another one, if they do."""
    if new.fingerprint is None:  # a vendor's secret is always new
        return None
    of_this_key = [record for record in records if record.fingerprint == new.fingerprint]
    for record in sorted(of_this_key, key=lambda each: each.event != "revoked"):
        when = iso_utc(record.recorded_at)
        if record.event == "revoked":
            return f"this key was revoked at {when}"
        if record.environment != new.environment:
            return f"the environment {record.environment} has this key, and each environment needs its own"
        if record.secret != new.secret:
            return f"{record.secret} has this key, and each secret needs its own"
        if not is_current and record.event != "staged":
            return f"this is an old key, recorded at {when}"
    return None


def _completed(new: Record, earlier: Record) -> Record:
    """Return a rotation with the better proof of each step, and the latest texts, from two records of it."""
    validations = [each.validation for each in (new, earlier) if each.validation]
    # The proofs are defined from the best to the worst.
    startup = min((each.startup for each in validations), key=get_args(Proof).index)
    functions = min((each.functions for each in validations), key=get_args(Proof).index)
    last = new if new.replaced else earlier  # the previous key may have been removed meanwhile
    return replace(
        new,
        **_validated(startup, functions),
        ticket=new.ticket or earlier.ticket,
        note=new.note or earlier.note,
        replaced=last.replaced,
        replaced_until=last.replaced_until,
    )


def other_key_replaced(new: Record, records: Sequence[Record], *, has_overlap: bool) -> str | None:
    """Return the warning about a rotation whose previous key is not the last other key of the environment, if so."""
    here = rotations(records, new.secret, new.environment)
    last = next((each for each in reversed(here) if each.fingerprint != new.fingerprint), None)
    if last is None or new.replaced == last.fingerprint:
        return None
    if new.replaced is None:
        is_completion = any(each.fingerprint == new.fingerprint for each in here)
        if is_completion or not has_overlap or last.fingerprint in revoked(records):
            return None
        return (
            f"WARNING: no previous key of {new.secret} is set here, so what {last.fingerprint} signed is refused. Set"
            " the previous key and its deadline, or revoke the old key if others may know it."
        )
    return (
        f"WARNING: the previous key of {new.secret} is {new.replaced}, but the last other key that is recorded in"
        f" {new.environment} is {last.fingerprint}. Compare it with the secret manager."
    )


def completion(record: Record, options: Iterable[str]) -> str:
    """Return the command that completes the record of a rotation."""
    # Without a fingerprint, the next record does not complete this one: it is a new one with all steps.
    steps = record.open_steps if record.fingerprint else ("startup", "functions")
    return command(
        "rotate",
        "record",
        record.secret or "",
        "--environment",
        record.environment or "",
        *(
            word
            for name in ("operator", "ticket", "note")
            if (text := getattr(record, name))
            for word in option(f"--{name}", text)
        ),
        *(word for name in steps for word in ("--attest", name)),
        *options,
    )
