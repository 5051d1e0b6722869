"""Every kind of JSON document that a command prints. The published schemas are made of these classes.

To add a kind, write its fields with a `kind`, and add it to `KINDS`. Then run `python tests/generated.py`.
"""

# The classes are made of tables.
# mypy: disable-error-code="valid-type"

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import documents
from documents import CheckId, Count, Fingerprint, Instant, described_by, document
from pydantic import Field

from robodj_secretguard.fleet import verdict as instances
from robodj_secretguard.lifecycle import records
from robodj_secretguard.lifecycle.records import StepName
from robodj_secretguard.scan import result
from robodj_secretguard.startup.rules import Severity

Record = Annotated[dict[str, Any], described_by(records.Record)]
Verdict = Annotated[dict[str, Any], described_by(instances.Verdict)]
Scan = Annotated[dict[str, Any], described_by(result.Scan)]
Hash = Annotated[str, described_by(records.Hash)]
DueStep = Annotated[str, described_by(Literal["stage", "promote", "retire"])]
ValidationStep = Annotated[str, described_by(Literal["gate", "startup", "functions", "log"])]
Keys = Annotated[
    dict[str, str],
    Field(
        description="What `generate` prints: each variable and its new key. It has no `schema` and no `kind`, since"
        " secret managers store it as it is."
    ),
]


Envelope = document(
    "Envelope",
    "The fields that every command adds to its document.",
    schema=(Literal[1], "The version of this kind of document."),
    kind=(str, ""),
    ok=(bool, "Whether the exit status is 0."),
    model=(documents.Model, ""),
)


OperationsLog = document(
    "OperationsLog",
    "The state of the operations log.",
    found=(bool, "Whether the log exists."),
    last_hash=(Hash | None, "The hash of the last record."),
    defects=(list[str], "Why the log is not valid, in words. Empty for a valid log."),
)


SecretStatus = document(
    "SecretStatus",
    "A declared secret, its last rotation and its cadence.",
    base=documents.Secret,
    alerts=(list[CheckId], "The checks with an alert about it."),
    superseded=(bool, "Whether it is an old key: the operations log records a later one."),
    rotated_at=(Instant | None, "When its key was first recorded. Null for an unrecorded key."),
    environment=(str | None, "The environment in which its key is recorded."),
    age_days=(int | None, "The age of the record in whole days. Negative where the record is later than the clock."),
    overdue=(bool, "Whether the key is older than the cadence."),
    open_steps=(list[ValidationStep], "The steps of the rotation's validation that are not done."),
    due=(
        DueStep | None,
        "The step of a rotation that is due: the key gets old, a next key is set, or a previous key's time is over.",
    ),
)


Status = document(
    "Status",
    "What `status` prints.",
    kind=(Literal["status"], ""),
    operations_log=(OperationsLog, ""),
    secrets=(list[SecretStatus], ""),
    check=(documents.Report, "The report of the check, with the findings from the operations log."),
)


PlannedStep = document(
    "PlannedStep",
    "One step for an operator.",
    text=(str, "What to do, in words."),
    command=(str | None, "The commands for this step, one a line, if there are any."),
)


RotationPlan = document(
    "RotationPlan",
    "What `rotate plan` prints.",
    kind=(Literal["rotation-plan"], ""),
    secret=(str, "The name of the secret."),
    due=(DueStep | None, "The step that is due. Null where a rotation may begin, and need not yet."),
    steps=(list[PlannedStep], "The steps that come next. Empty where `--from` names no store."),
)


Refusal = document(
    "Refusal",
    "The reason why nothing was recorded.",
    secret=(str | None, "The name of the secret. Null where the check failed."),
    reason=(str, "What is wrong, in words."),
    remedy=(str, "How to fix it, in words."),
)


RotationRecord = document(
    "RotationRecord",
    "What `rotate record` prints. After a refusal, `records` is empty.",
    kind=(Literal["rotation-record"], ""),
    refusals=(list[Refusal], "Why nothing was recorded. Empty where the rotation was recorded."),
    unchanged=(list[str], "The secrets that were not rotated."),
    records=(list[Record], "What was recorded."),
    check=(documents.Report, "The check before it, with fallback files off."),
)


RotationStep = document(
    "RotationStep",
    "What one of the steps of `rotate` did for a secret.",
    secret=(str, "The name of the secret."),
    step=(
        Annotated[str, described_by(StepName)] | None,
        "The step. Null where `rotate run` found none that is due.",
    ),
    outcome=(Annotated[str, described_by(Literal["done", "would-be-done", "nothing-to-do", "refused"])], ""),
    fields=(list[str], "The fields that it changed in the secret manager, without that of its record."),
    records=(list[Record], "What was recorded in the operations log."),
    refusals=(list[Refusal], ""),
    findings=(list[documents.Finding], "The alerts that refuse the step, or that the new version still has."),
)


RotationSteps = document(
    "RotationSteps",
    "What the steps of `rotate` print, from `stage` to `restore`.",
    kind=(Literal["rotation-steps"], ""),
    source=(str, "The secret manager."),
    dry_run=(bool, "Whether nothing was written because of `--dry-run`."),
    results=(list[RotationStep], ""),
)


DeliveredKey = document(
    "DeliveredKey",
    "A place where a key is set.",
    secret=(str, "The name of the secret."),
    slot=(Annotated[str, described_by(Literal["current", "next", "previous"])], "Which key of the secret it is."),
)


RevokedKey = document(
    "RevokedKey",
    "The revoked key.",
    fingerprint=(Fingerprint | None, ""),
    secret=(str | None, "The name of its secret, if known."),
    environment=(str | None, "The environment in which it was last recorded."),
    recorded_at=(Instant | None, "When it was first recorded as rotated."),
    delivered_as=(
        list[DeliveredKey],
        "The secrets that have this key in the environment of the command, or in the source of `--from`.",
    ),
    is_known=(bool, "Whether the operations log, the revocation list or a source has this key."),
    is_revoked=(bool, "Whether it was revoked before."),
    is_current=(bool, "Whether it is the current key of its secret."),
    has_replacement=(bool, "Whether another key of its secret is known: a next key, or a current one."),
)


Revocation = document(
    "Revocation",
    "What `revoke` prints. Without `--yes`, `revoked` is false.",
    kind=(Literal["revocation"], ""),
    revoked=(bool, "Whether the key is on the revocation list."),
    recorded=(bool, "Whether the operations log has a record of the revocation."),
    key=(RevokedKey, ""),
    steps=(list[PlannedStep], "The next steps. Empty where nothing was revoked."),
    records=(list[Record], "What was recorded."),
)


Log = document(
    "Log",
    "What `log show` prints.",
    kind=(Literal["log"], ""),
    records=(list[Record], ""),
)


LastRecord = document(
    "LastRecord",
    "The last record of an earlier log.",
    sequence=(int, ""),
    hash=(Hash, ""),
)


LogVerification = document(
    "LogVerification",
    "What `log verify` prints.",
    kind=(Literal["log-verification"], ""),
    count=(Count, "How many records were read."),
    last_hash=(Hash | None, "The hash of the last record."),
    defects=(list[str], "Why the log is not valid, in words."),
    expected_sequence=(int | None, "The number of the record of `--expect`, if it was found."),
    continues=(
        LastRecord | None,
        "The last record of the earlier log that this one continues. Null for the first log.",
    ),
)


Incident = document(
    "Incident",
    "What `incident` prints.",
    kind=(Literal["incident"], ""),
    operations_log=(OperationsLog, ""),
    since=(Instant, ""),
    until=(Instant, ""),
    timeline=(list[Record], "The records from `since` to before `until`."),
    check=(documents.Report, "The report of a check at this time. Its `ok` is true where the service may start."),
)


ServiceKeys = document(
    "ServiceKeys",
    "The keys that a service runs on.",
    service=(str, ""),
    secret=(str, ""),
    instances=(Count | None, "How many instances are declared. Null without `--roster` and `--instances`."),
    proven=(Count, "Of how many it is certain with which key they sign."),
    runs_on=(
        dict[str, Count],
        (
            "How many instances sign with which key, by its role. One with several keys counts"
            " for each of them. `lately` before a role: not recently enough for a proof, but it may still be so."
        ),
    ),
)


FleetStatus = document(
    "FleetStatus",
    "What `fleet` prints. `rotate promote` and `rotate retire` read it.",
    kind=(Literal["fleet"], ""),
    services=(list[ServiceKeys], ""),
    verdicts=(list[Verdict], "For each condition of `--require`, each secret and each service."),
    reasons=(list[str], "What is not certain, who does not follow, and why a condition does not hold."),
    other_environments=(list[str], "The instances of other environments, which do not count."),
)


PurposeCommands = document(
    "PurposeCommands",
    "The commands for one purpose. A purpose about secrets has one command for each declared secret.",
    purpose=(str, ""),
    commands=(list[str], ""),
)


ExplainedCheck = document(
    "ExplainedCheck",
    "The meaning of a check, its causes and its fixes. All texts are for people.",
    check=(CheckId, ""),
    severity=(Annotated[str, described_by(Severity)], ""),
    otherwise=(str | None, "The other severity, and when it is used, in words."),
    title=(str, ""),
    meaning=(str, ""),
    why=(str, "Why it refuses or warns."),
    causes=(list[str], "The usual causes."),
    fixes=(list[str], "What to do: first the most frequent fix."),
    commands=(list[PurposeCommands], ""),
    policy_section=(int, ""),
)


Explanation = document(
    "Explanation",
    "What `explain` prints: the named checks, or all checks.",
    kind=(Literal["explanation"], ""),
    checks=(list[ExplainedCheck], ""),
)


InitChange = document(
    "InitChange",
    "A file that `init` creates, or to which it adds lines.",
    file=(str, "The path, relative to the working directory, with slashes."),
    is_new=(bool, "Whether the file is missing or empty before."),
    added=(list[str], "The added lines. For a new file: all lines."),
)


InitByHand = document(
    "InitByHand",
    "A file to which `init` cannot append lines.",
    file=(str, "The path, relative to the working directory, with slashes."),
    lines=(list[str], "The lines to add by hand."),
)


Init = document(
    "Init",
    "What `init` prints. Without `--yes`, `written` is false.",
    kind=(Literal["init"], ""),
    written=(bool, "Whether the changes were written."),
    changes=(list[InitChange], ""),
    kept=(list[str], "The files that exist and stay as they are."),
    by_hand=(list[InitByHand], ""),
)


StoreFault = document(
    "StoreFault",
    "What a store does wrong.",
    message=(str, "What is wrong, as the end of a sentence that begins with the store."),
    remedy=(str, "What to do."),
)


StoreCheck = document(
    "StoreCheck",
    "What `store check` prints.",
    kind=(Literal["store-check"], ""),
    store=(str, "The store."),
    faults=(list[StoreFault], ""),
)


KINDS: Final[dict[str, Any]] = {
    "init": Init,
    "report": documents.Report,
    "explanation": Explanation,
    "status": Status,
    "rotation-plan": RotationPlan,
    "rotation-record": RotationRecord,
    "rotation-steps": RotationSteps,
    "revocation": Revocation,
    "log": Log,
    "log-verification": LogVerification,
    "incident": Incident,
    "fleet": FleetStatus,
    "scan": Scan,
    "keys": Keys,
    "store-check": StoreCheck,
}
"""The type of each kind of document. docs/schemas has a schema of each."""
