"""What the commands share of their arguments: the options, how each is judged, and what it stands for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from robodj_secretguard.cli.project import PYPROJECT
from robodj_secretguard.errors import ModelError, UsageError
from robodj_secretguard.guard import check
from robodj_secretguard.loading import load_model
from robodj_secretguard.models import RuntimeSecrets, setup_of
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import (
    OPERATIONS_FILE,
    OPERATIONS_LOG,
    Environment,
    config_directory,
    parse_marker,
    place,
    within_config_dir,
)
from robodj_secretguard.texts import MOST_CHARACTERS, PROGRAM, ascii_text, is_environment, is_free_text, option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from robodj_secretguard.cli.output import Answer
    from robodj_secretguard.models import SecretSettings
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import Report
    from robodj_secretguard.sources import NamedBy

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name


def _free_text(name: str, text: str) -> str:
    if not is_free_text(text):
        limits = f"one line of printable text, up to {MOST_CHARACTERS} characters, without anything like a key"
        msg = f"{name} must be {limits}"
        raise UsageError(msg)
    return text


def _environment(text: str) -> str:
    if not is_environment(text):
        msg = "--environment must be a name like dev, staging or prod: lower-case letters, digits, hyphen, underscore"
        raise UsageError(msg)
    return text


def _moment(name: str, text: str) -> datetime:
    given = SealedStr(text)
    del text
    instant = parse_marker(given) or parse_marker(
        SealedStr(f"{given.get_secret_value()}T00:00Z")
    )  # of a date, its first
    if instant is None:
        msg = f"{name} must be a time like 2027-01-31T08:00:00Z, or a date like 2027-01-31"
        raise UsageError(msg)
    return instant


DEFAULT_MODEL: Final = "robodj_secretguard:RuntimeSecrets"
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "--require-env-only": {"action": "store_true", "help": "ignore fallback files"},
    "--config-dir": {
        "metavar": "DIR",
        "help": "the config directory (default: ROBODJ_CONFIG_DIR, otherwise the model's, otherwise config)",
    },
    "--model": {"metavar": "M:C", "help": "the settings model, as package.module:Class"},
    "--strict": {"action": "store_true", "help": "fail on warnings too"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "the output format"},
    "--operations-log": {
        "metavar": "FILE",
        "help": "the operations log (default: ROBODJ_OPERATIONS_LOG, otherwise the project's, otherwise"
        " logs/secret_operations.jsonl in the config directory)",
    },
    "--environment": {
        "metavar": "NAME",
        "type": _environment,
        "help": "where the keys are used: dev, staging, prod",
    },
    "--operator": {"metavar": "NAME", "type": partial(_free_text, "--operator"), "help": "who does it"},
    "--ticket": {"metavar": "ID", "type": partial(_free_text, "--ticket"), "help": "what it is done for"},
    "--reason": {
        "metavar": "TEXT",
        "type": partial(_free_text, "--reason"),
        "help": "why, in a line; it is kept and shown",
    },
    "--since": {
        "metavar": "TIME",
        "type": partial(_moment, "--since"),
        "help": "from then on: 2027-01-31T08:00Z, or a date (UTC)",
    },
    "--until": {"metavar": "TIME", "type": partial(_moment, "--until"), "help": "before then"},
}


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], Answer],
    *,
    options: Iterable[str],
    required: Iterable[str] = (),
    description: str,
    **more: Any,
) -> argparse.ArgumentParser:
    """Add a command, with those of the shared options that it takes.

    Args:
        commands: where it is added.
        name: its name.
        run: what it does.
        options: the shared options.
        required: those without which it does nothing.
        description: what it does; the first sentence is shown in the list of commands.
        more: further arguments of the parser.
    """
    short = description.partition(".")[0]
    parser = commands.add_parser(name, help=short, description=description, allow_abbrev=False, **more)
    parser.set_defaults(run=run, model=None, require_env_only=False, strict=False, uses_project_model=True)
    for each in required:
        parser.add_argument(each, required=True, **_OPTIONS[each])
    for each in options:
        parser.add_argument(each, **_OPTIONS[each])
    return parser


def add_group(commands: Commands, name: str, description: str) -> Commands:
    """Add a command whose first argument is a command.

    Args:
        commands: where it is added.
        name: its name.
        description: what it is about.
    """
    parser = commands.add_parser(name, help=description, description=description, allow_abbrev=False)
    return parser.add_subparsers(required=True, metavar="COMMAND")


def given(arguments: argparse.Namespace, *names: str) -> list[str]:
    """Return those of some options that were given, for a command that is told to an operator.

    What could be a key, or forge a line, is not repeated: its place is kept by the option's own word for it.

    Args:
        arguments: those of the command.
        names: the options' names in it.
    """
    words = []
    for name in names:
        word, value = f"--{name.replace('_', '-')}", getattr(arguments, name)
        if value is not None:
            words += option(word, value if value.isascii() and is_free_text(value) else _OPTIONS[word]["metavar"])
    return words


def model_of(arguments: argparse.Namespace) -> type[SecretSettings]:
    """Return the settings model that `--model` names, otherwise the project's, otherwise the policy's own.

    Raises:
        UsageError: there is no such model.
    """
    try:
        if arguments.model is not None:
            return load_model(arguments.model)
        if arguments.project.model is not None:
            return load_model(arguments.project.model, arguments.project.directory)
    except ModelError as error:
        named = "--model" if arguments.model is not None else f"model in {PYPROJECT}"
        msg = f"{named}: {error}"
        raise UsageError(msg) from None
    return RuntimeSecrets


def model_used(arguments: argparse.Namespace) -> dict[str, str]:
    """Return which model a command used, and what named it: `option`, `pyproject.toml` or `default`."""
    for name, source in ((arguments.model, "option"), (arguments.project.model, PYPROJECT)):
        if name is not None:
            return {"name": ascii_text(name), "source": source}
    return {"name": DEFAULT_MODEL, "source": "default"}


def model_line(arguments: argparse.Namespace) -> str:
    """Return which model a command used, as one line."""
    used = model_used(arguments)
    return f"model: {used['name']}" + (f" ({used['source']})" if used["source"] != "option" else "")


def told_model(arguments: argparse.Namespace, *more: str) -> str:
    """Return which model a command used, and what else goes to stderr, where stdout is not for that."""
    return "\n".join(filter(None, (f"{PROGRAM}: {model_line(arguments)}", *more)))


def policy_of(model: type[SecretSettings], name: str) -> SecretPolicy:
    """Return the declared secret of a name, or of a variable.

    Raises:
        UsageError: there is none.
    """
    policies = model.secret_policies.values()
    for policy in policies:
        if name in {policy.name, policy.variable}:
            return policy
    msg = f"there is no such secret: the model declares {', '.join(policy.name for policy in policies)}"
    raise UsageError(msg)


def directory_of(arguments: argparse.Namespace, model: type[SecretSettings]) -> tuple[str, NamedBy | None]:
    """Return the config directory, and what named it; `None` where nothing did."""
    return config_directory(Environment(), arguments.config_dir, setup_of(model))


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the operations log is.

    Attributes:
        path: its path.
        name: what it is called, without a path that somebody gave.
        named_by: what named it.
        makes: the directories that are made for it: nobody named them.
    """

    path: str
    name: str
    named_by: str | None = None
    makes: tuple[str, ...] = ()


def log_place(arguments: argparse.Namespace, model: type[SecretSettings]) -> LogPlace:
    """Return where the operations log is.

    Args:
        arguments: those of the command.
        model: the settings model, which may name the config directory.
    """
    if arguments.operations_log is not None:
        return LogPlace(arguments.operations_log, "the operations log that --operations-log names", "option")
    if variable := Environment().get(OPERATIONS_LOG):
        name = f"the operations log that {OPERATIONS_LOG} names"
        return LogPlace(variable.get_secret_value(), name, "environment")
    if arguments.project.operations_log is not None:
        path = arguments.project.operations_log
        return LogPlace(path, f"the operations log that {PYPROJECT} names", PYPROJECT, (os.path.dirname(path),))
    directory, named_by = directory_of(arguments, model)
    path = os.path.join(directory, within_config_dir(OPERATIONS_FILE))
    makes = (os.path.dirname(path),) if named_by else (directory, os.path.dirname(path))
    return LogPlace(path, f"the operations log {place(OPERATIONS_FILE, named_by)}", makes=makes)


def judged(arguments: argparse.Namespace, model: type[SecretSettings]) -> Report:
    """Return the check's report, under the options that were given.

    Args:
        arguments: those of the command.
        model: the settings model.
    """
    return check(model, config_dir=arguments.config_dir, require_env_only=arguments.require_env_only)


def passes(arguments: argparse.Namespace, report: Report) -> bool:
    """Return whether a report passes, with `--strict` or without it."""
    return report.ok and not (arguments.strict and report.warnings)


def span_of(arguments: argparse.Namespace) -> tuple[datetime, datetime]:
    """Return the time from `--since` to before `--until`, by default all time.

    Raises:
        UsageError: they are the wrong way round.
    """
    since = arguments.since or datetime.min.replace(tzinfo=UTC)
    until = arguments.until or datetime.max.replace(tzinfo=UTC)
    if until <= since:
        msg = "--until must be later than --since"
        raise UsageError(msg)
    return since, until
