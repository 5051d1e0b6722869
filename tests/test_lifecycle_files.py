"""Files that are shared and replaced: one holder of a lock at a time, and a file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT, clean_environment
from windows import pretend_windows

from robodj_secretguard import files
from robodj_secretguard.errors import FileError
from robodj_secretguard.files import (
    LOCK_FILE,
    locked_directory,
    open_unlinked,
    prepared_file,
    put_in_place,
    sync_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes, FIFOs and links are POSIX's")

HOLDS = """
import sys
from robodj_secretguard.files import locked_directory
with locked_directory(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNTS = """
import os, sys
from robodj_secretguard.files import locked_directory, prepared_file, put_in_place
directory, times = sys.argv[1], int(sys.argv[2])
path = os.path.join(directory, "count")
for _ in range(times):
    with locked_directory(directory):
        with open(path, encoding="ascii") as file:
            count = int(file.read())
        with prepared_file(path, str(count + 1).encode(), 0o600) as prepared:
            put_in_place(prepared, path, replace=True)
"""


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that talks over pipes."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=clean_environment(), text=True, stdin=pipe, stdout=pipe, stderr=pipe)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Have this umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.lstat().st_mode)


def write(path: Path, content: bytes, *, replace: bool = True, mode: int = 0o600) -> None:
    """Write a file as the commands do."""
    with prepared_file(str(path), content, mode) as prepared:
        put_in_place(prepared, str(path), replace=replace)


class TestLock:
    """One process at a time."""

    def test_another_process_is_waited_for_and_not_for_ever(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As long as it holds the lock, nobody else does; when it is killed, the lock is free."""
        with started(HOLDS, tmp_path) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "held\n"
                with monkeypatch.context() as patch:
                    patch.setattr(files, "LOCK_SECONDS", 0)
                    with pytest.raises(FileError), locked_directory(str(tmp_path)):
                        pass
            finally:
                process.kill()
        with locked_directory(str(tmp_path)):
            pass

    def test_it_is_given_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """After an error too."""
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        with pytest.raises(ZeroDivisionError), locked_directory(str(tmp_path)):
            raise ZeroDivisionError
        with locked_directory(str(tmp_path)), pytest.raises(FileError), locked_directory(str(tmp_path)):
            pass

    def test_several_processes(self, tmp_path: Path) -> None:
        """What each reads, changes and replaces under the lock is lost by none, and nothing is left lying about."""
        (tmp_path / "count").write_text("0", encoding="ascii")
        processes = [started(COUNTS, tmp_path, 50) for _ in range(4)]
        ended = [(*process.communicate(timeout=TIMEOUT), process.returncode) for process in processes]
        assert ended == [("", "", 0)] * 4
        assert (tmp_path / "count").read_text(encoding="ascii") == "200"
        assert sorted(os.listdir(tmp_path)) == sorted([LOCK_FILE, "count"])

    @posix_only
    def test_the_lock_file(self, tmp_path: Path) -> None:
        """It is its owner's, and the group's where the umask lets it, and made through no link."""
        with umask(0o007), locked_directory(str(tmp_path)):
            assert mode_of(tmp_path / LOCK_FILE) == 0o660
        (tmp_path / LOCK_FILE).unlink()
        (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), locked_directory(str(tmp_path)):
            pass
        assert os.listdir(tmp_path) == [LOCK_FILE]

    def test_a_lock_file_that_was_deleted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was locked is no longer what others wait for: nothing is done."""
        monkeypatch.setattr(files, "is_at", lambda *_: False)
        with pytest.raises(FileError), locked_directory(str(tmp_path)):
            pass

    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        """There is nothing to lock."""
        with pytest.raises(FileError, match="No such file"), locked_directory(str(tmp_path / "nowhere")):
            pass

    def test_of_windows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """There it is a range of the file, behind its content; one holder at a time, and it is given back."""
        pretend_windows(monkeypatch)
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        for _ in range(2):
            with locked_directory(str(tmp_path)), pytest.raises(FileError), locked_directory(str(tmp_path)):
                pass


@posix_only
class TestOpen:
    """Neither through a link, nor waiting."""

    @pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
    @pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
    def test_a_link(self, tmp_path: Path, flags: int, *, there: bool) -> None:
        """It is not followed, wherever it leads."""
        target, link = tmp_path / "target", tmp_path / "link"
        if there:
            target.write_bytes(b"content")
        link.symlink_to(target)
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            open_unlinked(str(link), flags)
        assert target.exists() is there

    def test_a_fifo(self, tmp_path: Path) -> None:
        """Nobody is waited for who would open its other end."""
        os.mkfifo(tmp_path / "fifo")
        os.close(open_unlinked(str(tmp_path / "fifo"), os.O_RDONLY))
        with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
            open_unlinked(str(tmp_path / "fifo"), os.O_WRONLY)

    @pytest.mark.parametrize(("mode", "expected"), [((), 0o600), ((0o644,), 0o644)])
    def test_a_new_file(self, tmp_path: Path, mode: tuple[int, ...], expected: int) -> None:
        """It is its owner's alone, unless said otherwise."""
        with umask(0):
            os.close(open_unlinked(str(tmp_path / "new"), os.O_WRONLY | os.O_CREAT, *mode))
        assert mode_of(tmp_path / "new") == expected


class TestReplacing:
    """Whole, or not at all."""

    def test_a_new_file_and_one_that_is_there(self, tmp_path: Path) -> None:
        """It is replaced where that was said, else it is as it was; nothing is left beside it."""
        path = tmp_path / "file"
        write(path, b"first", replace=False)
        with pytest.raises(FileExistsError):
            write(path, b"second", replace=False)
        assert path.read_bytes() == b"first"
        write(path, b"third")
        assert (os.listdir(tmp_path), path.read_bytes()) == (["file"], b"third")

    def test_it_is_prepared_beside_it(self, tmp_path: Path) -> None:
        """What is prepared is whole, in the same directory, and gone where it did not become the file."""
        path = tmp_path / "file"
        path.write_bytes(b"as it was")
        with prepared_file(str(path), b"new", 0o600) as prepared:
            assert os.path.dirname(prepared) == str(tmp_path)
            with open(prepared, "rb") as file:
                assert file.read() == b"new"
            assert path.read_bytes() == b"as it was"
        assert (os.listdir(tmp_path), path.read_bytes()) == (["file"], b"as it was")

    @posix_only
    @pytest.mark.parametrize("mask", [0, 0o077, 0o777], ids=oct)
    @pytest.mark.parametrize("mode", [0o600, 0o644], ids=oct)
    def test_the_mode(self, tmp_path: Path, mode: int, mask: int) -> None:
        """It is the one that was asked for, whatever the umask and whatever stood there."""
        path = tmp_path / "file"
        path.write_bytes(b"")
        path.chmod(0o666)
        with umask(mask):
            write(path, b"content", mode=mode)
        assert mode_of(path) == mode

    @posix_only
    @pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
    def test_a_link(self, tmp_path: Path, *, there: bool) -> None:
        """It is itself what is there and what is replaced; where it leads, nothing is written."""
        target, link = tmp_path / "target", tmp_path / "link"
        if there:
            target.write_bytes(b"as it was")
        link.symlink_to(target)
        with pytest.raises(FileExistsError):
            write(link, b"new", replace=False)
        assert link.is_symlink()
        write(link, b"new")
        assert (link.is_symlink(), link.read_bytes()) == (False, b"new")
        assert [path.read_bytes() for path in (target,) if path.exists()] == [b"as it was"] * there

    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
    def test_a_failure_in_between(self, tmp_path: Path, error: type[BaseException]) -> None:
        """Whatever it is, nothing is left behind."""
        with pytest.raises(error), prepared_file(str(tmp_path / "file"), b"content", 0o600):
            raise error
        assert os.listdir(tmp_path) == []

    @posix_only
    def test_no_room(self, tmp_path: Path) -> None:
        """What could not be written whole is gone, and the file is as it was."""
        import resource  # noqa: PLC0415 - it is POSIX's

        path = tmp_path / "file"
        path.write_bytes(b"as it was")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                write(path, bytes(2000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (os.listdir(tmp_path), path.read_bytes()) == (["file"], b"as it was")

    @pytest.mark.parametrize("name", ["fsync", "replace"])
    def test_a_step_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Until the last step, all is as it was."""

        def fail(*_: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        path = tmp_path / "file"
        path.write_bytes(b"as it was")
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                write(path, b"new")
        assert (os.listdir(tmp_path), path.read_bytes()) == (["file"], b"as it was")

    def test_a_claim_is_taken_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The empty file that claims a name is gone when the prepared file could not take its place."""
        claimed: list[list[str]] = []

        def fail(_: str, path: str) -> None:
            claimed.append([name for name in os.listdir(tmp_path) if name == os.path.basename(path)])
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            write(tmp_path / "file", b"new", replace=False)
        assert (claimed, os.listdir(tmp_path)) == ([["file"]], [])

    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        """Nothing is made."""
        with pytest.raises(FileNotFoundError):
            write(tmp_path / "nowhere" / "file", b"content")
        assert os.listdir(tmp_path) == []


class TestSyncing:
    """The names in a directory."""

    def test_of_the_working_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is that of a path without one."""
        monkeypatch.chdir(tmp_path)
        with prepared_file("file", b"content", 0o600) as prepared:
            put_in_place(prepared, "file", replace=False)
        assert (tmp_path / "file").read_bytes() == b"content"

    @posix_only
    def test_it_reaches_the_disk_and_the_descriptor_is_given_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file is there first, then its name in its directory."""
        synced: list[str] = []

        def sync(descriptor: int) -> None:
            synced.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

        before = os.open(tmp_path, os.O_RDONLY)
        os.close(before)
        monkeypatch.setattr(os, "fsync", sync)
        write(tmp_path / "file", b"content")
        after = os.open(tmp_path, os.O_RDONLY)
        os.close(after)
        assert (synced, after) == (["file", "directory"], before)

    def test_windows_has_no_such_thing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """There no directory is opened."""
        pretend_windows(monkeypatch)
        sync_directory(str(tmp_path / "nowhere"))


@posix_only
class TestWhoseItIs:
    """What root makes is for whom it is made."""

    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """To whom files were given, as root would."""
        owners: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "fchown", lambda _, user, group: owners.append((user, group)))
        return owners

    def test_of_a_directory(self, tmp_path: Path, given: list[tuple[int, int]]) -> None:
        """A new file or directory is its directory's owner's."""
        owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
        files.make_directory(str(tmp_path / "logs"))
        files.make_directory(str(tmp_path / "logs"))
        for _ in range(2):
            os.close(files.open_or_make(str(tmp_path / "log"), os.O_RDWR)[0])
        assert given == [owner, owner]

    @pytest.mark.parametrize(("mode", "kept"), [(0o755, True), (0o1777, False), (0o770, False)])
    def test_of_a_file_that_is_replaced(
        self,
        tmp_path: Path,
        given: list[tuple[int, int]],
        monkeypatch: pytest.MonkeyPatch,
        mode: int,
        kept: bool,  # noqa: FBT001
    ) -> None:
        """It stays its owner's, unless others could have put it there."""
        (tmp_path / "file").touch()
        tmp_path.chmod(mode)
        before = os.lstat(tmp_path / "file")
        other = os.stat_result((*before[:4], 12345, 12345, *before[6:]))
        monkeypatch.setattr(os, "lstat", lambda _: other)
        write(tmp_path / "file", b"content")
        assert given == [(12345, 12345) if kept else (before.st_uid, before.st_gid)]

    def test_another_directory_in_its_place(
        self, tmp_path: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that holds something is not what was made, and is given to nobody."""
        make = os.mkdir

        def swap(path: str, mode: int) -> None:
            make(path, mode)
            (tmp_path / "logs" / "somebody's").touch()

        monkeypatch.setattr(os, "mkdir", swap)
        files.make_directory(str(tmp_path / "logs"))
        assert given == []

    def test_another_file_in_its_place(
        self, tmp_path: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that somebody else makes at the same time is opened, and stays theirs."""
        opened = os.open

        def race(path: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_EXCL:
                (tmp_path / "log").touch()
            return opened(path, flags, mode)

        monkeypatch.setattr(os, "open", race)
        os.close(files.open_or_make(str(tmp_path / "log"), os.O_RDWR)[0])
        assert given == []

    def test_nobody_is_asked_on_windows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """There a file is whose directory's permissions say."""
        pretend_windows(monkeypatch)
        monkeypatch.delattr(os, "fchown")
        files.make_directory(str(tmp_path / "logs"))
        assert (tmp_path / "logs").is_dir()

    def test_only_root_may(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """For anybody else it is left as it is."""

        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "fchown", refuse)
        files.make_directory(str(tmp_path / "logs"))
        assert (tmp_path / "logs").stat().st_uid == os.geteuid()
