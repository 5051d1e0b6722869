"""The servers of the demo: PostgreSQL, OpenBao with its agent, and the services. Each ends with its `with`."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg

HERE: Final = Path(__file__).resolve().parent
UNPRIVILEGED: Final = "nobody"
"""The user that runs PostgreSQL where root runs the demo: PostgreSQL refuses root."""
ENVIRONMENT: Final = "dev"
PATIENCE: Final = 60
"""For how many seconds the demo waits for a server."""
TABLE: Final = """
CREATE ROLE shop;
CREATE TABLE orders (number bigint GENERATED ALWAYS AS IDENTITY);
ALTER TABLE orders OWNER TO shop;
"""


def program(name: str) -> str:
    """Return the path of a program. That of the environment of Python comes first, then `PATH`, then Debian's path."""
    debian = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    paths = [str(Path(sys.executable).parent), os.environ["PATH"], *debian]
    found = shutil.which(name, path=os.pathsep.join(paths))
    if found is None:
        sys.exit(f"{name} is not installed. The first lines of demo.py say what to install.")
    return found


def free_port() -> int:
    """Find a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(command: Sequence[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a session of its own: Ctrl+C reaches only the demo, which ends one process after the other."""
    with log.open("wb") as output:
        shared = {"stdout": output, "stderr": output, "start_new_session": True, **options}
        process = subprocess.Popen(command, **shared)  # noqa: S603 - the demo's own servers
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(is_done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a process. If it ends or takes too long, end the demo with the end of its log."""
    until = time.monotonic() + PATIENCE
    while not is_done():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"{log.name}:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
        time.sleep(0.05)


@contextmanager
def listening(port: int, command: Sequence[str], log: Path, **options: Any) -> Iterator[None]:
    """Run a server, and wait until it listens on its port."""
    with running(command, log, **options) as process:
        wait_until(lambda: _is_listening(port), process, log)
        yield


def _is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def postgresql() -> Iterator[psycopg.Connection]:
    """Run PostgreSQL with a table of the role `shop`. Return the connection of its administrator."""
    is_root = os.geteuid() == 0
    user: dict[str, Any] = {"user": UNPRIVILEGED, "extra_groups": []} if is_root else {}
    root = Path(tempfile.mkdtemp(dir="/tmp" if is_root else None))  # noqa: S108 - the name is random
    try:
        port, password = free_port(), secrets.token_hex(16)
        given = root / "password"
        given.write_text(password, encoding="ascii")
        if is_root:
            shutil.chown(root, UNPRIVILEGED)
            shutil.chown(given, UNPRIVILEGED)
        made = [program("initdb"), "--auth=scram-sha-256", "--username=owner", f"--pwfile={given}", f"{root}/data"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=root, **user)  # noqa: S603
        address = ("-p", str(port), "-h", "127.0.0.1", "-k", "")
        command = [program("postgres"), "-D", f"{root}/data", *address]
        log = root / "postgresql.log"
        with running(command, log, cwd=root, **user) as process:
            wait_until(lambda: _is_ready(port), process, log)
            url = f"postgresql://owner:{password}@127.0.0.1:{port}/postgres"
            with psycopg.connect(url, autocommit=True) as administrator:
                administrator.execute(TABLE)
                yield administrator
    finally:
        shutil.rmtree(root)


def _is_ready(port: int) -> bool:
    """Check whether PostgreSQL accepts logins: it listens before."""
    asked = [program("pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]
    return subprocess.run(asked, check=False).returncode == 0  # noqa: S603


@contextmanager
def openbao(root: Path, administrator: psycopg.Connection, lease: int) -> Iterator[None]:
    """Run OpenBao in memory, and its agent, which writes into the directory `secrets`.

    Args:
        root: a directory for their files.
        administrator: the connection to the database in which OpenBao makes users.
        lease: how many seconds a user lives.
    """
    port, token, password = free_port(), secrets.token_hex(16), secrets.token_hex(16)
    administrator.execute(f"CREATE ROLE openbao LOGIN CREATEROLE PASSWORD '{password}'")
    administrator.execute("GRANT shop TO openbao WITH ADMIN OPTION")
    own = {
        "PATH": f"{Path(program('bao')).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(root),
        "VAULT_ADDR": f"http://127.0.0.1:{port}",
        "SHOP_DATABASE": f"127.0.0.1:{administrator.info.port}/postgres",
        "SHOP_LEASE": f"{lease}s",
        "ROBODJ_ENVIRONMENT": ENVIRONMENT,
    }
    privileged = {**own, "VAULT_TOKEN": token, "BAO_DEV_ROOT_TOKEN_ID": token}
    command = [program("bao"), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    with listening(port, command, root / "openbao.log", env=privileged):
        (root / "password").write_text(password, encoding="ascii")
        setup = ["/bin/sh", str(HERE / "openbao.sh")]
        subprocess.run(setup, check=True, stdout=subprocess.DEVNULL, cwd=root, env=privileged)  # noqa: S603
        (root / "password").unlink()
        delivered = root / "secrets"
        delivered.mkdir()
        files = [delivered / name for name in ("DATABASE_URL", "ROBODJ_ENVIRONMENT")]
        agent = [program("bao"), "agent", f"-config={HERE / 'openbao-agent.hcl'}"]
        log = root / "agent.log"
        with running(agent, log, cwd=root, env=own) as process:
            wait_until(lambda: all(file.exists() for file in files), process, log)
            yield


@contextmanager
def service(name: str, root: Path) -> Iterator[int]:
    """Serve `NAME_service.py`. Return its port."""
    port = free_port()
    environ: Mapping[str, str] = {
        **os.environ,
        "ROBODJ_SECRETS_DIR": str(root / "secrets"),
        "ROBODJ_ENVIRONMENT": ENVIRONMENT,
        "PGAPPNAME": name,  # pg_stat_activity shows it
    }
    options = ("--app-dir", str(HERE), "--port", str(port), "--no-access-log")
    command = [sys.executable, "-m", "uvicorn", *options, f"{name}_service:app"]
    with listening(port, command, root / f"{name}.log", cwd=root, env=environ):
        yield port
