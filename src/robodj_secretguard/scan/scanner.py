"""The scan: search files and git objects, and collect findings and what could not be read."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.content import ContentSearch
from robodj_secretguard.scan.git import DOT_GIT, MISSING, Repository
from robodj_secretguard.scan.result import REDACTED, Carrier, Found, KnownKey, Rule, Scan, Scope, Unread, Where
from robodj_secretguard.scan.search import KeySearch
from robodj_secretguard.scan.walk import content, walk
from robodj_secretguard.secret.material import fingerprint, is_sound
from robodj_secretguard.secret.policy import LEAST_MATERIAL
from robodj_secretguard.startup.readings import MAX_FILE_BYTES
from robodj_secretguard.startup.rules import holds_key_material
from robodj_secretguard.startup.textfile import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import TypeAlias

    from robodj_secretguard.scan.content import Hit
    from robodj_secretguard.scan.git import Object
    from robodj_secretguard.secret.policy import SecretPolicy

    _Carried: TypeAlias = tuple[str | None, str]  # the commit of an object, `None` for the index; its path

MOST_IN_ONE_PLACE: Final = 100  # the listed keys of one file or object

_Part = TypeVar("_Part")
_NOT_THERE: Final = "git does not have the complete object; run git fsck"
_KEY_FILE: Final = re.compile(r"(?:.*/)?config/[^/]+\.key", re.DOTALL)


class Scanner:
    """Searches files and git objects.

    Keys are allowed in `fallback_files`, unless git tracks them. `progress` gets the numbers of files and objects, and
    of bytes, so far. `unread` is what the caller could not read.
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
        self._opaque = {policy.name for policy in policies if policy.is_opaque}
        self._fallback_files = {*map(_unfollowed, fallback_files)}
        self._progress = progress
        self._work_trees: set[str] = set()
        self._learned = KeySearch({}, [], ())
        # The paths are not redacted yet: a name may hold a key that is found later.
        self._found: list[tuple[Found, str | None, Sequence[_Carried]]] = []
        self._missed: list[tuple[str, str, bool]] = []
        self._unread = [*unread]
        self._files = self._objects = self._size = 0

    def result(self, scope: Scope, known: Iterable[KnownKey], scanned_at: datetime) -> Scan:
        """Return the result of the scan."""
        seen = self._search.seen
        self._learned = KeySearch({}, [(key, KnownKey(each)) for each, key in seen.items()], (), seen.values())
        findings = tuple(
            replace(
                found,
                path=None if path is None else self._shown(path),
                carriers=tuple(Carrier(commit, self._shown(each)) for commit, each in carriers),
            )
            for found, path, carriers in self._found
        )
        missed = dict.fromkeys(Unread(self._shown(path), why, matters) for path, why, matters in self._missed)
        unread = (*self._unread, *missed)
        complete = not any(each.matters for each in unread)
        return Scan(
            ok=complete and not findings,
            complete=complete,
            scanned_at=scanned_at,
            scope=scope,
            looked_for=tuple(known),
            variables=tuple(variable for policy in self._policies for variable in policy.key_variables),
            files=self._files,
            objects=self._objects,
            size=self._size,
            findings=findings,
            unread=unread,
        )

    def files(self, paths: Sequence[str]) -> None:
        """Search files, links and names at some paths and below them."""
        for path, where, why, matters in walk(paths):
            self._name(path)
            if why:
                self._miss(path, why, matters=matters)
                continue
            if os.path.basename(path) == DOT_GIT:
                self._work_tree(os.path.dirname(path) or os.curdir)
            if where is Where.FILE and self._is_fallback_file(path):
                self._miss(path, "this is a fallback file, so it was not searched", matters=False)
            elif where is not Where.NAME:
                self._files += 1
                self._add(self._hits(content(path, where), path), where, path)

    def repository(self, directory: str) -> Repository | None:
        """Return the repository that a directory is in. If git finds none, report that and return `None`."""
        withheld = {variable for policy in self._policies for variable in policy.variables}
        try:
            return Repository(directory, withheld)
        except UnreadError as error:
            self._miss("git", str(error))  # without the path, which may be a key by mistake
            return None

    def tracked(self, repository: Repository, paths: Sequence[str]) -> None:
        """Search the key files that git tracks at some paths and below them."""
        within = tuple(os.path.join(os.path.realpath(path), "") for path in paths)
        below = [
            (name, path)
            for name, path in self._tracked(repository)
            if os.path.join(_unfollowed(os.path.join(repository.top, path)), "").startswith(within)
        ]
        self._key_files(repository, below)

    def staged(self, repository: Repository) -> None:
        """Search what the next commit adds or changes."""
        if not repository.has_work_tree:
            self._miss("git", "the repository has no work tree, so nothing is staged")
        staged = [*self._each(repository.staged())]
        for (_, path), (name, _, blocks) in self._put(repository, staged):
            self._objects += 1
            self._name(path)
            self._add(self._hits(blocks, path), Where.INDEX, path, object=name)
        self._key_files(repository, [each for each in staged if self._is_key_file(each[1])])

    def history(self, repository: Repository) -> None:
        """Search every object that git keeps."""
        for why in self._each(repository.limits()):
            self._miss("git history", why)
        for path in self._each(repository.submodules()):
            self._name(path)
            self._miss(path, "this is a submodule; scan its history separately", matters=False)
        self._tracked(repository)
        hits: dict[str, tuple[str, list[Hit]]] = {}
        kept: set[bytes] = set()
        for name, kind, blocks in self._objects_of(repository):
            self._objects += 1
            kept.add(bytes.fromhex(name))
            if found := [*self._hits(blocks, f"{kind} {name}")]:
                hits[name] = kind, found
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
            self._add(found, Where.HISTORY, None, _commits_first(carriers.get(name, ())), object=name, object_type=kind)
        self._key_files(repository, [*key_files.items()], carriers)

    def _tracked(self, repository: Repository) -> list[tuple[str, str]]:
        """Return the key files that git tracks. A tracked fallback file must not hold a key either."""
        self._work_trees.add(os.path.realpath(repository.top))
        index = [*self._each(repository.index())]
        paths = (os.path.join(repository.top, path) for _, path in index)
        self._fallback_files -= {_unfollowed(each) for each in paths if self._is_fallback_file(each)}
        return [each for each in index if self._is_key_file(each[1])]

    def _is_fallback_file(self, path: str) -> bool:
        return (
            os.path.basename(path) in map(os.path.basename, self._fallback_files)  # first, as this is fast
            and _unfollowed(path) in self._fallback_files
        )

    def _work_tree(self, directory: str) -> None:
        """Search the key files that git tracks, in a repository that `files` has found."""
        if os.path.realpath(directory) not in self._work_trees and (repository := self.repository(directory)):
            self.tracked(repository, [directory])

    def _each(self, parts: Iterable[_Part], place: str = "git") -> Iterator[_Part]:
        """Yield the parts of a place, and record why there are no more."""
        try:
            for part in parts:  # noqa: UP028 - "yield from" would close a content that git still writes
                yield part
        except UnreadError as error:
            self._miss(place, str(error))

    def _objects_of(self, repository: Repository, names: Iterable[str] | None = None) -> Iterator[Object]:
        for name, kind, blocks in self._each(repository.objects(names)):
            if kind == MISSING:
                self._miss(f"object {name}", _NOT_THERE)
            yield name, kind, blocks

    def _put(self, repository: Repository, put: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Object]]:
        """Yield each pair of an object name and a path, with the object."""
        return zip(put, self._objects_of(repository, [name for name, _ in put]), strict=False)

    def _policy(self, path: str) -> SecretPolicy | None:
        """Return the secret whose fallback file has this path in a repository."""
        return next((each for each in self._policies if f"/{path}".endswith(f"/{each.file}")), None)

    def _is_key_file(self, path: str) -> bool:
        """Return whether a path in a repository is a key file: `config/*.key`, or that of a declared secret."""
        return _KEY_FILE.fullmatch(path) is not None or self._policy(path) is not None

    def _key_files(
        self,
        repository: Repository,
        tracked: Sequence[tuple[str, str]],
        carriers: Mapping[str, Iterable[_Carried]] | None = None,
    ) -> None:
        """Add a finding for each tracked file with key material: in the index, if there are no carriers."""
        for (_, path), (name, _, blocks) in self._put(repository, tracked):
            beginning = next(self._each(blocks), b"")[: MAX_FILE_BYTES + 1]
            text = text_of(beginning)
            put = () if carriers is None else _commits_first(carriers[name])
            policy = self._policy(put[0][1] if put else path)
            is_opaque = policy is not None and policy.is_opaque
            if len(beginning) > MAX_FILE_BYTES or holds_key_material(text, is_opaque=is_opaque):
                sound = [line for line in text.lines if is_sound(line.get_secret_value(), LEAST_MATERIAL)]
                self._search.seen |= {fingerprint(key): key for key in sound}
                found = Found(
                    rule=Rule.TRACKED_KEY_FILE,
                    where=Where.HISTORY if put else Where.INDEX,
                    secret=policy.name if policy else None,
                    fingerprint=fingerprint(sound[0]) if len(text.lines) == len(sound) == 1 and not is_opaque else None,
                    object=name,
                    object_type="blob" if put else None,
                )
                self._found.append((found, None if put else path, put))

    def _name(self, path: str) -> None:
        """Search the last name in a path. The directories before it have their own searches."""
        self._add(self._content.find([os.fsencode(os.path.basename(path))]), Where.NAME, path)

    def _hits(self, blocks: Iterable[bytes | int], place: str) -> Iterator[Hit]:
        """Yield what is found in a content, and record if it is not searched or listed completely."""
        for number, hit in enumerate(self._each(self._content.find(self._counted(blocks)), place)):
            if number == MOST_IN_ONE_PLACE:
                self._miss(place, f"only its first {MOST_IN_ONE_PLACE} keys are listed; remove these, then scan again")
                return
            yield hit

    def _counted(self, blocks: Iterable[bytes | int]) -> Iterator[bytes | int]:
        self._progress(self._files + self._objects, self._size)
        for block in blocks:
            self._size += block if isinstance(block, int) else len(block)
            yield block
            self._progress(self._files + self._objects, self._size)

    def _add(
        self, hits: Iterable[Hit], where: Where, path: str | None, carriers: Sequence[_Carried] = (), **of_git: Any
    ) -> None:
        has_lines = where is not Where.NAME and of_git.get("object_type") != "tree"
        for offset, line, column, rule, key, forms in hits:
            found = Found(
                rule=rule,
                where=where,
                secret=key.secret,
                environment=key.environment,
                fingerprint=None if key.secret in self._opaque else key.fingerprint,
                known_by=key.known_by,
                form=" in ".join(reversed(forms)) or "raw",
                line=line if has_lines else None,
                column=column if has_lines else None,
                offset=offset if has_lines else None,
                **of_git,
            )
            self._found.append((found, path, carriers))

    def _miss(self, place: str, why: str, *, matters: bool = True) -> None:
        self._missed.append((place, why, matters))

    def _shown(self, path: str) -> str:
        """Return a path for the output: ASCII, one line, and without names that hold keys."""
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
    """Return the carriers of an object in git's order, the index last."""
    return tuple(sorted(carriers, key=lambda carrier: carrier[0] is None))


def _unfollowed(path: str) -> str:
    """Return the path of a file with the links in its directories resolved."""
    parent, name = os.path.split(path)
    return os.path.join(os.path.realpath(parent), name)
