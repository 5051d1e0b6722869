"""`init`: write what a service needs into an existing project."""

from __future__ import annotations

import keyword
import os
import re
import stat
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple

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
from robodj_secretguard.secret.texts import PROGRAM, PYPROJECT, TABLE, ascii_text, is_free_text
from robodj_secretguard.startup.readings import REVOKED_FILE
from robodj_secretguard.startup.settings import RuntimeSecrets

CLASS: Final = "ServiceSecrets"
"""The name of the model in a new settings module."""
SETTINGS_FILE: Final = "service_secrets.py"
GATE: Final = "config/check_runtime_secrets.py"
IGNORE: Final = ".gitignore"
HOOKS: Final = ".pre-commit-config.yaml"
LARGEST_FILE: Final = 1 << 20
"""The largest file that `init` extends."""

_SRC: Final = "src"
_HOOK_ID: Final = f"id: {PROGRAM}-scan"
_CODING: Final = ("utf-8", "surrogateescape")  # keeps every byte

_SETTINGS_MODULE: Final = '''\
"""The service's secrets and their set-up. Commands and tests import this module: do not call `guard()` in it."""

from __future__ import annotations

from pathlib import Path

from robodj_secretguard import RuntimeSecrets

ROOT = Path(__file__).resolve(){parents}


class ServiceSecrets(RuntimeSecrets, config_dir=ROOT / "config", file_fallback=False, require_revocation_list=True):
    """The two runtime secrets, with the revocation list of this repository from every working directory."""
'''
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
_IGNORED: Final = """\
# Live keys, and every editor and backup copy of them. The templates are versioned.
config/*.key*
config/.*.key*
!config/*.key.example

# Files that the lifecycle commands write on a machine. config/revoked.fingerprints is versioned.
config/logs/
config/*.new
"""
_CONFIGURATION: Final = f"""\
# Every command that runs in this repository checks the service's own model.
{TABLE}
model = "{{}}"
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
_NO_LIST: Final = (
    "This project has a model, so no revocation list is made: an empty one could replace a lost one.",
    "The model's config directory needs its list, and git must ignore the key files there.",
)
_LEFT: Final = f"""\
The files are written. What is left:
- Add {PROGRAM}, from your package index, to the dependencies.
- If the settings module is below {_SRC}, install your package, or set
  PYTHONPATH={_SRC}.
- Begin the service main with these lines (not a package's __init__.py):
     from robodj_secretguard import guard
     from {{module}} import {{name}}
     secrets = guard({{name}})
  Sign sessions and tokens with secrets.keyring(), as this page shows:
  https://github.com/robodj/robodj-secretguard/blob/main/docs/recipes.md
- Try it without keys: {PROGRAM} exec --ephemeral -- COMMAND
- Gate a release: {PROGRAM} check --require-env-only
- Commit the files where this library is installed, as the hook runs it:
     python -m pip install pre-commit
     pre-commit install -t pre-commit
     git add {{files}}
     git commit -m "Set up the secret guard"
"""


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "init",
        _init,
        options=("--format",),
        own={
            "--settings": {
                "metavar": "FILE",
                "help": "the settings module to write, such as app/service_secrets.py (default: service_secrets.py,"
                " in the only package below src if there is one)",
            },
            "--yes": {"action": "store_true", "help": "write the files (without --yes, only print what changes)"},
        },
        kind="init",
        description="Set up this project. In the working directory, this writes the settings module, the gate script,"
        " the templates of the key files, an empty revocation list and the hook for pre-commit. It appends lines to"
        " .gitignore and pyproject.toml, and prints those that it cannot append. Nothing that exists is overwritten.",
        examples=("init", "init --yes"),
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


def _init(request: Request, *, settings: str | None, yes: bool) -> Result:
    try:
        if request.project_directory not in {"", here := os.getcwd()}:
            fail(
                f"this project is set up already: run the command in the directory of its {PYPROJECT},"
                f" {ascii_text(os.path.relpath(request.project_directory, here))}"
            )
        file = _settings_file(settings, request.project_model)
        model = request.project_model or f"{module_of(file or SETTINGS_FILE)}:{CLASS}"
        plan = plan_changes(file, model, is_named=request.project_model is not None)
    except OSError as error:
        fail(f"nothing was written: {reason(error)}")
    to_write = [change for change in plan if change.action == "write"]
    is_written = yes and bool(to_write)
    lines, stderr = [*_shown(plan)], list[str]()
    if is_written:
        write_changes(to_write)
        module, _, name = model.partition(":")
        files = " \\\n        ".join(change.file for change in plan if change.action != "keep")
        lines += _LEFT.format(module=module, name=name, files=files).splitlines()
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


def _settings_file(option: str | None, model: str | None) -> str | None:
    """Return the file of the settings module; `None` where the project has a model in another module."""
    if option is None:
        file = _default_settings()
        return file if model in {None, f"{module_of(file)}:{CLASS}"} else None
    file = os.path.normpath(option).replace(os.sep, "/")
    module = module_of(file)
    if module is None:
        fail("--settings: invalid file; use a path such as app/service_secrets.py, of names that Python can import")
    if model is not None and model.partition(":")[0] != module:
        fail(f"--settings: {TABLE} in {PYPROJECT} names a model in another module; leave out --settings")
    return file


def _default_settings() -> str:
    """Return the path of a new settings module: in the only package below `src`, otherwise in the project's root."""
    paths = [f"{_SRC}/{name}/{SETTINGS_FILE}" for name in (os.listdir(_SRC) if os.path.isdir(_SRC) else ())]
    paths = [path for path in paths if os.path.isfile(f"{os.path.dirname(path)}/__init__.py")]
    is_elsewhere = os.path.exists(SETTINGS_FILE) or os.path.exists(f"{_SRC}/__init__.py")
    return paths[0] if len(paths) == 1 and module_of(paths[0]) and not is_elsewhere else SETTINGS_FILE


def module_of(settings: str) -> str | None:
    """Return the name of the settings module in a file below the working directory; `None` for an invalid path."""
    parts = settings.removesuffix(".py").split("/")
    is_named = all(part.isidentifier() and part.isascii() and not keyword.iskeyword(part) for part in parts)
    if not settings.endswith(".py") or not is_named or parts[-1].startswith("__") or not is_free_text(settings):
        return None
    if parts[0] == _SRC and len(parts) > 1 and not os.path.exists(f"{_SRC}/__init__.py"):
        del parts[0]
    return None if settings == GATE or parts[0] in sys.stdlib_module_names else ".".join(parts)


def plan_changes(settings: str | None, model: str, *, is_named: bool) -> list[Change]:
    """Return every file that a service needs, in the order in which they are written.

    Args:
        settings: the file of the settings module; `None` for no file.
        model: the name of the model.
        is_named: whether pyproject.toml names the model already.
    """
    new = [_unless_kept(Change(file, _read_file(file), text)) for file, text in new_files(settings).items()]
    if is_named and (settings is None or os.path.exists(settings)):
        # An empty list would not have the entries of a lost one, and the model may use another directory.
        new = [change for change in new if change.file in {settings, GATE} or change.action == "keep"]
    for change in new:
        if change.file == settings and not is_named and not change.is_new and f"class {CLASS}" not in change.before:
            raise_file_error(f"{settings}: it exists and has no class {CLASS}; pass --settings FILE with another name")
    # Key files are ignored before there can be any. And from the configuration on, every command uses the model.
    plan = [_ignored(), *new, _hook(model), _configuration(model, is_named=is_named)]
    for change in plan:
        if change.action == "write":
            _require_place(change.file)
    return plan


def _unless_kept(change: Change) -> Change:
    """Return the change of a new file: none where it exists. Another gate may pass a weak key, so it is named."""
    is_other_gate = change.file == GATE and change.before.replace("\r\n", "\n") != change.text
    return change if change.is_new else change._replace(action="paste" if is_other_gate else "keep")


def _ignored() -> Change:
    """Return the lines of .gitignore. They are the last ones with a pattern to include, since the last match wins."""
    change = Change(IGNORE, _read_file(IGNORE), _IGNORED)
    _, is_there, later = change.before.replace("\r\n", "\n").rpartition(_IGNORED)
    if is_there and "\n!" not in f"\n{later}":
        return change._replace(action="keep")
    return change._replace(action="paste") if os.path.islink(IGNORE) else change


def _hook(model: str) -> Change:
    """Return the pre-commit hook, for the root of the repository: pre-commit reads no other file."""
    file, entry, here = HOOKS, f"{PROGRAM} scan --staged --model {model}", os.getcwd()
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


def _configuration(model: str, *, is_named: bool) -> Change:
    """Return the table of pyproject.toml. TOML may not allow another table."""
    change = Change(PYPROJECT, _read_file(PYPROJECT), _CONFIGURATION.format(model))
    if is_named:
        return change._replace(action="keep")
    is_valid = False
    with suppress(tomllib.TOMLDecodeError):
        is_valid = isinstance(tomllib.loads(change.after)["tool"], dict)
    return change if is_valid and not os.path.islink(PYPROJECT) else change._replace(action="paste")


def new_files(settings: str | None) -> dict[str, str]:
    """Return the text of each new file, by its path; without a settings module for `None`."""
    texts = {}
    if settings is not None:
        texts[settings] = _SETTINGS_MODULE.format(parents=".parent" * (settings.count("/") + 1))
    for policy in RuntimeSecrets.secret_policies.values():
        texts[f"{policy.file}.example"] = _KEY_FILE_TEMPLATE.format(
            file=policy.file,
            variable=policy.variable,
            generator=policy.replacement,
            name=re.sub(r"\W", "_", policy.name).upper(),
        )
    return {**texts, GATE: _GATE, REVOKED_FILE: HEADER}


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


def _shown(plan: Sequence[Change]) -> Iterator[str]:
    """Yield each change like a diff, what stays, and what is to be pasted."""
    for change in plan:
        if change.action == "write":
            yield f"{change.file}{' (new file)' if change.is_new else ''}:"
            yield from (*(f"+ {line}".rstrip() for line in change.text.splitlines()), "")
    if kept := [f"  {change.file}" for change in plan if change.action == "keep"]:
        yield from ("These files exist and stay as they are:", *kept, "")
    if all(change.file != REVOKED_FILE for change in plan):
        yield from (*_NO_LIST, "")
    for change in plan:
        if change.action == "paste":
            yield from (
                _REPLACE_GATE if change.file == GATE else f"Add these lines to {change.file} by hand:",
                *change.text.splitlines(),
                "",
            )
