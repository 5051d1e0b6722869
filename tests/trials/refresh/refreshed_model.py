"""The settings model of the service that the trial runs: short periods, and keys from a directory."""

import os
from datetime import timedelta
from typing import Annotated, Final

from robodj_secretguard import RuntimeSecrets, Secret, SecretSettings

PERIOD: Final = timedelta(seconds=2)
OVERLAP: Final = timedelta(seconds=40)
_SHIPPED: Final = RuntimeSecrets.secret_policies


class ServiceSecrets(
    SecretSettings, secrets_dir=os.environ.get("TRIAL_SECRETS", "/run/secrets/robodj"), refresh=PERIOD
):
    """The shipped secrets, of which the first one is rotated in seconds."""

    secret_key: Annotated[Secret, _SHIPPED["secret_key"]._replace(overlap=OVERLAP)]
    secret_v2_key: Annotated[Secret, _SHIPPED["secret_v2_key"]]
