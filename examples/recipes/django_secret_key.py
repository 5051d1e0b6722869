"""Django: a settings module. Check it: `python -m django check --deploy --settings django_secret_key`.

Every `manage.py` command imports it, so a bad key refuses each with status 3. In the autoreloader's child the status is
4, because 3 means "reload" there. Django keeps its keys in its settings and signs everything with them: sessions,
password resets, messages. So it gets derived keys: `secret.key` cannot be computed from them. It signs with the current
key, and accepts the next and the previous one. Both settings follow the keys in use, and their repr is masked.
"""

from robodj_secretguard import guard
from robodj_secretguard.adapters.django import secret_keys

secrets = guard()  # in lower case, because Django takes upper-case names as settings

LABEL = b"robodj example django v1"  # your service's name, and what the key is for

SECRET_KEY, SECRET_KEY_FALLBACKS = secret_keys(secrets.secret_key.derive(LABEL))
SILENCED_SYSTEM_CHECKS = ["security.W009", "security.W025"]  # they ask for 50 characters: these 44 are 32 random bytes

ALLOWED_HOSTS = ["localhost"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # signed, not encrypted: its user can read it
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True  # over HTTPS only
