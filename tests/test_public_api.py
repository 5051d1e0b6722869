"""The public API."""

from __future__ import annotations

import robodj_secretguard

EXPORTED = """
Check Finding Generator Length Material Report RevocationStatus RuntimeSecrets SecretPolicy SecretSettings SecretStatus
Severity State check guard
"""


def test_the_exported_names() -> None:
    """The public API has exactly these sorted names."""
    assert robodj_secretguard.__all__ == EXPORTED.split()
    assert all(hasattr(robodj_secretguard, name) for name in robodj_secretguard.__all__)
