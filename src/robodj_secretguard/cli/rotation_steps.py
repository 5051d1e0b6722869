"""The steps of `rotate`, from `stage` to `restore`: one write of a store each (policy sections 3 and 4)."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from pydantic import TypeAdapter, ValidationError

from robodj_secretguard.cli.log import find_log, recorded_line, who_of
from robodj_secretguard.cli.options import (
    Argument,
    Commands,
    Request,
    add_command,
    fleet_of,
    given,
    given_set_up,
    policy_of,
    read_input,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    MODEL,
    Result,
    fail,
    finding_text,
    is_terminal,
)
from robodj_secretguard.cli.revoke import leaked_key
from robodj_secretguard.errors import CheckFailedError, FileError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import StepName, Who
from robodj_secretguard.lifecycle.rotator import Rotator, StepResult, Wish, require_consistent, with_steps
from robodj_secretguard.lifecycle.runbook import Place, plan_after, plan_emergency, plan_lines, plan_proof
from robodj_secretguard.lifecycle.steps import StoredKeys, kid_of, step_in_words
from robodj_secretguard.managers.manager import open_store
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import (
    PROGRAM,
    RED,
    ascii_text,
    is_free_text,
    mark,
)
from robodj_secretguard.settings import setup_of
from robodj_secretguard.startup.directory import Policies
from robodj_secretguard.startup.inputs import iso_utc
from robodj_secretguard.startup.model_option import with_model
from robodj_secretguard.startup.rules import Check

MAX_VALUE_BYTES: Final = 1 << 16
_TEXTS_BY_NAME: Final = TypeAdapter(dict[str, SealedStr])
_TEXTS: Final[dict[StepName, tuple[str, str]]] = {
    "stage": ("store a next key of {}", "{} already has a next key (--now replaces it)"),
    "promote": ("make the next key of {} the current one", "the next key of {} is already promoted"),
    "retire": ("remove the previous key of {}", "{} has no previous key"),
    "back": ("make the previous key of {} the current one again", "the promotion of {} is already undone"),
    "replace": ("replace the current key of {}, and revoke the old one", "the leaked key of {} is already replaced"),
    "put": ("store a new value of {}", ""),
    "restore": ("put a key of {} back into its place", "{} has this key already"),
}
"""By step: what it does, and what is so where it is done already."""
_ANOTHER_NEXT: Final = "To replace the next key by another one, run rotate stage with --now."
_STEPS: Final[dict[str, tuple[str, dict[str, Argument]]]] = {
    "stage": (
        "Store a next key. Every instance gets to know it before it is promoted.",
        {"--now": "replace the next key that is there, or go on with an alert about something else"},
    ),
    "promote": (
        "Make the next key current, and the current key previous. The next key must have been stored for an hour.",
        {
            "--fleet": (
                "FILE",
                (
                    "the output of fleet --require has-next --format json: the proof that every instance has the"
                    " next key; then no hour is needed"
                ),
            ),
            "--now": "do not wait: every instance has the next key, and no previous key is needed",
        },
    ),
    "retire": (
        "Remove the previous key from the store, after its deadline.",
        {
            "--fleet": (
                "FILE",
                (
                    "the output of fleet --require moved --format json: the proof that every instance signs with"
                    " the current key"
                ),
            ),
            "--now": "do not wait: what the previous key has signed is refused from now on",
        },
    ),
    "back": (
        "Undo a promotion. The previous key is current again, and the current key is the next one.",
        {"--now": "give up the next key that is there: what it has signed is refused"},
    ),
    "run": (
        "Take the step that is due. With --emergency, take a leaked key away and revoke it.",
        {
            "--emergency": "others may know a key: a leaked current or next key is replaced, a previous one is removed",
            "--key-from": (
                "FILE",
                "with --emergency: the file with the leaked text (- for stdin; default: the current key)",
            ),
            "--fingerprint": {
                "dest": "leaked",
                "metavar": "SGFP1",
                "help": "with --emergency: the fingerprint of the leaked key",
            },
            "--now": "with --emergency: also replace a key that is less than an hour old",
        },
    ),
    "put": (
        "Store a new value: one that others have issued, from stdin, or a new key. Each call makes another key.",
        {
            "--emergency": "others may know the old value: it also leaves the versions that the store keeps",
            "--now": "go on with an alert about something else",
        },
    ),
    "restore": (
        "Put a key back into its place, from the version of the store that has it.",
        {
            "--fingerprint": {
                "dest": "restored",
                "required": True,
                "metavar": "SGFP1",
                "help": "the fingerprint of the key",
            },
            "--now": "go on with an alert about something else",
        },
    ),
}
"""By command: what it does, and its own options."""
_EVENTS_FILE: Final = "events.jsonl"
"""What the recipes of collectors write."""
_LOST_WRITE: Final = "--single-writer: if another machine has written at the same time, one of both writes is lost"
_STATUSES: Final = (EXIT_CLEAN, EXIT_ALERTS, EXIT_UNAVAILABLE, EXIT_USAGE)
"""Of several steps, the last of these statuses says most."""
_WITH_DATA: Final = ("stage", "promote", "retire", "run", "put")


def add_steps(group: Commands, shared: Sequence[str]) -> None:
    """Add the steps that are one write of a store each."""
    data_done = {
        "--data-done": (
            "KID",
            "the key id of the key that goes: no stored data needs it any more (for a secret that stores data)",
        )
    }
    unused = {"emergency": False, "now": False, "fleet": None, "leaked": None, "restored": None, "key_from": None}
    for step, (description, own) in _STEPS.items():
        name: Argument = ("NAME", "the secret, such as secret.key")
        if step == "run":
            name = {"metavar": "NAME", "nargs": "?", "help": "the secret (default: all that have an overlap)"}
        words = f"rotate {step}{'' if step == 'run' else ' secret.key'} --to vault:secret/my-service \\\n      "
        more = "--environment prod --operator 'Ada Lovelace'"
        if step == "restore":
            more = f"--fingerprint sgfp1:{'0' * 32}"
        add_command(
            group,
            step,
            _take_steps,
            required=("--to",),
            options=(
                "--environment",
                "--operator",
                "--reason",
                "--single-writer",
                *shared,
                *(["--note"] if step in {"promote", "put"} else []),
            ),
            own={
                "name": name,
                **own,
                **(data_done if step in _WITH_DATA else {}),
                "--dry-run": "write nothing, and print what would be written",
            },
            defaults={**unused, "data_done": None, "step": None if step == "run" else step},
            kind="rotation-steps",
            description=f"{description} It is one write, which fails if somebody else has written in the meantime.",
            examples=(words + more,),
            statuses={
                "0": "done, or there was nothing to do",
                "1": "refused, not yet, or somebody else was faster; with --dry-run: there is something to do",
                "2": "usage error, or the operations log cannot be written",
                "75": "the store did not answer in time; run it again",
            },
        )


def named_operator(request: Request) -> Who:
    """Return the operator's texts. Without the option, the operator's name is that of the login."""
    who = who_of(request)
    if who.operator is not None:
        return who
    name = ""
    with suppress(OSError, KeyError, ImportError):
        name = getpass.getuser()
    if not is_free_text(name):
        fail("--operator is missing; pass your name, for the record")
    return who._replace(operator=name)


def _take_steps(
    request: Request,
    *,
    step: StepName | None,
    name: str | None,
    to: str,
    single_writer: bool,
    fleet: str | None,
    emergency: bool,
    leaked: str | None,
    restored: str | None,
    key_from: str | None,
    data_done: str | None,
    now: bool,
    dry_run: bool,
) -> Result:
    wish = Wish(
        step="replace" if emergency and step is None else step,
        is_now=now,
        fleet=fleet_of(fleet),
        leaked=leaked_key(request, leaked, key_from),
        restored=leaked_key(request, restored, None),
        data_done=data_done or "",
        forgets=emergency and step == "put",
        dry_run=dry_run,
    )
    require_consistent(wish, name, request.reason)
    who = named_operator(request)
    policies = request.policies
    store = open_store(to, policies, single_writer=single_writer)
    setup = setup_of(request.model_class)
    place = Place(
        source=store.name,
        who=tuple(given(request, "environment", "operator", "ticket")),
        options=tuple(given_set_up(request)),
        refresh=setup.refresh,
        proof=("--events", _EVENTS_FILE, *given(request, "environment")),
        writer=("--single-writer",) if single_writer else (),
    )
    chosen = with_steps(policies if name is None else (policy_of(request.model_class, name),), wish, place.of_step)
    groups = [[policy] for policy in chosen]
    if step == "put":
        groups = [_group_of(chosen[0], policies)]
        wish = wish._replace(values=_values_of(groups[0]))
    log = find_log(request)
    rotator = Rotator(request.model_class, store, who, config_dir=request.config_dir, options=place.of_step)
    # Only an emergency does not wait for the operations log. An hour later, the same command would replace the key once
    # more, unless it names the key.
    again = place.step("run", chosen[0].name) if wish.step == "replace" else ""
    results, stderr = _take_all(rotator, groups, wish, log, again)
    stderr += [f"{why}; then run this command again" for result in results for why in result.unpurged]
    documents = [result.as_dict() for result in results]
    status = max([EXIT_USAGE if stderr else EXIT_CLEAN, *map(_exit_status, results)], key=_STATUSES.index)
    if single_writer:
        stderr.append(_LOST_WRITE)
    return Result(
        status,
        [*[line for result in results for line in (*_result_lines(result, place, setup.model), "")], MODEL],
        lambda: {"kind": "rotation-steps", "source": store.name, "dry_run": dry_run, "results": documents},
        [f"{PROGRAM}: {line}" for line in stderr],
        events=[record for result in documents for record in result["records"]],
    )


def _group_of(policy: SecretPolicy, policies: Policies) -> list[SecretPolicy]:
    """Return the secrets that change together with a secret, in the model's order."""
    if not policy.group:
        return [policy]
    return [each for each in policies if each.group == policy.group]


def _values_of(policies: Policies) -> dict[str, SealedStr]:
    """Return the values of the issued secrets: typed without an echo, or from stdin."""
    wanted = [policy.variable for policy in policies if policy.is_issued]
    if not wanted:
        return {}
    if is_terminal(sys.stdin):
        return {each: SealedStr(getpass.getpass(f"The new value of {each} (not shown): ")) for each in wanted}
    text = SealedStr(read_input("stdin", "-", most=MAX_VALUE_BYTES).decode("utf-8", "replace"))
    if len(wanted) == 1:
        return {wanted[0]: SealedStr(text.get_secret_value().removesuffix("\n").removesuffix("\r"))}
    try:
        found = contain(lambda: _TEXTS_BY_NAME.validate_json(text.get_secret_value()))
    except (CheckFailedError, ValidationError):
        found = {}
    if {*found} != {*wanted}:
        fail(f"these secrets change together: pass one JSON object with the members {', '.join(wanted)} on stdin")
    return found


def _take_all(
    rotator: Rotator, groups: Sequence[Policies], wish: Wish, log: OperationsLog, again: str
) -> tuple[list[StepResult], list[str]]:
    """Take a step for each secret. Return what happened, and why it was not recorded.

    Only an emergency, which has a command to run `again`, does not wait for the operations log.
    """
    results: list[StepResult] = []
    try:
        for group in groups:
            results.append(rotator.take(group, wish, log=log))  # noqa: PERF401 - an error ends it, and keeps these
    except FileError as error:
        if again:
            return [rotator.take(groups[0], wish)], [
                f"this was not recorded: {log.name}: {error}; fix that, then run {again}: it records the step"
            ]
        is_begun = any(result.outcome == "done" for result in results)
        fail(f"{'not every step was taken' if is_begun else 'nothing was written'}: {log.name}: {error}")
    return results, [
        f"the store has this step, but it was not recorded: {why}; then run {again or 'this command again'}"
        for result in results
        for why in result.unrecorded
    ]


def _exit_status(result: StepResult) -> int:
    if any(finding.check is Check.UNAVAILABLE for finding in result.findings):
        return EXIT_UNAVAILABLE
    return EXIT_ALERTS if result.outcome in {"refused", "would-be-done"} else EXIT_CLEAN


def _result_lines(result: StepResult, place: Place, model: str) -> list[str]:
    """Return what happened to a secret, and what the operator does next."""
    does, is_done = (text.format(result.policy.name) for text in _TEXTS[result.step or "stage"])
    lines = [*map(recorded_line, result.recovered)]
    if result.outcome == "done":
        return [*lines, f"Done: {does} in {place.source}.", *_done_lines(result, place)]
    if result.outcome == "would-be-done":
        return [*lines, f"Would {does} in {place.source}: {', '.join(result.fields)}."]
    if result.refusal or result.outcome == "refused":
        return [*lines, *_refused_lines(result, model)]
    return [*lines, _nothing_done(result, is_done, place.source)]


def _done_lines(result: StepResult, place: Place) -> Iterator[str]:
    """Yield what a step has changed, and what comes next."""
    yield f"  changed: {', '.join(result.fields)}"
    yield from map(recorded_line, result.records)
    yield from _next_lines(result, place)
    if result.findings:
        # Without the fixes: one may be the plan that is being followed.
        yield "No service takes this version yet:"
        yield from (each.lines[0] for each in result.findings)


def _refused_lines(result: StepResult, model: str) -> Iterator[str]:
    """Yield why a step was not taken, and the one instruction."""
    if result.refusal:
        # The fixes of the findings would be about fields that are not there yet.
        yield from (finding.lines[0] for finding in result.findings)
        label = mark("REFUSED:", RED) if result.outcome == "refused" else "Not yet:"
        yield f"{label} {result.refusal.message}"
        yield f"  fix: {with_model(result.refusal.remedy, model)}"
        return
    if result.fields and _exit_status(result) == EXIT_UNAVAILABLE:  # the store did not answer to the write
        again = "Run this command again: it does nothing twice."
        if result.step == "put":
            again = "Look with check --from first: each call of rotate put makes another key."
        yield f"It may have been written. {again}"
    yield from map(finding_text, result.findings)


def _nothing_done(result: StepResult, is_done: str, source: str) -> str:
    """Return why there was nothing to do."""
    if result.step is None:
        return _nothing_due(result.policy, result.keys)
    if result.forgotten:
        return f"Done: removed the key from the earlier versions in {source}, as {is_done}."
    last = result.keys.step
    who = f" (last step: {step_in_words(last)} by {ascii_text(last.last.operator or 'nobody')})" if last else ""
    return f"Nothing to do: {is_done} in {source}{who}."


def _nothing_due(policy: SecretPolicy, keys: StoredKeys) -> str:
    if keys.is_undone:
        return f"Nothing is due for {policy.name}: its promotion was undone. {_ANOTHER_NEXT}"
    until = keys.expires_at and keys.expires_at - policy.warn_before
    if "previous" in keys.filled:
        until = keys.slots.previous_until
    return f"Nothing is due for {policy.name}{f' until {iso_utc(until)}' if until else ''}."


def _next_lines(result: StepResult, place: Place) -> Iterator[str]:
    """Yield what the operator does next, as a plan says it."""
    policy = result.policy
    leaked = result.leaked
    yield "Next (if you follow a printed plan, go on there):"
    if result.is_kept:
        yield "The leaked key stays as a revoked previous key, as this store keeps no earlier version."
    if result.dropped:
        yield f"Stored data may need the key id {kid_of(result.dropped)} too: exec --previous {result.dropped} has it."
    if result.step == "back" and result.after.expires_at:
        expires = iso_utc(result.after.expires_at)
        yield f"This key expires at {expires}. Promote the next key again before that. {_ANOTHER_NEXT}"
    if leaked:
        yield from plan_lines(plan_emergency(policy, result.keys, leaked, place)[1:])
    else:
        step = result.step or "stage"
        after = plan_after(step, policy, result.after, result.now, place)
        yield from plan_lines([*after, *plan_proof(step, policy, result.keys, place)])
