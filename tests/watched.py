"""A command behind `exec --watch`, and a directory in the layout of Kubernetes from which it gets its keys."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, clean_environment, good_keys, marker, put
from detector import leaks

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.managers.manager import delivery_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from robodj_secretguard.managers.manager import Delivery

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
EXPIRES = f"{V1}_EXPIRES_AT"
REVOKED = "ROBODJ_REVOKED_FINGERPRINTS"
BAD = {V1: "changeme"}
SERVE = f"""
trap 'echo term; exit 5' TERM
echo "start $$ ${EXPIRES}"
while :; do sleep 0.02 & wait $!; done
"""
"""A shell command that says on which set it runs, by the expiry marker, and ends with 5 at SIGTERM."""


def given(variables: Mapping[str, str]) -> Delivery:
    """Return what a manager with some variables delivers."""
    return delivery_of("vault:secret/robodj", variables, variables)


def new_set(number: int = 0, **more: str) -> dict[str, str]:
    """Return new keys whose expiry marker is different for each number."""
    ahead = timedelta(days=20, seconds=number)
    return good_keys() | {EXPIRES: marker(ahead, now=datetime.now(UTC).replace(microsecond=0))} | more


def fingerprints(variables: Mapping[str, str]) -> list[str]:
    """Return the fingerprint of each key of a set."""
    return [fingerprint_of(variables[each]) for each in (V1, V2)]


@dataclass
class Mounted:
    """A directory of keys. Each new version replaces the one before it at once."""

    root: Path
    versions: list[Mapping[str, str]] = field(default_factory=list, repr=False)
    source: str = "directory:mounted"

    def publish(self, variables: Mapping[str, str]) -> Mapping[str, str]:
        """Replace the keys, and return them."""
        self.versions.append(variables)
        name = f"v{len(self.versions)}"
        version = self.root / "mounted" / name
        version.mkdir(parents=True)
        for variable, value in variables.items():
            put(version / variable, value)
        link = self.root / "mounted" / "..new"
        link.symlink_to(name)
        link.replace(self.root / "mounted" / "..data")
        return variables

    @property
    def keys(self) -> list[str]:
        """Every key that was published."""
        return [each[name] for each in self.versions for name in (V1, V2) if name in each and each[name] not in BAD[V1]]


@dataclass
class Watched:
    """A running `exec --watch`."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _found: dict[str, int] = field(default_factory=dict)

    def until(self, pattern: str) -> re.Match[str]:
        """Read the output until a line has a pattern. The line comes after earlier ones of the same kind.

        The lines of the command and of the program come in any order. The kind is the beginning of the pattern.
        """
        assert self.process.stdout is not None
        position = self._found.get(pattern[:6], 0)
        while position < len(self.lines) or (line := self.process.stdout.readline()):
            if position == len(self.lines):
                self.lines.append(line.rstrip("\n"))
            position += 1
            if found := re.search(pattern, self.lines[position - 1]):
                self._found[pattern[:6]] = position
                return found
        raise AssertionError([pattern, *self.lines])

    def end(self, number: int = 0) -> int:
        """Send a signal, read the rest of the output, and return the exit status."""
        if number:
            self.process.send_signal(number)
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(TIMEOUT)

    @property
    def text(self) -> str:
        """The output so far."""
        return "\n".join(self.lines)

    @property
    def events(self) -> list[tuple[str, str | None, str | None]]:
        """The event, the secret and the reason of each record."""
        return [(each["event"], each["secret"], each["reason"]) for each in self.records]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Every record in the output."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def count(self, start: str) -> int:
        """Return how many lines begin with a text."""
        return sum(line.startswith(start) for line in self.lines)


@contextlib.contextmanager
def watched(
    mounted: Mounted,
    *options: str,
    script: str = SERVE,
    command: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    stdin: int = subprocess.PIPE,
    before: str = "",
    environ: Mapping[str, str] = {},
    seconds: float = TIMEOUT,
) -> Iterator[Watched]:
    """Run a shell script behind `exec --watch`, and assert that the output has no part of a key."""
    options = ("exec", "--from", mounted.source, "--watch", "0.1", *options, "--")
    main = f"import sys; from robodj_secretguard.cli import main; {before}; sys.exit(main())"
    gate = (*(("-c", main) if before else ("-m", "robodj_secretguard")), *options)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*wrapper, sys.executable, *gate, *(command or ("sh", "-c", script))],
        env={**clean_environment(), **environ},
        cwd=mounted.root,
        stdin=stdin,
        stdout=pipe,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        running = Watched(process)
        try:
            yield running
        finally:
            limit.cancel()
            if process.poll() is None:
                process.kill()
        assert leaks(re.sub("sgfp1:[0-9a-f]{32}", "", running.text), mounted.keys) == []


def is_running(process: int) -> bool:
    """Return whether a process exists, and is no zombie."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return os.name != "posix"
