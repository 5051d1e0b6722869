"""What events and the answer of Prometheus prove together. tests/trials/test_fleet_queries.py has the query itself."""

from __future__ import annotations

import contextlib
import io
import json
import ssl
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs

import pytest
from conftest import NOW, V1, good_keys, put
from detector import leaks
from fleets import COMING, GONE, MINUTE, NAME, NEW, OLD, OTHER, SECOND, SEEN, WEB, Prometheus, event, line, row
from hypothesis import given, settings
from hypothesis import strategies as st
from openbao import LOOPBACK, Authority
from rings import traceback_of

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.fleet import evidence as module
from robodj_secretguard.fleet.evidence import (
    MOST_LINE_BYTES,
    EventReader,
    ask,
    evidence_in,
    is_address,
    is_selector,
    read_token,
)
from robodj_secretguard.fleet.verdict import Evidence, Use
from robodj_secretguard.running.heartbeat import EventKind
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import iso_utc

MAX_AGE = 900
AGE, SKEW = timedelta(seconds=MAX_AGE), timedelta(seconds=MAX_AGE // 3)
AT = NOW.timestamp()
KEYS = {"current": OLD, "next": None, "previous": None, "previous_until": None}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=5,
)


def read(*lines: bytes) -> Evidence:
    """Return what lines show at `NOW`."""
    reader = EventReader(NOW, MAX_AGE)
    reader.read(io.BytesIO(b"".join(lines)))
    return reader.evidence()


def uses(*lines: bytes) -> Sequence[Use]:
    """Return the keys in use by valid lines."""
    found = read(*lines)
    assert found.faults == ()
    return found.uses


def without(name: str) -> bytes:
    """Return an event without a field."""
    return json.dumps({field: value for field, value in event().items() if field != name}).encode()


class TestLines:
    """Which lines are events."""

    def test_an_event(self) -> None:
        """An event says which keys a process of an instance uses. A line of blanks says nothing.

        The verdict has its time and the difference between clocks: deadlines must have passed on every clock.
        """
        keys = Slots(NEW, None, OLD, NOW)
        found = read(b"\n \r\n", line(keys=keys)[:-1])
        use = Use(*WEB, {NAME: keys, OTHER: found.uses[0].keys[OTHER]}, is_fresh=True, seen=AT)
        assert found == Evidence(AT, (use,), {}, (), 300)

    def test_a_namespace(self) -> None:
        """A service is named with its namespace: two of one name are two services."""
        found = uses(line(), line(namespace="eu"), line(namespace="us"))
        assert [use.service for use in found] == ["api", "eu/api", "us/api"]

    @pytest.mark.parametrize("kind", get_args(EventKind))
    def test_kinds(self, kind: str) -> None:
        """Each kind of event that the guard sends is read. A refused start and an ended process use no key."""
        assert len(uses(line(kind=kind))) == (kind not in {"refused", "ended"})

    @pytest.mark.parametrize("name", sorted({*event()} - {"environment"}))
    def test_a_field_that_is_absent(self, name: str) -> None:
        """An event has each field of the guard's events. Those of before have no environment."""
        assert read(without(name)).faults

    @pytest.mark.parametrize(
        "changes",
        [
            {"secret_event": "unreadable"},
            {"secret_event": ["running"]},
            {"message": "x"},
            {"service": "a b"},
            {"service": None},
            {"instance": "x" * 121},
            {"instance": 5},
            {"namespace": ""},
            {"process": ""},
            {"process": "x" * 101},
            {"number": "1"},
            {"number": True},
            {"number": -1},
            {"number": 10**6000},
            {"reported_at": "2026-12-01T12:00:00"},
            {"reported_at": "9999-12-31T23:59:59-23:00"},
            {"started_at": None},
            {"heartbeat_seconds": 86401},
            {"heartbeat_seconds": -1},
            {"heartbeat_seconds": "60"},
            {"checks": ["a\tb"]},
            {"checks": [good_keys()[V1]]},
            {"environment": "PROD"},
            {"environment": "a\nb"},
            {"secrets": []},
            {"secrets": {"a key": KEYS}},
            {"secrets": {NAME: KEYS | {"current": ""}}},
            {"secrets": {NAME: KEYS | {"current": OLD.upper()}}},
            {"secrets": {NAME: KEYS | {"next": f"{OLD}0"}}},
            {"secrets": {NAME: KEYS | {"previous_until": "soon"}}},
            {"secrets": {NAME: KEYS | {"state": "present"}}},
        ],
    )
    def test_an_invalid_field(self, changes: dict[str, Any]) -> None:
        """A line with an invalid field, or with another one, is no event, as a program may have made it."""
        text = json.dumps(event() | {"number": 0} | {k: v for k, v in changes.items() if v != 10**6000})
        if changes.get("number") == 10**6000:
            text = text.replace('"number": 0', f'"number": {"9" * 6000}')
        (fault,) = read(text.encode()).faults
        assert fault.removesuffix(", of api/web-1") == "1 line could not be read as an event, first line 1"

    @pytest.mark.parametrize(
        "content",
        [
            line()[:-20],
            b'{"secret_event": "runn',
            b'{"secret_event":"unreadable"}',
            b"null",
            b"5",
            b"[" * 60_000,
            b"\xff" + line(),
            b"GET /" + line(),
            line()[:-1] + b" 404",
            line()[:-1] + line(),
            json.dumps([event()]).encode(),
            json.dumps({"message": line().decode()}).encode(),
            json.dumps({"log": event(), "instance": "web-1"}).encode(),
            b'{"service": "api", "instance": "web-1"}',
        ],
        ids=range(14),
    )
    def test_any_other_line(self, content: bytes) -> None:
        """A line that is not exactly an event makes everything unknown. No event is searched for in it."""
        found = read(b"\n", line(), content, b"\n", content, b"\n", line(WEB, Slots(NEW)))
        (fault,) = found.faults
        assert fault.removesuffix(", of api/web-1") == "2 lines could not be read as an event, first line 3"
        assert [use.keys[NAME].current for use in found.uses] == [OLD, NEW]

    @pytest.mark.parametrize("end", [b"\n", line()])
    def test_a_long_line(self, end: bytes) -> None:
        """A line over the limit is no event, whatever its parts are, and however long it is."""
        for times in (1, 2, 3):
            (fault,) = read(b"x" * MOST_LINE_BYTES * times, end, line()).faults
            assert fault.endswith("could not be read as an event, first line 1")
        padded = line()[:-1].ljust(MOST_LINE_BYTES - 1) + b"\n"
        assert len(uses(padded, line(keys=Slots(NEW)))) == 2

    @settings(max_examples=60)
    @given(st.binary() | JSON.map(json.dumps).map(str.encode), st.integers(0, 400))
    def test_garbage(self, content: bytes, at: int) -> None:
        """Any bytes, also within an event, are an event or none. They are never an exception."""
        for garbage in (content, line()[:at] + content + line()[at:], line()[:at] + content):
            read(garbage)


OLD_AT = NOW - timedelta(days=2)
CUT = line(WEB, Slots(OLD), OLD_AT)[:200]
"""It still has the time and the instance."""


class TestCutLines:
    """Lines that a full disk has cut."""

    @pytest.mark.parametrize("cut", [CUT, CUT[:30], CUT[:5], b"an error", line(WEB, Slots(OLD), OLD_AT)[:-1] + b"}"])
    def test_an_old_one_blocks_nothing(self, cut: bytes) -> None:
        """A line of before the window of proof hides nothing that counts, with or without its own time."""
        assert read(line(at=OLD_AT), cut + b"\n", line(at=OLD_AT), line()).faults == ()

    @pytest.mark.parametrize("cut", [CUT[:30], CUT[:5], b"an error"])
    def test_one_without_a_time_is_as_old_as_the_line_after_it(self, cut: bytes) -> None:
        """Without a time of its own, it may be as recent as its neighbours, and at the end of a file as now."""
        assert read(line(at=OLD_AT), cut + b"\n", line(at=OLD_AT), line()).faults == ()
        assert read(line(at=OLD_AT), cut + b"\n", line()).faults
        assert read(line(), cut + b"\n", line(at=OLD_AT)).faults
        assert read(line(at=OLD_AT), cut).faults

    def test_a_cut_line_that_the_next_event_follows(self) -> None:
        """Where two lines have become one, the later time counts, and an event is not searched for."""
        assert read(CUT + line(at=OLD_AT)).faults == ()
        assert read(CUT + line()).faults
        assert read(line(at=OLD_AT), CUT[:30] + line(), line(at=OLD_AT)).faults
        assert uses(line(at=OLD_AT), CUT + line(at=OLD_AT)) == ()
        # Less than the beginning of an event may be of another time than the event after it.
        assert read(line(), CUT[:5] + line(at=OLD_AT), line(at=OLD_AT)).faults

    def test_it_is_named(self) -> None:
        """A line of the window is given by its file, its number and its instance."""
        reader = EventReader(NOW, MAX_AGE)
        reader.read(io.BytesIO(line()), "a.jsonl, line ")
        reader.read(io.BytesIO(line() + line()[:200]), "b.jsonl, line ")
        assert reader.evidence().faults == (
            "1 line could not be read as an event, first b.jsonl, line 2, of api/web-1",
        )

    def test_what_a_collector_has_lost_is_of_now(self) -> None:
        """A host that cannot be reached may hide anything, whatever the lines around it are."""
        lost = b'{"secret_event":"unreadable"}\n'
        assert read(line(at=OLD_AT), lost, line(at=OLD_AT)).faults

    def test_a_key_of_old_lines_is_known(self) -> None:
        """A fingerprint that only an old or a cut line has was reported."""
        reader = EventReader(NOW, MAX_AGE, {OLD, NEW, GONE})
        reader.read(io.BytesIO(line(WEB, Slots(OLD), OLD_AT) + line(WEB, Slots(GONE), OLD_AT)[:-30]))
        assert reader.evidence().reported == {OLD, GONE}


class TestEnvironments:
    """Events of other environments in the same log."""

    def test_another_environment_does_not_count(self) -> None:
        """A process of another environment proves nothing, is against nothing, and is named."""
        reader = EventReader(NOW, MAX_AGE)
        ours, theirs = line(environment="prod"), line(keys=Slots(NEW), environment="staging", heartbeat_seconds=0)
        stranger = line(("cron", "x"), Slots(NEW), environment="staging")
        reader.read(io.BytesIO(ours + theirs + stranger + line(keys=Slots(GONE))))
        found = reader.evidence({"api": "prod"})
        assert [use.keys[NAME].current for use in found.uses] == [OLD, GONE]
        assert (found.elsewhere, found.unknown) == (("api/web-1 (staging)", "cron/x (staging)"), {})

    def test_several_environments_and_none_that_is_expected(self) -> None:
        """Where none was named, nothing is certain about a service with events of two environments."""
        reader = EventReader(NOW, MAX_AGE)
        ours, theirs = line(environment="prod"), line(environment="staging", process="2")
        reader.read(io.BytesIO(ours + theirs + line(("cron", "x"))))
        found = reader.evidence({"api": None})
        assert found.unknown == {WEB: "its service runs in prod and staging; pass --environment"}
        assert len(found.uses) == 3


@pytest.mark.parametrize(
    ("state", "checks", "text"),
    [
        ("following", [], ""),
        ("kept", [f"{NAME}: placeholder"], f"delivered, not taken since 2026-12-01T12:00:00Z: {NAME}: placeholder"),
        ("late", [], "reads no secrets since 2026-12-01T12:00:00Z"),
        ("ending", [f"{NAME}: revoked"], f"ends, as its key is revoked, since 2026-12-01T12:00:00Z: {NAME}: revoked"),
        (None, [], ""),
        (
            "kept",
            ["a: format", "b: format", "c: format"],
            "delivered, not taken since 2026-12-01T12:00:00Z: a: format, b: format and 1 more",
        ),
    ],
)
def test_the_state_of_a_process(state: str | None, checks: list[str], text: str) -> None:
    """A process that does not follow says since when, and why."""
    since = None if state is None else "2026-12-01T12:00:00Z"
    (use,) = uses(line(state=state, state_since=since, checks=checks))
    assert use.state == text


class TestAges:
    """For how long an event counts. Clocks may differ by a third of the greatest age."""

    @pytest.mark.parametrize(
        ("age", "is_kept", "is_fresh"),
        [
            (-SKEW, True, True),
            (AGE - SKEW, True, True),
            (AGE - SKEW + SECOND, True, False),
            (AGE + SKEW, True, False),
            (AGE + SKEW + SECOND, False, False),
        ],
    )
    def test_its_age(self, age: timedelta, is_kept: bool, is_fresh: bool) -> None:  # noqa: FBT001
        """What proves is younger than the limit on every clock. What counts against a condition may be, on one."""
        found = uses(line(at=NOW - age))
        assert [(use.is_fresh, use.seen) for use in found] == [(is_fresh, AT - age.total_seconds())] * is_kept

    def test_a_slow_heartbeat(self) -> None:
        """Until the next one is due, an event counts against a condition. It proves nothing for longer."""
        (use,) = uses(line(at=NOW - 2 * AGE - SKEW, heartbeat_seconds=2 * MAX_AGE))
        assert not use.is_fresh
        assert uses(line(at=NOW - 2 * AGE - SKEW - SECOND, heartbeat_seconds=2 * MAX_AGE)) == ()

    def test_a_clock_that_is_ahead(self) -> None:
        """An event of the future makes its instance unknown, and still counts against a condition."""
        assert read(line(at=NOW + SKEW)).unknown == {}
        found = read(line(at=NOW + SKEW + SECOND), line(("api", "web-2")))
        ahead = f"its clock is ahead, at {iso_utc(NOW + SKEW + SECOND)}"
        assert (found.unknown, len(found.uses)) == ({WEB: ahead}, 2)

    def test_without_a_heartbeat(self) -> None:
        """A process that is silent for long could be forgotten: its instance is unknown, and it counts against."""
        found = read(line(heartbeat_seconds=0), line(("api", "web-2")))
        assert ([*found.unknown], len(found.uses)) == ([WEB], 2)


class TestProcesses:
    """Of a process, only the last event counts."""

    @pytest.mark.parametrize("kind", ["running", "switched", "kept", "late", "ended"])
    def test_the_last_event(self, kind: str) -> None:
        """The event with the greatest number is the last one, whatever the order and the clock."""
        lines = [
            line(at=NOW, keys=Slots(OLD), kind="started", process="1", number=1),
            line(at=NOW - MINUTE, keys=Slots(NEW), kind=kind, process="1", number=2),
        ]
        for each in (lines, lines[::-1], lines * 2):
            assert [use.keys[NAME].current for use in uses(*each)] == [NEW] * (kind != "ended")

    @pytest.mark.parametrize("other", [{"process": "2"}, {"instance": "web-2"}, {"service": "x"}, {"namespace": "x"}])
    def test_another_process(self, other: dict[str, str]) -> None:
        """A process takes the place of no other one, and its end takes away no other one."""
        first = line(process="1", number=1)
        second = event(keys=Slots(NEW), kind="ended") | {"process": "1", "number": 2} | other
        assert [use.keys[NAME].current for use in uses(first, json.dumps(second).encode())] == [OLD]
        assert len(uses(first, json.dumps(second | {"secret_event": "running"}).encode())) == 2

    def test_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """More processes than are kept make everything unknown. Those that are kept are still updated."""
        monkeypatch.setattr(module, "MOST_PROCESSES", 2)
        lines = [line(process=f"{number}", number=1) for number in range(4)]
        last = [line(keys=Slots(NEW), process="0", number=2), line(kind="ended", process="1", number=2)]
        assert [use.keys[NAME].current for use in uses(*lines[:2], *last)] == [NEW]
        found = read(*lines, *last)
        assert found.faults == ("there are more than 2 processes",)
        assert [use.keys[NAME].current for use in found.uses] == [NEW, OLD]


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    """A server with an answer that a test sets."""
    with Prometheus() as server:
        yield server


def answer(*rows: dict[str, Any], **more: Any) -> bytes:
    """Return an answer with rows."""
    document = {"status": "success", "data": {"resultType": "vector", "result": [*rows]}} | more
    return json.dumps(document).encode()


def scraped(*rows: dict[str, Any]) -> Evidence:
    """Return the evidence in an answer, of the last 120 seconds."""
    return evidence_in(answer(*rows), AT, 120, {})


class TestRows:
    """What the rows of an answer prove."""

    def test_keys(self) -> None:
        """The keys of the last scrape are one proof for each secret."""
        found = scraped(
            row("current", NEW), row("next", COMING), row("previous", OLD, AT - 120), row("current", GONE, secret=OTHER)
        )
        assert found.uses == (
            Use(*WEB, {NAME: Slots(NEW, COMING, OLD)}, is_fresh=True, seen=SEEN),
            Use(*WEB, {OTHER: Slots(GONE)}, is_fresh=True, seen=SEEN),
        )
        assert (found.at, found.unknown, found.faults) == (AT, {}, ())

    def test_earlier_keys(self) -> None:
        """A key that the last scrape did not have counts against, in its slot."""
        found = scraped(row("current", NEW), row("previous", OLD), row("current", OLD, 0), row("next", NEW, 0))
        assert found.uses[1:] == (
            Use(*WEB, {NAME: Slots(OLD)}, is_fresh=False, seen=AT - 120),
            Use(*WEB, {NAME: Slots(None, NEW)}, is_fresh=False, seen=AT - 120),
        )

    def test_only_earlier_keys(self) -> None:
        """An instance that the last scrape did not reach proves nothing, and each of its keys counts."""
        found = scraped(row("current", NEW, 0), row("current", OLD, "NaN"), row("next", COMING, AT - 121))
        expected = [Slots(NEW), Slots(OLD), Slots(None, COMING)]
        assert [(each.is_fresh, each.keys[NAME]) for each in found.uses] == [(False, keys) for keys in expected]

    @pytest.mark.parametrize(
        ("slot", "why"),
        [("several", "several processes"), ("shared", "another target reaches"), ("lost", "target is down")],
    )
    def test_unknown(self, slot: str, why: str) -> None:
        """The server says of which instances nothing is certain."""
        ((who, reason),) = scraped(row("current", NEW, 0), row(slot, secret="")).unknown.items()
        assert (who, why in reason) == (WEB, True)

    def test_the_state(self) -> None:
        """A key of a process that does not follow says since when, and why. A finding of the set-up has no secret."""
        kept = row("state", secret="", value=AT - 60, state="kept")
        checks = row("check", check="placeholder"), row("check", secret="", check="setting")
        (use,) = scraped(row("current", NEW), kept, *checks).uses
        since = iso_utc(NOW - timedelta(seconds=60))
        assert use.state == f"delivered, not taken since {since}: {NAME}: placeholder, set-up: setting"

    def test_another_environment(self) -> None:
        """An instance does not count if each of its processes is of another environment. It is named."""
        theirs = {"instance": "stage-1", "secret": ""}
        rows = (
            row("current", GONE, instance="stage-1"),
            row("lost", **theirs),
            row("environment", robodj_environment="staging", **theirs),
            row("current", NEW),
            row("environment", secret="", robodj_environment="staging"),
            row("environment", secret="", robodj_environment=""),
        )
        found = evidence_in(answer(*rows), AT, 120, {"api": "prod"})
        assert [use.instance for use in found.uses] == [WEB[1]]
        assert (found.elsewhere, found.unknown) == (("api/stage-1 (staging)",), {})
        assert len(evidence_in(answer(*rows), AT, 120, {"api": None}).uses) == 2

    def test_several_environments(self) -> None:
        """Where none was named, nothing is certain, in the order of names. One that was named is enough."""
        rows = [
            row("environment", instance=f"web-{number}", secret="", robodj_environment=environment)
            for number, environment in enumerate(["prod", "staging"] * 3)
        ]
        found = evidence_in(answer(*rows), AT, 120, {"": None})
        assert [*found.unknown.items()] == [
            (("api", f"web-{number}"), "its service runs in prod and staging; pass --environment")
            for number in range(6)
        ]
        found = evidence_in(answer(*rows), AT, 120, {"": "prod"})
        assert (found.unknown, len(found.elsewhere)) == ({}, 3)

    @pytest.mark.parametrize(
        ("namespace", "job", "service"),
        [
            ("", "api", "api"),
            ("prod", "api", "prod/api"),
            ("prod", "prod/api", "prod/api"),
            ("p", "prod/a", "p/prod/a"),
        ],
    )
    def test_a_namespace(self, namespace: str, job: str, service: str) -> None:
        """A service is the job with its namespace, which a job of a PodMonitor has already."""
        (use,) = scraped(row("current", NEW, job=job, namespace=namespace)).uses
        assert use.service == service


class TestIncompleteAnswers:
    """An answer of which something may be missing proves nothing."""

    @pytest.mark.parametrize(
        "more", [{"status": "error"}, {"warnings": ["a store is down"]}, {"infos": ["partial"]}, {"isPartial": True}]
    )
    def test_warnings(self, more: dict[str, object]) -> None:
        """An answer with an error, a warning or an information is not complete."""
        with pytest.raises(ManagerError, match=r"^sent an incomplete or an old answer$"):
            evidence_in(answer(row("current", NEW), **more), AT, 120, {})

    @pytest.mark.parametrize("labels", [{}, {"job": "b", "namespace": "a"}])
    def test_two_targets(self, labels: dict[str, str]) -> None:
        """Two rows of one name are of two targets, as `b` in `a` and `a/b`: none of them is certain."""
        with pytest.raises(ManagerError, match="sent an incomplete or an old answer"):
            scraped(row("current", NEW, job="a/b" if labels else WEB[0]), row("current", NEW, **labels))

    @pytest.mark.parametrize(
        "labels",
        [
            {"job": good_keys()[V1]},
            {"job": ""},
            {"instance": "a\x1b[31m"},
            {"namespace": "a b"},
            {"check": good_keys()[V1]},
            {"robodj_environment": "a\nb"},
        ],
        ids=range(6),
    )
    def test_invalid_names(self, labels: dict[str, str]) -> None:
        """A target that a roster cannot name may use any key. The error does not show its name."""
        with pytest.raises(ManagerError, match=r"^has a target with an invalid job, instance or other label$"):
            scraped(row("current", NEW), row("current", NEW, **labels))

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "JSONDecodeError"),
            (b"\xff", "UnicodeDecodeError"),
            (b"{}", "KeyError"),
            (answer({"metric": {}, "values": []}), "KeyError"),
            (answer({"metric": [], "value": [1, "1"]}), "TypeError"),
            (answer(row("current", NEW, "one")), "ValueError"),
            (answer(row("current", NEW) | {"value": [float("nan"), "1"]}), "ValueError"),
            (answer(row("current", "a key")), "ValidationError"),
            (answer(row("strange", NEW)), "ValidationError"),
            (b"[" * 100_000, "RecursionError"),
        ],
        ids=range(10),
    )
    def test_another_shape(self, prometheus: Prometheus, content: bytes, why: str) -> None:
        """An answer of another shape is no answer. The error has the name of a type only."""
        prometheus.content = content
        with pytest.raises(ManagerError, match=rf"^cannot be read \({why}\)$"):
            ask(prometheus.url, NOW, selector="", max_age=120)


class TestServer:
    """One request to the server."""

    def test_the_query(self, prometheus: Prometheus) -> None:
        """The query is one for the whole fleet. Each of its series has the labels of the selector."""
        prometheus.result = [row("current", NEW)]
        assert len(ask(f"{prometheus.url}/sub/", NOW, selector='stage="STAGE"', max_age=90).uses) == 1
        ((path, body, headers),) = prometheus.asked
        (query,) = parse_qs(body)["query"]
        assert path == "/sub/api/v1/query"
        assert query.count("{") == query.count('stage="STAGE"}')
        assert "[90s]" in query
        assert "> time() - 90" in query
        assert "Authorization" not in headers

    def test_a_token(self, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
        """The token goes to the server: to no proxy, and to no other server where it redirects."""
        key = good_keys()[V1]
        with Prometheus() as other:
            for name in ("http_proxy", "all_proxy", "HTTP_PROXY"):
                monkeypatch.setenv(name, other.url)
            prometheus.status, prometheus.location = 302, f"{other.url}/api/v1/query"
            with pytest.raises(ManagerError, match="answered with HTTP status 302") as raised:
                ask(prometheus.url, NOW, selector="", max_age=120, token=SealedStr(key))
            assert other.asked == []
        assert prometheus.asked[0][2]["Authorization"] == f"Bearer {key}"
        assert leaks(traceback_of(raised.value), [key]) == []

    @pytest.mark.parametrize("url", ["http://prometheus:9090", "http://127.0.0.1.example", "http://10.0.0.1"])
    def test_a_token_without_encryption(self, url: str) -> None:
        """A token is only sent with TLS, or to this machine."""
        with pytest.raises(UsageError, match="without encryption; use an address with https://"):
            ask(url, NOW, selector="", max_age=120, token=SealedStr(good_keys()[V1]))

    def test_tls(self, tmp_path: Path) -> None:
        """A server is trusted if an authority of the file certifies it, and not otherwise."""
        authority, context = Authority(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue(tmp_path / "server.pem", LOOPBACK)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        with Prometheus(context) as server:
            server.result = [row("current", NEW)]
            for url, ca_file, why in (
                (server.url, str(authority.path), ""),
                (server.url, None, "SSLCertVerificationError"),
                (server.url.replace("127.0.0.1", "localhost"), str(authority.path), "SSLCertVerificationError"),
            ):
                with pytest.raises(ManagerError, match=why) if why else contextlib.nullcontext():
                    assert ask(
                        url, NOW, selector="", max_age=120, token=SealedStr(good_keys()[V1]), ca_file=ca_file
                    ).uses
            assert len(server.asked) == 1

    def test_a_wrong_ca_file(self, tmp_path: Path) -> None:
        """A file of authorities that is missing, or has none, is a usage error."""
        for path in (tmp_path / "missing", put(tmp_path / "empty", "")):
            with pytest.raises(UsageError, match="--ca-file: the file cannot be read, or has no certificate"):
                ask("https://127.0.0.1", NOW, selector="", max_age=120, ca_file=str(path))

    def test_too_much(self, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer that is larger than the limit is not read whole."""
        monkeypatch.setattr(module, "MOST_BYTES", 10)
        prometheus.content = b" " * 11
        with pytest.raises(ManagerError, match="sent an answer that is too large"):
            ask(prometheus.url, NOW, selector="", max_age=120)

    @pytest.mark.parametrize("status", [204, 301, 401, 503])
    def test_a_status(self, prometheus: Prometheus, status: int) -> None:
        """Any other status than 200 is no answer, whatever the content."""
        prometheus.result, prometheus.status = [row("current", NEW)], status
        with pytest.raises(ManagerError, match=rf"^answered with HTTP status {status}$"):
            ask(prometheus.url, NOW, selector="", max_age=120)

    @pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"])
    def test_another_protocol(self, prometheus: Prometheus, raw: bytes) -> None:
        """A server that does not speak HTTP, or ends in the middle, is no answer."""
        prometheus.raw = raw
        with pytest.raises(ManagerError, match=r"BadStatusLine|IncompleteRead"):
            ask(prometheus.url, NOW, selector="", max_age=120)


@pytest.mark.parametrize("content", ["{}", "{}\n", "# of prod\n{}\r\n"])
def test_a_token_file(tmp_path: Path, content: str) -> None:
    """The token is the only line of its file."""
    key = good_keys()[V1]
    assert read_token(str(put(tmp_path / "token", content.format(key)))).get_secret_value() == key


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "{0}\n{0}\n",
        "Bearer {0}",
        "{0}\x0b",
        "{{{{ token }}}}",
        "${{TOKEN}}",
        "<token>",
        "{0}" * 2000,
        "ké{0}",
    ],
    ids=range(10),
)
def test_a_wrong_token_file(tmp_path: Path, content: str) -> None:
    """A file without one token, with a template or that is too large is a usage error, which does not show it."""
    key = good_keys()[V1]
    with pytest.raises(UsageError, match="write one token into it") as raised:
        read_token(str(put(tmp_path / "token", content.format(key))))
    assert leaks(traceback_of(raised.value), [key]) == []
    with pytest.raises(UsageError):
        read_token(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("http://127.0.0.1:9090", True),
        ("https://[::1]:9090/prometheus/", True),
        ("http://user:password@prometheus", False),
        ("http://prometheus?x=1", False),
        ("ftp://prometheus", False),
        ("file:///etc/passwd", False),
        ("http://prometheus\n", False),
        ("", False),
    ],
)
def test_address(text: str, is_valid: bool) -> None:  # noqa: FBT001 - pytest passes it
    """An address has a scheme, a host and a path; no password and no query."""
    assert is_address(text) is is_valid


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ('environment="prod"', True),
        ('environment="prod",zone!~"a|b"', True),
        ('environment="prod"}[1s] or {x="', False),
        ('environment="\\""', False),
        ("environment=prod", False),
        ('environment="prod",', False),
        ('environment="prod"\n', False),
        ('slot="current"', False),
        ('zone="a",slot!="previous"', False),
        ('fingerprint!="x"', False),
        ('secret="secret.key"', False),
        ('process="1-a"', False),
        ('__name__="x"', False),
        ('slots="x",secret_zone="y"', True),
        ("", False),
    ],
)
def test_selector(text: str, is_valid: bool) -> None:  # noqa: FBT001
    """Labels are selected by matchers. Those of keys and processes are not allowed: they would hide keys in use."""
    assert is_selector(text) is is_valid
