"""The kinds of secrets that somebody else issues. A start with the two shipped secrets does not import this module.

A fault is described in constants and declared names. No part of a value is in it, and no length below 16.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Self
from urllib.parse import unquote

from robodj_secretguard.secret.material import BLANK, EXACT_LENGTH_FROM, NEWLINE, QUOTES, REMOVABLE, Fault, Kind
from robodj_secretguard.secret.templates import REFERENCES, template

MIN_OPAQUE: Final = 4
"""The fewest characters of an opaque value."""
MIN_USER: Final = 16
"""How many characters the user of a URL without a password has: it is the secret, as in a Sentry DSN."""
MIN_PEM_BYTES: Final = 32
"""The fewest bytes in the body of a private key."""
MIN_LEGACY: Final = 16
"""The fewest characters of a key from before the adoption."""

_Defect = tuple[object, str, str]
"""Whether a value has a defect, the message, and the fix: empty for that of the check."""
_LINE_ENDS: Final = str.maketrans("", "", "\r\n\t")
_EDGES: Final = " \t\r\n\"'"
_SCHEME: Final = "[a-z][a-z0-9+.-]*"
_MAY_BE_FILLED: Final = re.compile(r"(?i)[<>\[\]{}$%]|^your|^x+$|change.?me|replace|placeholder|dummy")
"""Text in a user or in a member that may be a template. Others may be any words, such as admin."""
_SECRET_NAME: Final = r"(?i)(pass(word|wd|phrase)?|pwd|secret|key|token|credentials?)[0-9]*\Z"  # noqa: S105 - names
"""How the name of a member ends that is secret, where no member is declared."""
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_ALPHABETS: Final = (
    f"{_LETTERS}{_LETTERS.upper()}0123456789",
    "0123456789abcdef",
    _LETTERS.upper(),
    _LETTERS,
    "0123456789",
)
_VENDORS: Final = frozenset(
    """
    1234 12345 123456 admin administrator bitnami calvin couchbase couchdb default elastic foobared guest influxdb
    mailhog mariadb minio minioadmin mongo mongodb mqtt my-secret-pw mysql nats neo4j opensearch oracle pg postgis
    postgres postgresql pwd rabbitmq redis root rootroot sa smtp solr toor zabbix
    """.split()
)
"""Passwords of servers and their images where nobody has set another one."""


class _Issued(Kind):
    """The base of these kinds. The faults of a template come before those of the format."""

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Return a kind whose fields are valid."""
        kind = super().__new__(cls, *values, **fields)
        for is_valid, rule in kind._rules():
            if not is_valid:
                raise ValueError(f"Material.{cls.__name__.lower()}{rule}")
        return kind

    def _rules(self) -> Iterable[tuple[object, str]]:
        """Return whether each field is valid, and its rule."""
        return ()

    def fault(self, text: str, variable: str = "") -> Fault | None:
        """Return what is wrong with a value; `None` for a value that may be used."""
        core = _without_comments(text)
        if message := next(filter(None, self._templates(core, variable)), ""):
            return Fault("placeholder", message)
        if core != text and not core:
            return Fault("placeholder", "has nothing but comments")
        commented = (core != text, "has comments next to its value", "set {} with the value alone, without comments")
        defects = (commented, *self._defects(text))
        return next((Fault("format", message, fix) for is_there, message, fix in defects if is_there), None)

    def _templates(self, text: str, variable: str) -> Iterable[str]:
        """Return the message of each part that may be a template. It is empty if the part is none."""
        return (template(text, variable),)

    def _defects(self, text: str) -> Iterable[_Defect]:
        """Return each defect that the format of a value may have, from the outside to the inside."""
        return _defects_around(text)


def _without_comments(text: str) -> str:
    """Return text without its comments, as a copied template has them. One line is a comment if it is of words."""
    is_commented = re.match("#( .* |.*\n)", text.strip())
    return re.sub("(?m)^[ \t]*#.*", "", text).strip() if is_commented else text


class Opaque(_Issued):
    """A text on one line, such as a password or an API key. `Material.opaque()` describes the fields."""

    minimum: int
    prefix: str
    pattern: str | None

    def _rules(self) -> Iterable[tuple[object, str]]:
        return (
            (type(self.minimum) is int and self.minimum >= MIN_OPAQUE, f" minimum: {MIN_OPAQUE} characters or more"),
            (_are_texts((self.prefix,), "(?! )[ -~]*"), " prefix: printable ASCII, no blank at the beginning"),
            (self.pattern is None or _parsed(re.compile, self.pattern), " pattern: a regular expression"),
        )

    def _templates(self, text: str, variable: str) -> Iterable[str]:
        return (
            template(each, variable) for each in dict.fromkeys((text, text.strip(_EDGES).removeprefix(self.prefix)))
        )

    def _defects(self, text: str) -> Iterable[_Defect]:
        return (
            *super()._defects(text),
            (not text.startswith(self.prefix), f"does not begin with {self.prefix}", ""),
            (
                EXACT_LENGTH_FROM <= len(text) < self.minimum,
                f"has {len(text)} characters, not {self.minimum} or more",
                "",
            ),
            (len(text) < self.minimum, f"has fewer than {min(EXACT_LENGTH_FROM, self.minimum)} characters", ""),
            (not re.fullmatch(self.pattern or ".*", text), "does not match the pattern of its declaration", ""),
        )

    def temporary(self) -> str:
        """Return a random value that has no fault.

        Raises:
            ValueError: no random text of usual alphabets and lengths matches the pattern.
        """
        shortest = max(self.minimum - len(self.prefix), 1 if self.pattern else 32)
        for alphabet in _ALPHABETS:
            for length in range(shortest, shortest + 128):
                text = self.prefix + "".join(map(secrets.choice, [alphabet] * length))
                if self.accepts(text):
                    return text
        raise ValueError("Material.opaque pattern: no random text matches; declare how each value begins as prefix")


class _Legacy(_Issued):
    """A key that signed before the adoption: any printable text that is not a template."""

    def _defects(self, text: str) -> Iterable[_Defect]:
        return (
            (text != text.rstrip("\r\n"), f"has {NEWLINE}", REMOVABLE[NEWLINE]),
            (not text.isprintable(), "has a newline or an invisible character", ""),
            (text.startswith("-----BEGIN "), "is the first line of a PEM block", ""),
            (len(text) < MIN_LEGACY, f"has fewer than {MIN_LEGACY} characters", ""),
        )


LEGACY: Final = _Legacy()
"""What the slot of the previous key accepts as well as the kind of its secret."""


class Url(_Issued):
    """A URL with a password, such as that of a database. `Material.url()` describes the field."""

    schemes: tuple[str, ...]

    def _rules(self) -> Iterable[tuple[object, str]]:
        return ((_are_texts(self.schemes, _SCHEME), ": schemes in lower case and without ://"),)

    def _has_scheme(self, text: str) -> bool:
        scheme = text.partition("://")[0].lower()
        is_reference = any(text.lower().startswith(each.lower()) for each in REFERENCES)
        return scheme in self.schemes or not (
            self.schemes or is_reference or not re.match(f"{_SCHEME}://", text.lower())
        )

    def _templates(self, text: str, variable: str) -> Iterable[str]:
        if not self._has_scheme(text.strip(_EDGES)):
            return (template(text, variable),)
        rest = text.strip(_EDGES).partition("://")[2]
        login, host, _ = _login(rest)
        user, colon, password = map(unquote, login.partition(":"))
        is_of_user = password.lower().rstrip("0123456789") == user.lower()
        is_judged = _MAY_BE_FILLED.search(user) or (not colon and len(user) >= MIN_USER)
        return (
            "" if login or rest[:1].isalnum() else template(rest, variable),
            "has an empty password" if colon and not password.strip() else "",
            "has the user's name as its password" if password and is_of_user else "",
            "has a vendor's default password" if password.lower() in _VENDORS else "",
            _of("password", template(password, variable) if password else ""),
            _of("user", template(user, variable) if is_judged else ""),
            _of("host", template(host) if host[:1] in {"<", "$", "{", "%"} else ""),
        )

    def _defects(self, text: str) -> Iterable[_Defect]:
        rest = text.partition("://")[2]
        login, host, is_encoded = _login(rest)
        user, colon, _ = login.partition(":")
        of_schemes = " of " * bool(self.schemes) + " or ".join(self.schemes)
        return (
            *super()._defects(text),
            (not self._has_scheme(text), f"is not a URL{of_schemes}", ""),
            (
                " " in text or not is_encoded,
                "has a blank, or a password with /, ? or # in it",
                "set {} with the special characters of its password percent-encoded (%2F is /)",
            ),
            (not colon and len(user) < MIN_USER, f"has no password, and no user of {MIN_USER} characters or more", ""),
            (not host and not re.search("host=|sock", rest.removeprefix(login)), "has no host", ""),
        )

    def searched(self, text: str) -> tuple[str, ...]:
        """Return the password as it is written and decoded; that of a URL without one is its user."""
        user, colon, password = _login(text.partition("://")[2])[0].partition(":")
        written = password if colon else user
        return tuple({written: None, unquote(written): None})

    def temporary(self) -> str:
        """Return a URL with a random password that has no fault."""
        return f"{(*self.schemes, 'postgresql')[0]}://temporary:{secrets.token_urlsafe(32)}@localhost/temporary"


def _login(rest: str) -> tuple[str, str, bool]:
    """Return the user with the password, and the host, of a URL without its scheme, and whether they are encoded."""
    authority = re.sub("(?s)[/?#].*", "", rest)
    port = authority.rpartition(":")[2]
    is_cut = "@" in rest and "@" not in authority and port != authority and not port.isdigit()
    login, _, host = (rest if is_cut else authority).rpartition("@")
    return login, re.sub(r":\d*\Z", "", host), not is_cut


class Pem(_Issued):
    """A private key in one PEM block. `Material.pem()` describes the field."""

    labels: tuple[str, ...] = ()

    def _rules(self) -> Iterable[tuple[object, str]]:
        return ((_are_texts(self.labels, "[A-Z0-9]+( [A-Z0-9]+)*"), ": labels in capitals, such as RSA PRIVATE KEY"),)

    def _templates(self, text: str, variable: str) -> Iterable[str]:
        _, _, body, end, after = _block(text)
        if not end:
            return (template(text, variable),)
        data = _parsed(partial(b64decode, validate=True), body.replace("\n", "")) or b""
        no_key = f"has a body that is not base64 of {MIN_PEM_BYTES} bytes or more"
        return _of("body", template(body)), "" if after or " " in body or len(data) >= MIN_PEM_BYTES else no_key

    def _defects(self, text: str) -> Iterable[_Defect]:
        before, label, body, end, after = _block(text)
        is_right = label in self.labels if self.labels else label.endswith("PRIVATE KEY")
        return (
            *_defects_around(text, has_lines=True),
            (before or not label, "does not begin with -----BEGIN", ""),
            (
                label and not body + end,
                "has its first line alone",
                r"set {} whole, with \n for each newline (docker --env-file takes one line)",
            ),
            (not end, "has no END line with the label of its BEGIN line", ""),
            (
                " " in body,
                "has blanks or backslashes in place of newlines",
                r"set {} with its newlines, or with \n for each",
            ),
            (after, "has more than one PEM block", "set {} to the block of the private key alone"),
            (not is_right, f"does not have the label {' or '.join(self.labels) or '... PRIVATE KEY'}", ""),
        )

    def searched(self, text: str) -> tuple[str, ...]:
        """Return the lines of the body."""
        return tuple(_block(text)[2].split("\n"))

    def temporary(self) -> str:
        """Return a block of random bytes that has no fault. It is not a key."""
        label = self.labels[0] if self.labels else "PRIVATE KEY"
        body = b64encode(secrets.token_bytes(48)).decode()
        return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def _block(text: str) -> tuple[str, str, str, str, str]:
    """Return what is before a PEM block, its label, the base64 in it, its end, and what is after it."""
    before, _, rest = text.replace("\\r", "").replace("\\n", "\n").partition("-----BEGIN ")
    label, _, rest = rest.partition("-----")
    body, end, after = rest.partition(f"-----END {label}-----")
    lines = (line.strip() for line in body.splitlines() if ":" not in line)  # an encrypted key has headers
    return before.strip(), label, "\n".join(filter(None, lines)).replace("\\", " "), end, after.strip()


class Json(_Issued):
    """Credentials as a JSON object. `Material.json()` describes the field."""

    members: tuple[str, ...]

    def _rules(self) -> Iterable[tuple[object, str]]:
        return ((_are_texts(self.members, "[!-~]+"), ": names in printable ASCII without blanks"),)

    def _templates(self, text: str, variable: str) -> Iterable[str]:
        members = _json_members(text)
        return (template(text, variable),) if members is None else self._faults_of(members, "placeholder")

    def _defects(self, text: str) -> Iterable[_Defect]:
        members = _json_members(text)
        yield from _defects_around(text, has_lines=True)
        yield members is None, "is not a JSON object", ""
        for name in self.members:
            yield name not in (members or {}), f"has no member {name}", ""
        if not self.members:
            yield not any(_texts_in(members or {})), "has no member that is a text", ""
        for message in self._faults_of(members or {}, "format"):
            yield message, message, ""

    def _faults_of(self, members: Mapping[str, Any], check: str) -> Iterable[str]:
        filled = [text for _, text in _texts_in(members) if not self.members and _MAY_BE_FILLED.search(text)]
        judged = [*self._secret(members), *[("member", text) for text in filled]]
        faults = [(part, fault) for part, value in judged if (fault := _member_fault(value))]
        return [_of(part, fault.message) for part, fault in faults if fault.check == check]

    def _secret(self, members: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return each secret member, with its name if that is declared: other names are parts of the value."""
        if self.members:
            return [(f"member {name}", value) for name, value in members.items() if name in self.members]
        return [("member", text) for name, text in _texts_in(members) if re.search(_SECRET_NAME, name)]

    def searched(self, text: str) -> tuple[str, ...]:
        """Return the secret members that are no e-mail addresses. A private key is searched by its lines."""
        named = [value for _, value in self._secret(_json_members(text) or {})]
        values = [value for value in named if not re.fullmatch(r"[^@\s]+@[^@\s]+", value)]
        return tuple(part for value in values for part in (Pem().searched(value) if _is_key(value) else (value,)))

    def temporary(self) -> str:
        """Return an object with random members that has no fault."""
        return json.dumps({name: secrets.token_urlsafe(32) for name in self.members or ("password",)})


def _texts_in(members: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield each member that is a text, also in objects and lists inside."""
    found = [*members.items()]
    for name, value in found:
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, (dict, list)):
            found += value.items() if isinstance(value, dict) else [(name, each) for each in value]


def _json_members(text: str) -> dict[str, Any] | None:
    """Return the members of a JSON object; `None` for other text. A long number is not parsed."""
    found = _parsed(partial(json.loads, parse_int=len, parse_float=len), text)
    return found if isinstance(found, dict) else None


def _member_fault(value: object) -> Fault | None:
    """Return what is wrong with a member: a text of any length, or a private key."""
    if not isinstance(value, str) or _parsed(str.encode, value) is None:  # JSON can have half a character
        return Fault("format", "is not a text")
    if _is_key(value) and "\\n" in value:  # JSON has such an escape of its own
        return Fault("format", "has newlines that were escaped twice")
    if _is_key(value):
        return Pem().fault(value)
    message = template(value) if value.strip() else "is empty"
    return Fault("placeholder", message) if message else None


def _is_key(text: str) -> bool:
    return text.lstrip().startswith("-----BEGIN ") and "PRIVATE KEY-----" in text


def _defects_around(text: str, *, has_lines: bool = False) -> Iterable[_Defect]:
    """Return each defect of the ends of a value, and invisible characters. Text with lines may end with one."""
    core = text if has_lines else text.rstrip("\r\n")
    return (
        (not text.strip(_EDGES), "has nothing but blanks and quotes", ""),  # without these, it would be empty
        (core != text, f"has {NEWLINE}", REMOVABLE[NEWLINE]),
        (core != core.strip() and not has_lines, f"has {BLANK}", REMOVABLE[BLANK]),
        (core[1:] and core[0] + core[-1] in {'""', "''"}, f"has {QUOTES}", REMOVABLE[QUOTES]),
        (
            not core.translate(_LINE_ENDS if has_lines else {}).isprintable(),
            "has a newline or an invisible character",
            "",
        ),
    )


def _of(part: str, message: str) -> str:
    """Return the message about a part of a value; empty for no message."""
    return message and f"has a {part} that {message}"


def _are_texts(values: object, pattern: str) -> bool:
    """Check whether declared names are a tuple of texts of a pattern."""
    return isinstance(values, tuple) and all(isinstance(each, str) and re.fullmatch(pattern, each) for each in values)


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    """Return what a parser returns; `None` for text that it refuses."""
    try:
        return parse(text)
    except Exception:  # noqa: BLE001 - each of them may have a part of the text
        return None
