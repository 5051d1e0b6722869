"""Recording a rotation: whether it was one, and how it was validated (policy section 3)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import State
from robodj_secretguard.emit import PASSED_EVENT
from robodj_secretguard.errors import SeveralEnvironmentsError
from robodj_secretguard.lifecycle.records import Event, Record, Step, Validation, draft
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import command, option

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from robodj_secretguard.report import SecretStatus

NO_ENVIRONMENT: Final = "no environment"
"""In the place of an environment that is not recorded; none is called so."""
ROTATIONS: Final = (Event.ROTATED, Event.ROTATION_INCOMPLETE)

_INNERMOST: Final = re.compile(rb"\{[^{}]*\}")
_FROM_WORST: Final = (Step.NOT_DONE, Step.ATTESTED, Step.VERIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What an operator says of a rotation.

    Attributes:
        environment: where the keys are used.
        operator: who rotated them.
        ticket: what it was done for.
        startup: how it is known that services start on a key, by its secret.
        functions: how it is known that what depends on authentication and encryption operates.
        options: further options of the commands that an operator is told, such as the model's.
        log_options: those of the commands that record something.
    """

    environment: str
    operator: str
    ticket: str | None
    startup: Mapping[str, Step]
    functions: Step
    options: Sequence[str] = ()
    log_options: Sequence[str] = ()


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


def rotations(records: Iterable[Record], secret: str | None, environment: str | None = None) -> list[Record]:
    """Return the records of a secret's rotations, the incomplete ones included.

    Args:
        records: what is recorded.
        secret: the secret's name.
        environment: where the keys are used; `None` for everywhere.
    """
    return [
        record
        for record in records
        if record.event in ROTATIONS and record.secret == secret and environment in {None, record.environment}
    ]


def environments(fingerprint: str | None, secret: str, records: Iterable[Record]) -> list[str | None]:
    """Return the environment of each recorded rotation to a key, in order.

    Args:
        fingerprint: the key's.
        secret: the secret's name.
        records: what is recorded.
    """
    return [record.environment for record in rotations(records, secret) if record.fingerprint == fingerprint]


def before_key(
    fingerprint: str, secret: str, records: Sequence[Record], environment: str | None = None
) -> Record | None:
    """Return the last recorded rotation of a secret to another key than one; `None` where there is none.

    Args:
        fingerprint: the key in force, which is not meant.
        secret: the secret's name.
        records: what is recorded.
        environment: where the keys are used; `None` for the only environment that is known.

    Raises:
        SeveralEnvironmentsError: the records do not say which environment is meant.
    """
    own = environments(fingerprint, secret, records)
    where = environment or (own[-1] if own else None)
    candidates = rotations(records, secret, where)
    if len({record.environment for record in candidates}) > 1:
        raise SeveralEnvironmentsError
    return next((record for record in reversed(candidates) if record.fingerprint != fingerprint), None)


def is_replaced(
    fingerprint: str | None, secret: str | None, environment: str | None, records: Sequence[Record]
) -> bool:
    """Whether another key, which is not revoked, is recorded as rotated in the place of a key, after it.

    Args:
        fingerprint: the key's.
        secret: the name of its secret.
        environment: where it is used; `None` where that is not known.
        records: what is recorded.
    """
    of_its_place = rotations(records, secret, environment) if environment else []
    last = of_its_place[-1] if of_its_place else None
    revoked = {record.fingerprint for record in records if record.event is Event.REVOKED}
    return (
        last is not None
        and last.event is Event.ROTATED
        and last.fingerprint != fingerprint
        and last.fingerprint not in revoked
    )


def compared(records: Iterable[Record]) -> dict[str, int]:
    """Return with how many records of which environments new keys are compared.

    Args:
        records: every record that is known.
    """
    return dict(
        sorted(Counter(record.environment or NO_ENVIRONMENT for record in records if record.fingerprint).items())
    )


def judge(status: SecretStatus, rotation: Rotation, records: Sequence[Record]) -> Verdict:
    """Return whether a secret's key may be recorded as rotated, beside all records that are known.

    Args:
        status: the secret, whose key has passed the gate.
        rotation: what the operator says.
        records: every record that is known, of every environment, in the order of their times.
    """
    here = rotations(records, status.secret, rotation.environment)
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
        return Verdict(refusal=f"{why}; when one is: {completion(completed, rotation)}")
    return Verdict(completed)


def refusals(verdicts: Mapping[str, Verdict], named: Collection[str]) -> dict[str, str]:
    """Return why keys may not be recorded, by the names of their secrets; nothing where all may.

    Of those that were not named, the ones that were not rotated are passed over, unless none was.

    Args:
        verdicts: what was judged of each secret.
        named: the secrets that were named.
    """
    refused = {name: each.refusal for name, each in verdicts.items() if each.refusal}
    unchanged = [name for name, each in verdicts.items() if each.unchanged]
    if unchanged and (named or len(unchanged) == len(verdicts)):
        why = "nothing was rotated: this key is the one that is recorded already; deliver the new one first"
        refused |= dict.fromkeys(unchanged, why)
    return refused


def completion(record: Record, rotation: Rotation) -> str:
    """Return the command that records an incomplete rotation as done.

    Args:
        record: the incomplete one.
        rotation: what the operator said of it.
    """
    steps = record.validation.open_steps if record.validation else ()
    attested = [word for name in steps for word in ("--attest", name)]
    who = ("--environment", rotation.environment, *option("--operator", rotation.operator))
    return command("rotate", "record", record.secret or "", *who, *attested, *rotation.log_options, *rotation.options)


def _why_not(record: Record, status: SecretStatus, rotation: Rotation, *, is_current: bool) -> str | None:
    """Say why a key that a record is of may not be recorded; `None` where the record does not speak against it."""
    when = iso_utc(record.recorded_at)
    generate = command("generate", status.secret, *rotation.options)
    remedy = f"deliver the new key; only if there is none yet, generate it: {generate}"
    if record.event is Event.REVOKED:
        return f"the key was revoked at {when}; {remedy}"
    if record.environment != rotation.environment:
        return f"the key stands under the environment {record.environment}, and each needs its own; {remedy}"
    if record.secret != status.secret:
        return f"the key stands under {record.secret}, and each secret needs its own; {remedy}"
    return None if is_current else f"the key was used before, since {when}; {remedy}"


def _record(status: SecretStatus, rotation: Rotation, earlier: Validation | None) -> Record:
    startup = rotation.startup[status.secret]
    functions = rotation.functions
    if earlier is not None:
        startup = max(startup, earlier.startup, key=_FROM_WORST.index)
        functions = max(functions, earlier.functions, key=_FROM_WORST.index)
    # The record is itself the last step: where it stands, it was done.
    validation = Validation(gate=Step.VERIFIED, startup=startup, functions=functions, log=Step.VERIFIED)
    return draft(
        Event.ROTATION_INCOMPLETE if validation.open_steps else Event.ROTATED,
        secret=status.secret,
        environment=rotation.environment,
        owner=status.owner,
        operator=rotation.operator,
        ticket=rotation.ticket,
        fingerprint=status.fingerprint,
        expires_at=status.expires_at,
        validation=validation,
    )


def started_on(lines: Iterable[bytes], keys: Mapping[str, str]) -> set[str]:
    """Return the secrets on whose keys a service started, by the events that `guard()` sends to the service's own log.

    It is evidence and no proof: a log may hold any text.

    Args:
        lines: the service's log, in whatever form its pipeline writes the events.
        keys: the fingerprints that are looked for, by the names of their secrets.
    """
    event = PASSED_EVENT.encode()
    # As `emit` sends it, in any order, with any quotes, blanks and escapes between.
    said = {
        secret: [
            re.compile(rf"\b{name}\W+{re.escape(value)}(?![\w.-])".encode())
            for name, value in (("secret", secret), ("state", State.PRESENT), ("fingerprint", key))
        ]
        for secret, key in keys.items()
    }
    told = [each for line in lines if event in line for each in _INNERMOST.findall(line)]
    return {secret for secret, forms in said.items() for each in told if all(form.search(each) for form in forms)}
