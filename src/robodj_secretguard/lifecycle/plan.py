"""The next commands of a rotation (policy sections 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import iso_utc
from robodj_secretguard.program import MANAGER, command

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
    current: Record | None,
    environment: str,
    who: Sequence[str],
    options: Sequence[str],
    log_options: Sequence[str],
) -> list[PlannedStep]:
    """Return the steps of a rotation.

    Args:
        policy: the secret's.
        now: the time of the rotation, in UTC.
        current: the last recorded rotation of it in this environment, if there is one.
        environment: where the key is used.
        who: the options that say who rotates it, and what for.
        options: further options of every command, such as the model's.
        log_options: those of the commands that record something.
    """
    recorded = ("rotate", "record", policy.name, "--environment", environment, *who, *_ATTESTED)
    steps = [
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
        PlannedStep(f"Disable the old version in the secret manager{_old(current)}."),
    ]
    if current is not None and current.fingerprint is not None:
        revoke = ("revoke", "--fingerprint", current.fingerprint, "--reason", "WHY", *who, *log_options, *options)
        steps.append(PlannedStep("Only if the old key may be known to others, revoke it:", command(*revoke)))
    return steps


def _old(current: Record | None) -> str:
    return f" ({current.fingerprint}, recorded {iso_utc(current.recorded_at)})" if current else ""
