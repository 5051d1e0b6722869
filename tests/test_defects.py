"""What is around a key, or wrong in its format."""

from __future__ import annotations

import pytest
from conftest import V1, V2, good_keys
from values import BASE64URL, HEX, random_text

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.secret.defects import (
    BLANK,
    NEWLINE,
    NOT_URL_SAFE,
    PADDING,
    QUOTES,
    REMOVABLE,
    format_defects,
)

MATERIAL = {policy.variable: policy.material for policy in RuntimeSecrets.secret_policies.values()}


@pytest.mark.parametrize(
    ("variable", "alphabet", "length", "defect"),
    [
        (V1, BASE64URL, 42, "42 characters, not 43 or more"),
        (V1, BASE64URL, 43, ""),
        (V1, BASE64URL, 500, ""),
        (V1, HEX, 63, "63 hexadecimal digits, not 64 or more"),
        (V1, HEX, 64, ""),
        (V1, HEX, 65, ""),
        (V2, BASE64URL, 85, "85 characters, not 86 or more"),
        (V2, BASE64URL, 86, ""),
        (V2, BASE64URL, 500, ""),
        (V2, HEX, 127, "127 hexadecimal digits, not exactly 128"),
        (V2, HEX, 128, ""),
        (V2, HEX, 129, "129 hexadecimal digits, not exactly 128"),
    ],
)
def test_length(variable: str, alphabet: str, length: int, defect: str) -> None:
    """A key needs the length of its generator's keys. Hexadecimal text may have either case."""
    text = random_text(alphabet, length)
    for each in (text, text.upper()) if alphabet is HEX else (text,):
        assert format_defects(each, *MATERIAL[variable]) == ([defect] if defect else [])


@pytest.mark.parametrize(
    ("length", "defect"), [(1, "fewer than 16 characters"), (15, "fewer than 16 characters"), (16, "16 {}, not {}")]
)
def test_a_short_length_is_not_reported(length: int, defect: str) -> None:
    """For fewer than 16 characters, the exact length and the alphabet are not reported."""
    for alphabet, exact in ((BASE64URL, ("characters", "43 or more")), (HEX, ("hexadecimal digits", "64 or more"))):
        text = random_text(alphabet, length) if length > 1 else alphabet[0]
        assert format_defects(text, *MATERIAL[V1]) == [defect.format(*exact)]


@pytest.mark.parametrize(
    ("spoil", "defects"),
    [
        *[(spoil, [NEWLINE]) for spoil in ("{}\n", "{}\r\n")],
        *[(spoil, [BLANK]) for spoil in (" {}", "{}\t")],
        *[(spoil, [QUOTES]) for spoil in ('"{}"', "'{}'", '"{}', "{}'")],
        *[
            (spoil, ["a character outside A-Za-z0-9_-"])
            for spoil in ("{}.", "{}é", "{}\N{FULLWIDTH DIGIT ONE}", "\ud800{}")
        ],
        ("{}=", [PADDING]),
        ("{}+=", [NOT_URL_SAFE]),
        ("{} \n", [NEWLINE, BLANK]),
        ('"{}="\n', [NEWLINE, QUOTES, PADDING]),
    ],
)
def test_what_surrounds_a_key(spoil: str, defects: list[str]) -> None:
    """All defects around a key are reported at once, from the outside in. No character is shown."""
    assert format_defects(spoil.format(good_keys()[V1]), *MATERIAL[V1]) == defects


@pytest.mark.parametrize(
    ("value", "defect"), [("", None), (" ", BLANK), ("\n", NEWLINE), ('""', QUOTES), ("=", PADDING)]
)
def test_nothing_left(value: str, defect: str | None) -> None:
    """A value with only blanks, quotes or padding has "nothing else"."""
    assert format_defects(value, *MATERIAL[V1]) == [*filter(None, [defect]), "nothing else"]


@pytest.mark.parametrize(
    ("spoil", "defect"), [("{}\n", NEWLINE), (" {}", BLANK), ("'{}'", QUOTES), ("{}=", PADDING), ("{}+", NOT_URL_SAFE)]
)
def test_fix_of_a_single_defect(spoil: str, defect: str) -> None:
    """Where one defect is around a key, the fix keeps the key. With others, it is that of the check."""
    key = good_keys()[V1]
    fault, other = (MATERIAL[V1].fault(spoil.format(each)) for each in (key, f"{key}."))
    assert fault is not None
    assert other is not None
    assert (fault.message, fault.fix) == (f"has {defect}", REMOVABLE[defect])
    assert other.fix == ""


def test_two_defects_are_told() -> None:
    """A fault tells the first two defects, and the number of the others."""
    fault = MATERIAL[V1].fault('"kif!"\n')
    assert fault is not None
    assert fault.message == f"has {NEWLINE}, {QUOTES}, and 2 more"
