"""The gate as operators run it, by its console script and as a module."""

from __future__ import annotations

import json
import re
import shutil
import sysconfig
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2, Ran, run
from processes import BAD, GOOD, SETS, WARNED, WARNING_START, assert_alert_lines, host_env, run_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PASSED = "Secret integrity check passed (key material redacted)."
MODULE = ("-m", "robodj_secretguard")
SECRET = tuple(GOOD.values())


def as_module(arguments: Sequence[str], keys: Mapping[str, str], cwd: Path) -> Ran:
    """Run `python -m robodj_secretguard`."""
    return run([*MODULE, *arguments], env=host_env(keys), cwd=cwd, keys=SECRET)


def as_script(arguments: Sequence[str], keys: Mapping[str, str], cwd: Path) -> Ran:
    """Run the installed `robodj-secretguard`."""
    script = shutil.which("robodj-secretguard", path=sysconfig.get_path("scripts"))
    assert script is not None
    return run([script, *arguments], env=host_env(keys), cwd=cwd, keys=SECRET, python=False)


@pytest.mark.parametrize(
    ("keys", "arguments", "status"),
    [
        ("good", ("check",), 0),
        ("good", ("check", "--strict", "--require-env-only"), 0),
        ("warned", ("check",), 0),
        ("warned", ("check", "--strict"), 1),
        ("bad", ("check",), 1),
        ("bad", ("check", "--format", "json"), 1),
        ("good", ("check", "--format", "json"), 0),
        ("warned", ("check", "--format", "json", "--strict"), 1),
        ("good", ("chekc",), 2),
        ("good", ("--version",), 0),
        ("good", ("check", "--help"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_the_script_and_the_module_are_one(tmp_path: Path, keys: str, arguments: tuple[str, ...], status: int) -> None:
    """The console script and the module write the same, and end with the status that the contract gives."""
    script, module = (
        Ran(ran.status, re.sub('"checked_at": "[^"]*"', "", ran.out), ran.err)
        for ran in (as_script(arguments, SETS[keys], tmp_path), as_module(arguments, SETS[keys], tmp_path))
    )
    assert script == module
    assert script.status == status
    assert (script.out == "", script.err == "") == (status == 2, status != 2)


class TestText:
    """The result as text."""

    def test_a_clean_run(self, tmp_path: Path) -> None:
        """A clean run: a line for each secret, the mode, and last the line that operators wait for."""
        ran = as_module(["check"], GOOD, tmp_path)
        assert ran.out.splitlines() == [
            "secret.key: present (source: environment; no expiry marker)",
            "secret_v2.key: present (source: environment; no expiry marker)",
            "model: robodj_secretguard:RuntimeSecrets (default)",
            "mode: environment, then fallback files",
            "revocation list: none",
            PASSED,
        ]

    @pytest.mark.parametrize(("arguments", "passed"), [((), True), (("--strict",), False)])
    def test_a_warning(self, tmp_path: Path, arguments: tuple[str, ...], passed: bool) -> None:  # noqa: FBT001
        """A warning is written in either case, and passes the gate unless that is strict."""
        ran = as_module(["check", *arguments], WARNED, tmp_path)
        assert ran.out.startswith(WARNING_START)
        assert (ran.out.splitlines()[-1] == PASSED, PASSED in ran.out) == (passed, passed)

    def test_alerts(self, tmp_path: Path) -> None:
        """Alerts come first, as `guard` writes them, and the line of success is not there."""
        ran = as_module(["check"], BAD, tmp_path)
        assert_alert_lines("".join(ran.out.splitlines(keepends=True)[:2]))
        assert PASSED not in ran.out
        assert ran.out.isascii()


class TestJson:
    """The result as one JSON document."""

    @pytest.mark.parametrize(
        ("keys", "state", "checks"),
        [
            ("good", "present", []),
            ("bad", "invalid-format", ["format", "format"]),
            ("none", "missing", ["missing", "missing"]),
        ],
        ids=["good", "bad", "none"],
    )
    def test_the_shape(self, tmp_path: Path, keys: str, state: str, checks: list[str]) -> None:
        """The document has the contract's keys and types, in its order, and nothing else."""
        ran = as_module(["check", "--format", "json"], SETS[keys], tmp_path)
        document = json.loads(ran.out)
        assert list(document) == [
            *("schema", "ok", "checked_at", "require_env_only", "revocation_list", "secrets", "findings", "model")
        ]
        assert (document["schema"], document["ok"], document["require_env_only"]) == (1, not checks, False)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["checked_at"])
        common = {
            "source": "none" if keys == "none" else "environment",
            "state": state,
            "usable": not checks,
            "expires_at": None,
            "owner": "Security Operations",
            "backup_owner": "Release Manager",
        }
        for secret in document["secrets"]:
            fingerprint = secret.pop("fingerprint")
            assert fingerprint is None if checks else re.fullmatch("sgfp1:[0-9a-f]{32}", fingerprint)
        assert document["secrets"] == [
            {"secret": "secret.key", "variable": V1, **common, "rotation_days": 90},
            {"secret": "secret_v2.key", "variable": V2, **common, "rotation_days": 30},
        ]
        assert [finding["check"] for finding in document["findings"]] == checks
        for finding in document["findings"]:
            assert list(finding) == ["check", "severity", "secret", "source", "message", "remedy", "owner"]

    def test_strict(self, tmp_path: Path) -> None:
        """`ok` is the gate's verdict: with --strict a warning makes it false, without it does not."""
        documents = [
            json.loads(as_module(["check", "--format", "json", *strict], WARNED, tmp_path).out)
            for strict in ((), ("--strict",))
        ]
        assert [(document["ok"], len(document["findings"])) for document in documents] == [(True, 1), (False, 1)]


KEY1, KEY2 = GOOD[V1], GOOD[V2]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("check", "check"),
        (KEY1,),
        ("check", KEY2),
        ("check", f"--{KEY1}"),
        ("check", f"--key={KEY2}"),
        ("check", "--format", KEY1),
        ("check", f"--format={KEY2}"),
        ("check", f"--strict={KEY1}"),
        ("check", "--model", KEY1),
        ("check", "--model", f"{KEY1}:{KEY2}"),
        ("check", "--model", f"json:k{KEY2}"),
        ("check", "--model", f"k{KEY2}:Model"),
        ("check", "--model", "../models:Model"),
        ("check", "--model"),
        ("check", "--stri"),
    ],
    ids=range(16),
)
def test_a_usage_error_is_one_line_that_echoes_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A usage error is status 2 and one line on stderr, in which nothing stands of what was passed."""
    ran = as_module(arguments, GOOD, tmp_path)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("robodj-secretguard: ")


def test_a_directory_that_does_not_exist_is_not_echoed(tmp_path: Path) -> None:
    """A key passed as the directory is an alert that does not name it."""
    ran = as_module(["check", f"--config-dir={KEY1}"], GOOD, tmp_path)
    assert (ran.status, [line.split(": ")[1] for line in ran.alerts]) == (1, ["setting"])


MODEL = """
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import RuntimeSecrets, SecretPolicy, SecretSettings
class Ours(RuntimeSecrets):
    pass
"""
CHATTER = f"""
import os, subprocess, sys
print({PASSED!r})
os.system("echo '{PASSED}'")
subprocess.run([sys.executable, "-c", "print({PASSED!r})"])
os.write(1, b"{PASSED}\\n")
"""


class TestModel:
    """--model runs code that is not ours."""

    @pytest.mark.parametrize(
        "code",
        [
            "raise RuntimeError(os.environ['ROBODJ_SECRET_KEY'])",
            "sys.exit(0)",
            "signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT)",
            "from robodj_secretguard import guard; guard(Ours)",
            "Ours = object()",
            "Ours = SecretSettings",
            "Ours = Ours.secret_policies",
            "del Ours",
            "class Nothing(SecretSettings): pass",
            "this is no Python",
        ],
    )
    def test_a_module_that_gives_no_model_is_status_2(self, tmp_path: Path, code: str) -> None:
        """A module that fails, ends or names no model is status 2, with nothing on stdout and one line of our own."""
        (tmp_path / "ours.py").write_text(f"{MODEL}import os, signal, sys\n{code}\n", encoding="utf-8")
        ran = as_module(["check", "--model", "ours:Ours"], BAD, tmp_path)
        assert (ran.status, ran.out) == (2, "")
        assert [line for line in ran.err.splitlines() if not line.startswith("ALERT: ")] == ran.err.splitlines()[-1:]
        assert ran.err.splitlines()[-1].startswith("robodj-secretguard: --model: ")

    @pytest.mark.parametrize("runner", [as_module, as_script])
    def test_what_a_module_prints_is_not_the_result(
        self, tmp_path: Path, runner: Callable[[Sequence[str], Mapping[str, str], Path], Ran]
    ) -> None:
        """What a module in the working directory prints, and programs that it starts, goes to stderr."""
        (tmp_path / "ours.py").write_text(f"{MODEL}{CHATTER}", encoding="utf-8")
        ran = runner(["check", "--model", "ours:Ours"], BAD, tmp_path)
        assert (ran.status, PASSED in ran.out) == (1, False)
        assert ran.err.splitlines() == [PASSED] * 4
        assert_alert_lines("".join(ran.out.splitlines(keepends=True)[:2]))

    def test_nothing_is_warned_of(self, tmp_path: Path) -> None:
        """The stream that takes the result in stdout's stead is no leak to Python's development mode."""
        (tmp_path / "ours.py").write_text(MODEL, encoding="utf-8")
        command = ["-X", "dev", *MODULE, "check", "--model", "ours:Ours"]
        ran = run(command, env=host_env(GOOD), cwd=tmp_path, keys=SECRET)
        assert (ran.status, ran.out.splitlines()[-1], ran.err) == (0, PASSED, "")

    def test_it_is_not_the_result_without_a_stderr_either(self, tmp_path: Path) -> None:
        """Where there is no stderr, what a module prints is lost, and does not become part of the result."""
        (tmp_path / "ours.py").write_text(f"{MODEL}{CHATTER}", encoding="utf-8")
        command = [*MODULE, "check", "--model", "ours:Ours"]
        for closed in ([2], [0, 2]):
            ran = run_on(command, env=host_env(BAD), cwd=tmp_path, ends={}, closed=closed)
            assert (ran.status, PASSED in ran.out, len(ran.alerts)) == (1, False, 2)

    @pytest.mark.parametrize("arguments", [("--model", "ours:Ours"), ()])
    def test_a_stdout_that_is_not_there_takes_no_result(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        """With stdout closed there is no result, with a model of one's own too."""
        (tmp_path / "ours.py").write_text(MODEL, encoding="utf-8")
        ran = run_on([*MODULE, "check", *arguments], env=host_env(GOOD), cwd=tmp_path, ends={}, closed=[1])
        assert (ran.status, ran.err) == (2, "robodj-secretguard: the result could not be written\n")

    def test_an_exit_is_no_success(self, tmp_path: Path) -> None:
        """A `SystemExit(0)` that comes out of the work, as of a signal handler, is status 2."""
        exits = "class Exits(dict):\n    def values(self): raise SystemExit(0)\n"
        (tmp_path / "ours.py").write_text(f"{MODEL}{exits}Ours.secret_policies = Exits(a=1)\n", encoding="utf-8")
        ran = as_module(["check", "--model", "ours:Ours"], GOOD, tmp_path)
        assert (ran.status, ran.out, ran.err) == (2, "", "robodj-secretguard: the command failed (SystemExit)\n")

    @pytest.mark.parametrize(
        "code",
        [
            f"sys.__stdout__.write({PASSED!r})",
            f"atexit.register(print, {PASSED!r})",
            f"keep(sys.__stdout__, {PASSED!r})",
        ],
        ids=["late-flush", "at-exit", "at-exit-on-the-first-stdout"],
    )
    def test_what_a_module_prints_later_is_not_the_result(self, tmp_path: Path, code: str) -> None:
        """What a module leaves in a buffer, or prints when the interpreter exits, is no part of the document."""
        keep = "def keep(stream, text):\n    atexit.register(lambda: stream.write(text))\n"
        (tmp_path / "ours.py").write_text(f"{MODEL}import atexit, sys\n{keep}{code}\n", encoding="utf-8")
        ran = as_module(["check", "--format", "json", "--model", "ours:Ours"], BAD, tmp_path)
        assert ran.status == 1
        assert json.loads(ran.out)["ok"] is False

    def test_a_model_in_the_working_directory_is_checked(self, tmp_path: Path) -> None:
        """A service's own secret is checked beside those that it inherits."""
        field = """    own: Annotated[SecretStr, SecretPolicy(name="own.key", variable="ROBODJ_OWN_KEY", owner="Us",
        backup_owner="Them", cadence=timedelta(days=9), warn_before=timedelta(days=1))]"""
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "ours.py").write_text(MODEL.replace("    pass", field), encoding="utf-8")
        ran = as_module(["check", "--model", "package.ours:Ours"], GOOD, tmp_path)
        assert (ran.status, [line.split(": ")[1:3] for line in ran.alerts]) == (1, [["own.key", "missing"]])

    def test_a_file_in_the_working_directory_does_not_stand_in_for_a_library(self, tmp_path: Path) -> None:
        """With --model, the working directory is looked in last when the console script runs."""
        (tmp_path / "ours.py").write_text(f"{MODEL}import fractions\n", encoding="utf-8")
        (tmp_path / "fractions.py").write_text("raise RuntimeError\n", encoding="utf-8")
        assert as_script(["check", "--model", "ours:Ours"], GOOD, tmp_path).status == 0
