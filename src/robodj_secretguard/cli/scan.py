"""`scan`: find keys where they must not be (policy sections 2 and 5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from robodj_secretguard.cli.log import find_log
from robodj_secretguard.cli.options import LIBRARY_MODEL, Commands, Request, add_command, given, model_of, read_input
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, MODEL, Result, fail
from robodj_secretguard.scan.render import sarif, scan_as_text
from robodj_secretguard.scan.result import Scope
from robodj_secretguard.scan.scanner import scan
from robodj_secretguard.scan.search import valid_key
from robodj_secretguard.secret.policy import LEAST_MATERIAL
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.file_reader import text_of

_SCOPE_BY_OPTIONS: Final = {(False, False): Scope.FILES, (True, False): Scope.STAGED, (False, True): Scope.HISTORY}
"""By `--staged` and `--git-history`."""


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "scan",
        _scan_places,
        options=("--operations-log", "--config-dir", "--model"),
        own={
            "paths": {"nargs": "*", "metavar": "PATH", "help": "files and directories (default: the current one)"},
            "--git-history": {"action": "store_true", "help": "also search every object in git, and name its commits"},
            "--staged": {"action": "store_true", "help": "search only what the next commit adds or changes"},
            "--fingerprints": {"action": "store_true", "help": "search by fingerprints alone (no key is needed)"},
            "--keys-from": {"metavar": "FILE", "help": "also search for these keys, one on each line (- for stdin)"},
            "--format": {"choices": ("text", "json", "sarif"), "default": "text", "help": "the output format"},
        },
        defaults={"uses_project_model": False},  # scan also reads repositories that nobody trusts
        description="Search files and git for keys. It finds the keys that are set here, and keys whose fingerprints"
        " are recorded or revoked, also in hexadecimal and in base64. It also finds assignments of the declared"
        " variables, and key files that git tracks. It prints no part of a key.",
        examples=("scan", "scan --git-history --format sarif > scan.sarif"),
        statuses={
            "0": "nothing was found",
            "1": "something was found",
            "2": "usage error, or the search is incomplete",
        },
    )


def _scan_places(
    request: Request,
    *,
    paths: Sequence[str],
    git_history: bool,
    staged: bool,
    fingerprints: bool,
    keys_from: str | None,
) -> Result:
    if (staged, git_history) not in _SCOPE_BY_OPTIONS:
        fail("--staged and --git-history cannot be combined; leave one of them out")
    if fingerprints and keys_from:
        fail("--fingerprints and --keys-from cannot be combined; leave one of them out")
    model = model_of(request)
    declares_others = request.model is None and request.project_model != LIBRARY_MODEL
    found = scan(
        model,
        paths or [os.curdir],
        scope=_SCOPE_BY_OPTIONS[staged, git_history],
        by_fingerprint=fingerprints,
        keys=_keys_in(keys_from) if keys_from is not None else (),
        operations_log=find_log(request, model).read_if_any(),
        config_dir=request.config_dir,
        ignored_model=request.project_model if declares_others else None,
    )
    status = EXIT_CLEAN if found.ok else EXIT_ALERTS
    if not found.complete:
        status = EXIT_USAGE
    if request.format == "sarif":
        return Result(status, document=partial(sarif, found), stderr=[MODEL], bare=True)
    text = scan_as_text(found, model.secret_policies.values(), given(request, "config_dir", "model"))
    return Result(status, [text], found.as_dict, [MODEL], bare=True)


def _keys_in(name: str) -> Sequence[SealedStr]:
    """Return the keys in the file of `--keys-from`."""
    file = text_of(read_input("--keys-from", name, most=1 << 16))
    keys = [valid_key(line, LEAST_MATERIAL) for line in file.lines]
    if file.unreadable or None in keys or not keys:
        what = (
            f"key {keys.index(None) + 1} is invalid (comments are not counted)"
            if None in keys
            else "the file has no key"
        )
        what = f"the file {file.unreadable[0]}" if file.unreadable else what
        fail(f"--keys-from: {what}; write one valid key on each line")
    return [*filter(None, keys)]
