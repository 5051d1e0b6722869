"""The records of the operations log, and those that a secret manager keeps next to the keys: JSON in, JSON out.

And what they say of a rotation: its stages, the rules for its record, and its validation (policy section 3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.common.grouping import grouped
from robodj_secretguard.common.shapes import (
    SHAPE,
    EnvironmentName,
    Fingerprint,
    FreeText,
    Instant,
    PlainText,
    SecretName,
    Slots,
)
from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.texts import MOST_CHARACTERS, Options, command, option
from robodj_secretguard.startup.inputs import iso_utc
from robodj_secretguard.startup.report import SecretStatus
from robodj_secretguard.startup.rules import Problem

Document: TypeAlias = dict[str, Any]
"""What a JSON document says of something, in plain types."""
HASH: Final = "sha256:[0-9a-f]{64}"
Hash = Annotated[str, Field(pattern=f"^{HASH}$")]
ROTATIONS: Final = ("rotated", "rotation-incomplete", "rolled-back", "found")
"""The events that name the current key from then on."""


def hash_of(line: bytes) -> str:
    """Return the hash of a line of the log, without the line's end."""
    return f"sha256:{sha256(line).hexdigest()}"


Event = Literal[
    "rotated",
    "rotation-incomplete",
    "found",
    "revoked",
    "staged",
    "rolled-back",
    "retired",
    "restored",
    "continued",
]
"""The event that a record describes.

`found`: a key is in use that nothing was recorded of; when it became current is not known.
`staged`: a next key was stored in the secret manager. `rolled-back`: the previous key was made the current one again.
`retired`: the previous key was removed from the manager. `restored`: the recorded key was put back into the manager.
`continued`: the log goes on after an earlier file.
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

    def as_dict(self) -> Document:
        """Return the record in the plain types of JSON, with its hash where it is in the log."""
        return dict(_RECORD.dump_python(self, mode="json", exclude=None if self.hash else _HASH_FIELD))

    def line(self) -> bytes:
        """Return the line of the record in the log, without the line's end."""
        return _RECORD.dump_json(self, exclude=_HASH_FIELD)

    def hashed(self, line: bytes) -> Record:
        """Set the hash of the record to that of its line in the log, and return the record."""
        object.__setattr__(self, "hash", hash_of(line))
        return self


Records: TypeAlias = Sequence[Record]

StepName = Literal["stage", "promote", "retire", "back", "replace", "put", "restore"]
"""A step of a rotation in a store of secrets. `replace` is the emergency rotation."""


class Who(Frozen, kw_only=True):
    """The operator's texts about a step, for its records.

    Attributes:
        environment: where the keys are used, such as `prod`.
        operator: who takes the step.
        ticket: the ticket for this work.
        reason: why.
        note: what the records say besides, such as who reviewed the rotation.
    """

    environment: str | None = None
    operator: str | None = None
    ticket: str | None = None
    reason: str | None = None
    note: str | None = None


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


_RECORD: Final = TypeAdapter(Record)
_HASH_FIELD: Final = {"hash"}
_LAST_STEPS: Final = TypeAdapter(dict[SecretName, LastStep])
_ANY_STEPS: Final = TypeAdapter(dict[str, Annotated[LastStep | Any, Field(union_mode="left_to_right")]])


def parse_record(line: bytes) -> Record | None:
    """Return the record of a line of the log, without the line's end; `None` for an invalid line."""
    with contextlib.suppress(ValidationError):
        return _RECORD.validate_json(line).hashed(line)
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
            and step.last.event in {"staged", "rotation-incomplete", "rolled-back", "retired", "restored", "revoked"}
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


def rotations(records: Records, secret: str | None, environment: str | None = None) -> list[Record]:
    """Return the rotations of a secret, including incomplete ones, in one environment or in all."""
    return [
        record
        for record in records
        if record.event in ROTATIONS and record.secret == secret and environment in {None, record.environment}
    ]


def staged_after(last: Record, records: Records) -> list[str | None]:
    """Return the keys that were stored as next ones after a rotation, in order."""
    own = [each for each in records if (each.secret, each.environment) == (last.secret, last.environment)]
    return [each.fingerprint for each in own if each.event == "staged" and each.sequence > last.sequence]


def rotations_to(key: str | None, secret: str, records: Records) -> list[Record]:
    """Return the rotations to one key of a secret."""
    return [record for record in rotations(records, secret) if record.fingerprint == key]


def by_secret(records: Records) -> Mapping[str | None, list[Record]]:
    """Return the records of each secret. A caller with many secrets reads all records once."""
    return grouped(records, attrgetter("secret"))


def revoked(records: Records) -> list[str | None]:
    """Return the fingerprint of each key whose revocation is recorded, in order."""
    return [*dict.fromkeys(record.fingerprint for record in records if record.event == "revoked")]


def recorded_keys(records: Records, secret: str | None) -> str:
    """Return the last record of each key of a secret, in words."""
    last = {record.fingerprint: record for record in rotations(records, secret)}.values()
    return (
        "; ".join(f"{record.fingerprint} {record.environment} {iso_utc(record.recorded_at)}" for record in last)
        or "none is recorded"
    )


def only_environment(secret: str, records: Records) -> str:
    """Return the environment of all rotations of a secret; empty where they are of none, or of several."""
    found = {record.environment or "" for record in rotations(records, secret)}
    return found.pop() if len(found) == 1 else ""


def slots_of(status: SecretStatus) -> Slots:
    """Return the keys of a secret that are set here."""
    return Slots(status.fingerprint, status.next_fingerprint, status.previous_fingerprint, status.previous_until)


def draft_rotation(status: SecretStatus, startup: Proof, functions: Proof, who: Who) -> Record:
    """Return the draft of the rotation to a secret's current key, which has passed the gate."""
    replaced = None if status.previous_fingerprint == status.fingerprint else status.previous_fingerprint
    return draft(
        "rotation-incomplete" if "not-done" in {startup, functions} else "rotated",
        # The record is itself the last step.
        validation=Validation(gate="verified", startup=startup, functions=functions, log="verified"),
        secret=status.secret,
        owner=status.owner or None,
        fingerprint=status.fingerprint,
        expires_at=status.expires_at,
        replaced=replaced,
        replaced_until=status.previous_until if replaced else None,
        **who._asdict(),
    )


def as_found(drafts: Mapping[str, Record], records: Records) -> dict[str, Record]:
    """Return the drafts of rotations. Where nothing is recorded or attested, a key was only found."""
    known = {(record.secret, record.environment) for record in records}
    found = {}
    for secret, new in drafts.items():
        is_found = (secret, new.environment) not in known and new.open_steps == ("startup", "functions")
        found[secret] = replace(new, event="found", validation=None) if is_found else new
    return found


def judge_drafts(
    drafts: Mapping[str, Record],
    records: Records,
    *,
    are_named: bool,
    options: Options,
) -> tuple[list[Record], list[str], dict[str | None, Problem]]:
    """Return the rotations to record, the secrets with unchanged keys, and the problem of each refused secret.

    `drafts` has the rotations by secret. `records` are those of all environments, sorted by time. If the operator named
    no secret, unchanged keys are ignored as long as another key is new.
    """
    accepted: list[Record] = []
    unchanged: list[str] = []
    refused: dict[str | None, Problem] = {}
    for secret, new in drafts.items():
        here = rotations(records, secret, new.environment)
        current = here[-1] if here and here[-1].fingerprint == new.fingerprint is not None else None
        if why := conflict(new, records, is_current=current is not None):
            refused[secret] = _needs_new_key(new, why, options)
        elif current is None:
            accepted.append(new)
        elif current.event in {"rotated", "found"}:
            unchanged.append(secret)
        elif new.event == "rotated":
            accepted.append(new)
        else:
            refused[secret] = Problem(
                f"this rotation was recorded as incomplete at {iso_utc(current.recorded_at)}, and not every step is"
                " confirmed",
                f"do the open steps, then run {completion(new, options)}",
            )
    if unchanged and (are_named or len(unchanged) == len(drafts)):
        for secret in unchanged:
            refused[secret] = _needs_new_key(drafts[secret], "this key is already recorded", options)
    return accepted, unchanged, refused


def _needs_new_key(new: Record, why: str, options: Options) -> Problem:
    """Return the problem of a key that is not new. The secret manager may have the same one."""
    plan = command("rotate", "plan", new.secret or "", "--environment", new.environment or "", *options)
    return Problem(why, f"deliver the new key of {new.secret} from the secret manager; if none was made, run {plan}")


def conflict(new: Record, records: Records, *, is_current: bool) -> str | None:
    """Return why the known records of a key forbid another one, if they do."""
    if new.fingerprint is None:  # a vendor's secret is always new
        return None
    of_this_key = [record for record in records if record.fingerprint == new.fingerprint]
    for record in sorted(of_this_key, key=lambda each: each.event != "revoked"):
        when = iso_utc(record.recorded_at)
        if record.event == "revoked":
            return f"this key was revoked at {when}"
        if record.environment != new.environment:
            return f"the environment {record.environment} has this key, and each environment needs its own"
        if record.secret != new.secret:
            return f"{record.secret} has this key, and each secret needs its own"
        if not is_current and record.event != "staged":
            return f"this is an old key, recorded at {when}"
    return None


def unkept_key(new: Record, records: Records) -> str | None:
    """Return the warning about a new rotation without a previous key, if another key was recorded before."""
    here = rotations(records, new.secret, new.environment)
    others = [record.fingerprint for record in here if record.fingerprint != new.fingerprint]
    is_completion = len(others) < len(here)
    if new.replaced or is_completion or not others or others[-1] in revoked(records):
        return None
    return (
        f"WARNING: no previous key of {new.secret} is set here, so what {others[-1]} signed is refused. Set the"
        " previous key and its deadline, or revoke the old key if others may know it."
    )


def completion(record: Record, options: Options) -> str:
    """Return the command that completes the record of a rotation: the new record has every step."""
    return command(
        "rotate",
        "record",
        record.secret or "",
        "--environment",
        record.environment or "",
        *(
            word
            for name in ("operator", "ticket", "note")
            if (text := getattr(record, name))
            for word in option(f"--{name}", text)
        ),
        "--attest",
        "startup",
        "--attest",
        "functions",
        *options,
    )
