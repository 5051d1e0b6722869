"""Revoke a key: its record, its entry in the revocation list, and the next steps (policy section 4)."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from robodj_secretguard.common.files import (
    append_content,
    closing,
    content_of,
    is_at,
    locked,
    open_or_make,
    raise_file_error,
    reason,
)
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import ChangedError, FileError, UsageError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import (
    ROTATIONS,
    Document,
    Record,
    Records,
    Who,
    draft,
    recorded_keys,
    revoked,
    slots_of,
)
from robodj_secretguard.lifecycle.runbook import PlannedStep, Steps
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import Options, command
from robodj_secretguard.settings import SecretSettings, setup_of
from robodj_secretguard.startup.file_reader import read_text_file, text_of
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, iso_utc
from robodj_secretguard.startup.list_rules import absent_lists
from robodj_secretguard.startup.readings import (
    MAX_LIST_BYTES,
    REVOKED_FILE,
    RevocationStatus,
    revocation_list,
    within_config_dir,
)
from robodj_secretguard.startup.report import Report

HEADER: Final = """\
# The revocation list. The service does not start with a key whose fingerprint is here.
# A fingerprint does not reveal its key, so commit this file, and deploy it with the service.
"""

_WHY_NOT_WRITTEN: Final[dict[int | None, str]] = {
    errno.EROFS: "its file system is read-only; add the entry in the repository that it comes from, then deploy it",
    errno.ENOENT: "the config directory does not exist; create it, or pass --config-dir",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        "this user cannot write it; as its owner, run chmod u+w on it and then this command",
    ),
}
_MOST_WAITS: Final = 25  # for an empty list, as a checkout creates the file first, then writes it


def revocable_key(policy: SecretPolicy, meant: str, report: Report, records: Records) -> str:
    """Return the fingerprint that is meant, by default that of a secret's current key in a report.

    `UsageError` says why there is none.
    """
    if not policy.material.has_fingerprint:
        raise UsageError(
            f"{policy.name} has no fingerprint, so it cannot be revoked; {policy.replacement}, and disable the old one"
            " there"
        )
    found = meant or next((status.fingerprint for status in report.secrets if status.secret == policy.name), None)
    if found is None:
        raise UsageError(
            f"no valid key of {policy.name} was found; pass --from SOURCE, --key-from FILE or --fingerprint"
            f" ({recorded_keys(records, policy.name)})"
        )
    return found


def draft_revocation(
    fingerprint: str,
    name: str | None,
    report: Report,
    records: Records,
    policies: Iterable[SecretPolicy],
    *,
    who: Who,
) -> Record:
    """Return the draft of a key's revocation, with the operator's texts in `who`.

    The secret comes from the log; otherwise from the check's report; otherwise from `name`. The environment comes from
    the log; otherwise from `who`. `UsageError` says which of the arguments is invalid.
    """
    recorded = next(reversed(_records_of(fingerprint, records)), None)
    here = [each["secret"] for each in _delivered_as(fingerprint, report)]
    known = name if name in here else next(iter(here), name)
    secret = known
    if recorded:
        secret = recorded.secret
        who = who._replace(environment=recorded.environment)
    return draft(
        "revoked",
        secret=secret,
        owner=next((policy.owner for policy in policies if policy.name == secret), None) or None,
        fingerprint=fingerprint,
        **who._asdict(),
    )


def known_of(key: Record, report: Report, records: Records, expected: Slots) -> Document:
    """Return what is known about a key to be revoked, in the plain types of JSON.

    `expected` has the keys of its secret, from the report or from later records.
    """
    recorded = _records_of(key.fingerprint, records)
    delivered_as = _delivered_as(key.fingerprint, report)
    slots = {each["slot"] for each in delivered_as}
    listed = dict(report.revocation_list.begins) if report.revocation_list else {}
    ended = {*revoked(records), *(each for each, begin in listed.items() if begin <= report.checked_at)}
    return {
        "fingerprint": key.fingerprint,
        "secret": key.secret,
        "environment": key.environment,
        "recorded_at": next((iso_utc(each.recorded_at) for each in recorded if each.event in ROTATIONS), None),
        "delivered_as": delivered_as,
        "is_known": bool(recorded or delivered_as or key.fingerprint in {*ended, *listed}),
        "is_revoked": key.fingerprint in ended,
        "is_current": "current" in slots or (not slots and expected.current == key.fingerprint),
        "has_replacement": bool({expected.current, expected.next} - {None, key.fingerprint, *ended}),
    }


def _records_of(fingerprint: str | None, records: Records) -> list[Record]:
    """Return the records of a key that name its secret: it was the new key, or the replaced one."""
    return [record for record in records if record.secret and fingerprint in {record.fingerprint, record.replaced}]


def _delivered_as(fingerprint: str | None, report: Report) -> list[Document]:
    return [
        {"secret": status.secret, "slot": slot}
        for status in report.secrets
        for slot in ("current", "next", "previous")
        if getattr(slots_of(status), slot) == fingerprint
    ]


def _revocation(record: Record) -> tuple[str | None, datetime | None]:
    """Return the key that a record revokes, and the instant from which it is revoked."""
    return (record.replaced, record.replaced_until) if record.replaced else (record.fingerprint, None)


def entry_of(record: Record) -> str:
    """Return the entry in the revocation list for a revocation, or for the key that a rotation has replaced."""
    fingerprint, begin = _revocation(record)
    return f"{fingerprint}@{iso_utc(begin)}" if begin else f"{fingerprint}"


def is_listed(record: Record, listed: RevocationStatus) -> bool:
    """Return whether the list has the entry of a record. An earlier instant is enough, but only for a dated entry."""
    fingerprint, begin = _revocation(record)
    found = listed.begin(fingerprint or "")
    return found is not None and (fingerprint in listed.fingerprints if begin is None else found <= begin)


def add_to_list(directory: str, key: Record, *, now: datetime) -> bool:
    """Add the entry of a record to the list in a config directory, and return whether the entry is new.

    Git or a deployment may replace the file at the same time, without its lock. `FileError` says why it cannot be read
    or written.
    """
    path = os.path.join(directory, within_config_dir(REVOKED_FILE))
    why = key.reason or f"replaced by {key.fingerprint}"
    entry = f"# {iso_utc(now)} {key.subject}: {why}\n{entry_of(key)}\n".encode()
    try:
        for attempt in range(2 * _MOST_WAITS):
            with contextlib.suppress(ChangedError):
                return _append_entry(path, key, entry, may_be_empty=attempt >= _MOST_WAITS)
            time.sleep(0.02)
        why_not = "another program keeps changing it; stop that program, then try again"
    except OSError as error:
        why_not = _WHY_NOT_WRITTEN.get(error.errno) or reason(error)
    raise FileError(f"{why_not}; until that is fixed, add {entry_of(key)} to {REVOKED_FINGERPRINTS}")


def _append_entry(path: str, key: Record, entry: bytes, *, may_be_empty: bool) -> bool:
    """Append an entry to the list, and return whether it is new; `ChangedError` while another program writes it."""
    descriptor, is_made = open_or_make(path, os.O_RDWR | os.O_APPEND, mode=0o644)
    with closing(descriptor), locked(descriptor, is_required=False):
        content = content_of(descriptor, MAX_LIST_BYTES)
        if not content and not is_made and not may_be_empty:
            raise ChangedError
        text = text_of(content)
        is_new = not is_listed(key, revocation_list([text]))
        beginning = HEADER.encode()
        if content:
            beginning = b"" if content.endswith(b"\n") else b"\n"
        addition = beginning + entry if is_new else b""
        if len(content) + len(addition) >= MAX_LIST_BYTES:
            raise_file_error(f"it is full (the limit is {MAX_LIST_BYTES} bytes)")
        if text.unreadable:
            raise_file_error(f"it {' and '.join(text.unreadable)}")
        if addition:
            append_content(descriptor, addition, size=len(content))
            content += addition
        if not is_at(descriptor, path) or not content_of(descriptor, MAX_LIST_BYTES).startswith(content):
            raise ChangedError
        return is_new


def revoke(
    key: Record, log: OperationsLog, directory: str, *, model: type[SecretSettings], name_of_list: str
) -> tuple[bool, tuple[Record, ...], list[str]]:
    """Add a key to the revocation list of a config directory, and record that in the operations log.

    Args:
        key: the draft of the record (`draft_revocation`).
        log: the operations log, which was read.
        directory: the config directory.
        model: the settings model. Where it requires a revocation list, a lost one is not begun again.
        name_of_list: the name of the list in messages.

    Returns:
        Whether the entry in the list is new, the new records, and what failed after the key was listed.

    Raises:
        UsageError: the list cannot be written; or the model requires it, and it is missing or empty. So nothing was
            revoked.
    """
    path = os.path.join(directory, within_config_dir(REVOKED_FILE))
    if setup_of(model).require_revocation_list and absent_lists([read_text_file(path, most=MAX_LIST_BYTES)]):
        raise UsageError(
            f"nothing was revoked: {name_of_list} is missing or empty, and the model requires it; restore it from"
            " version control, then run this again (in a new project, create it with a comment line)"
        )
    problems = list[str]()
    appended: tuple[Record, ...] = ()
    try:
        is_new = add_to_list(directory, key, now=datetime.now(UTC))
    except FileError as error:
        raise UsageError(f"nothing was revoked: {name_of_list}: {error}") from None
    try:
        with log.locked():
            if key.fingerprint not in revoked(log.records):
                appended = log.append([key])
    except (FileError, KeyboardInterrupt) as error:
        problems.append(f"the key is revoked, but this was not recorded: {log.name}: {str(error) or 'interrupted'}")
    try:  # again: git may have replaced the list while this waited for the log
        is_new |= add_to_list(directory, key, now=datetime.now(UTC))
    except FileError as error:
        problems.append(f"the key was revoked, but now {name_of_list} cannot be read: {error}")
    return is_new, appended, problems


def steps_after(known: Document, options: Options) -> Steps:
    """Return the steps of policy section 4 after a revocation.

    Args:
        known: what `known_of` has returned before the revocation.
        options: the options of the command that plans the replacement.
    """
    where = ("--environment", known["environment"]) if known["environment"] else ()
    plan = command("rotate", "plan", known["secret"] or "NAME", "--emergency", *where, *options)
    steps = [
        PlannedStep(
            f"Remove the {each['slot']} key from the secret manager and the services. Restart each service that does"
            " not refresh its keys: until then it accepts this key."
        )
        for each in known["delivered_as"]
        if each["slot"] != "current"
    ]
    if known["is_current"] or not steps:
        text = "Stop every service that runs on this key. A revocation stops only those that refresh their keys."
        steps.append(PlannedStep(text))
        if known["is_current"] or not known["has_replacement"]:
            text = "If you follow a plan, go on there. Otherwise replace the key, as this plan says:"
            steps.append(PlannedStep(text, plan))
    return [*steps, PlannedStep("Invalidate the sessions and tokens that were signed with the old key.")]
