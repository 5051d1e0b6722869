"""Each channel shows each state of a real service within two periods of its beginning, and no longer after its end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from conftest import TIMEOUT, V1, V2, clean_environment, free_port, good_keys, put
from publications import replaced, revoking, staged, volume
from test_fleet_queries import answers, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from publications import Files

PERIOD: Final = 2
"""Of reads and heartbeats, in seconds."""
SERVICE: Final = '''
"""A service whose settings model waits as long as there is a file `hang`."""

import time
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, make_asgi_app
from pydantic import model_validator
from robodj_secretguard import RuntimeSecrets, guard
from robodj_secretguard.adapters.fastapi import ready
from robodj_secretguard.adapters.prometheus import SecretCollector


class Settings(RuntimeSecrets):
    @model_validator(mode="after")
    def wait(self):
        while Path("hang").exists():
            time.sleep(0.05)
        return self


secrets = guard(Settings)
registry = CollectorRegistry()
registry.register(SecretCollector(secrets))
app = FastAPI()
app.add_route("/ready", ready(secrets))
app.mount("/metrics", make_asgi_app(registry))
'''
SAID: Final = {"delivered": "kept", "reads": "late", "ends": "ending"}
"""By the first word of what `fleet` says: the state."""


class Watched:
    """A service, and the state that each channel shows."""

    def __init__(self, root: Path, url: str) -> None:
        self._root = root
        self._url = url
        self.channels: dict[str, Callable[[], str]] = {
            "events": self.event,
            "metrics": self.metric,
            "/ready": self.answer,
            "fleet": self.fleet,
        }

    def last(self) -> dict[str, Any]:
        """Return the last event."""
        found: dict[str, Any] = json.loads((self._root / "events").read_text(encoding="utf-8").splitlines()[-1])
        return found

    def event(self) -> str:
        """Return the state in the last event."""
        return str(self.last()["state"])

    def metric(self) -> str:
        """Return the state in the metrics."""
        text = httpx.get(f"{self._url}/metrics/", trust_env=False, timeout=TIMEOUT).text
        (found,) = re.findall(r'robodj_secret_state_timestamp_seconds\{.*state="(\w+)"', text)
        return str(found)

    def answer(self) -> str:
        """Return the body of the health endpoint, whose status is 503 only for `ending`."""
        response = httpx.get(f"{self._url}/ready", trust_env=False, timeout=TIMEOUT)
        assert (response.status_code == 503) == (response.text == "ending")
        return response.text

    def fleet(self) -> str:
        """Return the state that `fleet` names."""
        argv = [sys.executable, "-m", "robodj_secretguard", "fleet", "--model", "robodj_secretguard:RuntimeSecrets"]
        argv += ["--instances", "web-1", "--events", "events", "--format", "json"]
        ran = subprocess.run(
            argv, cwd=self._root, env=clean_environment() | good_keys(), stdout=subprocess.PIPE, text=True, check=True
        )
        said = [each.removeprefix("api/web-1: ").split(maxsplit=1)[0] for each in json.loads(ran.stdout)["reasons"]]
        return SAID[said[0].rstrip(",")] if said else "following"

    def shows(self, state: str) -> dict[str, float]:
        """Wait until each channel shows a state, and return how many seconds after its beginning that was."""
        found = dict[str, float]()
        deadline = time.monotonic() + TIMEOUT
        while len(found) < len(self.channels):
            for name, shown in self.channels.items():
                if name not in found and shown() == state:
                    found[name] = time.time()
            assert time.monotonic() < deadline, (state, found)
        since = datetime.fromisoformat(self.last()["state_since"]).timestamp()
        return {name: round(at - since, 1) for name, at in found.items()}


@pytest.mark.full
def test_each_channel_shows_each_state(tmp_path: Path) -> None:
    """A refused set, a read that hangs and a revoked key begin a state. What is good again ends it."""
    put(tmp_path / "service.py", SERVICE)
    files: Files = good_keys()
    volume(tmp_path / "keys", files)
    port = free_port()
    environ = {
        "ROBODJ_SECRETS_DIR": str(tmp_path / "keys"),
        "ROBODJ_SECRETS_REFRESH": str(PERIOD),
        "ROBODJ_SECRET_EVENTS": str(tmp_path / "events"),
        "ROBODJ_SECRET_HEARTBEAT": str(PERIOD),
        "ROBODJ_SERVICE": "api",
        "ROBODJ_INSTANCE": "web-1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "service:app", f"--port={port}", "--log-level=warning"],
        cwd=tmp_path,
        env=clean_environment() | environ,
    )
    url = f"http://127.0.0.1:{port}"
    watched = Watched(tmp_path, url)

    def hang() -> None:
        put(tmp_path / "hang")
        volume(tmp_path / "keys", staged(files))

    def go_on() -> None:
        (tmp_path / "hang").unlink()
        volume(tmp_path / "keys", files)

    # What begins a state, and what ends it.
    states: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "kept": (
            lambda: volume(tmp_path / "keys", {**files, V2: "change-me"}),
            lambda: volume(tmp_path / "keys", files),
        ),
        "late": (hang, go_on),
        "ending": (
            lambda: volume(tmp_path / "keys", revoking(files, V1)),
            lambda: volume(tmp_path / "keys", replaced(files)),
        ),
    }
    try:
        until(lambda: answers(f"{url}/ready"))
        watched.shows("following")
        for state, acts in states.items():
            for shown, act in zip((state, "following"), acts, strict=True):
                act()
                found = watched.shows(shown)
                print(state, shown, found)  # noqa: T201 - with -s
                assert max(found.values()) <= 2 * PERIOD
    finally:
        process.terminate()
        process.wait(TIMEOUT)
