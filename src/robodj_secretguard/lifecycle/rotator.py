"""Take the steps of a rotation in a store of secrets (policy sections 3 and 4).

Each step is one write, which fails if somebody else has written in the meantime. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Literal

from robodj_secretguard.common.files import raise_file_error, reason
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.fleet.verdict import Verdict
from robodj_secretguard.guarding import examine
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import (
    Document,
    LastStep,
    Record,
    Records,
    StepName,
    Who,
    conflict,
    draft,
    only_environment,
    revoked,
    rotations,
    rotations_to,
)
from robodj_secretguard.lifecycle.replacements import (
    Replacement,
    obstacles_of_put,
    place_of,
    put_changes,
    restored_changes,
)
from robodj_secretguard.lifecycle.steps import (
    Changes,
    StoredKeys,
    changes_of,
    data_of_previous,
    due,
    environment_in,
    is_done,
    is_over,
    is_state_after,
    kid_of,
    later,
    obstacles,
    recorded_revocations,
    revocations,
    revoked_entry,
    step_of,
    stored_keys,
    unrecorded,
    with_changes,
    with_step,
)
from robodj_secretguard.managers.manager import ABSENT, Fields, Store, Stored, sealed
from robodj_secretguard.managers.removed import find_version
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import PREFIX, fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import Options, command
from robodj_secretguard.settings import SecretSettings, setup_of
from robodj_secretguard.startup.directory import Policies, delivery_of, names_of, source_finding, whole_names
from robodj_secretguard.startup.inputs import ROTATION_RECORD, iso_utc
from robodj_secretguard.startup.readings import Environment, config_directory
from robodj_secretguard.startup.report import Finding, Report, for_gate
from robodj_secretguard.startup.rules import Check, Problem, Severity

_STEP_SECONDS: Final = 30.0
"""The time limit of an answer, as `--wait` has it by default."""
MAX_SKEW: Final = timedelta(minutes=2)
"""How much the clocks of this machine and of the store may differ."""
KEPT_AFTER_END: Final = timedelta(days=90)
"""How long the kept versions of a directory or an environment file have a key whose time is over."""
NO_ENVIRONMENT: Final = "--environment is missing; pass it once, such as --environment prod: no record names it yet"
_REPEATABLE: Final = ("stage", "replace")
"""With `is_now`, these steps replace a key that they have stored before, whatever its environment is."""


class StepRefusedError(ManagerError):
    """A step is not taken, although the store answers."""


class Wish(Frozen, kw_only=True):
    """The step that an operator wants.

    Attributes:
        step: the step; `None` for the one that is due. `replace` is the emergency.
        is_now: take the step without waiting: for the hour of a next key, for the deadline of a previous key, for
            evidence, or for the fix of another alert. `stage` and `replace` replace the key again.
        fleet: the verdicts on the instances, which must be that all of them are ready.
        leaked: in an emergency, the fingerprint of the key that others may know; empty for the current key.
        restored: the fingerprint of the key that `restore` puts back.
        values: the values that others have issued, by variable, for `put`.
        data_done: the id of the key that no stored data needs any more; empty for none.
        forgets: whether `put` takes the old values out of the versions that the store keeps.
        dry_run: write nothing.
    """

    step: StepName | None = None
    is_now: bool = False
    fleet: Sequence[Verdict] | None = None
    leaked: str = ""
    restored: str = ""
    values: Replacement | None = None
    data_done: str = ""
    forgets: bool = False
    dry_run: bool = False


def require_consistent(wish: Wish, name: str | None, why: str | None) -> None:
    """Raise `UsageError` for options that exclude each other, and for an emergency without a secret or a reason.

    `name` is the secret that the operator named, and `why` the reason.
    """
    if wish.fleet is not None and wish.is_now:
        raise UsageError("pass --fleet or --now: --now does not wait for evidence")
    if wish.step == "replace" and (name is None or why is None):
        raise UsageError("--emergency needs NAME and --reason")
    if wish.is_now and wish.step is None:
        raise UsageError("rotate run takes --now only with --emergency; the single steps have their own --now")
    if wish.leaked and wish.step != "replace":
        raise UsageError("--fingerprint and --key-from work only with --emergency; leave them out")


def with_steps(policies: Policies, wish: Wish, options: Options) -> list[SecretPolicy]:
    """Return the secrets that have the step. `UsageError` says what to run where none has.

    `rotate run NAME` is for every secret: where no step is ever due, it still records a step that the log lacks.
    `options` are those of a step, for that command.
    """
    if wish.step in {"put", "restore"} or (wish.step is None and len(policies) == 1):
        return [*policies]
    needs_overlap = wish.step != "replace"
    is_for_issued = wish.step == "retire"  # `put` has left the old value as the previous one
    allowed = [policy for policy in policies if is_for_issued or not policy.is_issued]
    found = [policy for policy in allowed if policy.overlap or not needs_overlap]
    if not found:
        name = policies[0].name
        why = "others issue it" if policies[0].is_issued else "it has no overlap"
        raise UsageError(f"{name} has no such step, as {why}; run {command('rotate', 'put', name, *options)}")
    return found


class StepResult:
    """What happened to one secret, or to the secrets of a group. No attribute has a key.

    Attributes:
        policy: the secret.
        step: the step that was asked for, or that is due; `None` where none is due, or that is not known.
        outcome: `done`, `would-be-done` (in a dry run), `nothing-to-do` or `refused`.
        now: the time of the step.
        keys: the keys before the step; none where the store delivered nothing.
        leaked: the key that an emergency revokes, or has revoked.
        restored: the key that is put back.
        fields: the names of the changed fields.
        recovered: the records that the operations log got of an earlier step.
        records: the records that it got of this step.
        unrecorded: why it did not get a record.
        refusal: why the step was refused, or is not due yet.
        findings: alerts: about the store, about the version that was refused, or about the one that was written.
        after: the keys after the step, where it was done; with a dry run, those that it would leave.
        forgotten: whether keys whose time is over were taken out of the versions that the store keeps.
        is_kept: whether a leaked key stays as a revoked previous one, since stored data needs it.
        dropped: the previous key that an emergency took away, whose stored data may need it.
        unpurged: why the versions that the store keeps still have a key whose time is over.
    """

    outcome: Literal["done", "would-be-done", "nothing-to-do", "refused"] = "nothing-to-do"
    leaked: str | None = None
    restored: str | None = None
    recovered: Records = ()
    records: Records = ()
    refusal: Problem | None = None
    forgotten = False
    is_kept = False
    dropped: str | None = None

    def __init__(self, policy: SecretPolicy, step: StepName | None) -> None:
        self.policy = policy
        self.step = step
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.keys = stored_keys(policy, {})
        self.fields: list[str] = []
        self.unrecorded: list[str] = []
        self.findings: list[Finding] = []
        self.after = self.keys
        self.unpurged: list[str] = []

    def as_dict(self) -> Document:
        """Return the result in the plain types of JSON."""
        secret = self.policy.name
        problems = [self.refusal] if self.refusal else []
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


class _AtHand:
    """What was read for one step, and what the step needs besides.

    Attributes:
        policies: the secrets that change in one write.
        result: what happens.
        wish: the step that the operator wants.
        log: the operations log, if it gets records.
        known: its records.
        stored: the current version of the store.
        who: the operator's texts, with the environment of the keys.
        before: the report on the current version.
    """

    who: Who
    before: Report

    def __init__(
        self,
        policies: Policies,
        result: StepResult,
        wish: Wish,
        log: OperationsLog | None,
        known: Records,
    ) -> None:
        self.policies = policies
        self.result = result
        self.wish = wish
        self.log = log
        self.known = known
        self.stored = ABSENT


class Rotator:
    """Take the steps of a rotation in a store of secrets.

    Args:
        model: the settings model that declares the secrets.
        store: the store, from `managers.manager.open_store`.
        who: the operator's texts. Without an environment, that of the keys counts.
        config_dir: the config directory, whose revocation list counts too; `None` for that of the environment or of
            the model.
        options: the options of the commands in remedies.

    Raises:
        UsageError: a text of `who` cannot be recorded.
    """

    def __init__(
        self,
        model: type[SecretSettings],
        store: Store,
        who: Who,
        *,
        config_dir: str | None = None,
        options: Options = (),
    ) -> None:
        self._model = model
        self._store = store
        self._who = who
        self._options = options
        self._policies = tuple(model.secret_policies.values())
        draft("staged", **who._asdict())  # an invalid text is refused before anything is written
        directory, named_by = config_directory(Environment(), config_dir, setup_of(model))
        self._config_dir = directory if named_by else None

    def take(self, policies: Policies, wish: Wish, *, log: OperationsLog | None = None) -> StepResult:
        """Take a step for one secret, unless it is done, not due or not allowed.

        `put` is not idempotent: each call stores new values.

        Args:
            policies: the secret; for `put`, all secrets of its group.
            wish: the step, and how to take it.
            log: the operations log. It gets the records, and is locked meanwhile. For a dry run, it is only read.

        Returns:
            What happened, with the first secret as its policy. A refusal and an error of the store are results as well.

        Raises:
            UsageError: the secret has no such step, or the wish contradicts itself.
            FileError: the log cannot be used, or is later than this machine's clock, so nothing was written. An
                emergency does not wait for a clock.
        """
        policy = policies[0]
        require_consistent(wish, policy.name, self._who.reason)
        with_steps([policy], wish, self._options)
        result = StepResult(policy, None if wish.step == "replace" else wish.step)
        writable = None if wish.dry_run else log
        with writable.locked() if writable else nullcontext(log and log.read()):
            if writable and writable.last and wish.step != "replace" and result.now < writable.last.recorded_at:
                raise_file_error("its last record is later than this machine's clock; set the clock")
            reading = _AtHand(policies, result, wish, writable, log.records if log else ())
            try:
                self._read(reading)
                self._act(reading)
            except StepRefusedError as error:
                result.outcome = "refused"
                result.refusal = Problem(error.message, error.remedy)
            except ManagerError as error:
                result.outcome = "refused"
                result.findings = [source_finding(self._policies, self._store.name, error)]
            return result

    def _act(self, reading: _AtHand) -> None:
        """Do what the operator wants with what was read."""
        if reading.wish.step == "put":
            self._put(reading)
        elif reading.wish.step == "restore":
            self._restore(reading)
        else:
            self._take(reading)

    def _read(self, reading: _AtHand) -> None:
        """Read the store, and require that it belongs to the environment and to the log."""
        store = self._store
        result = reading.result
        wish = reading.wish
        look = store.found if wish.step == "put" else store.current
        reading.stored = store.within(_STEP_SECONDS, look)
        _set_time(reading, store.name)
        result.keys = contain(partial(_stored_keys_of, reading.stored, result.policy))
        reading.who = self._who_for(reading)
        self._recover(reading, result.keys)
        newer = later(result.keys, reading.known)
        if newer and not is_state_after(newer, result.keys):
            self._require_return(reading, newer)
        reading.before = contain(lambda: self._check(reading, reading.stored.opened()))

    def _recover(self, reading: _AtHand, keys: StoredKeys) -> None:
        """Record an earlier step that only the store has."""
        result = reading.result
        lost = unrecorded(keys.step, reading.known)
        result.recovered = (*result.recovered, *_append_records(lost, reading.log, result))

    def _require_return(self, reading: _AtHand, newer: Record) -> None:
        """Refuse a step of a store that is older than the log, unless it is the one that the store lacks."""
        name = reading.result.policy.name
        step = {"staged": "stage", "retired": "retire"}.get(newer.event, "restore")
        if reading.wish.step in {"replace", "restore", step}:
            return
        key = ("--fingerprint", newer.fingerprint or "") if step == "restore" else ()
        raise StepRefusedError(
            f"{self._store.name} is at an older step than the operations log ({newer.event} at"
            f" {iso_utc(newer.recorded_at)})",
            f"run {command('rotate', step, name, *key, *self._options)}",
        )

    def _who_for(self, reading: _AtHand) -> Who:
        """Return the operator's texts with the environment of the keys. Refuse those for another environment.

        An emergency does not wait for a log that names it.
        """
        wish = reading.wish
        secret = reading.result.policy.name
        may_differ = wish.is_now and wish.step in _REPEATABLE
        where = environment_in(reading.result.keys, secret, reading.known)
        wanted = self._who.environment or where or only_environment(secret, reading.known)
        if not wanted and wish.step != "replace":
            raise UsageError(NO_ENVIRONMENT)
        if where not in {"", wanted} and not may_differ:
            raise StepRefusedError(
                f"{secret} in {self._store.name} is of the environment {where}",
                f"pass --environment {where}, or correct --to (if {where} is wrong: rotate stage --now corrects it)",
            )
        return self._who._replace(environment=wanted or None)

    def _take(self, reading: _AtHand) -> None:
        """Take a step of a rotation."""
        result = reading.result
        wish = reading.wish
        lists = (reading.before.revocation_list, recorded_revocations(reading.known))
        result.keys = result.keys._replace(revoked_from=revocations(result.keys.slots, *lists))
        step = self._choose(reading)
        if step is not None:
            if wish.step == "replace":
                self._keep_for_data(reading, step)
            self._write(reading, step, partial(_changes, step, result))
        is_wanted = wish.data_done or wish.step == "replace" or result.outcome == "done"
        if is_wanted and result.outcome != "refused":
            self._forget_ended(reading)

    def _choose(self, reading: _AtHand) -> StepName | None:
        """Return the step to take: the one that the operator named, or the one that is due.

        It is `None` for a step that is done, and for one that must wait. The result gets the reason.
        """
        result = reading.result
        wish = reading.wish
        policy = result.policy
        keys = result.keys
        now = result.now
        if wish.step == "replace":
            return self._choose_in_emergency(reading)
        of_current = rotations_to(keys.slots.current, policy.name, reading.known)
        rotated_at = of_current[0].recorded_at if of_current else None
        result.step = wish.step or due(policy, keys, rotated_at, now)
        if result.step is None:
            return None
        if is_done(result.step, keys, now) and not (wish.is_now and result.step in _REPEATABLE):
            return None
        return self._allowed(result.step, result, wish)

    def _choose_in_emergency(self, reading: _AtHand) -> StepName | None:
        """Return the step that takes the leaked key away."""
        result = reading.result
        wish = reading.wish
        policy = result.policy
        slots = result.keys.slots
        result.step = "replace"
        verifies = "previous" in result.keys.filled and not is_over(result.keys, result.now)
        if not wish.leaked and verifies and slots.previous:
            raise StepRefusedError(
                f"{policy.name} has two keys that verify, so it must be known which one leaked",
                f"add --fingerprint {slots.current} (the current key) or --fingerprint {slots.previous} (the previous)",
            )
        if wish.leaked in {"", slots.current}:
            result.leaked = slots.current
            if is_done("replace", result.keys, result.now) and not wish.is_now and not wish.leaked:
                return None
        elif wish.leaked == slots.previous:
            result.leaked = wish.leaked
            if policy.stores_data and is_over(result.keys, result.now):  # it was kept for its data
                return None
            result.step = "retire"
        elif wish.leaked == slots.next:
            result.step = "stage"
            result.leaked = wish.leaked
        else:
            self._require_revoked(reading, wish.leaked)
            return None
        if result.step != "replace":
            return result.step
        return self._allowed("replace", result, wish)

    def _require_revoked(self, reading: _AtHand, leaked: str) -> None:
        """Require that a leaked key, which has no place in the store, was revoked there before."""
        result = reading.result
        result.leaked = leaked
        listed = reading.before.revocation_list
        if listed is not None and leaked in listed.fingerprints:
            return
        why = ("--reason", "leaked", "--unknown", "--yes")
        revoke = command("revoke", result.policy.name, "--fingerprint", leaked, *why)
        raise StepRefusedError(f"{self._store.name} does not have the key {leaked}", f"run {revoke}")

    def _allowed(self, step: StepName, result: StepResult, wish: Wish) -> StepName | None:
        """Return a step, unless something is in its way."""
        result.refusal = next(
            obstacles(
                step,
                result.policy,
                result.keys,
                result.now,
                is_now=wish.is_now,
                fleet=wish.fleet,
                data_done=wish.data_done,
                options=self._options,
            ),
            None,
        )
        if result.refusal is None:
            return step
        is_due_later = wish.step is None and result.refusal.severity is Severity.NOTE
        result.outcome = "nothing-to-do" if is_due_later else "refused"
        return None

    def _put(self, reading: _AtHand) -> None:
        """Store new values."""
        result = reading.result
        wish = reading.wish
        before = reading.before
        policies = reading.policies
        values = wish.values or {}
        for policy in policies:
            keys = contain(partial(_stored_keys_of, reading.stored, policy))
            _refuse(data_of_previous(policy, keys, wish.data_done))
            if policy is not policies[0]:
                self._recover(reading, keys)
        _refuse(
            contain(
                lambda: obstacles_of_put(
                    policies, values, reading.stored.opened(), result.now, report=before, options=self._options
                )
            )
        )
        change = partial(put_changes, policies, values, now=result.now, report=before)
        self._write(reading, "put", lambda fields, _: change(fields))
        if result.outcome == "done":
            self._forget_ended(reading, values if wish.forgets else {})

    def _restore(self, reading: _AtHand) -> None:
        """Put a key back into its place."""
        result = reading.result
        before = reading.before
        key = reading.wish.restored
        here = rotations(reading.known, result.policy.name, reading.who.environment or "")
        place = place_of(result.policy, key, result.keys, reading.known, before, source=self._store.name, here=here)
        if isinstance(place, Problem):
            raise StepRefusedError(place.message, place.remedy)
        if getattr(result.keys.slots, place) == key:
            return
        result.restored = key
        version = find_version(self._store, [result.policy], key, _STEP_SECONDS)
        if version is None:
            raise StepRefusedError(
                f"no version of {self._store.name} has the key {key}", f"run {self._plan(result.policy)}"
            )
        change = partial(restored_changes, result.policy, key, place, version=version, here=here, now=result.now)
        self._write(reading, "restore", lambda fields, _: change(fields=fields))

    def _write(self, reading: _AtHand, step: StepName, change: Callable[[Fields, StoredKeys], Changes]) -> None:
        """Make the new version, check it, write it and record it."""
        store = self._store
        result = reading.result
        if result.unrecorded and reading.wish.step != "replace":  # the log cannot be written
            result.outcome = "refused"
            return
        version = contain(partial(self._new_version, reading, step, change))
        result.outcome = "would-be-done"
        if reading.wish.dry_run:
            return
        store.within(_STEP_SECONDS, lambda: store.write(version.fields, reading.stored))
        result.outcome = "done"
        delivered = {status.secret for status in version.report.secrets if status.source == store.name}
        result.findings = [alert for alert in version.report.alerts if alert.secret in delivered]
        records = [record for each in version.steps for record in each.records]
        result.records = _append_records(records, reading.log, result)

    def _new_version(
        self,
        reading: _AtHand,
        step: StepName,
        change: Callable[[Fields, StoredKeys], Changes],
    ) -> _NewVersion:
        """Return the new version, with what is recorded and checked. It runs inside `contain()`."""
        result = reading.result
        fields = reading.stored.opened()
        made = with_changes(fields, change(fields, result.keys))
        after = self._check(reading, made)
        result.findings = _alerts_in_the_way(reading, after)
        if result.findings:
            raise StepRefusedError(*self._how_to_correct(step, result, reading.before))
        steps = []
        for policy in reading.policies:
            status = next(status for status in after.secrets if status.secret == policy.name)
            keys = stored_keys(policy, fields)
            done = step_of(
                step,
                keys,
                status,
                result.now,
                reading.who,
                leaked=result.leaked,
                restored=result.restored,
                is_kept=result.is_kept,
            )
            why = _conflict_with_log(done.last, step, result.keys, reading.known)
            if why:
                raise StepRefusedError(why, self._other_key(policy))
            made = with_step(made, policy.name, done)
            steps.append(done)
        names = {*fields, *made} - {ROTATION_RECORD}
        result.fields = sorted(name for name in names if fields.get(name) != made.get(name))
        result.after = stored_keys(result.policy, made)
        return _NewVersion(sealed(made, is_new=True), steps, after)

    def _other_key(self, policy: SecretPolicy) -> str:
        """Return how to get another next key."""
        return f"run {command('rotate', 'stage', policy.name, *self._options, '--now')}"

    def _plan(self, policy: SecretPolicy) -> str:
        return command("rotate", "plan", policy.name, "--from", self._store.name)

    def _how_to_correct(self, step: StepName, result: StepResult, before: Report) -> tuple[str, str]:
        """Return why a version is refused, and the one instruction for it."""
        if not _new_alerts(result.findings, before):
            source = self._store.name
            return (
                f"{source} has an alert that this step would not fix",
                f"correct it (robodj-secretguard check --from {source} says how), then run this command again",
            )
        if step == "put":
            return "the new version would have these alerts", "pass a value without that fault; nothing was written"
        if step == "restore":
            return "the new version would have these alerts", f"run {self._plan(result.policy)}"
        return "the new version would have these alerts", self._other_key(result.policy)

    def _check(self, reading: _AtHand, fields: Fields) -> Report:
        """Return the gate's report on fields, for a service that reads nothing else."""
        whole = whole_names(self._policies)
        try:
            delivery = delivery_of(self._store.name, fields, names_of(self._policies), whole)
        except ManagerError:
            if reading.wish.step != "replace":
                raise
            # An emergency needs only its own fields.
            delivery = delivery_of(self._store.name, fields, names_of([reading.result.policy]), whole)
        examined = examine(
            self._model,
            environment=Environment({}),
            config_dir=self._config_dir,
            require_env_only=True,
            managers=[delivery],
        )
        return for_gate(examined.report)

    def _keep_for_data(self, reading: _AtHand, step: StepName) -> None:
        """Decide what happens in an emergency to the keys that stored data may need.

        Where no version keeps the leaked key, it stays as a revoked previous one, which no service accepts.
        """
        result = reading.result
        data_done = reading.wish.data_done
        if not result.policy.stores_data or step == "stage":
            return
        result.is_kept = not self._keeps_versions()
        if step == "retire" or "previous" not in result.keys.filled:
            return
        if result.is_kept:
            _refuse(data_of_previous(result.policy, result.keys, data_done))
        if data_done.removeprefix(PREFIX) != kid_of(result.keys.slots.previous):
            result.dropped = result.keys.slots.previous

    def _keeps_versions(self) -> bool:
        """Check whether an earlier version will have the keys that a write takes away."""
        if self._store.purges:  # it keeps what it finds, also before its first write
            return True
        try:
            return bool(self._store.within(_STEP_SECONDS, self._store.versions))
        except ManagerError:
            return False

    def _forget_ended(self, reading: _AtHand, leaked: Replacement | None = None) -> None:
        """Take what must not be used any more out of the versions that the store keeps beside the current one.

        These are keys whose time is over. With the new values of `leaked` ones, these are their old values, too.
        """
        result = reading.result
        ended = self._ended_keys(reading)
        if reading.wish.dry_run or not self._store.purges or not (ended or leaked):
            return
        purge = partial(_purge, self._store, reading.stored, leaked or {}, ended)
        try:
            self._store.within(_STEP_SECONDS, purge)
            result.forgotten = True
        except ManagerError as error:
            result.unpurged.append(f"the earlier versions still have an ended key, as the store {error.message}")

    def _ended_keys(self, reading: _AtHand) -> set[str]:
        """Return the keys that no version needs any more. A key of stored data needs the operator's word."""
        result = reading.result
        keeps_data = {policy.name: bool(policy.stores_data) for policy in self._policies}
        keeps_data[result.policy.name] = bool(result.policy.stores_data)
        done = reading.wish.data_done.removeprefix(PREFIX)
        ended = set[str]()
        for record in reading.known:
            is_old = record.replaced_until is not None and record.replaced_until + KEPT_AFTER_END <= result.now
            if record.replaced and is_old:
                ended.add(record.replaced)
            if record.event == "revoked" and record.fingerprint and not keeps_data.get(record.secret or "", True):
                ended.add(record.fingerprint)
        if result.leaked and not result.policy.stores_data:
            ended.add(result.leaked)
        slots = result.keys.slots
        own = [record for record in reading.known if record.secret == result.policy.name]
        withdrawn = (*revoked(own), result.leaked)
        ended |= {key for key in withdrawn if key and kid_of(key) == done}
        return ended - ({slots.current, slots.next, slots.previous} - {result.leaked})


def _purge(store: Store, before: Stored, leaked: Replacement, ended: Collection[str]) -> None:
    """Take ended keys, and the old values of leaked ones, out of the kept versions. It runs inside `contain()`."""
    fields = before.opened()
    old = {str(fields[name]) for name in leaked if fields.get(name)}
    old -= {value.get_secret_value() for value in leaked.values()}
    store.purge(lambda text: text in old or fingerprint(SealedStr(text)) in ended)


class _NewVersion(Frozen):
    """The new version of a store, sealed, with the steps that it records, and the report on it."""

    fields: SealedStr
    steps: Sequence[LastStep]
    report: Report


def _set_time(reading: _AtHand, name: str) -> None:
    """Require that the clocks agree, as a difference would move the deadlines. An emergency takes the store's time."""
    now = reading.result.now
    read_at = reading.stored.read_at
    if read_at is None or abs(read_at - now) <= MAX_SKEW:
        return
    if reading.wish.step != "replace":
        raise StepRefusedError(
            f"this machine's clock is {iso_utc(now)}, and that of {name} {iso_utc(read_at)}",
            "set the clock that is wrong",
        )
    reading.result.now = read_at


def _stored_keys_of(stored: Stored, policy: SecretPolicy) -> StoredKeys:
    """Return the keys of a secret in a version. It runs inside `contain()`."""
    return stored_keys(policy, stored.opened(), stored.written_at)


def _refuse(problems: Iterable[Problem]) -> None:
    """Refuse the step for the first problem, if there is one."""
    for problem in problems:
        raise StepRefusedError(problem.message, problem.remedy)


def _changes(step: StepName, result: StepResult, fields: Fields, keys: StoredKeys) -> Changes:
    """Return what a step changes. In an emergency, the leaked key is revoked in the same write."""
    policy = result.policy
    changes = changes_of(step, policy, fields, keys, result.now)
    if not result.leaked:
        return changes
    changes |= revoked_entry(fields, result.leaked)
    if result.is_kept:
        _, previous, until = policy.slot_variables
        kept = policy.variable if step == "replace" else previous
        changes |= {previous: str(fields[kept]), until: iso_utc(result.now)}
    return changes


def _new_alerts(alerts: Sequence[Finding], before: Report) -> list[Finding]:
    """Return the alerts that an earlier report does not have, whatever its remedies are."""
    earlier = [(alert.check, alert.secret, alert.message) for alert in before.alerts]
    return [alert for alert in alerts if (alert.check, alert.secret, alert.message) not in earlier]


def _alerts_in_the_way(reading: _AtHand, after: Report) -> list[Finding]:
    """Return the alerts that forbid a new version. An emergency waits for none."""
    wish = reading.wish
    if wish.step == "replace":
        return []
    alerts = [*after.alerts]
    if wish.step == "put":  # the keys of a new service come one after another
        names = {policy.name for policy in reading.policies}
        alerts = [each for each in alerts if each.check is not Check.MISSING or each.secret in names]
    if wish.is_now:
        return _new_alerts(alerts, reading.before)
    return alerts


def _conflict_with_log(new: Record, step: StepName, keys: StoredKeys, known: Records) -> str | None:
    """Return why the operations log forbids a key, if it does: it was revoked, is old, or is used elsewhere."""
    if step not in {"promote", "back"}:
        return None
    of_secret = [record.fingerprint for record in rotations(known, new.secret, new.environment)]
    withdrawn = next((key for key in reversed(of_secret) if key != keys.slots.current), None)
    is_again = keys.is_undone and keys.slots.next == withdrawn
    return conflict(new, known, is_current=is_again or step == "back")


def _append_records(records: Records, log: OperationsLog | None, result: StepResult) -> Records:
    """Append records to the operations log. The store has them, so a repetition appends what is missing."""
    if log is None or not records:
        return ()
    now = datetime.now(UTC)
    latest = max(record.recorded_at for record in records)
    try:
        if now < latest:  # each repetition would record it again
            raise_file_error(f"the clock ({iso_utc(now)}) is earlier than {iso_utc(latest)}; set the clock")
        return log.append(records)
    except OSError as error:
        result.unrecorded.append(reason(error))
        return ()
