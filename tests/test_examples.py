"""The examples, run for real: the quickstart, and a copy of the RoboDJ-shaped service with its gate and its app."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import TIMEOUT, V1, V2, free_port, good_keys, run
from detector import leaks

from robodj_secretguard.cli.output import PASSED
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parent.parent / "examples"
GATE = Path("config", "check_runtime_secrets.py")
ENV_ONLY = "--require-env-only"
FILES = {V1: "secret.key", V2: "secret_v2.key"}
FILES_ON = {"ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "true"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the service's repository."""
    copy = tmp_path / "service"
    shutil.copytree(EXAMPLES / "robodj_service", copy, ignore=shutil.ignore_patterns("__pycache__", "*.key"))
    (copy / "config").chmod(0o755)
    return copy


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory that is not the repository's root."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    return directory


def copy_templates(repository: Path, keys: Mapping[str, str] | None = None) -> None:
    """Copy each template to its key file, with the placeholder line replaced by a key where there are keys."""
    for variable, name in FILES.items():
        text = (repository / "config" / f"{name}.example").read_text(encoding="utf-8")
        (placeholder,) = (line for line in text.splitlines() if not line.startswith("#"))
        copy = repository / "config" / name
        copy.write_text(text.replace(placeholder, keys[variable]) if keys else text, encoding="utf-8")
        copy.chmod(0o600)


def revoke(repository: Path, key: str) -> None:
    """Put a key on the repository's revocation list."""
    with (repository / "config" / "revoked.fingerprints").open("a", encoding="utf-8") as file:
        file.write(f"{fingerprint(SealedStr(key))}\n")


class TestQuickstart:
    """`examples/quickstart.py`."""

    def test_shows_a_start_a_refusal_and_the_gate(self, clean_env: dict[str, str], elsewhere: Path) -> None:
        """From any working directory it shows a start, a refusal with its ALERT lines and status, and the gate; what it
        shows does not depend on the keys in the environment.
        """
        ran = run([str(EXAMPLES / "quickstart.py")], env=clean_env | {V1: "unused"}, cwd=elsewhere)
        assert (ran.status, ran.err) == (0, "")
        start, refusal, passed, failed = ran.out.strip().split("\n\n")
        assert start.splitlines()[1:] == ["The service is up.", "exit status: 0"]
        alerts = refusal.splitlines()[1:-1]
        assert [" ".join(line.split()[:3]) for line in alerts] == [
            "ALERT: secret.key: placeholder:",
            "ALERT: secret_v2.key: expired:",
        ]
        assert refusal.splitlines()[-1] == "exit status: 3"
        assert passed.splitlines()[-2:] == [PASSED, "exit status: 0"]
        assert failed.splitlines()[1:3] == alerts
        assert failed.splitlines()[-1] == "exit status: 1"

    def test_shows_no_key(self, clean_env: dict[str, str], elsewhere: Path) -> None:
        """It shows no part of the keys that it makes, which here are known."""
        keys = good_keys()
        program = (
            "import os, runpy, secrets, sys\n"
            f"secrets.token_urlsafe = lambda size: os.environ['{V1}']\n"
            f"secrets.token_hex = lambda size: os.environ['{V2}']\n"
            "runpy.run_path(sys.argv[1], run_name='__main__')\n"
        )
        command = ["-c", program, str(EXAMPLES / "quickstart.py")]
        ran = run(command, env=clean_env | keys, cwd=elsewhere, keys=list(keys.values()))
        assert ran.status == 0

    def test_fails_when_what_it_shows_did_not_happen(self, clean_env: dict[str, str], elsewhere: Path) -> None:
        """Its status is 1 when a child ends otherwise than it says: under an autoreloader a refusal is 4."""
        ran = run([str(EXAMPLES / "quickstart.py")], env=clean_env | {"RUN_MAIN": "true"}, cwd=elsewhere)
        assert ran.status == 1
        assert "exit status: 4 (it should have been 3)" in ran.out


class TestGate:
    """`python config/check_runtime_secrets.py --require-env-only`, as the policy writes it."""

    @pytest.fixture(autouse=True)
    def _hostile_modules(self, repository: Path) -> None:
        for name in ("secrets", "logging"):
            text = f"raise SystemExit('config/{name}.py was imported')\n"
            (repository / "config" / f"{name}.py").write_text(text, encoding="utf-8")

    def test_passes_from_the_root(self, clean_env: dict[str, str], repository: Path) -> None:
        """From the root it passes on good keys, although config/ has a secrets.py and a logging.py."""
        keys = good_keys()
        ran = run([str(GATE), ENV_ONLY], env=clean_env | keys, cwd=repository, keys=list(keys.values()))
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines()[-1] == PASSED

    @pytest.mark.parametrize("option", ["-B", "-P", "-I"])
    def test_passes_from_elsewhere(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path, option: str
    ) -> None:
        """It passes from any working directory, whether or not Python puts the script's folder on `sys.path`."""
        ran = run([option, str(repository / GATE), ENV_ONLY], env=clean_env | good_keys(), cwd=elsewhere)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines()[-1] == PASSED

    def test_passes_from_its_own_folder(self, clean_env: dict[str, str], repository: Path) -> None:
        """It passes from its own folder, which is then the working directory too."""
        gate = repository / GATE
        ran = run([gate.name, ENV_ONLY], env=clean_env | good_keys(), cwd=gate.parent)
        assert (ran.status, ran.out.splitlines()[-1]) == (0, PASSED)

    @pytest.mark.parametrize("root", [True, False], ids=["root", "elsewhere"])
    def test_fails(self, clean_env: dict[str, str], repository: Path, elsewhere: Path, *, root: bool) -> None:
        """With a key missing it ends with status 1, the ALERT line, and not the line that operators wait for."""
        keys = good_keys()
        env = clean_env | {V2: keys[V2]}
        cwd = repository if root else elsewhere
        ran = run([str(GATE if root else repository / GATE), ENV_ONLY], env=env, cwd=cwd, keys=[keys[V2]])
        assert (ran.status, ran.err) == (1, "")
        assert [line.split()[:3] for line in ran.alerts] == [["ALERT:", "secret.key:", "missing:"]]
        assert PASSED not in ran.out

    @pytest.mark.parametrize("root", [True, False], ids=["root", "elsewhere"])
    def test_checks_the_services_own_model(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path, *, root: bool
    ) -> None:
        """From any working directory it checks the model of the service, with the service's revocation list."""
        keys = good_keys()
        revoke(repository, keys[V1])
        cwd = repository if root else elsewhere
        ran = run([str(GATE if root else repository / GATE), ENV_ONLY], env=clean_env | keys, cwd=cwd)
        assert (ran.status, [line.split()[:3] for line in ran.alerts]) == (1, [["ALERT:", "secret.key:", "revoked:"]])
        assert "model: app.settings:ServiceSecrets (pyproject.toml)" in ran.out.splitlines()

    def test_requires_the_list(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """Where the revocation list was not delivered, it fails, whatever directory has another list."""
        (elsewhere / "config").mkdir()
        (repository / "config" / "revoked.fingerprints").rename(elsewhere / "config" / "revoked.fingerprints")
        ran = run([str(repository / GATE), ENV_ONLY], env=clean_env | good_keys(), cwd=elsewhere)
        assert (ran.status, [line.split()[1] for line in ran.alerts]) == (1, ["revocation-list:"])

    def test_passes_arguments_on(self, clean_env: dict[str, str], repository: Path) -> None:
        """It takes the arguments of the command line's `check`, and its statuses: a wrong argument is 2."""
        ran = run([str(GATE), "--no-such-option"], env=clean_env | good_keys(), cwd=repository)
        assert (ran.status, ran.out) == (2, "")


class TestTemplates:
    """`config/secret.key.example` and `config/secret_v2.key.example`."""

    def findings(
        self, env: Mapping[str, str], repository: Path, cwd: Path, keys: Mapping[str, str] | None = None
    ) -> tuple[int, list[tuple[str, str, str]]]:
        """Run the gate with files allowed, and return its status and what it found."""
        command = [str(repository / GATE), "--format", "json"]
        ran = run(command, env=FILES_ON | dict(env), cwd=cwd)
        findings = [(each["check"], each["severity"], each["secret"]) for each in json.loads(ran.out)["findings"]]
        assert leaks(ran.out, list((keys or {}).values())) == []
        return ran.status, findings

    def test_templates_alone_are_no_keys(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """A template that was never copied delivers nothing."""
        status, findings = self.findings(clean_env, repository, elsewhere)
        assert (status, [check for check, _, _ in findings]) == (1, ["missing", "missing"])

    def test_untouched_copy_is_a_placeholder(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path
    ) -> None:
        """An untouched copy is the finding `placeholder`."""
        copy_templates(repository)
        status, findings = self.findings(clean_env, repository, elsewhere)
        assert status == 1
        assert [each for each in findings if each[1] == "alert"] == [
            ("placeholder", "alert", "secret.key"),
            ("placeholder", "alert", "secret_v2.key"),
        ]

    def test_filled_copy_works(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """A copy with its placeholder line replaced by a key passes, with a warning that it is break-glass."""
        keys = good_keys()
        copy_templates(repository, keys)
        assert self.findings(clean_env, repository, elsewhere, keys) == (
            0,
            [("file-fallback", "warning", "secret.key"), ("file-fallback", "warning", "secret_v2.key")],
        )

    def test_filled_copy_is_an_alert_by_default(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path
    ) -> None:
        """The model turns fallback files off: without `ROBODJ_ALLOW_FILE_SECRET_FALLBACK=true` none is used."""
        copy_templates(repository, good_keys())
        status, findings = self.findings(clean_env | dict.fromkeys(FILES_ON, ""), repository, elsewhere)
        assert (status, {check for check, _, _ in findings}) == (1, {"missing", "file-present"})

    def test_filled_copy_is_an_alert_in_a_deployment(
        self, clean_env: dict[str, str], repository: Path, elsewhere: Path
    ) -> None:
        """`ROBODJ_PROTECTED_ENV=true` makes a key file an alert, even beside good variables."""
        copy_templates(repository, good_keys())
        env = clean_env | good_keys() | {"ROBODJ_PROTECTED_ENV": "true"}
        status, findings = self.findings(env, repository, elsewhere)
        assert (status, {check for check, _, _ in findings}) == (1, {"file-present"})


class TestOwnTests:
    """The service's own tests."""

    def test_they_pass_without_a_key(self, clean_env: dict[str, str], repository: Path) -> None:
        """`python -m pytest` passes in the repository with the plugin, and no key in the environment or a file."""
        ran = run(["-m", "pytest", "-q", "-W", "error"], env=clean_env, cwd=repository)
        assert (ran.status, ran.out.splitlines()[-1].split(" in ")[0]) == (0, "14 passed")

    def test_they_fail_with_keys_of_a_protected_environment(self, clean_env: dict[str, str], repository: Path) -> None:
        """Where services serve, temporary keys are refused, in one line."""
        ran = run(["-m", "pytest", "-q"], env=clean_env | {"ROBODJ_PROTECTED_ENV": "true"}, cwd=repository)
        assert (ran.status, ran.out) == (4, "")
        assert ran.err.startswith("ERROR: robodj_ephemeral_secrets: the keys are refused: ALERT: ephemeral: ")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed, and only git can say what it ignores")
class TestGitignore:
    """The service's `.gitignore`."""

    LIVE = tuple(
        f"config/{copy.format(name)}"
        for name in FILES.values()
        for copy in (
            "{}",
            "{}~",
            "{}.bak",
            "{}.old",
            "{}.orig",
            "{}.save",
            "{}.txt",
            "{}.tmp.1234",
            "{}.example.swp",
            "{}.example~",
            ".{}.swp",
            ".{}.swo",
            ".{}.un~",
            ".{}.kate-swp",
            ".#{}",
            "#{}#",
            "{} (copy)",
            "{}.0123456789abcdef.new",
        )
    )
    LEFT = ("config/logs/secret_operations.jsonl", "config/.secretguard.lock", "config/revoked.fingerprints.0123.new")
    VERSIONED = (
        ".gitignore",
        "README.md",
        "app/__init__.py",
        "app/main.py",
        "app/settings.py",
        "config/check_runtime_secrets.py",
        "config/revoked.fingerprints",
        "config/secret.key.example",
        "config/secret_v2.key.example",
        "pyproject.toml",
        "pytest.ini",
        "tests/test_app.py",
    )

    def git(self, *arguments: str, env: Mapping[str, str], cwd: Path) -> str:
        """Run git without anybody's configuration."""
        program = shutil.which("git")
        assert program is not None
        own = {name: value for name, value in env.items() if not name.startswith("GIT_")}
        own |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        ran = run([program, *arguments], env=own, cwd=cwd, python=False)
        assert ran.status in {0, 1}, ran.err
        return ran.out

    def test_live_keys_stay_out(self, clean_env: dict[str, str], repository: Path) -> None:
        """Every live key file, its editor and backup copies, and what the commands leave on a machine is ignored, and
        nothing that is versioned.
        """
        self.git("init", "--quiet", env=clean_env, cwd=repository)
        ignored = self.git("check-ignore", *self.LIVE, *self.LEFT, *self.VERSIONED, env=clean_env, cwd=repository)
        assert tuple(ignored.splitlines()) == self.LIVE + self.LEFT

    def test_templates_go_in(self, clean_env: dict[str, str], repository: Path) -> None:
        """`git add .` takes the service and its templates, and no key that lies beside them."""
        copy_templates(repository, good_keys())
        self.git("init", "--quiet", env=clean_env, cwd=repository)
        self.git("add", ".", env=clean_env, cwd=repository)
        assert tuple(self.git("ls-files", env=clean_env, cwd=repository).splitlines()) == self.VERSIONED


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    body: str


@dataclass(frozen=True)
class Server:
    """The app under uvicorn in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str, authorization: bytes | None = None) -> Answer:
        """Ask for a path, on a connection of its own."""
        headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())

    def is_open(self) -> bool:
        """Whether something listens on the port."""
        with socket.socket() as client:
            connected = client.connect_ex(("127.0.0.1", self.port)) == 0
            return connected and client.getsockname()[1] != self.port  # a free port can be connected to itself

    def wait_until(self, *, opened: bool) -> None:
        """Wait until the port is open or the process has ended, and insist on which of them it is."""
        deadline = time.monotonic() + TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.is_open():
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        assert (self.is_open(), self.process.poll() is None) == (opened, opened), self.text()

    def text(self) -> str:
        """All that the server has written."""
        return self.log.read_text(encoding="utf-8")


@contextlib.contextmanager
def serve(repository: Path, env: Mapping[str, str], cwd: Path | None = None) -> Iterator[Server]:
    """Run `uvicorn app.main:app` from the repository's root or another working directory, and stop it."""
    port = free_port()
    log = repository.parent / "log"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--app-dir", str(repository)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=dict(env), cwd=cwd or repository, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Server(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT)
        finally:
            process.kill()
            process.wait()


def token(key: str) -> bytes:
    """Compute the status token as the service's README says."""
    return hmac.new(key.encode(), b"robodj status token v1", hashlib.sha256).hexdigest().encode()


class TestService:
    """`uvicorn app.main:app`."""

    def test_serves_with_good_keys(self, clean_env: dict[str, str], repository: Path) -> None:
        """The service is ready; its status wants the token, is 401 for all else, and shows no key."""
        keys = good_keys()
        good = token(keys[V1])
        with serve(repository, clean_env | keys | {"ROBODJ_PROTECTED_ENV": "true"}) as server:
            server.wait_until(opened=True)
            assert server.get("/ready") == Answer(200, '{"ready":true}')
            refused = [
                server.get("/status"),
                *(
                    server.get("/status", header)
                    for header in (
                        b"",
                        b"Bearer",
                        b"Bearer ",
                        good,
                        b"Basic " + good,
                        b"Bearer " + good[:-1],
                        b"Bearer " + token(secrets.token_urlsafe(32)),
                        b"Bearer " + keys[V1].encode(),
                        b"Bearer \xe9",
                        "Bearer \u00e9\u4e16".encode(),
                        b"Bearer " + good[:-1] + b"\xe9",
                    )
                ),
            ]
            assert set(refused) == {Answer(401, '{"detail":"Unauthorized"}')}
            status = server.get("/status", b"Bearer " + good)
            written = server.text()
        assert status.status == 200
        report = json.loads(status.body)
        assert (report["ok"], report["require_env_only"], report["findings"]) == (True, True, [])
        assert [each["state"] for each in report["secrets"]] == ["present", "present"]
        assert leaks(status.body + written, list(keys.values())) == []

    def test_is_ready_as_it_started(self, clean_env: dict[str, str], repository: Path) -> None:
        """When the secrets turn bad later the status says so, and the service stays ready."""
        keys = good_keys()
        copy_templates(repository, keys)
        with serve(repository, clean_env | FILES_ON) as server:
            server.wait_until(opened=True)
            for name in FILES.values():
                (repository / "config" / name).unlink()
            assert server.get("/ready") == Answer(200, '{"ready":true}')
            report = json.loads(server.get("/status", b"bearer " + token(keys[V1])).body)
            written = server.text()
        assert [each["check"] for each in report["findings"]] == ["missing", "missing"]
        assert written.count("file-fallback") == 2
        assert leaks(written, list(keys.values())) == []

    def test_refused_start(self, clean_env: dict[str, str], repository: Path) -> None:
        """With a bad key the service ends with status 3 and an ALERT line, and its port was never open."""
        keys = good_keys()
        with serve(repository, clean_env | keys | {V1: keys[V1][:20]}) as server:
            server.wait_until(opened=False)
            status, written = server.process.returncode, server.text()
        assert status == 3
        alerts = [line.split()[:3] for line in written.splitlines() if line.startswith("ALERT:")]
        assert alerts == [["ALERT:", "secret.key:", "format:"]]
        assert leaks(written, list(keys.values())) == []

    @pytest.mark.parametrize("root", [True, False], ids=["root", "elsewhere"])
    def test_revoked_key(self, clean_env: dict[str, str], repository: Path, elsewhere: Path, *, root: bool) -> None:
        """A revoked key starts the service from no working directory: the model names the list."""
        keys = good_keys()
        revoke(repository, keys[V1])
        with serve(repository, clean_env | keys, repository if root else elsewhere) as server:
            server.wait_until(opened=False)
            status, written = server.process.returncode, server.text()
        alerts = [line.split()[:3] for line in written.splitlines() if line.startswith("ALERT:")]
        assert (status, alerts) == (3, [["ALERT:", "secret.key:", "revoked:"]])

    def test_serves_from_elsewhere(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """With good keys it starts from another working directory: the list that it requires is found."""
        with serve(repository, clean_env | good_keys(), elsewhere) as server:
            server.wait_until(opened=True)
            assert server.get("/ready") == Answer(200, '{"ready":true}')

    def test_operator_computes_the_token(self, clean_env: dict[str, str], repository: Path) -> None:
        """The README's command prints the token."""
        readme = (repository / "README.md").read_text(encoding="utf-8")
        (program,) = re.findall(r'^python -c "(import hmac.*)"$', readme, re.MULTILINE)
        keys = good_keys()
        ran = run(["-c", program], env=clean_env | keys, cwd=repository)
        assert ran.out.strip().encode() == token(keys[V1])
