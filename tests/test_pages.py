"""Every command and every block of code in the pages is run by a test, or marked as an illustration: see `pages.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import posix_only
from pages import ROOT, Workspace, faults, is_output, parsed
from repositories import GIT

pytestmark = [posix_only, pytest.mark.skipif(not GIT, reason="needs git")]

README = "README.md"
EXAMPLE = "examples/robodj_service/README.md"
SLOW = {EXAMPLE, "docs/hosts.md", "docs/scan.md"}
"""Pages that take more than five seconds."""
PAGES = {
    README,
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    EXAMPLE,
    *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.full if each in SLOW else ()) for each in sorted(PAGES)]
)
def test_page_works_as_it_says(name: str, tmp_path: Path) -> None:
    """Every block does what the page says, and every command in a line has valid arguments."""
    assert faults(name, (ROOT / name).read_text(encoding="utf-8"), tmp_path) == []


def block(language: str, text: str, *markers: str) -> str:
    """Write a block with its markers."""
    return "".join(f"<!-- {each} -->\n" for each in markers) + f"```{language}\n{text}\n```\n\n"


GOOD = [
    block("sh", "cd config; export NAME=two"),
    block("sh", 'test "$NAME" = two; test -f revoked.fingerprints'),
    block("python", "print(6 * 7)", "file: tool.py", "before: export THREE=3; cd .."),
    block("sh", "exit 3", "status: 3"),
    block("sh", 'export NAME="$NAME$ROBODJ_SECRET_KEY"', "env: ROBODJ_SECRET_KEY= OTHER=three"),
    block("sh", 'test "$NAME" = two; test "${#ROBODJ_SECRET_KEY}" = 43; test -z "${OTHER:-}"'),
    block("python", "import tool"),
    block("text", "42", "output"),
    block("mermaid", "flowchart LR"),
    block("json", "{}", "illustration: it is an example"),
    block("sh", "exit 1", "tested: tests/test_pages.py"),
    "`robodj-secretguard explain CHECK | less`, `robodj-secretguard --help` and `robodj-secretguard revoke`\n",
    '`pip install ".[test,lint]"`, `nox -s full -- tests` and `python -P -m robodj_secretguard check --strict`\n',
]
BAD = {
    "a failing command": (block("sh", "true\nfalse\ntrue"), "the status is 1"),
    "a failing script": (block("python", "raise SystemExit(4)"), "the status is 4"),
    "a failing preparation": (block("sh", "true", "before: exit 5"), "what runs before it is 5"),
    "another status": (block("sh", "exit 3", "status: 1"), "the status is 3"),
    "a wrong output": (block("sh", "echo one") + block("text", "two", "output"), "the output is different:\none"),
    "no output": (block("sh", "echo one >&2") + block("text", "", "output"), "the output has no line"),
    "a missing marker": (block("json", "{}"), "nothing runs json; add <!-- file: PATH -->"),
    "an indented block": ("text\n\n    robodj-secretguard check\n", "nothing runs this"),
    "an unknown marker": (block("sh", "true", "stauts: 3"), "unknown marker stauts"),
    "two markers": (block("sh", "true", "output", "file: x"), "more than one of"),
    "a marker without a block": ("<!-- output -->\n\ntext\n", "no block follows"),
    "no reason": (block("sh", "true", "illustration"), "the reason is missing"),
    "no test": (block("sh", "true", "tested: tests/test_no.py"), "does not exist"),
    "a test of another page": (block("sh", "true", "tested: tests/test_app.py"), "does not name test_pages.py"),
    "an unknown option": ("| row |\n|---|\n| `robodj-secretguard check --no` |\n", "unknown option"),
    "an unknown command": ("Run `YOUR-SECRET-MANAGER | python -m robodj_secretguard chek`.\n", "unknown command"),
    "a command of no command": ("`robodj-secretguard check -- true`\n", "only exec takes a command"),
    "an illustration": (block("sh", "true; robodj-secretguard \\\n  chek", "illustration: x"), "unknown command"),
    "a quote that is not closed": ("`robodj-secretguard explain '`\n", "No closing quotation"),
    "an unknown extra": ('`python -m pip install ".[test,no]"`\n', "unknown extra: no"),
    "an unknown session": ("`nox -s no -- tests`\n", "unknown session: no"),
    "a command without the program": ("Use `check --no`.\n", "unknown option"),
    "a command in another language": (block("text", "- robodj-secretguard chek", "illustration: x"), "unknown command"),
    "a directive": (block("{code-block} sh", "true"), "nothing runs {code-block} sh"),
    "code in HTML": ("<pre>robodj-secretguard chek</pre>\n", "code in HTML is not run"),
    "an unknown marker with a hyphen": (block("sh", "true", "no-such: x"), "unknown marker no-such"),
    "an output of dots": (block("sh", "true") + block("text", "...", "output"), "the output has no line"),
    "no variable": (block("sh", "true", "env: A"), "invalid env"),
    "a page as its test": (block("sh", "true", "tested: README.md"), "does not exist"),
    "a key": (block("sh", 'echo "${ROBODJ_SECRET_V2_KEY#??????}"'), "part of a key"),
    "a refused server": (block("sh", "export ROBODJ_SECRET_KEY=changeme\nuvicorn app.main:app"), "the status is 3"),
}


def test_blocks_of_a_page_share_a_workspace(tmp_path: Path) -> None:
    """Blocks run in order in one workspace, and each shell block continues where the one before ended."""
    assert faults("tests/test_pages.py", "".join(GOOD), tmp_path) == []


@pytest.mark.parametrize("why", BAD)
def test_each_fault_of_a_page_is_reported(why: str, tmp_path: Path) -> None:
    """Each fault of a page is reported, without showing a key."""
    text, fault = BAD[why]
    (found,) = faults("tests/test_pages.py", text, tmp_path)
    assert fault in found


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("at 2027-01-31T00:00:00Z\nsgfp1:…\n", True),
        ("at 2027-01-31T00:00:00Z\nsgfp1:0123\n...\n", True),
        ("...\nsgfp1:…\n", True),
        ("at 2027-01-31T00:00:00Z\n", False),
        ("on 2027-01-31T00:00:00Z\nsgfp1:…\n", False),
    ],
)
def test_dates_and_fingerprints_of_output_may_differ(shown: str, expected: bool) -> None:  # noqa: FBT001
    """Dates and fingerprints may differ, and a line `...` stands for any lines."""
    assert is_output(shown, "at 2026-11-24T22:30:59Z\nsgfp1:89abcdef\n") == expected


@pytest.mark.parametrize(
    "script",
    [
        """robodj-secretguard generate secret.key | YOUR-SECRET-MANAGER
        unset ROBODJ_SECRET_KEY
        robodj-secretguard exec --from "$SOURCE" -- \\
            sh -c 'echo "$ROBODJ_SECRET_KEY" | cmp - "$MANAGER/ROBODJ_SECRET_KEY"'
        YOUR-SECRET-MANAGER | robodj-secretguard scan --model service_secrets:ServiceSecrets --keys-from -""",
        "! robodj-secretguard generate no.key | YOUR-SECRET-MANAGER",
        "python -m pip install no; pip install no",
        pytest.param("uvicorn --workers 2 --port 1 app.main:app", marks=pytest.mark.full),
    ],
)
def test_stand_ins_keep_keys_and_serve(script: str, tmp_path: Path) -> None:
    """The secret manager keeps keys, servers serve, and the programs of the deployment succeed."""
    assert Workspace(tmp_path).run(parsed(block("sh", script)).blocks[0])[0] == 0
