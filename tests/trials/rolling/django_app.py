"""Django sessions: in signed cookies, and in a database with a login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.hashers import make_password
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path

from robodj_secretguard import guard
from robodj_secretguard.adapters.django import secret_keys

if TYPE_CHECKING:
    from django.http import HttpRequest

SESSIONS: Final = "django.contrib.sessions"
APPS: Final = ("auth", "contenttypes", "sessions")


def response(user: str | None) -> HttpResponse:
    """Return the name of a user, or 401."""
    return HttpResponse(user or "", status=200 if user else 401)


def log_in(request: HttpRequest) -> HttpResponse:
    """Keep the user in the session, with the hash of a login where there is a database."""
    name = request.GET["user"]
    if settings.INSTALLED_APPS:
        users = auth.get_user_model().objects
        user, _ = users.get_or_create(username=name, defaults={"password": make_password(None)})
        auth.login(request, user)
    else:
        request.session["user"] = name
    return response(name)


def who(request: HttpRequest) -> HttpResponse:
    """Return the user of the session."""
    return response(request.user.get_username() if settings.INSTALLED_APPS else request.session.get("user"))


urlpatterns = [path("login", log_in), path("who", who)]


def configured(*middleware: str, **more: Any) -> Any:
    """Configure Django, and return the app."""
    key, fallbacks = secret_keys(guard().secret_key)
    settings.configure(
        SECRET_KEY=key,
        SECRET_KEY_FALLBACKS=fallbacks,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        DEBUG_PROPAGATE_EXCEPTIONS=True,
        MIDDLEWARE=[f"{SESSIONS}.middleware.SessionMiddleware", *middleware],
        **more,
    )
    return get_asgi_application()


def in_cookies() -> Any:
    """Return an app whose sessions are in the cookies."""
    return configured(SESSION_ENGINE=f"{SESSIONS}.backends.signed_cookies")


def in_database() -> Any:
    """Return an app whose sessions are in a database, which it makes."""
    quick = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"  # four processes write
    options = {"init_command": quick, "transaction_mode": "IMMEDIATE", "timeout": 20}
    app = configured(
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        INSTALLED_APPS=[f"django.contrib.{each}" for each in APPS],
        MIGRATION_MODULES=dict.fromkeys(APPS),
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "sessions.db", "OPTIONS": options}},
    )
    call_command("migrate", run_syncdb=True, verbosity=0)
    return app
