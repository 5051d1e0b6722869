"""The scan: every place is searched, content that was not read is reported, and no key is shown."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from command_line import fingerprint_of
from conftest import KEY_VARIABLES, NOW, V1, V2
from detector import leaks
from pydantic import TypeAdapter
from repositories import SETTINGS, commit, git, made, object_file, program, put, replace_git

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.scan import scanner as scanner_module
from robodj_secretguard.scan.content import BLOCK_BYTES, Block, read_place
from robodj_secretguard.scan.git import DOT_GIT, REPAIR
from robodj_secretguard.scan.result import KnownKey, Scan, Scope, Unread, Where
from robodj_secretguard.scan.scanner import MOST_IN_ONE_PLACE, Scanner
from robodj_secretguard.scan.search import KeySearch
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import MAX_FILE_BYTES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs, links and such names")

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
KEY, OTHER = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
KNOWN = {
    fingerprint_of(KEY): KnownKey(fingerprint_of(KEY), "secret.key", "prod", ("environment",)),
    fingerprint_of(OTHER): KnownKey(fingerprint_of(OTHER), "secret_v2.key"),
}
KEY_FILE = "config/secret.key"
UNUSUAL = ("two\nlines", "\x1b[2J", "\udcff", "   ", "back\\slash", "a\ttab", "é", "a:b", "%41", "\u202e")
KNOWN_KEY, ASSIGNED, TRACKED = "known-key", "assigned-key", "tracked-key-file"
FILES: Final = "files"
STAGED: Final = "staged"
HISTORY: Final = "git-history"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty working directory, and git without a configuration."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def repository(root: Path) -> Path:
    """A repository in the working directory."""
    return made(root)


def scanner(*live: str) -> Scanner:
    """Return a scanner that knows some keys, and others by their fingerprints."""
    at_hand = [(SealedStr(key), KNOWN[fingerprint_of(key)]) for key in live]
    search = KeySearch(
        KNOWN.values(),
        at_hand,
        [policy.generator for policy in POLICIES if policy.generator],
        [key for key, _ in at_hand],
    )
    return Scanner(
        search,
        POLICIES,
        fallback_files=["config/secret.key", "config/secret_v2.key"],
    )


def result(scanner: Scanner, scope: Scope = FILES, keys: Sequence[str] = ()) -> Scan:
    """Return the findings. They show no key, and are the same after they are written and read as JSON."""
    scan = scanner.result(scope, KNOWN.values(), NOW, [Unread("keys", "known before", matters=False)])
    text = json.dumps(scan.as_dict())
    assert leaks(text, [KEY, OTHER, *keys]) == []
    assert TypeAdapter(Scan).validate_json(text) == scan
    return scan


def scanned(scope: Scope = FILES, *paths: str, live: Sequence[str] = (KEY, OTHER), keys: Sequence[str] = ()) -> Scan:
    """Scan files, or a repository."""
    scanning = scanner(*live)
    if scope == FILES:
        scanning.files(paths or ["."])
    elif repository := scanning.repository(*paths or ["."]):
        (scanning.staged if scope == STAGED else scanning.history)(repository)
    return result(scanning, scope, keys)


def write(name: str, data: str | bytes) -> None:
    """Write a file, and make its directories."""
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def found(scan: Scan, *fields: str) -> list[tuple[Any, ...]]:
    """Return some fields of each finding."""
    return [tuple(getattr(each, field) for field in fields) for each in scan.findings]


def unread(scan: Scan, *, matters: bool = True) -> list[tuple[str, str]]:
    """Return what was not read and why, after the earlier items."""
    assert scan.complete is not any(each.matters for each in scan.unread)
    assert scan.unread[0].why == "known before"
    return [(each.place, each.why) for each in scan.unread[1:] if each.matters is matters]


def carriers(scan: Scan) -> list[list[tuple[str | None, str]]]:
    """Return the commit and the path that refer to each object."""
    return [[(each.commit, each.path) for each in finding.carriers] for finding in scan.findings]


class TestFiles:
    """Keys in files, in links and in names."""

    def test_a_clean_directory(self) -> None:
        """A scan that finds nothing and misses nothing is successful. It counts files and bytes."""
        write("a", "four")
        write("sub/b", "fifteen letters")
        scan = scanned(live=(KEY,))
        assert (scan.ok, scan.complete, scan.findings, unread(scan), scan.scope) == (True, True, (), [], FILES)
        assert (scan.files, scan.objects, scan.size, scan.scanned_at) == (2, 0, 19, NOW)
        assert (scan.looked_for, scan.variables) == ((*KNOWN.values(),), KEY_VARIABLES)

    def test_every_kind_of_place(self) -> None:
        """A key is found in a file, in the target of a link, and in a name, which is not shown."""
        write("file", f"a\n {KEY}")
        os.symlink(f"/{KEY}", "link")
        write(f"z{KEY}/{KEY}.txt", KEY)
        scan = scanned()
        assert (scan.ok, scan.complete) == (False, True)
        assert found(scan, "where", "path", "line", "column", "offset") == [
            ("file", "file", 2, 2, 3),
            ("link", "link", 1, 2, 1),
            ("name", "[redacted]", None, None, None),
            ("name", "[redacted]/[redacted]", None, None, None),
            ("file", "[redacted]/[redacted]", 1, 1, 0),
        ]

    def test_what_is_known(self) -> None:
        """A finding has the known facts of its key, and every encoding, from the innermost."""
        for name, data in {
            "a": KEY.encode(),
            "b": b"\0\1\2\xff" + base64.b64encode(f":{KEY}".encode()).hex().encode(),
            "c": KEY.encode("utf-16"),
            "d": f"{V2}={OTHER[::-1]}".encode(),
        }.items():
            write(name, data)
        one, assigned = fingerprint_of(KEY), fingerprint_of(OTHER[::-1])
        fields = ("rule", "secret", "environment", "fingerprint", "known_by", "form", "where")
        of_key = (KNOWN_KEY, "secret.key", "prod", one, ("environment",))
        assert found(scanned(keys=(OTHER[::-1],)), *fields) == [
            (*of_key, "raw", "file"),
            (*of_key, "base64 in hex", "file"),
            (*of_key, "utf-16", "file"),
            (ASSIGNED, "secret_v2.key", None, assigned, (), "raw", "file"),
        ]

    @pytest.mark.parametrize("live", [(KEY, OTHER), ()], ids=["live", "by fingerprint"])
    def test_parts_of_keys_in_paths(self, live: tuple[str, ...]) -> None:
        """A name that has a part of a key is not shown, also if the key was unknown until it was found."""
        for name in (KEY[:10], f"{KEY[20:26].swapcase()}-x", KEY[::-1][5:15]):
            write(f"{name}/file", KEY)
        assert found(scanned(live=live), "path") == [("[redacted]/file",)] * 3

    def test_key_over_several_names(self) -> None:
        """A path is not shown where its names together are a key in standard base64."""
        key = "_".join(secrets.token_hex(2) + secrets.choice("KLMN") for _ in range(9))
        write(key.replace("_", "/"), f"{V1}={key}")
        assert found(scanned(keys=(key,)), "rule", "path") == [(ASSIGNED, "[redacted]")]

    @pytest.mark.parametrize("name", UNUSUAL, ids=ascii)
    def test_unusual_names(self, name: str) -> None:
        """Unusual characters of a name are escaped."""
        write(name, KEY)
        ((path,),) = found(scanned(), "path")
        assert (path.isprintable(), path.encode("ascii").decode("unicode_escape")) == (True, name)

    @pytest.mark.parametrize("path", ["docs", "docs/file", "./docs/file"])
    def test_paths_as_given(self, path: str) -> None:
        """A path is shown as it was passed, which is how a code host shows it."""
        write("docs/file", KEY)
        assert found(scanned(FILES, path), "path") == [("docs/file",)]

    def test_fallback_files(self) -> None:
        """A fallback file may hold a key and is not read. A copy of it, or the target of a link, is read."""
        write("config/secret.key", KEY)
        write("config/copy.key", KEY)
        write("other/secret.key", KEY)
        write("notes", KEY)
        os.symlink("../notes", "config/secret_v2.key")
        scan = scanned()
        assert found(scan, "path") == [("config/copy.key",), ("notes",), ("other/secret.key",)]
        assert unread(scan, matters=False) == [("config/secret.key", "this is a fallback file, so it was not searched")]

    def test_what_is_not_a_file(self) -> None:
        """The name of a FIFO is searched, but no content. An unreadable path matters, and the next one is read."""
        os.mkfifo(f"x {KEY}")
        scan = scanned()
        assert found(scan, "where", "path") == [("name", "[redacted]")]
        assert unread(scan, matters=False) == [("[redacted]", "it is not a regular file")]
        write("file", KEY)
        scan = scanned(FILES, "/dev/zero", "file")
        assert (found(scan, "path"), unread(scan)) == ([("file",)], [("/dev/zero", "it is not a regular file")])

    def test_what_changes_or_vanishes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that changes or vanishes is reported, and earlier findings stay."""
        for name in "abc":
            write(name, KEY.ljust(2 * BLOCK_BYTES))

        def hostile(path: str, where: Where) -> Iterator[Block]:
            for block in read_place(path, where):
                if path.endswith("b"):
                    write("b", "another")
                    os.unlink("c")
                yield block

        monkeypatch.setattr(scanner_module, "read_place", hostile)
        scan = scanned()
        assert found(scan, "path") == [("a",), ("b",)]
        assert unread(scan) == [("b", "it changed while it was read; scan again"), ("c", "it does not exist")]

    @pytest.mark.skipif(sys.platform != "linux", reason="not every file system elsewhere has holes")
    def test_holes(self) -> None:
        """A file of holes is not read. Its size counts, and its keys are found."""
        write("a", KEY)
        os.truncate("a", 1 << 41)
        with open("a", "r+b") as file:
            file.seek(1 << 40)
            file.write(OTHER.encode())
        scan = scanned()
        assert found(scan, "offset", "line") == [(0, 1), (1 << 40, 1)]
        assert scan.size == 1 << 41

    @pytest.mark.parametrize("kinds", [("files",), ("lines",), ("files", "lines")], ids=" ".join)
    def test_cost_of_a_finding_does_not_grow(self, kinds: tuple[str, ...]) -> None:
        """Twice as many findings cost twice as many calls, in many files and in one."""

        def calls(size: int) -> int:
            for number in range(size if "files" in kinds else 1):
                lines = [f"{V1}={secrets.token_urlsafe(32)}" for _ in range(size if "lines" in kinds else 1)]
                write(f"{size}/file-{number}", "\n".join(lines))
            scanning, counted = scanner(), itertools.count()
            sys.setprofile(lambda *_: next(counted))
            try:
                scanning.files([str(size)])
                scan = scanning.result(FILES, KNOWN.values(), NOW, [])
            finally:
                sys.setprofile(None)
            assert len(scan.findings) == size ** len(kinds)
            return next(counted)

        few, some, many = (calls(size) for size in (10, 20, 40))
        assert many - some <= 2.2 ** len(kinds) * (some - few)

    @pytest.mark.parametrize("more", [0, 1])
    def test_many_keys_in_one_place(self, more: int) -> None:
        """The first hundred keys of a place are listed, and the existence of more is reported."""
        write("a", f"{KEY}\n" * (MOST_IN_ONE_PLACE + more))
        scan = scanned()
        assert len(scan.findings) == 100
        assert unread(scan) == [("a", "only its first 100 keys are listed; remove these, then scan again")] * more


class TestTracked:
    """Key files that git tracks."""

    def test_which_files(self, repository: Path) -> None:
        """A key file with more than a template is found in any directory. A tracked fallback file is read as well."""
        unknown = secrets.token_urlsafe(32)
        for name, data in (
            ("config/secret.key", unknown),
            ("config/other.key", b"\xff\xfe"),
            ("a/b/config/x.key", "x" * 5000),
            ("config/template.key", "# a template\nreplace_with_the_key\n"),
            ("config/empty.key", ""),
            ("config/deep/x.key", "not one of these"),
            ("other.key", "not one of these"),
        ):
            put(repository, name, data if isinstance(data, bytes) else data.encode())
        write("config/secret.key", KEY)
        scan = scanned(keys=(unknown,))
        assert found(scan, "rule", "path", "secret", "fingerprint", "where", "object_type") == [
            (TRACKED, "a/b/config/x.key", None, None, "index", None),
            (TRACKED, "config/other.key", None, None, "index", None),
            (TRACKED, "config/secret.key", "secret.key", fingerprint_of(unknown), "index", None),
            (KNOWN_KEY, "config/secret.key", "secret.key", fingerprint_of(KEY), "file", None),
        ]

    @pytest.mark.parametrize(("lines", "has_fingerprint"), [([KEY], True), ([KEY, KEY], False), (["short"], False)])
    def test_its_fingerprint(self, repository: Path, lines: list[str], *, has_fingerprint: bool) -> None:
        """A key file with exactly one sound key has a fingerprint."""
        put(repository, "config/x.key", "\n".join(lines).encode())
        os.unlink("config/x.key")
        assert found(scanned(), "fingerprint") == [(fingerprint_of(KEY) if has_fingerprint else None,)]

    @pytest.mark.parametrize("more", [0, 1])
    def test_large_templates(self, repository: Path, more: int) -> None:
        """Comments alone are not key material, up to the largest size of a key file."""
        size = MAX_FILE_BYTES + more
        put(repository, "config/x.key", b"# a comment\n" * (size // 12) + b"#" * (size % 12))
        assert found(scanned(), "rule", "path") == [(TRACKED, "config/x.key")] * more

    @pytest.mark.parametrize("path", ["a", "a/config/x.key", "./a/../a"])
    def test_below_the_paths(self, repository: Path, path: str) -> None:
        """Only the key files at or below the paths are read."""
        for name in ("a", "ab"):
            put(repository, f"{name}/config/x.key", KEY.encode())
        scanning = scanner(KEY)
        within = scanning.repository(".")
        assert within is not None
        scanning.tracked(within, [path])
        assert found(result(scanning), "where", "path") == [("index", "a/config/x.key")]

    def test_repositories_among_the_files(self, root: Path) -> None:
        """The key files of each repository are read once. A `.git` that is not a repository is reported."""
        for name in ("one", "two", "two/deep"):
            put(made(root / name), "config/x.key", name.encode())
        (root / "three" / DOT_GIT).mkdir(parents=True)
        scanning = scanner(KEY)
        for _ in range(2):
            scanning.files(["one"])
        scanning.files(["two", "three"])
        scan = result(scanning)
        assert found(scan, "path") == [("config/x.key",)] * 3
        assert [place for place, _ in unread(scan)] == ["git"]


class TestStaged:
    """Changes of the next commit."""

    def test_what_is_read(self, repository: Path) -> None:
        """The content in the index is read, not that of the work tree or of earlier commits."""
        put(repository, "before", KEY.encode())
        commit(repository)
        name = put(repository, "file", f"a\n {KEY}".encode())
        write("file", "clean")
        write("not-staged", KEY)
        put(repository, f"z-{OTHER}", b"content")
        put(repository, "config/x.key", OTHER[::-1].encode())
        scan = scanned(STAGED, keys=(OTHER[::-1],))
        assert found(scan, "rule", "where", "path", "line", "column", "object") == [
            (KNOWN_KEY, "index", "file", 2, 2, name),
            (KNOWN_KEY, "name", "[redacted]", None, None, None),
            (TRACKED, "index", "config/x.key", None, None, git(repository, "rev-parse", ":config/x.key")),
        ]
        assert (scan.files, scan.objects, scan.size, scan.scope) == (0, 3, len(f"a\n {KEY}content{OTHER}"), STAGED)

    def test_a_bare_repository(self, root: Path) -> None:
        """Without a work tree, nothing is staged, which is reported."""
        made(root / "bare", "--bare")
        assert unread(scanned(STAGED, "bare")) == [("git", "the repository has no work tree, so nothing is staged")]


class TestHistory:
    """Every object that git keeps."""

    def test_a_deleted_file(self, repository: Path) -> None:
        """A key in a deleted file is found with each commit that added it, and the path there."""
        name = put(repository, "file", f"a\n {KEY}".encode())
        first = commit(repository)
        git(repository, "mv", "file", "two\nlines")
        second = commit(repository)
        git(repository, "rm", "-q", "two\nlines")
        commit(repository)
        scan = scanned(HISTORY)
        expected = [("history", None, name, "blob", 2, 2)]
        assert found(scan, "where", "path", "object", "object_type", "line", "column") == expected
        assert [*map(sorted, carriers(scan))] == [sorted([(second, "two\\nlines"), (first, "file")])]
        assert (scan.files, scan.scope) == (0, HISTORY)
        assert scan.objects == len(git(repository, "cat-file", "--batch-all-objects", "--batch-check").split("\n"))

    def test_other_objects(self, repository: Path) -> None:
        """A key is found in the message of a commit or a tag, in a name, and in an unreachable object."""
        put(repository, KEY, b"content")
        here = commit(repository)
        git(repository, "rm", "-q", "--", KEY)
        commit(repository, f"no longer with {KEY}")
        git(repository, "tag", "-a", "-m", f"with {KEY}", "v1", here)
        git(repository, "hash-object", "-w", "--stdin", given=KEY.encode())
        kinds = sorted((kind, line is None) for kind, line in found(scanned(HISTORY), "object_type", "line"))
        assert kinds == [("blob", False), ("commit", False), ("tag", False), ("tree", True)]

    @pytest.mark.parametrize(
        ("paths", "secret"),
        [(["config/x.key"], None), ([KEY_FILE], "secret.key"), (["a/config/x.key", KEY_FILE], None)],
        ids=range(3),
    )
    def test_key_files(self, repository: Path, paths: list[str], secret: str | None) -> None:
        """A key file that git ever tracked is found, with the secret of its first path. The index comes last."""
        unknown = secrets.token_urlsafe(32)
        names = {put(repository, path, unknown.encode()) for path in paths}
        here = commit(repository)
        scan = scanned(HISTORY, keys=(unknown,))
        assert found(scan, "rule", "secret", "fingerprint", "path", "object_type", "object") == [
            (TRACKED, secret, fingerprint_of(unknown), None, "blob", *names)
        ]
        assert carriers(scan) == [[(each, path) for each in (here, None) for path in paths]]

    def test_fallback_files(self, repository: Path) -> None:
        """A fallback file that git tracks may not hold a key any more, so it is read like other files."""
        put(repository, "config/secret.key", KEY.encode())
        scanning = scanner(KEY)
        within = scanning.repository(".")
        assert within is not None
        scanning.history(within)
        scanning.files(["."])
        assert {*found(result(scanning), "rule", "where")} == {
            (KNOWN_KEY, "history"),
            (KNOWN_KEY, "file"),
            (TRACKED, "history"),
        }

    def test_the_order(self, repository: Path) -> None:
        """Packing the objects does not change the order of the findings."""
        for number in range(5):
            put(repository, f"file{number}", f"{number} {KEY}".encode())
        commit(repository)
        before = scanned(HISTORY).findings
        git(repository, "gc", "-q")
        assert (scanned(HISTORY).findings, len(before)) == (before, 5)

    def test_limits(self, repository: Path, root: Path) -> None:
        """The reason for an incomplete history is reported, and existing objects are read."""
        put(repository, "file", KEY.encode())
        commit(repository)
        commit(repository)
        git(root, "clone", "-q", "--depth=1", f"file://{root}", "shallow")
        scan = scanned(HISTORY, "shallow")
        assert ([place for place, _ in unread(scan)], len(scan.findings)) == (["git history"], 1)

    def test_a_submodule(self, repository: Path) -> None:
        """The name of a submodule is searched. Its history is in another repository, and does not matter."""
        git(repository, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},m-{KEY}")
        scan = scanned(HISTORY)
        assert found(scan, "where", "path") == [("name", "[redacted]")]
        assert unread(scan, matters=False) == [("[redacted]", "this is a submodule; scan its history separately")]


class TestUnknownKeys:
    """No path shows a key that was unknown until it was found."""

    @pytest.mark.parametrize("scope", [FILES, STAGED, HISTORY])
    def test_a_key_in_its_path(self, repository: Path, scope: Scope) -> None:
        """A name with a key is not shown, also if the key is known by its fingerprint and the name is in the index."""
        put(repository, f"{KEY}/config/x.key", OTHER.encode())
        (tracked,) = (each for each in scanned(scope, live=()).findings if each.rule == TRACKED)
        assert [tracked.path or tracked.carriers[0].path] == ["[redacted]/config/x.key"]

    @pytest.mark.parametrize("scope", [FILES, STAGED, HISTORY])
    def test_names(self, repository: Path, scope: Scope) -> None:
        """The name of a directory shows neither an assigned key nor the key of a key file, also in base64."""
        assigned, kept = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        for name in (f"a/{assigned}/x", f"{base64.b64encode(assigned.encode()).decode()}/x", f"b/{assigned[:20]}/x"):
            put(repository, name, f"{V1}={assigned}".encode())
        put(repository, f"config/{kept}.key", kept.encode())
        assert {rule for (rule,) in found(scanned(scope, keys=(assigned, kept)), "rule")} >= {ASSIGNED, TRACKED}


class TestWhatGitLacks:
    """Objects that git does not have, or does not return, are reported, and the rest is read."""

    @pytest.mark.parametrize("scope", [FILES, STAGED, HISTORY])
    @pytest.mark.parametrize("is_committed", [True, False])
    def test_a_missing_object(self, repository: Path, scope: Scope, *, is_committed: bool) -> None:
        """Missing objects of a commit or of the index are reported in one line."""
        names = [put(repository, f"config/{name}.key", f"{name} is gone".encode()) for name in "ab"]
        if is_committed:
            commit(repository)
        for name in names:
            object_file(repository, name).unlink()
        assert unread(scanned(scope)) == (
            [] if is_committed and scope == STAGED else [("git", f"git does not have every object; {REPAIR}")]
        )

    @pytest.mark.parametrize("scope", [FILES, STAGED, HISTORY])
    def test_a_pipe_in_its_directory(self, repository: Path, scope: Scope) -> None:
        """Git does not run where a pipe could block it. The pipe is reported once, and files are searched."""
        write("a", KEY)
        os.mkfifo(repository / ".git" / "packed-refs")
        scan = scanned(scope)
        why = "git would wait for this pipe or device, so git was not read; delete it, then scan again"
        assert unread(scan) == [(f"{repository}/.git/packed-refs", why)]
        assert found(scan, "path") == [("a",)] * (scope == FILES)

    @pytest.mark.parametrize("what", ["blob:none", "tree:0"])
    def test_a_partial_clone(self, repository: Path, root: Path, what: str) -> None:
        """A partial clone is incomplete while objects are missing, which are not fetched. Its fix makes it complete."""
        for name in "abc":
            put(repository, "file", name.encode())
            commit(repository)
        git(repository, "config", "uploadpack.allowFilter", "true")
        git(root, "clone", "-q", "--bare", f"--filter={what}", f"file://{root}", "partial")
        script = program(root / "script", f"echo ran >> {root}/ran")
        git(root / "partial", "config", "remote.origin.uploadpack", str(script))
        ((place, why),) = unread(scanned(HISTORY, "partial"))
        assert (place, why.endswith(REPAIR), (root / "ran").exists()) == ("git", True, False)
        git(root / "partial", "config", "--unset", "remote.origin.uploadpack")
        git(root / "partial", "fetch", "-q", "--refetch", "--no-filter", "origin")
        assert scanned(HISTORY, "partial").complete

    @pytest.mark.parametrize(
        ("scope", "path", "size"),
        [(HISTORY, "b", BLOCK_BYTES // 2), (STAGED, "b", BLOCK_BYTES // 2), (FILES, "config/b.key", 0)],
    )
    def test_a_damaged_object(self, repository: Path, scope: Scope, path: str, size: int) -> None:
        """A damaged object makes a scan incomplete, and the scan continues."""
        write("a", KEY)
        name = put(repository, path, secrets.token_bytes(BLOCK_BYTES))
        os.truncate(object_file(repository, name), size)
        scan = scanned(scope)
        assert not scan.complete
        assert (("a",) in found(scan, "path")) is (scope == FILES)

    @pytest.mark.parametrize(
        ("scope", "script"),
        [
            (HISTORY, "exit 3"),
            (STAGED, "exit 3"),
            (STAGED, 'case "$*" in *cat-file*) echo abc missing;; *) exec "$GIT" "$@";; esac'),
        ],
        ids=range(3),
    )
    def test_a_git_that_fails(
        self, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Scope, script: str
    ) -> None:
        """A git process that fails or ends before all objects are read is reported."""
        for name in "ab":
            put(repository, name, name.encode())
        replace_git(monkeypatch, tmp_path, f'case "$*" in *rev-parse*) exec "$GIT" "$@";; esac; {script}')
        assert "git" in [place for place, _ in unread(scanned(scope))]
