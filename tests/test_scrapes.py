"""What Prometheus has scraped, as evidence."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import NOW, V1, free_port, good_keys
from fleets import COMING, GONE, LEAKED, NAME, NEW, OLD, OTHER, SECOND, WEB, Prometheus, series
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet import scrapes
from robodj_secretguard.fleet.evidence import Evidence
from robodj_secretguard.fleet.scrapes import NoAnswerError, evidence_in, is_address, is_selector, scraped

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = NOW.timestamp()
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=5,
)


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    """A server with an answer that a test sets."""
    with Prometheus() as server:
        yield server


def info(slot: str, fingerprint: str, secret: str = NAME, **labels: Any) -> dict[str, Any]:
    """Return the series of a key."""
    return series("info", secret=secret, slot=slot, fingerprint=fingerprint, **labels)


START = series("start_timestamp_seconds", value=AT - 60)


class TestEvidence:
    """What the answer to a query proves."""

    def test_a_process(self) -> None:
        """A scrape has the keys of each secret, the deadline, and the start of the process."""
        until = series("previous_until_timestamp_seconds", value=AT + 9, secret=NAME)
        keys = [info("current", NEW), info("next", COMING), info("previous", OLD), info("current", GONE, OTHER)]
        assert [*evidence_in([*keys, until, START])] == [
            Evidence(WEB, "running", ((NAME, Slots(NEW, COMING, OLD, NOW + 9 * SECOND)),), AT - 60, AT, AT),
            Evidence(WEB, "running", ((OTHER, Slots(GONE)),), AT - 60, AT, AT),
        ]

    def test_each_scrape(self) -> None:
        """Each scrape is evidence of its own time."""
        times = (AT - 15, AT)
        found = [*evidence_in([series("start_timestamp_seconds", times, AT), info("current", NEW, times=times)])]
        assert [(each.oldest, each.newest) for each in found] == [(each, each) for each in times]

    def test_several_processes(self) -> None:
        """Where one scrape has several keys in a slot, none hides another one."""
        found = [*evidence_in([info("current", NEW), info("current", OLD), info("next", COMING), START])]
        assert [dict(each.keys) for each in found] == [{NAME: Slots(OLD, COMING)}, {NAME: Slots(NEW)}]

    def test_the_latest_deadline(self) -> None:
        """Of several deadlines, the latest one counts."""
        deadlines = [series("previous_until_timestamp_seconds", value=AT + each, secret=NAME) for each in (9, 5)]
        (found,) = evidence_in([info("current", NEW), info("previous", LEAKED), *deadlines, START])
        assert dict(found.keys)[NAME].previous_until == NOW + 9 * SECOND

    def test_a_file(self) -> None:
        """Without the start of a process, a scrape may show a file, which can be as old as it likes."""
        assert [*evidence_in([info("current", NEW)])] == []
        assert [*evidence_in([info("current", NEW), series("start_timestamp_seconds", [AT - 15], AT)])] == []

    @pytest.mark.parametrize(
        "bad",
        [
            info("current", "a key"),
            info("current", "", "no name!"),
            info("current", NEW, job=good_keys()[V1]),
            info("current", NEW, instance=""),
            info("current", NEW, times=[-1]),
            info("current", NEW, times=[float("inf")]),
        ],
        ids=range(6),
    )
    def test_invalid_labels(self, bad: dict[str, Any]) -> None:
        """Invalid labels prove nothing."""
        times = [time for time, _ in bad["values"]]
        assert [*evidence_in([bad, series("start_timestamp_seconds", times, AT)])] == []

    def test_numbers_that_are_no_time(self) -> None:
        """A start and a deadline that are not a time are unknown."""
        for value in ("NaN", "+Inf", "-5", 1e30):
            until = series("previous_until_timestamp_seconds", value=value, secret=NAME)
            (found,) = evidence_in([info("current", NEW), until, series("start_timestamp_seconds", value=value)])
            deadline = dict(found.keys)[NAME].previous_until
            assert (found.started, (deadline and deadline.timestamp()) or None) == (None, None)

    def test_an_opaque_secret(self) -> None:
        """A secret without a fingerprint proves nothing, and does not hide another one."""
        (found,) = evidence_in([info("current", "", OTHER), info("current", NEW), START])
        assert found.keys == ((NAME, Slots(NEW)),)


class TestQuery:
    """One query to the server."""

    def test_the_query(self, prometheus: Prometheus) -> None:
        """The query selects the metrics of the library, with the labels, of the last seconds."""
        prometheus.result = [info("current", NEW), START]
        assert [each.who for each in scraped(f"{prometheus.url}/sub/", 'environment="prod"', 1200)] == [WEB]
        (asked,) = prometheus.asked
        assert urlsplit(asked).path == "/sub/api/v1/query"
        names = "robodj_secret_(info|previous_until_timestamp_seconds|start_timestamp_seconds)"
        query = f'{{__name__=~"{names}",environment="prod"}}[1200s]'
        assert parse_qs(urlsplit(asked).query) == {"query": [query]}
        assert [*scraped(prometheus.url, "", 1200)]
        assert ',environment="prod"' not in prometheus.asked[1]

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "JSONDecodeError"),
            (b"<html>", "JSONDecodeError"),
            (b"\xff", "UnicodeDecodeError"),
            (b"[]", "TypeError"),
            (b"{}", "KeyError"),
            (b'{"status": "success", "data": {"result": 5}}', "TypeError"),
            (b'{"status": "success", "data": {"result": [5]}}', "TypeError"),
            (b'{"status": "success", "data": {"result": [{"metric": []}]}}', "AttributeError"),
            (
                b'{"status": "success", "data": {"result": [{"metric": {"job": "a", "instance": "b"}, "values": 5}]}}',
                "TypeError",
            ),
            (b"[" * 100_000, "RecursionError"),
        ],
    )
    def test_garbage(self, prometheus: Prometheus, content: bytes, why: str) -> None:
        """An answer of another shape is no answer. The error has the name of a type only."""
        prometheus.content = content
        with pytest.raises(NoAnswerError, match=f"^{why}$"):
            [*scraped(prometheus.url, "", 1200)]

    @pytest.mark.parametrize("more", [{"status": "error"}, {"warnings": ["partial response"]}])
    def test_a_part(self, prometheus: Prometheus, more: dict[str, object]) -> None:
        """An answer with a warning or an error proves nothing: series may be missing."""
        answer = {"status": "success", "data": {"result": [info("current", NEW), START]}}
        prometheus.content = json.dumps(answer | more).encode()
        with pytest.raises(NoAnswerError, match=r"^its answer is not complete$"):
            [*scraped(prometheus.url, "", 1200)]

    def test_too_much(self, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer larger than the limit is not read whole."""
        monkeypatch.setattr(scrapes, "MOST_BYTES", 10)
        prometheus.content = b" " * 11
        with pytest.raises(NoAnswerError, match="too large; shorten --max-age, or pass --select"):
            [*scraped(prometheus.url, "", 1200)]

    def test_a_refusal(self, prometheus: Prometheus) -> None:
        """A status that is an error is no answer, whatever the content."""
        prometheus.result, prometheus.status = [info("current", NEW), START], 503
        with pytest.raises(NoAnswerError, match=r"^HTTP status 503$"):
            [*scraped(prometheus.url, "", 1200)]

    def test_nobody(self) -> None:
        """A server that is not there, or an address that cannot be one, is no answer."""
        for address, why in ((f"http://127.0.0.1:{free_port()}", "URLError"), ("http://a:b:c", "InvalidURL")):
            with pytest.raises(NoAnswerError, match=why):
                [*scraped(address, "", 1200)]

    def test_another_protocol(self, prometheus: Prometheus) -> None:
        """A server that does not speak HTTP, or ends in the middle, is no answer."""
        prometheus.raw = b"SSH-2.0-x\r\n"
        with pytest.raises(NoAnswerError, match="BadStatusLine"):
            [*scraped(prometheus.url, "", 1200)]
        prometheus.raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"
        with pytest.raises(NoAnswerError, match="IncompleteRead"):
            [*scraped(prometheus.url, "", 1200)]

    def test_a_server_that_is_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that does not answer in time is no answer."""
        monkeypatch.setattr(scrapes, "SECONDS", 0.05)
        no_answer = pytest.raises(NoAnswerError, match=r"TimeoutError|URLError")
        with socket.create_server(("127.0.0.1", 0)) as server, no_answer:  # it accepts nothing
            [*scraped(f"http://127.0.0.1:{server.getsockname()[1]}", "", 1200)]

    @given(JSON)
    def test_any_json(self, value: Any) -> None:
        """Any answer is evidence or none, or an error that the query catches."""
        caught = (ValueError, LookupError, TypeError, AttributeError)
        labels = {"job": "api", "instance": "web-1", "__name__": "robodj_secret_info", "slot": "current"}
        for series_ in (
            value,
            [value],
            [{"metric": labels, "values": value}],
            [{"metric": value, "values": [[AT, "1"]]}],
        ):
            with contextlib.suppress(*caught):
                assert [*evidence_in(json.loads(json.dumps(series_)))] == []


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("http://127.0.0.1:9090", True),
        ("https://[::1]:9090/prometheus/", True),
        ("http://user:password@prometheus", False),
        ("http://prometheus?x=1", False),
        ("ftp://prometheus", False),
        ("file:///etc/passwd", False),
        ("http://prometheus\n", False),
        ("", False),
    ],
)
def test_address(text: str, is_valid: bool) -> None:  # noqa: FBT001 - pytest passes it
    """An address has a scheme, a host and a path; no password and no query."""
    assert is_address(text) is is_valid


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ('environment="prod"', True),
        ('environment="prod",zone!~"a|b"', True),
        ('environment="prod"}[1s] or {x="', False),
        ('environment="\\""', False),
        ("environment=prod", False),
        ('environment="prod",', False),
        ('environment="prod"\n', False),
        ('slot="current"', False),
        ('zone="a",slot!="previous"', False),
        ('fingerprint!="x"', False),
        ('secret="secret.key"', False),
        ('__name__="x"', False),
        ('slots="x",secret_zone="y"', True),
        ("", False),
    ],
)
def test_selector(text: str, is_valid: bool) -> None:  # noqa: FBT001
    """Labels are selected by matchers. Those of keys and slots are not allowed: they would hide keys in use."""
    assert is_selector(text) is is_valid
