"""The revocation list: keys that no service may start on any more (policy section 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from robodj_secretguard.fingerprint import is_fingerprint
from robodj_secretguard.textfile import is_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robodj_secretguard.sealed import SealedStr
    from robodj_secretguard.textfile import TextFile

REVOKED_FILE: Final = "config/revoked.fingerprints"
REVOKED_FINGERPRINTS: Final = "ROBODJ_REVOKED_FINGERPRINTS"
"""The variable that adds to the file's entries, for a fleet: separated by commas or blanks."""
MAX_LIST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The file, and the variable that adds to it.

    Attributes:
        file: the file `config/revoked.fingerprints`; a comment may follow an entry.
        variable: the variable; `None` when unset or empty.
    """

    file: TextFile
    variable: SealedStr | None

    @property
    def sources(self) -> tuple[str, ...]:
        """Where there is a list."""
        found = {f"file:{REVOKED_FILE}": self.file.exists or self.file.dangling, "environment": bool(self.variable)}
        return tuple(source for source, is_there in found.items() if is_there)

    @property
    def fingerprints(self) -> frozenset[str]:
        """Every revoked key's fingerprint."""
        return frozenset(filter(is_fingerprint, (*self._in_file, *self._in_variable)))

    @property
    def unreadable_in_file(self) -> tuple[int, ...]:
        """Which entries of the file cannot be read, counted from 1."""
        return _unreadable(self._in_file)

    @property
    def unreadable_in_variable(self) -> tuple[int, ...]:
        """Which entries of the variable cannot be read, counted from 1."""
        return _unreadable(self._in_variable)

    @property
    def _in_file(self) -> Iterable[str]:
        return (_entry(line.get_secret_value()) for line in self.file.lines)

    @property
    def _in_variable(self) -> Iterable[str]:
        return filter(None, re.split(r"[\s,]+", self.variable.get_secret_value())) if self.variable else ()


def _entry(line: str) -> str:
    """Return a line without the comment that may follow an entry: not where one could hide a further entry."""
    return line.partition("#")[0].rstrip() if is_one_line(line) else line


def _unreadable(entries: Iterable[str]) -> tuple[int, ...]:
    return tuple(number for number, entry in enumerate(entries, start=1) if not is_fingerprint(entry))
