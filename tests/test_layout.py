"""The package that `init` finds, and what it adds to the configuration of a build. Trials build such projects."""

from __future__ import annotations

import os

import pytest
from command_line import Machine
from test_init import (
    HATCH,
    HOOKS,
    LIST,
    MODEL,
    NAMED,
    OWN,
    PROJECT,
    SETUPTOOLS,
    contents,
    machine,
    put,
    refused,
    written,
)

from robodj_secretguard.cli.layout import module_of, source_roots

__all__ = ["machine"]

APP = "app = Flask(__name__)\n"
DJANGO = "environ.setdefault('DJANGO_SETTINGS_MODULE', '{}.settings')"


@pytest.mark.parametrize(
    ("files", "settings", "name"),
    [
        ({}, OWN, MODEL),
        ({"shop/__init__.py": "", "tests/__init__.py": "", "a.py": "", "x/a.py": ""}, f"shop/{OWN}", f"shop.{MODEL}"),
        ({"shop/main.py": "", "docs/conf.py": "", "my env/a.py": ""}, f"shop/{OWN}", f"shop.{MODEL}"),
        ({"src/shop/__init__.py": "", "other/__init__.py": ""}, f"src/shop/{OWN}", f"shop.{MODEL}"),
        ({"src/main.py": ""}, f"src/{OWN}", MODEL),
        ({"src/__init__.py": ""}, f"src/{OWN}", f"src.{MODEL}"),
        ({"src/my-shop/__init__.py": ""}, OWN, MODEL),
        ({"shop/__init__.py": "", "a/__init__.py": "", "pyproject.toml": PROJECT}, f"shop/{OWN}", f"shop.{MODEL}"),
        ({"a/__init__.py": "", "shop/a.py": "", "manage.py": DJANGO.format("a")}, f"a/{OWN}", f"a.{MODEL}"),
        ({"shop/__init__.py": "", "config/a.py": ""}, f"shop/{OWN}", f"shop.{MODEL}"),
        ({"config/__init__.py": "", "manage.py": DJANGO.format("config")}, f"config/{OWN}", f"config.{MODEL}"),
        ({"shop/__init__.py": APP}, OWN, MODEL),
        ({"shop/__init__.py": APP, "pyproject.toml": HATCH}, f"shop/{OWN}", f"shop.{MODEL}"),
        ({"shop/__init__.py": APP, "pyproject.toml": f"{PROJECT}[tool.uv]\npackage = false\n"}, OWN, MODEL),
        ({"a/__init__.py": "", "pyproject.toml": "[tool.a]\n", "b/pyproject.toml": ""}, f"a/{OWN}", f"a.{MODEL}"),
    ],
)
def test_place_of_the_settings_module(machine: Machine, files: dict[str, str], settings: str, name: str) -> None:
    """It is with the list in the package that the project names, or in the only one; otherwise in the root."""
    put(machine, files)
    document = written(machine)
    assert (document["changes"][1]["file"], document["model"]["name"]) == (settings, name)
    assert settings.replace(OWN, LIST) in contents(machine)
    assert written(machine)["changes"] == []


@pytest.mark.parametrize(
    "table",
    [
        "setuptools.package-dir]\n'' = 'lib'",
        "setuptools.packages.find]\nwhere = ['./lib']",
        "poetry]\npackages = [{include = 'shop', from = 'lib'}, {}, 1]",
        "hatch.build.targets.wheel]\npackages = ['lib/Shop', {}]",
        "pdm.build]\npackage-dir = 'lib'",
        "uv.build-backend]\nmodule-root = 'lib'",
    ],
)
def test_root_of_the_packages(machine: Machine, table: str) -> None:
    """The directory of the packages, in the configuration of the build, is no part of their names."""
    put(machine, {"lib/shop/__init__.py": "", "lib/other/__init__.py": "", "other/__init__.py": ""})
    machine.put("pyproject.toml", f"{PROJECT}[tool.{table}\n")
    assert written(machine)["model"]["name"] == f"shop.{MODEL}"
    assert f"lib/shop/{OWN}" in contents(machine)


@pytest.mark.parametrize(
    ("files", "refusal"),
    [
        (
            {"api/__init__.py": "", "shop/__init__.py": ""},
            "this project has several packages (api, shop); name the one of the service, such as --settings api/serv",
        ),
        (
            {"pyproject.toml": "", "b/pyproject.toml": "", "packages/a/pyproject.toml": ""},
            "there are other projects below this one: run the command in the one of the service (b, packages/a); or",
        ),
        ({"b/pyproject.toml": "", "b/a.py": ""}, "there are other projects below this one: run the command in the one"),
        ({"platform/__init__.py": ""}, "the settings module needs a path of names that Python can import, and no name"),
        (
            {"pyproject.toml": SETUPTOOLS, "shop.py": ""},
            "no package was found, and in a wheel the revocation",
        ),
        (
            {"setup.py": "", "shop.py": ""},
            "no package was found, and in a wheel the revocation",
        ),
    ],
)
def test_place_that_the_user_selects(machine: Machine, files: dict[str, str], refusal: str) -> None:
    """If there is not one place, nothing is written, and `--settings` selects it."""
    put(machine, files)
    assert refused(machine).startswith(refusal)
    assert f"app/{OWN}" in [each["file"] for each in written(machine, "--settings", f"./app/{OWN}")["changes"]]
    assert machine.call("check").status == 0
    assert written(machine, "--settings", f"app/{OWN}")["changes"] == []


@pytest.mark.parametrize(
    ("file", "named", "refusal"),
    [
        ("../own.py", "", "the settings module needs a path of names that Python can import"),
        ("own.py", NAMED, "--settings: [tool.robodj-secretguard] in pyproject.toml names a model in another module"),
    ],
)
def test_invalid_option(machine: Machine, file: str, named: str, refusal: str) -> None:
    """A path that cannot be the settings module is a usage error, which does not repeat it."""
    machine.put("pyproject.toml", named)
    error = refused(machine, "--settings", file)
    assert error.startswith(refusal)
    assert file not in error


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
def test_name_of_the_module(file: str, name: str | None) -> None:
    """The name follows from the path, without `src`. A name that cannot be imported is invalid."""
    assert module_of(file, source_roots({})) == name


@pytest.mark.parametrize(
    ("file", "text", "run"),
    [
        ("uv.lock", "", "uv run "),
        ("pyproject.toml", "[tool.uv]\n", ""),
        ("pyproject.toml", "[tool.hatch.envs.default]\n", "hatch run "),
    ],
)
def test_commands_run_in_the_environment(machine: Machine, file: str, text: str, run: str) -> None:
    """The printed commands and the hook begin with the tool that runs commands in the project's environment."""
    machine.put(file, text)
    out = machine.call("init", "--yes").out
    assert f"- Gate a release: {run}robodj-secretguard check --require-env-only\n" in out
    assert f"entry: {run}robodj-secretguard scan --staged".encode() in contents(machine)[HOOKS]


def test_unreadable_file_of_the_project(machine: Machine) -> None:
    """A file that cannot be read is named, and nothing is written."""
    os.makedirs(machine.root / "manage.py")
    assert refused(machine) == "nothing was written: manage.py: it is not a regular file\n"
