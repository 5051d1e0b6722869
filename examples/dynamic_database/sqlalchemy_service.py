"""FastAPI with SQLAlchemy's async engine. Serve it: `uvicorn sqlalchemy_service:app`."""

from fastapi import FastAPI
from shop_secrets import secrets
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from robodj_secretguard.adapters.sqlalchemy import follow

engine = follow(create_async_engine("postgresql+psycopg://"), secrets.database_url)
app = FastAPI()


@app.post("/orders")
async def order() -> int:
    """Store an order, and return its number."""
    async with engine.begin() as connection:
        stored = await connection.execute(text("INSERT INTO orders DEFAULT VALUES RETURNING number"))
        return int(stored.scalar_one())
