"""`check` and `exec`: the gate before a release (policy section 7), and before a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from robodj_secretguard.commands.answer import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, Answer, UsageError
from robodj_secretguard.commands.options import add_command, judged, model_of, passes
from robodj_secretguard.generate import ephemeral
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.launch import NOT_EXECUTABLE, NOT_FOUND, launch
from robodj_secretguard.program import PROGRAM
from robodj_secretguard.render import findings_text, report_json, report_text, tally
from robodj_secretguard.sealed import contain, type_name
from robodj_secretguard.sources import ALLOW_FILE_SECRET_FALLBACK, CONFIG_DIR, Environment
from robodj_secretguard.streams import restore_stdout

if TYPE_CHECKING:
    import argparse

    from robodj_secretguard.commands.options import Commands

_OPTIONS = ("--require-env-only", "--config-dir", "--model", "--strict", "--format")


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
        help="make throw-away keys for COMMAND, an image build or a test",
    )


def _check(arguments: argparse.Namespace) -> Answer:
    report = judged(arguments, model_of(arguments))
    passed = passes(arguments, report)
    render = report_json if arguments.format == "json" else report_text
    return Answer(EXIT_CLEAN if passed else EXIT_ALERTS, render(report, passed=passed))


def _exec(arguments: argparse.Namespace) -> Answer:
    command = arguments.command
    if not command:
        msg = f"the command goes after --; see {PROGRAM} exec --help"
        raise UsageError(msg)
    model = model_of(arguments)
    if arguments.ephemeral:
        policies = model.secret_policies.values()
        declared = [name for policy in policies for name in (policy.variable, policy.expiry_variable)]
        already_set = [name for name in declared if Environment().is_set(name)]
        if already_set:
            return _refused(f"{', '.join(already_set)}: set already, and throw-away keys replace nothing; unset it")
        os.environ.update(ephemeral(policies))
    report = judged(arguments, model)
    passed = passes(arguments, report)
    result = report_json(report, passed=passed) if arguments.format == "json" else findings_text(report)
    if not passed:
        return _refused(tally(report), result)

    def replace() -> int:
        # What the gate was told holds for the guard in the command.
        if arguments.config_dir is not None:
            os.environ[CONFIG_DIR] = os.path.abspath(arguments.config_dir)
        if arguments.require_env_only:
            os.environ[ALLOW_FILE_SECRET_FALLBACK] = "false"
        restore_stdout(arguments.stdout)
        return launch(command)

    # stdout is the command's.
    return Answer(EXIT_CLEAN, told=result if report.findings else "", then=lambda: _ended(contain(replace)))


def _refused(why: str, result: str = "") -> Answer:
    return Answer(REFUSED, result, f"{PROGRAM}: refused, the command was not started: {why}")


def _ended(status: int | BaseException) -> Answer:
    if isinstance(status, BaseException):
        return Answer(EXIT_USAGE, told=f"{PROGRAM}: starting the command failed ({type_name(status)})")
    why = {NOT_FOUND: "is not found, or its interpreter is not", NOT_EXECUTABLE: "cannot be executed"}.get(status)
    return Answer(status, told=f"{PROGRAM}: the command after -- {why}" if why else "")
