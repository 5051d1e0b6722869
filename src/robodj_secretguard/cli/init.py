"""`init`: write what a service needs into an existing project."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli.options import add_command
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, MODEL, WIDTH, Result, fail
from robodj_secretguard.cli.project import (
    GATE,
    HOOKS,
    SOURCES,
    default_settings,
    git_faults,
    is_installed,
    model_in,
    module_of,
    packaging,
    plan,
    writable_by_others,
    write,
)
from robodj_secretguard.secret.texts import COMMAND_INDENT, PROGRAM, PYPROJECT, TABLE, ascii_text
from robodj_secretguard.startup.readings import REVOKED_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from robodj_secretguard.cli.options import Commands, Request
    from robodj_secretguard.cli.project import Plan

_MANAGE: Final = "manage.py"
_RECIPES: Final = "https://github.com/robodj/robodj-secretguard/blob/main/docs/recipes.md"


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
        description="Set up this project. In the working directory, this writes the settings module, the gate script,"
        " the templates of the key files and an empty revocation list. It adds lines to .gitignore, pyproject.toml and"
        " the configuration of pre-commit. Nothing that exists is overwritten.",
        examples=("init", "init --yes"),
        statuses={
            "0": "written, or nothing to do",
            "1": "nothing was written: --yes is missing",
            "2": "usage error, or a file cannot be written",
        },
    )


def _init(request: Request, *, settings: str | None, yes: bool) -> Result:
    project = request.project
    try:
        here = os.getcwd()
    except OSError:
        fail("the working directory does not exist; change to the directory of the project")
    if project.directory not in {"", here}:
        where = ascii_text(os.path.relpath(project.directory, here))
        fail(f"this project is set up already: run the command in the directory of its {PYPROJECT}, {where}")
    planned = plan(_settings(settings, project.model), project.model)
    if yes:
        write(planned.changes)
    written = yes and bool(planned.changes)
    lines = [*_shown(planned), *(_left(planned) if written else ())]
    stderr = []
    if not planned.changes:
        faults = [*_faults(planned)]
        lines += faults or ["Nothing else to do." if planned.by_hand else "Nothing to do: this project is set up."]
    elif not written:
        stderr = [f"{PROGRAM}: nothing was written; to write, add --yes"]
    status = EXIT_CLEAN if written or not planned.changes else EXIT_ALERTS
    while lines and not lines[-1]:
        lines.pop()
    lines = [*map(ascii_text, lines), "", MODEL]
    model = {"name": ascii_text(planned.model), "source": PYPROJECT} if yes else None
    return Result(status, lines, lambda: _document(planned, written=written), stderr, literal=True, model=model)


def _settings(typed: str | None, model: str | None) -> str | None:
    """Return the file of the settings module; `None` where the project has a model in another module."""
    if typed is None:
        file = default_settings()
        return file if model in {None, model_in(file)} else None
    file = os.path.normpath(typed).replace(os.sep, "/")
    module = module_of(file)
    if module is None or is_installed(module):
        fail(
            "--settings: invalid file; use a path such as app/service_secrets.py, of names that Python can import and"
            " that no installed package has"
        )
    if not os.path.isdir(os.path.dirname(file) or os.curdir):
        fail("--settings: the directory of the file does not exist; create it first, or correct the path")
    if model is not None and model.partition(":")[0] != module:
        fail(f"--settings: {TABLE} in {PYPROJECT} names a model in another module; leave out --settings")
    return file


def _document(planned: Plan, *, written: bool) -> dict[str, Any]:
    return {
        "kind": "init",
        "written": written,
        "changes": [{"file": each.file, "is_new": not each.before, "added": each.added} for each in planned.changes],
        "kept": [*planned.kept],
        "by_hand": planned.by_hand.splitlines(),
    }


def _shown(planned: Plan) -> Iterator[str]:
    """Yield each change like a diff, and what stays."""
    for change in planned.changes:
        yield f"{change.file}{' (new file)' if change.before is None else '' if change.before else ' (empty file)'}:"
        yield from (f"+ {line}".rstrip() for line in change.added)
        yield ""
    if planned.kept:
        yield from ("These files exist and stay as they are:", *(f"  {file}" for file in planned.kept), "")
    if not os.path.exists(REVOKED_FILE) and all(each.file != REVOKED_FILE for each in planned.changes):
        yield "This project has a model, so no revocation list is made: an empty one could replace a lost one."
        yield "The model's config directory needs its list, and git must ignore the key files there."
        yield ""
    if planned.by_hand:
        where = f"{HOOKS} in the root of the git repository" if planned.top not in {None, os.curdir} else HOOKS
        yield from (f"Add these lines to {where} by hand, below repos:", *planned.by_hand.splitlines(), "")


def _left(planned: Plan) -> Iterator[str]:
    """Yield what is left to do after writing."""
    module, _, name = planned.model.partition(":")
    package, is_django = module.rpartition(".")[0], os.path.exists(_MANAGE)
    main = "the Django settings" if is_django else "the service main"
    files = [change.file for change in planned.changes]
    yield "The files are written. What is left:"
    yield from _faults(planned)
    if paths := writable_by_others([*files, *planned.kept]):
        yield "- Others can write these files, so the gate does not trust them. Run:"
        yield from _command(["chmod", "go-w", *paths])
    if any(each.startswith(f"{SOURCES}/") for each in files):
        yield "- Install the package, or set PYTHONPATH=src: python -m pip install -e ."
    if lines := [] if package else packaging():
        yield f"- setuptools would take {os.path.dirname(GATE)} for a package. Add to {PYPROJECT}:"
        yield from _indented(lines)
    yield f"- Add {PROGRAM}, from your package index, to the dependencies."
    yield f"- Begin {main} with:"
    library = PROGRAM.replace("-", "_")
    adapter = [f"from {library}.adapters.django import secret_keys"] if is_django else []
    keys = (f'ring = guard({name}).keyring("secret.key")', "SECRET_KEY, SECRET_KEY_FALLBACKS = secret_keys(ring)")
    imports = (f"from {library} import guard", *adapter, f"from {module} import {name}")
    yield from _indented([*imports, *(keys if is_django else [f"secrets = guard({name})"])])
    sign = ("Sign sessions and tokens with secrets.keyring(), as this page shows:", _RECIPES)
    yield from (f"  {line}" for line in (["Delete the old SECRET_KEY."] if is_django else sign))
    if package:
        yield f"  Do not call guard() in {package}/__init__.py: no command could import the model."
    command = f"python {_MANAGE} check" if is_django else "COMMAND"
    yield f"- Try it without keys: {PROGRAM} exec --ephemeral -- {command}"
    yield f"- Gate a release: python {GATE} --require-env-only"
    needs_hook = HOOKS in files or planned.by_hand
    yield "- Commit in this environment, which the hook needs:" if needs_hook else "- Commit:"
    yield from _indented(["git init"] if planned.top is None else [])
    yield from _indented(["python -m pip install pre-commit", "pre-commit install -t pre-commit"] if needs_hook else [])
    yield from (*_command(["git", "add", *files]), f'{COMMAND_INDENT}git commit -m "Set up the secret guard"')


def _faults(planned: Plan) -> Iterator[str]:
    """Yield what is wrong with the project's .gitignore, as git reads it."""
    ignored, included = git_faults([*(each.file for each in planned.changes), *planned.kept])
    if ignored:
        yield from ("- git ignores these files. Delete the line of .gitignore that ignores them:", *_indented(ignored))
    if included:
        yield "- git does not ignore these key files. Delete the line with ! that includes them:"
        yield from _indented(included)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"{COMMAND_INDENT}{line}" for line in lines]


def _command(words: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a command within the width of a terminal."""
    line = COMMAND_INDENT[1:]
    for word in words:
        if len(line) + len(word) > WIDTH - len(" \\"):
            yield f"{line} \\"
            line = f"{COMMAND_INDENT}   "
        line += f" {word}"
    yield line
