"""`exec`, the gate before a command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT, V1, V2, Ran, run, without_model
from detector import leaks
from processes import (
    ALERT_STARTS,
    BAD,
    GOOD,
    SERVICE,
    SETS,
    WARNED,
    WARNING_START,
    assert_alert_lines,
    config_files,
    full_device,
    host_env,
    run_on,
)

from robodj_secretguard.cli.gate import signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SECRET = tuple(GOOD.values())
GATE = ("-m", "robodj_secretguard", "exec")
STARTED = "open('started', 'w').close()"
PRINT_ARGUMENTS = "import sys; print(sys.argv[1:])"
ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="a process is replaced on POSIX alone")
REFUSED = "robodj-secretguard: refused, the command was not started: "


def gated(
    script: str,
    keys: Mapping[str, str],
    cwd: Path,
    *,
    options: Sequence[str] = (),
    arguments: Sequence[str] = (),
    **more: str,
) -> Ran:
    """Run a script of Python behind the gate."""
    command = [*GATE, *options, "--", sys.executable, "-c", script, *arguments]
    # Of a script that is given none, and may print temporary ones, six characters stand in these by chance.
    return run(command, env=host_env(keys, **more), cwd=cwd, keys=SECRET if keys else ())


class TestPassed:
    """Nothing is refused: the command runs as if there were no gate."""

    @pytest.mark.parametrize("status", [0, 3, 7])
    def test_its_status(self, tmp_path: Path, status: int) -> None:
        """The status is the command's own, and the gate is silent."""
        assert gated(f"raise SystemExit({status})", GOOD, tmp_path) == Ran(status, "", "")

    def test_its_arguments(self, tmp_path: Path) -> None:
        """Arguments reach it as they are, another `--` and options of the gate's name too."""
        arguments = ["", "two words", "--", "--strict", "*", "'"]
        assert gated(PRINT_ARGUMENTS, GOOD, tmp_path, arguments=arguments).out == f"{arguments}\n"

    @ON_POSIX
    def test_its_process(self, tmp_path: Path) -> None:
        """It has the process id of the gate, whom a supervisor watches, and ends by the signal that it is sent."""
        script = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, *GATE, "--", sys.executable, "-c", script],
            env=host_env(GOOD),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert int(process.stdout.readline()) == process.pid
            process.terminate()
            assert process.wait(timeout=TIMEOUT) == -signal.SIGTERM

    @ON_POSIX
    def test_its_descriptors(self, tmp_path: Path) -> None:
        """It inherits what the gate did, such as a socket from systemd, and no descriptor of the gate's."""
        reader, writer = os.pipe()
        script = f"import os; os.write({writer}, b'here'); print(os.listdir('/dev/fd'))"
        with open(reader, "rb") as written:
            outputs = [
                subprocess.run(
                    [sys.executable, *gate, "-c", script],
                    env=host_env(GOOD),
                    cwd=tmp_path,
                    pass_fds=[writer],
                    capture_output=True,
                    timeout=TIMEOUT,
                    check=True,
                ).stdout
                for gate in ((), (*GATE, "--", sys.executable), (*GATE, *MODEL, "--", sys.executable))
            ]
            os.close(writer)
            assert written.read() == b"here" * 3
        assert outputs[0] == outputs[1] == outputs[2]

    @pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="signals are told by /proc")
    def test_its_signals(self, tmp_path: Path) -> None:
        """A signal that Python ignores is not ignored in the command."""
        command = ["grep", "^SigIgn:", "/proc/self/status"]
        alone = run(command, env=host_env({}), cwd=tmp_path, python=False)
        assert run([*GATE, "--", *command], env=host_env(GOOD), cwd=tmp_path) == alone

    def test_a_warning(self, tmp_path: Path) -> None:
        """A warning goes to stderr: stdout is the command's."""
        ran = gated("print('served')", WARNED, tmp_path)
        assert (ran.status, ran.out) == (0, "served\n")
        assert ran.err.startswith(WARNING_START)
        assert ran.err.count("\n") == 1
        as_json = gated("print('served')", WARNED, tmp_path, options=["--format", "json"])
        assert (as_json.out, json.loads(as_json.err)["ok"]) == ("served\n", True)

    def test_what_the_gate_was_told_holds_for_the_command(self, tmp_path: Path) -> None:
        """A service behind the gate looks where the gate did, from another directory too."""
        config_files(tmp_path, GOOD)
        (tmp_path / "config").rename(tmp_path / "keys")
        (tmp_path / "elsewhere").mkdir()
        script = f"import os; os.chdir('elsewhere')\n{SERVICE}print(SECRETS.secret_key is not None)"
        assert gated(script, {}, tmp_path, options=["--config-dir", "keys"]).out.endswith("\nTrue\n")
        script = "import os; from robodj_secretguard import check; print(check().require_env_only)"
        assert gated(script, GOOD, tmp_path, options=["--require-env-only"]).out == "True\n"
        assert gated(script, GOOD, tmp_path).out == "False\n"

    def test_a_model_that_prints(self, tmp_path: Path) -> None:
        """What a model's module prints is not in the command's output, which goes where it was meant to."""
        (tmp_path / "settings.py").write_text(
            "from robodj_secretguard import RuntimeSecrets as Own\nprint('imported')\n"
        )
        ran = gated("print('served')", GOOD, tmp_path, options=["--model", "settings:Own"])
        assert ran == Ran(0, "served\n", "imported\n")


MODEL = ("--model", "robodj_secretguard:RuntimeSecrets")


class TestRefused:
    """An alert: the command never starts."""

    def test_the_lines(self, tmp_path: Path) -> None:
        """The lines are those of `guard()`, and the status is the one that supervisors stop at."""
        ran = gated(STARTED, BAD, tmp_path)
        assert (ran.status, ran.err) == (3, f"{REFUSED}2 alert(s), 0 warning(s)\n")
        assert_alert_lines(ran.out)
        assert not (tmp_path / "started").exists()

    def test_json(self, tmp_path: Path) -> None:
        """Or one document."""
        ran = gated(STARTED, BAD, tmp_path, options=["--format", "json"])
        assert (ran.status, json.loads(ran.out)["ok"]) == (3, False)
        assert not (tmp_path / "started").exists()

    def test_strict(self, tmp_path: Path) -> None:
        """With `--strict` a warning refuses too, and it is said that it did."""
        ran = gated(STARTED, WARNED, tmp_path, options=["--strict"])
        assert (ran.status, ran.err) == (3, f"{REFUSED}0 alert(s), 1 warning(s)\n")
        assert ran.out.startswith(WARNING_START)
        assert not (tmp_path / "started").exists()

    def test_a_file_in_environment_only(self, tmp_path: Path) -> None:
        """The options are those of the gate."""
        config_files(tmp_path, GOOD)
        assert gated("", {}, tmp_path).status == 0
        assert gated(STARTED, {}, tmp_path, options=["--require-env-only"]).status == 3
        assert not (tmp_path / "started").exists()

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
    def test_a_stdout_that_takes_nothing(self, tmp_path: Path) -> None:
        """The lines are then on stderr, and it stays a refusal."""
        command = [*GATE, "--", sys.executable, "-c", STARTED]
        with full_device() as full:
            ran = run_on(command, env=host_env(BAD), cwd=tmp_path, ends={"stdout": full})
        assert ran.status == 3
        assert [start for start in ALERT_STARTS if f"\n{start}" not in f"\n{ran.err}"] == []
        assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exec"], "the command goes after --"),
        (["exec", "--"], "the command goes after --"),
        (["exec", sys.executable, "-c", STARTED], "an argument is unknown or misplaced"),
        (["exec", "--skip", "--", sys.executable, "-c", STARTED], "an argument is unknown or misplaced"),
        (["exec", "--stric", "--", sys.executable, "-c", STARTED], "an argument is unknown or misplaced"),
        (["exec", "--model", "--", sys.executable, "-c", STARTED], "--model: what was given is not accepted"),
        (["exec", "--model", "nothing:Here", "--", sys.executable, "-c", STARTED], "--model: importing it failed"),
        (["--", "exec", sys.executable, "-c", STARTED], "the following arguments are required: COMMAND"),
        (["check", "--", sys.executable, "-c", STARTED], "only exec takes a command"),
        (["check", "--ephemeral"], "an argument is unknown or misplaced"),
    ],
    ids=lambda value: " ".join(value[:3]).replace(sys.executable, "python") if isinstance(value, list) else "",
)
def test_wrong_usage(tmp_path: Path, arguments: Sequence[str], said: str) -> None:
    """Wrong usage is status 2, and nothing starts."""
    ran = run(["-m", "robodj_secretguard", *arguments], env=host_env(GOOD), cwd=tmp_path, keys=SECRET)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"robodj-secretguard: {said}")
    assert not (tmp_path / "started").exists()


class TestNotStarted:
    """A command that cannot be started: the statuses of a shell, and nothing of its name."""

    @pytest.mark.parametrize("program", ["no-such-program", "./no-such-program", "app.py/program", "", "./moved"])
    def test_not_found(self, tmp_path: Path, program: str) -> None:
        """127: it is not found."""
        (tmp_path / "app.py").touch()
        (tmp_path / "moved").write_text("#!/no/such/interpreter\n")
        (tmp_path / "moved").chmod(0o700)
        ran = run([*GATE, "--require-env-only", "--", program], env=host_env(GOOD), cwd=tmp_path, keys=SECRET)
        assert ran == Ran(127, "", "robodj-secretguard: the command after -- is not found, or its interpreter is not\n")

    @ON_POSIX
    @pytest.mark.parametrize("program", [".", "./not-executable", "./no-program"])
    def test_not_executable(self, tmp_path: Path, program: str) -> None:
        """126: a directory, a file without the permission, or one that is no program."""
        (tmp_path / "not-executable").touch()
        (tmp_path / "no-program").write_text("nothing\n")
        (tmp_path / "no-program").chmod(0o700)
        ran = run([*GATE, "--", program], env=host_env(GOOD), cwd=tmp_path, keys=SECRET)
        assert ran == Ran(126, "", "robodj-secretguard: the command after -- cannot be executed\n")

    def test_a_key_in_the_place_of_the_command(self, tmp_path: Path) -> None:
        """A key that was pasted there is not shown."""
        assert run([*GATE, "--", GOOD[V1]], env=host_env(GOOD), cwd=tmp_path, keys=SECRET).status == 127

    @ON_POSIX
    def test_nowhere(self, tmp_path: Path) -> None:
        """From a directory that is gone, a relative one cannot be handed on: one line, and status 2."""
        ran = run(["-c", GATE_OF_NOWHERE], env=host_env(GOOD), cwd=tmp_path)
        assert ran == Ran(2, "", "robodj-secretguard: starting the command failed (FileNotFoundError)\n")


SHOW_CHECKS = """
import os
from robodj_secretguard import check, guard
print([(each.check.value, each.secret) for each in check().findings])
"""


GATE_OF_NOWHERE = """
import os, sys
from robodj_secretguard.cli import main  # before: not every library can be imported from nowhere
os.mkdir('gone')
os.chdir('gone')
os.rmdir('../gone')
sys.argv = ['', 'exec', '--config-dir', '.', '--', 'true']
sys.exit(main())
"""


class TestThreads:
    """A model's module that has started a thread: the gate ends all the same."""

    THREADED = (
        "import threading\nfrom robodj_secretguard import RuntimeSecrets as Own\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
    )

    @pytest.mark.parametrize(
        ("arguments", "keys", "status"),
        [
            (("check", "--model", "settings:Own"), "good", 0),
            (("check", "--model", "settings:Own"), "bad", 1),
            (("check", "--model", "settings:No"), "good", 2),
            (("exec", "--model", "settings:Own", "--", "true"), "bad", 3),
            (("exec", "--model", "settings:Own", "--", "no-such-program"), "good", 127),
        ],
        ids=str,
    )
    def test_it_ends(self, tmp_path: Path, arguments: Sequence[str], keys: str, status: int) -> None:
        """With its status, and its lines."""
        (tmp_path / "settings.py").write_text(self.THREADED)
        ran = run(["-m", "robodj_secretguard", *arguments], env=host_env(SETS[keys]), cwd=tmp_path, keys=SECRET)
        assert ran.status == status
        assert ran.out + ran.err != ""

    def test_without_one(self, tmp_path: Path) -> None:
        """It ends as any program does: what the module left to be done at the end is done, and is not on stdout."""
        own = "import atexit\nfrom robodj_secretguard import RuntimeSecrets as Own\natexit.register(print, 'left')\n"
        (tmp_path / "settings.py").write_text(own)
        command = ["-m", "robodj_secretguard", "check", "--model", "settings:Own"]
        ran = run(command, env=host_env(GOOD), cwd=tmp_path, keys=SECRET)
        assert (ran.status, ran.err) == (0, "left\n")


class TestEphemeral:
    """`--ephemeral`: temporary keys for an image build or a test."""

    def test_a_guarded_import_works(self, tmp_path: Path) -> None:
        """A command that imports a guarded service runs without a key being set, and every check says what they are."""
        ran = gated(f"{SERVICE}{SHOW_CHECKS}", {}, tmp_path, options=["--ephemeral"])
        assert (ran.status, ran.out.splitlines()[-1]) == (0, str([("ephemeral", None)]))

    def test_one_line_once(self, tmp_path: Path) -> None:
        """The gate says that the keys are temporary, and the guard inside does not say it again."""
        ran = gated(f"{SERVICE}print('served')", {}, tmp_path, options=["--ephemeral"])
        assert (ran.status, ran.out) == (0, "served\n")
        assert [line.split(":")[:2] for line in ran.err.splitlines()] == [["WARNING", " ephemeral"]]

    def test_files_that_are_off(self, tmp_path: Path) -> None:
        """Where fallback files are merely off, temporary keys are allowed."""
        more = {"ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "false"}
        ran = gated("print('built')", {}, tmp_path, options=["--ephemeral"], **more)
        assert (ran.status, ran.out) == (0, "built\n")

    def test_fresh_keys(self, tmp_path: Path) -> None:
        """Each command has keys of its own, which end within the hour."""
        script = f"import os; print(os.environ['{V1}'], os.environ['{V2}'], os.environ['{V2}_EXPIRES_AT'])"
        before = datetime.now(UTC)
        first, second = (gated(script, {}, tmp_path, options=["--ephemeral"]).out.split() for _ in range(2))
        assert len({*first[:2], *second[:2]}) == 4
        assert (len(first[0]), len(first[1])) == (43, 128)
        ends = datetime.fromisoformat(first[2])
        assert before < ends + timedelta(seconds=1) <= datetime.now(UTC) + timedelta(hours=1, seconds=1)

    @pytest.mark.parametrize("name", [V1, V2, f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT"])
    def test_refused_beside_a_declared_variable(self, tmp_path: Path, name: str) -> None:
        """They take the place of nothing that is set; set but empty is unset."""
        value = GOOD.get(name, "2099-01-01T00:00:00Z")
        ran = gated(STARTED, {name: value}, tmp_path, options=["--ephemeral"])
        assert ran == Ran(3, "", f"{REFUSED}{name}: set already, and temporary keys replace nothing; unset it\n")
        assert not (tmp_path / "started").exists()
        assert gated("", {name: ""}, tmp_path, options=["--ephemeral"]).status == 0

    @pytest.mark.parametrize(
        ("options", "more"),
        [
            (("--require-env-only",), {}),
            ((), {"ROBODJ_PROTECTED_ENV": "true"}),
            ((), {"ROBODJ_PROTECTED_ENV": "perhaps"}),
        ],
    )
    def test_refused_in_a_protected_environment(
        self, tmp_path: Path, options: Sequence[str], more: Mapping[str, str]
    ) -> None:
        """Where services serve there are no temporary keys."""
        ran = gated(STARTED, {}, tmp_path, options=["--ephemeral", *options], **more)
        assert ran.status == 3
        assert "\nALERT: ephemeral: " in f"\n{ran.out}"
        assert not (tmp_path / "started").exists()

    def test_serving_on_them_is_refused_in_environment_only(self, tmp_path: Path) -> None:
        """A child that turns environment-only on, or a service that asks for it, does not start on them."""
        script = "from robodj_secretguard import guard; guard(require_env_only=True)"
        ran = gated(script, {}, tmp_path, options=["--ephemeral"])
        assert ran.status == 3
        assert ran.out.startswith("ALERT: ephemeral: ")

    def test_a_model_of_ones_own(self, tmp_path: Path) -> None:
        """Every secret that a model declares has a key."""
        (tmp_path / "settings.py").write_text(OWN_MODEL)
        ran = gated("import settings; settings.Own(); print('served')", {}, tmp_path, options=OWN_EPHEMERAL)
        assert (ran.status, ran.out) == (0, "served\n")


OWN_EPHEMERAL = ("--ephemeral", "--model", "settings:Own")
OWN_MODEL = """
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import Generator, Length, Material, RuntimeSecrets, SecretPolicy
POLICY = SecretPolicy(
    name="webhook.key", variable="WEBHOOK_KEY", owner="A", backup_owner="B", cadence=timedelta(days=9),
    warn_before=timedelta(days=1), generator=Generator("token_hex", 48),
    material=Material(base64url=Length(64), hexadecimal=Length(96)),
)
class Own(RuntimeSecrets):
    webhook_key: Annotated[SecretStr, POLICY]
"""

ON_WINDOWS = """
import os, subprocess, sys
from robodj_secretguard.cli import main
os.name = 'nt'
sys.exit(main())
"""


class TestWindows:
    """Where a process cannot be replaced, the gate runs the command and waits."""

    def run(self, command: Sequence[str], cwd: Path) -> Ran:
        """Run a command as on Windows."""
        (cwd / "gate.py").write_text(ON_WINDOWS)
        return run(["gate.py", "exec", "--", *command], env=host_env(GOOD), cwd=cwd, keys=SECRET)

    @pytest.mark.parametrize("status", [0, 7])
    def test_its_status_is_passed_on(self, tmp_path: Path, status: int) -> None:
        """The status is the command's."""
        script = f"print('served'); raise SystemExit({status})"
        assert self.run([sys.executable, "-c", script], tmp_path) == Ran(status, "served\n", "")

    def test_not_found(self, tmp_path: Path) -> None:
        """What is not found is not found there too."""
        assert self.run(["no-such-program", sys.executable], tmp_path).status == 127

    @ON_POSIX
    def test_a_program_that_is_given_another_ones_name(self, tmp_path: Path) -> None:
        """The first word is the program, whatever the others name."""
        assert self.run(["false", "true"], tmp_path).status == 1

    @pytest.mark.parametrize(("status", "passed_on"), [(0, 0), (3, 3), (0xC000013A, -0x3FFFFEC6), (2**31, -(2**31))])
    def test_large_statuses(self, status: int, passed_on: int) -> None:
        """A status is 32 bits wide there, and keeps them: those of Control-C and of a crash begin with a one."""
        assert signed(status) == passed_on
        assert passed_on % 2**32 == status

    @ON_POSIX
    def test_control_c_is_the_commands(self, tmp_path: Path) -> None:
        """Control-C reaches both; the gate goes on waiting for what the command makes of it."""
        (tmp_path / "gate.py").write_text(ON_WINDOWS)
        script = (
            "import os, signal, sys\n"
            "def stop(*_): os.write(1, b'stopping\\n'); sys.stdin.readline(); sys.exit(9)\n"
            "signal.signal(signal.SIGINT, stop); os.write(1, b'ready\\n')\n"
            "while True: signal.pause()\n"
        )
        with subprocess.Popen(
            [sys.executable, "gate.py", "exec", "--", sys.executable, "-c", script],
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


@pytest.mark.parametrize("keys", ["good", "bad"])
def test_a_closed_stdout(tmp_path: Path, keys: str) -> None:
    """Started without a stdout, the gate decides as ever."""
    command = [*GATE, *MODEL, "--", sys.executable, "-c", STARTED]
    if os.name != "posix":
        pytest.skip("descriptors are closed by a POSIX shell")
    ran = run_on(command, env=host_env(SETS[keys]), cwd=tmp_path, ends={}, closed=[1])
    assert ran.status == (0 if keys == "good" else 3)
    assert (tmp_path / "started").exists() == (keys == "good")
    assert leaks(ran.err, SECRET) == []
