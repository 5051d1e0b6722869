"""The set-up of a project: what `init` writes, what stays as it is, and what cannot be written."""

from __future__ import annotations

import contextlib
import json
import keyword
import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from robodj_secretguard.common.files import (
    LOCK_FILE,
    make_directory,
    prepared_file,
    put_in_place,
    raise_file_error,
    read_unlinked,
    reason,
)
from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.secret.texts import PROGRAM, PYPROJECT, TABLE, ascii_text, is_free_text
from robodj_secretguard.startup.readings import REVOKED_FILE
from robodj_secretguard.startup.settings import RuntimeSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from robodj_secretguard.secret.policy import SecretPolicy

IGNORE: Final = ".gitignore"
HOOKS: Final = ".pre-commit-config.yaml"
MAX_BYTES: Final = 1 << 20
"""The largest file that `init` extends."""

_MODE: Final = 0o644
_CODING: Final = ("utf-8", "surrogateescape")  # keeps every byte
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_OTHER_NAME: Final = "pass --settings FILE with another name"

CLASS: Final = "ServiceSecrets"
"""The name of the model in a new settings module."""
SETTINGS: Final = "service_secrets.py"
GATE: Final = "config/check_runtime_secrets.py"
HOOK: Final = "robodj-secretguard-scan"
SOURCES: Final = "src"

_SETTINGS: Final = '''\
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
_TEMPLATE: Final = """\
# Template of {file}: break-glass use on a local machine only.
# Deployments deliver {variable} from the secret manager and have no such file.
#
# Copy it to {file}, run chmod 600 on the copy, and replace its last line with a key made by:
#   {generator}
# The model turns fallback files off: to use the copy, set ROBODJ_ALLOW_FILE_SECRET_FALLBACK=true.
REPLACE_WITH_A_GENERATED_{name}
"""
_LIVE_KEYS: Final = ("config/*.key*", "config/.*.key*")
_TEMPLATES: Final = "!config/*.key.example"
_IGNORED: Final = {
    "# Live keys, and every editor and backup copy of them. The templates are versioned.": (*_LIVE_KEYS, _TEMPLATES),
    "# Files that the lifecycle commands write on a machine. config/revoked.fingerprints is versioned.": (
        "config/logs/",
        f"config/{LOCK_FILE}",
        "config/*.new",
    ),
}
_COMMENT: Final = "# Every command that runs in this repository checks the service's own model."
_REPOS: Final = re.compile(r"(?m)^\ufeff?repos:[ \t]*(?:#[^\n]*)?\r?\n")
_HAS_CLASS: Final = re.compile(rf"(?m)^class {CLASS}\b")
_HAS_HOOK: Final = re.compile(rf"(?m)^[ \t]*(?:-[ \t]+)?id:[ \t]*([\"']?){HOOK}\1[ \t]*(?:#.*)?\r?$")
_FIRST_ITEM: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*( *)- ")
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./-]+")
_LF: Final = "\n"


@dataclass(frozen=True)
class Change:
    """A file to create or to extend. An empty file is filled like a missing one: nothing in it can be lost."""

    file: str  # relative to the working directory, with slashes
    before: bytes | None  # None for a missing file
    after: bytes
    mode: int = _MODE

    @property
    def added(self) -> list[str]:
        """The added lines."""
        old, new = (_text(each).splitlines() for each in (self.before, self.after))
        same = next((number for number, line in enumerate(old) if line != new[number]), len(old))
        return new[same : same + len(new) - len(old)]


@dataclass(frozen=True)
class Plan:
    """What `init` does in the working directory.

    Attributes:
        model: the model that pyproject.toml names afterwards.
        changes: the files to write, in this order.
        kept: the files that exist and stay.
        by_hand: lines that somebody must add to the configuration of pre-commit.
        top: the path from the working directory to the root of its git repository; `None` without a repository.
    """

    model: str
    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    by_hand: str
    top: str | None


def plan(settings: str | None, model: str | None) -> Plan:
    """Return what is missing in the working directory. Raise `UsageError` where a part of it cannot be written.

    `settings` is the file of the settings module, or `None` for no file. `model` is what pyproject.toml names already.
    """
    named = model or model_in(settings or SETTINGS)
    changes, kept, refusals = list[Change](), list[str](), dict[str, list[str]]()
    top, by_hand = _top(), ""

    def add(file: str, make: Callable[[], Change | None]) -> None:
        try:
            change = make()
        except OSError as error:
            refusals.setdefault(reason(error), []).append(file)
        else:
            changes.extend([change] if change else [])
            kept.extend([] if change else [file])

    # Key files are ignored before there can be any.
    add(IGNORE, partial(_extended, IGNORE, with_ignored))
    is_set_up = model is not None and (settings is None or os.path.exists(settings))
    for file, text in new_files(settings).items():
        # An empty list would not have the entries of a lost one. And the config directory of a model may be another.
        if is_set_up and file not in {settings, GATE} and not os.path.lexists(file):
            continue
        add(file, partial(_created, file, text, is_settings=file == settings and model is None))
    if top is None or top == os.curdir:
        add(HOOKS, partial(_extended, HOOKS, lambda text: text if has_hook(text) else with_hook(text, named) or text))
        by_hand = "" if HOOKS not in kept or has_hook(_text(_content(HOOKS))) else hook(named)
    else:  # pre-commit reads only the file in the root of the repository
        by_hand = _hook_below(top, named)
    # It is written last: from then on, every command uses the model.
    add(PYPROJECT, partial(_extended, PYPROJECT, lambda text: text if model else with_model(text, named)))
    if refusals:
        why = ". ".join(f"{', '.join(files)}: {why}" for why, files in refusals.items())
        why = f"nothing was written: {why}"
        raise UsageError(why)
    return Plan(named, tuple(changes), tuple(kept), by_hand, top)


def _hook_below(top: str, model: str) -> str:
    """Return the hook for the root of the repository; nothing if its configuration has that command."""
    made = hook(model, os.path.relpath(os.curdir, top).replace(os.sep, "/"))
    with contextlib.suppress(OSError):
        lines = _text(_content(os.path.join(top, HOOKS))).splitlines()
        if made.splitlines()[4].strip() in map(str.strip, lines):
            return ""
    return made


def _top() -> str | None:
    """Return the path to the root of the git repository, as a relative one."""
    here = directory = os.getcwd()
    if {"HEAD", "objects", "refs"} <= {*os.listdir()}:
        why = "nothing was written: this is a git directory; run the command in the working tree"
        raise UsageError(why)
    while not os.path.lexists(os.path.join(directory, ".git")):
        if directory == os.path.dirname(directory):
            return None
        directory = os.path.dirname(directory)
    return os.path.relpath(directory, here)


def _text(content: bytes | None) -> str:
    return (content or b"").decode(*_CODING)


def with_model(text: str, model: str) -> str:
    """Return a pyproject.toml that names the model; raise `FileError` where the text has another form."""
    import tomllib  # noqa: PLC0415 - most projects are set up already

    made = _appended(text, f'{_COMMENT}\n{TABLE}\nmodel = "{model}"\n')
    try:
        is_read = isinstance(tomllib.loads(made)["tool"], dict)
    except tomllib.TOMLDecodeError:  # such as a second table, which TOML does not allow
        is_read = False
    if not is_read:
        raise_file_error(f'its TOML cannot be extended; write model = "{model}" into {TABLE} by hand')
    return made


def _created(file: str, text: str, *, is_settings: bool) -> Change | None:
    """Return a new file; `None` where it exists."""
    _require_place(file)
    if is_settings and os.path.exists(f"{file.removesuffix('.py')}/__init__.py"):
        raise_file_error(f"a package has the same name; {_OTHER_NAME}")
    before = _content(file)
    if before is not None and before.strip():
        if is_settings and not _HAS_CLASS.search(_text(before)):
            raise_file_error(f"it exists and has no class {CLASS}; {_OTHER_NAME}")
        return None
    _require_writable(file)
    return Change(file, before, text.encode())


def _extended(file: str, extend: Callable[[str], str]) -> Change | None:
    """Return an existing or missing file with more lines; `None` where it has them."""
    _require_place(file)
    before = _content(file)
    if before is not None and len(before) > MAX_BYTES:
        raise_file_error(f"it is larger than {MAX_BYTES} bytes; shorten it")
    if before is not None and before.startswith(_UTF_16):
        raise_file_error("it is UTF-16; save it as UTF-8")
    after = extend(_text(before)).encode(*_CODING)
    if after == before:
        return None
    _require_writable(file)
    mode = _MODE if before is None else stat.S_IMODE(os.stat(file).st_mode) & ~stat.S_IWOTH
    return Change(file, before, after, mode)


def _content(file: str) -> bytes | None:
    """Return the beginning of a regular file, also through a link; `None` where it is missing."""
    if not os.path.lexists(file):
        return None
    content, _ = read_unlinked(os.path.realpath(file), MAX_BYTES + 1)
    return content


def _require_place(file: str) -> None:
    """Raise an error unless a path leads to a regular file, or to nothing."""
    parts = file.split("/")
    for depth, name in enumerate(parts, start=1):
        path, above = "/".join(parts[:depth]), "/".join(parts[: depth - 1]) or os.curdir
        names = os.listdir(above)
        if name not in names:
            twin = next((each for each in names if each.casefold() == name.casefold()), None)
            if twin is not None:
                raise_file_error(f"{ascii_text(twin)} exists, in other letter case; rename it to {name}")
            return
        if depth < len(parts) and not os.path.isdir(path):
            raise_file_error(f"{path} is not a directory; rename it")
    if not os.path.isfile(file):
        raise_file_error("it is not a regular file; rename it or delete it")


def _require_writable(file: str) -> None:
    """Raise an error where this user cannot create or replace a file, or would follow a link."""
    if os.path.islink(file):
        raise_file_error("it is a symbolic link; replace it with a regular file")
    directory = os.path.dirname(file)
    above = directory
    while above:
        if os.path.islink(above):
            raise_file_error(f"{above} is a symbolic link; replace it with a directory")
        above = os.path.dirname(above)
    for path in (directory if os.path.isdir(directory) else os.curdir, *([file] if os.path.exists(file) else [])):
        if not os.access(path, os.W_OK) or not os.stat(path).st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            what = "the project's directory" if path == os.curdir else path
            raise_file_error(f"this user cannot write {what}; run chmod u+w {path} as its owner")


def write(changes: Iterable[Change]) -> None:
    """Write all files. If one of them cannot be prepared, write none."""
    done = list[str]()
    file, why = "", ""
    with contextlib.ExitStack() as stack:
        try:
            ready = dict[str, tuple[Change, str]]()
            for change in changes:
                file = change.file
                make_directory(os.path.dirname(file) or os.curdir, others=True)
                ready[file] = change, stack.enter_context(prepared_file(file, change.after, change.mode))
            for file, (change, _) in ready.items():
                if _content(file) != change.before:
                    raise_file_error("another program changed it")
            for file, (change, prepared) in ready.items():
                put_in_place(prepared, file, replace=change.before is not None)
                done.append(file)
        except FileExistsError:
            why = "another program created it"
        except OSError as error:
            why = reason(error)
    if why:
        written = f"these files were written: {', '.join(done)}" if done else "nothing was written"
        why = f"{written}; {file}: {why}; fix that, then run this command again"
        raise UsageError(why)


def packaging() -> list[str]:
    """Return what pyproject.toml lacks so that setuptools does not take config/ for a package."""
    names = sorted(os.listdir())
    packages = [each for each in names if os.path.isfile(f"{each}/__init__.py") and not each.startswith("test")]
    modules = [each[:-3] for each in names if each.endswith(".py") and each not in {SETTINGS, "setup.py"}]
    return flat_layout(_text(_content(PYPROJECT)), packages, modules)


def writable_by_others(files: Iterable[str]) -> list[str]:
    """Return the files and their directories that every user can write: the gate trusts none of them."""
    if os.name != "posix":
        return []
    paths = dict.fromkeys(path for file in files for path in (os.path.dirname(file) or os.curdir, file))
    return [path for path in paths if (mode := os.stat(path).st_mode) & stat.S_IWOTH and not mode & stat.S_ISVTX]


def git_faults(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which of the project's files git ignores, and which key files it does not ignore."""
    keys = [policy.file for policy in RuntimeSecrets.secret_policies.values()]
    try:
        done = subprocess.run(  # noqa: S603 - git, with the names of files that are in no option
            ["git", "-c", "core.fsmonitor=false", "check-ignore", "--no-index", "--", *files, *keys],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return [], []
    if done.returncode not in {0, 1}:  # no repository
        return [], []
    ignored = done.stdout.splitlines()
    return [each for each in files if each in ignored], [each for each in keys if each not in ignored]


def new_files(settings: str | None) -> dict[str, str]:
    """Return the text of each new file, by its path; without a settings module for `None`."""
    texts = {} if settings is None else {settings: _SETTINGS.format(parents=".parent" * (settings.count("/") + 1))}
    templates = map(_template, RuntimeSecrets.secret_policies.values())
    return {**texts, **dict(templates), GATE: _GATE, REVOKED_FILE: HEADER}


def _template(policy: SecretPolicy) -> tuple[str, str]:
    name = re.sub(r"\W", "_", policy.name).upper()
    text = _TEMPLATE.format(file=policy.file, variable=policy.variable, generator=policy.replacement, name=name)
    return f"{policy.file}.example", text


def module_of(settings: str) -> str | None:
    """Return the name of the settings module in a file below the working directory; `None` for an invalid path."""
    parts = settings.removesuffix(".py").split("/")
    named = all(part.isidentifier() and part.isascii() and not keyword.iskeyword(part) for part in parts)
    if not settings.endswith(".py") or not named or parts[-1].startswith("__") or not is_free_text(settings):
        return None
    if parts[0] == SOURCES and len(parts) > 1 and not os.path.exists(f"{SOURCES}/__init__.py"):
        del parts[0]
    return None if settings == GATE or parts[0] in sys.stdlib_module_names else ".".join(parts)


def is_installed(module: str) -> bool:
    """Check whether a module is installed outside of the working directory, so that a new one would hide it."""
    found = find_spec(module.partition(".")[0])
    places = [found.origin, *(found.submodule_search_locations or ())] if found else []
    return any(place and not place.startswith(os.path.join(os.getcwd(), "")) for place in places)


def model_in(settings: str) -> str:
    """Return the name of the model in a settings module."""
    return f"{module_of(settings)}:{CLASS}"


def default_settings() -> str:
    """Return the path of a new settings module: in the only package below `src`, otherwise in the project's root."""
    if os.path.isdir(SOURCES) and not os.path.exists(SETTINGS):
        found = [each for each in os.listdir(SOURCES) if os.path.isfile(f"{SOURCES}/{each}/__init__.py")]
        paths = [f"{SOURCES}/{each}/{SETTINGS}" for each in found]
        if len(paths) == 1 and module_of(paths[0]) and not os.path.exists(f"{SOURCES}/__init__.py"):
            return paths[0]
    return SETTINGS


def with_ignored(text: str) -> str:
    """Return a .gitignore with the missing lines. The line of the templates comes last, because the last match wins."""
    at = {line.rstrip(): number for number, line in enumerate(text.split("\n"))}
    included = max((number for line, number in at.items() if line.startswith("!") and line != _TEMPLATES), default=-1)
    if any(not included < at.get(each, -1) < at.get(_TEMPLATES, -1) for each in _LIVE_KEYS):
        at = {line: number for line, number in at.items() if line not in {*_LIVE_KEYS, _TEMPLATES}}
    blocks = ((comment, [line for line in lines if line not in at]) for comment, lines in _IGNORED.items())
    return _appended(text, "\n".join("\n".join([comment, *lines, ""]) for comment, lines in blocks if lines))


def _appended(text: str, addition: str) -> str:
    newline = _newline_of(text)
    end = newline if text and not text.endswith("\n") else ""
    gap = newline if text.strip() and addition else ""
    return f"{text}{end if addition else ''}{gap}{addition.replace(_LF, newline)}"


def _newline_of(text: str) -> str:
    return "\r\n" if "\r\n" in text else _LF


def flat_layout(text: str, packages: Sequence[str], modules: Sequence[str]) -> list[str]:
    """Return the TOML that setuptools needs where it searches for packages itself: it would take config/ for one."""
    import tomllib  # noqa: PLC0415 - most projects are set up already

    document = tomllib.loads(text)
    builder = document.get("build-system", {}).get("build-backend", "setuptools")
    found = document.get("tool", {}).get("setuptools", {})
    if "project" not in document or not builder.startswith("setuptools") or {"packages", "py-modules"} & {*found}:
        return []
    if packages:
        return ["[tool.setuptools.packages.find]", f"include = {json.dumps([f'{each}*' for each in packages])}"]
    return ["[tool.setuptools]", f"py-modules = {json.dumps(modules)}"]


def hook(model: str, directory: str = "", indent: str = "") -> str:
    """Return the pre-commit hook as an item of `repos`. It runs in a directory of the repository; empty is its root."""
    entry = f"{PROGRAM} scan --staged --fingerprints --model {model}"
    if directory:
        place = directory if _PLAIN_PATH.fullmatch(directory) else "DIRECTORY"
        entry = f"sh -c 'cd ./{place} && exec {entry}'"
    lines = (
        "- repo: local",
        "  hooks:",
        f"    - id: {HOOK}",
        "      name: keys in what is committed",
        f"      entry: {entry}",
        "      language: system",
        "      always_run: true",
        "      pass_filenames: false",
        "      stages: [pre-commit]",
    )
    return "".join(f"{indent}{line}\n" for line in lines)


def has_hook(text: str) -> bool:
    """Check whether a .pre-commit-config.yaml has the hook."""
    return _HAS_HOOK.search(text) is not None


def with_hook(text: str, model: str) -> str | None:
    """Return a .pre-commit-config.yaml with the hook; `None` where the text has another form."""
    if not text.strip():
        return f"{text}repos:\n{hook(model, indent='  ')}"
    found = [*_REPOS.finditer(text)]
    first = _FIRST_ITEM.match(text, found[0].end()) if len(found) == 1 else None
    if first is None:
        return None
    addition = hook(model, indent=first[1]).replace(_LF, _newline_of(text))
    return f"{text[: first.start()]}{addition}{text[first.start() :]}"
