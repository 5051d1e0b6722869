"""The process of a cell. It imports all that the observers use, before it runs the cell."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import actions
from fork_server import next_request
from observers import ADVISED, OBSERVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from observers import Action


def main(observers: Mapping[str, tuple[Callable[[Action], None], str]]) -> None:
    """Run a cell in each process."""
    for manager in ("aws", "vault"):
        with contextlib.suppress(ImportError):  # their scenarios need the extras `vault` and `aws`
            import_module(f"robodj_secretguard.managers.{manager}")
    observer, action = next_request()
    os.dup2(1, 2)  # in the order of the writes: a key may be split between the streams
    observers[observer][0](partial(actions.perform, action))  # an exception ends it as it ends any process
    atexit._run_exitfuncs()  # noqa: SLF001 - the rest of an interpreter's end is slow, and has nothing to show
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(OBSERVERS | ADVISED)
