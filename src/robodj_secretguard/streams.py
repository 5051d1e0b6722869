"""Writing to standard streams that may be absent, closed, full or broken."""

from __future__ import annotations

import os
import sys
from typing import Final, Literal

StreamName = Literal["stdout", "stderr"]
BOTH: Final[tuple[StreamName, StreamName]] = ("stdout", "stderr")


def write_line(name: StreamName, line: str) -> bool:
    """Write and flush one line to a standard stream.

    It goes through `sys`, never to a descriptor's number: with that closed, another file may have taken it.

    Args:
        name: which stream.
        line: the line, without its end.

    Returns:
        Whether the stream took it.
    """
    try:
        stream = getattr(sys, name)
        stream.write(f"{line}\n")
        stream.flush()
    except BaseException:  # noqa: BLE001 - a host's stream may raise anything, and no trouble with it may matter
        return False
    return True


def silence_if_broken(name: StreamName) -> None:
    """Take a standard stream that cannot be flushed out of the way.

    The interpreter flushes the streams once more as it exits, and where that fails it exits with 120, which
    supervisors take for a reason to start the service again.

    Args:
        name: which stream.
    """
    stream = getattr(sys, name)
    try:
        if stream is not None:
            stream.flush()
    except BaseException:  # noqa: BLE001 - as above
        try:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        except OSError:
            setattr(sys, name, None)
