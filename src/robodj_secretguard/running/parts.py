"""What a store has beside its keys: what reads again, who is told of a change, and what was in use before."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.report import Again, Finding, Report

if TYPE_CHECKING:
    from robodj_secretguard.running.state import RunningState

Send: TypeAlias = "Callable[[str, Report, RunningState], object]"
"""Sends an event of a kind with a report and a state."""


class Reader(Protocol):
    """What reads the sources of a store again.

    Attributes:
        findings: what is wrong now: the findings of the last read, and what no read finds.
        read_at: when the sources were last read completely, in UTC.
        seconds: the period; `None` for no thread.
    """

    read_at: datetime
    seconds: int | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong now."""

    def state(self) -> RunningState:
        """Return the present state."""

    def read(self) -> Report:
        """Read them now."""

    def notify(self) -> None:
        """Call the functions that have missed a change."""

    def report_late(self) -> None:
        """Say that the sources were not read in time."""

    def follow_directory(self, again: Again | None, send: Send, logger: Any) -> None:
        """Read them in each period from now on."""


class Replaced(Frozen):
    """A value that was in use.

    Attributes:
        policy: the policy of its secret.
        value: the value, sealed again: nothing of the old set is kept.
        at: when it was replaced, in seconds of the monotonic clock.
    """

    policy: SecretPolicy
    value: SealedStr
    at: float


class Subscription:
    """A function that is called after each change of a secret, and the last change that it has seen.

    Args:
        call: calls the function.
        due: returns the number of the last change of the secret.
    """

    def __init__(self, call: Callable[[], object], due: Callable[[], int]) -> None:
        self.call = call
        self.due = due
        self.seen = 0
        self.what = "a function of on_change()"  # in an alert
        self.lock = threading.Lock()  # held while the function runs
        self.asked_at = math.inf  # when a thread was asked to call it
        self.began_at = math.inf  # when the present call began
        self.fault = ""

    @property
    def is_behind(self) -> bool:
        """Whether it has missed a change."""
        return self.seen != self.due()
