"""The command of the trial: `robodj-secretguard`, without the hour between two steps."""

from __future__ import annotations

import sys
from datetime import timedelta

from robodj_secretguard.cli import main
from robodj_secretguard.lifecycle import steps

vars(steps)["MIN_AGE"] = timedelta(0)
sys.exit(main(sys.argv[1:]))
