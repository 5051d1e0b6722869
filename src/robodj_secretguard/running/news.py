"""Which findings of a read are written. It depends on the findings of the read before."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from robodj_secretguard.startup.report import Finding
from robodj_secretguard.startup.rules import Severity

ALERT_AGAIN: Final = 3600.0
"""After how many seconds an alert that lasts is written again."""


class News:
    """Tell which findings to write: a new one, one that is back, and an alert again in each hour that it lasts.

    Args:
        written: the findings that were written before.
    """

    def __init__(self, written: Iterable[Finding]) -> None:
        self._due: dict[Finding, float] = dict.fromkeys(written, math.inf)

    def take(self, findings: Iterable[Finding], now: float) -> tuple[Finding, ...]:
        """Return the findings to write, of all that there are at this time of the monotonic clock.

        What is not among them is gone. If it comes back, it is written again.
        """
        present = [each for each in findings if each.severity is not Severity.NOTE]
        due = [each for each in present if now >= self._due.get(each, now)]
        again = {each: now + ALERT_AGAIN if each.severity is Severity.ALERT else math.inf for each in due}
        self._due = {each: self._due.get(each, math.inf) for each in present} | again
        return tuple(due)

    def forget(self, findings: Iterable[Finding]) -> None:
        """Write these findings again at the next read."""
        for each in findings:
            self._due.pop(each, None)
