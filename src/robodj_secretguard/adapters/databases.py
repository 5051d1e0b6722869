"""What the adapters of databases share: the server's code for a wrong password, and the address without its login."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from robodj_secretguard.running.login import Credentials, Login, PoolLoop

REFUSED_STATE: Final = "28P01"
"""The SQLSTATE of PostgreSQL for a wrong password, and for a user that does not exist."""
POOLER_STATE: Final = "08P01"
"""The SQLSTATE of PgBouncer for every error of a login."""
DELETED_STATE: Final = "28000"
"""The SQLSTATE of PostgreSQL for a user that was deleted during its login, and for much else."""
_DELETED: Final = re.compile('role ".*" does not exist')
ACCESS_DENIED: Final = 1045
"""The code of MySQL and MariaDB for a wrong password."""

# libpq passes on the text of the server without the code. The server writes it in its own language (`lc_messages`).
_WRONG_PASSWORD: Final = (
    "password authentication failed",
    "SASL authentication failed",  # of PgBouncer
    "Passwort-Authentifizierung",
    "autentificación password falló",
    "authentification par mot de passe échouée",
    "autenticazione con password fallita",
    "パスワード認証に失敗",
    "password 인증을 실패",
    "не прошёл проверку подлинности (по паролю)",
    "Lösenordsautentisering misslyckades",
    "не пройшов автентифікацію за допомогою пароля",
    "密码认证失败",
    "密碼驗證使用者",
)


def is_wrong_password(error: Exception) -> bool:
    """Check whether an error of a driver has the server's code for a wrong password.

    It takes the password out of an error of psycopg, which has the arguments of its connection.

    Args:
        error: an error of psycopg, psycopg2, asyncpg, or a driver of MySQL.
    """
    connection: Any = getattr(error, "pgconn", None)
    with suppress(AttributeError):  # there is none, or it is open
        connection.info = []
        connection.password = b""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state not in {None, POOLER_STATE, DELETED_STATE}:
        return bool(state == REFUSED_STATE)
    if error.args[:1] == (ACCESS_DENIED,):
        return True
    if connection is not None and not connection.used_password:
        return False
    is_postgresql = state is not None or type(error).__module__.startswith("psycopg")
    is_deleted = _DELETED.search(str(error)) is not None
    return is_postgresql and (is_deleted or any(text in str(error) for text in _WRONG_PASSWORD))


def plain_url(credentials: Credentials) -> str:
    """Return a URL without the name of the driver in its scheme, as libpq reads it. It runs inside `contain()`."""
    scheme, separator, rest = credentials.value.get_secret_value().partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"


def login_arguments(credentials: Credentials) -> dict[str, Any]:
    """Return the user and the password as arguments of a driver. The caller must protect them."""
    arguments = {"password": credentials.password.get_secret_value()}
    if credentials.user:
        arguments["user"] = credentials.user.get_secret_value()
    return arguments


def follow_pool(
    pool: Any, login: Login, arguments: Callable[[Credentials], dict[str, Any]], loop: PoolLoop | None = None
) -> None:
    """Let the connections of a pool of psycopg follow a login.

    Args:
        pool: a pool that is not open yet.
        login: which credentials to use.
        arguments: returns the arguments of a connection that the credentials replace.
        loop: that of an asynchronous pool.
    """
    base = pool.connection_class

    class Following(base):  # type: ignore[misc, valid-type]  # the class that the pool was made with
        is_following = True

        @classmethod
        def connect(cls, conninfo: str = "", **options: Any) -> Any:
            def connect_with(credentials: Credentials) -> Any:
                replaced = {"conninfo": conninfo, **options, **arguments(credentials)}
                return super(Following, cls).connect(**replaced)

            if loop is None:
                return login.log_in(connect_with, is_wrong_password)
            loop.note()
            return login.log_in_async(connect_with, is_wrong_password)

    def drain(found: Any) -> None:
        if found.closed:
            return
        if loop is None:
            found.drain()
        else:
            loop.run(found.drain)

    pool.connection_class = Following
    login.on_withdrawal(pool, drain)
