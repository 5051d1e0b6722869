"""The lines of log collectors: the event in a line, and whose it is (policy sections 3 and 4).

The collector's labels name the instance, where there are any. A program cannot replace them. Without labels, the
event's own names count.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from robodj_secretguard.heartbeat import EVENT_KIND

_COLLECTED_LINE: Final = re.compile(
    rb"(?P<prefix>"
    rb"(?:\x1b\[[0-9;]*[Km])*"  # docker compose clears the terminal's line, also in a pipe
    rb"(?:\[pod/(?P<pod>[^/\]]+)/(?P<container>[^\]]+)\] "  # kubectl logs --prefix
    rb"|(?P<compose>[\w.-]+) +\| (?:\x1b\[[0-9;]*m)?)?"
    rb"(?:(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2})) )?"
    rb"(?:std(?:out|err) F )?"  # a file of the container runtime
    rb")(?P<object>\{.*)",
    re.DOTALL,
)
_TIMES: Final = ("__REALTIME_TIMESTAMP", "time", "timestamp", "@timestamp", "timegenerated", "date")
"""Their fields for the time at which they got it."""


class _Collector(NamedTuple):
    """The fields of a collector. A path is a field, or a field in a field.

    Attributes:
        text: the field with the line of the program.
        instance: the paths to what names the instance. Where there is none, the event's own names count.
        service: the path to what names the service. Without one, the event's own name counts.
        only: other fields that the object has, with their values where these matter.
        may_lack_service: whether `service` may be absent, because no two services have the same instance.
    """

    text: str
    instance: tuple[str, ...] = ()
    service: str = ""
    only: tuple[tuple[str, str], ...] = ()
    may_lack_service: bool = False


_POD_NAME: Final = ("kubernetes/pod_name",)
_COLLECTORS: Final = (
    _Collector("message", _POD_NAME, "kubernetes/container_name", (("source_type", "kubernetes_logs"),)),  # Vector
    _Collector("log", _POD_NAME, "kubernetes/container_name"),  # Fluent Bit, Fluentd
    # Docker's journald driver. Any program can set a field that does not begin with _, so the unit must be Docker's.
    _Collector(
        "MESSAGE",
        ("_HOSTNAME", "CONTAINER_NAME"),
        "COM_DOCKER_COMPOSE_SERVICE",
        (("_SYSTEMD_UNIT", "docker.service"),),
        may_lack_service=True,
    ),
    _Collector("MESSAGE", ("_HOSTNAME",), "_SYSTEMD_UNIT"),  # journald, Fluent Bit
    _Collector("message", ("host",), "_SYSTEMD_UNIT", (("source_type", "journald"),)),  # Vector
    # Docker's json-file driver, with and without a tag.
    _Collector("log", ("attrs/tag",), "attrs/com.docker.compose.service", may_lack_service=True),
    *(_Collector("log", only=(("stream", each),)) for each in ("stdout", "stderr")),
    _Collector("msg", ("fromhost",), only=(("inputname", "imuxsock"),)),  # rsyslog
    # Loki.
    _Collector("line", ("labels/pod",), "labels/container"),
    _Collector("line", ("labels/host", "labels/container_name"), "labels/compose_service", may_lack_service=True),
    _Collector("line", ("labels/host",), "labels/unit"),
    _Collector("line", ("labels/instance",), "labels/job"),
)
"""The first one that fits counts."""
_LABEL_FIELDS: Final = frozenset(
    name.partition("/")[0] for each in _COLLECTORS for name in (*each.instance, *dict(each.only))
)


def event_in(line: bytes) -> tuple[dict[str, Any], tuple[Any, Any], list[Any]]:
    """Return the event in a line, the names of its service and instance, and the collector's times: all unchecked.

    A program may write anything, so what it writes is an event or nothing: no event is searched for in a text.

    Raises:
        ValueError: the line has no event, or it is not certain whose it is.
    """
    found = _COLLECTED_LINE.fullmatch(line)
    if not found:
        raise ValueError
    outer = event = _parse_object(found["object"])
    times = [outer[name] for name in _TIMES if name in outer]
    service = instance = ""
    if found["time"]:
        times.append(found["time"].decode())
    if found["pod"]:
        service, instance = found["container"].decode(), found["pod"].decode()
    elif found["compose"]:
        instance = found["compose"].decode()
        service = re.sub(r"-[0-9]+$", "", instance)
    elif not found["prefix"] and (collector := _collector_of(outer)):
        instance, service = "/".join(_at(outer, each) for each in collector.instance), _at(outer, collector.service)
        service = service.removesuffix(".service") if collector.service.lower().endswith("unit") else service
        if EVENT_KIND not in outer:
            event = _parse_object(_at(outer, collector.text))
        elif collector.instance != _POD_NAME:  # Fluent Bit adds the program's fields, and then these labels
            raise ValueError
    if EVENT_KIND not in event:
        raise ValueError
    return event, (service or event.get("service"), instance or event.get("instance")), times


def _collector_of(outer: dict[str, Any]) -> _Collector | None:
    if _LABEL_FIELDS.isdisjoint(outer):
        return None
    return next((each for each in _COLLECTORS if _fits(each, outer)), None)


def _fits(collector: _Collector, outer: dict[str, Any]) -> bool:
    return (
        all(outer.get(name) == value for name, value in collector.only)
        and all(_at(outer, each) for each in collector.instance)
        and (not collector.service or collector.may_lack_service or bool(_at(outer, collector.service)))
    )


def _at(outer: dict[str, Any], path: str) -> str:
    """Return the text at a path; empty for anything else."""
    field, _, inner = path.partition("/")
    found = outer.get(field)
    if inner:
        # A query that parses the lines adds the program's fields to the labels.
        found = found.get(inner) if isinstance(found, dict) and EVENT_KIND not in found else None
    return found if isinstance(found, str) else ""


def _parse_object(text: str | bytes) -> dict[str, Any]:
    """Parse an object. One that has a field twice says two things, so it is invalid."""
    found = json.loads(text, object_pairs_hook=_without_duplicates)
    if not isinstance(found, dict):
        raise ValueError  # noqa: TRY004 - the line is invalid
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found
