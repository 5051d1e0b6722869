"""`init`: what it writes, keeps and prints."""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from command_line import Machine, key_as_argument
from conftest import posix_only, root_only, umask
from repositories import GIT, git, made

from robodj_secretguard.cli import main
from robodj_secretguard.cli.layout import LARGEST_FILE
from robodj_secretguard.common import files

EXAMPLE = Path(__file__).parent.parent / "examples" / "robodj_service"
GATE = "config/check_runtime_secrets.py"
LIST = "config/revoked.fingerprints"
OWN = "service_secrets.py"
HOOKS = ".pre-commit-config.yaml"
CREATED = [OWN, "config/secret.key.example", "config/secret_v2.key.example", LIST, GATE]
FILES = [".gitignore", *CREATED, HOOKS, "pyproject.toml"]
MODEL = "service_secrets:ServiceSecrets"
TABLE = (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
IGNORED = (EXAMPLE / ".gitignore").read_text(encoding="utf-8").removesuffix("\n__pycache__/\n")
NAMED = '[tool.robodj-secretguard]\nmodel = "app.own:Own"\n'
PLACE = "a part of its path is a link, or no directory; rename that part"
DONE = "Nothing to do: this project is set up.\n"
SECRETS = ("--secret", "session.key=SESSION_KEY", "--secret", "database.url=DATABASE_URL:url")

PROJECT = '[project]\nname = "shop"\n'
SETUPTOOLS = f'[build-system]\nbuild-backend = "setuptools.build_meta"\n\n{PROJECT}'
HATCH = f'[build-system]\nbuild-backend = "hatchling.build"\n\n{PROJECT}'


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A project without a file, and good keys. Its modules are forgotten at the end."""
    (root := tmp_path / "project").mkdir()
    before = {*sys.modules}
    yield Machine(root)
    for name in {*sys.modules} - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def put(machine: Machine, files: dict[str, str]) -> None:
    """Write the files of a project."""
    for file, text in files.items():
        machine.put(file, text)


def written(machine: Machine, *options: str) -> dict[str, Any]:
    """Run `init --yes`, which succeeds, and return its document."""
    ran = machine.call("init", "--yes", "--format", "json", *options)
    assert (ran.status, ran.err) == (0, "")
    return ran.document


def refused(machine: Machine, *options: str) -> str:
    """Run `init --yes`, which fails and writes nothing, and return the error."""
    before = contents(machine)
    ran = machine.call("init", *options, "--yes")
    assert (ran.status, ran.out, contents(machine)) == (2, "", before)
    return ran.err.removeprefix("robodj-secretguard: ")


def contents(machine: Machine) -> dict[str, bytes]:
    """Return the content of each regular file below the project."""
    paths = sorted(path for path in machine.root.rglob("*") if path.is_file())
    return {path.relative_to(machine.root).as_posix(): path.read_bytes() for path in paths if ".git" not in path.parts}


class TestCommand:
    """The output and the exit status."""

    def test_without_yes_changes_are_shown(self, machine: Machine) -> None:
        """Without `--yes`, it shows each change and what stays, and writes nothing."""
        machine.put("pyproject.toml", "[a]\n")
        machine.put(LIST, "# ours\n")
        before = contents(machine)
        ran = machine.call("init")
        assert (ran.status, ran.err) == (1, "robodj-secretguard: nothing was written; to write, add --yes\n")
        shown = "".join(f"+ {line}\n" for line in TABLE.splitlines())
        assert ran.out.endswith(f"pyproject.toml:\n{shown}\nThese files exist and stay as they are:\n  {LIST}\n\n")
        assert 'service_secrets.py (new file):\n+ """The service\'s secrets' in ran.out
        assert contents(machine) == before

    @pytest.mark.skipif(not GIT, reason="needs git")
    def test_what_is_left_is_printed(self, machine: Machine) -> None:
        """With `--yes`, the written files and what is left are printed. The printed lines start a service."""
        made(machine.root)
        out = machine.call("init", "--yes").out
        assert out.startswith(".gitignore (new file)\nservice_secrets.py (new file)\nconfig/")
        left = out.partition("What is left:\n")[2].splitlines()
        assert max(map(len, left)) <= 80
        command = shlex.split(out[out.index("git add") : out.index("git commit")].replace("\\\n", " "))
        assert command == ["git", "add", *FILES]
        git(machine.root, *command[1:])
        assert sorted(git(machine.root, "ls-files").splitlines()) == sorted(FILES)
        first = left.index("     from robodj_secretguard import guard")
        lines = "\n".join(line.strip() for line in left[first : first + 3])
        names: dict[str, Any] = {}

        def start() -> None:
            sys.path.insert(0, os.getcwd())
            exec(lines, names)  # noqa: S102 - the printed lines

        machine.within(start)
        assert names["secrets"].secret_key.current
        machine.environ.clear()
        with pytest.raises(SystemExit):
            machine.within(start)

    def test_second_run_has_nothing_to_do(self, machine: Machine) -> None:
        """In a project that is set up, nothing is shown but the files that stay."""
        written(machine)
        again = machine.call("init", "--yes")
        assert (again.status, again.err, again.out.endswith(f"{DONE}\n")) == (0, "", True)

    def test_document_has_each_change(self, machine: Machine) -> None:
        """The document has each change, and whether it was written."""
        machine.put(".gitignore", "a\n")
        preview = machine.call("init", "--format", "json").document
        assert (preview["ok"], preview["written"], preview["kept"], preview["by_hand"]) == (False, False, [], [])
        assert [change["file"] for change in preview["changes"]] == FILES
        assert [change["file"] for change in preview["changes"] if not change["is_new"]] == [".gitignore"]
        assert preview["changes"][-1]["added"] == TABLE.splitlines()
        assert preview["model"]["source"] == "default"
        model = {"name": MODEL, "source": "pyproject.toml"}
        assert written(machine) == preview | {"ok": True, "model": model, "written": True}

    def test_below_a_project(self, machine: Machine) -> None:
        """Below a directory that is set up, the error says where to run the command, unless it is another project."""
        machine.put("pyproject.toml", TABLE)
        (machine.root / "app" / "core").mkdir(parents=True)
        below = Machine(machine.root / "app" / "core")
        where = os.path.join("..", "..")
        assert refused(below) == (
            f"this project is set up already: run the command in the directory of its pyproject.toml, {where}\n"
        )
        below.put("pyproject.toml", "[project]\nname = 'core'\n")
        assert OWN in [change["file"] for change in written(below)["changes"]]


class TestWritten:
    """What is written, and what stays."""

    def test_new_files_are_those_of_the_example(self, machine: Machine) -> None:
        """The example service, whose gate and start are tested, has what `init` writes into an empty directory."""
        assert [change["file"] for change in written(machine)["changes"]] == FILES
        after = contents(machine)
        assert {file: after[file] for file in (*CREATED, "pyproject.toml")} == {
            file: (EXAMPLE / file).read_bytes() for file in (*CREATED, "pyproject.toml")
        }
        assert after[".gitignore"].decode() == IGNORED
        config = {f"config/{path.name}" for path in (EXAMPLE / "config").iterdir() if path.is_file()}
        assert config == {*CREATED} - {OWN}

    def test_blank_files_are_filled(self, machine: Machine) -> None:
        """An empty or blank file is filled, as an interrupted run may have left it."""
        for file in FILES:
            machine.put(file, "\n" if file in CREATED else "")
        assert written(machine)["kept"] == []
        assert contents(machine)[OWN] == (EXAMPLE / OWN).read_bytes()

    @pytest.mark.parametrize("file", CREATED)
    def test_existing_file_stays(self, machine: Machine, file: str) -> None:
        """A file that exists stays byte for byte, whatever it contains."""
        machine.put(file, b"class ServiceSecrets(RuntimeSecrets): ...\r\n\xff")
        assert file in written(machine)["kept"]
        assert (machine.root / file).read_bytes() == b"class ServiceSecrets(RuntimeSecrets): ...\r\n\xff"

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            (".gitignore", b"\xff\r\n*.pyc"),
            (".gitignore", b"\r\n# a\r\n"),
            ("pyproject.toml", b"[a]\r\nb = 1"),
            ("pyproject.toml", b"[tool.a]\r\nb = 1\r\n"),
        ],
    )
    def test_lines_are_appended(self, machine: Machine, file: str, content: bytes) -> None:
        """Existing bytes stay, and the new lines come after them once, with the line ending of the file."""
        machine.put(file, content)
        written(machine)
        after = (machine.root / file).read_bytes()
        added = (IGNORED if file == ".gitignore" else TABLE).replace("\n", "\r\n").encode()
        assert after == content.removesuffix(b"\r\n") + b"\r\n\r\n" + added
        assert machine.call("init").out.endswith(f"{DONE}\n")

    @pytest.mark.parametrize(
        "text", ["[tool.robodj-secretguard]\nstrict = true\n", "tool.robodj-secretguard.strict = true\n"]
    )
    def test_toml_of_another_form_is_left_to_the_user(self, machine: Machine, text: str) -> None:
        """Where TOML does not allow another table, its lines are printed to be pasted."""
        machine.put("pyproject.toml", text)
        assert written(machine)["by_hand"] == [{"file": "pyproject.toml", "lines": TABLE.splitlines()}]
        assert (machine.root / "pyproject.toml").read_text(encoding="utf-8") == text
        ran = machine.call("init")
        assert (ran.status, "Add these lines to pyproject.toml by hand:\n# Every" in ran.out) == (0, True)
        assert DONE not in ran.out

    def test_pyproject_with_a_byte_order_mark(self, machine: Machine) -> None:
        """A byte-order mark is ignored, as in every command."""
        machine.put("pyproject.toml", f"\ufeff{NAMED}")
        assert written(machine)["model"]["name"] == "app.own:Own"

    @pytest.mark.skipif(not GIT, reason="needs git")
    def test_keys_are_ignored(self, machine: Machine) -> None:
        """Git ignores the keys and a .env, and keeps the templates, also where the file said the opposite."""
        made(machine.root)
        machine.put(".gitignore", "!config/*.key*\nconfig/*.key.example\n")
        written(machine)
        paths = ("config/secret.key", "config/secret.key.example", "config/.secret.key.swp", "config/logs/a", ".env")
        ignored = git(machine.root, "--no-literal-pathspecs", "check-ignore", *paths).split()
        assert ignored == [path for path in paths if path != "config/secret.key.example"]

    def test_existing_hooks_are_left_to_the_user(self, machine: Machine) -> None:
        """A configuration of pre-commit that exists stays, and the hook is printed to be pasted."""
        machine.put(HOOKS, "repos: []\n")
        (by_hand,) = written(machine)["by_hand"]
        assert (by_hand["file"], by_hand["lines"][:2]) == (HOOKS, ["  # Below repos:", "  - repo: local"])
        assert (machine.root / HOOKS).read_text(encoding="utf-8") == "repos: []\n"
        machine.put(HOOKS, "\n".join(["repos:", *by_hand["lines"]]))
        assert DONE in machine.call("init").out

    @pytest.mark.parametrize(("name", "place"), [("my-service", "my-service"), ("my service", "DIRECTORY")])
    def test_hook_of_a_subdirectory(self, tmp_path: Path, name: str, place: str) -> None:
        """Below the root of its repository, a project gets no configuration of pre-commit, which nothing would read."""
        (tmp_path / ".git").mkdir()
        (tmp_path / name).mkdir()
        (by_hand,) = written(Machine(tmp_path / name))["by_hand"]
        assert by_hand["file"] == f"../{HOOKS}"
        entry = f"robodj-secretguard scan --staged --model {MODEL}"
        assert f"        entry: sh -c 'cd ./{place} && exec {entry}'" in by_hand["lines"]
        assert HOOKS not in contents(Machine(tmp_path / name))

    def test_project_with_a_model_gets_no_files(self, machine: Machine) -> None:
        """If pyproject.toml names a model, only .gitignore and the hook are missing."""
        machine.put("pyproject.toml", NAMED)
        document = written(machine)
        assert document["model"] == {"name": "app.own:Own", "source": "pyproject.toml"}
        assert "pyproject.toml" in document["kept"]
        assert {*contents(machine)} == {".gitignore", HOOKS, "pyproject.toml"}
        assert b"--model app.own:Own\n" in contents(machine)[HOOKS]

    def test_lost_list_is_not_replaced(self, machine: Machine) -> None:
        """In a project that is set up, a lost revocation list is not replaced by an empty one."""
        written(machine)
        (machine.root / LIST).unlink()
        assert written(machine)["changes"] == []

    @posix_only
    def test_others_cannot_write(self, machine: Machine) -> None:
        """Others cannot write a new file or directory, with any umask. Others may not write an extended file either."""
        machine.put(".gitignore", "a\n").chmod(0o666)  # as in a checkout with umask 0
        with umask(0):
            written(machine)
        modes = {file: (machine.root / file).stat().st_mode & 0o777 for file in (*FILES, "config")}
        assert modes == dict.fromkeys(FILES, 0o644) | {".gitignore": 0o664, "config": 0o755}

    @root_only
    def test_new_files_are_the_owners(self, machine: Machine) -> None:
        """Root gives new files and directories to the owner of the project."""
        os.chown(machine.root, 4321, 4321)
        written(machine)
        assert {(machine.root / path).stat().st_uid for path in (*FILES, "config")} == {4321}


class TestSecrets:
    """The secrets of the project's own, with `--secret`."""

    def test_model_has_these_secrets_alone(self, machine: Machine) -> None:
        """The model declares these secrets alone. The project gets a list, and nothing of RoboDJ's."""
        machine.put("shop/__init__.py", "")
        written(machine, *SECRETS)
        files = {".gitignore", HOOKS, "pyproject.toml", f"shop/{OWN}", f"shop/{LIST}", "shop/__init__.py"}
        assert {*contents(machine)} == files
        assert not re.search(rb"robodj(?![_-]secretguard)", b"".join(contents(machine).values()).lower())
        report = machine.call("check", "--format", "json").document
        assert [(finding["secret"], finding["check"]) for finding in report["findings"]] == [
            ("session.key", "missing"),
            ("database.url", "missing"),
        ]
        machine.environ.update(SESSION_KEY=key_as_argument(), DATABASE_URL=f"postgresql://a:{key_as_argument()}@db/a")
        assert machine.call("check").status == 0

    def test_same_options_have_nothing_to_do(self, machine: Machine) -> None:
        """The same options and none change nothing afterwards. More secrets are declared by hand."""
        written(machine, *SECRETS)
        for options in (SECRETS, ()):
            assert DONE in machine.call("init", *options, "--yes").out
        error = "--secret: this project has a settings module; declare more secrets there\n"
        assert refused(machine, *SECRETS, "--secret=mail.password=MAIL_PASSWORD:opaque") == error
        machine.put("pyproject.toml", NAMED)
        assert refused(machine, *SECRETS) == error

    def test_each_kind_is_declared(self, machine: Machine) -> None:
        """A secret has the kind of its option, and may be optional. Issued ones alone get a list as well."""
        kinds = [f"--secret={kind}=THE_{kind.upper()}:{kind}:optional" for kind in ("url", "pem", "json", "opaque")]
        written(machine, *kinds)
        text = contents(machine)[OWN].decode()
        declared = re.findall(r"Secret \| None,\n.*\n.*\n +material=Material.(.*),\n +required=False,", text)
        assert declared == ["url()", "pem()", "json()", "opaque()"]
        assert "timedelta" not in text
        assert machine.call("check").status == 0
        assert LIST in contents(machine)
        (machine.root / "pyproject.toml").unlink()  # as after an interrupted run
        assert GATE not in [change["file"] for change in written(machine)["changes"]]

    @pytest.mark.parametrize(
        ("options", "refusal"),
        [
            (["session.key"], "invalid; use NAME=VARIABLE, such as session.key=SESSION_KEY"),
            (["a=ABCDE:ulr"], "invalid; use NAME=VARIABLE"),
            (["a=ABCDE:"], "invalid; use NAME=VARIABLE"),
            (["a b=ABCDE"], "invalid name: letters, digits, dot, hyphen and underscore only"),
            (["a=abcde"], "invalid variable: a letter, then one or more of A-Z, 0-9 and underscore"),
            (["a=ABCDE", "b=ABCDE"], "two secrets have the same variable; use another one"),
            (["a=ABCDE", "a=ABCDF"], "the model declares two secrets that share a name"),
            (["a=ABCDE", "b=ABCDE_NEXT"], "the model declares two secrets that share a variable"),
            (["a=ROBODJ_CONFIG_DIR"], "the model declares two secrets that share a variable, or one that this"),
        ],
    )
    def test_invalid(self, machine: Machine, options: list[str], refusal: str) -> None:
        """An option that no model can declare is a usage error, which does not repeat it."""
        assert refused(machine, *(f"--secret={option}" for option in options)).startswith(f"--secret: {refusal}")

    def test_url_has_the_schemes_of_its_server(self, machine: Machine) -> None:
        """A URL has the schemes that its variable says, so a client accepts its temporary values."""
        options = [f"--secret={name}={name}_URL:url" for name in ("REDIS", "MONGO", "REDIS_SENTINEL")]
        assert machine.call("init", *options, "--yes").status == 0
        assert re.findall(r"material=Material\.(.*),$", contents(machine)[OWN].decode(), re.MULTILINE) == [
            'url("redis", "rediss")',
            'url("mongodb", "mongodb+srv")',
            "url()",
        ]

    def test_names_of_fields_are_allowed(self, machine: Machine) -> None:
        """A field has a name that Python and the model allow."""
        names = ("REFRESH", "RAISE", "SIGNING_KEY")
        written(machine, *(f"--secret={number}.key={name}" for number, name in enumerate(names)))
        fields = re.findall(r"^    (\w+): Annotated\[$", contents(machine)[OWN].decode(), re.MULTILINE)
        assert fields == ["refresh_secret", "raise_secret", "signing_key"]
        assert machine.call("check").status == 1


class TestBuilds:
    """What the configuration of a build needs."""

    @pytest.mark.parametrize(
        ("files", "added", "by_hand"),
        [
            ({"pyproject.toml": PROJECT}, {"MANIFEST.in": [f"include shop/{LIST}"]}, {}),
            ({"pyproject.toml": SETUPTOOLS, "MANIFEST.in": "a\n"}, {"MANIFEST.in": [f"include shop/{LIST}"]}, {}),
            ({"setup.py": "setup()"}, {}, {"setup.py": [f'package_data={{"": ["{LIST}"]}},']}),
            (
                {
                    "setup.cfg": "[metadata]\n",
                    "pyproject.toml": '[build-system]\nbuild-backend="setuptools.build_meta"\n',
                },
                {},
                {"setup.cfg": ["[options.package_data]", f"* = {LIST}"]},
            ),
            ({"setup.py": f'setup(package_data={{"": ["{LIST}"]}},)'}, {}, {}),
            ({"pyproject.toml": HATCH}, {}, {}),
            ({"pyproject.toml": "[tool.poetry]\npackage-mode = false\n"}, {}, {}),
            ({"pyproject.toml": "[tool.ruff]\n"}, {}, {}),
        ],
    )
    def test_setuptools_takes_the_list(
        self, machine: Machine, files: dict[str, str], added: dict[str, list[str]], by_hand: dict[str, list[str]]
    ) -> None:
        """Setuptools is told to take the list into the wheel. Other backends take every file of a package."""
        put(machine, {"shop/__init__.py": "", **files})
        document = written(machine, "--secret=a.key=A_KEY")
        others = {*FILES, f"shop/{OWN}", f"shop/{LIST}"}
        assert {each["file"]: each["added"] for each in document["changes"] if each["file"] not in others} == added
        assert {each["file"]: each["lines"] for each in document["by_hand"]} == by_hand

    @pytest.mark.parametrize(
        ("files", "is_written"),
        [
            ({"shop/__init__.py": "", "pyproject.toml": SETUPTOOLS}, False),
            ({"shop/__init__.py": "", "setup.py": "setup()"}, False),
            ({"shop/__init__.py": "", "pyproject.toml": SETUPTOOLS, "config/a": ""}, True),
            ({"shop/__init__.py": "", "pyproject.toml": HATCH}, True),
            ({"src/shop/__init__.py": "", "pyproject.toml": SETUPTOOLS}, True),
            ({"main.py": "", "pyproject.toml": PROJECT}, True),
        ],
    )
    def test_gate_that_setuptools_takes_for_a_package(
        self,
        machine: Machine,
        files: dict[str, str],
        is_written: bool,  # noqa: FBT001 - a parameter
    ) -> None:
        """Where the new directory of the gate could be a package, the gate is printed and not written."""
        put(machine, files)
        out = machine.call("init", "--yes").out
        assert (GATE in contents(machine)) is is_written
        assert ("Setuptools could take config/ for a package. Exclude it there, then write" in out) is not is_written


class TestRefused:
    """What cannot be written."""

    @pytest.mark.parametrize(
        ("file", "content", "refusal"),
        [
            ("config", "a", f"config/secret.key.example: {PLACE}"),
            (f"{LIST}/a", "", f"{LIST}: it is not a regular file"),
            ("pyproject.toml/a", "", "pyproject.toml cannot be read; make it"),
            ("pyproject.toml", TABLE.replace(":", ":\\n"), "invalid model; write it as package.module:Class"),
            (".gitignore/a", "", ".gitignore: it is not a regular file"),
            (".gitignore", "a\n".encode("utf-16"), f".gitignore: it is larger than {LARGEST_FILE} bytes, or not UTF-8"),
            (".gitignore", b"#" * (LARGEST_FILE + 1), f".gitignore: it is larger than {LARGEST_FILE} bytes"),
            (OWN, "a = 1", f"{OWN}: it exists and has no class ServiceSecrets; pass --settings FILE with another"),
        ],
    )
    def test_file_in_the_way(self, machine: Machine, file: str, content: str | bytes, refusal: str) -> None:
        """If a file that is there is in the way, nothing is written. The refusal names the file."""
        machine.put(file, content)
        assert refusal in refused(machine)

    @posix_only
    @pytest.mark.parametrize(
        ("link", "target", "refusal"),
        [
            ("config", "../outside", f"config/secret.key.example: {PLACE}"),
            ("config", "nowhere", f"config/secret.key.example: {PLACE}"),
            (OWN, "../outside/blank", f"{OWN}: {PLACE}"),
            (".gitignore", "../outside/blank", f".gitignore: {PLACE}"),
            (".gitignore", "nowhere", ".gitignore: it cannot be used: No such file or directory"),
        ],
    )
    def test_links(self, machine: Machine, link: str, target: str, refusal: str) -> None:
        """Nothing is written through a link, also not in another directory."""
        (machine.root.parent / "outside").mkdir()
        (machine.root.parent / "outside" / "blank").touch()
        (machine.root / link).symlink_to(target)
        assert refused(machine) == f"nothing was written: {refusal}\n"

    @posix_only
    def test_pipe(self, machine: Machine) -> None:
        """A FIFO in place of a file is refused at once."""
        os.mkfifo(machine.root / ".gitignore")
        assert refused(machine) == "nothing was written: .gitignore: it is not a regular file\n"

    @posix_only
    def test_deleted_directory(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        """A deleted working directory is a usage error."""

        def call() -> int:
            machine.root.rmdir()
            return main(["init", "--yes"])

        assert machine.within(call) == 2
        assert "nothing was written: it cannot be used: No such file" in capsys.readouterr().err

    @pytest.mark.parametrize("at", [file for file in FILES if file != ".gitignore"])
    def test_second_run_completes(self, machine: Machine, at: str) -> None:
        """An error of the disk names the file, and another run completes the project."""
        real = files.write_file

        def write_file(file: str, *arguments: Any, **named: Any) -> None:
            if file == at:
                raise OSError(errno.ENOSPC, "")
            real(file, *arguments, **named)

        with patch("robodj_secretguard.cli.init.write_file", write_file):
            ran = machine.call("init", "--yes")
        why = (
            f"it cannot be used: {os.strerror(errno.ENOSPC)}; fix that, then run this command again: it writes what is"
        )
        assert ran.err == f"robodj-secretguard: {at}: {why} missing\n"
        written(machine)
        assert [*contents(machine)] == sorted(FILES)
