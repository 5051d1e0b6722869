"""Start the guarded processes of a fleet: forks of a process that has imported the library.

Each line on stdin is `{"instance": NAME, "environ": {...}}`: a process with these variables replaces that of the
instance, and a line on stdout says that its guard has let it start. With `"signal"` in place of `"environ"`, it gets a
signal. After a SIGTERM, it says its end. After a SIGUSR1, the disk of its events is full. `CLOCK_AHEAD` is by how many
seconds the clock of its events is wrong. A SIGUSR2 corrects both. All processes end with this one.

With `METRICS_ADDRESS` and `METRICS_PORT`, a process serves its metrics, and a line on stdout says each change of its
keys.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from prometheus_client import CollectorRegistry, start_http_server

from robodj_secretguard import Secret, guard
from robodj_secretguard.adapters.prometheus import SecretCollector
from robodj_secretguard.running import heartbeat
from robodj_secretguard.running.heartbeat import send_end


def serve(environ: dict[str, str], started: int) -> NoReturn:
    """Be a service: call the guard, and wait."""
    os.environ.update(environ)
    if ahead := environ.get("CLOCK_AHEAD"):
        set_clock(int(ahead))
    try:
        secrets = guard()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        signal.signal(signal.SIGUSR1, lambda *_: limit(os.path.getsize(environ["ROBODJ_SECRET_EVENTS"]) + 100))
        signal.signal(signal.SIGUSR2, lambda *_: correct())
        if port := environ.get("METRICS_PORT"):
            registry = CollectorRegistry()
            registry.register(SecretCollector(secrets))
            start_http_server(int(port), environ["METRICS_ADDRESS"], registry)
            secrets.secret_key.on_change(lambda secret: say_change(secret, started))
        os.write(started, b"started\n")
        while True:
            signal.pause()
    except SystemExit:
        send_end()
        del secrets  # until now, it is in use
    finally:
        os._exit(1)


def start(environ: dict[str, str]) -> int:
    """Start a service that is not a child of this process: such a one would be a worker of it."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        if process := os.fork():
            os.write(writer, process.to_bytes(4, "big"))
            os._exit(0)
        serve(environ, 1)
    os.waitpid(child, 0)
    process = int.from_bytes(os.read(reader, 4), "big")
    os.close(reader)
    os.close(writer)
    return process


def kill(process: int) -> None:
    """End a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def say_change(_secret: Secret, started: int) -> None:
    """Say that the key has changed."""
    os.write(started, b"changed\n")


def limit(size: int) -> None:
    """Limit the size of files, like a full disk: the next line is cut."""
    sys.dont_write_bytecode = True  # the next process would read a cut module
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def correct() -> None:
    """Make room on the disk, and set the clock."""
    limit(resource.RLIM_INFINITY)
    heartbeat.datetime = dt.datetime  # type: ignore[attr-defined]


def set_clock(ahead: int) -> None:
    """Let the clock of the events be wrong by so many seconds."""

    class Ahead(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return dt.datetime.now(tz) + dt.timedelta(seconds=ahead)

    heartbeat.datetime = Ahead  # type: ignore[attr-defined]


def main() -> None:
    """Do what each line says."""
    processes: dict[str, int] = {}
    for line in sys.stdin:
        command = json.loads(line)
        name = command["instance"]
        if "signal" in command:
            os.kill(processes[name], command["signal"])
            continue
        if name in processes:
            kill(processes[name])
        processes[name] = start(command["environ"])
    for process in processes.values():
        kill(process)


if __name__ == "__main__":
    main()
