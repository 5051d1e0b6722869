"""One bounded read of a small file, and who could have written the file."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import as_user, clean_environment, posix_only, put, raising, root_only
from mounts import run_with_mounts

from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.file_reader import (
    path_faults,
    read_most,
    read_text_file,
    text_of,
)
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
)

MOST = 64
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a file in a directory that nobody else can write."""
    (tmp_path / "config").mkdir(mode=0o755)
    return tmp_path / "config" / "file"


def seen(path: Path) -> TextFile:
    """Return the result of the read."""
    return read_text_file(str(path), most=MOST)


def lines(content: str) -> list[str]:
    """Return the lines of a readable file."""
    text = text_of(content.encode())
    assert text == TextFile(empty=text.empty, lines=text.lines, numbers=text.numbers)
    return [line.get_secret_value() for line in text.lines]


class TestLines:
    """The lines of a file."""

    @pytest.mark.parametrize(
        "content", ["a", "a\n", "a\r\n", "\ufeffa\n", "# b\n\n  a\t \r\n# c", "\ufeff# b\r\na\r\n\t# c\r\n", " \n a"]
    )
    def test_one_line_remains(self, content: str) -> None:
        """Comments, blanks, a byte-order mark and Windows line ends do not matter."""
        assert lines(content) == ["a"]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("", []),
            ("\n\n", []),
            ("# b\n  \n\t# c\r\n", []),
            ("a\nb", ["a", "b"]),
            ("a\r\r\n", ["a\r"]),
            ("a # b", ["a # b"]),
            ("a\0", ["a\0"]),
            ("\f\n", ["\f"]),
            ("\ufeff\ufeffa", ["\ufeffa"]),
            *((f"# b{end}a", [f"# b{end}a"]) for end in "\r\x0b\x0c\x1e\x85\u2028\u2029"),
        ],
    )
    def test_what_remains(self, content: str, expected: list[str]) -> None:
        """Only a newline ends a line. Text with another line break in it is not a comment."""
        assert lines(content) == expected

    @pytest.mark.parametrize(
        ("content", "numbers"),
        [
            ("", ()),
            ("# b\n\n", ()),
            ("a", (1,)),
            ("a\nb\n", (1, 2)),
            ("\n# c\n \t\na\n\n#\nb", (4, 7)),
            ("# c\r\na\r\n\r\nb\r\n", (2, 4)),
            ("\ufeffa\nb", (1, 2)),
            ("\ufeff# c\na", (2,)),
            ("a\rb\nc", (1, 2)),
        ],
    )
    def test_numbers(self, content: str, numbers: tuple[int, ...]) -> None:
        """Each line has its number in the file, from 1. Blank lines and comments are counted, as in an editor."""
        text = text_of(content.encode())
        assert (text.numbers, len(text.lines)) == (numbers, len(numbers))

    @pytest.mark.parametrize("content", ["a".encode("utf-16"), b"\xfe\xff\0a", b"a\xff"])
    @pytest.mark.parametrize("is_whole", [True, False])
    def test_other_encodings(self, content: bytes, *, is_whole: bool) -> None:
        """Content that is not UTF-8, such as UTF-16, is refused."""
        assert text_of(content, is_whole=is_whole) == TextFile(unreadable=(NOT_UTF_8,))

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("#a", "#a"),
            (" a\t\n", " a\t"),
            ("a\r\n", "a"),
            ("a\r", "a\r"),
            ("a\n\r\n", "a\n"),
            ("\ufeffa\n\n", "a\n"),
            ("\n# b\r\na\n", "\n# b\r\na"),
            ("\ufeff \r\n\n", None),
            ("", None),
        ],
    )
    def test_a_whole_text(self, content: str, expected: str | None) -> None:
        """A whole text loses a byte-order mark and one last newline, and nothing else. A text of blanks is none."""
        text = text_of(content.encode(), is_whole=True)
        assert text == (TextFile(empty=False, lines=(SealedStr(expected),), numbers=(1,)) if expected else NO_TEXT)


class TestContent:
    """The result of one read."""

    def test_a_good_file(self, path: Path) -> None:
        """A file that only its owner can write has its lines, and no fault."""
        file = seen(put(path, "# b\na\n"))
        assert [line.get_secret_value() for line in file.lines] == ["a"]
        assert file._replace(lines=()) == TextFile(exists=True, empty=False, numbers=(2,))
        assert file.unsafe == ()

    @pytest.mark.parametrize(
        ("content", "empty"), [("", True), ("\n \t\r\n", True), ("\ufeff", True), ("#", False), ("a", False)]
    )
    def test_an_empty_file(self, path: Path, content: str, *, empty: bool) -> None:
        """A file of blanks is empty. A comment is a line."""
        assert seen(put(path, content)).empty is empty

    @pytest.mark.parametrize(("size", "unreadable"), [(MOST, ()), (MOST + 1, (TOO_LARGE.format(MOST),))])
    def test_size(self, path: Path, size: int, unreadable: tuple[str, ...]) -> None:
        """A file of the maximum size is read, and a larger one is not."""
        file = seen(put(path, "a" * size))
        assert (file.unreadable, len(file.lines)) == (unreadable, 0 if unreadable else 1)

    def test_a_missing_file(self, path: Path) -> None:
        """For a missing file, and a path below a plain file, the result is empty."""
        assert seen(path) == seen(put(path) / "file") == NO_TEXT
        assert (NO_TEXT.exists, NO_TEXT.dangling, NO_TEXT.empty, NO_TEXT.misnamed) == (False, False, True, False)

    def test_a_second_ending(self, path: Path) -> None:
        """A file with the same name and `.txt` is reported, whatever the state of the file itself."""
        put(path.with_name("file.txt"))
        assert seen(path) == TextFile(misnamed=True)
        assert seen(put(path)).misnamed
        path.with_name("file.txt").unlink()
        assert not seen(path).misnamed

    @posix_only
    def test_a_second_ending_of_links(self, path: Path) -> None:
        """Either of the two may be a link to nothing."""
        path.symlink_to("nowhere")
        path.with_name("file.txt").symlink_to("nowhere")
        assert seen(path) == TextFile(dangling=True, misnamed=True)

    @posix_only
    def test_not_a_regular_file(self, path: Path) -> None:
        """A directory, a FIFO without a writer and an endless device are refused at once."""
        path.mkdir()
        assert seen(path).unreadable == (NOT_REGULAR,)
        path.rmdir()
        os.mkfifo(path, 0o600)
        assert seen(path).unreadable == (NOT_REGULAR,)
        path.unlink()
        path.symlink_to("/dev/zero")
        assert seen(path).unsafe[:2] == (NOT_REGULAR, WRITABLE)

    @posix_only
    def test_what_cannot_be_opened(self, path: Path) -> None:
        """A link to itself exists and cannot be read."""
        path.symlink_to("file")
        assert seen(path) == TextFile(exists=True, unreadable=(CANNOT_BE_READ,))

    @posix_only
    @pytest.mark.parametrize("mode", [0o000, 0o200])
    @pytest.mark.parametrize("locked", ["file", "directory"])
    def test_not_permitted(self, path: Path, monkeypatch: pytest.MonkeyPatch, locked: str, mode: int) -> None:
        """An existing file that this user may not read is reported as such."""
        put(path)
        monkeypatch.chdir(path.parent.parent)
        path.parent.parent.chmod(0o755)
        closed = path if locked == "file" else path.parent
        closed.chmod(mode)
        with as_user(NOBODY):
            file = read_text_file("config/file", most=MOST)
        closed.chmod(0o700)
        assert file == TextFile(exists=True, unreadable=(NOT_ALLOWED,))

    @posix_only
    def test_a_path_that_cannot_be_judged(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the path of an open file vanishes, the file is unreadable."""
        path.symlink_to(put(path.with_name("target")))
        monkeypatch.setattr("robodj_secretguard.startup.file_reader.os.readlink", raising(PermissionError()))
        assert seen(path) == TextFile(exists=True, unreadable=(CANNOT_BE_READ,))

    @pytest.mark.parametrize("more", ["b", ""])
    def test_a_change_while_it_is_read(self, path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
        """A file that is written between two reads is refused, even if its size is the same."""
        put(path)
        read = os.read

        def read_and_write(descriptor: int, size: int) -> bytes:
            content = read(descriptor, size)
            os.utime(put(path, f"xext{more}"), (1, 1))
            return content

        monkeypatch.setattr("robodj_secretguard.startup.file_reader.os.read", read_and_write)
        file = seen(path)
        assert (file.unreadable, file.lines) == ((CHANGED,), ())

    def test_short_reads(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A short read is continued, up to the maximum size."""
        with put(path, "0123456789").open("rb") as file:
            read = os.read
            monkeypatch.setattr(
                "robodj_secretguard.startup.file_reader.os.read", lambda number, most: read(number, min(most, 3))
            )
            assert [read_most(file.fileno(), most) for most in (7, 9)] == [b"0123456", b"789"]


@posix_only
class TestModes:
    """The users who could have written a file, by the modes of the file and its directories."""

    @pytest.mark.parametrize(
        ("mode", "exposed", "lax"),
        [
            (0o600, [], []),
            (0o400, [], []),
            (0o640, [], []),
            (0o602, [WRITABLE], []),
            (0o620, [], [GROUP_WRITABLE]),
            (0o604, [], [READABLE]),
            (0o666, [WRITABLE], [READABLE, GROUP_WRITABLE]),
        ],
    )
    def test_of_the_file(self, path: Path, mode: int, exposed: list[str], lax: list[str]) -> None:
        """A file that others can write is exposed. A file that others can read, or its group write, is lax."""
        file = seen(put(path, mode=mode))
        assert ([*file.exposed], [*file.lax]) == (exposed, lax)
        assert file.unsafe == file.exposed

    @pytest.mark.parametrize(("mode", "exposed"), [(0o777, [IN_WRITABLE]), (0o1777, []), (0o775, [])])
    def test_of_its_directory(self, path: Path, mode: int, exposed: list[str]) -> None:
        """Others can replace a file in a directory that they can write, unless the directory is sticky."""
        put(path).parent.chmod(mode)
        assert [*seen(path).exposed] == exposed
        assert path_faults(str(path.parent)).exposed == ()

    def test_every_reason(self, path: Path) -> None:
        """Each reason is reported once, and that of the content first."""
        put(path, b"\xff", 0o666).parent.chmod(0o777)
        assert seen(path).unsafe == (NOT_UTF_8, WRITABLE, IN_WRITABLE)

    @pytest.mark.parametrize("level", ["parent", "link", "middle", "there", "absolute"])
    def test_of_every_directory_of_the_path(self, path: Path, tmp_path: Path, level: str) -> None:
        """A user who can rename a directory above a file, or replace a link on its path, could write the file."""
        for name in ("there", "middle"):
            (tmp_path / name).mkdir(mode=0o755)
        target = put(tmp_path / "there" / "file")
        (tmp_path / "middle" / "link").symlink_to(target if level == "absolute" else "../there/file")
        path.symlink_to("../middle/link")
        open_to_all = {"parent": tmp_path, "link": path.parent, "middle": tmp_path / "middle"}.get(level, target.parent)
        for mode, exposed in (
            (0o755, ()),
            (0o777, (IN_WRITABLE if level == "link" else BELOW_WRITABLE,)),
            (0o1777, ()),
        ):
            open_to_all.chmod(mode)
            assert seen(path).exposed == exposed

    def test_of_a_link_to_the_directory(self, path: Path, tmp_path: Path) -> None:
        """A directory in which a link to the config directory can be replaced counts too."""
        put(path)
        (tmp_path / "middle").mkdir(mode=0o755)
        (tmp_path / "middle" / "second").symlink_to("../config/../config/.")
        (tmp_path / "first").symlink_to("middle/second")
        assert seen(tmp_path / "first" / "file").exposed == ()
        (tmp_path / "middle").chmod(0o777)
        assert seen(tmp_path / "first" / "file").exposed == (BELOW_WRITABLE,)

    def test_of_too_many_links(self, tmp_path: Path) -> None:
        """Exactly 40 links are followed, as on Linux: somebody may add links meanwhile."""
        for number in range(41):
            (tmp_path / f"link{number}").symlink_to(f"link{number - 1}" if number else "nowhere")
        assert path_faults(str(tmp_path / "link39")).exposed == ()
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            path_faults(str(tmp_path / "link40"))

    def test_of_a_relative_path(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The working directory and its parents are on the way to a relative path."""
        put(path)
        monkeypatch.chdir(path.parent)
        assert read_text_file("file", most=MOST).exposed == ()
        tmp_path.chmod(0o777)
        assert read_text_file("file", most=MOST).exposed == (BELOW_WRITABLE,)

    def test_of_a_read_only_mount(self, path: Path, tmp_path: Path) -> None:
        """Nobody can write to a read-only mount of root's. Its file and directory with mode 0777 are only lax."""
        put(path, mode=0o777).parent.chmod(0o777)
        shown = "f = read_text_file('config/file', most=9); print(f.exposed, f.lax_paths)"
        script = f"from robodj_secretguard.startup.file_reader import read_text_file; {shown}"
        mounts = [f"mount --bind {path.parent} {path.parent}", f"mount -o remount,bind,ro {path.parent}"]
        ran = run_with_mounts(mounts, [sys.executable, "-c", script], env=clean_environment(), cwd=tmp_path)
        assert ran.out == f"() ('{WRITABLE}', '{IN_WRITABLE}')\n"

    @root_only
    @pytest.mark.parametrize("owner", [0, 1, NOBODY])
    def test_the_owner_of_a_read_only_mount(self, path: Path, monkeypatch: pytest.MonkeyPatch, owner: int) -> None:
        """The owner of a mounted directory can write its source elsewhere. Only root's directory is merely lax."""
        put(path, mode=0o777).parent.chmod(0o777)
        os.chown(path, owner, -1)
        os.chown(path.parent, owner, -1)
        monkeypatch.setattr(
            "robodj_secretguard.startup.file_reader.os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY)
        )
        faults = (WRITABLE, IN_WRITABLE)
        expected = (faults, ()) if owner else ((), faults)
        assert (seen(path).exposed, seen(path).lax_paths) == expected

    def test_modes_are_not_judged_on_windows(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """POSIX modes and owners mean nothing on Windows."""
        monkeypatch.setattr("robodj_secretguard.startup.file_reader.POSIX", False)
        file = seen(put(path, mode=0o666))
        assert (file.unsafe, file.lax) == ((), ())


@root_only
class TestOwners:
    """The owners of a file and its directories."""

    @pytest.mark.parametrize(
        ("owner", "user", "is_ours"), [(12345, 0, False), (12345, 12346, False), (12345, 12345, True), (0, 12345, True)]
    )
    def test_of_the_file(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, user: int, *, is_ours: bool
    ) -> None:
        """A file belongs to root or to this user, or is lax and foreign."""
        os.chown(put(path), owner, -1)
        monkeypatch.setattr("robodj_secretguard.startup.file_reader.os.geteuid", lambda: user)
        file = seen(path)
        assert file.lax == (() if is_ours else (OWNED,))
        assert file.foreign == (() if is_ours else (OWNED,))

    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_in_a_sticky_directory(self, path: Path, what: str) -> None:
        """A sticky directory protects files of this user. Others can replace a file of another user."""
        put(path)
        sticky, given = (path.parent, path) if what == "file" else (path.parent.parent, path.parent)
        sticky.chmod(0o1777)
        assert seen(path).exposed == ()
        os.chown(given, NOBODY, -1)
        assert seen(path).exposed == (IN_WRITABLE if what == "file" else BELOW_WRITABLE,)

    def test_a_link_in_a_sticky_directory(self, path: Path, tmp_path: Path) -> None:
        """Another user can replace a link of theirs, whoever has its target."""
        path.parent.chmod(0o1777)
        path.symlink_to(put(tmp_path / "target"))
        assert seen(path).exposed == ()
        os.chown(path, NOBODY, -1, follow_symlinks=False)
        assert seen(path).exposed == (IN_WRITABLE,)

    @pytest.mark.parametrize(
        ("owned", "foreign"),
        [
            ("config", IN_OWNED),
            (".", BELOW_OWNED),
        ],
    )
    def test_of_its_directories(self, path: Path, tmp_path: Path, owned: str, foreign: str) -> None:
        """A directory of another user is reported, and so is a file of another user in it."""
        put(path)
        os.chown(tmp_path / owned, NOBODY, -1)
        assert seen(path).foreign == (foreign,)
        os.chown(path, NOBODY, -1)
        assert seen(path).foreign == (OWNED, foreign)

    def test_the_owner_of_the_path_of_an_absent_file_is_judged_on_request(self, path: Path) -> None:
        """Another owner of its directory is reported. A path that does not exist has no owner."""

        def owners(path: Path) -> tuple[str, ...]:
            return read_text_file(str(path), most=MOST, is_absence_judged=True).foreign

        assert owners(path) == owners(path.parent / "below" / "file") == ()
        os.chown(path.parent, NOBODY, -1)
        assert (owners(path), seen(path).foreign) == ((IN_OWNED,), ())
