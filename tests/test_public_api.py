"""The public API."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

import robodj_secretguard
import robodj_secretguard.adapters

EXPORTED = """
Check Fault Finding Generator Kind Length Material Report RevocationStatus RuntimeSecrets SecretPolicy SecretSettings
SecretStatus Severity State check guard
"""


def test_exactly_these_names_are_exported() -> None:
    """The public API has exactly these sorted names."""
    assert robodj_secretguard.__all__ == EXPORTED.split()
    assert all(hasattr(robodj_secretguard, name) for name in robodj_secretguard.__all__)


PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")


NAMED = {*re.findall(r"^\.\. auto\w+:: ([\w.]+)", PAGE, re.MULTILINE)}
"""What the page describes."""
WHOLE: tuple[str, ...] = ("adapters.aesgcm", "adapters.django", "adapters.fastapi", "adapters.fernet", "adapters.flask")
WHOLE += ("adapters.itsdangerous", "adapters.jwt", "adapters.prometheus", "adapters.starlette", "redact")
"""The modules in which everything without an underscore is public. Their names are those of the frameworks."""


def test_the_page_has_every_public_name() -> None:
    """The page of the Python API has every exported name, the adapters, the redaction, the fixtures and the errors."""
    modules = [import_module(f"robodj_secretguard.{name}") for name in WHOLE]
    public = {
        f"{module.__name__}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", "") == module.__name__
    }
    fixtures = {f"pytest_robodj_secretguard.{name}" for name in ("robodj_secrets", "bad_robodj_secret", "BadSecret")}
    others = {
        f"robodj_secretguard.{name}" for name in ("errors", "testing.bad_secret", "testing.KINDS", "version.VERSION")
    }
    assert {*EXPORTED.split(), *public, *fixtures, *others} - NAMED == set()
    adapters = {f"adapters.{module.name}" for module in pkgutil.iter_modules(robodj_secretguard.adapters.__path__)}
    assert adapters - {"adapters.live"} == {name for name in WHOLE if name.startswith("adapters.")}


@pytest.mark.parametrize("name", sorted(name for name in NAMED if "." in name))
def test_each_name_on_the_page_exists(name: str) -> None:
    """What the page of the Python API names can be imported, and has a docstring."""
    described = pkgutil.resolve_name(name)
    assert described.__doc__ or f".. autodata:: {name}\n" in PAGE


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
