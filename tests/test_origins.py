"""Where a key may go, and how a header has it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from api_servers import Client
from detector import leaks
from rings import traceback_of

from robodj_secretguard.adapters.origins import KeyHeader
from robodj_secretguard.running.login import Credentials
from robodj_secretguard.secret.sealed import SealedStr

HOST = "https://api.example.com"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A service that has a key."""
    return Client(tmp_path / "keys", monkeypatch)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "api.example.com",
        "http://api.example.com",
        f"{HOST}/",
        f"{HOST}/v1",
        f"{HOST}?a=b",
        f"{HOST}#a",
        f"{HOST}:",
        f"{HOST}:0",
        f"{HOST}:443443",
        f"{HOST}\n",
        "https://",
        "https://*.example.com",
        "https://user@api.example.com",
        "https://bücher.example",
    ],
)
def test_an_origin_is_https_with_a_host_and_nothing_else(origin: str, client: Client) -> None:
    """Another origin is refused."""
    with pytest.raises(ValueError, match="must be https://host"):
        KeyHeader(client.secret, origin, "Authorization")


@pytest.mark.parametrize(
    ("origin", "url", "is_same"),
    [
        (HOST, f"{HOST}/v1?a=b", True),
        (HOST, "HTTPS://API.Example.Com:443", True),
        ("https://API.example.com:443", HOST, True),
        (f"{HOST}:8443", f"{HOST}:8443/v1", True),
        ("https://[::1]:8443", "https://[::1]:8443/v1", True),
        (HOST, "http://api.example.com/", False),
        (HOST, f"{HOST}:8443/", False),
        (f"{HOST}:8443", f"{HOST}/", False),
        (HOST, "https://api.example.com.evil.example/", False),
        (HOST, "https://api.example.com@evil.example/", False),
        (HOST, "https://evil.example\\@api.example.com/", False),
        (HOST, "https://user@api.example.com/", False),
        (HOST, "https://evil.example/https://api.example.com/", False),
        (HOST, "/v1", False),
    ],
)
def test_scheme_host_and_port_are_compared(origin: str, url: str, is_same: bool, client: Client) -> None:  # noqa: FBT001
    """A URL is of the origin with the same scheme, host and port. One with a user never is."""
    assert KeyHeader(client.secret, origin, "Authorization").is_for(url) is is_same


@pytest.mark.parametrize(
    ("header", "prefix"), [("Authorization", "Bearer "), ("authorization", "Bearer "), ("X-Api-Key", "")]
)
def test_authorization_has_the_key_after_bearer(header: str, prefix: str, client: Client) -> None:
    """Another header has the key alone. The repr of the value is masked."""
    key_header = KeyHeader(client.secret, HOST, header)
    value = key_header.value(key_header.first())
    assert value == f"{prefix}{client.key}"
    assert leaks(repr([value, key_header, vars(type(key_header))]), client.keys) == []


def test_a_key_that_no_header_may_have_is_not_shown(client: Client) -> None:
    """A key with another character than ASCII is an error without the key."""
    key = f"{secrets.token_hex(16)}é"
    value, nothing = SealedStr(key), SealedStr("")
    with pytest.raises(ValueError, match="issue another one") as raised:
        KeyHeader(client.secret, HOST, "X-Api-Key").value(Credentials("current", value, nothing, value, nothing))
    assert leaks(traceback_of(raised.value), [key]) == []


def test_a_key_that_was_just_delivered_is_the_next_one(client: Client) -> None:
    """Without another value, a refused key lets the sources be read. A new key of them is tried."""
    key_header = KeyHeader(client.secret, HOST, "Authorization")
    client.rotate(has_previous=False)
    first = key_header.first()
    assert key_header.other_than(first) is None
    client.login._read_at -= 60  # noqa: SLF001 - it was long ago
    newest = client.rotate(has_previous=False, is_read=False)
    other = key_header.other_than(first)
    assert other is not None
    assert other.password.get_secret_value() == newest
