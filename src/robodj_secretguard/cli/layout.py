"""Where a project has its package, how it is built, and how its commands are run."""

from __future__ import annotations

import glob
import keyword
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from robodj_secretguard.cli.output import fail
from robodj_secretguard.common.files import raise_file_error, read_unlinked, reason
from robodj_secretguard.secret.texts import is_free_text, listed

Project: TypeAlias = dict[str, Any]
"""The document in a pyproject.toml."""
SETTINGS_FILE: Final = "service_secrets.py"
CODING: Final = ("utf-8", "surrogateescape")  # keeps every byte
LARGEST_FILE: Final = 1 << 20
"""The largest file that `init` reads."""

# What a build's configuration says of the directories with packages, and of the packages.
_SOURCE_ROOTS: Final = (
    "tool.uv.build-backend.module-root",
    "tool.setuptools.packages.find.where",
    "tool.pdm.build.package-dir",
    "tool.maturin.python-source",
)
_PACKAGE_NAMES: Final = (
    "tool.hatch.build.targets.wheel.packages",
    "tool.flit.module.name",
    "tool.uv.build-backend.module-name",
    "tool.setuptools.packages",
    "tool.maturin.module-name",
    "project.name",
    "tool.poetry.name",
)
# Directories that have modules, and are no part of a service unless the project says so.
_NO_PACKAGES: Final = frozenset(
    """
    alembic assets bench benchmark benchmarks bin build ci config data deploy deployment dist doc docker
    docs env example examples frontend hooks infra migrations node_modules notebooks ops script scripts
    static tasks templates test testing tests tool tools util utils venv
    """.split()
)


def at(table: Any, path: str) -> list[Any]:
    """Return what a dotted path of a TOML document names, as a list."""
    for key in path.split("."):
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, list) else [] if table is None else [table]


def source_roots(project: Project) -> list[str]:
    """Return the directories that may have packages, the project's own ones first; empty is the project's root."""
    tables = at(project, "tool.poetry.packages") + at(project, "tool.setuptools.package-dir")
    found = [
        *(each for path in _SOURCE_ROOTS for each in at(project, path)),
        *(each.get("from", each.get("")) for each in tables if isinstance(each, dict)),
        *(os.path.dirname(str(each)) for each in at(project, "tool.hatch.build.targets.wheel.packages")),
    ]
    roots = [os.path.normpath(each or ".").replace(os.sep, "/") for each in found if isinstance(each, str)]
    unique = dict.fromkeys(root.removeprefix(".") for root in (*roots, "src", "."))
    return [root for root in unique if not root or not os.path.exists(f"{root}/__init__.py")]


def module_of(settings: str, roots: Sequence[str]) -> str | None:
    """Return the name of a module in a file below the working directory; `None` for an invalid path."""
    root = max((root for root in roots if root and settings.startswith(f"{root}/")), key=len, default="")
    parts = settings.removeprefix(root and f"{root}/").removesuffix(".py").split("/")
    is_valid = settings.endswith(".py") and all(map(_is_importable, parts)) and is_free_text(settings)
    if not is_valid or parts[-1].startswith("__") or parts[0] in sys.stdlib_module_names:
        return None
    return ".".join(parts)


def package_of(project: Project, roots: Sequence[str]) -> str:
    """Return the package for the settings module: the one that the project names, or the only one; empty for none."""
    names = _declared_names(project)
    found = next(filter(None, [_packages_in(root, names) for root in roots]), [])
    named = [path for name in names for path in found if os.path.basename(path).lower() == name]
    packages = named[:1] or found
    if len(packages) > 1:
        fail(
            f"this project has several packages ({listed(packages, 4)}); name the one of the service, such as"
            f" --settings {packages[0]}/{SETTINGS_FILE}"
        )
    package = "".join(packages)
    below = [*glob.glob("*/pyproject.toml"), *glob.glob("*/*/pyproject.toml")]
    others = sorted(os.path.dirname(path).replace(os.sep, "/") for path in below)
    if others and package in {"", *others}:
        fail(
            f"there are other projects below this one: run the command in the one of the service ({listed(others, 4)});"
            f" or, if it is here, add --settings {SETTINGS_FILE}"
        )
    return package


def backend_of(project: Project) -> str:
    """Return the package that builds the project; empty where nothing is built.

    Without a build's configuration, pip builds with setuptools.
    """
    if False in at(project, "tool.poetry.package-mode") + at(project, "tool.uv.package"):
        return ""
    is_built = "project" in project or has_build(project)
    backend = at(project, "build-system.build-backend") or ["setuptools"] * is_built
    return str(*backend).partition(".")[0]


def has_build(project: Project) -> bool:
    """Return whether the project says how it is built."""
    return "build-system" in project or os.path.exists("setup.py")


def runner_of(project: Project) -> str:
    """Return what begins a command that runs in the project's environment, such as `uv run `."""
    for name in ("uv", "poetry", "pdm"):
        if os.path.exists(f"{name}.lock"):
            return f"{name} run "
    return "hatch run " if at(project, "tool.hatch.envs") else ""


def makes_app(package: str) -> bool:
    """Return whether the import of a package makes the application: its modules cannot be imported without that."""
    text = read_file(f"{package}/__init__.py") if package else ""
    return bool(re.search(r"Flask\(|FastAPI\(|def (create|make)_app", text))


def read_file(file: str) -> str:
    """Return the text of a file, also through a link; empty where it is missing."""
    if not os.path.lexists(file):
        return ""
    try:
        content, _ = read_unlinked(os.path.realpath(file), LARGEST_FILE + 1)
    except OSError as error:
        raise_file_error(f"{file}: {reason(error)}")
    text = content.decode(*CODING)
    if len(content) > LARGEST_FILE or "\0" in text:
        raise_file_error(f"{file}: it is larger than {LARGEST_FILE} bytes, or not UTF-8; correct it")
    return text


def _declared_names(project: Project) -> list[str]:
    """Return the names of packages that the project itself says, the clearest first."""
    names = [
        *(each.get("include") for each in at(project, "tool.poetry.packages") if isinstance(each, dict)),
        *(each for path in _PACKAGE_NAMES for each in at(project, path)),
        *re.findall(r"""DJANGO_SETTINGS_MODULE["'],\s*["'](\w+)""", read_file("manage.py")),
    ]
    return [re.sub("[-.]+", "_", os.path.basename(str(name))).lower() for name in names]


def _packages_in(root: str, declared: Sequence[str]) -> list[str]:
    """Return the packages in a directory: those with an `__init__.py`, otherwise the directories with modules."""
    names = dict.fromkeys(os.path.dirname(file) for file in sorted(glob.glob("*/*.py", root_dir=root)))
    others = _NO_PACKAGES.difference(declared)
    paths = [f"{root}/{name}".lstrip("/") for name in names if name not in others and _is_importable(name)]
    return [path for path in paths if os.path.exists(f"{path}/__init__.py")] or paths


def _is_importable(name: str) -> bool:
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
