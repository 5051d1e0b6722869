"""A copy of the example service's repository, as its developer has it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import fingerprint_of
from conftest import V1, V2

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = {V1: "secret.key", V2: "secret_v2.key"}
FILES_ON = {"ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "true"}


def copy_service(copy: Path) -> Path:
    """Copy the repository, and return the path of the copy."""
    shutil.copytree(EXAMPLES / "robodj_service", copy, ignore=shutil.ignore_patterns("__pycache__", "*.key"))
    (copy / "config").chmod(0o755)
    return copy


def copy_templates(repository: Path, keys: Mapping[str, str] | None = None) -> None:
    """Copy each template to its key file. If keys are given, replace the placeholder lines with them."""
    for variable, name in FILES.items():
        text = (repository / "config" / f"{name}.example").read_text(encoding="utf-8")
        (placeholder,) = (line for line in text.splitlines() if not line.startswith("#"))
        copy = repository / "config" / name
        copy.write_text(text.replace(placeholder, keys[variable]) if keys else text, encoding="utf-8")
        copy.chmod(0o600)


def revoke(repository: Path, key: str) -> None:
    """Add a key to the repository's revocation list."""
    with (repository / "config" / "revoked.fingerprints").open("a", encoding="utf-8") as file:
        file.write(f"{fingerprint_of(key)}\n")
