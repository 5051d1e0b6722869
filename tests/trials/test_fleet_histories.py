"""No false all-clear: random histories of a fleet, compared with what is true.

An all-clear is false if a process runs against it of which the reader was told: the event of its last change is younger
than the limit, or than its heartbeat, and a line with it or a later one was delivered, whole or cut. It is also false
if nothing of a declared instance was delivered that was truly said within the limit.
"""

from __future__ import annotations

import inspect
import io
import sys
import types
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from conftest import NOW
from fleets import NAME
from histories import MAX_AGE, SKEW, in_staging, make_files, make_history, make_lines, make_ordinary

from robodj_secretguard.fleet import evidence as reader
from robodj_secretguard.fleet.verdict import Evidence, Service, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from histories import Condition, History, Line, Process

LEAST_PROVEN = 0.54
"""Of all true all-clears. Many histories have processes that are silent or lost, or a short cut line that blocks."""
LEAST_PROVEN_OF_ORDINARY = 0.97


def evidence_of(lines: Sequence[Line], made: Callable[..., Any] = reader.EventReader) -> Evidence:
    """Return the evidence that a reader finds."""
    found = made(NOW, MAX_AGE)
    found.read(io.BytesIO(b"".join(each.content for each in lines)))
    evidence: Evidence = found.evidence()
    return evidence


def proven(found: Evidence, history: History, condition: Condition) -> set[str]:
    """Return the services for which a condition is proven."""
    name, key = condition
    slot = {"moved": "current", "has-next": "next"}.get(name, "")
    services = {
        Service(service, names): key or getattr(history.expected[service], slot)
        for service, names in history.roster.items()
    }
    return {each.service for each in judge(name, NAME, services, found) if each.holds}  # type: ignore[arg-type]


class Told:
    """What the reader was told of a history.

    Attributes:
        running: the processes that run, and of whose keys the reader was told within the limit.
        heard: the instances from which something was delivered that was truly said within the limit.
    """

    def __init__(self, history: History, lines: Sequence[Line]) -> None:
        self.running: list[Process] = []
        self.heard: set[tuple[str, str]] = set()
        for said in (each.said for each in lines if each.said):
            process = said.process
            skew = process.skew_at(said.age)
            # The clock is wrong, and its time is past: nobody can know that.
            is_hidden = skew > SKEW >= skew - said.age
            if (said.age <= MAX_AGE and said.kind != "ended") or is_hidden:
                self.heard.add((process.service, process.instance))
            is_told = said.age <= process.keys[-1][0] and said.age <= max(MAX_AGE, process.heartbeat)
            if process.runs_at(0) and is_told:
                self.running.append(process)
        self.history = history

    def is_false(self, service: str, condition: Condition) -> bool:
        """Check whether the truth does not allow an all-clear."""
        against = self.history.against(service, condition)
        rows = {(service, name) for name in self.history.roster[service]}
        return any(each in against for each in self.running) or not rows <= self.heard


def runs(number: int) -> Iterator[tuple[History, list[Line]]]:
    """Yield histories with their lines."""
    for seed in range(number):
        history = make_history(seed)
        yield history, make_lines(history)


class Share:
    """How many true all-clears were given. A false one is an error."""

    def __init__(self) -> None:
        self._clear, self._true = Counter[str](), Counter[str]()

    def add(self, history: History, told: Told, found: Evidence) -> None:
        """Judge each condition of a history."""
        for condition in history.conditions():
            services = proven(found, history, condition)
            for service in history.roster:
                assert not (service in services and told.is_false(service, condition)), (history.seed, condition)
                holds = history.holds(service, condition)
                self._true[condition[0]] += holds
                self._clear[condition[0]] += holds and service in services

    def of_all(self) -> float:
        """Print and return the share."""
        share = self._clear.total() / self._true.total()
        counts = {name: (self._clear[name], self._true[name]) for name in self._true}
        print(counts, f"{share:.1%}")  # noqa: T201 - with -s
        return share


@pytest.mark.parametrize("number", [300, pytest.param(20_000, marks=pytest.mark.full)])
def test_no_false_all_clear(number: int) -> None:
    """Whatever happens to processes, clocks and lines, nothing is proven that is not true. Much of the rest is."""
    share = Share()
    for history, lines in runs(number):
        share.add(history, Told(history, lines), evidence_of(lines))
    assert share.of_all() >= LEAST_PROVEN


@pytest.mark.parametrize("number", [100, pytest.param(20_000, marks=pytest.mark.full)])
def test_no_false_all_clear_of_many_files_and_environments(number: int) -> None:
    """Each instance has a file of its own, disks are full, and staging writes into the same log: nothing false."""
    share = Share()
    for seed in range(number):
        history, staging = in_staging(make_history(seed))
        lines = make_lines(history)
        found = reader.EventReader(NOW, MAX_AGE)
        for file in make_files(history, [*lines, *make_lines(staging)]):
            found.read(io.BytesIO(b"".join(each.content for each in file)))
        share.add(history, Told(history, lines), found.evidence(dict.fromkeys(history.roster, "production")))
    assert share.of_all() >= LEAST_PROVEN


@pytest.mark.parametrize("number", [100, pytest.param(20_000, marks=pytest.mark.full)])
def test_all_clears_of_an_ordinary_fleet(number: int) -> None:
    """Of an ordinary fleet, nearly all true all-clears are given, and no false one."""
    share = Share()
    for history, lines in map(make_ordinary, range(number)):
        share.add(history, Told(history, lines), evidence_of(lines))
    assert share.of_all() >= LEAST_PROVEN_OF_ORDINARY


MUTANTS = {
    "the age does not matter": ("<= self._max_age - self._skew", "<= self._max_age * 9"),
    "what proves may be as old as the limit": ("<= self._max_age - self._skew", "<= self._max_age"),
    "what counts against is not older than the limit": (
        "event.heartbeat_seconds) + self._skew",
        "event.heartbeat_seconds)",
    ),
    "a heartbeat does not matter": ("max(self._max_age, event.heartbeat_seconds)", "self._max_age"),
    "a clock that is ahead is not said": ("if event.reported_at.timestamp() > self._at + self._skew", "if False"),
    "a line that cannot be read is skipped": ("if self._unreadable:", "if False:"),
    "the last line counts": ("event.number > self._last.get(process, (-1,))[0]", "True"),
    "the first line counts": ("event.number > self._last.get(process, (-1,))[0]", "process not in self._last"),
    "the latest time counts": ("= event.number, event", "= int(event.reported_at.timestamp()), event"),
    "an end takes away its instance": ("*_who(event), event.process", "*_who(event), ''"),
    "names of processes are of all instances": ("*_who(event), event.process", "'', '', event.process"),
    "an end takes away nothing": ('if event.kind != "ended"', "if True"),
    "namespaces do not matter": ("(event.namespace, ", "(event.namespace and 'eu', "),
}
"""Readers that do not follow a rule: a part of the source, and what is there instead."""


def test_each_broken_reader_differs_in_one_place() -> None:
    """After a change of the reader, each part of the source is still there, once."""
    source = inspect.getsource(reader)
    assert [name for name, (old, _) in MUTANTS.items() if source.count(old) != 1] == []


@pytest.mark.full
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_reader_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The histories have a false all-clear of each reader that does not follow the rule."""
    old, new = MUTANTS[name]
    source = inspect.getsource(reader)
    broken = types.ModuleType("broken")
    monkeypatch.setitem(sys.modules, "broken", broken)  # dataclasses need it
    exec(source.replace(old, new), broken.__dict__)  # noqa: S102 - our own source
    for history, lines in runs(20_000):
        told, found = Told(history, lines), evidence_of(lines, broken.EventReader)
        for condition in history.conditions():
            if any(told.is_false(service, condition) for service in proven(found, history, condition)):
                print(name, history.seed, condition)  # noqa: T201 - with -s
                return
    pytest.fail("nothing was found")
