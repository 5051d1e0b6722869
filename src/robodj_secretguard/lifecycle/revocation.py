"""Revoking a key: what is known of it, the list that it is put on, and the steps that follow (policy section 4)."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.errors import ChangedError, RevocationListError
from robodj_secretguard.files import append_content, content_of, is_at, locked, open_or_make, reason, sync_directory
from robodj_secretguard.lifecycle.checklist import Item
from robodj_secretguard.lifecycle.records import Event
from robodj_secretguard.lifecycle.rotation import ROTATIONS, is_replaced
from robodj_secretguard.sources import MAX_LIST_BYTES, REVOKED_FILE, iso_utc, revocation_list, within_config_dir
from robodj_secretguard.textfile import TextFile, lines_of
from robodj_secretguard.texts import MANAGER, command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.report import Report

HEADER: Final = """\
# RoboDJ's revocation list (policy section 4): no guarded service starts on a key with one of these fingerprints.
# A fingerprint gives nothing of its key away: this file is safe to commit, and each service needs it in its config/.
"""

_MODE: Final = 0o644
_MOST_ATTEMPTS: Final = 20
_WAIT_SECONDS: Final = 0.02
_MOST_WAITS: Final = 25
"""How often an empty list is waited for: a checkout makes the file first, then writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedKey:
    """A key that is to be revoked, and what is known of it.

    Attributes:
        fingerprint: its fingerprint.
        secret: the name of its secret; `None` where that is not known.
        environment: where it is used; `None` where that is not recorded.
        recorded_at: when it was first recorded as rotated; `None` where it is not.
        recorded_as_revoked: whether its revocation is recorded already.
        delivered_as: the secrets as which it is delivered here.
    """

    fingerprint: str
    secret: str | None
    environment: str | None
    recorded_at: datetime | None
    recorded_as_revoked: bool
    delivered_as: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The name of its secret, in words."""
        return self.secret or "a secret that is not known"

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {
            "fingerprint": self.fingerprint,
            "secret": self.secret,
            "environment": self.environment,
            "recorded_at": self.recorded_at and iso_utc(self.recorded_at),
            "delivered_as": list(self.delivered_as),
        }


def revoked_key(fingerprint: str, name: str | None, report: Report, records: Sequence[Record]) -> RevokedKey:
    """Return what is known of a key that is to be revoked.

    Args:
        fingerprint: the key's.
        name: the name of its secret, where one was given.
        report: the check as it is now.
        records: what is recorded.
    """
    rotated = [record for record in records if record.fingerprint == fingerprint and record.event in ROTATIONS]
    delivered_as = tuple(status.secret for status in report.secrets if status.fingerprint == fingerprint)
    return RevokedKey(
        fingerprint=fingerprint,
        secret=rotated[-1].secret if rotated else name or next(iter(delivered_as), None),
        environment=rotated[-1].environment if rotated else None,
        recorded_at=rotated[0].recorded_at if rotated else None,
        recorded_as_revoked=is_recorded(fingerprint, records),
        delivered_as=delivered_as,
    )


def is_recorded(fingerprint: str, records: Iterable[Record]) -> bool:
    """Whether a key's revocation is recorded.

    Args:
        fingerprint: the key's.
        records: what is recorded.
    """
    return any(record.event is Event.REVOKED and record.fingerprint == fingerprint for record in records)


def add_to_list(directory: str, key: RevokedKey, *, why: str, now: datetime) -> bool:
    """Add a key to the revocation list, and return whether it was not there.

    The entry is appended to the file in place. What git or a deployment puts there meanwhile is kept.

    Args:
        directory: the config directory.
        key: the key.
        why: the reason.
        now: when, in UTC.

    Raises:
        RevocationListError: the list is a link, or cannot be read or written.
    """
    path = os.path.join(directory, within_config_dir(REVOKED_FILE))
    entry = f"# {iso_utc(now)} {key.subject}: {why}\n{key.fingerprint}\n".encode()
    waits = 0
    try:
        for _ in range(_MOST_ATTEMPTS):
            with contextlib.suppress(ChangedError):
                while (is_new := _append(path, key.fingerprint, entry, may_be_empty=waits == _MOST_WAITS)) is None:
                    waits += 1
                    time.sleep(_WAIT_SECONDS)
                return is_new
        refusal = "another program replaced or changed it again and again: stop that program, and try again"
    except OSError as error:
        refusal = _refusal(error)
    raise RevocationListError(refusal)


def _append(path: str, fingerprint: str, entry: bytes, *, may_be_empty: bool) -> bool | None:
    """Append an entry to the list, and return whether it was not there; `None` where the list is being written.

    Raises:
        ChangedError: another program replaced or changed the list meanwhile.
        OSError: the list cannot be read or written.
        RevocationListError: its content cannot be read, or leaves no room.
    """
    descriptor, is_made = open_or_make(path, os.O_RDWR | os.O_APPEND, _MODE)
    try:
        with locked(descriptor):
            content = content_of(descriptor, MAX_LIST_BYTES)
            if not content and not is_made and not may_be_empty:
                return None
            unreadable, lines = lines_of(content)
            is_new = fingerprint not in revocation_list([TextFile(lines=lines)]).fingerprints
            gap = HEADER.encode() if not content else b"" if content.endswith(b"\n") else b"\n"
            addition = gap + entry if is_new else b""
            if len(content) + len(addition) >= MAX_LIST_BYTES:
                unreadable = (f"it is full, with {MAX_LIST_BYTES} bytes",)
            if unreadable:
                raise RevocationListError("; ".join(unreadable))
            if addition:
                append_content(descriptor, addition, size=len(content))
                content += addition
            if not is_at(descriptor, path) or not content_of(descriptor, MAX_LIST_BYTES).startswith(content):
                raise ChangedError
            if is_made:
                sync_directory(os.path.dirname(path))
            return is_new
    finally:
        os.close(descriptor)


def _refusal(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "its file system is read-only: add the entry where the list is deployed from, and deploy it"
    if isinstance(error, PermissionError):
        return "this user may not write it: run chmod u+w on it as its owner, then run this command as its owner"
    if isinstance(error, FileNotFoundError):
        return "the config directory is not there: make it, or name another with --config-dir"
    return reason(error)


def steps(
    key: RevokedKey, report: Report, records: Sequence[Record], options: Sequence[str], log_options: Sequence[str]
) -> list[Item]:
    """Return the five steps of policy section 4, and whether each is done as far as the program can see.

    Args:
        key: the revoked key.
        report: the check as it was before the revocation.
        records: what is recorded.
        options: further options of the commands that an operator is told, such as the model's.
        log_options: those of the commands that look at what is recorded.
    """
    refused = {finding.secret for finding in report.alerts}
    replaced = any(
        status.secret == key.secret
        and status.secret not in refused
        and status.fingerprint not in {None, key.fingerprint}
        for status in report.secrets
    )
    restarted = is_replaced(key.fingerprint, key.secret, key.environment, records)
    name = key.secret or "NAME"
    generate = command("generate", name, *options)
    plan = command("rotate", "plan", name, *log_options, *options)
    return [
        Item("Disable workloads using the key: those that run go on, and no guarded one starts with this list."),
        Item(f"Issue a replacement via the secret manager: {generate} | {MANAGER}", done=replaced),
        Item("Remove or disable the old version in the secret manager."),
        Item(f"Restart services with the new value, and record it: {plan}", done=restarted),
        Item("Invalidate sessions and tokens derived from the key."),
    ]
