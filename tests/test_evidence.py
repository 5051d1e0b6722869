"""Events as evidence: which lines count, whose they are, and how much is kept."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import NOW, V1, good_keys
from fleets import MAX_AGE, MAX_SKEW, MINUTE, NAME, NEW, OLD, OTHER, SECOND, WEB, event, line
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet import evidence
from robodj_secretguard.fleet.evidence import (
    MOST_LINE_BYTES,
    lines_of,
    observe,
    parse_event,
    parse_roster,
    seconds_of,
)
from robodj_secretguard.fleet.verdict import MOVED, judge_of, unready_instances
from robodj_secretguard.heartbeat import EVENT_KIND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robodj_secretguard.fleet.verdict import Fleet, Instance

AGE, SKEW = timedelta(seconds=MAX_AGE), timedelta(seconds=MAX_SKEW)
AT = NOW.timestamp()
BOTH = (NAME, OTHER)
FINGERPRINT = {"fingerprint": OLD, "next_fingerprint": None, "previous_fingerprint": None, "previous_until": None}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=5,
)


def wrapped(at: str, document: dict[str, Any], **labels: Any) -> bytes:
    """Return an event as the line that Docker writes, with its time."""
    return json.dumps({"log": json.dumps(document) + "\n", "stream": "stdout", "time": at, **labels}).encode()


class TestLines:
    """Which parts of a stream are parsed."""

    def test_lines_with_events(self) -> None:
        """Lines without the word of an event are skipped, and the last line needs no newline."""
        stream = b"hello\n" + line() + b"\xff\x00\n\n" + line()[:-1]
        assert [*lines_of(io.BytesIO(stream))] == [line(), line()[:-1]]

    def test_a_long_line(self) -> None:
        """A line longer than the limit has no event, also where a part of it is one. It counts as invalid."""
        fill = b"x" * (MOST_LINE_BYTES - 5)
        for long, is_seen in (
            (fill + b"12345" + line(), False),
            (fill + line(), False),
            (line()[:-1] + b" " * MOST_LINE_BYTES + line(), True),
        ):
            assert [*lines_of(io.BytesIO(long + b"hello\n" + line()))] == [*[b""] * is_seen, line()]
        assert [*lines_of(io.BytesIO(fill + b"1234\n" + line()))] == [line()]


class TestEvents:
    """What an event proves."""

    def test_an_event(self) -> None:
        """An event has the names, the keys and the times of a process."""
        keys = Slots(OLD, NEW, None, NOW)
        found = parse_event(line(keys=keys, at=NOW, started=NOW - MINUTE, kind="started"))
        assert found is not None
        assert (found.who, found.kind, found.started) == (WEB, "started", AT - 60)
        assert found.keys[0] == (NAME, Slots(OLD, NEW, None, NOW))
        assert (found.oldest, found.newest) == (AT, AT)

    def test_the_clocks(self) -> None:
        """Of the process and of the collector, the oldest and the newest time count."""
        later, earlier = wrapped("2026-12-01T12:05:00Z", event()), b"2026-12-01T11:00:00.5Z " + line()
        for found, expected in ((parse_event(later), (AT, AT + 300)), (parse_event(earlier), (AT - 3599.5, AT))):
            assert found is not None
            assert (found.oldest, found.newest) == expected

    def test_a_time_of_the_collector_that_is_invalid(self) -> None:
        """The time of the process counts alone, where no collector has one."""
        for time in ("yesterday", "2026-12-01T12:05:00", "9" * 30):
            found = parse_event(wrapped(time, event()))
            assert found is not None
            assert (found.oldest, found.newest) == (AT, AT)
        assert parse_event(b"2026-13-01T00:00:00Z " + line()) == parse_event(line())

    @pytest.mark.parametrize(
        "changes",
        [
            {EVENT_KIND: "stopped"},
            {EVENT_KIND: ["running"]},
            {EVENT_KIND: None},
            {"service": None},
            {"service": "a b"},
            {"instance": "x" * 121},
            {"instance": "x" * 201},
            {"instance": 5},
            {"reported_at": "2026-12-01T12:00:00"},
            {"reported_at": None},
            {"reported_at": "0001-01-01T00:00:00+23:00"},
            {"started_at": "9999-12-31T23:59:59-23:00"},
            {"started_at": True, "reported_at": float("nan")},
            {"secrets": []},
            {"secrets": {}},
            {"secrets": {"secret": NAME}},
            {"process": ""},
            {"process": "x" * 101},
            {"process": 5},
            {"number": "1"},
            {"number": True},
            {"secrets": None},
            {"secrets": [5]},
            {"secrets": [{"secret": "a key", **FINGERPRINT}]},
            {"secrets": [{"secret": [], **FINGERPRINT}]},
            {"secrets": [{"secret": NAME, **FINGERPRINT, "fingerprint": ""}]},
            {"secrets": [{"secret": NAME, **FINGERPRINT, "fingerprint": OLD.upper()}]},
            {"secrets": [{"secret": NAME, **FINGERPRINT, "next_fingerprint": f"{OLD}0"}]},
            {"secrets": [{"secret": NAME, **FINGERPRINT, "previous_fingerprint": 5}]},
            {"secrets": [{"secret": NAME, **FINGERPRINT}, {"secret": NAME, **FINGERPRINT, "fingerprint": NEW}]},
            {"secrets": [{"secret": f"s{number}", **FINGERPRINT} for number in range(101)]},
        ],
    )
    def test_an_invalid_event(self, changes: dict[str, Any]) -> None:
        """An event with an invalid field proves nothing. So does one with two entries of a secret."""
        assert parse_event(line(**changes)) is None

    def test_an_invalid_deadline(self) -> None:
        """A deadline that cannot be read is none, so the previous key counts."""
        secrets = [{"secret": NAME, **FINGERPRINT, "previous_until": "soon"}]
        found = parse_event(line(secrets=secrets))
        assert found is not None
        assert found.keys == ((NAME, Slots(OLD)),)

    @pytest.mark.parametrize(
        "quoted",
        [
            b"GET /" + line(),
            b'127.0.0.1 - "' + line(),
            line()[:-1] + b" 404\n",
            line()[:-1] + line(),
            line()[:-20] + b"\n",
            json.dumps({"message": f"GET /{line().decode()}"}).encode(),
            json.dumps({"message": {"log": f"user {line().decode()}"}}).encode(),
            json.dumps({"headers": event()}).encode(),
            json.dumps([event()]).encode(),
            json.dumps({"log": {"log": {"log": {"log": event()}}}}).encode(),
            json.dumps({"log": 5, "message": [EVENT_KIND]}).encode(),
        ],
        ids=range(11),
    )
    def test_a_quoted_event(self, quoted: bytes) -> None:
        """A line that has the text of an event and more, such as that of a request, is not an event."""
        assert parse_event(quoted) is None

    @given(st.binary() | JSON.map(json.dumps).map(str.encode), st.integers(0, 400), st.booleans())
    def test_garbage(self, content: bytes, at: int, in_log: bool) -> None:  # noqa: FBT001 - Hypothesis passes it
        """Any bytes, also within an event, are an event or none. They are never an exception."""
        whole = wrapped("2026-12-01T12:00:00Z", event(), attrs={"tag": "web-7"}) if in_log else line()
        for garbage in (content + EVENT_KIND.encode(), whole[:at] + content + whole[at:], whole[:at] + content):
            observed(parse_event(garbage))

    @given(st.sampled_from([*event(), "time", "log", "labels", "attrs"]), JSON)
    def test_any_field(self, name: str, value: object) -> None:
        """A field of any type is never an exception, and a fleet of it is one that its file has."""
        observed(parse_event(json.dumps(event() | {name: value}).encode()))

    @given(st.sampled_from([*FINGERPRINT, "secret"]), JSON)
    def test_any_field_of_a_secret(self, name: str, value: object) -> None:
        """A field of a secret of any type is never an exception, and it never proves that an instance has moved."""
        secrets = [{"secret": NAME, **FINGERPRINT, name: value}]
        found = observed(parse_event(line(secrets=secrets)))
        assert [*unready_instances(found, {NAME: judge_of(MOVED, Slots(NEW), None, NOW)}, NOW)]


def observed(*found: evidence.Evidence | None, roster: Iterable[evidence.Who] = (WEB,), now: Any = NOW) -> Fleet:
    """Return what events prove of instances that must prove `secret.key`."""
    instances = dict.fromkeys(roster, frozenset([NAME]))
    known, numbers = observe(found, instances, {NAME: Slots(NEW)}, now, max_age=MAX_AGE, max_skew=MAX_SKEW)
    assert numbers.total() == len(found)
    return known


def only(*lines: bytes) -> Instance:
    """Return what lines prove of the only instance."""
    (found,) = observed(*map(parse_event, lines)).instances
    return found


class TestObserved:
    """What many events prove together."""

    def test_the_order_does_not_matter(self) -> None:
        """Of equal keys, the first start and the last times count, in any order and however often."""
        lines = [line(at=NOW - age * MINUTE, started=NOW - 9 * MINUTE - age * SECOND) for age in (3, 1, 2)]
        found = only(*lines, *lines)
        assert only(*reversed(lines)) == found
        (use,) = found.uses
        assert (use.since, use.seen_at, use.latest_at) == (NOW - 9 * MINUTE - 3 * SECOND, NOW - MINUTE, NOW - MINUTE)
        assert (found.last_seen_at, found.listed, found.secrets) == (NOW - MINUTE, True, [NAME])

    def test_the_times_of_a_use(self) -> None:
        """The last certain time and the last possible one can be of different events."""
        late = wrapped("2026-12-01T12:04:00Z", event(at=NOW - 5 * MINUTE))
        (use,) = only(late, line(at=NOW - MINUTE)).uses
        assert (use.seen_at, use.latest_at) == (NOW - MINUTE, NOW + 4 * MINUTE)

    @pytest.mark.parametrize(("age", "is_kept"), [(AGE + SKEW, True), (AGE + SKEW + SECOND, False)])
    def test_an_old_event(self, age: timedelta, is_kept: bool) -> None:  # noqa: FBT001
        """An event that is too old for anything is dropped. When the instance was last seen is kept."""
        found = only(line(at=NOW - age))
        assert (bool(found.uses), found.last_seen_at) == (is_kept, NOW - age)

    @pytest.mark.parametrize("heartbeat", [None, True, -1, "60", 1.5])
    def test_an_invalid_heartbeat(self, heartbeat: object) -> None:
        """It counts as none."""
        assert only(line(heartbeat_seconds=heartbeat)).uses[0].heartbeat == 0

    def test_a_long_heartbeat(self) -> None:
        """More than a day counts as a day. A refused start is not repeated."""
        assert only(line(heartbeat_seconds=10**30)).uses[0].heartbeat == 86400
        refused = line(kind="refused", at=NOW - AGE - SKEW - SECOND, heartbeat_seconds=3600)
        assert only(refused).refused_starts == 0

    def test_a_slow_heartbeat(self) -> None:
        """An event counts against a condition until the next one is late, also where that is more than the limit."""
        slow, age = AGE + MINUTE, AGE + MINUTE + SKEW
        events = [line(at=NOW - each, heartbeat_seconds=int(slow.total_seconds())) for each in (age, 2 * AGE)]
        assert [each.heartbeat for each in only(*events).uses] == [960]
        assert only(line(at=NOW - age - SECOND, heartbeat_seconds=960)).uses == []

    @pytest.mark.parametrize(("ahead", "is_wrong"), [(SKEW, False), (SKEW + SECOND, True)])
    def test_an_event_of_the_future(self, ahead: timedelta, is_wrong: bool) -> None:  # noqa: FBT001
        """A clock that is further ahead than clocks may differ proves nothing. Its evidence still counts against."""
        found = only(line(at=NOW + ahead))
        (use,) = found.uses
        assert (found.clock_ahead, use.seen_at is None, use.latest_at) == (is_wrong, is_wrong, NOW + ahead)
        assert found.last_seen_at == (None if is_wrong else NOW + ahead)

    def test_refused_starts(self) -> None:
        """A refused start is counted, and says nothing about the keys in use."""
        found = only(*(line(kind="refused", at=NOW - age * MINUTE) for age in (2, 1, 3)))
        assert (found.uses, found.last_seen_at) == ([], None)
        assert (found.refused_starts, found.refused_at) == (3, NOW - MINUTE)

    def test_why_a_start_was_refused(self) -> None:
        """The checks of the latest refusal count. Everything else in an event's reasons is ignored."""
        pasted, refused = good_keys()[V1], partial(line, kind="refused")
        early = refused(at=NOW - MINUTE, checks=["secret.key: expired"])
        late = refused(checks=[f"{pasted}: placeholder", "set-up: revocation-list", f"secret.key: {pasted}", "weak", 5])
        for lines in ([early, late], [late, early]):
            assert only(*lines).refused_checks == ["placeholder", "revocation-list"]
        assert only(refused(checks={"a": 1})).refused_checks == []

    def test_unlisted_instances(self) -> None:
        """Others are shown after the roster: also those that were only refused."""
        found = observed(
            parse_event(line(("api", "b"))), parse_event(line(("api", "a"), kind="refused")), parse_event(line())
        )
        assert [(each.name, each.listed, each.secrets) for each in found.instances] == [
            ("api/web-1", True, [NAME]),
            ("api/b", False, []),
            ("api/a", False, []),
        ]

    def test_other_secrets(self) -> None:
        """Secrets that nobody asked for are not kept: their names can be anything."""
        pasted = good_keys()[V1].replace("-", "x").replace("_", "x")
        secrets = [{"secret": pasted, **FINGERPRINT}]
        found = only(line(secrets=secrets))
        assert (found.uses, found.last_seen_at) == ([], NOW)
        (use,) = only(line(secrets=[*secrets, {"secret": NAME, **FINGERPRINT}])).uses
        assert use.keys == {NAME: Slots(OLD)}

    def test_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """More processes than are kept make the fleet incomplete. Those that are kept are still updated."""
        monkeypatch.setattr(evidence, "MOST_USES", 3)
        first = [line(process="1"), line(("api", "b")), line(("api", "c"), kind="refused")]
        again = [line(at=NOW + SECOND, process="1"), line(("api", "c"), kind="refused", at=NOW + SECOND)]
        assert observed(*map(parse_event, [*first, *again])).complete
        for more in (line(("api", "c")), line(("api", "b"), kind="refused"), line(keys=Slots(NEW))):
            found = observed(*map(parse_event, [*first, more, *again]))
            assert (found.complete, len(found.instances)) == (False, 3)
            assert found.instances[0].last_seen_at == NOW + SECOND
            assert found.instances[2].refused_starts == 2


class TestProcesses:
    """Of a process, only the last event counts, by its number."""

    @pytest.mark.parametrize("kind", ["running", "switched", "kept", "late"])
    def test_a_switch(self, kind: str) -> None:
        """A later event of a process takes the place of earlier ones, whatever the order and the clock."""
        lines = [
            line(at=NOW, keys=Slots(OLD), kind="started", process="1", number=1),
            line(at=NOW - MINUTE, keys=Slots(NEW), kind=kind, process="1", number=2),
        ]
        for each in (lines, lines[::-1]):
            (use,) = only(*each).uses
            assert (use.keys, use.seen_at) == ({NAME: Slots(NEW)}, NOW - MINUTE)

    def test_another_process(self) -> None:
        """A process takes the place of no other one, also in the same instance."""
        lines = [line(keys=Slots(key), process=key[-3:], number=int(key == NEW)) for key in (OLD, NEW)]
        assert [each.keys[NAME].current for each in only(*lines).uses] == [OLD, NEW]

    def test_an_end(self) -> None:
        """A process that ended proves nothing and uses nothing. Other processes of its instance stay."""
        lines = [
            line(keys=Slots(OLD), process="1", number=1),
            line(at=NOW + SECOND, keys=Slots(OLD), kind="ended", process="1", number=2),
        ]
        found = only(*lines)
        assert (found.uses, found.last_seen_at) == ([], NOW + SECOND)
        (use,) = only(*lines, line(keys=Slots(NEW), process="2")).uses
        assert use.keys == {NAME: Slots(NEW)}

    def test_an_end_of_an_unlisted_instance(self) -> None:
        """An instance that is not in the roster, and whose processes have ended, is left out."""
        assert observed(parse_event(line(kind="ended")), roster=()).instances == []

    def test_a_refused_set(self) -> None:
        """A changed set that was refused is not a refused start."""
        assert only(line(kind="kept", checks=["secret.key: format"])).refused_starts == 0

    def test_two_collectors(self) -> None:
        """An event that comes twice is one event. The later one of two collectors counts."""
        lines = [wrapped(f"2026-12-01T12:0{minute}:00Z", event(at=NOW)) for minute in (2, 1, 3)]
        (use,) = only(*lines, *lines).uses
        assert (use.seen_at, use.latest_at) == (NOW, NOW + 3 * MINUTE)


class TestSeconds:
    """Times in events."""

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("2026-12-01T12:00:00Z", AT),
            ("2026-12-01T13:00:00.25+01:00", AT + 0.25),
            (AT, AT),
            (int(AT), AT),
            (str(int(AT * 1e6)), AT),
            ("2026-12-01T12:00:00", None),
            ("0001-01-01T00:00:00+23:00", None),
            ("9999-12-31T23:59:59-23:00", None),
            ("1969-12-31T23:59:59Z", None),
            (-1, None),
            (float("nan"), None),
            (float("inf"), None),
            (10**400, None),
            ("9" * 5000, None),
            ("now", None),
            ("", None),
            (None, None),
            ([], None),
        ],
        ids=range(18),
    )
    def test_a_time(self, text: object, seconds: float | None) -> None:
        """RFC 3339 with a timezone, seconds, and microseconds as digits are a time. Anything else is none."""
        assert seconds_of(text) == seconds


class TestRoster:
    """The expected instances."""

    def test_a_roster(self) -> None:
        """A line has a service, an instance, and its secrets if not all. Blanks, comments and line ends are free."""
        text = f"# all\r\n\r\napi\tweb-1\r\n  worker   web-1 # both\nshop web-2 {NAME}\nshop Web-2 {OTHER} {NAME}"
        assert parse_roster(text, BOTH) == (
            {
                ("api", "web-1"): frozenset(BOTH),
                ("worker", "web-1"): frozenset(BOTH),
                ("shop", "web-2"): frozenset([NAME]),
                ("shop", "Web-2"): frozenset(BOTH),
            },
            [],
        )

    @pytest.mark.parametrize(
        "bad",
        [
            "api",
            "api web#1 x",
            "api we\x00b",
            "api web-1 nothing",
            "api ../../x",
            "\ufeffapi web-2",
            "api web-1",
            "x y*",
        ],
    )
    def test_an_invalid_line(self, bad: str) -> None:
        """Invalid lines are given by their numbers. An instance that is there twice may be a typo of another one."""
        bad = bad.replace("web#1 x", "# web-1")
        assert parse_roster(f"api web-1\n{bad}\napi web-3\n{bad}\n", BOTH)[1] == [2, 4]

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is a roster or has invalid lines."""
        roster, invalid = parse_roster(text, BOTH)
        assert all(names <= {*BOTH} for names in roster.values())
        assert len(roster) + len(invalid) <= len(text.splitlines())

    def test_a_key(self) -> None:
        """A key is not the name of an instance."""
        assert parse_roster(f"api {good_keys()[V1]}\n", BOTH) == ({}, [1])
