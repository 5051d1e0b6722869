"""Logins with a secret that others issue: which value is used, and what happens where one is refused."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from robodj_secretguard.errors import RevokedKeyError
from robodj_secretguard.running import login as module
from robodj_secretguard.running.login import Credentials, Login, login_of

pytest.importorskip("psycopg")
from postgres import Delivery

URL, NEXT, PREVIOUS = "DATABASE_URL", "DATABASE_URL_NEXT", "DATABASE_URL_PREVIOUS"
HOST = "127.0.0.1:5432/shop"


class WrongPasswordError(Exception):
    """The server refuses a password."""


class FakeServer:
    """A server that accepts some passwords, and what it was asked. The rules of a login need no other one."""

    def __init__(self, *accepted: str) -> None:
        self.accepted = set(accepted)
        self.asked: list[str] = []

    def connect(self, credentials: Credentials) -> str:
        """Log in, and return the slot of the password."""
        password = credentials.password.get_secret_value()
        self.asked.append(password)
        if password not in self.accepted:
            raise WrongPasswordError
        return credentials.role

    @property
    def refused(self) -> int:
        """How many logins it has refused."""
        return len([each for each in self.asked if each not in self.accepted])


def is_refused(error: Exception) -> bool:
    """Check whether the server has refused a password."""
    return isinstance(error, WrongPasswordError)


def url_of(password: str, host: str = HOST, user: str = "shop") -> str:
    """Return the URL of a database."""
    return f"postgresql://{user}:{password}@{host}"


def passwords(count: int) -> list[str]:
    """Return new passwords."""
    return [secrets.token_hex(12) for _ in range(count)]


def test_a_login_uses_the_current_value(delivery: Delivery) -> None:
    """A login that works asks the server once, with the current value."""
    old, new = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(new), PREVIOUS: url_of(old)}).database_url)
    server = FakeServer(old, new)
    assert login.log_in(server.connect, is_refused) == "current"
    assert server.asked == [new]


@pytest.mark.parametrize("slot", [PREVIOUS, NEXT])
def test_a_refused_login_is_tried_once_with_the_other_value_which_is_kept(delivery: Delivery, slot: str) -> None:
    """The previous or next value logs in after a refused one, and the following logins begin with it."""
    current, other = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), slot: url_of(other)}).database_url)
    server = FakeServer(other)
    roles = [login.log_in(server.connect, is_refused) for _ in range(3)]
    assert roles == [slot.rpartition("_")[2].lower()] * 3
    assert server.asked == [current, other, other, other]
    assert login.store.refused_logins == {("database_url", "current"): 1}


def test_a_kept_value_that_is_refused_gives_way_to_the_current_one(delivery: Delivery) -> None:
    """The server may change the password at any time in the overlap: no login fails."""
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)
    server = FakeServer(previous)
    login.log_in(server.connect, is_refused)
    server.accepted = {current}
    assert login.log_in(server.connect, is_refused) == "current"


def test_a_change_ends_the_choice(delivery: Delivery) -> None:
    """After a change, a login begins with the current value again."""
    first, second, third = passwords(3)
    login = login_of(delivery.deliver({URL: url_of(second), PREVIOUS: url_of(first)}).database_url)
    server = FakeServer(first, third)
    login.log_in(server.connect, is_refused)
    delivery.deliver({URL: url_of(third), PREVIOUS: url_of(second)})
    assert login.log_in(server.connect, is_refused) == "current"


def test_where_both_are_refused_no_other_is_tried_for_one_period(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two refused values, each login of the period asks once."""
    monkeypatch.setattr(module, "READ_AGAIN", 0.0)
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)
    server = FakeServer()
    for _ in range(3):
        with pytest.raises(WrongPasswordError):
            login.log_in(server.connect, is_refused)
    assert server.asked == [current, previous, current, current]


def test_a_refused_login_waits_a_moment_for_a_delivery(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent writes a value at about the time when the server withdraws the old one."""
    monkeypatch.setattr(module, "READ_AGAIN", 0.0)
    old, new = passwords(2)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(old)).plain_url)
    server = FakeServer(new)

    async def connect(credentials: Credentials) -> str:
        return server.connect(credentials)

    async def sleep(_seconds: float) -> None:
        delivery.deliver(PLAIN_URL=url_of(new), is_read=False)

    assert asyncio.run(login.log_in_async(connect, is_refused, sleep=sleep)) == "current"
    assert server.asked == [old, new]


def test_a_refusal_of_all_values_stands_for_a_second(delivery: Delivery) -> None:
    """Many refused logins would lock the user. A change ends that at once."""
    wrong, right = passwords(2)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(wrong)).plain_url)
    server = FakeServer(right)
    refusals = []
    for _ in range(3):
        with pytest.raises(WrongPasswordError) as raised:
            login.log_in(server.connect, is_refused)
        refusals.append(raised.value)
    assert refusals == [refusals[0]] * 3
    assert server.asked == [wrong]
    delivery.deliver(PLAIN_URL=url_of(right))
    assert login.log_in(server.connect, is_refused)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_login_in_a_fork_waits_for_no_login_of_the_parent(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that has the lock is not in the child."""
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)
    server = FakeServer(current)

    def fork(credentials: Credentials) -> str:
        child = os.fork()
        if not child:
            monkeypatch.setattr(time, "sleep", lambda _seconds: os._exit(2))
            os._exit(login.log_in(server.connect, is_refused) is None)
        assert os.waitpid(child, 0)[1] == 0
        return server.connect(credentials)

    login.log_in(fork, is_refused)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("127.0.0.1:5432/warehouse", "another database"),
        ("127.0.0.2:5432/shop", "another host"),
        ("127.0.0.1:5432/shop?sslmode=disable", "another parameter"),
    ],
)
def test_a_url_that_differs_in_more_than_its_login_is_not_tried(delivery: Delivery, other: str, why: str) -> None:
    """Everything but the user and the password must be equal."""
    assert why
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous, other)}).database_url)
    server = FakeServer(previous)
    with pytest.raises(WrongPasswordError):
        login.log_in(server.connect, is_refused)
    assert server.asked == [current]


def test_a_login_in_the_parameters_of_a_url_is_no_address(delivery: Delivery) -> None:
    """The other value is tried, and the rest has neither the user nor the password."""
    current, previous = passwords(2)
    of = "postgresql://h/db?user=shop&password={}&sslmode=require".format
    login = login_of(delivery.deliver({URL: of(current), PREVIOUS: of(previous)}).database_url)
    server = FakeServer(previous)
    assert login.log_in(server.connect, is_refused) == "previous"
    assert {each.rest.get_secret_value() for each in login.accepted()} == {"postgresql://h/db?sslmode=require"}


def test_another_error_is_not_tried_again(delivery: Delivery) -> None:
    """Only the code of a wrong password leads to the other value."""
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)
    server = FakeServer(previous)
    with pytest.raises(WrongPasswordError):
        login.log_in(server.connect, lambda _error: False)
    assert login.store.refused_logins == {}
    assert server.asked == [current]


def test_the_second_error_is_raised_where_it_is_another_one(delivery: Delivery) -> None:
    """A server that is gone at the second try says so, and the other value stays allowed."""
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)

    def connect(credentials: Credentials) -> str:
        if credentials.role == "previous":
            raise ConnectionResetError
        raise WrongPasswordError

    with pytest.raises(ConnectionResetError):
        login.log_in(connect, is_refused)
    assert login.log_in(FakeServer(previous).connect, is_refused) == "previous"


def test_a_previous_value_is_not_tried_after_its_deadline(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline of an overlap ends the second try."""
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)
    before = login.count_withdrawn()
    monkeypatch.setattr(type(login.store.clock), "has_passed", lambda _clock, _instant: True)
    server = FakeServer(previous)
    with pytest.raises(WrongPasswordError):
        login.log_in(server.connect, is_refused)
    assert server.asked == [current]
    assert login.count_withdrawn() == before + 1


def test_the_values_of_a_group_are_of_one_slot(delivery: Delivery) -> None:
    """A user and its password are used together, and a slot that only one of them has is not used."""
    current, previous, user, other = passwords(4)
    values = {"DB_USER": user, "DB_PASSWORD": current, "DB_PASSWORD_PREVIOUS": previous}
    held = delivery.deliver(values)
    login = login_of(held.db_password, held.db_user)
    server = FakeServer(previous)
    with pytest.raises(WrongPasswordError):
        login.log_in(server.connect, is_refused)
    delivery.deliver(values, DB_USER_PREVIOUS=other)
    used = [(each.user.get_secret_value(), each.password.get_secret_value()) for each in login.accepted()]
    assert used == [(user, current), (other, previous)]
    assert login_of(held.db_password).accepted()[0].user.get_secret_value() == ""


def test_a_refused_login_reads_the_sources_at_once(delivery: Delivery) -> None:
    """Without an overlap, a password that was just delivered is used without waiting for the period."""
    old, new, unread = passwords(3)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(old)).plain_url)
    server = FakeServer(new)
    delivery.deliver(PLAIN_URL=url_of(new), is_read=False)
    assert login.log_in(server.connect, is_refused) == "current"
    assert server.asked == [old, new]
    assert login.store.refused_logins == {("plain_url", "current"): 1}
    server.accepted = {unread}
    with pytest.raises(WrongPasswordError):  # within a second, it does not read again
        login.log_in(server.connect, is_refused)


def test_without_a_directory_a_refused_login_is_an_error(monkeypatch: pytest.MonkeyPatch, delivery: Delivery) -> None:
    """The environment of a process never changes, so nothing is read."""
    (old,) = passwords(1)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(old)).plain_url)
    monkeypatch.setattr(login.store, "reader", None)
    with pytest.raises(WrongPasswordError):
        login.log_in(FakeServer().connect, is_refused)
    assert login.period == module.DEFAULT_PERIOD


def test_a_value_without_a_good_one_is_an_error(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional secret that is not set, or a user that is not, has nothing to log in with."""
    (password,) = passwords(1)
    held = delivery.deliver(PLAIN_URL=url_of(password), DB_PASSWORD=password)
    assert held.database_url is None
    unset = held.plain_url
    assert unset is not None
    login = login_of(held.db_password, login_secret(held, "db_user"))
    with pytest.raises(LookupError, match="db_user is optional"):
        login.accepted()
    revoked = login_of(held.plain_url)
    monkeypatch.setattr(module, "_in_slot", lambda *_arguments: None)
    with pytest.raises(LookupError, match="plain_url has no value"):
        revoked.accepted()
    with pytest.raises((LookupError, RevokedKeyError)):
        login.accepted()


def login_secret(held: Any, name: str) -> Any:
    """Return the live secret of a model, also where it is not set."""
    return held.plain_url.store.secrets[name]


def test_text_is_no_secret() -> None:
    """A pool that would never follow is refused, without the text."""
    text = secrets.token_hex(12)
    with pytest.raises(TypeError, match="not their values") as raised:
        login_of(text)  # type: ignore[arg-type]  # what somebody may pass
    assert text not in str(raised.value)


def test_all_pools_share_the_logins_of_a_secret(delivery: Delivery) -> None:
    """A second pool begins with the value that the first one has found."""
    (password,) = passwords(1)
    held = delivery.deliver(PLAIN_URL=url_of(password))
    assert login_of(held.plain_url) is login_of(held.plain_url)


def test_functions_are_called_after_a_value_has_ended(delivery: Delivery) -> None:
    """A change within an overlap ends no value. Its end, and a change without an overlap, do."""
    first, second = passwords(2)
    held = delivery.deliver({URL: url_of(first), "PLAIN_URL": url_of(first, "h/a")})
    called = threading.Semaphore(0)
    login = login_of(held.database_url)
    pools = [FakeServer() for _ in range(2)]

    def renew(pool: FakeServer) -> None:
        called.release()
        if pool is pools[0]:
            raise WrongPasswordError

    for each in pools:
        login.on_withdrawal(each, renew)
    delivery.deliver({URL: url_of(second), PREVIOUS: url_of(first), "PLAIN_URL": url_of(first, "h/a")})
    assert login.withdrawn == 0
    delivery.deliver({URL: url_of(second), "PLAIN_URL": url_of(first, "h/a")})
    assert called.acquire(timeout=60)
    assert called.acquire(timeout=60)
    assert login.withdrawn == 1


def test_a_login_does_not_try_new_values_for_ever(delivery: Delivery) -> None:
    """A writer that delivers a new value during each try ends it after four."""
    values = passwords(5)
    url = delivery.deliver({URL: url_of(values[0])}).database_url
    login = login_of(url)
    server = FakeServer()

    def connect(credentials: Credentials) -> str:
        delivery.deliver({URL: url_of(values[len(server.asked) + 1])})
        return server.connect(credentials)

    with pytest.raises(WrongPasswordError):
        login.log_in(connect, is_refused)
    assert server.asked == values[:4]


def test_a_value_that_ends_during_a_login_counts(delivery: Delivery) -> None:
    """A connection that was opened with it leaves its pool."""
    old, new = passwords(2)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(old)).plain_url)

    def connect(_credentials: Credentials) -> int:
        delivery.deliver(PLAIN_URL=url_of(new))
        return login.count_withdrawn()

    counted = login.log_in(connect, is_refused)
    assert login.withdrawn == counted + 1


def test_at_most_one_login_is_refused_while_many_wait(delivery: Delivery) -> None:
    """While two values are delivered, one login waits for the other: also those under an event loop."""
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)
    server = FakeServer(previous)
    together = threading.Barrier(8)

    def log_in(_number: int) -> str:
        together.wait(60)
        return login.log_in(server.connect, is_refused)

    async def connect(credentials: Credentials) -> str:
        await asyncio.sleep(0)
        return server.connect(credentials)

    async def log_in_together() -> list[str]:
        return await asyncio.gather(*[login.log_in_async(connect, is_refused) for _ in range(8)])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(log_in, range(8))) == {"previous"}
    assert set(asyncio.run(log_in_together())) == {"previous"}
    assert server.refused == 1


def test_a_login_that_hangs_stops_no_other(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds, the others go on."""
    monkeypatch.setattr(module, "LOGIN_WAIT", 0.0)
    current, previous = passwords(2)
    login = login_of(delivery.deliver({URL: url_of(current), PREVIOUS: url_of(previous)}).database_url)
    server = FakeServer(current)

    def connect(credentials: Credentials) -> str:
        if len(server.asked) == 0:
            server.asked.append("the first one hangs")
            return login.log_in(connect, is_refused)
        return server.connect(credentials)

    assert login.log_in(connect, is_refused) == "current"


def test_an_event_loop_is_not_blocked_by_a_read(delivery: Delivery) -> None:
    """Under asyncio, a refused login reads in another thread."""
    old, new = passwords(2)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(old)).plain_url)
    delivery.deliver(PLAIN_URL=url_of(new), is_read=False)
    server = FakeServer(new)
    threads: list[threading.Thread] = []
    read: Callable[[Login], None] = Login.read_again

    def read_again() -> None:
        threads.append(threading.current_thread())
        read(login)

    async def connect(credentials: Credentials) -> str:
        return server.connect(credentials)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Login, "read_again", lambda _login: read_again())
        assert asyncio.run(login.log_in_async(connect, is_refused)) == "current"
    assert threads != [threading.main_thread()]


def test_a_synchronous_login_cannot_wait_for_an_event_loop(delivery: Delivery) -> None:
    """A mistake of an adapter is an error, not a login that never happens."""
    (password,) = passwords(1)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(password)).plain_url)

    async def never(*_arguments: object) -> None:
        await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Login, "log_in_async", never)
        with pytest.raises(RuntimeError, match="has waited"):
            login.log_in(FakeServer().connect, is_refused)


def test_an_error_has_no_frames_with_the_password(delivery: Delivery) -> None:
    """A reporter of local variables finds no password in the frames of a driver."""
    (password,) = passwords(1)
    login = login_of(delivery.deliver(PLAIN_URL=url_of(password)).plain_url)

    def connect(credentials: Credentials) -> None:
        text = credentials.password.get_secret_value()
        raise WrongPasswordError(len(text))

    with pytest.raises(WrongPasswordError) as raised:
        login.log_in(connect, is_refused)
    shown = [repr(entry.frame.f_locals) for entry in raised.traceback]
    assert not any(password in each for each in shown[1:])
    assert raised.value.__context__ is None
