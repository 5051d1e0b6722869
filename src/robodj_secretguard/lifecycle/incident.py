"""An incident: the five steps of policy section 5, filled from what is recorded and what is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle.checklist import Item
from robodj_secretguard.lifecycle.records import Event
from robodj_secretguard.lifecycle.rotation import is_replaced
from robodj_secretguard.render import count, tally
from robodj_secretguard.scan.result import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard.findings import Report
    from robodj_secretguard.lifecycle.operations_log import Entry
    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.scan.result import Scan


@dataclass(frozen=True, slots=True)
class Incident:
    """What is known of an incident.

    Attributes:
        since: where its time begins, in UTC.
        until: where its time ends, in UTC.
        entries: what is recorded of that time.
        records: all that is recorded.
        report: the check as it is now.
        scan: where keys were found; `None` where nobody has looked.
    """

    since: datetime
    until: datetime
    entries: Sequence[Entry]
    records: Sequence[Record]
    report: Report
    scan: Scan | None = None

    @property
    def steps(self) -> dict[str, list[Item]]:
        """The five steps of policy section 5, each with what was done and what is open."""
        return {
            "Detect": [
                Item("What was seen first, where and by whom: startup or pre-release alert, leak report, anomaly: ..."),
                Item(f"The check run for this report: {tally(self.report)}", done=True),
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
                self._blast_radius(),
                Item("Corrective actions: ..."),
            ],
        }

    def _revocations(self) -> list[Item]:
        items = []
        for revoked in self._of(Event.REVOKED):
            subject = (
                f"{revoked.secret or 'a secret that is not known'} ({revoked.environment or 'environment not known'})"
            )
            items.append(
                Item(f"Revoked {revoked.fingerprint}, {subject}, at {iso_utc(revoked.recorded_at)}", done=True)
            )
            replaced = is_replaced(revoked.fingerprint, revoked.secret, revoked.environment, self.records)
            items.append(Item(f"The replacement of {revoked.fingerprint} recorded as rotated", done=replaced))
        return items or [Item("Previous key versions revoked")]

    def _rotations(self) -> list[Item]:
        items = [
            Item(f"Rotated {rotated.secret} ({rotated.environment}) at {iso_utc(rotated.recorded_at)}", done=True)
            for rotated in self._of(Event.ROTATED)
        ]
        items = items or [Item("Emergency rotation recorded")]
        finished = {(each.fingerprint, each.environment) for each in self.records if each.event is Event.ROTATED}
        begun = {(each.fingerprint, each.environment) for each in self._of(Event.ROTATION_INCOMPLETE)}
        if begun - finished:
            items.append(Item("The validation of each rotation that is recorded as incomplete finished"))
        return items

    def _blast_radius(self) -> Item:
        if self.scan is None:
            return Item("Blast radius: ...")
        scan = self.scan
        found, keys = count(len(scan.findings), "finding"), count(len(scan.looked_for), "key")
        incomplete = "" if scan.complete else ", INCOMPLETE"
        text = (
            f"Blast radius: {found} of the scan of {iso_utc(scan.scanned_at)} for {keys}, in {scan.scope}{incomplete}"
        )
        tells = scan.scanned_at >= self.since and scan.scope is not Scope.STAGED and bool(scan.looked_for)
        return Item(text, done=scan.complete and tells)

    def _of(self, event: Event) -> list[Record]:
        return [entry.record for entry in self.entries if entry.record.event is event]

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {
            "since": iso_utc(self.since),
            "until": iso_utc(self.until),
            "timeline": [entry.as_dict() for entry in self.entries],
            "check": self.report.as_dict(),
            "blast_radius": self.scan and self.scan.as_dict(),
            "steps": {name: [item.as_dict() for item in items] for name, items in self.steps.items()},
        }
