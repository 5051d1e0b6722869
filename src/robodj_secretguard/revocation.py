"""The revocation list: keys that no service may start on any more (policy section 4)."""

import re
from collections.abc import Iterable
from itertools import chain
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
    """What the files and the variable that adds to them say.

    Attributes:
        files: the file in the config directory; also the one in the model's, where something else names another.
        sources: where there is a list.
        fingerprints: every revoked key's fingerprint.
        invalid_in_files: which entries of each file are not fingerprints, counted from 1.
        invalid_in_variable: which entries of the variable are not fingerprints, counted from 1.
    """

    files: tuple[TextFile, ...]
    sources: tuple[str, ...]
    fingerprints: frozenset[str]
    invalid_in_files: tuple[tuple[int, ...], ...]
    invalid_in_variable: tuple[int, ...]

    @property
    def is_absent(self) -> bool:
        """Whether the model's file, or the only one, has no line, or the other one is empty.

        An empty file may be a checkout that is under way.
        """
        *others, required = map(_state, self.files)
        return required != "there" or "empty" in others


def revocation_list(files: Iterable[TextFile], variable: SealedStr | None = None) -> RevocationList:
    """Return what the revocation list says.

    Args:
        files: the files `config/revoked.fingerprints`; a comment may follow an entry.
        variable: the variable; `None` when unset or empty.
    """
    files = tuple(files)
    is_there = any(file.exists or file.dangling for file in files)
    found = {f"file:{REVOKED_FILE}": is_there, "environment": bool(variable)}
    in_files = [[_entry(line.get_secret_value()) for line in file.lines] for file in files]
    in_variable = [*filter(None, re.split(r"[\s,]+", variable.get_secret_value()))] if variable else []
    return RevocationList(
        files=files,
        sources=tuple(source for source, is_there in found.items() if is_there),
        fingerprints=frozenset(filter(is_fingerprint, chain(*in_files, in_variable))),
        invalid_in_files=tuple(map(_invalid, in_files)),
        invalid_in_variable=_invalid(in_variable),
    )


def _state(file: TextFile) -> str:
    if file.unreadable or file.dangling or not file.empty:  # a fault of its own is an alert of its own
        return "there"
    return "empty" if file.exists else "absent"


def _entry(line: str) -> str:
    """Return a line without the comment that may follow an entry: not where one could hide a further entry."""
    return line.partition("#")[0].rstrip() if is_one_line(line) else line


def _invalid(entries: Iterable[str]) -> tuple[int, ...]:
    return tuple(number for number, entry in enumerate(entries, start=1) if not is_fingerprint(entry))
