"""Observers that are reporters of other projects: rich, loguru, Sentry and pytest, set up as hosts do it."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import loguru
import pytest
import rich
import rich.console
import rich.traceback
import sentry_sdk
import sentry_sdk.integrations.logging
import sentry_sdk.transport
import structlog
from observers import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentry_sdk.envelope import Envelope


def _print_richly(error: BaseException, console: rich.console.Console) -> None:
    options: Any = {"show_locals": True, "locals_max_string": None, "locals_max_length": None}
    console.print(rich.traceback.Traceback.from_exception(type(error), error, error.__traceback__, **options))


def rich_traceback(action: Action) -> None:
    """Print the error with rich's tracebacks with locals, and with `rich.inspect`."""
    console = rich.console.Console(width=200)
    try:
        rich.inspect(action(), console=console, private=True)
    except BaseException as error:
        _print_richly(error, console)


def narrow_console(action: Action) -> None:
    """Print the error on a narrow console, which wraps a key over lines."""
    console = rich.console.Console(width=20)
    try:
        console.print(action())
    except BaseException as error:
        console.print("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))


def loguru_defaults(action: Action) -> None:
    """Log the error with loguru's defaults, which show the values in every line of a traceback."""
    try:
        loguru.logger.info("started: {!r}", action())
    except BaseException:
        loguru.logger.exception("refused")
    loguru.logger.catch(BaseException)(action)()


class _Transport(sentry_sdk.transport.Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        sys.stdout.buffer.write(envelope.serialize())


def _report_to_sentry(action: Action, **options: Any) -> None:
    sentry_sdk.init(dsn="http://public@localhost/1", transport=_Transport(), **options)
    structlog.configure(
        logger_factory=structlog.stdlib.LoggerFactory(),
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.render_to_log_kwargs],
    )
    try:
        sentry_sdk.capture_message(f"started: {action()!r}")
    except BaseException as error:
        sentry_sdk.capture_exception(error)
        raise


def sentry_defaults(action: Action) -> None:
    """Report the error to Sentry with the defaults."""
    _report_to_sentry(action)


def sentry_attach_stacktrace(action: Action) -> None:
    """Report the error to Sentry, with the locals of every frame that logs a line."""
    lines = sentry_sdk.integrations.logging.LoggingIntegration(event_level=logging.ERROR)
    _report_to_sentry(action, attach_stacktrace=True, integrations=[lines])


CURRENT: list[Action] = []
"""The action of the test that a test runner runs."""


_IN_A_TEST = """
from reporters import CURRENT
def test_it():
    result = CURRENT[0]()
    assert result is None
"""


_AT_IMPORT = """
from reporters import CURRENT
RESULT = CURRENT[0]()
def test_it():
    assert RESULT == 0
"""


def _test_by_pytest(action: Action, text: str, *options: str) -> None:
    CURRENT.append(action)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    Path("test_it.py").write_text(text, encoding="utf-8")
    arguments = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.", "-rA", "-vv", "--tb=long"]
    pytest.main([*arguments, *options, "test_it.py"])


def pytest_plain(action: Action) -> None:
    """Let a test fail under pytest."""
    _test_by_pytest(action, _IN_A_TEST)


def pytest_showlocals(action: Action) -> None:
    """Let a test fail under pytest with locals, and without capture."""
    _test_by_pytest(action, _IN_A_TEST, "--showlocals", "-s")


def pytest_collecting(action: Action) -> None:
    """Let a module fail under pytest with locals, when it is imported."""
    _test_by_pytest(action, _AT_IMPORT, "--showlocals")


def advised_sentry(action: Action) -> None:
    """Report the error to Sentry without locals."""
    _report_to_sentry(action, data_collection={"stack_frame_variables": False})


def advised_loguru(action: Action) -> None:
    """Log the error with loguru without the values of variables."""
    loguru.logger.remove()
    loguru.logger.add(sys.stdout, diagnose=False)
    loguru.logger.catch(BaseException)(action)()


REPORTERS: dict[str, tuple[Callable[[Action], None], str]] = {
    each.__name__: (each, leak)
    for each, leak in (
        (rich_traceback, "leak_by_local"),
        (narrow_console, "leak_by_local"),
        (loguru_defaults, "leak_by_local"),
        (sentry_defaults, "leak_by_local"),
        (sentry_attach_stacktrace, "leak_by_line"),
        (pytest_plain, "leak_by_text"),
        (pytest_showlocals, "leak_by_local"),
        (pytest_collecting, "leak_by_local"),
    )
}
"""Every reporter, and the action of the narrowest leak that it sees."""
ADVISED_REPORTERS = {each.__name__: (each, "leak_by_local") for each in (advised_sentry, advised_loguru)}
"""Reporters that are set up as SECURITY.md says, and the action of a leak that none of them shows."""
