"""`init`: the command, and what follows it in existing projects: the gate, the service, git and pre-commit."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest
from command_line import Machine, fingerprint_of
from conftest import V1, V2, clean_environment, good_keys, posix_only, run
from repositories import GIT, SETTINGS, made

from robodj_secretguard.cli import main
from robodj_secretguard.cli.output import PASSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

GATE = "config/check_runtime_secrets.py"
FILES = [
    ".gitignore",
    "service_secrets.py",
    "config/secret.key.example",
    "config/secret_v2.key.example",
    GATE,
    "config/revoked.fingerprints",
    ".pre-commit-config.yaml",
    "pyproject.toml",
]
TABLE = '[tool.robodj-secretguard]\nmodel = "service_secrets:ServiceSecrets"\n'
FLASK = """\
from robodj_secretguard import guard
from service_secrets import ServiceSecrets
secrets = guard(ServiceSecrets)

from flask import Flask

app = Flask(__name__)
"""
PROGRAMS = os.path.dirname(sys.executable)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A project without a file, and good keys."""
    root = tmp_path / "project"
    root.mkdir()
    return Machine(root)


def gate(machine: Machine, keys: Mapping[str, str]) -> list[tuple[int, bool]]:
    """Run both forms of the gate. Return their statuses, and whether the success line is the last line."""
    commands = (["-m", "robodj_secretguard", "check"], [GATE, "--require-env-only"])
    env = clean_environment() | dict(keys)
    ended = [run(command, env=env, cwd=machine.root, keys=list(keys.values())) for command in commands]
    return [(ran.status, ran.out.splitlines()[-1:] == [PASSED]) for ran in ended]


def git_add(out: str) -> list[str]:
    """Return the files in the printed `git add` command."""
    command = out[out.index("git add") : out.index("git commit")]
    return shlex.split(command.replace("\\\n", " "))[2:]


class TestCommand:
    """The output and the exit status."""

    def test_preview(self, machine: Machine) -> None:
        """Without `--yes`, it shows each change and what stays, and writes nothing."""
        machine.put("pyproject.toml", "[a]\n")
        machine.put("config/revoked.fingerprints", "# ours\n")
        ran = machine.call("init")
        assert (ran.status, ran.err) == (1, "robodj-secretguard: nothing was written; to write, add --yes\n")
        shown = "".join(f"+ {line}\n" for line in ("", *TABLE.splitlines()))
        comment = "+ # Every command that runs in this repository checks the service's own model.\n"
        assert ran.out.endswith(
            "pyproject.toml:\n"
            + shown.replace("+ \n", f"+\n{comment}")
            + "\nThese files exist and stay as they are:\n  config/revoked.fingerprints\n\n"
        )
        assert 'service_secrets.py (new file):\n+ """The service\'s secrets' in ran.out
        assert sorted(path.name for path in machine.root.iterdir()) == ["config", "pyproject.toml"]

    def test_written(self, machine: Machine) -> None:
        """With `--yes`, it writes the files, and prints what is left in at most 80 columns."""
        ran = machine.call("init", "--yes")
        assert (ran.status, ran.err) == (0, "")
        left = ran.out.partition("What is left:\n")[2].splitlines()
        assert max(map(len, left)) <= 80
        assert len(left) <= 18
        assert "     from service_secrets import ServiceSecrets" in left
        assert "- Commit in this environment, which the hook needs:" in left
        assert "     git init" in left
        again = machine.call("init", "--yes")
        assert (again.status, again.err) == (0, "")
        assert again.out.endswith("Nothing to do: this project is set up.\n\n")
        (machine.root / GATE).unlink()
        assert (
            f"- Commit:\n     git init\n     git add {GATE}\n     git commit -m " in machine.call("init", "--yes").out
        )

    def test_what_is_left(self, machine: Machine) -> None:
        """What is left follows from the project: its package, its framework, git and its permissions."""
        (machine.root / ".git").mkdir()
        for file in ("src/shop/__init__.py", "manage.py"):
            machine.put(file, "")
        machine.put(".pre-commit-config.yaml", "repos: []\n")
        ran = machine.call("init", "--yes")
        for line in (
            "- Install the package, or set PYTHONPATH=src: python -m pip install -e .",
            "- Begin the Django settings with:",
            "     from shop.service_secrets import ServiceSecrets",
            "  Do not call guard() in shop/__init__.py: no command could import the model.",
            "- Try it without keys: robodj-secretguard exec --ephemeral -- python manage.py check",
            "     SECRET_KEY, SECRET_KEY_FALLBACKS = secret_keys(ring)",
            "  Delete the old SECRET_KEY.",
            "     pre-commit install -t pre-commit",
        ):
            assert line in ran.out.splitlines()
        assert "Add these lines to .pre-commit-config.yaml by hand, below repos:\n- repo: local\n" in ran.out
        assert 'model = "shop.service_secrets:ServiceSecrets"' in (machine.root / "pyproject.toml").read_text()

    def test_setuptools(self, machine: Machine) -> None:
        """Where setuptools searches for packages itself, the output has what it needs."""
        machine.put("shop/__init__.py", "")
        machine.put("pyproject.toml", '[project]\nname = "shop"\n')
        out = machine.call("init", "--yes").out
        assert "- setuptools would take config for a package. Add to pyproject.toml:\n" in out
        assert '     [tool.setuptools.packages.find]\n     include = ["shop*"]\n' in out

    def test_subdirectory(self, machine: Machine) -> None:
        """In a directory below the root of its repository, the hook is added by hand."""
        (machine.root.parent / ".git").mkdir()
        document = machine.call("init", "--format", "json").document
        out = machine.call("init", "--yes").out
        assert "Add these lines to .pre-commit-config.yaml in the root of the git repository by hand" in out
        assert "'cd ./project && exec robodj-secretguard scan" in out
        assert "Nothing else to do." in machine.call("init").out
        Machine(machine.root.parent).put(".pre-commit-config.yaml", "\n".join(["repos:", *document["by_hand"]]))
        out = machine.call("init").out
        assert ("by hand" in out, "Nothing to do: this project is set up." in out) == (False, True)

    @posix_only
    def test_others_can_write(self, machine: Machine) -> None:
        """The chmod command is printed that makes the gate trust the files."""
        machine.root.chmod(0o777)
        assert "\n     chmod go-w .\n" in machine.call("init", "--yes").out
        machine.root.chmod(0o755)
        assert machine.call("check").status == 0

    def test_settings(self, machine: Machine) -> None:
        """`--settings` selects another file, and the same command changes nothing afterwards."""
        machine.put("app/__init__.py", "")
        command = ("init", "--settings", os.path.join(".", "app", "own.py"), "--yes")
        assert machine.call(*command).status == 0
        assert "parent.parent\n" in (machine.root / "app" / "own.py").read_text(encoding="utf-8")
        assert machine.call("check").status == 0
        assert "Nothing to do" in machine.call(*command).out

    @pytest.mark.parametrize(("model", "is_new"), [("service_secrets:ServiceSecrets", True), ("app.own:Own", False)])
    def test_named_model(self, machine: Machine, model: str, is_new: bool) -> None:  # noqa: FBT001 - a parameter
        """If pyproject.toml names a model, the settings module is written only if it is that model and is missing."""
        machine.put("pyproject.toml", f'[tool.robodj-secretguard]\nmodel = "{model}"\n')
        document = machine.call("init", "--yes", "--format", "json").document
        assert document["model"] == {"name": model, "source": "pyproject.toml"}
        assert (machine.root / "service_secrets.py").exists() == is_new
        assert ("no revocation list is made" in machine.call("init").out) != is_new

    @pytest.mark.parametrize(
        ("settings", "refusal"),
        [
            ("../own.py", "invalid file; use a path such as app/service_secrets.py, of names that Python can"),
            ("own", "invalid file; "),
            ("no/own.py", "the directory of the file does not exist; create it first, or correct the path"),
            ("own.py", "[tool.robodj-secretguard] in pyproject.toml names a model in another module; leave out"),
        ],
    )
    def test_wrong_settings(self, machine: Machine, settings: str, refusal: str) -> None:
        """A path that cannot be the settings module is a usage error, which does not repeat it."""
        machine.put("pyproject.toml", TABLE)
        ran = machine.call("init", "--settings", settings, "--yes")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"robodj-secretguard: --settings: {refusal}")
        assert settings.removesuffix(".py") not in ran.err.replace("own model", "").replace("in another module", "")
        assert [path.name for path in machine.root.iterdir()] == ["pyproject.toml"]

    def test_below_a_project(self, machine: Machine) -> None:
        """Below a directory that is set up, it is a usage error that says where to run the command."""
        machine.put("pyproject.toml", TABLE)
        (machine.root / "app" / "core").mkdir(parents=True)
        ran = Machine(machine.root / "app" / "core").call("init", "--yes")
        where = os.path.join("..", "..")
        why = f"this project is set up already: run the command in the directory of its pyproject.toml, {where}"
        assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {why}\n")

    @posix_only
    def test_deleted_directory(self, machine: Machine) -> None:
        """A deleted working directory is a usage error."""
        with contextlib.redirect_stderr(io.StringIO()) as err:

            def call() -> int:
                machine.root.rmdir()
                return main(["init", "--yes"])

            status = machine.within(call)
        assert (status, "the working directory does not exist; change to" in err.getvalue()) == (2, True)

    def test_refusal(self, machine: Machine) -> None:
        """A file that cannot be written is a usage error."""
        machine.put("config", "")
        ran = machine.call("init", "--yes")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.endswith("config/revoked.fingerprints: config is not a directory; rename it\n")

    def test_json(self, machine: Machine) -> None:
        """The document has each change, and whether it was written."""
        machine.put(".gitignore", "a\n")
        preview = machine.call("init", "--format", "json").document
        assert (preview["ok"], preview["written"], preview["kept"], preview["by_hand"]) == (False, False, [], [])
        assert [each["file"] for each in preview["changes"]] == FILES
        assert [each["file"] for each in preview["changes"] if not each["is_new"]] == [".gitignore"]
        assert preview["changes"][-1]["added"][1:] == TABLE.splitlines()
        assert preview["model"]["source"] == "default"
        document = machine.call("init", "--yes", "--format", "json").document
        model = {"name": "service_secrets:ServiceSecrets", "source": "pyproject.toml"}
        assert document == preview | {"ok": True, "model": model, "written": True}


def django(machine: Machine) -> None:
    """Start a Django project whose settings package has the name of the config directory."""
    ran = run(["-m", "django", "startproject", "config", "."], env=clean_environment(), cwd=machine.root)
    assert ran.status == 0, ran.err


class TestProjects:
    """Existing projects, in real processes."""

    @pytest.mark.parametrize("make", [lambda _: None, django], ids=["empty", "django"])
    def test_the_gate(self, machine: Machine, make: Callable[[Machine], None]) -> None:
        """After `init --yes` the gate passes with good keys and fails without them."""
        make(machine)
        assert machine.call("init", "--yes").status == 0
        assert gate(machine, good_keys()) == [(0, True), (0, True)]
        assert gate(machine, {}) == [(1, False), (1, False)]

    def test_the_printed_lines(self, machine: Machine) -> None:
        """The lines for Django's settings work as they are printed: it starts with keys, and is refused without."""
        django(machine)
        left = machine.call("init", "--yes").out.partition("Begin the Django settings with:\n")[2]
        lines = [line[5:] for line in left.partition("  Delete ")[0].splitlines()]
        machine.put("settings.py", "\n".join(lines))
        check = ["-m", "django", "check", "--settings", "settings", "--pythonpath", "."]
        command = ["-m", "robodj_secretguard", "exec", "--ephemeral", "--", sys.executable, *check]
        ran = run(command, env=clean_environment(), cwd=machine.root)
        assert ran.status == 0, ran.err
        assert run(check, env=clean_environment(), cwd=machine.root).status == 3

    @pytest.mark.skipif(not GIT, reason="needs git")
    def test_what_git_ignores(self, machine: Machine) -> None:
        """Files that git ignores, and key files that it does not, are named also where nothing else is to be done."""
        made(machine.root)
        machine.put(".gitignore", "*.fingerprints\n")
        machine.put("config/.gitignore", "!secret.key\n")
        for out in (machine.call("init", "--yes").out, machine.call("init").out):
            faults = [line for line in out.splitlines() if line.startswith("- git ")]
            assert len(faults) == 2
            assert "     config/revoked.fingerprints" in out.splitlines()
            assert "     config/secret.key" in out.splitlines()
        assert "this project is set up" not in machine.call("init").out

    @pytest.mark.skipif(not GIT, reason="needs git")
    def test_git(self, machine: Machine) -> None:
        """The printed `git add` command adds every new file."""
        made(machine.root)
        files = git_add(machine.call("init", "--yes").out)
        assert files == FILES
        env = clean_environment() | SETTINGS
        added = run([GIT, "add", *files], env=env, cwd=machine.root, python=False)
        listed = run([GIT, "ls-files"], env=env, cwd=machine.root, python=False)
        assert (added.status, sorted(listed.out.split())) == (0, sorted(FILES))

    @pytest.mark.full
    @pytest.mark.skipif(importlib.util.find_spec("pre_commit") is None or not GIT, reason="needs pre-commit and git")
    @pytest.mark.parametrize("existing", ["", "repos:\n-   repo: meta\n    hooks:\n    -   id: identity\n"])
    def test_pre_commit(self, machine: Machine, existing: str) -> None:
        """The real pre-commit stops a commit with a revoked key, and a commit of a key file."""
        if existing:
            machine.put(".pre-commit-config.yaml", existing)
        made(machine.root)
        files = git_add(machine.call("init", "--yes").out)
        home = {"PRE_COMMIT_HOME": str(machine.root.parent / "home"), "PRE_COMMIT_COLOR": "never"}
        path = os.pathsep.join([PROGRAMS, os.environ["PATH"]])
        env = clean_environment() | SETTINGS | home | {"PATH": path}
        keys = good_keys()
        machine.put("config/revoked.fingerprints", f"{fingerprint_of(keys[V2])}\n")

        def git(*arguments: str) -> tuple[int, str]:
            ran = run([GIT, *arguments], env=env, cwd=machine.root, keys=list(keys.values()), python=False)
            return ran.status, ran.out + ran.err

        assert run(["-m", "pre_commit", "install"], env=env, cwd=machine.root).status == 0
        assert git("add", *files)[0] == 0
        status, out = git("commit", "-m", "a")
        assert (status, "keys in what is committed" in out) == (0, True), out
        machine.put("notes.txt", keys[V2])
        git("add", "notes.txt")
        status, out = git("commit", "-m", "b")
        assert (status, "known by: revocation list" in out) == (1, True), out
        git("rm", "-f", "--cached", "notes.txt")
        machine.put("config/secret.key", keys[V1])
        assert git("add", "config/secret.key")[0] == 1
        git("add", "--force", "config/secret.key")
        status, out = git("commit", "-m", "c")
        assert (status, "ALERT: secret.key: tracked-key-file: config/secret.key" in out) == (1, True), out

    def test_the_gate_imports_no_init(self, machine: Machine) -> None:
        """`check` does not import the modules of `init`."""
        program = (
            "import sys; from robodj_secretguard.cli import main; main(['check']);"
            "print([each for each in sys.modules if {'init', 'project'} & {*each.split('.')}])"
        )
        ran = run(["-c", program], env=clean_environment(), cwd=machine.root)
        assert ran.out.splitlines()[-1] == "[]"
