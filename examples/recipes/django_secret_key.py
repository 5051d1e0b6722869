"""Django: a settings module. Check it: `python -m django check --deploy --settings django_secret_key`.

Every `manage.py` command imports it, so each is refused with status 3; the autoreloader's child with 4, because 3 means
"reload" there. Django keeps what it is given in `settings.SECRET_KEY` and signs everything with it: sessions, password
resets, messages. That is a derived key: `secret.key` cannot be computed from it. Django calls `str()` on what is there,
which a secret refuses. A `DEBUG` page hides settings with
KEY, SECRET, TOKEN or PASS in their names, but not others, nor the locals of your functions.
"""

import hmac

from pydantic import SecretStr

from robodj_secretguard import guard

secrets = guard()  # in lower case: Django takes it for no setting

LABEL = b"robodj example django v1"  # your service's name, and what the key is for


def signing_key(secret: SecretStr) -> str:
    """Derive the key that Django signs with: 64 characters, where its own check wants at least 50."""
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
