"""Take the steps of a rotation in a secret manager (policy sections 3 and 4). Nothing here prints.

Each step is one write of the manager, which fails if somebody else has written in the meantime.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from robodj_secretguard.common.files import raise_file_error, reason
from robodj_secretguard.errors import FileError, SafeError
from robodj_secretguard.lifecycle.rotation import (
    conflict,
    count_by_environment,
    recorded_environments,
    revoked,
    rotations,
)
from robodj_secretguard.lifecycle.step_rules import (
    changed_fields,
    due,
    is_done,
    is_state_after,
    last_step,
    later,
    obstacles,
    record_in_words,
    stored_keys,
    unfinished_step,
    unrecorded,
    with_step,
)
from robodj_secretguard.managers.delivery import names_of, source_finding
from robodj_secretguard.managers.manager import ATTEMPT_SECONDS, ManagerError, delivery_of
from robodj_secretguard.managers.store import sealed
from robodj_secretguard.secret.sealed import contain
from robodj_secretguard.secret.texts import command
from robodj_secretguard.startup.guard import examine
from robodj_secretguard.startup.readings import Environment, config_directory
from robodj_secretguard.startup.rules import Problem, Severity
from robodj_secretguard.startup.settings import setup_of
from robodj_secretguard.startup.variables import ROTATION_RECORD, iso_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robodj_secretguard.fleet.verdict import Fleet
    from robodj_secretguard.lifecycle.operations_log import OperationsLog
    from robodj_secretguard.lifecycle.records import LastStep, Record, StepName
    from robodj_secretguard.lifecycle.step_rules import Fields, StoredKeys
    from robodj_secretguard.managers.store import Store, Stored
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.secret.sealed import SealedStr
    from robodj_secretguard.startup.report import Finding, Report
    from robodj_secretguard.startup.settings import SecretSettings

Outcome: TypeAlias = Literal["done", "would-be-done", "nothing-to-do", "refused"]

MAX_SKEW: Final = timedelta(minutes=2)
"""How much the clocks of this machine and of the manager may differ."""
_REPEATABLE: Final = ("stage", "replace")
"""With `is_now`, these steps replace a key that they have stored before, whatever its environment is."""


class StepRefusedError(SafeError):
    """A step is not taken."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


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
        may_be_written: whether the manager did not answer to the write.
        findings: alerts: about the manager, about the version that was refused, or about the one that was written.
        rotated: the record of the new state, where the step was done.
        is_first: whether the operations log has records, but none of this environment.
    """

    def __init__(self, policy: SecretPolicy, step: StepName | None) -> None:
        self.policy, self.step = policy, step
        self.outcome: Outcome = "nothing-to-do"
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.keys = stored_keys(policy, {})
        self.fields: list[str] = []
        self.recovered: Sequence[Record] = ()
        self.records: Sequence[Record] = ()
        self.unrecorded: list[str] = []
        self.refusal: Problem | None = None
        self.findings: list[Finding] = []
        self.may_be_written = False
        self.rotated: Record | None = None
        self.is_first = False

    def as_dict(self) -> dict[str, Any]:
        """Return the result in the plain types of JSON."""
        refusal, secret = self.refusal, self.policy.name
        refusals = [{"secret": secret, "reason": refusal.message, "remedy": refusal.remedy}] if refusal else []
        return {
            "secret": secret,
            "step": self.step,
            "outcome": self.outcome,
            "fields": self.fields,
            "records": [record.as_dict() for record in (*self.recovered, *self.records)],
            "refusals": refusals,
            "findings": [finding.as_dict() for finding in self.findings],
        }


class Rotator:
    """Take the steps of a rotation in a secret manager.

    Args:
        model: the settings model that declares the secrets.
        store: the secret manager, from `managers.delivery.open_store`.
        environment: where the keys are used, such as `prod`.
        operator: who takes the steps.
        ticket: the ticket for this work.
        reason: why.
        config_dir: the config directory, whose revocation list counts too; `None` for that of the environment or of
            the model.
        options: the options of the commands in remedies.
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
        config_dir: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._model, self._store, self._options = model, store, options
        self._policies = tuple(model.secret_policies.values())
        self._environment = environment
        self._who = {"environment": environment, "operator": operator, "ticket": ticket, "reason": reason}
        directory, named_by = config_directory(Environment(), config_dir, setup_of(model))
        self._config_dir = directory if named_by else None

    def take(
        self,
        policy: SecretPolicy,
        step: StepName | None,
        *,
        log: OperationsLog | None = None,
        is_now: bool = False,
        fleet: Fleet | None = None,
        dry_run: bool = False,
    ) -> StepResult:
        """Take a step for one secret, unless it is done, not due or not allowed.

        Args:
            policy: the secret.
            step: `stage`, `promote`, `retire`, `back`, or `replace` in an emergency; `None` for the step that is due.
            log: the operations log, which was read; it is locked, and gets the records, unless `dry_run` is true.
            is_now: take the step without waiting: for the hour of a next key, for the deadline of a previous key, or
                for evidence. `stage` and `replace` replace the key again.
            fleet: the evidence of the instances, which must prove that they are ready.
            dry_run: write nothing.

        Returns:
            What happened. A refusal and an error of the manager are results as well.
        """
        known = log.records if log else ()
        writable = None if dry_run else log
        result = StepResult(policy, None if step == "replace" else step)
        try:
            stored = self._store.within(ATTEMPT_SECONDS, lambda: self._store.current(ATTEMPT_SECONDS))
            result.now = self._time_of(stored, step, result.now)
            keys = contain(lambda: stored_keys(policy, stored.opened(), stored.written_at))
            if not (is_now and step in _REPEATABLE):
                self._require_environment(policy, keys, known)
            result.recovered = _append_records(unrecorded(keys.step, known), writable, result)
            if step != "replace":
                self._require_newest(keys, known)
            of_secret = rotations(known, policy.name)
            dates = [record.recorded_at for record in of_secret if record.fingerprint == keys.slots.current]
            result.keys, result.step = keys, step or due(policy, keys, next(iter(dates), None), result.now)
            if result.step and _is_to_be_taken(
                result, result.step, keys, is_asked=step is not None, is_now=is_now, fleet=fleet
            ):
                self._write(result, result.step, keys, stored, known, writable, dry_run=dry_run)
        except ManagerError as error:
            result.outcome, result.may_be_written = "refused", error.is_temporary and bool(result.fields)
            result.findings = [source_finding(self._policies, self._store.name, error)]
        except StepRefusedError as error:
            result.outcome, result.refusal = "refused", error.problem
        return result

    def _time_of(self, stored: Stored, step: StepName | None, now: datetime) -> datetime:
        """Return the time of a step. An emergency does not wait for a clock that is right."""
        if stored.read_at is None or abs(stored.read_at - now) <= MAX_SKEW:
            return now
        if step != "replace":
            clocks = f"{iso_utc(now)}, and that of {self._store.name} {iso_utc(stored.read_at)}"
            raise StepRefusedError(Problem(f"this machine's clock is {clocks}", "set the clock that is wrong"))
        return stored.read_at

    def _require_environment(self, policy: SecretPolicy, keys: StoredKeys, known: Sequence[Record]) -> None:
        """Refuse a step for another environment than that of the keys."""
        recorded = recorded_environments(keys.slots.current, policy.name, known)
        where = (keys.step and keys.step.last.environment) or (recorded[-1] if recorded else None)
        if where not in {None, self._environment}:
            message = f"{policy.name} in {self._store.name} is of the environment {where}"
            other = f"correct --to (if {where} is wrong: rotate stage --now corrects it)"
            raise StepRefusedError(Problem(message, f"pass --environment {where}, or {other}"))

    def _require_newest(self, keys: StoredKeys, known: Sequence[Record]) -> None:
        """Refuse a step from a version that is older than the operations log."""
        newer = later(keys, known)
        if newer and not is_state_after(newer, keys):
            what = f"is at an older step than the operations log ({record_in_words(newer)})"
            raise StepRefusedError(
                Problem(f"{self._store.name} {what}", "compare the versions in the manager, and restore the right one")
            )

    def _write(  # noqa: PLR0917 - what it needs of `take`
        self,
        result: StepResult,
        step: StepName,
        keys: StoredKeys,
        stored: Stored,
        known: Sequence[Record],
        log: OperationsLog | None,
        *,
        dry_run: bool,
    ) -> None:
        """Make the new version, check it, write it and record it."""
        store = self._store
        unfinished = store.within(ATTEMPT_SECONDS, lambda: store.unfinished(ATTEMPT_SECONDS))
        new, names, done, alerts = contain(partial(self._new_version, result, step, keys, stored, unfinished, known))
        if step in {"promote", "back"}:
            self._require_new(step, keys, done.last, known)
        result.fields = names
        if dry_run:
            result.outcome = "would-be-done"
            return
        store.within(ATTEMPT_SECONDS, lambda: store.write(new, stored, ATTEMPT_SECONDS))
        result.outcome, result.rotated, result.findings = "done", done.last, alerts
        result.is_first = bool(known) and self._environment not in count_by_environment(known)
        result.records = _append_records(done.records, log, result)

    def _require_new(self, step: StepName, keys: StoredKeys, new: Record, known: Sequence[Record]) -> None:
        """Refuse a key that the operations log forbids: one that was revoked, is old, or is used elsewhere."""
        of_secret = [record.fingerprint for record in rotations(known, new.secret, self._environment)]
        withdrawn = next((key for key in reversed(of_secret) if key != keys.slots.current), None)
        is_again = keys.step is not None and keys.step.step == "back" and keys.slots.next == withdrawn
        if why := conflict(new, known, is_current=is_again or step == "back"):
            raise StepRefusedError(Problem(why, self._stage_again(new.subject)))

    def _new_version(  # noqa: PLR0917 - as above
        self,
        result: StepResult,
        step: StepName,
        keys: StoredKeys,
        stored: Stored,
        unfinished: Stored | None,
        known: Sequence[Record],
    ) -> tuple[SealedStr, list[str], LastStep, list[Finding]]:
        """Return the fields of the new version, which of them change, the step, and the alerts that stay.

        It runs inside `contain()`. An interrupted write of the same step is used again.
        """
        policy, now = result.policy, result.now
        fields = stored.opened()
        before = self._check(fields, policy, step)
        refused = [
            alert for alert in before.alerts if (step, alert.secret, alert.slot) == ("promote", policy.name, "next")
        ]
        if refused:
            message = f"the next key of {policy.name} is not accepted by the check {refused[0].check}"
            raise StepRefusedError(Problem(message, self._stage_again(policy.name)))
        keys = keys._replace(revoked_from=_earliest_revocation(keys, before, known))
        made = unfinished.opened() if unfinished else {}
        continued = unfinished_step(step, policy, keys, fields, made, now=now)
        if continued is None or continued.last.environment != self._environment:
            continued, made = None, changed_fields(step, policy, fields, keys, now)
        after = self._check(made, policy, step)
        earlier = {(alert.check, alert.secret, alert.message) for alert in before.alerts}
        result.findings = [alert for alert in after.alerts if (alert.check, alert.secret, alert.message) not in earlier]
        if result.findings:
            raise StepRefusedError(Problem("the new version would have these alerts", self._stage_again(policy.name)))
        delivered = {status.secret for status in after.secrets if status.source == self._store.name}
        alerts = [alert for alert in after.alerts if alert.secret in delivered]
        names = sorted(name for name in {*fields, *made} - {ROTATION_RECORD} if fields.get(name) != made.get(name))
        if unfinished and continued:
            return unfinished.fields, names, continued, alerts
        status = next(status for status in after.secrets if status.secret == policy.name)
        done = last_step(step, keys, status, now, **self._who)
        return sealed(with_step(made, policy.name, done)), names, done, alerts

    def _check(self, fields: Fields, policy: SecretPolicy, step: StepName) -> Report:
        """Return the report on fields, as a service that reads nothing else would have it."""
        try:
            delivery = delivery_of(self._store.name, fields, names_of(self._policies))
        except ManagerError:
            if step != "replace":
                raise
            # An emergency needs only its own fields.
            delivery = delivery_of(self._store.name, fields, names_of([policy]))
        report, _ = examine(
            self._model,
            environment=Environment({}),
            config_dir=self._config_dir,
            require_env_only=True,
            managers=[delivery],
        )
        return report

    def _stage_again(self, secret: str) -> str:
        """Return the remedy that replaces the next key."""
        return f"run {command('rotate', 'stage', secret, *self._options, '--now')}"


def _is_to_be_taken(
    result: StepResult, step: StepName, keys: StoredKeys, *, is_asked: bool, is_now: bool, fleet: Fleet | None
) -> bool:
    """Check whether a step is neither done nor forbidden. The result gets the reason.

    `is_asked`: the operator named the step. One that is only due may wait without being refused.
    """
    if is_done(step, keys, result.now) and not (is_now and step in _REPEATABLE):
        return False
    obstacle = next(obstacles(step, result.policy, keys, result.now, is_now=is_now, fleet=fleet), None)
    is_unlogged = bool(result.unrecorded) and step != "replace"
    if obstacle is None and not is_unlogged:
        return True
    is_not_yet = obstacle is not None and obstacle.severity is Severity.NOTE and not is_asked
    result.refusal, result.outcome = obstacle, "nothing-to-do" if is_not_yet else "refused"
    return False


def _earliest_revocation(keys: StoredKeys, report: Report, known: Sequence[Record]) -> datetime | None:
    """Return from when on the current key is revoked: by the manager, by a list of this machine, or by the log."""
    current = keys.slots.current
    if current is None:
        return None
    listed = report.revocation_list.begin(current) if report.revocation_list else None
    recorded = datetime.min.replace(tzinfo=UTC) if current in revoked(known) else None
    return min(filter(None, (keys.revoked_from, listed, recorded)), default=None)


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
        result.unrecorded.append(str(error) if isinstance(error, FileError) else reason(error))
        return ()
