"""`check()` reports what is wrong with the secrets; `guard()` refuses to start (policy section 6)."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, overload

from pydantic import ValidationError

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.sealed import contain, type_name
from robodj_secretguard.settings import (
    Model,
    RuntimeSecrets,
    SecretSettings,
    candidate_of,
    declares_secrets,
    join,
    judgement_of,
)
from robodj_secretguard.startup.emit import configured_pipeline, emit, silence_broken_streams, write_line
from robodj_secretguard.startup.inputs import ANNOUNCED, EPHEMERAL, SECRET_EVENTS, SECRET_HEARTBEAT
from robodj_secretguard.startup.readings import Environment
from robodj_secretguard.startup.report import REFUSED, Judgement, Report, finding, with_findings
from robodj_secretguard.startup.rules import Check, Severity, internal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.readings import ManagedSource, StrPath

REFUSED_UNDER_RELOADER: Final = 4
"""The status in the child of the autoreloader of Werkzeug, Django or Bottle, where 3 means "reload"."""
WRITE_SECONDS: Final = 5.0
"""The time limit for a whole refusal that ends the process at once: its lines, and the logging handlers."""

_RELOADER_VARIABLES: Final = ("WERKZEUG_RUN_MAIN", "RUN_MAIN", "BOTTLE_CHILD")
_MAX_STATUS: Final = 255
_NOTHING_VERIFIED: Final = (
    "ALERT: robodj-secretguard refused to start: the check or its report failed, so nothing is verified."
)


def check(
    model: type[SecretSettings] = RuntimeSecrets,
    *,
    environ: Mapping[str, str] | None = None,
    config_dir: StrPath | None = None,
    require_env_only: bool = False,
    now: datetime | None = None,
) -> Report:
    """Run every check that `guard()` runs, and return the report (policy sections 6 and 7).

    Print and log nothing, never exit, and raise no error for a finding.

    Args:
        model: the settings model that declares the secrets.
        environ: the variables to read; `None` for those of the process.
        config_dir: the directory of the fallback files; `None` for `ROBODJ_CONFIG_DIR`, otherwise the model's
            directory, otherwise `config`.
        require_env_only: ignore fallback files, also where the switches in the environment allow them.
        now: the time of the check, with a timezone; `None` for the clock's time.

    Returns:
        The report. Its `ok` is true when there is no alert.

    Raises:
        TypeError: `model` declares no secret.
        ValueError: `now` has no timezone.
    """
    environment = Environment(environ)
    del environ  # a traceback with locals would show every variable
    try:
        examined = examine(
            model, environment=environment, config_dir=config_dir, require_env_only=require_env_only, now=now
        )
    finally:
        del model, config_dir, require_env_only, now  # an argument may be a key, too
    return examined.report


class Examination(Frozen):
    """The result of one check of a model.

    Attributes:
        report: the report.
        secrets: the settings of the values that were checked; `None` when the report has an alert.
        judgement: the values; `None` where the check itself failed.
    """

    report: Report
    secrets: SecretSettings | None
    judgement: Judgement | None = None


def examine(
    model: type[SecretSettings],
    *,
    environment: Environment,
    config_dir: StrPath | None,
    require_env_only: bool,
    managers: Sequence[ManagedSource] = (),
    now: datetime | None = None,
    is_elsewhere: bool = False,
) -> Examination:
    """Read all values once, run every check on them, and build the model from them when there is no alert.

    `is_elsewhere`: this may be another machine than the service's.

    Raises:
        TypeError: `model` declares no secret.
        ValueError: `now` has no timezone.
        KeyboardInterrupt: the check was interrupted.
    """
    if not declares_secrets(model):
        del model, config_dir, require_env_only, now
        raise TypeError("the model must be a subclass of SecretSettings that declares a secret")
    if now is not None and now.utcoffset() is None:
        del model, config_dir, require_env_only, now
        raise ValueError("now must have a timezone")
    now = (datetime.now(UTC) if now is None else now).astimezone(UTC)

    try:
        judgement = contain(
            lambda: judgement_of(
                model,
                environment,
                now=now,
                config_dir=config_dir,
                require_env_only=require_env_only,
                managers=managers,
                is_elsewhere=is_elsewhere,
            )
        )
    except Exception as failure:  # noqa: BLE001 - of whatever type, it is a reason to refuse
        # Not bool(): the error may come from this argument.
        empty = Report(
            checked_at=now, require_env_only=require_env_only is True, revocation_list=None, secrets=(), findings=()
        )
        return Examination(_failed(empty, model.secret_policies, failure), None)
    finally:
        config_dir = None  # it may be a key, and an interrupt can show this frame
    report = judgement.report()
    if not report.ok:
        return Examination(report, None, judgement)
    try:
        # Require it here too: the host's `__init__` may not have called that of `SecretSettings`.
        return Examination(report, contain(lambda: candidate_of(model)(judgement)), judgement)
    except Exception as failure:  # noqa: BLE001 - as above
        return Examination(_failed(report, model.secret_policies, failure), None, judgement)


def _failed(report: Report, declared: Mapping[str, SecretPolicy], failure: Exception) -> Report:
    """Return the report with an alert that has only the type and the secret of a failure."""
    policies = tuple(declared.values())
    policy = None
    if isinstance(failure, ValidationError):  # from a validator of the host
        location = failure.errors()[0]["loc"]
        policy = declared.get(str(location[0])) if location else None
    failed = finding(policies, Check.INTERNAL, internal(type_name(failure)), policy)
    unverified = tuple([status._replace(usable=False) for status in report.secrets])
    return with_findings(report._replace(secrets=unverified), [failed])


@overload
def guard(
    *,
    config_dir: StrPath | None = None,
    require_env_only: bool = False,
    logger: Any = None,
    exit_status: int | None = None,
) -> RuntimeSecrets: ...


@overload
def guard(
    model: type[Model],
    *,
    config_dir: StrPath | None = None,
    require_env_only: bool = False,
    logger: Any = None,
    exit_status: int | None = None,
) -> Model: ...


def guard(
    model: type[SecretSettings] = RuntimeSecrets,
    *,
    config_dir: StrPath | None = None,
    require_env_only: bool = False,
    logger: Any = None,
    exit_status: int | None = None,
) -> SecretSettings:
    """Return the validated secrets, or end the process (policy section 6).

    Call it at import in the service main, before anything that uses a key. Each finding is written as two lines,
    `ALERT: ...` or `WARNING: ...` and its fix. Nothing skips the checks.

    Where a secrets directory and a period are set, a daemon thread reads the keys again (policy sections 3 and 4). Its
    findings go to the same logger. If the current key is revoked and no good one comes, the thread ends the process
    with status 3.

    Args:
        model: the settings model that declares the secrets.
        config_dir: the directory of the fallback files; `None` for `ROBODJ_CONFIG_DIR`, otherwise the model's
            directory, otherwise `config`.
        require_env_only: ignore fallback files, also where the switches in the environment allow them.
        logger: the structlog logger that gets the findings; `None` for the host's configured one. Without either, they
            are plain lines: warnings on stderr, and alerts on stdout. A refusal is always written as plain lines.
        exit_status: the status of a refusal, 1 to 255; `None` for 3, or 4 under an autoreloader.

    Returns:
        The frozen model of the values that were checked.

    Raises:
        SystemExit: there is an alert, and a note of the exception names it. The exception could be swallowed in another
            thread than the main one, in a greenlet, and under a running loop of asyncio, trio or Twisted. There, the
            process ends at once with the same status, except in a run of pytest with this library's plugin.
        KeyboardInterrupt: the check was interrupted.
        TypeError: `model` declares no secret.
        ValueError: `exit_status` is not an int from 1 to 255.
    """
    required_status = report = secrets = None
    name = ""
    try:
        required_status = _valid_status(exit_status)
        examined = examine(model, environment=Environment(), config_dir=config_dir, require_env_only=require_env_only)
        report, secrets = examined.report, examined.secrets
        name = f"{model.__module__}:{model.__qualname__}"
        _follow_sources(model, examined, name, logger)
    except (TypeError, ValueError, KeyboardInterrupt):  # invalid arguments, or Ctrl-C
        raise
    except BaseException:  # noqa: BLE001 - no stack or no memory is left for the check
        report = secrets = None
    finally:  # an argument may be a key, and a traceback with locals would show it
        del model, config_dir, require_env_only, exit_status
    if report is not None and secrets is not None:
        if report.findings:
            report = _without_repetition(report)
        _write(report, logger)
        announce("started", report, name, logger, secrets=secrets)
        return secrets
    status = REFUSED
    try:
        status = required_status or _status_by_default()
        refusal = SystemExit(status)  # here, as a signal handler may raise after any call
        refusal.add_note(_NOTHING_VERIFIED if report is None else _summary(report))
        is_swallowed = _probe(_is_swallowed) is not False
        is_limited = _probe(lambda: is_swallowed and _exit_later(status)) is True
        if report is None or not _write(report, logger, report.refusal("refused to start", status), status):
            write_line(getattr(sys, "stderr", None), _NOTHING_VERIFIED)
        if report is not None:
            announce("refused", report, name)
        if is_swallowed:
            if is_limited:  # otherwise, a handler that blocks would keep the process alive
                _probe(_flush)
            os._exit(status)
    except BaseException:  # noqa: BLE001 - there is no better way to end
        os._exit(status)
    try:
        raise refusal
    finally:
        refusal.__context__ = None  # an exception that the host is handling during this call


def _follow_sources(model: type[SecretSettings], examined: Examination, name: str, logger: Any) -> None:
    """Let the secrets of this process follow what was read, and begin to read the secrets directory again."""
    if examined.judgement is None:
        return
    store = join(model, examined.judgement, examined.secrets)
    if examined.secrets is not None and store is not None and store.reader is not None:
        store.reader.follow_directory(
            examined.judgement.again,
            lambda kind, running, state: announce(kind, running, name, logger, state=state),
            logger,
        )


def _summary(report: Report) -> str:
    """Return the alerts in one line, as a note of the exception. The pytest plugin reads it."""
    return "refused: " + ", ".join(f"{alert.secret or 'set-up'}: {alert.check}" for alert in report.alerts)


def _without_repetition(report: Report) -> Report:
    """Return a report without notes, and without what `exec` already printed: that the keys are temporary."""
    is_said = _probe(lambda: os.environ.get(EPHEMERAL)) == ANNOUNCED
    kept = [
        each
        for each in report.findings
        if each.severity is not Severity.NOTE and not (is_said and each.check is Check.EPHEMERAL)
    ]
    return report._replace(findings=tuple(kept))


def _write(report: Report, logger: Any, refusal: str = "", status: int = 0) -> bool:
    """Write the findings and the last line of a refusal, and return whether that worked."""
    written = _probe(lambda: emit(report, logger, refusal=refusal, exit_status=status))
    silence_broken_streams()  # otherwise the process could fail at its exit
    return written is True


def announce(kind: str, report: Report, model: str, logger: Any = None, **running: Any) -> None:
    """Say on which keys this process runs, or that it does not start, where an event goes anywhere. Raise nothing."""
    with suppress(BaseException):
        has_pipeline = kind != "refused" and (logger is not None or configured_pipeline() is not None)
        if has_pipeline or SECRET_EVENTS in os.environ or SECRET_HEARTBEAT in os.environ:
            from robodj_secretguard.running import heartbeat  # noqa: PLC0415 - few starts need it

            heartbeat.send_and_repeat(kind, report, model, logger, **running)


def _probe(action: Callable[[], object]) -> object:
    """Return what an action returns; `None` for any error. Frames of `os.environ` have keys, so none is passed on."""
    try:
        return action()
    except BaseException:  # noqa: BLE001 - a host's stream, module or variable may raise anything
        return None


def _status_by_default() -> int:
    is_reloading = _probe(lambda: any(os.environ.get(name) == "true" for name in _RELOADER_VARIABLES))
    return REFUSED_UNDER_RELOADER if is_reloading else REFUSED


def _valid_status(status: int | None) -> int | None:
    # True is an int, and the shell gets 0 for 256.
    if status is not None and (type(status) is not int or not 1 <= status <= _MAX_STATUS):
        del status
        raise ValueError(f"exit_status must be an int from 1 to {_MAX_STATUS}")
    return status


def _is_swallowed() -> bool:
    """Check whether a `SystemExit` could be swallowed here, and the service would run."""
    if threading.current_thread() is threading.main_thread() and not _is_event_loop_running():
        return False
    # In a run of pytest with this library's plugin, a test may expect the `SystemExit`.
    return _probe(lambda: sys.modules["pytest_robodj_secretguard"].is_running()) is not True  # noqa: PLW0108


def _exit_later(status: int) -> bool:
    """End the process after some time, even if the lines cannot be written: a full pipe blocks."""
    timer = threading.Timer(WRITE_SECONDS, os._exit, [status])
    timer.daemon = True
    timer.start()
    return True


def _is_event_loop_running() -> bool:
    # Only a host that imported a library of event loops completely can run one of its loops.
    asyncio = _probe(lambda: sys.modules["asyncio"].get_running_loop())  # noqa: PLW0108 - looked up inside
    trio = _probe(lambda: sys.modules["trio"].lowlevel.current_trio_token())  # noqa: PLW0108
    twisted = _probe(lambda: sys.modules["twisted.internet.reactor"].running)  # the reactor itself
    in_greenlet = _probe(lambda: sys.modules["greenlet"].getcurrent().parent is not None)  # eventlet's, gevent's
    return twisted is True or in_greenlet is True or asyncio is not None or trio is not None


def _flush() -> None:
    """Let logging handlers and standard streams write their buffers."""
    import logging  # noqa: PLC0415 - not needed where the service starts
    import queue  # noqa: PLC0415

    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", ())]
    for handler in handlers:
        _probe(handler.flush)
    for handler in handlers:
        waiting = getattr(handler, "queue", None)  # a QueueHandler's: its listener reads events in a thread
        if isinstance(waiting, queue.Queue):
            waiting.join()
    logging.shutdown()
    silence_broken_streams()
