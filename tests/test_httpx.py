"""httpx: a key goes to one origin, and follows, with real servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import trio
from api_servers import HEADER, Client, Servers, both, redirect, servers, service
from detector import leaks

from robodj_secretguard.adapters.httpx import FollowingAuth, follow

__all__ = ["both", "servers", "service"]


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
    """A 401 with both keys is passed on, and the choice stays: one path may refuse each key."""
    old, new = service.key, service.rotate()
    servers.api.accepted = set()
    assert post(servers.api.origin) == 401
    servers.api.accepted = {old}
    assert post(servers.api.origin) == 200
    assert servers.api.sent == [new, old, new, old]


def test_a_choice_does_not_outlast_its_key(post: Caller, servers: Servers, service: Client) -> None:
    """The new key was refused once, and the old one is withdrawn later: the new one is tried again."""
    old, new = service.key, service.rotate()
    assert post(servers.api.origin) == 200
    service.let_period_pass()
    servers.api.accepted = {new}
    assert [post(servers.api.origin) for _ in range(2)] == [200, 200]
    assert servers.api.sent == [new, old, old, new, new]


def test_a_key_that_was_just_delivered_is_read_at_once(post: Caller, servers: Servers, service: Client) -> None:
    """A 401 reads the directory, also long after a change."""
    old, new = service.key, service.rotate(has_previous=False, is_read=False)
    servers.api.accepted = {new}
    assert post(servers.api.origin) == 200
    assert servers.api.sent == [old, new]


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


def test_another_header_needs_the_hooks_of_its_client(client: httpx.Client, servers: Servers, service: Client) -> None:
    """Httpx would send the header elsewhere. So it is set by a hook, and nothing is sent without that."""
    follow(client, service.secret, origin=servers.api.origin, header=HEADER)
    auth = client.auth
    assert auth is not None
    with httpx.Client(verify=servers.context(), trust_env=False, follow_redirects=True) as other:
        target = redirect(servers.api, servers.other.origin)
        with pytest.raises(RuntimeError, match=r"has lost the hooks of follow\(\)"):
            other.get(target, auth=auth)
        request = client.get(target, follow_redirects=False).next_request
        assert request is not None
        other.send(request)
    assert servers.other.sent == ["", ""]


def test_other_hooks_of_the_client_stay(client: httpx.Client, servers: Servers, service: Client) -> None:
    """A hook that changes the URL gets no key to another origin. A header of the service's own stays."""

    def change(request: httpx.Request) -> None:
        request.url = httpx.URL(servers.other.origin)

    client.event_hooks = {"request": [change]}
    follow(client, service.secret, origin=servers.api.origin, header=HEADER)
    assert client.get(servers.api.origin).status_code == 401
    assert client.get(servers.other.origin, headers={HEADER: "own"}).status_code == 401
    assert servers.other.sent == ["", "own"]


def test_a_client_follows_one_secret(client: httpx.Client, servers: Servers, service: Client) -> None:
    """A second call would replace the first one."""
    assert follow(client, service.secret, origin=servers.api.origin) is client
    with pytest.raises(ValueError, match="follows a secret already"):
        follow(client, service.secret, origin=servers.other.origin)


@pytest.mark.parametrize("header", ["Authorization", HEADER])
def test_no_key_is_shown(
    header: str, client: httpx.Client, servers: Servers, service: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The debug log of a refused request, and the repr of all objects, have no key."""
    caplog.set_level(logging.DEBUG)
    follow(client, service.secret, origin=servers.api.origin, header=header)
    service.rotate()
    response = client.get(servers.api.origin)
    shown = repr([client, client.auth, vars(client.auth), client.event_hooks, response, vars(response.request)])
    assert response.status_code == 200
    assert "HTTP/1.1 401" in caplog.text
    assert leaks(caplog.text + shown, service.keys) == []
