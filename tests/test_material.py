"""The rules for the text of a key, and its fingerprint."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from hashlib import blake2b
from typing import ClassVar

import pytest
from command_line import fingerprint_of
from conftest import V1, good_keys
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spellings import respelled
from values import BASE64URL, HEX, random_text

from robodj_secretguard import Kind, RuntimeSecrets
from robodj_secretguard.secret.material import (
    _BEGINNINGS,
    DEFAULTS,
    MAX_WORD,
    MIN_WORD,
    PHRASES,
    canonical,
    default_digest,
    is_fingerprint,
    is_hexadecimal,
    is_plain_text,
    is_well_formed,
    join_faults,
    last_characters,
    listed_words,
    placeholder,
    weakness,
)
from robodj_secretguard.secret.policy import LEAST_MATERIAL

MATERIAL = {policy.variable: policy.material for policy in RuntimeSecrets.secret_policies.values()}


def is_placeholder(text: str) -> bool:
    """Check whether text is any kind of placeholder."""
    return bool(placeholder(text))


class TestPlaceholder:
    """The value of a template instead of a key."""

    @pytest.mark.parametrize(
        "part",
        [
            *("replace_with", "Change_Me", "CHANGEME", "example", "undefined", "placeholder", "x" * 8),
            *("<key>", "${KEY}", "{{ key }}", "%KEY%"),
        ],
    )
    def test_anywhere(self, part: str) -> None:
        """A listed phrase or a template's brackets anywhere in a value make it a placeholder, in any case."""
        key = good_keys()[V1]
        assert is_placeholder(key[:20] + part + key[20:])

    @pytest.mark.parametrize(
        "near", ["xxxxxxx", "replacewit", "exampl", "change-m", "<>", "%%", "%ab+c%", "${}", "{{}}"]
    )
    def test_one_character_less(self, near: str) -> None:
        """A phrase without one character, and empty brackets, are not placeholders."""
        assert not is_placeholder(f"{good_keys()[V1]}-{near}")

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
        ],
    )
    def test_words(self, value: str) -> None:
        """A value is a placeholder if listed words cover enough of it, in any case and with any separators."""
        assert is_placeholder(value)

    @pytest.mark.parametrize("whole", ["null", "None", "nil", "TODO", "tbd", "dummy", "secret", "Test", "x", "XXX"])
    def test_the_whole_value(self, whole: str) -> None:
        """Some words are placeholders only as the whole value."""
        assert (is_placeholder(whole), is_placeholder(good_keys()[V1] + whole[:3])) == (True, False)

    @pytest.mark.parametrize(
        ("text", "refused"),
        [
            ("\N{LATIN SMALL LETTER LONG S}ecret", False),
            ("te\N{LATIN SMALL LETTER LONG S}t", False),
            ("cryptographically" + "7" * 54, True),
            ("cryptographically" + "7" * 55, False),
            ("zq-password-your-zq", False),
            ("zq-secret-please-zq", True),
            ("zz-your-qq-long-jj-test-7", False),
            ("zz-your-qq-long-jj-test-7-demo", True),
            ("zq-passwords-zq", False),
            ("zq-passwordsecret-zq", True),
        ],
        ids=[
            "a letter that only Unicode folds to s",
            "the same within a word",
            "one character in four of a long text",
            "fewer of a longer text",
            "eleven characters of a short text: a word of four counts as three",
            "twelve characters of a short text",
            "nine characters in three words",
            "twelve in four words",
            "overlapping words cover nine characters",
            "two words cover fourteen characters",
        ],
    )
    def test_how_much_words_cover(self, text: str, *, refused: bool) -> None:
        """Words must cover one character in four, and twelve at least. Each counts once. Only ASCII matches."""
        assert is_placeholder(text) is refused

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
    def test_encoded_text(self, encoding: str, text: bytes) -> None:
        """Typed text is refused in every encoding, as a placeholder or as weak."""
        value = self.ENCODINGS[encoding](text)
        assert is_placeholder(value) or weakness(value)

    @pytest.mark.parametrize(
        ("text", "refused"),
        [
            (b"hunter2,hunter3!", True),
            (b"letmeinletmein12", True),
            (b"letmeinletmein1\n", True),
            (b"letmeinletmein1", False),
            (b"letmeinletmein1\x00", False),
            (b"letmeinletmein1\t", False),
            ("letmeinletmein\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), False),
            (b"letmeinletmei\xc3\x00\xa9", False),
            (b"letmeinletmeinlet-12345", True),
            ("W8 zX3 vB7 nM2 kJ9 hG\u00e9".encode(), False),
            ("qW8 zX3 vB7 nM2 kJ9 hG\u00e9".encode(), True),
            (b"changeme", True),
            (secrets.token_hex(32).encode(), False),
            (secrets.token_urlsafe(32).encode(), False),
        ],
        ids=range(14),
    )
    def test_encoded_text_by_its_length(self, text: bytes, *, refused: bool) -> None:
        """Encoded text of 16 to 23 bytes is a placeholder if it is one line of printable ASCII, longer text unless it
        is a key, and shorter text if it is one itself.
        """
        values = (base64.urlsafe_b64encode(text).decode().rstrip("="), text.hex())
        assert [is_placeholder(value) for value in values] == [refused, refused]

    def test_bytes_that_count(self) -> None:
        """16 or more bytes with the same difference between neighbours are weak."""
        steps = (range(16), range(250, 280), range(63, -1, -1), range(0, 256, 0x11), range(200, -200, -7))
        for data in (bytes(each % 256 for each in values) for values in steps):
            assert weakness(data.hex())
            assert weakness(base64.urlsafe_b64encode(data).decode().rstrip("="))
        assert not weakness(bytes(range(128, 143)).hex())
        assert not weakness(bytes([*range(128, 158), 0]).hex())

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("todo", "a placeholder, not a key"),
            ("xxxxxxxx", "a placeholder, not a key"),
            ("<key>", "a placeholder, not a key"),
            ("replace_with_a_key", "a placeholder, not a key"),
            ("R3PL4C3-W1TH", "a placeholder, not a key"),
            (bytes(range(200, 232)).hex(), "the default key of a well-known project"),
            (base64.b64encode(b"changeme").decode(), "readable text in base64 or hexadecimal, not a random key"),
            (base64.b64encode(b"changeme").decode().replace("b", "!!!!b"), ""),
            ("", ""),
        ],
    )
    def test_its_kind(self, monkeypatch: pytest.MonkeyPatch, text: str, kind: str) -> None:
        """Each kind of placeholder has its own message. Other text has none."""
        monkeypatch.setattr(
            "robodj_secretguard.secret.material.DEFAULTS", {default_digest(bytes(range(200, 232)).hex())}
        )
        assert (placeholder(text), is_placeholder(text)) == (kind, bool(kind))
        key = good_keys()[V1]
        assert (placeholder(key), is_placeholder(key)) == ("", False)

    def test_a_default_in_every_spelling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A well-known default is found in any spelling: padding, blanks, base64 alphabet, hexadecimal case."""
        data = bytes(range(200, 232))
        standard = base64.b64encode(data).decode()
        assert "+" in standard or "/" in standard
        listed = {default_digest(standard), default_digest(data.hex())}
        monkeypatch.setattr("robodj_secretguard.secret.material.DEFAULTS", listed)
        url_safe = base64.urlsafe_b64encode(data).decode()
        for value in (standard, url_safe, url_safe.rstrip("="), f" {standard}\n", data.hex(), data.hex().upper()):
            assert is_placeholder(value)
        assert not is_placeholder(url_safe.swapcase())
        assert (
            default_digest("\ud800=") == blake2b("\ud800".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        )


class TestFormat:
    """The alphabet of a key."""

    def test_hexadecimal(self) -> None:
        """Text is hexadecimal if it is not empty and every character is a digit of either case."""
        assert [is_hexadecimal(text) for text in ("0aF", "0aG", "")] == [True, False, False]

    def test_plain_text(self) -> None:
        """Text is plain if it is printable ASCII with more than blanks."""
        assert [is_plain_text(text) for text in ("a b", "a\n", "\u00e9", " ", "")] == [True, *[False] * 4]

    @pytest.mark.parametrize(
        ("faults", "text"), [("a", "a"), ("ab", "a and b"), ("abc", "a, b, and 1 more"), ("abcd", "a, b, and 2 more")]
    )
    def test_joined_faults(self, faults: str, text: str) -> None:
        """The first faults are named, and the others counted."""
        assert join_faults([*faults], most=2) == text
        assert join_faults([*faults]) == {1: "a"}.get(len(faults), f"a, and {len(faults) - 1} more")

    def test_template(self) -> None:
        """A placeholder is a template. A key and a malformed value are none."""
        key = good_keys()[V1]
        assert [MATERIAL[V1].is_template(text) for text in ("changeme", key, key[:9])] == [True, False, False]


class TestWeak:
    """A key that is clearly not random."""

    ONE_BLOCK, ONE_CASE = "one block that is repeated", "letters of one case only"
    RUNS = "alphabet or keyboard runs in half of it"

    @pytest.mark.parametrize(
        ("alphabet", "fewest", "length"),
        [
            *((BASE64URL, fewest, length) for fewest, length in ((10, 22), (10, 23), (11, 24), (16, 34), (16, 43))),
            *((HEX, fewest, length) for fewest, length in ((7, 32), (7, 38), (8, 40), (9, 48), (10, 56), (10, 64))),
        ],
    )
    def test_distinct_characters(self, alphabet: str, fewest: int, length: int) -> None:
        """A long key needs 16 distinct characters, a hexadecimal key 10 without regard to case. A short one fewer."""
        weak, fine = (random_text(alphabet, length, count) for count in (fewest - 1, fewest))
        why = f"fewer than {fewest} distinct characters"
        assert [weakness(weak), weakness(fine)] == [why, None]
        if alphabet is HEX:
            assert weakness("".join(secrets.choice((char, char.upper())) for char in weak)) == why

    @pytest.mark.parametrize(("length", "why"), [(44, ONE_BLOCK), (43, None), (60, ONE_BLOCK)])
    def test_period(self, length: int, why: str | None) -> None:
        """A block is repeated if its period is at most half the length. The last block may be incomplete."""
        assert weakness((random_text(BASE64URL, 22, 22) * 3)[:length]) == why

    BLOCK = "aB3dE6gH9jK2mN5pQ"

    @settings(max_examples=100)
    @given(
        order=st.lists(st.sampled_from([BLOCK, f"{BLOCK}-", BLOCK[::-1], "r"]), min_size=2, max_size=8),
        cut=st.integers(0, 20),
    )
    def test_any_period(self, order: list[str], cut: int) -> None:
        """A block is repeated if and only if the text equals itself shifted by such a period."""
        text = "".join(order)[cut:]
        assume(len(set(text)) >= 16)  # fewer characters are weak for another reason
        repeats = any(text[period:] == text[: len(text) - period] for period in range(1, len(text) // 2 + 1))
        assert (weakness(text) == self.ONE_BLOCK) == repeats

    @pytest.mark.parametrize(
        "runs",
        ["abcdefghijkLMNOPQRSTUV", "9876543210zyxwvutsrqPO", "qwertyuiopASDFghjkLKJH", "4567890Poiuytrewqlkjhg"],
    )
    def test_runs(self, runs: str) -> None:
        """A key is weak if half of it is in ascending, descending or keyboard runs of four or more."""
        rest = "-aQ5_bR7-cS9_dT1-eU3_f"
        assert len(runs) == len(rest) == 22
        assert weakness(runs + rest) == weakness(rest + runs) == self.RUNS
        assert weakness(f"{runs}{rest}-") is weakness(f"-{rest}{runs}") is None

    def test_a_run_of_three(self) -> None:
        """Three consecutive characters are not a run."""
        text = "-".join(f"abC deF ghI jkL mnO pqR stU vwX yz0 {123} {567}".split())
        assert len(text) == 43
        assert weakness(text) is None

    def test_one_case(self) -> None:
        """Base64url with letters of only one case is weak. Hexadecimal is not."""
        for change in (str.lower, str.upper):
            assert weakness(change(random_text(BASE64URL, 60)) + "-") == self.ONE_CASE
            assert weakness(change(secrets.token_hex(32))) is None

    @pytest.mark.parametrize(
        ("length", "others", "why"),
        [(22, 1, ONE_CASE), (22, 2, None), (28, 4, ONE_CASE), (28, 5, None), (33, 7, None), (34, 20, ONE_CASE)],
    )
    def test_one_case_of_a_short_key(self, length: int, others: int, why: str | None) -> None:
        """A key of fewer than 34 characters may have letters of one case with enough digits between."""
        text = "qzwxecrvtbynumiplkjhgfdsa"[: length - others] + "8-6_4_2_0_9-7_5_3_1-8_6"[:others]
        assert (weakness(text), weakness(text.upper())) == (why, why)

    @pytest.mark.parametrize(
        "text",
        [
            *("aaaaaaaaaaaaaaaaaaaaaz", "abcabcabcabcabcabcabcz", "qwertyuiopasdfghjklzxc", "passwordpassword123456"),
            *("correcthorsebatterysta", "0123456789abcdef" * 2, "00112233445566778899aabbccddeeff", "deadbeef" * 4),
            *("PasswordPassword123456", "letmein-letmein-letmei", "YWRtaW5hZG1pbmFkbWluMQ"),
        ],
    )
    def test_clearly_bad_short_keys(self, text: str) -> None:
        """The rules also refuse typed keys of 16 bytes."""
        assert is_well_formed(text, *LEAST_MATERIAL)
        assert not LEAST_MATERIAL.accepts(text)

    def test_sound(self) -> None:
        """A sound key is well-formed, and is not a placeholder or weak."""
        key = good_keys()[V1]
        values = (key, f"{key}-changeme", f"{key}=", "Zy" * 30)
        assert [MATERIAL[V1].accepts(value) for value in values] == [True, False, False, False]


class TestFingerprint:
    """The fingerprint of a key, which may be shown."""

    def test_its_definition(self) -> None:
        """A fingerprint is BLAKE2b-128 with its own personalisation. A hexadecimal key is lower-cased first."""
        text, digits = secrets.token_urlsafe(32), secrets.token_hex(64)
        for key, form in ((text, text), (digits, digits), (digits.upper(), digits)):
            digest = blake2b(form.encode(), digest_size=16, person=b"robodj-sgfp1").hexdigest()
            assert fingerprint_of(key) == f"sgfp1:{digest}"
            assert is_fingerprint(fingerprint_of(key))

    @pytest.mark.parametrize(("size", "spellings"), [(32, 4), (64, 16), (33, 1)])
    def test_respelled(self, size: int, spellings: int) -> None:
        """The unused bits of the last character are ignored, and so are standard base64 and padding."""
        data = secrets.token_bytes(size)
        standard, padded = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
        key = padded.rstrip("=")
        others = respelled(key)
        assert len(others) == spellings - 1
        assert {fingerprint_of(each) for each in (*others, standard, standard.rstrip("="), padded, key)} == {
            fingerprint_of(key)
        }
        assert {canonical(other) for other in others} <= {key}

    @pytest.mark.parametrize("digits", [66, 67, 128])
    def test_hexadecimal_has_no_unused_bits(self, digits: int) -> None:
        """Hexadecimal text has no unused bits, so each last digit makes another key."""
        key = secrets.token_hex(64)[: digits - 1]
        assert len({fingerprint_of(key + last) for last in HEX}) == 16

    @pytest.mark.parametrize(
        ("text", "last"),
        [
            ("", ""),
            *((f"{'x' * size}A", "A") for size in (3, 4)),
            *((f"xx{last}", "IJKL") for last in "IJKL"),
            ("xxA", "ABCD"),
            *((f"x{last}", "QRSTUVWXYZabcdef") for last in "QRaf"),
            ("aaA", "A"),
            ("=", "="),
        ],
    )
    def test_last_characters(self, text: str, last: str) -> None:
        """The spellings of a last character are in order. Text that cannot be decoded has one spelling."""
        assert last_characters(text) == last
        assert canonical(text) == (text.lower() if is_hexadecimal(text) else text[:-1] + last[:1])

    @pytest.mark.parametrize(
        "spoil",
        [
            *(str.upper, str.title, lambda text: text[:-1], lambda text: f"{text}0", lambda text: text * 2),
            *(lambda text: f"{text[:-1]}g", lambda text: f"{text[:-1]}F", lambda _: ""),
            *(lambda text: f"{text[:-1]}\N{FULLWIDTH DIGIT ONE}", lambda text: f"{text}\n", lambda text: f" {text}"),
            *(lambda text: text[6:], lambda text: text.replace("p1", "p2"), lambda text: text.replace(":", ": ")),
        ],
        ids=range(14),
    )
    def test_other_text(self, spoil: Callable[[str], str]) -> None:
        """Only text in the library's exact format is a fingerprint."""
        assert not is_fingerprint(spoil(fingerprint_of(f"{good_keys()[V1]}")))


class TestLists:
    """The lists."""

    def test_words_have_valid_lengths_and_are_not_hexadecimal(self) -> None:
        """Every word has a valid length, and none is hexadecimal, as a key may be."""
        assert {MIN_WORD, MAX_WORD} == {min(map(len, listed_words())), max(map(len, listed_words()))}
        assert all(word.isascii() and word.isalpha() and word.islower() for word in (*listed_words(), *PHRASES))
        assert not any(map(is_hexadecimal, (*listed_words(), *PHRASES)))
        assert {each[:MIN_WORD] for each in (*listed_words(), *PHRASES)} == _BEGINNINGS

    def test_defaults_are_listed_as_digests_only(self) -> None:
        """The defaults of well-known projects are listed as digests only."""
        assert len(DEFAULTS.split()) > 80
        assert all(re.fullmatch("[0-9a-f]{16}", each) for each in DEFAULTS.split())


@pytest.mark.parametrize("method", ["fault", "temporary"])
def test_kind_needs_its_rules(method: str) -> None:
    """A kind without its own rules accepts nothing: each use of it is an error."""
    with pytest.raises(NotImplementedError):
        getattr(Kind(), method)(*["text"] * (method == "fault"))
