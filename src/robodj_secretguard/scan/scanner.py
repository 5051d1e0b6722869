"""The scan: every place is looked at, and what is found or could not be read is collected."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from robodj_secretguard.checks import holds_key_material
from robodj_secretguard.errors import GitError, UnreadError
from robodj_secretguard.material import fingerprint, is_sound
from robodj_secretguard.policy import LEAST_MATERIAL
from robodj_secretguard.scan.content import ContentSearch, Hole
from robodj_secretguard.scan.git import DOT_GIT, MISSING, Repository
from robodj_secretguard.scan.result import REDACTED, Carrier, Found, KnownKey, Rule, Scan, Scope, Unread, Where
from robodj_secretguard.scan.search import KeySearch
from robodj_secretguard.scan.walk import Kind, Unreadable, content, walk
from robodj_secretguard.sources import MAX_FILE_BYTES
from robodj_secretguard.textfile import TextFile, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.scan.content import Hit
    from robodj_secretguard.scan.git import Object

MOST_IN_ONE_PLACE: Final = 100
"""How many keys in one file or object are listed."""

_Part = TypeVar("_Part")
_Carried: TypeAlias = tuple[str | None, str]
"""What carries an object: the commit, which is `None` for the index, and the path."""
_NOT_THERE: Final = "git does not have it, or not whole"
_KEY_FILE: Final = re.compile(r"(?:.*/)?config/[^/]+\.key", re.DOTALL)


class _Finding(NamedTuple):
    """A finding whose paths are as they are, not yet as they may be shown.

    Attributes:
        found: what was found.
        path: its path.
        carriers: the commits that put it there, and under which path.
    """

    found: Found
    path: str | None
    carriers: Sequence[_Carried]


class Scanner:
    """Looks at places one after the other.

    Args:
        search: the search for known keys.
        policies: the declared secrets.
        fallback_files: the files where keys may be, unless git tracks them.
        progress: what is told, again and again, how many files and objects were looked at, and how many bytes.
        unread: what is known already not to be looked at.
    """

    def __init__(
        self,
        search: KeySearch,
        policies: Sequence[SecretPolicy],
        *,
        fallback_files: Iterable[str],
        progress: Callable[[int, int], None],
        unread: Iterable[Unread],
    ) -> None:
        self._search = search
        self._content = ContentSearch(search, policies)
        self._policies = policies
        self._fallback_files = {*map(_unfollowed, fallback_files)}
        self._progress = progress
        self._work_trees: set[str] = set()
        self._learned = KeySearch({}, [], ())
        self._found: list[_Finding] = []
        self._unread: list[Unreadable] = []
        self._unread_before = [*unread]
        self._files = self._objects = self._size = 0

    def result(self, scope: Scope, known: Iterable[KnownKey], scanned_at: datetime) -> Scan:
        """Return what was found.

        Args:
            scope: what was looked at.
            known: the keys that were looked for.
            scanned_at: when the scan began, in UTC.
        """
        # Only now: a name may hold a key that was found after it.
        seen = self._search.seen
        self._learned = KeySearch({}, [(key, KnownKey(each)) for each, key in seen.items()], (), seen.values())
        findings = [
            replace(
                each.found,
                path=None if each.path is None else self._shown(each.path),
                carriers=tuple(Carrier(commit, self._shown(path)) for commit, path in each.carriers),
            )
            for each in self._found
        ]
        missed = dict.fromkeys(Unread(self._shown(each.path), each.why, each.matters) for each in self._unread)
        unread = (*self._unread_before, *missed)
        complete = not any(each.matters for each in unread)
        return Scan(
            ok=complete and not findings,
            complete=complete,
            scanned_at=scanned_at,
            scope=scope,
            looked_for=tuple(known),
            variables=tuple(policy.variable for policy in self._policies),
            files=self._files,
            objects=self._objects,
            size=self._size,
            findings=tuple(findings),
            unread=unread,
        )

    def files(self, paths: Sequence[str]) -> None:
        """Look at files, links and names.

        Args:
            paths: where, and all that is below.
        """
        for each in walk(paths):
            self._name(each.path)
            if isinstance(each, Unreadable):
                self._unread.append(each)
                continue
            if os.path.basename(each.path) == DOT_GIT:
                self._work_tree(os.path.dirname(each.path) or os.curdir)
            if each.kind is Kind.FILE and self._is_fallback_file(each.path):
                self._miss(each.path, "a fallback file, where its key may be", matters=False)
            elif each.kind is not Kind.DIRECTORY:
                self._files += 1
                where = Where.LINK if each.kind is Kind.LINK else Where.FILE
                for hit in self._hits(content(each), each.path):
                    self._add(hit, where, each.path)

    def repository(self, directory: str) -> Repository | None:
        """Return the repository that a directory is in; `None`, and take note of it, where git finds none.

        Args:
            directory: the directory.
        """
        variables = {variable for policy in self._policies for variable in (policy.variable, policy.expiry_variable)}
        try:
            return Repository(directory, variables)
        except GitError as error:
            self._miss("git", str(error))  # not where: a key may have been put in the place of a path
            return None

    def tracked(self, repository: Repository, paths: Sequence[str]) -> None:
        """Look at the key files that git tracks.

        Args:
            repository: the repository.
            paths: where, and all that is below.
        """
        within = tuple(os.path.join(os.path.realpath(path), "") for path in paths)

        def is_below(path: str) -> bool:
            return os.path.join(_unfollowed(path), "").startswith(within)

        tracked = self._tracked(repository)
        below = [each for each in tracked if is_below(os.path.join(repository.top, each[1]))]
        self._key_files(repository, below)

    def staged(self, repository: Repository) -> None:
        """Look at what the next commit adds or changes.

        Args:
            repository: the repository.
        """
        if not repository.has_work_tree:
            self._miss("git", "there is no work tree here, and so nothing is staged")
        staged = [*self._each(repository.staged())]
        for path, each in self._put(repository, staged):
            self._objects += 1
            self._name(path)
            for hit in self._hits(each.content, path):
                self._add(hit, Where.INDEX, path, object=each.name)
        self._key_files(repository, [each for each in staged if self._is_key_file(each[1])])

    def history(self, repository: Repository) -> None:
        """Look at every object that git keeps.

        Args:
            repository: the repository.
        """
        self._limits(repository)
        self._tracked(repository)
        hits: dict[str, tuple[str, list[Hit]]] = {}
        kept: set[bytes] = set()
        for each in self._objects_of(repository):
            self._objects += 1
            kept.add(bytes.fromhex(each.name))
            if found := [*self._hits(each.content, f"{each.kind} {each.name}")]:
                hits[each.name] = each.kind, found
        carriers: dict[str, dict[_Carried, None]] = {}
        key_files: dict[str, str] = {}
        for name, commit, path in self._each(repository.history()):
            if self._is_key_file(path):
                key_files[name] = path
            if name in hits or name in key_files:
                carriers.setdefault(name, {})[commit, path] = None
            if bytes.fromhex(name) not in kept:
                self._miss(f"object {name}", _NOT_THERE)
        for name, (kind, found) in sorted(hits.items()):  # git's own order changes when it packs
            for hit in found:
                self._add(hit, Where.HISTORY, object=name, kind=kind, carriers=_commits_first(carriers.get(name, ())))
        self._key_files(repository, [*key_files.items()], carriers)

    def _limits(self, repository: Repository) -> None:
        """Take note of what is not in a repository's history."""
        for why in self._each(repository.limits()):
            self._miss("git history", why)
        for path in self._each(repository.submodules()):
            self._name(path)
            self._miss(path, "a submodule, whose history is another repository's", matters=False)

    def _tracked(self, repository: Repository) -> list[tuple[str, str]]:
        """Return the key files that git tracks: a key may not be there, even if it is a fallback file's place."""
        self._work_trees.add(os.path.realpath(repository.top))
        index = [*self._each(repository.index())]
        places = (os.path.join(repository.top, path) for _, path in index)
        self._fallback_files -= {_unfollowed(each) for each in places if self._is_fallback_file(each)}
        return [each for each in index if self._is_key_file(each[1])]

    def _is_fallback_file(self, path: str) -> bool:
        names = map(os.path.basename, self._fallback_files)  # first, as it is quick
        return os.path.basename(path) in names and _unfollowed(path) in self._fallback_files

    def _work_tree(self, directory: str) -> None:
        """Look at the key files that git tracks in a repository that was come across."""
        if os.path.realpath(directory) not in self._work_trees and (repository := self.repository(directory)):
            self.tracked(repository, [directory])

    def _each(self, parts: Iterable[_Part], place: str = "git") -> Iterator[_Part]:
        """Yield what there is at a place, and take note of why that is not all."""
        try:
            yield from parts
        except UnreadError as error:
            self._miss(place, str(error))

    def _objects_of(self, repository: Repository, names: Iterable[str] | None = None) -> Iterator[Object]:
        for each in self._each(repository.objects(names)):
            if each.kind == MISSING:
                self._miss(f"object {each.name}", _NOT_THERE)
            yield each

    def _put(self, repository: Repository, put: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Object]]:
        """Yield the paths at which objects are put, and the objects."""
        yield from zip((path for _, path in put), self._objects_of(repository, [name for name, _ in put]), strict=False)

    def _policy(self, path: str) -> SecretPolicy | None:
        """Return the declared secret whose fallback file a path in a repository is."""
        return next((each for each in self._policies if f"/{path}".endswith(f"/{each.file}")), None)

    def _is_key_file(self, path: str) -> bool:
        """Whether a file of a repository is one that holds a key: `config/*.key`, or what a declared secret names."""
        return _KEY_FILE.fullmatch(path) is not None or self._policy(path) is not None

    def _key_files(
        self,
        repository: Repository,
        tracked: Sequence[tuple[str, str]],
        carriers: Mapping[str, Iterable[_Carried]] | None = None,
    ) -> None:
        """Add a finding for each tracked file that holds key material: in the index, where no carriers are given."""
        for path, each in self._put(repository, tracked):
            beginning = next(self._each(each.content), b"")[: MAX_FILE_BYTES + 1]
            unreadable, lines = lines_of(beginning)
            if len(beginning) > MAX_FILE_BYTES or holds_key_material(TextFile(lines=lines, unreadable=unreadable)):
                sound = [line for line in lines if is_sound(line.get_secret_value(), LEAST_MATERIAL)]
                self._search.seen |= {fingerprint(key): key for key in sound}
                put = () if carriers is None else _commits_first(carriers[each.name])
                policy = self._policy(put[0][1] if put else path)
                found = Found(
                    rule=Rule.TRACKED_KEY_FILE,
                    where=Where.HISTORY if put else Where.INDEX,
                    secret=policy.name if policy else None,
                    fingerprint=fingerprint(lines[0]) if len(lines) == len(sound) == 1 else None,
                    object=each.name,
                    kind="blob" if put else None,
                )
                self._found.append(_Finding(found, None if put else path, put))

    def _name(self, path: str) -> None:
        """Look at a name itself: its last part, since those before are looked at by themselves."""
        for hit in self._content.find([os.fsencode(os.path.basename(path))]):
            self._add(hit, Where.NAME, path)

    def _hits(self, blocks: Iterable[bytes | Hole], place: str) -> Iterator[Hit]:
        """Yield what is found in a content, and take note of why it cannot be looked at as a whole."""
        for number, hit in enumerate(self._each(self._content.find(self._counted(blocks)), place)):
            if number == MOST_IN_ONE_PLACE:
                self._miss(place, f"it has more keys than the first {MOST_IN_ONE_PLACE}, which are listed")
                return
            yield hit

    def _counted(self, blocks: Iterable[bytes | Hole]) -> Iterator[bytes | Hole]:
        self._progress(self._files + self._objects, self._size)
        for block in blocks:
            self._size += block.size if isinstance(block, Hole) else len(block)
            yield block
            self._progress(self._files + self._objects, self._size)

    def _add(
        self, hit: Hit, where: Where, path: str | None = None, carriers: Sequence[_Carried] = (), **of_git: Any
    ) -> None:
        has_lines = where is not Where.NAME and of_git.get("kind") != "tree"
        found = Found(
            rule=hit.rule,
            where=where,
            secret=hit.key.secret,
            environment=hit.key.environment,
            fingerprint=hit.key.fingerprint,
            known_by=hit.key.known_by,
            form=" in ".join(reversed(hit.forms)) or "raw",
            line=hit.line if has_lines else None,
            column=hit.column if has_lines else None,
            offset=hit.offset if has_lines else None,
            **of_git,
        )
        self._found.append(_Finding(found, path, carriers))

    def _miss(self, place: str, why: str, *, matters: bool = True) -> None:
        self._unread.append(Unreadable(place, why, matters))

    def _shown(self, path: str) -> str:
        """Return a path as it may be shown: in ASCII, in one line, and without a name that holds a key."""
        parts = path.replace(os.sep, "/").removeprefix("./").split("/")
        shown = "/".join(REDACTED if self._holds_key(part) else part for part in parts)
        shown = REDACTED if self._holds_key(shown) else shown
        return shown.encode("unicode_escape").decode("ascii")

    def _holds_key(self, text: str) -> bool:
        name = os.fsencode(text)
        return (
            self._search.shows_part(name)
            or self._learned.shows_part(name)
            or any(True for _ in self._content.find([name]))
            or any(True for _ in self._learned.find(name))
        )


def _commits_first(carriers: Iterable[_Carried]) -> tuple[_Carried, ...]:
    """Return what carries an object, in git's order, the index last."""
    return tuple(sorted(carriers, key=lambda carrier: carrier[0] is None))


def _unfollowed(path: str) -> str:
    """Return where a file is itself, through the links on the way to it."""
    parent, name = os.path.split(path)
    return os.path.join(os.path.realpath(parent), name)
