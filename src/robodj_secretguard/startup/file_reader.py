"""Read a small text file with one descriptor and one bounded read, and judge who could have written it.

A start imports this module only where there is such a file.
"""

from __future__ import annotations

import errno
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import (
    BELOW_OWNED,
    BELOW_WRITABLE,
    CANNOT_BE_READ,
    CHANGED,
    GROUP_WRITABLE,
    IN_OWNED,
    IN_WRITABLE,
    NO_TEXT,
    NOT_ALLOWED,
    NOT_REGULAR,
    NOT_UTF_8,
    OWNED,
    READABLE,
    TOO_LARGE,
    WRITABLE,
    TextFile,
    is_one_line,
)

_MOST_LINKS: Final = 40  # as many as Linux follows, and no system follows more

# The tests set it to test the other platform.
POSIX = os.name == "posix"
# Do not block on a FIFO, do not get a controlling terminal, and do not change bytes on Windows.
_READ_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


def read_text_file(path: str, *, most: int, is_absence_judged: bool = False, is_whole: bool = False) -> TextFile:
    """Read and judge a file, with one descriptor for both; and judge who owns the path of an absent one.

    `is_whole`: its only line is the whole text, as for a secret that somebody else issues.
    """
    file = _judge_file(path, most, is_whole=is_whole)
    if is_absence_judged and not file.exists:
        with suppress(OSError):  # a directory is absent too, or cannot be entered
            file = file._replace(foreign=path_faults(path).foreign)
    return file._replace(misnamed=True) if os.path.lexists(f"{path}.txt") else file


def _judge_file(path: str, most: int, *, is_whole: bool) -> TextFile:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return TextFile(dangling=True) if os.path.islink(path) else NO_TEXT
    except PermissionError:
        return TextFile(exists=True, unreadable=(NOT_ALLOWED,))
    except OSError:
        return TextFile(exists=True, unreadable=(CANNOT_BE_READ,))
    try:
        status = os.fstat(descriptor)
        text = _read_text(descriptor, status, most, is_whole=is_whole)
        faults = path_faults(path, status)
    except OSError:
        return TextFile(exists=True, unreadable=(CANNOT_BE_READ,))
    finally:
        os.close(descriptor)
    return text._replace(
        exists=True,
        exposed=faults.exposed,
        lax=_lax(status) if POSIX else (),
        lax_paths=faults.lax_paths,
        foreign=faults.foreign,
    )


def _read_text(descriptor: int, status: os.stat_result, most: int, *, is_whole: bool) -> TextFile:
    """Return the lines of an open file, or why they cannot be used."""
    if not stat.S_ISREG(status.st_mode):
        return TextFile(unreadable=(NOT_REGULAR,))
    content = read_most(descriptor, most + 1)
    if version(os.fstat(descriptor)) != version(status):
        return TextFile(unreadable=(CHANGED,))
    if len(content) > most:
        return TextFile(unreadable=(TOO_LARGE.format(most),))
    return text_of(content, is_whole=is_whole)


def read_most(descriptor: int, most: int) -> bytes:
    """Return the rest of an open file, and at most this number of bytes."""
    content = b""
    while len(content) < most and (chunk := os.read(descriptor, most - len(content))):
        content += chunk
    return content


def text_of(content: bytes, *, is_whole: bool = False) -> TextFile:
    """Return the lines other than blank lines and comments, or why the content cannot be used.

    `is_whole`: return the whole text as one line, without a byte-order mark and one last newline. Blank text has none.
    """
    try:
        # Not "utf-8-sig": its first use imports a module, and no descriptor may be left.
        text = content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        return TextFile(unreadable=(NOT_UTF_8,))
    if is_whole and text.strip():
        return TextFile(empty=False, lines=(SealedStr(without_newline(text)),), numbers=(1,))
    numbered = enumerate([line.removesuffix("\r").strip(" \t") for line in text.split("\n")], start=1)
    kept = {
        number: SealedStr(line)
        for number, line in numbered
        if line and not (line.startswith("#") and is_one_line(line))
    }
    return TextFile(empty=not text.strip(), lines=tuple(kept.values()), numbers=tuple(kept))


def without_newline(text: str) -> str:
    """Return text without one newline at its end, which an editor or `echo` writes."""
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")


def version(status: os.stat_result) -> tuple[int, ...]:
    """Return values that change with the content, to detect a read of half an old key and half a new one."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def path_faults(path: str, status: os.stat_result | None = None) -> TextFile:
    """Return the faults of a path, and of every directory and link that leads to it, as those of a file without text.

    Users other than root and this one can replace a file through its mode, or through a directory above it.
    """
    if not POSIX:
        return NO_TEXT
    last = os.stat(os.path.dirname(path) or os.curdir)
    # Each place, whether others can write there, and how that and another owner are called.
    judged = [(path, status, bool(status.st_mode & stat.S_IWOTH), WRITABLE, OWNED)] if status else []
    for step in _paths_to(path):
        directory = os.path.dirname(step)
        folder = os.stat(directory)
        faults = (IN_WRITABLE, IN_OWNED) if os.path.samestat(folder, last) else (BELOW_WRITABLE, BELOW_OWNED)
        judged.append((directory, folder, _is_replaceable(step, folder), *faults))
    writable = [(_is_volume(place, seen), fault) for place, seen, is_writable, fault, _ in judged if is_writable]
    return TextFile(
        exposed=tuple(dict.fromkeys(fault for is_volume, fault in writable if not is_volume)),
        lax_paths=tuple(dict.fromkeys(fault for is_volume, fault in writable if is_volume)),
        foreign=tuple(dict.fromkeys(fault for _, seen, _, _, fault in judged if not _is_ours(seen))),
    )


def others_may_change(path: str) -> str:
    """Return the first of a path, and of the directories and links that lead to it, that others own or may write.

    It is empty where there is none. The sticky bit protects what is in a directory such as `/tmp`. The group counts as
    others: a program is judged more strictly than a file of keys.
    """
    for step in (os.sep, *_paths_to(path)):
        status = os.lstat(step)
        is_writable = bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        is_protected = stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX)
        if not _is_ours(status) or (is_writable and not is_protected):
            return step
    return ""


def _paths_to(path: str) -> Iterator[str]:
    """Yield every path from the root to a file. Follow each link as the kernel does."""
    here = os.sep
    links = 0
    ahead = _reversed_parts(path if os.path.isabs(path) else os.path.join(os.getcwd(), path))
    while ahead:
        part = ahead.pop()
        step = os.path.dirname(here) if part == os.pardir else os.path.join(here, part)
        yield step
        if os.path.islink(step):
            links += 1
            if links > _MOST_LINKS:  # another program makes more links during this loop
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(step)
            ahead += _reversed_parts(target)
            here = os.sep if os.path.isabs(target) else here
        else:
            here = step


def _reversed_parts(path: str) -> list[str]:
    """Return the names in a path in reverse order."""
    return [part for part in reversed(path.split(os.sep)) if part not in {"", os.curdir}]


def _is_replaceable(step: str, folder: os.stat_result) -> bool:
    """Check whether others can replace a file, or did: the sticky bit protects files of root and of this user."""
    return bool(folder.st_mode & stat.S_IWOTH) and not (folder.st_mode & stat.S_ISVTX and _is_ours(os.lstat(step)))


def _is_volume(path: str, status: os.stat_result) -> bool:
    """Check whether root owns a path of a read-only mount, such as a ConfigMap's.

    In a bind mount, users who can write its source can still replace the file.
    """
    return status.st_uid == 0 and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in {0, os.geteuid()}


def group_faults(status: os.stat_result) -> tuple[str, ...]:
    """Return whether the group of a file could write it."""
    return (GROUP_WRITABLE,) if POSIX and status.st_mode & stat.S_IWGRP else ()


def _lax(status: os.stat_result) -> tuple[str, ...]:
    """Return the permissions that are wider than those of a key file should be."""
    readable = (READABLE,) if status.st_mode & stat.S_IROTH else ()
    owned = () if _is_ours(status) else (OWNED,)
    return readable + group_faults(status) + owned
