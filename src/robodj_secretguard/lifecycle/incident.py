"""The report of an incident: the five steps of policy section 5, filled from what is recorded and what is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle.records import Event
from robodj_secretguard.lifecycle.rotation import is_replaced
from robodj_secretguard.lifecycle.texts import ascii_text
from robodj_secretguard.render import finding_line, revocation_line, status_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard.findings import Report
    from robodj_secretguard.lifecycle.operations_log import Entry
    from robodj_secretguard.lifecycle.records import Record

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>~|&])")


@dataclass(frozen=True, slots=True)
class Item:
    """A step, as a box to check.

    Attributes:
        text: what is to be done, or what shows that it was.
        done: whether the program has seen that it was done.
    """

    text: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """What is known of an incident.

    Attributes:
        since: where its time begins, in UTC.
        until: where its time ends, in UTC.
        entries: what is recorded of that time.
        log: what the operations log is worth: that it verifies, that there is none, or what is wrong with it.
        report: the check as it is now.
    """

    since: datetime
    until: datetime
    entries: Sequence[Entry]
    log: str
    report: Report

    @property
    def steps(self) -> dict[str, list[Item]]:
        """The five steps of policy section 5, each with what was done and what is open."""
        alerts = self.report.alerts
        return {
            "Detect": [
                Item("What was seen first, where and by whom: startup or pre-release alert, leak report, anomaly: ..."),
                Item(f"The check run for this report: {len(alerts)} alert(s)", done=True),
            ],
            "Contain": [Item("Affected runtime isolated"), Item("Processes that use the key stopped")],
            "Rotate/Revoke": [
                *self._revocations(),
                *self._rotations(),
                Item("Old versions disabled in the secret manager"),
            ],
            "Recover": [
                Item("Redeployed with updated environment secrets"),
                Item("The checks pass in this environment", done=self.report.ok),
                Item("Sessions and tokens derived from compromised keys invalidated"),
            ],
            "Post-incident": [
                Item("Timeline completed"),
                Item("Blast radius: ..."),
                Item("Corrective actions: ..."),
            ],
        }

    def _revocations(self) -> list[Item]:
        items = []
        for revoked in self._records(Event.REVOKED):
            subject = (
                f"{revoked.secret or 'a secret that is not known'} ({revoked.environment or 'environment not known'})"
            )
            items.append(
                Item(f"Revoked {revoked.fingerprint}, {subject}, at {iso_utc(revoked.recorded_at)}", done=True)
            )
            replaced = is_replaced(revoked, self._records(Event.ROTATED))
            items.append(Item(f"The replacement of {revoked.fingerprint} recorded as rotated", done=replaced))
        return items or [Item("Previous key versions revoked: robodj-secretguard revoke")]

    def _rotations(self) -> list[Item]:
        items = [
            Item(f"Rotated {rotated.secret} ({rotated.environment}) at {iso_utc(rotated.recorded_at)}", done=True)
            for rotated in self._records(Event.ROTATED)
        ]
        items = items or [Item("Emergency rotation recorded: robodj-secretguard rotate record")]
        finished = {(rotated.fingerprint, rotated.environment) for rotated in self._records(Event.ROTATED)}
        begun = {(record.fingerprint, record.environment) for record in self._records(Event.ROTATION_INCOMPLETE)}
        if begun - finished:
            items.append(Item("The validation of each rotation that is recorded as incomplete finished"))
        return items

    def _records(self, event: Event) -> list[Record]:
        return [entry.record for entry in self.entries if entry.record.event is event]

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {
            "since": iso_utc(self.since),
            "until": iso_utc(self.until),
            "log": self.log,
            "timeline": [entry.as_dict() for entry in self.entries],
            "check": self.report.as_dict(),
            "steps": {
                name: [{"text": item.text, "done": item.done} for item in items] for name, items in self.steps.items()
            },
        }

    def markdown(self) -> str:
        """Return it as a Markdown document."""
        report = self.report
        lines = [
            "# Secret incident report",
            "",
            f"From {iso_utc(self.since)} to {iso_utc(self.until)}, without any key material.",
        ]
        for number, (name, items) in enumerate(self.steps.items(), start=1):
            lines += ["", f"## {number}. {name}", ""]
            lines += [f"- [{'x' if item.done else ' '}] {item.text}" for item in items]
        lines += ["", "## Timeline", "", f"Operations log: {self.log}.", ""]
        if self.entries:
            lines += ["| when | event | secret | environment | fingerprint | operator | ticket | reason |"]
            lines += ["|---|---|---|---|---|---|---|---|", *map(_row, self.entries)]
        else:
            lines += ["Nothing is recorded of this time."]
        lines += ["", "## Validation state", "", f"As checked at {iso_utc(report.checked_at)}:", "", "```text"]
        lines += [*map(finding_line, report.findings), *map(status_line, report.secrets)]
        lines += [revocation_line(report.revocation_list)] if report.revocation_list else []
        lines += ["```"]
        return "\n".join(lines)


def _row(entry: Entry) -> str:
    record = entry.record
    shaped = (iso_utc(record.recorded_at), record.event, record.secret, record.environment, record.fingerprint)
    free = (record.operator, record.ticket, record.reason)
    cells = [*(cell or "" for cell in shaped), *(escaped(cell or "") for cell in free)]
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Return an operator's text as Markdown that shows it and does nothing else."""
    return _MARKDOWN.sub(r"\\\1", ascii_text(text))
