"""The kind of credentials as JSON, such as those of a cloud, and of keys in JSON."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from robodj_secretguard.secret.issued import Faults, Issued, are_texts, malformed, part_message
from robodj_secretguard.secret.material import Fault, decoded
from robodj_secretguard.secret.pem import Pem
from robodj_secretguard.secret.templates import may_be_filled, template

Members: TypeAlias = Mapping[str, Any]
"""The members of a JSON object."""
_SECRET_NAME: Final = r"(?i)(pass(word|wd|phrase)?|pwd|secret|key|token|credentials?)[0-9]*\Z"  # noqa: S105 - names
"""How the name of a member ends that is secret, where no member is declared."""
_OF_KEYS: Final = ("d", "k", "p", "q", "dp", "dq", "qi")
"""The secret members of a key in JSON (RFC 7518)."""


class Json(Issued):
    """Credentials as a JSON object, or a list of keys. `Material.json()` describes the field."""

    members: tuple[str, ...]

    has_lines = True

    def validate(self) -> None:
        """Raise a `ValueError` for an invalid field."""
        if not are_texts(self.members, "[!-~]+"):
            raise ValueError("Material.json: names in printable ASCII without blanks")

    def faults(self, text: str, variable: str) -> Faults:
        """Yield what is wrong with credentials. The first fault counts."""
        members = read_members(text)
        if members is None:  # only other text has comments or a name beside it
            yield from super().faults(text, variable)
        else:
            yield from self._faults_in(members)

    def placeholder_in(self, text: str, variable: str) -> str:
        """Return the message about a member that is a template; empty for none."""
        members = read_members(text)
        if members is None:
            return template(text, variable)
        fault = next(self._faults_in(members), None)
        return fault.message if fault and fault.check == "placeholder" else ""

    def format_faults(self, text: str) -> Faults:  # noqa: ARG002 - members have faults of their own
        """Yield that text is not the format of credentials."""
        yield malformed("is not a JSON object")

    def _faults_in(self, members: Members) -> Faults:
        """Yield what is wrong with members: a template first."""
        found = []
        for part, value in self._judged(members):
            if fault := _member_fault(value):
                found.append(Fault(fault.check, part_message(part, fault.message)))
        yield from (fault for fault in found if fault.check == "placeholder")
        for name in self.members:
            if name not in members:
                yield malformed(f"has no member {name}")
        if not self.members and not any(_texts_in(members)):
            yield malformed("has no member that is a text")
        yield from found
        yield from _faults_of_keys(members)

    def _judged(self, members: Members) -> Iterator[tuple[str, Any]]:
        """Yield each member that may be a template, with its name if that is declared: others show the value."""
        yield from ((f"member {name}", members[name]) for name in self.members if name in members)
        for name, text in self._undeclared(members):
            if re.search(_SECRET_NAME, name) or may_be_filled(text):
                yield "member", text
        yield from (("key", key["k"]) for key in _json_keys(members) if "k" in key)

    def _undeclared(self, members: Members) -> Iterable[tuple[str, str]]:
        """Return each text, where no member is declared."""
        return () if self.members else _texts_in(members)

    def searched(self, text: str) -> tuple[str, ...]:
        """Return the secret members that are no e-mail addresses. A private key is searched by its lines."""
        members = read_members(text) or {}
        values = [members[name] for name in self.members]
        values += [value for name, value in self._undeclared(members) if re.search(_SECRET_NAME, name)]
        values += [key[name] for key in _json_keys(members) for name in _OF_KEYS if name in key]
        found: list[str] = []
        for value in values:
            if _is_pem(value):
                found += Pem().searched(value)
            elif not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
                found.append(value)
        return tuple(found)

    def temporary(self) -> str:
        """Return an object with random members that has no fault."""
        return json.dumps({name: secrets.token_urlsafe(32) for name in self.members or ("password",)})


def read_members(text: str) -> Members | None:
    """Return the members of a JSON object, or a list of keys as one; `None` for other text."""
    try:
        found = json.loads(text, parse_int=len, parse_float=len)  # a long number is not parsed
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list) and found and all(isinstance(each, dict) and "kty" in each for each in found):
        return {"keys": found}
    return found if isinstance(found, dict) else None


def _texts_in(members: Members) -> Iterator[tuple[str, str]]:
    """Yield each member that is a text, also in objects and lists inside."""
    found = [*members.items()]
    for name, value in found:
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            found += value.items()
        elif isinstance(value, list):
            found += [(name, each) for each in value]


def _json_keys(members: Members) -> list[dict[str, str]]:
    """Return the keys in JSON: the object itself, or those in its list. Only texts count."""
    listed = members.get("keys")
    found = [each for each in (listed if isinstance(listed, list) else [members]) if isinstance(each, dict)]
    return [
        {name: text for name, text in each.items() if isinstance(text, str)}
        for each in found
        if isinstance(each.get("kty"), str)
    ]


def _faults_of_keys(members: Members) -> Faults:
    """Yield that a key in JSON is public. JSON of which a part is missing cannot be parsed."""
    for key in _json_keys(members):
        if not decoded(key.get("d", key.get("k", ""))):
            yield malformed("has a key without its private part", "set {} to the private keys")


def _member_fault(value: object) -> Fault | None:
    """Return what is wrong with a member: a text of any length, or a private key."""
    if not isinstance(value, str) or re.search("[\ud800-\udfff]", value):  # JSON can have half of a character
        return malformed("is not a text")
    if not value.strip():
        return Fault("placeholder", "is empty")
    if not _is_pem(value):
        return Fault("placeholder", message) if (message := template(value)) else None
    if "\\n" in value:  # JSON has such an escape of its own
        return malformed("has newlines that were escaped twice")
    return Pem().fault(value)


def _is_pem(text: str) -> bool:
    return text.lstrip().startswith("-----BEGIN ") and "PRIVATE KEY" in text
