"""psycopg 3: a pool whose connections follow a secret, from psycopg_pool 3.3 (it has `drain`)."""

from __future__ import annotations

from typing import Any, TypeVar

from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from robodj_secretguard.adapters.databases import follow_pool, login_arguments, plain_url
from robodj_secretguard.running.login import Credentials, PoolLoop, login_of
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
    loop = PoolLoop() if isinstance(pool, AsyncConnectionPool) else None
    follow_pool(pool, login_of(secret, user), _arguments, loop)
    return pool


def _arguments(credentials: Credentials) -> dict[str, Any]:
    """Return the arguments that the secret gives, in place of those of the pool."""
    if not credentials.is_url:
        return login_arguments(credentials)
    return {"conninfo": "", **conninfo_to_dict(plain_url(credentials))}
