"""`incident`: the five steps of policy section 5, filled from the operations log and the check."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.log import checked, replaced_key
from robodj_secretguard.cli.options import add_command, add_group, model_of, read_input, span_of
from robodj_secretguard.cli.output import EXIT_CLEAN, MODEL, Result, columns, fail, revocation_line, status_rows, tally
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

    from robodj_secretguard import kinds
    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.scan.result import Scan
    from robodj_secretguard.shapes import Record

MAX_SCAN_BYTES: Final = 1 << 26

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>~|&])")
_HEADER: Final = ("when", "event", "secret", "environment", "fingerprint", "operator", "ticket", "reason")


def add(commands: Commands) -> None:
    """Add the command."""
    group = add_group(commands, "incident", "Write an incident report")
    add_command(
        group,
        "report",
        _report,
        required=("--since",),
        options=("--until", "--operations-log", "--require-env-only", "--config-dir", "--model", "--format"),
        own={
            "--scan": {
                "metavar": "FILE",
                "help": "the output of scan --format json, for the blast radius (- for stdin)",
            }
        },
        description="Print an incident report in Markdown. It has the five steps of the incident response, filled from"
        " the operations log and a check.",
        examples=("incident report --since 2026-11-01",),
        statuses={"0": "printed", "2": "usage error"},
    )


def _report(arguments: argparse.Namespace) -> Result:
    since, until = span_of(arguments)
    report, recorded = checked(arguments, model_of(arguments))
    if since > report.checked_at:
        fail("--since is in the future; use the time when the incident began")
    within = [record for record in recorded.records if since <= record.recorded_at < until]
    scan = None if arguments.scan is None else parse(read_input("--scan", arguments.scan, most=MAX_SCAN_BYTES))
    if arguments.scan is not None and scan is None:
        fail("--scan: the file is not a scan; use the output of scan --format json")
    until = min(until, report.checked_at)
    steps = {
        "Detect": [
            Step("First sign (startup alert, gate alert, leak report, anomaly), where, and who saw it: ..."),
            Step(f"Check run for this report: {tally(report)}", done=True),
        ],
        "Contain": [Step("Affected runtime isolated"), Step("Processes that use the key stopped")],
        "Rotate/Revoke": [
            *_revocations(within, recorded.records),
            *_rotations(within, recorded.records),
            Step("Old versions disabled in the secret manager"),
        ],
        "Recover": [
            Step("Redeployed with updated environment secrets"),
            Step("The checks pass in this environment", done=report.ok),
            Step("Sessions and tokens derived from compromised keys invalidated"),
        ],
        "Post-incident": [Step("Timeline completed"), _blast_radius(scan, since), Step("Corrective actions: ...")],
    }
    span = f"From {iso_utc(since)} to {iso_utc(until)}. This report has no key material."
    lines = ["# Secret incident report", "", span]
    for number, (name, items) in enumerate(steps.items(), start=1):
        lines += ["", f"## {number}. {name}", "", *boxes(items)]
    lines += ["", "## Timeline", "", f"Operations log: {recorded.verdict}.", "", *_timeline(within)]
    if scan is not None:
        lines += ["", "## Blast radius", "", "```text", *scan_lines(scan), "```"]
    lines += ["", "## Validation state", "", f"As checked at {iso_utc(report.checked_at)}:", "", "```text"]
    lines += [columns(status_rows(report)), *(finding.text for finding in report.findings)]
    lines += [revocation_line(report.revocation_list), "```"]

    def document() -> kinds.Incident:
        return {
            "kind": "incident",
            "operations_log": recorded.as_dict(),
            "since": iso_utc(since),
            "until": iso_utc(until),
            "timeline": [record.as_dict() for record in within],
            "check": report.as_dict(),
            "blast_radius": scan.as_dict() if scan else None,
            "steps": {name: [item.as_dict() for item in items] for name, items in steps.items()},
        }

    return Result(EXIT_CLEAN, lines, document, [MODEL, *recorded.complaint], literal=True)


def _revocations(within: Sequence[Record], records: Sequence[Record]) -> list[Step]:
    """Return the revocations during the incident, each with its replacement."""
    items = []
    for revoked in within:
        if revoked.event is Event.REVOKED:
            whose = f"{revoked.subject} ({revoked.environment or 'unknown environment'})"
            items.append(Step(f"Revoked {revoked.fingerprint}, {whose}, at {iso_utc(revoked.recorded_at)}", done=True))
            replaced = is_replaced(revoked, records)
            items.append(Step(f"Replacement of {revoked.fingerprint} recorded", done=replaced))
    return items or [Step("Previous key versions revoked")]


def _rotations(within: Sequence[Record], records: Sequence[Record]) -> list[Step]:
    """Return the rotations during the incident, and a step if one of them is still incomplete."""
    items = [
        Step(
            f"Rotated {rotated.secret} ({rotated.environment}) at {iso_utc(rotated.recorded_at)}"
            + (f". It replaced {key}" if (key := replaced_key(rotated)) else ""),
            done=True,
        )
        for rotated in within
        if rotated.event is Event.ROTATED
    ]
    items = items or [Step("Emergency rotation recorded")]
    finished, begun = (
        {(each.secret, each.fingerprint, each.environment) for each in some if each.event is event}
        for some, event in ((records, Event.ROTATED), (within, Event.ROTATION_INCOMPLETE))
    )
    if begun - finished:
        items.append(Step("Every incomplete rotation validated and recorded"))
    return items


def _blast_radius(scan: Scan | None, since: datetime) -> Step:
    if scan is None:
        return Step("Blast radius: ...")
    found, keys = count(len(scan.findings), "finding"), count(len(scan.looked_for), "key")
    incomplete = "" if scan.complete else ", INCOMPLETE"
    text = f"Blast radius: {found} (scan for {keys} at {iso_utc(scan.scanned_at)}, scope {scan.scope}{incomplete})"
    is_evidence = scan.scanned_at >= since and scan.scope is not Scope.STAGED and bool(scan.looked_for)
    return Step(text, done=scan.complete and is_evidence)


def _timeline(records: Sequence[Record]) -> list[str]:
    if not records:
        return ["No records in this time."]
    return [_row(_HEADER), "|---" * len(_HEADER) + "|", *(_row(_cells(record)) for record in records)]


def _row(cells: Sequence[str | None]) -> str:
    return f"| {' | '.join(cell or '' for cell in cells)} |"


def _cells(record: Record) -> tuple[str | None, ...]:
    """Return the cells of a record, with the operator's texts escaped for Markdown."""
    texts = (record.operator, record.ticket, record.reason)
    free = (_MARKDOWN.sub(r"\\\1", ascii_text(text or "")) for text in texts)
    return iso_utc(record.recorded_at), record.event, record.secret, record.environment, record.fingerprint, *free
