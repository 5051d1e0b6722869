"""Values of the kinds of secrets: real keys, made at run time, and how a kind judges a text."""

from __future__ import annotations

import ast
import base64
import random
import secrets
import string
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from robodj_secretguard import Kind, Material

_MATERIALS: Final = Path(__file__).with_name("materials.tsv").read_text(encoding="utf-8")
ROWS: Final = [line.split("\t") for line in _MATERIALS.splitlines() if not line.startswith("#")]
"""The verdict, the declaration and the value of each row of materials.tsv."""

BASE64URL: Final = f"{string.ascii_letters}{string.digits}-_"
HEX: Final = "0123456789abcdef"
PASSPHRASE: Final = b"kif leela 83"
CURVE_PARAMETERS: Final = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
_AGE_ALPHABET: Final = "023456789ACDEFGHJKLMNPQRSTUVWXYZ"


def declared(declaration: str) -> Kind:
    """Return the kind of a declaration, which is written as after `Material.`."""
    call = ast.parse(declaration, mode="eval").body
    assert isinstance(call, ast.Call)
    arguments = [ast.literal_eval(each) for each in call.args]
    named = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
    kind: Kind = getattr(Material, ast.unparse(call.func))(*arguments, **named)
    return kind


def judge(kind: Kind, text: str, variable: str = "SHOP_SECRET") -> tuple[str, str]:
    """Return the check and the message of a fault."""
    fault = kind.fault(text, variable)
    return (fault.check, fault.message) if fault else ("", "")


def random_text(alphabet: str, length: int, distinct: int = 0) -> str:
    """Make random text, with letters of both cases unless hexadecimal. `distinct` limits the distinct characters."""
    while True:
        chosen = secrets.SystemRandom().sample(alphabet, distinct) if distinct else []
        text = "".join([*chosen, *(secrets.choice(chosen or alphabet) for _ in range(length - distinct))])
        if alphabet is HEX or (text != text.lower() and text != text.upper()):
            return text


def pem(label: str = "PRIVATE KEY", size: int = 1190) -> str:
    """Make a PEM block of DER with so many random bytes. It is the same in each process."""
    content = b"\x02\x01\x00" + random.Random(f"{label} {size}").randbytes(size)  # noqa: S311
    return block(label, b"\x30\x82" + len(content).to_bytes(2) + content)


def block(label: str, data: bytes) -> str:
    """Return bytes as a PEM block."""
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n"


_ONCE: Final[dict[str, Callable[[], Any]]] = {
    "RSA": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "DSA": lambda: dsa.generate_private_key(1024),  # noqa: S505 - quickly made, and nothing is signed with it
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,
}


@cache
def key_pair(algorithm: str) -> Any:
    """Make a key pair, once in a process."""
    return _ONCE[algorithm]()


def _written(
    algorithm: str, form: PrivateFormat, encryption: KeySerializationEncryption | None = None
) -> Callable[[], str]:
    def make() -> str:
        written: bytes = key_pair(algorithm).private_bytes(Encoding.PEM, form, encryption or NoEncryption())
        return written.decode()

    return make


@cache
def certificate() -> str:
    """Make a certificate of the RSA key."""
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kif")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key_pair("RSA").public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now,
        not_valid_after=now + timedelta(days=9),
    )
    return builder.sign(key_pair("RSA"), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


_ENCRYPTED: Final = BestAvailableEncryption(PASSPHRASE)
_PKCS8, _TRADITIONAL, _OPENSSH = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH
ENCRYPTED_BY_HEADER: Final = _written("RSA", _TRADITIONAL, _ENCRYPTED)
"""Its format does not tell that a block of the cipher is missing."""
PRIVATE_KEYS: Final[dict[str, Callable[[], str]]] = {
    "PKCS#8": _written("RSA", _PKCS8),
    "PKCS#8, encrypted": _written("RSA", _PKCS8, _ENCRYPTED),
    "PKCS#1": _written("RSA", _TRADITIONAL),
    "EC": _written("EC", _TRADITIONAL),
    "EC, PKCS#8": _written("EC", _PKCS8),
    "P-521": _written("P-521", _TRADITIONAL),
    "Ed25519": _written("Ed25519", _PKCS8),
    "Ed448": _written("Ed448", _PKCS8),
    "X25519": _written("X25519", _PKCS8),
    "DSA": _written("DSA", _TRADITIONAL),
    "DSA, PKCS#8": _written("DSA", _PKCS8),
    "OpenSSH": _written("Ed25519", _OPENSSH),
    "OpenSSH, RSA": _written("RSA", _OPENSSH),
    "before its certificate": lambda: PRIVATE_KEYS["PKCS#8"]() + certificate(),
    "after its chain": lambda: certificate() + certificate() + PRIVATE_KEYS["PKCS#1"](),
}
"""Makers of private keys. Each is read by `loaded`, and each cut of it is seen."""


def loaded(text: str) -> Any:
    """Load a private key with `cryptography`, with the passphrase where it is encrypted."""
    read = load_ssh_private_key if "OPENSSH" in text else load_pem_private_key
    return read(text.encode(), PASSPHRASE if "ENCRYPTED" in text else None)


def age_key() -> str:
    """Make the file that `age-keygen` writes, with characters that are random and no checksum."""
    text = "".join(random.choices(_AGE_ALPHABET, k=116))  # noqa: S311 - nothing is encrypted with it
    return f"# created: 2026-10-01T10:00:00Z\n# public key: age1{text[:58].lower()}\nAGE-SECRET-KEY-1{text[58:]}\n"


def output_of(*command: str, given: str = "") -> str:
    """Run a program that makes a key, and return what it writes."""
    return subprocess.run(command, input=given, capture_output=True, check=True, text=True).stdout


WRITTEN: Final[dict[str, Callable[[str], str]]] = {
    "as it is": str,
    "without its last newline": str.strip,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    r"\n": lambda text: text.replace("\n", "\\n"),
    r"\r\n": lambda text: text.replace("\n", "\\r\\n"),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
}
"""How PEM is delivered."""


def cuts(text: str, count: int = 60) -> Iterator[str]:
    """Yield a text without each of its lines, and without some random parts. What is cut is more than newlines."""
    lines = text.splitlines(keepends=True)
    for number in range(len(lines)):
        yield "".join(lines[:number] + lines[number + 1 :])
    rng = random.Random(count)  # noqa: S311
    for length in rng.choices((1, 2, 3, 4, 8, 16, 60, 65, 200), k=count):
        start = rng.randrange(max(1, len(text) - length))
        if text[start : start + length].strip():
            yield text[:start] + text[start + length :]
