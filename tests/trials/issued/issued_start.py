"""The process that starts the guard with the service's model, as a service or while every channel is watched."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fork_server import next_request

sys.path.append(str(Path(__file__).parents[2] / "no_leak"))

from issued_model import ServiceSecrets
from observers import everything

from robodj_secretguard import check, guard
from robodj_secretguard.cli import main

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = ("--model", "issued_model:ServiceSecrets")


def run_command(*words: str) -> None:
    """Run a command of the library."""
    with contextlib.suppress(SystemExit):
        main([*words, *MODEL])


def watch(commands: Sequence[Sequence[str]]) -> None:
    """Start, make the model, check and run commands, and print all that can be seen of it."""
    for action in (lambda: guard(ServiceSecrets), ServiceSecrets, lambda: check(ServiceSecrets)):
        with contextlib.suppress(TypeError):  # str() of a value, which the strongest observer calls last
            everything(action)
    for words in commands:
        run_command(*words)


def start() -> int:
    """Start as a service does, and return the status."""
    try:
        guard(ServiceSecrets)
    except SystemExit as end:
        return int(str(end.code))
    return 0


if __name__ == "__main__":
    what = next_request()
    status = 0
    if what is None:
        status = start()
    else:
        os.dup2(1, 2)
        watch(what)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the rest of an interpreter's end is slow
