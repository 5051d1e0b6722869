"""Files that are shared and replaced: a lock, and an atomic write that goes through no link."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import secrets
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_SECONDS: Final = 10.0
"""How long another process is waited for."""
LOCK_FILE: Final = ".secretguard.lock"
"""In the config directory: held while a file there is read, changed and replaced."""

_POLL_SECONDS: Final = 0.02
_WINDOWS_LOCK_AT: Final = 1 << 30  # bytes: a locked range cannot be read there, so it lies behind all content
_OPTIONAL_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


class BusyError(OSError):
    """Another process holds the lock."""


def reason(error: OSError) -> str:
    """Return what the system would not do, in words that show no path.

    Args:
        error: what it said.
    """
    if isinstance(error, BusyError):
        return "another process does not let go of it: try again"
    if isinstance(error, IsADirectoryError):
        return "it is not a regular file"
    if error.errno == errno.ELOOP:
        return "it is a link, and nothing is read or written through one"
    return f"it cannot be used: {os.strerror(error.errno or 0)}"


def open_unlinked(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file that is no link, without waiting for anybody who would have to open its other end.

    Args:
        path: where it is.
        flags: as of `os.open`.
        mode: the permissions of a file that is created.

    Raises:
        OSError: it cannot be opened, or is a link (which Windows follows).
    """
    return os.open(path, flags | _OPTIONAL_FLAGS, mode)


@contextlib.contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file against every other process.

    Args:
        descriptor: of the file.

    Raises:
        BusyError: another process has held it for `LOCK_SECONDS`.
    """
    end = time.monotonic() + LOCK_SECONDS
    while not _lock(descriptor, take=True):
        if time.monotonic() > end:
            raise BusyError
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        _lock(descriptor, take=False)


def _lock(descriptor: int, *, take: bool) -> bool:
    """Take or give back the lock, and return whether that was done."""
    try:
        try:
            import fcntl  # noqa: PLC0415 - it is not on every platform
        except ImportError:  # Windows
            msvcrt = importlib.import_module("msvcrt")
            os.lseek(descriptor, _WINDOWS_LOCK_AT, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK if take else msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN)
    except (BlockingIOError, PermissionError):  # as the two platforms say that somebody else has it
        return False
    return True


@contextlib.contextmanager
def locked_directory(directory: str) -> Iterator[None]:
    """Hold the lock of a config directory, in a file of its own: the others are replaced, and a lock would be lost.

    Args:
        directory: the config directory.

    Raises:
        OSError: the lock file cannot be made, or is held.
    """
    descriptor = open_unlinked(os.path.join(directory, LOCK_FILE), os.O_RDWR | os.O_CREAT)
    try:
        with locked(descriptor):
            yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def prepared_file(path: str, content: bytes, mode: int) -> Iterator[str]:
    """Write a new file beside where it is to be, whole and on the disk, and yield its path; it is gone afterwards.

    Args:
        path: where it is to be.
        content: what is written.
        mode: its permissions.

    Raises:
        OSError: it cannot be written.
    """
    prepared = f"{path}.{secrets.token_hex(8)}.new"
    descriptor = open_unlinked(prepared, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            if os.name == "posix":
                _keep_owner(file.fileno(), path)
                os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield prepared
    finally:
        with contextlib.suppress(FileNotFoundError):  # it has become the file that it was prepared for
            os.unlink(prepared)


def _keep_owner(descriptor: int, path: str) -> None:
    """Give a file the owner of the one that it is to replace: root's would be lost to the service's user."""
    with contextlib.suppress(FileNotFoundError, PermissionError):  # there is none, or only root may
        before = os.lstat(path)
        os.fchown(descriptor, before.st_uid, before.st_gid)


def put_in_place(prepared: str, path: str, *, replace: bool) -> None:
    """Let a prepared file become the file at a path, in one step.

    Args:
        prepared: the prepared file.
        path: where it is to be.
        replace: whether a file that is there is replaced.

    Raises:
        FileExistsError: one is there, and is not to be replaced.
        OSError: it cannot be done.
    """
    if replace:
        os.replace(prepared, path)
    elif os.name == "posix":
        os.link(prepared, path)  # unlike a rename, it never replaces
        os.unlink(prepared)
    else:
        os.rename(prepared, path)
    sync_directory(os.path.dirname(path))


def sync_directory(directory: str) -> None:
    """Have the names in a directory on the disk, where the platform can.

    Args:
        directory: its path; empty for the working directory.
    """
    if os.name == "posix":
        with contextlib.suppress(OSError):  # the names are there: some file systems cannot do more
            descriptor = os.open(directory or os.curdir, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
