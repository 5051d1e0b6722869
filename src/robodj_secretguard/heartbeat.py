"""Say which keys a process runs on: an event at its start, repeated where that is set (policy sections 3 and 4).

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
from functools import cache, partial
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
    "refused": "secret integrity check failed",
}
"""The text of each event, by its kind."""
EVENT_KIND: Final = "secret_event"
"""The field that has the kind. Every line with an event has this word, however it is quoted."""
SECRET_FIELDS: Final = ("secret", "fingerprint", "next_fingerprint", "previous_fingerprint", "previous_until")
"""The fields of a secret in an event: its name, the fingerprints of its slots, and the deadline of its previous key."""
EXIT_SECONDS: Final = 1.0
"""How long the exit of the process waits for an event that is being written."""

_CGROUP: Final = "/proc/self/cgroup"
_CONTAINER_FILES: Final = ("/.dockerenv", "/run/.containerenv")
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)

_latest: Final[dict[str, _Heartbeat]] = {}
"""The heartbeat of each model."""


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


def event_of(kind: str, report: Report, model: str) -> dict[str, Any]:
    """Return an event with its fields, in the plain types of JSON.

    Args:
        kind: `started`, `running` or `refused`.
        report: the report of the start. Its time is that of the start.
        model: the settings model, as `package.module:Class`.
    """
    service, instance = identify_process(is_process=kind != "refused")  # each start of a loop is a process
    fields: dict[str, Any] = {
        "event": EVENT_TEXTS[kind],
        EVENT_KIND: kind,
        "service": service,
        "instance": instance,
        "started_at": iso_utc(report.checked_at),
        "reported_at": iso_utc(datetime.now(UTC)),
        "heartbeat_seconds": int(event_setting(Environment(), SECRET_HEARTBEAT) or 0),
        "version": VERSION,
        "model": model,
        "secrets": [
            {name: value for name, value in status.as_dict().items() if name in (*SECRET_FIELDS, "state")}
            for status in report.secrets
        ],
    }
    if kind == "refused":
        fields["checks"] = [f"{each.secret or 'set-up'}: {each.check}" for each in report.alerts or report.warnings]
    return fields


def send_and_repeat(kind: str, report: Report, model: str, logger: Any = None) -> None:
    """Send the event of a start or of a refusal, and begin to repeat that of a start.

    `logger` is the host's structlog logger; `None` for the pipeline that the host configured. A refusal goes to the
    events file only: the pipeline already has its findings.
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
        _repeat(model, int(seconds), partial(send_event, "running", report, model, logger))


def send_heartbeat(secrets: SecretSettings, *, logger: Any = None) -> None:
    """Say once more which keys this process runs on (policy sections 3 and 4). Raise nothing for an event that fails.

    Call it from the host's own scheduler. Otherwise set `ROBODJ_SECRET_HEARTBEAT`, and a small thread calls it.

    Args:
        secrets: what `guard()` returned.
        logger: the structlog logger that gets the event; `None` for the host's configured one.
    """
    model = type(secrets)
    report = running_report(secrets)
    with suppress(Exception):
        contain(lambda: send_event("running", report, f"{model.__module__}:{model.__qualname__}", logger))


def send_event(kind: str, report: Report, model: str, logger: Any = None) -> str:
    """Send one event to the events file and to the pipeline. Return why the file cannot be written; empty if it can."""
    event = event_of(kind, report, model)
    target = event_setting(Environment(), SECRET_EVENTS)
    try:
        fault = "" if not target or _write_event(target, json.dumps(event)) else "incomplete"
    except BaseException as error:  # noqa: BLE001 - a full disk, and whatever a host's stream raises
        fault = type_name(error)
    if kind != "refused":  # last, as a pipeline may block
        emit_info(event["event"], {name: value for name, value in event.items() if name != "event"}, logger)
    return fault


def _write_event(target: str, line: str) -> bool:
    """Write one line with one call: several processes may share a file, and each call opens what is there now."""
    if target in {"stdout", "stderr"}:
        if write_line(getattr(sys, target, None), line):
            return True
        _silence_at_exit()
        return False
    descriptor = os.open(target, _FLAGS, 0o640)
    try:
        data = f"{line}\n".encode()
        return os.write(descriptor, data) == len(data)
    finally:
        os.close(descriptor)


@cache
def _silence_at_exit() -> None:
    """Keep the exit status: the rest of a line in a broken stream would replace it with 120."""
    atexit.register(silence_broken_streams)


class _Heartbeat(threading.Thread):
    """Call a function repeatedly until the process ends, or until a later start of the same model."""

    def __init__(self, model: str, seconds: float, beat: Callable[[], object]) -> None:
        super().__init__(name="robodj-secretguard-heartbeat", daemon=True)
        self._model, self._seconds, self._beat, self._end = model, seconds, beat, threading.Event()

    def run(self) -> None:
        while not self._end.wait(self._seconds) and _latest[self._model] is self:  # threads may start at once
            with suppress(BaseException):
                self._beat()

    def end(self) -> None:
        # In a fork the thread does not run, and a lock of its event may be held forever.
        if self.is_alive():
            self._end.set()


def _repeat(model: str, seconds: float, beat: Callable[[], object]) -> None:
    """Begin a heartbeat. It takes the place of an earlier one of the same model."""
    heartbeat = _Heartbeat(model, seconds, beat)
    earlier, _latest[model] = _latest.get(model), heartbeat
    heartbeat.start()
    if earlier:
        earlier.end()


def _end_all() -> None:
    # A daemon thread that writes while the interpreter ends would abort it.
    until = time.monotonic() + EXIT_SECONDS
    for each in _latest.values():
        each.end()
    for each in _latest.values():
        if each.is_alive():
            each.join(max(0.0, until - time.monotonic()))


atexit.register(_end_all)
