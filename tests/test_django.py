"""The adapter for Django, with Django."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from detector import leaks
from django.apps import apps
from django.conf import UserSettingsHolder, global_settings, settings
from django.contrib import auth
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core import signing
from django.core.checks.security import base as checks
from django.core.management.commands import diffsettings
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.utils.functional import empty
from django.views.debug import ExceptionReporter
from rings import Operation, Published, Rotation, accepts_unless_revoked, every_change

from robodj_secretguard import Secret
from robodj_secretguard.adapters.django import secret_keys

BACKEND = f"{__name__}.Backend"


@pytest.fixture(autouse=True)
def _same_settings() -> Iterator[None]:
    """Let Django have the same settings after the test."""
    before = settings._wrapped  # noqa: SLF001 - as in Django's own tests
    yield
    settings._wrapped = before  # noqa: SLF001


def settings_of(ring: Secret) -> None:
    """Take Django's settings from a ring."""
    settings._wrapped = holder = UserSettingsHolder(global_settings)  # noqa: SLF001
    holder.AUTHENTICATION_BACKENDS = [BACKEND]
    holder.SECRET_KEY, holder.SECRET_KEY_FALLBACKS = secret_keys(ring)


@pytest.fixture
def rotation() -> Rotation:
    """A rotation, with Django's settings from its ring."""
    made = Rotation().derive(b"django")
    settings_of(made.ring)
    return made


@pytest.fixture
def service(tmp_path: Path) -> Published:
    """Keys that a test switches, with Django's settings from their ring."""
    made = Published(tmp_path, b"django")
    settings_of(made.ring)
    return made


def reads(read: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    """Return whether a signature is good."""
    try:
        read(*arguments, **options)
    except signing.BadSignature:
        return False
    return True


def a_signer() -> Operation:
    """Sign with a signer that is made once."""
    signer = signing.TimestampSigner()
    return lambda: signer.sign("jazz"), lambda token: reads(signer.unsign, token, max_age=60)


def objects() -> Operation:
    """Sign an object, as sessions do, in a database or a cookie."""
    return lambda: signing.dumps("jazz"), lambda token: reads(signing.loads, token, max_age=60)


def cookies() -> Operation:
    """Sign a cookie, as messages do."""

    def sign() -> str:
        response = HttpResponse()
        response.set_signed_cookie("station", "jazz")
        return str(response.cookies["station"].value)

    def accepts(token: str) -> bool:
        request = HttpRequest()
        request.COOKIES["station"] = token
        return bool(request.get_signed_cookie("station", default="") == "jazz")

    return sign, accepts


def password_resets() -> Operation:
    """Make tokens for password resets with a generator that is made once."""
    user = SimpleNamespace(pk=1, password="", last_login=None, get_email_field_name=lambda: "email", email="")
    generator = PasswordResetTokenGenerator()
    return lambda: generator.make_token(user), lambda token: generator.check_token(user, token)


class Backend:
    """A backend without a database."""

    def get_user(self, user_id: int) -> Any:
        """Return a user."""
        apps.populate(["django.contrib.contenttypes", "django.contrib.auth"])
        return auth.get_user_model()(pk=user_id)


def signed_in_users() -> Operation:
    """Verify the hash that is in the session of a user who is signed in."""

    def accepts(token: str) -> bool:
        request = HttpRequest()
        request.session = SessionStore()
        request.session.update({auth.SESSION_KEY: "1", auth.BACKEND_SESSION_KEY: BACKEND, auth.HASH_SESSION_KEY: token})
        return bool(auth.get_user(request).is_authenticated)

    return Backend().get_user(1).get_session_auth_hash, accepts


def of_key(make: Callable[[], Operation], key: str) -> Operation:
    """Return an operation of Django with one key alone."""

    def alone(act: Callable[..., Any]) -> Callable[..., Any]:
        def within(*arguments: Any) -> Any:
            with override_settings(SECRET_KEY=key, SECRET_KEY_FALLBACKS=[]):
                return act(*arguments)

        return within

    with override_settings(SECRET_KEY=key, SECRET_KEY_FALLBACKS=[]):
        sign, accepts = make()
    return alone(sign), alone(accepts)


@every_change
@pytest.mark.parametrize("make", [a_signer, objects, cookies, password_resets, signed_in_users])
def test_an_operation(follows: Callable[..., None], make: Callable[[], Operation], tmp_path: Path) -> None:
    """Django signs with the current key, and accepts each accepted key, also after a switch."""

    def adapter(ring: Secret) -> Operation:
        settings_of(ring)
        sign, accepts = make()
        return sign, accepts_unless_revoked(accepts)

    follows(adapter, lambda key: of_key(make, key), tmp_path, b"django")


def test_a_switch_during_an_operation(service: Published) -> None:
    """Where Django has read its key before a switch, and its fallbacks after it, no valid signature is refused."""
    signer, second = signing.get_cookie_signer(), Rotation().values["current"]
    first = signer.sign("jazz")
    assert service.publish(second, previous=service.current)
    assert reads(signer.unsign, signing.get_cookie_signer().sign("jazz"))
    assert reads(signing.get_cookie_signer().unsign, first)


def test_the_setting_is_renewed(service: Published) -> None:
    """At a switch, `SECRET_KEY` gets a new text. Settings that are not loaded are not loaded then."""
    kept, new = settings.SECRET_KEY, Rotation().values["current"]
    assert service.publish(new, previous=service.current)
    assert settings.SECRET_KEY == service.text(new) != kept
    settings._wrapped = empty  # noqa: SLF001
    assert service.publish(Rotation().values["current"], previous=new)
    assert not settings.configured


def test_the_settings_show_no_key(rotation: Rotation) -> None:
    """`diffsettings` and the debug page show no key, also in settings that Django does not hide and in variables."""
    settings.NOTED, settings.NOTED_LIST = settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS
    shown = diffsettings.Command().handle(all=True, default=None, output="hash")
    assert "SECRET_KEY_FALLBACKS = '**********'" in shown

    def fail(_noted: object, _noted_list: object) -> None:
        raise LookupError

    with pytest.raises(LookupError) as raised:
        fail(settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS)
    page = ExceptionReporter(None, type(raised.value), raised.value, raised.tb).get_traceback_data()
    shown += f"{page['settings']} {page['frames'][-1]['vars']}"  # trials/test_recipes.py reads a page
    assert (shown.count("NOTED"), shown.count("_noted")) == (4, 2)
    assert leaks(shown, [*rotation.delivered, *rotation.values.values()]) == []


def test_the_length(rotation: Rotation) -> None:
    """`check --deploy` warns about the length of derived keys, which the docstring says."""
    assert [*map(len, rotation.values.values())] == [44] * 3
    found = [*checks.check_secret_key(None), *checks.check_secret_key_fallbacks(None)]
    assert [each.id for each in found] == ["security.W009", *["security.W025"] * 3]
    assert all(each.id in (secret_keys.__doc__ or "") for each in found)
