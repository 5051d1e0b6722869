"""The option `--model` in the commands of fixes."""

from __future__ import annotations

import types
from unittest.mock import patch

import pytest

from robodj_secretguard.startup.model_option import model_option, with_model, without_model

OWN = "app.secrets:ServiceSecrets"


class TestWithModel:
    """Commands that need a model, in the text of a fix."""

    @pytest.mark.parametrize(
        ("fix", "named"),
        [
            ("run robodj-secretguard rotate plan a.key", "run robodj-secretguard rotate plan a.key --model {}"),
            (
                "run robodj-secretguard rotate plan a.key and follow it",
                "run robodj-secretguard rotate plan a.key --model {} and follow it",
            ),
            ("robodj-secretguard generate a --show", "robodj-secretguard generate a --model {} --show"),
            ("robodj-secretguard revoke --yes", "robodj-secretguard revoke --model {} --yes"),
            ("robodj-secretguard rotate plan a --model x:Y", "robodj-secretguard rotate plan a --model x:Y"),
            ("run robodj-secretguard explain missing", "run robodj-secretguard explain missing"),
        ],
        ids=["at the end", "within a sentence", "before an option", "without a name", "with a model", "without keys"],
    )
    def test_each_command_names_the_model(self, fix: str, named: str) -> None:
        """A command that needs a model names it, once, and no other command does."""
        assert with_model(fix, OWN) == named.format(OWN)
        assert with_model(with_model(fix, OWN), OWN) == named.format(OWN)

    def test_two_commands(self) -> None:
        """Each command in a fix can be pasted alone."""
        fix = "robodj-secretguard generate a; robodj-secretguard rotate plan a"
        assert with_model(fix, OWN).count(f" --model {OWN}") == 2

    def test_in_a_project(self) -> None:
        """Where the project names the model, its commands need no option. That of a scan stays: it reads no project."""
        scan = f"robodj-secretguard scan --model {OWN}"
        text = f"robodj-secretguard rotate plan a --model {OWN}; {scan}"
        assert without_model(text, OWN) == f"robodj-secretguard rotate plan a; {scan}"


class TestModelOption:
    """Which name a command can import."""

    @pytest.mark.parametrize(
        ("model", "option"),
        [
            (OWN, f" --model {OWN}"),
            ("robodj_secretguard.settings:RuntimeSecrets", " --model robodj_secretguard:RuntimeSecrets"),
            ("app:make.<locals>.Own", ""),
            ("", ""),
        ],
        ids=["a class of a module", "RoboDJ's two secrets", "a class of a function", "no model"],
    )
    def test_the_name(self, model: str, option: str) -> None:
        """A class of a module has a name. Another one cannot be imported, so no option is better than a wrong one."""
        assert model_option(model) == option

    @pytest.mark.parametrize(
        ("program", "option"),
        [
            ({"__spec__": types.SimpleNamespace(name="shop.__main__")}, " --model shop:Own"),
            ({"__spec__": None, "__file__": "/srv/shop/main.py"}, " --model main:Own"),
            ({"__spec__": None, "__file__": "/srv/shop/run-me.py"}, ""),
            ({"__spec__": None}, ""),
        ],
        ids=["python -m", "a script", "a script that is no module", "a console"],
    )
    def test_a_class_of_the_program(self, program: dict[str, object], option: str) -> None:
        """A class of the program itself has the name of the program's module, by which a command can import it."""
        module = types.ModuleType("__main__")
        vars(module).update(program)
        with patch.dict("sys.modules", {"__main__": module}):
            assert model_option("__main__:Own") == option
