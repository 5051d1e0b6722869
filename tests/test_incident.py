"""`incident report`: the five steps of the incident response, filled from what is recorded and what is checked."""

from __future__ import annotations

import html
import io
import json
import os
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from command_line import DEFAULT_MODEL, OTHER, Machine, Terminal, fingerprint_of, key_as_argument, machine_at, rotated
from conftest import NOW, V1, V2, good_keys, marker
from detector import leaks
from markdown_it import MarkdownIt

from robodj_secretguard import check
from robodj_secretguard.cli.incident import MAX_SCAN_BYTES
from robodj_secretguard.shapes import Event, Proof, Record, draft

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = timedelta(hours=1)
SINCE = ("--since", "2026-12-01")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with good keys, of which nothing is recorded."""
    return machine_at(tmp_path)


def another() -> str:
    """Make the fingerprint of a key that no machine has."""
    return fingerprint_of(good_keys()[V1])


def revoked(at: datetime, fingerprint: str, **fields: Any) -> Record:
    """Return the record of a revocation: of `secret.key` in `prod`, unless said otherwise."""
    fields = {"secret": "secret.key", "environment": "prod", "reason": "leaked"} | fields
    return replace(draft(Event.REVOKED, fingerprint=fingerprint, **fields), recorded_at=at)


def report(machine: Machine, *arguments: str, since: tuple[str, ...] = SINCE, told: str = "") -> str:
    """Return the document, and make sure that this was told beside it."""
    ran = machine.call("incident", "report", *since, *arguments)
    assert (ran.status, ran.err) == (0, told)
    return ran.out


def boxes(text: str, step: str) -> list[str]:
    """Return the boxes of a step."""
    return re.findall(r"^- (\[.\] .*)$", text.partition(f". {step}\n")[2].partition("\n## ")[0], re.MULTILINE)


def timeline(machine: Machine, *arguments: str) -> list[int]:
    """Return the numbers of the records that the document has, and make sure that both forms have the same."""
    document = json.loads(report(machine, *arguments, "--format", "json", since=()))
    rows = re.findall(r"^\| [0-9]{4}-.*$", report(machine, *arguments, since=()), re.MULTILINE)
    assert len(rows) == len(document["timeline"])
    return [record["sequence"] for record in document["timeline"]]


def test_the_whole_document(machine: Machine) -> None:
    """A leaked key was revoked and replaced; the rotation of another is not finished."""
    leaked, pending = another(), another()
    *_, last = machine.record(
        rotated(NOW - 900 * HOUR, leaked),
        revoked(NOW - 3 * HOUR, leaked, operator="Ada", ticket="SEC-1"),
        rotated(NOW - 2 * HOUR, pending, secret=OTHER, startup=Proof.NOT_DONE),
        rotated(NOW - 1 * HOUR, machine.fingerprint()),
    )
    machine.write("revoked.fingerprints", leaked)
    machine.environ[V2] = "changeme"
    (alert,) = check(environ=machine.environ, config_dir=machine.config).alerts
    assert (
        report(machine)
        == f"""\
# Secret incident report

From 2026-12-01T00:00:00Z to 2026-12-01T12:00:00Z, without any key material.

## 1. Detect

- [ ] What was seen first, where and by whom: startup or pre-release alert, leak report, anomaly: ...
- [x] The check run for this report: 1 alert(s), 0 warning(s)

## 2. Contain

- [ ] Affected runtime isolated
- [ ] Processes that use the key stopped

## 3. Rotate/Revoke

- [x] Revoked {leaked}, secret.key (prod), at 2026-12-01T09:00:00Z
- [x] The replacement of {leaked} recorded as rotated
- [x] Rotated secret.key (prod) at 2026-12-01T11:00:00Z
- [ ] The validation of each rotation that is recorded as incomplete finished
- [ ] Old versions disabled in the secret manager

## 4. Recover

- [ ] Redeployed with updated environment secrets
- [ ] The checks pass in this environment
- [ ] Sessions and tokens derived from compromised keys invalidated

## 5. Post-incident

- [ ] Timeline completed
- [ ] Blast radius: ...
- [ ] Corrective actions: ...

## Timeline

Operations log: verifies, last record {last.hash}.

| when | event | secret | environment | fingerprint | operator | ticket | reason |
|---|---|---|---|---|---|---|---|
| 2026-12-01T09:00:00Z | revoked | secret.key | prod | {leaked} | Ada | SEC-1 | leaked |
| 2026-12-01T10:00:00Z | rotation-incomplete | secret_v2.key | prod | {pending} | Ada |  |  |
| 2026-12-01T11:00:00Z | rotated | secret.key | prod | {machine.fingerprint()} | Ada |  |  |

## Validation state

As checked at 2026-12-01T12:00:00Z:

```text
ALERT: secret_v2.key: placeholder: {alert.message} {alert.remedy} (environment; Security Operations)
secret.key: present (source: environment; no expiry marker)
secret_v2.key: invalid-format (source: environment; no expiry marker)
revocation list: config/revoked.fingerprints, 1 entry
```
"""
    )


def test_a_warning_is_in_the_validation_state(machine: Machine) -> None:
    """What is wrong and stops no service is in the document too."""
    machine.environ[f"{V1}_EXPIRES_AT"] = marker(timedelta(days=3))
    (warning,) = check(environ=machine.environ, config_dir=machine.config, now=NOW).warnings
    assert f"```text\n{warning.line}\nsecret.key: present " in report(machine)


def test_json(machine: Machine) -> None:
    """The same in one document."""
    *_, last = machine.record(
        rotated(NOW - 900 * HOUR, another()), revoked(NOW - HOUR, another(), secret=None, environment=None)
    )
    document = json.loads(report(machine, "--format", "json"))
    assert document["check"]["findings"][0]["check"] == "revocation-list"  # recorded, and not listed
    assert {name: value for name, value in document.items() if name not in {"steps", "check"}} == {
        "schema": 1,
        "ok": False,
        "model": DEFAULT_MODEL,
        "operations_log": {"found": True, "last_hash": last.hash, "defects": []},
        "since": "2026-12-01T00:00:00Z",
        "until": "2026-12-01T12:00:00Z",
        "timeline": [last.as_dict()],
        "blast_radius": None,
    }
    text = report(machine)
    assert list(document["steps"]) == ["Detect", "Contain", "Rotate/Revoke", "Recover", "Post-incident"]
    for name, items in document["steps"].items():
        assert [f"[{'x' if item['done'] else ' '}] {item['text']}" for item in items] == boxes(text, name)


class TestBoxes:
    """Only what the program has seen is checked."""

    def test_nothing_is_recorded(self, machine: Machine) -> None:
        """What is to be done is said, with its command."""
        assert boxes(report(machine), "Rotate/Revoke") == [
            "[ ] Previous key versions revoked",
            "[ ] Emergency rotation recorded",
            "[ ] Old versions disabled in the secret manager",
        ]

    @pytest.mark.parametrize(("value", "alerts", "box"), [("KEY", 0, "[x]"), ("changeme", 1, "[ ]"), ("", 1, "[ ]")])
    def test_the_check(self, machine: Machine, value: str, alerts: int, box: str) -> None:
        """Its outcome at this moment is both what was detected and whether it is recovered from."""
        machine.environ[V1] = machine.environ[V1] if value == "KEY" else value
        text = report(machine)
        assert boxes(text, "Detect")[1] == f"[x] The check run for this report: {alerts} alert(s), 0 warning(s)"
        assert boxes(text, "Recover")[1] == f"{box} The checks pass in this environment"
        assert json.loads(report(machine, "--format", "json"))["ok"] is (alerts == 0)

    def test_the_options_of_the_check(self, machine: Machine) -> None:
        """It is the gate's, which may rule files out."""
        machine.write("secret.key", machine.environ.pop(V1))
        states = [report(machine, *options).splitlines()[-4:] for options in ((), ("--require-env-only",))]
        assert "secret.key: present (source: file:config/secret.key; no expiry marker)" in states[0]
        assert "secret.key: missing (source: none; no expiry marker)" in states[1]

    @pytest.mark.parametrize(
        ("records", "replaced"),
        [
            (lambda old, _: [revoked(NOW - 2 * HOUR, old)], " "),
            (lambda old, new: [revoked(NOW - 2 * HOUR, old), rotated(NOW - HOUR, new)], "x"),
            (lambda old, new: [revoked(NOW - 2 * HOUR, old), rotated(NOW - HOUR, new, environment="dev")], " "),
            (lambda old, new: [revoked(NOW - 2 * HOUR, old), rotated(NOW - HOUR, new, secret=OTHER)], " "),
            (lambda old, new: [revoked(NOW - 2 * HOUR, old), rotated(NOW - HOUR, new, startup=Proof.NOT_DONE)], " "),
            (lambda old, new: [rotated(NOW - 2 * HOUR, new), revoked(NOW - HOUR, old)], "x"),
            (lambda old, _: [rotated(NOW - 2 * HOUR, old), revoked(NOW - HOUR, old)], " "),
        ],
        ids=["not-yet", "rotated", "elsewhere", "another-secret", "incomplete", "rotated-before", "itself"],
    )
    def test_a_revoked_key(self, machine: Machine, records: Callable[[str, str], list[Record]], replaced: str) -> None:
        """It is named, and whether its replacement is recorded: another key of its secret and environment."""
        old = another()
        machine.record(*records(old, machine.fingerprint()))
        found = boxes(report(machine), "Rotate/Revoke")
        assert any(box.startswith(f"[x] Revoked {old}, secret.key (prod), at 2026-12-01T1") for box in found)
        assert f"[{replaced}] The replacement of {old} recorded as rotated" in found

    def test_a_replacement_that_is_revoked_itself(self, machine: Machine) -> None:
        """It replaces nothing any more."""
        first, second = another(), another()
        fields = {"secret": "secret.key", "environment": "prod"}
        machine.record(
            rotated(NOW - 4 * HOUR, first),
            rotated(NOW - 3 * HOUR, second),
            *(
                replace(draft(Event.REVOKED, fingerprint=each, **fields), recorded_at=NOW - ago * HOUR)
                for each, ago in ((first, 2), (second, 1))
            ),
        )
        ran = machine.call("incident", "report", "--since", "2026-11-30")
        assert [line[:5] for line in ran.out.splitlines() if "The replacement of" in line] == ["- [ ]"] * 2

    @pytest.mark.parametrize("at", [NOW - 900 * HOUR, NOW - HOUR], ids=["before", "after"])
    def test_a_replacement_outside_the_span(self, machine: Machine, at: datetime) -> None:
        """It counts, whenever it was recorded; it is not in the timeline."""
        old, span = another(), ("--since", "2026-12-01", "--until", "2026-12-01T10:30Z")
        records = [rotated(NOW - 901 * HOUR, old), revoked(NOW - 2 * HOUR, old), rotated(at, machine.fingerprint())]
        machine.record(*sorted(records, key=lambda record: record.recorded_at))
        assert boxes(report(machine, since=span), "Rotate/Revoke")[:3] == [
            f"[x] Revoked {old}, secret.key (prod), at 2026-12-01T10:00:00Z",
            f"[x] The replacement of {old} recorded as rotated",
            "[ ] Emergency rotation recorded",
        ]
        document = json.loads(report(machine, "--format", "json", since=span))
        assert [record["event"] for record in document["timeline"]] == ["revoked"]

    def test_a_rotation_that_is_finished_after_the_span(self, machine: Machine) -> None:
        """It is finished, whenever that was recorded, and in its own environment alone."""
        key, span = machine.fingerprint(), ("--since", "2026-12-01", "--until", "2026-12-01T10:30Z")
        begun = rotated(NOW - 2 * HOUR, key, startup=Proof.NOT_DONE)
        is_open = "[ ] The validation of each rotation that is recorded as incomplete finished"
        machine.record(begun, rotated(NOW - HOUR, key, environment="dev"))
        assert is_open in boxes(report(machine, since=span), "Rotate/Revoke")
        machine.record(begun, rotated(NOW - HOUR, key))
        assert boxes(report(machine, since=span), "Rotate/Revoke") == [
            "[ ] Previous key versions revoked",
            "[ ] Emergency rotation recorded",
            "[ ] Old versions disabled in the secret manager",
        ]

    def test_a_revoked_key_of_which_nothing_is_known(self, machine: Machine) -> None:
        """It is said that nothing is."""
        old = another()
        machine.record(revoked(NOW - HOUR, old, secret=None, environment=None))
        assert boxes(report(machine), "Rotate/Revoke")[:2] == [
            f"[x] Revoked {old}, a secret that is not known (environment not known), at 2026-12-01T11:00:00Z",
            f"[ ] The replacement of {old} recorded as rotated",
        ]

    @pytest.mark.parametrize(
        ("later", "is_open"), [({}, False), ({"environment": "dev"}, True), ({"startup": Proof.NOT_DONE}, True)]
    )
    def test_a_rotation_that_was_incomplete(self, machine: Machine, later: dict[str, Any], is_open: bool) -> None:  # noqa: FBT001
        """It is open until it is recorded as finished, of the same key in the same environment."""
        key = machine.fingerprint()
        machine.record(rotated(NOW - 2 * HOUR, key, startup=Proof.NOT_DONE), rotated(NOW - HOUR, key, **later))
        found = boxes(report(machine), "Rotate/Revoke")
        assert ("[ ] The validation of each rotation that is recorded as incomplete finished" in found) is is_open


class TestTime:
    """The records of a time, which is given as dates or as instants."""

    @pytest.mark.parametrize(
        ("arguments", "numbers"),
        [
            (("--since", "2026-11-30"), [2, 3, 4]),
            (("--since", "2026-12-01"), [3, 4]),
            (("--since", "2026-12-01T00:00Z"), [3, 4]),
            (("--since", "2026-12-01T00:00:00.5Z"), [4]),
            (("--since", "2026-12-01T01:00+01:00"), [3, 4]),
            (("--since", "0001-01-01"), [1, 2, 3, 4]),
            (("--since", "2026-01-01", "--until", "2026-12-01T00:00:01Z"), [1, 2, 3]),
            (("--since", "2026-01-01", "--until", "2026-11-30"), [1]),
            (("--since", "2026-01-01", "--until", "9999-12-31T23:59Z"), [1, 2, 3, 4]),
            (("--since", "2026-11-30T01:00Z", "--until", "2026-11-30T02:00Z"), []),
        ],
    )
    def test_which_records(self, machine: Machine, arguments: tuple[str, ...], numbers: list[int]) -> None:
        """Those from its beginning on; a date is its first instant in UTC; a record of this second is one of them."""
        days = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 30, 12, tzinfo=UTC))
        machine.record(*(rotated(at, another()) for at in (*days, datetime(2026, 12, 1, tzinfo=UTC), NOW)))
        assert timeline(machine, *arguments) == numbers

    def test_its_end_is_not_in_it(self, machine: Machine) -> None:
        """`--until` is before then, as its help says: no record stands in the reports of two days."""
        machine.record(rotated(datetime(2026, 12, 1, tzinfo=UTC), another()))
        assert timeline(machine, "--since", "2026-12-01") == [1]
        assert timeline(machine, "--since", "2026-11-30", "--until", "2026-12-01") == []

    @pytest.mark.parametrize(
        ("arguments", "span"),
        [
            (("--since", "2026-11-30"), "From 2026-11-30T00:00:00Z to 2026-12-01T12:00:00Z"),
            (("--since", "2026-11-30", "--until", "2099-01-01"), "From 2026-11-30T00:00:00Z to 2026-12-01T12:00:00Z"),
            (
                ("--since", "2026-11-30T10:00-05:30", "--until", "2026-12-01"),
                "From 2026-11-30T15:30:00Z to 2026-12-01T00:00:00Z",
            ),
        ],
    )
    def test_it_is_said(self, machine: Machine, arguments: tuple[str, ...], span: str) -> None:
        """In UTC, and no later than now."""
        text = report(machine, *arguments, since=())
        assert text.splitlines()[2] == f"{span}, without any key material."
        assert "\nNothing is recorded of this time.\n" in text

    @pytest.mark.parametrize("option", ["--since", "--until"])
    @pytest.mark.parametrize(
        "time",
        [
            "yesterday",
            "",
            "2026-11-31",
            "2026-11",
            "20261130",
            "2026-11-30T25:00Z",
            "2026-11-30T10:00",
            "2026-11-30Z",
            "2026-11-30T10:00Z\n",
            "0001-01-01T00:00+01:00",
            key_as_argument(),
        ],
        ids=range(11),
    )
    def test_what_is_no_time_is_not_echoed(self, machine: Machine, option: str, time: str) -> None:
        """It may be a key."""
        given = {"--since": "2026-11-30"} | {option: time}
        ran = machine.call("incident", "report", *(word for each in given.items() for word in each))
        said = f"{option} must be a time like 2027-01-31T08:00:00Z, or a date like 2027-01-31"
        assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {said}\n")

    @pytest.mark.parametrize("until", ["2026-11-29", "2026-11-30", "2026-11-30T00:00:00Z"])
    def test_the_wrong_way_round(self, machine: Machine, until: str) -> None:
        """A time that ends where it begins, or before, has no record that could be missed."""
        ran = machine.call("incident", "report", "--since", "2026-11-30", "--until", until)
        assert (ran.status, ran.out, ran.err) == (2, "", "robodj-secretguard: --until must be later than --since\n")

    def test_a_time_to_come(self, machine: Machine) -> None:
        """Nor has one that has not begun: a report of it would say that nothing happened."""
        ran = machine.call("incident", "report", "--since", "2027-12-01")
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)

    def test_it_must_be_given(self, machine: Machine) -> None:
        """A report is of an incident, which has begun some time."""
        ran = machine.call("incident", "report")
        said = "the following arguments are required: --since; see robodj-secretguard incident report --help"
        assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {said}\n")


class TestOperatorsText:
    """What operators have said is shown and does nothing else, wherever the document is read."""

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (text, text)
            for text in (
                "a | b || c",
                "a \\| b",
                "back\\slash \\\\ \\",
                "[a link](https://example.org) and ![an image](https://example.org/a.png)",
                "[a link][1] <https://example.org> <a@example.org>",
                "<script>alert(1)</script><img src=x onerror=alert(1)><!-- gone -->",
                "&lt;b&gt; &#124; &amp;",
                "`code` ``two`` *a* **b** _a_ __b__ ~a~ ~~b~~",
                "snake_case_name and 2 * 3 * 4",
                "# no heading",
                "- [x] no box",
                "``` no fence",
                "--- | ---",
                "1. first + second = third",
                "{no} $math$ \"quotes\" 'too' :smile:",
            )
        ]
        + [
            ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "caf\\xe9"),
            ("\N{CJK UNIFIED IDEOGRAPH-65E5}\N{PARTY POPPER}", "\\u65e5\\U0001f389"),
        ],
        ids=range(17),
    )
    def test_as_markdown(self, machine: Machine, text: str, shown: str) -> None:
        """A reader of Markdown, with tables and with HTML, shows the characters in their cells, escaped where they
        are not ASCII.
        """
        machine.record(
            rotated(NOW - 2 * HOUR, another(), operator=text, ticket=text),
            revoked(NOW - HOUR, another(), operator="Ada", reason=text),
        )
        document = report(machine)
        assert document.isascii()
        read = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(document)
        cells = [re.findall(r"<td>(.*)</td>", row) for row in read.split("<tr>")[2:]]
        cell = html.escape(shown, quote=False).replace('"', "&quot;")
        assert [row[5:] for row in cells] == [[cell, cell, ""], ["Ada", "", cell]]

    def test_as_json(self, machine: Machine) -> None:
        """There it is as it was given."""
        text = "a | [b](c) caf\N{LATIN SMALL LETTER E WITH ACUTE}"
        machine.record(revoked(NOW - HOUR, another(), reason=text))
        out = report(machine, "--format", "json")
        assert (out.isascii(), json.loads(out)["timeline"][0]["reason"]) == (True, text)


class TestLog:
    """What the operations log is worth as evidence is said, in the document and, where it is bad, beside it."""

    TOLD = "robodj-secretguard: the operations log config/logs/secret_operations.jsonl "

    def worth(self, machine: Machine, *defects: str, found: bool = True, last_hash: str | None = None) -> str:
        """Return what the document says of the log, and make sure that the other form says these."""
        told = f"{self.TOLD}cannot be relied on: {defects[0]}\n" if defects else ""
        text = report(machine, told=told)
        document = json.loads(report(machine, "--format", "json", told=told))
        expected = {"found": found, "last_hash": last_hash, "defects": list(defects)}
        assert (document["ok"], document["operations_log"]) == (True, expected)
        (line,) = [line for line in text.splitlines() if line.startswith("Operations log: ")]
        return line

    def test_none(self, machine: Machine) -> None:
        """The report is written all the same."""
        assert self.worth(machine, found=False) == "Operations log: none."
        assert "Nothing is recorded of this time." in report(machine)

    def test_empty(self, machine: Machine) -> None:
        """It is another matter than none."""
        machine.record()
        assert self.worth(machine) == "Operations log: no record."

    def test_edited(self, machine: Machine) -> None:
        """What can be read of it is shown, and that it does not verify is said."""
        *_, last = machine.record(rotated(NOW - 2 * HOUR, another()), rotated(NOW - HOUR, another()))
        machine.log.write_bytes(machine.log.read_bytes().replace(b'"Ada"', b'"Eve"', 1))
        why = "line 2 does not follow line 1: one was changed, or one between was taken away"
        said = self.worth(machine, why, last_hash=last.hash)
        assert said == f"Operations log: cannot be relied on: {why}."
        assert report(machine, told=f"{self.TOLD}cannot be relied on: {why}\n").count("| Eve |") == 1

    def test_torn(self, machine: Machine) -> None:
        """What a cut write has left is no evidence: it is said, as `log verify` does."""
        first, _ = machine.record(rotated(NOW - 2 * HOUR, another()), rotated(NOW - HOUR, another()))
        machine.log.write_bytes(machine.log.read_bytes()[:-9])
        assert machine.call("log", "verify").status == 1
        why = "the last line is torn: a write was cut short; the next record closes it off"
        said = self.worth(machine, why, last_hash=first.hash)
        assert said == f"Operations log: cannot be relied on: {why}."

    def test_a_directory(self, machine: Machine) -> None:
        """It is not read."""
        machine.log.mkdir(parents=True)
        why = "it is not a regular file"
        assert self.worth(machine, why) == f"Operations log: cannot be relied on: {why}."


class TestBlastRadius:
    """Where a scan has found keys is in the document: the scan says what was done and what is open."""

    NO_SCAN = "--scan must be what scan --format json has written"

    @staticmethod
    def scanned(machine: Machine, *arguments: str, status: int = 1) -> dict[str, Any]:
        """Scan what is in the directory `work`, keep the result as `scan.json`, of an hour ago, and return it."""
        ran = machine.call("scan", "--format", "json", *(arguments or ("work",)))
        assert (ran.status, ran.err) == (status, "")
        document: dict[str, Any] = json.loads(ran.out) | {"scanned_at": "2026-12-01T11:00:00Z"}
        (machine.root / "scan.json").write_text(json.dumps(document), encoding="utf-8")
        return document

    def text(self, machine: Machine) -> tuple[str, list[str]]:
        """Return the box of the blast radius, and the section of that name."""
        document = report(machine, "--scan", "scan.json")
        assert leaks(document, [machine.environ[V1]]) == []
        (box,) = [box for box in boxes(document, "Post-incident") if "Blast radius" in box]
        section = document.partition("\n## Blast radius\n\n```text\n")[2].partition("\n```\n\n## Validation state\n")[0]
        return box, section.splitlines()

    def not_a_scan(self, machine: Machine, content: str | bytes) -> None:
        """Make sure that a file is refused, and that nothing of it is shown."""
        (machine.root / "scan.json").write_bytes(content if isinstance(content, bytes) else content.encode())
        self.refused(machine, "scan.json", self.NO_SCAN)

    @staticmethod
    def refused(machine: Machine, name: str, said: str) -> None:
        """Make sure that no report is made."""
        ran = machine.call("incident", "report", *SINCE, "--scan", name)
        assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {said}\n")

    def test_found(self, machine: Machine) -> None:
        """Its findings, what it looked for and at, and a box that is done."""
        machine.put("work/a.txt", f"\n {machine.environ[V1]}\n")
        at = self.scanned(machine)["scanned_at"]
        known = f"(known by: environment; {machine.fingerprint()})"
        assert self.text(machine) == (
            f"[x] Blast radius: 1 finding of the scan of {at} for 2 keys, in files",
            [
                f"ALERT: secret.key: known-key: work/a.txt:2:2: the key, raw {known}",
                f"looked for: secret.key, secret_v2.key, assignments of {V1}, {V2}",
                "looked at: files (not git's history: --git-history): 1 file or object, 0.0 MiB",
            ],
        )

    def test_nothing_found(self, machine: Machine) -> None:
        """That is a result too."""
        machine.put("work/a.txt", "nothing\n")
        at = self.scanned(machine, status=0)["scanned_at"]
        box, lines = self.text(machine)
        assert (box, len(lines)) == (f"[x] Blast radius: 0 findings of the scan of {at} for 2 keys, in files", 2)

    def test_incomplete(self, machine: Machine) -> None:
        """It is not done: what was not looked at is to be looked at."""
        for name in ("a.txt", "b.txt"):
            machine.put(f"work/{name}", machine.environ[V1])
        at = self.scanned(machine, "work", "nowhere", status=2)["scanned_at"]
        box, lines = self.text(machine)
        assert box == f"[ ] Blast radius: 2 findings of the scan of {at} for 2 keys, in files, INCOMPLETE"
        assert lines[2] == "INCOMPLETE: PATH 2: it is not there"

    @pytest.mark.parametrize(
        "edit",
        [{"scanned_at": "2026-11-30T23:59:59Z"}, {"scope": "staged"}, {"looked_for": []}],
        ids=["before", "staged", "no-key"],
    )
    def test_what_is_no_blast_radius(self, machine: Machine, edit: dict[str, Any]) -> None:
        """A scan from before the incident, of a commit that was about to be made, or for no key, leaves it open."""
        machine.put("work/a.txt", "nothing\n")
        scan = self.scanned(machine, status=0) | edit
        (machine.root / "scan.json").write_text(json.dumps(scan), encoding="utf-8")
        assert self.text(machine)[0].startswith("[ ] Blast radius: 0 findings of the scan of ")

    def test_none(self, machine: Machine) -> None:
        """Nobody has looked: it is to be filled in, and there is no section."""
        document = report(machine)
        assert "[ ] Blast radius: ..." in boxes(document, "Post-incident")
        assert "## Blast radius" not in document

    def test_as_json(self, machine: Machine) -> None:
        """The whole scan is in the document, as it was."""
        machine.put("work/a.txt", machine.environ[V1])
        scan = self.scanned(machine)
        document = json.loads(report(machine, "--scan", "scan.json", "--format", "json"))
        assert document["blast_radius"] == scan
        (item,) = [each for each in document["steps"]["Post-incident"] if "Blast radius" in each["text"]]
        assert item == {
            "text": f"Blast radius: 1 finding of the scan of {scan['scanned_at']} for 2 keys, in files",
            "done": True,
        }

    def test_a_pipe(self, machine: Machine) -> None:
        """What a scan writes can be read as it is written."""
        machine.put("work/a.txt", machine.environ[V1])
        self.scanned(machine)
        content = (machine.root / "scan.json").read_bytes()
        with patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(content))):
            piped = report(machine, "--scan", "-")
        assert piped == report(machine, "--scan", "scan.json")

    def test_a_terminal(self, machine: Machine) -> None:
        """Nobody types a scan."""
        with patch.object(sys, "stdin", Terminal()):
            self.refused(machine, "-", "--scan - reads a pipe, not a terminal")

    @pytest.mark.parametrize("name", ["nowhere", "", "work", "\0", key_as_argument()], ids=range(5))
    def test_what_cannot_be_read(self, machine: Machine, name: str) -> None:
        """It is not there, or no file; what was given may be a key, and is not shown."""
        (machine.root / "work").mkdir()
        self.refused(machine, name, "--scan: the file is missing, unreadable or not a regular file; use - for a pipe")

    def test_how_large(self, machine: Machine) -> None:
        """Up to the bound, and not a byte more."""
        machine.put("work/a.txt", "nothing")
        self.scanned(machine, status=0)
        path = machine.root / "scan.json"
        content = path.read_bytes()
        path.write_bytes(content.ljust(MAX_SCAN_BYTES))
        assert self.text(machine)[0].startswith("[x] ")
        os.truncate(path, MAX_SCAN_BYTES + 1)
        self.refused(machine, "scan.json", f"--scan: what it names is larger than {MAX_SCAN_BYTES} bytes")

    @pytest.mark.parametrize(
        "content",
        [b"", b"{}", b"[]", b"null", b"ALERT: no key\n", b"\xff\xfe{}", b"\xff", b"[" * 100_000, b'{"schema": NaN}'],
        ids=range(9),
    )
    def test_no_scan(self, machine: Machine, content: bytes) -> None:
        """Anything else than the JSON of a scan is refused."""
        self.not_a_scan(machine, content)

    @pytest.mark.parametrize("form", ["text", "sarif"])
    def test_another_form(self, machine: Machine, form: str) -> None:
        """So are the scan's own other forms, and the documents of other commands."""
        machine.put("work/a.txt", machine.environ[V1])
        self.not_a_scan(machine, machine.call("scan", "--format", form, "work").out)
        self.not_a_scan(machine, machine.call("status", "--format", "json").out)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda scan: scan.update(ok=True),
            lambda scan: scan.update(complete=False),
            lambda scan: scan.update(ok=True, complete=False),
            lambda scan: scan.update(findings=[]),
            lambda scan: scan.update(unread=[{"place": "a", "why": "b", "matters": True}]),
            lambda scan: scan.update(schema=2),
            lambda scan: scan.update(extra="more"),
            lambda scan: scan.pop("size"),
            lambda scan: scan.update(files="1"),
            lambda scan: scan.update(files=-1),
            lambda scan: scan.update(scope="everything"),
            lambda scan: scan.update(scanned_at="2026-12-01T12:00:00"),
            lambda scan: scan.update(scanned_at="yesterday"),
            lambda scan: scan.update(variables=["A\nALERT: forged"]),
            lambda scan: scan["looked_for"][0].update(fingerprint="sgfp1:none"),
            lambda scan: scan["looked_for"][0].update(known_by=["a\x1b[2J"]),
            lambda scan: scan["findings"][0].update(extra="more"),
            lambda scan: scan["findings"][0].update(path="a\nALERT: forged"),
            lambda scan: scan["findings"][0].update(path="\x1b[2Jgone"),
            lambda scan: scan["findings"][0].update(path="caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
            lambda scan: scan["findings"][0].update({"secret": "a\nb"}),
            lambda scan: scan["findings"][0].update(environment="Prod!"),
            lambda scan: scan["findings"][0].update(form="raw\n"),
            lambda scan: scan["findings"][0].update(rule="another"),
            lambda scan: scan["findings"][0].update(where="elsewhere"),
            lambda scan: scan["findings"][0].update(line=0),
            lambda scan: scan["findings"][0].update(line=True),
            lambda scan: scan["findings"][0].update(column=-1),
            lambda scan: scan["findings"][0].update(offset=1.5),
            lambda scan: scan["findings"][0].update(object="HEAD"),
            lambda scan: scan["findings"][0].update(kind="file"),
            lambda scan: scan["findings"][0].update(carriers=[{"commit": "a" * 39, "path": "b"}]),
            lambda scan: scan["findings"][0].update(carriers=[{"commit": "a" * 40, "path": "b\n"}]),
        ],
        ids=range(33),
    )
    def test_edited(self, machine: Machine, edit: Callable[[dict[str, Any]], Any]) -> None:
        """A document that contradicts itself, has what no scan has, or would forge a line, is none."""
        machine.put("work/a.txt", machine.environ[V1])
        scan = self.scanned(machine)
        edit(scan)
        self.not_a_scan(machine, json.dumps(scan))

    def test_a_path_is_shown_and_does_nothing_else(self, machine: Machine) -> None:
        """Whatever a path is called, it ends no block of the document."""
        machine.put("work/a.txt", machine.environ[V1])
        scan = self.scanned(machine)
        scan["findings"][0]["path"] = "``` ~~~ ## 1. Detect <script> | "
        (machine.root / "scan.json").write_text(json.dumps(scan), encoding="utf-8")
        _, lines = self.text(machine)
        assert lines[0].startswith("ALERT: secret.key: known-key: ``` ~~~ ## 1. Detect <script> | :1:1: the key, raw ")
        tokens = MarkdownIt("commonmark").parse(report(machine, "--scan", "scan.json"))
        blocks = [token.content.splitlines() for token in tokens if token.type == "fence"]
        assert (len(blocks), blocks[0]) == (2, lines)

    def test_a_key_in_a_path(self, machine: Machine) -> None:
        """A name that could be a key is shown by no report, whoever wrote the document, and the names beside it are."""
        machine.put("work/a.txt", machine.environ[V1])
        scan = self.scanned(machine, "work", "nowhere", status=2)
        path = f"/music/{key_as_argument()}/a.txt"
        scan["findings"][0] |= {"path": path, "carriers": [{"commit": "b" * 40, "path": path}], "where": "history"}
        scan["findings"].append(scan["findings"][0] | {"where": "file"})
        scan["unread"][0]["place"] = path
        (machine.root / "scan.json").write_text(json.dumps(scan), encoding="utf-8")
        _, lines = self.text(machine)
        assert lines[0].startswith(f"ALERT: secret.key: known-key: /music/[redacted]/a.txt:1:1 in commit {'b' * 40}: ")
        assert lines[1].startswith("ALERT: secret.key: known-key: /music/[redacted]/a.txt:1:1: ")
        assert lines[2] == "INCOMPLETE: /music/[redacted]/a.txt: it is not there"

    @pytest.mark.parametrize(
        ("place", "shown"),
        [
            ({"where": "name"}, "work/a.txt, in the name itself"),
            ({"where": "link"}, "work/a.txt, in what the link leads to"),
            ({"where": "index"}, "work/a.txt:1:1 in the index"),
            ({"where": "file"}, "work/a.txt:1:1"),
            ({"where": "file", "line": None}, "work/a.txt"),
            ({"where": "history", "kind": "commit", "object": "a" * 40}, f"commit {'a' * 40}:1:1"),
            (
                {"where": "history", "kind": "blob", "object": "a" * 64},
                f"blob {'a' * 64}:1:1, which no commit that can be reached carries",
            ),
            ({"where": "history", "carriers": [{"commit": None, "path": "x"}]}, "x:1:1 in the index"),
            ({"where": "history", "carriers": [{"commit": "b" * 40, "path": "x"}]}, f"x:1:1 in commit {'b' * 40}"),
            (
                {"where": "history", "carriers": [{"commit": each * 40, "path": each} for each in "bc"]},
                f"b:1:1 in commit {'b' * 40} and 1 more commit",
            ),
            (
                {"where": "history", "carriers": [{"commit": each * 40, "path": each} for each in "bcd"]},
                f"b:1:1 in commit {'b' * 40} and 2 more commits",
            ),
        ],
        ids=range(11),
    )
    def test_every_kind_of_place(self, machine: Machine, place: dict[str, Any], shown: str) -> None:
        """Each is said in words."""
        machine.put("work/a.txt", machine.environ[V1])
        scan = self.scanned(machine)
        scan["findings"][0].update(place)
        (machine.root / "scan.json").write_text(json.dumps(scan), encoding="utf-8")
        assert self.text(machine)[1][0].startswith(f"ALERT: secret.key: known-key: {shown}: the key, raw ")
