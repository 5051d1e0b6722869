"""The pytest plugin of `robodj_secretguard`: keys for tests, and bad keys for testing that a service refuses them.

This module is outside of the package. A run of pytest that does not use the plugin does not import the package.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from robodj_secretguard import SecretSettings

EPHEMERAL_TESTS: Final = "ephemeral-tests"
WHERE: Final = "[tool.robodj-secretguard] of pyproject.toml"
DEFAULT_MODEL: Final = "robodj_secretguard:RuntimeSecrets"

_sessions: Final[list[int]] = []
"""The process of each active run of pytest. One run may contain another one."""


class BadSecret(Protocol):
    """The type of the fixture `bad_robodj_secret`."""

    def __call__(self, check: str, secret: str | None = None) -> None:
        """Make one secret bad until the test ends, and all others good.

        Args:
            check: the check that finds it, such as `expired`. Optional secrets are unset, except for this one.
            secret: the name of the secret; `None` for the first declared one. `shared` is reported for the later one of
                two secrets: for this secret, or for the second one where this is the first.

        Raises:
            ValueError: the check or the secret is unknown, or the check cannot find this secret. `shared` needs two
                secrets that accept the same value. `weak`, `revoked` and `legacy` never find a secret that somebody
                else issues. The checks of next and previous keys need a secret with an overlap.
        """


def is_running() -> bool:
    """Check whether pytest runs in this process. Then a refusal is a `SystemExit` in threads and event loops too."""
    return os.getpid() in _sessions  # not in a service that a test forked


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the run. There is no option: the project's configuration is in its pyproject.toml."""
    pluginmanager.register(_Run(), "robodj_secretguard_run")


class _Run:
    """A run of pytest. Make its keys before anything imports the service, as pytest-django does.

    Report a refusal during an import in one line, as an error of the project and not of pytest.
    """

    temporary = ""
    hint = f"For temporary keys in tests, set {EPHEMERAL_TESTS} = true in {WHERE}, at or above the rootdir of pytest."

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> Generator[None]:
        _sessions.append(process := os.getpid())
        early_config.add_cleanup(lambda: _sessions.remove(process))
        self.temporary = _make_ephemeral(early_config)
        if self.temporary:
            self.hint = (
                f"Only {self.temporary}: correct model or {EPHEMERAL_TESTS} in {WHERE}, or set the other variables."
            )
        return (yield from self.pytest_sessionstart())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self) -> Generator[None]:
        try:
            return (yield)
        except SystemExit as refusal:
            why = self._why(refusal)
        raise pytest.UsageError(why)

    def pytest_report_header(self) -> str | None:
        return f"robodj-secretguard: {self.temporary}" if self.temporary else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Let the models of each test have keys of their own."""
        if store := sys.modules.get("robodj_secretguard.running.store"):
            store.forget_stores()

    pytest_collection = pytest_sessionstart  # a refusal is the same error there

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        try:
            return (yield)
        except SystemExit as refusal:
            why = self._why(refusal)
        return pytest.CollectReport(collector.nodeid, "failed", why, [])

    def _why(self, refusal: SystemExit) -> str:
        """Return the refusal and a hint. Raise any other `SystemExit`."""
        refused = next((note for note in getattr(refusal, "__notes__", ()) if note.startswith("refused: ")), None)
        if refused is None:
            raise refusal
        protected = "The environment is protected, where temporary keys are refused."
        return f"guard() {refused}. {protected if 'set-up: ephemeral' in refused else self.hint}"


def _make_ephemeral(config: pytest.Config) -> str:
    """Set temporary keys, if the project wants them, and return which; empty for none."""
    start = _start_of_search(config)
    if not any(map(_may_want_keys, (start, *start.parents))):
        return ""
    project = _project(config)
    if not (chosen := project.get(EPHEMERAL_TESTS)):
        return ""
    from robodj_secretguard import check

    model, patch = _model(config, project), pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    names = _set_ephemeral(patch, model, chosen)
    if alerts := [alert for alert in check(model).alerts if alert.secret in {None, *names}]:
        raise pytest.UsageError(
            "\n".join([f"{EPHEMERAL_TESTS}: the keys are refused", *(alert.text for alert in alerts)])
        )
    return f"{', '.join(names)} of {project.get('model', DEFAULT_MODEL)} got temporary keys"


def _may_want_keys(directory: Path) -> bool:
    """Check whether a directory has a pyproject.toml that may want temporary keys, without importing the package."""
    with suppress(OSError):
        return b"ephemeral" in (directory / "pyproject.toml").read_bytes()
    return False


@pytest.fixture
def robodj_secrets(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> SecretSettings:
    """Set separate temporary keys in the environment of a test, and return them as the validated settings.

    A secret with an overlap also has a next and a previous key. Optional secrets are empty, and off. If
    `ephemeral-tests` is a list, the other secrets are those of the environment.
    """
    project = _project(pytestconfig)
    model = _model(pytestconfig, project)
    _set_ephemeral(monkeypatch, model, project.get(EPHEMERAL_TESTS) or True, with_slots=True)
    return model()


@pytest.fixture
def bad_robodj_secret(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BadSecret:
    """Return a function that makes one secret bad for a check, and all others good."""
    from robodj_secretguard.secret.sealed import contain
    from robodj_secretguard.settings import setup_of
    from robodj_secretguard.startup.inputs import SECRETS_DIR
    from robodj_secretguard.testing import KINDS, OF_GENERATED, SLOT_KINDS, bad_secret, shareable

    model = _model(pytestconfig, _project(pytestconfig))
    policies = {policy.name: policy for policy in model.secret_policies.values()}

    def make_bad(check: str, secret: str | None = None) -> None:
        if check not in KINDS or secret not in {None, *policies}:
            raise ValueError(f"the checks are {', '.join(KINDS)}; the secrets are {', '.join(policies)}")
        policy, every = policies[secret or next(iter(policies))], tuple(policies.values())
        is_alone = check == "shared" and not contain(lambda: shareable(policy, every))
        for is_impossible, why in (
            (is_alone, "needs two secrets that accept the same value"),
            (
                check in OF_GENERATED and not policy.material.has_fingerprint,
                "never finds a secret that somebody else issues",
            ),
            (check in SLOT_KINDS and not policy.overlap, "needs a secret with an overlap"),
        ):
            if is_impossible:
                raise ValueError(f"{check} {why}")
        config = tempfile.mkdtemp(dir=tmp_path)  # only its owner may enter it
        # This also replaces a config_dir that the service passes.
        monkeypatch.setattr("robodj_secretguard.startup.readings.config_directory", lambda *_: (config, "environment"))
        monkeypatch.delenv(SECRETS_DIR, raising=False)
        monkeypatch.setattr(model, "_setup", setup_of(model)._replace(secrets_dir=None))
        # Contained: its frames have the new keys, and a test report may show frames.
        contain(lambda: _set(monkeypatch, bad_secret(check, policy, every, config)))

    return make_bad


def _set(patch: pytest.MonkeyPatch, variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            patch.delenv(name, raising=False)
        else:
            patch.setenv(name, value)


def _set_ephemeral(
    patch: pytest.MonkeyPatch, model: type[SecretSettings], chosen: Any, *, with_slots: bool = False
) -> list[str]:
    """Set temporary keys for every required secret, or for those of a list, and return their names."""
    from robodj_secretguard.cli.options import policy_of
    from robodj_secretguard.common.generator import ephemeral
    from robodj_secretguard.startup.inputs import ANNOUNCED, EPHEMERAL

    policies = [*model.secret_policies.values()]
    with _usage_errors(f"{EPHEMERAL_TESTS} in {WHERE}"):
        if chosen is not True:
            policies = [policy_of(model, str(name))._replace(required=True) for name in chosen]
        _set(patch, dict.fromkeys(variable for policy in policies for variable in policy.variables))
        _set(patch, ephemeral(policies, with_slots=with_slots) | {EPHEMERAL: ANNOUNCED})  # guard() does not warn
    return [policy.name for policy in policies if policy.required]


def _project(config: pytest.Config) -> dict[str, Any]:
    """Return the project's configuration: the nearest one at or above where the search starts."""
    from robodj_secretguard.cli.options import find_project

    with _usage_errors(EPHEMERAL_TESTS):
        return find_project(str(_start_of_search(config)), must_trust=False)


def _start_of_search(config: pytest.Config) -> Path:
    """Return the working directory if it is below the rootdir of pytest, as in a repository of several services."""
    here = config.invocation_params.dir
    return here if config.rootpath in here.parents else config.rootpath


def _model(config: pytest.Config, project: Mapping[str, Any]) -> type[SecretSettings]:
    from robodj_secretguard.common.loading import load_model

    with _usage_errors(f"model in {WHERE}"), pytest.MonkeyPatch.context() as patch:  # pytest may set pythonpath later
        patch.setattr(sys, "path", [*map(str, config.getini("pythonpath")), *sys.path])
        return load_model(project.get("model", DEFAULT_MODEL), project.get("directory", ""))


@contextmanager
def _usage_errors(what: str) -> Generator[None]:
    from robodj_secretguard.errors import UsageError

    try:
        yield
    except UsageError as error:
        why = f"{what}: {error}"
        raise pytest.UsageError(why) from None
