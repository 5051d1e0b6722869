"""What operators type."""

from __future__ import annotations

import shlex
from typing import Final

PROGRAM: Final = "robodj-secretguard"
MANAGER: Final = "YOUR-SECRET-MANAGER"
"""In the place of the command that stores a key."""


def command(*words: str) -> str:
    """Return a command of this program, for a shell."""
    return shlex.join((PROGRAM, *words))
