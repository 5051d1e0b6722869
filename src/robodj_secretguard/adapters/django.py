"""Django: `SECRET_KEY` and `SECRET_KEY_FALLBACKS`, from version 4.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.adapters.live import FallbackKeys, masked

if TYPE_CHECKING:
    from robodj_secretguard.keyring import Keyring


def secret_keys(ring: Keyring) -> tuple[str, list[str]]:
    """Return Django's two settings: the key that signs, and the keys that only verify.

    Write `SECRET_KEY, SECRET_KEY_FALLBACKS = secret_keys(ring)` in the settings module. The second one is a list that
    Django reads at each use. So the previous key verifies nothing after its deadline, also in a running process.
    The repr of both is masked: `diffsettings` and the debug page show no key. Neither is pickled.

    `check --deploy` warns about keys of fewer than 50 characters (`security.W009`, `security.W025`). A derived key has
    44, for 32 random bytes. Silence both checks: the guard judges the keys.

    Args:
        ring: the keys. A derived ring keeps the secret itself out of Django's settings.
    """
    return masked(ring.current), FallbackKeys(ring)
