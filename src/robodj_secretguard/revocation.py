"""The revocation list: keys that no service may start on any more (policy section 4)."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from robodj_secretguard.fingerprint import is_fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.textfile import TextFile, is_one_line

REVOKED_FILE: Final = "config/revoked.fingerprints"
REVOKED_FINGERPRINTS: Final = "ROBODJ_REVOKED_FINGERPRINTS"
"""The variable that adds to the file's entries, for a fleet: separated by commas or blanks."""
MAX_LIST_BYTES: Final = 1 << 18
"""Room for some thousand entries."""


class RevocationList(NamedTuple):
    """What the file and the variable that adds to it say.

    Attributes:
        file: the file.
        sources: where there is a list.
        fingerprints: every revoked key's fingerprint.
        unreadable_in_file: which entries of the file cannot be read, counted from 1.
        unreadable_in_variable: which entries of the variable cannot be read, counted from 1.
    """

    file: TextFile
    sources: tuple[str, ...]
    fingerprints: frozenset[str]
    unreadable_in_file: tuple[int, ...]
    unreadable_in_variable: tuple[int, ...]


def revocation_list(file: TextFile, variable: SealedStr | None = None) -> RevocationList:
    """Return what the revocation list says.

    Args:
        file: the file `config/revoked.fingerprints`; a comment may follow an entry.
        variable: the variable; `None` when unset or empty.
    """
    found = {f"file:{REVOKED_FILE}": file.exists or file.dangling, "environment": bool(variable)}
    in_file = [_entry(line.get_secret_value()) for line in file.lines]
    in_variable = [*filter(None, re.split(r"[\s,]+", variable.get_secret_value()))] if variable else []
    return RevocationList(
        file=file,
        sources=tuple(source for source, is_there in found.items() if is_there),
        fingerprints=frozenset(filter(is_fingerprint, (*in_file, *in_variable))),
        unreadable_in_file=_unreadable(in_file),
        unreadable_in_variable=_unreadable(in_variable),
    )


def _entry(line: str) -> str:
    """Return a line without the comment that may follow an entry: not where one could hide a further entry."""
    return line.partition("#")[0].rstrip() if is_one_line(line) else line


def _unreadable(entries: Iterable[str]) -> tuple[int, ...]:
    return tuple(number for number, entry in enumerate(entries, start=1) if not is_fingerprint(entry))
