"""The settings of a database that follows a secret. What Django does with them is in test_base.py."""

from __future__ import annotations

import pickle
import secrets
from typing import Any

import pytest

pytest.importorskip("psycopg")
from postgres import Delivery

from robodj_secretguard.adapters.django_database import FOLLOWED, FOLLOWED_ENGINE, FOLLOWED_LOGIN, follow

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 600}


def settings_of(delivery: Delivery, rest: str, **more: Any) -> tuple[dict[str, Any], str]:
    """Return the settings for a URL with this address, and its password."""
    password = secrets.token_hex(16)
    held = delivery.deliver(PLAIN_URL=rest.replace("LOGIN", f"shop:{password}").replace("PASSWORD", password))
    return follow({**POSTGRESQL, **more}, held.plain_url), password


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://LOGIN@db.example.com/shop", ("db.example.com", None, "shop", {})),
        ("postgresql+psycopg://LOGIN@db:5433/my%20shop", ("db", "5433", "my shop", {})),
        ("postgres://LOGIN@[fd12::7]:5432/shop", ("fd12::7", "5432", "shop", {})),
        ("postgres://LOGIN@[fd12::7]/shop", ("fd12::7", None, "shop", {})),
        ("postgresql://LOGIN@one:1,two:2/shop", ("one,two", "1,2", "shop", {})),
        ("postgresql://LOGIN@%2Frun%2Fpostgresql/shop", ("/run/postgresql", None, "shop", {})),
        ("postgresql://LOGIN@/?host=/run/p&port=1&dbname=shop", ("/run/p", "1", "shop", {})),
        ("mysql://LOGIN@db?database=shop&charset=utf8mb4", ("db", None, "shop", {"charset": "utf8mb4"})),
        ("postgresql://LOGIN@db/shop?options=-c%20x=a+b", ("db", None, "shop", {"options": "-c x=a+b"})),
        ("jdbc:postgresql://db/shop?user=shop&password=PASSWORD", ("db", None, "shop", {})),
    ],
)
def test_a_url_gives_the_address(
    delivery: Delivery, url: str, expected: tuple[str, str | None, str, dict[str, str]]
) -> None:
    """Host, port, name and options are those of the URL. The password is nowhere."""
    settings, password = settings_of(delivery, url)
    assert (settings["HOST"], settings.get("PORT"), settings["NAME"], settings["OPTIONS"]) == expected
    assert settings["PASSWORD"] == ""
    assert "USER" not in settings
    assert password not in repr(settings)


def test_the_settings_keep_what_the_secret_does_not_have(delivery: Delivery) -> None:
    """The engine is this library's, which knows the other one. Options of the URL replace those of the settings."""
    given = {"NAME": "other", "OPTIONS": {"sslmode": "prefer", "connect_timeout": 3}, "ATOMIC_REQUESTS": True}
    settings, _ = settings_of(delivery, "postgresql://LOGIN@db/shop?sslmode=require", **given)
    assert settings["OPTIONS"] == {"sslmode": "require", "connect_timeout": 3}
    assert (settings["NAME"], settings["ATOMIC_REQUESTS"], settings["CONN_MAX_AGE"]) == ("shop", True, 600)
    assert settings["ENGINE"] == "robodj_secretguard.adapters.django_database"
    assert settings[FOLLOWED_ENGINE] == POSTGRESQL["ENGINE"]
    assert FOLLOWED_ENGINE not in POSTGRESQL


def test_another_password_in_a_url_is_masked(delivery: Delivery) -> None:
    """The driver gets it, and no repr shows it."""
    settings, password = settings_of(delivery, "postgresql://LOGIN@db/shop?sslpassword=PASSWORD")
    assert settings["OPTIONS"]["sslpassword"] == password
    assert password not in repr(settings)


def test_a_password_leaves_the_address_to_the_settings(delivery: Delivery) -> None:
    """A secret that is no URL has only the login. Each login has a name of its own, and the settings are pickled."""
    password = secrets.token_hex(16)
    held = delivery.deliver(DB_USER="shop", DB_PASSWORD=password)
    given = {**POSTGRESQL, "NAME": "shop", "HOST": "db", "PASSWORD": "no longer used"}
    settings = follow(given, held.db_password, user=held.db_user)
    own = {name: settings[name] for name in ("ENGINE", "OPTIONS", FOLLOWED_ENGINE, FOLLOWED_LOGIN)}
    assert settings == {**given, **own, "PASSWORD": ""}
    assert password not in repr(settings)
    assert FOLLOWED[pickle.loads(pickle.dumps(settings))[FOLLOWED_LOGIN]] == (held.db_password, held.db_user)  # noqa: S301
    assert follow(given, held.db_password, user=held.db_user)[FOLLOWED_LOGIN] == settings[FOLLOWED_LOGIN]
    assert follow(given, held.db_password)[FOLLOWED_LOGIN] != settings[FOLLOWED_LOGIN]
