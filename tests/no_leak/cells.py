"""Runs cells: one observer of one scenario, each in a process of its own."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from conftest import TIMEOUT, clean_environment

if TYPE_CHECKING:
    from scenarios import Planted

HUNG = "hung"


class Ran(NamedTuple):
    """A cell's process that has ended: its status, `hung` if it had to be ended, and all that it wrote."""

    status: int | str
    written: str


class Cells:
    """Starts the process that forks for each cell, and asks it for one after the other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self._start()

    def _start(self) -> None:
        # Coverage is measured elsewhere: what forks here would write over its parent's.
        env = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE")}
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("cell.py")],
            env=env | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def stop(self) -> None:
        """End it, and all that came of it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, observer: str, action: str, planted: Planted) -> Ran:
        """Run one cell to its end.

        Args:
            observer: who looks.
            action: what the process does.
            planted: what it is given.
        """
        self._count += 1
        directory = self._directory / str(self._count)
        planted.put(directory)
        environ = {"PATH": os.defpath, "HOME": str(directory), "COLUMNS": "200"}
        environ["SENTRY_RELEASE"] = "1"  # or it asks git, which takes a while
        environ |= planted.environ
        request = {"directory": str(directory), "observer": observer, "action": action, "environ": environ}
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        status = self._answer()
        written = (directory / "written").read_bytes().decode("utf-8", "surrogateescape")
        shutil.rmtree(directory)
        return Ran(status, written)

    def _answer(self) -> int | str:
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if selector.select(TIMEOUT):
                return int(stdout.readline())
        self.stop()
        self._start()
        return HUNG
