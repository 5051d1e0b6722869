"""`incident`: the five steps of the incident response, filled in from the log and the check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from command_line import NAMED_MODEL, OTHER, Machine, fingerprint_of, in_project, rotated
from conftest import NOW, V1, V2, document_of, good_keys, marker
from markdown_it import MarkdownIt

from robodj_secretguard import check
from robodj_secretguard.lifecycle.records import Record, draft

HOUR = timedelta(hours=1)
NEW, OLD = (fingerprint_of(good_keys()[V1]) for _ in range(2))


def revoked(at: datetime, fingerprint: str, **fields: Any) -> Record:
    """Return the record of a revocation, by default of `secret.key` in `prod`."""
    fields = {"secret": "secret.key", "environment": "prod", "reason": "leaked"} | fields
    return replace(draft("revoked", fingerprint=fingerprint, **fields), recorded_at=at)


def report(machine: Machine, *arguments: str, since: Sequence[str] = ("--since", "2026-12-01"), err: str = "") -> str:
    """Return the incident report."""
    ran = machine.call("incident", *since, *arguments)
    assert (ran.status, ran.err) == (0, err)
    return ran.out


def refused(machine: Machine, *arguments: str, why: str) -> None:
    """Assert that the arguments are a usage error."""
    ran = machine.call("incident", *arguments)
    assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {why}\n")


def items(text: str, step: str) -> list[str]:
    """Return the items of a step."""
    return re.findall(r"^- (.*)$", text.partition(f". {step}\n")[2].partition("\n## ")[0], re.MULTILINE)


def test_document(machine: Machine) -> None:
    """The report has the five steps, the timeline and the result of the check."""
    *_, last = machine.record(
        rotated(NOW - 900 * HOUR, OLD),
        revoked(NOW - 3 * HOUR, OLD, operator="Ada", ticket="SEC-1"),
        rotated(NOW - 2 * HOUR, NEW, secret=OTHER, startup="not-done"),
        rotated(NOW - 1 * HOUR, machine.fingerprint()),
    )
    machine.write("revoked.fingerprints", OLD)
    machine.environ.update({V2: "changeme", f"{V1}_EXPIRES_AT": marker(timedelta(days=3))})
    gap = " " * (len(OLD) - len("FINGERPRINT") + 2)
    first, second = check(environ=machine.environ, config_dir=machine.config, now=NOW).findings
    assert (
        report(machine)
        == f"""\
# Secret incident report

From 2026-12-01T00:00:00Z to 2026-12-01T12:00:00Z. This report has no key material.

## 1. Detect

- First sign (startup alert, gate alert, leak report, anomaly), where, and who saw it: ...
- Check run for this report: 1 alert, 1 warning

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

Operations log: verifies, last record {last.hash}.

```text
#  WHEN                  EVENT                SECRET         ENVIRONMENT  OPERATOR  TICKET  FINGERPRINT{gap}WHY
2  2026-12-01T09:00:00Z  revoked              secret.key     prod         Ada       SEC-1   {OLD}  leaked
3  2026-12-01T10:00:00Z  rotation-incomplete  secret_v2.key  prod         Ada       -       {NEW}  -
4  2026-12-01T11:00:00Z  rotated              secret.key     prod         Ada       -       {machine.fingerprint()}  -
```

## Validation state

As checked at 2026-12-01T12:00:00Z:

```text
      SECRET         STATE           FROM  EXPIRES     LEFT  OWNER
warn  secret.key     present         env   2026-12-04  3d    Security Operations
FAIL  secret_v2.key  invalid-format  env   no marker   -     Security Operations
{in_project(first.text)}
{second.lines[0]}
  fix: deliver the key {NEW}; if it is lost, run robodj-secretguard rotate plan secret_v2.key
revocation list: revoked.fingerprints in the config directory, 1 entry
```
"""
    )


def test_json(machine: Machine) -> None:
    """The JSON document has the same content as the text."""
    *_, last = machine.record(rotated(NOW - 900 * HOUR, OLD), revoked(NOW - HOUR, OLD, secret=None, environment=None))
    document = document_of(report(machine, "--format", "json"))
    assert document["check"]["findings"][0]["check"] == "revocation-list"  # a recorded revocation is not on the list
    assert {name: value for name, value in document.items() if name != "check"} == {
        "schema": 1,
        "kind": "incident",
        "ok": True,
        "model": NAMED_MODEL,
        "operations_log": {"found": True, "last_hash": last.hash, "defects": []},
        "since": "2026-12-01T00:00:00Z",
        "until": "2026-12-01T12:00:00Z",
        "timeline": [last.as_dict()],
    }


def test_damaged_log(machine: Machine) -> None:
    """The readable records of a damaged log are shown. The report and stderr say that the log does not verify."""
    *_, last = machine.record(rotated(NOW - 2 * HOUR, OLD), rotated(NOW - HOUR, NEW))
    machine.log.write_bytes(machine.log.read_bytes().replace(b'"Ada"', b'"Eve"', 1))
    why = "line 2 does not continue line 1: a line was changed or removed"
    err = f"robodj-secretguard: the operations log config/logs/secret_operations.jsonl does not verify: {why}\n"
    text = report(machine, err=err)
    assert (f"\nOperations log: does not verify: {why}.\n" in text, text.count("  Eve  ")) == (True, 1)
    document = document_of(report(machine, "--format", "json", err=err))
    assert document["operations_log"] == {"found": True, "last_hash": last.hash, "defects": [why]}


def test_from(machine: Machine) -> None:
    """In a shell without the keys, the check reads them from the source of `--from`."""
    keys = {**machine.environ}
    machine.environ.clear()
    for name, key in keys.items():
        machine.put(f"delivered/{name}", key)
    text = report(machine, "--from", "directory:delivered")
    assert items(text, "Detect")[1] == "Check run for this report: no alerts, no warnings"


@pytest.mark.parametrize(("options", "tally"), [((), "1 warning"), (("--require-env-only",), "2 alerts")])
def test_check_has_the_options_of_the_gate(machine: Machine, options: tuple[str, ...], tally: str) -> None:
    """The check has the gate's options. Its result is an item of the step Detect."""
    machine.write("secret.key", machine.environ.pop(V1))
    text = report(machine, *options)
    assert items(text, "Detect")[1] == f"Check run for this report: {tally}"
    assert document_of(report(machine, "--format", "json", *options))["check"]["ok"] is (not options)


@pytest.mark.parametrize(
    ("span", "numbers", "text"),
    [
        (
            ("--since", "0001-01-01", "--until", "2026-12-01"),
            [1, 2],
            "From 0001-01-01T00:00:00Z to 2026-12-01T00:00:00Z",
        ),
        (
            ("--since", "2026-12-01", "--until", "9999-12-31"),
            [3, 4],
            "From 2026-12-01T00:00:00Z to 2026-12-01T12:00:00Z",
        ),
        (("--since", "2026-11-01", "--until", "2026-11-02"), [], "From 2026-11-01T00:00:00Z to 2026-11-02T00:00:00Z"),
    ],
    ids=range(3),
)
def test_time(machine: Machine, span: tuple[str, ...], numbers: list[int], text: str) -> None:
    """The timeline has the records from `--since` to before `--until` (default: now). The report names that time."""
    midnight = datetime.fromisoformat("2026-12-01T00:00Z")
    machine.record(*(rotated(at, NEW) for at in (midnight - 999 * HOUR, midnight - 12 * HOUR, midnight, NOW)))
    document = report(machine, since=span)
    records = document_of(report(machine, "--format", "json", since=span))["timeline"]
    assert [record["sequence"] for record in records] == numbers
    assert len(re.findall(r"^[0-9]+  [0-9]{4}-.*$", document, re.MULTILINE)) == len(numbers)
    assert ("\nNo records in this time.\n" in document) is (not numbers)
    assert document.splitlines()[2] == f"{text}. This report has no key material."


def test_invalid_time(machine: Machine) -> None:
    """`--since` is required, and must not be in the future: such a report would always be empty."""
    refused(
        machine, "--since", "2026-12-01T12:00:01Z", why="--since is in the future; use the time when the incident began"
    )
    see = "; see robodj-secretguard incident --help"
    refused(machine, why=f"incident needs --since TIME{see}")


def test_an_operators_text_forms_no_markdown(machine: Machine) -> None:
    """A Markdown reader shows an operator's texts literally. Characters outside ASCII are escaped."""
    text = "```caf\N{LATIN SMALL LETTER E WITH ACUTE}``` <script> [a](b) *c* &lt; ~~~"
    machine.record(rotated(NOW - 2 * HOUR, NEW, operator=text, note=text), revoked(NOW - HOUR, OLD, reason=text))
    document = report(machine)
    assert document.isascii()
    timeline, _ = [each for each in MarkdownIt("commonmark").parse(document) if each.type == "fence"]
    assert timeline.content.count(text.replace("\N{LATIN SMALL LETTER E WITH ACUTE}", "\\xe9")) == 3
