"""`init`: write what a service needs into an existing project."""

from __future__ import annotations

import keyword
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import SecretStr, create_model

from robodj_secretguard.cli.layout import (
    data_file,
    discovery,
    has_build,
    module_of,
    notes_of,
    package_of,
    runner_of,
    source_roots,
)
from robodj_secretguard.cli.options import Commands, Request, add_command, directories_of_project
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, MODEL, Result, fail
from robodj_secretguard.common.files import (
    make_directory,
    raise_file_error,
    read_unlinked,
    reason,
    write_file,
)
from robodj_secretguard.lifecycle.revocation import HEADER
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

ISSUED_KINDS: Final = {
    "url": Material.url(),
    "pem": Material.pem(),
    "json": Material.json(),
    "opaque": Material.opaque(),
}
"""The kinds of `--secret` that somebody else issues. Without a kind, the service has a key of its own."""

_OVERLAP: Final = timedelta(days=14)
_HOOK_ID: Final = f"id: {PROGRAM}-scan"
_CODING: Final = ("utf-8", "surrogateescape")  # keeps every byte

_ROBODJ_MODULE: Final = '''\
"""The service's secrets and their set-up.

Commands and tests import this module: do not call `guard()` in it.
"""

from __future__ import annotations

from pathlib import Path

from robodj_secretguard import RuntimeSecrets

HERE = Path(__file__).resolve().parent


class ServiceSecrets(
    RuntimeSecrets,
    config_dir=HERE / "config",
    file_fallback=False,
    require_revocation_list=True,
):
    """The two runtime secrets, and where their revocation list is."""
'''
_OWN_MODULE: Final = '''\
"""The service's secrets and their set-up.

Commands and tests import this module: do not call `guard()` in it.
"""

{imports}

class ServiceSecrets(
    {base},
{setup}    file_fallback=False,
):
    """{summary}"""
{fields}'''
_BASE: Final = """\
SecretSettings[
        Literal[
{}        ]
    ]"""
_WIDEST: Final = 83
"""The longest base that is on one line."""
_LIST_SETUP: Final = """\
    config_dir=HERE / "config",
    require_revocation_list=True,
"""
_FIELD: Final = """
    {field}: Annotated[
        SecretStr,
        SecretPolicy(
            name="{policy.name}",
            variable="{policy.variable}",
            {kind},
        ),
    ]
"""
_GATE: Final = '''\
"""The gate before a release (policy section 7): `python config/check_runtime_secrets.py --require-env-only`."""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
# A secrets.py or logging.py in this folder must not replace the standard library's module.
own = {os.path.realpath(here), os.path.dirname(os.path.realpath(__file__))}
sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) not in own]
os.chdir(os.path.dirname(here))  # its pyproject.toml names the model

from robodj_secretguard.cli import main  # noqa: E402 - only after the folder is off the path

sys.exit(main(["check", *sys.argv[1:]]))
'''
_KEY_FILE_TEMPLATE: Final = """\
# Template of {file}: break-glass use on a local machine only.
# Deployments deliver {variable} from the secret manager and have no such file.
#
# Copy it to {file}, run chmod 600 on the copy, and replace its last line with a key made by:
#   {generator}
# The model turns fallback files off: to use the copy, set ROBODJ_ALLOW_FILE_SECRET_FALLBACK=true.
REPLACE_WITH_A_GENERATED_{name}
"""
_IGNORED_KEYS: Final = """\
# Live keys, and every editor and backup copy of them. The templates are versioned.
{0}config/*.key*
{0}config/.*.key*
!{0}config/*.key.example

"""
_IGNORED: Final = """\
# Files that the lifecycle commands write on a machine. {0}config/revoked.fingerprints is versioned.
{0}config/logs/
{0}config/*.new
"""
_CONFIGURATION: Final = f"""\
# Every command that runs in this repository, and its tests, use the service's own model.
{TABLE}
model = "{{}}"
ephemeral-tests = true
"""
_HOOK: Final = f"""\
  - repo: local
    hooks:
      - {_HOOK_ID}
        name: keys in what is committed
        entry: {{}}
        language: system
        always_run: true
        pass_filenames: false
        stages: [pre-commit]
        verbose: true  # says when it had no key to search for
"""
_REPLACE_GATE: Final = f"{GATE} may pass a weak key. Replace its content with these lines:"
_WITHHELD_GATE: Final = f"The build takes config/ for a package. Exclude it there, then write {GATE}:"
_NO_LIST: Final = (
    "This project has a model, so no revocation list is made: an empty one could replace a lost one.",
    "The model's config directory needs its list, and git must ignore the key files there.",
)
_PAGES: Final = "https://github.com/robodj/robodj-secretguard/blob/main/docs"
_LEFT: Final = f"""\
The files are written. What is left:
- Add {PROGRAM} to the dependencies, as this page shows:
  {_PAGES}/install.md
- Begin the service main with these lines (not a package's __init__.py):
     from robodj_secretguard import guard
     from {{module}} import {{name}}
     secrets = guard({{name}})
  Sign sessions and tokens with secrets.keyring(...), as this page shows:
  {_PAGES}/recipes.md
  Read any other secret as secrets.FIELD.get_secret_value().
- Try it without keys: {{run}}{PROGRAM} exec --ephemeral -- COMMAND
- Gate a release: {{run}}{PROGRAM} check --require-env-only
{{notes}}\
- Commit the files, where pre-commit and this library are installed:
     pre-commit install -t pre-commit
     git add {{files}}
     git commit -m "Set up the secret guard"
"""
_ADOPT: Final = f"  About existing projects: {_PAGES}/adopting.md\n"


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
                "metavar": "NAME=VARIABLE[:KIND]",
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
        " revocation list, the hook for pre-commit, and for RoboDJ's secrets the gate script and the templates of the"
        " key files. It appends lines to .gitignore, pyproject.toml and what setuptools reads, and prints those that it"
        " cannot append. Nothing that exists is overwritten.",
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
    name, equals, delivered = text.partition("=")
    variable, colon, kind = delivered.partition(":")
    if not equals or (colon and kind not in ISSUED_KINDS):
        fail(
            "--secret: invalid; use NAME=VARIABLE, such as session.key=SESSION_KEY, or NAME=VARIABLE:KIND with the KIND"
            f" {', '.join(ISSUED_KINDS)}"
        )
    try:
        if kind:
            return SecretPolicy(name=name, variable=variable, material=ISSUED_KINDS[kind])
        return SecretPolicy(name=name, variable=variable, overlap=_OVERLAP)
    except ValueError as error:
        fail(f"--secret: invalid {str(error).removeprefix('SecretPolicy ')}")


def _fields_of(secrets: Sequence[SecretPolicy]) -> dict[str, SecretPolicy]:
    """Return the secrets by the names of their fields, if one model can declare all of them."""
    fields = dict[str, SecretPolicy]()
    for policy in secrets:
        field = re.sub("[.-]", "_", policy.name).lower()
        is_free = field.isidentifier() and not keyword.iskeyword(field) and not hasattr(SecretSettings, field)
        fields[field if is_free else f"secret_{field}"] = policy
    if len(fields) < len(secrets):
        fail("--secret: two secrets have the same name; use names that differ in letters or digits")
    types: dict[str, Any] = {field: Annotated[SecretStr, policy] for field, policy in fields.items()}
    try:
        create_model(CLASS, __base__=SecretSettings if fields else RuntimeSecrets, **types)
    except TypeError as error:
        fail(f"--secret: the model {str(error).removeprefix(f'{CLASS} ')}")
    return fields


def _init(request: Request, *, settings: str | None, secrets: list[SecretPolicy], yes: bool) -> Result:
    fields = _fields_of(secrets)
    try:
        if request.project_directory not in {"", here := os.getcwd()}:
            fail(
                f"this project is set up already: run the command in the directory of its {PYPROJECT},"
                f" {ascii_text(os.path.relpath(request.project_directory, here))}"
            )
        project = tomllib.loads(_read_file(PYPROJECT))
        file = _settings_file(settings, request.project_model, project)
        model = request.project_model or f"{module_of(file or SETTINGS_FILE, source_roots(project))}:{CLASS}"
        plan = plan_changes(file, model, project, fields, is_named=request.project_model is not None)
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
        [*map(ascii_text, lines), "", MODEL],
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


def _left(plan: Sequence[Change], model: str, project: dict[str, Any]) -> str:
    """Return what a user does next."""
    module, _, name = model.partition(":")
    files = [change.file for change in plan if change.action != "keep"]
    packed = [file for file in files if file.endswith((".py", REVOKED_FILE)) and file != GATE]
    notes = [f"- {note}\n" for note in notes_of(project, module, packed)]
    return _LEFT.format(
        module=module,
        name=name,
        run=runner_of(project),
        notes="".join([*notes, _ADOPT] if notes else []),
        files=" \\\n        ".join(files),
    )


def _settings_file(option: str | None, model: str | None, project: dict[str, Any]) -> str | None:
    """Return the file of the settings module; `None` where the project has a model in another module."""
    roots = source_roots(project)
    if option is not None:
        file = os.path.normpath(option).replace(os.sep, "/")
        module = None if file == GATE else module_of(file, roots)
        if module is None:
            fail("--settings: invalid file; use a path such as app/service_secrets.py, of names that Python can import")
        if model is not None and model.partition(":")[0] != module:
            fail(f"--settings: {TABLE} in {PYPROJECT} names a model in another module; leave out --settings")
        return file
    if model is not None:
        module, _, name = model.partition(":")
        files = ["/".join([*filter(None, [root]), *module.split(".")]) + ".py" for root in roots]
        places = sorted(
            files, key=lambda file: (not os.path.exists(file), not os.path.isdir(os.path.dirname(file) or "."))
        )
        return places[0] if name == CLASS else None
    package = package_of(project, roots)
    file = f"{package}/{SETTINGS_FILE}" if package and not package.endswith(".py") else SETTINGS_FILE
    if has_build(project) and "." not in (module_of(file, roots) or ""):
        fail(
            f"this project builds no package, so a wheel has no place for the revocation list; make"
            f" {package or 'its module'} a package, or add --settings {SETTINGS_FILE} if nobody installs a wheel"
        )
    return file


def plan_changes(
    settings: str | None, model: str, project: dict[str, Any], fields: Mapping[str, SecretPolicy], *, is_named: bool
) -> list[Change]:
    """Return every file that a service needs, in the order in which they are written.

    Args:
        settings: the file of the settings module; `None` for no file.
        model: the name of the model.
        project: the document in pyproject.toml.
        fields: the project's own secrets, by their fields; empty for RoboDJ's.
        is_named: whether pyproject.toml names the model already.
    """
    directory = os.path.dirname(settings or "")
    package, _, module = model.partition(":")[0].rpartition(".")
    new = _new_files(settings, fields, is_named=is_named)
    has_gate, has_list = (any(change.file.endswith(file) for change in new) for file in (GATE, REVOKED_FILE))
    tables, is_safe = discovery(project, directory, module) if has_gate or not directory else ("", True)
    new = [change._replace(action="paste") if change.file == GATE and not is_safe else change for change in new]
    packed = data_file(project, package, directory, REVOKED_FILE) if has_list else None
    # Key files are ignored before there can be any. And from the configuration on, every command uses the model.
    plan = [
        *([_ignored(directory and f"{directory}/", has_keys=has_gate)] if has_gate or has_list else []),
        *new,
        *([_packed(*packed)] if packed else []),
        _hook(model, runner_of(project)),
        _configuration(tables, model, is_named=is_named),
    ]
    for change in plan:
        if change.action == "write":
            _require_place(change.file)
    return plan


def _new_files(settings: str | None, fields: Mapping[str, SecretPolicy], *, is_named: bool) -> list[Change]:
    """Return the files that no other tool has."""
    before = _read_file(settings) if settings else ""
    is_there, texts = bool(before.strip()), new_files(settings, fields, before)
    if fields and (is_there or not settings) and before.replace("\r\n", "\n") != texts.get(settings or ""):
        fail(f"--secret: this project has a model; declare the secrets in {settings or 'its module'}")
    if is_there and not is_named and f"class {CLASS}" not in before:
        raise_file_error(f"{settings}: it exists and has no class {CLASS}; pass --settings FILE with another name")
    new = [_unless_kept(Change(file, _read_file(file), text)) for file, text in texts.items()]
    # An empty list would not have the entries of a lost one, and the model may use another directory.
    lost = () if not is_named or (settings and not is_there) else {*texts} - {settings, GATE}
    return [change for change in new if change.file not in lost or change.action == "keep"]


def _unless_kept(change: Change) -> Change:
    """Return the change of a new file: none where it exists. Another gate may pass a weak key, so it is named."""
    is_other_gate = change.file == GATE and change.before.replace("\r\n", "\n") != change.text
    return change if change.is_new else change._replace(action="paste" if is_other_gate else "keep")


def _packed(file: str, text: str) -> Change:
    """Return the lines that take the list into a wheel. Only these two files can be appended to."""
    change = Change(file, _read_file(file), text)
    if REVOKED_FILE in change.before:
        return change._replace(action="keep")
    can_append = file == "MANIFEST.in" or (file == "setup.cfg" and "package_data" not in change.before)
    return change if can_append else change._replace(action="paste")


def _ignored(prefix: str, *, has_keys: bool) -> Change:
    """Return the lines of .gitignore. They are the last ones with a pattern to include, since the last match wins."""
    text = f"{_IGNORED_KEYS if has_keys else ''}{_IGNORED}".format(prefix)
    change = Change(IGNORE, _read_file(IGNORE), text)
    _, is_there, later = change.before.replace("\r\n", "\n").rpartition(text)
    if is_there and "\n!" not in f"\n{later}":
        return change._replace(action="keep")
    return change._replace(action="paste") if os.path.islink(IGNORE) else change


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
    change = Change(file, before, ("  # Below repos:\n" if before.strip() else "repos:\n") + _HOOK.format(entry))
    if _HOOK_ID in before:
        return change._replace(action="keep")
    return change if change.is_new and file == HOOKS else change._replace(action="paste")


def _configuration(tables: str, model: str, *, is_named: bool) -> Change:
    """Return the tables of pyproject.toml. TOML may not allow another table."""
    change = Change(PYPROJECT, _read_file(PYPROJECT), tables + _CONFIGURATION.format(model))
    if is_named:
        return change._replace(action="keep")
    is_valid = False
    with suppress(tomllib.TOMLDecodeError):
        is_valid = isinstance(tomllib.loads(change.after)["tool"], dict)
    return change if is_valid and not os.path.islink(PYPROJECT) else change._replace(action="paste")


def new_files(settings: str | None, fields: Mapping[str, SecretPolicy], before: str) -> dict[str, str]:
    """Return the text of each new file, by its path.

    Args:
        settings: the file of the settings module; `None` for no file.
        fields: the project's own secrets, by their fields; empty for RoboDJ's.
        before: the text of a settings module that exists.
    """
    is_own = bool(fields) or (bool(before.strip()) and RuntimeSecrets.__name__ not in before)
    has_list = any(not each.is_issued for each in fields.values()) if fields else not is_own or "config_dir" in before
    directory, texts = os.path.dirname(settings or ""), dict[str, str]()
    prefix = directory and f"{directory}/"
    if settings is not None:
        texts[settings] = _own_module(fields, has_list=has_list) if fields else _ROBODJ_MODULE
    for policy in () if is_own else RuntimeSecrets.secret_policies.values():
        texts[f"{prefix}{policy.file}.example"] = _KEY_FILE_TEMPLATE.format(
            file=f"{prefix}{policy.file}",
            variable=policy.variable,
            generator=policy.replacement,
            name=re.sub(r"\W", "_", policy.name).upper(),
        )
    return {
        **texts,
        **({} if is_own else {GATE: _GATE}),
        **({f"{prefix}{REVOKED_FILE}": HEADER} if has_list else {}),
    }


def _own_module(fields: Mapping[str, SecretPolicy], *, has_list: bool) -> str:
    """Return the text of a settings module with a project's own secrets, formatted as ruff does."""
    is_issued = any(each.is_issued for each in fields.values())
    classes = ["Material"] * is_issued + ["SecretPolicy", "SecretSettings"]
    names = [f'"{policy.name}"' for policy in fields.values()]
    base = f"SecretSettings[Literal[{', '.join(names)}]]"
    if len(base) > _WIDEST:
        base = _BASE.format("".join(f"            {name},\n" for name in names))
    imports = [
        *["from datetime import timedelta", "from pathlib import Path"] * has_list,
        "from typing import Annotated, Literal",
        "",
        "from pydantic import SecretStr",
        f"from robodj_secretguard import {', '.join(classes)}",
        "",
        *["HERE = Path(__file__).resolve().parent", ""] * has_list,
    ]
    kinds = {material: f"material=Material.{kind}()" for kind, material in ISSUED_KINDS.items()}
    own = f"overlap=timedelta(days={_OVERLAP.days})"
    return _OWN_MODULE.format(
        imports="\n".join(imports),
        base=base,
        setup=_LIST_SETUP if has_list else "",
        summary="The secrets of this service.",
        fields="".join(
            _FIELD.format(field=field, policy=policy, kind=kinds.get(policy.material, own))
            for field, policy in fields.items()
        ),
    )


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
        yield from (*_NO_LIST, "")
    for change in plan:
        if change.action == "paste":
            gate = _WITHHELD_GATE if change.is_new else _REPLACE_GATE
            yield from (
                gate if change.file == GATE else f"Add these lines to {change.file} by hand:",
                *change.text.splitlines(),
                "",
            )
