"""How the keys of a store differ from what the operations log says of them (policy section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from robodj_secretguard.lifecycle.records import LastStep, Record, Records, revoked, rotations
from robodj_secretguard.lifecycle.steps import (
    StoredKeys,
    is_state_after,
    later,
    step_in_words,
    stored_keys,
    unrecorded,
)
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import contain
from robodj_secretguard.secret.texts import Options, command
from robodj_secretguard.startup.directory import Delivery, first_with
from robodj_secretguard.startup.inputs import iso_utc
from robodj_secretguard.startup.report import Finding, finding
from robodj_secretguard.startup.rules import FOLLOW, Check, Problem, how_to_rotate
from robodj_secretguard.startup.time_rules import CADENCE_GRACE


def drift(
    policy: SecretPolicy,
    keys: StoredKeys,
    logged: Records,
    manager: str,
    options: Options = (),
    *,
    now: datetime,
) -> Problem | None:
    """Return how the keys of a store differ from what is recorded, if they do.

    A recorded step that is not there yet is no difference until the overlap ends. Neither is a promotion by hand, whose
    record comes next.
    """
    done = keys.step
    if done and unrecorded(done, logged):
        return _not_logged(policy, done, manager, options)
    here = rotations(logged, policy.name, done.last.environment if done else None)
    if not here:
        return None
    newest = later(keys, logged)
    expected = here[-1]
    what = ""
    if done and newest and not is_state_after(newest, keys):
        if now > newest.recorded_at + max(policy.overlap, CADENCE_GRACE):  # otherwise it is on its way
            recorded = f"{newest.event} at {iso_utc(newest.recorded_at)}"
            what = f"{manager} is at an older step ({step_in_words(done)}) than the log ({recorded})"
    elif keys.slots.current not in [each.fingerprint for each in (here[-1:] if done else here)]:
        what = _other_key(policy, keys, expected)
    if not what:
        return None
    # Whether a version has the recorded key is for `with_recorded_keys` to find out.
    if any(keys.slots.current in {each.fingerprint, each.replaced} for each in rotations(logged, policy.name)):
        return Problem(what, f"{how_to_rotate(policy, manager)}{FOLLOW}", manager)
    if expected.fingerprint in {keys.slots.previous, *revoked(logged)}:  # what replaces it is on its way
        return None
    return Problem(what, _how_to_record(policy, expected, manager, options), manager)


def _how_to_record(policy: SecretPolicy, expected: Record, manager: str, options: Options) -> str:
    """Return what to do about a key that no record has."""
    where = ("--from", manager, "--environment", expected.environment or "ENVIRONMENT")
    record = command("rotate", "record", policy.name, *where, *options)
    return f"run {record} if this was meant; otherwise run it with plan in place of record"


def _other_key(policy: SecretPolicy, keys: StoredKeys, expected: Record) -> str:
    """Return that the current key is not the recorded one, and which rotation was undone."""
    if keys.slots.current is not None and keys.slots.current == expected.replaced:
        return f"{policy.variable} is the key that the rotation at {iso_utc(expected.recorded_at)} replaced"
    return f"{policy.variable} is not the recorded key"


def _not_logged(policy: SecretPolicy, done: LastStep, manager: str, options: Options) -> Problem:
    """Return that a store has a step that the log does not have. A repetition of the step records it."""
    words = {"replace": "run", "put": "run", "restore": "run"}
    where = ("--to", manager, "--environment", str(done.last.environment))
    again = command("rotate", words.get(done.step, done.step), policy.name, *where, *options)
    return Problem(
        f"{manager} has a step that the operations log does not have: {step_in_words(done)}",
        f"run {again}: it records the step",
        manager,
    )


def find_drift(
    deliveries: Sequence[Delivery],
    policies: Iterable[SecretPolicy],
    logged: Records,
    options: Options = (),
) -> Iterator[Finding]:
    """Yield a finding for each secret of a store whose keys differ from what is recorded.

    Args:
        deliveries: what the stores have delivered.
        policies: the declared secrets.
        logged: the records of the operations log.
        options: the options of the commands in the remedies.
    """
    for policy in policies:
        delivery = first_with(deliveries, policy)
        if delivery is None:
            continue
        keys = contain(partial(delivered_keys, policy, delivery))
        problem = drift(policy, keys, logged, delivery.name, options, now=datetime.now(UTC))
        if problem:
            yield finding((), Check.DRIFT, problem, policy)


def delivered_keys(policy: SecretPolicy, delivery: Delivery) -> StoredKeys:
    """Return the keys of a secret in what a store has delivered. It runs inside `contain()`."""
    return stored_keys(policy, {name: value.get_secret_value() for name, value in delivery.values.items()})
