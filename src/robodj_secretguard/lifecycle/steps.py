"""The steps of a rotation in a secret manager: take one, and the rules for it (policy sections 3 and 4).

`Rotator.take` takes a step: one write of the manager, which fails if somebody else has written in the meantime. Nothing
here prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from robodj_secretguard.common.files import raise_file_error, reason
from robodj_secretguard.common.generator import generate
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.fleet.verdict import Verdict
from robodj_secretguard.guarding import examine
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import (
    ROTATIONS,
    LastStep,
    Record,
    StepName,
    conflict,
    draft,
    draft_rotation,
    dump_last_steps,
    environment_of,
    parse_last_steps,
    revoked,
    rotations,
)
from robodj_secretguard.managers.manager import Store, Stored, sealed
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import command, listed
from robodj_secretguard.settings import SecretSettings, setup_of
from robodj_secretguard.startup.directory import (
    Delivery,
    delivery_of,
    first_with,
    names_of,
    source_finding,
    whole_names,
)
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc, parse_marker
from robodj_secretguard.startup.readings import (
    ALWAYS,
    Environment,
    RevocationStatus,
    config_directory,
    revocation_list,
)
from robodj_secretguard.startup.report import Finding, Report, SecretStatus, finding, for_gate
from robodj_secretguard.startup.rules import FOLLOW, Check, Problem, Severity, how_to_rotate
from robodj_secretguard.startup.time_rules import CADENCE_GRACE

Fields: TypeAlias = "Mapping[str, Any]"
"""The fields of a secret in a manager. A function that takes them runs inside `contain()`."""

MIN_AGE: Final = timedelta(hours=1)
"""How long a next key is in the manager before it is promoted: every instance must have it."""
_STEP_SECONDS: Final = 30.0
"""The time limit of an answer, as `--wait` has it by default."""
MAX_SKEW: Final = timedelta(minutes=2)
"""How much the clocks of this machine and of the manager may differ."""
_FLEET_AGE: Final = timedelta(minutes=15)
"""How old a verdict on the instances may be. Its clock may be ahead by a third of that."""
_REPEATABLE: Final = ("stage", "replace")
"""With `is_now`, these steps replace a key that they have stored before, whatever its environment is."""
_SLOTS: Final = {
    "staged": "next",
    "retired": "previous",
    **dict.fromkeys(ROTATIONS, "current"),
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
        revoked_from: from when on the current and the previous key are revoked, by the slots of those that are.
        step: the last step; `None` where its record is missing or invalid.
        staged_at: since when the manager has the next key, if that is known.
    """

    slots: Slots
    filled: frozenset[str]
    expires_at: datetime | None
    revoked_from: Mapping[str, datetime]
    step: LastStep | None
    staged_at: datetime | None


def stored_keys(policy: SecretPolicy, fields: Fields, written_at: datetime | None = None) -> StoredKeys:
    """Return the keys of a secret, and its last step. `written_at` is when the manager made this version."""
    next_variable, previous_variable, until = policy.slot_variables
    variables = {"current": policy.variable, "next": next_variable, "previous": previous_variable}
    texts = {slot: text for slot, variable in variables.items() if (text := _field_text(fields, variable))}
    keys = {slot: fingerprint(SealedStr(text)) for slot, text in texts.items() if policy.material.accepts(text)}
    current = keys.get("current")
    if texts.get("next") == texts.get("current") or (current and keys.get("next") == current):
        texts.pop("next", None)
        keys.pop("next", None)
    steps = last_steps(fields)
    step = steps.get(policy.name)
    # The server's time is better. It is that of this version, which another secret's step may have made.
    is_older = any(step and step.last.recorded_at < other.last.recorded_at for other in steps.values())
    is_staged = step is not None and step.step == "stage" and step.last.fingerprint == keys.get("next")
    slots = Slots(**keys, previous_until=parse_marker(SealedStr(_field_text(fields, until))))
    return StoredKeys(
        slots,
        frozenset(texts),
        parse_marker(SealedStr(_field_text(fields, policy.expiry_variable))),
        _revocations(slots, revocation_list([], [("", SealedStr(_field_text(fields, REVOKED_FINGERPRINTS)))])),
        step,
        step.last.recorded_at if step and is_staged and (is_older or not written_at) else written_at,
    )


def _revocations(slots: Slots, *lists: RevocationStatus | None) -> dict[str, datetime]:
    """Return from when on the current and the previous key are revoked, by the slots of those that are."""
    found = {
        slot: [begin for each in lists if each and key and (begin := each.begin(key))]
        for slot, key in (("current", slots.current), ("previous", slots.previous))
    }
    return {slot: min(begins) for slot, begins in found.items() if begins}


def _is_over(keys: StoredKeys, now: datetime) -> bool:
    """Check whether the previous key verifies nothing any more: its deadline has passed, or it is revoked."""
    return any(end and end <= now for end in (keys.slots.previous_until, keys.revoked_from.get("previous")))


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
    # After an hour, it is another emergency.
    return {
        "promote": "next" not in keys.filled,
        "replace": abs(now - done.last.recorded_at) < MIN_AGE,
    }.get(step, True)


def obstacles(
    step: StepName,
    policy: SecretPolicy,
    keys: StoredKeys,
    now: datetime,
    *,
    is_now: bool,
    fleet: Sequence[Verdict] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Problem]:
    """Yield why a step is not allowed; with the severity `note`, not yet. `is_now`: the operator wants it at once.

    `fleet` has the verdicts on the instances. Where all of them have the next key, no hour is needed. `options` are
    those of a step, for the commands in remedies.
    """
    stage = f"run {command('rotate', 'stage', policy.name, *options)}"
    if step != "retire" and "current" not in keys.filled:
        yield Problem(
            f"there is no current key of {policy.name}",
            f"correct --to, or restore {policy.variable} from an earlier version; only a new service gets a first key"
            f" ({command('generate', policy.name)})",
        )
    if step == "promote":
        yield from _obstacles_of_next(policy.name, keys, now, stage, is_now=is_now or fleet is not None)
    if step == "back":
        yield from _obstacles_of_back(policy.name, keys, now, stage, is_now=is_now)
    if step in {"promote", "retire"} and not is_now:
        if fleet is not None and (step == "retire" or "next" in keys.filled):
            yield from _unproven_instances(step, policy.name, keys, fleet, now)
        if "previous" in keys.filled and not _is_over(keys, now):
            yield from _obstacles_of_previous(policy, keys.slots.previous_until)


def _applying(*rules: tuple[bool, Problem]) -> Iterator[Problem]:
    """Return the problems whose conditions are true."""
    return (problem for applies, problem in rules if applies)


def _obstacles_of_next(name: str, keys: StoredKeys, now: datetime, stage: str, *, is_now: bool) -> Iterator[Problem]:
    since, slots = keys.staged_at or now, keys.slots
    return _applying(
        (
            "next" not in keys.filled,
            Problem(f"{name} has no next key", f"{stage}, and run this command again an hour later"),
        ),
        (
            slots.next is not None and slots.next == slots.previous,
            Problem(f"the next key of {name} is its previous key", f"{stage} --now"),
        ),
        (
            not is_now and now - since < MIN_AGE,
            Problem(
                f"the next key of {name} has its place since {iso_utc(since)}; every instance needs it first",
                f"run this command again after {iso_utc(since + MIN_AGE)}",
                severity=Severity.NOTE,
            ),
        ),
    )


def _obstacles_of_back(name: str, keys: StoredKeys, now: datetime, stage: str, *, is_now: bool) -> Iterator[Problem]:
    slots, step = keys.slots, keys.step
    last = step.last if step and step.step == "promote" and slots.previous else None
    is_promotion = last is not None and (last.fingerprint, last.replaced) == (slots.current, slots.previous)
    return _applying(
        (
            "previous" not in keys.filled or slots.previous_until is None or _is_over(keys, now),
            Problem(f"{name} has no previous key that still verifies", f"if the current key must go, {stage}"),
        ),
        (
            step is not None and not is_promotion,
            Problem(
                f"the last step of {name} is not the promotion of its current key over its previous key",
                f"if the current key must go, {stage}",
            ),
        ),
        (
            "next" in keys.filled and not is_now,
            Problem(
                f"{name} has a next key, whose place the current key needs",
                "to give up the next key, run this command again with --now",
            ),
        ),
    )


def _obstacles_of_previous(policy: SecretPolicy, until: datetime | None) -> Iterator[Problem]:
    subject, variable = f"the previous key of {policy.name}", policy.slot_variables[2]
    if until is None:
        yield Problem(
            f"{subject} has no valid deadline in {variable}",
            f"correct {variable} in the manager, or add --now: what that key has signed is then refused",
        )
    else:
        yield Problem(
            f"{subject} verifies until {iso_utc(until)}",
            f"run this command again after {iso_utc(until)}",
            severity=Severity.NOTE,
        )


def _unproven_instances(
    step: StepName, name: str, keys: StoredKeys, fleet: Sequence[Verdict], now: datetime
) -> Iterator[Problem]:
    """Yield that no recent verdict is about this key, or that an instance is not ready."""
    condition, slot = ("has-next", "next") if step == "promote" else ("moved", "current")
    about = condition, name, getattr(keys.slots, slot)
    found = [each for each in fleet if (each.condition, each.secret, each.fingerprint) == about]
    failing = [f"{who} ({why})" for each in found for who, why in each.not_ready.items()]
    again = f"run fleet --require {condition} with --from for this manager, and then this command again"
    if not found:
        yield Problem(f"the file of --fleet has no verdict on {condition} for the {slot} key of {name}", again)
    elif old := [each.checked_at for each in found if not -_FLEET_AGE / 3 <= now - each.checked_at <= _FLEET_AGE]:
        yield Problem(f"the file of --fleet is from {iso_utc(old[0])}, not from the last 15 minutes", again)
    elif failing or not all(each.holds for each in found):
        yield Problem(
            f"not every instance is ready to {step}: {listed(failing, most=10)}",
            f"restart the instances that have old keys, let unknown ones report, or correct the roster; {again}",
        )


def due(policy: SecretPolicy, keys: StoredKeys, rotated_at: datetime | None, now: datetime) -> StepName | None:
    """Return the step of a rotation that is due. `rotated_at` is when the current key was recorded, if it was."""
    if "current" not in keys.filled:
        return None
    if "previous" in keys.filled and _is_over(keys, now):
        return "retire"
    if "next" in keys.filled:
        return None if keys.step and keys.step.step == "back" else "promote"
    ends = keys.expires_at or (rotated_at and rotated_at + policy.cadence)
    return "stage" if policy.overlap and (ends is None or ends - policy.warn_before <= now) else None


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
    expires, no_previous = iso_utc(now + policy.cadence), dict.fromkeys((previous, until))
    if step == "stage":
        return {next_variable: generate(policy).get_secret_value()}
    if step == "retire":
        return no_previous
    if step == "back":
        before = keys.step.replaced_expires_at if keys.step else None
        soonest = min(filter(None, (keys.slots.previous_until, before)))  # its time as a key does not get longer
        return {
            variable: _field_text(fields, previous),
            next_variable: _field_text(fields, variable),
            marker: iso_utc(soonest),
            **no_previous,
        }
    if step == "replace":
        others = dict.fromkeys(name for name in policy.variables if fields.get(name))
        new = {variable: generate(policy).get_secret_value(), marker: expires}
        return {**others, **new, **_with_entry(fields, keys.slots.current, "")}
    revoked_from = keys.revoked_from.get("current")
    promoted = {variable: _field_text(fields, next_variable), next_variable: None, marker: expires, **no_previous}
    if not keys.slots.current or (revoked_from and revoked_from <= now):  # no service would accept it
        return promoted
    # Promoted again after `back`, the deadline does not move.
    ends = iso_utc(min(filter(None, (now + policy.overlap, revoked_from))))
    kept = {previous: _field_text(fields, variable), until: ends}
    return {**promoted, **kept, **_with_entry(fields, keys.slots.current, f"@{ends}")}


def last_step(step: StepName, before: StoredKeys, after: SecretStatus, now: datetime, **who: Any) -> LastStep:
    """Return a step with its records, which the new version and the operations log get."""
    rotated = draft_rotation(after, "not-done", "not-done", **who)
    of_secret: dict[str, Any] = {"secret": after.secret, "owner": after.owner or None, **who}
    current = before.slots.current
    records = {
        "stage": [draft("staged", fingerprint=after.next_fingerprint, **of_secret)],
        "promote": [rotated],
        "retire": [draft("retired", fingerprint=before.slots.previous, **of_secret)],
        "back": [replace(rotated, event="rolled-back")],
        "replace": [*([draft("revoked", fingerprint=current, **of_secret)] if current else []), rotated],
    }[step]
    return LastStep(
        step,
        [replace(record, recorded_at=now) for record in records],
        before.expires_at if step == "promote" else None,
    )


def with_step(fields: Fields, secret: str, step: LastStep) -> dict[str, Any]:
    """Return the fields of the new version, with its last step."""
    return {**fields, ROTATION_RECORD: dump_last_steps({**last_steps(fields), secret: step})}


def unrecorded(step: LastStep | None, logged: Sequence[Record]) -> list[Record]:
    """Return the records of a manager that the operations log does not have."""
    return [record for record in (step.records if step else ()) if not any(_is_same(record, other) for other in logged)]


def _is_same(record: Record, logged: Record) -> bool:
    """Check whether the log has the record of a step. It was written after the step, and may be completed by now."""
    is_completed = (record.event, logged.event) == ("rotation-incomplete", "rotated")
    is_equal = all(
        getattr(record, name) == getattr(logged, name) for name in ("secret", "environment", "fingerprint", "replaced")
    )
    return (is_completed or record.event == logged.event) and is_equal and logged.recorded_at >= record.recorded_at


def later(keys: StoredKeys, logged: Sequence[Record]) -> Record | None:
    """Return the last record of a rotation that is later than the manager's last step, if there is one."""
    if keys.step is None:
        return None
    last = keys.step.last
    subject = (last.secret, last.environment)
    own = [each for each in logged if each.event in _SLOTS and (each.secret, each.environment) == subject]
    is_known = any(_is_same(last, each) for each in own)
    return own[-1] if is_known and not _is_same(last, own[-1]) else None


def is_state_after(record: Record, keys: StoredKeys) -> bool:
    """Check whether the keys of a manager are those after a recorded step."""
    has_key = record.fingerprint in {getattr(keys.slots, _SLOTS[record.event])} - {None}
    return not has_key if record.event == "retired" else has_key


def drift(
    policy: SecretPolicy,
    keys: StoredKeys,
    logged: Sequence[Record],
    manager: str,
    options: Sequence[str] = (),
    *,
    now: datetime,
) -> Problem | None:
    """Return how the keys of a manager differ from what is recorded, if they do.

    A recorded step that is not there yet is no difference until the overlap ends. Neither is a promotion by hand, whose
    record comes next.
    """
    done = keys.step
    here = rotations(logged, policy.name, done.last.environment if done else None)
    operator = ("--operator", "YOUR-NAME", *options)
    if done and unrecorded(done, logged):
        step = {"replace": "run"}.get(done.step, done.step)
        where = ("--to", manager, "--environment", str(done.last.environment), *operator)
        return Problem(
            f"{manager} has a step that the operations log does not have: {step_in_words(done)}",
            f"run {command('rotate', step, policy.name, *where)}: it records the step",
            manager,
        )
    if not here:
        return None
    newest, expected = later(keys, logged), here[-1]
    if done and newest and not is_state_after(newest, keys):
        recorded = f"{newest.event} at {iso_utc(newest.recorded_at)}"
        what = f"{manager} is at an older step ({step_in_words(done)}) than the log ({recorded})"
        is_on_its_way = now <= newest.recorded_at + max(policy.overlap, CADENCE_GRACE)
    else:
        what = f"{policy.variable} is not the recorded key"
        is_on_its_way = keys.slots.current in [each.fingerprint for each in (here[-1:] if done else here)]
    if is_on_its_way:
        return None
    # No remedy restores a key: it may be revoked.
    if any(keys.slots.current in {each.fingerprint, each.replaced} for each in rotations(logged, policy.name)):
        return Problem(what, f"{how_to_rotate(policy, manager)}{FOLLOW}", manager)
    if expected.fingerprint in {keys.slots.previous, *revoked(logged)}:  # what replaces it is on its way
        return None
    where = ("--from", manager, "--environment", expected.environment or "ENVIRONMENT", *operator)
    record = command("rotate", "record", policy.name, *where)
    return Problem(what, f"run {record} if this was meant; otherwise rotate the key", manager)


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
            if problem := drift(policy, keys, logged, delivery.name, options, now=datetime.now(UTC)):
                yield finding((), Check.DRIFT, problem, policy)


def _delivered_keys(policy: SecretPolicy, delivery: Delivery) -> StoredKeys:
    return stored_keys(policy, {name: value.get_secret_value() for name, value in delivery.values.items()})


def step_in_words(step: LastStep) -> str:
    """Return a step in words."""
    return f"{_DONE[step.step]} at {iso_utc(step.last.recorded_at)}"


def _field_text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _with_entry(fields: Fields, key: str | None, end: str) -> dict[str, str | None]:
    """Return the revocation list with an entry for a key; nothing where it has no fingerprint."""
    if key is None:
        return {}
    entries = [*filter(None, re.split(r"[\s,]+", _field_text(fields, REVOKED_FINGERPRINTS))), f"{key}{end}"]
    return {REVOKED_FINGERPRINTS: ",".join(dict.fromkeys(entries))}


class StepRefusedError(ManagerError):
    """A step is not taken, although the manager answers."""


def require_consistent(
    step: StepName | None, *, is_now: bool, fleet: object, name: str | None, reason: str | None
) -> None:
    """Raise `UsageError` for options that exclude each other, and for an emergency without a secret or a reason."""
    for is_wrong, why in (
        (fleet is not None and is_now, "pass --fleet or --now: --now does not wait for evidence"),
        (step == "replace" and None in {name, reason}, "--emergency needs NAME and --reason"),
        (
            is_now and step is None,
            "rotate run takes --now only with --emergency; the single steps have their own --now",
        ),
    ):
        if is_wrong:
            raise UsageError(why)


def with_steps(policies: Sequence[SecretPolicy], *, needs_overlap: bool, options: Sequence[str]) -> list[SecretPolicy]:
    """Return the secrets that have steps: none that a vendor issues. `UsageError` says why no secret has.

    `options` are those of the command that plans the rotation of such a secret.
    """
    found = [policy for policy in policies if not policy.is_issued and (policy.overlap or not needs_overlap)]
    if not found:
        name, why = policies[0].name, "a vendor issues it" if policies[0].is_issued else "it has no overlap"
        raise UsageError(f"{name} has no such steps: {why}; run {command('rotate', 'plan', name, *options)}")
    return found


class StepResult:
    """What happened to one secret. No attribute has a key.

    Attributes:
        policy: the secret.
        step: the step that was asked for, or that is due; `None` where none is due, or that is not known.
        outcome: `done`, `would-be-done` (in a dry run), `nothing-to-do` or `refused`.
        now: the time of the step.
        keys: the keys before the step; none where the manager delivered nothing.
        fields: the names of the changed fields.
        recovered: the records that the operations log got of an earlier step.
        records: the records that it got of this step.
        unrecorded: why it did not get a record.
        refusal: why the step was refused, or is not due yet.
        findings: alerts: about the manager, about the version that was refused, or about the one that was written.
        rotated: the record of the new state, where the step was done.
    """

    def __init__(self, policy: SecretPolicy, step: StepName | None) -> None:
        self.policy, self.step = policy, step
        self.outcome: Literal["done", "would-be-done", "nothing-to-do", "refused"] = "nothing-to-do"
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.keys = stored_keys(policy, {})
        self.fields: list[str] = []
        self.recovered: Sequence[Record] = ()
        self.records: Sequence[Record] = ()
        self.unrecorded: list[str] = []
        self.refusal: Problem | None = None
        self.findings: list[Finding] = []
        self.rotated: Record | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result in the plain types of JSON."""
        secret, problems = self.policy.name, [self.refusal] if self.refusal else []
        return {
            "secret": secret,
            "step": self.step,
            "outcome": self.outcome,
            "fields": self.fields,
            "records": [record.as_dict() for record in (*self.recovered, *self.records)],
            "refusals": [
                {"secret": secret, "reason": problem.message, "remedy": problem.remedy} for problem in problems
            ],
            "findings": [finding.as_dict() for finding in self.findings],
        }


class Rotator:
    """Take the steps of a rotation in a secret manager.

    Args:
        model: the settings model that declares the secrets.
        store: the secret manager, from `managers.manager.open_store`.
        environment: where the keys are used, such as `prod`.
        operator: who takes the steps.
        ticket: the ticket for this work.
        reason: why.
        note: what the records say besides, such as who reviewed the rotation.
        config_dir: the config directory, whose revocation list counts too; `None` for that of the environment or of
            the model.
        options: the options of the commands in remedies.

    Raises:
        UsageError: `environment`, `operator`, `ticket`, `reason` or `note` cannot be recorded.
    """

    def __init__(
        self,
        model: type[SecretSettings],
        store: Store,
        *,
        environment: str,
        operator: str,
        ticket: str | None = None,
        reason: str | None = None,
        note: str | None = None,
        config_dir: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._model, self._store, self._options = model, store, options
        self._policies = tuple(model.secret_policies.values())
        self._who = {"environment": environment, "operator": operator, "ticket": ticket, "reason": reason, "note": note}
        draft("staged", **self._who)  # an invalid text is refused before anything is written
        directory, named_by = config_directory(Environment(), config_dir, setup_of(model))
        self._config_dir = directory if named_by else None

    def take(
        self,
        policy: SecretPolicy,
        step: StepName | None,
        *,
        log: OperationsLog | None = None,
        is_now: bool = False,
        fleet: Sequence[Verdict] | None = None,
        dry_run: bool = False,
    ) -> StepResult:
        """Take a step for one secret, unless it is done, not due or not allowed.

        Args:
            policy: the secret.
            step: `stage`, `promote`, `retire`, `back`, or `replace` in an emergency; `None` for the step that is due.
            log: the operations log. It gets the records, and is locked meanwhile. For a dry run, it is only read.
            is_now: take the step without waiting: for the hour of a next key, for the deadline of a previous key, or
                for evidence. `stage` and `replace` replace the key again.
            fleet: the verdicts on the instances, which must be that all of them are ready.
            dry_run: write nothing.

        Returns:
            What happened. A refusal and an error of the manager are results as well.

        Raises:
            UsageError: the secret has no such step, an emergency has no reason, or `is_now` has a `fleet` or no `step`.
            FileError: the log cannot be used, or is later than this machine's clock, so nothing was written. An
                emergency does not wait for a clock.
        """
        require_consistent(step, is_now=is_now, fleet=fleet, name=policy.name, reason=self._who["reason"])
        with_steps(
            [policy],
            needs_overlap=step not in {None, "replace"},
            options=["--emergency"] if step == "replace" else [],
        )
        with log.locked() if log and not dry_run else nullcontext(log and log.read()):
            last = log.last if log and not dry_run and step != "replace" else None
            if last and datetime.now(UTC) < last.recorded_at:
                raise_file_error("its last record is later than this machine's clock; set the clock")
            result = StepResult(policy, None if step == "replace" else step)
            try:
                self._take(result, step, log, is_now=is_now, fleet=fleet, dry_run=dry_run)
            except StepRefusedError as error:
                result.outcome, result.refusal = "refused", Problem(error.message, error.remedy)
            except ManagerError as error:
                result.outcome, result.findings = "refused", [source_finding(self._policies, self._store.name, error)]
            return result

    def _take(
        self,
        result: StepResult,
        step: StepName | None,
        log: OperationsLog | None,
        *,
        is_now: bool,
        fleet: Sequence[Verdict] | None,
        dry_run: bool,
    ) -> None:
        store, known = self._store, log.records if log else ()
        stored = store.within(_STEP_SECONDS, lambda: store.current(_STEP_SECONDS))
        if stored.read_at and abs(stored.read_at - result.now) > MAX_SKEW:
            if step != "replace":  # an emergency does not wait for a clock that is right
                raise StepRefusedError(
                    f"this machine's clock is {iso_utc(result.now)}, and that of {store.name}"
                    f" {iso_utc(stored.read_at)}",
                    "set the clock that is wrong",
                )
            result.now = stored.read_at
        result.keys = contain(lambda: stored_keys(result.policy, stored.opened(), stored.written_at))
        if not (is_now and step in _REPEATABLE):
            self._require_environment(result, known)
        result.recovered = _append_records(unrecorded(result.keys.step, known), None if dry_run else log, result)
        newer = later(result.keys, known)
        if newer and step != "replace" and not is_state_after(newer, result.keys):
            raise StepRefusedError(
                f"{store.name} is at an older step than the operations log ({newer.event} at"
                f" {iso_utc(newer.recorded_at)})",
                "restore the version that this step has written; if its key is revoked or lost, replace the current key"
                " (rotate run with --emergency)",
            )
        before = contain(lambda: self._check(stored.opened(), result.policy, step))
        recorded = RevocationStatus((), tuple((key, ALWAYS) for key in revoked(known) if key))
        result.keys = result.keys._replace(
            revoked_from=_revocations(result.keys.slots, before.revocation_list, recorded)
        )
        if chosen := _choose_step(result, step, known, is_now=is_now, fleet=fleet, options=self._options):
            self._write(result, chosen, stored, known, log, before=before, dry_run=dry_run)

    def _require_environment(self, result: StepResult, known: Sequence[Record]) -> None:
        """Refuse a step for another environment than that of the keys."""
        keys, secret = result.keys, result.policy.name
        recorded = environment_of([keys.slots.current], secret, known)
        where = (keys.step and keys.step.last.environment) or recorded
        if where not in {"", self._who["environment"]}:
            raise StepRefusedError(
                f"{secret} in {self._store.name} is of the environment {where}",
                f"pass --environment {where}, or correct --to (if {where} is wrong: rotate stage --now corrects it)",
            )

    def _write(
        self,
        result: StepResult,
        step: StepName,
        stored: Stored,
        known: Sequence[Record],
        log: OperationsLog | None,
        *,
        before: Report,
        dry_run: bool,
    ) -> None:
        """Make the new version, check it, write it and record it."""
        store = self._store
        new, done, after = contain(partial(self._new_version, result, step, stored, known, before=before))
        result.outcome = "would-be-done"
        if not dry_run:
            store.within(_STEP_SECONDS, lambda: store.write(new, stored, _STEP_SECONDS))
            result.outcome, result.rotated = "done", done.last
            delivered = {status.secret for status in after.secrets if status.source == store.name}
            result.findings = [alert for alert in after.alerts if alert.secret in delivered]
            result.records = _append_records(done.records, log, result)

    def _new_version(
        self,
        result: StepResult,
        step: StepName,
        stored: Stored,
        known: Sequence[Record],
        *,
        before: Report,
    ) -> tuple[SealedStr, LastStep, Report]:
        """Return the fields of the new version, the step, and the report on it. It runs inside `contain()`."""
        policy, keys, now, fields = result.policy, result.keys, result.now, stored.opened()
        stage = f"run {command('rotate', 'stage', policy.name, *self._options, '--now')}"
        made = changed_fields(step, policy, fields, keys, now)
        after = self._check(made, policy, step)
        earlier = {(alert.check, alert.secret, alert.message) for alert in before.alerts}
        result.findings = [alert for alert in after.alerts if (alert.check, alert.secret, alert.message) not in earlier]
        if result.findings and step != "replace":  # an emergency does not wait for another secret
            raise StepRefusedError("the new version would have these alerts", stage)
        status = next(status for status in after.secrets if status.secret == policy.name)
        done = last_step(step, keys, status, now, **self._who)
        if why := _conflict_with_log(done.last, step, keys, known):
            raise StepRefusedError(why, stage)
        names = {*fields, *made} - {ROTATION_RECORD}
        result.fields = sorted(name for name in names if fields.get(name) != made.get(name))
        return sealed(with_step(made, policy.name, done), is_new=True), done, after

    def _check(self, fields: Fields, policy: SecretPolicy, step: StepName | None) -> Report:
        """Return the gate's report on fields, for a service that reads nothing else."""
        whole = whole_names(self._policies)
        try:
            delivery = delivery_of(self._store.name, fields, names_of(self._policies), whole)
        except ManagerError:
            if step != "replace":
                raise
            # An emergency needs only its own fields.
            delivery = delivery_of(self._store.name, fields, names_of([policy]), whole)
        examined = examine(
            self._model,
            environment=Environment({}),
            config_dir=self._config_dir,
            require_env_only=True,
            managers=[delivery],
        )
        return for_gate(examined.report)


def _choose_step(
    result: StepResult,
    step: StepName | None,
    known: Sequence[Record],
    *,
    is_now: bool,
    fleet: Sequence[Verdict] | None,
    options: Sequence[str],
) -> StepName | None:
    """Return the step to take: the one that the operator named, or the one that is due.

    It is `None` for a step that is done, and for one that must wait. The result gets the reason.
    """
    policy, keys, now = result.policy, result.keys, result.now
    of_current = [record for record in rotations(known, policy.name) if record.fingerprint == keys.slots.current]
    result.step = chosen = step or due(policy, keys, of_current[0].recorded_at if of_current else None, now)
    if chosen is None or (is_done(chosen, keys, now) and not (is_now and chosen in _REPEATABLE)):
        return None
    result.refusal = next(
        obstacles(chosen, policy, keys, now, is_now=is_now, fleet=fleet, options=options),
        None,
    )
    if result.refusal is None and (step == "replace" or not result.unrecorded):  # the log can be written
        return chosen
    is_due_later = step is None and result.refusal is not None and result.refusal.severity is Severity.NOTE
    result.outcome = "nothing-to-do" if is_due_later else "refused"
    return None


def _conflict_with_log(new: Record, step: StepName, keys: StoredKeys, known: Sequence[Record]) -> str | None:
    """Return why the operations log forbids a key, if it does: it was revoked, is old, or is used elsewhere."""
    if step not in {"promote", "back"}:
        return None
    of_secret = [record.fingerprint for record in rotations(known, new.secret, new.environment)]
    withdrawn = next((key for key in reversed(of_secret) if key != keys.slots.current), None)
    is_again = keys.step is not None and keys.step.step == "back" and keys.slots.next == withdrawn
    return conflict(new, known, is_current=is_again or step == "back")


def _append_records(records: Sequence[Record], log: OperationsLog | None, result: StepResult) -> Sequence[Record]:
    """Append records to the operations log. The manager has them, so a repetition appends what is missing."""
    if log is None or not records:
        return ()
    now, latest = datetime.now(UTC), max(record.recorded_at for record in records)
    try:
        if now < latest:  # each repetition would record it again
            raise_file_error(f"the clock ({iso_utc(now)}) is earlier than {iso_utc(latest)}; set the clock")
        return log.append(records)
    except OSError as error:
        result.unrecorded.append(reason(error))
        return ()
