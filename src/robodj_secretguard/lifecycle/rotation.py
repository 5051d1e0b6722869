"""Recording a rotation: whether it was one, and how it was validated (policy section 3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robodj_secretguard.emit import PASSED_EVENT
from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle.records import Event, Record, Step, Validation, draft
from robodj_secretguard.program import command
from robodj_secretguard.render import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from robodj_secretguard.findings import SecretStatus
    from robodj_secretguard.lifecycle.operations_log import Log
    from robodj_secretguard.lifecycle.revocation import RevokedKey

ROTATIONS: Final = (Event.ROTATED, Event.ROTATION_INCOMPLETE)

_BETTER: Final = (Step.NOT_DONE, Step.ATTESTED, Step.VERIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What an operator says of a rotation.

    Attributes:
        environment: where the keys are used.
        operator: who rotated them.
        ticket: what it was done for.
        startup: how it is known that services start on a key, by its fingerprint.
        functions: how it is known that what depends on authentication and encryption operates.
    """

    environment: str
    operator: str
    ticket: str | None
    startup: dict[str, Step]
    functions: Step


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a secret's key may be recorded as rotated.

    Attributes:
        record: what is to be recorded; `None` where nothing is.
        refusal: why it may not be; `None` where it may.
        unchanged: whether it is the key that is recorded already, of a rotation that is complete.
    """

    record: Record | None = None
    refusal: str | None = None
    unchanged: bool = False


def rotations(records: Iterable[Record]) -> list[Record]:
    """Return the records of rotations, the incomplete ones included."""
    return [record for record in records if record.event in ROTATIONS]


def is_replaced(key: Record | RevokedKey, records: Iterable[Record]) -> bool:
    """Whether another key is the last one that is recorded as rotated in the place of a key.

    Args:
        key: the key.
        records: what is recorded.
    """
    of_its_place = [
        record.fingerprint
        for record in records
        if record.event is Event.ROTATED and (record.secret, record.environment) == (key.secret, key.environment)
    ]
    return bool(of_its_place) and of_its_place[-1] != key.fingerprint


def compared(records: Iterable[Record], environment: str, known: Iterable[Log]) -> str:
    """Say how many records of which environments new keys were compared with, and what was missing.

    Args:
        records: all of them.
        environment: that of the new keys.
        known: the logs that were given of other environments.
    """
    counts = Counter(record.environment or "no environment" for record in records if record.fingerprint)
    said = [f"compared with {count(counts.total(), 'record')}"]
    said += [", ".join(f"{name} {number}" for name, number in sorted(counts.items()))] if counts else []
    text = ": ".join(said)
    if not set(counts) - {environment, "no environment"}:
        text += "; none is of another environment, whose log is passed by --known"
    damaged = sum(bool(log.defects) for log in known)
    return text + (
        f"; {count(damaged, 'known log that does', 'known logs that do')} not verify, by what can be read"
        if damaged
        else ""
    )


def judge(status: SecretStatus, rotation: Rotation, records: Sequence[Record]) -> Verdict:
    """Return whether a secret's key may be recorded as rotated, beside all records that are known.

    Args:
        status: the secret, whose key has passed the gate.
        rotation: what the operator says.
        records: every record that is known, of every environment, in the order of their times.
    """
    here = [
        record
        for record in rotations(records)
        if (record.environment, record.secret) == (rotation.environment, status.secret)
    ]
    current = here[-1] if here and here[-1].fingerprint == status.fingerprint else None
    same_key = [record for record in records if record.fingerprint == status.fingerprint]
    for record in sorted(same_key, key=lambda each: each.event is not Event.REVOKED):
        if why := _why_not(record, status, rotation, is_current=current is not None):
            return Verdict(refusal=why)
    if current is None:
        return Verdict(_record(status, rotation, None))
    if current.event is Event.ROTATED:
        return Verdict(unchanged=True)
    completed = _record(status, rotation, current.validation)
    if completed.validation == current.validation:
        why = f"it is recorded as incomplete since {iso_utc(current.recorded_at)}, and no further step is done"
        return Verdict(refusal=f"{why}: {', '.join(open_steps(completed))}")
    return Verdict(completed)


def _why_not(record: Record, status: SecretStatus, rotation: Rotation, *, is_current: bool) -> str | None:
    """Say why a key that a record is of may not be recorded; `None` where the record does not speak against it."""
    when, another = iso_utc(record.recorded_at), f"generate another: {command('generate', status.secret)}"
    if record.event is Event.REVOKED:
        return f"the key was revoked at {when}; {another}"
    if record.environment != rotation.environment:
        return f"the key stands under the environment {record.environment}, and each needs its own; {another}"
    if record.secret != status.secret:
        return f"the key stands under {record.secret}, and each secret needs its own; {another}"
    return None if is_current else f"the key was used before, since {when}; {another}"


def open_steps(record: Record) -> list[str]:
    """Return the names of a rotation's validation steps that are not done."""
    validation = record.as_dict()["validation"] or {}
    return [name for name, step in validation.items() if step == Step.NOT_DONE]


def _record(status: SecretStatus, rotation: Rotation, earlier: Validation | None) -> Record:
    startup = rotation.startup[status.fingerprint or ""]
    functions = rotation.functions
    if earlier is not None:
        startup, functions = (
            max(startup, earlier.startup, key=_BETTER.index),
            max(functions, earlier.functions, key=_BETTER.index),
        )
    # The record is itself the last step: where it stands, it was done.
    validation = Validation(gate=Step.VERIFIED, startup=startup, functions=functions, log=Step.VERIFIED)
    return draft(
        Event.ROTATED if validation.is_complete else Event.ROTATION_INCOMPLETE,
        secret=status.secret,
        environment=rotation.environment,
        owner=status.owner,
        operator=rotation.operator,
        ticket=rotation.ticket,
        fingerprint=status.fingerprint,
        expires_at=status.expires_at,
        validation=validation,
    )


def started_on(lines: Iterable[bytes], fingerprints: Iterable[str]) -> set[str]:
    """Return the keys on which a service started, by the events that `guard()` sends to the service's own log.

    Args:
        lines: the service's log.
        fingerprints: the keys that are looked for.
    """
    wanted = set(fingerprints)
    event = PASSED_EVENT.encode()
    return {each for line in lines if event in line for each in wanted if each.encode() in line}
