"""`status`: the status of each secret, as text that fits a terminal and as JSON."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest
from command_line import NAMED_MODEL, OTHER, Machine, Terminal, fingerprint_of, in_project, rotated
from conftest import NOW, V1, V2, good_keys, marker, posix_only
from fleets import GONE
from publications import volume

from robodj_secretguard import check
from robodj_secretguard.lifecycle.records import Proof, Record
from robodj_secretguard.startup.inputs import WRITABLE

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
ENDS = f"{V1}_EXPIRES_AT"
NAME = "secret.key"
OWNER = "Security Operations"
TO_RECORD = "rotation not recorded"
MESSAGE = "robodj-secretguard: the operations log config/logs/secret_operations.jsonl "


def two_recorded(machine: Machine) -> Record:
    """Record the key and one before it, and return the last record."""
    before = fingerprint_of(good_keys()[V1])
    *_, last = machine.record(rotated(NOW - 2 * DAY, before), rotated(NOW - DAY, machine.fingerprint()))
    return last


def edited(machine: Machine) -> None:
    """Change a record."""
    machine.log.write_bytes(machine.log.read_bytes().replace(b'"Ada"', b'"Eve"', 1))


VENDORS = """
from typing import Annotated
from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings


class Own(SecretSettings):
    api_key: Annotated[Secret, SecretPolicy(material=Material.opaque())]
"""


class TestText:
    """A row for each secret, then its details, then the findings, and a summary."""

    def test_all_of_it(self, machine: Machine) -> None:
        """Every field of a valid key is shown. An overdue rotation is named in the last line."""
        machine.environ[ENDS] = marker(2 * DAY)
        machine.write("revoked.fingerprints", f"{fingerprint_of(good_keys()[V1])}\n")
        *_, last = machine.record(
            rotated(NOW - 93 * DAY, machine.fingerprint(), startup="not-done"),
            rotated(NOW - DAY, machine.fingerprint(V2), secret=OTHER),
        )
        first, second = machine.fingerprint(), machine.fingerprint(V2)
        (warning,) = check(environ=machine.environ, config_dir=machine.config, now=NOW).findings
        ran = machine.call("status")
        assert (ran.status, ran.err) == (0, "")
        header, *rows = [re.split(r"  +", line) for line in ran.out.splitlines()[:3]]
        assert header == ["", "SECRET", "STATE", "FROM", "EXPIRES", "LEFT", "OWNER", "ROTATED", "AGE", "FINGERPRINT"]
        assert rows == [
            ["warn", NAME, "present", "env", "2026-12-03", "2d", OWNER, "2026-08-30 in prod", "93 of 90 days", first],
            ["ok", OTHER, "present", "env", "no marker", "-", OWNER, "2026-11-30 in prod", "1 of 30 days", second],
        ]
        assert ran.out.splitlines()[3:] == [
            "",
            "secret.key: rotation INCOMPLETE, not done: startup",
            "",
            *in_project(warning.text).splitlines(),
            "",
            f"operations log: verifies, last record {last.hash}",
            "revocation list: revoked.fingerprints in the config directory, 1 entry",
            "Secret status: 1 warning; to do: secret.key (rotation overdue).",
        ]

    @pytest.mark.parametrize(
        ("environ", "row", "check_id"),
        [
            ({V1: "short", ENDS: marker(50 * DAY)}, "invalid-format  env   2027-01-20  50d", "format"),
            ({V1: "KEY", ENDS: "soon"}, "not usable  env   no marker", "expiry-marker"),
        ],
        ids=["invalid", "refused"],
    )
    def test_what_is_wrong(self, machine: Machine, environ: dict[str, str], row: str, check_id: str) -> None:
        """An unusable key is marked, and its findings are shown. Only a valid key has a fingerprint."""
        key = machine.environ.pop(V1)
        machine.environ.update({name: key if value == "KEY" else value for name, value in environ.items()})
        lines = machine.call("status").out.splitlines()
        assert lines[1].startswith(f"FAIL  secret.key     {row}")
        shown = fingerprint_of(key) if environ[V1] == "KEY" else "-"
        assert lines[1].endswith(f"  not recorded  - of 90 days  {shown}")
        assert lines[4].startswith(f"ALERT: secret.key: {check_id}: ")
        assert lines[-3:] == [
            "revocation list: none",
            f"Details: robodj-secretguard explain {check_id}",
            f"Secret status FAILED: 1 alert; to do: secret.key ({TO_RECORD}), secret_v2.key ({TO_RECORD}).",
        ]

    def test_slots(self, machine: Machine) -> None:
        """The next and the previous key are shown with the deadline."""
        coming, previous = (good_keys()[V1] for _ in range(2))
        slots = {"NEXT": coming, "PREVIOUS": previous, "PREVIOUS_UNTIL": marker(HOUR)}
        machine.environ.update({f"{V1}_{name}": value for name, value in slots.items()})
        assert machine.call("status").out.splitlines()[4:6] == [
            f"secret.key: next key: {fingerprint_of(coming)}",
            f"secret.key: previous key: {fingerprint_of(previous)} until 2026-12-01T13:00:00Z",
        ]
        machine.environ[f"{V1}_PREVIOUS"] = previous[:20]  # what signed before the adoption
        shown = machine.call("status", now=NOW + HOUR).out.splitlines()[5]
        assert shown == "secret.key: previous key: no fingerprint, until 2026-12-01T13:00:00Z: PASSED"

    @pytest.mark.parametrize(
        ("slots", "due", "why", "strict"),
        [
            (("NEXT",), "promote", "promote the next key", 0),
            (("PREVIOUS", "PREVIOUS_UNTIL"), None, None, 0),
            (("PREVIOUS", "PAST"), "retire", "retire the previous key", 1),
            (("NEXT", "PREVIOUS", "PREVIOUS_UNTIL"), None, None, 0),
        ],
        ids=["promote", "overlap", "retire", "both"],
    )
    def test_due(self, machine: Machine, slots: tuple[str, ...], due: str, why: str | None, strict: int) -> None:
        """A next key is due for its promotion, and a past key for its removal. Only the latter fails with --strict."""
        machine.record(
            *(rotated(NOW - HOUR, machine.fingerprint(each), secret=name) for each, name in ((V1, NAME), (V2, OTHER)))
        )
        for slot in slots:
            name = {"PAST": "PREVIOUS_UNTIL"}.get(slot, slot)
            value = {"PREVIOUS_UNTIL": marker(HOUR), "PAST": marker(-HOUR)}.get(slot, good_keys()[V1])
            machine.environ[f"{V1}_{name}"] = value
        assert machine.call("status", "--format", "json").document["secrets"][0]["due"] == due
        ran = machine.call("status", "--strict")
        to_do = f"; to do: secret.key ({why})." if why else "no alerts, no warnings."
        assert (ran.status, ran.out.splitlines()[-1].endswith(to_do)) == (strict, True)


class TestJson:
    """A JSON document with each secret and its cadence."""

    KEY, OTHERS = (f"sgfp1:{digit * 32}" for digit in "ab")
    NOT_RECORDED: ClassVar[dict[str, object]] = {
        "rotated_at": None,
        "environment": None,
        "age_days": None,
        "overdue": False,
        "open_steps": [],
        "alerts": [],
        "superseded": False,
        "due": None,
    }

    def test_all_of_it(self, machine: Machine) -> None:
        """The document has the state of the log, the whole report of the check, and its alerts by secret."""
        *_, last = machine.record(rotated(NOW - 91 * DAY, machine.fingerprint(), startup="not-done"))
        del machine.environ[V2]
        ran = machine.call("status", "--format", "json", stdout=Terminal())
        report = json.loads(in_project(json.dumps(machine.within(check).as_dict())))
        first, second = report["secrets"]
        recorded = {"rotated_at": "2026-09-01T12:00:00Z", "environment": "prod", "age_days": 91, "overdue": True}
        assert (ran.status, ran.err) == (1, "")
        assert ran.document == {
            "schema": 1,
            "kind": "status",
            "ok": False,
            "model": NAMED_MODEL,
            "operations_log": {"found": True, "last_hash": last.hash, "defects": []},
            "secrets": [
                first | self.NOT_RECORDED | recorded | {"open_steps": ["startup"], "due": "stage"},
                second | self.NOT_RECORDED | {"alerts": ["missing"]},
            ],
            "check": report,
        }

    @pytest.mark.parametrize(
        ("records", "expected"),
        [
            ([rotated(NOW - DAY, OTHERS), rotated(NOW - DAY, KEY, secret=OTHER)], {"due": "stage"}),
            (
                [
                    rotated(NOW - 3 * DAY, OTHERS),
                    rotated(NOW - 2 * DAY, KEY, startup="not-done", environment="dev"),
                    rotated(NOW - DAY, KEY),
                ],
                {"rotated_at": "2026-11-29T12:00:00Z", "environment": "dev", "age_days": 2},
            ),
            (
                [rotated(NOW - 2 * DAY, KEY), rotated(NOW - DAY, KEY, startup="not-done"), rotated(NOW, OTHERS)],
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
        """The age of a key depends on its first record, its open steps on its last record."""
        key = machine.fingerprint()
        machine.record(*(replace(each, fingerprint=key) if each.fingerprint == self.KEY else each for each in records))
        (first, _) = machine.call("status", "--format", "json").document["secrets"]
        assert {name: first[name] for name in self.NOT_RECORDED} == self.NOT_RECORDED | expected

    def test_no_key_is_delivered(self, machine: Machine) -> None:
        """Without a key, as on an operator's machine, the last recorded key counts."""
        del machine.environ[V1]
        keys = [f"sgfp1:{digit * 32}" for digit in "abcdc"]
        machine.record(*(rotated(NOW - number * DAY, key) for number, key in zip((9, 8, 7, 6, 1), keys, strict=True)))
        (first, _) = machine.call("status", "--format", "json").document["secrets"]
        assert (first["fingerprint"], first["rotated_at"]) == (None, "2026-11-24T12:00:00Z")


class TestMetrics:
    """The metrics of a report and the operations log, for a file that Prometheus' node_exporter reads."""

    def test_all_of_it(self, machine: Machine) -> None:
        """The delivered keys, the recorded rotation and its end, and the findings, in declared order."""
        machine.environ[ENDS] = marker(2 * DAY)
        machine.record(rotated(NOW - 91 * DAY, machine.fingerprint()), rotated(NOW - DAY, machine.fingerprint()))
        first, second = machine.fingerprint(), machine.fingerprint(V2)
        machine.environ["ROBODJ_SERVICE"] = "prod/api"
        volume(machine.root / "delivered", {name: machine.environ.pop(name) for name in (V1, V2, ENDS)})
        ran = machine.call("status", "--from", f"directory:{machine.root}/delivered", "--format", "openmetrics")
        assert (ran.status, ran.err) == (0, "")
        own = 'service="prod/api",robodj_environment=""'
        lines = [line for line in ran.out.splitlines() if not line.startswith("# ")]
        of_first, of_second = (f'secret="{name}",owner="Security Operations"' for name in (NAME, OTHER))
        assert lines == [
            f"robodj_secret_{metric[0]}{{{own},{metric[1]}}} {metric[2]:.0f}"
            for metric in (
                ("delivered_info", f'{of_first},slot="current",fingerprint="{first}"', 1),
                ("delivered_info", f'{of_second},slot="current",fingerprint="{second}"', 1),
                ("expiry_timestamp_seconds", of_first, (NOW + 2 * DAY).timestamp()),
                ("rotated_timestamp_seconds", of_first, (NOW - 91 * DAY).timestamp()),
                ("rotation_due_timestamp_seconds", of_first, (NOW - DAY).timestamp()),
                *(
                    ("findings", f'check="{check_id}",severity="{severity}",{labels}', number)
                    for labels in (of_first, of_second)
                    for check_id, severity, number in (
                        ("expired", "alert", 0),
                        ("revoked", "alert", 0),
                        ("expiring", "warning", int(labels == of_first)),
                    )
                ),
                ("findings", 'check="internal",severity="alert",secret="",owner="Security Operations"', 0),
            )
        ]
        assert ran.out.endswith("\n# EOF\n")

    def test_the_environment(self, machine: Machine) -> None:
        """Without --from, no key is delivered: the environment of this command may have an older one.

        A key in place of a name is not shown, and the keys are then for all services, as without a name.
        """
        machine.environ["ROBODJ_SERVICE"] = machine.environ[V1]
        ran = machine.call("status", "--format", "openmetrics", stdout=Terminal())
        assert "robodj_secret_delivered_info" not in ran.out
        assert 'robodj_secret_findings{service="all services",' in ran.out

    def test_the_exit_status(self, machine: Machine) -> None:
        """With an alert it is 1, and the metrics have the alert. Without the log's times the metrics are no result."""
        del machine.environ[V2]
        ran = machine.call("status", "--format", "openmetrics")
        assert (ran.status, ran.err) == (1, "")
        assert ',check="missing",severity="alert",secret="secret_v2.key",owner="Security Operations"} 1\n' in ran.out
        machine.log.parent.mkdir(mode=0o700)
        machine.log.write_text("no record\n", encoding="utf-8")
        ran = machine.call("status", "--format", "openmetrics")
        assert (ran.status, ran.err.startswith(MESSAGE)) == (2, True)
        assert machine.call("status").status == 1


@pytest.mark.parametrize(
    ("age", "startup", "environ", "status", "last"),
    [
        (20 * DAY, "attested", {}, 0, "no alerts, no warnings."),
        (30 * DAY, "attested", {}, 0, "no alerts, no warnings; to do: secret_v2.key (stage a next key)."),
        (30 * DAY + SECOND, "attested", {}, 1, "no alerts, no warnings; to do: secret_v2.key (rotation overdue)."),
        (
            30 * DAY + SECOND,
            "attested",
            {f"{V2}_NEXT": secrets.token_hex(64)},
            1,
            "no alerts, no warnings; to do: secret_v2.key (rotation overdue and promote the next key).",
        ),
        (DAY, "not-done", {}, 1, "no alerts, no warnings; to do: secret_v2.key (rotation incomplete)."),
        (DAY, "attested", {ENDS: marker(DAY)}, 1, "1 warning; to do: secret.key (stage a next key)."),
    ],
    ids=["in time", "soon", "overdue", "overdue with a next key", "incomplete", "warning"],
)
def test_strict(
    machine: Machine, age: timedelta, *, startup: Proof, environ: dict[str, str], status: int, last: str
) -> None:
    """With --strict, a warning or a late rotation fails. Otherwise both are only shown."""
    machine.environ.update(environ)
    machine.record(
        rotated(NOW - age, machine.fingerprint(V2), secret=OTHER, startup=startup),
        rotated(NOW - HOUR, machine.fingerprint()),
    )
    strict, usual = machine.call("status", "--strict"), machine.call("status")
    assert (strict.status, usual.status) == (status, 0)
    assert strict.out.splitlines()[-1] == f"Secret status{' FAILED' * status}: {last}"
    assert usual.out.splitlines()[-1] == f"Secret status: {last}"
    assert ("Details: " in strict.out) is last.startswith("1 warning")


@posix_only
@pytest.mark.parametrize(
    ("spoil", "why", "is_read"),
    [
        (edited, "line 2 does not continue line 1: a line was changed or removed", True),
        (
            lambda machine: machine.log.chmod(0o666),
            f"it {WRITABLE}; correct the permissions, then run log verify --expect",
            False,
        ),
    ],
    ids=["edited", "exposed"],
)
def test_log_that_is_unreliable(
    machine: Machine,
    spoil: Callable[[Machine], None],
    why: str,
    is_read: bool,  # noqa: FBT001
) -> None:
    """The status is 1 if the log does not verify, and 2 if it cannot be read, even with alerts.
    Readable records are shown.
    """
    last = two_recorded(machine)
    spoil(machine)
    status = 1 if is_read else 2
    ran = machine.call("status")
    verdict = f"{'does not verify' if is_read else 'cannot be read'}: {why}"
    assert (ran.status, ran.err) == (status, f"{MESSAGE}{verdict}\n")
    assert f"\noperations log: {verdict}\n" in ran.out
    assert ("2026-11-30 in prod" in ran.out) is is_read
    del machine.environ[V2]
    ran = machine.call("status", "--format", "json", "--strict")
    document = ran.document
    assert (ran.status, ran.err, document["ok"]) == (status, f"{MESSAGE}{verdict}\n", False)
    last_hash = last.hash if is_read else None
    assert document["operations_log"] == {"found": True, "last_hash": last_hash, "defects": [why]}


class TestOneSecret:
    """`status --secret NAME`: the proof that a rotation is complete."""

    def test_a_complete_rotation(self, machine: Machine) -> None:
        """The last line says so, whatever another secret needs."""
        machine.record(rotated(NOW - HOUR, key := machine.fingerprint()))
        del machine.environ[V2]
        ran = machine.call("status", "--secret", NAME, "--strict")
        last = f"The rotation of {NAME} is complete: {key} is its only key, recorded at 2026-12-01T11:00:00Z."
        assert (ran.status, ran.out.splitlines()[-1]) == (0, last)

    def test_a_log_that_does_not_verify_proves_nothing(self, machine: Machine) -> None:
        """The last line never says that a rotation is complete where the command fails."""
        machine.record(rotated(NOW - HOUR, machine.fingerprint()))
        machine.log.write_bytes(machine.log.read_bytes() + b"{}\n")
        ran = machine.call("status", "--secret", NAME)
        assert (ran.status, ran.out.splitlines()[-1]) == (1, f"NOT complete: {NAME}: the line above says why.")

    def test_a_secret_without_a_fingerprint(self, machine: Machine) -> None:
        """What others issue has a record, and no fingerprint to show."""
        machine.put("own.py", VENDORS)
        machine.record(rotated(NOW - HOUR, None, secret="api_key"))  # noqa: S106 - a name
        machine.environ["API_KEY"] = good_keys()[V1]
        ran = machine.call("status", "--secret", "api_key", "--model", "own:Own")
        last = "The rotation of api_key is complete: recorded at 2026-12-01T11:00:00Z."
        assert (ran.status, ran.out.splitlines()[-1]) == (0, last)

    @pytest.mark.parametrize(
        ("variables", "records", "why"),
        [
            ({f"{V1}_NEXT": "new"}, ["rotated"], "its next key is not promoted"),
            (
                {f"{V1}_PREVIOUS": "new", f"{V1}_PREVIOUS_UNTIL": marker(DAY)},
                ["rotated"],
                "its previous key is still there (until 2026-12-02T12:00:00Z)",
            ),
            ({}, [], "no record has its key"),
            ({}, ["rotation-incomplete"], "not recorded as done: startup"),
            ({}, ["rotated", "later"], "its key is an old one"),
            ({V1: "changeme"}, [], "the alert placeholder; no record has its key"),
        ],
        ids=["next", "previous", "no record", "open", "superseded", "alert"],
    )
    def test_what_is_open(self, machine: Machine, variables: dict[str, str], records: list[str], why: str) -> None:
        """Each thing that is open is named, and the status is 1, also without --strict."""
        key = machine.fingerprint()
        drafts = {
            "rotated": rotated(NOW - 20 * DAY, key),
            "rotation-incomplete": rotated(NOW - 20 * DAY, key, startup="not-done"),
            "later": rotated(NOW - 19 * DAY, GONE),
        }
        machine.record(*[drafts[each] for each in records])
        for name, text in variables.items():
            machine.environ[name] = good_keys()[V1] if text == "new" else text
        ran = machine.call("status", "--secret", NAME)
        assert (ran.status, ran.out.splitlines()[-1]) == (1, f"NOT complete: {NAME}: {why}.")
