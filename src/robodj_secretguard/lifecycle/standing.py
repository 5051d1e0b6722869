"""What the operations log shows: unlisted keys, superseded ones, and the role of each key (policy sections 3, 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle.records import Record, revoked, rotations, slots_of, stage_due
from robodj_secretguard.lifecycle.revocation import entry_of, is_listed
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import command
from robodj_secretguard.startup.readings import REVOKED_FILE, RevocationStatus
from robodj_secretguard.startup.report import Finding, Report, SecretStatus, finding
from robodj_secretguard.startup.rules import Check, Problem, Severity, State, how_to_renew
from robodj_secretguard.startup.shared import how_to_exchange
from robodj_secretguard.startup.variables import iso_utc

Role = Literal["current", "next", "previous", "superseded", "revoked", "unrecorded"]
PROMOTE: Final = "promote the next key"


def recorded_findings(
    report: Report, records: Sequence[Record], policies: Sequence[SecretPolicy], options: Sequence[str]
) -> Iterator[Finding]:
    """Yield a finding for keys that are not on the list, and for each key that came back."""
    if report.revocation_list is None:  # nothing was read
        return
    for problem in _unlisted(report.revocation_list, records, options, report.checked_at):
        yield finding(policies, Check.REVOCATION_LIST, problem)
    by_name = {policy.name: policy for policy in policies}
    for status in report.secrets:
        yield from _superseded(by_name[status.secret], status, records, report.revocation_list, report.checked_at)


def _unlisted(
    listed: RevocationStatus, records: Sequence[Record], options: Sequence[str], now: datetime
) -> Iterator[Problem]:
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
    entries, current_again = dict[str, None](), set[str | None]()
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
    policy: SecretPolicy, status: SecretStatus, records: Sequence[Record], listed: RevocationStatus, now: datetime
) -> Iterator[Finding]:
    """Yield a finding if a later key is recorded for the environment of the current one."""
    of_this_secret = rotations(records, status.secret)
    own = [index for index, record in enumerate(of_this_secret) if record.fingerprint == status.fingerprint]
    if status.fingerprint is None or not own:
        return
    current, *following = of_this_secret[own[-1] :]
    after = [record for record in following if record.environment == current.environment]
    if not after:
        return
    later, latest = after[0], str(after[-1].fingerprint)
    deadline = later.replaced_until if later.replaced == status.fingerprint else None
    until, begin = deadline or later.recorded_at + policy.overlap, listed.begin(latest)
    is_revoked = latest in revoked(records) or (begin is not None and begin <= now)
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


def _manager_of(status: SecretStatus) -> str:
    return "" if re.match("environment|file:", status.source) else status.source


def _how_to_return(policy: SecretPolicy, status: SecretStatus, latest: str, until: datetime, now: datetime) -> str:
    """Return the remedy that delivers the latest key again, which is not revoked. A rollout of it may be under way."""
    manager = _manager_of(status)
    if manager and now <= until:
        return f"deliver the latest key to {manager} before {iso_utc(until)}; after that, this is a warning"
    if latest == status.previous_fingerprint and now > until:
        return how_to_exchange(policy.variable, policy.slot_variables[1], manager)
    return how_to_renew(policy, manager, "the latest key")


def expected_keys(report: Report, records: Sequence[Record], environment: str | None) -> dict[str, Slots]:
    """Return the expected keys of each secret: those that were checked, unless the log has later ones.

    Nothing is known of a secret with records of several environments, if neither its key nor `environment` selects one.
    """
    expected = {}
    for status in report.secrets:
        own = [record.environment for record in rotations(records, status.secret) if _has(record, status.fingerprint)]
        known = rotations(records, status.secret, environment or next(reversed(own), None))
        last = known[-1] if len({record.environment for record in known}) == 1 else None
        is_latest = not own or (last is not None and last.fingerprint == status.fingerprint)
        expected[status.secret] = Slots()
        if status.fingerprint and is_latest:
            expected[status.secret] = slots_of(status)
        elif last:
            staged = [
                record.fingerprint
                for record in records
                if (record.event, record.secret, record.environment) == ("staged", last.secret, last.environment)
                and record.sequence > last.sequence
                and record.fingerprint != last.fingerprint
            ]
            expected[status.secret] = Slots(
                last.fingerprint, next(reversed(staged), None), last.replaced, last.replaced_until
            )
    return expected


def _has(rotation: Record, fingerprint: str | None) -> bool:
    """Check whether a rotation has a key: the new one, or the one that it replaced."""
    return fingerprint is not None and fingerprint in {rotation.fingerprint, rotation.replaced}


def roles_of(
    report: Report, records: Sequence[Record], expected: Mapping[str, Slots]
) -> Callable[[str, str | None], Role]:
    """Return a function that returns the role of a secret's fingerprint."""
    listed, recorded = report.revocation_list, revoked(records)

    def role(secret: str, fingerprint: str | None) -> Role:
        begin = listed.begin(fingerprint) if listed and fingerprint else None
        if fingerprint in recorded or (begin and begin <= report.checked_at):
            return "revoked"
        keys = expected.get(secret, Slots())
        for name in ("current", "next", "previous"):
            if fingerprint is not None and getattr(keys, name) == fingerprint:
                return name
        return "superseded" if any(_has(each, fingerprint) for each in rotations(records, secret)) else "unrecorded"

    return role


def standing_of(status: SecretStatus, report: Report, records: Iterable[Record]) -> dict[str, Any]:
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
        "due": stage_due(slots_of(status), report.checked_at),
    }


def late_steps(standing: Mapping[str, Any]) -> list[str]:
    """Return why the rotation of a secret is not up to date; nothing where it is, and for one that is switched off."""
    is_off = standing["state"] == State.MISSING and not standing["required"]
    holds = {
        "rotation not recorded": not standing["rotated_at"],
        "rotation overdue": standing["overdue"],
        "rotation incomplete": standing["open_steps"] and not standing["overdue"],
        PROMOTE: standing["due"] == "promote",
        "retire the previous key": standing["due"] == "retire",
    }
    return [] if is_off else [why for why, is_late in holds.items() if is_late]
