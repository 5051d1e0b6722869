"""Two `revoke`, a `git checkout` of the revocation list and a reader at once; and what the list has after each round.

A program: it forks the processes of each round, and prints in the end what it has seen, as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard import check
from robodj_secretguard.cli import main
from robodj_secretguard.files import is_at
from robodj_secretguard.lifecycle import revocation
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import REVOKED_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LIST: Final = Path(REVOKED_FILE)
COMMITTED: Final = 300
"""Entries: more than a page of memory, so that a file system may show a part of a write."""
LONGEST: Final = 0.03
"""Seconds, in which a key is revoked."""
READS: Final = 40
CHANCE: Final = Random()  # noqa: S311 - of when a process begins, which is no secret
REASON: Final = ("--reason", "race", "--yes")


def new_fingerprint() -> str:
    """Make the fingerprint of a new key."""
    return fingerprint(SealedStr(secrets.token_urlsafe(32)))


def git(*arguments: str) -> subprocess.Popen[bytes]:
    """Start git, without anybody's configuration."""
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.Popen(["git", *who, *arguments], env=env, stderr=subprocess.DEVNULL)  # noqa: S607


def entries() -> set[str]:
    """Return the entries of the list."""
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


def forked(act: Callable[[], Any], waits: int, starts: int) -> tuple[int, int]:
    """Fork a process, and return it, and the pipe on which it says what it has seen.

    Args:
        act: what it does, some time after the start.
        waits: the pipe on which it waits for the start.
        starts: that pipe's other end.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    os.close(starts)
    os.read(waits, 1)
    time.sleep(CHANCE.uniform(0, LONGEST))
    with open(writer, "w", encoding="ascii") as pipe:
        json.dump(act(), pipe)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def ended(child: int, reader: int) -> Any:
    """Wait for the end of a process, and return what it has seen."""
    with open(reader, encoding="ascii") as pipe:
        seen = json.load(pipe)
    os.waitpid(child, 0)
    return seen


def called(key: str) -> int:
    """Call the command line, and return its status."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return main(["revoke", "--fingerprint", key, *REASON])


def revoke(key: str) -> tuple[bool, float]:
    """Revoke a key, and return whether that was acknowledged, and when the list was last verified to have it."""
    verified = [0.0]

    def noting(descriptor: int, path: str) -> bool:
        verified.append(time.monotonic())
        return is_at(descriptor, path)

    revocation.is_at = noting  # type: ignore[attr-defined]
    return called(key) == 0, verified[-1]


def read() -> list[int]:
    """Check again and again, and return how many entries the list had in each report that passes."""
    reports = [check(config_dir="config") for _ in range(READS)]
    return [report.revocation_list.entries for report in reports if report.ok and report.revocation_list]


def checkout() -> tuple[bool, float]:
    """Check the list out, and return whether git says that it did, and when it had ended."""
    status = git("checkout", "-q", "--", REVOKED_FILE).wait()
    return status == 0, time.monotonic()


def prepare(committed: str) -> None:
    """Leave the list in one of the states in which git would replace it: changed, deleted, or being written."""
    LIST.unlink(missing_ok=True)
    if how := CHANCE.randrange(4):
        LIST.write_text(["", f"{committed}{new_fingerprint()}\n", HEADER, ""][how], encoding="utf-8")
    shutil.rmtree("config/logs", ignore_errors=True)


def races(rounds: int) -> dict[str, int]:
    """Race, and make sure after each round that nothing is lost that should be there."""
    ours = [new_fingerprint() for _ in range(COMMITTED)]
    committed = HEADER + "".join(f"{each}\n" for each in ours)
    os.mkdir("config", 0o700)
    LIST.write_text(committed, encoding="utf-8")
    for arguments in ("init", "-q"), ("add", "."), ("commit", "-qm", "List"):
        assert git(*arguments).wait() == 0
    called(new_fingerprint())  # so that no process of a round imports anything
    complete = {0, 1, 2, *range(COMMITTED, COMMITTED + 4)}
    seen = dict.fromkeys(("rounds", "acknowledged", "checkouts", "missing", "lost", "passing reports", "of a part"), 0)
    for _ in range(rounds):
        prepare(committed)
        keys = new_fingerprint(), new_fingerprint()
        waits, starts = os.pipe()
        actions: Iterable[Callable[[], Any]] = (*(partial(revoke, key) for key in keys), checkout, read)
        started = [forked(act, waits, starts) for act in actions]
        os.close(waits)
        os.close(starts)
        *revoked, (checked_out, checked_out_at), passing = [ended(*each) for each in started]
        there = entries()
        assert set(ours) <= there or not checked_out
        missing = [
            at for key, (is_acknowledged, at) in zip(keys, revoked, strict=True) if is_acknowledged and key not in there
        ]
        seen["rounds"] += 1
        seen["acknowledged"] += sum(is_acknowledged for is_acknowledged, _ in revoked)
        seen["checkouts"] += checked_out
        seen["missing"] += len(missing)
        seen["lost"] += sum(at >= checked_out_at for at in missing)
        seen["passing reports"] += len(passing)
        seen["of a part"] += len(set(passing) - complete)
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(races(int(sys.argv[1]))))
