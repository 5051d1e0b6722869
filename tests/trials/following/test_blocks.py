"""The blocks of databases.md, caches.md, apis.md, mail.md and clouds.md, on real servers, with a change."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from api_servers import Servers, running_servers
from postgres import Server
from publications import volume
from test_base import configured_django
from test_readme import blocks
from test_redis import Cache, cache
from test_smtp import MailServer, mail_server

__all__ = ["cache", "configured_django", "mail_server"]
ROOT = Path(__file__).parents[3]


class Page:
    """The blocks of a page, run with a directory of secrets, and what they have defined."""

    def __init__(self, name: str, directory: Path, replaced: Mapping[str, str]) -> None:
        code = "\n".join(blocks("python", (ROOT / "docs" / name).read_text(encoding="utf-8")))
        for old, new in replaced.items():
            assert old in code
            code = code.replace(old, new)
        self._directory = directory
        self._names: dict[str, Any] = {"__name__": "page"}
        exec(compile(code, name, "exec", dont_inherit=True), self._names)  # noqa: S102 - the page is ours

    def __getattr__(self, name: str) -> Any:
        return self._names[name]

    def deliver(self, values: Mapping[str, str]) -> None:
        """Deliver a set, and read it."""
        volume(self._directory, values)
        assert self.secrets.refresh().ok


Run = Callable[..., Page]


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a page, whose directory has these values first."""
    monkeypatch.setenv("ROBODJ_SECRETS_DIR", str(tmp_path / "keys"))

    def run(name: str, values: Mapping[str, str], replaced: Mapping[str, str] | None = None) -> Page:
        volume(tmp_path / "keys", values)
        return Page(name, tmp_path / "keys", replaced or {})

    return run


@pytest.mark.usefixtures("configured_django")
def test_databases(database: Server, run_page: Run) -> None:
    """The connections of each driver have the first user, and after a change the second one."""
    from django.db.utils import ConnectionHandler  # noqa: PLC0415 - its settings are those of the page

    users = [database.new_user() for _ in range(2)]
    page = run_page("databases.md", {"DATABASE_URL": database.url(*users[0])})
    handler = ConnectionHandler(page.DATABASES)
    with page.pool as pool, closing(handler["default"]) as django:
        for user, password in users:
            page.deliver({"DATABASE_URL": database.url(user, password)})
            pool.drain()
            django.close()
            with page.engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT current_user").scalar() == user
            with pool.connection() as connection:
                assert connection.execute("SELECT current_user").fetchone() == (user,)
            with django.cursor() as cursor:
                assert cursor.execute("SELECT current_user").fetchone() == (user,)
            assert asyncio.run(_asked(page.open_pool)) == user
    page.engine.dispose()


async def _asked(open_pool: Any) -> Any:
    pool = await open_pool()
    async with pool:
        return await pool.fetchval("SELECT current_user")


def test_caches(cache: Cache, run_page: Run) -> None:
    """The client and the credentials of a cluster have the user in use."""
    from redis import Redis  # noqa: PLC0415 - the page has its own names

    users = [cache.new_user() for _ in range(2)]
    page = run_page("caches.md", {"REDIS_URL": cache.url(*users[0])})
    for user, password in users:
        page.deliver({"REDIS_URL": cache.url(user, password)})
        provider = page.redis.FollowingCredentials(page.secrets.redis_url)
        with Redis(port=cache.port, credential_provider=provider) as other:
            assert other.acl_whoami() == user
        page.cache.connection_pool.disconnect()
        assert page.cache.acl_whoami() == user
    page.cache.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """HTTPS servers."""
    with running_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


def test_apis(servers: Servers, run_page: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clients send the key in use. The next request after a change has the new one."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(servers.certificate))
    key, new = (secrets.token_hex(16) for _ in range(2))
    page = run_page("apis.md", {"WEATHER_KEY": key}, {"https://api.example.com": servers.api.origin})
    servers.api.accepted = {key}
    with page.api as api, page.session as session:
        for client in (api, session):
            assert client.get(servers.api.origin).status_code == 200
        page.deliver({"WEATHER_KEY": new})
        servers.api.accepted = {new}
        for client in (api, session):
            assert client.get(servers.api.origin).status_code == 200
    assert servers.api.sent[-2:] == [new, new]


def test_mail(mail_server: MailServer, run_page: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is sent with the password in use."""
    monkeypatch.setenv("SSL_CERT_FILE", str(mail_server.certificate))
    first, second = (secrets.token_hex(16) for _ in range(2))
    address = {'"mail.example.com", 465': f'"127.0.0.1", {mail_server.port}', "shop@example.com": mail_server.user}
    page = run_page("mail.md", {"SMTP_PASSWORD": first}, address)
    message = EmailMessage()
    message["From"] = message["To"] = "shop@example.com"
    for password in (first, second):
        page.deliver({"SMTP_PASSWORD": password})
        mail_server.accepted = {password}
        page.send(message)
    assert mail_server.asked[-2:] == [first, second]


def test_clouds(run_page: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of a server that acts as AWS signs with the keys in use."""
    ids = [secrets.token_hex(8) for _ in range(2)]
    page = run_page("clouds.md", credentials(ids[0]))
    signed: list[bytes] = []
    moto_server = pytest.importorskip("moto_server", exc_type=ImportError)
    with moto_server.running(tmp_path) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        client = page.aws.client("sts")
        client.meta.events.register("before-send", lambda request, **_: signed.append(request.headers["Authorization"]))
        for each in ids:
            page.deliver(credentials(each))
            assert client.get_caller_identity()["Account"]
    assert [re.findall(rb"Credential=(\w+)/", each)[0].decode() for each in signed] == ids


def credentials(key_id: str) -> dict[str, str]:
    """Return the variables of an access key."""
    return {"AWS_KEY_ID": key_id, "AWS_SECRET_KEY": secrets.token_hex(20)}
