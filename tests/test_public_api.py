"""The public API."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

import robodj_secretguard

EXPORTED = """
Check Fault Finding Generator Kind Length Material Report RevocationStatus RuntimeSecrets SecretPolicy SecretSettings
SecretStatus Severity State check guard
"""


def test_exactly_these_names_are_exported() -> None:
    """The public API has exactly these sorted names."""
    assert robodj_secretguard.__all__ == EXPORTED.split()
    assert all(hasattr(robodj_secretguard, name) for name in robodj_secretguard.__all__)


PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")


def test_the_page_has_every_exported_name() -> None:
    """The page of the Python API has every exported name."""
    assert {*EXPORTED.split()} - {*re.findall(r"^\.\. auto\w+:: (\w+)", PAGE, re.MULTILINE)} == set()


@pytest.mark.parametrize("name", re.findall(r"^\.\. auto\w+:: (robodj_secretguard\.[\w.]+)", PAGE, re.MULTILINE))
def test_each_name_on_the_page_exists(name: str) -> None:
    """What the page of the Python API names can be imported, and has a docstring."""
    assert pkgutil.resolve_name(name).__doc__


def test_each_member_on_the_page_exists() -> None:
    """A member that the page names is a member of its class."""
    members = re.findall(r"^\.\. autoclass:: (robodj[\w.]+).*\n   :members: (.+)", PAGE, re.MULTILINE)
    missing = [
        f"{owner}.{name}"
        for owner, names in members
        for name in names.split(", ")
        if not hasattr(pkgutil.resolve_name(owner), name)
    ]
    assert (missing, bool(members)) == ([], True)
