"""`log show` and `log verify`: what is recorded, and what the record is worth."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from command_line import DEFAULT_MODEL, OTHER, Machine, fingerprint_of, machine_at, rotated
from conftest import NOW, Ran, good_keys
from detector import leaks

from robodj_secretguard.cli.log import LIMITS
from robodj_secretguard.shapes import Event, Proof, draft, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from robodj_secretguard.shapes import Record

NEW, OLD = (fingerprint_of(key) for key in good_keys().values())
DAY = timedelta(days=1)
DOES_NOT = "robodj-secretguard: the operations log does not verify: robodj-secretguard log verify says why\n"
THE_LOG = "the operations log config/logs/secret_operations.jsonl"
TORN = "the last line is torn: a write was cut short; the next record closes it off"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with an empty config directory."""
    return machine_at(tmp_path)


@pytest.fixture
def entries(machine: Machine) -> tuple[Record, ...]:
    """Four records, a day apart from each other, of which the last is of this moment."""
    revoked = draft(Event.REVOKED, fingerprint=OLD, reason="seen in a ticket")
    return machine.record(
        rotated(NOW - 3 * DAY, OLD, operator="Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", ticket="OPS-9"),
        rotated(NOW - 2 * DAY, NEW, secret=OTHER, environment="dev", startup=Proof.NOT_DONE),
        rotated(NOW - DAY, NEW),
        replace(revoked, recorded_at=NOW),
    )


def edited(machine: Machine) -> None:
    """Change what the second record says."""
    machine.log.write_bytes(machine.log.read_bytes().replace(b'"environment":"dev"', b'"environment":"qa"'))


def torn(machine: Machine) -> None:
    """Cut the last write."""
    machine.log.write_bytes(machine.log.read_bytes()[:-20])


def error(ran: Ran) -> str:
    """Return the one line of a command that could not do its work."""
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    return ran.err.removeprefix("robodj-secretguard: ").removesuffix("\n")


class TestShow:
    """`log show`."""

    def shown(self, machine: Machine, *options: str) -> list[int]:
        """Return the numbers of the records that are shown."""
        ran = machine.call("log", "show", *options, "--format", "json")
        assert (ran.status, ran.err) == (0, "")
        return [each["sequence"] for each in json.loads(ran.out)["records"]]

    @pytest.mark.usefixtures("entries")
    def test_a_table(self, machine: Machine) -> None:
        """One record to a line, in ASCII, the columns under each other."""
        ran = machine.call("log", "show")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out == (
            "#  WHEN                  EVENT                SECRET         ENVIRONMENT  OPERATOR  TICKET  FINGERPRINT\n"
            rf"1  2026-11-28T12:00:00Z  rotated              secret.key     prod         Zo\xeb    OPS-9   {OLD}"
            "\n"
            f"2  2026-11-29T12:00:00Z  rotation-incomplete  secret_v2.key  dev          Ada       -       {NEW}\n"
            f"3  2026-11-30T12:00:00Z  rotated              secret.key     prod         Ada       -       {NEW}\n"
            f"4  2026-12-01T12:00:00Z  revoked              -              -            -         -       {OLD}\n"
        )

    def test_json(self, machine: Machine, entries: Sequence[Record]) -> None:
        """The records as they are in the log, each with its own hash."""
        ran = machine.call("log", "show", "--format", "json")
        assert (ran.status, ran.err) == (0, "")
        lines = machine.log.read_bytes().splitlines()
        assert json.loads(ran.out) == {
            "schema": 1,
            "ok": True,
            "model": DEFAULT_MODEL,
            "records": [json.loads(line) | {"hash": hash_of(line)} for line in lines],
        }
        assert [hash_of(line) for line in lines] == [entry.hash for entry in entries]

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize(
        ("options", "numbers"),
        [
            ((), [1, 2, 3, 4]),
            (("--secret", "secret.key"), [1, 3]),
            (("--environment", "dev"), [2]),
            (("--event", "rotated"), [1, 3]),
            (("--event", "rotation-incomplete"), [2]),
            (("--event", "revoked"), [4]),
            (("--event", "sealed"), []),
            (("--since", "2026-11-29T12:00:00Z"), [2, 3, 4]),
            (("--since", "2026-11-29T12:00:01Z"), [3, 4]),
            (("--since", "2026-11-30"), [3, 4]),
            (("--since", "2026-11-29T14:00:00+02:00"), [2, 3, 4]),
            (("--until", "2026-11-30"), [1, 2]),
            (("--until", "2026-11-29T12:00:01Z"), [1, 2]),
            (("--until", "2026-11-29T12:00:00Z"), [1]),
            (("--since", "2026-11-28", "--until", "2026-11-30", "--secret", "secret.key"), [1]),
            (("--environment", "nowhere"), []),
        ],
    )
    def test_filters(self, machine: Machine, options: Sequence[str], numbers: list[int]) -> None:
        """Each narrows what is shown; a time counts from itself on, and up to before itself."""
        assert self.shown(machine, *options) == numbers

    @pytest.mark.usefixtures("entries")
    def test_nothing_to_show(self, machine: Machine) -> None:
        """It is said, and is no error."""
        ran = machine.call("log", "show", "--event", "sealed")
        assert (ran.status, ran.out, ran.err) == (0, "no such record\n", "")

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize(("spoil", "shown"), [(edited, [1, 2, 3, 4]), (torn, [1, 2, 3])])
    def test_damaged(self, machine: Machine, spoil: Callable[[Machine], None], shown: list[int]) -> None:
        """What can be read is shown, and that the log does not verify is said beside it."""
        spoil(machine)
        ran = machine.call("log", "show")
        assert (ran.status, ran.err, ran.out.count("\n")) == (1, DOES_NOT, 1 + len(shown))
        as_json = machine.call("log", "show", "--format", "json")
        document = json.loads(as_json.out)
        assert (as_json.status, as_json.err, document["ok"]) == (1, DOES_NOT, False)
        assert [each["sequence"] for each in document["records"]] == shown

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize("option", ["--since", "--until"])
    @pytest.mark.parametrize("text", ["yesterday", "", "2026-11-31", "2026-11-29T12:00:00", "{key}"])
    def test_no_time(self, machine: Machine, option: str, text: str) -> None:
        """It is refused, and not repeated."""
        (key, _) = good_keys().values()
        ran = machine.call("log", "show", f"{option}={text.format(key=key)}")
        assert error(ran) == f"{option} must be a time like 2027-01-31T08:00:00Z, or a date like 2027-01-31"
        assert leaks(ran.err, [key]) == []

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize("until", ["2026-11-28", "2026-11-29"])
    def test_the_wrong_way_round(self, machine: Machine, until: str) -> None:
        """No time is after the one and before the other."""
        ran = machine.call("log", "show", "--since", "2026-11-29", "--until", until)
        assert error(ran) == "--until must be later than --since"

    def test_no_log(self, machine: Machine) -> None:
        """There is nothing to show, and no log is made."""
        assert error(machine.call("log", "show")) == f"{THE_LOG}: there is none"
        assert not machine.log.parent.exists()


class TestVerify:
    """`log verify`."""

    def lines(self, machine: Machine, *options: str, passes: bool) -> list[str]:
        """Verify, and return what is said but for what it can and cannot prove, and the verdict."""
        ran = machine.call("log", "verify", *options)
        *lines, limits, verdict = ran.out.splitlines()
        assert (ran.err, limits) == ("", LIMITS)
        assert (ran.status, verdict) == (
            (0, "The operations log verifies.") if passes else (1, "The operations log does NOT verify.")
        )
        document = json.loads(machine.call("log", "verify", *options, "--format", "json").out)
        assert document["ok"] is passes
        assert [line for line in lines if line.startswith("ALERT: ")] == [
            f"ALERT: {defect}." for defect in document["defects"]
        ]
        return lines

    def test_clean(self, machine: Machine, entries: Sequence[Record]) -> None:
        """How many records there are, and the last one's hash, to be compared with what was seen elsewhere."""
        last = entries[-1].hash
        assert self.lines(machine, passes=True) == [f"4 records, of which the last is {last}."]
        assert json.loads(machine.call("log", "verify", "--format", "json").out) == {
            "schema": 1,
            "ok": True,
            "model": DEFAULT_MODEL,
            "count": 4,
            "last_hash": last,
            "defects": [],
            "notes": [],
            "expected_sequence": None,
            "continues": None,
        }

    def test_what_it_can_prove(self) -> None:
        """It says what it cannot, and what to do for that."""
        assert LIMITS == (
            "It finds damage and careless edits. Somebody who can write the log and its head file can change the last"
            " record, remove the last ones, or write the whole log anew, and it still verifies. To find that, compare"
            " with the last hash in your log system (log verify --expect HASH)."
        )

    def test_an_edit(self, machine: Machine, entries: Sequence[Record]) -> None:
        """A record that was changed is found by the one after it."""
        edited(machine)
        assert self.lines(machine, passes=False) == [
            "ALERT: line 3 does not follow line 2: one was changed, or one between was taken away.",
            f"4 records, of which the last is {entries[-1].hash}.",
        ]

    def test_torn(self, machine: Machine, entries: Sequence[Record]) -> None:
        """A last line that is not whole is said, and what is before it counts."""
        torn(machine)
        assert self.lines(machine, passes=False) == [
            f"ALERT: {TORN}.",
            f"3 records, of which the last is {entries[2].hash}.",
        ]

    def test_torn_in_the_first_record(self, machine: Machine) -> None:
        """There is no record then."""
        machine.record(rotated(NOW, NEW))
        torn(machine)
        assert self.lines(machine, passes=False) == [f"ALERT: {TORN}."]
        document = json.loads(machine.call("log", "verify", "--format", "json").out)
        assert (document["count"], document["last_hash"]) == (0, None)

    @pytest.mark.usefixtures("entries")
    def test_closed_off(self, machine: Machine) -> None:
        """What a cut write had left and the next record closed off is noted, and is no defect."""
        torn(machine)
        options = ("--environment", "prod", "--operator", "dana")
        assert machine.call("rotate", "record", "secret.key", *options).status == 0
        last = hash_of(machine.log.read_bytes().splitlines()[-1])
        assert self.lines(machine, passes=True) == [
            "note: line 4: a write was cut here; record 4 closed it off.",
            f"5 records, of which the last is {last}.",
        ]
        document = json.loads(machine.call("log", "verify", "--format", "json").out)
        assert document["notes"] == ["line 4: a write was cut here; record 4 closed it off"]

    @pytest.mark.parametrize("number", [1, 3, 4])
    def test_expected(self, machine: Machine, entries: Sequence[Record], number: int) -> None:
        """A record that was seen elsewhere is still here, with all before it."""
        expected = entries[number - 1].hash
        assert self.lines(machine, "--expect", expected, passes=True)[-1] == (
            f"The expected record is number {number}, with all before it."
        )
        document = json.loads(machine.call("log", "verify", "--expect", expected, "--format", "json").out)
        assert document["expected_sequence"] == number

    @pytest.mark.parametrize("cut", [1, 3])
    def test_expected_and_taken_off(self, machine: Machine, entries: Sequence[Record], cut: int) -> None:
        """Records that were taken off at the end, which nothing else finds."""
        kept = machine.log.read_bytes().splitlines(keepends=True)[:-cut]
        machine.log.write_bytes(b"".join(kept))
        assert len(self.lines(machine, passes=True)) == 1
        lines = self.lines(machine, "--expect", entries[-1].hash, passes=False)
        assert lines[0] == "ALERT: the expected record is not here: it, or one before it, was changed or taken away."
        assert not any("with all before it" in line for line in lines)

    def test_expected_and_written_anew(self, machine: Machine, entries: Sequence[Record]) -> None:
        """A log that somebody wrote anew is whole, and does not have it."""
        records = [replace(entry, operator="Eve") for entry in entries]
        machine.record(*records)
        assert len(self.lines(machine, passes=True)) == 1
        self.lines(machine, "--expect", entries[-1].hash, passes=False)

    def test_ahead_of_the_clock(self, machine: Machine) -> None:
        """A record of a time to come is a defect: no other can follow it."""
        machine.record(rotated(NOW + timedelta(seconds=1), NEW))
        lines = self.lines(machine, passes=False)
        assert lines[0] == "ALERT: record 1 is ahead of this machine's clock: none can follow it."

    def test_a_last_line_that_is_no_record(self, machine: Machine, entries: Sequence[Record]) -> None:
        """It was changed: no write that was cut leaves whole JSON."""
        content = machine.log.read_bytes().splitlines()
        machine.log.write_bytes(b"\n".join([*content[:-1], content[-1].replace(b'"event":"', b'"event":"x'), b""]))
        lines = self.lines(machine, passes=False)
        assert lines[0] == f"ALERT: line {len(entries)} cannot be read."

    def test_expected_behind_an_edit(self, machine: Machine, entries: Sequence[Record]) -> None:
        """A record that is there proves nothing of those before it where the chain is broken in between."""
        edited(machine)
        lines = self.lines(machine, "--expect", entries[-1].hash, passes=False)
        assert not any("with all before it" in line for line in lines)
        document = json.loads(machine.call("log", "verify", "--expect", entries[-1].hash, "--format", "json").out)
        assert document["expected_sequence"] is None

    def test_expected_before_an_edit(self, machine: Machine, entries: Sequence[Record]) -> None:
        """What was changed behind it does not matter to it, and is an alert all the same."""
        edited(machine)
        lines = self.lines(machine, "--expect", entries[0].hash, passes=False)
        assert lines[-1] == "The expected record is number 1, with all before it."

    def test_continued(self, machine: Machine) -> None:
        """A log that goes on after an earlier file says so, and gives the command that proves that nothing was lost."""
        options = ("--environment", "prod", "--operator", "dana")
        machine.call("rotate", "record", *options)
        last = machine.records[-1].hash
        earlier = machine.log.rename(machine.log.with_name("log.1"))
        proof = (
            "To prove that nothing was lost, run robodj-secretguard log verify --operations-log EARLIER-FILE --expect"
            f" {last}"
        )
        machine.log.touch(0o600)
        assert error(machine.call("log", "verify")) == (
            f"{THE_LOG}: it has no record, and nothing was verified."
            f" Record 2 was the last one of an earlier file. {proof}"
        )
        machine.environ.update(good_keys())
        machine.call("rotate", "record", *options)
        assert self.lines(machine, passes=True) == [
            f"3 records, of which the last is {machine.records[-1].hash}.",
            f"This log continues after record 2 ({last}).",
            f"Records up to number 2 belong to an earlier file. {proof}",
        ]
        document = json.loads(machine.call("log", "verify", "--format", "json").out)
        assert document["continues"] == {"sequence": 2, "hash": last}
        expected = self.lines(machine, "--expect", machine.records[1].hash, passes=True)[-1]
        assert expected == "The expected record is number 4, with all before it in this file."
        words = shlex.split(proof.partition("run robodj-secretguard ")[2].replace("EARLIER-FILE", str(earlier)))
        assert machine.call(*words).status == 0
        earlier.write_bytes(earlier.read_bytes().splitlines(keepends=True)[0])
        assert machine.call(*words).status == 1

    def test_records_that_the_head_file_names_are_gone(self, machine: Machine) -> None:
        """Records that were taken off at the end are an alert that names them."""
        machine.call("rotate", "record", "--environment", "prod", "--operator", "dana")
        last = machine.records[-1].hash
        machine.log.write_bytes(machine.log.read_bytes().splitlines(keepends=True)[0])
        assert self.lines(machine, passes=False)[0] == (
            f"ALERT: record 2 is missing: the head file names {last} as the last record."
        )

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize(
        "spoil", [str.upper, lambda text: text[7:], lambda text: text[:-1], lambda _: ""], ids=range(4)
    )
    def test_expected_is_no_hash(self, machine: Machine, spoil: Callable[[str], str]) -> None:
        """It is refused, and not repeated."""
        given = spoil(hash_of(b"any"))
        ran = machine.call("log", "verify", f"--expect={given}")
        assert error(ran) == "--expect must be the hash of a record: sha256: and 64 hexadecimal digits in lower case"
        assert not given or given not in ran.err

    def test_an_empty_log(self, machine: Machine) -> None:
        """Nothing was verified, and that is no success."""
        machine.record()
        assert error(machine.call("log", "verify")) == (f"{THE_LOG}: it has no record, and nothing was verified")

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda _: None, "there is none"),
            (lambda path: path.mkdir(parents=True), "it is not a regular file"),
        ],
        ids=["none", "a directory"],
    )
    def test_no_log(self, machine: Machine, make: Callable[[Path], None], said: str) -> None:
        """One line, and status 2."""
        make(machine.log)
        assert error(machine.call("log", "verify")) == f"{THE_LOG}: {said}"
        assert error(machine.call("log", "show")) == f"{THE_LOG}: {said}"
