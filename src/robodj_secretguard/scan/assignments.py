"""The pattern rule: a declared variable that is given a value which would pass as its key."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from robodj_secretguard.material import is_sound
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from robodj_secretguard.policy import SecretPolicy

_NAME_GOES_ON: Final = re.compile(rb"[A-Za-z0-9_]")
_GIVEN: Final = re.compile(
    rb"""
    \\?+ ["'`)\]}]*+                                        # the end of the name: "NAME":, env["NAME"] =
    (?: \s*+ ,? \s*+ -? [ \t]*+ ["']? [Vv]alue ["']? \s*+ [:=]  # name: NAME, and value: in Kubernetes and compose
      | -                                                   # ${NAME-value}
      | \s*+ (?: => | :- | [:?+]?= | : \s*+ | [,>] )        # NAME=, NAME:, ${NAME:-value} and what else assigns
      | [ \t] )                                             # ENV NAME value, setenv NAME value
    [ \t]*+
    (?: [|>][+-]? [ \t]*+ \r?\n [ \t]*+ | \\ \r?\n [ \t]*+ )?  # a block of YAML, a line that goes on
    (?: [!&]{1,2} \w*+ [ \t]++ )?                           # a tag or an anchor of YAML
    \\?+ \$? ["'`]?
    (?P<value> [A-Za-z0-9+/_-]++ ={0,2}+ )
    """,
    re.VERBOSE,
)
_ENDED: Final = re.compile(rb"""["'`]?(?:[\s,;)\]}\#&<>|\\\x00]|/>|\Z)""")


class Assignment(NamedTuple):
    """A declared variable, and what it is given.

    Attributes:
        offset: where the value begins, in characters.
        policy: the secret whose variable it is.
        key: the value, decoded where it is in base64.
        forms: what it is encoded as.
    """

    offset: int
    policy: SecretPolicy
    key: SealedStr
    forms: tuple[str, ...]


def assignments(text: bytes, policies: Iterable[SecretPolicy]) -> Iterator[Assignment]:
    """Yield every assignment of a sound key to a declared variable: placeholders and templates are none.

    Args:
        text: the text, as one byte for each character.
        policies: the declared secrets.
    """
    for policy in policies:
        name = policy.variable.encode()
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            is_whole = not (start and _NAME_GOES_ON.match(text, start - 1))
            if is_whole and (given := _GIVEN.match(text, end)):
                end = given.end()
                if _ENDED.match(text, end):
                    yield from _sound(given, policy)
            start = text.find(name, end)


def _sound(given: re.Match[bytes], policy: SecretPolicy) -> Iterator[Assignment]:
    # Decoded first: what is base64 of a key may pass as one itself.
    for key, forms in ((_text(_decoded(given["value"])), ("base64",)), (_text(given["value"]), ())):
        if is_sound(key.get_secret_value(), policy.material):
            yield Assignment(given.start("value"), policy, key, forms)
            return


def _text(data: bytes) -> SealedStr:
    return SealedStr(data.decode("ascii") if data.isascii() else "")


def _decoded(value: bytes) -> bytes:
    """Return what a value of a Kubernetes secret is in base64, without the end of a line; nothing where it is none."""
    try:
        return binascii.a2b_base64(value, strict_mode=True).rstrip(b"\r\n")
    except binascii.Error:
        return b""
