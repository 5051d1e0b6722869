"""A process that never uses a secret: a watchdog says that its directory cannot be read any more."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import publications
import pytest
from conftest import posix_only
from mounts import run_with_mounts
from processes import host_env

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [posix_only, pytest.mark.full]

IDLE = """
import ctypes, os, select, sys, time
from pathlib import Path
from publications import first, renamed
path = Path(os.environ["ROBODJ_SECRETS_DIR"])
renamed(path, first())
reader, writer = os.pipe()
shown = os.dup(1)
os.dup2(writer, 1)
from robodj_secretguard import guard
secrets = guard()
time.sleep(1.5)

# A file system that nobody serves: whatever reads it waits.
server, libc = os.open("/dev/fuse", os.O_RDWR), ctypes.CDLL(None)
options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
assert libc.mount(b"hung", os.fsencode(path), b"fuse", 0, options) == 0
began, text = time.monotonic(), b""
while b"no keys were read" not in text and select.select([reader], [], [], 30)[0]:
    text += os.read(reader, 65536)
os.write(shown, b"%.2f s\\n" % (time.monotonic() - began) + text)
os.close(server)
libc.umount2(os.fsencode(path), 2)
"""
"""A service that waits for something else while its directory hangs. It shows after how long that was said."""


@pytest.mark.parametrize("period", [1, 2])
def test_an_idle_process(period: int, tmp_path: Path) -> None:
    """The alert comes within three periods and the time until the watchdog looks, although nothing uses a secret."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse")
    tests = os.path.dirname(publications.__file__)
    environ = host_env({"ROBODJ_SECRETS_DIR": str(tmp_path / "keys"), "ROBODJ_SECRETS_REFRESH": str(period)})
    (tmp_path / "app.py").write_text(IDLE, encoding="utf-8")
    ran = run_with_mounts([], [sys.executable, "app.py"], env={**environ, "PYTHONPATH": tests}, cwd=tmp_path)
    print(f"period {period} s: {ran.out}")  # noqa: T201 - its figures
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.count(f"ALERT: unavailable: no keys were read for {3 * period} s") == 1
    assert float(ran.out.partition(" ")[0]) <= 3 * period + 1
