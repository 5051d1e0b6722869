"""A secrets directory as Kubernetes writes it: one link leads to all files, so that a change replaces all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import put

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def deliver(place: Path, variables: Mapping[str, str]) -> None:
    """Replace the files of a secrets directory, each of which has the name of a variable."""
    place.mkdir(mode=0o700, exist_ok=True)
    version = place / f"..{len([*place.iterdir()])}"
    version.mkdir(mode=0o700)
    for name, value in variables.items():
        put(version / name, value)
    (place / "..new").symlink_to(version.name)
    (place / "..new").replace(place / "..data")
