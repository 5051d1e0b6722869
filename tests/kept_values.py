"""A service whose secrets others issue, and values that must reach it unchanged."""

from __future__ import annotations

import json
import secrets

from values import block

MODEL = """
from datetime import timedelta
from functools import partial
from typing import Annotated

from pydantic import SecretStr

from robodj_secretguard import Material, SecretPolicy, SecretSettings

declared = partial(
    SecretPolicy, owner="Us", issuer="example", cadence=timedelta(days=90), warn_before=timedelta(days=14)
)


class Issued(SecretSettings):
    password: Annotated[SecretStr, declared(name="smtp", variable="SMTP_PASSWORD", material=Material.opaque())]
    database: Annotated[SecretStr, declared(name="db", variable="DATABASE_URL", material=Material.url("postgresql"))]
    signing: Annotated[SecretStr, declared(name="pem", variable="SIGNING_KEY", material=Material.pem())]
    cloud: Annotated[SecretStr, declared(name="cloud", variable="CLOUD_JSON", material=Material.json("private_key"))]
    extra: Annotated[
        SecretStr | None,
        declared(name="extra", variable="EXTRA_TOKEN", material=Material.opaque(), required=False),
    ]
"""
OPTIONS = ("--model", "issued_model:Issued")


def issued() -> dict[str, str]:
    """Make values of all its required secrets: with blanks, marks of comments, lines and indentation."""
    pem = block("PRIVATE KEY", b"\x30\x82\x02\x58\x02\x01\x00" + secrets.token_bytes(597)).strip()
    return {
        "SMTP_PASSWORD": f"#{secrets.token_urlsafe(12)} 'x\" \u00e9\\",
        "DATABASE_URL": f"postgresql://orders_rw:{secrets.token_urlsafe(12)}@db.internal:5432/orders?sslmode=require",
        "SIGNING_KEY": pem,
        "CLOUD_JSON": json.dumps({"type": "service_account", "private_key": f"{pem}\n"}, indent=4),
    }
