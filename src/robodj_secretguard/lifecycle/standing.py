"""What the operations log shows of the keys, and the record of a rotation (policy sections 3 and 4).

It shows unlisted keys, superseded ones, and the role of each key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import FileError, UsageError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import (
    ROTATIONS,
    Document,
    Proof,
    Record,
    Records,
    StepName,
    Who,
    as_found,
    by_secret,
    draft_rotation,
    judge_drafts,
    revoked,
    rotations,
    slots_of,
    staged_after,
    unkept_key,
)
from robodj_secretguard.lifecycle.revocation import add_to_list, entry_of, is_listed
from robodj_secretguard.lifecycle.steps import due, reported_keys
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import Options, command
from robodj_secretguard.settings import SecretSettings, setup_of
from robodj_secretguard.startup.inputs import iso_utc
from robodj_secretguard.startup.readings import PIPED, REVOKED_FILE, Environment, RevocationStatus, config_directory
from robodj_secretguard.startup.report import Finding, Report, SecretStatus, finding, for_gate, with_findings
from robodj_secretguard.startup.rules import FOLLOW, Check, Problem, Problems, Severity, State, how_to_rotate
from robodj_secretguard.startup.shared import how_to_exchange
from robodj_secretguard.startup.time_rules import how_to_renew

Role = Literal["current", "next", "previous", "superseded", "revoked", "unrecorded"]
TO_DO: Final[dict[StepName, str]] = {
    "stage": "stage a next key",
    "promote": "promote the next key",
    "retire": "retire the previous key",
}
"""By step that is due: what to do."""
STARTUP: Final = "startup"
FUNCTIONS: Final = "functions"
_OF_CURRENT: Final = frozenset(
    (
        Check.MISSING,
        Check.PLACEHOLDER,
        Check.FORMAT,
        Check.WEAK,
        Check.SHARED,
        Check.REVOKED,
        Check.EXPIRED,
        Check.SUPERSEDED,
        Check.DRIFT,
    )
)
_CHECK_FAILED: Final = Problem("the check failed", "fix its alerts, then run this command again")


def recorded_findings(
    report: Report, records: Records, policies: Sequence[SecretPolicy], options: Options
) -> Iterator[Finding]:
    """Yield a finding for keys that are not on the list, and for each key that came back."""
    if report.revocation_list is None:  # nothing was read
        return
    for problem in _unlisted(report.revocation_list, records, options, report.checked_at):
        yield finding(policies, Check.REVOCATION_LIST, problem)
    by_name = {policy.name: policy for policy in policies}
    of_secrets = by_secret(records)
    recorded = {*revoked(records)}
    for status in report.secrets:
        yield from _superseded(by_name[status.secret], status, of_secrets[status.secret], recorded, report)


def _unlisted(listed: RevocationStatus, records: Records, options: Options, now: datetime) -> Problems:
    """Yield the problem of recorded revocations that are not listed, and that of replaced keys after their deadline."""
    source = f"file:{REVOKED_FILE}"
    unlisted = [each for each in revoked(records) if each is not None and each not in listed.fingerprints]
    if unlisted:
        revoke = command("revoke", "--fingerprint", unlisted[0], "--reason", "recorded as revoked", "--yes", *options)
        yield Problem(
            f"{unlisted[0]} is recorded as revoked, but is not on the revocation list{_more(unlisted)}",
            f"run {revoke}",
            source,
        )
    entries = dict[str, None]()
    current_again = set[str | None]()
    for record in reversed(records):
        if record.event == "rolled-back":
            current_again.add(record.fingerprint)
        elif record.replaced in current_again or not record.replaced_until or now < record.replaced_until:
            continue
        elif not is_listed(record, listed):
            entries[entry_of(record)] = None
    if entries:
        first = next(reversed(entries))  # the oldest one
        yield Problem(
            f"{first.partition('@')[0]} was replaced, but is not on the revocation list{_more(entries)}",
            f"add the line {first} to the revocation list, and deploy it",
            source,
            Severity.WARNING,
        )


def _more(entries: Collection[str]) -> str:
    return f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""


def _superseded(
    policy: SecretPolicy,
    status: SecretStatus,
    records: Records,
    recorded: Collection[str | None],
    report: Report,
) -> Iterator[Finding]:
    """Yield a finding if a later key is recorded for the environment of the current one."""
    of_this_secret = rotations(records, status.secret)
    listed = report.revocation_list
    now = report.checked_at
    if status.fingerprint is None:
        return
    after = _records_after(status.fingerprint, of_this_secret)
    if not after:
        return
    later = after[0]
    latest = str(after[-1].fingerprint)
    deadline = later.replaced_until if later.replaced == status.fingerprint else None
    until = deadline or later.recorded_at + policy.overlap
    begin = listed.begin(latest) if listed else None
    is_revoked = latest in recorded or (begin is not None and begin <= now)
    remedy = (
        how_to_renew(policy, _manager_of(status)) if is_revoked else _how_to_return(policy, status, latest, until, now)
    )
    slots = (status.next_fingerprint, status.previous_fingerprint)
    where = f"in {policy.slot_variables[slots.index(latest)]}" if latest in slots else latest
    problem = Problem(
        f"{policy.variable} is an old key; the latest one is {where}",
        remedy,
        status.source,
        Severity.NOTE if now <= until else Severity.WARNING,
    )
    yield finding((), Check.SUPERSEDED, problem, policy)


def _records_after(fingerprint: str, of_secret: Records) -> list[Record]:
    """Return the rotations to later keys in the environment of a key, which may only be named as a replaced one."""
    own = [index for index, record in enumerate(of_secret) if record.fingerprint == fingerprint]
    first = own[-1] + 1 if own else 0
    if not own:
        own = [index for index, record in enumerate(of_secret) if record.replaced == fingerprint]
        first = own[-1] if own else 0
    if not own:
        return []
    environment = of_secret[own[-1]].environment
    return [record for record in of_secret[first:] if record.environment == environment]


def _manager_of(status: SecretStatus) -> str:
    return _manager_in(status.source)


def _manager_in(source: str) -> str:
    """Return the secret manager that a source is; empty for the environment and files."""
    return "" if re.match("environment|file:|none", source) else source


def _how_to_return(policy: SecretPolicy, status: SecretStatus, latest: str, until: datetime, now: datetime) -> str:
    """Return the remedy that delivers the latest key again, which is not revoked. A rollout of it may be under way."""
    manager = _manager_of(status)
    if manager and now <= until:
        return f"deliver the latest key to {manager} before {iso_utc(until)}; after that, this is a warning"
    if latest == status.previous_fingerprint and now > until:
        return how_to_exchange(policy.variable, policy.slot_variables[1], manager)
    return how_to_restore_key(policy, manager, latest)


def how_to_restore_key(policy: SecretPolicy, manager: str, fingerprint: str) -> str:
    """Return the remedy that brings a recorded key back: a command, where a secret manager is known."""
    if manager not in {"", PIPED}:
        return f"run {command('rotate', 'restore', policy.name, '--fingerprint', fingerprint, '--to', manager)}"
    return f"deliver the key {fingerprint}; if it is lost, {how_to_rotate(policy)}"


def expected_keys(report: Report, records: Records, environment: str | None) -> dict[str, Slots]:
    """Return the expected keys of each secret: those that were checked, unless the log has later ones.

    Nothing is known of a secret with records of several environments, if neither its key nor `environment` selects one.
    """
    expected = {}
    of_secrets = by_secret(records)
    for status in report.secrets:
        of_secret = of_secrets[status.secret]
        own = [record.environment for record in rotations(of_secret, status.secret) if _has(record, status.fingerprint)]
        known = rotations(of_secret, status.secret, environment or next(reversed(own), None))
        last = known[-1] if len({record.environment for record in known}) == 1 else None
        is_latest = not own or (last is not None and last.fingerprint == status.fingerprint)
        expected[status.secret] = Slots()
        if status.fingerprint and is_latest:
            expected[status.secret] = slots_of(status)
        elif last:
            staged = [each for each in staged_after(last, of_secret) if each != last.fingerprint]
            expected[status.secret] = Slots(
                last.fingerprint, next(reversed(staged), None), last.replaced, last.replaced_until
            )
    return expected


def _has(rotation: Record, fingerprint: str | None) -> bool:
    """Check whether a rotation has a key: the new one, or the one that it replaced."""
    return fingerprint is not None and fingerprint in {rotation.fingerprint, rotation.replaced}


def with_recorded_keys(
    report: Report,
    records: Records,
    policies: Iterable[SecretPolicy],
    can_restore: Callable[[str, SecretPolicy, str], bool] = lambda *_: True,
) -> Report:
    """Return a report whose fixes name the recorded key, where they would replace a value by a new key.

    Args:
        report: the report.
        records: the records of the operations log.
        policies: the declared secrets.
        can_restore: whether a version of a source has a key of a secret, by its fingerprint.
    """
    expected = expected_keys(report, records, None)
    role_of = roles_of(report, records, expected)
    by_name = {policy.name: policy for policy in policies}
    held = {status.secret: status.fingerprint for status in report.secrets}
    findings = []
    for each in report.findings:
        if each.secret is None or each.secret not in held or not _asks_for_key(each):
            findings.append(each)
            continue
        secret = _changed_secret(each.secret, held, records) if each.check is Check.SHARED else each.secret
        key = _recorded_key(records, secret) or expected[secret].current
        if key not in {None, held[secret]} and role_of(secret, key) != "revoked":
            remedy = _remedy_with_key(by_name[secret], each, str(key), can_restore)
            each = each._replace(remedy=remedy)  # noqa: PLW2901 - the same finding
        findings.append(each)
    return with_findings(report._replace(findings=()), findings) if findings else report


def _remedy_with_key(
    policy: SecretPolicy, found: Finding, key: str, can_restore: Callable[[str, SecretPolicy, str], bool]
) -> str:
    """Return the remedy of a finding that the recorded key of a secret fixes."""
    manager = _manager_in(found.source)
    if manager in {"", PIPED} or can_restore(manager, policy, key):
        return how_to_restore_key(policy, manager, key)
    if "rotate restore" in found.remedy or policy.name != found.secret:
        return f"{how_to_rotate(policy, manager)}{FOLLOW}"
    return found.remedy


def _changed_secret(secret: str, held: Mapping[str, str | None], records: Records) -> str:
    """Return which of the secrets with the same key has another recorded one; the given secret where none has."""
    for other, key in held.items():
        if key == held[secret] and _recorded_key(records, other) not in {None, key}:
            return other
    return secret


def _recorded_key(records: Records, secret: str) -> str | None:
    """Return the key of a secret that was recorded last, if all records are of one environment."""
    known = rotations(records, secret)
    return known[-1].fingerprint if len({each.environment for each in known}) == 1 else None


def _asks_for_key(found: Finding) -> bool:
    """Check whether the fix of a finding is another current key."""
    is_of_current = found.slot in {None, "current"} and found.check in _OF_CURRENT
    return is_of_current and re.search("rotate (plan|restore|record)|generate|rotate each", found.remedy) is not None


def roles_of(report: Report, records: Records, expected: Mapping[str, Slots]) -> Callable[[str, str | None], Role]:
    """Return a function that returns the role of a secret's fingerprint."""
    begins = dict(report.revocation_list.begins if report.revocation_list else ())
    recorded = {*revoked(records)}
    rotated = {
        (record.secret, key)
        for record in records
        if record.event in ROTATIONS
        for key in (record.fingerprint, record.replaced)
        if key
    }

    def role(secret: str, fingerprint: str | None) -> Role:
        begin = begins.get(fingerprint or "")
        if fingerprint in recorded or (begin and begin <= report.checked_at):
            return "revoked"
        keys = expected.get(secret, Slots())
        for name in ("current", "next", "previous"):
            if fingerprint is not None and getattr(keys, name) == fingerprint:
                return name
        return "superseded" if (secret, fingerprint) in rotated else "unrecorded"

    return role


def standing_of(policy: SecretPolicy, status: SecretStatus, report: Report, records: Records) -> Document:
    """Return the status of a secret with its rotations, in the plain types of JSON."""
    of_this_secret = rotations(records, status.secret)
    # Without a current key, as on an operator's machine, use the last recorded one.
    fingerprint = status.fingerprint or (of_this_secret[-1].fingerprint if of_this_secret else None)
    of_this_key = [record for record in of_this_secret if record.fingerprint == fingerprint]
    # Records of a vendor's secret have no fingerprint, so each one is of a new value.
    first = next(iter(of_this_key if fingerprint else reversed(of_this_key)), None)
    age = report.checked_at - first.recorded_at if first else None
    own = [finding for finding in report.findings if finding.secret == status.secret]
    return {
        **status.as_dict(),
        "alerts": [str(finding.check) for finding in own if finding.severity is Severity.ALERT],
        "superseded": any(finding.check is Check.SUPERSEDED for finding in own),
        "rotated_at": iso_utc(first.recorded_at) if first else None,
        "environment": first.environment if first else None,
        "age_days": None if age is None else age.days,
        "overdue": age is not None and age > timedelta(days=status.rotation_days),
        "open_steps": [*of_this_key[-1].open_steps] if of_this_key else [],
        "due": due(
            policy,
            reported_keys(status, report, records),
            first.recorded_at if first else None,
            report.checked_at,
        ),
    }


def late_steps(standing: Document) -> list[str]:
    """Return why the rotation of a secret is not up to date; nothing where it is, and for one that is switched off."""
    if standing["state"] == State.MISSING and not standing["required"]:
        return []
    late = []
    if not standing["rotated_at"]:
        late.append("rotation not recorded")
    if standing["overdue"]:
        late.append("rotation overdue")
    elif standing["open_steps"]:
        late.append("rotation incomplete")
    step = standing["due"]
    if step and not (step == "stage" and late):
        late.append(TO_DO[step])
    return late


def open_parts(standing: Document) -> Iterator[str]:
    """Yield what is open in the rotation of a secret."""
    yield from (f"the alert {check}" for check in standing["alerts"])
    if standing["next_fingerprint"]:
        yield "its next key is not promoted"
    if standing["previous_fingerprint"] or standing["previous_until"]:
        yield f"its previous key is still there (until {standing['previous_until'] or 'no valid deadline'})"
    if not standing["rotated_at"]:
        yield "no record has its key"
    if standing["open_steps"]:
        yield f"not recorded as done: {', '.join(standing['open_steps'])}"
    if standing["superseded"]:
        yield "its key is an old one"


class Recording(NamedTuple):
    """What was recorded of a rotation, or why nothing was recorded.

    Attributes:
        report: the report of the check.
        refusals: why nothing was recorded, by secret; the secret is `None` where the check failed.
        unchanged: the secrets that were not recorded, since their keys have not changed.
        records: the new records.
        warnings: the old keys that are not kept as previous ones.
        listed: the entries of the revocation list, each with the reason why it could not be added; empty if it was.
    """

    report: Report
    refusals: Mapping[str | None, Problem]
    unchanged: Sequence[str] = ()
    records: Records = ()
    warnings: Sequence[str] = ()
    listed: Sequence[tuple[str, str]] = ()

    def as_dict(self) -> Document:
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
    who: Who,
    *,
    names: Collection[str] = (),
    attested: Collection[str] = (),
    others: Iterable[OperationsLog] = (),
    config_dir: str | None = None,
    options: Options = (),
) -> Recording:
    """Check the keys of a model, and record that they are new.

    Args:
        model: the settings model.
        log: the operations log.
        check_keys: checks the keys without fallback files: `check`, or `Sources.check` for those of a secret manager.
        who: the operator's texts, with the environment of the keys.
        names: the rotated secrets; by default all with new keys, without those that have no fingerprint.
        attested: the steps of the validation that the operator has done: `startup`, `functions`. Without one, a key of
            a secret of which the log has no record in this environment is recorded as found.
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
    drafts = {each.secret: draft_rotation(each, proofs[STARTUP], proofs[FUNCTIONS], who) for each in statuses}
    with log.locked():
        known = sorted(
            (record for each in (*others, log) for record in each.records), key=lambda each: each.recorded_at
        )
        drafts = as_found(drafts, known)
        accepted, unchanged, refusals = judge_drafts(drafts, known, are_named=bool(names), options=options)
        if refusals:
            return Recording(report, refusals)
        report = with_findings(report, [*recorded_findings(report, log.records, tuple(policies), options)])
        if not report.ok:
            return Recording(report, {None: _CHECK_FAILED})
        records = log.append(accepted)
    overlapping = {policy.name for policy in policies if policy.overlap}
    warnings = [unkept_key(record, known) for record in records if record.secret in overlapping]
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
