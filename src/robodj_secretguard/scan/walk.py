"""Files and directories: their paths and contents. What cannot be read is reported, and never blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from robodj_secretguard.common.files import closing, open_unlinked, reason, regular_status
from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import BLOCK_BYTES
from robodj_secretguard.scan.result import Where
from robodj_secretguard.startup.file_reader import version
from robodj_secretguard.startup.textfile import CHANGED, NOT_REGULAR

Entry: TypeAlias = tuple[str, Where, str, bool]
"""A path, and the part of it that may hold a key: of a directory, the name alone. Then why that part cannot be
read, if it cannot, and whether a key may be missed. A pipe keeps nothing."""


def walk(paths: Sequence[str]) -> Iterator[Entry]:
    """Yield everything at some paths and below them. Only links among the paths are followed."""
    seen: set[tuple[int, int]] = set()
    ahead = [*reversed(paths)]
    while ahead:
        here = ahead.pop()
        try:
            status = os.stat(here)
            if stat.S_ISREG(status.st_mode):
                yield os.path.realpath(here) if os.path.islink(here) else here, "file", "", True
            elif not stat.S_ISDIR(status.st_mode):
                yield here, "name", f"it {NOT_REGULAR}", True
            elif (status.st_dev, status.st_ino) not in seen:  # a mount within itself, or a path that is named twice
                seen.add((status.st_dev, status.st_ino))
                yield here, "name", "", True
                with os.scandir(here) as entries:
                    within = sorted(entries, key=lambda entry: entry.name)
                ahead += [entry.path for entry in reversed(within) if entry.is_dir(follow_symlinks=False)]
                yield from (_entry(entry) for entry in within if not entry.is_dir(follow_symlinks=False))
        except (OSError, ValueError) as error:
            yield here, "name", _why_unread(error), True


def _entry(entry: os.DirEntry[str]) -> Entry:
    where: Where = "file" if entry.is_file(follow_symlinks=False) else "name"
    where = "link" if entry.is_symlink() else where
    return entry.path, where, f"it {NOT_REGULAR}" if where == "name" else "", where != "name"


def read_place(path: str, where: Where) -> Iterator[bytes]:
    """Yield the content of a file, block by block; or the target of a link.

    `UnreadError` says why the rest cannot be read.
    """
    try:
        yield from [os.fsencode(os.readlink(path))] if where == "link" else _blocks(path)
    except OSError as error:
        raise UnreadError(_why_unread(error)) from None


def _blocks(path: str) -> Iterator[bytes]:
    with closing(open_unlinked(path, os.O_RDONLY)) as descriptor:
        status = regular_status(descriptor)
        left = status.st_size
        while block := os.read(descriptor, min(left, BLOCK_BYTES)):
            left -= len(block)
            yield block
        if os.read(descriptor, 1) or version(os.fstat(descriptor)) != version(status):
            raise UnreadError(f"it {CHANGED}; scan again")


def _why_unread(error: OSError | ValueError) -> str:
    why = reason(error) if isinstance(error, OSError) else "it is not a valid path"
    return "it does not exist" if isinstance(error, FileNotFoundError) else why
