"""The scanners to compare, and their findings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from scanning.history import GIT_SETTINGS
from scanning.plants import key_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIVE, BY_FINGERPRINT = "`scan`", "`scan --fingerprints`"
GITLEAKS, DETECT_SECRETS, RIPGREP = "gitleaks", "detect-secrets", "`rg -F`"
OURS = (LIVE, BY_FINGERPRINT)
LIMIT = 1200
"""The time limit of a run, in seconds."""
MOST_FOR_DETECT_SECRETS = 256 * 1024
"""The size limit of files for detect-secrets, in bytes."""
_STARTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "started.py")
_PROGRAMS = {GITLEAKS: "gitleaks", DETECT_SECRETS: "detect-secrets", RIPGREP: "rg"}


def program(tool: str) -> str | None:
    """Return the path of a tool, or `None` if it is not installed."""
    path = os.path.join(os.path.dirname(sys.executable), _PROGRAMS[tool])
    return path if os.path.exists(path) else shutil.which(_PROGRAMS[tool])


def missing() -> list[str]:
    """Return the tools that are not installed."""
    return [tool for tool in _PROGRAMS if program(tool) is None]


def versions() -> str:
    """Return the versions of the tools that report one."""
    commands = {"git": ["git", "--version"], "rg": ["rg", "--version"], "gitleaks": ["gitleaks", "version"]}
    commands["gitleaks (Debian)"] = ["dpkg-query", "-W", "-f", "${Version}", "gitleaks"]
    commands["detect-secrets"] = [program(DETECT_SECRETS) or "detect-secrets", "--version"]
    found = []
    for name, command in commands.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            continue
        first = done.stdout.strip().splitlines()[:1]
        if first and "build process" not in first[0]:
            found.append(f"{name} {first[0].removeprefix('git version ').removeprefix('ripgrep ')}")
    return ", ".join(found)


class Run(NamedTuple):
    """One run of a tool.

    Attributes:
        status: the exit status; below 0 after a timeout.
        seconds: the duration.
        cpu_seconds: the CPU time.
        mib: the maximum resident memory of one of its processes.
        output: the output or the report.
    """

    status: int
    seconds: float
    cpu_seconds: float
    mib: float
    output: bytes


class Spot(NamedTuple):
    """A place that a tool reports: a file and a line, or an object or commit of git."""

    path: str
    line: int | None = None
    commit: str | None = None
    object: str | None = None


def _of_some_size(directory: Path) -> list[str]:
    """Return the files for detect-secrets, which needs more than a minute for a few MiB."""
    files = (each for each in directory.rglob("*") if each.is_file())
    return [str(each.relative_to(directory)) for each in files if each.stat().st_size <= MOST_FOR_DETECT_SECRETS]


@dataclass(frozen=True)
class Bench:
    """Runs the tools, with the keys in the environment or with their fingerprints in a revocation list."""

    work: Path
    keys: dict[str, str]

    def __post_init__(self) -> None:
        for mode in OURS:
            config = self._machine(mode) / "config"
            config.mkdir(parents=True, mode=0o700)
        listed = "".join(f"{key_fingerprint(key)}\n" for key in self.keys.values())
        (self._machine(BY_FINGERPRINT) / "config" / "revoked.fingerprints").write_text(listed, encoding="ascii")
        self.patterns.write_text("".join(f"{key}\n" for key in self.keys.values()), encoding="ascii")

    @property
    def patterns(self) -> Path:
        return self.work / "patterns"

    def _machine(self, mode: str) -> Path:
        return self.work / ("live" if mode == LIVE else "fingerprints")

    def run(self, tool: str, directory: Path, *, history: bool = False, limit: float = LIMIT) -> Run:
        """Run a tool on a directory or a file."""
        report, figures, output = (self.work / f"{name}-{os.getpid()}-{abs(hash(tool))}" for name in ("r", "f", "o"))
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.work), "LANG": "C.UTF-8", **GIT_SETTINGS}
        where = self.work
        if tool in OURS:
            command = [sys.executable, "-m", "robodj_secretguard", "scan", str(directory), "--format", "json"]
            command += ["--git-history"] * history + ["--fingerprints"] * (tool == BY_FINGERPRINT)
            environ |= self.keys if tool == LIVE else {}
            where = self._machine(tool)
        elif tool == GITLEAKS:
            command = [program(tool) or "", "detect", "--no-banner", "-s", str(directory), "-r", str(report)]
            command += ["-f", "json", "-l", "error"] + ["--no-git"] * (not history)
        elif tool == DETECT_SECRETS:
            command = [program(tool) or "", "scan", "--all-files", *_of_some_size(directory)]
            where = directory
        else:
            command = [program(tool) or "", "-F", "-uuu", "--text", "-c", "-f", str(self.patterns), str(directory)]
        starter = [sys.executable, "-I", "-S", _STARTED, str(figures), str(output), str(limit), *command]
        subprocess.run(starter, cwd=where, env=environ, check=True)
        written = output.read_bytes() if tool != GITLEAKS else report.read_bytes() if report.exists() else b"[]"
        report.unlink(missing_ok=True)
        return Run(**json.loads(figures.read_text(encoding="ascii")), output=written)


def spots(tool: str, run: Run, directory: Path) -> list[Spot]:
    """Return the spots that a tool reported."""
    return [*_spots(tool, json.loads(run.output), f"{directory}/")] if run.output else []


def _spots(tool: str, result: Any, directory: str) -> Iterator[Spot]:
    if tool in OURS:
        for each in result["findings"]:
            path = (each["path"] or "").removeprefix(directory)
            yield Spot(path, each["line"], None, each["object"])
            for carrier in each["carriers"]:
                yield Spot(carrier["path"], each["line"], carrier["commit"], each["object"])
    elif tool == GITLEAKS:
        name = os.path.basename(directory.rstrip("/")) + "/"
        for each in result:
            path = each["File"].removeprefix(directory).removeprefix(name)
            yield Spot(path, each["StartLine"], each["Commit"] or None)
    else:
        for path, found in result["results"].items():
            yield from (Spot(path.removeprefix("./"), each["line_number"]) for each in found)
