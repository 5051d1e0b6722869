"""The sets that were published, clients that present tokens of every key, and the judgement of each answer."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from command_line import fingerprint_of
from conftest import TIMEOUT, V1
from live_minting import ISSUED, KEYS, PLAIN, STORED, kid_of, signer_of
from live_model import DATABASE
from publications import NEXT, PREVIOUS, REVOKED, UNTIL, text_of, volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from live_hosts import Running
    from publications import Files

SLOTS: Final = {"current": V1, "next": NEXT, "previous": PREVIOUS}
MARGIN: Final = 0.1
"""Seconds around an instant in which an answer may be that of before or of after it."""
CLIENTS: Final = 2
PAUSE: Final = 0.02
MOST_ROUNDS: Final = 60
"""How often a question is asked until each process has answered it."""


@dataclass
class State:
    """A set that was published.

    Attributes:
        files: its files.
        at: when it was published, in seconds of the clock.
        settled: when each process had it.
    """

    files: Files = field(repr=False)
    at: float
    settled: float = float("inf")

    def __post_init__(self) -> None:
        self.slots = {role: text_of(self.files, name) for role, name in SLOTS.items() if name in self.files}
        self.address = text_of(self.files, DATABASE)
        self._begins: dict[str, float] = {}
        for entry in filter(None, text_of(self.files, REVOKED).split(",") if REVOKED in self.files else ()):
            listed, _, begin = entry.partition("@")
            instant = datetime.fromisoformat(begin).timestamp() if begin else 0
            self._begins[listed] = min(instant, self._begins.get(listed, instant))
        if "previous" in self.slots:
            self._until = datetime.fromisoformat(text_of(self.files, UNTIL)).timestamp()

    def current(self, view: str) -> str:
        """Return what signs."""
        return self.address if view in ISSUED else self.slots["current"]

    def accepts(self, view: str, key: str, at: float) -> bool:
        """Whether a service that has this set accepts what a key has signed."""
        if view in ISSUED:
            return key == self.address
        role = next((role for role, each in self.slots.items() if each == key), None)
        begin = self._begins.get(fingerprint_of(key), float("inf"))
        if view in STORED:
            return role is not None and begin > 0
        return role is not None and at < begin and not (role == "previous" and at >= self._until)

    def held(self, at: float) -> list[object]:
        """Return what the service says that it has."""
        ids = {role: kid_of(key) for role, key in self.slots.items() if self.accepts("field", key, at)}
        return [ids, ids, hashlib.sha256(self.address.encode()).hexdigest()]


class Request(NamedTuple):
    """A request and its answer."""

    view: str
    action: str
    key: str
    user: str
    sent: float
    received: float
    status: int
    text: str
    pid: int


class Traffic:
    """Clients of a host, and the directory from which it gets its keys.

    Attributes:
        states: the sets that were published.
        requests: each request that was answered or has failed.
        latest: the longest time from a publication until each process had the set, in seconds.
        unasked: the questions that a process has not answered after a step.
    """

    def __init__(self, running: Running, directory: Path, workers: int, views: tuple[str, ...], files: Files) -> None:
        self._running, self._directory, self._workers, self._views = running, directory, workers, views
        self.states = [State(files, time.time())]
        self.requests: list[Request] = []
        self.latest = 0.0
        self.unasked = 0
        self._numbers = itertools.count()
        self._ended = threading.Event()

    @contextlib.contextmanager
    def going(self) -> Iterator[None]:
        """Send requests all the time."""
        threads = [threading.Thread(target=self._go, args=(number,)) for number in range(CLIENTS)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._ended.set()
            for each in threads:
                each.join(TIMEOUT)

    def _go(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - no key
        while not self._ended.wait(PAUSE):
            questions = self._questions(chance.choice(self._views))
            self._ask(*chance.choice(questions))

    @property
    def keys(self) -> list[str]:
        """Every key of the rotated secret, the newest first."""
        return list(dict.fromkeys(key for state in reversed(self.states) for key in state.slots.values()))

    @property
    def addresses(self) -> list[str]:
        """Every address of the database, the newest first."""
        return list(dict.fromkeys(state.address for state in reversed(self.states)))

    def _questions(self, view: str) -> list[tuple[str, str, str]]:
        """Return what is asked of a view: to sign, and to accept the last four keys."""
        if view == "pair":
            return [(view, "sign", "")]
        known = self.addresses if view in ISSUED else self.keys
        signs = [] if view in KEYS else [(view, "sign", "")]
        return [*signs, *[(view, "verify", key) for key in known[:4]]]

    def _ask(self, view: str, action: str, key: str) -> int:
        """Ask once, and return the process that has answered."""
        user = f"user-{next(self._numbers)}"
        argument = PLAIN[view].mint(key, user) if action == "verify" else user
        sent = time.time()
        try:
            status, text, pid = self._running.service.ask(view, action, argument)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request failed
            status, text, pid = 0, type(error).__name__, 0
        self.requests.append(Request(view, action, key, user, sent, time.time(), status, text, pid))
        return pid

    def publish(self, files: Files) -> None:
        """Publish a set, and wait until each process says that it has it."""
        self.states.append(State(files, time.time()))
        volume(self._directory, files)
        self.wait()

    def wait(self) -> None:
        """Wait until each process says that it has the set that was published last."""
        began, state = time.time(), self.states[-1]
        while not self._agree(state):
            assert time.time() - began < TIMEOUT / 4, "a process does not follow"
            time.sleep(0.02)  # there is no event: another process reads
        self.latest = max(self.latest, time.time() - began)
        state.settled = min(state.settled, time.time())

    def _agree(self, state: State) -> bool:
        """Whether so many processes have answered in a row, and all of them with this set."""
        answered = dict[int, object]()
        for _ in range(MOST_ROUNDS):
            status, text, pid = self._running.service.ask("state")
            if status != 200 or json.loads(text) != state.held(time.time()):
                return False
            answered[pid] = text
            if len(answered) == self._workers:
                return True
        return False

    def ask_all(self) -> None:
        """Ask each process every question once or more."""
        left = [(question, set[int]()) for view in self._views for question in self._questions(view)]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(MOST_ROUNDS):
                for (_, pids), pid in zip(left, pool.map(lambda each: self._ask(*each[0]), left), strict=True):
                    pids.add(pid)
                left = [each for each in left if len(each[1]) < self._workers]
        self.unasked += len(left)


@dataclass
class Figures:
    """What the answers of a host were."""

    requests: int = 0
    had_to_be_accepted: int = 0
    had_to_be_refused: int = 0
    during_a_change: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    valid_refused: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)

    def faults(self) -> dict[str, Counter[str]]:
        """Return what may not be."""
        counts = {"failed": self.failed, "valid tokens refused": self.valid_refused, "stale answers": self.stale}
        return {name: +count for name, count in counts.items()}

    def counts(self) -> dict[str, int]:
        """Return the figures by name."""
        return {
            "requests": self.requests,
            "had to be accepted": self.had_to_be_accepted,
            "had to be refused": self.had_to_be_refused,
            "during a change": self.during_a_change,
            **{name: sum(count.values()) for name, count in self.faults().items()},
        }


def judged(traffic: Traffic) -> Figures:
    """Judge each answer by the sets that the process may have had at that time."""
    found = Figures()
    for request in traffic.requests:
        found.requests += 1
        possible = _possible(traffic.states, request)
        if request.status not in {200, 401} or (request.action == "sign" and request.status != 200):
            found.failed[f"{request.view} {request.action}: {request.status} {request.text[:60]}"] += 1
        elif request.action == "sign":
            _judge_signed(request, possible, traffic, found)
        else:
            _judge_verified(request, possible, found)
    return found


def _possible(states: list[State], request: Request) -> list[State]:
    """Return the sets that a process may have had during a request."""
    ends = [*(state.settled for state in states[1:]), float("inf")]
    return [
        state
        for state, end in zip(states, ends, strict=True)
        if state.at - MARGIN <= request.received and request.sent <= end + MARGIN
    ]


def _judge_signed(request: Request, possible: list[State], traffic: Traffic, found: Figures) -> None:
    if request.view == "pair":
        user, first, _, second = request.text.split()
        made = [
            signer_of("field", f"{user} {first}", user, traffic.keys),
            signer_of("issued", f"{user} {second}", user, traffic.addresses),
        ]
        if made not in [[state.slots["current"], state.address] for state in possible]:
            found.stale["pair"] += 1
        return
    known = traffic.addresses if request.view in ISSUED else traffic.keys
    key = signer_of(request.view, request.text, request.user, known)
    if key not in {state.current(request.view) for state in possible}:
        found.stale[f"{request.view} sign"] += 1


def _judge_verified(request: Request, possible: list[State], found: Figures) -> None:
    instants = request.sent - MARGIN, request.received + MARGIN
    verdicts = {state.accepts(request.view, request.key, at) for state in possible for at in instants}
    is_accepted = request.status == 200
    if verdicts == {True}:
        found.had_to_be_accepted += 1
        found.valid_refused[f"{request.view} verify"] += not is_accepted
    elif verdicts == {False}:
        found.had_to_be_refused += 1
        found.stale[f"{request.view} verify"] += is_accepted
    else:
        found.during_a_change += 1
