"""`generate` and `rotate`: make a key, and plan and record its rotation."""

from __future__ import annotations

import json
import re
import traceback
from datetime import datetime, timedelta

import pytest
from command_line import (
    NAMED_MODEL,
    OF_ROBODJ,
    OTHER,
    Machine,
    Terminal,
    key_as_argument,
    rotated,
)
from conftest import NOW, V1, V2, Ran, found, good_keys, marker, raising
from detector import leaks
from test_operations_log import head_of

from robodj_secretguard import check
from robodj_secretguard.cli import main
from robodj_secretguard.cli.rotate import CI_VARIABLES
from robodj_secretguard.lifecycle.revocation import HEADER

NAME = "secret.key"
SHAPES = {V1: r"[A-Za-z0-9_-]{43}", V2: r"[0-9a-f]{128}"}
STARTUP, FUNCTIONS = ("--attest", "startup"), ("--attest", "functions")
DONE = (*STARTUP, *FUNCTIONS)
AT, BEFORE = "2026-12-01T12:00:00Z", NOW - timedelta(days=30)
PROGRAM = "robodj-secretguard"
UNCHANGED = "this key is already recorded"
PLANNED = f"{PROGRAM} rotate plan secret.key --environment prod"
SET_IT = f"deliver the new key of secret.key from the secret manager; if none was made, run {PLANNED}"
FIX_ALERTS = "fix its alerts, then run this command again"
THE_LOG = "the operations log config/logs/secret_operations.jsonl"


def usage(ran: Ran) -> str:
    """Return the one line of a command that failed."""
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    return ran.err.removeprefix(f"{PROGRAM}: ").removesuffix("\n")


def content(machine: Machine) -> bytes:
    """Return the content of the operations log."""
    return machine.log.read_bytes() if machine.log.exists() else b""


def record(machine: Machine, *options: str, environment: str = "prod", now: datetime = NOW) -> Ran:
    """Record a rotation."""
    return machine.call("rotate", "record", *options, "--environment", environment, "--operator", "dana", now=now)


def recorded(machine: Machine, *options: str, environment: str = "prod", now: datetime = NOW) -> list[str]:
    """Record a rotation, which must succeed, and return the lines of the result."""
    ran = record(machine, *options, environment=environment, now=now)
    assert ran.status == 0, ran.out + ran.err
    return ran.out.splitlines()


def refused(machine: Machine, *options: str) -> list[str]:
    """Record a rotation, which must fail without a record, and return all lines but the last."""
    before = content(machine)
    ran = record(machine, *options)
    *lines, last = ran.out.splitlines()
    assert (ran.status, ran.err, last, content(machine)) == (1, "", "Nothing was recorded.", before)
    return lines


def sentence(machine: Machine, number: int, what: str, key: str) -> str:
    """Return the line about a record, with all fields that a log system needs."""
    (own,) = (each.hash for each in machine.records if each.sequence == number)
    return f"Recorded {what} in prod at {AT}: record {number}, fingerprint {key}, hash {own}."


class TestGenerate:
    """`generate` into a pipe."""

    @pytest.mark.parametrize(("name", "variable"), [(NAME, V1), (V2, V2)])
    def test_a_bare_key(self, machine: Machine, name: str, variable: str) -> None:
        """A new key of one secret, selected by its name or its variable, has no end of line."""
        ran, again = machine.call("generate", name), machine.call("generate", name)
        assert (ran.status, ran.err, ran.out == again.out) == (0, "", False)
        assert re.fullmatch(SHAPES[variable], ran.out)
        assert found(check(environ=good_keys() | {variable: ran.out}, config_dir=machine.config)) == []

    @pytest.mark.parametrize("form", ["env", "shell", "json"])
    def test_variables(self, machine: Machine, form: str) -> None:
        """Without a name, the variables of all secrets are written in the model's order, each by its policy."""
        ran = machine.call("generate", "--format", form)
        assert (ran.status, ran.err, ran.out[-1]) == (0, "", "\n")
        lines = [line.removeprefix("export " if form == "shell" else "") for line in ran.out.splitlines()]
        keys = ran.document if form == "json" else dict(line.split("=", 1) for line in lines)
        assert list(keys) == [V1, V2]
        assert all(re.fullmatch(SHAPES[variable], key) for variable, key in keys.items())

    def test_wrong_usage(self, machine: Machine) -> None:
        """An unknown name generates nothing and is not repeated, since it may be a key."""
        every = f"NAME is missing (choose from {NAME}, {OTHER}); for all secrets, pass --format env, shell or json"
        assert usage(machine.call("generate")) == every
        assert (
            usage(machine.call("generate", key_as_argument()))
            == "unknown secret (choose from secret.key, secret_v2.key)"
        )

    def test_an_interrupt_while_it_is_written(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """No frame of the program shows the key in a traceback with locals."""
        for name in CI_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("robodj_secretguard.cli.output.silence_broken_streams", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt) as raised:
            main(["generate", NAME, *OF_ROBODJ])
        key = capsys.readouterr().out
        frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack
        shown = "".join(str(frame.locals) for frame in frames if "robodj_secretguard" in frame.filename)
        assert (len(key), leaks(shown, [key])) == (43, [])


class TestShow:
    """On a terminal, or where output is kept, a key is shown only with --show."""

    REFUSED = "keys are not printed {} without --show; pipe the key into the command of the secret manager"

    @pytest.mark.parametrize("arguments", [(NAME,), ("--format", "env"), ("--format", "json")])
    def test_no_form_is_shown(self, machine: Machine, arguments: tuple[str, ...]) -> None:
        """Every format is refused in CI and on a terminal. With --show, each ends with one end of line."""
        machine.environ["CI"] = "true"
        in_ci, on_terminal = "in CI, which may keep the output,", "on a terminal"
        assert usage(machine.call("generate", *arguments)) == self.REFUSED.format(in_ci)
        assert usage(machine.call("generate", *arguments, stdout=Terminal())) == self.REFUSED.format(on_terminal)
        ran = machine.call("generate", *arguments, "--show", stdout=Terminal())
        assert (ran.status, ran.err) == (0, "")
        assert re.search(r"\S\n\Z", ran.out)

    def test_every_ci(self, machine: Machine) -> None:
        """The variable of each CI system counts unless it is empty. With --show, a key is still for a pipe."""
        for variable in CI_VARIABLES:
            machine.environ[variable] = "1"
            assert machine.call("generate", NAME).status == 2
            assert re.fullmatch(SHAPES[V1], machine.call("generate", NAME, "--show").out)
            machine.environ[variable] = ""
        assert machine.call("generate", NAME).status == 0


class TestRecord:
    """`rotate record`: the record, and the output."""

    def test_a_key_that_is_found(self, machine: Machine) -> None:
        """A key of which nothing is recorded is recorded as found, without any step. It is then a recorded key."""
        assert recorded(machine, NAME) == [
            sentence(machine, 1, "the key of secret.key that is in use", machine.fingerprint(V1)),
            "There was no earlier record of the environment prod.",
        ]
        (found,) = machine.records
        assert (found.event, found.validation, found.open_steps) == ("found", None, ())
        assert "REFUSED: secret.key: this key is already recorded" in refused(machine, NAME)
        status = machine.call("status", "--format", "json", now=NOW + timedelta(days=100)).document["secrets"][0]
        shown = [status[name] for name in ("rotated_at", "age_days", "overdue", "open_steps")]
        assert shown == ["2026-12-01T12:00:00Z", 100, True, []]
        machine.environ[V1] = good_keys()[V1]
        recorded(machine, NAME)
        assert [each.event for each in machine.records] == ["found", "rotation-incomplete"]

    def test_an_incomplete_rotation(self, machine: Machine) -> None:
        """Every new key is recorded, with the open steps and their command. Both are reported as first keys."""
        again = f"{PROGRAM} rotate record {{}} --environment prod --operator dana {' '.join(DONE)} --config-dir config"
        steps = "gate verified, startup attested, functions not-done, log verified"
        open_step = "INCOMPLETE: when the remaining steps are done (functions), run:"
        lines = recorded(machine, *STARTUP, "--config-dir", "config")
        assert lines == [
            sentence(machine, 1, "the incomplete rotation of secret.key", machine.fingerprint(V1)),
            f"  validation: {steps}",
            open_step,
            f"     {again.format(NAME)}",
            sentence(machine, 2, "the incomplete rotation of secret_v2.key", machine.fingerprint(V2)),
            f"  validation: {steps}",
            open_step,
            f"     {again.format(OTHER)}",
            "There was no earlier record of the environment prod.",
        ]
        assert recorded(machine, NAME, *DONE) == [
            sentence(machine, 3, "the rotation of secret.key", machine.fingerprint(V1)),
            "  validation: gate verified, startup attested, functions attested, log verified",
        ]

    def test_a_record_is_complete(self, machine: Machine) -> None:
        """Only the named secret is recorded: time, event, owner, operator, environment, key and validation."""
        machine.environ[f"{V2}_EXPIRES_AT"] = "2027-02-01T00:00:00+01:00"
        said = recorded(machine, OTHER, *DONE, "--ticket", "OPS-17", "--note", "reviewed by Grace")
        assert said[0].endswith(" Note: reviewed by Grace")
        (line,) = content(machine).splitlines()
        assert json.loads(line) == {
            "schema": 1,
            "sequence": 1,
            "recorded_at": AT,
            "event": "rotated",
            "secret": "secret_v2.key",
            "environment": "prod",
            "owner": "Security Operations",
            "operator": "dana",
            "ticket": "OPS-17",
            "reason": None,
            "note": "reviewed by Grace",
            "fingerprint": machine.fingerprint(V2),
            "expires_at": "2027-01-31T23:00:00Z",
            "replaced": None,
            "replaced_until": None,
            "validation": {"gate": "verified", "startup": "attested", "functions": "attested", "log": "verified"},
            "previous": None,
        }

    def test_the_environment_may_be_left_out(self, machine: Machine) -> None:
        """Where one earlier record names it. Otherwise it is needed, and several are named."""
        words = ("rotate", "record", OTHER, "--operator", "dana")
        none = "--environment is missing; pass it once, such as --environment prod: no record names it yet"
        assert usage(machine.call(*words)) == none
        recorded(machine, OTHER, *DONE)
        machine.environ[V2] = good_keys()[V2]
        assert machine.call(*words, *DONE).status == 0
        machine.environ[V2] = good_keys()[V2]
        recorded(machine, OTHER, *DONE, environment="dev")
        assert usage(machine.call(*words)) == "--environment is missing (choose from dev, prod)"

    def test_from(self, machine: Machine) -> None:
        """In a shell without the keys, a source delivers them, and the command that completes the record has it too."""
        for name, key in machine.environ.items():
            machine.put(f"delivered/{name}", key)
        expected, source = machine.fingerprint(), ("--from", "directory:delivered")
        machine.environ.clear()
        lines = recorded(machine, NAME, "--attest", "startup", *source)
        assert any(line.endswith(" ".join((*DONE, *source))) for line in lines)
        assert machine.records[0].fingerprint == expected
        assert record(machine, NAME, "--from", "directory:absent").status == 1

    def test_json(self, machine: Machine) -> None:
        """The document has the records of the log with their hashes. A refusal has the reasons of each secret."""
        recorded(machine, NAME, *DONE)
        common = {"schema": 1, "kind": "rotation-record", "model": NAMED_MODEL}
        common["check"] = machine.within(lambda: check(require_env_only=True)).as_dict()
        ran = record(machine, NAME, "--format", "json")
        refusals = [{"secret": NAME, "reason": UNCHANGED, "remedy": SET_IT}]
        assert (ran.status, ran.err) == (1, "")
        assert ran.document == common | {"ok": False, "refusals": refusals, "unchanged": [], "records": []}
        document = record(machine, *DONE, "--format", "json").document
        new = [machine.records[1].as_dict()]
        assert document == common | {"ok": True, "refusals": [], "unchanged": [NAME], "records": new}


@pytest.fixture
def promoted(machine: Machine) -> tuple[str, str]:
    """Record a key, and promote another one. Return the fingerprint of the first key and its deadline."""
    machine.record(rotated(BEFORE, old := machine.fingerprint()))
    keys = {f"{V1}_PREVIOUS": machine.environ[V1], V1: good_keys()[V1]}
    machine.environ.update(keys | {f"{V1}_PREVIOUS_UNTIL": "2026-12-15T12:00:00Z"})
    return old, "2026-12-15T12:00:00Z"


COMMIT = "Commit the list, and deploy it with every service."


class TestPromotion:
    """`rotate record` with a previous key records both, and adds the previous one to the revocation list."""

    def test_recorded(self, machine: Machine, promoted: tuple[str, str]) -> None:
        """The old key is revoked from its deadline on. A start before that passes."""
        (old, until), key = promoted, machine.fingerprint()
        assert recorded(machine, NAME, *DONE) == [
            sentence(machine, 2, "the rotation of secret.key", key),
            "  validation: gate verified, startup attested, functions attested, log verified",
            f"  replaced: {old}, which verifies until {until}",
            f"{old}@{until} is on the revocation list config/revoked.fingerprints. {COMMIT}",
        ]
        entry = f"# {AT} secret.key: replaced by {key}\n{old}@{until}\n"
        assert (machine.config / "revoked.fingerprints").read_text(encoding="utf-8") == HEADER + entry
        assert found(machine.within(check)) == []

    def test_the_list_cannot_be_written(self, machine: Machine, promoted: tuple[str, str]) -> None:
        """The rotation is recorded, and the line to add is on stderr. The status is 2."""
        machine.write("list", "# ours\n", 0o644)
        (machine.config / "revoked.fingerprints").symlink_to("list")
        ran = record(machine, NAME, *DONE)
        assert (ran.status, len(machine.records)) == (2, 2)
        assert ran.err == (
            f"{PROGRAM}: the rotation is recorded, but the revocation list config/revoked.fingerprints was not changed:"
            f" it is a symbolic link; use the path of the file itself; until that is fixed, add {'@'.join(promoted)} to"
            " ROBODJ_REVOKED_FINGERPRINTS\n"
        )


class TestRefused:
    """A rotation that may not be recorded has a reason, and no record is written."""

    def test_the_gate_failed(self, machine: Machine) -> None:
        """The gate runs environment-only, whatever the machine's switches are. Even the log's directory is not made."""
        machine.write(NAME, good_keys()[V1])
        report = machine.within(lambda: check(require_env_only=True))
        assert refused(machine, *DONE) == [
            *(line for finding in report.findings for line in finding.lines),
            "REFUSED: the check failed",
            f"  fix: {FIX_ALERTS}",
        ]
        assert not machine.log.parent.exists()
        document = record(machine, "--format", "json").document
        assert document["refusals"] == [{"secret": None, "reason": "the check failed", "remedy": FIX_ALERTS}]

    def test_an_unchanged_key(self, machine: Machine) -> None:
        """An unchanged key is left out if another key is new, and is refused if its secret was named."""
        recorded(machine, *DONE)
        machine.environ.update({V2: good_keys()[V2], f"{V1}_EXPIRES_AT": marker(timedelta(days=3))})
        warning, _, *lines = refused(machine, NAME, *DONE)
        assert warning.startswith("WARNING: secret.key: expiring: ")
        fix = f"  fix: {SET_IT}"
        assert lines == [f"REFUSED: secret.key: {UNCHANGED}", fix]
        ran = record(machine, *DONE)
        assert ran.err.startswith("WARNING: no previous key of secret_v2.key is set here, so what ")
        assert ran.out.splitlines() == [
            sentence(machine, 3, "the rotation of secret_v2.key", machine.fingerprint(V2)),
            "  validation: gate verified, startup attested, functions attested, log verified",
            "Did not record secret.key: its key has not changed.",
        ]

    def test_one_of_two(self, machine: Machine) -> None:
        """A reason against one secret also prevents the record of the other secret in the same command."""
        recorded(machine, NAME, *DONE, environment="dev")
        assert refused(machine, *DONE, "--config-dir", "config") == [
            "REFUSED: secret.key: the environment dev has this key, and each environment needs its own",
            f"  fix: {SET_IT} --config-dir config",
        ]


class TestKnown:
    """`--known`: logs of other environments, which must have different keys."""

    TAKEN = "REFUSED: secret.key: the environment staging has this key, and each environment needs its own"

    def test_another_environment_has_the_key(self, machine: Machine) -> None:
        """A key that another environment has is refused. Stderr names a log that does not verify."""
        recorded(machine, *DONE, environment="staging")
        aside = machine.log.rename(machine.config / "staging.jsonl")
        head_of(machine.log).unlink()
        known = ("--known", str(aside))
        assert refused(machine, NAME, *DONE, *known)[0] == self.TAKEN
        aside.write_bytes(aside.read_bytes().replace(b"dana", b"dora", 1))
        ran = record(machine, NAME, *DONE, *known)
        assert (ran.status, ran.out.splitlines()[0]) == (1, self.TAKEN)
        assert ran.err.startswith(f"{PROGRAM}: --known, number 1 does not verify: ")
        machine.environ.update(good_keys())
        assert recorded(machine, NAME, *DONE, *known)

    def test_an_earlier_file_of_the_log(self, machine: Machine) -> None:
        """An earlier file still counts: an incomplete rotation is completed, and an unchanged key is refused."""
        recorded(machine, *STARTUP, now=BEFORE)
        aside = machine.log.rename(machine.log.with_name("aside.jsonl"))
        continued, *lines = recorded(machine, NAME, *DONE, "--known", str(aside))
        assert continued.startswith(f"Recorded the end of an earlier file at {AT}: record 3, hash sha256:")
        assert lines[:2] == [
            sentence(machine, 4, "the rotation of secret.key", machine.fingerprint()),
            "  validation: gate verified, startup attested, functions attested, log verified",
        ]
        assert refused(machine, NAME, *DONE, "--known", str(aside))[0] == f"REFUSED: secret.key: {UNCHANGED}"

    def test_nothing_to_compare_with(self, machine: Machine) -> None:
        """A log without records is refused, since the operator expects a comparison."""
        known = ("--known", "config/known.jsonl")
        assert usage(record(machine, *DONE, *known)) == "--known, number 1: it does not exist"
        machine.write("known.jsonl", "none\n")
        why = "the log has no readable record; pass the log of another environment"
        assert usage(record(machine, *DONE, *known)) == f"--known, number 1: {why}"
        assert content(machine) == b""


def test_damaged_log(machine: Machine) -> None:
    """Nothing is added to a log that does not verify. A plan does not wait for it."""
    recorded(machine)
    machine.environ.update(good_keys())
    machine.log.write_bytes(damaged := content(machine).replace(b"dana", b"dora", 1))
    why = f"{THE_LOG}: it does not verify (line 2 does not "
    assert usage(record(machine)).startswith(f"nothing was recorded: {why}")
    assert content(machine) == damaged
    for name, key in good_keys().items():
        machine.put(f"keys/{name}", key)
    ran = machine.call("rotate", "plan", NAME, "--from", "directory:keys")
    assert (ran.status, ran.err.partition(": line 2 ")[0]) == (0, f"{PROGRAM}: {THE_LOG} does not verify")
