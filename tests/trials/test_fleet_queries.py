"""No false all-clear through a real Prometheus: random histories, as samples that promtool writes into its data.

Each history has a label of its own, and one query for the time of its verdict. A scrape reaches one of the processes
of an instance, which says how many there are; or it fails. Blocks have no marks of the end of a series, as after a
crash of Prometheus: so the reader has to find out from `up` that a series has ended.

A proof cannot see what happens after the last scrape. So an all-clear is false if a process is against it that was
already against it at the last scrape of its instance, or if a declared instance did not run at any recent scrape.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from conftest import NOW, TIMEOUT, free_port
from fleets import NAME
from histories import make_history

from robodj_secretguard.errors import ManagerError
from robodj_secretguard.fleet import queries
from robodj_secretguard.fleet.roster import parse_roster
from robodj_secretguard.fleet.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from histories import Condition, History

    from robodj_secretguard.fleet.verdict import Evidence, Verdict

MAX_AGE = 120
LOOKBACK = 300
"""How long Prometheus shows a sample without another one."""
UNKNOWN = "unknown: "
pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="not installed: prometheus (a Debian package)")


class Scrapes:
    """The scrapes of a history.

    Attributes:
        lines: the samples, as promtool reads them.
        ages: of each target: when it was scraped, the last time first.
    """

    def __init__(self, history: History) -> None:
        random = Random(f"scrapes {history.seed}")  # noqa: S311 - no key is made of it
        self.lines, self.ages = list[str](), dict[tuple[str, str], list[int]]()
        interval, is_static, is_sticky = random.choice([15, 30, 30, 60]), random.random() < 0.5, random.random() < 0.5
        loss = random.choice([0, 0, 0, 0.05])
        for service, instance in history.instances():
            if not any((each.service, each.instance) == (service, instance) for each in history.processes):
                continue
            phase = random.randrange(interval)
            ages = [*reversed(range(phase, MAX_AGE + LOOKBACK + 2, interval))]
            namespace, _, job = service.rpartition("/")
            labels = f'history="{history.seed}",job="{job}",instance="{instance}"'
            labels += f',namespace="{namespace}"' if namespace else ""
            for age in ages:
                running = history.running(service, instance, age)
                if not running and not is_static:
                    continue  # the target was removed
                self.ages.setdefault((service, instance), []).insert(0, age)
                at = f"{NOW.timestamp() - age:.0f}"
                if not running or history.is_out(service, instance, age) or random.random() < loss:
                    self.lines.append(f"up{{{labels}}} 0 {at}\n")
                    continue
                process = running[0] if is_sticky else random.choice(running)
                own = f'{labels},process="{process.name}"'
                self.lines.append(f"up{{{labels}}} 1 {at}\n")
                self.lines.append(f"robodj_secret_processes{{{own}}} {len(running)} {at}\n")
                keys = process.keys_at(age)
                if until := keys.previous_until:
                    name = "robodj_secret_previous_until_timestamp_seconds"
                    self.lines.append(f'{name}{{{labels},secret="{NAME}"}} {until.timestamp():.0f} {at}\n')
                for slot in ("current", "next", "previous"):
                    if key := getattr(keys, slot):
                        of = f'{own},secret="{NAME}",slot="{slot}",fingerprint="{key}"'
                        self.lines.append(f"robodj_secret_info{{{of}}} 1 {at}\n")

    def is_false(self, history: History, service: str, condition: Condition, failed: set[str]) -> bool:
        """Check whether the truth does not allow an all-clear. `failed` has the services without one."""
        for process in history.against(service, condition):
            ages = self.ages.get((process.service, process.instance), [MAX_AGE + 1])
            was_against = process.runs_at(ages[0]) and process.keys_at(ages[0]) == process.keys_at(0)
            # Nothing is known of one that nobody has declared or reached. A declared one fails the verdict of its own.
            is_known = process.service in history.roster or not history.is_out(
                process.service, process.instance, MAX_AGE
            )
            if was_against and is_known and process.service not in failed:
                return True
        ran = {
            instance
            for (name, instance), ages in self.ages.items()
            if name == service and any(age <= MAX_AGE and history.running(name, instance, age) for age in ages)
        }
        return not (
            ran >= {*history.roster[service]} or (is_counted(history) and len(ran) >= len(history.roster[service]))
        )


def is_counted(history: History) -> bool:
    """Check whether the roster declares how many instances there are, not their names."""
    return history.seed % 2 == 0


@contextlib.contextmanager
def prometheus(directory: Path, lines: Iterator[str]) -> Iterator[str]:
    """Run a Prometheus with samples of the past."""
    with (directory / "samples.txt").open("w", encoding="utf-8") as file:
        file.writelines(lines)
        file.write("# EOF\n")
    argv = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"]
    subprocess.run(argv, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    (directory / "prometheus.yml").write_text("global: {}\n", encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    argv = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]
    argv += ["--storage.tsdb.retention.time=10y", f"--web.listen-address={address}"]
    process = subprocess.Popen(argv, cwd=directory)
    try:
        deadline = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://{address}/-/ready", trust_env=False).is_success:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(TIMEOUT)


class Proxy(ThreadingHTTPServer):
    """Ask a Prometheus at the time of the verdict. It may leave out rows, and says so as Thanos does."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        self.prometheus, self.is_partial = httpx.Client(base_url=url, trust_env=False), False
        super().__init__(("127.0.0.1", 0), _Forward)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class _Forward(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        content = self.server.prometheus.get(f"{self.path}&time={NOW.timestamp():.0f}").content
        if self.server.is_partial:
            document = json.loads(content)
            rows = document["data"]["result"]
            document["data"]["result"] = rows[: len(rows) // 2]
            content = json.dumps(document | {"warnings": ["a store did not answer"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def verdicts(history: History, condition: Condition, evidence: Evidence) -> list[Verdict]:
    """Return the verdict of a condition for each service."""
    rows = {name: len(names) if is_counted(history) else [*names] for name, names in history.roster.items()}
    services = parse_roster("".join(f'["{name}"]\ninstances = {json.dumps(row)}\n' for name, row in rows.items()))
    name, key = condition
    slot = {"moved": "current", "has-next": "next"}.get(name, "")
    expected = {each: key or getattr(history.expected[each.name], slot) for each in services}
    return [*judge(name, NAME, expected, evidence)]  # type: ignore[arg-type]


def found_by(url: str, history: History, query: str = "") -> Evidence | None:
    """Return the evidence, or `None` where the answer is not complete."""
    with contextlib.suppress(ManagerError):
        return queries.ask(url, selector=query or f'history="{history.seed}"', max_age=MAX_AGE)
    return None


def run(seeds: Sequence[int], directory: Path) -> tuple[Counter[str], list[tuple[Any, ...]]]:
    """Ask for every condition of every history. Return the numbers of verdicts, and the false all-clears."""
    counts, false = Counter[str](), list[tuple[Any, ...]]()
    scrapes = {}

    def lines() -> Iterator[str]:
        for seed in seeds:
            made = Scrapes(make_history(seed))
            yield from made.lines
            made.lines.clear()
            scrapes[seed] = made

    with prometheus(directory, lines()) as url:
        proxy = Proxy(url)
        for seed in seeds:
            history, proxy.is_partial = make_history(seed), seed % 50 == 7
            evidence = found_by(proxy.url, history)
            assert not (evidence and proxy.is_partial)
            counts["partial"] += proxy.is_partial
            is_alone = all(len(history.running(*who)) <= 1 for who in history.instances())
            for condition in history.conditions():
                found = verdicts(history, condition, evidence) if evidence else []
                failed = {each.service for each in found if not each.holds}
                for verdict in found:
                    of = history, verdict.service, condition
                    counts["asked"] += 1
                    counts["clear"] += verdict.holds
                    counts["true"] += (is_true := history.holds(verdict.service, condition))
                    counts["true, clear"] += is_true and verdict.holds
                    counts["true, one process each"] += is_true and is_alone
                    counts["true, one process each, clear"] += is_true and is_alone and verdict.holds
                    if verdict.holds and scrapes[seed].is_false(*of, failed):
                        false.append((seed, verdict.service, condition))
                    counts["clear, not true at once"] += verdict.holds and not is_true
        proxy.shutdown()
        proxy.server_close()
    return counts, false


@pytest.mark.parametrize("number", [pytest.param(20_000, marks=pytest.mark.full)])
def test_no_false_all_clear(number: int, tmp_path: Path) -> None:
    """No condition is said to hold that the truth does not allow, and most of the true ones are proven."""
    counts, false = run(range(number), tmp_path)
    print(number, dict(counts), false[:5])  # noqa: T201 - with -s
    assert false == []
    assert counts["true, one process each, clear"] >= 0.55 * counts["true, one process each"]
