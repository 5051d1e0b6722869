"""The build depends only on the source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="umasks are POSIX's")
def test_two_builds_are_identical(tmp_path: Path) -> None:
    """Two builds from different directories, with different umasks, times and time zones, are byte-identical."""
    ignored = shutil.ignore_patterns(".git", ".nox", ".venv", "build", "dist", "__pycache__", ".*_cache", ".hypothesis")
    built: list[dict[str, str]] = []
    for folder, umask, seconds, zone in (("one", 0o022, 10**9, "UTC"), ("another folder", 0o077, 1.5e9, "Asia/Tokyo")):
        source, output = tmp_path / folder, tmp_path / f"{folder} built"
        before = os.umask(umask)
        shutil.copytree(ROOT, source, ignore=ignored, copy_function=shutil.copyfile)
        os.umask(before)
        for path in (source, *source.rglob("*")):
            os.utime(path, (seconds, seconds), follow_symlinks=False)
        command: list[str | Path] = [sys.executable, "-m", "build", "--no-isolation", "--outdir", output, source]
        subprocess.run(command, env=os.environ | {"TZ": zone}, umask=umask, check=True, stdout=subprocess.DEVNULL)
        built.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in output.iterdir()})
    assert [Path(name).suffix for name in sorted(built[0])] == [".whl", ".gz"]
    assert built[0] == built[1]
