"""The adapter for Django, with Django."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from detector import leaks
from django.conf import UserSettingsHolder, global_settings, settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import signing
from django.core.checks.security import base as checks
from django.core.management.commands import diffsettings
from django.views.debug import ExceptionReporter
from rings import Rotation, assert_follows

from robodj_secretguard.adapters.django import secret_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER = SimpleNamespace(pk=1, password="", last_login=None, get_email_field_name=lambda: "email", email="")


@pytest.fixture
def rotation() -> Iterator[Rotation]:
    """A rotation, with Django's settings from its ring."""
    made, before = Rotation().derive(b"django"), settings._wrapped  # noqa: SLF001 - as in Django's own tests
    settings._wrapped = holder = UserSettingsHolder(global_settings)  # noqa: SLF001
    holder.SECRET_KEY, holder.SECRET_KEY_FALLBACKS = secret_keys(made.ring)
    yield made
    settings._wrapped = before  # noqa: SLF001


def reset_tokens(key: str | None = None) -> PasswordResetTokenGenerator:
    """Make a generator of tokens for password resets: with Django's settings, or with one key."""
    generator = PasswordResetTokenGenerator()
    if key:
        generator.secret, generator.secret_fallbacks = key, []
    return generator


def reads(read: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    """Return whether a signature is good."""
    try:
        read(*arguments, **options)
    except signing.BadSignature:
        return False
    return True


def test_a_signer(rotation: Rotation) -> None:
    """A signer that was made before the deadline follows it."""
    signer = signing.Signer()
    assert_follows(
        rotation,
        sign=lambda: signer.sign("jazz"),
        accepts=lambda token: reads(signer.unsign, token),
        sign_with=lambda key: signing.Signer(key=key, fallback_keys=[]).sign("jazz"),
        accepts_with=lambda key, token: reads(signing.Signer(key=key, fallback_keys=[]).unsign, token),
    )


def test_sessions(rotation: Rotation) -> None:
    """`signing.dumps` and `loads`, which sessions in cookies use, follow the deadline."""
    assert_follows(
        rotation,
        sign=lambda: signing.dumps("jazz"),
        accepts=lambda token: reads(signing.loads, token, max_age=60),
        sign_with=lambda key: signing.dumps("jazz", key=key),
        accepts_with=lambda key, token: reads(signing.loads, token, key=key, fallback_keys=[]),
    )


def test_signed_cookies(rotation: Rotation) -> None:
    """Signed cookies follow the deadline."""

    def only(key: str) -> signing.TimestampSigner:
        salt = signing.get_cookie_signer().salt
        return signing.TimestampSigner(key=b"django.http.cookies" + key.encode(), fallback_keys=[], salt=salt)

    assert_follows(
        rotation,
        sign=lambda: signing.get_cookie_signer().sign("jazz"),
        accepts=lambda token: reads(signing.get_cookie_signer().unsign, token),
        sign_with=lambda key: only(key).sign("jazz"),
        accepts_with=lambda key, token: reads(only(key).unsign, token),
    )


def test_a_cookie_signer_of_before(rotation: Rotation) -> None:
    """A signer of cookies that was made before the deadline, and is used after it, refuses the previous key."""
    previous = signing.TimestampSigner(
        key=b"django.http.cookies" + rotation.values["previous"].encode(),
        fallback_keys=[],
        salt=(signer := signing.get_cookie_signer()).salt,
    )
    rotation.now = rotation.deadline
    assert not reads(signer.unsign, previous.sign("jazz"))


def test_password_resets(rotation: Rotation) -> None:
    """A generator of tokens for password resets that was made before the deadline follows it."""
    generator = reset_tokens()
    assert_follows(
        rotation,
        sign=lambda: generator.make_token(USER),
        accepts=lambda token: generator.check_token(USER, token),
        sign_with=lambda key: reset_tokens(key).make_token(USER),
        accepts_with=lambda key, token: reset_tokens(key).check_token(USER, token),
    )


def test_the_settings_show_no_key(rotation: Rotation) -> None:
    """`diffsettings` and the debug page show no key, also in settings that Django does not hide and in variables."""
    settings.NOTED, settings.NOTED_LIST = settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS
    shown = diffsettings.Command().handle(all=True, default=None, output="hash")
    assert "SECRET_KEY_FALLBACKS = FallbackKeys(Keyring('secret.key'))" in shown

    def fail(_noted: object, _noted_list: object) -> None:
        raise LookupError

    with pytest.raises(LookupError) as raised:
        fail(settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS)
    page = ExceptionReporter(None, type(raised.value), raised.value, raised.tb).get_traceback_data()
    shown += f"{page['settings']} {page['frames'][-1]['vars']}"  # test_recipes.py reads a page
    assert (shown.count("NOTED"), shown.count("_noted")) == (4, 2)
    assert leaks(shown, [*rotation.delivered, *rotation.values.values()]) == []


def test_the_length(rotation: Rotation) -> None:
    """`check --deploy` warns about the length of derived keys, which the docstring says."""
    assert [*map(len, rotation.values.values())] == [44] * 3
    found = [*checks.check_secret_key(None), *checks.check_secret_key_fallbacks(None)]
    assert [each.id for each in found] == ["security.W009", "security.W025", "security.W025"]
    assert all(each.id in (secret_keys.__doc__ or "") for each in found)
