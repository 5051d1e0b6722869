"""The modules that read the clock, for a test that stops it."""

from __future__ import annotations

from typing import Final

CLOCKS: Final = (
    "running.keyset",
    "guarding",
    "settings",
    "managers.manager",
    "lifecycle.drift",
    "lifecycle.rotator",
    "lifecycle.operations_log",
    "lifecycle.revocation",
    "scan.scanner",
)
