"""Pin the public types. `mypy --strict` reads this module; it is never run."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, assert_type

import httpx
import redis
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from robodj_secretguard import (
    Finding,
    Key,
    Kind,
    Material,
    Report,
    RuntimeSecrets,
    Secret,
    SecretPolicy,
    SecretSettings,
    check,
    guard,
)
from robodj_secretguard.adapters import httpx as httpx_adapter
from robodj_secretguard.adapters import psycopg, sqlalchemy
from robodj_secretguard.adapters import redis as redis_adapter
from robodj_secretguard.settings import RuntimeSecrets as Declared
from robodj_secretguard.testing import set_clock


def takes_a_policy(policy: SecretPolicy, clock: Callable[[], datetime]) -> None:
    """The guard returns an instance of the service's model, whose fields are live secrets."""

    class Own(SecretSettings):
        session_key: Annotated[Secret, policy]
        token: Annotated[Secret | None, policy]
        plain: Annotated[SecretStr, policy]

    secrets = guard(Own)
    assert_type(secrets, Own)
    assert_type(secrets.session_key, Secret)
    assert_type(secrets.session_key.verify("presented"), Key | None)
    assert_type(secrets.token, Secret | None)
    secrets.token.verify("")  # type: ignore[union-attr]
    assert_type(secrets.plain, SecretStr)
    assert_type(check(Own), Report)
    with secrets.at_once() as now:
        assert_type(now, Own)
    set_clock(secrets, clock)
    secrets._judgement  # type: ignore[attr-defined]  # noqa: B018, SLF001
    secrets.other  # type: ignore[attr-defined]  # noqa: B018
    takes_any(secrets)


def takes_any(secrets: SecretSettings) -> None:
    """Functions take any model."""
    assert_type(secrets.refresh(), Report)


def called(secret: Secret) -> None:
    """Functions of a change get the secret."""
    assert_type(secret.get_secret_value(), str)


def follows_engines(engine: Engine, async_engine: AsyncEngine, secret: Secret) -> None:
    """An engine keeps its type, and only a secret is followed."""
    assert_type(sqlalchemy.follow(engine, secret), Engine)
    assert_type(sqlalchemy.follow(async_engine, secret, user=secret), AsyncEngine)
    sqlalchemy.follow(engine, "key")  # type: ignore[arg-type]
    sqlalchemy.follow(secret, secret)  # type: ignore[type-var]


def follows_pools(
    pool: ConnectionPool[Connection[Any]], async_pool: AsyncConnectionPool[AsyncConnection[Any]], secret: Secret
) -> None:
    """A pool keeps its type."""
    assert_type(psycopg.follow(pool, secret), ConnectionPool[Connection[Any]])
    assert_type(psycopg.follow(async_pool, secret, user=secret), AsyncConnectionPool[AsyncConnection[Any]])
    psycopg.follow(secret, secret)  # type: ignore[type-var]


def follows_clients(client: httpx.Client, cache: redis.Redis, secret: Secret) -> None:
    """A client keeps its type, and that of an API needs its origin."""
    assert_type(redis_adapter.follow(cache, secret), redis.Redis)
    assert_type(httpx_adapter.follow(client, secret, origin="https://api.example"), httpx.Client)
    httpx_adapter.follow(client, secret)  # type: ignore[call-arg]


assert_type(guard(), RuntimeSecrets)
assert_type(guard().secret_key, Secret)
assert_type(guard().secret_key.current, Key)
assert_type(guard().secret_key.accepted(), tuple[Key, ...])
assert_type(guard().secret_key.stored(), tuple[Key, ...])
assert_type(guard().secret_key.find("kid", revoked=True), Key | None)
assert_type(guard().secret_key.derive(b"purpose"), Secret)
guard().secret_key.on_change(called)
guard().secret_key.on_change(len)
guard().secret_key.on_change(takes_any)  # type: ignore[arg-type]
guard().secret_key.derive("purpose")  # type: ignore[arg-type]
assert_type(Material.opaque(minimum=8), Kind)
assert_type(guard(exit_status=78, require_env_only=True).secret_key, Secret)
assert_type(guard(RuntimeSecrets, config_dir="config"), Declared)
assert_type(check().alerts, tuple[Finding, ...])
assert_type(check().as_dict(), dict[str, Any])
assert_type(RuntimeSecrets().secret_v2_key, Secret)
