"""The process of a cell. It imports all that hosts use, before it runs the cell."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
from importlib import import_module

import actions
import pytest
import sentry_sdk.integrations
from fork_server import next_request
from observers import ADVISED, OBSERVERS

# Sentry and pytest import slowly: import them once for all cells.
list(sentry_sdk.integrations.iter_default_integrations(True))  # noqa: FBT003 - its type has no name for it
with contextlib.redirect_stdout(io.StringIO()):
    pytest.main(["--version", "-c", os.devnull])
for manager in ("aws", "vault"):
    with contextlib.suppress(ImportError):  # their scenarios need the extras `vault` and `aws`
        import_module(f"robodj_secretguard.managers.{manager}")

if __name__ == "__main__":
    observer, action = next_request()
    os.dup2(1, 2)  # in the order of the writes: a key may be split between the streams
    (OBSERVERS | ADVISED)[observer][0](getattr(actions, action))  # an exception ends it as it ends any process
    atexit._run_exitfuncs()  # noqa: SLF001 - the rest of an interpreter's end is slow, and has nothing to show
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
