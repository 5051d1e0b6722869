"""`init`: what it writes, keeps and prints, and what follows it: the gate, the service, git and pre-commit."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from command_line import Machine, key_as_argument
from conftest import V1, V2, Ran, clean_environment, good_keys, posix_only, root_only, run, umask
from repositories import GIT, SETTINGS, git, made

from robodj_secretguard.cli import init as module
from robodj_secretguard.cli import main
from robodj_secretguard.cli.init import LARGEST_FILE
from robodj_secretguard.cli.layout import module_of, source_roots
from robodj_secretguard.cli.output import PASSED
from robodj_secretguard.common import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXAMPLE = Path(__file__).parent.parent / "examples" / "robodj_service"
GATE = "config/check_runtime_secrets.py"
LIST = "config/revoked.fingerprints"
OWN = "service_secrets.py"
HOOKS = ".pre-commit-config.yaml"
CREATED = [OWN, "config/secret.key.example", "config/secret_v2.key.example", GATE, LIST]
FILES = [".gitignore", *CREATED, HOOKS, "pyproject.toml"]
MODEL = "service_secrets:ServiceSecrets"
HINT = "  # or a list of secrets: the others come from the environment"
TABLE = f'[tool.robodj-secretguard]\nmodel = "{MODEL}"\nephemeral-tests = true{HINT}\n'
COMMENT = "# Every command that runs in this repository, and its tests, use the service's own model.\n"
IGNORED = (EXAMPLE / ".gitignore").read_text(encoding="utf-8").removesuffix("\n__pycache__/\n")
PLACE = "a part of its path is a link, or no directory; rename that part"
OTHERS_MAY_WRITE = 0o002


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A project without a file, and good keys."""
    root = tmp_path / "project"
    root.mkdir()
    return Machine(root)


def written(machine: Machine) -> dict[str, Any]:
    """Run `init --yes`, which succeeds, and return its document."""
    ran = machine.call("init", "--yes", "--format", "json")
    assert (ran.status, ran.err) == (0, "")
    return ran.document


def refused(machine: Machine, *argv: str) -> str:
    """Run `init --yes`, which fails, and return the error."""
    ran = machine.call("init", *argv, "--yes")
    assert (ran.status, ran.out) == (2, "")
    return ran.err.removeprefix("robodj-secretguard: ")


def contents(machine: Machine) -> dict[str, bytes]:
    """Return the content of each regular file below the project."""
    paths = sorted(path for path in machine.root.rglob("*") if path.is_file())
    return {path.relative_to(machine.root).as_posix(): path.read_bytes() for path in paths}


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

    def test_without_yes_changes_are_shown(self, machine: Machine) -> None:
        """Without `--yes`, it shows each change and what stays, and writes nothing."""
        machine.put("pyproject.toml", "[a]\n")
        machine.put(LIST, "# ours\n")
        before = contents(machine)
        ran = machine.call("init")
        assert (ran.status, ran.err) == (1, "robodj-secretguard: nothing was written; to write, add --yes\n")
        shown = "".join(f"+ {line}\n" for line in (COMMENT + TABLE).splitlines())
        stays = f"These files exist and stay as they are:\n  {LIST}\n"
        assert ran.out.endswith(f"pyproject.toml:\n{shown}\n{stays}\n")
        assert 'service_secrets.py (new file):\n+ """The service\'s secrets' in ran.out
        assert contents(machine) == before

    def test_what_is_left_is_printed(self, machine: Machine) -> None:
        """With `--yes`, it writes the files, and prints what is left in at most 80 columns."""
        ran = machine.call("init", "--yes")
        assert (ran.status, ran.err) == (0, "")
        left = ran.out.partition("What is left:\n")[2].splitlines()
        assert max(map(len, left)) <= 80
        assert "     from service_secrets import ServiceSecrets" in left
        assert git_add(ran.out) == FILES

    def test_second_run_has_nothing_to_do(self, machine: Machine) -> None:
        """In a project that is set up, nothing is shown but the files that stay."""
        machine.call("init", "--yes")
        again = machine.call("init", "--yes")
        assert (again.status, again.err) == (0, "")
        assert again.out.endswith("Nothing to do: this project is set up.\n\n")

    def test_json(self, machine: Machine) -> None:
        """The document has each change, and whether it was written."""
        machine.put(".gitignore", "a\n")
        preview = machine.call("init", "--format", "json").document
        assert (preview["ok"], preview["written"], preview["kept"], preview["by_hand"]) == (False, False, [], [])
        assert [each["file"] for each in preview["changes"]] == FILES
        assert [each["file"] for each in preview["changes"] if not each["is_new"]] == [".gitignore"]
        assert preview["changes"][-1]["added"] == (COMMENT + TABLE).splitlines()
        assert preview["model"]["source"] == "default"
        model = {"name": MODEL, "source": "pyproject.toml"}
        assert written(machine) == preview | {"ok": True, "model": model, "written": True}

    def test_below_a_project(self, machine: Machine) -> None:
        """Below a directory that is set up, it is a usage error that says where to run the command."""
        machine.put("pyproject.toml", TABLE)
        (machine.root / "app" / "core").mkdir(parents=True)
        where = os.path.join("..", "..")
        why = f"this project is set up already: run the command in the directory of its pyproject.toml, {where}\n"
        below = Machine(machine.root / "app" / "core")
        assert refused(below) == why
        below.put("pyproject.toml", "[project]\nname = 'core'\n")  # another project of the repository
        assert OWN in [each["file"] for each in written(below)["changes"]]

    @posix_only
    def test_deleted_directory(self, machine: Machine) -> None:
        """A deleted working directory is a usage error."""
        with contextlib.redirect_stderr(io.StringIO()) as err:

            def call() -> int:
                machine.root.rmdir()
                return main(["init", "--yes"])

            status = machine.within(call)
        assert (status, "nothing was written: it cannot be used: No such file" in err.getvalue()) == (2, True)


class TestWritten:
    """What is written, and what stays."""

    def test_new_files_are_those_of_the_example(self, machine: Machine) -> None:
        """The example service has what `init` writes into an empty directory."""
        document = written(machine)
        assert [each["file"] for each in document["changes"]] == FILES
        of_example = {name: (EXAMPLE / name).read_bytes() for name in (*CREATED, "pyproject.toml")}
        assert {name: content for name, content in contents(machine).items() if name in of_example} == of_example
        assert contents(machine)[".gitignore"].decode() == IGNORED
        config = {path.name for path in (EXAMPLE / "config").iterdir() if path.is_file()}
        assert config == {os.path.basename(name) for name in CREATED} - {OWN}

    def test_blank_files_are_filled(self, machine: Machine) -> None:
        """An empty or blank file is filled, as an interrupted run may have left it."""
        for file in FILES:
            machine.put(file, b"\n" if file in CREATED else b"")
        written(machine)
        filled = contents(machine)
        for file in FILES:
            (machine.root / file).unlink()
        written(machine)
        assert contents(machine) == filled

    @pytest.mark.parametrize("file", [file for file in CREATED if file != GATE])
    def test_existing_file_stays(self, machine: Machine, file: str) -> None:
        """A file that exists stays byte for byte, whatever it contains."""
        machine.put(file, b"class ServiceSecrets: ...\r\n\xff")
        assert file in written(machine)["kept"]
        assert (machine.root / file).read_bytes() == b"class ServiceSecrets: ...\r\n\xff"

    def test_another_gate_is_left_to_the_user(self, machine: Machine) -> None:
        """A gate of the project's own stays, is named with the lines that replace it, and is not recommended."""
        machine.put(GATE, f"print({PASSED!r})\n")
        ran = machine.call("init", "--yes")
        assert f"{GATE} may pass a weak key. Replace its content with these lines:\n" in ran.out
        assert "- Gate a release: robodj-secretguard check --require-env-only\n" in ran.out
        (by_hand,) = written(machine)["by_hand"]
        machine.put(GATE, "\r\n".join([*by_hand["lines"], ""]))
        assert gate(machine, {V1: "A" * 43, V2: "A" * 86}) == [(1, False), (1, False)]
        assert "Nothing to do: this project is set up." in machine.call("init").out

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            (".gitignore", b"\xff\r\n*.pyc"),
            (".gitignore", b"\r\n# a\r\n"),
            ("pyproject.toml", b"[a]\r\nb = 1"),
            ("pyproject.toml", b"[tool]\r\na = 1\r\n"),
        ],
    )
    def test_lines_are_appended(self, machine: Machine, file: str, content: bytes) -> None:
        """Existing bytes stay, and the new lines come after them with the line ending of the file."""
        machine.put(file, content)
        written(machine)
        after = (machine.root / file).read_bytes()
        assert after.startswith(content)
        assert after.count(b"\n") == after.count(b"\r\n")
        added = (IGNORED if file == ".gitignore" else COMMENT + TABLE).replace("\n", "\r\n").encode()
        assert after.endswith(b"\r\n\r\n" + added)
        assert machine.call("init").status == 0

    def test_lines_are_appended_to_toml(self, machine: Machine) -> None:
        """The table is valid TOML after any other table."""
        machine.put("pyproject.toml", "[tool.a]\nb = 1\n")
        written(machine)
        tools = tomllib.loads((machine.root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
        assert tools == {"a": {"b": 1}, "robodj-secretguard": {"model": MODEL, "ephemeral-tests": True}}

    @pytest.mark.parametrize(
        "text", ["[tool.robodj-secretguard]\nstrict = true\n", "tool.robodj-secretguard.strict = true\n"]
    )
    def test_toml_of_another_form_is_left_to_the_user(self, machine: Machine, text: str) -> None:
        """Where TOML does not allow another table, its lines are printed to be pasted."""
        machine.put("pyproject.toml", text)
        assert written(machine)["by_hand"] == [
            {"file": "pyproject.toml", "lines": [*COMMENT.splitlines(), *TABLE.splitlines()]}
        ]
        assert (machine.root / "pyproject.toml").read_text(encoding="utf-8") == text
        ran = machine.call("init")
        assert (ran.status, "Add these lines to pyproject.toml by hand:\n" in ran.out) == (0, True)
        assert "Nothing to do" not in ran.out

    @pytest.mark.skipif(not GIT, reason="needs git")
    @pytest.mark.parametrize(("ignored", "is_added"), [("", True), ("*.env\n", False)])
    def test_env_is_ignored(self, machine: Machine, ignored: str, is_added: bool) -> None:  # noqa: FBT001 - a parameter
        """If there is a .env that git does not ignore, it is added to .gitignore, also where nothing else is."""
        made(machine.root)
        machine.put(".gitignore", ignored)
        machine.put(".env", "")
        assert machine.call("init", "--secret=a.url=THE_URL:url", "--yes").status == 0
        assert (b"\n.env\n" in contents(machine)[".gitignore"]) is is_added
        assert "Nothing to do" in machine.call("init").out

    @pytest.mark.skipif(not GIT, reason="needs git")
    @pytest.mark.parametrize(
        "text", ["!config/*.key.example\nconfig/*.key*\n", f"{IGNORED}!config/*\n", f"{IGNORED}# ours\nx\n"]
    )
    def test_keys_are_ignored(self, machine: Machine, text: str) -> None:
        """Git keeps the templates and ignores the keys, also where the file had such lines in another order."""
        machine.put(".gitignore", text)
        assert (".gitignore" in written(machine)["kept"]) == text.endswith("x\n")
        paths = ("config/secret.key", "config/secret.key.example")
        ignored = git(made(machine.root), "--no-literal-pathspecs", "check-ignore", *paths)
        assert ignored.split() == ["config/secret.key"]

    def test_existing_hooks_are_left_to_the_user(self, machine: Machine) -> None:
        """A configuration of pre-commit that exists stays, and the hook is printed to be pasted."""
        machine.put(HOOKS, "repos: []\n")
        (by_hand,) = written(machine)["by_hand"]
        assert (by_hand["file"], by_hand["lines"][:2]) == (HOOKS, ["  # Below repos:", "  - repo: local"])
        assert (machine.root / HOOKS).read_text(encoding="utf-8") == "repos: []\n"
        machine.put(HOOKS, "\n".join(["repos:", *by_hand["lines"]]))
        assert "Nothing to do: this project is set up." in machine.call("init").out

    @pytest.mark.parametrize(("name", "place"), [("my-service", "my-service"), ("my service", "DIRECTORY")])
    def test_hook_of_a_subdirectory(self, tmp_path: Path, name: str, place: str) -> None:
        """Below the root of its repository, a project gets no configuration of pre-commit, which nothing would read."""
        (tmp_path / ".git").mkdir()
        (tmp_path / name).mkdir()
        machine = Machine(tmp_path / name)
        document = written(machine)
        (by_hand,) = document["by_hand"]
        assert by_hand["file"] == f"../{HOOKS}"
        entry = f"robodj-secretguard scan --staged --model {MODEL}"
        assert f"        entry: sh -c 'cd ./{place} && exec {entry}'" in by_hand["lines"]
        assert HOOKS not in {*contents(machine)}
        Machine(tmp_path).put(HOOKS, "\n".join(by_hand["lines"]))
        assert "Nothing to do: this project is set up." in machine.call("init").out

    def test_named_model(self, machine: Machine) -> None:
        """If pyproject.toml names a model, no settings module is written, and no list."""
        machine.put("pyproject.toml", '[tool.robodj-secretguard]\nmodel = "app.own:Own"\n')
        document = written(machine)
        assert document["model"] == {"name": "app.own:Own", "source": "pyproject.toml"}
        assert "pyproject.toml" in document["kept"]
        assert {*contents(machine)} == {".gitignore", GATE, HOOKS, "pyproject.toml"}
        assert "no revocation list is made" in machine.call("init").out
        assert b"--model app.own:Own\n" in contents(machine)[HOOKS]

    def test_lost_list_is_not_replaced(self, machine: Machine) -> None:
        """In a project that is set up, a lost revocation list is not replaced by an empty one."""
        written(machine)
        (machine.root / LIST).unlink()
        assert written(machine)["changes"] == []
        assert not (machine.root / LIST).exists()
        machine.put(LIST, "")
        assert written(machine)["changes"] == []

    @posix_only
    def test_links_that_stay(self, machine: Machine) -> None:
        """A link to a complete file stays, also in a linked directory."""
        written(machine)
        outside = machine.root.parent / "outside"
        outside.mkdir()
        for name in ("config", ".gitignore"):
            (machine.root / name).rename(outside / name)
            (machine.root / name).symlink_to(outside / name)
        assert written(machine)["changes"] == []

    @posix_only
    @pytest.mark.parametrize("file", [".gitignore", "pyproject.toml"])
    def test_link_is_left_to_the_user(self, machine: Machine, file: str) -> None:
        """A link is not replaced by a file: the lines are printed to be pasted."""
        target = machine.root.parent / "target"
        target.write_text("#\n", encoding="utf-8")
        (machine.root / file).symlink_to(target)
        assert [each["file"] for each in written(machine)["by_hand"]] == [file]
        assert target.read_text(encoding="utf-8") == "#\n"

    @posix_only
    @pytest.mark.parametrize("mask", [0, 0o002, 0o077])
    def test_others_cannot_write(self, machine: Machine, mask: int) -> None:
        """Others cannot write a new file or directory, with any umask. Others may not write an extended file either."""
        machine.put("pyproject.toml", "")
        machine.put(".gitignore", "a\n").chmod(0o666)  # as in a checkout with umask 0
        with umask(mask):
            written(machine)
        modes = {file: (machine.root / file).stat().st_mode for file in (*FILES, "config")}
        assert {file for file, mode in modes.items() if mode & OTHERS_MAY_WRITE} == set()
        assert modes[".gitignore"] & 0o777 == 0o664
        assert gate(machine, good_keys())[0] == (0, True)

    @root_only
    def test_owner(self, machine: Machine) -> None:
        """Root gives new files and directories to the owner of the project."""
        os.chown(machine.root, 4321, 4321)
        written(machine)
        assert {(machine.root / path).stat().st_uid for path in (*FILES, "config")} == {4321}


class TestSettings:
    """The file of the settings module."""

    def test_option(self, machine: Machine) -> None:
        """`--settings` selects another file, and the same command changes nothing afterwards."""
        machine.put("app/__init__.py", "")
        command = ("init", "--settings", os.path.join(".", "app", "own.py"), "--yes")
        assert machine.call(*command).status == 0
        assert (machine.root / "app" / LIST).exists()
        assert machine.call("check").status == 0
        assert "Nothing to do" in machine.call(*command).out

    @pytest.mark.parametrize(
        ("settings", "refusal"),
        [
            ("../own.py", "invalid file; use a path such as app/service_secrets.py, of names that Python can"),
            ("own", "invalid file; "),
            (GATE, "invalid file; "),
            ("own.py", "[tool.robodj-secretguard] in pyproject.toml names a model in another module; leave out"),
        ],
    )
    def test_invalid_option(self, machine: Machine, settings: str, refusal: str) -> None:
        """A path that cannot be the settings module is a usage error, which does not repeat it."""
        machine.put("pyproject.toml", TABLE)
        error = refused(machine, "--settings", settings)
        assert error.startswith(f"--settings: {refusal}")
        assert settings.removesuffix(".py") not in error.replace("own model", "").replace("in another module", "")
        assert [*contents(machine)] == ["pyproject.toml"]

    @pytest.mark.parametrize(
        ("files", "settings"),
        [
            ([], OWN),
            (["src/shop/__init__.py", "src/shop.egg-info/PKG-INFO"], f"src/shop/{OWN}"),
            (["src/main.py"], f"src/{OWN}"),
            (["src/my-shop/__init__.py"], OWN),
        ],
    )
    def test_default(self, machine: Machine, files: list[str], settings: str) -> None:
        """It is in the only package, with the list. Otherwise it is next to the other modules."""
        for file in files:
            machine.put(file, "")
        document = written(machine)
        assert document["changes"][1]["file"] == settings
        assert document["model"]["name"] == f"{'shop.' if 'shop' in settings else ''}{MODEL}"
        assert settings.replace(OWN, LIST) in contents(machine)
        assert written(machine)["changes"] == []

    @pytest.mark.parametrize(
        ("file", "name"),
        [
            (OWN, "service_secrets"),
            ("app/core/own.py", "app.core.own"),
            ("src/shop/own.py", "shop.own"),
            ("src.py", "src"),
            ("service_secrets", None),
            ("app/__init__.py", None),
            ("app/__main__.py", None),
            ("../own.py", None),
            ("/app/own.py", None),
            ("my-app/own.py", None),
            ("app/class.py", None),
            ("\u00fcber/own.py", None),
            ("secrets.py", None),
            ("src/logging/own.py", None),
            (f"{'a' * 500}.py", None),
        ],
    )
    def test_name_of_the_module(self, machine: Machine, file: str, name: str | None) -> None:
        """The name follows from the path, without `src`. A name that cannot be imported is invalid."""
        assert machine.within(lambda: module_of(file, source_roots({}))) == name

    def test_name_in_a_package_src(self, machine: Machine) -> None:
        """If `src` is a package, its name stays."""
        machine.put("src/__init__.py", "")
        assert machine.within(lambda: module_of("src/own.py", source_roots({}))) == "src.own"


class TestSecrets:
    """The secrets of the project's own, with `--secret`."""

    OPTIONS = ("--secret", "session.key=SESSION_KEY", "--secret", "database.url=DATABASE_URL:url")

    @staticmethod
    def check(machine: Machine) -> Ran:
        """Run the gate in a process, which imports the module that was written."""
        command = ["-m", "robodj_secretguard", "check", "--format", "json"]
        return run(command, env=clean_environment() | machine.environ, cwd=machine.root)

    def test_model(self, machine: Machine) -> None:
        """The model declares these secrets alone. The project gets a list, and nothing of RoboDJ's."""
        machine.put("shop/__init__.py", "")
        assert machine.call("init", *self.OPTIONS, "--yes").status == 0
        files = {".gitignore", HOOKS, "pyproject.toml", f"shop/{OWN}", f"shop/{LIST}", "shop/__init__.py"}
        assert {*contents(machine)} == files
        text = b"".join(contents(machine).values()).lower()
        assert not re.search(rb"robodj(?![_-]secretguard)", text)
        report = self.check(machine).document
        assert [(each["secret"], each["check"]) for each in report["findings"]] == [
            ("session.key", "missing"),
            ("database.url", "missing"),
        ]
        machine.environ.update(SESSION_KEY=key_as_argument(), DATABASE_URL=f"postgresql://a:{key_as_argument()}@db/a")
        assert self.check(machine).status == 0

    def test_again(self, machine: Machine) -> None:
        """The same options and none change nothing afterwards. For more secrets, the declarations are printed."""
        machine.call("init", *self.OPTIONS, "--yes")
        for options in (self.OPTIONS, ()):
            assert "Nothing to do" in machine.call("init", *options, "--yes").out
        assert "has that name with another variable" in refused(machine, "--secret=session.key=OTHER_KEY")
        more = ("init", *self.OPTIONS, "--secret", "mail.password=MAIL_PASSWORD:opaque", "--yes", "--format", "json")
        (by_hand,) = machine.call(*more).document["by_hand"]
        assert by_hand["file"] == OWN
        assert by_hand["lines"][0] == '# In the brackets of SecretSettings[Literal[...]]: "mail.password"'
        field = "\n".join(by_hand["lines"][2:])
        module = machine.root / OWN
        text = module.read_text(encoding="utf-8").replace('"database.url"]', '"database.url", "mail.password"]')
        module.write_text(f"{text}{field}\n", encoding="utf-8")
        assert "Nothing to do" in machine.call(*more[:-2]).out
        assert [each["secret"] for each in self.check(machine).document["secrets"]] == [
            "session.key",
            "database.url",
            "mail.password",
        ]

    def test_another_model(self, machine: Machine) -> None:
        """If the model is in a module that `init` did not write, the secrets are declared there by hand."""
        machine.put("pyproject.toml", '[tool.robodj-secretguard]\nmodel = "app.own:Own"\n')
        assert refused(machine, *self.OPTIONS).startswith("--secret: [tool.robodj-secretguard] in pyproject.toml names")

    def test_issued_secrets_alone(self, machine: Machine) -> None:
        """Secrets that somebody else issues get a list as well: a key that is added later can be revoked."""
        kinds = [f"--secret={kind}=THE_{kind.upper()}:{kind}" for kind in ("url", "pem", "json", "opaque")]
        assert machine.call("init", *kinds, "--yes").status == 0
        assert LIST in contents(machine)
        assert self.check(machine).status == 1
        assert "Nothing to do" in machine.call("init", "--yes").out

    @pytest.mark.parametrize(
        ("options", "refusal"),
        [
            (["session.key"], "invalid; use NAME=VARIABLE, such as session.key=SESSION_KEY"),
            (["a=ABCDE:ulr"], "invalid; use NAME=VARIABLE"),
            (["a=ABCDE:"], "invalid; use NAME=VARIABLE"),
            (["a b=ABCDE"], "invalid name: letters, digits, dot, hyphen and underscore only"),
            (["a=abcde"], "invalid variable: a letter, then four or more of A-Z, 0-9 and underscore"),
            (["a=ABCDE", "b=ABCDE"], "two secrets have the same variable; use another one"),
            (["a=ABCDE", "a=ABCDF"], "the model declares two secrets that share a name"),
            (["a=ABCDE", "b=ABCDE_NEXT"], "the model declares two secrets that share a variable"),
            (["a=ROBODJ_CONFIG_DIR"], "the model declares two secrets that share a variable, or one that this"),
        ],
    )
    def test_invalid(self, machine: Machine, options: list[str], refusal: str) -> None:
        """An option that no model can declare is a usage error, which does not repeat it."""
        assert refused(machine, *(f"--secret={each}" for each in options)).startswith(f"--secret: {refusal}")
        assert contents(machine) == {}

    def test_optional(self, machine: Machine) -> None:
        """A secret that is declared as optional may be missing."""
        options = ("--secret=mail.password=MAIL_PASSWORD:opaque:optional", "--secret=second.key=SECOND_KEY:optional")
        assert machine.call("init", *options, "--yes").status == 0
        assert self.check(machine).status == 0
        assert contents(machine)[OWN].count(b"        SecretStr | None,\n") == len(options)

    def test_schemes(self, machine: Machine) -> None:
        """A URL has the schemes that its variable says, so a client accepts its temporary values."""
        options = [f"--secret={name}={name}_URL:url" for name in ("REDIS", "MONGO", "REDIS_SENTINEL")]
        assert machine.call("init", *options, "--yes").status == 0
        text = contents(machine)[OWN].decode()
        assert re.findall(r"material=Material\.(.*),$", text, re.MULTILINE) == [
            'url("redis", "rediss")',
            'url("mongodb", "mongodb+srv")',
            "url()",
        ]
        program = "import os; print(os.environ['REDIS_URL'].partition('://')[0])"
        command = ["-m", "robodj_secretguard", "exec", "--ephemeral", "--", sys.executable, "-c", program]
        assert run(command, env=clean_environment(), cwd=machine.root).out == "redis\n"

    def test_names_of_fields(self, machine: Machine) -> None:
        """A field has a name that Python and the model allow."""
        options = [f"--secret={number}.key={name}" for number, name in enumerate(("REFRESH", "RAISE", "SIGNING_KEY"))]
        assert machine.call("init", *options, "--yes").status == 0
        fields = re.findall(r"^    (\w+): Annotated\[$", contents(machine)[OWN].decode(), re.MULTILINE)
        assert fields == ["refresh_secret", "raise_secret", "signing_key"]
        assert self.check(machine).status == 1


class TestRefused:
    """What cannot be written."""

    @pytest.mark.parametrize(
        ("file", "content", "refusal"),
        [
            ("config", "a", f"config/secret.key.example: {PLACE}"),
            (f"{LIST}/a", "", f"{LIST}: it is not a regular file"),
            ("pyproject.toml/a", "", "pyproject.toml cannot be read; make it"),
            (
                "pyproject.toml",
                TABLE.replace(":", ":\\n"),
                "in pyproject.toml: invalid model; write it as package.module:Class",
            ),
            ("platform/__init__.py", "", "the package has the name of a module of Python; pass --settings FILE"),
            (".gitignore/a", "", ".gitignore: it is not a regular file"),
            (
                ".gitignore",
                "a\n".encode("utf-16"),
                f".gitignore: it is larger than {LARGEST_FILE} bytes, or not UTF-8",
            ),
            (
                ".gitignore",
                b"#" * (LARGEST_FILE + 1),
                f".gitignore: it is larger than {LARGEST_FILE} bytes",
            ),
            (OWN, "a = 1", f"{OWN}: it exists and has no class ServiceSecrets; pass --settings FILE with another"),
        ],
    )
    def test_nothing_is_written(self, machine: Machine, file: str, content: str | bytes, refusal: str) -> None:
        """If a file that is there is in the way, nothing is written. The refusal names the file."""
        machine.put(file, content)
        before = contents(machine)
        assert refusal in refused(machine)
        assert contents(machine) == before

    @posix_only
    @pytest.mark.parametrize(
        ("link", "target", "refusal"),
        [
            ("config", "../outside", f"config/secret.key.example: {PLACE}"),
            ("config", "nowhere", f"config/secret.key.example: {PLACE}"),
            (OWN, "../outside/blank", f"{OWN}: {PLACE}"),
            (".gitignore", "nowhere", ".gitignore: it cannot be used: No such file or directory"),
        ],
    )
    def test_links(self, machine: Machine, link: str, target: str, refusal: str) -> None:
        """Nothing is written through a link, also not in another directory."""
        (machine.root.parent / "outside").mkdir()
        (machine.root.parent / "outside" / "blank").touch()
        (machine.root / link).symlink_to(target)
        assert refused(machine) == f"nothing was written: {refusal}\n"
        assert [*machine.root.iterdir()] == [machine.root / link]

    @posix_only
    def test_pipe(self, machine: Machine) -> None:
        """A FIFO in place of a file is refused at once."""
        os.mkfifo(machine.root / ".gitignore")
        assert refused(machine) == "nothing was written: .gitignore: it is not a regular file\n"


class TestInterrupted:
    """Errors and other programs during the writing."""

    @staticmethod
    def failing(name: str, at: str, error: BaseException) -> Any:
        """Return a patch of a function that fails for one file."""
        real = getattr(module, name)

        def function(*arguments: Any, **named: Any) -> Any:
            if at in arguments:
                raise error
            return real(*arguments, **named)

        return patch.object(module, name, function)

    def test_failed_write_names_the_written_files(self, machine: Machine) -> None:
        """An error of the disk names the file, and the files that were written before it."""
        why = f"it cannot be used: {os.strerror(errno.ENOSPC)}; fix that, then run this command again\n"
        with self.failing("write_file", ".gitignore", OSError(errno.ENOSPC, "")):
            assert refused(machine) == f"nothing was written; .gitignore: {why}"
        assert contents(machine) == {}
        with self.failing("write_file", LIST, OSError(errno.ENOSPC, "")):
            done = ", ".join([".gitignore", *CREATED[:-1]])
            assert refused(machine) == f"these files were written: {done}; {LIST}: {why}"

    @pytest.mark.parametrize("at", [file for file in FILES if file != ".gitignore"])
    def test_second_run_completes(self, machine: Machine, at: str) -> None:
        """After a stop in the middle, another run completes the project."""
        with self.failing("write_file", at, KeyboardInterrupt()):
            assert machine.call("init", "--yes").status == 2
        assert not (machine.root / "pyproject.toml").exists()
        written(machine)
        assert [*contents(machine)] == sorted(FILES)

    @pytest.mark.parametrize("at", [".gitignore", OWN])
    def test_file_of_another_program_stays(self, machine: Machine, at: str) -> None:
        """A file that another program changes or creates in the meantime stays."""
        machine.put(".gitignore", "*.pyc\n")
        real = files.write_file if at == OWN else files.make_directory

        def late(*arguments: Any, **named: Any) -> None:
            if at in arguments or at == ".gitignore":
                machine.put(at, "its text\n")
            real(*arguments, **named)

        with patch.object(module, real.__name__, late):
            error = refused(machine)
        why = "it cannot be used: File exists" if at == OWN else "another program changed it"
        assert f"; {at}: {why}; " in error
        assert (machine.root / at).read_text(encoding="utf-8") == "its text\n"


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
        """The lines for the service main work as they are printed: it starts with keys, and is refused without."""
        left = machine.call("init", "--yes").out.partition("Begin the service main with these lines")[2]
        lines = [line[5:] for line in left.splitlines()[2:5]]
        machine.put("main.py", "\n".join(lines))
        command = ["-m", "robodj_secretguard", "exec", "--ephemeral", "--", sys.executable, "main.py"]
        ran = run(command, env=clean_environment(), cwd=machine.root)
        assert ran.status == 0, ran.err
        assert run(["main.py"], env=clean_environment(), cwd=machine.root).status == 3

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

    def test_the_gate_imports_no_init(self, machine: Machine) -> None:
        """`check` does not import the module of `init`."""
        program = (
            "import sys; from robodj_secretguard.cli import main; main(['check']);"
            "print([name for name in sys.modules if name.endswith('.init')])"
        )
        ran = run(["-c", program], env=clean_environment(), cwd=machine.root)
        assert ran.out.splitlines()[-1] == "[]"
