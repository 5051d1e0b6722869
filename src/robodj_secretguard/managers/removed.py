"""A key that a rotation removed, from the earlier versions of a store: for one job that encrypts stored data again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.managers.manager import ATTEMPT_SECONDS, Sources, Store, Stored, open_sources, unread_report
from robodj_secretguard.secret.material import FORM, fingerprint, is_fingerprint
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.settings import SecretSettings
from robodj_secretguard.startup.directory import Policies, first_with, source_finding
from robodj_secretguard.startup.inputs import SECRETS_DIR
from robodj_secretguard.startup.report import Report, finding, with_findings
from robodj_secretguard.startup.rules import Check, Problem, Severity

OVER: Final = "1970-01-01T00:00:00Z"
"""The deadline of the removed key: it is accepted from nobody, and decrypts stored data alone."""
_INTENDED: Final = {Check.PREVIOUS_PAST, Check.REVOKED}
"""What the checks find in a removed key."""


class JobSources(Sources):
    """What the sources have delivered, with a removed key as the previous key of its secret.

    Args:
        sources: what they have delivered.
        policy: the secret.
        key: the removed key.

    Raises:
        UsageError: a source still delivers the key as the current or the next key.
    """

    def __init__(self, sources: Sources, policy: SecretPolicy, key: SealedStr) -> None:
        super().__init__(sources.deliveries, sources.failed, sources.logins)
        self._policy = policy
        self._lost = ""  # the fingerprint of the previous key that the removed one replaces
        delivery = first_with(sources.deliveries, policy)
        if delivery is None:
            return  # the check reports the absent secret
        wanted = _fingerprint_of(key)
        next_variable, previous, until = policy.slot_variables
        for variable in (policy.variable, next_variable):
            if _fingerprint_of(delivery.get(variable)) == wanted:
                raise UsageError(f"--previous: {delivery.name} still has this key as {variable}; leave out --previous")
        present = _fingerprint_of(delivery.get(previous))
        if present != wanted:
            self._lost = present
        values = {**delivery.values, previous: key, until: SealedStr(OVER)}
        changed = delivery._replace(values=values, found=delivery.found | {previous, until})
        self.deliveries = [changed if each is delivery else each for each in sources.deliveries]

    def check(
        self, model: type[SecretSettings], *, config_dir: str | None = None, require_env_only: bool = False
    ) -> Report:
        """Return the check's report, without the warnings that the removed key is past its deadline or revoked."""
        report = super().check(model, config_dir=config_dir, require_env_only=require_env_only)
        findings = [
            each
            for each in report.findings
            if each.secret != self._policy.name or each.slot != "previous" or each.check not in _INTENDED
        ]
        report = report._replace(findings=tuple(findings))
        if not self._lost:
            return report
        problem = Problem(
            f"the command does not get the previous key of {self._policy.name}, {self._lost}",
            "run the command again without --previous, for the data of that key",
            severity=Severity.WARNING,
        )
        policies = tuple(model.secret_policies.values())
        return with_findings(report, [finding(policies, Check.SOURCE, problem, self._policy)])

    def variables(self, model: type[SecretSettings]) -> dict[str, str]:
        """Return the variables for the command, which reads no secrets directory."""
        return super().variables(model) | {SECRETS_DIR: os.devnull}


def with_removed_key(sources: Sources, names: Sequence[str], model: type[SecretSettings], wanted: str) -> Sources:
    """Return what sources have delivered, with a removed key as the previous key of its secret.

    Args:
        sources: what they have delivered.
        names: their forms, such as `vault:secret/robodj`.
        model: the settings model that declares the secrets.
        wanted: the fingerprint of the key.

    Raises:
        UsageError: the fingerprint is invalid, or no store keeps that key, or it was a key of several secrets.
    """
    if not is_fingerprint(wanted):
        raise UsageError(f"--previous: invalid fingerprint; use {FORM}")
    policies = tuple(model.secret_policies.values())
    of_data = [
        each for each in policies if each.overlap and each.material.has_fingerprint and each.stores_data is not False
    ]
    for store in open_sources(names, policies):
        if not isinstance(store, Store):
            continue
        try:
            version = find_version(store, of_data, wanted, ATTEMPT_SECONDS)
        except ManagerError as error:
            return Sources(sources.deliveries, unread_report(source_finding(policies, store.name, error)))
        if version is None:
            continue
        found = contain(partial(_same_keys, version, of_data, wanted))
        if len(found) > 1:
            raise UsageError(
                f"--previous: it was a key of {' and '.join(found)}; declare stores_data=False for those that"
                " encrypt no stored data"
            )
        (policy,) = (each for each in of_data if each.name in found)
        return JobSources(sources, policy, found[policy.name])
    raise UsageError(
        "--previous: no version that a source of --from keeps has a key with this fingerprint; compare it with the"
        " data's kid"
    )


def find_version(store: Store, policies: Policies, wanted: str, seconds: float) -> Stored | None:
    """Return the newest version of a store that has a key in a slot of one of its secrets, if there is one.

    Args:
        store: the store.
        policies: the secrets.
        wanted: the fingerprint of the key.
        seconds: the time limit of each answer.

    Raises:
        ManagerError: the versions cannot be read.
    """
    unread = None
    for name in store.within(seconds, store.versions):
        try:
            version = store.within(seconds, partial(store.version, name))
        except ManagerError as error:
            unread = error
            continue
        if contain(partial(_same_keys, version, policies, wanted)):
            return version
    if unread is not None:
        raise unread
    return None


def _same_keys(version: Stored, policies: Policies, wanted: str) -> dict[str, SealedStr]:
    """Return a key by the names of the secrets that have it in a version. It runs inside `contain()`."""
    fields = version.opened()
    found = dict[str, SealedStr]()
    for policy in policies:
        for variable in policy.key_variables:
            value = fields.get(variable)
            if isinstance(value, str) and fingerprint(SealedStr(value)) == wanted:
                found[policy.name] = SealedStr(value)
    return found


def _fingerprint_of(key: SealedStr | None) -> str:
    """Return the fingerprint of a value, which may be no key; empty for none."""
    return contain(lambda: fingerprint(key)) if key else ""
