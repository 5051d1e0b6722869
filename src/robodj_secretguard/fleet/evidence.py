"""Read the events of processes in bounded memory (policy sections 3 and 4).

The recipe of a collector writes one event in a line, with the names that the collector gives. Every other line may
hide an event, so it makes everything unknown.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, BinaryIO, Final

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from robodj_secretguard.common.shapes import SHAPE, Instant, SecretName, Slots
from robodj_secretguard.fleet.verdict import Evidence, InstanceName, Use
from robodj_secretguard.heartbeat import EventKind
from robodj_secretguard.secret.texts import count
from robodj_secretguard.startup.variables import MOST_HEARTBEAT_SECONDS

MOST_LINE_BYTES: Final = 1 << 16
"""A longer line is not an event."""
MOST_PROCESSES: Final = 20_000
"""How many processes are kept. With more of them, nothing is certain."""


@dataclass(frozen=True, config=SHAPE)
class SentEvent:
    """An event of the guard. A collector may add its namespace."""

    kind: Annotated[EventKind, Field(alias="secret_event")]
    event: str
    service: InstanceName
    instance: InstanceName
    process: Annotated[str, Field(min_length=1, max_length=100)]
    number: Annotated[int, Field(ge=0)]
    started_at: Instant
    reported_at: Instant
    heartbeat_seconds: Annotated[int, Field(ge=0, le=MOST_HEARTBEAT_SECONDS)]
    version: str
    model: str
    secrets: dict[SecretName, Slots]
    off: tuple[SecretName, ...]
    checks: tuple[str, ...]
    namespace: InstanceName | None = None


_EVENT: Final = TypeAdapter(SentEvent)


def read_events(file: BinaryIO, now: datetime, max_age: int) -> Evidence:
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
    last: dict[tuple[str, str, str], tuple[int, SentEvent]] = {}
    unreadable = first = 0
    # A line that is too long is read in parts. The first one is no event, unless it ends with blanks.
    for number, line in enumerate(iter(partial(file.readline, MOST_LINE_BYTES), b""), start=1):
        try:
            event = _EVENT.validate_json(line)
        except ValidationError:
            if not line.isspace():
                unreadable, first = unreadable + 1, first or number
            continue
        if at - event.reported_at.timestamp() <= max(max_age, event.heartbeat_seconds) + skew:
            process = *_who(event), event.process
            is_kept = process in last or len(last) <= MOST_PROCESSES  # one more shows that there are too many
            if is_kept and event.kind != "refused" and event.number > last.get(process, (-1,))[0]:
                last[process] = event.number, event
    faults = {
        f"{count(unreadable, 'line')} could not be read as an event, first line {first}": unreadable,
        f"there are more than {MOST_PROCESSES} processes": len(last) > MOST_PROCESSES,
    }
    running = [event for _, event in last.values() if event.kind != "ended"]
    uses = tuple(
        Use(
            *_who(event),
            event.secrets,
            event.reported_at >= now - timedelta(seconds=max_age - skew),
            event.reported_at.timestamp(),
        )
        for event in running
    )
    unknown = {_who(event): why for event in running if (why := _doubt(event, at + skew))}
    return Evidence(at, uses, unknown, tuple(why for why, is_so in faults.items() if is_so), skew)


def _who(event: SentEvent) -> tuple[str, str]:
    return "/".join(filter(None, (event.namespace, event.service))), event.instance


def _doubt(event: SentEvent, latest: float) -> str:
    """Return why an event is no proof; empty where it is one."""
    if not event.heartbeat_seconds:  # a process that is silent for long could be forgotten while it runs
        return "it sends no heartbeat (set ROBODJ_SECRET_HEARTBEAT)"
    return "its clock is ahead" if event.reported_at.timestamp() > latest else ""
