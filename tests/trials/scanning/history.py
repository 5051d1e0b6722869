"""The keys that are planted in a git repository, in every place where git keeps data."""

from __future__ import annotations

import base64
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scanning.plants import REDACTED, SECRETS, V1, V2, key_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIT_SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-05-01T10:00:00Z",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": "2026-05-01T10:00:00Z",
}
"""Settings for the same result on every machine: no user's configuration, and a fixed identity."""

Carriers = frozenset[tuple[str | None, str]]


@dataclass(frozen=True)
class Kept:
    """Where git keeps a planted key, and how it must be reported. It has no part of the key.

    Attributes:
        name: the name of the plant.
        fingerprint: the key's fingerprint.
        secret: the name of the secret.
        form: `raw`, or the encoding.
        kind: the kind of the object.
        object: the object's name.
        carriers: the commits and paths of the object; `None` for the index.
        line: the line in the object, from 1; `None` in a tree, which has none.
        column: the character in the line, from 1.
        is_staged: whether the next commit adds it.
    """

    name: str
    fingerprint: str
    secret: str
    form: str
    kind: str
    object: str
    carriers: Carriers
    line: int | None
    column: int | None
    is_staged: bool = False

    @property
    def group(self) -> str:
        """The kind of plant, which is a row of the tables."""
        if self.kind != "blob":
            return {"tree": "names in trees", "commit": "commits", "tag": "tag messages"}[self.kind]
        return "files of commits and of the index" if self.carriers else "unreachable files"


def _carried(key: str, form: str) -> tuple[str, int]:
    """Return text that contains a key, and the offset of the first character that holds a part of it."""
    if form == "base64":
        return base64.b64encode(f"k={key}\n".encode()).decode(), 2
    return key.encode().hex() if form == "hex" else key, 0


def _encoding(form: str) -> str:
    return "utf-16-le" if form == "utf-16" else "utf-8"


class History:
    """A repository with planted keys.

    Args:
        root: an empty directory.
        keys: the delivered keys, by variable.
    """

    def __init__(self, root: Path, keys: dict[str, str]) -> None:
        self._root = root
        self._keys = keys
        self._environment = {"PATH": os.environ["PATH"], **GIT_SETTINGS}
        self.kept: dict[str, Kept] = {}

    def git(self, *arguments: str, given: bytes | None = None) -> str:
        """Run git, and return its output."""
        return self._git(*arguments, given=given).decode().strip()

    def _git(self, *arguments: str, given: bytes | None = None) -> bytes:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - any installed git
            cwd=self._root,
            env=self._environment,
            input=given,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(arguments[0], done.returncode)  # without the output, which may have a key
        return done.stdout

    def write(self, path: str, variable: str, form: str = "raw") -> None:
        """Write a file with a key."""
        text, _ = _carried(self._keys[variable], form)
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"# {path}\nkey: {text}\nend\n".encode(_encoding(form)))

    def commit(self, message: str, *paths: str) -> str:
        """Commit some paths, or all changes, and return the commit's name."""
        self.git("add", "--all", *(paths or (".",)))
        self.git("commit", "--allow-empty", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def _keep(
        self, name: str, variable: str, where: str, carriers: Carriers = frozenset(), form: str = "raw", **more: bool
    ) -> None:
        """Record a key and the object that contains it."""
        hash_, kind = self.git("rev-parse", where), self.git("cat-file", "-t", where)
        line = column = None
        if kind != "tree":
            content = self._git("cat-file", kind, hash_).decode(_encoding(form))
            text, at = _carried(self._keys[variable], form)
            until = content[: content.index(text) + at]
            line, column = until.count("\n") + 1, len(until) - until.rfind("\n")
        fingerprint = key_fingerprint(self._keys[variable])
        self.kept[name] = Kept(name, fingerprint, SECRETS[variable], form, kind, hash_, carriers, line, column, **more)

    def _put(self, name: str, variable: str, path: str, form: str = "raw") -> str:
        """Commit a file with a key."""
        self.write(path, variable, form)
        commit = self.commit(f"add {path}", path)
        self._keep(name, variable, f"{commit}:{path}", frozenset({(commit, path)}), form)
        return commit

    def build(self) -> dict[str, Kept]:
        """Make the repository, and return the record of each key, by the plant's name."""
        self._root.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        (self._root / "README").write_bytes(b"nothing here\n" * 50)
        self._first_commits()
        self._messages()
        self._branches()
        self.git("repack", "-a", "-d", "--quiet")  # earlier objects are packed, and later ones loose
        self._stashes()
        self._rewritten()
        self._unreachable()
        self._in_the_index()
        return self.kept

    def _first_commits(self) -> None:
        self._put("the first commit, deleted since", V1, "deploy/first.env")
        (self._root / "deploy/first.env").unlink()
        self.commit("take it away")
        for number, (variable, form) in enumerate(
            [(V1, "base64"), (V2, "raw"), (V2, "hex"), (V1, "utf-16"), (V2, "base64")]
        ):
            path = f"deploy/deleted {number}.txt"
            self._put(f"deleted, as {form} of {SECRETS[variable]}", variable, path, form)
            (self._root / path).unlink()
            self.commit("take it away")
        paths = {"a path beyond ASCII": "dép\N{MUSICAL NOTE}.txt", "a path with quotes": 'a "b"\tc.txt'}
        for name, path in paths.items() if os.name != "nt" else ():
            self.write(path, V1)
            commit = self.commit(f"add {name}")
            shown = path.encode("unicode_escape").decode()
            (self._root / path).unlink()
            self.commit("take it away")
            self._keep(name, V1, f"{commit}:{path}", frozenset({(commit, shown)}))
        path = "here.txt"
        commit = self._put("in the work tree", V2, path)
        self._keep("in the work tree", V2, f"{commit}:{path}", frozenset({(commit, path), (None, path)}))
        self.write("moved.txt", V1)
        before = self.commit("add a file that moves")
        self.git("mv", "moved.txt", "now here.txt")
        after = self.commit("move it")
        self._keep(
            "moved",
            V1,
            f"{after}:now here.txt",
            frozenset({(before, "moved.txt"), (after, "now here.txt"), (None, "now here.txt")}),
        )
        if os.name != "nt":
            os.symlink(f"/run/{self._keys[V1]}", self._root / "link")
            commit = self.commit("add a link")
            self._keep("what a link leads to", V1, f"{commit}:link", frozenset({(commit, "link")}))
            (self._root / "link").unlink()
            self.commit("take it away")
        name = f"dump-{self._keys[V1]}.txt"
        (self._root / "dumps").mkdir()
        (self._root / "dumps" / name).write_bytes(b"nothing\n")
        commit = self.commit("add a dump")
        self._keep("a file's name", V1, f"{commit}:dumps")
        (self._root / "dumps" / name).unlink()
        self.commit("take it away")
        (self._root / self._keys[V2]).mkdir()
        (self._root / self._keys[V2] / "read me.txt").write_bytes(self._keys[V1].encode() + b"\n# in a directory\n")
        commit = self.commit("add a directory")
        self._keep("a directory's name", V2, f"{commit}^{{tree}}")
        blob = f"{commit}:{self._keys[V2]}/read me.txt"
        self._keep("in a directory whose name holds one", V1, blob, frozenset({(commit, f"{REDACTED}/read me.txt")}))
        self.git("rm", "-r", "--quiet", "--", self._keys[V2])
        self.commit("take it away")

    def _messages(self) -> None:
        for variable, word in ((V1, "v1"), (V2, "v2")):
            commit = self.commit(f"rotate\n\nThe old one was {self._keys[variable]}, is it?")
            self._keep(f"a commit message {word}", variable, commit)
        encoded = base64.b64encode(f"k={self._keys[V2]}\n".encode()).decode()
        commit = self.commit(f"revert {encoded}")
        self._keep("a commit message in base64", V2, commit, form="base64")
        self.git("tag", "--annotate", "--message", f"with {self._keys[V1]}", "v1.0")
        self._keep("a tag's message", V1, "refs/tags/v1.0")
        tree = self.git("rev-parse", "HEAD^{tree}")
        author = {**self._environment, "GIT_AUTHOR_NAME": self._keys[V2]}
        mine, self._environment = self._environment, author
        commit = self.git("commit-tree", "-p", "HEAD", tree, given=b"by another\n")
        self._environment = mine
        self.git("update-ref", "refs/heads/authored", commit)
        self._keep("an author's name", V2, commit)
        self.git("notes", "add", "--message", f"was\nkey {self._keys[V2]}", "HEAD")
        noted, noting = self.git("rev-parse", "HEAD"), self.git("rev-parse", "refs/notes/commits")
        self._keep("a note", V2, f"{noting}:{noted}", frozenset({(noting, noted)}))

    def _branches(self) -> None:
        self.git("switch", "--quiet", "--create", "feature")
        self._put("a merged branch", V1, "feature/settings.py")
        (self._root / "feature/settings.py").unlink()
        self.commit("take it away")
        self.git("switch", "--quiet", "main")
        self.commit("meanwhile")
        self.git("merge", "--quiet", "--no-ff", "--message", "merge the feature", "feature")
        self.git("branch", "--delete", "--force", "--quiet", "feature")
        self.git("switch", "--quiet", "--create", "other")
        self.commit("on the other side")
        self.git("switch", "--quiet", "main")
        self.commit("on this side")
        self.git("merge", "--quiet", "--no-ff", "--no-commit", "other")
        self.write("evil.txt", V2)
        merge = self.commit("merge, and more")
        self._keep("an evil merge", V2, f"{merge}:evil.txt", frozenset({(merge, "evil.txt")}))
        (self._root / "evil.txt").unlink()
        self.commit("take it away")
        self.git("switch", "--quiet", "--create", "left")
        self._put("a branch that is not merged", V2, "left.txt")
        self.git("switch", "--quiet", "main")
        self.git("switch", "--quiet", "--orphan", "unrelated")
        self._put("a branch without a common commit", V1, "unrelated.txt", "hex")
        self.git("switch", "--quiet", "main")

    def _stashes(self) -> None:
        for number in range(2):  # the older stash is only in the reflog
            path = f"stash {number}.txt"
            self.write("README", V2)
            with (self._root / "README").open("ab") as file:
                file.write(f"stash {number}\n".encode())
            self.write(path, V1, "base64")
            self.git("stash", "push", "--quiet", "--include-untracked")
            stash, untracked = self.git("rev-parse", "refs/stash"), self.git("rev-parse", "refs/stash^3")
            self._keep(f"a stash {number}", V2, f"{stash}:README", frozenset({(stash, "README")}))
            name = f"an untracked file in a stash {number}"
            self._keep(name, V1, f"{untracked}:{path}", frozenset({(untracked, path)}), "base64")

    def _rewritten(self) -> None:
        self._put("an amended commit", V1, "amended.txt")
        (self._root / "amended.txt").write_bytes(b"nothing any more\n")
        self.git("commit", "--all", "--amend", "--quiet", "--message", "amended")
        self.git("commit", "--allow-empty", "--quiet", "--message", f"with {self._keys[V2]}")
        self._keep("the message of an amended commit", V2, "HEAD")
        self.git("commit", "--amend", "--allow-empty", "--quiet", "--message", "without")
        self._put("a commit that was reset away", V2, "reset.txt", "utf-16")
        self.git("reset", "--hard", "--quiet", "HEAD~1")
        self.git("switch", "--quiet", "--detach")
        self._put("a commit of no branch", V1, "detached.txt")
        self.git("switch", "--quiet", "main")

    def _unreachable(self) -> None:
        for variable, word in ((V1, "v1"), (V2, "v2")):
            given = f"nobody has\nthis: {self._keys[variable]}\n".encode()
            blob = self.git("hash-object", "-w", "--stdin", given=given)
            self._keep(f"an unreachable blob {word}", variable, blob)
        tree = self.git("rev-parse", "HEAD^{tree}")
        commit = self.git("commit-tree", tree, given=f"nobody has {self._keys[V1]}\n".encode())
        self._keep("an unreachable commit", V1, commit)
        blob = self.git("hash-object", "-w", "--stdin", given=b"\n" * 1_048_560 + b"  " + self._keys[V2].encode())
        self._keep("a large unreachable blob", V2, blob)

    def _in_the_index(self) -> None:
        for name, variable, path, form in (
            ("staged", V1, "staged/one.txt", "raw"),
            ("staged in base64", V2, "staged/two.txt", "base64"),
            ("staged in UTF-16", V1, "staged/three.txt", "utf-16"),
        ):
            self.write(path, variable, form)
            self.git("add", path)
            (self._root / path).unlink()  # it is only in the index
            self._keep(name, variable, f":{path}", frozenset({(None, path)}), form, is_staged=True)


PLACES: tuple[str, ...] = (
    "the first commit, deleted since",
    "deleted, as base64 of secret.key",
    "deleted, as raw of secret_v2.key",
    "deleted, as hex of secret_v2.key",
    "deleted, as utf-16 of secret.key",
    "deleted, as base64 of secret_v2.key",
    *(() if os.name == "nt" else ("a path beyond ASCII", "a path with quotes", "what a link leads to")),
    "in the work tree",
    "moved",
    "a file's name",
    "a directory's name",
    "in a directory whose name holds one",
    "a commit message v1",
    "a commit message v2",
    "a commit message in base64",
    "a tag's message",
    "an author's name",
    "a note",
    "a merged branch",
    "an evil merge",
    "a branch that is not merged",
    "a branch without a common commit",
    "a stash 0",
    "an untracked file in a stash 0",
    "a stash 1",
    "an untracked file in a stash 1",
    "an amended commit",
    "the message of an amended commit",
    "a commit that was reset away",
    "a commit of no branch",
    "an unreachable blob v1",
    "an unreachable blob v2",
    "an unreachable commit",
    "a large unreachable blob",
    "staged",
    "staged in base64",
    "staged in UTF-16",
)
"""The names of all plants, which tests need before there is a repository."""


def plant_history(root: Path, keys: dict[str, str]) -> dict[str, Kept]:
    """Plant all keys in a git repository, and return the record of each one, by its name.

    Args:
        root: an empty directory.
        keys: the delivered keys, by variable.
    """
    return History(root, keys).build()


def holding(root: Path, keys: dict[str, str]) -> Iterator[str]:
    """Yield each file in `.git` that has a key: git writes commit messages into some of them.

    Args:
        root: the repository.
        keys: the keys.
    """
    for directory, _, names in os.walk(root / ".git"):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                content = file.read()
            if any(key.encode() in content for key in keys.values()):
                yield os.path.relpath(path, root)
