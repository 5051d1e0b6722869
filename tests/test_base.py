"""Django's backend for a database that follows a secret, on a real server."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PG_CTL

pytest.importorskip("psycopg_pool")
import django
import django.db
from django.apps import apps
from django.conf import UserSettingsHolder, global_settings, settings
from django.core import signals
from django.db import OperationalError, transaction
from django.db.utils import ConnectionHandler
from postgres import Delivery, Server

from robodj_secretguard.adapters.django_database import follow

POOL = pytest.param({"OPTIONS": {"pool": {"min_size": 1, "max_size": 1, "timeout": 20}}}, id="pool")
PERSISTENT = pytest.param({"CONN_MAX_AGE": None}, id="persistent")
BOTH = [PERSISTENT, POOL] if django.VERSION >= (5, 1) else [PERSISTENT]
Connect = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("configured_django")


@pytest.fixture
def configured_django(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Django have its default settings."""
    before = settings._wrapped  # noqa: SLF001 - as in Django's own tests
    settings._wrapped = UserSettingsHolder(global_settings)  # noqa: SLF001
    monkeypatch.setattr(apps, "ready", True)
    yield
    settings._wrapped = before  # noqa: SLF001


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Return a function that makes Django's connection to a database, which the signals of requests reach."""
    handlers: list[ConnectionHandler] = []

    def connection_of(*secret: Any, user: Any = None, **more: Any) -> Any:
        engine = {"ENGINE": "django.db.backends.postgresql", **more}
        handlers.append(ConnectionHandler({"default": follow(engine, *secret, user=user)}))
        for module in (django.db, transaction):
            monkeypatch.setattr(module, "connections", handlers[-1])
        return handlers[-1]["default"]

    yield connection_of
    for handler in handlers:
        handler.close_all()
        if handler["default"].pool is not None:
            handler["default"].close_pool()


def request() -> None:
    """Begin a request."""
    signals.request_started.send(None, environ={})


def ask(connection: Any, question: str = "current_user") -> str:
    """Return the answer of the server."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {question}")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize("kind", BOTH)
def test_connections_follow_two_users_in_turn(
    database: Server, delivery: Delivery, connect: Connect, kind: dict[str, Any]
) -> None:
    """An old connection stays during the overlap. It is closed when the issuer has withdrawn the old user."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    held = delivery.deliver(DATABASE_URL=database.url(one, first))
    connection = connect(held.database_url, **kind)
    assert ask(connection) == one
    number = ask(connection, "pg_backend_pid()")
    delivery.deliver(DATABASE_URL=database.url(other, second), DATABASE_URL_PREVIOUS=database.url(one, first))
    request()
    assert ask(connection, "pg_backend_pid()") == number
    delivery.deliver(DATABASE_URL=database.url(other, second))
    request()
    database.wait_until_gone(one)
    assert ask(connection) == other


@pytest.mark.parametrize("kind", BOTH)
def test_the_name_of_a_test_database_stays(
    database: Server, delivery: Delivery, connect: Connect, kind: dict[str, Any]
) -> None:
    """A test runner sets `NAME`, so no login gives it. Otherwise, tests would write into the real database."""
    user, password = database.new_user()
    held = delivery.deliver(PLAIN_URL=database.url(user, password))
    connection = connect(held.plain_url, **kind)
    assert ask(connection, "current_database()") == "postgres"
    connection.close()
    if connection.pool is not None:
        connection.close_pool()
    connection.settings_dict["NAME"] = "template1"
    assert ask(connection, "current_database()") == "template1"
    with connection._nodb_cursor() as cursor:  # noqa: SLF001 - as Django's test runner does
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone()[0] == "postgres"


def test_a_login_is_tried_with_the_other_password(database: Server, delivery: Delivery, connect: Connect) -> None:
    """The server changes the password before the delivery. What has worked is used again."""
    user, old = database.new_user()
    new = secrets.token_hex(16)
    held = delivery.deliver(DB_USER=user, DB_USER_NEXT=user, DB_PASSWORD=old, DB_PASSWORD_NEXT=new)
    address = {"HOST": "127.0.0.1", "PORT": str(database.port), "NAME": "postgres"}
    connection = connect(held.db_password, user=held.db_user, **address)
    database.set_password(user, new)
    for _ in range(3):
        assert ask(connection) == user
        request()
        assert connection.connection is None  # without CONN_MAX_AGE
    assert held.db_password.store.refused_logins == {("db_password", "current"): 1}


def test_a_change_without_an_overlap_is_read_at_once(database: Server, delivery: Delivery, connect: Connect) -> None:
    """A refused login reads what was just delivered."""
    user, old = database.new_user()
    new = secrets.token_hex(16)
    connection = connect(delivery.deliver(PLAIN_URL=database.url(user, old)).plain_url)
    database.set_password(user, new)
    delivery.deliver(PLAIN_URL=database.url(user, new), is_read=False)
    assert ask(connection) == user


def test_a_transaction_keeps_its_connection(database: Server, delivery: Delivery, connect: Connect) -> None:
    """An old connection is not closed in an atomic block, but after it."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    connection = connect(delivery.deliver(PLAIN_URL=database.url(one, first)).plain_url, CONN_MAX_AGE=600)
    with transaction.atomic():
        assert ask(connection) == one
        delivery.deliver(PLAIN_URL=database.url(other, second))
        connection.settings_dict["AUTOCOMMIT"] = False  # so that Django itself does not close it
        request()
        connection.settings_dict["AUTOCOMMIT"] = True
        assert ask(connection) == one
    request()
    assert ask(connection) == other


def test_a_dropped_user_stops_no_next_request(database: Server, delivery: Delivery, connect: Connect) -> None:
    """The server has ended the connection: one query fails, and the next request has a new connection."""
    (one, first), (other, second) = database.new_user(), database.new_user()
    connection = connect(delivery.deliver(PLAIN_URL=database.url(one, first)).plain_url, CONN_MAX_AGE=None)
    assert ask(connection) == one
    database.drop(one)
    with pytest.raises(OperationalError):
        ask(connection)
    delivery.deliver(PLAIN_URL=database.url(other, second), is_read=False)
    request()
    assert ask(connection) == other


def test_django_shows_no_password(database: Server, delivery: Delivery, connect: Connect) -> None:
    """No repr, no error of a login, and no frame of one has it."""
    user, _ = database.new_user()
    wrong = secrets.token_hex(16)
    connection = connect(delivery.deliver(PLAIN_URL=database.url(user, wrong)).plain_url)
    with pytest.raises(OperationalError) as raised:
        connection.ensure_connection()
    shown = [repr(connection), repr(vars(connection)), str(raised.value), repr(connection.get_connection_params())]
    shown += [repr(entry.frame.f_locals) for entry in raised.traceback[1:]]
    assert wrong not in "".join(shown)
    assert connection.vendor == "postgresql"


def test_the_shell_logs_in(
    database: Server, delivery: Delivery, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`manage.py dbshell` has the value in use. Its errors do not show the password."""
    user, password = database.new_user()
    connection = connect(delivery.deliver(PLAIN_URL=database.url(user, password)).plain_url)
    monkeypatch.setenv("PATH", str(Path(str(PG_CTL)).parent), prepend=":")
    answer = tmp_path / "answer"
    connection.client.runshell(["--no-psqlrc", "-At", "-o", str(answer), "-c", "SELECT current_user"])
    assert answer.read_text(encoding="utf-8") == f"{user}\n"
    with pytest.raises(subprocess.CalledProcessError) as raised:
        connection.client.runshell(["--no-psqlrc", "-f", str(tmp_path / "absent")])
    assert not any(password in repr(entry.frame.f_locals) for entry in raised.traceback[1:])
