"""Prometheus: a collector for the registry of `prometheus_client`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.fleet.metrics import DECLARED, ENVIRONMENT_LABEL, Samples, of_findings, of_keys
from robodj_secretguard.guarding import check
from robodj_secretguard.running.state import state_of
from robodj_secretguard.running.store import KeyStore
from robodj_secretguard.running.views import report_on
from robodj_secretguard.secret.material import PREFIX
from robodj_secretguard.secret.sealed import SealedStr, contain, type_name
from robodj_secretguard.settings import SecretSettings, setup_of, store_of
from robodj_secretguard.startup.inputs import ENVIRONMENT
from robodj_secretguard.startup.readings import Environment, config_directory, event_setting
from robodj_secretguard.startup.report import Finding, finding
from robodj_secretguard.startup.rules import Check, Problem, internal


class SecretCollector(Collector):
    """Export the keys that a process uses now, and what a check finds now.

    Write `registry.register(SecretCollector(secrets))`. Where the process reads a secrets directory in each period, the
    findings are those of the last read. A scrape reads nothing then.

    Elsewhere, each scrape runs `check()` on the environment and the files as they are then. So an expiry, or a new
    entry of the revocation list, shows without a restart. A running key on that list counts as `revoked`, also where
    its file has another key by now. A later change of the working directory changes nothing. A scrape that fails counts
    as the finding `internal`.

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
        self._model = type(secrets)
        self._require_env_only = require_env_only
        try:
            self._store, self._config_dir = contain(partial(_store_and_directory, secrets, config_dir))
        except CheckFailedError:
            raise TypeError(
                "pass what guard() returned, and the config_dir that it got: SecretCollector(secrets)"
            ) from None
        finally:
            del secrets, config_dir  # a traceback with locals would show them: a path may be a key, too
        self._environment = event_setting(Environment(), ENVIRONMENT)
        self._started = report_on(self._store.keys).checked_at.timestamp()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return every family without a value. So a registration runs no check."""
        return (
            _gauges(name, {}, "")
            for name in (
                "robodj_secret_info",
                "robodj_secret_expiry_timestamp_seconds",
                "robodj_secret_previous_until_timestamp_seconds",
                "robodj_secret_start_timestamp_seconds",
                "robodj_secret_processes",
                "robodj_secret_refresh_timestamp_seconds",
                "robodj_secret_state_timestamp_seconds",
                "robodj_secret_refused_logins",
                "robodj_secret_findings",
            )
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every family, after a check where no thread reads the keys again."""
        keys = self._store.keys
        refresh = self._store.reader
        # A fork has another process id, and another start another time. So no two processes have one identity.
        identity = f"{os.getpid()}-{self._started * 1e6:.0f}"
        families = of_keys(report_on(keys).secrets, "robodj_secret_info", identity) | {
            "robodj_secret_start_timestamp_seconds": {(): self._started},
            "robodj_secret_processes": {(identity,): float(count_processes())},
            "robodj_secret_refused_logins": {each: float(count) for each, count in self._store.refused_logins.items()},
        }
        state = state_of(self._store)
        families["robodj_secret_state_timestamp_seconds"] = {(state.name,): state.since.timestamp()}
        if refresh is not None and self._store.late_at < math.inf:  # a thread reads the keys in each period
            found = refresh.findings
            families["robodj_secret_refresh_timestamp_seconds"] = {(): refresh.read_at.timestamp()}
        else:
            try:
                found = contain(lambda: tuple(self._found()))
            except CheckFailedError as failure:
                failed = internal(type_name(failure))
                found = (finding(self._model.secret_policies.values(), Check.INTERNAL, failed),)
        for name, samples in (families | of_findings(report_on(keys).secrets, found)).items():
            yield _gauges(name, samples, self._environment)

    def _found(self) -> Iterator[Finding]:
        """Yield what a check finds now, and `revoked` for a running key that the check did not read any more."""
        report = check(
            self._model,
            config_dir=self._config_dir.get_secret_value() if self._config_dir else None,
            require_env_only=self._require_env_only,
        )
        yield from report.findings
        listed = report.revocation_list
        reported = {each.secret for each in report.alerts if each.check is Check.REVOKED}
        for policy in self._model.secret_policies.values():
            accepted = self._store.secrets[policy.name].accepted()
            begins = [listed.begin(f"{PREFIX}{key.kid}") for key in accepted] if listed else []
            if policy.name not in reported and any(begin and begin <= report.checked_at for begin in begins):
                yield finding((), Check.REVOKED, Problem("a running key is revoked", "restart"), policy)


def _store_and_directory(
    secrets: SecretSettings, config_dir: str | os.PathLike[str] | None
) -> tuple[KeyStore, SealedStr | None]:
    """Return the keys that run, and the config directory: absolute, as the working directory may change.

    `None` for that of the model, and where there is no directory.
    """
    directory, named_by = config_directory(Environment(), config_dir, setup_of(type(secrets)))
    is_used = named_by != "model" and (named_by is not None or os.path.isdir(directory))
    return store_of(secrets), SealedStr(os.path.abspath(directory)) if is_used else None


def count_processes() -> int:
    """Return how many processes may answer a scrape in place of this one, with this one; 0 where that is unknown.

    They are the workers of a server: its children that have the same command line, except for numbers. The server is a
    fork of the same program, or it has spawned the workers with `multiprocessing`.
    """
    parent = os.getppid()
    own = _command_line("self")
    server = _command_line(parent)
    if not own or (not server and parent > 1):  # init may be invisible, and a container may have no parent process
        return 0
    # A title such as `gunicorn: master [app]` differs from that of a worker after the colon.
    if not own.endswith(b"--multiprocessing-fork\0") and own.partition(b":")[0] != server.partition(b":")[0]:
        return 1
    return [_command_line(int(each)) for each in _content(f"/proc/{parent}/task/{parent}/children").split()].count(own)


def _command_line(process: int | str) -> bytes:
    """Return the command line of a process without its digits; empty where it is unknown."""
    return re.sub(rb"[0-9]+", b"", _content(f"/proc/{process}/cmdline"))


def _content(path: str) -> bytes:
    """Return the content of a file of Linux; empty where it cannot be read."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read()
    return b""


def _gauges(name: str, samples: Samples, environment: str) -> GaugeMetricFamily:
    labels, text = DECLARED[name]
    made = GaugeMetricFamily(name, text, labels=(*labels, ENVIRONMENT_LABEL))
    for values, value in samples.items():
        made.add_metric((*values, environment), value)
    return made
