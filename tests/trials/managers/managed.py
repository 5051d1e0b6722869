"""A service whose keys are in a secret manager, and what holds where it is not started."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from command_line import fingerprint_of
from conftest import V1, Ran, good_keys, marker, process_environment
from processes import ENVIRONMENT, GOOD, SECRET, run_copy, started_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PROGRAM = ("-m", "robodj_secretguard")
COMMAND = ENVIRONMENT
LAST_LINE = (
    "ALERT: robodj-secretguard did not start the command: 1 alert (exit status {}). "
    "Details: robodj-secretguard explain {}"
)
REFUSED, UNAVAILABLE = 3, 75
NEXT, PREVIOUS, UNTIL, EXPIRES = (f"{V1}_{each}" for each in ("NEXT", "PREVIOUS", "PREVIOUS_UNTIL", "EXPIRES_AT"))
REVOKED = "ROBODJ_REVOKED_FINGERPRINTS"


def rotating() -> dict[str, str]:
    """Return good keys, and every other variable that a manager may have during a rotation."""
    now = datetime.now(UTC)
    return GOOD | {
        EXPIRES: marker(timedelta(days=30), now=now),
        NEXT: good_keys()[V1],
        PREVIOUS: good_keys()[V1],
        UNTIL: marker(timedelta(hours=1), now=now),
        REVOKED: fingerprint_of(good_keys()[V1]),
    }


@dataclass(frozen=True)
class Service:
    """The directory of a service, and the source of its keys.

    Attributes:
        cwd: the directory, which is the user's home too.
        source: the source.
    """

    cwd: Path
    source: str

    def environ(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with variables of the manager, and nothing else of it."""
        raise NotImplementedError

    @property
    def logins(self) -> Iterable[str]:
        """What no output may have a part of, beside keys."""
        raise NotImplementedError

    def start(
        self,
        variables: Mapping[str, str],
        *,
        source: str = "",
        wait: float = 0,
        command: str = "exec",
        options: tuple[str, ...] = (),
    ) -> Ran:
        """Run a command with a login, in a fork. Assert that its output has no part of a key or of the login."""
        arguments = [command, "--from", source or self.source, "--wait", str(wait), *options]
        arguments += ["--", *COMMAND] if command == "exec" else []
        script = f"import sys\nfrom robodj_secretguard.cli import main\nsys.exit(main({arguments}))"
        (self.cwd / "started").unlink(missing_ok=True)
        with process_environment(self.environ(variables)):
            return run_copy(script, {}, self.cwd, secret=(*SECRET, *self.logins))

    @property
    def started(self) -> dict[str, str]:
        """The environment of the command that was started last; empty where it was not."""
        return started_with(self.cwd)

    def assert_not_started(self, ran: Ran, status: int, what: str, *, source: str = "") -> None:
        """Assert that a source failed for a reason: one alert with its fix, the last line, and no command."""
        check = "source" if status == REFUSED else "unavailable"
        lines = (ran.out + ran.err).splitlines()
        alert, fix, last = (line for line in lines if not line.endswith("; trying again"))
        assert (ran.status, self.started) == (status, {})
        assert alert.startswith(f"ALERT: {check}: {source or self.source} ")
        assert re.search(what, re.sub(r" \(tried for [0-9.]+ s\)$", "", alert)), alert
        assert fix.startswith("  fix: ")
        assert (len(alert) <= 140, len(fix) <= 180) == (True, True), (alert, fix)
        assert last == LAST_LINE.format(status, check)
