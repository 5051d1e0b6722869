"""redis-py, from version 7.0: a client whose connections follow a secret, also with a Valkey server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakSet

import redis.asyncio
from redis.connection import parse_url
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from robodj_secretguard.running.login import Credentials, Login, PoolLoop, login_of
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import contain

REDIS_PORT: Final = 6379
"""The port of a URL that has none."""
_PLACE: Final = ("host", "port", "path", "db")

_Client = TypeVar("_Client", "redis.Redis", "redis.asyncio.Redis")


def follow(client: _Client, secret: Secret, *, user: Secret | None = None) -> _Client:
    """Let the connections of a client follow a secret, and return the client (policy section 3).

    `cache = follow(redis.Redis(), secrets.redis_url)`

    Each new connection logs in with the value in use. In an overlap, a login that the server refuses is tried once with
    the other value. When a value has ended, idle connections are closed, and those in use are replaced when they are
    returned.

    Args:
        client: a client, also an asyncio one, that has not connected yet.
        secret: the URL, which has the address, or the password.
        user: the secret that has the ACL user; `None` for the user of the URL or of the client. Declare both with the
            same `group`.

    Raises:
        ValueError: the URL is that of a socket, and the client is not.
    """
    login = login_of(secret, user)
    pool = client.connection_pool
    _take_address(pool, login)
    following = _Beginning(login)
    is_async = isinstance(client, redis.asyncio.Redis)
    pool.connection_kwargs["redis_connect_func"] = following.connect_async if is_async else following.connect
    login.on_withdrawal(pool, following.close_idle)
    return client


class FollowingCredentials(CredentialProvider):
    """The credentials in use, for a client of a cluster or a separate pool. A refused login is not tried again.

    Args:
        secret: the URL or the password.
        user: the secret that has the ACL user; `None` for the user of the URL, or none.
    """

    def __init__(self, secret: Secret, *, user: Secret | None = None) -> None:
        self._accepted = login_of(secret, user).accepted
        self._user: str | None = None

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the user, if there is one, and the password."""
        credentials = self._accepted()[0]
        user = credentials.user.get_secret_value() or self._user
        password = credentials.password.get_secret_value()
        return (user, password) if user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the same."""
        return self.get_credentials()


class _Given(FollowingCredentials):
    """The credentials of one login."""

    def __init__(self, credentials: Credentials, user: str | None) -> None:
        self._accepted = lambda: (credentials,)
        self._user = user


class _Backoff:
    """The backoff of a connection, after errors other than a refused login. redis-py would repeat that, too."""

    def __init__(self, backoff: Any) -> None:
        self.reset = backoff.reset  # each command calls it
        self._compute = backoff.compute

    def compute(self, failures: int) -> float:
        error = sys.exception()
        if isinstance(error, Exception) and _is_refused(error):
            raise error
        return float(self._compute(failures))


def _limit_logins(connection: Any) -> None:
    """Let the driver send a refused login once. The retry of a connection is its own."""
    retry = connection.retry
    backoff = retry._backoff  # noqa: SLF001 - it has no public name
    if not isinstance(backoff, _Backoff):
        retry._backoff = _Backoff(backoff)  # noqa: SLF001


class _Beginning:
    """What redis-py calls to begin a connection."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._loop = PoolLoop()
        self._lock = threading.Lock()  # a set that grows cannot be listed
        self._connections: WeakSet[Any] = WeakSet()

    def connect(self, connection: Any) -> None:
        """Log in with the value in use."""
        with self._steps_of(connection) as steps:

            def connect_with(credentials: Credentials) -> None:
                for step in steps(credentials):
                    step()

            self._login.log_in(connect_with, _is_refused)

    async def connect_async(self, connection: Any) -> None:
        """Do the same under asyncio."""
        self._loop.note()
        with self._steps_of(connection) as steps:

            async def connect_with(credentials: Credentials) -> None:
                for step in steps(credentials):
                    await step()

            await self._login.log_in_async(connect_with, _is_refused)

    @contextmanager
    def _steps_of(self, connection: Any) -> Iterator[Callable[[Credentials], list[Callable[[], Any]]]]:
        """Return a function that returns the calls that log in with credentials."""
        _limit_logins(connection)
        with self._lock:
            self._connections.add(connection)
        begin = connection.redis_connect_func
        connection.redis_connect_func = None  # `connect` would call it
        is_connected = True

        def steps(credentials: Credentials) -> list[Callable[[], Any]]:
            nonlocal is_connected
            connection.credential_provider = _Given(credentials, connection.username)
            if _has_moved(connection, credentials):
                is_connected = False
            if is_connected:
                is_connected = False  # redis-py closes the socket of a refused login
                return [connection.on_connect]
            return [connection.disconnect, connection.connect]

        try:
            yield steps
        finally:
            connection.redis_connect_func = begin

    def close_idle(self, pool: Any) -> None:
        """Close idle connections, and let those in use be replaced when they are returned."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.mark_for_reconnect()
        disconnect = partial(pool.disconnect, inuse_connections=False)
        if isinstance(pool, redis.asyncio.ConnectionPool):
            self._loop.run(disconnect)
        else:
            disconnect()


def _take_address(pool: Any, login: Login) -> None:
    """Let a pool connect to the server of a URL. Its user and password are given at each login."""
    pool.reset()  # connections from before do not follow
    credentials = login.accepted()[0]
    if credentials.is_url:
        address = contain(lambda: _server_of(credentials, pool.connection_class))
        if "path" in address and "path" not in pool.connection_kwargs:
            raise ValueError("pass a client of a socket: redis.Redis(unix_socket_path=PATH)")
        pool.connection_class = address.pop("connection_class")
        pool.connection_kwargs.update(address)


def _has_moved(connection: Any, credentials: Credentials) -> bool:
    """Let a connection have the address of a URL. Return whether it had another one: no other server gets the password.

    Raises:
        redis.RedisError: the URL needs another kind of connection, such as one with TLS.
    """
    if not credentials.is_url:
        return False
    address = contain(lambda: _server_of(credentials, type(connection)))
    if not isinstance(connection, address["connection_class"]):
        raise redis.RedisError("the scheme of the URL has changed: make a new client")
    has_moved = False
    for name in _PLACE:
        if name in address and getattr(connection, name) != address[name]:
            setattr(connection, name, address[name])
            has_moved = True
    return has_moved


def _server_of(credentials: Credentials, kind: type) -> dict[str, Any]:
    """Return the arguments of a connection that a URL has, without its login."""
    parse: Callable[[str], Any] = parse_url
    if issubclass(kind, redis.asyncio.connection.AbstractConnection):
        parse = redis.asyncio.connection.parse_url
    address: dict[str, Any] = {"db": 0, "connection_class": kind, **parse(credentials.value.get_secret_value())}
    if "path" not in address:
        address = {"host": "localhost", "port": REDIS_PORT, **address}
    del address["password"]
    address.pop("username", None)
    return address


def _is_refused(error: Exception) -> bool:
    """Check whether the server has refused the user or the password (WRONGPASS).

    redis-py hides the code. The text of other errors of this class begins with another word.
    """
    return isinstance(error, AuthenticationError) and str(error).lower().startswith("invalid ")
