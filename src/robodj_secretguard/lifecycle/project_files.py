"""The files of a new project: what `init` writes, what stays as it is, and what cannot be written."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from robodj_secretguard.errors import UsageError
from robodj_secretguard.files import (
    make_directory,
    prepared_file,
    put_in_place,
    raise_file_error,
    read_unlinked,
    reason,
)
from robodj_secretguard.lifecycle.project_texts import (
    CLASS,
    SETTINGS,
    has_hook,
    hook,
    model_in,
    new_files,
    with_hook,
    with_ignored,
    with_model,
)
from robodj_secretguard.texts import PROGRAM, ascii_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IGNORE: Final = ".gitignore"
HOOKS: Final = ".pre-commit-config.yaml"
PYPROJECT: Final = "pyproject.toml"
MAX_BYTES: Final = 1 << 20
"""The largest file that `init` extends."""

_MODE: Final = 0o644
_CODING: Final = ("utf-8", "surrogateescape")  # keeps every byte
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_OTHER_NAME: Final = "pass --settings FILE with another name"


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
    for file, text in new_files(settings).items():
        add(file, partial(_created, file, text, is_settings=file == settings and model is None))
    if top is None or top == os.curdir:
        add(HOOKS, partial(_extended, HOOKS, lambda text: text if has_hook(text) else with_hook(text, named) or text))
        by_hand = "" if HOOKS not in kept or has_hook(_text(_content(HOOKS))) else hook(named)
    else:  # pre-commit reads only the file in the root of the repository
        by_hand = _hook_below(top, named)
    # It is written last: from then on, every command uses the model.
    add(PYPROJECT, partial(_extended, PYPROJECT, lambda text: text if model else _with_model(text, named)))
    if refusals:
        why = ". ".join(f"{', '.join(files)}: {why}" for why, files in refusals.items())
        why = f"nothing was written: {why}"
        raise UsageError(why)
    return Plan(named, tuple(changes), tuple(kept), by_hand, top)


def _hook_below(top: str, model: str) -> str:
    """Return the hook for the root of the repository; nothing if its configuration has that command."""
    made = hook(model, os.path.relpath(os.curdir, top).replace(os.sep, "/"))
    with contextlib.suppress(OSError):
        if made.splitlines()[4].strip() in _text(_content(os.path.join(top, HOOKS))):
            return ""
    return made


def _top() -> str | None:
    """Return the path to the root of the git repository, as a relative one."""
    here = directory = os.getcwd()
    while not os.path.lexists(os.path.join(directory, ".git")):
        if directory == os.path.dirname(directory):
            return None
        directory = os.path.dirname(directory)
    return os.path.relpath(directory, here)


def _text(content: bytes | None) -> str:
    return (content or b"").decode(*_CODING)


def _with_model(text: str, model: str) -> str:
    extended = with_model(text, model)
    if extended is None:
        raise_file_error(f'its table tool has another form; set tool.{PROGRAM}.model to "{model}" by hand')
    return extended


def _created(file: str, text: str, *, is_settings: bool) -> Change | None:
    """Return a new file; `None` where it exists."""
    _require_place(file)
    if is_settings and os.path.exists(f"{file.removesuffix('.py')}/__init__.py"):
        raise_file_error(f"a package has the same name; {_OTHER_NAME}")
    exists = os.path.exists(file)
    if exists and os.path.getsize(file):
        if is_settings and CLASS not in _text(_content(file)):
            raise_file_error(f"it exists and has no class {CLASS}; {_OTHER_NAME}")
        return None
    _require_writable(file)
    return Change(file, b"" if exists else None, text.encode())


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
                _make_parent(file, stack)
                ready[file] = change, stack.enter_context(prepared_file(file, change.after, change.mode))
            for file, (change, _) in ready.items():
                _require_place(file)
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


def _make_parent(file: str, stack: contextlib.ExitStack) -> None:
    """Make the directory of a file, and remove it again if it stays empty."""
    directory = os.path.dirname(file)
    if directory and not os.path.lexists(directory):
        make_directory(directory, others=True)
        stack.callback(_remove_empty, directory)


def _remove_empty(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def writable_by_others(files: Iterable[str]) -> list[str]:
    """Return the files and their directories that every user can write: the gate trusts none of them."""
    if os.name != "posix":
        return []
    paths = dict.fromkeys(path for file in files for path in (os.path.dirname(file) or os.curdir, file))
    return [path for path in paths if (mode := os.stat(path).st_mode) & stat.S_IWOTH and not mode & stat.S_ISVTX]
