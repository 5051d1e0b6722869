"""An incident: the five steps of policy section 5, filled from what is recorded and what is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli.inputs import read_input
from robodj_secretguard.cli.options import add_command, add_group, model_of, model_used, span_of, told_model
from robodj_secretguard.cli.output import EXIT_CLEAN, Answer, document, revocation_line, status_line, tally
from robodj_secretguard.cli.recorded import checked
from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle.rotation import Step, boxes, is_replaced
from robodj_secretguard.scan.render import lines as scan_lines
from robodj_secretguard.scan.result import Scope, parse
from robodj_secretguard.shapes import Event
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import ascii_text, count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from datetime import datetime

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.report import Report
    from robodj_secretguard.scan.result import Scan
    from robodj_secretguard.shapes import Record


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
    entries: Sequence[Record]
    records: Sequence[Record]
    report: Report
    scan: Scan | None = None

    @property
    def steps(self) -> dict[str, list[Step]]:
        """The five steps of policy section 5, each with what was done and what is open."""
        return {
            "Detect": [
                Step("What was seen first, where and by whom: startup or pre-release alert, leak report, anomaly: ..."),
                Step(f"The check run for this report: {tally(self.report)}", done=True),
            ],
            "Contain": [Step("Affected runtime isolated"), Step("Processes that use the key stopped")],
            "Rotate/Revoke": [
                *self._revocations(),
                *self._rotations(),
                Step("Old versions disabled in the secret manager"),
            ],
            "Recover": [
                Step("Redeployed with updated environment secrets"),
                Step("The checks pass in this environment", done=self.report.ok),
                Step("Sessions and tokens derived from compromised keys invalidated"),
            ],
            "Post-incident": [
                Step("Timeline completed"),
                self._blast_radius(),
                Step("Corrective actions: ..."),
            ],
        }

    def _revocations(self) -> list[Step]:
        items = []
        for revoked in self._of(Event.REVOKED):
            subject = f"{revoked.subject} ({revoked.environment or 'environment not known'})"
            items.append(
                Step(f"Revoked {revoked.fingerprint}, {subject}, at {iso_utc(revoked.recorded_at)}", done=True)
            )
            replaced = is_replaced(revoked, self.records)
            items.append(Step(f"The replacement of {revoked.fingerprint} recorded as rotated", done=replaced))
        return items or [Step("Previous key versions revoked")]

    def _rotations(self) -> list[Step]:
        items = [
            Step(f"Rotated {rotated.secret} ({rotated.environment}) at {iso_utc(rotated.recorded_at)}", done=True)
            for rotated in self._of(Event.ROTATED)
        ]
        items = items or [Step("Emergency rotation recorded")]
        finished = {(each.fingerprint, each.environment) for each in self.records if each.event is Event.ROTATED}
        begun = {(each.fingerprint, each.environment) for each in self._of(Event.ROTATION_INCOMPLETE)}
        if begun - finished:
            items.append(Step("The validation of each rotation that is recorded as incomplete finished"))
        return items

    def _blast_radius(self) -> Step:
        if self.scan is None:
            return Step("Blast radius: ...")
        scan = self.scan
        found, keys = count(len(scan.findings), "finding"), count(len(scan.looked_for), "key")
        incomplete = "" if scan.complete else ", INCOMPLETE"
        text = (
            f"Blast radius: {found} of the scan of {iso_utc(scan.scanned_at)} for {keys}, in {scan.scope}{incomplete}"
        )
        tells = scan.scanned_at >= self.since and scan.scope is not Scope.STAGED and bool(scan.looked_for)
        return Step(text, done=scan.complete and tells)

    def _of(self, event: Event) -> list[Record]:
        return [record for record in self.entries if record.event is event]

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


MAX_SCAN_BYTES: Final = 1 << 26

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>~|&])")


def add(commands: Commands) -> None:
    """Add the command."""
    group = add_group(commands, "incident", "Report an incident")
    parser = add_command(
        group,
        "report",
        _report,
        required=("--since",),
        options=("--until", "--operations-log", "--require-env-only", "--config-dir", "--model", "--format"),
        description="Print a Markdown document on the five steps of the incident response, filled from the operations"
        " log and a check of this moment.",
        epilog="exit status: 0 printed, 2 wrong usage",
    )
    parser.add_argument(
        "--scan", metavar="FILE", help="the blast radius: what scan --format json has written; - for a pipe"
    )


def _report(arguments: argparse.Namespace) -> Answer:
    since, until = span_of(arguments)
    report, recorded = checked(arguments, model_of(arguments))
    if since > report.checked_at:
        msg = "--since must not lie ahead"
        raise UsageError(msg)
    entries = [record for record in recorded.log.records if since <= record.recorded_at < until]
    incident = Incident(
        since, min(until, report.checked_at), entries, recorded.log.records, report, _scan(arguments.scan)
    )
    if arguments.format == "json":
        fields = {"model": model_used(arguments), "operations_log": recorded.as_dict(), **incident.as_dict()}
        result = document(ok=report.ok, **fields)
    else:
        result = _markdown(incident, recorded.worth)
    return Answer(EXIT_CLEAN, result, told_model(arguments, recorded.told))


def _scan(name: str | None) -> Scan | None:
    if name is None:
        return None
    scan = parse(read_input("--scan", name, most=MAX_SCAN_BYTES))
    if scan is None:
        msg = "--scan must be what scan --format json has written"
        raise UsageError(msg)
    return scan


def _markdown(incident: Incident, log: str) -> str:
    report = incident.report
    span = f"From {iso_utc(incident.since)} to {iso_utc(incident.until)}, without any key material."
    lines = ["# Secret incident report", "", span]
    for number, (name, items) in enumerate(incident.steps.items(), start=1):
        lines += ["", f"## {number}. {name}", "", *boxes(items)]
    lines += ["", "## Timeline", "", f"Operations log: {log}.", ""]
    if incident.entries:
        lines += ["| when | event | secret | environment | fingerprint | operator | ticket | reason |"]
        lines += ["|---|---|---|---|---|---|---|---|", *map(_row, incident.entries)]
    else:
        lines += ["Nothing is recorded of this time."]
    if incident.scan is not None:
        lines += ["", "## Blast radius", "", "```text", *scan_lines(incident.scan), "```"]
    lines += ["", "## Validation state", "", f"As checked at {iso_utc(report.checked_at)}:", "", "```text"]
    lines += [*(finding.line for finding in report.findings), *map(status_line, report.secrets)]
    lines += [revocation_line(report.revocation_list), "```"]
    return "\n".join(lines)


def _row(record: Record) -> str:
    shaped = (iso_utc(record.recorded_at), record.event, record.secret, record.environment, record.fingerprint)
    free = (record.operator, record.ticket, record.reason)
    cells = [*(cell or "" for cell in shaped), *(_escaped(cell or "") for cell in free)]
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return an operator's text as Markdown that shows it and does nothing else."""
    return _MARKDOWN.sub(r"\\\1", ascii_text(text))
