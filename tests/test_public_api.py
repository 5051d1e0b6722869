"""The public API."""

from __future__ import annotations

import pkgutil
import re
import sys
from importlib import import_module

from api_page import CONTENT, NAME, page_of_api

import robodj_secretguard
import robodj_secretguard.adapters

EXPORTED = """
Check Fault Finding Generator Key Kind Length Material Report RevocationStatus RuntimeSecrets Secret SecretPolicy
SecretSettings SecretStatus Severity State check guard
"""


def test_exactly_these_names_are_exported() -> None:
    """The public API has exactly these sorted names."""
    assert robodj_secretguard.__all__ == EXPORTED.split()
    assert all(hasattr(robodj_secretguard, name) for name in robodj_secretguard.__all__)
    assert {*EXPORTED.split()} <= {*dir(robodj_secretguard)}
    del sys.modules["robodj_secretguard"].errors
    assert issubclass(robodj_secretguard.errors.UsageError, Exception)


NAMED = {line.partition(": ")[0] for line in CONTENT.splitlines() if NAME.match(line)}
"""What docs/api.md describes."""
WHOLE: tuple[str, ...] = ("adapters.aesgcm", "adapters.django", "adapters.fastapi", "adapters.fernet", "adapters.flask")
WHOLE += ("adapters.asyncpg", "adapters.django_database", "adapters.psycopg", "adapters.redis", "adapters.sqlalchemy")
WHOLE += ("adapters.boto3", "adapters.httpx", "adapters.requests", "adapters.smtp")
WHOLE += ("adapters.itsdangerous", "adapters.jwt", "adapters.prometheus", "adapters.starlette", "errors")
WHOLE += ("running.redact",)
"""The modules in which everything without an underscore is public. Their names are those of the frameworks."""


def test_the_page_has_every_public_name() -> None:
    """The page of the Python API has every exported name, the adapters, the errors, the redaction and the fixtures."""
    modules = [import_module(f"robodj_secretguard.{name}") for name in WHOLE]
    public = {
        f"{name}.{each}"
        for name, module in zip(WHOLE, modules, strict=True)
        for each, value in vars(module).items()
        if each[0] != "_" and getattr(value, "__module__", "") == module.__name__
    }
    fixtures = {f"pytest_robodj_secretguard.{name}" for name in ("robodj_secrets", "bad_robodj_secret", "BadSecret")}
    assert {*EXPORTED.split(), *public, *fixtures, "testing.bad_secret", "testing.set_clock"} - NAMED == set()
    adapters = {f"adapters.{module.name}" for module in pkgutil.iter_modules(robodj_secretguard.adapters.__path__)}
    assert adapters - {"adapters.live", "adapters.databases", "adapters.origins"} == {
        name for name in WHOLE if name.startswith("adapters.")
    }


def test_everything_on_the_page_is_described() -> None:
    """Each name on the page has a docstring, and so has each member."""
    page = page_of_api()
    assert re.findall(r"^###+ (\S+)\n\n(?:`.*`\n\n)?(?=#)", page, re.MULTILINE) == []
    assert page.count("\n### ") == len(NAMED)
