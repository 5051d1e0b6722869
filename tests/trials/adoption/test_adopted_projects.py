"""Projects that adopt the library as docs/adopting.md says, under traffic, and nobody is logged out.

A real Django, Flask or FastAPI project runs on two instances. Sessions are from before. The releases of the page are
deployed on one instance after the other. After each step, each session makes a request at both, and each request signs
it again. A client keeps the newest cookie, as a browser does. Other sessions rest: they are still signed with the old
key at the deadline. The code of the releases is that of the page.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from conftest import TIMEOUT, V1, clean_environment, good_keys, posix_only
from detector import leaks
from django.core.management.utils import get_random_secret_key
from pages import parsed

from robodj_secretguard import RuntimeSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = [pytest.mark.full, posix_only]

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[2] / "docs" / "adopting.md"
SESSIONS: Final = int(os.environ.get("ADOPTION_SESSIONS", "1000"))
RESTING: Final = SESSIONS // 10
"""So many more sessions make a request directly before the deadline, to show that they were valid until then."""
CLIENTS: Final = 4
NEW, PREVIOUS, UNTIL = "SESSION_KEY", "SESSION_KEY_PREVIOUS", "SESSION_KEY_PREVIOUS_UNTIL"
SECRETS: Final = """\
from datetime import timedelta
from typing import Annotated

from pydantic import SecretStr

from robodj_secretguard import SecretPolicy, SecretSettings

SESSION = SecretPolicy(name="session.key", variable="SESSION_KEY", overlap=timedelta(days=14))


class ServiceSecrets(SecretSettings):
    session_key: Annotated[SecretStr, SESSION]
"""
OLD: Final = 'import os\n\nold_key = os.environ["SECRET_KEY"]\n'


class Project(NamedTuple):
    """A project, and how it was before.

    Attributes:
        before: the code of its keys before the adoption.
        code: the code before that of the page, in each release.
        blocks: words that the blocks of the page have.
        last: the code that replaces what is only in the second release.
        serve: the command that serves it on an inherited socket.
        old_key: makes the key that signed until now.
        path: the beginning of the paths.
        variables: more variables.
    """

    before: str
    code: str
    blocks: tuple[str, ...]
    last: str
    serve: tuple[str, ...]
    old_key: Callable[[], str]
    path: str = ""
    variables: tuple[tuple[str, str], ...] = ()


def in_django(sessions: str) -> Project:
    """Return the Django project."""
    return Project(
        before=f"{OLD}SECRET_KEY = old_key\n",
        code="",
        blocks=("SECRET_KEY_FALLBACKS",),
        last="",
        serve=("gunicorn", "--bind", "fd://{}", "--threads", "4", "django.core.wsgi:get_wsgi_application()"),
        old_key=get_random_secret_key,
        variables=(("DJANGO_SETTINGS_MODULE", "django_project"), ("SESSIONS", sessions)),
    )


def in_fastapi(path: str, old_key: Callable[[], str]) -> Project:
    """Return the FastAPI project."""
    return Project(
        before="import jwt\nfrom starlette.middleware.sessions import SessionMiddleware\n\n"
        f"{OLD}app.add_middleware(SessionMiddleware, secret_key=old_key)\n",
        code="import jwt\nfrom fastapi import FastAPI\n\napp = FastAPI()\n\n\n"
        'def encode(claims):\n    return jwt.encode(claims, old_key, "HS256")\n\n\n'
        'def decode(token):\n    return jwt.decode(token, old_key, ["HS256"])\n\n\n',
        blocks=("TimestampSigner", "RingJWT"),
        last="encode, decode = tokens.encode, tokens.decode\n",
        serve=("uvicorn", "--fd", "{}", "--no-access-log", "fastapi_project:app"),
        old_key=old_key,
        path=path,
    )


PROJECTS: Final = {
    "Django, database": in_django("database"),
    "Django, signed cookies": in_django("signed_cookies"),
    "Flask": Project(
        before=f"{OLD}app.secret_key = old_key\n",
        code="from flask import Flask\n\napp = Flask(__name__)\n",
        blocks=("sign_sessions",),
        last="",
        serve=("gunicorn", "--bind", "fd://{}", "--threads", "4", "flask_project:app"),
        old_key=lambda: base64.b64encode(secrets.token_bytes(32)).decode(),  # openssl rand -base64 32
    ),
    "Starlette in FastAPI": in_fastapi("", lambda: secrets.token_hex(8)),
    "PyJWT in FastAPI": in_fastapi("/token", lambda: secrets.token_urlsafe(32)),
}


def code_of(project: Project, release: int) -> str:
    """Return the code of the keys in a release: that of before, or that of the page."""
    if release == 1:
        return project.code + project.before
    blocks = [each.text for each in parsed(PAGE.read_text(encoding="utf-8")).blocks if each.language == "python"]
    page = "".join(each for each in blocks if any(word in each for word in ("old_key = os", *project.blocks)))
    if release == 2:
        return project.code + page
    page = page.replace("app.add_middleware(BothKeys,", "app.add_middleware(RingSessionMiddleware,")
    page = page.replace("sign_sessions(app, ring, old_key)", "sign_sessions(app, ring)")
    page = re.sub(r"(class BothKeys|def decode).*?\n\n(?! )|[^\n]* # only in deployment 2\n", "", page, flags=re.DOTALL)
    return project.code + page + project.last


class Session:
    """A user, and the newest cookie or token."""

    def __init__(self, user: str) -> None:
        self.user, self.headers = user, dict[str, str]()


class Instance(NamedTuple):
    """A running server, its port, and its release."""

    process: subprocess.Popen[bytes]
    port: int
    release: int


class Fleet:
    """Two instances of a project.

    Args:
        project: the project.
        directory: where they run.
        keys: the variables of each release.
    """

    def __init__(self, project: Project, directory: Path, keys: dict[int, dict[str, str]]) -> None:
        self.project, self.keys, self.instances = project, keys, list[Instance]()
        self.refused = Counter[tuple[int, ...]]()
        self.requests = 0
        self._directory = directory
        for release in (1, 2, 3):
            code = directory / str(release)
            code.mkdir()
            (code / "release.py").write_text(code_of(project, release), encoding="utf-8")
            (code / "app").mkdir()
            (code / "app" / "service_secrets.py").write_text(SECRETS, encoding="utf-8")

    def environment(self, release: int) -> dict[str, str]:
        """Return the environment of a release."""
        paths = [str(self._directory / str(release)), str(HERE)]
        return clean_environment() | self.keys[release] | dict(self.project.variables) | {"PYTHONPATH": ":".join(paths)}

    def deploy(self, number: int, release: int) -> None:
        """Start a release, wait until it answers, and stop the instance that it replaces."""
        with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
            command = [each.format(listener.fileno()) for each in self.project.serve]
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self._directory,
                env=self.environment(release),
                pass_fds=[listener.fileno()],
                stdout=(log := (self._directory / "log").open("ab")),
                stderr=log,
            )
            log.close()
            instance = Instance(process, listener.getsockname()[1], release)
        replaced = self.instances[number : number + 1]
        self.instances[number : number + 1] = [instance]
        assert self.ask(instance, "/who", Session("")) is False
        for each in replaced:
            stop(each)

    def ask(self, instance: Instance, path: str, session: Session) -> bool:
        """Request a page, keep the cookie or the token of the response, and return whether the user is logged in."""
        connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", self.project.path + path, headers=session.headers)
            response = connection.getresponse()
            user = response.read().decode()
        assert response.status in {200, 401}, (response.status, user)
        if token := response.headers.get("X-Token"):
            session.headers = {"Authorization": f"Bearer {token}"}
        if cookies := SimpleCookie(response.headers.get("Set-Cookie", "")):
            session.headers = {"Cookie": "; ".join(f"{name}={each.value}" for name, each in cookies.items())}
        assert response.status == 401 or user == session.user
        return response.status == 200

    def visit(self, sessions: Sequence[Session], path: str = "/visit") -> int:
        """Make a request of each session at each instance, in either order. Return how many were refused once."""

        def visit_both(numbered: tuple[int, Session]) -> bool:
            number, session = numbered
            order = self.instances if number % 2 else self.instances[::-1]
            return not all(self.ask(each, path, session) for each in order)

        with ThreadPoolExecutor(CLIENTS) as pool:
            refused = sum(pool.map(visit_both, enumerate(sessions)))
        self.requests += 2 * len(sessions)
        self.refused[tuple(each.release for each in self.instances)] += refused
        return refused

    def log_in(self, count: int) -> list[Session]:
        """Return new sessions."""
        sessions = [Session(f"user-{secrets.token_hex(8)}") for _ in range(count)]

        def begin(numbered: tuple[int, Session]) -> None:
            number, session = numbered
            assert self.ask(self.instances[number % 2], f"/login?user={session.user}", session)

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(begin, enumerate(sessions)))
        return sessions


def stop(instance: Instance) -> None:
    """Stop an instance, which answers its requests first."""
    instance.process.send_signal(signal.SIGTERM)
    instance.process.wait(TIMEOUT)


@contextlib.contextmanager
def fleet_of(project: Project, directory: Path) -> Iterator[Fleet]:
    """Run two instances of the first release."""
    old = {"SECRET_KEY": project.old_key()}
    new = {NEW: good_keys()[V1]}
    fleet = Fleet(project, directory, {1: old, 2: old | new, 3: new | {PREVIOUS: old["SECRET_KEY"]}})
    if ("SESSIONS", "database") in project.variables:
        migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
        subprocess.run(migrate, cwd=directory, env=fleet.environment(1), check=True, timeout=TIMEOUT)
    try:
        for number in range(2):
            fleet.deploy(number, 1)
        yield fleet
    finally:
        for each in fleet.instances:
            stop(each)
    log = (directory / "log").read_text(encoding="utf-8")
    assert leaks(log, [old["SECRET_KEY"], new[NEW]]) == []
    is_of_policy = RuntimeSecrets.secret_policies["secret_key"].material.accepts(old["SECRET_KEY"])
    assert ("legacy" in log) == (UNTIL in fleet.keys[3] and not is_of_policy)


def set_deadline(fleet: Fleet, ahead: float) -> datetime:
    """Set the deadline of the old key, so many seconds ahead."""
    deadline = datetime.now(UTC) + timedelta(seconds=ahead)
    fleet.keys[3][UNTIL] = deadline.isoformat()
    return deadline


@pytest.mark.parametrize("name", PROJECTS)
def test_adopting_logs_nobody_out(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """No session from before is refused in a rolling deployment, and each that was not signed again after it."""
    with fleet_of(PROJECTS[name], tmp_path) as fleet:
        live, shown, resting = (fleet.log_in(count) for count in (SESSIONS, RESTING, SESSIONS))
        began = time.monotonic()
        for release in (2, 3):
            if release == 3:
                deadline = set_deadline(fleet, 2 * (time.monotonic() - began) + 15)
            for number in range(2):
                fleet.deploy(number, release)
                assert fleet.visit(live) == 0, f"refused by {fleet.refused}"
        assert fleet.visit(shown, "/who") == 0
        early = (deadline - datetime.now(UTC)).total_seconds()
        assert early > 0, "the deadline was too near"
        time.sleep(early)
        accepted = sum(fleet.ask(fleet.instances[number % 2], "/who", each) for number, each in enumerate(resting))
        assert accepted == 0, "the old key was accepted after its deadline"
        assert fleet.visit(live) == 0
        record_property("requests", fleet.requests)
        sys.stderr.write(f"{name}: {fleet.requests} requests, refused {dict(fleet.refused)}, {SESSIONS} out\n")


@pytest.mark.parametrize("name", PROJECTS)
def test_without_the_second_release(name: str, tmp_path: Path) -> None:
    """Without the second release, instances of the first refuse what those of the third have signed."""
    with fleet_of(PROJECTS[name], tmp_path) as fleet:
        live = fleet.log_in(40)
        set_deadline(fleet, 600)
        fleet.deploy(0, 3)
        assert fleet.visit(live) > 0
