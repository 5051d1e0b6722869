"""Random histories of a fleet, with the truth that no reader has.

`make_history` makes the world: processes of instances, with the keys that each one uses at each time. It knows neither
events nor scrapes. `make_lines` makes the lines of their events, and what becomes of them on the way to the reader. A
scrape of an instance reaches one of its processes (`History.running`), or fails.

All times are ages: seconds before the verdict, by a clock that nobody has. `NOW` is the time of the verdict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from conftest import NOW
from fleets import NAME

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.startup.inputs import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Condition: TypeAlias = tuple[str, str | None]
"""`moved`, `has-next`, or `none-on` with a fingerprint."""

HOUR: Final = 3600
SPAN: Final = 3 * HOUR
"""How long a history is."""
MAX_AGE: Final = 900
SKEW: Final = 300
"""How much the clocks of machines differ at most. A few are further ahead, and none is further behind."""
_LIMITS: Final = (0, 30, 60, 90, 120, 150, MAX_AGE - SKEW, MAX_AGE, MAX_AGE + SKEW)


@dataclass(frozen=True)
class Process:
    """A process: what it truly did.

    Attributes:
        service: with its namespace, if there is one: `eu/api`.
        instance: the name of its instance.
        name: its identity.
        begin: when it started.
        end: when it ended; `None` if it still runs.
        is_graceful: whether it said its end.
        keys: since when it uses which keys, the earliest ones first.
        refusals: when it said that it keeps its keys, with the kind of that event.
        heartbeat: how often it says its keys; 0 for never.
        clock: since when its machine's clock is how much ahead.
        environment: where it runs, as it says.
    """

    service: str
    instance: str
    name: str
    begin: int
    end: int | None
    is_graceful: bool
    keys: tuple[tuple[int, Slots], ...]
    refusals: tuple[tuple[int, str], ...]
    heartbeat: int
    clock: tuple[tuple[int, int], ...]
    environment: str | None = None

    def runs_at(self, age: int) -> bool:
        """Check whether it ran at a time."""
        return self.begin >= age and (self.end is None or self.end < age)

    def keys_at(self, age: int) -> Slots:
        """Return the keys that it used at a time."""
        return [keys for since, keys in self.keys if since >= age][-1]

    def skew_at(self, age: int) -> int:
        """Return how much the clock of its machine was ahead."""
        return [skew for since, skew in self.clock if since >= age][-1]

    def agrees(self, condition: Condition, expected: Slots) -> bool:
        """Check whether its keys satisfy a condition at the time of the verdict, by its own clock."""
        name, key = condition
        keys, now = self.keys_at(0), NOW + timedelta(seconds=self.skew_at(0))
        if name == "moved":
            return keys.current == expected.current
        if name == "has-next":
            return expected.next in {keys.current, keys.next}
        is_over = keys.previous_until is not None and keys.previous_until <= now
        return key not in {keys.current, keys.next, None if is_over else keys.previous}


@dataclass(frozen=True)
class History:
    """A fleet until the time of the verdict.

    Attributes:
        seed: its number.
        roster: the declared instances of each declared service. Some of them may never have run.
        expected: the expected keys of each declared service.
        processes: all processes that ever ran, also of others.
        outages: of an instance: from when to when nothing reaches it or comes from it, although it may run.
    """

    seed: int
    roster: Mapping[str, tuple[str, ...]]
    expected: Mapping[str, Slots]
    processes: tuple[Process, ...]
    outages: Mapping[tuple[str, str], tuple[int, int]]

    def running(self, service: str, instance: str, age: int = 0) -> list[Process]:
        """Return the processes that ran at a time: a scrape reaches one of them, if there is no outage."""
        return [
            each
            for each in self.processes
            if (each.service, each.instance) == (service, instance) and each.runs_at(age)
        ]

    def is_out(self, service: str, instance: str, age: int) -> bool:
        """Check whether an instance cannot be reached at a time."""
        begin, end = self.outages.get((service, instance), (-1, 0))
        return begin >= age >= end

    def instances(self) -> list[tuple[str, str]]:
        """Return each instance that ever ran, or that the roster has."""
        listed = [(service, name) for service, names in self.roster.items() for name in names]
        return [*dict.fromkeys([*listed, *((each.service, each.instance) for each in self.processes)])]

    def fingerprints(self) -> list[str]:
        """Return each key that a process ever used."""
        used = [keys for each in self.processes for _, keys in each.keys]
        return sorted({key for each in used for key in (each.current, each.next, each.previous) if key})

    def conditions(self) -> list[Condition]:
        """Return the conditions that can be asked for."""
        has_next = all(each.next for each in self.expected.values())
        return [("moved", None), *[("has-next", None)] * has_next, *(("none-on", key) for key in self.fingerprints())]

    def against(self, service: str, condition: Condition) -> list[Process]:
        """Return the processes that run at the time of the verdict, and because of which a condition does not hold.

        Those of a service that nobody declared may have the keys of any declared one.
        """
        wrong = []
        for each in self.processes:
            if not each.runs_at(0):
                continue
            others = [] if each.service in self.roster else [*self.expected.values()]
            own = [self.expected[service]] if each.service == service or condition[0] == "none-on" else others
            if own and not any(each.agrees(condition, expected) for expected in own):
                wrong.append(each)
        return wrong

    def holds(self, service: str, condition: Condition) -> bool:
        """Check whether a condition truly holds: each declared instance runs, and no process is against it."""
        runs = all(self.running(service, name) for name in self.roster[service])
        return runs and not self.against(service, condition)


def _when(random: Random) -> int:
    """Pick an age: often close to a limit of a reader."""
    near = random.choice(_LIMITS) + random.choice([-1, 0, 1])
    return max(0, random.choice([near, random.randrange(300), random.randrange(1500), random.randrange(SPAN)]))


def _plan(random: Random, letters: str) -> list[tuple[int, Slots]]:
    """Pick which keys are delivered to a service, and since when."""
    old, new, coming, leaked = (f"sgfp1:{letter * 32}" for letter in letters)
    shift = random.choice([-2 * HOUR, -SKEW - 10, -SKEW, -SKEW + 1, -120, -10, 1, 10, 9 * HOUR])
    until = NOW + timedelta(seconds=shift)
    steps = random.choice(
        [
            [Slots(new, coming)],
            [Slots(old), Slots(old, new), Slots(new, None, old, until)],
            [Slots(old, new), Slots(new, None, old, until), Slots(new)],
            [Slots(new, None, old, until), Slots(new), Slots(new, coming)],
            [Slots(old, new), Slots(new, coming, old, until)],
            [Slots(leaked), Slots(new, coming)],
            [Slots(new), Slots(old, new)],
        ]
    )
    recent = _when(random) if random.random() < 0.45 else random.randrange(1800, SPAN)
    ages = sorted([recent, *(random.randrange(recent, SPAN) for _ in steps[2:])], reverse=True)
    return [*zip([SPAN, *ages], steps, strict=False)]


def _clock(random: Random, begin: int) -> tuple[tuple[int, int], ...]:
    """Pick the clock of a machine: it may step."""

    def skew() -> int:
        picked: int = random.choice([0, 0, 0, 1, -1, 30, SKEW, -SKEW, random.randint(-SKEW, SKEW)])
        return picked if random.random() < 0.98 else SKEW + random.randrange(1, 5 * HOUR)

    steps = [(random.randrange(begin + 1), skew()) for _ in range(random.random() < 0.15)]
    return ((begin, skew()), *steps)


@dataclass
class _World:
    """What makes the processes of a history."""

    random: Random
    straggling: float
    """How likely a process does not take a change."""
    deaths: float
    """How likely an instance is started again, or dies, without a reason."""
    found: list[Process] = field(default_factory=list)

    def add(self, service: str, instance: str, plan: Sequence[tuple[int, Slots]]) -> None:
        """Add the processes of an instance."""
        random = self.random
        is_refreshing, workers = random.random() < 0.6, random.choice([1, 1, 1, 1, 2, 3])
        begin = SPAN if random.random() < 0.85 else _when(random)
        restarts = (
            []
            if is_refreshing or random.random() < self.straggling
            else [age - random.randrange(min(age, 600) + 1) for age, _ in plan[1:] if age <= begin]
        )
        restarts += [_when(random) for _ in range(random.random() < self.deaths)]
        restarts = sorted({age for age in restarts if age < begin}, reverse=True)
        dies = _when(random) if random.random() < self.deaths / 5 else None
        ends: list[int | None] = [*restarts, dies if dies is not None and dies < [begin, *restarts][-1] else None]
        clock = _clock(random, begin)
        for start, end in zip([begin, *restarts], ends, strict=True):
            if random.random() < 0.1:  # the name is used again, on another machine
                clock = _clock(random, start)
            for _ in range(workers):
                outlives = end is not None and random.random() < 0.02
                last = None if outlives else end
                keys, refusals = self._life(plan, start, last, is_refreshing)
                self.found.append(
                    Process(
                        service,
                        instance,
                        f"{len(self.found)}.0",
                        start,
                        last,
                        random.random() < 0.6,
                        tuple(keys),
                        tuple(refusals),
                        random.choice([60, 60, 120, 120, *[300] * 10, *[600] * 4, 0, 1200, 1200, HOUR]),
                        clock,
                    )
                )

    def _life(
        self, plan: Sequence[tuple[int, Slots]], begin: int, end: int | None, is_refreshing: bool,  # noqa: FBT001
    ) -> tuple[list[tuple[int, Slots]], list[tuple[int, str]]]:  # fmt: skip
        """Pick the keys of a process, and its refusals of others."""
        random = self.random
        delivered = [keys for age, keys in plan if age >= begin]
        keys = [(begin, delivered[-1] if random.random() > self.straggling / 4 else delivered[0])]
        refusals = []
        is_late = random.random() < self.straggling
        for age, after in plan:
            at = min(age - random.randrange(min(age, 90) + 1), keys[-1][0] - 1)
            if not is_refreshing or age >= begin or at < 0 or (end is not None and at <= end):
                continue
            if is_late:
                refusals += [(at, random.choice(["kept", "late"]))] * random.choice([0, 1])
            elif after != keys[-1][1]:
                keys.append((at, after))
        return keys, refusals


def make_history(seed: int) -> History:
    """Make a history. The same seed gives the same one."""
    random = Random(f"world {seed}")  # noqa: S311 - no key is made of it
    services = random.choice([["api"], ["api"], ["api", "worker"], ["eu/api", "us/api"]])
    plans = {service: _plan(random, "abcd") for service in services[:1]}
    for number, service in enumerate(services[1:], start=1):
        is_shared = random.random() < 0.5
        plans[service] = plans[services[0]] if is_shared else _plan(random, ["abcd", "1234"][number])
    world = _World(random, random.choice([0, 0, 0.05, 0.3]), random.choice([0, 0.1, 0.4]))
    roster: dict[str, tuple[str, ...]] = {}
    for service in services:
        names = [f"web-{number}" for number in range(1, random.choice([2, 2, 3, 4]))]
        unlisted = ["extra"] * (random.random() < 0.1)
        for name in (*names, *unlisted):
            world.add(service, name, plans[service])
        roster[service] = (*names, *["never"] * (random.random() < 0.03))
    if random.random() < 0.1:
        world.add("cron", random.choice(["x", "web-1"]), plans[random.choice(services)])
    expected = {}
    for service in services:
        stages = [keys for _, keys in plans[service]]
        expected[service] = stages[-1] if random.random() < 0.9 else random.choice(stages)
    outages = {}
    for who in dict.fromkeys((each.service, each.instance) for each in world.found):
        if random.random() < 0.04:
            begin = _when(random)
            outages[who] = (begin, random.choice([0, random.randrange(begin + 1)]))
    return History(seed, roster, expected, tuple(world.found), outages)


def make_ordinary(seed: int) -> tuple[History, list[Line]]:
    """Make an ordinary fleet: heartbeats and clocks are good, and each line is delivered within a minute.

    Running processes switch when they find new keys, within 90 seconds. Some are started again: one in ten of these
    says no end.
    """
    random = Random(f"ordinary {seed}")  # noqa: S311 - no key is made of it
    old, new = (f"sgfp1:{letter * 32}" for letter in "ab")
    over = NOW + timedelta(seconds=random.randrange(-2 * HOUR, 2 * HOUR))
    steps = [Slots(old), Slots(old, new), Slots(new, None, old, over)]
    ages = sorted(random.sample(range(SPAN), 2), reverse=True)
    names = tuple(f"web-{number}" for number in range(1, random.choice([2, 3, 4, 6]) + 1))
    found: list[Process] = []
    for name in names:
        switches = [(age - random.randrange(91), keys) for age, keys in zip(ages, steps[1:], strict=True)]
        begins = [SPAN, *[random.randrange(SPAN)] * (random.random() < 0.1)]
        for begin, end in zip(begins, [*begins[1:], None], strict=True):
            delivered = [keys for age, keys in [(SPAN, steps[0]), *switches] if age >= begin]
            later = [(age, keys) for age, keys in switches if begin > age >= 0 and (end is None or age > end)]
            keys = ((begin, delivered[-1]), *later)
            clock, beat = ((begin, random.randrange(-5, 6)),), random.choice([60, 120, 300])
            is_graceful = random.random() < 0.9
            found.append(Process("api", name, f"{len(found)}.0", begin, end, is_graceful, keys, (), beat, clock))
    history = History(seed, {"api": names}, {"api": steps[-1]}, tuple(found), {})
    said = [each for process in found for each in events_of(process) if each.age >= random.randrange(61)]
    lines = [Line(written(each), each, is_readable=True) for each in said if each.age < HOUR or each.kind != "running"]
    random.shuffle(lines)
    return history, lines


def in_staging(history: History) -> tuple[History, History]:
    """Return a history whose processes say `production`, and one of staging.

    Staging has the same names of services and instances, and the keys of another history.
    """
    other = make_history(history.seed + 10**6)
    staging = [replace(each, name=f"9{each.name}", environment="staging") for each in other.processes]
    own = [replace(each, environment="production") for each in history.processes]
    return replace(history, processes=tuple(own)), replace(other, processes=tuple(staging))


@dataclass(frozen=True)
class Said:
    """An event as a process truly made it."""

    process: Process
    kind: str
    age: int
    number: int
    keys: Slots


@dataclass(frozen=True)
class Line:
    """A line that the reader gets.

    Attributes:
        content: its bytes. A cut line may lack its end.
        said: the event in it; `None` for a forged one.
        is_readable: whether it is a whole event.
    """

    content: bytes
    said: Said | None
    is_readable: bool


def events_of(process: Process) -> Iterator[Said]:
    """Yield the events that a process made, in their order."""
    beats = range(process.begin - process.heartbeat, -1, -process.heartbeat) if process.heartbeat else ()
    made = [(process.begin, 0, "started"), *((age, 2, "running") for age in beats)]
    made += [(age, 1, "switched") for age, _ in process.keys[1:]] + [(age, 1, kind) for age, kind in process.refusals]
    made = [each for each in made if process.end is None or each[0] > process.end or each[2] == "started"]
    if process.end is not None and process.is_graceful:
        made.append((process.end, 3, "ended"))
    for number, (age, _, kind) in enumerate(sorted(made, key=lambda each: (-each[0], each[1]))):
        yield Said(process, kind, age, number, process.keys_at(age))


def written(said: Said, **changes: Any) -> bytes:
    """Return the line of an event, with the names that the collector's recipe has set."""
    process, keys = said.process, said.keys
    namespace, _, service = process.service.rpartition("/")

    def moment(age: int) -> str:
        return iso_utc(NOW - timedelta(seconds=age - process.skew_at(age)))

    document = {
        "secret_event": said.kind,
        "reported_at": moment(said.age),
        "service": service,
        "instance": process.instance,
        "environment": process.environment,
        "process": process.name,
        "number": said.number,
        "state": said.kind if said.kind in {"kept", "late"} else "following",
        "state_since": moment(said.age),
        "checks": ["secret.key: format"] if said.kind == "kept" else [],
        "heartbeat_seconds": process.heartbeat,
        "started_at": moment(max(age for age, _ in process.keys if age >= said.age)),
        "version": "1.0.0",
        "model": "ours:Ours",
        "secrets": {
            NAME: {
                "current": keys.current,
                "next": keys.next,
                "previous": keys.previous,
                "previous_until": iso_utc(keys.previous_until) if keys.previous_until else None,
            }
        },
        "off": ["sentry.dsn"],
        "event": "secrets in use",
    }
    document |= {"namespace": namespace} if namespace else {}
    return json.dumps(document | changes).encode() + b"\n"


def make_lines(history: History) -> list[Line]:
    """Return the lines of a history as they reach the reader: lost, cut, doubled, late and forged ones, in any order.

    An outage holds back what was said while it lasts at the time of the verdict.
    """
    random = Random(f"lines {history.seed}")  # noqa: S311 - no key is made of it
    loss, twice = random.choice([(0, 0), (0, 0), (0, 0.1), (0.1, 0.1), (0.4, 0)])
    stuck = {who: _when(random) if random.random() < 0.03 else -1 for who in history.instances()}
    lines = []
    for process in history.processes:
        who = process.service, process.instance
        held, (_, end) = stuck[who], history.outages.get(who, (-1, 1))
        for said in events_of(process):
            if said.age > 2 * HOUR and said.kind == "running":
                continue  # nothing depends on it
            is_held = said.age <= held or (end == 0 and history.is_out(*who, said.age))
            times = 0 if is_held or random.random() < loss else 1 + (random.random() < twice)
            lines += [Line(written(said), said, is_readable=True)] * times
    random.shuffle(lines)
    if lines and random.random() < 0.08:
        _cut(random, lines)
    if random.random() < 0.08:
        lines.insert(random.choice([0, len(lines)]), _forged(random, history))
    return lines


def make_files(history: History, lines: Sequence[Line]) -> list[list[Line]]:
    """Return the files of a log: one for each instance, in any order. A full disk may cut the last line of one."""
    random = Random(f"files {history.seed}")  # noqa: S311 - no key is made of it
    files: dict[object, list[Line]] = {}
    who: object = None
    for line in lines:
        # What is after a cut line stays with it.
        if not files or line.is_readable or who is None:
            who = (line.said.process.service, line.said.process.instance) if line.said else None
        files.setdefault(who, []).append(line)
    found = [*files.values()]
    random.shuffle(found)
    if found and random.random() < 0.04:
        last = random.choice(found)
        content = last[-1].content
        last[-1] = Line(content[: random.randrange(1, max(2, len(content) - 1))], last[-1].said, is_readable=False)
    return found


def _cut(random: Random, lines: list[Line]) -> None:
    """Cut a line. Without its line feed, the next one is lost with it."""
    at = random.randrange(len(lines))
    content, end = lines[at].content, random.choice([b"", b"\n"])
    most = random.choice([15, *[len(content) - 1] * 7])  # at times less than the beginning of an event
    lines[at] = Line(content[: random.randrange(1, most)] + end, lines[at].said, is_readable=False)
    if not end and at + 1 < len(lines):
        after = lines[at + 1]
        lines[at + 1] = Line(after.content, after.said, is_readable=False)


def _forged(random: Random, history: History) -> Line:
    """Return a line that a program wrote in order to speak for others, or that a collector got wrong."""
    service = random.choice([*history.roster])
    instance = random.choice(history.roster[service])
    other = random.choice(history.processes)
    process = Process(service, instance, "forged", 0, None, True, ((0, history.expected[service]),), (), 300, ((0, 0),))  # noqa: FBT003
    fresh = written(Said(process, "running", 0, 10**9, history.expected[service]))
    own = Process("attacker", "x", other.name, 0, None, True, ((0, other.keys_at(0)),), (), 300, ((0, 0),))  # noqa: FBT003
    quoted = [b"GET /" + fresh, json.dumps({"message": fresh.decode()}).encode() + b"\n", fresh[:-1] + b" 404\n"]
    extra = [written(Said(process, "running", 0, 10**9, history.expected[service]), message="x"), b"null\n"]
    half = [b'{"secret_event":"unreadable"}\n', json.dumps({"log": fresh.decode(), "instance": "x"}).encode() + b"\n"]
    # An end of a process with the name of another one, by an instance of its own: it takes away nothing of others.
    end = written(Said(own, "ended", 0, 10**9, other.keys_at(0)))
    picked = random.choice([*quoted, *extra, *half, end, end, end])
    return Line(picked, None, is_readable=picked is end)
