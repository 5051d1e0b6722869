"""Writes that are killed at each system call that changes something, by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2
from stores import COMPARING, fields_in, helper_at, new_text, opened, versions_of, write

if TYPE_CHECKING:
    from pathlib import Path

    from robodj_secretguard.managers.manager import Store

STRACE = shutil.which("strace") or ""
CALLS = "mkdir,rename,symlink,unlink,rmdir,unlinkat,fsync,fchmod,chmod,fchown,chown,write,flock,execve"
WRITER = f"""
import sys
from stores import opened, write
store = opened(sys.argv[1])
write(store, {{"{V1}": sys.argv[2], "{V2}": sys.argv[2]}})
"""

pytestmark = pytest.mark.skipif(not STRACE, reason="strace is not installed")


def traced(source: str, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Write both variables in another process, under strace."""
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [STRACE, "-f", "-qq", *options, sys.executable, "-c", WRITER, source, text]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=60)


def store_at(directory: Path, kind: str) -> Store:
    """Return a store that has had one write, or, for a plain directory, none."""
    directory.mkdir()
    if kind == "exec":
        return helper_at(directory, COMPARING)
    if kind == "plain":
        (directory / "keys").mkdir()
        for name in (V1, V2):
            (directory / "keys" / name).write_text("old", encoding="utf-8")
        return opened(f"directory:{directory}/keys")
    return opened(f"{kind}:{directory}/keys")


@pytest.mark.parametrize(
    "kind", ["envfile", *(pytest.param(each, marks=pytest.mark.full) for each in ("directory", "plain", "exec"))]
)
def test_a_write_that_is_killed_leaves_the_old_set_or_the_new_one(tmp_path: Path, kind: str) -> None:
    """After each kill, both variables are old or both are new. The next write completes, and keeps what it replaces."""
    store = store_at(tmp_path / "counted", kind)
    if kind != "plain":
        write(store, {V1: "old", V2: "old"})
    counted = traced(store.name, "new", "-c", "-U", "name,calls", "-e", f"trace={CALLS}")
    calls = {name: int(calls) for name, calls in re.findall(r"^(\w+) +(\d+)$", counted.stderr, re.MULTILINE)}
    calls.pop("total", None)
    assert fields_in(store) == {V1: "new", V2: "new"}, counted.stderr
    kills = 0
    for name, number in [(name, number) for name, most in calls.items() for number in range(1, most + 1)]:
        if (name, number) == ("execve", 1):
            continue
        store = store_at(tmp_path / f"{name}-{number}", kind)
        if kind != "plain":
            write(store, {V1: "old", V2: "old"})
        new = new_text()
        traced(store.name, new, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}")
        found = fields_in(store)
        assert found in ({V1: "old", V2: "old"}, {V1: new, V2: new}), (name, number)
        kills += found[V1] == "old"
        write(store, {V1: "last", V2: "last"})
        assert fields_in(store) == {V1: "last", V2: "last"}
        assert versions_of(store)[0] == {V1: "last", V2: "last"}
        assert found in versions_of(store), (name, number)
        if kind != "exec":
            left = [*os.listdir(tmp_path / f"{name}-{number}"), *os.listdir(f"{store.name.partition(':')[2]}.versions")]
            assert not [each for each in left if each.endswith(".new")]
    assert kills
    print(kind, calls, "kills that left the old set:", kills)  # noqa: T201 - the figures of this trial
