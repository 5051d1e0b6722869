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
    def absent(self) -> tuple[int, ...]:
        """Which files a model that requires a list finds absent: its own or the only one, and any that is empty.

        An empty file may be a checkout that is under way.
        """
        last = len(self.files) - 1
        return tuple(
            number for number, file in enumerate(self.files) if _is_empty(file) and (file.exists or number == last)
        )


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


def _is_empty(file: TextFile) -> bool:
    return file.empty and not file.unreadable and not file.dangling  # what is unreadable has another alert


def _entry(line: str) -> str:
    """Return a line without the comment that may follow an entry: not where one could hide a further entry."""
    return line.partition("#")[0].rstrip() if is_one_line(line) else line


def _invalid(entries: Iterable[str]) -> tuple[int, ...]:
    return tuple(number for number, entry in enumerate(entries, start=1) if not is_fingerprint(entry))
