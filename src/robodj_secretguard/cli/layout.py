"""Where a project has its modules, how it is built, and how its commands are run."""

from __future__ import annotations

import glob
import keyword
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from importlib import resources
from itertools import product
from typing import Any, Final, Literal

from robodj_secretguard.cli.output import fail
from robodj_secretguard.secret.texts import is_free_text, listed

_SETUP_FILES: Final = ("setup.cfg", "setup.py")
# What a build's configuration says of the directories with packages, and of the packages.
_SOURCE_ROOTS: Final = (
    "tool.uv.build-backend.module-root",
    "tool.setuptools.packages.find.where",
    "tool.pdm.build.package-dir",
    "tool.maturin.python-source",
)
_PACKAGE_NAMES: Final = (
    "tool.flit.module.name",
    "tool.uv.build-backend.module-name",
    "tool.setuptools.packages",
    "tool.setuptools.py-modules",
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
    """.split()  # noqa: SIM905 - a list would have 40 lines
)
_SELECTIONS: Final = (
    "tool.hatch.build.targets.wheel.sources",
    "tool.hatch.build.targets.wheel.only-include",
    "tool.hatch.build.targets.wheel.include",
)
"""Where a build's configuration selects files, or moves them."""
_DEEPEST: Final = 2
"""How many namespace packages a package may be in."""
INIT_TEXTS: Final[dict[str, str]] = tomllib.loads(
    resources.files(__package__).joinpath("init.toml").read_text(encoding="utf-8")
)
"""What `init` writes and prints."""


def at(table: Any, path: str) -> list[Any]:
    """Return what a dotted path of a TOML document names, as a list."""
    for key in path.split("."):
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, list) else [] if table is None else [table]


def source_roots(project: dict[str, Any]) -> list[str]:
    """Return the directories that may have packages, the project's own ones first; empty is the project's root."""
    tables = at(project, "tool.poetry.packages") + at(project, "tool.setuptools.package-dir")
    found = [
        *(each for path in _SOURCE_ROOTS for each in at(project, path)),
        *(each.get("from", each.get("")) for each in tables if isinstance(each, dict)),
        *(os.path.dirname(each) for each in at(project, "tool.hatch.build.targets.wheel.packages")),
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


def package_of(project: dict[str, Any], roots: Sequence[str]) -> str:
    """Return the package for the settings module; empty for the root."""
    package = _package_in_roots(project, roots)
    files = ("pyproject.toml", "setup.py", "requirements.txt", "manage.py")
    found = [path for name in files for path in (*glob.glob(f"*/{name}"), *glob.glob(f"*/*/{name}"))]
    others = sorted({os.path.dirname(path) for path in found} - {*roots})
    owners = [other for other in others if package.startswith(f"{other}/")]
    if owners or (not package and at(project, "tool.uv.workspace")):
        fail(f"the service is in another project below this one; run the command there: {listed(owners or others, 4)}")
    return package if backend_of(project) or not makes_app(package) else ""


def _package_in_roots(project: dict[str, Any], roots: Sequence[str]) -> str:
    """Return the package that the project names, otherwise the only one."""
    for name, root in product(_declared_names(project), roots):
        parts = [*filter(None, [root]), *name.split(".")]
        paths = ["/".join(parts[: end + 1]) for end in range(bool(root), len(parts))]
        if packages := [path for path in paths if _has_modules(path)]:
            return packages[0]
        if os.path.isfile(f"{paths[-1]}.py"):
            return ""
    found = next(filter(None, ([*_packages_in(root)] for root in roots)), [])
    regular = [path for path in found if os.path.exists(f"{path}/__init__.py")] or found
    if len(regular) > 1:
        fail(
            f"this project has several packages ({listed(regular, 4)}); name the one of the service, such as"
            f" --settings {regular[0]}/service_secrets.py"
        )
    return "".join(regular)


def backend_of(project: dict[str, Any]) -> str:
    """Return the package that builds the project; empty where nothing is built.

    Without a build's configuration, pip builds with setuptools.
    """
    if False in at(project, "tool.poetry.package-mode") + at(project, "tool.uv.package"):
        return ""
    is_built = "project" in project or has_build(project)
    backend = at(project, "build-system.build-backend") or ["setuptools"] * is_built
    return str(*backend).partition(".")[0]


def has_build(project: dict[str, Any]) -> bool:
    """Return whether the project says how it is built."""
    return "build-system" in project or os.path.exists("setup.py") or "[metadata]" in read_other("setup.cfg")


def runner_of(project: dict[str, Any]) -> str:
    """Return what begins a command that runs in the project's environment, such as `uv run `."""
    found = [
        *(name for name in ("uv", "poetry", "pdm") if os.path.exists(f"{name}.lock")),
        *["hatch"] * bool(at(project, "tool.hatch.envs")),
    ]
    return f"{found[0]} run " if found else ""


def makes_app(package: str) -> bool:
    """Return whether the import of a package makes the application: its modules cannot be imported without that."""
    return bool(re.search(r"Flask\(|FastAPI\(|def (create|make)_app", read_other(os.path.join(package, "__init__.py"))))


def ignored_by_git(paths: Sequence[str]) -> list[str]:
    """Return the paths that git ignores."""
    with suppress(OSError):
        command = ["git", "check-ignore", "--no-index", "--", *paths]
        found = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - paths of this project
        return os.fsdecode(found.stdout).splitlines()
    return []


def discovery(project: dict[str, Any], directory: str, module: str) -> tuple[str, bool]:
    """Return what setuptools' search for packages needs, so that new files are no second package.

    Args:
        project: the document in pyproject.toml.
        directory: the directory of the settings module.
        module: the name of a settings module in the root.

    Returns:
        The tables for pyproject.toml, and whether the build then ignores a new directory `config` in the root.
    """
    tables, legacy = at(project, "tool.setuptools"), "".join(map(read_other, _SETUP_FILES))
    if backend_of(project) != "setuptools" or any(directory.startswith(f"{root}/") for root in source_roots(project)):
        return "", True
    if not directory:
        names = sorted({f'"{name[:-3]}"' for name in os.listdir() if name.endswith(".py")} | {f'"{module}"'})
        has_only_modules = "project" in project and not tables and not any(_packages_in(""))
        return INIT_TEXTS["modules"].format(", ".join(names)) * has_only_modules, True
    is_declared = "packages" in legacy or any("packages" in each or "py-modules" in each for each in tables)
    if is_declared or "project" not in project:
        found = at(project, "tool.setuptools.packages.find")
        is_safe = all("include" in each or each.get("namespaces") is False for each in found)
        return "", is_declared and is_safe and "find_namespace" not in legacy
    return INIT_TEXTS["packages"].format(directory.partition("/")[0]), True


def data_file(
    project: dict[str, Any], package: str, directory: str, file: str
) -> Iterator[tuple[str, str, Literal["write", "keep", "paste"]]]:
    """Yield the file of setuptools and the lines that take a data file into a wheel, and what to do with them.

    Nothing, where the build takes every file of a package, or where there is no package.
    """
    if backend_of(project) != "setuptools" or not package:
        return
    cfg, py = map(read_other, _SETUP_FILES)
    flags = at(project, "tool.setuptools.include-package-data") or ["project" in project]
    is_included = True in flags or bool(re.search(r"include_package_data\s*=\s*[Tt]rue", cfg + py))
    names = {"MANIFEST.in": is_included, "pyproject.toml": "project" in project, "setup.py": "package_data" in py}
    name = next((name for name, is_used in names.items() if is_used), "setup.cfg")
    can_append = is_included or (name == "setup.cfg" and "package_data" not in cfg)
    text = INIT_TEXTS[name].format(package=package, directory=directory, file=file)
    yield name, text, "keep" if file in read_other(name) else "write" if can_append else "paste"


def notes_of(project: dict[str, Any], module: str, written: Sequence[str]) -> Iterator[str]:
    """Yield what the project has that the new files replace, or that may not take them along."""
    package = os.path.dirname(written[0]) if written else ""
    modules = glob.glob(os.path.join(glob.escape(package), "**" if package else "", "*.py"), recursive=True)
    if found := [path for path in sorted(modules) if "BaseSettings" in read_other(path)]:
        yield f"{found[0]} has a class of pydantic-settings: take these secrets out of it."
    if os.path.exists(".env"):
        yield ".env is not read: load it into the environment, also for the commands."
    yield from (
        f"Dockerfile does not copy {file}: add it, unless it installs a wheel." for file in _not_copied(written)
    )
    yield from (f"Git ignores {file}: remove that pattern." for file in ignored_by_git(written))
    if makes_app(package):
        yield f"{package}/__init__.py makes the app: call guard() in a function there, as every command imports it."
    if backend_of(project) and "." not in module:
        yield "A wheel has no place for the revocation list: make a package before you build one."
    elif written and _selects_files(project):
        yield f"Look whether the wheel has {written[-1]}, and as which module: python -m zipfile -l WHEEL"


def _not_copied(files: Sequence[str]) -> list[str]:
    """Return the files that a Dockerfile does not copy; none where it copies nothing."""
    text = re.sub(r"""[\[\]",]|\\\n""", " ", read_other("Dockerfile"))
    words = " ".join(re.findall(r"(?im)^\s*(?:COPY|ADD)\s+(.*)\s\S+\s*$", text)).split()
    patterns = ["*" if "$" in word else f"{word.strip('./')}*" for word in words]
    return [file for file in files if patterns and not any(fnmatch(file, pattern) for pattern in patterns)]


def _selects_files(project: dict[str, Any]) -> bool:
    """Return whether the build selects files of a package, or renames it."""
    includes = [each.get("include") for each in at(project, "tool.poetry.packages") if isinstance(each, dict)]
    renamed = [name for table in at(project, "tool.setuptools.package-dir") for name in table if name]
    return bool(renamed) or "*" in str(includes) or any(at(project, path) for path in _SELECTIONS)


def read_other(file: str) -> str:
    """Return the text of another tool's file; empty where it cannot be read."""
    with suppress(OSError), open(file, encoding="utf-8", errors="replace") as stream:
        return stream.read(1 << 20)
    return ""


def _declared_names(project: dict[str, Any]) -> Iterator[str]:
    """Yield the names of packages and modules that the project itself says, the clearest first."""
    names = [
        *(each.get("include") for each in at(project, "tool.poetry.packages") if isinstance(each, dict)),
        *(os.path.basename(each) for each in at(project, "tool.hatch.build.targets.wheel.packages")),
        *(each for path in _PACKAGE_NAMES for each in at(project, path)),
        *(
            each
            for file in _SETUP_FILES
            for each in re.findall(r"""(?<!\w)name\s*=\s*["']?([\w.-]+)""", read_other(file))
        ),
        *re.findall(r"""DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)""", read_other("manage.py")),
    ]
    for name in [each for each in names if isinstance(each, str)]:
        yield name.partition("*")[0].strip("/").removesuffix(".py").replace("/", ".").replace("-", "_")
        yield re.sub("[-.]+", "_", name).lower()


def _packages_in(directory: str, depth: int = 0) -> Iterator[str]:
    """Yield the packages in a directory, also those in a namespace package."""
    for name in sorted(os.listdir(directory or os.curdir) if os.path.isdir(directory or os.curdir) else ()):
        path = f"{directory}/{name}" if directory else name
        if name in _NO_PACKAGES or not _is_importable(name) or os.path.exists(f"{path}/pyvenv.cfg"):
            continue
        if os.path.exists(f"{path}/__init__.py") or (not depth and _has_modules(path)):
            yield path
        elif depth < _DEEPEST and os.path.isdir(path):
            yield from _packages_in(path, depth + 1)


def _has_modules(path: str) -> bool:
    return os.path.isdir(path) and any(name.endswith(".py") for name in os.listdir(path))


def _is_importable(name: str) -> bool:
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
