"""`scan`: keys where they must not be (policy sections 2 and 5)."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from robodj_secretguard.commands.answer import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, Answer, UsageError
from robodj_secretguard.commands.inputs import read_input
from robodj_secretguard.commands.options import add_command, given, model_of
from robodj_secretguard.commands.recorded import evidence
from robodj_secretguard.commands.terminal import Progress
from robodj_secretguard.fingerprint import fingerprint
from robodj_secretguard.program import PROGRAM, command
from robodj_secretguard.render import count
from robodj_secretguard.rules.revoked import revocation_list_findings
from robodj_secretguard.rules.setup import setting_findings
from robodj_secretguard.scan.git import work_tree_of
from robodj_secretguard.scan.known import given_value, known_keys, live_values
from robodj_secretguard.scan.result import OPERATIONS_LOG, REVOCATION_LIST, Rule, Scope, size_in_words
from robodj_secretguard.scan.sarif import sarif
from robodj_secretguard.scan.scanner import Scanner
from robodj_secretguard.scan.search import KeySearch
from robodj_secretguard.sealed import contain
from robodj_secretguard.sources import Environment, config_directory, read, variables_read, within_config_dir
from robodj_secretguard.textfile import lines_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Sequence

    from robodj_secretguard.commands.options import Commands
    from robodj_secretguard.commands.recorded import Evidence
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.scan.git import Repository
    from robodj_secretguard.scan.known import Live
    from robodj_secretguard.scan.result import KnownKey, Scan
    from robodj_secretguard.sources import Reading, Setup

CLEAN: Final = "No key was found where it must not be (key material redacted)."
"""The last line of a scan that found nothing and missed nothing."""
MAX_KEYS_BYTES: Final = 1 << 16
"""How much `--keys-from` reads."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "scan",
        _scan,
        options=("--operations-log", "--config-dir", "--model"),
        description="Look for keys where they must not be. The keys that are delivered here, and those whose"
        " fingerprints are recorded or revoked, are looked for as they are, in hexadecimal and in base64; and so are"
        " assignments of the declared variables, and key files that git tracks. It shows nothing of any key.",
        epilog="exit status: 0 nothing found, 1 found, 2 wrong usage, or something could not be looked at (whatever was"
        " found elsewhere)",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files and directories (default: the working one)")
    parser.add_argument("--git-history", action="store_true", help="and every object that git keeps, with its commits")
    parser.add_argument("--staged", action="store_true", help="instead, what the next commit adds or changes")
    parser.add_argument("--fingerprints", action="store_true", help="look by fingerprints alone, and use no key")
    parser.add_argument("--keys-from", metavar="FILE", help="and for these keys, one in each line; - for a pipe")
    parser.add_argument("--format", choices=("text", "json", "sarif"), default="text", help="the form of the result")


def _scan(arguments: argparse.Namespace) -> Answer:
    for one, other in (("staged", "git_history"), ("fingerprints", "keys_from")):
        if getattr(arguments, one) and getattr(arguments, other):
            msg = f"--{one} and --{other.replace('_', '-')} exclude each other"
            raise UsageError(msg)
    now = datetime.now(UTC)
    environment = Environment()
    model = model_of(arguments)
    policies = tuple(model.secret_policies.values())
    readings = read(
        policies, variables_read(policies), environment=environment, config_dir=arguments.config_dir, now=now
    )
    setup = readings[0].setup
    recorded = evidence(arguments)
    at_hand = [*live_values(readings), *_given(arguments.keys_from)]
    values = [] if arguments.fingerprints else at_hand
    live = [each for each in values if each.is_sound]
    known = known_keys(live, recorded.log.records, setup.revocation.fingerprints)
    directory, _ = config_directory(environment, arguments.config_dir)
    progress = Progress(getattr(sys, "stderr", None))
    scanner = Scanner(
        KeySearch(
            known,
            [(each.key, known[fingerprint(each.key)]) for each in live],
            [policy.generator for policy in policies],
            [each.key for each in at_hand],
        ),
        policies,
        fallback_files=[os.path.join(directory, within_config_dir(policy.file)) for policy in policies],
        progress=lambda places, size: progress.show(f"{PROGRAM}: {places} looked at, {size_in_words(size)}"),
    )
    _miss_evidence(scanner, setup, recorded)
    if not arguments.fingerprints:
        _miss_values(scanner, readings, values)
    _miss_keys(scanner, policies, known.values(), matters=not arguments.fingerprints)
    scope = Scope.STAGED if arguments.staged else Scope.HISTORY if arguments.git_history else Scope.FILES
    paths = _paths(scanner, arguments.paths)
    repositories = _repositories(scanner, paths, needs_git=scope is not Scope.FILES)
    if len(repositories) > 1 and scope is not Scope.FILES:
        msg = "--git-history and --staged take the paths of one repository"
        raise UsageError(msg)
    failure = contain(lambda: _look(scanner, paths, repositories, scope))
    progress.clear()
    if failure is not None:
        raise failure
    scan = scanner.result(scope, known.values(), now)
    status = EXIT_USAGE if not scan.complete else EXIT_CLEAN if scan.ok else EXIT_ALERTS
    if arguments.format == "text":
        remedies = _remedies(scan, policies, given(arguments, "config_dir", "model"))
        return Answer(status, "\n".join([*scan.lines, *remedies, _verdict(scan)]))
    return Answer(status, json.dumps(sarif(scan) if arguments.format == "sarif" else scan.as_dict(), indent=2))


def _miss_evidence(scanner: Scanner, setup: Setup, recorded: Evidence) -> None:
    """Take note of fingerprints that cannot be relied on."""
    for why in recorded.defects:  # an end that is torn, or a clock, takes nothing away from who reads
        scanner.miss(OPERATIONS_LOG, why, matters=bool(recorded.unreadable or recorded.log.damage))
    if not recorded.found and not recorded.place.is_default:
        scanner.miss(OPERATIONS_LOG, f"{recorded.place.name} is not there")
    for finding in revocation_list_findings(setup):
        scanner.miss(REVOCATION_LIST, finding.message)
    for finding in setting_findings(setup._replace(unknown_switches=())):
        scanner.miss("set-up", finding.message)


def _miss_values(scanner: Scanner, readings: Sequence[Reading], values: Sequence[Live]) -> None:
    """Take note of values that cannot be looked for."""
    for reading in readings:
        for why in reading.file.unreadable:
            scanner.miss(reading.policy.name, f"the key in {reading.setup.place(reading.policy.file)}: {why}")
    for each in values:
        if not each.is_sound:
            scanner.miss(str(each.secret), f"its value ({each.source}) would not pass as a key, and is not looked for")


def _miss_keys(
    scanner: Scanner, policies: Sequence[SecretPolicy], known: Collection[KnownKey], *, matters: bool
) -> None:
    """Take note of secrets of which no key is known."""
    names = {key.secret for key in known}
    for policy in policies:
        if known and policy.name not in names:
            scanner.miss(policy.name, "no key of it is known here, and none is looked for", matters=False)
    if not known:
        why = "none is delivered, recorded or revoked here: assignments and tracked key files alone are looked for"
        scanner.miss("keys", why, matters=matters)


def _given(name: str | None) -> list[Live]:
    """Return the values that an operator passes."""
    if name is None:
        return []
    unreadable, lines = lines_of(read_input("--keys-from", name, most=MAX_KEYS_BYTES))
    given = [*map(given_value, lines)]
    unsound = [number for number, each in enumerate(given, start=1) if not each.is_sound]
    if unreadable or unsound or not given:
        what = f"key {unsound[0]}, comments not counted, would not pass as one" if unsound else "it has no key"
        msg = f"--keys-from, which has a key in each line: {unreadable[0] if unreadable else what}"
        raise UsageError(msg)
    return given


def _paths(scanner: Scanner, named: Sequence[str]) -> list[str]:
    """Return the paths that are there; a key may have been put in the place of another, and it is not shown."""
    paths = [path for path in dict.fromkeys(named or [os.curdir]) if os.path.lexists(path)]
    for number, path in enumerate(named, start=1):
        if path not in paths:
            scanner.miss(f"PATH {number}", "it is not there")
    return paths


def _repositories(scanner: Scanner, paths: Sequence[str], *, needs_git: bool) -> list[Repository]:
    """Return the repositories that some paths are in."""
    directories = (path if os.path.isdir(path) else os.path.dirname(path) or os.curdir for path in paths)
    within = dict.fromkeys(each if needs_git else work_tree_of(each) for each in directories)
    found = filter(None, (scanner.repository(each) for each in within if each is not None))
    return [*{repository.top: repository for repository in found}.values()]


def _look(scanner: Scanner, paths: Sequence[str], repositories: Sequence[Repository], scope: Scope) -> None:
    """Look everywhere that was asked for."""
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


def _verdict(scan: Scan) -> str:
    if scan.ok:
        return CLEAN
    found = count(len(scan.findings), "finding")
    missed = count(sum(each.matters for each in scan.unread), "thing was", "things were")
    return f"Scan FAILED: {found}." if scan.complete else f"Scan INCOMPLETE: {found}, and {missed} not looked at."


def _remedies(scan: Scan, policies: Sequence[SecretPolicy], options: Sequence[str]) -> list[str]:
    """Return what is to be done about the findings."""
    if not scan.findings:
        return []
    exposed = "whoever could look there has the key, and taking it away does not take it back (policy 4, 5)"
    lines = [f"What to do: {exposed}:"]
    if scan.scope is Scope.STAGED:
        lines = ["What to do: it is not committed yet. Take it out: git restore --staged -- PATH"]
        lines += [f"If it was anywhere else, {exposed}:"]
    revoked = {each.fingerprint for each in scan.looked_for if each.is_revoked}
    for key in dict.fromkeys(each.fingerprint for each in scan.findings if each.fingerprint):
        revoke = command("revoke", "--fingerprint", key, "--reason", "found by a scan", *options)
        lines.append(f"- {key} is revoked already: see that nothing uses it" if key in revoked else f"- {revoke}")
    names = {each.secret for each in scan.findings}
    lines += ["- " + command("rotate", "plan", each.name, *options) for each in policies if each.name in names]
    if any(each.rule is Rule.TRACKED_KEY_FILE for each in scan.findings):
        lines.append("- git rm --cached -- PATH, and put it into .gitignore: version control takes templates alone")
    if scan.scope is not Scope.STAGED:
        lines.append("- take it out of where it is; a history that was fetched keeps what was in it")
    return lines
