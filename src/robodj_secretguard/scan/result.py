"""The result of a scan. No field here can hold a key."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.common.shapes import SHAPE, EnvironmentName, Fingerprint, FreeText, Instant, SecretName, must
from robodj_secretguard.secret.texts import is_free_text

REDACTED: Final = "[redacted]"  # shown instead of a name that holds a key
LOG_SOURCE: Final = "operations log"
LIST_SOURCE: Final = "revocation list"
"""These two sources have fingerprints. Every other one has the key itself."""


Rule = Literal["known-key", "assigned-key", "tracked-key-file"]
"""The rule that found a key."""
Scope = Literal["files", "staged", "git-history"]
"""What a scan reads: files; what the next commit adds or changes; or files, and every object that git keeps."""
Where = Literal["file", "name", "link", "index", "history"]
"""What kind of place holds a key. `name` is that of a file or directory, and `link` is the target of one."""


_Path = Annotated[str, Field(pattern="^[ -~]*$")]  # escaped, as a scan shows it
_Secret = Annotated[SecretName, must(is_free_text)]
_Count = Annotated[int, Field(ge=0)]
_Number = Annotated[int, Field(ge=1)]
_ObjectName = Annotated[str, Field(pattern="^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]


@dataclass(frozen=True, config=SHAPE)
class KnownKey:
    """A key that is searched for. Its secret and environment are null where they are unknown."""

    fingerprint: Fingerprint | None
    """Null for the value of an issued secret."""
    secret: _Secret | None = None
    environment: EnvironmentName | None = None
    known_by: tuple[FreeText, ...] = ()
    """The sources of the key or of its fingerprint."""


@dataclass(frozen=True, config=SHAPE)
class Carrier:
    """A commit or the index, with the path of an object in it."""

    commit: _ObjectName | None
    """Null for the index."""
    path: _Path


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Found:
    """A key where it must not be."""

    rule: Rule
    where: Where
    secret: _Secret | None
    environment: EnvironmentName | None = None
    fingerprint: Fingerprint | None
    """Null for a key file that is not exactly one valid key, and for an issued secret."""
    known_by: tuple[FreeText, ...] = ()
    form: FreeText = "raw"
    """`raw`, or its encoding."""
    path: _Path | None = None
    """Escaped, and without names that hold a key. Null for an object of the history."""
    line: _Number | None = None
    column: _Number | None = None
    """In characters."""
    offset: _Count | None = None
    """Of the key, or of the text that encodes it, in bytes."""
    object: _ObjectName | None = None
    """The name of the git object."""
    object_type: Literal["blob", "commit", "tag", "tree"] | None = None
    carriers: tuple[Carrier, ...] = ()


@dataclass(frozen=True, config=SHAPE)
class Unread:
    """What was not read."""

    place: _Path
    why: FreeText
    matters: bool = True
    """Whether a key may have been missed."""


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Scan:
    """The outcome of a scan."""

    schema: Literal[1] = 1
    kind: Literal["scan"] = "scan"
    ok: bool
    """Whether the scan is complete and found nothing."""
    complete: bool
    """Whether everything that matters was read."""
    scanned_at: Instant
    """When the scan began."""
    scope: Scope
    looked_for: tuple[KnownKey, ...]
    variables: tuple[FreeText, ...]
    """The variables whose assignments were searched for."""
    files: _Count
    objects: _Count
    size: _Count
    """The size of all files and objects, in bytes."""
    findings: tuple[Found, ...]
    unread: tuple[Unread, ...]

    def __post_init__(self) -> None:
        complete = not any(item.matters for item in self.unread)
        if (self.complete, self.ok) != (complete, complete and not self.findings):
            raise ValueError

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return dict(_SCAN.dump_python(self, mode="json"))


_SCAN: Final = TypeAdapter(Scan)


def parse(text: bytes) -> Scan | None:
    """Return the scan in a JSON document, with names that could be keys redacted; `None` if it is not a scan."""
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
                carriers=tuple(replace(carrier, path=_redacted(carrier.path)) for carrier in found.carriers),
            )
            for found in scan.findings
        ),
        unread=tuple(replace(item, place=_redacted(item.place)) for item in scan.unread),
    )


def _redacted(path: str) -> str:
    """Return a path with names that could be keys redacted: anybody may have written the document."""
    return "/".join(part if is_free_text(part or "-") else REDACTED for part in path.split("/"))
