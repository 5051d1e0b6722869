"""The sources of `--from`: read them, check what they deliver, and give it to a command (policy section 2)."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import ChainMap
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from robodj_secretguard.cli.output import fail
from robodj_secretguard.managers.manager import ATTEMPT_SECONDS, FIRST_PAUSE, ManagerError, first_with
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.secret.texts import PROGRAM, ascii_text, could_hold_key
from robodj_secretguard.startup.emit import write_line
from robodj_secretguard.startup.guard import examine
from robodj_secretguard.startup.readings import Environment, are_files_off
from robodj_secretguard.startup.report import Report, finding, with_findings
from robodj_secretguard.startup.rules import Check, Problem
from robodj_secretguard.startup.settings import setup_of
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS, ROTATION_RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.lifecycle.steps import Keys
    from robodj_secretguard.managers.manager import Manager
    from robodj_secretguard.managers.store import Store
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.readings import Variables
    from robodj_secretguard.startup.report import Finding
    from robodj_secretguard.startup.settings import SecretSettings

_STDIN: Final = "json:-"
# The class of each kind, the form of its place, and the package of its client.
_KINDS: Final = {
    "vault": ("vault.Vault", r"[\w.-]+/[\w./-]*[\w.-]", "hvac"),
    "aws": ("aws.AwsSecret", r"[\w/+=.@:-]+", "boto3"),
    "directory": ("directory.Directory", r"[^\0]+", ""),
    "json": ("json_object.JsonObject", "-", ""),
}
_RANDOM_END: Final = re.compile(r"-[A-Za-z0-9]{6}\Z")
"""What AWS adds to the name of a secret in its ARN."""
_MOST_NAMES: Final = 2


class Sources(NamedTuple):
    """The sources of `--from` that were read.

    Attributes:
        managers: all of them, in the order of the options.
        failed: the report on the first one that failed, so that nothing is checked.
        withdrawn: the entries that a revocation list had earlier, and that count still.
    """

    managers: Sequence[Manager]
    failed: Report | None = None
    withdrawn: Collection[str] = ()

    def judged(self, model: type[SecretSettings], *, config_dir: str | None, require_env_only: bool) -> Report:
        """Return the check's report on what the sources and the environment deliver."""
        if self.failed is not None:
            return self.failed
        environment = _environment(self.withdrawn)
        report, _ = examine(
            model,
            environment=environment,
            config_dir=config_dir,
            require_env_only=require_env_only,
            managers=self.managers,
        )
        return with_findings(report, _conflicts(self.managers, tuple(model.secret_policies.values()), environment))


def read(sources: Sequence[str], model: type[SecretSettings], *, wait: float, require_env_only: bool) -> Sources:
    """Read every source, up to the first one that fails. Try again for `wait` seconds where one does not answer."""
    policies = tuple(model.secret_policies.values())
    managers = opened(sources, policies)
    names = names_of(policies)
    deadline, least = time.monotonic() + wait, FIRST_PAUSE if wait else ATTEMPT_SECONDS
    for manager in managers:
        try:
            manager.load(names, deadline, _say, least=least)
        except ManagerError as error:
            off = require_env_only or are_files_off(Environment(), setup_of(model))
            tried = f" (tried for {wait:g} s)" if error.is_temporary and manager.is_repeatable and wait else ""
            return Sources(managers, failed(policies, manager, error, tried, require_env_only=off))
    return Sources(managers)


def delivered(managers: Sequence[Manager], model: type[SecretSettings]) -> dict[str, SealedStr]:
    """Return the variables for a command, sealed. Call it inside `contain()`.

    The revocation lists are joined with that of the environment.
    """
    variables = dict[str, SealedStr]()
    for policy in model.secret_policies.values():
        if manager := first_with(managers, policy):
            variables |= {name: value for name in policy.variables if (value := manager.get(name))}
    sources: list[Variables] = [Environment(), *managers]
    lists = [value.get_secret_value() for each in sources if (value := each.get(REVOKED_FINGERPRINTS))]
    return variables | ({REVOKED_FINGERPRINTS: SealedStr(",".join(lists))} if lists else {})


def source_failure(report: Report) -> Finding | None:
    """Return the finding of a source that failed, so that nothing was checked."""
    failures = {Check.SOURCE, Check.UNAVAILABLE}
    return next((each for each in report.findings if each.check in failures and each.secret is None), None)


def _environment(withdrawn: Iterable[str]) -> Environment:
    """Return the environment, where the revocation list also has entries that were withdrawn."""
    if not withdrawn:
        return Environment()
    own = Environment().get(REVOKED_FINGERPRINTS)
    joined = ",".join([*([own.get_secret_value()] if own else []), *sorted(withdrawn)])
    return Environment(ChainMap({REVOKED_FINGERPRINTS: joined}, os.environ))


def drifts(
    managers: Sequence[Manager],
    policies: Iterable[SecretPolicy],
    records: Sequence[Record],
    options: Sequence[str] = (),
) -> list[Finding]:
    """Return a finding for each secret of a manager whose keys differ from what is recorded."""
    from robodj_secretguard.lifecycle.steps import drift, keys_of  # noqa: PLC0415 - `exec` reads no log in most services

    def keys_in(manager: Manager, policy: SecretPolicy) -> Keys:
        values = [(name, manager.get(name)) for name in names_of([policy])]
        return keys_of(policy, {name: value.get_secret_value() for name, value in values if value})

    delivering = [(policy, manager) for policy in policies if (manager := first_with(managers, policy))]
    return [
        finding((), Check.DRIFT, problem, policy)
        for policy, manager in delivering
        for problem in drift(policy, contain(partial(keys_in, manager, policy)), records, manager.name, options)
    ]


def names_of(policies: Iterable[SecretPolicy]) -> list[str]:
    """Return the fields of a manager that are read."""
    return [*(name for policy in policies for name in policy.variables), REVOKED_FINGERPRINTS, ROTATION_RECORD]


def opened_store(source: str, policies: Sequence[SecretPolicy]) -> Store:
    """Return the manager of `--to`."""
    from robodj_secretguard.managers.store import Store  # noqa: PLC0415 - only `rotate` writes

    (manager,) = opened([source], policies, "--to", "vault:MOUNT/PATH or aws:SECRET_ID")
    if not isinstance(manager, Store):
        fail("--to: this source cannot be written; use vault:MOUNT/PATH or aws:SECRET_ID")
    return manager


def opened(
    sources: Sequence[str],
    policies: Sequence[SecretPolicy],
    word: str = "--from",
    forms: str = "vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH or json:- once",
) -> list[Manager]:
    """Return a manager for each source. No message repeats a source that is invalid, as it may be a key."""
    managers: list[Manager] = []
    for number, source in enumerate(sources, start=1):
        kind, _, place = source.partition(":")
        path, form, package = _KINDS.get(kind, ("", "", ""))
        is_valid = form and re.fullmatch(form, place, re.ASCII) and (source != _STDIN or sources.count(source) == 1)
        # A client would send a pasted key to its server.
        if not is_valid or (package and could_hold_key(_RANDOM_END.sub("", place))):
            which = f" (number {number})" if number > 1 else ""
            fail(f"{word}{which}: invalid source; use {forms}")
        is_shown = place.isprintable() and not could_hold_key(place)
        name = ascii_text(source) if is_shown else f"{kind}:PATH"
        managers.append(_class(word, kind, path, package)(name, place, policies))
    return managers


def _class(word: str, kind: str, path: str, package: str) -> Callable[[str, str, Sequence[SecretPolicy]], Manager]:
    """Return the class of a manager. Its module imports the client, which an extra installs."""
    module, name = path.split(".")
    try:
        found: Any = getattr(import_module(f"robodj_secretguard.managers.{module}"), name)
    except Exception:  # noqa: BLE001 - the import of a client may raise anything
        extra = f"run pip install '{PROGRAM}[{kind}]'" if package else "reinstall this program"
        fail(f"{word} {kind}: needs the package {package or module}, which cannot be imported; {extra}")
    return found  # type: ignore[no-any-return]


def _say(what: str) -> None:
    write_line(sys.stderr, f"{PROGRAM}: {what}")


def failed(
    policies: Sequence[SecretPolicy],
    manager: Manager,
    error: ManagerError,
    tried: str = "",
    *,
    require_env_only: bool = True,
) -> Report:
    """Return a report with one alert: a source failed, and nothing was checked."""
    check = Check.UNAVAILABLE if error.is_temporary else Check.SOURCE
    problem = Problem(f"{manager.name} {error.message}{tried}", error.remedy, manager.name)
    return Report(datetime.now(UTC), require_env_only, None, (), (finding(policies, check, problem),))


def _conflicts(
    managers: Sequence[Manager], policies: Iterable[SecretPolicy], environment: Environment
) -> Iterator[Finding]:
    """Yield a finding for each secret of a manager whose variables have other values in the environment."""
    for policy in policies:
        if not (manager := first_with(managers, policy)):
            continue
        values = [(name, environment.get(name)) for name in policy.variables]
        if names := [name for name, value in values if value and value != manager.get(name)]:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            what = f"{names[0]}{more} in the environment differ{'' if more else 's'} from {manager.name}"
            fix = f"unset {', '.join(names)} in the environment"
            if len(names) > _MOST_NAMES:
                fix = f"unset every variable of {policy.name} in the environment (explain lists them)"
            problem = Problem(what, fix, "environment")
            yield finding(policies, Check.SOURCE, problem, policy)
