"""The pytest plugin: runs of pytest on a guarded service, and the fixtures.

Most runs are in this process, with pytest's `pytester`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import V1, V2, Ran, clean_environment, found, good_keys, process_environment
from detector import leaks
from processes import GUARD, needs_fork, run_copy

from pytest_robodj_secretguard import DEFAULT_MODEL, BadSecret
from robodj_secretguard import RuntimeSecrets, SecretSettings, check, guard
from robodj_secretguard.testing import KINDS

Runner = Callable[..., Ran]

pytest_plugins = ["pytester"]

SERVICE = "from robodj_secretguard import guard\nSECRETS = guard()\n"
TEST = "import service\ndef test_it():\n    assert service.SECRETS\n"
PASSES = "def test_it(): pass"
EPHEMERAL = "ephemeral-tests = true"
OWN = "model = 'settings:Own'"
TABLE = "[tool.robodj-secretguard] of pyproject.toml"
HINT = f"For temporary keys in tests, set {EPHEMERAL} in {TABLE}, at or above the rootdir of pytest."
REFUSED = f"guard() refused: secret.key: missing, secret_v2.key: missing. {HINT}"
SETTINGS = """
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import RuntimeSecrets, SecretPolicy, SecretSettings
DAY = timedelta(1)
POLICY = SecretPolicy(
    name="ephemeral.key", variable="OWN_KEY", owner="A", backup_owner="B", cadence=DAY * 9, warn_before=DAY
)
CONFIG = Path(__file__).parent / "config"
class Own(SecretSettings):
    own_key: Annotated[SecretStr, POLICY]
class Strict(RuntimeSecrets, config_dir=CONFIG, file_fallback=False, require_revocation_list=True):
    pass
"""


def project(directory: Path, files: Mapping[str, str], table: Sequence[str] = (), ini: Sequence[str] = ()) -> None:
    """Write a project: its files, a guarded service, its models, its configuration, and pytest's."""
    texts = {"service.py": SERVICE, "lib/settings.py": SETTINGS, "pytest.ini": "\n".join(["[pytest]", *ini, ""])}
    texts["pyproject.toml"] = "\n".join(["[tool.robodj-secretguard]", *table])
    for name, text in (texts | dict(files)).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")


def pytest_process(cwd: Path, *options: str, forget: Sequence[str] = ()) -> Ran:
    """Run pytest in a fork of this process, which forgets some packages before."""
    script = f"""
import pytest, sys
for name in [*sys.modules]:
    if name.partition(".")[0] in {forget}:
        del sys.modules[name]
raise SystemExit(pytest.main({[*options]}))
"""
    return run_copy(script, {}, cwd, COLUMNS="300")


@pytest.fixture
def pytest_on(pytester: pytest.Pytester) -> Runner:
    """Run pytest in this process, in a new project with these variables. The environment is the same afterwards."""

    def run_on(
        files: Mapping[str, str], *options: str, table: Sequence[str] = (), ini: Sequence[str] = (), **more: str
    ) -> Ran:
        project(pytester.path, files, table, ini)
        given = clean_environment() | {"COLUMNS": "300"} | more
        with process_environment(given):
            done = pytester.runpytest_inprocess("-q", *options)
            assert {**os.environ, "PYTEST_CURRENT_TEST": ""} == {**given, "PYTEST_CURRENT_TEST": ""}
        ran = Ran(int(done.ret), done.stdout.str(), done.stderr.str())
        assert leaks(ran.out + ran.err, [value for name, value in more.items() if name in {V1, V2}]) == []
        return ran

    return run_on


class TestEphemeralRun:
    """`ephemeral-tests`: temporary keys for a run."""

    @pytest.mark.parametrize(
        "options", [(), ("-p", "no:django"), ("--import-mode=importlib", "-o", "pythonpath=.")], ids=" ".join
    )
    def test_a_guarded_service(self, pytest_on: Runner, options: Sequence[str]) -> None:
        """A conftest.py imports a guarded service with temporary keys, whatever keys are in the developer's shell."""
        test = f"import os\n{TEST}    assert os.environ['{V1}'] != os.environ['BEFORE']\n"
        keys = good_keys() | {f"{V1}_NEXT": "not a key"}
        files = {"conftest.py": "import service", "test_it.py": test}
        ran = pytest_on(files, *options, table=[EPHEMERAL], BEFORE=keys[V1], **keys)
        assert (ran.status, "1 passed" in ran.out) == (0, True)

    @pytest.mark.parametrize(("directory", "more"), [("lib", ["pythonpath = lib"]), (".", [])])
    def test_a_separate_model(self, pytest_on: Runner, directory: str, more: Sequence[str]) -> None:
        """The keys are those of the project's model, and the import path stays as pytest made it."""
        test = (
            "import os, sys\n"
            "PATH = sys.path.copy()\n"
            "def test_keys(robodj_secrets):\n"
            "    assert len(os.environ['OWN_KEY']) == 43\n"
            "    assert sys.path == PATH\n"
        )
        ran = pytest_on({"test_it.py": test, f"{directory}/settings.py": SETTINGS}, table=[EPHEMERAL, OWN], ini=more)
        assert (ran.status, "1 passed" in ran.out) == (0, True)

    def test_of_chosen_secrets(self, pytest_on: Runner) -> None:
        """A list gives temporary keys to these secrets alone, and the service judges the others, which are set."""
        test = f"import os\n{TEST}    assert os.environ['{V1}'] != os.environ['BEFORE'] == os.environ['{V2}']\n"
        test += "def test_fixture(robodj_secrets):\n    test_it()\n"
        keys = good_keys()
        table = ["ephemeral-tests = ['secret.key']"]
        ran = pytest_on({"test_it.py": test}, table=table, BEFORE=keys[V2], **{V2: keys[V2]})
        assert (ran.status, "2 passed" in ran.out) == (0, True)
        ran = pytest_on({"test_it.py": test}, table=table)
        hint = f"correct model or ephemeral-tests in {TABLE}, or set the other variables."
        why = f"guard() refused: secret_v2.key: missing. Only secret.key of {DEFAULT_MODEL} got temporary keys:"
        assert (ran.status, f"\n{why} {hint}\n" in ran.out) == (2, True)

    @pytest.mark.parametrize(
        ("table", "why"),
        [
            (
                ["ephemeral-tests = 1"],
                "ephemeral-tests: [tool.robodj-secretguard] in pyproject.toml: ephemeral-tests must be true or false",
            ),
            (["ephemeral-tests = ['secret']"], f"ephemeral-tests in {TABLE}: unknown secret; did you mean secret.key?"),
            ([EPHEMERAL, "model = 'nothing:Here'"], f"model in {TABLE}: the import failed (ModuleNotFoundError)"),
        ],
        ids=["value", "secret", "model"],
    )
    def test_invalid_setting(self, pytest_on: Runner, table: Sequence[str], why: str) -> None:
        """An invalid setting, and a model that cannot be loaded, are usage errors of one line."""
        ran = pytest_on({"test_it.py": PASSES}, table=table)
        assert (ran.status, ran.err.startswith(f"ERROR: {why}"), ran.err.strip().count("\n")) == (4, True, 0)

    @pytest.mark.parametrize(
        ("name", "text"),
        [("pyproject.toml", f"[tool.{name}]\n") for name in ("pytest", "pytest.ini_options")]
        + [("setup.cfg", "[tool:pytest]\n"), ("tests/pytest.ini", "[pytest]\n")],
    )
    def test_any_configuration_of_pytest(self, tmp_path: Path, name: str, text: str) -> None:
        """It works wherever pytest's configuration is. The header names the secrets, and no guard() warns."""
        project(tmp_path, {"tests/test_it.py": "import service\n" + PASSES}, [EPHEMERAL])
        (tmp_path / "pytest.ini").unlink()
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")
        ran = pytest_process(tmp_path, "-s", "tests")
        assert (ran.status, "1 passed" in ran.out, "WARNING" in ran.out + ran.err) == (0, True, False)
        assert f"\nrobodj-secretguard: secret.key, secret_v2.key of {DEFAULT_MODEL} got temporary keys\n" in ran.out

    def test_a_repository_of_services(self, tmp_path: Path) -> None:
        """The nearest table above the working directory is read where that is below the rootdir."""
        project(tmp_path, {"shop/test_it.py": "import service\n" + PASSES})
        (tmp_path / "shop/pyproject.toml").write_text(f"[tool.robodj-secretguard]\n{EPHEMERAL}\n", encoding="utf-8")
        (tmp_path / "shop/service.py").write_text(SERVICE, encoding="utf-8")
        ran = pytest_process(tmp_path / "shop")
        assert (ran.status, f"rootdir: {tmp_path}\n" in ran.out) == (0, True)

    def test_switched_off(self, pytest_on: Runner) -> None:
        """`false` imports no model, and changes nothing."""
        ran = pytest_on({"test_it.py": PASSES}, table=["ephemeral-tests = false", "model = 'nothing:Here'"])
        assert ran.status == 0

    def test_every_alert_of_the_keys(self, pytest_on: Runner) -> None:
        """Refused temporary keys are a usage error with every alert, before anything is imported."""
        ran = pytest_on({"conftest.py": "1 / 0"}, table=[EPHEMERAL], ROBODJ_PROTECTED_ENV="maybe")
        assert (ran.status, ran.err.strip().count("\n")) == (4, 4)
        assert ran.err.startswith("ERROR: ephemeral-tests: the keys are refused\n")
        assert re.findall(r"ALERT: ([a-z-]+): ", ran.err) == ["setting", "ephemeral"]

    def test_with_pytest_django(self, tmp_path: Path) -> None:
        """A Django project's settings, which pytest-django imports first, are guarded like any service."""
        settings = "from robodj_secretguard import guard\nfrom settings import Own\nguard(Own)\nSECRET_KEY = 'a'\n"
        test = "def test_it(settings):\n    assert settings.SECRET_KEY == 'a'\n"
        ini = ["DJANGO_SETTINGS_MODULE = project", "pythonpath = . lib"]
        project(tmp_path, {"project.py": settings, "test_it.py": test}, [EPHEMERAL, OWN], ini)
        ran = pytest_process(tmp_path)
        assert (ran.status, "1 passed" in ran.out) == (0, True)


class TestRefusedImport:
    """A refused import of a guarded module: one line reports it, and what to do."""

    @pytest.mark.parametrize(
        "options", [(), pytest.param(("-n", "1"), marks=pytest.mark.full)], ids=["one process", "xdist"]
    )
    def test_in_collection(self, pytest_on: Runner, options: Sequence[str]) -> None:
        """A refusal is an error of its module, with the ALERT lines and a hint. Other modules pass."""
        imports = "from robodj_secretguard import guard\n"
        files = {
            "test_it.py": TEST,
            "test_another_model.py": f"{imports}from settings import Own\nguard(Own)\n",
            "test_protected.py": f"{imports}guard(require_env_only=True)\n",
        }
        ini = ["pythonpath = . lib"]
        ran = pytest_on(files, "--continue-on-collection-errors", *options, table=[EPHEMERAL], ini=ini)
        another = f"Only secret.key, secret_v2.key of {DEFAULT_MODEL} got temporary keys:"
        assert f"\nguard() refused: ephemeral.key: missing. {another} " in ran.out
        protected = "The environment is protected, where temporary keys are refused."
        assert f"\nguard() refused: set-up: ephemeral. {protected}\n" in ran.out
        assert "\nALERT: ephemeral.key: missing: " in ran.out
        assert "\nERROR test_protected.py - guard() refused: " in ran.out
        assert (ran.status, "1 passed, 2 errors" in ran.out) == (1, True)

    @pytest.mark.parametrize(
        ("name", "text", "options"),
        [
            ("conftest.py", "import service", ()),
            ("conftest.py", "def pytest_sessionstart(session): import service", ()),
            ("conftest.py", "def pytest_collection_modifyitems(items): import service", ()),
            ("package/__init__.py", "import service", ("--pyargs", "package.test_it", "-o", "pythonpath=.")),
        ],
        ids=["conftest", "sessionstart", "modifyitems", "pyargs"],
    )
    def test_elsewhere(self, pytest_on: Runner, name: str, text: str, options: Sequence[str]) -> None:
        """A refusal is a usage error in a conftest.py, in a hook and in a package that is found by its name."""
        ran = pytest_on({name: text, "test_it.py": PASSES, "package/test_it.py": PASSES}, *options)
        assert (ran.status, f"ERROR: {REFUSED}\n" in ran.err, "INTERNALERROR" in ran.out + ran.err) == (4, True, False)
        assert "ALERT: secret.key: missing: " in ran.out

    def test_another_exit(self, pytest_on: Runner, pytester: pytest.Pytester) -> None:
        """Another SystemExit of a module or a conftest.py has the same effect as without the plugin."""
        files = {"test_other.py": PASSES, "test_it.py": "raise SystemExit(7)"}
        with_plugin, without = (pytest_on(files, *more) for more in ((), ("-p", "no:robodj_secretguard")))
        assert (with_plugin.status, "guard() refused" in with_plugin.out + with_plugin.err) == (without.status, False)
        project(pytester.path, {"conftest.py": "raise SystemExit(7)"})
        with pytest.raises(SystemExit, match=r"^7$"):
            pytester.inline_run()

    def test_a_run_that_does_not_use_it(self, tmp_path: Path) -> None:
        """The plugin does not import the package until it is used."""
        names = ("robodj_secretguard", "pydantic", "structlog")
        project(
            tmp_path, {"test_it.py": f"import sys\ndef test_it():\n    assert {{*sys.modules}}.isdisjoint({names})\n"}
        )
        assert pytest_process(tmp_path, forget=names).status == 0


class TestRefusalInATest:
    """Under the plugin, a refusal is always a SystemExit, which a test can expect."""

    def test_in_a_thread(self, bad_robodj_secret: BadSecret) -> None:
        """A refusal in a thread does not end the run."""
        bad_robodj_secret("missing")
        with ThreadPoolExecutor() as pool, pytest.raises(SystemExit, match=r"^3\n"):
            pool.submit(guard).result()

    @needs_fork
    def test_in_a_forked_process(self, tmp_path: Path) -> None:
        """A process that a test forked is a service, and ends at once where a refusal could be swallowed."""
        thread = f"import threading\n{GUARD}thread = threading.Thread(target=guard)\nthread.start()\nthread.join()\n"
        assert run_copy(thread, {}, tmp_path).status == 3


class TestSecretsFixture:
    """`robodj_secrets`: keys for one test."""

    @pytest.mark.parametrize("seen", [set()] * 2, ids=["first", "second"])
    def test_fresh_keys(self, robodj_secrets: SecretSettings, seen: set[str | None]) -> None:
        """Each test has different keys, in the environment and as the model."""
        assert isinstance(robodj_secrets, RuntimeSecrets)
        assert robodj_secrets == guard()
        fingerprint = check().secrets[0].fingerprint
        assert fingerprint not in {None, *seen}
        seen.add(fingerprint)

    def test_each_slot(self, robodj_secrets: SecretSettings) -> None:
        """A secret with an overlap has a key in each slot, and nothing but `ephemeral` is found."""
        assert isinstance(robodj_secrets, RuntimeSecrets)
        assert [key.role for key in robodj_secrets.secret_key.accepted()] == ["current", "next", "previous"]
        assert found(check()) == [("ephemeral", None)]

    def test_they_are_gone_afterwards(self) -> None:
        """After the test, the keys are removed."""
        assert os.environ.keys().isdisjoint({V1, V2, "ROBODJ_SECRETS_EPHEMERAL"})


class TestBadSecretFixture:
    """`bad_robodj_secret`: the bad secrets of test_testing.py, in a place that the service reads."""

    def test_the_first_secret(self, bad_robodj_secret: BadSecret, monkeypatch: pytest.MonkeyPatch) -> None:
        """The default is the first secret. Only the last call counts, and the developer's revocation list does not."""
        monkeypatch.setenv("ROBODJ_REVOKED_FINGERPRINTS", "wrong")
        for kind in (*KINDS, "expired"):
            bad_robodj_secret(kind)
        assert found(check()) == [("expired", "secret.key")]
        bad_robodj_secret("format")
        with pytest.raises(SystemExit, match=r"^3\nrefused: secret\.key: format$"):
            guard()

    def test_a_strict_model(self, pytest_on: Runner) -> None:
        """Each check refuses the named secret of a model that has no files and requires a list."""
        test = """
import pytest
from robodj_secretguard import check
from robodj_secretguard.testing import KINDS
from settings import Strict

@pytest.mark.parametrize("kind", KINDS)
def test_it(bad_robodj_secret, kind):
    bad_robodj_secret(kind, "secret_v2.key")
    found = [(str(each.check), each.secret) for each in check(Strict).findings]
    assert (kind, "secret_v2.key") in found or (kind, None) in found
    assert {name for name, _ in found} <= {"file-fallback", kind}
"""
        files = {"test_it.py": test, "lib/config/revoked.fingerprints": "# none\n"}
        ran = pytest_on(files, table=["model = 'settings:Strict'"], ini=["pythonpath = lib"])
        assert f"{len(KINDS)} passed" in ran.out, ran.out

    def test_a_check_that_cannot_find_the_secret(self, pytest_on: Runner) -> None:
        """A check that cannot find a secret of this kind, without an overlap or alone, is an error that says why."""
        test = """
import pytest
from robodj_secretguard.testing import OF_GENERATED, SLOT_KINDS

@pytest.mark.parametrize(
    ("kind", "why"),
    [*((kind, "never finds a secret that somebody else issues") for kind in OF_GENERATED),
     *((kind, "needs a secret with an overlap") for kind in SLOT_KINDS if kind not in OF_GENERATED),
     ("shared", "needs two secrets that accept the same value")],
)
def test_it(bad_robodj_secret, kind, why):
    with pytest.raises(ValueError, match=f"^{kind} {why}$"):
        bad_robodj_secret(kind)
"""
        ran = pytest_on({"test_it.py": test}, table=["model = 'test_vendor:Issued'"])
        assert "7 passed" in ran.out, ran.out

    def test_an_optional_secret(self, pytest_on: Runner) -> None:
        """An optional secret is unset in tests, except for the one that a test makes bad."""
        test = """
import os, pytest
from robodj_secretguard import check
from test_optional import DATA, DSN, Service

def test_keys(robodj_secrets):
    assert (robodj_secrets.data, robodj_secrets.token) == (None, None)

@pytest.mark.parametrize("kind", ["missing", "format", "expired"])
def test_it(bad_robodj_secret, kind):
    bad_robodj_secret(kind, "data.key")
    assert [(str(each.check), each.secret) for each in check(Service).findings] == [(kind, "data.key")]
    assert (os.environ[DATA] == "", DSN in os.environ) == (kind == "missing", False)
"""
        ran = pytest_on({"test_it.py": test}, table=["model = 'test_optional:Service'"])
        assert "4 passed" in ran.out, ran.out

    def test_keys_that_cannot_be_put(self, pytest_on: Runner) -> None:
        """A test whose bad secret cannot be made has a report without the generated keys."""
        test = (
            "import os\ndef test_it(bad_robodj_secret, monkeypatch):\n"
            "    monkeypatch.setattr(os, 'chmod', None)\n    bad_robodj_secret('file-stale')\n"
        )
        ran = pytest_on({"test_it.py": test}, "--showlocals")
        assert (ran.status, "CheckFailedError: the check itself failed: TypeError" in ran.out) == (1, True)
        words = re.findall(r"[A-Za-z0-9_-]{43,}", ran.out)
        assert [word for word in words if len(set(word)) >= 10 and not word.replace("_", "").isalpha()] == []

    @pytest.mark.parametrize(("kind", "secret"), [("clock", None), ("expird", None), ("expired", "other.key")])
    def test_unknown_names(self, bad_robodj_secret: BadSecret, kind: str, secret: str | None) -> None:
        """An unknown kind or secret is an error that lists the known ones."""
        with pytest.raises(
            ValueError, match=r"the checks are missing, .*; the secrets are secret\.key, secret_v2\.key"
        ):
            bad_robodj_secret(kind, secret)

    def test_where_the_service_passes_a_directory(self, bad_robodj_secret: BadSecret, tmp_path: Path) -> None:
        """The test's directory replaces the config_dir of the service's model."""
        bad_robodj_secret("file-present", "secret_v2.key")
        with pytest.raises(SystemExit, match=r"refused: secret_v2\.key: file-present$"):
            guard(config_dir=tmp_path)
