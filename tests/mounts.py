"""A mount namespace of a test's own: bind mounts, small disks and read-only file systems, gone with the process."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

import pytest
from conftest import Ran, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_NAMESPACE: Final = (
    ("--mount",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ("--user", "--map-root-user", "--mount")
)
_NOT_PERMITTED: Final = 77


def run_with_mounts(
    mounts: Sequence[str], command: Sequence[str], *, env: Mapping[str, str], cwd: Path, keys: Sequence[str] = ()
) -> Ran:
    """Run a command where file systems are mounted for it alone; skip the test where that is not permitted.

    Args:
        mounts: shell commands that mount them.
        command: the whole command.
        env: its whole environment.
        cwd: its working directory, entered again after the mounts.
        keys: the keys that must not show.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare on this machine")
    script = "".join(f"{mount} || exit {_NOT_PERMITTED}; " for mount in mounts) + 'cd "$0" && exec "$@"'
    argv = [unshare, *_NAMESPACE, "sh", "-c", script, str(cwd), *command]
    ran = run(argv, env=env, cwd=cwd, keys=keys, python=False)
    if ran.status == _NOT_PERMITTED or ran.err.startswith("unshare: "):
        pytest.skip("this machine permits no mounts")
    return ran
