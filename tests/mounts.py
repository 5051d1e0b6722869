"""A mount namespace for one test: bind mounts, small disks and read-only file systems. It ends with the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from conftest import Ran, run

_NAMESPACE: Final = (
    ("--mount",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ("--user", "--map-root-user", "--mount")
)
_NOT_PERMITTED: Final = 77


def run_with_mounts(
    mounts: Sequence[str], command: Sequence[str], *, env: Mapping[str, str], cwd: Path, keys: Sequence[str] = ()
) -> Ran:
    """Run a command with file systems that only it sees. Skip the test if mounts are not permitted.

    Args:
        mounts: shell commands that mount them.
        command: the whole command.
        env: its whole environment.
        cwd: its working directory, entered again after the mounts.
        keys: the keys that its output must not have.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    script = "".join(f"{mount} || exit {_NOT_PERMITTED}; " for mount in mounts) + 'cd "$0" && exec "$@"'
    argv = [unshare, *_NAMESPACE, "sh", "-c", script, str(cwd), *command]
    ran = run(argv, env=env, cwd=cwd, keys=keys, python=False)
    if ran.status == _NOT_PERMITTED or ran.err.startswith("unshare: "):
        pytest.skip("mounts are not permitted")
    return ran
