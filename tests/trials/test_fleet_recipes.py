"""The recipes of logs.md and monitoring.md, from the lines of each collector to the events that `fleet` reads.

jq is the real one. The lines were recorded from the real collectors, and have the event of a real start.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from command_line import fingerprint_of
from conftest import free_port, marker, put
from pages import ROOT, Block, Workspace, is_output, parsed
from repositories import GIT, program

from robodj_secretguard.fleet.verdict import parse_roster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(not (GIT and shutil.which("jq")), reason="needs git and jq")

HERE: Final = "tests/trials/test_fleet_recipes.py"
BLOCKS: Final = [
    each
    for name in ("logs.md", "monitoring.md")
    for each in parsed((ROOT / "docs" / name).read_text(encoding="utf-8")).blocks
    if each.markers.get("tested") == HERE
]
DEPLOYMENT: Final = parsed((ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")).blocks
FUNCTION: Final = next(each.text for each in BLOCKS if each.text.startswith("events()"))
START: Final = """ROBODJ_SECRET_EVENTS="$PWD/own.jsonl" ROBODJ_SERVICE=claimed ROBODJ_INSTANCE=claimed-1 \\
    ROBODJ_SECRET_HEARTBEAT=300 \\
    python -c 'import os; from service_secrets import *; from robodj_secretguard import guard; guard(ServiceSecrets)
os._exit(0)'"""
"""A service that is killed, so that it does not say its end."""
ROSTER: Final = next(each.text for each in BLOCKS if each.language == "toml")
PROOF: Final = next(each.text for each in BLOCKS if "--events events.jsonl" in each.text).splitlines()
ANSWER: Final = next(each.text for each in BLOCKS if "PROVEN" in each.text)
UNREADABLE: Final = {"secret_event": "unreadable"}
SECOND: Final = '{"secret_event": "running", "service": "cut'
POD: Final = "./prod_api-0_6f1a7c1e-0001-4000-8000-000000000001/api/0.log:"
AT: Final = "2026-11-29T18:04:44.467985658Z"
BYTES: Final = [*b"listening \x1b[32mgreen\x1b[0m"]


def journal(text: object, **changes: Any) -> str:
    """Return a line of `journalctl --output=json` of systemd 257."""
    fields = {
        "__REALTIME_TIMESTAMP": "1795975507120558",
        "_TRANSPORT": "stdout",
        "_STREAM_ID": "77a696a22af943fbac4b225308814445",
        "_PID": "61",
        "SYSLOG_IDENTIFIER": "python3.11",
        "_HOSTNAME": "web-1",
        "_SYSTEMD_UNIT": "api.service",
        "MESSAGE": text,
    }
    return json.dumps({name: value for name, value in (fields | changes).items() if value or name == "MESSAGE"})


def json_file(text: str, end: str = "\n", **attrs: str) -> str:
    """Return a line of the json-file driver of Docker 26.1."""
    attrs = attrs or {"com.docker.compose.service": "api", "tag": "robodj-api-1"}
    return json.dumps({"log": text + end, "stream": "stdout", "attrs": attrs, "time": AT})


def relayed(text: str, **changes: str) -> str:
    """Return a line of rsyslog 8.2504."""
    return json.dumps({"host": "web-1", "service": "api", "message": f" {text}"} | changes)


def of_pod(text: str, tag: str = "F") -> str:
    """Return a line of a file of containerd 1.7."""
    return f"{POD}{AT} stdout {tag} {text}"


class Collector:
    """A collector.

    Args:
        word: what only its recipe has.
        line: returns the line that has the text of a program.
        labels: the names that it sets.
        unreadable: lines of which the last one may be an event that cannot be read. EVENT is an event.
        other: lines without an event.
    """

    def __init__(
        self, word: str, line: Callable[[str], str], labels: tuple[str, str], *, unreadable: Any = (), other: Any = ()
    ) -> None:
        self.block = next(each for each in (*BLOCKS, *DEPLOYMENT) if word in each.text)
        self.line, self.other = line, [line("GET / 200"), line(""), *other]
        self.labels = dict(zip(("service", "instance"), labels, strict=True))
        if "/" in labels[0]:
            self.labels = {"namespace": "prod"} | self.labels | {"service": "api"}
        self.unreadable = [[line(SECOND)], [line('["secret_event"]')], [line("noiseEVENT")], *unreadable]


COLLECTORS: Final = {
    "file": Collector("find /var/log/robodj", str, ("claimed", "claimed-1")),
    "compose": Collector("docker compose logs", str, ("claimed", "claimed-1")),
    "journald": Collector(
        "--unit=api",
        journal,
        ("api", "web-1"),
        unreadable=[
            [journal(None)],  # without --all
            [journal([*SECOND.encode()])],
            [journal([["two"], "messages"])],
            [journal("{}" + SECOND, _LINE_BREAK="line-max")],
            [journal("x", _LINE_BREAK="line-max"), journal("EVENT")],
            [journal("EVENT", _HOSTNAME="")],
            [journal("EVENT", _SYSTEMD_UNIT="")],
            [journal("EVENT")[:-9]],
        ],
        other=[journal(BYTES), journal("x", _STREAM_ID="1", _LINE_BREAK="line-max")],
    ),
    "rsyslog": Collector(
        "events rsyslog",
        relayed,
        ("api", "web-1"),
        unreadable=[[relayed("EVENT", host="")], [relayed("EVENT")[:-9]]],
    ),
    "docker": Collector(
        "docker/containers",
        json_file,
        ("api", "web-1/robodj-api-1"),
        unreadable=[
            [json_file("x" * 16384, ""), json_file("EVENT")],
            [json_file("EVENT", "")],
            [json_file("EVENT", tag="robodj-api-1")],
            [json_file("EVENT", **{"com.docker.compose.service": "api"})],
        ],
        other=[json_file("x", "", tag="robodj-api-2")],
    ),
    "kubectl": Collector(
        "kubectl logs",
        "[pod/api-0/api] {}".format,
        ("prod/api", "api-0"),
        unreadable=[["EVENT"], ["cut[pod/api-0/api] EVENT"], ["[pod/api-0/api] [pod/api-1/api] EVENT"]],
    ),
    "containerd": Collector(
        "events containerd",
        of_pod,
        ("prod/api", "api-0"),
        unreadable=[
            [of_pod("x" * 16384, "P"), of_pod("EVENT")],
            [of_pod("EVENT", "P")],
            [of_pod(f"./prod_api-1_6f1a7c1e/api/0.log:{AT} stdout F EVENT")],
            [f"{AT} stdout F EVENT"],
            [f"{AT} stdout F {POD}{AT} stdout F EVENT"],
        ],
        other=[of_pod("x", "P").replace("stdout", "stderr"), of_pod("x", "P").replace("api-0", "api-1")],
    ),
}


FILTERED: Final = [each for each in COLLECTORS if each != "file"]
"""The collectors with a filter. `fleet` itself reads the files of events."""


def event_of_start(workspace: Workspace) -> str:
    """Start the service of a workspace, and return its event as a line."""
    status, output = workspace.run(Block(0, "sh", START, {}))
    assert status == 0, output
    return (workspace.root / "own.jsonl").read_text(encoding="utf-8").rstrip()


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The event of a real start, as a line."""
    return event_of_start(Workspace(tmp_path_factory.mktemp("start")))


def collect(directory: Path, collector: Collector, lines: list[str], *, fails: bool = False) -> list[str]:
    """Run the recipe of a collector of one host which has these lines, and return the lines that `fleet` would read."""
    put(directory / "lines", "".join(f"{line}\n" for line in lines))
    script = "exit 1" if fails else f'[ "$1" = web-2 ] || [ "$1" = node-2 ] || cat {directory}/lines'
    for name in ("ssh", "kubectl", "docker"):
        program(directory / "bin" / name, script)
    function = FUNCTION.replace("examples/monitoring", str(ROOT / "examples" / "monitoring"))
    text = function + collector.block.text.replace("find /var/log -name 'robodj.jsonl*'", "find lines")
    environ = os.environ | {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-euc", text], cwd=directory, env=environ, check=True, timeout=60)
    return (directory / "events.jsonl").read_text(encoding="utf-8").splitlines()


def collected(directory: Path, collector: Collector, lines: list[str], *, fails: bool = False) -> list[dict[str, Any]]:
    """Return the events that `fleet` would read."""
    return [json.loads(line) for line in collect(directory, collector, lines, fails=fails)]


@pytest.mark.parametrize("name", FILTERED)
def test_labels_of_the_collector_name_the_instance(name: str, event: str, tmp_path: Path) -> None:
    """An event has the labels of its collector and its own fields. Other fields and other lines are left out."""
    collector, made = COLLECTORS[name], json.loads(event)
    extra = json.dumps({"level": "info", **made, "namespace": "forged", "timestamp": AT})
    lines = [collector.line(event), *collector.other, collector.line(extra)]
    found = collected(tmp_path, collector, lines)
    assert found == [made | collector.labels] * 2


@pytest.mark.parametrize("name", FILTERED)
def test_line_that_may_be_an_event_is_unreadable(name: str, event: str, tmp_path: Path) -> None:
    """A line that may be an event and cannot be read, or has a part of its labels only, is one that cannot be read."""
    collector = COLLECTORS[name]
    for case in collector.unreadable:
        lines = [each.replace("EVENT", json.dumps(event)[1:-1] if '"EVENT' in each else event) for each in case]
        (found,) = collected(tmp_path, collector, [collector.line(event), *lines])[1:]
        assert found in (UNREADABLE, UNREADABLE | {"reported_at": json.loads(event)["reported_at"]}), case


@pytest.mark.parametrize("name", FILTERED)
def test_cut_event_has_the_time_that_it_says(name: str, event: str, tmp_path: Path) -> None:
    """An event that was cut long ago blocks nothing. One whose time is that of another event may be of now."""
    old = re.sub(r'"reported_at": ?"[^"]+"', '"reported_at": "2026-01-01T00:00:00Z"', event)[:150]
    collector = COLLECTORS[name]
    assert collected(tmp_path, collector, [collector.line(old)]) == [
        UNREADABLE | {"reported_at": "2026-01-01T00:00:00Z"}
    ]
    for before in (old[:9], old[:40]):
        assert collected(tmp_path, collector, [collector.line(before + old)]) == [UNREADABLE]


@pytest.mark.parametrize("name", [each for each in COLLECTORS if each not in {"rsyslog", "compose"}])
def test_collector_that_fails_is_not_silent(name: str, tmp_path: Path) -> None:
    """A collector that fails is an event that cannot be read, for each host."""
    assert {json.dumps(each) for each in collected(tmp_path, COLLECTORS[name], [], fails=True)} == {
        json.dumps(UNREADABLE)
    }


def commanded(workspace: Workspace, command: str) -> tuple[int, str]:
    """Run a command of the page, with the words that stand for something replaced."""
    return workspace.run(workspace.substituted(Block(0, "sh", command, {})))


@pytest.mark.parametrize("name", ["file", *(pytest.param(each, marks=pytest.mark.full) for each in FILTERED)])
def test_events_of_each_collector_prove_the_roster(name: str, tmp_path: Path) -> None:
    """The events of a recipe prove the instances of a roster, until one line could not be read."""
    workspace, collector = Workspace(tmp_path), COLLECTORS[name]
    event = event_of_start(workspace)
    service, instance = collector.labels["service"], collector.labels["instance"]
    service = f"prod/{service}" if "namespace" in collector.labels else service
    put(workspace.root / "roster.toml", f'["{service}"]\ninstances = ["{instance}"]\n')
    command = next(each for each in PROOF if "--events" in each)
    for lines, proven in (([event], True), ([event, SECOND], False)):
        collect(workspace.root, collector, [collector.line(each) for each in lines])
        status, output = commanded(workspace, command)
        assert (status, "moved: proven for every service." in output) == (int(not proven), proven), output


def test_answer_of_the_page_is_that_of_a_fleet_with_a_silent_instance(tmp_path: Path) -> None:
    """The answer of the page is that of its roster, where one instance is silent and one has not moved."""
    workspace, previous = Workspace(tmp_path), secrets.token_urlsafe(32)
    own = json.loads(event_of_start(workspace))
    key, until = fingerprint_of(previous), marker(timedelta(days=3), now=datetime.now(UTC))
    more = {"ROBODJ_SECRET_KEY_PREVIOUS": previous, "ROBODJ_SECRET_KEY_PREVIOUS_UNTIL": until}
    for name, value in more.items():
        put(tmp_path / "manager" / name, value)
    pods = ["api-7c9d8b6f5d-x2k4q", *map("api-7c9d8b6f5d-{}".format, range(38)), "api-7c9d8b6f5d-z8lkm"]
    names = "\n".join(f'  "{each}",' for each in pods)
    put(workspace.root / "roster.toml", ROSTER.replace("= 40 ", f"= [\n{names}\n] ").replace('from = ["vault', "# "))
    who = [("scheduler", f"web-{number}:9464") for number in (1, 2)] + [("prod/api", each) for each in pods[1:]]
    lines = [own | {"service": service, "instance": instance} for service, instance in who]
    lines[-1] = json.loads(json.dumps(lines[-1]).replace(own["secrets"]["secret.key"]["current"], key))
    put(workspace.root / "events.jsonl", "".join(f"{json.dumps(each)}\n" for each in lines))
    command = next(each for each in PROOF if "--events" in each)
    status, output = commanded(workspace, f"{command} --secret secret.key")
    assert (status, is_output(ANSWER, output)) == (1, True), output


def test_prometheus_that_does_not_answer_proves_nothing(tmp_path: Path) -> None:
    """The command for Prometheus is valid, and a server that does not answer has status 75."""
    workspace, token = Workspace(tmp_path), secrets.token_urlsafe(16)
    put(workspace.root / "roster.toml", "[api]\ninstances = 3\n")
    put(workspace.root / "token", token)
    command = next(each for each in PROOF if "--prometheus" in each)
    status, output = commanded(workspace, command.replace("prometheus.example", f"127.0.0.1:{free_port()}"))
    assert status == 75, output


def test_timer_writes_what_is_delivered_and_which_starts_were_refused(tmp_path: Path) -> None:
    """The block of the timers writes both files, also where the log was never rotated."""
    workspace = Workspace(tmp_path)
    refused = START.replace("own.jsonl", "events.jsonl").replace(
        " \\\n", " ROBODJ_SECRET_KEY=changeme ROBODJ_ENVIRONMENT=prod \\\n"
    )
    assert workspace.run(Block(0, "sh", refused, {}))[0] == 3
    text = next(each.text for each in BLOCKS if "refused_starts.sh" in each.text)
    script = ROOT / "examples" / "monitoring" / "refused_starts.sh"
    for old, new in {"/var/log/robodj/": "", "/var/lib/robodj/": "", "refused_starts.sh": str(script)}.items():
        text = text.replace(old, new)
    status, output = commanded(workspace, f'export TEXTFILES="$PWD"\n{text}')
    assert status == 0, output
    delivered, starts = (
        (workspace.root / f"robodj_{each}.prom").read_text(encoding="utf-8") for each in ("api", "starts")
    )
    assert 'service="prod/api"' in delivered
    labels = 'service="claimed",robodj_environment="prod",instance="claimed-1",checks="secret.key: placeholder"'
    assert f"robodj_secret_start_refused{{{labels}}} 1" in starts


def test_roster_of_a_cluster_has_its_pods(tmp_path: Path) -> None:
    """The roster that kubectl makes has the pods of a service."""
    pods = {"items": [{"metadata": {"name": f"api-{number}"}} for number in range(2)]}
    put(tmp_path / "pods.json", json.dumps(pods))
    program(tmp_path / "bin" / "kubectl", f"cat {tmp_path}/pods.json")
    text = next(each.text for each in BLOCKS if "kubectl get pods" in each.text)
    environ = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-euc", text], cwd=tmp_path, env=environ, check=True, timeout=60)
    (service,) = parse_roster((tmp_path / "roster.toml").read_text(encoding="utf-8"))
    assert (service.name, service.instances) == ("prod/api", ("api-0", "api-1"))


def test_every_block_that_says_so_is_tested() -> None:
    """No block of the pages is only said to be tested."""
    others = [FUNCTION, ROSTER, ANSWER, "\n".join(PROOF)]
    words = ["refused_starts.sh", "kubectl get pods"]
    tested = [*(each.block.text for each in COLLECTORS.values()), *others]
    untested = [each for each in BLOCKS if each.text.rstrip() not in {text.rstrip() for text in tested}]
    assert [each.line for each in untested if not any(word in each.text for word in words)] == []
