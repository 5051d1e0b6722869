"""psycopg 3: a pool whose connections follow a secret, from psycopg_pool 3.3 (it has `drain`)."""

from __future__ import annotations

from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from robodj_secretguard.adapters.databases import follow_pool, is_wrong_password, login_arguments, plain_url
from robodj_secretguard.running.login import Credentials, Login, PoolLoop, login_of
from robodj_secretguard.running.store import Secret

_Pool = TypeVar("_Pool", bound="ConnectionPool[Any] | AsyncConnectionPool[Any]")


def follow(pool: _Pool, secret: Secret, *, user: Secret | None = None) -> _Pool:
    """Let the connections of a pool follow a secret, and return the pool (policy section 3).

    `pool = follow(ConnectionPool(open=False), secrets.database_url)`, then `pool.open()`.

    Each new connection logs in with the value in use. In an overlap, a login that the server refuses is tried once with
    the other value. When a value has ended, the pool replaces its connections: those in use when they are returned.
    `pool.drain()` does that at once.

    Args:
        pool: a pool, also an async one, that is not open yet.
        secret: the URL of the database, or the password.
        user: the secret that has the user; `None` for the user of the URL or of the pool. Declare both with the same
            `group`.

    Raises:
        ValueError: the pool is open already, so it has connections that do not follow.
    """
    if not pool.closed:
        raise ValueError("pass a pool that is not open yet: ConnectionPool(open=False)")
    login = login_of(secret, user)
    if isinstance(pool, AsyncConnectionPool):
        _follow_async(pool, login)
    else:
        follow_pool(pool, login, _arguments)
    return pool


def _follow_async(pool: AsyncConnectionPool[Any], login: Login) -> None:
    base: type[AsyncConnection[Any]] = pool.connection_class
    loop = PoolLoop()

    class Following(base):  # type: ignore[misc, valid-type]
        @classmethod
        async def connect(cls, conninfo: str = "", **options: Any) -> Any:
            loop.note()

            async def connect_with(credentials: Credentials) -> Any:
                return await super(Following, cls).connect(
                    **{"conninfo": conninfo, **options, **_arguments(credentials)}
                )

            return await login.log_in_async(connect_with, is_wrong_password)

    def drain(found: AsyncConnectionPool[Any]) -> None:
        if not found.closed:
            loop.run(found.drain)

    pool.connection_class = Following
    login.on_withdrawal(pool, drain)


def _arguments(credentials: Credentials) -> dict[str, Any]:
    """Return the arguments that the secret gives, in place of those of the pool."""
    if not credentials.is_url:
        return login_arguments(credentials)
    return {"conninfo": "", **conninfo_to_dict(plain_url(credentials))}
