"""The process of a script of a table: what every service imports is there, and nothing was done yet."""

from __future__ import annotations

import os
import runpy
import sys

import structlog  # noqa: F401 - a script that imports it waits for nothing
from fork_server import next_request

import robodj_secretguard  # noqa: F401

if __name__ == "__main__":
    next_request()
    sys.argv, sys.path[0] = ["app.py"], os.getcwd()
    runpy.run_path("app.py", run_name="__main__")
