"""Run hosts as real processes on loopback for a limited time, and record what can be observed from outside."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conftest import TIMEOUT, V1, V2, clean_environment, free_port
from matrix import End

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matrix import Host

GOOD = {V1: secrets.token_urlsafe(32), V2: secrets.token_urlsafe(64)}
"""Neither key is hexadecimal: hosts write many identifiers, which match six characters by chance."""
BAD = {name: key[:20] for name, key in GOOD.items()}
"""Truncated keys: one alert each."""
ALERT_STARTS = ("ALERT: secret.key: format: ", "ALERT: secret_v2.key: format: ")
"""The beginnings of the alerts for `BAD`. Some hosts add text before them."""

GATE = (sys.executable, "-m", "robodj_secretguard", "exec", "--require-env-only", "--")
POLL_SECONDS = 0.05
ANSWER_SECONDS = 0.5
IDLE_SECONDS = 2.0
"""How long a running host is observed after the last boot or refusal of its service."""
STOP_SECONDS = 2.0
TOO_OFTEN = 2
"""A host that boots a service so many times more often than it has workers starts the service again forever."""


@dataclass(frozen=True)
class Seen:
    """What was observed of a host.

    Attributes:
        end: what the host did.
        status: its exit status; `None` when it had to be stopped.
        boots: how often the service booted.
        refusals: how often the service was refused, by the ALERT lines in the output.
        alert: whether every ALERT is there.
        port_open: whether a process listened at the end, before the host was stopped.
        answers: the statuses of all answers to requests.
        worked: whether a request was answered with success, or the work was done.
    """

    end: End
    status: int | None
    boots: int
    refusals: int
    alert: bool
    port_open: bool
    answers: tuple[int, ...]
    worked: bool


class Running:
    """A host that was started."""

    def __init__(self, host: Host, process: subprocess.Popen[bytes], port: int, cwd: Path) -> None:
        self._host = host
        self._process = process
        self._port = port
        self._cwd = cwd
        self._answers: set[int] = set()

    def ends(self) -> bool:
        """Wait a moment for the process to end, and return whether it did."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=POLL_SECONDS)
        return self._process.returncode is not None

    def ask(self) -> None:
        """Request a page, and keep the status of the answer."""
        if not self._host.serves:
            return
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            self._answers.add(connection.getresponse().status)

    def boots(self) -> int:
        return self._read("boots.log").count("boot\n")

    def refusals(self) -> int:
        return self.output().count(ALERT_STARTS[0])

    def worked(self) -> bool:
        return http.client.OK in self._answers or "work\n" in self._read("work.log")

    def output(self) -> str:
        return self._read("output.log")

    def seen(self) -> Seen:
        """Return what can be observed now."""
        boots, status, output = self.boots(), self._process.returncode, self.output()
        again = End.STARTS_AGAIN if boots > self._host.workers else End.GOES_ON
        return Seen(
            end=again if status is None else End.ENDS,
            status=status,
            boots=boots,
            refusals=self.refusals(),
            alert=all(start in output for start in ALERT_STARTS),
            port_open=self._host.serves and self._listens(),
            answers=tuple(sorted(self._answers)),
            worked=self.worked(),
        )

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), ANSWER_SECONDS):
            return True
        return False

    def _read(self, name: str) -> str:
        path = self._cwd / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def refused(host: Host, cwd: Path, *, gate: bool) -> tuple[Seen, str]:
    """Run a host with bad keys until it ends, boots its service too often, or is idle.

    Args:
        host: the host.
        cwd: its working directory.
        gate: whether it runs behind `exec`.

    Returns:
        What was observed, and the output.
    """
    with _running(host, BAD, cwd, gate=gate) as running:
        goes_on = host.gate_inside if gate else host.end is End.GOES_ON
        idle = IDLE_SECONDS if goes_on else TIMEOUT
        boots = refusals = 0
        until = time.monotonic() + TIMEOUT
        while not running.ends() and time.monotonic() < until and boots < host.workers + TOO_OFTEN:
            running.ask()
            before, (boots, refusals) = (boots, refusals), (running.boots(), running.refusals())
            if (boots, refusals) != before:
                until = time.monotonic() + (idle if refusals else TIMEOUT)  # a busy machine boots slowly
        running.ask()
        return running.seen(), running.output()


def started(host: Host, cwd: Path) -> tuple[Seen, str]:
    """Run a host with good keys behind `exec` until it has answered or worked. Return both as above."""
    with _running(host, GOOD, cwd, gate=True) as running:
        until = time.monotonic() + TIMEOUT
        while not running.worked() and not running.ends() and time.monotonic() < until:
            running.ask()
        return running.seen(), running.output()


@contextlib.contextmanager
def _running(host: Host, keys: Mapping[str, str], cwd: Path, *, gate: bool) -> Iterator[Running]:
    port, side = free_port(), free_port()
    before = GATE if gate else ()
    fill = {
        "python": sys.executable,
        "bin": os.path.dirname(sys.executable),
        "port": port,
        "side": side,
        "gate": shlex.join([*before, ""]),
    }
    for name, text in host.files.items():
        path = cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(**fill) if name.endswith(".conf") else text, encoding="utf-8")
    command = [argument.format(**fill) for argument in host.command]
    if not host.gate_inside:
        command = [*before, *command]
    env = clean_environment() | {"HOME": str(cwd), "XDG_RUNTIME_DIR": str(cwd)}  # for gunicorn's socket
    with contextlib.ExitStack() as stack:
        if host.helper:
            (cwd / "helper.py").write_text(host.helper, encoding="utf-8")
            stack.enter_context(_ready([sys.executable, "helper.py", str(side)], env, cwd))
        output = stack.enter_context(open(cwd / "output.log", "ab"))  # append mode: supervisord opens stdout again
        process = stack.enter_context(_group(command, env | dict(keys), cwd, output.fileno()))
        yield Running(host, process, port, cwd)


@contextlib.contextmanager
def _ready(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[None]:
    """Start a process, and wait until it prints that it is ready."""
    with _group(command, env, cwd, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield


@contextlib.contextmanager
def _group(command: Sequence[str], env: Mapping[str, str], cwd: Path, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a separate process group, and stop the whole group at the end."""
    with subprocess.Popen(
        command, env=env, cwd=cwd, stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()  # supervisord first: it alone knows its children, each of which has a separate group
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
