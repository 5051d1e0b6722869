"""asyncpg: a pool whose connections follow a secret, from version 0.30 (its pool has `connect`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg

from robodj_secretguard.adapters.databases import is_wrong_password, login_arguments, plain_url
from robodj_secretguard.running.login import Credentials, Login, PoolLoop, login_of
from robodj_secretguard.running.store import Secret


def follow(
    create_pool: Callable[..., asyncpg.Pool[asyncpg.Record]], secret: Secret, *, user: Secret | None = None
) -> asyncpg.Pool[asyncpg.Record]:
    """Return a pool whose connections follow a secret (policy section 3).

    `pool = await follow(partial(asyncpg.create_pool, min_size=2), secrets.database_url)`

    Each new connection logs in with the value in use. In an overlap, a login that the server refuses is tried once with
    the other value. When a value has ended, the pool replaces its connections at their next use, and those in use when
    they are returned. `await pool.expire_connections()` does that at once.

    Args:
        create_pool: `asyncpg.create_pool`, or a `functools.partial` of it with further arguments but `connect`.
        secret: the URL of the database, or the password.
        user: the secret that has the user; `None` for the user of the URL or of the arguments. Declare both with the
            same `group`.
    """
    connecting = _Connecting(login_of(secret, user))
    pool = create_pool(connect=connecting)
    connecting.pool = pool
    return pool


class _Connecting:
    """What a pool calls for each connection. The pool holds it, and nothing else does: a pool has no weak reference."""

    pool: asyncpg.Pool[asyncpg.Record]

    def __init__(self, login: Login) -> None:
        self._login = login
        self._loop = PoolLoop()
        login.on_withdrawal(self, _Connecting.expire)

    async def __call__(self, *arguments: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        """Log in with the value in use."""
        self._loop.note()

        async def connect_with(credentials: Credentials) -> asyncpg.Connection[asyncpg.Record]:
            if credentials.is_url:
                return await asyncpg.connect(plain_url(credentials), **options)
            return await asyncpg.connect(*arguments, **{**options, **login_arguments(credentials)})

        return await self._login.log_in_async(connect_with, is_wrong_password)

    def expire(self) -> None:
        """Let the pool replace its connections."""
        self._loop.run(lambda: self.pool.expire_connections())  # noqa: PLW0108 - at first, there is no pool
