"""Run cells: a scenario before an observer, each pair in a separate process."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from conftest import Ran, clean_environment
from detector import RUN, leaks
from forks import HUNG, Forks
from scenarios import Planted, Scenario

HERE = Path(__file__).parent
ATTEMPTS = 4
"""A leak is found with each of so many sets of keys: six characters do not match each set by chance."""


FEW = ("success", "format-escapes", "host-field-chained")
"""A start, a refusal by the library and one by the host's validator: every observer sees these."""


class Cells:
    """Run cells one after the other.

    Args:
        directory: a directory for them.
        program: the program that forks for each.
    """

    def __init__(self, directory: Path, program: Path = HERE / "cell.py") -> None:
        self._directory = directory / "cell"
        # Coverage is measured elsewhere: a forked process would overwrite the data of its parent.
        env = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE")}
        self._forks = Forks(program, env | {"PYTHONPATH": str(HERE)})
        self.stop = self._forks.stop

    def run(self, observer: str, action: str, planted: Planted) -> Ran:
        """Run one cell to its end, and return what it wrote to stdout and stderr.

        Args:
            observer: the observer.
            action: what the process does.
            planted: what the process is given.
        """
        planted.put(self._directory)
        environ = {"PATH": os.defpath, "HOME": str(self._directory), "COLUMNS": "200"}
        environ["SENTRY_RELEASE"] = "1"  # otherwise Sentry starts git, which is slow
        try:
            return self._forks.run(self._directory, environ | planted.environ, (observer, action))
        finally:
            shutil.rmtree(self._directory)


def shown(cells: Cells, observer: str, scenario: Scenario) -> list[str]:
    """Return the parts of the planted keys that an observer shows."""
    hits: list[str] = []
    for _ in range(ATTEMPTS):
        planted = scenario.plant()
        ran = cells.run(observer, scenario.action, planted)
        assert ran.status != HUNG
        hits = leaks(ran.out, planted.secret, folded=RUN)
        if not hits:
            break
    return hits
