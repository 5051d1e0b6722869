"""The helper programs of examples/stores, with the real programs that they call."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import Machine
from conftest import V1, Failure
from stores import fields_in, found_in, new_text, opened, refusal, versions_of, write

from robodj_secretguard.managers.manager import CONFLICT

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[3] / "examples" / "stores"
POSTGRESQL = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
BATCH = (
    "%no-protection\nKey-Type: eddsa\nKey-Curve: ed25519\nSubkey-Type: ecdh\nSubkey-Curve: cv25519\nName-Real: robodj\n"
)


def run(*command: str, given: str = "") -> str:
    """Run a program, and return its output."""
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def program_of(name: str, directory: Path) -> Path:
    """Copy a helper program, so that only its user can change it."""
    program = directory / name
    shutil.copy(EXAMPLES / name, program)
    program.chmod(0o700)
    return program


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a short path, as agents have sockets in it. It is the user's home."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setenv("HOME", directory)
        yield Path(directory)


@pytest.fixture
def pass_program(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program for pass, with a key and a repository of its own."""
    monkeypatch.setenv("GNUPGHOME", str(place / "gnupg"))
    (place / "gnupg").mkdir(mode=0o700)
    run("gpg", "--batch", "--quiet", "--generate-key", given=BATCH)
    run("git", "config", "--global", "user.email", "robodj@example.com")
    run("git", "config", "--global", "user.name", "robodj")
    run("pass", "init", "robodj")
    run("pass", "git", "init")
    yield program_of("pass", place)
    run("gpgconf", "--kill", "all")


@pytest.fixture
def sops_program(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program for sops, with a key of age."""
    run("age-keygen", "-o", str(place / "age.txt"))
    recipient = run("age-keygen", "-y", str(place / "age.txt")).strip()
    (place / "keys").mkdir(mode=0o700)
    (place / "keys" / ".sops.yaml").write_text(f"creation_rules:\n  - age: {recipient}\n", encoding="utf-8")
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(place / "age.txt"))
    return program_of("sops", place / "keys")


@pytest.fixture
def postgresql_program(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program for PostgreSQL, with a server of its own."""
    data = place / "data"
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    shutil.chown(place, *(["postgres"] if user else [os.geteuid()]))
    run(*user, f"{POSTGRESQL}/initdb", "-D", str(data), "-A", "trust", "-U", "robodj")
    options = f"-c listen_addresses='' -c unix_socket_directories={place} -c fsync=off"
    run(*user, f"{POSTGRESQL}/pg_ctl", "-D", str(data), "-w", "-l", str(place / "data" / "log"), "-o", options, "start")
    for name, text in {"PGHOST": str(place), "PGUSER": "robodj", "PGDATABASE": "postgres"}.items():
        monkeypatch.setenv(name, text)
    run("psql", "-c", "create table robodj_keys (version int primary key, fields jsonb not null)")
    (Path("/tmp") / f"{place.name}.keys").mkdir(mode=0o700)  # noqa: S108 - not in the directory of the server's user
    yield program_of("postgresql", Path("/tmp") / f"{place.name}.keys")  # noqa: S108
    run(*user, f"{POSTGRESQL}/pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    shutil.rmtree(Path("/tmp") / f"{place.name}.keys")  # noqa: S108


NEEDS = {"pass": ("pass", "gpg", "git"), "sops": ("sops", "age-keygen"), "postgresql": (f"{POSTGRESQL}/initdb",)}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(not all(map(shutil.which, needs)), reason=f"needs {needs}"))
        for name, needs in NEEDS.items()
    ],
)
def test_an_example_keeps_what_it_is_given(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    """An example passes `store check`, refuses an old version, and returns each earlier one."""
    source = f"exec:{request.getfixturevalue(f'{name}_program')}"
    ran = Machine(tmp_path, {**os.environ}).call("store", "check", "--to", source, "--show-errors")
    assert ran.out.splitlines()[-1] == "Store check passed.", ran.out
    store = opened(source, single_writer=False)
    key, other = new_text(), "-----BEGIN X-----\n'\"\\$\u00e9\n-----END X-----\n"
    write(store, {V1: key, "OTHER": other})
    old = found_in(store)
    write(store, {V1: new_text()})
    assert refusal(store, {V1: "x"}, old) == Failure(*CONFLICT)
    assert fields_in(store)["OTHER"] == other
    assert versions_of(store)[1] == {V1: key, "OTHER": other}
