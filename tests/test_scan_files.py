"""Where files are, and what is in them: whatever is in the way is told, and nothing is waited for."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import TIMEOUT, clean_environment

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import BLOCK_BYTES
from robodj_secretguard.scan.result import Where
from robodj_secretguard.scan.walk import content, walk
from robodj_secretguard.textfile import NOT_REGULAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

posix_only = pytest.mark.skipif(os.name != "posix", reason="FIFOs, devices and such names are POSIX's")
pytestmark = posix_only

NOT_THERE = "it is not there"
HOSTILE_NAMES = (
    b"two\nlines",
    b"\x1b[2J",
    b"\xff\xfe",
    b"   ",
    b"back\\slash",
    b"-rf",
    b"\t",
    b"\xe2\x80\xae",
    b"a" * 255,
)
DENIED = f"it cannot be used: {os.strerror(errno.EACCES)}"
READS_AS_ANOTHER = """
import os, sys
from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.result import Where
from robodj_secretguard.scan.walk import content, walk
from robodj_secretguard.textfile import NOT_REGULAR
os.setuid(12345)
for path, where, why, _ in walk([sys.argv[1]]):
    if why:
        print(why)
    elif where is Where.NAME:
        print("DIRECTORY", path)
    else:
        try:
            print(b"".join(content(path, where)))
        except UnreadError as error:
            print(error)
"""


class Kind:
    """What is at a path, as a place for a key."""

    FILE = Where.FILE
    LINK = Where.LINK
    DIRECTORY = Where.NAME


class Entry(NamedTuple):
    """What is at a path."""

    path: str
    kind: Where


class Unreadable(NamedTuple):
    """What cannot be read."""

    path: str
    why: str
    matters: bool = True


def walked(*paths: Path | str) -> list[Entry | Unreadable]:
    """Return all that is at some paths."""
    return [*map(told, walk([*map(str, paths)]))]


def told(each: tuple[str, Where, str, bool]) -> Entry | Unreadable:
    """Return what is told of a path."""
    path, where, why, matters = each
    return Unreadable(path, why, matters) if why else Entry(path, where)


def read(path: Path, kind: Where = Kind.FILE) -> bytes:
    """Return a file's content."""
    return filled(content(str(path), kind))


def filled(blocks: Iterable[bytes | int]) -> bytes:
    """Return a content with the zero bytes that its holes stand for."""
    return b"".join(map(bytes, blocks))


def has_holes(path: Path) -> bool:
    """Whether a file system tells where the holes of a file are."""
    os.truncate(path, BLOCK_BYTES)
    with open(path, "rb") as file, contextlib.suppress(OSError):
        return file.seek(0, os.SEEK_HOLE) == 0
    return False


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """An empty file, where a file can have holes."""
    path = tmp_path / "file"
    path.touch()
    if not has_holes(path):
        pytest.skip("no holes are told here")
    path.write_bytes(b"")
    return path


def put_at(path: Path, *offsets: int) -> None:
    """Write a block of data at each of some offsets."""
    with open(path, "r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(b"x" * BLOCK_BYTES)


class TestWalk:
    """What is at a path."""

    def test_a_tree(self, tmp_path: Path) -> None:
        """Files, links and directories are told, each directory's in the order of their names, hidden ones too."""
        for name in ("b/two", "b/one", ".hidden", "a/deep/deeper/x", "z"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "link").symlink_to("a")
        expected = [
            ("", Kind.DIRECTORY),
            ("/.hidden", Kind.FILE),
            ("/link", Kind.LINK),
            ("/z", Kind.FILE),
            ("/a", Kind.DIRECTORY),
            ("/a/deep", Kind.DIRECTORY),
            ("/a/deep/deeper", Kind.DIRECTORY),
            ("/a/deep/deeper/x", Kind.FILE),
            ("/b", Kind.DIRECTORY),
            ("/b/one", Kind.FILE),
            ("/b/two", Kind.FILE),
        ]
        assert walked(tmp_path) == [Entry(f"{tmp_path}{path}", kind) for path, kind in expected]

    def test_no_path(self) -> None:
        """Where nothing is named, nothing is there."""
        assert walked() == []

    def test_what_is_named_twice(self, tmp_path: Path) -> None:
        """A directory is looked at once, whether it is named again, by another name, or within another one."""
        (tmp_path / "within").mkdir()
        (tmp_path / "within" / "file").touch()
        link = tmp_path.parent / f"{tmp_path.name}-link"
        link.symlink_to(tmp_path)
        assert walked(tmp_path, tmp_path, tmp_path / "within", link) == walked(tmp_path)

    def test_links(self, tmp_path: Path) -> None:
        """A link that is named is followed; one that is met is not, wherever it leads: to itself, up or nowhere."""
        for name, target in (
            ("itself", "itself"),
            ("up", ".."),
            ("nowhere", "nothing"),
            ("root", "/"),
            ("dev", "/dev"),
        ):
            (tmp_path / name).symlink_to(target)
        assert {each.kind for each in walked(tmp_path) if isinstance(each, Entry)} == {Kind.DIRECTORY, Kind.LINK}
        assert len(walked(tmp_path)) == 6
        (tmp_path / "file").touch()
        (tmp_path / "there").symlink_to("file")
        assert walked(tmp_path / "there") == [Entry(os.path.realpath(tmp_path / "file"), Kind.FILE)]

    def test_named_links_that_lead_nowhere(self, tmp_path: Path) -> None:
        """They are told, as is what is not there at all."""
        (tmp_path / "itself").symlink_to("itself")
        (tmp_path / "nowhere").symlink_to("nothing")
        itself, nowhere, missing = walked(tmp_path / "itself", tmp_path / "nowhere", tmp_path / "missing")
        assert (type(itself), nowhere[1:], missing[1:]) == (Unreadable, (NOT_THERE, True), (NOT_THERE, True))

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_names(self, tmp_path: Path, name: bytes) -> None:
        """A name of any bytes is one."""
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(b"content")
        _, entry = walked(tmp_path)
        assert isinstance(entry, Entry)
        assert os.fsencode(entry.path) == path
        assert filled(content(*entry)) == b"content"

    def test_a_name_that_is_none(self, tmp_path: Path) -> None:
        """A path with a zero byte, or one longer than any, is told and nothing more."""
        zero, long = walked(f"{tmp_path}/a\0b", f"{tmp_path}/{'a' * 256}")
        assert (type(zero), zero[1:]) == (Unreadable, ("it is no path", True))
        assert (type(long), long[1:]) == (Unreadable, (f"it cannot be used: {os.strerror(errno.ENAMETOOLONG)}", True))

    def test_a_directory_deeper_than_any_path(self, tmp_path: Path) -> None:
        """What lies deeper than a path can name is told, without an end of the stack."""
        here = os.open(tmp_path, os.O_RDONLY)
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=here)
            here, before = os.open("d" * 200, os.O_RDONLY, dir_fd=here), here
            os.close(before)
        os.close(here)
        *_, last = walked(tmp_path)
        assert isinstance(last, Unreadable)
        assert last.matters
        subprocess.run(["/bin/rm", "-rf", tmp_path / ("d" * 200)], check=True)

    def test_what_has_no_content_that_stays(self, tmp_path: Path) -> None:
        """A FIFO or a socket that is met is told, and nothing is missed; one that is named may be."""
        os.mkfifo(tmp_path / "fifo")
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
            server.bind("socket")
            assert walked(tmp_path)[1:] == [
                Unreadable(str(tmp_path / "fifo"), NOT_REGULAR, matters=False),
                Unreadable(str(tmp_path / "socket"), NOT_REGULAR, matters=False),
            ]
            assert walked(tmp_path / "fifo") == [Unreadable(str(tmp_path / "fifo"), NOT_REGULAR)]

    @pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
    def test_devices(self, device: str) -> None:
        """They are never read."""
        assert walked(device) == [Unreadable(device, NOT_REGULAR)]

    def test_a_repository(self, tmp_path: Path) -> None:
        """What git keeps is looked at as files too: what only looks like a repository hides nothing."""
        names = ("HEAD", "refs/x", "objects/ab/cd", "objects/pack/pack", "objects/notes.txt")
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        paths = {each.path.removeprefix(f"{tmp_path}/") for each in walked(tmp_path)}
        assert paths >= {*names}

    def test_a_directory_that_vanishes(self, tmp_path: Path) -> None:
        """It is told, and the rest is looked at."""
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        walking = map(told, walk([str(tmp_path)]))
        assert next(walking) == Entry(str(tmp_path), Kind.DIRECTORY)
        assert next(walking) == Entry(str(tmp_path / "a"), Kind.DIRECTORY)
        (tmp_path / "b").rmdir()
        assert [*walking] == [Unreadable(str(tmp_path / "b"), NOT_THERE)]

    def test_what_may_not_be_read(self, tmp_path: Path) -> None:
        """It is told, and the rest is looked at."""
        if os.geteuid():
            pytest.skip("it takes root to become somebody else")
        for name in ("closed/file", "file", "open"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"content")
        (tmp_path / "closed").chmod(0o700)
        (tmp_path / "file").chmod(0o600)
        tmp_path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", READS_AS_ANOTHER, "."],
            env=clean_environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        assert done.stdout.splitlines() == [
            "DIRECTORY .",
            DENIED,
            "b'content'",
            "DIRECTORY ./closed",
            DENIED,
        ]

    def test_names_are_sorted_whatever_the_file_system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The order is the same each time."""
        for name in "cab":
            (tmp_path / name).touch()
        expected = walked(tmp_path)
        scandir = os.scandir

        @contextlib.contextmanager
        def reversed_scandir(path: str) -> Iterator[list[os.DirEntry[str]]]:
            with scandir(path) as entries:
                yield sorted(entries, key=lambda entry: entry.name, reverse=True)

        monkeypatch.setattr(os, "scandir", reversed_scandir)
        assert walked(tmp_path) == expected


class TestContent:
    """What is in a file."""

    @pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
    def test_of_a_file(self, tmp_path: Path, size: int) -> None:
        """It is all of it, in blocks of at most a mebibyte."""
        data = os.urandom(size)
        (tmp_path / "file").write_bytes(data)
        blocks = [*content(str(tmp_path / "file"), Kind.FILE)]
        assert filled(blocks) == data
        assert [len(bytes(block)) for block in blocks] == [BLOCK_BYTES] * (size // BLOCK_BYTES) + [
            size % BLOCK_BYTES
        ] * (size % BLOCK_BYTES > 0)

    @pytest.mark.parametrize("target", [b"nothing", b"two\nlines", b"\xff"])
    def test_of_a_link(self, tmp_path: Path, target: bytes) -> None:
        """It is the path that it leads to."""
        os.symlink(target, os.fsencode(tmp_path / "link"))
        assert read(tmp_path / "link", Kind.LINK) == target

    def test_what_became_something_else(self, tmp_path: Path) -> None:
        """A FIFO that took a file's place is not waited for, and a link that did is not followed."""
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "link").symlink_to("file")
        (tmp_path / "file").touch()
        for name, kind, why in (
            ("fifo", Kind.FILE, NOT_REGULAR),
            ("", Kind.FILE, NOT_REGULAR),
            ("link", Kind.FILE, "it is a link, and nothing is read or written through one"),
            ("file", Kind.LINK, f"it cannot be used: {os.strerror(errno.EINVAL)}"),
        ):
            with pytest.raises(UnreadError, match=f"^{why}$"):
                read(tmp_path / name, kind)

    def test_what_vanished(self, tmp_path: Path) -> None:
        """It is not there."""
        for kind in (Kind.FILE, Kind.LINK):
            with pytest.raises(UnreadError, match=f"^{NOT_THERE}$"):
                read(tmp_path / "gone", kind)

    @pytest.mark.parametrize("change", ["grows", "shrinks", "is-rewritten", "is-emptied"])
    def test_what_changes(self, tmp_path: Path, change: str) -> None:
        """A file that changes while it is read is told, after all that was read of it; one that grows has an end."""
        path = tmp_path / "file"
        path.write_bytes(bytes(2 * BLOCK_BYTES))
        blocks = content(str(path), Kind.FILE)
        assert next(blocks) == bytes(BLOCK_BYTES)
        if change == "grows":
            with open(path, "ab") as file:
                file.write(bytes(10 * BLOCK_BYTES))
        elif change == "is-rewritten":
            with open(path, "r+b") as file:
                file.write(b"new")
            os.utime(path, ns=(0, 0))
        else:
            os.truncate(path, 0 if change == "is-emptied" else BLOCK_BYTES + 1)
        left = {"grows": [BLOCK_BYTES], "is-rewritten": [BLOCK_BYTES], "shrinks": [1], "is-emptied": []}[change]
        for size in left:
            assert next(blocks) == bytes(size)
        with pytest.raises(UnreadError, match=r"^it changed while it was read$"):
            next(blocks)

    @pytest.mark.parametrize(
        ("offsets", "size"),
        [((), 5), ((0,), 3), ((4,), 5), ((0, 4), 5), ((2,), 5), ((0, 1, 3, 6, 7, 9), 12)],
        ids=["one-hole", "hole-at-the-end", "hole-at-the-start", "between", "around", "several"],
    )
    def test_holes(self, sparse: Path, offsets: tuple[int, ...], size: int) -> None:
        """What a file has no data for is not read, and stands for as many zero bytes."""
        put_at(sparse, *(each * BLOCK_BYTES for each in offsets))
        os.truncate(sparse, size * BLOCK_BYTES - 7)
        blocks = [*content(str(sparse), Kind.FILE)]
        assert filled(blocks) == sparse.read_bytes()
        assert sum(len(block) for block in blocks if isinstance(block, bytes)) in {
            len(offsets) * BLOCK_BYTES,
            len(offsets) * BLOCK_BYTES - 7,
        }

    def test_a_file_that_is_one_hole(self, sparse: Path) -> None:
        """However large it is, there is nothing to read."""
        os.truncate(sparse, 64 << 30)
        assert [*content(str(sparse), Kind.FILE)] == [64 << 30]

    @pytest.mark.parametrize("platform", ["without-holes", "file-system-without-holes"])
    def test_holes_that_are_not_told(self, sparse: Path, monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
        """Where nothing tells of holes, a file is read as a whole."""
        put_at(sparse, BLOCK_BYTES)
        os.truncate(sparse, 3 * BLOCK_BYTES)
        if platform == "without-holes":
            monkeypatch.delattr(os, "SEEK_DATA")
        else:
            lseek = os.lseek

            def without_holes(descriptor: int, at: int, how: int) -> int:
                if how in {os.SEEK_DATA, os.SEEK_HOLE}:
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
                return lseek(descriptor, at, how)

            monkeypatch.setattr(os, "lseek", without_holes)
        blocks = [*content(str(sparse), Kind.FILE)]
        assert blocks == [bytes(BLOCK_BYTES), b"x" * BLOCK_BYTES, bytes(BLOCK_BYTES)]

    @pytest.mark.parametrize("change", ["grows", "shrinks", "is-emptied", "is-filled"])
    def test_a_hole_that_changes(self, sparse: Path, change: str) -> None:
        """A sparse file that changes while it is read is told as any other."""
        put_at(sparse, 0)
        os.truncate(sparse, 9 * BLOCK_BYTES)
        os.utime(sparse, ns=(0, 0))
        blocks = content(str(sparse), Kind.FILE)
        assert next(blocks) == b"x" * BLOCK_BYTES
        if change == "is-filled":
            put_at(sparse, 3 * BLOCK_BYTES)
        else:
            os.truncate(sparse, {"grows": 20, "shrinks": 5, "is-emptied": 0}[change] * BLOCK_BYTES)
        with pytest.raises(UnreadError, match=r"^it changed while it was read$"):
            filled(blocks)

    def test_a_file_without_a_size(self) -> None:
        """What says that it is empty and is not is told: of /proc nothing is looked at and nothing is taken as read."""
        if not os.path.exists("/proc/self/environ"):
            pytest.skip("there is no /proc")
        with pytest.raises(UnreadError, match=r"^it changed while it was read$"):
            [*content("/proc/self/environ", Kind.FILE)]

    def test_the_descriptor_is_given_back(self, tmp_path: Path) -> None:
        """Whether all was read, or not."""
        (tmp_path / "file").write_bytes(bytes(3 * BLOCK_BYTES))
        os.mkfifo(tmp_path / "fifo")
        before = os.open(tmp_path, os.O_RDONLY)
        os.close(before)
        blocks = content(str(tmp_path / "file"), Kind.FILE)
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
        read(tmp_path / "file")
        for path in (tmp_path, tmp_path / "fifo"):
            with contextlib.suppress(UnreadError):
                read(path)
        after = os.open(tmp_path, os.O_RDONLY)
        os.close(after)
        assert after == before

    def test_what_is_read_changes_nothing(self, tmp_path: Path) -> None:
        """A file is as it was."""
        (tmp_path / "file").write_bytes(b"content")
        (tmp_path / "file").chmod(0o400)
        before = (tmp_path / "file").stat()
        assert read(tmp_path / "file") == b"content"
        after = (tmp_path / "file").stat()
        assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
