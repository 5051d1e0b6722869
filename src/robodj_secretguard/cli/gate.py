"""`check` and `exec`: the gate before a release (policy section 7), and before a command."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from robodj_secretguard.cli.options import (
    CHECK_OPTIONS,
    Commands,
    Request,
    add_command,
    judged,
    locate_log,
    passes,
    read_sources,
    require_project,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    PASSED,
    Result,
    fail,
    failed_status,
    finding_text,
    restore_stdout,
    revocation_line,
    status_rows,
    tally,
)
from robodj_secretguard.common.generator import ephemeral as temporary_keys
from robodj_secretguard.guarding import announce
from robodj_secretguard.secret.sealed import contain, type_name
from robodj_secretguard.secret.texts import GREEN, PROGRAM, PYPROJECT, RED, mark, paint
from robodj_secretguard.settings import setup_of
from robodj_secretguard.startup.inputs import ANNOUNCED, CONFIG_DIR, EPHEMERAL, PROTECTED_ENV, SECRETS_DIR
from robodj_secretguard.startup.readings import Environment, has_directory
from robodj_secretguard.startup.report import REFUSED, for_gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from robodj_secretguard.managers.manager import Sources
    from robodj_secretguard.startup.readings import ManagedSource
    from robodj_secretguard.startup.report import Report


def add(commands: Commands) -> None:
    """Add both commands."""
    add_command(
        commands,
        "check",
        _run_check,
        options=CHECK_OPTIONS,
        kind="report",
        description="Check every declared secret. This is the gate before a release. It prints no part of a key.",
        examples=("check", "check --require-env-only", "check --from directory:/run/secrets --format json"),
        statuses={
            "0": "no alert",
            "1": "alerts; with --strict, warnings too",
            "2": "usage error, or no result",
            "75": "the secret manager of --from did not answer in time",
        },
    )
    add_command(
        commands,
        "exec",
        _run_exec,
        options=CHECK_OPTIONS,
        own={
            "--ephemeral": "give COMMAND temporary keys, for an image build or a test; refused where the variable of a"
            " secret or ROBODJ_PROTECTED_ENV is set",
            "--keep-login": "leave the login of vault: or aws: in the environment of COMMAND, such as VAULT_TOKEN",
            "--previous": (
                "SGFP1",
                (
                    "give COMMAND the removed key with this fingerprint, from the versions that SOURCE keeps, to"
                    " encrypt stored data again: only find() and stored() have it"
                ),
            ),
        },
        defaults={"takes_command": True},
        kind="report",
        description="Check every declared secret, then run a command. The command does not start if there is an"
        " alert. Otherwise it replaces this process, and keeps its process id, its signals and its streams (on Windows"
        " it runs as a child).",
        examples=(
            "exec -- python -m http.server",
            "exec --from directory:/run/secrets -- python -m http.server",
            "exec --ephemeral -- python -m pytest",
        ),
        statuses={
            "2": "usage error, or no result",
            "3": "refused: COMMAND was not started",
            "75": "the secret manager of --from did not answer in time; try again",
            "126": "COMMAND cannot be executed",
            "127": "COMMAND is not found",
            "any": "otherwise the exit status of COMMAND",
        },
    )


def _run_check(request: Request) -> Result:
    sources = read_sources(request)
    report = for_gate(_check_with_log(request, sources))
    return report_result(report, sources.deliveries if sources else (), passed=passes(request, report))


def report_result(report: Report, managers: Iterable[ManagedSource] = (), *, passed: bool) -> Result:
    """Return the status of each secret, the findings, the model, the mode and the verdict."""
    mode = "environment only" if report.require_env_only else "environment, then fallback files"
    delivered = (status.source for status in report.secrets if status.source.startswith("directory:"))
    mode = ", then ".join([*([each.name for each in managers] or dict.fromkeys(delivered)), mode])
    failed = f"Secret integrity check FAILED: {tally(report)}. Do not release."
    return Result(
        EXIT_CLEAN if passed else failed_status(report, EXIT_ALERTS),
        [
            *map(finding_text, report.findings),
            *([""] if report.findings else []),
            MODEL,
            f"mode: {mode}",
            revocation_line(report.revocation_list),
            *([paint(PASSED, GREEN)] if passed else [report.details, mark(failed, RED)]),
        ],
        report.as_dict,
        table=status_rows(report),
    )


def _check_with_log(request: Request, sources: Sources | None) -> Report:
    """Return the report, with findings from the operations log if there is one."""
    path, _, named_by, _ = locate_log(request)
    if named_by in {None, PYPROJECT} and not os.path.lexists(path):
        return judged(request, sources)
    from robodj_secretguard.cli.log import checked_by_gate  # noqa: PLC0415 - its import is slow, and few gates have a log

    return checked_by_gate(request, sources)


def _run_exec(
    request: Request, *, command: Sequence[str] | None, ephemeral: bool, keep_login: bool, previous: str | None
) -> Result:
    if not command:
        fail(f"exec needs COMMAND; write it after --: {PROGRAM} exec [options] -- COMMAND ...")
    has_login = any(each.startswith(("vault:", "aws:")) for each in request.sources)
    if ephemeral and request.sources:
        fail("exec takes --from or --ephemeral, not both")
    if keep_login and not has_login:
        fail("exec takes --keep-login only with --from vault:MOUNT/PATH or aws:SECRET_ID")
    if previous is None and request.sources and _reads_directory(request):
        fail("exec: the service reads its secrets directory, and not --from; leave one of them out")
    if ephemeral:
        require_project(request)
        already_set = _keys_set(request)
        if already_set:
            what = f"ALERT: {PROGRAM} did not start the command: --ephemeral does not replace keys that are set"
            fix = f"unset {', '.join(already_set)}, or run the command without --ephemeral"
            return Result(REFUSED, stderr=[mark(what, RED), f"  fix: {fix}"])
        os.environ.update(temporary_keys(request.policies) | {EPHEMERAL: ANNOUNCED})
    sources = read_sources(request) if previous is None else _read_with_removed(request, previous)
    report = _check_with_log(request, sources)
    lines = [*map(finding_text, report.findings)]
    if not passes(request, report):
        status = failed_status(report, REFUSED)
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the report's
            announce("refused", report, f"{request.model_class.__module__}:{request.model_class.__qualname__}")
        refusal = mark(report.refusal("did not start the command", status), RED)
        return Result(status, lines, report.as_dict, [MODEL, refusal])

    start = partial(_become, request, sources, command, keep_login=keep_login)
    return Result(EXIT_CLEAN, lines, report.as_dict if lines else None, [MODEL], then=partial(_ended, start))


def _keys_set(request: Request) -> list[str]:
    """Return the variables of the secrets, and of their directory, that are set."""
    names = [SECRETS_DIR]
    for policy in request.policies:
        names += policy.variables
    return [name for name in names if Environment().is_set(name)]


def _read_with_removed(request: Request, wanted: str) -> Sources:
    """Return what the sources have delivered, with a removed key for the command."""
    sources = read_sources(request)
    if sources is None:
        fail("exec --previous needs --from SOURCE, which keeps the key")
    if sources.failed:
        return sources
    from robodj_secretguard.managers.removed import with_removed_key  # noqa: PLC0415 - few commands need such a key

    return with_removed_key(sources, request.sources, request.model_class, wanted)


def _reads_directory(request: Request) -> bool:
    environment = Environment()
    setup = setup_of(request.model_class)
    is_used = environment.is_set(SECRETS_DIR) or os.path.isdir(setup.secrets_dir or "")
    return has_directory(environment, setup) and is_used


def _ended(run: Callable[[], Result]) -> Result:
    try:
        return contain(run)
    except BaseException as failure:  # noqa: BLE001 - an interrupt, too
        return Result(EXIT_USAGE, stderr=[f"{PROGRAM}: running the command failed ({type_name(failure)})"])


def _become(
    request: Request,
    sources: Sources | None,
    program: Sequence[str],
    *,
    keep_login: bool,
) -> Result:
    """Replace this process with a command; on Windows, run it. Return the result if this process continues.

    The command keeps the process id, the standard streams and all inherited descriptors.
    """
    if request.config_dir is not None:
        os.environ[CONFIG_DIR] = os.path.abspath(request.config_dir)
    if request.require_env_only:
        os.environ[PROTECTED_ENV] = "true"
    if sources:
        for name in () if keep_login else sources.logins:
            os.environ.pop(name, None)  # who can read the environment of the service could read the manager
        os.environ.update(sources.variables(request.model_class))
    restore_stdout(request.stdout)
    try:
        if os.name == "nt":
            return Result(_run_on_windows(program))
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and so would what replaces the process
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvp(program[0], list(program))  # noqa: S606 - the operator names the command
    except (FileNotFoundError, NotADirectoryError, ValueError):  # an empty name is a ValueError
        status = 127
        why = "was not found, or its interpreter was not"
    except OSError:
        status = 126
        why = "cannot be executed; is it an executable file?"
    return Result(status, stderr=[f"{PROGRAM}: the command after -- {why}"])


def _run_on_windows(program: Sequence[str]) -> int:
    import shutil  # noqa: PLC0415 - only where a process cannot be replaced
    import subprocess  # noqa: PLC0415

    signal.signal(signal.SIGINT, lambda *_: None)  # both processes get Control-C, and the command decides
    # CreateProcess does not find .cmd and .bat files.
    return signed(subprocess.call([shutil.which(program[0]) or program[0], *program[1:]]))  # noqa: S603 - as above


def signed(status: int) -> int:
    """Return an unsigned Windows status as the signed number that `sys.exit` needs."""
    return (status + 2**31) % 2**32 - 2**31
