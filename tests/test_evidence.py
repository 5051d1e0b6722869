"""The reader of events: which lines are events, and what they prove together."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest
from conftest import NOW
from fleets import MINUTE, NAME, NEW, OLD, OTHER, SECOND, WEB, event, line
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet import evidence
from robodj_secretguard.fleet.evidence import MOST_LINE_BYTES, read_events
from robodj_secretguard.fleet.verdict import Evidence, Use
from robodj_secretguard.heartbeat import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    return read_events(io.BytesIO(b"".join(lines)), NOW, MAX_AGE)


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
        """An event says which keys a process of an instance uses. A line of blanks says nothing."""
        keys = Slots(NEW, None, OLD, NOW)
        (use,) = uses(b"\n \r\n", line(keys=keys)[:-1])
        assert use == Use(*WEB, {NAME: keys, OTHER: use.keys[OTHER]}, is_fresh=True, seen=AT)

    def test_a_namespace(self) -> None:
        """A service is named with its namespace: two of one name are two services."""
        found = uses(line(), line(namespace="eu"), line(namespace="us"))
        assert [use.service for use in found] == ["api", "eu/api", "us/api"]

    @pytest.mark.parametrize("kind", get_args(EventKind))
    def test_kinds(self, kind: str) -> None:
        """Each kind of event that the guard sends is read. A refused start and an ended process use no key."""
        assert len(uses(line(kind=kind))) == (kind not in {"refused", "ended"})

    @pytest.mark.parametrize("name", [*event()])
    def test_a_field_that_is_absent(self, name: str) -> None:
        """An event has each field of the guard's events."""
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
        assert read(text.encode()).faults == ("1 line could not be read as an event, first line 1",)

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
        assert found.faults == ("2 lines could not be read as an event, first line 3",)
        assert [use.keys[NAME].current for use in found.uses] == [OLD, NEW]

    @pytest.mark.parametrize("end", [b"\n", line()])
    def test_a_long_line(self, end: bytes) -> None:
        """A line over the limit is no event, whatever its parts are, and however long it is."""
        for times in (1, 2, 3):
            (fault,) = read(b"x" * MOST_LINE_BYTES * times, end, line()).faults
            assert fault.endswith("could not be read as an event, first line 1")
        padded = line()[:-1].ljust(MOST_LINE_BYTES - 1) + b"\n"
        assert len(uses(padded, line(keys=Slots(NEW)))) == 2

    @given(st.binary() | JSON.map(json.dumps).map(str.encode), st.integers(0, 400))
    def test_garbage(self, content: bytes, at: int) -> None:
        """Any bytes, also within an event, are an event or none. They are never an exception."""
        for garbage in (content, line()[:at] + content + line()[at:], line()[:at] + content):
            read(garbage)

    @given(st.sampled_from([*event(), "namespace"]), JSON)
    def test_any_field(self, name: str, value: object) -> None:
        """A field of any type is never an exception."""
        read(json.dumps(event() | {name: value}).encode())


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
        assert (found.unknown, len(found.uses)) == ({WEB: "its clock is ahead"}, 2)

    def test_without_a_heartbeat(self) -> None:
        """A process that is silent for long could be forgotten: its instance is unknown, and it counts against."""
        found = read(line(heartbeat_seconds=0), line(("api", "web-2")))
        assert ([*found.unknown], len(found.uses)) == ([WEB], 2)

    def test_the_time_of_the_verdict(self) -> None:
        """The verdict has the time and the difference between clocks: deadlines must have passed on every clock."""
        found = read()
        assert (found.at, found.skew, found.uses, found.faults) == (AT, 300, (), ())


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
        monkeypatch.setattr(evidence, "MOST_PROCESSES", 2)
        lines = [line(process=f"{number}", number=1) for number in range(4)]
        last = [line(keys=Slots(NEW), process="0", number=2), line(kind="ended", process="1", number=2)]
        assert [use.keys[NAME].current for use in uses(*lines[:2], *last)] == [NEW]
        found = read(*lines, *last)
        assert found.faults == ("there are more than 2 processes",)
        assert [use.keys[NAME].current for use in found.uses] == [NEW, OLD]
