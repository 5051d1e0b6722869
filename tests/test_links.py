"""Every link of the documentation within this repository leads somewhere, on GitHub and on the site."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("examples/*/*.md"), *ROOT.glob(".github/*.md")]
)
_REPOSITORY: Final = "https://github.com/robodj/robodj-secretguard"
_OURS: Final = re.compile(r"https://github\.com/robodj/robodj-secretguard/(blob|tree)/main/([^#]*)(?:#(.*))?")
_FILE: Final = re.compile(
    r"https?://(?:raw\.githubusercontent|github)\.com/robodj/robodj-secretguard/(?:blob|tree|raw|main)/"
)
_PARSER: Final = MarkdownIt("commonmark").enable("table")


def tokens_of(text: str) -> Iterator[Token]:
    """Yield every token of a page, also those within a line."""
    for token in _PARSER.parse(text):
        yield from (token, *(token.children or ()))


def links_of(text: str) -> Iterator[str]:
    """Yield the targets of a page's links and pictures, also of those that are written in HTML."""
    for token in tokens_of(text):
        if token.type in {"link_open", "image"}:
            yield str(token.attrGet("href") or token.attrGet("src"))
        elif token.type in {"html_inline", "html_block"}:
            yield from re.findall(r"\b(?:href|src|srcset)=[\"']?([^\"'\s>]+)", token.content)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    tokens = [*tokens_of(page.read_text(encoding="utf-8"))]
    headings = [after for before, after in pairwise(tokens) if before.type == "heading_open"]
    seen = Counter[str]()
    anchors = set[str]()
    for heading in headings:
        text = "".join(each.content for each in heading.children or () if each.type in {"text", "code_inline"})
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def fault_of(page: Path, link: str) -> str | None:
    """Return what is wrong with a link of a page; `None` for a right one and for one to another site."""
    ours = _OURS.fullmatch(link)
    if not ours and _FILE.match(link):
        return f"write {_REPOSITORY}/blob/main/PATH"
    if not ours and re.match("[a-z]+:", link):
        return None
    name, _, anchor = (ours[2], "", ours[3]) if ours else link.partition("#")
    target = ((ROOT if ours else page.parent) / unquote(name)).resolve() if name else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return "no such file"
    if ours and target.is_dir() != (ours[1] == "tree"):
        return "a directory is at tree/main, and a file at blob/main"
    if not ours and page.is_relative_to(DOCS) and not target.is_relative_to(DOCS):
        return "not on the site: write the address on GitHub"
    return "no such heading" if anchor and anchor not in anchors_of(target) else None


def test_every_link_leads_somewhere() -> None:
    """A link within the repository leads to a file, directory or heading that exists."""
    links = [(page, link) for page in PAGES for link in links_of(page.read_text(encoding="utf-8"))]
    assert [(page.name, link, fault) for page, link in links if (fault := fault_of(page, link))] == []
    assert len(links) > 50


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("architecture.md#the-boundary", None),
        ("https://github.com/robodj/robodj-secretguard/blob/main/SECURITY.md#what-is-promised", None),
        ("https://github.com/robodj/robodj-secretguard/tree/main/examples/recipes", None),
        ("https://example.org/nothing.md", None),
        ("nothing.md", "no such file"),
        (f"{_REPOSITORY}/blob/master/README.md", f"write {_REPOSITORY}/blob/main/PATH"),
        ("architecture.md#nothing", "no such heading"),
        ("../SECURITY.md", "not on the site: write the address on GitHub"),
        ("../../outside.md", "no such file"),
        ("https://github.com/robodj/robodj-secretguard/blob/main/nothing.md", "no such file"),
        ("https://github.com/robodj/robodj-secretguard/blob/main/README.md#nothing", "no such heading"),
        (
            "https://github.com/robodj/robodj-secretguard/blob/main/examples",
            "a directory is at tree/main, and a file at blob/main",
        ),
    ],
)
def test_wrong_link_is_a_fault(link: str, fault: str | None) -> None:
    """A wrong file, heading or kind of address is a fault, and so is a relative link that the site does not have."""
    assert fault_of(DOCS / "index.md", link) == fault
