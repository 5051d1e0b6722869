"""Many short processes, forked from one that has done the imports, which take most of the time."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from conftest import TIMEOUT, Ran
from fork_server import send

HUNG: Final = -1000
"""The status of a process that was killed after the time limit."""
LIBRARIES: Final = ("pydantic", "pydantic_settings", "structlog")
MODULES: Final = (
    *LIBRARIES,
    "robodj_secretguard.guarding",
    "robodj_secretguard.cli.gate",
    "fastapi",
    "uvicorn",
    "flask",
    "httpx",
)
"""What the programs of tests import. pytest warns if what it rewrites was imported before."""
CLIENT: Final = (sys.executable, "-ISE", str(Path(__file__).with_name("fork_server.py")))
"""A program that does what `python` does, in a fork of the interpreter whose address is its first argument."""
COMPATIBLE: Final = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
"""Variables of Python that mean the same to a fork, or nothing."""


class Forks:
    """A running program that calls `fork_server.next_request`. It forks one process for each request.

    Args:
        program: the program.
        env: its whole environment.
        arguments: its arguments, after the first one.
    """

    def __init__(self, program: Path, env: Mapping[str, str], arguments: Sequence[str] = ()) -> None:
        self._program, self._arguments = program, arguments
        paths = [os.path.dirname(__file__), *filter(None, [env.get("PYTHONPATH")])]
        self._env = {**env, "PYTHONPATH": os.pathsep.join(paths)}
        self._directory = tempfile.mkdtemp(prefix="forks")
        self.address = os.path.join(self._directory, "socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(64)
        self._start()

    def _start(self) -> None:
        number = self._listener.fileno()
        self._server = subprocess.Popen(
            [sys.executable, self._program, str(number), *self._arguments],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
            start_new_session=True,
        )

    def stop(self) -> None:
        """Close the program's stdin, which ends it."""
        self._server.communicate()
        self._listener.close()
        shutil.rmtree(self._directory)

    def run(self, directory: Path, environ: Mapping[str, str], what: object = None, timeout: float = TIMEOUT) -> Ran:
        """Run one process to its end. Its status is `HUNG` if it was killed after the time limit.

        Args:
            directory: its working directory.
            environ: its whole environment.
            what: the argument for the program.
            timeout: the time limit, in seconds.
        """
        with open(os.devnull, "rb") as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = [each.fileno() for each in (given, out, err)]
            with send(self.address, str(directory), environ, what, streams) as connection:
                status = self._status(connection, timeout)
            outputs = []
            for file in (out, err):
                file.seek(0)
                outputs.append(file.read().decode("utf-8", "surrogateescape"))
        return Ran(status, *outputs)

    def _status(self, connection: socket.socket, timeout: float) -> int:
        connection.settimeout(timeout)
        try:
            return int(connection.recv(64))
        except TimeoutError:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.communicate()
            self._start()
            return HUNG


@functools.cache
def interpreter(modules: tuple[str, ...] = MODULES) -> Forks:
    """Start an interpreter that has imported these modules."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ROBODJ_", "PYTHON"))}
    started = Forks(Path(__file__).with_name("interpreter.py"), env, modules)
    atexit.register(started.stop)
    return started


def can_fork(arguments: Sequence[str], env: Mapping[str, str]) -> bool:
    """Return whether a fork does the same as `python` with these arguments."""
    variables = {name for name in env if name.startswith("PYTHON")}
    is_known = arguments[0] in {"-c", "-m", "-W"} or arguments[0].endswith(".py")
    return hasattr(os, "fork") and is_known and variables <= COMPATIBLE


def run_python(arguments: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float) -> Ran:
    """Run `python` with these arguments in a fork."""
    modules = (*LIBRARIES, "pytest") if [*arguments[:2]] == ["-m", "pytest"] else MODULES
    return interpreter(modules).run(cwd, env, [*map(str, arguments)], timeout)
