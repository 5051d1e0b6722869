"""The sources of `--from`: what they deliver is checked, compared with the environment, and given to a command."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import kept_values
import pytest
from command_line import Machine, fingerprint_of, key_as_argument, machine_at
from conftest import V1, V2, clean_environment, good_keys, process_environment, put, run

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_UNAVAILABLE, EXIT_USAGE, PASSED
from robodj_secretguard.errors import UsageError
from robodj_secretguard.managers import manager as delivery
from robodj_secretguard.startup import directory
from robodj_secretguard.startup.report import REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conftest import Ran

REVOKED = "ROBODJ_REVOKED_FINGERPRINTS"
INVALID = "invalid source; use vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH or json:- once"
SHOW = "import json, os; print(json.dumps({n: v[:3] for n, v in os.environ.items() if n.startswith('ROBODJ_')}))"


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "SETTLED_SECONDS", 0.0)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without a key in its environment."""
    machine = machine_at(tmp_path)
    machine.environ.clear()
    return machine


def deliver(machine: Machine, variables: Mapping[str, str], name: str = "mounted") -> str:
    """Write variables into a directory, and return it as a source."""
    path = machine.root / name
    path.mkdir()
    for variable, value in variables.items():
        put(path / variable, value)
    return f"directory:{name}"


def pipe(machine: Machine, text: str, *argv: str, environ: Mapping[str, str] = {}, keys: Sequence[str] = ()) -> Ran:
    """Run a command as a process that gets a text on stdin."""
    machine.put("members.json", text)
    command = ["sh", "-c", 'exec "$@" <members.json', "sh", sys.executable, "-m", "robodj_secretguard", *argv]
    return run(command, env={**clean_environment(), **environ}, cwd=machine.root, keys=keys, python=False)


class TestCheck:
    """The check of what the sources deliver."""

    def test_the_keys_of_a_source_pass(self, machine: Machine) -> None:
        """The keys of a source pass, and the output names the source."""
        source = deliver(machine, good_keys())
        ran = machine.call("check", "--from", source, "--require-env-only")
        assert (ran.status, ran.err) == (EXIT_CLEAN, "")
        lines = ran.out.splitlines()
        assert lines[1].split() == [
            "ok",
            "secret.key",
            "present",
            "directory",
            "no",
            "marker",
            "-",
            "Security",
            "Operations",
        ]
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
        assert found == [
            ("secret.key", "placeholder", "directory:two"),
            ("secret.key", "source", "environment"),
        ]

    def test_a_source_with_only_a_marker_delivers_the_secret(self, machine: Machine) -> None:
        """A source that has only the marker of a secret delivers it, so the key is missing there."""
        keys, marker = good_keys(), f"{V1}_EXPIRES_AT"
        sources = [deliver(machine, {}, "one"), deliver(machine, {marker: "2099-01-01T00:00:00Z"}, "two")]
        sources.append(deliver(machine, keys, "three"))
        ran = machine.call("check", *(f"--from={each}" for each in sources))
        what = f"ALERT: secret.key: missing: directory:one and directory:two have no {V1}\n"
        assert f"{what}  fix: restore the value from the last right version; if there is none, run robodj-" in ran.out

    def test_status_describes_the_keys_of_a_source(self, machine: Machine) -> None:
        """`status` describes the keys of a source, and their slots."""
        keys, slots = good_keys(), good_keys()
        source = deliver(machine, keys | {f"{V1}_NEXT": slots[V1]})
        ran = machine.call("status", "--from", source)
        assert ran.status == EXIT_CLEAN
        assert f"  {fingerprint_of(keys[V1])}\n" in ran.out
        assert f"secret.key: next key: {fingerprint_of(slots[V1])}\n" in ran.out

    def test_the_revocation_list_of_a_source_holds_for_all_keys(self, machine: Machine) -> None:
        """The revocation list of a source holds for a key of the environment too."""
        machine.environ.update(good_keys())
        source = deliver(machine, {REVOKED: f"# lost\n{fingerprint_of(machine.environ[V2])}\n"})
        ran = machine.call("check", "--from", source)
        assert ran.status == EXIT_ALERTS
        assert ran.out.count("ALERT: secret_v2.key: revoked: ") == 1
        assert f"revocation list: {REVOKED} in {source}, 1 entry" in ran.out
        source = deliver(machine, {REVOKED: "sgfp1:1"}, "other")
        assert (
            f"ALERT: revocation-list: entry 1 of {REVOKED} in {source} is not a"
            in machine.call("check", "--from", source).out
        )


class TestConflict:
    """A value in the environment that differs from that of the manager."""

    def findings(self, tmp_path: Path, stored: Mapping[str, str], environ: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return the messages and remedies about a directory and an environment."""
        for variable, value in stored.items():
            put(tmp_path / variable, value)
        with process_environment(environ):
            sources = delivery.load_sources([f"directory:{tmp_path}"], RuntimeSecrets)
            report = sources.check(RuntimeSecrets)
        return [(finding.message, finding.remedy) for finding in report.findings]

    @pytest.mark.parametrize(
        ("names", "what", "which"),
        [
            ([V1], f"{V1} in the environment differs", V1),
            (
                [V1, f"{V1}_EXPIRES_AT"],
                f"{V1} and 1 more in the environment differ",
                "every variable of secret.key",
            ),
            (
                [f"{V1}_NEXT", f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"],
                f"{V1}_NEXT and 2 more in the environment differ",
                "every variable of secret.key",
            ),
        ],
    )
    def test_an_alert_names_the_variables_that_differ(
        self, tmp_path: Path, names: list[str], what: str, which: str
    ) -> None:
        """Variables that differ, or that only the environment has, are one alert."""
        environ = dict.fromkeys(names, "changeme")
        fix = f"make sure that directory:{tmp_path} has the right values, then unset {which} in the environment"
        assert self.findings(tmp_path, good_keys(), environ) == [(f"{what} from directory:{tmp_path}", fix)]

    def test_equal_values_are_no_conflict(self, tmp_path: Path) -> None:
        """The same value is no conflict. Neither is a variable of a secret that the source does not deliver."""
        keys = good_keys()
        assert self.findings(tmp_path, {V1: keys[V1]}, keys) == []


class TestFailure:
    """A source that delivers nothing."""

    @pytest.mark.parametrize("command", ["check", "status"])
    def test_a_source_that_fails_is_the_only_finding(self, machine: Machine, command: str) -> None:
        """A source that cannot be used is the only finding, also where keys are missing or a log is read."""
        machine.record()
        ran = machine.call(command, "--from", "directory:nowhere", "--from", "directory:elsewhere")
        assert ran.status == EXIT_ALERTS
        assert ran.out.startswith(
            "ALERT: source: directory:nowhere does not exist\n"
            "  fix: correct the path, or start what writes the directory. Owner: Security Operations\n"
        )
        assert ran.out.count("ALERT") == 1

    @pytest.mark.parametrize(
        ("text", "status", "check"),
        [("", EXIT_UNAVAILABLE, "unavailable"), ("{", EXIT_UNAVAILABLE, "unavailable"), ("[]", REFUSED, "source")],
    )
    def test_exec_tells_a_refusal_from_no_answer(self, machine: Machine, text: str, status: int, check: str) -> None:
        """A supervisor tries again where the manager did not answer, and not where it refused."""
        ran = pipe(machine, text, "exec", "--from", "json:-", "--", sys.executable, "-c", "print('started')")
        assert (ran.status, ran.out.count("ALERT: "), ran.out.count(f"ALERT: {check}: ")) == (status, 1, 1)
        last = f"1 alert (exit status {status}). Details: robodj-secretguard explain {check}\n"
        assert ran.err == f"ALERT: robodj-secretguard did not start the command: {last}"

    def test_stdin_must_be_a_pipe(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service manager may start a command without stdin."""
        monkeypatch.setattr(sys, "stdin", None)
        ran = machine.call("check", "--from", "json:-")
        assert ran.status == EXIT_ALERTS
        fix = "pipe one JSON object into this command"
        assert ran.out.startswith(f"ALERT: source: json:- cannot be read: stdin is not a pipe\n  fix: {fix}. Owner: ")

    def test_stdin_is_read_for_a_limited_time(self, machine: Machine) -> None:
        """Stdin is read for the time of `--wait` only. The fix is to run the client alone."""
        check = f"'{sys.executable}' -m robodj_secretguard check --from json:- --wait 0.3"
        command = ["sh", "-c", f"mkfifo silent && exec {check} <>silent"]
        ran = run(command, env=clean_environment(), cwd=machine.root, python=False)
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


class TestExec:
    """The variables of a command."""

    def test_a_command_gets_the_variables_and_no_other_member(self, machine: Machine) -> None:
        """A command gets the variables of each secret and the joined revocation lists, and no other member."""
        keys, slots, revoked = good_keys(), good_keys(), [fingerprint_of(good_keys()[V1]) for _ in range(2)]
        members = keys | {f"{V1}_NEXT": slots[V1], f"{V2}_EXPIRES_AT": "2099-01-01T00:00:00Z", REVOKED: revoked[1]}
        others = {"ROBODJ_PROTECTED_ENV": "true", "ROBODJ_OTHER": "x", "PATH": "x"}
        text, environ, start = json.dumps(members | others), {REVOKED: revoked[0]}, ("exec", "--from", "json:-", "--")
        hidden = [*keys.values(), slots[V1]]
        ran = pipe(machine, text, *start, sys.executable, "-c", SHOW, environ=environ, keys=hidden)
        assert ran.status == EXIT_CLEAN
        assert json.loads(ran.out.splitlines()[-1]) == {name: value[:3] for name, value in members.items()}
        show = f"import os; print(os.environ['{REVOKED}'])"
        ran = pipe(machine, text, *start, sys.executable, "-c", show, environ=environ)
        assert ran.out.splitlines()[-1] == ",".join(revoked)

    def test_a_secret_that_no_source_has_comes_from_the_environment(self, machine: Machine) -> None:
        """A command keeps what the environment has of such a secret."""
        keys = good_keys()
        command = ("exec", "--from", "json:-", "--", sys.executable, "-c", SHOW)
        ran = pipe(machine, json.dumps({V1: keys[V1]}), *command, environ={V2: keys[V2]}, keys=[*keys.values()])
        assert json.loads(ran.out) == {name: key[:3] for name, key in keys.items()}

    @pytest.mark.parametrize(
        ("kind", "end"), [("directory", "\n"), ("directory", "\r\n"), ("json", "\n"), ("json", "")]
    )
    def test_values_of_issued_secrets_are_unchanged(self, machine: Machine, kind: str, end: str) -> None:
        """A command gets a password, a URL, PEM and JSON as they are kept, without one newline at the end."""
        machine.put("issued_model.py", kept_values.MODEL)
        values = kept_values.issued()
        stored = {name: f"{value}{end}" for name, value in values.items()}
        source = deliver(machine, stored) if kind == "directory" else "json:-"
        show = "import json, os; print(json.dumps(dict(os.environ)))"
        command = ("exec", *kept_values.OPTIONS, "--from", source, "--", sys.executable, "-c", show)
        ran = pipe(machine, json.dumps(stored), *command)
        assert ran.status == EXIT_CLEAN, ran.alerts
        got = json.loads(ran.out.splitlines()[-1])
        assert {name: got.get(name) for name in (*values, "EXTRA_TOKEN")} == {**values, "EXTRA_TOKEN": None}

    def test_temporary_values_of_issued_secrets(self, machine: Machine) -> None:
        """A build gets a temporary value of each required secret, which the service accepts. Optional ones are off."""
        machine.put("issued_model.py", kept_values.MODEL)
        program = (sys.executable, "-m", "robodj_secretguard", "check", *kept_values.OPTIONS)
        ran = pipe(machine, "", "exec", "--ephemeral", *kept_values.OPTIONS, "--", *program)
        rows = [line.split()[:3] for line in ran.out.splitlines() if line.startswith(("ok", "off", "FAIL"))]
        present = [["ok", name, "present"] for name in ("smtp", "db", "pem", "cloud")]
        assert (ran.status, rows) == (EXIT_CLEAN, [*present, ["off", "extra", "missing"]])

    def test_a_command_keeps_the_logins_of_other_managers(self, machine: Machine) -> None:
        """A command keeps what is no login of a source that is read. Then --keep-login would have no effect."""
        login = {"VAULT_TOKEN": "visible"}
        show = "import os; print(os.environ['VAULT_TOKEN'])"
        command = ("exec", "--from", "json:-", "--", sys.executable, "-c", show)
        assert pipe(machine, json.dumps(good_keys()), *command, environ=login).out == "visible\n"
        ran = machine.call("exec", "--from", "json:-", "--keep-login", "--", "x")
        only = "exec takes --keep-login only with --from vault:MOUNT/PATH or aws:SECRET_ID"
        assert (ran.status, ran.err) == (EXIT_USAGE, f"robodj-secretguard: {only}\n")

    def test_temporary_keys_exclude_a_source(self, machine: Machine) -> None:
        """Temporary keys and the keys of a source exclude each other."""
        ran = machine.call("exec", "--ephemeral", "--from", "directory:x", "--", "x")
        assert (ran.status, ran.err) == (EXIT_USAGE, "robodj-secretguard: exec takes --from or --ephemeral, not both\n")


class TestUsage:
    """Sources that are not valid."""

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
            (manager,) = delivery.open_sources([f"directory:{place}"], ())
            assert manager.name == "directory:PATH"

    @pytest.mark.parametrize(("source", "is_written"), [("vault:secret/robodj", True), ("directory:x", False)])
    def test_only_some_managers_can_be_written(self, source: str, *, is_written: bool) -> None:
        """A directory is no secret manager that `rotate` could write."""
        if is_written:
            pytest.importorskip("hvac")
            assert delivery.open_store(source, ()).name == source
        else:
            with pytest.raises(UsageError, match=r"^--to: invalid source; use vault:MOUNT/PATH or aws:SECRET_ID$"):
                delivery.open_store(source, ())

    @pytest.mark.parametrize("seconds", ["-1", "x", "1e3", "10000", "nan", ""])
    def test_the_time_to_wait_is_a_number_of_seconds(self, machine: Machine, seconds: str) -> None:
        """The time to wait is a number of seconds."""
        ran = machine.call("check", f"--wait={seconds}")
        message = "--wait: invalid number of seconds; use one from 0 to 9999"
        assert (ran.status, ran.err) == (EXIT_USAGE, f"robodj-secretguard: {message}\n")

    def test_a_client_that_exits_at_its_import_is_a_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A client that ends the process while it is imported is a usage error."""

        def exiting(_: str) -> None:
            raise SystemExit(0)

        monkeypatch.setattr(delivery, "import_module", exiting)
        assert "cannot be imported" in usage_error("directory:x")

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
        delivery.open_sources(sources, ())
    return str(found.value)
