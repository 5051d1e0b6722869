"""The sources of `--from`: read them, and check what they deliver (policy section 2)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Final, cast

from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.managers.manager import ATTEMPT_SECONDS, FIRST_PAUSE, Manager, Store
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import could_hold_key
from robodj_secretguard.startup.directory import Delivery, conflicts, first_with, names_of, shown_source, source_finding
from robodj_secretguard.startup.guard import examine
from robodj_secretguard.startup.readings import Environment, are_files_off, switches_of
from robodj_secretguard.startup.report import Report, with_findings
from robodj_secretguard.startup.settings import SecretSettings, setup_of
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS

# The class of each kind, the form of its place, and the package of its client.
_SOURCE_KINDS: Final = {
    "vault": ("vault.Vault", r"[\w.-]+/[\w./-]*[\w.-]", "hvac"),
    "aws": ("aws.AwsSecret", r"[\w/+=.@:-]+", "boto3"),
    "directory": ("manager.Directory", r"[^\0]+", ""),
    "json": ("manager.JsonObject", "-", ""),
}


class Sources:
    """What the sources of `--from` have delivered.

    Attributes:
        deliveries: one for each source, in the order of the options.
        failed: the report on the first source that failed, so that nothing is checked.
        logins: the variables of the managers' logins, without those that a declared secret has.
    """

    def __init__(
        self, deliveries: Sequence[Delivery], failed: Report | None = None, logins: Collection[str] = ()
    ) -> None:
        self.deliveries, self.failed, self.logins = deliveries, failed, logins

    def check(
        self, model: type[SecretSettings], *, config_dir: str | None = None, require_env_only: bool = False
    ) -> Report:
        """Return the check's report on what the sources and the environment deliver.

        Args:
            model: the settings model that declares the secrets.
            config_dir: the config directory; `None` for that of the environment or of the model.
            require_env_only: ignore fallback files.

        Returns:
            The report. A source that failed is its only finding.
        """
        if self.failed is not None:
            return self.failed
        report, _ = examine(
            model,
            environment=Environment(),
            config_dir=config_dir,
            require_env_only=require_env_only,
            managers=self.deliveries,
        )
        return with_findings(report, conflicts(self.deliveries, tuple(model.secret_policies.values())))

    def variables(self, model: type[SecretSettings]) -> dict[str, str]:
        """Return the variables for a command. Call it inside `contain()`.

        The revocation lists are joined with that of the environment.
        """
        found = dict[str, str]()
        for policy in model.secret_policies.values():
            if delivery := first_with(self.deliveries, policy):
                read = ((name, delivery.get(name)) for name in policy.variables)
                found |= {name: value.get_secret_value() for name, value in read if value}
        sources: list[Environment | Delivery] = [Environment(), *self.deliveries]
        lists = [value.get_secret_value() for source in sources if (value := source.get(REVOKED_FINGERPRINTS))]
        return found | ({REVOKED_FINGERPRINTS: ",".join(lists)} if lists else {})


def load_sources(
    sources: Sequence[str],
    model: type[SecretSettings],
    *,
    wait: float = 0,
    require_env_only: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Sources:
    """Read every source, up to the first one that fails.

    Args:
        sources: forms of `--from`, such as `vault:secret/robodj`.
        model: the settings model that declares the secrets.
        wait: for how many seconds to try again where one does not answer.
        require_env_only: whether fallback files are ignored, for the report.
        say: writes a line about the first attempt that failed.

    Raises:
        UsageError: a source is invalid, or the package of its client cannot be imported.
    """
    policies = tuple(model.secret_policies.values())
    managers = open_sources(sources, policies)
    deliveries = [Delivery(manager.name, {}, frozenset()) for manager in managers]
    deadline, least = time.monotonic() + wait, FIRST_PAUSE if wait else ATTEMPT_SECONDS
    for number, manager in enumerate(managers):
        try:
            deliveries[number] = manager.load(names_of(policies), deadline, say, least=least)
        except ManagerError as error:
            tried = f" (tried for {wait:g} s)" if error.is_temporary and manager.is_repeatable and wait else ""
            off = require_env_only or are_files_off(switches_of(Environment()), setup_of(model))
            return Sources(
                deliveries,
                Report(datetime.now(UTC), off, None, (), (source_finding(policies, manager.name, error, tried),)),
            )
    logins = {name for manager in managers for name in manager.logins}
    return Sources(deliveries, logins=logins.difference(names_of(policies)))


def open_store(source: str, policies: Sequence[SecretPolicy]) -> Store:
    """Return the secret manager of `--to`, which can be written.

    Raises:
        UsageError: the source is invalid or cannot be written, or the package of its client cannot be imported.
    """
    (manager,) = open_sources([source], policies, "--to", "vault:MOUNT/PATH or aws:SECRET_ID")
    return cast("Store", manager)


def open_sources(
    sources: Sequence[str],
    policies: Sequence[SecretPolicy],
    word: str = "--from",
    forms: str = "vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH or json:- once",
) -> list[Manager]:
    """Return a manager for each source. No message repeats a source that is invalid, as it may be a key."""
    managers: list[Manager] = []
    for number, source in enumerate(sources, start=1):
        kind, _, place = source.partition(":")
        path, form, package = _SOURCE_KINDS.get(kind, ("", "(?!)", ""))
        is_valid = (
            f"{kind}:" in forms
            and re.fullmatch(form, place, re.ASCII)
            and (source != "json:-" or sources.count(source) == 1)
        )
        # A client would send a pasted key to its server. AWS adds six characters to the name of a secret in its ARN.
        if not is_valid or (package and could_hold_key(re.sub(r"-[A-Za-z0-9]{6}\Z", "", place))):
            which = f" (number {number})" if number > 1 else ""
            raise UsageError(f"{word}{which}: invalid source; use {forms}")
        managers.append(_import_class(word, kind, path, package)(shown_source(kind, place), place, policies))
    return managers


def _import_class(word: str, kind: str, path: str, package: str) -> type[Manager]:
    """Return the class of a manager. Its module imports the client, which an extra installs."""
    module, name = path.split(".")
    try:
        found: type[Manager] = getattr(import_module(f"robodj_secretguard.managers.{module}"), name)
    except (Exception, SystemExit):  # noqa: BLE001 - a client may raise anything at its import, or exit
        fix = f"run python -m pip install {package}" if package else "reinstall this program"
        raise UsageError(
            f"{word} {kind}: needs the package {package or module}, which cannot be imported; {fix}"
        ) from None
    return found
