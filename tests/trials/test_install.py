"""docs/install.md: each way to install works as it says, in a new environment. It needs a package index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from conftest import clean_environment

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
BLOCKS: Final = {
    title.strip(): re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for title, text in re.findall(r"^#+ (.*)\n((?:(?!^#+ ).*\n)*)", PAGE, re.MULTILINE)
}
"""The blocks of each section."""
PROJECT: Final = """\
[project]
name = "shop"
version = "1"
requires-python = ">=3.11,<4"
dependencies = []

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

"""
pytestmark = pytest.mark.full


def sh(script: str, directory: Path, **more: str) -> str:
    """Run a script of the page, and return what it writes."""
    path = os.pathsep.join(
        [str(directory.parent / "venv" / "bin"), os.path.dirname(sys.executable), os.environ["PATH"]]
    )
    env = clean_environment() | {"PATH": path, "VIRTUAL_ENV": str(directory.parent / "venv")} | more
    ran = subprocess.run(
        ["/bin/sh", "-euc", script], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the wheel, which the page's command has built in a clone, beside a new environment."""
    sh(f"{sys.executable} -m venv venv", tmp_path)
    kept = shutil.ignore_patterns(".venv", ".git", ".*_cache", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, tmp_path / "clone", ignore=kept)
    (build,) = BLOCKS["Add it to your project"]
    sh(build, tmp_path / "clone")
    package = tmp_path / "your-project" / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package.parent / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    return package.parent


def test_clone(project: Path) -> None:
    """It is installed from a clone."""
    (commands,) = BLOCKS["Try it"]
    assert "robodj-secretguard 0." in sh(commands, project.with_name("clone"))


def test_pip(project: Path) -> None:
    """It is installed by pip: from requirements.txt, together with a project that depends on it, and with an extra."""
    requirements, together = BLOCKS["pip"]
    (project / "requirements.txt").write_text(requirements, encoding="utf-8")
    sh("python -m pip install -r requirements.txt; robodj-secretguard --version", project)
    # setuptools takes a directory whose name can be imported for a second package, and builds nothing.
    text = PROJECT.replace("hatchling.build", "setuptools.build_meta").replace("hatchling", "setuptools")
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    sh(f"{together}python -c 'import shop'", project)
    (extra,) = BLOCKS["Extras"]
    sh(f"{extra}python -c 'import hvac'", project)


def test_uv(project: Path) -> None:
    """It is added to a project by uv."""
    pytest.importorskip("uv")
    (add,) = BLOCKS["uv"]
    sh(f"{add}uv run robodj-secretguard --version", project)


@pytest.mark.parametrize(
    ("tool", "command"), [("Poetry", "poetry check"), ("hatch", "hatch run robodj-secretguard --version")]
)
def test_table(project: Path, tool: str, command: str) -> None:
    """The table for Poetry is valid, and hatch makes an environment with it."""
    if not shutil.which(tool.lower()):
        pytest.skip(f"{tool} is not installed")
    (table,) = BLOCKS[tool]
    (project / "pyproject.toml").write_text(PROJECT + table, encoding="utf-8")
    sh(command, project, HATCH_DATA_DIR=str(project / "hatch"))
