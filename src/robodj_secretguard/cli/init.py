"""`init`: write what a service needs into an existing project."""

from __future__ import annotations

import keyword
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from importlib import resources
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import create_model

from robodj_secretguard.cli.layout import (
    CODING,
    SETTINGS_FILE,
    Project,
    backend_of,
    has_build,
    makes_app,
    module_of,
    package_of,
    read_file,
    runner_of,
    source_roots,
)
from robodj_secretguard.cli.options import Commands, Request, add_command, directories_of_project
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, MODEL, Result, fail
from robodj_secretguard.common.files import make_directory, raise_file_error, reason, write_file
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.material import Kind
from robodj_secretguard.secret.policy import Material, SecretPolicy
from robodj_secretguard.secret.texts import PROGRAM, PYPROJECT, TABLE, ascii_text
from robodj_secretguard.settings import RuntimeSecrets, SecretSettings
from robodj_secretguard.startup.readings import REVOKED_FILE

CLASS: Final = "ServiceSecrets"
"""The name of the model in a new settings module."""
GATE: Final = "config/check_runtime_secrets.py"
IGNORE: Final = ".gitignore"
HOOKS: Final = ".pre-commit-config.yaml"

ISSUED_KINDS: Final[dict[str, Callable[..., Kind]]] = {
    "url": Material.url,
    "pem": Material.pem,
    "json": Material.json,
    "opaque": Material.opaque,
}
"""The kinds of `--secret` that somebody else issues. A secret without a kind is a generated key."""

_SCHEMES: Final = {
    "REDIS": ("redis", "rediss"),
    "MONGO": ("mongodb", "mongodb+srv"),
    "AMQP": ("amqp", "amqps"),
    "SENTRY": ("https",),
}
"""The schemes of a URL by the server in its variable. A client refuses temporary values of others."""
_OVERLAP: Final = timedelta(days=14)
_GENERATED: Final = f"overlap=timedelta(days={_OVERLAP.days})"
_INIT_TEXTS: Final[dict[str, str]] = tomllib.loads(
    resources.files(__package__).joinpath("init.toml").read_text(encoding="utf-8")
)


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "init",
        _init,
        options=("--format",),
        own={
            "--secret": {
                "action": "append",
                "default": [],
                "dest": "secrets",
                "type": _secret,
                "metavar": "NAME=VARIABLE[:KIND][:optional]",
                "help": "declare this secret instead of RoboDJ's two, as a key that the service generates; or with the"
                " KIND url, pem, json or opaque, as one that somebody else issues; repeatable",
            },
            "--settings": (
                "FILE",
                "the settings module to write (default: service_secrets.py in the project's package)",
            ),
            "--yes": "write the files (without --yes, only print what changes)",
        },
        defaults={"needs_model": False},
        kind="init",
        description="Set up this project. In the working directory, this writes the settings module, an empty"
        " revocation list and the hook for pre-commit. For RoboDJ's secrets, it writes the gate script and the"
        " templates of the key files too. It appends lines to .gitignore, pyproject.toml and setuptools' MANIFEST.in."
        " Lines that it cannot append are printed. Nothing that exists is overwritten.",
        examples=(
            "init",
            "init --secret session.key=SESSION_KEY",
            "init --secret database.url=DATABASE_URL:url",
            "init --yes",
        ),
        statuses={
            "0": "written, or nothing to do",
            "1": "nothing was written: --yes is missing",
            "2": "usage error, or a file cannot be written",
        },
    )


class Change(NamedTuple):
    """A file that a service needs. A blank file is filled like a missing one: nothing in it can be lost."""

    file: str  # relative to the working directory, with slashes
    before: str  # empty for a missing file
    text: str  # what to write or to append
    action: Literal["write", "keep", "paste"] = "write"

    @property
    def is_new(self) -> bool:
        """Whether the file is missing or blank."""
        return not self.before.strip()

    @property
    def after(self) -> str:
        """The whole file afterwards, with its own line ending."""
        if self.is_new:
            return self.text
        newline = "\r\n" if "\r\n" in self.before else "\n"
        gap = newline if self.before.endswith("\n") else newline * 2
        return self.before + gap + self.text.replace("\n", newline)


def _secret(text: str) -> SecretPolicy:
    """Return the policy of a secret that `--secret` declares."""
    name, variable, kind, optional = (
        re.fullmatch(f"([^=]*)=([^:]*)(?::({'|'.join(ISSUED_KINDS)}))?(:optional)?", text)
        or fail(
            "--secret: invalid; use NAME=VARIABLE, such as session.key=SESSION_KEY, or NAME=VARIABLE:KIND with the KIND"
            f" {', '.join(ISSUED_KINDS)}"
        )
    ).groups()
    server = re.fullmatch(r"(?:\w+_)?([A-Z]+?)(?:DB)?_(?:URL|URI|DSN)", variable)
    schemes = _SCHEMES.get(server[1], ()) if server and kind == "url" else ()
    more: dict[str, Any] = {"material": ISSUED_KINDS[kind](*schemes)} if kind else {"overlap": _OVERLAP}
    try:
        return SecretPolicy(name=name, variable=variable, required=not optional, **more)
    except ValueError as error:
        fail(f"--secret: invalid {str(error).removeprefix('SecretPolicy ')}")


def _fields_of(secrets: Sequence[SecretPolicy]) -> dict[str, SecretPolicy]:
    """Return the secrets by the names of their fields, if one model can declare all of them."""
    names = {policy: policy.variable.lower() for policy in secrets}
    fields = {
        f"{name}_secret" if keyword.iskeyword(name) or hasattr(SecretSettings, name) else name: policy
        for policy, name in names.items()
    }
    if len(fields) < len(secrets):
        fail("--secret: two secrets have the same variable; use another one")
    types: dict[str, Any] = {
        field: Annotated[Secret if policy.required else Secret | None, policy] for field, policy in fields.items()
    }
    try:
        create_model(CLASS, __base__=SecretSettings if fields else RuntimeSecrets, **types)
    except TypeError as error:
        fail(f"--secret: the model {str(error).removeprefix(f'{CLASS} ')}")
    return fields


def _init(request: Request, *, settings: str | None, secrets: list[SecretPolicy], yes: bool) -> Result:
    fields = _fields_of(secrets)
    try:
        project = tomllib.loads(read_file(PYPROJECT).removeprefix("\ufeff"))
        named = _named_model(request, project)
        file = _settings_file(settings, named, project)
        model = named or f"{module_of(file, source_roots(project))}:{CLASS}"
        plan = plan_changes(file, model, project, fields, is_named=named is not None)
    except OSError as error:
        fail(f"nothing was written: {reason(error)}")
    to_write = [change for change in plan if change.action == "write"]
    is_written = yes and bool(to_write)
    lines = [*_shown(plan, is_short=is_written)]
    stderr = list[str]()
    if is_written:
        write_changes(to_write)
        module, _, name = model.partition(":")
        files = [change.file for change in plan if change.action != "keep"]
        text = _INIT_TEXTS["left"].format(
            module=module, name=name, run=runner_of(project), files=" \\\n        ".join(files)
        )
        lines += text.splitlines()
    elif to_write:
        stderr = [f"{PROGRAM}: nothing was written; to write, add --yes"]
    elif all(change.action == "keep" for change in plan):
        lines.append("Nothing to do: this project is set up.")
    return Result(
        EXIT_ALERTS if to_write and not is_written else EXIT_CLEAN,
        [*map(ascii_text, lines), *(["", MODEL] if is_written or named else [])],
        lambda: {
            "kind": "init",
            "written": is_written,
            "changes": [
                {"file": change.file, "is_new": change.is_new, "added": change.text.splitlines()} for change in to_write
            ],
            "kept": [change.file for change in plan if change.action == "keep"],
            "by_hand": [
                {"file": change.file, "lines": change.text.splitlines()} for change in plan if change.action == "paste"
            ],
        },
        stderr,
        model={"name": ascii_text(model), "source": PYPROJECT} if is_written else None,
    )


def _named_model(request: Request, project: Project) -> str | None:
    """Return the model that this project names. One below a project that is set up may be another project."""
    if request.project_directory not in {"", here := os.getcwd()}:
        if project:
            return None
        fail(
            f"this project is set up already: run the command in the directory of its {PYPROJECT},"
            f" {ascii_text(os.path.relpath(request.project_directory, here))}"
        )
    if request.project_model and not re.fullmatch(r"[\w.]+:\w+", request.project_model):
        fail(f"{TABLE} in {PYPROJECT}: invalid model; write it as package.module:Class")
    return request.project_model


def _settings_file(option: str | None, model: str | None, project: Project) -> str:
    """Return the file of the settings module; empty where the project has a model that is in no file of it."""
    roots = source_roots(project)
    named = (model or "").partition(":")[0]
    if option is None and named:
        path = named.replace(".", "/")
        return next(filter(os.path.exists, (f"{root}/{path}.py".lstrip("/") for root in roots)), "")
    if option is None:
        package = package_of(project, roots)
        # Only from a wheel does everybody import the package, and so the application that it makes.
        file = f"{package}/{SETTINGS_FILE}" if backend_of(project) or not makes_app(package) else SETTINGS_FILE
        file = file.lstrip("/")
    else:
        file = os.path.normpath(option).replace(os.sep, "/")
    module = module_of(file, roots)
    if module is None:
        fail(
            "the settings module needs a path of names that Python can import, and no name of a standard module; use"
            " --settings with a path such as app/service_secrets.py"
        )
    if named and module != named:
        fail(f"--settings: {TABLE} in {PYPROJECT} names a model in another module; leave out --settings")
    if option is None and has_build(project) and "." not in module:
        fail(
            "no package was found, and in a wheel the revocation list needs one; name it as in"
            f" --settings src/PACKAGE/{SETTINGS_FILE}, or add --settings {SETTINGS_FILE} if nobody installs a wheel"
        )
    return file


def plan_changes(
    settings: str, model: str, project: Project, fields: Mapping[str, SecretPolicy], *, is_named: bool
) -> list[Change]:
    """Return every file that a service needs, in the order in which they are written.

    Args:
        settings: the file of the settings module; empty for no file.
        model: the name of the model.
        project: the document in pyproject.toml.
        fields: the project's own secrets, by their fields; empty for RoboDJ's.
        is_named: whether pyproject.toml names the model already. Then its files are the project's own: an empty
            revocation list could replace a lost one.
    """
    before = _settings_before(settings, fields, is_named=is_named)
    directory = os.path.dirname(settings)
    has_robodj_keys = not fields and (not before.strip() or RuntimeSecrets.__name__ in before)
    ignored = _INIT_TEXTS["ignored"].format(directory and f"{directory}/")
    plan = [_appended(IGNORE, ignored)]  # before there can be a key file
    if not is_named:
        plan += _new_files(settings, fields, has_robodj_keys=has_robodj_keys)
        plan += _gate(project, directory) if has_robodj_keys else []
        plan += _data_file(project, directory)
    # From the configuration on, every command uses the model.
    plan += [_hook(model, runner_of(project)), _configuration(model, is_named=is_named)]
    for change in plan:
        if change.action == "write":
            _require_place(change.file)
    return plan


def _settings_before(settings: str, fields: Mapping[str, SecretPolicy], *, is_named: bool) -> str:
    """Return the text of the settings module, if it can be the one of this command."""
    before = read_file(settings) if settings else ""
    is_there = bool(before.strip())
    is_declared = (f"    {field}: " in before or f'"{policy.variable}"' in before for field, policy in fields.items())
    if (is_there or is_named) and not all(is_declared):
        fail("--secret: this project has a settings module; declare more secrets there")
    if is_there and not is_named and f"class {CLASS}" not in before:
        raise_file_error(f"{settings}: it exists and has no class {CLASS}; pass --settings FILE with another name")
    return before


def _new_files(settings: str, fields: Mapping[str, SecretPolicy], *, has_robodj_keys: bool) -> Iterator[Change]:
    """Yield the settings module, the revocation list, and the templates of RoboDJ's key files."""
    directory = os.path.dirname(settings)
    prefix = directory and f"{directory}/"
    texts = {settings: _settings_module(fields)}
    for policy in RuntimeSecrets.secret_policies.values() if has_robodj_keys else ():
        texts[f"{prefix}{policy.file}.example"] = _INIT_TEXTS["key_file"].format(
            file=f"{prefix}{policy.file}",
            variable=policy.variable,
            generator=policy.replacement,
            name=re.sub(r"\W", "_", policy.name).upper(),
        )
    for file, text in {**texts, f"{prefix}{REVOKED_FILE}": HEADER}.items():
        yield _new(file, text)


def _new(file: str, text: str, *, by_hand: bool = False) -> Change:
    """Return the change of a file that only this command writes."""
    change = Change(file, read_file(file), text, "paste" if by_hand else "write")
    return change if change.is_new else change._replace(action="keep")


def _appended(file: str, text: str, *, by_hand: bool = False) -> Change:
    """Return the change of a file of another tool, which may have these lines already."""
    change = Change(file, read_file(file), text, "paste" if by_hand else "write")
    return change._replace(action="keep") if text.strip() in change.before.replace("\r\n", "\n") else change


def _gate(project: Project, directory: str) -> Iterator[Change]:
    """Yield the gate script. Setuptools could take a new directory beside a package for another package."""
    is_beside = directory.partition("/")[0] not in {"", *source_roots(project)}
    by_hand = is_beside and backend_of(project) == "setuptools" and not os.path.isdir(os.path.dirname(GATE))
    yield _new(GATE, _INIT_TEXTS["gate"], by_hand=by_hand)


def _data_file(project: Project, directory: str) -> Iterator[Change]:
    """Yield the line that takes the list into a wheel of setuptools. Others take every file of a package."""
    if directory and backend_of(project) == "setuptools":
        legacy = "setup.cfg" if os.path.exists("setup.cfg") else "setup.py"
        file = "MANIFEST.in" if "project" in project else legacy
        line = _INIT_TEXTS[file].format(directory=directory, file=REVOKED_FILE)
        yield _appended(file, line, by_hand=file != "MANIFEST.in")


def _hook(model: str, run: str) -> Change:
    """Return the pre-commit hook, for the root of the repository: pre-commit reads no other file."""
    file = HOOKS
    entry = f"{run}{PROGRAM} scan --staged --model {model}"
    here = os.getcwd()
    *_, root = directories_of_project(here)
    if root != here and os.path.lexists(os.path.join(root, ".git")):
        file = os.path.relpath(os.path.join(root, HOOKS)).replace(os.sep, "/")
        below = os.path.relpath(here, root).replace(os.sep, "/")
        place = below if re.fullmatch(r"[A-Za-z0-9_./-]+", below) else "DIRECTORY"
        entry = f"sh -c 'cd ./{place} && exec {entry}'"
    before = read_file(file)
    change = Change(
        file, before, ("  # Below repos:\n" if before.strip() else "repos:\n") + _INIT_TEXTS["hook"].format(entry)
    )
    if f"id: {PROGRAM}-scan" in before:
        return change._replace(action="keep")
    return change if change.is_new and file == HOOKS else change._replace(action="paste")


def _configuration(model: str, *, is_named: bool) -> Change:
    """Return the table of pyproject.toml. TOML may not allow another table."""
    change = Change(PYPROJECT, read_file(PYPROJECT), _INIT_TEXTS["configuration"].format(model))
    if is_named:
        return change._replace(action="keep")
    is_valid = False
    with suppress(tomllib.TOMLDecodeError):
        is_valid = isinstance(tomllib.loads(change.after)["tool"], dict)
    return change if is_valid else change._replace(action="paste")


def _settings_module(fields: Mapping[str, SecretPolicy]) -> str:
    """Return the text of a settings module with a project's own secrets, or RoboDJ's, as ruff formats it."""
    issued = [each for each in fields.values() if each.is_issued]
    own = len(fields) > 0
    names = ["Secret", "SecretPolicy", "SecretSettings"] if own else [RuntimeSecrets.__name__]
    classes = ["Material"] * bool(issued) + names
    imports = [
        *["from datetime import timedelta"] * (len(issued) < len(fields)),
        "from pathlib import Path",
        *["from typing import Annotated"] * own,
        "",
        f"from robodj_secretguard import {', '.join(classes)}",
    ]
    return _INIT_TEXTS["settings"].format(
        imports="\n".join(imports),
        base=(SecretSettings if own else RuntimeSecrets).__name__,
        fields="".join(_declared(field, policy) for field, policy in fields.items()),
    )


def _declared(field: str, policy: SecretPolicy) -> str:
    """Return the text of a field. Its policy has the arguments that differ from the defaults."""
    arguments = [
        *[f'name="{policy.name}"'] * (policy.name != field),
        *[f'variable="{policy.variable}"'] * (policy.variable != field.upper()),
        _material(policy) if policy.is_issued else _GENERATED,
        *["required=False"] * (not policy.required),
    ]
    return _INIT_TEXTS["field"].format(
        field=field,
        type="Secret" if policy.required else "Secret | None",
        arguments=",\n            ".join(arguments),
    )


def _material(policy: SecretPolicy) -> str:
    """Return the argument that declares the kind of an issued secret."""
    schemes = ", ".join(f'"{scheme}"' for scheme in getattr(policy.material, "schemes", ()))
    return f"material=Material.{type(policy.material).__name__.lower()}({schemes})"


def _require_place(file: str) -> None:
    """Raise an error where a path leads through a link out of this project, or through a file."""
    directory = os.path.dirname(file)
    expected = os.path.join(os.path.realpath(os.curdir), *file.split("/"))
    if os.path.realpath(file) != expected or (os.path.lexists(directory) and not os.path.isdir(directory)):
        raise_file_error(f"{file}: a part of its path is a link, or no directory; rename that part")


def write_changes(changes: Iterable[Change]) -> None:
    """Write the files, up to the first one that cannot be written. Others can write none of them."""
    for change in changes:
        file, exists = change.file, os.path.lexists(change.file)
        try:
            mode = stat.S_IMODE(os.stat(file).st_mode) & ~stat.S_IWOTH if exists else 0o644
            make_directory(os.path.dirname(file) or os.curdir, others=True)
            write_file(file, change.after.encode(*CODING), mode, replace=exists)
        except OSError as error:
            fail(f"{file}: {reason(error)}; fix that, then run this command again: it writes what is missing")


def _shown(plan: Sequence[Change], *, is_short: bool) -> Iterator[str]:
    """Yield each change like a diff, or its file alone; what stays, and what is to be pasted."""
    for change in plan:
        if change.action == "write":
            yield f"{change.file}{' (new file)' if change.is_new else ''}{'' if is_short else ':'}"
            yield from () if is_short else (*(f"+ {line}".rstrip() for line in change.text.splitlines()), "")
    yield from [""] * is_short
    if kept := [f"  {change.file}" for change in plan if change.action == "keep"]:
        yield from ("These files exist and stay as they are:", *kept, "")
    for change in plan:
        if change.action == "paste":
            what = _INIT_TEXTS["gate_by_hand"] if change.file == GATE else f"Add these lines to {change.file} by hand:"
            yield from (what, *change.text.splitlines(), "")
