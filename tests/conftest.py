"""What all tests share: keys made at run time, a process of our own to look at from outside, and what must not show."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from detector import leaks
from hypothesis import settings

from robodj_secretguard import Report, check
from robodj_secretguard.cli.rotate import CI_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jsonschema import Draft202012Validator

# Without a deadline: how long a call takes is for test_slowest_call.py to judge.
settings.register_profile("ours", deadline=None, max_examples=200)
settings.load_profile("ours")

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
V1, V2 = "ROBODJ_SECRET_KEY", "ROBODJ_SECRET_V2_KEY"
TIMEOUT = 60
posix_only = pytest.mark.skipif(os.name != "posix", reason="modes, owners, links, FIFOs and terminals are POSIX's")
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
CHANGES_STREAMS = {"PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS", "PYTHONDEVMODE"}
CHANGES_PYTEST = {"PYTEST_ADDOPTS"}
CHANGES_GENERATE = {*CI_VARIABLES}


def put(path: Path, content: str | bytes = "text", mode: int = 0o600) -> Path:
    """Write a file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def marker(ahead: timedelta, *, now: datetime = NOW) -> str:
    """Write an expiry marker that lies ahead."""
    return (now + ahead).isoformat().replace("+00:00", "Z")


def good_keys() -> dict[str, str]:
    """Make a new key of each kind, as the approved commands do."""
    return {V1: secrets.token_urlsafe(32), V2: secrets.token_hex(64)}


def found(report: Report) -> list[tuple[str, str | None]]:
    """Reduce a report to which check fired on which secret."""
    return [(str(finding.check), finding.secret) for finding in report.findings]


def listed(report: Report) -> tuple[tuple[str, ...], int]:
    """Reduce a report to where there is a revocation list, and how many entries it has."""
    assert report.revocation_list is not None
    return report.revocation_list.sources, report.revocation_list.entries


@dataclass(frozen=True)
class Checker:
    """`check` at a fixed time on a config directory of the test's own, which it need not use."""

    config: Path

    def __call__(self, environ: Mapping[str, str], *, require_env_only: bool = False, now: datetime = NOW) -> Report:
        return check(environ=environ, config_dir=self.config, require_env_only=require_env_only, now=now)

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """Put a fallback file into the config directory."""
        return put(self.config / name, content, mode)


@pytest.fixture
def checker(tmp_path: Path) -> Checker:
    """Check at a fixed time, with an empty config directory."""
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    return Checker(config)


def clean_environment() -> dict[str, str]:
    """Return the environment less what the guard reads, and what changes how Python, pytest and `generate` behave."""
    changes = CHANGES_STREAMS | CHANGES_PYTEST | CHANGES_GENERATE
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("ROBODJ_") and name not in changes
    }


@pytest.fixture
def clean_env() -> dict[str, str]:
    """The environment of a process that the test gives its keys."""
    return clean_environment()


@contextlib.contextmanager
def process_environment(environ: Mapping[str, str]) -> Iterator[None]:
    """Have these variables in this process, and no others."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Ran:
    """A process that has ended, as its user sees it."""

    status: int
    out: str
    err: str

    @property
    def alerts(self) -> list[str]:
        """The first line of each alert, wherever it was written, without the last line of a refusal."""
        lines = (self.out + self.err).splitlines()
        return [line for line in lines if re.match(r"ALERT: (?!robodj-secretguard )", line)]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout, as docs/schemas describes it. It is `ok` where the exit status is 0."""
        document = document_of(self.out)
        assert document.get("ok", True) == (self.status == 0)
        return document


def document_of(text: str | bytes) -> dict[str, Any]:
    """Return a JSON document of a command, after comparing it with the schema of its kind."""
    document: dict[str, Any] = json.loads(text)
    if "$schema" not in document:  # SARIF names its own
        schema_of(document.get("kind", "keys")).validate(document)
    return document


@functools.cache
def schema_of(kind: str) -> Draft202012Validator:
    """Return the schema of a kind of document, without room for a field that it does not describe."""
    from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415 - slow to import, and few tests need it

    def closed(part: Any) -> Any:
        if isinstance(part, list):
            return [closed(each) for each in part]
        if not isinstance(part, dict):
            return part
        room = {"additionalProperties": False} if isinstance(part.get("properties"), dict) else {}
        return room | {name: closed(each) for name, each in part.items()}

    text = (Path(__file__).parent.parent / "docs" / "schemas" / f"{kind}.json").read_text(encoding="utf-8")
    return Draft202012Validator(closed(json.loads(text)), format_checker=FormatChecker(["date-time"]))


def without_model(text: str) -> str:
    """Take out the line that says which model a command used: test_options.py is about that."""
    return re.sub(r"(?m)(?:^|(?<=\r))(?:robodj-secretguard: )?model: .*\r?\n?", "", text)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    keys: Sequence[str] = (),
    python: bool = True,
    timeout: float = TIMEOUT,
) -> Ran:
    """Run a process to its end, and make sure that it showed no part of a key.

    Args:
        command: arguments of Python, or a whole command.
        env: its whole environment.
        cwd: its working directory.
        keys: the keys that must not show.
        python: whether `command` is run by this Python.
        timeout: how long it may take, in seconds.
    """
    argv = [sys.executable, *command] if python else list(command)
    done = subprocess.run(argv, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    assert leaks(done.stdout + done.stderr, keys) == []
    return Ran(done.returncode, done.stdout, without_model(done.stderr))


def free_port() -> int:
    """Find a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(autouse=True)
def _no_structlog_configuration() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
