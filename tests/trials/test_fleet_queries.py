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
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from conftest import NOW, TIMEOUT, free_port
from fleets import COMING, NAME, NEW, OLD
from histories import make_history, make_lines
from test_fleet_histories import evidence_of

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.fleet import queries
from robodj_secretguard.fleet.queries import SKEW
from robodj_secretguard.fleet.roster import Service
from robodj_secretguard.fleet.verdict import HAS_NEXT, MOVED, UNPROVEN, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from histories import Condition, History

    from robodj_secretguard.fleet.verdict import Evidence, Verdict

MAX_AGE = 120
LOOKBACK = 300
"""How long Prometheus shows a sample without another one."""
PARTIAL = 7
"""Of fifty histories, the one whose answer is not complete."""
pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="not installed: prometheus (a Debian package)")


def scrape(
    labels: str, age: int, keys: Slots | None = None, process: str = "1-a", processes: int | None = 1
) -> Iterator[str]:
    """Yield the samples of a scrape, as promtool reads them.

    Args:
        labels: those of the target.
        age: how long before the verdict it was.
        keys: of `secret.key`; `None` for a scrape that failed.
        process: the identity of the process.
        processes: how many it says there are; `None` where it does not say so.
    """
    at, own = f"{NOW.timestamp() - age:.0f}", f'{labels},process="{process}"'
    yield f"up{{{labels}}} {keys is not None:d} {at}\n"
    if keys and processes is not None:
        yield f"robodj_secret_processes{{{own}}} {processes} {at}\n"
    if keys and keys.previous_until:
        name = "robodj_secret_previous_until_timestamp_seconds"
        yield f'{name}{{{labels},secret="{NAME}"}} {keys.previous_until.timestamp():.0f} {at}\n'
    for slot in ("current", "next", "previous") if keys else ():
        if key := getattr(keys, slot):
            yield f'robodj_secret_info{{{own},secret="{NAME}",slot="{slot}",fingerprint="{key}"}} 1 {at}\n'


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
                if not running or history.is_out(service, instance, age) or random.random() < loss:
                    self.lines += scrape(labels, age)
                else:
                    process = running[0] if is_sticky else random.choice(running)
                    self.lines += scrape(labels, age, process.keys_at(age), process.name, len(running))

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
def prometheus(directory: Path, lines: Iterable[str]) -> Iterator[str]:
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

    def server_close(self) -> None:
        """Close both connections."""
        super().server_close()
        self.prometheus.close()


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


def verdicts(
    history: History, condition: Condition, evidence: Evidence | None, *, is_counted: bool = False
) -> list[Verdict]:
    """Return the verdict of a condition for each service; nothing without evidence."""
    name, key = condition
    slot = {MOVED: "current", HAS_NEXT: "next"}.get(name, "")
    expected = {
        Service(service, len(names) if is_counted else names): key or getattr(history.expected[service], slot)
        for service, names in history.roster.items()
    }
    return [*judge(name, NAME, expected, evidence)] if evidence else []  # type: ignore[arg-type]


def asked(seeds: Sequence[int], directory: Path) -> Iterator[tuple[History, Scrapes, Evidence | None]]:
    """Yield each history with its scrapes and the evidence: `None` where the answer was not complete."""
    scrapes = {}

    def lines() -> Iterator[str]:
        for seed in seeds:
            scrapes[seed] = made = Scrapes(make_history(seed))
            yield from made.lines
            made.lines.clear()

    with prometheus(directory, lines()) as url, Proxy(url) as proxy:
        for seed in seeds:
            evidence, proxy.is_partial = None, seed % 50 == PARTIAL
            with contextlib.suppress(ManagerError):
                evidence = queries.ask(proxy.url, selector=f'history="{seed}"', max_age=MAX_AGE)
            yield make_history(seed), scrapes[seed], evidence
        proxy.shutdown()


T = 'job="api",instance="web-1"'
"""The labels of a target."""
EACH = range(420, 0, -30)
"""When it was scraped."""


def series(labels: str, *keys: Slots | None, **more: Any) -> list[str]:
    """Return the scrapes of a target: the last ones with these keys, and the earlier ones with the first of them."""
    every = [*[keys[0]] * (len(EACH) - len(keys)), *keys]
    return [line for age, of in zip(EACH, every, strict=True) for line in scrape(labels, age, of, **more)]


FRESH, EARLIER, OVER = "fresh", "earlier", Slots(NEW, None, OLD, NOW - timedelta(seconds=SKEW))
LOST, SEVERAL = "its target is down", "it has several processes"
CASES: dict[str, tuple[list[str], list[tuple[str, Slots]], str]] = {
    "one process": (series(T, Slots(NEW, COMING)), [(FRESH, Slots(NEW, COMING))], ""),
    "a label of the user": (series(f'{T},zone="a b"', Slots(NEW)), [(FRESH, Slots(NEW))], ""),
    "a switch within the age": (
        series(T, Slots(OLD, NEW), Slots(NEW), Slots(NEW), Slots(NEW)),
        [(FRESH, Slots(NEW)), (EARLIER, Slots(OLD)), (EARLIER, Slots(NEW, NEW))],
        "",
    ),
    "a switch before": (series(T, Slots(OLD, NEW), *[Slots(NEW)] * 5), [(FRESH, Slots(NEW))], ""),
    "a deadline that is over": (series(T, OVER), [(FRESH, OVER)], ""),
    "a deadline that is not over": (
        series(T, Slots(NEW, None, OLD, NOW - timedelta(seconds=SKEW - 1))),
        [(FRESH, Slots(NEW, None, OLD))],
        "",
    ),
    "the last scrape failed": (series(T, Slots(NEW), None), [(EARLIER, Slots(NEW))], LOST),
    "it is down": (series(T, Slots(NEW), *[None] * 9) + series('job="api",instance="b"', Slots(NEW)), [], LOST),
    "a failed scrape before": (series(T, Slots(NEW), None, Slots(NEW)), [(FRESH, Slots(NEW))], ""),
    "not scraped any more": ([*scrape(T, 150, Slots(NEW)), *scrape(T, 121, Slots(NEW))], [], ""),
    "scraped at the end of the age": ([*scrape(T, 119, Slots(NEW))], [(FRESH, Slots(NEW))], ""),
    "without up": ([line for line in series(T, Slots(NEW)) if line[:2] != "up"], [(EARLIER, Slots(NEW))], ""),
    "started again": (
        [*scrape(T, 90, Slots(NEW), "1-a"), *scrape(T, 60, Slots(NEW), "2-b"), *scrape(T, 30, Slots(NEW), "2-b")],
        [(EARLIER, Slots(NEW))],
        SEVERAL,
    ),
    "started again before": (
        [*scrape(T, 121, Slots(OLD), "1-a"), *scrape(T, 60, Slots(NEW), "2-b"), *scrape(T, 30, Slots(NEW), "2-b")],
        [(FRESH, Slots(NEW))],
        "",
    ),
    "has workers": (series(T, Slots(NEW), processes=2), [(EARLIER, Slots(NEW))], SEVERAL),
    "cannot see workers": (series(T, Slots(NEW), processes=0), [(EARLIER, Slots(NEW))], SEVERAL),
    "does not say its workers": (series(T, Slots(NEW), processes=None), [(EARLIER, Slots(NEW))], ""),
    "two targets": (
        series(f'{T},replica="a"', Slots(NEW)) + series(f'{T},replica="b"', Slots(NEW)),
        [(EARLIER, Slots(NEW))],
        LOST,
    ),
    "two targets, of which one is down": (
        series(f'{T},replica="a"', Slots(NEW)) + series(f'{T},replica="b"', None),
        [(EARLIER, Slots(NEW))],
        LOST,
    ),
    "without an identity": (
        [line.replace('process="1-a",', "") for line in series(T, Slots(NEW))],
        [],
        "",
    ),
    "a target without keys": (
        [*series('job="api",instance="b"', Slots(NEW)), f"up{{{T}}} 1 {NOW.timestamp() - 9:.0f}\n"],
        [],
        LOST,
    ),
    "nothing": ([], [], ""),
}
"""The samples, the keys of `web-1` that are found in them, and the beginning of why it is unknown."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with the samples of each case, which its label names."""
    lines = [line.replace("{", f'{{case="{name}",', 1) for name, (its, _, _) in CASES.items() for line in its]
    with prometheus(tmp_path_factory.mktemp("cases"), lines) as url, Proxy(url) as proxy:
        yield proxy.url
        proxy.shutdown()


@pytest.mark.parametrize("name", CASES)
def test_the_query(cases: str, name: str) -> None:
    """A real Prometheus finds which keys are fresh, which ones were used before, and what is unknown."""
    _, uses, why = CASES[name]
    found = queries.ask(cases, selector=f'case="{name}"', max_age=MAX_AGE)
    own = [each for each in found.uses if each.instance == "web-1"]
    assert [(FRESH if each.is_fresh else EARLIER, each.keys[NAME]) for each in own] == uses
    unknown = found.unknown.get(("api", "web-1"), "")
    assert unknown.startswith(why)
    assert bool(unknown) is bool(why)


def test_one_of_two_replicas(cases: str) -> None:
    """Labels of the user select one of two Prometheus servers, in a store that has the series of both."""
    found = queries.ask(cases, selector='case="two targets",replica="b"', max_age=MAX_AGE)
    assert [(each.is_fresh, each.keys[NAME]) for each in found.uses] == [(True, Slots(NEW))]
    assert found.unknown == {}


@pytest.mark.full
def test_no_false_all_clear(tmp_path: Path) -> None:
    """No condition is said to hold that the truth does not allow, and most of the true ones are proven.

    Where an instance has several processes, the answer is always that it is unknown.
    """
    counts, false = Counter[str](), []
    for history, scrapes, evidence in asked(range(20_000), tmp_path):
        counts["partial"] += history.seed % 50 == PARTIAL
        assert (evidence is None) == (history.seed % 50 == PARTIAL)
        is_alone = all(len(history.running(*who)) <= 1 for who in history.instances())
        for condition in history.conditions():
            found = verdicts(history, condition, evidence, is_counted=is_counted(history))
            failed = {each.service for each in found if not each.holds}
            for each in found:
                is_true = history.holds(each.service, condition)
                counts["asked"] += 1
                counts["clear"] += each.holds
                counts["true"] += is_true
                counts["true, clear"] += is_true and each.holds
                counts["true, one process each"] += is_true and is_alone
                counts["true, one process each, clear"] += is_true and is_alone and each.holds
                if each.holds and scrapes.is_false(history, each.service, condition, failed):
                    false.append((history.seed, each.service, condition))
    print(dict(counts), false[:5])  # noqa: T201 - with -s
    assert false == []
    assert counts["true, one process each, clear"] >= 0.55 * counts["true, one process each"]


def standing(history: History, condition: Condition, evidence: Evidence | None, service: str, failed: set[str]) -> str:
    """Return what a reader says about a service: it is proven, a recent use is against it, or it is unknown."""
    if evidence and service not in failed:
        return "proven"
    recent = evidence and evidence._replace(uses=tuple(use for use in evidence.uses if use.is_fresh))
    why = [
        text
        for each in verdicts(history, condition, recent)
        if each.service == service
        for text in each.not_ready.values()
    ]
    return "unknown" if all(text.startswith(UNPROVEN) for text in why) else "against"


@pytest.mark.full
def test_both_readers_agree(tmp_path: Path) -> None:
    """Where one reader proves a condition, and a recent event or sample is against it, no process is any more.

    Otherwise, a process has changed its keys since it was scraped last.
    """
    counts, false = Counter[str](), []
    for history, scrapes, samples in asked(range(1000), tmp_path):
        events = evidence_of(make_lines(history))
        for condition in history.conditions():
            failed = [
                {each.service for each in verdicts(history, condition, of) if not each.holds}
                for of in (samples, events)
            ]
            for service in history.roster:
                said = [
                    standing(history, condition, of, service, its)
                    for of, its in zip((samples, events), failed, strict=True)
                ]
                counts[f"samples {said[0]}, events {said[1]}"] += 1
                if {*said} == {"proven", "against"}:
                    is_over = not history.against(service, condition)
                    counts["one is over" if is_over else "changed since the last scrape"] += 1
                    if not is_over and (
                        said[1] == "proven" or scrapes.is_false(history, service, condition, failed[0])
                    ):
                        false.append((history.seed, service, condition, said))
    print(dict(counts), false[:5])  # noqa: T201 - with -s
    assert false == []
