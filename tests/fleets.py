"""Instances for tests: their events, as the guard writes them, and what is known of them."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any, Self, TypeAlias
from zlib import crc32

from conftest import NOW, good_keys

from robodj_secretguard import check
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet.verdict import ConditionName, Evidence, Use, Verdict
from robodj_secretguard.running.heartbeat import event_of
from robodj_secretguard.startup.inputs import iso_utc

Who: TypeAlias = tuple[str, str]
"""A service and an instance."""
NAME, OTHER = "secret.key", "secret_v2.key"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
MAX_AGE, MAX_SKEW = 900, 300
OLD, NEW, COMING, GONE, LEAKED = (f"sgfp1:{digit * 32}" for digit in "abcde")
WEB: Who = ("api", "web-1")
SEEN = NOW.timestamp() - 5
_REPORT = check(environ=good_keys(), now=NOW)


def event(
    who: Who = WEB,
    keys: Slots | None = None,
    at: datetime = NOW,
    *,
    started: datetime | None = None,
    kind: str = "running",
    **changes: Any,
) -> dict[str, Any]:
    """Return an event of the guard, with other keys of `secret.key`, names and times.

    Args:
        who: the service and the instance.
        keys: the fingerprints; by default the current key is `OLD`.
        at: when the event was made.
        started: when the process was started; by default at the same time.
        kind: the kind of the event.
        changes: other fields. By default, each event is that of another process.
    """
    keys = keys or Slots(OLD)
    times = {"started_at": iso_utc(started or at), "reported_at": iso_utc(at), "heartbeat_seconds": 60}
    names = {"service": who[0], "instance": who[1], "process": f"1.{crc32(repr((keys, at, started)).encode())}"}
    return _made(kind, keys) | times | names | changes


@functools.cache
def _made(kind: str, keys: Slots) -> dict[str, Any]:
    """Return an event with keys, as the guard makes it."""
    first, second = _REPORT.secrets
    first = first._replace(
        fingerprint=keys.current,
        next_fingerprint=keys.next,
        previous_fingerprint=keys.previous,
        previous_until=keys.previous_until,
    )
    return event_of(kind, _REPORT._replace(secrets=(first, second)), "ours:Ours", 0)


def line(*given: Any, **named: Any) -> bytes:
    """Return an event as a line."""
    return json.dumps(event(*given, **named)).encode() + b"\n"


def verdict(
    condition: ConditionName, key: str, not_ready: dict[str, str] | None = None, *, at: datetime = NOW
) -> Verdict:
    """Return the verdict on `secret.key` of the service `api`."""
    return Verdict("api", NAME, condition, key, at, not not_ready, not_ready or {})


def used(
    keys: Slots | None = None,
    who: Who = WEB,
    *,
    is_fresh: bool = True,
    age: float = 0,
    secret: str = NAME,
) -> Use:
    """Return the keys of `secret.key` that a process of an instance has used, by default `NEW` for signing."""
    return Use(*who, {secret: keys or Slots(NEW)}, is_fresh, NOW.timestamp() - age)


def evidence_of(*uses: Use, unknown: Mapping[Who, str] | None = None, faults: Sequence[str] = ()) -> Evidence:
    """Return evidence at `NOW`. Clocks differ by at most five seconds."""
    return Evidence(NOW.timestamp(), uses, unknown or {}, tuple(faults), 5)


def row(slot: str, key: str = "", value: Any = SEEN, **labels: str) -> dict[str, Any]:
    """Return a row in the answer of Prometheus at `NOW`: by default of `secret.key` of the instance `WEB`.

    Args:
        slot: the slot of a key, or what else the row is about.
        key: the fingerprint.
        value: when the key was seen; 0 for a key that was not in the last scrape.
        labels: other labels.
    """
    metric = {"job": WEB[0], "instance": WEB[1], "secret": NAME, "slot": slot, "fingerprint": key} | labels
    return {"metric": metric, "value": [NOW.timestamp(), str(value)]}


class Prometheus:
    """A server that answers each query the same way.

    Attributes:
        result: the rows of the answer.
        content: the whole answer, where it is another one.
        raw: what is written in place of an HTTP answer.
        status: the status of the answer.
        location: where it redirects to.
        asked: the path, the body and the headers of each request.
    """

    def __init__(self, context: SSLContext | None = None) -> None:
        self.result: list[dict[str, Any]] = []
        self.content: bytes | None = None
        self.raw, self.status, self.location = b"", 200, ""
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.asked.append((self.path, body, dict(self.headers)))
                if outer.raw:
                    self.wfile.write(outer.raw)
                    return
                answer = {"status": "success", "data": {"resultType": "vector", "result": outer.result}}
                content = json.dumps(answer).encode() if outer.content is None else outer.content
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Location", outer.location)
                self.end_headers()
                with contextlib.suppress(OSError):  # the client may read less
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http{'s' * bool(context)}://127.0.0.1:{self._server.server_port}"
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
