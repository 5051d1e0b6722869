"""One record of the operations log: an event in a secret's life (policy section 3)."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.shapes import SHAPE, Environment, Fingerprint, FreeText, Instant, PlainText, SecretName, must

HASH_PREFIX: Final = "sha256:"

_HASH: Final = re.compile(rf"{HASH_PREFIX}[0-9a-f]{{64}}")


class Event(StrEnum):
    """What happened."""

    ROTATED = "rotated"
    ROTATION_INCOMPLETE = "rotation-incomplete"
    REVOKED = "revoked"
    SEALED = "sealed"
    """The log itself: what a cut write had left was closed off."""
    CONTINUED = "continued"
    """The log itself: it goes on after the last record of an earlier file."""


class Step(StrEnum):
    """How a step of the validation after a rotation was done."""

    VERIFIED = "verified"
    """The program saw it."""
    ATTESTED = "attested"
    """The operator says so."""
    NOT_DONE = "not-done"


def is_hash(text: str) -> bool:
    """Whether text is the hash of a record as this library writes it."""
    return _HASH.fullmatch(text) is not None


def hash_of(line: bytes) -> str:
    """Return the hash of a record, or of what else stands in the log.

    Args:
        line: its bytes, without the line's end.
    """
    return HASH_PREFIX + sha256(line).hexdigest()


_Hash = Annotated[str, must(is_hash)]


@dataclass(frozen=True, config=SHAPE)
class Validation:
    """The four steps of the validation after a rotation (policy section 3), in the policy's order.

    Attributes:
        gate: the gate passed, environment-only.
        startup: the services were started, and their startup integrity checks passed.
        functions: what depends on authentication and encryption still operates.
        log: the rotation is recorded.
    """

    gate: Step
    startup: Step
    functions: Step
    log: Step

    @property
    def open_steps(self) -> tuple[str, ...]:
        """The names of the steps that are not done."""
        return tuple(name for name, step in asdict(self).items() if step is Step.NOT_DONE)


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Record:
    """An event. What does not apply to it is `None`.

    Attributes:
        schema: the version of this shape.
        sequence: its number, from 1.
        recorded_at: when, in UTC, to the second.
        event: what happened.
        secret: the declared secret's name.
        environment: where the key is used.
        owner: who owns the secret.
        operator: who did it.
        ticket: what it was done for.
        reason: why a key was revoked.
        fingerprint: the key's.
        expires_at: its expiry marker.
        validation: the steps of the validation after a rotation.
        sealed: the hash of what was closed off.
        previous: the hash of the record before this one.
    """

    schema: Literal[1] = 1
    sequence: Annotated[int, Field(ge=1)]
    recorded_at: Instant
    event: Event
    secret: SecretName | None = None
    environment: Environment | None = None
    owner: PlainText | None = None
    operator: FreeText | None = None
    ticket: FreeText | None = None
    reason: FreeText | None = None
    fingerprint: Fingerprint | None = None
    expires_at: Instant | None = None
    validation: Validation | None = None
    sealed: _Hash | None = None
    previous: _Hash | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record in the plain types of JSON."""
        plain: dict[str, Any] = _RECORD.dump_python(self, mode="json")
        return plain

    def line(self) -> bytes:
        """Return the record as its line in the log, without the line's end."""
        return _RECORD.dump_json(self)


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Head:
    """The last record that was acknowledged, as the log's head file keeps it.

    Attributes:
        schema: the version of this shape.
        sequence: the record's number.
        hash: the record's hash.
    """

    schema: Literal[1] = 1
    sequence: Annotated[int, Field(ge=1)]
    hash: _Hash

    def as_dict(self) -> dict[str, Any]:
        """Return the record's number and hash in the plain types of JSON."""
        return {"sequence": self.sequence, "hash": self.hash}

    def line(self) -> bytes:
        """Return the head as the line of its file, without the line's end."""
        return _HEAD.dump_json(self)


_RECORD: Final = TypeAdapter(Record)
_HEAD: Final = TypeAdapter(Head)


def parse(line: bytes) -> Record | None:
    """Return the record that a line of the log is; `None` where it is none.

    Args:
        line: its bytes, without the line's end.
    """
    try:
        return _RECORD.validate_json(line)
    except ValidationError:
        return None


def parse_head(line: bytes) -> Head | None:
    """Return the head that a line is; `None` where it is none.

    Args:
        line: its bytes.
    """
    try:
        return _HEAD.validate_json(line)
    except ValidationError:
        return None


def draft(event: Event, **fields: Any) -> Record:
    """Return a record that the log has yet to number, to date and to chain.

    Args:
        event: what happened.
        fields: the fields of `Record` that apply to it.
    """
    return Record(sequence=1, recorded_at=datetime.min.replace(tzinfo=UTC), event=event, **fields)
