"""The secrets whose rotations the trial pastes: with slots and without, of this service and of a vendor."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import SecretStr

from robodj_secretguard import Generator, Material, RuntimeSecrets, SecretPolicy
from robodj_secretguard.secret.policy import least_material

DAYS = {"cadence": timedelta(days=90), "warn_before": timedelta(days=14)}
VENDOR = {"owner": "Orders team", "material": Material.opaque(minimum=16), "issuer": "https://vendor.example", **DAYS}


class ServiceSecrets(RuntimeSecrets):
    """RoboDJ's two keys, a key without an overlap, and two values of a vendor."""

    own_key: Annotated[
        SecretStr,
        SecretPolicy(
            name="own.key",
            variable="PLAN_OWN_KEY",
            file="config/own.key",
            material=least_material(32),
            generator=Generator("token_urlsafe", 32),
            owner="Orders team",
            **DAYS,
        ),
    ]
    once: Annotated[SecretStr, SecretPolicy(name="vendor.once", variable="PLAN_VENDOR_ONCE", **VENDOR)]
    slots: Annotated[
        SecretStr,
        SecretPolicy(name="vendor.slots", variable="PLAN_VENDOR_SLOTS", overlap=timedelta(days=7), **VENDOR),
    ]
