"""The process of a cell whose observer is a reporter of another project."""

from __future__ import annotations

import contextlib
import io
import os

import pytest
import sentry_sdk.integrations
from cell import main
from reporters import ADVISED_REPORTERS, REPORTERS

if __name__ == "__main__":
    # Sentry and pytest import slowly: import them once for all cells.
    list(sentry_sdk.integrations.iter_default_integrations(True))  # noqa: FBT003 - its type has no name for it
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--version", "-c", os.devnull])
    main(REPORTERS | ADVISED_REPORTERS)
