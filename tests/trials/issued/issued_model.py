"""The secrets of a service that uses what others issue: one of each kind, and an optional one."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import SecretStr

from robodj_secretguard import Material, RuntimeSecrets, SecretPolicy


def issued(name: str, variable: str, material: Any, issuer: str, **more: Any) -> SecretPolicy:
    """Declare a secret that somebody else issues."""
    year, month = timedelta(days=365), timedelta(days=30)
    return SecretPolicy(
        name=name,
        variable=variable,
        material=material,
        issuer=issuer,
        owner="Orders team",
        cadence=year,
        warn_before=month,
        **more,
    )


class ServiceSecrets(RuntimeSecrets):
    """RoboDJ's two keys, and seven that others issue."""

    database: Annotated[
        SecretStr,
        issued("database.url", "ORDERS_DATABASE_URL", Material.url("postgresql", "postgres"), "the database team"),
    ]
    cache: Annotated[
        SecretStr, issued("cache.url", "ORDERS_REDIS_URL", Material.url("redis", "rediss"), "the platform team")
    ]
    mail: Annotated[SecretStr, issued("mail.url", "ORDERS_SMTP_URL", Material.url("smtp", "smtps"), "the mail team")]
    signing: Annotated[SecretStr, issued("signing.pem", "ORDERS_SIGNING_PEM", Material.pem(), "the identity team")]
    payments: Annotated[
        SecretStr,
        issued("payments.key", "ORDERS_STRIPE_KEY", Material.opaque(prefix="sk_live_"), "https://stripe.example/keys"),
    ]
    storage: Annotated[
        SecretStr,
        issued(
            "storage.json",
            "ORDERS_STORAGE_JSON",
            Material.json("private_key", "client_email"),
            "https://cloud.example/keys",
        ),
    ]
    webhook: Annotated[
        SecretStr | None,
        issued(
            "webhook.key",
            "ORDERS_WEBHOOK_KEY",
            Material.opaque(prefix="whsec_"),
            "https://hooks.example/keys",
            required=False,
        ),
    ]
