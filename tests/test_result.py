"""The result of a scan as JSON: an invalid document is refused, and a name that could hold a key is hidden."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from conftest import NOW

from robodj_secretguard.scan.result import REDACTED, Carrier, Found, KnownKey, Scan, Unread, parse

FINGERPRINT = f"sgfp1:{'1' * 32}"
KEY = secrets.token_urlsafe(32)
FOUND = Found(
    rule="known-key",
    where="history",
    secret="secret.key",  # noqa: S106 - a name
    fingerprint=FINGERPRINT,
    path="a/b.txt",
    line=1,
    column=1,
    offset=0,
    object="a" * 64,
    object_type="blob",
    carriers=(Carrier(None, "/c/d"), Carrier("b" * 40, "")),
)
SCAN = Scan(
    ok=False,
    complete=False,
    scanned_at=NOW,
    scope="git-history",
    looked_for=(KnownKey(FINGERPRINT, None, "prod", ("environment",)),),
    variables=("NAME",),
    files=0,
    objects=0,
    size=0,
    findings=(FOUND,),
    unread=(Unread("e/f", "it is not there"), Unread("keys", "of no matter", matters=False)),
)


def read(**edits: Any) -> Scan | None:
    """Return the scan that is read from edited JSON: fields of the scan, or of its finding."""
    document = SCAN.as_dict()
    for name, value in edits.items():
        (document if name in document else document["findings"][0])[name] = value
    return parse(json.dumps(document).encode())


def test_a_scan_is_read_as_it_was_written() -> None:
    """A scan is the same after it is written and read, and cannot be changed."""
    assert {read()} == {SCAN}
    assert read(path=None, line=2, column=2, offset=1, size=1, object="a" * 40) is not None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (-1, "0", True)) for name in ("files", "objects", "size", "offset")),
        *((name, (0, 1.5, True)) for name in ("line", "column")),
        *((name, ("a\nb", "\x1b[2J", 1)) for name in ("path", "form", "secret", "environment")),
        ("path", ("é",)),
        ("object", ("a" * 41, "HEAD", "A" * 40)),
        ("carriers", ([{"commit": "a" * 39, "path": "b"}], [{"commit": None, "path": "b\n"}])),
        ("looked_for", ([{"fingerprint": "sgfp1:none"}], [{"fingerprint": FINGERPRINT, "known_by": ["a\x1b[2J"]}])),
        ("variables", (["A\nALERT: forged"], "NAME")),
        *((name, ("another", None)) for name in ("rule", "where", "scope")),
        ("object_type", ("link",)),
        ("schema", (2,)),
        ("kind", ("report", None)),
        ("scanned_at", ("today", "2026-12-01T12:00:00")),
        ("unknown", (1,)),
        *((name, (True, None)) for name in ("ok", "complete")),
        ("unread", ([],)),
    ],
)
def test_invalid_document(name: str, values: tuple[Any, ...]) -> None:
    """A document is refused if a field is invalid or unknown, or if the verdict contradicts the findings."""
    assert [value for value in values if read(**{name: value}) is not None] == []


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"null", b"ALERT: no key\n", b"\xff\xfe{}", b"\xff", b"[" * 100_000, b'{"schema": NaN}']
)
def test_other_text(text: bytes) -> None:
    """Text that is not the JSON of a scan is refused."""
    assert parse(text) is None


@pytest.mark.parametrize("unread", [[], [{"place": "a", "why": "b", "matters": False}]])
@pytest.mark.parametrize("findings", [[], SCAN.as_dict()["findings"]])
def test_the_verdict(unread: list[Any], findings: list[Any]) -> None:
    """A scan is complete if nothing that matters was missed, and ok if it also has no findings."""
    verdict = {"unread": unread, "findings": findings, "complete": True, "ok": not findings}
    assert read(**verdict) is not None
    assert read(**(verdict | {"ok": bool(findings)})) is None
    assert read(**(verdict | {"complete": False})) is None


def test_names_that_could_hold_a_key() -> None:
    """A name that could hold a key is redacted, since anybody may have written the document."""
    places = [{"place": f"a/{KEY}/b", "why": "c"}]
    scan = read(unread=places, path=f"{KEY}/a", carriers=[{"commit": None, "path": f"a//{KEY}"}])
    assert scan is not None
    (found,) = scan.findings
    assert (scan.unread[0].place, found.path) == (f"a/{REDACTED}/b", f"{REDACTED}/a")
    assert [each.path for each in found.carriers] == [f"a//{REDACTED}"]
