"""Many short processes, forked from one that has done the imports, which take most of the time."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from conftest import TIMEOUT, Ran

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HUNG = -1000
"""The status of a process that was killed after the time limit."""


class Forks:
    """A running program that calls `fork_server.next_request`. It starts one process after another.

    Args:
        program: the program.
        env: its whole environment.
    """

    def __init__(self, program: Path, env: Mapping[str, str]) -> None:
        self._program = program
        paths = [os.path.dirname(__file__), *filter(None, [env.get("PYTHONPATH")])]
        self._env = {**env, "PYTHONPATH": os.pathsep.join(paths)}
        self._start()

    def _start(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, self._program],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Close the program's stdin, which ends it."""
        self._server.communicate()

    def run(self, directory: Path, environ: Mapping[str, str], what: object = None) -> Ran:
        """Run one process to its end. Its status is `HUNG` if it was killed after the time limit.

        Args:
            directory: its working directory.
            environ: its whole environment.
            what: the argument for the program.
        """
        assert self._server.stdin is not None
        request = {"directory": str(directory), "environ": dict(environ), "what": what}
        self._server.stdin.write(f"{json.dumps(request)}\n")
        self._server.stdin.flush()
        status = self._answer()
        out, err = ((directory / name).read_bytes().decode("utf-8", "surrogateescape") for name in ("out", "err"))
        return Ran(status, out, err)

    def _answer(self) -> int:
        stdout = self._server.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if selector.select(TIMEOUT):
                return int(stdout.readline())
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate()
        self._start()
        return HUNG
