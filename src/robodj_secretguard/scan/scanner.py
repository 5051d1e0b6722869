"""Scan files and git objects for keys, and collect the findings and what could not be read."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

from robodj_secretguard.errors import UnreadError, UsageError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.scan.content import Block, ContentSearch, Hit, read_place, walk
from robodj_secretguard.scan.git import DOT_GIT, MISSING, REPAIR, Placed, Repository, blocking_file, work_tree_of
from robodj_secretguard.scan.result import (
    LIST_SOURCE,
    LOG_SOURCE,
    REDACTED,
    Carrier,
    Found,
    KnownKey,
    Scan,
    Scope,
    Unread,
    Where,
)
from robodj_secretguard.scan.search import LEAST_ISSUED, KeySearch, known_keys, live_values, valid_key
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.policy import LEAST_MATERIAL, SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import is_free_text
from robodj_secretguard.settings import RuntimeSecrets, SecretSettings, judgement_of, setup_of
from robodj_secretguard.startup.directory import Delivery
from robodj_secretguard.startup.file_reader import text_of
from robodj_secretguard.startup.list_rules import check_list_owners, check_revocation_list, unusable_directories
from robodj_secretguard.startup.readings import (
    MAX_FILE_BYTES,
    Environment,
    Reading,
    config_directory,
    within_config_dir,
)
from robodj_secretguard.startup.rules import holds_key_material

_Carried: TypeAlias = tuple[str | None, str]  # the commit of an object, `None` for the index; its path
_Findings: TypeAlias = "list[tuple[Found, str | None, Sequence[_Carried]]]"  # each with its path
_Missed: TypeAlias = tuple[str, str, bool]  # a place, why it was not searched, and whether that matters
OBJECTS_AT_ONCE: Final = 1024  # from one process of git, which ends at a damaged object
MOST_IN_ONE_PLACE: Final = 100  # the listed keys of one file or object

_Item = TypeVar("_Item")
_BLOCKING: Final = "git would wait for this pipe or device, so git was not read; delete it, then scan again"
_MISSING_OBJECTS: Final = f"git does not have every object; {REPAIR}"


def scan(
    model: type[SecretSettings] = RuntimeSecrets,
    paths: Sequence[str] = (os.curdir,),
    *,
    scope: Scope = "files",
    by_fingerprint: bool = False,
    keys: Sequence[SealedStr] = (),
    operations_log: OperationsLog | None = None,
    config_dir: str | None = None,
    managers: Sequence[Delivery] = (),
    unread: Iterable[Unread] = (),
) -> Scan:
    """Search files or a git repository for known keys, assigned keys and tracked key files (policy sections 2 and 5).

    It searches for the keys that this process would start with, and for those whose fingerprints are recorded or
    revoked. Nothing in the result is a part of a key.

    Args:
        model: the settings model that declares the secrets.
        paths: files and directories. A missing one makes the scan incomplete.
        scope: `FILES`; or `STAGED` or `HISTORY`, for which all paths must be in one repository.
        by_fingerprint: search by fingerprints alone, without the keys that are set here.
        keys: further keys, which must be valid.
        operations_log: the operations log, after `read()`.
        config_dir: the config directory, as `guard()` takes it.
        managers: the secret managers whose keys are searched for, besides those of this process.
        unread: what was not read before, such as a manager that failed.

    Raises:
        UsageError: the paths are in several repositories.
        CheckFailedError: the search itself failed.
    """
    now = datetime.now(UTC)
    policies = tuple(model.secret_policies.values())
    readings = judgement_of(model, Environment(), now=now, config_dir=config_dir, managers=managers).readings
    setup = readings[0].setup
    further = ((key, KnownKey(fingerprint(key), known_by=("keys-from",)), True) for key in keys)
    at_hand = contain(lambda: [*live_values(readings), *further])
    searched = [] if by_fingerprint else at_hand
    live = [(value, key) for value, key, is_valid in searched if is_valid and key]
    log = operations_log or OperationsLog("")
    known = known_keys([key for _, key in live], log.records, dict(setup.revocation.begins), now)
    known_live = [(value, known[key.fingerprint or key.secret]) for value, key in live]
    search = contain(
        lambda: KeySearch(
            known.values(),
            known_live,
            [policy.generator for policy in policies if policy.generator],
            [value for value, *_ in at_hand],
        )
    )
    directory, _ = config_directory(Environment(), config_dir, setup_of(model))
    scanner = Scanner(
        search,
        policies,
        fallback_files=[os.path.join(directory, within_config_dir(policy.file)) for policy in policies],
    )
    existing = [path for path in dict.fromkeys(paths) if os.path.lexists(path)]
    repositories = scanner.repositories(existing, needs_git=scope != "files")
    if len(repositories) > 1 and scope != "files":
        raise UsageError("--git-history and --staged search one repository; pass paths in one repository only")
    contain(lambda: scanner.search(existing, repositories, scope))
    # A hook for staged changes runs where no key may be set, and where the model may not be importable.
    is_hook = scope == "staged"
    unread = [
        *unread,
        *_unread_records(log),
        *(
            Unread(LIST_SOURCE, problem.message)
            for problem in (*check_revocation_list(setup), *check_list_owners(setup))
        ),
        *(Unread("set-up", problem.message) for problem in unusable_directories(setup)),
        *([] if by_fingerprint else _unsearched(readings, at_hand, matters=not is_hook)),
        *_secrets_without_key(
            policies, known.values(), is_live=by_fingerprint or bool(live), matters=not (is_hook or searched)
        ),
        # By their numbers, as a path may be a pasted key.
        *(
            Unread(f"PATH {number}", "it does not exist")
            for number, path in enumerate(paths, start=1)
            if not os.path.lexists(path)
        ),
    ]
    return scanner.result(scope, known.values(), now, unread)


def _unread_records(log: OperationsLog) -> list[Unread]:
    matters = bool(log.unreadable or log.damage)  # an incomplete last line or a wrong clock hides no record
    whys = [why if is_free_text(why) else "it does not verify" for why in log.defects]  # a hash looks like a key
    missing = [] if log.found or log.named_by is None else [Unread(LOG_SOURCE, f"{log.name} does not exist")]
    return [Unread(LOG_SOURCE, why, matters) for why in whys] + missing


def _unsearched(
    readings: Iterable[Reading], values: Iterable[tuple[SealedStr, KnownKey | None, bool]], *, matters: bool
) -> list[Unread]:
    """Return the values that cannot be searched for."""
    files = [
        Unread(reading.policy.name, f"the key file {offer.location} {why}", matters)
        for reading in readings
        for offer in reading.offers
        for why in (offer.file.unreadable if offer.file else ())
    ]
    return files + [
        Unread(str(key.secret), f"its value ({key.known_by[0]}) is invalid, so it was not searched for", matters)
        for _, key, is_valid in values
        if key and not is_valid
    ]


def _secrets_without_key(
    policies: Iterable[SecretPolicy], known: Collection[KnownKey], *, is_live: bool, matters: bool
) -> Iterator[Unread]:
    """Yield secrets without a known key."""
    names = {key.secret for key in known}
    for policy in policies:
        if policy.is_issued and policy.name not in names:
            yield Unread(
                policy.name,
                f"only assignments of {policy.variable} were searched for, as no value of {LEAST_ISSUED} characters or"
                " more is known here",
                matters=False,
            )
        elif None not in names and known and policy.name not in names:
            yield Unread(policy.name, "no key of this secret is known here, so none was searched for", matters=False)
    if not known:
        yield Unread(
            "keys",
            "no valid key is set, recorded or revoked here, so only assignments and tracked key files were searched"
            " for; set the keys, or pass --from or --keys-from",
            matters,
        )
    elif not is_live:
        yield Unread("keys", "no key itself was searched for, only fingerprints", matters=False)


class Scanner:
    """Searches files and git objects.

    Keys are allowed in `fallback_files`, unless git tracks them.
    """

    def __init__(
        self,
        search: KeySearch,
        policies: Sequence[SecretPolicy],
        *,
        fallback_files: Iterable[str],
    ) -> None:
        self._search = search
        self._content = ContentSearch(search, policies)
        self._policies = policies
        self._fallback_files = {*map(_unfollowed, fallback_files)}
        self._work_trees: set[str] = set()
        # The paths are not redacted yet: a name may hold a key that is found later.
        self._found: _Findings = []
        self._missed: list[_Missed] = []
        self._counts = Counter[str]()

    def result(self, scope: Scope, known: Iterable[KnownKey], scanned_at: datetime, unread: Iterable[Unread]) -> Scan:
        """Return the result of the scan. `unread` is what could not be read besides the files and objects."""
        self._search.learn()
        shown = cache(self._shown)  # a file may have many findings
        findings = tuple(
            replace(
                found,
                path=None if path is None else shown(path),
                carriers=tuple(Carrier(commit, shown(name)) for commit, name in carriers),
            )
            for found, path, carriers in self._found
        )
        unread = (
            *unread,
            *dict.fromkeys(Unread(shown(path), why, matters) for path, why, matters in self._missed),
        )
        complete = not any(item.matters for item in unread)
        return Scan(
            ok=complete and not findings,
            complete=complete,
            scanned_at=scanned_at,
            scope=scope,
            looked_for=tuple(known),
            variables=tuple(variable for policy in self._policies for variable in policy.key_variables),
            files=self._counts["files"],
            objects=self._counts["objects"],
            size=self._counts["size"],
            findings=findings,
            unread=unread,
        )

    def files(self, paths: Sequence[str]) -> None:
        """Search files, links and names at some paths and below them."""
        for path, where in self._places(paths):
            self._name(path)
            if where != "name":
                self._counts["files"] += 1
                self._add(self._hits(read_place(path, where), path), where, path)

    def _places(self, paths: Sequence[str]) -> Iterator[tuple[str, Where]]:
        """Yield each path, and which part of it is searched."""
        for path, where, why, matters in walk(paths):
            directory = os.path.dirname(path) or os.curdir
            if os.path.basename(path) == DOT_GIT and os.path.realpath(directory) not in self._work_trees:
                for repository in self.repositories([directory], needs_git=True):
                    self.tracked(repository, [directory])
            is_fallback_file = where == "file" and self._is_fallback_file(path)
            if why:
                self._miss(path, why, matters=matters)
            elif is_fallback_file:
                self._miss(path, "this is a fallback file, so it was not searched", matters=False)
            yield path, "name" if is_fallback_file else where

    def repository(self, directory: str) -> Repository | None:
        """Return the repository that a directory is in. If git finds none, report that and return `None`."""
        if blocking := blocking_file(directory):
            self._work_trees.add(os.path.realpath(directory))
            self._miss(blocking, _BLOCKING)
            return None
        try:
            return Repository(directory, {variable for policy in self._policies for variable in policy.variables})
        except UnreadError as error:
            self._work_trees.add(os.path.realpath(directory))  # once is enough, as git may not answer for a time
            self._miss("git", str(error))  # without the path, which may be a key by mistake
            return None

    def repositories(self, paths: Iterable[str], *, needs_git: bool) -> list[Repository]:
        """Return the repositories that some paths are in. Without git, only work trees are looked up first."""
        directories = [path if os.path.isdir(path) else os.path.dirname(path) or os.curdir for path in paths]
        within = directories if needs_git else map(work_tree_of, directories)
        found = [self.repository(directory) for directory in dict.fromkeys(within) if directory is not None]
        return [*{repository.top: repository for repository in found if repository}.values()]

    def search(self, paths: Sequence[str], repositories: Iterable[Repository], scope: Scope) -> None:
        """Search the places of a scope."""
        for repository in repositories:
            if scope == "staged":
                self.staged(repository)
            elif scope == "git-history":
                self.history(repository)
                paths = [*paths, *repository.directories]
            else:
                self.tracked(repository, paths)
        if scope != "staged":
            self.files(paths)

    def tracked(self, repository: Repository, paths: Sequence[str]) -> None:
        """Search the key files that git tracks at some paths and below them."""
        within = tuple(os.path.join(os.path.realpath(path), "") for path in paths)
        self._key_files(
            repository,
            [
                (name, path)
                for name, path in self._tracked(repository)
                if os.path.join(_unfollowed(os.path.join(repository.top, path)), "").startswith(within)
            ],
        )

    def staged(self, repository: Repository) -> None:
        """Search what the next commit adds or changes."""
        if not repository.has_work_tree:
            self._miss("git", "the repository has no work tree, so nothing is staged")
        staged = [*self._each(repository.staged())]
        for path, name, _, blocks in self._objects_of(repository, staged):
            self._counts["objects"] += 1
            self._name(path)
            self._add(self._hits(blocks, path), "index", path, object=name)
        self._key_files(repository, [(name, path) for name, path in staged if self._is_key_file(path)])

    def history(self, repository: Repository) -> None:
        """Search every object that git keeps."""
        for why in self._each(repository.limits()):
            self._miss("git history", why)
        for path in self._each(repository.submodules()):
            self._name(path)
            self._miss(path, "this is a submodule; scan its history separately", matters=False)
        self._tracked(repository)
        kept = dict.fromkeys(self._each(repository.names()))
        ahead = iter(kept)
        while part := [(name, "") for name in islice(ahead, OBJECTS_AT_ONCE)]:
            self._objects(repository, part)
        with_keys = {found.object for found, *_ in self._found}
        carriers: dict[str | None, dict[_Carried, None]] = {}
        key_files: dict[str, str] = {}
        for name, commit, path in self._each(repository.history()):
            if self._is_key_file(path):
                key_files[name] = path
            if name in with_keys or name in key_files:
                carriers.setdefault(name, {})[commit, path] = None
            if name not in kept:
                self._miss("git", _MISSING_OBJECTS)
        self._found = [
            (found, path, tuple(carriers.get(found.object, ())))
            # git's own order changes when it packs
            for found, path, _ in sorted(self._found, key=lambda each: each[0].object or "")
        ]
        self._key_files(repository, [*key_files.items()], carriers)

    def _objects(self, repository: Repository, part: Sequence[Placed]) -> None:
        for _, name, kind, blocks in self._objects_of(repository, part):
            self._counts["objects"] += 1
            self._add(self._hits(blocks, f"{kind} {name}"), "history", None, object=name, object_type=kind)

    def _tracked(self, repository: Repository) -> list[Placed]:
        """Return the key files that git tracks. A tracked fallback file must not hold a key either."""
        self._work_trees.add(os.path.realpath(repository.top))
        index = [*self._each(repository.index())]
        self._fallback_files -= {
            _unfollowed(full)
            for full in (os.path.join(repository.top, path) for _, path in index)
            if self._is_fallback_file(full)
        }
        return [(name, path) for name, path in index if self._is_key_file(path)]

    def _is_fallback_file(self, path: str) -> bool:
        return (
            os.path.basename(path) in map(os.path.basename, self._fallback_files)  # first, as this is fast
            and _unfollowed(path) in self._fallback_files
        )

    def _each(self, parts: Iterable[_Item], place: str = "git") -> Iterator[_Item]:
        """Yield the parts of a place, and record why there are no more."""
        try:
            for part in parts:  # noqa: UP028 - "yield from" would close a content that git still writes
                yield part
        except UnreadError as error:
            self._miss(place, str(error))

    def _objects_of(
        self, repository: Repository, put: Sequence[Placed]
    ) -> Iterator[tuple[str, str, str, Iterator[bytes]]]:
        """Yield the path, name, kind and content of each pair of an object and a path."""
        objects = self._each(repository.objects(name for name, _ in put))
        for (_, path), (name, kind, blocks) in zip(put, objects, strict=False):
            if kind == MISSING:
                self._miss("git", _MISSING_OBJECTS)
            yield path, name, kind, blocks

    def _policy(self, path: str) -> SecretPolicy | None:
        """Return the secret whose fallback file has this path in a repository."""
        return next((policy for policy in self._policies if f"/{path}".endswith(f"/{policy.file}")), None)

    def _is_key_file(self, path: str) -> bool:
        """Return whether a path in a repository is a key file: `config/*.key`, or that of a declared secret."""
        return bool(re.fullmatch(r"(?:.*/)?config/[^/]+\.key", path, re.DOTALL) or self._policy(path))

    def _key_files(
        self,
        repository: Repository,
        tracked: Sequence[Placed],
        carriers: Mapping[str | None, Iterable[_Carried]] | None = None,
    ) -> None:
        """Add a finding for each tracked file with key material: in the index, if there are no carriers."""
        for path, name, _, blocks in self._objects_of(repository, tracked):
            beginning = next(self._each(blocks), b"")[: MAX_FILE_BYTES + 1]
            put = () if carriers is None else tuple(carriers[name])
            policy = self._policy(put[0][1] if put else path)
            kind = policy.material if policy and policy.material.is_taken_whole else LEAST_MATERIAL
            text = text_of(beginning, is_whole=kind is not LEAST_MATERIAL)
            if len(beginning) > MAX_FILE_BYTES or holds_key_material(text, kind):
                seen = [self._search.see(key, kind) for line in text.lines if (key := valid_key(line, kind))]
                found = Found(
                    rule="tracked-key-file",
                    where="history" if put else "index",
                    secret=policy.name if policy else None,
                    fingerprint=seen[0].fingerprint if len(text.lines) == len(seen) == 1 else None,
                    object=name,
                    object_type="blob" if put else None,
                )
                self._found.append((found, None if put else path, put))

    def _name(self, path: str) -> None:
        """Search the last name in a path. The directories before it have their own searches."""
        self._add(self._content.find([os.fsencode(os.path.basename(path))]), "name", path)

    def _hits(self, blocks: Iterable[Block], place: str) -> Iterator[Hit]:
        """Yield what is found in a content, and record if it is not searched or listed completely."""
        for number, hit in enumerate(self._content.find(self._counted(self._each(blocks, place)))):
            if number == MOST_IN_ONE_PLACE:
                self._miss(place, f"only its first {MOST_IN_ONE_PLACE} keys are listed; remove these, then scan again")
                return
            yield hit

    def _counted(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            self._counts["size"] += block if isinstance(block, int) else len(block)
            yield block

    def _add(self, hits: Iterable[Hit], where: Where, path: str | None, **of_git: Any) -> None:
        has_lines = where != "name" and of_git.get("object_type") != "tree"
        self._found += [
            (
                Found(
                    rule=rule,
                    where=where,
                    secret=key.secret,
                    environment=key.environment,
                    fingerprint=key.fingerprint,
                    known_by=key.known_by,
                    form=" in ".join(reversed(forms)) or "raw",
                    line=line if has_lines else None,
                    column=column if has_lines else None,
                    offset=offset if has_lines else None,
                    **of_git,
                ),
                path,
                (),
            )
            for offset, line, column, rule, key, forms in hits
        ]

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
        return self._search.shows_part(name) or any(True for _ in self._content.find([name]))


def _unfollowed(path: str) -> str:
    """Return the path of a file with the links in its directories resolved."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
