"""What git keeps: every object and where it is put, of any repository, and nothing that a repository names is run."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from conftest import V1, good_keys
from repositories import GIT, SETTINGS, commit, git, made, object_file, put

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import BLOCK_BYTES
from robodj_secretguard.scan.git import MISSING, TOO_EARLY, Repository, work_tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix" or not GIT, reason="git is not here, or names are Windows's")

ODD_NAMES = (
    b"two\nlines",
    b"a\ttab",
    b"\xff\xfe",
    b"   ",
    b"back\\slash",
    b"commit 0",
    b":100644",
    b'"quoted"',
    b"\x1b[2J",
)


def objects(repository: Repository, names: Iterable[str] | None = None) -> dict[str, tuple[str, bytes]]:
    """Return the kind and the content of objects."""
    return {name: (kind, b"".join(content)) for name, kind, content in repository.objects(names)}


@pytest.fixture(autouse=True)
def _fixed_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository without a commit."""
    return made(tmp_path / "repository")


class TestWorkTree:
    """Whether a directory is in one."""

    def test_it_is_told_without_git(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """At its top, below it and through a link it is; beside it, it is not."""
        (top / "a" / "b").mkdir(parents=True)
        (top.parent / "link").symlink_to(top / "a")
        monkeypatch.setenv("PATH", "")
        assert [work_tree_of(str(each)) for each in (top, top / "a" / "b", top.parent / "link")] == [str(top)] * 3
        assert [work_tree_of(str(each)) for each in (top.parent, "/", top / ".git")] == [None] * 3

    def test_a_file_that_says_where_it_is(self, top: Path) -> None:
        """A linked worktree has a file where others have a directory."""
        commit(top)
        git(top, "worktree", "add", "-q", "../linked")
        assert work_tree_of(str(top.parent / "linked")) is not None


class TestRepository:
    """What is one, and where it is."""

    def test_its_top(self, top: Path) -> None:
        """It is the work tree's, from wherever in it."""
        (top / "a").mkdir()
        for each in (top, top / "a"):
            repository = Repository(str(each), ())
            assert (repository.top, repository.directories) == (os.path.realpath(top), (str(top / ".git"),))

    def test_through_a_link(self, top: Path) -> None:
        """Through a link to a directory in it, its own directory is where git says."""
        (top / "a").mkdir()
        (top.parent / "link").symlink_to(top / "a")
        (directory,) = {os.path.realpath(each) for each in Repository(str(top.parent / "link"), ()).directories}
        assert directory == os.path.realpath(top / ".git")

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_of_any_name(self, tmp_path: Path, name: bytes) -> None:
        """A directory may have any name."""
        path = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(path)
        git(tmp_path, "init", "-q", path)
        repository = Repository(os.fsdecode(path), ())
        assert os.fsencode(repository.top) == os.path.realpath(path)
        assert [*repository.index()] == []

    def test_a_linked_worktree(self, top: Path) -> None:
        """It has a directory of its own, and shares another, with all objects."""
        name = put(top, "file", b"content")
        commit(top)
        linked = top.parent / "linked"
        git(top, "worktree", "add", "-q", str(linked))
        repository = Repository(str(linked), ())
        assert repository.top == os.path.realpath(linked)
        assert repository.directories == (str(top / ".git" / "worktrees" / "linked"), str(top / ".git"))
        assert [*repository.index()] == [(name, "file")]
        assert name in objects(repository)

    def test_a_bare_one(self, tmp_path: Path) -> None:
        """It has no work tree and no index, and its history is looked at."""
        bare = made(tmp_path / "bare", "--bare")
        name = git(bare, "hash-object", "-w", "--stdin", given=b"content")
        repository = Repository(str(bare), ())
        assert (repository.top, repository.directories) == (str(bare), (str(bare),))
        assert [*repository.index()] == []
        assert [*repository.history()] == []
        assert objects(repository) == {name: ("blob", b"content")}
        assert [*repository.staged()] == []

    def test_none(self, tmp_path: Path) -> None:
        """What is none is told, without what git says of it."""
        for directory, why in (
            (tmp_path, r"^there is no repository, or git refuses it \(status 128\): git status says why$"),
            (tmp_path / "missing", "^git cannot be run$"),
        ):
            with pytest.raises(UnreadError, match=why):
                Repository(str(directory), ())

    def test_what_only_looks_like_one(self, tmp_path: Path) -> None:
        """So is a `.git` that is none: empty, a file of anything, or a link to itself."""
        for kind in ("directory", "file", "link"):
            directory = tmp_path / kind
            directory.mkdir()
            if kind == "directory":
                (directory / ".git").mkdir()
            elif kind == "file":
                (directory / ".git").touch()
            else:
                (directory / ".git").symlink_to(".git")
            assert work_tree_of(str(directory)) is not None
            with pytest.raises(UnreadError):
                Repository(str(directory), ())

    def test_without_git(self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there is no git, or it may not be run, that is told."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UnreadError, match=r"^git cannot be run$"):
            Repository(str(top), ())
        (tmp_path / "git").touch()
        with pytest.raises(UnreadError, match=r"^git cannot be run$"):
            Repository(str(top), ())

    @pytest.mark.parametrize("name", ["HEAD", "config", "index", "packed-refs", "objects/info/alternates", "refs/x"])
    def test_a_pipe_among_its_files(self, top: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Git would wait for it: it is told instead, at once where git opens it late, else after some seconds."""
        monkeypatch.setattr("robodj_secretguard.scan.git._ANSWER_SECONDS", 0.5)
        (top / ".git" / name).unlink(missing_ok=True)
        os.mkfifo(top / ".git" / name)
        with pytest.raises(UnreadError):
            Repository(str(top), ())

    def test_which_one_is_meant(self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The path says that, and not the variables that git gives to a hook of another repository."""
        other = made(tmp_path / "other")
        monkeypatch.setenv("GIT_DIR", str(other / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(other))
        assert Repository(str(top), ()).top == os.path.realpath(top)

    def test_from_another_drive(self, top: Path) -> None:
        """On Windows, where no path leads from one drive to another, its directory's path is as it is."""
        with patch("os.path.relpath", side_effect=ValueError):
            assert Repository(str(top), ()).directories == (os.path.realpath(top / ".git"),)


class TestWhatGitIsGiven:
    """The environment of git, and what it runs."""

    def test_no_key(self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is given no variable that delivers a key, nor one that makes it write what it does."""
        monkeypatch.setenv(V1, good_keys()[V1])
        monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
        monkeypatch.setenv("GIT_TRACE2_EVENT", str(tmp_path / "trace"))
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\nenv >> {tmp_path}/seen\nexec {GIT} "$@"\n', "ascii")
        (tmp_path / "bin" / "git").chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        commit(top)
        repository = Repository(str(top), (V1,))
        assert len(objects(repository)) == 2
        seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text("ascii").splitlines()}
        assert "PATH" in seen
        assert V1 not in seen
        assert not (tmp_path / "trace").exists()

    def test_nothing_that_a_repository_names_is_run(self, top: Path, tmp_path: Path) -> None:
        """Whatever its configuration and its attributes say, no program is run but git."""
        put(top, "file", b"first")
        put(top, ".gitattributes", b"* diff=own filter=own merge=own\n")
        commit(top)
        put(top, "file", b"second")
        git(top, "stash")
        commit(top)
        put(top, "file", b"third")
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\n", "ascii")
        program.chmod(0o700)
        hooks = tmp_path / "hooks"
        hooks.mkdir()
        for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "pre-auto-gc"):
            (hooks / name).symlink_to(program)
        for name in (
            *("core.fsmonitor", "diff.external", "gpg.program", "core.pager", "pager.log", "pager.diff", "core.editor"),
            *("diff.own.textconv", "diff.own.command", "filter.own.clean", "filter.own.smudge", "filter.own.process"),
            *("merge.own.driver", "core.sshCommand", "core.askPass", "credential.helper", "interactive.diffFilter"),
            *(
                "core.gitProxy",
                "core.alternateRefsCommand",
                "alias.log",
                "alias.cat-file",
                "uploadpack.packObjectsHook",
            ),
        ):
            value = f"!{program}" if name.startswith("alias") else str(program)
            git(top, "config", name, value)
        git(top, "config", "log.showSignature", "true")
        git(top, "config", "core.hooksPath", str(hooks))
        os.utime(top / "file", (0, 0))
        (tmp_path / "ran").unlink(missing_ok=True)  # the last settings were made under the first
        repository = Repository(str(top), ())
        assert ([*repository.limits()], len([*repository.staged()])) == ([], 1)
        assert len([*repository.history()]) > 4
        assert len(objects(repository)) > 8
        assert not (tmp_path / "ran").exists()

    def test_nothing_is_fetched(self, top: Path, tmp_path: Path) -> None:
        """What a partial clone does not have is missing, and whoever has it is not asked."""
        partial, name = partial_clone(top, tmp_path)
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\n", "ascii")
        program.chmod(0o700)
        git(partial, "config", "remote.origin.uploadpack", str(program))
        assert objects(Repository(str(partial), ()), [name]) == {name: (MISSING, b"")}
        assert not (tmp_path / "ran").exists()

    def test_nothing_is_written(self, top: Path) -> None:
        """A repository is as it was, byte for byte."""
        put(top, "file", b"content")
        commit(top)
        os.utime(top / "file", (0, 0))  # git would take note in its index

        def everything() -> dict[str, tuple[int, bytes]]:
            return {
                str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
                for path in sorted((top / ".git").rglob("*"))
            }

        before = everything()
        repository = Repository(str(top), ())
        assert ([*repository.limits()], [*repository.staged()]) == ([], [])
        assert [*repository.history()]
        assert objects(repository)
        assert everything() == before

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("color.ui", "always"),
            ("diff.renames", "copies"),
            ("diff.noprefix", "true"),
            ("diff.relative", "true"),
            ("log.showRoot", "false"),
            ("log.follow", "true"),
            ("log.diffMerges", "off"),
            ("log.abbrevCommit", "true"),
            ("core.abbrev", "4"),
            ("core.quotePath", "true"),
            ("core.logAllRefUpdates", "false"),
            ("format.pretty", "oneline"),
            ("diff.ignoreSubmodules", "all"),
            ("log.decorate", "full"),
        ],
    )
    def test_settings_change_nothing(self, top: Path, setting: str, value: str) -> None:
        """Whatever a repository's configuration says of how git shows things, the same is told."""
        name = put(top, "a/é\n", b"content")
        first = commit(top)
        git(top, "mv", "a/é\n", "b")
        second = commit(top)
        put(top, "c", b"content")
        git(top, "config", setting, value)
        repository = Repository(str(top / "a") if (top / "a").exists() else str(top), ())
        assert [*repository.staged()] == [(name, "c")]
        assert [*repository.history()] == [
            (name, None, "b"),
            (name, None, "c"),
            (name, second, "b"),
            (name, first, "a/é\n"),
        ]


class TestIndex:
    """What is in the index, and what the next commit adds or changes."""

    def test_of_an_unborn_branch(self, top: Path) -> None:
        """Before the first commit, all that is in the index is new."""
        assert ([*Repository(str(top), ()).index()], [*Repository(str(top), ()).staged()]) == ([], [])
        name = put(top, "file", b"content")
        repository = Repository(str(top), ())
        assert [*repository.index()] == [*repository.staged()] == [(name, "file")]
        assert [*repository.history()] == [(name, None, "file")]

    def test_changes(self, top: Path) -> None:
        """What is added, changed, renamed or made a link is; what is deleted or unchanged is not."""
        for name in ("same", "changed", "deleted", "renamed", "link"):
            put(top, name, name.encode())
        commit(top)
        changed, added = put(top, "changed", b"new"), put(top, "added", b"added")
        renamed = git(top, "rev-parse", "HEAD:renamed")
        git(top, "rm", "-q", "deleted")
        git(top, "mv", "renamed", "other")
        (top / "link").unlink()
        (top / "link").symlink_to("target")
        git(top, "add", "link")
        link = git(top, "hash-object", "--stdin", given=b"target")
        (top / "same").write_bytes(b"not staged")
        expected = [(added, "added"), (changed, "changed"), (link, "link"), (renamed, "other")]
        assert [*Repository(str(top), ()).staged()] == expected

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_names(self, top: Path, name: bytes) -> None:
        """A path of any bytes is one, in the index and in the history."""
        blob = put(top, name, b"content")
        repository = Repository(str(top), ())
        expected = (blob, os.fsdecode(name))
        assert [*repository.staged()] == [*repository.index()] == [expected]
        here = commit(top)
        assert [*repository.history()] == [(blob, None, expected[1]), (blob, here, expected[1])]

    def test_intent_to_add(self, top: Path) -> None:
        """What is to be added later has no content yet, and is no change."""
        (top / "file").write_bytes(b"content")
        git(top, "add", "-N", "file")
        repository = Repository(str(top), ())
        assert [*repository.staged()] == []
        ((name, path),) = repository.index()
        assert (path, objects(repository, [name])) == ("file", {name: ("blob", b"")})

    def test_a_conflict(self, top: Path) -> None:
        """Each side of one is in the index, and is looked at as what is staged."""
        base = put(top, "file", b"base\n")
        commit(top)
        git(top, "checkout", "-q", "-b", "other")
        theirs = put(top, "file", b"theirs\n")
        commit(top)
        git(top, "checkout", "-q", "main")
        ours = put(top, "file", b"ours\n")
        commit(top)
        with pytest.raises(subprocess.CalledProcessError):
            git(top, "merge", "-q", "other")
        repository = Repository(str(top), ())
        sides = [(name, "file") for name in (base, ours, theirs)]
        assert [*repository.index()] == sides
        assert [*repository.staged()] == sides

    def test_a_submodule(self, top: Path, tmp_path: Path) -> None:
        """It is a commit of another repository, and no object of this one."""
        other = made(tmp_path / "other")
        put(other, "file", b"content")
        commit(other)
        git(top, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "within")
        repository = Repository(str(top), ())
        assert [path for _, path in repository.index()] == [".gitmodules"]
        assert [path for _, path in repository.staged()] == [".gitmodules"]
        commit(top)
        assert {path for _, _, path in repository.history()} == {".gitmodules"}


class TestHistory:
    """Every commit that carries an object, and the paths."""

    def test_of_branches_merges_stashes_and_reflogs(self, top: Path) -> None:
        """Whatever leads to a commit, what it puts at a path is told with it."""
        blobs, commits = {}, {}
        for number, step in enumerate(("main", "dropped")):
            blobs[step] = put(top, step, bytes([number]))
            commits[step] = commit(top)
        git(top, "reset", "-q", "--hard", "HEAD~")
        git(top, "checkout", "-q", "-b", "other")
        blobs["other"] = put(top, "other", b"other")
        commits["other"] = commit(top)
        git(top, "checkout", "-q", "main")
        put(top, "more", b"more")
        commit(top)
        git(top, "merge", "-q", "--no-commit", "other")
        blobs["merge"] = put(top, "merge", b"put there by the merge alone")
        commits["merge"] = commit(top)
        git(top, "tag", "-a", "-m", "a tag", "v1")
        git(top, "checkout", "-q", "--detach", "HEAD")
        blobs["detached"] = put(top, "detached", b"detached")
        commits["detached"] = commit(top)
        git(top, "checkout", "-q", "main")
        (top / "main").write_bytes(b"stashed")
        (top / "untracked").write_bytes(b"untracked")
        git(top, "stash", "-u")
        carriers = [*Repository(str(top), ()).history()]
        assert all((blobs[step], commits[step], step) in carriers for step in blobs)
        stashed = {path for name, commit_, path in carriers if commit_ and name == blob_of(b"stashed")}
        assert (stashed, blob_of(b"untracked") in {name for name, *_ in carriers}) == ({"main"}, True)

    def test_a_dropped_stash(self, top: Path) -> None:
        """What nothing leads to any more is an object that no commit carries."""
        put(top, "file", b"first")
        commit(top)
        name = put(top, "file", b"stashed")
        git(top, "stash")
        git(top, "stash", "drop")
        repository = Repository(str(top), ())
        assert objects(repository)[name] == ("blob", b"stashed")
        assert name not in {each for each, *_ in repository.history()}

    def test_a_replaced_object(self, top: Path) -> None:
        """An object is its own content, whatever is to be shown in its place."""
        name = put(top, "file", b"as it was")
        commit(top)
        other = git(top, "hash-object", "-w", "--stdin", given=b"harmless")
        git(top, "replace", name, other)
        repository = Repository(str(top), ())
        assert objects(repository, [name]) == {name: ("blob", b"as it was")}
        assert objects(repository)[name] == ("blob", b"as it was")

    def test_in_sha_256(self, tmp_path: Path) -> None:
        """Names of 64 digits are names."""
        top = made(tmp_path / "long", "--object-format=sha256")
        (top / "file").write_bytes(b"content")
        git(top, "add", "file")
        here = commit(top)
        repository = Repository(str(top), ())
        (name, _, _), expected = repository.history()
        assert (len(name), expected) == (64, (name, here, "file"))
        assert objects(repository, [name]) == {name: ("blob", b"content")}


def blob_of(data: bytes) -> str:
    """Return the name of a blob's object."""
    done = subprocess.run([GIT, "hash-object", "--stdin"], input=data, capture_output=True, env=SETTINGS, check=True)
    return done.stdout.decode().strip()


def partial_clone(top: Path, tmp_path: Path) -> tuple[Path, str]:
    """Clone a repository without its blobs, and return the name of one that is missing."""
    name = put(top, "file", b"content")
    commit(top)
    git(top, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--bare", "--filter=blob:none", f"file://{top}", str(partial))
    return partial, name


class TestLimits:
    """Why a history may not be all here."""

    def test_none(self, top: Path) -> None:
        """Of a whole clone, there is none."""
        commit(top)
        assert [*Repository(str(top), ()).limits()] == []

    def test_a_shallow_clone(self, top: Path, tmp_path: Path) -> None:
        """It is told, and what is there is looked at."""
        put(top, "file", b"first")
        commit(top)
        second = put(top, "file", b"second")
        here = commit(top)
        git(tmp_path, "clone", "-q", "--depth=1", f"file://{top}", "shallow")
        repository = Repository(str(tmp_path / "shallow"), ())
        (why,) = repository.limits()
        assert why.startswith("this is a shallow clone")
        assert [*repository.history()] == [(second, None, "file"), (second, here, "file")]

    def test_a_partial_clone(self, top: Path, tmp_path: Path) -> None:
        """It is told, and each object that is not there."""
        partial, name = partial_clone(top, tmp_path)
        repository = Repository(str(partial), ())
        (why,) = repository.limits()
        assert why.startswith("this is a partial clone")
        assert name not in objects(repository)
        assert [path for _, _, path in repository.history()] == ["file"]

    def test_without_packs(self, top: Path) -> None:
        """A repository that has no directory for packs has none."""
        shutil.rmtree(top / ".git" / "objects" / "pack")
        assert [*Repository(str(top), ()).limits()] == []


class TestObjects:
    """Their content."""

    @pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 1])
    @pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
    def test_of_any_size(self, top: Path, size: int, *, packed: bool) -> None:
        """It is all of it, in blocks, of loose objects and of packed ones."""
        data = os.urandom(size)
        name = put(top, "file", data)
        other = put(top, "other", data + b"\n")
        commit(top)
        if packed:
            git(top, "gc", "-q")
        repository = Repository(str(top), ())
        expected = {name: ("blob", data), other: ("blob", data + b"\n")}
        assert objects(repository, [name, other]) == expected
        every = objects(repository)
        assert {each: every[each] for each in expected} == expected
        assert sorted(kind for kind, _ in every.values()) == ["blob", "blob", "commit", "tree"]
        assert all(len(block) <= BLOCK_BYTES for _, _, content in repository.objects() for block in content)

    def test_what_is_not_read(self, top: Path) -> None:
        """A content that was not read, or in part, is passed over."""
        names = [put(top, str(number), os.urandom(BLOCK_BYTES + number)) for number in range(3)]
        for partly in (False, True):
            seen = []
            for name, _, content in Repository(str(top), ()).objects(names):
                seen.append(name)
                if partly:
                    next(content)
            assert seen == names

    def test_many(self, top: Path) -> None:
        """Neither side waits for the other one, however many there are."""
        name = put(top, "file", os.urandom(1000))
        assert sum(1 for _ in Repository(str(top), ()).objects([name] * 5000)) == 5000

    def test_none(self, top: Path) -> None:
        """Of none, none is returned."""
        assert (objects(Repository(str(top), ())), objects(Repository(str(top), ()), [])) == ({}, {})

    def test_a_missing_one(self, top: Path) -> None:
        """It is told, and those after it are looked at."""
        gone, other = put(top, "file", b"content"), put(top, "other", b"other")
        object_file(top, gone).unlink()
        repository = Repository(str(top), ())
        assert objects(repository, [gone, other]) == {gone: (MISSING, b""), other: ("blob", b"other")}

    @pytest.mark.parametrize("names", [True, False], ids=["by-name", "all"])
    @pytest.mark.parametrize("harm", ["empty", "no-object", "cut-short"])
    def test_a_corrupt_one(self, top: Path, harm: str, *, names: bool) -> None:
        """That git gave up is told, whenever it does so."""
        name = put(top, "file", os.urandom(BLOCK_BYTES))
        path = object_file(top, name)
        if harm == "no-object":
            path.write_bytes(b"no object")
        else:
            os.truncate(path, 0 if harm == "empty" else 1 << 19)
        repository = Repository(str(top), ())
        if harm != "cut-short":
            assert objects(repository, [name] if names else None)[name] == (MISSING, b"")
        else:
            with pytest.raises(UnreadError):
                objects(repository, [name] if names else None)

    @pytest.mark.parametrize(
        "says",
        [
            "",
            "exit 3",
            "kill -9 $$",
            "read name",
            "read name; exec 0<&-; echo abc missing; exec sleep 600",
            "printf 'abc blob 10\\n12345'",
            "printf 'abc blob 3\\n'",
        ],
    )
    def test_a_git_that_ends(self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
        """Where it ends before its time, that is told, and nothing is waited for."""
        repository = Repository(str(top), ())
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{says}\n", "ascii")
        (tmp_path / "bin" / "git").chmod(0o700)
        repository._environment["PATH"] = f"{tmp_path}/bin:{os.environ['PATH']}"  # noqa: SLF001 - as it was made
        monkeypatch.setenv("PATH", repository._environment["PATH"])  # noqa: SLF001
        with pytest.raises(UnreadError, match=f"^{TOO_EARLY}$"):
            objects(repository, ["0" * 40] * 3)
        if says.startswith("printf"):
            with pytest.raises(UnreadError, match=f"^{TOO_EARLY}$"):
                objects(repository)
        if says == "exit 3":
            with pytest.raises(UnreadError, match=r"^git cat-file has failed \(status 3\): git fsck says why$"):
                objects(repository)
        assert stat.S_ISDIR((top / ".git").stat().st_mode)

    def test_a_pipe_of_windows(self, top: Path) -> None:
        """There it is no broken pipe, but an invalid argument, that tells that git is gone."""

        def names() -> Iterator[str]:
            yield "0" * 40
            raise OSError(errno.EINVAL, "Invalid argument")

        with pytest.raises(UnreadError, match=f"^{TOO_EARLY}$"):
            objects(Repository(str(top), ()), names())

    def test_who_stops_reading(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Git is ended by who does not want more of it, and by an error in between."""
        put(top, "file", os.urandom(4 * BLOCK_BYTES))
        started: list[subprocess.Popen[bytes]] = []
        popen = subprocess.Popen

        def remembered(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
            started.append(popen(*arguments, **options))  # type: ignore[call-overload]
            return started[-1]

        repository = Repository(str(top), ())
        monkeypatch.setattr(subprocess, "Popen", remembered)
        objects_ = repository.objects()
        next(objects_)
        objects_.close()  # type: ignore[attr-defined]
        with pytest.raises(ZeroDivisionError):
            next(repository.objects(str(1 // 0) for _ in range(1)))
        assert [each.poll() for each in started] == [-9, -9]
