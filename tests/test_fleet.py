"""`fleet`: which service runs on which keys, and which conditions are proven."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import pytest
from command_line import NAMED_MODEL, fingerprint_of, key_as_argument, machine_at, rotated
from conftest import NOW, V1, V2, Ran, document_of, good_keys
from detector import leaks
from fleets import COMING, GONE, MINUTE, NAME, OLD, OTHER, SECOND, WEB, Prometheus, Who, event, row
from pydantic import SecretStr

from robodj_secretguard import Material, RuntimeSecrets, SecretPolicy
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet.verdict import VERDICTS
from robodj_secretguard.startup.inputs import iso_utc

DAY = timedelta(days=1)
NAMES: Final = "[api]\ninstances = ['web-1']\nsecrets = ['secret.key']\n"
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


def line(who: Who, keys: Slots, age: timedelta = SECOND, **other: str) -> bytes:
    """Return an event, with keys of `secret.key` and the current keys of other secrets."""
    texts = {name: iso_utc(each) if name == "previous_until" and each else each for name, each in asdict(keys).items()}
    more = {name.replace("_key", ".key"): {"current": each} for name, each in other.items()}
    return json.dumps(event(who, keys, NOW - age) | {"secrets": {NAME: texts, **more}}).encode() + b"\n"


class Operator:
    """An operator's machine with a roster, events, and keys in the environment.

    Attributes:
        machine: the machine.
        current: the fingerprint of the current key of `secret.key`.
    """

    def __init__(self, root: Path) -> None:
        self.machine = machine_at(root)
        self.current = self.machine.fingerprint()
        self.roster(NAMES)
        self.events(line(WEB, Slots(self.current)))

    def roster(self, text: str | bytes) -> None:
        self.machine.put("roster", text)

    def events(self, *lines: bytes) -> None:
        self.machine.put("events", b"".join(lines))

    def fleet(self, *options: str, source: tuple[str, ...] = ("--events", "events")) -> Ran:
        """Run `fleet`, and assert that no key is shown."""
        ran = self.machine.call("fleet", "--roster", "roster", *source, *options)
        assert leaks(ran.out + ran.err, [*self.machine.environ.values()]) == []
        return ran

    def error(self, *options: str, **more: Any) -> str:
        """Return the message of a usage error."""
        ran = self.fleet(*options, **more)
        assert (ran.status, ran.out) == (2, "")
        return ran.err.splitlines()[-1].removeprefix("robodj-secretguard: ")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator of one instance, which signs with the current key."""
    return Operator(tmp_path)


class TestText:
    """What an operator reads."""

    def test_services(self, operator: Operator) -> None:
        """Each secret of each service has one row, with the worst of its instances as the mark."""
        now, other = operator.current, operator.machine.fingerprint(V2)
        operator.machine.record(rotated(NOW - 9 * DAY, OLD), rotated(NOW - DAY, now))
        operator.machine.write("revoked.fingerprints", f"{GONE}\n", 0o644)
        services = {"api": ["web-1", "web-2"], "cron": ["c"], "db": ["d"], "worker": ["w-1", "w-2"]}
        own = f"secrets = ['{NAME}', '{OTHER}']"
        operator.roster("".join(f"[{name}]\ninstances = {names}\n{own}\n" for name, names in services.items()))
        operator.events(
            line(WEB, Slots(now), secret_v2_key=other),
            line(("api", "web-2"), Slots(OLD), 90 * SECOND, secret_v2_key=other),
            line(("cron", "c"), Slots(GONE), secret_v2_key=COMING),
            line(("worker", "w-1"), Slots(now), secret_v2_key=other),
            line(("worker", "w-3"), Slots(now)),
            line(("legacy", "x"), Slots(now)),
        )
        assert operator.fleet().out == (
            """\
      SERVICE  SECRET         PROVEN  RUNS ON
warn  api      secret.key     2 of 2  1 current, 1 superseded
ok    api      secret_v2.key  2 of 2  2 current
FAIL  cron     secret.key     1 of 1  1 revoked
FAIL  cron     secret_v2.key  1 of 1  1 unrecorded
?     db       secret.key     0 of 1  unknown
?     db       secret_v2.key  0 of 1  unknown
?     worker   secret.key     1 of 2  2 current
?     worker   secret_v2.key  1 of 2  1 current

Other services, which count against a condition: legacy.
"""
        )

    def test_conditions(self, operator: Operator) -> None:
        """What is not ready is listed once, before the verdict of each condition."""
        operator.roster(
            "[api]\ninstances = ['web-1', 'web-2']\n[worker]\ninstances = ['w']\nsecrets = ['secret.key']\n"
        )
        other = operator.machine.fingerprint(V2)
        operator.events(
            line(WEB, Slots(operator.current), secret_v2_key=other),
            line(("api", "web-2"), Slots(OLD), 90 * SECOND, secret_v2_key=other),
        )
        ran = operator.fleet("--require", "moved", "--require", "none-on", OLD, "--require", "none-on", OLD)
        unknown = "unknown: no recent evidence of its key"
        assert (ran.status, ran.out.partition("\n\n")[2].splitlines()) == (
            1,
            [
                f"api/web-2: secret.key: signs with {OLD}, seen 90 s ago",
                f"worker/w: secret.key: {unknown}",
                f"api/web-2: uses {OLD} as the current key of secret.key, seen 90 s ago",
                f"worker/w: {unknown}",
                "moved: NOT PROVEN for api, worker.",
                f"none-on {OLD}: NOT PROVEN for api, worker.",
            ],
        )

    @pytest.mark.parametrize("condition", [("moved",), ("has-next",), ("none-on", GONE)])
    def test_proven(self, operator: Operator, condition: tuple[str, ...]) -> None:
        """A condition that every instance proves holds."""
        operator.machine.write("revoked.fingerprints", f"{GONE}\n", 0o644)
        operator.machine.environ[f"{V1}_NEXT"] = good_keys()[V1]
        operator.events(line(WEB, Slots(operator.current, operator.machine.fingerprint(f"{V1}_NEXT"))))
        ran = operator.fleet("--require", *condition, "--secret", NAME)
        those = " that has a next key" if condition == ("has-next",) else ""
        assert (ran.status, ran.out.splitlines()[-1]) == (
            0,
            f"{' '.join(condition)}: proven for every service{those}.",
        )

    def test_many(self, operator: Operator) -> None:
        """Of many instances, the first ones are listed. The document has all."""
        names = [f"n{number}" for number in range(22)]
        operator.roster(f"[api]\ninstances = {names}\nsecrets = ['secret.key']\n")
        ran = operator.fleet("--require", "moved")
        lines = ran.out.partition("\n\n")[2].splitlines()
        assert sum("no recent evidence" in each for each in lines) == 20
        assert "and 2 more; --format json has all of them" in lines
        document = operator.fleet("--require", "moved", "--format", "json").document
        (verdict,) = document["verdicts"]
        assert len(verdict["not_ready"]) == len(document["reasons"]) == 22

    @pytest.mark.parametrize("options", [(), ("--require", "moved")])
    def test_doubt(self, operator: Operator, options: tuple[str, ...]) -> None:
        """What could not be read is said once, and nothing is proven. An unknown instance is named."""
        first = line(WEB, Slots(operator.current))
        for second, why in ((line(WEB, Slots(OLD), -6 * MINUTE), "api/web-1"), (b"an error\n", "could not be read")):
            operator.events(first, second)
            ran = operator.fleet(*options)
            assert (ran.out.count(why), ran.status) == (1, int(bool(options)))
            assert " 0 of 1 " in ran.out


class TestWithoutRoster:
    """One service, of whose instances no file has the names."""

    def test_only_what_was_seen(self, operator: Operator) -> None:
        """What was seen is shown, and nothing is proven. The fix is a whole option."""
        operator.events(*(line(("api", name), Slots(operator.current)) for name in ("web-2", "web-1")))
        ran = operator.machine.call("fleet", "--events", "events", "--secret", NAME)
        assert (ran.status, ran.err) == (1, "")
        assert ran.out == (
            """\
   SERVICE  SECRET      PROVEN  RUNS ON
?  api      secret.key  2 seen  2 current

If api has no other instances, pass --instances web-1 web-2.
NOT PROVEN: only these instances were seen.
"""
        )

    def test_no_step_accepts_it(self, operator: Operator) -> None:
        """No condition holds, although each instance that was seen follows it."""
        ran = operator.machine.call("fleet", "--events", "events", "--secret", NAME, "--require", "moved")
        assert ran.out.splitlines()[3:] == [
            "api: secret.key: unknown: only these instances were seen",
            "moved: NOT PROVEN for api.",
            "If api has no other instances, pass --instances web-1.",
            "NOT PROVEN: only these instances were seen.",
        ]
        options = ("--secret", NAME, "--require", "moved", "--format", "json")
        document = operator.machine.call("fleet", "--events", "events", *options).document
        assert ([each["holds"] for each in document["verdicts"]], document["services"][0]["instances"]) == (
            [False],
            None,
        )

    def test_names_are_the_roster_of_one_service(self, operator: Operator) -> None:
        """With the name of each instance, the answer is that of a roster."""
        for names, status in ((["web-1"], 0), (["web-1", "web-2"], 1)):
            options = ("--instances", *names, "--secret", NAME, "--require", "moved")
            assert operator.machine.call("fleet", "--events", "events", *options).status == status

    def test_nothing_was_seen(self, operator: Operator) -> None:
        """Without an event of the service, the answer says so."""
        operator.machine.environ["ROBODJ_SERVICE"] = "cron"
        operator.events()
        ran = operator.machine.call("fleet", "--events", "events", "--secret", NAME)
        assert ran.out.splitlines()[-1] == "NOT PROVEN: no instance was seen."

    def test_another_environment(self, operator: Operator) -> None:
        """The instances of another environment are named, and are not those of the service."""
        theirs = event(("api", "stage-1"), Slots(OLD), environment="staging")
        operator.events(line(WEB, Slots(operator.current)), json.dumps(theirs).encode())
        options = ("--events", "events", "--secret", NAME, "--environment", "prod")
        assert operator.machine.call("fleet", *options).out.splitlines()[3:] == [
            "Of other environments, not counted: api/stage-1 (staging).",
            "If api has no other instances, pass --instances web-1.",
            "NOT PROVEN: only these instances were seen.",
        ]

    @pytest.mark.parametrize(
        ("services", "options", "message"),
        [
            (
                ("api", "cron"),
                (),
                "the evidence is about api, cron; set ROBODJ_SERVICE to the service, or pass --roster",
            ),
            ((), (), "no service was seen; set ROBODJ_SERVICE to the service, or pass --roster"),
            (
                ("api",),
                ("--instances", "web-1", "web-1"),
                "--instances: invalid names; write the name of each instance once",
            ),
            (("api",), ("--instances", "web-1", "--roster", "roster"), "pass --roster or --instances"),
        ],
    )
    def test_invalid(
        self, operator: Operator, services: tuple[str, ...], options: tuple[str, ...], message: str
    ) -> None:
        """Of several services, one is named. Names are written once, and in one place."""
        operator.events(*(line((each, "web-1"), Slots(operator.current)) for each in services))
        ran = operator.machine.call("fleet", "--events", "events", *options)
        assert (ran.status, ran.err.splitlines()[-1]) == (2, f"robodj-secretguard: {message}")


class TestEvidence:
    """Where the evidence is from, and which part of it counts."""

    def test_several_files(self, operator: Operator) -> None:
        """The events of each host may be a file of its own. One that is cut is named with its line."""
        operator.machine.put("other", line(WEB, Slots(operator.current)))
        assert operator.fleet("--require", "moved", "--events", "other").status == 0
        for name, shown in (("cut.jsonl", "cut.jsonl"), ("a\nname", "a file of --events")):
            operator.machine.put(name, line(WEB, Slots(operator.current))[:200])
            ran = operator.fleet("--require", "moved", "--events", "other", name)
            assert ran.status == 1
            assert f"1 line could not be read as an event, first {shown}, line 1, of api/web-1" in ran.out

    def test_another_environment_and_a_state(self, operator: Operator) -> None:
        """Staging's events in the same log are named and do not count. An instance says why it takes no new keys."""
        staging = event(WEB, Slots(OLD), NOW, environment="staging")
        operator.events(line(WEB, Slots(operator.current)), json.dumps(staging).encode())
        ran = operator.fleet("--require", "moved", "--environment", "prod")
        assert ran.status == 0
        document = operator.fleet("--environment", "prod", "--format", "json").document
        assert document["other_environments"] == ["api/web-1 (staging)"]
        assert "Of other environments, not counted: api/web-1 (staging)." in ran.out
        refused = {"state": "kept", "state_since": "2026-12-01T10:14:00Z", "checks": [f"{NAME}: placeholder"]}
        operator.events(json.dumps(event(WEB, Slots(OLD), NOW) | refused).encode())
        why = f"delivered, not taken since 2026-12-01T10:14:00Z: {NAME}: placeholder"
        assert f"api/web-1: {why}" in operator.fleet().out
        assert f"signs with {OLD}, seen 0 s ago; {why}" in operator.fleet("--require", "moved").out
        ready = operator.fleet("--require", "none-on", operator.current)
        assert (ready.status, f"api/web-1: {why}" in ready.out) == (0, True)

    @pytest.mark.parametrize(
        ("options", "age", "status"),
        [((), 600, 0), ((), 601, 1), (("--max-age", "60"), 41, 1)],
    )
    def test_age(self, operator: Operator, options: tuple[str, ...], age: int, status: int) -> None:
        """Events prove something when they are younger than two thirds of --max-age, by default of 15 minutes."""
        operator.events(line(WEB, Slots(operator.current), age * SECOND))
        assert operator.fleet("--require", "moved", *options).status == status

    def test_stdin(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        """Events, or the roster, can come through a pipe. A roster of Windows is read too."""
        operator.roster(b"\xef\xbb\xbf" + NAMES.replace("\n", "\r\n").encode())
        for option, name in (("--events", "events"), ("--roster", "roster")):
            content = (operator.machine.root / name).read_bytes()
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
            source = ("--events", "events") if name == "roster" else ()
            assert operator.fleet("--require", "moved", option, "-", source=source).status == 0

    @pytest.mark.parametrize(("age", "status"), [(0, 0), (300, 0), (301, 75), (-301, 75), (None, 1)])
    def test_prometheus(self, operator: Operator, age: int | None, status: int) -> None:
        """It has its own clock, which must be right, so that its answer is not an old one. No row proves nothing."""
        operator.roster("[api]\ninstances = 1\nsecrets = ['secret.key']\n")
        with Prometheus() as prometheus:
            if age is not None:
                at = NOW.timestamp() - age
                prometheus.result = [row("current", operator.current) | {"value": [at, f"{at - 5}"]}]
            ran = operator.fleet("--require", "moved", source=("--prometheus", prometheus.url))
            assert "%5B120s%5D" in prometheus.asked[0][1]
        assert (ran.status, "the roster has 1 instance, and 0 were seen" in ran.out) == (status, age is None)

    def test_prometheus_does_not_answer(self, operator: Operator) -> None:
        """Without a complete answer there is no result: try again."""
        operator.machine.put("token", "t" * 8)
        options = ("--token-file", "token", "--select", 'zone="a"')
        ran = operator.fleet("--require", "moved", *options, source=("--prometheus", "http://127.0.0.1:9"))
        assert (ran.status, ran.out) == (75, "")
        assert ran.err.startswith("robodj-secretguard: --prometheus: the server ")

    def test_a_roster_names_no_program(self, operator: Operator) -> None:
        """Who could change the roster could run one."""
        operator.roster(f"{NAMES}from = ['exec:/bin/true']\n")
        ran = operator.fleet("--require", "moved")
        assert (ran.status, ran.err.partition(";")[0]) == (
            2,
            "robodj-secretguard: --roster: a roster names no exec:PROGRAM",
        )

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_a_source_that_cannot_be_read(self, operator: Operator, form: str) -> None:
        """Without the keys of a service there is no result, but the alert about its source."""
        operator.roster(f"{NAMES}from = ['directory:nowhere']\n")
        ran = operator.fleet("--require", "moved", "--format", form)
        alert = "ALERT: source: directory:nowhere does not exist\n" if form == "text" else '"check": "source"'
        assert (ran.status, alert in ran.out, ran.err) == (1, True, "")


class TestExpected:
    """With what instances are compared."""

    def test_keys_of_their_own(self, operator: Operator) -> None:
        """A service can have its own source of keys and its own environment in the operations log."""
        del operator.machine.environ[V1]
        operator.machine.record(rotated(NOW - DAY, OLD, environment="dev"), rotated(NOW - DAY, COMING))
        own = good_keys()[V1]
        operator.machine.put("own/ROBODJ_SECRET_KEY", own)
        more = "secrets = ['secret.key']\n"
        operator.roster(
            f"[api]\ninstances = ['web-1']\n{more}environment = 'dev'\n"
            f"[cron]\ninstances = ['c']\n{more}"
            f"[worker]\ninstances = ['w']\n{more}from = ['directory:own']\n"
        )
        right = {WEB: OLD, ("cron", "c"): COMING, ("worker", "w"): fingerprint_of(own)}
        operator.events(*(line(who, Slots(key)) for who, key in right.items()))
        assert operator.fleet("--require", "moved", "--environment", "prod").status == 0
        operator.events(*(line(who, Slots(COMING)) for who in right))
        ran = operator.fleet("--require", "moved", "--environment", "prod")
        assert (ran.status, "NOT PROVEN for api, worker.\n" in ran.out) == (1, True)

    @pytest.mark.parametrize("options", [(), ("--require", "moved")])
    def test_a_damaged_log(self, operator: Operator, options: tuple[str, ...]) -> None:
        """A log that does not verify proves nothing. The keys are shown, with the complaint."""
        operator.machine.record(rotated(NOW - DAY, operator.current))
        operator.machine.log.write_text("no record\n", encoding="utf-8")
        ran = operator.fleet(*options)
        assert (ran.status, "does not verify" in ran.err) == (2 if options else 0, True)

    def test_a_lost_log(self, operator: Operator) -> None:
        """An empty or missing log whose head file has a record proves nothing. Neither does one that is named."""
        records = operator.machine.record(rotated(NOW - 9 * DAY, operator.current), rotated(NOW - DAY, COMING))
        operator.machine.put("config/logs/secret_operations.jsonl.head", records[-1].line() + b"\n")
        for lose in (lambda: operator.machine.log.write_bytes(b""), operator.machine.log.unlink):
            lose()
            assert "has lost its records" in operator.error("--require", "moved")
        assert "is missing" in operator.error("--operations-log", "nowhere", "--require", "moved")
        warning = "WARNING: setting: --operations-log names a file that does not exist\n"
        assert operator.fleet("--operations-log", "nowhere").out.count(warning) == 1

    def test_an_unknown_key(self, operator: Operator) -> None:
        """A condition needs the key that every instance should have."""
        fix = "stage one (rotate stage); to compare only one secret, pass --secret"
        assert operator.error("--require", "has-next") == f"no next key of {NAME} is known for api; {fix}"
        del operator.machine.environ[V1]
        fix = (
            "pass --from with a key that check accepts, or --environment with an operations log;"
            " to compare only one secret, pass --secret"
        )
        assert operator.error("--require", "moved") == f"no current key of {NAME} is known for api; {fix}"

    def test_a_source_without_a_usable_key(self, operator: Operator) -> None:
        """A source whose key is refused has none, whatever the log says: no process could have moved to it."""
        operator.machine.record(rotated(NOW - DAY, operator.current))
        for key, status in ((operator.machine.environ[V1], 0), ("changeme", 2)):
            operator.machine.put("keys/ROBODJ_SECRET_KEY", key)
            ran = operator.fleet("--from", "directory:keys", "--secret", NAME, "--require", "moved")
            assert (ran.status, "no current key" in ran.err) == (status, bool(status))

    def test_a_service_without_a_next_key(self, operator: Operator) -> None:
        """Services with keys of their own are rotated one by one. One without a next key is not asked for it.

        A revocation of a vendor's secret has no fingerprint, and concerns no key that is missing.
        """
        of_vendor: dict[str, Any] = {"secret": "radio", "fingerprint": None}
        operator.machine.record(replace(rotated(NOW - DAY, OLD, event="revoked"), **of_vendor))
        key, following, own = (good_keys()[V1] for _ in range(3))
        more = "secrets = ['secret.key']\nfrom = "
        operator.machine.put("first/ROBODJ_SECRET_KEY", key)
        operator.machine.put("first/ROBODJ_SECRET_KEY_NEXT", following)
        operator.machine.put("second/ROBODJ_SECRET_KEY", own)
        operator.roster(
            f"[api]\ninstances = ['web-1']\n{more}['directory:first']\n"
            f"[worker]\ninstances = ['w']\n{more}['directory:second']\n"
        )
        for current, status in ((own, 0), (key, 1)):
            operator.events(
                line(WEB, Slots(fingerprint_of(key), fingerprint_of(following))),
                line(("worker", "w"), Slots(fingerprint_of(current))),
            )
            ran = operator.fleet("--require", "has-next", "--format", "json")
            verdicts = [(each["service"], each["holds"]) for each in ran.document["verdicts"]]
            assert (ran.status, verdicts) == (status, [("api", not status)])

    @pytest.mark.parametrize("where", ["list", "log"])
    def test_a_revoked_key(self, operator: Operator, where: str) -> None:
        """It is no good news that all instances run on a revoked key."""
        if where == "list":
            operator.machine.write("revoked.fingerprints", f"{operator.current}\n", 0o644)
        else:
            operator.machine.record(rotated(NOW, operator.current, event="revoked"))
        why = f"the current key of {NAME} is revoked for api; replace it: see rotate run --help"
        assert operator.error("--require", "moved") == why

    def test_a_mistyped_fingerprint(self, operator: Operator) -> None:
        """That nothing uses a key which nobody knows proves nothing. A key that is used or recorded is known."""
        condition = ("--require", "none-on", GONE)
        why = "--require none-on: nobody ever reported or recorded this fingerprint; correct it, or pass the log"
        assert operator.error(*condition) == why
        operator.events(line(WEB, Slots(operator.current, None, GONE)))
        ran = operator.fleet(*condition)
        assert (ran.status, ran.out.splitlines()[1].split()) == (
            1,
            ["FAIL", "api", NAME, "1", "of", "1", "1", "current"],
        )
        operator.events(line(WEB, Slots(operator.current)))
        operator.machine.record(rotated(NOW - 9 * DAY, GONE), rotated(NOW - DAY, operator.current))
        assert operator.fleet(*condition).status == 0


CONDITIONS: Final = "--require: use moved, has-next, or none-on with one fingerprint"
ONE_SOURCE: Final = "pass --prometheus once, or --events"
ONLY_PROMETHEUS: Final = "--select, --token-file and --ca-file work only with --prometheus"
ADDRESS: Final = ("--prometheus", "http://127.0.0.1:9")
EVENTS: Final = ("--events", "events")
NO_SERVICE: Final = "--secret: no service has it, or it has no fingerprint: others issue it, or it is not set"


class TestRefused:
    """Options that are a usage error. What was typed is not shown."""

    @pytest.mark.parametrize(
        ("source", "options", "why"),
        [
            (EVENTS, ("--require", "move"), CONDITIONS),
            (EVENTS, ("--require", "moved", OLD), CONDITIONS),
            (EVENTS, ("--require", "none-on"), CONDITIONS),
            (EVENTS, ("--require", "none-on", OLD.upper()), CONDITIONS),
            (EVENTS, ("--require", "none-on", OLD, GONE), CONDITIONS),
            (EVENTS, ("--max-age", "0"), "--max-age: invalid number of seconds; use one from 1 to 86400"),
            (EVENTS, ("--secret", OTHER, "--require", "moved"), NO_SERVICE),
            (EVENTS, ADDRESS, ONE_SOURCE),
            (ADDRESS, ADDRESS, ONE_SOURCE),
            ((), (), ONE_SOURCE),
            (EVENTS, ("--select", ""), ONLY_PROMETHEUS),
            (EVENTS, ("--token-file", "t"), ONLY_PROMETHEUS),
            (EVENTS, ("--ca-file", "c"), ONLY_PROMETHEUS),
            (ADDRESS, ("--select", 'slot="a"'), '--select: invalid labels; write them like environment="prod"'),
            (("--prometheus", "a:9"), (), "--prometheus: invalid address; use one like http://127.0.0.1:9090"),
            (("--events", "-"), ("--roster", "-"), "only one of --roster and --events can be stdin"),
            (
                ("--events", "nowhere"),
                (),
                "--events: the file is missing, unreadable or not a regular file; check its name, or use - for a pipe",
            ),
        ],
    )
    def test_options(self, operator: Operator, source: tuple[str, ...], options: tuple[str, ...], why: str) -> None:
        """Each mistake has one message."""
        assert operator.error(*options, source=source) == why

    @pytest.mark.parametrize(
        ("roster", "why"),
        [
            ("", "the file is invalid; "),
            ("[api]\ninstances = []", "service 1 (instances) is invalid; "),
            ("[api]\ninstances = ['a']\nsecrets = ['other']", f"unknown secret (choose from {NAME}, {OTHER})"),
            ("[api]\ninstances = 1", "with --events, write the names of the instances, not their number"),
            (b"\xff[api]", "the file is invalid; "),
        ],
    )
    def test_a_roster(self, operator: Operator, roster: str | bytes, why: str) -> None:
        """A roster of which nothing could be asked proves nothing. One that died could stand for a silent one."""
        operator.roster(roster)
        assert operator.error().startswith(f"--roster: {why}")

    def test_an_opaque_secret(self, operator: Operator) -> None:
        """A secret of a vendor has no fingerprint: it is not compared, and not asked of an instance."""
        operator.machine.environ["RADIO_PASSWORD"] = good_keys()[V1][:20]
        operator.roster("[api]\ninstances = ['web-1']\n")
        model = ("--model", "test_fleet:Radio")
        assert "radio" not in operator.fleet(*model).out
        assert operator.error(*model, "--secret", "radio") == NO_SERVICE
        operator.roster("[api]\ninstances = ['web-1']\nsecrets = ['radio']\n")
        assert "unknown secret" in operator.error(*model)

    def test_one_secret(self, operator: Operator) -> None:
        """With --secret, a service that does not have it is still in the roster."""
        operator.roster(f"{NAMES}[cron]\ninstances = ['c']\nsecrets = ['{OTHER}']\n")
        operator.events(line(WEB, Slots(operator.current)), line(("cron", "c"), Slots(operator.current)))
        out = operator.fleet("--secret", NAME).out
        assert ("Not in the roster" in out, "cron" in out) == (False, False)

    @pytest.mark.parametrize(
        "options",
        [
            ("--select", "{}"),
            ("--select", 'x="{}"'),
            ("--prometheus", "http://a/{}"),
            ("--require", "{}"),
            ("--roster", "{}"),
        ],
    )
    def test_a_pasted_key(self, operator: Operator, options: tuple[str, ...]) -> None:
        """A key as an argument is refused, and not shown."""
        key = key_as_argument()
        ran = operator.fleet(*(each.format(key) for each in options), source=ADDRESS)
        assert leaks(ran.out + ran.err, [key]) == []
        assert (ran.status, ran.out) == (2, "")


class TestJson:
    """The document that `rotate` reads."""

    def test_a_document(self, operator: Operator) -> None:
        """It has the keys of each service, and why a condition does not hold."""
        operator.events(line(WEB, Slots(OLD)))
        ran = operator.fleet("--require", "moved", "--require", "none-on", OLD, "--format", "json")
        about = {"service": "api", "secret": NAME, "checked_at": "2026-12-01T12:00:00Z", "holds": False}
        signs = f"signs with {OLD}, seen 1 s ago"
        used = f"uses {OLD} as the current key of {NAME}, seen 1 s ago"
        expected = [
            {
                **about,
                "condition": "moved",
                "fingerprint": operator.current,
                "not_ready": {"api/web-1": signs},
            },
            {
                **about,
                "condition": "none-on",
                "fingerprint": OLD,
                "not_ready": {"api/web-1": used},
            },
        ]
        assert document_of(ran.out) == {
            "schema": 1,
            "kind": "fleet",
            "ok": False,
            "model": NAMED_MODEL,
            "services": [{"service": "api", "secret": NAME, "instances": 1, "proven": 1, "runs_on": {"unrecorded": 1}}],
            "verdicts": expected,
            "reasons": [f"api/web-1: {NAME}: {signs}", f"api/web-1: {used}"],
            "other_environments": [],
        }
        (moved, _) = VERDICTS.validate_json(json.dumps(ran.document["verdicts"]))
        assert (moved.checked_at, moved.not_ready) == (NOW, expected[0]["not_ready"])

    def test_no_key_is_in_it(self, operator: Operator) -> None:
        """A key that was pasted into an event is in no output, also as a name."""
        key = good_keys()[V2]
        bad = [json.loads(line(WEB, Slots(OLD))) | {name: key} for name in ("instance", "service", "version", "model")]
        bad += [json.loads(line(WEB, Slots(OLD))) | {"secrets": {name: {"current": key}}} for name in (key, NAME)]
        operator.events(*(json.dumps(each).encode() + b"\n" for each in bad), key.encode())
        for form in ("text", "json"):
            ran = operator.fleet("--format", form, "--require", "moved")
            assert leaks(ran.out + ran.err, [key]) == []
