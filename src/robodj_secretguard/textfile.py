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

# What can be wrong with a file, as the end of a sentence that begins with its name.
NOT_REGULAR: Final = "is not a regular file"
CHANGED: Final = "changed while it was read"
NOT_ALLOWED: Final = "cannot be read by this user"
CANNOT_BE_READ: Final = "cannot be read"
TOO_LARGE: Final = "is larger than {} bytes"
UTF_16: Final = "is UTF-16, not UTF-8"
NOT_UTF_8: Final = "is not UTF-8"
WRITABLE: Final = "can be written by others"
IN_WRITABLE: Final = "is in a directory that others can write"
BELOW_WRITABLE: Final = "is below a directory that others can write"
OWNED: Final = "is owned by another user"
IN_OWNED: Final = "is in a directory that another user owns"
BELOW_OWNED: Final = "is below a directory that another user owns"
READABLE: Final = "can be read by others"
GROUP_WRITABLE: Final = "can be written by its group"

# Never blocks on a FIFO, never becomes a controlling terminal, and reads bytes as they are on Windows.
_READ_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


class TextFile(Frozen):
    """What one bounded look at a file found: a fallback file (policy section 2), or the revocation list.

    Attributes:
        exists: whether it is there.
        dangling: whether a link to nothing is there instead.
        empty: whether it has no line at all: a checkout that is under way looks like that.
        lines: its lines other than blanks and comments.
        numbers: the number of each of these in the file, from 1.
        unreadable: why its lines cannot be read.
        exposed: why others could have written them.
        lax: permissions that are wider than a key file's should be.
        lax_directories: what others could write if its file system were not read-only.
        foreign: what another ordinary user owns of it and of the way to it.
        misnamed: whether a file of its name and `.txt` is next to it.
    """

    exists: bool = False
    dangling: bool = False
    empty: bool = True
    lines: tuple[SealedStr, ...] = ()
    numbers: tuple[int, ...] = ()
    unreadable: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    lax_directories: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    misnamed: bool = False

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Why it may not be relied on."""
        return self.unreadable + self.exposed


NO_TEXT: Final = TextFile()
"""Nothing is there."""


def read_text_file(path: str, *, most: int) -> TextFile:
    """Look at a file: what is returned is what was judged."""
    file = _read(path, most)
    return file._replace(misnamed=True) if os.path.lexists(f"{path}.txt") else file


def read_trusted(path: str, *, most: int) -> tuple[bytes, tuple[str, ...]]:
    """Return a file's content, and why it is not to be trusted: others may write it, or another user owns it."""
    _, unreadable, content, way = _examined(os.open(path, _READ_FLAGS), path, most)
    if unreadable:
        raise OSError
    return content, (*way.exposed, *[each for each in way.foreign if each == OWNED])


def _read(path: str, most: int) -> TextFile:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return TextFile(dangling=True) if os.path.islink(path) else NO_TEXT
    except PermissionError:
        return TextFile(exists=True, unreadable=(NOT_ALLOWED,))
    except OSError:
        return TextFile(exists=True, unreadable=(CANNOT_BE_READ,))
    try:
        status, unreadable, content, way = _examined(descriptor, path, most)
    except OSError:
        return TextFile(exists=True, unreadable=(CANNOT_BE_READ,))
    text = TextFile(unreadable=unreadable) if unreadable else text_of(content)
    return text._replace(
        exists=True,
        empty=not content.removeprefix(BOM_UTF8).strip(),
        exposed=way.exposed,
        lax=_lax(status) if POSIX else (),
        lax_directories=way.lax,
        foreign=way.foreign,
    )


def _examined(descriptor: int, path: str, most: int) -> tuple[os.stat_result, tuple[str, ...], bytes, PathFaults]:
    """Return an open file's status, why its content cannot be used, the content, and the way to it; and close it."""
    try:
        status = os.fstat(descriptor)
        return status, *_content(descriptor, status, most), path_faults(path, status)
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
        return (TOO_LARGE.format(most),), b""
    return (), content


def read_most(descriptor: int, most: int) -> bytes:
    """Return what is left of an open file, cut after a number of bytes."""
    content = b""
    while len(content) < most and (chunk := os.read(descriptor, most - len(content))):
        content += chunk
    return content


def text_of(content: bytes) -> TextFile:
    """Return the lines of a file other than blanks and comments, or why its content cannot be used."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return TextFile(unreadable=(UTF_16,))
    try:
        # Not "utf-8-sig": that codec's module is imported at its first use, and there may be no descriptor left.
        text = content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        return TextFile(unreadable=(NOT_UTF_8,))
    numbered = enumerate([line.removesuffix("\r").strip(" \t") for line in text.split("\n")], start=1)
    kept = {
        number: SealedStr(line)
        for number, line in numbered
        if line and not (line.startswith("#") and is_one_line(line))
    }
    return TextFile(lines=tuple(kept.values()), numbers=tuple(kept))


def is_one_line(text: str) -> bool:
    """Whether text has no line break of another kind, behind which an editor shows a line of its own."""
    return len(text.splitlines()) == 1


def version(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells one content of a file from the next: half of an old key and half of a new one is no key."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class PathFaults(Frozen):
    """Who, apart from root and this user, can put something else at a path: by its own mode, or on the way to it.

    Attributes:
        exposed: what others can write.
        lax: what others could write if its file system were not read-only.
        foreign: what another ordinary user owns.
    """

    exposed: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def path_faults(path: str, status: os.stat_result | None = None) -> PathFaults:
    """Judge a path and every directory and link on the way to it."""
    exposed, lax, foreign = list[str](), list[str](), list[str]()
    if not POSIX:
        return PathFaults()
    last = os.stat(os.path.dirname(path) or os.curdir)
    if status is not None:
        if status.st_mode & stat.S_IWOTH:
            exposed.append(WRITABLE)
        if not _is_ours(status):
            foreign.append(OWNED)
    for step in _steps(path):
        folder = os.stat(os.path.dirname(step))
        is_its_own = os.path.samestat(folder, last)
        if _is_replaceable(step, folder):
            # As a ConfigMap's: whoever may write the source of a bind mount still can.
            is_volume = folder.st_uid == 0 and bool(os.statvfs(os.path.dirname(step)).f_flag & os.ST_RDONLY)
            (lax if is_volume else exposed).append(IN_WRITABLE if is_its_own else BELOW_WRITABLE)
        if not _is_ours(folder):
            foreign.append(IN_OWNED if is_its_own else BELOW_OWNED)
    return PathFaults(*(tuple(dict.fromkeys(each)) for each in (exposed, lax, foreign)))


def foreign_owners(directory: str) -> tuple[str, ...]:
    """Say what another ordinary user owns of a directory and of the way to it: nothing where that is unknown."""
    try:
        return path_faults(directory, os.stat(directory)).foreign
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
            (status.st_mode & stat.S_IROTH, READABLE),
            (status.st_mode & stat.S_IWGRP, GROUP_WRITABLE),
            (not _is_ours(status), OWNED),
        )
        if holds
    )
