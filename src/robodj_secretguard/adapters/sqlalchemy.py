"""SQLAlchemy: an engine whose connections follow a secret, from version 2.0.30."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakSet

from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from robodj_secretguard.adapters.databases import is_wrong_password
from robodj_secretguard.running.login import Credentials, Login, PoolLoop, login_of
from robodj_secretguard.running.store import Secret

_USED: Final = "robodj_secretguard"
"""In `info` of a connection: what it logged in with."""
_POOL: Final = "robodj_secretguard.pool"
"""In `info` of a connection: the pool that keeps it when it is returned, or `None`."""

_Engine = TypeVar("_Engine", Engine, AsyncEngine)


def follow(engine: _Engine, secret: Secret, *, user: Secret | None = None) -> _Engine:
    """Let the connections of an engine follow a secret, and return the engine (policy section 3).

    `engine = follow(create_engine("postgresql+psycopg://"), secrets.database_url)`

    Each new connection logs in with the value in use. In an overlap, a login that the server refuses is tried once with
    the other value. When a value has ended, the pool replaces its connections: those in use when they are returned.
    `engine.dispose()` does that at once.

    Args:
        engine: an engine, also an async one, without connections and `creator`. Its URL names the driver, such as
            `postgresql+psycopg://`, and has the address if the secret is a password.
        secret: the URL of the database, or the password.
        user: the secret that has the user; `None` for the user of the URL. Declare both with the same `group`.

    Raises:
        ValueError: both the secret and the engine have an address: the password could go to another server.
    """
    login = login_of(secret, user)
    if login.is_url and (engine.url.host or engine.url.database):
        raise ValueError(f"the secret has the address: pass an engine of {engine.url.drivername}:// alone")
    following = _Followed(engine, login)
    event.listen(following.engine, "do_connect", following.connect)
    event.listen(following.engine, "checkin", following.leave_at_return)
    login.on_withdrawal(following, _Followed.leave_old)
    return engine


class _Followed:
    """The connections of an engine, which holds this by its listeners. A query calls one of these."""

    def __init__(self, engine: Engine | AsyncEngine, login: Login) -> None:
        self._login = login
        self._loop: PoolLoop | None = None
        if isinstance(engine, AsyncEngine):
            engine = engine.sync_engine
            self._loop = PoolLoop()
        self.engine = engine
        self._lock = threading.Lock()  # a set that grows cannot be listed
        self._entries: WeakSet[ConnectionPoolEntry] = WeakSet()

    def connect(
        self, dialect: Dialect, entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        """Log in with the value in use."""

        def connect_with(credentials: Credentials) -> DBAPIConnection:
            entry.info[_USED] = credentials
            own_arguments, own_options = dialect.create_connect_args(self._url_of(credentials))
            return dialect.connect(*(own_arguments or arguments), **{**options, **own_options})

        entry.info[_POOL] = self.engine.pool
        with self._lock:
            self._entries.add(entry)
        if self._loop is None:
            return self._login.log_in(connect_with, is_wrong_password)
        self._loop.note()
        connect_aside = partial(greenlet_spawn, connect_with)
        connection: DBAPIConnection = await_only(self._login.log_in_async(connect_aside, is_wrong_password))
        return connection

    def _url_of(self, credentials: Credentials) -> Any:
        if credentials.is_url:
            return make_url(credentials.value.get_secret_value()).set(drivername=self.engine.url.drivername)
        user = credentials.user.get_secret_value() or self.engine.url.username
        return self.engine.url.set(username=user, password=credentials.password.get_secret_value())

    def leave_at_return(self, _connection: object, entry: ConnectionPoolEntry) -> None:
        """Close an old connection instead of keeping it."""
        if entry.info.get(_POOL) is not self.engine.pool:  # an engine that was disposed has another one
            entry.invalidate()

    def leave_old(self) -> None:
        """Let the pool replace its old connections: idle ones now, and those in use when they are returned."""
        with self._lock:
            entries = list(self._entries)
        for entry in entries:
            credentials = entry.info.get(_USED)
            if credentials is None or not self._login.is_accepted(credentials):  # without them, it logs in now
                entry.info[_POOL] = None
                entry.invalidate(soft=True)  # where it was returned just before, it is replaced at its next use
        if self._loop is None:
            self.check_idle()
        else:
            self._loop.run(partial(greenlet_spawn, self.check_idle))

    def check_idle(self) -> None:
        """Check all idle connections out: that replaces old ones. What fails here is replaced at its next use."""
        with suppress(SQLAlchemyError), ExitStack() as held:
            left = _count_idle(self.engine)
            while left and _count_idle(self.engine):  # where others have taken them, it would wait
                left -= 1
                held.enter_context(self.engine.connect())


def _count_idle(engine: Engine) -> int:
    """Return how many connections a pool keeps. Some kinds of pools keep none."""
    pool = engine.pool
    return pool.checkedin() if isinstance(pool, QueuePool) else 0
