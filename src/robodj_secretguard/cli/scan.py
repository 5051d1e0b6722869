"""`scan`: find keys where they must not be (policy sections 2 and 5). `incident`: the report of section 5."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from robodj_secretguard.cli.log import checked, find_log, record_rows
from robodj_secretguard.cli.options import (
    Commands,
    Request,
    add_command,
    given_option,
    given_set_up,
    given_sources,
    read_input,
    read_sources,
    span_of,
)
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    Result,
    columns,
    fail,
    failed_status,
    revocation_line,
    status_rows,
    tally,
)
from robodj_secretguard.scan.result import Scope, Unread, scan_as_text
from robodj_secretguard.scan.scanner import scan
from robodj_secretguard.scan.search import valid_key
from robodj_secretguard.secret.policy import LEAST_MATERIAL
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import PYPROJECT, is_free_text
from robodj_secretguard.startup.file_reader import text_of
from robodj_secretguard.startup.inputs import iso_utc
from robodj_secretguard.startup.model_option import LIBRARY_MODEL
from robodj_secretguard.startup.report import Report

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
- Blast radius, with the output of scan: ...
- Corrective actions: ...

## Timeline

Operations log: {log}.

```text
{timeline}
```

## Validation state

As checked at {checked_at}:

```text
{state}
```"""


def add(commands: Commands) -> None:
    """Add both commands."""
    add_command(
        commands,
        "incident",
        _report,
        required=("--since",),
        options=("--until", "--from", "--operations-log", "--require-env-only", "--config-dir", "--model", "--format"),
        kind="incident",
        description="Print an incident report in Markdown. It has the five steps of the incident response, filled from"
        " the operations log and a check.",
        examples=("incident --since 2026-11-01", "incident --since 2026-11-01 --from directory:/run/secrets"),
        statuses={"0": "printed", "2": "usage error"},
    )
    add_command(
        commands,
        "scan",
        _scan_places,
        options=("--from", "--operations-log", "--config-dir", "--format"),
        own={
            "paths": {"nargs": "*", "metavar": "PATH", "help": "files and directories (default: the current one)"},
            "--model": (
                "MODULE:CLASS",
                (
                    "the class that declares the secrets (default: RoboDJ's two secrets); that in pyproject.toml is"
                    " not read, since scan also searches repositories that nobody trusts"
                ),
            ),
            "--git-history": "also search every object in git, and name its commits",
            "--staged": "search only what the next commit adds or changes",
            "--fingerprints": "search by fingerprints alone (no key is needed)",
            "--keys-from": ("FILE", "also search for these keys, one on each line (- for stdin)"),
        },
        defaults={"uses_project_model": False},  # scan also reads repositories that nobody trusts
        kind="scan",
        description="Search files and git for keys. It finds the keys that are set here, and keys whose fingerprints"
        " are recorded or revoked, also in hexadecimal and in base64. It also finds assignments of the declared"
        " variables, and key files that git tracks. It prints no part of a key.",
        examples=("scan", "scan --git-history"),
        statuses={
            "0": "nothing was found",
            "1": "something was found",
            "2": "usage error, or the search is incomplete",
            "75": "the secret manager of --from did not answer in time, so the search is incomplete",
        },
    )


def _scan_places(
    request: Request,
    *,
    paths: Sequence[str],
    git_history: bool,
    staged: bool,
    fingerprints: bool,
    keys_from: str | None,
) -> Result:
    scope = _scope_of(staged=staged, git_history=git_history)
    if fingerprints and (keys_from or request.sources):
        fail("--fingerprints cannot be combined with --from or --keys-from; leave it out")
    sources = read_sources(request)
    failed = sources.failed if sources else None
    found = scan(
        request.model_class,
        paths or [os.curdir],
        scope=scope,
        by_fingerprint=fingerprints,
        keys=_keys_in(keys_from) if keys_from is not None else (),
        operations_log=find_log(request).read(),
        config_dir=request.config_dir,
        managers=sources.deliveries if sources else (),
        unread=_unread(request, failed, matters=not staged),
    )
    status = EXIT_CLEAN if found.ok else EXIT_ALERTS
    if not found.complete:
        status = failed_status(failed, EXIT_USAGE) if failed else EXIT_USAGE
    named = [word if is_free_text(word) else "SOURCE" for word in given_sources(request)]  # a path can forge a line
    options = [*named, *given_set_up(request)]
    text = scan_as_text(found, request.policies, options)
    return Result(status, [text], found.as_dict, [MODEL], bare=True)


def _scope_of(*, staged: bool, git_history: bool) -> Scope:
    """Return what is searched."""
    if staged and git_history:
        fail("--staged and --git-history cannot be combined; leave one of them out")
    if staged:
        return "staged"
    return "git-history" if git_history else "files"


def _unread(request: Request, failed: Report | None, *, matters: bool) -> Iterator[Unread]:
    """Yield a source that failed, and a model that the project names: it is not imported."""
    for alert in failed.alerts if failed else ():
        why = f"{alert.message}; {alert.remedy}"
        yield Unread("--from", why if is_free_text(why) else "a source cannot be read; run check with the same --from")
    if request.model is None and request.project_model not in {None, LIBRARY_MODEL}:
        option = " ".join(given_option("model", request.project_model))
        why = f"{PYPROJECT} names a model, which scan does not import; if you trust it, add {option}"
        yield Unread("model", why, matters)


def _keys_in(name: str) -> Sequence[SealedStr]:
    """Return the keys in the file of `--keys-from`."""
    file = text_of(read_input("--keys-from", name, most=1 << 16))
    keys = [valid_key(line, LEAST_MATERIAL) for line in file.lines]
    if file.unreadable or None in keys or not keys:
        what = f"key {[*keys, None].index(None) + 1} is invalid (comments are not counted)"
        what = f"the file {file.unreadable[0] if file.unreadable else 'has no key'}" if not keys else what
        fail(f"--keys-from: {what}; write one valid key on each line")
    return [*filter(None, keys)]


def _report(request: Request, *, since: datetime | None, until: datetime | None) -> Result:
    since, until = span_of(since, until)
    report, recorded = checked(request)
    if since > report.checked_at:
        fail("--since is in the future; use the time when the incident began")
    within = [record for record in recorded.records if since <= record.recorded_at < until]
    until = min(until, report.checked_at)
    text = _REPORT.format(
        since=iso_utc(since),
        until=iso_utc(until),
        tally=tally(report),
        log=recorded.verdict,
        timeline="\n".join(columns(record_rows(within)) if within else ["No records in this time."]),
        checked_at=iso_utc(report.checked_at),
        state="\n".join(
            [
                "\n".join(columns(status_rows(report))),
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
        },
        [MODEL, *recorded.complaint],
    )
