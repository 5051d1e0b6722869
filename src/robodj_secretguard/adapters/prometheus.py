"""Prometheus: a collector for the registry of `prometheus_client`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.fleet.metrics import DECLARED, FINDINGS, START, Samples, of_findings, of_keys
from robodj_secretguard.secret.sealed import SealedStr, contain, type_name
from robodj_secretguard.startup.guard import check
from robodj_secretguard.startup.readings import Environment, config_directory
from robodj_secretguard.startup.report import Finding, Report, finding
from robodj_secretguard.startup.rules import Check, Problem, internal
from robodj_secretguard.startup.settings import SecretSettings, running_report, setup_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class SecretCollector(Collector):
    """Export the keys that a process runs with, and what a check finds now.

    Write `registry.register(SecretCollector(secrets))`. The keys are those of the instance, until the process ends.
    Each scrape runs `check()` on the environment and the files as they are then. So an expiry, or a new entry of the
    revocation list, shows without a restart. A running key on that list counts as `revoked`, also where its file has
    another key by now. A later change of the working directory changes nothing. A scrape that fails counts as the
    finding `internal`. The collector keeps no key.

    Args:
        secrets: what `guard()` returned. A registry takes one collector.
        config_dir: what `guard()` got as `config_dir`.
        require_env_only: what `guard()` got as `require_env_only`.

    Raises:
        TypeError: `secrets` is not an instance of a settings model, or `config_dir` is not a path.
    """

    def __init__(
        self,
        secrets: SecretSettings,
        *,
        config_dir: str | os.PathLike[str] | None = None,
        require_env_only: bool = False,
    ) -> None:
        model = type(secrets)
        try:
            self._start, self._config_dir = contain(partial(_report_and_directory, secrets, config_dir))
        except CheckFailedError:
            raise TypeError(
                "pass what guard() returned, and the config_dir that it got: SecretCollector(secrets)"
            ) from None
        finally:
            del secrets, config_dir  # a traceback with locals would show them: a path may be a key, too
        self._model = model
        self._require_env_only = require_env_only
        self._constant = of_keys(self._start.secrets) | {START: {(): self._start.checked_at.timestamp()}}

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield every family without a value. So a registration runs no check."""
        for name in (*self._constant, FINDINGS):
            yield _gauges(name, {})

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Run the checks, and yield every family."""
        try:
            found = contain(lambda: [*self._found()])
        except CheckFailedError as failure:
            found = [finding(self._model.secret_policies.values(), Check.INTERNAL, internal(type_name(failure)))]
        for name, samples in (self._constant | of_findings(self._start.secrets, found)).items():
            yield _gauges(name, samples)

    def _found(self) -> Iterator[Finding]:
        """Yield what a check finds now, and `revoked` for a running key that the check did not read any more."""
        directory = None if self._config_dir is None else self._config_dir.get_secret_value()
        report = check(self._model, config_dir=directory, require_env_only=self._require_env_only)
        yield from report.findings
        reported = {each.secret for each in report.findings if each.check is Check.REVOKED}
        policies = {each.name: each for each in self._model.secret_policies.values()}
        for name in _revoked_since_start(self._start, report):
            if name not in reported:
                yield finding((), Check.REVOKED, Problem("a running key is revoked", "restart"), policies[name])


def _report_and_directory(
    secrets: SecretSettings, config_dir: str | os.PathLike[str] | None
) -> tuple[Report, SealedStr | None]:
    """Return the report on the keys that run, and the config directory: absolute, as the working directory may change.

    `None` for that of the model, and where there is no directory.
    """
    report = running_report(secrets)
    directory, named_by = config_directory(Environment(), config_dir, setup_of(type(secrets)))
    is_used = named_by != "model" and (named_by is not None or os.path.isdir(directory))
    return report, SealedStr(os.path.abspath(directory)) if is_used else None


def _revoked_since_start(start: Report, now: Report) -> list[str]:
    """Return the secrets of which a key that is accepted is on the revocation list as it is now."""
    listed = now.revocation_list
    return [
        each.secret
        for each in start.secrets
        if listed is not None
        and any(
            (begin := listed.begin(key)) is not None and begin <= now.checked_at
            for key, until in (
                (each.fingerprint, None),
                (each.next_fingerprint, None),
                (each.previous_fingerprint, each.previous_until),
            )
            if key and (until is None or now.checked_at < until)
        )
    ]


def _gauges(name: str, samples: Samples) -> GaugeMetricFamily:
    labels, text = DECLARED[name]
    made = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples.items():
        made.add_metric(values, value)
    return made
