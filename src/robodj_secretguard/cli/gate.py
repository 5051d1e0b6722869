"""`check` and `exec`: the gate before a release (policy section 7), and before a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from robodj_secretguard.checks import Check, Problem, Severity
from robodj_secretguard.cli.options import (
    add_command,
    given,
    judged,
    log_place,
    model_line,
    model_of,
    model_used,
    passes,
    told_model,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    Answer,
    findings_text,
    report_json,
    report_text,
    tally,
)
from robodj_secretguard.cli.process import NOT_EXECUTABLE, NOT_FOUND, launch, restore_stdout
from robodj_secretguard.cli.project import PYPROJECT
from robodj_secretguard.errors import UsageError
from robodj_secretguard.generator import ephemeral
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.report import finding, with_findings
from robodj_secretguard.sealed import contain, type_name
from robodj_secretguard.sources import ANNOUNCED, CONFIG_DIR, EPHEMERAL, PROTECTED_ENV, Environment
from robodj_secretguard.texts import PROGRAM, command

if TYPE_CHECKING:
    import argparse

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.models import SecretSettings
    from robodj_secretguard.report import Report

_OPTIONS = ("--require-env-only", "--config-dir", "--model", "--strict", "--format", "--operations-log")


def add(commands: Commands) -> None:
    """Add both commands."""
    add_command(
        commands,
        "check",
        _check,
        options=_OPTIONS,
        description="Check every declared secret, the gate before a release. It shows nothing of any of them.",
        epilog="exit status: 0 clean (warnings are allowed unless --strict), 1 alerts, 2 wrong usage or no result",
    )
    gate_and_run = add_command(
        commands,
        "exec",
        _exec,
        options=_OPTIONS,
        description="Check every declared secret, and run a command only if none is refused. It replaces this process"
        " with COMMAND, which never starts on an alert.",
        usage=f"{PROGRAM} exec [options] -- COMMAND ...",
        epilog="exit status: the command's own; 3 refused, 2 wrong usage, 126 not executable, 127 not found",
    )
    gate_and_run.set_defaults(takes_command=True)
    gate_and_run.add_argument(
        "--ephemeral",
        action="store_true",
        help="make temporary keys for COMMAND, an image build or a test",
    )


def _check(arguments: argparse.Namespace) -> Answer:
    report = _report(arguments, model_of(arguments))
    passed = passes(arguments, report)
    return Answer(EXIT_CLEAN if passed else EXIT_ALERTS, _rendered(arguments, report, passed=passed))


def _report(arguments: argparse.Namespace, model: type[SecretSettings]) -> Report:
    """Return the report with what an operations log adds to it."""
    where = log_place(arguments, model)
    if where.named_by in {None, PYPROJECT} and not os.path.lexists(where.path):
        return judged(arguments, model)
    from robodj_secretguard.cli.recorded import checked  # noqa: PLC0415 - slow to import, and few gates have a log

    report, recorded = checked(arguments, model)
    remedy = f"Run {command('log', 'verify', *given(arguments, 'operations_log', 'config_dir', 'model'))}"
    if recorded.defects:
        message, severity = f"The operations log {recorded.worth}.", Severity.WARNING
    elif recorded.log.continues or (recorded.log.head and not recorded.log.records):
        message = "The operations log continues an earlier file, whose records are not judged here."
        severity = Severity.NOTE
    else:
        return report
    policies = tuple(model.secret_policies.values())
    problem = Problem(message, remedy, severity=severity)
    return with_findings(report, [finding(policies, Check.SETTING, problem)], policies)


def _rendered(arguments: argparse.Namespace, report: Report, *, passed: bool) -> str:
    if arguments.format == "json":
        return report_json(report, passed=passed, model=model_used(arguments))
    return report_text(report, passed=passed, model=model_line(arguments))


def _exec(arguments: argparse.Namespace) -> Answer:
    program = arguments.command
    if not program:
        msg = f"the command goes after --; see {PROGRAM} exec --help"
        raise UsageError(msg)
    model = model_of(arguments)
    if arguments.ephemeral:
        policies = model.secret_policies.values()
        declared = [name for policy in policies for name in (policy.variable, policy.expiry_variable)]
        already_set = [name for name in declared if Environment().is_set(name)]
        if already_set:
            return _refused(f"{', '.join(already_set)}: set already, and temporary keys replace nothing; unset it")
        os.environ.update(ephemeral(policies) | {EPHEMERAL: ANNOUNCED})
    report = _report(arguments, model)
    passed = passes(arguments, report)
    is_json = arguments.format == "json"
    result = _rendered(arguments, report, passed=passed) if is_json else findings_text(report)
    if not passed:
        return _refused(tally(report), result, told_model(arguments))

    def replace() -> int:
        # What the gate was told holds for the guard in the command.
        if arguments.config_dir is not None:
            os.environ[CONFIG_DIR] = os.path.abspath(arguments.config_dir)
        if arguments.require_env_only:
            os.environ[PROTECTED_ENV] = "true"
        restore_stdout(arguments.stdout)
        return launch(program)

    # stdout is the command's.
    shown = result if report.findings else ""
    return Answer(EXIT_CLEAN, told=told_model(arguments, shown), then=lambda: _ended(contain(replace)))


def _refused(why: str, result: str = "", told: str = "") -> Answer:
    refused = f"{PROGRAM}: refused, the command was not started: {why}"
    return Answer(REFUSED, result, "\n".join(filter(None, (told, refused))))


def _ended(status: int | BaseException) -> Answer:
    if isinstance(status, BaseException):
        return Answer(EXIT_USAGE, told=f"{PROGRAM}: starting the command failed ({type_name(status)})")
    why = {NOT_FOUND: "is not found, or its interpreter is not", NOT_EXECUTABLE: "cannot be executed"}.get(status)
    return Answer(status, told=f"{PROGRAM}: the command after -- {why}" if why else "")
