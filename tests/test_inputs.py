"""Files that options name: whatever is there, no command waits for it."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest
from conftest import good_keys, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs, sockets, terminals and devices are POSIX's")

RECORD = ("rotate", "record", "--environment", "prod", "--operator", "Ada")
OPTIONS: dict[str, tuple[str, ...]] = {
    "--service-log": (*RECORD, "--service-log"),
    "--known": (*RECORD, "--known"),
    "--operations-log of rotate record": (*RECORD, "--operations-log"),
    "--operations-log of log verify": ("log", "verify", "--operations-log"),
    "--keys-from": ("scan", "--keys-from"),
    "--scan": ("incident", "report", "--since", "2026-12-01", "--scan"),
}
ONE_AFTER_THE_OTHER = """
import sys
from robodj_secretguard.cli import main

*arguments, names = sys.argv[1:]
for name in names.split(","):
    print(name, main([*arguments, name]), flush=True)
"""


@pytest.fixture
def names(tmp_path: Path) -> Iterator[list[str]]:
    """The names of each kind of thing that is not a regular file, and of a link to each."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        leader, terminal = os.openpty()
        targets = {
            "fifo": "fifo",
            "directory": "directory",
            "socket": "socket",
            "zero": "/dev/zero",
            "terminal": os.ttyname(terminal),
        }
        for kind, target in targets.items():
            (tmp_path / f"link-to-{kind}").symlink_to(target)
        yield [*targets.values(), *(f"link-to-{kind}" for kind in targets)]
        os.close(leader)
        os.close(terminal)


@pytest.mark.parametrize("arguments", OPTIONS.values(), ids=OPTIONS)
def test_not_a_regular_file(
    arguments: tuple[str, ...], names: list[str], clean_env: dict[str, str], tmp_path: Path
) -> None:
    """It is refused at once: a pipe without a writer, a device without an end, and a link to either."""
    keys = good_keys()
    before = sorted(tmp_path.iterdir())
    ran = run(
        ["-c", ONE_AFTER_THE_OTHER, *arguments, ",".join(names)],
        env=clean_env | keys,
        cwd=tmp_path,
        keys=[*keys.values()],
    )
    refused = [line for line in ran.out.splitlines() if line.split(" ")[0] in names]
    assert refused == [f"{name} 2" for name in names]
    assert sorted(tmp_path.iterdir()) == before
