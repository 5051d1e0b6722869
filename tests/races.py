"""A change by another program during a call, always at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def just_before(monkeypatch: pytest.MonkeyPatch, module: object, name: str, change: Callable[[], object]) -> None:
    """Make a change once, just before the next call of a module's function."""
    real = getattr(module, name)

    def changed(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(module, name, real)
        change()
        return real(*arguments, **more)

    monkeypatch.setattr(module, name, changed)
