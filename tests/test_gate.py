"""`check`, the gate before a release, and `exec`, the gate before a command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import OF_ROBODJ, fingerprint_of
from conftest import (
    TIMEOUT,
    V1,
    V2,
    Ran,
    document_of,
    good_keys,
    put,
    run,
    without_model,
)
from processes import (
    ALERT_STARTS,
    BAD,
    GOOD,
    SECRET,
    SERVICE,
    SETS,
    WARNED,
    WARNING_START,
    assert_alert_lines,
    checks,
    host_env,
    needs_fork,
    run_copy,
    run_forked,
)

from robodj_secretguard.cli.gate import signed
from robodj_secretguard.cli.output import PASSED
from robodj_secretguard.startup.inputs import SECRETS_DIR

pytestmark = needs_fork

SCRIPT = shutil.which("robodj-secretguard", path=sysconfig.get_path("scripts")) or ""
REFUSED = "ALERT: robodj-secretguard did not start the command: "
TOUCH = ("--", "touch", "started")
OWN_MODEL = """
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import Generator, Length, Material, RuntimeSecrets, SecretPolicy, SecretSettings
POLICY = SecretPolicy(
    name="webhook.key", variable="WEBHOOK_KEY", owner="A", backup_owner="B", cadence=timedelta(days=9),
    warn_before=timedelta(days=1), generator=Generator("token_hex", 48),
    material=Material(base64url=Length(64), hexadecimal=Length(96)),
)
class Own(RuntimeSecrets):
    webhook_key: Annotated[SecretStr, POLICY]
class Same(RuntimeSecrets):
    pass
"""


def program(argv: Sequence[str], before: str = "") -> str:
    """Return a script that imports the program, runs `before`, and runs a command."""
    return f"import os, sys\nfrom robodj_secretguard.cli import gate, main\n{before}\nsys.exit(main({[*argv]!r}))\n"


def call(argv: Sequence[str], keys: Mapping[str, str], cwd: Path, before: str = "", **more: str) -> Ran:
    """Run a command in a fork of this process, with its own streams."""
    return run_copy(program(argv, before), keys, cwd, secret=SECRET if keys else (), **more)


def gated(command: str, keys: Mapping[str, str], cwd: Path, *options: str, **more: str) -> Ran:
    """Run a shell command behind the gate."""
    return call(["exec", *options, "--", "sh", "-c", command], keys, cwd, **more)


def with_model(cwd: Path, code: str = "") -> Path:
    """Write a module with the service's models, and more code."""
    (cwd / "ours.py").write_text(f"{OWN_MODEL}import atexit, os, signal, subprocess, sys\n{code}\n", encoding="utf-8")
    return cwd


class TestCheck:
    """The gate before a release."""

    @pytest.mark.parametrize(
        ("keys", "options", "status"),
        [
            ("good", (), 0),
            ("good", ("--strict", "--require-env-only"), 0),
            ("warned", (), 0),
            ("warned", ("--strict",), 1),
            ("bad", (), 1),
        ],
    )
    def test_its_verdict(self, tmp_path: Path, keys: str, options: Sequence[str], status: int) -> None:
        """The check fails on alerts, and with `--strict` on warnings. The last line, or `ok`, has the verdict."""
        ran = call(["check", *options], SETS[keys], tmp_path)
        assert (ran.status, ran.err, ran.out.splitlines()[-1] == PASSED) == (status, "", not status)
        assert ("mode: environment only" in ran.out) is ("--require-env-only" in options)
        document = call(["check", *options, "--format", "json"], SETS[keys], tmp_path).document
        assert (document["ok"], document["require_env_only"]) == (not status, "--require-env-only" in options)

    def test_its_text(self, tmp_path: Path) -> None:
        """The text has a row for each secret, two lines for each finding, the set-up, and the verdict."""
        rows, *findings, last = without_model(call(["check"], BAD, tmp_path).out).split("\n\n")
        header, *secrets = [row.split() for row in rows.splitlines()]
        assert header == ["SECRET", "STATE", "FROM", "EXPIRES", "LEFT", "OWNER"]
        assert [row[:4] for row in secrets] == [
            ["FAIL", name, "invalid-format", "env"] for name in ("secret.key", "secret_v2.key")
        ]
        assert_alert_lines(f"{findings[0]}\n", refused=False)
        assert last.splitlines() == [
            "mode: environment, then fallback files",
            "revocation list: none",
            "Details: robodj-secretguard explain format",
            "Secret integrity check FAILED: 2 alerts. Do not release.",
        ]

    def test_a_revoked_next_key(self, tmp_path: Path) -> None:
        """A revoked next key fails the check. `exec` only warns: the service starts without that key."""
        key = good_keys()[V1]
        revoked = GOOD | {f"{V1}_NEXT": key, "ROBODJ_REVOKED_FINGERPRINTS": fingerprint_of(key)}
        check, gate = call(["check"], revoked, tmp_path), gated("echo served", revoked, tmp_path)
        assert (check.status, gate.status, gate.out) == (1, 0, "served\n")
        assert (checks(check), gate.err.split(":")[2]) == (["revoked"], " revoked")

    def test_the_script_and_the_module_are_one(self, tmp_path: Path) -> None:
        """The console script and the module have the same output and status."""
        script = run([SCRIPT, "chekc"], env=host_env(GOOD), cwd=tmp_path, python=False)
        assert (script.status, script) == (
            2,
            run(["-m", "robodj_secretguard", "chekc"], env=host_env(GOOD), cwd=tmp_path),
        )

    @pytest.mark.parametrize(
        "arguments",
        [
            (GOOD[V1],),
            ("check", f"--{GOOD[V1]}"),
            ("check", "--model", GOOD[V1]),
            ("check", "--ephemeral"),
            ("exec",),
            ("exec", "--"),
            ("exec", *TOUCH[1:]),
            ("exec", "--model", *TOUCH),
        ],
        ids=range(8),
    )
    def test_wrong_usage(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        """A usage error is one line on stderr with status 2. It echoes no argument, and no command starts."""
        ran = call(arguments, GOOD, tmp_path)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert ran.err.startswith("robodj-secretguard: ")
        assert ("exec needs COMMAND; write it after --: robodj-secretguard exec [options] -- COMMAND" in ran.err) is (
            arguments in {("exec",), ("exec", "--")}
        )
        assert not (tmp_path / "started").exists()


CHATTER = f"""
print({PASSED!r})
os.system("echo '{PASSED}'")
subprocess.run(["echo", {PASSED!r}])
os.write(1, b"{PASSED}\\n")
"""


class TestModel:
    """`--model` runs third-party code."""

    @pytest.mark.parametrize(
        "code",
        [
            "signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT)",
            "from robodj_secretguard import guard; guard(Same)",
        ],
    )
    def test_no_model(self, tmp_path: Path, code: str) -> None:
        """A module without a model is one line on stderr, with status 2 and nothing on stdout."""
        ran = call(["check", "--model", "ours:Same"], BAD, with_model(tmp_path, code))
        assert (ran.status, ran.out) == (2, "")
        *others, last = ran.err.splitlines()
        assert [line for line in others if not line.startswith(("ALERT: ", "  fix: "))] == []
        assert last.startswith("robodj-secretguard: --model: ")

    def test_its_absent_secrets_directory(self, tmp_path: Path) -> None:
        """In a protected environment, it is an alert. It is a warning for a gate, which may run on another machine."""
        code = "class Mounted(RuntimeSecrets, secrets_dir='/nowhere/keys'): pass"
        directory = with_model(tmp_path, code)
        for option, status, severity in (((), 1, "ALERT"), (("--require-env-only",), 0, "WARNING")):
            argv = ["check", *option, "--model", "ours:Mounted"]
            ran = call(argv, GOOD, directory, ROBODJ_PROTECTED_ENV="true")
            line = f"{severity}: setting: the model's secrets_dir /nowhere/keys does not exist, "
            assert (ran.status, ran.out.count(line)) == (status, 1)

    @pytest.mark.parametrize("before", ["", "os.close(2); sys.stderr = None"], ids=["stderr", "no-stderr"])
    def test_what_it_prints(self, tmp_path: Path, before: str) -> None:
        """The output of a module and of its child processes goes to stderr, if there is one."""
        ran = call(["check", "--model", "ours:Same"], BAD, with_model(tmp_path, CHATTER), before)
        assert (ran.status, PASSED in ran.out) == (1, False)
        assert ran.err.splitlines() == ([] if before else [PASSED] * 4)
        findings = [line for line in ran.out.splitlines(keepends=True) if line.startswith(("ALERT: ", "  fix: "))]
        assert_alert_lines("".join(findings), refused=False)

    @pytest.mark.parametrize(
        "code",
        [
            f"sys.__stdout__.write({PASSED!r})",
            f"atexit.register(lambda stream=sys.__stdout__: stream.write({PASSED!r}))",
        ],
        ids=["late-flush", "at-exit-on-the-first-stdout"],
    )
    def test_what_it_prints_later(self, tmp_path: Path, code: str) -> None:
        """The document does not contain what a module left in a buffer or prints at exit."""
        argv = ["check", "--format", "json", "--model", "ours:Same"]
        ran = run_forked(program(argv), BAD, with_model(tmp_path, f"{code}\natexit.register(print, 'left')"))
        assert (ran.status, ran.document["ok"], ran.err.endswith("left\n")) == (1, False, True)

    def test_an_exit_is_no_success(self, tmp_path: Path) -> None:
        """A `SystemExit(0)` during a command is status 2."""
        exits = "class Exits(dict):\n    def values(self): raise SystemExit(0)\nSame.secret_policies = Exits(a=1)"
        ran = call(["check", "--model", "ours:Same"], GOOD, with_model(tmp_path, exits))
        assert (ran.status, ran.out, ran.err) == (2, "", "robodj-secretguard: the command failed (SystemExit)\n")

    def test_a_file_does_not_replace_a_library(self, tmp_path: Path) -> None:
        """The working directory comes last on the import path."""
        (tmp_path / "colorsys.py").write_text("raise RuntimeError\n", encoding="utf-8")
        ran = call(
            ["check", "--model", "ours:Same"],
            GOOD,
            with_model(tmp_path, "import colorsys"),
            "sys.path.remove(os.getcwd())",
        )
        assert ran.status == 0


class TestPassed:
    """Without an alert the command runs as if there were no gate."""

    def test_its_arguments_and_status(self, tmp_path: Path) -> None:
        """The command gets its arguments unchanged, also a second `--` and options of the gate, which is silent."""
        arguments = ["", "two words", "--", "--strict", "*", "'"]
        ran = call(["exec", "--", "sh", "-c", "printf '%s\n' \"$@\"; exit 7", "sh", *arguments], GOOD, tmp_path)
        assert ran == Ran(7, "".join(f"{argument}\n" for argument in arguments), "")

    def test_its_process(self, tmp_path: Path) -> None:
        """The command has the process id of the gate, which a supervisor watches, and so gets its signals."""
        ran = call(["exec", "--", "sh", "-c", "echo $$; kill $$"], GOOD, tmp_path, "print(os.getpid(), flush=True)")
        gate, command = ran.out.split()
        assert (gate, ran.status) == (command, -signal.SIGTERM)

    def test_its_descriptors(self, tmp_path: Path) -> None:
        """The command inherits the descriptors that the gate inherited, and no other descriptors."""
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)  # noqa: FBT003
        command = f"echo here > /dev/fd/{writer}; ls /dev/fd"
        alone = f"import os\nos.execvp('sh', ['sh', '-c', {command!r}])"
        with_model(tmp_path)
        outputs = [run_copy(alone, GOOD, tmp_path).out]
        outputs += [gated(command, GOOD, tmp_path, *options).out for options in ((), ("--model", "ours:Same"))]
        os.close(writer)
        with open(reader, encoding="ascii") as written:
            assert written.read() == "here\n" * 3
        assert outputs[0]
        assert outputs[0] == outputs[1] == outputs[2]

    @pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
    def test_its_signals(self, tmp_path: Path) -> None:
        """Signals that Python ignores are not ignored in the command."""
        command = ["grep", "^SigIgn:", "/proc/self/status"]
        alone = run(command, env=host_env({}), cwd=tmp_path, python=False)
        assert call(["exec", "--", *command], GOOD, tmp_path) == alone

    def test_a_warning(self, tmp_path: Path) -> None:
        """A warning goes to stderr, since stdout is for the command."""
        ran = gated("echo served", WARNED, tmp_path)
        assert (ran.out, ran.err.startswith(WARNING_START), ran.err.count("\n")) == ("served\n", True, 2)
        ran = gated("echo served", WARNED, tmp_path, "--format", "json")
        assert (ran.out, document_of(ran.err)["ok"]) == ("served\n", True)

    def test_its_options_hold_for_the_command(self, tmp_path: Path) -> None:
        """The gate passes its set-up to the service, which may run in another directory."""
        (tmp_path / "keys").mkdir(mode=0o700)
        show = 'cd /; echo "$ROBODJ_CONFIG_DIR,$ROBODJ_PROTECTED_ENV"'
        assert gated(show, GOOD, tmp_path).out == ",\n"
        assert gated(show, GOOD, tmp_path, "--config-dir", "keys").out == f"{tmp_path.resolve()}/keys,\n"
        assert gated(show, GOOD, tmp_path, "--require-env-only").out == ",true\n"


class TestRefused:
    """An alert: the command never starts."""

    @pytest.mark.parametrize(
        ("keys", "options", "last"),
        [
            ("bad", (), "2 alerts (exit status 3). Details: robodj-secretguard explain format"),
            ("warned", ("--strict",), "1 warning (exit status 3). Details: robodj-secretguard explain near-miss"),
            ("bad", ("--format", "json"), "2 alerts (exit status 3). Details: robodj-secretguard explain format"),
        ],
    )
    def test_the_lines(self, tmp_path: Path, keys: str, options: tuple[str, ...], last: str) -> None:
        """A refusal has the lines of `guard()`, or one document, and status 3."""
        ran = call(["exec", *options, *TOUCH], SETS[keys], tmp_path)
        assert (ran.status, ran.err) == (3, f"{REFUSED}{last}\n")
        if "json" in options:
            assert ran.document["ok"] is False
        elif keys == "bad":
            assert_alert_lines(ran.out, refused=False)
        else:
            assert ran.out.startswith(WARNING_START)
        assert not (tmp_path / "started").exists()

    @pytest.mark.parametrize(("keys", "events"), [("bad", ["refused"]), ("good", [])])
    def test_its_event(self, tmp_path: Path, keys: str, events: list[str]) -> None:
        """A refusal is an event, with the checks that refused. A start is one of the guard in the command."""
        path = put(tmp_path / "events", "")
        call(["exec", *TOUCH], SETS[keys] | {"ROBODJ_SECRET_EVENTS": str(path)}, tmp_path)
        written = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert [event["secret_event"] for event in written if event["checks"]] == events

    def test_its_event_on_stdout(self, tmp_path: Path) -> None:
        """An event does not mix with the document."""
        ran = call(["exec", "--format", "json", *TOUCH], SETS["bad"] | {"ROBODJ_SECRET_EVENTS": "stdout"}, tmp_path)
        assert (ran.document["ok"], "secret_event" in ran.err) == (False, True)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_stdout(self, tmp_path: Path) -> None:
        """If stdout cannot be written, the lines of a refusal go to stderr."""
        ran = call(["exec", *TOUCH], BAD, tmp_path, "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)")
        assert (ran.status, (tmp_path / "started").exists()) == (3, False)
        assert [start for start in ALERT_STARTS if f"\n{start}" not in f"\n{ran.err}"] == []

    @pytest.mark.parametrize("keys", ["good", "bad"])
    def test_a_closed_stdout(self, tmp_path: Path, keys: str) -> None:
        """The verdict is the same without a stdout."""
        argv = ["exec", "--model", "robodj_secretguard:RuntimeSecrets", *TOUCH]
        ran = call(argv, SETS[keys], tmp_path, "os.close(1); sys.stdout = None")
        assert (ran.status, (tmp_path / "started").exists()) == ((0, True) if keys == "good" else (3, False))


class TestNotStarted:
    """A command that cannot be started has the status of a shell, and its name is not shown."""

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            *((each, 127) for each in ("no-such-program", "plain/program", "", "./moved", "KEY")),
            *((each, 126) for each in ("./plain", "./no-program")),
        ],
    )
    def test_statuses(self, tmp_path: Path, name: str, status: int) -> None:
        """127: the command or its interpreter is not found. 126: it is not an executable file."""
        (tmp_path / "plain").touch()
        for script, text in (("moved", "#!/no/such/interpreter\n"), ("no-program", "nothing\n")):
            (tmp_path / script).write_text(text)
            (tmp_path / script).chmod(0o700)
        why = {
            127: "was not found, or its interpreter was not",
            126: "cannot be executed; is it an executable file?",
        }[status]
        ran = call(["exec", "--require-env-only", "--", GOOD[V1] if name == "KEY" else name], GOOD, tmp_path)
        assert ran == Ran(status, "", f"robodj-secretguard: the command after -- {why}\n")

    def test_deleted_directory(self, tmp_path: Path) -> None:
        """In a deleted working directory, a relative config directory cannot be passed on: one line, and status 2."""
        gone = "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"
        ran = call(["exec", "--config-dir", ".", "--", "true"], GOOD, tmp_path, gone)
        assert ran == Ran(2, "", "robodj-secretguard: running the command failed (FileNotFoundError)\n")


class TestEphemeral:
    """`--ephemeral`: temporary keys for an image build or a test."""

    def test_a_guarded_import_works(self, tmp_path: Path) -> None:
        """A command that imports a guarded service runs without a key. Only the gate reports the temporary keys."""
        ran = call(["exec", "--ephemeral", *OF_ROBODJ, "--", sys.executable, "-c", SERVICE], {}, tmp_path)
        assert (ran.status, ran.out, ran.err.split(":")[:2]) == (0, "", ["WARNING", " ephemeral"])

    def test_fresh_keys(self, tmp_path: Path) -> None:
        """Each command gets new keys that expire within the hour, also if fallback files are off."""
        before = datetime.now(UTC)
        more = {"ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "false"}
        first, second = (
            gated(f'echo "${V1} ${V2} ${V1}_EXPIRES_AT"', {}, tmp_path, "--ephemeral", *OF_ROBODJ, **more).out.split()
            for _ in range(2)
        )
        assert len({*first[:2], *second[:2]}) == 4
        assert (len(first[0]), len(first[1])) == (43, 128)
        ends = datetime.fromisoformat(first[2])
        assert before < ends + timedelta(seconds=1) <= datetime.now(UTC) + timedelta(hours=1, seconds=1)

    @pytest.mark.parametrize("name", [V1, f"{V2}_EXPIRES_AT", f"{V1}_NEXT", f"{V2}_PREVIOUS_UNTIL", SECRETS_DIR])
    def test_with_a_declared_variable(self, tmp_path: Path, name: str) -> None:
        """Temporary keys never replace a variable that is set. An empty variable counts as unset."""
        value = GOOD.get(name, "2099-01-01T00:00:00Z")
        ran = call(["exec", "--ephemeral", *OF_ROBODJ, *TOUCH], {name: value}, tmp_path)
        fix = f"  fix: unset {name}, or run the command without --ephemeral"
        assert ran == Ran(3, "", f"{REFUSED}--ephemeral does not replace keys that are set\n{fix}\n")
        assert not (tmp_path / "started").exists()
        assert gated("", {name: ""}, tmp_path, "--ephemeral", *OF_ROBODJ).status == 0

    @pytest.mark.parametrize("value", ["true", "perhaps"])
    def test_in_a_protected_environment(self, tmp_path: Path, value: str) -> None:
        """A protected environment refuses temporary keys."""
        ran = call(["exec", "--ephemeral", *OF_ROBODJ, *TOUCH], {}, tmp_path, ROBODJ_PROTECTED_ENV=value)
        assert (ran.status, checks(ran)[-1], (tmp_path / "started").exists()) == (3, "ephemeral", False)

    def test_without_a_model(self, tmp_path: Path) -> None:
        """Without a model, no keys are made: those of RoboDJ would hide that the project's own are missing."""
        ran = call(["exec", "--ephemeral", *TOUCH], {}, tmp_path)
        assert (ran.status, "no model is named" in ran.err, (tmp_path / "started").exists()) == (2, True, False)

    def test_another_model(self, tmp_path: Path) -> None:
        """Every secret that a model declares gets a key."""
        ran = gated("echo ${#WEBHOOK_KEY}", {}, with_model(tmp_path), "--ephemeral", "--model", "ours:Own")
        assert (ran.status, ran.out) == (0, "96\n")


@pytest.mark.parametrize(("status", "passed_on"), [(3, 3), (0xC000013A, -0x3FFFFEC6), (2**31, -(2**31))])
def test_large_statuses(status: int, passed_on: int) -> None:
    """All 32 bits of a status on Windows are kept. Those of Control-C and crashes have the highest bit."""
    assert signed(status) == passed_on


STOPPED = """
import os, signal, sys
def stop(*_): os.write(1, b'stopping\\n'); sys.stdin.readline(); sys.exit(9)
signal.signal(signal.SIGINT, stop)
os.write(1, b'ready\\n')
while True: signal.pause()
"""


class TestSecretsDirectory:
    """A secrets directory: the commands read it as the service does."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """Return a directory with good keys."""
        found = tmp_path / "secrets"
        found.mkdir(0o700)
        for name, key in GOOD.items():
            put(found / name, key)
        return found

    def test_gate_checks_the_directory_and_notes_another_value(self, tmp_path: Path, directory: Path) -> None:
        """The gate judges the keys of the directory. It notes an environment that differs, also with `--strict`."""
        ran = call(["check", "--strict"], {SECRETS_DIR: str(directory), V1: "old"}, tmp_path)
        assert ran.status == 0
        assert f"mode: directory:{directory}, then environment" in ran.out
        assert f"NOTE: secret.key: source: {V1} in the environment differs from directory:{directory}\n" in ran.out

    def test_exec_refuses_another_source(self, tmp_path: Path, directory: Path) -> None:
        """`exec --from` would deliver keys that the service does not use."""
        ran = call(["exec", "--from", f"directory:{directory}", *TOUCH], {SECRETS_DIR: str(directory)}, tmp_path)
        assert (ran.status, "reads its secrets directory, and not --from" in ran.err) == (2, True)
        assert not (tmp_path / "started").exists()


class TestPrevious:
    """`--previous`: a removed key for one job. `test_removed` tests where it comes from."""

    def test_it_needs_a_source(self, tmp_path: Path) -> None:
        """The key is in the versions of a store, and not in the environment."""
        ran = call(["exec", "--previous", fingerprint_of(good_keys()[V1]), *TOUCH], GOOD, tmp_path)
        assert (ran.status, "exec --previous needs --from SOURCE, which keeps the key" in ran.err) == (2, True)

    def test_a_source_that_fails(self, tmp_path: Path) -> None:
        """Its finding is the only one."""
        options = ["--from", "directory:absent", "--previous", fingerprint_of(good_keys()[V1])]
        ran = call(["exec", *options, *TOUCH], GOOD, tmp_path)
        assert (ran.status, ran.out.count("ALERT: "), (tmp_path / "started").exists()) == (3, 1, False)

    def test_a_secrets_directory_does_not_matter(self, tmp_path: Path) -> None:
        """The environment delivers the keys of the job, also where the service reads a directory."""
        options = ["--from", f"directory:{tmp_path}", "--previous", fingerprint_of(good_keys()[V1])]
        for name, key in GOOD.items():
            put(tmp_path / name, key)
        ran = call(["exec", *options, *TOUCH], {SECRETS_DIR: str(tmp_path)}, tmp_path)
        assert (ran.status, ran.err[:35]) == (2, "robodj-secretguard: --previous: no ")

    def test_no_directory(self, tmp_path: Path) -> None:
        """`ROBODJ_SECRETS_DIR=/dev/null` means none, also where the model declares one."""
        with_model(tmp_path, "class Mounted(RuntimeSecrets, secrets_dir='/nowhere/keys'): pass")
        options = ["check", "--model", "ours:Mounted"]
        ran = call(options, GOOD, tmp_path, ROBODJ_PROTECTED_ENV="true", ROBODJ_SECRETS_DIR=os.devnull)
        assert (ran.status, ran.alerts, "/nowhere" in ran.out) == (0, [], False)


class TestWindows:
    """On Windows, which cannot replace a process, the gate runs the command and waits."""

    @pytest.mark.parametrize(("command", "status"), [("sh -c true", 0), ("false true", 1), ("no-such-program", 127)])
    def test_its_status_is_passed_on(self, tmp_path: Path, command: str, status: int) -> None:
        """The status is that of the command, or 127 if it is not found."""
        assert call(["exec", "--", *command.split()], GOOD, tmp_path, "os.name = 'nt'").status == status

    def test_control_c_is_the_commands(self, tmp_path: Path) -> None:
        """Control-C reaches both processes. The gate waits until the command ends."""
        gate = program(["exec", "--", sys.executable, "-c", STOPPED], "os.name = 'nt'")
        with subprocess.Popen(
            [sys.executable, "-c", gate],
            env=host_env(GOOD),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            os.killpg(process.pid, signal.SIGINT)
            assert process.stdout.readline() == b"stopping\n"
            _, err = process.communicate(b"\n", timeout=TIMEOUT)
        assert (process.returncode, without_model(err.decode())) == (9, "")
