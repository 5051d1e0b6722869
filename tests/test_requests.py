"""requests: a key goes to one origin, and follows, with real servers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("requests")
import requests
from api_servers import HEADER, Client, Servers, both, redirect, servers, service
from conftest import put
from detector import leaks

from robodj_secretguard.adapters.requests import FollowingAuth, follow

__all__ = ["both", "servers", "service"]


@pytest.fixture
def session(servers: Servers) -> Iterator[requests.Session]:
    """A session that follows nothing yet."""
    with requests.Session() as made:
        made.trust_env = False
        made.verify = str(servers.certificate)
        yield made


@pytest.fixture(params=["Authorization", HEADER])
def following(
    request: pytest.FixtureRequest, session: requests.Session, servers: Servers, service: Client
) -> requests.Session:
    """A session that sends the key in one of two headers."""
    followed = follow(session, service.secret, origin=servers.api.origin, header=request.param)
    assert followed is session
    return session


def test_a_request_to_the_origin_has_the_key_in_use(
    following: requests.Session, servers: Servers, service: Client
) -> None:
    """Each request has the current key, also after a change."""
    assert following.get(servers.api.origin).status_code == 200
    servers.api.accepted = {service.rotate()}
    assert following.get(servers.api.origin).status_code == 200
    assert servers.api.sent == service.keys


def test_a_request_elsewhere_has_no_key(following: requests.Session, servers: Servers) -> None:
    """A request to another origin goes out without the key."""
    assert following.get(servers.other.origin).status_code == 401
    assert servers.other.sent == [""]


def test_a_redirect_elsewhere_has_no_key(following: requests.Session, servers: Servers, service: Client) -> None:
    """A redirect within the origin has the key. One to another origin has none, and neither has the way back."""
    assert following.get(redirect(servers.api, "/a")).status_code == 200
    assert servers.api.sent == [service.key] * 2
    back = redirect(servers.other, f"{servers.api.origin}/b")
    assert following.get(redirect(servers.api, back)).status_code == 401
    assert servers.other.sent == [""]
    assert servers.api.sent == [*[service.key] * 3, ""]


def test_a_redirect_that_the_service_follows_has_no_key(following: requests.Session, servers: Servers) -> None:
    """`Response.next` has no key either, where it is for another origin."""
    response = following.get(redirect(servers.api, servers.other.origin), allow_redirects=False)
    assert response.next is not None
    assert following.send(response.next, allow_redirects=False).status_code == 401
    assert servers.other.sent == [""]


@pytest.mark.parametrize("body", [b"body", "text", None])
def test_a_refused_key_is_replaced_once_by_the_other_one_which_is_kept(
    body: bytes | str | None, following: requests.Session, servers: Servers, service: Client
) -> None:
    """After a change, a 401 lets the request be sent with the previous key. The next requests begin with it."""
    old, new = service.key, service.rotate()
    first, second = [following.post(servers.api.origin, data=body) for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 200)
    assert [each.status_code for each in first.history] == [401]
    assert servers.api.sent == [new, old, old]
    assert len({each.body for each in servers.api.asked}) == 1


def test_a_refused_redirect_is_sent_again_by_itself(
    following: requests.Session, servers: Servers, service: Client
) -> None:
    """Where the 401 comes after a redirect within the origin, the last request alone is sent again."""
    new = service.rotate()
    assert following.get(redirect(servers.api, "/a")).status_code == 200
    assert servers.api.sent == [new, new, service.keys[0]]


def test_both_keys_are_refused(following: requests.Session, servers: Servers, service: Client) -> None:
    """A 401 with both keys is passed on."""
    old, new = service.key, service.rotate()
    servers.api.accepted = set()
    assert following.get(servers.api.origin).status_code == 401
    assert servers.api.sent == [new, old]


def test_a_refused_key_before_a_change(following: requests.Session, servers: Servers, service: Client) -> None:
    """Without another key, a 401 is passed on after one request."""
    servers.api.accepted = set()
    assert following.get(servers.api.origin).status_code == 401
    assert servers.api.sent == [service.key]


def test_a_refused_stream_is_not_sent_again(following: requests.Session, servers: Servers, service: Client) -> None:
    """A body that cannot be read again is sent once, and the 401 is passed on."""
    new = service.rotate()
    assert following.post(servers.api.origin, data=iter([b"body"])).status_code == 401
    assert [(each.key, each.body) for each in servers.api.asked] == [(new, b"body")]


def test_the_auth_of_one_request(session: requests.Session, servers: Servers, service: Client) -> None:
    """`FollowingAuth` sends the key to the origin alone, without `follow`."""
    auth = FollowingAuth(service.secret, origin=servers.api.origin)
    assert session.get(redirect(servers.api, servers.other.origin), auth=auth).status_code == 401
    assert (servers.api.sent, servers.other.sent) == ([service.key], [""])


def test_a_session_follows_one_secret(following: requests.Session, servers: Servers, service: Client) -> None:
    """A second call would replace the first one."""
    with pytest.raises(ValueError, match="follows a secret already"):
        follow(following, service.secret, origin=servers.other.origin)


class Copying(requests.adapters.HTTPAdapter):
    """An adapter that sends a copy of each request, as some do that sign."""

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        return super().send(request.copy(), *arguments, **options)


def test_an_adapter_that_sends_a_copy_gets_no_key_elsewhere(
    following: requests.Session, servers: Servers, service: Client
) -> None:
    """What requests does before a redirect takes the key off, whatever was sent."""
    following.mount("https://", Copying())
    assert following.get(redirect(servers.api, servers.other.origin)).status_code == 401
    assert (servers.api.sent, servers.other.sent) == ([service.key], [""])


def test_a_netrc_file_replaces_no_key(
    following: requests.Session, servers: Servers, service: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a redirect within the origin, requests would send the login of the file."""
    login = put(tmp_path / "netrc", f"machine 127.0.0.1 login x password {secrets.token_hex(8)}".encode())
    monkeypatch.setenv("NETRC", str(login))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(servers.certificate))
    following.trust_env = True
    assert following.get(redirect(servers.api, "/a")).status_code == 200
    assert servers.api.sent == [service.key] * 2


def test_no_key_is_shown(
    following: requests.Session, servers: Servers, service: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The debug log of a refused request, and the repr of all objects with their attributes, have no key."""
    caplog.set_level(logging.DEBUG)
    service.rotate()
    response = following.get(servers.api.origin)
    assert response.status_code == 200
    shown = repr([vars(following), vars(following.auth), vars(response), vars(response.request)])
    assert leaks(caplog.text + shown, service.keys) == []
