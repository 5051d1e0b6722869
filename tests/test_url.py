"""The kind of URLs with a password."""

from __future__ import annotations

from secrets import token_urlsafe
from urllib.parse import quote

import pytest
from values import judge

from robodj_secretguard import Fault, Material

ENCODE = "set {} with the special characters of its password percent-encoded"
SLASH, AT = f"{ENCODE} (%2F is /)", f"{ENCODE} (%40 is @)"
COMPLETE = "set {} to the URL with its password"
NO_LOGIN = "has no password, and no user of 16 characters or more"
NOT_LOCAL = "has no password, and its host is not a local one"
URL = "postgresql://orders_rw:zq9Kif83w@db:5432/orders"


class TestUrl:
    """A URL with a password."""

    kind = Material.url("postgresql", "redis", "https")

    @pytest.mark.parametrize(
        "text",
        [
            URL,
            URL.replace("postgresql", "PostgreSQL"),
            "redis://:zq9Kif83w@cache",
            "postgresql://a:zq9Kif83w@h1:27017,h2:27017/db?x=y@z#f",
            "postgresql://a:zq9Kif83w@[::1]:5432/db",
            "postgresql://a:zq9Kif83w@[fd00::1]",
            "postgresql://a:zq9Kif83w@%2Fvar%2Frun/db",
            "postgresql://a:zq9Kif83w@/db?host=/var/run",
            "redis://a:zq9Kif83w@/run/redis.sock",
            "postgresql://a%40b.net:zq9%40Kif:83w@db",
            "https://8c4f2a9d1b7e6035@sentry.shop.net/7",
            "postgresql://postgres:zq9Kif83w@localhost/test",
            "postgresql://db_user:zq9Kif83w@db/db",
            "postgresql://test-user:zq9Kif83w@db/db",
            "redis://admin%40shop.net:zq9Kif83w@db",
            "redis://test.user:zq9Kif83w@db",
        ],
    )
    def test_url_with_a_password_passes(self, text: str) -> None:
        """A URL of a declared scheme with a host and a password passes, whatever else it has."""
        assert judge(self.kind, text) == ("", "")

    @pytest.mark.parametrize(
        ("login", "message"),
        [
            ("orders:", "has an empty password"),
            (":", "has an empty password"),
            ("orders:ORDERS", "has the user's name as its password"),
            ("a%40b.net:a@b.net", "has the user's name as its password"),
            ("orders:Guest", "has a vendor's default password"),
            (":foobared", "has a vendor's default password"),
            ("orders:${DB_PASSWORD:-x/y?z}", "has a password that is a shell variable that nobody replaced"),
            ("orders:%3Cpassword%3E", "has a password that is a placeholder"),
            ("orders:SHOP_SECRET", "has a password that is the name of a variable"),
            ("orders:xxxx", "has a password that is a placeholder"),
            ("<user>:zq9Kif83w", "has a user that is a placeholder"),
            ("your_user:zq9Kif83w", "has a user that is a placeholder"),
            ("<key>", "has a user that is a placeholder"),
            ("XXXX", "has a user that is a placeholder"),
            ("examplePublicKey", "has a user that is a placeholder"),
        ],
    )
    def test_template_of_a_password_or_a_user_is_refused(self, login: str, message: str) -> None:
        """A template or a default as the password is a placeholder, also decoded, and so is one as the user."""
        assert judge(self.kind, f"postgresql://{login}@db/orders") == ("placeholder", message)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("$DATABASE_URL", "is a shell variable that nobody replaced"),
            ("op://shop/database/url", "is a reference that nobody resolved (op://)"),
            ("postgresql://...", "is a placeholder"),
            ("postgresql://<connection>", "is a placeholder"),
            ("your-database-url", "is a placeholder"),
        ],
    )
    def test_template_of_a_url_is_refused(self, text: str, message: str) -> None:
        """A template in place of the URL, or of what is after its scheme, is a placeholder."""
        assert judge(self.kind, text) == ("placeholder", message)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (f"{URL}\n", "has a newline at the end"),
            (f" {URL}", "has a blank at the beginning or end"),
            (f'"{URL}"', "has quotes around it"),
            (URL.replace("postgresql", "mysql"), "is not a URL of postgresql or redis or https"),
            ("orders_rw:zq9Kif83w@db", "is not a URL of postgresql or redis or https"),
            ("redis", "is not a URL of postgresql or redis or https"),
            (URL.replace("Kif", "Kif 7"), "has a blank, or a password with /, ? or # in it"),
            ("redis://localhost:6379/0", NO_LOGIN),
            ("redis://a...", NO_LOGIN),
            ("redis://localhost:6379/0?x=a@b", NO_LOGIN),
            ("redis://orders@localhost", NO_LOGIN),
            ("https://8c4f2a9d1b7e603@sentry.shop.net/7", NO_LOGIN),
            ("postgresql://orders_rw:zq9Kif83w@:5432/orders", "has no host"),
            ("postgresql://orders_rw:zq9Kif83w@/orders", "has no host"),
            ("postgresql://orders_rw:zq9Kif83w@", "has no host"),
            ("postgresql://orders_rw:zq9Kif83sock@/orders", "has no host"),
        ],
    )
    def test_malformed_url_is_refused(self, text: str, message: str) -> None:
        """A URL of another scheme, or without a password or a host, is malformed."""
        assert judge(self.kind, text) == ("format", message)

    def test_any_scheme(self) -> None:
        """Without declared schemes, a URL of any scheme passes, but no reference."""
        kind = Material.url()
        assert judge(kind, kind.temporary()) == judge(kind, URL.replace("postgresql", "mysql+x.y")) == ("", "")
        assert {judge(kind, text) for text in ("orders:zq9Kif83w@db", "kif")} == {("format", "is not a URL")}
        assert judge(kind, "op://shop/database/url")[0] == "placeholder"

    @pytest.mark.parametrize("special", ["/", "?", "#"])
    def test_special_character_in_a_password_is_encoded(self, special: str) -> None:
        """A special character in a password is percent-encoded, and the fix says so."""
        text = URL.replace("Kif", f"Kif{special}")
        assert self.kind.fault(text) == Fault("format", "has a blank, or a password with /, ? or # in it", SLASH)
        assert judge(self.kind, URL.replace("Kif", f"Kif{quote(special, safe='')}")) == ("", "")

    @pytest.mark.parametrize("login", ["orders:zq9@Kif83w", "orders:@zq9Kif83w", "a@b.net:zq9@Kif83w"])
    def test_raw_at_in_a_password_is_encoded(self, login: str) -> None:
        """A raw @ in a password is a format fault, since programs disagree about it. The fix names %40."""
        text = f"redis://{login}@db"
        assert self.kind.fault(text) == Fault("format", "has a password with @ in it", AT)
        assert judge(self.kind, "redis://a@b.net:zq9%40Kif83w@db") == ("", "")

    def test_searched_is_the_password(self) -> None:
        """What is searched is the password, as it is written and decoded, or the user without one."""
        assert self.kind.searched(URL) == ("zq9Kif83w",)
        assert self.kind.searched("redis://:zq9%40Kif@db") == ("zq9%40Kif", "zq9@Kif")
        assert self.kind.searched("https://8c4f2a9d1b7e6035@sentry.shop.net/7") == ("8c4f2a9d1b7e6035",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("postgresql://app:app123@db/x", "has the user's name as its password"),
        ("postgresql://app:%20@db/x", "has an empty password"),
        ("postgresql://app:1234@db/x", "has a vendor's default password"),
        ("postgresql://app:{}@<host>/x", "has a host that is a placeholder"),
    ],
)
def test_login_or_host_that_nobody_set_is_a_placeholder(value: str, message: str) -> None:
    """The user's name with a number, a blank, a row of digits and a host in brackets are no real login."""
    assert judge(Material.url("postgresql"), value.format(token_urlsafe(12))) == ("placeholder", message)


class TestPasswordless:
    """`Material.url(passwordless=True)`."""

    kind = Material.url(passwordless=True)

    @pytest.mark.parametrize(
        "text",
        [
            "sqlite:///shop.sqlite3",
            "sqlite+aiosqlite:///./shop.sqlite3",
            "mongodb://%2Frun%2Fmongodb-27017.sock",
            "sqlite:////var/lib/shop.sqlite3",
            "sqlite:///:memory:",
            "sqlite://",
            "redis://",
            "unix:///run/redis.sock",
            "redis+socket:///run/redis.sock",
            "postgresql:///orders",
            "postgresql:///orders?host=/run/postgresql",
            "postgresql:///orders?host=db",
            "postgresql://%2Frun%2Fpostgresql/orders",
            "postgresql://orders@/orders?host=/run/postgresql",
            "postgresql://orders@localhost/orders",
            "redis://localhost:6379/0",
            "redis://LOCALHOST",
            "redis://127.0.0.1:6379",
            "redis://[::1]:6379",
            "redis://[::1]",
            "redis://cache:6379/0",
            "mongodb://db1:27017,db2:27017/orders",
            "jdbc:postgresql://localhost/orders",
        ],
    )
    def test_local_url_needs_no_password(self, text: str) -> None:
        """A file, a socket, the loopback and hosts without a dot need no password, but only where that is allowed."""
        assert judge(self.kind, text) == ("", "")
        assert Material.url().fault(text) == Fault(
            "format",
            NO_LOGIN,
            f"{COMPLETE} (if it needs no password, do not declare it, or allow that with passwordless=True)",
        )

    @pytest.mark.parametrize(
        "text",
        [
            "redis://cache.shop.net",
            "redis://cache.shop.net:6379/0",
            "redis://10.0.0.7",
            "redis://[fd00::1]:6379",
            "redis://127.shop",
            "redis://localhost.shop.net",
            "postgresql://orders@db.shop.net/orders",
            "postgresql:///orders?host=db.shop.net",
            "mongodb://db1:27017,db2.shop.net:27017/orders",
        ],
    )
    def test_other_host_needs_a_password(self, text: str) -> None:
        """Any other host needs a password."""
        assert self.kind.fault(text) == Fault("format", NOT_LOCAL, COMPLETE)

    @pytest.mark.parametrize("login", ["orders:", ":"])
    def test_empty_password_is_refused(self, login: str) -> None:
        """A password that is empty is a placeholder, also where none is needed: somebody forgot it."""
        assert judge(self.kind, f"redis://{login}@localhost") == ("placeholder", "has an empty password")

    def test_password_is_still_judged(self) -> None:
        """A URL with a password, or with a user as one, is judged as in other declarations."""
        assert judge(self.kind, URL) == judge(self.kind, "https://8c4f2a9d1b7e6035@sentry.shop.net/7") == ("", "")
        assert judge(self.kind, URL.replace("zq9Kif83w", "changeme"))[0] == "placeholder"
        assert judge(self.kind, "<redis url>")[0] == "placeholder"

    def test_nothing_is_searched_without_a_login(self) -> None:
        """A URL without a login has no part that is secret."""
        assert self.kind.searched("redis://localhost:6379/0") == ()


JDBC = {
    "PostgreSQL": "jdbc:postgresql://db:5432/orders?user=orders&password={}&ssl=true",
    "MySQL": "jdbc:mysql://db/orders?useSSL=true&user=orders&password={}",
    "SQL Server": "jdbc:sqlserver://db:1433;databaseName=orders;user=orders;password={};encrypt=true",
    "SQL Server, in capitals": "jdbc:sqlserver://db;User=orders;Password={}",
    "short name": "jdbc:mysql://db/orders?user=orders&pwd={}",
    "login": "jdbc:postgresql://orders:{}@db/orders",
    "no JDBC": "postgresql://db/orders?user=orders&password={}",
}


@pytest.mark.parametrize("text", JDBC.values(), ids=JDBC)
class TestParameters:
    """URLs whose password is a parameter, as in JDBC."""

    kind = Material.url("jdbc:postgresql", "jdbc:mysql", "jdbc:sqlserver", "postgresql")

    def test_password_is_a_parameter(self, text: str) -> None:
        """A password that is a parameter is the password, and it is what is searched."""
        assert judge(self.kind, text.format("zq9Kif83w")) == ("", "")
        assert self.kind.searched(text.format("zq9Kif83w")) == ("zq9Kif83w",)

    @pytest.mark.parametrize(
        ("password", "message"),
        [
            ("", "has an empty password"),
            ("orders", "has the user's name as its password"),
            ("changeme", "has a password that is a placeholder"),
            ("<password>", "has a password that is a placeholder"),
            ("SHOP_SECRET", "has a password that is the name of a variable"),
        ],
    )
    def test_template_of_it_is_refused(self, text: str, password: str, message: str) -> None:
        """A template or a default as the parameter is a placeholder."""
        assert judge(self.kind, text.format(password)) == ("placeholder", message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jdbc:postgresql://db/orders?user=orders", ("format", NO_LOGIN)),
        ("jdbc:sqlserver://db;user=orders;password=zq9@Kif83w", ("format", "has a password with @ in it")),
        ("jdbc:oracle:thin:orders/zq9Kif83w@db:1521:orders", ("format", "is not a URL")),
        (
            "jdbc:postgresql://db/orders?user=<user>&password=zq9Kif83w",
            ("placeholder", "has a user that is a placeholder"),
        ),
    ],
)
def test_malformed_parameters_are_refused(text: str, expected: tuple[str, str]) -> None:
    """A URL of JDBC without a password, or with a template in it, is refused."""
    assert judge(Material.url(), text) == expected


def test_scheme_is_declared_with_jdbc() -> None:
    """The scheme of JDBC is declared as it is written, and is another one than that of the database."""
    text = JDBC["PostgreSQL"].format("zq9Kif83w")
    assert judge(Material.url("jdbc:mysql"), text) == ("format", "is not a URL of jdbc:mysql")
    assert judge(Material.url("postgresql"), text) == ("format", "is not a URL of postgresql")
    assert Material.url("jdbc:postgresql").temporary().startswith("jdbc:postgresql://temporary:")


def test_temporary_value_has_the_first_scheme() -> None:
    """A temporary value is of the first scheme that is declared."""
    assert Material.url("redis", "rediss").temporary().startswith("redis://")
    assert Material.url().temporary().startswith("postgresql://")
