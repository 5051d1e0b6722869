"""Revoking a key: what is known of it, the list that it is put on, and the steps that follow (policy section 4)."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robodj_secretguard.findings import State, iso_utc
from robodj_secretguard.lifecycle.files import BusyError, locked_directory, prepared_file, put_in_place
from robodj_secretguard.lifecycle.records import Event
from robodj_secretguard.lifecycle.rotation import is_replaced, rotations
from robodj_secretguard.program import command
from robodj_secretguard.revocation import MAX_LIST_BYTES, REVOKED_FILE, RevocationList
from robodj_secretguard.sources import within_config_dir
from robodj_secretguard.textfile import look

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard.findings import Report
    from robodj_secretguard.lifecycle.records import Record

HEADER: Final = """\
# RoboDJ's revocation list (policy section 4): no guarded service starts on a key with one of these fingerprints.
# A fingerprint gives nothing of its key away: this file is safe to commit, and each service needs it in its config/.
"""

_MODE: Final = 0o644


class RevocationListError(Exception):
    """The list could not be added to. Its text shows no path that somebody gave."""


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


def revoked_key(fingerprint: str, name: str | None, report: Report, records: Sequence[Record]) -> RevokedKey:
    """Return what is known of a key that is to be revoked.

    Args:
        fingerprint: the key's.
        name: the name of its secret, where one was given.
        report: the check as it is now.
        records: what is recorded.
    """
    of_this_key = [record for record in records if record.fingerprint == fingerprint]
    rotated = rotations(of_this_key)
    delivered_as = tuple(status.secret for status in report.secrets if status.fingerprint == fingerprint)
    return RevokedKey(
        fingerprint=fingerprint,
        secret=rotated[-1].secret if rotated else name or next(iter(delivered_as), None),
        environment=rotated[-1].environment if rotated else None,
        recorded_at=rotated[0].recorded_at if rotated else None,
        recorded_as_revoked=any(record.event is Event.REVOKED for record in of_this_key),
        delivered_as=delivered_as,
    )


def add_to_list(directory: str, key: RevokedKey, *, reason: str, now: datetime) -> bool:
    """Put a key on the revocation list, in one step, and return whether it was not there.

    Args:
        directory: the config directory.
        key: the key.
        reason: why it is revoked.
        now: when, in UTC.

    Raises:
        RevocationListError: the list is none, or cannot be read or written. It is as it was.
    """
    path, why = os.path.join(directory, within_config_dir(REVOKED_FILE)), ""
    entry = f"# {iso_utc(now)} {key.secret or 'a secret that is not known'}: {reason}\n{key.fingerprint}\n"
    try:
        with locked_directory(directory):
            return _add(path, key.fingerprint, entry.encode())
    except BusyError:
        why = "another process is writing in the config directory: try again"
    except OSError as error:
        why = f"it cannot be written: {os.strerror(error.errno or 0)}"
    raise RevocationListError(why)


def _add(path: str, fingerprint: str, entry: bytes) -> bool:
    file = look(path, most=MAX_LIST_BYTES - len(entry) - 1)
    if os.path.islink(path):
        msg = "it is a link, and nothing is written through one"
        raise RevocationListError(msg)
    if file.unreadable:
        raise RevocationListError("; ".join(file.unreadable))
    if fingerprint in RevocationList(file, None).fingerprints:
        return False
    content, mode = HEADER.encode(), _MODE
    if file.exists:
        with open(path, "rb") as stream:
            content, mode = stream.read(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & ~stat.S_IWOTH
    gap = b"" if content.endswith(b"\n") or not content else b"\n"
    with prepared_file(path, content + gap + entry, mode) as prepared:
        put_in_place(prepared, path, replace=file.exists)
    return True


def steps(key: RevokedKey, report: Report, records: Sequence[Record]) -> list[tuple[str, bool]]:
    """Return the five steps of policy section 4, and whether each is done as far as the program can see.

    Args:
        key: the revoked key.
        report: the check as it was before the revocation.
        records: what is recorded.
    """
    replaced = any(
        status.secret == key.secret
        and status.state is State.PRESENT
        and status.fingerprint not in {None, key.fingerprint}
        for status in report.secrets
    )
    restarted = is_replaced(key, records)
    name = key.secret or "NAME"
    return [
        ("Disable workloads that use the key: those that run go on, and no guarded one starts with this list.", False),
        (f"Issue a replacement by the secret manager: {command('generate', name)} | YOUR-SECRET-MANAGER", replaced),
        ("Remove or disable the old version in the secret manager.", False),
        (f"Restart services with the new value, and record it: {command('rotate', 'plan', name)}", restarted),
        ("Invalidate sessions and tokens that were made with the key.", False),
    ]
