"""cryptography: encrypted files, and what is left under an old key. Run it: `python encrypted_config.py list config`.

Each file has the id of its key, `kid`, next to the encrypted text. So it stays readable after the deadline of the
previous key, as long as that key is delivered. In a rotation:

1. Promote the new key on every instance. Until then, `renew` would encrypt with the old key again.
2. `python encrypted_config.py renew config` encrypts each file with the current key. Repeat it after a failure.
3. `python encrypted_config.py list config` ends with status 0 when no file is under another key. Only then take the
   previous key away.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import InvalidToken

from robodj_secretguard import guard
from robodj_secretguard.adapters.fernet import RingFernet

secrets = guard()

LABEL = b"robodj example encrypted config v1"  # your service's name, and what the key is for
BOX = RingFernet(secrets.keyring("secret.key").derive(LABEL))
SUFFIX = ".encrypted.json"
OLD = "under an old key"


def write(path: Path, text: str) -> None:
    """Encrypt a text into a file. A reader sees the old file or the new one, never a part."""
    content = json.dumps({"kid": BOX.kid, "token": BOX.encrypt(text.encode()).decode()})
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(path: Path) -> str:
    """Return the text of a file. Raise `InvalidToken` if its key is not delivered, or if it was changed."""
    stored = _stored(path)
    return BOX.decrypt(stored.get("token", ""), kid=stored.get("kid", "")).decode()


def fault(path: Path) -> str:
    """Return what is wrong with a file; empty if it can be decrypted, with the current key."""
    try:
        read(path)
    except InvalidToken:
        return "cannot be decrypted: its key is not delivered, or it was changed"
    return OLD if _stored(path)["kid"] != BOX.kid else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Return 0 if all files are under the current key, otherwise 1, also if there are none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("list", "renew"))
    parser.add_argument("directory", type=Path, help=f"a directory with files named *{SUFFIX}")
    given = parser.parse_args(argv)
    files = sorted(given.directory.rglob(f"*{SUFFIX}"))
    for path in files:
        if given.command == "renew" and fault(path) == OLD:
            write(path, read(path))
    faults = {path: what for path in files if (what := fault(path))}
    for path, what in faults.items():
        print(f"{path}: {what}")
    print(f"{len(files) - len(faults)} of {len(files)} files are under the current key")
    return int(bool(faults) or not files)


def _stored(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return {name: str(value) for name, value in content.items()} if isinstance(content, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
