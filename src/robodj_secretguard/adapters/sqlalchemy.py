"""SQLAlchemy: an engine whose connections follow a secret, from version 2.0."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, Pool, QueuePool
from sqlalchemy.util import await_only

from robodj_secretguard.adapters.databases import is_wrong_password
from robodj_secretguard.running.login import Credentials, Login, PoolLoop, login_of
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.frozen import Frozen

_SEEN: Final = "robodj_secretguard"
"""In `info` of a connection: what it logged in with, and when that was last checked."""

_Engine = TypeVar("_Engine", Engine, AsyncEngine)


def follow(engine: _Engine, secret: Secret, *, user: Secret | None = None) -> _Engine:
    """Let the connections of an engine follow a secret, and return the engine (policy section 3).

    `engine = follow(create_engine("postgresql+psycopg://"), secrets.database_url)`

    Each new connection logs in with the value in use. In an overlap, a login that the server refuses is tried once with
    the other value. When a value has ended, the pool replaces its connections: those in use when they are returned.
    `engine.dispose()` does that at once.

    Args:
        engine: an engine, also an async one. Its URL names the driver, and needs no login. It must not be in use.
        secret: the URL of the database, or the password. A URL replaces that of the engine, but for the driver.
        user: the secret that has the user; `None` for the user of the URL. Declare both with the same `group`.
    """
    login = login_of(secret, user)
    if isinstance(engine, AsyncEngine):
        sync_engine = engine.sync_engine
        loop = PoolLoop()
        following = _Listeners(sync_engine, login, loop)
        login.on_withdrawal(engine, lambda found: loop.run(partial(_check_idle_in_loop, found)))
    else:
        sync_engine = engine
        following = _Listeners(sync_engine, login, None)
        login.on_withdrawal(sync_engine, _check_idle)
    event.listen(sync_engine, "do_connect", following.connect)
    event.listen(sync_engine, "checkout", following.leave_at_checkout)
    event.listen(sync_engine, "checkin", following.leave_at_return)
    return engine


class _Seen(Frozen):
    """What a connection logged in with, its pool, and how many values had ended when that was last checked.

    `is_new`: nobody has used it. A value may end during the login, and SQLAlchemy replaces a connection only once.
    """

    credentials: Credentials
    withdrawn: int
    pool: Pool
    is_new: bool = True


class _Listeners:
    """The listeners of an engine."""

    def __init__(self, engine: Engine, login: Login, loop: PoolLoop | None) -> None:
        self._engine = engine
        self._login = login
        self._loop = loop

    def connect(
        self, dialect: Dialect, record: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        """Log in with the value in use."""
        seen: list[_Seen] = []

        def connect_with(credentials: Credentials) -> DBAPIConnection:
            seen.append(_Seen(credentials, self._login.withdrawn, self._engine.pool))
            own_arguments, own_options = dialect.create_connect_args(self._url_of(credentials))
            return dialect.connect(*(own_arguments or arguments), **{**options, **own_options})

        if self._loop is None:
            connection = self._login.log_in(connect_with, is_wrong_password)
        else:
            self._loop.note()
            connection = self._login.log_in(connect_with, is_wrong_password, _run_aside, _sleep)
        record.info[_SEEN] = seen[-1]
        return connection

    def _url_of(self, credentials: Credentials) -> Any:
        if credentials.is_url:
            return make_url(credentials.value.get_secret_value()).set(drivername=self._engine.url.drivername)
        user = credentials.user.get_secret_value() or self._engine.url.username
        return self._engine.url.set(username=user, password=credentials.password.get_secret_value())

    def leave_at_checkout(self, _connection: object, record: ConnectionPoolEntry, _fairy: object) -> None:
        """Let the pool replace an old connection."""
        seen: _Seen = record.info[_SEEN]
        if seen.is_new:
            record.info[_SEEN] = seen._replace(is_new=False)
            return
        if self._is_old(record):
            raise DisconnectionError("the value that this connection logged in with has ended")

    def leave_at_return(self, connection: object, record: ConnectionPoolEntry) -> None:
        """Close an old connection instead of keeping it."""
        if connection is not None and self._is_old(record):
            record.invalidate()

    def _is_old(self, record: ConnectionPoolEntry) -> bool:
        seen: _Seen = record.info[_SEEN]
        if seen.pool is not self._engine.pool:  # the engine was disposed
            return True
        withdrawn = self._login.withdrawn
        if seen.withdrawn == withdrawn:
            return False
        record.info[_SEEN] = seen._replace(withdrawn=withdrawn)
        return not self._login.is_accepted(seen.credentials)


def _check_idle(engine: Engine) -> None:
    """Check each idle connection out once: that replaces an old one. What fails here is replaced at its next use."""
    with suppress(SQLAlchemyError):
        for _ in range(_count_idle(engine)):
            engine.connect().close()


async def _check_idle_in_loop(engine: AsyncEngine) -> None:
    with suppress(SQLAlchemyError):
        for _ in range(_count_idle(engine.sync_engine)):
            async with engine.connect():
                pass


def _count_idle(engine: Engine) -> int:
    """Return how many connections a pool keeps. Some kinds of pools keep none."""
    pool = engine.pool
    return pool.checkedin() if isinstance(pool, QueuePool) else 0


def _run_aside(function: Callable[[], object]) -> object:
    """Call a function in another thread: it must not block the event loop."""
    return await_only(asyncio.to_thread(function))


def _sleep(seconds: float) -> None:
    await_only(asyncio.sleep(seconds))
