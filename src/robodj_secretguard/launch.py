"""Handing the process over to the command that the gate stands before."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""The statuses of a shell for the same."""

_IGNORED_BY_PYTHON: Final = ("SIGPIPE", "SIGXFSZ")


def launch(command: Sequence[str]) -> int:
    """Replace this process with a command; on Windows, which cannot do that, run it and wait for its end.

    The command keeps the process id, the standard streams and every inherited descriptor.

    Args:
        command: the program, which is looked for on the path, and its arguments.

    Returns:
        126: it cannot be executed; 127: it is not found; on Windows else the command's own status.
    """
    try:
        if os.name == "nt":
            return _run(command)
        for name in _IGNORED_BY_PYTHON:  # an ignored signal stays ignored in what replaces the process
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvp(command[0], list(command))  # noqa: S606 - running what the operator names is the purpose
    except (FileNotFoundError, NotADirectoryError, ValueError):  # an empty name is a ValueError
        return NOT_FOUND
    except OSError:
        return NOT_EXECUTABLE


def _run(command: Sequence[str]) -> int:
    import shutil  # noqa: PLC0415 - only where a process cannot be replaced
    import subprocess  # noqa: PLC0415

    signal.signal(signal.SIGINT, lambda *_: None)  # Control-C is sent to both, and the command decides
    # By `which`, as CreateProcess alone finds no .cmd and .bat.
    program = shutil.which(command[0]) or command[0]
    return signed(subprocess.call([program, *command[1:]]))  # noqa: S603 - as above


def signed(status: int) -> int:
    """Return a Windows status, which is unsigned, as the signed one that `sys.exit` takes for the same."""
    return (status + 2**31) % 2**32 - 2**31
