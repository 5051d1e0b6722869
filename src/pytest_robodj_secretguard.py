"""pytest's plugin of `robodj_secretguard`: keys for tests, and bad ones for testing that a service refuses them.

It stands beside the package, so that a run that does not use it does not import that.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import TYPE_CHECKING, Final, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from robodj_secretguard import SecretSettings

EPHEMERAL_OPTION: Final = "robodj_ephemeral_secrets"
MODEL_OPTION: Final = "robodj_secrets_model"
DEFAULT_MODEL: Final = "robodj_secretguard:RuntimeSecrets"

_sessions: Final[list[int]] = []
"""The process of each run of pytest that goes on, which may hold another one."""


class BadSecret(Protocol):
    """What `bad_robodj_secret` is."""

    def __call__(self, check: str, secret: str | None = None) -> None:
        """Make one secret bad until the test ends, and all others good.

        Args:
            check: the check that finds it, such as `expired`.
            secret: the secret's name; `None` for the first that is declared. `shared` is reported for this secret, or
                for the second where this is the first: the check reports the later of two.

        Raises:
            ValueError: there is no such check or secret, or `shared` is asked for where there is one secret.
        """


def is_running() -> bool:
    """Whether pytest runs in this process, so that a refusal is a `SystemExit` in threads and event loops too."""
    return os.getpid() in _sessions  # a test may have forked a process that serves


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare what a project's configuration may say."""
    ephemeral = "give the whole run temporary keys, before anything of the project is imported"
    parser.addini(EPHEMERAL_OPTION, ephemeral, type="bool", default=False)
    model = "the settings model whose secrets these are, as package.module:Class"
    parser.addini(MODEL_OPTION, model, default=DEFAULT_MODEL)
    pluginmanager.register(_Run(), "robodj_secretguard_run")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Make the keys of the run before a conftest.py imports the service."""
    if not early_config.pluginmanager.hasplugin("django"):
        _make_ephemeral(early_config)


class _Run:
    """A run of pytest: where an import of the project's is refused, it says so in one line. It failed, not pytest."""

    config: pytest.Config

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> Generator[None]:
        self.config = early_config
        _sessions.append(process := os.getpid())
        early_config.add_cleanup(lambda: _sessions.remove(process))
        if early_config.pluginmanager.hasplugin("django"):  # which imports the settings before all others come
            _make_ephemeral(early_config)
        return (yield from self._usage_error())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self) -> Generator[None]:
        return (yield from self._usage_error())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None]:
        return (yield from self._usage_error())

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        try:
            return (yield)
        except SystemExit as refusal:
            why = self._why(refusal)
        return pytest.CollectReport(collector.nodeid, "failed", why, [])

    def _usage_error(self) -> Generator[None]:
        try:
            return (yield)
        except SystemExit as refusal:
            why = self._why(refusal)
        raise pytest.UsageError(why)

    def _why(self, refusal: SystemExit) -> str:
        """Say what was refused, and what to do; raise what is no refusal of ours."""
        refused = next((note for note in getattr(refusal, "__notes__", ()) if note.startswith("refused: ")), None)
        if refused is None:
            raise refusal
        if not self.config.getini(EPHEMERAL_OPTION):
            hint = f"For temporary keys in tests, set {EPHEMERAL_OPTION} = true in pytest's configuration."
        elif "set-up: ephemeral" in refused:
            hint = "The environment is protected, where temporary keys are refused."
        else:
            hint = (
                f"The temporary keys are those of {self.config.getini(MODEL_OPTION)}: name another in {MODEL_OPTION}."
            )
        return f"guard() {refused}. {hint}"


def _make_ephemeral(config: pytest.Config) -> None:
    if not config.getini(EPHEMERAL_OPTION):
        return
    from robodj_secretguard import check

    model = _model(config)
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    _set_ephemeral(patch, model)
    alerts = check(model).alerts
    if alerts:
        msg = "\n".join([f"{EPHEMERAL_OPTION}: the keys are refused", *(alert.text for alert in alerts)])
        raise pytest.UsageError(msg)


@pytest.fixture
def robodj_secrets(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> SecretSettings:
    """Give a test temporary keys of its own: in the environment, and as the validated settings."""
    model = _model(pytestconfig)
    _set_ephemeral(monkeypatch, model)
    return model()


@pytest.fixture
def bad_robodj_secret(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BadSecret:
    """Give a test a function that makes one secret bad, as a check finds it, and all others good."""
    from robodj_secretguard.models import setup_of
    from robodj_secretguard.sealed import contain
    from robodj_secretguard.testing import KINDS, bad_secret, put_list

    model = _model(pytestconfig)
    policies = {policy.name: policy for policy in model.secret_policies.values()}
    numbers = itertools.count()

    def make(check: str, secret: str | None = None) -> None:
        if check not in KINDS or secret not in {None, *policies} or (check == "shared" and len(policies) == 1):
            msg = f"the checks are {', '.join(KINDS)}; the secrets are {', '.join(policies)}; two are shared"
            raise ValueError(msg)
        config = tmp_path / f"robodj_config_{next(numbers)}"
        config.mkdir(mode=0o700)
        if setup_of(model).require_revocation_list:
            put_list(str(config))
        # Also where the service passes a config_dir of its own.
        monkeypatch.setattr("robodj_secretguard.sources.config_directory", lambda *_: (str(config), "environment"))
        policy = policies[secret or next(iter(policies))]
        # Contained: the keys that are made are in its frames, which a report may show.
        made = contain(lambda: _set(monkeypatch, bad_secret(check, policy, tuple(policies.values()), str(config))))
        if isinstance(made, BaseException):
            raise made

    return make


def _set(patch: pytest.MonkeyPatch, variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            patch.delenv(name, raising=False)
        else:
            patch.setenv(name, value)


def _set_ephemeral(patch: pytest.MonkeyPatch, model: type[SecretSettings]) -> None:
    from robodj_secretguard.generator import ephemeral

    _set(patch, ephemeral(model.secret_policies.values()))


def _model(config: pytest.Config) -> type[SecretSettings]:
    from robodj_secretguard.errors import UsageError
    from robodj_secretguard.loading import load_model

    try:
        with pytest.MonkeyPatch.context() as patch:  # of ours alone: pytest may not have come to it yet
            patch.setattr(sys, "path", [*map(str, config.getini("pythonpath")), *sys.path])
            return load_model(config.getini(MODEL_OPTION))
    except UsageError as error:
        msg = f"{MODEL_OPTION}: {error}"
    raise pytest.UsageError(msg)
