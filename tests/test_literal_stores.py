"""The literal table for the stores on this machine: each fault, in each world, is corrected by what its lines say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import posix_only, put
from literal import FAULTS, HELPER, WORLDS, assert_corrected, site_at

pytestmark = posix_only
STORES = ("directory", "envfile", "exec")


def source_at(root: Path, kind: str) -> str:
    """Return a store of a kind, which has nothing."""
    if kind == "exec":
        put(root / "helper", HELPER, 0o700)
    names = {"directory": "secrets", "envfile": "service.env", "exec": "helper"}
    return f"{kind}:{root / names[kind]}"


def cells() -> Iterator[Any]:
    """Yield each cell of the table. The ordinary run has those of an environment file, which need no wait."""
    for kind in STORES:
        for fault in FAULTS:
            for world in WORLDS:
                for has_keys in (False, True):
                    is_fast = kind == "envfile" or (world, fault) == ("earlier", "missing")
                    marks = () if is_fast and not has_keys else pytest.mark.full
                    name = f"{kind}-{fault}-{world}-{'keys' if has_keys else 'no keys'}"
                    yield pytest.param(kind, fault, world, has_keys, id=name, marks=marks)


@pytest.mark.parametrize(("kind", "fault", "world", "has_keys"), [*cells()])
def test_each_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fault: str, world: str, *, has_keys: bool
) -> None:
    """Doing what the lines say, and nothing else, corrects the fault, and brings no older or revoked key back."""
    monkeypatch.chdir(tmp_path)
    assert_corrected(site_at(tmp_path, source_at(tmp_path, kind)), fault, world, has_keys=has_keys)
