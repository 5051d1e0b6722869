"""The secrets of the three services. OpenBao Agent writes `DATABASE_URL` into their directory."""

from datetime import timedelta
from typing import Annotated

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings, guard


class ShopSecrets(SecretSettings, refresh=timedelta(seconds=1)):
    """A period is shorter than the time in which the old user and the new one exist."""

    database_url: Annotated[Secret, SecretPolicy(material=Material.url("postgresql"))]


secrets = guard(ShopSecrets)
