"""`fleet status`: which instances run on which keys, and which conditions hold."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from command_line import DEFAULT_MODEL, key_as_argument, machine_at, rotated
from conftest import NOW, V1, V2, document_of, good_keys
from detector import leaks
from fleets import COMING, GONE, LEAKED, MINUTE, NAME, OLD, OTHER, SECOND, WEB, Prometheus, line, series, without_times
from pydantic import SecretStr

from robodj_secretguard import Material, RuntimeSecrets, SecretPolicy
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet.verdict import parse_fleet
from robodj_secretguard.lifecycle.records import Event, Head

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conftest import Ran

DAY = timedelta(days=1)
PASSWORD = SecretPolicy(
    name="radio",
    variable="RADIO_PASSWORD",
    material=Material.opaque(),
    issuer="Icecast",
    owner="Radio",
    cadence=90 * DAY,
    warn_before=14 * DAY,
)


class Radio(RuntimeSecrets):
    """A service with the password of a vendor, which has no fingerprint."""

    radio: Annotated[SecretStr, PASSWORD]


class Operator:
    """An operator's machine with a roster, events, and keys in the environment.

    Attributes:
        machine: the machine.
        current: the fingerprint of the current key of `secret.key`.
    """

    def __init__(self, root: Path) -> None:
        self.machine = machine_at(root)
        self.current = self.machine.fingerprint()
        self.roster("api web-1 secret.key")
        self.events(line(keys=Slots(self.current)))

    def roster(self, text: str | bytes) -> None:
        self.machine.put("roster", text)

    def events(self, *lines: bytes) -> None:
        self.machine.put("events", b"".join(lines))

    def status(self, *options: str, events: Sequence[str] = ("--events", "events"), name: str = NAME) -> Ran:
        """Run `fleet status` for a secret, and assert that no key is shown."""
        only = ["--secret", name] if name else []
        ran = self.machine.call("fleet", "status", "--roster", "roster", *events, *only, *options)
        assert leaks(ran.out + ran.err, [*self.machine.environ.values()]) == []
        return ran

    def requires(self, *condition: str) -> tuple[int, list[str]]:
        """Return the status for a condition, and the lines of it."""
        ran = self.status("--require", *condition)
        lines = without_times(ran.out).splitlines()
        begin = next((at for at, each in enumerate(lines) if each.startswith(" ".join(condition))), len(lines))
        return ran.status, lines[begin:]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator of one instance, which signs with the current key."""
    return Operator(tmp_path)


def proven(condition: str) -> tuple[int, list[str]]:
    """Return what a condition that holds prints."""
    return 0, [f"{condition}: proven for every instance.", "Fleet status: every condition holds."]


def not_proven(condition: str, *why: str) -> tuple[int, list[str]]:
    """Return what a condition that does not hold prints."""
    end = "Fleet status FAILED: 1 condition not proven."
    return 1, [f"{condition}: NOT PROVEN", *(f"  {each}" for each in why), end]


class TestText:
    """What an operator reads."""

    def test_a_fleet(self, operator: Operator) -> None:
        """Each instance has a row for each key that it may use, and for each secret of which nothing is known."""
        now = operator.current
        operator.machine.record(rotated(NOW - 9 * DAY, OLD), rotated(NOW - DAY, now))
        operator.machine.write("revoked.fingerprints", f"{GONE}\n{LEAKED}@2026-12-02T00:00:00Z\n", 0o644)
        operator.machine.environ[f"{V1}_NEXT"] = good_keys()[V1]
        following = operator.machine.fingerprint(f"{V1}_NEXT")
        operator.roster("api web-1\napi web-2\nworker a secret.key\nworker b\nworker c")
        operator.events(
            line(("api", "web-1"), Slots(now, following), NOW - MINUTE, started=NOW - 3 * MINUTE),
            line(("api", "web-2"), Slots(OLD), NOW - 2 * MINUTE, started=NOW - DAY),
            line(("api", "web-2"), Slots(following), NOW - 10 * MINUTE),
            line(("api", "web-2"), kind="refused", checks=["secret.key: placeholder"]),
            line(("worker", "a"), Slots(GONE), NOW + MINUTE),
            line(("worker", "b"), Slots(now), NOW + 6 * MINUTE),
            line(("cron", "x"), Slots(COMING)),
            line(("cron", "x"), Slots(LEAKED)),
            b'{"secret_event": 5}\nhello\n',
        )
        assert operator.status().out == (
            f"""\
      SERVICE  INSTANCE  SECRET      RUNS ON            SINCE                 SEEN
ok    api      web-1     secret.key  current, has next  2026-12-01T11:57:00Z  60s ago
warn  api      web-2     secret.key  superseded         2026-11-30T12:00:00Z  120s ago
warn  api      web-2     secret.key  next               2026-12-01T11:50:00Z  600s ago
FAIL  worker   a         secret.key  revoked            2026-12-01T12:01:00Z  0s ago
ok    worker   b         secret.key  current            2026-12-01T12:06:00Z  0s ago
?     worker   b         secret.key  unknown            -                     its clock is ahead
?     worker   c         secret.key  unknown            -                     no event of it
FAIL  cron     x         secret.key  unrecorded         2026-12-01T12:00:00Z  0s ago
FAIL  cron     x         secret.key  unrecorded         2026-12-01T12:00:00Z  0s ago

secret.key: 2 current, 1 superseded, 1 next, 1 revoked, 2 unknown, 1 unrecorded
secret.key: the expected key is {now} (from environment).
Not in the roster: cron/x.
api/web-2: 1 start refused, the last one at 2026-12-01T12:00:00Z (placeholder).
1 event could not be read.
Fleet status: 6 instances.
"""
        )

    def test_a_revoked_key_in_another_slot(self, operator: Operator) -> None:
        """A revoked key that only verifies is shown too, until its deadline has passed on every clock."""
        operator.machine.write("revoked.fingerprints", f"{GONE}\n", 0o644)
        for keys, role in (
            (Slots(operator.current, GONE), "FAIL current, accepts revoked"),
            (Slots(operator.current, None, GONE), "FAIL current, accepts revoked"),
            (Slots(operator.current, None, GONE, NOW - 5 * MINUTE + SECOND), "FAIL current, accepts revoked"),
            (Slots(operator.current, None, GONE, NOW - 5 * MINUTE), "ok current"),
            (Slots(None, None, OLD), "FAIL unrecorded"),
        ):
            operator.events(line(keys=keys))
            words = operator.status().out.splitlines()[1].split()
            assert " ".join([words[0], *words[4:-3]]) == role

    def test_an_ended_process(self, operator: Operator) -> None:
        """Keys of a process that missed its heartbeat, while its instance sends others, wait for their end."""
        old, new = Slots(OLD), Slots(operator.current)
        for age, mark in ((121, "wait"), (120, "FAIL")):
            earlier = line(keys=old, at=NOW - timedelta(seconds=age), heartbeat_seconds=60)
            operator.events(earlier, line(keys=new, heartbeat_seconds=60))
            ran = operator.status("--require", "moved")
            (row,) = [each for each in ran.out.splitlines() if "unrecorded " in each]
            until = f"{NOW - timedelta(seconds=age) + 20 * MINUTE:%FT%TZ}"
            assert (row.split()[0], ran.status) == (mark, 1)
            assert row.endswith(f"s ago, counts until {until}") is (mark == "wait")
            assert f"signs with {OLD}, seen at " in ran.out
            assert f", which counts until {until}\n" in ran.out
            assert f"\n{NAME}: {'1 current' if mark == 'wait' else '1 unrecorded, 1 current'}\n" in ran.out

    def test_what_does_not_wait(self, operator: Operator) -> None:
        """A revoked key, the only keys of a secret, and keys that are old by a clock that is ahead."""
        operator.machine.write("revoked.fingerprints", f"{GONE}\n", 0o644)
        new, beat = Slots(operator.current), {"heartbeat_seconds": 60}
        gone = line(keys=Slots(GONE), at=NOW - 3 * MINUTE, **beat)
        alone = line(keys=new, at=NOW - 3 * MINUTE, **beat)
        of_other = line(**beat, secrets=[{"secret": OTHER, "fingerprint": OLD}])
        ahead = line(keys=new, at=NOW + 4 * MINUTE, **beat)
        superseded = line(keys=Slots(OLD), at=NOW - MINUTE, **beat)
        for lines, mark in (((gone, line(keys=new)), "FAIL"), ((alone, of_other), "ok"), ((superseded, ahead), "FAIL")):
            operator.events(*lines)
            assert operator.status().out.splitlines()[1].split()[0] == mark

    def test_a_long_heartbeat(self, operator: Operator) -> None:
        """Where a heartbeat is longer than the limit, the row has the time until which it counts."""
        operator.events(line(keys=Slots(operator.current), heartbeat_seconds=3600))
        assert "0s ago, counts until 2026-12-01T13:05:00Z\n" in operator.status().out

    def test_many(self, operator: Operator) -> None:
        """Of many instances, the first ones are named."""
        who = [("job", f"n{number}") for number in range(22)]
        operator.events(*map(line, who), *(line(each, kind="refused") for each in who))
        ran = operator.status("--require", "moved")
        assert ran.out.count(": 1 start refused, the last one at ") == 20
        assert "\nStarts of 2 more instances were refused.\n" in ran.out
        names = ", ".join(f"job/n{number}" for number in range(20))
        assert f"\nNot in the roster: {names} and 2 more.\n" in ran.out
        assert ran.out.count("; it is not in the roster") == 19
        assert "\n  and 3 more\n" in ran.out

    def test_every_secret(self, operator: Operator) -> None:
        """Without --secret, each secret with a fingerprint is shown, and the roster must say who has it."""
        second = operator.machine.fingerprint(V2)
        operator.roster("api web-1")
        ran = operator.status(name="")
        assert f"{NAME}: 1 current\n{OTHER}: 1 unrecorded\n" in ran.out
        ran = operator.status("--require", "none-on", second, name="")
        assert (ran.status, ran.out.splitlines()[-1]) == (0, "Fleet status: every condition holds.")


class TestConditions:
    """When a condition holds."""

    def test_moved(self, operator: Operator) -> None:
        """Every instance signs with the current key."""
        assert operator.requires("moved") == proven("moved")
        operator.events(line(keys=Slots(OLD, operator.current)))
        assert operator.requires("moved") == not_proven("moved", f"api/web-1: {NAME}: signs with {OLD}")

    def test_has_next(self, operator: Operator) -> None:
        """Every instance has the next key, in either slot."""
        operator.machine.environ[f"{V1}_NEXT"] = good_keys()[V1]
        following = operator.machine.fingerprint(f"{V1}_NEXT")
        why = f"api/web-1: {NAME}: does not have the next key {following}"
        assert operator.requires("has-next") == not_proven("has-next", why)
        for keys in (Slots(operator.current, following), Slots(following)):
            operator.events(line(keys=keys))
            assert operator.requires("has-next") == proven("has-next")

    def test_none_on(self, operator: Operator) -> None:
        """No instance uses a key. An instance that is not in the roster counts, and a typo is shown."""
        operator.machine.record(rotated(NOW - 9 * DAY, OLD))
        assert operator.requires("none-on", OLD) == proven(f"none-on {OLD}")
        ran = operator.status("--require", "none-on", GONE, "--require", "none-on", OLD)
        assert (ran.status, f"\n{GONE} is not a recorded key.\n" in ran.out) == (0, True)
        assert ran.out.count("not a recorded key") == 1
        operator.events(line(keys=Slots(operator.current)), line(("cron", "x"), Slots(COMING, OLD)))
        why = f"cron/x: {NAME}: uses {OLD} as its next key; it is not in the roster"
        assert operator.requires("none-on", OLD) == not_proven(f"none-on {OLD}", why)

    @pytest.mark.parametrize(
        ("age", "options", "status"),
        [
            (600, (), 0),
            (51, ("--max-age", "60", "--max-skew", "10"), 1),
        ],
    )
    def test_the_age(self, operator: Operator, age: int, options: tuple[str, ...], status: int) -> None:
        """Evidence must be younger than --max-age by every clock that differs by at most --max-skew."""
        operator.events(line(keys=Slots(operator.current), at=NOW - age * SECOND))
        assert operator.status("--require", "moved", *options).status == status

    def test_several_sources(self, operator: Operator) -> None:
        """The events of all files and servers count together."""
        operator.roster("api web-1 secret.key\nworker a secret.key")
        keys = Slots(operator.current)
        operator.machine.put("more", line(("worker", "a"), keys))
        with Prometheus() as prometheus:
            key = series("info", secret=NAME, slot="current", fingerprint=OLD)
            prometheus.result = [key, series("start_timestamp_seconds")]
            sources = ("--events", "events", "--events", "more", "--prometheus", prometheus.url)
            ran = operator.status("--require", "moved", "--select", 'zone="a"', events=sources)
        assert without_times(ran.out).splitlines()[-2] == f"  api/web-1: {NAME}: signs with {OLD}"
        assert "zone" in prometheus.asked[0]
        assert "%5B1200s%5D" in prometheus.asked[0]
        assert operator.status("--require", "moved", events=sources[:4]).status == 0

    def test_stdin(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        """Events, or the roster, can come through a pipe."""
        for option, name in (("--events", "events"), ("--roster", "roster")):
            content = (operator.machine.root / name).read_bytes()
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
            events = ("--events", "events") if name == "roster" else ()
            assert operator.status("--require", "moved", option, "-", events=events).status == 0

    def test_no_event(self, operator: Operator) -> None:
        """A file without an event is probably the wrong one."""
        operator.events(b"hello\n")
        assert "\nThere was no event.\n" in operator.status().out

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_a_source_that_cannot_be_read(self, operator: Operator, form: str) -> None:
        """Without the keys of --from there is no result, but its alert."""
        ran = operator.status("--from", "directory:nowhere", "--require", "moved", "--format", form)
        alert = "ALERT: source: directory:nowhere does not exist\n" if form == "text" else '"check": "source"'
        assert (ran.status, alert in ran.out, ran.err) == (1, True, "")

    def test_prometheus_does_not_answer(self, operator: Operator) -> None:
        """Without an answer there is no result: try again."""
        with Prometheus() as prometheus:
            prometheus.content = b"{}"
            ran = operator.status("--require", "moved", "--prometheus", prometheus.url)
        err = "robodj-secretguard: --prometheus: no complete answer (KeyError)\n"
        assert (ran.status, ran.out, ran.err) == (75, "", err)


class TestExpected:
    """With what instances are compared."""

    def test_the_log(self, operator: Operator) -> None:
        """Without a key in the environment, the recorded key is the current one."""
        del operator.machine.environ[V1]
        operator.machine.record(rotated(NOW - DAY, operator.current))
        assert operator.requires("moved") == proven("moved")

    def test_an_old_key_in_the_environment(self, operator: Operator) -> None:
        """An operator's shell with an old key proves nothing: the log has a later one."""
        operator.machine.record(rotated(NOW - 9 * DAY, operator.current), rotated(NOW - DAY, COMING))
        why = f"api/web-1: {NAME}: signs with {operator.current}"
        assert operator.requires("moved") == not_proven("moved", why)
        operator.events(line(keys=Slots(COMING)))
        assert operator.requires("moved") == proven("moved")

    def test_the_environment(self, operator: Operator) -> None:
        """The keys of another environment are not expected."""
        operator.machine.record(
            rotated(NOW - 9 * DAY, OLD, environment="dev"), rotated(NOW - DAY, operator.current), rotated(NOW, COMING)
        )
        del operator.machine.environ[V1]
        fix = "pass --from, or --environment with an operations log; to compare only one secret, pass --secret"
        ran = operator.status("--require", "moved")
        assert (ran.status, ran.err) == (2, f"robodj-secretguard: no current key of {NAME} is known; {fix}\n")
        operator.events(line(keys=Slots(OLD)))
        assert operator.status("--require", "moved", "--environment", "dev").status == 0
        assert operator.status("--require", "moved", "--environment", "prod").status == 1

    @pytest.mark.parametrize("options", [(), ("--require", "moved")])
    def test_a_damaged_log(self, operator: Operator, options: tuple[str, ...]) -> None:
        """A log that does not verify proves nothing. The status is shown, with the complaint."""
        operator.machine.record(rotated(NOW - DAY, operator.current))
        operator.machine.log.write_text("no record\n", encoding="utf-8")
        ran = operator.status(*options)
        assert (ran.status, "does not verify" in ran.err) == (2 if options else 0, True)

    def test_a_lost_log(self, operator: Operator) -> None:
        """An empty or missing log whose head file has a record proves nothing. Neither does one that is named."""
        records = operator.machine.record(rotated(NOW - 9 * DAY, operator.current), rotated(NOW - DAY, COMING))
        head = Head(sequence=records[-1].sequence, hash=records[-1].hash).line()
        operator.machine.put("config/logs/secret_operations.jsonl.head", head + b"\n")
        for lose in (lambda: operator.machine.log.write_bytes(b""), operator.machine.log.unlink):
            lose()
            ran = operator.status("--require", "moved")
            assert (ran.status, "has no record; pass --from, or restore the log\n" in ran.err) == (2, True)
        ran = operator.status("--operations-log", "nowhere", "--require", "moved")
        assert (ran.status, "has no record; pass --from" in ran.err) == (2, True)

    def test_a_missing_log(self, operator: Operator) -> None:
        """A log that is named and missing is shown: the expected keys are those of the shell."""
        out = operator.status("--operations-log", "nowhere").out
        assert f"\n{NAME}: the expected key is {operator.current} (from environment).\n" in out
        assert "\nWARNING: setting: --operations-log names a file that does not exist\n" in out

    def test_nothing(self, operator: Operator) -> None:
        """A next key must be staged before instances can have it."""
        ran = operator.status("--require", "has-next")
        fix = "stage one (rotate stage); to compare only one secret, pass --secret"
        assert (ran.status, ran.err) == (2, f"robodj-secretguard: no next key of {NAME} is known; {fix}\n")
        del operator.machine.environ[V1]
        assert f"\n{NAME}: the expected key is unknown.\n" in operator.status().out

    @pytest.mark.parametrize("where", ["list", "log"])
    def test_a_revoked_key(self, operator: Operator, where: str) -> None:
        """It is not proven that all run on a revoked key: that is no good news."""
        if where == "list":
            operator.machine.write("revoked.fingerprints", f"{operator.current}\n", 0o644)
        else:
            operator.machine.record(rotated(NOW, operator.current, event=Event.REVOKED))
        ran = operator.status("--require", "moved")
        why = f"the current key of {NAME} is revoked; replace it first: see rotate run --help"
        assert (ran.status, ran.err.splitlines()[-1]) == (2, f"robodj-secretguard: {why}")
        assert operator.status().out.splitlines()[1].split()[:5] == ["FAIL", *WEB, NAME, "revoked"]


class TestRefused:
    """Options that are a usage error. What was typed is not shown."""

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (("--require", "move"), "--require: unknown condition (choose from moved, has-next, none-on FINGERPRINT)"),
            (
                ("--require", "moved", OLD),
                "--require: write moved and has-next alone, and none-on with one fingerprint",
            ),
            (("--require", "none-on"), "--require: write moved and has-next alone, and none-on with one fingerprint"),
            (
                ("--require", "none-on", OLD.upper()),
                "--require: write moved and has-next alone, and none-on with one fingerprint",
            ),
            (
                ("--require", "none-on", OLD, GONE),
                "--require: write moved and has-next alone, and none-on with one fingerprint",
            ),
            (("--max-age", "300"), "--max-age must be greater than --max-skew"),
            (("--max-age", "0"), "--max-age: invalid number of seconds; use one from 1 to 86400"),
            (("--max-skew", "0.5"), "--max-skew: invalid number of seconds; use a whole one"),
            (("--select", 'slot="current"'), '--select: invalid labels; write them like environment="prod"'),
            (
                ("--prometheus", "prometheus:9090"),
                "--prometheus: invalid address; use one like http://127.0.0.1:9090",
            ),
            (("--events", "-", "--events", "-"), "only one of --roster and --events can be stdin"),
            (
                ("--events", "nowhere"),
                "--events: the file is missing, unreadable or not a regular file; check its name, or use - for a pipe",
            ),
        ],
    )
    def test_options(self, operator: Operator, options: tuple[str, ...], why: str) -> None:
        """Each mistake has one message."""
        ran = operator.status(*options)
        assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {why}\n")

    def test_no_evidence(self, operator: Operator) -> None:
        """A source of evidence is needed."""
        ran = operator.status(events=())
        assert (ran.status, ran.out) == (2, "")
        assert ran.err == "robodj-secretguard: pass --events or --prometheus, which have the evidence\n"

    @pytest.mark.parametrize(
        ("roster", "why"),
        [
            ("", "the file has no instance"),
            ("# api web-1\n", "the file has no instance"),
            ("api web-1 secret.key\napi web-1 secret_v2.key", "line 2 is invalid; write each instance once: "),
            ("api", "line 1 is invalid; write each instance once: "),
            ("api web-1 secret_v2.key", "no instance has secret.key; to compare only one secret, pass --secret"),
            (b"\xffapi web-1", "line 1 is invalid; "),
            (b" " * (2**22 + 1), "the input is larger than the limit of 4194304 bytes"),
        ],
        ids=range(7),
    )
    def test_a_roster(self, operator: Operator, roster: str | bytes, why: str) -> None:
        """A roster of which nothing could be asked never proves anything."""
        operator.roster(roster)
        ran = operator.status("--require", "moved")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"robodj-secretguard: --roster: {why}")

    def test_windows(self, operator: Operator) -> None:
        """A byte order mark, tabs and CR LF do not change a roster."""
        operator.roster(b"\xef\xbb\xbfapi\tweb-1\tsecret.key\r\n\r\n")
        assert operator.requires("moved") == proven("moved")

    def test_an_opaque_secret(self, operator: Operator) -> None:
        """A secret of a vendor has no fingerprint: it is not compared, and not asked of an instance."""
        operator.machine.environ["RADIO_PASSWORD"] = good_keys()[V1][:20]
        ran = operator.status("--model", "test_fleet:Radio", "--require", "moved")
        assert (ran.status, "radio" in ran.out) == (0, False)
        ran = operator.status("--model", "test_fleet:Radio", name="radio")
        assert (ran.status, ran.err.splitlines()[-1]) == (
            2,
            "robodj-secretguard: --secret: it has no fingerprint, because a vendor issues it",
        )
        operator.roster("api web-1 radio")
        assert operator.status("--model", "test_fleet:Radio").status == 2

    @pytest.mark.parametrize(
        "options", [("--select", "{}"), ("--select", 'x="{}"'), ("--prometheus", "http://a/{}"), ("--require", "{}")]
    )
    def test_a_pasted_key(self, operator: Operator, options: tuple[str, ...]) -> None:
        """A key as an argument is refused, and not shown."""
        key = key_as_argument()
        ran = operator.status(*(each.format(key) for each in options))
        assert leaks(ran.out + ran.err, [key]) == []
        assert (ran.status, ran.out) == (2, "")


class TestJson:
    """The document that other commands read."""

    def test_a_document(self, operator: Operator) -> None:
        """It has the fleet, the role of each key, and why a condition does not hold."""
        operator.events(line(keys=Slots(OLD)), b'{"secret_event": 5}')
        ran = operator.status("--require", "moved", "--require", "none-on", GONE, "--format", "json")
        document = document_of(ran.out)
        why = f"signs with {OLD}, seen at 2026-12-01T12:00:00Z, which counts until 2026-12-01T12:20:00Z"
        fleet = parse_fleet(ran.out.encode())
        assert fleet is not None
        assert fleet.expected == {NAME: Slots(operator.current)}
        assert {name: value for name, value in document.items() if name != "fleet"} == {
            "schema": 1,
            "kind": "fleet",
            "ok": False,
            "model": DEFAULT_MODEL,
            "roles": [{"secret": NAME, "fingerprint": OLD, "role": "unrecorded"}],
            "conditions": [
                {
                    "condition": "moved",
                    "holds": False,
                    "not_ready": [{"instance": "api/web-1", "secret": NAME, "why": why}],
                },
                {"condition": f"none-on {GONE}", "holds": True, "not_ready": []},
            ],
            "events": 1,
            "invalid_events": 1,
        }

    def test_no_key_is_in_it(self, operator: Operator) -> None:
        """A key that was pasted into an event is in no output, also as the name of a secret."""
        key = good_keys()[V2]
        bad: list[dict[str, Any]] = [
            {"instance": key},
            {"service": key},
            {"secrets": [{"secret": key, "fingerprint": OLD}]},
            {"secrets": [{"secret": NAME, "fingerprint": key}]},
            {"version": key, "model": key, "more": key},
        ]
        wrapped = [json.dumps({"log": line(**each).decode(), "attrs": {"tag": key}}).encode() for each in bad]
        operator.events(*(line(**each) for each in bad), *(each + b"\n" for each in wrapped), key.encode())
        for form in ("text", "json"):
            ran = operator.status("--format", form, "--require", "moved")
            assert leaks(ran.out + ran.err, [key]) == []
