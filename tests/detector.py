"""A search for key material in output, in any form."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence

RUN = 6
"""How many consecutive characters of a key are a leak."""


def without_fingerprints(text: str) -> str:
    """Remove fingerprints and ids of keys, and hashes of records, which may be shown."""
    return re.sub(r"(?:sgfp1:|kid='|key id )[0-9a-f]{32}|sha256:[0-9a-f]{64}", "", text)


def _without_digits(text: str) -> str:
    """Remove addresses, ids and times: by chance, six digits of one may also be in a hexadecimal key."""
    text = re.sub(r"\b\d{1,7}(?=\.\d+@\d{4}-)|(?<=:)\d{1,7}(?=\\*\")", "", text)  # of a process in its events
    text = re.sub(r"\b1[34]\d{13}\b", "", text)
    text = re.sub(r" at 0x[0-9a-f]{6,16}\b", " at", text, flags=re.IGNORECASE)
    return re.sub(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?", "", text)


def leaks(text: str, keys: Sequence[str], *, folded: int = RUN + 2) -> list[str]:
    """Return the parts of keys that are in a text: six consecutive characters, in any form. Fingerprints are ignored.

    The forms: raw, reversed, case-folded, hexadecimal, decimal, base64 at every alignment, UTF-16, escaped, wrapped.

    Args:
        text: the output, with surrogates for bytes that are not text.
        keys: the keys to search for.
        folded: how many characters are a leak where only the case differs. Six are found in ordinary words by chance,
            with a few hundred keys. A test that searches for six must repeat the search with other keys.
    """
    views = list(dict.fromkeys(_views(_without_digits(without_fingerprints(text)))))
    runs = {run for key in dict.fromkeys(keys) for run in _forms(key, RUN)}
    found = {run for view in views for run in _shown(view, runs)}
    runs = {run.casefold() for key in dict.fromkeys(keys) for run in _forms(key, folded)}
    return sorted(found.union(*(_shown(view, runs) for view in dict.fromkeys(view.casefold() for view in views))))


def _shown(view: str, runs: Iterable[str]) -> list[str]:
    """Return the runs that are in a text. Looking up their beginnings first is faster."""
    beginnings = {view[at : at + RUN] for at in range(len(view) - RUN + 1)}
    return [run for run in runs if run[:RUN] in beginnings and run in view]


def _views(text: str) -> Iterator[str]:
    """Yield a text as it is, without the zero bytes of UTF-16, and without line breaks and separators."""
    yield text
    yield text.replace("\0", "").replace("\\x00", "").replace("\\u0000", "")
    yield re.sub(r"[^A-Za-z0-9+/_-]+", "", re.sub(r"\x1b\[[0-9;]*m|\\[nrt]", "", text))


def _forms(key: str, length: int) -> Iterator[str]:
    """Yield every run of a key in every form."""
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
            # Without the characters that depend on the bytes before and after.
            encoded = base64.b64encode(bytes(shift) + part).decode().rstrip("=")
            whole = encoded[-(-shift * 8 // 6) : (shift + length) * 8 // 6]
            yield whole
            yield whole.replace("+", "-").replace("/", "_")


def _runs(text: str, length: int) -> Iterator[str]:
    return (text[at : at + length] for at in range(len(text) - length + 1))
