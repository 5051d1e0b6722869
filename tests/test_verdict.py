"""What evidence proves of the instances of a fleet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import NOW
from fleets import (
    COMING,
    GONE,
    MAX_AGE,
    MAX_SKEW,
    MINUTE,
    NAME,
    NEW,
    OLD,
    OTHER,
    SECOND,
    WEB,
    fleet,
    instance,
    use,
    without_times,
)
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import UsageError
from robodj_secretguard.fleet.verdict import (
    HAS_NEXT,
    MOVED,
    NONE_ON,
    PastUse,
    fleet_as_dict,
    judge_of,
    judges_of,
    parse_fleet,
    unready_instances,
    used,
    why_unknown,
)

if TYPE_CHECKING:
    from datetime import datetime

    from robodj_secretguard.fleet.verdict import Fleet

AGE, SKEW = timedelta(seconds=MAX_AGE), timedelta(seconds=MAX_SKEW)
MOVED_KEYS = Slots(NEW, previous=OLD)


def failing(found: Fleet, condition: str = MOVED, *, key: str | None = None, now: datetime = NOW) -> list[str]:
    """Return each reason why a condition is not proven, after the instance and the secret."""
    judge = judge_of(condition, found.expected[NAME], key, NOW)
    return [
        f"{who}: {secret}: {without_times(why)}" for who, secret, why in unready_instances(found, {NAME: judge}, now)
    ]


class TestJudges:
    """What the keys of a process say."""

    @pytest.mark.parametrize(
        ("condition", "keys", "why"),
        [
            (MOVED, Slots(NEW), ""),
            (MOVED, Slots(NEW, COMING, OLD), ""),
            (MOVED, Slots(OLD), f"signs with {OLD}"),
            (MOVED, Slots(OLD, NEW), f"signs with {OLD}"),
            (MOVED, Slots(None, NEW, NEW), ""),
            (HAS_NEXT, Slots(NEW, COMING), ""),
            (HAS_NEXT, Slots(COMING), ""),
            (HAS_NEXT, Slots(NEW), f"does not have the next key {COMING}"),
            (HAS_NEXT, Slots(NEW, previous=COMING), f"does not have the next key {COMING}"),
            (NONE_ON, Slots(NEW, COMING, OLD), ""),
            (NONE_ON, Slots(GONE), f"uses {GONE} as its current key"),
            (NONE_ON, Slots(NEW, GONE), f"uses {GONE} as its next key"),
            (NONE_ON, Slots(NEW, None, GONE), f"uses {GONE} as its previous key"),
            (NONE_ON, Slots(NEW, None, GONE, NOW + SECOND), f"uses {GONE} as its previous key"),
            (NONE_ON, Slots(NEW, None, GONE, NOW), ""),
            (NONE_ON, Slots(GONE, None, GONE, NOW), f"uses {GONE} as its current key"),
        ],
    )
    def test_a_process(self, condition: str, keys: Slots, why: str) -> None:
        """Each condition judges the slots that matter to it. A previous key counts until its deadline."""
        assert judge_of(condition, Slots(NEW, COMING, OLD), GONE, NOW)(keys) == why

    @pytest.mark.parametrize("condition", [MOVED, HAS_NEXT])
    @pytest.mark.parametrize("expected", [None, Slots()])
    def test_nothing_is_expected(self, condition: str, expected: Slots | None) -> None:
        """Where no such key is known, no key is the right one."""
        assert judge_of(condition, expected, None, NOW)(Slots(OLD)) != ""

    @pytest.mark.parametrize("condition", [MOVED, HAS_NEXT])
    def test_unknown_key_cannot_be_required(self, condition: str) -> None:
        """A condition needs the key that every instance should have."""
        with pytest.raises(UsageError, match=rf"^no \w+ key of {NAME} is known; "):
            judges_of(condition, {NAME: Slots()}, lambda *_: "current", NOW)

    @pytest.mark.parametrize("condition", [MOVED, HAS_NEXT])
    def test_revoked_key_cannot_be_required(self, condition: str) -> None:
        """It is no good news that all instances run on a revoked key."""
        with pytest.raises(UsageError, match=rf"^the \w+ key of {NAME} is revoked; "):
            judges_of(condition, {NAME: Slots(NEW, COMING)}, lambda *_: "revoked", NOW)

    def test_condition_on_one_key_names_it_after_its_name(self) -> None:
        """`none-on` has the fingerprint of the key that nothing may use. It needs no expected key."""
        judges = judges_of(f"{NONE_ON} {OLD}", {NAME: Slots(), OTHER: Slots()}, lambda *_: "unrecorded", NOW)
        assert {secret: judge(Slots(OLD)) for secret, judge in judges.items()} == dict.fromkeys(
            (NAME, OTHER), f"uses {OLD} as its current key"
        )


class TestAge:
    """How old evidence may be, by clocks that differ."""

    @pytest.mark.parametrize(
        ("seen", "is_proven"),
        [
            (timedelta(0), True),
            (AGE - SKEW, True),
            (AGE - SKEW + SECOND, False),
            (-SKEW, True),
            (-SKEW - SECOND, False),
            (None, False),
        ],
    )
    def test_support(self, seen: timedelta | None, is_proven: bool) -> None:  # noqa: FBT001 - pytest passes it
        """Support is younger than the limit by every clock that agrees with the reader's, and not from the future."""
        found = fleet(instance(use(MOVED_KEYS, seen, timedelta(0))))
        assert (failing(found) == []) is is_proven
        assert found.is_known(found.instances[0]) is is_proven

    @pytest.mark.parametrize(
        ("latest", "heartbeat", "counts"),
        [
            (AGE + SKEW, 0, True),
            (AGE + SKEW + SECOND, 0, False),
            (-99 * AGE, 0, True),
            (AGE + SKEW + SECOND, 901, True),
            (AGE + SKEW + 2 * SECOND, 901, False),
        ],
    )
    def test_contradiction(self, latest: timedelta, heartbeat: int, counts: bool) -> None:  # noqa: FBT001
        """Evidence against a condition counts as long as it may be younger than the limit, and than a heartbeat."""
        other = replace(use(Slots(OLD), None, latest), heartbeat=heartbeat)
        found = fleet(instance(use(MOVED_KEYS, MINUTE), other))
        assert failing(found) == ([f"api/web-1: {NAME}: signs with {OLD}"] if counts else [])

    def test_later(self) -> None:
        """What a fleet proves ends with time, also for a reader of its file."""
        found = fleet(instance(use(MOVED_KEYS, MINUTE), last_seen_at=NOW - MINUTE))
        end = NOW - MINUTE + AGE - SKEW
        assert failing(found, now=end) == []
        assert failing(found, now=end + SECOND) == [f"api/web-1: {NAME}: unknown: last seen at 2026-12-01T11:59:00Z"]
        assert failing(found, now=NOW - MINUTE - SKEW - SECOND) != []  # that clock is not the one of the file


class TestNotReady:
    """Every instance is named that is not proven to be ready."""

    def test_every_process_counts(self) -> None:
        """One process on another key is enough, however many have moved."""
        found = fleet(instance(use(MOVED_KEYS, SECOND), use(Slots(OLD), MINUTE), use(MOVED_KEYS, SECOND)))
        assert failing(found) == [f"api/web-1: {NAME}: signs with {OLD}"]

    def test_an_instance_that_is_not_in_the_roster(self) -> None:
        """An unlisted instance proves nothing, and contradicts."""
        listed = instance(use(MOVED_KEYS, SECOND))
        for keys, why in ((MOVED_KEYS, []), (Slots(OLD), [f"signs with {OLD}; it is not in the roster"])):
            other = instance(use(keys, SECOND), who=("api", "old"), listed=False)
            assert failing(fleet(listed, other)) == [f"api/old: {NAME}: {each}" for each in why]
        assert failing(fleet(instance(), other))[0] == f"api/web-1: {NAME}: unknown: no event of it"

    def test_a_secret_that_its_events_do_not_have(self) -> None:
        """An instance proves only the secrets in its events, and must prove only those of the roster."""
        found = fleet(instance(PastUse({OTHER: MOVED_KEYS}, NOW, NOW, NOW)))
        assert failing(found) == [f"api/web-1: {NAME}: unknown: no event of it"]
        assert not found.is_known(found.instances[0])
        assert failing(fleet(replace(found.instances[0], secrets=[OTHER]))) == []

    @pytest.mark.parametrize("condition", [MOVED, HAS_NEXT, NONE_ON])
    def test_a_current_key_without_a_fingerprint(self, condition: str) -> None:
        """Evidence that does not say with which key an instance signs proves nothing."""
        found = fleet(instance(use(Slots(None, COMING), SECOND)))
        assert failing(found, condition, key=GONE) == [f"api/web-1: {NAME}: unknown: no event of it"]

    def test_too_many(self) -> None:
        """Where not every event was kept, no condition holds."""
        found = fleet(instance(use(MOVED_KEYS, SECOND)), complete=False)
        assert failing(found) == [f"the fleet: {NAME}: unknown: there are too many processes for one run"]

    def test_why_unknown(self) -> None:
        """A wrong clock, no event at all and an old event are different reasons."""
        assert why_unknown(instance(clock_ahead=True, last_seen_at=NOW)) == "unknown: its clock is ahead"
        assert why_unknown(instance()) == "unknown: no event of it"
        assert why_unknown(instance(last_seen_at=NOW)) == "unknown: last seen at 2026-12-01T12:00:00Z"


def document(found: Fleet, **changes: Any) -> bytes:
    """Return the document of `fleet status` with changes of the fleet."""
    return json.dumps({"schema": 1, "kind": "fleet", "fleet": fleet_as_dict(found) | changes}).encode()


class TestFiles:
    """A fleet is written as JSON, and read again."""

    FLEET = fleet(
        instance(use(Slots(NEW, COMING, OLD, NOW), SECOND), last_seen_at=NOW, refused_starts=2, refused_at=NOW),
        instance(use(Slots(GONE), None, SECOND), who=("api", "old"), listed=False, clock_ahead=True),
    )

    def test_the_same(self) -> None:
        """Everything comes back."""
        assert parse_fleet(document(self.FLEET)) == self.FLEET
        assert used(self.FLEET) == [(NAME, each) for each in (OLD, NEW, COMING, GONE)]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[]",
            b"{}",
            b"\xff",
            b'{"schema": 1, "kind": "fleet"}',
            document(FLEET).replace(b'"schema": 1', b'"schema": 2'),
            document(FLEET).replace(b'"kind": "fleet"', b'"kind": "scan"'),
            document(FLEET, max_age=0),
            document(FLEET, max_age=86401),
            document(FLEET, max_skew=-1),
            document(FLEET, max_skew=10**12),
            document(FLEET, checked_at="2026-12-01T12:00:00"),
            document(FLEET, checked_at="0001-01-01T00:00:00+23:00"),
            document(FLEET, complete=None),
            document(FLEET, more=1),
            document(FLEET).replace(NEW.encode(), b"a key that was pasted"),
            document(FLEET).replace(b'"web-1"', b'"web 1"'),
        ],
        ids=range(17),
    )
    def test_anything_else(self, content: bytes) -> None:
        """Any other document is not a fleet."""
        assert parse_fleet(content) is None

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3), st.data())
    def test_a_damaged_file(self, value: object, data: st.DataObject) -> None:
        """A damaged file is no fleet or a valid one. It is never an exception."""
        name = data.draw(st.sampled_from([*fleet_as_dict(self.FLEET)]))
        found = parse_fleet(document(self.FLEET, **{name: value}))
        judges = {NAME: judge_of(MOVED, None, None, NOW)}  # with nothing expected, it must never hold
        assert found is None or not found.instances or [*unready_instances(found, judges, NOW)]

    @given(st.binary())
    def test_bytes(self, content: bytes) -> None:
        """Any bytes are no fleet."""
        assert parse_fleet(content) is None


def test_names() -> None:
    """Messages name the service and the instance."""
    assert instance().name == "/".join(WEB)
