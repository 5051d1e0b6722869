"""`rotate plan`: which plan it prints for what a store has, and where it prints none."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import fingerprint_of, machine_at
from conftest import V1, V2, document_of, good_keys, marker, posix_only, put
from literal import (
    DAY,
    EXPIRES,
    KEY,
    NEXT,
    OTHER,
    PREVIOUS,
    STRIPE,
    UNTIL,
    Site,
    fields_of,
    new_key,
    site_at,
    steps_of,
)

from robodj_secretguard.cli.rotation_plan import ROTATED_STORES

pytestmark = posix_only
ENVIRONMENT = ("--environment", "prod")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose directory has good keys, of which the session key is recorded."""
    monkeypatch.chdir(tmp_path)
    site = site_at(tmp_path, f"directory:{tmp_path / 'secrets'}")
    fields = fields_of(new_key())
    site.write(fields)
    site.record(fields[KEY], 30 * DAY)
    return site


def plan(site: Site, *options: str, name: str = "session_key") -> str:
    """Print the plan of a rotation, which must be printed."""
    ran = site.call("rotate", "plan", name, "--from", site.source, *options)
    assert (ran.status, ran.err) == (0, "")
    return ran.out


def steps(site: Site, *options: str, name: str = "session_key") -> list[str]:
    """Return the words of the commands in a plan, without those of its options."""
    commands = [each for _, found in steps_of(plan(site, *options, name=name)) for each in found]
    return [re.sub(r"^robodj-secretguard (?:rotate )?(\w+).*", r"\1", each) for each in commands]


def emergency(site: Site, *options: str) -> list[str]:
    """Return the words of the commands in the plan of an emergency."""
    return steps(site, "--emergency", *options)


class TestRotation:
    """The plan for what a store has."""

    def test_its_title(self, site: Site) -> None:
        """The first line names the secret, the store and the current key."""
        first = plan(site).splitlines()[0]
        assert first == (
            f"Rotation of session_key in {site.source}. The current key is {fingerprint_of(site.fields()[KEY])}:"
        )
        assert "Its current value has no fingerprint:" in plan(site, *ENVIRONMENT, name="stripe")
        site.edit({KEY: None})
        assert "It has no current key:" in plan(site)

    @pytest.mark.parametrize("value", ["changeme", None, "Zy" * 30], ids=["placeholder", "none", "weak"])
    def test_an_unfit_key(self, site: Site, value: str | None) -> None:
        """A key on which no service starts is put back where a version has it, and replaced otherwise."""
        right = fingerprint_of(site.fields()[KEY])
        site.edit({KEY: value})
        assert steps(site) == ["restore"]
        assert right in plan(site)
        site.record(new_key(), 10 * DAY)
        assert steps(site) == ["put", "record", *(["retire"] if value and value != "changeme" else []), "status"]

    def test_an_expired_key(self, site: Site) -> None:
        """It is replaced, as it is itself the recorded key."""
        site.edit({EXPIRES: marker(-DAY, now=site.now)})
        assert steps(site) == ["put", "record", "retire", "status"]

    def test_a_recorded_key_that_is_revoked(self, site: Site) -> None:
        """It is not put back."""
        revoked = fingerprint_of(site.fields()[KEY])
        site.edit({KEY: None, "ROBODJ_REVOKED_FINGERPRINTS": revoked})
        assert steps(site) == ["put", "record", "status"]

    def test_a_shared_key(self, site: Site) -> None:
        """A key that is also another secret's is replaced, and does not stay."""
        site.edit({KEY: site.fields()[OTHER]})
        site.records.clear()
        site.machine.record()
        assert steps(site, *ENVIRONMENT, name="api_key") == ["put", "record", "status"]

    def test_a_revoked_key(self, site: Site) -> None:
        """A revoked current key is an emergency, also without the option."""
        key = fingerprint_of(site.fields()[KEY])
        site.edit({"ROBODJ_REVOKED_FINGERPRINTS": key})
        assert plan(site).startswith(f"Emergency of session_key in {site.source}. The leaked key is the current one")
        assert steps(site) == ["run", "record", "revoke", "status"]

    def test_another_alert(self, site: Site) -> None:
        """An alert about another secret stops each step, so it comes first."""
        site.edit({STRIPE: "sk_test_abcdefgh1234"})
        assert "FIRST: correct the other alerts" in plan(site)
        assert "FIRST" not in plan(site, *ENVIRONMENT, name="stripe")

    def test_the_environment(self, site: Site) -> None:
        """The commands name the environment only where nothing else does, or where something else names another one."""
        assert "--environment" not in plan(site)
        assert "--environment" not in plan(site, *ENVIRONMENT)
        assert "--environment staging" in plan(site, "--environment", "staging")
        ran = site.call("rotate", "plan", "api_key", "--from", site.source)
        assert (ran.status, "--environment is missing" in ran.err) == (2, True)

    def test_as_json(self, site: Site) -> None:
        """The document has the step that is due, and each step with its commands."""
        ran = site.call("rotate", "plan", "session_key", "--from", site.source, "--format", "json")
        document = document_of(ran.out)
        assert (document["kind"], document["secret"], document["due"]) == ("rotation-plan", "session_key", None)
        assert [each["command"].split()[2] for each in document["steps"]] == [
            "stage",
            "promote",
            "record",
            "retire",
            "--secret",
        ]
        site.edit({NEXT: new_key()})
        assert (
            json.loads(site.call("rotate", "plan", "session_key", "--from", site.source, "--format", "json").out)["due"]
            == "promote"
        )


class TestEmergency:
    """The plan after a key has leaked."""

    def test_which_key(self, site: Site) -> None:
        """Without a key, the plan asks which one leaked."""
        site.edit({NEXT: new_key(), PREVIOUS: new_key(), UNTIL: marker(5 * DAY, now=site.now)})
        assert emergency(site) == ["plan"] * 4

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            (KEY, ["run", "record", "revoke", "status"]),
            (NEXT, ["run", "revoke", "status"]),
            (PREVIOUS, ["run", "revoke", "status"]),
        ],
    )
    def test_its_text(self, site: Site, name: str, words: list[str]) -> None:
        """The text of the leaked key finds out which one it is."""
        site.edit({NEXT: new_key(), PREVIOUS: new_key(), UNTIL: marker(5 * DAY, now=site.now)})
        put(site.machine.root / "leaked.txt", f"KEY={site.fields()[name]}\n")
        assert emergency(site, "--key-from", "leaked.txt") == words
        slot = {KEY: "current", NEXT: "next", PREVIOUS: "previous"}[name]
        assert f"The leaked key is the {slot} one" in plan(site, "--emergency", "--key-from", "leaked.txt")

    def test_a_leaked_value_of_others(self, site: Site) -> None:
        """It has no fingerprint. A new one takes its place, and the versions lose the leaked one."""
        lines = plan(site, "--emergency", "--environment", "prod", name="stripe").splitlines()
        assert "--emergency --reason WHY" in next(line for line in lines if " put stripe " in line)
        assert " status --secret stripe " in lines[-2]

    def test_a_proof_of_the_instances(self, site: Site) -> None:
        """With a roster, the plan has the command that proves where the leaked key runs."""
        key = fingerprint_of(site.fields()[KEY])
        lines = plan(site, "--emergency", "--fingerprint", key, "--roster", "roster.toml", "--events", "events")
        assert f"fleet --roster roster.toml --events events --require none-on {key}" in lines.replace("\\\n     ", "")

    def test_a_rotation_that_is_not_recorded(self, site: Site) -> None:
        """A rotation that is under way is recorded too."""
        old = site.fields()[KEY]
        assert site.call("rotate", "stage", "session_key", "--to", site.source).status == 0
        assert site.call("rotate", "promote", "session_key", "--to", site.source, "--now").status == 0
        assert steps(site) == ["record", "retire", "status"]
        assert emergency(site, "--fingerprint", fingerprint_of(old)) == ["run", "record", "revoke", "status"]

    def test_a_key_that_is_not_there(self, site: Site) -> None:
        """A key that the store does not have is only revoked."""
        put(site.machine.root / "leaked.txt", new_key())
        assert emergency(site, "--key-from", "leaked.txt") == ["revoke", "status"]
        assert "has no place there" in plan(site, "--emergency", "--key-from", "leaked.txt")

    def test_wrong_options(self, site: Site) -> None:
        """A key is named only with --emergency."""
        ran = site.call("rotate", "plan", "session_key", "--from", site.source, "--key-from", "leaked.txt")
        assert (ran.status, "work only with --emergency" in ran.err) == (2, True)


class TestWithoutKeys:
    """No plan is printed where nothing is known of the keys."""

    @pytest.mark.parametrize("sources", [(), ("--from", "json:-")])
    def test_no_store(self, site: Site, sources: tuple[str, ...]) -> None:
        """Without a store that can be written, the command says how to name one, and ends with 2."""
        ran = site.call("rotate", "plan", "session_key", *sources)
        assert ran.status == 2
        assert ran.out.splitlines()[0] == "Name the store that has the keys of session_key:"
        assert all(form in ran.out for form, _ in ROTATED_STORES)
        document = document_of(site.call("rotate", "plan", "session_key", "--format", "json").out)
        assert document["steps"] == []

    def test_a_store_that_cannot_be_read(self, site: Site) -> None:
        """The alert of the store is printed in place of a plan."""
        ran = site.call("rotate", "plan", "session_key", "--from", f"{site.source}-2")
        assert (ran.status, "ALERT: source: " in ran.out) == (1, True)


def test_the_hour_of_a_next_key(site: Site) -> None:
    """The plan after a step begins with the next one, and says when it may be taken."""
    assert site.call("rotate", "stage", "session_key", "--to", site.source).status == 0
    staged = site.now - timedelta(seconds=1)
    assert steps(site) == ["promote", "record", "retire", "status"]
    assert f"After {(staged + timedelta(hours=1)).isoformat().replace('+00:00', 'Z')}, when every" in plan(site)


@posix_only
def test_a_program_that_compares_nothing(tmp_path: Path) -> None:
    """The plan of such a store has the option without which its steps are refused."""
    machine = machine_at(tmp_path)
    key = good_keys()[V1]
    put(tmp_path / "fields", json.dumps({"fields": {V1: key, V2: good_keys()[V2]}}))
    put(tmp_path / "helper", "#!/bin/sh\ncase $1 in get) cat fields;; set) cat >fields;; esac\n", 0o700)
    source = f"exec:{tmp_path}/helper"
    ran = machine.call("rotate", "plan", "secret.key", "--from", source, "--environment", "prod")
    stage = next(line for line in ran.out.splitlines() if " rotate stage " in line)
    assert (ran.status, "--single-writer" in stage) == (0, True)
