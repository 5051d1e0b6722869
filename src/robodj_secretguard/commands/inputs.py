"""Files that an operator hands to a command, or a pipe."""

from __future__ import annotations

import sys
from typing import Final

from robodj_secretguard.commands.answer import UsageError
from robodj_secretguard.commands.terminal import is_terminal
from robodj_secretguard.lifecycle.files import read_unlinked

PIPE: Final = "-"


def read_input(option: str, name: str, *, most: int) -> bytes:
    """Return the content of a file that an option names, or of stdin.

    Args:
        option: the option.
        name: the file's path; `-` for stdin, unless that is a terminal, which would show a key that is typed.
        most: how large it may be, in bytes.

    Raises:
        UsageError: it cannot be read, or is larger.
    """
    stdin = getattr(sys, "stdin", None)
    if name == PIPE and is_terminal(stdin):
        msg = f"{option} {PIPE} takes a pipe, and no terminal"
        raise UsageError(msg)
    try:
        content = sys.stdin.buffer.read(most + 1) if name == PIPE else read_unlinked(name, most + 1)[0]
    except (OSError, ValueError, AttributeError):  # a name may be no path, and there may be no stdin
        msg = f"{option}: what it names is not there, cannot be read, or is no plain file; {PIPE} is for a pipe"
        raise UsageError(msg) from None
    if len(content) > most:
        msg = f"{option}: what it names is larger than {most} bytes"
        raise UsageError(msg)
    return content
