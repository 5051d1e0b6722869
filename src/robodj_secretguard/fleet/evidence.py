"""What processes run on: their events, or the samples that Prometheus has of them (policy sections 3 and 4).

The recipe of a collector writes one event in a line, with the names that the collector gives. Every other line of the
window of proof may hide an event, so it makes everything unknown. Prometheus gets one query, and evaluates it.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import itemgetter
from typing import Annotated, Any, BinaryIO, Final, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.common.grouping import grouped
from robodj_secretguard.common.shapes import SHAPE, FreeText, Instant, SecretName, Slots, must
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.fleet.verdict import Evidence, InstanceName, Use
from robodj_secretguard.managers.manager import answer_within, is_insecure
from robodj_secretguard.running.heartbeat import EventKind
from robodj_secretguard.running.state import StateName
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import (
    could_hold_key,
    count,
    is_environment,
    is_free_text,
    is_instance_name,
    listed,
)
from robodj_secretguard.startup.file_reader import read_text_file
from robodj_secretguard.startup.inputs import MOST_HEARTBEAT_SECONDS, iso_utc, parse_marker

MOST_LINE_BYTES: Final = 1 << 16
"""A longer line is not an event."""
MOST_PROCESSES: Final = 20_000
"""How many processes are kept. With more of them, nothing is certain."""
MOST_BYTES: Final = 1 << 25
"""The largest answer that is read."""
SECONDS: Final = 30.0
"""How long to wait for the whole answer."""
SKEW: Final = 300.0
"""How many seconds the clock of a machine may be behind that of Prometheus. Each process ends its previous key."""
_BEGIN: Final = b'{"secret_event"'
# The beginning of an event, which a cut line still has: when it was sent, and by which instance.
_HEAD: Final = re.compile(
    rb'\{"secret_event": ?"[a-z]*", ?"reported_at": ?"([0-9T:-]{19}Z)"'
    rb'(?:, ?"service": ?"([\w./:-]{1,100})", ?"instance": ?"([\w./:-]{1,100})")?'
)
_STATES: Final = {
    "kept": "delivered, not taken",
    "late": "reads no secrets",
    "ending": "ends, as its key is revoked,",
}
"""What a process does in a state other than `following`."""
_REACH: Final = "make sure that this is the address of a Prometheus that can be reached"
_LABELS: Final = ("secret", "slot", "fingerprint", "state", "check", "robodj_environment")
_UNKNOWN: Final = {
    "several": "several processes may answer for it. It was restarted, has workers, or cannot count them; use --events",
    "shared": "another target reaches the same process; pass --select to leave that out",
    "lost": "its target is down, is not the only one of its name, or exports no keys",
}
"""Why nothing is certain about an instance, by the label `slot` in the answer."""
# What selects by a key, a slot or a process would hide the keys that an instance uses.
_MATCHER: Final = (
    r"(?!(?:secret|owner|slot|fingerprint|process|__name__)\W)[a-zA-Z_][a-zA-Z0-9_]*"
    r'(?:=|!=|=~|!~)"[^"\\\x00-\x1f]*"'
)
_QUERY: Final = """
label_replace(PROCESSES != 1, "slot", "several", "", "")
or label_replace(
  count by (TARGET) (WORKERS and on (process) count by (process) (count by (TARGET, process) (WORKERS)) > 1),
  "slot", "shared", "", "")
or label_replace(
  count by (TARGET) (up{SELECT}) and on (namespace, job) WORKERS unless (GOOD or PROCESSES != 1),
  "slot", "lost", "", "")
or max by (TARGET, secret, slot, fingerprint) (timestamp(KEYS)) >= on (TARGET) group_left () GOOD
  unless on (TARGET, secret, slot) OVER
or 0 * count by (TARGET, secret, slot, fingerprint) (last_over_time(KEYS[AGEs]))
  unless on (TARGET, secret, slot) OVER
or label_replace(
  count by (TARGET, robodj_environment) (last_over_time(robodj_secret_processes{SELECT}[1h])),
  "slot", "environment", "", "")
or label_replace(max by (TARGET, state) (STATES), "slot", "state", "", "")
or label_replace(
  count by (TARGET, secret, check) (robodj_secret_findings{severity="alert",SELECT} > 0 and on (TARGET) STATES),
  "slot", "check", "", "")
"""
# A target is good if it is the only one of its name, its last scrape is recent and has worked, and only one process
# has answered. A key has the time of that scrape of a good target, or 0 where it was only seen before. A previous key
# whose deadline is over on every clock is none. The environment of a target that is down is known for an hour.
_PARTS: Final = {
    "GOOD": "(min by (TARGET) (timestamp(up{SELECT}) * up{SELECT}) > time() - AGE"
    " and count by (TARGET) (up{SELECT}) == 1 and PROCESSES == 1)",
    "PROCESSES": "(count by (TARGET) (count by (TARGET, process) (WORKERS)) * max by (TARGET) (WORKERS))",
    # A label `process` of the target would take the place of the collector's.
    "WORKERS": 'max_over_time(robodj_secret_processes{process=~"[0-9]+-[0-9a-f]+",SELECT}[AGEs])',
    "KEYS": 'robodj_secret_info{fingerprint!="",SELECT}',
    "OVER": "label_replace(max by (TARGET, secret)"
    " (max_over_time(robodj_secret_previous_until_timestamp_seconds{SELECT}[AGEs])) <= time() - SKEW,"
    ' "slot", "previous", "", "")',
    "STATES": 'robodj_secret_state_timestamp_seconds{state!="following",SELECT}',
    "TARGET": "namespace, job, instance",
}


_Instance: TypeAlias = tuple[str, str]
"""A service and its instance."""
_Row: TypeAlias = tuple[_Instance, Mapping[str, str], float]
"""A row of an answer of Prometheus: its instance, its labels, and its value."""


@dataclass(frozen=True, config=SHAPE)
class SentEvent:
    """An event of the guard. A collector may add its namespace."""

    kind: Annotated[EventKind, Field(alias="secret_event")]
    event: str
    service: InstanceName
    instance: InstanceName
    process: Annotated[str, Field(min_length=1, max_length=100)]
    number: Annotated[int, Field(ge=0)]
    state: StateName | None
    state_since: Instant | None
    started_at: Instant
    reported_at: Instant
    heartbeat_seconds: Annotated[int, Field(ge=0, le=MOST_HEARTBEAT_SECONDS)]
    version: str
    model: str
    secrets: dict[SecretName, Slots]
    off: tuple[SecretName, ...]
    checks: tuple[FreeText, ...]
    environment: Annotated[str, must(lru_cache(1 << 10)(is_environment))] | None = None
    namespace: InstanceName | None = None


_EVENT: Final = TypeAdapter(SentEvent)


class EventReader:
    """Read the events of a fleet, file by file, in constant memory.

    They may be late, in any order of files, and more than once. Of a process, the last event counts, by its number.
    Clocks may differ by a third of the age: what proves something is that much younger, and what counts against a
    condition may be that much older.

    Args:
        now: the time of the verdict, in UTC.
        max_age: how old evidence may be, in seconds. Where a heartbeat is longer, it counts against a condition until
            the next one is due.
        asked: fingerprints of which it remembers whether any line has them, however old.
    """

    def __init__(self, now: datetime, max_age: int, asked: Collection[str] = ()) -> None:
        self._at = now.timestamp()
        self._max_age = max_age
        self._skew = max_age // 3
        self._last: dict[tuple[str, str, str], tuple[int, SentEvent]] = {}
        self._unreadable = 0
        self._first_unreadable = ""
        self._asked = {each.encode(): each for each in asked}
        self._reported: set[str] = set()

    def read(self, file: BinaryIO, name: str = "line ") -> None:
        """Read the JSON lines of a file, each of which was appended after those above it. `name` precedes numbers."""
        latest = 0.0
        undated = 0
        first_undated = ""
        # A line that is too long is read in parts.
        for number, line in enumerate(iter(partial(file.readline, MOST_LINE_BYTES), b""), start=1):
            self._reported.update([name for key, name in self._asked.items() if key in line])
            if line.isspace():
                continue
            event = _event_in(line)
            times = _times_in(line) if event is None else [event.reported_at.timestamp()]
            latest = max([latest, *times])
            if event is not None:
                self._keep(event, times[0])
            elif line.startswith(_BEGIN) and len(times) == line.count(_BEGIN):
                self._count_unreadable(f"{name}{number}{_whose(line)}", max(times))
            else:
                undated += 1
                first_undated = first_undated or f"{name}{number}"
                continue
            if undated:
                self._count_unreadable(first_undated, latest, undated)  # they were written before this one
                undated = 0
                first_undated = ""
        self._count_unreadable(first_undated, self._at, undated)  # nothing was written after them

    def _count_unreadable(self, where: str, latest: float, lines: int = 1) -> None:
        """Count lines that were written at this time at the latest, if they may be of the window of proof."""
        if self._at - latest <= self._max_age + self._skew:
            self._unreadable += lines
            self._first_unreadable = self._first_unreadable or where

    def _keep(self, event: SentEvent, reported_at: float) -> None:
        if self._at - reported_at > max(self._max_age, event.heartbeat_seconds) + self._skew:
            return
        process = *_who(event), event.process
        is_kept = process in self._last or len(self._last) <= MOST_PROCESSES  # one more shows that there are too many
        if is_kept and event.kind != "refused" and event.number > self._last.get(process, (-1,))[0]:
            self._last[process] = event.number, event

    def evidence(self, environments: Mapping[str, str | None] | None = None) -> Evidence:
        """Return what the events show.

        Args:
            environments: the environment of each service; `None` for an unknown one. A process of another environment
                does not count.
        """
        faults = list[str]()
        if self._unreadable:
            faults.append(
                f"{count(self._unreadable, 'line')} could not be read as an event, first {self._first_unreadable}"
            )
        if len(self._last) > MOST_PROCESSES:
            faults.append(f"there are more than {MOST_PROCESSES} processes")
        running = [event for _, event in self._last.values() if event.kind != "ended"]
        expected = environments or {}
        elsewhere = [event for event in running if _is_elsewhere(_who(event), event.environment, expected)]
        counted = [event for event in running if not _is_elsewhere(_who(event), event.environment, expected)]
        unknown = dict[tuple[str, str], str]()
        for event in counted:
            if event.reported_at.timestamp() > self._at + self._skew:
                unknown[_who(event)] = f"its clock is ahead, at {iso_utc(event.reported_at)}"
            if not event.heartbeat_seconds:  # a process that is silent for long could be forgotten while it runs
                unknown[_who(event)] = "it sends no heartbeat (set ROBODJ_SECRET_HEARTBEAT)"
        unknown |= _mixed([(_who(event), event.environment) for event in counted], expected)
        uses = tuple([self._use_of(event) for event in counted])
        names = _names([(_who(event), event.environment) for event in elsewhere])
        return Evidence(self._at, uses, unknown, tuple(faults), self._skew, names, frozenset(self._reported))

    def _use_of(self, event: SentEvent) -> Use:
        reported_at = event.reported_at.timestamp()
        is_fresh = self._at - reported_at <= self._max_age - self._skew
        since = iso_utc(event.state_since) if event.state_since else ""
        state = _state_text(event.state or "following", since, event.checks)
        return Use(*_who(event), event.secrets, is_fresh, reported_at, state)


def _event_in(line: bytes) -> SentEvent | None:
    try:
        return _EVENT.validate_json(line)
    except ValidationError:
        return None


def _times_in(line: bytes) -> list[float]:
    """Return when the events of an unreadable line were sent: several where one was cut before its end.

    A line that is not cut and has no time is of now: a collector has lost something.
    """
    times = [parse_marker(SealedStr(head[1].decode())) for head in _HEAD.finditer(line)]
    if not times and line.startswith(_BEGIN) and line.rstrip().endswith(b"}"):
        return [math.inf]
    return [each.timestamp() for each in times if each is not None]


def _whose(line: bytes) -> str:
    """Return the instance that a cut line names; empty if it names none."""
    head = _HEAD.match(line)
    if head is None or head[2] is None:
        return ""
    names = head[2].decode("ascii", "replace"), head[3].decode("ascii", "replace")
    return f", of {'/'.join(names)}" if all(map(is_instance_name, names)) else ""


def _is_elsewhere(who: _Instance, environment: str | None, environments: Mapping[str, str | None]) -> bool:
    """Check whether a process is of another environment: of its service, or of each one if its service is unknown."""
    expected = _environments_of(who[0], environments)
    return bool(environment and expected) and None not in expected and environment not in expected


def _environments_of(service: str, environments: Mapping[str, str | None]) -> set[str | None]:
    """Return the environments of a service: those of every service, if it is not one of them."""
    return {environments[service]} if service in environments else {*environments.values()}


def _mixed(
    counted: Collection[tuple[_Instance, str | None]], environments: Mapping[str, str | None]
) -> dict[_Instance, str]:
    """Return of which instances nothing is certain, as their service has several environments and none was named."""
    named = {(who[0], each) for who, each in counted if each and not any(_environments_of(who[0], environments))}
    names = grouped(sorted(named), itemgetter(0))
    return {
        who: f"its service runs in {' and '.join(each for _, each in names[who[0]])}; pass --environment"
        for who, _ in counted
        if len(names[who[0]]) > 1
    }


def _names(elsewhere: Collection[tuple[_Instance, str | None]]) -> tuple[str, ...]:
    return tuple(sorted({f"{'/'.join(who)} ({environment})" for who, environment in elsewhere}))


def _state_text(state: str, since: str, checks: Collection[str]) -> str:
    """Return what a process does that does not follow, since when, and why; empty for one that follows."""
    if state not in _STATES:
        return ""
    why = f": {listed([*checks], 2)}" if checks else ""
    return f"{_STATES[state]} since {since}{why}"[:250]  # with a key and a service, it must fit into a verdict


def _who(event: SentEvent) -> _Instance:
    return "/".join(filter(None, (event.namespace, event.service))), event.instance


def is_address(text: str) -> bool:
    """Check whether text is the address of a server. One with a password would be seen in the list of processes."""
    return re.fullmatch(r"https?://[\w.\[\]:-]+(?:/[\w./-]*)?", text) is not None and not could_hold_key(text)


def is_selector(text: str) -> bool:
    """Check whether text has label matchers, such as `environment="prod"`."""
    return re.fullmatch(rf"{_MATCHER}(?:,{_MATCHER})*", text) is not None and not could_hold_key(text)


def read_token(path: str) -> SealedStr:
    """Return the bearer token in a file.

    Raises:
        UsageError: the file cannot be read, or is not one token.
    """
    lines = read_text_file(path, most=1 << 16).lines
    if len(lines) != 1 or not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", lines[0].get_secret_value()):
        raise UsageError("--token-file: the file has no token, or cannot be read; write one token into it, as one line")
    return lines[0]


def ask(
    url: str,
    now: datetime,
    *,
    selector: str,
    max_age: int,
    environments: Mapping[str, str | None] | None = None,
    token: SealedStr | None = None,
    ca_file: str | None = None,
) -> Evidence:
    """Return the evidence of a Prometheus about the processes that it scrapes.

    Args:
        url: the address of the server. No redirect is followed, and no proxy is used.
        now: the time, in UTC. An answer for another time, as of a cache, is no answer.
        selector: matchers of labels that the series of `up` have too; empty for all series.
        max_age: how old evidence may be, in seconds. Each key that was used since then counts against a condition.
        environments: as for `EventReader.evidence`.
        token: the bearer token.
        ca_file: a file with the certificates of the authorities to trust, in place of the system's ones.

    Raises:
        UsageError: the token would be sent without encryption, or `ca_file` cannot be used.
        ManagerError: there is no complete answer.
    """
    from ssl import create_default_context  # noqa: PLC0415 - slow, and few commands need it

    if token and is_insecure(url):
        raise UsageError("--token-file: the token would be sent without encryption; use an address with https://")
    try:
        context = create_default_context(cafile=ca_file)
    except OSError:  # also an error in a certificate
        raise UsageError("--ca-file: the file cannot be read, or has no certificate as PEM") from None
    query = _QUERY
    for name, text in {**_PARTS, "AGE": str(max_age), "SKEW": str(SKEW), "SELECT": selector}.items():
        query = query.replace(name, text)
    return answer_within(
        SECONDS,
        lambda: evidence_in(_answer(url, query, token, context), now.timestamp(), max_age, environments or {}),
        _REACH,
        _REACH,
    )


def _answer(url: str, query: str, token: SealedStr | None, context: Any) -> bytes:
    """Return the answer to a query."""
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - slow, and few commands need them
    from urllib.parse import urlencode, urlsplit  # noqa: PLC0415

    address = urlsplit(url)
    connect = partial(HTTPSConnection, context=context) if address.scheme == "https" else HTTPConnection
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | (
        {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    )
    with closing(connect(address.netloc)) as connection:
        # No cache answers a POST.
        connection.request("POST", f"{address.path.rstrip('/')}/api/v1/query", urlencode({"query": query}), headers)
        response = connection.getresponse()
        content: bytes = response.read(MOST_BYTES + 1)
    if response.status != 200:  # noqa: PLR2004
        raise ManagerError(f"answered with HTTP status {response.status}", "correct the address, the token or --select")
    if len(content) > MOST_BYTES:
        raise ManagerError("sent an answer that is too large", "pass --select")
    return content


def _rows_in(content: bytes, now: float) -> tuple[int, list[_Row]]:
    """Return the time of an answer, and its rows."""
    answer = json.loads(content)
    found = dict[tuple[str, ...], _Row]()
    times = set[int]()
    rows = answer["data"]["result"]
    for row in rows:
        labels = defaultdict(str, **row["metric"])
        namespace, job = labels["namespace"], labels["job"]
        service = f"{namespace}/{job}" if namespace and not job.startswith(f"{namespace}/") else job
        seconds, value = row["value"]
        who = service, labels["instance"]
        found[*who, *map(labels.__getitem__, _LABELS)] = who, labels, float(value)
        times.add(int(seconds))
    # VictoriaMetrics says isPartial. A cache, or another clock, answers for another time.
    is_partial = any(map(answer.get, ("warnings", "infos", "isPartial"))) or len(found) < len(rows)
    at = min(times, default=int(now))
    if answer["status"] != "success" or is_partial or len(times) > 1 or abs(at - now) > SKEW:
        raise ManagerError(
            "sent an incomplete or an old answer",
            "compare its clock with yours, and pass the address of Prometheus itself",
        )
    shown = {labels[name] for _, labels, _ in found.values() for name in ("secret", "check", "robodj_environment")}
    are_names = all(is_instance_name(service) and is_instance_name(instance) for service, instance, *_ in found)
    if not (are_names and all(map(is_free_text, shown - {""}))):
        raise ManagerError("has a target with an invalid job, instance or other label", "relabel it, or pass --select")
    return at, [*found.values()]


def evidence_in(content: bytes, now: float, max_age: int, environments: Mapping[str, str | None]) -> Evidence:
    """Return the evidence in the answer to the query.

    Raises:
        ManagerError: the answer is not complete. Any other error: the answer has another shape.
    """
    at, found = _rows_in(content, now)
    rows = {**grouped(found, lambda row: row[1]["slot"])}
    named = sorted({(who, labels["robodj_environment"]) for who, labels, _ in rows.pop("environment", ())})
    here = {who for who, environment in named if not _is_elsewhere(who, environment, environments)}
    elsewhere = {who for who, _ in named} - here
    unknown = {who: why for slot, why in _UNKNOWN.items() for who, _, _ in rows.pop(slot, ())}
    unknown |= _mixed(named, environments)
    states = _states_in(rows.pop("state", ()), rows.pop("check", ()))
    keys = [row for of_slot in rows.values() for row in of_slot]
    return Evidence(
        at,
        tuple([use for use in _uses_in(keys, states, at, max_age) if (use.service, use.instance) not in elsewhere]),
        {who: why for who, why in unknown.items() if who not in elsewhere},
        (),
        elsewhere=_names([(who, each) for who, each in named if who in elsewhere]),
    )


def _states_in(states: Iterable[_Row], findings: Iterable[_Row]) -> dict[_Instance, str]:
    """Return what each instance does that does not follow, in words."""
    checks = grouped(findings, itemgetter(0))
    return {
        who: _state_text(
            labels["state"],
            iso_utc(datetime.fromtimestamp(since, UTC)),
            [f"{found['secret'] or 'set-up'}: {found['check']}" for _, found, _ in checks[who]],
        )
        for who, labels, since in states
    }


def _uses_in(rows: Iterable[_Row], states: Mapping[_Instance, str], at: int, max_age: int) -> Iterator[Use]:
    """Yield the keys of each instance: those of its last scrape together, and each earlier one alone."""
    for (who, secret), of_secret in grouped(rows, lambda row: (row[0], row[1]["secret"])).items():
        found = [(seen, labels["slot"], labels["fingerprint"]) for _, labels, seen in of_secret]
        latest: dict[str, Any] = {slot: key for seen, slot, key in found if at - max_age <= seen <= at + 1}
        earlier: list[dict[str, Any]] = [{slot: key} for _, slot, key in found if latest.get(slot) != key]
        for slots in filter(None, [latest, *earlier]):
            seen = max(found)[0] if slots is latest else at - max_age
            yield Use(*who, {secret: Slots(**slots)}, slots is latest, seen, states.get(who, ""))
