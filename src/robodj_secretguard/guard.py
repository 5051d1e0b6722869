"""`check()` reports what is wrong with the secrets; `guard()` refuses to start (policy section 6)."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, overload

from pydantic import ValidationError

from robodj_secretguard.checks import Check, internal
from robodj_secretguard.emit import emit, silence_broken_streams, write_line
from robodj_secretguard.models import Model, RuntimeSecrets, SecretSettings, declares_secrets, read_of, require_values
from robodj_secretguard.report import Judgement, Report, finding, with_findings
from robodj_secretguard.sealed import contain, type_name
from robodj_secretguard.sources import ANNOUNCED, EPHEMERAL, Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robodj_secretguard.policy import SecretPolicy

REFUSED: Final = 3
"""At this status gunicorn and uvicorn stop, instead of starting their workers again forever."""
REFUSED_UNDER_RELOADER: Final = 4
"""In the child of Werkzeug's, Django's or Bottle's autoreloader, where 3 means "reload"."""
FLUSH_SECONDS: Final = 2.0
"""How long a refusal that ends the process at once waits for the logging handlers."""

_RELOADER_VARIABLES: Final = ("WERKZEUG_RUN_MAIN", "RUN_MAIN", "BOTTLE_CHILD")
_MAX_STATUS: Final = 255
_NOTHING_VERIFIED: Final = (
    "ALERT: robodj-secretguard refused to start: the check or its report failed, so nothing is verified."
)


def check(
    model: type[SecretSettings] = RuntimeSecrets,
    *,
    environ: Mapping[str, str] | None = None,
    config_dir: str | os.PathLike[str] | None = None,
    require_env_only: bool = False,
    now: datetime | None = None,
) -> Report:
    """Run every check that `guard()` runs, and return what they found (policy sections 6 and 7).

    It prints and logs nothing, never exits, and raises for no finding.

    Args:
        model: the settings model that declares the secrets.
        environ: the variables to read; `None` for those of the process.
        config_dir: where the fallback files are; `None` for `ROBODJ_CONFIG_DIR`, otherwise the model's, otherwise
            `config`.
        require_env_only: ignore fallback files whatever the switches in the environment say.
        now: the time to judge by, with a timezone; `None` for the clock's.

    Returns:
        The report: `ok` is true when there is no alert.

    Raises:
        TypeError: `model` declares no secret.
        ValueError: `now` has no timezone.
    """
    environment = Environment(environ)
    del environ  # a traceback with locals would show every variable
    try:
        report, _ = examine(
            model, environment=environment, config_dir=config_dir, require_env_only=require_env_only, now=now
        )
    finally:
        del model, config_dir, require_env_only, now  # nor what else was passed
    return report


def examine(
    model: type[Model],
    *,
    environment: Environment,
    config_dir: str | os.PathLike[str] | None,
    require_env_only: bool,
    now: datetime | None = None,
) -> tuple[Report, Model | None]:
    """Read once, run every check on what was read, and build the model from it when no check objects.

    Returns:
        The report, and the model of the very values that it is about: `None` when the report has an alert.

    Raises:
        TypeError: `model` declares no secret.
        ValueError: `now` has no timezone.
        KeyboardInterrupt: it was interrupted.
    """
    if not declares_secrets(model):
        del model, config_dir, require_env_only, now
        msg = "the model must be a subclass of SecretSettings that declares a secret"
        raise TypeError(msg)
    if now is not None and now.utcoffset() is None:
        del model, config_dir, require_env_only, now
        msg = "now must have a timezone"
        raise ValueError(msg)
    now = (datetime.now(UTC) if now is None else now).astimezone(UTC)

    judgement = contain(
        lambda: Judgement(
            read_of(model, environment, now=now, config_dir=config_dir, require_env_only=require_env_only)
        )
    )
    if isinstance(judgement, BaseException):
        # Not bool(): what was passed may be what failed.
        empty = Report(
            checked_at=now, require_env_only=require_env_only is True, revocation_list=None, secrets=(), findings=()
        )
        return _failed(empty, model.secret_policies, judgement)
    report = judgement.report()
    if not report.ok:
        return report, None
    # Required once more: an `__init__` of the host's need not have called ours.
    secrets = contain(lambda: require_values(model(_judgement=judgement), judgement))
    if isinstance(secrets, BaseException):
        return _failed(report, model.secret_policies, secrets)
    return report, secrets


def _failed(report: Report, declared: Mapping[str, SecretPolicy], failure: BaseException) -> tuple[Report, None]:
    """Return the report with an alert that says no more of a failure than its type and its secret."""
    if isinstance(failure, KeyboardInterrupt):
        raise failure
    policies = tuple(declared.values())
    policy = None
    if isinstance(failure, ValidationError):  # of a validator of the host's own
        location = failure.errors()[0]["loc"]
        policy = declared.get(str(location[0])) if location else None
    failed = finding(policies, Check.INTERNAL, internal(type_name(failure)), policy)
    return with_findings(report, [failed]), None


@overload
def guard(
    *,
    config_dir: str | os.PathLike[str] | None = None,
    require_env_only: bool = False,
    logger: Any = None,
    exit_status: int | None = None,
) -> RuntimeSecrets: ...


@overload
def guard(
    model: type[Model],
    *,
    config_dir: str | os.PathLike[str] | None = None,
    require_env_only: bool = False,
    logger: Any = None,
    exit_status: int | None = None,
) -> Model: ...


def guard(
    model: type[SecretSettings] = RuntimeSecrets,
    *,
    config_dir: str | os.PathLike[str] | None = None,
    require_env_only: bool = False,
    logger: Any = None,
    exit_status: int | None = None,
) -> SecretSettings:
    """Return the validated secrets, or end the process (policy section 6).

    Call it at import in the service main, before anything that uses a key. Every finding is written as one line,
    `ALERT: ...` or `WARNING: ...`. Nothing skips the checks.

    Args:
        model: the settings model that declares the secrets.
        config_dir: where the fallback files are; `None` for `ROBODJ_CONFIG_DIR`, otherwise the model's, otherwise
            `config`.
        require_env_only: ignore fallback files whatever the switches in the environment say.
        logger: a structlog logger to send the findings to; `None` for the host's configured one, if there is one,
            else plain lines on stdout. A refusal is always written to stderr or stdout as well.
        exit_status: the status of a refusal, 1 to 255; `None` for 3, or 4 under an autoreloader.

    Returns:
        The frozen model, of the very values that were checked.

    Raises:
        SystemExit: there is an alert; a note of it says which. In a thread other than the main one, in a greenlet, and
            under a running loop of asyncio, trio or Twisted, where that could be swallowed, the process ends at once
            with the same status instead; but not in a run of pytest with this library's plugin.
        KeyboardInterrupt: it was interrupted before there was a verdict.
        TypeError: `model` declares no secret.
        ValueError: `exit_status` is not an int from 1 to 255.
    """
    given = report = secrets = None
    try:
        given = _valid_status(exit_status)
        report, secrets = examine(
            model, environment=Environment(), config_dir=config_dir, require_env_only=require_env_only
        )
    except (TypeError, ValueError, KeyboardInterrupt):  # wrong arguments, or an operator who gives up
        raise
    except BaseException:  # noqa: BLE001, S110 - no frame or no memory is left to check anything with
        pass
    finally:  # what was passed may be a key, and a traceback with locals would show it
        del model, config_dir, require_env_only, exit_status
    if report is not None and secrets is not None:
        if report.findings:
            report = _without_repetition(report)
        _say(report, logger)
        return secrets
    status = REFUSED
    try:
        status = given or _status_by_default()
        refusal = SystemExit(status)  # in here: a signal handler that raises after a call must not replace it
        refusal.add_note(_NOTHING_VERIFIED if report is None else _summary(report))
        if report is None or not _say(report, logger, report.refusal("refused to start", status), status):
            write_line(getattr(sys, "stderr", None), _NOTHING_VERIFIED)
        _exit_where_swallowed(status)
    except BaseException:  # noqa: BLE001 - nor is there any better way to end
        os._exit(status)
    try:
        raise refusal
    finally:
        refusal.__context__ = None  # the host's own exception, if this is called while one is handled


def _summary(report: Report) -> str:
    """Say in one line what was refused, for whoever looks at the exception: pytest's plugin does."""
    return "refused: " + ", ".join(f"{alert.secret or 'set-up'}: {alert.check}" for alert in report.alerts)


def _without_repetition(report: Report) -> Report:
    """Return a report without what `exec` has shown already: that the keys are temporary."""
    if contain(lambda: os.environ.get(EPHEMERAL)) != ANNOUNCED:
        return report
    return report._replace(findings=tuple(each for each in report.findings if each.check is not Check.EPHEMERAL))


def _say(report: Report, logger: Any, refusal: str = "", status: int = 0) -> bool:
    """Write what was found, and the last line of a refusal; return whether all of it was taken."""
    said = contain(lambda: emit(report, logger, refusal=refusal, exit_status=status))
    silence_broken_streams()  # after a start too: the process must not die of our line as it exits
    return said is True


def _status_by_default() -> int:
    # Contained: the frames of os.environ hold all of it.
    reloading = contain(lambda: any(os.environ.get(name) == "true" for name in _RELOADER_VARIABLES))
    return REFUSED_UNDER_RELOADER if reloading is True else REFUSED


def _valid_status(given: int | None) -> int | None:
    # True is an int, and 256 is a success.
    if given is not None and (type(given) is not int or not 1 <= given <= _MAX_STATUS):
        del given
        msg = f"exit_status must be an int from 1 to {_MAX_STATUS}"
        raise ValueError(msg)
    return given


def _exit_where_swallowed(status: int) -> None:
    """End the process at once where a `SystemExit` could be swallowed, and the service go on to serve."""
    swallowed = threading.current_thread() is not threading.main_thread() or _is_event_loop_running()
    # Not in a run of pytest with our plugin: there, a test looks at the `SystemExit`.
    if swallowed and contain(lambda: sys.modules["pytest_robodj_secretguard"].is_running()) is not True:  # noqa: PLW0108
        try:
            _flush_at_most(FLUSH_SECONDS)
        finally:
            os._exit(status)


def _is_event_loop_running() -> bool:
    # A host that has not imported a library of event loops, or only half of it, runs none of its loops.
    asyncio = contain(lambda: sys.modules["asyncio"].get_running_loop())  # noqa: PLW0108 - looked up inside
    trio = contain(lambda: sys.modules["trio"].lowlevel.current_trio_token())  # noqa: PLW0108
    twisted = contain(lambda: sys.modules["twisted.internet.reactor"].running)  # the reactor itself
    in_greenlet = contain(lambda: sys.modules["greenlet"].getcurrent().parent is not None)  # eventlet's, gevent's
    return True in (twisted, in_greenlet) or not all(isinstance(loop, BaseException) for loop in (asyncio, trio))


def _flush_at_most(seconds: float) -> None:
    """Give the logging handlers and the standard streams a bounded time to write what they hold."""
    flusher = threading.Thread(target=contain, args=(_flush,), daemon=True)
    flusher.start()
    flusher.join(seconds)


def _flush() -> None:
    import logging  # noqa: PLC0415 - neither is needed by a service that starts
    import queue  # noqa: PLC0415

    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", ())]
    for handler in handlers:
        contain(handler.flush)
    for handler in handlers:
        waiting = getattr(handler, "queue", None)  # a QueueHandler's: its listener takes events off in a thread
        if isinstance(waiting, queue.Queue):
            waiting.join()
    logging.shutdown()
    silence_broken_streams()
