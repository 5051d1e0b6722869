"""The README and the reference: their commands work as shown, and their tables are complete."""

from __future__ import annotations

import errno
import os
import re
import shlex
from pathlib import Path

from conftest import run
from generated import pages

from robodj_secretguard.cli.options import PROJECT_KEYS
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.startup.inputs import SETTINGS
from robodj_secretguard.version import VERSION

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
KINDS = (ROOT / "docs" / "kinds.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    """Return the code blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


QUICKSTART, TESTS, *_ = blocks("sh")


def test_readme_and_documentation_are_short() -> None:
    """The README has at most 900 words, and the pages that are written by hand have at most 23,720."""
    docs = ROOT / "docs"
    texts = {path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8") for path in docs.rglob("*.md")}
    by_hand = texts.keys() - pages().keys()
    assert len(README.split()) <= 900
    assert sum(len(texts[name].split()) for name in by_hand) <= 23_720


def test_commands_install_run_and_test_the_project(tmp_path: Path, clean_env: dict[str, str]) -> None:
    """The commands install this project, run the quickstart, and run the tests as CI."""
    assert QUICKSTART == "python -m pip install . && python examples/quickstart.py\n"
    assert TESTS == 'python -m pip install ".[test]" && python -m pytest\n'
    steps = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert all(f"- run: {command}\n" in steps for command in TESTS.strip().split(" && "))
    shown = run([str(ROOT / shlex.split(QUICKSTART)[-1])], env=clean_env, cwd=tmp_path)
    assert (shown.status, shown.out.count("ALERT: ")) == (0, 5)


def test_a_secret_is_added_in_ten_lines() -> None:
    """A secret with an issuer, which may be absent, has at most ten lines: its policy and its field."""
    (policy,) = re.findall(r"^STRIPE = .*?^\)$", KINDS, re.MULTILINE | re.DOTALL)
    assert len(policy.splitlines()) + 1 <= 10


def rows(title: str, page: str) -> list[str]:
    """Return the first cells of the table under a heading."""
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (?!-)(.*?) \|", section, re.MULTILINE)[1:]


def test_tables_of_the_reference_have_every_variable_and_setting() -> None:
    """Every variable, and every key of the project configuration, has a row."""
    variables = re.findall("`([^`]+)`", "".join(rows("Variables", REFERENCE)))
    assert [name for name in SETTINGS if name not in variables] == []
    keys = re.findall("`([a-z-]+)`", "".join(rows("Project configuration", REFERENCE)))
    assert sorted(keys) == sorted(PROJECT_KEYS)


def test_the_wheel_on_the_page_of_the_installation_is_of_this_version() -> None:
    """docs/install.md names the wheel of the present version. tests/trials/test_install.py follows the page."""
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert {*re.findall(r"robodj_secretguard-[\w.-]+\.whl", page)} == {f"robodj_secretguard-{VERSION}-py3-none-any.whl"}


def test_generated_pages_are_up_to_date() -> None:
    """The pages of the checks and of the commands are up to date. `python tests/generated.py` writes them."""
    docs = ROOT / "docs"
    written = {path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8") for path in docs.rglob("*.md")}
    generated = pages()
    assert {name: written.get(name) for name in generated} == generated
    assert {name for name in written if name.startswith("commands/")} <= {*generated}


def test_documented_messages_are_those_of_the_program() -> None:
    """The messages in the table of incident.md are messages of the program."""
    page = (ROOT / "docs" / "incident.md").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py"))]
    said = re.sub(r'"\n\s*f?"', "", "\n".join(texts)) + os.strerror(errno.ENOSPC) + os.strerror(errno.EBUSY)
    (table,) = re.findall(r"^\| it says \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    looked_up = [text for row in table.splitlines() for text in re.findall("`([^`]+)`", row.split("|")[1])]
    assert [text for text in looked_up if text not in said] == []


def test_list_of_the_example_begins_like_a_new_one() -> None:
    """The list of the example service begins like a list that `revoke` makes."""
    assert (ROOT / "examples" / "robodj_service" / "config" / "revoked.fingerprints").read_text(
        encoding="utf-8"
    ) == HEADER
