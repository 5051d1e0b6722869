"""Files that an operator hands to a command, or a pipe."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, BinaryIO, Final

from robodj_secretguard.cli.output import is_terminal
from robodj_secretguard.errors import UsageError
from robodj_secretguard.files import open_unlinked, regular_status

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE: Final = "-"


@contextmanager
def opened_input(option: str, name: str) -> Iterator[BinaryIO]:
    """Open a regular file that an option names, or stdin, to be read.

    Opening a pipe or a device by its name is refused, and never waits.

    Args:
        option: the option.
        name: the file's path, which may be a link; `-` for stdin, unless that is a terminal, which would show a key
            that is typed.

    Raises:
        UsageError: the file cannot be opened or read.
    """
    if name == PIPE and is_terminal(getattr(sys, "stdin", None)):
        msg = f"{option} {PIPE} reads a pipe, not a terminal"
        raise UsageError(msg)
    msg = f"{option}: the file is missing, unreadable or not a regular file; use {PIPE} for a pipe"
    try:
        opened = nullcontext(sys.stdin.buffer) if name == PIPE else _regular(name)
    except (OSError, ValueError, AttributeError):  # a name may be no path, and there may be no stdin
        raise UsageError(msg) from None
    try:
        with opened as file:
            yield file
    except (OSError, ValueError):  # stdin may be closed
        raise UsageError(msg) from None


def read_input(option: str, name: str, *, most: int) -> bytes:
    """Return the content of a regular file that an option names, or of stdin.

    Args:
        option: the option.
        name: the file's path, or `-` for stdin, as for `opened_input`.
        most: the most bytes that are accepted.

    Raises:
        UsageError: the file cannot be read, or is larger.
    """
    with opened_input(option, name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        msg = f"{option}: what it names is larger than {most} bytes"
        raise UsageError(msg)
    return content


def _regular(name: str) -> BinaryIO:
    file = open(os.path.realpath(name), "rb", opener=open_unlinked)  # noqa: SIM115 - the caller closes it
    try:
        regular_status(file.fileno())
    except OSError:
        file.close()
        raise
    return file
