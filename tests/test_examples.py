"""The examples in real processes: the quickstart, and a copy of the example service with its gate and its app.

The fast run starts each program once. Only the full sessions use other working directories, other options of Python,
and each kind of bad set-up.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, document_of, free_port, good_keys, run
from detector import leaks
from repositories import GIT, git, made
from rings import PREVIOUS, UNTIL, derived

from robodj_secretguard.cli.output import PASSED
from robodj_secretguard.fleet.evidence import parse_event

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
    """Copy each template to its key file. If keys are given, replace the placeholder lines with them."""
    for variable, name in FILES.items():
        text = (repository / "config" / f"{name}.example").read_text(encoding="utf-8")
        (placeholder,) = (line for line in text.splitlines() if not line.startswith("#"))
        copy = repository / "config" / name
        copy.write_text(text.replace(placeholder, keys[variable]) if keys else text, encoding="utf-8")
        copy.chmod(0o600)


def revoke(repository: Path, key: str) -> None:
    """Add a key to the repository's revocation list."""
    with (repository / "config" / "revoked.fingerprints").open("a", encoding="utf-8") as file:
        file.write(f"{fingerprint_of(key)}\n")


class TestQuickstart:
    """`examples/quickstart.py`."""

    def test_shows_a_start_a_refusal_and_the_gate(self, clean_env: dict[str, str], elsewhere: Path) -> None:
        """From any directory it shows a start, a refusal with its status, and the gate, and no part of a key.
        Keys in the environment change nothing.
        """
        keys = good_keys()
        program = (
            "import os, runpy, secrets, sys\n"
            "secrets.token_urlsafe = lambda size: os.environ['URLSAFE']\n"
            "secrets.token_hex = lambda size: os.environ['HEX']\n"
            "runpy.run_path(sys.argv[1], run_name='__main__')\n"
        )
        env = clean_env | {V1: "unused", "URLSAFE": keys[V1], "HEX": keys[V2]}
        command = ["-c", program, str(EXAMPLES / "quickstart.py")]
        ran = run(command, env=env, cwd=elsewhere, keys=list(keys.values()))
        assert (ran.status, ran.err) == (0, "")
        start, refusal, passed, failed = re.split(r"\n\n(?=--- )", ran.out.strip())
        assert start.splitlines()[1:] == ["The service is up.", "exit status: 0"]
        alerts = [line for line in refusal.splitlines() if line.startswith("ALERT: secret")]
        assert [line.split()[1:3] for line in alerts] == [
            ["secret.key:", "placeholder:"],
            ["secret_v2.key:", "expired:"],
        ]
        assert refusal.splitlines()[-1] == "exit status: 3"
        assert passed.splitlines()[-2:] == [PASSED, "exit status: 0"]
        assert [line for line in failed.splitlines() if line.startswith("ALERT: ")] == alerts
        assert failed.splitlines()[-1] == "exit status: 1"

    @pytest.mark.full
    def test_fails_when_what_it_shows_did_not_happen(self, clean_env: dict[str, str], elsewhere: Path) -> None:
        """Its status is 1 if a child has an unexpected status, for example 4 under an autoreloader."""
        ran = run([str(EXAMPLES / "quickstart.py")], env=clean_env | {"RUN_MAIN": "true"}, cwd=elsewhere)
        assert ran.status == 1
        assert "exit status: 4 (it should have been 3)" in ran.out


class TestGate:
    """`python config/check_runtime_secrets.py --require-env-only`, the command of the policy."""

    @pytest.fixture(params=["root", pytest.param("elsewhere", marks=pytest.mark.full), "own folder"])
    def cwd(self, request: pytest.FixtureRequest, repository: Path, elsewhere: Path) -> Path:
        """The working directory: the repository's root, its config directory, or another one (full sessions only)."""
        return {"root": repository, "elsewhere": elsewhere, "own folder": (repository / GATE).parent}[request.param]

    @pytest.mark.parametrize("option", ["-B", *(pytest.param(each, marks=pytest.mark.full) for each in ("-P", "-I"))])
    def test_passes(self, clean_env: dict[str, str], repository: Path, cwd: Path, option: str) -> None:
        """It passes with good keys, whether or not Python puts the script's directory on the path."""
        keys = good_keys()
        command = [option, str(repository / GATE), ENV_ONLY]
        ran = run(command, env=clean_env | keys, cwd=cwd, keys=list(keys.values()))
        assert (ran.status, ran.err, ran.out.splitlines()[-1]) == (0, "", PASSED)

    def test_fails(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """It checks the service's model and list, and fails with status 1 and without the success line."""
        keys = good_keys()
        revoke(repository, keys[V2])
        env = clean_env | {V2: keys[V2]}
        ran = run([str(repository / GATE), ENV_ONLY], env=env, cwd=elsewhere, keys=[keys[V2]])
        assert (ran.status, ran.err, PASSED in ran.out) == (1, "", False)
        assert [line.split()[1:3] for line in ran.alerts] == [
            ["secret.key:", "missing:"],
            ["secret_v2.key:", "revoked:"],
        ]
        assert "model: service_secrets:ServiceSecrets (pyproject.toml)" in ran.out.splitlines()

    def test_requires_the_list(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """It fails without the service's revocation list, even if another directory has one."""
        (elsewhere / "config").mkdir()
        (repository / "config" / "revoked.fingerprints").rename(elsewhere / "config" / "revoked.fingerprints")
        ran = run([str(repository / GATE), ENV_ONLY], env=clean_env | good_keys(), cwd=elsewhere)
        assert (ran.status, [line.split()[1] for line in ran.alerts]) == (1, ["revocation-list:"])

    def test_passes_arguments_on(self, clean_env: dict[str, str], repository: Path) -> None:
        """It accepts the arguments of `check`. A wrong one has status 2."""
        ran = run([str(GATE), "--no-such-option"], env=clean_env | good_keys(), cwd=repository)
        assert (ran.status, ran.out) == (2, "")


class TestTemplates:
    """`config/secret.key.example` and `config/secret_v2.key.example`."""

    def findings(
        self, env: Mapping[str, str], repository: Path, cwd: Path, keys: Mapping[str, str] | None = None
    ) -> tuple[int, list[tuple[str, str, str]]]:
        """Run the gate with fallback files on, and return its status and findings."""
        command = [str(repository / GATE), "--format", "json"]
        ran = run(command, env=FILES_ON | dict(env), cwd=cwd)
        findings = [(each["check"], each["severity"], each["secret"]) for each in ran.document["findings"]]
        assert leaks(ran.out, list((keys or {}).values())) == []
        return ran.status, findings

    def test_untouched_copies(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """An unchanged copy is the finding `placeholder`."""
        copy_templates(repository)
        status, findings = self.findings(clean_env, repository, elsewhere)
        alerts = [each for each in findings if each[1] == "alert"]
        assert (status, alerts) == (1, [("placeholder", "alert", name) for name in FILES.values()])

    def test_filled_copies(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """A copy whose placeholder line is replaced with a key passes, with a warning about the fallback file."""
        keys = good_keys()
        copy_templates(repository, keys)
        warnings = [("file-fallback", "warning", name) for name in FILES.values()]
        assert self.findings(clean_env, repository, elsewhere, keys) == (0, warnings)

    def test_files_are_off(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """The model turns fallback files off."""
        copy_templates(repository, good_keys())
        status, findings = self.findings(clean_env | dict.fromkeys(FILES_ON, ""), repository, elsewhere)
        assert (status, {check for check, _, _ in findings}) == (1, {"missing", "file-present"})


class TestOwnTests:
    """The tests of the example service."""

    def test_they_pass_without_a_key(self, clean_env: dict[str, str], repository: Path) -> None:
        """`python -m pytest` passes with the plugin, without a key in the environment or a file."""
        ran = run(["-m", "pytest", "-q", "-W", "error"], env=clean_env, cwd=repository)
        assert (ran.status, ran.out.splitlines()[-1].split(" in ")[0]) == (0, "16 passed")


@pytest.mark.skipif(not GIT, reason="needs git")
class TestGitignore:
    """The service's `.gitignore`."""

    LIVE = tuple(
        f"config/{copy.format(name)}"
        for name in FILES.values()
        for copy in (
            *("{}", "{}~", "{}.bak", "{}.old", "{}.orig", "{}.save", "{}.txt", "{}.tmp.1234", "{}.example.swp"),
            *("{}.example~", ".{}.swp", ".{}.swo", ".{}.un~", ".{}.kate-swp", ".#{}", "#{}#", "{} (copy)"),
            "{}.0123456789abcdef.new",
        )
    )
    LEFT = ("config/logs/secret_operations.jsonl", "config/.secretguard.lock", "config/revoked.fingerprints.0123.new")
    VERSIONED = (
        ".gitignore",
        "README.md",
        "app/__init__.py",
        "app/main.py",
        "config/check_runtime_secrets.py",
        "config/revoked.fingerprints",
        "config/secret.key.example",
        "config/secret_v2.key.example",
        "pyproject.toml",
        "pytest.ini",
        "requirements.txt",
        "service_secrets.py",
        "tests/test_service.py",
    )

    def test_live_keys_stay_out(self, repository: Path) -> None:
        """Git ignores only live key files, their editor and backup copies, and the files that commands write."""
        paths = self.LIVE + self.LEFT + self.VERSIONED
        ignored = git(made(repository), "--no-literal-pathspecs", "check-ignore", *paths)
        assert tuple(ignored.splitlines()) == self.LIVE + self.LEFT


@dataclass(frozen=True)
class Answer:
    """A response of the server."""

    status: int
    body: str


@dataclass(frozen=True)
class Server:
    """The app under uvicorn in a separate process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str, authorization: bytes | None = None, method: str = "GET") -> Answer:
        """Request a path on a new connection."""
        headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())

    def is_open(self) -> bool:
        """Check whether something listens on the port."""
        with socket.socket() as client:
            connected = client.connect_ex(("127.0.0.1", self.port)) == 0
            return connected and client.getsockname()[1] != self.port  # a free port can be connected to itself

    def wait_until(self, *, opened: bool) -> None:
        """Wait until the port is open or the process has ended, and assert which of them it is."""
        deadline = time.monotonic() + TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.is_open():
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        assert (self.is_open(), self.process.poll() is None) == (opened, opened), self.text()

    def text(self) -> str:
        """Return the server's output."""
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
    """Return the status token."""
    return derived(key, b"robodj status token v1").encode()


class TestService:
    """`uvicorn app.main:app`."""

    def test_says_which_keys_it_runs_on(self, clean_env: dict[str, str], repository: Path) -> None:
        """Its start is in the events file. Its metrics are on a port of their own, not on that of the service."""
        keys, events, port = good_keys(), repository.parent / "events.jsonl", free_port()
        env = clean_env | keys | {"ROBODJ_SECRET_EVENTS": str(events), "METRICS_PORT": str(port)}
        with serve(repository, env) as server:
            server.wait_until(opened=True)
            metrics = Server(server.process, port, server.log).ask("/metrics").body
            assert server.ask("/metrics").status == 404
        (line,) = events.read_bytes().splitlines()
        started = parse_event(line)
        assert started is not None
        fingerprints = {fingerprint_of(key) for key in keys.values()}
        assert {slots.current for _, slots in started.keys} == fingerprints
        assert {*re.findall("sgfp1:[0-9a-f]+", metrics)} == fingerprints
        assert leaks(metrics + line.decode(), [*keys.values()]) == []

    def test_serves_with_good_keys(self, clean_env: dict[str, str], repository: Path) -> None:
        """The service is ready. `/status` shows no key, and is 401 without the token."""
        keys = good_keys()
        good = token(keys[V1])
        with serve(repository, clean_env | keys | {"ROBODJ_PROTECTED_ENV": "true"}) as server:
            server.wait_until(opened=True)
            assert server.ask("/ready") == Answer(200, '{"ready":true}')
            refused = [
                server.ask("/status"),
                *(
                    server.ask("/status", header)
                    for header in (
                        b"Bearer ",
                        good,
                        b"Basic " + good,
                        b"Bearer " + good[:-1],
                        b"Bearer " + token(secrets.token_urlsafe(32)),
                        b"Bearer " + keys[V1].encode(),
                        b"Bearer " + good[:-1] + b"\xe9",
                    )
                ),
            ]
            assert set(refused) == {Answer(401, '{"detail":"Unauthorized"}')}
            status = server.ask("/status", b"Bearer " + good)
            written = server.text()
        assert status.status == 200
        report = document_of(status.body)
        assert (report["ok"], report["require_env_only"], report["findings"]) == (True, True, [])
        assert [each["state"] for each in report["secrets"]] == ["present", "present"]
        assert leaks(status.body + written, list(keys.values())) == []

    @pytest.mark.full
    def test_a_rotation(self, clean_env: dict[str, str], repository: Path) -> None:
        """Tokens from before a promotion are accepted after it, and the page shows the keys. An operator logs in."""
        keys, new = good_keys(), good_keys()[V1]
        old, until = keys[V1], datetime.now(UTC).replace(microsecond=0) + timedelta(days=14)
        operator = b"Bearer " + token(old)
        with serve(repository, clean_env | keys) as server:
            server.wait_until(opened=True)
            access = json.loads(server.ask("/login?name=dj", operator, "POST").body)["access_token"]
            user = f"Bearer {access}".encode()
            assert server.ask("/login?name=dj", user, "POST").status == 401
            assert server.ask("/me", operator).status == 401
        promoted = {V1: new, PREVIOUS: old, UNTIL: until.isoformat()}
        with serve(repository, clean_env | keys | promoted) as server:
            server.wait_until(opened=True)
            assert server.ask("/me", user) == Answer(200, '{"user":"dj"}')
            page = json.loads(server.ask("/keys", operator).body)["secret.key"]
        current, previous = (fingerprint_of(key).removeprefix("sgfp1:") for key in (new, old))
        assert page["signs"] == current
        assert page["verify"] == [{"role": "current", "kid": current}, {"role": "previous", "kid": previous}]
        assert datetime.fromisoformat(page["previous_until"]) == until

    @pytest.mark.full
    def test_is_ready_as_it_started(self, clean_env: dict[str, str], repository: Path, elsewhere: Path) -> None:
        """If the secrets become bad after the start, the status reports it, and the service stays ready."""
        keys = good_keys()
        copy_templates(repository, keys)
        with serve(repository, clean_env | FILES_ON, elsewhere) as server:
            server.wait_until(opened=True)
            for name in FILES.values():
                (repository / "config" / name).unlink()
            assert server.ask("/ready") == Answer(200, '{"ready":true}')
            report = document_of(server.ask("/status", b"bearer " + token(keys[V1])).body)
            written = server.text()
        assert [each["check"] for each in report["findings"]] == ["missing", "missing"]
        assert written.count("file-fallback") == 2
        assert leaks(written, list(keys.values())) == []

    @pytest.mark.parametrize("bad", ["format", pytest.param("revoked", marks=pytest.mark.full)])
    def test_refused_start(self, clean_env: dict[str, str], repository: Path, elsewhere: Path, bad: str) -> None:
        """With a bad key, or one on the service's list, it ends with status 3 and never opens its port."""
        keys = good_keys()
        if bad == "revoked":
            revoke(repository, keys[V1])
        environ = keys | ({V1: keys[V1][:20]} if bad == "format" else {})
        with serve(repository, clean_env | environ, elsewhere) as server:
            server.wait_until(opened=False)
            status, written = server.process.returncode, server.text()
        alerts = [line.split()[:3] for line in written.splitlines() if re.match("ALERT: secret", line)]
        assert (status, alerts) == (3, [["ALERT:", "secret.key:", f"{bad}:"]])
        assert leaks(written, list(keys.values())) == []

    def test_operator_computes_the_token(self, clean_env: dict[str, str], repository: Path) -> None:
        """The README's command prints the token."""
        readme = (repository / "README.md").read_text(encoding="utf-8")
        (program,) = re.findall(r'^python -c "(from app.*)"$', readme, re.MULTILINE)
        keys = good_keys()
        ran = run(["-c", program], env=clean_env | keys, cwd=repository)
        assert ran.out.strip().encode() == token(keys[V1])
