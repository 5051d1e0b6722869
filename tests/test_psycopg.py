"""psycopg: a pool follows the URL of a database, on a real server."""

from __future__ import annotations

import asyncio
import gc
import secrets
import threading
from typing import Any
from weakref import ref

import pytest

pytest.importorskip("psycopg_pool")
import psycopg
from postgres import Delivery, Server
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from robodj_secretguard.adapters.psycopg import follow

URL, PREVIOUS = "DATABASE_URL", "DATABASE_URL_PREVIOUS"
WHO = "SELECT current_user"


def who(pool: Any) -> str:
    """Return the user of a query."""
    with pool.connection(timeout=20) as connection:
        return str(connection.execute(WHO).fetchone()[0])


def drained(pool: Any) -> threading.Event:
    """Return an event that is set once the connections of a pool were replaced."""
    event = threading.Event()
    drain = pool.drain

    def drain_and_tell() -> Any:
        event.set()
        return drain()

    pool.drain = drain_and_tell
    return event


def test_a_pool_follows_two_users_in_turn(database: Server, delivery: Delivery) -> None:
    """New connections use the new user, and no address but its own. The old ones go when the old one has ended."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver({URL: database.url(one, first)})
    elsewhere = "host=192.0.2.1 port=1 sslmode=require"
    with follow(ConnectionPool(elsewhere, min_size=1, max_size=1, open=False), held.database_url) as pool:
        is_drained = drained(pool)
        assert who(pool) == one
        delivery.deliver({URL: database.url(other, second), PREVIOUS: database.url(one, first)})
        assert who(pool) == one
        delivery.deliver({URL: database.url(other, second)})
        assert is_drained.wait(60)
        pool.wait(60)
        database.wait_until_gone(one)
        database.drop(one)
        assert who(pool) == other


def test_a_login_is_tried_with_the_other_password(database: Server, delivery: Delivery) -> None:
    """The server changes the password before or after the delivery: each connection logs in."""
    user, old = database.new_user()
    new = secrets.token_hex(16)
    held = delivery.deliver(DB_USER=user, DB_USER_NEXT=user, DB_PASSWORD=old, DB_PASSWORD_NEXT=new)
    address = {"host": "127.0.0.1", "port": database.port, "dbname": "postgres", "password": "of the pool"}
    pool = follow(ConnectionPool(kwargs=address, min_size=1, open=False), held.db_password, user=held.db_user)
    with pool:
        assert who(pool) == user
        database.set_password(user, new)
        pool.drain()
        assert who(pool) == user
    assert held.db_password.store.refused_logins == {("db_password", "current"): 1}


def test_an_async_pool_follows(database: Server, delivery: Delivery) -> None:
    """The loop of the pool replaces its connections."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(one, first))
    plain = held.plain_url

    async def who_async(pool: AsyncConnectionPool[Any]) -> str:
        async with pool.connection(timeout=20) as connection:
            cursor = await connection.execute(WHO)
            (user,) = await cursor.fetchone() or ("",)
            return str(user)

    async def serve() -> list[str]:
        pool = follow(AsyncConnectionPool(min_size=1, open=False), plain)
        is_drained = drained(pool)
        async with pool:
            users = [await who_async(pool)]
            await asyncio.to_thread(delivery.deliver, PLAIN_URL=database.url(other, second))
            assert await asyncio.to_thread(is_drained.wait, 60)
            await pool.wait(60)
            users.append(await who_async(pool))
        await asyncio.to_thread(delivery.deliver, PLAIN_URL=database.url(one, first))  # the pool is closed
        return users

    assert asyncio.run(serve()) == [one, other]


def test_an_open_pool_is_refused(delivery: Delivery) -> None:
    """Its connections would not follow."""
    held = delivery.deliver(PLAIN_URL=f"postgresql://shop:{secrets.token_hex(12)}@127.0.0.1:1/shop")
    with ConnectionPool(min_size=0, max_size=1, open=True) as pool, pytest.raises(ValueError, match="open=False"):
        follow(pool, held.plain_url)


def test_a_pool_is_not_kept_alive(delivery: Delivery) -> None:
    """A change does nothing to a pool that is not open, or that nobody uses and is gone."""
    held = delivery.deliver(PLAIN_URL=f"postgresql://shop:{secrets.token_hex(12)}@127.0.0.1:1/shop")
    pool = follow(ConnectionPool(min_size=0, max_size=1, open=False), held.plain_url)
    (subscription,) = held.plain_url.store.subscriptions
    assert subscription.call() is None
    gone = ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert subscription.call() is None


def test_an_error_of_the_driver_shows_no_password(database: Server, delivery: Delivery) -> None:
    """Neither its text nor the local variables of its frames have it."""
    user, _ = database.new_user()
    wrong = secrets.token_hex(16)
    held = delivery.deliver(PLAIN_URL=database.url(user, wrong))
    pool = follow(ConnectionPool(min_size=0, max_size=1, open=False), held.plain_url)
    with pytest.raises(psycopg.OperationalError) as raised:
        pool.connection_class.connect()
    assert wrong not in f"{raised.value}{vars(raised.value)}"
    assert not any(wrong in repr(entry.frame.f_locals) for entry in raised.traceback[1:])
