"""Check whether text may be a key: placeholder, format and strength. Make its fingerprint, which may be shown."""

from __future__ import annotations

import re
from binascii import a2b_base64
from hashlib import blake2b
from itertools import compress, count, pairwise
from typing import TYPE_CHECKING, Final

from robodj_secretguard.secret.placeholders import DEFAULTS, MAX_WORD, MIN_WORD, PHRASES, WHOLE_VALUES, WORDS
from robodj_secretguard.secret.policy import MIN_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from robodj_secretguard.secret.policy import Generator, Length, Material
    from robodj_secretguard.secret.sealed import SealedStr

EXACT_LENGTH_FROM: Final = 16
"""Messages do not give a length below this one: it would help to guess the value."""
ONE_CASE_FROM: Final = 34
"""A key of this many characters has letters of both cases. A shorter one may have one case with digits between."""
RUN_LENGTH: Final = 4
"""How many neighbours in an alphabet or on a keyboard row make a run."""

MIN_COVERED: Final = 12
"""How many characters the listed words must cover. A word of four counts as three: random text has those most often."""
MIN_SHARE: Final = 4
"""In a long text they must also cover one character in four."""
MIN_TEXT_BYTES: Final = 24
"""Readable encoded text of this many bytes or more is a placeholder, unless it is a key."""
MIN_ASCII_BYTES: Final = MIN_KEY_BYTES
"""Shorter text of this many bytes or more is one if it is printable ASCII. It is too short for an encoded key."""

# Only values with one of these characters are searched: a generated key has none.
_TEMPLATE: Final = r"<[^<>]+>|\$\{[^{}]+\}|\{\{[^{}]+\}\}|%[^%]+%"
_TEMPLATE_CHARACTERS: Final = frozenset("<{%")
# A vendor's secret can have these characters anywhere, so only a whole value counts.
_WHOLE_TEMPLATE: Final = r"<{0}>|\$?\{{{0}\}}|\{{\{{{0}\}}\}}|%{0}%".format(r"[ .:/\w-]+")
_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_LOOKALIKES: Final = str.maketrans("013457@$", "oieastas")
_WORD_LENGTHS: Final = range(MIN_WORD, MAX_WORD + 1)
_BEGINNINGS: Final = frozenset([text[:MIN_WORD] for text in (*PHRASES, *WORDS)])
_TO_STANDARD: Final = str.maketrans("-_", "+/")
_TO_URL_SAFE: Final = str.maketrans("+/", "-_")
# In the order of their values.
_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BASE64URL: Final = frozenset(_DIGITS)
_HEXADECIMAL: Final = frozenset("0123456789abcdefABCDEF")
_SAME_LAST: Final = {2: 16, 3: 4}
"""How many last digits encode the same bytes, by the length of the text modulo 4: 4 or 2 of the bits are unused."""
_KEY_CHARACTERS: Final = frozenset(f"{_DIGITS}+/=")
_SEQUENCES: Final = (
    "0123456789abcdef",
    "1234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
)
_RUNS: Final = frozenset(
    line[start : start + RUN_LENGTH]
    for sequence in _SEQUENCES
    for line in (sequence, sequence[::-1])
    for start in range(len(line) - RUN_LENGTH + 1)
)


def is_hexadecimal(text: str) -> bool:
    """Check whether text has hexadecimal digits only, in any case."""
    return bool(text) and _HEXADECIMAL.issuperset(text)


def canonical(text: str) -> str:
    """Return the canonical form of a key, by which keys are compared.

    Hexadecimal text is in lower case. In base64url text the unused bits of the last character are zero: decoders
    ignore them.
    """
    return text.lower() if is_hexadecimal(text) else text[:-1] + last_characters(text)[:1]


def last_characters(text: str) -> str:
    """Return every last character with which base64url text is the same key. The canonical one comes first.

    Text without unused bits, such as hexadecimal text, has only its present last character.
    """
    same = _SAME_LAST.get(len(text) % 4, 1)
    value = _DIGITS.find(text[-1:])
    if same == 1 or value < 0 or is_hexadecimal(text):
        return text[-1:]
    first = value - value % same
    return _DIGITS[first : first + same]


def is_placeholder(text: str, *, is_opaque: bool = False) -> bool:
    """Check whether text is a placeholder, a template's value or a well-known default (policy section 6).

    Ignore case and separators. Generated keys pass: placeholders.py has the expected false alarms.
    """
    return bool(placeholder(text, is_opaque=is_opaque))


def placeholder(text: str, *, is_opaque: bool = False) -> str:
    """Return the kind of placeholder that text is; empty for other text.

    A secret that a vendor issues may be any readable text in base64: it is only decoded and checked.
    """
    lower = text.lower()
    folded = _folded(lower)
    if (
        folded in WHOLE_VALUES
        or (bool(folded) and not folded.strip("x"))
        or (not _TEMPLATE_CHARACTERS.isdisjoint(text) and _is_template(text, is_opaque=is_opaque))
        or _has_template_words(folded)
        or (not is_hexadecimal(text) and _has_template_words(_folded(lower.translate(_LOOKALIKES))))
    ):
        return "a placeholder, not a key"
    if default_digest(text) in DEFAULTS:
        return "the default key of a well-known project"
    is_encoded = _is_encoded_text(text, is_opaque=is_opaque)
    return "readable text in base64 or hexadecimal, not a random key" if is_encoded else ""


def _is_template(text: str, *, is_opaque: bool) -> bool:
    if is_opaque:
        return re.fullmatch(_WHOLE_TEMPLATE, text) is not None
    return re.search(_TEMPLATE, text) is not None


def _folded(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _has_template_words(folded: str) -> bool:
    """Check whether text in lower case, without separators, has a listed phrase or enough listed words."""
    starts = _starts(folded, _BEGINNINGS)
    if not starts:
        return False
    covered = _covered(folded, starts)
    return covered >= max(MIN_COVERED, len(folded) // MIN_SHARE) or any(phrase in folded for phrase in PHRASES)


def _starts(text: str, fours: frozenset[str]) -> list[int]:
    """Return where one of some texts of four characters begins. Most keys have none, so this runs in C."""
    found = map(fours.__contains__, map("".join, zip(text, text[1:], text[2:], text[3:], strict=False)))
    return [*compress(count(), found)]


def _covered(folded: str, starts: Iterable[int]) -> int:
    """Return how many characters listed words that do not overlap cover at most."""
    most, ahead = 0, {0: 0}  # covered up to here, and up to the end of each longer word
    for start in starts:
        most = max([most, *(covered for end, covered in ahead.items() if end <= start)])
        ahead = {end: covered for end, covered in ahead.items() if end > start}
        for length in _WORD_LENGTHS:
            if folded[start : start + length] in WORDS:
                end = min(start + length, len(folded))
                ahead[end] = max(ahead.get(end, 0), most + worth(end - start))
    return max([most, *ahead.values()])


def worth(length: int) -> int:
    """Return how many covered characters a listed word of this length counts for."""
    return length - (length == MIN_WORD)


def default_digest(text: str) -> str:
    """Return the digest that identifies a well-known default. It is the same in both alphabets of base64."""
    plain = text.strip().rstrip("=").translate(_TO_URL_SAFE)
    return blake2b(canonical(plain).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _is_encoded_text(text: str, *, is_opaque: bool) -> bool:
    """Check whether base64 or hexadecimal text decodes to a placeholder or to other readable text."""
    data = decoded(text.strip())
    if len(data) >= MIN_ASCII_BYTES and _counts(data):
        return True
    size = len(data)
    for mark in _BYTE_ORDER_MARKS:
        data = data.removeprefix(mark)
    # UTF-16 and UTF-32 have zeros between. A byte that is not UTF-8 becomes a surrogate, which is not printable.
    shown = data.replace(b"\0", b"").decode(errors="surrogateescape").strip()
    if not shown or not all(each.isprintable() or each.isspace() for each in shown):
        return False
    if is_placeholder(shown, is_opaque=is_opaque):
        return True
    is_no_key = not _KEY_CHARACTERS.issuperset(shown) or _is_of_runs(shown.lower())
    if size < MIN_TEXT_BYTES:
        is_ascii = size >= MIN_ASCII_BYTES and data.isascii()
        is_no_key = is_ascii and data.removesuffix(b"\n").decode().isprintable()
    return is_no_key and not is_opaque and weakness(text) is None


def _counts(data: bytes) -> bool:
    """Check whether each byte differs from the one before by the same number."""
    step = (data[1] - data[0]) % 256
    return all((later - earlier) % 256 == step for earlier, later in pairwise(data))


def decoded(text: str) -> bytes:
    """Return the bytes of hexadecimal or base64 text; nothing for other text."""
    try:
        if is_hexadecimal(text):
            return bytes.fromhex(text)
        core = text.rstrip("=").translate(_TO_STANDARD)
        return a2b_base64(core + "=" * (-len(core) % 4), strict_mode=True)
    except ValueError:
        return b""


_QUOTES: Final = "\"'"
NEWLINE: Final = "a newline at the end"
BLANK: Final = "a blank at the beginning or end"
QUOTES: Final = "quotes around it"
PADDING: Final = "= padding at the end"


def format_defects(text: str, material: Material) -> list[str]:
    """Return the parts of a key that its format does not allow (policy section 6), from the outside to the inside."""
    core, defects = text, list[str]()
    if material.is_opaque or not _BASE64URL.issuperset(text):  # most keys have no other character
        core, defects = _without_wrapping(text, is_opaque=material.is_opaque)
    if not core:
        return [*defects, "nothing else"]
    if material.is_opaque:
        if not core.isascii() or not core.isprintable() or " " in core:
            defects.append("a blank or a character that is not printable ASCII")
    elif not _BASE64URL.issuperset(core):
        defects.append("a character outside A-Za-z0-9_-")
    hexadecimal = not material.is_opaque and is_hexadecimal(core)
    needed = material.hexadecimal if hexadecimal else material.base64url
    if not needed.accepts(len(core)):
        defects.append(_wrong_length(len(core), needed, "hexadecimal digits" if hexadecimal else "characters"))
    return defects


def _without_wrapping(text: str, *, is_opaque: bool) -> tuple[str, list[str]]:
    """Return a key without newlines, blanks, quotes and padding around it, and which of them it has."""
    defects = []
    core = text.rstrip("\r\n")
    if core != text:
        defects.append(NEWLINE)
    if core != core.strip():
        defects.append(BLANK)
        core = core.strip()
    bare = core.strip(_QUOTES)
    if is_opaque:  # a vendor's secret may have a quote or = in any place
        bare = core[1:-1] if core[1:] and core[0] + core[-1] in {'""', "''"} else core
    if bare != core:
        defects.append(QUOTES)
        core = bare
    if core.endswith("=") and not is_opaque:
        defects.append(PADDING)
        core = core.rstrip("=")
    return core, defects


def _wrong_length(length: int, needed: Length, kind: str) -> str:
    if length >= EXACT_LENGTH_FROM:
        return f"{length} {kind}, not {needed}"
    return f"fewer than {min(EXACT_LENGTH_FROM, needed.minimum)} characters"


def has_shape(text: str, generator: Generator) -> bool:
    """Check whether text has the length and the alphabet of a generator's keys."""
    is_of_alphabet = is_hexadecimal(text) if generator.function == "token_hex" else _BASE64URL.issuperset(text)
    return len(text) == generator.characters and is_of_alphabet


def fewest_distinct(length: int, *, hexadecimal: bool) -> int:
    """Return how many distinct characters a key of this length must have: 16, of hexadecimal digits 10.

    A key of 16 bytes has fewer than 10, or of hexadecimal digits 7, in one of a hundred million cases.
    """
    return min(10, length // 8 + 3) if hexadecimal else min(16, length // 2 - 1)


def weakness(text: str) -> str | None:
    """Return why a well-formed key is clearly not random; `None` for other keys.

    Generated keys pass: placeholders.py has the expected false alarms.
    """
    hexadecimal = is_hexadecimal(text)
    folded = text.lower()
    judged = folded if hexadecimal else text
    fewest = fewest_distinct(len(text), hexadecimal=hexadecimal)
    if len(set(judged)) < fewest:
        return f"fewer than {fewest} distinct characters"
    if _repeats_one_block(judged):
        return "one block that is repeated"
    if _is_of_runs(folded):
        return "alphabet or keyboard runs in half of it"
    if not hexadecimal and text in {folded, text.upper()} and _is_of_letters(text):
        return "letters of one case only"
    return None


def _is_of_letters(text: str) -> bool:
    """Check whether letters of one case make text weak: always in a long key, in a short one if it has few digits."""
    others = len(text) - sum(map(str.isalpha, text))
    return len(text) >= ONE_CASE_FROM or others <= most_others(len(text))


def most_others(length: int) -> int:
    """Return the most characters other than letters with which a short key with letters of one case is weak."""
    return (length - 20) // 2


def _is_of_runs(folded: str) -> bool:
    """Check whether runs of neighbours cover half of a text or more."""
    return len({start + step for start in _starts(folded, _RUNS) for step in range(RUN_LENGTH)}) * 2 >= len(folded)


def is_sound(text: str, material: Material) -> bool:
    """Check whether text may be a key (policy section 6): not a placeholder, well-formed and not weak."""
    is_opaque = material.is_opaque
    is_bad = is_placeholder(text, is_opaque=is_opaque) or format_defects(text, material)
    return not (is_bad or (not is_opaque and weakness(text)))


def _repeats_one_block(text: str) -> bool:
    """Check whether text has a period of at most half its length, in linear time: a variable may have 128 KiB."""
    # The shortest such period is where the first half occurs again for the first time. If it occurred earlier, the
    # block itself would be a repetition.
    period = text.find(text[: len(text) - len(text) // 2], 1)
    return period > 0 and text.startswith(text[period:])


PREFIX: Final = "sgfp1:"
FORM: Final = f"{PREFIX} and 32 hexadecimal digits in lower case"
FINGERPRINT: Final = f"^{PREFIX}[0-9a-f]{{32}}$"
"""The regular expression of a fingerprint, for JSON Schema."""

_HASH_DIGITS: Final = frozenset("0123456789abcdef")


def is_fingerprint(text: str) -> bool:
    """Check whether text is a fingerprint in the format of this library."""
    return text.startswith(PREFIX) and len(text) == len(PREFIX) + 32 and _HASH_DIGITS.issuperset(text[len(PREFIX) :])


def fingerprint(key: SealedStr) -> str:
    """Return the fingerprint of a key that passed the format and strength rules.

    Equal keys have equal fingerprints, also as different secrets. The case of a hexadecimal key and the unused bits of
    a base64url key make no difference. Publish the fingerprints of generated keys only: a passphrase could be guessed
    from its fingerprint.
    """
    return PREFIX + digest(canonical(key.get_secret_value()).encode("ascii")).hex()


def digest(text: bytes) -> bytes:
    """Return the digest in a fingerprint: BLAKE2b-128, personalised for this library."""
    return blake2b(text, digest_size=16, person=b"robodj-sgfp1").digest()
