"""What is known of a small file: when it may not be used, and what is one line."""

import pytest

from robodj_secretguard.startup.textfile import NO_TEXT, NOT_UTF_8, WRITABLE, TextFile, is_one_line


def test_a_file_may_not_be_used_for_what_is_unreadable_and_for_what_others_could_write() -> None:
    """The unreadable text comes first. A file that others can read, or that another user owns, is used."""
    assert TextFile(unreadable=(NOT_UTF_8,), exposed=(WRITABLE,)).unsafe == (NOT_UTF_8, WRITABLE)
    assert TextFile(exists=True, lax=("is lax",), lax_paths=("is in",), foreign=("is owned",)).unsafe == ()
    assert (NO_TEXT.unsafe, NO_TEXT.exists, NO_TEXT.dangling, NO_TEXT.misnamed) == ((), False, False, False)
    assert NO_TEXT.empty


@pytest.mark.parametrize(("text", "expected"), [("a b", True), ("a\vb", False), ("a\u2028b", False)])
def test_another_kind_of_line_break_ends_a_line(text: str, *, expected: bool) -> None:
    """An editor shows another line after it, so a comment could hide an entry there."""
    assert is_one_line(text) is expected
