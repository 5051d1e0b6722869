"""Import a settings model by its name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robodj_secretguard.common.loading import load_model
from robodj_secretguard.errors import UsageError

MODULES = {
    "of_a_model": "from robodj_secretguard import RuntimeSecrets\nclass Own(RuntimeSecrets): pass\n",
    "of_a_guard": "raise SystemExit('what only the module knows')",
    "of_an_error": "raise ValueError('what only the module knows')",
    "of_nothing": "import what_only_the_module_knows",
    "json": "raise AssertionError",
}
NO_NAME = "invalid name; use package.module:Class"
NOT_FOUND = (
    "the import failed (ModuleNotFoundError);"
    " install the missing module, or run the command in the directory that contains it"
)
NO_MODEL = "the class is not a SecretSettings model that declares a secret; name another class"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A directory of modules that is not on the import path."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        if name != "json":
            monkeypatch.setitem(sys.modules, name, sys)  # the module is removed after the test
            monkeypatch.delitem(sys.modules, name)
    return str(tmp_path)


def test_a_model_of_a_directory(directory: str) -> None:
    """The class is imported from the directory."""
    model = load_model("of_a_model:Own", directory)
    assert (model.__module__, model.__name__) == ("of_a_model", "Own")


def test_a_model_of_the_working_directory(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a directory, the class is imported from the working directory."""
    monkeypatch.chdir(directory)
    assert load_model("of_a_model:Own").__name__ == "Own"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", NO_NAME),
        ("of_a_model", NO_NAME),
        ("of_a_model:", NO_NAME),
        ("of_a_model:Own.inner", NO_NAME),
        (".of_a_model:Own", NO_NAME),
        ("of-a-model:Own", NO_NAME),
        ("nowhere:Own", NOT_FOUND),
        ("of_nothing:Own", NOT_FOUND),
        ("of_a_model:Other", "the import failed (AttributeError); correct the name of the class"),
        ("of_a_guard:Own", "the import failed (SystemExit); do not call guard() while the module is imported"),
        ("of_an_error:Own", "the import failed (ValueError)"),
        ("json:JSONEncoder", NO_MODEL),  # the library's own: the directory comes last on the path
        ("robodj_secretguard:SecretSettings", NO_MODEL),
        ("robodj_secretguard:guard", NO_MODEL),
    ],
)
def test_what_cannot_be_loaded(directory: str, name: str, why: str) -> None:
    """The error has the reason, without the name or the module's message."""
    with pytest.raises(UsageError) as raised:
        load_model(name, directory)
    assert str(raised.value) == why
