"""Write findings and events to the host's structlog pipeline or to a standard stream. Only this imports structlog."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, TypeAlias

if TYPE_CHECKING:
    from robodj_secretguard.startup.report import Finding, Report

LogEvent: TypeAlias = tuple[str, str, dict[str, Any]]
"""The severity, the text and the fields."""

PASSED_EVENT: Final = "secret integrity check passed"

_FIELDS: Final = ("check", "severity", "secret", "slot", "source", "remedy", "owner")

_this_thread: Final = threading.local()


def emit(report: Report, logger: Any = None, *, refusal: str = "", exit_status: int = 0) -> bool:
    """Write every finding, also when a stream or the pipeline fails (policy section 6). Return whether that worked.

    `logger` is the host's structlog logger; `None` for the pipeline that the host configured, if there is one.
    `refusal` is the last line of a refusal. Its event has the fields of the findings, and the exit status.
    """
    plain: list[LogEvent] = [
        *[(each.severity, each.text, {}) for each in report.findings],
        *([("alert", refusal, {})] if refusal else []),
    ]
    if not plain:
        return True
    if getattr(_this_thread, "is_emitting", False):  # the pipeline calls guard(): no endless recursion
        return _write_plainly(plain, "stderr", "stdout")
    _this_thread.is_emitting = True
    try:
        pipeline = configured_pipeline() if logger is None else logger
        if pipeline is None:
            return _write_plainly(plain, "stdout", "stderr")
        if report.ok:
            return _send(pipeline, map(_event, report.findings)) or _write_plainly(plain, "stderr", "stdout")
        # First, and always: a filter, a dropped event or a queue looks like delivery.
        written = _write_plainly(plain, "stderr", "stdout")
        last = dict.fromkeys(_FIELDS) | {"severity": "alert", "exit_status": exit_status}
        events = [*map(_event, report.findings), ("alert", refusal, last)]
        _send(pipeline, events[: len(plain)])
        return written
    finally:
        _this_thread.is_emitting = False


def _event(finding: Finding) -> LogEvent:
    fields = finding.as_dict()
    return finding.severity, finding.lines[0], {name: fields[name] for name in _FIELDS}


class _PlainStream:
    """Write each event to a standard stream, or to the other one when the first one fails."""

    def __init__(self, *of_alerts: StreamName) -> None:
        self._of_alerts = of_alerts

    def critical(self, line: str) -> None:
        self._write(line, self._of_alerts)

    def warning(self, line: str) -> None:  # never first to stdout, which may be the output of a tool
        self._write(line, ("stderr", "stdout"))

    def _write(self, line: str, streams: Iterable[StreamName]) -> None:
        # By name, each time: a host may have replaced, closed or deleted a stream.
        if not any(write_line(getattr(sys, name, None), line) for name in streams):
            raise OSError


def _write_plainly(events: Sequence[LogEvent], *of_alerts: StreamName) -> bool:
    plain = _PlainStream(*of_alerts)
    return not events or _send(_wrapped_by_structlog(plain), events) or _send(plain, events)


def _wrapped_by_structlog(plain: _PlainStream) -> Any:
    """Return a separate structlog logger in front of a plain stream: the host's configuration does not change it."""
    try:
        import structlog  # noqa: PLC0415 - slow, and needed only for findings

        return structlog.wrap_logger(
            plain,
            processors=[lambda _logger, _method, event: event["event"]],
            wrapper_class=structlog.BoundLogger,
            context_class=dict,
        )
    except BaseException:  # noqa: BLE001 - the lines are written without structlog
        return plain


def configured_pipeline() -> Any:
    """Return the structlog pipeline that the host configured; `None` where there is none."""
    try:
        structlog = sys.modules["structlog"]  # without an import there is no configuration
        return structlog.get_logger("robodj_secretguard") if structlog.is_configured() else None
    except BaseException:  # noqa: BLE001 - not imported, or only partly
        return None


def _send(logger: Any, events: Iterable[LogEvent]) -> bool:
    """Send events until one fails, and return whether all were sent."""
    try:
        for severity, text, fields in events:
            (logger.critical if severity == "alert" else logger.warning)(text, **fields)
    except BaseException:  # noqa: BLE001 - a processor may raise anything, SystemExit(0) included
        return False
    return True


def emit_info(event: str, fields: Mapping[str, Any], logger: Any = None) -> None:
    """Send an event that is not a finding to a structlog logger, or to the host's pipeline, if there is one."""
    if getattr(_this_thread, "is_emitting", False):
        return
    _this_thread.is_emitting = True
    try:
        (configured_pipeline() if logger is None else logger).info(event, **fields)
    except BaseException:  # noqa: BLE001, S110 - nothing depends on it
        pass
    finally:
        _this_thread.is_emitting = False


def emit_notice(line: str, logger: Any = None) -> bool:
    """Write one line that is no finding, where the alerts go. Return whether that worked."""
    pipeline = configured_pipeline() if logger is None else logger
    if pipeline is None:
        return _write_plainly([("alert", line, {})], "stdout", "stderr")
    # As a warning: it ends an alert, and a pipeline may leave out what is less.
    return _send(pipeline, [("warning", line, {"severity": "notice"})]) or _write_plainly(
        [("warning", line, {})], "stderr", "stdout"
    )


StreamName = Literal["stdout", "stderr"]


class _NullStream(io.TextIOBase):
    """Discard all text. Unlike os.devnull it needs no descriptor: none may be left."""

    def write(self, text: str) -> int:
        return len(text)


def write_line(stream: TextIO | None, line: str, *, end: str = "\n") -> bool:
    """Write and flush one line, and return whether that worked.

    `stream` is a stream of `sys`, never a descriptor by its number: another file may have that number.
    """
    if stream is None:
        return False
    try:
        raw = getattr(stream, "buffer", None)
        if isinstance(raw, io.RawIOBase):  # unbuffered: its text layer ignores what was not written
            rest = f"{line}{end}".encode("ascii", "backslashreplace")
            while rest and (written := raw.write(rest)):
                rest = rest[written:]
            if rest:
                return False
        else:
            stream.write(f"{line}{end}")
        stream.flush()
    except BaseException:  # noqa: BLE001 - a host's stream may raise anything
        return False
    return True


def silence_broken_streams() -> None:
    """Replace the standard streams that cannot be flushed.

    The interpreter flushes them at exit. Where that fails it exits with 120, and supervisors restart the service.
    """
    for name in ("stdout", "stderr"):
        try:
            stream = getattr(sys, name)
            if stream is not None:
                stream.flush()
        except BaseException:  # noqa: BLE001 - as above
            setattr(sys, name, _NullStream())
