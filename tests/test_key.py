"""Keys of any generator, and keys that signed before the adoption of this library."""

from __future__ import annotations

import base64
import json
import re
import secrets
import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management.utils import get_random_secret_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from values import PRIVATE_KEYS, certificate, judge, key_pair

from robodj_secretguard import Generator, Material
from robodj_secretguard.secret.key import LEGACY, MIN_BITS, alphabet_size, bits

KEY = Material.key()
ALNUM = string.ascii_letters + string.digits
WORDPRESS = f"{ALNUM}!@#$%^&*()-_ []{{}}<>~`+=,.;:/?|"
NETBOX = f"{ALNUM}!@#$%^&*(-_=+)"
DER = "is a key as DER, which may be public"
PUBLIC = "is a public key, with which anybody can sign"
FILE = "is a key as PEM or JSON, which may be public"
TOKEN = "is a JSON Web Token, not a key"  # noqa: S105 - a message
WEAK = f"has fewer than {MIN_BITS} bits (a word counts as 11)"


def of(alphabet: str, length: int) -> Callable[[], str]:
    """Return what makes a random text."""
    return lambda: "".join(secrets.choice(alphabet) for _ in range(length))


def of_base64(size: int) -> Callable[[], str]:
    """Return what makes the output of `openssl rand -base64`."""
    return lambda: base64.b64encode(secrets.token_bytes(size)).decode()


REAL: dict[str, tuple[int, Callable[[], str]]] = {
    "Django": (50, get_random_secret_key),
    "NetBox": (50, of(NETBOX, 50)),
    "n8n": (32, of_base64(24)),
    "Mastodon": (128, lambda: secrets.token_hex(64)),
    "WordPress": (64, lambda: f"k{of(WORDPRESS, 62)()}k"),
    **{f"openssl rand -base64 {size}": (32, of_base64(size)) for size in (24, 32, 33, 48, 64)},
    **{f"openssl rand -hex {size}": (32, partial(secrets.token_hex, size)) for size in (16, 20, 32, 64)},
    "hex in capitals": (32, lambda: secrets.token_hex(24).upper()),
    "lower case": (32, of(string.ascii_lowercase, 32)),
    "lower case and digits": (32, of(string.ascii_lowercase + string.digits, 32)),
    "letters and digits": (32, of(ALNUM, 32)),
    "base32": (32, of(string.ascii_uppercase + "234567", 32)),
    "digits": (40, of(string.digits, 40)),
    "UUID": (64, lambda: "-".join(secrets.token_hex(each) for each in (4, 2, 2, 2, 6, 4, 2, 2, 2, 6))),
    "in groups": (32, lambda: "-".join(of(string.ascii_uppercase + string.digits, 5)() for _ in range(8))),
    "printable": (32, lambda: f"k{of(ALNUM + string.punctuation.replace('#', ''), 32)()}k"),
    "other script": (
        32,
        of("".join(map(chr, range(0x430, 0x450))), 32),
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_key_of_any_generator_passes(name: str) -> None:
    """A key of a well-known product or a usual command passes. A few in 10,000 have words in them by chance."""
    minimum, make = REAL[name]
    kind = Material.key(minimum)
    assert sum(not kind.accepts(make(), "SHOP_SECRET") for _ in range(100)) <= 3


class TestKey:
    """`Material.key()`."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("changeme", ("placeholder", "is a placeholder")),
            ("django-insecure-8f%k2h3j", ("placeholder", "is a key that django-admin startproject wrote")),
            ("your-very-long-secret-key-goes-here-123", ("placeholder", "is a placeholder")),
            ("SHOP_SECRET", ("placeholder", "is the name of a variable")),
            ("correct-horse-battery-staple-is-the-password", ("placeholder", "is a placeholder")),
            (base64.b64encode(b"the quick brown fox jumps over").decode(), ("placeholder", "is a placeholder")),
            ("zq9Kif83w7Lp2Xv0zq9Kif83w7Lp2Xv", ("format", "has 31 characters, not 32 or more")),
            ("zq9Kif83w7Lp2Xv", ("format", "has fewer than 16 characters")),
            ("h4#" * 12, ("placeholder", "is a placeholder")),
            ("01" * 20, ("placeholder", "is a placeholder")),
            (
                "7717177111771717711171771177171771",
                ("weak", "is clearly not random: it has fewer than 4 distinct characters"),
            ),
            ("https://shop.net/kif/8c4f2a9d1b7e6035aa", ("format", "is a URL, not a key")),
            ("zq9Kif83\u202ew7Lp2Xv0zq9Kif83w7Lp2Xv0", ("format", "has a newline or an invisible character")),
        ],
        ids=range(13),
    )
    def test_other_text_is_refused(self, text: str, expected: tuple[str, str]) -> None:
        """A template, a short or a weak text, and another kind of secret are refused for what they are."""
        assert judge(KEY, text) == expected

    @pytest.mark.parametrize("minimum", [32, 50, 100])
    def test_minimum_counts_characters(self, minimum: int) -> None:
        """A key has as many characters as declared."""
        text = of(NETBOX, minimum)()
        kind = Material.key(minimum)
        assert (judge(kind, f"{text}k")[0], judge(kind, text[:-2])[0]) == ("", "format")

    def test_prefix_is_required_and_is_no_part_of_the_strength(self) -> None:
        """A key begins with the prefix, which adds no bits. After it is no template."""
        kind = Material.key(16, "shop-signing-key-")
        key = f"shop-signing-key-{secrets.token_hex(16)}"
        assert judge(kind, key) == ("", "")
        assert judge(kind, key[1:]) == ("format", "does not begin with shop-signing-key-")
        assert judge(kind, key[:-1]) == ("weak", WEAK)
        assert judge(kind, "shop-signing-key-changeme")[0] == "placeholder"

    def test_blank_at_the_end_is_a_part_of_a_key_of_any_symbols(self) -> None:
        """Generators that use brackets use blanks too, at the ends and with # after them. A newline is none of them."""
        key = f" {of(ALNUM, 20)()}{{>[~ #7{of(ALNUM, 20)()} "
        assert judge(KEY, key) == ("", "")
        assert judge(KEY, key.replace("{>[~", "")) != ("", "")
        assert judge(KEY, f"{key}# the key of the shop")[1] == "has a comment next to its value"
        assert judge(KEY, f"{key}\n") == ("format", "has a newline at the end")
        assert judge(KEY, "<the secret key of the shop goes here>")[0] == "placeholder"

    def test_key_has_a_fingerprint(self) -> None:
        """Nobody can guess a key of 128 bits, so it has a fingerprint, also where others issue it."""
        assert (KEY.has_fingerprint, KEY.is_taken_whole) == (True, True)

    def test_template_after_the_prefix_is_a_placeholder(self) -> None:
        """What is after the prefix may be a template by itself."""
        assert judge(Material.key(prefix="zq9-83-"), "zq9-83-op://vault/item/field") == (
            "placeholder",
            "is a reference that nobody resolved (op://)",
        )

    @pytest.mark.parametrize("prefix", ["a\n", " a", "\u00e9"])
    def test_prefix_is_printable(self, prefix: str) -> None:
        """A prefix that no key can have is an error where the kind is made."""
        with pytest.raises(ValueError, match="key prefix: printable ASCII"):
            Material.key(prefix=prefix)

    def test_new_keys_are_made_with_the_prefix(self) -> None:
        """The generator makes keys with the prefix, of 32 bytes or more and of the declared length."""
        for minimum, prefix, size in ((32, "", 32), (16, "kif-", 32), (100, "", 75), (101, "k", 75)):
            kind = Material.key(minimum, prefix)
            assert kind.generator == Generator("token_urlsafe", size, prefix)
            assert kind.generator.characters >= minimum
            assert len(kind.temporary()) == kind.generator.characters
            assert (kind.temporary().startswith(prefix), kind.accepts(kind.temporary())) == (True, True)


class TestBits:
    """The estimate of the bits of a key."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", 0),
            ("0f" * 16, 128),
            ("0F-0f" * 8, 128),
            ("8374629105", 33.2),
            ("zqkxjwvbnm", 47.0),
            ("zqKxJwVbNm", 59.5),
            ("zq9KxJ8wVb", 59.5),
            ("zq9KxJ8w!b", 59.8),
            ("zq9.KxJ/8w:Vb", 78.3),
            ("\u0431\u0433\u0434\u0436", 24),
            ("correct horse battery staple", 44),
            ("correcthorse battery", 33),
            ("winterstem", 22),
            ("the 8374629105", 62.7),
        ],
    )
    def test_each_character_counts_by_its_alphabet(self, text: str, expected: float) -> None:
        """A character counts by the alphabet of the text, which has the symbols in it. A word counts 11 bits."""
        assert bits(text) == pytest.approx(expected, abs=0.1)

    def test_alphabet(self) -> None:
        """An alphabet has the classes of characters that occur, and the symbols. Letters of both cases imply digits."""
        assert [alphabet_size(text) for text in ("", "a", "aA", "aA0", "aA0!!?", "\u0431a")] == [0, 26, 62, 62, 64, 90]

    @pytest.mark.parametrize("text", ["winter garden summer forest river mountain", "Winter-Garden-Summer-2026"])
    def test_few_words_are_weak(self, text: str) -> None:
        """A phrase of a few words has less than 128 bits."""
        assert bits(text) < MIN_BITS


def public_der(algorithm: str, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    """Return a public key in DER."""
    made: bytes = key_pair(algorithm).public_key().public_bytes(Encoding.DER, form)
    return made


def public_ssh(algorithm: str) -> str:
    """Return a public key of OpenSSH."""
    made: bytes = key_pair(algorithm).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return made.decode()


def public_pem() -> str:
    """Return a public key in PEM on one line."""
    made: bytes = key_pair("RSA").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made.decode().strip().replace("\n", "\\n")


def web_key(algorithm: str) -> str:
    """Return a public key in JSON."""
    of_algorithm: Any = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "Ed25519": OKPAlgorithm}[algorithm]
    made: str = of_algorithm.to_jwk(key_pair(algorithm).public_key())
    return made


def encoded(data: bytes) -> str:
    """Return base64 of bytes."""
    return base64.b64encode(data).decode()


def public_der_text(algorithm: str) -> str:
    """Return base64 of a public key in DER."""
    return encoded(public_der(algorithm))


def url_safe(data: bytes) -> str:
    """Return base64url of bytes."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token() -> str:
    """Make a JSON Web Token."""
    return jwt.encode({"exp": datetime.now(UTC) + timedelta(days=1)}, secrets.token_hex(32))


PUBLIC_KEYS: dict[str, tuple[str, Callable[[], str]]] = {
    **{f"SPKI, {name}": (DER, partial(public_der_text, name)) for name in ("RSA", "EC", "P-521", "Ed25519")},
    "SPKI, base64url": (DER, lambda: url_safe(public_der("RSA"))),
    "SPKI, hexadecimal": (DER, lambda: public_der("RSA").hex()),
    "PKCS#1": (DER, lambda: encoded(public_der("RSA", PublicFormat.PKCS1))),
    **{f"OpenSSH, {name}": (PUBLIC, partial(public_ssh, name)) for name in ("RSA", "EC", "Ed25519")},
    "OpenSSH with a name": (PUBLIC, lambda: f"{public_ssh('RSA')} kif@shop.net"),
    "OpenSSH with blanks": (PUBLIC, lambda: public_ssh("RSA").replace(" ", "  ")),
    "OpenSSH, the base64": (PUBLIC, lambda: public_ssh("Ed25519").split()[1]),
    "PEM": (FILE, public_pem),
    "certificate": (FILE, lambda: certificate().strip().replace("\n", "\\n")),
    **{f"JWK, {name}": (FILE, partial(web_key, name)) for name in ("RSA", "EC", "Ed25519")},
    "JWKS": (FILE, lambda: json.dumps({"keys": [json.loads(web_key("RSA"))]})),
    "JWK in a list": (FILE, lambda: f"[{web_key('RSA')}]"),
    "private PEM": (FILE, lambda: PRIVATE_KEYS["PKCS#8"]().strip().replace("\n", "\\n")),
    "JSON Web Token": (TOKEN, token),
}


@pytest.mark.parametrize("name", PUBLIC_KEYS)
class TestPublicKeys:
    """What is public, or a file of another kind of key: anybody could sign with it."""

    def test_it_is_no_key(self, name: str) -> None:
        """A public key is refused as a key and as a previous key, also in quotes and blanks."""
        message, make = PUBLIC_KEYS[name]
        text = make()
        assert judge(KEY, text) == judge(LEGACY, text) == ("format", message)
        for around in ('"{}"', " {} ", "'{}'"):
            assert judge(LEGACY, around.format(text))[0] == "format"
            assert not KEY.accepts(around.format(text))


@pytest.mark.parametrize("make", [web_key, lambda _name: public_pem().replace("\\n", "\n")], ids=["JWK", "PEM"])
def test_base64_of_a_file_is_no_key(make: Callable[[str], str]) -> None:
    """Base64 of a file of a key is refused as a key and as a previous key."""
    text = encoded(make("RSA").encode())
    assert judge(LEGACY, text) == ("format", FILE)
    assert not KEY.accepts(text)


class TestLegacy:
    """What the slot of the previous key accepts."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("zq9Kif83w7Lp2Xv0", ("", "")),
            ("'zq9 Kif83w7Lp2X'", ("", "")),
            ("kif leela zapp fry ", ("", "")),
            ("zq9Kif83zq9Kif83", ("", "")),
            ("\u043f" * 3 + "zq9Kif83w7Lp2", ("", "")),
            ("django-insecure-8f%k2", ("placeholder", "is a key that django-admin startproject wrote")),
            ("change-me-please-now", ("placeholder", "is a placeholder")),
            ("change-me-please-now # todo", ("placeholder", "is a placeholder")),
            ("zq9Kif83w7Lp2Xv", ("format", "has fewer than 16 characters")),
            ("zq9Kif83w7Lp2Xv0\n", ("format", "has a newline at the end")),
            ("---- BEGIN SSH2 PUBLIC KEY ----", ("format", FILE)),
            ("zq9Kif83\nw7Lp2Xv0", ("format", "has a newline or an invisible character")),
        ],
    )
    def test_printable_text_of_16_characters_passes(self, text: str, expected: tuple[str, str]) -> None:
        """Any printable text of 16 characters passes, also with blanks and quotes around it. No template does."""
        assert judge(LEGACY, text) == expected

    def test_random_bytes_are_no_der(self) -> None:
        """Random keys in base64 that begin like DER pass, since their length is another one."""
        for size in (16, 32, 48, 64):
            text = encoded(b"\x30" + secrets.token_bytes(size - 1))
            assert judge(LEGACY, text) == ("", ""), re.sub(r"\w", "k", text)
