"""pytest's plugin: runs of pytest on a guarded service, and the fixtures."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT, V1, V2, Ran, clean_environment, good_keys, run

from pytest_robodj_secretguard import DEFAULT_MODEL
from robodj_secretguard import RuntimeSecrets, check, guard
from robodj_secretguard.testing import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_robodj_secretguard import BadSecret
    from robodj_secretguard import SecretSettings

SERVICE = "from robodj_secretguard import guard\nSECRETS = guard()\n"
TEST = "import service\ndef test_it():\n    assert service.SECRETS\n"
EPHEMERAL = "robodj_ephemeral_secrets = true"
HINT = "For temporary keys in tests, set robodj_ephemeral_secrets = true in pytest's configuration."
REFUSED = f"guard() refused: secret.key: missing, secret_v2.key: missing. {HINT}"


def pytest_on(
    cwd: Path,
    files: Mapping[str, str],
    *options: str,
    ini: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Ran:
    """Run pytest in a project of these files, without a key but in `environ`."""
    for name, text in ({"service.py": SERVICE} | dict(files)).items():
        (cwd / name).write_text(text, encoding="utf-8")
    (cwd / "pytest.ini").write_text("\n".join(["[pytest]", *ini, ""]), encoding="utf-8")
    env = clean_environment() | dict(environ or {}) | {"COLUMNS": "300"}
    return run(["-m", "pytest", "-q", *options], env=env, cwd=cwd, keys=list((environ or {}).values()))


class TestEphemeralRun:
    """The ini option: temporary keys for a run."""

    @pytest.mark.parametrize("files", [{"test_it.py": TEST}, {"conftest.py": "import service", "test_it.py": TEST}])
    @pytest.mark.parametrize(
        "options", [(), ("-p", "no:django"), ("-n", "2"), ("--import-mode=importlib", "-o", "pythonpath=.")]
    )
    def test_a_guarded_service(self, tmp_path: Path, files: Mapping[str, str], options: Sequence[str]) -> None:
        """Tests, and a conftest.py, import a guarded service without a key being set."""
        ran = pytest_on(tmp_path, files, *options, ini=[EPHEMERAL])
        assert (ran.status, "1 passed" in ran.out) == (0, True)

    def test_what_is_set_is_put_aside(self, tmp_path: Path) -> None:
        """No test sees a key that a developer's shell has; after the run it is as it was, and no other is left."""
        keys = good_keys()
        test = f"import os\ndef test_it():\n    assert os.environ['{V1}'] != os.environ['BEFORE']\n"
        script = (
            "import os, pytest\n"
            "def secrets(): return {name: os.environ[name] for name in os.environ if name.startswith('ROBODJ_')}\n"
            f"before = secrets()\nos.environ['BEFORE'] = os.environ['{V1}']\n"
            "print(pytest.main(['-q']) == 0, secrets() == before)\n"
        )
        pytest_on(tmp_path, {"test_it.py": test, "script.py": script}, ini=[EPHEMERAL], environ=keys)
        ran = run(["script.py"], env=clean_environment() | keys, cwd=tmp_path, keys=list(keys.values()))
        assert ran.out.endswith("\nTrue True\n")

    @pytest.mark.parametrize(("place", "more"), [("lib", ["pythonpath = lib"]), (".", [])])
    def test_a_model_of_ones_own(self, tmp_path: Path, place: str, more: Sequence[str]) -> None:
        """The keys are those of the project's own model, wherever pytest is told that it is.

        Looking for it leaves the import path as pytest made it.
        """
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "settings.py").write_text(OWN_MODEL, encoding="utf-8")
        test = (
            "import os, sys\n"
            "PATH = sys.path.copy()\n"
            "def test_it(robodj_secrets):\n"
            "    assert len(os.environ['OWN_KEY']) == 43\n"
            "    assert sys.path == PATH\n"
        )
        ini = [EPHEMERAL, "robodj_secrets_model = settings:Own"]
        assert pytest_on(tmp_path, {"test_it.py": test}, ini=[*ini, *more]).status == 0

    def test_no_such_model(self, tmp_path: Path) -> None:
        """A model that is not there is a usage error of one line."""
        ran = pytest_on(tmp_path, {"test_it.py": TEST}, ini=[EPHEMERAL, "robodj_secrets_model = nothing:Here"])
        said = (
            "importing it failed (ModuleNotFoundError);"
            " it is neither installed nor in the working directory, or imports what is neither"
        )
        assert (ran.status, ran.err) == (4, f"ERROR: robodj_secrets_model: {said}\n\n")

    @pytest.mark.parametrize("model", ["", "robodj_secrets_model = settings:Own"])
    def test_with_pytest_django(self, tmp_path: Path, model: str) -> None:
        """A Django project's settings, which pytest-django imports before all else, are guarded like any service."""
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / "settings.py").write_text(OWN_MODEL, encoding="utf-8")
        of_model = (
            "from settings import Own as Model" if model else "from robodj_secretguard import RuntimeSecrets as Model"
        )
        project = f"from robodj_secretguard import guard\n{of_model}\nguard(Model)\nSECRET_KEY = 'of this test'\n"
        test = "def test_it(settings):\n    assert settings.SECRET_KEY == 'of this test'\n"
        ini = [EPHEMERAL, "DJANGO_SETTINGS_MODULE = project", "pythonpath = . lib", model]
        ran = pytest_on(tmp_path, {"project.py": project, "test_it.py": test}, ini=ini)
        assert (ran.status, "1 passed" in ran.out) == (0, True)

    @pytest.mark.parametrize(
        ("service", "hint"),
        [
            (
                "from settings import Own\nfrom robodj_secretguard import guard\nguard(Own)\n",
                f"The temporary keys are those of {DEFAULT_MODEL}: name another in robodj_secrets_model.",
            ),
            (
                "from robodj_secretguard import guard\nguard(require_env_only=True)\n",
                "The environment is protected, where temporary keys are refused.",
            ),
        ],
        ids=["another-model", "environment-only"],
    )
    def test_a_service_that_refuses_them(self, tmp_path: Path, service: str, hint: str) -> None:
        """Where the keys of the run do not help, it says why, whatever the secrets are called."""
        settings = OWN_MODEL.replace("own.key", "ephemeral.key")
        ran = pytest_on(
            tmp_path, {"service.py": service, "settings.py": settings, "test_it.py": "import service"}, ini=[EPHEMERAL]
        )
        (line,) = (line for line in ran.out.splitlines() if line.startswith("guard() refused: "))
        assert line.endswith(f". {hint}")

    def test_environment_only(self, tmp_path: Path) -> None:
        """Where services serve there are no temporary keys: it is said before anything is imported."""
        protected = {"ROBODJ_PROTECTED_ENV": "true"}
        ran = pytest_on(tmp_path, {"test_it.py": TEST}, ini=[EPHEMERAL], environ=protected)
        assert ran.status == 4
        assert ran.err.startswith("ERROR: robodj_ephemeral_secrets: the keys are refused: ALERT: ephemeral: ")
        assert ran.err.count("\n") == 2

    def test_every_alert_is_said(self, tmp_path: Path) -> None:
        """Where several refuse the keys, the line has all of them."""
        unknown = {"ROBODJ_PROTECTED_ENV": "maybe"}
        ran = pytest_on(tmp_path, {"test_it.py": TEST}, ini=[EPHEMERAL], environ=unknown)
        assert (ran.status, re.findall(r"ALERT: ([a-z-]+): ", ran.err)) == (4, ["setting", "ephemeral"])


OWN_MODEL = """
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr
from robodj_secretguard import SecretPolicy, SecretSettings
POLICY = SecretPolicy(
    name="own.key", variable="OWN_KEY", owner="A", backup_owner="B", cadence=timedelta(days=9), warn_before=timedelta(1)
)
class Own(SecretSettings):
    own_key: Annotated[SecretStr, POLICY]
"""


STRICT_MODEL = """
from pathlib import Path
from robodj_secretguard import RuntimeSecrets
CONFIG = Path(__file__).parent / "config"
class Strict(RuntimeSecrets, config_dir=CONFIG, file_fallback=False, require_revocation_list=True):
    pass
"""
STRICT_TEST = """
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


class TestRefusedImport:
    """A guarded import that is refused: one line says so, and what to do."""

    @pytest.mark.parametrize("options", [(), ("-n", "2")])
    def test_in_collection(self, tmp_path: Path, options: Sequence[str]) -> None:
        """It is an error of its module, with the ALERT lines, and the rest is collected."""
        ran = pytest_on(tmp_path, {"test_it.py": TEST, "test_other.py": "def test_other(): pass"}, *options)
        assert "INTERNALERROR" not in ran.out + ran.err
        assert f"\n{REFUSED}\n" in ran.out
        assert "\nALERT: secret.key: missing: " in ran.out
        assert "\nERROR test_it.py - guard() refused: " in ran.out
        assert ran.status in {1, 2}  # xdist's, and pytest's

    def test_in_a_conftest(self, tmp_path: Path) -> None:
        """Where there is nothing to collect yet, it is a usage error."""
        ran = pytest_on(tmp_path, {"conftest.py": "import service", "test_it.py": TEST})
        assert (ran.status, ran.err) == (4, f"ERROR: {REFUSED}\n\n")
        assert ran.out.startswith("ALERT: secret.key: missing: ")

    @pytest.mark.parametrize("hook", ["pytest_sessionstart(session)", "pytest_collection_modifyitems(items)"])
    def test_in_a_hook(self, tmp_path: Path, hook: str) -> None:
        """In a hook of the project's it is one too."""
        files = {"conftest.py": f"def {hook}:\n    import service", "test_it.py": "def test_it(): pass"}
        ran = pytest_on(tmp_path, files)
        assert (ran.status, "INTERNALERROR" in ran.out + ran.err) == (4, False)
        assert f"ERROR: {REFUSED}\n" in ran.err

    def test_in_a_package_that_is_named(self, tmp_path: Path) -> None:
        """Nor is a package that is refused when it is looked for, by its name, pytest's error."""
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "__init__.py").write_text("import service")
        (tmp_path / "package" / "test_it.py").write_text("def test_it(): pass")
        ran = pytest_on(tmp_path, {}, "--pyargs", "package.test_it", ini=["pythonpath = ."])
        assert (ran.status, "INTERNALERROR" in ran.out + ran.err) == (4, False)
        assert f"ERROR: {REFUSED}\n" in ran.err

    @pytest.mark.parametrize("name", ["conftest.py", "test_it.py"])
    def test_another_exit(self, tmp_path: Path, name: str) -> None:
        """A SystemExit of another origin is pytest's business, as without the plugin."""
        files = {"test_other.py": "def test_other(): pass", name: "raise SystemExit(7)"}
        with_plugin, without = (pytest_on(tmp_path, files, *more) for more in ((), ("-p", "no:robodj_secretguard")))
        assert with_plugin.status == without.status
        assert "guard() refused" not in with_plugin.out + with_plugin.err

    def test_a_run_that_does_not_use_it(self, tmp_path: Path) -> None:
        """The plugin imports nothing of the package until it is used."""
        names = "{'robodj_secretguard', 'pydantic', 'structlog'}"
        test = f"import sys\ndef test_it():\n    assert {names}.isdisjoint(sys.modules)\n"
        assert pytest_on(tmp_path, {"test_it.py": test}).status == 0


def serve_in_a_thread() -> None:
    """Call the guard in a thread, and go on."""
    thread = threading.Thread(target=guard)
    thread.start()
    thread.join()


class TestRefusalInATest:
    """Under the plugin a refusal is always a SystemExit, which a test can expect."""

    def test_in_a_thread(self, bad_robodj_secret: BadSecret) -> None:
        """A thread does not end the run."""
        bad_robodj_secret("missing")
        statuses = []

        def serve() -> None:
            with pytest.raises(SystemExit) as refusal:
                guard()
            statuses.append(refusal.value.code)

        thread = threading.Thread(target=serve)
        thread.start()
        thread.join()
        assert statuses == [3]

    def test_in_an_event_loop(self, bad_robodj_secret: BadSecret) -> None:
        """Nor does an event loop."""
        bad_robodj_secret("missing")

        async def serve() -> None:
            guard()

        with pytest.raises(SystemExit, match=r"refused: secret\.key: missing"):
            asyncio.run(serve())

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
    def test_in_a_forked_process(self, bad_robodj_secret: BadSecret) -> None:
        """A process that a test has forked is a service's, and ends at once where a refusal could be swallowed."""
        bad_robodj_secret("missing")
        child = multiprocessing.get_context("fork").Process(target=serve_in_a_thread)
        child.start()
        child.join(TIMEOUT)
        assert child.exitcode == 3

    def test_without_the_plugin(self, tmp_path: Path) -> None:
        """Without it, or in a process that is no run of pytest, the process ends at once."""
        test = (
            "import threading\ndef serve():\n    import service\n"
            "def test_it():\n    thread = threading.Thread(target=serve)\n    thread.start()\n    thread.join()\n"
        )
        assert pytest_on(tmp_path, {"test_it.py": test}, "-p", "no:robodj_secretguard").status == 3
        script = f"import pytest_robodj_secretguard\n{test}test_it()\nprint('served')\n"
        (tmp_path / "script.py").write_text(script, encoding="utf-8")
        ran = run(["script.py"], env=clean_environment(), cwd=tmp_path)
        assert (ran.status, "served" in ran.out) == (3, False)


class TestSecretsFixture:
    """`robodj_secrets`: keys of the test's own."""

    seen: set[str] = set()  # noqa: RUF012 - what the tests of this class have seen

    @pytest.mark.parametrize("_time", range(2))
    def test_fresh_keys(self, robodj_secrets: SecretSettings, _time: int) -> None:
        """Each test has other keys, in the environment and as the model."""
        assert isinstance(robodj_secrets, RuntimeSecrets)
        assert robodj_secrets == guard()
        fingerprint = check().secrets[0].fingerprint
        assert fingerprint is not None
        assert fingerprint not in self.seen
        self.seen.add(fingerprint)

    def test_they_are_gone_afterwards(self) -> None:
        """After the test, nothing is left of them."""
        assert os.environ.keys().isdisjoint({V1, V2, "ROBODJ_SECRETS_EPHEMERAL"})


class TestBadSecretFixture:
    """`bad_robodj_secret`: each kind of bad secret."""

    @pytest.mark.parametrize("secret", ["secret.key", "secret_v2.key"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_kind(self, bad_robodj_secret: BadSecret, kind: str, secret: str) -> None:
        """The named check finds something, about that secret where it is about one, and beside it nothing alerts."""
        if kind == "file-permissions" and os.name != "posix":
            pytest.skip("modes are not judged here")
        bad_robodj_secret(kind, secret)
        findings = {finding.check.value: finding for finding in check().findings}
        assert findings.pop(kind).secret in {secret, None, "secret_v2.key" if kind == "shared" else secret}
        assert set(findings) <= {"file-fallback"}

    def test_the_first_secret(self, bad_robodj_secret: BadSecret) -> None:
        """Without a name it is the first that is declared; made again, it is another."""
        bad_robodj_secret("expired")
        bad_robodj_secret("format")
        with pytest.raises(SystemExit, match=r"^3\nrefused: secret\.key: format$"):
            guard()

    @pytest.mark.parametrize("secret", ["secret.key", "secret_v2.key"])
    def test_a_revoked_one(self, bad_robodj_secret: BadSecret, secret: str) -> None:
        """The key of that secret is on the list, which has no other, and a service refuses it."""
        bad_robodj_secret("revoked", secret)
        report = check()
        assert [(finding.check.value, finding.secret) for finding in report.findings] == [("revoked", secret)]
        assert report.revocation_list is not None
        assert (report.revocation_list.sources, report.revocation_list.entries) == (("environment",), 1)
        with pytest.raises(SystemExit, match=rf"^3\nrefused: {re.escape(secret)}: revoked$"):
            guard()

    def test_what_the_shell_has(self, bad_robodj_secret: BadSecret, monkeypatch: pytest.MonkeyPatch) -> None:
        """A developer's own revocation list is put aside."""
        monkeypatch.setenv("ROBODJ_REVOKED_FINGERPRINTS", "wrong")
        bad_robodj_secret("expired")
        assert [finding.check.value for finding in check().findings] == ["expired"]

    def test_one_after_the_other(self, bad_robodj_secret: BadSecret) -> None:
        """Made bad in one way, and then in another, it is bad in the last alone."""
        for kind in KINDS:
            bad_robodj_secret(kind)
        bad_robodj_secret("expired")
        assert [finding.check.value for finding in check().findings] == ["expired"]

    def test_one_secret(self, tmp_path: Path) -> None:
        """A model with one secret has none that it could share its key with."""
        (tmp_path / "settings.py").write_text(OWN_MODEL, encoding="utf-8")
        test = (
            "import pytest\ndef test_it(bad_robodj_secret):\n"
            "    bad_robodj_secret('missing')\n    with pytest.raises(ValueError, match='two are shared'):\n"
            "        bad_robodj_secret('shared')\n"
        )
        ini = ["robodj_secrets_model = settings:Own", "pythonpath = ."]
        assert pytest_on(tmp_path, {"test_it.py": test}, ini=ini).status == 0

    def test_keys_that_cannot_be_put(self, tmp_path: Path) -> None:
        """Where making it fails, the report shows nothing of the keys that were made."""
        test = (
            "import os\ndef test_it(bad_robodj_secret, monkeypatch):\n"
            "    monkeypatch.setattr(os, 'chmod', None)\n    bad_robodj_secret('file-stale')\n"
        )
        ran = pytest_on(tmp_path, {"test_it.py": test}, "--showlocals")
        assert ran.status == 1
        assert "CheckFailedError: the check itself failed: TypeError" in ran.out
        words = re.findall(r"[A-Za-z0-9_-]{43,}", ran.out)
        assert [word for word in words if len(set(word)) >= 10 and not word.replace("_", "").isalpha()] == []

    @pytest.mark.parametrize(("kind", "secret"), [("clock", None), ("expird", None), ("expired", "other.key")])
    def test_what_there_is_not(self, bad_robodj_secret: BadSecret, kind: str, secret: str | None) -> None:
        """A kind or a secret that there is not is an error that lists those that there are."""
        with pytest.raises(
            ValueError, match=r"the checks are missing, .*; the secrets are secret\.key, secret_v2\.key"
        ):
            bad_robodj_secret(kind, secret)

    def test_where_the_service_passes_a_directory(self, bad_robodj_secret: BadSecret, tmp_path: Path) -> None:
        """A config_dir of the service's own gives way to the test's."""
        bad_robodj_secret("file-present", "secret_v2.key")
        with pytest.raises(SystemExit, match=r"refused: secret_v2\.key: file-present$"):
            guard(config_dir=tmp_path)

    def test_a_strict_model(self, tmp_path: Path) -> None:
        """A model that turns files off and requires a list is refused by each check, of the secret that is named."""
        (tmp_path / "settings.py").write_text(STRICT_MODEL, encoding="utf-8")
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "revoked.fingerprints").write_text("# none\n", encoding="utf-8")
        ini = ["robodj_secrets_model = settings:Strict", "pythonpath = ."]
        ran = pytest_on(tmp_path, {"test_it.py": STRICT_TEST}, ini=ini)
        assert ran.status == 0, ran.out
