"""What a scan has found, and what it has not looked at. Nothing here has a field that could hold a value."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.shapes import SHAPE, Environment, Fingerprint, FreeText, Instant, SecretName, must
from robodj_secretguard.texts import count, is_free_text

REDACTED: Final = "[redacted]"
"""In the place of a name that holds a key."""
OPERATIONS_LOG: Final = "operations log"
REVOCATION_LIST: Final = "revocation list"
"""Where fingerprints are known from; all else is where a key is."""

_OBJECT_NAME: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Rule(StrEnum):
    """How it is known that something is a key."""

    KNOWN_KEY = "known-key"
    ASSIGNED_KEY = "assigned-key"
    TRACKED_KEY_FILE = "tracked-key-file"


class Scope(StrEnum):
    """What a scan looks at."""

    FILES = "files"
    STAGED = "staged"
    """What the next commit adds or changes."""
    HISTORY = "git-history"
    """Files, and every object that git keeps."""


class Where(StrEnum):
    """What kind of place holds a key."""

    FILE = "file"
    NAME = "name"
    """A file's or directory's own."""
    LINK = "link"
    """What it leads to."""
    INDEX = "index"
    HISTORY = "history"


def size_in_words(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / (1 << 20):,.1f} MiB"


def is_object_name(text: str) -> bool:
    """Whether text is the hash of one of git's objects."""
    return _OBJECT_NAME.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """Whether text is a path as a scan shows it: printable ASCII, perhaps nothing but blanks."""
    return text.isascii() and text.isprintable()


def _redacted(path: str) -> str:
    """Return a path without the names in it that could hold a key: of a document that anybody may have written."""
    return "/".join(part if is_free_text(part or "-") else REDACTED for part in path.split("/"))


_Path = Annotated[str, must(is_path)]
_Secret = Annotated[SecretName, must(is_free_text)]
_Count = Annotated[int, Field(ge=0)]
_Place = Annotated[int, Field(ge=1)]
_ObjectName = Annotated[str, must(is_object_name)]


@dataclass(frozen=True, config=SHAPE)
class KnownKey:
    """A key that is looked for.

    Attributes:
        fingerprint: its fingerprint.
        secret: the name of its secret; `None` where that is not known.
        environment: where it is recorded as used; `None` where that is not known.
        known_by: where it, or its fingerprint, was found.
    """

    fingerprint: Fingerprint
    secret: _Secret | None = None
    environment: Environment | None = None
    known_by: tuple[FreeText, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether it is at hand itself."""
        return not {OPERATIONS_LOG, REVOCATION_LIST}.issuperset(self.known_by)

    @property
    def is_revoked(self) -> bool:
        """Whether it is on the revocation list."""
        return REVOCATION_LIST in self.known_by


@dataclass(frozen=True, config=SHAPE)
class Carrier:
    """What carries one of git's objects.

    Attributes:
        commit: the commit that put it there; `None` for the index.
        path: the path that it has there.
    """

    commit: _ObjectName | None
    path: _Path


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Found:
    """A key where it must not be.

    Attributes:
        rule: how it is known to be one.
        where: what kind of place it is.
        secret: the name of its secret; `None` where that is not known.
        environment: where it is recorded as used; `None` where that is not known.
        fingerprint: its fingerprint; `None` for a file that holds more, or something else, than one sound key.
        known_by: where it, or its fingerprint, is known from.
        form: `raw`, or its encoding.
        path: the path, escaped, and without a name that holds a key; `None` for what has none.
        line: the line, from 1.
        column: the character in the line, from 1.
        offset: where it, or the text that it is encoded in, begins, in bytes.
        object: git's object that holds it.
        kind: what kind of object that is.
        carriers: the commits that put it there, and under which path.
    """

    rule: Rule
    where: Where
    secret: _Secret | None
    environment: Environment | None = None
    fingerprint: Fingerprint | None
    known_by: tuple[FreeText, ...] = ()
    form: FreeText = "raw"
    path: _Path | None = None
    line: _Place | None = None
    column: _Place | None = None
    offset: _Count | None = None
    object: _ObjectName | None = None
    kind: Literal["blob", "commit", "tag", "tree"] | None = None
    carriers: tuple[Carrier, ...] = ()

    @property
    def place(self) -> str:
        """Where it is, in words."""
        at = f":{self.line}:{self.column}" if self.line else ""
        if self.where is Where.NAME:
            return f"{self.path}, in the name itself"
        if self.where is Where.LINK:
            return f"{self.path}, in what the link leads to"
        if self.where is Where.INDEX:
            return f"{self.path}{at} in the index"
        if self.where is Where.FILE:
            return f"{self.path}{at}"
        if not self.carriers:
            why = {"tree": ", in a name in it", "blob": ", which no commit that can be reached carries"}
            return f"{self.kind} {self.object}{at}{why.get(self.kind or '', '')}"
        carrying = dict.fromkeys(each.commit for each in self.carriers)
        commits = [each for each in carrying if each]
        places = [f"commit {commits[0]}"] if commits else []
        places += [count(len(commits) - 1, "more commit")] if len(commits) > 1 else []
        places += ["the index"] if None in carrying else []
        return f"{self.carriers[0].path}{at} in {' and '.join(places)}"

    @property
    def line_shown(self) -> str:
        """The line that operators see: ASCII, and physically one line."""
        known = f"known by: {', '.join(self.known_by)}; " if self.known_by else ""
        key = f" ({known}{self.fingerprint})" if self.fingerprint else ""
        subject = f"{self.secret or 'a key'}{f' ({self.environment})' if self.environment else ''}"
        return f"ALERT: {subject}: {self.rule}: {self.place}: {_WHAT[self.rule].format(self.form)}{key}"

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        plain: dict[str, Any] = _FOUND.dump_python(self, mode="json")
        return plain


_FOUND: Final = TypeAdapter(Found)
_WHAT: Final = {
    Rule.KNOWN_KEY: "the key, {}",
    Rule.ASSIGNED_KEY: "the variable is given what would pass as the key, {}",
    Rule.TRACKED_KEY_FILE: "git tracks this key file, and it holds more than a template",
}


@dataclass(frozen=True, config=SHAPE)
class Unread:
    """What was not looked at.

    Attributes:
        place: where it is.
        why: why.
        matters: whether something may have been missed.
    """

    place: _Path
    why: FreeText
    matters: bool = True


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Scan:
    """The outcome of a scan.

    Attributes:
        schema: the version of this shape.
        ok: whether it found nothing, and missed nothing.
        complete: whether it missed nothing.
        scanned_at: when it began, in UTC.
        scope: what it looked at.
        looked_for: the keys that were looked for.
        variables: the variables whose assignments were looked for.
        files: how many files were looked at.
        objects: how many of git's objects were.
        size: how many bytes these are.
        findings: what was found.
        unread: what was not looked at.
    """

    schema: Literal[1] = 1
    ok: bool
    complete: bool
    scanned_at: Instant
    scope: Scope
    looked_for: tuple[KnownKey, ...]
    variables: tuple[FreeText, ...]
    files: _Count
    objects: _Count
    size: _Count
    findings: tuple[Found, ...]
    unread: tuple[Unread, ...]

    def __post_init__(self) -> None:
        if self.complete == any(each.matters for each in self.unread) or self.ok != (
            self.complete and not self.findings
        ):
            raise ValueError

    @property
    def lines(self) -> list[str]:
        """Lines for operators: ASCII, and each physically one line."""
        return [
            *(found.line_shown for found in self.findings),
            *(f"{'INCOMPLETE' if each.matters else 'note'}: {each.place}: {each.why}" for each in self.unread),
            *self.extent,
        ]

    @property
    def extent(self) -> list[str]:
        """What was looked for and at, in two lines."""
        by_name = dict.fromkeys(key.secret or "keys that were passed" for key in self.looked_for if key.is_live)
        others = sum(not key.is_live for key in self.looked_for)
        by_fingerprint = [f"{count(others, 'key')} by fingerprint"] if others else []
        looked_for = [*by_name, *by_fingerprint, f"assignments of {', '.join(self.variables)}"]
        places = count(self.files + self.objects, "file or object", "files and objects")
        return [
            f"looked for: {', '.join(looked_for)}",
            f"looked at: {_SCOPES[self.scope]}: {places}, {size_in_words(self.size)}",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        plain: dict[str, Any] = _SCAN.dump_python(self, mode="json")
        return plain


_SCOPES: Final = {
    Scope.FILES: "files (not git's history: --git-history)",
    Scope.STAGED: "what the next commit adds or changes",
    Scope.HISTORY: "files and git's history",
}
_SCAN: Final = TypeAdapter(Scan)


def parse(text: bytes) -> Scan | None:
    """Return the scan that a JSON document is, without names that could hold a key; `None` where it is none.

    Args:
        text: the document.
    """
    try:
        scan = _SCAN.validate_json(text)
    except ValidationError:
        return None
    return replace(
        scan,
        findings=tuple(
            replace(
                found,
                path=None if found.path is None else _redacted(found.path),
                carriers=tuple(replace(each, path=_redacted(each.path)) for each in found.carriers),
            )
            for found in scan.findings
        ),
        unread=tuple(replace(each, place=_redacted(each.place)) for each in scan.unread),
    )
