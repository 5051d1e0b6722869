"""`incident`: the five steps of policy section 5, filled from the operations log and the check."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli.log import checked, replaced_key
from robodj_secretguard.cli.options import add_command, add_group, fleet_of, model_of, read_input, span_of
from robodj_secretguard.cli.output import EXIT_CLEAN, MODEL, Result, columns, fail, revocation_line, status_rows, tally
from robodj_secretguard.fleet.verdict import NONE_ON, fleet_as_dict, judge_of, not_ready, why_unknown
from robodj_secretguard.lifecycle.records import Event
from robodj_secretguard.lifecycle.revocation import Step, boxes
from robodj_secretguard.lifecycle.rotation import is_replaced
from robodj_secretguard.scan.render import lines as scan_lines
from robodj_secretguard.scan.result import Scope, parse
from robodj_secretguard.secret.texts import ascii_text, count
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from robodj_secretguard.cli.options import Commands, Request
    from robodj_secretguard.fleet.verdict import Fleet, Use
    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.scan.result import Scan

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
        options=("--until", "--fleet", "--operations-log", "--require-env-only", "--config-dir", "--model", "--format"),
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


def _report(
    request: Request, *, since: datetime | None, until: datetime | None, scan: str | None, fleet: str | None
) -> Result:
    since, until = span_of(since, until)
    report, recorded = checked(request, model_of(request))
    if since > report.checked_at:
        fail("--since is in the future; use the time when the incident began")
    within = [record for record in recorded.records if since <= record.recorded_at < until]
    found = None if scan is None else parse(read_input("--scan", scan, most=MAX_SCAN_BYTES))
    if scan is not None and found is None:
        fail("--scan: the file is not a scan; use the output of scan --format json")
    evidence = fleet_of(fleet)
    affected = {each.fingerprint: each.secret for each in within if each.event is Event.REVOKED and each.fingerprint}
    until = min(until, report.checked_at)
    steps = {
        "Detect": [
            Step("First sign (startup alert, gate alert, leak report, anomaly), where, and who saw it: ..."),
            Step(f"Check run for this report: {tally(report)}", done=True),
        ],
        "Contain": [Step("Affected runtime isolated"), _stopped(evidence, affected, report.checked_at)],
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
        "Post-incident": [
            Step("Timeline completed"),
            _blast_radius(found, evidence, affected, since),
            Step("Corrective actions: ..."),
        ],
    }
    span = f"From {iso_utc(since)} to {iso_utc(until)}. This report has no key material."
    lines = ["# Secret incident report", "", span]
    for number, (name, items) in enumerate(steps.items(), start=1):
        lines += ["", f"## {number}. {name}", "", *boxes(items)]
    lines += ["", "## Timeline", "", f"Operations log: {recorded.verdict}.", "", *_timeline(within)]
    if found is not None:
        lines += ["", "## Blast radius", "", "```text", *scan_lines(found), "```"]
    if evidence is not None:
        lines += ["", "## Workloads on the affected keys", "", *_workloads(evidence, affected)]
    lines += ["", "## Validation state", "", f"As checked at {iso_utc(report.checked_at)}:", "", "```text"]
    lines += [columns(status_rows(report)), *(finding.text for finding in report.findings)]
    lines += [revocation_line(report.revocation_list), "```"]

    def document() -> dict[str, Any]:
        return {
            "kind": "incident",
            "operations_log": recorded.as_dict(),
            "since": iso_utc(since),
            "until": iso_utc(until),
            "timeline": [record.as_dict() for record in within],
            "check": report.as_dict(),
            "blast_radius": found.as_dict() if found else None,
            "fleet": fleet_as_dict(evidence) if evidence else None,
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


def _covers(fleet: Fleet, affected: Mapping[str, str | None]) -> bool:
    """Check whether instances were asked for the secret of each affected key."""
    names = {name for each in fleet.instances for name in each.secrets}
    return bool(names) and names.issuperset(affected.values())


def _stopped(fleet: Fleet | None, affected: Mapping[str, str | None], now: datetime) -> Step:
    """Return the step that nothing uses an affected key. Young evidence of every instance proves it."""
    text = "Processes that use the key stopped"
    if fleet is None or not affected:
        return Step(text)
    past = now - timedelta(seconds=fleet.max_skew)
    judges = [{name: judge_of(NONE_ON, None, key, past) for name in fleet.expected} for key in affected]
    failing = sorted({who for of_key in judges for who, _, _ in not_ready(fleet, of_key, now)})
    left = f"; still to do, or unknown: {', '.join(failing)}" if failing else ""
    return Step(
        f"{text} (fleet status at {iso_utc(fleet.checked_at)}{left})", done=_covers(fleet, affected) and not failing
    )


def _since(use: Use) -> str:
    return f" from {iso_utc(use.since)}" if use.since else ""


def _workloads(fleet: Fleet, affected: Collection[str]) -> Iterator[str]:
    """Yield the instances that used an affected key, as a list."""
    yield f"As of {iso_utc(fleet.checked_at)}, from events of the last {fleet.max_age + fleet.max_skew} seconds:"
    yield ""
    found = [
        f"- {each.name}: {secret}: `{key}`{_since(use)} until {iso_utc(use.latest_at)}"
        for each in fleet.instances
        for use in each.uses
        for secret, keys in use.keys.items()
        for key in affected
        if key in {keys.current, keys.next, keys.previous}
    ]
    unproven = [f"- {each.name}: {why_unknown(each)}" for each in fleet.instances if not fleet.is_known(each)]
    none = "No instance used them." if affected else "No revocation is recorded in this time."
    yield from [*found, *unproven] or [none]


def _blast_radius(scan: Scan | None, fleet: Fleet | None, affected: Mapping[str, str | None], since: datetime) -> Step:
    """Return the step of the blast radius. It is complete only with a scan and with evidence of every instance."""
    if scan is None:
        return Step("Blast radius: ...")
    found, keys = count(len(scan.findings), "finding"), count(len(scan.looked_for), "key")
    incomplete = "" if scan.complete else ", INCOMPLETE"
    text = f"Blast radius: {found} (scan for {keys} at {iso_utc(scan.scanned_at)}, scope {scan.scope}{incomplete})"
    is_evidence = scan.scanned_at >= since and scan.scope is not Scope.STAGED and bool(scan.looked_for)
    if fleet is None:
        return Step(f"{text}; the workloads are missing (--fleet)")
    unproven = sum(not fleet.is_known(each) for each in fleet.instances)
    text += f"; {count(len(fleet.instances), 'workload')} at {iso_utc(fleet.checked_at)}"
    text += f", {unproven} of them unknown" if unproven else ""
    is_whole = fleet.complete and fleet.checked_at >= since and _covers(fleet, affected) and not unproven
    return Step(text, done=scan.complete and is_evidence and is_whole)


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
