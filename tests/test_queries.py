"""What Prometheus answers, as evidence. tests/trials/test_fleet_queries.py has the query itself, with a real one."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from conftest import NOW, V1, free_port, good_keys, put
from detector import leaks
from fleets import COMING, GONE, NAME, NEW, OLD, OTHER, SEEN, WEB, Prometheus, row
from hypothesis import given
from hypothesis import strategies as st
from openbao import LOOPBACK, Authority
from rings import traceback_of

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.fleet import evidence as queries
from robodj_secretguard.fleet.evidence import ask, evidence_in, is_address, is_selector, read_token
from robodj_secretguard.fleet.verdict import Evidence, Use
from robodj_secretguard.secret.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = NOW.timestamp()
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda each: (
        st.lists(each) | st.dictionaries(st.sampled_from(["status", "data", "result", "metric", "value"]), each)
    ),
    max_leaves=9,
)


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    """A server with an answer that a test sets."""
    with Prometheus() as server:
        yield server


def answer(*rows: dict[str, Any], **more: Any) -> bytes:
    """Return an answer with rows."""
    document = {"status": "success", "data": {"resultType": "vector", "result": [*rows]}} | more
    return json.dumps(document).encode()


def evidence(*rows: dict[str, Any]) -> Evidence:
    """Return the evidence in an answer, of the last 120 seconds."""
    return evidence_in(answer(*rows), AT, 120)


class TestEvidence:
    """What the rows of an answer prove."""

    def test_keys(self) -> None:
        """The keys of the last scrape are one proof for each secret."""
        found = evidence(
            row("current", NEW), row("next", COMING), row("previous", OLD), row("current", GONE, secret=OTHER)
        )
        assert found.uses == (
            Use(*WEB, {NAME: Slots(NEW, COMING, OLD)}, is_fresh=True, seen=SEEN),
            Use(*WEB, {OTHER: Slots(GONE)}, is_fresh=True, seen=SEEN),
        )
        assert (found.at, found.unknown, found.faults) == (AT, {}, ())

    def test_earlier_keys(self) -> None:
        """A key that the last scrape did not have counts against, in its slot."""
        found = evidence(row("current", NEW), row("previous", OLD), row("current", OLD, 0), row("next", NEW, 0))
        assert found.uses[1:] == (
            Use(*WEB, {NAME: Slots(OLD)}, is_fresh=False, seen=AT - 120),
            Use(*WEB, {NAME: Slots(None, NEW)}, is_fresh=False, seen=AT - 120),
        )

    def test_only_earlier_keys(self) -> None:
        """An instance that the last scrape did not reach proves nothing, and each of its keys counts."""
        found = evidence(row("current", NEW, 0), row("current", OLD, 0), row("next", COMING, 0))
        assert [(each.is_fresh, each.keys[NAME]) for each in found.uses] == [
            (False, Slots(NEW)),
            (False, Slots(OLD)),
            (False, Slots(None, COMING)),
        ]

    @pytest.mark.parametrize(("slot", "why"), [("several", "several processes"), ("lost", "target is down")])
    def test_unknown(self, slot: str, why: str) -> None:
        """The server says of which instances nothing is certain."""
        found = evidence(row("current", NEW, 0), row(slot, secret=""))
        assert [*found.unknown] == [WEB]
        assert why in found.unknown[WEB]

    @pytest.mark.parametrize(
        ("namespace", "job", "service"),
        [
            ("", "api", "api"),
            ("prod", "api", "prod/api"),
            ("prod", "prod/api", "prod/api"),
            ("p", "prod/a", "p/prod/a"),
        ],
    )
    def test_a_namespace(self, namespace: str, job: str, service: str) -> None:
        """A service is the job with its namespace, which a job of a PodMonitor has already."""
        (use,) = evidence(row("current", NEW, job=job, namespace=namespace)).uses
        assert use.service == service

    @pytest.mark.parametrize("value", ["NaN", -1, 0])
    def test_a_time_that_is_none(self, value: float | str) -> None:
        """A key with another value than a time is not fresh."""
        (use,) = evidence(row("current", NEW, value)).uses
        assert not use.is_fresh

    def test_no_rows(self) -> None:
        """An empty answer proves nothing."""
        assert evidence().uses == ()


class TestIncompleteAnswers:
    """An answer of which something may be missing proves nothing."""

    @pytest.mark.parametrize(
        "more", [{"status": "error"}, {"warnings": ["a store is down"]}, {"infos": ["partial"]}, {"isPartial": True}]
    )
    def test_warnings(self, more: dict[str, object]) -> None:
        """An answer with an error, a warning or an information is not complete."""
        with pytest.raises(ManagerError, match=r"^sent an incomplete or an old answer$"):
            evidence_in(answer(row("current", NEW), **more), AT, 120)

    def test_two_targets(self) -> None:
        """Two rows of one name are of two targets, as `b` in `a` and `a/b`: none of them is certain."""
        with pytest.raises(ManagerError, match="sent an incomplete or an old answer"):
            evidence(row("current", NEW), row("current", NEW, 0))
        with pytest.raises(ManagerError, match="sent an incomplete or an old answer"):
            evidence(row("current", NEW, job="a/b"), row("current", NEW, job="b", namespace="a"))

    @pytest.mark.parametrize(
        "labels", [{"job": good_keys()[V1]}, {"job": ""}, {"instance": "a\x1b[31m"}, {"namespace": "a b"}], ids=range(4)
    )
    def test_invalid_names(self, labels: dict[str, str]) -> None:
        """A target that a roster cannot name may use any key. The error does not show its name."""
        with pytest.raises(ManagerError, match=r"^has a target whose job or instance has an invalid name$"):
            evidence(row("current", NEW), row("current", NEW, **labels))

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "JSONDecodeError"),
            (b"<html>", "JSONDecodeError"),
            (b"\xff", "UnicodeDecodeError"),
            (b"[]", "TypeError"),
            (b"{}", "KeyError"),
            (answer({"metric": {}, "values": []}), "KeyError"),
            (answer({"metric": [], "value": [1, "1"]}), "AttributeError"),
            (answer({"metric": {"job": 5}, "value": [1, "1"]}), "TypeError"),
            (answer(row("current", NEW, "one")), "ValueError"),
            (answer(row("current", NEW) | {"value": [None, "1"]}), "TypeError"),
            (answer(row("current", NEW) | {"value": [float("nan"), "1"]}), "ValueError"),
            (answer(row("current", "a key")), "ValidationError"),
            (answer(row("strange", NEW)), "ValidationError"),
            (b"[" * 100_000, "RecursionError"),
        ],
        ids=range(14),
    )
    def test_another_shape(self, prometheus: Prometheus, content: bytes, why: str) -> None:
        """An answer of another shape is no answer. The error has the name of a type only."""
        prometheus.content = content
        with pytest.raises(ManagerError, match=rf"^cannot be read \({why}\)$"):
            ask(prometheus.url, NOW, selector="", max_age=120)

    @given(JSON)
    def test_any_json(self, value: Any) -> None:
        """Any answer is an error, or proves nothing."""
        with contextlib.suppress(ManagerError, ValueError, LookupError, TypeError, AttributeError):
            assert evidence_in(json.dumps(value).encode(), AT, 120).uses == ()


class TestServer:
    """One request to the server."""

    def test_the_query(self, prometheus: Prometheus) -> None:
        """The query is one for the whole fleet. Each of its series has the labels of the selector."""
        prometheus.result = [row("current", NEW)]
        assert len(ask(f"{prometheus.url}/sub/", NOW, selector='stage="STAGE"', max_age=90).uses) == 1
        ((path, body, headers),) = prometheus.asked
        (query,) = parse_qs(body)["query"]
        assert path == "/sub/api/v1/query"
        assert query.count("{") == query.count('stage="STAGE"}')
        assert "[90s]" in query
        assert "> time() - 90" in query
        assert "Authorization" not in headers

    def test_a_token(self, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
        """The token goes to the server: to no proxy, and to no other server where it redirects."""
        key = good_keys()[V1]
        with Prometheus() as other:
            for name in ("http_proxy", "all_proxy", "HTTP_PROXY"):
                monkeypatch.setenv(name, other.url)
            prometheus.status, prometheus.location = 302, f"{other.url}/api/v1/query"
            with pytest.raises(ManagerError, match="answered with HTTP status 302") as raised:
                ask(prometheus.url, NOW, selector="", max_age=120, token=SealedStr(key))
            assert other.asked == []
        assert prometheus.asked[0][2]["Authorization"] == f"Bearer {key}"
        assert leaks(traceback_of(raised.value), [key]) == []

    @pytest.mark.parametrize("url", ["http://prometheus:9090", "http://127.0.0.1.example", "http://10.0.0.1"])
    def test_a_token_without_encryption(self, url: str) -> None:
        """A token is only sent with TLS, or to this machine."""
        with pytest.raises(UsageError, match="without encryption; use an address with https://"):
            ask(url, NOW, selector="", max_age=120, token=SealedStr(good_keys()[V1]))

    def test_tls(self, tmp_path: Path) -> None:
        """A server is trusted if an authority of the file certifies it, and not otherwise."""
        authority, context = Authority(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue(tmp_path / "server.pem", LOOPBACK)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        with Prometheus(context) as server:
            server.result = [row("current", NEW)]
            for url, ca_file, why in (
                (server.url, str(authority.path), ""),
                (server.url, None, "SSLCertVerificationError"),
                (server.url.replace("127.0.0.1", "localhost"), str(authority.path), "SSLCertVerificationError"),
            ):
                with pytest.raises(ManagerError, match=why) if why else contextlib.nullcontext():
                    assert ask(
                        url, NOW, selector="", max_age=120, token=SealedStr(good_keys()[V1]), ca_file=ca_file
                    ).uses
            assert len(server.asked) == 1

    def test_a_wrong_ca_file(self, tmp_path: Path) -> None:
        """A file of authorities that is missing, or has none, is a usage error."""
        for path in (tmp_path / "missing", put(tmp_path / "empty", "")):
            with pytest.raises(UsageError, match="--ca-file: the file cannot be read, or has no certificate"):
                ask("https://127.0.0.1", NOW, selector="", max_age=120, ca_file=str(path))

    def test_too_much(self, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer that is larger than the limit is not read whole."""
        monkeypatch.setattr(queries, "MOST_BYTES", 10)
        prometheus.content = b" " * 11
        with pytest.raises(ManagerError, match="sent an answer that is too large"):
            ask(prometheus.url, NOW, selector="", max_age=120)

    @pytest.mark.parametrize("status", [204, 301, 401, 503])
    def test_a_status(self, prometheus: Prometheus, status: int) -> None:
        """Any other status than 200 is no answer, whatever the content."""
        prometheus.result, prometheus.status = [row("current", NEW)], status
        with pytest.raises(ManagerError, match=rf"^answered with HTTP status {status}$"):
            ask(prometheus.url, NOW, selector="", max_age=120)

    def test_nobody(self) -> None:
        """A server that is not there is no answer."""
        with pytest.raises(ManagerError, match="ConnectionRefusedError"):
            ask(f"http://127.0.0.1:{free_port()}", NOW, selector="", max_age=120)

    @pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"])
    def test_another_protocol(self, prometheus: Prometheus, raw: bytes) -> None:
        """A server that does not speak HTTP, or ends in the middle, is no answer."""
        prometheus.raw = raw
        with pytest.raises(ManagerError, match=r"BadStatusLine|IncompleteRead"):
            ask(prometheus.url, NOW, selector="", max_age=120)

    def test_single_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The time limit is that of the whole answer, also where a byte arrives from time to time."""
        monkeypatch.setattr(queries, "SECONDS", 0.0)
        end = threading.Event()

        def drip(server: socket.socket) -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while not end.wait(0.05):
                    connection.sendall(b"H")

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=drip, args=[server])
            thread.start()
            with pytest.raises(ManagerError, match="did not answer in time"):
                ask(f"http://127.0.0.1:{server.getsockname()[1]}", NOW, selector="", max_age=120)
            end.set()
            thread.join()


@pytest.mark.parametrize("content", ["{}", "{}\n", "# of prod\n{}\r\n"])
def test_a_token_file(tmp_path: Path, content: str) -> None:
    """The token is the only line of its file."""
    key = good_keys()[V1]
    assert read_token(str(put(tmp_path / "token", content.format(key)))).get_secret_value() == key


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "{0}\n{0}\n",
        "Bearer {0}",
        "{0}\x0b",
        "{{{{ token }}}}",
        "${{TOKEN}}",
        "<token>",
        "{0}" * 2000,
        "ké{0}",
    ],
    ids=range(10),
)
def test_a_wrong_token_file(tmp_path: Path, content: str) -> None:
    """A file without one token, with a template or that is too large is a usage error, which does not show it."""
    key = good_keys()[V1]
    with pytest.raises(UsageError, match="write one token into it") as raised:
        read_token(str(put(tmp_path / "token", content.format(key))))
    assert leaks(traceback_of(raised.value), [key]) == []
    with pytest.raises(UsageError):
        read_token(str(tmp_path / "missing"))


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
        ('process="1-a"', False),
        ('__name__="x"', False),
        ('slots="x",secret_zone="y"', True),
        ("", False),
    ],
)
def test_selector(text: str, is_valid: bool) -> None:  # noqa: FBT001
    """Labels are selected by matchers. Those of keys and processes are not allowed: they would hide keys in use."""
    assert is_selector(text) is is_valid
