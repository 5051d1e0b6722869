"""The texts that `init` writes, and the lines that it adds to the text of existing files."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from repositories import GIT, git, made

from robodj_secretguard.lifecycle.project_texts import (
    default_settings,
    has_hook,
    hook,
    module_of,
    new_files,
    with_hook,
    with_ignored,
    with_model,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parent.parent / "examples" / "robodj_service"
MODEL = "service_secrets:ServiceSecrets"
COMMENT = "# Every command that runs in this repository checks the service's own model.\n"
TABLE = f'{COMMENT}[tool.robodj-secretguard]\nmodel = "{MODEL}"\n'
OTHER = "repo: https://example.org/hooks\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[Path]:
    """The working directory: an empty project."""
    with contextlib.chdir(tmp_path):
        yield tmp_path


class TestNewFiles:
    """`new_files`."""

    def test_the_example(self) -> None:
        """The files of the example service are what `init` writes."""
        files = new_files("service_secrets.py")
        assert {name: (EXAMPLE / name).read_text(encoding="utf-8") for name in files} == files
        assert {path.name for path in (EXAMPLE / "config").iterdir() if path.is_file()} == {
            name.rpartition("/")[2] for name in files if "/" in name
        }
        assert (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8") == with_model("", MODEL)
        assert (EXAMPLE / ".gitignore").read_text(encoding="utf-8") == f"{with_ignored('')}\n__pycache__/\n"

    def test_root(self) -> None:
        """The settings module finds the root of the project from its own depth."""
        text = new_files("src/shop/service_secrets.py")["src/shop/service_secrets.py"]
        assert "\nROOT = Path(__file__).resolve().parent.parent.parent\n" in text

    def test_no_settings_module(self) -> None:
        """Without a path, there is no settings module."""
        assert all(name.startswith("config/") for name in new_files(None))


class TestModuleOf:
    """`module_of`."""

    @pytest.mark.parametrize(
        ("file", "module"),
        [
            ("service_secrets.py", "service_secrets"),
            ("app/core/own.py", "app.core.own"),
            ("src/shop/own.py", "shop.own"),
            ("src.py", "src"),
            ("service_secrets", None),
            ("app/__init__.py", None),
            ("../own.py", None),
            ("/app/own.py", None),
            ("my-app/own.py", None),
            ("app/class.py", None),
            ("\u00fcber/own.py", None),
            ("secrets.py", None),
            ("src/logging/own.py", None),
            (f"{'a' * 500}.py", None),
        ],
    )
    def test_name(self, file: str, module: str | None) -> None:
        """The name follows from the path, without `src`. A name that cannot be imported is invalid."""
        assert module_of(file) == module

    def test_package_src(self, project: Path) -> None:
        """If `src` is a package, its name stays."""
        (project / "src").mkdir()
        (project / "src" / "__init__.py").touch()
        assert module_of("src/own.py") == "src.own"


class TestDefaultSettings:
    """`default_settings`."""

    @pytest.mark.parametrize(
        ("files", "settings"),
        [
            ([], "service_secrets.py"),
            (["src/shop/__init__.py", "src/shop.egg-info/PKG-INFO"], "src/shop/service_secrets.py"),
            (["src/shop/__init__.py", "src/other/__init__.py"], "service_secrets.py"),
            (["src/main.py"], "service_secrets.py"),
            (["src/__init__.py", "src/shop/__init__.py"], "service_secrets.py"),
            (["src/shop/__init__.py", "service_secrets.py"], "service_secrets.py"),
            (["src/my-shop/__init__.py"], "service_secrets.py"),
        ],
    )
    def test_layout(self, project: Path, files: list[str], settings: str) -> None:
        """It is in the only package below `src`. Otherwise it is next to pyproject.toml."""
        for file in files:
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            (project / file).touch()
        assert default_settings() == settings


class TestIgnored:
    """`with_ignored`."""

    @pytest.mark.parametrize("text", ["", "*.pyc\n", "*.pyc", "a\r\nb\r\n", "\n"])
    def test_added(self, text: str) -> None:
        """The lines come after the present text, with its line ending. A second call adds none."""
        done = with_ignored(text)
        newline = "\r\n" if "\r\n" in text else "\n"
        assert done.startswith(text)
        assert done.endswith(f"{newline}config/*.new{newline}")
        assert done.count("\n") == done.count(newline)
        assert "*.pyc# " not in done
        assert with_ignored(done) == done

    def test_only_missing_lines(self) -> None:
        """A line that exists is not added again."""
        assert with_ignored(f"{with_ignored('').replace('config/logs/', '')}")[len(with_ignored("")) - 12 :] == (
            "\n# Files that the lifecycle commands write on a machine. config/revoked.fingerprints is versioned.\n"
            "config/logs/\n"
        )

    @pytest.mark.skipif(not GIT, reason="needs git")
    @pytest.mark.parametrize("text", ["!config/*.key.example\n", "!config/*.key.example\nconfig/*.key*\n"])
    def test_order(self, project: Path, text: str) -> None:
        """Git keeps the templates also where their line existed before those of the live keys."""
        (project / ".gitignore").write_text(with_ignored(text), encoding="utf-8")
        paths = ("config/secret.key", "config/secret.key.example")
        assert git(made(project), "--no-literal-pathspecs", "check-ignore", *paths).split() == ["config/secret.key"]


class TestModel:
    """`with_model`."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", TABLE),
            ("[a]\n", f"[a]\n\n{TABLE}"),
            ("[tool]\na = 1", f"[tool]\na = 1\n\n{TABLE}"),
            ("[a]\r\nb = 1\r\n", "[a]\r\nb = 1\r\n\r\n" + TABLE.replace("\n", "\r\n")),
            (
                '[tool."robodj-secretguard"] # ours\r\nstrict = true\r\n',
                f'[tool."robodj-secretguard"] # ours\r\nmodel = "{MODEL}"\r\nstrict = true\r\n',
            ),
            ("[tool.robodj-secretguard]", f'[tool.robodj-secretguard]\nmodel = "{MODEL}"\n'),
        ],
    )
    def test_added(self, text: str, expected: str) -> None:
        """The table is appended, or its missing model is added, with the line ending of the file."""
        assert with_model(text, MODEL) == expected
        assert tomllib.loads(expected)["tool"]["robodj-secretguard"]["model"] == MODEL

    @pytest.mark.parametrize(
        "text",
        [
            "tool = {}\n",
            "tool.robodj-secretguard.strict = true\n",
            '[tool]\nrobodj-secretguard = { strict = true }\na = """\n[tool.robodj-secretguard]\n"""\n',
        ],
        ids=["inline table", "dotted key", "in a string"],
    )
    def test_other_forms(self, text: str) -> None:
        """Where the result would be other TOML, nothing is added."""
        assert with_model(text, MODEL) is None


class TestHook:
    """`with_hook`, `has_hook` and `hook`."""

    @pytest.mark.parametrize("indent", ["", "  ", "    "])
    @pytest.mark.parametrize("before", ["repos:\n", "# ours\nrepos: # all\n\n# first\n", "\ufeffrepos:\n"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_inserted(self, indent: str, before: str, newline: str) -> None:
        """The hook is the first item of `repos`, with the indentation and the line ending of the others."""
        text = f"{before}{indent}-   {OTHER}ci: {{}}\n"
        top, repos, rest = text.partition(next(line for line in before.splitlines(keepends=True) if "repos:" in line))
        expected = f"{top}{repos}{hook(MODEL, indent=indent)}{rest}".replace("\n", newline)
        assert with_hook(text.replace("\n", newline), MODEL) == expected

    @pytest.mark.parametrize("text", ["", "\n"])
    def test_new(self, text: str) -> None:
        """A missing file, and one without text, gets a list of one hook."""
        assert with_hook(text, MODEL) == f"{text}repos:\n{hook(MODEL, indent='  ')}"

    @pytest.mark.parametrize(
        "text", ["repos: []\n", "{repos: []}\n", "ci: {}\n", "repos:\n", "repos:\na:\nrepos:\n- b"]
    )
    def test_other_forms(self, text: str) -> None:
        """Text of another form is left alone."""
        assert with_hook(text, MODEL) is None

    def test_present(self) -> None:
        """The hook is found by its id, other than in a comment."""
        assert has_hook(hook(MODEL))
        assert not has_hook(f"# {hook(MODEL)}".replace("\n", "\n# "))

    @pytest.mark.parametrize(
        ("directory", "place"), [("services/api", "services/api"), ("my service", "DIRECTORY"), ("a'b", "DIRECTORY")]
    )
    def test_directory(self, directory: str, place: str) -> None:
        """For a service below the root of its repository, the hook changes to its directory."""
        command = f"robodj-secretguard scan --staged --fingerprints --model {MODEL}"
        assert f"      entry: sh -c 'cd {place} && exec {command}'\n" in hook(MODEL, directory)
