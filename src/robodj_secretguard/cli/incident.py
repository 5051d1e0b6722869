"""`incident`: the five steps of policy section 5, filled from the operations log and the check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from robodj_secretguard.cli.log import checked
from robodj_secretguard.cli.options import (
    MAX_DOCUMENT_BYTES,
    Commands,
    Request,
    add_command,
    model_of,
    read_input,
    span_of,
)
from robodj_secretguard.cli.output import EXIT_CLEAN, MODEL, Result, columns, fail, revocation_line, status_rows, tally
from robodj_secretguard.lifecycle.records import Record
from robodj_secretguard.scan.render import scan_lines
from robodj_secretguard.scan.result import parse
from robodj_secretguard.secret.texts import ascii_text, count
from robodj_secretguard.startup.variables import iso_utc

_COLUMNS: Final[tuple[str, ...]] = (
    "when",
    "event",
    "secret",
    "environment",
    "fingerprint",
    "operator",
    "ticket",
    "reason, note",
)
_REPORT: Final = """\
# Secret incident report

From {since} to {until}. This report has no key material.

## 1. Detect

- First sign (startup alert, gate alert, leak report, anomaly), where, and who saw it: ...
- Check run for this report: {tally}

## 2. Contain

- Affected runtime isolated: ...
- Processes that use the key stopped: ...

## 3. Rotate/Revoke

- Previous key versions revoked, as in the timeline: ...
- Emergency rotation recorded, as in the timeline: ...
- Old versions disabled in the secret manager: ...

## 4. Recover

- Redeployed with updated environment secrets: ...
- Sessions and tokens derived from compromised keys invalidated: ...

## 5. Post-incident

- Timeline completed: ...
- Blast radius: {blast_radius}
- Corrective actions: ...

## Timeline

Operations log: {log}.

{timeline}
{evidence}
## Validation state

As checked at {checked_at}:

```text
{state}
```"""


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "incident",
        _report,
        required=("--since",),
        options=("--until", "--from", "--operations-log", "--require-env-only", "--config-dir", "--model", "--format"),
        own={
            "--scan": {
                "metavar": "FILE",
                "help": "the output of scan --format json, for the blast radius (- for stdin)",
            }
        },
        kind="incident",
        description="Print an incident report in Markdown. It has the five steps of the incident response, filled from"
        " the operations log and a check.",
        examples=("incident --since 2026-11-01", "incident --since 2026-11-01 --from directory:/run/secrets"),
        statuses={"0": "printed", "2": "usage error"},
    )


def _report(request: Request, *, since: datetime | None, until: datetime | None, scan: str | None) -> Result:
    since, until = span_of(since, until)
    report, recorded = checked(request, model_of(request))
    if since > report.checked_at:
        fail("--since is in the future; use the time when the incident began")
    within = [record for record in recorded.records if since <= record.recorded_at < until]
    found = None if scan is None else parse(read_input("--scan", scan, most=MAX_DOCUMENT_BYTES))
    if scan is not None and found is None:
        fail("--scan: the file is not a scan; use the output of scan --format json")
    until = min(until, report.checked_at)
    evidence = ["", "## Blast radius", "", "```text", *scan_lines(found), "```"] if found else []
    text = _REPORT.format(
        since=iso_utc(since),
        until=iso_utc(until),
        tally=tally(report),
        blast_radius=(
            f"{count(len(found.findings), 'finding')} (scan of {found.scope} at {iso_utc(found.scanned_at)}"
            f"{'' if found.complete else ', INCOMPLETE'}); ..."
            if found
            else "..."
        ),
        log=recorded.verdict,
        timeline="\n".join(_timeline(within)),
        evidence="\n".join([*evidence, ""]),
        checked_at=iso_utc(report.checked_at),
        state="\n".join(
            [
                columns(status_rows(report)),
                *(finding.text for finding in report.findings),
                revocation_line(report.revocation_list),
            ]
        ),
    )
    return Result(
        EXIT_CLEAN,
        text.splitlines(),
        lambda: {
            "kind": "incident",
            "operations_log": recorded.as_dict(),
            "since": iso_utc(since),
            "until": iso_utc(until),
            "timeline": [record.as_dict() for record in within],
            "check": report.as_dict(),
            "blast_radius": found.as_dict() if found else None,
        },
        [MODEL, *recorded.complaint],
    )


def _timeline(records: Sequence[Record]) -> list[str]:
    """Return the records as a table in Markdown, with the operators' texts escaped."""
    if not records:
        return ["No records in this time."]
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for record in records:
        names = (record.secret or "", record.environment or "", record.fingerprint or "")
        texts = (record.operator or "", record.ticket or "", "; ".join(filter(None, (record.reason, record.note))))
        escaped = (re.sub(r"([\\`*_\[\]<>~|&])", r"\\\1", ascii_text(text)) for text in texts)
        rows.append((iso_utc(record.recorded_at), record.event, *names, *escaped))
    header, *lines = (f"| {' | '.join(row)} |" for row in rows)
    return [header, "|---" * len(_COLUMNS) + "|", *lines]
