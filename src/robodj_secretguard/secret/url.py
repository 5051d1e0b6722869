"""The kind of URLs with a password, such as that of a database."""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import unquote

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.issued import EDGES, Faults, Issued, are_texts, malformed, part_message
from robodj_secretguard.secret.templates import login_template, may_be_filled, parameters, template
from robodj_secretguard.secret.words import REFERENCES

MIN_USER: Final = 16
"""How many characters the user of a URL without a password has: it is the secret, as in a Sentry DSN."""

_SCHEME: Final = "(jdbc:)?[a-z][a-z0-9+.-]*"
_LOCAL: Final = r"%2f.*|127\.[0-9.]+|\[?::1\]?|[^.:]*"
_ENCODED: Final = "set {} with the special characters of its password percent-encoded"
_COMPLETED: Final = "set {} to the URL with its password"
_PASSWORDLESS: Final = (
    f"{_COMPLETED} (if it needs no password, do not declare it, or allow that with passwordless=True)"
)


class Address(Frozen):
    """The parts of a URL.

    Attributes:
        user: the user, decoded.
        password: the password as it is written; `None` where there is none. It may be a parameter, as in JDBC.
        host: the host without its port; with several hosts all of them.
        rest: what is after the login.
        is_cut: whether a / or another character ends the login before its @, so that it is not encoded.
    """

    user: str
    password: str | None
    host: str
    rest: str
    is_cut: bool


def read_address(text: str) -> Address:
    """Return the parts of a URL."""
    whole = text.partition("://")[2]
    authority = re.sub("(?s)[/?#;].*", "", whole)
    port = authority.rpartition(":")[2]
    is_cut = "@" in whole and "@" not in authority and port != authority and not port.isdigit()
    login, _, host = (whole if is_cut else authority).rpartition("@")
    user, colon, written = login.partition(":")
    password = written if colon else None
    rest = whole.removeprefix(f"{login}@")
    if password is None:
        named = parameters(text)
        password = named.get("password", named.get("pwd"))
        user = user or named.get("user", "")
    return Address(unquote(user), password, re.sub(r":\d*\Z", "", host), rest, is_cut)


class Url(Issued):
    """A URL with a password, such as that of a database. `Material.url()` describes the fields."""

    schemes: tuple[str, ...]
    passwordless: bool = False

    def validate(self) -> None:
        """Raise a `ValueError` for an invalid field."""
        if not are_texts(self.schemes, _SCHEME):
            raise ValueError("Material.url: schemes in lower case and without ://")
        if not isinstance(self.passwordless, bool):
            raise ValueError("Material.url passwordless: true or false")  # noqa: TRY004 - as for other arguments

    def _has_scheme(self, text: str) -> bool:
        lower = text.lower()
        if self.schemes:
            return lower.partition("://")[0] in self.schemes and "://" in lower
        is_reference = any(lower.startswith(each.lower()) for each in REFERENCES)
        return re.match(f"{_SCHEME}://", lower) is not None and not is_reference

    def placeholder_in(self, text: str, variable: str) -> str:
        """Return the message about a template in place of the URL, its login or its host; empty for none."""
        core = text.strip(EDGES)
        if not self._has_scheme(core):
            return template(text, variable)
        address = read_address(core)
        is_empty = not address.user and not address.password
        if is_empty and (message := template_of_rest(address.rest.lstrip("/"), variable)):
            return message
        if address.password is not None:
            password = unquote(address.password)
            if message := login_template(address.user, password, variable):
                return message
        is_judged = may_be_filled(address.user) or (address.password is None and len(address.user) >= MIN_USER)
        if is_judged and (message := template(address.user, variable)):
            return part_message("user", message)
        if may_be_filled(address.host):
            return part_message("host", template(address.host))
        return ""

    def format_faults(self, text: str) -> Faults:
        """Yield what is not the format of a URL, and that a password is missing."""
        if not self._has_scheme(text):
            yield malformed(f"is not a URL{' of ' * bool(self.schemes)}{' or '.join(self.schemes)}")
        address = read_address(text)
        if " " in text or address.is_cut:
            yield malformed("has a blank, or a password with /, ? or # in it", f"{_ENCODED} (%2F is /)")
        if "@" in (address.password or ""):
            yield malformed("has a password with @ in it", f"{_ENCODED} (%40 is @)")
        if address.password is None and len(address.user) < MIN_USER:
            if not self.passwordless:
                yield malformed(f"has no password, and no user of {MIN_USER} characters or more", _PASSWORDLESS)
            elif not is_local(text):
                yield malformed("has no password, and its host is not a local one", _COMPLETED)
        elif not address.host and not re.search("host=|sock", address.rest):
            yield malformed("has no host")

    def searched(self, text: str) -> tuple[str, ...]:
        """Return the password as it is written and decoded; that of a URL without one is its user."""
        address = read_address(text)
        written = address.user if address.password is None else address.password
        return tuple({written: None, unquote(written): None}) if written else ()

    def temporary(self) -> str:
        """Return a URL with a random password that has no fault."""
        scheme = self.schemes[0] if self.schemes else "postgresql"
        return f"{scheme}://temporary:{secrets.token_urlsafe(32)}@localhost/temporary"


def template_of_rest(rest: str, variable: str) -> str:
    """Return which template a host or a path without a login is; empty for none. A path may be relative."""
    is_plain = rest[:1].isalnum() or rest.startswith("./")
    return "" if is_plain and not may_be_filled(rest) else template(rest, variable)


def is_local(text: str) -> bool:
    """Check whether a URL needs no network: a file, a socket, loopback or hosts without a dot."""
    given = parameters(text)
    named = given.get("hostaddr", given.get("host", ""))
    hosts = read_address(text).host.split(",")
    if not named.startswith("/"):
        hosts.append(named)
    plain = [re.sub(r":\d*\Z", "", host) for host in hosts]
    return all(re.fullmatch(_LOCAL, host.lower()) for host in plain)
