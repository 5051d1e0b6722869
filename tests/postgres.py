"""A PostgreSQL server for tests, and a service whose database URL follows a directory."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import psycopg
from conftest import PG_CTL
from publications import volume

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings, guard

_OWNER: Final = "nobody"
DAY: Final = timedelta(days=1)


class Shop(SecretSettings, refresh=timedelta(seconds=900)):
    """A service with the URL of a database, a user and a password of a group, and a URL without an overlap."""

    database_url: Annotated[Secret | None, SecretPolicy(material=Material.url(), overlap=DAY, required=False)]
    plain_url: Annotated[Secret | None, SecretPolicy(material=Material.url(), required=False)]
    db_user: Annotated[
        Secret | None, SecretPolicy(material=Material.opaque(minimum=4), group="db", overlap=DAY, required=False)
    ]
    db_password: Annotated[
        Secret | None, SecretPolicy(material=Material.opaque(), group="db", overlap=DAY, required=False)
    ]
    environment_key: Annotated[Secret, SecretPolicy(overlap=DAY)]


class Server:
    """A running server, and its administrator."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self._administrator: Any = psycopg.connect(self.url("owner", password), autocommit=True)

    def url(self, user: str, password: str, database: str = "postgres") -> str:
        """Return the URL of a database for a user."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> list[Any]:
        """Run a statement as the administrator, and return its rows."""
        cursor = self._administrator.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []

    def new_user(self) -> tuple[str, str]:
        """Return a new user and its password."""
        user, password = f"u{secrets.token_hex(9)}", secrets.token_hex(16)
        self.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
        return user, password

    def set_password(self, user: str, password: str) -> None:
        """Let a user have another password."""
        self.execute(f"ALTER ROLE {user} PASSWORD '{password}'")

    def drop(self, user: str) -> None:
        """Delete a user, and end its connections."""
        found = self._administrator.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s", [user]).fetchall()
        self.execute(f"DROP ROLE {user}")
        for row in found:
            self._administrator.execute("SELECT pg_terminate_backend(%s, 60000)", row)

    def connections(self, user: str) -> int:
        """Return how many connections a user has."""
        counted = self._administrator.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [user])
        return int(counted.fetchone()[0])

    def wait_until_gone(self, user: str) -> None:
        """Wait until the server has ended the connections that a user has closed."""
        until = time.monotonic() + 60
        while self.connections(user):
            assert time.monotonic() < until
            time.sleep(0.01)

    def close(self) -> None:
        """End the connection of the administrator."""
        self._administrator.close()


@contextmanager
def running_server() -> Iterator[Server]:
    """Run PostgreSQL with SCRAM on a free port."""
    user: Any = {"user": _OWNER, "extra_groups": []} if os.geteuid() == 0 else {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # An unprivileged server cannot enter the private temporary directory of root.
    root = Path(tempfile.mkdtemp(dir="/tmp" if user else None))  # noqa: S108 - the name is random
    own = secrets.token_hex(16)
    try:
        password = root / "password"
        password.write_text(own, encoding="ascii")
        if user:
            for path in (root, password):
                shutil.chown(path, _OWNER)
        shared: Any = {"cwd": root, "stdout": subprocess.DEVNULL, "timeout": 60, **user}
        options = ("--auth=scram-sha-256", f"--pwfile={password}", "--username=owner", "--no-sync", "--encoding=UTF8")
        subprocess.run([Path(PG_CTL).with_name("initdb"), *options, f"{root}/data"], check=True, **shared)
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={root} -c fsync=off"
        command = [PG_CTL, "-w", "-D", f"{root}/data", "-l", f"{root}/log"]
        subprocess.run([*command, "-o", settings, "start"], check=True, **shared)
        try:
            server = Server(port, own)
            yield server
            server.close()
        finally:
            subprocess.run([*command, "-m", "immediate", "stop"], check=True, **shared)
    finally:
        shutil.rmtree(root)


class Delivery:
    """The directory of a service. Each call delivers a set, and lets the service read it."""

    def __init__(self, path: Path, monkeypatch: Any) -> None:
        self._path = path
        self._key = secrets.token_urlsafe(32)
        monkeypatch.setenv("ROBODJ_SECRETS_DIR", str(path))
        self.secrets: Shop | None = None

    def deliver(self, values: Mapping[str, str] | None = None, /, *, is_read: bool = True, **more: str) -> Any:
        """Deliver these values, by the names of their variables. A previous value gets a deadline."""
        values = {**(values or {}), **more}
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        deadlines = {f"{name}_UNTIL": until for name in values if name.endswith("_PREVIOUS")}
        volume(self._path, {"ENVIRONMENT_KEY": self._key, **deadlines, **values})
        if self.secrets is None:
            self.secrets = guard(Shop)
        elif is_read:
            self.secrets.refresh()
        return self.secrets
