"""Import a service's settings model by its name."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.sealed import contain, type_name
from robodj_secretguard.settings import SecretSettings, declares_secrets

_HINTS: Final = {
    "SystemExit": "; do not call guard() while the module is imported",
    "ModuleNotFoundError": "; install the missing module, or run the command in the directory that contains it",
    "AttributeError": "; correct the name of the class",
}


def load_model(name: str, directory: str = "") -> type[SecretSettings]:
    """Import the settings model `package.module:Class`. Also search a directory, and its `src`.

    An empty one is the working directory.
    """
    module, _, attribute = name.partition(":")
    del name
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        del module, attribute
        raise UsageError("invalid name; use package.module:Class")
    sys.path += directory, os.path.join(directory, "src")  # last: a file there must not replace a library's
    try:
        model = contain(lambda: getattr(importlib.import_module(module), attribute))
    except BaseException as failure:  # noqa: BLE001 - an interrupt of the import, too
        name = type_name(failure)
        raise UsageError(f"the import failed ({name}){_HINTS.get(name, '')}") from None
    if not declares_secrets(model):
        raise UsageError("the class is not a SecretSettings model that declares a secret; name another class")
    return model
