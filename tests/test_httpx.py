"""httpx: a key goes to one origin, and follows, with real servers."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from api_servers import HEADER, Client, Servers, redirect, running_servers
from detector import leaks
from rings import traceback_of

from robodj_secretguard.adapters.httpx import FollowingAuth, follow


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The server that the key is for, and another one."""
    with running_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
def servers(both: Servers, service: Client) -> Servers:
    """The same, without requests. Each accepts the present key."""
    for each in (both.api, both.other):
        each.asked.clear()
        each.accepted = {service.key}
    return both


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A service that has a key."""
    return Client(tmp_path / "keys", monkeypatch)


class Caller:
    """Requests URLs, each with a new client of one kind that follows the key."""

    def __init__(self, kind: str, servers: Servers, service: Client) -> None:
        self._kind, self._servers, self._service = kind, servers, service
        self.is_sync = kind == "sync"

    def __call__(self, url: str, body: Any = None, header: str = "Authorization") -> int:
        """Return the status of a POST."""
        options: Any = {"verify": self._servers.context(), "trust_env": False, "follow_redirects": True}
        secret, origin = self._service.secret, self._servers.api.origin
        if self.is_sync:
            with follow(httpx.Client(**options), secret, origin=origin, header=header) as client:
                return client.post(url, content=body).status_code

        async def request() -> int:
            async with follow(httpx.AsyncClient(**options), secret, origin=origin, header=header) as client:
                return (await client.post(url, content=body)).status_code

        return trio.run(request) if self._kind == "trio" else asyncio.run(request())


@pytest.fixture(params=["sync", "asyncio", "trio"])
def post(request: pytest.FixtureRequest, servers: Servers, service: Client) -> Caller:
    """What requests URLs with a kind of client."""
    return Caller(request.param, servers, service)


@pytest.fixture
def client(servers: Servers) -> Iterator[httpx.Client]:
    """A client that follows nothing yet."""
    with httpx.Client(verify=servers.context(), trust_env=False, follow_redirects=True) as made:
        yield made


HEADERS = pytest.mark.parametrize("header", ["Authorization", HEADER])


@HEADERS
def test_a_request_to_the_origin_has_the_key_in_use(
    header: str, post: Caller, servers: Servers, service: Client
) -> None:
    """Each request has the current key in the header, also after a change."""
    assert post(servers.api.origin, header=header) == 200
    servers.api.accepted = {service.rotate()}
    assert post(servers.api.origin, header=header) == 200
    assert servers.api.sent == service.keys
    assert all(header.lower() in each.headers for each in servers.api.asked)


@HEADERS
def test_a_request_elsewhere_has_no_key(header: str, post: Caller, servers: Servers) -> None:
    """A request to another origin goes out without the key: also on another port, and to another name of the host."""
    renamed = servers.api.origin.replace("127.0.0.1", "localhost")
    assert [post(url, header=header) for url in (servers.other.origin, renamed)] == [401, 401]
    assert servers.other.sent == servers.api.sent == [""]


@HEADERS
def test_a_redirect_elsewhere_has_no_key(header: str, post: Caller, servers: Servers, service: Client) -> None:
    """A redirect within the origin has the key. One to another origin has none, and neither has the way back."""
    assert post(redirect(servers.api, f"{servers.api.origin}/a"), header=header) == 200
    assert servers.api.sent == [service.key] * 2
    back = redirect(servers.other, f"{servers.api.origin}/b")
    assert post(redirect(servers.api, back), header=header) == 401
    assert servers.other.sent == [""]
    assert servers.api.sent == [*[service.key] * 3, ""]


@HEADERS
def test_a_refused_key_is_replaced_once_by_the_other_one_which_is_kept(
    header: str, post: Caller, servers: Servers, service: Client
) -> None:
    """After a change, a 401 lets the request be sent with the previous key. The next requests begin with it."""
    old, new = service.key, service.rotate()
    assert [post(servers.api.origin, b"body", header) for _ in range(2)] == [200, 200]
    assert servers.api.sent == [new, old, old]
    assert [each.body for each in servers.api.asked] == [b"body"] * 3
    servers.api.accepted = {service.rotate()}
    assert post(servers.api.origin, header=header) == 200
    assert servers.api.sent[3:] == [service.key]


def test_a_refused_redirect_is_sent_again_by_itself(post: Caller, servers: Servers, service: Client) -> None:
    """Where the 401 comes after a redirect within the origin, the last request alone is sent again."""
    new = service.rotate()
    assert post(redirect(servers.api, f"{servers.api.origin}/a")) == 200
    assert servers.api.sent == [new, new, service.keys[0]]
    assert servers.api.asked[-1].path == "/a"


def test_both_keys_are_refused(post: Caller, servers: Servers, service: Client) -> None:
    """A 401 with both keys is passed on, and for one period, no other key is tried."""
    old, new = service.key, service.rotate()
    servers.api.accepted = set()
    assert [post(servers.api.origin) for _ in range(2)] == [401, 401]
    assert servers.api.sent == [new, old, new]


@pytest.mark.parametrize("when", ["before a change", "later"])
def test_a_refused_key_long_after_a_change(when: str, post: Caller, servers: Servers, service: Client) -> None:
    """Without a change, and one period after it, a 401 is passed on after one request."""
    if when == "later":
        service.rotate()
        service.let_period_pass()
    servers.api.accepted = set()
    assert post(servers.api.origin) == 401
    assert servers.api.sent == [service.key]


def test_a_refused_stream_is_not_sent_again(post: Caller, servers: Servers, service: Client) -> None:
    """A body that cannot be read again is sent once, and the 401 is passed on."""
    new = service.rotate()

    async def parts() -> AsyncIterator[bytes]:
        yield b"body"

    assert post(servers.api.origin, iter([b"body"]) if post.is_sync else parts()) == 401
    assert [(each.key, each.body) for each in servers.api.asked] == [(new, b"body")]


def test_the_auth_of_one_request(client: httpx.Client, servers: Servers, service: Client) -> None:
    """`FollowingAuth` sends the key to the origin alone, without an event hook."""
    auth = FollowingAuth(service.secret, origin=servers.api.origin)
    assert client.get(servers.api.origin, auth=auth).status_code == 200
    assert client.get(redirect(servers.api, servers.other.origin), auth=auth).status_code == 401
    assert client.get(servers.other.origin, auth=auth).status_code == 401
    assert servers.other.sent == ["", ""]


def test_another_header_needs_the_event_hook(client: httpx.Client, servers: Servers, service: Client) -> None:
    """Httpx would send it elsewhere: `FollowingAuth` refuses it, and a client sends nothing without its hook."""
    with pytest.raises(ValueError, match=r"X-Api-Key .* call follow\(\)"):
        FollowingAuth(service.secret, origin=servers.api.origin, header=HEADER)
    follow(client, service.secret, origin=servers.api.origin, header=HEADER)
    client.event_hooks = {}
    with pytest.raises(RuntimeError, match=r"has lost the hook of follow\(\)"):
        client.get(servers.api.origin)
    auth = client.auth
    assert auth is not None
    with httpx.Client(verify=servers.context(), trust_env=False) as other, pytest.raises(RuntimeError):
        other.get(servers.api.origin, auth=auth)
    assert servers.api.sent == []


def test_the_auth_of_a_client_that_has_gone(client: httpx.Client, servers: Servers, service: Client) -> None:
    """The auth does not keep its client, and sends nothing without it."""
    first = follow(httpx.Client(verify=servers.context()), service.secret, origin=servers.api.origin, header=HEADER)
    auth = first.auth
    assert auth is not None
    first.close()
    del first
    gc.collect()
    with pytest.raises(RuntimeError, match="has lost the hook"):
        client.get(servers.api.origin, auth=auth)


def test_a_client_follows_the_last_secret(client: httpx.Client, servers: Servers, service: Client) -> None:
    """A second call replaces the first one, and the other hooks of the client stay."""
    seen: list[str] = []
    client.event_hooks = {"request": [lambda request: seen.append(request.url.host)]}
    follow(client, service.secret, origin=servers.api.origin)
    assert follow(client, service.secret, origin=servers.other.origin) is client
    assert client.get(servers.other.origin).status_code == 200
    assert client.get(servers.api.origin).status_code == 401
    assert seen == ["127.0.0.1"] * 2


def test_no_key_is_shown(
    client: httpx.Client, servers: Servers, service: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The debug log of a refused request, the repr of all objects, and the frames of this library have no key."""
    caplog.set_level(logging.DEBUG)
    follow(client, service.secret, origin=servers.api.origin)
    service.rotate()
    response = client.get(servers.api.origin)
    shown = repr([client, client.auth, vars(client.auth), client.event_hooks, response, response.request])
    assert response.status_code == 200
    assert "HTTP/1.1 401" in caplog.text
    assert leaks(caplog.text + shown, service.keys) == []
    client.event_hooks = {}
    with pytest.raises(RuntimeError) as raised:
        client.get(servers.api.origin)
    assert leaks(traceback_of(raised.value, own=True), service.keys) == []
