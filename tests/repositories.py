"""Git repositories for tests, with a fixed identity and time, and without any user's configuration."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TIMEOUT

GIT = shutil.which("git") or ""
NO_CONFIGURATION = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
SETTINGS = NO_CONFIGURATION | {
    **{f"GIT_{role}_NAME": "Ada" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "ada@example.org" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_DATE": "2026-12-01T12:00:00Z" for role in ("AUTHOR", "COMMITTER")},
    "LC_ALL": "C",
    "PATH": os.environ["PATH"],
}
"""The environment of git."""


def git(directory: Path, *arguments: str | bytes, given: bytes = b"") -> str:
    """Run git in a directory, and return its output."""
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
    """Add a file to the work tree and the index of a SHA-1 repository, and return the name of its object."""
    path = directory / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    git(directory, "add", "-f", "--", os.fsencode(name))
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def commit(directory: Path, message: str = "a change") -> str:
    """Commit the index, and return the commit's name."""
    git(directory, "commit", "-q", "--allow-empty", "-m", message)
    return git(directory, "rev-parse", "HEAD")


def object_file(directory: Path, name: str) -> Path:
    """Return the path of a loose object."""
    path = directory / ".git" / "objects" / name[:2] / name[2:]
    path.chmod(0o600)
    return path


def program(path: Path, script: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nGIT={GIT}\n{script}\n", "ascii")
    path.chmod(0o700)
    return path


def replace_git(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> None:
    """Put a shell script on the path instead of git. The script can run git as $GIT."""
    monkeypatch.setenv("PATH", f"{program(directory / 'bin' / 'git', script).parent}:{os.environ['PATH']}")
