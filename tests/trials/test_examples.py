"""The examples in real processes: the quickstart, and a copy of the example service with its gate.

The fast run starts each program once. Only the full sessions use other working directories, other options of Python,
and each kind of bad set-up.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2, good_keys, run
from detector import leaks
from example_service import EXAMPLES, FILES, FILES_ON, copy_service, copy_templates
from repositories import GIT, git, made

from robodj_secretguard.cli.output import PASSED

if TYPE_CHECKING:
    from collections.abc import Mapping

GATE = Path("config", "check_runtime_secrets.py")
ENV_ONLY = "--require-env-only"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the service's repository."""
    return copy_service(tmp_path / "service")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory that is not the repository's root."""
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


class TestQuickstart:
    """`examples/quickstart.py`."""

    def test_quickstart_shows_a_start_a_refusal_and_the_gate(self, clean_env: dict[str, str], elsewhere: Path) -> None:
        """From any directory it shows a start, a refusal with its status, and the gate, and no part of a key.
        Keys in the environment change nothing.
        """
        keys = good_keys()
        program = (
            "import os, runpy, secrets, sys\n"
            "secrets.token_urlsafe = lambda size: os.environ['URLSAFE']\n"
            "secrets.token_hex = lambda size: os.environ['HEX']\n"
            "runpy.run_path(sys.argv[1], run_name='__main__')\n"
        )
        env = clean_env | {"SESSION_KEY": "unused", "URLSAFE": keys[V1], "HEX": keys[V2]}
        command = ["-c", program, str(EXAMPLES / "quickstart.py")]
        ran = run(command, env=env, cwd=elsewhere, keys=list(keys.values()))
        assert (ran.status, ran.err) == (0, "")
        start, refusal, passed, failed = re.split(r"\n\n(?=--- )", ran.out.strip())
        assert start.splitlines()[1:] == ["The service is up.", "exit status: 0"]
        alerts = [line for line in refusal.splitlines() if line.startswith("ALERT: ") and "refused" not in line]
        assert [line.split()[1:3] for line in alerts] == [
            ["session_key:", "placeholder:"],
            ["database_url:", "placeholder:"],
        ]
        assert refusal.splitlines()[-1] == "exit status: 3"
        assert passed.splitlines()[-2:] == [PASSED, "exit status: 0"]
        assert [line for line in failed.splitlines() if line.startswith("ALERT: ")] == alerts
        assert failed.splitlines()[-1] == "exit status: 1"


class TestGate:
    """`python config/check_runtime_secrets.py --require-env-only`, the command of the policy."""

    def test_gate_fails_without_the_services_list(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path
    ) -> None:
        """It fails without the service's revocation list, even if another directory has one."""
        (elsewhere / "config").mkdir()
        (repository / "config" / "revoked.fingerprints").rename(elsewhere / "config" / "revoked.fingerprints")
        ran = run([str(repository / GATE), ENV_ONLY], env=clean_env | good_keys(), cwd=elsewhere)
        assert (ran.status, [line.split()[1] for line in ran.alerts]) == (1, ["revocation-list:"])

    def test_gate_passes_its_arguments_on(self, clean_env: dict[str, str], repository: Path) -> None:
        """It accepts the arguments of `check`. A wrong one has status 2."""
        ran = run([str(GATE), "--no-such-option"], env=clean_env | good_keys(), cwd=repository)
        assert (ran.status, ran.out) == (2, "")


class TestTemplates:
    """`config/secret.key.example` and `config/secret_v2.key.example`."""

    def findings(
        self, env: Mapping[str, str], repository: Path, cwd: Path, keys: Mapping[str, str] | None = None
    ) -> tuple[int, list[tuple[str, str, str]]]:
        """Run the gate with fallback files on, and return its status and findings."""
        command = [str(repository / GATE), "--format", "json"]
        ran = run(command, env=FILES_ON | dict(env), cwd=cwd)
        findings = [(each["check"], each["severity"], each["secret"]) for each in ran.document["findings"]]
        assert leaks(ran.out, list((keys or {}).values())) == []
        return ran.status, findings

    def test_unchanged_template_is_a_placeholder(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path
    ) -> None:
        """An unchanged copy is the finding `placeholder`."""
        copy_templates(repository)
        status, findings = self.findings(clean_env, repository, elsewhere)
        alerts = [each for each in findings if each[1] == "alert"]
        assert (status, alerts) == (1, [("placeholder", "alert", name) for name in FILES.values()])

    def test_filled_template_passes_with_a_warning(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path
    ) -> None:
        """A copy whose placeholder line is replaced with a key passes, with a warning about the fallback file."""
        keys = good_keys()
        copy_templates(repository, keys)
        warnings = [("file-fallback", "warning", name) for name in FILES.values()]
        assert self.findings(clean_env, repository, elsewhere, keys) == (0, warnings)

    def test_model_turns_fallback_files_off(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """The model turns fallback files off."""
        copy_templates(repository, good_keys())
        status, findings = self.findings(clean_env | dict.fromkeys(FILES_ON, ""), repository, elsewhere)
        assert (status, {check for check, _, _ in findings}) == (1, {"missing", "file-present"})


class TestOwnTests:
    """The tests of the example service."""

    def test_own_tests_pass_without_a_key(self, clean_env: dict[str, str], repository: Path) -> None:
        """`python -m pytest` passes with the plugin, without a key in the environment or a file."""
        ran = run(["-m", "pytest", "-q", "-W", "error"], env=clean_env, cwd=repository)
        assert (ran.status, ran.out.splitlines()[-1].split(" in ")[0]) == (0, "16 passed")


@pytest.mark.skipif(not GIT, reason="needs git")
class TestGitignore:
    """The service's `.gitignore`."""

    LIVE = tuple(
        f"config/{copy.format(name)}"
        for name in FILES.values()
        for copy in (
            *("{}", "{}~", "{}.bak", "{}.old", "{}.orig", "{}.save", "{}.txt", "{}.tmp.1234", "{}.example.swp"),
            *("{}.example~", ".{}.swp", ".{}.swo", ".{}.un~", ".{}.kate-swp", ".#{}", "#{}#", "{} (copy)"),
            "{}.0123456789abcdef.new",
        )
    )
    LEFT = ("config/logs/secret_operations.jsonl", "config/revoked.fingerprints.0123.new")
    VERSIONED = (
        ".gitignore",
        "README.md",
        "app/__init__.py",
        "app/main.py",
        "config/check_runtime_secrets.py",
        "config/revoked.fingerprints",
        "config/secret.key.example",
        "config/secret_v2.key.example",
        "pyproject.toml",
        "pytest.ini",
        "requirements.txt",
        "service_secrets.py",
        "tests/test_service.py",
    )

    def test_git_ignores_only_live_keys_and_files_of_commands(self, repository: Path) -> None:
        """Git ignores only live key files, their editor and backup copies, and the files that commands write."""
        paths = self.LIVE + self.LEFT + self.VERSIONED
        ignored = git(made(repository), "--no-literal-pathspecs", "check-ignore", *paths)
        assert tuple(ignored.splitlines()) == self.LIVE + self.LEFT
