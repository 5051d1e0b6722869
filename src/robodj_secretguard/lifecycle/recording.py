"""Record the rotation of a model's keys in the operations log (policy section 3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from robodj_secretguard.errors import FileError, UsageError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import (
    Proof,
    Record,
    draft_rotation,
    judge_drafts,
    other_key_replaced,
)
from robodj_secretguard.lifecycle.revocation import add_to_list, entry_of
from robodj_secretguard.lifecycle.standing import recorded_findings
from robodj_secretguard.startup.readings import Environment, config_directory
from robodj_secretguard.startup.report import Report, for_gate, with_findings
from robodj_secretguard.startup.rules import Problem, State
from robodj_secretguard.startup.settings import SecretSettings, setup_of

STARTUP: Final = "startup"
FUNCTIONS: Final = "functions"
_CHECK_FAILED: Final = Problem("the check failed", "fix its alerts, then run this command again")


class Recording(NamedTuple):
    """What was recorded of a rotation, or why nothing was recorded.

    Attributes:
        report: the report of the check.
        refusals: why nothing was recorded, by secret; the secret is `None` where the check failed.
        unchanged: the secrets that were not recorded, since their keys have not changed.
        records: the new records.
        warnings: what is unusual about the previous keys.
        listed: the entries of the revocation list, each with the reason why it could not be added; empty if it was.
    """

    report: Report
    refusals: Mapping[str | None, Problem]
    unchanged: Sequence[str] = ()
    records: Sequence[Record] = ()
    warnings: Sequence[str] = ()
    listed: Sequence[tuple[str, str]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {
            "refusals": [
                {"secret": secret, "reason": problem.message, "remedy": problem.remedy}
                for secret, problem in self.refusals.items()
            ],
            "unchanged": [*self.unchanged],
            "records": [record.as_dict() for record in self.records],
            "check": self.report.as_dict(),
        }


def record_rotation(
    model: type[SecretSettings],
    log: OperationsLog,
    check_keys: Callable[[], Report],
    *,
    environment: str,
    operator: str,
    ticket: str | None = None,
    note: str | None = None,
    names: Collection[str] = (),
    attested: Collection[str] = (),
    others: Iterable[OperationsLog] = (),
    config_dir: str | None = None,
    options: Sequence[str] = (),
) -> Recording:
    """Check the keys of a model, and record that they are new.

    Args:
        model: the settings model.
        log: the operations log. Nobody else writes it from the second check to the record.
        check_keys: checks the keys without fallback files: `check`, or `Sources.check` for those of a secret manager.
        environment: where the keys are, such as `prod`.
        operator: who rotated them.
        ticket: the ticket of the rotation.
        note: what the record says besides, such as who reviewed the rotation.
        names: the rotated secrets; by default all with new keys, without those that have no fingerprint.
        attested: the steps of the validation that the operator has done: `startup`, `functions`.
        others: the logs of other environments, whose keys must differ.
        config_dir: the config directory; by default the model's.
        options: the options of the commands in instructions.

    Raises:
        UsageError: a name, a word of `attested` or a text of the operator is invalid, or names an optional secret that
            is not set. Or no secret has a fingerprint, and none is named.
        FileError: the log cannot be written, so nothing was recorded.
    """
    policies = model.secret_policies.values()
    if not {*names} <= {policy.name for policy in policies}:
        raise UsageError(f"unknown secret (choose from {', '.join(policy.name for policy in policies)})")
    if not {*attested} <= {STARTUP, FUNCTIONS}:
        raise UsageError(f"unknown step in attested (choose from {STARTUP}, {FUNCTIONS})")
    report = for_gate(check_keys())
    if not report.ok:
        return Recording(report, {None: _CHECK_FAILED})
    # Without a fingerprint, whether the value is a new one cannot be seen.
    statuses = [each for each in report.secrets if (each.secret in names if names else each.fingerprint)]
    if not statuses:
        raise UsageError("NAME is missing: no secret has a fingerprint, so name those that have a new value")
    if absent := [each.secret for each in statuses if each.state is State.MISSING]:
        raise UsageError(f"{absent[0]} is optional, and it is not set")
    proofs: dict[str, Proof] = {STARTUP: "not-done", FUNCTIONS: "not-done", **dict.fromkeys(attested, "attested")}
    who = {"environment": environment, "operator": operator, "ticket": ticket, "note": note}
    drafts = {each.secret: draft_rotation(each, proofs[STARTUP], proofs[FUNCTIONS], **who) for each in statuses}
    with log.locked():
        # A key may have been revoked meanwhile.
        report = for_gate(check_keys())
        if not report.ok:
            return Recording(report, {None: _CHECK_FAILED})
        known = sorted(
            (record for each in (*others, log) for record in each.records), key=lambda each: each.recorded_at
        )
        accepted, unchanged, refusals = judge_drafts(drafts, known, are_named=bool(names), options=options)
        if refusals:
            return Recording(report, refusals)
        report = with_findings(report, [*recorded_findings(report, log.records, tuple(policies), options)])
        if not report.ok:
            return Recording(report, {None: _CHECK_FAILED})
        records = log.append(accepted)
    overlapping = {policy.name for policy in policies if policy.overlap}
    warnings = [other_key_replaced(record, known, has_overlap=record.secret in overlapping) for record in records]
    directory, _ = config_directory(Environment(), config_dir, setup_of(model))
    listed = [(entry_of(record), _why_unlisted(directory, record)) for record in records if record.replaced]
    return Recording(report, {}, unchanged, records, [*filter(None, warnings)], listed)


def _why_unlisted(directory: str, record: Record) -> str:
    """Add the replaced key with its deadline to the revocation list. Return why that failed; empty if it did not."""
    try:
        add_to_list(directory, record, now=record.recorded_at)
    except FileError as error:
        return str(error)
    return ""
