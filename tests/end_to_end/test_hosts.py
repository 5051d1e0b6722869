"""Contract section 4 and hazards section 1: what the servers do with a refusal, and with a start."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT, free_port
from detector import leaks
from processes import ALERT_STARTS, BAD, GOOD, GUARD, SERVICE, host_env

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

BOOT = "with open('boots.log', 'a') as boots:\n    boots.write('boot\\n')\n"
"""Each boot of a service leaves a line."""
RESPONSE = """
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})
"""
ASGI = f"{BOOT}{SERVICE}async def app(scope, receive, send):\n    assert scope['type'] == 'http'{RESPONSE}"
RAW_LIFESPAN = f"""{BOOT}{GUARD}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        guard()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return{RESPONSE}
"""
FASTAPI_LIFESPAN = f"""{BOOT}{GUARD}
import contextlib
from fastapi import FastAPI
@contextlib.asynccontextmanager
async def lifespan(app):
    guard()
    yield
app = FastAPI(lifespan=lifespan)
@app.get("/")
async def root():
    return "served"
"""
WSGI = f"""{BOOT}{SERVICE}
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"served"]
"""

UVICORN = ("uvicorn", "service:app", "--port", "{port}")
GUNICORN = ("gunicorn", "service:app", "--bind", "127.0.0.1:{port}")


@dataclass(frozen=True)
class Host:
    """A server, and a service that calls the guard somewhere in it.

    Attributes:
        command: the server's module and its arguments.
        service: the text of the service's module.
        statuses: how the server may end when the service refuses.
        workers: how often the service may boot.
    """

    command: tuple[str, ...]
    service: str
    statuses: tuple[int, ...]
    workers: int = 1


def _uvicorn_stops_at_3() -> bool:
    return tuple(int(part) for part in importlib.metadata.version("uvicorn").split(".")[:2]) >= (0, 50)


_ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn runs on POSIX alone")
HOSTS = [
    pytest.param(Host(UVICORN, ASGI, (3,)), id="uvicorn"),
    pytest.param(Host(UVICORN, FASTAPI_LIFESPAN, (3,)), id="uvicorn-fastapi-lifespan"),
    pytest.param(Host((*UVICORN, "--lifespan", "auto"), RAW_LIFESPAN, (3,)), id="uvicorn-raw-lifespan"),
    pytest.param(
        Host((*UVICORN, "--workers", "2"), ASGI, (0,), workers=2),  # 0 is the parent's, and uvicorn's choice
        id="uvicorn-2-workers",
        marks=pytest.mark.skipif(not _uvicorn_stops_at_3(), reason="older uvicorn restarts workers for ever"),
    ),
    # With two workers, gunicorn's parent may see the second one's signal first, and then ends with 1.
    pytest.param(Host((*GUNICORN, "--workers", "2"), WSGI, (3, 1), workers=2), id="gunicorn", marks=_ON_POSIX),
    pytest.param(Host((*GUNICORN, "--workers", "2", "--preload"), WSGI, (3,)), id="gunicorn-preload", marks=_ON_POSIX),
]
if importlib.util.find_spec("uvicorn.workers") is not None:
    _WORKER = ("--workers", "2", "--worker-class", "uvicorn.workers.UvicornWorker")
    HOSTS += [
        pytest.param(Host((*GUNICORN, *_WORKER), ASGI, (3, 1), workers=2), id="gunicorn-uvicorn", marks=_ON_POSIX),
        pytest.param(
            Host((*GUNICORN, *_WORKER), RAW_LIFESPAN, (3, 1), workers=2),
            id="gunicorn-uvicorn-raw-lifespan",
            marks=_ON_POSIX,
        ),
    ]


class Server:
    """A server that runs: its port, how it ends, and all that it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, cwd: Path) -> None:
        self.process = process
        self.port = port
        self._cwd = cwd

    def answer(self) -> int | None:
        """Ask it for a page, and return the status; `None` when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def answers_until_it_ends(self) -> Iterator[int | None]:
        """Ask it again and again until it has ended, for a bounded time."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            yield self.answer()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.1)
                return
        pytest.fail(f"still running; it wrote: {self.output()}")

    def output(self) -> str:
        """Return what it wrote, in which there is no part of a key."""
        written = (self._cwd / "output.log").read_text(encoding="utf-8")
        assert leaks(written, tuple(GOOD.values())) == []
        return written

    def boots(self) -> int:
        """Return how often the service booted."""
        return (self._cwd / "boots.log").read_text(encoding="utf-8").count("boot\n")


@contextlib.contextmanager
def serving(host: Host, keys: Mapping[str, str], cwd: Path) -> Iterator[Server]:
    """Start a server with a service, and stop it and its workers in the end."""
    (cwd / "service.py").write_text(host.service, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", *(argument.format(port=port) for argument in host.command)]
    env = host_env(keys, HOME=str(cwd), XDG_RUNTIME_DIR=str(cwd))  # where gunicorn makes a socket
    with (
        open(cwd / "output.log", "wb") as output,
        subprocess.Popen(
            command, env=env, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            yield Server(process, port, cwd)
        finally:
            if sys.platform == "win32":
                process.kill()
            else:
                with contextlib.suppress(ProcessLookupError):  # its workers are in its session
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("host", HOSTS)
class TestHosts:
    """A service in a real server."""

    def test_refused(self, tmp_path: Path, host: Host) -> None:
        """A refusal is seen in the output, is never restarted, never answers, and ends the server by itself."""
        with serving(host, BAD, tmp_path) as server:
            assert set(server.answers_until_it_ends()) == {None}
            assert server.answer() is None
            assert server.process.returncode in host.statuses
            assert 1 <= server.boots() <= host.workers
            written = server.output()
            assert [start for start in ALERT_STARTS if start not in written] == []

    def test_started(self, tmp_path: Path, host: Host) -> None:
        """Good keys: the server serves, and no line of the guard's is in its output."""
        with serving(host, GOOD, tmp_path) as server:
            assert next(status for status in server.answers_until_it_ends() if status is not None) == 200
            server.process.terminate()
            server.process.wait(timeout=TIMEOUT)
            assert "ALERT" not in server.output()
