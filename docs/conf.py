# noqa: INP001 - docs/ is not a package
"""The documentation site: `nox -s docs` builds it. The pages are plain Markdown, which also reads well on GitHub."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from operator import itemgetter
from typing import TYPE_CHECKING

import fastapi  # noqa: F401 - autodoc would import it with TYPE_CHECKING set, which pydantic cannot do

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = author = "robodj-secretguard"
version = release = version_of(project)
copyright = "RoboDJ maintainers"  # noqa: A001 - Sphinx's name

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!robodj_secretguard).*"),  # of other projects: their inventories are not downloaded
    ("py:class", r"robodj_secretguard\.startup\.settings\.Model"),  # a type variable
    ("py:class", r"robodj_secretguard\.(.+\.)?(Delivery|Problem|Record|SealedStr|Store|Unread)"),  # not on the page
]
default_role = "code"  # docstrings write `name`, as Markdown does

myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4  # as GitHub's

napoleon_use_ivar = True
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"{project} {version}"
html_theme_options = {
    "source_repository": "https://github.com/robodj/robodj-secretguard/",
    "source_branch": "main",
    "source_directory": "docs/",
}
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
pygments_dark_style = "github-dark"  # the default of furo underlines the names of modules
html_use_index = False  # it is wider than a phone

linkcheck_anchors_ignore_for_url = [r"https://github\.com/robodj/.*"]  # tests/test_links.py checks them


def add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make the sidebar from the links in index.md and commands.md. GitHub would show a directive there as code."""
    if page == "commands":
        source[0] += toctree("", re.findall(r"\((commands/[\w-]+)\.md\)", source[0]))
    if page == "index":
        parts = re.split(r"^## (.+)\n", source[0], flags=re.MULTILINE)
        for caption, links in zip(parts[1::2], parts[2::2], strict=True):
            found = re.findall(r"^- \[(.+?)\]\(([\w/-]+)\.md\)", links, re.MULTILINE)
            source[0] += toctree(caption, [f"{title} <{name}>" for title, name in found])


def toctree(caption: str, entries: list[str]) -> str:
    """Return a part of the sidebar."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *entries, "```", ""])


def is_field(_app: Sphinx, _what: str, _name: str, member: object, *_skip_and_options: object) -> bool | None:
    """Leave out the property of a record's field: the docstring of the record describes its fields."""
    return (isinstance(member, property) and isinstance(member.fget, itemgetter)) or None


def keep_colon(_app: Sphinx, what: str, _name: str, _member: object, _options: object, lines: list[str]) -> None:
    """Keep a colon in the first line of a property's docstring: napoleon would take what is before it for a type."""
    if what in {"attribute", "property"}:
        lines[:0] = ["..", ""]


def split_lines(_app: Sphinx, _what: str, _name: str, _member: object, _options: object, lines: list[str]) -> None:
    """Split the lines of an exception's description: napoleon joins them, and a list in them would not be one."""
    lines[:] = "\n".join(lines).split("\n")


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("autodoc-skip-member", is_field)
    app.connect("autodoc-process-docstring", keep_colon, priority=400)  # before napoleon's 500
    app.connect("autodoc-process-docstring", split_lines, priority=600)
