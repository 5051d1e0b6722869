"""The secrets whose rotation the trial pastes. A directory is followed; from any other store, services are started."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Annotated, Final

from robodj_secretguard import Secret, SecretPolicy, SecretSettings

OVERLAP: Final = timedelta(seconds=12)
REFRESH: Final = timedelta(seconds=1)
FOLLOWED: Final = os.environ.get("PLAN_DIRECTORY")


class ServiceSecrets(SecretSettings, secrets_dir=FOLLOWED, refresh=REFRESH if FOLLOWED else None):
    """A key that is rotated in seconds."""

    session_key: Annotated[
        Secret,
        SecretPolicy(overlap=OVERLAP, cadence=timedelta(days=2), warn_before=timedelta(days=1), stores_data=False),
    ]
