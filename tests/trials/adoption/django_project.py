"""A Django project: its settings and its pages. `SESSIONS` in the environment is `database` or `signed_cookies`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.contrib import auth
from django.contrib.auth.hashers import make_password
from django.http import HttpResponse
from django.urls import path
from release import *  # type: ignore[import-not-found]  # noqa: F403 - the test writes it: its keys

if TYPE_CHECKING:
    from django.http import HttpRequest

HAS_DATABASE = os.environ["SESSIONS"] == "database"
CONTRIB = "django.contrib"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = __name__
DEBUG_PROPAGATE_EXCEPTIONS = True
MIDDLEWARE = [f"{CONTRIB}.sessions.middleware.SessionMiddleware"]
SESSION_ENGINE = f"{CONTRIB}.sessions.backends.signed_cookies"
if HAS_DATABASE:
    SESSION_ENGINE = f"{CONTRIB}.sessions.backends.db"
    MIDDLEWARE += [f"{CONTRIB}.auth.middleware.AuthenticationMiddleware"]
    INSTALLED_APPS = [f"{CONTRIB}.{each}" for each in ("auth", "contenttypes", "sessions")]
    MIGRATION_MODULES = dict.fromkeys(("auth", "contenttypes", "sessions"))
    OPTIONS = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",  # several processes write
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "sessions.db", "OPTIONS": OPTIONS}}


def user_of(request: HttpRequest) -> HttpResponse:
    """Return the user of the session, or 401."""
    user = request.user.get_username() if HAS_DATABASE else request.session.get("user")
    return HttpResponse(user or "", status=200 if user else 401)


def log_in(request: HttpRequest) -> HttpResponse:
    """Begin a session, with a login where there is a database."""
    name = request.GET["user"]
    if HAS_DATABASE:
        users = auth.get_user_model().objects
        auth.login(request, users.create(username=name, password=make_password(None)))
    request.session["user"] = name
    return HttpResponse(name)


def visit(request: HttpRequest) -> HttpResponse:
    """Change the session of a user, so that it is signed again."""
    response = user_of(request)
    if response.status_code == 200:
        request.session["visits"] = request.session.get("visits", 0) + 1
    return response


urlpatterns = [path("login", log_in), path("visit", visit), path("who", user_of)]
