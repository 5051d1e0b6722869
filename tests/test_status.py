"""`status`: the status of each secret, as text that fits a terminal and as JSON."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import pytest
from command_line import DEFAULT_MODEL, OTHER, Machine, Terminal, fingerprint_of, machine_at, rotated
from conftest import NOW, V1, V2, good_keys, marker, posix_only

from robodj_secretguard import check
from robodj_secretguard.shapes import Proof

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from robodj_secretguard.shapes import Record

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
ENDS = f"{V1}_EXPIRES_AT"
OWNER = "  owner        Security Operations, backup Release Manager"
NOT_RECORDED = "  rotated      not recorded; cadence 30 days"
GREEN, RED, YELLOW, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
CUT = "line 2 does not follow line 1: one was changed, or one between was taken away"
SAID = "robodj-secretguard: the operations log config/logs/secret_operations.jsonl cannot be relied on: "


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with good keys, of which nothing is recorded."""
    return machine_at(tmp_path)


def two_recorded(machine: Machine) -> Record:
    """Record the key and one before it, and return the last record."""
    before = fingerprint_of(good_keys()[V1])
    *_, last = machine.record(rotated(NOW - 2 * DAY, before), rotated(NOW - DAY, machine.fingerprint()))
    return last


def edited(machine: Machine) -> None:
    """Change a record."""
    machine.log.write_bytes(machine.log.read_bytes().replace(b'"Ada"', b'"Eve"', 1))


class TestText:
    """A block for each secret, and the sum of all."""

    def test_all_of_it(self, machine: Machine) -> None:
        """Every field is there for a sound key, wrapped at 80 columns; what is not recorded is said to be so."""
        machine.environ[ENDS] = marker(2 * DAY)
        machine.write("revoked.fingerprints", f"{fingerprint_of(good_keys()[V1])}\n")
        (last,) = machine.record(rotated(NOW - 93 * DAY, machine.fingerprint(), startup=Proof.NOT_DONE))
        ran = machine.call("status")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines() == [
            "secret.key: present (environment)",
            f"  fingerprint  {machine.fingerprint()}",
            "  rotated      2026-08-30T12:00:00Z in prod, 93 of 90 days: OVERDUE by 3 days;",
            "               INCOMPLETE: startup not done",
            "  expires      2026-12-03T12:00:00Z",
            OWNER,
            "",
            "secret_v2.key: present (environment)",
            f"  fingerprint  {machine.fingerprint(V2)}",
            NOT_RECORDED,
            "  expires      no expiry marker",
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
            ({V1: "short", ENDS: marker(50 * DAY)}, "invalid-format (environment)", "2027-01-20T12:00:00Z"),
            ({V1: "KEY", ENDS: "soon"}, "present (environment), refused: expiry-marker", "no expiry marker"),
        ],
        ids=["invalid", "refused"],
    )
    def test_what_is_wrong(self, machine: Machine, environ: dict[str, str], head: str, expires: str) -> None:
        """The state is in the words of the gate, and only a sound key has a fingerprint."""
        key = machine.environ.pop(V1)
        machine.environ.update({name: key if value == "KEY" else value for name, value in environ.items()})
        ran = machine.call("status", "--config-dir", "config")
        sound = environ.get(V1) == "KEY"
        first, second, _, fourth, *_, log, _, last = ran.out.splitlines()
        assert (first, fourth, log) == (f"secret.key: {head}", f"  expires      {expires}", "operations log: none")
        assert second == f"  fingerprint  {fingerprint_of(key) if sound else 'none: there is no sound key'}"
        which = "robodj-secretguard check says which (same options)"
        assert (ran.status, last) == (1, f"1 alert(s), 0 warning(s): {which}")

    def test_a_key_in_a_file(self, machine: Machine) -> None:
        """A key is judged as the gate does, with the same options."""
        machine.write("secret.key", machine.environ.pop(V1))
        ran = machine.call("status")
        assert (ran.status, ran.out.splitlines()[0]) == (0, "secret.key: present (file:config/secret.key)")
        ran = machine.call("status", "--require-env-only")
        assert (ran.status, ran.out.splitlines()[0]) == (1, "secret.key: missing (none)")

    @pytest.mark.parametrize(
        ("age", "said_of_it"),
        [
            (timedelta(0), "0 of 90 days"),
            (90 * DAY, "90 of 90 days"),
            (90 * DAY + SECOND, "90 of 90 days: OVERDUE by 1 day"),
            (91 * DAY, "91 of 90 days: OVERDUE by 1 day"),
            (91 * DAY + SECOND, "91 of 90 days: OVERDUE by 2 days"),
            (-SECOND, "which is ahead of this machine's clock"),
        ],
        ids=str,
    )
    def test_an_age(self, machine: Machine, age: timedelta, said_of_it: str) -> None:
        """A day that has begun counts as overdue; a record of the future has no age."""
        at = NOW - age
        machine.record(rotated(at, machine.fingerprint()))
        text = re.sub(r"\n {15}", " ", machine.call("status").out)
        assert f"  rotated      {at:%Y-%m-%dT%H:%M:%SZ} in prod, {said_of_it}\n" in text


class TestJson:
    """One document, with each secret against its cadence."""

    KEY, OTHERS = (f"sgfp1:{digit * 32}" for digit in "ab")
    NOT_RECORDED: ClassVar[dict[str, object]] = {
        "rotated_at": None,
        "environment": None,
        "age_days": None,
        "overdue": False,
        "open_steps": [],
        "alerts": [],
        "superseded": False,
    }

    def test_all_of_it(self, machine: Machine) -> None:
        """The document has the state of the log, the whole report of the check, and its alerts by secret."""
        *_, last = machine.record(rotated(NOW - 91 * DAY, machine.fingerprint(), startup=Proof.NOT_DONE))
        del machine.environ[V2]
        ran = machine.call("status", "--format", "json", stdout=Terminal())
        report = machine.within(check).as_dict()
        first, second = report["secrets"]
        recorded = {"rotated_at": "2026-09-01T12:00:00Z", "environment": "prod", "age_days": 91, "overdue": True}
        assert (ran.status, ran.err) == (1, "")
        assert ran.document == {
            "schema": 1,
            "kind": "status",
            "ok": False,
            "model": DEFAULT_MODEL,
            "operations_log": {"found": True, "last_hash": last.hash, "defects": []},
            "secrets": [
                first | self.NOT_RECORDED | recorded | {"open_steps": ["startup"]},
                second | self.NOT_RECORDED | {"alerts": ["missing"]},
            ],
            "check": report,
        }

    @pytest.mark.parametrize(
        ("records", "expected"),
        [
            ([rotated(NOW - DAY, OTHERS), rotated(NOW - DAY, KEY, secret=OTHER)], {}),
            (
                [
                    rotated(NOW - 3 * DAY, OTHERS),
                    rotated(NOW - 2 * DAY, KEY, startup=Proof.NOT_DONE, environment="dev"),
                    rotated(NOW - DAY, KEY),
                ],
                {"rotated_at": "2026-11-29T12:00:00Z", "environment": "dev", "age_days": 2},
            ),
            (
                [rotated(NOW - 2 * DAY, KEY), rotated(NOW - DAY, KEY, startup=Proof.NOT_DONE), rotated(NOW, OTHERS)],
                {
                    "rotated_at": "2026-11-29T12:00:00Z",
                    "environment": "prod",
                    "age_days": 2,
                    "open_steps": ["startup"],
                    "superseded": True,
                },
            ),
        ],
        ids=["others", "completed", "incomplete and old"],
    )
    def test_the_records_of_a_key(self, machine: Machine, records: list[Record], expected: dict[str, object]) -> None:
        """A key's age counts from its first record, its open steps from its last."""
        key = machine.fingerprint()
        machine.record(*(replace(each, fingerprint=key) if each.fingerprint == self.KEY else each for each in records))
        (first, _) = machine.call("status", "--format", "json").document["secrets"]
        assert {name: first[name] for name in self.NOT_RECORDED} == self.NOT_RECORDED | expected

    def test_no_key_is_delivered(self, machine: Machine) -> None:
        """Without a key, as on an operator's machine, the key that was recorded last counts."""
        del machine.environ[V1]
        keys = [f"sgfp1:{digit * 32}" for digit in "abcdc"]
        machine.record(*(rotated(NOW - number * DAY, key) for number, key in zip((9, 8, 7, 6, 1), keys, strict=True)))
        (first, _) = machine.call("status", "--format", "json").document["secrets"]
        assert (first["fingerprint"], first["rotated_at"]) == (None, "2026-11-24T12:00:00Z")


@pytest.mark.parametrize(
    ("age", "startup", "environ", "status"),
    [
        (30 * DAY, Proof.ATTESTED, {}, 0),
        (30 * DAY + SECOND, Proof.ATTESTED, {}, 1),
        (DAY, Proof.NOT_DONE, {}, 1),
        (DAY, Proof.ATTESTED, {ENDS: marker(DAY)}, 1),
    ],
    ids=["in time", "overdue", "incomplete", "warning"],
)
def test_strict(machine: Machine, age: timedelta, startup: Proof, environ: dict[str, str], status: int) -> None:
    """With --strict, a warning and a rotation that is behind fail; otherwise they are shown."""
    machine.environ.update(environ)
    machine.record(
        rotated(NOW - age, machine.fingerprint(V2), secret=OTHER, startup=startup),
        rotated(NOW - HOUR, machine.fingerprint()),
    )
    strict = machine.call("status", "--strict", "--format", "json")
    assert (strict.status, strict.document["ok"]) == (status, not status)
    assert machine.call("status").status == 0


class TestLog:
    """Whether the operations log can be relied on."""

    @posix_only
    @pytest.mark.parametrize(
        ("spoil", "why", "is_read"),
        [
            (edited, CUT, True),
            (
                lambda machine: machine.log.chmod(0o666),
                "others may have changed it or put it there: it is writable by others",
                False,
            ),
        ],
        ids=["edited", "exposed"],
    )
    def test_unreliable(
        self,
        machine: Machine,
        spoil: Callable[[Machine], None],
        why: str,
        is_read: bool,  # noqa: FBT001
    ) -> None:
        """The status is 1 if the log does not verify, and 2 if it cannot be read, even with alerts; what can be read
        is shown.
        """
        last = two_recorded(machine)
        spoil(machine)
        status = 1 if is_read else 2
        ran = machine.call("status")
        assert (ran.status, ran.err) == (status, f"{SAID}{why}\n")
        assert f"\noperations log: cannot be relied on: {why}\n" in ran.out.replace("\n  ", " ")
        assert ("2026-11-30T12:00:00Z in prod" in ran.out) is is_read
        del machine.environ[V2]
        ran = machine.call("status", "--format", "json", "--strict")
        document = ran.document
        assert (ran.status, ran.err, document["ok"]) == (status, f"{SAID}{why}\n", False)
        last_hash = last.hash if is_read else None
        assert document["operations_log"] == {"found": True, "last_hash": last_hash, "defects": [why]}


class TestColour:
    """Colour is for a terminal that shows it."""

    def test_which(self, machine: Machine) -> None:
        """A secret is green, or red if an alert concerns it; a rotation that is behind is yellow."""
        del machine.environ[V2]
        later = rotated(NOW - DAY, fingerprint_of(good_keys()[V1]))
        machine.record(rotated(NOW - 99 * DAY, machine.fingerprint(), startup=Proof.NOT_DONE), later)
        lines = machine.call("status", stdout=Terminal()).out.splitlines()
        assert lines[0] == f"{GREEN}secret.key: present (environment), an old key{PLAIN}"
        assert lines[2].startswith(f"{YELLOW}  rotated      2026-")
        assert lines[3] == f"               INCOMPLETE: startup not done{PLAIN}"
        assert lines[7] == f"{RED}secret_v2.key: missing (none){PLAIN}"
        assert lines[9] == f"{YELLOW}{NOT_RECORDED}{PLAIN}"
        assert sum("\x1b" in line for line in lines) == 5
