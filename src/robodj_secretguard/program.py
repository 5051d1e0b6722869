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


def option(name: str, value: str) -> list[str]:
    """Return an option of a command with its value, in one word where two would be taken for two options."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]
