"""The right values of the trial's secrets, and how they reach the service."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Final

from conftest import V1, V2, good_keys, put
from issued_servers import ACCOUNT, DATABASE, MAILER, USER, Issued, pem_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES: Final = {
    V1: "secret.key",
    V2: "secret_v2.key",
    "ORDERS_DATABASE_URL": "database.url",
    "ORDERS_REDIS_URL": "cache.url",
    "ORDERS_SMTP_URL": "mail.url",
    "ORDERS_SIGNING_PEM": "signing.pem",
    "ORDERS_STRIPE_KEY": "payments.key",
    "ORDERS_STORAGE_JSON": "storage.json",
    "ORDERS_WEBHOOK_KEY": "webhook.key",
}
"""The name of the secret of each variable, which is also the name of its fallback file."""
OPTIONAL: Final = "ORDERS_WEBHOOK_KEY"


def right_values(issued: Issued) -> dict[str, str]:
    """Return what the servers accept, and new keys of the service's own."""
    at = {name: f"127.0.0.1:{port}" for name, port in issued.ports.items()}
    account = {"type": "service_account", "client_email": ACCOUNT, "private_key": pem_of(issued.storage)}
    return good_keys() | {
        "ORDERS_DATABASE_URL": f"postgresql://{USER}:{issued.database}@{at['database']}/{DATABASE}",
        "ORDERS_REDIS_URL": f"redis://default:{issued.cache}@{at['cache']}/0",
        "ORDERS_SMTP_URL": f"smtp://{MAILER.replace('@', '%40')}:{issued.mail}@{at['mail']}",
        "ORDERS_SIGNING_PEM": pem_of(issued.signing),
        "ORDERS_STRIPE_KEY": issued.payments,
        "ORDERS_STORAGE_JSON": json.dumps(account, indent=2),
        OPTIONAL: f"whsec_{secrets.token_urlsafe(24)}",
    }


def in_environment(values: Mapping[str, str], _cwd: Path) -> dict[str, str]:
    """Deliver the values by the environment."""
    return dict(values)


def in_secrets_directory(values: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """Deliver the values by a directory of files that are named after the variables."""
    (cwd / "run").mkdir(mode=0o750)
    for variable, value in values.items():
        put(cwd / "run" / variable, value if value.endswith("\n") else f"{value}\n")
    return {"ROBODJ_SECRETS_DIR": str(cwd / "run")}


def in_fallback_files(values: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """Deliver the values by fallback files below the working directory."""
    (cwd / "config").mkdir(mode=0o700)
    for variable, value in values.items():
        put(cwd / "config" / FILES[variable], value if value.endswith("\n") else f"{value}\n")
    return {}
