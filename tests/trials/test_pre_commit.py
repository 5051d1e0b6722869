"""The pre-commit hook: the command of its manifest, and, in the full run, the hook in the real pre-commit."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import fingerprint_of, machine_at, rotated
from conftest import NOW, V1, Ran, clean_environment, good_keys, run
from repositories import NO_CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
REQUIRED = "SECRETGUARD_HOSTS_REQUIRED"
"""If this variable is set, a missing pre-commit is a failure."""
PAGE = ROOT / "docs" / "scan.md"
MANIFEST = ".pre-commit-hooks.yaml"
BUILT_FROM = ("src", "pyproject.toml", "README.md", "LICENSE", MANIFEST)
"""The repository that pre-commit clones to build the environment of the hook."""
HOOK = "robodj-secretguard-scan"
CONFIGURATION = ".pre-commit-config.yaml"
INSTALL_SECONDS = 600
IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@robodj.example"))
}
FOUND = ("ALERT: secret.key: assigned-key: {} in the index: sets the variable to a valid key (form: raw; FP)").format
KNOWN = "ALERT: {}: known-key: {} in the index: contains the key (form: raw; known by: {}; FP)".format

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the paths of programs are POSIX paths"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


@dataclass(frozen=True)
class Repository:
    """A repository with the hook.

    Attributes:
        root: its work tree.
        environ: the variables of git, and of the hook.
        keys: the keys that must not show.
    """

    root: Path
    environ: dict[str, str] = field(repr=False)
    keys: list[str] = field(default_factory=list, repr=False)

    def git(self, *arguments: str, cwd: Path | None = None) -> Ran:
        """Run git, and make sure that it showed no part of a key."""
        return run(["git", *arguments], env=self.environ, cwd=cwd or self.root, keys=self.keys, python=False)

    def pre_commit(self, *arguments: str) -> None:
        """Run pre-commit."""
        ran = run(["-m", "pre_commit", *arguments], env=self.environ, cwd=self.root, timeout=INSTALL_SECONDS)
        assert ran.status == 0, ran.out + ran.err

    def key(self) -> str:
        """Make a key that must not be shown."""
        self.keys.append(good_keys()[V1])
        return self.keys[-1]

    def write(self, name: str, text: str) -> None:
        """Write a file in the work tree."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def stage(self, name: str, text: str) -> None:
        """Write and stage a file, also an ignored one."""
        self.write(name, text)
        assert self.git("add", "--force", name).status == 0

    def commit(self, *arguments: str, cwd: Path | None = None) -> Ran:
        """Run `git commit` with the hook."""
        return self.git("commit", "--message", "a change", *arguments, cwd=cwd)

    def refused(self, ran: Ran, *expected: str, commits: int = 1) -> None:
        """Make sure that a commit was refused, with exactly these findings. Fingerprints are left out."""
        alerts = [re.sub(r"sgfp1:[0-9a-f]{32}", "FP", line) for line in ran.alerts]
        assert (ran.status, alerts) == (1, list(expected)), ran.out + ran.err
        assert re.search(rf"^- hook id: {HOOK}\n(- duration: .*\n)?- exit code: 1$", ran.out + ran.err, re.MULTILINE)
        assert self.commits == commits

    def passed(self, ran: Ran) -> None:
        """Make sure that the first commit exists, and that the hook ran for it."""
        assert (ran.status, ran.alerts) == (0, []), ran.out + ran.err
        assert re.search(r"^keys in what is committed\.+Passed$", ran.out + ran.err, re.MULTILINE)
        assert self.commits == 1

    @property
    def commits(self) -> int:
        """Return the number of commits."""
        return len(self.git("rev-list", "--all").out.splitlines())


def initialised(root: Path, environ: dict[str, str]) -> Repository:
    """Make an empty repository."""
    root.mkdir()
    repository = Repository(root, environ)
    assert repository.git("init", "--quiet").status == 0
    return repository


def environment() -> dict[str, str]:
    """Return the variables of a git without the configuration of the machine."""
    own = {
        name: value
        for name, value in clean_environment().items()
        if not name.startswith(("GIT_", "PRE_COMMIT")) and name not in {"SKIP", "PYTHONPATH"}
    }
    return own | IDENTITY | NO_CONFIGURATION


def test_hook_refuses_a_staged_key(tmp_path: Path) -> None:
    """The manifest has one hook, whose command refuses a staged key and passes without one."""
    manifest = (ROOT / MANIFEST).read_text(encoding="utf-8")
    assert re.findall(r"^- id: (.*)$", manifest, re.MULTILINE) == [HOOK]
    (program, *arguments) = shlex.split(*re.findall(r"^  entry: (.*)$", manifest, re.MULTILINE))
    assert program == "robodj-secretguard"
    repository = initialised(tmp_path / "repository", environment())
    key = repository.key()
    command = ["-m", "robodj_secretguard", *arguments]
    statuses = []
    for text in (f"{V1}={key}\n", f"{V1}=${{{V1}}}\n"):
        repository.stage("deploy.env", text)
        ran = run(command, env=repository.environ, cwd=repository.root, keys=repository.keys)
        statuses.append((ran.status, len(ran.alerts)))
    assert statuses == [(1, 1), (0, 0)]


def require_pre_commit() -> None:
    """Skip a test where pre-commit is not installed, or fail where it is required."""
    if importlib.util.find_spec("pre_commit") is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)("pre-commit is not installed")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository without a commit, in which pre-commit has installed the hook of this source."""
    require_pre_commit()
    base = tmp_path_factory.mktemp("pre-commit")
    environ = environment() | {"PRE_COMMIT_HOME": str(base / "home"), "PRE_COMMIT_COLOR": "never"}
    source = initialised(base / "source", environ)
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source.root / name)
    assert source.git("add", "--", *BUILT_FROM).status == 0
    assert source.commit().status == 0
    made = initialised(base / "template", environ)
    revision = source.git("rev-parse", "HEAD").out.strip()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    with_repository = re.sub(r"(?m)(?<=repo: ).*", str(source.root), shown)
    made.stage(CONFIGURATION, re.sub(r"(?m)(?<=rev: ).*", revision, with_repository))
    made.pre_commit("install", "--install-hooks")
    return made


@pytest.fixture
def fresh(template: Repository, tmp_path: Path) -> Repository:
    """A repository with the hook, and without a commit."""
    shutil.copytree(template.root, tmp_path / "repository", symlinks=True)
    return Repository(tmp_path / "repository", dict(template.environ))


@pytest.fixture
def repository(fresh: Repository) -> Repository:
    """A repository with the hook and one commit."""
    fresh.stage("deploy.env", "\n")
    assert fresh.commit("--no-verify").status == 0
    return fresh


@pytest.fixture
def leaking(repository: Repository) -> Repository:
    """A repository with a tracked file that has received a key since its last commit."""
    repository.write("deploy.env", f"{V1}={repository.key()}\n")
    return repository


@pytest.mark.full
class TestPreCommit:
    """The real pre-commit, of the extra `hosts`: its environment for the hook, and git's indexes."""

    def test_pre_commit_installs_the_hook(self, template: Repository) -> None:
        """Pre-commit accepts the manifest. The hook runs in a separate environment, without packages of the tests."""
        template.pre_commit("validate-manifest", str(ROOT / MANIFEST))
        (program,) = Path(template.environ["PRE_COMMIT_HOME"]).glob("repo*/py_env-*/bin/robodj-secretguard")
        command = ["-m", "pip", "--python", str(program.parent / "python"), "list"]
        packages = run(command, env=template.environ, cwd=ROOT).out
        assert ("robodj-secretguard" in packages, "pytest" in packages) == (True, False)

    @pytest.mark.parametrize("options", [(), ("--config-dir", "deploy/config")], ids=["default", "args"])
    def test_recorded_and_revoked_keys_are_refused(self, repository: Repository, options: Sequence[str]) -> None:
        """A recorded or revoked key is refused. The configuration's `args` say where the log and the list are."""
        (repository.root / "deploy").mkdir()
        machine = machine_at(repository.root / "deploy" if options else repository.root)
        recorded, revoked = repository.key(), repository.key()
        machine.record(rotated(NOW - timedelta(days=99), fingerprint_of(recorded)))
        machine.write("revoked.fingerprints", fingerprint_of(revoked))
        hooks = (repository.root / CONFIGURATION).read_text(encoding="utf-8")
        repository.stage(CONFIGURATION, f"{hooks}        args: [{', '.join(options)}]\n")
        repository.stage("notes.txt", f"{recorded}\n{revoked}\n")
        recorded_at = KNOWN("secret.key (prod)", "notes.txt:1:1", "operations log")
        repository.refused(repository.commit(), recorded_at, KNOWN("a key", "notes.txt:2:1", "revocation list"))

    def test_nothing_is_committed_with_a_damaged_log(self, repository: Repository) -> None:
        """A damaged operations log may hide a recorded key, so nothing is committed."""
        repository.write("config/logs/secret_operations.jsonl", "{}\n")
        ran = repository.commit("--allow-empty")
        assert (ran.status, "- exit code: 2\n" in ran.out + ran.err) == (1, True)
        assert "INCOMPLETE: operations log: line 1 cannot be parsed" in ran.out + ran.err
        assert repository.commits == 1

    def test_first_commit_is_read_as_a_whole(self, fresh: Repository) -> None:
        """The first commit is read as a whole."""
        fresh.stage("deploy.env", f"{V1}={fresh.key()}\n")
        fresh.refused(fresh.commit(), FOUND("deploy.env:1:19"), commits=0)
        fresh.stage("deploy.env", "\n")
        fresh.passed(fresh.commit())

    @pytest.mark.parametrize("arguments", [["--all"], ["deploy.env"], ["--include", "deploy.env"]], ids=" ".join)
    def test_content_that_commit_stages_is_read(self, leaking: Repository, arguments: Sequence[str]) -> None:
        """Content that `git commit` itself stages, in another index, is read."""
        leaking.refused(leaking.commit(*arguments), FOUND("deploy.env:1:19"))

    def test_commit_from_a_subdirectory_is_read_as_a_whole(self, leaking: Repository) -> None:
        """A commit from a subdirectory is read as a whole, with the revocation list of the repository."""
        key = leaking.key()
        leaking.stage("config/revoked.fingerprints", fingerprint_of(key))
        leaking.stage("src/deep/notes.txt", f"{key}\n")
        ran = leaking.commit("--all", cwd=leaking.root / "src" / "deep")
        known = KNOWN("a key", "src/deep/notes.txt:1:1", "revocation list")
        leaking.refused(ran, FOUND("deploy.env:1:19"), known)

    def test_hook_of_init(self, tmp_path: Path) -> None:
        """The hook of `init` stops a commit with a live or revoked key, or of a key file. It says if it had no key."""
        require_pre_commit()
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        home = {"PRE_COMMIT_HOME": str(tmp_path / "home"), "PRE_COMMIT_COLOR": "never", "PATH": path}
        repository = initialised(tmp_path / "repository", environment() | home)
        revoked, live = repository.key(), repository.key()
        command = ["-m", "robodj_secretguard", "init", "--yes"]
        assert run(command, env=repository.environ, cwd=repository.root).status == 0
        repository.pre_commit("install")
        repository.git("add", ".")
        ran = repository.commit()
        repository.passed(ran)
        assert "note: keys: no valid key is set, recorded or revoked here" in ran.out + ran.err
        repository.stage("config/revoked.fingerprints", f"{fingerprint_of(revoked)}\n")
        repository.stage("notes.txt", revoked)
        repository.refused(repository.commit(), KNOWN("a key", "notes.txt:1:1", "revocation list"))
        repository.environ[V1] = live
        repository.stage("notes.txt", live)
        repository.refused(repository.commit(), KNOWN("secret.key", "notes.txt:1:1", "environment"))
        repository.git("rm", "-f", "--cached", "notes.txt")
        repository.stage("config/secret.key", live)
        tracked = (
            "tracked-key-file: config/secret.key in the index: git tracks this key file, which is more than a template"
        )
        at = KNOWN("secret.key", "config/secret.key:1:1", "environment, file:config/secret.key")
        repository.refused(repository.commit(), at, f"ALERT: secret.key: {tracked} (FP)")
