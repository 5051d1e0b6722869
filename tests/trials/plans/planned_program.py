"""The command of the trial: `robodj-secretguard`, at the time that a file has."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from command_line import clock

from robodj_secretguard.cli import main
from robodj_secretguard.lifecycle import steps

vars(steps)["MAX_SKEW"] = timedelta(days=1000)  # the clock of the server stays where it is
with clock(datetime.fromisoformat(Path(os.environ["PLAN_CLOCK"]).read_text(encoding="utf-8"))):
    sys.exit(main(sys.argv[1:]))
