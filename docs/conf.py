# noqa: INP001 - docs/ is not a package
"""The documentation site: `nox -s docs` builds it. The pages are plain Markdown, which also reads well on GitHub."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = author = "robodj-secretguard"
version = release = version_of(project)
copyright = "RoboDJ maintainers"  # noqa: A001 - Sphinx's name

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4  # as GitHub's

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


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", add_navigation)
