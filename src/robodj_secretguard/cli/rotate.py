"""`generate` and `rotate`: make a new key (policy section 1), plan its rotation and record it (section 3)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli import rotate_steps
from robodj_secretguard.cli.log import find_log, read_log, recorded_line, recorded_log, with_recorded
from robodj_secretguard.cli.options import (
    add_command,
    add_group,
    directory_of,
    given,
    given_option,
    judged,
    model_of,
    opened_input,
    policy_of,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    Result,
    fail,
    finding_text,
    is_terminal,
)
from robodj_secretguard.common.generator import generate
from robodj_secretguard.errors import FileError, UsageError
from robodj_secretguard.lifecycle.key_files import write_keys
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import Event, Proof
from robodj_secretguard.lifecycle.revocation import add_to_list, entry_of
from robodj_secretguard.lifecycle.rotation import (
    NO_ENVIRONMENT,
    compared,
    completion,
    draft_rotation,
    judge,
    other_key_replaced,
    started_on,
)
from robodj_secretguard.lifecycle.runbook import PLACEHOLDERS, plan_rotation
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.texts import COMMAND_INDENT, PROGRAM, RED, YELLOW, command, count, mark, option
from robodj_secretguard.startup.readings import REVOKED_FILE, Environment, are_files_off, shown_path
from robodj_secretguard.startup.rules import Problem
from robodj_secretguard.startup.settings import setup_of
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from robodj_secretguard.cli.options import Commands, Request
    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.readings import NamedBy
    from robodj_secretguard.startup.report import Report, SecretStatus
    from robodj_secretguard.startup.settings import SecretSettings

STARTUP: Final = "startup"
FUNCTIONS: Final = "functions"
_GATE_FAILED: Final = {None: Problem("the check failed", "fix its alerts, then run this command again")}
# A CI system sets one of these, and keeps what is printed.
CI_VARIABLES: Final = (
    *("CI", "CONTINUOUS_INTEGRATION"),  # GitHub, GitLab, CircleCI, Travis, Bitbucket, Drone and most others
    *("BUILD_NUMBER", "BUILD_ID", "JENKINS_URL", "HUDSON_URL", "TEAMCITY_VERSION"),  # Concourse and Google Cloud too
    *("GITHUB_ACTIONS", "GITLAB_CI", "BITBUCKET_BUILD_NUMBER", "BUILDKITE", "APPVEYOR"),
    *("CODEBUILD_BUILD_ID", "CODEBUILD_BUILD_ARN"),  # AWS
    *("TF_BUILD", "BUILDER_OUTPUT", "GO_PIPELINE_NAME", "CM_BUILD_ID"),  # Azure, Google Cloud, GoCD, Codemagic
    *("bamboo_buildKey", "HARNESS_BUILD_ID", "PROW_JOB_ID", "ARGO_NODE_ID", "JB_SPACE_API_URL"),
    *("TASKCLUSTER_ROOT_URL", "ZUUL_UUID", "OCTOPUS_TASK_ID"),
)


def add(commands: Commands) -> None:
    """Add all three commands."""
    add_command(
        commands,
        "generate",
        _generate,
        options=("--config-dir", "--model"),
        own={
            "name": {"nargs": "?", "metavar": "NAME", "help": "the secret, such as secret.key"},
            "--format": {
                "choices": ("text", "env", "shell", "json"),
                "default": "text",
                "help": "text (default): the key of NAME alone; env, json: the variables of NAME or of all secrets;"
                " shell: the same as export commands",
            },
            "--next": {
                "action": "store_true",
                "dest": "for_next",
                "help": "use the variable of the next key, for a rotation",
            },
            "--show": {"action": "store_true", "help": "print keys on a terminal or in CI too"},
            "--write": {"action": "store_true", "help": "write keys to the fallback files instead (break-glass)"},
            "--force": {"action": "store_true", "help": "with --write: replace existing keys"},
        },
        description="Generate a new key with the approved generator. Pipe it into the command of the secret manager:"
        " the key has no newline. On a terminal and in CI, a key is printed only with --show.",
        examples=("generate secret.key |\n      vault kv patch secret/robodj ROBODJ_SECRET_KEY=-",),
        statuses={"0": "generated", "2": "usage error, or nothing was generated"},
    )
    group = add_group(commands, "rotate", "Plan a rotation, do it in the secret manager, or record it")
    shared = ("--ticket", "--operations-log", "--config-dir", "--model", "--format")
    add_command(
        group,
        "record",
        _record,
        required=("--environment", "--operator"),
        options=shared,
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
            "--service-log": {
                "metavar": "FILE",
                "help": "the log of a service (- for stdin), where an event of guard() shows the start on the new key",
            },
            "--known": {
                "action": "append",
                "metavar": "FILE",
                "default": [],
                "help": "the operations log of another environment, whose keys must differ",
            },
        },
        defaults={"require_env_only": True},
        description="Record a rotation in the operations log. The check runs first, without fallback files. A key is"
        " refused if it fails the check, is not new, or is used elsewhere.",
        examples=("rotate record --environment prod --operator 'Ada Lovelace'",),
        statuses={"0": "recorded", "1": "refused", "2": "usage error, or nothing was recorded"},
    )
    add_command(
        group,
        "plan",
        _plan,
        options=("--environment", "--operator", *shared),
        own={
            "name": {"metavar": "NAME", "help": "the secret, such as secret.key"},
            "--emergency": {
                "action": "store_true",
                "help": "others may know the current key: replace it at once, without an overlap, and revoke it",
            },
        },
        description="Print the steps of a rotation, from the stage that comes next.",
        examples=("rotate plan secret.key --environment prod", "rotate plan secret.key --emergency"),
        statuses={"0": "printed", "2": "usage error"},
    )
    rotate_steps.add(group)


def _generate(request: Request, *, name: str | None, for_next: bool, show: bool, write: bool, force: bool) -> Result:
    model = model_of(request)
    asked = model.secret_policies.values() if name is None else (policy_of(model, name),)
    policies = tuple(each for each in asked if not each.is_opaque)
    left_out = (each for each in asked if each.is_opaque)
    issued = "; ".join(f"{each.name}: {each.replacement}, then set {each.variable} to it" for each in left_out)
    if not policies:
        fail(f"no key was generated: a vendor issues the secret ({issued})")
    stderr = [MODEL, *([f"{PROGRAM}: left out the secrets that vendors issue ({issued})"] if issued else [])]
    if force and not write:
        fail("--force works only with --write; add --write, or leave out --force")
    if for_next and not all(policy.overlap for policy in policies):
        fail("--next works only for a secret with an overlap; leave it out")
    if write:
        if show or for_next or request.format != "text":
            fail("--write prints no key; leave out --show, --next and --format")
        return _write(request, model, policies, stderr, force=force)
    if request.format == "text" and len(policies) > 1:
        names = ", ".join(policy.name for policy in policies)
        fail(f"NAME is missing (choose from {names}); for all secrets, pass --format env, shell or json")
    seen = is_terminal(request.stdout)
    if (seen or any(os.environ.get(name) for name in CI_VARIABLES)) and not show:
        where = "on a terminal" if seen else "in CI, which may keep the output,"
        fail(f"keys are not printed {where} without --show; pipe the key into the command of the secret manager")
    variables = [policy.slot_variables[0] if for_next else policy.variable for policy in policies]
    keys = {name: generate(policy).get_secret_value() for name, policy in zip(variables, policies, strict=True)}
    return Result(
        EXIT_CLEAN,
        [*keys.values()]
        if request.format == "text"
        else [f"{'export ' * (request.format == 'shell')}{variable}={key}" for variable, key in keys.items()],
        (lambda: keys) if request.format == "json" else None,
        stderr,
        bare=True,
        end="\n" if seen or request.format != "text" else "",
    )


def _write(
    request: Request,
    model: type[SecretSettings],
    policies: Sequence[SecretPolicy],
    stderr: list[str],
    *,
    force: bool,
) -> Result:
    if request.require_env_only or are_files_off(Environment(), setup_of(model)):
        fail("nothing was written: fallback files are off; set environment variables instead")
    directory, named_by = directory_of(request, model)
    if not os.path.isdir(directory):
        fail("nothing was written: the config directory does not exist; create it, or pass --config-dir")
    keys = {policy: generate(policy) for policy in policies}
    try:
        write_keys(directory, keys, force=force)
    except UsageError as error:
        fail(f"not every key was written: {error}")
    written = ((policy.name, shown_path(policy.file, named_by), fingerprint(key)) for policy, key in keys.items())
    lines = [f"Wrote a new key of {name} to {where} (fingerprint {key})." for name, where, key in written]
    return Result(EXIT_CLEAN, lines, stderr=stderr)


def _record(
    request: Request,
    *,
    environment: str,
    operator: str,
    ticket: str | None,
    names: Sequence[str],
    attest: Sequence[str],
    service_log: str | None,
    known: Sequence[str],
) -> Result:
    model = model_of(request)
    named = {policy_of(model, name).name for name in names}
    report = judged(request, model)
    if not report.ok:
        return _refused(report)
    # Whether a vendor's secret is a new one cannot be seen.
    named_or_seen = named or {policy.name for policy in model.secret_policies.values() if not policy.is_opaque}
    statuses = [status for status in report.secrets if status.secret in named_or_seen]
    if not statuses:
        fail("NAME is missing: vendors issue all secrets, so name those that have a new value")
    startup = _startup(statuses, service_log, attested=STARTUP in attest)
    functions = Proof.ATTESTED if FUNCTIONS in attest else Proof.NOT_DONE
    drafts = {
        each.secret: draft_rotation(
            each, startup[each.secret], functions, environment=environment, operator=operator, ticket=ticket
        )
        for each in statuses
    }
    options, log_options = given(request, "config_dir", "model"), given(request, "operations_log")
    others = [_known(number, file) for number, file in enumerate(known, start=1)]
    log = find_log(request, model)
    try:
        with log.locked():
            report = judged(request, model)  # again: a key may have been revoked while this waited for the log
            if not report.ok:
                return _refused(report)
            records = [record for each in (*others, log) for record in each.records]
            records.sort(key=lambda record: record.recorded_at)
            accepted, unchanged, refused = judge(
                drafts, records, are_named=bool(named), options=options, log_options=log_options
            )
            comparison = compared(records)
            compared_line = _comparison(comparison, environment, others)
            if refused:
                return _refused(report, refused, comparison, compared_line)
            report = with_recorded(request, model, report, log.records)
            if not report.ok:
                return _refused(report)
            appended = log.append(accepted)
    except FileError as error:
        fail(f"nothing was recorded: {log.name}: {error}")
    events = [record.as_dict() for record in appended]
    lines = [*_lines(appended, (*log_options, *options))]
    overlaps = {policy.name: bool(policy.overlap) for policy in model.secret_policies.values()}
    warnings = (
        other_key_replaced(each, records, has_overlap=overlaps.get(each.secret or "", False)) for each in appended
    )
    listed, unlisted = _list_replaced(appended, *directory_of(request, model))
    lines += listed
    lines += [f"Did not record {name}: its key has not changed." for name in unchanged]
    if environment not in comparison:
        lines.append(f"There was no earlier record of the environment {environment}.")
    document = _document(report, comparison, unchanged=unchanged, records=events)
    status = EXIT_USAGE if unlisted else EXIT_CLEAN
    stderr = [*(mark(warning, YELLOW) for warning in warnings if warning), *unlisted]
    return Result(status, [*lines, compared_line, MODEL], lambda: document, stderr, events=events)


def _list_replaced(records: Iterable[Record], directory: str, named_by: NamedBy | None) -> tuple[list[str], list[str]]:
    """Add each previous key with its deadline to the revocation list, and return lines for stdout and stderr."""
    the_list = f"the revocation list {shown_path(REVOKED_FILE, named_by)}"
    listed, unlisted = list[str](), list[str]()
    for record in records:
        if record.replaced:
            entry = entry_of(record)
            try:
                add_to_list(directory, record, now=record.recorded_at)
                listed.append(f"{entry} is on {the_list}. Commit the list, and deploy it with every service.")
            except FileError as error:
                why = f"the rotation is recorded, but {the_list} was not changed: {error}"
                unlisted.append(f"{PROGRAM}: {why}; add this line to it: {entry}")
    return listed, unlisted


def _startup(statuses: Sequence[SecretStatus], service_log: str | None, *, attested: bool) -> dict[str, Proof]:
    """Return the proof that services started with each secret's key."""
    keys = {status.secret: status.fingerprint for status in statuses if status.fingerprint}
    seen: set[str] = set()
    if service_log is not None:
        with opened_input("--service-log", service_log) as lines:
            seen = started_on(lines, keys)
    otherwise = Proof.ATTESTED if attested else Proof.NOT_DONE
    return {each.secret: Proof.VERIFIED if each.secret in seen else otherwise for each in statuses}


def _known(number: int, file: str) -> OperationsLog:
    log = read_log(OperationsLog(file, f"--known, number {number}"))
    if not log.records:
        fail(f"--known, number {number}: the log has no readable record; pass the log of another environment")
    return log


def _comparison(counts: Mapping[str, int], environment: str, known: Sequence[OperationsLog]) -> str:
    """Return the line that says how many records of each environment the keys were compared with."""
    each = ", ".join(f"{name} {number}" for name, number in counts.items())
    text = f"Compared with {count(sum(counts.values()), 'record')}{f' ({each})' if each else ''}."
    if not set(counts) - {environment, NO_ENVIRONMENT}:
        text += " To compare with another environment, pass its log with --known FILE."
    if damaged := sum(bool(log.defects) for log in known):
        text += (
            f" {count(damaged, 'known log does', 'known logs do')} not verify; only the readable records were compared."
        )
    return text


def _refused(
    report: Report,
    problems: Mapping[str, Problem] | Mapping[None, Problem] = _GATE_FAILED,
    comparison: Mapping[str, int] | None = None,
    compared_line: str = "",
) -> Result:
    """Return a refusal by the gate, or for the problems of single secrets."""
    lines = [*map(finding_text, report.findings)]
    for name, problem in problems.items():
        refused = f"REFUSED: {f'{name}: ' if name else ''}{problem.message}"
        lines += [mark(refused, RED), f"  fix: {problem.remedy}"]
    lines += [*filter(None, [compared_line]), MODEL, "Nothing was recorded."]
    refusals: list[dict[str, Any]] = [
        {"secret": name, "reason": problem.message, "remedy": problem.remedy} for name, problem in problems.items()
    ]
    return Result(EXIT_ALERTS, lines, lambda: _document(report, comparison or {}, refusals=refusals))


def _document(
    report: Report,
    comparison: Mapping[str, int],
    *,
    refusals: Sequence[dict[str, Any]] = (),
    unchanged: Sequence[str] = (),
    records: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "kind": "rotation-record",
        "refusals": [*refusals],
        "unchanged": [*unchanged],
        "compared": {**comparison},
        "records": [*records],
        "check": report.as_dict(),
    }


def _lines(records: Sequence[Record], options: Sequence[str]) -> Iterator[str]:
    """Yield the lines about new records."""
    for record in records:
        yield recorded_line(record)
        if record.validation:
            done = ", ".join(f"{name} {step}" for name, step in record.as_dict()["validation"].items())
            yield f"  validation: {done}"
        if record.replaced and record.replaced_until:
            yield f"  replaced: {record.replaced}, which verifies until {iso_utc(record.replaced_until)}"
        if record.open_steps:
            steps = ", ".join(record.open_steps)
            yield mark(f"INCOMPLETE: when the remaining steps are done ({steps}), run:", YELLOW)
            yield f"{COMMAND_INDENT}{completion(record, options)}"
    first = records[0]
    if first.event is Event.CONTINUED:
        yield f"The operations log continues after record {first.sequence - 1} of an earlier file ({first.previous})."
    elif first.sequence == 1:
        yield "This operations log is new."


def _plan(
    request: Request,
    *,
    environment: str | None,
    operator: str | None,
    ticket: str | None,
    name: str,
    emergency: bool,
) -> Result:
    model = model_of(request)
    policy = policy_of(model, name)
    report = judged(request, model)
    recorded = recorded_log(request, model)
    options, log_options = given(request, "config_dir", "model"), given(request, "operations_log")
    stage, steps = plan_rotation(
        policy,
        report,
        recorded.records,
        environment=environment,
        who=(*option("--operator", operator or "YOUR-NAME"), *given_option("ticket", ticket)),
        options=options,
        log_options=log_options,
        is_emergency=emergency,
    )
    words = " ".join(commands for _, commands in steps if commands).split()
    replaced = [word for word in PLACEHOLDERS if word in words]
    where = given_option("environment", environment)
    in_emergency = command("rotate", "plan", policy.name, "--emergency", *where, *log_options, *options)
    lines = [f"Rotation of {policy.name} (owner: {policy.owner}; cadence: {count(policy.cadence.days, 'day')})"]
    if replaced:
        lines.append(f"Replace these words with your own values: {', '.join(replaced)}.")
    if stage:
        lines.append(f"If others may know the current key, do this instead: {in_emergency}")
    lines.append("")
    for number, (text, commands) in enumerate(steps, start=1):
        lines.append(f"{number}. {text}")
        lines += [f"{COMMAND_INDENT}  {line}" for line in (commands or "").splitlines()]
    document: dict[str, Any] = {
        "kind": "rotation-plan",
        "secret": policy.name,
        "stage": stage,
        "steps": [{"text": text, "command": commands} for text, commands in steps],
    }
    return Result(EXIT_CLEAN, [*lines, "", MODEL], lambda: document, recorded.complaint)
