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
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import SecretStr, create_model

from robodj_secretguard.cli.layout import (
    INIT_TEXTS,
    data_file,
    discovery,
    has_build,
    ignored_by_git,
    module_of,
    notes_of,
    package_of,
    runner_of,
    source_roots,
)
from robodj_secretguard.cli.options import Commands, Request, add_command, directories_of_project
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, MODEL, WIDTH, Result, fail, wrapped
from robodj_secretguard.common.files import (
    make_directory,
    raise_file_error,
    read_unlinked,
    reason,
    write_file,
)
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.secret.material import Kind
from robodj_secretguard.secret.policy import Material, SecretPolicy
from robodj_secretguard.secret.texts import PROGRAM, PYPROJECT, TABLE, ascii_text
from robodj_secretguard.startup.readings import REVOKED_FILE
from robodj_secretguard.startup.settings import RuntimeSecrets, SecretSettings

CLASS: Final = "ServiceSecrets"
"""The name of the model in a new settings module."""
SETTINGS_FILE: Final = "service_secrets.py"
GATE: Final = "config/check_runtime_secrets.py"
IGNORE: Final = ".gitignore"
HOOKS: Final = ".pre-commit-config.yaml"
LARGEST_FILE: Final = 1 << 20
"""The largest file that `init` extends."""

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
"""The schemes of a URL by the server in its variable, so its temporary values are of these schemes too."""
_OVERLAP: Final = timedelta(days=14)
_CODING: Final = ("utf-8", "surrogateescape")  # keeps every byte


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
            "--settings": {
                "metavar": "FILE",
                "help": "the settings module to write (default: service_secrets.py in the project's package)",
            },
            "--yes": {"action": "store_true", "help": "write the files (without --yes, only print what changes)"},
        },
        kind="init",
        description="Set up this project. In the working directory, this writes the settings module, an empty"
        " revocation list and the hook for pre-commit. For RoboDJ's secrets, it writes the gate script and the"
        " templates of the key files too. It appends lines to .gitignore, pyproject.toml and what setuptools reads."
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
    word = re.fullmatch(r"(?:\w+_)?([A-Z]+?)(?:DB)?_(?:URL|URI|DSN)", variable)
    schemes = _SCHEMES.get(word[1], ()) if word and kind == "url" else ()
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
        field: Annotated[SecretStr if policy.required else SecretStr | None, policy] for field, policy in fields.items()
    }
    try:
        create_model(CLASS, __base__=SecretSettings if fields else RuntimeSecrets, **types)
    except TypeError as error:
        fail(f"--secret: the model {str(error).removeprefix(f'{CLASS} ')}")
    return fields


def _init(request: Request, *, settings: str | None, secrets: list[SecretPolicy], yes: bool) -> Result:
    fields = _fields_of(secrets)
    try:
        project = tomllib.loads(_read_file(PYPROJECT))
        named = _named_model(request, project)
        file = _settings_file(settings, named, project)
        model = named or f"{module_of(file, source_roots(project))}:{CLASS}"
        plan = plan_changes(file, model, project, fields, is_named=named is not None)
    except OSError as error:
        fail(f"nothing was written: {reason(error)}")
    to_write = [change for change in plan if change.action == "write"]
    is_written = yes and bool(to_write)
    lines, stderr = [*_shown(plan, is_short=is_written)], list[str]()
    if is_written:
        write_changes(to_write)
        lines += _left(plan, model, project).splitlines()
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
                {"file": change.file, "is_new": change.is_new, "added": change.text.splitlines()}
                for change in plan
                if change.action == "write"
            ],
            "kept": [change.file for change in plan if change.action == "keep"],
            "by_hand": [
                {"file": change.file, "lines": change.text.splitlines()} for change in plan if change.action == "paste"
            ],
        },
        stderr,
        model={"name": ascii_text(model), "source": PYPROJECT} if is_written else None,
    )


def _named_model(request: Request, project: dict[str, Any]) -> str | None:
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


def _left(plan: Sequence[Change], model: str, project: dict[str, Any]) -> str:
    """Return what a user does next."""
    module, _, name = model.partition(":")
    files = [change.file for change in plan if change.action != "keep"]
    written = [file for file in files if file.endswith((".py", REVOKED_FILE)) and file != GATE]
    lines = [f"{wrapped(f'- {note}', '  ')}\n" for note in notes_of(project, module, written)]
    return INIT_TEXTS["left"].format(
        module=module,
        name=name,
        run=runner_of(project),
        notes="".join([*lines, INIT_TEXTS["adopting"]] if lines else []),
        files=" \\\n        ".join(files),
    )


def _settings_file(option: str | None, model: str | None, project: dict[str, Any]) -> str:
    """Return the file of the settings module; empty where the project has a model in another module."""
    roots = source_roots(project)
    if option is not None:
        file = os.path.normpath(option).replace(os.sep, "/")
        module = None if file == GATE else module_of(file, roots)
        if module is None:
            fail("--settings: invalid file; use a path such as app/service_secrets.py, of names that Python can import")
        if model and model.partition(":")[0] != module:
            fail(f"--settings: {TABLE} in {PYPROJECT} names a model in another module; leave out --settings")
        return file
    if model:
        module = model.partition(":")[0].replace(".", "/")
        return next(filter(os.path.exists, (f"{root}/{module}.py".lstrip("/") for root in roots)), "")
    package = package_of(project, roots)
    file = f"{package}/{SETTINGS_FILE}" if package else SETTINGS_FILE
    if not (module := module_of(file, roots)):
        fail("the package has the name of a module of Python; pass --settings FILE with another place")
    if has_build(project) and "." not in module:
        fail(
            "this project builds no package, so a wheel has no place for the revocation list; make the module a"
            f" package (NAME/__init__.py), or add --settings {SETTINGS_FILE} if nobody installs a wheel"
        )
    return file


def plan_changes(
    settings: str, model: str, project: dict[str, Any], fields: Mapping[str, SecretPolicy], *, is_named: bool
) -> list[Change]:
    """Return every file that a service needs, in the order in which they are written.

    Args:
        settings: the file of the settings module; empty for no file.
        model: the name of the model.
        project: the document in pyproject.toml.
        fields: the project's own secrets, by their fields; empty for RoboDJ's.
        is_named: whether pyproject.toml names the model already.
    """
    directory = os.path.dirname(settings)
    package, _, module = model.partition(":")[0].rpartition(".")
    new = _new_files(settings, fields, is_named=is_named)
    has_gate, has_list = (any(change.file.endswith(file) for change in new) for file in (GATE, REVOKED_FILE))
    tables, is_safe = discovery(project, directory, module) if has_gate or not directory else ("", True)
    new = [change._replace(action="paste") if change.file == GATE and not is_safe else change for change in new]
    # Key files are ignored before there can be any. And from the configuration on, every command uses the model.
    plan = [
        *_ignored(directory and f"{directory}/", has_keys=has_gate, has_list=has_gate or has_list),
        *new,
        *(
            Change(file, _read_file(file), text, action)
            for file, text, action in data_file(project, package, directory, REVOKED_FILE)
            if has_list
        ),
        _hook(model, runner_of(project)),
        _configuration(tables, model, is_named=is_named),
    ]
    for change in plan:
        if change.action == "write":
            _require_place(change.file)
    return plan


def _new_files(settings: str, fields: Mapping[str, SecretPolicy], *, is_named: bool) -> list[Change]:
    """Return the files that no other tool has."""
    before = _read_file(settings)
    is_there, texts = bool(before.strip()), new_files(settings, fields, before)
    if fields and not settings:
        fail(f"--secret: {TABLE} in {PYPROJECT} names a model; declare the secrets in its module")
    if is_there and not is_named and f"class {CLASS}" not in before:
        raise_file_error(f"{settings}: it exists and has no class {CLASS}; pass --settings FILE with another name")
    new = [_unless_kept(Change(file, _read_file(file), text)) for file, text in texts.items()]
    if is_there and (missing := {field: each for field, each in fields.items() if f'"{each.variable}"' not in before}):
        new[0] = Change(settings, before, _declarations(missing, before), "paste")
    # An empty list would not have the entries of a lost one, and the model may use another directory.
    lost = {*texts} - {settings, GATE} if is_named and (is_there or not settings) else set()
    return [change for change in new if change.file not in lost or change.action == "keep"]


def _declarations(fields: Mapping[str, SecretPolicy], before: str) -> str:
    """Return the lines that declare more secrets in a settings module."""
    names = [f'"{policy.name}"' for policy in fields.values()]
    if any(name in before for name in names):
        fail("--secret: the settings module has that name with another variable; use another name")
    return INIT_TEXTS["more"].format(names=", ".join(names), fields=_fields_text(fields))


def _unless_kept(change: Change) -> Change:
    """Return the change of a new file: none where it exists. Another gate may pass a weak key, so it is named."""
    is_other_gate = change.file == GATE and change.before.replace("\r\n", "\n") != change.text
    return change if change.is_new else change._replace(action="paste" if is_other_gate else "keep")


def _ignored(prefix: str, *, has_keys: bool, has_list: bool) -> Iterator[Change]:
    """Yield the lines of .gitignore. They are the last ones with a pattern to include, since the last match wins."""
    has_env = os.path.exists(".env") and not ignored_by_git([".env"])
    blocks = {"ignored_env": has_env, "ignored_keys": has_keys, "ignored": has_list}
    if text := "\n".join(INIT_TEXTS[name].format(prefix) for name, is_needed in blocks.items() if is_needed):
        change = Change(IGNORE, _read_file(IGNORE), text)
        _, is_there, later = change.before.replace("\r\n", "\n").rpartition(text)
        is_kept = is_there and "\n!" not in f"\n{later}"
        yield change._replace(action="keep" if is_kept else "paste" if os.path.islink(IGNORE) else "write")


def _hook(model: str, run: str) -> Change:
    """Return the pre-commit hook, for the root of the repository: pre-commit reads no other file."""
    file, entry, here = HOOKS, f"{run}{PROGRAM} scan --staged --model {model}", os.getcwd()
    *_, root = directories_of_project(here)
    if root != here and os.path.lexists(os.path.join(root, ".git")):
        file = os.path.relpath(os.path.join(root, HOOKS)).replace(os.sep, "/")
        below = os.path.relpath(here, root).replace(os.sep, "/")
        place = below if re.fullmatch(r"[A-Za-z0-9_./-]+", below) else "DIRECTORY"
        entry = f"sh -c 'cd ./{place} && exec {entry}'"
    before = _read_file(file)
    change = Change(
        file, before, ("  # Below repos:\n" if before.strip() else "repos:\n") + INIT_TEXTS["hook"].format(entry)
    )
    if f"id: {PROGRAM}-scan" in before:
        return change._replace(action="keep")
    return change if change.is_new and file == HOOKS else change._replace(action="paste")


def _configuration(tables: str, model: str, *, is_named: bool) -> Change:
    """Return the tables of pyproject.toml. TOML may not allow another table."""
    change = Change(PYPROJECT, _read_file(PYPROJECT), tables + INIT_TEXTS["configuration"].format(model))
    if is_named:
        return change._replace(action="keep")
    is_valid = False
    with suppress(tomllib.TOMLDecodeError):
        is_valid = isinstance(tomllib.loads(change.after)["tool"], dict)
    return change if is_valid and not os.path.islink(PYPROJECT) else change._replace(action="paste")


def new_files(settings: str, fields: Mapping[str, SecretPolicy], before: str) -> dict[str, str]:
    """Return the text of each new file, by its path.

    Args:
        settings: the file of the settings module; empty for no file.
        fields: the project's own secrets, by their fields; empty for RoboDJ's.
        before: the text of a settings module that exists.
    """
    is_own = bool(fields) or (bool(before.strip()) and RuntimeSecrets.__name__ not in before)
    has_list = not before.strip() or not is_own or "config_dir" in before
    directory = os.path.dirname(settings)
    prefix = directory and f"{directory}/"
    texts = {settings: _settings_module(fields)} if settings else {}
    for policy in () if is_own else RuntimeSecrets.secret_policies.values():
        texts[f"{prefix}{policy.file}.example"] = INIT_TEXTS["key_file"].format(
            file=f"{prefix}{policy.file}",
            variable=policy.variable,
            generator=policy.replacement,
            name=re.sub(r"\W", "_", policy.name).upper(),
        )
    return (
        texts
        | ({} if is_own else {GATE: INIT_TEXTS["gate"]})
        | ({f"{prefix}{REVOKED_FILE}": HEADER} if has_list else {})
    )


def _settings_module(fields: Mapping[str, SecretPolicy]) -> str:
    """Return the text of a settings module with a project's own secrets, or RoboDJ's, as ruff formats it."""
    issued, own = {each for each in fields.values() if each.is_issued}, len(fields) > 0
    names = [f'"{policy.name}"' for policy in fields.values()]
    base = f"SecretSettings[Literal[{', '.join(names)}]]" if own else RuntimeSecrets.__name__
    classes = ["Material"] * bool(issued) + ["SecretPolicy", "SecretSettings"] if own else [base]
    imports = [
        *["from datetime import timedelta"] * (len(issued) < len(fields)),
        "from pathlib import Path",
        *["from typing import Annotated, Literal"] * own,
        "",
        *["from pydantic import SecretStr"] * own,
        f"from robodj_secretguard import {', '.join(classes)}",
        "",
        "HERE = Path(__file__).resolve().parent",
        "",
    ]
    return INIT_TEXTS["settings"].format(
        imports="\n".join(imports),
        base=base if len(base) <= WIDTH else INIT_TEXTS["base"].format(",\n            ".join(names)),
        fields=_fields_text(fields),
    )


def _fields_text(fields: Mapping[str, SecretPolicy]) -> str:
    return "".join(
        INIT_TEXTS["field" if policy.required else "optional"].format(field=field, policy=policy, kind=_kind_of(policy))
        for field, policy in fields.items()
    )


def _kind_of(policy: SecretPolicy) -> str:
    """Return the argument that declares the kind of a secret."""
    if not policy.is_issued:
        return f"overlap=timedelta(days={_OVERLAP.days})"
    schemes = ", ".join(f'"{scheme}"' for scheme in getattr(policy.material, "schemes", ()))
    return f"material=Material.{type(policy.material).__name__.lower()}({schemes})"


def _read_file(file: str) -> str:
    """Return the text of a file, also through a link; empty where it is missing."""
    if not os.path.lexists(file):
        return ""
    try:
        content, _ = read_unlinked(os.path.realpath(file), LARGEST_FILE + 1)
    except OSError as error:
        raise_file_error(f"{file}: {reason(error)}")
    text = content.decode(*_CODING)
    if len(content) > LARGEST_FILE or "\0" in text:
        raise_file_error(f"{file}: it is larger than {LARGEST_FILE} bytes, or not UTF-8; correct it")
    return text


def _require_place(file: str) -> None:
    """Raise an error where a path leads through a link out of this project, or through a file."""
    directory, expected = os.path.dirname(file), os.path.join(os.path.realpath(os.curdir), *file.split("/"))
    if os.path.realpath(file) != expected or (os.path.lexists(directory) and not os.path.isdir(directory)):
        raise_file_error(f"{file}: a part of its path is a link, or no directory; rename that part")


def write_changes(changes: Iterable[Change]) -> None:
    """Write the files, up to the first one that cannot be written. Others can write none of them."""
    written = list[str]()
    for change in changes:
        file, exists = change.file, os.path.lexists(change.file)
        try:
            mode = stat.S_IMODE(os.stat(file).st_mode) & ~stat.S_IWOTH if exists else 0o644
            make_directory(os.path.dirname(file) or os.curdir, others=True)
            if _read_file(file) != change.before:
                raise_file_error("another program changed it")
            write_file(file, change.after.encode(*_CODING), mode, replace=exists)
        except OSError as error:
            done = f"these files were written: {', '.join(written)}" if written else "nothing was written"
            fail(f"{done}; {file}: {reason(error)}; fix that, then run this command again")
        written.append(file)


def _shown(plan: Sequence[Change], *, is_short: bool) -> Iterator[str]:
    """Yield each change like a diff, or its file alone; what stays, and what is to be pasted."""
    for change in plan:
        if change.action == "write":
            yield f"{change.file}{' (new file)' if change.is_new else ''}{'' if is_short else ':'}"
            yield from () if is_short else (*(f"+ {line}".rstrip() for line in change.text.splitlines()), "")
    yield from [""] * is_short
    if kept := [f"  {change.file}" for change in plan if change.action == "keep"]:
        yield from ("These files exist and stay as they are:", *kept, "")
    files = [change.file for change in plan]
    if GATE in files and not any(file.endswith(REVOKED_FILE) for file in files):
        yield INIT_TEXTS["no_list"]
    for change in plan:
        if change.action == "paste":
            gate = INIT_TEXTS["withheld_gate"] if change.is_new else INIT_TEXTS["replace_gate"]
            yield from (
                gate if change.file == GATE else f"Add these lines to {change.file} by hand:",
                *change.text.splitlines(),
                "",
            )
