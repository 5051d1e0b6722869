"""A database under traffic, while its users and passwords change: how many queries fail."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Self

import pytest
from postgres import Delivery, Server
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text

from robodj_secretguard.adapters import psycopg, sqlalchemy

CHANGES: Final = 100
THREADS: Final = 16
URL, NEXT, PREVIOUS = "DATABASE_URL", "DATABASE_URL_NEXT", "DATABASE_URL_PREVIOUS"


class Traffic:
    """Threads that use a server without an end, and what they have seen."""

    def __init__(self, query: Callable[[], object]) -> None:
        self._query = query
        self._ends = threading.Event()
        self.queries = 0
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                self._query()
            except Exception as error:  # noqa: BLE001 - it is what is counted
                self.errors.append(error)
            self.queries += 1

    def wait(self) -> None:
        """Wait until there were some more queries: no operator changes a password while a login is under way."""
        until = self.queries + 10 * THREADS
        while self.queries < until:
            time.sleep(0.01)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(params=["psycopg", "sqlalchemy"])
def driver(request: pytest.FixtureRequest) -> Any:
    """Return what makes a query through a driver's pool, and what closes the pool."""

    def by_psycopg(url: Any) -> Any:
        pool = psycopg.follow(ConnectionPool(min_size=4, max_size=8, max_lifetime=2, open=False), url)
        pool.open()

        def query() -> None:
            with pool.connection(timeout=30) as connection:
                connection.execute("SELECT current_user")

        return query, pool.close

    def by_sqlalchemy(url: Any) -> Any:
        engine = create_engine("postgresql+psycopg://", pool_size=8, pool_recycle=2)
        sqlalchemy.follow(engine, url)

        def query() -> None:
            with engine.connect() as connection:
                connection.execute(text("SELECT current_user"))

        return query, engine.dispose

    return {"psycopg": by_psycopg, "sqlalchemy": by_sqlalchemy}[request.param]


def descriptors() -> int:
    """Return how many descriptors the process has."""
    return len(os.listdir("/proc/self/fd"))


def settled(count: Callable[[], int], most: int) -> int:
    """Return a count, once it is at most this or has had time to become it."""
    until = time.monotonic() + 30
    while count() > most and time.monotonic() < until:
        time.sleep(0.05)
    return count()


def test_no_query_fails_while_two_users_are_used_in_turn(database: Server, delivery: Delivery, driver: Any) -> None:
    """Each change delivers a new user next to the old one, which is deleted at the end of its overlap."""
    user, password = database.new_user()
    held = delivery.deliver({URL: database.url(user, password)})
    query, close = driver(held.database_url)
    query()
    with Traffic(query) as traffic:
        began, before = time.monotonic(), (threading.active_count(), descriptors())
        ended = ""
        for _ in range(CHANGES):
            old, old_password = user, password
            user, password = database.new_user()
            delivery.deliver({URL: database.url(user, password), PREVIOUS: database.url(old, old_password)})
            query()
            delivery.deliver({URL: database.url(user, password)})
            if ended:  # the issuer deletes a user some time after the end of its overlap
                database.wait_until_gone(ended)
                database.execute(f"DROP ROLE {ended}")
            ended = old
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
    database: Server, delivery: Delivery, driver: Any
) -> None:
    """The next password is delivered first, then the server changes it, then it is delivered as the current one."""
    user, password = database.new_user()
    held = delivery.deliver({URL: database.url(user, password)})
    query, close = driver(held.database_url)
    query()
    with Traffic(query) as traffic:
        for _ in range(CHANGES):
            new = secrets.token_hex(16)
            delivery.deliver({URL: database.url(user, password), NEXT: database.url(user, new)})
            database.set_password(user, new)
            query()
            delivery.deliver({URL: database.url(user, new)})
            password = new
            traffic.wait()
    refused = sum(held.database_url.store.refused_logins.values())
    assert traffic.errors == []
    assert refused <= 2 * CHANGES  # those in flight when the server changes may be refused, too
    close()
