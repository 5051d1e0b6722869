"""The steps of `rotate` that are one write of the secret manager each (policy sections 3 and 4)."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli.delivery import failed, names_of, opened_store
from robodj_secretguard.cli.log import find_log, recorded_line, recorded_log
from robodj_secretguard.cli.options import add_command, directory_of, fleet_of, given, model_of, policy_of
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    MODEL,
    Result,
    fail,
    failed_status,
    finding_text,
)
from robodj_secretguard.common.files import raise_file_error, reason
from robodj_secretguard.errors import FileError, SecretGuardError
from robodj_secretguard.lifecycle.rotation import compared, conflict, recorded_environments, revoked, rotations
from robodj_secretguard.lifecycle.steps import (
    MIN_AGE,
    changed,
    changes,
    continues,
    described,
    described_record,
    due,
    is_at,
    is_done,
    keys_of,
    last_step,
    last_steps,
    later,
    obstacles,
    unrecorded,
    with_step,
)
from robodj_secretguard.managers.manager import ATTEMPT_SECONDS, Manager, ManagerError
from robodj_secretguard.managers.store import Stored, opened, sealed
from robodj_secretguard.secret.sealed import contain
from robodj_secretguard.secret.texts import COMMAND_INDENT, PROGRAM, RED, ascii_text, command, mark, option
from robodj_secretguard.startup.guard import examine
from robodj_secretguard.startup.readings import Environment
from robodj_secretguard.startup.rules import Problem, Severity
from robodj_secretguard.startup.variables import ROTATION_RECORD, iso_utc

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from robodj_secretguard.cli.options import Commands, Request
    from robodj_secretguard.fleet.verdict import Fleet
    from robodj_secretguard.lifecycle.operations_log import OperationsLog
    from robodj_secretguard.lifecycle.records import LastStep, Record, StepName
    from robodj_secretguard.lifecycle.steps import Keys
    from robodj_secretguard.managers.store import Store
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.secret.sealed import SealedStr
    from robodj_secretguard.startup.report import Finding, Report
    from robodj_secretguard.startup.settings import SecretSettings

_TEXTS: Final[dict[StepName, tuple[str, str]]] = {
    "stage": ("store a next key of {}", "{} already has a next key (--now replaces it)"),
    "promote": ("make the next key of {} the current one", "the next key of {} is already promoted"),
    "retire": ("remove the previous key of {}", "{} has no previous key"),
    "back": ("make the previous key of {} the current one again", "the promotion of {} is already undone"),
    "replace": ("replace the current key of {}, and revoke it", "the key of {} was replaced less than an hour ago"),
}
"""By step: what it does, and what is so where it is done already."""
_STATUSES: Final = {
    "0": "done, or there was nothing to do",
    "1": "refused, not yet, or somebody else was faster; with --dry-run: there is something to do",
    "2": "usage error, or the operations log cannot be written",
    "75": "the secret manager did not answer in time; run it again",
}
MAX_SKEW: Final = timedelta(minutes=2)
"""How much the clocks of this machine and of the manager may differ."""
_ANOTHER_NEXT: Final = "To replace the next key by another one, run rotate stage with --now."
_ONE_WRITE: Final = "It is one write, which fails if somebody else has written in the meantime."


def add(group: Commands) -> None:
    """Add the commands."""
    name = {"name": {"metavar": "NAME", "help": "the secret, such as secret.key"}}
    now: dict[str, Any] = {"action": "store_true"}

    def fleet(what: str) -> dict[str, str]:
        return {"metavar": "FILE", "help": f"the output of fleet status --format json, which must prove {what}"}

    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "stage": (
            "Store a next key in the secret manager. Every instance gets to know it before it is promoted.",
            {**name, "--now": {**now, "help": "replace a next key that is there, by another one"}},
        ),
        "promote": (
            "Make the next key current, and the current key previous. It must have been in the manager for an hour.",
            {
                **name,
                "--fleet": fleet("that every instance has the next key; then no hour is needed"),
                "--now": {
                    **now,
                    "help": "do not wait: every instance has it, and no previous key is needed",
                },
            },
        ),
        "retire": (
            "Remove the previous key from the secret manager, after its deadline.",
            {
                **name,
                "--fleet": fleet("that every instance signs with the current key"),
                "--now": {**now, "help": "do not wait: what the previous key has signed is refused from now on"},
            },
        ),
        "back": (
            "Undo a promotion. The previous key is current again, and the current key is the next one.",
            {**name, "--now": {**now, "help": "give up the next key that is there: what it has signed is refused"}},
        ),
        "run": (
            "Take the step that is due. With --emergency, replace the current key without an overlap, and revoke it.",
            {
                "name": {"nargs": "?", "metavar": "NAME", "help": "the secret (default: each one with an overlap)"},
                "--emergency": {**now, "help": "others may know the current key: replace and revoke it in one write"},
                "--now": {**now, "help": "with --emergency: also replace a key that is less than an hour old"},
            },
        ),
    }
    to = {"required": True, "metavar": "SOURCE", "help": "the secret manager: vault:MOUNT/PATH or aws:SECRET_ID"}
    dry = {"action": "store_true", "help": "write nothing, and print what would be written"}
    for step, (description, own) in wanted.items():
        words = f"rotate {step}{'' if step == 'run' else ' secret.key'} --to vault:secret/robodj"
        add_command(
            group,
            step,
            _run,
            required=("--environment", "--operator"),
            options=("--reason", "--ticket", "--operations-log", "--config-dir", "--model", "--format"),
            own={**own, "--to": to, "--dry-run": dry},
            defaults={"step": None if step == "run" else step, "emergency": False, "now": False, "fleet": None},
            description=f"{description} {_ONE_WRITE}",
            examples=(f"{words} \\\n      --environment prod --operator 'Ada Lovelace'",),
            statuses=_STATUSES,
        )


def _run(
    request: Request,
    *,
    environment: str,
    operator: str,
    ticket: str | None,
    reason: str | None,
    step: StepName | None,
    name: str | None,
    to: str,
    fleet: str | None,
    emergency: bool,
    now: bool,
    dry_run: bool,
) -> Result:
    model = model_of(request)
    declared = tuple(model.secret_policies.values())
    if fleet and now:
        fail("pass --fleet or --now: --now does not wait for evidence")
    if emergency and (name is None or reason is None):
        fail("--emergency needs NAME and --reason")
    if now and not (step or emergency):
        fail("rotate run takes --now only with --emergency; the single steps have their own --now")
    named = declared if name is None else (policy_of(model, name),)
    needs_overlap = step is not None or name is None
    policies = [each for each in named if not each.is_opaque and (each.overlap or not needs_overlap)]
    if not policies:
        why = "a vendor issues it" if named[0].is_opaque else "it has no overlap"
        words = (*["--emergency"] * emergency, *given(request, "config_dir", "model"))
        fail(f"{named[0].name} has no such steps: {why}; run {command('rotate', 'plan', named[0].name, *words)}")
    store = opened_store(to, declared)
    where = find_log(request, model)
    begun = partial(
        _Step,
        request,
        model,
        store,
        fleet=fleet_of(fleet),
        step=step,
        to=to,
        emergency=emergency,
        now=now,
        dry_run=dry_run,
        environment=environment,
        operator=operator,
        ticket=ticket,
        reason=reason,
    )
    steps = [begun(policy) for policy in policies]
    unlogged = []
    known = recorded_log(request, model).records if dry_run else ()
    try:
        with nullcontext() if dry_run else where.locked() as log:
            if log and log.last and datetime.now(UTC) < log.last.recorded_at and not emergency:
                raise_file_error("its last record is later than this machine's clock; set the clock")
            for each in steps:
                each.take(log.records if log else known, log)
    except FileError as error:
        if not emergency:
            is_begun = any(each.document["outcome"] == "done" for each in steps)
            fail(f"{'not every step was taken' if is_begun else 'nothing was written'}: {where.name}: {error}")
        again = command("rotate", "run", policies[0].name, *steps[0].common)
        unlogged = [f"this was not recorded: {where.name}: {error}; fix that, then run {again}: it records the step"]
        steps[0].take((), None)
    document: dict[str, Any] = {
        "kind": "rotation-steps",
        "source": store.name,
        "dry_run": dry_run,
        "results": [each.document for each in steps],
    }
    stderr = [*unlogged, *(line for each in steps for line in each.stderr)]
    statuses = [*([EXIT_USAGE] if stderr else []), *(each.status for each in steps)]
    return Result(
        next((each for each in (EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_ALERTS) if each in statuses), EXIT_CLEAN),
        [*(line for each in steps for line in (*each.lines, "")), MODEL],
        lambda: document,
        [f"{PROGRAM}: {line}" for line in stderr],
        events=[record for each in steps for record in each.document["records"]],
    )


class _Fields(Manager):
    """Fields that were read, or that are to be written: they are checked like those of any manager."""

    def __init__(self, name: str, policies: Sequence[SecretPolicy], fields: SealedStr) -> None:
        super().__init__(name, "", policies)
        self._fields = fields

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:  # noqa: ARG002
        return opened(self._fields)


class _Step:
    """One step for one secret, and what happened."""

    def __init__(
        self,
        request: Request,
        model: type[SecretSettings],
        store: Store,
        policy: SecretPolicy,
        *,
        fleet: Fleet | None,
        step: StepName | None,
        to: str,
        emergency: bool,
        now: bool,
        dry_run: bool,
        environment: str,
        operator: str,
        ticket: str | None,
        reason: str | None,
    ) -> None:
        self._request, self._model, self._store, self._policy = request, model, store, policy
        self._fleet, self._step, self._source = fleet, step, to
        self._is_emergency, self._is_now, self._is_dry_run = emergency, now, dry_run
        self._environment, self._operator, self._ticket, self._reason = environment, operator, ticket, reason
        self._who = ("--environment", environment, *option("--operator", operator))
        self._options = given(request, "operations_log", "config_dir", "model")
        self.common = ("--to", to, *self._who, *self._options)
        self._policies = tuple(model.secret_policies.values())
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._log: OperationsLog | None = None
        self.lines: list[str] = []
        self.stderr: list[str] = []
        self.status = EXIT_CLEAN
        self.document: dict[str, Any] = {
            "secret": policy.name,
            "step": step,
            "outcome": "nothing-to-do",
            "fields": [],
            "records": [],
            "refusals": [],
            "findings": [],
        }

    def take(self, known: Sequence[Record], log: OperationsLog | None) -> None:
        """Take the step. `known` has the records of the log; `log` is `None` where nothing is recorded."""
        self._log = log
        try:
            self._choose(self._store.within(ATTEMPT_SECONDS, lambda: self._store.current(ATTEMPT_SECONDS)), known)
        except ManagerError as error:
            report = failed(self._policies, self._store, error)
            self.status, self.document["outcome"] = failed_status(report, EXIT_ALERTS), "refused"
            self._show(report.findings)
        except _StoppedError as error:
            self._stop(error.why)

    def _choose(self, stored: Stored, known: Sequence[Record]) -> None:
        """Take the step, unless it is done, not due or not allowed."""
        policy, is_now = self._policy, self._is_now
        step: StepName | None = "replace" if self._is_emergency else self._step
        if stored.read_at and abs(stored.read_at - self._now) > MAX_SKEW:
            if step != "replace":
                clocks = f"{iso_utc(self._now)}, and that of {self._store.name} {iso_utc(stored.read_at)}"
                raise _StoppedError(Problem(f"this machine's clock is {clocks}", "set the clock that is wrong"))
            self._now = stored.read_at
        now = self._now
        keys = contain(lambda: keys_of(policy, stored.opened(), stored.written_at))
        if not (is_now and step in {"stage", "replace"}):
            self._require_environment(keys, known)
        self._record(unrecorded(keys.step, known))
        newer = later(keys, known)
        if newer and not is_at(keys, newer) and step != "replace":
            what = f"{self._store.name} is at an older step than the operations log ({described_record(newer)})"
            raise _StoppedError(Problem(what, "compare the versions in the manager, and restore the right one"))
        if is_own_choice := step is None:
            dates = [each.recorded_at for each in rotations(known, policy.name) if each.fingerprint == keys.current]
            step = due(policy, keys, next(iter(dates), None), now)
        self.document["step"] = step
        if step is None:
            self.lines += _nothing_due(policy, keys)
        elif is_done(step, keys, now) and not (step in {"stage", "replace"} and is_now):
            by = ascii_text(keys.step.last.operator or "nobody") if keys.step else ""
            last = f" (last step: {described(keys.step)} by {by})" if keys.step else ""
            self.lines.append(f"Nothing to do: {_TEXTS[step][1].format(policy.name)} in {self._store.name}{last}.")
        elif obstacle := next(obstacles(step, policy, keys, now, is_now=is_now, fleet=self._fleet), None):
            is_not_yet = is_own_choice and obstacle.severity is Severity.NOTE
            self._stop(obstacle, status=EXIT_CLEAN if is_not_yet else EXIT_ALERTS)
        elif self.stderr and step != "replace":  # the log cannot be written
            self.document["outcome"] = "refused"
        else:
            self._take(step, stored, keys, known)

    def _require_environment(self, keys: Keys, known: Sequence[Record]) -> None:
        """Refuse a step for another environment than that of the keys."""
        name, given_name = self._policy.name, self._environment
        recorded = keys.step and keys.step.last.environment
        where = recorded or next(iter(recorded_environments(keys.current, name, known)[-1:]), None)
        if where not in {None, given_name}:
            what = f"{name} in {self._store.name} is of the environment {where}"
            fix = f"pass --environment {where}, or correct --to (if {where} is wrong: rotate stage --now corrects it)"
            raise _StoppedError(Problem(what, fix))

    def _take(self, step: StepName, stored: Stored, keys: Keys, known: Sequence[Record]) -> None:
        policy, store = self._policy, self._store
        fields, done, after = self._new_version(step, stored, keys, known)
        if step in {"promote", "back"}:
            self._require_new(step, done.last, keys, known)
        names = contain(lambda: _different(stored.opened(), opened(fields)))
        self.document["fields"] = names
        if self._is_dry_run:
            self.document["outcome"], self.status = "would-be-done", EXIT_ALERTS
            self.lines.append(f"Would {_TEXTS[step][0].format(policy.name)} in {store.name}: {', '.join(names)}.")
            return
        try:
            store.within(ATTEMPT_SECONDS, lambda: store.write(fields, stored, ATTEMPT_SECONDS))
        except ManagerError as error:
            if error.is_temporary:
                self.lines.append("It may have been written. Run this command again: it does nothing twice.")
            raise
        self.document["outcome"] = "done"
        self.lines.append(f"Done: {_TEXTS[step][0].format(policy.name)} in {store.name}.")
        self.lines.append(f"  changed: {', '.join(names)}")
        if known and self._environment not in compared(known):
            self.lines.append(f"There was no earlier record of the environment {self._environment}.")
        self._record(done.records)
        self.lines += self._next_lines(step, done.last)
        delivered = {each.secret for each in after.secrets if each.source == store.name}
        if others := [each for each in after.alerts if each.secret in delivered]:
            self.lines.append("No service takes this version before this is fixed:")
            self._show(others)

    def _require_new(self, step: StepName, new: Record, keys: Keys, known: Sequence[Record]) -> None:
        """Refuse a key that the operations log forbids: one that was revoked, is old, or is used elsewhere."""
        of_secret = rotations(known, self._policy.name, self._environment)
        withdrawn = next((each.fingerprint for each in reversed(of_secret) if each.fingerprint != keys.current), None)
        is_again = keys.step is not None and keys.step.step == "back" and keys.next == withdrawn
        if why := conflict(new, known, is_current=is_again or step == "back"):
            raise _StoppedError(Problem(why, self._another()))

    def _new_version(
        self, step: StepName, stored: Stored, keys: Keys, known: Sequence[Record]
    ) -> tuple[SealedStr, LastStep, Report]:
        """Return the fields of the new version, the step with its records, and the report on it.

        An interrupted write of the same step is used again.
        """
        policy, store, now = self._policy, self._store, self._now
        before = self._report(stored.fields, step)
        next_alerts = [each for each in before.alerts if (each.secret, each.slot) == (policy.name, "next")]
        if step == "promote" and next_alerts:
            what = f"the next key of {policy.name} is not accepted by the check {next_alerts[0].check}"
            raise _StoppedError(Problem(what, self._another()))
        listed = before.revocation_list.begin(keys.current) if before.revocation_list else None
        recorded = datetime.min.replace(tzinfo=UTC) if keys.current in revoked(known) else None
        keys = keys._replace(ends=min(filter(None, (keys.ends, listed, recorded)), default=None))

        def changed_fields() -> SealedStr:
            fields = stored.opened()
            return sealed(changed(fields, changes(step, policy, fields, keys, now)))

        def is_continued(unfinished: Stored) -> bool:
            made = unfinished.opened()
            is_same = continues(step, policy, made, stored.opened(), now)
            return is_same and last_steps(made)[policy.name].last.environment == self._environment

        unfinished = store.within(ATTEMPT_SECONDS, lambda: store.unfinished(ATTEMPT_SECONDS))
        is_again = unfinished is not None and contain(partial(is_continued, unfinished))
        made = unfinished.fields if unfinished and is_again else contain(changed_fields)
        after = self._report(made, step)
        earlier = {(each.check, each.secret, each.message) for each in before.alerts}
        if alerts := [each for each in after.alerts if (each.check, each.secret, each.message) not in earlier]:
            self.document["findings"] += [each.as_dict() for each in alerts]
            self.lines += [each.lines[0] for each in alerts]  # a fix would be about fields that are not there yet
            raise _StoppedError(Problem("the new version would have these alerts", self._another()))
        if is_again:
            return made, contain(lambda: last_steps(opened(made))[policy.name]), after
        status = next(each for each in after.secrets if each.secret == policy.name)
        done = last_step(
            step,
            keys,
            status,
            now,
            environment=self._environment,
            operator=self._operator,
            ticket=self._ticket,
            reason=self._reason,
        )
        return contain(lambda: sealed(with_step(opened(made), policy.name, done))), done, after

    def _report(self, fields: SealedStr, step: StepName) -> Report:
        """Return the report on fields, as a service that reads nothing else would have it."""
        candidate = _Fields(self._store.name, self._policies, fields)
        try:
            candidate.load(names_of(self._policies), time.monotonic(), lambda _: None)
        except ManagerError:
            if step != "replace":
                raise
            # An emergency needs only its own fields.
            candidate.load(names_of([self._policy]), time.monotonic(), lambda _: None)
        directory, named_by = directory_of(self._request, self._model)
        report, _ = examine(
            self._model,
            environment=Environment({}),
            config_dir=directory if named_by else None,
            require_env_only=True,
            managers=[candidate],
        )
        return report

    def _record(self, records: Sequence[Record]) -> None:
        """Append records to the operations log. The manager has them, so a repetition appends what is missing."""
        if self._log is None or not records:
            return
        now, latest = datetime.now(UTC), max(each.recorded_at for each in records)
        try:
            if now < latest:  # each repetition would record it again
                raise_file_error(f"the clock ({iso_utc(now)}) is earlier than {iso_utc(latest)}; set the clock")
            appended = self._log.append(records)
        except OSError as error:
            why = str(error) if isinstance(error, FileError) else reason(error)
            again = "this command again"
            if self._is_emergency:  # after an hour, the same command would replace the key once more
                again = command("rotate", "run", self._policy.name, *self.common)
            self.stderr.append(f"the manager has this step, but it was not recorded: {why}; then run {again}")
            return
        self.document["records"] += [each.as_dict() for each in appended]
        self.lines += map(recorded_line, appended)

    def _stop(self, why: Problem, *, status: int = EXIT_ALERTS) -> None:
        """Report why a step was not taken."""
        self.status, self.document["outcome"] = status, "refused" if status else "nothing-to-do"
        self.document["refusals"] = [{"secret": self._policy.name, "reason": why.message, "remedy": why.remedy}]
        line = mark(f"REFUSED: {why.message}", RED) if status else f"Not yet: {why.message}"
        self.lines += [line, f"  fix: {why.remedy}"]

    def _show(self, findings: Sequence[Finding]) -> None:
        self.document["findings"] += [each.as_dict() for each in findings]
        self.lines += map(finding_text, findings)

    def _another(self) -> str:
        return f"run {command('rotate', 'stage', self._policy.name, *self.common, '--now')}"

    def _next_lines(self, step: StepName, record: Record) -> list[str]:
        """Return what the operator does next."""
        policy, options, now = self._policy, self._options, self._now
        restart = "Restart the instances without exec --watch, one after another. The others read it by themselves."
        complete = command(
            *("exec", "--from", self._source, *options, "--", PROGRAM, "rotate", "record", policy.name, *self._who),
            *("--attest", "startup", "--attest", "functions", *options),
        )
        after = ["When the functions that use the key still work, complete the record:", f"{COMMAND_INDENT}{complete}"]
        if step == "stage":
            promote = command("rotate", "promote", policy.name, *self.common)
            return [restart, f"After {iso_utc(now + MIN_AGE)}, run:", f"{COMMAND_INDENT}{promote}"]
        if step == "back":
            expires = iso_utc(record.expires_at) if record.expires_at else ""
            return [restart, f"This key expires at {expires}. Promote the next key again before that. {_ANOTHER_NEXT}"]
        if step == "retire":
            return ["Earlier versions in the manager still have this key. Delete them when no stored data needs it."]
        if step == "replace":
            return [f"Everybody has to sign in again. {restart.replace(', one after another', ' now')}", *after]
        retire = f"{COMMAND_INDENT}{command('rotate', 'retire', policy.name, *self.common)}"
        until = record.replaced_until
        return [restart, *after, *([f"After {iso_utc(until)}, run:", retire] if until else [])]


class _StoppedError(SecretGuardError):
    """A step was not taken."""

    def __init__(self, why: Problem) -> None:
        super().__init__(why.message)
        self.why = why


def _different(fields: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields that differ."""
    return sorted(each for each in {*fields, *new} - {ROTATION_RECORD} if fields.get(each) != new.get(each))


def _nothing_due(policy: SecretPolicy, keys: Keys) -> list[str]:
    if keys.next:
        return [f"Nothing is due for {policy.name}: its promotion was undone. {_ANOTHER_NEXT}"]
    until = keys.until if keys.previous else keys.expires_at and keys.expires_at - policy.warn_before
    return [f"Nothing is due for {policy.name}{f' until {iso_utc(until)}' if until else ''}."]
