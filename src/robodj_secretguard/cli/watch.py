"""The decisions of `exec --watch`: what to do with the command after each poll (policy sections 3 to 5).

Nothing here starts a process or reads a clock: `cli/supervisor.py` does.
"""

from __future__ import annotations

import math
import os
import random
import re
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.output import fail
from robodj_secretguard.lifecycle.records import Event, draft
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.texts import PROGRAM
from robodj_secretguard.startup.guard import REFUSED
from robodj_secretguard.startup.report import Finding, with_findings
from robodj_secretguard.startup.rules import Check, Severity
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from robodj_secretguard.managers.manager import Delivery
    from robodj_secretguard.secret.sealed import SealedStr
    from robodj_secretguard.startup.report import Report, SecretStatus

ALERT_AGAIN: Final = 3600.0
"""After how many seconds an alert is repeated."""
PROVEN_SECONDS: Final = 30.0
"""How long a command must run on a changed set before that is the last good one."""

_CREDENTIALS: Final = "/run/credentials"
_KEPT: Final = "kept the command on its last good keys"
_SOLVED: Final = {
    "source": "can read the keys again in",
    "set": "nothing is wrong any more with the set of",
    "running": "nothing is wrong any more with the keys of",
}


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
        managers: what the sources have delivered.
        variables: the variables that they deliver, sealed.
        report: the report on these and on everything else that the check reads.
        passed: whether the command may start on the set.
        withdrawn: the revocations that were seen and that no list has any more.
    """

    managers: Sequence[Delivery]
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
        self._said: dict[str, tuple[object, float]] = {"running": (_identity(first.report.warnings), math.inf)}
        self._read_at = first.report.checked_at
        self._sequence = 0
        self._judge, self._write, self._splay, self._uniform = judge, write, splay, uniform

    def polled(self, read: Candidate | Finding, now: float) -> None:
        """Take the result of a poll: the set of the sources, or why they delivered none."""
        if isinstance(read, Finding):
            self._polled(read, None, self._judge(self.running), now)
        elif read.identity == self.running.identity:
            self._polled(None, read, read, now)
        else:
            self._polled(None, read, self._judge(self.running), now)

    def _polled(self, failure: Finding | None, found: Candidate | None, running: Candidate, now: float) -> None:
        self.revoked |= running.revoked
        refused = None
        if found is not None:
            self.revoked |= found.revoked
            self._read_at = found.report.checked_at
            refused = found if found is not running and not found.passed else None
            self._compare(found, now, is_other=found is not running)
        if self._revoked_keys():
            if self._pending is None:
                self._stop(refused)
                return
            self.due = now
        away = [self._away(failure, running.report)] if failure else []
        if self._report("source", away, now, failure) and failure:
            self._record(Event.REFUSED, [], str(failure.check))
        if found and self._report("set", _reasons(refused.report) if refused else (), now, found):
            self._record_refusal(found)
        if self._crashed:
            self._say("crash", self._crashed.identity, self._crash, now)
        else:
            self._said.pop("crash", None)
        self._report("running", [*running.report.alerts, *running.report.warnings], now)

    def _compare(self, found: Candidate, now: float, *, is_other: bool) -> None:
        """Compare the set of the sources with the ones that wait for a restart or have crashed."""
        if self._pending and self._pending.identity != found.identity:
            if self.due > now:
                self._write(f"{PROGRAM}: does not restart the command on that set: {found.names} has another one")
            self._cancel()
        if self._crashed and self._crashed.identity != found.identity:
            self._crashed = None
        if is_other and found.passed and not self._crashed:
            self._plan(found, now)

    def _plan(self, found: Candidate, now: float) -> None:
        """Plan the restart on a set, and announce it where it has to wait."""
        if self._pending is None:
            self.due = now + self._uniform(0, self._splay)
            if self.due > now:
                what = f"restarts the command in {self.due - now:.0f} s, on a changed set of {found.names}"
                self._write(f"{PROGRAM}: {what}")
        self._pending = found

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
            self._write(f"{PROGRAM}: stops the command, to restart it on a changed set of {found.names}")
            return found
        if self._revoked_keys():
            self._stop(found)
        else:
            self._report("set", _reasons(found.report), now, found)
            self._record_refusal(found)
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
        what = f"ALERT: {PROGRAM} restarted the command on a changed set of {candidate.names}, and it {how}"
        fix = f"  fix: read the output of the command, then store another set in {candidate.names}"
        self._crashed, self._crash = candidate, (what, fix)
        self._said["crash"] = (candidate.identity, now + ALERT_AGAIN)
        good = self._judge(self._good)
        lines = [what, fix]
        if not candidate.passed:  # in the last moment
            lines = [
                *(each.text for each in _reasons(candidate.report)),
                candidate.report.refusal("refused a changed set"),
            ]
            self._crashed = None
        if not good.passed:
            lines += [*(each.text for each in _reasons(good.report)), good.report.refusal("has no good keys left")]
        self._write("\n".join(lines))
        if candidate.passed:
            self._record(Event.REFUSED, [], how)
        else:
            self._said["set"] = (_identity(_reasons(candidate.report), candidate), now + ALERT_AGAIN)
            self._record_refusal(candidate)
        return good if good.passed else None

    def _begin(self, candidate: Candidate, now: float, *, on_trial: bool) -> None:
        self.running, self._started, self._on_trial = candidate, now, on_trial
        self._said["running"] = (_identity([*candidate.report.alerts, *candidate.report.warnings]), math.inf)
        self._cancel()

    def _cancel(self) -> None:
        self._pending, self.due = None, math.inf

    def _revoked_keys(self) -> Sequence[SecretStatus]:
        """Return the secrets whose key, on which the command runs, is plainly revoked."""
        return [each for each in self.running.report.secrets if each.fingerprint in self.revoked]

    def _stop(self, refused: Candidate | None) -> None:
        """Report that the command ends, as a key that it uses is revoked and the sources have no other set."""
        self.is_stopped = True
        running = self._judge(self.running)  # with the revocations that were just seen
        findings = dict.fromkeys([*(_reasons(refused.report) if refused else ()), *running.report.alerts])
        report = running.report._replace(findings=tuple(findings))
        lines = [each.text for each in findings]
        self._write("\n".join([*lines, *_withdrawn(running), report.refusal("stops the command", REFUSED)]))
        if refused:
            self._record_refusal(refused)
        self._record(Event.STOPPED, self._revoked_keys(), str(Check.REVOKED))

    def _report(
        self, channel: str, findings: Sequence[Finding], now: float, subject: Candidate | Finding | None = None
    ) -> bool:
        """Report what is wrong with the source, its set or the keys in use. Return whether that is new.

        An alert is repeated once in an hour. When nothing is wrong any more, that is reported once.
        """
        if not findings:
            was_said = self._said.pop(channel, None)
            if was_said and was_said[1] < math.inf and not self._said.keys() - {"running"}:
                self._write(f"{PROGRAM}: {_SOLVED[channel]} {self.running.names}")
            return False
        report = with_findings(self.running.report._replace(findings=()), findings)
        is_repeated = channel != "running" or bool(report.alerts)
        lines = [_for_running(each).text for each in report.findings]
        if report.alerts or channel == "set":
            what = "kept the command running" if channel == "running" else _KEPT
            lines += [*_withdrawn(subject if isinstance(subject, Candidate) else self.running), report.refusal(what)]
        return self._say(channel, _identity(findings, subject), lines, now, is_repeated=is_repeated)

    def _record_refusal(self, found: Candidate) -> None:
        statuses = {each.secret: each for each in found.report.secrets}
        for each in _reasons(found.report):
            status = statuses.get(each.secret or "")
            self._record(Event.REFUSED, [status] if status else [], str(each.check))

    def _say(
        self, channel: str, identity: object, lines: Iterable[str], now: float, *, is_repeated: bool = True
    ) -> bool:
        """Write lines where they are new, or after an hour. Return whether they are new."""
        said, again = self._said.get(channel, (None, math.inf))
        if identity != said or now >= again:
            self._said[channel] = (identity, now + ALERT_AGAIN if is_repeated else math.inf)
            self._write("\n".join(lines))
        return identity != said

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


def _identity(findings: Iterable[Finding], subject: Candidate | Finding | None = None) -> object:
    """Return what tells findings from others. The message of an absent source has the time since."""
    if isinstance(subject, Finding):
        return subject.check, subject.message
    return subject and subject.identity, [(each.check, each.secret, each.slot, each.message) for each in findings]


def _for_running(finding: Finding) -> Finding:
    """Return a finding whose fix is for a command that runs: the sources are read again anyway."""
    return finding._replace(remedy=re.sub(r", then (start again|restart)$", "", finding.remedy))


def _withdrawn(candidate: Candidate) -> list[str]:
    """Return a line about revocations that no list has any more."""
    if not candidate.withdrawn:
        return []
    which = ", ".join(sorted(candidate.withdrawn))
    return [f"{PROGRAM}: {which} was on a revocation list and is not now; it counts until this process is restarted"]


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
