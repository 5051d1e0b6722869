"""The command of the trial: `robodj-secretguard`, at the time that a file has."""

from __future__ import annotations

import importlib
import os
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final

from clocks import CLOCKS

NOW: Final = datetime.fromisoformat(Path(os.environ["PLAN_CLOCK"]).read_text(encoding="utf-8"))


class Stopped(datetime):
    """A stopped clock."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return the time that the file has."""
        return NOW.astimezone(tz)


for name in CLOCKS:
    vars(importlib.import_module(f"robodj_secretguard.{name}"))["datetime"] = Stopped
# The clock of the server stays where it is.
vars(importlib.import_module("robodj_secretguard.lifecycle.steps"))["MAX_SKEW"] = timedelta(days=1000)
sys.exit(importlib.import_module("robodj_secretguard.cli").main(sys.argv[1:]))
