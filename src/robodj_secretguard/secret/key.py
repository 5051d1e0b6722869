"""Keys of any generator, and keys that signed before the adoption of this library.

The strength of such a key is an estimate, since its alphabet is unknown. It counts for each character the bits of the
alphabet that the key seems to have, and for a word 11 bits.
"""

from __future__ import annotations

import re
import secrets
from math import log2
from typing import Final

from robodj_secretguard.secret.defects import NEWLINE
from robodj_secretguard.secret.issued import (
    EDGES,
    Faults,
    Issued,
    faults_around,
    faults_of_beginning,
    malformed,
    removable,
    template_with_prefix,
    uncommented,
    validate_beginning,
)
from robodj_secretguard.secret.material import (
    MIN_COVERED,
    MIN_KEY_BYTES,
    Fault,
    Generator,
    Kind,
    covered_length,
    decoded,
    fewest_distinct,
    is_encoded_text,
    is_hexadecimal,
    pattern_in,
    spelled,
)
from robodj_secretguard.secret.pem import is_whole_der
from robodj_secretguard.secret.templates import LONGEST, PLACEHOLDER, is_of_words, share_of_pairs, template

MIN_BITS: Final = 128
"""The fewest bits of a key, by the estimate."""
WORD_BITS: Final = 11
"""The bits of a word: it is one of two thousand."""
WORD_LETTERS: Final = 5
"""How many letters a word has, where several are written as one."""
MIN_LETTERS: Final = 4
"""The fewest letters of a part that may be random. A shorter one counts as a word at most."""
USUAL_OF_ALL: Final = 0.75
"""The share of usual neighbours in all letters from which a text may be of words."""
MIN_DISTINCT: Final = 4
"""The fewest distinct characters of a key of digits."""
MIN_DER_BYTES: Final = 40
"""The fewest bytes of a public key in DER. Shorter random bytes could look like it."""
MIN_LEGACY: Final = 16
"""The fewest characters of a key from before the adoption."""

_NOT_COUNTED: Final = str.maketrans("", "", " -_.,:/=")
_ALPHABETS: Final = {"[a-z]": 26, "[A-Z]": 26, "[0-9]": 10, "[^ -~]": 64}
"""Classes of characters, and how many characters each has."""
_ANY_SYMBOLS: Final = frozenset("<>[]{}~")
"""Symbols of generators that write blanks too, such as that of WordPress."""
_SURE_COMMENT: Final = r"\A#.*\n|\s# [A-Za-z ]{3,}\Z"
# Text of public keys, and of the bytes in their base64.
_PUBLIC: Final = r"(?s)(.*\s)?(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+\s+AAAA|age1[a-z0-9]{50}|\0\0\0.(ssh|ecdsa|sk-)"
# Files of keys, private or public.
_FILE: Final = r"(?s)-----BEGIN |---- BEGIN |\s*[{\[].*\"(kty|keys)\""
_JSON_WEB_TOKEN: Final = r"(.*\s)?eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # noqa: S105 - the form of a JSON Web Token
_DECLARE_URL: Final = (
    "if the URL is right, declare it with Material.url(); otherwise put the right or a new key into {}"
)


class AnyKey(Issued):
    """A key that any generator made. `Material.key()` describes the fields."""

    minimum: int
    prefix: str

    has_fingerprint = True

    def validate(self) -> None:
        """Raise a `ValueError` for an invalid field."""
        validate_beginning("Material.key", self.minimum, MIN_KEY_BYTES, self.prefix)

    @property
    def generator(self) -> Generator:
        """The generator of new keys, which has at least as many characters."""
        needed = self.minimum - len(self.prefix)
        return Generator("token_urlsafe", max(32, -(-needed * 3 // 4)), self.prefix)

    def faults(self, text: str, variable: str) -> Faults:
        """Yield what is wrong with a key. The first fault counts."""
        if _ANY_SYMBOLS.isdisjoint(text) or re.search(_SURE_COMMENT, text):
            yield from super().faults(text, variable)
            return
        # Such a key may begin or end with a blank, and have what begins a comment elsewhere.
        if message := self.placeholder_in(text, variable):
            yield Fault("placeholder", message)
        yield from faults_around(text.strip(" "))
        yield from self.format_faults(text)

    def placeholder_in(self, text: str, variable: str) -> str:
        """Return the message about a template, also after the prefix; empty for none."""
        if message := template_with_prefix(text, self.prefix, variable):
            return message
        core = text.strip(EDGES).removeprefix(self.prefix)
        is_covered = any(covered_length(each) * 2 >= max(MIN_COVERED * 2, len(each)) for each in spelled(core))
        return PLACEHOLDER if is_covered or is_encoded_text(core) else ""

    def format_faults(self, text: str) -> Faults:
        """Yield what the prefix and the length do not allow, what is no secret key, and what is too weak."""
        if re.match(r"[a-z][a-z0-9+.-]*://", text):
            yield malformed("is a URL, not a key", _DECLARE_URL)
        yield from faults_of_other_keys(text)
        yield from faults_of_beginning(text, self.prefix, self.minimum)
        core = text.removeprefix(self.prefix)
        plain = core.translate(_NOT_COUNTED)
        if pattern := pattern_in(plain.lower() if is_hexadecimal(plain) else plain, _fewest_of_alphabet(plain)):
            yield Fault("weak", f"is clearly not random: it has {pattern}")
        if bits(core[:LONGEST]) < MIN_BITS:
            yield Fault("weak", f"has fewer than {MIN_BITS} bits (a word counts as {WORD_BITS})")

    def temporary(self) -> str:
        """Return a new key."""
        return self.prefix + secrets.token_urlsafe(self.generator.size)


class Legacy(Issued):
    """A key that signed before the adoption: any printable text that is neither a template nor public."""

    def faults(self, text: str, variable: str) -> Faults:
        """Yield what is wrong with a key. The first fault counts."""
        if message := template(uncommented(text), variable):
            yield Fault("placeholder", message)
        if text != text.rstrip("\r\n"):
            yield removable(NEWLINE)
        if not text.isprintable():
            yield malformed("has a newline or an invisible character")
        if len(text) < MIN_LEGACY:
            yield malformed(f"has fewer than {MIN_LEGACY} characters")
        yield from faults_of_other_keys(text.strip(EDGES))


LEGACY: Final[Kind] = Legacy()
"""What the slot of the previous key accepts as well as the kind of its secret."""


def faults_of_other_keys(text: str) -> Faults:
    """Yield that text is a public key, with which anybody could sign, or has a key of another kind inside."""
    data = decoded(text)
    for each in (text, data.decode("latin-1")):
        if re.match(_PUBLIC, each):
            yield malformed("is a public key, with which anybody can sign")
        if re.match(_FILE, each):
            yield malformed("is a key as PEM or JSON, which may be public")
    if len(data) >= MIN_DER_BYTES and is_whole_der(data):
        yield malformed("is a key as DER, which may be public")
    if re.match(_JSON_WEB_TOKEN, text):
        yield malformed("is a JSON Web Token, not a key")


def bits(text: str) -> float:
    """Return the estimate of the bits of a key."""
    plain = text.translate(_NOT_COUNTED)
    if is_hexadecimal(plain) and not plain.isdigit():
        return 4 * len(plain)
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)
    if share_of_pairs([part.lower() for part in parts]) < USUAL_OF_ALL:  # random text has a word by chance
        return log2(alphabet_size(text) or 1) * len(text.rstrip("="))
    each = log2(alphabet_size(plain) or 1)
    total = each * (len(plain) - len("".join(parts)))
    for part in parts:
        is_random = len(part) >= MIN_LETTERS and not is_of_words(part.lower())
        of_words = WORD_BITS * max(1, len(part) // WORD_LETTERS)
        total += each * len(part) if is_random else min(each * len(part), of_words)
    return total


def alphabet_size(text: str) -> int:
    """Return how many characters the alphabet of a text seems to have. Of symbols, those that occur count."""
    symbols = {each for each in text if each.isascii() and not each.isalnum()}
    found = [size for pattern, size in _ALPHABETS.items() if re.search(pattern, text)]
    if re.search("[a-z]", text) and re.search("[A-Z]", text) and not re.search("[0-9]", text):
        found.append(10)  # a short key may have no digit by chance
    return len(symbols) + sum(found)


def _fewest_of_alphabet(text: str) -> int:
    """Return how many distinct characters a key must have: a third of its alphabet at most."""
    by_length = fewest_distinct(len(text), hexadecimal=is_hexadecimal(text))
    return min(by_length, max(MIN_DISTINCT, alphabet_size(text) // 3))
