"""Every kind of JSON document that a command prints. Only type checkers and tests import it.

To add a kind, write its class with a `kind`, and add it to `KINDS`. Then run `python tests/generated.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict  # before Python 3.12 pydantic reads no other

from robodj_secretguard import documents, shapes
from robodj_secretguard.checks import Severity
from robodj_secretguard.documents import CheckId, Count, Fingerprint, Instant, described_by
from robodj_secretguard.scan import result

Record = Annotated[dict[str, Any], described_by(shapes.Record)]
Scan = Annotated[dict[str, Any], described_by(result.Scan)]
Hash = Annotated[str, described_by(shapes.Hash)]
ValidationStep = Annotated[str, described_by(Literal["gate", "startup", "functions", "log"])]
Keys = Annotated[
    dict[str, str],
    Field(
        description="What `generate` prints: each variable and its new key. It has no `schema` and no `kind`, since"
        " secret managers store it as it is."
    ),
]


class Envelope(TypedDict):
    """What a command adds to its document."""

    schema: Literal[1]
    """The version of this kind of document."""
    kind: str
    ok: bool
    """Whether the exit status is 0."""
    model: documents.Model


class OperationsLog(TypedDict):
    """The operations log as the command found it."""

    found: bool
    """Whether there is one."""
    last_hash: Hash | None
    """The hash of its last record."""
    defects: list[str]
    """Why it cannot be relied on, in words. Empty for a log that verifies."""


class SecretStatus(documents.Secret):
    """A declared secret, and how its last rotation compares with its cadence."""

    alerts: list[CheckId]
    """The checks whose alerts concern it."""
    superseded: bool
    """Whether it is an old key: the operations log records a later one."""
    rotated_at: Instant | None
    """When its key was first recorded. Null for a key that is not recorded."""
    environment: str | None
    """Where its key is recorded."""
    age_days: int | None
    """How many whole days ago it was recorded. Negative where the record is ahead of the clock."""
    overdue: bool
    """Whether it is older than its cadence."""
    open_steps: list[ValidationStep]
    """The steps of the rotation's validation that are not done."""


class Status(TypedDict):
    """What `status` prints."""

    kind: Literal["status"]
    operations_log: OperationsLog
    secrets: list[SecretStatus]
    check: documents.Report
    """The check that was made, with what the operations log adds to it."""


class PlannedStep(TypedDict):
    """One step of a planned rotation."""

    text: str
    """What to do, in words."""
    command: str | None
    """The command for it, where there is one."""


class RotationPlan(TypedDict):
    """What `rotate plan` prints."""

    kind: Literal["rotation-plan"]
    secret: str
    """The name of the secret."""
    steps: list[PlannedStep]


class Refusal(TypedDict):
    """Why something was not recorded."""

    secret: str | None
    """The name of the secret. Null where the check failed."""
    reason: str
    """What is wrong, in words."""
    remedy: str
    """How to fix it, in words."""


class RotationRecord(TypedDict):
    """What `rotate record` prints, also when it refuses: `records` is then empty."""

    kind: Literal["rotation-record"]
    refusals: list[Refusal]
    """Why nothing was recorded. Empty where the rotation was recorded."""
    unchanged: list[str]
    """The secrets that were not rotated."""
    compared: dict[str, int]
    """With how many records of each environment the keys were compared."""
    records: list[Record]
    """What was recorded."""
    check: documents.Report
    """The check before it, with fallback files off."""


class RevokedKey(TypedDict):
    """The key that is revoked."""

    fingerprint: Fingerprint | None
    secret: str | None
    """The name of its secret, if it is known."""
    environment: str | None
    """Where it was last recorded."""
    recorded_at: Instant | None
    """When it was first recorded as rotated."""
    delivered_as: list[str]
    """The secrets that have this key where the command ran."""


class Step(TypedDict):
    """One step that an operator takes."""

    text: str
    """What to do, in words."""
    done: bool
    """Whether the program has seen that it was done."""
    command: str | None
    """The command for it, if this program has one."""


class Revocation(TypedDict):
    """What `revoke` prints, also without `--yes`: `revoked` is then false."""

    kind: Literal["revocation"]
    revoked: bool
    """Whether the key is on the revocation list."""
    recorded: bool
    """Whether the operations log has the revocation."""
    key: RevokedKey
    steps: list[Step]
    """What follows. Empty where nothing was revoked."""
    records: list[Record]
    """What was recorded."""


class Log(TypedDict):
    """What `log show` prints."""

    kind: Literal["log"]
    records: list[Record]


class LastRecord(TypedDict):
    """The last record of an earlier log."""

    sequence: int
    hash: Hash


class LogVerification(TypedDict):
    """What `log verify` prints."""

    kind: Literal["log-verification"]
    count: Count
    """How many records were read."""
    last_hash: Hash | None
    """The hash of the last one."""
    defects: list[str]
    """Why the log does not verify, in words."""
    notes: list[str]
    """Writes that were cut and closed off, in words. They are not defects."""
    expected_sequence: int | None
    """The number of the record that `--expect` names, if it was found."""
    continues: LastRecord | None
    """The record that this log continues. Null where it begins with the first one."""


class Incident(TypedDict):
    """What `incident report` prints."""

    kind: Literal["incident"]
    operations_log: OperationsLog
    since: Instant
    until: Instant
    timeline: list[Record]
    """The records from `since` on, before `until`."""
    check: documents.Report
    """The check of this moment. Its `ok` says whether the service may start."""
    blast_radius: Scan | None
    """The scan that `--scan` names."""
    steps: dict[str, list[Step]]
    """The five steps of the incident response, each with what there is to do."""


class Commands(TypedDict):
    """Commands for one purpose: one for each declared secret, where it is about secrets."""

    purpose: str
    commands: list[str]


class ExplainedCheck(TypedDict):
    """What a check means, how it happens and how to fix it. Every text is for people."""

    check: CheckId
    severity: Annotated[str, described_by(Severity)]
    otherwise: str | None
    """The other severity, and when that is used, in words."""
    title: str
    meaning: str
    why: str
    """Why it refuses or warns."""
    causes: list[str]
    """How it usually happens."""
    fixes: list[str]
    """What to do: first what is right most often."""
    commands: list[Commands]
    policy_section: int


class Explanation(TypedDict):
    """What `explain` prints: the named checks, or every check where none is named."""

    kind: Literal["explanation"]
    checks: list[ExplainedCheck]


KINDS: Final[dict[str, Any]] = {
    "report": documents.Report,
    "explanation": Explanation,
    "status": Status,
    "rotation-plan": RotationPlan,
    "rotation-record": RotationRecord,
    "revocation": Revocation,
    "log": Log,
    "log-verification": LogVerification,
    "incident": Incident,
    "scan": Scan,
    "keys": Keys,
}
"""Every kind, and what describes its documents: docs/schemas has a schema of each. SARIF has its own."""
