"""Say which keys a process runs on: at its start, at each change, and at its end (policy sections 3 and 4).

No event has a key. Import it only where events are sent: a start without them does not need it.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.secret.sealed import contain, type_name
from robodj_secretguard.secret.texts import is_instance_name
from robodj_secretguard.startup.emit import PASSED_EVENT, emit, emit_info, silence_broken_streams, write_line
from robodj_secretguard.startup.readings import Environment, event_setting
from robodj_secretguard.startup.report import Finding, Report
from robodj_secretguard.startup.rules import Check, Severity
from robodj_secretguard.startup.settings import SecretSettings, running_report
from robodj_secretguard.startup.variables import INSTANCE, SECRET_EVENTS, SECRET_HEARTBEAT, SERVICE, iso_utc
from robodj_secretguard.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable


EVENT_TEXTS: Final = {
    "started": PASSED_EVENT,
    "running": "secrets in use",
    "switched": "changed secrets in use",
    "kept": "changed secrets refused",
    "late": "secrets not read in time",
    "ended": "process ended",
    "refused": "secret integrity check failed",
}
"""The text of each event, by its kind. All but `refused` have the keys in use."""
EVENT_KIND: Final = "secret_event"
"""The field that has the kind. Every line with an event has this word, however it is quoted."""
SECRET_FIELDS: Final = ("secret", "fingerprint", "next_fingerprint", "previous_fingerprint", "previous_until")
"""The fields of a secret in an event: its name, the fingerprints of its slots, and the deadline of its previous key."""
EXIT_SECONDS: Final = 1.0
"""How long the exit of the process waits for an event that is being written."""

_CGROUP: Final = "/proc/self/cgroup"
_CONTAINER_FILES: Final = ("/.dockerenv", "/run/.containerenv")
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)

_numbers: Final = count()
_broken: Final = threading.Event()
"""Set where a standard stream could not be written."""
_latest: Final[dict[str, _Heartbeat]] = {}
"""The heartbeat of each model."""
_sent: Final[dict[tuple[int, str], tuple[str, str, Report]]] = {}
"""The process, the kind and the report of the last event, by process id and model. A forked child inherits others."""


def identify_process(environment: Environment | None = None, *, is_process: bool = True) -> tuple[str, str]:
    """Return the names of the service and of the instance.

    They are those of `ROBODJ_SERVICE` and `ROBODJ_INSTANCE`. By default, the service is the systemd unit or the
    program. The instance is the host name, which in Kubernetes is the pod, and in Docker the container. Elsewhere the
    process id follows, unless there is a unit or `is_process` is false.
    """
    environment = environment or Environment()
    try:
        host = _valid_name(socket.gethostname(), "unknown")
    except (OSError, ValueError):
        host = "unknown"
    unit = _valid_name(_unit(), "")
    is_alone = unit or environment.is_set("KUBERNETES_SERVICE_HOST") or any(map(os.path.exists, _CONTAINER_FILES))
    service = event_setting(environment, SERVICE) or _valid_name(unit or _program(), "python")
    return service, event_setting(environment, INSTANCE) or (
        host if is_alone or not is_process else f"{host}:{os.getpid()}"
    )


def _unit() -> str:
    """Return the systemd unit of this process without `.service`; empty where there is none."""
    try:
        with open(_CGROUP, encoding="utf-8") as file:
            last = [line.strip().rpartition("/")[2] for line in file]
    except (OSError, UnicodeError):
        return ""
    return next((each.removesuffix(".service") for each in last if each.endswith(".service")), "")


def _program() -> str:
    """Return the name of this process's program; empty where a host that embeds Python has set no text."""
    words = getattr(sys, "argv", None) or [""]
    if any(not isinstance(word, str) for word in words):
        return ""
    if "--" in words[1:-1] and words[0].endswith(("robodj-secretguard", "robodj_secretguard/__main__.py")):  # exec
        words = words[words.index("--") + 1 :]
        if os.path.basename(words[0]).startswith("python"):
            words = words[2:] if words[1:2] == ["-m"] else words[1:]
    path = "".join(words[:1]).removesuffix("/__main__.py")  # of python -m
    return os.path.basename(path).removesuffix(".py")


def _valid_name(text: object, default: str) -> str:
    return text if isinstance(text, str) and is_instance_name(text) else default


def event_of(kind: str, report: Report, model: str, number: int = 0) -> dict[str, Any]:
    """Return an event with its fields, in the plain types of JSON.

    Args:
        kind: a key of `EVENT_TEXTS`.
        report: the report of the keys in use, or of a refused start. Its time is that at which they were read.
        model: the settings model, as `package.module:Class`.
        number: the order of the event in its process.
    """
    service, instance = identify_process(is_process=kind != "refused")  # each start of a loop is a process
    process, now = _sent.get((os.getpid(), model), ("",))[0], iso_utc(datetime.now(UTC))
    if kind == "started" or not process:
        process = f"{os.getpid()}.{number}@{now}"
    fields: dict[str, Any] = {
        "event": EVENT_TEXTS[kind],
        EVENT_KIND: kind,
        "service": service,
        "instance": instance,
        "process": process,
        "number": number,
        "started_at": iso_utc(report.checked_at),
        "reported_at": now,
        "heartbeat_seconds": int(event_setting(Environment(), SECRET_HEARTBEAT) or 0),
        "version": VERSION,
        "model": model,
        "secrets": [
            {name: value for name, value in status.as_dict().items() if name in (*SECRET_FIELDS, "state")}
            for status in report.secrets
        ],
    }
    if kind in {"refused", "kept"}:
        fields["checks"] = [f"{each.secret or 'set-up'}: {each.check}" for each in report.alerts or report.warnings]
    return fields


def send_and_repeat(
    kind: str, report: Report, model: str, logger: Any = None, secrets: SecretSettings | None = None
) -> None:
    """Send an event, and begin to repeat that of a start.

    `logger` is the host's structlog logger; `None` for the pipeline that the host configured. A refusal goes to the
    events file only: the pipeline already has its findings. `secrets` has the keys of a start.
    """
    if fault := send_event(kind, report, model, logger):
        warning = Finding(
            Check.SETTING,
            Severity.WARNING,
            None,
            None,
            "environment",
            f"{SECRET_EVENTS} cannot be written ({fault})",
            f"correct {SECRET_EVENTS}, or let the service's user write there (its directory must exist)",
            ", ".join(dict.fromkeys(status.owner for status in report.secrets)),
        )
        target = event_setting(Environment(), SECRET_EVENTS)
        if kind == "started" and target not in {"stdout", "stderr"}:
            emit(report._replace(findings=(warning,)), logger)
        else:
            write_line(getattr(sys, "stdout" if target == "stderr" else "stderr", None), warning.text)
    seconds = event_setting(Environment(), SECRET_HEARTBEAT)
    if seconds and kind == "started":
        running = partial(running_report, secrets) if secrets else report
        _repeat(model, int(seconds), lambda each: send_event(each, running, model, logger))


def send_heartbeat(secrets: SecretSettings, *, logger: Any = None) -> None:
    """Say once more which keys this process runs on (policy sections 3 and 4). Raise nothing for an event that fails.

    Call it from the host's own scheduler. Otherwise set `ROBODJ_SECRET_HEARTBEAT`, and a small thread calls it.

    Args:
        secrets: what `guard()` returned.
        logger: the structlog logger that gets the event; `None` for the host's configured one.
    """
    running_report(secrets)  # an error for anything but an instance
    model = f"{type(secrets).__module__}:{type(secrets).__qualname__}"
    with suppress(Exception):
        contain(lambda: send_event("running", partial(running_report, secrets), model, logger))


def send_event(kind: str, report: Report | Callable[[], Report], model: str, logger: Any = None) -> str:
    """Send one event to the events file and to the pipeline. Return why the file cannot be written; empty if it can.

    `report` is that of the keys in use, or a function that returns it.
    """
    number = next(_numbers)  # before the keys are read: the event of a later switch has a greater one
    report = report() if callable(report) else report
    event = event_of(kind, report, model, number)
    fault = _write_event(event, event_setting(Environment(), SECRET_EVENTS))
    if kind != "refused":  # last, as a pipeline may block
        _sent[os.getpid(), model] = event["process"], kind, report
        emit_info(event["event"], {name: value for name, value in event.items() if name != "event"}, logger)
    return fault


def _write_event(event: dict[str, Any], target: str) -> str:
    """Write one line with one call: several processes may share a file, and each call opens what is there now."""
    line = json.dumps(event) + "\n"
    if target in {"", "stdout", "stderr"}:
        if not target or write_line(getattr(sys, target, None), line, end=""):
            return ""
        _broken.set()
        return "incomplete"
    try:
        descriptor = os.open(target, _FLAGS, 0o640)
        try:
            return "" if os.write(descriptor, line.encode()) == len(line) else "incomplete"
        finally:
            os.close(descriptor)
    except BaseException as error:  # noqa: BLE001 - such as a full disk
        return type_name(error)


class _Heartbeat(threading.Thread):
    """Call a function repeatedly until the process ends, or until a later start of the same model."""

    def __init__(self, model: str, seconds: float, beat: Callable[[str], object]) -> None:
        super().__init__(name="robodj-secretguard-heartbeat", daemon=True)
        self._model, self._seconds, self._beat, self._end = model, seconds, beat, threading.Event()

    def run(self) -> None:
        kind = "running"
        while kind == "running":
            kind = "ended" if self._end.wait(self._seconds) else "running"
            if _latest[self._model] is not self:  # threads may start at once
                return
            with suppress(BaseException):
                self._beat(kind)

    def end(self) -> None:
        # In a fork the thread does not run, and a lock of its event may be held forever.
        if self.is_alive():
            self._end.set()


def _repeat(model: str, seconds: float, beat: Callable[[str], object]) -> None:
    """Begin a heartbeat. It takes the place of an earlier one of the same model."""
    heartbeat = _Heartbeat(model, seconds, beat)
    earlier, _latest[model] = _latest.get(model), heartbeat
    heartbeat.start()
    if earlier:
        earlier.end()


def send_end() -> None:
    """Say that this process ends, and end its heartbeats (policy section 3). Raise nothing.

    The exit of the interpreter calls it, so call it only where a signal ends the process without an exit, as under
    uvicorn: as the last thing in the lifespan of the application. It takes at most `EXIT_SECONDS`.
    """
    # A daemon thread that writes while the interpreter ends would abort it.
    until = time.monotonic() + EXIT_SECONDS
    for each in _latest.values():
        each.end()
    for each in _latest.values():
        if each.is_alive():
            each.join(max(0.0, until - time.monotonic()))
    with suppress(Exception):
        target = event_setting(Environment(), SECRET_EVENTS)
        for (process_id, model), (_, kind, report) in _sent.copy().items():
            # Neither a stream nor a pipeline, which may block: only a heartbeat writes there at the end.
            if os.path.isabs(target) and kind != "ended" and process_id == os.getpid():
                _write_event(event_of("ended", report, model, next(_numbers)), target)
    if _broken.is_set():  # the rest of a line in a broken stream would replace the exit status with 120
        silence_broken_streams()


atexit.register(send_end)
