"""Secret managers and the sources of `--from`: time limits, what is kept of an answer, its check, and its command."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from pathlib import Path

import kept_values
import pytest
from command_line import Machine, fingerprint_of, key_as_argument, machine_at
from conftest import NOW, V1, V2, Failure, Ran, failure_of, good_keys, put, raising
from processes import ENVIRONMENT, needs_fork, run_copy, started_with

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_UNAVAILABLE, EXIT_USAGE, PASSED
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.managers import manager as module
from robodj_secretguard.managers.manager import (
    Manager,
    Stored,
    is_insecure,
    limited,
    load_sources,
    manager_error,
    members,
    open_sources,
    open_store,
    sealed,
    time_of,
)
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup import directory, file_reader
from robodj_secretguard.startup.directory import MAX_BYTES, Delivery
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS
from robodj_secretguard.startup.report import REFUSED

AWAY = ManagerError("is away", "wait", is_temporary=True)
DENIED = ManagerError("denies it", "log in")
CUT = Failure("is cut off", "fix", is_temporary=True)
NO_OBJECT = Failure("is not a JSON object", "fix")
INVALID = (
    "invalid source; use vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH, envfile:PATH, exec:PROGRAM or json:- once"
)


class Scripted(Manager):
    """A manager that gives one answer after the other, and then the last one again."""

    def __init__(self, *answers: Mapping[str, object] | Exception) -> None:
        super().__init__("scripted:x")
        self.answers = [*answers]
        self.attempts: list[float] = []
        self.said: list[str] = []

    def fetch(self, names: Collection[str]) -> Mapping[str, object]:  # noqa: ARG002
        self.attempts.append(self.seconds)
        answer = self.answers.pop(0) if self.answers[1:] else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def read(self, seconds: float = 60) -> Delivery:
        """Load two variables within some seconds."""
        least = module.FIRST_PAUSE if seconds else module.ATTEMPT_SECONDS
        return self.load(["A", "B"], time.monotonic() + seconds, self.said.append, least=least)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.002)


class TestLoad:
    """Attempts, until one succeeds or the time has passed."""

    def test_a_temporary_error_is_tried_again_and_reported_once(self) -> None:
        """A temporary failure is followed by another attempt, and only the first one is reported."""
        manager = Scripted(AWAY, AWAY, {"A": "x"})
        assert manager.read().get("A") == SealedStr("x")
        assert [round(each) for each in manager.attempts] == [60] * 3  # a slow answer may use all the time
        assert manager.said == ["scripted:x is away; trying again"]

    @pytest.mark.parametrize(
        ("answers", "is_repeatable", "failure"),
        [
            ([AWAY, DENIED], True, Failure("denies it", "log in")),
            ([AWAY], False, Failure("is away", "wait", is_temporary=True)),
            ([LookupError(V1)], True, Failure("cannot be read (LookupError)", "report a bug with this line")),
        ],
        ids=["another error", "a source that cannot be read again", "an error of a client"],
    )
    def test_any_other_error_is_final(self, answers: list[Exception], failure: Failure, *, is_repeatable: bool) -> None:
        """Another failure is final. One that the client raises shows its type alone."""
        manager = Scripted(*answers, {"A": "x"})
        manager.is_repeatable = is_repeatable
        assert failure_of(manager.read) == failure
        assert len(manager.attempts) == len(answers)

    def test_without_time_to_wait_there_is_one_attempt(self) -> None:
        """Without time to wait there is one attempt, with the usual limit."""
        manager = Scripted(AWAY)
        assert failure_of(lambda: manager.read(0)).what == "is away"
        assert (manager.attempts, manager.said) == ([5.0], [])

    def test_the_attempts_end_with_the_time(self) -> None:
        """The attempts end with the time, and none gets more than the rest of it."""
        manager = Scripted(AWAY)
        assert failure_of(lambda: manager.read(0.5)).what == "is away"
        assert len(manager.attempts) > 2
        assert max(manager.attempts[:-1]) < 0.5


class TestMembers:
    """The members of a JSON object, or why it cannot be used."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (b'{"A": "x", "B": 1, "C": {"D": null}}', {"A": "x", "B": 1, "C": {"D": None}}),
            ('\n {"A": "x"}\r\n', {"A": "x"}),
            ('\ufeff{"A": "x"}'.encode(), {"A": "x"}),
            ('{"A": "x"}'.encode("utf-16"), {"A": "x"}),
            (b"{}", {}),
            (b" \n", Failure("is empty", "fix", is_temporary=True)),
            (b'["A"]', NO_OBJECT),
            (b"Error: not found", NO_OBJECT),
            (b'{"A": x}', NO_OBJECT),
            (b'{"A": "x"} {"A": "y"}', NO_OBJECT),
            (b'{"A": "x"} and more', NO_OBJECT),
            (b'{"A": "\xff"}', NO_OBJECT),
            (b'{"A": ' * 100_000, NO_OBJECT),
            (b"{" + b" " * MAX_BYTES, Failure("is larger than 1048576 bytes", "fix")),
        ],
    )
    def test_a_text_is_a_json_object_or_an_error(self, text: bytes | str, expected: object) -> None:
        """A text is a JSON object in UTF-8 or UTF-16, or it cannot be used."""
        if isinstance(expected, Failure):
            assert failure_of(lambda: members(text, "fix")) == expected
        else:
            assert members(text, "fix") == expected

    def test_an_object_that_is_cut_off_is_a_temporary_error(self) -> None:
        """An object that was cut off at any character is a temporary failure, unless it is known to be whole."""
        text = json.dumps({"A": "x\n\u00e9", "B": {"C": [1, True, None]}, "D": -1.5})
        parts = [text[:end] for end in range(1, len(text))]
        assert [part for part in parts if failure_of(partial(members, part, "fix")) != CUT] == []
        assert failure_of(lambda: members(text[:-1], "fix", is_whole=True)) == CUT._replace(is_temporary=False)


class TestStored:
    """A version of a secret in a manager that can be written."""

    @pytest.mark.parametrize("number", ["1.0000000000000000001", "1e400", "1e-400", "1.50", "NaN"])
    def test_a_number_that_is_rounded_is_not_written(self, number: str) -> None:
        """A number that would have another form is read, but never written back."""
        kept, fields = '{"A": [1.5, -0.0, 123456789012345678901234567890]}', f'{{"A": {{"B": [{number}]}}}}'
        assert sealed(Stored(SealedStr(kept), "1").opened(), is_new=True).get_secret_value() == kept
        version = Stored(sealed(Stored(SealedStr(fields), "1").opened()), "1")
        what = "has a number that would change, so nothing was written"
        assert failure_of(lambda: sealed(version.opened(), is_new=True)).what == what

    def test_a_field_that_is_nested_too_deeply_is_an_error(self) -> None:
        """Fields that are nested too deeply are not kept."""
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        assert failure_of(lambda: sealed({"A": "x", "DEEP": deep})).what == "has a field that is nested too deeply"

    @pytest.mark.parametrize(
        ("text", "time"),
        [
            ("Tue, 01 Dec 2026 12:00:00 GMT", NOW),
            ("Tue, 01 Dec 2026 12:00:00 -0000", None),
            ("yesterday", None),
            (None, None),
        ],
    )
    def test_the_time_of_a_manager_is_that_of_its_answer(self, text: str | None, time: datetime | None) -> None:
        """The time is that of the header `Date`, if it is valid and has a timezone."""
        assert time_of(text) == time


class TestClient:
    """What all clients of managers share."""

    @pytest.mark.parametrize(
        ("reason", "what"),
        [
            ("[SSL: CERTIFICATE_VERIFY_FAILED] failed", "has a certificate that cannot be verified"),
            ("[X509: NO_CERTIFICATE_OR_CRL_FOUND] failed", "has a certificate that cannot be verified"),
            ("hostname 'a' doesn't match 'b'", "has a certificate that cannot be verified"),
            ("[SSL: WRONG_VERSION_NUMBER] failed", "has no TLS at its address"),
            ("[SSL: UNEXPECTED_EOF_WHILE_READING] failed", "cannot be reached (OSError)"),
        ],
    )
    def test_a_fault_of_tls_is_searched_for_behind_the_error(self, reason: str, what: str) -> None:
        """The reason of the TLS library is in the text of an error, behind those of other libraries."""
        failures = [(LookupError, "x", "", False), (OSError, "cannot be reached ({})", "wait", True)]
        error = manager_error(OSError(ConnectionError(reason)), failures, "set the CA")
        assert (error.message, error.is_temporary) == (what, "reached" in what)

    def test_the_size_of_an_answer_is_limited(self) -> None:
        """An answer without an end is an error."""
        assert limited([b"a", b"x" * (MAX_BYTES - 1)], LookupError()) == b"a".ljust(MAX_BYTES, b"x")
        with pytest.raises(LookupError):
            limited(repeat(b"a" * 1000), LookupError())

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("https://vault.example:8200", False),
            ("HTTP://LOCALHOST:8200/v1", False),
            ("http://127.0.0.1", False),
            ("http://[::1]:8200", False),
            ("http://127.0.0.1.example", True),
            ("http://vault.example", True),
            ("localhost:8200", True),
        ],
    )
    def test_only_this_machine_needs_no_tls(self, address: str, *, expected: bool) -> None:
        """A request is encrypted, unless it stays on the loopback interface."""
        assert is_insecure(address) is expected


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without a key in its environment, on which directories are read at once."""
    monkeypatch.setattr(directory, "SETTLED_SECONDS", 0.0)
    machine_at(tmp_path)
    return Machine(tmp_path, {})


def deliver(machine: Machine, variables: Mapping[str, str], name: str = "mounted") -> str:
    """Write variables into a directory, and return it as a source."""
    (machine.root / name).mkdir()
    for variable, value in variables.items():
        put(machine.root / name / variable, value)
    return f"directory:{name}"


def pipe(machine: Machine, text: str, *argv: str, environ: Mapping[str, str] = {}) -> Ran:
    """Run a command in a fork that gets a text on stdin."""
    machine.put("members.json", text)
    stdin = "import os, sys\nos.dup2(os.open('members.json', os.O_RDONLY), 0)\n"
    script = f"{stdin}from robodj_secretguard.cli import main\nsys.exit(main({argv}))"
    return run_copy(script, environ, machine.root)


class TestCheck:
    """The check of what the sources deliver."""

    def test_the_keys_of_a_source_pass(self, machine: Machine) -> None:
        """The keys of a source pass, and the output names the source."""
        source = deliver(machine, good_keys())
        ran = machine.call("check", "--from", source, "--require-env-only")
        assert (ran.status, ran.err) == (EXIT_CLEAN, "")
        lines = ran.out.splitlines()
        assert lines[1].split()[:4] == ["ok", "secret.key", "present", "directory"]
        assert lines[-3:] == ["mode: directory:mounted, then environment only", "revocation list: none", PASSED]

    def test_the_first_source_with_a_secret_delivers_it(self, machine: Machine) -> None:
        """The first source that has a variable of a secret delivers it, and the environment what no source has."""
        keys = good_keys()
        one = deliver(machine, {V2: keys[V2]}, "one")
        two = deliver(machine, {V1: "changeme", V2: "changeme"}, "two")
        machine.environ[V1] = keys[V1]
        assert machine.call("check", "--from", one).status == EXIT_CLEAN
        ran = machine.call("check", "--from", one, "--from", two, "--format", "json")
        found = [(each["secret"], each["check"], each["source"]) for each in json.loads(ran.out)["findings"]]
        assert found == [("secret.key", "placeholder", "directory:two"), ("secret.key", "source", "environment")]
        messages = [each["message"] for each in json.loads(ran.out)["findings"]]
        assert messages[0] == f"{V1} is a placeholder, not a key (from directory:two)"
        assert "(from" not in messages[1]
        assert "(from" not in machine.call("check", "--from", two).out

    def test_a_source_with_only_a_marker_delivers_the_secret(self, machine: Machine) -> None:
        """A source that has only the marker of a secret delivers it, so the key is missing there."""
        sources = [deliver(machine, {}, "one"), deliver(machine, {f"{V1}_EXPIRES_AT": "2099-01-01T00:00:00Z"}, "two")]
        ran = machine.call("check", *(f"--from={each}" for each in (*sources, deliver(machine, good_keys(), "three"))))
        what = f"ALERT: secret.key: missing: directory:one and directory:two have no {V1}\n"
        assert f"{what}  fix: run robodj-secretguard rotate plan secret.key --from directory:" in ran.out

    def test_the_revocation_list_of_a_source_holds_for_all_keys(self, machine: Machine) -> None:
        """The revocation list of a source holds for a key of the environment too."""
        machine.environ.update(good_keys())
        source = deliver(machine, {REVOKED_FINGERPRINTS: f"# lost\n{fingerprint_of(machine.environ[V2])}\n"})
        ran = machine.call("check", "--from", source)
        assert (ran.status, ran.out.count("ALERT: secret_v2.key: revoked: ")) == (EXIT_ALERTS, 1)
        assert f"revocation list: {REVOKED_FINGERPRINTS} in {source}, 1 entry" in ran.out
        source = deliver(machine, {REVOKED_FINGERPRINTS: "sgfp1:1"}, "other")
        alert = f"ALERT: revocation-list: entry 1 of {REVOKED_FINGERPRINTS} in {source} is not a"
        assert alert in machine.call("check", "--from", source).out

    def test_keys_of_another_environment_are_an_alert(self, machine: Machine) -> None:
        """The gate fails where the source names another environment than the process. It is not compared with none."""
        source = deliver(machine, good_keys() | {"ROBODJ_ENVIRONMENT": "staging"})
        for name, status, alerts in (
            ("prod", EXIT_ALERTS, [f"ALERT: environment: {source} has the secrets of staging, and ROBODJ_ENVIRONMENT"]),
            ("staging", EXIT_CLEAN, []),
            ("", EXIT_CLEAN, []),
        ):
            machine.environ["ROBODJ_ENVIRONMENT"] = name
            ran = machine.call("check", "--from", source)
            assert (ran.status, [each[: len(alerts[0])] for each in ran.alerts]) == (status, alerts)

    @pytest.mark.parametrize(
        ("slots", "what", "which"),
        [
            ([""], f"{V1} in the environment differs", V1),
            (["", "_EXPIRES_AT"], f"{V1} and 1 more in the environment differ", "every variable of secret.key"),
            (["_NEXT", "_PREVIOUS"], f"{V1}_NEXT and 1 more in the environment differ", "every variable of secret.key"),
        ],
    )
    def test_an_alert_names_the_variables_that_differ(
        self, machine: Machine, slots: list[str], what: str, which: str
    ) -> None:
        """Variables that differ, or that only the environment has, are one alert. Equal ones are no conflict."""
        keys = good_keys()
        source = deliver(machine, {V1: keys[V1]})
        for differing in (False, True):
            environ = keys | {f"{V1}{slot}": "changeme" for slot in slots if differing}
            report = Machine(machine.root, environ).within(
                lambda: load_sources([source], RuntimeSecrets).check(RuntimeSecrets)
            )
            fix = f"make sure that {source} has the right values, then unset {which} in the environment"
            found = [(each.message, each.remedy) for each in report.findings]
            assert found == [(f"{what} from {source}", fix)] * differing


class TestFailure:
    """A source that delivers nothing."""

    @pytest.mark.parametrize("command", ["check", "status"])
    def test_a_source_that_fails_is_the_only_finding(self, machine: Machine, command: str) -> None:
        """A source that cannot be used is the only finding, also where keys are missing or a log is read."""
        machine.record()
        ran = machine.call(command, "--from", "directory:nowhere", "--from", "directory:elsewhere")
        fix = "correct the path, or start what writes the directory. Owner: Security Operations"
        assert ran.out.startswith(f"ALERT: source: directory:nowhere does not exist\n  fix: {fix}\n")
        assert (ran.status, ran.out.count("ALERT")) == (EXIT_ALERTS, 1)

    @needs_fork
    @pytest.mark.parametrize(
        ("text", "status", "check"),
        [("", EXIT_UNAVAILABLE, "unavailable"), ("{", EXIT_UNAVAILABLE, "unavailable"), ("[]", REFUSED, "source")],
    )
    def test_exec_tells_a_refusal_from_no_answer(self, machine: Machine, text: str, status: int, check: str) -> None:
        """A supervisor tries again where the manager did not answer, and not where it refused."""
        ran = pipe(machine, text, "exec", "--from", "json:-", "--", *ENVIRONMENT)
        assert (ran.status, started_with(machine.root)) == (status, {})
        assert (ran.out.count("ALERT: "), ran.out.count(f"ALERT: {check}: ")) == (1, 1)
        last = f"1 alert (exit status {status}). Details: robodj-secretguard explain {check}\n"
        assert ran.err == f"ALERT: robodj-secretguard did not start the command: {last}"

    def test_stdin_must_be_a_pipe(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service manager may start a command without stdin, and a terminal would show a key that is typed."""
        controller, terminal = os.openpty()
        with open(terminal, encoding="ascii") as screen:
            for stdin in (None, screen):
                monkeypatch.setattr(sys, "stdin", stdin)
                ran = machine.call("check", "--from", "json:-")
                fix = "pipe one JSON object into this command"
                alert = f"ALERT: source: json:- cannot be read: stdin is not a pipe\n  fix: {fix}. Owner: "
                assert (ran.status, ran.out.startswith(alert)) == (EXIT_ALERTS, True)
        os.close(controller)

    def test_stdin_is_read_for_a_limited_time(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stdin is read for the time of `--wait` only. The fix is to run the client alone."""
        reader, writer = os.pipe()
        with open(reader, encoding="ascii") as silent, open(writer, "wb"):
            monkeypatch.setattr(sys, "stdin", silent)
            ran = machine.call("check", "--from", "json:-", "--wait", "0.3")
        assert (ran.status, ran.alerts) == (EXIT_UNAVAILABLE, ["ALERT: unavailable: json:- did not answer in time"])
        assert "  fix: run the command before the pipe alone, and correct what it reports. Owner: " in ran.out

    @pytest.mark.parametrize("command", ["check", "status"])
    def test_the_status_of_other_commands(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        """`check` and `status` have the status of a manager that did not answer, too."""
        monkeypatch.setattr(directory, "SETTLED_SECONDS", 9.0)
        ran = machine.call(command, "--from", deliver(machine, good_keys()), "--wait", "0.1")
        assert (ran.status, ran.out[:20]) == (EXIT_UNAVAILABLE, "ALERT: unavailable: ")


@needs_fork
class TestExec:
    """The variables of a command."""

    def test_a_command_gets_the_variables_and_no_other_member(self, machine: Machine) -> None:
        """A command gets the variables of each secret and the joined revocation lists, and no other member.

        It keeps what the environment has, such as the login of a manager that is not read.
        """
        keys, revoked = good_keys(), [fingerprint_of(good_keys()[V1]) for _ in range(2)]
        stored = {V1: keys[V1], f"{V1}_NEXT": good_keys()[V1], f"{V1}_EXPIRES_AT": "2099-01-01T00:00:00Z"}
        others = {REVOKED_FINGERPRINTS: revoked[1], "ROBODJ_PROTECTED_ENV": "true", "PATH": "x"}
        environ = {V2: keys[V2], REVOKED_FINGERPRINTS: revoked[0], "VAULT_TOKEN": "visible"}
        ran = pipe(
            machine, json.dumps(stored | others), "exec", "--from", "json:-", "--", *ENVIRONMENT, environ=environ
        )
        started = started_with(machine.root)
        assert ran.status == EXIT_CLEAN
        assert {name: value for name, value in started.items() if name.startswith(("ROBODJ_", "VAULT_"))} == {
            **environ,
            **stored,
            REVOKED_FINGERPRINTS: ",".join(revoked),
        }
        assert started["PATH"] != "x"

    @pytest.mark.parametrize(
        ("kind", "end"), [("directory", "\n"), ("directory", "\r\n"), ("json", "\n"), ("json", "")]
    )
    def test_values_of_issued_secrets_are_unchanged(self, machine: Machine, kind: str, end: str) -> None:
        """A command gets a password, a URL, PEM and JSON as they are kept, without one newline at the end."""
        machine.put("issued_model.py", kept_values.MODEL)
        values = kept_values.issued()
        stored = {name: f"{value}{end}" for name, value in values.items()}
        source = deliver(machine, stored) if kind == "directory" else "json:-"
        ran = pipe(machine, json.dumps(stored), "exec", *kept_values.OPTIONS, "--from", source, "--", *ENVIRONMENT)
        assert ran.status == EXIT_CLEAN, ran.alerts
        started = started_with(machine.root)
        assert {name: started.get(name) for name in (*values, "EXTRA_TOKEN")} == {**values, "EXTRA_TOKEN": None}

    def test_temporary_values_of_issued_secrets(self, machine: Machine) -> None:
        """A build gets a temporary value of each required secret, which the service accepts. Optional ones are off."""
        machine.put("issued_model.py", kept_values.MODEL)
        assert pipe(machine, "", "exec", "--ephemeral", *kept_values.OPTIONS, "--", *ENVIRONMENT).status == EXIT_CLEAN
        service = Machine(machine.root, started_with(machine.root))
        ran = service.call("check", *kept_values.OPTIONS, now=datetime.now(UTC))
        rows = [line.split()[:3] for line in ran.out.splitlines() if line.startswith(("ok", "off", "FAIL"))]
        present = [["ok", name, "present"] for name in ("smtp", "db", "pem", "cloud")]
        assert (ran.status, rows) == (EXIT_CLEAN, [*present, ["off", "extra", "missing"]])


class TestUsage:
    """Sources that are not valid."""

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (
                ("--from", "json:-", "--keep-login"),
                "exec takes --keep-login only with --from vault:MOUNT/PATH or aws:SECRET_ID",
            ),
            (("--ephemeral", "--from", "directory:x"), "exec takes --from or --ephemeral, not both"),
        ],
    )
    def test_options_that_exclude_each_other(self, machine: Machine, options: tuple[str, ...], why: str) -> None:
        """Temporary keys and a source exclude each other. A source without a login has none to keep."""
        ran = machine.call("exec", *options, "--", "x")
        assert (ran.status, ran.err) == (EXIT_USAGE, f"robodj-secretguard: {why}\n")

    @pytest.mark.parametrize(
        "source",
        [
            *(
                "",
                "vault",
                "vault:",
                "vault:secret",
                "vault:/x",
                "vault:secret/",
                "vault:secret/x?y",
                "vault:secret/\nx",
            ),
            *("aws:", "aws:a b", "directory:", "json:", "json:x", "file:x", "Vault:a/b", "azure:x"),
        ],
    )
    def test_an_invalid_source_is_not_repeated(self, source: str) -> None:
        """A usage error lists the sources, and never repeats what was typed."""
        assert usage_error(source) == f"--from: {INVALID}"
        assert usage_error("json:-", source) == f"--from (number 2): {INVALID}"

    def test_stdin_is_read_once(self) -> None:
        """Stdin can be read once."""
        assert INVALID in usage_error("json:-", "json:-")

    @pytest.mark.parametrize("kind", ["vault:secret/{}", "vault:{}/x", "aws:{}", "aws:{}-A1b2C3", "json:{}", "{}"])
    def test_a_key_is_not_a_source(self, kind: str) -> None:
        """A key as a source is refused before a server gets it, and not shown."""
        key = key_as_argument()
        assert key not in usage_error(kind.format(key))

    def test_a_directory_that_looks_like_a_key_is_not_shown(self) -> None:
        """The path of a directory that looks like a key, or that could forge a line, is not shown."""
        for place in (key_as_argument(), "x\nALERT: y"):
            (manager,) = open_sources([f"directory:{place}"], ())
            assert manager.name == "directory:PATH"

    def test_stdin_cannot_be_written(self) -> None:
        """`json:-` is a source, and no store."""
        with pytest.raises(UsageError, match=r"^--to: invalid source; use vault:.*, envfile:PATH or exec:PROGRAM$"):
            open_store("json:-", ())

    @pytest.mark.parametrize("kind", ["directory", "envfile", "exec"])
    def test_nothing_on_windows_is_written(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        """On Windows, no file is written and no helper program is run."""
        monkeypatch.setattr(file_reader, "POSIX", False)
        with pytest.raises(UsageError, match=r"^--to: files and programs are not written on Windows"):
            open_store(f"{kind}:/x", ())
        if kind == "exec":
            assert "does not work on Windows" in usage_error("exec:/x")

    @pytest.mark.parametrize("seconds", ["-1", "1e3", "10000", "nan", ""])
    def test_the_time_to_wait_is_a_number_of_seconds(self, machine: Machine, seconds: str) -> None:
        """The time to wait is a number of seconds."""
        ran = machine.call("check", f"--wait={seconds}")
        message = "--wait: invalid number of seconds; use one from 0 to 9999"
        assert (ran.status, ran.err) == (EXIT_USAGE, f"robodj-secretguard: {message}\n")

    @pytest.mark.parametrize("error", [SystemExit(0), RuntimeError()], ids=repr)
    def test_a_client_that_fails_at_its_import_is_a_missing_package(
        self, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        """A client that ends the process, or fails, while it is imported is a usage error."""
        monkeypatch.setattr(module, "import_module", raising(error))
        why = "--from directory: needs the package folder, which cannot be imported; reinstall this program"
        assert usage_error("directory:x") == why

    @pytest.mark.parametrize(("kind", "package"), [("vault:a/b", "hvac"), ("aws:a", "boto3")])
    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch, kind: str, package: str) -> None:
        """Without the package of an extra, a usage error says how to install the package, which the index has."""
        monkeypatch.setitem(sys.modules, package, None)
        name = kind.partition(":")[0]
        monkeypatch.delitem(sys.modules, f"robodj_secretguard.managers.{name}", raising=False)
        install = f"run python -m pip install {package}"
        assert usage_error(kind) == f"--from {name}: needs the package {package}, which cannot be imported; {install}"


def usage_error(*sources: str) -> str:
    """Return why sources cannot be opened."""
    with pytest.raises(UsageError) as found:
        open_sources(sources, ())
    return str(found.value)
