"""The lines of log collectors. Each was recorded from the real program, or is that of its documentation."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
from conftest import good_keys

from robodj_secretguard import check
from robodj_secretguard.fleet.evidence import MOST_LINE_BYTES, lines_of, parse_event
from robodj_secretguard.heartbeat import event_of

if TYPE_CHECKING:
    from collections.abc import Callable

NOW: Final = datetime.now(UTC)
EVENT: Final = event_of("started", check(environ=good_keys()), "app.secrets:Secrets") | {
    "service": "claimed",
    "instance": "claimed-1",
    "started_at": "2026-11-27T14:20:45Z",
    "reported_at": "2026-11-27T14:20:45Z",
}
LINE: Final = json.dumps(EVENT)
AT: Final = "2026-11-27T14:20:45.076073474Z"
SECONDS: Final = datetime(2026, 11, 27, 14, 20, 45, 76073, UTC).timestamp()
POD: Final = {"pod_name": "backend-7c9d8b6f5d-x2k4q", "namespace_name": "prod", "container_name": "backend"}
UNIT: Final = {
    "__REALTIME_TIMESTAMP": "1795789245076073",
    "_HOSTNAME": "web-1",
    "_SYSTEMD_UNIT": "robodj.service",
    "_TRANSPORT": "stdout",
    "SYSLOG_IDENTIFIER": "python",
}
DOCKER: Final = UNIT | {
    "_SYSTEMD_UNIT": "docker.service",
    "_COMM": "dockerd",
    "_TRANSPORT": "journal",
    "CONTAINER_NAME": "robodj-backend-1",
    "CONTAINER_ID": "0bf0e705ae1d",
    "CONTAINER_TAG": "0bf0e705ae1d",
    "SYSLOG_TIMESTAMP": AT,
}
COMPOSE: Final = "com.docker.compose.service"
JSON_FILE: Final = {"stream": "stdout", "time": AT}
TAGGED: Final = {"tag": "robodj-worker-1", COMPOSE: "worker", "com.docker.compose.project": "robodj"}
UNIT_LABELS: Final = {"host": "web-1", "unit": "robodj.service"}
VECTOR: Final = {"timestamp": AT, "host": "web-1"}
VECTOR_POD: Final = VECTOR | {"source_type": "kubernetes_logs", "stream": "stdout", "kubernetes": POD}
VECTOR_UNIT: Final = VECTOR | {"source_type": "journald", "_SYSTEMD_UNIT": "robodj.service"}
FLUENT_BIT: Final = JSON_FILE | {"date": SECONDS, "_p": "F", "kubernetes": POD}
RSYSLOG: Final = {"hostname": "web-9", "fromhost": "web-1", "programname": "api", "timegenerated": AT}
CLAIM: Final = ("claimed", "claimed-1")

Object = dict[str, Any]


def holds(field: str, others: Object) -> Callable[[str], Object]:
    """Return a collector that keeps the line in a field."""
    return lambda line: {**others, field: line}


# By what sends it: an object or the begin of a line, and the instance.
OBJECTS: Final[dict[str, tuple[Callable[[str], Object], tuple[str, str]]]] = {
    "journalctl -o json": (holds("MESSAGE", UNIT), ("robodj", "web-1")),
    "journalctl, a scope": (
        holds("MESSAGE", UNIT | {"_SYSTEMD_UNIT": "session-1.scope"}),
        ("session-1.scope", "web-1"),
    ),
    "docker journald": (holds("MESSAGE", DOCKER), ("claimed", "web-1/robodj-backend-1")),
    "docker journald, with labels": (
        holds("MESSAGE", DOCKER | {"COM_DOCKER_COMPOSE_SERVICE": "backend"}),
        ("backend", "web-1/robodj-backend-1"),
    ),
    "docker json-file": (lambda line: holds("log", JSON_FILE)(f"{line}\n"), CLAIM),
    "docker json-file, stderr": (holds("log", JSON_FILE | {"stream": "stderr"}), CLAIM),
    "docker json-file, a tag": (
        holds("log", JSON_FILE | {"attrs": {"tag": "robodj-worker-1"}}),
        ("claimed", "robodj-worker-1"),
    ),
    "docker json-file, a tag and labels": (holds("log", JSON_FILE | {"attrs": TAGGED}), ("worker", "robodj-worker-1")),
    "Fluent Bit, Kubernetes": (holds("log", FLUENT_BIT), ("backend", POD["pod_name"])),
    "Fluent Bit, Merge_Log": (lambda _: {**EVENT, **FLUENT_BIT}, ("backend", POD["pod_name"])),
    "Fluent Bit, Merge_Log and Keep_Log": (
        lambda line: {"log": line, **EVENT, **FLUENT_BIT},
        ("backend", POD["pod_name"]),
    ),
    "Fluent Bit, systemd": (holds("MESSAGE", UNIT | {"date": SECONDS}), ("robodj", "web-1")),
    "Vector, Kubernetes": (holds("message", VECTOR_POD), ("backend", POD["pod_name"])),
    "Vector, journald": (holds("message", VECTOR_UNIT), ("robodj", "web-1")),
    "rsyslog": (lambda line: holds("msg", RSYSLOG | {"inputname": "imuxsock"})(f" {line}"), ("claimed", "web-1")),
    "Loki, Kubernetes": (
        holds("line", {"labels": {"pod": "backend-0", "container": "backend", "namespace": "prod"}, "timestamp": AT}),
        ("backend", "backend-0"),
    ),
    "Loki, Docker": (
        holds(
            "line", {"labels": {"host": "web-1", "container_name": "r-1", "compose_service": "worker"}, "timestamp": AT}
        ),
        ("worker", "web-1/r-1"),
    ),
    "Loki, journald": (
        holds("line", {"labels": UNIT_LABELS, "timestamp": AT}),
        ("robodj", "web-1"),
    ),
    "Loki, other labels": (
        holds("line", {"labels": {"instance": "web-1:80", "job": "api"}, "timestamp": AT}),
        ("api", "web-1:80"),
    ),
}
PREFIXES: Final = {
    "the events file": ("", CLAIM),
    "docker logs -t": (f"{AT} ", CLAIM),
    "a file of the container runtime": (f"{AT} stdout F ", CLAIM),
    "the same one, in another time zone": ("2026-11-27T15:20:45.076073474+01:00 stderr F ", CLAIM),
    "kubectl logs --prefix": ("[pod/backend-7c9d8b6f5d-x2k4q/backend] ", ("backend", POD["pod_name"])),
    "kubectl logs --prefix --timestamps": (
        f"[pod/backend-7c9d8b6f5d-x2k4q/backend] {AT} ",
        ("backend", POD["pod_name"]),
    ),
    "docker compose logs --no-color": ("backend-1  | ", ("backend", "backend-1")),
    "docker compose logs -t --no-color, in a pipe": (f"\x1b[2Kbackend-12  | {AT} ", ("backend", "backend-12")),
    "docker compose logs": ("\x1b[36mbackend-1  | \x1b[0m", ("backend", "backend-1")),
    "docker compose logs, a name of its own": ("radio  | ", ("radio", "radio")),
}


def who(line: str | Object) -> tuple[str, str] | None:
    """Return the instance in a line."""
    evidence = parse_event((line if isinstance(line, str) else json.dumps(line)).encode())
    return evidence.who if evidence else None


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_of_a_collector(name: str) -> None:
    """The collector's labels name the instance, and the collector's time counts."""
    make, expected = OBJECTS[name]
    evidence = parse_event(json.dumps(make(LINE)).encode())
    assert evidence is not None
    assert (evidence.who, evidence.oldest, round(evidence.newest - SECONDS, 3)) == (expected, int(SECONDS), 0)


@pytest.mark.parametrize("name", PREFIXES)
def test_the_begin_of_a_line(name: str) -> None:
    """What a collector puts before the line names the instance, and its time counts."""
    begin, expected = PREFIXES[name]
    evidence = parse_event(f"{begin}{LINE}\n".encode())
    assert evidence is not None
    newest = SECONDS if "T1" in begin else int(SECONDS)
    assert (evidence.who, evidence.oldest, round(evidence.newest - newest, 3)) == (expected, int(SECONDS), 0)


OTHER: Final = {
    **UNIT,
    **RSYSLOG,
    "inputname": "imuxsock",
    "host": "web-2",
    "_HOSTNAME": "web-2",
    "_SYSTEMD_UNIT": "docker.service",
    "CONTAINER_NAME": "other-1",
    "COM_DOCKER_COMPOSE_SERVICE": "other",
    "stream": "stdout",
    "attrs": {"tag": "other-1", COMPOSE: "other"},
    "kubernetes": {"pod_name": "other-1", "container_name": "other"},
    "labels": {"pod": "other-1", "container": "other", "host": "web-2", "unit": "other.service"},
    "service": "other",
    "instance": "other-1",
}
"""The labels of every collector, as a program writes them into its own line."""
FORGED: Final = {
    "an event with labels": lambda: json.dumps(EVENT | OTHER),
    "an object of a collector": lambda: json.dumps(OTHER | {"log": LINE, "MESSAGE": LINE, "line": LINE}),
    "an object in an object": lambda: json.dumps({"log": json.dumps(OTHER | {"log": LINE})}),
    "the begin of a line of kubectl": lambda: f"[pod/other-1/other] {LINE}",
    "the begin of a line of compose": lambda: f"other-1  | {LINE}",
    "a time and the begin of a line": lambda: f"{AT} stdout F other-1  | {LINE}",
    "a text before it": lambda: f"INFO {LINE}",
    "a message with what a client sent": lambda: json.dumps({"event": "POST", "message": LINE, "log": LINE}),
    "a field twice": lambda: LINE[:-1] + ', "service": "other"}',
    "a field twice, at another place": lambda: LINE.replace('"secret": "secret.key"', '"secret": "a", "secret": "b"'),
}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("name", [*OBJECTS, *PREFIXES])
def test_a_program_is_no_other_instance(name: str, forged: str) -> None:
    """Whatever a program writes, the line is of its own instance or invalid, where the collector names the instance."""
    line = FORGED[forged]()
    if name in PREFIXES:
        begin, expected = PREFIXES[name]
        found = who(begin + line)
    else:
        make, expected = OBJECTS[name]
        found = who(make(line)) if "Merge_Log" not in name else None
    if "claimed" not in expected:
        assert found in {None, expected}
    elif found and expected != CLAIM:  # only the instance has a label
        assert found[1] == expected[1]


def test_what_a_program_writes_is_an_event_or_nothing() -> None:
    """No event is searched for in a text, a message or another object: it may be what a client has sent."""
    for forged in sorted(FORGED.keys() - {"an event with labels"}):
        assert who(holds("MESSAGE", UNIT)(FORGED[forged]())) is None, forged
        assert who(f"backend-1 | {FORGED[forged]()}") is None, forged


@pytest.mark.parametrize("field", ["CONTAINER_NAME", "COM_DOCKER_COMPOSE_SERVICE", "service", "labels", "attrs"])
def test_a_field_of_the_journal_that_a_program_sets(field: str) -> None:
    """In the journal, a program can set each field that does not begin with _. It stays its own unit."""
    assert who(UNIT | {"MESSAGE": LINE, field: "other-1"}) == ("robodj", "web-1")


def test_fields_of_a_program_among_those_of_its_collector() -> None:
    """Fluent Bit adds the fields of an event before its labels. Any other such object is invalid."""
    forged = json.dumps({**EVENT, **FLUENT_BIT}).replace("{", '{"kubernetes": {"pod_name": "other-1"}, ', 1)
    assert who(forged) is None
    assert who({**EVENT, **FLUENT_BIT, **OTHER, "kubernetes": POD}) == ("backend", POD["pod_name"])
    for name in ("journalctl -o json", "docker json-file, a tag", "Loki, journald", "rsyslog"):
        make, _ = OBJECTS[name]
        assert who({**make(LINE), **EVENT}) is None


def test_labels_that_have_fields_of_the_program() -> None:
    """A query of Loki that parses the lines adds their fields to the labels. Then no label counts."""
    labels = {
        "host": "web-1",
        "unit": "robodj.service",
        "pod": "other-1",
        "container": "other",
        "secret_event": "started",
    }
    assert who({"labels": labels, "line": LINE}) is None


@pytest.mark.parametrize(
    "line",
    [
        UNIT | {"MESSAGE": [*LINE.encode()]},
        {name: value for name, value in UNIT.items() if name != "_SYSTEMD_UNIT"} | {"MESSAGE": LINE},
        {"labels": {"app": "robodj"}, "line": LINE},
        {"labels": "robodj", "line": LINE},
        JSON_FILE | {"log": LINE, "attrs": {"tag": 5}, "stream": 1},
        UNIT | {"_HOSTNAME": "a b", "MESSAGE": LINE},
        UNIT | {"MESSAGE": f"[{LINE}]"},
        f"[{LINE}]",
        f"[pod/\x80/backend] {LINE}",
        f"secret_event {LINE}",
        "secret_event",
        LINE[:-1],
    ],
)
def test_a_line_of_no_instance(line: str | Object) -> None:
    """A line without the labels that its collector should have is invalid. So is one that is damaged."""
    assert who(line) is None


def test_a_part_of_a_line_is_no_line() -> None:
    """A program cannot begin a line of another instance where a long line of its own is cut."""
    begin = b"backend-1  | "
    cut = begin + b"x" * (MOST_LINE_BYTES - len(begin)) + f"other-1  | {LINE}\n".encode()
    read = [parse_event(each) for each in lines_of(io.BytesIO(cut + begin + LINE.encode()))]
    assert [each and each.who for each in read] == [("backend", "backend-1")]
