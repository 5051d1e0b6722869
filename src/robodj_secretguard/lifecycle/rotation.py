"""A rotation: its steps, the rules for its record, and its validation (policy sections 1 to 3)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from robodj_secretguard.checks import Problem, State
from robodj_secretguard.emit import PASSED_EVENT
from robodj_secretguard.errors import UsageError
from robodj_secretguard.shapes import Event, Proof, Record, Validation, draft
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import COMMAND_INDENT, MANAGER, command, count, option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from robodj_secretguard import kinds
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import SecretStatus

NO_ENVIRONMENT: Final = "no environment"  # for a record without one; no environment has this name
PLACEHOLDERS: Final = ("ENVIRONMENT", "YOUR-NAME", MANAGER, "WHY")
"""The words in the commands of a plan that the operator replaces."""
ROTATIONS: Final = (Event.ROTATED, Event.ROTATION_INCOMPLETE)

_INNERMOST: Final = re.compile(rb"\{[^{}]*\}")
_FROM_BEST: Final = (Proof.VERIFIED, Proof.ATTESTED, Proof.NOT_DONE)


class Step(NamedTuple):
    """A step that an operator takes."""

    text: str
    done: bool = False  # whether the program can see that it is done
    command: str | None = None  # its command, if any

    def as_dict(self) -> kinds.Step:
        """Return it in the plain types of JSON."""
        return {"text": self.text, "done": self.done, "command": self.command}


class PlannedStep(NamedTuple):
    """One step of a planned rotation, and its command, if any."""

    text: str
    command: str | None = None

    def as_dict(self) -> kinds.PlannedStep:
        """Return it in the plain types of JSON."""
        return {"text": self.text, "command": self.command}


def boxes(steps: Iterable[Step], *, numbered: bool = False) -> list[str]:
    """Return steps as a Markdown task list, with the commands below."""
    lines = []
    for number, step in enumerate(steps, start=1):
        lines.append(f"{f'{number}.' if numbered else '-'} [{'x' if step.done else ' '}] {step.text}")
        lines += [f"{COMMAND_INDENT}  {step.command}"] if step.command else []
    return lines


def rotations(records: Iterable[Record], secret: str | None, environment: str | None = None) -> list[Record]:
    """Return the rotations of a secret, including incomplete ones, in one environment or in all."""
    return [
        record
        for record in records
        if record.event in ROTATIONS and record.secret == secret and environment in {None, record.environment}
    ]


def revoked(records: Iterable[Record]) -> list[str | None]:
    """Return the fingerprint of each key whose revocation is recorded, in order."""
    return [*dict.fromkeys(record.fingerprint for record in records if record.event is Event.REVOKED)]


def recorded_keys(records: Iterable[Record], secret: str) -> str:
    """Return the last record of each key of a secret, in words."""
    last = {record.fingerprint: record for record in rotations(records, secret)}.values()
    known = "; ".join(f"{each.fingerprint} {each.environment} {iso_utc(each.recorded_at)}" for each in last)
    return known or "none is recorded"


def before_key(
    fingerprint: str, secret: str, records: Sequence[Record], environment: str | None = None
) -> Record | None:
    """Return the last recorded rotation of a secret to a different key, if any.

    The default environment is that of this key's records, otherwise the only one. `UsageError` says there are several.
    """
    own = _environments(fingerprint, secret, records)
    candidates = rotations(records, secret, environment or (own[-1] if own else None))
    if len({record.environment for record in candidates}) > 1:
        msg = f"several environments have records of {secret}; pass --environment ({recorded_keys(records, secret)})"
        raise UsageError(msg)
    return next((record for record in reversed(candidates) if record.fingerprint != fingerprint), None)


def _environments(fingerprint: str | None, secret: str, records: Iterable[Record]) -> list[str | None]:
    """Return the environment of each recorded rotation to a key, in order."""
    return [record.environment for record in rotations(records, secret) if record.fingerprint == fingerprint]


def is_replaced(key: Record, records: Sequence[Record]) -> bool:
    """Return whether the last recorded key of the same environment is a different one, which is not revoked."""
    here = rotations(records, key.secret, key.environment) if key.environment else []
    last = next(reversed(here), None)
    return (
        last is not None
        and last.event is Event.ROTATED
        and last.fingerprint != key.fingerprint
        and last.fingerprint not in revoked(records)
    )


def compared(records: Iterable[Record]) -> dict[str, int]:
    """Return the number of records with a key for each environment."""
    counts = Counter(record.environment or NO_ENVIRONMENT for record in records if record.fingerprint)
    return dict(sorted(counts.items()))


def draft_rotation(status: SecretStatus, startup: Proof, functions: Proof, **who: Any) -> Record:
    """Return the draft of the rotation to a secret's current key, which has passed the gate."""
    return draft(
        **_validated(startup, functions),
        secret=status.secret,
        owner=status.owner,
        fingerprint=status.fingerprint,
        expires_at=status.expires_at,
        **who,
    )


def _validated(startup: Proof, functions: Proof) -> dict[str, Any]:
    """Return the fields of a record that say how a rotation was validated."""
    # The record is itself the last step.
    validation = Validation(gate=Proof.VERIFIED, startup=startup, functions=functions, log=Proof.VERIFIED)
    event = Event.ROTATION_INCOMPLETE if validation.open_steps else Event.ROTATED
    return {"event": event, "validation": validation}


def judge(
    drafts: Mapping[str, Record],
    records: Sequence[Record],
    *,
    are_named: bool,
    options: Sequence[str],
    log_options: Sequence[str],
) -> tuple[list[Record], list[str], dict[str, Problem]]:
    """Return the rotations to record, the secrets with unchanged keys, and the problem of each refused secret.

    `drafts` has the rotations by secret. `records` are those of all environments, sorted by time. If the operator named
    no secret, unchanged keys are ignored as long as another key is new.
    """
    accepted: list[Record] = []
    unchanged: list[str] = []
    refused: dict[str, Problem] = {}
    for secret, new in drafts.items():
        here = rotations(records, secret, new.environment)
        current = here[-1] if here and here[-1].fingerprint == new.fingerprint else None
        if why := _conflict(new, records, is_current=current is not None):
            words = ("rotate", "plan", secret, "--environment", new.environment or "", *log_options, *options)
            set_new = f"set the variable of {secret} to its new key from the secret manager"
            fix = f"{set_new}; if there is none, run {command(*words)}"
            refused[secret] = Problem(why, fix)
        elif current is None:
            accepted.append(new)
        elif current.event is Event.ROTATED:
            unchanged.append(secret)
        elif (completed := _completed(new, current)).validation != current.validation:
            accepted.append(completed)
        else:
            since = iso_utc(current.recorded_at)
            why = f"this rotation was recorded as incomplete at {since}, and no other step is confirmed"
            fix = f"do the open steps, then run {completion(completed, (*log_options, *options))}"
            refused[secret] = Problem(why, fix)
    if unchanged and (are_named or len(unchanged) == len(drafts)):
        for secret in unchanged:
            fix = f"set the variable of {secret} to its new key from the secret manager, then run this command again"
            refused[secret] = Problem("this key is already recorded", fix)
    return accepted, unchanged, refused


def _conflict(new: Record, records: Iterable[Record], *, is_current: bool) -> str | None:
    """Return why the known records of a key forbid another one, if they do."""
    of_this_key = [record for record in records if record.fingerprint == new.fingerprint]
    for record in sorted(of_this_key, key=lambda each: each.event is not Event.REVOKED):
        when = iso_utc(record.recorded_at)
        if record.event is Event.REVOKED:
            return f"this key was revoked at {when}"
        if record.environment != new.environment:
            return f"the environment {record.environment} has this key, and each environment needs its own"
        if record.secret != new.secret:
            return f"{record.secret} has this key, and each secret needs its own"
        if not is_current:
            return f"this is an old key, recorded at {when}"
    return None


def _completed(new: Record, earlier: Record) -> Record:
    """Return a rotation with the better proof of each step from two records of it."""
    validations = [each.validation for each in (new, earlier) if each.validation]
    startup = min((each.startup for each in validations), key=_FROM_BEST.index)
    functions = min((each.functions for each in validations), key=_FROM_BEST.index)
    return replace(new, **_validated(startup, functions))


def completion(record: Record, options: Iterable[str]) -> str:
    """Return the command that completes the record of a rotation."""
    attested = [word for name in record.open_steps for word in ("--attest", name)]
    who = ("--environment", record.environment or "", *option("--operator", record.operator or ""))
    return command("rotate", "record", record.secret or "", *who, *attested, *options)


def started_on(lines: Iterable[bytes], keys: Mapping[str, str]) -> set[str]:
    """Return the secrets whose keys a service started with, from the events of `guard()` in the service's log.

    The log can have any format. It is evidence, not proof, as anybody may have written it.
    """
    event = PASSED_EVENT.encode()
    # The fields that `emit` sends, in any order, with any quotes, blanks and escapes.
    patterns = {
        secret: [
            re.compile(rf"\b{name}\W+{re.escape(value)}(?![\w.-])".encode())
            for name, value in (("secret", secret), ("state", State.PRESENT), ("fingerprint", key))
        ]
        for secret, key in keys.items()
    }
    objects = [each for line in lines if event in line for each in _INNERMOST.findall(line)]
    return {secret for secret, of_one in patterns.items() for each in objects if all(p.search(each) for p in of_one)}


def plan(
    policy: SecretPolicy,
    records: Sequence[Record],
    *,
    now: datetime,
    delivered: str | None,
    refused: bool,
    environment: str | None,
    who: Sequence[str],
    options: Sequence[str],
    log_options: Sequence[str],
) -> list[PlannedStep]:
    """Return the steps of a secret's rotation.

    `delivered` is the fingerprint of the current key, if it is set here and valid. `refused` is whether a value is set
    here and the check fails.
    `who` are the options for the operator and the ticket. `log_options` are for commands that use the log, `options`
    for every command.
    """
    own = _environments(delivered, policy.name, records)
    environment = environment or next(reversed(own), None) or "ENVIRONMENT"
    if own and environment not in own:
        delivered = None
    here = rotations(records, policy.name, environment)
    attested = ("--attest", "startup", "--attest", "functions")
    record = command(
        *("rotate", "record", policy.name, "--environment", environment), *who, *attested, *log_options, *options
    )
    in_force = [each for each in here if delivered and each.fingerprint == delivered]
    if in_force and in_force[-1] is here[-1]:
        since = iso_utc(in_force[0].recorded_at)
        first = PlannedStep(f"The current key is already recorded ({delivered}, since {since}). Continue.")
    elif refused:
        first = PlannedStep("The current key fails the check, so it cannot be recorded. Go to step 2.")
    else:
        text = f"Record the current key, where {policy.variable} is set. Only a recorded key can be revoked by name:"
        first = PlannedStep(text, record)
    old = here[-1] if here and delivered in {None, here[-1].fingerprint} else None
    which_old = f" ({old.fingerprint}, recorded at {iso_utc(old.recorded_at)})" if old else ""
    revocable = delivered or (old.fingerprint if old else None)
    key = ("--fingerprint", revocable) if revocable else (policy.name, "--last-recorded")
    return [
        first,
        PlannedStep(
            f"Generate a new key for {environment} alone, and store it in the secret manager as a new version. Skip"
            " this if the manager already has a newer key:",
            f"{command('generate', policy.name, *options)} | {MANAGER}",
        ),
        PlannedStep(f"Set {policy.variable} in {environment} to the new key from the secret manager."),
        PlannedStep(
            f"Set the expiry marker ({count(policy.cadence.days, 'day')} from now), here and in the settings of the"
            " deployment:",
            f"{policy.expiry_variable}={iso_utc(now + policy.cadence)}",
        ),
        PlannedStep("Run the check there:", command("check", "--require-env-only", *options)),
        PlannedStep("Restart the services. Make sure that each startup check passes."),
        PlannedStep("Test the functions that depend on authentication or encryption."),
        PlannedStep(
            f"Record the rotation in {environment}. Leave out --attest for a step that you did not do:", record
        ),
        PlannedStep(f"If the test passed, disable the old version in the secret manager{which_old}."),
        PlannedStep(
            "Only if others may know the old key, revoke it (add --yes to do it):",
            command("revoke", *key, "--reason", "WHY", *who, *log_options, *options),
        ),
    ]
