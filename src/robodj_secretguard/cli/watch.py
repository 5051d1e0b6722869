"""The decisions of `exec --watch`: what to do with the command after each poll (policy sections 3 to 5).

Nothing here starts a process or reads a clock: `cli/supervisor.py` does.
"""

from __future__ import annotations

import math
import os
import random
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import Check, Severity
from robodj_secretguard.cli.output import fail
from robodj_secretguard.frozen import Frozen
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.report import Finding, with_findings
from robodj_secretguard.shapes import Event, draft
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from robodj_secretguard.managers.manager import Manager
    from robodj_secretguard.report import Report, SecretStatus
    from robodj_secretguard.sealed import SealedStr

ALERT_AGAIN: Final = 3600.0
"""After how many seconds an alert is repeated."""
PROVEN_SECONDS: Final = 30.0
"""How long a command must run on a changed set before that is the last good one."""

_CREDENTIALS: Final = "/run/credentials"
_KEPT: Final = "kept the command on its last good keys"


def require_watchable(sources: Sequence[str] | None) -> None:
    """Raise a usage error where `exec` cannot watch: without a source, and for sources that do not change."""
    if os.name == "nt":
        fail("--watch: this platform cannot restart a command gracefully; restart the service after each change")
    if not sources:
        fail("--watch needs a source to watch; add --from SOURCE")
    if "json:-" in sources:
        fail("--watch: json:- is read once; leave --watch out, and restart the service after each change")
    own = os.environ.get("CREDENTIALS_DIRECTORY")
    places = [os.path.realpath(each) for each in (_CREDENTIALS, own) if each]
    for source in sources:
        kind, _, path = source.partition(":")
        path = os.path.realpath(path) if kind == "directory" and "\0" not in path else ""
        if any(f"{path}/".startswith(f"{place}/") for place in places):
            fail(
                "--watch: systemd does not change the credentials of a running unit; leave --watch out, and restart"
                " the unit after each change"
            )


class Candidate(Frozen):
    """A set of keys, and the check's report on it.

    Attributes:
        managers: the sources that were read.
        variables: the variables that they deliver, sealed.
        report: the report on these and on everything else that the check reads.
        passed: whether the command may start on the set.
        withdrawn: the revocations that were seen and that no list has any more.
    """

    managers: Sequence[Manager]
    variables: Mapping[str, SealedStr]
    report: Report
    passed: bool
    withdrawn: frozenset[str] = frozenset()

    @property
    def identity(self) -> object:
        """What two equal sets have in common. The fingerprints are for keys that no source has."""
        return self.variables, self.fingerprints

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """The fingerprint of each current key, by its secret."""
        return {each.secret: each.fingerprint for each in self.report.secrets if each.fingerprint}

    @property
    def revoked(self) -> frozenset[str]:
        """Every fingerprint that is plainly revoked."""
        listed = self.report.revocation_list
        return listed.fingerprints if listed else frozenset()

    @property
    def names(self) -> str:
        """The sources, for messages."""
        return " and ".join(each.name for each in self.managers)


class Watch:
    """The sets of a running command: the one that it runs on, the last good one, and the one to restart it on.

    Args:
        first: the set on which the command starts first.
        judge: checks a set again.
        write: writes one text to the operators.
        splay: the longest time, in seconds, between a poll with a changed set and the restart.
        uniform: returns a random number between two others.

    Every `now` is a time of the monotonic clock.
    """

    def __init__(
        self,
        first: Candidate,
        *,
        judge: Callable[[Candidate], Candidate],
        write: Callable[[str], object],
        splay: float = 0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.running = self._good = first
        self.revoked = first.revoked
        """Every plain revocation that was seen. It holds as long as this process lives."""
        self.is_stopped = False
        """Whether the command must end, as its key is revoked."""
        self.due = math.inf
        """When to restart the command."""
        self._pending: Candidate | None = None
        self._crashed: Candidate | None = None
        self._crash: tuple[str, ...] = ()
        self._started, self._on_trial = -math.inf, False
        self._said: object = None
        self._say_again = math.inf
        self._read_at = first.report.checked_at
        self._sequence = 0
        self._judge, self._write, self._splay, self._uniform = judge, write, splay, uniform

    def polled(self, read: Candidate | Finding, now: float) -> None:
        """Take the result of a poll: the set of the sources, or why they delivered none."""
        failure = read if isinstance(read, Finding) else None
        found = self._judge(self.running) if isinstance(read, Finding) else read
        self.revoked |= found.revoked
        if failure is None:
            self._read_at = found.report.checked_at
            if self._pending and self._pending.identity != found.identity:
                self._cancel()
            if self._crashed and self._crashed.identity != found.identity:
                self._crashed = None
        is_other = found.identity != self.running.identity
        if is_other and found.passed and not self._crashed:
            self.due = self.due if self._pending else now + self._uniform(0, self._splay)
            self._pending = found
        if self._revoked_keys():
            if self._pending is None:
                self._stop(found)
                return
            self.due = now
        self._report(found, now, failure)

    def take(self, now: float) -> Candidate | None:
        """Check the set that is due again, and return it; `None` where none is due or it does not pass any more."""
        if self._pending is None or now < self.due:
            return None
        found = self._judge(self._pending)
        self._cancel()
        self.revoked |= found.revoked
        if found.passed:
            if not self.is_on_trial(now):
                self._good = self.running
            return found
        if self._revoked_keys():
            self._stop(found)
        else:
            self._report(found, now)
        return None

    def is_on_trial(self, now: float) -> bool:
        """Return whether the command runs on a changed set, and for a short time only."""
        return self._on_trial and now - self._started < PROVEN_SECONDS

    def applied(self, candidate: Candidate, now: float) -> None:
        """Note and report that the command was restarted on a changed set."""
        before = self.running
        self._begin(candidate, now, on_trial=True)
        lines = [each.text for each in candidate.report.findings]
        self._write("\n".join([*lines, f"{PROGRAM}: restarted the command on a changed set of {candidate.names}"]))
        self._record(Event.APPLIED, _changed(before, candidate))

    def restored(self, candidate: Candidate, now: float) -> None:
        """Note and report that the command was started on its last good set again."""
        changed = _changed(self.running, candidate)
        self._begin(candidate, now, on_trial=False)
        self._write(f"{PROGRAM}: started the command on its last good keys of {candidate.names} again")
        self._record(Event.RESTORED, changed)

    def failed(self, candidate: Candidate, how: str, now: float) -> Candidate | None:
        """Report that the command does not run on a changed set. Return the last good set, if it still passes."""
        what = f"ALERT: {PROGRAM}: on the changed set of {candidate.names}, the command {how}"
        fix = f"  fix: read the output of the command, then store another set in {candidate.names}"
        self._crashed, self._crash = candidate, (what, fix)
        self._said, self._say_again = candidate.identity, now + ALERT_AGAIN
        good = self._judge(self._good)
        lines = [what, fix]
        if not good.passed:
            lines += [*(each.text for each in _reasons(good.report)), good.report.refusal("has no good keys left")]
        self._write("\n".join(lines))
        return good if good.passed else None

    def _begin(self, candidate: Candidate, now: float, *, on_trial: bool) -> None:
        self.running, self._started, self._on_trial = candidate, now, on_trial
        self._cancel()

    def _cancel(self) -> None:
        self._pending, self.due = None, math.inf

    def _revoked_keys(self) -> Sequence[SecretStatus]:
        """Return the secrets whose key, on which the command runs, is plainly revoked."""
        return [each for each in self.running.report.secrets if each.fingerprint in self.revoked]

    def _stop(self, found: Candidate) -> None:
        """Report that the command ends, as a key that it uses is revoked and the set of the sources is no other one."""
        self.is_stopped = True
        is_refused = found.identity != self.running.identity
        report = self._judge(self.running).report
        findings = dict.fromkeys([*(_reasons(found.report) if is_refused else ()), *report.alerts])
        report = report._replace(findings=tuple(findings))
        lines = [each.text for each in findings]
        self._write("\n".join([*lines, report.refusal("stopped the command", REFUSED)]))
        if is_refused:
            self._record_refusal(found)
        self._record(Event.STOPPED, self._revoked_keys(), str(Check.REVOKED))

    def _report(self, found: Candidate, now: float, failure: Finding | None = None) -> None:
        """Report what is wrong after a poll: at once if it is new, otherwise once in an hour."""
        if self._crashed and failure is None:
            self._say(self._crashed.identity, self._crash, now)
            return
        is_refused = found.identity != self.running.identity and not found.passed
        findings = _reasons(found.report) if is_refused else found.report.alerts
        report = found.report._replace(findings=())
        report = with_findings(report, [*([self._away(failure, found.report)] if failure else []), *findings])
        if not report.findings:
            self._said = None
            return
        identity = (
            found.identity if is_refused else None,
            [(each.check, each.secret, each.slot) for each in report.findings],
        )
        lines = [each.text for each in report.findings]
        if report.alerts or is_refused:
            lines.append(report.refusal(_KEPT if is_refused or failure else "kept the command running"))
        if self._say(identity, lines, now) and is_refused:
            self._record_refusal(found)

    def _record_refusal(self, found: Candidate) -> None:
        statuses = {each.secret: each for each in found.report.secrets}
        for each in _reasons(found.report):
            status = statuses.get(each.secret or "")
            self._record(Event.REFUSED, [status] if status else [], str(each.check))

    def _say(self, identity: object, lines: Iterable[str], now: float) -> bool:
        """Write lines where they are new, or after an hour. Return whether they are new."""
        is_new = identity != self._said
        if is_new or now >= self._say_again:
            self._said, self._say_again = identity, now + ALERT_AGAIN
            self._write("\n".join(lines))
        return is_new

    def _away(self, failure: Finding, report: Report) -> Finding:
        """Return the finding of a source that failed. While it may come back, that is a warning with the time since."""
        if failure.check is not Check.UNAVAILABLE:
            return failure
        since = f"read at {iso_utc(self._read_at)} ({_length(report.checked_at - self._read_at)} ago)"
        message = f"{failure.message}; the command keeps its keys, {since}"
        return failure._replace(severity=Severity.WARNING, message=message)

    def _record(self, event: Event, secrets: Sequence[SecretStatus], reason: str | None = None) -> None:
        """Write one record for each secret, or one for the set-up, in the shape of the operations log."""
        names = ("secret", "owner", "fingerprint", "expires_at")
        for fields in [{name: getattr(each, name) for name in names} for each in secrets] or [{}]:
            self._sequence += 1
            record = draft(event, reason=reason, **fields)
            record = replace(record, sequence=self._sequence, recorded_at=datetime.now(UTC))
            self._write(record.line().decode("ascii"))


def _reasons(report: Report) -> Sequence[Finding]:
    """Return why a set does not pass: its alerts, otherwise with `--strict` its warnings."""
    return report.alerts or report.warnings


def _changed(before: Candidate, after: Candidate) -> Sequence[SecretStatus]:
    """Return the secrets whose current key differs between two sets."""
    one, other = before.variables, after.variables
    return [
        each
        for each in after.report.secrets
        if one.get(each.variable) != other.get(each.variable)
        or before.fingerprints.get(each.secret) != each.fingerprint
    ]


def _length(time: timedelta) -> str:
    """Return a time in words, such as `1 h 5 min`."""
    minutes, seconds = divmod(max(0, int(time.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number} {unit}" for number, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if number]
    return " ".join(parts[:2]) or "0 s"


def outcome(status: int) -> str:
    """Return the end of a command in words: its exit status, or the signal that killed it."""
    if status >= 0:
        return f"exit status {status}"
    number = -status
    return next((each.name for each in signal.Signals if each == number), f"signal {number}")
