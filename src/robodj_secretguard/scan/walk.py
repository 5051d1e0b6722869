"""Where files are, and what is in them: whatever is in the way is told, and nothing is waited for."""

from __future__ import annotations

import errno
import os
import stat
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.files import NOT_REGULAR, open_unlinked, reason, regular_status
from robodj_secretguard.scan.content import BLOCK_BYTES, Hole
from robodj_secretguard.textfile import version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SPECIAL: Final = NOT_REGULAR


class Kind(Enum):
    """What is at a path."""

    FILE = auto()
    LINK = auto()
    DIRECTORY = auto()


class Entry(NamedTuple):
    """What is at a path.

    Attributes:
        path: the path.
        kind: what is there. A link is not followed.
    """

    path: str
    kind: Kind


class Unreadable(NamedTuple):
    """What could not be looked at.

    Attributes:
        path: where it is.
        why: why.
        matters: whether something may have been missed: not in what has no content that stays, as a pipe.
    """

    path: str
    why: str
    matters: bool = True


def walk(paths: Sequence[str]) -> Iterator[Entry | Unreadable]:
    """Yield all that is at some paths or below them.

    Args:
        paths: the paths. Where one of these is a link it is followed; no other is.
    """
    seen: set[tuple[int, int]] = set()
    ahead = [*reversed(paths)]
    while ahead:
        here = ahead.pop()
        try:
            status = os.stat(here)
            if stat.S_ISREG(status.st_mode):
                yield Entry(os.path.realpath(here) if os.path.islink(here) else here, Kind.FILE)
            elif not stat.S_ISDIR(status.st_mode):
                yield Unreadable(here, SPECIAL)
            elif (status.st_dev, status.st_ino) not in seen:  # else it is mounted within itself, or was named twice
                seen.add((status.st_dev, status.st_ino))
                yield Entry(here, Kind.DIRECTORY)
                with os.scandir(here) as entries:
                    within = sorted(entries, key=lambda entry: entry.name)
                ahead += [entry.path for entry in reversed(within) if entry.is_dir(follow_symlinks=False)]
                yield from filter(None, map(_entry, within))
        except (OSError, ValueError) as error:
            yield Unreadable(here, _why_unread(error))


def _entry(entry: os.DirEntry[str]) -> Entry | Unreadable | None:
    """Return what is in a directory; `None` for a further one."""
    if entry.is_symlink():
        return Entry(entry.path, Kind.LINK)
    if entry.is_file(follow_symlinks=False):
        return Entry(entry.path, Kind.FILE)
    return None if entry.is_dir(follow_symlinks=False) else Unreadable(entry.path, SPECIAL, matters=False)


def content(entry: Entry) -> Iterator[bytes | Hole]:
    """Yield a file's content, block by block and without its holes; of a link, the path that it leads to.

    Args:
        entry: the file or the link.

    Raises:
        UnreadError: it cannot be read, it changed meanwhile, or is no regular file.
    """
    try:
        yield from [os.fsencode(os.readlink(entry.path))] if entry.kind is Kind.LINK else _blocks(entry.path)
    except OSError as error:
        raise UnreadError(_why_unread(error)) from None


def _blocks(path: str) -> Iterator[bytes | Hole]:
    descriptor = open_unlinked(path, os.O_RDONLY)
    try:
        status = regular_status(descriptor)
        at, size = 0, status.st_size
        while at < size:
            start, end = _data(descriptor, at, size)
            if start > at:
                yield Hole(start - at)
            at = start
            while at < end and (block := os.read(descriptor, min(end - at, BLOCK_BYTES))):
                at += len(block)
                yield block
            if at < end:
                break
        if os.read(descriptor, 1) or version(os.fstat(descriptor)) != version(status):
            msg = "it changed while it was read"
            raise UnreadError(msg)
    finally:
        os.close(descriptor)


def _data(descriptor: int, at: int, size: int) -> tuple[int, int]:
    """Return where the next data of a file begins and ends, and move there.

    Without support for holes, the whole rest is data. Both offsets are multiples of a block of the file system, or the
    end of the file.
    """
    start, end = at, size
    if hasattr(os, "SEEK_DATA"):  # not on Windows
        try:
            start = min(os.lseek(descriptor, at, os.SEEK_DATA), size)
            end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is no data any more
                start = size
        os.lseek(descriptor, start, os.SEEK_SET)
    return start, end


def _why_unread(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    return reason(error) if isinstance(error, OSError) else "it is no path"
