"""redis-py: a client follows the password of a real server."""

from __future__ import annotations

import asyncio
import gc
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest

redis = pytest.importorskip("redis")
pytest.importorskip("psycopg")
from postgres import Delivery  # noqa: E402

from robodj_secretguard.adapters.redis import FollowingCredentials, follow  # noqa: E402

SERVER = shutil.which("valkey-server") or shutil.which("redis-server")
URL, PREVIOUS = "DATABASE_URL", "DATABASE_URL_PREVIOUS"


class Cache:
    """A running server, and its administrator."""

    def __init__(self, port: int, password: str, path: Path) -> None:
        self.port = port
        self.socket = path
        self._administrator = redis.Redis(port=port, username="owner", password=password)

    def url(self, user: str, password: str) -> str:
        """Return the URL of the server for a user."""
        return f"redis://{user}:{password}@127.0.0.1:{self.port}/0"

    def new_user(self) -> list[str]:
        """Return a new ACL user and its password."""
        user, password = secrets.token_hex(8), secrets.token_hex(16)
        self.execute("ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all")
        return [user, password]

    def execute(self, *words: str) -> Any:
        """Run a command as the administrator."""
        return self._administrator.execute_command(*words)

    def refused(self) -> int:
        """Return how many logins the server has refused since the last call."""
        entries = self._administrator.acl_log()
        self._administrator.acl_log_reset()
        return sum(int(each["count"]) for each in entries if each["reason"] == "auth")

    def connections(self, user: str) -> int:
        """Return how many connections a user has."""
        return len([each for each in self._administrator.client_list() if each["user"] == user])

    def wait_until_gone(self, user: str) -> None:
        """Wait until the server has ended the connections that a user has closed."""
        until = time.monotonic() + 60
        while self.connections(user):
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.fixture(scope="module")
def cache() -> Iterator[Cache]:
    """A server on a free port."""
    if SERVER is None:
        pytest.skip("neither Redis nor Valkey is installed")
    with running_cache() as running:
        yield running


@contextmanager
def running_cache() -> Iterator[Cache]:
    """Run a server on a free port, and on a socket, whose path must be short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        yield from _running_in(Path(root))


def _running_in(root: Path) -> Iterator[Cache]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = secrets.token_hex(16)
    lines = f"bind 127.0.0.1\nport {port}\nunixsocket {root}/redis.sock\nsave ''\ndir {root}\n"
    lines += f"user owner on >{password} ~* &* +@all\n"
    with subprocess.Popen([str(SERVER), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(lines)
        process.stdin.close()
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert time.monotonic() < until
            yield Cache(port, password, root / "redis.sock")
        finally:
            process.terminate()


def shown(name: Any) -> str:
    """Return a name as text: the protocol of the client decides what it gets."""
    return name.decode() if isinstance(name, bytes) else str(name)


async def value_of(answer: Any) -> Any:
    """Return what a client of either kind answers."""
    return await answer if isawaitable(answer) else answer


def test_a_client_follows_two_users_in_turn(cache: Cache, delivery: Delivery) -> None:
    """In an overlap, old connections stay. Afterwards idle ones are closed, and a deleted user disturbs nobody."""
    (one, first), (other, second) = cache.new_user(), cache.new_user()
    held = delivery.deliver({URL: cache.url(one, first)})
    client = follow(redis.Redis(), held.database_url)
    assert shown(client.acl_whoami()) == one
    delivery.deliver({URL: cache.url(other, second), PREVIOUS: cache.url(one, first)})
    assert shown(client.acl_whoami()) == one
    delivery.deliver({URL: cache.url(other, second)})
    cache.wait_until_gone(one)
    cache.execute("ACL", "DELUSER", one)
    assert shown(client.acl_whoami()) == other
    client.close()


def test_a_refused_login_is_tried_once_with_the_other_password(cache: Cache, delivery: Delivery) -> None:
    """The choice is kept: the server refuses one login."""
    user, old = cache.new_user()
    new = secrets.token_hex(16)
    held = delivery.deliver(DB_USER=user, DB_USER_NEXT=user, DB_PASSWORD=old, DB_PASSWORD_NEXT=new)
    client = follow(redis.Redis(port=cache.port), held.db_password, user=held.db_user)
    cache.execute("ACL", "SETUSER", user, "resetpass", f">{new}")
    cache.refused()
    for _ in range(3):
        assert shown(client.acl_whoami()) == user
        client.connection_pool.disconnect()
    assert cache.refused() == 1
    assert held.db_password.store.refused_logins == {("db_password", "current"): 1}


def test_a_connection_in_use_is_replaced_when_it_is_returned(cache: Cache, delivery: Delivery) -> None:
    """It was not idle when its user ended."""
    (one, first), (other, second) = cache.new_user(), cache.new_user()
    held = delivery.deliver({URL: cache.url(one, first)})
    client: Any = follow(redis.Redis(), held.database_url)
    in_use, idle = (client.connection_pool.get_connection() for _ in range(2))
    client.connection_pool.release(idle)
    delivery.deliver({URL: cache.url(other, second)})
    until = time.monotonic() + 60
    while cache.connections(one) > 1:
        assert time.monotonic() < until
        time.sleep(0.01)
    client.connection_pool.release(in_use)
    cache.wait_until_gone(one)
    client.close()


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_each_of_two_wrong_passwords_is_sent_once(cache: Cache, delivery: Delivery, kind: str) -> None:
    """redis-py repeats each failure of a connection. The second command sends nothing within a second."""
    user, _ = cache.new_user()
    wrong = [secrets.token_hex(16), secrets.token_hex(16)]
    held = delivery.deliver({URL: cache.url(user, wrong[0]), PREVIOUS: cache.url(user, wrong[1])})
    cache.refused()
    counts = []

    async def fail() -> None:
        client: Any = redis.asyncio.Redis() if kind == "asyncio" else redis.Redis()
        follow(client, held.database_url)
        for _ in range(2):
            with pytest.raises(redis.AuthenticationError) as raised:
                await client.ping()
            counts.append(cache.refused())
            assert not any(each in repr(raised.value) for each in wrong)

    asyncio.run(fail())
    assert counts == [2, 0]


def test_only_a_refused_login_is_tried_with_the_other_password(cache: Cache, delivery: Delivery) -> None:
    """Not one to a server that asks for no password, and not a command that the user may not run."""
    user, password = cache.new_user()
    other = secrets.token_hex(16)
    held = delivery.deliver(DB_USER=user, DB_USER_NEXT=user, DB_PASSWORD=password, DB_PASSWORD_NEXT=other)
    cache.execute("ACL", "SETUSER", user, "-@all")
    client = follow(redis.Redis(port=cache.port), held.db_password, user=held.db_user)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.get("stock")
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 1)
    client = follow(redis.Redis(port=cache.port, protocol=2, retry=retry), held.db_password)
    with pytest.raises(redis.AuthenticationError, match="without any password"):
        client.ping()
    assert held.db_password.store.refused_logins == {}


def test_a_password_alone_is_for_the_user_of_the_client(cache: Cache, delivery: Delivery) -> None:
    """Without a user anywhere, it is that of the default user."""
    user, password = cache.new_user()
    held = delivery.deliver(DB_PASSWORD=password)
    client = follow(redis.Redis(port=cache.port, username=user), held.db_password)
    assert shown(client.acl_whoami()) == user
    client.close()
    assert FollowingCredentials(held.db_password).get_credentials() == (password,)


def test_an_asyncio_client_follows(cache: Cache, delivery: Delivery) -> None:
    """A refused login is tried with the other password, and the loop closes idle connections."""
    user, old = cache.new_user()
    new = secrets.token_hex(16)
    other, third = cache.new_user()
    held = delivery.deliver({URL: cache.url(user, old), PREVIOUS: cache.url(user, new)})
    cache.execute("ACL", "SETUSER", user, "resetpass", f">{new}")

    async def serve() -> list[str]:
        client = follow(redis.asyncio.Redis(), held.database_url)
        users = [shown(await client.acl_whoami())]
        await asyncio.to_thread(delivery.deliver, {URL: cache.url(other, third)})
        until = time.monotonic() + 60
        while await asyncio.to_thread(cache.connections, user):
            assert time.monotonic() < until
        users.append(shown(await client.acl_whoami()))
        await client.aclose()
        return users

    assert asyncio.run(serve()) == [user, other]
    given = asyncio.run(FollowingCredentials(held.database_url).get_credentials_async())
    assert given == (other, third)


def test_a_client_without_connections_has_none_to_close(delivery: Delivery) -> None:
    """A client that is new or gone needs nothing after a change."""
    url = delivery.deliver(PLAIN_URL=f"redis://shop:{secrets.token_hex(12)}@127.0.0.1:1/0").plain_url
    client = follow(redis.asyncio.Redis(), url)
    functions = [each.call for each in url.store.subscriptions]
    assert [function() for function in functions] == [None]
    del client
    gc.collect()
    assert [function() for function in functions] == [None]


def test_an_error_of_the_driver_shows_no_password(cache: Cache, delivery: Delivery) -> None:
    """Where no other value is delivered, the error of the server is raised."""
    user, _ = cache.new_user()
    wrong = secrets.token_hex(16)
    held = delivery.deliver(PLAIN_URL=cache.url(user, wrong))
    client = follow(redis.Redis(), held.plain_url)
    with pytest.raises(redis.AuthenticationError) as raised:
        client.ping()
    assert wrong not in str(raised.value)
    assert not any(wrong in repr(entry.frame.f_locals) for entry in raised.traceback[1:])
    assert wrong not in repr(client)


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_password_goes_to_the_server_of_its_url_alone(cache: Cache, delivery: Delivery, kind: str) -> None:
    """A connection that is opened again goes where the URL in use says."""
    held = delivery.deliver(PLAIN_URL=cache.url(*cache.new_user()))
    client: Any = redis.asyncio.Redis() if kind == "asyncio" else redis.Redis()
    follow(client, held.plain_url)

    async def ask() -> None:
        await value_of(client.ping())
        with running_cache() as elsewhere:
            user, password = elsewhere.new_user()
            delivery.deliver(PLAIN_URL=elsewhere.url(user, password))
            await value_of(client.connection_pool.disconnect())
            assert shown(await value_of(client.acl_whoami())) == user
            await value_of(client.connection_pool.disconnect())

    cache.refused()
    asyncio.run(ask())
    assert cache.refused() == 0


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_refused_login_goes_to_the_server_that_was_just_delivered(
    cache: Cache, delivery: Delivery, kind: str
) -> None:
    """The URL that a refused login reads may have another address."""
    held = delivery.deliver(PLAIN_URL=cache.url("nobody", secrets.token_hex(16)))
    client: Any = redis.asyncio.Redis() if kind == "asyncio" else redis.Redis()
    follow(client, held.plain_url)

    async def ask(user: str) -> None:
        assert shown(await value_of(client.acl_whoami())) == user
        await value_of(client.connection_pool.disconnect())

    with running_cache() as elsewhere:
        user, password = elsewhere.new_user()
        delivery.deliver(PLAIN_URL=elsewhere.url(user, password), is_read=False)
        asyncio.run(ask(user))


def test_another_scheme_needs_another_client(cache: Cache, delivery: Delivery) -> None:
    """A URL that wants TLS does not get a connection without it."""
    user, password = cache.new_user()
    client = follow(redis.Redis(), delivery.deliver(PLAIN_URL=cache.url(user, password)).plain_url)
    assert client.ping()
    delivery.deliver(PLAIN_URL=cache.url(user, password).replace("redis:", "rediss:"))
    client.connection_pool.disconnect()
    with pytest.raises(redis.RedisError, match="make a new client"):
        client.ping()


def test_a_client_of_a_socket_follows(cache: Cache, delivery: Delivery) -> None:
    """Its URL has a path, and no host."""
    user, password = cache.new_user()
    url = f"unix://{user}:{password}@{cache.socket}?db=0"
    held = delivery.deliver(PLAIN_URL=url)
    with pytest.raises(ValueError, match="unix_socket_path"):
        follow(redis.Redis(), held.plain_url)
    client = follow(redis.Redis(unix_socket_path="replaced"), held.plain_url)
    assert shown(client.acl_whoami()) == user
    client.close()
