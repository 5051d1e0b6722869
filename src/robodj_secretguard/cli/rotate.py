"""`generate` and `rotate`: a new key (policy section 1), the plan, the steps and the record of its rotation (3, 4)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from robodj_secretguard.cli.log import find_log, read_log, recorded_line
from robodj_secretguard.cli.options import (
    Commands,
    Request,
    add_command,
    add_group,
    directory_of,
    fleet_of,
    given,
    given_option,
    given_sources,
    judged,
    model_of,
    policy_of,
    read_sources,
)
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
    is_terminal,
)
from robodj_secretguard.common.generator import generate
from robodj_secretguard.errors import FileError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import Record, StepName, completion
from robodj_secretguard.lifecycle.runbook import LOADED, WORDS_TO_REPLACE, plan_rotation
from robodj_secretguard.lifecycle.standing import FUNCTIONS, STARTUP, Recording, record_rotation
from robodj_secretguard.lifecycle.steps import (
    MIN_AGE,
    Rotator,
    StepResult,
    StoredKeys,
    require_consistent,
    step_in_words,
    with_steps,
)
from robodj_secretguard.managers.manager import open_store
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import (
    COMMAND_INDENT,
    PROGRAM,
    RED,
    YELLOW,
    ascii_text,
    command,
    count,
    mark,
    option,
)
from robodj_secretguard.settings import SecretSettings, setup_of
from robodj_secretguard.startup.inputs import SECRETS_REFRESH, iso_utc
from robodj_secretguard.startup.readings import (
    REVOKED_FILE,
    Environment,
    has_directory,
    shown_path,
)
from robodj_secretguard.startup.rules import Check, how_to_rotate

# A CI system sets one of these, and keeps what is printed.
CI_VARIABLES: Final = (
    # GitHub, GitLab, CircleCI, Travis, Bitbucket, Drone and most others
    "CI",
    "CONTINUOUS_INTEGRATION",
    # Concourse and Google Cloud too
    "BUILD_NUMBER",
    "BUILD_ID",
    "JENKINS_URL",
    "HUDSON_URL",
    "TEAMCITY_VERSION",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BITBUCKET_BUILD_NUMBER",
    "BUILDKITE",
    "APPVEYOR",
    # AWS
    "CODEBUILD_BUILD_ID",
    "CODEBUILD_BUILD_ARN",
    # Azure, Google Cloud, GoCD, Codemagic
    "TF_BUILD",
    "BUILDER_OUTPUT",
    "GO_PIPELINE_NAME",
    "CM_BUILD_ID",
    "bamboo_buildKey",
    "HARNESS_BUILD_ID",
    "PROW_JOB_ID",
    "ARGO_NODE_ID",
    "JB_SPACE_API_URL",
    "TASKCLUSTER_ROOT_URL",
    "ZUUL_UUID",
    "OCTOPUS_TASK_ID",
)

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
    "stage": (
        _RESTART,
        "After {hour}, run this. To run it earlier, add --fleet with the proof of fleet --require has-next:",
        "{promote}",
    ),
    "promote": (_RESTART, *_COMPLETE, "After {until}, run:", "{retire}"),
    "retire": ("Earlier versions in the manager still have this key. Delete them when no stored data needs it.",),
    "back": (_RESTART, f"This key expires at {{expires}}. Promote the next key again before that. {_ANOTHER_NEXT}"),
    "replace": (f"Everybody has to sign in again. {_RESTART.replace(', one after another', ' now')}", *_COMPLETE),
}
"""By step: what the operator does next."""


def add(commands: Commands) -> None:
    """Add all three commands."""
    add_command(
        commands,
        "generate",
        _make_keys,
        options=("--model",),
        own={
            "name": {"nargs": "?", "metavar": "NAME", "help": "the secret, such as secret.key"},
            "--format": {
                "choices": ("text", "env", "shell", "json"),
                "default": "text",
                "help": "text (default): the key of NAME alone; env, json: the variables of NAME or of all required"
                " secrets; shell: the same as export commands",
            },
            "--show": {"action": "store_true", "help": "print keys on a terminal or in CI too"},
        },
        kind="keys",
        description="Generate a new key with a secure random generator. Pipe it into the command of the secret manager:"
        " the key has no newline. On a terminal and in CI, a key is printed only with --show.",
        examples=("generate secret.key |\n      vault kv patch secret/my-service ROBODJ_SECRET_KEY=-",),
        statuses={"0": "generated", "2": "usage error, or nothing was generated"},
    )
    group = add_group(
        commands,
        "rotate",
        "Plan a rotation, do it in the secret manager, or record it",
        {"plan": "with any secret manager", "stage": "in Vault, OpenBao or AWS: one step, one write"},
    )
    shared = ("--ticket", "--operations-log", "--config-dir", "--model", "--format")
    add_command(
        group,
        "plan",
        _plan,
        options=("--from", "--environment", "--operator", *shared),
        own={
            "name": {"metavar": "NAME", "help": "the secret, such as secret.key"},
            "--emergency": {
                "action": "store_true",
                "help": "others may know the current key: replace it at once, without an overlap, and revoke it",
            },
        },
        kind="rotation-plan",
        description="Print the commands of a rotation, from the step that comes next.",
        examples=("rotate plan secret.key --environment prod", "rotate plan secret.key --emergency"),
        statuses={
            "0": "printed",
            "1": "the keys cannot be read",
            "2": "usage error",
            "75": "the secret manager of --from did not answer in time",
        },
    )
    add_command(
        group,
        "record",
        _record,
        required=("--environment", "--operator"),
        options=("--from", *shared, "--note"),
        own={
            "names": {
                "nargs": "*",
                "metavar": "NAME",
                "help": "the rotated secrets (default: all with new keys; not those that a vendor issues)",
            },
            "--attest": {
                "action": "append",
                "choices": (STARTUP, FUNCTIONS),
                "default": [],
                "help": "confirm a step of the validation. startup: services started, and their startup checks passed;"
                " functions: authentication and encryption work",
            },
            "--known": {
                "action": "append",
                "metavar": "FILE",
                "default": [],
                "help": "the operations log of another environment, whose keys must differ",
            },
        },
        defaults={"require_env_only": True},
        kind="rotation-record",
        description="Record a rotation in the operations log. The check runs first, without fallback files. A key is"
        " refused if it fails the check, is not new, or is used elsewhere.",
        examples=("rotate record --environment prod --operator 'Ada Lovelace'",),
        statuses={
            "0": "recorded",
            "1": "refused",
            "2": "usage error, or nothing was recorded",
            "75": "the secret manager of --from did not answer in time",
        },
    )
    _add_steps(group, shared)


def _chosen(model: type[SecretSettings], name: str | None) -> tuple[list[SecretPolicy], list[str]]:
    """Return the secrets that get a new key, and the lines for stderr: which others were left out."""
    named = [*model.secret_policies.values()] if name is None else [policy_of(model, name)]
    vendors = [policy for policy in named if policy.is_issued]
    optional = [policy.name for policy in named if name is None and not (policy.required or policy in vendors)]
    issued = "; ".join(f"{each.name}: {how_to_rotate(each)}" for each in vendors)
    policies = [policy for policy in named if policy not in vendors and policy.name not in optional]
    if not policies:
        fail(
            f"no key was generated: a vendor issues the secret ({issued})"
            if issued
            else "NAME is missing: all keys are optional"
        )
    left_out = {
        f"optional secrets ({', '.join(optional)}); pass NAME for one of them": optional,
        f"the secrets that somebody else issues ({', '.join(each.name for each in vendors)})": vendors,
    }
    return policies, [MODEL, *(f"{PROGRAM}: left out {what}" for what, found in left_out.items() if found)]


def _make_keys(request: Request, *, name: str | None, show: bool) -> Result:
    """Return new keys for stdout. On a terminal and in CI, somebody could read them."""
    policies, stderr = _chosen(model_of(request), name)
    form = request.format
    if form == "text" and len(policies) > 1:
        fail(
            f"NAME is missing (choose from {', '.join(policy.name for policy in policies)}); for all secrets, pass"
            " --format env, shell or json"
        )
    on_terminal = is_terminal(request.stdout)
    if not show and (on_terminal or any(map(os.environ.get, CI_VARIABLES))):
        where = "on a terminal" if on_terminal else "in CI, which may keep the output,"
        fail(f"keys are not printed {where} without --show; pipe the key into the command of the secret manager")
    keys = {policy.variable: generate(policy).get_secret_value() for policy in policies}
    prefix = "export " if form == "shell" else ""
    return Result(
        EXIT_CLEAN,
        [*keys.values()] if form == "text" else [f"{prefix}{variable}={key}" for variable, key in keys.items()],
        (lambda: keys) if form == "json" else None,
        stderr,
        bare=True,
        end="\n" if on_terminal or form != "text" else "",
    )


def _record(
    request: Request,
    *,
    environment: str,
    operator: str,
    ticket: str | None,
    note: str | None,
    names: Sequence[str],
    attest: Sequence[str],
    known: Sequence[str],
) -> Result:
    model = model_of(request)
    log, sources = find_log(request, model), read_sources(request, model)
    others = [_known(number, file) for number, file in enumerate(known, start=1)]
    options = [*given_sources(request), *given(request, "operations_log", "config_dir", "model")]
    try:
        recording = record_rotation(
            model,
            log,
            partial(judged, request, model, sources),
            environment=environment,
            operator=operator,
            ticket=ticket,
            note=note,
            names={policy_of(model, name).name for name in names},
            attested=attest,
            others=others,
            config_dir=request.config_dir,
            options=options,
        )
    except FileError as error:
        fail(f"nothing was recorded: {log.name}: {error}")
    document = {"kind": "rotation-record", **recording.as_dict()}
    complaints = [line for other in others for line in other.complaint]
    if recording.refusals:
        return Result(
            failed_status(recording.report, EXIT_ALERTS),
            [*_refusal_lines(recording), MODEL, "Nothing was recorded."],
            lambda: document,
            complaints,
        )
    the_list = f"the revocation list {shown_path(REVOKED_FILE, directory_of(request, model)[1])}"
    listed = [entry for entry, why in recording.listed if not why]
    failures = [why for _, why in recording.listed if why]
    is_first = all(each in recording.records for each in log.records if each.environment == environment)
    return Result(
        EXIT_USAGE if failures else EXIT_CLEAN,
        [
            *_record_lines(recording.records, options),
            *(f"{entry} is on {the_list}. Commit the list, and deploy it with every service." for entry in listed),
            *(f"Did not record {name}: its key has not changed." for name in recording.unchanged),
            *([f"There was no earlier record of the environment {environment}."] if is_first else []),
            MODEL,
        ],
        lambda: document,
        [
            *complaints,
            *(mark(warning, YELLOW) for warning in recording.warnings),
            *(f"{PROGRAM}: the rotation is recorded, but {the_list} was not changed: {why}" for why in failures),
        ],
        events=document["records"],
    )


def _known(number: int, file: str) -> OperationsLog:
    log = read_log(OperationsLog(file, f"--known, number {number}"))
    if not log.records:
        fail(f"--known, number {number}: the log has no readable record; pass the log of another environment")
    return log


def _refusal_lines(recording: Recording) -> Iterator[str]:
    """Yield why nothing was recorded."""
    yield from map(finding_text, recording.report.findings)
    for name, problem in recording.refusals.items():
        yield mark(f"REFUSED: {f'{name}: ' if name else ''}{problem.message}", RED)
        yield f"  fix: {problem.remedy}"


def _record_lines(records: Sequence[Record], options: Sequence[str]) -> Iterator[str]:
    """Yield the lines about new records."""
    for record in records:
        yield recorded_line(record)
        if record.validation:
            done = ", ".join(f"{name} {step}" for name, step in record.as_dict()["validation"].items())
            yield f"  validation: {done}"
        if record.replaced and record.replaced_until:
            yield f"  replaced: {record.replaced}, which verifies until {iso_utc(record.replaced_until)}"
        if record.open_steps:
            yield mark(f"INCOMPLETE: when the remaining steps are done ({', '.join(record.open_steps)}), run:", YELLOW)
            yield f"{COMMAND_INDENT}{completion(record, options)}"


def _plan(
    request: Request,
    *,
    environment: str | None,
    operator: str | None,
    ticket: str | None,
    name: str,
    emergency: bool,
) -> Result:
    model, variables = model_of(request), Environment()
    policy, setup = policy_of(model, name), setup_of(model)
    recorded, sources = find_log(request, model).read(), read_sources(request, model)
    report = judged(request, model, sources)
    if not report.secrets:  # no key was read, so nothing is known
        lines = [*map(finding_text, report.findings), MODEL]
        return Result(failed_status(report, EXIT_ALERTS), lines, report.as_dict)
    options = given(request, "operations_log", "config_dir", "model")
    who = (*option("--operator", operator or "YOUR-NAME"), *given_option("ticket", ticket))
    stage, steps = plan_rotation(
        policy,
        report,
        recorded.records,
        policies=[*model.secret_policies.values()],
        environment=environment,
        who=who,
        options=options,
        model=given(request, "model"),
        sources=request.sources,
        is_loaded=variables.is_set(LOADED),
        is_emergency=emergency,
        is_strict=request.strict,
        has_directory=not sources and has_directory(variables, setup),
        refreshes=bool(setup.refresh) or variables.is_set(SECRETS_REFRESH),
    )
    words = " ".join(commands for _, commands in steps if commands)
    replaced = [word for word in WORDS_TO_REPLACE if re.search(rf"(?<![\w-]){word}(?![\w-])", words)]
    where = (*given_option("environment", environment), *who, *given_sources(request), *options)
    at_once = command("rotate", "plan", name, "--emergency", *where)
    days = count(policy.cadence.days, "day")
    lines = [
        f"Rotation of {policy.name} ({policy.owner and f'owner: {policy.owner}; '}cadence: {days})",
        *(
            [f"Replace these words with your own values: {', '.join(replaced)}. Quote a name or a reason with a blank."]
            if replaced
            else []
        ),
        *([] if emergency else [f"If others may know the current key, do this instead: {at_once}"]),
        "",
    ]
    for number, (text, commands) in enumerate(steps, start=1):
        lines += [f"{number}. {text}", *(f"{COMMAND_INDENT}  {line}" for line in (commands or "").splitlines())]
    return Result(
        EXIT_CLEAN,
        [*lines, "", MODEL],
        lambda: {
            "kind": "rotation-plan",
            "secret": policy.name,
            "stage": stage,
            "steps": [{"text": text, "command": commands} for text, commands in steps],
        },
        recorded.complaint,
    )


def _add_steps(group: Commands, shared: Sequence[str]) -> None:
    """Add the steps that are one write of the secret manager each."""
    name = {"name": {"metavar": "NAME", "help": "the secret, such as secret.key"}}
    now: dict[str, Any] = {"action": "store_true"}
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "stage": (
            "Store a next key in the secret manager. Every instance gets to know it before it is promoted.",
            {**name, "--now": {**now, "help": "replace the next key that is already there"}},
        ),
        "promote": (
            "Make the next key current, and the current key previous. The next key must have been stored for an hour.",
            {
                **name,
                "--fleet": {
                    "metavar": "FILE",
                    "help": "the output of fleet --require has-next --format json: the proof that every instance has"
                    " the next key; then no hour is needed",
                },
                "--now": {
                    **now,
                    "help": "do not wait: every instance has the next key, and no previous key is needed",
                },
            },
        ),
        "retire": (
            "Remove the previous key from the secret manager, after its deadline.",
            {
                **name,
                "--fleet": {
                    "metavar": "FILE",
                    "help": "the output of fleet --require moved --format json: the proof that every instance signs"
                    " with the current key",
                },
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
                "name": {
                    "nargs": "?",
                    "metavar": "NAME",
                    "help": "the secret (default: all that have an overlap, in which the old key is still accepted)",
                },
                "--emergency": {**now, "help": "others may know the current key: replace and revoke it in one write"},
                "--now": {**now, "help": "with --emergency: also replace a key that is less than an hour old"},
            },
        ),
    }
    both: dict[str, dict[str, Any]] = {
        "--to": {
            "required": True,
            "metavar": "SOURCE",
            "help": "the secret manager: vault:MOUNT/PATH or aws:SECRET_ID",
        },
        "--dry-run": {**now, "help": "write nothing, and print what would be written"},
    }
    unused = {"emergency": False, "now": False, "fleet": None, "note": None}
    for step, (description, own) in wanted.items():
        words = f"rotate {step}{'' if step == 'run' else ' secret.key'} --to vault:secret/my-service"
        add_command(
            group,
            step,
            _take_steps,
            required=("--environment", "--operator"),
            options=("--reason", *shared, *(["--note"] if step == "promote" else [])),
            own={**own, **both},
            defaults={**unused, "step": None if step == "run" else step},
            kind="rotation-steps",
            description=f"{description} It is one write, which fails if somebody else has written in the meantime.",
            examples=(f"{words} \\\n      --environment prod --operator 'Ada Lovelace'",),
            statuses={
                "0": "done, or there was nothing to do",
                "1": "refused, not yet, or somebody else was faster; with --dry-run: there is something to do",
                "2": "usage error, or the operations log cannot be written",
                "75": "the secret manager did not answer in time; run it again",
            },
        )


def _take_steps(
    request: Request,
    *,
    environment: str,
    operator: str,
    ticket: str | None,
    reason: str | None,
    note: str | None,
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
    who = ("--environment", environment, *option("--operator", operator), *given_option("ticket", ticket))
    options = ("--to", to, *who, *log_options)
    take = partial(
        Rotator(
            model,
            store,
            environment=environment,
            operator=operator,
            ticket=ticket,
            reason=reason,
            note=note,
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
    results, stderr = _take_all(take, policies, log, again)
    after = partial(_next_lines, options, ("--from", to, *who, *log_options))
    documents = [result.as_dict() for result in results]
    statuses = [EXIT_USAGE if stderr else EXIT_CLEAN, *map(_exit_status, results)]
    return Result(
        next((status for status in (EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_ALERTS) if status in statuses), EXIT_CLEAN),
        [*(line for result in results for line in (*_result_lines(result, store.name, after), "")), MODEL],
        lambda: {"kind": "rotation-steps", "source": store.name, "dry_run": dry_run, "results": documents},
        [f"{PROGRAM}: {line}" for line in stderr],
        events=[record for result in documents for record in result["records"]],
    )


def _take_all(
    take: Callable[..., StepResult],
    policies: Sequence[SecretPolicy],
    log: OperationsLog,
    again: str,
) -> tuple[list[StepResult], list[str]]:
    """Take a step for each secret. Return what happened, and why it was not recorded.

    Only an emergency, which has a command to run `again`, does not wait for the operations log.
    """
    results: list[StepResult] = []
    try:
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


def _result_lines(result: StepResult, source: str, after: Callable[[StepResult], Iterator[str]]) -> list[str]:
    """Return what happened to a secret, and what the operator does next."""
    name, refusal, texts = result.policy.name, result.refusal, [*map(finding_text, result.findings)]
    does, is_done = (text.format(name) for text in _STEP_TEXTS[result.step or "stage"])
    lines = [*map(recorded_line, result.recovered)]
    if result.outcome == "done":
        # Without the fixes: one may be the plan that is being followed.
        alerts = ["No service takes this version yet:", *(each.lines[0] for each in result.findings)] if texts else []
        lines += [f"Done: {does} in {source}.", f"  changed: {', '.join(result.fields)}"]
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


def _next_lines(options: Sequence[str], of_record: Sequence[str], result: StepResult) -> Iterator[str]:
    """Yield what the operator does next."""
    name, new = result.policy.name, result.rotated
    texts = {
        "hour": iso_utc(result.now + MIN_AGE),
        "until": iso_utc(new.replaced_until) if new and new.replaced_until else "",
        "expires": iso_utc(new.expires_at) if new and new.expires_at else "",
        "promote": f"{COMMAND_INDENT}{command('rotate', 'promote', name, *options)}",
        "retire": f"{COMMAND_INDENT}{command('rotate', 'retire', name, *options)}",
        "complete": COMMAND_INDENT
        + command("rotate", "record", name, *of_record, "--attest", STARTUP, "--attest", FUNCTIONS),
    }
    lines = ("Next (if you follow a printed plan, go on there):", *_NEXT_LINES[result.step or "stage"])
    if result.step == "promote" and not texts["until"]:  # there is no previous key to retire
        lines = lines[:-2]
    yield from (line.format_map(texts) for line in lines)
