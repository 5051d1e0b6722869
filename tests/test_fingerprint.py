"""The one derivation of a key that may be shown."""

from __future__ import annotations

import secrets
from hashlib import blake2b

import pytest
from conftest import V1, V2, Checker, good_keys
from spellings import respelled

from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr


def digest_of(text: str) -> str:
    """Return the digest in the fingerprint of a key in canonical form."""
    return blake2b(text.encode(), digest_size=16, person=b"robodj-sgfp1").hexdigest()


def test_its_definition() -> None:
    """It is BLAKE2b-128 with a personalisation of its own; a hexadecimal key is lower-cased first."""
    text, digits = secrets.token_urlsafe(32), secrets.token_hex(64)
    for key, canonical in ((text, text), (digits, digits), (digits.upper(), digits)):
        assert fingerprint(SealedStr(key)) == f"sgfp1:{digest_of(canonical)}"


@pytest.mark.parametrize(("size", "spellings"), [(32, 4), (64, 16), (33, 1)])
def test_respelled(size: int, spellings: int) -> None:
    """The unused bits of a base64url key's last character make no difference, and a generated key has none set."""
    key = secrets.token_urlsafe(size)
    others = respelled(key)
    assert len(others) == spellings - 1
    assert {fingerprint(SealedStr(other)) for other in (key, *others)} == {fingerprint(SealedStr(key))}
    assert fingerprint(SealedStr(key)).endswith(
        blake2b(key.encode(), digest_size=16, person=b"robodj-sgfp1").hexdigest()
    )


@pytest.mark.parametrize("digits", [66, 67, 128])
def test_hexadecimal_has_no_unused_bits(digits: int) -> None:
    """Hexadecimal text has none: each digit makes a key of its own."""
    key = secrets.token_hex(64)[: digits - 1]
    assert len({fingerprint(SealedStr(key + last)) for last in "0123456789abcdef"}) == 16


def test_a_length_that_no_decoder_accepts() -> None:
    """Base64url text of a length that no decoder accepts has one spelling."""
    key = secrets.token_urlsafe(33) + "A"
    assert len({fingerprint(SealedStr(key[:-1] + last)) for last in "ABQgw"}) == 5


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
