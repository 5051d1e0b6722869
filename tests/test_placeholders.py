"""What is recognized as a template's value, and how rarely chance makes a key that looks like one."""

from __future__ import annotations

import base64
import re
import secrets
from typing import TYPE_CHECKING, ClassVar

import pytest

from robodj_secretguard import placeholders
from robodj_secretguard.material import (
    MIN_COVERED,
    MIN_SHARE,
    MIN_TEXT_BYTES,
    default_digest,
    is_hexadecimal,
    is_placeholder,
    weakness,
    worth,
)
from robodj_secretguard.placeholders import DEFAULTS, MAX_WORD, MIN_WORD, PHRASES, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENTED = re.findall(r"(?m)^\| ([a-z ]+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", placeholders.__doc__ or "")
# Letters for which a text may have a digit that looks like them.
LOOKALIKE = 3 / 62
LETTER = 2 / 62


class TestWords:
    """Words of templates, in any case and with any separators."""

    @pytest.mark.parametrize(
        "value",
        [
            "Change-Me-Before-Deploying-To-Production-Please",
            "YourSuperSecretKeyThatIsAtLeast32CharactersLong",
            "Insert_Your_Secret_Key_Here_0000000000000000000000",
            "PASTE_KEY_HERE_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "this.is.only.for.local.development.and.testing.purposes",
            "una-clave-secreta-muy-larga-para-el-entorno-de-desarrollo",
            "votre-cle-secrete-tres-longue-pour-la-production-2027",
            "ein-sehr-geheimer-schluessel-fuer-die-entwicklung-12",
            "minha-chave-secreta-muito-segura-para-desenvolvimento",
            "cok-gizli-bir-anahtar-uretim-ortaminda-degistirin-00",
            "s3cr3t-k3y-f0r-t3st1ng-4nd-d3v3l0pm3nt-0nly-ch4ng3-1t",
            "Change_Me",
            "CHANGEME",
        ],
    )
    def test_a_template(self, value: str) -> None:
        """Listed words that cover enough of a value are a placeholder."""
        assert is_placeholder(value)

    def test_in_a_long_text(self) -> None:
        """They must cover one character in four there: chance finds some words in a long text."""
        words = "production-password-"
        covered = worth(len("production")) + worth(len("password"))
        fits = covered * MIN_SHARE + MIN_SHARE - 1
        folded = len(words.replace("-", ""))
        assert is_placeholder(words + "7" * (fits - folded))
        assert not is_placeholder(words + "7" * (fits - folded + 1))

    def test_a_word_of_four_counts_as_three(self) -> None:
        """Three of them are not enough, and a fourth is."""
        assert not is_placeholder("zz-your-qq-long-jj-test-7")
        assert is_placeholder("zz-your-qq-long-jj-test-7-demo")

    def test_the_list(self) -> None:
        """No word is too short, too long or hexadecimal, which a key may be throughout."""
        assert {MIN_WORD, MAX_WORD} == {min(map(len, WORDS)), max(map(len, WORDS))}
        assert all(word.isascii() and word.isalpha() and word.islower() for word in (*WORDS, *PHRASES))
        assert not any(map(is_hexadecimal, (*WORDS, *PHRASES)))


class TestEncoded:
    """Text in base64 or hexadecimal."""

    ENCODINGS: ClassVar[dict[str, Callable[[bytes], str]]] = {
        "base64": lambda text: base64.b64encode(text).decode(),
        "base64url": lambda text: base64.urlsafe_b64encode(text).decode().rstrip("="),
        "twice": lambda text: base64.b64encode(base64.b64encode(text)).decode(),
        "hexadecimal": bytes.hex,
        "UTF-16": lambda text: base64.b64encode(text.decode().encode("utf-16-le")).decode(),
        "UTF-16 with a mark": lambda text: base64.b64encode(b"\xfe\xff" + text.decode().encode("utf-16-be")).decode(),
        "UTF-32": lambda text: base64.b64encode(text.decode().encode("utf-32-le")).decode(),
    }

    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize(
        "text",
        [
            b"replace_with_a_long_random_value",
            b"${ROBODJ_SECRET_KEY_OF_THE_STAGE}",
            b"this is a development secret, change it\n",
            b"correct horse battery staple, forty more",
            b"0123456789012345678901234567890123456789",
        ],
    )
    def test_text(self, encoding: str, text: bytes) -> None:
        """What people type is a placeholder in any encoding, or weak: hexadecimal digits of digits are few."""
        value = self.ENCODINGS[encoding](text)
        assert is_placeholder(value) or weakness(value)

    def test_numbers_in_their_order(self) -> None:
        """Bytes that count up or down are no key."""
        for data in (bytes(range(32)), bytes(range(250, 256)) + bytes(range(30)), bytes(range(64))[::-1]):
            assert is_placeholder(data.hex())
            assert is_placeholder(base64.urlsafe_b64encode(data).decode().rstrip("="))

    def test_a_key_in_base64(self) -> None:
        """A generated key that was encoded once more is none."""
        assert not is_placeholder(base64.b64encode(secrets.token_hex(32).encode()).decode())
        assert not is_placeholder(base64.b64encode(secrets.token_urlsafe(32).encode()).decode())


class TestDefaults:
    """What well-known projects ship."""

    def test_they_are_digests(self) -> None:
        """No default is in the repository as text."""
        assert len(DEFAULTS) > 80
        assert all(re.fullmatch("[0-9a-f]{16}", each) for each in DEFAULTS)

    def test_in_every_spelling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Padding and the alphabet of base64 do not matter, nor does the case of hexadecimal."""
        data = bytes(range(200, 232))
        standard = base64.b64encode(data).decode()
        assert "+" in standard or "/" in standard
        monkeypatch.setattr(
            "robodj_secretguard.material.DEFAULTS", {default_digest(standard), default_digest(data.hex())}
        )
        url_safe = base64.urlsafe_b64encode(data).decode()
        for value in (standard, url_safe, url_safe.rstrip("="), data.hex(), data.hex().upper()):
            assert is_placeholder(value)
        assert not is_placeholder(url_safe.swapcase())


def of_words(length: int) -> float:
    """Return how many of a million texts of a length are expected to be covered by words, counting each way to be."""
    needed = max(MIN_COVERED, length // MIN_SHARE)
    by_length: dict[int, float] = {}
    for word in WORDS:
        by_length[len(word)] = by_length.get(len(word), 0) + chance(word)
    ways = [[0.0] * needed for _ in range(length + 1)]
    ways[0][0] = 1.0
    expected = 0.0
    for start in range(length):
        for covered, way in enumerate(ways[start]):
            ways[start + 1][covered] += way
            for size, found in by_length.items():
                if way and start + size <= length:
                    if covered + worth(size) >= needed:
                        expected += way * found
                    else:
                        ways[start + size][covered + worth(size)] += way * found
    return expected * 1e6


def of_phrases(length: int) -> float:
    """Return how many of a million texts of a length are expected to have a phrase."""
    return sum(max(0, length - len(phrase) + 1) * chance(phrase) for phrase in PHRASES) * 1e6


def chance(text: str) -> float:
    """Return how likely random base64url is to spell a text at one place, with look-alike digits."""
    product = 1.0
    for letter in text:
        product *= LOOKALIKE if letter in "oieast" else LETTER
    return product


def of_text(size: int) -> float:
    """Return how many of a million byte strings of a size are expected to be UTF-8 text that can be shown."""
    # ASCII, and of two, three and four bytes: from above.
    shares = {1: 102 / 256, 2: 30 / 256 * 64 / 256, 3: 16 / 256 * (64 / 256) ** 2, 4: 5 / 256 * (64 / 256) ** 3}
    ways = [1.0] + [0.0] * size
    for end in range(1, size + 1):
        ways[end] = sum(share * ways[end - width] for width, share in shares.items() if width <= end)
    return ways[size] * 1e6


SIZES = {"token_urlsafe(16)": 16, "token_urlsafe(32)": 32, "token_urlsafe(64)": 64}


@pytest.mark.parametrize("rule", ["phrases", "words", "encoded text", "defaults"])
def test_the_expected_false_alarms(rule: str) -> None:
    """The table at the head of the list of words is what can be computed, from above."""
    (documented,) = (row[1:] for row in DOCUMENTED if row[0] == rule)
    for number, size in enumerate(SIZES.values()):
        length = -(-size * 4 // 3)
        expected = {
            "phrases": of_phrases(length),
            "words": of_words(length),
            # Below the least size it must be of words too.
            "encoded text": of_text(size) if size >= MIN_TEXT_BYTES else of_text(size) * of_words(size) / 1e6,
            "defaults": len(DEFAULTS) / 2**64 * 1e6,
        }[rule]
        assert expected <= float(documented[number]) <= max(expected * 3, 1e-9)
        assert expected < 0.1
    in_hexadecimal = {"encoded text": of_text(64), "defaults": len(DEFAULTS) / 2**64 * 1e6}.get(rule, 0.0)
    assert in_hexadecimal <= float(documented[3]) <= max(in_hexadecimal * 3, 1e-9)
