"""`log show` and `log verify`, and how the other commands find and judge the operations log."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from command_line import NAMED_MODEL, OTHER, Machine, fingerprint_of, key_as_argument, rotated
from conftest import NOW, V1, V2, Ran, good_keys

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.cli import main
from robodj_secretguard.cli.log import LIMITS
from robodj_secretguard.lifecycle.records import Record, draft, hash_of

NEW, OLD = (fingerprint_of(key) for key in good_keys().values())
DAY = timedelta(days=1)
THE_LOG = "the operations log config/logs/secret_operations.jsonl"
TORN = "the last line is incomplete: a write was interrupted; the next record replaces the line"
EDITED = "line 3 does not continue line 2: a line was changed or removed"
ROTATE = ("rotate", "record", "--environment", "prod", "--operator", "dana")


class Other(RuntimeSecrets):
    """A model that is not the default."""


@pytest.fixture
def entries(machine: Machine) -> tuple[Record, ...]:
    """Four records, one day apart. The last one is now."""
    revoked = draft("revoked", fingerprint=OLD, reason="seen in a ticket")
    return machine.record(
        rotated(NOW - 3 * DAY, OLD, operator="Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", ticket="OPS-9"),
        rotated(NOW - 2 * DAY, NEW, secret=OTHER, environment="dev", startup="not-done"),
        rotated(NOW - DAY, NEW),
        replace(revoked, recorded_at=NOW),
    )


def edited(machine: Machine) -> None:
    """Change the second record."""
    machine.log.write_bytes(machine.log.read_bytes().replace(b'"environment":"dev"', b'"environment":"qa"'))


def torn(machine: Machine) -> None:
    """Cut off the end of the last line."""
    machine.log.write_bytes(machine.log.read_bytes()[:-20])


def error(ran: Ran) -> str:
    """Assert that a command failed with status 2, and return its only line."""
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    return ran.err.removeprefix("robodj-secretguard: ").removesuffix("\n")


class TestShow:
    """`log show`."""

    @pytest.mark.usefixtures("entries")
    def test_table(self, machine: Machine) -> None:
        """The table has one record per line, in ASCII, in aligned columns."""
        gap = " " * (len(OLD) - len("FINGERPRINT") + 2)
        ran = machine.call("log", "show")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out == (
            f"#  WHEN                  EVENT                SECRET         ENVIRONMENT  OPERATOR  TICKET"
            f"  FINGERPRINT{gap}WHY\n"
            rf"1  2026-11-28T12:00:00Z  rotated              secret.key     prod         Zo\xeb    OPS-9   {OLD}  -"
            "\n"
            f"2  2026-11-29T12:00:00Z  rotation-incomplete  secret_v2.key  dev          Ada       -       {NEW}  -\n"
            f"3  2026-11-30T12:00:00Z  rotated              secret.key     prod         Ada       -       {NEW}  -\n"
            f"4  2026-12-01T12:00:00Z  revoked              -              -            -         -       {OLD}"
            "  seen in a ticket\n"
        )

    def test_replaced(self, machine: Machine) -> None:
        """A column has replaced keys and their deadlines. A column that no record fills is left out."""
        machine.record(rotated(NOW - DAY, OLD), rotated(NOW, NEW, replaced=OLD, replaced_until=NOW + DAY))
        rows = [re.split(" {2,}", line) for line in machine.call("log", "show").out.splitlines()]
        assert [row[-1] for row in rows] == ["REPLACED", "-", f"{OLD} until 2026-12-02T12:00:00Z"]

    @pytest.mark.usefixtures("entries")
    def test_json(self, machine: Machine) -> None:
        """The document has the unchanged records, each with its hash."""
        lines = machine.log.read_bytes().splitlines()
        assert machine.call("log", "show", "--format", "json").document == {
            "schema": 1,
            "kind": "log",
            "ok": True,
            "model": NAMED_MODEL,
            "records": [json.loads(line) | {"hash": hash_of(line)} for line in lines],
        }

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize(
        ("options", "numbers"),
        [
            (("--secret", "secret.key"), [1, 3]),
            (("--environment", "dev"), [2]),
            (("--event", "rotation-incomplete"), [2]),
            (("--since", "2026-11-29T14:00:00+02:00"), [2, 3, 4]),
            (("--until", "2026-11-29T12:00:00Z"), [1]),
        ],
    )
    def test_filters(self, machine: Machine, options: Sequence[str], numbers: list[int]) -> None:
        """Each option filters the records. The time of `--since` is included, and that of `--until` is not."""
        ran = machine.call("log", "show", *options, "--format", "json")
        assert (ran.status, ran.err) == (0, "")
        assert [each["sequence"] for each in ran.document["records"]] == numbers

    @pytest.mark.usefixtures("entries")
    def test_no_such_record(self, machine: Machine) -> None:
        """An empty result is reported, and is not an error."""
        assert machine.call("log", "show", "--event", "retired") == Ran(0, "No records match.\n", "")

    @pytest.mark.usefixtures("entries")
    def test_damaged(self, machine: Machine) -> None:
        """The readable records of a damaged log are shown. Stderr says that the log does not verify."""
        torn(machine)
        why = f"robodj-secretguard: {THE_LOG} does not verify: {TORN}\n"
        ran = machine.call("log", "show")
        assert (ran.status, ran.err, ran.out.count("\n")) == (1, why, 4)


class TestVerify:
    """`log verify`."""

    def verify(self, machine: Machine, *options: str, passes: bool) -> tuple[list[str], dict[str, Any]]:
        """Verify the log. Return the lines before the limits and the verdict, and the JSON document."""
        ran = machine.call("log", "verify", *options)
        *lines, limits, verdict = ran.out.splitlines()
        assert (ran.err, limits) == ("", LIMITS)
        assert (ran.status, verdict) == (
            (0, "The operations log verifies.") if passes else (1, "The operations log does NOT verify.")
        )
        document = machine.call("log", "verify", *options, "--format", "json").document
        assert document["ok"] is passes
        assert [line for line in lines if line.startswith("ALERT: ")] == [
            f"ALERT: {defect}." for defect in document["defects"]
        ]
        return lines, document

    def test_clean(self, machine: Machine, entries: Sequence[Record]) -> None:
        """The result has the number of records and the hash of the last one."""
        last = entries[-1].hash
        lines, document = self.verify(machine, passes=True)
        assert lines == [f"4 records. The hash of the last record is {last}."]
        assert document == {
            "schema": 1,
            "kind": "log-verification",
            "ok": True,
            "model": NAMED_MODEL,
            "count": 4,
            "last_hash": last,
            "defects": [],
            "expected_sequence": None,
            "continues": None,
        }

    @pytest.mark.parametrize(("spoil", "defect", "count"), [(edited, EDITED, 4), (torn, TORN, 3)])
    def test_defect(
        self,
        machine: Machine,
        entries: Sequence[Record],
        spoil: Callable[[Machine], None],
        defect: str,
        count: int,
    ) -> None:
        """A defect is an alert, and the readable records are counted."""
        spoil(machine)
        assert self.verify(machine, passes=False)[0] == [
            f"ALERT: {defect}.",
            f"{count} records. The hash of the last record is {entries[count - 1].hash}.",
        ]

    def test_torn_first_record(self, machine: Machine) -> None:
        """A log with only a torn record has no last record."""
        machine.record(rotated(NOW, NEW))
        torn(machine)
        assert self.verify(machine, passes=False)[0] == [f"ALERT: {TORN}."]

    @pytest.mark.parametrize(
        ("spoil", "expected", "number"),
        [(None, 4, 4), (edited, 1, 1), (edited, 4, None)],
    )
    def test_expect(
        self,
        machine: Machine,
        entries: Sequence[Record],
        spoil: Callable[[Machine], None] | None,
        expected: int,
        number: int | None,
    ) -> None:
        """With `--expect`, a record is found only if no record before it was changed or removed."""
        if spoil is not None:
            spoil(machine)
        lines, document = self.verify(machine, "--expect", entries[expected - 1].hash, passes=spoil is None)
        found = [line for line in lines if "expected record: " in line]
        before = "The records before it in this file are unchanged."
        assert found == ([f"Found the expected record: number {number}. {before}"] if number else [])
        missing = "the expected record was not found: it, or a record before it, was changed or removed"
        assert (missing in document["defects"]) is (number is None)
        assert document["expected_sequence"] == number

    def test_continued(self, machine: Machine) -> None:
        """For a log that continues an earlier file, the result has the command that proves that nothing was lost."""
        machine.call(*ROTATE)
        last = machine.records[-1].hash
        earlier = machine.log.rename(machine.log.with_name("log.1"))
        prove = "To prove that no record was lost in between, run"
        proof = f"robodj-secretguard log verify --operations-log EARLIER-FILE --expect {last}"
        machine.log.touch(0o600)
        assert error(machine.call("log", "verify")) == (
            f"{THE_LOG}: the log has no record; nothing was verified."
            f" Record 2 was the last one of an earlier file. {prove} {proof}"
        )
        machine.environ.update(good_keys())
        machine.call(*ROTATE)
        lines, document = self.verify(machine, "--expect", machine.records[1].hash, passes=True)
        assert lines == [
            f"3 records. The hash of the last record is {machine.records[-1].hash}.",
            f"This log continues an earlier file, after record 2 ({last}).",
            f"{prove}:",
            f"     {proof}",
            "Found the expected record: number 4. The records before it in this file are unchanged.",
        ]
        assert document["continues"] == {"sequence": 2, "hash": last}
        words = shlex.split(proof.removeprefix("robodj-secretguard ").replace("EARLIER-FILE", str(earlier)))
        assert machine.call(*words).status == 0
        earlier.write_bytes(earlier.read_bytes().splitlines(keepends=True)[0])
        assert machine.call(*words).status == 1

    def test_expect_without_a_hash(self, machine: Machine) -> None:
        """A value of `--expect` that is not a hash is a usage error that does not echo the value."""
        why = "--expect: invalid hash; use sha256: and 64 hexadecimal digits in lower case"
        assert error(machine.call("log", "verify", f"--expect={key_as_argument()}")) == why

    def test_empty_log(self, machine: Machine) -> None:
        """An empty log is an error, since nothing was verified."""
        machine.record()
        assert error(machine.call("log", "verify")) == f"{THE_LOG}: the log has no record; nothing was verified"


@pytest.mark.parametrize("command", ["show", "verify"])
def test_no_log(machine: Machine, command: str) -> None:
    """Without a log, both commands fail and make none."""
    assert error(machine.call("log", command)) == f"{THE_LOG}: it does not exist"
    assert not machine.log.exists()


def test_model(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """The model is imported only to find the log. Its name is on stderr, or in the JSON document."""
    machine.record(rotated(NOW, NEW))
    argv = ("log", "verify", "--model", "no_such_module:Model")
    assert machine.call(*argv).status == 2
    refused = machine.call(*argv, "--operations-log", str(machine.log))
    assert error(refused) == "--config-dir and --model do not work with --operations-log; leave them out"
    for words in (("verify",), ("show",), ("verify", "--format", "json")):
        assert machine.within(lambda words=words: main(("log", *words))) == 0  # type: ignore[misc]
        assert ("model: " in capsys.readouterr().err) is (len(words) == 1)


class TestGate:
    """The findings about the operations log in `check`, `exec` and `status`."""

    def findings(self, machine: Machine, *options: str) -> list[tuple[str, ...]]:
        """Return the severity, message, source and remedy of each finding about the log."""
        document = machine.call("check", *options, "--format", "json").document
        fields = ("severity", "message", "source", "remedy")
        return [tuple(each[name] for name in fields) for each in document["findings"] if each["check"] == "setting"]

    def test_nothing_to_report(self, machine: Machine) -> None:
        """A missing log that nobody named, or only pyproject.toml, is no finding. Neither is a log that verifies."""
        assert self.findings(machine) == []
        machine.record(rotated(NOW, machine.fingerprint()))
        assert self.findings(machine, "--operations-log", str(machine.log)) == self.findings(machine) == []
        machine.put("pyproject.toml", '[tool.robodj-secretguard]\noperations-log = "nowhere.jsonl"\n')
        assert self.findings(machine) == []

    @pytest.mark.parametrize(
        ("name", "source"), [("--operations-log", "none"), ("ROBODJ_OPERATIONS_LOG", "environment")]
    )
    def test_named_and_missing(self, machine: Machine, name: str, source: str) -> None:
        """It is a warning if an option or the variable names a missing log."""
        options = (name, "nowhere.jsonl") if name.startswith("-") else ()
        machine.environ.update({} if options else {name: "nowhere.jsonl"})
        remedy = f"set {name} to the path of the operations log"
        assert self.findings(machine, *options) == [
            ("warning", f"{name} names a file that does not exist", source, remedy)
        ]
        machine.put("nowhere.jsonl", "").chmod(0o600)
        assert self.findings(machine, *options) == []

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (edited, f"does not verify: {EDITED}"),
            (lambda machine: machine.log.unlink() or machine.log.mkdir(), "cannot be read: it is not a regular file"),
        ],
        ids=["edited", "directory"],
    )
    def test_not_reliable(self, machine: Machine, spoil: Callable[[Machine], None], why: str) -> None:
        """A log with a defect is a warning. The fix is the command that explains the defect."""
        spoil(machine)
        options = ("--config-dir", "config", "--model", f"{__name__}:Other")
        message = f"the operations log {why}"
        remedy = (
            f"run robodj-secretguard log verify {shlex.join(options)}; unless only the last line is incomplete,"
            " keep the log as evidence and begin a new one"
        )
        assert self.findings(machine, *options) == [("warning", message, "none", remedy)]

    def test_continued(self, machine: Machine) -> None:
        """A log that continues an earlier file is a note."""
        machine.call(*ROTATE)
        machine.log.unlink()
        machine.log.touch(0o600)
        message = "the operations log continues an earlier file, whose records are not checked here"
        remedy = "run robodj-secretguard log verify, then the command that it prints"
        assert self.findings(machine) == [("note", message, "none", remedy)]
        assert machine.call("check", "--strict").status == 0

    @pytest.mark.usefixtures("entries")
    def test_source_with_a_key_that_is_not_recorded(self, machine: Machine) -> None:
        """A key of a source that is not a recorded one is the warning `drift`."""
        for name, value in machine.environ.items():
            machine.put(f"mounted/{name}", value).chmod(0o600)
        machine.write("revoked.fingerprints", f"{OLD}\n", 0o644)
        ran = machine.call("check", "--from", "directory:mounted", "--format", "json")
        drift = [each for each in ran.document["findings"] if each["check"] == "drift"]
        assert [each["message"] for each in drift] == [f"{name} is not the recorded key" for name in (V1, V2)]
