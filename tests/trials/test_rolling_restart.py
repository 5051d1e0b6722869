"""A rotation by rolling restarts, under traffic: it rejects no valid token, with each framework.

Four instances run behind a client that picks one at random. They get the next key one after another, then it is
promoted on one after another, and then the deadline of the previous key passes. The client connects to another instance
where a connection is refused, as a load balancer does. It never repeats a rejected token. Each session has one request
at a time.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import jwt
import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, clean_environment, good_keys, posix_only
from cryptography.fernet import Fernet
from detector import leaks
from django.core import signing
from django.utils.crypto import salted_hmac
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from rings import NEXT, PREVIOUS, UNTIL, derived

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = posix_only

APPS: Final = Path(__file__).with_name("rolling")
INSTANCES: Final = 4
CLIENTS: Final = 4
PAUSE: Final = 0.005
"""Seconds between two requests of a client: the instances that start need the processor too."""
LOGINS: Final = 0.25
"""The share of new sessions among the requests. The others use a session of any age."""
ROOM: Final = timedelta(seconds=1)
"""The deadline is so much more ahead than twice the time of the rollout before."""
NEVER: Final = datetime.max.replace(tzinfo=UTC)


def by_django_cookie(token: str, key: str, _: Path) -> str:
    """Verify a session of Django in a cookie."""
    salt = "django.contrib.sessions.backends.signed_cookies"
    return str(signing.loads(token, key=key, salt=salt, fallback_keys=[])["user"])


def by_django_database(token: str, key: str, directory: Path) -> str:
    """Verify a session of Django in the database, and the hash of its login."""
    with contextlib.closing(sqlite3.connect(directory / "sessions.db", timeout=TIMEOUT)) as database:
        (data,) = database.execute("SELECT session_data FROM django_session WHERE session_key = ?", [token]).fetchone()
        salt = "django.contrib.sessions.SessionStore"
        session = signing.loads(data, key=key, salt=salt, fallback_keys=[])
        user = session["_auth_user_id"]
        row = database.execute("SELECT username, password FROM auth_user WHERE id = ?", [user]).fetchone()
    salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
    expected = salted_hmac(salt, row[1], secret=key, algorithm="sha256").hexdigest()
    assert session["_auth_user_hash"] == expected
    return str(row[0])


def by_flask(token: str, key: str, _: Path) -> str:
    """Verify a session of Flask."""
    app = Flask("verifier")
    app.secret_key = key
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    return str(serializer.loads(token)["user"])


def by_jwt(token: str, key: str, _: Path) -> str:
    """Verify a token of PyJWT, and its key id."""
    assert jwt.get_unverified_header(token)["kid"] == kid_of(key)
    return str(jwt.decode(token, key, algorithms=["HS256"])["sub"])


def by_api_key(token: str, key: str, _: Path) -> str:
    """Compare an API key."""
    assert token == key
    return kid_of(key)


def by_fernet(token: str, key: str, _: Path) -> str:
    """Decrypt a cookie with the derived key."""
    return Fernet(derived(key, b"cookies v1")).decrypt(token).decode()


def kid_of(key: str) -> str:
    """Return the id of a key."""
    return fingerprint_of(key).removeprefix("sgfp1:")


class Framework(NamedTuple):
    """An app, the header that presents a token, and how the test verifies a token itself."""

    app: str
    verify: Callable[[str, str, Path], str]
    header: str = "Cookie"
    value: str = "session={}"


FRAMEWORKS: Final = {
    "Django, signed cookies": Framework("django_app:in_cookies", by_django_cookie, value="sessionid={}"),
    "Django, database": Framework("django_app:in_database", by_django_database, value="sessionid={}"),
    "Flask": Framework("flask_app:make", by_flask),
    "PyJWT": Framework("jwt_app:make", by_jwt, "Authorization", "Bearer {}"),
    "API key": Framework("api_key_app:make", by_api_key, "X-API-Key", "{}"),
    "Fernet": Framework("fernet_app:make", by_fernet),
}


class Instance(NamedTuple):
    """A running process, and its current key."""

    process: int
    port: int
    key: str


class Answer(NamedTuple):
    """A response, its token if it sets a cookie, and the instance that sent it."""

    instance: Instance
    status: int
    body: str
    cookie: str


class Fleet:
    """The instances of one app. Only one thread starts and stops them.

    Args:
        framework: the app.
        directory: where they run.
    """

    def __init__(self, framework: Framework, directory: Path) -> None:
        self.instances: list[Instance] = []
        self._framework, self._directory = framework, directory
        self._log = (directory / "log").open("wb")
        self._launcher = subprocess.Popen(
            [sys.executable, APPS / "launcher.py", framework.app],
            cwd=directory,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def restart(self, number: int, variables: dict[str, str]) -> None:
        """Stop an instance, if there is one, and start it with these variables."""
        if number < len(self.instances):
            self._request(self.instances[number].process)
        process, port = self._request(clean_environment() | variables)
        instance = Instance(process, port, variables[V1])
        self.ask("/who", instance=instance)  # it listens already, and answers when it has started
        self.instances[number : number + 1] = [instance]

    def _request(self, request: object) -> list[int]:
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        self._launcher.stdin.write(f"{json.dumps(request)}\n")
        self._launcher.stdin.flush()
        answer: list[int] = json.loads(self._launcher.stdout.readline())
        return answer

    def ask(self, path: str, token: str = "", instance: Instance | None = None) -> Answer:
        """Request a page of an instance, or of a random one: of another one where the connection is refused."""
        headers = {"Connection": "close"}
        if token:
            headers[self._framework.header] = self._framework.value.format(token)
        while True:
            asked = instance or random.choice(self.instances)  # noqa: S311 - not a key
            connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=TIMEOUT)
            with contextlib.closing(connection):
                try:
                    connection.request("GET", path, headers=headers)
                    response = connection.getresponse()
                except ConnectionError:  # also that of an instance that stopped before it read the request
                    assert instance is None, "an instance does not answer"
                    continue
                cookies = SimpleCookie(response.headers.get("Set-Cookie", ""))
                cookie = next((each.value for each in cookies.values()), "")
                return Answer(asked, response.status, response.read().decode(), cookie)

    def stop(self) -> str:
        """Stop every instance, and return what they have written."""
        self._launcher.communicate(timeout=TIMEOUT)
        self._log.close()
        return (self._directory / "log").read_text(encoding="utf-8")


@dataclass
class Session:
    """A token, its user, and the key that signed it."""

    user: str
    token: str
    key: str


class Traffic:
    """The clients. They log in, present their tokens, and judge each response.

    Args:
        fleet: the instances.
        framework: their app.
        directory: where they run.
        old: the key that is current at first.
    """

    def __init__(self, fleet: Fleet, framework: Framework, directory: Path, old: str) -> None:
        self.faults = Counter[str]()
        self.accepted = Counter[tuple[bool, bool]]()  # by whether the token, and the instance, had the old key
        self.requests = self.issued = 0
        self.until = NEVER  # the deadline of `old`
        self._fleet, self._framework, self._directory, self._old = fleet, framework, directory, old
        self._sessions: list[Session] = []
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients: list[Any] = []

    def start(self) -> None:
        """Start the clients, if they have not been started."""
        self._clients = self._clients or [self._pool.submit(self._client) for _ in range(CLIENTS)]

    def stop(self) -> None:
        """Stop the clients, and raise the first error of one."""
        self._ended.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def wait_for(self, count: int) -> None:
        """Wait until so many more tokens were presented."""
        with self._changed:
            expected = self.requests + count
            is_done = self._changed.wait_for(lambda: self.requests >= expected or self._ended.is_set(), TIMEOUT)
        if self._ended.is_set():
            self.stop()
        assert is_done, "the clients are too slow"

    def log_in(self) -> Session:
        """Return a new session."""
        if self._framework.verify is by_api_key:  # the client gets the current key of an instance
            key = random.choice(self._fleet.instances).key  # noqa: S311 - no key is made
            return Session(kid_of(key), key, key)
        user = f"user-{random.randrange(10**9)}"  # noqa: S311 - not a key
        answer = self._fleet.ask(f"/login?user={user}")
        assert answer.status == http.HTTPStatus.OK
        session = Session(user, answer.cookie or answer.body, answer.instance.key)
        self._verify(session)
        return session

    def present(self, session: Session, instance: Instance | None = None) -> bool:
        """Present a token, judge the response, and return whether it was accepted."""
        sent = datetime.now(UTC)
        answer = self._fleet.ask("/who", session.token, instance)
        arrived = datetime.now(UTC)
        is_old, at_old = session.key == self._old, answer.instance.key == self._old
        is_accepted = answer.status == http.HTTPStatus.OK
        faults = {
            "another status": answer.status not in {http.HTTPStatus.OK, http.HTTPStatus.UNAUTHORIZED},
            "another user": is_accepted and answer.body != session.user,
            "rejected": not is_accepted and (not is_old or arrived < self.until),
            "accepted after the deadline": is_accepted and is_old and not at_old and sent >= self.until,
        }
        if is_accepted and answer.cookie:  # Django's login got a new session, because a fallback key had verified it
            session.token, session.key = answer.cookie, answer.instance.key
            self._verify(session)
        with self._changed:
            self.faults += Counter(fault for fault, is_one in faults.items() if is_one)
            self.accepted[is_old, at_old] += is_accepted
            self.requests += 1
            self._changed.notify_all()
        return is_accepted

    def _verify(self, session: Session) -> None:
        """Verify an issued token with the current key of the instance that issued it."""
        try:
            is_signed = self._framework.verify(session.token, session.key, self._directory) == session.user
        except Exception:  # noqa: BLE001 - each framework has its own
            is_signed = False
        with self._changed:
            self.issued += 1
            self.faults += Counter([] if is_signed else ["not signed with the current key"])

    def _client(self) -> None:
        try:
            while not self._ended.wait(PAUSE):
                session = self._taken() or self.log_in()
                if self.present(session):
                    self._sessions.append(session)
        finally:
            self._ended.set()
            with self._changed:
                self._changed.notify_all()

    def _taken(self) -> Session | None:
        """Take a session away from the other clients; `None` for a new one."""
        with self._changed:
            if not self._sessions or random.random() < LOGINS:  # noqa: S311 - not a key
                return None
            return self._sessions.pop(random.randrange(len(self._sessions)))  # noqa: S311


def rotated(framework: Framework, directory: Path, step: int, leave_out: str = "") -> Traffic:
    """Rotate the key of four instances under traffic, and return what the clients saw.

    Args:
        framework: the app.
        directory: an empty directory.
        step: how many tokens are presented between two restarts, at least.
        leave_out: `next` or `previous`: the key that the instances do not get.
    """
    keys, old, new = good_keys(), good_keys()[V1], good_keys()[V1]
    rested = list[Session]()  # no client uses them, so those of Django's logins stay old
    fleet = Fleet(framework, directory)
    traffic = Traffic(fleet, framework, directory, old)

    def roll_out(variables: dict[str, str]) -> timedelta:
        began = time.monotonic()
        for number in range(INSTANCES):
            fleet.restart(number, keys | variables)
            traffic.start()
            rested.append(traffic.log_in())
            traffic.wait_for(step)
        return timedelta(seconds=time.monotonic() - began)

    try:
        took = roll_out({V1: old})
        if leave_out != "next":
            took = roll_out({V1: old, NEXT: new})
        traffic.until = datetime.now(UTC) + 2 * took + ROOM
        previous = {} if leave_out == "previous" else {PREVIOUS: old, UNTIL: traffic.until.isoformat()}
        roll_out({V1: new, **previous})
        for number, instance in enumerate(fleet.instances):
            traffic.present(rested[number], instance)
        time.sleep(max(0, (traffic.until - datetime.now(UTC)).total_seconds()))
        for instance in fleet.instances:
            for session in rested[INSTANCES:]:
                traffic.present(session, instance)
        traffic.wait_for(step)
    finally:
        with contextlib.ExitStack() as stack:
            stack.callback(fleet.stop)
            stack.callback(traffic.stop)
    assert leaks((directory / "log").read_text(encoding="utf-8"), [old, new]) == []
    return traffic


def assert_seamless(traffic: Traffic) -> None:
    """Assert that nothing was wrong, and that each kind of instance accepted tokens of each age."""
    assert traffic.faults == {}
    assert {pair for pair, count in traffic.accepted.items() if count} == {*itertools.product((True, False), repeat=2)}


def test_rolling_restart_rejects_no_valid_token(tmp_path: Path) -> None:
    """A rotation rejects no valid token, signs with the current key only, and the deadline ends the old key."""
    traffic = rotated(FRAMEWORKS["Flask"], tmp_path, step=8)
    assert_seamless(traffic)
    assert traffic.requests >= 100


@pytest.mark.full
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_rolling_restart_of_each_framework_rejects_no_valid_token(name: str, tmp_path: Path) -> None:
    """The same holds for 2,000 requests with each framework."""
    traffic = rotated(FRAMEWORKS[name], tmp_path, step=160)
    assert_seamless(traffic)
    assert traffic.requests >= 2000


@pytest.mark.full
@pytest.mark.parametrize("leave_out", ["next", "previous"])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_valid_tokens_are_rejected_without_a_slot(name: str, leave_out: str, tmp_path: Path) -> None:
    """Without the next key, or without the previous one, valid tokens are rejected."""
    assert {*rotated(FRAMEWORKS[name], tmp_path, step=40, leave_out=leave_out).faults} == {"rejected"}
