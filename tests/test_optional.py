"""Optional secrets, in every source and every command: off where nothing is set, otherwise judged like any other."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import fleets
import pytest
from command_line import Machine, machine_at, rotated
from conftest import NOW, Ran, found, marker, process_environment
from detector import leaks
from prometheus_client import CollectorRegistry, generate_latest
from publications import volume

from robodj_secretguard import Generator, Material, Report, Secret, SecretPolicy, SecretSettings, check
from robodj_secretguard.adapters.prometheus import SecretCollector
from robodj_secretguard.running.heartbeat import event_of
from robodj_secretguard.startup import directory

DAY = timedelta(days=1)
KEY, DATA, DSN = "APP_KEY", "DATA_KEY", "SENTRY_TOKEN"
MODEL = ("--model", "test_optional:Service")
WHO = ("--environment", "prod", "--operator", "dana")
declared = partial(SecretPolicy, owner="Integrations", cadence=90 * DAY, warn_before=14 * DAY)
KEYS = Generator("token_urlsafe", 32)
POLICIES = (
    declared(name="app.key", variable=KEY, generator=KEYS, overlap=7 * DAY),
    declared(name="data.key", variable=DATA, generator=KEYS, overlap=7 * DAY, required=False),
    declared(name="sentry.token", variable=DSN, material=Material.opaque(), issuer="sentry.example", required=False),
)
OFF = ["data.key", "sentry.token"]


class Service(SecretSettings):
    """A service with one key, and two secrets that switch something on."""

    key: Annotated[Secret, POLICIES[0]]
    data: Annotated[Secret | None, POLICIES[1]]
    token: Annotated[Secret | None, POLICIES[2]]


def values(*names: str) -> dict[str, str]:
    """Make a value of some variables."""
    return {name: secrets.token_urlsafe(32) for name in names}


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "SETTLED_SECONDS", 0.0)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing optional is set."""
    machine_at(tmp_path)
    return Machine(tmp_path, values(KEY))


def call(machine: Machine, *words: str, **options: Any) -> Ran:
    """Run a command, which must not show a part of a value."""
    ran = machine.call(*words, *MODEL, **options)
    assert words[0] == "generate" or leaks(ran.out + ran.err, [*machine.environ.values()]) == []
    return ran


def delivered(machine: Machine, files: Mapping[str, str]) -> Report:
    """Check what a secrets directory delivers."""
    volume(machine.root / "mounted", files)
    machine.environ["ROBODJ_SECRETS_DIR"] = str(machine.root / "mounted")
    return machine.within(lambda: check(Service))


class TestSources:
    """What counts as switched off, in each source."""

    def test_a_source_without_it_switches_it_off(self, machine: Machine) -> None:
        """A secret that no source has is off. The report says so, and nothing is found."""
        report = delivered(machine, {**machine.environ})
        assert found(report) == []
        off = [each for each in report.secrets if not each.required]
        assert [(each.secret, str(each.state), each.usable, each.source) for each in off] == [
            (name, "missing", False, "none") for name in OFF
        ]

    @pytest.mark.parametrize(
        ("files", "fix"),
        [
            ({DSN: ""}, "delete SENTRY_TOKEN from directory:"),
            ({"sentry.token": "\n"}, "delete SENTRY_TOKEN from directory:"),
            ({f"{DSN}_EXPIRES_AT": marker(DAY)}, "delete SENTRY_TOKEN_EXPIRES_AT from directory:"),
            ({"SENTRY_TOKEM": "x"}, "near-miss warning says, then start again"),
        ],
    )
    def test_a_trace_of_it_is_an_alert(self, machine: Machine, files: dict[str, str], fix: str) -> None:
        """An empty file, a marker alone and a misspelled file are no way to switch a secret off."""
        report = delivered(machine, machine.environ | files)
        (missing,) = (each for each in report.alerts if each.check == "missing")
        assert (missing.secret, fix in missing.remedy) == (OFF[1], True)

    def test_a_file_with_another_ending_is_an_alert(self, machine: Machine) -> None:
        """A file to which an editor added `.txt` is no way to switch a secret off."""
        machine.write("sentry.token.txt", "a value of somebody")
        report = machine.within(lambda: check(Service))
        assert [(str(each.check), str(each.severity)) for each in report.findings] == [
            ("missing", "alert"),
            ("near-miss", "warning"),
        ]

    @pytest.mark.parametrize("value", [None, ""])
    def test_a_member_that_is_empty_is_an_alert(self, machine: Machine, value: str | None) -> None:
        """A member that is null counts as an empty one."""
        delivery = directory.delivery_of("json:-", {**machine.environ, DSN: value}, [KEY, DSN])
        assert [delivery.offer(policy).is_empty for policy in POLICIES] == [False, False, True]


def test_secret_can_be_switched_on_and_not_off(machine: Machine) -> None:
    """Absent stays absent. One that appears is used. One that is gone is an alert, and the keys in use stay."""
    keys, mounted = values(KEY), machine.root / "mounted"
    volume(mounted, keys)
    with process_environment({"ROBODJ_SECRETS_DIR": str(mounted)}):
        service = Service()
    more = values(DATA)
    assert (service.refresh().ok, service.data) == (True, None)
    volume(mounted, keys | more)
    assert service.refresh().ok
    ring = service.data
    assert ring
    assert ring.verify(more[DATA]) == ring.current
    volume(mounted, keys)
    assert found(service.refresh()) == [("missing", "data.key")]
    assert service.data is ring
    assert ring.verify(more[DATA]) == ring.current


class TestStart:
    """What a start tells of it."""

    def test_the_event_names_what_is_not_set(self, machine: Machine) -> None:
        """The event of a start has the names of the secrets that are not set."""
        report = machine.within(lambda: check(Service))
        assert event_of("started", report, "test_optional:Service", 0)["off"] == OFF

    def test_metrics_have_no_alert(self, machine: Machine) -> None:
        """A secret that is off has no key and no alert in the metrics of a service, and in those of `status`."""
        registry = CollectorRegistry()
        registry.register(SecretCollector(machine.within(Service)))
        scraped = machine.within(lambda: generate_latest(registry).decode(), now=datetime.now(UTC))
        for text in (scraped, call(machine, "status", "--format", "openmetrics").out):
            of_it = [line for line in text.splitlines() if 'secret="data.key"' in line]
            assert of_it
            assert [line for line in of_it if not line.startswith("robodj_secret_findings") or line[-1] == "1"] == []


class TestCommands:
    """The commands."""

    def test_check_and_status_show_it_as_off(self, machine: Machine) -> None:
        """A secret that is off is marked so, and passes in the strict mode as well. Otherwise it is judged."""
        machine.record(rotated(NOW - DAY, machine.fingerprint(KEY), secret=POLICIES[0].name))
        for command in ("check", "status"):
            ran = call(machine, command, "--strict")
            rows = [line.split()[:3] for line in ran.out.splitlines() if line.startswith("off")]
            assert (ran.status, rows) == (0, [["off", name, "missing"] for name in OFF])
        machine.environ[DSN] = "changeme"
        ran = call(machine, "check")
        assert (ran.status, "FAIL  sentry.token" in ran.out, "off   data.key" in ran.out) == (1, True, True)

    def test_generate_makes_it_by_name_only(self, machine: Machine) -> None:
        """A new key of an optional secret would switch it on, so it is made by its name only."""
        ran = call(machine, "generate", "--format", "json")
        assert (ran.status, [*json.loads(ran.out)]) == (0, [KEY])
        assert "left out data.key: it is optional; pass NAME for it\n" in ran.err
        assert call(machine, "generate", "data.key").status == 0
        ran = machine.call("generate", "--model", "test_optional:Extras")
        assert (ran.status, ran.err) == (
            2,
            "robodj-secretguard: no key was generated; left out data.key: it is optional; pass NAME for it\n",
        )

    def test_a_rotation_is_recorded_only_of_what_is_set(self, machine: Machine) -> None:
        """A record without a name leaves it out. One with its name is a usage error until it is set."""
        assert call(machine, "rotate", "record", *WHO).status == 0
        assert [record.secret for record in machine.records] == ["app.key"]
        for name in OFF:
            ran = call(machine, "rotate", "record", name, *WHO)
            assert (ran.status, f"{name} is optional, and it is not set" in ran.err) == (2, True)
        machine.environ.update(values(DATA, DSN))
        assert call(machine, "rotate", "record", *OFF, *WHO).status == 0

    def test_an_unset_key_is_not_revoked(self, machine: Machine) -> None:
        """There is no key to revoke."""
        ran = call(machine, "revoke", "data.key", "--reason", "x", "--yes")
        assert (ran.status, "no valid key of data.key was found" in ran.err) == (2, True)

    def test_fleet_does_not_ask_for_it(self, machine: Machine) -> None:
        """No instance is asked for a key that is off, unless its name is passed. Otherwise it is judged."""
        machine.put("roster", "[api]\ninstances = ['web-1']\n")
        event = fleets.event(at=NOW - timedelta(seconds=1))
        keys = {"app.key": {"current": machine.fingerprint(KEY)}, "data.key": {"current": None}}
        machine.put("events", json.dumps(event | {"secrets": keys, "off": ["data.key"]}))
        words = ("fleet", "--roster", "roster", "--events", "events", "--require", "moved")
        ran = call(machine, *words)
        assert (ran.status, "data.key" in ran.out) == (0, False), ran
        assert "no current key of data.key is known" in call(machine, *words, "--secret", "data.key").err
        machine.environ.update(values(DATA))
        assert "data.key: unknown: no recent evidence of its key" in call(machine, *words).out

    def test_a_plan_and_an_incident_report_do_not_need_it(self, machine: Machine) -> None:
        """The plan of its first key, and the report of an incident, are as for a machine without keys."""
        (machine.root / "keys").mkdir()
        ran = call(machine, "rotate", "plan", "data.key", "--from", "directory:keys", *WHO)
        assert (ran.status, "rotate put data.key --to directory:keys" in ran.out) == (0, True)
        ran = call(machine, "incident", "--since", "2026-11-01")
        assert (ran.status, re.search("^off +data.key +missing", ran.out, re.MULTILINE) is not None) == (0, True)


class Extras(SecretSettings):
    """A service with nothing but an optional key."""

    data: Annotated[Secret | None, POLICIES[1]]
