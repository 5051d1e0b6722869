"""The settings model of the service that the trials run: the shipped secrets, and one that others issue."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

from robodj_secretguard import Material, RuntimeSecrets, Secret, SecretPolicy

DATABASE: Final = "DATABASE_URL"


class ServiceSecrets(RuntimeSecrets):
    """Two keys, of which the first one is rotated, and the address of a database."""

    database_url: Annotated[Secret, SecretPolicy(material=Material.url("postgresql"))]


def address() -> str:
    """Make the address of a database with a new password."""
    return f"postgresql://service:{secrets.token_urlsafe(24)}@db.internal/shop"
