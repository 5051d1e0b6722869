"""The steps of `rotate` that are one write of the secret manager each (policy sections 3 and 4)."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli.log import find_log, recorded_line
from robodj_secretguard.cli.options import Commands, Request, add_command, fleet_of, given, model_of, policy_of
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    MODEL,
    Result,
    fail,
    finding_text,
)
from robodj_secretguard.errors import FileError
from robodj_secretguard.lifecycle.steps import (
    MIN_AGE,
    Rotator,
    StepResult,
    StoredKeys,
    require_consistent,
    step_in_words,
    with_steps,
)
from robodj_secretguard.managers.delivery import open_store
from robodj_secretguard.secret.texts import COMMAND_INDENT, PROGRAM, RED, ascii_text, command, mark, option
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from robodj_secretguard.lifecycle.operations_log import OperationsLog
    from robodj_secretguard.lifecycle.records import StepName
    from robodj_secretguard.secret.policy import SecretPolicy

_STEP_TEXTS: Final[dict[StepName, tuple[str, str]]] = {
    "stage": ("store a next key of {}", "{} already has a next key (--now replaces it)"),
    "promote": ("make the next key of {} the current one", "the next key of {} is already promoted"),
    "retire": ("remove the previous key of {}", "{} has no previous key"),
    "back": ("make the previous key of {} the current one again", "the promotion of {} is already undone"),
    "replace": ("replace the current key of {}, and revoke it", "the key of {} was replaced less than an hour ago"),
}
"""By step: what it does, and what is so where it is done already."""
_ANOTHER_NEXT: Final = "To replace the next key by another one, run rotate stage with --now."
_RESTART: Final = "Restart the instances that do not refresh their keys, one after another. The others need no restart."
_COMPLETE: Final = ("When the functions that use the key still work, complete the record:", "{complete}")
_NEXT_LINES: Final[dict[StepName, tuple[str, ...]]] = {
    "stage": (_RESTART, "After {hour}, run:", "{promote}"),
    "promote": (_RESTART, *_COMPLETE, "After {until}, run:", "{retire}"),
    "retire": ("Earlier versions in the manager still have this key. Delete them when no stored data needs it.",),
    "back": (_RESTART, f"This key expires at {{expires}}. Promote the next key again before that. {_ANOTHER_NEXT}"),
    "replace": (f"Everybody has to sign in again. {_RESTART.replace(', one after another', ' now')}", *_COMPLETE),
}
"""By step: what the operator does next."""


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
    shared: dict[str, dict[str, Any]] = {
        "--to": {
            "required": True,
            "metavar": "SOURCE",
            "help": "the secret manager: vault:MOUNT/PATH or aws:SECRET_ID",
        },
        "--dry-run": {**now, "help": "write nothing, and print what would be written"},
    }
    for step, (description, own) in wanted.items():
        words = f"rotate {step}{'' if step == 'run' else ' secret.key'} --to vault:secret/robodj"
        add_command(
            group,
            step,
            _rotate,
            required=("--environment", "--operator"),
            options=("--reason", "--ticket", "--operations-log", "--config-dir", "--model", "--format"),
            own={**own, **shared},
            defaults={"step": None if step == "run" else step, "emergency": False, "now": False, "fleet": None},
            description=f"{description} It is one write, which fails if somebody else has written in the meantime.",
            examples=(f"{words} \\\n      --environment prod --operator 'Ada Lovelace'",),
            statuses={
                "0": "done, or there was nothing to do",
                "1": "refused, not yet, or somebody else was faster; with --dry-run: there is something to do",
                "2": "usage error, or the operations log cannot be written",
                "75": "the secret manager did not answer in time; run it again",
            },
        )


def _rotate(
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
    require_consistent("replace" if emergency else step, is_now=now, fleet=fleet, name=name, reason=reason)
    named = tuple(model.secret_policies.values()) if name is None else (policy_of(model, name),)
    policies = with_steps(
        named,
        needs_overlap=name is None or step is not None,  # the step that is due for NAME, and an emergency, need none
        options=[*(["--emergency"] if emergency else []), *given(request, "config_dir", "model")],
    )
    store = open_store(to, tuple(model.secret_policies.values()))
    log = find_log(request, model)
    log_options = given(request, "operations_log", "config_dir", "model")
    who = ("--environment", environment, *option("--operator", operator))
    options = ("--to", to, *who, *log_options)
    take = partial(
        Rotator(
            model,
            store,
            environment=environment,
            operator=operator,
            ticket=ticket,
            reason=reason,
            config_dir=request.config_dir,
            options=options,
        ).take,
        step="replace" if emergency else step,
        is_now=now,
        fleet=fleet_of(fleet),
        dry_run=dry_run,
    )
    # An hour after an emergency, the same command would replace the key once more.
    again = command("rotate", "run", policies[0].name, *options) if emergency else ""
    results, stderr = _take_all(take, policies, log, again, dry_run=dry_run)
    after = partial(_next_lines, options, ("exec", "--from", to, *log_options, "--", PROGRAM), who, log_options)
    documents = [result.as_dict() for result in results]
    statuses = [EXIT_USAGE if stderr else EXIT_CLEAN, *map(_exit_status, results)]
    return Result(
        next((status for status in (EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_ALERTS) if status in statuses), EXIT_CLEAN),
        [*(line for result in results for line in (*_result_lines(result, store.name, environment, after), "")), MODEL],
        lambda: {"kind": "rotation-steps", "source": store.name, "dry_run": dry_run, "results": documents},
        [f"{PROGRAM}: {line}" for line in stderr],
        events=[record for result in documents for record in result["records"]],
    )


def _take_all(
    take: Callable[..., StepResult],
    policies: Sequence[SecretPolicy],
    log: OperationsLog,
    again: str,
    *,
    dry_run: bool,
) -> tuple[list[StepResult], list[str]]:
    """Take a step for each secret. Return what happened, and why it was not recorded.

    Only an emergency, which has a command to run `again`, does not wait for the operations log.
    """
    results: list[StepResult] = []
    try:
        with nullcontext(log.read_if_any()) if dry_run else log.locked():
            for policy in policies:
                results.append(take(policy, log=log))  # noqa: PERF401 - an error ends it, and keeps these
    except FileError as error:
        if again:
            return [take(policies[0])], [
                f"this was not recorded: {log.name}: {error}; fix that, then run {again}: it records the step"
            ]
        is_begun = any(result.outcome == "done" for result in results)
        fail(f"{'not every step was taken' if is_begun else 'nothing was written'}: {log.name}: {error}")
    return results, [
        f"the manager has this step, but it was not recorded: {why}; then run {again or 'this command again'}"
        for result in results
        for why in result.unrecorded
    ]


def _exit_status(result: StepResult) -> int:
    if any(finding.check is Check.UNAVAILABLE for finding in result.findings):
        return EXIT_UNAVAILABLE
    return EXIT_ALERTS if result.outcome in {"refused", "would-be-done"} else EXIT_CLEAN


def _result_lines(
    result: StepResult, source: str, environment: str, after: Callable[[StepResult], Iterator[str]]
) -> list[str]:
    """Return what happened to a secret, and what the operator does next."""
    name, refusal, texts = result.policy.name, result.refusal, [*map(finding_text, result.findings)]
    does, is_done = (text.format(name) for text in _STEP_TEXTS[result.step or "stage"])
    lines = [*map(recorded_line, result.recovered)]
    if result.outcome == "done":
        first = [f"There was no earlier record of the environment {environment}."] if result.is_first else []
        alerts = ["No service takes this version before this is fixed:", *texts] if texts else []
        lines += [f"Done: {does} in {source}.", f"  changed: {', '.join(result.fields)}", *first]
        return [*lines, *map(recorded_line, result.records), *after(result), *alerts]
    if result.outcome == "would-be-done":
        return [*lines, f"Would {does} in {source}: {', '.join(result.fields)}."]
    if refusal:
        # The fixes of the findings would be about fields that are not there yet.
        lines += [finding.lines[0] for finding in result.findings]
        label = mark("REFUSED:", RED) if result.outcome == "refused" else "Not yet:"
        return [*lines, f"{label} {refusal.message}", f"  fix: {refusal.remedy}"]
    if result.outcome == "refused":
        is_lost = result.fields and _exit_status(result) == EXIT_UNAVAILABLE  # the manager did not answer to the write
        may_be = ["It may have been written. Run this command again: it does nothing twice."] if is_lost else []
        return [*lines, *may_be, *texts]
    if result.step is None:
        return [*lines, _nothing_due(result.policy, result.keys)]
    last = result.keys.step
    who = f" (last step: {step_in_words(last)} by {ascii_text(last.last.operator or 'nobody')})" if last else ""
    return [*lines, f"Nothing to do: {is_done} in {source}{who}."]


def _nothing_due(policy: SecretPolicy, keys: StoredKeys) -> str:
    if "next" in keys.filled:
        return f"Nothing is due for {policy.name}: its promotion was undone. {_ANOTHER_NEXT}"
    begins = keys.expires_at and keys.expires_at - policy.warn_before
    until = keys.slots.previous_until if "previous" in keys.filled else begins
    return f"Nothing is due for {policy.name}{f' until {iso_utc(until)}' if until else ''}."


def _next_lines(
    options: Sequence[str], start: Sequence[str], who: Sequence[str], log_options: Sequence[str], result: StepResult
) -> Iterator[str]:
    """Yield what the operator does next."""
    name, new = result.policy.name, result.rotated
    texts = {
        "hour": iso_utc(result.now + MIN_AGE),
        "until": iso_utc(new.replaced_until) if new and new.replaced_until else "",
        "expires": iso_utc(new.expires_at) if new and new.expires_at else "",
        "promote": f"{COMMAND_INDENT}{command('rotate', 'promote', name, *options)}",
        "retire": f"{COMMAND_INDENT}{command('rotate', 'retire', name, *options)}",
        "complete": COMMAND_INDENT
        + command(*start, "rotate", "record", name, *who, "--attest", "startup", "--attest", "functions", *log_options),
    }
    lines = _NEXT_LINES[result.step or "stage"]
    if result.step == "promote" and not texts["until"]:  # there is no previous key to retire
        lines = lines[:-2]
    yield from (line.format_map(texts) for line in lines)
