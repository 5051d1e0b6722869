"""cryptography: encrypted files, and what is left under an old key. Run it: `python encrypted_config.py list config`.

Each file begins with the id of its key, `kid`. So it stays readable after the deadline of the previous key, as long as
that key is delivered and not revoked. Its name is authenticated: no file passes for another one. In a rotation:

1. Promote the new key on every instance. Until then, `renew` would encrypt with the old key again.
2. `python encrypted_config.py renew config` encrypts each file with the current key. Repeat it after a failure.
3. `python encrypted_config.py list config` ends with status 0 when no file is under another key, and prints what to
   pass to the rotation. Only then remove the previous key.

After a leak, deliver the old key as the previous one, and use `renew --revoked KID config` with its id. Whoever has the
old key could have written such a file: compare it with its origin.
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


def read(path: Path, revoked: str = "") -> str:
    """Return the text of a file. Raise `InvalidTag` if its key is not delivered or is revoked, or if it was changed."""
    stored = path.read_bytes()
    return BOX.decrypt(stored, path.name.encode(), revoked=BOX.kid_of(stored) == revoked).decode()


def fault(path: Path, revoked: str = "") -> str:
    """Return what is wrong with a file; empty if it can be decrypted, with the current key."""
    try:
        read(path, revoked)
    except InvalidTag:
        return "cannot be decrypted: its key is not delivered or is revoked, or it was changed"
    return OLD if BOX.kid_of(path.read_bytes()) != BOX.kid else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Return 0 if all files are under the current key, otherwise 1, also if there are none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("list", "renew"))
    parser.add_argument("directory", type=Path, help=f"a directory with files named *{SUFFIX}")
    parser.add_argument("--revoked", metavar="KID", default="", help="the id of a revoked key that may decrypt, too")
    given = parser.parse_args(argv)
    given.revoked = given.revoked.removeprefix("sgfp1:")
    if given.revoked == BOX.kid:
        parser.error("--revoked is the current key: promote a new one first")
    files = sorted(given.directory.rglob(f"*{SUFFIX}"))
    for path in files:
        if given.command == "renew" and fault(path, given.revoked) == OLD:
            write(path, read(path, given.revoked))
    faults = {path: what for path in files if (what := fault(path, given.revoked))}
    for path, what in faults.items():
        print(f"{path}: {what}")
    print(f"{len(files) - len(faults)} of {len(files)} files are under the current key")
    if faults or not files:
        return 1
    previous = [key.kid for key in secrets.secret_key.stored() if key.role == "previous"]
    for kid in [given.revoked] if given.revoked else previous:
        print(f"To remove the old key, pass: --data-done {kid}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
