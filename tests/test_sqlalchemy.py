"""SQLAlchemy: an engine follows the URL of a database, on a real server."""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("psycopg")
from postgres import Delivery, Server
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, SingletonThreadPool

from robodj_secretguard.adapters.sqlalchemy import follow

URL, PREVIOUS = "DATABASE_URL", "DATABASE_URL_PREVIOUS"
WHO = text("SELECT current_user")


def who(engine: Any) -> str:
    """Return the user of a query."""
    with engine.connect() as connection:
        return str(connection.scalar(WHO))


def wait_until_idle(pool: Any) -> None:
    """Wait until a pool has got a connection back."""
    until = time.monotonic() + 60
    while not pool.checkedin():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_engine_follows_two_users_in_turn(database: Server, delivery: Delivery) -> None:
    """In an overlap, old connections stay. Afterwards they leave at their next checkout, or when they are returned."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver({URL: database.url(one, first)})
    engine = follow(create_engine("postgresql+psycopg://"), held.database_url)
    assert who(engine) == one
    delivery.deliver({URL: database.url(other, second), PREVIOUS: database.url(one, first)})
    assert who(engine) == one
    with engine.connect() as in_use:
        assert in_use.scalar(WHO) == one
        delivery.deliver({URL: database.url(other, second)})
        assert who(engine) == other
    assert who(engine) == other
    database.wait_until_gone(one)
    delivery.deliver({URL: database.url(one, first)})
    database.wait_until_gone(other)
    assert who(engine) == one
    engine.dispose()
    database.wait_until_gone(one)


def test_a_login_is_tried_with_the_other_password(database: Server, delivery: Delivery) -> None:
    """A password secret is used in the URL of the engine, and with a user of its own."""
    user, old = database.new_user()
    new = secrets.token_hex(16)
    held = delivery.deliver(DB_USER=user, DB_USER_NEXT=user, DB_PASSWORD=old, DB_PASSWORD_NEXT=new)
    address = f"postgresql+psycopg://{user}@127.0.0.1:{database.port}/postgres"
    engine = follow(create_engine(address), held.db_password, user=held.db_user)
    by_name = follow(create_engine(address), held.db_password)
    assert who(engine) == who(by_name) == user
    database.set_password(user, new)
    engine.dispose()
    assert who(engine) == user
    assert held.db_password.store.refused_logins == {("db_password", "current"): 1}
    engine.dispose()
    by_name.dispose()


def test_dispose_closes_connections_in_use_when_they_are_returned(database: Server, delivery: Delivery) -> None:
    """No connection stays open in a pool that the engine does not use any more."""
    user, password = database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(user, password))
    engine = follow(create_engine("postgresql+psycopg://"), held.plain_url)
    with engine.connect() as in_use:
        engine.dispose()
        assert in_use.scalar(WHO) == user
    database.wait_until_gone(user)


def test_a_deleted_user_is_replaced(database: Server, delivery: Delivery) -> None:
    """After DROP ROLE and pg_terminate_backend, the engine works as soon as a new user is delivered."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(one, first))
    engine = follow(create_engine("postgresql+psycopg://", pool_pre_ping=True), held.plain_url)
    assert who(engine) == one
    database.drop(one)
    delivery.deliver(is_read=False, PLAIN_URL=database.url(other, second))
    assert who(engine) == other
    engine.dispose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_async_engine_follows(database: Server, delivery: Delivery, driver: str) -> None:
    """A refused login reads the sources without blocking the loop, and many logins wait for one another."""
    pytest.importorskip(driver)
    user, old = database.new_user()
    new = secrets.token_hex(16)
    held = delivery.deliver({URL: database.url(user, old), PREVIOUS: database.url(user, new)})
    url = held.database_url
    database.set_password(user, new)

    async def who_async(engine: Any) -> str:
        async with engine.connect() as connection:
            return str(await connection.scalar(WHO))

    async def serve() -> list[str]:
        engine = follow(create_async_engine(f"postgresql+{driver}://"), url)
        users = await asyncio.gather(*[who_async(engine) for _ in range(4)])
        newest = secrets.token_hex(16)
        database.set_password(user, newest)
        await engine.dispose()
        await asyncio.to_thread(delivery.deliver, {URL: database.url(user, newest)}, is_read=False)
        users.append(await who_async(engine))
        await engine.dispose()
        return users

    assert asyncio.run(serve()) == [user] * 5
    counted = url.store.refused_logins
    assert counted[("database_url", "current")] == 2


def test_an_async_engine_reads_at_a_refused_login(database: Server, delivery: Delivery) -> None:
    """A password that was delivered, and not read yet, is used at once."""
    user, old = database.new_user()
    new = secrets.token_hex(16)
    held = delivery.deliver(PLAIN_URL=database.url(user, old))
    url = held.plain_url
    database.set_password(user, new)
    delivery.deliver(is_read=False, PLAIN_URL=database.url(user, new))

    async def serve() -> str:
        engine = follow(create_async_engine("postgresql+psycopg://"), url)
        async with engine.connect() as connection:
            found = str(await connection.scalar(WHO))
        await engine.dispose()
        return found

    assert asyncio.run(serve()) == user


def test_idle_connections_of_an_async_engine_are_replaced(database: Server, delivery: Delivery) -> None:
    """The loop of the last connection replaces them, also if nobody uses the engine."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    url = delivery.deliver(PLAIN_URL=database.url(one, first)).plain_url

    async def serve() -> None:
        engine: Any = follow(create_async_engine("postgresql+psycopg://"), url)
        async with engine.connect() as connection:
            await connection.execute(WHO)
        await asyncio.to_thread(delivery.deliver, PLAIN_URL=database.url(other, second))
        await asyncio.to_thread(database.wait_until_gone, one)
        await asyncio.to_thread(wait_until_idle, engine.pool)
        await engine.dispose()

    asyncio.run(serve())


def test_a_password_goes_to_the_address_of_the_secret_alone(delivery: Delivery) -> None:
    """SQLAlchemy would add what the URL of the engine has, such as its port."""
    url = delivery.deliver(PLAIN_URL=f"postgresql://shop:{secrets.token_hex(12)}@127.0.0.1/shop").plain_url
    with pytest.raises(ValueError, match=r"pass an engine of postgresql\+psycopg:// alone"):
        follow(create_engine("postgresql+psycopg://other:6432"), url)


def test_an_engine_without_connections_has_none_to_replace(delivery: Delivery) -> None:
    """An engine that is new, that keeps none, or that is gone needs nothing after a change."""
    url = delivery.deliver(PLAIN_URL=f"postgresql://shop:{secrets.token_hex(12)}@127.0.0.1:1/shop").plain_url
    engine = follow(create_async_engine("postgresql+psycopg://"), url)
    other = follow(create_engine("postgresql+psycopg://", poolclass=NullPool), url)
    (subscription,) = url.store.subscriptions
    assert subscription.call() is None
    del engine, other
    gc.collect()
    assert subscription.call() is None


def test_an_error_of_the_driver_shows_no_password(database: Server, delivery: Delivery) -> None:
    """Neither its text nor the local variables of its frames have it."""
    user, _ = database.new_user()
    wrong = secrets.token_hex(16)
    held = delivery.deliver(PLAIN_URL=database.url(user, wrong))
    engine = follow(create_engine("postgresql+psycopg://", echo=True), held.plain_url)
    with pytest.raises(OperationalError) as raised:
        engine.connect()
    assert wrong not in str(raised.value)
    assert not any(wrong in repr(entry.frame.f_locals) for entry in raised.traceback[1:])
    assert wrong not in repr(engine)


@pytest.mark.parametrize("kind", [NullPool, SingletonThreadPool])
def test_other_pools_follow_at_their_next_use(database: Server, delivery: Delivery, kind: Any) -> None:
    """A connection of a value that has ended is not used again, whatever keeps it."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(one, first))
    engine = follow(create_engine("postgresql+psycopg://", poolclass=kind), held.plain_url)
    assert who(engine) == one
    delivery.deliver(PLAIN_URL=database.url(other, second))
    assert who(engine) == other
    engine.dispose()


def test_each_idle_connection_of_a_stack_is_replaced(database: Server, delivery: Delivery) -> None:
    """A pool that returns the last connection first has others, which nobody uses."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(one, first))
    engine = follow(create_engine("postgresql+psycopg://", pool_use_lifo=True), held.plain_url)
    with engine.connect(), engine.connect():
        pass
    delivery.deliver(PLAIN_URL=database.url(other, second))
    database.wait_until_gone(one)
    engine.dispose()
