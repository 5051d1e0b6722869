"""cryptography: encrypted files, and what is left under an old key. Run it: `python encrypted_config.py list config`.

Each file begins with the id of its key, `kid`. So it stays readable after the deadline of the previous key, as long as
that key is delivered and not revoked. Its name is authenticated: no file passes for another one. In a rotation:

1. Promote the new key on every instance. Until then, `renew` would encrypt with the old key again.
2. `python encrypted_config.py renew config` encrypts each file with the current key. Repeat it after a failure.
3. `python encrypted_config.py list config` ends with status 0 when no file is under another key. Only then take the
   previous key away.

After a leak, deliver the old key as the previous one, and use `renew --revoked config`. Whoever has the old key could
have written such a file: compare it with its origin.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag

from robodj_secretguard import guard
from robodj_secretguard.adapters.aesgcm import RingAESGCM

secrets = guard()

LABEL = b"robodj example encrypted config v1"  # your service's name, and what the key is for
BOX = RingAESGCM(secrets.secret_key.derive(LABEL))
SUFFIX = ".encrypted"
OLD = "under an old key"


def write(path: Path, text: str) -> None:
    """Encrypt a text into a file. A reader sees the old file or the new one, never a part."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        file.write(BOX.encrypt(text.encode(), path.name.encode()))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(path: Path, *, revoked: bool = False) -> str:
    """Return the text of a file. Raise `InvalidTag` if its key is not delivered or is revoked, or if it was changed."""
    return BOX.decrypt(path.read_bytes(), path.name.encode(), revoked=revoked).decode()


def fault(path: Path, *, revoked: bool = False) -> str:
    """Return what is wrong with a file; empty if it can be decrypted, with the current key."""
    try:
        read(path, revoked=revoked)
    except InvalidTag:
        return "cannot be decrypted: its key is not delivered or is revoked, or it was changed"
    return OLD if BOX.kid_of(path.read_bytes()) != BOX.kid else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Return 0 if all files are under the current key, otherwise 1, also if there are none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("list", "renew"))
    parser.add_argument("directory", type=Path, help=f"a directory with files named *{SUFFIX}")
    parser.add_argument("--revoked", action="store_true", help="also decrypt with a revoked key")
    given = parser.parse_args(argv)
    files = sorted(given.directory.rglob(f"*{SUFFIX}"))
    for path in files:
        if given.command == "renew" and fault(path, revoked=given.revoked) == OLD:
            write(path, read(path, revoked=given.revoked))
    faults = {path: what for path in files if (what := fault(path, revoked=given.revoked))}
    for path, what in faults.items():
        print(f"{path}: {what}")
    print(f"{len(files) - len(faults)} of {len(files)} files are under the current key")
    return int(bool(faults) or not files)


if __name__ == "__main__":
    sys.exit(main())
