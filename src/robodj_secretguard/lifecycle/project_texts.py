"""The texts that `init` writes into a project, and the lines that it adds to existing files."""

from __future__ import annotations

import keyword
import os
import re
import sys
from typing import TYPE_CHECKING, Final

from robodj_secretguard.files import LOCK_FILE
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.models import RuntimeSecrets
from robodj_secretguard.sources import REVOKED_FILE
from robodj_secretguard.texts import PROGRAM, is_free_text

if TYPE_CHECKING:
    from robodj_secretguard.policy import SecretPolicy

CLASS: Final = "ServiceSecrets"
"""The name of the model in a new settings module."""
SETTINGS: Final = "service_secrets.py"
GATE: Final = "config/check_runtime_secrets.py"
HOOK: Final = "robodj-secretguard-scan"
TABLE: Final = f"[tool.{PROGRAM}]"
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
_HEADER: Final = re.compile(rf"(?m)^[ \t]*\[[ \t]*tool[ \t]*\.[ \t]*([\"']?){PROGRAM}\1[ \t]*\][^\n]*$\n?")
_REPOS: Final = re.compile(r"(?m)^\ufeff?repos:[ \t]*(?:#[^\n]*)?\r?\n")
_FIRST_ITEM: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*( *)- ")
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./-]+")
_LF: Final = "\n"


def new_files(settings: str | None) -> dict[str, str]:
    """Return the text of each new file, by its path; without a settings module for `None`."""
    texts = {} if settings is None else {settings: _SETTINGS.format(parents=".parent" * (settings.count("/") + 1))}
    templates = map(_template, RuntimeSecrets.secret_policies.values())
    return {**texts, **dict(templates), GATE: _GATE, REVOKED_FILE: HEADER}


def _template(policy: SecretPolicy) -> tuple[str, str]:
    name = re.sub(r"\W", "_", policy.name).upper()
    text = _TEMPLATE.format(file=policy.file, variable=policy.variable, generator=policy.generator.command, name=name)
    return f"{policy.file}.example", text


def module_of(settings: str) -> str | None:
    """Return the name of the settings module in a file below the working directory; `None` for an invalid path."""
    parts = settings.removesuffix(".py").split("/")
    named = all(part.isidentifier() and part.isascii() and not keyword.iskeyword(part) for part in parts)
    if not settings.endswith(".py") or not named or parts[-1] == "__init__" or not is_free_text(settings):
        return None
    if parts[0] == SOURCES and len(parts) > 1 and not os.path.exists(f"{SOURCES}/__init__.py"):
        del parts[0]
    return None if parts[0] in sys.stdlib_module_names else ".".join(parts)


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
    if any(at.get(_TEMPLATES, -1) < at.get(each, len(at) + 1) for each in _LIVE_KEYS):
        at.pop(_TEMPLATES, None)
    blocks = ((comment, [line for line in lines if line not in at]) for comment, lines in _IGNORED.items())
    return _appended(text, "\n".join("\n".join([comment, *lines, ""]) for comment, lines in blocks if lines))


def _appended(text: str, addition: str) -> str:
    newline = _newline_of(text)
    end = newline if text and not text.endswith("\n") else ""
    gap = newline if text.strip() and addition else ""
    return f"{text}{end if addition else ''}{gap}{addition.replace(_LF, newline)}"


def _newline_of(text: str) -> str:
    return "\r\n" if "\r\n" in text else _LF


def with_model(text: str, model: str) -> str | None:
    """Return a pyproject.toml that names the model; `None` where its text has another form."""
    import tomllib  # noqa: PLC0415 - most projects are set up already

    document = tomllib.loads(text)
    tools = document.get("tool", {})
    line = f'model = "{model}"\n'
    if PROGRAM in tools:
        header = _HEADER.search(text)
        if header is None:
            return None
        newline = _newline_of(text)
        end = "" if header[0].endswith("\n") else newline
        made = f"{text[: header.end()]}{end}{line.replace(_LF, newline)}{text[header.end() :]}"
    else:
        made = _appended(text, f"{_COMMENT}\n{TABLE}\n{line}")
    expected = {**document, "tool": {**tools, PROGRAM: {**tools.get(PROGRAM, {}), "model": model}}}
    try:
        return made if tomllib.loads(made) == expected else None
    except tomllib.TOMLDecodeError:
        return None


def hook(model: str, directory: str = "", indent: str = "") -> str:
    """Return the pre-commit hook as an item of `repos`. It runs in a directory of the repository; empty is its root."""
    entry = f"{PROGRAM} scan --staged --fingerprints --model {model}"
    if directory:
        place = directory if _PLAIN_PATH.fullmatch(directory) else "DIRECTORY"
        entry = f"sh -c 'cd {place} && exec {entry}'"
    lines = (
        "- repo: local",
        "  hooks:",
        f"    - id: {HOOK}",
        "      name: keys in what is committed",
        f"      entry: {entry}",
        "      language: system",
        "      always_run: true",
        "      pass_filenames: false",
    )
    return "".join(f"{indent}{line}\n" for line in lines)


def has_hook(text: str) -> bool:
    """Check whether a .pre-commit-config.yaml has the hook, other than in a comment."""
    return any(HOOK in line.partition("#")[0] for line in text.split("\n"))


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
