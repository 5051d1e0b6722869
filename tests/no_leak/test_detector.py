"""The detector of leaks: it finds parts of keys, so a test that finds none proves something."""

from __future__ import annotations

import base64
import json
import secrets
import textwrap
from collections.abc import Callable

import pytest
from detector import RUN, leaks

FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "upper": str.upper,
    "reversed": lambda part: part[::-1],
    "hex": lambda part: part.encode().hex(),
    "hex in upper case": lambda part: part.encode().hex().upper(),
    "hex with colons": lambda part: part.encode().hex(":"),
    "decimal": lambda part: str(list(part.encode())),
    "base64": lambda part: base64.b64encode(part.encode()).decode(),
    "base64 after one": lambda part: base64.b64encode(f"x{part}".encode()).decode(),
    "base64 after two": lambda part: base64.urlsafe_b64encode(f"xy{part}z".encode()).decode(),
    "UTF-16": lambda part: part.encode("utf-16").decode("latin-1"),
    "UTF-16 in a repr": lambda part: repr(part.encode("utf-16-be")),
    "wrapped": lambda part: "\n".join(f"│ {piece} │" for piece in textwrap.wrap(part, 2)),
    "wrapped in a repr": lambda part: f"('{part[:3]}'\n '{part[3:]}')",
    "coloured": lambda part: f"\x1b[32m{part[:3]}\x1b[0m\x1b[1;31m{part[3:]}\x1b[0m",
    "over lines of JSON": lambda part: json.dumps(f"{part[:3]}\n{part[3:]}"),
}


@pytest.mark.parametrize("shape", FORMS.values(), ids=FORMS)
def test_six_characters_are_found(shape: Callable[[str], str]) -> None:
    """Six characters in a row of a key are found, in every form and at every place in it."""
    key = secrets.token_urlsafe(32)
    for at in range(len(key) - RUN + 1):
        assert leaks(f"before {shape(key[at : at + RUN])} after", [key], folded=RUN)


@pytest.mark.parametrize("shape", FORMS.values(), ids=FORMS)
def test_other_keys(shape: Callable[[str], str]) -> None:
    """Another key is not found, and five characters are not a leak."""
    key = secrets.token_urlsafe(32)
    key = f"{key[: RUN - 1]}-{key[RUN:]}"  # otherwise the character after five could be the sixth by chance
    assert leaks(f"before {shape(secrets.token_urlsafe(32))} after", [key]) == []
    assert leaks(f"before {shape(key[: RUN - 1])} after", [key]) == []


def test_an_address_is_not_a_leak() -> None:
    """An address shares six digits with a key by chance at times. A whole key in the same place is found."""
    key = secrets.token_hex(64)
    assert leaks(f"<Report object at 0x{key[:12]}>", [key]) == []
    assert leaks(f"<Report object at 0x{key}>", [key])
    assert leaks(f"<Report object 0x{key[:12]}>", [key])


def test_the_id_of_a_process_is_not_a_leak() -> None:
    """An event has the id of its process, whose digits a key has by chance at times."""
    event = '{"instance": "host:178510", "process": "178510.0@2026-12-07T10:30:00.000000Z"}'
    key = f"178510{'x' * 61}"
    assert leaks(f"{event}\n{json.dumps(event)}", [key]) == []
    assert leaks('{"number": 178510}', [key])


def test_a_value_with_escapes() -> None:
    """A value that is shown by its repr is found."""
    value = "a\x1b\n\u202e\udcff\tZ"
    assert leaks(repr({"value": value}), [value])
    assert leaks(json.dumps({"value": value}), [value])


def test_a_fingerprint_is_not_a_leak() -> None:
    """A fingerprint is not found: it is made to be shown."""
    fingerprint = f"sgfp1:{secrets.token_hex(16)}"
    assert leaks(f"before {fingerprint} after", [fingerprint]) == []
