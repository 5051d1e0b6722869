"""What every command shares: its options, its answer, and how it says no."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.checks import check
from robodj_secretguard.loading import load_model
from robodj_secretguard.models import RuntimeSecrets
from robodj_secretguard.rules.expiry import expiry
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from robodj_secretguard.findings import Report
    from robodj_secretguard.models import SecretSettings
    from robodj_secretguard.policy import SecretPolicy


EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2


class UsageError(Exception):
    """A usage error, or work that could not be done. Its text is ours alone: what was passed may be a key."""


@dataclass(frozen=True)
class Answer:
    """What a command has to say.

    Attributes:
        status: the exit status.
        result: what goes to stdout.
        told: what goes to stderr.
        end: what follows the result.
        events: what was recorded, in the plain types of JSON; each goes to the log system, a fleet's shared record.
        then: what is to be done after that, with an answer of its own.
    """

    status: int
    result: str = field(default="", repr=False)
    told: str = ""
    end: str = "\n"
    events: Sequence[dict[str, Any]] = ()
    then: Callable[[], Answer] | None = None


_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "--require-env-only": {"action": "store_true", "help": "rule fallback files out"},
    "--config-dir": {"metavar": "DIR", "help": "where the fallback files are (default: config)"},
    "--model": {"metavar": "M:C", "help": "the settings model, as package.module:Class"},
    "--strict": {"action": "store_true", "help": "fail on warnings too"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "the form of the result"},
    "--operations-log": {
        "metavar": "FILE",
        "help": "the operations log (default: ROBODJ_OPERATIONS_LOG, else logs/secret_operations.jsonl in the config"
        " directory)",
    },
    "--environment": {"metavar": "NAME", "help": "where the keys are used: dev, staging, prod"},
    "--operator": {"metavar": "NAME", "help": "who does it"},
    "--ticket": {"metavar": "ID", "help": "what it is done for"},
    "--since": {"metavar": "TIME", "help": "from then on: 2027-01-31T08:00Z, or a date (UTC)"},
    "--until": {"metavar": "TIME", "help": "before then"},
}


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], Answer],
    *,
    options: Iterable[str],
    description: str,
    **more: Any,
) -> argparse.ArgumentParser:
    """Add a command, with those of the shared options that it takes.

    Args:
        commands: where it is added.
        name: its name.
        run: what it does.
        options: the names of the shared options.
        description: what it does, in a sentence for its help; the first clause is shown in the list of commands.
        more: further arguments of the parser.
    """
    short = description.partition(".")[0]
    parser = commands.add_parser(name, help=short, description=description, allow_abbrev=False, **more)
    parser.set_defaults(run=run, model=None)
    for option in options:
        parser.add_argument(option, **_OPTIONS[option])
    return parser


def add_group(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, description: str
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Add a command whose first argument is a command.

    Args:
        commands: where it is added.
        name: its name.
        description: what it is about.
    """
    parser = commands.add_parser(name, help=description, description=description, allow_abbrev=False)
    return parser.add_subparsers(required=True, metavar="COMMAND")


def model_of(arguments: argparse.Namespace) -> type[SecretSettings]:
    """Return the settings model that `--model` names, else the policy's own.

    Raises:
        ModelError: there is no such model.
    """
    return RuntimeSecrets if arguments.model is None else load_model(arguments.model)


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


def judged(arguments: argparse.Namespace, model: type[SecretSettings], *, require_env_only: bool = False) -> Report:
    """Return the check's report, under the options that were given.

    Args:
        arguments: those of the command.
        model: the settings model.
        require_env_only: rule fallback files out whatever was given.
    """
    only = require_env_only or getattr(arguments, "require_env_only", False)
    return check(model, config_dir=arguments.config_dir, require_env_only=only)


def moment(text: str | None, option: str) -> datetime | None:
    """Return an instant that was given, in UTC; a date is its first one.

    Args:
        text: what was given.
        option: by which option.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    given = SealedStr(text)
    del text
    instant = expiry(given) or expiry(SealedStr(f"{given.get_secret_value()}T00:00Z"))
    if instant is None:
        msg = f"{option} must be a time like 2027-01-31T08:00:00Z, or a date like 2027-01-31"
        raise UsageError(msg)
    return instant


def span_of(arguments: argparse.Namespace) -> tuple[datetime, datetime]:
    """Return the time between `--since` and `--until`, by default all time.

    Raises:
        UsageError: one is no time, or they are the wrong way round.
    """
    since = moment(arguments.since, "--since") or datetime.min.replace(tzinfo=UTC)
    until = moment(arguments.until, "--until") or datetime.max.replace(tzinfo=UTC)
    if until <= since:
        msg = "--until must be later than --since"
        raise UsageError(msg)
    return since, until


def document(**fields: Any) -> str:
    """Return a result as one JSON document, with the version of its shape first."""
    return json.dumps({"schema": 1, **fields}, indent=2)
