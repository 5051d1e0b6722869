"""Read the events of processes in bounded memory (policy sections 3 and 4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.common.shapes import SHAPE, Instant, SecretName, Slots, must
from robodj_secretguard.fleet.collectors import event_in
from robodj_secretguard.fleet.verdict import MOST_SECONDS, Fleet, Instance, PastUse, Use
from robodj_secretguard.fleet.verdict import Evidence as Found
from robodj_secretguard.heartbeat import EVENT_KIND, EVENT_TEXTS, SECRET_FIELDS
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.texts import count, is_instance_name
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import MOST_HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

KeysInUse: TypeAlias = tuple[tuple[str, Slots], ...]
"""The name and the slots of each secret."""
Who: TypeAlias = tuple[str, str]
"""A service and an instance."""
Roster: TypeAlias = "Mapping[Who, frozenset[str]]"
"""Every instance that there should be, and its secrets."""

MOST_LINE_BYTES: Final = 1 << 16
"""A longer line is not an event."""
MOST_USES: Final = 5_000
"""How many processes are kept, of all instances together. With more of them, no condition holds."""
_MOST_CACHED: Final = 200
_END: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_is_name: Final = lru_cache(maxsize=4096)(is_instance_name)
_ORDER: Final = TypeAdapter(tuple[Annotated[str, Field(min_length=1, max_length=100)], int])
_BY_SECRET: Final = TypeAdapter(Annotated[dict[SecretName, Slots], Field(min_length=1, max_length=100)])


class Evidence(Frozen):
    """One event: which keys an instance used at a time.

    Attributes:
        who: the service and the instance.
        kind: a kind of event, such as `running`.
        keys: the fingerprints of each secret.
        started: when the keys were read, in seconds; `None` where it is unknown.
        oldest: the earliest time of the event, of all clocks that have one.
        newest: the latest one.
        checks: the checks that refused a start.
        heartbeat: after how many seconds the process sends the next event; 0 where it sends none.
        process: which process it is about. Only its last event counts. Empty for a scrape.
        number: the order of the event in its process.
    """

    who: Who
    kind: str
    keys: KeysInUse
    started: float | None
    oldest: float
    newest: float
    checks: tuple[Check, ...] = ()
    heartbeat: int = 0
    process: str = ""
    number: int = 0


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield each line with an event. One that is too long is empty: a part of it may look like another event."""
    is_rest = False
    while line := file.readline(MOST_LINE_BYTES):
        is_part = len(line) == MOST_LINE_BYTES and not line.endswith(b"\n")
        if EVENT_KIND.encode() in line and not is_rest:
            yield b"" if is_part else line
        is_rest = is_part


def parse_event(line: bytes) -> Evidence | None:
    """Return the evidence in a line with an event; `None` for an invalid line."""
    try:
        event, names, times = event_in(line)
        kind, who = event[EVENT_KIND], who_of(*names)
        keys = slots_by_secret([[secret.get(name) for name in SECRET_FIELDS] for secret in event["secrets"]])
        reported, started = seconds_of(event["reported_at"]), seconds_of(event["started_at"])
        process, number = _ORDER.validate_python((event["process"], event["number"]), strict=True)
        if kind not in EVENT_TEXTS or who is None or keys is None or reported is None or started is None:
            return None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    clocks = sorted(seconds for seconds in (reported, *map(seconds_of, times)) if seconds is not None)
    heartbeat: Any = event.get("heartbeat_seconds")
    is_repeated = kind != "refused" and type(heartbeat) is int and heartbeat > 0
    heartbeat = min(heartbeat, MOST_SECONDS) if is_repeated else 0
    return Evidence(
        who,
        kind,
        keys,
        started,
        clocks[0],
        clocks[-1],
        checks=_checks_of(event.get("checks")),
        heartbeat=heartbeat,
        process=process,
        number=number,
    )


def who_of(service: Any, instance: Any) -> Who | None:
    """Return the names of a service and an instance, if both are valid."""
    names = (service, instance)
    is_valid = all(isinstance(each, str) and len(each) < _MOST_CACHED and _is_name(each) for each in names)
    return names if is_valid else None


def seconds_of(text: Any) -> float | None:
    """Return the time of a text in RFC 3339, or of a number of seconds or microseconds; `None` for anything else."""
    try:
        if isinstance(text, str) and not text.isdecimal():
            instant = datetime.fromisoformat(text)
            seconds = instant.timestamp() if instant.tzinfo else -1
        else:
            seconds = int(text) / 1e6 if isinstance(text, str) else float(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if 0 <= seconds < _END else None


def _checks_of(reasons: Any) -> tuple[Check, ...]:
    """Return the checks in reasons such as `secret.key: placeholder`."""
    texts = reasons if isinstance(reasons, list) else []
    named = {text.rpartition(": ")[2] for text in texts if isinstance(text, str) and ": " in text}
    return tuple(check for check in Check if check in named)


def slots_by_secret(secrets: Iterable[Sequence[Any]]) -> KeysInUse | None:
    """Return the slots of each secret, of names, fingerprints and deadlines; `None` if one is invalid."""
    try:
        slots = [
            (name, Slots(current, following, previous, _instant(seconds_of(until))))
            for name, current, following, previous, until in secrets
        ]
        valid = _BY_SECRET.validate_python(dict(slots))
    except (ValueError, TypeError):
        return None
    return tuple(slots) if len(valid) == len(slots) else None


class Observed:
    """What events prove of the instances of a roster, and of others.

    Args:
        roster: every instance that there should be.
        secrets: the names of the secrets. Others are not kept.
        now: the time.
        max_age: how old evidence may be, in seconds.
        max_skew: how much clocks may differ, in seconds.
    """

    def __init__(self, roster: Roster, secrets: Iterable[str], now: datetime, max_age: int, max_skew: int) -> None:
        self._roster, self._secrets = roster, frozenset(secrets)
        self._now, self._max_age, self._max_skew = now, max_age, max_skew
        self._uses: dict[tuple[Who, str | KeysInUse], Evidence] = {}
        self._last: dict[Who, float] = {}
        self._ahead: set[Who] = set()
        self._refused: dict[Who, tuple[int, float, tuple[Check, ...]]] = {}
        self._complete = True

    def add(self, evidence: Evidence) -> None:
        """Add an event. Events may be late, in any order, and more than once."""
        now, who, is_refused = self._now.timestamp(), evidence.who, evidence.kind == "refused"
        is_ahead = evidence.newest > now + self._max_skew
        if who in self._roster and is_ahead:
            self._ahead.add(who)
        elif who in self._roster and not is_refused:
            self._last[who] = max(evidence.oldest, self._last.get(who, evidence.oldest))
        keys = tuple((name, slots) for name, slots in evidence.keys if name in self._secrets)
        if now - evidence.newest > max(self._max_age, evidence.heartbeat) + self._max_skew or not keys:
            return
        of_process = who, evidence.process or keys
        is_kept = who in self._refused if is_refused else of_process in self._uses
        if not is_kept and len(self._uses) + len(self._refused) >= MOST_USES:
            self._complete = False
        elif is_refused:
            self._add_refusal(evidence)
        else:
            # A clock that is ahead proves nothing. One event may come twice, with the times of two collectors.
            evidence = evidence._replace(keys=keys, oldest=0.0 if is_ahead else evidence.oldest)
            known = self._uses.get(of_process, evidence)
            self._uses[of_process] = max(known, evidence, key=attrgetter("number", "oldest", "newest"))

    def _add_refusal(self, evidence: Evidence) -> None:
        number, last, checks = self._refused.get(evidence.who, (0, evidence.oldest, evidence.checks))
        checks = evidence.checks if evidence.oldest >= last else checks
        self._refused[evidence.who] = (number + 1, max(last, evidence.oldest), checks)

    def fleet(self, expected: dict[str, Slots]) -> Fleet:
        """Return what is known: first the instances of the roster. `expected` has the expected keys."""
        running = [each for each in self._uses.values() if each.kind != "ended"]
        of: dict[Who, list[Evidence]] = {
            who: [] for who in (*self._roster, *(each.who for each in running), *self._refused)
        }
        for each in running:
            of[each.who].append(each)
        instances = [
            Instance(
                *who,
                listed=who in self._roster,
                secrets=sorted(self._roster.get(who, ())),
                uses=_uses_of(events),
                last_seen_at=_instant(self._last.get(who)),
                clock_ahead=who in self._ahead,
                refused_starts=refused[0],
                refused_at=_instant(refused[1]),
                refused_checks=list(refused[2]),
            )
            for who, events in of.items()
            for refused in [self._refused.get(who, (0, None, ()))]
        ]
        return Fleet(self._now, self._max_age, self._max_skew, expected, instances, self._complete)


def _uses_of(events: Iterable[Evidence]) -> list[PastUse]:
    """Return the keys that processes use, each with the times of all its processes."""
    of: defaultdict[KeysInUse, list[Evidence]] = defaultdict(list)
    for each in events:
        of[each.keys].append(each)
    return [
        PastUse(
            dict(keys),
            _instant(min((each.started for each in same if each.started is not None), default=None)),
            _instant(max(each.oldest for each in same) or None),
            datetime.fromtimestamp(max(each.newest for each in same), UTC),
            max(each.heartbeat for each in same),
        )
        for keys, same in of.items()
    ]


def observe(
    evidence: Iterable[Evidence | None],
    roster: Roster,
    expected: Mapping[str, Slots],
    now: datetime,
    *,
    max_age: int,
    max_skew: int,
) -> tuple[Fleet, Counter[bool]]:
    """Return what evidence proves of a fleet, and the numbers of valid and of invalid events.

    Args:
        evidence: of each event, in any order; `None` for an invalid one.
        roster: every instance that there should be, and its secrets.
        expected: the expected keys of each secret that is compared.
        now: the time.
        max_age: how old evidence may be, in seconds.
        max_skew: how much clocks may differ, in seconds.
    """
    observed = Observed(roster, expected, now, max_age, max_skew)
    numbers = Counter[bool]()
    for item in evidence:
        numbers[item is not None] += 1
        if item:
            observed.add(item)
    return observed.fleet(dict(expected)), numbers


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def parse_roster(content: str, secrets: Iterable[str]) -> tuple[dict[Who, frozenset[str]], list[int]]:
    """Return the instances of a roster, and the numbers of its invalid lines.

    A line has a service, an instance, and the secrets of that instance; by default all of `secrets`. An instance that
    is there twice is invalid: it may be a typo of another one, of which nothing would be asked.
    """
    roster: dict[Who, frozenset[str]] = {}
    invalid = []
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        who, own = who_of(*words[:2]) if len(words) > 1 else None, frozenset(words[2:] or secrets)
        if who is None or who in roster or not own <= {*secrets}:
            invalid.append(number)
        else:
            roster[who] = own
    return roster, invalid


MOST_PROCESSES: Final = 20_000
"""How many processes are kept. With more of them, nothing is certain."""

_Name = Annotated[str, must(lru_cache(maxsize=4096)(is_instance_name))]


_Kind: TypeAlias = Literal["started", "running", "switched", "kept", "late", "ended", "refused"]


@dataclass(frozen=True, config=SHAPE)
class Event:
    """An event of the guard. A collector may add its namespace."""

    kind: Annotated[_Kind, Field(alias="secret_event")]
    event: str
    service: _Name
    instance: _Name
    process: Annotated[str, Field(min_length=1, max_length=100)]
    number: Annotated[int, Field(ge=0)]
    started_at: Instant
    reported_at: Instant
    heartbeat_seconds: Annotated[int, Field(ge=0, le=MOST_HEARTBEAT_SECONDS)]
    version: str
    model: str
    secrets: dict[SecretName, Slots]
    checks: tuple[str, ...] = ()
    namespace: _Name | None = None


_EVENT: Final = TypeAdapter(Event)


def read_events(file: BinaryIO, now: datetime, max_age: int) -> Found:
    """Return what the events of a file show. They may be late, in any order, and more than once.

    Of a process, the last event counts, by its number. Clocks may differ by a third of the age: what proves something
    is that much younger, and what counts against a condition may be that much older.

    Args:
        file: JSON lines with events.
        now: the time of the verdict, in UTC.
        max_age: how old evidence may be, in seconds. Where a heartbeat is longer, it counts against a condition until
            the next one is due.
    """
    at, skew = now.timestamp(), max_age // 3
    last: dict[tuple[str, str, str], tuple[int, Use | None]] = {}
    unreadable = first = 0
    for number, line in enumerate(_lines(file), start=1):
        try:
            event = None if line.isspace() else _EVENT.validate_json(line)
        except ValidationError:
            unreadable, first = unreadable + 1, first or number
            continue
        if event is None or event.kind == "refused":
            continue
        age = at - event.reported_at.timestamp()
        if age > max(max_age, event.heartbeat_seconds) + skew:
            continue
        service = f"{event.namespace}/{event.service}" if event.namespace else event.service
        process = service, event.instance, event.process
        is_kept = process in last or len(last) <= MOST_PROCESSES  # one more shows that there are too many
        if is_kept and event.number > last.get(process, (-1, None))[0]:
            use = Use(service, event.instance, event.secrets, -skew <= age <= max_age - skew, at - age)
            last[process] = event.number, None if event.kind == "ended" else use
    uses = tuple(use for _, use in last.values() if use)
    faults = []
    if unreadable:
        faults.append(f"{count(unreadable, 'line')} could not be read as an event, first line {first}")
    if len(last) > MOST_PROCESSES:
        faults.append(f"there are more than {MOST_PROCESSES} processes")
    ahead = {(use.service, use.instance): "its clock is ahead" for use in uses if use.seen > at + skew}
    return Found(at, uses, ahead, tuple(faults), skew)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield each line. One that is too long is no event, whatever its parts look like."""
    while line := file.readline(MOST_LINE_BYTES):
        part = line
        while len(part) == MOST_LINE_BYTES and not part.endswith(b"\n"):
            part = file.readline(MOST_LINE_BYTES)
        yield line if part is line else b"too long"
