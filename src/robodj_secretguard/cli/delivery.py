"""The sources of `--from`: read them, check what they deliver, and give it to a command (policy section 2)."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.checks import Check, Problem
from robodj_secretguard.cli.output import fail
from robodj_secretguard.emit import write_line
from robodj_secretguard.guard import examine
from robodj_secretguard.managers.manager import ATTEMPT_SECONDS, FIRST_PAUSE, first_with
from robodj_secretguard.models import setup_of
from robodj_secretguard.report import Report, finding, with_findings
from robodj_secretguard.sealed import contain
from robodj_secretguard.sources import REVOKED_FINGERPRINTS, Environment, are_files_off
from robodj_secretguard.texts import PROGRAM, ascii_text, could_hold_key

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from robodj_secretguard.managers.manager import Failure, Manager
    from robodj_secretguard.models import SecretSettings
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import Finding
    from robodj_secretguard.sources import Variables

_STDIN: Final = "json:-"
_VAULT: Final = re.compile(r"([\w.-]+)/([\w./-]*[\w.-])", re.ASCII)
_AWS: Final = re.compile(r"[\w/+=.@:-]+", re.ASCII)
_RANDOM_END: Final = re.compile(r"-[A-Za-z0-9]{6}\Z")
"""What AWS adds to the name of a secret in its ARN."""
_EXTRAS: Final = {"vault": "hvac", "aws": "boto3"}
_MOST_NAMES: Final = 2


def judged_from(arguments: argparse.Namespace, model: type[SecretSettings]) -> Report:
    """Read every source, and return the check's report on what they and the environment deliver.

    A source that fails is the only finding of the report.
    """
    policies = tuple(model.secret_policies.values())
    arguments.managers = managers = _opened(arguments.sources, policies)
    names = [*(name for policy in policies for name in policy.variables), REVOKED_FINGERPRINTS]
    deadline, least = time.monotonic() + arguments.wait, FIRST_PAUSE if arguments.wait else ATTEMPT_SECONDS
    for manager in managers:
        failure = manager.load(names, deadline, _say, least=least)
        if failure is not None:
            off = arguments.require_env_only or are_files_off(Environment(), setup_of(model))
            return _failed(policies, manager, failure, require_env_only=off)
    report, _ = examine(
        model,
        environment=Environment(),
        config_dir=arguments.config_dir,
        require_env_only=arguments.require_env_only,
        managers=managers,
    )
    return with_findings(report, _conflicts(managers, policies))


def delivered(managers: Sequence[Manager], model: type[SecretSettings]) -> dict[str, str]:
    """Return the variables for a command. The revocation lists are joined with that of the environment."""
    variables = dict[str, str]()
    for policy in model.secret_policies.values():
        if manager := first_with(managers, policy):
            variables |= {name: value.get_secret_value() for name in policy.variables if (value := manager.get(name))}
    sources: list[Variables] = [Environment(), *managers]
    lists = [value.get_secret_value() for each in sources if (value := each.get(REVOKED_FINGERPRINTS))]
    return variables | ({REVOKED_FINGERPRINTS: ",".join(lists)} if lists else {})


def _opened(sources: Iterable[str], policies: Sequence[SecretPolicy]) -> list[Manager]:
    """Return a manager for each source. No message repeats a source that is invalid, as it may be a key."""
    managers: list[Manager] = []
    for number, source in enumerate(sources, start=1):
        kind, _, rest = source.partition(":")
        # A client would send a pasted key to its server.
        is_valid = {
            "vault": _VAULT.fullmatch(rest) and not could_hold_key(rest),
            "aws": _AWS.fullmatch(rest) and not could_hold_key(_RANDOM_END.sub("", rest)),
            "directory": rest and "\0" not in rest,
            "json": source == _STDIN and _STDIN not in [each.name for each in managers],
        }.get(kind)
        if not is_valid:
            which = f" (number {number})" if number > 1 else ""
            fail(f"--from{which}: invalid source; use vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH or json:- once")
        managers.append(_manager(kind, rest, policies))
    return managers


def _manager(kind: str, rest: str, policies: Sequence[SecretPolicy]) -> Manager:
    name = f"{kind}:PATH" if could_hold_key(rest) else ascii_text(f"{kind}:{rest}")
    module = {"json": "json_object"}.get(kind, kind)
    imported: Any = contain(lambda: import_module(f"robodj_secretguard.managers.{module}"))
    if isinstance(imported, KeyboardInterrupt):
        raise imported
    if isinstance(imported, BaseException):
        extra = f"run pip install '{PROGRAM}[{kind}]'" if kind in _EXTRAS else "reinstall this program"
        fail(f"--from {kind}: needs the package {_EXTRAS.get(kind, kind)}, which cannot be imported; {extra}")
    make: Callable[[], Manager] = {
        "vault": lambda: imported.Vault(name, *rest.split("/", 1)),
        "aws": lambda: imported.AwsSecret(name, rest),
        "directory": lambda: imported.Directory(name, rest, policies),
        "json": lambda: imported.JsonObject(name),
    }[kind]
    return make()


def _say(what: str) -> None:
    write_line(sys.stderr, f"{PROGRAM}: {what}")


def _failed(policies: Sequence[SecretPolicy], manager: Manager, failure: Failure, *, require_env_only: bool) -> Report:
    """Return a report with one alert: a source failed, and nothing was checked."""
    check = Check.UNAVAILABLE if failure.is_temporary else Check.SOURCE
    problem = Problem(f"{manager.name} {failure.what}", failure.fix, manager.name)
    return Report(datetime.now(UTC), require_env_only, None, (), (finding(policies, check, problem),))


def _conflicts(managers: Sequence[Manager], policies: Iterable[SecretPolicy]) -> Iterator[Finding]:
    """Yield a finding for each secret of a manager whose variables have other values in the environment."""
    environment = Environment()
    for policy in policies:
        if not (manager := first_with(managers, policy)):
            continue
        values = [(name, environment.get(name)) for name in policy.variables]
        if names := [name for name, value in values if value and value != manager.get(name)]:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            what = f"{names[0]}{more} in the environment differ{'' if more else 's'} from {manager.name}"
            fix = f"unset {', '.join(names)} in the environment"
            if len(names) > _MOST_NAMES:
                fix = f"unset {policy.variable} and each variable that begins with it in the environment"
            problem = Problem(what, fix, "environment")
            yield finding(policies, Check.SOURCE, problem, policy)
