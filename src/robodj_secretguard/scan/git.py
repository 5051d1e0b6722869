"""Git repositories: every object, from `git cat-file`, and the commits and paths that have it."""

from __future__ import annotations

import os
import select
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from tempfile import TemporaryFile
from typing import IO, Any, Final, TypeAlias, cast

from robodj_secretguard.common.files import read_unlinked
from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import BLOCK_BYTES
from robodj_secretguard.secret.sealed import SealedStr

Placed: TypeAlias = tuple[str, str]
"""The name of an object, and its path."""
Object: TypeAlias = "tuple[str, str, Iterator[bytes]]"
"""The name of an object, its kind, and its content in blocks. Read these before the next object."""

DOT_GIT: Final = ".git"
REPAIR: Final = "run git fsck, and in a partial clone git fetch --refetch --no-filter"
TOO_EARLY: Final = "git exited before everything was read; run git fsck"
MISSING: Final = "missing"  # the kind of an object that git does not have

_ANSWER_SECONDS: Final = 30.0  # for a short answer, as git's configuration can include a pipe, which blocks it
_SILENT_SECONDS: Final = 60.0  # until the next part of a long answer
_NO_ANSWER: Final = "git did not answer within {:g} seconds; remove each pipe that its settings name"
_POINTERS: Final = {".git": "", "commondir": "", "alternates": os.pardir}
"""The files that name directories of git, and what the paths are relative to, from the file's directory."""
_PIPE_BYTES: Final = 1 << 16  # as many as a pipe of Linux holds
_SUBMODULE: Final = b"160000"
# Git runs no program from a repository's configuration, fetches nothing and writes nothing.
_GIT_ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # for versions without GIT_NO_LAZY_FETCH
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# The path alone selects the repository, also in a hook.
_WITHHELD: Final = ("ROBODJ_", "GIT_TRACE", "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX")
_RAW: Final = ("--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "-z")
# Settings of a repository that could name a pipe or a program. They change nothing that is searched.
_OVERRIDES: Final = (
    *("-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "log.mailmap=false"),
    *("-c", "core.excludesFile=", "-c", f"diff.orderFile={os.devnull}"),
)


def work_tree_of(directory: str) -> str | None:
    """Return the top of a directory's work tree, without git; `None` if it has none or is inside `.git`.

    Whether the repository claims to be bare or to have another work tree makes no difference.
    """
    here = os.path.realpath(directory)
    while not os.path.lexists(os.path.join(here, DOT_GIT)):
        here, before = os.path.dirname(here), here
        if here == before or os.path.basename(before) == DOT_GIT:
            return None
    return here


def blocking_file(directory: str) -> str | None:
    """Return the path of a pipe or a device in the directories of git, which could block git; `None` without one."""
    top = work_tree_of(directory)
    if top is None and not os.path.lexists(os.path.join(directory, "HEAD")):
        return None
    ahead = [directory if top is None else os.path.join(top, DOT_GIT)]
    seen: set[tuple[int, int]] = set()
    while ahead:
        here = ahead.pop()
        with suppress(OSError):  # git cannot read it either
            status = os.stat(here)
            kind = stat.S_IFMT(status.st_mode)
            if kind in {stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK}:
                if not os.path.samestat(status, os.stat(os.devnull)):
                    return here
            elif (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                ahead += _named_in(here) if kind == stat.S_IFREG else _paths_in(here)
    return None


def _paths_in(directory: str) -> list[str]:
    """Return the paths in a directory, except files that name no directory."""
    with os.scandir(directory) as entries:
        return [each.path for each in entries if each.name in _POINTERS or not each.is_file(follow_symlinks=False)]


def _named_in(path: str) -> list[str]:
    """Return the directories that a file names."""
    relative_to = _POINTERS.get(os.path.basename(path))
    if relative_to is None:
        return []
    content, _ = read_unlinked(os.path.realpath(path), BLOCK_BYTES)
    lines = os.fsdecode(content).splitlines()
    return [os.path.join(os.path.dirname(path), relative_to, line.removeprefix("gitdir: ")) for line in lines]


class Repository:
    """The git repository that a directory is in. Every method can raise `UnreadError`, also while it yields.

    `directories` are git's own, first that of a linked work tree. `top` is the work tree; without one, git's own
    directory. Git does not get RoboDJ's variables or the `withheld` ones, as it needs no key.
    """

    def __init__(self, directory: str, withheld: Collection[str]) -> None:
        self._environment = {
            name: value for name, value in os.environ.items() if name not in withheld and not name.startswith(_WITHHELD)
        } | _GIT_ENVIRONMENT
        self.top = directory
        self.directories = self._directories()
        work_tree = work_tree_of(directory)
        self.top = work_tree or directory
        self.has_work_tree = work_tree is not None and self._directories() == self.directories
        if self.has_work_tree:
            self._environment["GIT_WORK_TREE"] = self.top
        else:
            self.top = self.directories[0]

    def limits(self) -> Iterator[str]:
        """Yield why the history may be incomplete."""
        if self._asked("rev-parse", "--is-shallow-repository") == b"true":
            yield "this is a shallow clone, without the older history; run git fetch --unshallow"

    def index(self) -> Iterator[Placed]:
        """Yield the object name and the path of every file in the index."""
        return ((name, path) for mode, name, path in self._entries() if mode != _SUBMODULE)

    def submodules(self) -> Iterator[str]:
        """Yield the path of every submodule."""
        return (path for mode, _, path in self._entries() if mode == _SUBMODULE)

    def staged(self) -> Iterator[Placed]:
        """Yield the object and the path of each file that the next commit adds or changes."""
        parts = self._parts("diff", "--cached", "--ignore-submodules=none", *_RAW)
        for meta in parts:
            yield from _put(meta, next(parts))

    def history(self) -> Iterator[tuple[str, str | None, str]]:
        """Yield each object at a path: its name, the commit (`None` for the index) and the path.

        Stashes and the commits in reflogs are included.
        """
        commit = ""
        parts = self._parts("log", "--all", "--reflog", "--root", "-c", *_RAW, "--format=commit %H")
        for part in parts:
            if part.startswith(b"commit "):
                commit = part.removeprefix(b"commit ").decode()
            elif meta := part.lstrip(b"\n"):
                yield from ((name, commit, path) for name, path in _put(meta, next(parts)))
        yield from ((name, None, path) for name, path in self.index())

    def names(self) -> Iterator[str]:
        """Yield the name of every object, including unreachable ones, in the order in which git keeps them."""
        with self._started(
            "cat-file", "--batch-check=%(objectname)", "--batch-all-objects", "--unordered", "--buffer"
        ) as stdout:
            yield from (line.decode().split()[0] for line in stdout)

    def objects(self, names: Iterable[str]) -> Iterator[Object]:
        """Yield the objects with some names."""
        asked = [f"{name}\n".encode() for name in names]
        # A pipe that is full would block git and its reader. A container may have no directory for temporary files.
        memory = getattr(os, "memfd_create", None)
        with open(memory("names"), "w+b") if memory else TemporaryFile() as file:
            file.writelines(asked)
            file.seek(0)
            with self._started("cat-file", "--batch", stdin=file) as stdout:
                for _ in asked:
                    if not (header := stdout.readline()):
                        raise UnreadError(TOO_EARLY)
                    name, kind, *size = header.decode().split()
                    content = _object_content(stdout, int(size[0])) if size else iter(())
                    yield name, kind, content
                    for _ in content:  # the unread rest
                        pass

    def _entries(self) -> Iterator[tuple[bytes, str, str]]:
        """Yield the mode, the object name and the path of each entry of the index."""
        if self.has_work_tree:
            for entry in self._parts("ls-files", "--stage", "-z"):
                meta, _, path = entry.partition(b"\t")
                mode, name, _ = meta.split(b" ")
                yield mode, name.decode(), os.fsdecode(path)

    def _directories(self) -> tuple[str, ...]:
        """Return git's directories, as git finds them at `top`."""
        asked = [self._asked("rev-parse", option) for option in ("--git-dir", "--git-common-dir")]
        return tuple(
            dict.fromkeys(
                os.path.normpath(os.path.join(os.path.realpath(self.top), os.fsdecode(path))) for path in asked
            )
        )

    def _asked(self, *arguments: str) -> bytes:
        with self._process(*arguments) as process:
            try:
                answer, _ = process.communicate(timeout=_ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise UnreadError(_NO_ANSWER.format(_ANSWER_SECONDS)) from None
        if process.returncode:
            raise UnreadError(
                f"there is no repository, or git refuses it (exit status {process.returncode}); run git status"
            )
        return answer.removesuffix(b"\n")

    def _parts(self, *arguments: str) -> Iterator[bytes]:
        """Yield the parts of a command's output, which end with zero bytes."""
        with self._started(*arguments) as stdout:
            begun = b""
            while read := stdout.read1(BLOCK_BYTES):
                *parts, begun = (begun + read).split(b"\0")
                yield from parts

    @contextmanager
    def _started(self, *arguments: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> Iterator[BufferedReader]:
        """Run git, and yield its stdout."""
        with self._process(*arguments, stdin=stdin) as process:
            try:
                stdout = cast("IO[bytes]", process.stdout)
                yield BufferedReader(_Output(stdout.fileno(), closefd=False), _PIPE_BYTES)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise UnreadError(f"git {arguments[0]} failed (exit status {process.returncode}); {REPAIR}")

    def _process(self, *arguments: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        with suppress(OSError):
            if program := shutil.which("git"):
                return subprocess.Popen(  # noqa: S603 - git, with no argument that somebody gave
                    ["git", "--no-pager", *_OVERRIDES, *arguments],  # noqa: S607 - the next line selects which one
                    executable=os.path.abspath(program),  # found from the working directory, not the repository
                    cwd=_SealedPath(self.top),
                    env=self._environment,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
        raise UnreadError("git cannot be run; install it, or add it to PATH")


class _Output(FileIO):
    """The output of git. Except on Windows, a read raises `UnreadError` when git is silent for too long."""

    def readinto(self, buffer: Any) -> int:
        """Read at least one byte, or none at the end."""
        if hasattr(select, "poll"):
            ready = select.poll()
            ready.register(self, select.POLLIN)
            if not ready.poll(_SILENT_SECONDS * 1000):
                raise UnreadError(_NO_ANSWER.format(_SILENT_SECONDS))
        return super().readinto(buffer) or 0


class _SealedPath(SealedStr):
    """A path that audit hooks do not show, since a name in it may hold a key."""

    def __fspath__(self) -> str:
        return self.get_secret_value()


def _put(meta: bytes, path: bytes) -> Iterator[Placed]:
    """Yield the new object of a changed path, if it is a file."""
    fields = meta.lstrip(b":").split(b" ")  # the modes and the names before and after, of several parents in a merge
    mode = fields[len(fields) // 2 - 1]
    name = fields[-2]
    if mode != _SUBMODULE and name.strip(b"0"):
        yield name.decode(), os.fsdecode(path)


def _object_content(stream: BufferedReader, size: int) -> Iterator[bytes]:
    while size:
        block = stream.read(min(size, BLOCK_BYTES))
        if not block:
            raise UnreadError(TOO_EARLY)
        size -= len(block)
        yield block
    stream.read(1)  # the end of the line
