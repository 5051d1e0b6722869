"""Projects of each shape, with a service `shop` that prints a line: its files, and what `init` must find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

NAMED: Final = '[project]\nname = "shop"\nversion = "1.0"\n'
PYTEST: Final = '\n[tool.pytest]\naddopts = ["-p", "no:cacheprovider"]\n'
INI_OPTIONS: Final = '\n[tool.pytest.ini_options]\naddopts = "-p no:cacheprovider"\n'
MAIN: Final = 'NAME = "shop"\n\n\ndef main():\n    print("up")\n\n\nif __name__ == "__main__":\n    main()\n'
TEST: Final = 'from {module} import NAME\n\n\ndef test_name():\n    assert NAME == "shop"\n'
BASE_SETTINGS: Final = """\
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    session_key: str = "change-me"
"""
SETUP_PY: Final = 'from setuptools import {0}, setup\n\nsetup(name="shop", version="1.0", packages={0}(){1})\n'
CALL: Final = "from setuptools import setup\n\nsetup()\n"
SETUP_CFG: Final = "[metadata]\nname = shop\nversion = 1.0\n\n[options]\npackages = find:\n"


def built(backend: str, requires: str = "") -> str:
    """Return the table of a build's backend."""
    return f'[build-system]\nrequires = ["{requires or backend.partition(".")[0]}"]\nbuild-backend = "{backend}"\n\n'


@dataclass(frozen=True)
class Shape:
    """A project.

    Attributes:
        package: the directory of the service's package; empty for modules in the root.
        files: the files, besides the package, its main module and its test.
        module: the name of the package; by default that of the directory.
        is_built: whether it is built to a wheel.
        is_regular: whether the package has an `__init__.py`.
        tools: what finds modules in tests.
    """

    package: str
    files: dict[str, str] = field(default_factory=dict)
    module: str = ""
    is_built: bool = True
    is_regular: bool = True

    @property
    def name(self) -> str:
        """The name of the package."""
        return self.module or self.package.removeprefix("src/").replace("/", ".")

    @property
    def main(self) -> str:
        """The name of the main module."""
        return f"{self.name}.main" if self.name else "main"

    @property
    def prefix(self) -> str:
        """What begins the path of a file of the package."""
        return self.package and f"{self.package}/"

    def all_files(self) -> dict[str, str]:
        """Return every file, and its text."""
        package = {f"{self.prefix}__init__.py": ""} if self.package and self.is_regular else {}
        test = {"tests/test_main.py": TEST.format(module=self.main), "README.md": "# A shop\n"}
        return {**package, f"{self.prefix}main.py": MAIN, **test, **self.files}


SETUPTOOLS: Final = built("setuptools.build_meta") + NAMED
SHAPES: Final = {
    "flat": Shape("", {"requirements.txt": "", "Dockerfile": "FROM python:3.12\nCOPY main.py .\n"}, is_built=False),
    "flat-package": Shape("app", {"requirements.txt": "", ".env": "SESSION_KEY=dev\n"}, is_built=False),
    "flat-directory": Shape("app", {"scripts/seed.py": ""}, is_built=False, is_regular=False),
    "uv-application": Shape("", {"pyproject.toml": NAMED + PYTEST, "uv.lock": ""}, is_built=False),
    "django": Shape(
        "shop",
        {
            "manage.py": 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n',
            "blog/__init__.py": "",
            "shop/settings.py": "",
        },
        is_built=False,
    ),
    "hatchling-src": Shape(
        "src/shop",
        {
            "pyproject.toml": built("hatchling.build") + NAMED + INI_OPTIONS,
            "src/shop/config.py": BASE_SETTINGS,
            ".pre-commit-config.yaml": "repos: []\n",
        },
    ),
    "hatchling-flat": Shape("shop", {"pyproject.toml": built("hatchling.build") + NAMED, "worker/__init__.py": ""}),
    "hatchling-namespace": Shape(
        "src/acme/shop",
        {
            "pyproject.toml": built("hatchling.build")
            + NAMED.replace("shop", "acme-shop")
            + '[tool.hatch.build.targets.wheel]\npackages = ["src/acme"]\n'
        },
    ),
    "setuptools-flat": Shape("shop", {"pyproject.toml": SETUPTOOLS + PYTEST, "Dockerfile": "FROM python\nCOPY . .\n"}),
    "setuptools-src": Shape("src/shop", {"pyproject.toml": SETUPTOOLS}),
    "setuptools-implicit": Shape("shop", {"pyproject.toml": NAMED}),
    "setuptools-find": Shape(
        "lib/shop",
        {
            "pyproject.toml": f'{SETUPTOOLS}[tool.setuptools.packages.find]\nwhere = ["lib"]\n',
            "lib/job/__init__.py": "",
        },
        module="shop",
    ),
    "setuptools-find-all": Shape("shop", {"pyproject.toml": f"{SETUPTOOLS}[tool.setuptools.packages.find]\n"}),
    "setuptools-list": Shape(
        "shop",
        {"pyproject.toml": f'{SETUPTOOLS}[tool.setuptools]\npackages = ["shop"]\n', "worker/__init__.py": ""},
    ),
    "setuptools-namespace": Shape("src/acme/shop", {"pyproject.toml": SETUPTOOLS}),
    "setuptools-directory": Shape("shop", {"pyproject.toml": SETUPTOOLS}, is_regular=False),
    "setup.cfg": Shape("shop", {"setup.cfg": SETUP_CFG, "setup.py": CALL}),
    "setup.cfg-included": Shape("shop", {"setup.cfg": f"{SETUP_CFG}include_package_data = true\n", "setup.py": CALL}),
    "setup.py": Shape("shop", {"setup.py": SETUP_PY.format("find_packages", "")}),
    "setup.py-included": Shape(
        "shop", {"setup.py": SETUP_PY.format("find_packages", ", include_package_data=True"), "MANIFEST.in": "# ours\n"}
    ),
    "flit": Shape("shop", {"pyproject.toml": built("flit_core.buildapi") + NAMED + 'description = "A shop"\n'}),
    "flit-namespace": Shape(
        "src/acme/shop",
        {
            "pyproject.toml": built("flit_core.buildapi")
            + NAMED
            + 'description = "A shop"\n\n[tool.flit.module]\nname = "acme.shop"\n'
        },
    ),
    "poetry": Shape(
        "src/shop",
        {
            "pyproject.toml": built("poetry.core.masonry.api", "poetry-core")
            + '[tool.poetry]\nname = "a-shop"\nversion = "1.0"\ndescription = ""\nauthors = []\n'
            + 'packages = [{ include = "shop", from = "src" }]\n',
            "src/other/__init__.py": "",
        },
    ),
    "poetry-flat": Shape("shop", {"pyproject.toml": built("poetry.core.masonry.api", "poetry-core") + NAMED}),
    "uv": Shape("src/shop", {"pyproject.toml": built("uv_build", "uv_build") + NAMED, "uv.lock": ""}),
    "uv-flat": Shape(
        "shop", {"pyproject.toml": f'{built("uv_build")}{NAMED}\n[tool.uv.build-backend]\nmodule-root = ""\n'}
    ),
    "uv-namespace": Shape(
        "src/acme/shop",
        {"pyproject.toml": f'{built("uv_build")}{NAMED}\n[tool.uv.build-backend]\nmodule-name = "acme.shop"\n'},
    ),
    "pdm": Shape("src/shop", {"pyproject.toml": built("pdm.backend", "pdm-backend") + NAMED}),
}
"""A project of each shape."""
MODULES: Final = {
    "setuptools": {"pyproject.toml": f'{SETUPTOOLS}[tool.setuptools]\npy-modules = ["shop"]\n', "shop.py": MAIN},
    "setuptools-found": {"pyproject.toml": SETUPTOOLS, "shop.py": MAIN},
    "setup.py": {
        "setup.py": 'from setuptools import setup\n\nsetup(name="shop", py_modules=["shop"])\n',
        "shop.py": MAIN,
    },
    "flit": {
        "pyproject.toml": built("flit_core.buildapi") + NAMED + 'description = "A shop"\n',
        "shop.py": MAIN,
    },
    "hatchling": {"pyproject.toml": built("hatchling.build") + NAMED, "shop.py": MAIN},
}
"""Projects whose wheel has one module."""
