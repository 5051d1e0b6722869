"""Writing to standard streams that may be absent, closed, full or broken."""

from __future__ import annotations

import io
import os
import sys
from typing import Literal, TextIO

StreamName = Literal["stdout", "stderr"]


class _Nowhere(io.TextIOBase):
    """Takes everything and keeps nothing, without a descriptor, of which there may be none left."""

    def write(self, text: str) -> int:
        return len(text)


def write_line(stream: TextIO | None, line: str, *, end: str = "\n") -> bool:
    """Write and flush one line.

    Args:
        stream: one of `sys`: never a descriptor by its number, which another file may have taken; `None` takes nothing.
        line: the line, without its end.
        end: its end.

    Returns:
        Whether the stream took it.
    """
    if stream is None:
        return False
    try:
        stream.write(f"{line}{end}")
        stream.flush()
    except BaseException:  # noqa: BLE001 - a host's stream may raise anything, and no trouble with it may matter
        return False
    return True


def silence_broken_streams() -> None:
    """Take the standard streams that cannot be flushed out of the way.

    The interpreter flushes them once more as it exits, and where that fails it exits with 120, which supervisors take
    for a reason to start the service again.
    """
    for name in ("stdout", "stderr"):
        try:
            stream = getattr(sys, name)
            if stream is not None:
                stream.flush()
        except BaseException:  # noqa: BLE001 - as above
            setattr(sys, name, _Nowhere())


def divert_stdout() -> TextIO | None:
    """Send all that is written to stdout to stderr from here on, and return what stdout was.

    That holds until `restore_stdout`, else to the end of the process, for what is printed at exit too, and for the
    programs that it starts.
    """
    silence_broken_streams()
    stdout = sys.stdout
    try:
        _open_nowhere_if_closed(2)  # first, or the copy below would take its number
        descriptor = os.dup(stdout.fileno())
        os.dup2(2, stdout.fileno())
    except (OSError, AttributeError):  # there is none, or one without a descriptor
        pass
    else:
        stdout = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open to the end
    sys.stdout = sys.stderr
    return stdout


def restore_stdout(stdout: TextIO | None) -> None:
    """Give the program that replaces this process the stdout that `divert_stdout` took away."""
    silence_broken_streams()
    if stdout is not None and stdout.fileno() != 1:
        os.dup2(stdout.fileno(), 1)


def _open_nowhere_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
