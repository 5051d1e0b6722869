"""Say which keys a process runs on: at its start, at each change, and at its end (policy sections 3 and 4).

No event has a key. Import it only where events are sent: a start without them does not need it.
"""

from __future__ import annotations

import _thread
import atexit
import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, Literal, TypeAlias

from robodj_secretguard.running.state import RunningState
from robodj_secretguard.secret.sealed import contain, type_name
from robodj_secretguard.secret.texts import is_instance_name
from robodj_secretguard.settings import SecretSettings, running_report
from robodj_secretguard.startup.emit import PASSED_EVENT, emit, emit_info, silence_broken_streams, write_line
from robodj_secretguard.startup.inputs import (
    ENVIRONMENT,
    INSTANCE,
    MOST_HEARTBEAT_SECONDS,
    SECRET_EVENTS,
    SECRET_HEARTBEAT,
    SERVICE,
    iso_utc,
)
from robodj_secretguard.startup.readings import Environment, event_setting
from robodj_secretguard.startup.report import Finding, Report, owners_of
from robodj_secretguard.startup.rules import Check, Severity, State
from robodj_secretguard.version import VERSION

EventKind: TypeAlias = Literal[
    "started", "running", "switched", "kept", "following", "late", "ending", "ended", "refused"
]
"""All but `refused` have the keys in use."""

FORK_SECONDS: Final = 5
"""After how many seconds a fork has its first heartbeat. Many forks end at once."""
EXIT_SECONDS: Final = 1.0
"""How long the exit of the process waits for an event that is being written."""
_EVENT_TEXTS: Final = {
    "started": PASSED_EVENT,
    "running": "secrets in use",
    "switched": "changed secrets in use",
    "kept": "changed secrets refused",
    "following": "secrets follow again",
    "late": "secrets not read in time",
    "ending": "process ends, as its key is revoked",
    "ended": "process ended",
    "refused": "secret integrity check failed",
}
_STREAMS: Final = ("stdout", "stderr")
_FLAGS: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)

_numbers: Final = count()
_sent: Final[dict[tuple[int, str], dict[str, Any]]] = {}
"""The last event, by process id and model. A forked child inherits others."""
_beats: Final[dict[str, Callable[[str], object]]] = {}
"""What sends the next event, by model. A forked child goes on with those of its parent."""
_losses: Final[dict[str, str]] = {}
"""Why the last event could not be written, by model; empty if it could."""
_threads: Final[dict[int, tuple[_thread.LockType, _thread.LockType]]] = {}
"""What ends the thread that repeats the events, and what it releases at its end, by process id."""


def identify_process() -> tuple[str, str]:
    """Return the names of the service and of the instance.

    They are those of `ROBODJ_SERVICE` and `ROBODJ_INSTANCE`. By default, the service is `unnamed`, and the instance is
    the host name with the process id.
    """
    host = next(filter(is_instance_name, (platform.node(), "unknown")))
    instance = event_setting(Environment(), INSTANCE) or f"{host}:{os.getpid()}"
    return event_setting(Environment(), SERVICE) or "unnamed", instance


def event_of(kind: str, report: Report, model: str, number: int, state: RunningState | None = None) -> dict[str, Any]:
    """Return an event with its fields, in the plain types of JSON.

    Args:
        kind: an `EventKind`.
        report: the report of the keys in use, or of a refused start. Its time is that at which they were read.
        model: the settings model, as `package.module:Class`.
        number: the order of the event in its process.
        state: the state of the running process; `None` for a refused start.
    """
    service, instance = identify_process()
    now = datetime.now(UTC)
    refusals = [f"{each.secret or 'set-up'}: {each.check}" for each in report.alerts]
    process = "" if kind == "started" else _sent.get((os.getpid(), model), {}).get("process")
    return {
        "secret_event": kind,  # first, and then the time: a line that was cut still has them
        "reported_at": iso_utc(now),
        "service": service,
        "instance": instance,
        "environment": event_setting(Environment(), ENVIRONMENT) or None,
        "process": process or f"{os.getpid()}.{number}@{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        "number": number,
        "state": state.name if state else None,
        "state_since": iso_utc(state.since) if state else None,
        "checks": [*state.checks] if state else refusals,
        "heartbeat_seconds": int(event_setting(Environment(), SECRET_HEARTBEAT) or 0),
        "started_at": iso_utc(report.checked_at),
        "version": VERSION,
        "model": model,
        "secrets": {
            each.secret: {
                "current": each.fingerprint,
                "next": each.next_fingerprint,
                "previous": each.previous_fingerprint,
                "previous_until": iso_utc(each.previous_until) if each.previous_until else None,
            }
            for each in report.secrets
        },
        "off": [each.secret for each in report.secrets if each.state is State.MISSING and not each.required],
        "event": _EVENT_TEXTS[kind],
    }


def send_and_repeat(
    kind: str,
    report: Report,
    model: str,
    logger: Any = None,
    *,
    secrets: SecretSettings | None = None,
    state: RunningState | None = None,
) -> None:
    """Send an event, and begin to repeat that of a start.

    `logger` is the host's structlog logger; `None` for the pipeline that the host configured. A refusal goes to the
    events file only: the pipeline already has its findings. `secrets` has the keys of a start, and its state. `state`
    is that of a later event.
    """
    if secrets is not None:
        state = secrets.state()
    _losses[model] = fault = send_event(kind, report, model, logger, state=state)
    if fault:
        _warn_of_loss(fault, report, logger)
    if secrets is not None:
        _beats[model] = lambda each: _send_again(each, secrets, model, logger)
        begin_heartbeats()


def _warn_of_loss(fault: str, report: Report, logger: Any) -> None:
    """Say that events cannot be written, so `fleet` proves nothing about this process."""
    warning = Finding(
        Check.SETTING,
        Severity.WARNING,
        None,
        None,
        "environment",
        f"{SECRET_EVENTS} cannot be written ({fault})",
        f"correct {SECRET_EVENTS}, or let the service's user write there (its directory must exist)",
        owners_of(report.secrets),
    )
    emit(report._replace(findings=(warning,)), logger)


def _send_again(kind: str, secrets: SecretSettings, model: str, logger: Any) -> None:
    """Send an event with the keys in use now. Say once that events are lost, until one is written again."""
    number = next(_numbers)  # before the keys are read: the event of a later switch has a greater one
    report = running_report(secrets)
    fault = send_event(kind, report, model, logger, state=secrets.state(), number=number)
    is_new = bool(fault) and fault != _losses.get(model)
    _losses[model] = fault
    if is_new and kind == "running":
        _warn_of_loss(fault, report, logger)


def begin_heartbeats(first: int = MOST_HEARTBEAT_SECONDS) -> None:
    """Begin to repeat the events of this process, unless it does so. The first one comes after `first` seconds at most.

    A fork repeats the events of its parent as well: a worker of a server with `--preload`, or of Celery.
    """
    seconds = int(event_setting(Environment(), SECRET_HEARTBEAT) or 0)
    # Not a Thread, which waits for its own start: gevent cannot do that in a fork.
    locks = end, ended = _thread.allocate_lock(), _thread.allocate_lock()
    for lock in locks:
        lock.acquire()
    if seconds and _beats and _threads.setdefault(os.getpid(), locks) is locks:  # threads may start at once
        try:
            _thread.start_new_thread(_repeat, (seconds, min(first, seconds), end, ended))
        except RuntimeError:
            ended.release()


def _repeat(seconds: int, first: int, end: _thread.LockType, ended: _thread.LockType) -> None:
    """Send events in each period, and at the end the last ones."""
    kind = "running"
    wait = first
    while kind == "running":
        kind = "ended" if end.acquire(timeout=wait) else "running"
        wait = seconds
        for beat in [*_beats.values()]:
            with suppress(BaseException):
                beat(kind)
    ended.release()


def send_heartbeat(secrets: SecretSettings, *, logger: Any = None) -> None:
    """Say once more which keys this process runs on (policy sections 3 and 4). Raise nothing for an event that fails.

    Call it from the host's own scheduler where the host runs no threads. Set `ROBODJ_SECRET_HEARTBEAT` in any case: it
    begins a small thread that does the same, and without it `fleet` proves nothing about this process.

    Args:
        secrets: what `guard()` returned.
        logger: the structlog logger that gets the event; `None` for the host's configured one.
    """
    running_report(secrets)  # an error for anything but an instance
    model = f"{type(secrets).__module__}:{type(secrets).__qualname__}"
    with suppress(Exception):
        contain(lambda: _send_again("running", secrets, model, logger))


def send_event(
    kind: str,
    report: Report,
    model: str,
    logger: Any = None,
    *,
    state: RunningState | None = None,
    number: int | None = None,
) -> str:
    """Send one event to the events file and to the pipeline. Return why the file cannot be written; empty if it can.

    `report` is that of the keys in use, and `number` was taken before they were read; `None` to take it now.
    """
    event = event_of(kind, report, model, next(_numbers) if number is None else number, state)
    target = event_setting(Environment(), SECRET_EVENTS)
    fault = _write_event(event, target) if target else ""
    if kind != "refused":  # last, as a pipeline may block
        _sent[os.getpid(), model] = dict(event)
        emit_info(event.pop("event"), event, logger)
    return fault


def _write_event(event: dict[str, Any], target: str) -> str:
    """Write one line with one call: several processes may share a file, and each call opens what is there now."""
    line = json.dumps(event) + "\n"
    if target in _STREAMS:
        return "" if write_line(getattr(sys, target, None), line, end="") else "incomplete"
    if _has_cut_line(target):
        line = f"\n{line}"
    try:
        with open(target, "ab", buffering=0, opener=lambda path, flags: os.open(path, flags | _FLAGS, 0o640)) as file:
            return "" if file.write(line.encode()) == len(line) else "incomplete"
    except BaseException as error:  # noqa: BLE001 - such as a full disk
        return type_name(error)


def _has_cut_line(path: str) -> bool:
    """Check whether the last line of a file has no end, as after a full disk. Several writers may end it."""
    with suppress(OSError):  # there is no file, it is empty, or this user cannot read it
        if os.path.isfile(path):
            with open(path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
    return False


def send_end() -> None:
    """Say that this process ends, and end its heartbeats (policy section 3). Raise nothing.

    The exit of the interpreter calls it, so call it only where a signal ends the process without an exit, as under
    uvicorn: as the last thing in the lifespan of the application. It takes at most `EXIT_SECONDS`.
    """
    say_end()
    _beats.clear()


def say_end() -> None:
    """Say that this process ends, unless a good key saves it (policy section 4)."""
    with suppress(Exception):
        # A daemon thread that writes while the interpreter ends would abort it.
        if repeating := _threads.pop(os.getpid(), None):
            end, ended = repeating
            end.release()
            ended.acquire(timeout=EXIT_SECONDS)
        target = event_setting(Environment(), SECRET_EVENTS)
        for (process_id, _), event in _sent.copy().items():
            # Neither a stream nor a pipeline, which may block: only a heartbeat writes there at the end.
            if os.path.isabs(target) and event["event"] != _EVENT_TEXTS["ended"] and process_id == os.getpid():
                last = {**event, "event": _EVENT_TEXTS["ended"], "number": next(_numbers)}
                last["reported_at"] = iso_utc(datetime.now(UTC))
                last["secret_event"] = "ended"  # noqa: S105 - no password
                _write_event(last, target)
        if target in _STREAMS:  # the rest of a line in a broken one would replace the exit status with 120
            silence_broken_streams()


atexit.register(send_end)
getattr(os, "register_at_fork", dict)(after_in_child=lambda: begin_heartbeats(FORK_SECONDS))  # not on Windows
