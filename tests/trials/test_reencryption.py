"""The recipe `reencrypt_rows.py`: rows of SQLite are encrypted again while a service reads and writes them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, clean_environment, good_keys, process_environment, run
from cryptography.fernet import Fernet

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.adapters.aesgcm import RingAESGCM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conftest import Ran

    from robodj_secretguard import Secret

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"
PAGE = (RECIPES.parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
LABEL = b"robodj example rows v1"
OTHERS = good_keys()
PREVIOUS, UNTIL = f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"
SERVICE = """
import json, random, sqlite3, sys, threading
import reencrypt_rows as recipe

path, rows, is_fernet = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "--fernet"

def opened(row, stored):
    return recipe.fernet().decrypt(stored) if is_fernet else recipe.BOX.decrypt(stored, str(row).encode())

def sealed(row, text):
    return recipe.fernet().encrypt(text) if is_fernet else recipe.BOX.encrypt(text, str(row).encode())

connection = sqlite3.connect(path, timeout=60, isolation_level=None)
written, reads, ended = {}, 0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    row = random.randint(1, rows)
    (stored,) = connection.execute("SELECT secret FROM notes WHERE id = ?", (row,)).fetchone()
    text = opened(row, stored).decode()
    assert text == written.get(row, f"note {row}"), row
    reads += 1
    if reads % 5 == 0:
        written[row] = f"note {row} {reads}"
        connection.execute("UPDATE notes SET secret = ? WHERE id = ?", (sealed(row, written[row].encode()), row))
    if reads == 1:
        print("serves", flush=True)
print(json.dumps({"reads": reads, "written": written}))
"""


def ring_of(keys: Mapping[str, str]) -> Secret:
    """Return the keys of the recipe, as a service with these keys has them."""
    with process_environment(OTHERS | dict(keys)):
        return RuntimeSecrets().secret_key.derive(LABEL)


def rotated(old: str, until: datetime) -> dict[str, str]:
    """Return the keys after the promotion of a new key."""
    return {V1: good_keys()[V1], PREVIOUS: old, UNTIL: until.isoformat()}


def database_at(path: Path, key: str, rows: int, *, is_fernet: bool) -> str:
    """Make a database whose rows are encrypted with a key."""
    ring = ring_of({V1: key})
    box, fernet = RingAESGCM(ring), Fernet(ring.current.value.get_secret_value())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, secret BLOB NOT NULL)")
        texts = ((row, f"note {row}".encode()) for row in range(1, rows + 1))
        made = (
            (row, fernet.encrypt(text) if is_fernet else box.encrypt(text, str(row).encode())) for row, text in texts
        )
        connection.executemany("INSERT INTO notes VALUES (?, ?)", made)
        connection.commit()
    return str(path)


def texts_in(path: str, keys: Mapping[str, str], *, is_fernet: bool) -> dict[int, str]:
    """Return the text of each row, decrypted with the current key alone."""
    ring = ring_of({V1: keys[V1]})
    box, fernet = RingAESGCM(ring), Fernet(ring.current.value.get_secret_value())
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, secret FROM notes").fetchall()
    return {
        row: (fernet.decrypt(stored) if is_fernet else box.decrypt(stored, str(row).encode())).decode()
        for row, stored in rows
    }


def environment_of(keys: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service with these keys, which can import the recipe."""
    return clean_environment() | {"PYTHONPATH": str(RECIPES), "PYTHONDONTWRITEBYTECODE": "1"} | OTHERS | dict(keys)


def job(*arguments: str, keys: Mapping[str, str]) -> Ran:
    """Run the recipe to its end, and make sure that it shows no key."""
    return run(
        [str(RECIPES / "reencrypt_rows.py"), *arguments],
        env=environment_of(keys),
        cwd=RECIPES,
        keys=[keys[V1], keys[PREVIOUS]],
    )


def kill_after(batches: int, arguments: Sequence[str], keys: Mapping[str, str]) -> None:
    """Begin the recipe, and kill it after it has written so many batches."""
    argv = [sys.executable, str(RECIPES / "reencrypt_rows.py"), *arguments]
    with subprocess.Popen(argv, env=environment_of(keys), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        written = 0
        for line in process.stderr:
            written += not line.endswith(" 0 of them encrypted again\n")
            if written == batches:
                process.kill()
                break
    assert process.returncode < 0


@pytest.mark.parametrize(("rows", "option"), [(100_000, ()), (20_000, ("--fernet",))], ids=["aesgcm", "fernet"])
def test_no_row_is_lost_while_the_service_writes(tmp_path: Path, rows: int, option: tuple[str, ...]) -> None:
    """The job is killed twice, and begun again, while a service reads and writes. No row is lost, and none is stale.

    Afterwards, the current key alone decrypts every row, and the job names what to pass to the rotation.
    """
    assert "\npython reencrypt_rows.py shop.sqlite\n" in PAGE
    old = good_keys()[V1]
    path = database_at(tmp_path / "shop.sqlite", old, rows, is_fernet=bool(option))
    keys = rotated(old, datetime.now(UTC) + timedelta(hours=1))
    argv = [sys.executable, "-c", SERVICE, path, str(rows), *(option or ("--aesgcm",))]
    with subprocess.Popen(
        argv, env=environment_of(keys), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "serves\n"
        for _ in range(2):
            kill_after(rows // 5000, [path, *option], keys)
        ran = job(path, *option, keys=keys)
        output, _ = service.communicate("", timeout=TIMEOUT)
    served = json.loads(output)
    kid = fingerprint_of(old).removeprefix("sgfp1:")
    assert (service.returncode, ran.status) == (0, 0)
    assert ran.out.splitlines() == [
        "0 rows are left under another key than the current one",
        f"To remove the old key, pass: --data-done {kid}",
    ]
    written = {int(row): text for row, text in served["written"].items()}
    expected = {row: f"note {row}" for row in range(1, rows + 1)} | written
    assert texts_in(path, keys, is_fernet=bool(option)) == expected
    assert served["reads"] >= len(written) > 10


@pytest.mark.parametrize("option", [(), ("--fernet",)], ids=["aesgcm", "fernet"])
def test_rows_whose_key_is_not_there(tmp_path: Path, option: tuple[str, ...]) -> None:
    """They are named and left as they are, and the job does not say that it is done. The others are encrypted again."""
    old, lost = (good_keys()[V1] for _ in range(2))
    path = database_at(tmp_path / "shop.sqlite", old, 30, is_fernet=bool(option))
    other = database_at(tmp_path / "other.sqlite", lost, 30, is_fernet=bool(option))
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(other)) as of_lost:
        strangers = of_lost.execute("SELECT secret, id FROM notes WHERE id IN (7, 8)").fetchall()
        connection.executemany("UPDATE notes SET secret = ? WHERE id = ?", strangers)
        connection.commit()
    keys = rotated(old, datetime.now(UTC) - timedelta(hours=1))
    ran = job(path, *option, keys=keys)
    needed = "" if option else f" {fingerprint_of(lost)}"
    assert (ran.status, ran.out.splitlines()) == (
        1,
        [
            *(f"row {row}: its key{needed} is not delivered or is revoked, or the row was changed" for row in (7, 8)),
            "2 rows are left under another key than the current one",
        ],
    )
    again = job(path, *option, keys={V1: keys[V1], PREVIOUS: lost, UNTIL: keys[UNTIL]})
    assert (again.status, again.out.count("--data-done")) == (0, 1)
    assert texts_in(path, keys, is_fernet=bool(option)) == {row: f"note {row}" for row in range(1, 31)}


@pytest.mark.parametrize("option", [(), ("--fernet",)], ids=["aesgcm", "fernet"])
def test_a_revoked_key(tmp_path: Path, option: tuple[str, ...]) -> None:
    """A revoked key decrypts only where the job is told its id."""
    old = good_keys()[V1]
    path = database_at(tmp_path / "shop.sqlite", old, 3, is_fernet=bool(option))
    revoked = {"ROBODJ_REVOKED_FINGERPRINTS": fingerprint_of(old)}
    keys = rotated(old, datetime.now(UTC) + timedelta(hours=1)) | revoked
    kid = fingerprint_of(old).removeprefix("sgfp1:")
    assert job(path, *option, keys=keys).status == 1
    ran = job(path, *option, "--revoked", kid, keys=keys)
    assert (ran.status, ran.out.splitlines()[-1]) == (0, f"To remove the old key, pass: --data-done {kid}")
    assert set(texts_in(path, keys, is_fernet=bool(option))) == {1, 2, 3}
    assert job(path, "--revoked", fingerprint_of(keys[V1]), keys=keys).status == 2


def test_writers_with_an_old_key(tmp_path: Path) -> None:
    """A job that finds old rows again and again ends, and says why."""
    old = good_keys()[V1]
    path = database_at(tmp_path / "shop.sqlite", old, 3, is_fernet=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE stale AS SELECT * FROM notes")
        connection.execute(
            "CREATE TRIGGER straggler AFTER UPDATE ON notes BEGIN"
            " UPDATE notes SET secret = (SELECT secret FROM stale WHERE id = new.id) WHERE id = new.id; END"
        )
    ran = job(path, keys=rotated(old, datetime.now(UTC) + timedelta(hours=1)))
    assert (ran.status, ran.out.splitlines()) == (
        1,
        [
            "3 rows are left under another key than the current one",
            "An instance still encrypts with an old key: let each one have the new key, then begin again",
        ],
    )
