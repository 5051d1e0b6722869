"""The service's secrets and their set-up.

Commands and tests import this module: do not call `guard()` in it.
"""

from __future__ import annotations

from pathlib import Path

from robodj_secretguard import RuntimeSecrets

HERE = Path(__file__).resolve().parent


class ServiceSecrets(
    RuntimeSecrets,
    config_dir=HERE / "config",
    file_fallback=False,
    require_revocation_list=True,
):
    """The two runtime secrets, and where their revocation list is."""
