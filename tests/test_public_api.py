"""The public API."""

from __future__ import annotations

import re
from pathlib import Path

import robodj_secretguard

EXPORTED = """
Check Finding Generator Length Material Report RevocationStatus RuntimeSecrets SecretPolicy SecretSettings SecretStatus
Severity State check guard
"""


def test_the_exported_names() -> None:
    """The public API has exactly these sorted names."""
    assert robodj_secretguard.__all__ == EXPORTED.split()
    assert all(hasattr(robodj_secretguard, name) for name in robodj_secretguard.__all__)


def test_the_page_of_the_api() -> None:
    """The page of the Python API has every exported name."""
    page = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    assert {*EXPORTED.split()} - {*re.findall(r"^\.\. auto\w+:: (\w+)", page, re.MULTILINE)} == set()
