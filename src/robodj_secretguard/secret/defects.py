"""What is around a key, or wrong in its format, as an operator is told. A start with good keys does not import it."""

from __future__ import annotations

from typing import Final

from robodj_secretguard.secret.material import BASE64URL_DIGITS, TO_URL_SAFE, Fault, Length, is_hexadecimal, join_faults

EXACT_LENGTH_FROM: Final = 16
"""Messages do not give a length below this one: it would help to guess the value."""

NEWLINE: Final = "a newline at the end"
BLANK: Final = "a blank at the beginning or end"
QUOTES: Final = "quotes around it"
PADDING: Final = "= padding at the end"
NOT_URL_SAFE: Final = "the alphabet of standard base64"
REMOVABLE: Final = {
    NEWLINE: "set {} without the newline (printf %s writes none; echo does)",
    BLANK: "set {} without the blank",
    QUOTES: "set {} without the quotes (docker --env-file keeps them)",
    PADDING: "set {} without the = padding (not if it already signs: see docs/adopting.md)",
    NOT_URL_SAFE: "set {} without =, and with - in place of + and _ in place of / (not if it already signs: see"
    " docs/adopting.md)",
}
"""The fix where this is the only fault of a value, and where it usually comes from."""


def format_fault(text: str, base64url: Length, hexadecimal: Length) -> Fault:
    """Return the first two defects of a key as a fault. What is around a key has a fix of its own."""
    defects = format_defects(text, base64url, hexadecimal)
    return Fault("format", f"has {join_faults(defects, most=2)}", REMOVABLE.get("".join(defects), ""))


def format_defects(text: str, base64url: Length, hexadecimal: Length) -> list[str]:
    """Return the parts of a key that its format does not allow (policy section 6), from the outside to the inside."""
    core, defects = _without_wrapping(text)
    if not core:
        return [*defects, "nothing else"]
    if not BASE64URL_DIGITS.issuperset(core):
        defects.append("a character outside A-Za-z0-9_-")
    needed, characters = (hexadecimal, "hexadecimal digits") if is_hexadecimal(core) else (base64url, "characters")
    if not needed.accepts(len(core)):
        defects.append(_wrong_length(len(core), needed, characters))
    return defects


def _without_wrapping(text: str) -> tuple[str, list[str]]:
    """Return a key without newlines, blanks, quotes and padding around it, and which of them it has."""
    defects = []
    core = text.rstrip("\r\n")
    if core != text:
        defects.append(NEWLINE)
    if core != core.strip():
        defects.append(BLANK)
        core = core.strip()
    if (inner := core.strip("\"'")) != core:
        defects.append(QUOTES)
        core = inner
    plain = core.rstrip("=").translate(TO_URL_SAFE)
    if plain != core and BASE64URL_DIGITS.issuperset(plain):
        defects.append(PADDING if plain == core.rstrip("=") else NOT_URL_SAFE)
        core = plain
    return core, defects


def _wrong_length(length: int, needed: Length, kind: str) -> str:
    if length >= EXACT_LENGTH_FROM:
        return f"{length} {kind}, not {needed}"
    return f"fewer than {min(EXACT_LENGTH_FROM, needed.minimum)} characters"
