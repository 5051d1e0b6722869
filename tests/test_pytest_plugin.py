"""pytest's plugin: runs of pytest on a guarded service, and the fixtures."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2, Ran, clean_environment, good_keys, run

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
HINT = "For throw-away keys in tests, set robodj_ephemeral_secrets = true in pytest's configuration."
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
    """The ini option: throw-away keys for a run."""

    @pytest.mark.parametrize("files", [{"test_it.py": TEST}, {"conftest.py": "import service", "test_it.py": TEST}])
    @pytest.mark.parametrize("options", [(), ("-n", "2"), ("--import-mode=importlib", "-o", "pythonpath=.")])
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

    def test_a_model_of_ones_own(self, tmp_path: Path) -> None:
        """The keys are those of the project's own model, from a directory that pytest is told of."""
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / "settings.py").write_text(OWN_MODEL, encoding="utf-8")
        test = "import os\ndef test_it(robodj_secrets):\n    assert len(os.environ['OWN_KEY']) == 43\n"
        ini = [EPHEMERAL, "robodj_secrets_model = settings:Own", "pythonpath = lib"]
        assert pytest_on(tmp_path, {"test_it.py": test}, ini=ini).status == 0

    def test_no_such_model(self, tmp_path: Path) -> None:
        """A model that is not there is a usage error of one line."""
        ran = pytest_on(tmp_path, {"test_it.py": TEST}, ini=[EPHEMERAL, "robodj_secrets_model = nothing:Here"])
        said = "importing it failed (ModuleNotFoundError); its module must import without calling guard()"
        assert (ran.status, ran.err) == (4, f"ERROR: robodj_secrets_model: {said}\n\n")

    def test_environment_only(self, tmp_path: Path) -> None:
        """Where services serve there are no throw-away keys: it is said before anything is imported."""
        protected = {"ROBODJ_PROTECTED_ENV": "true"}
        ran = pytest_on(tmp_path, {"test_it.py": TEST}, ini=[EPHEMERAL], environ=protected)
        assert ran.status == 4
        assert ran.err.startswith("ERROR: robodj_ephemeral_secrets: the keys are refused: ALERT: ephemeral: ")
        assert ran.err.count("\n") == 2


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

    @pytest.mark.parametrize(("kind", "secret"), [("clock", None), ("expird", None), ("expired", "other.key")])
    def test_what_there_is_not(self, bad_robodj_secret: BadSecret, kind: str, secret: str | None) -> None:
        """A kind or a secret that there is not is an error that lists those that there are."""
        with pytest.raises(
            ValueError, match=r"the checks are missing, .*; the secrets are secret\.key, secret_v2\.key"
        ):
            bad_robodj_secret(kind, secret)
