"""The differences that are meant: each rule belongs to a line of CHANGELOG.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Rule:
    """A difference that is meant.

    Attributes:
        entry: words of the line in CHANGELOG.md.
        command: a pattern for the command line, or `guard` and `report` for programs.
        part: `status`, `out`, `err` or `files`.
        old: a pattern for the whole old text of one difference.
        new: a pattern for the whole new text.
    """

    entry: str
    command: str
    part: str
    old: str
    new: str

    def explains(self, command: str, part: str, old: Sequence[str], new: Sequence[str]) -> bool:
        """Check whether this is the difference."""
        pairs = ((self.command, command), (self.part, part), (self.old, "\n".join(old)), (self.new, "\n".join(new)))
        return all(re.fullmatch(pattern, text, re.DOTALL) for pattern, text in pairs)


RULES: Final[tuple[Rule, ...]] = ()
