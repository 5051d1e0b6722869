"""`status`: where every secret stands, as text that fits a terminal and as JSON."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from command_line import DEFAULT_MODEL, OTHER, Machine, Terminal, fingerprint_of, machine_at, on_terminal, rotated
from conftest import NOW, V1, V2, clean_environment, good_keys, marker, run
from pydantic import SecretStr  # noqa: TC002 - the model needs it at run time

from robodj_secretguard import SecretPolicy, SecretSettings, check
from robodj_secretguard.shapes import Event, Proof, draft

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from robodj_secretguard.shapes import Record

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
ENDS = f"{V1}_EXPIRES_AT"
OWNER = "  owner        Security Operations, backup Release Manager"
NOT_RECORDED = {90: "  rotated      not recorded; cadence 90 days", 30: "  rotated      not recorded; cadence 30 days"}
UNMARKED = "  expires      no expiry marker"
GREEN, RED, YELLOW, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"

posix_only = pytest.mark.skipif(os.name != "posix", reason="terminals, FIFOs and links are POSIX's")


def policy(number: int, name: str, owner: str) -> SecretPolicy:
    """Declare a secret with long texts."""
    return SecretPolicy(
        name=name,
        variable=f"ROBODJ_LONG{'_VERY_LONG' * 12}_KEY_{number}",
        file=f"config/{'a-directory/' * 3}{name}",
        owner=owner,
        backup_owner=owner[::-1],
        cadence=timedelta(days=12345),
        warn_before=DAY,
    )


class Long(SecretSettings):
    """A service whose names and owners do not fit a line."""

    words: Annotated[SecretStr, policy(1, "a-secret.with-a-long-name" * 2, "The Department of Very Long Names " * 5)]
    one_word: Annotated[SecretStr, policy(2, "s" * 200, "O" * 200)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with good keys, of which nothing is recorded."""
    return machine_at(tmp_path)


def revoked(at: datetime, fingerprint: str) -> Record:
    """Return the record of a revocation."""
    return replace(draft(Event.REVOKED, reason="leaked", fingerprint=fingerprint), recorded_at=at)


def another() -> str:
    """Make the fingerprint of a key that no machine has."""
    return fingerprint_of(good_keys()[V1])


def said(machine: Machine, field: str, *arguments: str) -> str:
    """Return what the text says of a field of `secret.key`, on one line."""
    block = machine.call("status", *arguments).out.split("\n\n")[0]
    found = re.search(rf"^  {field} +((?:.|\n {{15}})*)$", block, re.MULTILINE)
    assert found is not None
    return re.sub(r"\s+", " ", found[1])


class TestText:
    """A block for each secret, and the sum of all."""

    def test_nothing_is_recorded(self, machine: Machine) -> None:
        """Every field is there, and what is not known is said to be so."""
        ran = machine.call("status")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines() == [
            "secret.key: present (environment)",
            f"  fingerprint  {machine.fingerprint()}",
            NOT_RECORDED[90],
            UNMARKED,
            OWNER,
            "",
            "secret_v2.key: present (environment)",
            f"  fingerprint  {machine.fingerprint(V2)}",
            NOT_RECORDED[30],
            UNMARKED,
            OWNER,
            "",
            "operations log: none",
            "revocation list: none",
            "0 alert(s), 0 warning(s)",
        ]

    def test_all_is_recorded(self, machine: Machine) -> None:
        """A secret in its time, and one that is overdue, incomplete and soon to expire."""
        machine.environ[f"{V2}_EXPIRES_AT"] = marker(2 * DAY)
        machine.write("revoked.fingerprints", f"{another()}\n")
        *_, last = machine.record(
            rotated(NOW - 33 * DAY, machine.fingerprint(V2), secret=OTHER, startup=Proof.NOT_DONE),
            rotated(NOW - 10 * DAY - HOUR, machine.fingerprint()),
        )
        ran = machine.call("status")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines() == [
            "secret.key: present (environment)",
            f"  fingerprint  {machine.fingerprint()}",
            "  rotated      2026-11-21T11:00:00Z in prod, 10 of 90 days",
            UNMARKED,
            OWNER,
            "",
            "secret_v2.key: present (environment)",
            f"  fingerprint  {machine.fingerprint(V2)}",
            "  rotated      2026-10-29T12:00:00Z in prod, 33 of 30 days: OVERDUE by 3 days;",
            "               INCOMPLETE: startup not done",
            "  expires      2026-12-03T12:00:00Z",
            OWNER,
            "",
            "operations log: verifies, last record",
            f"  {last.hash}",
            "revocation list: config/revoked.fingerprints, 1 entry",
            "0 alert(s), 1 warning(s): robodj-secretguard check says which",
        ]

    @pytest.mark.parametrize(
        ("environ", "head", "expires"),
        [
            ({}, "missing (none)", "no expiry marker"),
            ({V1: ""}, "missing (none)", "no expiry marker"),
            ({V1: "changeme"}, "invalid-format (environment)", "no expiry marker"),
            ({V1: "short", ENDS: marker(50 * DAY)}, "invalid-format (environment)", "2027-01-20T12:00:00Z"),
            ({V1: "KEY", ENDS: marker(-DAY)}, "expired (environment)", "2026-11-30T12:00:00Z"),
            ({V1: "KEY", ENDS: marker(timedelta(0))}, "expired (environment)", "2026-12-01T12:00:00Z"),
            ({V1: "KEY", ENDS: "soon"}, "present (environment), refused: expiry-marker", "no expiry marker"),
        ],
    )
    def test_what_is_wrong(self, machine: Machine, environ: dict[str, str], head: str, expires: str) -> None:
        """The state is in the words of the gate, and only a sound key has a fingerprint."""
        key = machine.environ.pop(V1)
        machine.environ.update({name: key if value == "KEY" else value for name, value in environ.items()})
        ran = machine.call("status")
        sound = environ.get(V1) == "KEY"
        assert ran.out.splitlines()[:5] == [
            f"secret.key: {head}",
            f"  fingerprint  {fingerprint_of(key) if sound else 'none: there is no sound key'}",
            NOT_RECORDED[90],
            f"  expires      {expires}",
            OWNER,
        ]
        assert (ran.status, ran.out.splitlines()[-1]) == (
            1,
            "1 alert(s), 0 warning(s): robodj-secretguard check says which",
        )

    def test_a_key_in_a_file(self, machine: Machine) -> None:
        """It is judged as the gate does, with the same options."""
        machine.write("secret.key", machine.environ.pop(V1))
        ran = machine.call("status")
        assert (ran.status, ran.out.splitlines()[0]) == (0, "secret.key: present (file:config/secret.key)")
        ran = machine.call("status", "--require-env-only")
        assert (ran.status, ran.out.splitlines()[0]) == (1, "secret.key: missing (none)")

    def test_revoked(self, machine: Machine) -> None:
        """A key that is there and refused is said to be."""
        machine.write("revoked.fingerprints", machine.fingerprint())
        ran = machine.call("status")
        assert ran.out.startswith("secret.key: present (environment), refused: revoked\n")
        assert (ran.status, ran.out.splitlines()[-1]) == (
            1,
            "1 alert(s), 0 warning(s): robodj-secretguard check says which",
        )


class TestRotation:
    """The last rotation against the cadence."""

    @pytest.mark.parametrize(
        ("age", "said_of_it"),
        [
            (timedelta(0), "0 of 90 days"),
            (DAY - SECOND, "0 of 90 days"),
            (89 * DAY, "89 of 90 days"),
            (90 * DAY, "90 of 90 days"),
            (90 * DAY + SECOND, "90 of 90 days: OVERDUE by 1 day"),
            (91 * DAY, "91 of 90 days: OVERDUE by 1 day"),
            (91 * DAY + SECOND, "91 of 90 days: OVERDUE by 2 days"),
            (190 * DAY, "190 of 90 days: OVERDUE by 100 days"),
        ],
    )
    def test_its_age(self, machine: Machine, age: timedelta, said_of_it: str) -> None:
        """A key is overdue from the first moment after its cadence; a day that has begun counts."""
        at = NOW - age
        machine.record(rotated(at, machine.fingerprint()))
        assert said(machine, "rotated") == f"{at:%Y-%m-%dT%H:%M:%SZ} in prod, {said_of_it}"

    def test_ahead(self, machine: Machine) -> None:
        """A record of a time to come is no age."""
        machine.record(rotated(NOW + SECOND, machine.fingerprint()))
        assert said(machine, "rotated") == "2026-12-01T12:00:01Z in prod, which is ahead of this machine's clock"
        ran = machine.call("status")
        assert ran.status == 1
        assert "cannot be relied on: record 1 is ahead of this machine's clock: none can follow it" in ran.err

    def test_not_delivered(self, machine: Machine) -> None:
        """Where the key is not delivered, as on an operator's machine, the last one that is recorded is meant."""
        machine.record(rotated(NOW - 95 * DAY, another()), rotated(NOW - DAY, another()))
        del machine.environ[V1]
        assert said(machine, "rotated") == "2026-11-30T12:00:00Z in prod, 1 of 90 days"

    def test_incomplete(self, machine: Machine) -> None:
        """The steps that are not done are named."""
        machine.record(rotated(NOW - HOUR, machine.fingerprint(), startup=Proof.NOT_DONE))
        assert said(machine, "rotated") == "2026-12-01T11:00:00Z in prod, 0 of 90 days; INCOMPLETE: startup not done"

    def test_completed_later(self, machine: Machine) -> None:
        """The key's age counts from when it was first recorded, and its steps from when it was recorded last."""
        key = machine.fingerprint()
        machine.record(rotated(NOW - 2 * DAY, key, startup=Proof.NOT_DONE), rotated(NOW - DAY, key))
        assert said(machine, "rotated") == "2026-11-29T12:00:00Z in prod, 2 of 90 days"

    def test_several_environments(self, machine: Machine) -> None:
        """The record of the key that is delivered here counts, and neither a later one nor another secret's."""
        machine.record(
            rotated(NOW - 9 * DAY, another(), environment="dev"),
            rotated(NOW - 8 * DAY, machine.fingerprint(), environment="staging"),
            rotated(NOW - 7 * DAY, another(), environment="prod"),
            rotated(NOW - 6 * DAY, another(), environment="staging"),
            rotated(NOW - 5 * DAY, machine.fingerprint(), secret=OTHER),
        )
        assert said(machine, "rotated") == "2026-11-23T12:00:00Z in staging, 8 of 90 days"

    def test_another_key_is_recorded(self, machine: Machine) -> None:
        """The key that is delivered is not: its age is not known."""
        machine.record(rotated(NOW - DAY, another()))
        assert said(machine, "rotated") == "not recorded; cadence 90 days"

    def test_no_key_is_delivered_here(self, machine: Machine) -> None:
        """As on an operator's machine: the key that was recorded last is meant."""
        del machine.environ[V1]
        last = another()
        machine.record(
            rotated(NOW - 9 * DAY, another()),
            rotated(NOW - 8 * DAY, last, startup=Proof.NOT_DONE),
            rotated(NOW - 7 * DAY, last),
        )
        assert said(machine, "fingerprint") == "none: there is no sound key"
        assert said(machine, "rotated") == "2026-11-23T12:00:00Z in prod, 8 of 90 days"


class TestJson:
    """One document."""

    def test_whole(self, machine: Machine) -> None:
        """Every field of a secret, with the log's worth and the check's whole report."""
        machine.environ[ENDS] = marker(50 * DAY)
        *_, last = machine.record(rotated(NOW - 91 * DAY, machine.fingerprint(), startup=Proof.NOT_DONE))
        del machine.environ[V2]
        ran = machine.call("status", "--format", "json")
        common = {"owner": "Security Operations", "backup_owner": "Release Manager"}
        assert (ran.status, ran.err, json.loads(ran.out)) == (
            1,
            "",
            {
                "schema": 1,
                "ok": False,
                "model": DEFAULT_MODEL,
                "operations_log": {"found": True, "last_hash": last.hash, "defects": []},
                "secrets": [
                    {
                        "secret": "secret.key",
                        "variable": V1,
                        "state": "present",
                        "usable": True,
                        "superseded": False,
                        "source": "environment",
                        "alerts": [],
                        "fingerprint": machine.fingerprint(),
                        "rotated_at": "2026-09-01T12:00:00Z",
                        "environment": "prod",
                        "age_days": 91,
                        "rotation_days": 90,
                        "overdue": True,
                        "open_steps": ["startup"],
                        "expires_at": "2027-01-20T12:00:00Z",
                        **common,
                    },
                    {
                        "secret": "secret_v2.key",
                        "variable": V2,
                        "state": "missing",
                        "usable": False,
                        "superseded": False,
                        "source": "none",
                        "alerts": ["missing"],
                        "fingerprint": None,
                        "rotated_at": None,
                        "environment": None,
                        "age_days": None,
                        "rotation_days": 30,
                        "overdue": False,
                        "open_steps": [],
                        "expires_at": None,
                        **common,
                    },
                ],
                "check": machine.within(check).as_dict(),
            },
        )

    def test_no_log(self, machine: Machine) -> None:
        """Without one there is nothing that could be wrong with it."""
        document = json.loads(machine.call("status", "--format", "json").out)
        assert (document["ok"], document["operations_log"]) == (
            True,
            {"found": False, "last_hash": None, "defects": []},
        )


class TestRecorded:
    """What the operations log adds to the check, of `status`, `check` and `exec`."""

    COMMANDS = (("status",), ("check",), ("exec", "--", "no-such-program"))

    @staticmethod
    def findings(machine: Machine, now: datetime = NOW) -> list[tuple[str, str, str | None]]:
        """Return what is found besides what the check finds alone."""
        document = json.loads(machine.call("check", "--format", "json", now=now).out)
        return [(each["severity"], each["check"], each["secret"]) for each in document["findings"]]

    def test_an_old_key_that_came_back(self, machine: Machine) -> None:
        """Within the overlap it is shown and not counted; then it is a warning, which fails a strict gate."""
        old = machine.fingerprint()
        machine.record(rotated(NOW - 40 * DAY, old), rotated(NOW - 14 * DAY, another()))
        assert self.findings(machine) == [("note", "superseded", "secret.key")]
        assert machine.call("check", "--strict").status == 0
        assert "NOTE: secret.key: superseded: ROBODJ_SECRET_KEY is an old key" in machine.call("check").out
        later = NOW + SECOND
        assert self.findings(machine, later) == [("warning", "superseded", "secret.key")]
        assert [machine.call("check", *options, now=later).status for options in ((), ("--strict",))] == [0, 1]
        assert machine.call("exec", "--strict", "--", "no-such-program", now=later).status == 3
        shown = machine.call("status", now=later).out
        assert "secret.key: present (environment), an old key" in shown

    def test_a_key_of_another_environment(self, machine: Machine) -> None:
        """A later key of staging does not supersede that of prod."""
        machine.record(
            rotated(NOW - 40 * DAY, machine.fingerprint()), rotated(NOW - 20 * DAY, another(), environment="staging")
        )
        assert self.findings(machine) == []

    def test_a_key_that_is_not_recorded(self, machine: Machine) -> None:
        """Nobody knows whether it is the later one."""
        machine.record(rotated(NOW - 40 * DAY, another()), rotated(NOW - 20 * DAY, another()))
        assert self.findings(machine) == []

    def test_a_revocation_that_is_not_listed(self, machine: Machine) -> None:
        """A checkout took it from the list: nothing passes until it is there again, as the line says."""
        gone, more = another(), another()
        machine.record(revoked(NOW - DAY, gone), revoked(NOW - DAY, more))
        assert self.findings(machine) == [("alert", "revocation-list", None)]
        assert [machine.call(*each).status for each in self.COMMANDS] == [1, 1, 3]
        (line,) = (each for each in machine.call("check").out.splitlines() if each.startswith("ALERT"))
        assert f"A recorded revocation is not on the revocation list: {gone} and 1 more." in line
        command = shlex.split(line.partition("again: ")[2].partition(" (file:")[0])
        assert machine.call(*command[1:]).status == 0
        assert f"not on the revocation list: {more}." in machine.call("check").out
        machine.environ["ROBODJ_REVOKED_FINGERPRINTS"] = more
        assert self.findings(machine) == []

    def test_a_revocation_that_is_not_listed_elsewhere(self, machine: Machine) -> None:
        """The command that is told means the same list and the same log as the check did."""
        gone = another()
        machine.record(revoked(NOW - DAY, gone))
        (machine.root / "elsewhere").mkdir(mode=0o700)
        options = ("--config-dir", "elsewhere", "--operations-log", str(machine.log.relative_to(machine.root)))
        (line,) = (each for each in machine.call("check", *options).out.splitlines() if each.startswith("ALERT"))
        command = shlex.split(line.partition("again: ")[2].partition(" (file:")[0])
        assert machine.call(*command[1:]).status == 0
        assert machine.call("check", *options).status == 0
        assert len(machine.records) == 1

    def test_a_log_that_is_not_there(self, machine: Machine) -> None:
        """Where the variable names one it is a warning; where nobody named it there is none yet."""
        assert self.findings(machine) == []
        machine.environ["ROBODJ_OPERATIONS_LOG"] = "nowhere.jsonl"
        assert self.findings(machine) == [("warning", "setting", None)]
        assert [machine.call(*each, "--strict").status for each in self.COMMANDS[:2]] == [1, 1]
        del machine.environ["ROBODJ_OPERATIONS_LOG"]
        ran = machine.call("check", "--operations-log", "nowhere.jsonl")
        assert (ran.status, ran.out.count("WARNING: setting: --operations-log names a file that is not there.")) == (
            0,
            1,
        )

    def test_a_log_that_was_rotated(self, machine: Machine) -> None:
        """Earlier records are not judged: that is shown, and not counted."""
        machine.call("rotate", "record", "secret.key", "--environment", "prod", "--operator", "Ada")
        machine.log.rename(machine.log.with_suffix(".1"))
        machine.log.touch(0o600)
        assert self.findings(machine) == [("note", "setting", None)]
        assert machine.call("check", "--strict").status == 0
        assert "operations log: no record; it continues after record 1" in machine.call("status").out
        machine.call("rotate", "record", OTHER, "--environment", "prod", "--operator", "Ada")
        assert self.findings(machine) == [("note", "setting", None)]

    def test_a_log_that_cannot_be_relied_on(self, machine: Machine) -> None:
        """The gate judges what it can, and warns: what is recorded and not listed may be missed."""
        machine.record(rotated(NOW - 2 * DAY, another()), rotated(NOW - DAY, machine.fingerprint()))
        edited(machine)
        assert self.findings(machine) == [("warning", "setting", None)]
        assert [machine.call("check", *options).status for options in ((), ("--strict",))] == [0, 1]
        assert f"WARNING: setting: The operations log cannot be relied on: {CUT}." in machine.call("check").out


class TestStrict:
    """--strict fails on warnings, and on a rotation that is behind."""

    @pytest.mark.parametrize(
        ("age", "more", "status"),
        [
            (DAY, {}, 0),
            (30 * DAY, {}, 0),
            (30 * DAY + SECOND, {}, 1),
            (DAY, {"startup": Proof.NOT_DONE}, 1),
            (DAY, {"secret": "secret.key"}, 1),
        ],
        ids=["in-time", "at-the-cadence", "overdue", "incomplete", "not-recorded"],
    )
    def test_rotations(self, machine: Machine, age: timedelta, more: dict[str, Any], status: int) -> None:
        """Without it they are said, and pass."""
        second = {"secret": OTHER} | more
        machine.record(
            *sorted(
                (rotated(NOW - DAY, machine.fingerprint()), rotated(NOW - age, machine.fingerprint(V2), **second)),
                key=lambda record: record.recorded_at,
            )
        )
        strict = machine.call("status", "--strict", "--format", "json")
        assert (strict.status, json.loads(strict.out)["ok"]) == (status, not status)
        assert machine.call("status").status == 0

    def test_warnings(self, machine: Machine) -> None:
        """Whatever else is in order."""
        machine.record(
            rotated(NOW - DAY, machine.fingerprint()),
            rotated(NOW - DAY, machine.fingerprint(V2), secret=OTHER),
        )
        assert machine.call("status", "--strict").status == 0
        machine.environ[ENDS] = marker(DAY)
        assert (machine.call("status").status, machine.call("status", "--strict").status) == (0, 1)


def edited(machine: Machine) -> None:
    """Change a record."""
    machine.log.write_bytes(machine.log.read_bytes().replace(b'"Ada"', b'"Eve"', 1))


def lost(machine: Machine) -> None:
    """Put a directory in its place."""
    machine.log.unlink()
    machine.log.mkdir()


def linked(machine: Machine) -> None:
    """Put a link to it in its place."""
    machine.log.rename(machine.config / "elsewhere")
    machine.log.symlink_to(machine.config / "elsewhere")


def torn(machine: Machine) -> None:
    """Take the end of the last record off."""
    machine.log.write_bytes(machine.log.read_bytes()[:-9])


CUT = "line 2 does not follow line 1: one was changed, or one between was taken away"
TORN = "the last line is torn: a write was cut short; the next record closes it off"
TOLD = "robodj-secretguard: the operations log config/logs/secret_operations.jsonl cannot be relied on: "


class TestLog:
    """What the operations log is worth."""

    @posix_only
    @pytest.mark.parametrize(
        ("spoil", "why", "is_read"),
        [
            (edited, CUT, True),
            (lost, "it is not a regular file", False),
            (linked, "it is a link, and nothing is read or written through one", False),
            (
                lambda machine: machine.log.chmod(0o666),
                "others may have changed it or put it there: it is writable by others",
                False,
            ),
        ],
        ids=["edited", "directory", "link", "exposed"],
    )
    def test_it_cannot_be_relied_on(
        self,
        machine: Machine,
        spoil: Callable[[Machine], None],
        why: str,
        is_read: bool,  # noqa: FBT001
    ) -> None:
        """It is said on both streams, and is no success: 1 where it does not verify, and 2 where it cannot be read;
        what can be read of it is shown.
        """
        *_, last = machine.record(rotated(NOW - 2 * DAY, another()), rotated(NOW - DAY, machine.fingerprint()))
        spoil(machine)
        status = 1 if is_read else 2
        ran = machine.call("status")
        assert (ran.status, ran.err) == (status, f"{TOLD}{why}\n")
        assert re.sub(r"\n  ", " ", ran.out.split("\n\n")[-1]).splitlines() == [
            f"operations log: cannot be relied on: {why}",
            "revocation list: none",
            "0 alert(s), 0 warning(s)",
        ]
        assert ("2026-11-30T12:00:00Z in prod" in ran.out) is is_read
        ran = machine.call("status", "--format", "json")
        document = json.loads(ran.out)
        assert (ran.status, ran.err, document["ok"]) == (status, f"{TOLD}{why}\n", False)
        assert document["operations_log"] == {
            "found": True,
            "last_hash": last.hash if is_read else None,
            "defects": [why],
        }

    @posix_only
    @pytest.mark.parametrize(("spoil", "status"), [(edited, 1), (lost, 2)])
    def test_the_worse_status_counts(self, machine: Machine, spoil: Callable[[Machine], None], status: int) -> None:
        """An alert does not hide that the log cannot be read."""
        machine.record(rotated(NOW - 2 * DAY, another()), rotated(NOW - DAY, machine.fingerprint()))
        del machine.environ[V2]
        spoil(machine)
        assert [machine.call("status", *options).status for options in ((), ("--strict",))] == [status, status]

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("incident", "report", "--since", "2026-11-01"), (0, "")),
            (("rotate", "plan", "secret.key"), (0, "")),
            (
                ("revoke", "secret.key", "--reason", "leaked"),
                (1, "robodj-secretguard: nothing was revoked: pass --yes to do it\n"),
            ),
        ],
        ids=["incident", "plan", "revoke"],
    )
    @pytest.mark.parametrize("spoilt", ["edited", "directory"])
    def test_the_others_tell_it_too(
        self, machine: Machine, arguments: tuple[str, ...], told: tuple[int, str], spoilt: str
    ) -> None:
        """Every command that does its work without a log says that it found one which cannot be relied on."""
        machine.record(rotated(NOW - 2 * DAY, another()), rotated(NOW - DAY, machine.fingerprint()))
        sound = machine.call(*arguments)
        assert (sound.status, sound.err) == told
        spoil, why = {"edited": (edited, CUT), "directory": (lost, "it is not a regular file")}[spoilt]
        spoil(machine)
        for form in ("text", "json"):
            ran = machine.call(*arguments, "--format", form)
            assert (ran.status, ran.err) == (told[0], f"{TOLD}{why}\n{told[1]}")
            assert ran.out

    def test_a_torn_end(self, machine: Machine) -> None:
        """What a cut write has left is not said to verify: `log verify` does not say so either."""
        first, _ = machine.record(rotated(NOW - 2 * DAY, machine.fingerprint()), rotated(NOW - DAY, another()))
        torn(machine)
        assert machine.call("log", "verify").status == 1
        ran = machine.call("status", "--format", "json")
        assert (ran.status, ran.err) == (1, f"{TOLD}{TORN}\n")
        assert json.loads(ran.out)["operations_log"] == {"found": True, "last_hash": first.hash, "defects": [TORN]}

    def test_it_is_empty(self, machine: Machine) -> None:
        """As when its first record could not be written."""
        machine.record()
        ran = machine.call("status")
        assert (ran.status, ran.err, ran.out.splitlines()[-3]) == (0, "", "operations log: no record")
        document = json.loads(machine.call("status", "--format", "json").out)
        assert document["operations_log"] == {"found": True, "last_hash": None, "defects": []}

    @posix_only
    @pytest.mark.parametrize("option", ["--operations-log", "ROBODJ_OPERATIONS_LOG"])
    def test_one_that_was_named(self, machine: Machine, option: str) -> None:
        """It is read there, and its path, which may be a key, is not shown."""
        machine.record(rotated(NOW - DAY, machine.fingerprint()))
        named = machine.log.rename(machine.root / "named.jsonl")
        arguments = (option, str(named)) if option.startswith("-") else ()
        machine.environ.update({} if arguments else {option: str(named)})
        assert said(machine, "rotated", *arguments) == "2026-11-30T12:00:00Z in prod, 1 of 90 days"
        named.chmod(0o666)
        ran = machine.call("status", *arguments)
        assert (ran.status, "named.jsonl" in ran.out + ran.err) == (2, False)
        assert ran.err.startswith(f"robodj-secretguard: the operations log that {option} names cannot be relied on: ")


class TestWidth:
    """No line is over 80 columns."""

    @pytest.mark.parametrize("delivered", [False, True])
    @pytest.mark.parametrize("age", [None, DAY, 99999 * DAY])
    def test_long_texts(self, machine: Machine, age: timedelta | None, delivered: bool) -> None:  # noqa: FBT001
        """Names, owners and places are wrapped, and no character of them is lost."""
        policies = Long.secret_policies.values()
        keys = {policy.variable: good_keys()[V1] for policy in policies}
        machine.environ.update(keys if delivered else {})
        if age is not None:
            more: dict[str, Any] = {"environment": "e" * 32, "startup": Proof.NOT_DONE}
            machine.record(
                *(
                    rotated(NOW - age, fingerprint_of(keys[each.variable]), secret=each.name, **more)
                    for each in policies
                )
            )
        machine.environ["ROBODJ_REVOKED_FINGERPRINTS"] = another()
        machine.write("revoked.fingerprints", another())
        ran = machine.call("status", "--model", f"{__name__}:Long")
        assert max(map(len, ran.out.splitlines())) <= 80
        joined = re.sub(r"\s", "", ran.out)
        for each in policies:
            for text in (each.name, each.owner, each.backup_owner):
                assert text.replace(" ", "") in joined

    def test_what_is_wrong_with_the_log(self, machine: Machine) -> None:
        """It is wrapped too."""
        machine.record(rotated(NOW - 2 * DAY, another()), rotated(NOW - DAY, another()))
        edited(machine)
        assert max(map(len, machine.call("status").out.splitlines())) <= 80


class TestColour:
    """Colour is for a terminal that shows it."""

    def test_which(self, machine: Machine) -> None:
        """Green for a secret that is present, red for one that is not; yellow for a rotation that is behind."""
        del machine.environ[V2]
        machine.record(rotated(NOW - 99 * DAY, machine.fingerprint(), startup=Proof.NOT_DONE))
        lines = machine.call("status", stdout=Terminal()).out.splitlines()
        assert lines[0] == f"{GREEN}secret.key: present (environment){PLAIN}"
        assert lines[2].startswith(f"{YELLOW}  rotated      2026-")
        assert lines[3] == f"               INCOMPLETE: startup not done{PLAIN}"
        assert lines[7] == f"{RED}secret_v2.key: missing (none){PLAIN}"
        assert lines[9] == f"{YELLOW}{NOT_RECORDED[30]}{PLAIN}"
        assert sum("\x1b" in line for line in lines) == 5

    @pytest.mark.parametrize(
        ("environ", "coloured"),
        [
            ({}, True),
            ({"TERM": "xterm-256color"}, True),
            ({"TERM": "dumb"}, False),
            ({"NO_COLOR": "1"}, False),
            ({"NO_COLOR": ""}, True),
        ],
    )
    def test_on_a_terminal(self, machine: Machine, environ: dict[str, str], coloured: bool) -> None:  # noqa: FBT001
        """Unless somebody has asked for none; the text is the same."""
        machine.environ.update(environ)
        plain = machine.call("status").out
        shown = machine.call("status", stdout=Terminal()).out
        assert (shown != plain) is coloured
        assert re.sub(r"\x1b\[[0-9]+m", "", shown) == plain

    def test_json_has_none(self, machine: Machine) -> None:
        """It is for a program, wherever it goes."""
        assert "\x1b" not in machine.call("status", "--format", "json", stdout=Terminal()).out

    @posix_only
    def test_a_process(self, machine: Machine) -> None:
        """On a real terminal there is colour, and in a pipe none, with a model of one's own too."""
        env = {name: value for name, value in clean_environment().items() if name != "NO_COLOR"}
        env |= machine.environ | {"TERM": "xterm"}
        arguments = ["status", "--model", "robodj_secretguard:RuntimeSecrets"]
        shown = on_terminal(arguments, env=env, cwd=machine.root)
        piped = run(["-m", "robodj_secretguard", *arguments], env=env, cwd=machine.root)
        assert (shown.status, shown.err, piped.status, piped.err) == (0, "", 0, "")
        assert shown.out.startswith(f"{GREEN}secret.key: present (environment){PLAIN}\n")
        assert re.sub(r"\x1b\[[0-9]+m", "", shown.out) == piped.out
