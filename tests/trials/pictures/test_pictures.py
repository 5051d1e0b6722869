"""The pictures in docs/pictures show what the programs write today."""

from __future__ import annotations

import re

from conftest import posix_only
from drawing import COLUMNS, PICTURES, pictures, text_of

_VARIES = re.compile(r"sgfp1:[0-9a-f]{32}|sha256:[0-9a-f]+\.\.\.|\d{4}-\d\d-\d\d(?:T[\d:]+Z)?")


@posix_only
def test_the_pictures_are_up_to_date() -> None:
    """Each picture has the present text, but for dates and fingerprints. No line is wider than the terminal."""
    made = pictures()
    assert {path.stem for path in PICTURES.glob("*")} == {*made}
    for name, svg in made.items():
        drawn = (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
        assert _VARIES.sub("...", drawn) == _VARIES.sub("...", svg)
        assert len(text_of(drawn)) > 10
        assert max(map(len, text_of(drawn))) <= COLUMNS


def test_the_pictures_load_nothing() -> None:
    """A picture has no address but those of its comment and its namespace."""
    for picture in PICTURES.glob("*.svg"):
        urls = re.findall(r"https?://[^\s\"')]+", picture.read_text(encoding="utf-8"))
        assert {*urls} <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
