"""`rotate`: a rotation is recorded once, with how it was validated; what is none is not."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shlex
import stat
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import structlog
from command_line import DEFAULT_MODEL, OTHER, Machine, Terminal, fingerprint_of, key_as_argument, machine_at, rotated
from conftest import NOW, V1, V2, Ran, good_keys, marker
from detector import leaks

from robodj_secretguard import RuntimeSecrets, check, guard
from robodj_secretguard.cli import log as recorded_at
from robodj_secretguard.cli import main, rotate
from robodj_secretguard.cli.options import OperationsLog
from robodj_secretguard.cli.output import emit_event
from robodj_secretguard.emit import PASSED_EVENT
from robodj_secretguard.errors import FileError
from robodj_secretguard.generator import ephemeral
from robodj_secretguard.shapes import Event, Proof, draft, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STARTUP, FUNCTIONS = ("--attest", "startup"), ("--attest", "functions")
DONE = (*STARTUP, *FUNCTIONS)
NAME = "secret.key"
AT = "2026-12-01T12:00:00Z"
BEFORE = NOW - timedelta(days=30)
ALONE = "no other environment was compared: pass its log with --known FILE"
PROGRAM = "robodj-secretguard"
UNCHANGED = "nothing was rotated: this key is the one that is recorded already; deliver the new one first"
FIRST = "These are the first records of a new operations log."
UNREADABLE = "the file is missing, unreadable or not a regular file; use - for a pipe"
THE_LOG = "the operations log config/logs/secret_operations.jsonl"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """The production machine, with good keys and nothing recorded."""
    (tmp_path / "prod").mkdir()
    return machine_at(tmp_path / "prod")


@pytest.fixture
def staging(tmp_path: Path) -> Machine:
    """Another environment's machine, with keys of its own."""
    (tmp_path / "staging").mkdir()
    return machine_at(tmp_path / "staging")


def record(machine: Machine, *options: str, environment: str = "prod", now: datetime = NOW) -> Ran:
    """Record a rotation."""
    return machine.call("rotate", "record", *options, "--environment", environment, "--operator", "dana", now=now)


def recorded(machine: Machine, *options: str, environment: str = "prod", now: datetime = NOW) -> list[str]:
    """Record a rotation, which must be accepted, and return the lines that say so."""
    ran = record(machine, *options, environment=environment, now=now)
    assert ran.status == 0, ran.out + ran.err
    return ran.out.splitlines()


def content(machine: Machine) -> bytes:
    """Return all that is in the operations log."""
    return machine.log.read_bytes() if machine.log.exists() else b""


def refused(machine: Machine, *options: str, environment: str = "prod") -> list[str]:
    """Record a rotation, which must be refused and leave no record, and return all lines but the last."""
    before = content(machine)
    ran = record(machine, *options, environment=environment)
    *lines, last = ran.out.splitlines()
    assert (ran.status, ran.err, last) == (1, "", "Nothing was recorded.")
    assert content(machine) == before
    return lines


def another(why: str, name: str = NAME) -> str:
    """Return the line of a key that may not be recorded, and of which another must be made."""
    remedy = f"deliver the new key; only if there is none yet, generate it: {PROGRAM} generate {name}"
    return f"REFUSED: {name}: {why}; {remedy}."


def usage(ran: Ran) -> str:
    """Return the one line of a command that could not do its work."""
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    return ran.err.removeprefix(f"{PROGRAM}: ").removesuffix("\n")


def records(machine: Machine) -> list[dict[str, Any]]:
    """Return what the log's lines say, each with its own hash, as it is shown elsewhere."""
    return [json.loads(line) | {"hash": hash_of(line)} for line in content(machine).splitlines()]


def service_log(machine: Machine) -> str:
    """Start a service that has a pipeline, and return what it writes into its own log."""
    log = io.StringIO()
    pipeline = structlog.wrap_logger(structlog.PrintLogger(log), processors=[structlog.processors.JSONRenderer()])
    machine.within(lambda: guard(logger=pipeline))
    return f"starting\n{log.getvalue()}serving\n"


class TestSteps:
    """The four steps of the validation: each as it was done."""

    @pytest.mark.parametrize(
        ("options", "event", "startup", "functions", "more"),
        [
            ((), "rotation-incomplete", "not-done", "not-done", " ".join(DONE)),
            (STARTUP, "rotation-incomplete", "attested", "not-done", " ".join(FUNCTIONS)),
            (FUNCTIONS, "rotation-incomplete", "not-done", "attested", " ".join(STARTUP)),
            (DONE, "rotated", "attested", "attested", None),
            (("--service-log", "service.log"), "rotation-incomplete", "verified", "not-done", " ".join(FUNCTIONS)),
            (("--service-log", "service.log", *DONE), "rotated", "verified", "attested", None),
        ],
    )
    def test_each_is_recorded(  # noqa: PLR0917 - the columns of the table
        self, machine: Machine, options: Sequence[str], event: str, startup: str, functions: str, more: str | None
    ) -> None:
        """Verified where the program saw it, attested where the operator says so; any that is not done is said."""
        (machine.root / "service.log").write_text(service_log(machine), encoding="utf-8")
        done = f"gate verified, startup {startup}, functions {functions}, log verified"

        def incomplete(name: str) -> list[str]:
            again = f"{PROGRAM} rotate record {name} --environment prod --operator dana {more}"
            return [f"  INCOMPLETE; when the rest is done: {again}"] if more else []

        assert recorded(machine, *options) == [
            f"secret.key: {event} in prod, {machine.fingerprint(V1)}",
            f"  record 1 at {AT}: {done}",
            *incomplete("secret.key"),
            f"secret_v2.key: {event} in prod, {machine.fingerprint(V2)}",
            f"  record 2 at {AT}: {done}",
            *incomplete("secret_v2.key"),
            FIRST,
            "These are the first records of prod.",
            f"compared with 0 records; {ALONE}.",
        ]
        validation = {"gate": "verified", "startup": startup, "functions": functions, "log": "verified"}
        assert [each["validation"] for each in records(machine)] == [validation, validation]
        assert [each["event"] for each in records(machine)] == [event, event]

    def test_a_record_is_whole(self, machine: Machine) -> None:
        """When, what, whose, by whom, for what, which key and how it was validated."""
        machine.environ[f"{V1}_EXPIRES_AT"] = "2027-02-01T00:00:00+01:00"
        recorded(machine, "secret.key", *DONE, "--ticket", "OPS-17")
        (line,) = content(machine).splitlines()
        assert json.loads(line) == {
            "schema": 1,
            "sequence": 1,
            "recorded_at": AT,
            "event": "rotated",
            "secret": "secret.key",
            "environment": "prod",
            "owner": "Security Operations",
            "operator": "dana",
            "ticket": "OPS-17",
            "reason": None,
            "fingerprint": machine.fingerprint(V1),
            "expires_at": "2027-01-31T23:00:00Z",
            "validation": {"gate": "verified", "startup": "attested", "functions": "attested", "log": "verified"},
            "sealed": None,
            "previous": None,
        }

    @pytest.mark.parametrize(("first", "second"), [(STARTUP, FUNCTIONS), (FUNCTIONS, STARTUP), ((), DONE)])
    def test_an_incomplete_one_is_completed(
        self, machine: Machine, first: Sequence[str], second: Sequence[str]
    ) -> None:
        """Recorded again with what was done since, it is complete: what was done before is not forgotten."""
        recorded(machine, "secret.key", *first, now=BEFORE)
        assert recorded(machine, "secret.key", *second) == [
            f"secret.key: rotated in prod, {machine.fingerprint()}",
            f"  record 2 at {AT}: gate verified, startup attested, functions attested, log verified",
            f"compared with 1 record: prod 1; {ALONE}.",
        ]

    def test_what_was_seen_is_not_replaced_by_what_is_said(self, machine: Machine) -> None:
        """A step that the program saw stays verified; one that was said and then seen becomes so."""
        (machine.root / "service.log").write_text(service_log(machine), encoding="utf-8")
        recorded(machine, "secret.key", *STARTUP)
        recorded(machine, "secret.key", "--service-log", "service.log")
        recorded(machine, "secret.key", *DONE)
        assert [each["validation"]["startup"] for each in records(machine)] == ["attested", "verified", "verified"]

    def test_an_incomplete_one_with_no_further_step(self, machine: Machine) -> None:
        """It is refused, with when it was recorded and what is to be done."""
        recorded(machine, *STARTUP, now=BEFORE)
        why = "it is recorded as incomplete since 2026-11-01T12:00:00Z, and no further step is done"
        again = f"{PROGRAM} rotate record {{}} --environment prod --operator dana --attest functions"
        assert refused(machine, *STARTUP) == [
            f"REFUSED: secret.key: {why}; when one is: {again.format('secret.key')}.",
            f"REFUSED: secret_v2.key: {why}; when one is: {again.format('secret_v2.key')}.",
            f"compared with 2 records: prod 2; {ALONE}.",
        ]


class TestServiceLog:
    """`--service-log`: a service's own log is the evidence that it started on the new key."""

    def startup(self, machine: Machine, name: str = "secret.key") -> str:
        """Return how the last record says that services start."""
        (last,) = [each for each in records(machine) if each["secret"] == name]
        return str(last["validation"]["startup"])

    def test_from_a_pipe(self, machine: Machine) -> None:
        """`-` is what another command writes."""
        with patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(service_log(machine).encode()))):
            recorded(machine, "secret.key", "--service-log", "-")
        assert self.startup(machine) == "verified"

    def test_of_another_key(self, machine: Machine) -> None:
        """A start on the previous key is none on this one, nor is a line that only names this key."""
        log = service_log(machine)
        machine.environ.update(good_keys())
        (machine.root / "service.log").write_text(f"{log}{machine.fingerprint()}\n", encoding="utf-8")
        recorded(machine, "secret.key", "--service-log", "service.log")
        assert self.startup(machine) == "not-done"

    def test_each_key_for_itself(self, machine: Machine) -> None:
        """What is not seen of one is what the operator says of it."""
        log = service_log(machine)
        machine.environ[V2] = good_keys()[V2]
        (machine.root / "service.log").write_text(log, encoding="utf-8")
        recorded(machine, "--service-log", "service.log", *STARTUP)
        assert (self.startup(machine), self.startup(machine, "secret_v2.key")) == ("verified", "attested")

    @pytest.mark.parametrize(
        "form",
        [
            "{event} secrets=[{{'secret': '{name}', 'state': 'present', 'fingerprint': '{key}'}}]",
            '{{"event": "{event}", "secrets": [{{"fingerprint": "{key}", "secret": "{name}", "state": "present"}}]}}',
            r'{event} secrets="[{{\"secret\": \"{name}\", \"state\": \"present\", \"fingerprint\": \"{key}\"}}]"',
        ],
    )
    def test_in_another_form(self, machine: Machine, form: str) -> None:
        """Whatever the service's pipeline makes of the event."""
        line = form.format(event=PASSED_EVENT, name=NAME, key=machine.fingerprint())
        (machine.root / "service.log").write_text(line, encoding="utf-8")
        recorded(machine, NAME, "--service-log", "service.log")
        assert self.startup(machine) == "verified"

    @pytest.mark.parametrize(
        "form",
        [
            "GET /?x={event} {key}",
            "{event} {{secret={name} state=expired fingerprint={key}}}",
            "{event} {{secret=secret_v2.key state=present fingerprint={key}}}",
            "{event} {{secret={name}s state=present fingerprint={key}}}",
            "{event} {{secret={name} state=present}} {{fingerprint={key}}}",
            "{{secret={name} state=present fingerprint={key}}}",
        ],
    )
    def test_what_is_no_evidence(self, machine: Machine, form: str) -> None:
        """A line that is not the event of this secret, present and on this key."""
        line = form.format(event=PASSED_EVENT, name=NAME, key=machine.fingerprint())
        (machine.root / "service.log").write_text(line, encoding="utf-8")
        recorded(machine, NAME, "--service-log", "service.log")
        assert self.startup(machine) == "not-done"

    def test_any_bytes(self, machine: Machine) -> None:
        """A log that is not UTF-8 is searched all the same."""
        (machine.root / "service.log").write_bytes(b"\xff\xfe\n" + service_log(machine).encode())
        recorded(machine, "secret.key", "--service-log", "service.log")
        assert self.startup(machine) == "verified"

    @pytest.mark.skipif(os.name != "posix", reason="links are made by administrators there")
    def test_a_link(self, machine: Machine) -> None:
        """A log that is a link is read."""
        (machine.root / "service.1").write_text(service_log(machine), encoding="utf-8")
        (machine.root / "service.log").symlink_to("service.1")
        recorded(machine, "secret.key", "--service-log", "service.log")
        assert self.startup(machine) == "verified"

    @pytest.mark.parametrize("name", ["none.log", ".", "\0"])
    def test_that_cannot_be_read(self, machine: Machine, name: str) -> None:
        """Nothing is recorded."""
        assert usage(record(machine, "--service-log", name)) == f"--service-log: {UNREADABLE}"
        assert content(machine) == b""

    def test_without_a_stdin(self, machine: Machine) -> None:
        """Nor where there is no pipe to read from."""
        with patch.object(sys, "stdin", None):
            assert usage(record(machine, "--service-log", "-")) == f"--service-log: {UNREADABLE}"
        assert content(machine) == b""

    def test_a_terminal(self, machine: Machine) -> None:
        """A terminal is refused: nobody types a log."""
        with patch.object(sys, "stdin", Terminal()):
            assert usage(record(machine, "--service-log", "-")) == "--service-log - reads a pipe, not a terminal"
        assert content(machine) == b""


def test_revoked_while_the_log_was_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate is run once more when nobody else can record anything."""

    def revoke(log: OperationsLog) -> str:
        machine.write("revoked.fingerprints", machine.fingerprint())
        return recorded_at.prepared(log)

    monkeypatch.setattr(rotate, "prepared", revoke)
    ran = record(machine, *DONE)
    assert (ran.status, ran.out.splitlines()[-2:]) == (1, ["REFUSED: the gate failed.", "Nothing was recorded."])
    assert content(machine) == b""


def test_the_first_of_an_environment(machine: Machine) -> None:
    """It is said: the name may be a typo."""
    recorded(machine, *DONE)
    machine.environ.update(good_keys())
    assert "These are the first records of prd." in recorded(machine, *DONE, environment="prd")


def _placeholder(machine: Machine) -> None:
    machine.environ[V1] = "changeme"


def _missing(machine: Machine) -> None:
    del machine.environ[V2]


def _key_file(machine: Machine) -> None:
    machine.write("secret.key", good_keys()[V1])


def _throw_away(machine: Machine) -> None:
    machine.environ.update(ephemeral(RuntimeSecrets.secret_policies.values()))


def _on_the_list(machine: Machine) -> None:
    machine.write("revoked.fingerprints", machine.fingerprint())


def _on_the_fleets_list(machine: Machine) -> None:
    machine.environ["ROBODJ_REVOKED_FINGERPRINTS"] = machine.fingerprint()


class TestRefused:
    """What is no rotation, or is none of a key that may be used: the reason is said, and nothing is recorded."""

    @pytest.mark.parametrize(
        "spoil",
        [_placeholder, _missing, _key_file, _throw_away, _on_the_list, _on_the_fleets_list],
        ids=lambda each: each.__name__,
    )
    def test_the_gate_failed(self, machine: Machine, spoil: Callable[[Machine], None]) -> None:
        """Environment-only, whatever the machine says: with a bad key, a key file, temporary keys, a revoked key."""
        spoil(machine)
        report = machine.within(lambda: check(require_env_only=True))
        assert not report.ok
        assert refused(machine, *DONE) == [*(finding.line for finding in report.findings), "REFUSED: the gate failed."]
        assert not machine.log.parent.exists()

    def test_the_same_key(self, machine: Machine) -> None:
        """Nothing was rotated, whichever is asked about."""
        recorded(machine, *DONE)
        compared = f"compared with 2 records: prod 2; {ALONE}."
        assert refused(machine, *DONE) == [
            f"REFUSED: secret.key: {UNCHANGED}.",
            f"REFUSED: secret_v2.key: {UNCHANGED}.",
            compared,
        ]
        assert refused(machine, "secret_v2.key", *DONE) == [f"REFUSED: secret_v2.key: {UNCHANGED}.", compared]

    def test_a_warning_is_said_before_the_reason(self, machine: Machine) -> None:
        """What the gate found and let pass is to be seen with what was refused."""
        recorded(machine, *DONE)
        machine.environ[f"{V1}_EXPIRES_AT"] = marker(timedelta(days=3))
        (warning, *_) = refused(machine, *DONE)
        assert warning.startswith("WARNING: secret.key: expiring: The key expires at ")

    def test_the_same_key_in_the_other_case(self, machine: Machine) -> None:
        """Hexadecimal in capitals is the same key."""
        recorded(machine, *DONE)
        machine.environ[V2] = machine.environ[V2].upper()
        (line, _) = refused(machine, "secret_v2.key", *DONE)
        assert line == f"REFUSED: secret_v2.key: {UNCHANGED}."

    def test_used_before(self, machine: Machine) -> None:
        """Going back to a key is no rotation: it is said since when it was used."""
        old = dict(machine.environ)
        recorded(machine, *DONE, now=BEFORE)
        machine.environ.update(good_keys())
        recorded(machine, *DONE)
        machine.environ.update(old)
        assert refused(machine, "secret.key", *DONE) == [
            another("the key was used before, since 2026-11-01T12:00:00Z"),
            f"compared with 4 records: prod 4; {ALONE}.",
        ]

    def test_in_another_environment(self, machine: Machine) -> None:
        """Environments share no key, those of one machine neither."""
        recorded(machine, *DONE, environment="dev")
        assert refused(machine, *DONE) == [
            another("the key stands under the environment dev, and each needs its own"),
            another("the key stands under the environment dev, and each needs its own", OTHER),
            "compared with 2 records: dev 2.",
        ]

    def test_in_another_environments_log(self, machine: Machine, staging: Machine) -> None:
        """A key that `--known` has is refused, an incomplete rotation's too."""
        staging.environ[V1] = machine.environ[V1]
        recorded(staging, environment="staging")
        assert refused(machine, *DONE, "--known", str(staging.log)) == [
            another("the key stands under the environment staging, and each needs its own"),
            "compared with 2 records: staging 2.",
        ]

    def test_of_another_secret(self, machine: Machine) -> None:
        """A key that one secret had is none for the other."""
        recorded(machine, "secret_v2.key", *DONE)
        machine.environ.update({V1: machine.environ[V2], V2: good_keys()[V2]})
        assert refused(machine, "secret.key", *DONE) == [
            another("the key stands under secret_v2.key, and each secret needs its own"),
            f"compared with 1 record: prod 1; {ALONE}.",
        ]

    @pytest.mark.parametrize("known", [False, True])
    def test_revoked_by_the_record_alone(self, machine: Machine, staging: Machine, known: bool) -> None:  # noqa: FBT001
        """Where the list was not delivered, the record speaks, before all else that is wrong with the key."""
        key = machine.fingerprint()
        where = staging if known else machine
        revoked = draft(Event.REVOKED, fingerprint=key)
        where.record(rotated(BEFORE, key), replace(revoked, recorded_at=NOW - timedelta(hours=1)))
        options = ("--known", str(staging.log)) if known else ()
        assert refused(machine, "secret.key", *DONE, *options) == [
            another("the key was revoked at 2026-12-01T11:00:00Z"),
            f"compared with 2 records: no environment 1, prod 1; {ALONE}.",
        ]

    def test_one_of_two(self, machine: Machine) -> None:
        """What is wrong with one secret keeps the other from being recorded by the same command."""
        recorded(machine, "secret.key", *DONE, environment="dev")
        (line, _) = refused(machine, *DONE)
        assert line.startswith("REFUSED: secret.key: the key stands under the environment dev")


class TestNames:
    """Which secrets are meant."""

    def test_unnamed(self, machine: Machine) -> None:
        """All that are new; those that are not are passed over, and that is said."""
        recorded(machine, *DONE)
        machine.environ[V2] = good_keys()[V2]
        assert recorded(machine, *DONE) == [
            f"secret_v2.key: rotated in prod, {machine.fingerprint(V2)}",
            f"  record 3 at {AT}: gate verified, startup attested, functions attested, log verified",
            "secret.key: unchanged, not recorded",
            f"compared with 2 records: prod 2; {ALONE}.",
        ]

    @pytest.mark.parametrize("name", ["secret_v2.key", V2])
    def test_named(self, machine: Machine, name: str) -> None:
        """The one that is named, by its name or its variable, and no other."""
        recorded(machine, name, *DONE)
        assert [each["secret"] for each in records(machine)] == ["secret_v2.key"]

    def test_named_and_unchanged(self, machine: Machine) -> None:
        """Whoever names a secret says that it was rotated: if it was not, nothing is recorded of the other."""
        recorded(machine, "secret.key", *DONE)
        (line, _) = refused(machine, "secret.key", "secret_v2.key", *DONE)
        assert line.startswith("REFUSED: secret.key: nothing was rotated")

    @pytest.mark.parametrize("command", ["record", "plan"])
    def test_unknown(self, machine: Machine, command: str) -> None:
        """It is not repeated: it may be a key."""
        key = key_as_argument()
        ran = machine.call("rotate", command, key, "--environment", "prod", "--operator", "dana")
        assert usage(ran) == "there is no such secret: the model declares secret.key, secret_v2.key"
        assert leaks(ran.err, [key]) == []


class TestKnown:
    """`--known`: the logs of other environments."""

    def test_how_many_of_which(self, machine: Machine, staging: Machine, tmp_path: Path) -> None:
        """It is said how many records of which environments were compared."""
        dev = tmp_path / "dev.jsonl"
        recorded(staging, "--operations-log", str(dev), environment="dev")
        staging.environ.update(good_keys())
        recorded(staging, "secret.key", environment="staging")
        recorded(machine, "secret.key")
        options = ("--known", str(staging.log), "--known", str(dev))
        assert recorded(machine, *DONE, *options)[-1] == "compared with 4 records: dev 2, prod 1, staging 1."

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda text: text.replace(b"dana", b"dora", 1), "1 known log that does not verify"),
            (lambda text: text[:-20], "1 known log that does not verify"),
            (lambda text: text + b"\n", "1 known log that does not verify"),
        ],
        ids=["edited", "torn", "with a blank line"],
    )
    def test_damaged(self, machine: Machine, staging: Machine, spoil: Callable[[bytes], bytes], said: str) -> None:
        """It is compared with by what can be read, and that is said: a log that was put aside is passed too."""
        recorded(staging, *DONE, environment="staging")
        staging.log.write_bytes(spoil(content(staging)))
        lines = recorded(machine, *DONE, "--known", str(staging.log))
        assert lines[-1].endswith(f"; {said}, by what can be read.")
        machine.environ[V1] = staging.environ[V1]
        assert refused(machine, "secret.key", *DONE, "--known", str(staging.log))[0] == (
            another("the key stands under the environment staging, and each needs its own")
        )

    def test_a_log_of_ones_own_that_was_put_aside(self, machine: Machine) -> None:
        """What it says of this environment holds on: what is incomplete is completed, what was used is refused."""
        recorded(machine, *STARTUP, now=BEFORE)
        aside = machine.log.rename(machine.log.with_name("aside.jsonl"))
        last = hash_of(aside.read_bytes().splitlines()[-1])
        assert recorded(machine, "secret.key", *FUNCTIONS, "--known", str(aside))[:3] == [
            f"secret.key: rotated in prod, {machine.fingerprint()}",
            f"  record 4 at {AT}: gate verified, startup attested, functions attested, log verified",
            f"The operations log continues after record 2 of an earlier file ({last}).",
        ]
        (line, _) = refused(machine, "secret.key", *DONE, "--known", str(aside))
        assert line.startswith("REFUSED: secret.key: nothing was rotated")

    def test_two_that_are_damaged(self, machine: Machine, staging: Machine) -> None:
        """They are counted."""
        recorded(staging, environment="staging")
        staging.log.write_bytes(content(staging)[:-20])
        lines = recorded(machine, "--known", str(staging.log), "--known", str(staging.log))
        assert lines[-1].endswith("; 2 known logs that do not verify, by what can be read.")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (None, "--known, number 1: there is none"),
            ("", "--known, number 1: it has no record that can be read, and nothing can be compared with it"),
            ("none\n", "--known, number 1: it has no record that can be read, and nothing can be compared with it"),
        ],
    )
    def test_nothing_to_compare_with(self, machine: Machine, tmp_path: Path, text: str | None, said: str) -> None:
        """Whoever passes it believes that something was compared: nothing is recorded."""
        if text is not None:
            (tmp_path / "known.jsonl").write_text(text, encoding="utf-8")
        assert usage(record(machine, *DONE, "--known", str(tmp_path / "known.jsonl"))) == said
        assert content(machine) == b""


class TestJson:
    """`--format json`: one document."""

    def test_recorded(self, machine: Machine) -> None:
        """The records as they are in the log, with their hashes."""
        recorded(machine, "secret.key", *DONE)
        assert json.loads(record(machine, *DONE, "--format", "json").out) == {
            "schema": 1,
            "model": DEFAULT_MODEL,
            "ok": True,
            "refusals": [],
            "unchanged": ["secret.key"],
            "compared": {"prod": 1},
            "records": records(machine)[1:],
            "check": machine.within(lambda: check(require_env_only=True)).as_dict(),
        }

    def test_refused(self, machine: Machine) -> None:
        """Each reason with its secret, and the check."""
        recorded(machine, "secret.key", *DONE)
        ran = record(machine, "secret.key", "--format", "json")
        assert (ran.status, ran.err) == (1, "")
        assert json.loads(ran.out) == {
            "schema": 1,
            "model": DEFAULT_MODEL,
            "ok": False,
            "refusals": [{"secret": "secret.key", "reason": UNCHANGED}],
            "unchanged": [],
            "compared": {"prod": 1},
            "records": [],
            "check": machine.within(lambda: check(require_env_only=True)).as_dict(),
        }

    def test_the_gate_failed(self, machine: Machine) -> None:
        """It is about no secret, and nothing was compared."""
        _placeholder(machine)
        document = json.loads(record(machine, "--format", "json").out)
        assert document["refusals"] == [{"secret": None, "reason": "the gate failed"}]
        assert (document["compared"], document["check"]["ok"]) == ({}, False)


class TestOptions:
    """What operators give: it is kept and shown, so it is looked at, and never repeated."""

    @pytest.mark.parametrize("command", ["record", "plan"])
    @pytest.mark.parametrize("option", ["--operator", "--ticket"])
    @pytest.mark.parametrize("text", ["{key}", "the key is {key}.", "", " ", "two\nlines", "\x1b[31mred", "-" * 501])
    def test_free_text(self, machine: Machine, command: str, option: str, text: str) -> None:
        """One line of printable text, without anything like a key."""
        key = secrets.token_urlsafe(32)
        given = {"--environment": "prod", "--operator": "dana", option: text.format(key=key)}
        words = [f"{name}={value}" for name, value in given.items()]
        ran = machine.call("rotate", command, "secret.key", *words)
        said = f"{option} must be one line of printable text, up to 500 characters, without anything like a key"
        assert usage(ran) == said
        assert leaks(ran.err, [key]) == []
        assert content(machine) == b""

    @pytest.mark.parametrize("command", ["record", "plan"])
    @pytest.mark.parametrize("name", ["Prod", "prod live", "", "-", "{key}", "p" * 33])
    def test_environment(self, machine: Machine, command: str, name: str) -> None:
        """One spelling of each, and too short for a key."""
        key = secrets.token_urlsafe(32)
        words = (f"--environment={name.format(key=key)}", "--operator", "dana")
        ran = machine.call("rotate", command, "secret.key", *words)
        names = "a name like dev, staging or prod: lower-case letters, digits, hyphen, underscore"
        assert usage(ran) == f"--environment must be {names}"
        assert leaks(ran.err, [key]) == []

    @pytest.mark.parametrize(
        ("given", "needed"),
        [
            (("--environment", "prod"), "--operator"),
            (("--operator", "dana"), "--environment"),
            ((), "--environment, --operator"),
        ],
    )
    def test_needed(self, machine: Machine, given: Sequence[str], needed: str) -> None:
        """A rotation is of an environment, and by somebody."""
        said = usage(machine.call("rotate", "record", *given))
        assert said == f"the following arguments are required: {needed}; see {PROGRAM} rotate record --help"

    def test_format(self, machine: Machine) -> None:
        """Text or JSON."""
        said = usage(record(machine, "--format", "xml"))
        assert said == f"--format: what was given is not accepted; see {PROGRAM} rotate record --help"
        assert content(machine) == b""


class TestPlace:
    """Where the operations log is."""

    def test_the_default(self, machine: Machine) -> None:
        """In the config directory: for its owner, and for the group where the umask lets it."""
        before = os.umask(0o007)
        try:
            recorded(machine)
        finally:
            os.umask(before)
        assert len(records(machine)) == 2
        if os.name == "posix":
            modes = [stat.S_IMODE(path.stat().st_mode) for path in (machine.log.parent, machine.log)]
            assert modes == [0o770, 0o660]

    def test_an_empty_variable(self, machine: Machine) -> None:
        """It is unset."""
        machine.environ["ROBODJ_OPERATIONS_LOG"] = ""
        recorded(machine)
        assert len(records(machine)) == 2

    @pytest.mark.parametrize("named_by", ["option", "variable", "directory", "directory variable"])
    def test_named(self, machine: Machine, tmp_path: Path, named_by: str) -> None:
        """By an option, else by the variable, else in the config directory that is named."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        options: tuple[str, ...] = ()
        path = elsewhere / "log.jsonl"
        if named_by == "option":
            machine.environ["ROBODJ_OPERATIONS_LOG"] = str(tmp_path / "unused")
            options = ("--operations-log", str(path))
        elif named_by == "variable":
            machine.environ["ROBODJ_OPERATIONS_LOG"] = str(path)
        else:
            path = elsewhere / "logs" / "secret_operations.jsonl"
            if named_by == "directory":
                options = ("--config-dir", str(elsewhere))
            else:
                machine.environ["ROBODJ_CONFIG_DIR"] = str(elsewhere)
        recorded(machine, *options)
        assert content(machine) == b""
        assert path.read_bytes().count(b"\n") == 2
        assert machine.call("log", "verify", *options).status == 0

    def test_no_config_directory(self, machine: Machine) -> None:
        """The default one is made with the log: services may enter it, and only its owner writes there."""
        machine.config.rmdir()
        before = os.umask(0o002)
        try:
            recorded(machine, *DONE)
        finally:
            os.umask(before)
        assert len(records(machine)) == 2
        if os.name == "posix":
            modes = [stat.S_IMODE(path.stat().st_mode) for path in (machine.config, machine.log.parent, machine.log)]
            assert modes == [0o755, 0o770, 0o660]
        assert machine.within(check).ok

    @pytest.mark.parametrize("named_by", ["--config-dir", "ROBODJ_CONFIG_DIR"])
    def test_no_named_config_directory(self, machine: Machine, tmp_path: Path, named_by: str) -> None:
        """A config directory that somebody named is not invented: the gate says what is wrong."""
        nowhere = str(tmp_path / "nowhere")
        options = (named_by, nowhere) if named_by == "--config-dir" else ()
        if not options:
            machine.environ[named_by] = nowhere
        (alert, _) = refused(machine, *DONE, *options)
        assert "names does not exist" in alert
        assert not os.path.exists(nowhere)

    def test_a_named_config_directory_that_is_gone(self, tmp_path: Path) -> None:
        """Where it was deleted since the gate ran, it is not made either."""
        log = OperationsLog(
            str(tmp_path / "nowhere/logs/log.jsonl"), "the log", makes=(str(tmp_path / "nowhere/logs"),)
        )
        with pytest.raises(FileError, match=r"\Aits directory does not exist and cannot be made\Z"):
            recorded_at.prepared(log)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("named_by", ["--operations-log", "ROBODJ_OPERATIONS_LOG"])
    def test_no_such_directory(self, machine: Machine, tmp_path: Path, named_by: str) -> None:
        """Where the log itself was named, its directory is not made, and what was named is not repeated."""
        path = str(tmp_path / "nowhere" / "log.jsonl")
        if named_by.startswith("--"):
            ran = record(machine, named_by, path)
        else:
            machine.environ[named_by] = path
            ran = record(machine)
        said = f"nothing was recorded: the operations log that {named_by} names: its directory is not there"
        assert usage(ran) == said
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.skipif(os.name != "posix", reason="links are made by administrators there")
    def test_a_link(self, machine: Machine) -> None:
        """Nothing is written through one."""
        machine.log.parent.mkdir(mode=0o700)
        machine.log.symlink_to("elsewhere.jsonl")
        said = usage(record(machine))
        assert said == f"nothing was recorded: {THE_LOG}: it is a link, and nothing is read or written through one"
        assert not machine.log.exists()

    def test_damaged(self, machine: Machine) -> None:
        """Nothing is added to a log that does not verify: it says what is wrong, and what to do."""
        recorded(machine)
        machine.log.write_bytes(content(machine).replace(b"dana", b"dora", 1))
        before = content(machine)
        machine.environ.update(good_keys())
        assert usage(record(machine)) == (
            f"nothing was recorded: {THE_LOG}: it does not verify (line 2 does not follow line 1: one was changed, or"
            " one between was taken away): keep it under another name, as evidence and for --known; the next record"
            " begins a new one"
        )
        assert content(machine) == before

    def test_torn(self, machine: Machine) -> None:
        """What a cut write has left is closed off, by a record of its own, which is said."""
        recorded(machine, "secret.key", *DONE)
        machine.log.write_bytes(content(machine) + b'{"schema":1')
        assert recorded(machine, *DONE)[0] == "record 2: closed off what a cut write had left"
        assert machine.call("log", "verify").status == 0

    def test_a_clock_that_went_back(self, machine: Machine) -> None:
        """Nothing is recorded before what is recorded already."""
        recorded(machine)
        machine.environ.update(good_keys())
        assert usage(record(machine, now=BEFORE)) == (
            f"nothing was recorded: {THE_LOG}: the clock says 2026-11-01T12:00:00Z, and it cannot be before"
            f" {AT}: set it, or if a record has a wrong time, keep the log under another name, for --known"
        )


HOST = """\
import structlog

from robodj_secretguard import RuntimeSecrets

structlog.configure(
    processors=[structlog.processors.KeyValueRenderer(key_order=["event", "secret", "sequence"])],
    logger_factory=structlog.PrintLoggerFactory(),
)


class HostSecrets(RuntimeSecrets):
    pass
"""


class TestEvents:
    """Each record goes out as one event too: the log system of a fleet is its shared record."""

    def test_lines_of_json(self, machine: Machine) -> None:
        """On stderr, with the record's number and hash; stdout is the result's."""
        ran = record(machine, "--ticket", "caf\N{LATIN SMALL LETTER E WITH ACUTE}")
        assert ran.err.isascii()
        assert [json.loads(line) for line in ran.err.splitlines()] == [
            {**each, "event": f"secret {each['event']}", "level": "info"} for each in records(machine)
        ]
        assert [each["sequence"] for each in records(machine)] == [1, 2]

    def test_the_hosts_pipeline(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the model's module has configured one, it gets them too, and stdout stays the result's."""
        monkeypatch.delitem(sys.modules, "rotates_with_a_pipeline", raising=False)
        (machine.root / "rotates_with_a_pipeline.py").write_text(HOST, encoding="utf-8")
        ran = record(machine, *DONE, "--model", "rotates_with_a_pipeline:HostSecrets", "--format", "json")
        assert json.loads(ran.out)["records"] == records(machine)
        plain, piped = ran.err.splitlines()[::2], ran.err.splitlines()[1::2]
        assert [json.loads(line)["hash"] for line in plain] == [each["hash"] for each in records(machine)]
        assert [line.split(" schema=")[0] for line in piped] == [
            "event='secret rotated' secret='secret.key' sequence=1",
            "event='secret rotated' secret='secret_v2.key' sequence=2",
        ]
        assert all(each["hash"] in line for each, line in zip(records(machine), piped, strict=True))

    def test_a_pipeline_that_fails(self, machine: Machine) -> None:
        """What is recorded is recorded, and is said plainly."""

        def fail(*_: object) -> str:
            raise SystemExit(0)

        structlog.configure(processors=[fail])
        recorded(machine, *DONE)
        assert len(records(machine)) == 2

    def test_no_stderr(self, machine: Machine) -> None:
        """Nor does a stream that takes nothing undo it."""
        argv = ["rotate", "record", *DONE, "--environment", "prod", "--operator", "dana"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(None):
            assert machine.within(lambda: main(argv)) == 0
        assert len(records(machine)) == 2

    def test_of_any_kind(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An event and its fields are one line."""
        emit_event("secret revoked", {"sequence": 7, "reason": "two\nlines"})
        out, err = capsys.readouterr()
        assert (out, json.loads(err)) == (
            "",
            {"event": "secret revoked", "level": "info", "sequence": 7, "reason": "two\nlines"},
        )
        assert err.count("\n") == 1


GENERATE = (
    "Generate a new key for this environment alone, straight into the secret manager (the part after | is its own"
    " command):"
)
IN_FORCE = (
    "Record the key in force, in the environment that has it, before it is replaced: only a recorded key can be revoked"
    " by name later:"
)
RECORD_IT = f"{PROGRAM} rotate record"


class TestPlan:
    """`rotate plan`: the next commands, to be copied."""

    @pytest.mark.parametrize("option", ["--config-dir", "--operations-log", "--model"])
    @pytest.mark.parametrize("shape", ["{}", "/var/{}/x", "\x1b]0;{}\x07\nrm", "ü"])
    def test_what_could_be_a_key_is_not_repeated(self, machine: Machine, option: str, shape: str) -> None:
        """A path that could be one, or forge a line, is given by the option's own word."""
        key = secrets.token_urlsafe(32)
        given = shape.format(key) if option != "--model" else "robodj_secretguard:RuntimeSecrets"
        ran = machine.call("rotate", "plan", NAME, f"{option}={given}")
        word = {"--config-dir": "DIR", "--operations-log": "FILE", "--model": given}[option]
        assert f"{option} {word}" in ran.out
        assert leaks(ran.out + ran.err, [key]) == []
        assert (ran.out + ran.err).isascii()
        assert "\x1b" not in ran.out

    def plan(self, machine: Machine, *options: str) -> Ran:
        """Plan a rotation."""

        class Stopped(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return NOW.astimezone(tz)

        with patch("robodj_secretguard.cli.rotate.datetime", Stopped):
            return machine.call("rotate", "plan", *options)

    def commands(self, machine: Machine, *options: str) -> list[str]:
        """Return the commands of a plan."""
        steps = json.loads(self.plan(machine, *options, "--format", "json").out)["steps"]
        return [step["command"] for step in steps if step["command"]]

    def test_the_first(self, machine: Machine) -> None:
        """Of a secret of which nothing is recorded, with what is to be filled in in capitals."""
        ran = self.plan(machine, "secret.key")
        assert (ran.status, ran.err) == (0, "")
        record_it = f"     {RECORD_IT} secret.key --environment ENVIRONMENT --operator YOUR-NAME {' '.join(DONE)}"
        assert ran.out.splitlines() == [
            "Rotation of secret.key, every 90 days by Security Operations",
            f"1. {IN_FORCE}",
            record_it,
            f"2. {GENERATE}",
            f"     {PROGRAM} generate secret.key | YOUR-SECRET-MANAGER",
            "3. Set its expiry marker, 90 days from now, where the key is delivered:",
            "     ROBODJ_SECRET_KEY_EXPIRES_AT=2027-03-01T12:00:00Z",
            "4. Deliver the key as ROBODJ_SECRET_KEY, and run the gate in the environment that has it:",
            f"     {PROGRAM} check --require-env-only",
            "5. Start the services, and confirm that their startup integrity checks pass.",
            "6. Verify that authentication- and encryption-dependent functions still operate.",
            "7. Record it, in the environment that has the key:",
            record_it,
            "8. Disable the old version in the secret manager.",
            "9. Only if the old key may be known to others, revoke it:",
            f"     {PROGRAM} revoke secret.key --last-recorded --reason WHY --operator YOUR-NAME",
        ]

    @pytest.mark.parametrize("value", [None, "changeme"])
    def test_no_key_is_delivered(self, machine: Machine, value: str | None) -> None:
        """The plan is the same on a machine that has no sound key; the old key is the last recorded one."""
        assert self.plan(machine, NAME).out.splitlines()[1] == f"1. {IN_FORCE}"
        old = machine.fingerprint()
        recorded(machine, *DONE, now=BEFORE)
        del machine.environ[V1]
        machine.environ.update({} if value is None else {V1: value})
        lines = self.plan(machine, NAME, "--environment", "prod").out.splitlines()
        assert lines[1] == f"1. {IN_FORCE}"
        assert f"8. Disable the old version in the secret manager ({old}, recorded 2026-11-01T12:00:00Z)." in lines
        assert f"revoke --fingerprint {old} " in lines[-1]

    @pytest.mark.parametrize("options", [(), ("--environment", "prod")])
    def test_the_key_in_force_is_recorded(self, machine: Machine, options: Sequence[str]) -> None:
        """The first step says since when, and gives no command; its records say which environment is meant."""
        key = machine.fingerprint()
        machine.record(rotated(BEFORE, key, startup=Proof.NOT_DONE), rotated(NOW, key))
        first, *_ = json.loads(self.plan(machine, NAME, *options, "--format", "json").out)["steps"]
        said = f"The key in force is recorded already: {key}, since 2026-11-01T12:00:00Z."
        assert first == {"text": said, "command": None}
        assert f"{RECORD_IT} {NAME} --environment prod " in self.plan(machine, NAME, *options).out

    def test_the_key_in_force_is_not_the_last_recorded_one(self, machine: Machine) -> None:
        """It is to be recorded first, so that the old version is the last recorded one before the new one."""
        machine.record(rotated(BEFORE, fingerprint_of(good_keys()[V1])))
        ran = self.plan(machine, NAME, "--environment", "prod")
        assert ran.out.splitlines()[1] == f"1. {IN_FORCE}"
        assert "sgfp1:" not in ran.out

    def test_a_key_that_was_never_recorded(self, machine: Machine) -> None:
        """Who follows the plan from its first step on revokes the key that was in force, by name."""
        machine.record(rotated(BEFORE, fingerprint_of(good_keys()[V1])))
        old = machine.fingerprint()
        who = ("--environment", "prod", "--operator", "dana")
        record_it, _, _, _, record_again, revoke = self.commands(machine, NAME, *who)
        assert machine.call(*shlex.split(record_it)[1:]).status == 0
        machine.environ.update(good_keys())
        assert machine.call(*shlex.split(record_again)[1:]).status == 0
        assert machine.call(*shlex.split(revoke)[1:], "--yes").status == 0
        assert (records(machine)[-1]["event"], records(machine)[-1]["fingerprint"]) == ("revoked", old)

    def test_the_next(self, machine: Machine) -> None:
        """The old version is named, and how to revoke it."""
        recorded(machine, *DONE, now=BEFORE)
        who = "dana o'neil"
        ran = self.plan(machine, V2, "--environment", "prod", "--operator", who)
        old = machine.fingerprint(V2)
        assert ran.out.splitlines()[0] == "Rotation of secret_v2.key, every 30 days by Security Operations"
        assert ran.out.splitlines()[1] == (
            f"1. The key in force is recorded already: {old}, since 2026-11-01T12:00:00Z."
        )
        assert ran.out.splitlines()[5] == "     ROBODJ_SECRET_V2_KEY_EXPIRES_AT=2026-12-31T12:00:00Z"
        *lines, revoke = ran.out.splitlines()
        assert lines[-4:] == [
            "7. Record it, in the environment that has the key:",
            f"     {RECORD_IT} secret_v2.key --environment prod --operator {shlex.quote(who)} {' '.join(DONE)}",
            f"8. Disable the old version in the secret manager ({old}, recorded 2026-11-01T12:00:00Z).",
            "9. Only if the old key may be known to others, revoke it:",
        ]
        assert shlex.split(revoke)[:6] == [PROGRAM, "revoke", "--fingerprint", old, "--reason", "WHY"]

    def test_other_records_do_not_matter(self, machine: Machine) -> None:
        """Neither those of another environment or secret, nor a revocation, say which version is the old one."""
        key = machine.fingerprint()
        revoked = draft(Event.REVOKED, secret=NAME, environment="prod", fingerprint=key)
        other = rotated(BEFORE, key, secret=OTHER)
        machine.record(rotated(BEFORE, key, environment="dev"), other, replace(revoked, recorded_at=BEFORE))
        assert "sgfp1:" not in self.plan(machine, "secret.key", "--environment", "prod").out

    @pytest.mark.parametrize("text", [b"", b"none\n"])
    def test_without_a_log(self, machine: Machine, text: bytes) -> None:
        """A rotation does not wait for the log: what is not known is left out."""
        machine.record()
        machine.log.write_bytes(text)
        assert "8. Disable the old version in the secret manager.\n" in (
            self.plan(machine, "secret.key", "--environment", "prod").out
        )

    def test_json(self, machine: Machine) -> None:
        """Each step with its text, and its command where there is one."""
        document = json.loads(self.plan(machine, "secret.key", "--format", "json").out)
        assert (list(document), document["schema"], document["secret"]) == (
            ["schema", "ok", "model", "secret", "steps"],
            1,
            "secret.key",
        )
        assert [sorted(step) for step in document["steps"]] == [["command", "text"]] * 9
        has_command = [bool(step["command"]) for step in document["steps"]]
        assert has_command == [True, True, True, True, False, False, True, False, True]

    def test_the_commands_work(self, machine: Machine, tmp_path: Path) -> None:
        """With the options that the plan was given they do what the plan says, in a shell, in its order."""
        log, config = tmp_path / "a log.jsonl", tmp_path / "a config"
        config.mkdir(mode=0o700)
        place = ("--operations-log", str(log), "--config-dir", str(config))
        who = ("--environment", "prod", "--operator", "dana o'neil", "--ticket", "OPS-17")
        assert machine.call("rotate", "record", "secret.key", *DONE, *who, *place).status == 0
        old = machine.fingerprint()
        model = ("--model", "robodj_secretguard:RuntimeSecrets")
        generate, expiry, gate, record_it, revoke = self.commands(machine, "secret.key", *who, *place, *model)
        made = machine.call(*shlex.split(generate.partition(" | ")[0])[1:])
        variable, _, instant = expiry.partition("=")
        machine.environ.update({V1: made.out, variable: instant})
        assert machine.call(*shlex.split(gate)[1:]).status == 0
        assert machine.call(*shlex.split(record_it)[1:]).status == 0
        assert machine.call(*shlex.split(revoke)[1:], "--yes").status == 0
        entries = [json.loads(line) for line in log.read_bytes().splitlines()]
        assert [(each["event"], each["operator"], each["ticket"]) for each in entries] == [
            ("rotated", "dana o'neil", "OPS-17"),
            ("rotated", "dana o'neil", "OPS-17"),
            ("revoked", "dana o'neil", "OPS-17"),
        ]
        assert [each["fingerprint"] for each in entries] == [old, machine.fingerprint(), old]
        assert entries[1]["expires_at"] == instant
        assert old in (config / "revoked.fingerprints").read_text(encoding="utf-8")


def test_a_revocation_that_is_not_listed(machine: Machine) -> None:
    """The gate has what the log adds to it: nothing is recorded until the list has the entry again."""
    gone = fingerprint_of(good_keys()[V1])
    machine.record(
        replace(draft(Event.REVOKED, reason="leaked", fingerprint=gone), recorded_at=NOW - timedelta(days=1))
    )
    ran = record(machine, *DONE)
    assert ran.status == 1
    assert ran.out.startswith(f"ALERT: revocation-list: A recorded revocation is not on the revocation list: {gone}.")
    assert ran.out.endswith("Nothing was recorded.\n")
    machine.write("revoked.fingerprints", f"{gone}\n", 0o644)
    assert record(machine, *DONE).status == 0
