"""Guarded services, a real Prometheus, Alertmanager and node_exporter, and a server that receives the webhooks.

The files are those of examples/monitoring. Only ports and times are replaced in them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import pytest
from command_line import OTHER, fingerprint_of
from conftest import TIMEOUT, V1, V2, clean_environment, free_port, good_keys
from publications import volume

from robodj_secretguard.startup.inputs import SECRETS_DIR, SECRETS_REFRESH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

REQUIRED: Final = "SECRETGUARD_MONITORING_REQUIRED"
"""If this variable is set, a missing program is a failure."""
EXAMPLES: Final = Path(__file__).parents[3] / "examples" / "monitoring"
NAME: Final = "secret.key"
TEXTFILES: Final = ("textfiles", "textfiles-shared")
"""The directory of each node_exporter."""
STALE: Final = 20
"""The seconds after which a file is too old, in the copy of the rules. All others are written each second."""


def require(*programs: str) -> None:
    """Skip what needs these programs where one is missing. Fail if the session `monitoring` runs it."""
    missing = [each for each in programs if not shutil.which(each)]
    reason = f"not installed: {', '.join(missing)}; install the Debian packages, and run nox -s monitoring"
    if missing and os.environ.get(REQUIRED):
        pytest.fail(reason)
    if missing:
        pytest.skip(reason, allow_module_level=True)


def until(is_done: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Wait until a function returns true."""
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def replaced(name: str, changes: Mapping[str, str]) -> str:
    """Return a shipped file with changes, each of which it must have."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def running(argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end. Its output goes to a file in its directory."""
    with (cwd / f"{Path(argv[0]).name}.log").open("ab") as log:
        process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(TIMEOUT)


class Received(NamedTuple):
    """An alert in a webhook."""

    at: float
    path: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Inbox(ThreadingHTTPServer):
    """The receiver of every webhook."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Webhook)
        self.received: list[Received] = []
        self._changed = threading.Condition()

    def add(self, path: str, body: Any) -> None:
        """Keep the alerts of a webhook."""
        with self._changed:
            now = time.time()
            self.received += [
                Received(now, path, each["labels"], each["annotations"])
                for each in body["alerts"]
                if each["status"] == "firing"
            ]
            self._changed.notify_all()

    def first(self, name: str, labels: Mapping[str, str]) -> Received:
        """Wait for an alert with these labels."""

        def found() -> Received | None:
            wanted = {"alertname": name, **labels}.items()
            return next((each for each in self.received if wanted <= each.labels.items()), None)

        with self._changed:
            alert = self._changed.wait_for(found, TIMEOUT)
        assert alert, f"no webhook for {name} {dict(labels)}"
        return alert


class _Webhook(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        self.server.add(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@dataclass
class Service:
    """An instance of examples/monitoring/service.py.

    Attributes:
        job: its job in Prometheus.
        directory: its working directory.
        environment: its label in Prometheus. The shipped prometheus.yml has `prod`.
        environ: its keys and markers.
        port: its port.
    """

    job: str
    directory: Path
    environment: str = "staging"
    environ: dict[str, str] = field(default_factory=good_keys, repr=False)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        (self.directory / "config").mkdir(mode=0o700, parents=True)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def write(self, name: str, text: str) -> None:
        """Write a file into the config directory."""
        path = self.directory / "config" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    @property
    def secrets_dir(self) -> Path:
        """The secrets directory, where it has one."""
        return self.directory / "secrets"

    def deliver(self, **changes: str) -> None:
        """Write the keys to the secrets directory, which is read each second."""
        volume(self.secrets_dir, {V1: self.environ[V1], V2: self.environ[V2]} | changes)
        self.environ |= {SECRETS_DIR: str(self.secrets_dir), SECRETS_REFRESH: "1"}

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of the current keys, by the names of their secrets."""
        return {NAME: fingerprint_of(self.environ[V1]), OTHER: fingerprint_of(self.environ[V2])}

    @contextlib.contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the service."""
        serve = ("service:app", "--app-dir", str(EXAMPLES), "--port", str(self.port), "--log-level", "warning")
        env = clean_environment() | self.environ
        with running([sys.executable, "-m", "uvicorn", *serve], self.directory, env) as process:
            yield process

    def metrics_of_status(self, *arguments: str) -> str:
        """Return the metrics of `status` in its directory and environment."""
        argv = [sys.executable, "-m", "robodj_secretguard", "status", "--format", "openmetrics", *arguments]
        env = clean_environment() | self.environ
        return subprocess.run(argv, cwd=self.directory, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


@dataclass
class Monitoring:
    """Prometheus, Alertmanager, two node_exporters and the receiver of webhooks.

    Attributes:
        directory: their files.
        inbox: the receiver.
        services: all of them.
        stopped: the files that no timer writes any more.
    """

    directory: Path
    inbox: Inbox
    services: Sequence[Service]
    stopped: set[Path] = field(default_factory=set)
    port: int = field(default_factory=free_port)
    alertmanager_port: int = field(default_factory=free_port)
    node_ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))

    def __post_init__(self) -> None:
        for name in ("data", "alertmanager", *TEXTFILES):
            (self.directory / name).mkdir(parents=True)

    def text_file(self, name: str, text: str, directory: str = TEXTFILES[0]) -> Path:
        """Write a file for node_exporter as the page says: a temporary file first, which is then renamed."""
        path = self.directory / directory / name
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        return temporary.replace(path)

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """Run all of it."""
        self._configure()
        end = threading.Event()
        timer = threading.Thread(target=self._write_again, args=[end])
        receiver = threading.Thread(target=self.inbox.serve_forever, kwargs={"poll_interval": 0.01})
        prometheus = [
            *("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"),
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        alertmanager = [
            *("prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alertmanager"),
            *("--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{self.alertmanager_port}"),
        ]
        node_exporters = [
            [
                *("prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile"),
                *(f"--collector.textfile.directory={name}", f"--web.listen-address=127.0.0.1:{port}"),
            ]
            for name, port in zip(TEXTFILES, self.node_ports, strict=True)
        ]
        timer.start()
        receiver.start()
        try:
            with contextlib.ExitStack() as stack:
                for argv in (*node_exporters, alertmanager, prometheus):
                    stack.enter_context(running(argv, self.directory))
                until(lambda: answers(f"http://127.0.0.1:{self.alertmanager_port}/-/ready"))
                until(lambda: answers(f"http://127.0.0.1:{self.port}/-/ready"))
                yield
        finally:
            end.set()
            timer.join(TIMEOUT)
            self.inbox.shutdown()
            self.inbox.server_close()
            receiver.join(TIMEOUT)

    def _write_again(self, end: threading.Event) -> None:
        """Give each file the present time in each second, as its timer would."""
        while not end.wait(1):
            for name in TEXTFILES:
                for path in {*(self.directory / name).glob("*.prom")} - self.stopped:
                    with contextlib.suppress(FileNotFoundError):
                        os.utime(path)

    def _configure(self) -> None:
        """Write the shipped files with other ports and times, and with further jobs."""
        targets: dict[tuple[str, str], list[str]] = {}
        for each in self.services:
            targets.setdefault((each.job, each.environment), []).append(each.target)
        shipped = ", ".join(f'"{each}"' for each in targets.pop(("robodj-backend", "prod")))
        jobs = "".join(
            f"  - job_name: {job}\n    static_configs:\n"
            f"      - targets: {json.dumps(each)}\n        labels: {{environment: {environment}}}\n"
            for (job, environment), each in targets.items()
        )
        # As Prometheus Operator does it: the target has the name of a Kubernetes service.
        jobs += (
            f"  - job_name: node-exporter\n    static_configs:\n      - targets: ['127.0.0.1:{self.node_ports[1]}']\n"
            "        labels: {environment: shared, namespace: monitoring, service: node-exporter}\n"
        )
        changes = {
            "scrape_interval: 30s": "scrape_interval: 1s",
            "evaluation_interval: 30s": "evaluation_interval: 1s",
            "127.0.0.1:9093": f"127.0.0.1:{self.alertmanager_port}",
            '"127.0.0.1:8000"': shipped,
            "127.0.0.1:9100": f"127.0.0.1:{self.node_ports[0]}",
        }
        self._write("prometheus.yml", replaced("prometheus.yml", changes) + jobs)
        changes = {
            "127.0.0.1:9095": f"127.0.0.1:{self.inbox.server_port}",
            "group_wait: 30s": "group_wait: 1s",
            "group_interval: 5m": "group_interval: 1s",
        }
        self._write("alertmanager.yml", replaced("alertmanager.yml", changes))
        # A period of 30 seconds is one of a second here. So 5 minutes are 10 seconds, and no alert waits longer.
        changes = {"[3m]": "[6s]", "> 900": f"> {STALE}"}
        rules, number = re.subn(r"(?m)^( +for:) \d+[mh]$", r"\1 10s", replaced("rules.yml", changes))
        assert number == rules.count(" for: ")
        self._write("rules.yml", rules)
        self._write("recording.yml", replaced("recording.yml", {}))

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8")

    def query(self, expression: str) -> list[dict[str, str]]:
        """Return the labels of each result of a query."""
        result = self._api("query", query=expression)["result"]
        return [each["metric"] for each in result]

    def pending(self) -> list[dict[str, str]]:
        """Return the labels of each alert that is pending or firing."""
        return [each["labels"] for each in self._api("alerts")["alerts"]]

    def unhealthy_rules(self) -> list[str]:
        """Return the rules whose evaluation failed."""
        groups = self._api("rules")["groups"]
        return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"]

    def _api(self, what: str, **parameters: str) -> Any:
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{what}", params=parameters, trust_env=False)
        return answer.raise_for_status().json()["data"]


def answers(url: str) -> bool:
    """Return whether a server answers."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, trust_env=False).is_success
    return False
