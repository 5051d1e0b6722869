"""An operator who follows the policy with the installed program."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import V1, V2, Ran, run
from processes import run_copy

from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "robodj-secretguard")
NAMES = {V1: "secret.key", f"{V1}_NEXT": "secret.key", V2: "secret_v2.key"}
WHO = ("--environment", "prod", "--operator", "dana", "--ticket", "OPS-17")
SERVICE = """\
import structlog

from robodj_secretguard import guard

structlog.configure(processors=[structlog.processors.JSONRenderer()])
guard()
print("served")
"""


@dataclass
class Walk:
    """An operator who follows the policy, in a RoboDJ repository of a protected environment.

    Attributes:
        root: the repository.
        environ: the environment variables.
        keys: every key that was made, which no other output may show.
        steps: the process of each step.
        started: commands and scripts that have run as a new process. Later runs are forked from this process.
        old: the fingerprint of the key that is revoked.
        v2: the fingerprint of the other secret's key.
        new: the fingerprint of the replacement.
    """

    root: Path
    environ: dict[str, str] = field(repr=False)
    keys: list[str] = field(default_factory=list, repr=False)
    steps: dict[str, Ran] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    old: str = ""
    v2: str = ""
    new: str = ""

    def _run(self, step: str, name: str, command: Sequence[str], script: str) -> Ran:
        if name in self.started:
            again = f"import runpy, sys\nsys.argv = {[*command]!r}\n{script}\n"
            ran = run_copy(again, self.environ, self.root, secret=self.keys)
        else:
            ran = run(command, env=self.environ, cwd=self.root, keys=self.keys, python=False)
        self.started.add(name)
        self.steps[step] = ran
        return ran

    def call(self, step: str, *argv: str) -> Ran:
        """Run the program."""
        return self._run(step, argv[0], [PROGRAM, *argv], f"runpy.run_path({PROGRAM!r}, run_name='__main__')")

    def run(self, step: str, *argv: str) -> Ran:
        """Run a script of the repository."""
        again = f"del sys.argv[0]\nrunpy.run_path({argv[0]!r}, run_name='__main__')"
        return self._run(step, argv[0], [sys.executable, *argv], again)

    def start(self, step: str) -> None:
        """Start the service, and keep its log."""
        (self.root / "service.log").write_text(self.run(step, "service.py").out, encoding="utf-8")

    def deliver(self, variable: str) -> str:
        """Make a new key, deliver it, and return its fingerprint."""
        key = self.call(f"generate {len(self.keys)}", "generate", NAMES[variable]).out
        self.keys.append(key)
        self.environ[variable] = key
        return fingerprint(SealedStr(key))

    def lines(self, step: str) -> list[str]:
        """Return the lines that a step printed."""
        return self.steps[step].out.splitlines()

    def __getitem__(self, step: str) -> Ran:
        return self.steps[step]
