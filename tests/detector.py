"""Finds key material in what was written, in whatever form it got there."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

RUN = 6
"""How many characters of a key, in a row, are a leak."""


def without_fingerprints(text: str) -> str:
    """Take out what may be shown of a key: its fingerprint, and the hash of a record that has it."""
    return re.sub(r"sgfp1:[0-9a-f]{32}|sha256:[0-9a-f]{64}", "", text)


def _without_addresses(text: str) -> str:
    """Take out where an object is: six digits of it stand in a hexadecimal key by chance, now and then."""
    return re.sub(r" at 0x[0-9a-f]{6,16}\b", " at", text, flags=re.IGNORECASE)


def leaks(text: str, keys: Sequence[str], *, folded: int = RUN + 2) -> list[str]:
    """Return what of keys stands in text, fingerprints aside: six characters in a row, in any form.

    Raw, reversed, case-folded, hexadecimal, decimal, base64 at every alignment, UTF-16, escaped, wrapped over lines.

    Args:
        text: what was written; bytes that are no text as surrogates.
        keys: what must not show.
        folded: how many characters count where only the case differs. Chance finds six case-folded characters of a
            few hundred keys in ordinary words: who looks for six must look again with other keys.
    """
    views = list(dict.fromkeys(_views(_without_addresses(without_fingerprints(text)))))
    runs = {run for key in dict.fromkeys(keys) for run in _forms(key, RUN)}
    found = {run for view in views for run in _shown(view, runs)}
    runs = {run.casefold() for key in dict.fromkeys(keys) for run in _forms(key, folded)}
    return sorted(found.union(*(_shown(view, runs) for view in dict.fromkeys(view.casefold() for view in views))))


def _shown(view: str, runs: Iterable[str]) -> list[str]:
    """Return which of many runs stand in a text; where each begins is looked up before it is searched for."""
    beginnings = {view[at : at + RUN] for at in range(len(view) - RUN + 1)}
    return [run for run in runs if run[:RUN] in beginnings and run in view]


def _views(text: str) -> Iterator[str]:
    """Yield a text as it is, without UTF-16's zero bytes, and without all that a line break can put into a key."""
    yield text
    yield text.replace("\0", "").replace("\\x00", "").replace("\\u0000", "")
    yield re.sub(r"[^A-Za-z0-9+/_-]+", "", re.sub(r"\x1b\[[0-9;]*m|\\[nrt]", "", text))


def _forms(key: str, length: int) -> Iterator[str]:
    """Yield every run of a key in every form; each of them is longer than a run that chance could write."""
    for spelt in dict.fromkeys((key, repr(key)[1:-1], json.dumps(key)[1:-1])):
        for run in _runs(spelt, length):
            yield run
            yield run[::-1]
    raw = key.encode("utf-8", "surrogateescape")
    for at in range(len(raw) - length + 1):
        part = raw[at : at + length]
        yield part.hex()
        yield "".join(map(str, part))
        for shift in range(3):
            # Less the characters that depend on what stands before and after.
            encoded = base64.b64encode(bytes(shift) + part).decode().rstrip("=")
            whole = encoded[-(-shift * 8 // 6) : (shift + length) * 8 // 6]
            yield whole
            yield whole.replace("+", "-").replace("/", "_")


def _runs(text: str, length: int) -> Iterator[str]:
    return (text[at : at + length] for at in range(len(text) - length + 1))
