"""A database under traffic, while its users and passwords change: how many queries fail."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import asyncpg as asyncpg_driver
import pytest
from postgres import Delivery, Server
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from robodj_secretguard.adapters import asyncpg, psycopg, sqlalchemy
from robodj_secretguard.adapters.databases import is_wrong_password
from robodj_secretguard.running.login import DEFAULT_PERIOD

DELETIONS: Final = 5
THREADS: Final = 16
URL, NEXT, PREVIOUS = "DATABASE_URL", "DATABASE_URL_NEXT", "DATABASE_URL_PREVIOUS"

WHO = text("SELECT current_user")


@dataclass
class Window:
    """Two times of the monotonic clock, and the error of a query that failed in between."""

    began: float
    ended: float
    error: Exception | None = None

    def overlaps(self, other: Window) -> bool:
        """Check whether two windows have a time in common."""
        return self.began <= other.ended and other.began <= self.ended


class Traffic:
    """Threads that use a server without an end, and what they have seen."""

    def __init__(self, query: Callable[[], object]) -> None:
        self._query = query
        self._ends = threading.Event()
        self.queries = 0
        self.failed: list[Window] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def _run(self) -> None:
        while not self._ends.is_set():
            began = time.monotonic()
            try:
                self._query()
            except Exception as error:  # noqa: BLE001 - it is what is counted
                self.failed.append(Window(began, time.monotonic(), error))
            self.queries += 1

    @property
    def errors(self) -> list[Exception | None]:
        """What the queries have raised."""
        return [each.error for each in self.failed]

    def wait(self) -> None:
        """Wait until there were some more queries: no operator changes a password while a login is under way."""
        until = self.queries + 10 * THREADS
        while self.queries < until:
            time.sleep(0.01)

    def wait_until_one_fails(self) -> None:
        """Wait until one more query has failed."""
        before, until = len(self.failed), time.monotonic() + 60
        while len(self.failed) == before:
            assert time.monotonic() < until
            time.sleep(0.001)

    def wait_until_none_fails(self) -> None:
        """Wait until some more queries have not failed."""
        until, before = time.monotonic() + 60, -1
        while len(self.failed) > before:
            assert time.monotonic() < until
            before = len(self.failed)
            self.wait()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


class Loop:
    """An event loop in a thread. Each thread of the traffic waits for a task of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, task: Coroutine[Any, Any, Any]) -> Any:
        """Run a task, and return its result."""
        return asyncio.run_coroutine_threadsafe(task, self._loop).result()

    def close(self, task: Coroutine[Any, Any, Any]) -> None:
        """Run the last task."""
        self.run(task)
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def by_psycopg(url: Any) -> Any:
    """Return what makes a query, and what closes the pool. It replaces a connection after 2 seconds."""
    pool = psycopg.follow(ConnectionPool(min_size=4, max_size=8, max_lifetime=2, open=False), url)
    pool.open()

    def query() -> None:
        with pool.connection(timeout=30) as connection:
            connection.execute("SELECT current_user")

    return query, pool.close


def by_sqlalchemy(url: Any, recycle: float = 2) -> Any:
    """Return the same of an engine."""
    engine = create_engine("postgresql+psycopg://", pool_size=8, pool_recycle=recycle)
    sqlalchemy.follow(engine, url)

    def query() -> None:
        with engine.connect() as connection:
            connection.execute(WHO)

    return query, engine.dispose


def by_async_engine(url: Any) -> Any:
    """Return the same of an async engine."""
    loop = Loop()
    engine = sqlalchemy.follow(create_async_engine("postgresql+asyncpg://", pool_size=8, pool_recycle=2), url)

    async def execute() -> None:
        async with engine.connect() as connection:
            await connection.execute(WHO)

    return lambda: loop.run(execute()), lambda: loop.close(engine.dispose())


def by_asyncpg(url: Any) -> Any:
    """Return the same of a pool of asyncpg, which replaces a connection after 200 queries."""
    loop = Loop()

    async def opened() -> Any:
        create = partial(asyncpg_driver.create_pool, min_size=4, max_size=8, max_queries=200)
        return await asyncpg.follow(create, url)

    pool = loop.run(opened())
    return lambda: loop.run(pool.execute("SELECT current_user")), lambda: loop.close(pool.close())


@pytest.fixture(params=[by_psycopg, by_sqlalchemy, by_async_engine, by_asyncpg])
def driver(request: pytest.FixtureRequest) -> Any:
    """Return what opens a driver's pool."""
    return request.param


@pytest.fixture(params=[20, pytest.param(100, marks=pytest.mark.full)])
def changes(request: pytest.FixtureRequest) -> int:
    """Return how many changes there are."""
    return int(request.param)


def descriptors() -> int:
    """Return how many descriptors the process has."""
    return len(os.listdir("/proc/self/fd"))


def settled(count: Callable[[], int], most: int) -> int:
    """Return a count, once it is at most this or has had time to become it."""
    until = time.monotonic() + 30
    while count() > most and time.monotonic() < until:
        time.sleep(0.05)
    return count()


def test_no_query_fails_while_two_users_are_used_in_turn(
    database: Server, delivery: Delivery, driver: Any, changes: int
) -> None:
    """Each change delivers a new user next to the old one, which is deleted at the end of its overlap."""
    user, password = database.new_user()
    held = delivery.deliver({URL: database.url(user, password)})
    query, close = driver(held.database_url)
    query()
    with Traffic(query) as traffic:
        began, before = time.monotonic(), (threading.active_count(), descriptors())
        ended: list[str] = []
        for _ in range(changes):
            old, old_password = user, password
            user, password = database.new_user()
            delivery.deliver({URL: database.url(user, password), PREVIOUS: database.url(old, old_password)})
            query()
            delivery.deliver({URL: database.url(user, password)})
            if len(ended) > 1:  # the issuer deletes a user some time after its overlap: a slow login may still begin
                database.wait_until_gone(ended[0])
                database.execute(f"DROP ROLE {ended.pop(0)}")
            ended.append(old)
            traffic.wait()
        rate = traffic.queries / (time.monotonic() - began)
        threads = settled(threading.active_count, before[0])
    assert traffic.errors == []
    assert rate >= 200
    assert threads <= before[0]
    assert database.connections(user) <= 18
    close()
    database.wait_until_gone(user)
    assert settled(descriptors, before[1]) <= before[1]


def test_no_query_fails_while_the_password_of_one_user_changes(
    database: Server, delivery: Delivery, driver: Any, changes: int
) -> None:
    """The next password is delivered first, then the server changes it, then it is delivered as the current one."""
    user, password = database.new_user()
    held = delivery.deliver({URL: database.url(user, password)})
    query, close = driver(held.database_url)
    query()
    with Traffic(query) as traffic:
        for _ in range(changes):
            new = secrets.token_hex(16)
            delivery.deliver({URL: database.url(user, password), NEXT: database.url(user, new)})
            database.set_password(user, new)
            query()
            delivery.deliver({URL: database.url(user, new)})
            password = new
            traffic.wait()
    refused = sum(held.database_url.store.refused_logins.values())
    assert traffic.errors == []
    assert refused <= 4 * changes  # those in flight when the server changes are refused, too
    close()


def test_only_queries_before_the_delivery_fail_without_an_overlap(
    database: Server, delivery: Delivery, changes: int
) -> None:
    """The server changes the password first. Each login that it refuses until the delivery is counted."""
    user, password = database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(user, password))
    refused = held.plain_url.store.refused_logins
    query, close = by_sqlalchemy(held.plain_url, recycle=0.2)
    windows = []
    query()
    with Traffic(query) as traffic:
        before = threading.active_count(), descriptors()
        for _ in range(changes):
            password = secrets.token_hex(16)
            began = time.monotonic()
            database.set_password(user, password)
            traffic.wait_until_one_fails()
            delivery.deliver(PLAIN_URL=database.url(user, password))
            windows.append(Window(began, time.monotonic()))
            traffic.wait()
        threads = settled(threading.active_count, before[0])
    outside = [each for each in traffic.failed if not any(each.overlaps(window) for window in windows)]
    assert outside == []
    causes: list[Any] = [getattr(error, "orig", error) for error in traffic.errors]
    assert [each for each in causes if not is_wrong_password(each)] == []
    assert len(traffic.errors) <= refused[("plain_url", "current")]
    assert threads <= before[0]
    close()
    database.wait_until_gone(user)
    assert settled(descriptors, before[1]) <= before[1]


def test_a_pool_is_used_again_after_its_user_was_deleted(database: Server, delivery: Delivery, driver: Any) -> None:
    """The next refused login reads what was delivered, before the period does."""
    user, password = database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(user, password))
    query, close = driver(held.plain_url)
    query()
    with Traffic(query) as traffic:
        for _ in range(DELETIONS):
            old = user
            user, password = database.new_user()
            database.drop(old)
            delivery.deliver(is_read=False, PLAIN_URL=database.url(user, password))
            delivered = time.monotonic()
            traffic.wait_until_none_fails()
            assert time.monotonic() <= delivered + DEFAULT_PERIOD
    close()
    database.wait_until_gone(user)
