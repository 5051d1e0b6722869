"""Git repositories that tests make: one identity, one time, and nobody's configuration."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from conftest import TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GIT = shutil.which("git") or ""
NO_CONFIGURATION = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
SETTINGS = NO_CONFIGURATION | {
    **{f"GIT_{role}_NAME": "Ada" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "ada@example.org" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_DATE": "2026-12-01T12:00:00Z" for role in ("AUTHOR", "COMMITTER")},
    "LC_ALL": "C",
    "PATH": os.environ["PATH"],
}
"""The whole environment of git."""


def git(directory: Path, *arguments: str | bytes, given: bytes = b"") -> str:
    """Run git in a directory, and return what it wrote."""
    done = subprocess.run(
        [GIT, *arguments],
        cwd=directory,
        env=SETTINGS | {"GIT_LITERAL_PATHSPECS": "1"},
        input=given,
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    return done.stdout.decode(errors="surrogateescape").strip()


def made(directory: Path, *options: str) -> Path:
    """Make a repository without a commit."""
    directory.mkdir(exist_ok=True)
    git(directory, "init", "-q", "-b", "main", *options)
    return directory


def put(directory: Path, name: str | bytes, data: bytes) -> str:
    """Put a file into the work tree and the index of a repository with SHA-1, and return its object's name."""
    path = directory / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    git(directory, "add", "-f", "--", os.fsencode(name))
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def commit(directory: Path, message: str = "a change") -> str:
    """Commit what is in the index, and return the commit's name."""
    git(directory, "commit", "-q", "--allow-empty", "-m", message)
    return git(directory, "rev-parse", "HEAD")


def object_file(directory: Path, name: str) -> Path:
    """Return where an object is kept that is not packed."""
    path = directory / ".git" / "objects" / name[:2] / name[2:]
    path.chmod(0o600)
    return path


def program(path: Path, script: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nGIT={GIT}\n{script}\n", "ascii")
    path.chmod(0o700)
    return path


def replace_git(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> None:
    """Run a shell script instead of git, which it knows as $GIT."""
    monkeypatch.setenv("PATH", f"{program(directory / 'bin' / 'git', script).parent}:{os.environ['PATH']}")
