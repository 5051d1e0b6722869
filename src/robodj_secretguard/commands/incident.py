"""`incident`: the report of an incident (policy section 5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from robodj_secretguard.commands.answer import EXIT_CLEAN, Answer, UsageError, document
from robodj_secretguard.commands.inputs import read_input
from robodj_secretguard.commands.options import add_command, add_group, model_of, model_used, span_of, told_model
from robodj_secretguard.commands.recorded import checked
from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle.checklist import boxes
from robodj_secretguard.lifecycle.incident import Incident
from robodj_secretguard.lifecycle.texts import ascii_text
from robodj_secretguard.render import revocation_line, status_line
from robodj_secretguard.scan.result import parse

if TYPE_CHECKING:
    import argparse

    from robodj_secretguard.commands.options import Commands
    from robodj_secretguard.lifecycle.operations_log import Entry
    from robodj_secretguard.scan.result import Scan

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
    entries = [entry for entry in recorded.log.entries if since <= entry.record.recorded_at < until]
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
        lines += ["", "## Blast radius", "", "```text", *incident.scan.lines, "```"]
    lines += ["", "## Validation state", "", f"As checked at {iso_utc(report.checked_at)}:", "", "```text"]
    lines += [*(finding.line for finding in report.findings), *map(status_line, report.secrets)]
    lines += [revocation_line(report.revocation_list), "```"]
    return "\n".join(lines)


def _row(entry: Entry) -> str:
    record = entry.record
    shaped = (iso_utc(record.recorded_at), record.event, record.secret, record.environment, record.fingerprint)
    free = (record.operator, record.ticket, record.reason)
    cells = [*(cell or "" for cell in shaped), *(_escaped(cell or "") for cell in free)]
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return an operator's text as Markdown that shows it and does nothing else."""
    return _MARKDOWN.sub(r"\\\1", ascii_text(text))
