"""The records of the operations log, and those that a secret manager keeps next to the keys: JSON in, JSON out."""

from __future__ import annotations

import contextlib
import re
from dataclasses import asdict, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.common.shapes import (
    SHAPE,
    EnvironmentName,
    Fingerprint,
    FreeText,
    Instant,
    PlainText,
    SecretName,
)
from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.texts import MOST_CHARACTERS

_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
Hash = Annotated[str, Field(pattern=f"^{_HASH.pattern}$")]


def is_hash(text: str) -> bool:
    """Check whether text is the hash of a record."""
    return _HASH.fullmatch(text) is not None


def hash_of(line: bytes) -> str:
    """Return the hash of a line of the log, without the line's end."""
    return f"sha256:{sha256(line).hexdigest()}"


Event = Literal["rotated", "rotation-incomplete", "revoked", "staged", "rolled-back", "retired", "continued"]
"""The event that a record describes.

`staged`: a next key was stored in the secret manager. `rolled-back`: the previous key was made the current one again.
`retired`: the previous key was removed from the manager. `continued`: the log goes on after an earlier file.
"""
Proof = Literal["verified", "attested", "not-done"]
"""The proof of a step of the validation after a rotation, from the best one: by the program, or by the operator."""


@dataclass(frozen=True, config=SHAPE)
class Validation:
    """The four steps of the validation after a rotation (policy section 3), in the policy's order."""

    gate: Proof
    """The gate passed, environment-only."""
    startup: Proof
    """The services were started, and their startup integrity checks passed."""
    functions: Proof
    """The functions that need authentication and encryption work."""
    log: Proof
    """The rotation is recorded."""


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Record:
    """A line of the operations log: one event of a secret (policy section 3). A field that does not apply is null."""

    schema: Literal[1] = 1
    sequence: Annotated[int, Field(ge=1)]
    recorded_at: Instant
    event: Event
    secret: SecretName | None = None
    environment: EnvironmentName | None = None
    owner: PlainText | None = None
    operator: FreeText | None = None
    ticket: FreeText | None = None
    reason: FreeText | None = None
    """Why a key was revoked, or why a step was done."""
    note: FreeText | None = None
    """The operator's claim about the rotation, such as who reviewed it."""
    fingerprint: Fingerprint | None = None
    expires_at: Instant | None = None
    replaced: Fingerprint | None = None
    """The previous key, which still verified when the rotation was recorded."""
    replaced_until: Instant | None = None
    """The deadline of that key."""
    validation: Validation | None = None
    previous: Hash | None = None
    """The hash of the record before this one."""
    hash: Hash = field(default="", init=False)
    """The hash of the line, which does not contain it. A draft has none."""

    @property
    def subject(self) -> str:
        """The name of the secret, for messages."""
        return self.secret or "an unknown secret"

    @property
    def open_steps(self) -> tuple[str, ...]:
        """The names of the steps of the validation that are not done."""
        proofs = asdict(self.validation) if self.validation else {}
        return tuple(name for name, proof in proofs.items() if proof == "not-done")

    def as_dict(self) -> dict[str, Any]:
        """Return the record in the plain types of JSON, with its hash where it is in the log."""
        return dict(_RECORD.dump_python(self, mode="json", exclude=None if self.hash else _HASH_FIELD))

    def line(self) -> bytes:
        """Return the line of the record in the log, without the line's end."""
        return _RECORD.dump_json(self, exclude=_HASH_FIELD)

    def hashed(self, line: bytes) -> Record:
        """Set the hash of the record to that of its line in the log, and return the record."""
        object.__setattr__(self, "hash", hash_of(line))
        return self


StepName = Literal["stage", "promote", "retire", "back", "replace"]
"""A step of a rotation in a secret manager. `replace` is the emergency rotation."""


@dataclass(frozen=True, config=SHAPE)
class LastStep:
    """The last step of a secret's rotation, which a secret manager keeps next to the keys."""

    step: StepName
    records: Annotated[list[Record], Field(min_length=1)]
    """The same records as in the operations log, without their place in it."""
    replaced_expires_at: Instant | None = None
    """The expiry marker of the key that a promotion has replaced: `back` restores it."""

    @property
    def last(self) -> Record:
        """The record of the new state. In an emergency, the one before it revokes the old key."""
        return self.records[-1]


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Head:
    """The last acknowledged record, in the head file of the log."""

    schema: Literal[1] = 1
    sequence: Annotated[int, Field(ge=1)]
    hash: Hash

    def as_dict(self) -> dict[str, Any]:
        """Return the record's number and hash in the plain types of JSON."""
        return {"sequence": self.sequence, "hash": self.hash}

    def line(self) -> bytes:
        """Return the head as the line of its file, without the line's end."""
        return _HEAD.dump_json(self)


_RECORD: Final = TypeAdapter(Record)
_HASH_FIELD: Final = {"hash"}
_LAST_STEPS: Final = TypeAdapter(dict[SecretName, LastStep])
_ANY_STEPS: Final = TypeAdapter(dict[str, Annotated[LastStep | Any, Field(union_mode="left_to_right")]])
_HEAD: Final = TypeAdapter(Head)


def parse_record(line: bytes) -> Record | None:
    """Return the record of a line of the log, without the line's end; `None` for an invalid line."""
    with contextlib.suppress(ValidationError):
        return _RECORD.validate_json(line).hashed(line)
    return None


def parse_head(content: bytes) -> Head | None:
    """Return the head in the content of a head file; `None` for any other content."""
    with contextlib.suppress(ValidationError):
        return _HEAD.validate_json(content)
    return None


def dump_last_steps(steps: dict[str, LastStep]) -> str:
    """Return the last step of each secret's rotation, as JSON for a secret manager."""
    return _LAST_STEPS.dump_json(steps, exclude={"__all__": {"records": {"__all__": _HASH_FIELD}}}).decode()


def parse_last_steps(text: str) -> dict[str, LastStep]:
    """Return the steps that `dump_last_steps` has written, without those that are invalid."""
    with contextlib.suppress(ValidationError):
        return {
            name: step
            for name, step in _ANY_STEPS.validate_json(text).items()
            if isinstance(step, LastStep)
            and step.last.event in {"staged", "rotation-incomplete", "rolled-back", "retired"}
            and {record.secret for record in step.records} == {name}
        }
    return {}


def draft(event: Event, **fields: Any) -> Record:
    """Return a record with the fields that apply. The log adds the number, the time and the hashes.

    `UsageError` names the fields that are invalid, and shows nothing of them.
    """
    try:
        return Record(sequence=1, recorded_at=datetime.min.replace(tzinfo=UTC), event=event, **fields)
    except ValidationError as error:
        names = ", ".join(str(fault["loc"][0]) for fault in error.errors(include_input=False))
    raise UsageError(
        f"invalid {names}; a text has one line of at most {MOST_CHARACTERS} printable characters, without anything that"
        " looks like a key, and an environment is a name such as prod"
    )
