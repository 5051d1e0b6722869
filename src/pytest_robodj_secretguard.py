"""pytest's plugin of `robodj_secretguard`: keys for tests, and bad ones for testing that a service refuses them.

It stands beside the package, so that a run that does not use it does not import that.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Final, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from robodj_secretguard import SecretSettings

EPHEMERAL_OPTION: Final = "robodj_ephemeral_secrets"
MODEL_OPTION: Final = "robodj_secrets_model"

_sessions = 0


class BadSecret(Protocol):
    """What `bad_robodj_secret` is."""

    def __call__(self, check: str, secret: str | None = None) -> None:
        """Make one secret bad until the test ends, and all others good.

        Args:
            check: the check that finds it, such as `expired`.
            secret: the secret's name; `None` for the first that is declared.

        Raises:
            ValueError: there is no such check or secret.
        """


def is_running() -> bool:
    """Whether pytest runs in this process, so that a refusal is a `SystemExit` in threads and event loops too."""
    return _sessions > 0


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare what a project's configuration may say."""
    ephemeral = "give the whole run throw-away keys, before anything of the project is imported"
    parser.addini(EPHEMERAL_OPTION, ephemeral, type="bool", default=False)
    model = "the settings model whose secrets these are, as package.module:Class"
    parser.addini(MODEL_OPTION, model, default="robodj_secretguard:RuntimeSecrets")
    pluginmanager.register(_Refusals(), "robodj_secretguard_refusals")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Make the keys of the run before a conftest.py imports the service."""
    cleanup = contextlib.ExitStack()
    early_config.add_cleanup(cleanup.close)
    cleanup.enter_context(_session())
    if early_config.getini(EPHEMERAL_OPTION):
        from robodj_secretguard import check

        model = _model(early_config)
        _set_ephemeral(cleanup.enter_context(pytest.MonkeyPatch.context()), model)
        alerts = check(model).alerts
        if alerts:
            from robodj_secretguard.render import finding_line

            msg = f"{EPHEMERAL_OPTION}: the keys are refused: {' '.join(map(finding_line, alerts))}"
            raise pytest.UsageError(msg)


class _Refusals:
    """Where an import of the project's is refused, says so in one line: that import failed, not pytest."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(self) -> Generator[None]:
        try:
            return (yield)
        except SystemExit as refusal:
            why = _why(refusal)
        raise pytest.UsageError(why)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        try:
            return (yield)
        except SystemExit as refusal:
            why = _why(refusal)
        return pytest.CollectReport(collector.nodeid, "failed", why, [])


def _why(refusal: SystemExit) -> str:
    """Say what was refused, and what to do; raise what is no refusal of ours."""
    notes = [note for note in getattr(refusal, "__notes__", ()) if note.startswith("refused: ")]
    if not notes:
        raise refusal
    return f"guard() {notes[0]}. For throw-away keys in tests, set {EPHEMERAL_OPTION} = true in pytest's configuration."


@pytest.fixture
def robodj_secrets(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> SecretSettings:
    """Give a test throw-away keys of its own: in the environment, and as the validated settings."""
    model = _model(pytestconfig)
    _set_ephemeral(monkeypatch, model)
    return model()


@pytest.fixture
def bad_robodj_secret(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BadSecret:
    """Give a test a function that makes one secret bad, as a check finds it, and all others good."""
    from robodj_secretguard.testing import KINDS, bad_secret

    policies = {policy.name: policy for policy in _model(pytestconfig).secret_policies.values()}
    numbers = itertools.count()

    def make(check: str, secret: str | None = None) -> None:
        if check not in KINDS or secret not in {None, *policies}:
            msg = f"the checks are {', '.join(KINDS)}; the secrets are {', '.join(policies)}"
            raise ValueError(msg)
        config = tmp_path / f"robodj_config_{next(numbers)}"
        config.mkdir(mode=0o700)
        policy = policies[secret or next(iter(policies))]
        _set(monkeypatch, bad_secret(check, policy, tuple(policies.values()), str(config)))

    return make


@contextlib.contextmanager
def _session() -> Generator[None]:
    global _sessions  # noqa: PLW0603 - it is the process's: one run of pytest may hold another
    _sessions += 1
    try:
        yield
    finally:
        _sessions -= 1


def _set(patch: pytest.MonkeyPatch, variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            patch.delenv(name, raising=False)
        else:
            patch.setenv(name, value)


def _set_ephemeral(patch: pytest.MonkeyPatch, model: type[SecretSettings]) -> None:
    from robodj_secretguard.generate import ephemeral

    _set(patch, ephemeral(model.secret_policies.values()))


def _model(config: pytest.Config) -> type[SecretSettings]:
    from robodj_secretguard.loading import ModelError, load_model

    try:
        return load_model(config.getini(MODEL_OPTION))
    except ModelError as error:
        msg = f"{MODEL_OPTION}: {error}"
    raise pytest.UsageError(msg)
