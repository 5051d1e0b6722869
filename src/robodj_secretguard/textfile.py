"""A small text file that decides whether a service starts, looked at once: one descriptor, one bounded read."""

from __future__ import annotations

import errno
import os
import stat
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Final

from robodj_secretguard.frozen import Frozen
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINKS: Final = 40  # as many as Linux follows, and no system follows more

# Named so that the tests can take the other platform's side.
POSIX = os.name == "posix"

NOT_REGULAR: Final = "it is not a regular file"
CHANGED: Final = "it changed while it was read"
_CANNOT_BE_READ: Final = ("it cannot be read",)
ITS_DIRECTORY: Final = "its directory"
A_DIRECTORY_ABOVE: Final = "a directory on the way to it"
# Never blocks on a FIFO, never becomes a controlling terminal, and reads bytes as they are on Windows.
_READ_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


class TextFile(Frozen):
    """What one bounded look at a file found: a fallback file (policy section 2), or the revocation list.

    Attributes:
        exists: whether it is there.
        dangling: whether a link to nothing is there instead.
        empty: whether it has no line at all: a checkout that is under way looks like that.
        lines: its lines other than blanks and comments.
        unreadable: why its lines cannot be read.
        exposed: why others could have written them.
        lax: permissions that are wider than a key file's should be.
        lax_way: what others could write if its file system were not read-only.
        foreign: what another ordinary user owns of it and of the way to it.
        misnamed: whether a file of its name and `.txt` is next to it.
    """

    exists: bool = False
    dangling: bool = False
    empty: bool = True
    lines: tuple[SealedStr, ...] = ()
    unreadable: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    lax_way: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    misnamed: bool = False

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Why it may not be relied on."""
        return self.unreadable + self.exposed


NO_TEXT: Final = TextFile()
"""Nothing is there."""


def look(path: str, *, most: int) -> TextFile:
    """Look at a file: what is returned is what was judged."""
    file = _look(path, most)
    return file._replace(misnamed=True) if os.path.lexists(f"{path}.txt") else file


def read_trusted(path: str, *, most: int) -> tuple[bytes, tuple[str, ...]]:
    """Return a file's content, and why it is not to be trusted: others may write it, or another user owns it."""
    _, unreadable, content, way = _examined(os.open(path, _READ_FLAGS), path, most)
    if unreadable:
        raise OSError
    foreign = [each for each in way.foreign if not each.startswith((ITS_DIRECTORY, A_DIRECTORY_ABOVE))]
    return content, (*way.exposed, *foreign)


def _look(path: str, most: int) -> TextFile:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return TextFile(dangling=True) if os.path.islink(path) else NO_TEXT
    except OSError:
        return TextFile(exists=True, unreadable=_CANNOT_BE_READ)
    try:
        status, unreadable, content, way = _examined(descriptor, path, most)
    except OSError:
        return TextFile(exists=True, unreadable=_CANNOT_BE_READ)
    lines: tuple[SealedStr, ...] = ()
    if not unreadable:
        unreadable, lines = lines_of(content)
    return TextFile(
        exists=True,
        empty=not content.removeprefix(BOM_UTF8).strip(),
        lines=lines,
        unreadable=unreadable,
        exposed=way.exposed,
        lax=_lax(status) if POSIX else (),
        lax_way=way.lax,
        foreign=way.foreign,
    )


def _examined(descriptor: int, path: str, most: int) -> tuple[os.stat_result, tuple[str, ...], bytes, Way]:
    """Return an open file's status, why its content cannot be used, the content, and the way to it; and close it."""
    try:
        status = os.fstat(descriptor)
        return status, *_content(descriptor, status, most), judge_way(path, status)
    finally:
        os.close(descriptor)


def _content(descriptor: int, status: os.stat_result, most: int) -> tuple[tuple[str, ...], bytes]:
    """Return why a file's content cannot be used, and the content."""
    if not stat.S_ISREG(status.st_mode):
        return (NOT_REGULAR,), b""
    content = read_most(descriptor, most + 1)
    if version(os.fstat(descriptor)) != version(status):
        return (CHANGED,), b""
    if len(content) > most:
        return (f"it is larger than {most} bytes",), b""
    return (), content


def read_most(descriptor: int, most: int) -> bytes:
    """Return what is left of an open file, cut after a number of bytes."""
    content = b""
    while len(content) < most and (chunk := os.read(descriptor, most - len(content))):
        content += chunk
    return content


def lines_of(content: bytes) -> tuple[tuple[str, ...], tuple[SealedStr, ...]]:
    """Return why the content of a file cannot be used, and its lines other than blanks and comments."""
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
    """Return what tells one content of a file from the next: half of an old key and half of a new one is no key."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Way(Frozen):
    """Who, apart from root and this user, can put something else at a path: by its own mode, or on the way to it.

    Attributes:
        exposed: what others can write.
        lax: what others could write if its file system were not read-only.
        foreign: what another ordinary user owns.
    """

    exposed: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def judge_way(path: str, status: os.stat_result | None = None) -> Way:
    """Judge a path and every directory and link on the way to it."""
    exposed, lax, foreign = list[str](), list[str](), list[str]()
    if not POSIX:
        return Way()
    last = os.stat(os.path.dirname(path) or os.curdir)
    if status is not None:
        if status.st_mode & stat.S_IWOTH:
            exposed.append("it is writable by others")
        if not _is_ours(status):
            foreign.append("it is owned by another ordinary user")
    for step in _steps(path):
        folder = os.stat(os.path.dirname(step))
        what = ITS_DIRECTORY if os.path.samestat(folder, last) else A_DIRECTORY_ABOVE
        if _is_replaceable(step, folder):
            # As a ConfigMap's: whoever may write the source of a bind mount still can.
            is_volume = folder.st_uid == 0 and bool(os.statvfs(os.path.dirname(step)).f_flag & os.ST_RDONLY)
            (lax if is_volume else exposed).append(f"{what} is writable by others")
        if not _is_ours(folder):
            foreign.append(f"{what} is owned by another ordinary user")
    return Way(*(tuple(dict.fromkeys(each)) for each in (exposed, lax, foreign)))


def foreign_owners(directory: str) -> tuple[str, ...]:
    """Say what another ordinary user owns of a directory and of the way to it: nothing where that is unknown."""
    try:
        return judge_way(directory, os.stat(directory)).foreign
    except OSError:
        return ()


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


def _is_replaceable(step: str, folder: os.stat_result) -> bool:
    """Whether others can put something else at a path, or have: sticky protects what is not theirs."""
    return bool(folder.st_mode & stat.S_IWOTH) and not (folder.st_mode & stat.S_ISVTX and _is_ours(os.lstat(step)))


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
