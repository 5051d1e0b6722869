"""The files that are scanned to measure speed and memory: real and generated files, as in a large work tree."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

from scanning.history import GIT_SETTINGS
from scanning.real import real_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1 << 20


def noise(name: str, size: int) -> bytes:
    """Return bytes that look random but are always the same."""
    return hashlib.shake_256(name.encode()).digest(size)


def _real() -> Iterator[bytes]:
    paths = [path for path, _ in real_files()]
    for path in itertools.cycle(paths):
        with open(path, "rb") as file:
            yield file.read(MIB)


def _binaries() -> Iterator[bytes]:
    roots = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    paths = [
        os.path.join(here, name)
        for root in roots
        for here, _, names in os.walk(root)
        for name in sorted(names)
        if name.endswith((".so", ".pyc", ".pyd", ".png", ".gz", ".whl", ".exe"))
    ]
    for path in itertools.cycle(paths):
        with open(path, "rb") as file:
            yield file.read(8 * MIB)


def _json() -> Iterator[bytes]:
    for number in itertools.count():
        rows = [
            {"id": hashlib.sha256(f"{number} {row}".encode()).hexdigest(), "at": row, "name": f"track {row}"}
            for row in range(400)
        ]
        yield json.dumps(rows, indent=1 if number % 2 else None).encode()


def _scripts() -> Iterator[bytes]:
    """Yield real minified scripts, or otherwise Python code without line ends."""
    roots = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), "/usr/share")
    paths = [
        os.path.join(here, name)
        for root in roots
        for here, _, names in os.walk(root)
        for name in sorted(names)
        if name.endswith(".min.js")
    ]
    if paths:
        for path in itertools.cycle(paths):
            with open(path, "rb") as file:
                yield file.read()
    for text in _real():
        yield b";".join(text.split(b"\n"))


def _blobs() -> Iterator[bytes]:
    for number in itertools.count():
        blob = noise(f"blob {number}", 96 * 1024)
        yield base64.encodebytes(blob) if number % 2 else b'{"data":"' + base64.b64encode(blob) + b'"}'


def _utf_16() -> Iterator[bytes]:
    for number, text in enumerate(_real()):
        yield text.decode("utf-8", "replace").encode("utf-16-le" if number % 2 else "utf-16-be")


def _large() -> Iterator[bytes]:
    for number in itertools.count():
        line = f"2026-05-01T10:00:00Z INFO worker={number} request=%08d path=/api/tracks/%d took=0.0%d status=200\n"
        yield "".join(line % (row, row % 977, row % 97) for row in range(250_000)).encode()


MIXTURE: dict[str, tuple[Callable[[], Iterator[bytes]], int, str]] = {
    "text and code": (_real, 42, "txt"),
    "binaries": (_binaries, 16, "bin"),
    "JSON": (_json, 12, "json"),
    "scripts in one line": (_scripts, 6, "js"),
    "base64": (_blobs, 8, "b64"),
    "UTF-16": (_utf_16, 6, "txt"),
    "large single files": (_large, 10, "log"),
}
"""By kind: the function that makes the contents, the percentage of all bytes, and the suffix."""


def mix(root: Path, size: int) -> dict[str, tuple[int, int]]:
    """Write files with this total size, and return the number and the bytes of each kind."""
    made = {}
    for kind, (contents, share, suffix) in MIXTURE.items():
        left, count = size * share // 100, 0
        for number, each in enumerate(contents()):
            content = each[:left]
            directory = root / kind.replace(" ", "-") / str(number // 200)
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{number}.{suffix}").write_bytes(content)
            left, count = left - len(content), count + 1
            if left <= 0:
                break
        made[kind] = (count, size * share // 100)
    return made


def single(path: Path, size: int) -> None:
    """Write one file of real text and code, with this size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        left = size
        for each in _real():
            left -= file.write(each[:left])
            if not left:
                return


def read_all(root: Path) -> None:
    """Read all files once, so they are in the cache for every tool."""
    for path in [root] if root.is_file() else (each for each in root.rglob("*") if each.is_file()):
        with path.open("rb") as file:
            while file.read(MIB):
                pass


def repository(root: Path, objects: int) -> int:
    """Make a repository with about this many objects, four for each commit. Return their number."""
    root.mkdir()
    environ = {"PATH": os.environ["PATH"], **GIT_SETTINGS}
    subprocess.run(["git", "init", "--quiet"], cwd=root, env=environ, check=True)  # noqa: S607
    texts = _real()
    with subprocess.Popen(
        ["git", "fast-import", "--quiet"],  # noqa: S607
        cwd=root,
        env=environ,
        stdin=subprocess.PIPE,
    ) as importing:
        stream = importing.stdin
        if stream is None:
            sys.exit("git fast-import has no stdin")
        for number in range(objects // 4):
            body = b"# %d\n" % number + next(texts)[:4096]
            stream.write(
                b"commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\ndata 12\nchange it.\n\n"
                b"M 100644 inline src/part%d.py\ndata %d\n" % (1_700_000_000 + number, number % 50, len(body))
            )
            stream.write(body + b"\n")
    counted = subprocess.run(
        ["git", "count-objects", "-v"],  # noqa: S607
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    numbers = dict(line.split(": ") for line in counted.splitlines())
    return int(numbers["count"]) + int(numbers["in-pack"])
