"""What git keeps: every object, by one `git cat-file`; and which commits and paths carry it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from contextlib import contextmanager, suppress
from glob import escape, glob
from typing import TYPE_CHECKING, Final, NoReturn, cast

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from io import BufferedReader, BufferedWriter
    from typing import TypeAlias

    Object: TypeAlias = tuple[str, str, Iterator[bytes]]
    """The name of an object, its kind, and its content in blocks, to be read before the next object."""

DOT_GIT: Final = ".git"
"""What a repository has in its work tree."""
TOO_EARLY: Final = "git ended before all was read"
MISSING: Final = "missing"
"""The kind of an object of which git has the name alone."""

_ANSWER_SECONDS: Final = 30.0
"""How long git may take for a short answer: its settings may lead to a pipe, which it would wait for."""
_SUBMODULE: Final = b"160000"
# Nothing that a repository's own configuration names is run, nothing is fetched, and nothing is written.
_SETTINGS: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # older versions do not know the one before
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# The path alone selects the repository, whatever hook this runs in.
_WITHHELD: Final = ("ROBODJ_", "GIT_TRACE", "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX")
_SAFE: Final = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
_RAW: Final = ("--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "-z")
_COMMIT: Final = b"commit "


def work_tree_of(directory: str) -> str | None:
    """Return the top of the work tree that a directory is in, without git; `None` for git's own directory."""
    here = os.path.realpath(directory)
    while not os.path.lexists(os.path.join(here, DOT_GIT)):
        here, before = os.path.dirname(here), here
        if here == before or os.path.basename(before) == DOT_GIT:
            return None
    return here


class Repository:
    """The git repository that a directory is in. It, and whatever it yields, may end in an `UnreadError`.

    `directories` are git's own, that of a linked work tree first. `top` is the work tree's directory, or git's own
    where there is none. Git gets neither RoboDJ's variables nor the `withheld` ones: it needs no key.
    """

    def __init__(self, directory: str, withheld: Collection[str]) -> None:
        self._environment = {
            name: value for name, value in os.environ.items() if name not in withheld and not name.startswith(_WITHHELD)
        } | _SETTINGS
        self.top = directory
        kept = (os.fsdecode(self._asked(each)) for each in ("--git-dir", "--git-common-dir"))
        paths = (os.path.normpath(os.path.join(os.path.realpath(directory), each)) for each in kept)
        self.directories = tuple(dict.fromkeys(map(_near, paths)))
        if any(map(_keeps_waiting, self.directories)):
            _raise_unread("a pipe or a device lies where git keeps its files, and git would wait for it")
        self.has_work_tree = self._asked("--is-inside-work-tree") == b"true"
        self.top = os.fsdecode(self._asked("--show-toplevel")) if self.has_work_tree else self.directories[0]

    def limits(self) -> Iterator[str]:
        """Yield why its history may not be all here."""
        if self._asked("--is-shallow-repository") == b"true":
            yield "this is a shallow clone, without the rest of its history: git fetch --unshallow"
        if any(os.path.isdir(os.path.join(each, "reftable")) for each in self.directories):
            yield "its reflogs are in reftables, which are compressed and were not looked into"
        if any(glob(os.path.join(escape(each), "objects", "pack", "*.promisor")) for each in self.directories):
            yield "this is a partial clone, without all of its objects: git fetch --refetch --no-filter"

    def index(self) -> Iterator[tuple[str, str]]:
        """Yield every file in the index: its object's name, and its path."""
        return ((name, path) for mode, name, _, path in self._entries() if mode != _SUBMODULE)

    def submodules(self) -> Iterator[str]:
        """Yield the path of every submodule."""
        return (path for mode, _, _, path in self._entries() if mode == _SUBMODULE)

    def staged(self) -> Iterator[tuple[str, str]]:
        """Yield every file that the next commit adds or changes, or that is not merged: its object, and its path."""
        parts = self._parts("diff", "--cached", "--ignore-submodules=none", *_RAW)
        for meta in parts:
            yield from _put(meta, next(parts))
        yield from ((name, path) for _, name, stage, path in self._entries() if stage != b"0")

    def history(self) -> Iterator[tuple[str, str | None, str]]:
        """Yield every object that is put at a path: its name, the commit, which is `None` for the index, and the path.

        Stashes and what a reflog leads to are commits as any other.
        """
        yield from ((name, None, path) for name, path in self.index())
        commit = ""
        parts = self._parts("log", "--all", "--reflog", "--root", "-c", *_RAW, f"--format={_COMMIT.decode()}%H")
        for part in parts:
            if part.startswith(_COMMIT):
                commit = part.removeprefix(_COMMIT).decode()
            elif meta := part.lstrip(b"\n"):
                yield from ((name, commit, path) for name, path in _put(meta, next(parts)))

    def objects(self, names: Iterable[str] | None = None) -> Iterator[Object]:
        """Yield the objects of some names; otherwise all that there are, whether anything leads to them or not."""
        every = ("--batch-all-objects", "--unordered", "--buffer") if names is None else ()
        with self._started("cat-file", "--batch", *every) as (stdout, stdin):
            if names is None:
                while header := stdout.readline():
                    yield from _object(header, stdout)
            else:
                for name in names:  # one after the other: neither side waits for a pipe that is full
                    stdin.write(f"{name}\n".encode())
                    stdin.flush()
                    yield from _object(stdout.readline(), stdout)

    def _entries(self) -> Iterator[tuple[bytes, str, bytes, str]]:
        """Yield the entries of the index: the mode, the object's name, the stage and the path."""
        if self.has_work_tree:
            for entry in self._parts("ls-files", "--stage", "-z"):
                meta, _, path = entry.partition(b"\t")
                mode, name, stage = meta.split(b" ")
                yield mode, name.decode(), stage, os.fsdecode(path)

    def _asked(self, *options: str) -> bytes:
        with self._process("rev-parse", *options) as process:
            try:
                answer, _ = process.communicate(timeout=_ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                _raise_unread(
                    f"git has not answered for {_ANSWER_SECONDS:g} seconds: a pipe may lie where its settings are"
                )
        if process.returncode:
            _raise_unread(
                f"there is no repository, or git refuses it (status {process.returncode}): git status says why"
            )
        return answer.removesuffix(b"\n")

    def _parts(self, *arguments: str) -> Iterator[bytes]:
        """Yield what a command writes, which ends each part with a zero byte."""
        with self._started(*arguments) as (stdout, _):
            begun = b""
            while read := stdout.read1(BLOCK_BYTES):
                *parts, begun = (begun + read).split(b"\0")
                yield from parts

    @contextmanager
    def _started(self, *arguments: str) -> Iterator[tuple[BufferedReader, BufferedWriter]]:
        """Run git, and yield its stdout and its stdin."""
        with self._process(*arguments) as process:
            stdin = cast("BufferedWriter", process.stdin)
            try:
                yield cast("BufferedReader", process.stdout), stdin
                stdin.close()
            except BaseException as error:
                process.kill()
                if isinstance(error, OSError):  # a broken pipe; on Windows an invalid argument
                    _raise_unread(TOO_EARLY)
                raise
            finally:
                with suppress(OSError):
                    stdin.close()
        if process.returncode:
            _raise_unread(f"git {arguments[0]} has failed (status {process.returncode}): git fsck says why")

    def _process(self, *arguments: str) -> subprocess.Popen[bytes]:
        with suppress(OSError):
            if program := shutil.which("git"):
                return subprocess.Popen(  # noqa: S603 - git, with no argument that somebody gave
                    ["git", "--no-pager", *_SAFE, *arguments],  # noqa: S607 - the next line selects which one
                    executable=os.path.abspath(program),  # it is searched for from here, not from the repository
                    cwd=_Unshown(self.top),
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
        msg = "git cannot be run"
        raise UnreadError(msg)


def _raise_unread(why: str) -> NoReturn:
    raise UnreadError(why) from None


class _Unshown:
    """A path that neither the process list nor what traces the start of programs shows: a name in it may hold a key."""

    def __init__(self, path: str) -> None:
        self._reveal: Callable[[], str] = lambda: path

    def __fspath__(self) -> str:
        return self._reveal()


def _near(path: str) -> str:
    """Return a path relative to the working directory if it is below that, otherwise as it is."""
    with suppress(OSError, ValueError):  # the working directory is deleted, or on another drive of Windows
        if not (near := os.path.relpath(path)).startswith(os.pardir):
            return near
    return path


def _keeps_waiting(directory: str) -> bool:
    """Whether a pipe or a device lies in a directory whose files git opens. Its own socket it does not open."""
    for here, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                mode = os.stat(os.path.join(here, name)).st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
                    return True
    return False


def _put(meta: bytes, path: bytes) -> Iterator[tuple[str, str]]:
    """Yield the object that a change puts at a path, if it is a file's."""
    fields = meta.lstrip(b":").split(b" ")  # the modes and the names before and after, of several parents in a merge
    mode, name = fields[len(fields) // 2 - 1], fields[-2]
    if mode != _SUBMODULE and name.strip(b"0"):
        yield name.decode(), os.fsdecode(path)


def _object(header: bytes, stream: BufferedReader) -> Iterator[Object]:
    """Yield the object whose header was read, and leave the stream behind it."""
    name, kind, *size = header.decode().split() or ("", "")
    if not name:
        _raise_unread(TOO_EARLY)
    content = _content(stream, int(size[0])) if size else iter(())
    yield name, kind, content
    for _ in content:  # what was not read
        pass


def _content(stream: BufferedReader, size: int) -> Iterator[bytes]:
    while size:
        block = stream.read(min(size, BLOCK_BYTES))
        if not block:
            _raise_unread(TOO_EARLY)
        size -= len(block)
        yield block
    stream.read(1)  # the end of the line
