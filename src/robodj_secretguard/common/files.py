"""Lock, append and replace files. Links are not followed, except on Windows."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from typing import Final, NoReturn

from robodj_secretguard.errors import ChangedError, FileError
from robodj_secretguard.startup.file_reader import read_most
from robodj_secretguard.startup.inputs import NOT_REGULAR

LOCK_SECONDS: Final = 10.0
"""The longest wait for another process. Where the lock is not required, a tenth of it."""
SHARED_MODE: Final = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP
"""Without the bits of the umask. A group of operators may write the log: it contains no key."""

_OPTIONAL_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


def raise_file_error(why: str) -> NoReturn:
    """Raise a `FileError` without a cause."""
    raise FileError(why) from None


def reason(error: OSError) -> str:
    """Return why a file cannot be used, without its path."""
    if isinstance(error, FileError):
        return str(error)
    if isinstance(error, IsADirectoryError):
        return f"it {NOT_REGULAR}"
    if error.errno == errno.ELOOP:
        return "it is a symbolic link; use the path of the file itself"
    return f"it cannot be used: {os.strerror(error.errno or 0)}"


def open_unlinked(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file that is not a link (Windows follows links). Do not block on a FIFO."""
    return os.open(path, flags | _OPTIONAL_FLAGS, mode)


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close an open file at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_unlinked(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """Return the first bytes and the status of a regular file that is not a link."""
    with closing(open_unlinked(path, os.O_RDONLY)) as descriptor:
        return content_of(descriptor, most), os.fstat(descriptor)


def content_of(descriptor: int, most: int) -> bytes:
    """Return the first bytes of an open, regular file."""
    regular_status(descriptor)
    os.lseek(descriptor, 0, os.SEEK_SET)  # on Windows, the lock moved the position
    return read_most(descriptor, most)


def regular_status(descriptor: int) -> os.stat_result:
    """Return the status of an open file; raise `FileError` for a directory, a pipe or a device."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise_file_error(f"it {NOT_REGULAR}")
    return status


def append_content(descriptor: int, content: bytes, *, size: int, torn: int = 0) -> None:
    """Append to an open and locked file with one write, and return when the content is on the disk.

    Remove an incomplete write: truncate the file, and never make it longer. Raise `ChangedError` where the size is not
    the expected one: another program changed the file.

    Args:
        descriptor: of the file.
        content: what is appended.
        size: the expected size of the file.
        torn: how many bytes at its end are of an interrupted write: they are removed first.
    """
    if os.fstat(descriptor).st_size != size:
        raise ChangedError
    if torn:
        size -= torn
        try:
            os.ftruncate(descriptor, size)
        except PermissionError:
            raise_file_error(
                "its incomplete last line cannot be removed, as the file is append-only; remove that attribute"
                " (chattr -a), run the command again, and set it again"
            )
    start = size
    end = size + len(content)  # an interrupt may come right after the write
    try:
        written = os.write(descriptor, content)
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        start = end - written
        if written != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - the next write would raise it
        os.fsync(descriptor)
        if os.fstat(descriptor).st_size != size + len(content):
            raise ChangedError  # noqa: TRY301 - remove this write too
    except BaseException:
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_size == end:
                os.ftruncate(descriptor, start)
        raise


def open_or_make(path: str, flags: int, mode: int | None = None) -> tuple[int, bool]:
    """Open a file that is not a link, or make it on the disk for the directory's owner. Return whether it was made.

    A new file has this mode; `None` for `SHARED_MODE` without the bits of the umask.
    """
    try:
        return open_unlinked(path, flags), False
    except FileNotFoundError:
        try:
            descriptor = open_unlinked(path, flags | os.O_CREAT | os.O_EXCL, mode or SHARED_MODE)
        except FileExistsError:  # another process made it
            return open_unlinked(path, flags), False
        _give_away(descriptor, os.path.dirname(path))
        if mode is not None and os.name == "posix":
            os.fchmod(descriptor, mode)
        sync_directory(os.path.dirname(path))
        return descriptor, True


def is_at(descriptor: int, path: str) -> bool:
    """Check whether a path leads to an open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def make_directory(path: str, *, others: bool = False, mode: int = SHARED_MODE | stat.S_IXUSR | stat.S_IXGRP) -> None:
    """Make a directory, unless it exists, for the owner of its parent directory.

    Where others may enter it, such as services of another user, only its owner may write.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755 if others else mode)
        if os.name == "posix":
            with closing(open_unlinked(path, os.O_RDONLY | os.O_DIRECTORY)) as descriptor:
                if not os.listdir(descriptor):  # somebody could have replaced the directory
                    _give_away(descriptor, os.path.dirname(path))
        sync_directory(os.path.dirname(path))


def _give_away(descriptor: int, directory: str, owner: os.stat_result | None = None) -> None:
    """Give what root makes the owner of its directory: a service or its operators must be able to use it."""
    if os.name == "posix":
        with contextlib.suppress(PermissionError):  # only root may
            owner = owner or os.stat(directory or os.curdir)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def locked(descriptor: int, *, is_required: bool = True) -> Iterator[None]:
    """Hold the lock of an open file against every other process; raise `FileError` after `LOCK_SECONDS`.

    A process that may only read the file can hold its lock too. So where the lock is not required, go on without it.
    """
    end = time.monotonic() + (LOCK_SECONDS if is_required else LOCK_SECONDS / 10)
    while not (is_held := _lock(descriptor, take=True)) and time.monotonic() <= end:
        time.sleep(0.02)
    if is_required and not is_held:
        raise_file_error("another process holds the lock; try again")
    try:
        yield
    finally:
        _lock(descriptor, take=False)


def _lock(descriptor: int, *, take: bool) -> bool:
    """Take or release the lock, and return whether that worked."""
    try:
        try:
            import fcntl  # noqa: PLC0415 - not on Windows
        except ImportError:  # Windows
            msvcrt = importlib.import_module("msvcrt")
            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # after all content, as a locked range cannot be read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK if take else msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN)
    except (BlockingIOError, PermissionError):  # another process has the lock
        return False
    return True


def write_new(path: str, content: bytes, mode: int, owner: os.stat_result | None = None) -> None:
    """Write a file that does not exist to the disk.

    Args:
        path: of the file.
        content: of the file.
        mode: of the file, whatever the umask is.
        owner: the status whose owner and group it gets, if this user may give it away; `None` for those of the
            directory.
    """
    with open(open_unlinked(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        _give_away(file.fileno(), os.path.dirname(path), owner)
        if os.name == "posix":
            os.fchmod(file.fileno(), mode)  # also with another umask
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_file(path: str, content: bytes, mode: int, *, replace: bool) -> None:
    """Write a whole file to the disk, and move it to its path in one step.

    Without `replace`, raise `FileExistsError` where a file exists. An error may then leave an empty file.
    """
    new = f"{path}.{secrets.token_hex(8)}.new"
    try:
        write_new(new, content, mode)
        if not replace:  # reserve the path: every file system can do that, unlike a hard link
            os.close(open_unlinked(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # an interrupt may come right after the move
            os.unlink(new)
        raise
    sync_directory(os.path.dirname(path))


def sync_directory(directory: str) -> None:
    """Write the names in a directory to the disk, where the platform can. An empty path is the working directory."""
    if os.name == "posix":
        with (
            contextlib.suppress(OSError),  # some file systems cannot
            closing(os.open(directory or os.curdir, os.O_RDONLY)) as descriptor,
        ):
            os.fsync(descriptor)
