"""Django: `SECRET_KEY` and `SECRET_KEY_FALLBACKS`, from version 4.1, and a health endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.conf import settings

from robodj_secretguard.adapters.live import FallbackKeys, kept_text
from robodj_secretguard.running.store import Secret
from robodj_secretguard.settings import SecretSettings

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def secret_keys(ring: Secret) -> tuple[str, list[str]]:
    """Return Django's two settings: the key that signs, and the keys that verify.

    Write `SECRET_KEY, SECRET_KEY_FALLBACKS = secret_keys(ring)` in the settings module. Both follow the ring: Django
    signs with the key that is current in each operation, and verifies with the keys that are accepted then. So the
    previous key verifies nothing after its deadline, also in a running process. At each switch of keys, `SECRET_KEY` is
    set again, if it still has this key. The fallbacks have the current key, too, so that no valid signature is refused
    during a switch. The repr of both is masked: `diffsettings` and the debug page show no key. Neither is pickled.

    `manage.py check --deploy` warns about keys of fewer than 50 characters (`security.W009`, `security.W025`). A
    derived key has 44, for 32 random bytes. Silence both checks: the guard judges the keys.

    Args:
        ring: the keys. A derived ring keeps the secret itself out of Django's settings.
    """
    return kept_text(ring, lambda: settings if settings.configured else None, "SECRET_KEY"), FallbackKeys(ring)


def ready(secrets: SecretSettings) -> Callable[[HttpRequest], HttpResponse]:
    """Return the view of a health endpoint.

    Write `path("ready", ready(secrets))`. The response is the name of the state,
    with status 503 for `ending`, and 200 otherwise.

    Args:
        secrets: what `guard()` returned.
    """

    def answer(_request: HttpRequest) -> HttpResponse:
        from django.http import HttpResponse  # noqa: PLC0415 - a settings module imports this one

        state = secrets.state()
        return HttpResponse(state.name, content_type="text/plain", status=state.http_status)

    return answer
