"""A small text file that decides whether a service starts, looked at once: one descriptor, one bounded read."""

import errno
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Final, NamedTuple

from robodj_secretguard.sealed import SealedStr

_MOST_LINKS: Final = 40  # as many as Linux follows, and no system follows more

# Named so that the tests can take the other platform's side.
POSIX = os.name == "posix"

_CANNOT_BE_READ: Final = ("it cannot be read",)
# Never blocks on a FIFO, never becomes a controlling terminal, and reads bytes as they are on Windows.
_READ_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


class TextFile(NamedTuple):
    """What one bounded look at a file found: a fallback file (policy section 2), or the revocation list.

    Attributes:
        exists: whether it is there.
        dangling: whether a link to nothing is there instead.
        lines: its lines other than blanks and comments.
        unreadable: why its lines cannot be told.
        exposed: why others could have written them.
        lax: permissions that are wider than they should be.
        misnamed: whether a file of its name and `.txt` lies beside it.
    """

    exists: bool = False
    dangling: bool = False
    lines: tuple[SealedStr, ...] = ()
    unreadable: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    misnamed: bool = False

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Why it may not be relied on."""
        return self.unreadable + self.exposed


def look(path: str, *, most: int) -> TextFile:
    """Look at a file: what is returned is what was judged.

    Args:
        path: where it is.
        most: how large it may be, in bytes.
    """
    misnamed = os.path.lexists(f"{path}.txt")
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return TextFile(dangling=os.path.islink(path), misnamed=misnamed)
    except OSError:
        return TextFile(exists=True, unreadable=_CANNOT_BE_READ, misnamed=misnamed)
    try:
        status = os.fstat(descriptor)
        unreadable, lines = _content(descriptor, status, most)
        where = exposed(status, path)
    except OSError:
        return TextFile(exists=True, unreadable=_CANNOT_BE_READ, misnamed=misnamed)
    finally:
        os.close(descriptor)
    return TextFile(
        exists=True,
        lines=lines,
        unreadable=unreadable,
        exposed=where,
        lax=_lax(status) if POSIX else (),
        misnamed=misnamed,
    )


def _content(descriptor: int, status: os.stat_result, most: int) -> tuple[tuple[str, ...], tuple[SealedStr, ...]]:
    """Return why a file's content cannot be used, and its lines."""
    if not stat.S_ISREG(status.st_mode):
        return ("it is not a regular file",), ()
    content = b""
    while len(content) <= most and (chunk := os.read(descriptor, most + 1 - len(content))):
        content += chunk
    if version(os.fstat(descriptor)) != version(status):
        return ("it changed while it was read",), ()
    if len(content) > most:
        return (f"it is larger than {most} bytes",), ()
    return lines_of(content)


def lines_of(content: bytes) -> tuple[tuple[str, ...], tuple[SealedStr, ...]]:
    """Return why the content of a file cannot be used, and its lines other than blanks and comments.

    Args:
        content: the whole of it.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ("it is UTF-16, which PowerShell's > writes, and not UTF-8",), ()
    try:
        # Not "utf-8-sig": that codec's module is imported at its first use, and there may be no descriptor left.
        text = content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        return ("it is not UTF-8",), ()
    lines = (line.removesuffix("\r").strip(" \t") for line in text.split("\n"))
    return (), tuple(SealedStr(line) for line in lines if line and not (line.startswith("#") and is_one_line(line)))


def is_one_line(text: str) -> bool:
    """Whether text has no line break of another kind, behind which an editor shows a line of its own."""
    return len(text.splitlines()) == 1


def version(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells one content of a file from the next: half of an old key and half of a new one is no key.

    Args:
        status: the open file's.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def exposed(status: os.stat_result, path: str) -> tuple[str, ...]:
    """Say whether others can have put a file there: by its own mode, or by that of a directory on the way to it.

    Args:
        status: the open file's.
        path: where it was opened.

    Raises:
        OSError: the way to it cannot be looked at.
    """
    found = []
    if POSIX and status.st_mode & stat.S_IWOTH:
        found.append("it is writable by others")
    if is_way_exposed(path):
        found.append("its directory, or one on the way to it, is writable by others")
    return tuple(found)


def is_way_exposed(path: str) -> bool:
    """Whether others can have put something else in the place of a path, or of a directory or a link on the way to it.

    Args:
        path: a path to what is there.

    Raises:
        OSError: the way to it cannot be looked at.
    """
    return POSIX and any(_is_replaceable(step) for step in _steps(path))


def _steps(path: str) -> Iterator[str]:
    """Yield every path on the way from the root to a file, through each link, as the kernel goes."""
    here, links = os.sep, 0
    ahead = _parts(path if os.path.isabs(path) else os.path.join(os.getcwd(), path))
    while ahead:
        part = ahead.pop()
        step = os.path.dirname(here) if part == os.pardir else os.path.join(here, part)
        yield step
        if os.path.islink(step):
            links += 1
            if links > _MOST_LINKS:  # somebody makes them as we walk
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(step)
            ahead += _parts(target)
            here = os.sep if os.path.isabs(target) else here
        else:
            here = step


def _parts(path: str) -> list[str]:
    """Return the names in a path, the last one first."""
    return [part for part in reversed(path.split(os.sep)) if part not in {"", os.curdir}]


def _is_replaceable(step: str) -> bool:
    """Whether others can put something else in the place of a path, or have: sticky protects what is not theirs."""
    folder = os.stat(os.path.dirname(step)).st_mode
    return bool(folder & stat.S_IWOTH) and not (folder & stat.S_ISVTX and _is_ours(os.lstat(step)))


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in {0, os.geteuid()}


def _lax(status: os.stat_result) -> tuple[str, ...]:
    """Say which permissions of a file are wider than a key file's should be."""
    return tuple(
        phrase
        for holds, phrase in (
            (status.st_mode & stat.S_IROTH, "it is readable by others"),
            (status.st_mode & stat.S_IWGRP, "it is writable by its group"),
            (not _is_ours(status), "it is owned by neither root nor this user"),
        )
        if holds
    )
