"""The pre-commit hook, as pre-commit itself installs and runs it: what it refuses to commit, and what it lets pass."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import Machine, fingerprint_of, machine_at, rotated
from conftest import NOW, V1, V2, Ran, clean_environment, good_keys, run
from repositories import NO_CONFIGURATION

from robodj_secretguard.scan.result import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
REQUIRED = "SECRETGUARD_HOSTS_REQUIRED"
"""The variable with which a missing pre-commit is a failure."""
MANIFEST = ".pre-commit-hooks.yaml"
BUILT_FROM = ("src", "pyproject.toml", "README.md", "LICENSE", MANIFEST)
"""What pre-commit clones, and builds the hook's environment of."""
DAY = timedelta(days=1)
HOOK = "robodj-secretguard-scan"
INSTALL_SECONDS = 600
IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@robodj.example"))
}


@dataclass(frozen=True)
class Repository:
    """A repository whose commits the hook looks at.

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
        """Run pre-commit, which does what it is asked to."""
        ran = run(["-m", "pre_commit", *arguments], env=self.environ, cwd=self.root, timeout=INSTALL_SECONDS)
        assert ran.status == 0, ran.out + ran.err

    def key(self, variable: str = V1) -> str:
        """Make a key that must not show."""
        self.keys.append(good_keys()[variable])
        return self.keys[-1]

    def write(self, name: str, text: str) -> Path:
        """Put a file into the work tree."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def stage(self, name: str, text: str) -> None:
        """Put a file into the work tree and the index, whatever is ignored."""
        self.write(name, text)
        assert self.git("add", "--force", name).status == 0

    def commit(self, *arguments: str, cwd: Path | None = None) -> Ran:
        """Let git commit, with the hook."""
        return self.git("commit", "--message", "a change", *arguments, cwd=cwd)

    @property
    def commits(self) -> int:
        """How many commits there are."""
        return len(self.git("rev-list", "--all").out.splitlines())


def initialised(root: Path, environ: dict[str, str]) -> Repository:
    """Make an empty repository."""
    root.mkdir()
    repository = Repository(root, environ)
    assert repository.git("init", "--quiet").status == 0
    return repository


def copy_of(repository: Repository, root: Path) -> Repository:
    """Copy a repository, with its hooks and without its keys."""
    shutil.copytree(repository.root, root, symlinks=True)
    return Repository(root, dict(repository.environ))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository without a commit, into which pre-commit has installed the hook of this very source."""
    if importlib.util.find_spec("pre_commit") is None or shutil.which("git") is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)("pre-commit or git is not installed")
    base = tmp_path_factory.mktemp("pre-commit")
    own = {
        name: value
        for name, value in clean_environment().items()
        if not name.startswith(("GIT_", "PRE_COMMIT")) and name not in {"SKIP", "PYTHONPATH"}
    }
    environ = own | IDENTITY | NO_CONFIGURATION
    environ |= {"PRE_COMMIT_HOME": str(base / "home"), "PRE_COMMIT_COLOR": "never"}
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
    hooks = f"repos:\n- repo: {source.root}\n  rev: {revision}\n  hooks:\n  - id: {HOOK}\n"
    made.stage(".pre-commit-config.yaml", hooks)
    made.pre_commit("install", "--install-hooks")
    return made


@pytest.fixture
def fresh(template: Repository, tmp_path: Path) -> Repository:
    """A repository with the hook, and without a commit."""
    return copy_of(template, tmp_path / "repository")


@pytest.fixture
def repository(fresh: Repository) -> Repository:
    """A repository with the hook and one commit."""
    fresh.write("app.py", "print('hello')\n")
    fresh.git("add", ".")
    assert fresh.commit("--no-verify").status == 0
    return fresh


def alerts(ran: Ran) -> list[str]:
    """Return what was found, without the fingerprints."""
    return [re.sub(r"sgfp1:[0-9a-f]{32}", "FP", line) for line in ran.alerts]


def refused(repository: Repository, ran: Ran, *expected: str) -> None:
    """Make sure that a commit was refused, for these findings alone."""
    assert (ran.status, alerts(ran)) == (1, list(expected)), ran.out + ran.err
    assert f"- hook id: {HOOK}\n- exit code: 1\n" in ran.out + ran.err
    assert repository.commits == 1


def passed(repository: Repository, ran: Ran, *, commits: int = 2) -> None:
    """Make sure that there is a further commit, which the hook has looked at."""
    assert (ran.status, ran.alerts) == (0, []), ran.out + ran.err
    assert re.search(r"^keys in what is committed\.+Passed$", ran.out + ran.err, re.MULTILINE)
    assert repository.commits == commits


def assigned(place: str, variable: str = V1) -> str:
    """Return the line of an assignment that was found."""
    name = {V1: "secret.key", V2: "secret_v2.key"}[variable]
    what = "the variable is given what would pass as the key, raw"
    return f"ALERT: {name}: {Rule.ASSIGNED_KEY}: {place} in the index: {what} (FP)"


def test_the_manifest(template: Repository) -> None:
    """Pre-commit accepts it, and it has the one hook."""
    template.pre_commit("validate-manifest", str(ROOT / MANIFEST))
    assert re.findall(r"^- id: (.*)$", (ROOT / MANIFEST).read_text(encoding="utf-8"), re.MULTILINE) == [HOOK]


def test_the_hook_is_what_was_built(template: Repository) -> None:
    """It runs in an environment of its own, which has no package of the tests."""
    (program,) = Path(template.environ["PRE_COMMIT_HOME"]).glob("repo*/py_env-*/bin/robodj-secretguard")
    packages = run(["-m", "pip", "--python", str(program.parent / "python"), "list"], env=template.environ, cwd=ROOT)
    assert ("robodj-secretguard" in packages.out, "pytest" in packages.out) == (True, False)


class TestRefused:
    """A commit that would put a key into history."""

    @pytest.mark.parametrize("variable", [V1, V2])
    def test_an_assignment(self, repository: Repository, variable: str) -> None:
        """A declared variable that is given a key which nobody has recorded."""
        repository.stage("deploy.env", f"# production\n{variable}={repository.key(variable)}\n")
        refused(repository, repository.commit(), assigned(f"deploy.env:2:{len(variable) + 2}", variable))

    def test_a_revoked_key(self, repository: Repository) -> None:
        """Its text, anywhere, while the list has its fingerprint."""
        key = repository.key()
        repository.stage("config/revoked.fingerprints", fingerprint_of(key))
        repository.stage("docs/incident.md", f"# Notes\n\nSomebody pasted `{key}` into the chat.\n")
        what = "the key, raw (known by: revocation list; FP)"
        refused(
            repository,
            repository.commit(),
            f"ALERT: a key: {Rule.KNOWN_KEY}: docs/incident.md:3:18 in the index: {what}",
        )

    def test_a_recorded_key(self, repository: Repository) -> None:
        """Its text, anywhere, while the operations log on this machine has its fingerprint."""
        key = repository.key(V2)
        (repository.root / "config").mkdir(mode=0o700)
        Machine(repository.root).record(rotated(NOW - 99 * DAY, fingerprint_of(key), secret="secret_v2.key"))  # noqa: S106 - a name
        repository.stage("tests/data.json", f'{{"signed with": "{key}"}}\n')
        what = "the key, raw (known by: operations log; FP)"
        refused(
            repository,
            repository.commit(),
            f"ALERT: secret_v2.key (prod): {Rule.KNOWN_KEY}: tests/data.json:1:18 in the index: {what}",
        )

    @pytest.mark.parametrize(("file", "secret"), [("secret.key", "secret.key"), ("other.key", "a key")])
    def test_a_key_file(self, repository: Repository, file: str, secret: str) -> None:
        """Of a declared secret, or any other in `config`."""
        repository.stage(f"config/{file}", repository.key())
        what = "git tracks this key file, and it holds more than a template (FP)"
        refused(
            repository,
            repository.commit(),
            f"ALERT: {secret}: {Rule.TRACKED_KEY_FILE}: config/{file} in the index: {what}",
        )

    def test_the_options_of_a_repository(self, repository: Repository) -> None:
        """What its configuration adds as `args` is passed on: where the operations log and the revocation list are."""
        recorded, revoked = repository.key(), repository.key()
        (repository.root / "deploy").mkdir()
        elsewhere = machine_at(repository.root / "deploy")
        elsewhere.record(rotated(NOW - 99 * DAY, fingerprint_of(recorded)))
        elsewhere.write("revoked.fingerprints", fingerprint_of(revoked))
        name = ".pre-commit-config.yaml"
        hooks = (repository.root / name).read_text(encoding="utf-8")
        repository.stage(name, f"{hooks}    args: [--config-dir, deploy/config]\n")
        repository.stage("notes.txt", f"{recorded}\n{revoked}\n")
        ran = repository.commit()
        assert [line.partition(" in the index")[0] for line in ran.alerts] == [
            f"ALERT: secret.key (prod): {Rule.KNOWN_KEY}: notes.txt:1:1",
            f"ALERT: a key: {Rule.KNOWN_KEY}: notes.txt:2:1",
        ]
        assert (ran.status, repository.commits) == (1, 1)

    def test_what_is_done_about_it_is_said(self, repository: Repository) -> None:
        """Who is refused is told how to revoke, to rotate and to take the file out."""
        key = repository.key()
        repository.stage("config/secret.key", key)
        said = repository.commit()
        for line in (
            f"- robodj-secretguard revoke --fingerprint {fingerprint_of(key)} --reason 'found by a scan'",
            "- robodj-secretguard rotate plan secret.key",
            "- git rm --cached -- PATH, and put it into .gitignore: version control takes templates alone",
        ):
            assert line in (said.out + said.err).splitlines()

    def test_the_name_of_a_file(self, repository: Repository) -> None:
        """A key there is found, and the name is not shown."""
        key = repository.key()
        repository.stage("config/revoked.fingerprints", fingerprint_of(key))
        repository.stage(f"backup/{key}", "nothing\n")
        what = "the key, raw (known by: revocation list; FP)"
        refused(
            repository,
            repository.commit(),
            f"ALERT: a key: {Rule.KNOWN_KEY}: backup/[redacted], in the name itself: {what}",
        )

    def test_what_cannot_be_looked_at(self, repository: Repository) -> None:
        """A damaged operations log may hide a recorded key: nothing is committed."""
        repository.write("config/logs/secret_operations.jsonl", "{}\n")
        ran = repository.commit("--allow-empty")
        assert (ran.status, "- exit code: 2\n" in ran.out + ran.err) == (1, True)
        assert "INCOMPLETE: operations log: line 1 cannot be read" in ran.out + ran.err
        assert repository.commits == 1


class TestPassed:
    """A commit without a key."""

    def test_clean(self, repository: Repository) -> None:
        """Ordinary text, and a variable that is given none."""
        repository.stage("deploy.env", f"{V1}=${{{V1}}}\n{V2}=changeme\n")
        passed(repository, repository.commit())

    def test_a_template(self, repository: Repository) -> None:
        """Templates of key files are what version control is for, whatever their placeholder."""
        repository.stage("config/secret.key.example", "REPLACE_WITH_SECRET_KEY\n")
        repository.stage("config/secret_v2.key", "# python -m secrets\nchangeme\n")
        passed(repository, repository.commit())

    def test_the_part_that_is_not_staged(self, repository: Repository) -> None:
        """What the next commit does not take may hold a key, and is as it was afterwards."""
        repository.stage("notes.txt", "first\n")
        path = repository.write("notes.txt", f"first\n{V1}={repository.key()}\n")
        after = path.read_bytes()
        passed(repository, repository.commit())
        assert path.read_bytes() == after
        assert repository.git("show", "HEAD:notes.txt").out == "first\n"

    def test_a_key_that_is_taken_away(self, repository: Repository) -> None:
        """The commit that deletes it is no further leak: it is let through."""
        repository.stage("notes.txt", f"{V1}={repository.key()}\n")
        assert repository.git("commit", "--no-verify", "--message", "a leak").status == 0
        repository.git("rm", "--quiet", "notes.txt")
        passed(repository, repository.commit(), commits=3)

    def test_a_key_of_the_environment(self, repository: Repository) -> None:
        """The hook uses no key, so one that is delivered to it and recorded nowhere is not looked for."""
        key = repository.key()
        repository.environ[V1] = key
        repository.stage("notes.txt", f"{key}\n")
        passed(repository, repository.commit())


class TestHowGitCommits:
    """The index that git commits is the one that is looked at, however it is asked to."""

    @pytest.fixture
    def leaking(self, repository: Repository) -> Repository:
        """A repository with a tracked file that has got a key since its last commit."""
        repository.stage("deploy.env", "\n")
        repository.git("commit", "--quiet", "--no-verify", "--amend", "--no-edit")
        repository.git("reflog", "expire", "--expire=now", "--all")
        repository.write("deploy.env", f"{V1}={repository.key()}\n")
        return repository

    FOUND = assigned("deploy.env:1:19")

    def test_the_first_commit(self, fresh: Repository) -> None:
        """There is nothing that it could be compared with: all of it is looked at."""
        passed(fresh, fresh.commit(), commits=1)

    def test_a_first_commit_with_a_key(self, fresh: Repository) -> None:
        """It is refused, and there is still none."""
        fresh.stage("deploy.env", f"{V1}={fresh.key()}\n")
        ran = fresh.commit()
        assert (ran.status, alerts(ran), fresh.commits) == (1, [self.FOUND], 0)

    @pytest.mark.parametrize("arguments", [["--all"], ["deploy.env"], ["--include", "deploy.env"]], ids=" ".join)
    def test_what_was_not_staged(self, leaking: Repository, arguments: Sequence[str]) -> None:
        """What `commit` stages by itself, in an index of its own, is looked at."""
        refused(leaking, leaking.commit(*arguments), self.FOUND)

    def test_what_stays_staged(self, leaking: Repository) -> None:
        """A commit of one path takes nothing else: what is staged beside it is for the next one."""
        leaking.git("add", "deploy.env")
        leaking.write("app.py", "print('bye')\n")
        passed(leaking, leaking.commit("app.py"))
        ran = leaking.commit()
        assert (ran.status, alerts(ran), leaking.commits) == (1, [self.FOUND], 2)

    def test_in_a_subdirectory(self, leaking: Repository) -> None:
        """What is committed from there is the whole index, with the revocation list of the repository."""
        key = leaking.key()
        leaking.stage("config/revoked.fingerprints", fingerprint_of(key))
        leaking.stage("src/deep/notes.txt", f"{key}\n")
        ran = leaking.commit("--all", cwd=leaking.root / "src" / "deep")
        known = f"ALERT: a key: {Rule.KNOWN_KEY}: src/deep/notes.txt:1:1 in the index"
        refused(leaking, ran, self.FOUND, f"{known}: the key, raw (known by: revocation list; FP)")

    def test_in_a_linked_work_tree(self, repository: Repository, tmp_path: Path) -> None:
        """Its index and its files are looked at, and not those of the first."""
        linked = tmp_path / "linked"
        assert repository.git("worktree", "add", "--quiet", str(linked)).status == 0
        there = Repository(linked, repository.environ, repository.keys)
        repository.stage("deploy.env", f"{V1}={repository.key()}\n")
        there.stage("other.env", f"\n{V1}={there.key()}\n")
        refused(there, there.commit(), assigned("other.env:2:19"))
        there.stage("other.env", "\n")
        passed(there, there.commit())

    def test_a_merge(self, repository: Repository) -> None:
        """What another branch brings with it is looked at, once it is committed here."""
        repository.git("switch", "--quiet", "--create", "other")
        repository.stage("deploy.env", f"{V1}={repository.key()}\n")
        assert repository.commit("--no-verify").status == 0
        repository.git("switch", "--quiet", "-")
        repository.stage("app.py", f"print('{secrets.randbelow(10)}')\n")
        assert repository.commit().status == 0
        assert repository.git("merge", "--no-commit", "other").status == 0
        ran = repository.commit()
        assert (ran.status, alerts(ran), repository.commits) == (1, [self.FOUND], 3)


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its paths of programs are of POSIX")
