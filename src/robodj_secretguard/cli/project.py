"""The project's configuration: `[tool.robodj-secretguard]` in pyproject.toml."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from robodj_secretguard.errors import UsageError
from robodj_secretguard.sealed import contain

if TYPE_CHECKING:
    import argparse

PYPROJECT: Final = "pyproject.toml"
MAX_PYPROJECT_BYTES: Final = 1 << 20

_NAME: Final = "robodj-secretguard"
_TABLE: Final = f"[tool.{_NAME}]"
_KINDS: Final = {"model": str, "operations-log": str, "strict": bool, "require-env-only": bool}


class Project(NamedTuple):
    """What a project configures.

    Attributes:
        directory: where its pyproject.toml is; empty where there is none.
        model: the settings model, as `package.module:Class`.
        operations_log: the operations log's path.
        strict: whether warnings fail the gate.
        require_env_only: whether fallback files are ignored.
    """

    directory: str = ""
    model: str | None = None
    operations_log: str | None = None
    strict: bool = False
    require_env_only: bool = False


def configure(arguments: argparse.Namespace) -> None:
    """Let the project's configuration say what the options do not. Its switches can only tighten.

    Args:
        arguments: those of the command, which are changed.

    Raises:
        UsageError: the configuration is invalid, or cannot be trusted.
    """
    here = contain(os.getcwd)
    project = find_project(here) if isinstance(here, str) else Project()  # it may have been deleted
    arguments.project = project if arguments.uses_project_model else project._replace(model=None)
    arguments.strict = arguments.strict or project.strict
    arguments.require_env_only = arguments.require_env_only or project.require_env_only


def find_project(directory: str) -> Project:
    """Return the nearest configuration upward from a directory, not above its repository's root.

    Args:
        directory: the directory, as an absolute path.

    Raises:
        UsageError: the configuration is invalid, or cannot be trusted.
    """
    while True:
        path = os.path.join(directory, PYPROJECT)
        if os.path.lexists(path) and (table := _table(path)) is not None:
            return _project(directory, table)
        above = os.path.dirname(directory)
        if above == directory or os.path.lexists(os.path.join(directory, ".git")):
            return Project()
        directory = above


def _table(path: str) -> dict[str, Any] | None:
    """Return the library's table; `None` where a file has none."""
    import tomllib  # noqa: PLC0415 - only where there is a file

    from robodj_secretguard.textfile import read_trusted  # noqa: PLC0415

    read = contain(lambda: read_trusted(path, most=MAX_PYPROJECT_BYTES))
    if isinstance(read, BaseException):
        msg = f"{PYPROJECT} cannot be read"
        raise UsageError(msg)
    content, distrust = read
    document = contain(lambda: tomllib.loads(content.decode()))
    if isinstance(document, BaseException):
        msg = f"{PYPROJECT} is not valid TOML"
        raise UsageError(msg)
    tool = document.get("tool")
    names = [*document, *(tool if isinstance(tool, dict) else ())]
    if any(name != _NAME and _plain(name) == _plain(_NAME) for name in names) or _NAME in document:
        msg = f"{PYPROJECT} has a table that is not read; did you mean {_TABLE}?"
        raise UsageError(msg)
    table = tool.get(_NAME) if isinstance(tool, dict) else None
    if table is not None and distrust:
        fix = "run chmod go-w on it and on the directories above it, and run the command as its owner"
        msg = f"{_TABLE} in {PYPROJECT} is not trusted: {'; '.join(distrust)}; {fix}"
        raise UsageError(msg)
    return table


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _project(directory: str, table: Any) -> Project:
    if not isinstance(table, dict):
        msg = f"{_TABLE} in {PYPROJECT} must be a table"
        raise UsageError(msg)
    if not table.keys() <= _KINDS.keys():
        msg = f"{_TABLE} in {PYPROJECT} has an unknown key (choose from {', '.join(_KINDS)})"
        raise UsageError(msg)
    for key, value in table.items():
        if type(value) is not _KINDS[key]:
            msg = f"{_TABLE} in {PYPROJECT}: {key} must be {'true or false' if _KINDS[key] is bool else 'a string'}"
            raise UsageError(msg)
    log = table.get("operations-log")
    return Project(
        directory=directory,
        model=table.get("model"),
        operations_log=None if log is None else os.path.join(directory, log),
        strict=table.get("strict", False),
        require_env_only=table.get("require-env-only", False),
    )
