"""The options that commands share, the project's pyproject.toml, and input files."""

from __future__ import annotations

import argparse
import os
import re
import sys
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TextIO, TypeAlias

from robodj_secretguard.cli.output import Result, fail, fail_unknown, is_terminal, wrapped
from robodj_secretguard.common.loading import load_model
from robodj_secretguard.errors import CheckFailedError, UsageError
from robodj_secretguard.guarding import examine
from robodj_secretguard.secret.material import bare
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import (
    MOST_CHARACTERS,
    PROGRAM,
    PYPROJECT,
    TABLE,
    ascii_text,
    is_environment,
    is_free_text,
    option,
)
from robodj_secretguard.settings import RuntimeSecrets, SecretSettings, setup_of
from robodj_secretguard.startup.emit import write_line
from robodj_secretguard.startup.inputs import OPERATIONS_LOG, parse_marker
from robodj_secretguard.startup.model_option import LIBRARY_MODEL
from robodj_secretguard.startup.readings import (
    OPERATIONS_FILE,
    PIPED,
    Environment,
    NamedBy,
    config_directory,
    shown_path,
    within_config_dir,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from robodj_secretguard.fleet.verdict import Verdict
    from robodj_secretguard.managers.manager import Sources
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.report import Report

Settings: TypeAlias = dict[str, Any]
"""The settings of an argument, as argparse takes them."""
Argument: TypeAlias = "Settings | str | tuple[str, str]"
"""An argument: its settings, the help of a switch, or the placeholder and the help of a value."""
Commands: TypeAlias = "argparse._SubParsersAction[Any]"  # noqa: SLF001 - it has no public name

NEED_PROJECT: Final = ("generate", "rotate", "revoke")
"""The commands that make, print or write keys: without a model, they would do so with those of another service."""
MAX_PYPROJECT_BYTES: Final = 1 << 20
MAX_DOCUMENT_BYTES: Final = 1 << 26
PIPE: Final = "-"
FORMAT: Final[Settings] = {
    "choices": ("text", "json"),
    "default": "text",
    "help": "the output format (default: text)",
}
"""The option `--format`. A command that offers metrics too replaces the choices."""

PROJECT_KEYS: Final[dict[str, tuple[type, ...]]] = {
    "model": (str,),
    "operations-log": (str,),
    "strict": (bool,),
    "require-env-only": (bool,),
    "ephemeral-tests": (bool, list),  # for the pytest plugin
}
_KINDS_OF_VALUES: Final = {str: "a string", bool: "true or false", list: "a list of secrets' names"}


def _valid(accepts: Callable[[str], bool], why: str, text: str) -> str:
    """Return the text of an option, if it is valid."""
    return text if accepts(text) else fail(why)


def _free_text(name: str) -> Callable[[str], str]:
    return partial(
        _valid,
        is_free_text,
        f"{name}: invalid text; use one line of at most {MOST_CHARACTERS} printable characters, without anything that"
        " looks like a key",
    )


def _moment(name: str, text: str) -> datetime:
    return (
        parse_marker(SealedStr(text))
        or parse_marker(SealedStr(f"{text}T00:00Z"))
        or fail(f"{name}: invalid time; use one like 2027-01-31T08:00:00Z, or a date like 2027-01-31")
    )


def seconds(name: str, text: str, *, least: float = 0, most: float = 9999) -> float:
    """Return the value of an option that is a number of seconds."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) or not least <= float(text) <= most:
        fail(f"{name}: invalid number of seconds; use one from {least:g} to {most:g}")
    return float(text)


# The options that several commands share.
_OPTIONS: Final[dict[str, Argument]] = {
    "--require-env-only": "as in production: refuse keys in fallback files",
    "--config-dir": (
        "DIR",
        (
            "the directory of the revocation list and of fallback files (default: ROBODJ_CONFIG_DIR, otherwise the"
            " model's, otherwise config)"
        ),
    ),
    "--model": (
        "MODULE:CLASS",
        (
            "the class that declares the secrets, such as app.service_secrets:ServiceSecrets (default: the one in"
            " pyproject.toml; without one, what makes keys is refused, and the rest uses RoboDJ's two secrets)"
        ),
    ),
    "--from": {
        "action": "append",
        "dest": "sources",
        "default": [],
        "metavar": "SOURCE",
        "help": "read the keys from vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH, envfile:PATH, exec:PROGRAM or"
        " json:- (stdin), not from the environment; repeatable, the first source that has a secret delivers it",
    },
    "--to": ("SOURCE", "the store: vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH, envfile:PATH or exec:PROGRAM"),
    "--single-writer": "for a program of exec: that compares no versions: nobody else writes at the same time",
    "--wait": {
        "type": partial(seconds, "--wait"),
        "metavar": "SECONDS",
        "help": "how long to try again where a source of --from does not answer (default: 30)",
    },
    "--strict": "fail on warnings too",
    "--format": FORMAT,
    "--color": {
        "choices": ("auto", "always", "never"),
        "default": "auto",
        "metavar": "WHEN",
        "help": "colour in the text: auto (default: on a terminal, unless NO_COLOR is set), always or never",
    },
    "--operations-log": (
        "FILE",
        (
            "the file that records rotations and revocations (default: ROBODJ_OPERATIONS_LOG, otherwise the"
            " project's, otherwise logs/secret_operations.jsonl in the config directory)"
        ),
    ),
    "--environment": {
        "metavar": "NAME",
        "type": partial(
            _valid,
            is_environment,
            "--environment: invalid name; use lower-case letters, digits, hyphens and underscores, such as prod",
        ),
        "help": "the environment where the keys are used, such as prod",
    },
    "--operator": {"metavar": "NAME", "type": _free_text("--operator"), "help": "your name, for the record"},
    "--ticket": {"metavar": "ID", "type": _free_text("--ticket"), "help": "the ticket of this work, for the record"},
    "--reason": {
        "metavar": "TEXT",
        "type": _free_text("--reason"),
        "help": "why, in one line, for the record",
    },
    "--note": {
        "metavar": "TEXT",
        "type": _free_text("--note"),
        "help": "a remark for the record, such as who reviewed the rotation; nothing verifies it",
    },
    "--since": {
        "metavar": "TIME",
        "type": partial(_moment, "--since"),
        "help": "from this time on: 2027-01-31T08:00Z, or a date (UTC)",
    },
    "--until": {"metavar": "TIME", "type": partial(_moment, "--until"), "help": "before this time"},
}
_TOGETHER: Final = {"--from": ("--from", "--wait")}
LOG_OPTIONS: Final = ("--operations-log", "--config-dir", "--model", "--format")
"""The options of the commands that read or write the log."""
CHECK_OPTIONS: Final = (
    "--from",
    "--require-env-only",
    "--config-dir",
    "--model",
    "--strict",
    "--format",
    "--operations-log",
)
"""The options of `check`, `exec` and `status`."""
_GROUPS: Final = {
    "arguments": (),
    "required": (),
    "options": ("--help",),
    "files and model": (
        "--config-dir",
        "--model",
        "--operations-log",
        "--known",
        "--key-from",
        "--keys-from",
        "--fleet",
    ),
    "output": ("--format", "--show", "--color"),
}
"""The groups of a command's help, and the options that have a place in them wherever they are used."""
_IN_USAGE: Final = {None: "{}", "?": "[{}]", "*": "[{}\xa0...]"}
"""How a usage line shows an argument, by its `nargs`."""


def _settings_of(argument: Argument) -> Settings:
    if isinstance(argument, str):
        return {"action": "store_true", "help": argument}
    if isinstance(argument, tuple):
        metavar, text = argument
        return {"metavar": metavar, "help": text}
    return argument


def add_command(
    commands: Commands,
    name: str,
    run: Callable[..., Result],
    *,
    description: str,
    examples: Sequence[str],
    statuses: Mapping[str, str],
    kind: str,
    required: Iterable[str] = (),
    options: Iterable[str] = (),
    own: Mapping[str, Argument] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Add a command with shared options and its own arguments.

    Its function `run` gets the `Request`, and each option that is not in it as a keyword argument. `--from` brings
    `--wait` with it. `kind` is that of the JSON document that it prints.
    """
    parser = commands.add_parser(
        name,
        add_help=False,
        help=description.partition(".")[0],
        description=description,
        examples=examples,
        statuses=statuses,
        kind=kind,
    )
    needs_project = parser.prog.split()[1] in NEED_PROJECT
    parser.set_defaults(run=run, needs_project=needs_project, **(defaults or {}))
    groups = {title: parser.add_argument_group(title) for title in _GROUPS}
    titles = {each: title for title, names in _GROUPS.items() for each in names}
    words = {"required": [parser.prog], "options": ["[options]"], "arguments": list[str]()}
    for each, argument in {
        "--help": {"action": "help", "help": "show this text"},
        **{each: {"required": True, **_settings_of(_OPTIONS[each])} for each in required},
        **{each: _OPTIONS[each] for name in (*options, "--color") for each in _TOGETHER.get(name, (name,))},
        **(own or {}),
    }.items():
        settings = _settings_of(argument)
        title = titles.get(each, "options" if each.startswith("-") else "arguments")
        if title == "arguments":
            words[title].append(_IN_USAGE[settings.get("nargs")].format(settings["metavar"]))
        elif settings.get("required"):
            title = "required"
            words[title].append(f"{each}\xa0{settings['metavar']}")
        groups[title].add_argument(*(["-h"] if each == "--help" else []), each, **settings)
    if parser.get_default("takes_command"):
        words["arguments"] = ["--\xa0COMMAND\xa0..."]
    usage = wrapped(" ".join(chain.from_iterable(words.values())), " " * 11, parser.width - len("usage: "))
    parser.usage = usage.replace("\xa0", " ")  # no line ends within an option


def add_group(commands: Commands, name: str, description: str, titles: Mapping[str, str]) -> Commands:
    """Add a command whose first argument is a command. The help has some titles before some commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=description,
        description=f"{description}.",
        usage=f"{PROGRAM} {name} COMMAND [options]",
        titles=titles,
    )
    return parser.add_subparsers(prog=parser.prog, required=True, metavar="COMMAND", help=argparse.SUPPRESS)


def given(request: Request, *names: str) -> list[str]:
    """Return the options that were passed, for a command in a message. It also names the default model."""
    name, source = _model_name(request)
    request = request._replace(model=None if source == PYPROJECT else name)  # no command in the project needs it
    return [word for name in names for word in given_option(name, getattr(request, name))]


def given_set_up(request: Request) -> list[str]:
    """Return the options for the log, the config directory and the model that were passed, for a command."""
    return given(request, "operations_log", "config_dir", "model")


def require_project(request: Request) -> None:
    """Refuse to make, print or write keys where no model is named."""
    if _model_name(request)[1] == "default":
        fail(
            f"no model is named, so nothing was done; pass --model MODULE:CLASS, or add model to {TABLE} in {PYPROJECT}"
            f" (RoboDJ's two secrets: --model {LIBRARY_MODEL})"
        )


def given_sources(request: Request) -> list[str]:
    """Return the options `--from` that were passed, for a command in a message. Nothing is piped into that command."""
    return [word for source in request.sources if source != PIPED for word in ("--from", source)]


def given_option(name: str, value: str | None) -> list[str]:
    """Return an option that was passed, for a command in a message.

    A value that could be a key, or that could forge a line, is replaced by the option's metavar.
    """
    word = f"--{name.replace('_', '-')}"
    if value is None:
        return []
    return option(word, value if value.isascii() and is_free_text(value) else _settings_of(_OPTIONS[word])["metavar"])


def with_model_class(request: Request) -> Request:
    """Return a request with its settings model: from `--model`, otherwise the project's, otherwise the default."""
    name, source = _model_name(request)
    if source == "default":
        return request
    try:
        model = load_model(name, request.project_directory if source == PYPROJECT else "")
    except UsageError as error:
        fail(f"{'--model' if source == 'option' else f'model in {PYPROJECT}'}: {error}")
    return request._replace(model_class=model)


def model_used(request: Request) -> dict[str, str]:
    """Return the model of a command, and its source: `option`, `pyproject.toml` or `default`."""
    name, source = _model_name(request)
    return {"name": ascii_text(name), "source": source}


def _model_name(request: Request) -> tuple[str, str]:
    if request.model is not None:
        return request.model, "option"
    if request.project_model is not None and request.uses_project_model:
        return request.project_model, PYPROJECT
    return LIBRARY_MODEL, "default"


def policy_of(model: type[SecretSettings], name: str) -> SecretPolicy:
    """Return the declared secret with a name or a variable."""
    policies = model.secret_policies.values()
    found = next((policy for policy in policies if name in {policy.name, policy.variable}), None)
    return found or fail_unknown(
        "unknown secret", name, [policy.name for policy in policies], [policy.variable for policy in policies]
    )


def directory_of(request: Request) -> tuple[str, NamedBy | None]:
    """Return the config directory and its source; `None` for the default."""
    return config_directory(Environment(), request.config_dir, setup_of(request.model_class))


def read_sources(request: Request) -> Sources | None:
    """Read the sources of `--from`; return `None` without the option."""
    if not request.sources:
        return None
    from robodj_secretguard.managers.manager import load_sources  # noqa: PLC0415 - few commands have sources

    return load_sources(
        request.sources,
        request.model_class,
        wait=30.0 if request.wait is None else request.wait,
        require_env_only=request.require_env_only,
        say=lambda line: write_line(sys.stderr, f"{PROGRAM}: {line}"),
    )


def judged(request: Request, sources: Sources | None = None) -> Report:
    """Return the check's report, with the options of the command."""
    if sources:
        return sources.check(
            request.model_class, config_dir=request.config_dir, require_env_only=request.require_env_only
        )
    return examine(
        request.model_class,
        environment=Environment(),
        config_dir=request.config_dir,
        require_env_only=request.require_env_only,
        is_elsewhere=request.require_env_only,
    ).report


def passes(request: Request, report: Report) -> bool:
    """Return whether a report passes, with `--strict` or without it."""
    return report.ok and not (request.strict and report.warnings)


def span_of(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Return the time from `--since` to before `--until`, by default all time."""
    since = since or datetime.min.replace(tzinfo=UTC)
    until = until or datetime.max.replace(tzinfo=UTC)
    if until <= since:
        fail("--until must be later than --since")
    return since, until


def locate_log(request: Request) -> tuple[str, str, str | None, tuple[str, ...]]:
    """Return the path of the operations log, its name in messages, what names it, and the directories to make."""
    variable = Environment().get(OPERATIONS_LOG)
    candidates = {
        "--operations-log": request.operations_log,
        OPERATIONS_LOG: variable.get_secret_value() if variable else None,
        PYPROJECT: request.project_log and os.path.join(request.project_directory, request.project_log),
    }
    for named_by, path in candidates.items():
        if path is not None:
            directories: tuple[str, ...] = (os.path.dirname(path),) if named_by == PYPROJECT else ()
            return path, f"the operations log that {named_by} names", named_by, directories
    directory, directory_named_by = directory_of(request)
    path = os.path.join(directory, within_config_dir(OPERATIONS_FILE))
    directories = (os.path.dirname(path),) if directory_named_by else (directory, os.path.dirname(path))
    return path, f"the operations log {shown_path(OPERATIONS_FILE, directory_named_by)}", None, directories


@contextmanager
def opened_input(name: str, path: str) -> Iterator[BinaryIO]:
    """Open the regular file that an option names, or stdin for `-`.

    A terminal is refused, since it would show a typed key. Pipes and devices are refused at once.
    """
    from robodj_secretguard.common.files import open_unlinked, regular_status  # noqa: PLC0415 - the gate opens no input

    stdin: Any = getattr(sys, "stdin", None)
    if path == PIPE and is_terminal(stdin):
        fail(f"{name} {PIPE}: stdin is a terminal; pipe the content in, or name a file")
    why = f"{name}: the file is missing, unreadable or not a regular file; check its name, or use {PIPE} for a pipe"
    if path == PIPE and stdin is None:
        fail(why)
    try:
        with (
            nullcontext(stdin.buffer)
            if path == PIPE
            else open(os.path.realpath(path), "rb", opener=open_unlinked) as file
        ):
            if path != PIPE:
                regular_status(file.fileno())
            yield file
    except (OSError, ValueError):  # an invalid path, or a closed stdin
        fail(why)


def read_input(name: str, path: str, *, most: int) -> bytes:
    """Return the content of the regular file that an option names, or of stdin, up to a number of bytes."""
    with opened_input(name, path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        fail(f"{name}: the input is larger than the limit of {most} bytes")
    return content


def fleet_of(path: str | None) -> list[Verdict] | None:
    """Return the verdicts in the file of `--fleet`, if it is passed."""
    if path is None:
        return None
    from pydantic_core import from_json, to_json  # noqa: PLC0415 - few commands have verdicts

    from robodj_secretguard.fleet.verdict import VERDICTS  # noqa: PLC0415

    try:
        return VERDICTS.validate_json(
            to_json(from_json(read_input("--fleet", path, most=MAX_DOCUMENT_BYTES))["verdicts"])
        )
    except (ValueError, LookupError, TypeError):
        fail("--fleet: invalid file; use the output of fleet --require CONDITION --format json")


class Request(NamedTuple):
    """The options that commands share, and the project's configuration. Switches of both are joined here."""

    model: str | None = None
    config_dir: str | None = None
    operations_log: str | None = None
    require_env_only: bool = False
    strict: bool = False
    sources: Sequence[str] = ()
    wait: float | None = None
    environment: str | None = None
    operator: str | None = None
    ticket: str | None = None
    reason: str | None = None
    note: str | None = None
    format: str = "text"
    project_directory: str = ""  # where its pyproject.toml is; empty where there is none
    project_model: str | None = None
    project_log: str | None = None
    uses_project_model: bool = True
    stdout: TextIO | None = None  # without the output of a model's module
    model_class: type[SecretSettings] = RuntimeSecrets

    @property
    def policies(self) -> tuple[SecretPolicy, ...]:
        """The declared secrets."""
        return tuple(self.model_class.secret_policies.values())


def request_of(arguments: argparse.Namespace) -> tuple[Request, dict[str, Any]]:
    """Return the options that commands share, and those of one command.

    The project's configuration holds where no option is passed. Its switches can only tighten.
    """
    others = {"color", "run", "takes_command", "needs_project", "needs_model"}
    own = {name: value for name, value in vars(arguments).items() if name not in others}
    request = Request(**{name: own.pop(name) for name in Request._fields if name in own})
    if request.wait is not None and not (request.sources or "roster" in own):  # a roster names sources too
        fail("--wait works only with --from; leave it out")
    if "json:-" in request.sources and (of_stdin := [name for name, value in own.items() if value == PIPE]):
        fail(f"--{of_stdin[0].replace('_', '-')} {PIPE} and --from json:- both read stdin; name a file for one of them")
    project = dict[str, Any]()
    with suppress(OSError):  # the working directory was deleted
        project = find_project(os.getcwd())
    request = request._replace(
        project_directory=project.get("directory", ""),
        project_model=project.get("model"),
        project_log=project.get("operations-log"),
        strict=request.strict or project.get("strict", False),
        require_env_only=request.require_env_only or project.get("require-env-only", False),
    )
    if arguments.needs_project:
        require_project(request)
    return request, own


def find_project(directory: str, *, must_trust: bool = True) -> dict[str, Any]:
    """Return the nearest configuration at or above an absolute path, within its repository, and its directory.

    `must_trust` refuses a file that others can write.
    """
    for above in directories_of_project(directory):
        path = os.path.join(above, PYPROJECT)
        if os.path.lexists(path) and (table := _project_table(path, must_trust=must_trust)) is not None:
            return _require_project(table) | {"directory": above}
    return {}


def directories_of_project(directory: str) -> Iterator[str]:
    """Yield an absolute path and every directory above it, up to the root of its git repository."""
    above = ""
    while above != directory:
        yield directory
        if os.path.lexists(os.path.join(directory, ".git")):
            return
        above = directory
        directory = os.path.dirname(directory)


def _project_table(path: str, *, must_trust: bool) -> Any:
    """Return the library's table, if the file has one."""
    import tomllib  # noqa: PLC0415 - only where there is a file

    from robodj_secretguard.startup.file_reader import read_text_file  # noqa: PLC0415
    from robodj_secretguard.startup.inputs import OWNED  # noqa: PLC0415

    file = read_text_file(path, most=MAX_PYPROJECT_BYTES, is_whole=True)
    if file.unreadable or not file.exists:
        fail(f"{PYPROJECT} cannot be read; make it a regular file in UTF-8, of at most {MAX_PYPROJECT_BYTES} bytes")
    try:
        document = contain(lambda: tomllib.loads("".join([text.get_secret_value() for text in file.lines])))
    except CheckFailedError:
        fail(f"{PYPROJECT} is not valid TOML in UTF-8; fix it")
    tool = document.get("tool")
    tools = tool if isinstance(tool, dict) else {}
    if PROGRAM in document or any(each != PROGRAM and bare(each) == bare(PROGRAM) for each in (*document, *tools)):
        fail(f"{PYPROJECT} has a table that is not read; did you mean {TABLE}?")
    table = tools.get(PROGRAM)
    distrust = [*file.exposed, *[each for each in file.foreign if each == OWNED]]
    if table is not None and distrust and must_trust:
        fail(
            f"{TABLE} in {PYPROJECT} is not trusted: it {' and '.join(distrust)}; run chmod go-w on it and on the"
            " directories above it, and run the command as its owner"
        )
    return table


def _require_project(table: Any) -> dict[str, Any]:
    """Return the library's table, if it is valid."""
    if not isinstance(table, dict):
        fail(f"{TABLE} in {PYPROJECT} is not a table; write it as {TABLE}")
    for key, value in table.items():
        if key not in PROJECT_KEYS:
            fail_unknown(f"{TABLE} in {PYPROJECT} has an unknown key", key, PROJECT_KEYS)
        if type(value) not in PROJECT_KEYS[key]:
            kinds = ", or ".join(_KINDS_OF_VALUES[each] for each in PROJECT_KEYS[key])
            fail(f"{TABLE} in {PYPROJECT}: {key} must be {kinds}")
    return table
