"""What cannot be written or read: a full pipe and a hung file system do not keep a revoked key in use."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import publications
import pytest
from conftest import TIMEOUT, V1, posix_only
from mounts import run_with_mounts
from processes import host_env, run_forked
from publications import first, revoking, volume

from robodj_secretguard.startup.inputs import SECRETS_DIR, SECRETS_REFRESH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [posix_only, pytest.mark.full]

SERVICE = """
import sys, time
from robodj_secretguard import guard
from robodj_secretguard.running import refresh
from robodj_secretguard.errors import RevokedKeyError
refresh.END_SECONDS = 2.0
ring = guard().secret_key
print("started", file=sys.stderr, flush=True)
while True:
    time.sleep(0.05)
    try:
        ring.current
    except RevokedKeyError:
        print("refused", file=sys.stderr, flush=True)
        time.sleep(60)
"""
"""A service that says on stderr when it starts, and when its key is refused."""

HUNG = """
import ctypes, os, sys, time
from publications import first, renamed, staged
from pathlib import Path
path = Path(os.environ["ROBODJ_SECRETS_DIR"])
files = first()
renamed(path, files)
from robodj_secretguard import guard
from robodj_secretguard.settings import store_of
secrets = guard()
ring = secrets.secret_key

# A file system that nobody serves: whatever reads it waits.
server, libc = os.open("/dev/fuse", os.O_RDWR), ctypes.CDLL(None)
options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
assert libc.mount(b"hung", os.fsencode(path), b"fuse", 0, options) == 0
slowest = 0.0
until = time.monotonic() + 8
while time.monotonic() < until:
    began = time.monotonic()
    assert len(ring.accepted()) == 1
    slowest = max(slowest, time.monotonic() - began)
    time.sleep(0.01)
assert secrets.state().name != "following"
print(f"hung: the slowest operation of a ring took {slowest:.3f} s", flush=True)

os.close(server)
libc.umount2(os.fsencode(path), 2)
renamed(path, staged(files))
began = time.monotonic()
while len(ring.accepted()) != 2:
    assert time.monotonic() - began < 10
    time.sleep(0.01)
print(f"recovered after {time.monotonic() - began:.1f} s", flush=True)
"""
"""A service whose directory hangs for some seconds."""


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """Make a pipe that has no room."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for size in (1 << 12, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * size)
    os.set_blocking(writer, True)
    yield writer
    os.close(writer)
    os.close(reader)


def test_a_full_pipe(tmp_path: Path) -> None:
    """A service whose stdout nobody reads refuses a revoked key within two periods, and ends."""
    volume(tmp_path / "keys", files := first())
    environ = host_env({SECRETS_DIR: str(tmp_path / "keys"), SECRETS_REFRESH: "1"})
    with (
        full_pipe() as stdout,
        subprocess.Popen(
            [sys.executable, "-c", SERVICE], env=environ, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        ) as process,
    ):
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "started\n"
            volume(tmp_path / "keys", revoking(files, V1))
            began = time.monotonic()
            while process.stderr.readline() != "refused\n":
                assert process.poll() is None
            refused = time.monotonic() - began
            assert process.wait(TIMEOUT) == 3
        finally:
            process.kill()
    print(f"refused after {refused:.1f} s, ended after {time.monotonic() - began:.1f} s")  # noqa: T201 - its figures
    assert refused < 2 * 1 + 3  # the lines have two seconds


def test_a_hung_file_system(tmp_path: Path) -> None:
    """A read that hangs is said by a ring, stops no operation and no exit, and the next keys are used."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse")
    tests = os.path.dirname(publications.__file__)
    environ = host_env({SECRETS_DIR: str(tmp_path / "keys"), SECRETS_REFRESH: "1"}, PYTHONPATH=tests)
    (tmp_path / "app.py").write_text(HUNG, encoding="utf-8")
    ran = run_with_mounts([], [sys.executable, "app.py"], env=environ, cwd=tmp_path)
    print(ran.out)  # noqa: T201 - its figures
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.count("ALERT: unavailable: no keys were read for 3 s") == 1


EXITS = """
import random, sys, time
from robodj_secretguard import guard
from robodj_secretguard.running import news, refresh
news.ALERT_AGAIN = 0.0
from robodj_secretguard.settings import store_of
secrets = guard()
reader = store_of(secrets).reader
vars(refresh.Refresh)["_seconds"].__set__(reader, 0.001)
reader.begin()
open({path!r}, "w").write("changeme")
time.sleep(random.random() / 50)
sys.exit(5)
"""
"""A service that ends while its thread reads a bad set and writes its alert, again and again."""


def test_exits(tmp_path: Path) -> None:
    """A process that ends while lines are written has its own status, and nothing aborts it."""
    for _ in range(300):
        volume(tmp_path / "keys", first())
        script = EXITS.format(path=str(tmp_path / "keys" / "..data" / V1))
        ran = run_forked(script, {SECRETS_DIR: str(tmp_path / "keys")}, tmp_path)
        assert (ran.status, ran.err) == (5, "")
        assert {line[:6] for line in ran.out.splitlines()} <= {"ALERT:", "  fix:"}
