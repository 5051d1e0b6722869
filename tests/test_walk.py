"""Files and directories, and their content: an obstacle is reported, and nothing waits for it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path

import pytest
from conftest import as_user

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import BLOCK_BYTES, Block, Entry, read_place, walk
from robodj_secretguard.scan.result import Where
from robodj_secretguard.startup.inputs import CHANGED, NOT_REGULAR

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs, devices and such names")

PAGE = 4096
NOT_THERE = "it does not exist"
IRREGULAR = f"it {NOT_REGULAR}"


def why(error: int) -> str:
    """Return the reason for an error of the system."""
    return f"it cannot be used: {os.strerror(error)}"


def walked(*paths: Path | str) -> list[Entry]:
    """Return all entries at some paths."""
    return [*walk([*map(str, paths)])]


def entry(path: Path | str, where: Where) -> Entry:
    """Return an entry that can be read."""
    return str(path), where, "", True


def unread(path: Path | str, why: str, *, matters: bool = True) -> Entry:
    """Return an entry that cannot be read."""
    return str(path), "name", why, matters


def read(path: Path | str, where: Where = "file") -> bytes:
    """Return the content of a file, or the target of a link."""
    return b"".join(map(bytes, read_place(str(path), where)))  # bytes() of the length of a hole is the hole


class TestWalk:
    """The entries at a path and below it."""

    def test_a_tree(self, tmp_path: Path) -> None:
        """The entries of a directory follow it, sorted. A FIFO or a socket does not matter."""
        for name in ("b/two", "b/one", ".hidden", "a/deep/deeper/x", "z"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "link").symlink_to("a")
        os.mkfifo(tmp_path / "b" / "fifo")
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
            server.bind("b/socket")
        assert walked(tmp_path) == [
            entry(tmp_path, "name"),
            entry(tmp_path / ".hidden", "file"),
            entry(tmp_path / "a", "name"),
            entry(tmp_path / "a/deep", "name"),
            entry(tmp_path / "a/deep/deeper", "name"),
            entry(tmp_path / "a/deep/deeper/x", "file"),
            entry(tmp_path / "b", "name"),
            unread(tmp_path / "b/fifo", IRREGULAR, matters=False),
            entry(tmp_path / "b/one", "file"),
            unread(tmp_path / "b/socket", IRREGULAR, matters=False),
            entry(tmp_path / "b/two", "file"),
            entry(tmp_path / "link", "link"),
            entry(tmp_path / "z", "file"),
        ]

    @pytest.mark.parametrize("name", [b"two\nlines", b"\x1b[2J", b"\xff\xfe", b"   ", b"-rf", b"a" * 255], ids=ascii)
    def test_names(self, tmp_path: Path, name: bytes) -> None:
        """A name may have any bytes."""
        path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
        with open(path, "wb") as file:
            file.write(b"content")
        assert (walked(tmp_path)[1:], read(path)) == ([entry(path, "file")], b"content")

    @pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can change its user")
    def test_missing_permissions(self, tmp_path: Path) -> None:
        """A directory or a file that the user may not read is reported, and the rest is read."""
        (tmp_path / "closed").mkdir(0o700)
        for name, mode in {"file": 0o600, "open": 0o644}.items():
            (tmp_path / name).touch(mode)
        tmp_path.chmod(0o755)
        with contextlib.chdir(tmp_path), as_user(12345):
            found = walked(".")
            with pytest.raises(UnreadError, match=f"^{why(errno.EACCES)}$"):
                read("./file")
            assert read("./open") == b""
        assert found == [
            entry(".", "name"),
            entry("./closed", "name"),
            unread("./closed", why(errno.EACCES)),
            entry("./file", "file"),
            entry("./open", "file"),
        ]

    def test_a_directory_that_is_named_twice(self, tmp_path: Path) -> None:
        """A directory is read once, even if another path, a link or another directory leads to it again."""
        (tmp_path / "within").mkdir()
        (tmp_path / "within" / "file").touch()
        link = tmp_path.parent / f"{tmp_path.name}-link"
        link.symlink_to(tmp_path)
        assert walked(tmp_path, tmp_path, tmp_path / "within", link) == walked(tmp_path)

    def test_links(self, tmp_path: Path) -> None:
        """A link in a directory is not followed, wherever it leads. A link among the paths is."""
        targets = {"itself": "itself", "up": "..", "nowhere": "nothing", "root": "/", "device": "/dev/zero"}
        for name, target in targets.items():
            (tmp_path / name).symlink_to(target)
        assert walked(tmp_path)[1:] == [entry(tmp_path / name, "link") for name in sorted(targets)]
        (tmp_path / "file").touch()
        (tmp_path / "there").symlink_to("file")
        assert walked(tmp_path / "there") == [entry(os.path.realpath(tmp_path / "file"), "file")]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("missing", NOT_THERE),
            ("nowhere", NOT_THERE),
            ("itself", "it is a symbolic link; use the path of the file itself"),
            ("a" * 256, why(errno.ENAMETOOLONG)),
            ("fifo", IRREGULAR),
            ("/dev/null", IRREGULAR),
            ("/dev/zero", IRREGULAR),
        ],
    )
    def test_a_path_that_cannot_be_read(self, tmp_path: Path, name: str, expected: str) -> None:
        """A path without a file or directory matters, and the next path is read."""
        (tmp_path / "itself").symlink_to("itself")
        (tmp_path / "nowhere").symlink_to("nothing")
        (tmp_path / "file").touch()
        os.mkfifo(tmp_path / "fifo")
        path, file = os.path.join(tmp_path, name), tmp_path / "file"
        assert walked(path, file) == [unread(path, expected), entry(file, "file")]

    def test_a_directory_that_vanishes(self, tmp_path: Path) -> None:
        """A directory that is deleted before it is read is reported."""
        (tmp_path / "a").mkdir()
        walking = walk([str(tmp_path)])
        assert next(walking) == entry(tmp_path, "name")
        assert next(walking) == entry(tmp_path / "a", "name")
        (tmp_path / "a").rmdir()
        assert [*walking] == [unread(tmp_path / "a", NOT_THERE)]


class TestContent:
    """The content of a file, and the target of a link."""

    @pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
    def test_a_file(self, tmp_path: Path, size: int) -> None:
        """A file is read as a whole, in blocks of at most a mebibyte."""
        data = os.urandom(size)
        (tmp_path / "file").write_bytes(data)
        expected = [data[at : at + BLOCK_BYTES] for at in range(0, size, BLOCK_BYTES)]
        assert [*read_place(str(tmp_path / "file"), "file")] == expected

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems store holes of other sizes")
    @pytest.mark.parametrize(
        ("data", "size", "expected"),
        [
            ({}, 1 << 40, [1 << 40]),
            ({}, BLOCK_BYTES, [bytes(BLOCK_BYTES)]),
            ({0: b"a"}, 1 << 40, [b"a".ljust(BLOCK_BYTES, b"\0"), (1 << 40) - BLOCK_BYTES]),
            ({(1 << 40) - 1: b"a"}, 1 << 40, [(1 << 40) - PAGE, b"a".rjust(PAGE, b"\0")]),
            (
                {BLOCK_BYTES: b"a", 1 << 30: b"b"},
                1 << 31,
                [
                    BLOCK_BYTES,
                    b"a".ljust(BLOCK_BYTES, b"\0"),
                    (1 << 30) - 2 * BLOCK_BYTES,
                    b"b".ljust(BLOCK_BYTES, b"\0"),
                    (1 << 30) - BLOCK_BYTES,
                ],
            ),
        ],
        ids=["only a hole", "small", "data first", "data last", "data between"],
    )
    def test_holes(self, tmp_path: Path, data: dict[int, bytes], size: int, expected: list[Block]) -> None:
        """A hole of a large file is not read. Its length takes the place of a block."""
        with open(tmp_path / "file", "wb") as file:
            for offset, written in data.items():
                os.pwrite(file.fileno(), written, offset)
            file.truncate(size)
        assert [*read_place(str(tmp_path / "file"), "file")] == expected

    @pytest.mark.parametrize("whence", [None, 99], ids=["of Windows", "of a file system"])
    def test_no_holes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whence: int | None) -> None:
        """Where a system or a file system knows no holes, a file is read as a whole."""
        if whence is None:
            monkeypatch.delattr(os, "SEEK_DATA", raising=False)
        else:
            monkeypatch.setattr(os, "SEEK_DATA", whence, raising=False)
        (tmp_path / "file").touch()
        os.truncate(tmp_path / "file", BLOCK_BYTES + 1)
        assert [*read_place(str(tmp_path / "file"), "file")] == [bytes(BLOCK_BYTES), b"\0"]

    @pytest.mark.parametrize("target", [b"nothing", b"two\nlines", b"\xff"])
    def test_a_link(self, tmp_path: Path, target: bytes) -> None:
        """The content of a link is its target."""
        os.symlink(target, os.fsencode(tmp_path / "link"))
        assert read(tmp_path / "link", "link") == target

    @pytest.mark.parametrize(
        ("name", "where", "expected"),
        [
            ("fifo", "file", IRREGULAR),
            ("", "file", IRREGULAR),
            ("link", "file", "it is a symbolic link; use the path of the file itself"),
            ("file", "link", why(errno.EINVAL)),
            ("gone", "file", NOT_THERE),
            ("gone", "link", NOT_THERE),
        ],
    )
    def test_what_is_no_longer_there(self, tmp_path: Path, name: str, where: Where, expected: str) -> None:
        """The scan does not wait for a FIFO that replaced a file, and does not follow a link that replaced one."""
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "link").symlink_to("file")
        (tmp_path / "file").touch()
        with pytest.raises(UnreadError, match=f"^{expected}$"):
            read(tmp_path / name, where)

    @pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten", "is emptied"])
    def test_a_file_that_changes(self, tmp_path: Path, change: str) -> None:
        """A change is reported after the readable part. A file that grows is not read beyond its first size."""
        path = tmp_path / "file"
        path.write_bytes(bytes(2 * BLOCK_BYTES))
        blocks = read_place(str(path), "file")
        assert next(blocks) == bytes(BLOCK_BYTES)
        if change == "is rewritten":
            path.write_bytes(b"new".ljust(2 * BLOCK_BYTES, b"\0"))
            os.utime(path, ns=(0, 0))
        else:
            os.truncate(path, {"grows": 12 * BLOCK_BYTES, "shrinks": BLOCK_BYTES + 1, "is emptied": 0}[change])
        left = {"grows": BLOCK_BYTES, "shrinks": 1, "is rewritten": BLOCK_BYTES, "is emptied": 0}[change]
        assert left == 0 or next(blocks) == bytes(left)
        with pytest.raises(UnreadError, match=f"^it {CHANGED}; scan again$"):
            next(blocks)

    def test_the_descriptor_is_closed(self, tmp_path: Path) -> None:
        """No descriptor stays open after a whole, partial or failed read."""
        (tmp_path / "file").write_bytes(bytes(3 * BLOCK_BYTES))
        before = os.dup(0)
        os.close(before)
        blocks = read_place(str(tmp_path / "file"), "file")
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
        read(tmp_path / "file")
        with pytest.raises(UnreadError):
            read(tmp_path)
        after = os.dup(0)
        os.close(after)
        assert after == before
