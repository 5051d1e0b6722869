"""The package that `init` finds, and what it adds to the configuration of a build."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from command_line import Machine
from repositories import GIT, made
from test_init import CREATED, FILES, GATE, HOOKS, LIST, MODEL, OWN, contents, refused, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMED = '[project]\nname = "shop"\n'
SETUPTOOLS = f'[build-system]\nbuild-backend = "setuptools.build_meta"\n\n{NAMED}'
LEFT = "What is left:\n"
NO_PLACE = "A wheel has no place for the revocation list: make a package before you build one."


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A project without a file."""
    (root := tmp_path / "project").mkdir()
    return Machine(root)


class TestLayout:
    """The package, and the configuration of its build. tests/trials/projects builds them."""

    @staticmethod
    def put(machine: Machine, files: Mapping[str, str]) -> None:
        """Write a project with a package `shop`."""
        for file, text in {"shop/__init__.py": "", **files}.items():
            machine.put(file, text)

    @pytest.mark.parametrize(
        "files",
        [
            {"other/__init__.py": "", "manage.py": "environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')"},
            {"other/__init__.py": "", "setup.cfg": "[flake8]\n[other]\nname = shop\n"},
            {"other/__init__.py": "", "setup.py": "setup(name='shop')"},
            {"other/__init__.py": "", "pyproject.toml": '[tool.poetry]\npackages = [{include = "shop"}, {}, 1]\n'},
            {"tests/__init__.py": "", "docs/conf.py": "", "other/x.py": "", "my env/__init__.py": ""},
            {"environment/pyvenv.cfg": "", "environment/__init__.py": "", "src/a.txt": ""},
        ],
    )
    def test_package(self, machine: Machine, files: dict[str, str]) -> None:
        """The package is the one that the project names, otherwise the only one."""
        self.put(machine, files)
        assert written(machine)["model"]["name"] == f"shop.{MODEL}"

    @pytest.mark.parametrize(
        ("table", "root"),
        [
            ("setuptools.package-dir]\n'' = 'lib'", "lib"),
            ("setuptools.packages.find]\nwhere = ['./lib']", "lib"),
            ("poetry]\npackages = [{include = 'shop', from = 'lib'}]", "lib"),
            ("hatch.build.targets.wheel]\npackages = ['lib/shop']", "lib"),
            ("pdm.build]\npackage-dir = 'lib'", "lib"),
            ("uv.build-backend]\nmodule-root = 'lib'", "lib"),
        ],
    )
    def test_root(self, machine: Machine, table: str, root: str) -> None:
        """The directory of the packages is no part of their names."""
        for file in (f"{root}/shop/__init__.py", "other/__init__.py"):
            machine.put(file, "")
        machine.put("pyproject.toml", f"{NAMED}[tool.{table}\n")
        document = written(machine)
        assert document["model"]["name"] == f"shop.{MODEL}"
        assert f"{root}/shop/{OWN}" in contents(machine)
        assert written(machine)["changes"] == []

    def test_without_git(self, machine: Machine) -> None:
        """Without git, nothing is ignored, so a .env is added to .gitignore."""
        machine.environ["PATH"] = str(machine.root)
        machine.put(".gitignore", ".env\n")
        machine.put(".env", "")
        assert any(".env" in each["added"] for each in written(machine)["changes"])

    @pytest.mark.parametrize(("build", "settings"), [("", OWN), (NAMED, f"shop/{OWN}")])
    def test_package_that_makes_the_app(self, machine: Machine, build: str, settings: str) -> None:
        """If the import of a package makes the app, the settings module is beside it, unless it is built."""
        self.put(machine, {"shop/__init__.py": "app = Flask(__name__)\n", "pyproject.toml": build})
        out = machine.call("init", "--yes").out
        assert settings in contents(machine)
        assert ("- shop/__init__.py makes the app: call guard() in a function there" in out) is bool(build)

    @pytest.mark.parametrize(
        ("files", "where"),
        [
            ({"backend/app/__init__.py": ""}, "backend"),
            ({"backend/pyproject.toml": "", "api/shop/__init__.py": "", "api/requirements.txt": ""}, "api"),
            ({"pyproject.toml": "[tool.uv.workspace]\n", "packages/api/pyproject.toml": ""}, "backend, packages/api"),
        ],
    )
    def test_project_below(self, machine: Machine, files: dict[str, str], where: str) -> None:
        """If the service is in another project below this one, the error says where to run the command."""
        for file, text in {"backend/pyproject.toml": "", **files}.items():
            machine.put(file, text)
        assert refused(machine).endswith(f"run the command there: {where}\n")

    def test_several_packages(self, machine: Machine) -> None:
        """If there are several packages and the project names none of them, the user selects one."""
        self.put(machine, {"api/__init__.py": ""})
        assert refused(machine).startswith("this project has several packages (api, shop); name the one of the service")
        assert machine.call("init", "--yes", "--settings", f"shop/{OWN}").status == 0

    def test_single_module(self, machine: Machine) -> None:
        """If a wheel has one module, it has no place for the list, and nothing is written."""
        for file in ("shop.py", "other/__init__.py"):
            machine.put(file, "")
        machine.put("pyproject.toml", SETUPTOOLS)
        assert refused(machine).startswith("this project builds no package, so a wheel has no place for")
        assert machine.call("init", "--yes", "--settings", OWN).status == 0

    @pytest.mark.parametrize(
        ("files", "added"),
        [
            ({"pyproject.toml": SETUPTOOLS}, {"MANIFEST.in": f"include shop/{LIST}"}),
            (
                {"setup.py": "setup(packages=['shop'], include_package_data=True)"},
                {"MANIFEST.in": f"include shop/{LIST}"},
            ),
            ({"setup.py": "setup(packages=['shop'])"}, {"setup.cfg": f"[options.package_data]\nshop = {LIST}"}),
            ({"pyproject.toml": NAMED + "[tool.uv]\npackage = false\n"}, {}),
            ({"pyproject.toml": f"[build-system]\nbuild-backend = 'hatchling.build'\n{NAMED}"}, {}),
        ],
    )
    def test_setuptools_takes_the_list(self, machine: Machine, files: dict[str, str], added: dict[str, str]) -> None:
        """Setuptools is told to take the list into the wheel. Other backends take every file of a package."""
        self.put(machine, files)
        document = written(machine)
        others = {*FILES, *CREATED, *(f"shop/{file}" for file in CREATED)}
        changes = {each["file"]: "\n".join(each["added"]) for each in document["changes"] if each["file"] not in others}
        assert (changes, document["by_hand"]) == (added, [])
        assert written(machine)["changes"] == []

    @pytest.mark.parametrize(
        ("files", "file", "line"),
        [
            (
                {"pyproject.toml": f"{SETUPTOOLS}[tool.setuptools]\ninclude-package-data = false\n"},
                "pyproject.toml",
                f'"shop" = ["{LIST}"]',
            ),
            (
                {"setup.py": "setup(packages=['shop'], package_data={})"},
                "setup.py",
                f'package_data={{"shop": ["{LIST}"]}},',
            ),
            (
                {"setup.cfg": "[metadata]\n[options]\npackages = shop\n[options.package_data]\n* = *.txt\n"},
                "setup.cfg",
                f"shop = {LIST}",
            ),
        ],
    )
    def test_list_is_left_to_the_user(self, machine: Machine, files: dict[str, str], file: str, line: str) -> None:
        """Where no line can be appended, the lines are printed to be pasted, until they are there."""
        self.put(machine, files)
        (by_hand,) = written(machine)["by_hand"]
        assert (by_hand["file"], by_hand["lines"][-1]) == (file, line)
        machine.put(file, f"{(machine.root / file).read_text(encoding='utf-8')}\n# {line}\n")
        assert written(machine)["by_hand"] == []

    @pytest.mark.parametrize(
        ("files", "table"),
        [
            ({"pyproject.toml": SETUPTOOLS}, {"packages": {"find": {"include": ["shop", "shop.*"]}}}),
            ({"pyproject.toml": f"{SETUPTOOLS}[tool.setuptools]\npackages = ['shop']\n"}, {"packages": ["shop"]}),
            (
                {"pyproject.toml": f"{SETUPTOOLS}[tool.setuptools.packages.find]\nnamespaces = false\n"},
                {"packages": {"find": {"namespaces": False}}},
            ),
        ],
    )
    def test_gate_is_no_package(self, machine: Machine, files: dict[str, str], table: dict[str, Any]) -> None:
        """Setuptools does not take the directory of the gate for a package."""
        self.put(machine, files)
        written(machine)
        after = tomllib.loads((machine.root / "pyproject.toml").read_text(encoding="utf-8"))
        assert after["tool"]["setuptools"] == table
        assert GATE in contents(machine)

    @pytest.mark.parametrize(
        "files",
        [
            {"pyproject.toml": f"{SETUPTOOLS}[tool.setuptools.packages.find]\n"},
            {"setup.py": "setup(packages=find_namespace_packages())"},
            {"setup.py": "setup()"},
        ],
    )
    def test_gate_is_left_to_the_user(self, machine: Machine, files: dict[str, str]) -> None:
        """Where the directory of the gate would be a package, the gate is printed and not written."""
        self.put(machine, files)
        ran = machine.call("init", "--yes")
        assert "The build takes config/ for a package. Exclude it there, then write" in ran.out
        assert GATE in [each["file"] for each in written(machine)["by_hand"]]
        assert GATE not in contents(machine)

    def test_modules_of_pip(self, machine: Machine) -> None:
        """Where a project without a build has modules only, pip still builds it."""
        machine.put("main.py", "")
        machine.put("pyproject.toml", NAMED)
        assert NO_PLACE in machine.call("init", "--yes").out.replace("\n  ", " ")
        after = tomllib.loads((machine.root / "pyproject.toml").read_text(encoding="utf-8"))
        assert after["tool"]["setuptools"] == {"py-modules": ["main", "service_secrets"]}

    @pytest.mark.parametrize(
        ("file", "text", "run"),
        [
            ("uv.lock", "", "uv run "),
            ("pyproject.toml", "[tool.uv]\n", ""),
            ("pyproject.toml", "[tool.hatch.envs.default]\n", "hatch run "),
        ],
    )
    def test_commands_run_in_the_environment(self, machine: Machine, file: str, text: str, run: str) -> None:
        """The printed commands and the hook begin with the tool that runs commands in the project's environment."""
        self.put(machine, {file: text})
        out = machine.call("init", "--yes").out
        assert f"- Gate a release: {run}robodj-secretguard check --require-env-only\n" in out
        assert f"entry: {run}robodj-secretguard scan --staged".encode() in contents(machine)[HOOKS]

    @pytest.mark.skipif(not GIT, reason="needs git")
    @pytest.mark.parametrize(
        ("file", "text", "note"),
        [
            ("shop/core/config.py", "class Settings(BaseSettings):", "shop/core/config.py has a class of pydantic-set"),
            (".env", "", ".env is not read: load it into the environment, also for the commands."),
            ("Dockerfile", "FROM a\nCOPY main.py ./\n", f"Dockerfile does not copy shop/{OWN}: add it, unless it"),
            (".gitignore", "*secrets*\n", f"Git ignores shop/{OWN}: remove that pattern."),
            (
                "pyproject.toml",
                f'{NAMED}[tool.poetry]\npackages = [{{include = "shop/**/*.py"}}]\n',
                f"Look whether the wheel has shop/{LIST}, and as which module: python",
            ),
            (
                "pyproject.toml",
                f"{SETUPTOOLS}[tool.setuptools]\npackages = ['shop']\npackage-dir = {{shop = 'shop'}}\n",
                "Look whether the wheel has",
            ),
            ("Dockerfile", "FROM a\nCOPY . /app\n", ""),
            ("Dockerfile", 'FROM a\nCOPY ["shop", \\\n  "/app/shop"]\n', ""),
            ("Dockerfile", "FROM a\nCOPY $SOURCE /app/shop\n", ""),
            ("Dockerfile", "FROM a\nADD --chown=a ./shop/ /app/shop/\n", ""),
            ("Dockerfile", "FROM a\nRUN pip install shop\n", ""),
            ("shop/core/config.py", "class Settings:", ""),
        ],
    )
    def test_what_an_existing_project_needs(self, machine: Machine, file: str, text: str, note: str) -> None:
        """What is left has a line for a thing that the project has, and only then."""
        self.put(machine, {file: text})
        made(machine.root)
        left = machine.call("init", "--yes").out.partition(LEFT)[2]
        assert ("About existing projects" in left, f"- {note}" in left.replace("\n  ", " ")) == (bool(note), True)
        assert max(map(len, left.splitlines())) <= 80
