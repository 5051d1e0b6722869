"""asyncpg: a pool follows the URL of a database, on a real server."""

from __future__ import annotations

import asyncio
import gc
import secrets
from functools import partial
from typing import Any

import pytest

asyncpg = pytest.importorskip("asyncpg")
pytest.importorskip("psycopg")
from postgres import Delivery, Server  # noqa: E402

from robodj_secretguard.adapters.asyncpg import follow  # noqa: E402

WHO = "SELECT current_user"


def test_a_pool_follows_two_users_in_turn(
    database: Server, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections of a value that has ended are replaced at their next use."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(one, first))
    plain = held.plain_url

    is_expired = asyncio.Event()
    expire = asyncpg.Pool.expire_connections

    async def expire_and_tell(pool: Any) -> None:
        await expire(pool)
        is_expired.set()

    monkeypatch.setattr(asyncpg.Pool, "expire_connections", expire_and_tell)

    async def serve() -> list[str]:
        async with follow(partial(asyncpg.create_pool, min_size=1, max_size=2), plain) as pool:
            users = [await pool.fetchval(WHO)]
            await asyncio.to_thread(delivery.deliver, PLAIN_URL=database.url(other, second))
            await asyncio.wait_for(is_expired.wait(), 60)
            database.drop(one)
            users.append(await pool.fetchval(WHO))
        return users

    assert asyncio.run(serve()) == [one, other]


def test_a_login_is_tried_with_the_other_password(database: Server, delivery: Delivery) -> None:
    """The user and the password of a group change together."""
    user, old = database.new_user()
    new = secrets.token_hex(16)
    held = delivery.deliver(DB_USER=user, DB_USER_NEXT=user, DB_PASSWORD=old, DB_PASSWORD_NEXT=new)
    database.set_password(user, new)
    address = {"host": "127.0.0.1", "port": database.port, "database": "postgres", "min_size": 1}
    create = partial(asyncpg.create_pool, **address)

    async def serve() -> Any:
        async with follow(create, held.db_password, user=held.db_user) as pool:
            return await pool.fetchval(WHO)

    assert asyncio.run(serve()) == user
    assert held.db_password.store.refused_logins == {("db_password", "current"): 1}


def test_a_pool_that_is_gone_needs_nothing(delivery: Delivery) -> None:
    """A change does nothing then, and neither before the first connection."""
    held = delivery.deliver(PLAIN_URL=f"postgresql://shop:{secrets.token_hex(12)}@127.0.0.1:1/shop")
    plain = held.plain_url

    async def make() -> None:
        pool = follow(partial(asyncpg.create_pool, min_size=0), plain)
        assert [each.call() for each in plain.store.subscriptions] == [None]
        del pool

    asyncio.run(make())
    gc.collect()
    assert [each.call() for each in plain.store.subscriptions] == [None]
