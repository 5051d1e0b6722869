"""cryptography: encrypt rows again, while the service runs. Run it: `python reencrypt_rows.py shop.sqlite`.

It works in batches. End it whenever you like, and begin again. It changes no row that the service has changed since it
was read. Begin when every instance has promoted the new key: another one would still encrypt with the old key.

AES-GCM: the data names its key. Fernet: a token names none, so a row is old if the current key does not decrypt it. A
service that stores such tokens decrypts them with `fernet()`. `RingFernet` refuses the previous key after its deadline.

After a leak, pass the id of the revoked key: `--revoked KID`. Whoever has that key could have written such rows. If the
key was removed, run this with `robodj-secretguard exec --from SOURCE --previous SGFP1 -- python reencrypt_rows.py ...`.
"""

import argparse
import sqlite3
import sys
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from robodj_secretguard import guard
from robodj_secretguard.adapters.aesgcm import RingAESGCM

secrets = guard()

LABEL = b"robodj example rows v1"  # your service's name, and what the key is for
RING = secrets.secret_key.derive(LABEL)
BOX = RingAESGCM(RING)
# For PostgreSQL, connect with psycopg, and write %s for each question mark.
SELECT = "SELECT id, secret FROM notes WHERE id > ? ORDER BY id LIMIT ?"
UPDATE = "UPDATE notes SET secret = ? WHERE id = ? AND secret = ?"  # not if the service has changed the row
BATCH = 1000
PASSES = 5
MOST_NAMED = 20


def fernet(revoked: str = "") -> MultiFernet:
    """Return what encrypts with the current key, and decrypts with every key that stored data may need."""
    keys = [RING.current, *RING.stored()]
    if leaked := RING.find(revoked, revoked=True):
        keys.append(leaked)
    return MultiFernet([Fernet(key.value.get_secret_value()) for key in keys if key.kid])


def renew_aesgcm(row: int, stored: bytes, revoked: str) -> bytes:
    """Return the data of a row under the current key, as it is if it has that key."""
    kid, name = BOX.kid_of(stored), str(row).encode()
    if kid == BOX.kid:
        return stored
    return BOX.encrypt(BOX.decrypt(stored, name, revoked=kid == revoked), name)


def renew_fernet(_row: int, token: bytes, revoked: str) -> bytes:
    """Return the token of a row under the current key, as it is if it has that key. Its time stays the same."""
    try:
        Fernet(RING.current.value.get_secret_value()).decrypt(token)
    except InvalidToken:
        return fernet(revoked).rotate(token)
    return token


def renew(connection: sqlite3.Connection, renewed: Callable[[int, bytes], bytes]) -> tuple[int, dict[int, bytes]]:
    """Encrypt each old row again. Return how many rows were old, and the rows whose key is not there."""
    old, refused, last, seen = 0, dict[int, bytes](), 0, 0
    while rows := connection.execute(SELECT, (last, BATCH)).fetchall():
        changes = []
        for row, stored in rows:
            try:
                new = renewed(row, stored)
            except (InvalidTag, InvalidToken):
                refused[row] = stored
                continue
            if new != stored:
                changes.append((new, row, stored))
        connection.cursor().executemany(UPDATE, changes)
        connection.commit()
        old += len(changes)
        seen += len(rows)
        last = rows[-1][0]
        print(f"{seen} rows read, {old} of them encrypted again", file=sys.stderr, flush=True)
    return old, refused


def main(argv: Sequence[str] | None = None) -> int:
    """Encrypt again until no old row is left. Return 0 if none is left, otherwise 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database", help="an SQLite database")
    parser.add_argument("--fernet", action="store_true", help="the rows are tokens of Fernet")
    parser.add_argument("--revoked", metavar="KID", default="", help="the id of a revoked key that may decrypt, too")
    given = parser.parse_args(argv)
    given.revoked = given.revoked.removeprefix("sgfp1:")
    if given.revoked == BOX.kid:
        parser.error("--revoked is the current key: promote a new one first")
    renew_row = renew_fernet if given.fernet else renew_aesgcm
    connection = sqlite3.connect(f"file:{given.database}?mode=rw", uri=True, timeout=60)
    for _ in range(PASSES):  # until a pass finds nothing: the service may write meanwhile
        old, refused = renew(connection, lambda row, stored: renew_row(row, stored, given.revoked))
        if not old:
            break
    for row, stored in [*refused.items()][:MOST_NAMED]:
        needed = "" if given.fernet else f" sgfp1:{BOX.kid_of(stored)}"
        print(f"row {row}: its key{needed} is not delivered or is revoked, or the row was changed")
    print(f"{old + len(refused)} rows are left under another key than the current one")
    if old:
        print("An instance still encrypts with an old key: let each one have the new key, then begin again")
    if old or refused:
        return 1
    previous = [key.kid for key in RING.stored() if key.role == "previous"]
    for kid in [given.revoked] if given.revoked else previous:
        print(f"To remove the old key, pass: --data-done {kid}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
