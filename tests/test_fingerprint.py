"""The one derivation of a key that may be shown."""

from __future__ import annotations

import secrets
from hashlib import blake2b

from conftest import V1, V2, Checker, good_keys

from robodj_secretguard.fingerprint import fingerprint
from robodj_secretguard.sealed import SealedStr


def test_its_definition() -> None:
    """BLAKE2b-128 with a personalisation of its own, of the lower-cased key if that is hexadecimal."""
    text, digits = secrets.token_urlsafe(32), secrets.token_hex(64)
    for key, canonical in ((text, text), (digits, digits), (digits.upper(), digits)):
        digest = blake2b(canonical.encode(), digest_size=16, person=b"robodj-sgfp1").hexdigest()
        assert fingerprint(SealedStr(key)) == f"sgfp1:{digest}"


def test_one_domain_for_all_names(checker: Checker) -> None:
    """The same key has the same fingerprint under another name."""
    key = secrets.token_urlsafe(64)
    first, second = (status.fingerprint for status in checker({V1: key, V2: key}).secrets)
    assert first == second is not None


def test_only_of_a_key_that_passed_format_and_strength(checker: Checker) -> None:
    """A passphrase could be guessed from it."""
    for value in ("", "changeme", "short", "Zy" * 30, good_keys()[V1] + "\n"):
        assert checker(good_keys() | {V1: value}).secrets[0].fingerprint is None
    assert checker(good_keys() | {f"{V1}_EXPIRES_AT": "2026-01-01T00:00Z"}).secrets[0].fingerprint is not None
