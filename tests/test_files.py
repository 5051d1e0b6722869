"""Files that are locked, appended to and replaced. A file is written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import posix_only, raising, umask
from windows import pretend_windows

from robodj_secretguard.common import files
from robodj_secretguard.common.files import (
    append_content,
    content_of,
    is_at,
    locked,
    make_directory,
    open_or_make,
    open_unlinked,
    read_unlinked,
    reason,
    sync_directory,
    write_file,
)
from robodj_secretguard.errors import ChangedError, FileError


def mode_of(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.lstat().st_mode)


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files, like a full disk."""
    import resource  # noqa: PLC0415 - only POSIX has it

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # Python's default, unless a test of `exec` has changed it
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def write(path: Path, content: bytes, *, replace: bool = True, mode: int = 0o600) -> None:
    """Write a file."""
    write_file(str(path), content, mode, replace=replace)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Press Control-C after a call of a function of `os`."""
    do: Callable[..., object] = getattr(os, function)

    def interrupt(*arguments: object) -> None:
        do(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, function, interrupt)


@contextlib.contextmanager
def lock_of(path: Path) -> Iterator[None]:
    """Open a file, and hold its lock."""
    with open(path, "rb") as file, locked(file.fileno()):
        yield


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ChangedError(), str(ChangedError())),
        (IsADirectoryError(errno.EISDIR, "path"), "it is not a regular file"),
        (OSError(errno.ELOOP, "path"), "it is a symbolic link; use the path of the file itself"),
        (OSError(errno.EACCES, "path", "path"), "it cannot be used: Permission denied"),
        (OSError("path"), f"it cannot be used: {os.strerror(0)}"),
    ],
    ids=range(5),
)
def test_reason(error: OSError, text: str) -> None:
    """The reason of an error has no path, since it replaces the system's text."""
    assert reason(error) == text


class TestLock:
    """`locked`."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A file that is locked."""
        path = tmp_path / "count.lock"
        path.touch()
        return path

    @pytest.mark.parametrize("windows", [False, True], ids=["posix", "windows"])
    def test_one_holder(self, path: Path, monkeypatch: pytest.MonkeyPatch, *, windows: bool) -> None:
        """A lock has one holder at a time, and is released after an error."""
        if windows:
            pretend_windows(monkeypatch)
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        with pytest.raises(ZeroDivisionError), lock_of(path):
            raise ZeroDivisionError
        with lock_of(path), pytest.raises(FileError, match="another process holds the lock"), lock_of(path):
            pass

    def test_timeout(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process waits ten seconds for the lock, with short pauses."""
        slept: list[float] = []
        monkeypatch.setattr("time.monotonic", lambda: float(len(slept)))
        monkeypatch.setattr("time.sleep", slept.append)
        with lock_of(path), pytest.raises(FileError), lock_of(path):
            pass
        assert (len(slept), 0 < min(slept) <= max(slept) < 1) == (11, True)

    def test_windows(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On Windows every version locks the same byte after all content, since locked bytes cannot be read."""
        pretend_windows(monkeypatch)
        with lock_of(path):
            assert sys.modules["msvcrt"].held == {(path.stat().st_ino, 2**30)}

    def test_wait(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The lock is acquired after its release."""
        import fcntl  # noqa: PLC0415 - only POSIX has it

        with open(path, "rb") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(holder, fcntl.LOCK_UN))
            with lock_of(path):
                pass


@posix_only
class TestOpen:
    """`open_unlinked`, `open_or_make`, and the functions for open files."""

    @pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
    @pytest.mark.parametrize("exists", [True, False], ids=["there", "dangling"])
    def test_link(self, tmp_path: Path, flags: int, *, exists: bool) -> None:
        """A link is not followed, even if its target does not exist."""
        target, link = tmp_path / "target", tmp_path / "link"
        if exists:
            target.write_bytes(b"content")
        link.symlink_to(target)
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            open_unlinked(str(link), flags)
        assert target.exists() is exists

    def test_fifo(self, tmp_path: Path) -> None:
        """Opening a FIFO does not block, and it is not a regular file."""
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(FileError, match="not a regular file"):
            read_unlinked(str(tmp_path / "fifo"), 1)
        with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
            open_unlinked(str(tmp_path / "fifo"), os.O_WRONLY)

    def test_content(self, tmp_path: Path) -> None:
        """The first bytes of a file are read, up to a limit, together with its status."""
        (tmp_path / "file").write_bytes(b"content")
        content, status = read_unlinked(str(tmp_path / "file"), 4)
        assert (content, status) == (b"cont", os.stat(tmp_path / "file"))
        with open(tmp_path / "file", "rb") as file:
            file.seek(5)
            assert content_of(file.fileno(), 99) == b"content"

    @pytest.mark.parametrize(("mode", "expected"), [(None, 0o640), (0o644, 0o644), (0o666, 0o666)])
    def test_open_or_make(self, tmp_path: Path, mode: int | None, expected: int) -> None:
        """A new file has the given mode exactly, or the shared mode less the umask. An existing file is opened."""
        made = []
        with umask(0o027):
            for _ in range(2):
                descriptor, is_made = open_or_make(str(tmp_path / "file"), os.O_RDWR, mode)
                made.append((is_made, is_at(descriptor, str(tmp_path / "file"))))
                os.close(descriptor)
        assert (made, mode_of(tmp_path / "file")) == ([(True, True), (False, True)], expected)

    def test_is_at(self, tmp_path: Path) -> None:
        """`is_at` is false if the path has another file or none."""
        with open(tmp_path / "file", "wb") as file:
            (tmp_path / "file").rename(tmp_path / "moved")
            assert not is_at(file.fileno(), str(tmp_path / "file"))
            (tmp_path / "file").touch()
            assert not is_at(file.fileno(), str(tmp_path / "file"))


class TestAppend:
    """`append_content`."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A file of six bytes."""
        path = tmp_path / "file"
        path.write_bytes(b"first\n")
        return path

    @staticmethod
    def append(path: Path, content: bytes, size: int = 6) -> None:
        """Append to a file that had this size before."""
        with open(path, "ab") as file:
            append_content(file.fileno(), content, size=size)

    def test_whole(self, path: Path) -> None:
        """Content is added at the end."""
        self.append(path, b"second\n")
        assert path.read_bytes() == b"first\nsecond\n"

    @pytest.mark.parametrize("size", [5, 7])
    def test_changed_before(self, path: Path, size: int) -> None:
        """Nothing is appended to a file that has changed since it was read."""
        with pytest.raises(ChangedError):
            self.append(path, b"second\n", size)
        assert path.read_bytes() == b"first\n"

    @posix_only
    def test_full_disk(self, path: Path) -> None:
        """If the disk is full, the partial content is removed."""
        with largest_file(9), pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            self.append(path, b"second\n")
        assert path.read_bytes() == b"first\n"

    @pytest.mark.parametrize("function", ["write", "lseek", "fsync"])
    def test_interrupt(self, path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
        """After an interrupt at any step, the content is removed."""
        interrupt_after(monkeypatch, function)
        with pytest.raises(KeyboardInterrupt):
            self.append(path, b"second\n")
        assert path.read_bytes() == b"first\n"

    @pytest.mark.parametrize(
        ("mode", "left"), [("ab", b"first\nsecond\nthird\n"), ("wb", b"third\n")], ids=["appended", "truncated"]
    )
    def test_changed_meanwhile(self, path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, left: bytes) -> None:
        """A concurrent write by another program is an error, and its content is kept."""

        def other(_: int) -> None:
            with open(path, mode) as file:
                file.write(b"third\n")

        monkeypatch.setattr(os, "fsync", other)
        with pytest.raises(ChangedError):
            self.append(path, b"second\n")
        assert path.read_bytes() == left


class TestReplace:
    """`write_file`."""

    def test_new_and_existing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An existing file is replaced only on request. No temporary file is left. A path may be a bare name."""
        monkeypatch.chdir(tmp_path)
        path = Path("file")
        write(path, b"first", replace=False)
        with pytest.raises(FileExistsError):
            write(path, b"second", replace=False)
        assert path.read_bytes() == b"first"
        write(path, b"third")
        assert (os.listdir(tmp_path), path.read_bytes()) == (["file"], b"third")

    @posix_only
    @pytest.mark.parametrize("mask", [0, 0o077, 0o777], ids=oct)
    @pytest.mark.parametrize("mode", [0o600, 0o644], ids=oct)
    def test_mode(self, tmp_path: Path, mode: int, mask: int) -> None:
        """The mode is the requested one, whatever the umask and the old file's mode."""
        path = tmp_path / "file"
        path.write_bytes(b"")
        path.chmod(0o666)
        with umask(mask):
            write(path, b"content", mode=mode)
        assert mode_of(path) == mode

    @posix_only
    def test_link(self, tmp_path: Path) -> None:
        """A link is replaced, and its target is unchanged."""
        target, link = tmp_path / "target", tmp_path / "link"
        target.write_bytes(b"as it was")
        link.symlink_to(target)
        with pytest.raises(FileExistsError):
            write(link, b"new", replace=False)
        assert link.is_symlink()
        write(link, b"new")
        assert (link.is_symlink(), link.read_bytes(), target.read_bytes()) == (False, b"new", b"as it was")

    @pytest.mark.parametrize("replace", [True, False])
    @pytest.mark.parametrize("error", [OSError(errno.EIO, "path"), KeyboardInterrupt()], ids=["error", "interrupt"])
    def test_failing_step(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, *, replace: bool
    ) -> None:
        """If the last step fails, the old file is unchanged, and an empty one may be in the place of a new one."""
        path = tmp_path / "file"
        content = b"as it was" * replace
        for _ in range(replace):
            write(path, content)
        seen: list[tuple[bytes, int]] = []

        def fail(new: str, _: str) -> None:
            seen.append((Path(new).read_bytes(), mode_of(Path(new))))
            raise error

        monkeypatch.setattr(os, "replace", fail)
        with umask(0o077 * replace), pytest.raises(type(error)):
            write(path, b"new", replace=replace)
        assert (seen, os.listdir(tmp_path), path.read_bytes()) == ([(b"new", 0o600)], ["file"], content)

    def test_interrupt_after_the_last_step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """After an interrupt, the new file may be in its place."""
        interrupt_after(monkeypatch, "replace")
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_bytes() == b"new"

    @posix_only
    def test_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The content is synced before the directory, and every descriptor is closed."""
        synced: list[str] = []

        def sync(descriptor: int) -> None:
            synced.append("directory" if os.path.samestat(os.fstat(descriptor), tmp_path.stat()) else "file")

        before = os.open(tmp_path, os.O_RDONLY)
        os.close(before)
        monkeypatch.setattr(os, "fsync", sync)
        write(tmp_path / "file", b"content")
        after = os.open(tmp_path, os.O_RDONLY)
        os.close(after)
        assert (synced, after) == (["file", "directory"], before)

    def test_unsynced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not an error if a directory cannot be synced. On Windows no directory is opened."""
        sync_directory(str(tmp_path / "nowhere"))
        pretend_windows(monkeypatch)
        monkeypatch.setattr("robodj_secretguard.common.files.os.open", None)
        sync_directory(str(tmp_path))


@posix_only
class TestOwner:
    """Root sets the owner of the files that it makes."""

    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """The owners that were set."""
        owners: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "fchown", lambda _, user, group: owners.append((user, group)))
        return owners

    @pytest.mark.parametrize(("options", "mode"), [({}, 0o770), ({"others": True}, 0o755)], ids=["default", "others"])
    def test_new(self, tmp_path: Path, given: list[tuple[int, int]], options: dict[str, bool], mode: int) -> None:
        """A new file or directory gets the owner of its directory. On request, others can enter a directory."""
        owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
        with umask(0):
            for _ in range(2):
                make_directory(str(tmp_path / "logs"), **options)
                os.close(open_or_make(str(tmp_path / "log"), os.O_RDWR)[0])
        assert (given, mode_of(tmp_path / "logs")) == ([owner, owner], mode)

    def test_replaced(self, tmp_path: Path, given: list[tuple[int, int]]) -> None:
        """A file that is written gets the owner of its directory."""
        write(tmp_path / "file", b"content")
        assert given == [(tmp_path.stat().st_uid, tmp_path.stat().st_gid)]

    def test_replaced_directory(
        self, tmp_path: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A new directory that already has a file was swapped, and its owner is not changed."""
        make = os.mkdir

        def swap(path: str, mode: int) -> None:
            make(path, mode)
            (tmp_path / "logs" / "somebody's").touch()

        monkeypatch.setattr(os, "mkdir", swap)
        make_directory(str(tmp_path / "logs"))
        assert given == []

    def test_race(self, tmp_path: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that another process makes meanwhile is opened, and its owner is not changed."""
        opened = os.open

        def race(path: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_EXCL:
                (tmp_path / "log").touch()
            return opened(path, flags, mode)

        monkeypatch.setattr(os, "open", race)
        descriptor, is_made = open_or_make(str(tmp_path / "log"), os.O_RDWR)
        os.close(descriptor)
        assert (given, is_made) == ([], False)

    def test_windows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On Windows no owner is set, since files inherit the permissions of the directory."""
        pretend_windows(monkeypatch)
        monkeypatch.delattr("robodj_secretguard.common.files.os.fchown")
        make_directory(str(tmp_path / "logs"))
        write(tmp_path / "file", b"content")
        assert sorted(os.listdir(tmp_path)) == ["file", "logs"]

    def test_not_root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without root's permission the owner is unchanged, and that is not an error."""
        monkeypatch.setattr(os, "fchown", raising(PermissionError()))
        make_directory(str(tmp_path / "logs"))
        assert (tmp_path / "logs").stat().st_uid == os.geteuid()
