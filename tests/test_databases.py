"""The codes of databases for a wrong password."""

from __future__ import annotations

import secrets

import pytest

from robodj_secretguard.adapters.databases import is_wrong_password, login_arguments
from robodj_secretguard.running.login import Credentials
from robodj_secretguard.secret.sealed import SealedStr


class _Connection:
    """A connection of libpq that has failed."""

    def __init__(self, *, used_password: bool) -> None:
        self.used_password = used_password


def error_of(driver: str, *arguments: object, **attributes: object) -> Exception:
    """Return an error as a driver raises it."""
    kind = type("OperationalError", (Exception,), {"__module__": driver, **attributes})
    return kind(*arguments)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "is_wrong"),
    [
        (error_of("asyncpg.exceptions", "text", sqlstate="28P01"), True),
        (error_of("asyncpg.exceptions", 'role "shop" is not permitted to log in', sqlstate="28000"), False),
        (error_of("asyncpg.exceptions", 'role "shop" does not exist', sqlstate="28000"), True),
        (error_of("psycopg2", 'FATAL:  role "shop" does not exist'), True),
        (error_of("psycopg2", "password authentication failed", pgcode="53300"), False),
        (error_of("asyncpg.exceptions", "SASL authentication failed", sqlstate="08P01"), True),
        (error_of("asyncpg.exceptions", "no such database", sqlstate="08P01"), False),
        (error_of("psycopg2", 'FATAL:  password authentication failed for user "shop"'), True),
        (error_of("psycopg", "Passwort-Authentifizierung", pgconn=_Connection(used_password=True)), True),
        (error_of("psycopg", "password authentication failed", pgconn=_Connection(used_password=False)), False),
        (error_of("psycopg", 'database "shop" does not exist', pgconn=_Connection(used_password=True)), False),
        (error_of("pymysql.err", 1045, "Access denied"), True),
        (error_of("pymysql.err", 1040, "Too many connections"), False),
        (error_of("shop", "password authentication failed"), False),
    ],
)
def test_only_the_code_of_a_wrong_password_counts(error: Exception, *, is_wrong: bool) -> None:
    """Every other error of a login is passed on."""
    assert is_wrong_password(error) is is_wrong


def test_a_password_without_a_user_leaves_the_user_of_the_pool() -> None:
    """A driver gets only the arguments that the secrets have."""
    text = secrets.token_hex(12)
    password, nothing = SealedStr(text), SealedStr("")
    assert login_arguments(Credentials("current", password, nothing, password, nothing)) == {"password": text}
