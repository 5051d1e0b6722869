"""The objects that git keeps, and their paths. No program that a repository configures is run."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import V1, good_keys
from repositories import GIT, SETTINGS, commit, git, made, object_file, program, put, replace_git

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import BLOCK_BYTES
from robodj_secretguard.scan.git import MISSING, REPAIR, TOO_EARLY, Repository, blocking_file, work_tree_of

pytestmark = pytest.mark.skipif(os.name != "posix" or not GIT, reason="needs git and POSIX file names")

ODD_NAMES = (b"a\ttab\n", b"\x1b[2J", b"   ", b'"quoted"', b":100644", b"back\\slash", b"commit 0", b"\xff\xfe")
NO_REPOSITORY = r"^there is no repository, or git refuses it \(exit status 128\); run git status$"
NO_GIT = "^git cannot be run; install it, or add it to PATH$"
NO_ANSWER = "^git did not answer within 0.5 seconds; remove each pipe that its settings name$"


def of(directory: Path) -> Repository:
    """Return the repository that a directory is in."""
    return Repository(str(directory), ())


def objects(repository: Repository, names: Iterable[str] | None = None) -> dict[str, tuple[str, bytes]]:
    """Return the kind and the content of objects."""
    asked = repository.names() if names is None else names
    return {name: (kind, b"".join(content)) for name, kind, content in repository.objects(asked)}


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository without a commit."""
    return made(tmp_path / "repository")


class TestRepository:
    """The repository of a directory."""

    def test_the_work_tree_without_git(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The work tree is found from its top, below it and through a link. Git's directory is in no work tree."""
        (top / "a" / "b").mkdir(parents=True)
        (top.parent / "link").symlink_to(top / "a")
        assert of(top.parent / "link").top == str(top)
        monkeypatch.setenv("PATH", "")
        assert [work_tree_of(str(each)) for each in (top, top / "a" / "b", top.parent / "link")] == [str(top)] * 3
        assert [work_tree_of(str(each)) for each in (top.parent, "/", top / ".git")] == [None] * 3

    def test_a_linked_worktree(self, top: Path) -> None:
        """A linked worktree has a separate directory, and shares the directory of the objects."""
        name = put(top, "file", b"content")
        commit(top)
        git(top, "worktree", "add", "-q", "../linked")
        repository = of(top.parent / "linked")
        assert repository.top == work_tree_of(repository.top) == os.path.realpath(top.parent / "linked")
        assert repository.directories == (str(top / ".git" / "worktrees" / "linked"), str(top / ".git"))
        assert ([*repository.index()], name in objects(repository)) == ([(name, "file")], True)

    def test_a_bare_repository(self, tmp_path: Path) -> None:
        """A bare repository has objects, but no work tree and no index."""
        bare = made(tmp_path / "bare", "--bare")
        name = git(bare, "hash-object", "-w", "--stdin", given=b"content")
        repository = of(bare)
        assert (repository.top, repository.directories, repository.has_work_tree) == (str(bare), (str(bare),), False)
        assert [*repository.index(), *repository.history(), *repository.staged(), *repository.submodules()] == []
        assert objects(repository) == {name: ("blob", b"content")}

    def test_no_repository(self, tmp_path: Path) -> None:
        """A directory outside any repository is reported, without git's message."""
        with pytest.raises(UnreadError, match=NO_REPOSITORY):
            of(tmp_path)

    def test_no_git(self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is reported if git cannot start, in a missing directory or because it is not installed."""
        with pytest.raises(UnreadError, match=NO_GIT):
            of(tmp_path / "missing")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UnreadError, match=NO_GIT):
            of(top)

    @pytest.mark.parametrize("setting", ["core.bare=true", "core.worktree=../..", "core.worktree=/tmp"])
    def test_what_it_claims(self, top: Path, setting: str) -> None:
        """Git's directory is in the work tree, even if the repository claims to be bare or to have another one."""
        name = put(top, "config/x.key", b"content")
        git(top, "config", *setting.split("="))
        for each in (top, top / "config"):
            repository = of(each)
            assert (repository.top, repository.has_work_tree) == (os.path.realpath(top), True)
            assert [*repository.index()] == [*repository.staged()] == [(name, "config/x.key")]

    def test_where_git_s_directory_is(self, top: Path) -> None:
        """A `.git` may lead to git's directory, or be that of another repository."""
        (top / "a").mkdir()
        (top / ".git").rename(top.parent / "apart")
        (top / "file").write_text("gitdir: ../apart\n", encoding="ascii")
        (top / ".git").symlink_to("file")
        assert of(top / "a").top == os.path.realpath(top)
        made(top / "bare", "--bare")
        assert (of(top / "bare").top, of(top / "bare").has_work_tree) == (str(top / "bare"), False)

    def test_a_git_that_does_not_answer(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pipe that blocks git before it answers is reported after a time limit."""
        monkeypatch.setattr("robodj_secretguard.scan.git._ANSWER_SECONDS", 0.5)
        (top / ".git" / "HEAD").unlink()
        os.mkfifo(top / ".git" / "HEAD")
        with pytest.raises(UnreadError, match=NO_ANSWER):
            of(top)

    def test_a_git_that_goes_silent(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pipe that blocks git in the middle of a long answer is reported after a time limit."""
        monkeypatch.setattr("robodj_secretguard.scan.git._SILENT_SECONDS", 0.5)
        repository = of(top)
        os.mkfifo(top / ".git" / "packed-refs")
        with pytest.raises(UnreadError, match=NO_ANSWER):
            [*repository.history()]

    def test_a_system_without_poll(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On Windows, where no name of a file is a pipe, git is read without a time limit."""
        name = put(top, "file", b"content")
        repository = of(top)
        monkeypatch.delattr(select, "poll")
        assert [*repository.staged()] == [(name, "file")]

    @pytest.mark.parametrize("setting", [".mailmap", "mailmap.file", "diff.orderFile", "core.excludesFile"])
    def test_a_pipe_that_is_not_needed(self, top: Path, setting: str) -> None:
        """A pipe that a setting of git names is not opened, as nothing that is searched depends on it."""
        name = put(top, "file", b"content")
        commit(top)
        os.mkfifo(top / ".mailmap")
        if setting != ".mailmap":
            git(top, "config", setting, str(top / ".mailmap"))
        repository = of(top)
        assert ([*repository.staged()], [each for each, *_ in repository.history()]) == ([], [name, name])

    def test_the_path_selects_it(self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The path selects the repository, and not the variables that git sets for hooks."""
        other = made(tmp_path / "other")
        monkeypatch.setenv("GIT_DIR", str(other / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(other))
        assert of(top).top == os.path.realpath(top)


class TestBlockingFile:
    """Pipes and devices that could block git are found before it runs."""

    @pytest.mark.parametrize(
        "name", [".git", ".git/HEAD", ".git/index", ".git/a/b/pipe", ".git/objects/info/alternates", ".git/commondir"]
    )
    def test_a_pipe(self, top: Path, name: str) -> None:
        """A pipe is found in place of git's directory and anywhere below it, from any directory of the work tree."""
        (top / "a").mkdir()
        path = top / name
        if path.is_dir():
            path.rename(top / "apart")
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        assert blocking_file(str(top)) == blocking_file(str(top / "a")) == str(path)

    @pytest.mark.parametrize(
        ("target", "is_found"),
        [("/dev/zero", True), ("pipe", True), (os.devnull, False), ("gone", False), (".", False), ("../HEAD", False)],
    )
    def test_a_link(self, top: Path, target: str, *, is_found: bool) -> None:
        """A link counts as what it leads to. Neither the null device nor a link to nothing or to itself blocks git."""
        os.mkfifo(top / "pipe")
        link = top / ".git" / "info" / "exclude"
        link.unlink()
        link.symlink_to(target if target[0] in "/." else top / target)
        assert blocking_file(str(top)) == (str(link) if is_found else None)

    def test_a_socket(self, top: Path) -> None:
        """A socket does not block git. Its daemon that watches files has one."""
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(top):
            server.bind(".git/fsmonitor--daemon.ipc")
            assert blocking_file(str(top)) is None

    def test_directories_elsewhere(self, top: Path) -> None:
        """The directories that git's files name are searched: those of a linked worktree and of further objects."""
        commit(top)
        git(top, "worktree", "add", "-q", "../linked")
        git(top.parent, "clone", "-q", "--shared", str(top), "shared")
        directories = [str(top.parent / name) for name in ("repository", "linked", "shared")]
        assert [*map(blocking_file, directories)] == [None] * 3
        os.mkfifo(top / ".git" / "objects" / "pack" / "pipe")
        found = [os.path.realpath(blocking_file(each) or "") for each in directories]
        assert found == [str(top / ".git" / "objects" / "pack" / "pipe")] * 3

    def test_without_a_work_tree(self, top: Path, tmp_path: Path) -> None:
        """A bare repository is searched, and no directory outside of repositories."""
        os.mkfifo(tmp_path / "pipe")
        bare = made(tmp_path / "bare", "--bare")
        assert [*map(blocking_file, map(str, (tmp_path, bare, top / ".git")))] == [None] * 3
        os.mkfifo(bare / "pipe")
        assert blocking_file(str(bare)) == str(bare / "pipe")


OWN_PROGRAMS = (
    *("core.fsmonitor", "diff.external", "gpg.program", "core.pager", "pager.log", "pager.diff", "core.editor"),
    *("diff.own.textconv", "diff.own.command", "filter.own.clean", "filter.own.smudge", "filter.own.process"),
    *("merge.own.driver", "core.sshCommand", "core.askPass", "credential.helper", "interactive.diffFilter"),
    *("core.gitProxy", "core.alternateRefsCommand", "alias.log", "alias.cat-file", "uploadpack.packObjectsHook"),
)
"""The settings of git that name a program."""
DISPLAY = (
    "color.ui=always diff.renames=copies diff.noprefix=true diff.relative=true log.showRoot=false log.follow=true"
    " log.diffMerges=off log.abbrevCommit=true core.abbrev=4 core.quotePath=true core.logAllRefUpdates=false"
    " format.pretty=oneline diff.ignoreSubmodules=all log.decorate=full"
)
"""Settings that change the output of git."""


class TestSafety:
    """Git gets no key, runs no other program, and writes nothing."""

    def test_no_key(self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Git gets no variable that delivers a key or that makes it write a trace."""
        monkeypatch.setenv(V1, good_keys()[V1])
        monkeypatch.setenv("OTHER", good_keys()[V1])
        monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
        monkeypatch.setenv("GIT_TRACE2_EVENT", str(tmp_path / "trace"))
        commit(top)
        replace_git(monkeypatch, tmp_path, f'env >> {tmp_path}/seen; exec "$GIT" "$@"')
        assert len(objects(Repository(str(top), ("OTHER",)))) == 2
        seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text("ascii").splitlines()}
        assert (seen & {"PATH", V1, "OTHER"}, (tmp_path / "trace").exists()) == ({"PATH"}, False)

    def test_nothing_that_a_repository_names_is_run(self, top: Path, tmp_path: Path) -> None:
        """Only git runs, whatever the repository's configuration and attributes are."""
        put(top, "file", b"first")
        put(top, ".gitattributes", b"* diff=own filter=own merge=own\n")
        commit(top)
        put(top, "file", b"second")
        git(top, "stash")
        commit(top)
        put(top, "file", b"third")
        script = program(tmp_path / "script", f"echo ran >> {tmp_path}/ran")
        (tmp_path / "hooks").mkdir()
        for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "pre-auto-gc"):
            (tmp_path / "hooks" / name).symlink_to(script)
        for name in OWN_PROGRAMS:
            git(top, "config", name, f"!{script}" if name.startswith("alias") else str(script))
        git(top, "config", "log.showSignature", "true")
        git(top, "config", "core.hooksPath", str(tmp_path / "hooks"))
        os.utime(top / "file", (0, 0))
        (tmp_path / "ran").unlink(missing_ok=True)  # git config itself runs hooks of earlier settings
        repository = of(top)
        assert ([*repository.limits()], len([*repository.staged()])) == ([], 1)
        assert len([*repository.history()]) > 4
        assert len(objects(repository)) > 8
        assert not (tmp_path / "ran").exists()

    def test_nothing_is_written(self, top: Path) -> None:
        """A repository is not changed."""
        put(top, "file", b"content")
        commit(top)
        os.utime(top / "file", (0, 0))  # otherwise git would have no reason to refresh the index

        def everything() -> dict[Path, tuple[int, bytes]]:
            paths = (top / ".git").rglob("*")
            return {each: (each.lstat().st_mtime_ns, each.read_bytes() if each.is_file() else b"") for each in paths}

        before = everything()
        repository = of(top)
        assert ([*repository.limits()], [*repository.staged()]) == ([], [])
        assert [*repository.history()]
        assert objects(repository)
        assert everything() == before

    @pytest.mark.parametrize(
        "settings", [DISPLAY, *(pytest.param(each, marks=pytest.mark.full) for each in DISPLAY.split())]
    )
    def test_display_settings(self, top: Path, settings: str) -> None:
        """Display settings of git change no result. Only the full run tries each one alone."""
        name = put(top, "a/é\n", b"content")
        first = commit(top)
        git(top, "mv", "a/é\n", "b")
        second = commit(top)
        put(top, "c", b"content")
        for each in settings.split():
            git(top, "config", *each.split("="))
        in_index, in_commits = [(name, None, "b"), (name, None, "c")], [(name, second, "b"), (name, first, "a/é\n")]
        assert ([*of(top).staged()], [*of(top).history()]) == ([(name, "c")], in_commits + in_index)


class TestIndex:
    """The content of the index, and the changes of the next commit."""

    def test_an_unborn_branch(self, top: Path) -> None:
        """Before the first commit, everything in the index is staged. A path may have any bytes."""
        assert [*of(top).index(), *of(top).staged(), *of(top).history()] == []
        expected = [(put(top, name, name), os.fsdecode(name)) for name in sorted(ODD_NAMES)]
        assert [*of(top).staged()] == [*of(top).index()] == expected
        assert [*of(top).history()] == [(blob, None, name) for blob, name in expected]
        head = commit(top)
        assert [*of(top).history()] == [(blob, each, name) for each in (head, None) for blob, name in expected]

    def test_changes(self, top: Path) -> None:
        """Added, changed and renamed files and new links are staged. Deleted and unchanged files are not."""
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
        (top / "same").write_bytes(b"not staged")
        link = git(top, "rev-parse", ":link")
        expected = [(added, "added"), (changed, "changed"), (link, "link"), (renamed, "other")]
        assert [*of(top).staged()] == expected

    def test_intent_to_add(self, top: Path) -> None:
        """A file with intent to add has no content yet, and is not staged."""
        (top / "file").write_bytes(b"content")
        git(top, "add", "-N", "file")
        repository = of(top)
        assert [*repository.staged()] == []
        ((name, path),) = repository.index()
        assert (path, objects(repository, [name])) == ("file", {name: ("blob", b"")})

    def test_a_conflict(self, top: Path) -> None:
        """Each side of a conflict is in the index. Nothing can be committed before it is resolved."""
        sides = [put(top, "file", b"base\n")]
        commit(top)
        for branch in ("main", "other"):
            git(top, "checkout", "-q", *(("-b", branch, "HEAD~") if branch == "other" else (branch,)))
            sides.append(put(top, "file", branch.encode()))
            commit(top)
        git(top, "checkout", "-q", "main")
        with pytest.raises(subprocess.CalledProcessError):
            git(top, "merge", "-q", "other")
        expected = [(name, "file") for name in sides]
        assert ([*of(top).index()], [*of(top).staged()]) == (expected, [])

    def test_a_submodule(self, top: Path) -> None:
        """A submodule is a commit of another repository, and not an object of this one."""
        git(top, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},within")
        name = put(top, "file", b"content")
        repository = of(top)
        assert [*repository.submodules()] == ["within"]
        assert [*repository.index()] == [*repository.staged()] == [(name, "file")]
        head = commit(top)
        assert [*repository.history()] == [(name, head, "file"), (name, None, "file")]


class TestHistory:
    """The commits and paths of each object."""

    def test_reachable_commits(self, top: Path) -> None:
        """The history has all reachable commits, also of stashes and reflogs. A dropped stash is only an object."""
        expected = []

        def put_by_commit(name: str) -> None:
            blob = put(top, name, name.encode())
            expected.append((blob, commit(top), name))

        put_by_commit("main")
        put_by_commit("reset away")
        git(top, "reset", "-q", "--hard", "HEAD~")
        git(top, "checkout", "-q", "-b", "other")
        put_by_commit("other")
        git(top, "checkout", "-q", "main")
        put_by_commit("more")
        git(top, "merge", "-q", "--no-commit", "other")
        put_by_commit("by the merge alone")
        git(top, "checkout", "-q", "--detach", "HEAD")
        put_by_commit("detached")
        git(top, "checkout", "-q", "main")
        (top / "main").write_bytes(b"stashed")
        (top / "untracked").write_bytes(b"untracked")
        git(top, "stash", "-u")
        expected += [
            (git(top, "rev-parse", "stash:main"), git(top, "rev-parse", "stash"), "main"),
            (git(top, "rev-parse", "stash^3:untracked"), git(top, "rev-parse", "stash^3"), "untracked"),
        ]
        assert {*expected} <= {*of(top).history()}
        git(top, "stash", "drop")
        stashed = expected[-2][0]
        assert objects(of(top))[stashed] == ("blob", b"stashed")
        assert stashed not in {name for name, *_ in of(top).history()}

    def test_a_replaced_object(self, top: Path) -> None:
        """A replaced object is read with its original content."""
        name = put(top, "file", b"as it was")
        git(top, "replace", name, git(top, "hash-object", "-w", "--stdin", given=b"harmless"))
        assert objects(of(top), [name]) == {name: ("blob", b"as it was")}
        assert objects(of(top))[name] == ("blob", b"as it was")

    def test_sha_256(self, tmp_path: Path) -> None:
        """The name of an object may have 64 digits."""
        top = made(tmp_path / "long", "--object-format=sha256")
        (top / "file").write_bytes(b"content")
        git(top, "add", "file")
        head = commit(top)
        committed, (name, _, _) = of(top).history()
        assert (len(name), committed) == (64, (name, head, "file"))
        assert objects(of(top), [name]) == {name: ("blob", b"content")}


class TestLimits:
    """Reasons why a history may be incomplete."""

    def test_a_whole_repository(self, top: Path) -> None:
        """A complete repository has no limits, with and without a directory for packs."""
        commit(top)
        assert [*of(top).limits()] == []
        shutil.rmtree(top / ".git" / "objects" / "pack")
        assert [*of(top).limits()] == []

    def test_a_shallow_clone(self, top: Path) -> None:
        """A shallow clone is reported. Its commits are read."""
        commit(top)
        name = put(top, "file", b"content")
        head = commit(top)
        git(top.parent, "clone", "-q", "--depth=1", f"file://{top}", "shallow")
        repository = of(top.parent / "shallow")
        assert [why.partition(",")[0] for why in repository.limits()] == ["this is a shallow clone"]
        assert [*repository.history()] == [(name, head, "file"), (name, None, "file")]


class TestObjects:
    """The content of objects."""

    @pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
    def test_sizes(self, top: Path, *, packed: bool) -> None:
        """An object is read completely, in blocks of at most one mebibyte."""
        contents = [os.urandom(size) for size in (0, 1, BLOCK_BYTES, BLOCK_BYTES + 1)]
        expected = {put(top, str(number), each): ("blob", each) for number, each in enumerate(contents)}
        commit(top)
        if packed:
            git(top, "-c", "pack.compression=0", "gc", "-q")
        repository = of(top)
        assert objects(repository, expected) == expected
        every = objects(repository)
        assert {each: every.pop(each) for each in expected} == expected
        assert sorted(kind for kind, _ in every.values()) == ["commit", "tree"]
        sizes = [[len(block) for block in content] for _, _, content in repository.objects(expected)]
        assert sizes == [[], [1], [BLOCK_BYTES], [BLOCK_BYTES, 1]]

    @pytest.mark.parametrize("partly", [False, True])
    def test_a_content_that_is_not_read(self, top: Path, *, partly: bool) -> None:
        """If a content is read in part or not at all, the next one is still correct."""
        names = [put(top, str(number), bytes(BLOCK_BYTES + number)) for number in range(3)]
        seen = []
        for name, _, content in of(top).objects(names):
            seen.append(name)
            if partly:
                next(content)
        assert seen == names

    def test_how_many(self, top: Path) -> None:
        """The number of objects may be zero, or large without a deadlock."""
        assert (objects(of(top)), objects(of(top), [])) == ({}, {})
        name = put(top, "file", bytes(1000))
        assert sum(1 for _ in of(top).objects([name] * 2000)) == 2000

    def test_a_missing_object(self, top: Path) -> None:
        """A missing object is reported, and the next one is read."""
        gone, other = put(top, "file", b"content"), put(top, "other", b"other")
        object_file(top, gone).unlink()
        assert objects(of(top), [gone, other]) == {gone: (MISSING, b""), other: ("blob", b"other")}

    @pytest.mark.parametrize("by_name", [True, False], ids=["by name", "all"])
    @pytest.mark.parametrize("damage", ["empty", "not an object", "cut short"])
    def test_a_damaged_object(self, top: Path, damage: str, *, by_name: bool) -> None:
        """A damaged object counts as missing. If git fails in the middle of one, that is reported."""
        name = put(top, "file", os.urandom(BLOCK_BYTES))
        path = object_file(top, name)
        if damage == "cut short":
            os.truncate(path, BLOCK_BYTES // 2)
            with pytest.raises(UnreadError):
                objects(of(top), [name] if by_name else None)
        else:
            path.write_bytes(b"" if damage == "empty" else damage.encode())
            assert objects(of(top), [name] if by_name else None)[name] == (MISSING, b"")

    @pytest.mark.parametrize(
        ("script", "why"),
        [
            ("", None),
            ("exit 3", rf"git cat-file failed \(exit status 3\); {REPAIR}"),
            ("kill -9 $$", rf"git cat-file failed \(exit status -9\); {REPAIR}"),
            ("read name", None),
            (r"printf 'abc blob 10\n12345'", TOO_EARLY),
            (r"printf 'abc blob 3\n'", TOO_EARLY),
        ],
    )
    def test_a_git_that_ends(
        self, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str | None
    ) -> None:
        """If git ends too early, that is reported at once, for named objects and for all objects."""
        repository = of(top)
        replace_git(monkeypatch, tmp_path, script)
        with pytest.raises(UnreadError, match=f"^{TOO_EARLY}$"):
            objects(repository, ["0" * 40] * 3)
        if why is not None:
            with pytest.raises(UnreadError, match=f"^{why}$"):
                objects(repository)

    def test_a_reader_that_stops(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Git is killed when its reader stops."""
        put(top, "file", bytes(4 * BLOCK_BYTES))
        started: list[subprocess.Popen[bytes]] = []
        popen = subprocess.Popen

        def remembered(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
            started.append(popen(*arguments, **options))  # type: ignore[call-overload]
            return started[-1]

        repository = of(top)
        monkeypatch.setattr(subprocess, "Popen", remembered)
        reading = repository.objects(repository.names())
        next(reading)
        reading.close()  # type: ignore[attr-defined]
        assert [each.poll() for each in started] == [0, -9]  # the first one listed the names
