"""The next commands of a rotation (policy sections 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import MANAGER, command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.policy import SecretPolicy


_ATTESTED: Final = ("--attest", "startup", "--attest", "functions")


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a rotation.

    Attributes:
        text: what is done.
        command: the command for it; `None` where there is none of ours.
    """

    text: str
    command: str | None = None


def plan(
    policy: SecretPolicy,
    *,
    now: datetime,
    here: Sequence[Record],
    delivered: str | None,
    environment: str,
    who: Sequence[str],
    options: Sequence[str],
    log_options: Sequence[str],
) -> list[PlannedStep]:
    """Return the steps of a rotation.

    Args:
        policy: the secret's.
        now: the time of the rotation, in UTC.
        here: the recorded rotations of it in this environment.
        delivered: the fingerprint of the key in force there; `None` where it is not delivered here.
        environment: where the key is used.
        who: the options that say who rotates it, and what for.
        options: further options of every command, such as the model's.
        log_options: those of the commands that record something.
    """
    recorded = ("rotate", "record", policy.name, "--environment", environment, *who, *_ATTESTED)
    in_force = [record for record in here if delivered and record.fingerprint == delivered]
    if in_force and in_force[-1] is here[-1]:
        since = iso_utc(in_force[0].recorded_at)
        first = PlannedStep(f"The key in force is recorded already: {delivered}, since {since}.")
    else:
        first = PlannedStep(
            "Record the key in force, in the environment that has it, before it is replaced: only a recorded key can be"
            " revoked by name later:",
            command(*recorded, *log_options, *options),
        )
    old = here[-1] if here and delivered in {None, here[-1].fingerprint} else None
    steps = [
        first,
        PlannedStep(
            "Generate a new key for this environment alone, straight into the secret manager"
            " (the part after | is its own command):",
            f"{command('generate', policy.name, *options)} | {MANAGER}",
        ),
        PlannedStep(
            f"Set its expiry marker, {policy.cadence.days} days from now, where the key is delivered:",
            f"{policy.expiry_variable}={iso_utc(now + policy.cadence)}",
        ),
        PlannedStep(
            f"Deliver the key as {policy.variable}, and run the gate in the environment that has it:",
            command("check", "--require-env-only", *options),
        ),
        PlannedStep("Start the services, and confirm that their startup integrity checks pass."),
        PlannedStep("Verify that authentication- and encryption-dependent functions still operate."),
        PlannedStep("Record it, in the environment that has the key:", command(*recorded, *log_options, *options)),
        PlannedStep(f"Disable the old version in the secret manager{_old(old)}."),
    ]
    which = ("--fingerprint", old.fingerprint) if old and old.fingerprint else (policy.name, "--last-recorded")
    revoke = ("revoke", *which, "--reason", "WHY", *who, *log_options, *options)
    steps.append(PlannedStep("Only if the old key may be known to others, revoke it:", command(*revoke)))
    return steps


def _old(old: Record | None) -> str:
    return f" ({old.fingerprint}, recorded {iso_utc(old.recorded_at)})" if old else ""
