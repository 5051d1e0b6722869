"""Files that are shared and replaced: a lock, and an atomic write that goes through no link."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import secrets
import stat
import time
from typing import TYPE_CHECKING, Final, NoReturn

from robodj_secretguard.errors import ChangedError, FileError
from robodj_secretguard.textfile import NOT_REGULAR, read_most

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_SECONDS: Final = 10.0
"""How long another process is waited for."""
LOCK_FILE: Final = ".secretguard.lock"
"""In the config directory: held while key files there are judged and replaced."""
SHARED_MODE: Final = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP
"""Less the umask: a group of operators is trusted with the log and the lock, which hold no key."""

_BUSY: Final = "another process holds the lock; try again"
_OPEN_DIRECTORY_MODE: Final = 0o755
_POLL_SECONDS: Final = 0.02
_WINDOWS_LOCK_AT: Final = 1 << 30  # bytes: a locked range cannot be read there, so it lies behind all content
_OPTIONAL_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


def raise_file_error(why: str) -> NoReturn:
    """Raise a `FileError` without a cause."""
    raise FileError(why) from None


def reason(error: OSError) -> str:
    """Return why a file cannot be used, in words that show no path."""
    if isinstance(error, FileError):
        return str(error)
    if isinstance(error, IsADirectoryError):
        return f"it {NOT_REGULAR}"
    if error.errno == errno.ELOOP:
        return "it is a symbolic link; use the path of the file itself"
    return f"it cannot be used: {os.strerror(error.errno or 0)}"


def open_unlinked(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file that is not a link (Windows follows one), and wait for nobody to open its other end."""
    return os.open(path, flags | _OPTIONAL_FLAGS, mode)


def read_unlinked(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """Return the first bytes of a regular file that is not a link, and the status of that very file."""
    descriptor = open_unlinked(path, os.O_RDONLY)
    try:
        return content_of(descriptor, most), os.fstat(descriptor)
    finally:
        os.close(descriptor)


def content_of(descriptor: int, most: int) -> bytes:
    """Return the first bytes of an open file, which must be a regular one."""
    regular_status(descriptor)
    os.lseek(descriptor, 0, os.SEEK_SET)  # on Windows, the lock has moved it
    return read_most(descriptor, most)


def regular_status(descriptor: int) -> os.stat_result:
    """Return the status of an open file; raise `FileError` for a directory, a pipe or a device."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise_file_error(f"it {NOT_REGULAR}")
    return status


def append_content(descriptor: int, content: bytes, *, size: int) -> None:
    """Append to an open and locked file in one write, and return when the content is on the disk.

    What could not be appended as a whole is taken back. The file is only ever made shorter for that, never longer.
    Where it no longer has the size that was read, another program changed it: `ChangedError`.
    """
    if os.fstat(descriptor).st_size != size:
        raise ChangedError
    start, end = size, size + len(content)  # until the write is known: an interrupt may come right after it
    try:
        written = os.write(descriptor, content)
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        start = end - written
        if written != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - as the next write would
        os.fsync(descriptor)
        if os.fstat(descriptor).st_size != size + len(content):
            raise ChangedError  # noqa: TRY301 - it is taken back as well
    except BaseException:
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_size == end:
                os.ftruncate(descriptor, start)
        raise


def open_or_make(path: str, flags: int, mode: int | None = None) -> tuple[int, bool]:
    """Open a file that is not a link, or make it for its directory's owner, and return whether it was made.

    A new file has this mode; `None` stands for `SHARED_MODE` less the umask.
    """
    try:
        return open_unlinked(path, flags), False
    except FileNotFoundError:
        try:
            descriptor = open_unlinked(path, flags | os.O_CREAT | os.O_EXCL, mode or SHARED_MODE)
        except FileExistsError:  # somebody else has just made it
            return open_unlinked(path, flags), False
        _give_away(descriptor, os.path.dirname(path))
        if mode is not None and os.name == "posix":
            os.fchmod(descriptor, mode)
        return descriptor, True


def is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is the one that is at a path."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def make_directory(path: str, *, others: bool = False) -> None:
    """Make a directory, unless it is there, for the owner of the one that it is in.

    Where others may enter it, as services do that run as another user, only its owner may write.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, _OPEN_DIRECTORY_MODE if others else SHARED_MODE | stat.S_IXUSR | stat.S_IXGRP)
        if os.name == "posix":
            descriptor = open_unlinked(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if not os.listdir(descriptor):  # another could have been put in its place
                    _give_away(descriptor, os.path.dirname(path))
            finally:
                os.close(descriptor)
        sync_directory(os.path.dirname(path))


def _give_away(descriptor: int, directory: str, replaced: str | None = None) -> None:
    """Give what root makes to whom it is for: it would be lost to a service or its operators.

    That is the owner of the file that it replaces, where nobody else could have put that there; else the directory's.
    """
    if os.name == "posix":
        with contextlib.suppress(PermissionError):  # only root may
            owner = os.stat(directory or os.curdir)
            others = stat.S_IWGRP | stat.S_IWOTH
            if replaced is not None and not owner.st_mode & others and os.path.lexists(replaced):
                owner = os.lstat(replaced)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file against every other process; raise `FileError` after `LOCK_SECONDS`."""
    end = time.monotonic() + LOCK_SECONDS
    while not _lock(descriptor, take=True):
        if time.monotonic() > end:
            raise_file_error(_BUSY)
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
    """Hold the lock of a config directory, in a separate file: key files are replaced, and locks on them be lost."""
    path = os.path.join(directory, LOCK_FILE)
    try:
        descriptor, _ = open_or_make(path, os.O_RDONLY)
    except OSError as error:
        raise_file_error(f"its lock file {LOCK_FILE} cannot be used: {os.strerror(error.errno or 0)}")
    try:
        with locked(descriptor):
            if not is_at(descriptor, path):
                raise_file_error(_BUSY)  # it was deleted while it was waited for, and is no longer what others wait for
            yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def prepared_file(path: str, content: bytes, mode: int) -> Iterator[str]:
    """Write a new file next to where it is to be, whole and on the disk, and yield its path; it is gone afterwards."""
    prepared = f"{path}.{secrets.token_hex(8)}.new"
    descriptor = open_unlinked(prepared, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            _give_away(file.fileno(), os.path.dirname(path), replaced=path)
            if os.name == "posix":
                os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield prepared
    finally:
        with contextlib.suppress(FileNotFoundError):  # it has become the file that it was prepared for
            os.unlink(prepared)


def put_in_place(prepared: str, path: str, *, replace: bool) -> None:
    """Move a prepared file to a path, in one step.

    Where no file may be replaced, an empty file claims the path first, and `FileExistsError` says that one is there.
    """
    if not replace:  # claim the name: unlike a hard link, every file system can do that
        os.close(open_unlinked(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(prepared, path)
    except BaseException:
        if not replace:
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise
    sync_directory(os.path.dirname(path))


def sync_directory(directory: str) -> None:
    """Have the names in a directory on the disk, where the platform can; an empty path is the working directory."""
    if os.name == "posix":
        with contextlib.suppress(OSError):  # the names are there: some file systems cannot do more
            descriptor = os.open(directory or os.curdir, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
