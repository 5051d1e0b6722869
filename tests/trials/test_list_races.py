"""git replaces a revocation list while keys are revoked: no revocation is lost, and no partial list is used."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import IO, TYPE_CHECKING, Any, Final

import pytest
from command_line import OF_ROBODJ
from conftest import clean_environment, good_keys, process_environment
from processes import Killed, needs_fork

from robodj_secretguard import check
from robodj_secretguard.cli import main
from robodj_secretguard.common.files import is_at
from robodj_secretguard.lifecycle import revocation
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import REVOKED_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    needs_fork,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

LIST: Final = Path(REVOKED_FILE)
COMMITTED: Final = 300
"""Entries. They need more than a page of memory, so a file system may show a part of a write."""
LONGEST: Final = 0.03
"""The longest delay, in seconds, before an action begins."""
READS: Final = 40
RANDOM: Final = Random()  # noqa: S311 - random delays are not secret


def new_fingerprint() -> str:
    """Return the fingerprint of a new key."""
    return fingerprint(SealedStr(secrets.token_urlsafe(32)))


def git(*arguments: str) -> int:
    """Run git without the configuration of the machine, and return its status."""
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(["git", *identity, *arguments], env=env, capture_output=True, check=False).returncode  # noqa: S607


def entries() -> set[str]:
    """Return the entries of the list."""
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


def revoke(key: str) -> tuple[bool, float]:
    """Revoke a key. Return whether that was acknowledged, and when the list was last verified to have it."""
    verified = [0.0]

    def noting(descriptor: int, path: str) -> bool:
        verified.append(time.monotonic())
        return is_at(descriptor, path)

    revocation.is_at = noting  # type: ignore[attr-defined]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = main(["revoke", "--fingerprint", key, "--reason", "race", "--yes", "--unknown", *OF_ROBODJ])
        return status == 0, verified[-1]


def read() -> list[int]:
    """Check repeatedly, and return the number of entries in each report that passes."""
    reports = [check(config_dir="config") for _ in range(READS)]
    return [len(report.revocation_list.begins) for report in reports if report.ok and report.revocation_list]


def checkout() -> tuple[bool, float]:
    """Check the list out. Return whether that succeeded, and when it had ended."""
    return git("checkout", "-q", "--", REVOKED_FILE) == 0, time.monotonic()


def race(actions: list[Callable[[], Any]]) -> list[Any]:
    """Run all actions at once, each in a separate process, and return their results."""
    waits, starts = os.pipe()

    def run(act: Callable[[], Any], pipe: IO[bytes]) -> None:
        os.close(starts)
        os.read(waits, 1)
        time.sleep(RANDOM.uniform(0, LONGEST))
        pipe.write(json.dumps(act()).encode())

    started = [Killed(partial(run, act)) for act in actions]
    os.close(waits)
    os.close(starts)
    return [json.loads(each.said()) for each in started]


@pytest.fixture
def committed(tmp_path: Path) -> Iterator[list[str]]:
    """The entries of a list that is committed in the working directory."""
    listed = [new_fingerprint() for _ in range(COMMITTED)]
    with contextlib.chdir(tmp_path), process_environment(clean_environment() | good_keys()):
        os.mkdir("config", 0o700)
        LIST.write_text(HEADER + "".join(f"{each}\n" for each in listed), encoding="utf-8")
        assert [git(*each) for each in (["init", "-q"], ["add", "."], ["commit", "-qm", "List"])] == [0, 0, 0]
        yield listed


@pytest.mark.parametrize("rounds", [10, pytest.param(1000, marks=pytest.mark.full)])
def test_git_and_two_that_revoke(committed: list[str], rounds: int) -> None:
    """Only a later checkout removes an acknowledged revocation, and no passing report is of a partial list."""
    text, acknowledged = LIST.read_text(encoding="utf-8"), 0
    for _ in range(rounds):
        # Git replaces a list that was changed or deleted, or that is being written.
        LIST.unlink(missing_ok=True)
        if choice := RANDOM.randrange(4):
            LIST.write_text(["", f"{text}{new_fingerprint()}\n", HEADER, ""][choice], encoding="utf-8")
        shutil.rmtree("config/logs", ignore_errors=True)
        keys = new_fingerprint(), new_fingerprint()
        *revoked, (checked_out, checked_out_at), passing = race(
            [*(partial(revoke, key) for key in keys), checkout, read]
        )
        listed = entries()
        assert set(committed) <= listed or not checked_out
        for key, (is_acknowledged, at) in zip(keys, revoked, strict=True):
            acknowledged += is_acknowledged
            assert key in listed or not is_acknowledged or at < checked_out_at
        assert {*passing} <= {0, 1, 2, *range(COMMITTED, COMMITTED + 4)}
    assert acknowledged > rounds
