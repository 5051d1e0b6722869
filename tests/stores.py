"""Helper programs and stores for the tests."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

from conftest import failure_of

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.managers.manager import ABSENT, AbsentError, Store, Stored, open_store, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Failure

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
SECONDS = 5.0
SIMPLE = """
case "$1" in
get) [ -f store ] || exit 66; cat store;;
set) cat >new; mv new store;;
esac
"""
"""It does not compare, and keeps no versions."""
COMPARING = f"""
exec {sys.executable} -I -c '
import json, os, sys
kept = sorted(os.listdir("kept"), key=int) if os.path.isdir("kept") else []
command, *which = sys.argv[1:]
if command == "get":
    if not kept:
        sys.exit(66)
    name = (which or kept[-1:])[0]
    fields = json.load(open(f"kept/{{name}}"))
    print(json.dumps({{"fields": fields, "version": name, "versions": kept[::-1]}}))
else:
    given = json.load(sys.stdin)
    if given["version"] != (kept[-1] if kept else None):
        sys.exit(73)
    os.makedirs("kept", exist_ok=True)
    json.dump(given["fields"], open("new", "w"))
    os.replace("new", "kept/%d" % (len(kept) + 1))
' "$@"
"""
"""It compares, and keeps every version."""


def new_text() -> str:
    """Make a value that every store can have."""
    return secrets.token_urlsafe(32)


def helper_at(directory: Path, script: str = SIMPLE, *, single_writer: bool = True) -> Store:
    """Write a helper program, and return its store."""
    program = directory / "keys"
    program.write_text(f"#!/bin/sh\numask 077\n{script}", encoding="utf-8")
    program.chmod(0o700)
    return opened(f"exec:{program}", single_writer=single_writer)


def opened(source: str, *, single_writer: bool = True) -> Store:
    """Return the store of a source, for the two declared secrets."""
    return open_store(source, POLICIES, single_writer=single_writer)


def found_in(store: Store) -> Stored:
    """Return what a store has; `ABSENT` for nothing."""
    try:
        return store.within(SECONDS, store.current)
    except AbsentError:
        return ABSENT


def fields_in(store: Store) -> dict[str, object]:
    """Return the fields of a store that have a text."""
    return {name: text for name, text in found_in(store).opened().items() if text is not None}


def write(store: Store, fields: Mapping[str, object], current: Stored | None = None) -> None:
    """Write fields beside those that a store has, after a version; `None` for the present one."""
    now = found_in(store)
    new = {name: text for name, text in {**now.opened(), **fields}.items() if text is not None or name not in fields}
    store.within(SECONDS, lambda: store.write(sealed(new), now if current is None else current))


def refusal(store: Store, fields: Mapping[str, object], current: Stored | None = None) -> Failure:
    """Return why fields are not written."""
    return failure_of(lambda: write(store, fields, current))


def versions_of(store: Store) -> list[dict[str, object]]:
    """Return the fields of each version that have a text, the newest first."""
    found = [store.version(name).opened() for name in store.versions()]
    return [{name: text for name, text in each.items() if text is not None} for each in found]
