"""The modules that read the clock, for a test that stops it."""

from __future__ import annotations

from typing import Final

CLOCKS: Final = (
    "keyring",
    "startup.guard",
    "startup.settings",
    "managers.manager",
    "lifecycle.steps",
    "lifecycle.operations_log",
    "lifecycle.revocation",
    "scan.scanner",
)
