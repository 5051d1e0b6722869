"""The option `--model` in the commands of fixes: such a command belongs to a project.

A start without a finding does not import this module.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Final

LIBRARY_MODEL: Final = "robodj_secretguard:RuntimeSecrets"
"""RoboDJ's two secrets. A command that makes, prints or writes keys uses them only where they are named."""

_COMMAND: Final = r"robodj-secretguard (?:generate|revoke|check|rotate \w+)(?: \w[\w.-]*)?"
"""A command that needs a model, with the name of its secret."""
_NOT_YET: Final = r"(?![^;,()]* --model )"


def with_model(remedy: str, model: str) -> str:
    """Return a fix whose commands name the model."""
    option = model_option(model)
    return re.sub(f"({_COMMAND}){_NOT_YET}", rf"\1{option}", remedy)


def without_model(text: str, model: str) -> str:
    """Return the output of a command whose project names the model: its commands need no option."""
    return re.sub(f"({_COMMAND}) --model {re.escape(model)}", r"\1", text)


def model_option(model: str) -> str:
    """Return the option with a blank before it; empty for a class that no command can import."""
    module, _, name = model.partition(":")
    if name == LIBRARY_MODEL.partition(":")[2] and module.startswith("robodj_secretguard"):
        return f" --model {LIBRARY_MODEL}"
    if module == "__main__":
        module = _module_of_program()
    return f" --model {module}:{name}" if module and name.isidentifier() else ""


def _module_of_program() -> str:
    """Return the module that this process runs; empty where it is no file, such as in a console."""
    program = sys.modules["__main__"]
    spec = getattr(program, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    stem, _ = os.path.splitext(os.path.basename(getattr(program, "__file__", "")))
    return stem if stem.isidentifier() else ""
