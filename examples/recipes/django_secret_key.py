"""Django: a settings module. Check it: `python -m django check --deploy --settings django_secret_key`.

Every `manage.py` command imports it, so a bad key refuses each with status 3. In the autoreloader's child the status is
4, because 3 means "reload" there. Django keeps its key in `settings.SECRET_KEY` and signs everything with it: sessions,
password resets, messages. So it gets a derived key: `secret.key` cannot be computed from it. Django calls `str()` on
the setting, and a secret refuses that. A `DEBUG` page hides settings with KEY, SECRET, TOKEN or PASS in their names. It
shows other settings, and the locals of your functions.
"""

import hmac

from pydantic import SecretStr

from robodj_secretguard import guard

secrets = guard()  # in lower case, because Django takes upper-case names as settings

LABEL = b"robodj example django v1"  # your service's name, and what the key is for


def signing_key(secret: SecretStr) -> str:
    """Derive the key that Django signs with: 64 characters. Django requires at least 50."""
    return hmac.digest(secret.get_secret_value().encode(), LABEL, "sha256").hex()


SECRET_KEY = signing_key(secrets.secret_key)

ALLOWED_HOSTS = ["localhost"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # signed, not encrypted: its user can read it
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True  # over HTTPS only
