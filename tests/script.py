"""The program of `run_forked`: it has imported what every service imports, and then runs `app.py`."""

from __future__ import annotations

import os
import runpy
import sys

import structlog  # noqa: F401 - so a script need not wait for the import
from fork_server import next_request

import robodj_secretguard  # noqa: F401

if __name__ == "__main__":
    next_request()
    sys.argv, sys.path[0] = ["app.py"], os.getcwd()
    runpy.run_path("app.py", run_name="__main__")
