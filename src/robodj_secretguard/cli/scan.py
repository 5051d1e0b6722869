"""`scan`: find keys where they must not be (policy sections 2 and 5)."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.log import recorded_log
from robodj_secretguard.cli.options import (
    DEFAULT_MODEL,
    add_command,
    directory_of,
    given,
    model_of,
    read_input,
)
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, MODEL, Progress, Result, fail
from robodj_secretguard.scan.git import work_tree_of
from robodj_secretguard.scan.render import sarif, size_in_words, text
from robodj_secretguard.scan.result import OPERATIONS_LOG, REVOCATION_LIST, Scope, Unread
from robodj_secretguard.scan.scanner import Scanner
from robodj_secretguard.scan.search import KeySearch, given_value, known_keys, live_values
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import contain
from robodj_secretguard.secret.texts import PROGRAM, PYPROJECT, is_free_text
from robodj_secretguard.startup.readings import REVOKED_FILE, Environment, within_config_dir
from robodj_secretguard.startup.rules import check_list_owners, check_revocation_list, unusable_directories
from robodj_secretguard.startup.settings import read_of
from robodj_secretguard.startup.textfile import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from robodj_secretguard.cli.options import Commands, OperationsLog, Request
    from robodj_secretguard.scan.git import Repository
    from robodj_secretguard.scan.result import KnownKey
    from robodj_secretguard.scan.search import Live
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.readings import Reading, Setup

MAX_KEYS_BYTES: Final = 1 << 16  # how much --keys-from reads


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "scan",
        _scan,
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


def _scan(
    request: Request,
    *,
    paths: Sequence[str],
    git_history: bool,
    staged: bool,
    fingerprints: bool,
    keys_from: str | None,
) -> Result:
    if staged and git_history:
        fail("--staged and --git-history cannot be combined; leave one of them out")
    if fingerprints and keys_from:
        fail("--fingerprints and --keys-from cannot be combined; leave one of them out")
    now = datetime.now(UTC)
    model = model_of(request)
    policies = tuple(model.secret_policies.values())
    readings = read_of(model, Environment(), now=now, config_dir=request.config_dir)
    setup = readings[0].setup
    recorded = recorded_log(request, model)
    at_hand = [*live_values(readings), *_given(keys_from)]
    values = [] if fingerprints else at_hand
    opaque = {policy.name for policy in policies if policy.is_opaque}
    values = [each for each in values if each.secret not in opaque]
    live = [each for each in values if each.is_sound]
    records = [(each.fingerprint, each.secret, each.environment) for each in recorded.records]
    known = known_keys(live, records, setup.revocation.all)
    directory, _ = directory_of(request, model)
    places = [path for path in dict.fromkeys(paths or [os.curdir]) if os.path.lexists(path)]
    progress = Progress(getattr(sys, "stderr", None))
    scanner = Scanner(
        KeySearch(
            known,
            [(each.key, known[fingerprint(each.key)]) for each in live],
            [policy.generator for policy in policies if policy.generator],
            [each.key for each in at_hand],
        ),
        policies,
        fallback_files=[os.path.join(directory, within_config_dir(policy.file)) for policy in policies],
        progress=lambda number, size: progress.show(f"{PROGRAM}: {number} scanned, {size_in_words(size)}"),
        unread=[
            *_unreliable(setup, recorded),
            *([] if fingerprints else _unsearched(readings, values)),
            *_unknown(policies, known.values(), matters=not (fingerprints and staged)),
            *_ignored_model(request, matters=not staged),
            *_missing(paths),
        ],
    )
    scope = Scope.STAGED if staged else Scope.HISTORY if git_history else Scope.FILES
    repositories = _repositories(scanner, places, needs_git=scope is not Scope.FILES)
    if len(repositories) > 1 and scope is not Scope.FILES:
        fail("--git-history and --staged search one repository; pass paths in one repository only")
    try:
        contain(lambda: _search(scanner, places, repositories, scope))
    finally:
        progress.clear()
    scan = scanner.result(scope, known.values(), now)
    status = EXIT_USAGE if not scan.complete else EXIT_CLEAN if scan.ok else EXIT_ALERTS
    options = given(request, "config_dir", "model")
    lines = [text(scan, policies, options)] if request.format == "text" else []
    document = partial(sarif, scan) if request.format == "sarif" else scan.as_dict
    return Result(status, lines, document, [MODEL], bare=True)


def _unreliable(setup: Setup, recorded: OperationsLog) -> Iterator[Unread]:
    """Yield the defects of the operations log and of the revocation list."""
    for why in recorded.defects:  # an incomplete last line or a wrong clock hides no record
        # A hash in it looks like a key.
        shown = why if is_free_text(why) else "it does not verify"
        yield Unread(OPERATIONS_LOG, shown, matters=bool(recorded.log is None or recorded.log.damage))
    if not recorded.found and recorded.named_by is not None:
        yield Unread(OPERATIONS_LOG, f"{recorded.name} does not exist")
    problems = (*check_revocation_list(setup), *check_list_owners(setup))
    for problem in sorted(problems, key=lambda each: each.source != f"file:{REVOKED_FILE}"):
        yield Unread(REVOCATION_LIST, problem.message)
    for problem in unusable_directories(setup):
        yield Unread("set-up", problem.message)


def _unsearched(readings: Iterable[Reading], values: Iterable[Live]) -> Iterator[Unread]:
    """Yield values that cannot be searched for."""
    for reading in readings:
        for offer in reading.offers:
            for why in offer.text.unreadable:
                yield Unread(reading.policy.name, f"the key file {offer.location} {why}")
    for each in values:
        if not each.is_sound:
            yield Unread(str(each.secret), f"its value ({each.source}) is not a valid key, so it was not searched for")


def _unknown(policies: Iterable[SecretPolicy], known: Collection[KnownKey], *, matters: bool) -> Iterator[Unread]:
    """Yield secrets without a known key."""
    names = {key.secret for key in known}
    for policy in policies:
        if policy.is_opaque:
            why = f"a vendor issues this secret, so only assignments of {policy.variable} were searched for"
            yield Unread(policy.name, why, matters=False)
        elif None not in names and known and policy.name not in names:
            yield Unread(policy.name, "no key of this secret is known here, so none was searched for", matters=False)
    if not known:
        why = "no key is set, recorded or revoked here; only assignments and tracked key files were searched for"
        yield Unread("keys", why, matters)


def _ignored_model(request: Request, *, matters: bool) -> Iterator[Unread]:
    """Yield the model of the project, whose secrets were not searched for."""
    model = request.ignored_model
    if request.model is None and model not in {None, DEFAULT_MODEL}:
        name = model if model.isascii() and is_free_text(model) else "MODULE:CLASS"
        why = f"{PYPROJECT} names a model, which scan does not import; if you trust it, add --model {name}"
        yield Unread("model", why, matters)


def _missing(paths: Iterable[str]) -> Iterator[Unread]:
    """Yield missing paths by their numbers, as a path may be a pasted key."""
    for number, path in enumerate(paths, start=1):
        if not os.path.lexists(path):
            yield Unread(f"PATH {number}", "it does not exist")


def _given(name: str | None) -> list[Live]:
    """Return the values from `--keys-from`."""
    if name is None:
        return []
    text = text_of(read_input("--keys-from", name, most=MAX_KEYS_BYTES))
    given = [*map(given_value, text.lines)]
    unsound = [number for number, each in enumerate(given, start=1) if not each.is_sound]
    if text.unreadable or unsound or not given:
        what = f"key {unsound[0]} is invalid (comments are not counted)" if unsound else "the file has no key"
        what = f"the file {text.unreadable[0]}" if text.unreadable else what
        fail(f"--keys-from: {what}; write one valid key on each line")
    return given


def _repositories(scanner: Scanner, paths: Sequence[str], *, needs_git: bool) -> list[Repository]:
    """Return the repositories that some paths are in."""
    directories = (path if os.path.isdir(path) else os.path.dirname(path) or os.curdir for path in paths)
    within = dict.fromkeys(each if needs_git else work_tree_of(each) for each in directories)
    found = filter(None, (scanner.repository(each) for each in within if each is not None))
    return [*{repository.top: repository for repository in found}.values()]


def _search(scanner: Scanner, paths: Sequence[str], repositories: Sequence[Repository], scope: Scope) -> None:
    """Search the places of a scope."""
    for repository in repositories:
        if scope is Scope.STAGED:
            scanner.staged(repository)
        elif scope is Scope.HISTORY:
            scanner.history(repository)
            paths = [*paths, *repository.directories]
        else:
            scanner.tracked(repository, paths)
    if scope is not Scope.STAGED:
        scanner.files(paths)
