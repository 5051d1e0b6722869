"""`generate` and `rotate`: a new key (policy section 1), the plan, the steps and the record of its rotation (3, 4)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Final

from robodj_secretguard.cli.log import find_log, read_log, recorded_line
from robodj_secretguard.cli.options import (
    LOG_OPTIONS,
    Commands,
    Request,
    add_command,
    add_group,
    directory_of,
    given_set_up,
    given_sources,
    judged,
    policy_of,
    read_sources,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    Result,
    fail,
    failed_status,
    finding_text,
    is_terminal,
)
from robodj_secretguard.cli.rotation_plan import add_plan
from robodj_secretguard.cli.rotation_steps import add_steps, named_operator
from robodj_secretguard.common.generator import generate
from robodj_secretguard.errors import FileError
from robodj_secretguard.lifecycle.drift import delivered_keys
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import Records, completion
from robodj_secretguard.lifecycle.rotator import NO_ENVIRONMENT
from robodj_secretguard.lifecycle.standing import FUNCTIONS, STARTUP, Recording, record_rotation
from robodj_secretguard.managers.manager import Sources
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import contain
from robodj_secretguard.secret.texts import (
    COMMAND_INDENT,
    PROGRAM,
    RED,
    YELLOW,
    Options,
    mark,
)
from robodj_secretguard.startup.directory import first_with
from robodj_secretguard.startup.inputs import iso_utc
from robodj_secretguard.startup.readings import (
    REVOKED_FILE,
    shown_path,
)
from robodj_secretguard.startup.rules import how_to_rotate

# A CI system sets one of these, and keeps what is printed.
CI_VARIABLES: Final = """
    CI CONTINUOUS_INTEGRATION BUILD_NUMBER BUILD_ID JENKINS_URL HUDSON_URL TEAMCITY_VERSION GITHUB_ACTIONS GITLAB_CI
    BITBUCKET_BUILD_NUMBER BUILDKITE APPVEYOR CODEBUILD_BUILD_ID CODEBUILD_BUILD_ARN TF_BUILD BUILDER_OUTPUT
    GO_PIPELINE_NAME CM_BUILD_ID bamboo_buildKey HARNESS_BUILD_ID PROW_JOB_ID ARGO_NODE_ID JB_SPACE_API_URL
    TASKCLUSTER_ROOT_URL ZUUL_UUID OCTOPUS_TASK_ID
    """.split()


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
            "--show": "print keys on a terminal or in CI too",
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
        {"plan": "explain and record", "stage": "one step, one write"},
    )
    shared = ("--ticket", *LOG_OPTIONS)
    add_plan(group, shared)
    add_command(
        group,
        "record",
        _record,
        options=("--from", "--environment", "--operator", *shared, "--note"),
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
    add_steps(group, shared)


def _chosen(request: Request, name: str | None) -> tuple[list[SecretPolicy], list[str]]:
    """Return the secrets that get a new key, and the lines for stderr: which others were left out."""
    if name is not None:
        policy = policy_of(request.model_class, name)
        if policy.is_issued:
            fail(f"no key was generated: a vendor issues the secret ({name}: {how_to_rotate(policy)})")
        return [policy], [MODEL]
    left_out = []
    policies = []
    for policy in request.policies:
        if policy.is_issued:
            left_out.append(f"left out {policy.name}: {how_to_rotate(policy)}")
        elif policy.required:
            policies.append(policy)
        else:
            left_out.append(f"left out {policy.name}: it is optional; pass NAME for it")
    if not policies:
        fail(f"no key was generated; {'; '.join(left_out)}")
    return policies, [MODEL, *(f"{PROGRAM}: {line}" for line in left_out)]


def _make_keys(request: Request, *, name: str | None, show: bool) -> Result:
    """Return new keys for stdout. On a terminal and in CI, somebody could read them."""
    policies, stderr = _chosen(request, name)
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
    names: Sequence[str],
    attest: Sequence[str],
    known: Sequence[str],
) -> Result:
    log = find_log(request)
    sources = read_sources(request)
    others = [_known(number, file) for number, file in enumerate(known, start=1)]
    options = [*given_sources(request), *given_set_up(request)]
    named = {policy_of(request.model_class, name).name for name in names}
    who = named_operator(request)
    if who.environment is None:
        who = who._replace(environment=_named_environment(request, log.read(), sources, named))
    try:
        recording = record_rotation(
            request.model_class,
            log,
            partial(judged, request, sources),
            who,
            names=named,
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
    the_list = f"the revocation list {shown_path(REVOKED_FILE, directory_of(request)[1])}"
    listed = [entry for entry, why in recording.listed if not why]
    failures = [why for _, why in recording.listed if why]
    is_first = all(each in recording.records for each in log.records if each.environment == who.environment)
    return Result(
        EXIT_USAGE if failures else EXIT_CLEAN,
        [
            *_record_lines(recording.records, options),
            *(f"{entry} is on {the_list}. Commit the list, and deploy it with every service." for entry in listed),
            *(f"Did not record {name}: its key has not changed." for name in recording.unchanged),
            *([f"There was no earlier record of the environment {who.environment}."] if is_first else []),
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


def _named_environment(request: Request, log: OperationsLog, sources: Sources | None, names: Collection[str]) -> str:
    """Return the environment that the store or the records of the secrets name."""
    found = set[str]()
    for policy in request.policies:
        if names and policy.name not in names:
            continue
        delivery = first_with(sources.deliveries, policy) if sources else None
        if delivery:
            found.add(contain(partial(delivered_keys, policy, delivery)).environment)
        found |= {record.environment or "" for record in log.records if record.secret == policy.name}
    found.discard("")
    if len(found) != 1:
        fail(NO_ENVIRONMENT if not found else f"--environment is missing (choose from {', '.join(sorted(found))})")
    return found.pop()


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


def _record_lines(records: Records, options: Options) -> Iterator[str]:
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
