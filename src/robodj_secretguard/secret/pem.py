"""The kind of private keys in PEM, and whether the bytes inside are whole."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterable
from typing import Final

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.issued import ALONE, Faults, Issued, are_texts, malformed, part_message
from robodj_secretguard.secret.material import decoded
from robodj_secretguard.secret.templates import template

MIN_BYTES: Final = 32
"""The fewest bytes in the body of a private key."""
PRIVATE: Final = ("PRIVATE KEY", "PRIVATE KEY BLOCK")
"""How the label of a private key ends. That of PGP is a block."""
BESIDE: Final = ("CERTIFICATE", "PARAMETERS", "PUBLIC KEY")
"""How the labels end of blocks that may stand beside a private key."""
CIPHER_BLOCK: Final = 8
"""The bytes of a block of the ciphers with which a body is encrypted, or half of one."""
OF_DER: Final = frozenset(
    ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", *BESIDE)
)
"""Labels whose body is DER. Others have formats of their own."""

_AGE: Final = r"AGE-SECRET-KEY-(PQ-)?1[02-9AC-HJ-NP-Z]{58,}"
_ATTRIBUTES: Final = r"(?m)^(Bag Attributes.*|Key Attributes.*|[ \t]+\w[\w .]*: .*|(subject|issuer) ?=.*)$"
"""What `openssl pkcs12` writes beside the blocks."""
_BASE64: Final = r"[A-Za-z0-9+/\n]*=*"
_ED25519: Final = bytes.fromhex("302e020100300506032b657004220420")
_P256: Final = bytes.fromhex("30310201010420")
_P256_END: Final = bytes.fromhex("a00a06082a8648ce3d030107")
_SEQUENCE: Final = b"\x30"
_INTEGER: Final = b"\x02"
_FIRST_NUMBER: Final = b"\x02\x01"
_SECRET_KEY_TAGS: Final = b"\x94\x95\x96\x97\xc5"
"""The first byte of a secret key of OpenPGP, in the older format of packets and in the newer one."""
_OBJECT_IDENTIFIER: Final = b"\x06"
_OPENSSH: Final = b"openssh-key-v1\0"
_OPENSSH_START: Final = _OPENSSH + bytes(12) + b"\0\0\0\x01" + bytes(4) + b"\0\0\0\x40"
"""All before the private part, with nothing in each text."""


class PemBlock(Frozen):
    """A block of PEM.

    Attributes:
        label: what its first line says that it is.
        body: the lines of base64 in it, without headers and without the checksum of PGP.
        data: the bytes in the body; none where it is not base64.
        is_encrypted: whether a header says that the body is encrypted, so that it is no DER.
        is_ended: whether it has its last line.
        checksum: the checksum of PGP; empty for none.
    """

    label: str
    body: str
    data: bytes
    is_encrypted: bool
    is_ended: bool
    checksum: str

    @property
    def is_private(self) -> bool:
        """Whether it is a private key."""
        return self.label.endswith(PRIVATE)

    @property
    def may_be_key(self) -> bool:
        """Whether the body is base64 that is long enough, or a part of such base64. Other text is a template."""
        is_base64 = re.fullmatch(_BASE64, self.body) is not None
        return " " in self.body or (is_base64 and len(self.body.rstrip("=")) * 3 >= MIN_BYTES * 4)

    @property
    def is_public(self) -> bool:
        """Whether a public key is under the label of a private one, which begins with a version or a tag of its own."""
        if self.label.startswith("PGP "):
            return self.data[:1] not in _SECRET_KEY_TAGS
        has_version = self.is_private and self.label in OF_DER and not self.label.startswith("ENCRYPTED")
        return has_version and not self.is_encrypted and _FIRST_NUMBER not in self.data[2:6]

    @property
    def is_whole(self) -> bool:
        """Whether no part of the body is missing, as far as its format tells."""
        if self.is_encrypted:
            return len(self.data) % CIPHER_BLOCK == 0
        if self.label == "OPENSSH PRIVATE KEY":
            return is_whole_openssh(self.data)
        if self.label.startswith("PGP "):
            return is_whole_pgp(self.data) and self.checksum in {"", pgp_checksum(self.data)}
        if self.label == "EC PARAMETERS" and self.data[:1] == _OBJECT_IDENTIFIER:  # the name of the curve
            return len(self.data) == 2 + self.data[1]
        return is_whole_der(self.data) or not (self.label in OF_DER or self.label.endswith(BESIDE))


class Pem(Issued):
    """A private key in PEM. `Material.pem()` describes the field."""

    labels: tuple[str, ...] = ()

    has_lines = True

    def validate(self) -> None:
        """Raise a `ValueError` for an invalid field."""
        if not are_texts(self.labels, "[A-Z0-9]+( [A-Z0-9]+)*"):
            raise ValueError("Material.pem: labels in capitals, such as RSA PRIVATE KEY")

    def faults(self, text: str, variable: str) -> Faults:
        """Yield what is wrong with a key. The first fault counts."""
        return super().faults(text if self.labels else without_age_comments(text), variable)

    def placeholder_in(self, text: str, variable: str) -> str:
        """Return the message about a template in place of the key or of a body; empty for none."""
        blocks, _ = read_blocks(text)
        if not blocks:
            return template(text, variable) or template(text.strip().removeprefix("AGE-SECRET-KEY-1"))
        for block in blocks:
            if message := template(block.body):
                return part_message("body", message)
            if block.is_ended and block.is_private and not block.may_be_key:
                return f"has a body that is not base64 of {MIN_BYTES} bytes or more"
        return ""

    def format_faults(self, text: str) -> Faults:
        """Yield what is not the format of one private key."""
        if not self.labels and re.fullmatch(_AGE, without_age_comments(text).strip()):
            return
        blocks, outside = read_blocks(text)
        if not blocks:
            yield malformed("does not begin with -----BEGIN")
            return
        if not blocks[0].body and not blocks[0].is_ended:
            fix = r"set {} whole, with \n for each newline (docker --env-file takes one line)"
            yield malformed("has its first line alone", fix)
        if not blocks[-1].is_ended:
            yield malformed("has no END line with the label of its BEGIN line", "set {} to the whole key")
        if any(" " in block.body for block in blocks):
            fix = r"set {} with its newlines, or with \n for each"
            yield malformed("has blanks or backslashes in place of newlines", fix)
        if outside:
            yield malformed("has text beside its blocks", f"{ALONE}, from its first BEGIN to its last END line")
        yield from self._faults_of_labels(blocks)
        yield from _faults_of_bodies(blocks)

    def _faults_of_labels(self, blocks: list[PemBlock]) -> Faults:
        if sum(block.is_private for block in blocks) > 1:
            yield malformed("has more than one private key", "set {} to the private key alone")
        if not any(self._is_declared(block) for block in blocks):
            yield malformed(f"does not have the label {' or '.join(self.labels) or '... PRIVATE KEY'}")
        if not all(self._is_declared(block) or block.label.endswith(BESIDE) for block in blocks):
            fix = f"{ALONE}, without the other block"
            yield malformed("has a block that is no key, certificate or parameters", fix)

    def _is_declared(self, block: PemBlock) -> bool:
        return block.label in self.labels if self.labels else block.is_private

    def usable(self, text: str) -> str:
        r"""Return the key with newlines: those written as `\n` and base64 of the whole are decoded."""
        return pem_text(text)

    def searched(self, text: str) -> tuple[str, ...]:
        """Return the lines of the body. A key in base64 is searched in this form too."""
        blocks, _ = read_blocks(text)
        lines = tuple(line for block in blocks if self._is_declared(block) for line in block.body.split("\n"))
        return lines if "-----BEGIN " in text else (text.strip(), *lines)

    def temporary(self) -> str:
        """Return a new key. It can be loaded where the label allows an Ed25519 or an EC key."""
        label = self.labels[0] if self.labels else "PRIVATE KEY"
        data = _ED25519 + secrets.token_bytes(32)
        if label == "EC PRIVATE KEY":
            data = _P256 + secrets.token_bytes(32) + _P256_END
        if label == "OPENSSH PRIVATE KEY":
            data = _OPENSSH_START + secrets.token_bytes(64)
        if label.startswith("PGP "):
            data = b"\xc5\x20" + secrets.token_bytes(32)
        body = b64encode(data).decode()
        return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def _faults_of_bodies(blocks: Iterable[PemBlock]) -> Faults:
    if not all(block.data and block.is_whole for block in blocks):
        fix = "set {} to the whole key, with each of its lines"
        yield malformed("has a body of which a part is missing", fix)
    elif any(block.is_private and block.is_public for block in blocks):
        yield malformed("has a public key under the label of a private one")


def without_age_comments(text: str) -> str:
    """Return the key of a file of age without the comments that age writes above it; other text as it is."""
    lines = [line for line in pem_text(text).strip().splitlines() if not line.startswith("# ")]
    return lines[0] if len(lines) == 1 and re.fullmatch(_AGE, lines[0]) else text


def pem_text(text: str) -> str:
    r"""Return PEM with newlines, where they are written as `\n` or where the whole is in base64."""
    if "-----" not in text:
        data = decoded("".join(text.split()))
        if b"-----BEGIN " in data or data.startswith((b"AGE-SECRET-KEY-", b"# created: ")):
            text = data.decode("utf-8", "replace")
    return text.replace("\\r", "").replace("\\n", "\n")


def read_blocks(text: str) -> tuple[list[PemBlock], str]:
    """Return the blocks of PEM, and the text beside them."""
    blocks = []
    outside, begin, rest = pem_text(text).partition("-----BEGIN ")
    while begin:
        label, _, rest = rest.partition("-----")
        content, end, rest = rest.partition(f"-----END {label}-----")
        blocks.append(_block(label, content, is_ended=bool(end)))
        between, begin, rest = rest.partition("-----BEGIN ")
        outside += between
    return blocks, re.sub(_ATTRIBUTES, "", outside).strip()


def _block(label: str, content: str, *, is_ended: bool) -> PemBlock:
    lines = [line.strip() for line in content.splitlines()]
    is_encrypted = any(line.startswith("Proc-Type:") and "ENCRYPTED" in line for line in lines)
    body = [line for line in lines if line and ":" not in line]
    checksum = ""
    if label.startswith("PGP "):
        checksum = "".join(line[1:] for line in body if line[0] == "=")
        body = [line for line in body if line[0] != "="]
    try:
        data = a2b_base64("".join(body), strict_mode=True)
    except ValueError:
        data = b""
    written = "\n".join(body).replace("\\", " ")
    if written and content.strip(" ")[:1] not in {"\n", "\r"}:
        written = f" {written}"  # a blank in place of the first newline
    return PemBlock(label, written, data, is_encrypted, is_ended, checksum)


def is_whole_der(data: bytes) -> bool:
    """Check whether bytes are one sequence of DER, as keys are, with the length that it says."""
    if data[:1] != _SEQUENCE:
        return False
    length = int.from_bytes(data[1:2])
    size = length & 0x7F if length & 0x80 else 0
    if size:
        length = int.from_bytes(data[2 : 2 + size])
    inner = data[2 + size : 3 + size]
    return len(data) == 2 + size + length and inner in {_SEQUENCE, _INTEGER}


def is_whole_openssh(data: bytes) -> bool:
    """Check whether bytes are a private key of OpenSSH: texts with their lengths, up to the end."""
    at = len(_OPENSSH)
    for _ in range(3):  # the cipher, the function and its options
        at = _after_text(data, at)
    at += 4  # the number of keys, which is one
    for _ in range(2):  # the public key, and the private part
        at = _after_text(data, at)
    return data.startswith(_OPENSSH) and at == len(data)


def _after_text(data: bytes, at: int) -> int:
    return at + 4 + int.from_bytes(data[at : at + 4])


def is_whole_pgp(data: bytes) -> bool:
    """Check whether bytes are packets of OpenPGP with the lengths that they say (RFC 9580, section 4.2)."""
    at = 0
    while at < len(data):
        if not data[at] & 0x80:
            return False
        is_newer = data[at] & 0x40
        if is_newer:
            head, length = _newer_length(data[at + 1 :])
        else:
            head = 1 << (data[at] & 3)
            length = int.from_bytes(data[at + 1 : at + 1 + head])
        at += 1 + head + length
    return at == len(data)


def pgp_checksum(data: bytes) -> str:
    """Return the checksum that PGP writes below a body (RFC 9580, section 6.1)."""
    remainder = 0xB704CE
    for byte in data:
        remainder ^= byte << 16
        for _ in range(8):
            remainder <<= 1
            remainder ^= 0x1864CFB * (remainder >> 24)
    return b64encode(remainder.to_bytes(3)).decode()


def _newer_length(data: bytes) -> tuple[int, int]:
    """Return how many bytes say the length of a packet, and the length."""
    first = int.from_bytes(data[:1])
    if first < 192:  # noqa: PLR2004 - as in the RFC
        return 1, first
    if first < 224:  # noqa: PLR2004
        return 2, (first - 192 << 8) + int.from_bytes(data[1:2]) + 192
    return 5, int.from_bytes(data[1:5])  # a packet in parts is no key, and has a wrong length here
