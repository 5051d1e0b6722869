"""`rotate`: what is next to do, and the record that it was done (policy section 3)."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from robodj_secretguard.commands.answer import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    Answer,
    UsageError,
    add_command,
    add_group,
    document,
    judged,
    model_of,
    policy_of,
)
from robodj_secretguard.commands.recorded import evidence, loaded, prepared_path, the_log
from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.operations_log import LogError
from robodj_secretguard.lifecycle.plan import plan
from robodj_secretguard.lifecycle.records import Event, Step
from robodj_secretguard.lifecycle.rotation import Rotation, compared, judge, open_steps, rotations, started_on
from robodj_secretguard.lifecycle.texts import is_environment, is_free_text
from robodj_secretguard.render import finding_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from robodj_secretguard.findings import Report, SecretStatus
    from robodj_secretguard.lifecycle.operations_log import Entry, Log
    from robodj_secretguard.lifecycle.rotation import Verdict
    from robodj_secretguard.models import SecretSettings

STARTUP: Final = "startup"
FUNCTIONS: Final = "functions"

_STDIN: Final = "-"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    group = add_group(commands, "rotate", "Plan a rotation, or record that it was done")
    shared = ("--environment", "--operator", "--ticket", "--operations-log", "--config-dir", "--model", "--format")
    record = add_command(
        group,
        "record",
        _record,
        options=shared,
        description="Record a rotation in the operations log. The gate runs first, environment-only, and nothing is"
        " recorded of a key that fails it, is not new, or is used elsewhere.",
        epilog="exit status: 0 recorded, 1 refused, 2 wrong usage, or it could not be recorded",
    )
    record.add_argument(
        "names", nargs="*", metavar="NAME", help="the secrets that were rotated (default: all new keys)"
    )
    record.add_argument(
        "--attest",
        action="append",
        choices=(STARTUP, FUNCTIONS),
        default=[],
        help="you say that services started and their startup checks passed, or that what depends on"
        " authentication and encryption operates",
    )
    record.add_argument(
        "--service-log",
        metavar="FILE",
        help="a service's log (- for stdin), in which guard()'s event shows that it started on the new key",
    )
    record.add_argument(
        "--known",
        action="append",
        metavar="FILE",
        default=[],
        help="the operations log of another environment, whose keys must be others",
    )
    planned = add_command(
        group,
        "plan",
        _plan,
        options=shared,
        description="Print the next commands of a rotation.",
        epilog="exit status: 0 printed, 2 wrong usage",
    )
    planned.add_argument("name", metavar="NAME", help="the secret, such as secret.key")


def require_texts(arguments: argparse.Namespace, *names: str) -> None:
    """Make sure that what operators say is fit to be kept and shown, without repeating it.

    Args:
        arguments: those of the command.
        names: the options; those that were not given are passed over.

    Raises:
        UsageError: one is not.
    """
    for name in names:
        text = getattr(arguments, name)
        if text is not None and not is_free_text(text):
            msg = f"--{name} must be one line of printable text, up to 500 characters, without anything like a key"
            raise UsageError(msg)
    environment = getattr(arguments, "environment", None)
    if environment is not None and not is_environment(environment):
        msg = "--environment must be a name like dev, staging or prod: lower-case letters, digits, hyphen, underscore"
        raise UsageError(msg)


def _record(arguments: argparse.Namespace) -> Answer:
    if arguments.environment is None or arguments.operator is None:
        msg = "rotate record needs --environment and --operator"
        raise UsageError(msg)
    require_texts(arguments, "operator", "ticket")
    model = model_of(arguments)
    named = {policy_of(model, name).name for name in arguments.names}
    report = judged(arguments, model, require_env_only=True)
    if not report.ok:
        return _refused(arguments, report, {None: "the gate failed"}, "")
    statuses = [status for status in report.secrets if not named or status.secret in named]
    rotation = Rotation(
        environment=arguments.environment,
        operator=arguments.operator,
        ticket=arguments.ticket,
        startup=_startup(arguments, statuses),
        functions=Step.ATTESTED if FUNCTIONS in arguments.attest else Step.NOT_DONE,
    )
    others = [_known(file) for file in arguments.known]
    known = [entry.record for log in others for entry in log.entries]
    try:
        with operations_log.opened(prepared_path(arguments)) as log:
            records = sorted([*known, *(entry.record for entry in log.log.entries)], key=lambda each: each.recorded_at)
            verdicts = {status.secret: judge(status, rotation, records) for status in statuses}
            refusals = _refusals(verdicts, named)
            comparison = compared(records, rotation.environment, others)
            if refusals:
                return _refused(arguments, report, refusals, comparison)
            entries = log.append([verdict.record for verdict in verdicts.values() if verdict.record])
    except LogError as error:
        msg = f"nothing was recorded: {the_log(arguments)}: {error}"
        raise UsageError(msg) from None
    return _recorded(arguments, entries, [name for name, verdict in verdicts.items() if verdict.unchanged], comparison)


def _startup(arguments: argparse.Namespace, statuses: Sequence[SecretStatus]) -> dict[str, Step]:
    """Return how it is known that services start on each key."""
    fingerprints = [status.fingerprint for status in statuses if status.fingerprint]
    seen: set[str] = set()
    if arguments.service_log is not None:
        try:
            with open(arguments.service_log, "rb") if arguments.service_log != _STDIN else _stdin() as lines:
                seen = started_on(lines, fingerprints)
        except OSError:
            msg = "--service-log cannot be read"
            raise UsageError(msg) from None
    otherwise = Step.ATTESTED if STARTUP in arguments.attest else Step.NOT_DONE
    return {each: Step.VERIFIED if each in seen else otherwise for each in fingerprints}


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise OSError
    return sys.stdin.buffer


def _known(file: str) -> Log:
    log = loaded(file, "--known")
    if not log.entries:
        msg = "--known: it has no record that can be read, and nothing can be compared with it"
        raise UsageError(msg)
    return log


def _refusals(verdicts: dict[str, Verdict], named: set[str]) -> dict[str | None, str]:
    refusals: dict[str | None, str] = {name: each.refusal for name, each in verdicts.items() if each.refusal}
    unchanged = [name for name, each in verdicts.items() if each.unchanged]
    # Of those that were not named, the ones that were not rotated are passed over, unless none was.
    if unchanged and (named or len(unchanged) == len(verdicts)):
        why = "nothing was rotated: this key is the one that is recorded already; deliver the new one first"
        refusals |= dict.fromkeys(unchanged, why)
    return refusals


def _refused(arguments: argparse.Namespace, report: Report, refusals: dict[str | None, str], comparison: str) -> Answer:
    if arguments.format == "json":
        reasons = [{"secret": name, "reason": why} for name, why in refusals.items()]
        return Answer(
            EXIT_ALERTS,
            document(ok=False, refusals=reasons, compared=comparison or None, records=[], check=report.as_dict()),
        )
    lines = [finding_line(finding) for finding in report.findings]
    lines += [f"REFUSED: {f'{name}: ' if name else ''}{why}." for name, why in refusals.items()]
    lines += [f"{comparison}."] if comparison else []
    return Answer(EXIT_ALERTS, "\n".join([*lines, "Nothing was recorded."]))


def _recorded(
    arguments: argparse.Namespace, entries: Sequence[Entry], unchanged: Sequence[str], comparison: str
) -> Answer:
    events = [entry.as_dict() for entry in entries]
    if arguments.format == "json":
        result = document(ok=True, refusals=[], compared=comparison, unchanged=list(unchanged), records=events)
        return Answer(EXIT_CLEAN, result, events=events)
    lines = []
    for entry in entries:
        record = entry.record
        if record.event is Event.SEALED:
            lines.append(f"record {record.sequence}: closed off what a cut write had left")
            continue
        steps: dict[str, Any] = record.as_dict()["validation"]
        done = ", ".join(f"{name} {step}" for name, step in steps.items())
        lines += [
            f"{record.secret}: {record.event} in {record.environment}, {record.fingerprint}",
            f"  record {record.sequence} at {iso_utc(record.recorded_at)}: {done}",
        ]
        if remaining := open_steps(record):
            options = " ".join(f"--attest {name}" for name in remaining)
            lines.append(f"  INCOMPLETE: when it is done, record it again with {options}")
    lines += [f"{name}: unchanged, not recorded" for name in unchanged]
    lines += ["These are the first records of a new operations log."] if entries[0].record.sequence == 1 else []
    return Answer(EXIT_CLEAN, "\n".join([*lines, f"{comparison}."]), events=events)


def _plan(arguments: argparse.Namespace) -> Answer:
    require_texts(arguments, "operator", "ticket")
    model: type[SecretSettings] = model_of(arguments)
    policy = policy_of(model, arguments.name)
    environment = arguments.environment or "ENVIRONMENT"
    here = [
        record
        for record in rotations(evidence(arguments).records)
        if (record.secret, record.environment) == (policy.name, environment)
    ]
    steps = plan(
        policy,
        now=datetime.now(UTC),
        current=here[-1] if here else None,
        environment=environment,
        who=("--operator", arguments.operator or "YOUR-NAME", *_given(arguments, "ticket")),
        options=_given(arguments, "config_dir", "model"),
        log_options=_given(arguments, "operations_log"),
    )
    if arguments.format == "json":
        return Answer(
            EXIT_CLEAN,
            document(secret=policy.name, steps=[{"text": step.text, "command": step.command} for step in steps]),
        )
    lines = [f"Rotation of {policy.name}, every {policy.cadence.days} days by {policy.owner}"]
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number}. {step.text}")
        lines += [f"     {step.command}"] if step.command else []
    return Answer(EXIT_CLEAN, "\n".join(lines))


def _given(arguments: argparse.Namespace, *names: str) -> list[str]:
    """Return those of some options that were given, as they were given."""
    given = {f"--{name.replace('_', '-')}": getattr(arguments, name) for name in names}
    return [word for option, value in given.items() if value is not None for word in (option, value)]
