"""A paced client that keeps tokens of every age, and the judgement of each answer by the history of the directory."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import quote

from conftest import TIMEOUT
from delivered import State
from presented import signer_of
from refreshed_model import PERIOD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from delivered import Delivered

KEYS: Final = ("ring.key", "fastapi.key")
"""Operations whose token is the key itself."""
AT_REST: Final = ("aesgcm",)
"""Operations for stored data: the deadline does not count."""
CLIENTS: Final = 3
RATE: Final = 75
"""Requests in a second, of all clients."""
SIGNED: Final = 0.3
"""The share of requests that sign."""
SLACK: Final = 2.0
"""Seconds more than two periods: a read waits until files are a second old, and the processes share a machine."""
LAG: Final = 2 * PERIOD.total_seconds() + SLACK
RETRIES: Final = 10.0
"""Seconds in which a request is sent again that no process has answered: a worker that ends closes its connections."""


ANSWER_SECONDS: Final = 30


class Answer(NamedTuple):
    """The status, the token or the text, and the process that has answered."""

    status: int
    text: str
    pid: int


class Service(Protocol):
    """How a client reaches the service."""

    @property
    def operations(self) -> Sequence[str]:
        """What the clients do."""

    def ask(self, operation: str, action: str, argument: str, seconds: float = ANSWER_SECONDS) -> Answer:
        """Sign or verify. An `OSError` or an `HTTPException`: nobody has answered."""


@dataclass(frozen=True)
class Web:
    """A service that answers HTTP requests."""

    port: int
    operations: Sequence[str]

    def ask(self, operation: str, action: str, argument: str, seconds: float = ANSWER_SECONDS) -> Answer:
        headers = {"Connection": "close", "Cookie": f"session={argument}", "X-API-Key": argument}
        if "session" not in operation:
            del headers["Cookie"]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)) as connection:
            connection.request("GET", f"/{operation}/{action}?argument={quote(argument)}", headers=headers)
            answer = connection.getresponse()
            cookies = SimpleCookie(answer.headers.get("Set-Cookie", ""))
            body = answer.read().decode()
            text = next((each.value for each in cookies.values()), body)
            return Answer(answer.status, text, int(answer.headers.get("X-Pid", 0)))


@dataclass
class Token:
    """What an operation has signed for a user, and from when to when that took."""

    operation: str
    text: str = field(repr=False)
    user: str
    sent: float
    received: float
    key: str | None = field(default=None, repr=False)
    pid: int = 0


@dataclass(frozen=True)
class Presented:
    """A token that was verified, or was not."""

    token: Token
    sent: float
    received: float
    is_accepted: bool
    pid: int


@dataclass(frozen=True)
class Failed:
    """A request that failed."""

    operation: str
    action: str
    sent: float
    received: float
    why: str


class Traffic:
    """Clients that sign and verify all the time."""

    def __init__(self, service: Service, source: Delivered) -> None:
        self.service, self.source = service, source
        self.signed: list[Token] = []
        self.presented: list[Presented] = []
        self.failed: list[Failed] = []
        self.retries = 0
        self.answered: dict[int, float] = {}
        """By process: when it has answered first."""
        self._ages: defaultdict[str, defaultdict[int, list[Token]]] = defaultdict(lambda: defaultdict(list))
        self._ended = threading.Event()
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        """How many requests were answered or have failed."""
        return len(self.signed) + len(self.presented) + len(self.failed)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Send requests all the time."""
        threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._ended.set()
            for each in threads:
                each.join(TIMEOUT)

    def _run(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - no key
        due = time.monotonic()
        for operation in itertools.cycle(self.service.operations):
            due = max(due + CLIENTS / RATE, time.monotonic())
            if self._ended.wait(due - time.monotonic()):
                return
            ages = self._ages[operation]
            if operation in KEYS:
                self._present_key(operation, chance)
            elif not ages or chance.random() < SIGNED:
                self._sign(operation)
            else:
                self._present(chance.choice(ages[chance.choice(list(ages))]))

    def _ask(self, operation: str, action: str, argument: str) -> tuple[float, float, Answer | None]:
        """Return when a request was sent and answered, and the answer."""
        began = time.time()
        while True:
            sent, why = time.time(), ""
            try:
                answer = self.service.ask(operation, action, argument)
            except (OSError, http.client.HTTPException) as error:
                why = type(error).__name__
                if self.source.now.is_good() and time.time() - began < RETRIES and not self._ended.is_set():
                    self.retries += 1
                    time.sleep(0.05)
                    continue
                answer = None
            received = time.time()
            if answer is not None and answer.status in {200, 401}:
                self.answered.setdefault(answer.pid, received)
                return sent, received, answer
            why = why or f"status {answer.status if answer else 0}"
            self.failed.append(Failed(operation, action, began, received, why))
            return sent, received, None

    def _sign(self, operation: str) -> None:
        user = f"user-{next(self._numbers)}"
        sent, received, answer = self._ask(operation, "sign", user)
        if answer and answer.status == 200:
            token = Token(operation, answer.text, user, sent, received, pid=answer.pid)
            self.signed.append(token)
            self._ages[operation][len(self.source.history)].append(token)
        elif answer:
            self.failed.append(Failed(operation, "sign", sent, received, "status 401"))

    def _present(self, token: Token) -> None:
        sent, received, answer = self._ask(token.operation, "verify", token.text)
        if answer and answer.status == 200 and answer.text != token.user:
            self.failed.append(Failed(token.operation, "verify", sent, received, "another user"))
        elif answer:
            self.presented.append(Presented(token, sent, received, answer.status == 200, answer.pid))

    def _present_key(self, operation: str, chance: random.Random) -> None:
        key = chance.choice(self.source.keys)
        self._present(Token(operation, key, "", 0, 0, key))

    def signer(self, token: Token) -> str | None:
        """Return the key that has signed a token."""
        token.key = token.key or signer_of(token.operation, token.text, token.user, self.source.keys)
        return token.key

    def wait_for(self, more: int) -> None:
        """Wait for some more requests."""
        expected, deadline = self.requests + more, time.monotonic() + TIMEOUT
        while self.requests < expected:
            assert time.monotonic() < deadline, "the clients do not get on"
            time.sleep(0.05)


@dataclass
class Judgement:
    """What the answers of a run were."""

    requests: int = 0
    signed: int = 0
    accepted: int = 0
    rejected: int = 0
    either: int = 0
    """Answers within two periods of a change, where an old and a new set differ."""
    retries: int = 0
    slowest: float = 0
    failed: Counter[str] = field(default_factory=Counter)
    valid_rejected: Counter[str] = field(default_factory=Counter)
    signed_otherwise: Counter[str] = field(default_factory=Counter)
    old_accepted: Counter[str] = field(default_factory=Counter)
    latest: tuple[float, str] = (0, "")
    """How many seconds after a change a process has still used the old set, and for what."""
    ages: Counter[int] = field(default_factory=Counter)
    """By number of changes since a token was signed: how often such a token was presented."""

    def failures(self) -> dict[str, Counter[str]]:
        """Return what may not be."""
        counts = {
            "failed": self.failed,
            "valid tokens rejected": self.valid_rejected,
            "signed with another key than the current one": self.signed_otherwise,
            "old tokens accepted": self.old_accepted,
        }
        return {name: count for name, count in counts.items() if count}

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "requests": self.requests,
            "signed": self.signed,
            "had to be accepted": self.accepted,
            "had to be rejected": self.rejected,
            "within two periods of a change": self.either,
            "sent again, as a worker had ended": self.retries,
            "slowest answer, s": round(self.slowest, 1),
            "failed": sum(self.failed.values()),
            "valid tokens rejected": sum(self.valid_rejected.values()),
            "signed with another key than the current one": sum(self.signed_otherwise.values()),
            "old tokens accepted": sum(self.old_accepted.values()),
            "an old set was used for up to, s": f"{self.latest[0]:.2f} ({self.latest[1]})",
            "presented by age in changes": dict(sorted(self.ages.items())),
        }


def judged(traffic: Traffic, history: Sequence[State], outage: tuple[float, float] = (0, 0)) -> Judgement:
    """Judge every answer by what the directory had at that time, and up to two periods before.

    During an outage, requests may fail.
    """
    found = Judgement(traffic.requests, len(traffic.signed), retries=traffic.retries)
    keys = traffic.source.keys
    answered = [(each.sent, each.received) for each in traffic.signed]
    answered += [(each.sent, each.received) for each in traffic.presented]
    found.slowest = max(received - sent for sent, received in answered)
    for failed in traffic.failed:
        states = _within(history, failed.sent, failed.received)
        if all(state.is_good() for state in states) and not outage[0] <= failed.sent <= outage[1]:
            found.failed[f"{failed.operation} {failed.action}: {failed.why}"] += 1
    for token in traffic.signed:
        states = _within(history, token.sent, token.received)
        candidates = [*(state.keys["current"] for state in reversed(states)), *keys]
        token.key = signer_of(token.operation, token.text, token.user, dict.fromkeys(candidates))
        if token.key not in {
            state.keys["current"] for state in states if not state.is_revoked(token.key or "", state.at)
        }:
            found.signed_otherwise[token.operation] += 1
        elif token.key not in {state.keys["current"] for state in _within(history, token.sent, token.received, 0)}:
            since = max(state.at for state in states if state.keys["current"] == token.key)
            replaced_at = min(state.at for state in states if state.at > since)
            age = token.sent - traffic.answered[token.pid]
            late = token.sent - replaced_at, f"{token.operation} sign, {age:.1f} s after the process answered first"
            found.latest = max(found.latest, late)
    for each in traffic.presented:
        _judge(each, history, found)
    return found


def _judge(each: Presented, history: Sequence[State], found: Judgement) -> None:
    key, operation = each.token.key, each.token.operation
    if key is None:
        return
    states = _within(history, each.sent, each.received)
    rule = State.decrypts if operation in AT_REST else State.accepts
    verdicts = {rule(state, key, at) for state in states for at in (each.sent - 0.1, each.received + 0.1)}
    born = sum(state.at <= each.token.sent for state in history)
    found.ages[sum(state.at <= each.sent for state in history) - born if each.token.sent else -1] += 1
    if verdicts == {True}:
        found.accepted += 1
        if not each.is_accepted:
            found.valid_rejected[operation] += 1
    elif verdicts == {False}:
        found.rejected += 1
        if each.is_accepted:
            found.old_accepted[operation] += 1
    else:
        found.either += 1
        meanwhile = _within(history, each.sent, each.received, 0)
        if each.is_accepted and not any(rule(state, key, each.sent) for state in meanwhile):
            late = each.sent - _dropped(history, rule, key, each.sent)
            found.latest = max(found.latest, (late, f"{operation} verify"))


def _within(history: Sequence[State], sent: float, received: float, lag: float = LAG) -> list[State]:
    """Return the states that a process may have used for a request."""
    ends = [*(state.at for state in history[1:]), float("inf")]
    return [state for state, end in zip(history, ends, strict=True) if end > sent - lag and state.at <= received] or [
        history[0]
    ]


def _dropped(history: Sequence[State], rule: Callable[[State, str, float], bool], key: str, at: float) -> float:
    """Return from when on the key was not valid any more."""
    since = at
    for state in reversed([state for state in history if state.at <= at]):
        if rule(state, key, at):
            break
        since = max(state.at, min(state.until, at) if state.keys.get("previous") == key else state.at)
    return since
