"""Values that a store gets from outside a rotation: a new one (`rotate put`), or an earlier one (`rotate restore`).

The functions that take fields or values run inside `contain()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

from robodj_secretguard.common.generator import generate
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.lifecycle.records import Record, Records, revoked, staged_after
from robodj_secretguard.lifecycle.steps import (
    Changes,
    StoredKeys,
    current_changes,
    field_text,
    stored_keys,
    texts_by_slot,
    variables_of_slots,
)
from robodj_secretguard.managers.manager import Fields, Stored, open_store
from robodj_secretguard.managers.removed import find_version
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import Options, command
from robodj_secretguard.startup.directory import Policies
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, iso_utc
from robodj_secretguard.startup.readings import Slot
from robodj_secretguard.startup.report import Report
from robodj_secretguard.startup.rules import Problem

VERSION_SECONDS: Final = 5.0
"""The time limit of each answer about an earlier version, where only a fix depends on it."""
Replacement: TypeAlias = Mapping[str, SealedStr]
"""The values that others have issued, by variable."""


def obstacles_of_put(
    policies: Policies,
    values: Replacement,
    fields: Fields,
    now: datetime,
    *,
    report: Report,
    options: Options,
) -> list[Problem]:
    """Return what is in the way of new values. `report` is on the fields."""
    for policy in policies:
        if _has_good_key(policy, fields, now, report):
            stage = command("rotate", "stage", policy.name, *options)
            return [Problem(f"{policy.name} has a good key, and an overlap in which it still verifies", f"run {stage}")]
    same = [name for name, value in values.items() if value.get_secret_value() == field_text(fields, name)]
    if not values or len(same) < len(values):
        return []
    remedy = f"pass the new value ({policies[-1].replacement}); if the present one is right, there is nothing to do"
    return [Problem(f"{same[0]} has this value already", remedy)]


def _has_good_key(policy: SecretPolicy, fields: Fields, now: datetime, report: Report) -> bool:
    """Check whether a secret with an overlap has a key on which services start."""
    if policy.is_issued or not policy.overlap:
        return False
    keys = stored_keys(policy, fields)
    revoked_from = keys.revoked_from.get("current")
    is_over = any(end is not None and end <= now for end in (keys.expires_at, revoked_from))
    return keys.slots.current is not None and not is_over and not is_shared(keys.slots.current, report)


def is_shared(key: str | None, report: Report) -> bool:
    """Check whether a key is the current one of several secrets."""
    return key is not None and [each.fingerprint for each in report.secrets].count(key) > 1


def put_changes(policies: Policies, values: Replacement, fields: Fields, *, now: datetime, report: Report) -> Changes:
    """Return the changes that store new values. In an overlap, the old value stays as the previous one.

    The key of another secret does not stay. `report` is on the fields.
    """
    changes: Changes = {}
    for policy in policies:
        value = values[policy.variable] if policy.is_issued else generate(policy)
        keys = stored_keys(policy, fields)
        changes |= current_changes(policy, {**fields, **changes}, keys, value.get_secret_value(), now)
        if is_shared(keys.slots.current, report):
            changes = {name: text for name, text in changes.items() if name != REVOKED_FINGERPRINTS}
            changes |= dict.fromkeys(policy.slot_variables[1:])
        next_variable = policy.slot_variables[0] if policy.overlap else ""
        if field_text(fields, next_variable) == value.get_secret_value():
            changes[next_variable] = None  # it is the current value now
    return changes


def place_of(
    policy: SecretPolicy,
    key: str,
    keys: StoredKeys,
    known: Records,
    report: Report,
    *,
    source: str,
    here: Records,
) -> Slot | Problem:
    """Return the slot in which a key belongs by the records, or why it may not be restored.

    Args:
        policy: the secret.
        key: the fingerprint of the key.
        keys: what the store has now.
        known: the records of the operations log.
        report: the report on what the store has now.
        source: the store, for the commands in remedies.
        here: the rotations of the secret in the environment of the keys.
    """
    # A dated entry is that of a replaced key: see below.
    withdrawn = report.revocation_list.fingerprints if report.revocation_list else frozenset[str]()
    if key in withdrawn or key in revoked(known):
        plan = command("rotate", "plan", policy.name, "--from", source)
        has_good_key = keys.slots.current not in {None, key, *withdrawn, *revoked(known)}
        remedy = "leave the good key there" if has_good_key else f"to make a new key, run {plan}"
        return Problem(f"the key {key} is revoked", remedy)
    if not here:
        return _place_without_record(key, keys)
    last = here[-1]
    if key == last.fingerprint:
        return "current"
    if key in staged_after(last, known):
        return "next"
    if key == last.replaced and last.replaced_until is not None and report.checked_at < last.replaced_until:
        return "previous"
    return _older_key(policy, key, last, source)


def _place_without_record(key: str, keys: StoredKeys) -> Slot | Problem:
    if keys.slots.current is None or keys.slots.current == key:
        return "current"
    return Problem(f"no record names the key {key}, and a good key is in its place", "leave the good key there")


def _older_key(policy: SecretPolicy, key: str, last: Record, source: str) -> Problem:
    """Return that a key has no place any more, and which key has one."""
    right = command("rotate", "restore", policy.name, "--fingerprint", last.fingerprint or "", "--to", source)
    if key == last.replaced and last.replaced_until is not None:
        return Problem(f"the time of the key {key} was over at {iso_utc(last.replaced_until)}", f"run {right}")
    return Problem(f"the operations log has another key as the last one of {policy.name}", f"run {right}")


def can_restore(policies: Policies, source: str, policy: SecretPolicy, key: str) -> bool:
    """Check whether a version of a source has a key of a secret. Where that cannot be found out, none has.

    Args:
        policies: the declared secrets.
        source: a source of `--from`.
        policy: the secret.
        key: the fingerprint of the key.
    """
    try:
        return find_version(open_store(source, policies), [policy], key, VERSION_SECONDS) is not None
    except (ManagerError, UsageError):
        return False


def restored_changes(
    policy: SecretPolicy,
    key: str,
    place: Slot,
    *,
    version: Stored,
    here: Records,
    fields: Fields,
    now: datetime,
) -> Changes:
    """Return the changes that put a key back into its place, with the date that belongs to it there."""
    following, previous, until = policy.slot_variables
    earlier = version.opened()
    texts = {_listed_as(text): text for text in texts_by_slot(policy, earlier).values()}
    changes: Changes = {variables_of_slots(policy)[place]: texts[key]}
    last = here[-1] if here else None
    if place == "current":
        changes[policy.expiry_variable] = _marker_of_key(policy, key, earlier, last)
        if _listed_as(field_text(fields, following)) == key:
            changes[following] = None
    if last and last.replaced and last.replaced_until and place != "next":
        texts |= {_listed_as(text): text for text in texts_by_slot(policy, fields).values()}
        replaced = texts.get(last.replaced)
        if replaced and last.replaced_until > now:
            changes |= {previous: replaced, until: iso_utc(last.replaced_until)}
    return {name: text or None for name, text in changes.items()}


def _marker_of_key(policy: SecretPolicy, key: str, earlier: Fields, last: Record | None) -> str | None:
    """Return the expiry marker that belongs to a key: that of its record, otherwise that of the version."""
    if last:
        return iso_utc(last.expires_at) if last.expires_at else None
    was_current = _listed_as(field_text(earlier, policy.variable)) == key
    return field_text(earlier, policy.expiry_variable) if was_current else None


def _listed_as(text: str) -> str:
    return fingerprint(SealedStr(text)) if text else ""
