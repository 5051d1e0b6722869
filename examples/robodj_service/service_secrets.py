"""The service's secrets and their set-up.

Commands and tests import this module: do not call `guard()` in it.
"""

from pathlib import Path

from robodj_secretguard import RuntimeSecrets

HERE = Path(__file__).resolve().parent


class ServiceSecrets(
    RuntimeSecrets,
    config_dir=HERE / "config",
    require_revocation_list=True,
    file_fallback=False,
):
    """The secrets of this service."""
