"""Directories of files, as engines publish them, and the sets of keys that they publish."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from command_line import fingerprint_of
from conftest import V1, V2, good_keys, marker, put

Files = Mapping[str, str | bytes]
"""The files of a set, by their names."""
Set = dict[str, str | bytes]

NEXT, PREVIOUS, UNTIL, EXPIRES = f"{V1}_NEXT", f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL", f"{V1}_EXPIRES_AT"
REVOKED: Final = "ROBODJ_REVOKED_FINGERPRINTS"


# Engines


def volume(path: Path, files: Files) -> None:
    """Replace all files by one link, as the kubelet does, and remove the old directory."""
    data = path / "..data"
    old = data.resolve() if data.exists() else None
    version = path / f"..{time.time_ns()}"
    version.mkdir(parents=True)
    for name, content in files.items():
        put(version / name, content)
    (path / "..data_tmp").symlink_to(version.name)
    (path / "..data_tmp").replace(data)
    for name in [each for each in os.listdir(path) if not each.startswith("..") and each not in files]:
        (path / name).unlink()
    for name in files:
        if not os.path.lexists(path / name):
            (path / name).symlink_to(f"..data/{name}")
    if old:
        shutil.rmtree(old)


def linked(path: Path, files: Files) -> None:
    """Replace a link to a directory."""
    version = path.with_name(f"v{time.time_ns()}")
    renamed(version, files)
    path.with_name("new").symlink_to(version.name)
    path.with_name("new").replace(path)


def moved(path: Path, files: Files) -> None:
    """Move another directory to the place of this one."""
    version = path.with_name(f"v{time.time_ns()}")
    renamed(version, files)
    if path.exists():
        path.rename(path.with_name(f"old-{version.name}"))
    version.rename(path)


def renamed(path: Path, files: Files) -> None:
    """Replace each file, one after the other, as an agent does. Remove the others."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        put(path / ".new", content).replace(path / name)
    for other in {*os.listdir(path)} - {*files}:
        (path / other).unlink()


# Sets


def ahead(**delta: float) -> str:
    """Return the instant that is so far ahead of now."""
    return marker(timedelta(**delta), now=datetime.now(UTC).replace(microsecond=0))


def first() -> Set:
    """Make the first set of a service."""
    return {**good_keys()}


def text_of(files: Files, name: str) -> str:
    """Return the text of a file."""
    content = files[name]
    assert isinstance(content, str)
    return content


def without(files: Files, *names: str) -> Set:
    """Return a set without some files."""
    return {name: content for name, content in files.items() if name not in names}


def staged(files: Files) -> Set:
    """Add a next key."""
    return {**files, NEXT: good_keys()[V1]}


def promoted(files: Files, **until: float) -> Set:
    """Make the next key the current one, and the current one the previous one, for so long (by default 7 days)."""
    ends = ahead(**(until or {"days": 7}))
    entry = f"{fingerprint_of(text_of(files, V1))}@{ends}"
    kept = without(files, NEXT)
    return {**kept, V1: files[NEXT], PREVIOUS: files[V1], UNTIL: ends, REVOKED: _listed(files, entry)}


def retired(files: Files) -> Set:
    """Take the previous key away."""
    return without(files, PREVIOUS, UNTIL)


def back(files: Files) -> Set:
    """Make the previous key the current one again, and the current one the next one."""
    return {**without(files, PREVIOUS, UNTIL), V1: files[PREVIOUS], NEXT: files[V1]}


def replaced(files: Files) -> Set:
    """Replace the current key in an emergency, and revoke it."""
    return {**without(revoking(files, V1), NEXT, PREVIOUS, UNTIL), V1: good_keys()[V1]}


def revoking(files: Files, name: str, at: str = "") -> Set:
    """Revoke the key of a variable, with `@` and an instant only from then on."""
    return {**files, REVOKED: _listed(files, f"{fingerprint_of(text_of(files, name))}{at}")}


def _listed(files: Files, entry: str) -> str:
    return ",".join([*filter(None, [text_of(files, REVOKED) if REVOKED in files else ""]), entry])


BAD: Final[dict[str, tuple[Callable[[Files], Set], str]]] = {
    "placeholder": (lambda files: {**files, V1: "changeme-changeme-changeme-changeme-changeme"}, "placeholder"),
    "cut": (lambda files: {**files, V2: text_of(files, V2)[:40]}, "format"),
    "half of a next key": (lambda files: {**files, NEXT: good_keys()[V1][:21]}, "format"),
    "empty directory": (lambda _: {}, "missing"),
    "one file of two": (lambda files: without(files, V2), "missing"),
    "empty file": (lambda files: {**files, V2: ""}, "missing"),
    "two lines": (lambda files: {**files, V1: f"{good_keys()[V1]}\n{good_keys()[V1]}\n"}, "format"),
    "garbage": (lambda files: {**files, V1: b"\xff\xfe\0" + secrets.token_bytes(100)}, "source"),
    "zero bytes": (lambda files: {**files, V1: bytes(64)}, "source"),
    "1 MiB": (lambda files: {**files, V1: secrets.token_hex(1 << 19)}, "source"),
    "larger than 1 MiB": (lambda files: {**files, V1: secrets.token_hex(1 << 20)}, "source"),
    "staging": (lambda _: first(), "discontinuous"),
    "last month": (lambda files: {**files, V1: good_keys()[V1], PREVIOUS: good_keys()[V1], UNTIL: ahead(days=5)},
                   "discontinuous"),
    "expired new key": (lambda files: {**promoted(staged(files)), EXPIRES: ahead(days=-1)}, "expired"),
    "previous key without a deadline": (lambda files: without(promoted(staged(files)), UNTIL), "previous-until"),
    "one key twice": (lambda files: {**files, V1: files[V2]}, "shared"),
    "revoked new key": (lambda files: revoking(promoted(staged(files)), V1), "revoked"),
    "invalid revocation list": (lambda files: {**files, REVOKED: "sgfp1:0"}, "revocation-list"),
}  # fmt: skip
"""Sets that are published in place of one that is in use, and the check that refuses each."""
