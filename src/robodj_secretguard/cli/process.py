"""Handing the process over to the command that the gate stands before."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final, TextIO

from robodj_secretguard.emit import silence_broken_streams

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
