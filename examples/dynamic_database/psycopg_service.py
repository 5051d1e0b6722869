"""FastAPI with psycopg's async pool. Serve it: `uvicorn psycopg_service:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from shop_secrets import secrets

from robodj_secretguard.adapters.psycopg import follow

Pool = AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]
pool = follow(Pool(open=False), secrets.database_url)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Open the pool while the service runs."""
    async with pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def order() -> int:
    """Store an order, and return its number."""
    async with pool.connection() as connection:
        stored = await connection.execute("INSERT INTO orders DEFAULT VALUES RETURNING number")
        rows = await stored.fetchall()
        return int(rows[0][0])
